"""What is done with each partition, where it lies: learned from first, then read into what trees split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.boosting.dask.draws import limit, smallest
from bridges_tabular.boosting.dask.learned import Learned, Moments, Sampled, Targets
from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.regressors.digest import TableDigest
from bridges_tabular.regressors.rows import check_target
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.streams import of_part, uniform, with_plain_dates

Floats = NDArray[np.float64]

TRAINING, VALIDATION, CONFORMAL = range(3)
# what the hashes of a row's number are drawn for
_KEY, _VALIDATION, _CONFORMAL = range(3)
# partitions number their rows from a multiple of it, so that nobody has to count those of others
_MOST_ROWS = 1 << 40
# those of an eval_set are numbered from there
EVAL_SET = 1 << 20


@dataclass(frozen=True)
class Division:
    """How rows are divided.

    Attributes
    ----------
    seed : int
    validation, conformal : float or None
        Shares of the rows to hold out.
    """

    seed: int
    validation: float | None
    conformal: float | None

    def of(self, numbers: NDArray[np.int64]) -> tuple[Floats, NDArray[np.uint8]]:
        """A key in [0, 1) and a role for each row, by its number."""
        roles = np.full(len(numbers), TRAINING, dtype=np.uint8)
        if self.validation is not None:
            roles[uniform(numbers, self.seed, _VALIDATION) < self.validation] = VALIDATION
        if self.conformal is not None:
            roles[uniform(numbers, self.seed, _CONFORMAL) < self.conformal] = CONFORMAL
        return uniform(numbers, self.seed, _KEY), roles


class Partition(NamedTuple):
    """A partition as ``fit`` was given it, still to be computed, with its number and what to call it in an error."""

    X: Any
    y: Any
    weight: Any
    number: int
    role: int | None
    """Of all its rows; None where they are divided."""

    @property
    def name(self) -> str:
        """What to call it in an error."""
        return f"partition {self.number % EVAL_SET}" + ("" if self.role is None else " of eval_set")

    def rows(self, division: Division) -> Rows:
        """Its rows, checked and divided; those of weight zero left out.

        Raises
        ------
        ValueError
            In one line that names the partition.
        """
        with of_part(self.name):
            n = len(self.X)
            frame = with_plain_dates(named(self.X))
            if len(self.y) != n:
                raise ValueError(f"X has {n} rows, y {len(self.y)}")
            y = check_target(self.y) if n else np.empty(0)
            weight = None if self.weight is None else _checked_weight(self.weight, n)
            numbers = self.number * _MOST_ROWS + np.arange(n)
            if weight is not None and not weight.all():
                used = weight > 0
                frame, y, weight, numbers = frame[used], y[used], weight[used], numbers[used]
            keys, roles = division.of(numbers)
            if self.role is not None:
                roles[:] = self.role
            return Rows(frame, y, weight, keys, roles)


class Rows(NamedTuple):
    """The rows of a partition."""

    X: pd.DataFrame
    y: Floats
    weight: Floats | None
    keys: Floats
    roles: NDArray[np.uint8]


def learn(partition: Partition, division: Division, most: Sampled) -> dict[int, Learned]:
    """What a partition's rows teach, by their roles."""
    rows = partition.rows(division)
    found = {}
    for role in np.unique(rows.roles).tolist():
        own = rows.roles == role
        X, y, keys = rows.X[own], rows.y[own], rows.keys[own]
        weight = None if rows.weight is None else rows.weight[own]
        digest = TableDigest()
        with of_part(partition.name):
            digest.add(X)
        below = limit(keys, most.targets), limit(keys, most.rows)
        drawn = smallest(keys, below[0], most.targets)
        targets = Targets(y[drawn], None if weight is None else weight[drawn], keys[drawn], below[0])
        found[role] = Learned(digest, Moments.of(y, weight), targets, X.iloc[drawn[: most.rows]], below[1])
    return found


class Reading(NamedTuple):
    """How partitions are read, as all of them get it."""

    division: Division
    features: Features
    scale: TargetScale
    weights: dict[int, float]
    """What to divide the weights of each role by; of those that have weights."""


class Block(NamedTuple):
    """A partition as trees read it."""

    number: int
    values: Values
    """(n, p)"""
    y: Floats
    """(n,), in standard units."""
    weight: Floats | None
    keys: Floats
    roles: NDArray[np.uint8]


def read(partition: Partition, reading: Reading) -> Block:
    """Read the rows of a partition."""
    rows = partition.rows(reading.division)
    width = len(reading.features.is_category)
    with of_part(partition.name):
        values = reading.features.values(rows.X) if len(rows.y) else np.empty((0, width), dtype=np.float32)
        reading.scale.check(rows.y[:, None], "y")
    weight = None
    if reading.weights and rows.weight is not None:
        # engines compute in single precision: rounded to it, weights of any scale come out the same
        factors = np.array([reading.weights.get(role, 1.0) for role in (TRAINING, VALIDATION, CONFORMAL)])
        weight = (rows.weight / factors[rows.roles]).astype(np.float32).astype(np.float64)
    y = reading.scale.standardise(rows.y)
    return Block(partition.number, values, y, weight, rows.keys, rows.roles)


def named(X: Any) -> pd.DataFrame:
    """A table whose columns have names: ``x0``, ``x1``, ... where it has none."""
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X)).infer_objects()
    if all(isinstance(name, str) for name in frame.columns):
        return frame
    return frame.set_axis([f"x{j}" for j in range(frame.shape[1])], axis="columns")


def _checked_weight(given: Any, n: int) -> Floats:
    try:
        weight = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"sample_weight holds what is no number: {error}") from None
    if weight.shape != (n,):
        raise ValueError(f"sample_weight has shape {weight.shape}, expected ({n},)")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight holds negative, NaN or infinite values")
    return weight
