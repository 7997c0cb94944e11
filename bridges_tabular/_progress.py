"""How far a fit has come: engines report, whoever runs them may listen.

The engines know nothing of terminals or studies. They call :func:`report` once an epoch or a boosting round;
a progress bar or a pruner subscribes with :func:`listen` around ``fit``. What a listener raises ends the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int, float | None], None]

_listener: ContextVar[Listener | None] = ContextVar("bridges_tabular_progress", default=None)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call ``listener(done, total, score)`` for every step reported inside the ``with`` block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(done: int, total: int, score: float | None = None) -> None:
    """Tell the listener, if there is one, that ``done`` of at most ``total`` steps are finished.

    ``score`` is that of the validation rows after the step, lower is better; None where there are none.
    """
    listener = _listener.get()
    if listener is not None:
        listener(done, total, score)
