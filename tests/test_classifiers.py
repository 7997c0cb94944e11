"""Bins over classifiers of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import bridges_tabular
from bridges_tabular import ClassifierBridgeRegressor

Homes = tuple[pd.DataFrame, pd.Series]


def lightgbm() -> Any:
    return pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=20, num_leaves=7, n_jobs=1, verbose=-1)


CLASSIFIERS = {
    "hist": lambda: HistGradientBoostingClassifier(max_iter=15, random_state=0),
    "forest": lambda: RandomForestClassifier(n_estimators=60, min_samples_leaf=3, random_state=0),
    "lightgbm": lightgbm,
}


def unmet_checks(_: Any) -> dict[str, str]:
    reason = "rows held out for calibration are drawn by number"
    return {"check_sample_weight_equivalence_on_dense_data": reason}


@pytest.mark.filterwarnings("ignore:n_bins=.* is more than the targets can fill:UserWarning")
@parametrize_with_checks(
    [ClassifierBridgeRegressor(DecisionTreeClassifier(random_state=0), n_bins=6)], expected_failed_checks=unmet_checks
)
def test_scikit_learn_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_any_classifier_becomes_a_regressor_with_a_distribution(name: str, homes: Homes) -> None:
    X, y = homes
    X = X[["size", "age", "noise"]].assign(fancy=X["kind"] == "fancy", age=X["age"].fillna(30))
    model = ClassifierBridgeRegressor(CLASSIFIERS[name](), n_bins=10).fit(X[:220], y[:220])
    assert model.score(X[220:], y[220:]) > 0.7
    low, high = model.predict_interval(X[220:], 0.8).T
    assert 0.6 < np.mean((low <= y[220:]) & (y[220:] <= high)) < 0.95
    spread = model.predict_distribution(X[220:])
    assert spread.crps(y[220:]).mean() < 0.75 * np.abs(y[220:] - y[:220].mean()).mean()


def test_classes_never_seen_have_no_probability_and_weights_arrive() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(300, 1))
    y = 10 * X[:, 0]
    weight = np.where((y > 3) & (y < 7), 0.0, 1.0)
    model = ClassifierBridgeRegressor(
        DecisionTreeClassifier(random_state=0), n_bins=10, placement="uniform", calibration="none"
    ).fit(X, y, sample_weight=weight)
    distribution = model.predict_distribution([[0.1], [0.9]])
    np.testing.assert_allclose(distribution.mean, [1, 9], atol=0.7)
    assert model.predict([[0.1]]) == pytest.approx(1, abs=0.7)


def test_clone_keeps_the_classifier_unfitted(homes: Homes) -> None:
    X, y = homes
    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    model = ClassifierBridgeRegressor(forest, n_bins=5).fit(X[["size"]], y)
    assert not hasattr(forest, "estimators_")
    assert clone(model).estimator.n_estimators == 5
    assert clone(model).set_params(estimator__n_estimators=7).estimator.n_estimators == 7


@pytest.mark.parametrize(
    "params",
    [
        {"estimator": make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3, random_state=0))},
        {"estimator": "sklearn.tree.DecisionTreeClassifier", "estimator_params": {"max_depth": 3, "random_state": 0}},
    ],
)
def test_a_loaded_model_is_fitted_as_it_was(params: Any, homes: Homes, tmp_path: Path) -> None:
    X, y = homes[0][["size", "noise"]], homes[1]
    model = ClassifierBridgeRegressor(**params, n_bins=10).fit(X, y)
    model.save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m")
    for one in (again, clone(again).fit(X, y), again.fit(X, y)):
        np.testing.assert_array_equal(one.predict(X), model.predict(X))
    again.save(tmp_path / "m")
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "m").predict(X), model.predict(X))


def test_what_is_no_classifier_is_refused(homes: Homes) -> None:
    X, y = homes
    with pytest.raises(ValueError, match="predict_proba"):
        ClassifierBridgeRegressor(object()).fit(X, y)


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("sklearn.linear_model.SGDClassifier", None),
        (SGDClassifier(loss="log_loss"), {"loss": "hinge"}),
    ],
)
def test_a_classifier_without_probabilities_is_refused_before_any_data(estimator: Any, params: Any) -> None:
    with pytest.raises(ValueError, match=r"^estimator: SGDClassifier has no predict_proba with these parameters$"):
        ClassifierBridgeRegressor(estimator, estimator_params=params).check_params()
    ClassifierBridgeRegressor(estimator, estimator_params={"loss": "log_loss"}).check_params()


@pytest.mark.parametrize(
    ("classifier", "name"),
    [
        (KNeighborsClassifier(), "KNeighborsClassifier"),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), "Pipeline"),
    ],
)
@pytest.mark.parametrize("given", ["sample_weight", "exposure"])
def test_weights_need_a_classifier_that_takes_them(classifier: Any, name: str, given: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.uniform(size=(60, 2)), rng.uniform(size=60)
    model = ClassifierBridgeRegressor(classifier, n_bins=4)
    with pytest.raises(ValueError, match=f"^estimator: {name}.fit takes no sample_weight, which weights and exposure"):
        model.fit(X, y, **{given: rng.uniform(1, 2, 60)})
    model.fit(X, y, **{given: np.full(60, 2.0)})


@pytest.mark.parametrize(
    "classifier",
    [
        make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3, random_state=0)),
        GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [3]}, cv=2),
    ],
)
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
def test_weights_reach_a_classifier_within_another(classifier: Any) -> None:
    rng = np.random.default_rng(0)
    X, y, weight = rng.uniform(size=(100, 1)), rng.uniform(size=100), rng.uniform(0.1, 9, 100)
    alone = DecisionTreeClassifier(max_depth=3, random_state=0)
    expected, found = (
        ClassifierBridgeRegressor(one, n_bins=4).fit(X, y, sample_weight=weight).predict(X)
        for one in (alone, classifier)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("classifier", "column", "error", "words"),
    [
        (DecisionTreeClassifier(), pd.date_range("2024-01-01", periods=60), TypeError, "could not be promoted by"),
        (LogisticRegression(), np.where(np.arange(60) % 2, 1.0, np.nan), ValueError, "Input X contains NaN. Logistic"),
    ],
)
def test_what_the_classifier_refuses_is_a_line(classifier: Any, column: Any, error: Any, words: str) -> None:
    y = np.random.default_rng(0).normal(size=60)
    numbers = pd.DataFrame({"a": y, "b": y})
    model = ClassifierBridgeRegressor(classifier, n_bins=4)
    refused = numbers.assign(b=column)
    for call in (lambda: clone(model).fit(refused, y), lambda: model.fit(numbers, y).predict(refused)):
        with pytest.raises(error, match=f"^{type(classifier).__name__} refuses the table: .*{words}") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert isinstance(caught.value.__cause__, error)
