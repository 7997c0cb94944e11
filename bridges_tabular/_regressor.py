"""What both engines' regressors share: parameter checks, calibration, quantiles and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from bridges_tabular.core.calibration import CALIBRATIONS, Calibration, ConformalIntervals, DistributionCalibrator
from bridges_tabular.core.encoders import TargetEncoder

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution

Floats = NDArray[np.float64]

CALIBRATION_CONSTRAINTS: dict[str, Any] = {
    "calibration": [StrOptions(set(CALIBRATIONS))],
    "calibration_fraction": [Interval(Real, 0, 1, closed="neither"), None],
}


class Forecast(NamedTuple):
    """What a fitted engine says of n rows, in the user's units."""

    point: Floats
    """(n,)"""
    pi: Floats | None = None
    """(n, k) masses of the encoder's classes; None where none were trained towards its codes."""
    location: Floats | None = None
    """(n,), where the bins lie on the target less this number."""


class HeldOut(NamedTuple):
    """Forecasts of n rows that were not trained on, their targets in the user's units, and their weights."""

    forecast: Forecast
    y: Floats
    weight: Floats | None = None


class BridgeRegressorMixin(RegressorMixin):
    """Mixin for regressors that offer ``predict_distribution``.

    A class names its hyper-parameters and what they may be in ``_parameter_constraints``, in scikit-learn's
    own notation, with :data:`CALIBRATION_CONSTRAINTS` among them. Its ``fit`` ends with :meth:`_fit_calibration`,
    and its ``predict_distribution(X)`` returns :meth:`_distribution` of the rows' forecast.
    """

    _parameter_constraints: dict[str, Any]
    _units: tuple[float, float]
    _calibrator: DistributionCalibrator | None
    _conformal: ConformalIntervals | None
    _atoms: Floats

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )

    def predict_quantiles(self, X: Any, levels: ArrayLike) -> NDArray[np.float64]:
        """Predict quantiles of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        levels : float or array of shape (q,)
            Probabilities between 0 and 1.

        Returns
        -------
        array of shape (n, q), in the units of the target; columns never cross.
        """
        distribution: BinnedDistribution = self.predict_distribution(X)
        return distribution.quantile(np.atleast_1d(np.asarray(levels, dtype=float)))

    def predict_interval(self, X: Any, coverage: float = 0.9, conformal: bool = False) -> NDArray[np.float64]:
        """Predict central intervals that hold the target with probability ``coverage``.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        coverage : float, default=0.9
        conformal : bool, default=False
            Widen or narrow the intervals to the coverage they had on held-out rows, see
            :class:`~bridges_tabular.core.conformal.ConformalIntervals`. The finite-sample guarantee stated there
            holds with a ``calibration_fraction``, whose rows serve for nothing else. Without one, the validation
            rows are used, which have already decided when to stop and how to calibrate: coverage is then close to
            what was asked, but not guaranteed.

        Returns
        -------
        array of shape (n, 2), lower and upper ends in the units of the target.

        Raises
        ------
        ValueError
            If there are too few held-out rows for ``coverage``; says how many are needed.
        """
        return self._interval(self.predict_distribution(X), coverage, conformal)

    def _fit_calibration(
        self,
        encoder: TargetEncoder | None,
        units: tuple[float, float],
        validation: HeldOut | None,
        *,
        y_train: Floats,
        train_weight: Floats | None = None,
        conformal: HeldOut | None = None,
    ) -> None:
        """Fit what turns forecasts into distributions and intervals; the last step of an engine's ``fit``.

        Parameters
        ----------
        encoder : TargetEncoder or None
            The code that pi was trained on; None without pi.
        units : (mean, scale)
            The encoder's bins lie on ``(y - mean - location) / scale``.
        validation : HeldOut or None
            Rows for the calibrator. Without any, the distribution is the plain histogram.
        y_train, train_weight : arrays of shape (m,)
            Training targets in the user's units and their weights.
        conformal : HeldOut or None
            Rows for the conformal intervals alone; default: the validation rows.
        """
        # a regressor without classes has one way to a distribution, whatever is asked of those with classes
        asked: Calibration = self.calibration
        method: Calibration = asked if encoder is not None or asked == "none" else "pooled"
        held_out = validation if validation is not None else conformal
        self._units, self._calibrator, self._conformal = units, None, None
        self._atoms = np.empty(0)
        if held_out is None:
            if encoder is not None:
                nothing = np.empty((0, encoder.bins.n_bins))
                self._calibrator = DistributionCalibrator("none").fit(nothing, encoder, [], [])
            return
        if encoder is None and method == "none":
            return
        self._calibrator = DistributionCalibrator(method)
        forecast = self._standardised(held_out.forecast)
        self._calibrator.fit(
            forecast.pi if encoder is not None else None,
            encoder,
            forecast.point,
            self._in_units(held_out.y),
            location=forecast.location,
            sample_weight=held_out.weight,
            y_train=self._in_units(y_train),
            train_weight=train_weight,
        )
        self._atoms = self._exact_atoms(y_train)
        if conformal is not None and conformal is not held_out:
            scored = self._distribution(conformal.forecast)
            self._conformal = ConformalIntervals().fit(scored, conformal.y, conformal.weight)
            return
        y = self._in_units(held_out.y)
        scored = self._calibrator.predict_held_out(
            forecast.pi if encoder is not None else None,
            forecast.point,
            y,
            location=forecast.location,
            sample_weight=held_out.weight,
        )
        self._conformal = ConformalIntervals().fit(scored, y, held_out.weight)

    def _interval(self, distribution: BinnedDistribution, coverage: float, conformal: bool) -> Floats:
        """Intervals (n, 2) of predictive distributions."""
        if not conformal:
            return distribution.interval(coverage)
        if self._conformal is None:
            raise ValueError("conformal=True needs held-out rows: fit with an eval_set or a calibration_fraction")
        return self._conformal.interval(distribution, coverage)

    def _distribution(self, forecast: Forecast) -> BinnedDistribution:
        """Predictive distributions of forecast rows, in the user's units."""
        if self._calibrator is None:
            raise ValueError("a model without classes needs calibration and validation rows to predict distributions")
        mean, scale = self._units
        rows = self._standardised(forecast)
        pi = rows.pi if self._calibrator.encoder is not None else None
        distribution = self._calibrator.predict(pi, rows.point, location=rows.location).affine(scale, mean)
        return _moved_to(self._atoms, scale * self._in_units(self._atoms) + mean, distribution)

    def _calibration_arrays(self) -> dict[str, NDArray[np.float64]]:
        """State of the calibration as named arrays, all of their names beginning with "calibration."."""
        arrays: dict[str, NDArray[Any]] = {"units": np.array(self._units), "atoms": self._atoms}
        if self._calibrator is not None:
            arrays["method"] = np.array([CALIBRATIONS.index(self._calibrator.method)])
        for name, part in {"calibrator": self._calibrator, "conformal": self._conformal}.items():
            if part is not None:
                arrays |= {f"{name}.{key}": array for key, array in part.arrays().items()}
        return {f"calibration.{name}": array for name, array in arrays.items()}

    def _load_calibration(self, encoder: TargetEncoder | None, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore the state from arrays among which are those of :meth:`_calibration_arrays`."""

        def named(prefix: str) -> dict[str, NDArray[Any]]:
            start = f"calibration.{prefix}"
            return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}

        state, calibrator, conformal = named(""), named("calibrator."), named("conformal.")
        mean, scale = state["units"].tolist()
        self._units, self._calibrator, self._atoms = (mean, scale), None, state["atoms"]
        if calibrator:
            method = CALIBRATIONS[int(state["method"][0])]
            self._calibrator = DistributionCalibrator.from_arrays(method, encoder, calibrator)
        self._conformal = ConformalIntervals.from_arrays(conformal) if conformal else None

    def _exact_atoms(self, y_train: Floats) -> Floats:
        """Training targets that the calibrator made atoms of, in the user's units."""
        assert self._calibrator is not None
        values = np.unique(y_train)
        atoms: Floats = values[np.isin(self._in_units(values), self._calibrator.arrays().get("atoms.values", []))]
        return atoms

    def _standardised(self, forecast: Forecast) -> Forecast:
        location = None if forecast.location is None else forecast.location / self._units[1]
        return Forecast(self._in_units(forecast.point), forecast.pi, location)

    def _in_units(self, y: Floats) -> Floats:
        mean, scale = self._units
        return (np.asarray(y, dtype=np.float64) - mean) / scale


def _moved_to(atoms: Floats, rounded: Floats, distribution: BinnedDistribution) -> BinnedDistribution:
    """Move edges from where standardising and back has put atoms to the atoms themselves.

    An interval that ends on an atom would otherwise leave it out by the last digit.
    """
    if not atoms.size:
        return distribution
    edges = distribution.edges
    nearest = np.clip(np.searchsorted(rounded, edges), 0, len(rounded) - 1)
    edges = np.maximum.accumulate(np.where(rounded[nearest] == edges, atoms[nearest], edges), axis=-1)
    return type(distribution)._from_valid(distribution._rows._replace(edges=edges))
