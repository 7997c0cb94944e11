"""From the parameters of a regressor to its engine: defaults of each stage, and what does not go together."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Output, Params
from bridges_tabular.boosting.engine import BoostingEngine
from bridges_tabular.boosting.features import Features
from bridges_tabular.boosting.foreign import EstimatorModels, location_estimator
from bridges_tabular.boosting.libraries import library_of
from bridges_tabular.boosting.location import LocationModels, TreesModels
from bridges_tabular.boosting.peers import Peers
from bridges_tabular.boosting.rehearsal import check_callbacks, check_params
from bridges_tabular.boosting.several import BoostingEngines
from bridges_tabular.boosting.targets import PointTarget
from bridges_tabular.boosting.xgboost import XGBoost
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.regressors.words import hint, shown

if TYPE_CHECKING:
    from bridges_tabular.boosting.binned import BinnedTarget
    from bridges_tabular.core.codec import TargetCodec
    from bridges_tabular.core.objective import BridgeObjective

Floats = NDArray[np.float64]
Groups = list[list[int]]

_INTERACTIONS = "interaction_constraints"

# bins on residuals: logits of low rank, small trees
_RANK = 4
_RESIDUAL_DEFAULTS = {"max_depth": 4, "reg_lambda": 5.0}
_DEFAULTS = {"max_depth": 6, "reg_lambda": 1.0}
# Newton steps by the diagonal of a hessian come out short where logits are coupled
_BINS_SPEED = 2
_RESIDUAL_SPEED = 3
_REGRESSION_WEIGHT = 5.0

# xgb_params must not say twice what the regressor says itself; the value is what to set instead
_OWN_PARAMS = {
    "alpha": "reg_alpha",
    "eta": "learning_rate",
    "lambda": "reg_lambda",
    "nthread": "n_jobs",
    "num_boost_round": "n_estimators",
    "seed": "random_state",
} | dict.fromkeys(
    (
        "base_score",
        "booster",
        "disable_default_eval_metric",
        "eval_metric",
        "multi_strategy",
        "num_class",
        "num_target",
        "objective",
    ),
    "scheme",
)


# left to XGBoost unless they are given; "xgb_params" may hold them in their place
_OPTIONAL = ("min_child_weight", "gamma", "max_leaves", "max_bin", "grow_policy")
_ALIASES = {"min_split_loss": "gamma"}


class Settings:
    """The parameters of an XGBBridgeRegressor, with the defaults that depend on others filled in.

    Parameters
    ----------
    params : mapping
        By name, as ``get_params`` returns them.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self._given = SimpleNamespace(**params)
        self._scheme = SCHEMES[self._given.scheme]

    def check(self) -> None:
        """Refuse combinations that no fit could use.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        if self._scheme.has_code and not self._scheme.one_hot and self._given.tree_method in ("approx", "exact"):
            raise ValueError(f"scheme={self._given.scheme!r} needs tree_method='hist', got {self._given.tree_method!r}")
        if not self._scheme.has_code and self._given.early_stopping_metric in ("crps", "loss"):
            metric = self._given.early_stopping_metric
            raise ValueError(
                f"early_stopping_metric={metric!r} needs a scheme over bins, got scheme={self._given.scheme!r}"
            )
        weights = self.weights if self._scheme.moves_code else None
        if weights is not None and not weights.alignment_weight + weights.regression_weight > 0:
            raise ValueError("alignment_weight and regression_weight are 0: the trees would have nothing to learn")
        if self._given.kernel != PARAMETERS["kernel"].default and not self._scheme.has_kernel:
            raise ValueError(
                f"kernel={self._given.kernel!r} has no effect with scheme={self._given.scheme!r}: "
                "only the soft encoder has a kernel"
            )
        if self._given.uniform_share != PARAMETERS["uniform_share"].default and self._given.placement != "blend":
            raise ValueError(
                f"uniform_share has no effect with placement={self._given.placement!r}: it is of 'blend' alone"
            )
        if self._is_foreign:
            location_estimator(self._given.location)
            if not self._scheme.has_code:
                raise ValueError(f"location has no effect with scheme={self._given.scheme!r}: there are no bins on it")
        if self._given.monotone_constraints is not None:
            self._check_monotone(self._given.monotone_constraints)
        check_callbacks(self._given.callbacks or [])
        if self._given.min_child_weight is not None and self._vector_leaves and not self._on_residuals:
            raise ValueError(
                f"min_child_weight={self._given.min_child_weight} has no effect with scheme={self._given.scheme!r} and"
                f" location={self._given.location!r}: it is of trees with scalar leaves alone"
            )
        own = _OWN_PARAMS | {name: name for name in self._params if name not in _OPTIONAL or name in self._optional}
        own |= {alias: name for alias, name in _ALIASES.items() if name in self._optional}
        for name in self._given.xgb_params or {}:
            if name in own:
                raise ValueError(f"xgb_params holds {shown(name)}, which the parameter {own[name]!r} decides")
        params, further = self._tree_params(self._defaults, self._given.learning_rate), self._given.xgb_params or {}
        if _groups_of_names(further) is not None:
            # the columns are those of a table; whether XGBoost has constraints at all shows without them
            params[_INTERACTIONS] = "[[0]]"
        check_params(params, further, self._optional, self._outputs)

    @property
    def metric(self) -> str:
        """What early stopping of the last stage watches."""
        return str(self._given.early_stopping_metric or ("crps" if self._on_residuals else "rmse"))

    @property
    def weights(self) -> BridgeObjective:
        """Weights of the objective's terms."""
        # torch takes a second, which a baseline without bins need not wait for
        from bridges_tabular.core.objective import BridgeObjective

        given = self._given
        if not self._scheme.moves_code:
            return BridgeObjective(0.0, 1.0, 0.0)
        regression_weight = given.regression_weight
        if regression_weight is None:
            regression_weight = 0.0 if self._on_residuals else _REGRESSION_WEIGHT
        return BridgeObjective(given.autoencoding_weight, given.alignment_weight, regression_weight)

    def engine(self, columns: TableEncoder, prepared: Prepared) -> BoostingEngines:
        """The engine for a table with such columns."""
        features = Features(columns, prepared)
        return BoostingEngines(
            lambda target, own: self._engine(features, prepared, target, own), side_by_side=not self._given.callbacks
        )

    def _engine(self, features: Features, prepared: Prepared, target: int, own: Params) -> BoostingEngine:
        """The engine of one target, with parameters of XGBoost's own in place of the regressor's."""
        given, on_residuals = self._given, self._on_residuals
        n_jobs = own.get("nthread", given.n_jobs)
        columns = features.columns
        groups, directions = self._interactions(columns), self._directions(columns)
        speed = _RESIDUAL_SPEED if on_residuals else _BINS_SPEED if self._scheme.has_code else 1
        booster = XGBoost(
            features,
            prepared,
            tree_method=given.tree_method,
            max_bin=(self._optional | (given.xgb_params or {})).get("max_bin"),
            n_jobs=n_jobs,
            device=given.device,
            target=target,
        )
        return BoostingEngine(
            booster=booster,
            features=features,
            make_target=self._make_target,
            load_target=self._load_target,
            location=self._location(booster, features, directions, groups, own) if on_residuals else None,
            # what the bins add may go the other way
            fixed_share=None if directions is None else 0.0,
            params=self._tree_params(self._defaults, given.learning_rate * speed, vector=self._vector_leaves)
            | ({} if directions is None or self._scheme.has_code else _constraints(directions))
            # the location, behind the user's columns, goes with all of them
            | _grouped(groups, [len(columns.columns)] if on_residuals else [])
            | own,
            rounds=max(1, given.n_estimators // speed) if on_residuals else given.n_estimators,
            metric=self.metric,
            early_stopping_rounds=given.early_stopping_rounds,
            callbacks=given.callbacks or [],
        )

    @property
    def _outputs(self) -> list[Output]:
        """What the trees of each stage put out for two classes."""
        outputs = [Output.squared_error()]
        if self._scheme.has_code:
            one_hot = self._scheme.one_hot
            outputs.append(Output(2, offsets=np.zeros(2, np.float32)) if one_hot else Output(2, vector=True))
        return outputs

    @property
    def _on_residuals(self) -> bool:
        return self._scheme.has_code and (self._is_foreign or self._given.location == "cross_fitted")

    @property
    def _is_foreign(self) -> bool:
        return not isinstance(self._given.location, str)

    @property
    def _defaults(self) -> dict[str, float]:
        return _RESIDUAL_DEFAULTS if self._on_residuals else _DEFAULTS

    def _location(
        self,
        booster: XGBoost,
        features: Features,
        directions: list[int] | None,
        groups: Groups | None,
        own: Params,
    ) -> LocationModels:
        given, stopping = self._given, self._given.early_stopping_rounds
        if self._is_foreign:
            return EstimatorModels(given.location, features, directions, own.get("nthread", given.n_jobs), stopping)
        params = self._tree_params(_DEFAULTS, given.learning_rate) | own
        params |= ({} if directions is None else _constraints(directions)) | _grouped(groups, [])
        return TreesModels(booster, params, given.n_estimators, stopping, features)

    def _directions(self, columns: TableEncoder) -> list[int] | None:
        """Directions of the features by ``monotone_constraints``, 0 where it is silent; None without."""
        wanted: dict[str, int] | None = self._given.monotone_constraints
        if wanted is None:
            return None
        for name in wanted:
            if name not in columns.numeric_columns or name not in columns.feature_names_in_:
                found = hint(name, columns.numeric_columns)
                raise ValueError(f"monotone_constraints: there is no column of numbers {shown(name)}{found}")
        return [wanted.get(name, 0) for name in columns.columns]

    def _interactions(self, columns: TableEncoder) -> Groups | None:
        """Positions of the features in each group of ``interaction_constraints`` that names columns; None without."""
        given, names = _groups_of_names(self._given.xgb_params or {}), list(columns.feature_names_in_)
        if given is None:
            return None
        for name in (name for group in given for name in group):
            if name not in names:
                raise ValueError(f"xgb_params: {_INTERACTIONS}: there is no column {shown(name)}{hint(name, names)}")
        return [[at for at, source in enumerate(columns.sources) if names[source] in group] for group in given]

    def _check_monotone(self, wanted: Mapping[Any, Any]) -> None:
        for name, direction in wanted.items():
            if not isinstance(name, str) or direction not in (-1, 0, 1) or isinstance(direction, bool):
                problem = f"monotone_constraints holds {shown(name)}: {shown(direction)}"
                raise ValueError(f"{problem}; it holds names of columns, and 1 for up, -1 for down or 0")
        for name in ("support", "target_transform"):
            if self._params[name] is not None:
                raise ValueError(
                    f"monotone_constraints stand beside {name}, with which predictions are means of distributions,"
                    " whose widths may go either way: give one of them"
                )
        if not self._scheme.has_code:
            return
        if self._given.location == "none":
            raise ValueError("monotone_constraints need a location: the mean of bins on the target may go either way")
        if self._is_foreign:
            estimator = location_estimator(self._given.location)
            name, own = type(estimator).__name__, library_of(estimator).monotone
            if own is None:
                raise ValueError(f"monotone_constraints cannot be held by a location of {name}")
            if estimator.get_params().get(own) is not None:
                raise ValueError(f"monotone_constraints stand beside {own} of the location's {name}: give one of them")

    def _make_target(
        self, y: Floats, weight: Floats | None, random: np.random.RandomState, peers: Peers
    ) -> PointTarget | BinnedTarget:
        if not self._scheme.has_code:
            return PointTarget()
        from bridges_tabular.boosting.binned import BinnedTarget

        rank = _RANK if self._on_residuals else None
        return BinnedTarget.fit(self._codec(), y, weight, rank=rank, weights=self.weights, random=random, peers=peers)

    def _load_target(self, arrays: Arrays) -> PointTarget | BinnedTarget:
        if not self._scheme.has_code:
            return PointTarget()
        from bridges_tabular.boosting.binned import BinnedTarget

        return BinnedTarget.from_arrays(self._codec(), arrays, self.weights)

    def _codec(self) -> TargetCodec:
        from bridges_tabular.core.codec import TargetCodec

        given = self._given
        return TargetCodec(
            given.scheme,
            given.n_bins,
            given.placement,
            given.kernel,
            given.smoothing,
            margin=given.margin,
            uniform_share=given.uniform_share,
        )

    @property
    def _vector_leaves(self) -> bool:
        return self._scheme.has_code and not self._scheme.one_hot

    @property
    def _optional(self) -> dict[str, Any]:
        """Those of the optional parameters that are given."""
        return {name: self._params[name] for name in _OPTIONAL if self._params[name] is not None}

    def _tree_params(self, defaults: dict[str, float], learning_rate: float, *, vector: bool = False) -> dict[str, Any]:
        given, optional = self._given, self._optional
        if vector:
            # hessians of classes are far below 1, that of a row under squared error
            optional.pop("min_child_weight", None)
        return {
            "learning_rate": learning_rate,
            "max_depth": int(defaults["max_depth"]) if given.max_depth is None else given.max_depth,
            "subsample": given.subsample,
            "colsample_bytree": given.colsample_bytree,
            "reg_lambda": defaults["reg_lambda"] if given.reg_lambda is None else given.reg_lambda,
            "reg_alpha": given.reg_alpha,
            "tree_method": given.tree_method,
            "device": given.device,
            "nthread": given.n_jobs or 0,
            "verbosity": given.verbosity,
            **optional,
            **(given.xgb_params or {}),
        }


def _groups_of_names(further: Mapping[str, Any]) -> list[list[str]] | None:
    """Groups of columns that interact, as names; None where there are none, or as XGBoost's text of numbers."""
    given = further.get(_INTERACTIONS)
    if given is None or isinstance(given, str):
        return None
    lists = isinstance(given, list | tuple) and all(isinstance(group, list | tuple) for group in given)
    if not lists or not all(isinstance(name, str) for group in given for name in group):
        raise ValueError(f"xgb_params: {_INTERACTIONS} is {shown(given)}, expected lists of names of columns")
    return [list(group) for group in given]


def _grouped(groups: Groups | None, beside: list[int]) -> dict[str, Any]:
    return {} if groups is None else {_INTERACTIONS: str([[*group, *beside] for group in groups])}


def _constraints(directions: list[int]) -> dict[str, Any]:
    return {"monotone_constraints": f"({','.join(map(str, directions))})"}
