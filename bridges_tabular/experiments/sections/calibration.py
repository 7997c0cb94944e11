"""How far predicted probabilities agree with what happened: plots of the probability integral transform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import Figure, Look, axis, by_model, line, of_model, reference

_PIT_CELLS = 20
_LEVELS = np.linspace(0, 1, 41)


class Calibration(Section):
    """Of all models with a distribution, over the test rows of all splits."""

    key, title, link = "calibration", "Calibration", "Calibration"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        if run.scored["pit"].isna().all():
            return None
        plots = (
            (pit_figure, "PIT histogram", "Flat is right; a hump: too wide; a bowl: too narrow; a slope: biased."),
            (
                reliability_figure,
                "Reliability",
                "On the line is right: a 30 % quantile lies above 30 % of truths.",
            ),
            (coverage_figure, "Coverage", "On the line is right; below it, intervals are too narrow."),
        )
        figures = [page.add(draw(run.scored, page.look), title, title, note=note) for draw, title, note in plots]
        return {"figures": figures}


def pit_figure(predictions: pd.DataFrame, look: Mapping[str, Look]) -> Figure:
    """Histograms of the transforms: flat if calibrated, a hump if too wide, a bowl if too narrow."""
    traces = [reference([0, 1], [1, 1])]
    edges = np.linspace(0, 1, _PIT_CELLS + 1)
    for name, pit, weight in _transforms(predictions):
        density = np.histogram(pit, bins=edges, weights=weight)[0] / weight.sum() * _PIT_CELLS
        traces.append(
            line(edges, [*density, density[-1]], look[name].color, dash=look[name].dash, shape="hv")
            | {"hovertemplate": "%{y} of what is right<extra>%{fullData.name}</extra>"}
            | of_model(name, look[name])
        )
    heights = {"rangemode": "tozero", "nticks": 5}
    return {
        "data": traces,
        "layout": {
            "xaxis": axis("probability predicted below the truth", range=[0, 1], nticks=6),
            "yaxis": axis("relative frequency", **heights),
        },
    }


def reliability_figure(predictions: pd.DataFrame, look: Mapping[str, Look]) -> Figure:
    """Share of truths below each predicted quantile."""
    return _against_nominal(
        {
            name: np.array([np.average(pit <= level, weights=weight) for level in _LEVELS])
            for name, pit, weight in _transforms(predictions)
        },
        look,
        "level of the quantile",
        "share of truths below it",
    )


def coverage_figure(predictions: pd.DataFrame, look: Mapping[str, Look]) -> Figure:
    """Share of truths inside each central interval."""
    return _against_nominal(
        {
            name: np.array([np.average(np.abs(pit - 0.5) <= level / 2, weights=weight) for level in _LEVELS])
            for name, pit, weight in _transforms(predictions)
        },
        look,
        "nominal coverage of the interval",
        "share of truths inside",
    )


def _transforms(predictions: pd.DataFrame) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name, rows in by_model(predictions.dropna(subset="pit")):
        yield name, rows["pit"].to_numpy(), rows["weight"].to_numpy()


def _against_nominal(shares: Mapping[str, np.ndarray], look: Mapping[str, Look], nominal: str, observed: str) -> Figure:
    traces = [reference([0, 1], [0, 1])]
    traces += [
        line(_LEVELS, share, look[name].color, dash=look[name].dash)
        | {"hovertemplate": "%{x}: %{y}<extra>%{fullData.name}</extra>"}
        | of_model(name, look[name])
        for name, share in shares.items()
    ]
    unit = {"range": [0, 1], "nticks": 6}
    return {"data": traces, "layout": {"xaxis": axis(nominal, **unit), "yaxis": axis(observed, **unit)}}
