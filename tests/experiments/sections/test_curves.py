from __future__ import annotations

import pandas as pd

from bridges_tabular._progress import listen, report
from bridges_tabular.boosting import XGBBridgeRegressor
from bridges_tabular.experiments.sections.curves import LearningCurve
from bridges_tabular.tabular import TabularBridgeRegressor


def test_a_curve_keeps_the_last_scored_stage_and_passes_steps_on() -> None:
    heard: list[tuple[int, int, float | None]] = []
    curve = LearningCurve(lambda *step: heard.append(step))
    steps = [(1, 2, 5.0), (2, 2, 4.0), (1, 3, 3.0), (2, 3, None), (3, 3, float("inf")), (1, 3, None)]
    with listen(curve):
        for step in steps:
            report(*step)
    assert heard == steps
    assert curve.of(object()) == [(1, "rmse", 3.0)]


def test_curves_of_both_engines_name_what_they_watch(frame: pd.DataFrame) -> None:
    X, y = frame[["size", "kind"]], frame["price"].to_numpy()
    boosted = XGBBridgeRegressor("soft", n_bins=8, n_estimators=6, n_jobs=1, early_stopping_metric="crps")
    network = TabularBridgeRegressor(n_bins=8, max_epochs=3)
    for model, metric in ((boosted, "crps"), (network, "rmse")):
        curve = LearningCurve(lambda *_: None)
        with listen(curve):
            model.fit(X, y)
        steps = pd.DataFrame(curve.of(model), columns=["step", "metric", "score"])
        assert steps["step"].tolist() == list(range(1, len(steps) + 1))
        assert (steps["metric"] == metric).all()
        kept = boosted.best_iteration_ if model is boosted else network.best_epoch_
        assert steps["score"].idxmin() == kept
