"""The head of a table's part: who wins what matters most."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.scores import SCORES, Score
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.differences import over_seeds
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
    model, base = str(models[at]), values[models.index(run.baseline)]
    return {
        "question": score.question,
        "model": model,
        "value": f"{score.texts(values)[at]} s"
        if score.scores == "times"
        else f"{score.heading} {score.texts(values)[at]}",
        "against": "" if model == run.baseline else _against(values[at], base, run.baseline),
        "chance": _chance(run, score, model) if score.tested else "",
    }


def _against(value: float, base: float, baseline: str) -> str:
    if not np.isfinite(base) or base <= 0:
        return ""
    return f"{percent_text(100 * (value / base - 1))} against {baseline}"


def _chance(run: Run, score: Score, model: str) -> str:
    """Whether the lead is more than chance: over the baseline, or of the baseline over the next best."""
    if run.is_one_split:
        return "one split: whether this is more than chance is not known"
    scored = run.summary.dropna(subset=score.name).sort_values(score.name, kind="stable")["model"].tolist()
    if model == run.baseline:
        other, pair = next(name for name in scored if name != model), True
    else:
        other, pair = model, False
    results = run.results[run.results["model"].isin([model, other])] if pair else run.results
    share = run.table["parts"]["test"] / run.table["parts"]["train"]
    found = next((one for one in over_seeds(results, run.baseline, score.name, share) if one.model == other), None)
    if found is None or np.isnan(found.p):
        return ""
    p = found.p_text if found.p_text.startswith("<") else f"= {found.p_text}"
    said = "more than chance" if found.significant else "not more than chance"
    return f"{said}{f' against {other}' if pair else ''}, p {p}"
