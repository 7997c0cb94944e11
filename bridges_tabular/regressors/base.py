"""The door of every regressor: check, hold out, scale, let an engine train, calibrate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from copy import copy
from numbers import Integral
from operator import methodcaller
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.card import describe_columns, describe_targets, target_names, write_card
from bridges_tabular.regressors.constraints import check, constraints
from bridges_tabular.regressors.engine import Engine, Parts, Trained, entry, held_out
from bridges_tabular.regressors.folders import new_folder
from bridges_tabular.regressors.forecast import Calibrated, CalibratedForecast, Forecast
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Listener, Report, as_report
from bridges_tabular.regressors.rows import Rows, check_eval_set
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import TableEncoder, check_table

Floats = NDArray[np.float64]

CALIBRATION_CONSTRAINTS: dict[str, Any] = constraints("calibration", "calibration_fraction")
# distributions are made for so many rows at once where only a few numbers of each are asked for
_DISTRIBUTION_ROWS = 2048


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

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        check(self._parameter_constraints, self.get_params(deep=False), type(self).__name__)

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        eval_set: Any = None,
        *,
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
        fitted._fit(X, y, sample_weight, eval_set, prepared or Prepared(), as_report(report))
        self.__dict__ = fitted.__dict__
        return self

    def predict(self, X: Any) -> Floats:
        """Predict the mean of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        array of shape (n,), or (n, targets) if y was of that shape, in the units of the target
        """
        forecasts = self._forecast(X)
        point = self.scale_.restore(np.stack([forecast.point for forecast in forecasts], axis=1))
        return point[:, 0] if self._single else point

    def _has_distribution(self) -> bool:
        return SCHEMES[self.scheme].has_distribution or self.calibration != "none"

    @available_if(methodcaller("_has_distribution"))  # type: ignore[untyped-decorator]
    def predict_distribution(self, X: Any) -> BinnedDistribution | list[BinnedDistribution]:
        """Predict the distribution of the target; a scheme without a code has one only if it is calibrated.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target; a list with one for every target if y was of shape
        (n, targets)
        """
        forecasts = self._forecast(X)
        distributions = [one.distribution(of) for one, of in zip(self._calibrated, forecasts, strict=True)]
        return distributions[0] if self._single else distributions

    @available_if(methodcaller("_has_distribution"))  # type: ignore[untyped-decorator]
    def predict_quantiles(self, X: Any, levels: ArrayLike) -> Floats:
        """Predict quantiles of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        levels : float or array of shape (q,)
            Probabilities between 0 and 1.

        Returns
        -------
        array of shape (n, q), or (n, q, targets), in the units of the target; they never cross
        """
        wanted = np.atleast_1d(np.asarray(levels, dtype=float))
        return self._of_distributions(X, lambda _, distribution: distribution.quantile(wanted))

    @available_if(methodcaller("_has_distribution"))  # type: ignore[untyped-decorator]
    def predict_interval(self, X: Any, coverage: float = 0.9, conformal: bool = False) -> Floats:
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

        Returns
        -------
        array of shape (n, 2), or (n, 2, targets), lower and upper ends in the units of the target

        Raises
        ------
        ValueError
            If there are too few held-out rows for ``coverage``; says how many are needed.
        """
        return self._of_distributions(X, lambda one, distribution: one.interval(distribution, coverage, conformal))

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
        own, arrays = self._trained.state()
        state = {
            "params": self._saved_params(),
            "columns": self._columns.to_dict(),
            "named": hasattr(self, "feature_names_in_"),
            "single": self._single,
            "facts": self.facts_,
            "engine": own,
        }
        named = {f"engine.{name}": array for name, array in arrays.items()}
        named |= {f"scale.{name}": array for name, array in self.scale_.arrays().items()}
        for index, one in enumerate(self._calibrated):
            named |= {f"calibration.{index}.{name}": array for name, array in one.arrays().items()}
        artifacts.write_state(folder, state)
        artifacts.write_arrays(folder, named)
        write_card(folder, self, artifacts.header(self), [one.validation_scores() for one in self._calibrated])

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
        with artifacts.opened(directory, cls.__name__) as (state, arrays):
            model = cls(**entry(state, "params", dict))
            # whether there is such a device does not matter here
            BridgeRegressor.check_params(model)
            model._columns = TableEncoder.from_dict(entry(state, "columns", dict))
            model.n_features_in_ = model._columns.n_features_in_
            if entry(state, "named", bool):
                model.feature_names_in_ = np.asarray(model._columns.feature_names_in_, dtype=object)
            model._single, model.facts_ = entry(state, "single", bool), entry(state, "facts", dict)
            model.scale_ = TargetScale.from_arrays(arrays.part("scale."))
            engine = model._engine(model._columns, Prepared())
            model._trained = engine.restore(entry(state, "engine", dict), arrays.part("engine."), trusted)
            model._calibrated = [
                CalibratedForecast.from_arrays(model.scale_, index, code, arrays.part(f"calibration.{index}."))
                for index, code in enumerate(model._trained.codes)
            ]
            if len(model._calibrated) != len(model.scale_.mean):
                raise arrays.error(
                    "scale.mean", f"is of {len(model.scale_.mean)} targets, not {len(model._calibrated)}"
                )
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_trained")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _saved_params(self) -> dict[str, Any]:
        params: dict[str, Any] = self.get_params(deep=False)
        if not isinstance(self.random_state, Integral):
            params["random_state"] = None
        return params

    def _fit(self, X: Any, y: Any, sample_weight: Any, eval_set: Any, prepared: Prepared, report: Report) -> None:
        seed, random = self._draws()
        train, validation, conformal, everything = self._read(X, y, sample_weight, eval_set, random, prepared)
        names = target_names(y, train.y.shape[1])
        if not self._continued():
            frames = [rows.X for rows in (train, validation, conformal) if rows is not None]
            self._columns = prepared.get(lambda: TableEncoder().fit(*frames), frames, "columns")
            self.scale_ = TargetScale.fit(train.y, train.weight)
        columns = prepared.get(lambda: describe_columns(train.X, self._columns), [train.X, self._columns], "facts")
        self.facts_ = {"rows": len(train), "columns": columns, "targets": describe_targets(train.y, names)}
        given = train, validation, conformal, everything
        parts = Parts(*(None if rows is None else rows.standard(self.scale_) for rows in given))  # type: ignore[arg-type]
        engine = self._engine(self._columns, prepared)
        trained = engine.train(parts.train, parts.validation, seed, report.in_units(self.scale_))
        self._calibrated = self._calibrate(trained, train, parts, seed)
        self._trained = self._finish(engine, trained, parts, seed)
        if self._trained is not trained:
            pairs = zip(self._calibrated, self._trained.codes, strict=True)
            self._calibrated = [one.with_code(code) for one, code in pairs]

    def _draws(self) -> tuple[int, np.random.RandomState]:
        """The seed of the engine, and what draws the rows to hold out."""
        given = self.random_state
        seed = int(given) if isinstance(given, Integral) else int(check_random_state(given).randint(2**31 - 1))
        return seed, np.random.RandomState(seed)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, eval_set: Any, random: np.random.RandomState, prepared: Prepared
    ) -> tuple[Rows, Rows | None, Rows | None, Rows | None]:
        """Check the arguments of ``fit`` and divide the rows; those of :class:`Parts`, in the user's units."""
        several = bool(self.__sklearn_tags__().target_tags.multi_output)
        train = Rows.read(self, X, y, sample_weight, "y", reset=not self._continued(), several=several)
        if self._continued() and train.y.shape[1] != len(self.scale_.mean):
            raise ValueError(f"y has {train.y.shape[1]} targets, that of the fit to go on from {len(self.scale_.mean)}")
        self._single = not (several and np.asarray(y).ndim == 2)
        given = check_eval_set(eval_set)
        validation = everything = conformal = None
        if given is not None:
            validation = Rows.read(self, *given, "y of eval_set", reset=False, several=several)
            if validation.y.shape[1] != train.y.shape[1]:
                raise ValueError(f"y has {train.y.shape[1]} targets, y of eval_set {validation.y.shape[1]}")
        apart = self._conformal_share()
        if apart is not None:
            train, conformal = train.hold_out(apart, random, prepared)
        share = self._held_out_share()
        if validation is None and share is not None:
            everything = train
            train, validation = train.hold_out(share, random, prepared)
        return train, validation, conformal, everything

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
        for start in range(0, len(forecasts[0].point), _DISTRIBUTION_ROWS):
            at = slice(start, start + _DISTRIBUTION_ROWS)
            pairs = [(one, rows.take(at)) for one, rows in zip(self._calibrated, forecasts, strict=True)]
            results = [of(one, one.distribution(rows)) for one, rows in pairs]
            blocks.append(results[0] if self._single else np.stack(results, axis=-1))
        return np.concatenate(blocks)
