"""Arithmetic of histograms with atoms and exponential tails, on one block of rows at a time.

A block holds b rows of k cells. Within a cell the mass is spread evenly, a cell of zero width is an atom, and
beyond the outer edges e_0 and e_k lie exponential tails::

    F(y) = p_L exp((y - e_0) / s_L)            y < e_0
    F(y) = p_L + sum of the masses to the left + the share of the cell that holds y
    F(y) = 1 - p_R exp(-(y - e_k) / s_R)       y > e_k

Every temporary is of the block's size, so that the caller bounds the memory by the rows it puts in a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]
Side = Literal["left", "right"]


class Rows(NamedTuple):
    """A block of b distributions over k cells."""

    edges: FloatArray
    """(k + 1,) shared by the rows, or (b, k + 1); non-decreasing."""
    masses: FloatArray
    """(b, k)."""
    tail_masses: FloatArray
    """(b, 2), left and right; a row's masses and tail masses sum to 1."""
    tail_scales: FloatArray
    """(b, 2), positive, in units of y."""


def cdf(rows: Rows, y: FloatArray, side: Side = "right") -> FloatArray:
    """P(Y <= y), or P(Y < y) for ``side="left"``, of each row at its own y (b,)."""
    k = rows.masses.shape[1]
    rank = search_rows(rows.edges, y, side) - 1
    cell = np.clip(rank, 0, k - 1)
    # One sum over all cells, in an order independent of y: rounding then cannot make the cdf decrease.
    filled = _steps(1.0, 0.0, k)[k - cell]
    filled[np.arange(len(y)), cell] = _share(rows.edges, y, rank, cell)
    low, high = rows.tail_masses.T
    value: FloatArray = np.minimum(low + _row_dot(rows.masses, filled), 1.0 - high)

    below, above = rank < 0, rank >= k
    if below.any():
        value[below] = _tail_beyond(rows, y, below, 0)
    if above.any():
        value[above] = 1.0 - _tail_beyond(rows, y, above, 1)
    return value


def log_densities(rows: Rows, y: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Log density of the continuous part, log mass of the atom at y (-inf without one), and where atoms are.

    A cell holds its left edge; the last one holds both, as in ``numpy.histogram``.
    """
    k = rows.masses.shape[1]
    right = search_rows(rows.edges, y, "right")
    on_atom = right - search_rows(rows.edges, y, "left") >= 2

    cell = np.clip(right - 1, 0, k - 1)
    width = pick(rows.edges, cell + 1) - pick(rows.edges, cell)
    low, high = pick_ends(rows.edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.log(pick(rows.masses, cell)) - np.log(width)
        tails = np.log(rows.tail_masses) - np.log(rows.tail_scales)
        tails[:, 0] -= (low - y) / rows.tail_scales[:, 0]
        tails[:, 1] -= (y - high) / rows.tail_scales[:, 1]
        density = np.where(right == 0, tails[:, 0], density)
        density = np.where((y > high) | ((y == high) & (width == 0)), tails[:, 1], density)
        # where several empty cells share the atom's place, its mass lies in the last of them (merge_atoms)
        atom = np.where(on_atom, np.log(pick(rows.masses, np.clip(right - 2, 0, k - 1))), -np.inf)
    return density, atom, on_atom


def quantile(rows: Rows, levels: FloatArray) -> FloatArray:
    """Smallest y with F(y) >= level: (b, q) for levels (b, q) between 0 and 1."""
    return _quantile(rows, cumulative(rows), levels)


def crps(rows: Rows, y: FloatArray) -> FloatArray:
    """Integral of (F(x) - 1[y <= x])^2, of each row at its own y (b,).

    Every cell adds w (A^2 + A B + B^2) / 3 with A and B the integrand's root at its two ends, and the cell
    that holds y adds one such term on either side of y: terms that are never negative, so nothing cancels.
    """
    k = rows.masses.shape[1]
    rank = search_rows(rows.edges, y, "right") - 1
    cell = np.clip(rank, 0, k - 1)
    share = _share(rows.edges, y, rank, cell)
    row = np.arange(len(y))

    root = cumulative(rows)
    reached = root[row, cell]
    mass = rows.masses[row, cell]
    root -= _steps(0.0, 1.0, k)[k - cell]
    # with M the mean of A and B and p = B - A, the term is w (M^2 + p^2 / 12)
    root -= 0.5 * rows.masses
    root *= root
    root += np.square(rows.masses) / 12.0
    root[row, cell] = 0.0
    widths = np.diff(rows.edges)
    total = _row_dot(root, widths)

    before = reached - mass
    at = before + mass * share
    inner = share * _mean_square(before, at) + (1.0 - share) * _mean_square(1.0 - at, 1.0 - reached)
    total += inner * pick(widths, cell)
    low, high = pick_ends(rows.edges)
    return total + _tail_crps(rows, low - y, 0) + _tail_crps(rows, y - high, 1)


def crps_table(rows: Rows, y: FloatArray) -> FloatArray:
    """What :func:`crps` gives, of each row at q values of its own (b, q), in time k + q.

    The terms of the cells left and right of y are sums from the ends, which the values share.
    """
    k = rows.masses.shape[1]
    reached = cumulative(rows)
    before, widths = reached - rows.masses, np.diff(rows.edges)
    below = np.cumsum(widths * _mean_square(before, reached), axis=1)
    above = np.cumsum((widths * _mean_square(1.0 - before, 1.0 - reached))[:, ::-1], axis=1)[:, ::-1]
    none = np.zeros((len(reached), 1))
    below, above = np.concatenate([none, below], axis=1), np.concatenate([above, none], axis=1)

    rank = search_rows(rows.edges, y, "right") - 1
    cell = np.clip(rank, 0, k - 1)
    share = _share(rows.edges, y, rank, cell)
    start, end = pick(before, cell), pick(reached, cell)
    at = start + pick(rows.masses, cell) * share
    inner = share * _mean_square(start, at) + (1.0 - share) * _mean_square(1.0 - at, 1.0 - end)
    total = pick(below, cell) + inner * pick(np.broadcast_to(widths, rows.masses.shape), cell) + pick(above, cell + 1)
    for side, beyond in enumerate(pick_ends(rows.edges)):
        outside = np.reshape(beyond, (-1, 1)) - y
        total += _tail_crps(rows, outside if side == 0 else -outside, side)
    return total


def mean(rows: Rows) -> FloatArray:
    """Expectation of each row (b,)."""
    low, high = pick_ends(rows.edges)
    tails = rows.tail_masses * np.stack([low - rows.tail_scales[:, 0], high + rows.tail_scales[:, 1]], axis=1)
    total: FloatArray = _row_dot(rows.masses, midpoints(rows.edges)) + tails.sum(axis=1)
    return total


def variance(rows: Rows) -> FloatArray:
    """Variance of each row (b,), as the mean square distance to the mean."""
    centre = mean(rows)
    spread = np.square(midpoints(rows.edges) - centre[:, None])
    spread += np.square(np.diff(rows.edges)) / 12.0
    low, high = pick_ends(rows.edges)
    ends = np.stack([low - rows.tail_scales[:, 0], high + rows.tail_scales[:, 1]], axis=1)
    tails = rows.tail_masses * (np.square(ends - centre[:, None]) + np.square(rows.tail_scales))
    total: FloatArray = _row_dot(rows.masses, spread) + tails.sum(axis=1)
    return total


def mode(rows: Rows) -> FloatArray:
    """Midpoint of the densest cell, or the heaviest atom where no cell outweighs it (b,)."""
    widths = np.broadcast_to(np.diff(rows.edges), rows.masses.shape)
    row = np.arange(len(rows.masses))
    spread = widths > 0
    density = np.where(spread, rows.masses / np.where(spread, widths, 1.0), -1.0)
    densest = density.argmax(axis=1)
    place = pick(midpoints(rows.edges), densest)

    tails = rows.tail_masses / rows.tail_scales
    ends = np.stack(pick_ends(rows.edges, len(row)), axis=1)
    side = tails.argmax(axis=1)
    place = np.where(tails[row, side] > density[row, densest], ends[row, side], place)

    atoms = np.where(spread, -1.0, rows.masses)
    heaviest = atoms.argmax(axis=1)
    outweighs = atoms[row, heaviest] >= np.where(spread, rows.masses, 0.0).max(axis=1)
    outweighs &= atoms[row, heaviest] >= rows.tail_masses.max(axis=1)
    return np.where(outweighs, pick(rows.edges, heaviest), place)


def entropy(rows: Rows) -> FloatArray:
    """Expectation of -log_prob under the row itself, in nats (b,)."""
    widths = np.diff(rows.edges)
    # an atom's probability is a mass: width 1 leaves it undivided
    log_widths = np.log(np.where(widths > 0, widths, 1.0))
    tails = rows.tail_masses * (1.0 + np.log(rows.tail_scales))
    total: FloatArray = _plogp(rows.masses) + _plogp(rows.tail_masses) + tails.sum(axis=1)
    return total + _row_dot(rows.masses, log_widths)


def shortest(rows: Rows, coverage: float) -> FloatArray:
    """Ends (b, 2) of the shortest interval that holds ``coverage``.

    The cdf is linear in the cells, so that sliding an interval changes its length linearly until one end
    meets an edge: the shortest one has an end on an edge, or lies where the density of a tail equals the
    density at its other end. These candidates are all compared.
    """
    ahead = _shortest_from_left(rows, coverage)
    mirrored = Rows(-rows.edges[..., ::-1], rows.masses[:, ::-1], rows.tail_masses[:, ::-1], rows.tail_scales[:, ::-1])
    back = -_shortest_from_left(mirrored, coverage)[:, ::-1]
    return np.where(np.diff(back) < np.diff(ahead), back, ahead)


def merge_atoms(edges: FloatArray, masses: FloatArray) -> FloatArray:
    """Masses with those of atoms at one and the same value moved into the last of their cells."""
    empty = edges[..., 1:] == edges[..., :-1]
    repeated = empty[..., :-1] & empty[..., 1:]
    if not repeated.any():
        return masses
    merged = masses.copy()
    for j in np.flatnonzero(np.atleast_2d(repeated).any(axis=0)):
        carried = np.where(repeated[..., j], merged[:, j], 0.0)
        merged[:, j + 1] += carried
        merged[:, j] -= carried
    return merged


def joined(blocks: Iterable[tuple[slice, Rows]], n: int) -> Rows:
    """Blocks of rows written into one batch of n as they come; edges that all share stay shared."""
    whole: Rows | None = None
    for at, rows in blocks:
        if whole is None:
            edges = rows.edges if rows.edges.ndim == 1 else np.empty((n, rows.edges.shape[1]))
            whole = Rows(edges, *(np.empty((n, array.shape[1])) for array in rows[1:]))
        elif rows.edges.ndim > whole.edges.ndim:
            whole = whole._replace(edges=np.array(np.broadcast_to(whole.edges, (n, len(whole.edges)))))
        for into, array in zip(whole, rows, strict=True):
            if into.ndim == 2:
                into[at] = array
    return whole if whole is not None else Rows(np.zeros(2), np.empty((0, 1)), np.empty((0, 2)), np.empty((0, 2)))


def cumulative(rows: Rows) -> FloatArray:
    """F at the right edge of each cell (b, k)."""
    total = np.cumsum(rows.masses, axis=1)
    total += rows.tail_masses[:, :1]
    return total


def midpoints(edges: FloatArray) -> FloatArray:
    """Middles of the cells, (k,) or (b, k)."""
    return 0.5 * (edges[..., :-1] + edges[..., 1:])


def pick(values: FloatArray, index: IndexArray) -> FloatArray:
    """Entries of shared (m,) or per-row (b, m) values at per-row columns (b,) or (b, q)."""
    if values.ndim == 1:
        return values[index]
    row = np.arange(len(values))
    return values[row if index.ndim == 1 else row[:, None], index]


def pick_ends(edges: FloatArray, n: int | None = None) -> tuple[FloatArray, FloatArray]:
    """First and last edge, of shared or per-row edges; repeated to (n,) if asked."""
    ends = edges[..., 0], edges[..., -1]
    return ends if n is None else (np.broadcast_to(ends[0], n), np.broadcast_to(ends[1], n))


def search_rows(values: FloatArray, wanted: FloatArray, side: Side) -> IndexArray:
    """``numpy.searchsorted`` of (b,) or (b, q) wanted numbers in shared (m,) or per-row (b, m) values."""
    if values.ndim == 1:
        return np.searchsorted(values, wanted, side)
    size = values.shape[1]
    flat = values.ravel()
    start = np.arange(len(values)) * size - 1
    start = start if wanted.ndim == 1 else start[:, None]
    below = np.less if side == "left" else np.less_equal
    rank = np.zeros(wanted.shape, dtype=np.intp)
    for step in 1 << np.arange(size.bit_length())[::-1]:
        ahead = np.minimum(rank + step, size)
        np.copyto(rank, ahead, where=below(flat[start + ahead], wanted))
    return rank


def _share(edges: FloatArray, y: FloatArray, rank: IndexArray, cell: IndexArray) -> FloatArray:
    """Part of the cell that lies left of y: 0 before the first edge, 1 from the last one on."""
    left = pick(edges, cell)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (y - left) / (pick(edges, cell + 1) - left)
    share[rank < 0] = 0.0
    share[rank >= edges.shape[-1] - 1] = 1.0
    return share


def _steps(before: float, after: float, k: int) -> FloatArray:
    """View (k + 1, k) whose row i holds ``after`` in its last i entries and ``before`` in the others."""
    return sliding_window_view(np.repeat([before, after], k), k)


def _tail_beyond(rows: Rows, y: FloatArray, where: NDArray[np.bool_], side: int) -> FloatArray:
    """Mass of one tail farther out than y, of the rows where y lies in that tail."""
    edge = np.broadcast_to(pick_ends(rows.edges)[side], len(y))[where]
    depth = np.abs(y[where] - edge) / rows.tail_scales[where, side]
    beyond: FloatArray = rows.tail_masses[where, side] * np.exp(-depth)
    return beyond


def _quantile(rows: Rows, reached: FloatArray, levels: FloatArray) -> FloatArray:
    low, high = rows.tail_masses[:, :1], rows.tail_masses[:, 1:]
    # Without a right tail the level 1 belongs to the last cell with mass, whichever way the masses' sum was
    # rounded; and level 0 is the lower end of the first cell with mass.
    inner = np.where(levels < 1.0, np.minimum(levels, reached[:, -1:]), reached[:, -1:])
    cell = search_rows(reached, np.maximum(inner, np.finfo(float).tiny), "left")
    cell = np.minimum(cell, reached.shape[1] - 1)
    start = np.where(cell > 0, pick(reached, np.maximum(cell - 1, 0)), low)
    left, right = pick(rows.edges, cell), pick(rows.edges, cell + 1)
    first, last = (np.reshape(end, (-1, 1)) for end in pick_ends(rows.edges))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (inner - start) / (pick(reached, cell) - start)
        value = np.where(share < 1.0, np.minimum(left + share * (right - left), right), right)
        below = first + rows.tail_scales[:, :1] * np.log(levels / low)
        above = last - rows.tail_scales[:, 1:] * np.log((1.0 - levels) / high)
    value = np.where((low > 0) & (levels <= low), below, value)
    return np.where((high > 0) & (levels > reached[:, -1:]), np.maximum(above, last), value)


def _shortest_from_left(rows: Rows, coverage: float) -> FloatArray:
    """Shortest interval among those that begin on an edge or in the left tail."""
    reached = cumulative(rows)
    low, high = rows.tail_masses.T
    scale = rows.tail_scales[:, :1]
    begin = np.broadcast_to(rows.edges, (len(reached), rows.edges.shape[-1]))
    mass = np.concatenate([low[:, None], reached], axis=1)
    if low.any():
        widths = np.diff(rows.edges)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = (1.0 - coverage) / rows.tail_scales.sum(axis=1, keepdims=True)
            # where the left tail is as dense as a cell, or as the right tail beyond equal densities
            outside = np.concatenate([rows.masses / widths, level], axis=1) * scale
            outside = np.where((outside > 0) & (outside < low[:, None]), outside, np.nan)
            tail_begin = pick_ends(begin)[0][:, None] + scale * np.log(outside / low[:, None])
        begin, mass = np.concatenate([begin, tail_begin], axis=1), np.concatenate([mass, outside], axis=1)

    # a hair less, or rounding may carry the end across a gap without mass
    upper = (mass + coverage) * (1.0 - 4.0 * np.finfo(float).eps)
    possible = upper <= np.where(high > 0, 1.0, reached[:, -1])[:, None]
    end = _quantile(rows, reached, np.where(possible, upper, 0.5))
    width = np.where(possible, end - begin, np.inf)
    best = width.argmin(axis=1)
    ends = np.stack([pick(begin, best), pick(end, best)], axis=1)
    return np.where(np.isfinite(pick(width, best))[:, None], ends, [-np.inf, np.inf])


def _tail_crps(rows: Rows, beyond: FloatArray, side: int) -> FloatArray:
    """Part of the crps outside one outer edge, for y (b,) or (b, q) lying ``beyond`` it (negative inside)."""
    mass, scale = rows.tail_masses[:, side], rows.tail_scales[:, side]
    if beyond.ndim == 2:
        mass, scale = mass[:, None], scale[:, None]
    outside = np.maximum(beyond, 0.0)
    left = mass * np.exp(-outside / scale)
    passed = -mass * np.expm1(-outside / scale)
    return outside - 2.0 * scale * passed + 0.5 * scale * (passed * (mass + left) + left * left)


def _mean_square(a: FloatArray, b: FloatArray) -> FloatArray:
    """Mean of the square of a line from a to b."""
    return (a * a + a * b + b * b) / 3.0


def _plogp(p: FloatArray) -> FloatArray:
    """Sum of -p log p over the columns, with 0 log 0 = 0."""
    return -_row_dot(p, np.log(np.where(p > 0, p, 1.0)))


def _row_dot(masses: FloatArray, values: FloatArray) -> FloatArray:
    """Sum over the columns of masses (b, k) times shared (k,) or per-row (b, k) values."""
    total: FloatArray = np.einsum("ij,j->i" if values.ndim == 1 else "ij,ij->i", masses, values)
    return total
