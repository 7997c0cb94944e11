"""What fits on the same rows need not prepare twice: engines offer it, whoever runs many fits may keep it.

A study runs its trials inside :func:`sharing`. There :func:`shared` returns what an earlier fit made of the same
objects; a fit on its own makes everything itself. What is shared is not to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import is_
from threading import Lock
from typing import Any, NamedTuple, TypeVar

Made = TypeVar("Made")

_shelf: ContextVar[_Shelf | None] = ContextVar("bridges_tabular_shelf", default=None)


@contextmanager
def sharing(sources: Sequence[object], limit: int) -> Iterator[None]:
    """Let fits inside the block, one after another, share what they make of ``sources``.

    Parameters
    ----------
    sources : sequence of objects
        Compared by identity, and not to be changed inside the block.
    limit : int
        At most so many results are kept, those last used, and none after the block.
    """
    token = _shelf.set(_Shelf(sources, limit))
    try:
        yield
    finally:
        _shelf.reset(token)


def shared(make: Callable[[], Made], sources: Sequence[object], *settings: Hashable) -> Made:
    """Return ``make()``, or what it returned before for the same sources and settings.

    Parameters
    ----------
    make : callable
    sources : sequence of objects
        All that the result is made of. It is kept if each is None, one of those of :func:`sharing` or itself shared:
        what belongs to a single fit fills no memory.
    *settings
        What else decides the result, a name for its kind first.
    """
    shelf = _shelf.get()
    return make() if shelf is None else shelf.get(make, sources, settings)


class _Entry(NamedTuple):
    # held, so that no other object can take its place
    sources: Sequence[object]
    settings: tuple[Hashable, ...]
    made: Any


class _Shelf:
    """The results kept, last used last."""

    def __init__(self, sources: Sequence[object], limit: int) -> None:
        self._sources = sources
        self._limit = limit
        self._entries: list[_Entry] = []
        # fold models are fitted in threads
        self._lock = Lock()

    def get(self, make: Callable[[], Any], sources: Sequence[object], settings: tuple[Hashable, ...]) -> Any:
        with self._lock:
            for position, entry in enumerate(self._entries):
                if entry.settings == settings and all(map(is_, entry.sources, sources)):
                    self._entries.append(self._entries.pop(position))
                    return entry.made
            kept = all(map(self._holds, sources))
        made = make()
        if kept:
            with self._lock:
                self._entries = [*self._entries, _Entry(sources, settings, made)][-self._limit :]
        return made

    def _holds(self, source: object) -> bool:
        held = [*self._sources, *(entry.made for entry in self._entries)]
        return source is None or any(source is other for other in held)
