"""Tables of other libraries than pandas: the same numbers, columns found by name, everything else in a line."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

import bridges_tabular
from bridges_tabular import ClassifierBridgeRegressor, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.regressors.tables import TableEncoder, as_frame

polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

REGRESSORS: dict[str, Callable[..., Any]] = {
    "trees": lambda: XGBBridgeRegressor(n_estimators=8, n_bins=8, location="none", n_jobs=1),
    "network": lambda: TabularBridgeRegressor(max_epochs=3, n_bins=8, backbone_params={"layers": "8"}),
    # by name, so that it fails on an array
    "classifier": lambda: ClassifierBridgeRegressor(
        make_pipeline(make_column_transformer(("passthrough", ["size", "rooms"])), DecisionTreeClassifier(max_depth=3)),
        n_bins=8,
    ),
}
every = pytest.mark.parametrize("name", REGRESSORS)

RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "size": RNG.uniform(1, 5, 120),
        "rooms": RNG.integers(1, 6, 120),
        "kind": RNG.choice(["plain", "fancy"], 120),
        "sold": [
            datetime.datetime(2024, 1, 1) + datetime.timedelta(days=int(day)) for day in RNG.integers(0, 600, 120)
        ],
    }
)
X.loc[3, "kind"] = None
Y = pd.Series(10 * X["size"] + 5 * (X["kind"] == "fancy") + RNG.normal(size=120), name="price")
OTHERS: dict[str, Callable[[Any], Any]] = {
    "polars": lambda table: polars.from_pandas(table),
    "arrow": lambda table: (
        pyarrow.chunked_array([table]) if isinstance(table, pd.Series) else pyarrow.Table.from_pandas(table)
    ),
    "narwhals": lambda table: narwhals.from_native(polars.from_pandas(table), allow_series=True),
}
others = pytest.mark.parametrize("library", OTHERS)


@every
@others
def test_other_libraries_give_the_same_numbers_by_name(name: str, library: str) -> None:
    plain = REGRESSORS[name]().fit(X[:80], Y[:80], eval_set=(X[80:100], Y[80:100]))
    to = OTHERS[library]
    eval_set = (to(X[80:100]), to(Y[80:100]), to(pd.Series(np.ones(20))))
    model = REGRESSORS[name]().fit(to(X[:80]), to(Y[:80]), to(pd.Series(np.ones(80))), eval_set=eval_set)
    assert model.feature_names_in_.tolist() == list(X)
    expected = plain.predict(X[100:])
    for table in (X[100:], to(X[100:])):
        np.testing.assert_array_equal(model.predict(table), expected)
        np.testing.assert_array_equal(model.predict_interval(table), plain.predict_interval(X[100:]))
    for fitted in (plain, model):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            fitted.predict(to(X[100:].iloc[:, ::-1]))
        with pytest.raises(ValueError, match="now missing:\n- kind"):
            fitted.predict_distribution(to(X[100:].drop(columns="kind")))


@others
def test_several_targets_keep_their_names(library: str, tmp_path: Path) -> None:
    targets = pd.DataFrame({"price": Y, "rent": 0.1 * Y + 1})
    model = REGRESSORS["network"]().fit(OTHERS[library](X), OTHERS[library](targets))
    assert model.predict(OTHERS[library](X)).shape == (120, 2)
    assert list(model.facts_["targets"]) == ["price", "rent"]
    model.save(tmp_path / "m")
    loaded = bridges_tabular.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(OTHERS[library](X)), model.predict(X))


def test_kinds_of_polars_columns() -> None:
    table = polars.DataFrame(
        {
            "whole": [1, None, 3],
            "flag": [True, None, False],
            "text": ["b", "a", None],
            "day": [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 3)],
            "code": polars.Series(["u", "v", "u"], dtype=polars.Categorical),
            "rank": polars.Series(["low", "high", "low"], dtype=polars.Enum(["low", "mid", "high"])),
            "cents": polars.Series(["1.50", "2.25", None]).cast(polars.Decimal(10, 2)),
            "nothing": [None, None, None],
        }
    )
    encoder = TableEncoder().fit(table)
    assert encoder.dates == {"day": False}
    own = {name: values for name, values in encoder.categories.items() if not name.startswith("day_")}
    assert own == {"text": ["a", "b"], "code": ["u", "v"], "rank": ["low", "high"]}
    numeric, _ = encoder.transform(table)
    found = pd.DataFrame(numeric, columns=encoder.numeric_columns)
    np.testing.assert_array_equal(found["whole"], [1, np.nan, 3])
    np.testing.assert_array_equal(found["flag"], [1, np.nan, 0])
    np.testing.assert_array_equal(found["cents"], [1.5, 2.25, np.nan])
    np.testing.assert_array_equal(found["day_dayofyear"], [1, np.nan, 3])
    assert found["nothing"].isna().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: polars.from_pandas(X).lazy(), "^X is a LazyFrame, whose rows are not computed yet: collect"),
        (lambda: pyarrow.RecordBatch.from_pandas(X), "^X is a RecordBatch, whose columns cannot be read by name"),
        (lambda: sparse.csr_matrix(np.ones((120, 2))), r"^Sparse data .* X \(csr_matrix\).*: use X.toarray\(\), or"),
        (lambda: sparse.coo_array(np.ones((120, 2))), r"^Sparse data .* X \(coo_array\)"),
        (lambda: polars.DataFrame({"a": [[1]] * 120}), "^column 'a' holds"),
    ],
)
@every
def test_what_cannot_be_read_by_name_is_refused_before_training(name: str, make: Any, message: str) -> None:
    model = REGRESSORS[name]()
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        model.fit(make(), Y)
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


def test_one_hot_columns_of_a_pipeline_say_what_to_do() -> None:
    def pipeline(**settings: Any) -> Any:
        encoder = OneHotEncoder(**settings)
        return make_pipeline(make_column_transformer((encoder, ["kind", "rooms"])), REGRESSORS["trees"]())

    with pytest.raises(TypeError, match="sparse_output=False in OneHotEncoder"):
        pipeline().fit(X, Y)
    assert np.isfinite(pipeline(sparse_output=False).fit(X, Y).predict(X)).all()


def test_a_target_that_no_model_learns_is_named() -> None:
    with pytest.raises(ValueError, match="Input y contains NaN or infinity: 1 of 120"):
        REGRESSORS["trees"]().fit(polars.from_pandas(X), polars.Series([None, *Y[1:]]))
    with pytest.raises(ValueError, match="the target y is not numeric: it holds 'dear'"):
        REGRESSORS["trees"]().fit(X, polars.Series(["dear"] * 120))


def test_polars_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Any) -> None:
        raise ModuleNotFoundError("pyarrow is required", name="pyarrow")

    monkeypatch.setattr(polars.DataFrame, "to_pandas", missing)
    with pytest.raises(ModuleNotFoundError, match=r'^X is a DataFrame, .* pip install "bridges-tabular\[parquet\]"$'):
        as_frame(polars.DataFrame({"a": [1.0]}))


def test_a_card_names_a_target_without_a_name(tmp_path: Path) -> None:
    model = REGRESSORS["trees"]().fit(X, pyarrow.chunked_array([Y.to_numpy()]))
    model.save(tmp_path / "m")
    assert json.loads((tmp_path / "m" / "bridge.json").read_text())["facts"]["targets"].keys() == {"y"}
