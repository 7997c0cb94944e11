from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest

from bridges_tabular import TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.experiments import ExperimentError, suggest_bridge_params
from bridges_tabular.experiments.blocks import ModelBlock, StudyBlock
from bridges_tabular.experiments.engines import build_model
from bridges_tabular.experiments.studies import space as spaces
from bridges_tabular.experiments.studies.sampling import count_trials
from bridges_tabular.experiments.studies.space import Space, read_space
from bridges_tabular.tabular.config import SCHEMES, backbone_names

XGB_SCHEMES = ("least_squares", "hard", "soft", "pretrained", "end_to_end")
STACK = "StackingModelConfig"
# whose networks take seconds to build
LARGE = ("GatedAdditiveTreeEnsembleConfig", "NodeConfig")
MEMBERS = [{"backbone_config_class": "CategoryEmbeddingModelConfig"}, {"backbone_config_class": "GANDALFConfig"}]
COMBINATIONS = [
    *(("tabular", {"scheme": scheme}) for scheme in SCHEMES),
    *(
        pytest.param(
            *("tabular", {"scheme": "soft", "backbone": backbone}),
            marks=[pytest.mark.slow] if backbone in LARGE else [],
        )
        for backbone in backbone_names()
        if backbone != STACK
    ),
    ("tabular", {"scheme": "soft", "backbone": STACK, "backbone_params": {"model_configs": MEMBERS}}),
    ("xgboost", {"scheme": "soft", "location": {"estimator": "lightgbm.LGBMRegressor"}}),
    *(
        ("xgboost", {"scheme": scheme, "location": location})
        for scheme in XGB_SCHEMES
        for location in ("none", "cross_fitted")
    ),
]
REGRESSORS = {"tabular": TabularBridgeRegressor, "xgboost": XGBBridgeRegressor}


def space_of(engine: str, params: dict[str, Any], **study: Any) -> Space:
    return read_space("model", ModelBlock(engine, params), StudyBlock("model", **study), 0)


@pytest.mark.parametrize(("engine", "params"), COMBINATIONS)
def test_every_bundled_space_suits_its_regressor(engine: str, params: dict[str, Any]) -> None:
    # reading builds a regressor for both ends of every range, and for every choice
    space = space_of(engine, params)
    assert len(space.parameters) >= 2
    assert set(space.defaults) == {parameter.name for parameter in space.parameters}, "a default is on no scale"
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(3):
        suggested = suggest_bridge_params(study.ask(), engine, **params)
        assert suggested.items() >= params.items()
        REGRESSORS[engine](**suggested).check_params()


@pytest.mark.parametrize("scheme", ["least_squares", "soft", "end_to_end"])
@pytest.mark.parametrize("location", ["none", "cross_fitted"])
def test_what_a_space_says_of_null_is_true(scheme: Any, location: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    y = X[:, 0] * X[:, 1] + rng.normal(size=150)
    params = {"scheme": scheme, "location": location, "n_estimators": 12, "n_jobs": 1}
    space = space_of("xgboost", params)
    ours = XGBBridgeRegressor(**params | space.defaults).fit(X, y).predict(X)
    np.testing.assert_array_equal(ours, XGBBridgeRegressor(**params).fit(X, y).predict(X))


def test_a_scheme_without_bins_searches_none() -> None:
    for engine in ("tabular", "xgboost"):
        names = {parameter.name for parameter in space_of(engine, {"scheme": "least_squares"}).parameters}
        assert not names & {"n_bins", "smoothing", "placement"}
        names = {parameter.name for parameter in space_of(engine, {"scheme": "soft"}).parameters}
        assert names >= {"n_bins", "smoothing", "placement"}


def test_a_file_adds_replaces_and_takes_out() -> None:
    params = {"scheme": "soft", "n_bins": 300, "backbone_params": {"layers": "8"}}
    bundled = space_of("tabular", params)
    changes = {
        "smoothing": {"type": "float", "low": 1, "high": 2},
        "learning_rate": None,
        "backbone_params.activation": {"type": "categorical", "choices": ["ReLU", "SELU"]},
    }
    space = space_of("tabular", params, space=changes)
    found = {parameter.name: parameter.arguments for parameter in space.parameters}
    names = {parameter.name for parameter in bundled.parameters}
    assert set(found) == names - {"learning_rate"} | {"backbone_params.activation"}
    assert found["smoothing"] == {"low": 1, "high": 2}
    # what the model has is always among what is searched
    assert found["n_bins"]["high"] == 300
    assert found["backbone_params.layers"]["choices"][0] == "8"
    # of the package before those of pytorch-tabular
    assert space.defaults["backbone_params.activation"] == "GELU"
    assert space_of("tabular", {}).defaults["backbone_params.layers"] == "128-128-128"
    assert space_of("tabular", {"backbone": "GANDALFConfig"}).defaults["backbone_params.gflu_stages"] == 6
    replaced = {"smoothing": {"type": "float", "low": 0.5, "high": 2}}
    assert space_of("xgboost", {"scheme": "soft"}, space=replaced).defaults["smoothing"] == 1.0
    alone = space_of("tabular", params, space={"n_bins": {"type": "int", "low": 8, "high": 16}}, bundled_space=False)
    assert [parameter.name for parameter in alone.parameters] == ["n_bins"]


def test_a_grid_has_an_end() -> None:
    space = {
        "n_bins": {"type": "int", "low": 8, "high": 11},
        "subsample": {"type": "float", "low": 0.5, "high": 1.0, "step": 0.1},
        "placement": {"type": "categorical", "choices": ["blend", "uniform"]},
    }
    for trials, expected in ((1000, 4 * 6 * 2 + 1), (7, 7)):
        study = StudyBlock("model", trials=trials, sampler={"name": "grid"}, bundled_space=False, space=space)
        block = ModelBlock("xgboost", {"scheme": "soft", "n_bins": 8})
        assert count_trials(study, read_space("model", block, study, 0)) == expected


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        (
            "smoothing_",
            {"type": "float", "low": 1, "high": 2},
            "has no parameter 'smoothing_', did you mean 'smoothing'",
        ),
        ("n_bins.x", {"type": "int", "low": 1, "high": 2}, "'n_bins' holds no parameters of its own"),
        ("backbone_params", {"type": "int", "low": 1, "high": 2}, "name a parameter in it"),
        ("backbone_params.layer", {"type": "categorical", "choices": ["8"]}, "'layer'.* did you mean 'layers'"),
        ("n_bins", 3, "must be a block of keys and values, not 3"),
        ("n_bins", {"low": 2, "high": 3}, "n_bins.type: is missing; choose from int"),
        ("n_bins", {"type": "integer", "low": 2, "high": 3}, "unknown type 'integer', did you mean 'int'"),
        ("n_bins", {"type": "int", "lo": 2, "high": 3}, "unknown key 'lo', did you mean 'low'"),
        ("n_bins", {"type": "int", "high": 3}, "n_bins.low: is missing"),
        ("n_bins", {"type": "int", "low": 2.5, "high": 3}, "low: must be a whole number, not 2.5"),
        ("smoothing", {"type": "float", "low": "a", "high": 3}, "low: must be a number, not 'a'"),
        ("smoothing", {"type": "float", "low": float("nan"), "high": 3}, "low: must be a number, not nan"),
        ("n_bins", {"type": "int", "low": 64, "high": 8}, "low 64 is not below high 8"),
        ("smoothing", {"type": "float", "low": 0, "high": 8, "log": True}, "with log, low must be positive, not 0"),
        ("smoothing", {"type": "float", "low": 1, "high": 8, "log": "yes"}, "log: must be true or false, not 'yes'"),
        ("smoothing", {"type": "float", "low": 1, "high": 8, "step": 0}, "step: must be positive, not 0"),
        ("smoothing", {"type": "float", "low": 1, "high": 8, "step": 1, "log": True}, "exclude each other"),
        ("n_bins", {"type": "int", "low": 1, "high": 8}, r"n_bins: 1 is refused: .*n_bins"),
        ("placement", {"type": "categorical", "choices": ["kmean"]}, "'kmean' is refused: .*kmeans"),
        ("placement", {"type": "categorical", "choices": []}, r"choices: must be a list of values, not \[\]"),
        ("placement", {"type": "categorical", "choices": ["blend", "blend"]}, "holds 'blend' twice"),
        ("placement", {"type": "categorical", "choices": [["blend"]]}, "neither text nor a number"),
        ("kernel", None, "is null, but 'kernel' is not in the bundled space"),
        (3, {"type": "int", "low": 1, "high": 2}, "the name of a parameter has to be text, not 3"),
        ("n_bins", {"type": ["int"], "low": 2, "high": 3}, r"n_bins.type: unknown type \['int'\]; choose from int"),
        # what a trial gets is a float, even at the ends
        ("n_bins", {"type": "float", "low": 8, "high": 16}, "n_bins: 8.0 is refused"),
        ("n_bins", {"type": "int", "low": 8, "high": 10**6}, "n_bins: 1000000 is refused: .*n_bins"),
        ("n_bins", {"type": "int", "low": 8, "high": 10**400}, "n_bins.high: must be a whole number, not 1000"),
        ("smoothing", {"type": "float", "low": 1e-12, "high": 2}, "smoothing: 1e-12 is refused"),
        ("smoothing", {"type": "float", "low": 1, "high": 1e300}, "smoothing.high: must be a number, not 1e"),
        ("smoothing", {"type": "float", "low": 1, "high": 10**400}, "smoothing.high: must be a number, not 1000"),
        ("n_bins", {"type": "int", "low": 8, "high": 64, "default": "x"}, "default: must be a whole number, not 'x'"),
        ("backbone_params", None, "name a parameter in it, as backbone_params.NAME"),
        ("backbone_params.", {"type": "int", "low": 1, "high": 2}, "name a parameter in it"),
        ("backbone_params..x", {"type": "int", "low": 1, "high": 2}, "name a parameter in it"),
        ("backbone_params.layers.x", {"type": "int", "low": 1, "high": 2}, "backbone_params.layers.x: "),
        ("random_state", {"type": "int", "low": -1, "high": 2}, "random_state: -1 is refused"),
    ],
)
def test_a_wrong_entry_is_named(name: Any, entry: Any, message: str) -> None:
    with pytest.raises(ExperimentError, match=message) as caught:
        space_of("tabular", {"scheme": "soft"}, space={name: entry})
    assert str(caught.value).startswith("study.space")
    assert "\n" not in str(caught.value)


CHOICES = {"type": "categorical", "choices": ["quantile", "uniform"]}


@pytest.mark.parametrize(
    ("name", "entry", "value", "first"),
    [
        ("n_bins", {"type": "int", "low": 8, "high": 12}, 32, 12),
        ("n_bins", {"type": "int", "low": 64, "high": 128, "log": True}, 32, 64),
        ("n_bins", {"type": "int", "low": 8, "high": 64, "step": 9}, 32, 35),
        ("n_bins", {"type": "int", "low": 8, "high": 12, "step": 3}, 32, 11),
        ("n_bins", {"type": "int", "low": 8, "high": 12}, 10, 10),
        ("smoothing", {"type": "float", "low": 1.5, "high": 4.0, "log": True}, 1.0, 1.5),
        ("smoothing", {"type": "float", "low": 0.2, "high": 2.0, "step": 0.25}, 1.0, 0.95),
        ("smoothing", {"type": "float", "low": 0.1, "high": 0.5, "step": 0.1}, 0.3, 0.3),
        ("regression_weight", {"type": "float", "low": 0.1, "high": 1, "log": True}, 0.0, 0.1),
        ("min_child_weight", {"type": "int", "low": 1, "high": 2}, 0.001, 1),
        ("placement", CHOICES, "blend", "quantile"),
        ("placement", CHOICES, "uniform", "uniform"),
        ("max_depth", {"type": "int", "low": 2, "high": 4}, None, None),
        ("max_depth", {"type": "categorical", "choices": [2, 3]}, None, None),
    ],
)
@pytest.mark.parametrize("bundled", [False, True])
def test_what_a_file_asks_for_is_searched_as_written(
    name: str, entry: dict[str, Any], value: Any, first: Any, bundled: bool
) -> None:
    params = {"scheme": "soft", name: value}
    space = space_of("xgboost", params, space={name: entry}, bundled_space=bundled)
    assert space.describe()[name].items() >= entry.items()
    assert space.first.get(name) == pytest.approx(first)
    assert space.departures == ({name: space.first[name]} if first != value else {})


def test_a_bundled_entry_that_cannot_hold_the_model_s_value_is_named() -> None:
    with pytest.raises(ExperimentError, match="weight_decay: the model has weight_decay: 0, which no log scale holds"):
        space_of("tabular", {"scheme": "soft", "weight_decay": 0})


def test_an_entry_without_null_leaves_out_what_null_means_in_words() -> None:
    space = space_of("xgboost", {"location": "cross_fitted"}, space={"max_depth": {"type": "int", "low": 2, "high": 4}})
    assert "max_depth" not in space.defaults


@pytest.mark.parametrize(
    ("engine", "params", "space", "message"),
    [
        (
            "tabular",
            {"scheme": "soft"},
            {"scheme": ["soft", "hard", "end_to_end"], "kernel": ["tilted", "two_hot"]},
            "scheme='(hard|end_to_end)' and kernel='two_hot' do not go together: .*kernel",
        ),
        (
            "xgboost",
            {},
            {"scheme": ["soft", "least_squares"], "early_stopping_metric": ["rmse", "crps"]},
            "scheme='least_squares' and early_stopping_metric='crps' do not go together: early_stopping_metric='crps'",
        ),
        (
            "xgboost",
            {"location": "none"},
            {"alignment_weight": [0.0, 1.0], "regression_weight": [0.0, 5.0]},
            "alignment_weight=0.0 and regression_weight=0.0 do not go together: alignment_weight and regression_weight",
        ),
        (
            "xgboost",
            {"scheme": "soft"},
            {"placement": ["blend", "uniform"], "uniform_share": [0.5, 0.75]},
            "placement='uniform' and uniform_share=0.5 do not go together: uniform_share",
        ),
        (
            "xgboost",
            {"scheme": "hard"},
            {"scheme": ["soft", "hard"], "tree_method": ["hist", "exact"]},
            "scheme='soft' and tree_method='exact' do not go together: .*tree_method='hist'",
        ),
        (
            "classifier",
            {"estimator": "sklearn.svm.LinearSVC"},
            {"n_bins": [8, 16]},
            "estimator.* is not the import path of a classifier",
        ),
    ],
)
def test_values_that_do_not_go_together_are_named(
    engine: str, params: dict[str, Any], space: dict[str, Any], message: str
) -> None:
    entries = {name: {"type": "categorical", "choices": choices} for name, choices in space.items()}
    with pytest.raises(ExperimentError, match=message) as caught:
        space_of(engine, params, space=entries, bundled_space=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("engine", "params"), COMBINATIONS[::6])
def test_any_two_values_of_a_space_are_tried_together(
    engine: str, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[dict[str, Any]] = []

    def build(model: str, block: ModelBlock, seed: int) -> Any:
        tried.append(
            {
                **block.params,
                **{
                    f"{k}.{n}": v for k, held in block.params.items() if isinstance(held, dict) for n, v in held.items()
                },
            }
        )
        return build_model(model, block, seed)

    monkeypatch.setattr(spaces, "build_model", build)
    parameters = space_of(engine, params).parameters
    assert len(tried) < 120
    for one, other in itertools.combinations(parameters, 2):
        for value, beside in itertools.product(one.ends(), other.ends()):
            assert any(
                config.get(one.name, ...) == value and config.get(other.name, ...) == beside for config in tried
            ), (one.name, value, other.name, beside)


CATBOOST = {"estimator": "catboost.CatBoostRegressor", "params": {"depth": 5}}
DEPTH = {"type": "int", "low": 2, "high": 8}


def test_parameters_of_a_location_s_regressor_are_searched() -> None:
    space = space_of("xgboost", {"location": CATBOOST}, space={"location.params.depth": DEPTH})
    assert space.defaults["location.params.depth"] == 5
    # those of the trees over bins, which are small beside a location
    assert space.defaults["max_depth"] == 4
    leaves = {"type": "int", "low": 2, "high": 80}
    lightgbm = {"estimator": "lightgbm.LGBMRegressor"}
    space = space_of("xgboost", {"location": lightgbm}, space={"location.params.num_leaves": leaves})
    assert space.defaults["location.params.num_leaves"] == 31
    suggested = space.suggest(optuna.trial.FixedTrial(space.defaults | {"location.params.num_leaves": 7}))
    params = spaces.with_values({"location": lightgbm}, suggested)
    assert params["location"] == lightgbm | {"params": {"num_leaves": 7}}
    assert lightgbm == {"estimator": "lightgbm.LGBMRegressor"}


@pytest.mark.parametrize(
    ("location", "name", "message"),
    [
        (CATBOOST, "location.params.dept", "2 is refused: location.params: .*'dept'"),
        (CATBOOST, "location.depth", "name a parameter of the estimator, as location.params.NAME"),
        (CATBOOST, "location.params", "name a parameter of the estimator, as location.params.NAME"),
        (CATBOOST, "location", "the model's location is a regressor; search in it, as location.params.NAME"),
        ("cross_fitted", "location.params.depth", "the model's location is 'cross_fitted', not estimator and params"),
    ],
)
def test_what_a_location_s_regressor_has_not_is_named(location: Any, name: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=rf"study.space.{name}: .*{message}|study.space.{name}: {message}"):
        space_of("xgboost", {"location": location}, space={name: DEPTH})


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(ExperimentError, match="holds no parameter"):
        space_of("tabular", {}, bundled_space=False)


@pytest.mark.parametrize(
    ("suggest", "message"),
    [
        (lambda trial: suggest_bridge_params(trial, "lightgbm", "soft"), "'lightgbm'; choose from tabular, xgboost"),
        (lambda trial: suggest_bridge_params(trial, "xgboost", "softer"), "'softer'"),
        (lambda trial: suggest_bridge_params(trial, "tabular", "soft", backbone="Gandalf"), "GANDALFConfig"),
    ],
)
def test_suggesting_for_nothing_is_refused(suggest: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        suggest(optuna.create_study().ask())


def test_suggestions_of_ones_own_objective() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = X[:, 0] + 0.1 * rng.normal(size=120)

    def objective(trial: optuna.Trial) -> float:
        params = suggest_bridge_params(trial, "xgboost", "soft", n_estimators=6, n_jobs=1, location="none")
        assert params["n_estimators"] == 6
        return float(XGBBridgeRegressor(**params).fit(X[:80], y[:80], eval_set=(X[80:], y[80:])).best_score_ or 0)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=3)
    assert {"n_bins", "smoothing"} <= set(study.best_params)
