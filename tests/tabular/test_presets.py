"""Presets decide how many members train and for how long, where nothing else is said."""

from __future__ import annotations

import numpy as np
import pytest

from bridges_tabular import TabularBridgeRegressor

SMALL = {"layers": "4", "embedding": "none"}


def fitted(rows=80, **params):
    """A network, and how many epochs it was to be trained."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(rows, 2)), random.normal(size=rows)
    params = {"n_bins": 4, "batch_size": 2, "backbone_params": SMALL, "calibration": "none"} | params
    asked = []

    def stop(step, steps, scores):
        asked.append(steps)
        raise KeyboardInterrupt

    model = TabularBridgeRegressor(**params)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, report=stop)
    return asked[0]


def members(**params):
    model = TabularBridgeRegressor(n_bins=4, max_epochs=1, **params)
    X = np.random.default_rng(0).normal(size=(40, 2))
    return model.fit(X, X[:, 0]).predict_members(X).shape[1]


def test_more_time_is_more_epochs_and_more_members():
    # 64 training rows in batches of two are 32 steps
    assert [fitted(preset=name) for name in ("fast", "default", "best")] == [63, 125, 200]
    # a table of many batches has epochs enough
    assert [fitted(rows=1_000, preset=name) for name in ("fast", "default", "best")] == [30, 60, 60]
    counts = [members(preset=name, backbone_params=SMALL) for name in ("fast", "default", "best")]
    assert counts == [4, 8, 16]


def test_the_learning_rate_is_that_of_the_backbone():
    X = np.random.default_rng(0).normal(size=(40, 2))
    for params, rate in (
        ({}, 6e-3),
        ({"learning_rate": 1e-3}, 1e-3),
        ({"backbone": "CategoryEmbeddingModelConfig", "backbone_params": {"layers": "4"}}, 3e-3),
    ):
        model = TabularBridgeRegressor(**({"n_bins": 4, "max_epochs": 1, "backbone_params": SMALL} | params))
        assert model.fit(X, X[:, 0]).model_.hparams.learning_rate == rate


def test_what_is_said_wins_over_a_preset():
    assert fitted(preset="best", max_epochs=3) == 3
    assert members(preset="best", backbone_params={**SMALL, "n_members": 3}) == 3


def test_other_backbones_have_no_presets():
    params = {"backbone": "CategoryEmbeddingModelConfig", "backbone_params": {"layers": "4"}}
    # 8,000 steps
    assert fitted(rows=320, **params) == 63
    with pytest.raises(ValueError, match=r"^preset='fast' is for backbone='MemberMLPConfig', got 'Category.*'$"):
        TabularBridgeRegressor(preset="fast", **params).check_params()
    with pytest.raises(ValueError, match="preset"):
        TabularBridgeRegressor(preset="quick").check_params()
