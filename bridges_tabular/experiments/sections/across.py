"""All tables together: ratios to the baseline, mean ranks, and tests over the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments import statistics
from bridges_tabular.experiments.results import summarize
from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import TESTED
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import (
    INK,
    SOFT,
    Figure,
    Look,
    axis,
    digits,
    line,
    log_axis,
    of_model,
    p_text,
    rows_axis,
    short_text,
)


class Across(Section):
    """A summary over the tables for each score that the baseline and another model have on all of them."""

    key, title, link = "across", "All tables together", "All tables"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        if len(run.tables) < 2:
            return None
        rankings = {score: over_tables(run.results, run.baseline, score.name) for score in TESTED}
        found = [
            _show(ranking, score.heading, run.baseline, page)
            for score, ranking in rankings.items()
            if ranking is not None
        ]
        if not found:
            return None
        reachable = statistics.least_signed_rank(len(run.tables), 1)
        return {"found": found, "fewest_tables": statistics.FEWEST_TABLES, "reachable": f"{reachable:.2g}"}


def _show(ranking: Ranking, heading: str, baseline: str, page: Page) -> dict[str, Any]:
    ratios = ratio_figure(ranking, heading, baseline, page.look)
    least_p = statistics.least_signed_rank(len(ranking.ratios), len(ranking.models) - 1)
    summary: dict[str, Any] = {
        "heading": heading,
        "rows": [_row(ranking, name, baseline) for name in ranking.models],
        "ratios": page.add(ratios, f"{heading} of each table", "Table by table"),
        "critical": None,
        "friedman": p_text(ranking.any_difference()),
        "compared": len(ranking.models) - 1,
        "least_p": p_text(least_p) if least_p >= statistics.LEVEL else "",
    }
    if len(ranking.ratios) >= statistics.FEWEST_TABLES:
        critical = critical_figure(ranking, page.look)
        summary["critical"] = page.add(critical, f"Mean ranks in {heading}", "Critical difference")
    return summary


def _row(ranking: Ranking, name: str, baseline: str) -> dict[str, Any]:
    better, worse = ranking.record(name)
    is_baseline = name == baseline
    return {
        "model": name,
        "is_baseline": is_baseline,
        "rank": f"{ranking.ranks[name]:.2f}",
        "ratio": f"{ranking.mean_ratio(name):.3f}",
        "record": "" if is_baseline else f"{better} / {worse}",
        "p": p_text(ranking.p[name]),
    }


@dataclass(frozen=True)
class Ranking:
    """The models of several tables in one score.

    Attributes
    ----------
    models : list of str
        By mean rank.
    ranks : dict of str to float
        Mean ranks, 1 is best.
    ratios : DataFrame (tables, models)
        Mean scores over the seeds, as ratios to the baseline's.
    p : dict of str to float
        Of Wilcoxon's signed-rank test against the baseline, adjusted by Holm's method; NaN for the baseline and
        where there are fewer than six tables.
    """

    models: list[str]
    ranks: dict[str, float]
    ratios: pd.DataFrame
    p: dict[str, float]

    def mean_ratio(self, model: str) -> float:
        """Return the geometric mean of a model's ratios over the tables."""
        return float(np.exp(np.log(self.ratios[model]).mean()))

    def any_difference(self) -> float:
        """Return the probability of ranks as unequal as these by chance, by Friedman's test; NaN for two models."""
        return statistics.friedman(self.ratios)

    def record(self, model: str) -> tuple[int, int]:
        """Return on how many tables a model scores better and worse than the baseline."""
        ratios = self.ratios[model]
        return int((ratios < 1).sum()), int((ratios > 1).sum())


def over_tables(results: pd.DataFrame, baseline: str, score: str) -> Ranking | None:
    """Rank the models that have a score on every table; None where fewer than two have, or the baseline has not."""
    means = summarize(results).pivot(index="table", columns="model", values=score)
    means = means.loc[results["table"].unique(), results["model"].unique()].dropna(axis="columns")
    if baseline not in means or means.shape[1] < 2 or not (means > 0).all(axis=None):
        return None
    ratios = means.div(means[baseline], axis="index")
    ranks = dict(zip(map(str, means.columns), statistics.mean_ranks(means).tolist(), strict=True))
    p = dict.fromkeys(ranks, float("nan"))
    if len(means) >= statistics.FEWEST_TABLES:
        others = [name for name in ranks if name != baseline]
        adjusted = statistics.holm([statistics.signed_rank(np.log(ratios[name])) for name in others])
        p |= dict(zip(others, adjusted.tolist(), strict=True))
    return Ranking(sorted(ranks, key=lambda name: ranks[name]), ranks, ratios, p)


def ratio_figure(ranking: Ranking, heading: str, baseline: str, look: Mapping[str, Look]) -> Figure:
    """Ratio of each model to the baseline on each table."""
    tables = [str(table) for table in ranking.ratios.index]
    traces = [line([1, 1], [-0.6, len(tables) - 0.4], INK, width=1, opacity=0.55, hoverinfo="skip")]
    for name in map(str, ranking.ratios.columns):
        if name == baseline:
            continue
        model = look[name]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": digits(ranking.ratios[name]),
                "y": list(range(len(tables))),
                "text": [short_text(table, 60) for table in tables],
                "marker": {"size": 10, "color": model.color, "symbol": model.symbol, "opacity": 0.85},
                "hovertemplate": "%{text}: %{x}<extra>%{fullData.name}</extra>",
            }
            | of_model(name, model)
        )
    return {
        "data": traces,
        "layout": {
            "xaxis": log_axis(f"{heading} / that of {baseline}", ranking.ratios, margin=1.08),
            "yaxis": rows_axis(tables),
        },
        "height": 110 + 26 * len(tables),
    }


def critical_figure(ranking: Ranking, look: Mapping[str, Look]) -> Figure:
    """Mean ranks; an upright bar joins models that Nemenyi's test cannot tell apart."""
    ranks = [ranking.ranks[name] for name in ranking.models]
    k = len(ranks)
    critical = statistics.critical_difference(k, len(ranking.ratios))
    traces = []
    for position, name in enumerate(ranking.models):
        model = look[name]
        traces += [
            line([0.7, ranks[position]], [position, position], SOFT, width=1, opacity=0.5, hoverinfo="skip"),
            {
                "type": "scatter",
                "mode": "markers",
                "x": digits([ranks[position]]),
                "y": [position],
                "marker": {"size": 12, "color": model.color, "symbol": model.symbol},
                "hovertemplate": "mean rank %{x}<extra>%{fullData.name}</extra>",
            }
            | of_model(name, model),
        ]
    for run, (first, last) in enumerate(statistics.not_distinguished(ranks, critical)):
        rows = [ranks.index(first) - 0.25, k - 1 - ranks[::-1].index(last) + 0.25]
        traces.append(line([k + 0.25 + 0.2 * run] * 2, rows, INK, width=4, hoverinfo="skip"))
    traces.append(line([1, 1 + critical], [-0.75, -0.75], INK, width=2) | {"hoverinfo": "skip"})
    note = {"x": 1 + critical / 2, "y": -0.8, "yanchor": "bottom", "showarrow": False}
    return {
        "data": traces,
        "layout": {
            "xaxis": axis("mean rank, 1 is best", range=[0.7, k + 0.9], dtick=1, tick0=1),
            "yaxis": rows_axis(ranking.models) | {"range": [k - 0.5, -1.5]},
            "annotations": [note | {"text": f"critical difference {critical:.2f}"}],
        },
        "height": 140 + 34 * k,
    }
