"""The door of every regressor: check, hold out, scale, let an engine train, calibrate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from copy import copy, deepcopy
from numbers import Integral
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors import artifacts, saving
from bridges_tabular.regressors.available import available_if
from bridges_tabular.regressors.card import describe_columns, describe_targets, target_names
from bridges_tabular.regressors.constraints import check, constraints
from bridges_tabular.regressors.engine import Engine, Parts, Trained, held_out
from bridges_tabular.regressors.exposure import scaled, scaled_distribution
from bridges_tabular.regressors.folders import new_folder
from bridges_tabular.regressors.forecast import DISTRIBUTION_ROWS, Calibrated, CalibratedForecast, Forecast
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Listener, Report, as_report
from bridges_tabular.regressors.reading import read
from bridges_tabular.regressors.rows import Given, Rows, check_validation
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import TableEncoder, check_table, index_of
from bridges_tabular.regressors.transforms import check_units
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from bridges_tabular.core.codec import TargetCodec

Floats = NDArray[np.float64]

CALIBRATION_CONSTRAINTS: dict[str, Any] = constraints("calibration", "calibration_fraction")


class BridgeRegressor(RegressorMixin, BaseEstimator, ABC):
    """Base class of regressors: it checks, holds out, scales and calibrates; an :class:`Engine` trains.

    A subclass names its hyper-parameters in ``__init__``, what they may be in ``_parameter_constraints`` (in
    scikit-learn's notation, with :data:`CALIBRATION_CONSTRAINTS` among them), and builds its engine in ``_engine``.
    ``scheme`` and ``random_state`` are parameters or attributes of every one.
    """

    _parameter_constraints: dict[str, Any]
    scheme: str
    calibration: str
    calibration_fraction: float | None
    random_state: int | np.random.RandomState | None

    @abstractmethod
    def _engine(self, columns: TableEncoder, prepared: Prepared) -> Engine:
        """The engine for a table with such columns."""

    def _held_out_share(self) -> float | None:
        """Share of the rows to hold out for validation where ``fit`` is given none; None for no share."""
        share: float | None = getattr(self, "validation_fraction", None)
        return share

    def _conformal_share(self) -> float | None:
        """Share of the training rows to hold out for conformal intervals alone."""
        return self.calibration_fraction

    def _continued(self) -> bool:
        """Whether a fit goes on from the last one, in its units and with its columns."""
        return False

    def _finish(self, engine: Engine, trained: Trained, parts: Parts, seed: int) -> Trained:
        """What is left to do after calibration; returns the model that predicts."""
        return trained

    def _units(self) -> tuple[Any, Any]:
        """The parameters ``support`` and ``target_transform``, of regressors that have them."""
        return getattr(self, "support", None), getattr(self, "target_transform", None)

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        check(self._parameter_constraints, self.get_params(deep=False), type(self).__name__)
        check_units(*self._units())
        if self._units() != (None, None) and not _has_distribution(self.scheme, self.calibration):
            raise ValueError(
                f"support and target_transform need a distribution, which scheme={self.scheme!r} has with a calibration"
            )

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        eval_set: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        exposure: ArrayLike | None = None,
        exposure_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        prepared: Prepared | None = None,
        report: Listener | Report | None = None,
    ) -> Self:
        """Fit to a table.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            Numbers, booleans, categories and dates; missing values are allowed.
        y : array of shape (n,), or (n, targets) where the regressor takes several
        sample_weight : array of shape (n,), optional
            Only their ratios matter; a row of weight 0 is left out.
        eval_set : (X, y), (X, y, sample_weight) or a list holding one such tuple, optional
            Validation rows, for early stopping and calibration. Default: a seeded share of the rows is held out.
        X_val, y_val : DataFrame or array of shape (m, p), array of shape (m,) or (m, targets), optional
            The same by the names that a scikit-learn pipeline can route and transform:
            ``Pipeline(steps, transform_input=["X_val"])``.
        exposure : array of shape (n,), optional
            How long, or how much, each row was observed, such as policy years: y is the total over it. What is learned
            is the rate ``y / exposure``, with ``exposure`` times ``sample_weight`` as weight; a ``support`` and a
            ``target_transform`` are of the rate. Predictions for an exposure ``e`` are those of the rate, times ``e``:
            mean, quantiles and the whole distribution. That assumes that the distribution of the rate does not get
            narrower with exposure. Sums of independent claims do: their means are right all the same, but the
            distributions are too wide for exposures above those of the training, and too narrow below.
        exposure_val : array of shape (m,), optional
            That of the validation rows, where there are any; goes with ``exposure``.
        groups : array of shape (n,), optional
            Rows of the same customer, patient or place, say: no group is held out in part, for validation or for
            conformal intervals, nor lies in two folds of a cross-fitted location. Shares are then of groups.
        prepared : Prepared, optional
            What fits on the same rows share, see :class:`~bridges_tabular.regressors.prepared.Prepared`.
        report : callable, optional
            Called as ``report(step, total, scores)`` after each epoch or round, see
            :class:`~bridges_tabular.regressors.progress.Report`.

        Raises
        ------
        ValueError
            Before any training, if a parameter, column, target or weight cannot be used. The last fit stays.
        """
        self.check_params()
        fitted = copy(self)
        validation = check_validation(eval_set, X_val, y_val, exposure_val)
        given = Given(X, y, sample_weight, exposure=exposure, groups=groups)
        fitted._fit(given, validation, prepared or Prepared(), as_report(report))
        self.__dict__ = fitted._remember().__dict__
        return self

    def predict(self, X: Any, exposure: ArrayLike | None = None) -> Floats:
        """Predict the mean of the target; with a support or a target_transform, that of the distribution.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        exposure : float or array of shape (n,), optional
            Of the rows, see :meth:`fit`; default: 1, which is the rate.

        Returns
        -------
        array of shape (n,), or (n, targets) if y was of that shape, in the units of the target
        """
        check_is_fitted(self)
        if not self.scale_.plain:
            return scaled(self._of_distributions(X, lambda _, distribution: distribution.mean), exposure)
        forecasts = self._forecast(X)
        point = self.scale_.restore(np.stack([forecast.point for forecast in forecasts], axis=1))
        return scaled(point[:, 0] if self._single else point, exposure)

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, exposure: ArrayLike | None = None
    ) -> float:
        """Share of the target's variance that predictions explain: scikit-learn's R2, of totals where given exposure.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        y : array of shape (n,), or (n, targets)
        sample_weight, exposure : array of shape (n,), optional
        """
        return float(r2_score(y, self.predict(X, exposure), sample_weight=sample_weight))

    def _has_distribution(self) -> bool:
        return _has_distribution(self._of_fit("scheme"), self._of_fit("calibration"))

    @available_if(methodcaller("_has_distribution"))
    def predict_distribution(self, X: Any, exposure: ArrayLike | None = None) -> BinnedDistribution | Any:
        """Predict the distribution of the target; a scheme without a code has one only if it is calibrated.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        exposure : float or array of shape (n,), optional
            Of the rows, see :meth:`fit`; default: 1, which is the rate.

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target, with the index of X if that is a DataFrame; a list
        with one for every target if y was of shape (n, targets)
        """
        forecasts = self._forecast(X)
        pairs = zip(self._calibrated, forecasts, strict=True)
        rated = [one.distribution(of).with_index(index_of(X)) for one, of in pairs]
        distributions = [scaled_distribution(one, exposure) for one in rated]
        return distributions[0] if self._single else distributions

    @available_if(methodcaller("_has_distribution"))
    def predict_quantiles(self, X: Any, levels: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Predict quantiles of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        levels : float or array of shape (q,)
            Probabilities between 0 and 1.
        exposure : float or array of shape (n,), optional
            Of the rows, see :meth:`fit`; default: 1, which is the rate.

        Returns
        -------
        array of shape (n, q), or (n, q, targets), in the units of the target; they never cross
        """
        wanted = np.atleast_1d(np.asarray(levels, dtype=float))
        return scaled(self._of_distributions(X, lambda _, distribution: distribution.quantile(wanted)), exposure)

    @available_if(methodcaller("_has_distribution"))
    def predict_interval(
        self, X: Any, coverage: float = 0.9, conformal: bool = False, exposure: ArrayLike | None = None
    ) -> Floats:
        """Predict central intervals that hold the target with probability ``coverage``.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        coverage : float, default=0.9
        conformal : bool, default=False
            Widen or narrow the intervals to the coverage they had on held-out rows, see
            :class:`~bridges_tabular.core.calibration.ConformalIntervals`. The finite-sample guarantee stated there
            holds with a ``calibration_fraction``, whose rows serve for nothing else. Without one, the validation
            rows are used, which have already decided when to stop and how to calibrate: coverage is then close to
            what was asked, but not guaranteed. Of more than 8,192 rows, so many are drawn, by the seed.
        exposure : float or array of shape (n,), optional
            Of the rows, see :meth:`fit`; default: 1, which is the rate.

        Returns
        -------
        array of shape (n, 2), or (n, 2, targets), lower and upper ends in the units of the target

        Raises
        ------
        ValueError
            If there are too few held-out rows for ``coverage``; says how many are needed.
        """
        ends = self._of_distributions(X, lambda one, distribution: one.interval(distribution, coverage, conformal))
        return scaled(ends, exposure)

    @property
    def codecs_(self) -> list[TargetCodec]:
        """Bins, encoder and decoder of every target, in units of ``codec_scales_``; empty without a code."""
        check_is_fitted(self)
        return list(self._trained.codecs)

    @property
    def codec_scales_(self) -> list[TargetScale]:
        """What turns positions of each of ``codecs_`` into units of the target, or of what a location leaves of it."""
        check_is_fitted(self)
        return [one.codec_scale for one in self._calibrated] if self._trained.codecs else []

    @property
    def date_columns_(self) -> list[str]:
        """Names of the columns that were dates."""
        check_is_fitted(self)
        return list(self._columns.dates)

    @property
    def text_columns_(self) -> list[str]:
        """Names of the columns whose categories were text."""
        check_is_fitted(self)
        return self._columns.text_columns

    def save(self, directory: str | Path) -> None:
        """Write the fitted model to a folder of JSON and safetensors; a model that was saved there is replaced.

        With it go the parameters that it was fitted with, whatever they have been set to since.
        Objects among the parameters (callbacks, a ``random_state`` that is no integer) are not saved.

        Raises
        ------
        FileExistsError
            If the folder holds something else than a saved model.
        """
        check_is_fitted(self)
        with new_folder(directory, artifacts.header(self)) as folder:
            self.write(folder)

    def write(self, folder: Path) -> None:
        """Write the files of the fitted model to an empty folder; :meth:`save` makes it whole with a manifest."""
        saving.write(self, folder)

    @classmethod
    def load(cls, directory: str | Path, trusted: Collection[str] = ()) -> Self:
        """Read a model that :meth:`save` wrote; it predicts the same to the last bit.

        Parameters
        ----------
        directory : path
        trusted : collection of str
            Import paths of classes of your own that the model was made with. Others that it names are not imported.

        Raises
        ------
        FileNotFoundError
            If the folder or one of its files does not exist.
        ValueError
            If the folder holds another model, a format of another version, or a file that is not as it was saved.
        """
        return cls._from_saved(artifacts.Saved.read(directory, [cls.__name__]), trusted)

    @classmethod
    def _from_saved(cls, saved: artifacts.Saved, trusted: Collection[str]) -> Self:
        """Rebuild a model from the files that :meth:`write` wrote."""
        return saving.read(cls, saved, trusted)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_trained")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _remember(self) -> Self:
        """Keep the parameters of the fit that has just ended: they may be set to others before it is used or saved."""
        # lists and dicts may change in place
        self._fitted_params = {
            name: deepcopy(value) if isinstance(value, list | tuple | dict) else value
            for name, value in self._saved_params().items()
        }
        return self

    def _of_fit(self, name: str) -> Any:
        """A parameter as the last fit had it; as it is, where there was no fit."""
        fitted: dict[str, Any] = getattr(self, "_fitted_params", {})
        return fitted.get(name, getattr(self, name))

    def _saved_params(self) -> dict[str, Any]:
        """The parameters of a fit, as a saved model holds them."""
        params: dict[str, Any] = self.get_params(deep=False)
        if not isinstance(self.random_state, Integral):
            params["random_state"] = None
        return params

    def _fit(self, given: Given, watched: Given | None, prepared: Prepared, report: Report) -> None:
        seed, random = self._draws()
        train, validation, conformal, everything = read(self, given, watched, random, prepared)
        names = target_names(given.y, train.y.shape[1])
        if self._continued():
            self._check_units_stay()
        else:
            frames = [rows.X for rows in (train, validation, conformal) if rows is not None]
            self._columns = prepared.get(lambda: TableEncoder().fit(*frames), frames, "columns")
            self.scale_ = TargetScale.fit(train.y, train.weight, *self._units())
        columns = prepared.get(lambda: describe_columns(train.X, self._columns), [train.X, self._columns], "facts")
        self.facts_ = {"rows": len(train), "columns": columns, "targets": describe_targets(train.y, names)}
        for rows, name in ((train, "y"), (validation, watched.name if watched is not None else "y"), (conformal, "y")):
            if rows is not None:
                self.scale_.check(rows.y, name)
        if validation is conformal is None and not (self.scale_.plain or SCHEMES[self.scheme].has_code):
            raise ValueError(f"support and target_transform need validation rows with scheme={self.scheme!r}")
        kept = train, validation, conformal, everything
        parts = Parts(*(None if rows is None else rows.standard(self.scale_) for rows in kept))  # type: ignore[arg-type]
        engine = self._engine(self._columns, prepared)
        trained = engine.train(parts.train, parts.validation, seed, report.in_units(self.scale_))
        self._calibrated = self._calibrate(trained, train, parts, seed)
        self._trained = self._finish(engine, trained, parts, seed)
        if self._trained is not trained:
            pairs = zip(self._calibrated, self._trained.codes, strict=True)
            self._calibrated = [one.with_code(code) for one, code in pairs]

    def _check_units_stay(self) -> None:
        """Refuse to go on from a fit in other units."""
        for name, now in zip(("support", "target_transform"), self._units(), strict=True):
            # a saved pair comes back as a list
            before, now = (tuple(one) if isinstance(one, list) else one for one in (self._of_fit(name), now))
            if before != now:
                raise ValueError(f"warm_start: the last fit had {name}={shown(before)}, this one has {shown(now)}")

    def _draws(self) -> tuple[int, np.random.RandomState]:
        """The seed of the engine, and what draws the rows to hold out."""
        given = self.random_state
        seed = int(given) if isinstance(given, Integral) else int(check_random_state(given).randint(2**31 - 1))
        return seed, np.random.RandomState(seed)

    def _calibrate(self, trained: Trained, train: Rows, parts: Parts, seed: int) -> list[CalibratedForecast]:
        validation, conformal = (held_out(trained, rows, seed) for rows in (parts.validation, parts.conformal))
        return [
            CalibratedForecast.fit(
                self.scale_,
                target,
                self.calibration,  # type: ignore[arg-type]
                code,
                None if validation is None else validation[target],
                y_train=train.y[:, target],
                train_weight=train.weight,
                conformal=None if conformal is None else conformal[target],
            )
            for target, code in enumerate(trained.codes)
        ]

    def _forecast(self, X: Any) -> Sequence[Forecast]:
        check_is_fitted(self)
        return self._trained.forecast(check_table(self, X, reset=False))

    def _of_distributions(self, X: Any, of: Callable[[Calibrated, BinnedDistribution], NDArray[np.float64]]) -> Floats:
        """Numbers of each row's distribution, made for a block of rows at a time."""
        forecasts = self._forecast(X)
        blocks = []
        for start in range(0, len(forecasts[0].point), DISTRIBUTION_ROWS):
            at = slice(start, start + DISTRIBUTION_ROWS)
            pairs = [(one, rows.take(at)) for one, rows in zip(self._calibrated, forecasts, strict=True)]
            results = [of(one, one.distribution(rows)) for one, rows in pairs]
            blocks.append(results[0] if self._single else np.stack(results, axis=-1))
        return np.concatenate(blocks)


def _has_distribution(scheme: str, calibration: str) -> bool:
    return SCHEMES[scheme].has_distribution or calibration != "none"
