"""The fused objective is the plain one, in value and in every gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges_tabular.core.encoders import LOG_ZERO
from bridges_tabular.core.objective import BridgeObjective
from bridges_tabular.tabular.fused import fused_loss


def by_automatic_differentiation(objective, y, code, logits, values, weight):
    """The mean over members of the plain objective, or the plain objective itself."""
    log_psi, log_pi = torch.log_softmax(code, 1), torch.log_softmax(logits, -1)
    members = log_pi.unbind(1) if log_pi.ndim == 3 else [log_pi]
    return torch.stack([objective(y, log_psi, member, values, weight).loss for member in members]).mean()


def both(objective, y, code, logits, values, weight):
    plain = [part.clone().requires_grad_() for part in (code, logits, values)]
    fused = [part.clone().requires_grad_() for part in (code, logits, values)]
    expected = by_automatic_differentiation(objective, y, *plain, weight)
    found = fused_loss(objective, y, *fused, weight)
    for loss in (expected, found):
        (3 * loss).backward()
    return expected, found, [part.grad for part in plain], [part.grad for part in fused]


WEIGHTS = st.tuples(*[st.sampled_from([0.0, 0.3, 1.0, 10.0])] * 3).filter(any)


def drawn(n, members, k, weighted, scale, seed):
    """Targets, logits of codes and predictions, values of classes, and weights of rows."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)  # noqa: E731
    logits = normal(n, k) if members is None else normal(n, members, k)
    weight = torch.rand(n, dtype=torch.float64, generator=generator) if weighted else None
    return normal(n), scale * normal(n, k), scale * logits, normal(k), weight


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(1, 9),
    members=st.sampled_from([None, 1, 2, 5]),
    k=st.integers(2, 40),
    weights=WEIGHTS,
    weighted=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_value_and_gradients_equal_those_of_automatic_differentiation(n, members, k, weights, weighted, scale, seed):
    given = drawn(n, members, k, weighted, scale, seed)
    expected, found, plain, fused = both(BridgeObjective(*weights), *given)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for one, other in zip(fused, plain, strict=True):
        # a part that the loss does not depend on has no gradient, or one of zeros
        one = torch.zeros_like(other) if one is None else one
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(weights=WEIGHTS, weighted=st.booleans(), seed=st.integers(0, 2**31))
def test_one_member_has_the_loss_of_a_table_without_members(weights, weighted, seed):
    objective = BridgeObjective(*weights)
    y, *parts, weight = drawn(6, None, 7, weighted, 1.0, seed)
    alone = [part.clone().requires_grad_() for part in parts]
    code, logits, values = (part.clone().requires_grad_() for part in parts)
    losses = fused_loss(objective, y, *alone, weight), fused_loss(objective, y, code, logits[:, None], values, weight)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-12, atol=1e-12)
    for loss in losses:
        loss.backward()
    for one, other in zip((code, logits, values), alone, strict=True):
        assert (one.grad is None) == (other.grad is None)
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)


def test_what_needs_no_gradient_gets_none():
    y, code, logits, values, _ = drawn(4, 3, 5, False, 1.0, 0)
    logits.requires_grad_()
    fused_loss(BridgeObjective(10, 1, 1), y, code, logits, values).backward()
    expected = logits.grad.clone()
    logits.grad = None
    by_automatic_differentiation(BridgeObjective(10, 1, 1), y, code, logits, values, None).backward()
    torch.testing.assert_close(expected, logits.grad)
    assert code.grad is values.grad is None


def test_one_hot_codes_and_batches_without_weight():
    code = torch.full((4, 5), LOG_ZERO)
    code[range(4), [0, 2, 2, 4]] = 0.0
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    found = fused_loss(BridgeObjective(0, 1, 0), torch.zeros(4), code, logits, torch.zeros(5))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2, 2, 4]))
    torch.testing.assert_close(found, expected)
    nothing = fused_loss(BridgeObjective(1, 1, 1), torch.ones(4), code, logits, torch.zeros(5), torch.zeros(4))
    assert float(nothing) == 0.0


@pytest.mark.parametrize("members", [None, 1, 3])
def test_large_logits_stay_finite(members):
    row = torch.tensor([[1e4, -1e4, 0.0]])
    logits = (row if members is None else row[:, None].repeat(1, members, 1)).requires_grad_()
    code = torch.tensor([[0.0, 0.0, 0.0]])
    loss = fused_loss(BridgeObjective(0, 1, 0), torch.zeros(1), code, logits, torch.zeros(3))
    loss.backward()
    assert float(loss) == pytest.approx(1e4 - np.log(3), rel=1e-5)
    assert torch.isfinite(logits.grad).all()
