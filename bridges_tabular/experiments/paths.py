"""Paths that a user names: looked at without a traceback, whatever they are."""

from __future__ import annotations

from pathlib import Path

from bridges_tabular.experiments.blocks import ExperimentError


def find_file(source: str | Path) -> Path | None:
    """Return the path of a file; None where there is none, or a folder.

    Raises
    ------
    ExperimentError
        If nobody can look there: a name that is too long, a folder that must not be entered.
    """
    path = Path(source)
    try:
        return path if path.is_file() else None
    except OSError as error:
        raise ExperimentError(f"{source} cannot be read: {error.strerror}") from None
