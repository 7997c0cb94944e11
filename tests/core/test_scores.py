"""Scores against scikit-learn, scoringrules, hand-worked values and their own invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from bridges_tabular.core import scores
from bridges_tabular.core.distribution import BinnedDistribution

RNG = np.random.default_rng(0)
Y, PREDICTION = RNG.normal(size=(2, 30))
WEIGHTS = RNG.integers(0, 4, 30)
INTERVAL = np.sort(RNG.normal(size=(30, 2)), axis=1)
DISTRIBUTION = BinnedDistribution(np.linspace(-4, 4, 9), RNG.dirichlet(np.ones(8), size=30))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_point_scores_equal_those_of_scikit_learn(weights):
    for ours, peer in {
        scores.rmse: metrics.root_mean_squared_error,
        scores.mae: metrics.mean_absolute_error,
        scores.r2: metrics.r2_score,
    }.items():
        assert ours(Y, PREDICTION, weights) == pytest.approx(peer(Y, PREDICTION, sample_weight=weights))


def test_r2_of_a_constant_target_is_not_a_number():
    assert math.isnan(scores.r2([1.0, 1.0], [1.0, 2.0]))


@pytest.mark.parametrize(
    "score",
    [
        lambda at, w: scores.rmse(Y[at], PREDICTION[at], w),
        lambda at, w: scores.mae(Y[at], PREDICTION[at], w),
        lambda at, w: scores.r2(Y[at], PREDICTION[at], w),
        lambda at, w: scores.crps(DISTRIBUTION[at], Y[at], w),
        lambda at, w: scores.log_score(DISTRIBUTION[at], Y[at], w),
        lambda at, w: scores.coverage(INTERVAL[at], Y[at], w),
        lambda at, w: scores.width(INTERVAL[at], w),
        lambda at, w: scores.interval_score(INTERVAL[at], Y[at], 0.8, w),
        lambda at, w: scores.pit_histogram(DISTRIBUTION[at], Y[at], 5, w),
        lambda at, w: scores.calibration_error(DISTRIBUTION[at], Y[at], w),
    ],
)
def test_a_weight_counts_a_row_so_often(score):
    every, repeated = np.arange(30), np.repeat(np.arange(30), WEIGHTS)
    np.testing.assert_allclose(score(every, WEIGHTS), score(repeated, None))
    np.testing.assert_allclose(score(every, WEIGHTS * 0.25), score(repeated, None))
    for wrong, message in [
        (np.ones(29), r"sample_weight has shape \(29,\), expected \(30,\)"),
        (np.full(30, -1.0), "sample_weight must hold finite numbers of at least 0"),
        (np.zeros(30), "not all of them 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            score(every, wrong)


def test_distribution_scores_are_means_over_rows():
    assert scores.crps(DISTRIBUTION, Y) == pytest.approx(DISTRIBUTION.crps(Y).mean())
    assert scores.log_score(DISTRIBUTION, Y) == pytest.approx(-DISTRIBUTION.log_prob(Y).mean())


def test_interval_score_equals_that_of_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    peer = scoringrules.interval_score(Y, INTERVAL[:, 0], INTERVAL[:, 1], 0.2)
    assert scores.interval_score(INTERVAL, Y, 0.8) == pytest.approx(np.mean(peer))


def test_interval_score_is_least_at_the_central_interval():
    d = BinnedDistribution([0.0, 1.0, 3.0, 9.0], [[0.5, 0.3, 0.2]])
    y = d.quantile((np.arange(20_000) + 0.5) / 20_000)[0]
    best = scores.interval_score(np.tile(d.interval(0.8), (len(y), 1)), y, 0.8)
    for shift in ([-0.2, 0.0], [0.2, 0.0], [0.0, -0.5], [0.0, 0.5], [0.1, 0.1]):
        assert scores.interval_score(np.tile(d.interval(0.8) + shift, (len(y), 1)), y, 0.8) > best


def test_coverage_counts_closed_intervals():
    interval = [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    assert scores.coverage(interval, [0.0, 1.0, 1.1, -0.1]) == 0.5
    assert scores.width([[0.0, 1.0], [2.0, 5.0]]) == 2.0


def test_log_score_is_empty_where_only_atoms_are_scored():
    d = BinnedDistribution([0, 0, 1, 1, 2], np.tile([0.3, 0.2, 0.4, 0.1], (3, 1)))
    assert math.isnan(scores.log_score(d, [0.0, 1.0, 1.0]))
    assert math.isnan(scores.log_score(d, [0.0, 1.0, 0.5], [1, 1, 0]))
    assert scores.log_score(d, [0.0, 1.0, 0.5]) == pytest.approx(-np.log([0.3, 0.4, 0.2]).mean())
    assert scores.log_score(d, [0.0, 0.5, 5.0]) == math.inf


def test_pit_histogram_and_calibration_error_of_a_calibrated_forecast():
    d = BinnedDistribution([-1, 0, 0, 2], np.tile([0.3, 0.3, 0.4], (5_000, 1)))
    y = d.sample(seed=1)[:, 0]
    shares = scores.pit_histogram(d, y, 10)
    assert shares.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(shares, 0.1, atol=4 * math.sqrt(0.09 / 5_000))
    assert scores.calibration_error(d, y) < 0.015
    assert scores.calibration_error(d.affine(2.0, 0.0), y) > 0.05


def test_calibration_error_by_hand():
    # every transform is 0.5: the curve jumps there from 0 to 1, |curve - p| has the mean 0.25 (to the grid)
    d = BinnedDistribution([0.0, 1.0], np.ones((4, 1)))
    levels = np.arange(1, 100) / 100
    expected = np.where(levels < 0.5, levels, 1 - levels).mean()
    assert scores.calibration_error(d, np.full(4, 0.5)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scores.rmse([1.0, 2.0], [1.0]), r"shapes \(2,\) and \(1,\), expected one \(n,\)"),
        (lambda: scores.coverage([[0, 1]], [1.0, 2.0]), r"expected \(n, 2\) and \(n,\)"),
        (lambda: scores.interval_score([[0, 1]], [1.0], 90), "coverage is 90"),
    ],
)
def test_refuses_arguments_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@st.composite
def histograms(draw):
    """Edges with atoms, shared or per row, masses, and targets on and off the support."""
    n, k = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    shape = draw(st.sampled_from([(k,), (n, k)]))
    widths = draw(arrays(float, shape, elements=st.one_of(st.just(0.0), st.floats(0.01, 5.0))))
    edges = np.concatenate([np.zeros((*shape[:-1], 1)), np.cumsum(widths, axis=-1)], axis=-1)
    masses = draw(arrays(float, (n, k), elements=st.floats(0.0, 1.0))) + 0.01
    y = draw(arrays(float, (n,), elements=st.one_of(st.floats(-5, 35), st.sampled_from(edges.ravel().tolist()))))
    return edges, masses / masses.sum(axis=1, keepdims=True), y


class TestCrpsLoss:
    @settings(deadline=None)
    @given(histograms())
    def test_equals_the_crps_of_the_distribution(self, histogram):
        edges, masses, y = histogram
        loss = scores.crps_loss(*(torch.tensor(value) for value in histogram))
        np.testing.assert_allclose(loss, BinnedDistribution(edges, masses).crps(y), rtol=1e-9, atol=1e-12)

    def test_gradient_equals_finite_differences(self):
        generator = torch.Generator().manual_seed(0)
        edges = torch.cumsum(torch.rand(6, generator=generator, dtype=torch.float64) + 0.1, 0).requires_grad_()
        logits = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        y = torch.tensor([-1.0, 0.9, 1.7, 9.0], dtype=torch.float64, requires_grad=True)

        def loss(edges, logits, y):
            return scores.crps_loss(edges, torch.softmax(logits, dim=1), y)

        assert torch.autograd.gradcheck(loss, (edges, logits, y))

    def test_gradient_is_finite_at_atoms(self):
        edges = torch.tensor([0.0, 1.0, 1.0, 2.0], requires_grad=True)
        logits = torch.zeros(3, 3, requires_grad=True)
        scores.crps_loss(edges, torch.softmax(logits, dim=1), torch.tensor([0.5, 1.0, 3.0])).sum().backward()
        assert torch.isfinite(edges.grad).all()
        assert torch.isfinite(logits.grad).all()

    def test_descent_finds_the_distribution_of_the_targets(self):
        y = torch.tensor(np.repeat([0.5, 1.5, 2.5], [50, 30, 20]))
        logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=0.1)
        for _ in range(200):
            optimiser.zero_grad()
            # atoms at the targets' own values: the best masses are then the shares
            edges = torch.tensor([0.5, 0.5, 1.5, 1.5, 2.5, 2.5], dtype=torch.float64)
            shares = torch.softmax(logits, dim=1)
            masses = torch.stack([shares[0, 0], *shares.new_zeros(1), shares[0, 1], *shares.new_zeros(1), shares[0, 2]])
            scores.crps_loss(edges, masses.expand(len(y), 5), y).mean().backward()
            optimiser.step()
        np.testing.assert_allclose(torch.softmax(logits, dim=1)[0].detach(), [0.5, 0.3, 0.2], atol=0.01)


class TestCrpsOfMasses:
    def test_equals_the_kernel_form_and_the_exact_distribution(self):
        rng = np.random.default_rng(3)
        points, masses = np.sort(rng.normal(size=9)), rng.dirichlet(np.ones(9), size=40)
        masses[0] = np.eye(9)[4]
        y = np.append(rng.normal(size=38), [-9.0, 9.0])
        found = scores.crps_of_masses(points, masses.astype(np.float32), y)
        assert found.dtype == np.float32
        between = np.abs(points[:, None] - points)
        kernel = [m @ np.abs(points - at) - 0.5 * m @ between @ m for m, at in zip(masses, y, strict=True)]
        np.testing.assert_allclose(found, kernel, atol=2e-6)
        atoms = np.zeros((40, 17))
        atoms[:, ::2] = masses
        np.testing.assert_allclose(found, BinnedDistribution(np.repeat(points, 2), atoms).crps(y), atol=2e-6)

    def test_of_equal_masses_is_that_of_an_ensemble(self):
        scoringrules = pytest.importorskip("scoringrules")
        rng = np.random.default_rng(4)
        points, y = np.sort(rng.normal(size=11)), rng.normal(size=30)
        found = scores.crps_of_masses(points, np.full((30, 11), 1 / 11, dtype=np.float32), y)
        np.testing.assert_allclose(found, scoringrules.crps_ensemble(y, np.tile(points, (30, 1))), atol=2e-6)
