"""Tables that do not fit in memory: passes over their rows, part by part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.regressors import dates
from bridges_tabular.regressors.frames import as_pandas
from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.regressors.rows import check_target
from bridges_tabular.regressors.tables import check_columns
from bridges_tabular.regressors.words import shown

Floats = NDArray[np.float64]

# rows of a file in memory at a time
_ROWS = 1 << 16
# what the hashes of row numbers are drawn for
CONFORMAL, VALIDATION, SAMPLE = range(3)
_MISSING_PYARROW = 'reading parquet needs pyarrow: pip install "bridges-tabular[parquet]"'


class Part(NamedTuple):
    """Rows of a stream, those of weight zero left out.

    Attributes
    ----------
    X : DataFrame of n rows, labelled by their numbers in the stream
        Its dates are NumPy's, without a time zone.
    y : array of shape (n,)
    weight : array of shape (n,) or None
        As they are given.
    name : str
        Of the file or part, for errors.
    """

    X: pd.DataFrame
    y: Floats
    weight: Floats | None
    name: str

    def take(self, rows: NDArray[np.bool_]) -> Part:
        """The rows of a mask."""
        return Part(self.X[rows], self.y[rows], None if self.weight is None else self.weight[rows], self.name)


@dataclass(frozen=True)
class Stream:
    """A table by its source, with the names of the columns that are no features.

    Parameters
    ----------
    source : path, glob, pyarrow.dataset.Dataset, iterable of DataFrames, or callable that returns an iterator of them
        An iterable has to start anew each time. The parts of a path or glob are in the order of their names.
    y : str
        Name of the target's column.
    weight : str or None
        Name of the column of weights.
    called : str, default="X"
        How to call the source in an error.

    Raises
    ------
    ValueError
        If there is nothing to read, or it can be read but once.
    TypeError
        If it is no such source.
    """

    source: Any
    y: str
    weight: str | None = None
    called: str = "X"

    def __post_init__(self) -> None:
        source, called = self.source, self.called
        if isinstance(source, str | Path):
            files(source, called)
        elif isinstance(source, pd.DataFrame):
            raise TypeError(f"{called} is one table: give [{called}] where y={self.y!r} names one of its columns")
        elif not (_is_dataset(source) or callable(source)):
            if not isinstance(source, Iterable):
                kind = type(source).__name__
                raise TypeError(f"{called} is a {kind}, and y={self.y!r} the name of a column: {called} must be paths,"
                                " a pyarrow dataset, or give DataFrames")  # fmt: skip
            if iter(source) is source:
                raise ValueError(
                    f"{called} is a {type(source).__name__}, which can be read but once, and a fit reads it twice:"
                    " give a list, an object whose __iter__ starts anew, or a function that returns an iterator"
                )

    def read(self) -> Iterator[Part]:
        """One pass over the rows; parts without any are left out.

        Raises
        ------
        ValueError, TypeError
            In one line that names the file or part, and the column.
        """
        row = 0
        for name, frame in self._frames():
            with of_part(name):
                if len(frame):
                    yield from self._part(frame.set_axis(pd.RangeIndex(row, row + len(frame)), axis="index"), name)
            row += len(frame)

    def _part(self, frame: pd.DataFrame, name: str) -> Iterator[Part]:
        check_columns(frame)
        frame = with_plain_dates(frame)
        for column in (self.y, *([] if self.weight is None else [self.weight])):
            if column not in frame.columns:
                raise ValueError(f"it lacks column {shown(column)}")
        weight = None
        if self.weight is not None:
            weight = check_target(frame[self.weight], shown(self.weight))
            if (weight < 0).any():
                raise ValueError(f"sample_weight {shown(self.weight)} holds negative values")
        y = check_target(frame[self.y], shown(self.y))
        part = Part(frame.drop(columns=[self.y] if self.weight is None else [self.y, self.weight]), y, weight, name)
        if weight is not None and not weight.all():
            part = part.take(weight > 0)
        if len(part.y):
            yield part

    def _frames(self) -> Iterator[tuple[str, pd.DataFrame]]:
        if isinstance(self.source, str | Path):
            for path in files(self.source, self.called):
                for frame in _of_file(path):
                    yield str(path), frame
        elif _is_dataset(self.source):
            for batch in _batches(self.source):
                yield self.called, _frame(batch)
        else:
            given: Iterable[Any] = self.source() if callable(self.source) else self.source
            for number, part in enumerate(given):
                name = f"part {number} of {self.called}"
                frame = as_pandas(part, name)
                if not isinstance(frame, pd.DataFrame):
                    raise TypeError(f"{name} is a {type(part).__name__}, not a DataFrame")
                # a part in memory is the caller's matter; what is made of it is ours
                for start in range(0, max(len(frame), 1), _ROWS):
                    yield name, frame.iloc[start : start + _ROWS]


def files(source: str | Path, called: str = "X") -> list[Path]:
    """The parquet files of a path, a folder or a glob, by name.

    Raises
    ------
    ValueError
        If there is none, or they lie in folders that hold a column, as ``shop=x`` does.
    """
    pattern = Path(source) / "*.parquet" if Path(source).is_dir() else Path(source)
    found = [pattern] if pattern.is_file() else [Path(path) for path in sorted(glob(str(pattern), recursive=True))]
    below = [] if found or not Path(source).is_dir() else sorted(Path(source).glob("*=*/**/*.parquet"))
    _check_folders(pattern, found or below, called)
    if not found:
        raise ValueError(f"{called}={str(source)!r} matches no file")
    other = next((path for path in found if not path.name.lower().endswith(".parquet")), None)
    if other is not None:
        raise ValueError(f"{called}: {other} is not a .parquet file")
    return found


def _check_folders(pattern: Path, found: list[Path], called: str) -> None:
    """Refuse files of several folders named ``key=value``: a column whose values no file holds."""
    fixed = Path(*takewhile(lambda part: not re.search(r"[*?[]", part), pattern.parts))
    for path in found:
        folder = next((part for part in path.relative_to(fixed).parts[:-1] if "=" in part), None)
        if folder is not None:
            raise ValueError(
                f"{called}: the folder {folder} is a column that its files do not hold: give"
                f' pyarrow.dataset.dataset({str(fixed)!r}, partitioning="hive")'
            )


@contextmanager
def of_part(name: str) -> Iterator[None]:
    """Say which part of a stream an error is of."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from None


def with_plain_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with NumPy's dates, as clocks on the wall showed them: other parts may have another type or zone.

    Raises
    ------
    ValueError
        If those of a column do not go together.
    """
    found = [str(name) for name in frame.columns if dates.holds_dates(frame[name])]
    return frame.assign(**{name: dates.naive(frame[name], name) for name in found})


def uniform(rows: NDArray[np.int64], seed: int, purpose: int) -> Floats:
    """A number in [0, 1) for each row number, the same wherever the row is read; Steele, Lea and Flood's SplitMix64.

    Different seeds and purposes draw independently.
    """
    # rows plus a seed would be the rows of another seed, moved by so many
    start = np.zeros(1, np.uint64)
    for salt in (seed, purpose):
        start = _mixed(start + np.uint64(salt % 2**64) + np.uint64(1))
    return (_mixed(start + rows.astype(np.uint64)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A step of SplitMix64."""
    state = state * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class RowSample:
    """A number of rows drawn at random from a stream, without knowing how many there are.

    Those of the smallest hash of their numbers, so that it does not matter how rows are divided into parts.

    Parameters
    ----------
    most : int
        Rows to draw.
    draw : callable
        From row numbers to numbers in [0, 1).
    """

    def __init__(self, most: int, draw: Callable[[NDArray[np.int64]], Floats]) -> None:
        self._most = most
        self._draw = draw
        self._parts: list[pd.DataFrame] = []
        self._below = 1.0

    def add(self, part: pd.DataFrame) -> None:
        """Draw among the rows of a part, labelled by their numbers, too."""
        drawn = self._draw(part.index.to_numpy()) < self._below
        if drawn.any():
            self._parts.append(part[drawn])
        if sum(map(len, self._parts)) > 2 * self._most:
            self._parts = [self.rows()]

    def rows(self) -> pd.DataFrame:
        """The rows drawn, in their order."""
        whole = pd.concat(self._parts)
        draws = self._draw(whole.index.to_numpy())
        if len(draws) > self._most:
            self._below = float(np.partition(draws, self._most)[self._most])
            whole = whole[draws < self._below]
        return whole


def _is_dataset(source: Any) -> bool:
    return type(source).__module__.startswith("pyarrow") and hasattr(source, "scanner")


def _batches(dataset: Any) -> Iterator[Any]:
    from pyarrow.dataset import ParquetFileFormat, ParquetFragmentScanOptions

    options: dict[str, Any] = {}
    if isinstance(getattr(dataset, "format", None), ParquetFileFormat):
        # what is read ahead stays in memory until the last row
        options = {"fragment_scan_options": ParquetFragmentScanOptions(pre_buffer=False), "use_threads": False}
    yield from dataset.to_batches(batch_size=_ROWS, batch_readahead=1, fragment_readahead=1, **options)


def _of_file(path: Path) -> Iterator[pd.DataFrame]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ImportError(_MISSING_PYARROW) from None

    try:
        # what is read ahead stays in memory until the file is closed
        with ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(_ROWS):
                yield _frame(batch)
    # of any kind: it comes from whatever the file holds
    except (OSError, ValueError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read: {in_one_line(error)}") from None


def _frame(batch: Any) -> pd.DataFrame:
    """A batch's columns, without those that pandas wrote as names of rows."""
    described = batch.schema.pandas_metadata or {}
    index = [name for name in described.get("index_columns", []) if isinstance(name, str)]
    frame: pd.DataFrame = batch.to_pandas(ignore_metadata=False).reset_index(drop=True)
    return frame.drop(columns=[name for name in index if name in frame.columns])
