"""Learning curves: the validation scores of every fit, kept while it runs, and their plots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bridges_tabular._progress import Listener
from bridges_tabular.experiments.engines import ENGINES
from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import SCORES
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import (
    Figure,
    Look,
    axis,
    by_model,
    digits,
    line,
    log_axis,
    of_model,
)

_MAX_STEPS = 150
_HEADINGS = {score.name: score.heading for score in SCORES}


class LearningCurve:
    """A listener that keeps the validation scores of a fit and passes every step on.

    A fit in stages starts counting anew; the last stage that is scored remains.
    """

    def __init__(self, listener: Listener) -> None:
        self._steps: list[tuple[int, float]] = []
        self._listener = listener

    def __call__(self, done: int, total: int, score: float | None = None) -> None:
        """Take a step of the fit."""
        if score is not None and math.isfinite(score):
            if self._steps and done <= self._steps[-1][0]:
                self._steps.clear()
            self._steps.append((done, score))
        self._listener(done, total, score)

    def of(self, model: Any) -> list[tuple[int, str, float]]:
        """Return the steps of a fitted model: epochs or rounds, counted from 1, the name of the score, and the score.

        A model with a log of its own, as XGBoost keeps one in ``evals_result_``, knows best; what it watches is its
        last metric. Without a log, the scores are those that were heard, RMSEs.
        """
        log = getattr(model, "evals_result_", {}).get("validation_0")
        if not log:
            return [(step, "rmse", score) for step, score in self._steps]
        metric, values = list(log.items())[-1]
        return [(step, str(metric), float(score)) for step, score in enumerate(values, 1)]


class Curves(Section):
    """One plot for each engine and metric: epochs and rounds do not compare, nor do RMSE and CRPS."""

    key, title, link = "curves", "Learning curves", "Learning"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:  # noqa: D102
        figures = []
        for name in run.results["engine"].unique():
            models = run.results.loc[run.results["engine"] == name, "model"]
            curves = run.curves[run.curves["model"].isin(models)]
            # a run of another version may name one that is not known
            engine = ENGINES.get(name)
            title, step = (engine.title, engine.step) if engine else (name, "step")
            for metric in curves["metric"].unique():
                score = _HEADINGS.get(metric, metric)
                figure = curve_figure(curves[curves["metric"] == metric], step, score, page.look)
                figures.append(page.add(figure, f"Learning curves, {title}, {score}", f"{title}, {score}"))
        return {"figures": figures} if figures else None


def curve_figure(curves: pd.DataFrame, step: str, score: str, look: Mapping[str, Look]) -> Figure:
    """Validation score over the steps of every fit; a point marks the best step."""
    traces: list[Figure] = []
    for name, steps in [
        (name, steps) for name, rows in by_model(curves) for _, steps in rows.groupby("seed", sort=False)
    ]:
        model = of_model(name, look[name])
        every = max(1, len(steps) // _MAX_STEPS)
        shown = steps.iloc[::every]
        hover = f"{step} %{{x}}<br>validation %{{y}}<extra>%{{fullData.name}}</extra>"
        traces.append(
            line(shown["step"], shown["score"], look[name].color, dash=look[name].dash, width=1.5, hovertemplate=hover)
            | model
        )
        best = steps.loc[[steps["score"].idxmin()]]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": digits(best["step"]),
                "y": digits(best["score"]),
                "marker": {"size": 9, "color": look[name].color, "symbol": look[name].symbol},
                "hovertemplate": "best: " + hover,
            }
            | model
        )
    # the first steps of boosting are far off, and would leave no room for what follows
    late = curves[curves["step"] > 1]
    layout = {
        "xaxis": axis(step, rangemode="tozero", nticks=6),
        "yaxis": log_axis(f"validation {score}", (late if len(late) else curves)["score"], margin=1.05),
    }
    return {"data": traces, "layout": layout}
