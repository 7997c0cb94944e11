"""The predictive distribution: masses on cells of the target axis, with atoms and exponential tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridges_tabular.core import _cells
from bridges_tabular.core._cells import FloatArray, Rows
from bridges_tabular.core._expectations import Expectations
from bridges_tabular.core.mixtures import checked_weights, mixed

if TYPE_CHECKING:
    import pandas as pd
    from scipy.stats import rv_continuous


class BinnedDistribution(Expectations):
    """A batch of n predictive distributions, each a histogram over k cells.

    A cell's mass is spread evenly over it. A cell of zero width is an *atom*: the cdf jumps there by its
    mass. Outside the outer edges e_0 and e_k lie optional exponential *tails*:
    ``F(y) = p_L exp((y - e_0) / s_L)`` below and ``F(y) = 1 - p_R exp(-(y - e_k) / s_R)`` above. All results
    are exact for this shape, tails and atoms included, up to rounding, and float64 in the target's units.

    Parameters
    ----------
    edges : array of shape (k + 1,) or (n, k + 1)
        Cell edges, shared by the rows or per row; finite, non-decreasing.
    masses : array of shape (n, k)
        Probabilities of the cells, at least 0. Each row sums to 1 together with its tails; rounding of up to
        1e-5 is normalised away. Atoms at one and the same value are merged into the last of their cells.
    tail_masses : array of shape (2,) or (n, 2), optional
        Probabilities p_L and p_R below the first and above the last edge; none by default.
    tail_scales : array of shape (2,) or (n, 2), optional
        Scales s_L and s_R of the tails, positive, in units of the target: each tail's mean distance from its
        edge. Needed where a tail has mass.
    index : array of shape (n,), optional
        Labels of the rows, such as the index of a DataFrame; :meth:`to_frame` shows them.

    Raises
    ------
    ValueError
        If a shape, an edge, a mass or a sum is not as described, naming the row.

    Notes
    -----
    An argument ``y`` is broadcast as scipy.stats does for n parameters: with the shape (n,) each row is evaluated at
    its own value, a scalar is used for all rows, and a single row takes any number of values. With (n, q) each row is
    evaluated at q values of its own, with (1, q), as ``np.array(values)[None]``, at the same ones. Shared edges are
    never copied per row, and the work runs over blocks of rows, so that temporaries stay at a few MiB.

    Examples
    --------
    >>> d = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]])
    >>> d.mean
    array([1.25, 1.7 ])
    >>> d.quantile([0.25, 0.75])
    array([[0.5  , 2.   ],
           [1.125, 2.375]])
    >>> d.crps([1.0, 4.0])
    array([0.25, 1.84])
    """

    @classmethod
    def pool(cls, distributions: Sequence[BinnedDistribution], weights: ArrayLike | None = None) -> BinnedDistribution:
        """Mixtures, row by row: the cdf of the pool is the weighted mean of the cdfs.

        Exact, atoms included, where there are no tails. A tail within the outermost edges of all becomes cells on
        whose edges the cdf is exact, and beyond those edges the tails become one of the same mass and mean.

        Parameters
        ----------
        distributions : sequence of m BinnedDistribution
            Of n rows each, in the same units.
        weights : array of shape (m,), optional
            At least 0; only ratios matter. Equal by default.

        Raises
        ------
        ValueError
            If there are none, their numbers of rows differ, or the weights cannot be used.

        Examples
        --------
        >>> low, high = BinnedDistribution([0.0, 2.0], [[1.0]]), BinnedDistribution([1.0, 3.0], [[1.0]])
        >>> pooled = BinnedDistribution.pool([low, high], [0.25, 0.75])
        >>> pooled.edges, pooled.masses
        (array([0., 1., 2., 3.]), array([[0.125, 0.5  , 0.375]]))
        """
        sizes = {len(one) for one in distributions}
        if len(sizes) != 1:
            raise ValueError(f"a pool needs distributions of the same number of rows, got {sorted(sizes) or 'none'}")
        shares = checked_weights(weights, len(distributions))
        used = [(one._rows, share) for one, share in zip(distributions, shares, strict=True) if share > 0]
        return cls._from_valid(mixed([rows for rows, _ in used], np.array([share for _, share in used])))

    @property
    def mean(self) -> FloatArray:
        """Expectations (n,)."""
        return self._each(_cells.mean)

    @property
    def var(self) -> FloatArray:
        """Variances (n,), in squared units of the target."""
        return self._each(_cells.variance)

    @property
    def std(self) -> FloatArray:
        """Standard deviations (n,)."""
        return np.sqrt(self.var)

    @property
    def median(self) -> FloatArray:
        """Medians (n,)."""
        return self.quantile(0.5)

    @property
    def mode(self) -> FloatArray:
        """Modes (n,): the midpoint of the densest cell, the edge of a still denser tail, or an atom.

        A mass and a density do not compare: an atom is the mode where no cell and no tail holds more mass.
        """
        return self._each(_cells.mode)

    @property
    def entropy(self) -> FloatArray:
        """Expectations of ``-log_prob(Y)`` (n,), in nats: differential, with log masses on the atoms."""
        return self._each(_cells.entropy)

    def cdf(self, y: ArrayLike) -> FloatArray:
        """P(Y <= y), in the shape of y; jumps at atoms, never decreases in y."""
        return self._at(_cells.cdf, y)

    def pdf(self, y: ArrayLike) -> FloatArray:
        """Density of the continuous part, in the shape of y; its integral and the atoms add up to 1."""
        return self._at(lambda rows, at: np.exp(_cells.log_densities(rows, at)[0]), y)

    def log_prob(self, y: ArrayLike) -> FloatArray:
        """Log mass where y is an atom (see ``on_atom``), log density elsewhere; -inf where nothing lies."""

        def log_prob(rows: Rows, at: FloatArray) -> FloatArray:
            density, mass, on_atom = _cells.log_densities(rows, at)
            return np.where(on_atom, mass, density)

        return self._at(log_prob, y)

    def on_atom(self, y: ArrayLike) -> NDArray[np.bool_]:
        """Whether y is the value of an atom, where ``log_prob`` is a log mass; in the shape of y."""
        return self._at(lambda rows, at: _cells.log_densities(rows, at)[2], y).astype(bool)

    def interval(self, coverage: float, kind: Literal["central", "shortest"] = "central") -> FloatArray:
        """Ends (n, 2) of closed intervals that hold Y with probability ``coverage``, between 0 and 1.

        Where an end is an atom, they hold more: all of its mass is inside.

        ``central`` leaves equal probabilities out on both sides. ``shortest`` is the shortest interval of
        all, found exactly; of several equally short ones, the lowest that has an end on an edge.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage is {coverage}, expected a number between 0 and 1")
        if kind == "central":
            return self.quantile([0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage])
        if kind != "shortest":
            raise ValueError(f"kind is {kind!r}, expected 'central' or 'shortest'")
        ends = np.empty((len(self), 2))
        for at, rows in self._blocks(2 * self.masses.shape[1]):
            ends[at] = _cells.shortest(rows, coverage)
        return ends

    def sample(self, n: int = 1, seed: int | np.random.Generator | None = None) -> FloatArray:
        """Independent draws (len(self), n), by inversion of the cdf."""
        uniform = np.random.default_rng(seed).random((len(self), n))
        # 0 would be the end of an infinite tail, which has probability 0
        return self.quantile(np.maximum(uniform, np.finfo(float).tiny))

    def crps(self, y: ArrayLike) -> FloatArray:
        """Continuous ranked probability scores in units of the target, in the shape of y.

        The integral of ``(F(x) - 1[y <= x])^2`` over x [1]_, in closed form cell by cell and tail by tail.

        References
        ----------
        .. [1] Gneiting, T. and Raftery, A. E. "Strictly proper scoring rules, prediction, and estimation."
           Journal of the American Statistical Association 102 (2007).
        """
        values, shape = self._paired(y)
        if values.shape[1] == 1:
            return self._at(_cells.crps, y)
        result = np.empty(values.shape)
        for at, rows in self._blocks(values.shape[1]):
            result[at] = _cells.crps_table(rows, values[at])
        return result.reshape(shape)

    def pit(self, y: ArrayLike, seed: int | np.random.Generator | None = 0) -> FloatArray:
        """Probability integral transforms, in the shape of y: uniform if y follows the distribution.

        ``cdf(y)``, except at an atom: there a uniform draw between the cdf just below y and at y, so that the
        transform is uniform for targets with ties as well. The same ``seed`` gives the same draws.
        """
        upper = self.cdf(y)
        lower = self._at(lambda rows, at: _cells.cdf(rows, at, "left"), y)
        return lower + np.random.default_rng(seed).random(upper.shape) * (upper - lower)

    def affine(self, scale: ArrayLike, shift: ArrayLike) -> BinnedDistribution:
        """Distribution of ``scale * Y + shift``; numbers keep edges shared, arrays of shape (n,) act per row.

        A negative scale reverses the order of the cells.
        """
        factor, offset = np.asarray(scale, dtype=np.float64), np.asarray(shift, dtype=np.float64)
        for name, value in {"scale": factor, "shift": offset}.items():
            if value.shape not in ((), (len(self),)):
                raise ValueError(f"{name} has shape {value.shape}, expected () or ({len(self)},)")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} has {value[~np.isfinite(value)][0]}, expected finite numbers")
        if not (np.all(factor > 0) or np.all(factor < 0)):
            raise ValueError("scale must be positive everywhere or negative everywhere")
        per_row = factor.ndim == 1 or offset.ndim == 1
        edges = (factor[..., None] * self.edges + offset[..., None]) if per_row else factor * self.edges + offset
        scales = np.abs(factor)[..., None] * self.tail_scales
        rows = Rows(edges, self.masses, self.tail_masses, scales)
        if np.all(factor < 0):
            rows = Rows(*(np.ascontiguousarray(array[..., ::-1]) for array in rows))
        return self._from_valid(rows, self.index)

    def to_frame(self, levels: ArrayLike = (0.05, 0.25, 0.5, 0.75, 0.95)) -> pd.DataFrame:
        """One line per row: ``mean``, ``std``, and a column ``q0.05`` and so on for each quantile level.

        Its index is that of the table that was predicted.
        """
        import pandas as pd

        wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
        quantiles = self.quantile(wanted)
        columns = {f"q{level:g}": quantiles[:, i] for i, level in enumerate(wanted)}
        return pd.DataFrame({"mean": self.mean, "std": self.std, **columns}, index=self.index)

    def to_scipy(self) -> rv_continuous:
        """The distribution of a single row as one of scipy.stats, with the same cdf, quantiles and moments.

        Raises
        ------
        ValueError
            If there is more than one row, or the row has atoms, which no continuous distribution of scipy has.

        Examples
        --------
        >>> d = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]])
        >>> float(d[1].to_scipy().sf(2.0))
        0.4
        """
        from bridges_tabular.core._scipy import BinnedRV

        if len(self) != 1:
            raise ValueError(f"to_scipy is for a single row, not for {len(self)}: pick one, as in distribution[0]")
        edges = np.atleast_2d(self.edges)[0]
        atoms = edges[1:][(np.diff(edges) == 0) & (self.masses[0] > 0)]
        if atoms.size:
            raise ValueError(f"to_scipy: the row has an atom at {atoms[0]:g}, which scipy's distributions cannot have")
        return BinnedRV(self)

    def plot(
        self,
        y: ArrayLike | None = None,
        *,
        coverage: float = 0.9,
        kind: Literal["central", "shortest"] = "central",
        ax: Any = None,
    ) -> Any:
        """Draw each row's density, its atoms, its interval and, with ``y``, the true value; pick rows first.

        Parameters
        ----------
        y : array of shape (n,), optional
            True values, in the units of the target.
        coverage, kind
            Of the shaded interval, as for ``interval``.
        ax : matplotlib axes, optional
            Where to draw; new axes by default.

        Returns
        -------
        matplotlib axes

        Examples
        --------
        >>> d = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]])
        >>> ax = d[0].plot(y=[1.5])  # doctest: +SKIP
        """
        from bridges_tabular.core._plot import plot_rows

        truth = None if y is None else self._paired(y)[0][:, 0]
        return plot_rows(self._rows, self.interval(coverage, kind), f"{coverage:.0%} interval", truth, ax)
