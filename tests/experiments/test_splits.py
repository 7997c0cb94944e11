"""Splits by time, by group and as a column says; weights and rows without a target."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.experiments import BridgeStudy, Experiment, ExperimentError, compare, train
from bridges_tabular.experiments.blocks import SplitBlock, StudyBlock, TableBlock
from bridges_tabular.experiments.dates import TableNote
from bridges_tabular.experiments.marks import Marks
from bridges_tabular.experiments.splits import Split, make_folds, make_splits
from bridges_tabular.experiments.studies.objective import make_parts
from bridges_tabular.experiments.tables import Table, load_table

DAYS = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")


@pytest.fixture
def marked(frame: pd.DataFrame, tmp_path: Path) -> str:
    """The table with a date, a year, a group, a part and a weight for each row, in no order."""
    rng = np.random.default_rng(1)
    changed = frame.drop(columns="id").assign(
        day=rng.permutation(np.repeat(DAYS, 2)),
        year=rng.integers(2000, 2012, 120),
        owner=[f"owner {i}" for i in rng.integers(0, 12, 120)],
        part=rng.permutation(["train"] * 70 + ["validation"] * 20 + ["test"] * 30),
        exposure=rng.integers(0, 4, 120),
    )
    changed.to_csv(tmp_path / "marked.csv", index=False)
    return str(tmp_path / "marked.csv")


def load(source: str, block: SplitBlock, **table: Any) -> tuple[pd.DataFrame, Table]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableNote)
        return pd.read_csv(source), load_table(TableBlock(source, "price", **table), block)


def test_the_past_trains_and_the_future_tests_at_rolling_origins(marked: str) -> None:
    block = SplitBlock(0.3, 0.2, (4, 1, 7), time="day")
    frame, table = load(marked, block)
    day = frame["day"].to_numpy()
    splits = make_splits(table, block)
    assert [split.seed for split in splits] == [4, 1, 7]
    for split in splits:
        assert day[split.train].max() < day[split.validation].min()
        assert day[split.validation].max() < day[split.test].min()
        assert abs(len(split.test) - 12) <= 2
        assert len(split.validation) == 24
        before = [*split.train, *split.validation]
        assert sorted(before) == np.flatnonzero(day < day[split.test].min()).tolist(), "all of the past is used"
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested) == np.flatnonzero(day >= day[splits[0].test].min()).tolist()
    assert [day[split.test].min() for split in splits] == sorted(day[split.test].min() for split in splits)
    # one seed tests all of these rows, after the same training rows
    alone = make_splits(table, SplitBlock(0.3, 0.2, (4,), time="day"))[0]
    np.testing.assert_array_equal(alone.train, splits[0].train)
    np.testing.assert_array_equal(alone.test, np.sort(tested))


@given(
    times=st.lists(st.integers(0, 15), min_size=30, max_size=80),
    test=st.floats(0.1, 0.4),
    seeds=st.integers(1, 3),
)
def test_rows_of_one_time_stay_together_or_the_split_is_refused(times: list[int], test: float, seeds: int) -> None:
    values = np.array(times)
    y = np.arange(len(values), dtype=float)
    table = Table("t", "y", pd.DataFrame({"x": y}), y, np.arange(len(y)), None, Marks("time", "t", values))
    try:
        splits = make_splits(table, SplitBlock(test, 0.2, tuple(range(seeds)), time="t"))
    except ExperimentError as error:
        assert "different times" in str(error) or "distinct" in str(error)  # noqa: PT017
        return
    for split in splits:
        parts = [set(values[rows]) for rows in split.parts().values()]
        assert all(parts)
        assert max(parts[0]) < min(parts[1])
        assert max(parts[1]) < min(parts[2])


def test_no_group_is_on_two_sides_and_shares_are_of_groups(marked: str) -> None:
    block = SplitBlock(0.25, 0.25, (0, 1, 2), group="owner")
    frame, table = load(marked, block)
    assert "owner" not in table.X
    found = make_splits(table, block)
    for split in found:
        owners = [set(frame["owner"].iloc[rows]) for rows in split.parts().values()]
        assert [len(part) for part in owners] == [6, 3, 3]
        assert len(set.union(*owners)) == 12
        np.testing.assert_array_equal(np.sort(np.concatenate([*split.parts().values()])), np.arange(120))
    assert len({tuple(split.test) for split in found}) == 3


def test_a_split_that_is_given_is_kept(marked: str) -> None:
    block = SplitBlock(seeds=(0, 5), file="part")
    frame, table = load(marked, block)
    assert "part" not in table.X
    for split in make_splits(table, block):
        for name, rows in split.parts().items():
            np.testing.assert_array_equal(rows, np.flatnonzero(frame["part"] == name))
    frame["part"] = frame["part"].replace("validation", "train")
    frame.to_csv(marked, index=False)
    _, table = load(marked, block)
    first, second = make_splits(table, block)
    np.testing.assert_array_equal(first.test, np.flatnonzero(frame["part"] == "test"))
    assert len(first.validation) == len(second.validation) == 18
    assert set(first.validation) != set(second.validation)
    assert set(first.validation) | set(first.train) == set(np.flatnonzero(frame["part"] == "train"))


@pytest.mark.parametrize(
    ("block", "table", "features"),
    [
        (SplitBlock(time="day"), {}, ["size", "kind", "day", "year", "owner", "part", "exposure"]),
        (SplitBlock(time="day"), {"drop": ("day", "part")}, ["size", "kind", "year", "owner", "exposure"]),
        (SplitBlock(time="year"), {"drop": ("part",)}, ["size", "kind", "day", "owner", "exposure"]),
        (SplitBlock(group="owner"), {"weight": "exposure"}, ["size", "kind", "day", "year", "part"]),
        (SplitBlock(group="owner"), {"drop": ("owner",)}, ["size", "kind", "day", "year", "part", "exposure"]),
    ],
)
def test_what_a_split_goes_by_is_a_feature_if_it_is_dates(
    marked: str, block: SplitBlock, table: dict[str, Any], features: list[str]
) -> None:
    _, loaded = load(marked, block, **table)
    assert loaded.X.columns.tolist() == features
    assert len(make_splits(loaded, block)) == 1


def change(column: str, row: int, value: Any) -> Any:
    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return changed


@pytest.mark.parametrize(
    ("made", "block", "message"),
    [
        (change("day", 5, None), {"time": "day"}, "^split.time: column 'day' holds 1 missing of 120 .* row 5$"),
        (change("day", 5, "soon"), {"time": "day"}, "^split.time: column 'day' holds 'soon' in row 5, and a time has"),
        (change("owner", 3, None), {"group": "owner"}, "^split.group: column 'owner' holds 1 missing"),
        (change("part", 7, "dev"), {"file": "part"}, "^split.file: column 'part' holds 'dev' in row 7; its cells have"),
        (None, {"time": "dya"}, "^split.time: .* has no column 'dya', did you mean 'day'"),
        (None, {"group": "price"}, "^split.group: column 'price' is the target"),
        (lambda f: f.assign(year=1), {"time": "year"}, "^split.time: the 1 different times in 'year' leave no"),
        (
            lambda f: f.assign(owner="a"),
            {"group": "owner"},
            "^split.test: a share of 0.2 of 1 groups of 'owner'",
        ),
        (lambda f: f.assign(part="train"), {"file": "part"}, "^split.file: no cell of column 'part' says test$"),
        (lambda f: f.assign(part="test"), {"file": "part"}, "^split.validation: a share of 0.2 of 0 training rows"),
    ],
)
def test_a_column_that_no_split_can_go_by_is_refused(
    marked: str, made: Any, block: dict[str, str], message: str
) -> None:
    if made is not None:
        made(pd.read_csv(marked)).to_csv(marked, index=False)
    with pytest.raises(ExperimentError, match=message):
        make_splits(load(marked, SplitBlock(**block))[1], SplitBlock(**block))


def test_one_column_decides() -> None:
    with pytest.raises(ExperimentError, match=r"^group: stands beside time, and a split goes by one column$"):
        SplitBlock(time="day", group="owner")


def test_folds_keep_groups_together_and_follow_time(marked: str) -> None:
    block = SplitBlock(group="owner")
    frame, table = load(marked, block)
    split = make_splits(table, block)[0]
    folds = make_folds(table, split, 3)
    assert sorted(np.concatenate([fold.test for fold in folds])) == split.train.tolist()
    for fold in folds:
        assert not set(frame["owner"].iloc[fold.train]) & set(frame["owner"].iloc[fold.test])
        assert sorted([*fold.train, *fold.test]) == split.train.tolist()
        np.testing.assert_array_equal(fold.validation, split.validation)
    block = SplitBlock(time="day")
    _, table = load(marked, block)
    split = make_splits(table, block)[0]
    for fold in make_folds(table, split, 3):
        train, validation, scored = (frame["day"].iloc[rows] for rows in (fold.train, fold.validation, fold.test))
        assert train.max() < validation.min() <= validation.max() < scored.min()
        past = [*fold.train, *fold.validation]
        assert sorted(past) == np.flatnonzero(frame["day"] < scored.min()).tolist(), "all of the past is used"
        share = len(split.validation) / (len(split.train) + len(split.validation))
        assert len(fold.validation) == pytest.approx(share * len(past), abs=1)
        assert set(fold.test) <= set(split.train)
    watched = [part.held_out.X.index.max() for part in make_parts(table, split, StudyBlock("m", folds=3))]
    assert watched == [table.X.index[fold.validation].max() for fold in make_folds(table, split, 3)]
    with pytest.raises(ExperimentError, match=r"^study.folds: the training rows by 'day' are too few for 50 folds"):
        make_parts(table, split, StudyBlock("m", folds=50))


@given(times=st.lists(st.integers(0, 8), min_size=40, max_size=80), folds=st.integers(2, 5), share=st.floats(0.1, 0.4))
def test_folds_of_coarse_times_watch_at_least_one_time_of_their_past(
    times: list[int], folds: int, share: float
) -> None:
    n, time = len(times), np.array(times)
    marks = Marks("time", "t", time)
    table = Table("t", "y", pd.DataFrame({"x": np.arange(n)}), np.arange(n, dtype=float), np.arange(n), marks=marks)
    try:
        split = make_splits(table, SplitBlock(0.2, share, time="t"))[0]
        parts = make_folds(table, split, folds)
    except ExperimentError:
        return
    for fold in parts:
        assert len(fold.train) >= 2
        assert time[fold.train].max() < time[fold.validation].min()
        assert time[fold.validation].max() < time[fold.test].min()


def test_two_times_before_the_scored_rows_are_enough() -> None:
    time = np.repeat(np.arange(5), [2, 8, 10, 5, 5])
    table = Table("t", "y", pd.DataFrame({"x": time}), np.arange(30.0), np.arange(30), marks=Marks("time", "t", time))
    split = Split(0, *np.split(np.arange(30), [20, 25]))
    weighed = replace(table, weight=(time != 1).astype(float))
    (fold,) = make_folds(table, split, 1)
    assert [len(part) for part in (fold.train, fold.validation, fold.test)] == [2, 8, 10]
    with pytest.raises(ExperimentError, match=r"^study.folds: the training rows by 't' are too few for 1 folds$"):
        make_folds(weighed, split, 1)


def test_a_comparison_and_a_study_see_the_same_split(marked: str, content: dict[str, Any], tmp_path: Path) -> None:
    content["table"] = {"source": marked, "target": "price", "drop": ["day", "part"], "weight": "exposure"}
    content["split"] = {"group": "owner", "seeds": [0, 1]}
    content["study"] = {"model": "bins", "trials": 2, "folds": 2, "bundled_space": False}
    content["study"]["space"] = {"n_bins": {"type": "int", "low": 4, "high": 8}}
    comparison = compare(content, quiet=True, out=tmp_path / "run")
    experiment = Experiment.read(tmp_path / "run" / "config.yaml")
    assert experiment.split.group == "owner"
    owners = pd.read_csv(marked)["owner"]
    _, table = load(marked, experiment.split, weight="exposure")
    for split in make_splits(table, experiment.split):
        rows = comparison.predictions.query("seed == @split.seed")["row"]
        assert not set(owners[rows]) & set(owners.iloc[[*split.train, *split.validation]])
    assert "split</li>" not in (page := (tmp_path / "run" / "report.html").read_text())
    assert "random splits of groups, by <b>owner</b>" in page
    result = BridgeStudy(content).optimize(quiet=True)
    assert result.trials["rmse"].notna().all()


def test_groups_of_the_split_are_those_of_the_folds(marked: str, content: dict[str, Any]) -> None:
    small = {"n_bins": 8, "n_estimators": 6, "n_jobs": 1}
    content["table"] = {"source": marked, "target": "price", "drop": ["day", "part"]}
    content["split"] = {"group": "owner"}
    content["models"] = {"located": {"engine": "xgboost", "scheme": "soft", **small}}
    comparison = compare(content, quiet=True)
    _, table = load(marked, SplitBlock(group="owner"), drop=("day", "part"))
    split = make_splits(table, SplitBlock(group="owner"))[0]
    train, owner = table.X.iloc[split.train], pd.read_csv(marked)["owner"].to_numpy()[split.train]
    held_out = (table.X.iloc[split.validation], table.y[split.validation])
    predicted = []
    for groups in (owner, None):
        model = XGBBridgeRegressor("soft", **small).fit(train, table.y[split.train], eval_set=held_out, groups=groups)
        predicted.append(model.predict(table.X.iloc[split.test]))
    np.testing.assert_array_equal(comparison.predictions["y_pred"], predicted[0])
    assert (predicted[0] != predicted[1]).any()
    studied = make_parts(table, split, StudyBlock("located", folds=2))
    assert all(len(part.beside["groups"]) == len(part.train.y) for part in studied)


def test_weights_are_those_of_fits_and_scores(marked: str, content: dict[str, Any]) -> None:
    content["table"] = {"source": marked, "target": "price", "drop": ["day", "part", "owner"], "weight": "exposure"}
    comparison = compare(content, quiet=True)
    frame = pd.read_csv(marked)
    _, table = load(marked, SplitBlock(), drop=("day", "part", "owner"), weight="exposure")
    split = make_splits(table, Experiment.read(content).split)[0]
    weight = frame["exposure"].to_numpy(dtype=float)
    model = XGBBridgeRegressor("hard", n_bins=8, n_estimators=8, n_jobs=1)
    held_out = (table.X.iloc[split.validation], table.y[split.validation], weight[split.validation])
    model.fit(table.X.iloc[split.train], table.y[split.train], weight[split.train], eval_set=held_out)
    predicted, truth = model.predict(table.X.iloc[split.test]), table.y[split.test]
    found = comparison.results.set_index("model").loc["bins"]
    own = weight[split.test]
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth, predicted, sample_weight=own))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, predicted, sample_weight=own))
    assert found["r2"] == pytest.approx(r2_score(truth, predicted, sample_weight=own))
    crps = model.predict_distribution(table.X.iloc[split.test]).crps(truth)
    assert found["crps"] == pytest.approx(np.average(crps, weights=own))
    assert found["crps"] != pytest.approx(np.mean(crps))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "holds -1 in row 4, and a weight has to be a number of at least 0$"),
        (None, "holds nan"),
        ("x", "holds 'x'"),
    ],
)
def test_weights_that_are_none_are_refused(marked: str, value: Any, message: str) -> None:
    change("exposure", 4, value)(pd.read_csv(marked)).to_csv(marked, index=False)
    with pytest.raises(ExperimentError, match=f"^table.weight: column 'exposure' of .* {message}"):
        load(marked, SplitBlock(), weight="exposure")
    with pytest.raises(ExperimentError, match=r"^table.weight: .* has no column 'exposures', did you mean 'exposure'"):
        load(marked, SplitBlock(), weight="exposures")


def test_a_part_without_weight_is_refused(marked: str) -> None:
    frame = pd.read_csv(marked)
    frame.assign(exposure=(frame["part"] != "test").astype(int)).to_csv(marked, index=False)
    block = SplitBlock(file="part")
    with pytest.raises(ExperimentError, match=r"^table.weight: no test row \(seed 0\) has a weight above 0$"):
        make_splits(load(marked, block, weight="exposure")[1], block)


def test_rows_without_a_target_are_left_out_if_asked(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[[0, 50, 119], "price"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    block = TableBlock(str(tmp_path / "t.csv"), "price", missing_target="drop")
    with pytest.warns(TableNote, match=r"^3 of 120 rows have no 'price' and are left out$"):
        table = load_table(block)
    np.testing.assert_array_equal(table.rows, np.setdiff1d(np.arange(120), [0, 50, 119]))
    np.testing.assert_array_equal(table.y, frame["price"].dropna())
    np.testing.assert_array_equal(table.X["id"], table.rows)
    with pytest.warns(TableNote):
        assert not set(load_table(TableBlock(block.source, "price", missing_target="drop", rows=90)).rows) & {
            0,
            50,
            119,
        }
    with pytest.raises(
        ExperimentError, match=r"3 missing of 120 values, the first in row 0; table.missing_target: drop"
    ):
        load_table(TableBlock(block.source, "price"))
    with pytest.raises(ExperimentError, match=r"^missing_target: must be refuse or drop, not 'keep'$"):
        TableBlock("x.csv", "price", missing_target="keep")


@pytest.mark.parametrize(
    ("column", "use", "bad"),
    [
        ("weight", {"weight": "weight"}, ["", "-1", "?"]),
        ("weight", {"exposure": "weight"}, ["", "0", "?"]),
        ("day", {"time": "day"}, ["soon", ""]),
        ("owner", {"group": "owner"}, [""]),
        ("part", {"file": "part"}, ["", "nowhere"]),
        ("size", {}, ["?", "inf"]),
    ],
)
def test_only_rows_with_a_target_are_checked(
    frame: pd.DataFrame, tmp_path: Path, column: str, use: dict[str, str], bad: list[str]
) -> None:
    number = np.arange(120)
    frame = frame.assign(weight=1.0 + number, day=pd.date_range("2024-01-01", periods=120).strftime("%Y-%m-%d"))
    frame = frame.assign(owner=[f"owner {i % 7}" for i in number], part=np.where(number < 60, "train", "test"))
    frame = frame.astype(str)
    frame.loc[[5, 9], "price"] = ""
    path = tmp_path / "t.csv"
    split = SplitBlock(**{key: value for key, value in use.items() if key in ("time", "group", "file")})
    beside = {key: value for key, value in use.items() if key in ("weight", "exposure")}
    unseen = tuple({"weight", "day", "owner", "part"} - {split.by[1] if split.by else "", *beside.values()})
    block = TableBlock(str(path), "price", missing_target="drop", drop=unseen, **beside)

    def read() -> Table:
        frame.to_csv(path, index=False)
        with pytest.warns(TableNote, match="^(2 of 120 rows have no 'price'|column 'day' is read)"):
            return load_table(block, split)

    plain = read()
    for cell in bad:
        frame.loc[5, column] = cell
        table = read()
        np.testing.assert_array_equal(table.rows, np.delete(number, [5, 9]))
        pd.testing.assert_frame_equal(table.X, plain.X)
        np.testing.assert_array_equal(table.weight, plain.weight)
        np.testing.assert_array_equal(table.exposure, plain.exposure)
        if table.marks is not None and plain.marks is not None:
            np.testing.assert_array_equal(table.marks.names(), plain.marks.names())
    frame.loc[11, column] = bad[-1]
    with pytest.raises(ExperimentError, match=rf"column '{column}' .* row 11\b"):
        read()


@pytest.mark.parametrize("split", [{}, {"file": "part"}, {"time": "day"}, {"group": "owner"}])
def test_a_model_to_keep_may_train_on_all_rows(
    marked: str, content: dict[str, Any], split: dict[str, str], tmp_path: Path
) -> None:
    content["table"] = {"source": marked, "target": "price"}
    content["split"] = {"test": 0, "validation": 0.25} | split
    with pytest.warns(TableNote):
        trained = train(Experiment.read(content), "bins", out=tmp_path / "m", quiet=True)
    n_validation = {"file": 20, "group": None}.get(next(iter(split), ""), 30)
    rows = trained.fitted.model.facts_["rows"]
    assert rows == 120 - n_validation if n_validation else 80 < rows < 110
    scores = pd.read_csv(tmp_path / "m" / "results.csv").iloc[0]
    assert np.isnan(scores["rmse"])
    assert scores["fit_seconds"] > 0
    with pytest.raises(ExperimentError, match=r"^split.test: 0 leaves a comparison no rows to score"):
        compare(content)
    content["study"] = {"model": "bins"}
    with pytest.raises(ExperimentError, match=r"^split.test: 0 leaves a study no rows to score"):
        BridgeStudy(content)
