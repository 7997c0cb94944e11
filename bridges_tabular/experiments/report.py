"""The report: one self-contained HTML page, made from the files of a run alone."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from bridges_tabular.experiments.examples import read_distribution
from bridges_tabular.experiments.folders import CONFIG_FILE, RESULTS_FILE
from bridges_tabular.experiments.results import SCORES, read_table, summarize

PREDICTIONS_FILE = "predictions.csv"
EXAMPLES_FILE = "examples.json"
FACTS_FILE = "facts.json"
REPORT_FILE = "report.html"

Figure = dict[str, Any]

# of medium lightness, to stand out on white and on black; apart for the colour-blind (after Okabe and Ito)
_COLORS = ("#2f7fc1", "#d5622b", "#159a73", "#b565ac", "#c08a00", "#4aa6d6", "#8a8f3a", "#c44e5f")
_MAX_POINTS = 800
_GRID_CELLS = 150
# the page paints traces with this colour in the colour of its text
_INK = "ink"


def render_report(folder: str | Path) -> str:
    """Return the report of a run as HTML.

    Parameters
    ----------
    folder : path
        Written by ``Comparison.save``.
    """
    run = Path(folder)
    results = read_table(run / RESULTS_FILE)
    predictions = read_table(run / PREDICTIONS_FILE)
    examples = json.loads((run / EXAMPLES_FILE).read_text(encoding="utf-8"))
    facts = json.loads((run / FACTS_FILE).read_text(encoding="utf-8"))
    summary = summarize(results)
    # colours follow the order of the experiment file, so that they stay when the ranking changes
    models = list(dict.fromkeys(results["model"]))
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(models)}
    target = facts["table"]["target"]
    figures: list[Figure] = []

    def place(figure: Figure) -> int:
        figures.append(figure)
        return len(figures) - 1

    shown = _sample(predictions)
    limits = _limits(shown)
    panels = [
        {
            "model": name,
            "figure": place(_truth_figure(shown[shown["model"] == name], colors[name], limits, target)),
        }
        for name in summary["model"]
    ]
    rows = [
        {
            "row": example["row"],
            "truth": _short(example["y_true"]),
            "figure": place(_example_figure(example, colors, target)),
        }
        for example in examples
    ]
    environment = Environment(
        loader=PackageLoader("bridges_tabular.experiments", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        facts=facts,
        models=models,
        colors=colors,
        scores=SCORES,
        table=_score_rows(results, summary),
        seeds=sorted(set(results["seed"])),
        findings=_findings(summary),
        panels=panels,
        n_shown=len(shown) // len(models),
        examples=rows,
        examples_seed=examples[0]["seed"],
        point_models=[name for name in models if examples[0]["models"][name]["distribution"] is None],
        config=(run / CONFIG_FILE).read_text(encoding="utf-8"),
        figures=figures,
        plotly=_plotly_js(),
    )


def _score_rows(results: pd.DataFrame, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Cells of the table of scores: text, spread over the seeds, whether it is the best of its column."""
    spread = results.groupby("model")[[score.name for score in SCORES]].std().loc[summary["model"]]
    columns = []
    for score in SCORES:
        values = summary[score.name].tolist()
        texts = score.texts([*values, *spread[score.name]])
        columns.append(
            [
                {"text": text, "spread": deviation, "best": best}
                for text, deviation, best in zip(
                    texts[: len(values)], texts[len(values) :], score.is_best(values), strict=True
                )
            ]
        )
    names = summary[["model", "engine", "scheme"]].to_dict("records")
    return [name | {"cells": cells} for name, *cells in zip(names, *columns, strict=True)]


def _findings(summary: pd.DataFrame) -> list[dict[str, str]]:
    """The winners of the two scores that matter most, where there is something to win."""
    questions = {"rmse": "Closest point predictions", "crps": "Best predictive distributions"}
    found = []
    for score in SCORES:
        values = summary[score.name].tolist()
        if score.name in questions and score.is_best(values).any():
            winner = int(score.is_best(values).argmax())
            found.append(
                {
                    "question": questions[score.name],
                    "model": str(summary["model"].iloc[winner]),
                    "score": score.heading,
                    "value": score.texts(values)[winner],
                }
            )
    return found


def _sample(predictions: pd.DataFrame) -> pd.DataFrame:
    """Keep the first split, and of its test rows as many as a plot can show, the same for every model."""
    first = predictions.loc[predictions["seed"] == predictions["seed"].iloc[0]]
    rows = first["row"].unique()
    if len(rows) > _MAX_POINTS:
        rows = np.random.default_rng(0).choice(rows, _MAX_POINTS, replace=False)
    shown: pd.DataFrame = first.loc[first["row"].isin(rows)]
    return shown


def _limits(shown: pd.DataFrame) -> list[float]:
    """Ends of the axes that all models share; a handful of wild predictions may lie beyond them."""
    wide = np.concatenate([shown["y_true"].quantile([0, 1]), shown["y_pred"].quantile([0.002, 0.998])])
    margin = 0.03 * (wide.max() - wide.min())
    return [float(wide.min() - margin), float(wide.max() + margin)]


def _truth_figure(shown: pd.DataFrame, color: str, limits: list[float], target: str) -> Figure:
    axis = {"range": limits, "nticks": 4, "tickangle": 0}
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "x": limits,
                "y": limits,
                "line": {"width": 1, "color": _INK},
                "opacity": 0.6,
                "hoverinfo": "skip",
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": _digits(shown["y_true"]),
                "y": _digits(shown["y_pred"]),
                "text": [f"row {row}" for row in shown["row"]],
                "marker": {"size": 4.5, "opacity": 0.45, "color": color},
                "hovertemplate": "%{text}<br>true %{x}<br>predicted %{y}<extra></extra>",
            },
        ],
        "layout": {
            "xaxis": axis | {"title": {"text": f"true {_plot_text(target)}"}},
            "yaxis": axis | {"title": {"text": "predicted"}},
        },
    }


def _example_figure(example: dict[str, Any], colors: dict[str, str], target: str) -> Figure:
    """Densities of one row, as the probability of each of the same small steps, atoms and tails included."""
    distributions = {name: read_distribution(said) for name, said in example["models"].items()}
    points = {name: said["y_pred"] for name, said in example["models"].items()}
    ends = [d.quantile([0.02, 0.98])[0] for d in distributions.values() if d is not None]
    grid = _grid(np.array([example["y_true"], *points.values()]), ends)
    steps = np.diff(grid)
    densities = {name: np.diff(d.cdf(grid[None, :])[0]) / steps for name, d in distributions.items() if d is not None}
    top = 1.05 * max((float(density.max()) for density in densities.values()), default=1.0)
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": _plot_text(name),
            "x": _digits(grid),
            "y": _digits([*density, density[-1]]),
            "line": {"shape": "hv", "width": 1.6, "color": colors[name]},
            "fill": "tozeroy",
            "fillcolor": colors[name] + "2e",
            "hovertemplate": "%{x}<extra>%{fullData.name}</extra>",
        }
        for name, density in densities.items()
    ]
    traces += [
        _upright(points[name], top, _plot_text(name), {"color": colors[name], "width": 2, "dash": "dash"})
        for name, distribution in distributions.items()
        if distribution is None
    ]
    traces.append(_upright(example["y_true"], top, "truth", {"color": _INK, "width": 2.5}))
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": _plot_text(target)}, "nticks": 5, "range": _digits(grid[[0, -1]])},
            "yaxis": {"showticklabels": False, "showgrid": False, "range": [0, top]},
        },
    }


def _grid(inside: NDArray[np.float64], ends: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.concatenate([inside, *ends])
    low, high = values.min(), values.max()
    margin = 0.03 * (high - low) or 0.5 * max(abs(high), 1.0)
    return np.linspace(low - margin, high + margin, _GRID_CELLS + 1)


def _upright(x: float, top: float, name: str, line: dict[str, Any]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": _digits([x, x]),
        "y": [0, top],
        "line": line,
        "hovertemplate": "%{x}<extra>%{fullData.name}</extra>",
    }


def _plot_text(text: str) -> str:
    """Escape a name: plotly reads a little HTML in the texts of a figure."""
    return html.escape(text)


def _digits(values: Any) -> list[float]:
    """Round to what a screen can show, to keep the page small."""
    return [float(f"{value:.6g}") for value in values]


def _short(value: float) -> str:
    return f"{value:,.6g}"


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
