"""Trials of a study share what is prepared of its rows, and find what fits of their own would find."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from bridges_tabular.core import scores
from bridges_tabular.experiments import BridgeStudy
from bridges_tabular.experiments.blocks import ModelBlock
from bridges_tabular.experiments.engines import build_model
from bridges_tabular.experiments.splits import make_splits
from bridges_tabular.experiments.studies.objective import make_parts
from bridges_tabular.experiments.studies.space import with_values
from bridges_tabular.experiments.tables import load_table
from bridges_tabular.regressors.tables import TableEncoder

RATE = {"learning_rate": {"type": "float", "low": 0.05, "high": 0.5}}
BOOSTED = {"engine": "xgboost", "n_estimators": 8, "n_jobs": 1, "n_bins": 8, "scheme": "soft", "location": "none"}
NETWORK = {"engine": "tabular", "max_epochs": 3, "n_bins": 8, "backbone_params": {"layers": "16"}}


def choices(*values: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(values)}


def make_study(content: dict[str, Any], block: dict[str, Any], space: dict[str, Any], **study: Any) -> BridgeStudy:
    study = {"model": "m", "bundled_space": False, "space": space, "pruner": {"name": "none"}} | study
    return BridgeStudy(content | {"models": {"m": block}, "study": study})


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize(
    ("block", "space"),
    [
        (BOOSTED, {"xgb_params.max_bin": choices(4, 16, 256)}),
        (BOOSTED, {"scheme": choices("soft", "hard", "least_squares"), "n_bins": choices(4, 8)}),
        (
            BOOSTED | {"location": "cross_fitted", "calibration_fraction": 0.3},
            {"location": choices("cross_fitted", "none")},
        ),
        # sketches by the gradients, and so by the rows drawn
        (
            BOOSTED | {"scheme": "least_squares", "tree_method": "approx", "xgb_params": {"max_bin": 16}},
            {"subsample": {"type": "float", "low": 0.3, "high": 0.9}},
        ),
        (NETWORK, {"scheme": choices("end_to_end", "soft", "least_squares"), "n_bins": choices(4, 8)}),
        (NETWORK | {"calibration_fraction": 0.3}, {"batch_size": choices(16, 64)}),
    ],
    ids=["quantiles", "labels", "location", "approx", "network", "conformal"],
)
def test_trials_find_what_fits_of_their_own_find(
    content: dict[str, Any], block: dict[str, Any], space: dict[str, Any], folds: int
) -> None:
    study = make_study(content, block, RATE | space, trials=6, folds=folds, metric=["rmse", "crps"])
    found = study.optimize(quiet=True).studies["m"].trials
    experiment = study.experiment
    table = load_table(experiment.table)
    split = make_splits(table, experiment.split)[0]
    assert experiment.study is not None
    parts = make_parts(table, split, experiment.study)
    for trial in found:
        results = []
        for part in parts:
            params = with_values(experiment.models["m"].params, trial.params)
            model = build_model("m", ModelBlock(block["engine"], params), split.seed)
            # copies, which no fit before has seen
            model.fit(part.train.X.copy(), part.train.y, eval_set=(part.held_out.X.copy(), part.held_out.y))
            scored = part.scored.X.copy()
            crps = scores.crps(model.predict_distribution(scored), part.scored.y)
            results.append([scores.rmse(part.scored.y, model.predict(scored)), crps])
        assert trial.values == np.mean(results, axis=0).tolist()


@pytest.fixture
def matrices(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[xgb.DMatrix]]:
    """Every matrix that XGBoost quantises."""
    made = []

    class Watched(xgb.QuantileDMatrix):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(weakref.ref(self))

    monkeypatch.setattr(xgb, "QuantileDMatrix", Watched)
    return made


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every time that a table is learned or turned into numbers."""
    made: list[str] = []

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            made.append(name)
            return method(*args)

        return call

    for name in ("fit", "transform"):
        monkeypatch.setattr(TableEncoder, name, watched(name, getattr(TableEncoder, name)))
    return made


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize(
    ("block", "own"),
    # a location differs from trial to trial, and is one more column of two matrices
    [
        (BOOSTED, 0),
        (BOOSTED | {"location": "cross_fitted"}, 2),
        (BOOSTED | {"calibration_fraction": 0.3}, 0),
        (NETWORK, 0),
    ],
    ids=["bins", "location", "conformal", "network"],
)
def test_more_trials_prepare_nothing_more(
    content: dict[str, Any],
    matrices: list[weakref.ref[xgb.DMatrix]],
    readings: list[str],
    block: dict[str, Any],
    own: int,
    folds: int,
) -> None:
    quantised, read = [], []
    for trials in (1, 4):
        matrices.clear()
        readings.clear()
        make_study(content, block, RATE, trials=trials, folds=folds).optimize(quiet=True)
        quantised.append(len(matrices))
        read.append(len(readings))
    assert quantised[1] - quantised[0] == 3 * folds * own
    assert quantised[0] > 0 or block is NETWORK
    assert read[1] == read[0] > 0


def test_a_study_keeps_few_matrices_and_none_when_it_is_over(
    content: dict[str, Any], matrices: list[weakref.ref[xgb.DMatrix]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []
    train = xgb.train

    def watched(*args: Any, **kwargs: Any) -> xgb.Booster:
        alive.append(sum(matrix() is not None for matrix in matrices))
        return train(*args, **kwargs)

    monkeypatch.setattr(xgb, "train", watched)
    space = {"xgb_params.max_bin": {"type": "int", "low": 4, "high": 63}}
    study = make_study(content, BOOSTED, space, trials=20, sampler={"name": "random", "seed": 0})
    study.optimize(quiet=True)
    assert len(matrices) > 30
    assert 2 < max(alive) <= 16
    gc.collect()
    assert not [matrix for matrix in matrices if matrix() is not None]
