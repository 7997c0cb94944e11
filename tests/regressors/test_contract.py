"""What every regressor promises, whatever its engine and scheme."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier

import bridges_tabular
from bridges_tabular import (
    ClassifierBridgeRegressor,
    PooledBridgeRegressor,
    TabularBridgeRegressor,
    XGBBridgeRegressor,
)

TREES = ("least_squares", "hard", "soft", "pretrained", "end_to_end")
NETWORKS = ("least_squares", "softmax_least_squares", "hard", "soft", "pretrained", "end_to_end")


def _trees(scheme: str, **own: Any) -> Callable[..., Any]:
    small = {"n_estimators": 15, "n_bins": 8, "n_jobs": 1, "verbosity": 0}
    return lambda **params: XGBBridgeRegressor(scheme, **(small | own | params))


def _network(scheme: str) -> Callable[..., Any]:
    small = {"max_epochs": 4, "n_bins": 8, "batch_size": 64, "backbone_params": {"layers": "16-16"}}
    return lambda **params: TabularBridgeRegressor(scheme=scheme, **(small | params))


def _classifier(**params: Any) -> Any:
    tree = DecisionTreeClassifier(max_depth=4, random_state=0)
    return ClassifierBridgeRegressor(tree, **({"n_bins": 8} | params))


def _pool(calibration: str = "pooled", **params: Any) -> Any:
    few = {"n_estimators": 5, "location": "none", "calibration": calibration}
    return PooledBridgeRegressor([(scheme, _trees(scheme, **few)()) for scheme in ("hard", "soft")], **params)


REGRESSORS: dict[str, Callable[..., Any]] = {
    **{f"trees, {scheme}": _trees(scheme) for scheme in TREES},
    "trees, end_to_end on the target": _trees("end_to_end", location="none"),
    "trees, on a location of another library": _trees(
        "end_to_end", location=LGBMRegressor(n_estimators=20, num_leaves=7)
    ),
    **{f"network, {scheme}": _network(scheme) for scheme in NETWORKS},
    "classifier": _classifier,
    "pool": _pool,
}
# one of each kind, where a scheme makes no difference
FEW = ("trees, end_to_end", "network, end_to_end", "network, least_squares", "classifier", "pool")

pytestmark = pytest.mark.filterwarnings("ignore:n_bins=.* is more than the targets can fill:UserWarning")

RNG = np.random.default_rng(0)
N, TRAIN = 260, 200
X = pd.DataFrame({"a": RNG.uniform(-1, 1, N), "b": RNG.normal(size=N), "c": RNG.integers(0, 5, N).astype(float)})
Y = (np.sin(3 * X["a"]) + 0.4 * X["b"] + 0.2 * RNG.normal(size=N)).to_numpy()
EVAL = (X[150:TRAIN], Y[150:TRAIN])
NEW = X[TRAIN:]
LEVELS = [0.1, 0.5, 0.9]

every = pytest.mark.parametrize("name", REGRESSORS)
few = pytest.mark.parametrize("name", FEW)


def fit(name: str, features: Any = X, target: Any = Y, **params: Any) -> Any:
    """Fit to the first rows with the validation rows after them."""
    eval_set = (features[150:TRAIN], target[150:TRAIN])
    return REGRESSORS[name](**params).fit(features[:150], target[:150], eval_set=eval_set)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return {name: fit(name) for name in REGRESSORS}


@every
def test_predictions_are_finite_and_of_the_right_shape(name: str, fitted: dict[str, Any]) -> None:
    model = fitted[name]
    assert model.predict(NEW).shape == (N - TRAIN,)
    assert np.isfinite(model.predict(NEW)).all()
    assert model.n_features_in_ == 3
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    quantiles = model.predict_quantiles(NEW, LEVELS)
    assert quantiles.shape == (N - TRAIN, 3)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_array_equal(model.predict_distribution(NEW).quantile(LEVELS), quantiles)
    low, high = model.predict_interval(NEW, 0.8).T
    assert (low <= high).all()


@every
@pytest.mark.parametrize("calibration", ["none", "pooled"])
def test_the_mean_of_the_distribution_is_the_prediction(name: str, calibration: str) -> None:
    model = fit(name, calibration=calibration)
    if hasattr(model, "predict_distribution"):
        np.testing.assert_allclose(model.predict_distribution(NEW).mean, model.predict(NEW), atol=1e-6 * Y.std())


@every
def test_the_same_seed_gives_the_same_numbers(name: str, fitted: dict[str, Any]) -> None:
    again = clone(fitted[name]).fit(X[:150], Y[:150], eval_set=EVAL)
    np.testing.assert_array_equal(again.predict(NEW), fitted[name].predict(NEW))


@every
@pytest.mark.parametrize(
    ("unit", "offset"), [(1e-12, 0.0), (1e12, 0.0), (1.0, 1e7), (1.0, -1e9), (3e5, 2e9), (1e-7, 5.0)]
)
def test_units_of_the_target_have_no_effect(name: str, unit: float, offset: float, fitted: dict[str, Any]) -> None:
    shifted = unit * Y + offset
    # what double precision has left of the target at such an offset
    given = (shifted - offset) / unit
    reference = fitted[name] if np.array_equal(given, Y) else fit(name, target=given)
    model = fit(name, target=shifted)
    tolerance = 1e-5 * Y.std() + 4 * np.spacing(abs(offset) / unit)
    np.testing.assert_allclose((model.predict(NEW) - offset) / unit, reference.predict(NEW), rtol=0, atol=tolerance)
    found, expected = (one.predict_quantiles(NEW, LEVELS) for one in (model, reference))
    np.testing.assert_allclose((found - offset) / unit, expected, rtol=0, atol=10 * tolerance)


@few
@pytest.mark.parametrize(("unit", "offset"), [(1.0, 1e9), (1e-3, 1e6), (1e-30, 0.0), (1e25, 0.0)])
def test_units_of_a_feature_have_no_effect(name: str, unit: float, offset: float, fitted: dict[str, Any]) -> None:
    if name == "classifier":
        pytest.skip("gets the features as they are given")
    shifted = X.assign(a=unit * X["a"] + offset)
    given = X.assign(a=(shifted["a"] - offset) / unit)
    expected = fit(name, features=given).predict(given[TRAIN:])
    np.testing.assert_allclose(fit(name, features=shifted).predict(shifted[TRAIN:]), expected, atol=1e-3 * Y.std())


@few
def test_numbers_far_beyond_the_training_rows_never_make_nan(name: str, fitted: dict[str, Any]) -> None:
    if name == "classifier":
        pytest.skip("gets the features as they are given")
    tiny = X.assign(a=1e-30 * X["a"])
    model = fit(name, features=tiny)
    far = tiny[TRAIN:].assign(a=3e38)
    assert np.isfinite(model.predict(far)).all()
    assert np.isfinite(model.predict_quantiles(far, LEVELS)).all()
    with pytest.raises(ValueError, match=r"column 'a' holds \d+ value\(s\) that are infinite or beyond"):
        model.predict(far.assign(a=1e39))


@few
def test_whole_numbers_that_no_float_holds_are_refused(name: str, fitted: dict[str, Any]) -> None:
    beyond = NEW.assign(a=pd.Series([10**400] * len(NEW), NEW.index, dtype=object))
    with pytest.raises(ValueError, match=r"^column 'a' holds a whole number beyond float64 in row 200: 1000"):
        fitted[name].predict(beyond)


@every
def test_only_ratios_of_weights_matter(name: str) -> None:
    weight = np.random.default_rng(1).uniform(0.5, 2, 150)
    plain = REGRESSORS[name]().fit(X[:150], Y[:150], weight, EVAL).predict(NEW)
    for factor in (1e-300, 1 / 150, 1e300):
        scaled = REGRESSORS[name]().fit(X[:150], Y[:150], weight * factor, EVAL).predict(NEW)
        np.testing.assert_allclose(scaled, plain, atol=1e-6)
    assert np.abs(plain - fit(name).predict(NEW)).max() > 1e-4


@every
def test_equal_weights_are_none(name: str, fitted: dict[str, Any]) -> None:
    model = REGRESSORS[name]().fit(X[:150], Y[:150], np.full(150, 1 / 150), (*EVAL, np.full(50, 1e-12)))
    np.testing.assert_array_equal(model.predict(NEW), fitted[name].predict(NEW))


@every
def test_a_row_of_weight_zero_is_no_row(name: str, fitted: dict[str, Any]) -> None:
    extra = pd.concat([X[:150], X[:40] + 7], ignore_index=True)
    weight = np.repeat([1.0, 0.0], [150, 40])
    model = REGRESSORS[name]().fit(extra, np.append(Y[:150], np.full(40, 99.0)), weight, EVAL)
    np.testing.assert_array_equal(model.predict(NEW), fitted[name].predict(NEW))


@few
@pytest.mark.parametrize(
    ("weight", "words"), [(np.zeros(150), "zero everywhere"), (-np.ones(150), "negative"), (np.ones(3), "shape")]
)
def test_weights_that_cannot_be_used_are_refused(name: str, weight: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"sample_weight.*{words}"):
        REGRESSORS[name]().fit(X[:150], Y[:150], weight)
    if len(weight) == 150:
        with pytest.raises(ValueError, match=f"sample_weight.*{words}"):
            REGRESSORS[name]().fit(X, Y, eval_set=(X[:150], Y[:150], weight))


@every
def test_saved_models_predict_the_same_to_the_last_bit(name: str, fitted: dict[str, Any], tmp_path: Any) -> None:
    model = fitted[name]
    model.save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(NEW), model.predict(NEW))
    np.testing.assert_array_equal(again.predict_quantiles(NEW, LEVELS), model.predict_quantiles(NEW, LEVELS))
    intervals = [one.predict_interval(NEW, 0.8, conformal=True) for one in (model, again)]
    np.testing.assert_array_equal(*intervals)
    assert type(again) is type(model)
    assert again.feature_names_in_.tolist() == ["a", "b", "c"]
    again.save(tmp_path / "n")
    assert sorted(path.name for path in (tmp_path / "n").iterdir()) == [
        "MODEL_CARD.md", "arrays.safetensors", "bridge.json", "manifest.json", *(["members"] if name == "pool" else []),
    ]  # fmt: skip


@few
def test_any_damage_to_a_saved_model_is_one_line(name: str, fitted: dict[str, Any], tmp_path: Any) -> None:
    fitted[name].save(tmp_path / "m")
    rng = np.random.default_rng(0)
    for file in ("bridge.json", "arrays.safetensors", "manifest.json"):
        path = tmp_path / "m" / file
        whole = path.read_bytes()
        for at in rng.integers(0, len(whole), 12):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.integers(8))]) + whole[at + 1 :])
            with pytest.raises(ValueError, match=r"damaged|format|is of a") as caught:
                bridges_tabular.load(tmp_path / "m")
            assert "\n" not in str(caught.value)
        path.write_bytes(whole)
    bridges_tabular.load(tmp_path / "m")


@few
def test_the_card_names_columns_target_and_scores(name: str, fitted: dict[str, Any], tmp_path: Any) -> None:
    model = fit(name, target=pd.Series(Y, name="price"))
    model.save(tmp_path / "m")
    card = (tmp_path / "m" / "MODEL_CARD.md").read_text()
    for words in ("| price |", "| a | numbers | ", "RMSE", "CRPS", "bridges_tabular.load", "numpy"):
        assert words in card


@few
def test_two_fits_at_once_give_the_digits_of_one_and_leave_nothing_changed(name: str, fitted: dict[str, Any]) -> None:
    levels = {key: logging.getLogger(key).level for key in ("pytorch_lightning", "pytorch_tabular")}
    state, filters = np.random.get_state()[1].copy(), list(warnings.filters)  # noqa: NPY002
    with ThreadPoolExecutor(3) as pool:
        models = list(pool.map(lambda _: fit(name), range(3)))
    for model in models:
        np.testing.assert_array_equal(model.predict(NEW), fitted[name].predict(NEW))
    assert {key: logging.getLogger(key).level for key in levels} == levels
    assert warnings.filters == filters
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@few
def test_pickle_and_copies_predict_the_same(name: str, fitted: dict[str, Any]) -> None:
    again = pickle.loads(pickle.dumps(fitted[name]))
    np.testing.assert_array_equal(again.predict(NEW), fitted[name].predict(NEW))


@few
def test_several_targets_or_one_line(name: str, tmp_path: Any) -> None:
    both = np.column_stack([Y, 5e4 - 300 * Y])
    model = REGRESSORS[name]()
    if not model.__sklearn_tags__().target_tags.multi_output:
        with pytest.raises(ValueError, match="should be a 1d array"):
            model.fit(X, both)
        return
    model.fit(X[:150], both[:150], eval_set=(X[150:TRAIN], both[150:TRAIN]))
    assert model.predict(NEW).shape == (N - TRAIN, 2)
    assert model.predict_quantiles(NEW, LEVELS).shape == (N - TRAIN, 3, 2)
    assert len(model.predict_distribution(NEW)) == 2
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "m").predict(NEW), model.predict(NEW))


@few
def test_a_refused_fit_leaves_the_old_one_usable(name: str) -> None:
    model = fit(name)
    before = model.predict(NEW)
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.fit(X.rename(columns={"a": "z"}), np.where(Y > 0, np.nan, Y))
    np.testing.assert_array_equal(model.predict(NEW), before)


@few
def test_a_fit_is_used_and_saved_as_it_was_made_whatever_parameters_become(name: str, tmp_path: Any) -> None:
    model = fit(name)
    before, fitted_with = [model.predict(NEW), model.predict_quantiles(NEW, LEVELS)], model.get_params(deep=False)
    others = {
        "trees": {"scheme": "least_squares", "location": "none", "target_transform": "log", "n_bins": 5},
        "network": {"scheme": "hard", "support": (0, None), "n_bins": 5, "backbone_params": {"layers": "4"}},
        "classifier": {"support": (0, None), "target_transform": "sqrt", "n_bins": 5},
        "pool": {"hard": "drop", "weights": [1.0]},
    }[name.partition(",")[0]]
    model.set_params(**others, **({} if name == "pool" else {"calibration": "none"}))
    with pytest.raises(ValueError, match=r"holds|NaN|support"):
        model.fit(X, np.full(N, np.nan))
    model.save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m")
    for one in (model, pickle.loads(pickle.dumps(model)), again):
        np.testing.assert_array_equal(one.predict(NEW), before[0])
        np.testing.assert_array_equal(one.predict_quantiles(NEW, LEVELS), before[1])
    for key in ("scheme", "n_bins", "support", "target_transform", "calibration"):
        assert again.get_params().get(key) == fitted_with.get(key)
    assert "calibration: none" not in (tmp_path / "m" / "MODEL_CARD.md").read_text()


@few
def test_columns_of_every_kind(name: str) -> None:
    if name == "classifier":
        pytest.skip("gets the features as they are given")
    mixed = X.assign(
        when=pd.date_range("2021-03-01", periods=N, freq="7h"),
        kind=np.where(X["b"] > 0, "plus", None),
        empty=np.nan,
        constant=1e9,
        later=[None] * 150 + ["only in validation"] * (N - 150),
    )
    model = fit(name, features=mixed)
    assert np.isfinite(model.predict(mixed[TRAIN:])).all()
    unseen = mixed[TRAIN:].assign(kind="never seen", later="nor this", when=pd.NaT)
    assert np.isfinite(model.predict(unseen)).all()
    # a column that says everything is used, whatever its kind
    told = X.assign(when=pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(Y * 1000), unit="D"))
    assert model.feature_names_in_.tolist() == list(mixed)
    if name.startswith("trees"):
        assert fit(name, features=told, n_estimators=60).score(told[TRAIN:], Y[TRAIN:]) > 0.9


@few
def test_nothing_and_next_to_nothing(name: str, fitted: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        REGRESSORS[name]().fit(X[:0], Y[:0])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        fitted[name].predict(X[:0])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        REGRESSORS[name]().fit(X[[]], Y)
    with pytest.raises(ValueError, match="n_samples = 1"):
        REGRESSORS[name]().fit(X[:1], Y[:1])
    assert fitted[name].predict(NEW[:1]).shape == (1,)


@every
def test_every_step_is_reported(name: str) -> None:
    heard: list[tuple[int, int, Any]] = []
    model = REGRESSORS[name]().fit(X[:150], Y[:150], eval_set=EVAL, report=lambda *step: heard.append(step))
    steps, totals, scores = zip(*heard, strict=True)
    assert list(steps) == sorted(set(steps))
    assert steps[-1] <= totals[-1]
    errors = [one["rmse"] for one in scores if "rmse" in one]
    if name.startswith("network"):
        expected = np.sqrt(np.mean((model.predict(EVAL[0]) - EVAL[1]) ** 2))
        assert min(errors) == pytest.approx(expected, rel=1e-4)
