"""Exposure: rates are learned, and totals are predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import bridges_tabular as bt
from bridges_tabular import (
    AutoBridgeRegressor,
    ClassifierBridgeRegressor,
    PooledBridgeRegressor,
    TabularBridgeRegressor,
    XGBBridgeRegressor,
)
from bridges_tabular.metrics import NegCRPS, neg_crps

RNG = np.random.default_rng(0)
N = 160
X = RNG.normal(size=(N, 3))
RATE = np.exp(0.5 * X[:, 0]) * (RNG.random(N) < 0.7) * RNG.gamma(2.0, size=N)
YEARS = RNG.uniform(0.1, 3.0, N)
TOTAL = RATE * YEARS
LEVELS = [0.1, 0.5, 0.9]


def trees(**params: Any) -> Any:
    return XGBBridgeRegressor("soft", **({"n_estimators": 9, "n_bins": 8, "n_jobs": 1, "location": "none"} | params))


def network(**params: Any) -> Any:
    own = {"n_bins": 8, "max_epochs": 2, "backbone_params": {"layers": "8"}}
    return TabularBridgeRegressor("CategoryEmbeddingModelConfig", scheme="soft", **(own | params))


REGRESSORS: dict[str, Any] = {
    "trees": trees,
    "network": network,
    "classifier": lambda: ClassifierBridgeRegressor(DecisionTreeClassifier(max_depth=3, random_state=0), n_bins=8),
    "pool": lambda: PooledBridgeRegressor([("a", trees()), ("b", trees(n_estimators=4))]),
    "auto": lambda: AutoBridgeRegressor(estimators=[("a", trees()), ("b", trees(n_estimators=4))]),
}
every = pytest.mark.parametrize("name", REGRESSORS)


@every
def test_it_is_the_rate_with_exposure_as_weight(name: str) -> None:
    weight = RNG.uniform(0.5, 2.0, N)
    rate = TOTAL / YEARS
    plain = REGRESSORS[name]().fit(X, rate, weight * YEARS)
    model = REGRESSORS[name]().fit(X, TOTAL, weight, exposure=YEARS)
    np.testing.assert_allclose(model.predict(X), plain.predict(X), rtol=1e-5)
    e = RNG.uniform(0.1, 5.0, N)
    expected = plain.predict_distribution(X)
    np.testing.assert_allclose(model.predict(X, exposure=e), e * expected.mean, rtol=1e-5, atol=1e-6)
    found = model.predict_distribution(X, exposure=e)
    np.testing.assert_allclose(found.mean, e * expected.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.std, e * expected.std, rtol=1e-4, atol=1e-6)
    quantiles = model.predict_quantiles(X, LEVELS, exposure=e)
    np.testing.assert_allclose(quantiles, e[:, None] * expected.quantile(LEVELS), rtol=1e-4, atol=1e-5)
    for conformal in (False, True):
        ends = model.predict_interval(X, 0.8, conformal, exposure=e)
        np.testing.assert_allclose(ends, e[:, None] * plain.predict_interval(X, 0.8, conformal), rtol=1e-4, atol=1e-5)
    # of totals, as their CRPS is
    np.testing.assert_allclose(found.crps(e * RATE), e * expected.crps(RATE), rtol=1e-3, atol=1e-6)


@every
def test_of_one_and_of_two_everywhere(name: str) -> None:
    expected = REGRESSORS[name]().fit(X, TOTAL)
    one = REGRESSORS[name]().fit(X, TOTAL, exposure=np.ones(N))
    two = REGRESSORS[name]().fit(X, 2 * TOTAL, exposure=np.full(N, 2.0))
    for model in (one, two):
        np.testing.assert_array_equal(model.predict_quantiles(X, LEVELS), expected.predict_quantiles(X, LEVELS))
    np.testing.assert_array_equal(two.predict(X, exposure=2), 2 * expected.predict(X))


def test_validation_rows_have_their_own() -> None:
    fit, held_out = slice(0, 110), slice(110, N)
    rate = TOTAL / YEARS
    plain = trees().fit(X[fit], rate[fit], YEARS[fit], (X[held_out], rate[held_out], YEARS[held_out]))
    rows = {"exposure": YEARS[fit], "exposure_val": YEARS[held_out]}
    by_set = trees().fit(X[fit], TOTAL[fit], eval_set=(X[held_out], TOTAL[held_out]), **rows)
    by_name = trees().fit(X[fit], TOTAL[fit], X_val=X[held_out], y_val=TOTAL[held_out], **rows)
    for model in (by_set, by_name):
        np.testing.assert_array_equal(model.predict_quantiles(X, LEVELS), plain.predict_quantiles(X, LEVELS))


def test_several_targets_share_it() -> None:
    both = np.column_stack([TOTAL, 100 * TOTAL + YEARS])
    model = trees().fit(X, both, exposure=YEARS)
    e = RNG.uniform(0.1, 5.0, N)
    np.testing.assert_allclose(model.predict(X, exposure=e), e[:, None] * model.predict(X))
    assert model.predict_quantiles(X, LEVELS, exposure=e).shape == (N, 3, 2)
    for target, one in enumerate(model.predict_distribution(X, exposure=e)):
        np.testing.assert_allclose(one.mean, model.predict(X, exposure=e)[:, target], rtol=1e-5, atol=1e-6)


def test_no_claims_stay_an_atom_and_bounds_are_of_the_rate() -> None:
    model = trees(support=(0, None)).fit(X, TOTAL, exposure=YEARS)
    distribution = model.predict_distribution(X, exposure=YEARS)
    assert distribution.cdf(np.zeros(N)).mean() == pytest.approx(np.mean(RATE == 0), abs=0.1)
    assert (distribution.quantile(0.001) >= 0).all()


def test_scores_are_of_totals() -> None:
    model = trees().fit(X, TOTAL, exposure=YEARS)
    expected = model.predict_distribution(X, exposure=YEARS).crps(TOTAL).mean()
    assert -neg_crps(model, X, TOTAL, exposure=YEARS) == pytest.approx(expected)
    residual = TOTAL - model.predict(X, exposure=YEARS)
    assert model.score(X, TOTAL, exposure=YEARS) == pytest.approx(1 - np.mean(residual**2) / np.var(TOTAL))


def test_routed_through_pipelines_and_searches() -> None:
    direct = trees().fit(StandardScaler().fit_transform(X), TOTAL, exposure=YEARS)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = trees().set_fit_request(exposure=True).set_predict_request(exposure=True)
        pipeline = make_pipeline(StandardScaler(), asked.set_score_request(exposure=True))
        pipeline.fit(X, TOTAL, exposure=YEARS)
        expected = direct.predict(StandardScaler().fit_transform(X), exposure=YEARS)
        np.testing.assert_array_equal(pipeline.predict(X, exposure=YEARS), expected)
        scorer = NegCRPS().set_score_request(exposure=True)
        scores = cross_val_score(pipeline, X, TOTAL, scoring=scorer, cv=2, params={"exposure": YEARS})
        assert (scores < 0).all()
    table = StandardScaler().fit(X).transform(X)
    totals = bt.predict_distribution(pipeline, X, YEARS)
    np.testing.assert_array_equal(totals.edges, direct.predict_distribution(table, YEARS).edges)


@every
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"exposure": np.where(np.arange(N) == 3, 0.0, 1.0)}, "exposure holds 0 in row 3: an exposure is a positive"),
        ({"exposure": np.where(np.arange(N) == 3, np.nan, 1.0)}, "exposure holds nan in row 3"),
        ({"exposure": -np.ones(N)}, "exposure holds -1 in row 0"),
        ({"exposure": np.ones(3)}, r"exposure has shape \(3,\), expected \(160,\)"),
        ({"exposure": ["long"] * N}, "exposure holds what is no number"),
        ({"exposure": np.where(np.arange(N) == 4, 5e-324, 1.0)}, "exposure holds 4.9.*e-324 in row 4: .* is infinite"),
        ({"exposure_val": np.ones(N)}, "exposure_val is given without the validation rows"),
        ({"exposure": np.ones(N), "eval_set": (X, TOTAL)}, "belong together: exposure_val is missing"),
        ({"exposure_val": np.ones(N), "eval_set": (X, TOTAL)}, "belong together: exposure is missing"),
        (
            {"exposure": np.ones(N), "eval_set": (X, TOTAL), "exposure_val": np.zeros(N)},
            "exposure_val holds 0 in row 0",
        ),
    ],
)
def test_what_cannot_be_is_one_line(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        REGRESSORS[name]().fit(X, TOTAL + 1, **given)
    assert "\n" not in str(caught.value)


def test_so_is_what_cannot_be_predicted() -> None:
    model = trees(n_estimators=2).fit(X, TOTAL)
    for method in ("predict", "predict_distribution", "predict_interval"):
        with pytest.raises(ValueError, match=r"^exposure has shape \(3,\), expected \(160,\)$"):
            getattr(model, method)(X, exposure=np.ones(3))
    with pytest.raises(ValueError, match="exposure holds 0 in row 0"):
        model.predict_quantiles(X, LEVELS, exposure=0)
