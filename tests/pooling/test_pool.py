"""PooledBridgeRegressor: convex combinations with weights and a width that the validation rows choose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import bridges_tabular as bt
from bridges_tabular import (
    BinnedDistribution,
    ClassifierBridgeRegressor,
    PooledBridgeRegressor,
    TabularBridgeRegressor,
    XGBBridgeRegressor,
)
from bridges_tabular.pooling.weights import best_weights

RNG = np.random.default_rng(0)
N = 400
X = pd.DataFrame({"a": RNG.uniform(-1, 1, N), "b": RNG.normal(size=N), "c": RNG.choice(["u", "v"], N)})
Y = (np.sin(3 * X["a"]) + 0.4 * X["b"] + (X["c"] == "u") + 0.2 * RNG.normal(size=N)).to_numpy()
TRAIN, VALIDATION, NEW = slice(0, 240), slice(240, 340), slice(340, N)
EVAL = (X[VALIDATION], Y[VALIDATION])


def trees(scheme: str = "soft", **params: Any) -> Any:
    small = {"n_estimators": 25, "n_bins": 8, "n_jobs": 1, "location": "none"}
    return XGBBridgeRegressor(scheme, **(small | params))


def network(**params: Any) -> Any:
    small = {"max_epochs": 3, "n_bins": 8, "backbone_params": {"layers": "16"}}
    return TabularBridgeRegressor("CategoryEmbeddingModelConfig", scheme="soft", **(small | params))


def pool(*members: Any, **params: Any) -> Any:
    given = members or (trees(), trees("hard", n_estimators=15))
    return PooledBridgeRegressor([(f"m{index}", member) for index, member in enumerate(given)], **params)


@pytest.fixture(scope="module")
def members() -> list[Any]:
    return [model.fit(X[TRAIN], Y[TRAIN], eval_set=EVAL) for model in (trees(), trees("hard", n_estimators=15))]


@pytest.fixture(scope="module")
def fitted(members: list[Any]) -> Any:
    return pool(*map(FrozenEstimator, members)).fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)


def normals(mean: Any, deviation: float) -> BinnedDistribution:
    """Normal distributions on fine cells."""
    from scipy import stats

    z = np.linspace(-5, 5, 81)
    masses = np.diff(stats.norm.cdf(z))
    n = len(mean)
    return BinnedDistribution(mean[:, None] + deviation * z, np.tile(masses / masses.sum(), (n, 1)))


def test_points_and_distributions_are_convex_combinations(members: list[Any], fitted: Any) -> None:
    w = fitted.weights_
    assert w.shape == (2,)
    assert w.sum() == pytest.approx(1)
    points = np.stack([member.predict(X[NEW]) for member in members], axis=1)
    np.testing.assert_array_equal(fitted.predict_members(X[NEW]), points)
    np.testing.assert_allclose(fitted.predict(X[NEW]), points @ w)
    distribution = fitted.predict_distribution(X[NEW])
    np.testing.assert_allclose(distribution.mean, fitted.predict(X[NEW]), atol=1e-6)
    plain = BinnedDistribution.pool([member.predict_distribution(X[NEW]) for member in members], w)
    odds = [d.cdf(plain.median) / (1 - d.cdf(plain.median)) for d in (plain, distribution)]
    np.testing.assert_allclose(np.log(odds), 0, atol=0.5)
    # sharpened by a power above 1, and wider by one below
    assert (np.mean(distribution.std) < np.mean(plain.std)) == (fitted.power_ > 1)


def test_members_are_clones_that_see_the_same_rows() -> None:
    given = trees()
    model = pool(given, network()).fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)
    assert not given.__sklearn_is_fitted__()
    alone = trees().fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)
    np.testing.assert_array_equal(model.estimators_[0].predict(X[NEW]), alone.predict(X[NEW]))
    assert model.named_estimators_.m1 is model.estimators_[1]


def test_weights_of_rows_reach_members_and_pool(members: list[Any]) -> None:
    weight = np.where(np.arange(N) % 2, 3.0, 1.0)
    watched = (X[VALIDATION], Y[VALIDATION], weight[VALIDATION])
    model = pool().fit(X[TRAIN], Y[TRAIN], weight[TRAIN], watched)
    alone = trees().fit(X[TRAIN], Y[TRAIN], weight[TRAIN], watched)
    np.testing.assert_array_equal(model.estimators_[0].predict(X[NEW]), alone.predict(X[NEW]))
    # rows of the validation set that count say which member is good
    good = np.abs(members[0].predict(X[VALIDATION]) - Y[VALIDATION])
    bad = np.abs(members[1].predict(X[VALIDATION]) - Y[VALIDATION])
    frozen = list(map(FrozenEstimator, members))
    shares = []
    for chosen in (good < bad, good > bad):
        watched = (*EVAL, np.where(chosen, 1, 1e-3))
        shares.append(pool(*frozen).fit(X[TRAIN], Y[TRAIN], eval_set=watched).weights_)
    assert shares[0][0] > shares[1][0] + 0.2


def test_frozen_members_are_taken_as_they_are(members: list[Any], fitted: Any) -> None:
    assert fitted.estimators_ == members
    assert clone(fitted).estimators[0][1].estimator is members[0]
    with pytest.raises(NotFittedError, match=r"^estimators: 'm1' is frozen and not fitted$"):
        pool(fitted, FrozenEstimator(trees())).check_params()


def test_best_weights_have_the_least_score_of_all() -> None:
    rng = np.random.default_rng(1)
    n = 100
    y = rng.normal(size=n)
    given = [normals(0.6 * y + 0.4 * rng.normal(size=n), 0.8), normals(0.5 * rng.normal(size=n), 0.9)]
    given.append(normals(0.3 * y + 0.3 * rng.normal(size=n), 1.2))
    weight = rng.uniform(0.2, 1, n)
    best = best_weights(given, y, weight)

    def score(w: Any) -> float:
        return float(np.average(BinnedDistribution.pool(given, w).crps(y), weights=weight))

    assert best.sum() == pytest.approx(1)
    grid = [np.array([i, j, 8 - i - j]) / 8 for i in range(9) for j in range(9 - i)]
    assert score(best) <= min(map(score, grid)) + 1e-9
    for one in np.eye(3):
        assert score(best) <= score(0.98 * best + 0.02 * one) + 1e-12


def test_few_validation_rows_leave_the_weights_near_equal() -> None:
    good, bad = trees(), trees(n_estimators=1, learning_rate=0.01)
    found = {}
    for n in (8, 100):
        watched = (X[240 : 240 + n], Y[240 : 240 + n])
        model = pool(good, bad).fit(X[TRAIN], Y[TRAIN], eval_set=watched)
        found[n] = model.weights_[0]
        # n / (n + 20) of the way from equal weights
        assert model.weights_.max() <= 0.5 + 0.5 * n / (n + 20) + 1e-12
    assert 0.5 < found[8] < found[100]


def test_given_weights_are_taken(members: list[Any]) -> None:
    model = pool(*map(FrozenEstimator, members), weights=[3, 1]).fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)
    np.testing.assert_allclose(model.weights_, [0.75, 0.25])


def test_a_pool_of_calibrated_members_is_made_as_narrow_as_the_targets_are() -> None:
    from bridges_tabular.pooling.weights import Mixture

    rng = np.random.default_rng(5)
    n = 2_000
    signals = rng.normal(size=(2, n))
    y = signals.sum(axis=0) + 0.5 * rng.normal(size=n)
    # each member knows one signal, and says how little it knows
    given = [normals(signal, np.sqrt(1.25)) for signal in signals]
    half = slice(0, n // 2), slice(n // 2, n)
    mixture = Mixture.fit([one[half[0]] for one in given], y[half[0]], None)
    new = [one[half[1]] for one in given]
    assert mixture.power > 1
    plain, sharp = BinnedDistribution.pool(new, mixture.weights), mixture.distribution(new)
    # means of two points have less error than the pool thinks
    assert sharp.crps(y[half[1]]).mean() < plain.crps(y[half[1]]).mean()
    ends = [d.interval(0.9).T for d in (plain, sharp)]
    covered = [np.mean((low <= y[half[1]]) & (y[half[1]] <= high)) for low, high in ends]
    assert abs(covered[1] - 0.9) < 0.015 < abs(covered[0] - 0.9)


def test_conformal_intervals_of_rows_of_their_own(members: list[Any]) -> None:
    model = pool(calibration_fraction=0.3).fit(X, Y)
    assert model.facts_["rows"] == round(N * 0.7 * 0.8)
    low, high = model.predict_interval(X, 0.8, conformal=True).T
    assert (low <= high).all()
    assert 0.75 < np.mean((low <= Y) & (high >= Y)) <= 1
    few = pool().fit(X[:60], Y[:60], eval_set=(X[60:68], Y[60:68]))
    with pytest.raises(ValueError, match=r"conformal intervals of coverage 0\.9 need at least 9 rows, got 8"):
        few.predict_interval(X, 0.9, conformal=True)


def test_several_targets_have_weights_of_their_own(tmp_path: Path) -> None:
    both = np.column_stack([Y, 1e3 * np.cos(X["b"]) + 500])
    model = pool(network(), network(max_epochs=8, random_state=1))
    model.fit(X[TRAIN], both[TRAIN], eval_set=(X[VALIDATION], both[VALIDATION]))
    assert model.weights_.shape == (2, 2)
    assert model.power_.shape == (2,)
    assert model.predict(X[NEW]).shape == (60, 2)
    assert model.predict_members(X[NEW]).shape == (60, 2, 2)
    assert model.predict_interval(X[NEW], 0.8, conformal=True).shape == (60, 2, 2)
    for target, distribution in enumerate(model.predict_distribution(X[NEW])):
        mixed = model.predict_members(X[NEW])[:, :, target] @ model.weights_[:, target]
        np.testing.assert_allclose(distribution.mean, mixed, atol=1e-6 * both[:, target].std())
    assert np.abs(model.weights_[0, 0] - model.weights_[0, 1]) > 1e-3
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(bt.load(tmp_path / "m").predict(X[NEW]), model.predict(X[NEW]))
    with pytest.raises(ValueError, match="should be a 1d array"):
        pool(network(), ClassifierBridgeRegressor(DecisionTreeClassifier())).fit(X, both)


def test_saved_with_members_in_folders_and_read_back(fitted: Any, tmp_path: Path) -> None:
    model = PooledBridgeRegressor([("one", fitted.estimators[0][1]), ("none", "drop"), ("inner", fitted)])
    model = clone(model.set_params(inner=FrozenEstimator(fitted))).fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)
    model.save(tmp_path / "m")
    again = bt.load(tmp_path / "m")
    assert isinstance(again, PooledBridgeRegressor)
    np.testing.assert_array_equal(
        again.predict_quantiles(X[NEW], [0.1, 0.9]), model.predict_quantiles(X[NEW], [0.1, 0.9])
    )
    assert [name for name, _ in again.estimators] == ["one", "none", "inner"]
    assert again.estimators[1][1] == "drop"
    assert again.named_estimators_.inner.named_estimators_.keys() == {"m0", "m1"}
    # members can be read alone
    alone = bt.load(tmp_path / "m" / "members" / "0")
    np.testing.assert_array_equal(alone.predict(X[NEW]), model.estimators_[0].predict(X[NEW]))
    clone(again).fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)
    again.save(tmp_path / "m")
    assert "'inner'" in (tmp_path / "m" / "MODEL_CARD.md").read_text()
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".pkl"]


def test_a_member_that_is_not_the_one_saved_is_refused(fitted: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    trees(n_estimators=3).fit(X, Y).save(tmp_path / "other")
    inner = tmp_path / "m" / "members" / "1"
    inner.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=r"members/1/\S+ does not exist"):
        bt.load(tmp_path / "m")
    (tmp_path / "other").rename(inner)
    with pytest.raises(ValueError, match=r"members/1/\S+ is damaged"):
        bt.load(tmp_path / "m")


_SAVING = """
import sys
import bridges_tabular as bt
models = [bt.load(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for model in models:
        model.save(sys.argv[1])
"""


@pytest.mark.slow
def test_a_load_while_another_process_saves_is_the_old_or_the_new(fitted: Any, tmp_path: Path) -> None:
    # members are the same in number, so that those of one pool would fit into another
    saved = {"one": fitted, "two": pool().fit(X[TRAIN], Y[TRAIN] + 3.0, eval_set=(X[VALIDATION], Y[VALIDATION] + 3.0))}
    for name, model in saved.items():
        model.save(tmp_path / name)
    fitted.save(tmp_path / "m")
    expected, seen = {name: model.predict(X[NEW]).tolist() for name, model in saved.items()}, set()
    command = [sys.executable, "-c", _SAVING, *(str(tmp_path / name) for name in ("m", *saved))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(150):
                found = bt.load(tmp_path / "m").predict(X[NEW]).tolist()
                seen.add({name for name, one in expected.items() if one == found}.pop())
        finally:
            process.kill()
    assert seen == {"one", "two"}


def test_dropped_and_set_by_name() -> None:
    model = pool(trees(), network())
    assert model.get_params()["m0__n_bins"] == 8
    model.set_params(m0__n_bins=12, m1="drop")
    model.fit(X[TRAIN], Y[TRAIN], eval_set=EVAL)
    assert len(model.estimators_) == 1
    assert model.estimators_[0].n_bins == 12
    np.testing.assert_array_equal(model.predict(X[NEW]), model.estimators_[0].predict(X[NEW]))
    assert model.power_ == 1


def test_parameters_of_members_can_be_searched() -> None:
    search = GridSearchCV(pool(trees(n_estimators=4)), {"m0__n_bins": [4, 8]}, cv=2).fit(X, Y)
    assert search.best_params_["m0__n_bins"] in (4, 8)


@pytest.mark.parametrize(
    ("estimators", "params", "words"),
    [
        ([], {}, "list of .name, regressor., at least one"),
        ("network", {}, "list of .name, regressor., at least one"),
        ([trees()], {}, "list of .name, regressor., at least one"),
        ([("a", "drop")], {}, "all members are dropped"),
        ([("a", trees()), ("a", trees())], {}, r"not unique: \['a', 'a'\]"),
        ([("weights", trees())], {}, "conflict with constructor arguments"),
        ([("a__b", trees())], {}, "must not contain __"),
        ([("a", trees()), (1, trees())], {}, "^estimators: a name must be text, not 1$"),
        ([("a", LinearRegression())], {}, "'a' is a LinearRegression, expected a regressor of bridges_tabular"),
        ([("a", VotingRegressor([]))], {}, "'a' is a VotingRegressor"),
        ([("a", trees(n_bins=1))], {}, "'a': The 'n_bins' parameter of XGBBridgeRegressor"),
        ([("a", trees("least_squares", calibration="none"))], {}, "'a' .scheme least_squares. predicts points alone"),
        ([("a", trees())], {"weights": [1, 2]}, r"weights has shape \(2,\), expected \(1,\)"),
        ([("a", trees())], {"weights": [-1]}, "at least 0"),
        ([("a", trees())], {"weights": {"a": 1}}, "^weights holds what is no number: .*'dict'"),
        ([("a", trees())], {"validation_fraction": 1.0}, "validation_fraction"),
    ],
)
def test_what_cannot_be_pooled_is_one_line(estimators: Any, params: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        PooledBridgeRegressor(estimators, **params).fit(X, Y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "y", "words"),
    [
        (X, np.column_stack([Y, Y]), r" was fitted to y of shape \(n, 2\), the pool to \(n,\)$"),
        (X[["a", "b"]], Y, ": The feature names should match .* unseen at fit time: - c$"),
        (X[["a", "b"]].to_numpy(), Y, ": X has 3 features, but XGBBridgeRegressor is expecting 2 features as input.$"),
        (X.assign(c=X["a"]), Y, ": column 'c' held numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_fitted_members_of_other_tables_are_refused_before_any_is_trained(
    table: Any, y: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = FrozenEstimator(trees(n_estimators=2).fit(table, y))
    monkeypatch.setattr(TabularBridgeRegressor, "_fit", lambda *_, **__: pytest.fail("a member was trained"))
    with pytest.raises(ValueError, match=f"^estimators: 'm1'{words}") as caught:
        pool(network(), frozen).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_atoms_stay_where_they_are() -> None:
    y = np.where(Y < 0.2, 0.0, Y)
    model = pool().fit(X[TRAIN], y[TRAIN], eval_set=(X[VALIDATION], y[VALIDATION]))
    assert model.power_ != 1
    distribution = model.predict_distribution(X[NEW])
    assert distribution.on_atom(np.zeros(60)).all()
    low = model.predict_interval(X[NEW], 0.8)[:, 0]
    assert (low == 0.0).any()


def unmet_checks(_: Any) -> dict[str, str]:
    return {
        "check_sample_weight_equivalence_on_dense_data": "rows are held out by their number, so that a row twice and a "
        "row of weight two meet other validation rows",
    }


CHECKED = pool(trees(n_estimators=15), trees("hard", n_estimators=10))


@parametrize_with_checks([CHECKED], expected_failed_checks=unmet_checks)
@pytest.mark.filterwarnings("ignore:n_bins=8 is more than")
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)
