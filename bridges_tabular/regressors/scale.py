"""The only place where units change: from the user's to standard ones and back, in double precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.distribution import BinnedDistribution

Floats = NDArray[np.float64]

# scores that are in units of the target
_IN_UNITS = ("rmse", "mae", "crps")


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of the training targets, by which they are standardised.

    Parameters
    ----------
    mean, scale : arrays of shape (t,)
        Of t targets; the scale of a target that never changes is 1.

    Examples
    --------
    >>> import numpy as np
    >>> scale = TargetScale.fit(np.array([[1e9], [1e9 + 2]]))
    >>> scale.standardise(np.array([[1e9 + 3]]))
    array([[2.]])
    """

    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, y: Floats, sample_weight: Floats | None = None) -> Self:
        """Weighted mean and deviation of targets of shape (n, t), each of any size that a float can have."""
        counted = y if sample_weight is None else y[sample_weight > 0]
        weight = None if sample_weight is None else sample_weight[sample_weight > 0]
        # squares of very large or small numbers would overflow or vanish; a power of two changes no digit
        unit = _power_of_two(np.abs(counted).max(axis=0))
        mean = np.average(counted / unit, axis=0, weights=weight) * unit
        centred = counted - mean
        unit = _power_of_two(np.abs(centred).max(axis=0))
        scale = np.sqrt(np.average(np.square(centred / unit), axis=0, weights=weight)) * unit
        # the mean of equal numbers may be off by their last digit
        same = counted.min(axis=0) == counted.max(axis=0)
        return cls(np.where(same, counted[0], mean), np.where(same | (scale == 0), 1.0, scale))

    def standardise(self, y: Floats) -> Floats:
        """Targets of shape (n, t) in standard units."""
        standard: Floats = (y - self.mean) / self.scale
        return standard

    def restore(self, standard: Floats) -> Floats:
        """Numbers of shape (n, t) in the user's units."""
        restored: Floats = standard * self.scale + self.mean
        return restored

    def restore_distribution(
        self, distribution: BinnedDistribution, target: int, atoms: Floats, unit: float = 1.0
    ) -> BinnedDistribution:
        """Distributions of one target in the user's units.

        Parameters
        ----------
        distribution : BinnedDistribution
            Of the target in multiples of ``unit``, itself in standard units.
        target : int
            Which of the t targets.
        atoms : array of shape (a,)
            Ascending values of the target that are atoms, in the user's units. Edges on them come out equal to them to
            the last digit: an interval that ends on an atom would otherwise leave it out.
        unit : float
        """
        mean, scale = float(self.mean[target]), float(self.scale[target])
        restored = distribution.affine(scale * unit, mean)
        if not atoms.size:
            return restored
        rounded = scale * unit * ((atoms - mean) / scale / unit) + mean
        edges = restored.edges
        nearest = np.clip(np.searchsorted(rounded, edges), 0, len(rounded) - 1)
        edges = np.maximum.accumulate(np.where(rounded[nearest] == edges, atoms[nearest], edges), axis=-1)
        return BinnedDistribution._from_valid(restored._rows._replace(edges=edges))

    def restore_scores(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Scores by name in the units of a single target; those of several targets together stay in standard units."""
        unit = float(self.scale[0]) if len(self.scale) == 1 else 1.0
        return {name: value * unit if name in _IN_UNITS else value for name, value in scores.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from :meth:`arrays`."""
        mean = arrays.take_finite("mean", None)
        scale = arrays.take_finite("scale", len(mean))
        if not (len(scale) and (scale > 0).all()):
            raise arrays.error("scale", "must hold positive numbers")
        return cls(mean, scale)


def _power_of_two(size: Floats) -> Floats:
    """The power of two next below each size, 1 for zero."""
    return np.asarray(np.ldexp(1.0, np.where(size > 0, np.frexp(size)[1] - 1, 0)))
