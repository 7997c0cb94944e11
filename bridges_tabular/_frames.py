"""From the user's features, targets, weights and validation rows to checked arrays, for both engines."""

from __future__ import annotations

from numbers import Number
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types as pandas_types
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, column_or_1d, validate_data

Category = str | bool | int | float

_NUMERIC_OBJECTS = frozenset({"integer", "floating", "mixed-integer-float", "boolean", "decimal"})
_CATEGORICAL_OBJECTS = frozenset({"string", "mixed", "mixed-integer"})
# both engines compute in single precision, where a larger number turns into infinity
_LARGEST = float(np.finfo(np.float32).max)


class TableEncoder:
    """Splits a table into an array of numbers and an array of category codes.

    Integers, floats and booleans are numbers; text, ``category`` columns and mixed objects are categories. A
    column without a single value counts as numbers, all missing. Categories are those seen in ``fit``: an
    ordered pandas categorical keeps its order, others are sorted (numbers before text).

    Attributes
    ----------
    feature_names_in_ : list of str
        Names of all columns, in the order of ``fit``; ``x0``, ``x1``, ... where the table had none.
    n_features_in_ : int
    named : bool
        Whether the table of ``fit`` named its columns. Named columns are found by name, others by position.
    numeric_columns, categorical_columns : list of str
        The two kinds, in the table's order.
    categories : dict of str to list
        The values of each categorical column; code j stands for the j-th value.

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
    categories: dict[str, list[Category]]

    @property
    def n_features_in_(self) -> int:
        """Number of columns seen in ``fit``."""
        return len(self.feature_names_in_)

    @property
    def categorical_columns(self) -> list[str]:
        """Names of the columns that hold categories."""
        return list(self.categories)

    @property
    def numeric_columns(self) -> list[str]:
        """Names of the columns that hold numbers."""
        return [name for name in self.feature_names_in_ if name not in self.categories]

    def fit(self, X: Any) -> Self:
        """Learn the columns of a table: their names, their kinds, their categories.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Raises
        ------
        ValueError
            If a column's dtype is neither of numbers nor of categories, or two columns share a name.
        TypeError
            If a column holds objects that are neither numbers nor text.
        """
        frame = as_frame(X)
        self.named = _is_named(frame)
        self.feature_names_in_ = (
            [str(name) for name in frame.columns] if self.named else [f"x{j}" for j in range(frame.shape[1])]
        )
        repeated = pd.Index(self.feature_names_in_)[pd.Index(self.feature_names_in_).duplicated()]
        if len(repeated):
            raise ValueError(f"column {repeated[0]!r} appears more than once")
        self.categories = {}
        for position, name in enumerate(self.feature_names_in_):
            column = frame.iloc[:, position]
            if _is_categorical(column, name):
                self.categories[name] = _learn_categories(column, name)
        return self

    def transform(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Turn a table with the columns of ``fit`` into numbers.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        numeric : array of shape (n, p_numeric)
            NaN where missing.
        codes : array of shape (n, p_categorical)
            Position in ``categories``, -1 where missing or unseen in ``fit``.

        Raises
        ------
        ValueError
            If columns are missing, a numeric column holds text or infinite values, or a text column numbers.
        """
        frame = self._select(as_frame(X))
        numeric = np.empty((len(frame), len(self.numeric_columns)))
        codes = np.empty((len(frame), len(self.categories)), dtype=np.int64)
        next_numeric = next_code = 0
        for position, name in enumerate(self.feature_names_in_):
            column = frame.iloc[:, position]
            if name in self.categories:
                codes[:, next_code] = _encode_categories(column, self.categories[name], name)
                next_code += 1
            else:
                numeric[:, next_numeric] = _to_numbers(column, name)
                next_numeric += 1
        return numeric, codes

    def to_dict(self) -> dict[str, Any]:
        """State as plain values that JSON can hold."""
        return {"columns": self.feature_names_in_, "named": self.named, "categories": self.categories}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Rebuild an encoder from :meth:`to_dict`."""
        encoder = cls()
        encoder.feature_names_in_ = list(state["columns"])
        encoder.named = bool(state["named"])
        encoder.categories = {name: list(values) for name, values in state["categories"].items()}
        return encoder

    def _select(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.named and _is_named(frame):
            missing = [name for name in self.feature_names_in_ if name not in frame.columns]
            if missing:
                raise ValueError(f"the table lacks column(s) {', '.join(map(repr, missing))}")
            return frame[self.feature_names_in_]
        if frame.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {frame.shape[1]} features, but {self.n_features_in_} are expected")
        return frame


def as_frame(X: Any) -> pd.DataFrame:
    """Return a DataFrame as it is, or wrap what scikit-learn accepts as a 2-D array into one.

    Raises
    ------
    ValueError, TypeError
        Those of :func:`sklearn.utils.check_array`: not 2-D, no rows, no columns, sparse, complex.
    """
    if not isinstance(X, pd.DataFrame):
        return pd.DataFrame(check_array(X, dtype=None, ensure_all_finite=False)).infer_objects()
    for axis, unit in enumerate(("sample", "feature")):
        if X.shape[axis] == 0:
            raise ValueError(f"Found 0 {unit}(s) (shape={X.shape}) while a minimum of 1 is required.")
    return X


def check_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> pd.DataFrame:
    """Check a table's shape and column names by scikit-learn's conventions.

    Parameters
    ----------
    estimator : BaseEstimator
        Receives ``n_features_in_`` and ``feature_names_in_`` if ``reset``, else is asked for them.
    X : DataFrame or array of shape (n, p)
    reset : bool
        True in ``fit``, False in the methods that predict.

    Returns
    -------
    DataFrame of shape (n, p); the user's own if it was one.
    """
    frame = as_frame(X)
    validate_data(estimator, frame, reset=reset, skip_check_array=True)
    return frame


def check_target(y: Any, name: str = "y") -> NDArray[np.float64]:
    """Return the target as finite floats.

    Parameters
    ----------
    y : array of shape (n,)
        A column vector is taken too, with scikit-learn's DataConversionWarning.
    name : str
        How to call it in an error.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    ValueError
        If it is missing, not one-dimensional, not numeric, or holds NaN or infinite values.
    """
    if y is None:
        raise ValueError(f"a regressor requires y to be passed, but the target {name} is None")
    column = pd.Series(column_or_1d(y, warn=True))
    target = _as_floats(column)
    if target is None:
        raise ValueError(f"the target {name} is not numeric: it holds {_first_other(column)!r}")
    unusable = int(np.count_nonzero(~np.isfinite(target)))
    if unusable:
        raise ValueError(f"Input {name} contains NaN or infinity: {unusable} of {len(target)} values")
    return target


def check_sample_weight(sample_weight: Any, n: int) -> NDArray[np.float64] | None:
    """Return weights as floats of shape (n,), or None where none were given.

    Raises
    ------
    ValueError
        If there are not ``n`` of them, any is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n},)")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight holds negative, NaN or infinite values")
    if not weights.any():
        raise ValueError("sample_weight is zero everywhere")
    return weights


def check_eval_set(eval_set: Any) -> tuple[Any, Any, Any] | None:
    """Read ``eval_set`` in any of its forms.

    Parameters
    ----------
    eval_set : None, (X, y), (X, y, sample_weight) or a list holding one such tuple

    Returns
    -------
    (X, y, sample_weight) as given, the weights None where absent; None where there is no ``eval_set``.

    Raises
    ------
    ValueError
        If it holds more than one validation set, or something else than two or three parts.
    """
    if eval_set is None:
        return None
    if isinstance(eval_set, list):
        if len(eval_set) != 1:
            raise ValueError(f"eval_set must hold one validation set, got a list of {len(eval_set)}")
        eval_set = eval_set[0]
    if not isinstance(eval_set, tuple | list) or len(eval_set) not in (2, 3):
        raise ValueError("eval_set must be (X, y), (X, y, sample_weight) or a list holding one of them")
    X, y, *weights = eval_set
    return X, y, (weights[0] if weights else None)


def split_validation(
    n: int, fraction: float, random_state: int | np.random.RandomState | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the rows to hold out for early stopping.

    Returns
    -------
    training, validation : arrays of int
        Row numbers in ascending order; together all of ``range(n)``. Each has at least one row.

    Raises
    ------
    ValueError
        If there are fewer than two rows.
    """
    if n < 2:
        raise ValueError(f"n_samples = {n}: at least 2 rows are needed to hold out validation rows")
    n_validation = min(max(round(n * fraction), 1), n - 1)
    order = check_random_state(random_state).permutation(n)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def _is_named(frame: pd.DataFrame) -> bool:
    return all(isinstance(name, str) for name in frame.columns)


def _is_categorical(column: pd.Series[Any], name: str) -> bool:
    dtype = column.dtype
    if pandas_types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {name!r} holds {dtype}")
    if pandas_types.is_numeric_dtype(dtype) or bool(column.isna().all()):
        return False
    if isinstance(dtype, pd.CategoricalDtype):
        return True
    content = pandas_types.infer_dtype(column, skipna=True)
    if content in _NUMERIC_OBJECTS:
        return False
    if content not in _CATEGORICAL_OBJECTS:
        raise ValueError(f"column {name!r} holds {content} values (dtype {dtype}), which are not supported")
    return True


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


def _plain(value: Any, name: str) -> Category:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, str | bool | int | float):
        raise TypeError(f"column {name!r} holds a {type(plain).__name__}: every argument must be a string or a number")
    if isinstance(plain, float) and np.isinf(plain):
        raise ValueError(f"column {name!r} holds infinite values")
    return plain


def _encode_categories(column: pd.Series[Any], categories: list[Category], name: str) -> NDArray[np.int64]:
    holds_numbers = pandas_types.is_numeric_dtype(column.dtype) and not column.isna().all()
    if holds_numbers and all(isinstance(value, str) for value in categories):
        raise ValueError(f"column {name!r} held text in fit and now holds numbers ({column.dtype})")
    index = pd.Index(categories, dtype=object)
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = index.get_indexer(pd.Index(column.cat.categories, dtype=object))
        # pandas writes a missing value as code -1, which here picks the appended -1
        return np.append(known, -1)[column.cat.codes.to_numpy()].astype(np.int64)
    return index.get_indexer(pd.Index(column.astype(object))).astype(np.int64)


def _to_numbers(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    numbers = _as_floats(column)
    if numbers is None:
        raise ValueError(f"column {name!r} held numbers in fit and now holds {_first_other(column)!r}")
    too_large = int(np.count_nonzero(np.abs(numbers) > _LARGEST))
    if too_large:
        raise ValueError(f"column {name!r} holds {too_large} value(s) that are infinite or beyond float32")
    return numbers


def _as_floats(column: pd.Series[Any]) -> NDArray[np.float64] | None:
    if not pandas_types.is_numeric_dtype(column.dtype):
        column = column.astype(object)
        content = pandas_types.infer_dtype(column, skipna=True)
        if content != "empty" and content not in _NUMERIC_OBJECTS:
            return None
        column = column.where(column.notna(), np.nan)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _first_other(values: pd.Series[Any]) -> Any:
    return next((value for value in values.dropna() if not isinstance(value, Number)), None)
