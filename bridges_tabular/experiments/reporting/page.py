"""What stands on the page, section by section; the template says how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from bridges_tabular.experiments import folders
from bridges_tabular.experiments.reporting import calibration, differences, distributions, figures
from bridges_tabular.experiments.reporting.differences import COMPARED, percent_text
from bridges_tabular.experiments.reporting.figures import Figure, Look
from bridges_tabular.experiments.reporting.run import Run
from bridges_tabular.experiments.results import SCORES, summarize

_QUESTIONS = {
    "rmse": "Closest point predictions",
    "crps": "Best predictive distributions",
    "fit_seconds": "Quickest to train",
}
# what an engine trains, and what its steps are called
_ENGINES = {"tabular": ("Networks", "epoch"), "xgboost": ("Boosted trees", "round")}
_METRICS = {score.name: score.heading for score in SCORES}
_KINDS = {
    "random": ("Random rows", "Drawn at random from the test rows."),
    "worst": ("Worst rows", "The test rows that the models predicted worst on average."),
    "best": ("Best rows", "The test rows that the models predicted best on average."),
}


def write_report(folder: str | Path) -> Path:
    """Make the report of a run anew; what it was made of before is replaced as a whole.

    Parameters
    ----------
    folder : path
        Written by ``Comparison.save``.

    Returns
    -------
    Path of the report

    Raises
    ------
    ExperimentError
        If the folder is not that of a comparison, a file of it cannot be read, or the report cannot be written.
    """
    page = render_report(folder)
    path = Path(folder) / folders.REPORT_FILE
    folders.check_writable(path)
    with folders.new_file(path) as written:
        written.write_text(page, encoding="utf-8")
    return path


def render_report(folder: str | Path) -> str:
    """Return the report of a run as HTML: the same files give the same page to the last byte.

    Raises
    ------
    ExperimentError
        If the folder is not that of a comparison, or a file of it cannot be read.
    """
    run = Run.read(folder)
    look = figures.looks(run.models)
    drawn = _Figures()
    tables = [_table(run.of_table(facts["name"]), facts, i, look, drawn) for i, facts in enumerate(run.facts["tables"])]
    environment = Environment(
        loader=PackageLoader("bridges_tabular.experiments", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        run=run,
        look=look,
        scores=SCORES,
        tables=tables,
        across=_across(run, look, drawn) if len(tables) > 1 else [],
        fewest_tables=differences.FEWEST_TABLES,
        figures=drawn.all,
        plotly=_plotly_js(),
    )


class _Figures:
    """Collects figures; a place on the page refers to its figure by number."""

    def __init__(self) -> None:
        self.all: list[Figure] = []

    def add(self, figure: Figure, label: str, title: str = "") -> dict[str, Any]:
        height = figure.pop("height", None)
        self.all.append(figure)
        return {"number": len(self.all) - 1, "label": label, "title": title, "height": height}


def _table(run: Run, facts: dict[str, Any], number: int, look: dict[str, Look], drawn: _Figures) -> dict[str, Any]:
    """All that the page shows of one table."""
    summary = summarize(run.results)
    target = facts["target"]
    shown = figures.sample_rows(run.predictions)
    ends = figures.limits(shown)
    return {
        "id": f"t{number}",
        "facts": facts,
        "findings": _findings(summary, run.baseline),
        "rows": _score_rows(run.results, summary),
        "differences": _differences(run, facts, look, drawn),
        "times": _times(run, look, drawn),
        "curves": _curves(run, look, drawn),
        "truths": [
            drawn.add(
                figures.truth_figure(shown[shown["model"] == name], look[name], ends, target),
                f"Predicted against true values of {name}",
                name,
            )
            for name in summary["model"]
        ],
        "n_shown": shown["row"].nunique(),
        "calibration": _calibration(run, look, drawn),
        "examples": _examples(run, look, target, drawn),
        "point_models": [
            name for name in run.models if run.examples and run.examples[0]["models"][name]["distribution"] is None
        ],
        "encoders": [_encoder(encoder, target, look, drawn) for encoder in run.encoders],
        "importance": drawn.add(
            figures.importance_figure(run.importances, target, look), "Permutation importances of the features"
        ),
    }


def _score_rows(results: pd.DataFrame, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Cells of the table of scores: text, standard error over the seeds, whether it is the best of its column."""
    by_model = results.groupby("model")[[score.name for score in SCORES]]
    errors = by_model.sem().loc[summary["model"]]
    columns = []
    for score in SCORES:
        values = summary[score.name].tolist()
        texts = score.texts([*values, *errors[score.name]])
        columns.append(
            [
                {"text": text, "error": error, "best": best}
                for text, error, best in zip(
                    texts[: len(values)], texts[len(values) :], score.is_best(values), strict=True
                )
            ]
        )
    names = summary[["model", "engine", "scheme"]].to_dict("records")
    return [name | {"cells": cells} for name, *cells in zip(names, *columns, strict=True)]


def _findings(summary: pd.DataFrame, baseline: str) -> list[dict[str, str]]:
    """The winners of what matters most, where there is something to win."""
    found = []
    for score in SCORES:
        values = summary[score.name].tolist()
        if score.name not in _QUESTIONS or not score.is_best(values).any():
            continue
        winner = int(score.is_best(values).argmax())
        base = summary.loc[summary["model"] == baseline, score.name].iloc[0]
        text = score.texts(values)[winner]
        found.append(
            {
                "question": _QUESTIONS[score.name],
                "model": str(summary["model"].iloc[winner]),
                "value": f"{text} s" if score.name == "fit_seconds" else f"{score.heading} {text}",
                "against": _against(values[winner], base, baseline)
                if summary["model"].iloc[winner] != baseline
                else "",
            }
        )
    return found


def _against(value: float, base: float, baseline: str) -> str:
    if not np.isfinite(base) or base <= 0:
        return ""
    return f"{percent_text(100 * (value / base - 1))} against {baseline}"


def _differences(run: Run, facts: dict[str, Any], look: dict[str, Look], drawn: _Figures) -> list[dict[str, Any]]:
    """Tests against the baseline, one for each score that several seeds have."""
    share = facts["parts"]["test"] / facts["parts"]["train"]
    found = []
    for score in COMPARED:
        against = differences.over_seeds(run.results, run.baseline, score.name, share)
        if not against:
            continue
        against.sort(key=lambda one: one.percent)
        figure = differences.difference_figure(against, score.heading, run.baseline, len(run.seeds), look)
        label = f"Differences of {score.heading} to {run.baseline}"
        found.append({"heading": score.heading, "rows": against, "figure": drawn.add(figure, label, score.heading)})
    return found


def _times(run: Run, look: dict[str, Look], drawn: _Figures) -> list[dict[str, Any]]:
    return [
        drawn.add(
            figures.time_figure(run.results, score.name, score.heading, look),
            f"Seconds to train against {score.heading}",
            score.heading,
        )
        for score in COMPARED
        if run.results[score.name].notna().any()
    ]


def _curves(run: Run, look: dict[str, Look], drawn: _Figures) -> list[dict[str, Any]]:
    """One plot for each engine and metric: epochs and rounds do not compare, nor do RMSE and CRPS."""
    plots = []
    for engine in run.results["engine"].unique():
        models = run.results.loc[run.results["engine"] == engine, "model"]
        curves = run.curves[run.curves["model"].isin(models)]
        title, step = _ENGINES.get(engine, (engine, "step"))
        for metric in curves["metric"].unique():
            score = _METRICS.get(metric, metric)
            figure = figures.curve_figure(curves[curves["metric"] == metric], step, score, look)
            plots.append(drawn.add(figure, f"Learning curves, {title}, {score}", f"{title}, {score}"))
    return plots


def _calibration(run: Run, look: dict[str, Look], drawn: _Figures) -> list[dict[str, Any]]:
    if run.predictions["pit"].isna().all():
        return []
    plots = (
        (
            calibration.pit_figure,
            "PIT histogram",
            "Flat is right; a hump: too wide; a bowl: too narrow; a slope: biased.",
        ),
        (
            calibration.reliability_figure,
            "Reliability",
            "On the line is right: a 30 % quantile lies above 30 % of truths.",
        ),
        (calibration.coverage_figure, "Coverage", "On the line is right; below it, intervals are too narrow."),
    )
    return [drawn.add(draw(run.predictions, look), title, title) | {"note": note} for draw, title, note in plots]


def _examples(run: Run, look: dict[str, Look], target: str, drawn: _Figures) -> list[dict[str, Any]]:
    groups = []
    for kind, (title, note) in _KINDS.items():
        rows = [example for example in run.examples if example["kind"] == kind]
        places = [
            drawn.add(
                distributions.example_figure(example, look, target),
                f"Predictive distributions of row {example['row']}",
                f"row {example['row']}",
            )
            | {"truth": f"{example['y_true']:,.6g}"}
            for example in rows
        ]
        if places:
            groups.append({"title": title, "note": note, "figures": places})
    return groups


def _encoder(encoder: dict[str, Any], target: str, look: dict[str, Look], drawn: _Figures) -> dict[str, Any]:
    name = encoder["model"]
    model = look[name]
    if encoder["on"] == "error":
        target, counted = f"{target} less the location", "errors of the point prediction on test rows"
    else:
        counted = "targets of the test rows"
    plots = (
        (distributions.encoder_figure(encoder, target), "Encoder", "psi(y): how a value is spread over the classes."),
        (
            distributions.bins_figure(encoder, model, target),
            "Bins",
            f"Edges of the bins below the histogram of the {counted}.",
        ),
        (
            distributions.use_figure(encoder),
            "Use",
            f"Share of the {counted} that falls to each class; on the line, all are used alike; near 0, one is idle.",
        ),
        (
            distributions.entropy_figure(encoder, model, target),
            "Entropy",
            "How many classes share a value: 0 is one class alone, 0.7 two in equal parts, 1.4 four.",
        ),
        (
            distributions.decoder_figure(encoder, model),
            "Decoder",
            "What each class is decoded as; on the line, its own centre.",
        ),
        (
            distributions.width_figure(encoder, model, target),
            "Widths",
            "Width of each class; dotted, how widely the encoder spreads a value.",
        ),
    )
    return {
        "model": name,
        "on_errors": encoder["on"] == "error",
        "figures": [drawn.add(figure, f"{title} of {name}", title) | {"note": note} for figure, title, note in plots],
    }


def _across(run: Run, look: dict[str, Look], drawn: _Figures) -> list[dict[str, Any]]:
    """Summary over the tables, one for each score that the baseline and another model have on all of them."""
    found = []
    for score in COMPARED:
        ranking = differences.over_tables(run.results, run.baseline, score.name)
        if ranking is None:
            continue
        ratios = differences.ratio_figure(ranking, score.heading, run.baseline, look)
        summary: dict[str, Any] = {
            "heading": score.heading,
            "rows": [_across_row(ranking, name, run.baseline) for name in ranking.models],
            "ratios": drawn.add(ratios, f"{score.heading} of each table", "Table by table"),
            "critical": None,
            "friedman": differences.p_text(ranking.any_difference()),
        }
        if len(ranking.ratios) >= differences.FEWEST_TABLES:
            critical = differences.critical_figure(ranking, look)
            summary["critical"] = drawn.add(critical, f"Mean ranks in {score.heading}", "Critical difference")
        found.append(summary)
    return found


def _across_row(ranking: differences.Ranking, name: str, baseline: str) -> dict[str, Any]:
    better, worse = ranking.record(name)
    is_baseline = name == baseline
    return {
        "model": name,
        "is_baseline": is_baseline,
        "rank": f"{ranking.ranks[name]:.2f}",
        "ratio": f"{ranking.mean_ratio(name):.3f}",
        "record": "" if is_baseline else f"{better} / {worse}",
        "p": differences.p_text(ranking.p[name]),
        "significant": ranking.p[name] < 0.05,
    }


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
