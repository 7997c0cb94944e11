"""What all regressors share around their forecasts: units, calibration, quantiles, intervals, saving."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

import bridges_tabular
from bridges_tabular import TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.core.calibration import CALIBRATIONS, ConformalIntervals
from bridges_tabular.core.calibration.centring import centred
from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.forecast import Forecast

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
    ("name", "params"),
    [
        ("tabular", {"least_squares_share": 0.0}),
        ("tabular", {"scheme": "hard", "least_squares_share": 0.0}),
        ("boosting", {"location": "none"}),
    ],
)
def test_the_codec_decodes_the_masses_of_the_classes(name, params, tmp_path):
    model = ENGINES[name](calibration="none", **params).fit(X[:600], Y[:600])
    model.save(tmp_path / "m")
    masses = torch.tensor(model._trained.forecast(X[600:])[0].pi, dtype=torch.float32)
    codes = []
    for one in (model, bridges_tabular.load(tmp_path / "m")):
        (codec,), (scale,) = one.codecs_, one.codec_scales_
        with torch.no_grad():
            decoded = scale.restore(codec.decode(masses).numpy())
            np.testing.assert_allclose(decoded, model.predict(X[600:]), rtol=1e-6)
            codes.append(codec.encode(torch.from_numpy(scale.standardise(Y).astype(np.float32))).exp().numpy())
    assert codes[0].shape == (900, 16)
    np.testing.assert_array_equal(*codes)


def test_the_codec_of_bins_on_a_location_is_of_what_that_leaves():
    (scale,) = ENGINES["boosting"]().fit(X[:600], Y[:600]).codec_scales_
    assert scale.mean == 0
    assert 0.1 * Y.std() < scale.scale < 0.9 * Y.std()


def test_there_is_a_codec_for_each_target_and_none_without_a_code():
    Y2 = np.column_stack([Y, 5 - 2 * Y])
    model = ENGINES["tabular"]().fit(X[:600], Y2[:600])
    assert len(model.codecs_) == 2
    assert [round(float(scale.mean[0]), -3) for scale in model.codec_scales_] == [1e4, -2e4]
    for name, scheme in (
        ("tabular", "least_squares"),
        ("tabular", "softmax_least_squares"),
        ("boosting", "least_squares"),
    ):
        model = ENGINES[name](scheme=scheme)
        with pytest.raises(NotFittedError):
            _ = model.codecs_
        assert model.fit(X[:600], Y[:600]).codecs_ == []


class LinearEngine:
    """All that a new engine writes."""

    codes = (None,)
    codecs = ()

    def train(self, rows, watched, seed, report):
        self.model = LinearRegression().fit(rows.X, rows.y[:, 0], rows.weight)
        report(1, 1, {})
        return self

    def forecast(self, X):
        return [Forecast(self.model.predict(X))]

    def state(self):
        return {}, {"coef": self.model.coef_, "intercept": np.array(self.model.intercept_)}


class Linear(BridgeRegressor):
    """Any regressor behind the door: local residuals of a linear regression, bounded by validation rows or not."""

    scheme = "least_squares"
    _parameter_constraints = {}  # noqa: RUF012

    def __init__(self, calibration="pooled", calibration_fraction=None, random_state=0):
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _engine(self, columns, prepared):
        return LinearEngine()


class TestWithoutClasses:
    """A regressor that predicts a number alone."""

    def test_gets_its_distribution_from_local_residuals_whatever_is_asked(self):
        rows = X[300:600], Y[300:600]
        expected = Linear().fit(X[:300], Y[:300], None, rows).predict_quantiles(X[600:], [0.1, 0.5, 0.9])
        for calibration in ("shrink", "deconvolve"):
            model = Linear(calibration).fit(X[:300], Y[:300], None, rows)
            np.testing.assert_array_equal(model.predict_quantiles(X[600:], [0.1, 0.5, 0.9]), expected)
        assert covered(expected[:, [0, 2]], Y[600:]) == pytest.approx(0.8, abs=0.06)

    def test_has_none_without_calibration_or_rows_for_it(self):
        assert not hasattr(Linear("none"), "predict_distribution")
        with pytest.raises(ValueError, match="needs calibration and validation rows to predict distributions"):
            Linear().fit(X[:300], Y[:300]).predict_distribution(X[600:])

    def test_conformal_rows_alone_serve_for_both(self):
        model = Linear(calibration_fraction=0.5).fit(X[:600], Y[:600])
        assert covered(model.predict_interval(X[600:], 0.9, conformal=True), Y[600:]) == pytest.approx(0.9, abs=0.06)

    def test_ties_of_the_target_are_kept_to_the_last_digit(self):
        y = np.round(Y / 200) * 0.3
        model = Linear().fit(X[:300], y[:300], None, (X[300:600], y[300:600]))
        distribution = model.predict_distribution(X[600:])
        np.testing.assert_array_equal(distribution.on_atom(y[600:]), np.isin(y[600:], y[:300]))
        # a hundredth of the mass lies between the values
        assert np.isin(model.predict_quantiles(X[600:], [0.3, 0.7]), y).mean() > 0.95

    def test_offsets_and_units_of_the_target_have_no_effect(self):
        rows, new = slice(300), X[600:]
        plain = Linear().fit(X[rows], Y[rows], None, (X[300:600], Y[300:600]))
        for unit, offset in ((1e-12, 0.0), (1e12, 0.0), (1.0, 1e9 * Y.std()), (1e-6, -3.0)):
            y = unit * Y + offset
            other = Linear().fit(X[rows], y[rows], None, (X[300:600], y[300:600]))
            expected = unit * plain.predict_quantiles(new, [0.1, 0.9]) + offset
            found = other.predict_quantiles(new, [0.1, 0.9])
            np.testing.assert_allclose((found - expected) / (unit * Y.std()), 0, atol=1e-5)


def test_a_refused_fit_leaves_the_old_one_usable():
    model = Linear().fit(X[:300], Y[:300])
    before = model.predict(X[600:])
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.fit(X.rename(columns={"a": "z"}), np.where(Y.mean() < Y, np.nan, Y))
    np.testing.assert_array_equal(model.predict(X[600:]), before)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]


def test_the_conformal_scores_are_those_of_rows_that_did_not_vouch_for_themselves():
    rng = np.random.default_rng(1)
    small = pd.DataFrame({"a": rng.uniform(size=330)})
    noise = rng.normal(size=330)
    # local residuals of so many rows know each of them: scored by distributions of itself, a row lies too deep inside
    model = Linear().fit(small[:30], noise[:30], None, (small[30:], noise[30:]))
    calibrated = model._calibrated[0]
    forecast = model._trained.forecast(small[30:])[0]
    standard = model.scale_.standardise(noise[30:, None])[:, 0]
    knowing = centred(calibrated.calibrator.predict(None, forecast.point), forecast.point)
    ignorant = centred(calibrated.calibrator.predict_held_out(None, forecast.point, standard), forecast.point)
    expected = ConformalIntervals().fit(ignorant, standard).arrays()["scores"]
    np.testing.assert_allclose(calibrated.conformal.arrays()["scores"], expected)
    assert np.abs(expected - ConformalIntervals().fit(knowing, standard).arrays()["scores"]).max() > 1e-4


def test_conformal_intervals_need_held_out_rows():
    model = XGBBridgeRegressor(n_estimators=5, early_stopping_rounds=None, n_jobs=1).fit(X[:300], Y[:300])
    assert np.isfinite(model.predict_interval(X[600:], 0.9)).all()
    with pytest.raises(ValueError, match="conformal=True needs held-out rows: fit with an eval_set or a calibration_f"):
        model.predict_interval(X[600:], 0.9, conformal=True)
