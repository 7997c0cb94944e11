"""Accuracy against the time to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import TESTED
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import (
    Figure,
    Look,
    axis,
    by_model,
    digits,
    log_axis,
    of_model,
    plot_text,
)


class Time(Section):
    """A plot for each score that is tested."""

    key, title, link = "time", "Accuracy and time", "Time"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        results = run.results.dropna(subset="fit_seconds")
        if results["model"].nunique() < 2:
            return None
        figures = [
            page.add(
                time_figure(results, score.name, score.heading, page.look),
                f"Seconds to train against {score.heading}",
                score.heading,
            )
            for score in TESTED
            if results[score.name].notna().any()
        ]
        return {"figures": figures}


def time_figure(results: pd.DataFrame, score: str, heading: str, look: Mapping[str, Look]) -> Figure:
    """Seconds to train against a score, a point for each model with the spread over seeds."""
    traces = []
    for name, rows in by_model(results):
        seconds, values = rows["fit_seconds"], rows[score]
        if values.isna().all():
            continue
        bars = {} if len(rows) < 2 else {"error_y": _bar(values), "error_x": _bar(seconds)}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": digits([seconds.mean()]),
                "y": digits([values.mean()]),
                "marker": {"size": 12, "color": look[name].color, "symbol": look[name].symbol},
                "hovertemplate": f"%{{x}} s<br>{plot_text(heading)} %{{y}}<extra>%{{fullData.name}}</extra>",
                **bars,
                **of_model(name, look[name]),
            }
        )
    time = log_axis("seconds to train", results["fit_seconds"])
    return {"data": traces, "layout": {"xaxis": time, "yaxis": axis(heading, nticks=6)}}


def _bar(values: pd.Series) -> Figure:
    error = values.std(ddof=1) / np.sqrt(len(values))
    return {"array": digits([error]), "thickness": 1, "width": 3}
