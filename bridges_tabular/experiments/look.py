"""A look at a table before anything is trained: what makes scores too good, or columns useless."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types as pandas_types
from scipy.stats import rankdata

from bridges_tabular.experiments.splits import Split
from bridges_tabular.experiments.tables import Table
from bridges_tabular.regressors.kinds import as_floats, near_unique
from bridges_tabular.regressors.words import shown

_MOST_ROWS = 50_000
# fewer rows show nothing
_FEWEST_ROWS = 20
_FEW_TEST_ROWS = 50
_COPIED_SHARE = 0.01
# rows, and values of a column, that rule most columns out
_FIRST = 200
_KEY = re.compile(r"(?:.*[_ .-])?(?:id|uuid|guid|key|index|rownum|row_?id)|unnamed: 0", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}(?:[ T].*)?")
# 0,3 and 1.234,56, or 1,234.56; whole numbers may stand among them
_COMMA = re.compile(r"[+-]?\d+(?:[.,]\d{3})*(?:,\d+(?:\.\d+)?)?")


@dataclass(frozen=True)
class Finding:
    """Something about a table that its owner should know.

    Attributes
    ----------
    kind : str
        In a word or two.
    said : str
        In a line, with what to do about it.
    """

    kind: str
    said: str


def look(table: Table, splits: Sequence[Split]) -> list[Finding]:
    """Look at a seeded sample of at most 50,000 rows.

    Parameters
    ----------
    table : Table
    splits : sequence of Split
        At least one.

    Returns
    -------
    list of Finding
        At most one for each column: a leak of the target (a copy of it, or a column of the same order: Spearman's
        correlation is 1 or -1), an identifier, text that is nearly unique, dates or numbers as text, a constant; then
        those of the first split: few test rows, test rows that are also training rows.
    """
    n = len(table.y)
    rows = np.arange(n)
    if n > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(n, _MOST_ROWS, replace=False))
    X, y = table.X.iloc[rows], table.y[rows]
    found = []
    if len(rows) >= _FEWEST_ROWS:
        every = (_of_column(X.iloc[:, position], str(name), y, table.target) for position, name in enumerate(X.columns))
        found = [finding for finding in every if finding is not None]
    return [*found, *_of_split(X, y, rows, splits[0])]


def _of_column(column: pd.Series[Any], name: str, y: NDArray[np.float64], target: str) -> Finding | None:
    if column.nunique() <= 1:
        what = "no value" if column.isna().all() else f"{shown(column.dropna().iloc[0])} in every row that has a value"
        return Finding("constant", f"column {shown(name)} holds {what}")
    if pandas_types.is_datetime64_any_dtype(column.dtype):
        return None
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _of_text(column, name)
    numbers = as_floats(column)
    if numbers is None:
        return None
    order = _same_order(numbers, y)
    if order:
        known = np.isfinite(numbers)
        same = np.array_equal(numbers[known], y[known])
        what = f"equals {shown(target)}" if same else f"is in the {order} order as {shown(target)}"
        return Finding("leak", f"column {shown(name)} {what} in every row: leave it out with table.drop")
    steps = np.diff(numbers)
    whole = bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())
    in_order = bool((steps > 0).all() or (steps < 0).all())
    if whole and (in_order or (_KEY.fullmatch(name) and len(np.unique(numbers)) == len(numbers))):
        what = "counts the rows" if in_order else "has another number in each row"
        return Finding("identifier", f"column {shown(name)} {what}: leave it out with table.drop")
    return None


def _of_text(column: pd.Series[Any], name: str) -> Finding | None:
    first = column.cat.categories[:_FIRST]
    if all(isinstance(value, str) and _DATE.fullmatch(value) for value in first):
        advice = "written as 2024-05-31 in a CSV file, or as a column of dates, it would be read as one"
        return Finding("dates as text", f"column {shown(name)} holds {shown(first[0])}: {advice}")
    commas = [value for value in column.cat.categories if isinstance(value, str) and "," in value]
    if commas and all(isinstance(value, str) and _COMMA.fullmatch(value) for value in column.cat.categories):
        advice = "numbers with a comma are read as categories; written like 0.3 and 1234.5, they would be numbers"
        return Finding("numbers as text", f"column {shown(name)} holds {shown(commas[0])}: {advice}")
    distinct = near_unique(column)
    if distinct is None:
        return None
    said = f"column {shown(name)} holds {distinct:,} different texts in {column.notna().sum():,} rows"
    return Finding("near-unique text", f"{said}: leave it out with table.drop")


def _same_order(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Return "same" or "opposite" where the ranks of x are those of y; empty otherwise."""
    known = np.isfinite(x)
    if known.sum() < _FEWEST_ROWS:
        return ""
    x, y = x[known], y[known]
    for rows in (slice(_FIRST), slice(None)):
        ranks, wanted = rankdata(x[rows]), rankdata(y[rows])
        if np.array_equal(ranks, wanted):
            order = "same"
        elif np.array_equal(ranks, len(ranks) + 1 - wanted):
            order = "opposite"
        else:
            return ""
    return order


def _of_split(X: pd.DataFrame, y: NDArray[np.float64], rows: NDArray[np.int64], split: Split) -> Iterator[Finding]:
    n_test = len(split.test)
    if 0 < n_test < _FEW_TEST_ROWS:
        yield Finding("few test rows", f"there are {n_test}: scores on {n_test} others would differ")
    hashes = pd.util.hash_pandas_object(X.assign(**{"": y}), index=False).to_numpy()
    tested, trained = (hashes[np.isin(rows, part)] for part in (split.test, split.train))
    copied = int(np.isin(tested, trained).sum())
    if copied > 0 and copied >= _COPIED_SHARE * len(tested):
        share = f"{copied:,} of {len(tested):,} test rows ({copied / len(tested):.0%})"
        yield Finding(
            "copies",
            f"{share} are also training rows, target and all: scores come out too good; leave copies out, or keep what"
            " belongs together in one part with split.group",
        )
