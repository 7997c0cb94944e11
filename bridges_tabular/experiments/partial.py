"""A long file, written part by part: what a kill leaves is there for the same command to go on with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.folders import new_file, writing

_PLAN = "plan.json"
_OURS = re.compile(r"\.?(plan\.json|part-[0-9]{7,})(\.new-[0-9]+-[0-9a-f]{32})?")
_ADVICE = "; the same command goes on"


class Parts:
    """The parts of a file that are done, in a hidden folder beside it.

    Parameters
    ----------
    path : path
        The file that they will be.
    plan : mapping
        What must be the same for parts to belong to one file; plain values. Parts of another plan are deleted.

    Attributes
    ----------
    found : int
        How many parts were there already.

    Raises
    ------
    ExperimentError
        If the folder holds anything else, or cannot be written.
    """

    def __init__(self, path: str | Path, plan: Mapping[str, Any]) -> None:
        target = Path(path).resolve()
        self.folder = target.with_name(f".{target.name}.partial")
        self._check()
        text = json.dumps(plan, sort_keys=True)
        with writing(self.folder):
            plan_file = self.folder / _PLAN
            if not plan_file.is_file() or plan_file.read_text(encoding="utf-8") != text:
                self.discard()
                self.folder.mkdir(parents=True)
                with new_file(plan_file) as written:
                    written.write_text(text, encoding="utf-8")
        self.found = 0
        while self.path(self.found).is_file():
            self.found += 1

    def path(self, number: int) -> Path:
        """Where a part is, or will be."""
        return self.folder / f"part-{number:07d}"

    @contextmanager
    def new(self, number: int) -> Iterator[Path]:
        """Name a temporary file for a part, which takes its place at the end of the block.

        Raises
        ------
        ExperimentError
            If it cannot be written.
        """
        with writing(self.path(number), _ADVICE), new_file(self.path(number)) as written:
            yield written

    def discard(self) -> None:
        """Delete the parts and their folder."""
        if not self.folder.is_dir():
            return
        with writing(self.folder):
            for path in list(self.folder.iterdir()):
                if _OURS.fullmatch(path.name):
                    path.unlink()
            self.folder.rmdir()

    def _check(self) -> None:
        if not self.folder.is_dir():
            return
        with writing(self.folder):
            foreign = sorted(path.name for path in self.folder.iterdir() if not _OURS.fullmatch(path.name))
        if foreign:
            raise ExperimentError(
                f"{self.folder} holds {foreign[0]}, which is no part of a file: choose another file with --out"
            )
