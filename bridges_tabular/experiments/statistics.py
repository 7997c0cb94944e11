"""Is a difference more than chance: over the seeds of one table, and over many tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

LEVEL = 0.05
# all 2^N signs are equally likely by chance, and two of them leave all differences on one side: 2 / 2^5 is above 5 %
FEWEST_TABLES = 6


@dataclass(frozen=True)
class Difference:
    """A mean difference, its standard error and the two-sided probability of one at least as large by chance."""

    mean: float
    error: float
    p: float


def resampled_t(differences: ArrayLike, test_share: float) -> Difference:
    """Corrected resampled t-test of differences (J,) over random splits of the same rows [1]_.

    The training sets of the splits overlap, so that the differences are no independent draws: their variance is
    taken times 1/J + n_test / n_train in place of 1/J.

    Parameters
    ----------
    differences : array of shape (J,), J at least 2
    test_share : float
        n_test / n_train.

    References
    ----------
    .. [1] Nadeau, C. and Bengio, Y. "Inference for the generalization error." Machine Learning 52 (2003).
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"differences holds {len(values)} value, at least 2 are needed")
    mean = float(values.mean())
    error = float(np.sqrt((1 / len(values) + test_share) * values.var(ddof=1)))
    if error == 0:
        return Difference(mean, 0.0, 1.0 if mean == 0 else 0.0)
    return Difference(mean, error, float(2 * stats.t.sf(abs(mean) / error, len(values) - 1)))


def interval_reach(n_splits: int, level: float = LEVEL) -> float:
    """Return how many of its standard errors the confidence interval of a mean over splits reaches to either side."""
    return float(stats.t.ppf(1 - level / 2, n_splits - 1))


def signed_rank(differences: ArrayLike) -> float:
    """Two-sided probability of Wilcoxon's signed-rank test of differences (N,) over tables [1]_; 1 if all are 0.

    References
    ----------
    .. [1] Demsar, J. "Statistical comparisons of classifiers over multiple data sets." JMLR 7 (2006).
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.any():
        return 1.0
    return float(stats.wilcoxon(values).pvalue)


def least_signed_rank(n_tables: int, n_tests: int) -> float:
    """Return the least probability that Wilcoxon's signed-rank test over tables can give after Holm's adjustment."""
    return min(1.0, 2 * n_tests * 0.5**n_tables)


def holm(p: ArrayLike) -> FloatArray:
    """Probabilities (m,) adjusted for m tests, by Holm's step-down method; NaN stands for no test and stays."""
    raw = np.asarray(p, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(raw))
    order = tested[np.argsort(raw[tested], kind="stable")]
    steps = raw[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def mean_ranks(scores: ArrayLike) -> FloatArray:
    """Mean ranks (k,) of k models over N tables, from scores (N, k) of which the lowest is best; ties share."""
    return np.asarray(stats.rankdata(np.asarray(scores, dtype=np.float64), axis=1).mean(axis=0))


def friedman(scores: ArrayLike) -> float:
    """Probability of mean ranks as unequal as those of scores (N, k) by chance, by Friedman's test; NaN for k < 3."""
    table = np.asarray(scores, dtype=np.float64)
    return float(stats.friedmanchisquare(*table.T).pvalue) if table.shape[1] > 2 else float("nan")


def critical_difference(n_models: int, n_tables: int, level: float = LEVEL) -> float:
    """Smallest difference of mean ranks that Nemenyi's test calls significant [1]_.

    References
    ----------
    .. [1] Demsar, J. "Statistical comparisons of classifiers over multiple data sets." JMLR 7 (2006).
    """
    quantile = stats.studentized_range.ppf(1 - level, n_models, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(n_models * (n_models + 1) / (6 * n_tables)))


def not_distinguished(ranks: ArrayLike, difference: float) -> list[tuple[float, float]]:
    """Ends of the longest runs of mean ranks that lie within a critical difference; runs of one are left out."""
    ordered = np.sort(np.asarray(ranks, dtype=np.float64))
    ends = np.searchsorted(ordered, ordered + difference, side="right") - 1
    runs: list[tuple[int, int]] = []
    for first, last in enumerate(ends.tolist()):
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return [(float(ordered[first]), float(ordered[last])) for first, last in runs]
