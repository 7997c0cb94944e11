"""What a look at the table has found before anything was trained."""

from __future__ import annotations

from typing import Any

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section


class Look(Section):
    """A line for each finding; nothing where there was none."""

    key, title, link = "look", "A look at the data", "Data"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        # a run of an earlier version does not say
        found = run.table.get("look", [])
        return {"found": found} if found else None
