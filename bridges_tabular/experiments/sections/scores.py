"""The table of scores."""

from __future__ import annotations

from typing import Any

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import SCORES
from bridges_tabular.experiments.sections.base import Page, Section


class Scores(Section):
    """A row for each model, the best of each column marked where models can be compared."""

    key, title, link = "scores", "Scores", "Scores"

    def show(self, run: Run, page: Page) -> dict[str, Any]:
        # a run of an earlier version does not say
        reasons = run.table.get("incomparable", {})
        return {
            "scores": SCORES,
            "rows": _rows(run, set(reasons)),
            "incomparable": [(score.heading, reasons[score.name]) for score in SCORES if score.name in reasons],
        }


def _rows(run: Run, incomparable: set[str]) -> list[dict[str, Any]]:
    """Name of each model, and cells: text, standard error over the seeds, whether it is the best of its column."""
    summary = run.summary
    errors = run.results.groupby("model")[[score.name for score in SCORES]].sem().loc[summary["model"]]
    errors = errors.mask(summary.set_index("model")[errors.columns].isna())
    columns = []
    for score in SCORES:
        values = summary[score.name].tolist()
        texts = score.texts([*values, *errors[score.name]])
        best = score.is_best(values, score.name not in incomparable)
        columns.append(
            [
                {"text": text, "error": error, "best": is_best}
                for text, error, is_best in zip(texts[: len(values)], texts[len(values) :], best, strict=True)
            ]
        )
    names = summary[["model", "engine", "scheme"]].to_dict("records")
    return [name | {"cells": cells} for name, *cells in zip(names, *columns, strict=True)]
