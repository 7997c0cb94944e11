"""What fits on the same rows need not prepare twice: tables read, tensors, quantiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import is_
from threading import Lock
from typing import Any, NamedTuple, Self, TypeVar

Made = TypeVar("Made")


class Prepared:
    """What fits on the same rows share; hand the same one to ``fit`` of each, one after another or from threads.

    Use it as a context: at its end nothing is kept. A copy, or what pickle makes of one, is empty.

    Parameters
    ----------
    sources : sequence of objects
        Frames that the fits read; compared by identity, and not to be changed meanwhile.
    limit : int, default=16
        At most so many results are kept, those last used.

    Examples
    --------
    >>> source = [1, 2]
    >>> with Prepared([source]) as prepared:
    ...     first = prepared.get(lambda: sum(source), [source], "sum")
    ...     prepared.get(lambda: 1 / 0, [source], "sum")
    3
    """

    def __init__(self, sources: Sequence[object] = (), limit: int = 16) -> None:
        self._sources = list(sources)
        self._limit = limit
        self._entries: list[_Entry] = []
        # fold models are fitted in threads
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._sources, self._entries = [], []

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()

    def get(self, make: Callable[[], Made], sources: Sequence[object], *settings: Hashable) -> Made:
        """Return ``make()``, or what it returned before for the same sources and settings.

        Parameters
        ----------
        make : callable
            Its result is not to be changed.
        sources : sequence of objects
            All that the result is made of. It is kept if each is None, one of this object's sources, or was itself
            made here: what belongs to a single fit fills no memory.
        *settings
            What else decides the result, a name for its kind first.
        """
        with self._lock:
            for position, entry in enumerate(self._entries):
                if entry.settings == settings and all(map(is_, entry.sources, sources)):
                    self._entries.append(self._entries.pop(position))
                    made: Made = entry.made
                    return made
            kept = all(map(self._holds, sources))
        made = make()
        if kept:
            with self._lock:
                self._entries = [*self._entries, _Entry(sources, settings, made)][-self._limit :]
        return made

    def _holds(self, source: object) -> bool:
        held = [*self._sources, *(entry.made for entry in self._entries)]
        return bool(self._sources) and (source is None or any(source is other for other in held))


class _Entry(NamedTuple):
    # held, so that no other object can take its place
    sources: Sequence[object]
    settings: tuple[Hashable, ...]
    made: Any
