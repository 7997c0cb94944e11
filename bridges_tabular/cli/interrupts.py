"""Ctrl-C: one line and status 130, whatever is being done; imports nothing that takes time."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn, Self


class Interrupt(BaseException):
    """Ctrl-C; not a KeyboardInterrupt, which pytorch-lightning takes for its own and ends the process."""


class Interrupts:
    """A context in which Ctrl-C raises :class:`Interrupt`.

    Parameters
    ----------
    own_process : bool
        Whether the process does nothing else. Then Ctrl-C ends it on the spot where an exception would get lost or
        turn into another one: in the middle of an import, and where the first one is still being answered.

    Attributes
    ----------
    leaves : str
        What Ctrl-C leaves, in words.
    """

    def __init__(self, own_process: bool = False) -> None:
        self.leaves = "nothing was written"
        self._own_process = own_process
        self._answered = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        # a shell starts background jobs with the signal ignored, which stays so
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._answer)
        return self

    def __exit__(self, *exception: object) -> None:
        # a process of its own is at its end: nothing is left that could be interrupted
        signal.signal(signal.SIGINT, signal.SIG_IGN if self._own_process else self._before)

    def tell(self) -> None:
        """Print the line."""
        sys.stderr.write(self._line)

    @property
    def _line(self) -> str:
        return f"bridges-tabular: interrupted, {self.leaves}\n"

    def _answer(self, _: int, frame: FrameType | None) -> NoReturn:
        if self._own_process and (self._answered or _is_importing(frame)):
            if not self._answered:
                os.write(2, self._line.encode())
            os._exit(130)
        self._answered = True
        raise Interrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != __file__:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
