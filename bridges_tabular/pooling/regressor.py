"""Several regressors as one: convex combinations of their points and of their distributions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.core.calibration.residuals import thinned
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.mixtures import checked_weights
from bridges_tabular.pooling import members as of_members
from bridges_tabular.pooling.members import DROP, check_fitted, check_targets, is_dropped
from bridges_tabular.pooling.weights import JUDGED_ROWS, Heard, Mixture, fit_mixtures
from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.card import describe_columns, describe_targets, target_names, write_card
from bridges_tabular.regressors.constraints import constraints
from bridges_tabular.regressors.engine import Engine, entry
from bridges_tabular.regressors.exposure import scaled, scaled_distribution
from bridges_tabular.regressors.forecast import Calibrated
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.reading import read
from bridges_tabular.regressors.rows import Given, Rows
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import TableEncoder, check_table, index_of

Floats = NDArray[np.float64]

# distributions are made for so many rows at once where only a few numbers of each are asked for
_BLOCK_ROWS = 8192


class PooledBridgeRegressor(_BaseComposition, BridgeRegressor):
    """Pool regressors of this package, as scikit-learn's ``VotingRegressor`` pools others, with their distributions.

    Points and distributions are convex combinations of the members', each target with its own weights: those of the
    least CRPS on the validation rows, drawn towards equal ones where there are few, ``n / (n + 20)`` of the way with n
    rows. Pools of calibrated distributions are too wide; the odds of the pooled cdf are therefore raised to a power
    that the validation rows choose in the same way, see :func:`~bridges_tabular.core.mixtures.sharpened`.

    Parameters
    ----------
    estimators : list of (str, regressor)
        Members with their names. Clones of them are fitted on the same training rows and watch the same validation
        rows. A :class:`sklearn.frozen.FrozenEstimator` around a fitted one is taken as it is; "drop" leaves one out.
        In an experiment file ``members: [NAMES]``: models that stand above it there, taken as they are fitted.
    weights : array of shape (members,), optional
        Of the members that are not dropped, in place of fitted ones; only ratios matter.
    validation_fraction : float, default=0.2
        Share of the rows held out for the members' validation and the weights where ``fit`` is given no ``eval_set``.
    calibration_fraction : float, optional
        Share of the training rows held out for conformal intervals alone. Default: the validation rows serve for that
        too.
    random_state : int, RandomState instance or None, default=0
        Draws the rows held out; members have their own.

    Attributes
    ----------
    estimators_ : list of regressors
        The fitted members that are not dropped.
    named_estimators_ : Bunch
        The same by their names.
    weights_ : array of shape (members,), or (members, targets) if y was of shape (n, targets)
    power_ : float, or array of shape (targets,)
        Of the odds; 1 leaves the pool as wide as it is.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from bridges_tabular import PooledBridgeRegressor, XGBBridgeRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> bins, plain = XGBBridgeRegressor(n_bins=16, n_jobs=1), XGBBridgeRegressor("least_squares", n_jobs=1)
    >>> model = PooledBridgeRegressor([("bins", bins), ("plain", plain)]).fit(X, y)
    >>> model.predict_interval(X[:3], coverage=0.8).shape, round(float(model.weights_.sum()), 9)
    ((3, 2), 1.0)
    """

    scheme = "mixture"
    calibration = "weights and width of the pool"

    _parameter_constraints: dict[str, Any] = {
        "estimators": [list],
        "weights": ["array-like", None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        **constraints("calibration_fraction"),
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        *,
        weights: ArrayLike | None = None,
        validation_fraction: float = 0.2,
        calibration_fraction: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with ``deep`` the members under their names too, and theirs as ``name__parameter``."""
        params: dict[str, Any] = self._get_params("estimators", deep=deep)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of members as ``name__parameter``, and members themselves by their names."""
        self._set_params("estimators", **params)
        return self

    def check_params(self) -> None:
        """Refuse a member or a parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the member or the parameter.
        """
        named = self.estimators
        pairs = named if isinstance(named, list | tuple) else []
        if not pairs or not all(isinstance(one, tuple | list) and len(one) == 2 for one in pairs):
            raise ValueError("estimators must be a list of (name, regressor), at least one")
        for name, member in named:
            of_members.check(name, member)
        self._check_shares([name for name, _ in named], sum(not is_dropped(member) for _, member in named))

    @property
    def weights_(self) -> Floats:
        """Weights of the members, (members,) or (members, targets)."""
        check_is_fitted(self)
        weights = np.stack([mixture.weights for mixture in self._mixtures], axis=1)
        return weights[:, 0] if self._single else weights

    @property
    def power_(self) -> float | Floats:
        """Powers of the odds, one or (targets,)."""
        check_is_fitted(self)
        powers = np.array([mixture.power for mixture in self._mixtures])
        return float(powers[0]) if self._single else powers

    @property
    def codecs_(self) -> list[Any]:
        """Empty: the members have codes of their own."""
        check_is_fitted(self)
        return []

    @property
    def codec_scales_(self) -> list[TargetScale]:
        """Empty, as ``codecs_`` is."""
        return self.codecs_

    def predict(self, X: Any, exposure: ArrayLike | None = None) -> Floats:
        """Predict the mean of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        exposure : float or array of shape (n,), optional
            Of the rows, see :meth:`fit`; default: 1, which is the rate.

        Returns
        -------
        array of shape (n,), or (n, targets) if y was of that shape, in the units of the target
        """
        return scaled((self.predict_members(X) * self.weights_).sum(axis=1), exposure)

    def predict_members(self, X: Any) -> Floats:
        """Predict with every member; ``predict`` is their mean with ``weights_``.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        array of shape (n, members), or (n, members, targets)
        """
        check_is_fitted(self)
        frame = check_table(self, X, reset=False)
        return np.stack([member.predict(frame) for member in self.estimators_], axis=1)

    def predict_distribution(
        self, X: Any, exposure: ArrayLike | None = None
    ) -> BinnedDistribution | list[BinnedDistribution]:
        """Predict the distribution of the target: the mixture of the members', sharpened.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        exposure : float or array of shape (n,), optional
            Of the rows, see :meth:`fit`; default: 1, which is the rate.

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target; a list with one for every target if y was of shape
        (n, targets)
        """
        check_is_fitted(self)
        rated = [one.with_index(index_of(X)) for one in self._pooled(check_table(self, X, reset=False))]
        pooled = [scaled_distribution(one, exposure) for one in rated]
        return pooled[0] if self._single else pooled

    def write(self, folder: Path) -> None:
        """Write the files of the fitted model to an empty folder; :meth:`save` makes it whole with a manifest."""
        for index, member in enumerate(self.estimators_):
            member.save(folder / of_members.folder(index))
        state = {
            "params": self._fitted_params,
            "columns": self._columns.to_dict(),
            "named": hasattr(self, "feature_names_in_"),
            "single": self._single,
            "facts": self.facts_,
        }
        arrays = {f"scale.{name}": array for name, array in self.scale_.arrays().items()}
        for index, mixture in enumerate(self._mixtures):
            arrays |= {f"mixture.{index}.{name}": array for name, array in mixture.arrays().items()}
        artifacts.write_state(folder, state)
        artifacts.write_arrays(folder, arrays)
        write_card(folder, self, artifacts.header(self), [mixture.validation_scores() for mixture in self._mixtures])

    @classmethod
    def _from_saved(cls, saved: artifacts.Saved, trusted: Collection[str]) -> Self:
        """Rebuild a pool and its members."""
        with saved.opened() as (state, arrays):
            params = dict(entry(state, "params", dict))
            kinds = of_members.read_kinds(params.pop("estimators"))
            columns = TableEncoder.from_dict(entry(state, "columns", dict))
            single, named = entry(state, "single", bool), entry(state, "named", bool)
            facts = entry(state, "facts", dict)
            scale = TargetScale.from_arrays(arrays.part("scale."))
            if single and len(scale.mean) != 1:
                raise arrays.error("scale.mean", f"is of {len(scale.mean)} targets, not 1")
            used = [name for name, kind in kinds if kind != DROP]
            parts = [arrays.part(f"mixture.{index}.") for index in range(len(scale.mean))]
            mixtures = [Mixture.from_arrays(part, len(used)) for part in parts]
            # a constructor that refuses what it is given says so of this file
            model = cls(estimators=[], **params)
            model._check_shares([name for name, _ in kinds], len(used))
        members = of_members.load(saved, kinds, trusted)
        model.estimators = [(name, of_members.as_given(kind, member)) for name, kind, member in members]
        model._keep({name: member for name, kind, member in members if kind != DROP})
        for name, member in model.named_estimators_.items():
            check_targets(f"{saved.folder}: {name}", member, len(scale.mean), single)
        model._columns, model._single, model.facts_ = columns, single, facts
        model.n_features_in_ = columns.n_features_in_
        if named:
            model.feature_names_in_ = np.asarray(columns.feature_names_in_, dtype=object)
        model.scale_, model._mixtures = scale, mixtures
        return model._remember()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_mixtures")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        known = [member.__sklearn_tags__() for _, member in self._candidates() if hasattr(member, "__sklearn_tags__")]
        tags.target_tags.multi_output = bool(known) and all(one.target_tags.multi_output for one in known)
        tags.input_tags.allow_nan = all(one.input_tags.allow_nan for one in known)
        return tags

    def _has_distribution(self) -> bool:
        return True

    def _check_shares(self, names: list[str], used: int) -> None:
        """Check all but the members themselves."""
        super().check_params()
        self._validate_names(names)
        if not used:
            raise ValueError("estimators: all members are dropped, and one is required")
        if self.weights is not None:
            checked_weights(self.weights, used)

    def _saved_params(self) -> dict[str, Any]:
        params = super()._saved_params()
        weights = None if self.weights is None else np.asarray(self.weights, dtype=float).tolist()
        kinds = [[name, of_members.kind(member)] for name, member in self.estimators]
        return params | {"estimators": kinds, "weights": weights}

    def _engine(self, columns: TableEncoder, prepared: Prepared) -> Engine:
        raise NotImplementedError("the members have engines of their own")

    def _fit(self, given: Given, watched: Given | None, prepared: Prepared, report: Report) -> None:
        train, validation, conformal = self._described(given, watched, prepared)
        fitted = self._fitted_members(train, validation, prepared, report)
        self._keep(dict(fitted))
        shares = None if self.weights is None else checked_weights(self.weights, len(self.estimators_))
        self._mixtures = fit_mixtures(*self._heard(validation, conformal), shares)

    def _described(self, given: Given, watched: Given | None, prepared: Prepared) -> tuple[Rows, Rows, Rows | None]:
        """Rows to train on, for validation and for conformal intervals alone; keeps what a saved model says of them."""
        _, random = self._draws()
        train, validation, conformal, _ = read(self, given, watched, random, prepared)
        assert validation is not None
        frames = [rows.X for rows in (train, validation, conformal) if rows is not None]
        self._columns = prepared.get(lambda: TableEncoder().fit(*frames), frames, "columns")
        self.scale_ = TargetScale.fit(train.y, train.weight)
        described = describe_columns(train.X, self._columns)
        names = target_names(given.y, train.y.shape[1])
        self.facts_ = {"rows": len(train), "columns": described, "targets": describe_targets(train.y, names)}
        return train, validation, conformal

    def _heard(self, validation: Rows, conformal: Rows | None) -> tuple[Heard, Heard | None]:
        """What the members say of some of the validation rows, and of those for conformal intervals alone."""
        judged = validation.take(thinned(len(validation), JUDGED_ROWS))
        apart = None if conformal is None else Heard(self._said(conformal.X), conformal.y, conformal.weight)
        return Heard(self._said(judged.X), judged.y, judged.weight), apart

    def _candidates(self) -> list[tuple[str, Any]]:
        """Members to fit, by their names."""
        return [(name, member) for name, member in self.estimators if not is_dropped(member)]

    def _fitted_members(
        self, train: Rows, validation: Rows, prepared: Prepared, report: Report
    ) -> Iterator[tuple[str, Any]]:
        """Fit the members one after another, but for those that are fitted."""
        given = self._candidates()
        judged = validation.X.iloc[thinned(len(validation), JUDGED_ROWS)]
        for name, member in given:
            if isinstance(member, FrozenEstimator):
                check_fitted(name, member.estimator, judged, train.y.shape[1], self._single)
        y, y_validation = (rows.y[:, 0] if self._single else rows.y for rows in (train, validation))
        for step, (name, member) in enumerate(given, 1):
            if isinstance(member, FrozenEstimator):
                yield name, member.estimator
            else:
                watched = (validation.X, y_validation, validation.weight)
                shared = {"groups": train.groups, "prepared": prepared, "report": Report(until=report.until)}
                yield name, clone(member).fit(train.X, y, train.weight, watched, **shared)
            report(step, len(given), {})

    def _keep(self, members: dict[str, Any]) -> None:
        self.estimators_ = list(members.values())
        self.named_estimators_ = Bunch(**members)

    def _said(self, frame: pd.DataFrame) -> list[list[BinnedDistribution]]:
        """Distributions of every member, for each target in turn."""
        said = [member.predict_distribution(frame) for member in self.estimators_]
        return [said] if self._single else [list(members) for members in zip(*said, strict=True)]

    def _pooled(self, frame: pd.DataFrame) -> list[BinnedDistribution]:
        pairs = zip(self._mixtures, self._said(frame), strict=True)
        return [mixture.distribution(members) for mixture, members in pairs]

    def _of_distributions(self, X: Any, of: Callable[[Calibrated, BinnedDistribution], Floats]) -> Floats:
        check_is_fitted(self)
        frame = check_table(self, X, reset=False)
        blocks = []
        for start in range(0, len(frame), _BLOCK_ROWS):
            pairs = zip(self._mixtures, self._pooled(frame.iloc[start : start + _BLOCK_ROWS]), strict=True)
            results = [of(mixture, pooled) for mixture, pooled in pairs]
            blocks.append(results[0] if self._single else np.stack(results, axis=-1))
        return np.concatenate(blocks)
