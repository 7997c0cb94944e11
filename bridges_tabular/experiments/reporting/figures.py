"""Plots of scores, curves and predictions, as plain plotly figures; the page adds fonts, margins and colours."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Figure = dict[str, Any]

# of medium lightness, to stand out on white and on black; apart for the colour-blind (after Okabe and Ito)
_COLORS = ("#2f7fc1", "#d5622b", "#159a73", "#b565ac", "#c08a00", "#4aa6d6", "#8a8f3a", "#c44e5f")
# tell models apart that share a colour
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")

# the page paints these in the colours of its text
INK, SOFT = "ink", "soft"

_MAX_POINTS = 800
_MAX_STEPS = 150
_MAX_FEATURES = 12


@dataclass(frozen=True)
class Look:
    """How a model is drawn in every plot."""

    index: int
    color: str
    dash: str
    symbol: str


def looks(models: Sequence[str]) -> dict[str, Look]:
    """Give each model a colour, and past the last colour another dash and symbol as well."""
    return {
        name: Look(
            i,
            _COLORS[i % len(_COLORS)],
            _DASHES[i // len(_COLORS) % len(_DASHES)],
            _SYMBOLS[i // len(_COLORS) % len(_SYMBOLS)],
        )
        for i, name in enumerate(models)
    }


def line(x: Iterable[float], y: Iterable[float], color: str, **more: Any) -> Figure:
    """Return a trace of a line; ``more`` overrides its parts, ``width`` and ``dash`` those of the line."""
    stroke = {"color": color, "width": more.pop("width", 1.8), "dash": more.pop("dash", "solid")}
    if "shape" in more:
        stroke["shape"] = more.pop("shape")
    return {"type": "scatter", "mode": "lines", "x": digits(x), "y": digits(y), "line": stroke} | more


def of_model(name: str, look: Look) -> Figure:
    """Return the parts of a trace by which the legend of the page finds a model's traces."""
    return {"name": plot_text(name), "meta": look.index}


def reference(x: Sequence[float], y: Sequence[float]) -> Figure:
    """Return the thin line of what would be right."""
    return line(x, y, INK, width=1, opacity=0.55, hoverinfo="skip")


def axis(title: str, **more: Any) -> Figure:
    """Return an axis with an escaped title."""
    return {"title": {"text": plot_text(title)}} | more


def plot_text(text: str) -> str:
    """Escape a name: plotly reads a little HTML in the texts of a figure."""
    return html.escape(text)


def short_text(text: str, length: int = 18) -> str:
    """Escape a name for the side of a plot, where there is little room."""
    return plot_text(text if len(text) <= length else text[: length - 1] + "…")


def digits(values: Any) -> list[float | None]:
    """Round to what a screen can show, to keep the page small; nothing where a number is missing."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def log_axis(title: str, values: Any, margin: float = 1.25) -> Figure:
    """Return a logarithmic axis over the values; a linear one where a value is not positive.

    Its ticks are at round numbers: plotly's own are many, or none, where the range is short.
    """
    low, high = float(np.min(values)) / margin, float(np.max(values)) * margin
    if not low > 0:
        return axis(title)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 8)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 4:
            break
    return axis(
        f"{title} (log scale)",
        type="log",
        range=np.log10([low, high]).round(4).tolist(),
        tickvals=digits(ticks),
        ticktext=[f"{tick:,.10g}" for tick in ticks],
    )


def by_model(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Go through the rows of each model, in the order in which they first come."""
    for name, rows in frame.groupby("model", sort=False):
        yield str(name), rows


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
    square: Figure = {"range": ends, "nticks": 4, "tickangle": 0}
    if max(map(abs, ends)) >= 10_000:
        # 15k: long numbers would run into each other
        square["tickformat"] = "~s"
    return {
        "data": [reference(ends, ends), points],
        "layout": {"xaxis": axis(f"true {target}", **square), "yaxis": axis("predicted", **square)},
    }


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


def importance_figure(importances: pd.DataFrame, target: str, look: Mapping[str, Look]) -> Figure:
    """Permutation importances of the features that matter most to the models, the first on top."""
    order = importances.groupby("feature", sort=False)["increase"].mean().sort_values(ascending=False, kind="stable")
    features = list(order.index[:_MAX_FEATURES])
    labels = [short_text(feature) for feature in features]
    traces = []
    for name, rows in by_model(importances):
        values = rows.set_index("feature").loc[features]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                # numbers, as two features may look alike once they are cut short
                "y": list(range(len(features))),
                "x": digits(values["increase"]),
                "text": [plot_text(feature) for feature in features],
                "error_x": {"array": digits(values["deviation"]), "thickness": 1, "width": 0},
                "marker": {"size": 10, "color": look[name].color, "symbol": look[name].symbol, "opacity": 0.85},
                "hovertemplate": "%{text}<br>RMSE + %{x}<extra>%{fullData.name}</extra>",
            }
            | of_model(name, look[name])
        )
    return {
        "data": traces,
        "layout": {
            "xaxis": axis(f"increase of the RMSE, in units of {target}", rangemode="tozero", nticks=6),
            "yaxis": {
                "tickvals": list(range(len(features))),
                "ticktext": labels,
                "range": [len(features) - 0.5, -0.5],
            },
        },
        "height": 120 + 28 * len(features),
    }


def _bar(values: pd.Series) -> Figure:
    error = values.std(ddof=1) / np.sqrt(len(values))
    return {"array": digits([error]), "thickness": 1, "width": 3}
