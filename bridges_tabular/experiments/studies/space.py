"""Search spaces: read from a study block and the bundled files, checked against the regressor they are for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from bridges_tabular.experiments._yaml import parse_yaml
from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, StudyBlock, check_keys, nearest
from bridges_tabular.experiments.engines import ENGINES, build_model

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

_KEYS = {
    "int": ("type", "low", "high", "log", "step", "default"),
    "float": ("type", "low", "high", "log", "step", "default"),
    "categorical": ("type", "choices", "default"),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a regressor and the values to search.

    Attributes
    ----------
    name : str
        Dotted where it lies in a parameter that is itself a mapping: ``backbone_params.layers``.
    kind : {"int", "float", "categorical"}
    arguments : dict
        Of ``suggest_int``, ``suggest_float`` or ``suggest_categorical`` of an Optuna trial.
    null : int, float, str, bool or None
        What the regressor takes for None, where that is its default.
    """

    name: str
    kind: str
    arguments: dict[str, Any]
    null: Any = None

    def suggest(self, trial: BaseTrial) -> Any:
        """Ask a trial for a value."""
        return getattr(trial, f"suggest_{self.kind}")(self.name, **self.arguments)

    def bounds(self) -> list[Any]:
        """Return the values that show whether a regressor takes all of them: the ends, or every choice."""
        if self.kind == "categorical":
            return list(self.arguments["choices"])
        return [self.arguments["low"], self.arguments["high"]]

    def values(self) -> list[Any] | None:
        """Return every value, or None where there are infinitely many or they are not evenly spaced."""
        if self.kind == "categorical":
            return list(self.arguments["choices"])
        low, high = self.arguments["low"], self.arguments["high"]
        step = self.arguments.get("step", 1 if self.kind == "int" else None)
        if step is None or self.arguments.get("log"):
            return None
        return [low + i * step for i in range(math.floor((high - low) / step + 1e-9) + 1)]

    def including(self, value: Any) -> Parameter:
        """Return the parameter with its values extended to ``value``."""
        arguments = dict(self.arguments)
        if self.kind == "categorical":
            if not any(value == choice and type(value) is type(choice) for choice in arguments["choices"]):
                arguments["choices"] = [value, *arguments["choices"]]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if arguments.get("log") and value <= 0:
                raise ExperimentError(f"the model has {self.name}: {value}, which no log scale holds")
            arguments["low"] = min(arguments["low"], value)
            arguments["high"] = max(arguments["high"], value)
        return replace(self, arguments=arguments)


@dataclass(frozen=True)
class Space:
    """The parameters that a study searches, and what they are in the default configuration.

    Attributes
    ----------
    parameters : tuple of Parameter
    defaults : dict
        Values of the model block or, where it is silent, of the regressor, by the parameters' names.
    """

    parameters: tuple[Parameter, ...]
    defaults: dict[str, Any]

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Ask a trial for a value of every parameter, by name."""
        return {parameter.name: parameter.suggest(trial) for parameter in self.parameters}

    def describe(self) -> dict[str, Any]:
        """Return the space as it may stand in a study block."""
        return {
            parameter.name: {"type": parameter.kind}
            | {key: list(value) if key == "choices" else value for key, value in parameter.arguments.items()}
            | ({} if parameter.null is None else {"default": parameter.null})
            for parameter in self.parameters
        }

    def grid(self) -> dict[str, list[Any]] | None:
        """Return every value of every parameter, or None where there are infinitely many."""
        grid = {parameter.name: parameter.values() for parameter in self.parameters}
        return None if None in grid.values() else {name: values or [] for name, values in grid.items()}


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
                raise ExperimentError(f"study.space.{name}: is null, but {name!r} is not in the bundled space")
        else:
            # what null means does not change with the values to search
            known = {key: value for key, value in (entries.get(name) or {}).items() if key == "default"}
            entries[name] = {**known, **entry} if isinstance(entry, Mapping) else entry
    if not entries:
        raise ExperimentError("study.space: holds no parameter to search")
    parameters, defaults = [], {}
    for name, entry in entries.items():
        parameter = _parse(name, entry)
        default = _default(name, params)
        value = parameter.null if default is None and parameter.kind != "categorical" else default
        if value is not None or (parameter.kind == "categorical" and None in parameter.arguments["choices"]):
            try:
                parameter = parameter.including(value)
            except ExperimentError as error:
                raise ExperimentError(f"study.space.{name}: {error}") from None
            defaults[name] = value
        _check_values(parameter, model, block, seed)
        parameters.append(parameter)
    return Space(tuple(parameters), defaults)


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
    return with_values(fixed, {name: _parse(name, entry).suggest(trial) for name, entry in entries.items()})


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
            space |= bundled[f"{key}s"].get(params[key], {})
    return {name: entry for name, entry in space.items() if entry is not None}


def with_values(params: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a regressor with some set by their dotted names; neither argument is changed."""
    changed = dict(params)
    for name, value in values.items():
        key, _, rest = name.partition(".")
        changed[key] = with_values(changed.get(key) or {}, {rest: value}) if rest else value
    return changed


@cache
def _bundled_file(engine: str) -> dict[str, Any]:
    file = resources.files("bridges_tabular.experiments") / "spaces" / ENGINES[engine].space
    content: dict[str, Any] = parse_yaml(file.read_text(encoding="utf-8"))
    return content


def _check_name(name: Any, engine: str, params: Mapping[str, Any]) -> None:
    if not isinstance(name, str):
        raise ExperimentError(f"study.space: the name of a parameter has to be text, not {name!r}")
    key, _, rest = name.partition(".")
    if key not in params:
        regressor = ENGINES[engine].class_name
        raise ExperimentError(f"study.space.{name}: {regressor} has no parameter {key!r}{nearest(key, sorted(params))}")
    if rest and not key.endswith("_params"):
        raise ExperimentError(f"study.space.{name}: {key!r} holds no parameters of its own")
    if not rest and key.endswith("_params"):
        raise ExperimentError(f"study.space.{name}: name a parameter in it, as {name}.NAME")


def _parse(name: str, entry: Any) -> Parameter:
    where = f"study.space.{name}"
    if not isinstance(entry, Mapping):
        raise ExperimentError(f"{where}: must be a block of keys and values, not {entry!r}")
    kind = entry.get("type")
    if kind not in _KEYS:
        hint = nearest(kind, _KEYS) if isinstance(kind, str) else f"; choose from {', '.join(_KEYS)}"
        raise ExperimentError(f"{where}.type: " + ("is missing" if kind is None else f"unknown type {kind!r}") + hint)
    check_keys(entry, _KEYS[kind], where)
    arguments = {key: value for key, value in entry.items() if key not in ("type", "default")}
    if kind == "categorical":
        _check_choices(arguments.get("choices"), where)
        arguments["choices"] = list(arguments["choices"])
    else:
        _check_range(arguments, kind, where)
    return Parameter(name, kind, arguments, entry.get("default"))


def _check_choices(choices: Any, where: str) -> None:
    if not isinstance(choices, list | tuple) or not choices:
        raise ExperimentError(f"{where}.choices: must be a list of values, not {choices!r}")
    for i, choice in enumerate(choices):
        if not isinstance(choice, str | int | float | bool | None):
            raise ExperimentError(f"{where}.choices: holds {choice!r}, which is neither text nor a number")
        if choice in choices[:i]:
            raise ExperimentError(f"{where}.choices: holds {choice!r} twice")


def _check_range(arguments: dict[str, Any], kind: str, where: str) -> None:
    number, words = (int, "a whole number") if kind == "int" else (int | float, "a number")
    for key in ("low", "high", "step"):
        value = arguments.get(key)
        if value is None and key == "step":
            continue
        if not isinstance(value, number) or isinstance(value, bool) or not math.isfinite(value):
            raise ExperimentError(
                f"{where}.{key}: " + ("is missing" if value is None else f"must be {words}, not {value!r}")
            )
    log = arguments.get("log", False)
    if not isinstance(log, bool):
        raise ExperimentError(f"{where}.log: must be true or false, not {log!r}")
    low, high, step = arguments["low"], arguments["high"], arguments.get("step")
    if low >= high:
        raise ExperimentError(f"{where}: low {low} is not below high {high}")
    if log and low <= 0:
        raise ExperimentError(f"{where}: with log, low must be positive, not {low}")
    if step is not None and step <= 0:
        raise ExperimentError(f"{where}.step: must be positive, not {step}")
    if step is not None and log:
        raise ExperimentError(f"{where}: log and step exclude each other")


def _check_values(parameter: Parameter, model: str, block: ModelBlock, seed: int) -> None:
    for value in parameter.bounds():
        try:
            build_model(model, ModelBlock(block.engine, with_values(block.params, {parameter.name: value})), seed)
        except ExperimentError as error:
            reason = str(error).removeprefix(f"models.{model}: ")
            raise ExperimentError(f"study.space.{parameter.name}: {value!r} is refused: {reason}") from None


def _default(name: str, params: Mapping[str, Any]) -> Any:
    key, _, rest = name.partition(".")
    if key == "backbone_params":
        return _backbone_default(rest, params["backbone"], params[key])
    value = params[key]
    return value if not rest or value is None else value.get(rest)


def _backbone_default(name: str, backbone: str, given: dict[str, Any] | None) -> Any:
    # seconds to import, and only studies of networks need them
    from pytorch_tabular import models

    from bridges_tabular.tabular.defaults import backbone_params

    known = backbone_params(backbone, given)
    if name in known:
        return known[name]
    field = getattr(models, backbone).__dataclass_fields__.get(name)
    return None if field is None or field.default is MISSING else field.default
