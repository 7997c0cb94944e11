"""From a trial back to the regressor that it was of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock
from bridges_tabular.experiments.engines import Regressor, build_model

if TYPE_CHECKING:
    from optuna.trial import BaseTrial, FrozenTrial

_ATTRIBUTE = "regressor"


def remember(trial: BaseTrial, engine: str, params: Mapping[str, Any]) -> None:
    """Write into a trial which regressor it is of; objects among the parameters leave it unwritten."""
    described = {"engine": engine, "params": dict(params)}
    with suppress(TypeError, ValueError):
        trial.set_user_attr(_ATTRIBUTE, json.loads(json.dumps(described, allow_nan=False)))


def from_trial(trial: FrozenTrial) -> Regressor:
    """Return the regressor of a trial, unfitted, with all of its parameters: those that were searched and the others.

    Parameters
    ----------
    trial : optuna.trial.FrozenTrial
        Of a :class:`~bridges_tabular.experiments.BridgeStudy`, or of an objective that asked
        :func:`~bridges_tabular.experiments.suggest_bridge_params`; such as ``study.best_trial``. A storage is to be
        trusted like an experiment file: a classifier's trial names a class to import.

    Returns
    -------
    TabularBridgeRegressor, XGBBridgeRegressor or ClassifierBridgeRegressor
        ``random_state`` is that of the trial's own fit.

    Raises
    ------
    ExperimentError
        If the trial is none of these, or a parameter cannot be used by this version.

    Examples
    --------
    >>> import numpy as np
    >>> import optuna
    >>> import bridges_tabular as bt
    >>> from bridges_tabular.experiments import suggest_bridge_params
    >>> X = np.random.default_rng(0).normal(size=(120, 2))
    >>> y = X[:, 0] ** 2 + X[:, 1]
    >>> def objective(trial):
    ...     suggested = suggest_bridge_params(trial, "xgboost", "soft", n_jobs=1, n_estimators=20)
    ...     return bt.XGBBridgeRegressor(**suggested).fit(X, y).best_score_
    >>> study = optuna.create_study()
    >>> study.optimize(objective, n_trials=2)
    >>> model = bt.from_trial(study.best_trial).fit(X, y)
    >>> model.scheme, model.best_score_ == study.best_value
    ('soft', True)
    """
    described = trial.user_attrs.get(_ATTRIBUTE)
    if not isinstance(described, Mapping):
        raise ExperimentError(
            f"trial {trial.number} does not say of which regressor it is: it is neither of a BridgeStudy nor of an"
            " objective with suggest_bridge_params, or parameters of it are objects"
        )
    try:
        block = ModelBlock(described["engine"], dict(described["params"]))
    except (KeyError, TypeError, ValueError):
        raise ExperimentError(f"trial {trial.number} describes no regressor: {described!r}") from None
    return build_model(f"of trial {trial.number}", block, 0)
