"""Plots of the predictive distributions of single rows, and of the code that a model predicts them with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

from bridges_tabular.experiments.examples import read_distribution
from bridges_tabular.experiments.reporting.figures import (
    INK,
    SOFT,
    Figure,
    Look,
    axis,
    digits,
    line,
    of_model,
    reference,
)

_GRID_CELLS = 64
_MAX_CURVES = 32
# from the first class to the last (Matplotlib's viridis without its dark and light ends)
_SCALE = ((72, 99, 200), (38, 130, 178), (31, 158, 137), (85, 184, 96), (190, 188, 40))


def example_figure(example: dict[str, Any], look: Mapping[str, Look], target: str) -> Figure:
    """Densities of one row, as the probability of each of the same small steps, atoms and tails included."""
    distributions = {name: read_distribution(said) for name, said in example["models"].items()}
    points = {name: said["y_pred"] for name, said in example["models"].items()}
    ends = [d.quantile([0.01, 0.99])[0] for d in distributions.values() if d is not None]
    grid = _grid(np.array([example["y_true"], *points.values()]), ends)
    steps = np.diff(grid)
    densities = {name: np.diff(d.cdf(grid[None, :])[0]) / steps for name, d in distributions.items() if d is not None}
    top = 1.08 * max((float(density.max()) for density in densities.values()), default=1.0)
    value = {"hovertemplate": "%{x}<extra>%{fullData.name}</extra>"}
    traces: list[Figure] = [
        line(grid, [*density, density[-1]], look[name].color, dash=look[name].dash, width=1.6, shape="hv")
        | {"fill": "tozeroy", "fillcolor": look[name].color + "20"}
        | value
        | of_model(name, look[name])
        for name, density in densities.items()
    ]
    traces += [
        line([points[name]] * 2, [0, top], look[name].color, width=2, dash="dash") | value | of_model(name, look[name])
        for name, distribution in distributions.items()
        if distribution is None
    ]
    traces.append(line([example["y_true"]] * 2, [0, top], INK, width=2.5, name="truth") | value)
    return {
        "data": traces,
        "layout": {
            "xaxis": axis(target, nticks=5, range=digits(grid[[0, -1]])),
            "yaxis": {"showticklabels": False, "showgrid": False, "range": [0, top]},
        },
    }


def encoder_figure(encoder: dict[str, Any], target: str) -> Figure:
    """psi_j(y) over y, a curve for each class."""
    y, psi = np.array(encoder["y"]), np.array(encoder["psi"])
    k = psi.shape[1]
    traces = []
    for j in range(0, k, -(-k // _MAX_CURVES)):
        # a class is used in one place: the rest of its curve would fill the page with zeros
        used = np.flatnonzero(psi[:, j] > 1e-3)
        if used.size:
            part = slice(max(used[0] - 1, 0), used[-1] + 2)
            hover = f"class {j + 1} of {k}<br>%{{x}}: %{{y}}<extra></extra>"
            shade = _shade(j / max(k - 1, 1))
            traces.append(line(y[part], psi[part, j], shade, width=1.3) | {"hovertemplate": hover})
    return {
        "data": traces,
        "layout": {
            "xaxis": axis(target, nticks=5, range=_middle(encoder)),
            "yaxis": axis("weight of the class", rangemode="tozero"),
        },
    }


def use_figure(encoder: dict[str, Any]) -> Figure:
    """How much of the rows each class takes, in the colours of the encoder's curves."""
    use = 100 * np.array(encoder["use"])
    k = len(use)
    hover = f"class %{{x}} of {k}, centre %{{customdata:,.5~g}}<br>%{{y:.2f}} % of the rows<extra></extra>"
    bars = {
        "type": "bar",
        "x": list(range(1, k + 1)),
        "y": digits(use),
        "customdata": digits(encoder["centers"]),
        "marker": {"color": [_shade(j / max(k - 1, 1)) for j in range(k)]},
        "hovertemplate": hover,
    }
    return {
        "data": [bars, reference([0.5, k + 0.5], [100 / k] * 2)],
        "layout": {
            # few classes would get ticks between them
            "xaxis": axis("class", **({"dtick": 1} if k <= 8 else {"nticks": 8})),
            "yaxis": axis("% of the rows", rangemode="tozero", nticks=5),
            "bargap": 0.2,
        },
    }


def entropy_figure(encoder: dict[str, Any], look: Look, target: str) -> Figure:
    """Entropy of the code of a value, over the values."""
    nats = entropy(np.array(encoder["psi"]), axis=1)
    curve = line(encoder["y"], nats, look.color) | {
        "text": [f"{classes:.1f}" for classes in np.exp(nats)],
        "hovertemplate": "%{x}: %{y:.2f} nats,<br>as of %{text} classes in equal parts<extra></extra>",
    }
    return {
        "data": [curve],
        "layout": {
            "xaxis": axis(target, nticks=5, range=_middle(encoder)),
            "yaxis": axis("entropy, nats", rangemode="tozero", nticks=5),
        },
    }


def decoder_figure(encoder: dict[str, Any], look: Look) -> Figure:
    """Values of the decoder against the centres of the classes."""
    centers, values = np.array(encoder["centers"]), np.array(encoder["values"])
    ends = [float(centers.min()), float(centers.max())]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": digits(centers),
        "y": digits(values),
        "marker": {"size": 7, "color": look.color, "symbol": look.symbol},
        "hovertemplate": "centre %{x}<br>decoded as %{y}<extra></extra>",
    }
    return {
        "data": [reference(ends, ends), points],
        "layout": {"xaxis": axis("centre of the class", nticks=5), "yaxis": axis("value mu of the decoder", nticks=5)},
    }


def width_figure(encoder: dict[str, Any], look: Look, target: str) -> Figure:
    """Widths of the classes, and how widely the encoder spreads a target, over the target."""
    edges, values = np.array(encoder["edges"]), np.array(encoder["values"])
    psi = np.array(encoder["psi"])
    spread = np.sqrt(np.maximum(psi @ values**2 - (psi @ values) ** 2, 0.0))
    steps = line(edges, [*np.diff(edges), np.diff(edges)[-1]], look.color, shape="hv", name="width of the class")
    around = line(encoder["y"], spread, SOFT, dash="dot", name="spread of the code")
    hover = {"hovertemplate": "%{fullData.name} at %{x}: %{y}<extra></extra>"}
    return {
        "data": [steps | hover, around | hover],
        "layout": {"xaxis": axis(target, nticks=5), "yaxis": axis("width", rangemode="tozero", nticks=5)},
    }


def bins_figure(encoder: dict[str, Any], look: Look, target: str) -> Figure:
    """Edges of the bins below the histogram of what they divide."""
    edges, counts = np.array(encoder["histogram"]["edges"]), np.array(encoder["histogram"]["counts"])
    top = float(counts.max())
    bars = {
        "type": "bar",
        "x": digits((edges[1:] + edges[:-1]) / 2),
        "y": digits(counts),
        "width": digits(np.diff(edges)),
        "marker": {"color": look.color, "opacity": 0.35},
        "hovertemplate": "%{x}: %{y} rows<extra></extra>",
    }
    x = np.repeat(encoder["edges"], 3)
    y = np.tile([0.0, -0.09 * top, np.nan], len(encoder["edges"]))
    ticks = line(x, y, look.color, width=1.2) | {"hovertemplate": "edge at %{x}<extra></extra>"}
    return {
        "data": [bars, ticks],
        "layout": {
            "xaxis": axis(target, nticks=5, range=_middle(encoder)),
            "yaxis": axis("rows", nticks=5, range=[-0.12 * top, 1.04 * top]),
            "bargap": 0,
        },
    }


def _middle(encoder: dict[str, Any]) -> list[float | None]:
    """Ends of an axis of the target, or of errors, whose classes at either end are few and far out."""
    if encoder["on"] == "target":
        ends = np.array(encoder["histogram"]["edges"])[[0, -1]]
        return digits(ends + 0.02 * (ends[1] - ends[0]) * np.array([-1, 1]))
    edges = np.array(encoder["edges"])
    low, high = np.quantile(edges, [0.08, 0.92])
    margin = 0.3 * (high - low)
    return digits([max(edges[0], low - margin), min(edges[-1], high + margin)])


def _grid(inside: NDArray[np.float64], ends: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.concatenate([inside, *ends])
    low, high = values.min(), values.max()
    margin = 0.03 * (high - low) or 0.5 * max(abs(high), 1.0)
    return np.linspace(low - margin, high + margin, _GRID_CELLS + 1)


def _shade(position: float) -> str:
    at = position * (len(_SCALE) - 1)
    color = [round(float(np.interp(at, range(len(_SCALE)), channel))) for channel in zip(*_SCALE, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*color)
