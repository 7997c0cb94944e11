"""pytorch-tabular's own route: its TabularModel, its YAML, and of ours the import alone."""

import subprocess
import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import pytorch_lightning
import torch
import yaml
from pytorch_tabular import TabularModel, TabularModelTuner
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

from bridges_tabular import BridgeConfig
from bridges_tabular.tabular.config import backbone_names

MODEL = {
    "_module_src": "models.bridge",
    "_model_name": "BridgeModel",
    "_config_name": "BridgeConfig",
    "task": "regression",
    "backbone_config_class": "CategoryEmbeddingModelConfig",
    "backbone_config_params": {"layers": "32-16"},
    "scheme": "end_to_end",
    "n_bins": 16,
    "learning_rate": 0.01,
}

# ours too, without a bridge around it
MEMBERS = {
    "_module_src": "models.bridge",
    "_model_name": "MemberMLPModel",
    "_config_name": "MemberMLPConfig",
    "task": "regression",
    "layers": "32-16",
    "n_members": 3,
    "learning_rate": 0.01,
}


def data_config(frame, **changes):
    settings = {
        "target": ["target"],
        "continuous_cols": [name for name in frame if name not in ("sex", "target")],
        "categorical_cols": ["sex"],
    }
    return DataConfig(**(settings | changes))


def trainer_config(tmp_path, **changes):
    settings = {
        "batch_size": 64,
        "max_epochs": 6,
        "progress_bar": "none",
        "early_stopping": None,
        "checkpoints": None,
        "load_best": False,
        "accelerator": "cpu",
        "trainer_kwargs": {"enable_model_summary": False},
    }
    return TrainerConfig(**(settings | changes))


def native_model(frame, tmp_path, *, model=None, data=None, trainer=None, path=None):
    if path is None:
        path = tmp_path / "bridge.yml"
        path.write_text(yaml.safe_dump(MODEL | (model or {})))
    tabular = TabularModel(
        data_config=data_config(frame, **(data or {})),
        model_config=str(path),
        optimizer_config=OptimizerConfig(),
        trainer_config=trainer_config(tmp_path, **(trainer or {})),
        verbose=False,
        suppress_lightning_logger=True,
    )
    tabular.logger = False
    return tabular


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "scheme", ["least_squares", "softmax_least_squares", "hard", "soft", "pretrained", "end_to_end"]
)
def test_fit_predict_and_evaluate(frame, in_tmp, scheme):
    tabular = native_model(frame, in_tmp, model={"scheme": scheme})
    tabular.fit(frame[:350])
    test = frame[350:]
    prediction = tabular.predict(test)["target_prediction"].to_numpy()
    error = np.mean((prediction - test["target"]) ** 2)
    assert error < 0.8 * test["target"].var()
    (result,) = tabular.evaluate(test, verbose=False)
    assert result["test_mean_squared_error"] == pytest.approx(error, rel=1e-3)


@pytest.mark.slow
def test_saved_models_load_in_a_fresh_process_without_an_import(frame, in_tmp):
    (in_tmp / "members.yml").write_text(yaml.safe_dump(MEMBERS))
    expected = []
    for name, path in (("bridge", None), ("members", in_tmp / "members.yml")):
        tabular = native_model(frame, in_tmp, path=path)
        tabular.fit(frame[:350])
        # its datamodule alone would leave this package unimported
        tabular.save_model(str(in_tmp / name), inference_only=name == "bridge")
        expected.append(tabular.predict(frame[350:])["target_prediction"].to_numpy())
    frame[350:].to_csv(in_tmp / "test.csv", index=False)
    code = """
    import numpy, pandas
    from pytorch_tabular import TabularModel
    test = pandas.read_csv("test.csv")
    models = [TabularModel.load_model(name) for name in ("bridge", "members")]
    numpy.save("out.npy", [model.predict(test)["target_prediction"].to_numpy() for model in models])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=in_tmp)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(in_tmp / "out.npy"), expected)


def test_a_misspelt_key_of_the_backbone_is_refused(frame, in_tmp):
    with pytest.raises(ValueError, match="unknown 'layer'; did you mean 'layers'"):
        native_model(frame, in_tmp, model={"backbone_config_params": {"layer": "8"}})


def test_targets_that_are_not_finite_are_refused_before_training(frame, in_tmp):
    broken = frame.assign(target=frame["target"].where(frame.index != 5))
    with pytest.raises(ValueError, match="hold 1 NaN or infinite"):
        native_model(frame, in_tmp).fit(broken, validation=frame[350:])


@pytest.mark.parametrize("part", ["train", "validation"])
def test_features_that_are_not_finite_are_refused_by_name_before_training(frame, in_tmp, part):
    name = frame.select_dtypes("float").columns.drop("target")[-1]
    given = {"train": frame[:350], "validation": frame[350:]}
    given[part] = given[part].assign(**{name: given[part][name].where(np.arange(len(given[part])) != 5)})
    with pytest.raises(ValueError, match=f"^{part}: column '{name}' holds NaN or infinite values, .*$"):
        native_model(frame, in_tmp).fit(**given)


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "native").glob("*.yaml"))


def test_there_is_a_model_file_for_each_backbone():
    named = [yaml.safe_load(path.read_text())["backbone_config_class"] for path in CONFIGS]
    assert sorted(named) == backbone_names()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_model_files_are_read_by_pytorch_tabular(frame, in_tmp, path):
    if path.stem == "tabnet":
        pytest.importorskip("pytorch_tabnet", reason="TabNet needs the extra 'tabnet'")
    tabular = native_model(frame, in_tmp, path=path)
    datamodule = tabular.prepare_dataloader(frame[:100], frame[100:120])
    model = tabular.prepare_model(datamodule)
    predicted = model.eval().predict(next(iter(datamodule.val_dataloader())))
    assert predicted.shape == (20, 1)
    # in the units of the target, from the start
    assert frame["target"].min() - 100 < predicted.mean() < frame["target"].max() + 100


def test_cross_validation_and_bagging(frame, in_tmp):
    tabular = native_model(frame, in_tmp, trainer={"max_epochs": 3})
    folds = tabular.cross_validate(cv=2, train=frame[:300], verbose=False, metric="mean_squared_error")
    folds = folds[0] if isinstance(folds, tuple) else folds
    assert len(folds) == 2
    bagged = native_model(frame, in_tmp, trainer={"max_epochs": 3}).bagging_predict(
        cv=2, train=frame[:300], test=frame[300:], verbose=False
    )
    prediction = np.asarray(bagged).ravel()
    assert prediction.shape == (142,)
    assert np.corrcoef(prediction, frame["target"][300:])[0, 1] > 0.4


def test_a_grid_of_pytorch_tabulars_tuner(frame, in_tmp):
    tuner = TabularModelTuner(
        data_config=data_config(frame),
        model_config=BridgeConfig(**{key: value for key, value in MODEL.items() if key[0] != "_"}),
        optimizer_config=OptimizerConfig(),
        trainer_config=trainer_config(in_tmp, max_epochs=2),
        verbose=False,
        suppress_lightning_logger=True,
    )
    # validation rows of one's own: without, pytorch-tabular transforms its own twice
    result = tuner.tune(
        train=frame[:300],
        validation=frame[300:],
        search_space={"model_config__smoothing": [1.0, 2.0], "model_config__n_bins": [8]},
        strategy="grid_search",
        metric="mean_squared_error",
        mode="min",
        progress_bar=False,
        verbose=False,
    )
    assert result.trials_df["mean_squared_error"].notna().all()
    assert set(result.trials_df["model_config__smoothing"]) == {1.0, 2.0}


def test_test_time_augmentation_and_target_transforms(frame, in_tmp):
    tabular = native_model(frame, in_tmp)
    tabular.fit(frame[:350], target_transform=(np.log1p, np.expm1))
    plain = tabular.predict(frame[350:])["target_prediction"].to_numpy()
    assert np.corrcoef(plain, frame["target"][350:])[0, 1] > 0.4
    assert plain.min() > 0
    augmented = np.asarray(tabular.predict(frame[350:], test_time_augmentation=True, num_tta=3, alpha_tta=0.05)).ravel()
    assert not np.array_equal(augmented, plain)
    assert np.corrcoef(augmented, plain)[0, 1] > 0.9


def test_several_targets_each_with_its_own_bins(frame, in_tmp):
    both = frame.assign(other=1e4 - 50 * frame["target"])
    data = {"target": ["target", "other"], "continuous_cols": [c for c in frame if c not in ("sex", "target")]}
    tabular = native_model(both, in_tmp, data=data)
    tabular.fit(both[:350])
    prediction = tabular.predict(both[350:])
    for name in ("target", "other"):
        assert np.corrcoef(prediction[f"{name}_prediction"], both[name][350:])[0, 1] > 0.4
    first, second = tabular.model.target_scale.tolist()
    assert second == pytest.approx(50 * first, rel=1e-3)
    logits = tabular.predict(both[350:], ret_logits=True)
    assert {"class_log_probs_0", "class_log_probs_31"} <= set(logits)


def test_a_target_range_bounds_predictions(frame, in_tmp):
    tabular = native_model(frame, in_tmp, model={"target_range": [[140.0, 160.0]]})
    tabular.fit(frame[:350])
    assert tabular.predict(frame[350:])["target_prediction"].between(140, 160).all()


def test_a_learning_rate_can_be_searched(frame, in_tmp):
    tabular = native_model(frame, in_tmp)
    datamodule = tabular.prepare_dataloader(frame[:350], frame[350:])
    model = tabular.prepare_model(datamodule)
    # from lightning 2.6 on, torch cannot read back the checkpoint its finder wrote, whatever the model
    broken = pytorch_lightning.__version__.split(".")[:2] >= ["2", "6"]
    with pytest.raises(UnpicklingError) if broken else nullcontext():
        rate, _ = tabular.find_learning_rate(model, datamodule, num_training=20, plot=False)
        assert 0 < rate < 1


def test_a_loss_of_ones_own_is_refused(frame, in_tmp):
    with pytest.raises(ValueError, match="trained on its scheme: fit takes no loss"):
        native_model(frame, in_tmp).fit(frame[:100], loss=torch.nn.L1Loss())
