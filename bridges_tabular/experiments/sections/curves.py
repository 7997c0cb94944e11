"""Learning curves: the validation scores of every fit, kept while it runs, and their plots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

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

if TYPE_CHECKING:
    from bridges_tabular.regressors.progress import Listener

_MAX_STEPS = 150
_HEADINGS = {score.name: score.heading for score in SCORES}


class LearningCurve:
    """A listener that keeps the validation scores of a fit and passes every step on.

    A fit in stages starts counting anew; the last stage that is scored remains.
    """

    def __init__(self, listener: Listener) -> None:
        self._steps: list[tuple[str, float]] = []
        self._before = 0
        self._listener = listener

    def __call__(self, step: int, total: int, scores: Mapping[str, float]) -> None:
        """Take a step of the fit; the score that stops it is the last."""
        if scores:
            name, score = list(scores.items())[-1]
            if step <= self._before:
                self._steps.clear()
            if math.isfinite(score):
                self._steps.append((name, score))
        self._before = step
        self._listener(step, total, scores)

    def steps(self) -> list[tuple[int, str, float]]:
        """Return the steps that were scored: epochs or rounds, counted from 1, the name of the score, and the score."""
        return [(step, name, score) for step, (name, score) in enumerate(self._steps, 1)]


class Curves(Section):
    """One plot for each engine, metric and transform: epochs and rounds do not compare, nor do RMSE and CRPS.

    With a ``target_transform`` scores are of the transformed target, in its deviations.
    """

    key, title, link = "curves", "Learning curves", "Learning"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        figures = []
        for name in run.results["engine"].unique():
            models = run.results.loc[run.results["engine"] == name, "model"]
            curves = run.curves[run.curves["model"].isin(models)]
            # a run of another version may name one that is not known
            engine = ENGINES.get(name)
            title, step = (engine.title, engine.step) if engine else (name, "step")
            units = curves["model"].map(lambda model: _units(run, model))
            for metric, unit in dict.fromkeys(zip(curves["metric"], units, strict=True)):
                score = f"{_HEADINGS.get(metric, metric)}{unit}"
                figure = curve_figure(curves[(curves["metric"] == metric) & (units == unit)], step, score, page.look)
                figures.append(page.add(figure, f"Learning curves, {title}, {score}", f"{title}, {score}"))
        return {"figures": figures} if figures else None


def _units(run: Run, model: str) -> str:
    """What follows the name of a score that is not in the target's units."""
    block = run.experiment.models.get(model)
    transform = None if block is None else block.params.get("target_transform")
    return "" if transform is None else f" after {transform}, in deviations"


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
