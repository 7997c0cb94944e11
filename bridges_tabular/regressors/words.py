"""What an error says of a user's value: one line of printable characters, however long or odd the value is."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

_LONGEST_VALUE = 80
_LONGEST_LINE = 300


class _Short(reprlib.Repr):
    """Python's own notation, cut in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = _LONGEST_VALUE
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12
        self.maxlevel = 4

    def repr_int(self, x: int, level: int) -> str:
        """Cut an integer, which Python does not write out where it has thousands of digits."""
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"a whole number of {x.bit_length()} bits"

    def repr_instance(self, x: Any, level: int) -> str:
        """Cut what any other object says of itself."""
        return one_line(super().repr_instance(x, level), _LONGEST_VALUE)


_SHORT = _Short()


def shown(value: Any) -> str:
    """A value as an error shows it: as ``repr``, but never longer than a line.

    Examples
    --------
    >>> shown("32"), shown(10**400)[:8]
    ("'32'", '10000000')
    """
    plain = value.item() if isinstance(value, np.generic) else value
    return one_line(_SHORT.repr(plain), 3 * _LONGEST_VALUE)


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """A text in printable characters, others escaped, cut in the middle where it is longer.

    Examples
    --------
    >>> one_line("0123456789", 6)
    '01...9'
    """
    if len(text) > 4 * longest:
        # nothing of the middle can be left
        text = text[: 2 * longest] + text[-2 * longest :]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) <= longest:
        return text
    head = (longest - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (longest - 3 - head) :]}"


def near_miss(name: object, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one is nearest to, in whatever case; None where none is near."""
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    return folded[close[0]] if close else None


def hint(name: object, known: Iterable[str]) -> str:
    """What to add to an error about a name that is not known; empty where none is near.

    Examples
    --------
    >>> hint("Max_bins", ["max_bin", "eta"])
    ", did you mean 'max_bin'?"
    """
    near = near_miss(name, known)
    return "" if near is None else f", did you mean {shown(near)}?"
