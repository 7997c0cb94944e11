"""The calibrator on simulations whose true distribution is known, and the properties it keeps."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from scipy import stats
from sklearn.exceptions import NotFittedError

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.calibration import CALIBRATIONS, DistributionCalibrator
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.encoders import HardEncoder, LearnedEncoder, SoftEncoder

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

LEVELS = np.arange(1, 20) / 20
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


class Normal:
    """y = m + s z with m and s that vary from row to row, and what a perfect classifier would say of it."""

    def __init__(self, n, seed, scale=1.0, shift=0.0):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, n)
        self.s = scale * (0.05 + 0.3 * np.abs(x))
        self.m = scale * np.sin(3 * x) + shift
        self.y = self.m + self.s * rng.normal(size=n)

    def pi(self, encoder, location=0.0):
        """The expected code of y, by quadrature."""
        y = (self.m - location)[:, None] + self.s[:, None] * NODES
        with torch.no_grad():
            psi = encoder(torch.tensor(y.ravel(), dtype=torch.float32)).double().numpy()
        return (psi.reshape(len(y), NODES.size, -1) * (WEIGHTS / WEIGHTS.sum())[:, None]).sum(1)

    def crps(self):
        z = (self.y - self.m) / self.s
        return self.s * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


VALIDATION, TEST = Normal(1_000, 0), Normal(2_000, 1)
# wide codes, so that there is something to undo
BINS = Bins.fit(Normal(5_000, 2).y, 32, uniform_share=0.2)
LEARNED = LearnedEncoder(BINS, 1.5)
with torch.no_grad():
    LEARNED.log_temperature += 0.5
ENCODERS = {
    "hard": HardEncoder(BINS),
    "tilted": SoftEncoder(BINS, smoothing=1.5),
    "histogram": SoftEncoder(BINS, "histogram", 1.5),
    "two_hot": SoftEncoder(BINS, "two_hot"),
    "learned": LEARNED.requires_grad_(False),
}


def calibrated(method, encoder, **kwargs):
    fitted = DistributionCalibrator(method).fit(VALIDATION.pi(encoder), encoder, VALIDATION.m, VALIDATION.y, **kwargs)
    return fitted, fitted.predict(TEST.pi(encoder), TEST.m)


@pytest.mark.parametrize("name", ENCODERS)
def test_comes_close_to_the_truth_whatever_the_code(name):
    truth = TEST.crps().mean()
    ratio = {method: calibrated(method, ENCODERS[name])[1].crps(TEST.y).mean() / truth for method in CALIBRATIONS}
    assert ratio["pooled"] < 1.015
    assert ratio["deconvolve"] < 1.015
    assert ratio["pooled"] < 1.002 * ratio["none"]
    if name in ("tilted", "learned"):
        # the wide code's histogram is some five per cent off
        assert ratio["none"] > 1.03
        assert ratio["shrink"] < ratio["none"]
        assert ratio["deconvolve"] < ratio["shrink"]


@pytest.mark.parametrize("name", ["tilted", "learned"])
def test_deconvolution_recovers_the_true_cdf(name):
    at = TEST.m[:, None] + TEST.s[:, None] * stats.norm.ppf(LEVELS)
    distance = {method: np.abs(calibrated(method, ENCODERS[name])[1].cdf(at) - LEVELS) for method in CALIBRATIONS}
    assert distance["deconvolve"].mean() < 0.3 * distance["none"].mean()
    assert distance["pooled"].mean() < 0.5 * distance["none"].mean()


@pytest.mark.parametrize("method", ["shrink", "deconvolve", "pooled"])
def test_intervals_hold_their_coverage(method):
    distribution = calibrated(method, ENCODERS["learned"])[1]
    for coverage in (0.5, 0.9):
        ends = distribution.interval(coverage)
        assert ((ends[:, 0] <= TEST.y) & (TEST.y <= ends[:, 1])).mean() == pytest.approx(coverage, abs=0.04)


def test_bins_on_the_error_of_a_location_give_the_distribution_of_the_target():
    location, test_location = VALIDATION.m + 0.1, TEST.m + 0.1
    encoder = SoftEncoder(Bins.fit(VALIDATION.y - location, 16))
    pi, test_pi = VALIDATION.pi(encoder, location), TEST.pi(encoder, test_location)
    for method in CALIBRATIONS:
        fitted = DistributionCalibrator(method).fit(pi, encoder, VALIDATION.m, VALIDATION.y, location=location)
        distribution = fitted.predict(test_pi, TEST.m, location=test_location)
        assert distribution.crps(TEST.y).mean() < (1.1 if method == "none" else 1.03) * TEST.crps().mean()


def test_the_width_has_the_best_score():
    encoder, data = ENCODERS["hard"], Normal(900, 12)
    pi, point = data.pi(encoder), data.m + 0.1
    fitted = DistributionCalibrator("deconvolve").fit(pi, encoder, point, data.y)
    histogram = BinnedDistribution(BINS.edges, pi)
    widths = np.geomspace(0.5, 2.5, 400)
    scores = [histogram.affine(w, point - w * histogram.mean).crps(data.y).mean() for w in widths]
    assert fitted.arrays()["fit"][1] == pytest.approx(widths[np.argmin(scores)], rel=0.01)


def test_the_width_knows_of_thousands_of_rows():
    data, encoder = Normal(12_000, 13), SoftEncoder(BINS)
    pi, rng = data.pi(encoder), np.random.default_rng(14)
    logs = []
    for _ in range(12):
        rows = rng.choice(12_000, 5_000, replace=False)
        fitted = DistributionCalibrator("deconvolve").fit(pi[rows], encoder, data.m[rows], data.y[rows])
        logs.append(np.log(fitted.arrays()["fit"][1]))
    # with 256 rows it is 0.05, and drawing from so few rows takes a quarter off
    assert np.std(logs) < 0.025


def test_an_overconfident_prediction_is_widened():
    encoder, sharp = ENCODERS["hard"], Normal(1_000, 0)
    sharp.s = sharp.s / 3
    fitted = DistributionCalibrator("deconvolve").fit(sharp.pi(encoder), encoder, sharp.m, sharp.y)
    test = Normal(2_000, 1)
    test.s = test.s / 3
    distribution = fitted.predict(test.pi(encoder), test.m)
    plain = DistributionCalibrator("none").fit(sharp.pi(encoder), encoder, sharp.m, sharp.y)
    assert distribution.crps(test.y).mean() < 0.97 * plain.predict(test.pi(encoder), test.m).crps(test.y).mean()


class TestPointRegressor:
    """Local residuals alone."""

    def test_residuals_follow_the_noise_where_it_varies_with_the_prediction(self):
        rng = np.random.default_rng(3)
        m = rng.uniform(size=3_000)
        y = m + (0.02 + 0.3 * m) * rng.standard_exponential(3_000)
        fitted = DistributionCalibrator().fit(None, None, m[:2_000], y[:2_000])
        at = np.array([0.1, 0.5, 0.9])
        expected = at[:, None] + (0.02 + 0.3 * at)[:, None] * stats.expon.ppf([0.1, 0.5, 0.9])
        found = fitted.predict(None, at).quantile([0.1, 0.5, 0.9])
        np.testing.assert_allclose(found - at[:, None], expected - at[:, None], rtol=0.25, atol=0.015)
        ends = fitted.predict(None, m[2_000:]).interval(0.9)
        assert ((ends[:, 0] <= y[2_000:]) & (y[2_000:] <= ends[:, 1])).mean() == pytest.approx(0.9, abs=0.03)

    def test_few_rows_share_all_residuals(self):
        rng = np.random.default_rng(4)
        error = rng.normal(size=100)
        m = np.linspace(0, 1, 100)
        distribution = DistributionCalibrator().fit(None, None, m, m + error).predict(None, [0.0, 10.0])
        np.testing.assert_allclose(np.diff(distribution.quantile(LEVELS), axis=0), 10.0, rtol=1e-9)
        np.testing.assert_allclose(distribution.quantile(LEVELS)[0], np.quantile(error, LEVELS), atol=0.15)

    def test_held_out_distributions_do_without_the_row_itself(self):
        rng = np.random.default_rng(5)
        m, error = np.linspace(0, 1, 60), rng.normal(size=60)
        error[7] = 9.0
        fitted = DistributionCalibrator().fit(None, None, m, m + error)
        held_out = fitted.predict_held_out(None, m, m + error)
        others = np.arange(60) != 7
        without = DistributionCalibrator().fit(None, None, m[others], (m + error)[others]).predict(None, m[7:8])
        np.testing.assert_allclose(held_out[7].quantile(LEVELS), without.quantile(LEVELS), atol=0.05)
        inside, outside = fitted.predict(None, m), held_out
        assert inside.cdf(m + error)[7] < outside.cdf(m + error)[7]
        assert inside.crps(m + error).mean() < outside.crps(m + error).mean()


@settings(deadline=None, max_examples=15)
@given(st.floats(0.01, 100.0), st.floats(-1e3, 1e3), st.sampled_from(CALIBRATIONS))
def test_an_affine_map_of_the_target_maps_the_distribution(scale, shift, method):
    plain, mapped = Normal(300, 6), Normal(300, 6, scale, shift)
    encoder = HardEncoder(BINS)
    moved = HardEncoder(Bins(BINS.edges * scale + shift, BINS.centers * scale + shift))
    pi = plain.pi(encoder)
    before = DistributionCalibrator(method).fit(pi, encoder, plain.m, plain.y, y_train=plain.y).predict(pi, plain.m)
    after = DistributionCalibrator(method).fit(pi, moved, mapped.m, mapped.y, y_train=mapped.y).predict(pi, mapped.m)
    expected = before.quantile(LEVELS) * scale + shift
    np.testing.assert_allclose(after.quantile(LEVELS), expected, atol=1e-6 * scale + 1e-9 * abs(shift))


@pytest.mark.parametrize("name", [None, "hard", "learned"])
def test_a_weight_counts_a_row_so_often(name):
    data = Normal(300, 7)
    weight = np.random.default_rng(8).integers(0, 4, 300)
    repeated = np.repeat(np.arange(300), weight)
    encoder = None if name is None else ENCODERS[name]
    pi = None if name is None else data.pi(encoder)

    def quantiles(rows, sample_weight, train_weight):
        fitted = DistributionCalibrator().fit(
            None if pi is None else pi[rows],
            encoder,
            data.m[rows],
            data.y[rows],
            sample_weight=sample_weight,
            y_train=np.round(data.y[rows]),
            train_weight=train_weight,
        )
        return fitted.predict(pi, data.m).quantile(LEVELS)

    every = quantiles(np.arange(300), weight * 0.5, weight)
    np.testing.assert_allclose(every, quantiles(repeated, None, None), rtol=1e-9, atol=1e-9)
    assert np.abs(every - quantiles(np.arange(300), None, None)).max() > 1e-4


class TestAtoms:
    """Ties of the training targets."""

    @staticmethod
    def zero_inflated(n, seed):
        """Zero with probability p(x), else about 1 + x; points and the truth."""
        rng = np.random.default_rng(seed)
        x = rng.uniform(size=n)
        y = np.where(rng.random(n) < 0.7 * x, 0.0, 1.0 + x + 0.1 * rng.normal(size=n))
        return x, y, (1 - 0.7 * x) * (1 + x)

    def pi(self, encoder, x):
        with torch.no_grad():
            at_zero = encoder(torch.zeros(1)).double().numpy()
            spread = encoder(torch.tensor((1 + x[:, None] + 0.1 * NODES).ravel(), dtype=torch.float32)).double()
        spread = (spread.numpy().reshape(len(x), NODES.size, -1) * (WEIGHTS / WEIGHTS.sum())[:, None]).sum(1)
        return 0.7 * x[:, None] * at_zero + (1 - 0.7 * x[:, None]) * spread

    @pytest.mark.parametrize("method", ["shrink", "deconvolve", "pooled"])
    def test_an_inflated_zero_gets_its_mass_row_by_row(self, method):
        x, y, m = self.zero_inflated(2_000, 0)
        encoder = SoftEncoder(Bins.fit(y, 32), smoothing=1.0)
        fitted = DistributionCalibrator(method).fit(self.pi(encoder, x), encoder, m, y, y_train=y)
        at = np.array([0.2, 0.5, 0.9])
        test_x, test_y, test_m = self.zero_inflated(1_000, 1)
        distribution = fitted.predict(self.pi(encoder, test_x), test_m)
        assert distribution.on_atom(0.0).all()
        assert not distribution.on_atom(test_y[test_y > 0].min()).any()
        few = fitted.predict(self.pi(encoder, at), (1 - 0.7 * at) * (1 + at))
        # pooling with residuals, which know of no classes, blurs it a little
        np.testing.assert_allclose(np.exp(few.log_prob(0.0)), 0.7 * at, atol=0.15)
        without = DistributionCalibrator(method).fit(self.pi(encoder, x), encoder, m, y)
        blurred = without.predict(self.pi(encoder, test_x), test_m)
        assert distribution.crps(test_y).mean() < blurred.crps(test_y).mean()

    def test_a_discrete_target_keeps_its_values_and_a_finite_log_score(self):
        rng = np.random.default_rng(2)
        m = rng.uniform(0, 6, 1_500)
        y = np.clip(np.round(m + 0.8 * rng.normal(size=1_500)), 0, 6)
        fitted = DistributionCalibrator().fit(None, None, m[:1_000], y[:1_000], y_train=y[:1_000])
        distribution = fitted.predict(None, m[1_000:])
        assert distribution.edges.ndim == 1
        assert distribution.on_atom(y[1_000:]).all()
        probabilities = np.exp(distribution.log_prob(np.tile(np.arange(7.0), (500, 1))))
        assert (probabilities.sum(1) > 0.98).all()
        # each value is as frequent as it is said to be
        shares = [(y[1_000:] == value).mean() for value in range(7)]
        np.testing.assert_allclose(probabilities.mean(0), shares, atol=0.04)
        assert np.isfinite(distribution.log_prob(np.tile([-50.0, 2.5, 80.0], (500, 1)))).all()

    def test_censoring_leaves_nothing_beyond_the_highest_target(self):
        rng = np.random.default_rng(3)
        m = rng.uniform(0, 1, 2_000)
        y = np.minimum(m + 0.2 * rng.normal(size=2_000), 0.9)
        distribution = DistributionCalibrator().fit(None, None, m, y, y_train=y).predict(None, [0.2, 0.85, 0.95])
        beyond = 1.0 - distribution.cdf(0.9)
        assert (beyond < 0.01).all()
        mass = np.exp(distribution.log_prob(0.9))
        np.testing.assert_allclose(mass[1:], stats.norm.sf([0.25, -0.25]), atol=0.12)

    def test_rare_ties_are_no_atoms(self):
        y = np.random.default_rng(4).normal(size=1_000)
        y[:9] = 0.25
        fitted = DistributionCalibrator().fit(None, None, np.zeros(1_000), y, y_train=y)
        assert not fitted.predict(None, [0.0]).on_atom(0.25)[0]


class TestFewRows:
    """What is fitted where there is little to fit to."""

    def test_below_twenty_rows_the_histogram_only_gets_tails(self):
        encoder, data = ENCODERS["learned"], Normal(19, 9)
        fitted = DistributionCalibrator().fit(data.pi(encoder), encoder, data.m, data.y)
        assert fitted.fitted_ == "none"
        plain = DistributionCalibrator("none").fit(data.pi(encoder), encoder, data.m, data.y)
        distribution, histogram = (c.predict(data.pi(encoder), data.m) for c in (fitted, plain))
        np.testing.assert_allclose(distribution.quantile(LEVELS[3:-3]), histogram.quantile(LEVELS[3:-3]), atol=0.15)
        assert np.isfinite(distribution.log_prob(1e3)).all()
        assert (histogram.log_prob(1e3) == -np.inf).all()
        twenty = Normal(20, 9)
        assert DistributionCalibrator().fit(twenty.pi(encoder), encoder, twenty.m, twenty.y).fitted_ == "pooled"

    def test_below_twenty_rows_a_point_becomes_a_normal_distribution(self):
        error = np.array([-1.0, 1.0, 2.0, -2.0])
        fitted = DistributionCalibrator().fit(None, None, np.arange(4.0), np.arange(4.0) + error)
        assert fitted.deviation_ == pytest.approx(np.sqrt(2.5))
        quantiles = fitted.predict(None, [10.0]).quantile(LEVELS)[0]
        np.testing.assert_allclose(quantiles, stats.norm.ppf(LEVELS, 10.0, np.sqrt(2.5)), atol=0.05)

    def test_a_repeated_row_is_one(self):
        rows = np.zeros(50, dtype=int)
        data = Normal(5, 10)
        assert DistributionCalibrator().fit(None, None, data.m[rows], data.y[rows]).fitted_ == "none"

    def test_a_model_without_errors_gives_a_sharp_distribution(self):
        m = np.linspace(1, 2, 300)
        distribution = DistributionCalibrator().fit(None, None, m, m).predict(None, m)
        assert distribution.crps(m).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "method"), [(None, "pooled"), *((name, method) for name in ("hard", "learned") for method in CALIBRATIONS)]
)
def test_survives_saving_to_the_last_bit(name, method):
    encoder = None if name is None else ENCODERS[name]
    pi, test_pi = (None, None) if name is None else (VALIDATION.pi(encoder), TEST.pi(encoder))
    for y_train in (None, np.round(VALIDATION.y), np.where(VALIDATION.y < -0.5, -0.5, VALIDATION.y)):
        fitted = DistributionCalibrator(method).fit(pi, encoder, VALIDATION.m, VALIDATION.y, y_train=y_train)
        arrays = load(save(fitted.arrays()))
        restored = DistributionCalibrator.from_arrays(method, encoder, arrays)
        assert restored.fitted_ == fitted.fitted_
        before, after = fitted.predict(test_pi, TEST.m), restored.predict(test_pi, TEST.m)
        for ours, again in ((before.edges, after.edges), (before.masses, after.masses)):
            np.testing.assert_array_equal(ours, again)


def test_every_target_has_a_finite_log_score_and_the_tails_agree():
    distribution = calibrated("pooled", ENCODERS["learned"])[1]
    assert np.isfinite(distribution.log_prob([[-1e3, -5.0, 5.0, 1e3]] * len(distribution))).all()
    np.testing.assert_allclose(distribution.cdf(distribution.quantile([0.0001, 0.9999])), [[0.0001, 0.9999]] * 2_000)
    assert np.isinf(distribution.quantile([0.0, 1.0])).all()


def test_where_targets_lie_changes_no_width():
    rng = np.random.default_rng(0)
    error, point = rng.normal(size=1_000), 3_600 * rng.uniform(size=1_000)

    def widths(shift):
        at = point + shift
        return np.diff(DistributionCalibrator().fit(None, None, at, at + error).predict(None, at[:20]).interval(0.99))

    # seconds since 1970, say
    np.testing.assert_allclose(widths(1.7e9), widths(0.0), rtol=1e-3)


def test_predict_before_fit_says_so():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        DistributionCalibrator().predict(None, [1.0])


def test_rows_do_not_depend_on_their_neighbours():
    encoder = ENCODERS["learned"]
    fitted, whole = calibrated("pooled", encoder)
    one = fitted.predict(TEST.pi(encoder)[1_234:1_235], TEST.m[1_234:1_235])
    np.testing.assert_allclose(one.quantile(LEVELS), whole[1_234].quantile(LEVELS), atol=1e-5)
    nothing = fitted.predict(np.empty((0, 32)), [])
    assert len(nothing) == 0


def test_memory_is_that_of_the_result_and_of_blocks():
    encoder = ENCODERS["learned"]
    big = Normal(3_000, 11)
    pi = big.pi(encoder)
    tracemalloc.start()
    fitted = DistributionCalibrator().fit(pi, encoder, big.m, big.y, y_train=big.y)
    fitted.predict_held_out(pi, big.m, big.y)
    fit_peak = tracemalloc.get_traced_memory()[1]
    rows = np.arange(10_000) % 3_000
    many, point = pi[rows], big.m[rows]
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    distribution = fitted.predict(many, point)
    peak = tracemalloc.get_traced_memory()[1] - start
    tracemalloc.stop()
    size = distribution.edges.nbytes + distribution.masses.nbytes
    # an n x n table of validation rows would be 72 MB
    assert fit_peak < 60e6
    assert distribution.masses.shape[1] < 150
    assert peak < size + 40e6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, pi, e: DistributionCalibrator("platt"), "calibration must be one of none, .*, got 'platt'"),
        (lambda c, pi, e: DistributionCalibrator("shrink").fit(None, None, [1.0], [1.0]), "'shrink' needs class prob"),
        (lambda c, pi, e: c.fit(pi, None, VALIDATION.m, VALIDATION.y), "pi and encoder belong together"),
        (lambda c, pi, e: c.fit(pi[:, :9], e, VALIDATION.m, VALIDATION.y), r"pi has shape \(1000, 9\), expected"),
        (lambda c, pi, e: c.fit(-pi, e, VALIDATION.m, VALIDATION.y), "pi must hold finite numbers of at least 0"),
        (lambda c, pi, e: c.fit(pi, e, VALIDATION.m, VALIDATION.y[1:]), r"y has shape \(999,\), expected \(1000,\)"),
        (lambda c, pi, e: c.fit(pi, e, VALIDATION.m * np.nan, VALIDATION.y), "point has nan, expected finite"),
        (lambda c, pi, e: c.fit(None, None, [], []), "calibration needs validation rows, got none"),
        (lambda c, pi, e: c.fit(None, None, [1.0], [1.0], sample_weight=[-1.0]), "sample_weight has -1.0"),
        (lambda c, pi, e: c.fit(None, None, [1.0], [1.0], sample_weight=[0.0]), "got none of positive weight"),
    ],
)
def test_refuses_in_one_line(call, message):
    encoder = ENCODERS["tilted"]
    with pytest.raises(ValueError, match=message) as error:
        call(DistributionCalibrator(), VALIDATION.pi(encoder), encoder)
    assert "\n" not in str(error.value)
