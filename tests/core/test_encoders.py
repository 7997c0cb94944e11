"""Encoders against scipy's normal cdf, scikit-learn's one-hot codes, torch's autograd and their own properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.preprocessing import KBinsDiscretizer

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.encoders import KERNELS, HardEncoder, LearnedEncoder, SoftEncoder

EQUAL = Bins(np.arange(11.0), np.arange(10.0) + 0.5)
SKEWED = Bins.fit(np.random.default_rng(0).gamma(1.5, size=500), 16)


def encoders(bins):
    return [HardEncoder(bins), LearnedEncoder(bins), *(SoftEncoder(bins, kernel) for kernel in KERNELS)]


def grid(bins, n=201):
    """Targets on and somewhat off the support."""
    low, high = bins.support
    return torch.linspace(low - 0.5, high + 0.5, n)


@pytest.mark.parametrize("bins", [EQUAL, SKEWED])
@pytest.mark.parametrize("index", range(6))
def test_codes_are_distributions_that_move_with_the_target(bins, index):
    encoder = encoders(bins)[index]
    assert encoder.bins is bins
    y = grid(bins)
    psi = encoder(y).detach()
    assert psi.shape == (len(y), bins.n_bins)
    assert (psi >= 0).all()
    np.testing.assert_allclose(psi.sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(encoder.log_probs(y).exp().detach(), psi)
    # a larger target never moves mass to lower classes
    assert (np.diff(psi.numpy().cumsum(axis=1), axis=0) <= 1e-5).all()


def test_hard_codes_equal_those_of_scikit_learn():
    y = np.random.default_rng(1).normal(size=300)
    peer = KBinsDiscretizer(8, encode="onehot-dense", strategy="uniform", subsample=None).fit(y[:, None])
    bins = Bins.fit(y, 8, "uniform", margin=0.0)
    codes = HardEncoder(bins)(torch.tensor(y, dtype=torch.float32)).numpy()
    np.testing.assert_array_equal(codes, peer.transform(y[:, None]))


@pytest.mark.parametrize("smoothing", [0.3, 0.75, 2.0])
def test_histogram_kernel_is_hl_gauss(smoothing):
    y = np.linspace(0.2, 9.8, 40)
    # bins of width one: the kernel's width in bins is its width in y
    cdf = stats.norm.cdf(EQUAL.edges, loc=y[:, None], scale=smoothing)
    expected = np.diff(cdf, axis=1) / (cdf[:, -1:] - cdf[:, :1])
    psi = SoftEncoder(EQUAL, "histogram", smoothing)(torch.tensor(y, dtype=torch.float32))
    np.testing.assert_allclose(psi, expected, atol=2e-6)


def test_gaussian_kernel_in_closed_form():
    y = np.linspace(0.5, 9.5, 37)
    expected = special.softmax(-np.square(y[:, None] - EQUAL.centers) / (2 * 1.5**2), axis=1)
    psi = SoftEncoder(EQUAL, "gaussian", 1.5)(torch.tensor(y, dtype=torch.float32))
    np.testing.assert_allclose(psi, expected, atol=1e-5)


def test_two_hot_interpolates_between_two_centres():
    psi = SoftEncoder(EQUAL, "two_hot")(torch.tensor([0.5, 0.75, 3.0, 9.5, 50.0])).numpy()
    expected = np.zeros((5, 10))
    expected[0, 0] = expected[3, 9] = expected[4, 9] = 1.0
    expected[1, :2] = 0.75, 0.25
    expected[2, 2:4] = 0.5
    np.testing.assert_allclose(psi, expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 64), st.floats(0.5, 4.0), st.integers(0, 10_000))
def test_tilted_codes_decode_to_the_target_through_the_centres(k, smoothing, seed):
    bins = Bins.fit(np.random.default_rng(seed).gamma(2.0, size=400), k)
    y = np.linspace(bins.centers[0], bins.centers[-1], 300)
    decoded = (
        SoftEncoder(bins, "tilted", smoothing)(torch.tensor(y, dtype=torch.float32)).double().numpy() @ bins.centers
    )
    local = np.interp(y, bins.centers, bins.widths)
    assert (np.abs(decoded - y) <= 0.02 * local + 1e-4).all()


def test_tilted_code_is_gaussian_on_equal_bins_away_from_the_ends():
    wide = Bins(np.arange(41.0), np.arange(40.0) + 0.5)
    y = torch.linspace(15.0, 25.0, 21)
    tilted, gaussian = SoftEncoder(wide, "tilted", 1.5)(y), SoftEncoder(wide, "gaussian", 1.5)(y)
    np.testing.assert_allclose(tilted, gaussian, atol=2e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_targets_beyond_the_outer_centres_are_coded_as_finite_distributions(kernel):
    encoder = SoftEncoder(SKEWED, kernel)
    far = encoder(torch.tensor([-1e6, 1e6]))
    low, high = torch.tensor(SKEWED.support, dtype=torch.float32)
    assert torch.isfinite(encoder.log_probs(torch.tensor([-1e6, 1e6]))).all()
    np.testing.assert_allclose(far, encoder(torch.stack([low, high])), atol=1e-6)


def test_learned_code_starts_at_the_tilted_one_and_widens_with_its_temperature():
    learned, y = LearnedEncoder(SKEWED, 1.2), grid(SKEWED)
    np.testing.assert_allclose(learned(y).detach(), SoftEncoder(SKEWED, "tilted", 1.2)(y), atol=1e-6)

    def entropy():
        return (-learned(y) * learned.log_probs(y)).sum(1).mean().item()

    narrow = entropy()
    with torch.no_grad():
        learned.log_temperature += 1.0
    assert entropy() > narrow


def test_learned_code_has_the_gradient_of_its_formula():
    learned = LearnedEncoder(Bins.fit(np.linspace(0, 1, 50), 5)).double()
    tilt = learned.family.tilt(torch.linspace(0, 1, 7, dtype=torch.float64)).detach()

    def log_probs(slopes, offsets, log_temperature):
        logits = (tilt[:, None] * slopes + offsets) * torch.exp(-log_temperature)
        return torch.log_softmax(logits, dim=-1)

    parameters = tuple(p.detach().clone().requires_grad_() for p in learned.parameters())
    torch.testing.assert_close(log_probs(*parameters), torch.log_softmax(learned.logits(tilt), dim=-1))
    assert torch.autograd.gradcheck(log_probs, parameters)
    torch.log_softmax(learned.logits(tilt), dim=-1)[:, 0].sum().backward()
    log_probs(*parameters)[:, 0].sum().backward()
    for parameter, expected in zip(learned.parameters(), parameters, strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


def test_one_class_codes_everything_as_itself():
    bins = Bins([0.0, 1.0], [0.5])
    for encoder in (HardEncoder(bins), SoftEncoder(bins), LearnedEncoder(bins)):
        np.testing.assert_array_equal(encoder(torch.tensor([-3.0, 0.2, 7.0])).detach(), np.ones((3, 1)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SoftEncoder(EQUAL, "cubic"), "kernel must be one of tilted, .*, got 'cubic'"),
        (lambda: SoftEncoder(EQUAL, smoothing=0.0), "smoothing must lie between 0.001 and 1000, got 0.0"),
        (lambda: LearnedEncoder(EQUAL, -1.0), "smoothing must lie between 0.001 and 1000, got -1.0"),
    ],
)
def test_refuses_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
