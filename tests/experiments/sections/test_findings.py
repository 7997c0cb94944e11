"""Whether the head of a report says when its winner may be one by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections import COLLECTING
from bridges_tabular.experiments.sections.base import Page
from bridges_tabular.experiments.sections.differences import Differences, over_seeds
from bridges_tabular.experiments.sections.findings import Findings


def with_scores(folder: Path, **scores: list[float]) -> Run:
    """The run with other RMSEs, of so many seeds."""
    run = Run.read(folder, COLLECTING)
    rows = []
    for model, values in scores.items():
        (row,) = run.results[run.results["model"] == model].to_dict("records")
        rows += [row | {"seed": seed, "rmse": value} for seed, value in enumerate(values)]
    run.results.drop(run.results.index, inplace=True)
    return Run(
        run.experiment,
        run.config,
        pd.DataFrame(rows),
        run.predictions,
        run.curves,
        run.collected,
        run.facts,
        run.errors,
    )


def said_of_points(run: Run) -> str:
    shown = Findings().show(run, Page(run))
    assert shown is not None
    first = shown["findings"][0]
    assert first["question"] == "Closest point predictions"
    return str(first["chance"])


NOISE = np.random.default_rng(0).normal(0, 0.01, 5)


def test_a_lead_over_the_baseline_is_tested(saved_run: Path) -> None:
    clear = with_scores(saved_run, points=list(2 + NOISE), bins=list(1 - NOISE))
    (against,) = over_seeds(clear.results, "points", "rmse", 30 / 60)
    assert against.p < 0.05
    assert (
        said_of_points(clear) == f"more than chance, p {'' if against.p_text.startswith('<') else '= '}{against.p_text}"
    )
    unclear = with_scores(saved_run, points=[1.0, 2.0, 3.0], bins=[2.0, 0.9, 2.9])
    assert said_of_points(unclear).startswith("not more than chance, p = 0.")


def test_a_lead_of_the_baseline_is_tested_against_the_next(saved_run: Path) -> None:
    run = with_scores(saved_run, points=[1.0, 2.0, 3.0], bins=[2.0, 1.9, 2.9])
    assert said_of_points(run).startswith("not more than chance against bins, p = 0.")


def test_one_split_tells_nothing(saved_run: Path) -> None:
    assert said_of_points(with_scores(saved_run, points=[1.0], bins=[2.0])).startswith("one split")


def test_seeds_that_test_the_same_rows_are_one_split(saved_run: Path) -> None:
    run = with_scores(saved_run, points=list(2 + NOISE), bins=list(1 - NOISE))
    run.table["by"] = {"how": "file", "column": "part"}
    assert said_of_points(run).startswith("one split")
    shown = Differences().show(run, Page(run))
    assert shown is not None
    assert shown["found"] == []
    run.table["by"] = {"how": "time", "column": "day"}
    assert said_of_points(run).startswith("more than chance")


@pytest.mark.parametrize("spread", [0.001, 0.5])
def test_intervals_leave_room_for_the_points(saved_run: Path, spread: float) -> None:
    run = with_scores(saved_run, points=[1.0, 2.0], bins=[1.1, 2.1 + spread])
    page = Page(run)
    assert Differences().show(run, page) is not None
    drawn = page.figures[0]
    (point,) = drawn["data"][1]["x"]
    low, high = drawn["layout"]["xaxis"]["range"]
    assert low <= min(point, 0) < max(point, 0) <= high
    assert low >= -110, "no error is less than none"
    # with two splits an interval has 25 standard errors
    assert high - low < 25 * drawn["data"][1]["error_x"]["array"][0] or spread == 0.001
