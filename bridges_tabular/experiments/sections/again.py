"""How to do it again: the experiment file, the versions and the machine."""

from __future__ import annotations

from typing import Any

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section


class Again(Section):
    """What the folder of the run says of itself."""

    key, title, link = "again", "Do it again", "Do it again"

    def show(self, run: Run, page: Page) -> dict[str, Any]:
        return {"config": run.config, "seeds": run.seeds, "facts": run.facts}
