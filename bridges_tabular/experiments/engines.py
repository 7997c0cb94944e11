"""The engines: what an experiment file may name, and the regressor that a block under ``models`` becomes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, alternatives, check_keys, nearest
from bridges_tabular.experiments.clusters import check_cluster, on_dask
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
        The file in ``experiments/spaces`` with what a study searches; empty where there is nothing to search.
    takes_members : bool
        Whether its block names other models of the file under ``members``, which it takes as they are fitted.
    takes_cluster : bool
        Whether its block may name a Dask cluster under ``cluster``, which fits the model.
    """

    name: str
    module: str
    class_name: str
    title: str
    step: str
    space: str = ""
    takes_members: bool = False
    takes_cluster: bool = False

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
            takes_cluster=True,
        ),
        Engine(
            name="classifier",
            module="bridges_tabular.classifiers",
            class_name="ClassifierBridgeRegressor",
            title="Classifiers",
            step="fit",
            space="classifier.yaml",
        ),
        Engine(
            name="pool",
            module="bridges_tabular.pooling",
            class_name="PooledBridgeRegressor",
            title="Pools",
            step="member",
            takes_members=True,
        ),
        Engine(
            name="auto",
            module="bridges_tabular.auto",
            class_name="AutoBridgeRegressor",
            title="The best of several",
            step="candidate",
            takes_members=True,
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
        self,
        X: Any,
        y: Any,
        sample_weight: Any = ...,
        eval_set: Any = ...,
        *,
        exposure: Any = ...,
        exposure_val: Any = ...,
        groups: Any = ...,
        prepared: Any = ...,
        report: Any = ...,
    ) -> Any: ...
    def predict(self, X: Any, exposure: Any = ...) -> NDArray[np.float64]: ...  # noqa: D102
    def write(self, folder: Path) -> None: ...  # noqa: D102


def build_model(name: str, block: ModelBlock, seed: int, models: Mapping[str, Any] | None = None) -> Regressor:
    """Make the regressor that a block describes.

    Parameters
    ----------
    name : str
        The model's name in the experiment file, for the errors.
    block : ModelBlock
    seed : int
        Becomes ``random_state`` unless the block sets it.
    models : mapping of str to regressor, optional
        The models that stand above it, which it may have for members.

    Raises
    ------
    ExperimentError
        For an unknown engine or key, and for a value that the regressor refuses.
    """
    where = f"models.{name}"
    if block.engine not in ENGINES:
        raise ExperimentError(f"{where}.engine: unknown engine {shown(block.engine)}{nearest(block.engine, ENGINES)}")
    engine = ENGINES[block.engine]
    params = dict(block.params)
    if "cluster" in params and not engine.takes_cluster:
        takes = alternatives(one.name for one in ENGINES.values() if one.takes_cluster)
        raise ExperimentError(f"{where}.cluster: a cluster fits engine {takes} alone, not {block.engine}")
    cluster = params.pop("cluster", None)
    if cluster is not None:
        check_cluster(cluster, f"{where}.cluster")
    regressor = engine.regressor()
    known = dict(inspect.signature(regressor).parameters)
    if engine.takes_members:
        given = known.pop("estimators")
        check_keys(params, ["engine", "members", *sorted(known)], where)
        members = _members(where, params.pop("members", None), models or {}, given.default is given.empty)
    else:
        check_keys(params, ["engine", *sorted(known), *(["cluster"] if engine.takes_cluster else [])], where)
        members = None
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in params:
            raise ExperimentError(f"{where}.{key}: is missing")
    estimators = {} if members is None else {"estimators": members}
    try:
        model: Regressor = regressor(**{"random_state": seed} | params | estimators)
        model.check_params()
        if cluster is not None:
            on_dask(model).check_params()
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"{where}: {' '.join(str(error).split())}") from None
    return model


def members_of(block: ModelBlock) -> list[str]:
    """Names of the models that a block takes as they are fitted."""
    engine, named = ENGINES.get(block.engine), block.params.get("members")
    if engine is None or not engine.takes_members or not isinstance(named, list | tuple):
        return []
    return [name for name in named if isinstance(name, str)]


def with_members(model: str, models: Mapping[str, ModelBlock]) -> dict[str, ModelBlock]:
    """Blocks of a model and of all that it is made of, in the order of the file."""
    wanted = {model}
    # members stand above what takes them
    for name in reversed(list(models)):
        if name in wanted:
            wanted.update(members_of(models[name]))
    return {name: block for name, block in models.items() if name in wanted}


def check_models(experiment: Experiment) -> dict[str, Regressor]:
    """Refuse an experiment with a model that could not be fitted, whatever the table; returns the models, unfitted.

    Raises
    ------
    ExperimentError
        As :func:`build_model`.
    """
    models: dict[str, Regressor] = {}
    for name, block in experiment.models.items():
        for member in members_of(block):
            if member == name:
                raise ExperimentError(f"models.{name}.members: {shown(name)} is the model itself")
            if member in experiment.models and member not in models:
                raise ExperimentError(
                    f"models.{name}.members: {shown(member)} stands below; name a model below its members"
                )
        models[name] = build_model(name, block, experiment.split.seeds[0], models)
    return models


def _members(where: str, names: Any, models: Mapping[str, Any], needed: bool) -> list[tuple[str, Any]] | None:
    """Names and models of the members of a block."""
    if names is None:
        if needed:
            raise ExperimentError(f"{where}.members: is missing")
        return None
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise ExperimentError(f"{where}.members: must be a list of names under models, not {shown(names)}")
    for index, name in enumerate(names):
        if name not in models:
            raise ExperimentError(f"{where}.members: there is no model {shown(name)} above{nearest(name, models)}")
        if name in names[:index]:
            raise ExperimentError(f"{where}.members: names {shown(name)} twice")
    return [(name, models[name]) for name in names]
