"""From a block under ``models`` to a regressor, every key and value checked before any data is seen."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, check_keys, nearest
from bridges_tabular.experiments.config import Experiment

# imported on use: a comparison of boosted models alone need not wait for torch
ENGINES = {
    "tabular": ("bridges_tabular.tabular", "TabularBridgeRegressor"),
    "xgboost": ("bridges_tabular.boosting", "XGBBridgeRegressor"),
}


class Regressor(Protocol):
    """What the experiments ask of a model; those with a distribution also have ``predict_distribution``."""

    @property
    def codecs_(self) -> list[Any]: ...  # noqa: D102
    def get_params(self, deep: bool = ...) -> dict[str, Any]: ...  # noqa: D102
    def set_params(self, **params: Any) -> Any: ...  # noqa: D102
    def check_params(self) -> None: ...  # noqa: D102
    def fit(self, X: Any, y: Any, sample_weight: Any = ..., eval_set: Any = ...) -> Any: ...  # noqa: D102
    def predict(self, X: Any) -> NDArray[np.float64]: ...  # noqa: D102
    def save(self, directory: str | Path) -> None: ...  # noqa: D102


def build_model(name: str, block: ModelBlock, seed: int) -> Regressor:
    """Make the regressor that a block describes.

    Parameters
    ----------
    name : str
        The model's name in the experiment file, for the errors.
    block : ModelBlock
    seed : int
        Becomes ``random_state`` unless the block sets it.

    Raises
    ------
    ExperimentError
        For an unknown engine or key, and for a value that the regressor refuses.
    """
    where = f"models.{name}"
    if block.engine not in ENGINES:
        raise ExperimentError(f"{where}.engine: unknown engine {block.engine!r}{nearest(block.engine, ENGINES)}")
    module, class_name = ENGINES[block.engine]
    regressor = getattr(import_module(module), class_name)
    check_keys(block.params, ["engine", *sorted(regressor().get_params(deep=False))], where)
    model: Regressor = regressor(**{"random_state": seed} | block.params)
    try:
        model.check_params()
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"{where}: {error}") from None
    return model


def check_models(experiment: Experiment) -> None:
    """Refuse an experiment with a model that could not be fitted, whatever the table.

    Raises
    ------
    ExperimentError
        As :func:`build_model`.
    """
    for name, block in experiment.models.items():
        build_model(name, block, experiment.split.seeds[0])
