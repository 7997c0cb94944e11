"""From a model's outputs to a sharp, calibrated predictive distribution, fitted on validation rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError

from bridges_tabular.core._cells import FloatArray, Rows, joined
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.calibration.atoms import Atoms, Ties, find_ties, pool_with_atoms
from bridges_tabular.core.calibration.deconvolution import Deconvolution
from bridges_tabular.core.calibration.pooling import NORMAL_QUANTILES, TAIL_WIDTH, Pool
from bridges_tabular.core.calibration.residuals import LocalResiduals, thinned
from bridges_tabular.core.calibration.sharpness import ITERATIONS, best_sharpness
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.parameters import PARAMETERS, Calibration

if TYPE_CHECKING:
    from bridges_tabular.core.encoders import TargetEncoder

# Below so many distinct validation rows nothing is fitted but the width of the tails.
LEAST_ROWS = 20

# Reaches of an atom's catchment, in standard deviations of the validation errors.
_REACHES = (0.03, 0.1, 0.3, 1.0)
_JUDGED_ROWS_ATOMS = 512
_BLOCK_ROWS = 2048


class _Outputs(NamedTuple):
    """What a model says of b rows, in the units of the bins; ``location`` is zero where there is none."""

    point: FloatArray
    location: FloatArray
    pi: FloatArray | None

    def take(self, at: slice | NDArray[np.intp]) -> _Outputs:
        return _Outputs(self.point[at], self.location[at], None if self.pi is None else self.pi[at])


class DistributionCalibrator:
    """Predictive distributions from class probabilities and a point prediction, fitted on validation rows.

    A classifier trained on codes that spread a target over classes predicts the conditional distribution smoothed by
    the code: its histogram is too wide. What was fitted never moves the point prediction itself.

    Parameters
    ----------
    method : {"pooled", "deconvolve", "shrink", "none"}, default="pooled"
        - "none": the histogram of pi over the bins; nothing is fitted and there are no tails.
        - "shrink": that histogram, scaled around the point by one factor times the square root of the share of the
          predicted variance that is not the code's own.
        - "deconvolve": Richardson-Lucy iterations undo the smoothing of the known code on fine cells, then one factor
          scales around the point. The number of iterations (0 to 256) and the factor (0.15 to 3) have the best
          CRPS on the validation rows.
        - "pooled": the equal mixture of "deconvolve" and of local residuals: those of validation rows whose point
          and predicted variance rank alike.

    Attributes
    ----------
    fitted_ : str
        The method in force: with fewer than 20 distinct validation rows, "deconvolve" and "shrink" fall back to
        "none" with tails, and so does "pooled", which without class probabilities becomes the normal distribution.
        With fewer than 200, all residuals are used instead of local ones.
    deviation_ : float
        Root mean square of the validation errors.

    Notes
    -----
    All methods but "none" hold 3 % of a normal distribution around the point, of 1.5 times the standard deviation of
    the validation errors; beyond the outermost cell, at least three of its deviations out, the tail is exponential,
    of a third of its deviation. So the log score is finite for every target.

    With the training targets at hand, values that hold at least 1 % of the rows, and five of them, may become
    *atoms*: they take from the mass near them the share they hold of the training rows near them. How near is chosen
    by the CRPS on the validation rows, not at all being one of the choices. In a target of at most 64 distinct
    values, each held by 20 rows on average, every value is an atom.

    The construction is ours, measured in the project's benchmarks; the iterations are those of Richardson,
    "Bayesian-based iterative method of image restoration" (1972), and Lucy, "An iterative technique for the
    rectification of observed distributions" (1974).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(size=2_000)
    >>> y = 3 * x + rng.normal(size=2_000) * (0.1 + x)
    >>> calibrator = DistributionCalibrator().fit(None, None, 3 * x, y)
    >>> calibrator.predict(None, [0.3, 2.7]).interval(0.8).round(1)
    array([[0. , 0.6],
           [1.4, 4. ]])
    """

    def __init__(self, method: Calibration = PARAMETERS["calibration"].default) -> None:
        PARAMETERS["calibration"].check(method)
        self.method = method

    def fit(
        self,
        pi: ArrayLike | None,
        encoder: TargetEncoder | None,
        point: ArrayLike,
        y: ArrayLike,
        *,
        location: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        y_train: ArrayLike | None = None,
        train_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit to validation rows.

        Parameters
        ----------
        pi : array of shape (n, k), or None
            Predicted class probabilities; None for a regressor without classes, which then needs the method "pooled".
        encoder : TargetEncoder or None
            The code that pi was trained on; its bins' units are those of everything here. None without pi.
        point : array of shape (n,)
            Point predictions.
        y : array of shape (n,)
            Targets of the validation rows.
        location : array of shape (n,), optional
            Where the bins lie on y - location.
        sample_weight : array of shape (n,), optional
            A weight counts a row so often; only ratios matter. Rows of weight zero are left out.
        y_train, train_weight : arrays of shape (m,), optional
            Training targets and their weights, which decide on atoms; none without them.

        Raises
        ------
        ValueError
            If a shape does not match, a number is not finite, or there is no row to fit to.
        """
        outputs = self._checked(pi, encoder, point, location)
        n = len(outputs.point)
        target = _column("y", y, n)
        weight = np.ones(n) if sample_weight is None else _weight("sample_weight", sample_weight, n)
        self._deconvolution = None if encoder is None else Deconvolution(encoder)
        self._iterations, self._width, self._atoms, self._residuals = 0, 1.0, None, None
        self.deviation_, self.fitted_ = 1.0, self.method
        if self.method == "none":
            return self
        outputs, target, weight = _distinct(outputs, target, weight)
        if not len(target):
            raise ValueError("calibration needs validation rows, got none of positive weight")
        self.deviation_ = _deviation(target - outputs.point, target, weight)
        if len(target) < LEAST_ROWS:
            self.fitted_ = "none"
            return self
        if outputs.pi is not None:
            assert self._deconvolution is not None
            undo = self._deconvolution.blurs and self.method != "shrink"
            self._iterations, self._width = best_sharpness(
                self._deconvolution, outputs.pi, self._narrowing(outputs), target - outputs.point, weight, undo=undo
            )
        if self.method == "pooled":
            spread = self._variance(outputs)
            self._residuals = LocalResiduals.fit(target - outputs.point, outputs.point, spread, weight)
        if y_train is not None:
            trained = _column("y_train", y_train)
            share = None if train_weight is None else _weight("train_weight", train_weight, len(trained))
            ties = find_ties(trained, None) if share is None else find_ties(trained[share > 0], share[share > 0])
            if ties is not None:
                self._atoms = self._best_atoms(ties, outputs, target, weight)
        return self

    def predict(
        self, pi: ArrayLike | None, point: ArrayLike, *, location: ArrayLike | None = None
    ) -> BinnedDistribution:
        """Predictive distributions of n rows, of at most a few hundred cells each.

        Parameters
        ----------
        pi : array of shape (n, k), or None
        point : array of shape (n,)
        location : array of shape (n,), optional
            As given to :meth:`fit`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        if not hasattr(self, "deviation_"):
            raise NotFittedError("this DistributionCalibrator is not fitted yet: call fit with validation rows")
        outputs = self._checked(pi, self.encoder, point, location)
        if self.method == "none":
            assert self._deconvolution is not None
            assert outputs.pi is not None
            distribution = BinnedDistribution(self._deconvolution.classes, outputs.pi)
            return distribution if location is None else distribution.affine(1.0, outputs.location)
        return self._made(outputs)

    def predict_held_out(
        self,
        pi: ArrayLike | None,
        point: ArrayLike,
        y: ArrayLike,
        *,
        location: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> BinnedDistribution:
        """Distributions of the rows that :meth:`fit` was given, each from the local residuals of all others.

        What is fitted to all rows, a handful of numbers, stays as it is. Conformal intervals of calibration rows that
        the calibrator has seen would otherwise come out too narrow.
        """
        if self._residuals is None:
            return self.predict(pi, point, location=location)
        outputs = self._checked(pi, self.encoder, point, location)
        n = len(outputs.point)
        weight = np.ones(n) if sample_weight is None else _weight("sample_weight", sample_weight, n)
        residual = _column("y", y, n) - outputs.point
        return self._made(outputs, self._residuals.held_out(residual, outputs.point, self._variance(outputs), weight))

    @property
    def encoder(self) -> TargetEncoder | None:
        """The encoder it was fitted with."""
        return None if self._deconvolution is None else self._deconvolution.encoder

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """What was fitted, as named arrays."""
        state = {"fit": np.array([self._iterations, self._width, self.deviation_, self.fitted_ == self.method])}
        for name, part in {"residuals": self._residuals, "atoms": self._atoms}.items():
            if part is not None:
                state |= {f"{name}.{key}": array for key, array in part.arrays().items()}
        return state

    @classmethod
    def from_arrays(
        cls, method: Calibration, encoder: TargetEncoder | None, arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """Rebuild from the method, the encoder it was fitted with and :meth:`arrays`.

        Raises
        ------
        ArrayError
            If they are none of such a calibrator.
        """
        given, made = Arrays.of(arrays), cls(method)
        iterations, made._width, made.deviation_, as_asked = given.take_finite("fit", 4).tolist()
        if iterations not in ITERATIONS:
            raise given.error("fit", f"holds {iterations:g} iterations, expected one of {ITERATIONS}")
        made._iterations, made.fitted_ = int(iterations), method if as_asked else "none"
        made._deconvolution = None if encoder is None else Deconvolution(encoder)
        residuals, atoms = given.part("residuals."), given.part("atoms.")
        made._residuals = LocalResiduals.from_arrays(residuals) if residuals else None
        made._atoms = Atoms.from_arrays(atoms) if atoms else None
        return made

    def _checked(
        self, pi: ArrayLike | None, encoder: TargetEncoder | None, point: ArrayLike, location: ArrayLike | None
    ) -> _Outputs:
        points = _column("point", point)
        where = np.zeros(len(points)) if location is None else _column("location", location, len(points))
        if (pi is None) != (encoder is None):
            raise ValueError("pi and encoder belong together: give both, or neither for a regressor without classes")
        if pi is None:
            if self.method != "pooled":
                raise ValueError(f"calibration={self.method!r} needs class probabilities; without them use 'pooled'")
            return _Outputs(points, where, None)
        assert encoder is not None
        shape = (len(points), encoder.bins.n_bins)
        masses = np.asarray(pi, dtype=np.float64)
        if masses.shape != shape:
            raise ValueError(f"pi has shape {masses.shape}, expected {shape}")
        if not (np.isfinite(masses).all() and (masses >= 0).all() and (masses.sum(axis=1) > 0).all()):
            raise ValueError("pi must hold finite numbers of at least 0, not all 0 in a row")
        return _Outputs(points, where, masses / masses.sum(axis=1, keepdims=True))

    def _variance(self, outputs: _Outputs) -> FloatArray | None:
        if outputs.pi is None:
            return None
        assert self._deconvolution is not None
        return self._deconvolution.variances(outputs.pi, outputs.point - outputs.location)[1]

    def _narrowing(self, rows: _Outputs) -> FloatArray:
        """Factors (b,) by which the width of each row is scaled whatever the validation rows say."""
        if self.method != "shrink":
            return np.ones(len(rows.point))
        assert self._deconvolution is not None
        assert rows.pi is not None
        raw, estimate = self._deconvolution.variances(rows.pi, rows.point - rows.location)
        return np.sqrt(estimate / raw)

    def _pool(self, rows: _Outputs, residuals: FloatArray | None) -> Pool:
        """Pool of the sharpened prediction and of quantiles (b, q) of local residuals; normal without either."""
        parts = []
        if rows.pi is not None:
            assert self._deconvolution is not None
            deviations = self._deconvolution.deviations(rows.pi, self._iterations)
            parts.append(rows.point[:, None] + (self._width * self._narrowing(rows))[:, None] * deviations)
        if residuals is not None:
            parts.append(rows.point[:, None] + residuals)
        if not parts:
            parts.append(rows.point[:, None] + self.deviation_ * NORMAL_QUANTILES)
        return Pool(parts, rows.point, TAIL_WIDTH * self.deviation_)

    def _local(self, rows: _Outputs) -> FloatArray | None:
        return None if self._residuals is None else self._residuals.quantiles(rows.point, self._variance(rows))

    def _made(self, outputs: _Outputs, residuals: FloatArray | None = None) -> BinnedDistribution:
        """Distributions block by block, of local residuals' quantiles (n, q) if they are given."""

        def blocks() -> Iterator[tuple[slice, Rows]]:
            for start in range(0, len(outputs.point), _BLOCK_ROWS):
                at = slice(start, start + _BLOCK_ROWS)
                rows = outputs.take(at)
                pool = self._pool(rows, self._local(rows) if residuals is None else residuals[at])
                yield at, pool.rows() if self._atoms is None else pool_with_atoms(pool, self._atoms)

        return BinnedDistribution._from_valid(joined(blocks(), len(outputs.point)))

    def _best_atoms(self, ties: Ties, outputs: _Outputs, target: FloatArray, weight: FloatArray) -> Atoms | None:
        judged = thinned(len(target), _JUDGED_ROWS_ATOMS)
        rows, target, weight = outputs.take(judged), target[judged], weight[judged]
        reaches = (np.inf,) if ties.discrete else tuple(reach * self.deviation_ for reach in _REACHES)
        choices = [None, *(ties.catch(reach) for reach in reaches)]
        pool = self._pool(rows, self._local(rows))
        scores = []
        for atoms in choices:
            made = BinnedDistribution._from_valid(pool.rows() if atoms is None else pool_with_atoms(pool, atoms))
            scores.append(float(np.average(made.crps(target), weights=weight)))
        return choices[int(np.argmin(scores))]


def _distinct(outputs: _Outputs, target: FloatArray, weight: FloatArray) -> tuple[_Outputs, FloatArray, FloatArray]:
    """One row for all that are the same, with their weight: a repeated row then cannot vouch for itself."""
    used = np.flatnonzero(weight > 0)
    columns = [outputs.location[used], outputs.point[used], target[used]]
    if outputs.pi is not None:
        # not a matrix product, whose rounding depends on a row's place
        columns.append((outputs.pi[used] * np.arange(outputs.pi.shape[1])).sum(axis=1))
    order = np.lexsort(columns[::-1])
    keys = np.stack(columns)[:, order]
    first = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))[: len(order)])
    merged: FloatArray = np.add.reduceat(weight[used][order], first) if len(first) else np.empty(0)
    rows = used[order[first]]
    return outputs.take(rows), target[rows], merged / merged.mean() if len(first) else merged


def _deviation(error: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    """Root mean square error, a hair at least, for a model that makes none on these rows."""
    # where targets are alike but far from 0, rounding leaves a trillionth of them
    floor = max(1e-6 * float(np.ptp(target)), 1e-12 * float(np.abs(target).max()), np.finfo(np.float64).tiny)
    return max(float(np.sqrt(np.average(np.square(error), weights=weight))), floor)


def _column(name: str, values: ArrayLike, n: int | None = None) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or (n is not None and len(array) != n):
        raise ValueError(f"{name} has shape {array.shape}, expected ({'n' if n is None else n},)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has {array[~np.isfinite(array)][0]}, expected finite numbers")
    return array


def _weight(name: str, values: ArrayLike, n: int) -> FloatArray:
    weight = _column(name, values, n)
    if (weight < 0).any():
        raise ValueError(f"{name} has {weight.min()}, expected numbers of at least 0")
    return weight
