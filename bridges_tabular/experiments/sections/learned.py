"""Between number and classes: the code that a model over bins learned, described as plain values, and its plots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import entropy

from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.base import FittedModel, Page, Section
from bridges_tabular.experiments.sections.drawing import SHADES, SOFT, Figure, Look, axis, digits, line, reference

_GRID = 240
_HISTOGRAM_CELLS = 60
_MAX_CURVES = 32


class Learned(Section):
    """Encoder, bins and decoder of each model over bins."""

    key, title, link = "learned", "Between number and classes", "Classes"
    file = File("encoders.json")

    def collect(self, fitted: FittedModel) -> list[dict[str, Any]]:
        table, split = fitted.table, fitted.split
        rows = table.counted(split.test)
        y, exposure = table.y[rows], table.exposure_of(rows)
        # bins are on rates
        rates = y if exposure is None else y / exposure
        encoder = describe_encoder(fitted.model, table.X.iloc[rows], rates, table.weight_of(rows))
        key = {"table": table.name, "model": fitted.name, "seed": split.seed}
        return [] if encoder is None else [key | encoder]

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        encoders = [_show(encoder, run.table["target"], page) for encoder in run.collected[self.file]]
        return {"encoders": encoders} if encoders else None


def _show(encoder: dict[str, Any], target: str, page: Page) -> dict[str, Any]:
    name, look = encoder["model"], page.look[encoder["model"]]
    if encoder["on"] == "error":
        target, counted = f"{target} less the location", "errors of the point prediction on test rows"
    else:
        counted = "targets of the test rows"
    plots = (
        (encoder_figure(encoder, target), "Encoder", "psi(y): how a value is spread over the classes."),
        (bins_figure(encoder, look, target), "Bins", f"Edges of the bins below the histogram of the {counted}."),
        (
            use_figure(encoder),
            "Use",
            f"Share of the {counted} that falls to each class; on the line, all are used alike; near 0, one is idle.",
        ),
        (
            entropy_figure(encoder, look, target),
            "Entropy",
            "How many classes share a value: 0 is one class alone, 0.7 two in equal parts, 1.4 four.",
        ),
        (
            decoder_figure(encoder, look),
            "Decoder",
            "What each class is decoded as; on the line, its own centre.",
        ),
        (
            width_figure(encoder, look, target),
            "Widths",
            "Width of each class; dotted, how widely the encoder spreads a value.",
        ),
    )
    return {
        "model": name,
        "on_errors": encoder["on"] == "error",
        "figures": [page.add(figure, f"{title} of {name}", title, note=note) for figure, title, note in plots],
    }


def describe_encoder(
    model: Any, X: pd.DataFrame, y: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> dict[str, Any] | None:
    """Classes, decoder and encoder of a fitted model over bins, as values that JSON can hold; None without a code.

    Parameters
    ----------
    model : Regressor
    X, y : DataFrame of shape (n, p), array of shape (n,)
        Rows whose targets, or errors where the bins lie on those, are counted along the axis of the bins and coded.
    weight : array of shape (n,), optional
        Of the rows, for ``use``.

    Returns
    -------
    dict
        ``on`` ("target" or "error"), ``edges`` (k + 1,), ``centers`` (k,) and ``values`` (k,), those of the decoder;
        ``y`` (g,) and the encoder ``psi`` (g, k) there; ``histogram`` with its ``edges`` and ``counts``. All in units
        of the target. ``use`` (k,) is the mean code of the rows.
    """
    on_errors = getattr(model, "location", "none") != "none"
    # errors of a transformed target are on no axis that the report has
    if not model.codecs_ or (on_errors and getattr(model, "target_transform", None) is not None):
        return None
    from bridges_tabular.regressors.learned import psi_of

    codec, scale = model.codecs_[0], model.codec_scales_[0]
    edges, centers = scale.restore(codec.bins.edges), scale.restore(codec.bins.centers)
    # finer where the classes are narrower
    within = np.linspace(0, 1, _GRID // len(centers) + 2)[:-1]
    grid = np.append((edges[:-1, None] + within * np.diff(edges)[:, None]).ravel(), edges[-1])
    counted = y - model.predict(X) if on_errors else y
    counts, cells = np.histogram(counted, bins=_HISTOGRAM_CELLS)
    psi, rows = (psi_of(codec, scale.standardise(at)) for at in (grid, counted))
    values = scale.restore(codec.decoder.values.detach().double().numpy())
    return {
        "on": "error" if on_errors else "target",
        "edges": edges.tolist(),
        "centers": centers.tolist(),
        "values": values.tolist(),
        "y": grid.tolist(),
        "psi": psi.round(5).tolist(),
        "use": np.average(rows, axis=0, weights=weight).round(6).tolist(),
        "histogram": {"edges": cells.tolist(), "counts": counts.tolist()},
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


def _shade(position: float) -> str:
    at = position * (len(SHADES) - 1)
    color = [round(float(np.interp(at, range(len(SHADES)), channel))) for channel in zip(*SHADES, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*color)
