"""An entry of a search space: read, checked by itself, and asked for values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bridges_tabular.experiments.blocks import ExperimentError, check_keys, nearest
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

_KEYS = {
    "int": ("type", "low", "high", "log", "step", "default"),
    "float": ("type", "low", "high", "log", "step", "default"),
    "categorical": ("type", "choices", "default"),
}
# rounding that a value may be off its step by, in steps
_OFF = 1e-8


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
        What the regressor takes for None, where that is its default; of choices, for a reader.
    """

    name: str
    kind: str
    arguments: dict[str, Any]
    null: Any = None

    @classmethod
    def parse(cls, name: str, entry: Any) -> Parameter:
        """Read an entry of ``study.space``.

        Raises
        ------
        ExperimentError
            If it says of no values, or of none that make sense.
        """
        where = f"study.space.{name}"
        if not isinstance(entry, Mapping):
            raise ExperimentError(f"{where}: must be a block of keys and values, not {shown(entry)}")
        kind = entry.get("type")
        if not isinstance(kind, str) or kind not in _KEYS:
            hint = nearest(kind, _KEYS) if isinstance(kind, str) else f"; choose from {', '.join(_KEYS)}"
            what = "is missing" if kind is None else f"unknown type {shown(kind)}"
            raise ExperimentError(f"{where}.type: {what}{hint}")
        check_keys(entry, _KEYS[kind], where)
        arguments = {key: value for key, value in entry.items() if key not in ("type", "default")}
        null = entry.get("default")
        if kind == "categorical":
            _check_choices(arguments.get("choices"), where)
            arguments["choices"] = list(arguments["choices"])
        else:
            _check_range(arguments, kind, where)
            if null is not None:
                _check_number(null, kind, f"{where}.default")
        return cls(name, kind, arguments, null)

    def suggest(self, trial: BaseTrial) -> Any:
        """Ask a trial for a value."""
        return getattr(trial, f"suggest_{self.kind}")(self.name, **self.arguments)

    def ends(self) -> list[Any]:
        """Return every choice, or the lowest and the highest value, as a trial gets them."""
        if self.kind == "categorical":
            return list(self.arguments["choices"])
        low, high = self.arguments["low"], self.arguments["high"]
        step = self._step()
        if step is not None:
            high = low + math.floor((high - low) / step + _OFF) * step
        return [float(low), float(high)] if self.kind == "float" else [low, high]

    def samples(self) -> list[Any]:
        """Return values that show whether a regressor takes all of them: the ends, and one between."""
        ends = self.ends()
        if self.kind != "float" or self._step() is not None:
            return ends
        low, high = ends
        return [*ends, math.sqrt(low) * math.sqrt(high) if self.arguments.get("log") else low / 2 + high / 2]

    def count(self) -> int | None:
        """Return how many values there are, or None where there is no end to them, or they are not evenly spaced."""
        if self.kind == "categorical":
            return len(self.values())
        step = self._step()
        if step is None or self.arguments.get("log"):
            return None
        count: int = round((self.ends()[1] - self.arguments["low"]) / step) + 1
        return count

    def values(self) -> list[Any]:
        """Return every value; see ``count``."""
        if self.kind == "categorical":
            return list(self.arguments["choices"])
        step, count = self._step(), self.count()
        assert step is not None
        assert count is not None
        return [self.arguments["low"] + i * step for i in range(count)]

    def including(self, value: Any) -> Parameter:
        """Return the parameter with its values extended to ``value``.

        Raises
        ------
        ExperimentError
            If it can have no such value.
        """
        arguments = dict(self.arguments)
        if self.kind == "categorical":
            if not self._chooses(value):
                arguments["choices"] = [value, *arguments["choices"]]
            return replace(self, arguments=arguments)
        has = f"study.space.{self.name}: the model has {self.name}: {shown(value)}"
        if not _is_number(value, self.kind):
            raise ExperimentError(f"{has}, which is {_words(self.kind, 'no')}")
        if arguments.get("log") and value <= 0:
            raise ExperimentError(f"{has}, which no log scale holds")
        arguments["low"] = min(arguments["low"], value)
        arguments["high"] = max(arguments["high"], value)
        return replace(self, arguments=arguments)

    def closest(self, value: Any) -> Any:
        """Return ``value`` where it is searched, else the closest number, or the first choice.

        None where numbers are searched and ``value`` is none.
        """
        if self.kind == "categorical":
            return value if self._chooses(value) else self.arguments["choices"][0]
        if not _is_number(value, "float"):
            return None
        low, high = self.ends()
        inside, step = min(max(value, low), high), self._step()
        if step is None:
            return inside
        on_step = min(self.arguments["low"] + round((inside - low) / step) * step, self.arguments["high"])
        return value if abs(on_step - value) <= _OFF * step else on_step

    def _chooses(self, value: Any) -> bool:
        return any(value == choice and type(value) is type(choice) for choice in self.arguments["choices"])

    def _step(self) -> float | None:
        step: float | None = self.arguments.get("step")
        return 1 if step is None and self.kind == "int" else step


def _is_number(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if kind == "int" else int | float):
        return False
    # Optuna's own limits: numbers of 64 bits, and ranges that have a finite width
    return abs(value) < 2**62 if kind == "int" else abs(value) < 1e300


def _words(kind: str, article: str = "a") -> str:
    return f"{article} whole number" if kind == "int" else f"{article} number"


def _check_number(value: Any, kind: str, where: str) -> None:
    if value is None:
        raise ExperimentError(f"{where}: is missing")
    if not _is_number(value, kind):
        raise ExperimentError(f"{where}: must be {_words(kind)}, not {shown(value)}")


def _check_choices(choices: Any, where: str) -> None:
    if not isinstance(choices, list | tuple) or not choices:
        raise ExperimentError(f"{where}.choices: must be a list of values, not {shown(choices)}")
    for i, choice in enumerate(choices):
        if not isinstance(choice, str | int | float | bool | None):
            raise ExperimentError(f"{where}.choices: holds {shown(choice)}, which is neither text nor a number")
        if choice in choices[:i]:
            raise ExperimentError(f"{where}.choices: holds {shown(choice)} twice")


def _check_range(arguments: Mapping[str, Any], kind: str, where: str) -> None:
    for key in ("low", "high", "step"):
        if key != "step" or arguments.get(key) is not None:
            _check_number(arguments.get(key), kind, f"{where}.{key}")
    log = arguments.get("log", False)
    if not isinstance(log, bool):
        raise ExperimentError(f"{where}.log: must be true or false, not {shown(log)}")
    low, high, step = arguments["low"], arguments["high"], arguments.get("step")
    if low >= high:
        raise ExperimentError(f"{where}: low {low} is not below high {high}")
    if log and low <= 0:
        raise ExperimentError(f"{where}: with log, low must be positive, not {low}")
    if step is not None and step <= 0:
        raise ExperimentError(f"{where}.step: must be positive, not {step}")
    if step is not None and log:
        raise ExperimentError(f"{where}: log and step exclude each other")
