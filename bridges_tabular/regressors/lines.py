"""Errors of other libraries, as part of a line of ours."""

from __future__ import annotations

_LONGEST = 160


def in_one_line(error: Exception) -> str:
    r"""The first line of what an error says, cut to a reader's measure.

    Examples
    --------
    >>> in_one_line(RuntimeError("shapes differ\n  at line 3"))
    'shapes differ'
    >>> in_one_line(KeyError("layers"))
    "there is no 'layers'"
    """
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    said = lines[0] if lines else type(error).__name__
    if isinstance(error, KeyError):
        said = f"there is no {said}"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
