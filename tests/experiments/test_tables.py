from __future__ import annotations

import gzip
import hashlib
import re
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular.experiments import ExperimentError, compare, read_frame
from bridges_tabular.experiments.blocks import SplitBlock, TableBlock
from bridges_tabular.experiments.dates import TableNote
from bridges_tabular.experiments.frames import FrameSource
from bridges_tabular.experiments.splits import make_splits
from bridges_tabular.experiments.tables import load_table

DATA = Path(bridges_tabular.__file__).parent / "data"


def test_the_bundled_table_is_the_one_its_note_describes() -> None:
    packed = (DATA / "diamonds.csv.gz").read_bytes()
    assert packed[4:8] == bytes(4), "the archive holds a modification time"
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in (DATA / "README.md").read_text("utf-8")
    frame = read_frame("diamonds")
    assert frame.shape == (53940, 10)
    assert frame["price"].agg(["min", "max"]).tolist() == [326, 18823]
    assert [frame[c].nunique() for c in ("cut", "color", "clarity")] == [5, 7, 8]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_every_kind_of_file_reads_the_same(frame: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"homes{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    table = load_table(TableBlock(str(path), "price", drop=("id",)))
    assert table.name == "homes"
    assert table.X.columns.tolist() == ["size", "kind"]
    np.testing.assert_allclose(table.y, frame["price"], rtol=1e-12)
    pd.testing.assert_frame_equal(table.X.astype({"kind": object}), frame[["size", "kind"]], check_dtype=False)


def test_a_subsample_is_seeded_and_knows_its_rows(table_file: Path, frame: pd.DataFrame) -> None:
    block = TableBlock(str(table_file), "price", rows=50)
    table = load_table(block)
    assert len(table.y) == 50
    assert len(set(table.rows)) == 50
    np.testing.assert_allclose(frame["price"].to_numpy()[table.rows], table.y)
    np.testing.assert_array_equal(frame["id"].to_numpy()[table.rows], table.X["id"])
    np.testing.assert_array_equal(load_table(block).rows, table.rows)
    assert len(load_table(TableBlock(str(table_file), "price", rows=10_000)).y) == len(frame)


def test_splits_divide_all_rows_and_follow_the_seed(table_file: Path) -> None:
    table = load_table(TableBlock(str(table_file), "price"))
    first, second = make_splits(table, SplitBlock(0.25, 0.1, (0, 1)))
    for split in (first, second):
        assert [len(split.test), len(split.validation), len(split.train)] == [30, 12, 78]
        everything = np.concatenate([split.train, split.validation, split.test])
        np.testing.assert_array_equal(np.sort(everything), np.arange(120))
    assert set(first.test) != set(second.test)
    again = make_splits(table, SplitBlock(0.25, 0.1, (1,)))[0]
    np.testing.assert_array_equal(again.test, second.test)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (SplitBlock(0.001, 0.2), "split.test: a share of 0.001 of 120 rows leaves no test rows"),
        (SplitBlock(0.2, 0.001), "split.validation: a share of 0.001 of 120 rows leaves no validation rows"),
        (SplitBlock(0.5, 0.499), "split.test: 60 test and 60 validation rows of 120"),
    ],
)
def test_a_share_without_rows_is_refused(table_file: Path, block: SplitBlock, message: str) -> None:
    table = load_table(TableBlock(str(table_file), "price"))
    with pytest.raises(ExperimentError, match=message):
        make_splits(table, block)


def test_training_rows_of_one_target_value_are_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["price"] = [1.0] * 119 + [2.0]
    frame.to_csv(tmp_path / "flat.csv", index=False)
    table = load_table(TableBlock(str(tmp_path / "flat.csv"), "price"))
    with pytest.raises(ExperimentError, match=r"training part of 'price' \(seed \d+\) holds 1 distinct value"):
        make_splits(table, SplitBlock(seeds=tuple(range(10))))


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (["cheap", "dear"], "table.target: column 'price' of .* is not numeric: it holds 'cheap'"),
        ([True, False], r"column 'price' of .* is not numeric \(bool\)"),
        ([1.0, None], "column 'price' of .* holds 1 missing of 2 values"),
        ([1.0, None, np.inf, -np.inf], "holds 1 missing and 2 infinite of 4 values"),
        ([3.0, 3.0], "holds 1 distinct value, at least 2 are needed"),
        ([3.0], "holds 1 distinct value, at least 2 are needed"),
        ([], "has no rows"),
    ],
)
def test_a_target_no_model_can_learn_is_refused(tmp_path: Path, prices: list[Any], message: str) -> None:
    path = tmp_path / "homes.csv"
    pd.DataFrame({"size": range(len(prices)), "price": prices}).to_csv(path, index=False)
    with pytest.raises(ExperimentError, match=message):
        load_table(TableBlock(str(path), "price"))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"target": "prize"}, "table.target: .*homes.csv has no column 'prize', did you mean 'price'?"),
        ({"target": "xyz"}, "has no column 'xyz'; choose from size, kind, id, price"),
        ({"target": "price", "drop": ("ids",)}, "table.drop: .* has no column 'ids', did you mean 'id'?"),
        ({"target": "price", "drop": ("id", "size", "kind")}, "has no columns beside the target"),
    ],
)
def test_missing_columns_are_named(table_file: Path, block: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        load_table(TableBlock(str(table_file), **block))


def test_features_no_model_can_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    path.write_text("size,price\ninf,1\n2,2\n", encoding="utf-8")
    with pytest.raises(ExperimentError, match="column 'size' holds 1 value"):
        load_table(TableBlock(str(path), "price"))


def test_files_that_are_no_tables_are_named(tmp_path: Path) -> None:
    files = {
        "empty.csv": b"",
        "ragged.csv": b"a,b\n1,2\n1,2,3\n",
        "broken.csv.gz": gzip.compress(b"a,b\n1,2\n")[:-9],
        "plain.csv.gz": b"a,b\n1,2\n",
        "bytes.csv": b"a,b\n\xff\xfe,2\n",
        "broken.parquet": b"PAR1 but not really",
        "table.xlsx": b"",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ExperimentError) as caught:
            read_frame(str(path))
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_damaged_archives_and_parquet_files_are_a_line(frame: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    rng = np.random.default_rng(0)
    for name in ("t.parquet", "t.csv.gz"):
        whole = (tmp_path / name).read_bytes()
        path = tmp_path / f"damaged {name}"
        refused = 0
        for at in rng.integers(0, len(whole), 60):
            flipped = whole[:at] + bytes([whole[at] ^ (1 << rng.integers(8))]) + whole[at + 1 :]
            for content in (flipped, whole[:at]):
                path.write_bytes(content)
                try:
                    read_frame(str(path))
                except ExperimentError as error:
                    refused += 1
                    text = str(error).removeprefix(str(path))
        assert refused > 60
        assert text.startswith((" cannot be read: ", " has"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a,price\n1,2,3,4\n", "has more than one column 'a'$"),
        ("a,price\n1,2,3\n4,5,6\n", "has more values in a row than its 2 columns have names$"),
        (",,price\n1,2,3\n4,5,6\n", None),
    ],
)
def test_headers_that_do_not_fit_are_named(tmp_path: Path, text: str, message: str | None) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    block = TableBlock(str(tmp_path / "t.csv"), "price")
    if message is None:
        assert load_table(block).X.shape == (2, 2)
        return
    with pytest.raises(ExperimentError, match=f"^table.source: .*t.csv {message}"):
        load_table(block)


ODD = ["?", "1e400", "1" + "0" * 400, "-", "n/a (1)"]


def write_with(path: Path, frame: pd.DataFrame, **cells: str) -> str:
    """Write a table in whose row 7 some cells are others."""
    changed = frame.astype(dict.fromkeys(cells, object))
    for name, cell in cells.items():
        changed.loc[7, name] = cell
    changed.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_cell_among_numbers_is_named_with_the_keys_that_say_what_it_is(
    frame: pd.DataFrame, tmp_path: Path, odd: str
) -> None:
    source = write_with(tmp_path / "t.csv", frame, size=odd)
    with pytest.raises(ExperimentError) as caught:
        load_table(TableBlock(source, "price"))
    said = str(caught.value)
    assert said.startswith(f"table.source: {source}: column 'size' holds '")
    assert "in row 7" in said
    assert said.endswith("table.categories: ['size']")
    assert len(said) <= 300
    plain = load_table(TableBlock(write_with(tmp_path / "u.csv", frame), "price"))
    without = load_table(TableBlock(source, "price", missing=(odd,)))
    assert np.isnan(without.X["size"][7])
    pd.testing.assert_series_equal(without.X["size"].drop(7), plain.X["size"].drop(7))
    told = load_table(TableBlock(source, "price", categories=("size",)))
    assert isinstance(told.X["size"].dtype, pd.CategoricalDtype)
    assert told.X["size"][7] == odd
    # a few rows are of the kind that all of the table says
    with pytest.raises(ExperimentError, match="in row 7"):
        load_table(TableBlock(source, "price", rows=5))


def test_keys_of_kinds_work_for_tables_with_types(frame: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = frame.assign(code=np.arange(120) % 5, size=frame["size"].round(2).astype(str).where(frame.index != 7, "?"))
    frame.to_parquet(tmp_path / "t.parquet")
    source = str(tmp_path / "t.parquet")
    with pytest.raises(ExperimentError, match=r"column 'size' holds '\?' in row 7.*table.missing: \['nan', '\?'\]"):
        load_table(TableBlock(source, "price", missing=("nan",)))
    table = load_table(TableBlock(source, "price", missing=("?", "nan", 4), categories=("code",)))
    assert table.X["size"].dtype == np.float64
    assert table.X["size"].isna().tolist() == [i in (3, 7) for i in range(120)]
    assert set(table.X["code"].cat.categories) == {0, 1, 2, 3}
    assert table.X["code"].isna().sum() == 24


CELLS = pd.DataFrame(
    {
        "whole": [-999, 1, 0, 7],
        "small": np.array([-99.9, 1, 0, -999], dtype=np.float32),
        "money": [Decimal("-999.00"), Decimal("1.50"), Decimal("0.00"), None],
        "text": ["-999", "1", "none", "007"],
        "kind": pd.Categorical(["a", "none", "b", "a"]),
        "true": [True, False, True, False],
        "some": [True, False, None, True],
        "day": pd.to_datetime(["1900-01-01", "2024-05-31", None, "2024-06-01"]),
        "time": pd.to_datetime(["1900-01-01 00:00", "2024-05-31 17:30", None, "2024-06-01 00:00"]),
        "price": [11.0, 12.0, 13.0, 14.0],
    }
)


@pytest.mark.parametrize(
    "missing", [(-999,), ("-999",), (-999.0, "none"), (1,), (0,), ("True",), (-99.9,), ("1900-01-01 00:00:00",), ("?",)]
)
def test_the_same_cells_are_missing_in_text_and_in_typed_tables(
    tmp_path: Path, missing: tuple[str | float, ...]
) -> None:
    pytest.importorskip("pyarrow")
    CELLS.to_csv(tmp_path / "t.csv", index=False)
    CELLS.to_parquet(tmp_path / "t.parquet")
    # dates as they are written where all are midnights
    text = [*missing, *(cell.removesuffix(" 00:00:00") for cell in missing if isinstance(cell, str))]
    expected = pd.read_csv(tmp_path / "t.csv", na_values=text, dtype={"text": str}).isna()
    arrow = CELLS.convert_dtypes(dtype_backend="pyarrow")
    for source in (str(tmp_path / "t.parquet"), FrameSource.of(CELLS.convert_dtypes()), FrameSource.of(arrow)):
        if isinstance(source, str):
            pd.testing.assert_frame_equal(read_frame(source, missing=missing).isna(), expected)
        found = load_table(TableBlock(source, "price", missing=missing, categories=("text",))).X.isna()
        pd.testing.assert_frame_equal(found, expected.drop(columns="price"))


def test_numbers_that_are_too_long_for_64_bits_stay_numbers_and_codes_keep_their_zeros(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame = frame.assign(code=[f"{i % 3:03d}" for i in range(120)], long=np.arange(120))
    source = write_with(tmp_path / "t.csv", frame, long="1" + "0" * 30)
    table = load_table(TableBlock(source, "price", categories=("code",)))
    assert table.X["long"].dtype == np.float64
    assert table.X["long"][7] == 1e30
    assert table.X["code"].tolist() == frame["code"].tolist()


@pytest.mark.parametrize("cell", ["1e300", "inf"])
def test_a_number_beyond_single_precision_is_named_with_its_row(frame: pd.DataFrame, tmp_path: Path, cell: str) -> None:
    source = write_with(tmp_path / "t.csv", frame, size=cell)
    with pytest.raises(ExperimentError, match=r"column 'size' holds 1 value\(s\) that are infinite.*first in row 7"):
        load_table(TableBlock(source, "price"))
    assert len(load_table(TableBlock(source, "price", missing=(cell,))).y) == 120


@pytest.mark.parametrize("odd", ["?", "1e400", "free"])
def test_an_odd_cell_of_the_target_is_named(frame: pd.DataFrame, tmp_path: Path, odd: str) -> None:
    source = write_with(tmp_path / "t.csv", frame, price=odd)
    with pytest.raises(ExperimentError, match=rf"'price' of .* is not numeric: it holds '{re.escape(odd)}' in row 7$"):
        load_table(TableBlock(source, "price"))
    with pytest.raises(ExperimentError, match=r"'price' of .* holds 1 missing of 120 values, the first in row 7;"):
        load_table(TableBlock(source, "price", missing=(odd,)))


def test_any_split_sees_the_kinds_of_the_whole_table(frame: pd.DataFrame, tmp_path: Path) -> None:
    block = SplitBlock(seeds=(0, 1, 2, 3, 4))
    frame.drop(columns="id").to_csv(tmp_path / "t.csv", index=False)
    splits = make_splits(load_table(TableBlock(str(tmp_path / "t.csv"), "price")), block)
    parts = [{name for split in splits for name, rows in split.parts().items() if row in rows} for row in range(120)]
    row = next(row for row in range(120) if len(parts[row]) == 3)
    frame = frame.drop(columns="id").assign(note=None, opened=None)
    frame.loc[row, ["note", "opened"]] = "shed", "2024-05-31"
    frame.to_csv(tmp_path / "t.csv", index=False)
    trees = {"engine": "xgboost", "n_estimators": 2, "n_jobs": 1}
    network = {"engine": "tabular", "max_epochs": 1, "backbone_params": {"layers": "4"}}
    content = {
        "table": {"source": str(tmp_path / "t.csv"), "target": "price"},
        "split": {"seeds": list(block.seeds)},
        "models": {"trees": trees, "network": network},
    }
    with pytest.warns(TableNote, match="'opened' is read as dates"):
        results = compare(content, quiet=True).results
    assert len(results) == 10
    assert np.isfinite(results["rmse"]).all()


def test_missing_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="there is no table 'diamond', did you mean 'diamonds'"):
        read_frame("diamond")
    with pytest.raises(ExperimentError, match=r"there is no table '.*gone.csv'$"):
        read_frame(str(tmp_path / "gone.csv"))
    with pytest.raises(ExperimentError, match="is a folder, not a table"):
        read_frame(str(tmp_path))
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for source, message in [
        (str(tmp_path / "loop.csv"), "there is no table"),
        (f"{tmp_path}/{'x' * 300}.csv", "cannot be read: File name too long$"),
        ("x/" * 3000, "cannot be read: File name too long$"),
        ("a\0b.csv", r"there is no table 'a\\x00b.csv'"),
        ("a\x1b[31m.csv", r"there is no table 'a\\x1b\[31m.csv'"),
        ("\udcff.csv", r"there is no table '\\udcff.csv'"),
        ("", "is a folder"),
        ("/dev/null", "there is no table"),
    ]:
        with pytest.raises(ExperimentError, match=message) as caught:
            read_frame(source)
        assert len(str(caught.value)) <= 300


class FakeOpenML(ModuleType):
    """Stands for the openml library and its server."""

    def __init__(self, frame: pd.DataFrame) -> None:
        super().__init__("openml")
        self.exceptions = SimpleNamespace(PyOpenMLError=type("PyOpenMLError", (Exception,), {}))
        self.datasets = SimpleNamespace(get_dataset=self._get_dataset)
        self._frame = frame

    def _get_dataset(self, identifier: int, **_: Any) -> Any:
        if identifier != 531:
            raise self.exceptions.PyOpenMLError("https://www.openml.org returned code 111:\nUnknown dataset")
        return SimpleNamespace(name="homes", get_data=lambda **_: (self._frame, None, [], []))


def test_openml_tables(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openml", FakeOpenML(frame.astype({"kind": "category"})))
    table = load_table(TableBlock("openml:531", "price"))
    assert table.name == "homes"
    assert len(table.y) == 120
    with pytest.raises(ExperimentError, match=r"openml:7 cannot be fetched: .* code 111: Unknown dataset"):
        read_frame("openml:7")
    with pytest.raises(ExperimentError, match="'openml:homes' must end in the number of a dataset"):
        read_frame("openml:homes")


def test_columns_of_one_name_are_refused(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = frame.rename(columns={"size": 1, "kind": "1"})
    monkeypatch.setitem(sys.modules, "openml", FakeOpenML(twice))
    with pytest.raises(ExperimentError, match="openml:531 has more than one column '1'"):
        read_frame("openml:531")


@pytest.mark.parametrize(("module", "source"), [("openml", "openml:531"), ("pyarrow", "homes.parquet")])
def test_a_missing_library_says_what_to_install(
    module: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "homes.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    extra = {"openml": "openml", "pyarrow": "parquet"}[module]
    with pytest.raises(ExperimentError, match=rf'pip install "bridges-tabular\[{extra}\]"'):
        read_frame(source)


OPENML_FILES = {
    "description.xml": """<oml:data_set_description xmlns:oml="http://openml.org/openml"><oml:id>531</oml:id>
        <oml:name>homes</oml:name><oml:version>1</oml:version><oml:description/><oml:format>ARFF</oml:format>
        <oml:licence>Public</oml:licence><oml:url>http://localhost/homes.arff</oml:url><oml:file_id>1</oml:file_id>
        </oml:data_set_description>""",
    "features.xml": """<oml:data_features xmlns:oml="http://openml.org/openml"><oml:feature>
        <oml:index>0</oml:index><oml:name>size</oml:name><oml:data_type>numeric</oml:data_type>
        <oml:number_of_missing_values>1</oml:number_of_missing_values></oml:feature><oml:feature>
        <oml:index>1</oml:index><oml:name>kind</oml:name><oml:data_type>nominal</oml:data_type>
        <oml:nominal_value>plain</oml:nominal_value><oml:nominal_value>fancy</oml:nominal_value>
        <oml:number_of_missing_values>0</oml:number_of_missing_values></oml:feature><oml:feature>
        <oml:index>2</oml:index><oml:name>price</oml:name><oml:data_type>numeric</oml:data_type>
        <oml:number_of_missing_values>0</oml:number_of_missing_values></oml:feature></oml:data_features>""",
    "qualities.xml": """<oml:data_qualities xmlns:oml="http://openml.org/openml"><oml:quality>
        <oml:name>NumberOfInstances</oml:name><oml:value>3</oml:value></oml:quality></oml:data_qualities>""",
    "dataset.arff": "@RELATION homes\n@ATTRIBUTE size REAL\n@ATTRIBUTE kind {plain,fancy}\n"
    "@ATTRIBUTE price REAL\n@DATA\n1.0,plain,3\n2.0,fancy,4.5\n?,plain,5\n",
}


def test_the_real_openml_library_reads_its_cache(tmp_path: Path) -> None:
    openml = pytest.importorskip("openml")
    folder = tmp_path / "org" / "openml" / "www" / "datasets" / "531"
    folder.mkdir(parents=True)
    for name, text in OPENML_FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    before = openml.config.get_config_as_dict()["cachedir"]
    openml.config.set_root_cache_directory(str(tmp_path))
    try:
        table = load_table(TableBlock("openml:531", "price"))
    finally:
        openml.config.set_root_cache_directory(before)
    assert table.name == "homes"
    assert table.y.tolist() == [3.0, 4.5, 5.0]
    assert table.X["kind"].tolist() == ["plain", "fancy", "plain"]
