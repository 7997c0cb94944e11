"""Boosted trees, a network and their pool within a budget of time: what is best on the validation rows."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.pooling import PooledBridgeRegressor
from bridges_tabular.pooling.weights import Mixture, fit_mixtures
from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.constraints import constraints
from bridges_tabular.regressors.engine import entry
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Given

Floats = NDArray[np.float64]

# what the pool of all is called among the candidates
POOL = "pool"


class AutoBridgeRegressor(PooledBridgeRegressor):
    """Fit boosted trees, a network and their pool, and predict with what is best on the validation rows.

    Parameters
    ----------
    time_budget : float, optional
        Seconds for the fits. The trees are fitted whatever they take; the network begins no further epoch once the time
        is over, and is left out if it is over before its first. Default: no limit.
    estimators : list of (str, regressor), optional
        Candidates in place of the trees and the network, in the order of their fits, as
        :class:`~bridges_tabular.pooling.PooledBridgeRegressor` takes them; in an experiment file ``members: [NAMES]``,
        models that stand above it there. Default: ``XGBBridgeRegressor`` and ``TabularBridgeRegressor``, both with
        their defaults. Of a loaded model they are the winner, or the members of the pool.
    metric : {"crps", "rmse", "mae"}, default="crps"
        What is compared on the validation rows; of several targets the mean, each in units of its deviation.
    validation_fraction : float, default=0.2
        Share of the rows held out for validation where ``fit`` is given no ``eval_set``.
    calibration_fraction : float, optional
        Share of the training rows held out for conformal intervals alone. Default: the validation rows serve for that
        too.
    random_state : int, RandomState instance or None, default=0
        Draws the rows held out, and seeds the default candidates.

    Attributes
    ----------
    winner_ : str
        Name of the candidate that predicts: "trees", "network" or "pool".
    scores_ : dict of str to float
        The metric of each candidate on the validation rows, the lower the better. They have stopped the members,
        calibrated them and weighted the pool, and come out too good for that, the pool's a little more than the others.
    estimators_ : list of regressors
        The winner, or the members of the pool.
    named_estimators_ : Bunch
    weights_ : array of shape (members,), or (members, targets) if y was of shape (n, targets)
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from bridges_tabular import AutoBridgeRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = AutoBridgeRegressor(time_budget=5).fit(X, y)
    >>> model.predict_interval(X[:3], coverage=0.8).shape, model.winner_ in model.scores_
    ((3, 2), True)
    """

    scheme = "best"
    weights = None

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "time_budget": [Interval(Real, 0, None, closed="neither"), None],
        "estimators": [list, None],
        "metric": [StrOptions({"crps", "rmse", "mae"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        **constraints("calibration_fraction"),
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        time_budget: float | None = None,
        *,
        estimators: list[tuple[str, Any]] | None = None,
        metric: Literal["crps", "rmse", "mae"] = "crps",
        validation_fraction: float = 0.2,
        calibration_fraction: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.time_budget = time_budget
        self.estimators = estimators  # type: ignore[assignment]
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    @property
    def winner_(self) -> str:
        """Name of the candidate that predicts."""
        check_is_fitted(self)
        return str(self.facts_["winner"])

    @property
    def scores_(self) -> dict[str, float]:
        """The metric of each candidate on the validation rows."""
        check_is_fitted(self)
        found: Any = self.facts_["scores"]
        return dict(found)

    @classmethod
    def _from_saved(cls, saved: artifacts.Saved, trusted: Collection[str]) -> Self:
        """Rebuild the winner, which is what ``estimators`` then holds."""
        model = super()._from_saved(saved, trusted)
        try:
            known = entry(model.facts_, "scores", dict)
            if entry(model.facts_, "winner", str) not in known or not all(isinstance(s, float) for s in known.values()):
                raise ValueError("'winner' is none of 'scores'")
        except ValueError as error:
            raise ValueError(f"{saved.folder} does not describe a {cls.__name__}: {error}") from None
        return model

    def check_params(self) -> None:
        """Refuse a candidate or a parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the candidate or the parameter.
        """
        if self.estimators is None:
            self._check_shares([], 1)
            return
        super().check_params()

    def _check_shares(self, names: list[str], used: int) -> None:
        super()._check_shares(names, used)
        if POOL in names:
            raise ValueError(f"estimators: {POOL!r} is what the pool of all is called, name the candidate otherwise")

    def __sklearn_tags__(self) -> Any:
        if self.estimators is not None:
            return super().__sklearn_tags__()
        tags = BridgeRegressor.__sklearn_tags__(self)
        tags.target_tags.multi_output = True
        return tags

    def _saved_params(self) -> dict[str, Any]:
        # the members that are kept are fitted, whatever they were given as
        return BridgeRegressor._saved_params(self) | {
            "estimators": [[name, "fitted"] for name in self.named_estimators_]
        }

    def _candidates(self) -> list[tuple[str, Any]]:
        if self.estimators is not None:
            return super()._candidates()
        from bridges_tabular.boosting import XGBBridgeRegressor
        from bridges_tabular.tabular import TabularBridgeRegressor

        seed, _ = self._draws()
        return [
            ("trees", XGBBridgeRegressor(random_state=seed)),
            ("network", TabularBridgeRegressor(random_state=seed)),
        ]

    def _fit(self, given: Given, watched: Given | None, prepared: Prepared, report: Report) -> None:
        until = None if self.time_budget is None else time.monotonic() + self.time_budget
        train, validation, conformal = self._described(given, watched, prepared)
        fitted = self._fitted_members(train, validation, prepared, replace(report, until=until))
        members = dict(_in_time(fitted, until))
        self._keep(members)
        judged, apart = self._heard(validation, conformal)
        found: dict[str, tuple[dict[str, Any], list[Mixture]]] = {}
        for index, (name, member) in enumerate(members.items()):
            alone = judged.of_member(index), None if apart is None else apart.of_member(index)
            found[name] = {name: member}, fit_mixtures(*alone, np.ones(1))
        if len(members) > 1:
            found[POOL] = members, fit_mixtures(judged, apart)
        scored = {name: self._score(mixtures) for name, (_, mixtures) in found.items()}
        winner = min(scored, key=lambda name: scored[name])
        kept, self._mixtures = found[winner]
        self._keep(kept)
        self.facts_ |= {"winner": winner, "scores": scored}

    def _score(self, mixtures: list[Mixture]) -> float:
        """The metric on the validation rows, in the target's units if there is one target."""
        heading = self.metric.upper()
        found = np.array([mixture.validation_scores()[heading] for mixture in mixtures])
        return float(found[0]) if self._single else float(np.mean(found / self.scale_.scale))


def _in_time(fitted: Iterator[tuple[str, Any]], until: float | None) -> Iterator[tuple[str, Any]]:
    """Those that are fitted before the time is over, the first one whatever it takes."""
    for one in fitted:
        yield one
        if until is not None and time.monotonic() > until:
            return
