"""Distributions whose mean is the point prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core._cells import FloatArray, Rows, mean, midpoints, pick_ends
from bridges_tabular.core.distribution import BinnedDistribution

_STEPS = 80
# of a row's deviation: means that are so near are the same
_CLOSE = 1e-9
# A mean may come so near the outermost values that have mass, as a share of their distance: nearer ones would leave
# next to no mass elsewhere.
_MARGIN = 0.01
# Less mass than this is none, where a mean is to be brought: a tilt that made something of it would leave nothing else.
_NO_MASS = 1e-9
# of the square of a mean: a smaller variance is the rounding of sums
_ROUNDING = 1e-9
_BLOCK_ROWS = 2048
_SAFE_EXPONENT = 500.0


def centred(distribution: BinnedDistribution, point: FloatArray) -> BinnedDistribution:
    """The same distributions with means ``point`` (n,), see :func:`tilted`.

    A row that no tilt brings there, such as one with all mass in one cell, is moved as a whole, unless it has atoms,
    which stay where they are.

    For points that stand for means: those of a model of medians have to stay off the means of skewed distributions.

    Examples
    --------
    >>> import numpy as np
    >>> die = BinnedDistribution(np.arange(0.5, 7), np.full((1, 6), 1 / 6))
    >>> centred(die, np.array([4.5])).masses.round(3)
    array([[0.054, 0.079, 0.114, 0.165, 0.24 , 0.347]])
    """
    rows = distribution._rows
    masses, tails = np.empty_like(rows.masses), np.empty_like(rows.tail_masses)
    edges = rows.edges
    for start in range(0, len(distribution), _BLOCK_ROWS):
        at = slice(start, start + _BLOCK_ROWS)
        own = rows.edges if rows.edges.ndim == 1 else rows.edges[at]
        block = Rows(own, rows.masses[at], rows.tail_masses[at], rows.tail_scales[at])
        moved = _out_of_reach(block, point[at])
        if moved.any():
            away = np.where(moved, point[at] - mean(block), 0.0)[:, None]
            if edges is rows.edges:
                edges = np.array(np.broadcast_to(rows.edges, (len(rows.masses), rows.edges.shape[-1])))
            edges[at] += away
            block = block._replace(edges=edges[at])
        masses[at], tails[at] = tilted(block, point[at])[1:3]
    return BinnedDistribution._from_valid(rows._replace(edges=edges, masses=masses, tail_masses=tails))


def tilted(rows: Rows, point: FloatArray) -> Rows:
    """Rows with masses times exp(t y), t so that their means are ``point`` (b,), and edges as they are.

    Of all changes of the masses that move the mean there, it is the one of the least Kullback-Leibler divergence
    (Csiszar, "I-divergence geometry of probability distributions and minimization problems", 1975). A mean beyond the
    values that have mass cannot be met, and is taken for one a hundredth of their distance inside.
    """
    b, k = rows.masses.shape
    at, masses = np.empty((b, k + 2)), np.empty((b, k + 2))
    at[:, :k], masses[:, :k] = midpoints(rows.edges), rows.masses
    at[:, k:], masses[:, k:] = _tail_means(rows), rows.tail_masses
    first, last = _reach(rows)
    at -= np.clip(point, first, last)[:, None]
    spread = np.sqrt(np.einsum("bj,bj,bj->b", masses, at, at))
    at /= np.where(spread > 0, spread, 1.0)[:, None]
    weights = _solved(at, masses)
    weights /= weights.sum(axis=1, keepdims=True)
    return rows._replace(masses=weights[:, :-2], tail_masses=weights[:, -2:])


def _tail_means(rows: Rows) -> FloatArray:
    """Where the mass of the tails lies on average (b, 2)."""
    low, high = pick_ends(rows.edges, len(rows.masses))
    return np.stack([low - rows.tail_scales[:, 0], high + rows.tail_scales[:, 1]], axis=1)


def _reach(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """The lowest and the highest mean (b,) that a tilt may bring about."""
    ends, tailed = _tail_means(rows), rows.tail_masses > _NO_MASS
    first, last = ends.T
    if not tailed.all():
        at, held = np.broadcast_to(midpoints(rows.edges), rows.masses.shape), rows.masses > _NO_MASS
        first = np.where(tailed[:, 0], first, np.min(at, 1, where=held, initial=np.inf))
        last = np.where(tailed[:, 1], last, np.max(at, 1, where=held, initial=-np.inf))
    margin = _MARGIN * (last - first)
    return first + margin, last - margin


def _out_of_reach(rows: Rows, point: FloatArray) -> NDArray[np.bool_]:
    """Rows without atoms (b,) whose means no tilt can bring to the point."""
    first, last = _reach(rows)
    beyond: NDArray[np.bool_] = (point < first) | (point > last)
    if beyond.any():
        beyond &= ~((np.diff(rows.edges) == 0) & (rows.masses > 0)).any(axis=1)
    return beyond


def _solved(at: FloatArray, masses: FloatArray) -> FloatArray:
    """Masses (b, c) times exp(t x_j), up to a factor, t so that sum m_j exp(t x_j) x_j = 0.

    By Halley's method inside a bracket, which is open at first: where a step leaves what is known, it doubles, and then
    halves.
    """
    n = len(at)
    tilt, low, high = np.zeros(n), np.full(n, -np.inf), np.full(n, np.inf)
    solved, largest = np.empty_like(masses), np.abs(at).max(axis=1, initial=0.0)
    active = np.arange(n)
    x, m = at, masses
    for step in range(_STEPS):
        t = tilt[active]
        # the masses sum to 1, and x is in deviations: no tilt, no exponentials
        w = m if step == 0 else _tilted_masses(t, x, m, largest[active])
        wx = w * x
        total, first = w.sum(axis=1), wx.sum(axis=1)
        wx *= x
        second, third = wx.sum(axis=1), np.einsum("bj,bj->b", wx, x)
        first, second, third = first / total, second / total, third / total
        squared = np.square(first)
        third += first * (2.0 * squared - 3.0 * second)
        second -= squared
        low[active] = np.where(first < 0, t, low[active])
        high[active] = np.where(first > 0, t, high[active])
        left, right = low[active], high[active]
        farther = t + np.where(first < 0, 1.0, -1.0) * (1.0 + np.abs(t))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = first / second
            bend = 1.0 - 0.5 * newton * third / second
            newton = t - newton / np.where(bend > 0.5, bend, 1.0)
            halved = np.where(np.isfinite(left) & np.isfinite(right), (left + right) / 2, farther)
            inside = (newton > left) & (newton < right) & (np.abs(newton - t) <= 2.0 * (1.0 + np.abs(t)))
            inside &= second > _ROUNDING * squared
        found = np.abs(first) <= _CLOSE
        done = found if step < _STEPS - 1 else np.ones_like(found)
        if done.all():
            solved[active] = w
            break
        tilt[active] = np.where(found, t, np.where(inside, newton, halved))
        if done.any():
            solved[active[done]] = w[done]
            active, x, m = active[~done], x[~done], m[~done]
    return solved


def _tilted_masses(tilt: FloatArray, at: FloatArray, masses: FloatArray, largest: FloatArray) -> FloatArray:
    """Masses (b, c) times exp(t x_j), up to a factor, of x of at most ``largest`` (b,) in size."""
    weights: FloatArray = tilt[:, None] * at
    if (np.abs(tilt) * largest).max(initial=0.0) > _SAFE_EXPONENT:
        weights[masses == 0] = -np.inf
        weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    weights *= masses
    return weights
