"""AutoBridgeRegressor: the best of trees, network and their pool, within a budget of time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

import bridges_tabular as bt
from bridges_tabular import AutoBridgeRegressor, PooledBridgeRegressor, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.regressors.folders import MANIFEST_FILE, write_manifest
from bridges_tabular.regressors.progress import Report

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = X[:, 0] + np.abs(X[:, 1]) + 0.3 * RNG.normal(size=300)
EVAL = (X[160:260], Y[160:260])
NEW = X[260:]


def trees(**params: Any) -> Any:
    return XGBBridgeRegressor("soft", **({"n_estimators": 20, "n_bins": 8, "n_jobs": 1, "location": "none"} | params))


def network(**params: Any) -> Any:
    own = {"n_bins": 8, "backbone_params": {"layers": "16"}}
    return TabularBridgeRegressor("CategoryEmbeddingModelConfig", scheme="soft", **(own | params))


def auto(*members: Any, **params: Any) -> Any:
    return AutoBridgeRegressor(estimators=[(f"m{i}", one) for i, one in enumerate(members)], **params)


@pytest.mark.parametrize("metric", ["crps", "rmse", "mae"])
def test_the_winner_has_the_least_score_and_predicts(metric: str) -> None:
    members = [trees().fit(X[:160], Y[:160], eval_set=EVAL), trees(n_estimators=1).fit(X[:160], Y[:160], eval_set=EVAL)]
    frozen = list(map(FrozenEstimator, members))
    model = auto(*frozen, metric=metric).fit(X[:160], Y[:160], eval_set=EVAL)
    assert model.scores_.keys() == {"m0", "m1", "pool"}
    assert model.winner_ == min(model.scores_, key=model.scores_.get)
    pooled = PooledBridgeRegressor([("m0", frozen[0]), ("m1", frozen[1])]).fit(X[:160], Y[:160], eval_set=EVAL)
    candidates = {"m0": members[0], "m1": members[1], "pool": pooled}
    for name, one in candidates.items():
        error = one.predict(EVAL[0]) - EVAL[1]
        expected = {
            "crps": one.predict_distribution(EVAL[0]).crps(EVAL[1]).mean(),
            "rmse": np.sqrt(np.mean(error**2)),
            "mae": np.abs(error).mean(),
        }
        assert model.scores_[name] == pytest.approx(expected[metric], rel=1e-5)
    winner = candidates[model.winner_]
    np.testing.assert_array_equal(model.predict(NEW), winner.predict(NEW))
    np.testing.assert_allclose(model.predict_quantiles(NEW, [0.1, 0.9]), winner.predict_quantiles(NEW, [0.1, 0.9]))


def test_a_single_member_can_win() -> None:
    good, bad = trees().fit(X[:160], Y[:160], eval_set=EVAL), trees(n_estimators=1).fit(X[:60], -Y[:60], eval_set=EVAL)
    # ten validation rows trust equal weights
    few = (X[160:170], Y[160:170])
    model = auto(FrozenEstimator(bad), FrozenEstimator(good), metric="mae").fit(X[:160], Y[:160], eval_set=few)
    assert model.winner_ == "m1"
    assert model.estimators_ == [good]
    np.testing.assert_array_equal(model.predict(NEW), good.predict(NEW))


def test_time_stops_the_network_and_leaves_out_what_has_not_begun() -> None:
    started = time.monotonic()
    slow = network(max_epochs=100_000, patience=None)
    model = auto(trees(), slow, trees(n_estimators=3), time_budget=1.0).fit(X[:160], Y[:160], eval_set=EVAL)
    assert time.monotonic() - started < 30
    assert "m2" not in model.scores_
    assert "m0" in auto(trees(), slow, time_budget=1e-6).fit(X[:160], Y[:160], eval_set=EVAL).scores_


def test_a_late_report_ends_a_network_with_its_best_epoch() -> None:
    late = Report(until=time.monotonic() - 1)
    model = network(max_epochs=50).fit(X[:160], Y[:160], eval_set=EVAL, report=late)
    assert model.best_epoch_ == 0
    once = network(max_epochs=50).fit(X[:160], Y[:160], eval_set=EVAL, report=Report(until=time.monotonic() + 1000))
    assert once.best_epoch_ > 0


def test_the_defaults_are_trees_and_a_network(tmp_path: Path) -> None:
    names = [(name, type(one).__name__) for name, one in _candidates()]
    assert names == [("trees", "XGBBridgeRegressor"), ("network", "TabularBridgeRegressor")]
    both = np.column_stack([Y, -Y])
    # the time is over before the network begins
    model = AutoBridgeRegressor(time_budget=1e-6).fit(X, both)
    assert model.winner_ == "trees"
    assert model.predict(NEW).shape == (40, 2)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(bt.load(tmp_path / "m").predict(NEW), model.predict(NEW))


def _candidates() -> Any:
    return AutoBridgeRegressor()._candidates()


def test_saved_and_read_back(tmp_path: Path) -> None:
    model = auto(trees(), trees(n_estimators=2), metric="rmse").fit(X[:160], Y[:160], eval_set=EVAL)
    model.save(tmp_path / "m")
    again = bt.load(tmp_path / "m")
    assert isinstance(again, AutoBridgeRegressor)
    assert (again.winner_, again.scores_) == (model.winner_, model.scores_)
    np.testing.assert_array_equal(again.predict_quantiles(NEW, [0.1, 0.9]), model.predict_quantiles(NEW, [0.1, 0.9]))
    clone(again).fit(X[:160], Y[:160], eval_set=EVAL)


@pytest.mark.parametrize(
    "change", [{"winner": "m7"}, {"winner": 1}, {"scores": {}}, {"scores": {"m0": "good"}}, {"scores": []}]
)
def test_forged_winners_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    auto(trees(n_estimators=2)).fit(X[:160], Y[:160], eval_set=EVAL).save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / MANIFEST_FILE).read_text())
    state = json.loads((tmp_path / "m" / "bridge.json").read_text())
    state["facts"] |= change
    (tmp_path / "m" / "bridge.json").write_text(json.dumps(state))
    write_manifest(tmp_path / "m", {key: manifest[key] for key in ("class", "format", "versions")})
    with pytest.raises(ValueError, match="does not describe a AutoBridgeRegressor") as caught:
        bt.load(tmp_path / "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"time_budget": 0}, "time_budget"),
        ({"metric": "log_score"}, "metric"),
        ({"estimators": []}, "at least one"),
        ({"estimators": [("pool", trees())]}, "'pool' is what the pool of all is called"),
        ({"estimators": [("a", 3)]}, "'a' is a int"),
    ],
)
def test_what_cannot_be_is_one_line(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        AutoBridgeRegressor(**params).fit(X, Y)
    assert "\n" not in str(caught.value)
