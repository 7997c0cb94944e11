from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import read_frame
from bridges_tabular.experiments.blocks import SplitBlock, TableBlock
from bridges_tabular.experiments.dates import TableNote
from bridges_tabular.experiments.tables import load_table
from bridges_tabular.regressors.tables import TableEncoder


def write(path: Path, values: list[str]) -> str:
    pd.DataFrame({"when": values, "x": np.arange(len(values)), "y": np.arange(len(values))}).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-05-31", "1999-01-01"], ["2024-05-31", "1999-01-01"]),
        (["2024-05-31", "", "2024-06-01"], ["2024-05-31", None, "2024-06-01"]),
        (["2024-05-31T17:30", "2024-05-31 08:00:05.25"], ["2024-05-31 17:30", "2024-05-31 08:00:05.25"]),
        (["2024-05-31", "2024-05-31 08:00"], ["2024-05-31", "2024-05-31 08:00"]),
        (["2024-05-31T17:30Z", "2024-05-31T17:30+02:00"], ["2024-05-31 17:30", "2024-05-31 17:30"]),
    ],
)
def test_text_of_dates_is_read_as_dates(tmp_path: Path, values: list[str], expected: list[str | None]) -> None:
    with pytest.warns(TableNote, match=r"^column 'when' is read as dates$") as said:
        frame = read_frame(write(tmp_path / "t.csv", values))
    assert len(said) == 1
    wanted = pd.Series([pd.Timestamp(value) if value else pd.NaT for value in expected], name="when")
    pd.testing.assert_series_equal(frame["when"], wanted, check_dtype=False)


@pytest.mark.parametrize(
    "values",
    [
        ["2024-05-31", "soon"],
        ["2024-05-31", "2024-13-01"],
        ["2024-05-31", "31.05.2024"],
        ["0001-01-01", "2024-05-31"],
        ["2024-05-31T17:30Z", "2024-05-31T17:30"],
        ["20240531", "20240601"],
        ["2024", "2025"],
        ["", ""],
    ],
)
def test_other_columns_stay_as_they_are(tmp_path: Path, values: list[str]) -> None:
    path = write(tmp_path / "t.csv", values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = read_frame(path)
    pd.testing.assert_frame_equal(frame, pd.read_csv(path))


def test_only_features_are_read_as_dates(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ["2024-05-31", "2024-06-01"])
    with pytest.warns(TableNote):
        table = load_table(TableBlock(path, "y"))
    assert pd.api.types.is_datetime64_any_dtype(table.X["when"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_table(TableBlock(path, "y", drop=("when",))).X.columns.tolist() == ["x"]


def test_a_parquet_file_says_itself_what_are_dates(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    text = pd.Series(["2024-05-31", "2024-06-01"])
    frame = pd.DataFrame({"text": text, "when": pd.to_datetime(text), "y": [1.0, 2.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = load_table(TableBlock(str(tmp_path / "t.parquet"), "y"))
    assert table.X["text"].tolist() == text.tolist()
    assert pd.api.types.is_datetime64_any_dtype(table.X["when"])


def test_expected_dates_are_read_without_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ["", "", ""])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pd.api.types.is_datetime64_any_dtype(read_frame(path, dates=["when"])["when"])
        assert read_frame(write(tmp_path / "u.csv", ["2024-05-31"]), dates=[])["when"].tolist() == ["2024-05-31"]


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
def test_times_with_a_zone_are_clock_times_in_text_and_in_typed_tables(tmp_path: Path, zone: str) -> None:
    pytest.importorskip("pyarrow")
    # over the end of summer time: the offsets differ
    when = pd.date_range("2023-11-03", periods=60, freq="5h", tz=zone)
    frame = pd.DataFrame({"when": when, "x": np.arange(60.0), "y": np.arange(60.0)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    split = SplitBlock(time="when")
    with pytest.warns(TableNote, match="'when' is read as dates"):
        text = load_table(TableBlock(str(tmp_path / "t.csv"), "y"), split)
    typed = load_table(TableBlock(str(tmp_path / "t.parquet"), "y"), split)
    pd.testing.assert_series_equal(text.X["when"], frame["when"].dt.tz_localize(None))
    encoder = TableEncoder().fit(text.X)
    for mine, other in zip(encoder.transform(text.X), encoder.transform(typed.X), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert text.marks is not None
    assert typed.marks is not None
    np.testing.assert_array_equal(text.marks.values, typed.marks.values)
