"""Tables: read from where the experiment file says, checked before anything is trained, and split."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, SplitBlock, TableBlock, nearest
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
from bridges_tabular.regressors.kinds import OddCellError, first_other, with_kinds
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.regressors.words import one_line, shown

# a fixed seed, so that every split, and every run, of a subsampled table holds the same rows
_SUBSAMPLE_SEED = 0
_LONGEST_CELL = 40


@dataclass(frozen=True)
class Table:
    """Features and a target that every model can be fitted on.

    Attributes
    ----------
    name : str
    target : str
        Name of the column ``y`` was.
    X : DataFrame of shape (n, p)
    y : array of shape (n,)
        Finite.
    rows : array of int of shape (n,)
        Where the rows stand in the source, counted from 0.
    """

    name: str
    target: str
    X: pd.DataFrame
    y: NDArray[np.float64]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Positions of the training, validation and test rows of a table, in ascending order."""

    seed: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def parts(self) -> dict[str, NDArray[np.int64]]:
        """Return the three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def load_table(block: TableBlock) -> Table:
    """Read and check the table of an experiment.

    Raises
    ------
    ExperimentError
        If there is no such table or column, or if no model could be fitted on it.
    """
    frame, name, is_text = _read(block.source, "table.source: ", block.missing, block.categories)
    for key, columns in (("target", [block.target]), ("drop", block.drop), ("categories", block.categories)):
        for column in columns:
            if column not in frame.columns:
                raise ExperimentError(
                    f"table.{key}: {block.source} has no column {shown(column)}{nearest(column, frame.columns)}"
                )
    if len(frame) == 0:
        raise ExperimentError(f"table.source: {block.source} has no rows")
    y = _check_target(frame[block.target], block)
    X = _read_features(frame.drop(columns=[block.target, *block.drop]), block, is_text)
    rows = np.arange(len(frame))
    if block.rows is not None and block.rows < len(frame):
        rows = np.sort(np.random.default_rng(_SUBSAMPLE_SEED).choice(len(frame), block.rows, replace=False))
    X, y = X.iloc[rows], y[rows]
    _check_distinct(y, f"table.target: column {shown(block.target)} of {block.source}")
    _check_features(X, block)
    return Table(name, block.target, X.reset_index(drop=True), y, rows)


def read_frame(
    source: str,
    dates: Collection[str] | None = None,
    missing: Sequence[str | float] = (),
    text: Collection[str] = (),
) -> pd.DataFrame:
    """Read a table as it is.

    Parameters
    ----------
    source : str
        A bundled name (``"diamonds"``), a .csv, .csv.gz or .parquet path, or ``"openml:ID"``. Relative paths
        start from the working directory.
    dates : collection of str, optional
        The columns of a .csv file that hold dates. Default: those whose values all look like it, see
        :func:`~bridges_tabular.experiments.dates.read_dates`.
    missing : sequence of str or float
        Cells that say that a value is missing, beside the empty ones and those of pandas.
    text : collection of str
        Columns of a .csv file that hold text even where all of it is numbers.

    Raises
    ------
    ExperimentError
        If there is no such table, or it cannot be read.
    """
    frame, _, is_text = _read(source, "", missing, text)
    return read_dates(frame, dates) if is_text else frame


def make_splits(table: Table, block: SplitBlock) -> list[Split]:
    """Divide the rows of a table once for each seed.

    Raises
    ------
    ExperimentError
        If a share leaves no rows, or the training rows hold fewer than two distinct targets.
    """
    return list(_splits(table, block))


def _splits(table: Table, block: SplitBlock) -> Iterator[Split]:
    n = len(table.y)
    n_test, n_validation = round(block.test * n), round(block.validation * n)
    for key, count in (("test", n_test), ("validation", n_validation)):
        if count == 0:
            share = getattr(block, key)
            raise ExperimentError(f"split.{key}: a share of {share} of {n} rows leaves no {key} rows")
    if n - n_test - n_validation < 2:
        raise ExperimentError(
            f"split.test: {n_test} test and {n_validation} validation rows of {n} leave no 2 to train on"
        )
    for seed in block.seeds:
        test, validation, train = np.split(np.random.default_rng(seed).permutation(n), [n_test, n_test + n_validation])
        _check_distinct(table.y[train], f"table.target: the training part of {shown(table.target)} (seed {seed})")
        yield Split(seed, np.sort(train), np.sort(validation), np.sort(test))


def _read(
    source: str, prefix: str, missing: Sequence[str | float] = (), text: Collection[str] = ()
) -> tuple[pd.DataFrame, str, bool]:
    """Return the table, its name and whether it was a file of text; errors start with ``prefix``."""
    is_text = False
    try:
        if source.startswith("openml:"):
            frame, name = read_openml(source.removeprefix("openml:"))
        else:
            path = find_table(source)
            is_text = is_csv(path)
            frame = _read_csv(path, missing, text) if is_text else _read_file(path)
            name = path.name.split(".")[0] or path.name
    except ExperimentError as error:
        raise ExperimentError(f"{prefix}{error}") from None
    frame.columns = frame.columns.map(str)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ExperimentError(f"{prefix}{source} has more than one column {shown(repeated[0])}")
    if not is_text:
        frame = without(frame, missing)
    return frame.reset_index(drop=True), name, is_text


def _read_csv(path: Path, missing: Sequence[str | float], text: Collection[str]) -> pd.DataFrame:
    with reading(path):
        check_header(path)
        frame = pd.read_csv(path, **csv_settings(missing, text))
    check_width(frame, path)
    return with_numbers(frame, [name for name in frame.columns if name not in text])


def _read_file(path: Path) -> pd.DataFrame:
    check_parquet(path)
    with reading(path):
        return pd.read_parquet(path)


def _check_target(column: pd.Series[Any], block: TableBlock) -> NDArray[np.float64]:
    what = f"table.target: column {shown(block.target)} of {block.source}"
    kind = column.dtype
    numeric = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)
    if not numeric or pd.api.types.is_bool_dtype(kind):
        example = f" ({kind})"
        if pd.api.types.is_object_dtype(kind) and column.notna().any():
            row, value = first_other(column)
            example = f": it holds {shown(value)} in row {row}"
        raise ExperimentError(f"{what} is not numeric{example}")
    y = column.to_numpy(dtype=np.float64, na_value=np.nan)
    counts = {"missing": int(np.isnan(y).sum()), "infinite": int(np.isinf(y).sum())}
    if any(counts.values()):
        found = " and ".join(f"{count} {word}" for word, count in counts.items() if count)
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        raise ExperimentError(f"{what} holds {found} of {len(y)} values, the first in row {row}")
    return y


def _check_distinct(y: NDArray[np.float64], what: str) -> None:
    distinct = len(np.unique(y))
    if distinct < 2:
        raise ExperimentError(f"{what} holds {distinct} distinct value, at least 2 are needed")


def _read_features(X: pd.DataFrame, block: TableBlock, is_text: bool) -> pd.DataFrame:
    """Decide what every column is, on all rows: no split of them may see it otherwise."""
    if X.shape[1] == 0:
        raise ExperimentError(f"table.source: {block.source} has no columns beside the target and those dropped")
    X = X.astype(dict.fromkeys([name for name in block.categories if name in X.columns], "category"))
    if is_text:
        X = read_dates(X)
    try:
        return with_kinds(X)
    except OddCellError as error:
        missing, categories = ([*block.missing, error.value], [*block.categories, error.column])
        # the row must not be cut from a long line
        cell = one_line(shown(error.value), _LONGEST_CELL)
        raise ExperimentError(
            f"table.source: {block.source}: column {shown(error.column)} holds {cell} in row {error.row},"
            f" and numbers in most others: a missing value with table.missing: {shown(missing)}, categories with"
            f" table.categories: {shown(categories)}"
        ) from None
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"table.source: {block.source}: {error}") from None


def _check_features(X: pd.DataFrame, block: TableBlock) -> None:
    try:
        TableEncoder().fit(X).transform(X)
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"table.source: {block.source}: {error}") from None
