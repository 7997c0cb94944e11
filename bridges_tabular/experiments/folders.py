"""Output folders: refused before any work if they must not be written, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.regressors import folders

# any run
CONFIG_FILE = "config.yaml"
RESULTS_FILE = "results.csv"
# a comparison has these, too, and those of the report's sections
FACTS_FILE = "facts.json"
REPORT_FILE = "report.html"
# the fits of a comparison that is not finished, in a folder of its own
UNFINISHED = "unfinished"


def check_folder(out: str | Path, overwrite: bool, kept: str | None = None) -> None:
    """Refuse an output folder that holds something, or could not be made.

    Parameters
    ----------
    out : path
    overwrite : bool
        Whether another run may be replaced.
    kept : str, optional
        Name of a folder in ``out`` that is no part of what is replaced.

    Raises
    ------
    ExperimentError
        If ``out`` holds another run and ``overwrite`` is not set, holds anything that is no part of a run, or cannot
        be written.
    """
    check_writable(Path(out))
    manifest = read_manifest(out, kept)
    if manifest is None:
        return
    if not {CONFIG_FILE, RESULTS_FILE} <= set(manifest["files"]):
        raise ExperimentError(f"{out} holds a saved model, not a run: choose another folder with --out")
    if not overwrite:
        raise ExperimentError(
            f"{out} holds another run: choose another folder with --out, or replace it with --overwrite"
        )


def read_manifest(out: str | Path, kept: str | None = None) -> dict[str, Any] | None:
    """Read what a folder says of itself; None if it is empty, or holds nothing but ``kept``.

    Raises
    ------
    ExperimentError
        If it is no folder, or holds anything that is not listed.
    """
    if Path(out).exists() and not Path(out).is_dir():
        raise ExperimentError(f"{out} is a file, not a folder")
    try:
        folders.check_replaceable(out, kept)
        folder = folders.find(out, kept)
        return folders.read_manifest(folder) if (folder / folders.MANIFEST_FILE).is_file() else None
    except OSError as error:
        if error.strerror:
            raise ExperimentError(f"{out} cannot be read: {error.strerror}") from None
        raise ExperimentError(f"{error} with --out") from None


def check_writable(path: Path) -> None:
    """Refuse a path in a folder where nothing can be written.

    Raises
    ------
    ExperimentError
    """
    with writing(path):
        _check_name(path)
        parent = next(p for p in Path(os.path.realpath(path)).parents if p.exists())
    if not parent.is_dir():
        raise ExperimentError(f"{path} cannot be written: {parent} is a file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ExperimentError(f"{path} cannot be written: no permission in {parent}")


def _check_name(path: Path) -> None:
    """Refuse what is no path at all: too long, in a circle of links."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # nothing need be there yet
        return
    except ValueError as error:
        raise ExperimentError(f"{path} cannot be written: {error}") from None


@contextmanager
def writing(path: str | Path, advice: str = "") -> Iterator[None]:
    """Say in one line that ``path`` cannot be written, and why, where the block fails to: a full disk, for one.

    Raises
    ------
    ExperimentError
        Ending in ``advice``.
    """
    try:
        yield
    except OSError as error:
        why = f"{path} cannot be written: {error.strerror}" if error.strerror else str(error)
        raise ExperimentError(why + advice) from None


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Name a temporary file beside ``path`` that takes its place at the end of the block, or vanishes if it raises.

    Raises
    ------
    ExperimentError
        If it cannot be written; what was there before stays.
    """
    with writing(path):
        # after what dead processes left
        target = folders.find(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = folders.beside(target, "new")
        try:
            yield written
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)


@contextmanager
def new_folder(out: str | Path, overwrite: bool, header: Mapping[str, Any], kept: str | None = None) -> Iterator[Path]:
    """Collect files in a temporary folder that becomes ``out`` at the end of the block.

    If the block raises, nothing is left behind and what ``out`` held stays as it was. Of a run that is replaced, only
    the files are deleted that its manifest lists.

    Parameters
    ----------
    out : path
    overwrite, kept
        As :func:`check_folder` takes them.
    header : mapping
        What the manifest says beside the files; plain values.

    Raises
    ------
    ExperimentError
        As :func:`check_folder`, or if the files cannot be written.
    """
    check_folder(out, overwrite, kept)
    with writing(out), folders.new_folder(out, header, kept) as folder:
        yield folder
