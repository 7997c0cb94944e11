"""Scorers under scikit-learn, and distributions through pipelines and searches."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import bridges_tabular as bt
from bridges_tabular import metrics
from bridges_tabular.core import scores
from bridges_tabular.regressors import pipelines

RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {"a": RNG.uniform(-1, 1, 160), "kind": RNG.choice(["u", "v"], 160)}, index=[f"row {i}" for i in range(160)]
)
Y = (np.sin(3 * X["a"]) + (X["kind"] == "u") + 0.2 * RNG.normal(size=160)).to_numpy()
SCORERS = {
    "crps": metrics.neg_crps,
    "log": metrics.neg_log_score,
    "pinball": metrics.neg_pinball([0.1, 0.5, 0.8]),
    "interval": metrics.neg_interval_score(0.8),
}
every = pytest.mark.parametrize("name", SCORERS)


def trees(**params: Any) -> Any:
    small = {"location": "none", "n_estimators": 8, "n_bins": 8, "n_jobs": 1, "verbosity": 0}
    return bt.XGBBridgeRegressor("soft", **(small | params))


def pipeline(**params: Any) -> Pipeline:
    columns = ColumnTransformer([("number", StandardScaler(), ["a"]), ("kind", OneHotEncoder(), ["kind"])])
    return Pipeline([("columns", columns), ("nothing", "passthrough"), ("model", trees(**params))])


@pytest.fixture(scope="module")
def fitted() -> Any:
    return trees().fit(X[:100], Y[:100])


@every
def test_a_scorer_is_the_score_of_the_distribution(name: str, fitted: Any) -> None:
    d, y, weight = fitted.predict_distribution(X[100:]), Y[100:], np.arange(60.0)
    quantiles = d.quantile([0.1, 0.5, 0.8])
    for w in (None, weight):
        expected = {
            "crps": -scores.crps(d, y, w),
            "log": -scores.log_score(d, y, w),
            "pinball": -np.mean(
                [
                    mean_pinball_loss(y, q, alpha=level, sample_weight=w)
                    for q, level in zip(quantiles.T, (0.1, 0.5, 0.8), strict=True)
                ]
            ),
            "interval": -scores.interval_score(d.interval(0.8), y, 0.8, w),
        }
        assert SCORERS[name](fitted, X[100:], y, sample_weight=w) == pytest.approx(expected[name], rel=1e-12)
    assert SCORERS[name](fitted, X[100:], pd.Series(y)) == SCORERS[name](fitted, X[100:], y)


@every
def test_a_scorer_survives_clones_and_pickle(name: str, fitted: Any) -> None:
    expected = SCORERS[name](fitted, X[100:], Y[100:])
    for again in (clone(SCORERS[name]), pickle.loads(pickle.dumps(SCORERS[name]))):
        assert again(fitted, X[100:], Y[100:]) == expected


def test_under_a_search_over_a_pipeline() -> None:
    search = GridSearchCV(
        pipeline(), {"model__n_estimators": [1, 12]}, scoring=SCORERS, refit="crps", cv=2, error_score="raise"
    ).fit(X, Y)
    assert search.best_params_ == {"model__n_estimators": 12}
    assert set(SCORERS) == {key.removeprefix("mean_test_") for key in search.cv_results_ if key.startswith("mean_test")}
    found = {key: scorer(search, X, Y) for key, scorer in SCORERS.items()}
    assert found == {key: scorer(search.best_estimator_, X, Y) for key, scorer in SCORERS.items()}
    assert search.score(X, Y) == found["crps"]
    by_hand = cross_val_score(pipeline(n_estimators=12), X, Y, scoring=metrics.neg_crps, cv=2)
    assert search.best_score_ == pytest.approx(by_hand.mean())


def test_the_distribution_of_a_pipeline_is_that_of_its_last_step() -> None:
    model = pipeline().fit(X, Y)
    found = bt.predict_distribution(model, X[:5])
    table = model[:-1].transform(X[:5])
    np.testing.assert_array_equal(found.cdf(0.3), model[-1].predict_distribution(table).cdf(0.3))
    assert found.to_frame().index.tolist() == [f"row {i}" for i in range(5)]
    nested = make_pipeline(pipeline()).fit(X, Y)
    np.testing.assert_allclose(bt.predict_distribution(nested, X[:5]).mean, nested.predict(X[:5]))
    assert bt.predict_distribution(model, X[:5].reset_index(drop=True)).index.tolist() == list(range(5))


def test_the_index_of_a_table_is_kept(fitted: Any) -> None:
    assert fitted.predict_distribution(X[3:6]).to_frame().index.tolist() == ["row 3", "row 4", "row 5"]


def test_several_targets_have_the_mean_of_their_scores() -> None:
    both = np.column_stack([Y, 2 * Y])
    network = bt.TabularBridgeRegressor(
        "CategoryEmbeddingModelConfig", max_epochs=1, n_bins=8, backbone_params={"layers": "8"}
    ).fit(X, both)
    one, other = bt.predict_distribution(make_pipeline(network).fit(X, both), X)
    expected = -(scores.crps(one, Y) + scores.crps(other, 2 * Y)) / 2
    assert metrics.neg_crps(network, X, both) == pytest.approx(expected, rel=0.2)
    one, other = network.predict_distribution(X)
    assert metrics.neg_crps(network, X, both) == pytest.approx(-(scores.crps(one, Y) + scores.crps(other, 2 * Y)) / 2)
    with pytest.raises(ValueError, match=r"^y has 1 target\(s\), and the estimator predicts 2$"):
        metrics.neg_crps(network, X, Y)


def test_what_has_no_distribution_is_refused_in_a_line(fitted: Any) -> None:
    numbers = X[["a"]]
    with pytest.raises(TypeError, match=r"^LinearRegression predicts no distributions: it has, and holds, no"):
        metrics.neg_crps(LinearRegression().fit(numbers, Y), numbers, Y)
    with pytest.raises(TypeError, match=r"^XGBBridgeRegressor predicts no distributions"):
        bt.predict_distribution(trees(calibration="none").set_params(scheme="least_squares").fit(X, Y), X)
    search = GridSearchCV(trees(), {"n_bins": [8]}, cv=2, refit=False).fit(X, Y)
    with pytest.raises(TypeError, match=r"^GridSearchCV predicts no distributions"):
        bt.predict_distribution(search, X)
    with pytest.raises(NotFittedError):
        bt.predict_distribution(pipeline(), X)
    with pytest.raises(ValueError, match=r"^levels is \[1\.5\], expected numbers from 0 to 1$"):
        metrics.neg_pinball(1.5)
    with pytest.raises(ValueError, match=r"^coverage is 90, expected"):
        metrics.neg_interval_score(90)


class TestValidationRowsByName:
    def test_they_are_the_eval_set(self) -> None:
        by_name = trees().fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:])
        given = trees().fit(X[:100], Y[:100], eval_set=(X[100:], Y[100:]))
        held_out = trees().fit(X[:100], Y[:100])
        np.testing.assert_array_equal(by_name.predict(X), given.predict(X))
        assert np.abs(by_name.predict(X) - held_out.predict(X)).max() > 1e-6

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"X_val": X, "y_val": Y, "eval_set": (X, Y)}, "given twice: by eval_set, and by X_val and y_val"),
            ({"X_val": X}, "X_val and y_val belong together: y_val is missing"),
            ({"y_val": Y}, "X_val and y_val belong together: X_val is missing"),
            ({"X_val": X, "y_val": np.full(160, "a")}, "the target y_val is not numeric"),
        ],
    )
    @pytest.mark.parametrize("make", [trees, bt.TabularBridgeRegressor])
    def test_other_than_that_is_refused(self, given: dict[str, Any], words: str, make: Any) -> None:
        with pytest.raises(ValueError, match=words):
            make().fit(X, Y, **given)

    def test_a_pipeline_carries_and_transforms_them(self) -> None:
        with sklearn.config_context(enable_metadata_routing=True):
            model = pipeline()
            model.set_params(transform_input=["X_val"])
            model[-1].set_fit_request(X_val=True, y_val=True)
            model.fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:])
            search = GridSearchCV(clone(model), {"model__n_bins": [8]}, scoring=metrics.neg_crps, cv=2)
            search.fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:])
        columns = model[:-1]
        by_hand = trees().fit(columns.transform(X[:100]), Y[:100], eval_set=(columns.transform(X[100:]), Y[100:]))
        np.testing.assert_array_equal(model.predict(X), by_hand.predict(columns.transform(X)))

    def test_weights_reach_the_scorer_by_routing(self) -> None:
        weight = np.arange(160.0) + 1
        with sklearn.config_context(enable_metadata_routing=True):
            scorer = metrics.neg_interval_score(0.8).set_score_request(sample_weight=True)
            model = trees().set_fit_request(sample_weight=False)
            search = GridSearchCV(model, {"n_bins": [8]}, scoring=scorer, cv=2).fit(X, Y, sample_weight=weight)
        expected = []
        for train, test in ((slice(80, 160), slice(0, 80)), (slice(0, 80), slice(80, 160))):
            expected.append(scorer(trees().fit(X[train], Y[train]), X[test], Y[test], weight[test]))
        assert search.best_score_ == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("module", [metrics, pipelines])
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 3


@pytest.mark.slow
def test_type_checkers_see_distributions(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(
        "import bridges_tabular as bt\n"
        "X: list[list[float]] = []\n"
        "reveal_type(bt.XGBBridgeRegressor().predict_distribution(X))\n"
        "reveal_type(bt.ClassifierBridgeRegressor('').predict_distribution(X))\n"
        "reveal_type(bt.TabularBridgeRegressor().predict_distribution(X))\n"
        "reveal_type(bt.XGBBridgeRegressor().predict_distribution(X).expected_shortfall(0.9))\n"
        "reveal_type(bt.TabularBridgeRegressor().predict_quantiles(X, [0.5]))\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent", str(tmp_path / "use.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    revealed = [line.split('"')[1].replace("numpy.", "") for line in said.splitlines() if "Revealed" in line]
    distribution = "bridges_tabular.core.distribution.BinnedDistribution"
    # of several targets it is a list
    either = (f"{distribution} | Any", f"Union[{distribution}, Any]")
    assert [one in either for one in revealed[:3]] == [True, False, True]
    assert revealed[1] == distribution
    assert all("ndarray" in one for one in revealed[3:])
