"""Fits to tables that are read part by part, against fits to the same rows in memory."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from sklearn.base import clone

from bridges_tabular import XGBBridgeRegressor, load
from bridges_tabular.boosting import quantised
from bridges_tabular.core.scores import crps
from bridges_tabular.regressors import engine, stored, streamed

FEATURES = ["carat", "depth", "cut", "sold"]


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "carat": rng.gamma(2, 1, n),
            "depth": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "cut": rng.choice(["Fair", "Good", "Ideal"], n),
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 800, n), "h"),
        }
    )
    noise = (0.1 + 0.2 * frame["carat"]) * rng.normal(size=n)
    frame["price"] = 3 * frame["carat"] + np.nan_to_num(frame["depth"]) + (frame["cut"] == "Ideal") + noise
    return frame.assign(copies=rng.integers(0, 3, n))


def regressor(**params: Any) -> XGBBridgeRegressor:
    return XGBBridgeRegressor(**{"n_bins": 12, "n_estimators": 12, "n_jobs": 1, "verbosity": 0} | params)


def quantiles(model: Any, frame: pd.DataFrame) -> Any:
    return model.predict_quantiles(frame[model.feature_names_in_], [0.1, 0.5, 0.9])


def parts_of(frame: pd.DataFrame, *cuts: int) -> list[pd.DataFrame]:
    return [frame.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True)]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Three parts in parquet, the second without rows, the third with its columns in another order."""
    parts = parts_of(table(400), 150, 150)
    parts[2] = parts[2][parts[2].columns[::-1]]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"part-{number}.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"location": "none", "scheme": "soft"},
        {"scheme": "hard"},
        {"scheme": "least_squares"},
        {"support": (0, None)},
    ],
)
@pytest.mark.parametrize("in_files", [False, True], ids=["memory", "files"])
def test_a_stream_gives_the_model_of_the_same_rows_in_memory(params: Any, in_files: bool, monkeypatch: Any) -> None:
    train, held_out = table(300), table(100, 1)
    if params.get("support"):
        train["price"], held_out["price"] = train["price"].abs(), held_out["price"].abs()
    watched = (held_out[FEATURES], held_out["price"], held_out["copies"])
    expected = regressor(**params).fit(train[FEATURES], train["price"], train["copies"], watched)
    if in_files:
        monkeypatch.setattr(quantised, "_SHARE", 0)
        monkeypatch.setattr(stored, "_BLOCK_SIZE", 300)
    found = regressor(**params).fit(parts_of(train, 10, 11, 200), "price", "copies", parts_of(held_out, 50))
    np.testing.assert_array_equal(quantiles(found, held_out), quantiles(expected, held_out))
    np.testing.assert_array_equal(found.predict(held_out[FEATURES]), expected.predict(held_out[FEATURES]))
    np.testing.assert_array_equal(found.feature_importances_, expected.feature_importances_)
    assert found.facts_ == expected.facts_
    assert found.evals_result_ == expected.evals_result_
    assert list(found.feature_names_in_) == FEATURES


def test_the_rows_that_calibrate_are_those_of_a_fit_in_memory(monkeypatch: Any) -> None:
    for module in (engine, streamed):
        monkeypatch.setattr(module, "CALIBRATION_ROWS", 100)
    train, held_out = table(300), table(400, 1)
    held_out["copies"] *= np.random.default_rng(2).random(400)
    watched = (held_out[FEATURES], held_out["price"], held_out["copies"])
    expected = regressor().fit(train[FEATURES], train["price"], train["copies"], watched)
    found = regressor().fit([train], "price", "copies", parts_of(held_out, 50, 130, 300))
    np.testing.assert_array_equal(quantiles(found, held_out), quantiles(expected, held_out))
    # others are drawn by another seed
    assert not np.array_equal(engine.drawn(400, 0), engine.drawn(400, 1))
    assert len(engine.drawn(400, 1)) == 100


def test_dates_may_be_of_another_type_or_zone_in_each_part() -> None:
    train, held_out = table(300).drop(columns="copies"), table(100, 1).drop(columns="copies")
    for frame in (train, held_out):
        frame["sold"] = frame["sold"].dt.normalize()
    expected = regressor().fit(train[FEATURES], train["price"], None, (held_out[FEATURES], held_out["price"]))
    changes = (
        lambda sold: sold.astype("datetime64[s]"),
        lambda sold: sold.dt.tz_localize("UTC"),
        lambda sold: sold.dt.tz_localize("Asia/Tokyo").astype(object),
        lambda sold: sold.dt.date,
        lambda sold: sold.astype("date32[pyarrow]"),
    )
    sources = [
        [part.assign(sold=change(part["sold"])) for part, change in zip(parts_of(frame, *cuts), changes, strict=True)]
        for frame, cuts in ((train, (60, 120, 180, 240)), (held_out, (20, 40, 60, 80)))
    ]
    found = regressor().fit(sources[0], "price", None, sources[1])
    assert found.facts_ == expected.facts_
    np.testing.assert_array_equal(quantiles(found, held_out), quantiles(expected, held_out))
    other = held_out.assign(sold=[*held_out["sold"][:50].dt.tz_localize("UTC"), *held_out["sold"][50:]])
    with pytest.raises(ValueError, match=r"^part 1 of X: column 'sold' holds dates that do not go together") as caught:
        regressor().fit([train, other], "price")
    assert "\n" not in str(caught.value)


def test_large_features_are_in_files_and_small_ones_in_memory(monkeypatch: Any) -> None:
    monkeypatch.setattr(quantised, "_memory", lambda: 12_800)
    small, large = (stored.StoredValues(Path("none"), (n, 4)) for n in (10, 1_000))
    assert quantised.fits_in_memory(small)
    assert not quantised.fits_in_memory(large)
    # what is meant counts, not what is in the file
    assert quantised.fits_in_memory(large[np.arange(1_000) < 10])


def test_how_rows_are_divided_into_parts_does_not_matter(parquet: Path) -> None:
    frame, new = table(400), table(50, 2)
    model = regressor()
    whole = quantiles(model.fit([frame], "price"), new)
    files = [str(path) for path in sorted(parquet.glob("*.parquet"))]
    again = [
        parts_of(frame, 1, 250),
        lambda: iter(parts_of(frame, 399)),
        parquet / "*.parquet",
        str(parquet),
        ds.dataset(files, schema=pa.Schema.from_pandas(frame, preserve_index=False)),
    ]
    for source in again:
        np.testing.assert_array_equal(quantiles(clone(model).fit(source, "price"), new), whole)
    # others are held out by another seed
    assert np.abs(quantiles(regressor(random_state=1).fit([frame], "price"), new) - whole).max() > 0


def test_quality_is_that_of_rows_held_out_at_random() -> None:
    frame, new = table(2_000).drop(columns="copies"), table(1_000, 3)
    y = new["price"].to_numpy()
    in_memory = regressor(n_estimators=40).fit(frame[FEATURES], frame["price"])
    streamed = regressor(n_estimators=40).fit(parts_of(frame, 700), "price")
    one, other = (crps(model.predict_distribution(new[FEATURES]), y) for model in (in_memory, streamed))
    assert other == pytest.approx(one, rel=0.05)


def test_shares_are_held_out_for_validation_and_for_conformal_intervals() -> None:
    frame = table(1_000).drop(columns="copies")
    rows = regressor(calibration_fraction=0.2).fit([frame], "price").facts_["rows"]
    assert rows == pytest.approx(0.8 * 0.8 * 1_000, abs=60)
    assert regressor(early_stopping_rounds=None).fit([frame], "price").facts_["rows"] == 1_000


def test_weights_by_name_are_repeated_rows() -> None:
    frame = table(200)
    repeated = frame.loc[frame.index.repeat(frame["copies"])]
    held_out = [table(60, 1)]
    settings = {"subsample": 1.0, "scheme": "least_squares", "calibration": "none"}
    weighted = regressor(**settings).fit([frame], "price", "copies", [held_out[0].assign(copies=1)])
    plain = regressor(**settings).fit(
        [repeated.drop(columns="copies")], "price", None, [held_out[0].drop(columns="copies")]
    )
    new = table(40, 2)[FEATURES]
    # quantiles of weighted rows are not quite those of repeated ones
    error = weighted.predict(new) - plain.predict(new)
    assert np.sqrt(np.mean(error**2)) < 0.25 * np.std(plain.predict(new))
    unweighted = regressor(**settings).fit(
        [frame.drop(columns="copies")], "price", None, [held_out[0].drop(columns="copies")]
    )
    assert np.abs(unweighted.predict(new) - weighted.predict(new)).max() > 0


def test_categories_and_values_of_later_parts_alone_are_known() -> None:
    first, second = table(200).assign(cut="Fair", depth=np.nan), table(200, 1).assign(cut="Ideal")
    second["price"] += 10
    model = regressor(validation_fraction=0.05).fit([first, second], "price")
    assert model._columns.categories["cut"] == ["Fair", "Ideal"]
    new = table(100, 2)
    low, high = (model.predict(new.assign(cut=cut)[[*FEATURES, "copies"]]) for cut in ("Fair", "Ideal"))
    assert np.mean(high - low) > 3


def test_saved_models_predict_the_same(parquet: Path, tmp_path: Path) -> None:
    frame = table(50, 1)
    model = regressor().fit(parquet, "price", "copies")
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(quantiles(again, frame), quantiles(model, frame))
    shares = again.predict_contributions(frame[FEATURES])
    np.testing.assert_allclose(shares.sum(axis=1), model.predict(frame[FEATURES]), rtol=1e-4)


class _Once:
    """Gives parts in its first pass alone, though it looks as if it started anew."""

    def __init__(self) -> None:
        self._parts = iter([table(100)])

    def __iter__(self) -> Iterator[pd.DataFrame]:
        yield from self._parts


def _without(name: str) -> list[pd.DataFrame]:
    return [table(50), table(50, 1).drop(columns=name)]


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ("nowhere/*.parquet", "X='nowhere/*.parquet' matches no file"),
        (__file__, "is not a .parquet file"),
        (_without("price"), "part 1 of X: it lacks column 'price'"),
        (_without("depth"), "part 1 of X: it lacks column(s) 'depth', which parts before it have"),
        ([table(50), table(50).assign(new=1)], "part 1 of X: it has column(s) 'new', which parts before it lack"),
        ([table(50), table(9).assign(price="a")], "part 1 of X: the target 'price' is not numeric: it holds 'a'"),
        ([table(50), table(9).assign(depth=-np.inf)], "part 1 of X: column 'depth' holds 5 value(s) that are infinite"),
        ([table(50), table(9).assign(carat="big")], "part 1 of X: column 'carat' holds categories, in parts before it"),
        ([table(50), "a table"], "part 1 of X is a str, not a DataFrame"),
        ((part for part in [table(50)]), "X is a generator, which can be read but once"),
        (_Once(), "X gave "),
        (table(50), "X is one table: give [X]"),
        (7, "X is a int, and y='price' the name of a column"),
        ([table(0)], "X holds 0 rows with a weight, which leave no training rows"),
        ([table(1)], "X holds 1 rows with a weight, which leave no "),
        ([table(50)[["price"]]], "part 0 of X: Found 0 feature(s) while a minimum of 1 is required."),
    ],
)  # fmt: skip
def test_sources_that_cannot_be_used_are_refused_in_a_line(X: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        regressor().fit(X, "price")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_files_need_the_name_of_a_column() -> None:
    with pytest.raises(ValueError, match=re.escape("X='data/*.parquet' names files: y must be the name")):
        regressor().fit("data/*.parquet", np.zeros(3))


@pytest.mark.parametrize("source", ["sales", "sales/*/*.parquet", "sales/**/*.parquet", "*/shop=*/*.parquet"])
def test_folders_that_hold_a_column_are_read_as_a_dataset(source: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, shop in enumerate("xy"):
        Path("sales", f"shop={shop}").mkdir(parents=True)
        table(100, seed).to_parquet(Path("sales", f"shop={shop}", "part.parquet"))
    with pytest.raises(ValueError, match=r"^X: the folder shop=x is a column that its files do not hold: ") as caught:
        regressor().fit(source, "price")
    assert "\n" not in str(caught.value)
    said = re.search(r"give pyarrow\.dataset\.dataset\('(.*)', partitioning=\"hive\"\)$", str(caught.value))
    assert said is not None
    if source.startswith("sales"):
        model = regressor().fit(ds.dataset(said[1], partitioning="hive"), "price")
        assert "shop" in model._columns.categories
    # the column of a single folder is the caller's choice
    assert "shop" not in regressor().fit("sales/shop=x/*.parquet", "price")._columns.columns


def test_a_broken_file_is_named(parquet: Path) -> None:
    (parquet / "part-3.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"part-3\.parquet cannot be read: "):
        regressor().fit(parquet, "price")


@pytest.mark.parametrize(
    ("params", "arguments", "words"),
    [
        ({"location": {"estimator": "sklearn.linear_model.Ridge"}}, {}, "takes 'cross_fitted' and 'none'"),
        ({"tree_method": "exact", "scheme": "hard"}, {}, "tree_method='exact' needs the table in memory"),
        ({}, {"sample_weight": np.ones(50)}, "sample_weight is the name of one"),
        ({}, {"sample_weight": "weight"}, "part 0 of X: it lacks column 'weight'"),
        ({}, {"eval_set": (table(9), table(9)["price"])}, "validation rows are an eval_set like X"),
        ({}, {"eval_set": [table(9).drop(columns="price")]}, "part 0 of eval_set: it lacks column 'price'"),
        ({}, {"eval_set": [table(9).drop(columns="cut")]}, "eval_set: it lacks column(s) 'cut', which rows of X have"),
        ({}, {"eval_set": [table(9).assign(new=1)]}, "eval_set: it has column(s) 'new', which rows of X lack"),
        ({}, {"eval_set": [table(9).iloc[:0]]}, "eval_set holds no rows with a weight"),
        ({}, {"eval_set": "nowhere.parquet"}, "eval_set='nowhere.parquet' matches no file"),
    ],
)  # fmt: skip
def test_what_needs_the_table_in_memory_is_refused(params: Any, arguments: Any, words: str) -> None:
    model = regressor(**params)
    with pytest.raises(ValueError, match=re.escape(words)):
        model.fit([table(50)], "price", **arguments)
    assert not hasattr(model, "n_features_in_")


_PEAK = """
import resource, sys
import numpy as np, pandas as pd
from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.boosting import quantised
from bridges_tabular.regressors import engine, stored, streamed
quantised._SHARE, stored._BLOCK_SIZE = 0, 1 << 20

def parts():
    for seed in range(int(sys.argv[1])):
        X = np.random.default_rng(seed).normal(size=(5_000, 100))
        yield pd.DataFrame(X, columns=[f"x{j}" for j in range(100)]).assign(y=X[:, 0] + X[:, 1])

XGBBridgeRegressor(n_bins=16, n_estimators=4, n_jobs=1).fit(parts, "y")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_memory_grows_by_far_less_than_the_rows() -> None:
    # XGBoost's sketch of the quantiles grows up to some 200,000 rows of so many columns
    parts = 48, 96
    peaks = [
        int(subprocess.run([sys.executable, "-c", _PEAK, str(n)], check=True, capture_output=True, text=True).stdout)
        for n in parts
    ]
    of_a_row = (peaks[1] - peaks[0]) / ((parts[1] - parts[0]) * 5_000)
    assert of_a_row < 100 * 8 / 2
