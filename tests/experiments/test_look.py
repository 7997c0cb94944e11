"""A look at a table before training: what it names, what it leaves alone, and where it is shown."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.experiments import BridgeStudy, Experiment, compare, train
from bridges_tabular.experiments.blocks import SplitBlock, TableBlock
from bridges_tabular.experiments.look import Finding, look
from bridges_tabular.experiments.splits import make_splits
from bridges_tabular.experiments.tables import Table, load_table
from bridges_tabular.regressors.kinds import NearUniqueWarning

N = 300
RNG = np.random.default_rng(0)
PLAIN = pd.DataFrame(
    {
        "size": RNG.uniform(1, 5, N),
        "rooms": RNG.integers(1, 9, N),
        "kind": RNG.choice(["plain", "fancy", "odd"], N),
        "street": RNG.choice([f"street {i}" for i in range(40)], N),
        "price": RNG.normal(size=N),
    }
)


def looked_at(frame: pd.DataFrame, tmp_path: Path, **split: Any) -> list[Finding]:
    frame.to_csv(tmp_path / "t.csv", index=False)
    block = SplitBlock(**split)
    table = load_table(TableBlock(str(tmp_path / "t.csv"), "price"), block)
    return look(table, make_splits(table, block))


def test_an_ordinary_table_is_left_alone(tmp_path: Path) -> None:
    assert looked_at(PLAIN, tmp_path) == []


@pytest.mark.parametrize(
    ("name", "values", "kind", "said"),
    [
        ("number", np.arange(N) + 17, "identifier", "column 'number' counts the rows"),
        ("number", -3 * np.arange(N), "identifier", "column 'number' counts the rows"),
        ("house_id", RNG.permutation(N), "identifier", "column 'house_id' has another number in each row"),
        (
            "name",
            [f"owner {i}" for i in range(N)],
            "near-unique text",
            "column 'name' holds 300 different texts",
        ),
        ("always", ["yes"] * N, "constant", "column 'always' holds 'yes' in every row that has a value"),
        ("always", [3.5, *[None] * (N - 1)], "constant", "column 'always' holds 3.5 in every row"),
        ("never", [None] * N, "constant", "column 'never' holds no value"),
        ("sold", [f"{i % 28 + 1:02}/05/2024" for i in range(N)], "dates as text", "column 'sold' holds '01/05/2024'"),
        (
            "rate",
            [f"{i % 5},{i % 3}" for i in range(N)],
            "numbers as text",
            "column 'rate' holds '0,0': numbers with a",
        ),
        ("rate", [f"-{i},5" if i % 2 else f"{i}" for i in range(N)], "numbers as text", "column 'rate' holds '-1,5': "),
        ("rate", [f"1.{100 + i},25" for i in range(N)], "numbers as text", "column 'rate' holds '1.100,25': numbers"),
        ("rate", [f"{i},{100 + i}.5" for i in range(N)], "numbers as text", "column 'rate' holds '0,100.5': numbers"),
        ("copy", PLAIN["price"], "leak", "column 'copy' equals 'price' in every row"),
        ("copy", PLAIN["price"].where(np.arange(N) > 9), "leak", "column 'copy' equals 'price'"),
        ("taxed", np.exp(PLAIN["price"]), "leak", "column 'taxed' is in the same order as 'price'"),
        ("debt", 1 - 3 * PLAIN["price"], "leak", "column 'debt' is in the opposite order as 'price'"),
    ],
)
def test_a_column_is_named(tmp_path: Path, name: str, values: Any, kind: str, said: str) -> None:
    (found,) = looked_at(PLAIN.assign(**{name: values}), tmp_path)
    assert found.kind == kind
    assert found.said.startswith(said)
    assert "\n" not in found.said


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("valid", RNG.permutation(N)),
        ("count", RNG.integers(0, 1000, N)),
        ("height", np.sort(RNG.normal(size=N))),
        ("noisy", PLAIN["price"] + 1e-3 * RNG.normal(size=N)),
        ("name", [f"owner {i % 150}" for i in range(N)]),
        ("floors", [f"{i % 5},{i % 3},{i % 2}" for i in range(N)]),
        ("place", [f"{i % 5},{i % 3}" if i % 5 else "none" for i in range(N)]),
        ("day", pd.date_range("2024-01-01", periods=N).strftime("%Y-%m-%d")),
    ],
)
def test_a_column_of_use_is_not(tmp_path: Path, name: str, values: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert looked_at(PLAIN.assign(**{name: values}), tmp_path) == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=25, max_size=40),
    st.sampled_from([None, 1, -1]),
)
def test_a_leak_is_a_rank_correlation_of_one(pairs: list[tuple[int, int]], copied: int | None) -> None:
    x, y = np.array(pairs, dtype=float).T
    if copied is not None:
        x = copied * y**3
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return
    table = Table("t", "y", pd.DataFrame({"x": x}), y, np.arange(len(y)))
    leaks = any(finding.kind == "leak" for finding in look(table, make_splits(table, SplitBlock())[:1]))
    assert leaks == (abs(spearmanr(x, y).statistic) > 1 - 1e-12)


def test_few_test_rows_and_copies_across_the_split_are_said(tmp_path: Path) -> None:
    (found,) = looked_at(PLAIN, tmp_path, test=0.1)
    assert found == Finding("few test rows", "there are 30: scores on 30 others would differ")
    twice = pd.concat([PLAIN, PLAIN[:60]], ignore_index=True)
    (found,) = looked_at(twice, tmp_path)
    split = make_splits(load_table(TableBlock(str(tmp_path / "t.csv"), "price")), SplitBlock())[0]
    number = np.arange(360) % 300
    copied = np.isin(number[split.test], number[split.train]).sum()
    assert found.said.startswith(f"{copied} of 72 test rows ({copied / 72:.0%}) are also training rows, target and all")
    numbered = twice.assign(house=[f"house {i}" for i in number])
    assert looked_at(numbered, tmp_path, group="house") == []


def test_a_look_at_many_rows_is_a_look_at_some() -> None:
    n = 400_000
    y = np.random.default_rng(0).normal(size=n)
    X = pd.DataFrame({f"x{i}": y if i == 3 else np.roll(y, i + 1) for i in range(20)})
    table = Table("t", "y", X, y, np.arange(n))
    splits = make_splits(table, SplitBlock())
    started = time.process_time()
    (found,) = look(table, splits)
    assert time.process_time() - started < 2
    assert "'x3' equals 'y'" in found.said


def test_it_is_on_the_console_and_in_the_report(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del content["table"]["drop"]
    compare(content, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert "a look at homes\n  identifier     column 'id' counts the rows: leave it out with table.drop\n" in said
    assert said.index("few test rows") < said.index("RMSE")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "A look at the data" in page
    assert "<b>identifier</b>: column &#39;id&#39; counts the rows" in page
    compare(content, quiet=True)
    assert capsys.readouterr().err == ""
    train(Experiment.read(content), "bins")
    assert "a look at homes\n" in capsys.readouterr().err
    content["study"] = {"model": "bins", "trials": 1, "bundled_space": False}
    content["study"]["space"] = {"n_bins": {"type": "int", "low": 4, "high": 8}}
    BridgeStudy(content).optimize()
    assert capsys.readouterr().err.count("a look at homes\n") == 1


def test_a_fit_warns_of_text_that_is_nearly_unique_by_name(content: dict[str, Any], frame: pd.DataFrame) -> None:
    model = XGBBridgeRegressor(n_estimators=3, n_bins=4, n_jobs=1)
    X = frame[["size", "kind"]].assign(owner=[f"owner {i}" for i in range(120)])
    with pytest.warns(NearUniqueWarning, match="^column 'owner' holds 96 different texts in 96 rows: it tells rows"):
        model.fit(X, frame["price"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", NearUniqueWarning)
        model.fit(X.drop(columns="owner"), frame["price"])
        X.assign(price=frame["price"]).to_csv(content["table"]["source"], index=False)
        content["table"].pop("drop")
        assert compare(content, quiet=True).facts["tables"][0]["look"][0]["kind"] == "near-unique text"
