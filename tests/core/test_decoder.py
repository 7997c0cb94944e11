"""The decoder against bin means, scikit-learn's ridge regression and its bounds."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.decoder import LinearDecoder
from bridges_tabular.core.encoders import HardEncoder, SoftEncoder

RNG = np.random.default_rng(0)
Y = RNG.gamma(2.0, size=2_000)
WEIGHT = RNG.integers(0, 4, 2_000).astype(float)
BINS = Bins.fit(Y, 12)


def tensor(values):
    return torch.tensor(values, dtype=torch.float32)


def test_starts_at_the_centres_and_decodes_linearly():
    decoder, pi = LinearDecoder(BINS), tensor(RNG.dirichlet(np.ones(12), size=5))
    np.testing.assert_allclose(decoder.values.detach(), BINS.centers, atol=1e-5)
    np.testing.assert_allclose(decoder(pi).detach(), pi.double().numpy() @ BINS.centers, atol=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_hard_codes_decode_to_the_means_of_their_bins(weight):
    decoder = LinearDecoder(BINS).fit(HardEncoder(BINS)(tensor(Y)), tensor(Y), ridge=1e-9, sample_weight=weight)
    index, share = BINS.assign(Y), np.ones_like(Y) if weight is None else weight
    used = [share[index == j].sum() > 0 for j in range(12)]
    means = [np.average(Y[index == j], weights=share[index == j]) if used[j] else BINS.centers[j] for j in range(12)]
    np.testing.assert_allclose(decoder.values.detach(), means, atol=1e-4)


def test_soft_codes_decode_by_the_ridge_solution_around_the_centres():
    # a margin wide enough that the bound touches no value
    bins = Bins.fit(Y, 12, margin=5.0)
    psi, ridge = SoftEncoder(bins)(tensor(Y)), 0.5
    decoder = LinearDecoder(bins).fit(psi, tensor(Y), ridge)
    peer = Ridge(alpha=ridge / 12 * len(Y), fit_intercept=False)
    peer.fit(psi.double().numpy(), Y - psi.double().numpy() @ bins.centers)
    np.testing.assert_allclose(decoder.values.detach(), bins.centers + peer.coef_, atol=2e-3)


def test_a_weight_counts_a_row_so_often():
    psi = SoftEncoder(BINS)(tensor(Y))
    repeated = np.repeat(np.arange(len(Y)), WEIGHT.astype(int))
    weighted = LinearDecoder(BINS).fit(psi, tensor(Y), sample_weight=WEIGHT)
    plain = LinearDecoder(BINS).fit(psi[repeated], tensor(Y[repeated]))
    np.testing.assert_allclose(weighted.values.detach(), plain.values.detach(), atol=1e-4)


def test_values_never_leave_the_support():
    # wide codes: without a bound the least-squares values would spread far beyond the targets
    psi = SoftEncoder(BINS, "gaussian", 4.0)(tensor(Y))
    decoder = LinearDecoder(BINS).fit(psi, tensor(Y), ridge=1e-9)
    low, high = BINS.support
    unbounded = np.linalg.lstsq(psi.double().numpy(), Y, rcond=None)[0]
    assert unbounded.max() > high
    assert ((decoder.values >= low) & (decoder.values <= high)).all()
    with torch.no_grad():
        decoder.position += 100.0
    assert decoder.values.max() <= high


def test_values_are_trained_by_gradient():
    decoder = LinearDecoder(BINS)
    psi = SoftEncoder(BINS)(tensor(Y))
    decoder.double()

    def loss(position):
        decoder.position.data = position.data
        values = torch.lerp(decoder.low, decoder.high, torch.sigmoid(position))
        return ((psi[:20].double() @ values - torch.tensor(Y[:20])) ** 2).mean()

    position = decoder.position.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (position,))
    loss(position).backward()
    ((decoder(psi[:20].double()) - torch.tensor(Y[:20])) ** 2).mean().backward()
    torch.testing.assert_close(decoder.position.grad, position.grad)
