"""How boosted trees of other libraries are trained, asked and saved as a location: each library's own habits."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import has_fit_parameter

from bridges_tabular.boosting.library import Library, Monotone, OwnLibrary, TreeLibrary
from bridges_tabular.boosting.location import Sample
from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.words import shown


class XGBoostLibrary(TreeLibrary):
    """XGBRegressor and its like."""

    name = "xgboost"
    monotone = "monotone_constraints"
    losses = ("objective",)
    _odd = r"\W"

    def fit(self, estimator: Any, training: Sample, validation: Sample | None, patience: int | None) -> Any:
        """Fit; ``early_stopping_rounds`` of the user's own wins."""
        estimator.set_params(enable_categorical=True)
        watched: dict[str, Any] = {}
        if validation is None:
            estimator.set_params(early_stopping_rounds=None)
        else:
            watched["eval_set"] = [(self.table(validation.X, validation.values), validation.y)]
            if validation.weight is not None:
                watched["sample_weight_eval_set"] = [validation.weight]
            if estimator.get_params()["early_stopping_rounds"] is None:
                estimator.set_params(early_stopping_rounds=patience)
        table = self.table(training.X, training.values)
        return estimator.fit(table, training.y, sample_weight=training.weight, verbose=False, **watched)

    def of_fold(self, estimator: Any, model: Any) -> Any:
        """With the rounds up to the best one."""
        best = getattr(model.get_booster(), "best_iteration", None)
        rounds = {} if best is None else {"n_estimators": int(best) + 1}
        return self.copied(estimator).set_params(**rounds)

    def constraints(self, monotone: Monotone) -> dict[str, Any]:
        """As a tuple."""
        return {"monotone_constraints": tuple(monotone)}

    def dump(self, model: Any) -> NDArray[np.uint8]:
        """The booster as UBJSON."""
        return np.frombuffer(bytes(model.get_booster().save_raw("ubj")), dtype=np.uint8)

    def restore(self, content: bytes, trusted: Collection[str]) -> Any:
        """A plain XGBRegressor of the booster."""
        from xgboost import XGBRegressor

        model = XGBRegressor(n_jobs=self.n_jobs, enable_categorical=True)
        model.load_model(bytearray(content))
        return model


class LightGBMLibrary(TreeLibrary):
    """LGBMRegressor; what predicts is its booster."""

    name = "lightgbm"
    monotone = "monotone_constraints"
    losses = ("objective", "objective_type", "app", "application", "loss")
    _odd = r"\W"

    _stopping = ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change")
    _rounds: tuple[str, ...] = (
        *("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round", "num_rounds"),
        *("nrounds", "num_boost_round", "max_iter", "n_estimators"),
    )

    def prepared(self, estimator: Any, seed: int, monotone: Monotone | None) -> Any:
        """The same, and silent."""
        given = estimator.get_params()
        copy = super().prepared(estimator, seed, monotone)
        for name in ("seed", "random_seed"):
            if name in given:
                copy.set_params(random_state=None)
        return copy if {"verbose", "verbosity"} & given.keys() else copy.set_params(verbosity=-1)

    def fit(self, estimator: Any, training: Sample, validation: Sample | None, patience: int | None) -> Any:
        """Fit; early stopping of the user's own wins."""
        import lightgbm

        watched: dict[str, Any] = {}
        stopping = [name for name in self._stopping if name in estimator.get_params()]
        if validation is None:
            estimator.set_params(**dict.fromkeys(stopping))
        else:
            table = self.table(validation.X, validation.values)
            # the newer name
            apart = has_fit_parameter(estimator, "eval_X")
            watched = {"eval_X": table, "eval_y": validation.y} if apart else {"eval_set": [(table, validation.y)]}
            if validation.weight is not None:
                watched["eval_sample_weight"] = [validation.weight]
            if not stopping and patience is not None:
                watched["callbacks"] = [lightgbm.early_stopping(patience, verbose=False)]
        table = self.table(training.X, training.values)
        return estimator.fit(table, training.y, sample_weight=training.weight, **watched).booster_

    def of_fold(self, estimator: Any, model: Any) -> Any:
        """With the rounds up to the best one."""
        copy = self.copied(estimator)
        if model.best_iteration <= 0:
            return copy
        given = copy.get_params()
        return copy.set_params(**{name: model.best_iteration for name in self._rounds if name in given})

    def predict(self, model: Any, table: Any) -> Any:
        """With as many threads as are ours."""
        return model.predict(table, **({} if self.n_jobs is None else {"num_threads": self.n_jobs}))

    def importances(self, model: Any) -> Any:
        """The gain of splits."""
        return model.feature_importance("gain")

    def dump(self, model: Any) -> NDArray[np.uint8]:
        """The booster as LightGBM's text, without the parameters of its training: names of columns there break it."""
        text = re.sub(r"\nparameters:\n.*\nend of parameters\n", "\n", model.model_to_string(), flags=re.DOTALL)
        return np.frombuffer(text.encode(), dtype=np.uint8)

    def restore(self, content: bytes, trusted: Collection[str]) -> Any:
        """The booster."""
        import lightgbm

        return lightgbm.Booster(model_str=content.decode())


class CatBoostLibrary(TreeLibrary):
    """CatBoostRegressor; categories are text to it."""

    name = "catboost"
    monotone = "monotone_constraints"
    losses = ("loss_function", "objective")

    _quiet = ("verbose", "verbose_eval", "silent", "logging_level")
    _rounds = ("iterations", "n_estimators", "num_boost_round", "num_trees")
    _stopping = ("early_stopping_rounds", "od_wait", "od_type", "od_pval")

    def prepared(self, estimator: Any, seed: int, monotone: Monotone | None) -> Any:
        """The same, silent, and without files; its ``get_params`` has what was set alone."""
        given = estimator.get_params()
        own: dict[str, Any] = {"allow_writing_files": False}
        if not {"random_seed", "random_state"} & given.keys():
            own["random_seed"] = seed
        if not set(self._quiet) & given.keys():
            own["verbose"] = False
        if self.n_jobs is not None:
            own["thread_count"] = self.n_jobs
        return self.copied(estimator, own | given | ({} if monotone is None else self.constraints(monotone)))

    def copied(self, estimator: Any, params: dict[str, Any] | None = None) -> Any:
        """A new one: scikit-learn's ``clone`` refuses those of some parameters."""
        return type(estimator)(**(estimator.get_params() if params is None else params))

    def fit(self, estimator: Any, training: Sample, validation: Sample | None, patience: int | None) -> Any:
        """Fit; early stopping of the user's own wins."""
        given = estimator.get_params()
        stopping = None if set(self._stopping) & given.keys() else patience
        watched = {} if validation is None else {"eval_set": self._pool(validation), "early_stopping_rounds": stopping}
        return estimator.fit(self._pool(training), **watched)

    def of_fold(self, estimator: Any, model: Any) -> Any:
        """With the rounds up to the best one, and the rate that CatBoost chose for the rounds it was given."""
        dropped = (*self._rounds, *self._stopping, "learning_rate", "eta", "use_best_model")
        params = {name: value for name, value in estimator.get_params().items() if name not in dropped}
        own = {"iterations": max(1, int(model.tree_count_)), "learning_rate": float(model.learning_rate_)}
        return self.copied(estimator, params | own)

    def predict(self, model: Any, table: Any) -> Any:
        """With as many threads as are ours."""
        return model.predict(table, thread_count=self.n_jobs or -1)

    def dump(self, model: Any) -> NDArray[np.uint8]:
        """CatBoost's own binary format."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.cbm"
            model.save_model(str(path))
            return np.frombuffer(path.read_bytes(), dtype=np.uint8)

    def restore(self, content: bytes, trusted: Collection[str]) -> Any:
        """A CatBoostRegressor."""
        from catboost import CatBoostRegressor

        return CatBoostRegressor().load_model(blob=content)

    def _pool(self, sample: Sample) -> Any:
        from catboost import Pool

        names = [name for name, is_category in zip(self.names, self.features.is_category, strict=True) if is_category]
        return Pool(self.table(sample.X, sample.values), sample.y, cat_features=names, weight=sample.weight)

    def _categories(self, codes: NDArray[np.int64], count: int) -> Any:
        # missing and unseen ones are a category to it
        return codes.astype(str).astype(object)


class HistLibrary(TreeLibrary):
    """HistGradientBoostingRegressor of scikit-learn."""

    name = "hist_gradient_boosting"
    monotone = "monotonic_cst"
    losses = ("loss",)

    def check(self, estimator: Any, samples: Sequence[Sample]) -> None:
        """Categories have to fit into its bins."""
        for name, values in self.features.columns.categories.items():
            if len(values) > estimator.max_bins:
                raise ValueError(
                    f"location: {type(estimator).__name__} takes at most {estimator.max_bins} categories, and column "
                    f"{shown(name)} holds {len(values)}"
                )

    def fit(self, estimator: Any, training: Sample, validation: Sample | None, patience: int | None) -> Any:
        """Fit; it stops early on the validation rows unless the user says whether it does."""
        watched: dict[str, Any] = {}
        if validation is not None and estimator.early_stopping is not False:
            estimator.set_params(early_stopping=True)
            watched = {"X_val": self.table(validation.X, validation.values), "y_val": validation.y}
            watched["sample_weight_val"] = validation.weight
        table = self.table(training.X, training.values)
        return estimator.fit(table, training.y, sample_weight=training.weight, **watched)

    def of_fold(self, estimator: Any, model: Any) -> Any:
        """With the rounds that it came to."""
        return self.copied(estimator).set_params(max_iter=max(1, int(model.n_iter_)), early_stopping=False)


_LIBRARIES: tuple[type[Library], ...] = (
    *(Library, XGBoostLibrary, LightGBMLibrary, CatBoostLibrary, HistLibrary, OwnLibrary),
)
LIBRARIES = {library.name: library for library in _LIBRARIES}


def library_of(estimator: Any) -> type[Library]:
    """The habits that an estimator has, by its class or those that it is derived from."""
    if isinstance(estimator, BridgeRegressor):
        return OwnLibrary
    for base in type(estimator).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("catboost", "lightgbm", "xgboost"):
            return LIBRARIES[package]
        if base.__module__.startswith("sklearn.") and base.__name__ == "HistGradientBoostingRegressor":
            return HistLibrary
    return Library
