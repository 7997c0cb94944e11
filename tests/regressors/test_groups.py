"""Groups: no group is on both sides of anything that is held out or folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from bridges_tabular import (
    ClassifierBridgeRegressor,
    PooledBridgeRegressor,
    TabularBridgeRegressor,
    XGBBridgeRegressor,
)
from bridges_tabular.boosting.location import Sample
from bridges_tabular.regressors import base, rows
from bridges_tabular.regressors.groups import ranked
from bridges_tabular.regressors.rows import Rows

RNG = np.random.default_rng(0)
N, GROUPS = 180, 15
GROUP = RNG.integers(0, GROUPS, N)
EFFECT = 2 * RNG.normal(size=GROUPS)[GROUP]
# the group can be read off a column, and says most of the target
X = pd.DataFrame({"a": RNG.normal(size=N), "of_group": RNG.normal(size=GROUPS)[GROUP], "row": np.arange(N)})
Y = X["a"].to_numpy() + EFFECT + 0.1 * RNG.normal(size=N)
NAMES = np.array([f"customer {i}" for i in GROUP], dtype=object)


def trees(**params: Any) -> Any:
    return XGBBridgeRegressor("soft", **({"n_estimators": 6, "n_bins": 8, "n_jobs": 1, "location": "none"} | params))


def network(**params: Any) -> Any:
    own = {"n_bins": 8, "max_epochs": 1, "backbone_params": {"layers": "8"}}
    return TabularBridgeRegressor("CategoryEmbeddingModelConfig", scheme="soft", **(own | params))


REGRESSORS: dict[str, Any] = {
    "trees": trees,
    "network": network,
    "classifier": lambda **params: ClassifierBridgeRegressor(DecisionTreeClassifier(max_depth=2), n_bins=8),
    "pool": lambda **params: PooledBridgeRegressor([("a", trees()), ("b", trees(n_estimators=2))], **params),
}
every = pytest.mark.parametrize("name", REGRESSORS)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Rows]:
    """The rows of every fit, in the order in which they are taken apart."""
    taken: list[Rows] = []
    hold_out = Rows.hold_out

    def recorded(self: Rows, *args: Any) -> Any:
        both = hold_out(self, *args)
        taken.extend(both)
        return both

    monkeypatch.setattr(rows.Rows, "hold_out", recorded)
    return taken


def groups_of(part: Rows) -> set[int]:
    return set(GROUP[part.X["row"].to_numpy()])


@every
def test_no_group_is_held_out_in_part(name: str, parts: list[Rows]) -> None:
    REGRESSORS[name](**({} if name == "classifier" else {"calibration_fraction": 0.2})).fit(X, Y, groups=NAMES)
    # conformal rows are taken from all, then validation rows from the others
    expected = 2 if name == "classifier" else 4
    assert len(parts) == expected
    for rest, apart in zip(parts[::2], parts[1::2], strict=True):
        assert groups_of(rest).isdisjoint(groups_of(apart))
        assert len(groups_of(apart)) in (2, 3)
    whole = [parts[-2], parts[-1], *parts[1:-2:2]]
    assert sum(len(part) for part in whole) == N


def test_without_groups_they_are(parts: list[Rows]) -> None:
    trees().fit(X, Y)
    assert not groups_of(parts[0]).isdisjoint(groups_of(parts[1]))


@pytest.mark.parametrize("location", ["cross_fitted", LinearRegression()])
def test_folds_of_a_location_are_of_whole_groups(location: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assign, found = Sample.folds, []

    def recorded(training: Sample, random: Any) -> Any:
        folds = assign(training, random)
        found.append((training.X["row"].to_numpy(), folds.of_rows))
        return folds

    monkeypatch.setattr(Sample, "folds", recorded)
    trees(location=location).fit(X, Y, groups=NAMES)
    ((numbers, folds),) = found
    assert set(folds) == {0, 1, 2, 3}
    assert all(len(set(folds[GROUP[numbers] == group])) == 1 for group in set(GROUP[numbers]))


def test_intervals_of_new_groups_are_honest() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 60, 900)
    column, effect = rng.normal(size=60)[group], 2 * rng.normal(size=60)[group]
    X = np.column_stack([column, rng.normal(size=900)])
    y, old = effect + 0.3 * rng.normal(size=900), group < 45

    def coverage(**given: Any) -> float:
        model = XGBBridgeRegressor("soft", n_estimators=40, n_bins=16, n_jobs=1).fit(X[old], y[old], **given)
        low, high = model.predict_interval(X[~old], 0.8).T
        return float(np.mean((low <= y[~old]) & (y[~old] <= high)))

    assert coverage(groups=group[old]) > coverage() + 0.3


def test_validation_rows_that_are_given_leave_groups_to_the_folds() -> None:
    fit, held_out = np.arange(N) < 140, np.arange(N) >= 140
    eval_set = (X[held_out], Y[held_out])
    plain, grouped = (
        trees(location="cross_fitted").fit(X[fit], Y[fit], eval_set=eval_set, **given)
        for given in ({}, {"groups": GROUP[fit]})
    )
    assert (plain.predict(X) != grouped.predict(X)).any()
    # where there is nothing to fold, they have no effect
    a, b = (trees().fit(X[fit], Y[fit], eval_set=eval_set, **given) for given in ({}, {"groups": np.zeros(fit.sum())}))
    np.testing.assert_array_equal(a.predict(X), b.predict(X))


def test_names_of_groups_and_their_order_do_not_matter() -> None:
    expected = trees(location="cross_fitted").fit(X, Y, groups=GROUP).predict(X)
    names = pd.Series(pd.Categorical(NAMES), index=np.arange(N)[::-1])
    # numbered as they first come, strings and categories of the same rows are the same groups
    first = trees(location="cross_fitted").fit(X, Y, groups=pd.factorize(GROUP)[0]).predict(X)
    for same in (NAMES, names, list(NAMES)):
        np.testing.assert_array_equal(trees(location="cross_fitted").fit(X, Y, groups=same).predict(X), first)
    np.testing.assert_array_equal(expected, first)


def test_a_row_of_weight_zero_has_no_group() -> None:
    more = pd.concat([X, X[:10]], ignore_index=True)
    weight = np.repeat([1.0, 0.0], [N, 10])
    groups = np.append(GROUP, np.full(10, 99))
    model = trees(location="cross_fitted").fit(more, np.append(Y, np.zeros(10)), weight, groups=groups)
    np.testing.assert_array_equal(model.predict(X), trees(location="cross_fitted").fit(X, Y, groups=GROUP).predict(X))


def test_ranks_are_a_permutation_of_the_groups() -> None:
    places = ranked(np.array([7, 3, 7, 9, 3]), np.random.RandomState(0))
    assert places[0] == places[2]
    assert places[1] == places[4]
    assert set(places) == {0, 1, 2}


def test_routed_where_routing_is_on() -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), trees().set_fit_request(groups=True)).fit(X, Y, groups=GROUP)
    direct = trees().fit(StandardScaler().fit_transform(X), Y, groups=GROUP)
    np.testing.assert_array_equal(
        pipeline[-1].predict(StandardScaler().fit_transform(X)), direct.predict(StandardScaler().fit_transform(X))
    )


@every
@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (np.zeros(3), r"groups has shape \(3,\), expected \(180,\)"),
        (np.zeros((N, 2)), r"groups has shape \(180, 2\)"),
        ("all", r"groups has shape \(\)"),
        (np.where(np.arange(N) == 4, np.nan, 1.0), "groups holds a missing value in row 4"),
        (np.zeros(N), "groups holds one group alone, and rows that are held out need another"),
    ],
)
def test_what_cannot_be_is_one_line(name: str, groups: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        REGRESSORS[name]().fit(X, Y, groups=groups)
    assert "\n" not in str(caught.value)


def test_one_group_has_no_folds() -> None:
    model = trees(location="cross_fitted", early_stopping_rounds=None)
    with pytest.raises(ValueError, match="groups leaves one group to train on") as caught:
        model.fit(X, Y, groups=np.zeros(N))
    assert "\n" not in str(caught.value)
    assert isinstance(model, base.BridgeRegressor)
