"""How far a fit has come: an engine reports every epoch or round, whoever fits may listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """

    listener: Listener = nobody
    scores: tuple[str, ...] = ()

    def __call__(self, step: int, total: int, scores: Scores) -> None:
        """Tell the listener."""
        self.listener(step, total, scores)

    def in_units(self, scale: TargetScale) -> Report:
        """The same for an engine whose scores are in standard units."""
        if self.listener is nobody:
            return self
        return Report(lambda step, total, scores: self.listener(step, total, scale.restore_scores(scores)), self.scores)


def as_report(listener: Listener | Report | None) -> Report:
    """A report to whatever ``fit`` was given: nothing, a function, or a :class:`Report`."""
    if isinstance(listener, Report):
        return listener
    return Report() if listener is None else Report(listener)
