"""The fits that have failed."""

from __future__ import annotations

from typing import Any

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section


class Failures(Section):
    """A line for each fit that has failed, with its error; nothing where all were fine."""

    key, title, link = "failures", "What failed", "Failures"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        rows = run.errors[["model", "seed", "error"]].to_dict("records")
        return {"rows": rows, "n_fits": len(run.results)} if rows else None
