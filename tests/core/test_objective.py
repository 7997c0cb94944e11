"""The objective against torch's own losses and finite differences."""

import re

import numpy as np
import pytest
import torch

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.encoders import LearnedEncoder, SoftEncoder
from bridges_tabular.core.objective import BridgeObjective

GENERATOR = torch.Generator().manual_seed(0)
VALUES = torch.tensor([0.4, 1.5, 2.8, 5.0], dtype=torch.float64)
Y = torch.rand(7, generator=GENERATOR, dtype=torch.float64) * 6
LOG_PSI = torch.log_softmax(torch.randn(7, 4, generator=GENERATOR, dtype=torch.float64), dim=1)
LOG_PI = torch.log_softmax(torch.randn(7, 4, generator=GENERATOR, dtype=torch.float64), dim=1)
WEIGHT = torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0, 0.0, 2.0], dtype=torch.float64)


def test_terms_equal_those_of_torch():
    terms = BridgeObjective(2.0, 3.0, 5.0)(Y, LOG_PSI, LOG_PI, VALUES)
    mse, kl = torch.nn.functional.mse_loss, torch.nn.functional.kl_div
    torch.testing.assert_close(terms.autoencoding, mse(LOG_PSI.exp() @ VALUES, Y))
    torch.testing.assert_close(terms.alignment, kl(LOG_PI, LOG_PSI, log_target=True, reduction="batchmean"))
    torch.testing.assert_close(terms.regression, mse(LOG_PI.exp() @ VALUES, Y))
    expected = 2 * terms.autoencoding + 3 * terms.alignment + 5 * terms.regression
    torch.testing.assert_close(terms.loss, expected)


def test_a_weight_counts_a_row_so_often():
    objective = BridgeObjective(1.0, 1.0, 1.0)
    repeated = torch.repeat_interleave(torch.arange(7), WEIGHT.long())
    weighted = objective(Y, LOG_PSI, LOG_PI, VALUES, WEIGHT)
    plain = objective(Y[repeated], LOG_PSI[repeated], LOG_PI[repeated], VALUES)
    for ours, expected in zip(weighted, plain, strict=True):
        torch.testing.assert_close(ours, expected)
    nothing = objective(Y, LOG_PSI, LOG_PI, VALUES, torch.zeros(7, dtype=torch.float64))
    assert float(nothing.loss) == 0.0


def test_gradients_equal_finite_differences():
    objective = BridgeObjective(1.0, 2.0, 3.0)

    def loss(y, psi_logits, pi_logits, values):
        codes = torch.log_softmax(psi_logits, dim=1), torch.log_softmax(pi_logits, dim=1)
        return objective(y, *codes, values, WEIGHT).loss

    inputs = tuple(value.clone().requires_grad_() for value in (Y, LOG_PSI, LOG_PI, VALUES))
    assert torch.autograd.gradcheck(loss, inputs)


def test_the_divergence_vanishes_at_the_code_itself_with_its_gradient():
    encoder = LearnedEncoder(Bins.fit(np.linspace(-1, 1, 60), 8))
    y = torch.linspace(-0.9, 0.9, 20)
    log_psi = encoder.log_probs(y)
    terms = BridgeObjective(0.0, 1.0, 0.0)(y, log_psi, log_psi.detach(), torch.linspace(-1, 1, 8))
    terms.loss.backward()
    assert float(terms.alignment) == pytest.approx(0.0, abs=1e-6)
    # the entropy's gradient cancels that of the cross entropy, which alone would sharpen the code
    assert encoder.log_temperature.grad.abs() < 1e-5
    cross = -(encoder(y) * log_psi.detach()).sum(1).mean()
    encoder.zero_grad()
    cross.backward()
    assert encoder.log_temperature.grad.abs() > 0.1


def test_codes_with_zeros_give_finite_losses_and_gradients():
    bins = Bins.fit(np.linspace(-1, 1, 60), 8)
    logits = torch.randn(5, 8, generator=GENERATOR, requires_grad=True)
    log_psi = SoftEncoder(bins, "two_hot").log_probs(torch.tensor([-3.0, -0.5, 0.1, 0.7, 9.0]))
    loss = BridgeObjective()(torch.zeros(5), log_psi, torch.log_softmax(logits, dim=1), torch.zeros(8)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", ["autoencoding_weight", "alignment_weight", "regression_weight"])
def test_refuses_negative_weights_by_name(name):
    for value in (-1.0, float("nan"), float("inf"), 1e7):
        with pytest.raises(ValueError, match=re.escape(f"{name} must lie between 0 and 1000000, got {value}")):
            BridgeObjective(**{name: value})


def test_refuses_to_train_on_nothing():
    with pytest.raises(ValueError, match=r"one of autoencoding_weight, .*, regression_weight must be positive"):
        BridgeObjective(0.0, 0.0, 0.0)
