"""What a predictive distribution accepts: shapes, signs and sums, refused in one line that names the row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridges_tabular.core._cells import FloatArray, Rows

# Rounding that a row's sum may show: that of a float32 softmax over 1,000 classes, and no more.
_SUM_TOLERANCE = 1e-5


def checked_rows(
    edges: ArrayLike, masses: ArrayLike, tail_masses: ArrayLike | None, tail_scales: ArrayLike | None
) -> Rows:
    """Own float64 copies of valid arguments, with rows normalised; see ``BinnedDistribution``.

    Raises
    ------
    ValueError
        If a shape, an edge, a mass or a sum is not as described there.
    """
    given = np.asarray(masses)
    if given.ndim != 2 or given.shape[1] == 0:
        raise ValueError(f"masses has shape {given.shape}, expected (n, k) with k of at least 1")
    n, k = given.shape
    own_edges = np.array(edges, dtype=np.float64)
    if own_edges.shape not in ((k + 1,), (n, k + 1)):
        raise ValueError(f"edges has shape {own_edges.shape}, expected ({k + 1},) or ({n}, {k + 1})")
    _check_edges(own_edges)
    tails, scales = _checked_tails(tail_masses, tail_scales, n)
    _check_not_negative("masses", given)

    totals = given.sum(axis=1, dtype=np.float64) + tails.sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(totals - 1.0) <= _SUM_TOLERANCE))
    if wrong.size:
        i = wrong[0]
        raise ValueError(f"masses of row {i} sum to {totals[i]:.6g} with its tails, expected 1")
    normalised = np.divide(given, totals[:, None], dtype=np.float64)
    return Rows(own_edges, normalised, tails / totals[:, None], scales)


def _check_edges(edges: FloatArray) -> None:
    if not np.isfinite(edges).all():
        raise ValueError(f"edges has {edges[~np.isfinite(edges)][0]}, expected finite numbers")
    falls = np.argwhere(np.atleast_2d(edges[..., 1:] < edges[..., :-1]))
    if falls.size:
        row, column = falls[0]
        where = f" of row {row}" if edges.ndim == 2 else ""
        raise ValueError(f"edges{where} decrease after position {column}, expected non-decreasing")


def _checked_tails(masses: ArrayLike | None, scales: ArrayLike | None, n: int) -> tuple[FloatArray, FloatArray]:
    tails = _pairs("tail_masses", 0.0 if masses is None else masses, n)
    widths = _pairs("tail_scales", 1.0 if scales is None else scales, n)
    _check_not_negative("tail_masses", tails)
    used = tails > 0
    if scales is None and used.any():
        raise ValueError("tail_masses needs tail_scales, the scale of each tail in units of the target")
    wrong = used & ~((widths > 0) & np.isfinite(widths))
    if wrong.any():
        raise ValueError(f"tail_scales has {widths[wrong][0]}, expected positive finite numbers")
    return tails, np.where(used, widths, 1.0)


def _pairs(name: str, values: ArrayLike, n: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (2,), (n, 2)):
        raise ValueError(f"{name} has shape {array.shape}, expected (2,) or ({n}, 2)")
    return np.broadcast_to(array, (n, 2))


def _check_not_negative(name: str, values: NDArray[Any]) -> None:
    # the smallest entry is NaN if any is, so that one pass without a temporary settles both
    if values.size and not values.min() >= 0:
        row = np.flatnonzero(~(values >= 0).all(axis=1))[0]
        raise ValueError(f"{name} of row {row} has {values[row].min()}, expected numbers of at least 0")
