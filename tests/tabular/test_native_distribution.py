"""Distributions and intervals of a model that pytorch-tabular's own TabularModel has trained."""

import numpy as np
import pandas as pd
import pytest
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import bridges_tabular as bt

NUMBERS = ["age", "bmi", "bp", "s5"]


@pytest.fixture(scope="module")
def fitted(frame, tmp_path_factory):
    """Train on the first 240 rows, and watch the next 60."""
    root = str(tmp_path_factory.mktemp("runs"))

    def make(rows=frame, targets=("target",), datamodule=None, config=None, **options):
        model = TabularModel(
            data_config=DataConfig(target=list(targets), continuous_cols=NUMBERS, categorical_cols=["sex"]),
            model_config=config or bridge_config(),
            optimizer_config=OptimizerConfig(),
            trainer_config=TrainerConfig(
                batch_size=64,
                max_epochs=3,
                accelerator="cpu",
                progress_bar="none",
                early_stopping=None,
                checkpoints=None,
                load_best=False,
                trainer_kwargs={"enable_model_summary": False, "default_root_dir": root},
            ),
            verbose=False,
            suppress_lightning_logger=True,
        )
        model.logger = False
        if datamodule is None:
            model.fit(rows[:240], validation=rows[240:300], **options)
        else:
            model.fit(train=None, datamodule=datamodule(model.config))
        return model

    return make


def bridge_config(**changes):
    settings = {
        "backbone_config_class": "CategoryEmbeddingModelConfig",
        "backbone_config_params": {"layers": "16"},
        "scheme": "soft",
        "n_bins": 12,
        "learning_rate": 0.02,
    }
    return bt.BridgeConfig(task="regression", **(settings | changes))


@pytest.fixture(scope="module")
def model(fitted):
    return fitted()


def test_the_mean_is_the_prediction_and_the_spread_is_calibrated(model, frame):
    rows = frame[300:]
    distribution = bt.bridge_distribution(model, rows)
    np.testing.assert_allclose(distribution.mean, model.predict(rows)["target_prediction"], rtol=1e-5)
    assert distribution.index.equals(rows.index)
    assert abs(distribution.pit(rows["target"]).mean() - 0.5) < 0.12
    ends = distribution.interval(0.8)
    assert abs(((ends[:, 0] <= rows["target"]) & (rows["target"] <= ends[:, 1])).mean() - 0.8) < 0.1
    constant = np.abs(rows["target"].to_numpy()[:, None] - frame["target"][:240].to_numpy())
    spread = np.abs(np.subtract.outer(*[frame["target"][:240].to_numpy()] * 2)).mean() / 2
    assert distribution.crps(rows["target"]).mean() < 0.9 * (constant.mean() - spread)


def test_without_calibration_the_masses_are_those_of_the_network(model, frame):
    rows = frame[300:310]
    logits = model.predict(rows, ret_logits=True)
    pi = np.exp([logits[f"class_log_probs_{j}"] for j in range(12)]).T
    plain = bt.bridge_distribution(model, rows, calibration="none")
    network = model.model
    edges = network.codecs[0].bins.edges * float(network.target_scale[0]) + float(network.target_mean[0])
    expected = bt.BinnedDistribution(edges, pi)
    # rows are centred on the prediction, which moves cells a little
    np.testing.assert_allclose(plain.std, expected.std, rtol=0.01)
    np.testing.assert_allclose(
        plain.quantile([0.1, 0.9]) - plain.mean[:, None], expected.quantile([0.1, 0.9]) - expected.mean[:, None], atol=2
    )


def test_rows_given_take_the_place_of_the_validation_rows(model, frame):
    rows = frame[300:350]
    quantiles = bt.bridge_distribution(model, rows).quantile([0.1, 0.9])
    same = bt.bridge_distribution(model, rows, frame[240:300].sample(frac=1, random_state=0)).quantile([0.1, 0.9])
    np.testing.assert_allclose(same, quantiles, rtol=1e-3)
    # targets that lie far off the predictions make distributions wide
    far = frame[240:300].assign(target=lambda one: one["target"] + 300 * np.tile([-1, 1], 30))
    widened = bt.bridge_distribution(model, rows, far).quantile([0.1, 0.9])
    assert np.diff(widened).mean() > 1.5 * np.diff(quantiles).mean()


def test_conformal_intervals_are_those_of_rows_kept_apart(model, frame):
    apart, rows = frame[300:360], frame[360:]
    calibrated = bt.CalibratedTabularModel(model, conformal=apart)
    own = bt.ConformalIntervals().fit(calibrated.predict_distribution(apart), apart["target"])
    distribution = calibrated.predict_distribution(rows)
    ends = calibrated.predict_interval(rows, 0.8, conformal=True)
    np.testing.assert_allclose(ends, own.interval(distribution, 0.8), rtol=1e-6)
    np.testing.assert_array_equal(calibrated.predict_interval(rows, 0.8), distribution.interval(0.8))
    watched = bt.CalibratedTabularModel(model).predict_interval(rows, 0.8, conformal=True)
    assert not np.allclose(watched, ends)


@pytest.mark.parametrize("transform", [(np.log1p, np.expm1), FunctionTransformer(np.log1p, np.expm1)])
def test_a_target_transform_is_turned_back(fitted, frame, transform):
    logs = frame.assign(target=np.log1p(frame["target"]))
    expected = bt.bridge_distribution(fitted(logs), logs[300:]).quantile([0.05, 0.5, 0.95])
    found = bt.bridge_distribution(fitted(target_transform=transform), frame[300:])
    np.testing.assert_allclose(found.quantile([0.05, 0.5, 0.95]), np.expm1(expected), rtol=1e-3)
    assert found.crps(frame["target"][300:]).mean() < 50


def test_units_of_a_fitted_transformer_have_no_effect(fitted, model, frame):
    scaled = fitted(target_transform=StandardScaler())
    found = bt.bridge_distribution(scaled, frame[300:], frame[240:300]).quantile([0.1, 0.5, 0.9])
    np.testing.assert_allclose(found, bt.bridge_distribution(model, frame[300:]).quantile([0.1, 0.5, 0.9]), atol=3)


def test_a_value_that_many_targets_have_keeps_a_mass_of_its_own(fitted, frame):
    often = frame.assign(target=np.where(frame.index % 3 == 0, 0.1, frame["target"] / 7))
    distribution = bt.bridge_distribution(fitted(often), often[300:])
    assert distribution.on_atom(0.1).all()
    assert abs(np.exp(distribution.log_prob(0.1)).mean() - 1 / 3) < 0.15


@pytest.mark.parametrize("scheme", ["least_squares", "softmax_least_squares"])
def test_a_scheme_without_a_code_has_one_from_residuals(fitted, frame, scheme):
    model = fitted(config=bridge_config(scheme=scheme))
    distribution = bt.bridge_distribution(model, frame[300:])
    np.testing.assert_allclose(distribution.mean, model.predict(frame[300:])["target_prediction"], rtol=1e-5)
    with pytest.raises(ValueError, match=f"scheme='{scheme}' has distributions with a calibration alone"):
        bt.bridge_distribution(model, frame[300:], calibration="none")


def test_several_targets(fitted, frame):
    both = frame.assign(other=1e4 - 50 * frame["target"])
    model = fitted(both, targets=("target", "other"))
    calibrated = bt.CalibratedTabularModel(model)
    first, second = calibrated.predict_distribution(both[300:])
    predicted = model.predict(both[300:])
    np.testing.assert_allclose(first.mean, predicted["target_prediction"], rtol=1e-4)
    np.testing.assert_allclose(second.mean, predicted["other_prediction"], rtol=1e-4)
    ends = calibrated.predict_interval(both[300:], 0.9)
    np.testing.assert_array_equal(ends[..., 1], second.interval(0.9))


def test_rows_of_weight_zero_do_not_calibrate(fitted, frame):
    weighted = frame.assign(w=1.0)

    def made(config):
        datamodule = bt.TensorDatamodule(weighted[:240], config, weighted[240:300], sample_weight="w")
        datamodule.prepare_data()
        datamodule.setup("fit")
        return datamodule

    model, rows = fitted(datamodule=made), frame[300:]
    expected = bt.bridge_distribution(model, rows).quantile([0.1, 0.9])
    far = weighted[:60].assign(w=0.0, target=1e4)
    given = bt.bridge_distribution(model, rows, pd.concat([weighted[240:300], far])).quantile([0.1, 0.9])
    np.testing.assert_allclose(given, expected, rtol=1e-3)
    with pytest.raises(ValueError, match="validation has no column 'w'"):
        bt.bridge_distribution(model, rows, frame[240:300])


def test_a_saved_model_predicts_the_same_and_one_without_rows_says_so(model, frame, tmp_path):
    model.save_model(str(tmp_path / "whole"))
    loaded = TabularModel.load_model(str(tmp_path / "whole"))
    expected = bt.bridge_distribution(model, frame[300:]).quantile([0.1, 0.9])
    np.testing.assert_array_equal(bt.bridge_distribution(loaded, frame[300:]).quantile([0.1, 0.9]), expected)
    model.save_model(str(tmp_path / "bare"), inference_only=True)
    bare = TabularModel.load_model(str(tmp_path / "bare"))
    with pytest.raises(ValueError, match="saved with inference_only=True"):
        bt.bridge_distribution(bare, frame[300:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: {"X": rows.drop(columns="bmi")}, "X has no column 'bmi'"),
        (lambda rows: {"X": rows.rename(columns={"sex": "Sex"})}, "X has no column 'sex', did you mean 'Sex'"),
        (lambda rows: {"X": rows.assign(bp=np.nan)}, "column 'bp' of X holds missing or infinite"),
        (lambda rows: {"X": rows[:0]}, "X has no rows"),
        (lambda rows: {"X": rows.to_numpy()}, "X must be a DataFrame, got ndarray"),
        (lambda rows: {"X": rows, "validation": rows.drop(columns="target")}, "validation has no column 'target'"),
        (lambda rows: {"X": rows, "validation": rows.assign(target=np.inf)}, "'target' of validation contains NaN or"),
        (lambda rows: {"X": rows, "calibration": "pool"}, "unknown calibration 'pool', did you mean 'pooled'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(model, frame, change, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        bt.bridge_distribution(model, **change(frame[300:310]))
    assert "\n" not in str(caught.value)


def test_other_models_are_refused(model, frame):
    with pytest.raises(TypeError, match="a fitted TabularModel of pytorch-tabular is needed, got BridgeModel"):
        bt.bridge_distribution(model.model, frame)
    fresh = TabularModel(config=model.config)
    with pytest.raises(ValueError, match="the TabularModel is not fitted"):
        bt.bridge_distribution(fresh, frame)
