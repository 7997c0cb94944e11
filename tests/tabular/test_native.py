"""pytorch-tabular's own route: its TabularModel, its YAML, and of ours the import alone."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import yaml
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

import bridges_tabular  # noqa: F401 (makes models.bridge known)

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
        "trainer_kwargs": {"logger": False, "enable_model_summary": False},
    }
    settings |= changes
    settings["trainer_kwargs"].pop("logger")
    return TrainerConfig(**settings)


def native_model(frame, tmp_path, *, model=None, data=None, trainer=None):
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


def test_saved_models_load_in_a_fresh_process_after_the_import_alone(frame, in_tmp):
    tabular = native_model(frame, in_tmp)
    tabular.fit(frame[:350])
    tabular.save_model(str(in_tmp / "saved"))
    expected = tabular.predict(frame[350:])["target_prediction"].to_numpy()
    frame[350:].to_csv(in_tmp / "test.csv", index=False)
    code = """
    import bridges_tabular, numpy, pandas
    from pytorch_tabular import TabularModel
    model = TabularModel.load_model("saved")
    numpy.save("out.npy", model.predict(pandas.read_csv("test.csv"))["target_prediction"].to_numpy())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, cwd=in_tmp)
    np.testing.assert_array_equal(np.load(in_tmp / "out.npy"), expected)


def test_a_misspelt_key_of_the_backbone_is_refused(frame, in_tmp):
    with pytest.raises(ValueError, match="unknown 'layer'; did you mean 'layers'"):
        native_model(frame, in_tmp, model={"backbone_config_params": {"layer": "8"}})


def test_targets_that_are_not_finite_are_refused_before_training(frame, in_tmp):
    broken = frame.assign(target=frame["target"].where(frame.index != 5))
    with pytest.raises(ValueError, match="hold 1 NaN or infinite"):
        native_model(frame, in_tmp).fit(broken, validation=frame[350:])
