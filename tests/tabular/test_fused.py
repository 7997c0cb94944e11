"""The fused objective is the plain one, in value and in every gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges_tabular.core.encoders import LOG_ZERO
from bridges_tabular.core.objective import BridgeObjective
from bridges_tabular.tabular.fused import fused_loss


def both(objective, y, code, logits, values, weight):
    plain = [part.clone().requires_grad_() for part in (code, logits, values)]
    fused = [part.clone().requires_grad_() for part in (code, logits, values)]
    log_psi, log_pi = (torch.log_softmax(part, 1) for part in plain[:2])
    expected = objective(y, log_psi, log_pi, plain[2], weight).loss
    found = fused_loss(objective, y, *fused, weight)
    for loss in (expected, found):
        (3 * loss).backward()
    return expected, found, [part.grad for part in plain], [part.grad for part in fused]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 9),
    k=st.integers(2, 40),
    weights=st.tuples(*[st.sampled_from([0.0, 0.3, 1.0, 10.0])] * 3).filter(any),
    weighted=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_value_and_gradients_equal_those_of_automatic_differentiation(n, k, weights, weighted, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    code, logits = (scale * torch.randn(n, k, dtype=torch.float64, generator=generator) for _ in range(2))
    y, values = (torch.randn(size, dtype=torch.float64, generator=generator) for size in (n, k))
    weight = torch.rand(n, dtype=torch.float64, generator=generator) if weighted else None
    expected, found, plain, fused = both(BridgeObjective(*weights), y, code, logits, values, weight)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for one, other in zip(fused, plain, strict=True):
        # a part that the loss does not depend on has no gradient, or one of zeros
        one = torch.zeros_like(other) if one is None else one
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_one_hot_codes_and_batches_without_weight():
    code = torch.full((4, 5), LOG_ZERO)
    code[range(4), [0, 2, 2, 4]] = 0.0
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    found = fused_loss(BridgeObjective(0, 1, 0), torch.zeros(4), code, logits, torch.zeros(5))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2, 2, 4]))
    torch.testing.assert_close(found, expected)
    nothing = fused_loss(BridgeObjective(1, 1, 1), torch.ones(4), code, logits, torch.zeros(5), torch.zeros(4))
    assert float(nothing) == 0.0


def test_large_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    code = torch.tensor([[0.0, 0.0, 0.0]])
    loss = fused_loss(BridgeObjective(0, 1, 0), torch.zeros(1), code, logits, torch.zeros(3))
    loss.backward()
    assert float(loss) == pytest.approx(1e4 - np.log(3), rel=1e-5)
    assert torch.isfinite(logits.grad).all()
