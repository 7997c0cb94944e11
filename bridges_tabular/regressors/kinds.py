"""What a column holds: numbers, categories or dates; and the cells that leave it open."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types as pandas_types

from bridges_tabular.regressors import dates
from bridges_tabular.regressors.words import shown

_NUMERIC_OBJECTS = frozenset({"integer", "floating", "mixed-integer-float", "boolean", "decimal"})
_CATEGORICAL_OBJECTS = frozenset({"string", "mixed", "mixed-integer"})
_OBJECTS_WITH_INTEGERS = frozenset({"integer", "mixed-integer-float", "mixed", "mixed-integer"})
# fewer may be all that there are
_MANY_TEXTS = 20
# both engines compute in single precision, where a larger number turns into infinity
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_INTEGER = int(np.finfo(np.float64).max)


class OddCellError(ValueError):
    """A column holds numbers but for a few values, which would make categories of all of them.

    Attributes
    ----------
    column : str
    row : object
        Label of the first such value.
    value : object
    """

    def __init__(self, column: str, row: Any, value: Any) -> None:
        self.column, self.row, self.value = column, row, value
        super().__init__(
            f"column {shown(column)} holds {shown(value)} in row {shown(row)}, and numbers in most others: make it a"
            " missing value, or the whole column one of categories with astype('category')"
        )


def is_categorical(parts: Sequence[pd.Series[Any]], name: str) -> bool:
    """Whether a column is of categories, else it is of numbers.

    Parameters
    ----------
    parts : sequence of Series
        Its rows, in one or several parts; the dtype of the first one with a value counts.
    name : str

    Raises
    ------
    OddCellError
    ValueError
        If it holds anything else.
    """
    known = [part for part in parts if part.notna().any()]
    dtype = (known or parts)[0].dtype
    if pandas_types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {shown(name)} holds {dtype}")
    if isinstance(dtype, pd.CategoricalDtype):
        return True
    if pandas_types.is_numeric_dtype(dtype) or not known:
        return False
    column = known[0] if len(known) == 1 else pd.concat([part.astype(object) for part in known])
    content = pandas_types.infer_dtype(column, skipna=True)
    if content in _NUMERIC_OBJECTS:
        return False
    if content not in _CATEGORICAL_OBJECTS:
        raise ValueError(f"column {shown(name)} holds {content} values (dtype {dtype}), which are not supported")
    check_odd_cells(column, name)
    return True


def check_odd_cells(column: pd.Series[Any], name: str) -> None:
    """Refuse text and numbers in one column where more than half of the values, but not all, are numbers.

    Numbers in text count; those that no float holds do not.

    Raises
    ------
    OddCellError
    TypeError
        If the first such value is neither text nor a number.
    """
    present = column.dropna()
    odd = ~np.isfinite(parse_numbers(present))
    if odd.any() and 2 * np.count_nonzero(odd) < len(odd):
        first = int(np.argmax(odd))
        value = present.iloc[first]
        if not isinstance(value, str | Number | np.bool_):
            raise no_category(value, name)
        raise OddCellError(name, present.index[first], value)


class NearUniqueWarning(UserWarning):
    """A column of text tells rows apart rather than describes them."""


def near_unique(column: pd.Series[Any]) -> int | None:
    """How many different texts a column of categories holds, where it is nearly another one in each row; else None.

    Nearly: more than half as many as there are values, and at least 20.
    """
    distinct = column.nunique()
    if not _tells_apart(distinct, int(column.notna().sum())):
        return None
    first = column.dropna().iloc[0]
    return distinct if isinstance(first, str) else None


def warn_of_names(distinct: int, known: int, name: str) -> None:
    """Warn of a column with so many different texts in so many rows, where it is nearly another one in each row."""
    if _tells_apart(distinct, known):
        warnings.warn(
            f"column {shown(name)} holds {distinct} different texts in {known} rows: it tells rows apart"
            " rather than describes them; leave it out, or make something of it that rows share",
            NearUniqueWarning,
            stacklevel=2,
        )


def no_category(value: Any, name: str) -> TypeError:
    """What to raise of a value that is neither text nor a number, with words that scikit-learn's checks look for."""
    return TypeError(
        f"column {shown(name)} holds a {type(value).__name__}: every argument must be a string or a number"
    )


def check_integers(frame: pd.DataFrame) -> None:
    """Refuse whole numbers that no float holds: pandas, NumPy and classifiers fail on them wherever they meet one.

    Raises
    ------
    ValueError
        Naming the first column and row.
    """
    for position, dtype in enumerate(frame.dtypes):
        if not pandas_types.is_object_dtype(dtype):
            continue
        column = frame.iloc[:, position]
        if pandas_types.infer_dtype(column, skipna=True) not in _OBJECTS_WITH_INTEGERS:
            continue
        for row, value in enumerate(column.array):
            if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
                raise ValueError(
                    f"column {shown(frame.columns[position])} holds a whole number beyond float64 in row"
                    f" {shown(column.index[row])}: {shown(value)}"
                )


def parse_numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Numbers of a column, and text that is one, as floats; NaN for all else, also for truth values."""
    objects = column.to_numpy(dtype=object)
    try:
        codes, values = pd.factorize(objects)
    except TypeError:
        # lists and the like
        return _parse(objects)
    # a missing value has the code -1, which here picks the appended NaN
    return np.append(_parse(values), np.nan)[codes]


def with_kinds(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with what each column is in its dtype, so that any few of its rows tell.

    Parameters
    ----------
    frame : DataFrame
        Whose columns :class:`~bridges_tabular.regressors.tables.TableEncoder` can read.

    Returns
    -------
    DataFrame whose columns are of numbers, truth values, NumPy's or pandas' dates and ``category``
    """
    return frame.assign(**{str(name): _with_kind(frame[name], str(name)) for name in frame.columns})


def as_floats(column: pd.Series[Any]) -> NDArray[np.float64] | None:
    """Numbers of a column as doubles, NaN where missing, infinite where beyond them; None if it holds anything else."""
    if pandas_types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    column = column.astype(object)
    content = pandas_types.infer_dtype(column, skipna=True)
    if content != "empty" and content not in _NUMERIC_OBJECTS:
        return None
    column = column.where(column.notna(), np.nan)
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError:
        return np.array([_as_float(value) for value in column])


def first_other(column: pd.Series[Any]) -> tuple[Any, Any]:
    """Row and value of the first value of a column that is present and no number, nor text that is one if possible."""
    present = column.dropna()
    other = ~np.isfinite(parse_numbers(present))
    if not other.any():
        other = np.array([not isinstance(value, Number) for value in present])
    first = int(np.argmax(other))
    return present.index[first], present.iloc[first]


def to_numbers(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Numbers of a column as doubles, NaN where missing.

    Raises
    ------
    ValueError
        If it holds anything else, or numbers beyond single precision.
    """
    numbers = as_floats(column)
    if numbers is None:
        row, value = first_other(column)
        raise ValueError(f"column {shown(name)} held numbers in fit and now holds {shown(value)} in row {shown(row)}")
    too_large = np.flatnonzero(np.abs(numbers) > _LARGEST)
    if too_large.size:
        row, value = column.index[too_large[0]], column.iloc[too_large[0]]
        raise ValueError(
            f"column {shown(name)} holds {too_large.size} value(s) that are infinite or beyond float32, the first in"
            f" row {shown(row)}: {shown(value)}"
        )
    return numbers


def _tells_apart(distinct: int, known: int) -> bool:
    return distinct >= _MANY_TEXTS and 2 * distinct > known


def _with_kind(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    dtype = column.dtype
    if dates.holds_dates(column):
        return column if pandas_types.is_datetime64_any_dtype(dtype) else dates.naive(column, name)
    if isinstance(dtype, pd.CategoricalDtype) or pandas_types.is_numeric_dtype(dtype):
        return column
    if is_categorical([column], name):
        try:
            return column.astype("category")
        except TypeError:
            # lists and the like
            odd = next(value for value in column.dropna() if not isinstance(value, str | Number | np.bool_))
            raise no_category(odd, name) from None
    return pd.Series(as_floats(column), index=column.index, name=column.name)


def _parse(values: NDArray[np.object_]) -> NDArray[np.float64]:
    numbers = np.full(len(values), np.nan)
    is_text = np.fromiter((isinstance(value, str) for value in values), dtype=bool, count=len(values))
    numbers[is_text] = pd.to_numeric(pd.Series(values[is_text], dtype=object), errors="coerce")
    for index in np.flatnonzero(~is_text):
        if isinstance(values[index], Number) and not isinstance(values[index], bool | complex):
            numbers[index] = _as_float(values[index])
    return numbers


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
