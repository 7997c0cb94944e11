"""Samplers and pruners of Optuna by name, built anew for every trial so that a study can stop and go on anywhere."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection

from bridges_tabular.experiments.blocks import ExperimentError, StudyBlock, nearest
from bridges_tabular.experiments.studies.quiet import quiet_optuna
from bridges_tabular.experiments.studies.space import Space
from bridges_tabular.regressors.words import shown


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
# of what Optuna lists or counts one by one
_LARGEST_GRID = 100_000
_LARGEST_ARGUMENT = 1_000_000
# trials that most samplers and pruners have seen enough after, and those that nobody waits for beforehand
_REHEARSED, _LONGEST_REHEARSAL = 12, 1000


def pruner_name(study: StudyBlock) -> str:
    """Return the name of the pruner, with the default filled in: median, or none where no pruner suits the study."""
    if study.pruner is None:
        return "none" if len(study.metrics) > 1 or _in_several_units(study) else "median"
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
    if study.sampler["name"] in _FINITE:
        _check_finite(study.sampler["name"], space)
    seed = study.sampler.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31):
        raise ExperimentError(
            f"study.sampler.seed: must be a whole number from 0 to 2147483647, or null, not {shown(seed)}"
        )
    package = _NEEDED.get(study.sampler["name"])
    if package is not None and find_spec(package) is None:
        raise ExperimentError(f"study.sampler: {study.sampler['name']} needs {package}: pip install {package}")
    _try(lambda: _rehearse_sampler(study, space), "study.sampler")
    if study.pruner is not None:
        _check_call("study.pruner", study.pruner, PRUNERS, "pruner")
    name = pruner_name(study)
    if name != "none" and len(study.metrics) > 1:
        raise ExperimentError(f"study.pruner: {name} needs one metric, and several are given; choose none")
    if name != "none" and _in_several_units(study):
        raise ExperimentError(
            f"study.pruner: {name} compares rounds of a fit, whose scores are in other units with each"
            " target_transform; choose none, or set study.folds to 2 or more"
        )
    if name == "wilcoxon" and study.folds == 1:
        raise ExperimentError("study.pruner: wilcoxon compares folds; set study.folds to 2 or more")
    _try(lambda: _rehearse_pruner(study), "study.pruner")


def count_trials(study: StudyBlock, space: Space) -> int:
    """Return how many trials the study is for: fewer than asked where the sampler has no more to try."""
    if study.sampler["name"] not in _FINITE:
        return study.trials
    # the first trial takes no cell of a grid, even where it lies in one
    return min(study.trials, 1 + (space.count() or 0))


def _in_several_units(study: StudyBlock) -> bool:
    """Whether the scores that trials report are in units of their own; those of folds are in the target's."""
    return study.folds == 1 and study.space.get("target_transform") is not None


def _check_finite(name: str, space: Space) -> None:
    count = space.count()
    if count is None:
        endless = next(p.name for p in space.parameters if p.count() is None)
        raise ExperimentError(
            f"study.sampler: {name} needs choices, whole numbers without log or a step for every parameter, and"
            f" {shown(endless)} has none of them"
        )
    if count > _LARGEST_GRID:
        raise ExperimentError(
            f"study.sampler: {name} takes at most {_LARGEST_GRID} configurations, and there are {count}"
        )


def _check_call(where: str, block: Mapping[str, Any], known: Mapping[str, type], what: str) -> None:
    name = block.get("name")
    if name is None:
        raise ExperimentError(f"{where}.name: is missing")
    if not isinstance(name, str) or name not in known:
        raise ExperimentError(f"{where}.name: there is no {what} {shown(name)}{nearest(str(name), known)}")
    arguments = [key for key in inspect.signature(known[name]).parameters if key not in _OBJECTS]
    for key, value in block.items():
        if key != "name" and key not in arguments:
            raise ExperimentError(f"{where}.{key}: {name} has no such argument{nearest(str(key), arguments)}")
        if isinstance(value, int | float) and key != "seed" and not abs(value) <= _LARGEST_ARGUMENT:
            raise ExperimentError(f"{where}.{key}: must be a number of at most {_LARGEST_ARGUMENT}, not {shown(value)}")


def _rehearse_sampler(study: StudyBlock, space: Space) -> None:
    """Draw a trial after as many finished ones as the sampler waits for: some look at their arguments only then."""
    sampler = make_sampler(study, space, 0)
    directions = [StudyDirection.MINIMIZE] * len(study.metrics)
    rehearsal = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))
    waits = study.sampler.get("n_startup_trials")
    n = max(_REHEARSED, waits + 1 if isinstance(waits, int) and waits < _LONGEST_REHEARSAL else 0)
    for i in range(n):
        trial = rehearsal.ask()
        space.suggest(trial)
        rehearsal.tell(trial, [float(i % 7)] * len(directions))
    rehearsal.sampler = sampler
    trial = rehearsal.ask()
    space.suggest(trial)
    rehearsal.tell(trial, [0.0] * len(directions))


def _rehearse_pruner(study: StudyBlock) -> None:
    """Ask whether to stop a trial after each of some steps, beside others that did the same."""
    rehearsal = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=make_pruner(study))
    for i in range(_REHEARSED):
        trial = rehearsal.ask()
        for step in range(_REHEARSED):
            trial.report(1.0 / (1 + i + step), step)
            trial.should_prune()
        rehearsal.tell(trial, 1.0 / (1 + i))


def _try(build: Callable[[], None], where: str) -> None:
    try:
        with quiet_optuna():
            build()
    except Exception as error:
        # whatever Optuna does with what it has not looked at
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ExperimentError(f"{where}: {reason}") from None
