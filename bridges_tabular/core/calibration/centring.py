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
_BLOCK_ROWS = 512
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
    n = len(distribution)
    rows = distribution._rows
    moved = _out_of_reach(rows, point)
    if moved.any():
        away = np.where(moved, point - mean(rows), 0.0)
        rows = rows._replace(edges=rows.edges + away[:, None])
    masses, tails = np.empty_like(rows.masses), np.empty_like(rows.tail_masses)
    for start in range(0, n, _BLOCK_ROWS):
        at = slice(start, start + _BLOCK_ROWS)
        edges = rows.edges if rows.edges.ndim == 1 else rows.edges[at]
        block = tilted(Rows(edges, rows.masses[at], rows.tail_masses[at], rows.tail_scales[at]), point[at])
        masses[at], tails[at] = block.masses, block.tail_masses
    return BinnedDistribution._from_valid(rows._replace(masses=masses, tail_masses=tails))


def tilted(rows: Rows, point: FloatArray) -> Rows:
    """Rows with masses times exp(t y), t so that their means are ``point`` (b,), and edges as they are.

    Of all changes of the masses that move the mean there, it is the one of the least Kullback-Leibler divergence
    (Csiszar, "I-divergence geometry of probability distributions and minimization problems", 1975). A mean beyond the
    values that have mass cannot be met, and is taken for one a hundredth of their distance inside.
    """
    low, high = pick_ends(rows.edges, len(point))
    ends = np.stack([low - rows.tail_scales[:, 0], high + rows.tail_scales[:, 1]], axis=1)
    at = np.concatenate([np.broadcast_to(midpoints(rows.edges), rows.masses.shape), ends], axis=1)
    masses = np.concatenate([rows.masses, rows.tail_masses], axis=1)
    first, last = _reach(rows)
    at -= np.clip(point, first, last)[:, None]
    spread = np.sqrt((masses * np.square(at)).sum(axis=1))
    at /= np.where(spread > 0, spread, 1.0)[:, None]
    weights = _tilted_masses(_solved(at, masses), at, masses)
    weights /= weights.sum(axis=1, keepdims=True)
    return rows._replace(masses=weights[:, :-2], tail_masses=weights[:, -2:])


def _reach(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """The lowest and the highest mean (b,) that a tilt may bring about."""
    low, high = pick_ends(rows.edges, len(rows.masses))
    at, held = np.broadcast_to(midpoints(rows.edges), rows.masses.shape), rows.masses > 0
    first, last = np.min(at, 1, where=held, initial=np.inf), np.max(at, 1, where=held, initial=-np.inf)
    first = np.where(rows.tail_masses[:, 0] > 0, low - rows.tail_scales[:, 0], first)
    last = np.where(rows.tail_masses[:, 1] > 0, high + rows.tail_scales[:, 1], last)
    margin = _MARGIN * (last - first)
    return first + margin, last - margin


def _out_of_reach(rows: Rows, point: FloatArray) -> NDArray[np.bool_]:
    """Rows without atoms (b,) whose means no tilt can bring to the point."""
    first, last = _reach(rows)
    atoms = ((np.diff(rows.edges) == 0) & (rows.masses > 0)).any(axis=1)
    beyond: NDArray[np.bool_] = ((point < first) | (point > last)) & ~atoms
    return beyond


def _solved(at: FloatArray, masses: FloatArray) -> FloatArray:
    """The tilts (b,) for which sum m_j exp(t x_j) x_j = 0, by Newton's method inside a bracket.

    The bracket is open at first: where Newton's step leaves what is known, it doubles, and then halves.
    """
    n = len(at)
    tilt, low, high = np.zeros(n), np.full(n, -np.inf), np.full(n, np.inf)
    active = np.arange(n)
    x, m = at, masses
    for step in range(_STEPS):
        t = tilt[active]
        # the masses sum to 1, and x is in deviations: no tilt, no exponentials
        w = m if step == 0 else _tilted_masses(t, x, m)
        total = w.sum(axis=1)
        wx = w * x
        first = wx.sum(axis=1) / total
        second = np.einsum("bj,bj->b", wx, x) / total - np.square(first)
        low[active] = np.where(first < 0, t, low[active])
        high[active] = np.where(first > 0, t, high[active])
        left, right = low[active], high[active]
        farther = t + np.where(first < 0, 1.0, -1.0) * (1.0 + np.abs(t))
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = t - first / second
            halved = np.where(np.isfinite(left) & np.isfinite(right), (left + right) / 2, farther)
            inside = (newton > left) & (newton < right) & (np.abs(newton - t) <= 2.0 * (1.0 + np.abs(t)))
        found = np.abs(first) <= _CLOSE
        tilt[active] = np.where(found, t, np.where(inside, newton, halved))
        if found.all():
            break
        if found.any():
            active = active[~found]
            x, m = at[active], masses[active]
    return tilt


def _tilted_masses(tilt: FloatArray, at: FloatArray, masses: FloatArray) -> FloatArray:
    exponent = tilt[:, None] * at
    if np.abs(exponent).max(initial=0.0) > _SAFE_EXPONENT:
        exponent[masses == 0] = -np.inf
        exponent -= exponent.max(axis=1, keepdims=True)
    weights: FloatArray = np.exp(exponent, out=exponent)
    weights *= masses
    return weights
