"""Columns of a user's table: their names, their kinds, and the numbers and codes that engines read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data

from bridges_tabular.regressors import dates
from bridges_tabular.regressors.frames import as_pandas
from bridges_tabular.regressors.kinds import (
    check_integers,
    is_categorical,
    near_unique,
    no_category,
    to_numbers,
    warn_of_names,
)
from bridges_tabular.regressors.words import one_line, shown

Category = str | bool | int | float


class TableEncoder:
    """Splits a table into an array of numbers and an array of category codes.

    Integers, floats and booleans are numbers; text, ``category`` columns and mixed objects are categories; a column of
    dates becomes several, see :mod:`bridges_tabular.regressors.dates`. A column without a single value counts as
    numbers, all missing, unless its dtype says otherwise. Categories are those seen in ``fit``: an ordered pandas
    categorical keeps its order, others are sorted (numbers before text).

    Attributes
    ----------
    feature_names_in_ : list of str
        Names of all columns, in the order of ``fit``; ``x0``, ``x1``, ... where the table had none.
    n_features_in_ : int
    named : bool
        Whether the table of ``fit`` named its columns. Named columns are found by name, others by position.
    dates : dict of str to bool
        The columns of dates, and whether their hours differ.
    columns : list of str
        Names of what engines read, dates expanded, in the table's order.
    sources : list of int
        Position of the user's column that each of ``columns`` comes from.
    categories : dict of str to list
        The values of each of ``columns`` that holds categories; code j stands for the j-th value.
    mixed : list of str
        Those of ``columns`` in which some categories of ``fit`` were text and others were not.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"carat": [0.2, None], "cut": ["Ideal", "Fair"]})
    >>> numeric, codes = TableEncoder().fit(table).transform(table)
    >>> codes.ravel().tolist()
    [1, 0]
    """

    feature_names_in_: list[str]
    named: bool
    dates: dict[str, bool]
    columns: list[str]
    sources: list[int]
    categories: dict[str, list[Category]]
    mixed: list[str]

    @property
    def n_features_in_(self) -> int:
        """Number of columns seen in ``fit``."""
        return len(self.feature_names_in_)

    @property
    def categorical_columns(self) -> list[str]:
        """Names of the columns that hold categories."""
        return list(self.categories)

    @property
    def text_columns(self) -> list[str]:
        """Names of the user's columns whose categories are text."""
        found = [name for name in self.feature_names_in_ if self.categories.get(name) and name not in self.dates]
        return [name for name in found if all(isinstance(value, str) for value in self.categories[name])]

    @property
    def numeric_columns(self) -> list[str]:
        """Names of the columns that hold numbers."""
        return [name for name in self.columns if name not in self.categories]

    def fit(self, X: Any, *others: pd.DataFrame) -> Self:
        """Learn the columns of a table: their names, their kinds, their categories.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        *others : DataFrame
            Further rows of the same table. A column that has no value in X is of the kind that it has in them; their
            categories are not learned.

        Raises
        ------
        ValueError
            If a column's dtype is neither of numbers, of categories nor of dates, or two columns share a name.
        TypeError
            If a column holds objects that are neither numbers, text nor dates.

        Warns
        -----
        NearUniqueWarning
            If a column of text holds another one in most rows.
        """
        frame = as_frame(X)
        self.named = _is_named(frame)
        self.feature_names_in_ = (
            [str(name) for name in frame.columns] if self.named else [f"x{j}" for j in range(frame.shape[1])]
        )
        _check_unique(self.feature_names_in_)
        frames = [frame, *(self._select(other) for other in others)]
        self.dates, self.columns, self.sources, self.categories, self.mixed = {}, [], [], {}, []
        for position, name in enumerate(self.feature_names_in_):
            parts = [part.iloc[:, position] for part in frames]
            # a column's kind must not depend on which of its rows were held out
            known = next((part for part in parts if part.notna().any()), parts[0])
            if dates.holds_dates(known):
                self.dates[name] = any(dates.has_hours(part, name) for part in parts if dates.holds_dates(part))
            for column_name, column in self._read(parts[0], name):
                self.columns.append(column_name)
                self.sources.append(position)
                if name in self.dates:
                    if column_name not in dates.numbers_of(name):
                        self.categories[column_name] = _learn_categories(column, column_name)
                elif is_categorical(parts, name):
                    self.categories[column_name] = _learn_categories(column, column_name)
                    _warn_of_names(column, column_name)
                    if _is_mixed(parts):
                        self.mixed.append(column_name)
        _check_unique(self.columns)
        return self

    def transform(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Turn a table with the columns of ``fit`` into numbers.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        numeric : array of shape (n, numeric_columns)
            NaN where missing.
        codes : array of shape (n, categorical_columns)
            Position in ``categories``, -1 where missing or unseen in ``fit``.

        Raises
        ------
        ValueError
            If columns are missing, a numeric column holds text or infinite values, categories that were all text are
            now all numbers or the other way round, or a column of dates holds anything else.
        """
        frame = as_frame(X)
        numeric = np.empty((len(frame), len(self.numeric_columns)))
        codes = np.empty((len(frame), len(self.categories)), dtype=np.int64)
        next_numeric = next_code = 0
        for name, column in self.each(frame):
            if name in self.categories:
                codes[:, next_code] = column
                next_code += 1
            else:
                numeric[:, next_numeric] = column
                next_numeric += 1
        return numeric, codes

    def each(self, X: Any) -> Iterator[tuple[str, NDArray[Any]]]:
        """What :meth:`transform` makes of a table, column by column, in the order of ``columns``.

        Yields
        ------
        name : str
        column : array of shape (n,)
            Floats, or the codes of categories.
        """
        frame = self._select(as_frame(X))
        for position, source in enumerate(self.feature_names_in_):
            for name, column in self._read(frame.iloc[:, position], source):
                if name in self.categories:
                    yield name, _encode_categories(column, self.categories[name], name, mixed=name in self.mixed)
                else:
                    yield name, to_numbers(column, name)

    def to_dict(self) -> dict[str, Any]:
        """State as plain values that JSON can hold."""
        return {
            "names": self.feature_names_in_,
            "named": self.named,
            "dates": self.dates,
            "columns": self.columns,
            "sources": self.sources,
            "categories": self.categories,
            "mixed": self.mixed,
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Rebuild an encoder from :meth:`to_dict`.

        Raises
        ------
        ValueError
            If it is the state of none.
        """
        encoder = cls()
        encoder.feature_names_in_ = list(state["names"])
        encoder.named = bool(state["named"])
        encoder.dates = dict(state["dates"])
        encoder.columns = list(state["columns"])
        encoder.sources = list(state["sources"])
        encoder.categories = {name: list(values) for name, values in state["categories"].items()}
        # models of before it was kept have none
        encoder.mixed = list(state.get("mixed", []))
        encoder._check()
        return encoder

    def _check(self) -> None:
        """Refuse a state that :meth:`fit` could not have come to."""
        names = self.feature_names_in_
        parts = [dates.names_of(name, self.dates[name]) if name in self.dates else [name] for name in names]
        of_dates = {part for name, own in zip(names, parts, strict=True) if name in self.dates for part in own}
        coded = of_dates - {part for name in self.dates for part in dates.numbers_of(name)}
        whole = (
            all(isinstance(name, str) for name in names)
            and len(set(names)) == len(names) > 0
            and self.columns == [part for own in parts for part in own]
            and self.sources == [position for position, own in enumerate(parts) for _ in own]
            and coded == of_dates & set(self.categories)
            and set(self.dates) <= set(names)
            and set(self.mixed) <= set(self.categories) <= set(self.columns)
            and all(isinstance(value, Category) for values in self.categories.values() for value in values)
        )
        if not whole:
            raise ValueError("its columns contradict each other")

    def _read(self, column: pd.Series[Any], name: str) -> Iterator[tuple[str, pd.Series[Any]]]:
        """What engines read of a user's column."""
        if name not in self.dates:
            yield name, column
            return
        if not (dates.holds_dates(column) or column.isna().all()):
            raise ValueError(f"column {shown(name)} held dates in fit and now holds {column.dtype}")
        yield from dates.expand(column, name, self.dates[name])

    def _select(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.named and _is_named(frame):
            missing = [name for name in self.feature_names_in_ if name not in frame.columns]
            if missing:
                raise ValueError(one_line(f"the table lacks column(s) {', '.join(map(shown, missing))}"))
            return frame[self.feature_names_in_]
        if frame.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {frame.shape[1]} features, but {self.n_features_in_} are expected")
        return frame


def as_frame(X: Any, called: str = "X") -> pd.DataFrame:
    """Return a DataFrame as it is, a table of another library as pandas', or a 2-D array wrapped into one.

    Parameters
    ----------
    X : DataFrame of any library that narwhals reads, or array of shape (n, p)
    called : str, default="X"
        How to call it in an error.

    Raises
    ------
    ValueError, TypeError
        Those of :func:`~bridges_tabular.regressors.frames.as_pandas` and of :func:`sklearn.utils.check_array`: not
        2-D, no rows, no columns, complex; and if it is the path of a file.
    """
    if isinstance(X, str | PathLike):
        raise ValueError(f"{called} is text, {shown(str(X))}, and this takes tables in memory: read the file first")
    X = as_pandas(X, called)
    if not isinstance(X, pd.DataFrame):
        array = check_array(X, dtype=None, ensure_all_finite=False)
        try:
            return pd.DataFrame(array, copy=False).infer_objects()
        except OverflowError:
            # pandas infers nothing of whole numbers that no float holds
            return pd.DataFrame(array, dtype=object)
    for axis, unit in enumerate(("sample", "feature")):
        if X.shape[axis] == 0:
            raise ValueError(f"Found 0 {unit}(s) (shape={X.shape}) while a minimum of 1 is required.")
    return X


def index_of(X: Any) -> pd.Index | None:
    """Names of the rows of a table that has any."""
    return X.index if isinstance(X, pd.DataFrame) else None


def check_table(estimator: BaseEstimator, X: Any, *, reset: bool, called: str = "X") -> pd.DataFrame:
    """Check a table's shape and column names by scikit-learn's conventions.

    Parameters
    ----------
    estimator : BaseEstimator
        Receives ``n_features_in_`` and ``feature_names_in_`` if ``reset``, else is asked for them.
    X : DataFrame of any library that narwhals reads, or array of shape (n, p)
    reset : bool
        True in ``fit``, False in the methods that predict.
    called : str, default="X"
        How to call the table in an error.

    Returns
    -------
    DataFrame of shape (n, p); the user's own if it was one.

    Raises
    ------
    ValueError
        If two columns share a name, they are not those of ``fit`` in their order, or one holds a whole number that no
        float holds.
    TypeError
        If some names are text and others are not.
    """
    frame = as_frame(X, called)
    check_columns(frame)
    try:
        validate_data(estimator, frame, reset=reset, skip_check_array=True)
    except ValueError as error:
        if called == "X":
            # scikit-learn's checks look for its own lines
            raise
        raise ValueError(one_line(f"{called}: {' '.join(str(error).split())}")) from None
    return frame


def check_columns(frame: pd.DataFrame) -> None:
    """Refuse names of columns in a line of ours, where scikit-learn and narwhals would say more than one, and numbers.

    Raises
    ------
    ValueError
        If two columns share a name, or one holds a whole number that no float holds.
    TypeError
        If some names are text and others are not.
    """
    _check_names(frame)
    check_integers(frame)


def _check_names(frame: pd.DataFrame) -> None:
    other = next((name for name in frame.columns if not isinstance(name, str)), None)
    if other is None:
        _check_unique([str(name) for name in frame.columns])
        return
    text = next((name for name in frame.columns if isinstance(name, str)), None)
    if text is not None:
        raise TypeError(
            f"names of columns must be all text or all numbers, and {shown(other)} stands beside {shown(text)}"
        )


def _is_named(frame: pd.DataFrame) -> bool:
    return all(isinstance(name, str) for name in frame.columns)


def _check_unique(names: list[str]) -> None:
    repeated = pd.Index(names)[pd.Index(names).duplicated()]
    if len(repeated):
        raise ValueError(f"column {shown(repeated[0])} appears more than once")


def _learn_categories(column: pd.Series[Any], name: str) -> list[Category]:
    present = column.dropna()
    if isinstance(column.dtype, pd.CategoricalDtype):
        used = present.cat.remove_unused_categories().cat
        values = [_plain(value, name) for value in used.categories]
        if used.ordered:
            return values
    else:
        values = [_plain(value, name) for value in present.array]
    return sorted(dict.fromkeys(values), key=lambda value: (isinstance(value, str), value))


def _warn_of_names(column: pd.Series[Any], name: str) -> None:
    distinct = near_unique(column)
    if distinct is not None:
        warn_of_names(distinct, int(column.notna().sum()), name)


def _plain(value: Any, name: str) -> Category:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, str | bool | int | float):
        raise no_category(plain, name)
    if isinstance(plain, float) and np.isinf(plain):
        raise ValueError(f"column {shown(name)} holds infinite values")
    return plain


def _is_mixed(parts: Sequence[pd.Series[Any]]) -> bool:
    """Whether some categories are text and others not, in rows that may be of one table: its parts share a dtype."""
    kinds: dict[Any, set[bool]] = {}
    for part in parts:
        kinds.setdefault(part.dtype, set()).update(isinstance(value, str) for value in part.dropna().unique())
    return any(len(held) > 1 for held in kinds.values())


def _encode_categories(
    column: pd.Series[Any], categories: list[Category], name: str, *, mixed: bool
) -> NDArray[np.int64]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, values = pd.factorize(column)
    found = pd.Index(values, dtype=object)
    if categories and not mixed and (codes >= 0).any():
        _check_kind(found, categories, f"column {shown(name)}", column.dtype)
    known = pd.Index(categories, dtype=object).get_indexer(found)
    # a missing value has the code -1, which here picks the appended -1
    return np.append(known, -1)[codes].astype(np.int64)


def _check_kind(found: pd.Index, categories: list[Category], called: str, dtype: Any) -> None:
    """Refuse text where no category is text, and the other way round: each value would count as unseen."""
    text = isinstance(found[0], str)
    if (
        text != isinstance(categories[0], str)
        and all(isinstance(value, str) == text for value in found)
        and all(isinstance(value, str) != text for value in categories)
    ):
        before, now = ("numbers", "text") if text else ("text", "numbers")
        raise ValueError(f"{called} held {before} in fit and now holds {now} ({dtype})")
