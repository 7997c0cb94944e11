"""Models against the baseline: over the seeds of one table, and over several tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.reporting import statistics
from bridges_tabular.experiments.reporting.figures import (
    INK,
    SOFT,
    Figure,
    Look,
    axis,
    digits,
    line,
    log_axis,
    of_model,
    short_text,
)
from bridges_tabular.experiments.results import SCORES

COMPARED = tuple(score for score in SCORES if score.name in ("rmse", "crps"))
# fewer say too little for a test over tables
FEWEST_TABLES = 5


@dataclass(frozen=True)
class Against:
    """One model against the baseline, in one score.

    Attributes
    ----------
    model : str
    percent, error : float
        The mean difference and its standard error, in percent of the baseline's mean score; below 0 is better.
    p : float
        Adjusted by Holm's method for the models compared; NaN where nothing can be tested.
    """

    model: str
    percent: float
    error: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance at the 5 % level."""
        return self.p < statistics.LEVEL

    @property
    def percent_text(self) -> str:
        """The difference with its sign."""
        return percent_text(self.percent)

    @property
    def error_text(self) -> str:
        """The standard error."""
        return f"{self.error:.1f} %"

    @property
    def p_text(self) -> str:
        """The probability; empty where nothing was tested."""
        return p_text(self.p)


def over_seeds(results: pd.DataFrame, baseline: str, score: str, test_share: float) -> list[Against]:
    """Compare every model with the baseline on the same splits of one table.

    Parameters
    ----------
    results : DataFrame
        Of one table.
    baseline, score : str
    test_share : float
        Test rows for each training row, for the corrected resampled t-test.

    Returns
    -------
    list of Against
        Without models, and without seeds enough, that have the score; empty where the baseline has none.
    """
    values = results.pivot(index="seed", columns="model", values=score).dropna(axis="columns")
    if baseline not in values or len(values) < 2:
        return []
    base = values[baseline]
    tests = {str(name): statistics.resampled_t(values[name] - base, test_share) for name in values if name != baseline}
    p = statistics.holm([test.p for test in tests.values()])
    scale = 100 / float(base.mean()) if base.mean() > 0 else float("nan")
    return [
        Against(name, scale * test.mean, scale * test.error, float(adjusted))
        for (name, test), adjusted in zip(tests.items(), p, strict=True)
    ]


def difference_figure(
    found: Sequence[Against], heading: str, baseline: str, n: int, look: Mapping[str, Look]
) -> Figure:
    """Differences with 95 % intervals, a row for each model."""
    reach = statistics.interval_reach(n)
    traces = [line([0, 0], [-0.6, len(found) - 0.4], INK, width=1, opacity=0.55, hoverinfo="skip")]
    for position, against in enumerate(found):
        model = look[against.model]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": digits([against.percent]),
                "y": [position],
                "error_x": {"array": digits([reach * against.error]), "thickness": 2, "width": 5},
                "marker": {"size": 11, "color": model.color, "symbol": model.symbol},
                "hovertemplate": "%{x} %<extra>%{fullData.name}</extra>",
            }
            | of_model(against.model, model)
        )
    return {
        "data": traces,
        "layout": {
            "xaxis": axis(f"{heading} against {baseline}, %", nticks=6),
            "yaxis": _rows([against.model for against in found]),
        },
        "height": 100 + 42 * len(found),
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
        where there are fewer than five tables.
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
    means = results.groupby(["table", "model"], sort=False)[score].mean().unstack("model")
    means = means.loc[results["table"].unique(), results["model"].unique()].dropna(axis="columns")
    if baseline not in means or means.shape[1] < 2 or not (means > 0).all(axis=None):
        return None
    ratios = means.div(means[baseline], axis="index")
    ranks = dict(zip(map(str, means.columns), statistics.mean_ranks(means).tolist(), strict=True))
    p = dict.fromkeys(ranks, float("nan"))
    if len(means) >= FEWEST_TABLES:
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
            "yaxis": _rows(tables),
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
            "yaxis": _rows(ranking.models) | {"range": [k - 0.5, -1.5]},
            "annotations": [note | {"text": f"critical difference {critical:.2f}"}],
        },
        "height": 140 + 34 * k,
    }


def percent_text(value: float) -> str:
    """Write a difference in percent with its sign."""
    return "" if np.isnan(value) else f"{value:+.1f} %".replace("-", "−")


def p_text(p: float) -> str:
    """Write a probability; empty where nothing was tested."""
    if np.isnan(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rows(names: Sequence[str]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short_text(name) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
    }
