"""How new rows differ from those that a model was trained on, column by column, from what the model says of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.regressors import dates
from bridges_tabular.regressors.kinds import as_floats
from bridges_tabular.regressors.tables import TableEncoder

# a column that is off by a unit is off by a thousand or so; a hundredth of its size is no chance where rows are many
_FAR = 100.0
_MANY = 10
# shares that stand out, and shares that are said aloud
_NOTABLE, _MOST = 0.01, 0.5


@dataclass
class ColumnDrift:
    """New values of a column beside those of training.

    Attributes
    ----------
    name : str
    kind : {"numbers", "categories", "dates"}
    missing_before : float
        Share of the training rows without a value.
    low, high : str
        Ends of the training values; empty for categories.
    rows, missing, below, above, unseen : int
        Numbers of new rows, and of those without a value, with one below or above the training values, or of a
        category that training had none of.
    ratio : float
        Typical size of the new values, the median of what is not 0 without its sign, in that of the training values;
        1 where there is none.
    """

    name: str
    kind: str
    missing_before: float
    low: str = ""
    high: str = ""
    rows: int = 0
    missing: int = 0
    below: int = 0
    above: int = 0
    unseen: int = 0
    ratio: float = 1.0
    _bounds: tuple[Any, Any] | None = None
    _size: float | None = None
    _medians: list[tuple[float, int]] = field(default_factory=list)

    @property
    def missing_now(self) -> float:
        """Share of the new rows without a value."""
        return self.missing / max(self.rows, 1)

    @property
    def outside(self) -> float:
        """Share of the new values that training had none like."""
        return (self.below + self.above + self.unseen) / max(self.rows - self.missing, 1)

    @property
    def is_far(self) -> bool:
        """Whether the values are of another size altogether."""
        counted = sum(count for _, count in self._medians)
        return self.ratio >= _FAR or (self.ratio <= 1 / _FAR and (counted >= _MANY or self.outside > _MOST))

    @property
    def stands_out(self) -> bool:
        """Whether it differs in anything that is worth a look."""
        return self.is_far or self.outside >= _NOTABLE or abs(self.missing_now - self.missing_before) >= 0.05

    @property
    def warning(self) -> str | None:
        """What nobody should miss, in a line; None if there is nothing."""
        if self.is_far:
            times = self.ratio if self.ratio > 1 else 1 / self.ratio
            return f"is about {times:,.0f} times {'larger' if self.ratio > 1 else 'smaller'} than in training"
        if self.kind == "categories" and self.outside > _MOST:
            return f"holds categories unseen in training in {self.outside:.0%} of its values"
        if self.kind == "numbers" and self.outside > _MOST:
            return f"lies outside the range of training, {self.low} to {self.high}, in {self.outside:.0%} of its values"
        if self.missing_now - self.missing_before > _MOST:
            return f"is missing in {self.missing_now:.0%} of the rows, in training in {self.missing_before:.0%}"
        return None

    def add(self, column: pd.Series[Any], unseen: NDArray[np.bool_] | None) -> None:
        """Count more rows; ``unseen`` tells those of a category that has no code, missing ones among them."""
        is_missing = column.isna().to_numpy()
        self.rows += len(column)
        self.missing += int(is_missing.sum())
        if unseen is not None:
            self.unseen += int((unseen & ~is_missing).sum())
        if self._bounds is None:
            return
        known = column[~is_missing]
        values: Any = dates.naive(known, self.name) if self.kind == "dates" else as_floats(known)
        if values is None or not len(values):
            return
        self.below += int((values < self._bounds[0]).sum())
        self.above += int((values > self._bounds[1]).sum())
        if self._size is not None and (sizes := np.abs(values[values != 0])).size:
            self._medians.append((float(np.median(sizes)), len(sizes)))
            self.ratio = _middle(self._medians) / self._size


class Drift:
    """What new rows are beside the training rows of a fitted regressor, counted chunk by chunk.

    Parameters
    ----------
    model : BridgeRegressor
        Fitted.

    Attributes
    ----------
    columns : list of ColumnDrift
        In the order of the table.

    Raises
    ------
    ValueError
        If what a saved model says of its columns cannot be.
    """

    def __init__(self, model: Any) -> None:
        self._encoder: TableEncoder = model._columns
        try:
            facts = model.facts_["columns"]
            self.columns = [_column(name, facts[name]) for name in self._encoder.feature_names_in_]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"what the model says of its columns cannot be: {error!r}") from None

    @property
    def rows(self) -> int:
        """Number of rows that were counted."""
        return self.columns[0].rows

    def add(self, X: pd.DataFrame) -> None:
        """Count more rows; columns by name, or by position where the model knows no names."""
        unseen = {}
        if self._encoder.categories:
            _, codes = self._encoder.transform(X)
            unseen = dict(zip(self._encoder.categories, codes.T < 0, strict=True))
        for position, column in enumerate(self.columns):
            own = X[column.name] if self._encoder.named else X.iloc[:, position]
            column.add(own, unseen.get(column.name) if column.kind == "categories" else None)

    def warnings(self) -> list[str]:
        """What nobody should miss, a line for each column."""
        return [f"column {one.name!r} {one.warning}" for one in self.columns if one.warning is not None]


def _column(name: str, about: Mapping[str, Any]) -> ColumnDrift:
    kind, missing = str(about["kind"]), float(about["missing"])
    if "low" not in about:
        return ColumnDrift(name, kind, missing)
    low, high = about["low"], about["high"]
    if kind == "dates":
        ends = tuple(pd.Timestamp(end).tz_localize(None) for end in (low, high))
        return ColumnDrift(name, kind, missing, str(low), str(high), _bounds=(ends[0], ends[1]))
    low, high = float(low), float(high)
    size = about.get("size")
    return ColumnDrift(
        name,
        kind,
        missing,
        f"{low:.6g}",
        f"{high:.6g}",
        _bounds=(low, high),
        _size=None if size is None else float(size),
    )


def _middle(medians: list[tuple[float, int]]) -> float:
    """The median of medians, each as often as it has rows: near that of all rows, of which none are kept."""
    values, counts = (np.array(part) for part in zip(*medians, strict=True))
    order = np.argsort(values)
    passed = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(passed, passed[-1] / 2)])
