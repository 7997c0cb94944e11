"""Columns that trees may split one after the other, by name."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from bridges_tabular import XGBBridgeRegressor

SMALL = {"n_estimators": 8, "n_jobs": 1}
GROUPS = [["a", "day"], ["b", "c"]]
# the first to have them for vector leaves
CAN = tuple(int(part) for part in xgb.__version__.split(".")[:2]) >= (3, 4)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 3)), columns=["a", "b", "c"])
    X["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, 300), "D")
    return X, X["a"] * X["b"] + X["b"] * X["c"] + 0.1 * rng.normal(size=300)


def paths(booster):
    """Names of the columns that are split on the way to each leaf, those of a date by its own."""
    found = []

    def walk(node, names):
        if "leaf" in node:
            found.append(names)
            return
        for child in node["children"]:
            walk(child, names | {node["split"].split("_")[0].split(" ")[0]})

    for tree in booster.get_dump(dump_format="json"):
        walk(json.loads(tree), frozenset())
    return found


def held(booster, beside=()):
    return all(any(path <= {*group, *beside} for group in GROUPS) for path in paths(booster))


def test_groups_of_names_hold(table):
    params = {"xgb_params": {"interaction_constraints": GROUPS}}
    model = XGBBridgeRegressor("least_squares", **SMALL, **params).fit(*table)
    assert held(model.get_booster())
    assert not held(XGBBridgeRegressor("least_squares", **SMALL).fit(*table).get_booster())


@pytest.mark.skipif(CAN, reason="this XGBoost has them")
def test_vector_leaves_are_refused_before_any_training(table):
    model = XGBBridgeRegressor(**SMALL, xgb_params={"interaction_constraints": GROUPS})
    with pytest.raises(ValueError, match=r"^xgb_params=.*interaction.*: .*multi-target.*not yet implemented\.$"):
        model.check_params()


@pytest.mark.skipif(not CAN, reason="XGBoost before 3.4 has none for vector leaves")
def test_vector_leaves_hold_them_beside_the_location(table):
    model = XGBBridgeRegressor(**SMALL, xgb_params={"interaction_constraints": GROUPS}).fit(*table)
    assert held(model.get_booster(), ["location"])
    assert all(held(booster) for booster in model.get_location_boosters())
    assert any("location" in path and len(path) > 1 for path in paths(model.get_booster()))


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ([["a", "bb"]], r": there is no column 'bb'.*"),
        ([[0, 1]], r" is \[\[0, 1\]\], expected lists of names of columns"),
        (["a"], r" is \['a'\], expected lists of names of columns"),
    ],
)
def test_other_groups_are_refused_in_one_line(table, groups, told):
    model = XGBBridgeRegressor("least_squares", **SMALL, xgb_params={"interaction_constraints": groups})
    with pytest.raises(ValueError, match=rf"^xgb_params: interaction_constraints{told}$"):
        model.fit(*table)
