"""The history of a training, in the shape that XGBoost gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bridges_tabular
from bridges_tabular import TabularBridgeRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 2))
Y = 500 + 40 * X[:, 0] + RNG.normal(size=150)
SMALL: dict[str, Any] = {"n_bins": 8, "max_epochs": 4, "backbone_params": {"layers": "8"}}


@pytest.mark.parametrize("metric", ["rmse", "crps"])
def test_scores_of_every_epoch_are_kept(metric: str, tmp_path: Path) -> None:
    heard: list[Any] = []
    model = TabularBridgeRegressor(early_stopping_metric=metric, **SMALL)
    model.fit(X[:100], Y[:100], eval_set=(X[100:], Y[100:]), report=lambda *step: heard.append(step[2]))
    history = model.evals_result()["validation_0"]
    assert list(history)[-1] == metric
    assert history == {name: [scores[name] for scores in heard] for name in heard[0]}
    assert len(history[metric]) == 4
    assert model.best_epoch_ == np.argmin(history[metric])
    # in units of the target
    error = np.sqrt(np.mean((model.predict(X[100:]) - Y[100:]) ** 2))
    assert history["rmse"][model.best_epoch_] == pytest.approx(error, rel=1e-4)
    model.save(tmp_path / "m")
    assert bridges_tabular.load(tmp_path / "m").evals_result() == model.evals_result_ == {"validation_0": history}


def test_a_refitted_network_keeps_the_history_that_chose_its_epochs() -> None:
    model = TabularBridgeRegressor(refit=True, **SMALL).fit(X, Y)
    plain = TabularBridgeRegressor(**SMALL).fit(X, Y)
    assert model.evals_result() == plain.evals_result()
