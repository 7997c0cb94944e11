"""The column that a split goes by: a time, a group, or the part of each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, SplitBlock
from bridges_tabular.experiments.dates import read_dates
from bridges_tabular.regressors import dates
from bridges_tabular.regressors.kinds import as_floats, first_other
from bridges_tabular.regressors.words import shown

PARTS = ("train", "validation", "test")
How = Literal["time", "group", "file"]


@dataclass(frozen=True)
class Marks:
    """What a split has to know of each row.

    Attributes
    ----------
    how : "time", "group" or "file"
    column : str
    values : array of shape (n,)
        Times that can be sorted; codes of groups; or "train", "validation" and "test".
    is_feature : bool
        Whether models see the column: one of dates, in the parts that they are expanded into, and no other.
    groups : tuple of str
        Names of the groups, by their codes.
    """

    how: How
    column: str
    values: NDArray[Any]
    is_feature: bool = False
    groups: tuple[str, ...] = ()

    @classmethod
    def read(cls, frame: pd.DataFrame, block: SplitBlock) -> Self | None:
        """Read the column that the block names; None where splits are random.

        Raises
        ------
        ExperimentError
            If there is no value, or one of another kind, in any row.
        """
        if block.by is None:
            return None
        how, name = block.by
        column = frame[name]
        missing = column.isna().to_numpy()
        if missing.any():
            raise ExperimentError(
                f"split.{how}: column {shown(name)} holds {missing.sum()} missing of {len(missing)} values, the first"
                f" in row {column.index[int(np.argmax(missing))]}"
            )
        if how == "time":
            values = _times(column, name)
            return cls(how, name, values, bool(np.issubdtype(values.dtype, np.datetime64)))
        if how == "group":
            codes, groups = pd.factorize(column.astype(object), sort=False)
            return cls(how, name, codes.astype(np.int64), groups=tuple(map(str, groups)))
        return cls(how, name, _parts(column, name))

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Some of the rows, by number."""
        return replace(self, values=self.values[rows])

    def names(self) -> NDArray[Any]:
        """Times, or groups, as a table of text and numbers holds them."""
        if self.how == "group":
            named: NDArray[Any] = np.array(self.groups, dtype=object)[self.values]
            return named
        return self.values.astype("datetime64[s]").astype(str) if self.is_feature else self.values


def _times(column: pd.Series[Any], name: str) -> NDArray[Any]:
    if pd.api.types.is_object_dtype(column.dtype):
        column = read_dates(column.to_frame(), [name])[name]
    if dates.holds_dates(column):
        try:
            return dates.naive(column, name).to_numpy()
        except ValueError as error:
            raise ExperimentError(f"split.time: {error}") from None
    numbers = None if isinstance(column.dtype, pd.CategoricalDtype) else as_floats(column)
    if numbers is None or not np.isfinite(numbers).all():
        undated = column[pd.to_datetime(column.astype(str), errors="coerce", format="ISO8601", utc=True).isna()]
        row, value = first_other((column if undated.empty else undated).astype(object))
        raise ExperimentError(
            f"split.time: column {shown(name)} holds {shown(value)} in row {row}, and a time has to be a number or a"
            " date like 2024-05-31"
        )
    return numbers


def _parts(column: pd.Series[Any], name: str) -> NDArray[Any]:
    parts = column.astype(str).to_numpy(dtype=str)
    wrong = ~np.isin(parts, PARTS)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ExperimentError(
            f"split.file: column {shown(name)} holds {shown(column.iloc[at])} in row {column.index[at]}; its cells have"
            f" to be {', '.join(PARTS[:-1])} or {PARTS[-1]}"
        )
    return parts
