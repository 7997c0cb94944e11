"""How far a fit has come: an engine reports every epoch or round, whoever fits may listen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bridges_tabular.regressors.scale import TargetScale

Scores = Mapping[str, float]
Listener = Callable[[int, int, Scores], None]


def nobody(step: int, total: int, scores: Scores) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class Report:
    """What an engine calls after each step: ``report(step, total, scores)``.

    Parameters
    ----------
    listener : callable
        Gets the number of steps that are finished, how many there are at most, and the scores of the validation rows by
        name, lower is better: "rmse", "mae" and "crps" in the target's units (in units of their deviations where there
        are several), "loss". None where there are no validation rows, or the stage of the fit has none that compare
        with those of the next. What it raises ends the fit.
    scores : tuple of str
        Names of scores to report beside the one that stops the fit early, where the model has them.
    until : float, optional
        Time of ``time.monotonic()`` after which a network begins no further epoch.
    """

    listener: Listener = nobody
    scores: tuple[str, ...] = ()
    until: float | None = None

    def __call__(self, step: int, total: int, scores: Scores) -> None:
        """Tell the listener."""
        self.listener(step, total, scores)

    @property
    def is_late(self) -> bool:
        """Whether the fit has to end with the step that it is at."""
        return self.until is not None and time.monotonic() > self.until

    def in_units(self, scale: TargetScale) -> Report:
        """The same for an engine whose scores are in standard units."""
        if self.listener is nobody:
            return self
        listener = self.listener
        return replace(self, listener=lambda step, total, scores: listener(step, total, scale.restore_scores(scores)))


def as_report(listener: Listener | Report | None) -> Report:
    """A report to whatever ``fit`` was given: nothing, a function, or a :class:`Report`."""
    if isinstance(listener, Report):
        return listener
    return Report() if listener is None else Report(listener)
