"""Dates as features: what both engines make of a column of dates.

Month, day of the month and weekday are categories, and so is the hour where the times of day differ; the day of the
year and the days that have passed since 1970 are numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from pandas.api import types as pandas_types

from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.regressors.words import shown

_NUMBERS = ("dayofyear", "elapsed")
_OBJECTS = ("date", "datetime", "datetime64")


def holds_dates(column: pd.Series[Any]) -> bool:
    """Whether a column is of dates: by its dtype, or by all of its values where that is object."""
    dtype = column.dtype
    if pandas_types.is_datetime64_any_dtype(dtype):
        return True
    if isinstance(dtype, pd.ArrowDtype):
        return dtype.kind == "M" or str(dtype).startswith("date")
    return bool(pandas_types.is_object_dtype(dtype)) and pandas_types.infer_dtype(column, skipna=True) in _OBJECTS


def has_hours(column: pd.Series[Any], name: str) -> bool:
    """Whether any time of day in a column of dates is not midnight."""
    known = naive(column, name).dropna()
    return bool((known != known.dt.normalize()).any())


def numbers_of(name: str) -> tuple[str, ...]:
    """Names of the columns of numbers that a column of dates becomes; the others are of categories."""
    return tuple(f"{name}_{part}" for part in _NUMBERS)


def names_of(name: str, hours: bool) -> list[str]:
    """Names of all columns that a column of dates becomes, in order."""
    return [f"{name}_{part}" for part in ("month", "day", "weekday", *(["hour"] if hours else []), *_NUMBERS)]


def expand(column: pd.Series[Any], name: str, hours: bool) -> Iterator[tuple[str, pd.Series[Any]]]:
    """The columns that a column of dates becomes, by name; missing where the date is."""
    when = naive(column, name)
    parts = {"month": when.dt.month, "day": when.dt.day, "weekday": when.dt.dayofweek}
    if hours:
        parts["hour"] = when.dt.hour
    for part, values in parts.items():
        yield f"{name}_{part}", values.astype("Int64").astype("category")
    yield f"{name}_dayofyear", when.dt.dayofyear
    yield f"{name}_elapsed", (when - pd.Timestamp(0)) / pd.Timedelta(days=1)


def naive(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    """The same as NumPy's dates, as clocks on the wall showed them.

    Raises
    ------
    ValueError
        If they are of several time zones, or beyond what nanoseconds reach (1677 to 2262).
    """
    try:
        when = pd.to_datetime(column.astype(object) if isinstance(column.dtype, pd.ArrowDtype) else column)
        return (when if when.dt.tz is None else when.dt.tz_localize(None)).astype("datetime64[ns]")
    except (ValueError, OverflowError, AttributeError) as error:
        raise ValueError(
            f"column {shown(name)} holds dates that do not go together, or of no year from 1678 to 2261:"
            f" {in_one_line(error)}"
        ) from None
