"""The head of a table's part: who wins what matters most."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import SCORES, Score
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.drawing import percent_text


class Findings(Section):
    """The winner of each score that answers a question, where there is something to win."""

    key = "findings"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        incomparable = run.table.get("incomparable", {})
        found = [_finding(run, score) for score in SCORES if score.question and score.name not in incomparable]
        found = [one for one in found if one is not None]
        return {"findings": found} if found else None


def _finding(run: Run, score: Score) -> dict[str, str] | None:
    models, values = run.summary["model"].tolist(), run.summary[score.name].tolist()
    best = score.is_best(values)
    if not best.any():
        return None
    at = int(best.argmax())
    text, base = score.texts(values)[at], values[models.index(run.baseline)]
    return {
        "question": score.question,
        "model": str(models[at]),
        "value": f"{text} s" if score.scores == "times" else f"{score.heading} {text}",
        "against": "" if models[at] == run.baseline else _against(values[at], base, run.baseline),
    }


def _against(value: float, base: float, baseline: str) -> str:
    if not np.isfinite(base) or base <= 0:
        return ""
    return f"{percent_text(100 * (value / base - 1))} against {baseline}"
