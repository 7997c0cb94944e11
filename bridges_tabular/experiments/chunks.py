"""Tables of any length, some rows at a time: what a prediction reads."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pandas as pd

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.dates import read_dates
from bridges_tabular.experiments.sources import (
    check_header,
    check_parquet,
    check_width,
    csv_settings,
    find_table,
    is_csv,
    read_openml,
    reading,
    with_numbers,
    without,
)
from bridges_tabular.regressors.words import shown

_BUFFER = 1 << 20


class Chunk(NamedTuple):
    """Rows of a table, labelled by their numbers in it.

    Attributes
    ----------
    features : DataFrame
    kept : DataFrame
        The columns that were asked for beside them, as they are in the source: of a file of text, the very text.
    """

    features: pd.DataFrame
    kept: pd.DataFrame


class TableChunks:
    """The rows of a table, a few thousand in memory at a time.

    Parameters
    ----------
    source : str
        As :func:`~bridges_tabular.experiments.tables.read_frame` takes it. OpenML has whole tables alone.
    size : int
        Rows of a chunk; the last one has fewer.

    Attributes
    ----------
    columns : list of str
    share : float
        How much of the table has been read.
    is_text : bool

    Raises
    ------
    ExperimentError
        If there is no such table, or it cannot be read.
    """

    def __init__(self, source: str, size: int) -> None:
        self.source, self.size, self.share = source, size, 0.0
        self._frame: pd.DataFrame | None = None
        self._path: Path | None = None
        self._index: list[str] = []
        self.is_text = False
        if source.startswith("openml:"):
            self._frame = read_openml(source.removeprefix("openml:"))[0].reset_index(drop=True)
            self._frame.columns = self._frame.columns.map(str)
            self.columns = list(self._frame.columns)
        else:
            self._path = find_table(source)
            self.is_text = is_csv(self._path)
            self.columns = self._names_in_text(self._path) if self.is_text else self._names_in_parquet(self._path)
        repeated = pd.Index(self.columns)[pd.Index(self.columns).duplicated()]
        if len(repeated):
            raise ExperimentError(f"{source} has more than one column {shown(repeated[0])}")

    def identity(self) -> list[Any]:
        """What tells the table from others, and from itself after a change, without reading it."""
        if self._path is None:
            return [self.source]
        found = self._path.stat()
        return [str(self._path.resolve()), found.st_size, found.st_mtime_ns]

    def has(self, column: str) -> bool:
        """Whether there is such a column; of Parquet, those that pandas takes for names of rows count."""
        return column in self.columns or column in self._index

    def read(
        self,
        features: Sequence[str],
        keep: Sequence[str] = (),
        *,
        dates: Collection[str] = (),
        missing: Sequence[str | float] = (),
        text: Collection[str] = (),
    ) -> Iterator[Chunk]:
        """Read the rows in their order.

        Parameters
        ----------
        features, keep : sequence of str
            Columns of the chunks.
        dates, missing, text
            As :func:`~bridges_tabular.experiments.tables.read_frame` takes them.

        Raises
        ------
        ExperimentError
            If it cannot be read, now or farther down.
        """
        wanted, kept = list(features), list(keep)
        if self._path is None:
            yield from self._of_frame(wanted, kept, missing)
            return
        with reading(self._path):
            if not self.is_text:
                for typed in self._parquet(self._path, wanted, kept):
                    yield Chunk(without(typed.features, missing), typed.kept)
                return
            for rows in self._text(self._path, kept, csv_settings(missing, text)):
                frame = with_numbers(rows.features[wanted], [name for name in wanted if name not in text])
                yield Chunk(read_dates(frame, dates), rows.kept)

    def _of_frame(self, features: list[str], kept: list[str], missing: Sequence[str | float]) -> Iterator[Chunk]:
        assert self._frame is not None
        for start in range(0, len(self._frame), self.size):
            rows = self._frame.iloc[start : start + self.size]
            self.share = (start + len(rows)) / len(self._frame)
            yield Chunk(without(rows[features], missing), rows[kept])

    def _names_in_text(self, path: Path) -> list[str]:
        with reading(path):
            check_header(path)
            return list(pd.read_csv(path, nrows=0).columns.map(str))

    def _text(self, path: Path, kept: list[str], settings: dict[str, Any]) -> Iterator[Chunk]:
        size = max(path.stat().st_size, 1)
        with (
            path.open("rb") as raw,
            _unpacked(path, raw) as content,
            # every column is read: a row with too many cells is refused only so
            pd.read_csv(content, chunksize=self.size, **settings) as chunks,
        ):
            verbatim = self._verbatim(path, kept)
            for frame in chunks:
                check_width(frame, path)
                self.share = raw.tell() / size
                if len(frame):
                    frame.columns = frame.columns.map(str)
                    yield Chunk(frame, frame[[]] if verbatim is None else next(verbatim))

    def _verbatim(self, path: Path, kept: list[str]) -> Iterator[pd.DataFrame] | None:
        """Cells as they are written: an id of 007 is not 7."""
        if not kept:
            return None
        chunks: Iterator[pd.DataFrame] = pd.read_csv(
            path, chunksize=self.size, usecols=kept, dtype=str, na_filter=False
        )
        return (chunk[kept] for chunk in chunks)

    def _names_in_parquet(self, path: Path) -> list[str]:
        check_parquet(path)
        from pyarrow.parquet import read_schema

        with reading(path):
            schema = read_schema(path)
            described = schema.pandas_metadata or {}
            self._index = [name for name in described.get("index_columns", []) if isinstance(name, str)]
            return [name for name in schema.names if name not in self._index]

    def _parquet(self, path: Path, features: list[str], kept: list[str]) -> Iterator[Chunk]:
        from pyarrow.parquet import ParquetFile

        start = 0
        # what is read ahead stays in memory until the file is closed
        with ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            batches = file.iter_batches(self.size, columns=list(dict.fromkeys([*features, *kept])))
            for table in _of_size(batches, self.size):
                rows = pd.RangeIndex(start, start + len(table))
                start = rows.stop
                self.share = start / file.metadata.num_rows
                frame = table.select(features).to_pandas().set_axis(rows, axis="index")
                beside = _plain(table.select(kept)).to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
                yield Chunk(frame, beside.set_axis(rows, axis="index"))


def _unpacked(path: Path, raw: BinaryIO) -> BinaryIO:
    return gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw  # type: ignore[return-value]


def _of_size(batches: Iterator[Any], size: int) -> Iterator[Any]:
    """Tables of so many rows each: batches end where groups of rows in the file do."""
    from pyarrow import Table

    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= size:
            table = Table.from_batches(waiting)
            yield table.slice(0, size).unify_dictionaries()
            waiting = table.slice(size).to_batches()
            rows -= size
    if rows:
        yield Table.from_batches(waiting).unify_dictionaries()


def _plain(table: Any) -> Any:
    """The values themselves in place of dictionaries, which differ from one group of rows to the next."""
    from pyarrow import types

    for position, field in enumerate(table.schema):
        if types.is_dictionary(field.type):
            plain = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, field.name, plain)
    return table
