"""Predicted against true values, a plot for each model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import Figure, Look, axis, digits, reference

_MAX_POINTS = 800


class Truth(Section):
    """Points of the test rows of the first split."""

    key, title, link = "truth", "Predicted against true", "Predicted and true"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        if run.scored.empty:
            return None
        shown = sample_rows(run.scored)
        ends = limits(shown)
        return {
            "n_shown": shown["row"].nunique(),
            "figures": [
                page.add(
                    truth_figure(shown[shown["model"] == name], page.look[name], ends, run.table["target"]),
                    f"Predicted against true values of {name}",
                    name,
                )
                for name in run.summary["model"]
                if name in set(shown["model"])
            ],
        }


def sample_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of the first split for some of its test rows, the same for every model."""
    first = predictions[predictions["seed"] == predictions["seed"].iloc[0]]
    rows = first["row"].unique()
    if len(rows) > _MAX_POINTS:
        rows = np.random.default_rng(0).choice(rows, _MAX_POINTS, replace=False)
    shown: pd.DataFrame = first[first["row"].isin(rows)]
    return shown


def limits(shown: pd.DataFrame) -> list[float]:
    """Ends of the axes that all models share; a handful of wild predictions may lie beyond them."""
    wide = np.concatenate([shown["y_true"].quantile([0, 1]), shown["y_pred"].quantile([0.002, 0.998])])
    margin = 0.03 * (wide.max() - wide.min())
    return [float(wide.min() - margin), float(wide.max() + margin)]


def truth_figure(shown: pd.DataFrame, look: Look, ends: list[float], target: str) -> Figure:
    """Predicted against true values of one model."""
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": digits(shown["y_true"]),
        "y": digits(shown["y_pred"]),
        "text": [f"row {row}" for row in shown["row"]],
        "marker": {"size": 4.5, "opacity": 0.45, "color": look.color, "symbol": look.symbol},
        "hovertemplate": "%{text}<br>true %{x}<br>predicted %{y}<extra></extra>",
    }
    square: Figure = {"range": ends, "nticks": 5, "tickangle": 0}
    if max(map(abs, ends)) >= 10_000:
        # 15k: long numbers would run into each other
        square["tickformat"] = "~s"
    return {
        "data": [reference(ends, ends), points],
        "layout": {"xaxis": axis(f"true {target}", **square), "yaxis": axis("predicted", **square)},
    }
