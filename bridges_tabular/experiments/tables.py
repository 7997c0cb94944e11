"""Tables: read from where the experiment file says, and checked before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, SplitBlock, TableBlock, nearest
from bridges_tabular.experiments.columns import read_exposure, read_weight
from bridges_tabular.experiments.dates import TableNote, read_dates
from bridges_tabular.experiments.frames import FrameSource
from bridges_tabular.experiments.marks import Marks
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
from bridges_tabular.regressors.kinds import NearUniqueWarning, OddCellError, first_other, with_kinds
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
    weight : array of shape (n,) or None
        Of the rows, for fits and scores.
    marks : Marks or None
        What splits go by; None where they are random.
    exposure : array of shape (n,) or None
        Over which the targets are totals.
    """

    name: str
    target: str
    X: pd.DataFrame
    y: NDArray[np.float64]
    rows: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None
    marks: Marks | None = None
    exposure: NDArray[np.float64] | None = None

    def beside(self, train: NDArray[np.int64], validation: NDArray[np.int64]) -> dict[str, Any]:
        """What a fit gets by name, beside features, targets and weights: exposures, and groups that splits go by."""
        named: dict[str, Any] = {}
        if self.exposure is not None:
            named |= {"exposure": self.exposure[train], "exposure_val": self.exposure[validation]}
        if self.marks is not None and self.marks.how == "group" and len(np.unique(self.marks.values[train])) > 1:
            named["groups"] = self.marks.values[train]
        return named

    def counted(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that count: all but rows of weight 0."""
        return rows if self.weight is None else rows[self.weight[rows] > 0]

    def weight_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Weights of some rows; None without any."""
        return None if self.weight is None else self.weight[rows]

    def exposure_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Exposures of some rows; None without any."""
        return None if self.exposure is None else self.exposure[rows]


def load_table(block: TableBlock, split: SplitBlock | None = None) -> Table:
    """Read and check the table of an experiment.

    Parameters
    ----------
    block : TableBlock
    split : SplitBlock, optional
        Names the column that splits go by, unless they are random.

    Raises
    ------
    ExperimentError
        If there is no such table or column, or if no model could be fitted on it.
    """
    split = split or SplitBlock()
    frame, name, is_text = _read(block.source, "table.source: ", block.missing, block.categories)
    _check_columns(frame, block, split)
    if len(frame) == 0:
        raise ExperimentError(f"table.source: {block.source} has no rows")
    y = _check_target(frame[block.target], block)
    rows = np.flatnonzero(np.isfinite(y))
    if len(rows) < len(frame):
        # labels stay, by which errors name rows
        frame, y = frame.iloc[rows], y[rows]
        if is_text:
            # what made text of numbers may be gone
            frame = with_numbers(frame, [name for name in frame.columns if name not in block.categories])
    marks = Marks.read(frame, split)
    weight = exposure = None
    if block.weight is not None:
        where = f"table.weight: column {shown(block.weight)} of {block.source}"
        weight = read_weight(frame[block.weight], where)
    if block.exposure is not None:
        where = f"table.exposure: column {shown(block.exposure)} of {block.source}"
        exposure = read_exposure(frame[block.exposure], where)
    unseen = {block.target, block.weight, block.exposure, *block.drop}
    if marks is not None and not marks.is_feature:
        unseen.add(marks.column)
    X = _read_features(frame.drop(columns=[name for name in frame.columns if name in unseen]), block, is_text)
    drawn = np.arange(len(rows))
    if block.rows is not None and block.rows < len(rows):
        drawn = np.sort(np.random.default_rng(_SUBSAMPLE_SEED).choice(len(rows), block.rows, replace=False))
    X, y = X.iloc[drawn], y[drawn]
    check_distinct(y, f"table.target: column {shown(block.target)} of {block.source}")
    _check_features(X, block)
    return Table(
        name,
        block.target,
        X.reset_index(drop=True),
        y,
        rows[drawn],
        None if weight is None else weight[drawn],
        None if marks is None else marks.take(drawn),
        None if exposure is None else exposure[drawn],
    )


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


def _read(
    source: str | FrameSource, prefix: str, missing: Sequence[str | float] = (), text: Collection[str] = ()
) -> tuple[pd.DataFrame, str, bool]:
    """Return the table, its name and whether it was a file of text; errors start with ``prefix``."""
    is_text = False
    try:
        if isinstance(source, FrameSource):
            frame, name = source.frame.copy(deep=False), "DataFrame"
        elif source.startswith("openml:"):
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


def _check_columns(frame: pd.DataFrame, block: TableBlock, split: SplitBlock) -> None:
    """Refuse names of columns that the table does not have, and a split by the target, the weights or the exposures."""
    named = {f"table.{key}": getattr(block, key) for key in ("target", "drop", "categories")}
    named["table.target"] = [block.target]
    for key in ("weight", "exposure"):
        if getattr(block, key) is not None:
            named[f"table.{key}"] = [getattr(block, key)]
    if split.by is not None:
        how, by = split.by
        named[f"split.{how}"] = [by]
        for key in ("target", "weight", "exposure"):
            if by == getattr(block, key):
                raise ExperimentError(f"split.{how}: column {shown(by)} is the {key} of {block.source}")
    for key, columns in named.items():
        for column in columns:
            if column not in frame.columns:
                raise ExperimentError(
                    f"{key}: {block.source} has no column {shown(column)}{nearest(column, frame.columns)}"
                )


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
    if counts["missing"] and block.missing_target == "drop":
        said = f"{counts['missing']} of {len(y)} rows have no {shown(block.target)} and are left out"
        warnings.warn(said, TableNote, stacklevel=2)
        counts["missing"] = 0
    if any(counts.values()):
        found = " and ".join(f"{count} {word}" for word, count in counts.items() if count)
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        hint = "; table.missing_target: drop leaves them out" if counts["missing"] else ""
        raise ExperimentError(f"{what} holds {found} of {len(y)} values, the first in row {row}{hint}")
    return y


def check_distinct(y: NDArray[np.float64], what: str) -> None:
    """Refuse targets of which there is only one; ``what`` names them.

    Raises
    ------
    ExperimentError
    """
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
        with warnings.catch_warnings():
            # the look at the table says it
            warnings.simplefilter("ignore", NearUniqueWarning)
            TableEncoder().fit(X).transform(X)
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"table.source: {block.source}: {error}") from None
