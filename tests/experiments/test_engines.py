from __future__ import annotations

from typing import Any

import pytest

from bridges_tabular.experiments import Experiment, ExperimentError
from bridges_tabular.experiments.blocks import ModelBlock
from bridges_tabular.experiments.engines import ENGINES, build_model, check_models

VALID = {
    "tabular": {"backbone": "CategoryEmbeddingModelConfig", "scheme": "end_to_end"},
    "xgboost": {"scheme": "soft"},
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_block_becomes_its_regressor(engine: str) -> None:
    model = build_model("m", ModelBlock(engine, VALID[engine] | {"n_bins": 7, "learning_rate": 0.02}), seed=5)
    params = model.get_params(deep=False)
    assert params["n_bins"] == 7
    assert params["learning_rate"] == pytest.approx(0.02)
    assert params["random_state"] == 5
    assert type(model).__name__ == ENGINES[engine].class_name


@pytest.mark.parametrize("engine", ENGINES)
def test_a_seed_in_the_block_wins(engine: str) -> None:
    model = build_model("m", ModelBlock(engine, {"random_state": 11}), seed=5)
    assert model.get_params(deep=False)["random_state"] == 11


@pytest.mark.parametrize("engine", ENGINES)
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


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ExperimentError, match=r"models.m.engine: .*'xgbost', did you mean 'xgboost'"):
        build_model("m", ModelBlock("xgbost"), seed=0)
    with pytest.raises(ExperimentError, match="unknown engine 'forest'; choose from tabular, xgboost"):
        build_model("m", ModelBlock("forest"), seed=0)


def test_an_unknown_backbone_lists_the_choices() -> None:
    block = ModelBlock("tabular", {"backbone": "FTTransformer", "scheme": "soft"})
    with pytest.raises(ExperimentError, match=r"models.m: .*'FTTransformer'.*GANDALFConfig"):
        build_model("m", block, seed=0)


def test_all_models_of_an_experiment_are_checked(content: dict[str, Any]) -> None:
    content["models"]["last"] = {"engine": "xgboost", "n_bins": 0}
    with pytest.raises(ExperimentError, match=r"models.last: .*n_bins"):
        check_models(Experiment.read(content))
