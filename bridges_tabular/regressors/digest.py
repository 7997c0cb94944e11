"""What an encoder has to see of a table, gathered part by part: a few rows that stand for all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api import types as pandas_types

from bridges_tabular.regressors import dates
from bridges_tabular.regressors.card import describe_columns
from bridges_tabular.regressors.kinds import (
    NearUniqueWarning,
    OddCellError,
    as_floats,
    no_category,
    to_numbers,
    warn_of_names,
)
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.regressors.words import one_line, shown


@dataclass
class ColumnDigest:
    """A column's values that stand for all: of numbers the ends, of anything else each one that makes a category.

    Attributes
    ----------
    kind : {"numbers", "dates", "categories", ""}
        Empty where no value is known yet.
    values : Series
        Known values, or a missing one of its dtype.
    missing : int
        Number of rows without a value.
    """

    kind: str
    values: pd.Series[Any]
    missing: int

    @classmethod
    def of(cls, column: pd.Series[Any], name: str) -> Self:
        """Of the rows of a part."""
        known = column.dropna()
        missing = len(column) - len(known)
        if not len(known):
            return cls("", column.iloc[:1], missing)
        if pandas_types.is_numeric_dtype(column.dtype):
            if pandas_types.is_complex_dtype(column.dtype):
                return cls("numbers", known.iloc[:1], missing)
            return cls("numbers", _ends(known, to_numbers(known, name)), missing)
        if dates.holds_dates(known):
            return cls("dates", _dates(dates.naive(known, name)), missing)
        try:
            return cls("categories", known.drop_duplicates(), missing)
        except TypeError:
            raise no_category(known.iloc[0], name) from None

    def merged(self, other: Self, name: str) -> Self:
        """Of the rows of both.

        Raises
        ------
        ValueError
            If their kinds contradict each other.
        """
        missing = self.missing + other.missing
        if not (self.kind and other.kind):
            return type(self)(self.kind or other.kind, self.values if self.kind else other.values, missing)
        if self.kind != other.kind:
            raise ValueError(f"column {shown(name)} holds {other.kind}, in parts before it {self.kind}")
        values = [self.values, other.values]
        ordered = [isinstance(one.dtype, pd.CategoricalDtype) and one.cat.ordered for one in values]
        if any(ordered) and self.values.dtype != other.values.dtype:
            raise ValueError(f"column {shown(name)} holds categories of another order than in parts before it")
        if self.values.dtype != other.values.dtype:
            values = [_plain(one, self.kind) for one in values]
        whole = type(self).of(pd.concat(values, ignore_index=True), name)
        return type(self)(self.kind, whole.values, missing)

    def repeated(self, n: int) -> pd.Series[Any]:
        """So many rows."""
        return self.values.iloc[np.minimum(np.arange(n), len(self.values) - 1)].reset_index(drop=True)


class TableDigest:
    """What the rows of a table hold, gathered part by part.

    Numbers leave their ends, dates each month, day, weekday and hour, categories each value: an encoder learns the same
    from these few rows as from all, and their parts may be gathered apart and merged.

    Attributes
    ----------
    rows : int
    columns : dict of str to ColumnDigest

    Examples
    --------
    >>> import pandas as pd
    >>> parts = [pd.DataFrame({"carat": [0.2, 0.3, 0.4], "cut": ["Ideal", "Fair", "Fair"]})]
    >>> parts += [pd.DataFrame({"carat": [0.7], "cut": ["Good"]})]
    >>> digest = TableDigest()
    >>> for part in parts:
    ...     digest.add(part)
    >>> digest.frame()
       carat    cut
    0    0.2  Ideal
    1    0.7   Fair
    2    0.7   Good
    """

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[str, ColumnDigest] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Gather the rows of a part, whose columns are named.

        Raises
        ------
        ValueError
            If it has no columns, lacks one of the parts before it, has another, or holds other kinds of values in one.
        """
        if not frame.shape[1]:
            raise ValueError("Found 0 feature(s) while a minimum of 1 is required.")
        found = TableDigest()
        found.rows = len(frame)
        found.columns = {str(name): ColumnDigest.of(frame[name], str(name)) for name in frame.columns}
        self.merge(found)

    def merge(self, other: TableDigest) -> None:
        """Gather what another one has gathered, of later parts.

        Raises
        ------
        ValueError
            As :meth:`add`.
        """
        if not other.rows:
            return
        if not self.rows:
            self.rows, self.columns = other.rows, dict(other.columns)
            return
        check_same(list(self.columns), list(other.columns))
        self.rows += other.rows
        for name, column in self.columns.items():
            self.columns[name] = column.merged(other.columns[name], name)

    def frame(self) -> pd.DataFrame:
        """The rows that stand for all."""
        n = max(len(column.values) for column in self.columns.values())
        return pd.DataFrame({name: column.repeated(n) for name, column in self.columns.items()})

    def describe(self, drawn: pd.DataFrame, columns: TableEncoder) -> dict[str, dict[str, Any]]:
        """What :func:`~bridges_tabular.regressors.card.describe_columns` says of the rows.

        Kinds, ends and missing values are those of all rows, sizes those of some that were ``drawn`` from them.
        """
        sizes, found = (describe_columns(frame, columns) for frame in (drawn, self.frame()))
        for name, about in found.items():
            about["missing"] = self.columns[name].missing / self.rows
            if "size" in sizes[name]:
                about["size"] = sizes[name]["size"]
        return found

    def encoder(self, *others: TableDigest) -> TableEncoder:
        """An encoder fitted to all of the rows; see :meth:`TableEncoder.fit` for others.

        Raises
        ------
        ValueError, TypeError
            Those of :meth:`TableEncoder.fit`.
        """
        with warnings.catch_warnings():
            # each text stands here once, however often it came
            warnings.simplefilter("ignore", NearUniqueWarning)
            try:
                encoder = TableEncoder().fit(self.frame(), *(other.frame() for other in others if other.rows))
            except OddCellError as error:
                said = f"column {shown(error.column)} holds {shown(error.value)}, and numbers otherwise"
                raise ValueError(f"{said}: make it a missing value, or the whole column one of categories") from None
        for name in encoder.text_columns:
            column = self.columns[name]
            warn_of_names(len(column.values), self.rows - column.missing, name)
        return encoder


def check_same(names: Sequence[str], others: Sequence[str], those: str = "parts before it") -> None:
    """Refuse a part with other columns than those before it, or than those of which an error is to speak.

    Raises
    ------
    ValueError
        In one line that names the columns.
    """
    missing = [name for name in names if name not in others]
    if missing:
        raise ValueError(one_line(f"it lacks column(s) {', '.join(map(shown, missing))}, which {those} have"))
    new = [name for name in others if name not in names]
    if new:
        raise ValueError(one_line(f"it has column(s) {', '.join(map(shown, new))}, which {those} lack"))


def _ends(known: pd.Series[Any], by: Any) -> pd.Series[Any]:
    return known.iloc[[int(np.argmin(by)), int(np.argmax(by))]]


def _dates(when: pd.Series[Any]) -> pd.Series[Any]:
    """The ends, and a date of each month, day, weekday and hour."""
    clock = when.dt
    rows = [np.unique(part, return_index=True)[1] for part in (clock.month, clock.day, clock.dayofweek, clock.hour)]
    timed = np.flatnonzero(when != clock.normalize())[:1]
    return when.iloc[np.unique(np.concatenate([*rows, timed, [when.argmin(), when.argmax()]]))]


def _plain(values: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """In the dtype that all columns of a kind can have."""
    return pd.Series(as_floats(values)) if kind == "numbers" else values.astype(object)
