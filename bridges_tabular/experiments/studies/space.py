"""Search spaces: read from a study block and the bundled files, checked against the regressor they are for."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from importlib import resources
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bridges_tabular.experiments._yaml import parse_yaml
from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, StudyBlock, nearest
from bridges_tabular.experiments.engines import ENGINES, build_model
from bridges_tabular.experiments.studies.parameter import Parameter
from bridges_tabular.experiments.studies.rebuild import remember
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# the parameter that may name a regressor, whose own parameters can be searched
_REGRESSOR = "location"


@dataclass(frozen=True)
class Space:
    """The parameters that a study searches, and what they are in the default configuration and the first trial.

    Attributes
    ----------
    parameters : tuple of Parameter
    defaults : dict
        Values of the model block or, where it is silent, of the regressor, by the parameters' names.
    first : dict
        Values of the first trial: the defaults, or the closest to them in entries of the study block that do not hold
        them.
    """

    parameters: tuple[Parameter, ...]
    defaults: dict[str, Any]
    first: dict[str, Any]

    @property
    def departures(self) -> dict[str, Any]:
        """What the first trial has in place of the defaults, by name; empty where it is the default configuration."""
        return {name: value for name, value in self.first.items() if value != self.defaults[name]}

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Ask a trial for a value of every parameter, by name."""
        return {parameter.name: parameter.suggest(trial) for parameter in self.parameters}

    def describe(self) -> dict[str, Any]:
        """Return the space as it may stand in a study block."""
        return {
            parameter.name: {"type": parameter.kind}
            | {key: list(value) if key == "choices" else value for key, value in parameter.arguments.items()}
            | ({} if parameter.null is None or parameter.kind == "categorical" else {"default": parameter.null})
            for parameter in self.parameters
        }

    def count(self) -> int | None:
        """Return how many configurations there are, or None where there is no end to them."""
        counts = [parameter.count() for parameter in self.parameters]
        return None if None in counts else math.prod(count or 0 for count in counts)

    def grid(self) -> dict[str, list[Any]]:
        """Return every value of every parameter; see ``count``."""
        return {parameter.name: parameter.values() for parameter in self.parameters}


def read_space(model: str, block: ModelBlock, study: StudyBlock, seed: int) -> Space:
    """Put the space of a model together and check all of it.

    Parameters
    ----------
    model : str
        Its name under ``models``.
    block : ModelBlock
    study : StudyBlock
    seed : int
        Any; models are built to check values.

    Raises
    ------
    ExperimentError
        For an entry that is no parameter of the regressor, or that holds values it refuses.
    """
    params = build_model(model, block, seed).get_params(deep=False)
    entries: dict[str, Any] = {}
    if study.bundled_space:
        entries = bundled_space(block.engine, params, study.space)
    for name, entry in study.space.items():
        _check_name(name, block.engine, params)
        if entry is None:
            if entries.pop(name, None) is None:
                raise ExperimentError(f"study.space.{name}: is null, but {shown(name)} is not in the bundled space")
        else:
            # what null means does not change with the values to search; where it takes words, it is no number
            null = (entries.get(name) or {}).get("default")
            if isinstance(entry, Mapping) and (entry.get("type") == "categorical" or not isinstance(null, str)):
                entry = {"default": null, **entry}
            entries[name] = entry
    if not entries:
        raise ExperimentError("study.space: holds no parameter to search")
    parameters, defaults, first = [], {}, {}
    for name, entry in entries.items():
        parameter = Parameter.parse(name, entry)
        default = _default(name, params)
        value = parameter.null if default is None and parameter.kind != "categorical" else default
        if value is not None or (parameter.kind == "categorical" and None in parameter.arguments["choices"]):
            if name not in study.space:
                parameter = parameter.including(value)
            defaults[name] = value
            begin = parameter.closest(value)
            if begin is not None or value is None:
                first[name] = begin
        parameters.append(parameter)
    _check_values(parameters, model, block, seed)
    return Space(tuple(parameters), defaults, first)


def suggest_bridge_params(trial: BaseTrial, engine: str, scheme: str, **params: Any) -> dict[str, Any]:
    """Suggest parameters from the bundled space, for an objective of your own.

    Parameters
    ----------
    trial : optuna.Trial
    engine : {"tabular", "xgboost"}
    scheme : str
        Of the regressor.
    **params
        Other parameters of the regressor that stay as they are; a backbone and a location have their own spaces.

    Returns
    -------
    dict
        For ``TabularBridgeRegressor(**params)`` or ``XGBBridgeRegressor(**params)``, scheme and ``params`` included.

    Raises
    ------
    ExperimentError
        For an engine or a parameter that does not exist, or has a value that the regressor refuses.

    Examples
    --------
    >>> import optuna
    >>> from bridges_tabular import XGBBridgeRegressor
    >>> from bridges_tabular.experiments import suggest_bridge_params
    >>> def objective(trial):
    ...     params = suggest_bridge_params(trial, "xgboost", "soft", n_jobs=1)
    ...     return XGBBridgeRegressor(**params).fit(X, y).best_score_
    >>> optuna.create_study().optimize(objective, n_trials=20)  # doctest: +SKIP
    """
    fixed = {"scheme": scheme, **params}
    space = bundled_space(engine, build_model(engine, ModelBlock(engine, fixed), 0).get_params(deep=False))
    entries = {name: entry for name, entry in space.items() if name not in params}
    values = {name: Parameter.parse(name, entry).suggest(trial) for name, entry in entries.items()}
    suggested = with_values(fixed, values)
    remember(trial, engine, suggested)
    return suggested


def bundled_space(engine: str, params: Mapping[str, Any], searched: Collection[str] = ()) -> dict[str, Any]:
    """Return the space that comes with the package, as it may stand in a study block.

    Parameters
    ----------
    engine : str
    params : dict
        All parameters of the regressor; its scheme, backbone and location have spaces of their own.
    searched : collection of str
        Of these three, those that are searched themselves, whose spaces are left out.
    """
    bundled = _bundled_file(engine)
    space = dict(bundled["all"])
    for key in ("location", "scheme", "backbone"):
        if f"{key}s" in bundled and key not in searched:
            # a regressor's own parameters are not ours to search
            name = params[key] if isinstance(params[key], str) else "regressor"
            space |= bundled[f"{key}s"].get(name, {})
    return {name: entry for name, entry in space.items() if entry is not None}


def with_values(params: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a regressor with some set by their dotted names; neither argument is changed.

    Raises
    ------
    ExperimentError
        If a name leads into a value that is no mapping.
    """
    changed = dict(params)
    for name, value in values.items():
        key, _, rest = name.partition(".")
        if rest:
            held = changed.get(key) or {}
            if not isinstance(held, Mapping):
                raise ExperimentError(f"{name}: {key} is {shown(held)}, which holds no parameters")
            value = with_values(held, {rest: value})
        changed[key] = value
    return changed


@cache
def _bundled_file(engine: str) -> dict[str, Any]:
    if not ENGINES[engine].space:
        return {"all": {}}
    file = resources.files("bridges_tabular.experiments") / "spaces" / ENGINES[engine].space
    content: dict[str, Any] = parse_yaml(file.read_text(encoding="utf-8"))
    return content


def _check_name(name: Any, engine: str, params: Mapping[str, Any]) -> None:
    if not isinstance(name, str):
        raise ExperimentError(f"study.space: the name of a parameter has to be text, not {shown(name)}")
    where = f"study.space.{name}"
    key, dot, rest = name.partition(".")
    if key not in params:
        regressor = ENGINES[engine].class_name
        raise ExperimentError(f"{where}: {regressor} has no parameter {shown(key)}{nearest(key, sorted(params))}")
    if key == _REGRESSOR and not dot and not isinstance(params[key], str):
        raise ExperimentError(f"{where}: the model's {key} is a regressor; search in it, as {key}.params.NAME")
    if key == _REGRESSOR and dot:
        if not isinstance(params[key], Mapping):
            raise ExperimentError(f"{where}: the model's {key} is {shown(params[key])}, not estimator and params")
        if not rest.startswith("params.") or not all(rest.split(".")):
            raise ExperimentError(f"{where}: name a parameter of the estimator, as {key}.params.NAME")
        return
    if dot and not key.endswith("_params"):
        raise ExperimentError(f"{where}: {shown(key)} holds no parameters of its own")
    if key.endswith("_params") and not all(rest.split(".")):
        raise ExperimentError(f"{where}: name a parameter in it, as {key}.NAME")


def _check_values(parameters: Sequence[Parameter], model: str, block: ModelBlock, seed: int) -> None:
    """Refuse a value that the regressor does, alone or beside a value of another parameter."""

    def why_not(values: Mapping[str, Any]) -> str | None:
        try:
            build_model(model, ModelBlock(block.engine, with_values(block.params, values)), seed)
        except ExperimentError as error:
            return str(error).removeprefix(f"models.{model}: ")
        return None

    for parameter in parameters:
        for value in parameter.samples():
            reason = why_not({parameter.name: value})
            if reason is not None:
                raise ExperimentError(f"study.space.{parameter.name}: {shown(value)} is refused: {reason}")
    for values in _covering({parameter.name: parameter.ends() for parameter in parameters}):
        reason = why_not(values)
        if reason is not None:
            pairs = (dict(pair) for pair in combinations(values.items(), 2))
            pair, reason = next(((pair, why) for pair in pairs if (why := why_not(pair)) is not None), (values, reason))
            words = " and ".join(f"{name}={shown(value)}" for name, value in pair.items())
            raise ExperimentError(f"study.space: {words} do not go together: {reason}")


def _covering(values: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Configurations such that any two values of different parameters are together in one of them."""
    names = list(values)
    missing = {
        frozenset(((one, i), (other, j)))
        for one, other in combinations(names, 2)
        for i in range(len(values[one]))
        for j in range(len(values[other]))
    }
    # sorted, so that the first refusal is the same every time
    for pair in sorted(missing, key=sorted):
        if pair not in missing:
            continue
        chosen = dict(pair)
        for name in names:
            if name not in chosen:
                counts = [
                    sum(frozenset(((name, i), fixed)) in missing for fixed in chosen.items())
                    for i in range(len(values[name]))
                ]
                chosen[name] = counts.index(max(counts))
        missing -= {frozenset(two) for two in combinations(chosen.items(), 2)}
        yield {name: values[name][chosen[name]] for name in names}


def _default(name: str, params: Mapping[str, Any]) -> Any:
    key, _, rest = name.partition(".")
    if key == "backbone_params":
        return _backbone_default(rest, params)
    if key == _REGRESSOR and rest:
        return _regressor_default(rest.removeprefix("params."), params[key])
    value = params[key]
    return value if not rest or value is None else value.get(rest)


def _regressor_default(name: str, location: Mapping[str, Any]) -> Any:
    # seconds to import, and only studies of boosted trees need them
    from bridges_tabular.boosting.foreign import location_estimator

    return location_estimator(location).get_params().get(name)


def _backbone_default(name: str, params: Mapping[str, Any]) -> Any:
    # seconds to import, and only studies of networks need them
    from bridges_tabular.tabular.defaults import backbone_params
    from bridges_tabular.tabular.inner import config_class

    backbone = params["backbone"]
    known = backbone_params(backbone, params["backbone_params"], params["preset"])
    if name in known:
        return known[name]
    field = config_class(backbone).__dataclass_fields__.get(name)
    return None if field is None or field.default is MISSING else field.default
