"""The cross-fitted location, the bins on what it leaves, calibration, and what all of it costs."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bridges_tabular
from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.core import scores

Homes = tuple[pd.DataFrame, pd.Series]
SMALL: dict[str, Any] = {"n_bins": 8, "n_estimators": 30, "n_jobs": 1}


def noisy_rows(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose noise has a known standard deviation: x, y and that deviation."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(n, 3))
    deviation = 0.2 + 2 * X[:, 1]
    return X, 5 * np.sin(5 * X[:, 0]) + deviation * rng.normal(size=n), deviation


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return noisy_rows(1600)


@pytest.mark.parametrize("scheme", ["hard", "soft", "pretrained", "end_to_end"])
def test_the_distribution_knows_where_noise_is_large(scheme: Any, noisy: tuple[np.ndarray, ...]) -> None:
    X, y, deviation = noisy
    model = XGBBridgeRegressor(scheme, n_jobs=1, n_estimators=150).fit(X[:1000], y[:1000])
    distribution = model.predict_distribution(X[1000:])
    assert np.corrcoef(distribution.std, deviation[1000:])[0, 1] > 0.8
    residuals = XGBBridgeRegressor("least_squares", n_jobs=1, n_estimators=150).fit(X[:1000], y[:1000])
    assert scores.crps(distribution, y[1000:]) < scores.crps(residuals.predict_distribution(X[1000:]), y[1000:])
    assert 0.85 < scores.coverage(distribution.interval(0.9), y[1000:]) < 0.95
    assert np.abs(distribution.mean - model.predict(X[1000:])).mean() < 0.2


def test_the_location_is_half_a_model_of_all_rows_and_half_of_the_folds(homes: Homes) -> None:
    X, y = homes
    X = X[["size", "age", "noise"]]
    model = XGBBridgeRegressor(**SMALL, random_state=1).fit(X[:200], y[:200], eval_set=(X[200:], y[200:]))
    main, *folds = model.get_location_boosters()
    alone = xgb.XGBRegressor(
        n_estimators=30, learning_rate=0.1, subsample=0.8, early_stopping_rounds=30, n_jobs=1, random_state=1
    ).fit(X[:200], (y[:200] - y[:200].mean()) / y[:200].std(ddof=0), eval_set=[(X[200:], y[200:])], verbose=False)
    assert len(folds) == 4
    assert {fold.num_boosted_rounds() for fold in folds} == {main.num_boosted_rounds() // 2}
    matrix = xgb.DMatrix(X)
    kept = (0, main.num_boosted_rounds())
    np.testing.assert_allclose(main.predict(matrix), alone.predict(X, iteration_range=kept), atol=1e-4)
    booster = model.get_booster()
    assert booster.feature_names == [*X.columns, "location"]
    location = 0.5 * main.predict(matrix) + 0.5 * np.mean([fold.predict(matrix) for fold in folds], axis=0)
    away = model.predict(X) - (location * y[:200].std(ddof=0) + y[:200].mean())
    assert np.abs(away).max() < 0.5 * y.std()
    assert model.feature_importances_.shape == (3,)
    assert model.feature_importances_.sum() == pytest.approx(1, abs=1e-5)
    assert model.feature_importances_.argmax() == 0


def test_a_column_may_have_the_location_s_name(homes: Homes) -> None:
    X, y = homes
    model = XGBBridgeRegressor(**SMALL).fit(X.rename(columns={"size": "location", "noise": "a[b]"}), y)
    assert model.get_booster().feature_names == ["location", "age", "kind", "a(b)", "location_"]


@pytest.mark.parametrize("location", ["cross_fitted", "none"])
def test_the_end_to_end_scheme_trains_its_codes_and_decoder(location: Any, homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    fitted = {}
    for scheme in ("soft", "end_to_end"):
        model = XGBBridgeRegressor(
            scheme, location=location, n_bins=8, n_estimators=60, early_stopping_rounds=None, n_jobs=1
        ).fit(X, y)
        model.save(tmp_path / scheme)
        (fitted[scheme],) = bridges_tabular.load(tmp_path / scheme).codecs_
        (codec,) = model.codecs_
        for name, tensor in codec.state_dict().items():
            np.testing.assert_array_equal(fitted[scheme].state_dict()[name], tensor)
    bins = fitted["soft"].bins
    np.testing.assert_array_equal(bins.centers, fitted["end_to_end"].bins.centers)
    moved = fitted["end_to_end"].encoder.slopes - fitted["end_to_end"].encoder.family.slopes
    assert moved.abs().max() > 1e-3
    start = bridges_tabular.LinearDecoder(bins).position
    assert (fitted["end_to_end"].decoder.position - start).abs().max() > 1e-3


def test_calibration_rows_of_their_own_leave_the_validation_rows_alone() -> None:
    X, y, _ = noisy_rows(5200)
    model = XGBBridgeRegressor(calibration_fraction=0.3, n_estimators=60, n_jobs=1).fit(X[:1200], y[:1200])
    low, high = model.predict_interval(X[1200:], 0.8, conformal=True).T
    # 360 rows to calibrate by have a deviation of 0.021
    assert 0.72 < np.mean((low <= y[1200:]) & (y[1200:] <= high)) < 0.88


@pytest.mark.parametrize("calibration", ["none", "shrink", "deconvolve", "pooled"])
@pytest.mark.parametrize("scheme", ["least_squares", "end_to_end"])
def test_calibration_never_moves_the_point(scheme: Any, calibration: Any, homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(scheme, calibration=calibration, **SMALL).fit(X, y)
    reference = XGBBridgeRegressor(scheme, calibration="none", **SMALL).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), reference.predict(X))
    if scheme == "least_squares" and calibration == "none":
        assert not hasattr(model, "predict_distribution")
        return
    model.save(tmp_path / "m")
    loaded = bridges_tabular.load(tmp_path / "m")
    for conformal in (False, True):
        ours, theirs = (m.predict_interval(X, 0.8, conformal=conformal) for m in (model, loaded))
        np.testing.assert_array_equal(ours, theirs)


def test_progress_counts_the_rounds_of_both_stages(homes: Homes) -> None:
    X, y = homes
    heard: list[tuple[int, int, Any]] = []
    XGBBridgeRegressor(**SMALL).fit(X, y, report=lambda *step: heard.append(step))
    done, total, scored = zip(*heard, strict=True)
    assert set(total) == {40}
    assert list(done) == list(range(1, 41))
    assert not any(scored[:30])
    assert all(set(values) == {"crps"} for values in scored[30:])


def test_a_listener_may_end_the_fit(homes: Homes) -> None:
    class Pruned(Exception):
        pass

    def prune(step: int, total: int, scored: Any) -> None:
        if scored:
            raise Pruned

    X, y = homes
    with pytest.raises(Pruned):
        XGBBridgeRegressor(**SMALL).fit(X, y, report=prune)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_a_handful_of_rows_is_enough(n: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 2)), np.arange(n, dtype=float)
    model = XGBBridgeRegressor(early_stopping_rounds=None, n_bins=2, n_estimators=4, n_jobs=1).fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def test_one_training_row_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"n_samples = 1: .* at least 2 training rows"):
        XGBBridgeRegressor(n_jobs=1).fit([[1.0], [2.0]], [0.0, 1.0])


def test_the_number_of_threads_changes_nothing_but_the_last_digits(homes: Homes) -> None:
    X, y = homes
    one, two = (XGBBridgeRegressor(**(SMALL | {"n_jobs": n})).fit(X, y).predict(X) for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-3)


def test_searches_pipelines_and_cross_validation(homes: Homes) -> None:
    X, y = homes
    numbers = X[["size", "age", "noise"]]
    search = GridSearchCV(
        XGBBridgeRegressor(**SMALL), {"n_bins": [4, 8], "scheme": ["soft", "least_squares"]}, cv=2
    ).fit(X, y)
    assert search.best_score_ > 0.5
    piped = make_pipeline(StandardScaler(), XGBBridgeRegressor(**SMALL))
    assert cross_val_score(piped, numbers, y, cv=3).mean() > 0.5
    assert piped.fit(numbers, y).predict(numbers[:2]).shape == (2,)


@pytest.mark.parametrize("params", [{}, {"location": "none"}, {"location": "none", "scheme": "soft"}])
def test_memory_is_four_matrices_beside_the_features(params: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    n, p, k = 20_000, 2, 64
    X = rng.normal(size=(n, p)).astype(np.float32)
    y = X[:, 0] + rng.normal(size=n)
    held_out = X[:1000] + 0.01, y[:1000]
    model = XGBBridgeRegressor(n_bins=k, n_estimators=10, calibration="none", n_jobs=1, **params)
    # what is imported or compiled once is no part of a fit
    model.fit(X[:500], y[:500], eval_set=held_out)
    tracemalloc.start()
    model.fit(X, y, eval_set=held_out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    features = 8 * 8 * n * (p + 1)
    assert peak < 4 * (4 * n * k) + features + 2 * 2**20
