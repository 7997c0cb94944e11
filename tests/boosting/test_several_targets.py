"""Several targets: each has the model that it has alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.linear_model import LinearRegression

import bridges_tabular as bt
from bridges_tabular import PooledBridgeRegressor, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.regressors.prepared import Prepared

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 3))
# of different units, one with an atom, one that stops early
Y = np.column_stack(
    [X[:, 0] + 0.2 * RNG.normal(size=150), 3e6 - 1e4 * np.maximum(X[:, 1], 0), np.round(np.abs(X[:, 2]))]
)
WEIGHT = RNG.uniform(0.5, 2, 150)
LEVELS = [0.1, 0.5, 0.9]


def small(scheme: str = "end_to_end", **params: Any) -> Any:
    return XGBBridgeRegressor(scheme, **({"n_bins": 8, "n_estimators": 9, "n_jobs": 1} | params))


@pytest.fixture(scope="module")
def model() -> Any:
    return small(calibration_fraction=0.2).fit(X, Y, WEIGHT)


@pytest.fixture(scope="module")
def alone() -> list[Any]:
    return [small(calibration_fraction=0.2).fit(X, y, WEIGHT) for y in Y.T]


@pytest.mark.parametrize(
    "params",
    [
        {"scheme": "least_squares"},
        {"scheme": "hard"},
        {"location": "none"},
        {"location": LinearRegression()},
        {"support": (0, None), "target_transform": "sqrt"},
        {"n_jobs": 2},
    ],
)
def test_each_target_comes_out_as_it_does_alone(params: dict[str, Any]) -> None:
    y = np.abs(Y)
    found = small(**params).fit(X, y)
    for target, one in enumerate(y.T):
        expected = small(**params).fit(X, one)
        np.testing.assert_array_equal(found.predict(X)[:, target], expected.predict(X))
        np.testing.assert_array_equal(
            found.predict_quantiles(X, LEVELS)[..., target], expected.predict_quantiles(X, LEVELS)
        )


def test_what_is_fitted_is_of_each_target(model: Any, alone: list[Any]) -> None:
    assert model.best_iteration_ == [one.best_iteration_ for one in alone]
    assert model.best_score_ == [one.best_score_ for one in alone]
    assert model.evals_result() == [one.evals_result_ for one in alone]
    importances = [one.feature_importances_ for one in alone]
    np.testing.assert_allclose(model.feature_importances_, np.mean(importances, axis=0), rtol=1e-6)
    for target, one in enumerate(alone):
        assert model.get_booster(target).save_raw("json") == one.get_booster().save_raw("json")
        pairs = zip(model.get_location_boosters(target), one.get_location_boosters(), strict=True)
        assert all(a.save_raw("json") == b.save_raw("json") for a, b in pairs)
        np.testing.assert_array_equal(model.codecs_[target].bins.edges, one.codecs_[0].bins.edges)
        assert model.codec_scales_[target].scale == one.codec_scales_[0].scale


def test_shapes_and_sums(model: Any, alone: list[Any]) -> None:
    assert model.predict_quantiles(X, LEVELS).shape == (150, 3, 3)
    assert [len(one) for one in model.predict_distribution(X)] == [150] * 3
    for conformal in (False, True):
        ends = model.predict_interval(X, 0.8, conformal)
        assert ends.shape == (150, 2, 3)
        np.testing.assert_array_equal(ends[..., 1], alone[1].predict_interval(X, 0.8, conformal))
    shares = model.predict_contributions(X)
    assert shares.shape == (150, 4, 3)
    np.testing.assert_allclose(shares.sum(axis=1), model.predict(X), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(shares[..., 2], alone[2].predict_contributions(X))


def test_saved_and_read_back(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = bt.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_quantiles(X, LEVELS), model.predict_quantiles(X, LEVELS))
    ends = [one.predict_interval(X, 0.8, conformal=True) for one in (model, again)]
    np.testing.assert_array_equal(*ends)
    assert (again.best_score_, again.evals_result_) == (model.best_score_, model.evals_result_)
    np.testing.assert_array_equal(again.predict_contributions(X), model.predict_contributions(X))


def test_a_column_of_one_target_keeps_its_shape(tmp_path: Path) -> None:
    plain, column = small().fit(X, Y[:, 0]), small().fit(X, Y[:, :1])
    np.testing.assert_array_equal(column.predict(X), plain.predict(X)[:, None])
    assert column.best_iteration_ == [plain.best_iteration_]
    assert column.predict_contributions(X).shape == (150, 4, 1)
    column.save(tmp_path / "m")
    np.testing.assert_array_equal(bt.load(tmp_path / "m").predict(X), column.predict(X))


def test_fits_that_share_what_they_prepare_do_not_mix_targets_up() -> None:
    train, watched = pd.DataFrame(X[:110]).add_prefix("x"), pd.DataFrame(X[110:]).add_prefix("x")
    rows = {"X": train, "y": Y[:110], "eval_set": (watched, Y[110:])}
    expected = small("least_squares").fit(**rows).predict(watched)
    with Prepared([train, watched]) as prepared:
        for jobs in (1, 2, 2):
            model = small("least_squares", n_jobs=jobs).fit(**rows, prepared=prepared)
            np.testing.assert_array_equal(model.predict(watched), expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_steps_of_all_targets_are_those_of_one_fit(n_jobs: int) -> None:
    heard: list[tuple[int, int, Any]] = []
    small(n_jobs=n_jobs, early_stopping_rounds=None).fit(X, Y, report=lambda *step: heard.append(step))
    # 9 rounds of the location, 3 over bins
    assert [step for step, _, _ in heard] == list(range(1, 3 * 12 + 1))
    assert {(total, len(scores)) for _, total, scores in heard} == {(36, 0)}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_a_listener_raises_ends_the_fit(n_jobs: int) -> None:
    count = 0

    def stop(step: int, total: int, scores: Any) -> None:
        nonlocal count
        count += 1
        if step >= 4:
            raise RuntimeError("pruned")

    model = small(n_jobs=n_jobs, n_estimators=500)
    with pytest.raises(RuntimeError, match="pruned"):
        model.fit(X, Y, report=stop)
    assert count == 4
    assert not hasattr(model, "scale_")


def test_callbacks_hear_one_target_after_the_other() -> None:
    epochs: list[int] = []

    class Record(xgb.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            epochs.append(epoch)
            return False

    params = {"location": "none", "early_stopping_rounds": None, "n_estimators": 4, "n_jobs": 2}
    small(**params, callbacks=[Record()]).fit(X, Y)
    assert epochs == [0, 1, 2, 3] * 3


def test_early_stopping_among_the_callbacks_forgets_the_target_before() -> None:
    def stopping() -> list[Any]:
        return [xgb.callback.EarlyStopping(2, metric_name="rmse", data_name="validation_0", save_best=False)]

    params = {"location": "none", "n_estimators": 40, "early_stopping_rounds": 40, "n_jobs": 1}
    model = XGBBridgeRegressor("least_squares", **params, callbacks=stopping())
    both = model.fit(X, Y)
    alone = [XGBBridgeRegressor("least_squares", **params, callbacks=stopping()).fit(X, y) for y in Y.T]
    lengths = [len(one.evals_result_["validation_0"]["rmse"]) for one in alone]
    assert [len(log["validation_0"]["rmse"]) for log in both.evals_result_] == lengths
    assert min(lengths) < 40
    # and the fit before
    again = model.fit(X, Y[:, 0])
    assert len(again.evals_result_["validation_0"]["rmse"]) == lengths[0]


def test_a_target_that_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match=r"y\[1\] contains NaN"):
        small().fit(X, np.where([False, True, False], np.nan, Y))
    with pytest.raises(ValueError, match="y has 3 targets, y of eval_set 2"):
        small().fit(X, Y, eval_set=(X, Y[:, :2]))


def test_trees_and_a_network_pool_several_targets(tmp_path: Path) -> None:
    network = TabularBridgeRegressor(
        "CategoryEmbeddingModelConfig", scheme="soft", n_bins=8, max_epochs=3, backbone_params={"layers": "8"}
    )
    pool = PooledBridgeRegressor([("trees", small()), ("network", network)])
    assert pool.__sklearn_tags__().target_tags.multi_output
    pool.fit(X, Y)
    assert pool.weights_.shape == (2, 3)
    combined = (pool.predict_members(X) * pool.weights_).sum(axis=1)
    np.testing.assert_allclose(pool.predict(X), combined)
    means = np.stack([one.mean for one in pool.predict_distribution(X)], axis=1)
    np.testing.assert_allclose(means, pool.predict(X), atol=1e-5 * Y.std(axis=0).max())
    pool.save(tmp_path / "m")
    np.testing.assert_array_equal(bt.load(tmp_path / "m").predict(X), pool.predict(X))
