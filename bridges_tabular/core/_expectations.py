"""What people ask a predictive distribution: quantiles, probabilities, expectations, shortfalls, stop-losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bridges_tabular.core import _cells
from bridges_tabular.core._batch import Batch
from bridges_tabular.core._cells import FloatArray, Rows

# exact for polynomials of degree 31 in each cell, and of degree 63 in a tail
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_TAIL_NODES, _TAIL_WEIGHTS = np.polynomial.laguerre.laggauss(32)


class Expectations(Batch):
    """The part of :class:`~bridges_tabular.core.distribution.BinnedDistribution` that sums up each row."""

    def sf(self, y: ArrayLike) -> FloatArray:
        """P(Y > y), in the shape of y; without the rounding of ``1 - cdf(y)`` far out."""
        return self._at(lambda rows, at: _cells.cdf(_mirrored(rows), -at, "left"), y)

    def ppf(self, levels: ArrayLike) -> FloatArray:
        """Quantiles by the name and the shapes of scipy.stats: the inverse of ``cdf``, broadcast in the same way.

        The values are those of ``quantile``, which asks every row for all levels of the shape (q,); here each row has
        its own level where the shape is (n,), so that ``ppf(cdf(y))`` is y.
        """
        table, shape = self._paired(levels, "levels")
        return self.quantile(table).reshape(shape)

    def quantile(self, levels: ArrayLike) -> FloatArray:
        """Smallest y with ``cdf(y) >= level``; columns never cross.

        Parameters
        ----------
        levels : float, or array of shape (q,) or (n, q)
            Probabilities from 0 to 1, for all rows or per row. 0 and 1 give the ends of the support, which
            are infinite where there is a tail.

        Returns
        -------
        array of shape (n,) for a single level, else (n, q)
        """
        wanted = np.asarray(levels, dtype=np.float64)
        if wanted.ndim > 2 or (wanted.ndim == 2 and len(wanted) != len(self)):
            raise ValueError(f"levels has shape {wanted.shape}, expected (), (q,) or ({len(self)}, q)")
        if not np.all((wanted >= 0) & (wanted <= 1)):
            raise ValueError(f"levels has {wanted[~((wanted >= 0) & (wanted <= 1))][0]}, expected 0 to 1")
        table = np.broadcast_to(wanted, (len(self), wanted.shape[-1] if wanted.ndim else 1))
        values = np.empty(table.shape)
        for at, rows in self._blocks(table.shape[1]):
            values[at] = _cells.quantile(rows, table[at])
        return values if wanted.ndim else values[:, 0]

    def prob(self, low: ArrayLike = -np.inf, high: ArrayLike = np.inf) -> FloatArray:
        """P(low <= Y <= high), atoms on both ends included; each end in any shape that ``cdf`` takes.

        Raises
        ------
        ValueError
            If a shape cannot be, or an end ``low`` lies above its ``high``.

        Examples
        --------
        >>> from bridges_tabular import BinnedDistribution
        >>> BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]]).prob(0.5, 2.0)
        array([0.5, 0.5])
        """
        first, last = (np.asarray(end, dtype=np.float64) for end in (low, high))
        below = self._at(lambda rows, at: _cells.cdf(rows, at, "left"), first, "low")
        reached = self._at(_cells.cdf, last, "high")
        # a value for each row stands beside a table as a column
        if first.ndim == 1 and last.ndim == 2 and len(self) > 1:
            first = first[:, None]
        if last.ndim == 1 and first.ndim == 2 and len(self) > 1:
            last = last[:, None]
        first, last = np.broadcast_arrays(first, last)
        if (first > last).any():
            raise ValueError(f"low is {first[first > last][0]}, above high, which is {last[first > last][0]}")
        below, reached = (part[:, None] if first.ndim == 2 and part.ndim == 1 else part for part in (below, reached))
        return np.maximum(reached - below, 0.0)

    def expect(self, function: Callable[[FloatArray], Any]) -> FloatArray:
        """E[function(Y)] of each row (n,), by quadrature.

        Parameters
        ----------
        function : callable
            Takes an array of values and returns one of the same shape, as numpy's functions do.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        ValueError
            If the function returns another shape.

        Notes
        -----
        Gauss-Legendre quadrature with 16 nodes in each cell, Gauss-Laguerre with 32 in each tail, and the function's
        own value on atoms: exact for functions that are polynomials in each cell and tail, and to many digits for
        smooth ones. Where a function breaks within a cell, such as at a threshold, the error is a small share of that
        cell's mass: for thresholds, ``prob`` and ``stop_loss`` are exact. In a tail of scale s a function may not grow
        as exp(y / s) does, whose expectation is infinite. The function is asked for nothing where a row has no mass.

        Examples
        --------
        >>> from bridges_tabular import BinnedDistribution
        >>> d = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]])
        >>> d.expect(np.square).round(6)
        array([2.333333, 3.533333])
        """
        result = np.empty(len(self))
        centres = self.quantile(0.5)
        for block, rows in self._blocks(self.masses.shape[1] * len(_NODES) + 2 * len(_TAIL_NODES)):
            at, masses = _quadrature(rows)
            # the median stands for nodes without mass, where the function need not be defined
            at = np.where(masses > 0, at, centres[block, None])
            values = np.asarray(function(at), dtype=np.float64)
            if values.shape not in ((), at.shape):
                raise ValueError(f"function returned the shape {values.shape} for values of the shape {at.shape}")
            result[block] = np.where(masses > 0, masses * values, 0.0).sum(axis=1)
        return result

    def stop_loss(self, threshold: ArrayLike) -> FloatArray:
        """E[max(Y - threshold, 0)] of each row in closed form, in units of the target and the shape of threshold.

        What a stop-loss treaty, or a call option at that price, pays on average; the integral of ``sf`` from the
        threshold on.

        Examples
        --------
        >>> from bridges_tabular import BinnedDistribution
        >>> BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]]).stop_loss(2.0)
        array([0.125, 0.2  ])
        """
        return self._at(_excess, threshold, "threshold")

    def expected_shortfall(self, level: ArrayLike, tail: Literal["upper", "lower"] = "upper") -> FloatArray:
        """Mean of Y in one of its tails, also called conditional value at risk, in closed form.

        Parameters
        ----------
        level : float, or array of shape (q,) or (n, q)
            Probabilities between 0 and 1, as ``quantile`` takes them.
        tail : {"upper", "lower"}, default="upper"
            "upper": the mean of the largest share ``1 - level`` of Y, the integral of the quantiles from ``level`` to
            1 over ``1 - level``: 0.95 is the mean of the worst 5 % where Y is a loss [1]_. "lower": the mean of the
            smallest share ``level``, so that 0.05 is the mean of the worst 5 % where Y is a gain. Of an atom on the
            quantile, only the part that makes up the share counts.

        Returns
        -------
        array of shape (n,) for a single level, else (n, q), in units of the target

        References
        ----------
        .. [1] Acerbi, C. and Tasche, D. "On the coherence of expected shortfall." Journal of Banking & Finance 26
           (2002). The closed form is that of Rockafellar and Uryasev, "Conditional value-at-risk for general loss
           distributions", in the same volume: the quantile, and the mean excess over it divided by ``1 - level``.

        Examples
        --------
        >>> from bridges_tabular import BinnedDistribution
        >>> BinnedDistribution([0.0, 1.0], [[1.0]]).expected_shortfall([0.5, 0.9])
        array([[0.75, 0.95]])
        """
        wanted = np.asarray(level, dtype=np.float64)
        if not np.all((wanted > 0) & (wanted < 1)):
            raise ValueError(f"level has {wanted[~((wanted > 0) & (wanted < 1))][0]}, expected between 0 and 1")
        if tail not in ("upper", "lower"):
            raise ValueError(f"tail is {tail!r}, expected 'upper' or 'lower'")
        quantiles = self.quantile(wanted)
        if tail == "upper":
            return quantiles + self.stop_loss(quantiles) / (1.0 - wanted)
        mirrored = type(self)._from_valid(_mirrored(self._rows))
        return quantiles - mirrored.stop_loss(-quantiles) / wanted


def _mirrored(rows: Rows) -> Rows:
    """Distributions of -Y."""
    edges, *others = (np.ascontiguousarray(array[..., ::-1]) for array in rows)
    return Rows(-edges, *others)


def _excess(rows: Rows, y: FloatArray) -> FloatArray:
    """E[max(Y - y, 0)] of each row at its own y (b,)."""
    at = y[:, None]
    left, right = rows.edges[..., :-1], rows.edges[..., 1:]
    width, begin = right - left, np.maximum(left, at)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(width > 0, np.maximum(right - begin, 0.0) / width, left > at)
        # beyond all of a cell there is nothing, not even at infinity
        excess = np.where(above > 0, 0.5 * (begin + right) - at, 0.0)
    total: FloatArray = (rows.masses * above * excess).sum(axis=1)
    low, high = _cells.pick_ends(rows.edges)
    scales = rows.tail_scales.T
    depth, beyond = np.maximum(low - y, 0.0) / scales[0], np.maximum(y - high, 0.0) / scales[1]
    total += rows.tail_masses[:, 0] * scales[0] * (depth + np.expm1(-depth))
    total += rows.tail_masses[:, 1] * (np.maximum(high - y, 0.0) + scales[1] * np.exp(-beyond))
    return total


def _quadrature(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Nodes and their masses (b, m): atoms have all of theirs at one node."""
    b = len(rows.masses)
    edges = np.broadcast_to(rows.edges, (b, rows.edges.shape[-1]))
    half = 0.5 * np.diff(edges)[:, :, None]
    inner = _cells.midpoints(edges)[:, :, None] + half * _NODES
    shares = np.where(half > 0, 0.5 * _WEIGHTS, np.eye(1, len(_NODES))[0])
    low, high = _cells.pick_ends(edges)
    beyond = rows.tail_scales[:, :, None] * _TAIL_NODES
    nodes = [inner.reshape(b, -1), low[:, None] - beyond[:, 0], high[:, None] + beyond[:, 1]]
    masses = [(rows.masses[:, :, None] * shares).reshape(b, -1), *(rows.tail_masses.T[:, :, None] * _TAIL_WEIGHTS)]
    return np.concatenate(nodes, axis=1), np.concatenate(masses, axis=1)
