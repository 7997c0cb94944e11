"""Is it more than chance: models against the baseline over the seeds of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments import statistics
from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import TESTED
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import (
    INK,
    Figure,
    Look,
    axis,
    digits,
    line,
    of_model,
    p_text,
    percent_text,
    rows_axis,
)

# fewer splits than these see large differences alone
_ENOUGH_SEEDS = 5
# beside the points of a plot: in their own spread, and at least in standard errors
_MOST_ROOM, _LEAST_REACH = 3.0, 3.0


class Differences(Section):
    """Tests against the baseline, one for each score that several seeds have."""

    key, title, link = "differences", "Is it more than chance?", "Differences"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        if len(run.models) < 2:
            return None
        share = run.table["parts"]["test"] / run.table["parts"]["train"]
        found = []
        for score in () if run.is_one_split else TESTED:
            against = over_seeds(run.results, run.baseline, score.name, share)
            if not against:
                continue
            against.sort(key=lambda one: one.percent)
            figure = difference_figure(against, score.heading, run.baseline, len(run.seeds), page.look)
            label = f"Differences of {score.heading} to {run.baseline}"
            found.append({"heading": score.heading, "rows": against, "figure": page.add(figure, label, score.heading)})
        n, compared = len(run.seeds), max((len(one["rows"]) for one in found), default=0)
        few = 1 < n < _ENOUGH_SEEDS and compared > 0
        return {
            "found": found,
            "needed": f"{statistics.interval_reach(n, statistics.LEVEL / compared):.1f}" if few else "",
            "reach": f"{statistics.interval_reach(n):.1f}" if n > 1 else "",
        }


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
            "xaxis": axis(f"{heading} against {baseline}, %", nticks=6, range=_shown(found, reach)),
            "yaxis": rows_axis([against.model for against in found]),
        },
        "height": 100 + 42 * len(found),
    }


def _shown(found: Sequence[Against], reach: float) -> list[float | None]:
    """Ends of an axis for the points, zero and the intervals, so far as these do not dwarf the points.

    No error is less than none, and the intervals of two splits reach beyond anything.
    """
    known = [against for against in found if np.isfinite(against.percent)]
    points = np.array([0.0, *(against.percent for against in known)])
    ends = [against.percent + sign * reach * against.error for against in known for sign in (-1, 1)]
    room = max(_MOST_ROOM * float(np.ptp(points)), *(_LEAST_REACH * against.error for against in known), 0.1)
    low = max(min([*ends, 0.0]), float(points.min()) - room, -100.0)
    high = min(max([*ends, 0.0]), float(points.max()) + room)
    margin = 0.05 * (high - low)
    return digits([low - margin, high + margin])
