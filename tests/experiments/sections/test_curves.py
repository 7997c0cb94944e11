from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.boosting import XGBBridgeRegressor
from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections import COLLECTING
from bridges_tabular.experiments.sections.base import Page
from bridges_tabular.experiments.sections.curves import Curves, LearningCurve
from bridges_tabular.regressors.progress import Report
from bridges_tabular.tabular import TabularBridgeRegressor


def test_a_curve_keeps_the_last_scored_stage_and_passes_steps_on() -> None:
    heard: list[Any] = []
    curve = LearningCurve(lambda *step: heard.append(step))
    steps: list[Any] = [
        (1, 2, {"rmse": 5.0}), (2, 2, {"rmse": 4.0}), (1, 3, {"mae": 2.0, "crps": 3.0}), (2, 3, {}),
        (3, 3, {"crps": float("inf")}), (4, 3, {"crps": 1.0}),
    ]  # fmt: skip
    for step in steps:
        curve(*step)
    assert heard == steps
    assert curve.steps() == [(1, "crps", 3.0), (2, "crps", 1.0)]


def test_curves_of_both_engines_name_what_they_watch(frame: pd.DataFrame) -> None:
    X, y = frame[["size", "kind"]], frame["price"].to_numpy()
    boosted = XGBBridgeRegressor(n_bins=8, n_estimators=6, n_jobs=1, early_stopping_metric="crps")
    network = TabularBridgeRegressor(n_bins=8, max_epochs=3, early_stopping_metric="crps")
    plain = TabularBridgeRegressor(n_bins=8, max_epochs=3)
    for model, metric in ((boosted, "crps"), (network, "crps"), (plain, "rmse")):
        curve = LearningCurve(lambda *_: None)
        model.fit(X, y, report=Report(curve, ("mae", "rmse")))
        steps = pd.DataFrame(curve.steps(), columns=["step", "metric", "score"])
        assert steps["step"].tolist() == list(range(1, len(steps) + 1))
        assert (steps["metric"] == metric).all()
        kept = boosted.best_iteration_ if model is boosted else model.best_epoch_
        assert steps["score"].idxmin() == kept


def test_curves_in_other_units_have_an_axis_of_their_own(saved_run: Path) -> None:
    run = Run.read(saved_run, COLLECTING)
    models = dict(run.experiment.models)
    models["bins"] = replace(models["bins"], params=models["bins"].params | {"target_transform": "log"})
    mixed = replace(run, experiment=replace(run.experiment, models=models), curves=run.curves.assign(metric="rmse"))
    page = Page(mixed)
    shown = Curves().show(mixed, page)
    assert shown is not None
    assert [figure["title"] for figure in shown["figures"]] == [
        "Boosted trees, RMSE",
        "Boosted trees, RMSE after log, in deviations",
    ]
    for figure, model in zip(shown["figures"], ("points", "bins"), strict=True):
        assert {trace["name"] for trace in page.figures[figure["number"]]["data"]} == {model}
