"""Whatever the value of a hyper-parameter: it is refused in one line before any training, or a fit can use it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bridges_tabular.experiments import ExperimentError, compare
from bridges_tabular.experiments import engines as engine_registry
from bridges_tabular.experiments.blocks import ModelBlock
from bridges_tabular.experiments.engines import ENGINES, build_model
from bridges_tabular.regressors.base import BridgeRegressor

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "trees": ("xgboost", {"n_estimators": 2, "n_bins": 4, "n_jobs": 1, "verbosity": 0}),
    "trees, hard": ("xgboost", {"scheme": "hard", "n_estimators": 2, "n_bins": 4, "n_jobs": 1, "verbosity": 0}),
    "network": ("tabular", {"max_epochs": 1, "n_bins": 4, "batch_size": 64, "backbone_params": {"layers": "4"}}),
    "classifier": ("classifier", {"estimator": "sklearn.tree.DecisionTreeClassifier", "n_bins": 4}),
}
VALUES: list[Any] = [
    *(None, True, False, "", "x", "auto", "\0", -1, 0, 1, 3, 0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, 1e-45, 1e30, 1e300),
    *(float("nan"), float("inf"), 10**9, 2**31, 2**63, 10**400, -(10**400), 10**6000, [], [1], {}, {"x": 1}, {1: 2}),
]
NESTED: dict[str, dict[str, list[Any]]] = {
    "xgb_params": {
        **dict.fromkeys(("max_leaves", "max_bin", "gamma", "grow_policy", "min_child_weight"), VALUES),
        "updater": ["grow_colmaker", "prune", "x"],
        "monotone_constraints": [[1, 0], {"a": 1}, "x"],
        "process_type": ["update", "x"],
    },
    "estimator_params": dict.fromkeys(("max_depth", "criterion", "max_features", "random_state"), VALUES),
}
# a fit may take its time with them
SLOW = {"n_estimators", "max_epochs", "pretraining_steps", "n_bins", "compile", "num_parallel_tree"}

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = X[:, 0] + 0.1 * RNG.normal(size=40)


def changes(model: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every parameter of an engine with every value: its name, the change, and the value."""
    engine, small = SMALL[model]
    for name in inspect.signature(ENGINES[engine].regressor()).parameters:
        for value in VALUES:
            yield name, {name: value}, value
        for inner, values in NESTED.get(name, {}).items():
            for value in values:
                yield f"{name}.{inner}", {name: small.get(name, {}) | {inner: value}}, value


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL)
def test_every_value_of_every_parameter_is_refused_in_a_line_or_can_be_fitted(model: str) -> None:
    engine, small = SMALL[model]
    refused = fitted = 0
    for name, change, value in changes(model):
        try:
            regressor = build_model("m", ModelBlock(engine, small | change), 0)
        except ExperimentError as error:
            text = str(error)
            assert text.startswith("models.m"), text
            assert text.isprintable(), (name, value)
            assert len(text) <= 300, (name, value)
            refused += 1
            continue
        is_large = isinstance(value, int | float) and abs(value) > 1000
        # networks are slow: what they accept is fitted elsewhere, value by value
        if engine == "tabular" or (is_large and name.rpartition(".")[2] in SLOW):
            continue
        # names of columns are checked against a table
        if name == "monotone_constraints" and value:
            continue
        prediction = regressor.fit(X[:30], Y[:30], eval_set=(X[30:], Y[30:])).predict(X)
        assert np.isfinite(prediction).all(), (name, value)
        fitted += 1
    assert refused > 100
    assert fitted > 20 or engine == "tabular"


@pytest.mark.parametrize(
    ("engine", "params"),
    [
        *(("tabular", {name: limit}) for name, limit in [
            ("margin", 100.0), ("smoothing", 1e-3), ("smoothing", 1e3), ("autoencoding_weight", 1e6),
            ("alignment_weight", 1e6), ("regression_weight", 1e6), ("encoder_learning_rate", 100.0),
            ("learning_rate", 1.0), ("weight_decay", 1.0), ("learning_rate", 1e-37), ("weight_decay", 1e-37),
        ]),
        *(("xgboost", {"location": location, name: limit}) for location in ("none", "cross_fitted") for name, limit in [
            ("margin", 100.0), ("smoothing", 1e-3), ("smoothing", 1e3), ("autoencoding_weight", 1e6),
            ("alignment_weight", 1e6), ("regression_weight", 1e6), ("learning_rate", 1.0), ("learning_rate", 1e-37),
            ("reg_lambda", 3e38), ("reg_alpha", 3e38), ("subsample", 1e-37), ("n_bins", 400),
            ("max_depth", 2**31 - 1), ("n_jobs", 2**31 - 1), ("early_stopping_rounds", 2**31 - 1),
        ]),
    ],
)  # fmt: skip
def test_the_limits_themselves_can_be_fitted(engine: str, params: dict[str, Any]) -> None:
    small = next(small for one, small in SMALL.values() if one == engine)
    regressor = build_model("m", ModelBlock(engine, small | params), 0)
    regressor.fit(X[:30], Y[:30], eval_set=(X[30:], Y[30:]))
    assert np.isfinite(regressor.predict(X)).all()


@pytest.mark.parametrize("model", ["trees", "network", "classifier"])
def test_nothing_is_trained_beside_a_model_that_cannot_be(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> Any:
        raise AssertionError("a model was fitted")

    monkeypatch.setattr(BridgeRegressor, "fit", fit)
    engine, small = SMALL[model]
    good = {"engine": "xgboost", "n_jobs": 1}
    table = {"source": "diamonds", "target": "price", "rows": 200}
    parameters = inspect.signature(engine_registry.ENGINES[engine].regressor()).parameters
    for name in parameters:
        wrong = {"engine": engine} | small | {name: 10**400}
        with pytest.raises(ExperimentError, match=f"^models.second: .*{name}|^models.second.*estimator"):
            compare({"table": table, "models": {"first": good, "second": wrong}}, quiet=True)
