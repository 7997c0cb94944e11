"""Paths: those that a user names, looked at without a traceback whatever they are, and those of bundled tables."""

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


def bundled_tables() -> dict[str, Path]:
    """The tables that come with the package, by name."""
    folder = Path(__file__).resolve().parents[1] / "data"
    return {path.name.removesuffix(".csv.gz"): path for path in sorted(folder.glob("*.csv.gz"))}
