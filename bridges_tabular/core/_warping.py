"""Histograms with tails as those of an increasing function of the target, and within ends that it cannot leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bridges_tabular.core._cells import FloatArray, Rows
from bridges_tabular.core.distribution import BinnedDistribution

Function = Callable[[FloatArray], FloatArray]

# Ends of the cells that stand for an exponential tail, in its scales: the cdf is exact on them. One that goes on is
# exponential again from 8 scales on, where 0.03 % of it are left; one that ends is followed until nothing is left.
_OPEN = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])
_CLOSED = np.append(_OPEN, [12.0, 16.0, 24.0, 40.0])
# The smallest number of cells that a histogram is divided into before it is bent.
_CELLS = 240
_LEAST_PARTS = 3
_STEP = 1e-3


class End(NamedTuple):
    """One end of the target's axis."""

    inner: float
    """Where it is before the function; infinite where that has no end, or reaches it nowhere."""
    value: float
    """The target there: nothing lies beyond. Infinite where a tail goes on instead."""


def warped(
    distribution: BinnedDistribution, function: Function | None, low: End, high: End, longest: float
) -> BinnedDistribution:
    """Distributions of ``function(T)`` for T of a given distribution, within two ends.

    Cells are divided, so that there are 240 at least and three for each, and their edges mapped: on these the cdf is
    exact, and the mass between two of them is spread evenly. What lies beyond an end is put on it, as an atom, or
    where the function only approaches the end, into a cell that reaches there. Such an atom never makes a CRPS worse
    for targets within the ends, and leaves quantiles within them as they were.

    Parameters
    ----------
    distribution : BinnedDistribution
    function : callable or None
        Increasing; None for the identity, whose cells stay whole, and so do tails that have no end.
    low, high : End
    longest : float
        Scale of a tail at most, after the function, lest its mean be infinite.
    """
    n, k = distribution.masses.shape
    parts = 1 if function is None else max(_LEAST_PARTS, -(-_CELLS // k))
    grids = [_grid(end, function, distribution.tail_masses[:, side]) for side, end in enumerate((low, high))]
    size = k * parts + sum(len(grid) - 1 for grid in grids) + 2
    made = Rows(np.empty((n, size + 1)), np.empty((n, size)), np.empty((n, 2)), np.empty((n, 2)))
    for at, rows in distribution._blocks(size):
        block = _block(_refined(rows, parts), function, low, high, grids, longest)
        for whole, part in zip(made, block, strict=True):
            whole[at] = part
    return BinnedDistribution._from_valid(made, distribution.index)


def _grid(end: End, function: Function | None, tails: FloatArray) -> FloatArray:
    if not tails.any() or (function is None and np.isinf(end.inner)):
        return _OPEN[:1]
    return _OPEN if np.isinf(end.value) or np.isinf(end.inner) else _CLOSED


def _refined(rows: Rows, parts: int) -> Rows:
    """The same with every cell divided into equal parts."""
    b = len(rows.masses)
    edges = np.broadcast_to(rows.edges, (b, rows.edges.shape[-1]))
    inner = edges[:, :-1, None] + np.diff(edges)[:, :, None] * (np.arange(parts) / parts)
    edges = np.concatenate([inner.reshape(b, -1), edges[:, -1:]], axis=1)
    return rows._replace(edges=np.maximum.accumulate(edges, axis=1), masses=np.repeat(rows.masses / parts, parts, 1))


def _block(rows: Rows, function: Function | None, low: End, high: End, grids: list[FloatArray], longest: float) -> Rows:
    edges, masses, rests = _unrolled(rows, grids)
    inside = np.clip(edges, low.inner, high.inner)
    widths = np.diff(edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(widths > 0, (np.clip(low.inner, edges[:, :-1], edges[:, 1:]) - edges[:, :-1]) / widths, 0.0)
        above = np.where(widths > 0, (edges[:, 1:] - np.clip(high.inner, edges[:, :-1], edges[:, 1:])) / widths, 0.0)
    below[(widths == 0) & (edges[:, 1:] < low.inner)] = 1.0
    above[(widths == 0) & (edges[:, 1:] > high.inner)] = 1.0
    # a tail may begin beyond the other end: what of it lies there, too, belongs to that end
    gaps = np.stack([edges[:, 0] - high.inner, low.inner - edges[:, -1]], axis=1)
    passing = rests * np.exp(-np.maximum(gaps, 0.0) / rows.tail_scales)
    beyond = np.stack([(masses * below).sum(axis=1), (masses * above).sum(axis=1)], axis=1)
    beyond += passing + (rests - passing)[:, ::-1]
    masses = masses * np.maximum(1.0 - below - above, 0.0)

    values = inside if function is None else np.maximum.accumulate(function(inside), axis=1)
    for end in (low, high):
        if np.isfinite(end.value) and np.isfinite(end.inner):
            values = np.where(inside == end.inner, end.value, values)
    values = np.clip(values, low.value, high.value)

    tails, scales = np.zeros_like(beyond), np.ones_like(beyond)
    outer = []
    for side, (end, column) in enumerate(((low, 0), (high, -1))):
        if np.isfinite(end.value):
            outer.append((np.full((len(values), 1), end.value), beyond[:, side : side + 1]))
            continue
        outer.append((values[:, column, None], np.zeros((len(values), 1))))
        tails[:, side] = beyond[:, side]
        scales[:, side] = rows.tail_scales[:, side]
        if function is not None:
            # the density goes on without a jump
            step = _STEP * rows.tail_scales[:, side] * (1.0 if side == 0 else -1.0)
            slope = (function(inside[:, column] + step) - values[:, column]) / step
            scales[:, side] = np.clip(slope * rows.tail_scales[:, side], _STEP * _STEP * longest, longest)
    (first, least), (last, most) = outer
    edges = np.concatenate([first, values, last], axis=1)
    masses = np.concatenate([least, masses, most], axis=1)
    total = masses.sum(axis=1, keepdims=True) + tails.sum(axis=1, keepdims=True)
    return Rows(edges, masses / total, tails / total, scales)


def _unrolled(rows: Rows, grids: list[FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Edges and masses with cells for the tails, and what is left beyond them (b, 2)."""
    cells, rests = [], []
    for side, grid in enumerate(grids):
        edge = rows.edges[:, 0 if side == 0 else -1, None]
        out = rows.tail_scales[:, side, None] * grid[1:]
        mass = rows.tail_masses[:, side, None]
        left = np.exp(-grid)
        cells.append((edge - out[:, ::-1] if side == 0 else edge + out, mass * (left[:-1] - left[1:])))
        rests.append(mass[:, 0] * left[-1])
    (before, first), (after, last) = cells
    edges = np.concatenate([before, rows.edges, after], axis=1)
    return edges, np.concatenate([first[:, ::-1], rows.masses, last], axis=1), np.stack(rests, axis=1)
