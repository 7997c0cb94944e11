"""Distributions of a network that pytorch-tabular's own TabularModel has trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.parameters import CALIBRATIONS, Calibration
from bridges_tabular.regressors.engine import drawn
from bridges_tabular.regressors.forecast import CalibratedForecast, Code, Forecast, HeldOut
from bridges_tabular.regressors.rows import check_sample_weight, check_target
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.transforms import of_fitted
from bridges_tabular.regressors.words import hint, shown
from bridges_tabular.tabular.datamodule import TensorTable, tensor_table
from bridges_tabular.tabular.evaluation import forecasts
from bridges_tabular.tabular.model import BridgeModel

if TYPE_CHECKING:
    from pytorch_tabular import TabularModel

Floats = NDArray[np.float64]


class CalibratedTabularModel:
    """A fitted ``TabularModel`` of pytorch-tabular with a :class:`BridgeConfig`, calibrated on held-out rows.

    The model stays as it is. Of more than 8,192 rows to calibrate on so many are drawn, always the same ones: with the
    same model and rows distributions are the same. Their means are what ``TabularModel.predict`` predicts, unless
    ``fit`` was given a ``target_transform``: they are distributions of the target before it. A ``target_range`` bounds
    means alone.

    Parameters
    ----------
    model : TabularModel
        Fitted, or read by ``TabularModel.load_model``.
    validation : DataFrame, optional
        Rows to calibrate on, with the columns of features and targets, and that of the weights of a
        :class:`TensorDatamodule` which has them. Default: the validation rows of the model's datamodule.
    conformal : DataFrame, optional
        Rows that serve for conformal intervals alone, as the guarantee of
        :class:`~bridges_tabular.core.calibration.ConformalIntervals` asks for. Default: those to calibrate on, which
        leave coverage close to what was asked, but not guaranteed.
    calibration : {"pooled", "deconvolve", "shrink", "none"}, default="pooled"

    Raises
    ------
    TypeError
        If it is no model with a BridgeConfig.
    ValueError
        In one line, if it was not fitted, or was saved with ``inference_only``, or if rows cannot be used.

    Examples
    --------
    >>> calibrated = CalibratedTabularModel(model)  # doctest: +SKIP
    >>> calibrated.predict_interval(diamonds[240:], 0.9, conformal=True).shape  # doctest: +SKIP
    (60, 2)
    """

    def __init__(
        self,
        model: TabularModel,
        validation: pd.DataFrame | None = None,
        *,
        conformal: pd.DataFrame | None = None,
        calibration: Calibration = "pooled",
    ) -> None:
        self._network = _bridge_model(model)
        self._datamodule = model.datamodule
        scheme = self._network.scheme
        if calibration not in CALIBRATIONS:
            known = ", ".join(CALIBRATIONS)
            raise ValueError(f"unknown calibration {shown(calibration)}{hint(calibration, CALIBRATIONS)} ({known})")
        if calibration == "none" and not scheme.has_code:
            raise ValueError(f"a model of scheme={scheme.name!r} has distributions with a calibration alone")
        y_train, train_weight = self._training_targets()
        self._scale = self._target_scale(y_train)
        held_out = self._own_rows() if validation is None else self._read(validation, "validation")
        apart = None if conformal is None else self._read(conformal, "conformal")
        codes = [Code(codec.encoder) for codec in self._network.codecs] if scheme.has_code else [None] * len(held_out)
        self._calibrated = [
            CalibratedForecast.fit(
                self._scale,
                target,
                calibration,
                code,
                held_out[target],
                y_train=y_train[:, target],
                train_weight=train_weight,
                conformal=None if apart is None else apart[target],
            )
            for target, code in enumerate(codes)
        ]

    def predict_distribution(self, X: pd.DataFrame) -> BinnedDistribution | Any:
        """Predict the distribution of the target.

        Parameters
        ----------
        X : DataFrame of n rows
            With the columns of the features, as ``TabularModel.predict`` takes it.

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target, with the index of X; a list with one for every target
        of several

        Raises
        ------
        ValueError
            If a column is missing, or holds what the network has no number for.
        """
        pairs = zip(self._calibrated, self._forecasts(X, "X"), strict=True)
        distributions = [one.distribution(forecast).with_index(X.index) for one, forecast in pairs]
        return distributions[0] if len(distributions) == 1 else distributions

    def predict_interval(self, X: pd.DataFrame, coverage: float = 0.9, conformal: bool = False) -> Floats:
        """Predict central intervals that hold the target with probability ``coverage``.

        Parameters
        ----------
        X : DataFrame of n rows
        coverage : float, default=0.9
        conformal : bool, default=False
            Widen or narrow the intervals to the coverage they had on held-out rows.

        Returns
        -------
        array of shape (n, 2), or (n, 2, targets) of several, lower and upper ends in the units of the target

        Raises
        ------
        ValueError
            If there are too few held-out rows for ``coverage``; says how many are needed.
        """
        pairs = zip(self._calibrated, self._forecasts(X, "X"), strict=True)
        ends = [one.interval(one.distribution(forecast), coverage, conformal) for one, forecast in pairs]
        return ends[0] if len(ends) == 1 else np.stack(ends, axis=-1)

    def _training_targets(self) -> tuple[Floats, Floats | None]:
        """Training targets (n, t) in the user's units, and weights (n,)."""
        try:
            rows = self._datamodule.train_dataset
        except RuntimeError:
            raise ValueError(
                "the model was saved with inference_only=True, without the rows that a calibration needs"
            ) from None
        y = _as_given(rows.y)
        if self._datamodule.do_target_transform:
            turned = zip(self._datamodule.target_transforms, y.T, strict=True)
            y = np.concatenate([own.inverse_transform(column[:, None]) for own, column in turned], axis=1)
        return y, check_sample_weight(getattr(rows, "sample_weight", None), len(y))

    def _target_scale(self, y_train: Floats) -> TargetScale:
        own = _scale_of(self._network)
        if not self._datamodule.do_target_transform:
            return own
        pairs = zip(self._datamodule.target_transforms, y_train.T, strict=True)
        reach = np.stack([y_train.min(axis=0), y_train.max(axis=0)], axis=1)
        return TargetScale(
            own.mean, own.scale, transforms=tuple(of_fitted(one, column) for one, column in pairs), reach=reach
        )

    def _own_rows(self) -> list[HeldOut]:
        """The validation rows of the datamodule."""
        rows = self._datamodule.validation_dataset
        standard = _scale_of(self._network).standardise(_as_given(rows.y))
        weight = check_sample_weight(getattr(rows, "sample_weight", None), len(standard))
        return self._held_out(tensor_table(rows), standard, weight, "validation")

    def _read(self, frame: pd.DataFrame, name: str) -> list[HeldOut]:
        """Rows that the user gave, with targets."""
        table = self._tensors(frame, name, self._datamodule.target)
        y = np.stack([check_target(frame[one], f"{one!r} of {name}") for one in self._datamodule.target], axis=1)
        self._scale.check(y, name)
        column = getattr(self._datamodule, "weight_column", None)
        if column is not None and column not in frame:
            raise ValueError(f"{name} has no column {column!r}, which holds the weights of the training rows")
        weight = check_sample_weight(None if column is None else frame[column], len(y), f"{column!r} of {name}")
        return self._held_out(table, self._scale.standardise(y), weight, name)

    def _held_out(self, table: TensorTable, standard: Floats, weight: Floats | None, name: str) -> list[HeldOut]:
        counted = np.arange(len(table)) if weight is None else np.flatnonzero(weight)
        at = counted[drawn(len(counted), 0)]
        weight = None if weight is None else weight[at]
        found = self._finite(forecasts(self._network, TensorTable(table[torch.from_numpy(at)])), name)
        return [HeldOut(one, y, weight) for one, y in zip(found, standard[at].T, strict=True)]

    def _forecasts(self, X: pd.DataFrame, name: str) -> Sequence[Forecast]:
        return self._finite(forecasts(self._network, self._tensors(X, name)), name)

    def _tensors(self, frame: pd.DataFrame, name: str, targets: Sequence[str] = ()) -> TensorTable:
        """What the network reads of a table."""
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(f"{name} must be a DataFrame, got {type(frame).__name__}")
        if frame.empty:
            raise ValueError(f"{name} has no rows")
        config = self._datamodule.config
        # the parts of a date are categories, too, which the datamodule makes itself
        dates = [field for field, *_ in config.date_columns] if config.encode_date_columns else []
        for column in (*config.continuous_cols, *(dates or config.categorical_cols), *targets):
            if column not in frame:
                raise ValueError(f"{name} has no column {column!r}{hint(column, map(str, frame.columns))}")
        features = frame.drop(columns=list(self._datamodule.target), errors="ignore")
        rows = self._datamodule.prepare_inference_dataloader(features).dataset
        table = rows if isinstance(rows, TensorTable) else tensor_table(rows)
        lacking = ~torch.isfinite(table.columns["continuous"]).all(dim=0)
        if lacking.any():
            column = config.continuous_cols[int(lacking.nonzero()[0])]
            raise ValueError(f"column {column!r} of {name} holds missing or infinite values")
        return table

    def _finite(self, found: Sequence[Forecast], name: str) -> Sequence[Forecast]:
        for one in found:
            if not np.isfinite(one.point).all():
                raise ValueError(
                    f"the network predicts no number for row {int(np.isnan(one.point).argmax())} of {name}"
                )
        return found


def bridge_distribution(
    model: TabularModel, X: pd.DataFrame, validation: pd.DataFrame | None = None, *, calibration: Calibration = "pooled"
) -> BinnedDistribution | Any:
    """Predict the distribution of the target by a fitted ``TabularModel`` of pytorch-tabular with a BridgeConfig.

    Each call calibrates the model. For several, and for conformal intervals, see :class:`CalibratedTabularModel`.

    Parameters
    ----------
    model : TabularModel
    X : DataFrame of n rows
        With the columns of the features.
    validation, calibration
        See :class:`CalibratedTabularModel`.

    Returns
    -------
    BinnedDistribution of n rows, in the units of the target, with the index of X; a list with one for every target of
    several

    Raises
    ------
    TypeError, ValueError
        See :class:`CalibratedTabularModel`.

    Examples
    --------
    >>> bridge_distribution(model, diamonds[240:]).quantile([0.1, 0.9]).shape  # doctest: +SKIP
    (60, 2)
    """
    return CalibratedTabularModel(model, validation, calibration=calibration).predict_distribution(X)


def _bridge_model(model: Any) -> BridgeModel:
    network = getattr(model, "model", None)
    if isinstance(network, BridgeModel):
        return network
    if isinstance(model, BridgeModel) or not hasattr(model, "predict"):
        raise TypeError(f"a fitted TabularModel of pytorch-tabular is needed, got {type(model).__name__}")
    if network is None and getattr(model, "name", "") == BridgeModel.__name__:
        raise ValueError("the TabularModel is not fitted")
    what = getattr(model, "name", type(model).__name__)
    raise TypeError(f"a TabularModel with a BridgeConfig is needed, got one of {what}")


def _scale_of(network: BridgeModel) -> TargetScale:
    """The units in which the network was trained."""
    mean, scale = (part.detach().cpu().double().numpy() for part in (network.target_mean, network.target_scale))
    return TargetScale(mean, scale)


def _as_given(y: NDArray[np.float32]) -> Floats:
    """Targets that pytorch-tabular keeps in single precision, as they were written down: 0.1, and not 0.100000001.

    Masses on single values would otherwise lie beside these.
    """
    values, places = np.unique(y, return_inverse=True)
    given: Floats = values.astype(str).astype(np.float64)[places].reshape(y.shape)
    return given
