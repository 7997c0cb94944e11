"""What an engine says of rows, and how it becomes distributions and intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core import scores
from bridges_tabular.core._cells import Rows, joined
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.calibration import CALIBRATIONS, Calibration, ConformalIntervals, DistributionCalibrator
from bridges_tabular.core.calibration.centring import centred
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.regressors.scale import TargetScale

if TYPE_CHECKING:
    from bridges_tabular.core.encoders import TargetEncoder

Floats = NDArray[np.float64]

# of the held-out rows, whose scores are for a reader
_SCORED_ROWS = 1_000
# Distributions are made for so many rows at a time: with fewer, the calls cost more than the numbers.
DISTRIBUTION_ROWS = 2_048


class Forecast(NamedTuple):
    """What a trained engine says of one target of n rows, in standard units."""

    point: Floats
    """(n,)"""
    pi: Floats | None = None
    """(n, k) masses of the encoder's classes; None where none were trained towards its codes."""
    location: Floats | None = None
    """(n,), where the bins lie on the target less this number."""

    def take(self, rows: slice) -> Forecast:
        """Those of some rows."""
        pi, location = (None if part is None else part[rows] for part in (self.pi, self.location))
        return Forecast(self.point[rows], pi, location)


class Code(NamedTuple):
    """The code that pi was trained on."""

    encoder: TargetEncoder
    unit: float = 1.0
    """What its bins take for 1, in standard units."""
    located: bool = False
    """Whether they lie on what a location leaves of the target, rather than on the target."""


class HeldOut(NamedTuple):
    """Forecasts of n rows that were not trained on, their targets in standard units, and their weights."""

    forecast: Forecast
    y: Floats
    weight: Floats | None = None


class Calibrated(Protocol):
    """What was fitted to held-out rows for one target."""

    def interval(self, distribution: BinnedDistribution, coverage: float, conformal: bool) -> Floats:
        """Intervals of shape (n, 2) of predictive distributions."""
        ...


@dataclass(frozen=True)
class CalibratedForecast:
    """What turns forecasts of one target into distributions and intervals, in the user's units; held by a regressor.

    Attributes
    ----------
    scale : TargetScale
    target : int
        Which of its targets.
    code : Code or None
        That of pi; None without pi.
    calibrator : DistributionCalibrator or None
        None where there is nothing to make a distribution of. In units of the bins, as is what follows.
    conformal : ConformalIntervals or None
        None where no rows were held out.
    atoms : array of shape (a,)
        Training targets that the calibrator made atoms of, in the user's units.
    scores : array of shape (4,)
        Of the held-out rows in standard units: RMSE, MAE, CRPS and the coverage of 90 % intervals; NaN without any.
    """

    scale: TargetScale
    target: int
    code: Code | None
    calibrator: DistributionCalibrator | None
    conformal: ConformalIntervals | None
    atoms: Floats
    scores: Floats

    @classmethod
    def fit(
        cls,
        scale: TargetScale,
        target: int,
        method: Calibration,
        code: Code | None,
        validation: HeldOut | None,
        *,
        y_train: Floats,
        train_weight: Floats | None = None,
        conformal: HeldOut | None = None,
    ) -> Self:
        """Fit to held-out rows; the last step of a regressor's ``fit``.

        Parameters
        ----------
        scale, target, code
            See the class.
        method : {"none", "shrink", "deconvolve", "pooled"}
        validation : HeldOut or None
            Rows for the calibrator. Without any, the distribution is the plain histogram.
        y_train, train_weight : arrays of shape (m,)
            Training targets in the user's units and their weights.
        conformal : HeldOut or None
            Rows for the conformal intervals alone; default: the validation rows.
        """
        # a regressor without classes has one way to a distribution, whatever is asked of those with classes
        method = method if code is not None or method == "none" else "pooled"
        held_out = validation if validation is not None else conformal
        nothing = cls(scale, target, code, None, None, np.empty(0), np.full(4, np.nan))
        if held_out is None:
            if code is None:
                return nothing
            no_rows = np.empty((0, code.encoder.bins.n_bins))
            return replace(nothing, calibrator=DistributionCalibrator("none").fit(no_rows, code.encoder, [], []))
        if code is None and method == "none":
            return nothing
        unit = nothing._unit
        standard = scale.of_codec(target, 1.0, False).standardise(y_train) / unit
        pi, point, location = nothing._in_bins(held_out.forecast)
        y = held_out.y / unit
        calibrator = DistributionCalibrator(method).fit(
            pi,
            None if code is None else code.encoder,
            point,
            y,
            location=location,
            sample_weight=held_out.weight,
            y_train=standard,
            train_weight=train_weight,
        )
        atoms: Floats = np.unique(y_train[np.isin(standard, calibrator.arrays().get("atoms.values", []))])
        apart = calibrator.predict_held_out(pi, point, y, location=location, sample_weight=held_out.weight)
        scored = centred(apart, point)
        if scale.plain:
            found = _scores(scored, point, y, held_out.weight) * np.array([unit, unit, unit, 1.0])
        else:
            found = nothing._scores_in_units(scored, y, atoms, held_out.weight)
        fitted = replace(nothing, calibrator=calibrator, atoms=atoms, scores=found)
        if conformal is not None and conformal is not held_out:
            scored = fitted._of_bins(conformal.forecast)
            return replace(fitted, conformal=ConformalIntervals().fit(scored, conformal.y / unit, conformal.weight))
        return replace(fitted, conformal=ConformalIntervals().fit(scored, y, held_out.weight))

    def distribution(self, forecast: Forecast) -> BinnedDistribution:
        """Predictive distributions of n rows, in the user's units, whose means are the points.

        Raises
        ------
        ValueError
            If the model has no classes and was fitted without calibration, or without validation rows for it.
        """

        def restored(rows: slice) -> Rows:
            made = self._of_bins(forecast.take(rows))
            return self.scale.restore_distribution(made, self.target, self.atoms, self._unit)._rows

        n = len(forecast.point)
        # what is made on the way is larger than the result; no rows have distributions of the same shape
        starts = range(0, n, DISTRIBUTION_ROWS) or (0,)
        blocks = (slice(start, start + DISTRIBUTION_ROWS) for start in starts)
        return BinnedDistribution._from_valid(joined(((at, restored(at)) for at in blocks), n))

    def interval(self, distribution: BinnedDistribution, coverage: float, conformal: bool) -> Floats:
        """Intervals of shape (n, 2) of predictive distributions.

        Raises
        ------
        ValueError
            If conformal intervals are asked for and no rows, or too few, were held out.
        """
        if not conformal:
            return distribution.interval(coverage)
        if self.conformal is None:
            raise ValueError("conformal=True needs held-out rows: fit with an eval_set or a calibration_fraction")
        return self.conformal.interval(distribution, coverage)

    def validation_scores(self) -> dict[str, float]:
        """Scores of the held-out rows in the target's units; empty without any."""
        if np.isnan(self.scores).all():
            return {}
        scale = float(self.scale.scale[self.target])
        rmse, mae, crps, covered = self.scores.tolist()
        return {"RMSE": rmse * scale, "MAE": mae * scale, "CRPS": crps * scale, "coverage of 90 %": covered}

    @property
    def codec_scale(self) -> TargetScale:
        """What turns positions of the bins into the target's units, or into those of what a location leaves of it."""
        return self.scale.of_codec(self.target, self._unit, self.code is not None and self.code.located)

    def with_code(self, code: Code | None) -> Self:
        """The same for a model that was trained again over the same bins."""
        if self.calibrator is None:
            return self
        encoder = None if code is None else code.encoder
        again = DistributionCalibrator.from_arrays(self.calibrator.method, encoder, self.calibrator.arrays())
        return replace(self, code=code, calibrator=again)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays, but for the scale."""
        arrays: dict[str, NDArray[Any]] = {"atoms": self.atoms, "scores": self.scores}
        if self.calibrator is not None:
            arrays["method"] = np.array([CALIBRATIONS.index(self.calibrator.method)])
        for name, part in {"calibrator": self.calibrator, "conformal": self.conformal}.items():
            if part is not None:
                arrays |= {f"{name}.{key}": array for key, array in part.arrays().items()}
        return arrays

    @classmethod
    def from_arrays(cls, scale: TargetScale, target: int, code: Code | None, arrays: Arrays) -> Self:
        """Rebuild from :meth:`arrays`."""
        conformal, calibrator, atoms = arrays.part("conformal."), None, arrays.take_finite("atoms", None)
        if "method" in arrays:
            index = int(arrays.take("method", 1, dtype=np.int64)[0])
            if not 0 <= index < len(CALIBRATIONS):
                raise arrays.error("method", f"holds {index}, expected less than {len(CALIBRATIONS)}")
            encoder = None if code is None else code.encoder
            calibrator = DistributionCalibrator.from_arrays(CALIBRATIONS[index], encoder, arrays.part("calibrator."))
        values = set() if calibrator is None else set(calibrator.arrays().get("atoms.values", np.empty(0)).tolist())
        if len(atoms) < len(values) or (len(atoms) and not values) or (np.diff(atoms) <= 0).any():
            raise arrays.error("atoms", f"must hold {len(values)} ascending numbers")
        return cls(
            scale,
            target,
            code,
            calibrator,
            ConformalIntervals.from_arrays(conformal) if conformal else None,
            atoms,
            arrays.take("scores", 4),
        )

    def _scores_in_units(
        self, distribution: BinnedDistribution, y: Floats, atoms: Floats, weight: Floats | None
    ) -> Floats:
        """Scores of held-out rows after their units have changed back, in deviations of the scale."""
        rows = slice(_SCORED_ROWS)
        restored = self.scale.restore_distribution(distribution[rows], self.target, atoms, self._unit)
        truth = self.scale.of_codec(self.target, self._unit, False).restore(y[rows])
        found = _scores(restored, restored.mean, truth, None if weight is None else weight[rows])
        deviation = float(self.scale.scale[self.target])
        return np.divide(found, [deviation, deviation, deviation, 1.0])

    def _of_bins(self, forecast: Forecast) -> BinnedDistribution:
        """Predictive distributions in units of the bins."""
        if self.calibrator is None:
            raise ValueError("a model without classes needs calibration and validation rows to predict distributions")
        pi, point, location = self._in_bins(forecast)
        return centred(self.calibrator.predict(pi, point, location=location), point)

    @property
    def _unit(self) -> float:
        return 1.0 if self.code is None else self.code.unit

    def _in_bins(self, forecast: Forecast) -> tuple[Floats | None, Floats, Floats | None]:
        location = None if forecast.location is None else forecast.location / self._unit
        return None if self.code is None else forecast.pi, forecast.point / self._unit, location


def _scores(distribution: BinnedDistribution, point: Floats, y: Floats, weight: Floats | None) -> Floats:
    rows = slice(_SCORED_ROWS)
    some = None if weight is None else weight[rows]
    return np.array(
        [
            scores.rmse(y, point, weight),
            scores.mae(y, point, weight),
            scores.crps(distribution[rows], y[rows], some),
            scores.coverage(distribution[rows].interval(0.9), y[rows], some),
        ]
    )
