"""The engines: what an experiment file may name, and the regressor that a block under ``models`` becomes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, check_keys, nearest
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bridges_tabular.experiments.config import Experiment


@dataclass(frozen=True)
class Engine:
    """What trains a model.

    Attributes
    ----------
    name : str
        In experiment files and results.csv.
    module, class_name : str
        Where its regressor is; imported on use: a comparison of boosted models alone need not wait for torch.
    title : str
        What it trains, as a report says it.
    step : str
        What it does again and again while it trains.
    space : str
        The file in ``experiments/spaces`` with what a study searches.
    """

    name: str
    module: str
    class_name: str
    title: str
    step: str
    space: str

    def regressor(self) -> type[Any]:
        """Import the class of its regressor."""
        regressor: type[Any] = getattr(import_module(self.module), self.class_name)
        return regressor


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            name="tabular",
            module="bridges_tabular.tabular",
            class_name="TabularBridgeRegressor",
            title="Networks",
            step="epoch",
            space="tabular.yaml",
        ),
        Engine(
            name="xgboost",
            module="bridges_tabular.boosting",
            class_name="XGBBridgeRegressor",
            title="Boosted trees",
            step="round",
            space="xgboost.yaml",
        ),
        Engine(
            name="classifier",
            module="bridges_tabular.classifiers",
            class_name="ClassifierBridgeRegressor",
            title="Classifiers",
            step="fit",
            space="classifier.yaml",
        ),
    )
}


class Regressor(Protocol):
    """What the experiments ask of a model; those with a distribution also have ``predict_distribution``."""

    scheme: str

    @property
    def codecs_(self) -> list[Any]: ...  # noqa: D102
    @property
    def codec_scales_(self) -> list[Any]: ...  # noqa: D102
    @property
    def date_columns_(self) -> list[str]: ...  # noqa: D102
    @property
    def text_columns_(self) -> list[str]: ...  # noqa: D102
    def get_params(self, deep: bool = ...) -> dict[str, Any]: ...  # noqa: D102
    def set_params(self, **params: Any) -> Any: ...  # noqa: D102
    def check_params(self) -> None: ...  # noqa: D102
    def fit(  # noqa: D102
        self, X: Any, y: Any, sample_weight: Any = ..., eval_set: Any = ..., *, prepared: Any = ..., report: Any = ...
    ) -> Any: ...
    def predict(self, X: Any) -> NDArray[np.float64]: ...  # noqa: D102
    def write(self, folder: Path) -> None: ...  # noqa: D102


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
        raise ExperimentError(f"{where}.engine: unknown engine {shown(block.engine)}{nearest(block.engine, ENGINES)}")
    regressor = ENGINES[block.engine].regressor()
    known = inspect.signature(regressor).parameters
    check_keys(block.params, ["engine", *sorted(known)], where)
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in block.params:
            raise ExperimentError(f"{where}.{key}: is missing")
    model: Regressor = regressor(**{"random_state": seed} | block.params)
    try:
        model.check_params()
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"{where}: {' '.join(str(error).split())}") from None
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
