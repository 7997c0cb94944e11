"""Supports and transforms of the target, through the door of every engine."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, QuantileTransformer
from sklearn.tree import DecisionTreeClassifier

import bridges_tabular as bt
from bridges_tabular.core import scores
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.transforms import fitted

pytestmark = pytest.mark.filterwarnings("ignore:n_bins=.* is more than the targets can fill:UserWarning")

RNG = np.random.default_rng(0)
N = 260
X = pd.DataFrame({"a": RNG.uniform(-1, 1, N), "b": RNG.normal(size=N)})
Y = np.exp(1.5 * X["a"] + 0.4 * RNG.normal(size=N)).to_numpy()
NEW = X[200:]
BACKBONE = "CategoryEmbeddingModelConfig"
LEVELS = [0.01, 0.1, 0.5, 0.9, 0.99]

ENGINES: dict[str, Callable[..., Any]] = {
    "trees": lambda **p: bt.XGBBridgeRegressor(**({"n_estimators": 15, "n_bins": 12, "n_jobs": 1} | p)),
    "network": lambda **p: bt.TabularBridgeRegressor(
        **({"max_epochs": 4, "n_bins": 12, "backbone": BACKBONE, "backbone_params": {"layers": "16"}} | p)
    ),
    "classifier": lambda **p: bt.ClassifierBridgeRegressor(
        DecisionTreeClassifier(max_depth=4, random_state=0), **({"n_bins": 12} | p)
    ),
}
UNITS: dict[str, dict[str, Any]] = {
    "support": {"support": (0, None)},
    "both ends": {"support": [0.0, 30.0]},
    "log": {"target_transform": "log"},
    "log within": {"target_transform": "log", "support": (0.01, 30)},
    "sqrt": {"target_transform": "sqrt"},
    "yeo-johnson": {"target_transform": "yeo-johnson"},
    "yeo-johnson within": {"target_transform": "yeo-johnson", "support": (0, None)},
    "quantiles": {"target_transform": QuantileTransformer(n_quantiles=50, output_distribution="normal")},
}
every = pytest.mark.parametrize("engine", ENGINES)
units = pytest.mark.parametrize("name", UNITS)


def fit(engine: str, y: Any = Y, **params: Any) -> Any:
    return ENGINES[engine](**params).fit(X[:150], y[:150], eval_set=(X[150:200], y[150:200]))


@every
@units
def test_no_mass_where_the_target_cannot_be_and_one_object(engine: str, name: str) -> None:
    model = fit(engine, **UNITS[name])
    d = model.predict_distribution(NEW)
    low, high = UNITS[name].get("support") or (None, None)
    low = 0.0 if low is None and name in ("log", "sqrt") else low
    if low is not None:
        assert (d.cdf(np.nextafter(low, -np.inf)) == 0).all()
        assert (model.predict_quantiles(NEW, [0.0]) >= low).all()
        assert (model.predict(NEW) > low).all()
    if high is not None:
        assert (d.sf(high) == 0).all()
        assert (model.predict_quantiles(NEW, [1.0]) <= high).all()
    np.testing.assert_allclose(model.predict(NEW), d.mean, rtol=1e-12)
    quantiles = model.predict_quantiles(NEW, LEVELS)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose(d.cdf(quantiles)[~d.on_atom(quantiles)], np.tile(LEVELS, (60, 1))[~d.on_atom(quantiles)])
    # a model that is worth something
    assert scores.crps(d, Y[200:]) < 0.8 * np.abs(Y[200:] - np.median(Y)).mean()
    low_end, high_end = model.predict_interval(NEW, 0.8, conformal=True).T
    assert 0.6 < ((low_end <= Y[200:]) & (Y[200:] <= high_end)).mean() <= 1


@every
def test_log_is_the_model_of_logs_turned_back(engine: str) -> None:
    plain, model = fit(engine, np.log(Y)), fit(engine, target_transform="log")
    inner, d = plain.predict_distribution(NEW), model.predict_distribution(NEW)
    np.testing.assert_allclose(d.quantile(LEVELS), np.exp(inner.quantile(LEVELS)), rtol=0.03)
    # the mean of exp(Z), not exp of the mean of Z
    np.testing.assert_allclose(model.predict(NEW), inner.expect(np.exp), rtol=5e-3)
    assert (model.predict(NEW) > 1.02 * np.exp(plain.predict(NEW))).all()


@every
def test_a_support_moves_only_what_lies_beyond(engine: str) -> None:
    plain, model = fit(engine), fit(engine, support=(0, None))
    d, kept = plain.predict_distribution(NEW), model.predict_distribution(NEW)
    assert (d.cdf(-1e-9) > 0).any()
    np.testing.assert_allclose(kept.quantile(LEVELS), np.maximum(d.quantile(LEVELS), 0.0), atol=1e-9)
    np.testing.assert_allclose(kept.mean, d.stop_loss(0.0), rtol=1e-3)
    assert scores.crps(kept, Y[200:]) <= scores.crps(d, Y[200:]) + 1e-12


@pytest.mark.parametrize("engine", ["trees", "network"])
@pytest.mark.parametrize("transform", ["sqrt", "yeo-johnson", "log"])
def test_units_have_no_effect(engine: str, transform: str) -> None:
    plain = fit(engine, target_transform=transform)
    unit = 4096.0
    found = fit(engine, unit * Y, target_transform=transform)
    np.testing.assert_allclose(found.predict(NEW), unit * plain.predict(NEW), rtol=1e-3)


@every
@units
def test_saved_models_predict_the_same(engine: str, name: str, tmp_path: Path) -> None:
    model = fit(engine, **UNITS[name])
    if name == "quantiles":
        with pytest.raises(ValueError, match=r"saved with a target_transform of log, sqrt, yeo-johnson, not with a tr"):
            model.save(tmp_path / "m")
        assert not (tmp_path / "m").exists()
        return
    model.save(tmp_path / "m")
    again = bt.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(NEW), model.predict(NEW))
    np.testing.assert_array_equal(again.predict_quantiles(NEW, LEVELS), model.predict_quantiles(NEW, LEVELS))
    assert again.target_transform == UNITS[name].get("target_transform")
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(NEW), model.predict(NEW))
    clone(again).fit(X, Y)


class TestForged:
    @pytest.mark.parametrize(
        ("array", "value", "words"),
        [
            ("scale.reach", [[2.0, 1.0]], "must begin below its end"),
            ("scale.reach", [[np.nan, 1.0]], "NaN or infinity"),
            ("scale.transform.0", [1.0, 0.0, -1.0], "must hold a positive scale"),
            ("scale.transform.0", [1.0], "has shape"),
            ("scale.transform.1", [1.0], "belongs to nothing"),
        ],
    )
    def test_an_array_is_refused(self, array: str, value: Any, words: str, tmp_path: Path) -> None:
        from safetensors.numpy import load_file, save_file

        from bridges_tabular.regressors.folders import MANIFEST_FILE, write_manifest

        fit("trees", target_transform="yeo-johnson").save(tmp_path / "m")
        path = tmp_path / "m" / "arrays.safetensors"
        save_file(load_file(path) | {array: np.array(value)}, path)
        manifest = json.loads((tmp_path / "m" / MANIFEST_FILE).read_text())
        write_manifest(tmp_path / "m", {key: manifest[key] for key in ("class", "format", "versions")})
        with pytest.raises(ValueError, match=words) as caught:
            bt.load(tmp_path / "m")
        assert "\n" not in str(caught.value)


class TestRefusals:
    @every
    @pytest.mark.parametrize(
        ("params", "y", "words"),
        [
            ({"support": (0, None)}, Y - 1, r"^y holds -0\.\d+, outside support=\(0, inf\)$"),
            ({"support": (None, 2)}, Y, r"^y holds \d\.\d+, outside support=\(-inf, 2\)$"),
            ({"target_transform": "log"}, np.floor(Y), r"^y holds 0: target_transform takes positive numbers$"),
            ({"target_transform": "sqrt"}, Y - 1, r"target_transform takes numbers of at least 0$"),
            ({"support": (3, 1)}, Y, r"^support must begin below its end, got \(3, 1\)$"),
            ({"support": (1,)}, Y, r"^support must be a pair \(low, high\) of numbers, None for no end, got \(1,\)$"),
            ({"support": ("0", None)}, Y, r"^support must be a pair"),
            ({"support": (True, None)}, Y, r"^support must be a pair"),
            ({"support": 0}, Y, r"'support' parameter of"),
            ({"support": (None, -1), "target_transform": "log"}, Y, r"leaves no targets that target_transform='log'"),
            ({"target_transform": "logs"}, Y, r"'target_transform' parameter of"),
            ({"target_transform": FunctionTransformer(np.negative, np.negative)}, Y, r"must increase with y$"),
            ({"target_transform": FunctionTransformer(np.log1p)}, Y, r"must turn back what it did, and makes"),
            ({"target_transform": FunctionTransformer(np.log, np.exp)}, np.floor(Y), r"makes -inf of y=0$"),
            ({"target_transform": PowerTransformer("box-cox")}, Y - 1, r"^target_transform=Power.* refuses y"),
        ],
    )  # fmt: skip
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_before_training_in_one_line(self, engine: str, params: Any, y: Any, words: str) -> None:
        heard: list[Any] = []
        with pytest.raises((ValueError, TypeError), match=words) as caught:
            ENGINES[engine](**params).fit(X, y, report=lambda *step: heard.append(step))
        assert "\n" not in str(caught.value)
        assert not heard

    def test_validation_rows_are_looked_at(self) -> None:
        wrong = np.where(np.arange(N) == 155, -7.0, Y)
        with pytest.raises(ValueError, match=r"^y of eval_set holds -7, outside"):
            fit("trees", wrong, support=(0, None))
        with pytest.raises(ValueError, match=r"^y_val holds -7: target_transform takes positive numbers$"):
            ENGINES["trees"](target_transform="log").fit(X, Y, X_val=X, y_val=wrong)

    def test_a_model_without_a_distribution(self) -> None:
        with pytest.raises(ValueError, match=r"need a distribution, which scheme='least_squares' has with a calibr"):
            fit("trees", scheme="least_squares", calibration="none", support=(0, None))
        with pytest.raises(ValueError, match=r"need validation rows with scheme='least_squares'$"):
            ENGINES["trees"](scheme="least_squares", early_stopping_rounds=None, support=(0, None)).fit(X, Y)
        assert (fit("trees", scheme="least_squares", target_transform="log").predict(NEW) > 0).all()


def test_atoms_keep_their_values_through_a_transform() -> None:
    counts = np.round(Y)
    model = fit("trees", counts, target_transform=FunctionTransformer(np.log1p, np.expm1), support=(0, None))
    d = model.predict_distribution(NEW)
    assert d.on_atom(np.tile([0.0, 1.0, 2.0], (60, 1))).all()
    assert (d.prob(1.0, 1.0) > 0.01).any()


def test_several_targets_have_their_own_transforms() -> None:
    both = np.column_stack([Y, 1000 * Y**2])
    model = bt.TabularBridgeRegressor(
        BACKBONE,
        max_epochs=3,
        n_bins=8,
        backbone_params={"layers": "16"},
        target_transform="yeo-johnson",
        support=(0, None),
    ).fit(X, both)
    ds = model.predict_distribution(NEW)
    np.testing.assert_allclose(model.predict(NEW), np.stack([d.mean for d in ds], axis=1))
    assert all((d.cdf(-1e-9) == 0).all() for d in ds)
    assert model.scale_.transforms[0].state[0] != model.scale_.transforms[1].state[0]
    assert model.predict_members(NEW).shape == (60, 1, 2)


def test_the_card_and_the_codes_are_in_the_users_units(tmp_path: Path) -> None:
    model = fit("trees", pd.Series(Y, name="price"), target_transform="log", location="none")
    edges = model.codec_scales_[0].restore(model.codecs_[0].bins.edges)
    assert (edges > 0).all()
    assert edges[-1] > Y.max() / 2
    model.save(tmp_path / "m")
    scored = (tmp_path / "m" / "MODEL_CARD.md").read_text().split("| target | RMSE | MAE | CRPS |")[1]
    crps = float(next(line for line in scored.splitlines() if line.startswith("| price")).split("|")[4])
    assert crps == pytest.approx(scores.crps(model.predict_distribution(X[150:200]), Y[150:200]), rel=0.3)


class TestYeoJohnson:
    def test_it_is_scipys_of_the_standardised_target(self) -> None:
        own = fitted("yeo-johnson", Y)
        expected, power = stats.yeojohnson((Y - Y.mean()) / Y.std())
        np.testing.assert_allclose(own.forward(Y), expected, rtol=1e-9)
        assert own.state is not None
        assert own.state[0] == pytest.approx(power)

    @settings(deadline=None)
    @given(st.floats(-3, 5), st.lists(st.floats(-50, 50), min_size=2, max_size=20))
    @example(5e-324, [0.0, 2.0])
    def test_it_turns_back(self, power: float, values: list[float]) -> None:
        from bridges_tabular.regressors.transforms import named

        own, y = named("yeo-johnson", np.array([power, 1.0, 2.0])), np.array(values)
        there = own.forward(y)
        np.testing.assert_allclose(there, stats.yeojohnson((y - 1) / 2, power), rtol=1e-9, atol=1e-12)
        # where the image ends, digits do
        near = np.abs((y - 1) / 2) < 5
        np.testing.assert_allclose(own.backward(there)[near], y[near], rtol=1e-6, atol=1e-6)


def test_a_scale_stays_within_its_ends() -> None:
    scale = TargetScale.fit(Y[:, None], support=(0, None), target_transform="sqrt")
    standard = scale.standardise(Y[:, None])
    assert (standard.mean(), standard.std()) == pytest.approx((0, 1))
    np.testing.assert_allclose(scale.restore(standard), Y[:, None])
    np.testing.assert_array_equal(scale.restore(np.array([[-50.0]])), [[0.0]])
    # of a single target, numbers of any shape
    np.testing.assert_array_equal(scale.standardise(Y), standard[:, 0])
    np.testing.assert_allclose(scale.restore(standard[:, 0]), Y)
