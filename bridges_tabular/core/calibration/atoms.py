"""Values that hold a large share of the training rows, and how a distribution gives them their mass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core._cells import FloatArray, Rows, midpoints, search_rows
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.calibration.pooling import Pool, rows_of

_LEAST_SHARE = 0.01
_LEAST_ROWS = 5
# A target with at most so many distinct values, each held by 20 rows on average, has nothing but atoms.
_MOST_DISTINCT = 64
_ROWS_PER_VALUE = 20
# A catchment never gives all its mass away: a target that was never seen keeps a density.
_MOST_TAKEN = 0.99


class Atoms(NamedTuple):
    """t catchments and the value of each: mass the distribution has there moves to the value, in part."""

    values: FloatArray
    """(t,), non-decreasing; the outermost training targets have two catchments, inside and beyond."""
    lower: FloatArray
    """(t,), where each catchment begins; -inf beyond the lowest training target."""
    upper: FloatArray
    """(t,)"""
    taken: FloatArray
    """(t,), share of a catchment's mass that moves: the value's share of the training rows there."""

    @property
    def everywhere(self) -> bool:
        """Whether the catchments leave nothing out, as those of a discrete target."""
        return bool(np.isinf(self.lower[0]) and np.isinf(self.upper[-1]) and (self.lower[1:] == self.upper[:-1]).all())

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """State as named arrays."""
        return self._asdict()

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Atoms:
        """Rebuild from :meth:`arrays`."""
        values = arrays.take_finite("values", None)
        if not values.size:
            raise arrays.error("values", "is empty")
        return cls(values, *(arrays.take(name, len(values)) for name in ("lower", "upper", "taken")))


class Ties(NamedTuple):
    """The training targets by value: what decides on atoms."""

    values: FloatArray
    shares: FloatArray
    atoms: NDArray[np.intp]
    """Positions of the values that may be atoms."""
    discrete: bool

    def catch(self, reach: float) -> Atoms:
        """Atoms whose catchments reach so far to both sides, half way to the next atom at most."""
        values = self.values[self.atoms]
        between = (values[:-1] + values[1:]) / 2
        lower = np.maximum(values - reach, np.concatenate([[-np.inf], between]))
        upper = np.minimum(values + reach, np.concatenate([between, [np.inf]]))
        shares = self.shares[self.atoms]
        # beyond the outermost training targets lies nothing, so that an atom there takes all
        if values[0] == self.values[0]:
            lower[0] = values[0]
            values, shares = np.append(values[0], values), np.append(shares[0], shares)
            lower, upper = np.append(-np.inf, lower), np.append(values[0], upper)
        if values[-1] == self.values[-1]:
            upper[-1] = values[-1]
            values, shares = np.append(values, values[-1]), np.append(shares, shares[-1])
            lower, upper = np.append(lower, values[-1]), np.append(upper, np.inf)
        reached = np.concatenate([[0.0], np.cumsum(self.shares)])
        held = reached[np.searchsorted(self.values, upper, "right")]
        held = held - reached[np.searchsorted(self.values, lower, "left")]
        return Atoms(values, lower, upper, np.minimum(shares / held, _MOST_TAKEN))


def find_ties(y: FloatArray, weight: FloatArray | None) -> Ties | None:
    """Values that may be atoms: a hundredth of the training rows and five of them; None without any.

    Of a target with few distinct values (64 at most, 20 rows to each on average), every value is one.
    """
    if weight is None:
        # without positions the sort is several times as fast
        values, counts = np.unique(y, return_counts=True)
        shares = counts / len(y)
    else:
        values, index, counts = np.unique(y, return_inverse=True, return_counts=True)
        shares = np.bincount(index, weights=weight, minlength=values.size) / weight.sum()
    discrete = values.size <= min(_MOST_DISTINCT, len(y) / _ROWS_PER_VALUE)
    chosen = np.arange(values.size) if discrete else np.flatnonzero((shares >= _LEAST_SHARE) & (counts >= _LEAST_ROWS))
    return Ties(values, shares, chosen, bool(discrete)) if chosen.size else None


def pool_with_atoms(pool: Pool, atoms: Atoms) -> Rows:
    """The pool with the atoms' share of each catchment moved to its value."""
    b, t = len(pool.centre), len(atoms.values)
    doubled = np.repeat(np.unique(atoms.values), 2)
    ends = np.stack([atoms.lower, atoms.upper], axis=1)
    if atoms.everywhere:
        edges = doubled
        reached = pool.cdf(np.broadcast_to(edges, (b, len(edges))))
    else:
        shared = np.concatenate([doubled, np.unique(ends[np.isfinite(ends)])])
        edges = np.sort(np.concatenate([pool.edges(), np.broadcast_to(shared, (b, len(shared)))], axis=1), axis=1)
        reached = pool.cdf(edges)
    at_ends = pool.cdf(np.broadcast_to(ends.ravel(), (b, 2 * t))).reshape(b, t, 2)
    moved = np.diff(at_ends, axis=2)[:, :, 0] * atoms.taken

    rows = rows_of(edges, reached, pool.deviation)
    masses, tails = rows.masses * _kept(midpoints(edges), atoms), rows.tail_masses.copy()
    tails[:, 0] *= 1.0 - atoms.taken[0] * np.isinf(atoms.lower[0])
    tails[:, 1] *= 1.0 - atoms.taken[-1] * np.isinf(atoms.upper[-1])
    at = search_rows(edges, np.broadcast_to(atoms.values, (b, t)), "left")
    np.add.at(masses, (np.arange(b)[:, None], at), moved)
    total = masses.sum(axis=1, keepdims=True) + tails.sum(axis=1, keepdims=True)
    return Rows(edges, masses / total, tails / total, rows.tail_scales)


def _kept(y: FloatArray, atoms: Atoms) -> FloatArray:
    """Share of the density at y that stays where it is."""
    nearest = np.clip(np.searchsorted(atoms.lower, y, "right") - 1, 0, len(atoms.lower) - 1)
    caught = (y >= atoms.lower[nearest]) & (y <= atoms.upper[nearest])
    return np.where(caught, 1.0 - atoms.taken[nearest], 1.0)
