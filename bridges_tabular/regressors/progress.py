"""How far a fit has come: an engine reports every epoch or round, whoever fits may listen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral

from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.words import shown

Scores = Mapping[str, float]
# scores of the validation rows by name, step by step; by the name of a stage
History = dict[str, dict[str, list[float]]]
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
        name, lower is better: "rmse", "mae" and "crps" in the target's units, "loss". Of several targets they are in
        units of their deviations; with a target_transform they are of the transformed target, in its deviations. None
        where there are no validation rows, or the stage of the fit has none that compare with those of the next. What
        it raises ends the fit.
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
        """The same for an engine whose scores are in standard units; those of transformed targets stay in these."""
        if self.listener is nobody:
            return self
        listener = self.listener
        return replace(self, listener=lambda step, total, scores: listener(step, total, scale.restore_scores(scores)))


def as_report(listener: Listener | Report | None) -> Report:
    """A report to whatever ``fit`` was given: nothing, a function, or a :class:`Report`."""
    if isinstance(listener, Report):
        return listener
    return Report() if listener is None else Report(listener)


def history_in_units(history: Mapping[str, Mapping[str, Sequence[float | None]]], scale: TargetScale) -> History:
    """Scores that an engine kept in standard units, as a report has them; NaN where JSON had to hold null."""
    return {
        stage: {
            name: [math.nan if value is None else scale.restore_scores({name: value})[name] for value in values]
            for name, values in scores.items()
        }
        for stage, scores in history.items()
    }


@contextmanager
def printed(report: Report, verbose: bool | int) -> Iterator[Report]:
    """Yield the report to give to a fit: the same one, printing scores as XGBoost does.

    Parameters
    ----------
    report : Report
    verbose : bool or int
        True prints every round that has scores, a number each so many-th of them and the last one.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not isinstance(verbose, Integral) or verbose < 0:
        raise ValueError(f"verbose must be true, false or a number of rounds, not {shown(verbose)}")
    if not verbose:
        yield report
        return
    count, left = 0, ""

    def heard(step: int, total: int, scores: Scores) -> None:
        nonlocal count, left
        if scores:
            left = "\t".join([f"[{count}]", *(f"validation_0-{name}:{value:.5f}" for name, value in scores.items())])
            if count % verbose == 0:
                print(left, flush=True)
                left = ""
            count += 1
        report(step, total, scores)

    yield replace(report, listener=heard)
    if left:
        print(left, flush=True)
