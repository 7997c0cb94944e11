"""Where the k classes sit on the target axis."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridges_tabular.core.parameters import PARAMETERS, PLACEMENTS, Placement

__all__ = ["PLACEMENTS", "Bins", "Placement"]

Floats = NDArray[np.float64]

# targets closer together than this share of their range are one value
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Bins:
    """k neighbouring intervals of the target axis, each with a centre.

    Attributes
    ----------
    edges : array of shape (k + 1,)
        Strictly increasing, in the units of the target. The outer two are the support.
    centers : array of shape (k,)
        Strictly increasing, ``edges[j] <= centers[j] <= edges[j + 1]``. The outer two reach the smallest and the
        largest training target, so that every training target is a convex combination of centres.

    Examples
    --------
    >>> bins = Bins.fit([0.0, 1.0, 2.0, 4.0, 8.0], 3, "quantile", margin=0.0)
    >>> bins.edges
    array([0. , 1.5, 6. , 8. ])
    >>> bins.centers
    array([0., 3., 8.])
    >>> bins.assign([0.5, 7.0])
    array([0, 2])
    """

    edges: Floats
    centers: Floats

    def __post_init__(self) -> None:
        edges = np.ascontiguousarray(self.edges, dtype=np.float64)
        centers = np.ascontiguousarray(self.centers, dtype=np.float64)
        if edges.ndim != 1 or centers.shape != (edges.size - 1,) or centers.size < 1:
            raise ValueError(f"edges {edges.shape} and centers {centers.shape} must be of shapes (k + 1,) and (k,)")
        if not (np.isfinite(edges).all() and np.isfinite(centers).all()):
            raise ValueError("edges and centers must be finite")
        if (np.diff(edges) <= 0).any() or (np.diff(centers) <= 0).any():
            raise ValueError("edges and centers must be strictly increasing")
        if (centers < edges[:-1]).any() or (centers > edges[1:]).any():
            raise ValueError("each center must lie between the two edges of its bin")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "centers", centers)

    @classmethod
    def fit(
        cls,
        y: ArrayLike,
        n_bins: int = PARAMETERS["n_bins"].default,
        placement: Placement = PARAMETERS["placement"].default,
        *,
        sample_weight: ArrayLike | None = None,
        margin: float = PARAMETERS["margin"].default,
        uniform_share: float = PARAMETERS["uniform_share"].default,
    ) -> Bins:
        """Place bins by the targets of the training rows.

        Parameters
        ----------
        y : array of shape (n,)
            Training targets.
        n_bins : int, default=32
            Number of bins k. With fewer distinct targets than that, one bin for each of them, with a warning.
        placement : {"blend", "quantile", "uniform", "kmeans"}, default="blend"
            "quantile" gives every bin the same share of the rows, "uniform" the same width, "kmeans" puts edges
            half way between the centres of a one-dimensional k-means. "blend" takes quantiles of the mixture of the
            targets' distribution with a uniform one, which bounds the width of the bins. A value that holds more than
            a bin's share of the rows then gets a bin of its own, and all bins hold targets.
        sample_weight : array of shape (n,), optional
            Non-negative weights; rows of weight zero are left out.
        margin : float, default=0.1
            How far the support reaches beyond the targets at either end, as a share of their range.
        uniform_share : float, default=0.75
            Share of the uniform distribution in "blend".

        Raises
        ------
        ValueError
            For an unknown placement, a number out of its limits, or targets that are not finite or all the same.
        """
        given = {"n_bins": n_bins, "placement": placement, "margin": margin, "uniform_share": uniform_share}
        for name, value in given.items():
            PARAMETERS[name].check(value)
        values, shares = _distinct(y, sample_weight)
        if values.size < 2:
            raise ValueError(f"bins need at least two distinct targets, got {values.size}")
        reach = margin * (values[-1] - values[0])
        low, high = values[0] - reach, values[-1] + reach
        if values.size <= n_bins or placement == "kmeans":
            centers = values if values.size <= n_bins else _kmeans(values, shares, n_bins)
            edges = np.concatenate([[low], (centers[:-1] + centers[1:]) / 2, [high]])
        elif placement == "quantile":
            edges, centers = _quantile(values, shares, n_bins)
            edges[0], edges[-1] = low, high
        elif placement == "blend" and (atoms := shares > (1 + _SAME) / n_bins).any():
            edges, centers = _around_atoms(values, shares, atoms, low, high, uniform_share, n_bins)
        else:
            grid, cdf = _blended_cdf(values, shares, low, high, uniform_share if placement == "blend" else 1.0)
            edges = np.interp(np.arange(n_bins + 1) / n_bins, cdf, grid)
            edges[0], edges[-1] = low, high
            centers = np.interp((np.arange(n_bins) + 0.5) / n_bins, cdf, grid)
        if centers.size < n_bins and (placement == "quantile" or values.size < n_bins):
            warnings.warn(
                f"n_bins={n_bins} is more than the targets can fill, {values.size} of them distinct: "
                f"using {centers.size} bins",
                UserWarning,
                stacklevel=2,
            )
        # rounding of a mean may leave the bin of a single value
        centers = np.clip(centers, edges[:-1], edges[1:])
        # a soft code is a mixture of centres: a target beyond the outer ones could not be written as one
        centers[0], centers[-1] = min(centers[0], values[0]), max(centers[-1], values[-1])
        return cls(edges, centers)

    @property
    def n_bins(self) -> int:
        """Number of bins k."""
        return int(self.centers.size)

    @property
    def widths(self) -> Floats:
        """Width of every bin, of shape (k,)."""
        return np.diff(self.edges)

    @property
    def support(self) -> tuple[float, float]:
        """The outermost edges."""
        return float(self.edges[0]), float(self.edges[-1])

    def assign(self, y: ArrayLike) -> NDArray[np.int64]:
        """Index of the bin that holds each target; targets off the support go to the nearest bin.

        Bins are closed on the left, the last one on both sides.
        """
        index = np.searchsorted(self.edges, np.asarray(y, dtype=np.float64), side="right") - 1
        return np.clip(index, 0, self.n_bins - 1).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {"edges": self.edges.tolist(), "centers": self.centers.tolist()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Bins:
        """Rebuild from :meth:`to_dict`."""
        return cls(np.asarray(state["edges"]), np.asarray(state["centers"]))


def _distinct(y: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Floats, Floats]:
    """Distinct targets in increasing order and the share of the weight that each holds."""
    y = np.asarray(y, dtype=np.float64)
    if y.ndim != 1:
        raise ValueError(f"targets must be of shape (n,), got {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"targets must be finite, got {int((~np.isfinite(y)).sum())} that are not")
    weight = np.ones_like(y) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != y.shape or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(f"sample_weight must hold {y.size} finite, non-negative numbers")
    values, index = np.unique(y[weight > 0], return_inverse=True)
    mass = np.bincount(index, weights=weight[weight > 0], minlength=values.size)
    if values.size > 1:
        # no edge fits between values that differ by rounding alone
        first = np.flatnonzero(np.diff(values, prepend=-np.inf) > _SAME * (values[-1] - values[0]))
        values, mass = values[first], np.add.reduceat(mass, first)
    return values, mass / mass.sum()


def _quantile(values: Floats, shares: Floats, k: int) -> tuple[Floats, Floats]:
    """Edges half way between neighbouring distinct values, centres at the means of the bins.

    Equal values stay together: where one holds more than a bin's share, there are fewer bins and none is empty.
    """
    mass = np.cumsum(shares)
    last_in_bin = np.searchsorted(mass, np.arange(1, k) / k - 1e-12)
    cuts = np.unique(last_in_bin[last_in_bin < values.size - 1])
    if not cuts.size:
        # the highest value holds more than all bins but one: it has one of its own
        cuts = np.array([values.size - 2])
    edges = np.concatenate([values[:1], (values[cuts] + values[cuts + 1]) / 2, values[-1:]])
    starts = np.concatenate([[0], cuts + 1])
    return edges, np.add.reduceat(values * shares, starts) / np.add.reduceat(shares, starts)


def _blended_cdf(
    values: Floats, shares: Floats, low: float, high: float, uniform_share: float
) -> tuple[Floats, Floats]:
    """Knots of the piecewise linear mixture of the mid-rank cdf of the targets and a uniform cdf."""
    middle = np.cumsum(shares) - shares / 2
    # ranks start and end on the extreme targets, so that the margins hold the uniform share alone
    rank = np.concatenate([[0.0], (middle - middle[0]) / (middle[-1] - middle[0]), [1.0]])
    grid = np.concatenate([[low], values, [high]])
    cdf = (1 - uniform_share) * rank + uniform_share * (grid - low) / (high - low)
    return grid, cdf


def _around_atoms(
    values: Floats, shares: Floats, atoms: NDArray[np.bool_], low: float, high: float, uniform_share: float, k: int
) -> tuple[Floats, Floats]:
    """At most k populated bins, with one around each atom as wide as it would be without it.

    An atom's rank is a jump: bins of the mixture's quantiles would crowd into the gaps on both sides of it. Here the
    mixture is that of the other values. Its parts between the atoms' bins are divided evenly, as finely as k allows.
    """
    grid, cdf = _blended_cdf(values[~atoms], shares[~atoms] / shares[~atoms].sum(), low, high, uniform_share)
    at = np.interp(values[atoms], grid, cdf)

    def divided(quarters: int) -> Floats:
        return _one_in_a_gap(np.interp(_levels_around(at, quarters / 4), cdf, grid), values, atoms)

    # finer parts make more bins, but for one or two that rounding makes or takes
    coarse = bisect_left(range(16 * k), k, lo=4, key=lambda quarters: divided(quarters).size)
    found = [divided(quarters) for quarters in range(max(coarse - 8, 4), coarse + 8)]
    fitting = [edges for edges in found if 0 < edges.size < k]
    # of two bins, the edges around an atom are one too many
    inner = max(fitting, key=len) if fitting else found[-1][:1]
    edges = np.concatenate([[low], inner, [high]])
    level = np.interp(edges, grid, cdf)
    centers = np.interp((level[:-1] + level[1:]) / 2, cdf, grid)
    centers[np.searchsorted(inner, values[atoms], side="right")] = values[atoms]
    return edges, centers


def _levels_around(atoms: Floats, parts: float) -> Floats:
    """Levels of the mixture's cdf that cut a bin of 1 / parts around each atom's level, and the rest evenly."""
    half, between = 0.5 / parts, (atoms[:-1] + atoms[1:]) / 2
    begin = np.concatenate([[0.0], np.minimum(atoms + half, np.append(between, 1.0))])
    end = np.concatenate([np.maximum(atoms - half, np.append(0.0, between)), [1.0]])
    # a hair more, so that rounding decides nothing
    counts = np.floor((end - begin) * parts + 0.5 + 1e-6).astype(int)
    cuts = [np.linspace(a, b, count + 1) for a, b, count in zip(begin, end, counts, strict=True) if count]
    meeting = (begin + end)[1:-1][counts[1:-1] == 0] / 2
    return np.sort(np.concatenate([*cuts, meeting]))


def _one_in_a_gap(edges: Floats, values: Floats, atoms: NDArray[np.bool_]) -> Floats:
    """Inner edges, one at most between two neighbouring values, and one between any two atoms."""
    # a hair less, so that rounding decides nothing
    hair = 1e-9 * (values[-1] - values[0])
    gap = np.searchsorted(values, edges - hair)
    inside = (gap > 0) & (edges < values[-1] - hair)
    gap, edges = gap[inside], np.minimum(edges[inside], values[gap[inside]])
    used, first, count = np.unique(gap, return_index=True, return_counts=True)
    middle = (edges[first] + edges[first + count - 1]) / 2
    pairs = np.flatnonzero(atoms[:-1] & atoms[1:]) + 1
    halves = (values[pairs - 1] + values[pairs]) / 2
    return np.sort(np.concatenate([middle[~np.isin(used, pairs)], halves]))


def _kmeans(values: Floats, shares: Floats, k: int, max_iter: int = 300) -> Floats:
    """Centres of Lloyd's algorithm on weighted sorted values, started from quantiles.

    On a line clusters are runs of sorted values, so that prefix sums make an iteration O(k log n).
    """
    mass = np.concatenate([[0.0], np.cumsum(shares)])
    moment = np.concatenate([[0.0], np.cumsum(shares * values)])
    start = np.searchsorted(mass[1:], (np.arange(k) + 0.5) / k)
    chosen = np.unique(np.clip(start, 0, values.size - 1))
    if chosen.size < k:
        spare = np.setdiff1d(np.arange(values.size), chosen)
        extra = spare[np.linspace(0, spare.size - 1, k - chosen.size).round().astype(int)]
        chosen = np.union1d(chosen, extra)
    centers = values[chosen]
    for _ in range(max_iter):
        cut = np.searchsorted(values, (centers[:-1] + centers[1:]) / 2)
        bounds = np.concatenate([[0], cut, [values.size]])
        sizes = np.diff(bounds)
        if not sizes.all():
            # a cluster that its neighbours emptied begins anew at the value that is served worst
            error = shares * (values - np.repeat(centers, sizes)) ** 2
            centers[np.argmin(sizes)] = values[np.argmax(error)]
            centers.sort()
            continue
        moved = np.diff(moment[bounds]) / np.diff(mass[bounds])
        if np.allclose(moved, centers, rtol=0, atol=1e-12 * (values[-1] - values[0])):
            break
        centers = moved
    return centers
