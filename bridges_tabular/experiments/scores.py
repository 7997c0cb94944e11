"""The scores: what each measures, when it is best, where it may be compared; a new one is one entry of ``SCORES``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution

_COVERAGE = 0.9


@dataclass(frozen=True)
class Outcome:
    """What a fitted model says of rows that it has not seen.

    Attributes
    ----------
    y_true, y_pred : arrays of shape (n,)
    distribution : BinnedDistribution or None
        Of the same rows; None for a model of points.
    fit_seconds, predict_seconds : float
    weight : array of shape (n,) or None
        Of the rows.
    """

    y_true: NDArray[np.float64]
    y_pred: NDArray[np.float64]
    distribution: BinnedDistribution | None = None
    fit_seconds: float = float("nan")
    predict_seconds: float = float("nan")
    weight: NDArray[np.float64] | None = None

    @cached_property
    def interval(self) -> NDArray[np.float64]:
        """Central intervals (n, 2) of 90 %."""
        assert self.distribution is not None
        return self.distribution.interval(_COVERAGE)


@dataclass(frozen=True)
class Score:
    """One column of scores in results.csv.

    Attributes
    ----------
    name : str
        As in results.csv.
    heading : str
        As in printed tables and the report.
    meaning : str
        For a reader who does not know the score.
    compute : callable
        Its value for an :class:`Outcome`.
    best : "lowest", "highest", a number or None
        A number is the value to come nearest to; None: the score alone says nothing of good or bad.
    decimals : int or None
        None: as many as show four digits of the largest value.
    scores : {"points", "distributions", "times"}
    comparable : callable
        Takes the training targets (n,) of a table and their weights or None; returns why models cannot be compared
        there, or None.
    tunable : bool
        Whether a study may minimise it.
    tested : bool
        Whether a report tests differences to the baseline.
    question : str
        To which the best model is the answer, at the head of a report.
    expendable : int
        A narrow terminal does without the columns with the largest numbers; 0 stays.
    """

    name: str
    heading: str
    meaning: str
    compute: Callable[[Outcome], float]
    best: str | float | None = "lowest"
    decimals: int | None = None
    scores: Literal["points", "distributions", "times"] = "points"
    comparable: Callable[[NDArray[np.float64], NDArray[np.float64] | None], str | None] = lambda _, __: None
    tunable: bool = False
    tested: bool = False
    question: str = ""
    expendable: int = 0

    def of(self, outcome: Outcome) -> float:
        """Return the value; NaN where there is no distribution to score."""
        if self.scores == "distributions" and outcome.distribution is None:
            return float("nan")
        return float(self.compute(outcome))

    def is_best(self, values: Sequence[float], comparable: bool = True) -> NDArray[np.bool_]:
        """Mark the best values, ties included; none where there is only one, or where they cannot be compared."""
        array = np.asarray(values, dtype=float)
        present = np.isfinite(array)
        if present.sum() < 2 or self.best is None or not comparable:
            return np.zeros(len(array), dtype=bool)
        if isinstance(self.best, str):
            loss = -array if self.best == "highest" else array
        else:
            loss = np.abs(array - self.best)
        marked: NDArray[np.bool_] = loss == loss[present].min()
        return marked

    def texts(self, values: Sequence[float]) -> list[str]:
        """Write the values of a column with the same number of decimals; empty where there is none."""
        array = np.asarray(values, dtype=float)
        finite = np.abs(array[np.isfinite(array)])
        decimals = self.decimals
        if decimals is None:
            largest = finite.max(initial=0.0)
            decimals = min(max(3 - math.floor(math.log10(largest)), 0), 8) if largest > 0 else 1
        return ["" if np.isnan(value) else f"{value:,.{decimals}f}" for value in array]


def incomparable(y_train: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> dict[str, str]:
    """Return the scores in which models cannot be compared on a table, by name, and why.

    Parameters
    ----------
    y_train : array of shape (n,)
        The training targets.
    weight : array of shape (n,), optional
        Of their rows, above 0.
    """
    reasons = {score.name: score.comparable(y_train, weight) for score in SCORES}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _without_atoms(y_train: NDArray[np.float64], weight: NDArray[np.float64] | None) -> str | None:
    """Log densities grow without limit where a cell around a value that many rows share gets narrow.

    There a model that smears the value over such a cell beats the exact truth, which gives it a mass.
    """
    from bridges_tabular.core.calibration.atoms import find_ties

    ties = find_ties(np.asarray(y_train, dtype=np.float64), weight)
    if ties is None:
        return None
    share, values = 100 * ties.shares[ties.atoms].sum(), ties.values[ties.atoms]
    held = f"the value {values[0]:.6g}" if len(values) == 1 else f"{len(values)} values"
    return f"{share:.0f} % of the training rows share {held}, around which a narrow density would beat the truth"


def _core() -> ModuleType:
    # imports torch, and the help of the command line names scores as well
    from bridges_tabular.core import scores

    return scores


SCORES = (
    Score(
        "rmse",
        "RMSE",
        "root of the mean squared error of the point prediction, in units of the target",
        lambda outcome: _core().rmse(outcome.y_true, outcome.y_pred, outcome.weight),
        tunable=True,
        tested=True,
        question="Closest point predictions",
    ),
    Score(
        "mae",
        "MAE",
        "mean absolute error of the point prediction, in units of the target",
        lambda outcome: _core().mae(outcome.y_true, outcome.y_pred, outcome.weight),
        tunable=True,
        expendable=2,
    ),
    Score(
        "r2",
        "R2",
        "share of the target's variance that the point prediction explains",
        lambda outcome: _core().r2(outcome.y_true, outcome.y_pred, outcome.weight),
        best="highest",
        decimals=4,
    ),
    Score(
        "crps",
        "CRPS",
        "continuous ranked probability score: how far the whole predicted distribution lies from the truth,"
        " in units of the target; for a point prediction it would be the MAE",
        lambda outcome: _core().crps(outcome.distribution, outcome.y_true, outcome.weight),
        scores="distributions",
        tunable=True,
        tested=True,
        question="Best predictive distributions",
    ),
    Score(
        "log_score",
        "log score",
        "mean negative log density of the truth",
        lambda outcome: _core().log_score(outcome.distribution, outcome.y_true, outcome.weight),
        decimals=3,
        scores="distributions",
        comparable=_without_atoms,
        tunable=True,
        expendable=1,
    ),
    Score(
        "coverage_90",
        "coverage",
        "share of truths inside the predicted 90 % interval; 0.9 is right",
        lambda outcome: _core().coverage(outcome.interval, outcome.y_true, outcome.weight),
        best=_COVERAGE,
        decimals=3,
        scores="distributions",
    ),
    Score(
        "width_90",
        "width",
        "mean width of the predicted 90 % interval, in units of the target; narrow is good where the coverage is right",
        lambda outcome: _core().width(outcome.interval, outcome.weight),
        best=None,
        scores="distributions",
        expendable=4,
    ),
    Score(
        "calibration_error",
        "calibration",
        "how far predicted probabilities lie from observed frequencies; 0 is right",
        lambda outcome: _core().calibration_error(outcome.distribution, outcome.y_true, outcome.weight),
        decimals=4,
        scores="distributions",
        expendable=3,
    ),
    Score(
        "fit_seconds",
        "fit s",
        "seconds to train, early stopping included",
        lambda outcome: outcome.fit_seconds,
        decimals=1,
        scores="times",
        question="Quickest to train",
    ),
    Score(
        "predict_seconds",
        "predict s",
        "seconds for the point predictions of all test rows",
        lambda outcome: outcome.predict_seconds,
        decimals=3,
        scores="times",
        expendable=5,
    ),
)
METRICS = {score.name: score for score in SCORES if score.tunable}
TESTED = tuple(score for score in SCORES if score.tested)
