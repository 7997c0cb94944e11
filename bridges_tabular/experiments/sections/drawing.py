"""What the plots of all sections are made of: plain plotly figures; the page adds fonts, margins and colours."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Figure = dict[str, Any]

# of medium lightness, to stand out on white and on black; apart for the colour-blind (after Okabe and Ito)
_COLORS = ("#2f7fc1", "#d5622b", "#159a73", "#b565ac", "#c08a00", "#4aa6d6", "#8a8f3a", "#c44e5f")
# of an order, from first to last (Matplotlib's viridis without its dark and light ends)
SHADES = ((72, 99, 200), (38, 130, 178), (31, 158, 137), (85, 184, 96), (190, 188, 40))
# tell models apart that share a colour
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")

# the page paints these in the colours of its text
INK, SOFT = "ink", "soft"
# of an axis of some 300 pixels
_MOST_TICKS = 8


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
    ticks = log_ticks(low, high)
    return axis(
        f"{title} (log scale)",
        type="log",
        range=np.log10([low, high]).round(4).tolist(),
        tickvals=digits(ticks),
        ticktext=[f"{tick:.5g}" if tick >= 1e7 or tick < 1e-4 else f"{tick:,.10g}" for tick in ticks],
    )


def log_ticks(low: float, high: float) -> list[float]:
    """Return three to eight round numbers between two positive ones, far enough apart on a log scale to be read."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // _MOST_TICKS)]
    # within a short range a log scale is nearly a linear one
    raw = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(raw))
    for factor in (5, 2, 1, 0.5, 0.2):
        step = factor * power
        ticks = [float(i * step) for i in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]
        if len(ticks) >= 3:
            break
    return ticks[:: -(-len(ticks) // _MOST_TICKS)]


def by_model(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Go through the rows of each model, in the order in which they first come."""
    for name, rows in frame.groupby("model", sort=False):
        yield str(name), rows


def rows_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return an upright axis with a row for each name, the first on top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short_text(name) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
    }


def percent_text(value: float) -> str:
    """Write a difference in percent with its sign."""
    return "" if np.isnan(value) else f"{value:+.1f} %".replace("-", "−")


def p_text(p: float) -> str:
    """Write a probability; empty where nothing was tested."""
    if np.isnan(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
