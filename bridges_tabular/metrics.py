"""Scores of predicted distributions for scikit-learn's ``scoring=``; higher is better.

They take a regressor, a pipeline that ends with one, or a search over either, as
:func:`~bridges_tabular.predict_distribution` does.

Examples
--------
>>> from sklearn.datasets import load_diabetes
>>> from sklearn.model_selection import cross_val_score
>>> import bridges_tabular as bt
>>> from bridges_tabular.metrics import neg_crps, neg_interval_score
>>> X, y = load_diabetes(return_X_y=True)
>>> model = bt.XGBBridgeRegressor(n_bins=16, n_estimators=20, n_jobs=1)
>>> bool((cross_val_score(model, X, y, scoring=neg_crps, cv=2) < 0).all())
True
>>> neg_interval_score(coverage=0.8)(model.fit(X, y), X, y) < 0
True
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import UNUSED

from bridges_tabular.core import scores
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.regressors.pipelines import predict_distribution

__all__ = ["DistributionScorer", "neg_crps", "neg_interval_score", "neg_log_score", "neg_pinball"]


class DistributionScorer(BaseEstimator, ABC):
    """A scorer of distributions: ``scorer(estimator, X, y, sample_weight=None, exposure=None)``.

    An estimator of scikit-learn's by its parameters alone, so that it can be cloned, shown, and told by
    ``set_score_request(sample_weight=True, exposure=True)`` to take weights and exposures where metadata routing is on.
    """

    # the argument of a scorer, and nothing to route
    __metadata_request__score: ClassVar[dict[str, str]] = {"estimator": UNUSED}

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
    ) -> float:
        """What :meth:`score` returns, as scikit-learn asks for it."""
        return self.score(estimator, X, y, sample_weight, exposure)

    def score(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
    ) -> float:
        """The mean score of the rows; of several targets, the mean of theirs.

        Parameters
        ----------
        estimator : fitted regressor, Pipeline or search
        X : DataFrame or array of shape (n, p)
        y : array of shape (n,), or (n, targets)
        sample_weight : array of shape (n,), optional
        exposure : array of shape (n,), optional
            Of the rows: what is scored are the distributions of their totals.

        Raises
        ------
        TypeError
            If the estimator predicts no distributions.
        ValueError
            If it predicts more or fewer targets than ``y`` has.
        """
        predicted = predict_distribution(estimator, X, exposure)
        several = predicted if isinstance(predicted, list) else [predicted]
        truths = np.atleast_2d(np.asarray(y, dtype=np.float64).T)
        if len(truths) != len(several):
            raise ValueError(f"y has {len(truths)} target(s), and the estimator predicts {len(several)}")
        return -float(np.mean([self._loss(*one, sample_weight) for one in zip(several, truths, strict=True)]))

    @abstractmethod
    def _loss(self, distribution: BinnedDistribution, y: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
        """Of one target; lower is better."""


class NegCRPS(DistributionScorer):
    """Less the mean continuous ranked probability score, see :func:`~bridges_tabular.core.scores.crps`."""

    def _loss(self, distribution: BinnedDistribution, y: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
        return scores.crps(distribution, y, sample_weight)


class NegLogScore(DistributionScorer):
    """The mean log likelihood, see :func:`~bridges_tabular.core.scores.log_score`."""

    def _loss(self, distribution: BinnedDistribution, y: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
        return scores.log_score(distribution, y, sample_weight)


class NegPinball(DistributionScorer):
    """Less the mean pinball loss of quantiles, see :func:`~bridges_tabular.core.scores.pinball`."""

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = levels

    def _loss(self, distribution: BinnedDistribution, y: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
        levels = np.atleast_1d(np.asarray(self.levels, dtype=np.float64))
        return scores.pinball(distribution.quantile(levels), y, levels, sample_weight)


class NegIntervalScore(DistributionScorer):
    """Less the mean score of central intervals, see :func:`~bridges_tabular.core.scores.interval_score`."""

    def __init__(self, coverage: float) -> None:
        self.coverage = coverage

    def _loss(self, distribution: BinnedDistribution, y: NDArray[np.float64], sample_weight: ArrayLike | None) -> float:
        return scores.interval_score(distribution.interval(self.coverage), y, self.coverage, sample_weight)


neg_crps = NegCRPS()
"""Less the mean CRPS, in units of the target."""

neg_log_score = NegLogScore()
"""The mean log likelihood, in nats. Compares only models with the same atoms; not a number where every y is one."""


def neg_pinball(levels: float | Sequence[float]) -> DistributionScorer:
    """A scorer by the mean pinball loss of quantiles.

    Parameters
    ----------
    levels : float or sequence of float
        Probabilities from 0 to 1.

    Raises
    ------
    ValueError
        If a level cannot be.
    """
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    scores.pinball(wanted[None], [0.0], wanted)
    return NegPinball(wanted.tolist())


def neg_interval_score(coverage: float = 0.9) -> DistributionScorer:
    """A scorer by the mean interval score of central intervals, in units of the target.

    Parameters
    ----------
    coverage : float, default=0.9
        Share of the rows that the intervals are to hold, between 0 and 1.

    Raises
    ------
    ValueError
        If the coverage cannot be.
    """
    scores.interval_score([[0.0, 0.0]], [0.0], coverage)
    return NegIntervalScore(coverage)
