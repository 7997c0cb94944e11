"""What both engines share around their forecasts: calibration, quantiles, intervals, saving."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

import bridges_tabular
from bridges_tabular import TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular._regressor import BridgeRegressorMixin, Forecast, HeldOut
from bridges_tabular.core.calibration import CALIBRATIONS

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.uniform(-1, 1, size=(900, 3)), columns=["a", "b", "c"])
Y = (1e4 + 300 * (np.sin(3 * X["a"]) + X["b"] + (0.1 + 0.4 * X["c"].abs()) * RNG.normal(size=900))).to_numpy()
ENGINES = {
    "tabular": lambda **params: TabularBridgeRegressor(max_epochs=6, n_bins=16, **params),
    "boosting": lambda **params: XGBBridgeRegressor(n_estimators=60, n_bins=16, n_jobs=1, verbosity=0, **params),
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def fitted(engine):
    return {c: engine(calibration=c).fit(X[:600], Y[:600]) for c in CALIBRATIONS}


def covered(ends, y):
    return ((ends[:, 0] <= y) & (y <= ends[:, 1])).mean()


def test_calibration_never_moves_the_point(fitted):
    points = [model.predict(X[600:]) for model in fitted.values()]
    for point in points[1:]:
        np.testing.assert_array_equal(point, points[0])
    spreads = {c: model.predict_distribution(X[600:]).std.mean() for c, model in fitted.items()}
    assert len({round(spread, 6) for spread in spreads.values()}) == len(CALIBRATIONS)


def test_calibrated_distributions_score_no_worse_than_the_histogram(fitted):
    crps = {c: model.predict_distribution(X[600:]).crps(Y[600:]).mean() for c, model in fitted.items()}
    assert crps["pooled"] < 1.02 * crps["none"]
    assert crps["deconvolve"] < 1.02 * crps["none"]


def test_quantiles_and_intervals_are_those_of_the_distribution(fitted):
    model = fitted["pooled"]
    distribution = model.predict_distribution(X[600:])
    np.testing.assert_array_equal(model.predict_quantiles(X[600:], [0.1, 0.9]), distribution.quantile([0.1, 0.9]))
    assert model.predict_quantiles(X[600:], 0.5).shape == (300, 1)
    np.testing.assert_array_equal(model.predict_interval(X[600:], 0.8), distribution.interval(0.8))


def test_conformal_intervals_cover(fitted):
    for model in fitted.values():
        ends = model.predict_interval(X[600:], 0.8, conformal=True)
        assert covered(ends, Y[600:]) == pytest.approx(0.8, abs=0.11)
        with pytest.raises(ValueError, match=r"coverage 0.995 need at least 199 rows, got \d+"):
            model.predict_interval(X[600:], 0.995, conformal=True)


def test_a_calibration_share_is_kept_from_everything_else(engine):
    model = engine(calibration_fraction=0.25).fit(X[:600], Y[:600])
    with pytest.raises(ValueError, match=r"need at least 999 rows, got 1[0-9][0-9]$"):
        model.predict_interval(X[600:], 0.999, conformal=True)
    assert covered(model.predict_interval(X[600:], 0.8, conformal=True), Y[600:]) == pytest.approx(0.8, abs=0.11)


def test_saved_models_give_the_same_intervals(fitted, tmp_path):
    for calibration, model in fitted.items():
        model.save(tmp_path / calibration)
        again = bridges_tabular.load(tmp_path / calibration)
        for conformal in (False, True):
            np.testing.assert_array_equal(
                again.predict_interval(X[600:], 0.7, conformal), model.predict_interval(X[600:], 0.7, conformal)
            )


@pytest.mark.parametrize(
    ("name", "params"), [("tabular", {}), ("tabular", {"scheme": "hard"}), ("boosting", {"location": "none"})]
)
def test_the_codec_decodes_the_masses_of_a_plain_histogram(name, params, tmp_path):
    model = ENGINES[name](calibration="none", **params).fit(X[:600], Y[:600])
    model.save(tmp_path / "m")
    masses = torch.tensor(model.predict_distribution(X[600:]).masses, dtype=torch.float32)
    codes = []
    for one in (model, bridges_tabular.load(tmp_path / "m")):
        (codec,) = one.codecs_
        with torch.no_grad():
            np.testing.assert_allclose(codec.decode(masses), model.predict(X[600:]), rtol=1e-6)
            codes.append(codec.encode(codec.standardise(torch.from_numpy(Y))).exp().numpy())
    assert codes[0].shape == (900, 16)
    np.testing.assert_array_equal(*codes)


def test_the_codec_of_bins_on_a_location_is_of_what_that_leaves():
    (codec,) = ENGINES["boosting"]().fit(X[:600], Y[:600]).codecs_
    assert abs(float(codec.mean)) < 0.2 * Y.std()
    assert 0.1 * Y.std() < float(codec.scale) < 0.9 * Y.std()


def test_there_is_a_codec_for_each_target_and_none_without_a_code():
    Y2 = np.column_stack([Y, 5 - 2 * Y])
    codecs = ENGINES["tabular"]().fit(X[:600], Y2[:600]).codecs_
    assert [round(float(codec.mean), -3) for codec in codecs] == [1e4, -2e4]
    for name, scheme in (
        ("tabular", "least_squares"),
        ("tabular", "softmax_least_squares"),
        ("boosting", "least_squares"),
    ):
        model = ENGINES[name](scheme=scheme)
        with pytest.raises(NotFittedError):
            _ = model.codecs_
        assert model.fit(X[:600], Y[:600]).codecs_ == []


class Linear(BridgeRegressorMixin, BaseEstimator):
    """Any regressor with the mixin: local residuals of a linear regression, bounded by validation rows or not."""

    def __init__(self, calibration="pooled"):
        self.calibration = calibration

    def fit(self, X, y, validation=None, conformal=None):
        self.model = LinearRegression().fit(X, y)
        held_out = [
            None if rows is None else HeldOut(self.forecast(rows[0]), rows[1]) for rows in (validation, conformal)
        ]
        self._fit_calibration(None, (5.0, 3.0), held_out[0], y_train=y, conformal=held_out[1])
        return self

    def forecast(self, X):
        return Forecast(self.model.predict(X))

    def predict(self, X):
        return self.model.predict(X)

    def predict_distribution(self, X):
        return self._distribution(self.forecast(X))


class TestWithoutClasses:
    """A regressor that predicts a number alone."""

    def test_gets_its_distribution_from_local_residuals_whatever_is_asked(self):
        rows = X[300:600], Y[300:600]
        expected = Linear().fit(X[:300], Y[:300], rows).predict_quantiles(X[600:], [0.1, 0.5, 0.9])
        for calibration in ("shrink", "deconvolve"):
            model = Linear(calibration).fit(X[:300], Y[:300], rows)
            np.testing.assert_array_equal(model.predict_quantiles(X[600:], [0.1, 0.5, 0.9]), expected)
        assert covered(expected[:, [0, 2]], Y[600:]) == pytest.approx(0.8, abs=0.06)

    @pytest.mark.parametrize(("calibration", "rows"), [("none", (X[300:], Y[300:])), ("pooled", None)])
    def test_has_none_without_calibration_or_rows_for_it(self, calibration, rows):
        model = Linear(calibration).fit(X[:300], Y[:300], rows)
        with pytest.raises(ValueError, match="needs calibration and validation rows to predict distributions"):
            model.predict_distribution(X[600:])

    def test_conformal_rows_alone_serve_for_both(self):
        model = Linear().fit(X[:300], Y[:300], None, (X[300:600], Y[300:600]))
        assert covered(model.predict_interval(X[600:], 0.9, conformal=True), Y[600:]) == pytest.approx(0.9, abs=0.06)

    def test_ties_of_the_target_are_kept_to_the_last_digit(self):
        y = np.round(Y / 200) * 0.3
        model = Linear().fit(X[:300], y[:300], (X[300:600], y[300:600]))
        distribution = model.predict_distribution(X[600:])
        np.testing.assert_array_equal(distribution.on_atom(y[600:]), np.isin(y[600:], y[:300]))
        # a hundredth of the mass lies between the values
        assert np.isin(model.predict_quantiles(X[600:], [0.3, 0.7]), y).mean() > 0.95


def test_conformal_intervals_need_held_out_rows():
    model = XGBBridgeRegressor(n_estimators=5, early_stopping_rounds=None, n_jobs=1).fit(X[:300], Y[:300])
    assert np.isfinite(model.predict_interval(X[600:], 0.9)).all()
    with pytest.raises(ValueError, match="conformal=True needs held-out rows: fit with an eval_set or a calibration_f"):
        model.predict_interval(X[600:], 0.9, conformal=True)
