"""Output folders: refused before any work if they must not be written, and written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridges_tabular.experiments.blocks import ExperimentError

# any run
CONFIG_FILE = "config.yaml"
RESULTS_FILE = "results.csv"
# a comparison has these, too, and those of the report's sections
FACTS_FILE = "facts.json"
REPORT_FILE = "report.html"


def check_folder(out: str | Path, overwrite: bool) -> None:
    """Refuse an output folder that holds something, or could not be made.

    Raises
    ------
    ExperimentError
        If ``out`` holds another run and ``overwrite`` is not set, holds anything that is no run, or cannot be
        written.
    """
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()):
        if not all((folder / name).is_file() for name in (CONFIG_FILE, RESULTS_FILE)):
            raise ExperimentError(f"{out} holds files that are not a run: choose another folder with --out")
        if not overwrite:
            raise ExperimentError(
                f"{out} holds another run: choose another folder with --out, or replace it with --overwrite"
            )
    elif folder.exists() and not folder.is_dir():
        raise ExperimentError(f"{out} is a file, not a folder")
    check_writable(folder)


def check_writable(path: Path) -> None:
    """Refuse a path in a folder where nothing can be written.

    Raises
    ------
    ExperimentError
    """
    parent = next(p for p in path.resolve().parents if p.exists())
    if not parent.is_dir():
        raise ExperimentError(f"{path} cannot be written: {parent} is a file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ExperimentError(f"{path} cannot be written: no permission in {parent}")


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Name a temporary file beside ``path`` that takes its place at the end of the block, or vanishes if it raises."""
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    written = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield written
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)


@contextmanager
def new_folder(out: str | Path, overwrite: bool) -> Iterator[Path]:
    """Collect files in a temporary folder that becomes ``out`` at the end of the block.

    If the block raises, nothing is left behind and what ``out`` held stays as it was.
    """
    check_folder(out, overwrite)
    target = Path(out).resolve()
    suffix = uuid.uuid4().hex
    written, replaced = (target.with_name(f".{target.name}.{kind}-{suffix}") for kind in ("new", "old"))
    written.mkdir(parents=True)
    try:
        yield written
        if target.exists():
            target.rename(replaced)
        written.rename(target)
    finally:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        shutil.rmtree(written, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
