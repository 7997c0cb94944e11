"""Mixtures of histograms with atoms and exponential tails: exact on the edges of all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridges_tabular.core._cells import FloatArray, Rows, pick_ends

# Knots in the tail of a component that another one reaches beyond, in scales of the tail; the last is the most.
_DEPTHS: FloatArray = np.array([0.35, 0.8, 1.5, 2.6])
_DEEPEST = 4.5
# Numbers in a block's temporaries: those of a few arrays fit a processor's cache.
_BLOCK_SIZE = 1 << 17


def mixed(components: Sequence[Rows], weights: FloatArray) -> Rows:
    """Rows whose cdf is the weighted mean of the components' cdfs, on all their edges together.

    Between the outermost edges of a component and those of the mixture, its tail is cut into cells: there the cdf is
    exact on the edges alone. Beyond them the tails of all become one exponential of the same mass and mean.

    Parameters
    ----------
    components : sequence of m Rows
        Of as many rows each.
    weights : array of shape (m,)
        Positive, with sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> def cell(low, high):
    ...     return Rows(np.array([low, high]), np.ones((1, 1)), np.zeros((1, 2)), np.ones((1, 2)))
    >>> mixed([cell(0.0, 2.0), cell(1.0, 3.0)], np.array([0.25, 0.75])).masses
    array([[0.125, 0.5  , 0.375]])
    """
    if len(components) == 1:
        return components[0]
    n = len(components[0].masses)
    knots = _knots(components)
    if all(rows.edges.ndim == 1 for rows in components) and not knots:
        alike = all(np.array_equal(rows.edges, components[0].edges) for rows in components)
        return _summed(components, weights) if alike else _block(components, weights, [])
    size = max(1, _BLOCK_SIZE // sum(rows.masses.shape[1] for rows in components))
    blocks = []
    for start in range(0, max(n, 1), size):
        at = slice(start, start + size)
        blocks.append(_block([_taken(rows, at) for rows in components], weights, [part[at] for part in knots]))
    return Rows(*(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


def checked_weights(weights: ArrayLike | None, m: int) -> FloatArray:
    """Weights (m,) with sum 1; equal ones by default.

    Raises
    ------
    ValueError
        If there are not m of them, one is no number, negative or not finite, or all are zero.

    Examples
    --------
    >>> checked_weights([1, 3], 2)
    array([0.25, 0.75])
    """
    try:
        given = np.ones(m) if weights is None else np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"weights holds what is no number: {error}") from None
    if given.shape != (m,):
        raise ValueError(f"weights has shape {given.shape}, expected ({m},)")
    if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        raise ValueError("weights must hold finite numbers of at least 0, not all 0")
    scaled = given / given.max()
    total: FloatArray = scaled / scaled.sum()
    return total


def _summed(components: Sequence[Rows], weights: FloatArray) -> Rows:
    """The mixture of components on the same edges."""
    masses = sum(w * rows.masses for w, rows in zip(weights, components, strict=True))
    tails = [w * rows.tail_masses for w, rows in zip(weights, components, strict=True)]
    return Rows(components[0].edges, np.asarray(masses), *_tails(tails, [rows.tail_scales for rows in components]))


def _taken(rows: Rows, at: slice) -> Rows:
    edges, *per_row = rows
    return Rows(edges if edges.ndim == 1 else edges[at], *(array[at] for array in per_row))


def _block(components: Sequence[Rows], weights: FloatArray, knots: Sequence[FloatArray]) -> Rows:
    edges = [np.atleast_2d(rows.edges) for rows in components]
    b, shared = len(components[0].masses), not knots and all(rows.edges.ndim == 1 for rows in components)
    parts = [np.broadcast_to(part, (1 if shared else b, part.shape[1])) for part in [*edges, *knots]]
    columns = np.concatenate(parts, axis=1)
    # of equal edges, those of one component stay together: between them lies its atom
    order = np.argsort(columns, axis=1, kind="stable")
    merged = np.take_along_axis(columns, order, axis=1)
    widths = np.diff(merged)
    masses, atoms = np.zeros((b, widths.shape[1])), np.zeros(widths.shape, dtype=bool)
    tails, start = [], 0
    for rows, own, w in zip(components, edges, weights, strict=True):
        stop = start + own.shape[1]
        cell = np.cumsum((order >= start) & (order < stop), axis=1)[:, :-1] - 1
        start = stop
        _add_cells(masses, atoms, rows, own, w, cell, widths)
        tails.append(_add_tails(masses, rows, own, w, cell, merged))
    found = Rows(merged, masses, *_tails(tails, [rows.tail_scales for rows in components]))
    found = _without_copies(found, (widths == 0) & ~atoms)
    return found._replace(edges=found.edges[0]) if shared else found


def _knots(components: Sequence[Rows]) -> list[FloatArray]:
    """Edges (n, 4) in the tails of components that end before another one does, for each side and component."""
    n = len(components[0].masses)
    outer = [pick_ends(rows.edges, n if rows.edges.ndim == 1 else None) for rows in components]
    knots = []
    for side, sign in enumerate((-1.0, 1.0)):
        ends = np.stack([one[side] for one in outer])
        gap = np.abs(ends - (ends.min(axis=0) if side == 0 else ends.max(axis=0)))
        for index, rows in enumerate(components):
            inside = (gap[index] > 0) & (rows.tail_masses[:, side] > 0)
            if inside.any():
                scale = rows.tail_scales[:, side]
                reach = np.minimum(gap[index], _DEEPEST * scale)
                knots.append(ends[index][:, None] + sign * reach[:, None] * (_DEPTHS / _DEEPEST))
    return knots


def _add_cells(
    masses: FloatArray,
    atoms: NDArray[np.bool_],
    rows: Rows,
    own: FloatArray,
    weight: float,
    cell: NDArray[np.intp],
    widths: FloatArray,
) -> None:
    """Add a component's cells (b, k) to the merged ones that lie in them; ``cell`` (b, K) says in which each does."""
    k = rows.masses.shape[1]
    within = np.clip(cell, 0, k - 1)
    inside = within == cell
    own_width = np.take_along_axis(np.diff(own), within, axis=1) if len(own) == len(cell) else np.diff(own)[0][within]
    atom = inside & (own_width == 0)
    atoms |= atom
    # a quotient of equal widths is 1 to the last digit: a cell that is not cut keeps its mass
    share = np.where(atom, 1.0, widths / np.where(own_width > 0, own_width, 1.0)) * inside
    held = np.take_along_axis(rows.masses, within, axis=1) if len(within) > 1 else rows.masses[:, within[0]]
    masses += held * share * weight


def _add_tails(
    masses: FloatArray, rows: Rows, own: FloatArray, weight: float, cell: NDArray[np.intp], merged: FloatArray
) -> FloatArray:
    """Add what of a component's tails lies in merged cells; returns its masses (b, 2) beyond all of them."""
    k, b = rows.masses.shape[1], len(rows.masses)
    beyond = np.empty((b, 2))
    for side in (0, 1):
        mass, scale = weight * rows.tail_masses[:, side], rows.tail_scales[:, side]
        end, last = own[:, -side], merged[:, -side]
        beyond[:, side] = mass * np.exp(-np.abs(end - last) / scale)
        in_tail = cell < 0 if side == 0 else cell >= k
        columns = np.flatnonzero(in_tail.any(axis=0))
        if not columns.size:
            continue
        at = slice(columns[0], columns[-1] + 1)
        left, right = merged[:, at], merged[:, columns[0] + 1 : columns[-1] + 2]
        near = np.abs(end[:, None] - (right if side == 0 else left)) / scale[:, None]
        share = np.exp(-near) * -np.expm1((left - right) / scale[:, None])
        masses[:, at] += np.where(in_tail[:, at], mass[:, None] * share, 0.0)
    return beyond


def _tails(masses: Sequence[FloatArray], scales: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Masses (b, 2) of all tails together and the scales that keep their means."""
    total = np.sum(masses, axis=0)
    means = np.sum([mass * scale for mass, scale in zip(masses, scales, strict=True)], axis=0)
    return total, np.divide(means, total, out=np.ones_like(total), where=total > 0)


def _without_copies(rows: Rows, copies: NDArray[np.bool_]) -> Rows:
    """Cells (b, K) between two copies of one edge, which would pass for atoms, become parts of the widest cell."""
    needed = copies.any(axis=1)
    if not needed.any():
        return rows
    some = slice(None) if len(copies) == 1 else np.flatnonzero(needed)
    edges, masses, copy = rows.edges[some], rows.masses[some], copies[some]
    widths = np.diff(edges)
    widest = widths.argmax(axis=1)[:, None]
    number = copy.sum(axis=1, keepdims=True)
    start, width = np.take_along_axis(edges, widest, axis=1), np.take_along_axis(widths, widest, axis=1)
    begin = np.where(copy, start + width * (np.cumsum(copy, axis=1) / (number + 1)), edges[:, :-1])
    if len(copies) == 1:
        masses = masses.copy()
        part = masses[:, widest[0]] / (number + 1)
        masses[:, widest[0]] = part
        masses = np.where(copy, part, masses)
    else:
        part = np.take_along_axis(masses, widest, axis=1) / (number + 1)
        np.put_along_axis(masses, widest, part, axis=1)
        masses = np.where(copy, part, masses)
    order = np.argsort(begin, axis=1, kind="stable")
    begin = np.take_along_axis(begin, order, axis=1)
    masses = masses[:, order[0]] if len(copies) == 1 else np.take_along_axis(masses, order, axis=1)
    new_edges, new_masses = rows.edges.copy(), rows.masses.copy()
    new_edges[some, :-1], new_masses[some] = begin, masses
    return rows._replace(edges=new_edges, masses=new_masses)


def sharpened(rows: Rows, power: float) -> Rows:
    """Rows whose odds of lying below any edge are those of before to the power: above 1 narrower, below 1 wider.

    The cdf becomes ``F^a / (F^a + (1 - F)^a)`` on the edges; atoms and medians stay where they are. A linear pool of
    calibrated forecasts is too wide whatever its weights, and has to be sharpened [1]_; the transform is that of the
    logit, "extremized" [2]_, in place of their beta distribution's.

    References
    ----------
    .. [1] Gneiting and Ranjan, "Combining predictive distributions", Electronic Journal of Statistics 7 (2013).
    .. [2] Satopaa et al., "Combining multiple probability predictions using a simple logit model", International
       Journal of Forecasting 30 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> halves = Rows(np.array([0.0, 1.0, 2.0]), np.array([[0.25, 0.75]]), np.zeros((1, 2)), np.ones((1, 2)))
    >>> sharpened(halves, 2.0).masses
    array([[0.1, 0.9]])
    """
    if power == 1.0:
        return rows
    # sums from both ends: what is left beyond an edge far out keeps its digits
    below = np.cumsum(np.concatenate([rows.tail_masses[:, :1], rows.masses], axis=1), axis=1)
    above = np.cumsum(np.concatenate([rows.tail_masses[:, 1:], rows.masses[:, ::-1]], axis=1), axis=1)[:, ::-1]
    low = below[:, 1:] < 0.5
    for part in (below, above):
        np.power(part, power, out=part)
    total = below + above
    below /= total
    above = above / total
    masses = np.maximum(np.where(low, np.diff(below), -np.diff(above)), 0.0)
    tails = np.stack([below[:, 0], above[:, -1]], axis=1)
    whole = masses.sum(axis=1, keepdims=True) + tails.sum(axis=1, keepdims=True)
    return Rows(rows.edges, masses / whole, tails / whole, rows.tail_scales / power)
