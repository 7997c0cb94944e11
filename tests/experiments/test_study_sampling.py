"""Samplers and pruners are refused before a trial, also for what Optuna looks at late."""

from __future__ import annotations

from typing import Any

import pytest

from bridges_tabular.experiments import ExperimentError
from bridges_tabular.experiments.blocks import ModelBlock, StudyBlock
from bridges_tabular.experiments.studies.sampling import PRUNERS, SAMPLERS, check_sampling
from bridges_tabular.experiments.studies.space import read_space

FINITE = {
    "n_bins": {"type": "int", "low": 8, "high": 16, "step": 8},
    "subsample": {"type": "float", "low": 0.5, "high": 1.0, "step": 0.1},
    "placement": {"type": "categorical", "choices": ["blend", "uniform"]},
}
BLOCK = ModelBlock("xgboost", {"scheme": "soft", "n_bins": 8})


def check(space: dict[str, Any] = FINITE, **study: Any) -> None:
    block = StudyBlock("model", space=space, bundled_space=False, **study)
    check_sampling(block, read_space("model", BLOCK, block, 0))


# what a Gaussian process needs takes seconds to import
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_each_is_taken_as_it_is(sampler: str, pruner: str) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    check(sampler={"name": sampler}, pruner={"name": pruner}, folds=2)


@pytest.mark.parametrize(
    ("block", "arguments", "message"),
    [
        ("sampler", {"name": ["tpe"]}, r"sampler.name: there is no sampler \['tpe'\]"),
        ("sampler", {"name": {}}, r"sampler.name: there is no sampler \{\}"),
        ("sampler", {"name": "tpe", "n_startup_trials": "x"}, "sampler: '<' not supported between"),
        ("sampler", {"name": "tpe", "prior_weight": -1}, "sampler: A non-negative value must be specified"),
        ("sampler", {"name": "tpe", "n_startup_trials": 40, "n_ei_candidates": "x"}, "sampler: invalid literal"),
        ("sampler", {"name": "tpe", "n_ei_candidates": 0}, "sampler: index 0 is out of bounds"),
        ("sampler", {"name": "tpe", "n_ei_candidates": 10**9}, "n_ei_candidates: must be a number of at most 1000000"),
        ("sampler", {"name": "tpe", "prior_weight": float("nan")}, "prior_weight: must be a number of at most"),
        ("sampler", {"name": "nsgaii", "population_size": 10**400}, "population_size: must be a number of at most"),
        ("sampler", {"name": "tpe", "seed": 10**400}, "sampler.seed: must be a whole number from 0 to 2147483647"),
        ("pruner", {"name": ["median"]}, r"pruner.name: there is no pruner \['median'\]"),
        ("pruner", {"name": "median", "interval_steps": float("inf")}, "interval_steps: must be a number of at most"),
        ("pruner", {"name": "hyperband", "min_resource": "x"}, "pruner: unsupported operand"),
        ("pruner", {"name": "hyperband", "reduction_factor": 1}, "pruner: float division by zero"),
        ("pruner", {"name": "hyperband", "min_resource": -1}, "pruner: "),
        ("pruner", {"name": "successive_halving", "min_early_stopping_rate": 10**12}, "min_early_stopping_rate: "),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_a_trial(block: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=rf"^study\.(\w+\.)*{message}") as caught:
        check(**{block: arguments})
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_a_grid_without_an_end_is_refused_in_a_moment(name: str) -> None:
    check(sampler={"name": name})
    with pytest.raises(ExperimentError, match=f"{name} takes at most 100000 configurations, and there are"):
        check(FINITE | {"subsample": {"type": "float", "low": 0.5, "high": 1.0, "step": 1e-9}}, sampler={"name": name})
    with pytest.raises(ExperimentError, match=f"{name} needs choices"):
        check(FINITE | {"subsample": {"type": "float", "low": 0.5, "high": 1.0}}, sampler={"name": name})
