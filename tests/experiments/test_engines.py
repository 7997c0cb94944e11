from __future__ import annotations

from typing import Any

import pytest

from bridges_tabular.experiments import Experiment, ExperimentError
from bridges_tabular.experiments.blocks import ModelBlock
from bridges_tabular.experiments.engines import ENGINES, build_model, check_models

VALID = {
    "tabular": {"backbone": "CategoryEmbeddingModelConfig", "scheme": "end_to_end"},
    "xgboost": {"scheme": "soft"},
    "classifier": {"estimator": "sklearn.tree.DecisionTreeClassifier"},
}


def test_only_what_is_made_of_others_is_tested_elsewhere() -> None:
    assert {name for name, engine in ENGINES.items() if not engine.takes_members} == set(VALID)


@pytest.mark.parametrize("engine", VALID)
def test_a_block_becomes_its_regressor(engine: str) -> None:
    model = build_model("m", ModelBlock(engine, VALID[engine] | {"n_bins": 7}), seed=5)
    params = model.get_params(deep=False)
    assert params["n_bins"] == 7
    assert params["random_state"] == 5
    assert type(model).__name__ == ENGINES[engine].class_name


@pytest.mark.parametrize("engine", VALID)
def test_a_seed_in_the_block_wins(engine: str) -> None:
    model = build_model("m", ModelBlock(engine, VALID[engine] | {"random_state": 11}), seed=5)
    assert model.get_params(deep=False)["random_state"] == 11


@pytest.mark.parametrize("engine", ["tabular", "xgboost"])
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("n_bin", 4, ["unknown key 'n_bin'", "did you mean 'n_bins'?"]),
        ("n_bins", 1, ["n_bins", "1"]),
        ("n_bins", "32", ["n_bins", "'32'"]),
        ("n_bins", 2.5, ["n_bins", "2.5"]),
        ("smoothing", 0, ["smoothing", "0"]),
        ("smoothing", -1.0, ["smoothing", "-1.0"]),
        ("scheme", "sofd", ["scheme", "sofd", "soft", "hard", "least_squares"]),
        ("placement", "quantiles", ["placement", "quantiles", "quantile", "uniform", "kmeans"]),
        ("learning_rate", "fast", ["learning_rate", "'fast'"]),
    ],
)
def test_a_bad_value_is_named(engine: str, key: str, value: Any, words: list[str]) -> None:
    block = ModelBlock(engine, VALID[engine] | {key: value})
    with pytest.raises(ExperimentError) as caught:
        build_model("my model", block, seed=0)
    message = str(caught.value)
    assert message.startswith("models.my model: ")
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, ["estimator: is missing"]),
        ({"estimator": "sklearn.tree.DecisionTree"}, ["estimator", "sklearn.tree.DecisionTree"]),
        ({"estimator": "RandomForestClassifier"}, ["estimator", "not the import path of a classifier"]),
        ({"estimator": "sklearn.linear_model.LinearRegression"}, ["not the import path of a classifier"]),
        ({"estimator": "os.path"}, ["not the import path of a classifier"]),
        (VALID["classifier"] | {"estimator_params": {"depth": 3}}, ["estimator_params", "'depth'"]),
        (VALID["classifier"] | {"estimator_params": {"max_depth": "deep"}}, ["estimator_params", "'deep'"]),
        (VALID["classifier"] | {"n_bins": 1}, ["n_bins", "1"]),
    ],
)
def test_a_classifier_that_cannot_be_is_named(params: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ExperimentError) as caught:
        build_model("my model", ModelBlock("classifier", params), seed=0)
    message = str(caught.value)
    assert message.startswith("models.my model")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ExperimentError, match=r"models.m.engine: .*'xgbost', did you mean 'xgboost'"):
        build_model("m", ModelBlock("xgbost"), seed=0)
    with pytest.raises(ExperimentError, match="unknown engine 'forest'; choose from tabular, xgboost, classifier"):
        build_model("m", ModelBlock("forest"), seed=0)


def test_an_unknown_backbone_lists_the_choices() -> None:
    block = ModelBlock("tabular", {"backbone": "FTTransformer", "scheme": "soft"})
    with pytest.raises(ExperimentError, match=r"models.m: .*'FTTransformer'.*GANDALFConfig"):
        build_model("m", block, seed=0)


def test_all_models_of_an_experiment_are_checked(content: dict[str, Any]) -> None:
    content["models"]["last"] = {"engine": "xgboost", "n_bins": 0}
    with pytest.raises(ExperimentError, match=r"models.last: .*n_bins"):
        check_models(Experiment.read(content))
