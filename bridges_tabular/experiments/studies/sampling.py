"""Samplers and pruners of Optuna by name, built anew for every trial so that a study can stop and go on anywhere."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from bridges_tabular.experiments.blocks import ExperimentError, StudyBlock, nearest
from bridges_tabular.experiments.studies.space import Space


class _GridSampler(optuna.samplers.GridSampler):
    def after_trial(self, *_: Any) -> None:
        """Do nothing: Optuna's own ends a loop of Optuna's; the number of trials is limited beforehand."""


class _BruteForceSampler(optuna.samplers.BruteForceSampler):
    def after_trial(self, *_: Any) -> None:
        """Do nothing, as above."""


SAMPLERS: dict[str, type[optuna.samplers.BaseSampler]] = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "nsgaii": optuna.samplers.NSGAIISampler,
    "nsgaiii": optuna.samplers.NSGAIIISampler,
    "qmc": optuna.samplers.QMCSampler,
    "grid": _GridSampler,
    "brute_force": _BruteForceSampler,
}
PRUNERS: dict[str, type[optuna.pruners.BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
    "none": optuna.pruners.NopPruner,
}
# of what is left to the constructors of these, the seed has to be the same in every trial
_ONE_SEED = ("qmc", "grid")
# arguments that are objects and functions, which no file can hold
_OBJECTS = (
    *(
        "search_space",
        "independent_sampler",
        "source_trials",
        "gamma",
        "weights",
        "constraints_func",
        "reference_points",
    ),
    *("mutation", "crossover", "elite_population_selection_strategy", "child_generation_strategy"),
    "after_trial_strategy",
)
_FINITE = ("grid", "brute_force")
# packages that Optuna imports in the middle of a study
_NEEDED = {"cmaes": "cmaes"}


def pruner_name(study: StudyBlock) -> str:
    """Return the name of the pruner, with the default filled in: median for one metric, none for several."""
    if study.pruner is None:
        return "median" if len(study.metrics) == 1 else "none"
    return str(study.pruner["name"])


def make_sampler(study: StudyBlock, space: Space, place: int) -> optuna.samplers.BaseSampler:
    """Build the sampler of a trial.

    Its seed comes from that of the study and the place of the trial: workers do not repeat each other, and a study
    that was interrupted goes on as if it had not been.
    """
    arguments = {key: value for key, value in study.sampler.items() if key != "name"}
    name = study.sampler["name"]
    seed = arguments.get("seed")
    if seed is not None and name not in _ONE_SEED:
        # apart for any two seeds and places that anybody uses
        arguments["seed"] = (seed * 1_000_003 + place) % 2**32
    if name == "grid":
        arguments["search_space"] = space.grid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](**arguments)


def make_pruner(study: StudyBlock) -> optuna.pruners.BasePruner:
    """Build the pruner."""
    arguments = {key: value for key, value in (study.pruner or {}).items() if key != "name"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PRUNERS[pruner_name(study)](**arguments)


def check_sampling(study: StudyBlock, space: Space) -> None:
    """Refuse a sampler or a pruner that could not be built, or that does not suit the study.

    Raises
    ------
    ExperimentError
    """
    _check_call("study.sampler", study.sampler, SAMPLERS, "sampler")
    if study.sampler["name"] in _FINITE and space.grid() is None:
        endless = next(p.name for p in space.parameters if p.values() is None)
        raise ExperimentError(
            f"study.sampler: {study.sampler['name']} needs choices, whole numbers without log or a step for every"
            f" parameter, and {endless!r} has none of them"
        )
    seed = study.sampler.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31):
        raise ExperimentError(f"study.sampler.seed: must be a whole number from 0 to 2147483647, or null, not {seed!r}")
    package = _NEEDED.get(study.sampler["name"])
    if package is not None and find_spec(package) is None:
        raise ExperimentError(f"study.sampler: {study.sampler['name']} needs {package}: pip install {package}")
    _try(lambda: make_sampler(study, space, 0), "study.sampler")
    if study.pruner is not None:
        _check_call("study.pruner", study.pruner, PRUNERS, "pruner")
    name = pruner_name(study)
    if name != "none" and len(study.metrics) > 1:
        raise ExperimentError(f"study.pruner: {name} needs one metric, and several are given; choose none")
    if name == "wilcoxon" and study.folds == 1:
        raise ExperimentError("study.pruner: wilcoxon compares folds; set study.folds to 2 or more")
    _try(lambda: make_pruner(study), "study.pruner")


def count_trials(study: StudyBlock, space: Space) -> int:
    """Return how many trials the study is for: fewer than asked where the sampler has no more to try."""
    if study.sampler["name"] not in _FINITE:
        return study.trials
    # the first trial, the default configuration, is on no grid
    return min(study.trials, 1 + math.prod(len(values) for values in (space.grid() or {}).values()))


def _check_call(where: str, block: Mapping[str, Any], known: Mapping[str, type], what: str) -> None:
    name = block.get("name")
    if name is None:
        raise ExperimentError(f"{where}.name: is missing")
    if name not in known:
        raise ExperimentError(f"{where}.name: there is no {what} {name!r}{nearest(str(name), known)}")
    arguments = [key for key in inspect.signature(known[name]).parameters if key not in _OBJECTS]
    for key in block:
        if key != "name" and key not in arguments:
            raise ExperimentError(f"{where}.{key}: {name} has no such argument{nearest(str(key), arguments)}")


def _try(build: Any, where: str) -> None:
    try:
        build()
    except (TypeError, ValueError, AttributeError) as error:
        raise ExperimentError(f"{where}: {' '.join(str(error).split())}") from None
