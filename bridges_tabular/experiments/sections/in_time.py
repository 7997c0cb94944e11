"""Do intervals hold as time goes on: coverage and error of the test rows in their order, where the split is by time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.base import FirstSplit, Page, Section
from bridges_tabular.experiments.sections.drawing import Figure, Look, axis, by_model, digits, line, of_model, reference

_COVERAGE = 0.9
_MOST_BLOCKS, _FEWEST_ROWS = 20, 25


class InTime(Section):
    """Two plots over the time of the test rows of all splits."""

    key, title, link = "in_time", "As time goes on", "In time"
    file = File("marks.csv", ("table", "row", "mark"), optional=True)

    def join(self, first: FirstSplit) -> pd.DataFrame:
        """Time or group of each row that any split may test."""
        marks = first.table.marks
        if marks is None or marks.how == "file":
            return pd.DataFrame(columns=list(self.file.columns))
        rows = np.arange(len(first.table.y))
        if marks.how == "time":
            rows = np.flatnonzero(marks.values >= marks.values[first.split.test].min())
        content = {"table": first.table.name, "row": first.table.rows[rows], "mark": marks.names()[rows]}
        return pd.DataFrame(content)

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        blocks = in_blocks(run)
        if blocks is None:
            return None
        time = run.table["by"]["column"]
        m = int(blocks["rows"].median())
        figures = []
        if blocks["coverage"].notna().any():
            figure = coverage_figure(blocks, page.look, time)
            note = (
                f"Share of truths inside the 90 % interval, in blocks of about {m} test rows. If intervals were right"
                " and rows independent, 19 blocks of 20 would lie between the dotted lines."
            )
            figures.append(page.add(figure, "Coverage in time", "Coverage of 90 % intervals", note=note))
        figure = error_figure(blocks, page.look, time)
        note = "Mean CRPS of each block, the absolute error of a model without a distribution; lower is better."
        figures.append(page.add(figure, "CRPS in time", "CRPS", note=note))
        return {"figures": figures}


def marked(run: Run, how: str) -> pd.DataFrame | None:
    """Predictions of the rows that count, with their time or group.

    None where splits do not go by it, or an old run tells none.
    """
    by, marks = run.table.get("by"), run.collected[InTime.file]
    if not by or by["how"] != how or not len(marks) or run.scored.empty:
        return None
    of_row = marks.set_index("row")["mark"]
    if how == "time":
        of_row = _times(of_row)
    rows = run.scored
    inside = rows["y_true"].between(rows["q05"], rows["q95"]).astype(float).where(rows["q05"].notna())
    loss = rows["crps"].fillna((rows["y_pred"] - rows["y_true"]).abs())
    return rows[["model", "seed", "row", "weight"]].assign(mark=rows["row"].map(of_row), inside=inside, loss=loss)


def in_blocks(run: Run) -> pd.DataFrame | None:
    """Coverage and mean loss of each model in blocks of test rows, in their order."""
    rows = marked(run, "time")
    if rows is None:
        return None
    order = rows[["row", "mark"]].drop_duplicates("row").sort_values("mark", kind="stable")
    n_blocks = min(_MOST_BLOCKS, len(order) // _FEWEST_ROWS)
    if n_blocks < 2:
        return None
    order = order.assign(block=np.arange(len(order)) * n_blocks // len(order))
    block = rows["row"].map(order.set_index("row")["block"]).rename("block")
    middles = order.groupby("block")["mark"].apply(lambda marks: marks.iloc[len(marks) // 2])
    keys = [rows["model"], block]
    means = weighted_means(rows, keys).rename(columns={"inside": "coverage"})
    found = rows.groupby(keys, sort=False)
    blocks = means.assign(rows=found["row"].nunique(), alike=found["weight"].agg(_alike)).reset_index()
    return blocks.assign(mark=blocks["block"].map(middles)).sort_values("block", kind="stable")


def weighted_means(rows: pd.DataFrame, keys: list[Any]) -> pd.DataFrame:
    """Shares inside and mean losses, by weight, of groups of what :func:`marked` gives; NaN where no row has any."""
    values = rows[["inside", "loss"]]
    weights = values.notna().mul(rows["weight"], axis="index")
    return (values * weights).groupby(keys, sort=False).sum() / weights.groupby(keys, sort=False).sum()


def _alike(weight: pd.Series[float]) -> float:
    """How many rows of one weight have a mean as uncertain as that of these (Kish's effective size)."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def coverage_figure(blocks: pd.DataFrame, look: Mapping[str, Look], time: str) -> Figure:
    """Coverage of each model over time."""
    ends = _ends(blocks)
    reach = 1.96 * np.sqrt(_COVERAGE * (1 - _COVERAGE) / blocks["alike"].median())
    traces = [reference([], [_COVERAGE] * 2) | {"x": ends}]
    for bound in (_COVERAGE - reach, min(_COVERAGE + reach, 1.0)):
        dotted = reference([], [bound] * 2) | {"x": ends}
        dotted["line"]["dash"] = "dot"
        traces.append(dotted)
    traces += _lines(blocks.dropna(subset="coverage"), "coverage", look)
    low = min(float(blocks["coverage"].min()), _COVERAGE - 1.5 * reach)
    unit = {"range": [max(low - 0.03, 0.0), 1.01], "nticks": 6}
    return {"data": traces, "layout": {"xaxis": axis(time, nticks=6), "yaxis": axis("share inside", **unit)}}


def error_figure(blocks: pd.DataFrame, look: Mapping[str, Look], time: str) -> Figure:
    """Mean loss of each model over time."""
    y = axis("mean CRPS", rangemode="tozero", nticks=6)
    return {"data": _lines(blocks, "loss", look), "layout": {"xaxis": axis(time, nticks=6), "yaxis": y}}


def _times(marks: pd.Series[str]) -> pd.Series[Any]:
    """Times of the text of a file: numbers, which text would not sort, or dates, which it does."""
    try:
        return marks.astype(float)
    except ValueError:
        return marks


def _ends(blocks: pd.DataFrame) -> list[Any]:
    return [_place(blocks["mark"].iloc[0]), _place(blocks["mark"].iloc[-1])]


def _place(mark: Any) -> Any:
    """A time as plotly takes it: a date as it is written, or a number."""
    return mark if isinstance(mark, str) else float(mark)


def _lines(blocks: pd.DataFrame, column: str, look: Mapping[str, Look]) -> list[Figure]:
    traces = []
    for name, rows in by_model(blocks):
        trace = line([], [], look[name].color, dash=look[name].dash)
        trace |= {
            "mode": "lines+markers",
            "x": [_place(mark) for mark in rows["mark"]],
            "y": digits(rows[column]),
            "marker": {"size": 5, "color": look[name].color, "symbol": look[name].symbol},
            "hovertemplate": "%{x}: %{y}<extra>%{fullData.name}</extra>",
        }
        traces.append(trace | of_model(name, look[name]))
    return traces
