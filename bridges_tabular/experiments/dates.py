"""Columns of dates, which a CSV file holds as text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from typing import Any

import pandas as pd

_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})"
_ISO = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,9}})?)?{_ZONE}?)?")
# the date alone ends in what looks like a zone
_ZONED = re.compile(rf".*:.*{_ZONE}")
_ENDING_ZONE = re.compile(rf"{_ZONE}$")


class TableNote(UserWarning):
    """What was made of a table, for its owner to know."""


def read_dates(frame: pd.DataFrame, names: Collection[str] | None = None) -> pd.DataFrame:
    """Turn columns of text into columns of dates.

    Parameters
    ----------
    frame : DataFrame
    names : collection of str, optional
        The only columns to read so. Default: those whose values are dates, or dates and times of day, of ISO 8601
        (``2024-05-31``, ``2024-05-31T17:30``), all of them; a :class:`TableNote` names each.

    Returns
    -------
    DataFrame
        The same where there are none. Times of day with a zone become what the clock showed there, as in tables with
        types: ``17:30+02:00`` is 17:30, ``15:30Z`` is 15:30. A column in which some have a zone stays text.
    """
    text = [name for name in frame.columns if pd.api.types.is_object_dtype(frame[name].dtype)]
    asked = text if names is None else [name for name in frame.columns if name in names]
    read = {name: _as_dates(frame[name], expected=names is not None) for name in asked}
    found = {name: dates for name, dates in read.items() if dates is not None}
    if names is None:
        for name in found:
            warnings.warn(f"column {name!r} is read as dates", TableNote, stacklevel=2)
    return frame.assign(**found) if found else frame


def _as_dates(column: pd.Series[Any], expected: bool) -> pd.Series[Any] | None:
    known = column.dropna()
    if known.empty:
        return pd.to_datetime(column) if expected else None
    # the first value spares columns of other text the look at all of them
    if not _is_date(known.iloc[0]) or not known.map(_is_date).all():
        return None
    zoned = known.map(lambda value: _ZONED.fullmatch(value) is not None)
    if zoned.any() and not zoned.all():
        return None
    clock = column.str.replace(_ENDING_ZONE, "", regex=True) if zoned.any() else column
    try:
        return pd.to_datetime(clock, format="ISO8601")
    except ValueError:
        # a month 13, or a year that nanoseconds do not reach
        return None


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _ISO.fullmatch(value) is not None
