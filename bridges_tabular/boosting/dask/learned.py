"""What partitions have learned from their rows, small enough to be sent, and what all of them have learned together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.boosting.dask.draws import smallest
from bridges_tabular.regressors.digest import TableDigest
from bridges_tabular.regressors.rows import Rows, check_sample_weight
from bridges_tabular.regressors.scale import TargetScale

Floats = NDArray[np.float64]


class Sampled(NamedTuple):
    """Of how many rows the targets are sent, and of how many the table, too."""

    targets: int
    rows: int


class Targets(NamedTuple):
    """Targets (m,) of rows with the smallest keys, in their order, and their weights."""

    y: Floats
    weight: Floats | None
    keys: Floats
    below: float
    """The key up to which these are all there are."""


class Moments(NamedTuple):
    """Of targets, and of their weights in units of the heaviest."""

    rows: int
    mean: float
    deviation: float
    low: float
    high: float
    weight: float
    """The sum."""
    lightest: float
    heaviest: float

    @classmethod
    def of(cls, y: Floats, weight: Floats | None) -> Moments:
        """Of rows, at least one."""
        weights = np.ones(len(y)) if weight is None else weight
        # a sum of large weights would overflow
        heaviest = float(weights.max())
        relative = weights / heaviest
        scale = TargetScale.fit(y[:, None], relative)
        low, high = float(y.min()), float(y.max())
        deviation = 0.0 if low == high else float(scale.scale[0])
        return cls(
            len(y), float(scale.mean[0]), deviation, low, high, float(relative.sum()), float(weights.min()), heaviest
        )

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Of the rows of all parts, exact but for rounding."""
        heaviest = max(part.heaviest for part in parts)
        weights = np.array([part.weight * (part.heaviest / heaviest) for part in parts])
        means, deviations = np.array([(part.mean, part.deviation) for part in parts]).T
        # what the means' own moments and the parts' deviations come to; squares of large numbers would overflow
        between = TargetScale.fit(means[:, None], weights)
        mean = float(between.mean[0])
        spread = 0.0 if (means == means[0]).all() else float(between.scale[0])
        unit = max(float(deviations.max()), spread) or 1.0
        variance = np.average(np.square(deviations / unit), weights=weights) + (spread / unit) ** 2
        return cls(
            sum(part.rows for part in parts),
            mean,
            unit * float(np.sqrt(variance)),
            min(part.low for part in parts),
            max(part.high for part in parts),
            float(weights.sum()),
            min(part.lightest for part in parts),
            heaviest,
        )

    @property
    def scale(self) -> TargetScale:
        """By which the targets are standardised."""
        return TargetScale(np.array([self.mean]), np.array([self.deviation or 1.0]))

    @property
    def mean_weight(self) -> float:
        """That of a row."""
        return self.heaviest * (self.weight / self.rows)


class Learned(NamedTuple):
    """What rows of one role teach: those of a partition, or of all."""

    digest: TableDigest
    moments: Moments
    targets: Targets
    table: pd.DataFrame
    """Of the first of the same rows."""
    below: float
    """The key up to which these are all there are."""

    @classmethod
    def merged(cls, parts: Sequence[Learned], most: Sampled) -> Learned:
        """Of the rows of all partitions.

        Raises
        ------
        ValueError
            If the partitions' columns contradict each other.
        """
        digest = TableDigest()
        for part in parts:
            digest.merge(part.digest)
        keys = np.concatenate([part.targets.keys for part in parts])
        below = min(part.targets.below for part in parts)
        drawn = smallest(keys, below, most.targets)
        weights = [part.targets.weight for part in parts if part.targets.weight is not None]
        targets = Targets(
            np.concatenate([part.targets.y for part in parts])[drawn],
            np.concatenate(weights)[drawn] if weights else None,
            keys[drawn],
            below,
        )
        keys = np.concatenate([part.targets.keys[: len(part.table)] for part in parts])
        below = min(part.below for part in parts)
        table = pd.concat([part.table for part in parts]).iloc[smallest(keys, below, most.rows)]
        return cls(digest, Moments.merged([part.moments for part in parts]), targets, table, below)

    @property
    def weighted(self) -> bool:
        """Whether the weights differ."""
        return self.moments.lightest < self.moments.heaviest

    def sample(self) -> Rows:
        """Rows drawn from them, with the table."""
        n = len(self.table)
        weight = self.targets.weight[:n] if self.targets.weight is not None else None
        return Rows(self.table, self.targets.y[:n, None], check_sample_weight(weight, n))

    def all_targets(self) -> tuple[Floats, Floats | None]:
        """Targets of all rows, or of those drawn from them and the two outermost; and weights."""
        y, weight = self.targets.y, check_sample_weight(self.targets.weight, len(self.targets.y))
        if len(y) < self.moments.rows:
            y = np.append(y, [self.moments.low, self.moments.high])
            weight = None if weight is None else np.append(weight, [1.0, 1.0])
        return y, weight
