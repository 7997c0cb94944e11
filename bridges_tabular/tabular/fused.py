"""The objective with its gradients in closed form, for the tables of logits that cost most of a small network's step.

Automatic differentiation goes over a batch's (n, k) table some thirty times; written out, it takes ten.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bridges_tabular.core.objective import BridgeObjective


def fused_loss(
    objective: BridgeObjective,
    y: Tensor,
    code_logits: Tensor,
    logits: Tensor,
    values: Tensor,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """The loss of :class:`~bridges_tabular.core.objective.BridgeObjective`, from logits.

    Parameters
    ----------
    objective : BridgeObjective
        Gives the weights of the three terms.
    y : tensor of shape (n,)
        Targets, in the units of ``values``.
    code_logits, logits : tensors of shape (n, k)
        Logits of the target's code psi and of the prediction pi, both up to a constant in each row.
    values : tensor of shape (k,)
        The decoder's value of every class.
    sample_weight : tensor of shape (n,), optional

    Returns
    -------
    tensor of shape ()
        Differentiable once in ``code_logits``, ``logits`` and ``values``.
    """
    weights = (objective.autoencoding_weight, objective.alignment_weight, objective.regression_weight)
    loss: Tensor = _FusedLoss.apply(  # type: ignore[no-untyped-call]
        y, code_logits, logits, values, sample_weight, weights
    )
    return loss


class _FusedLoss(torch.autograd.Function):
    """The loss and its gradients, in one pass.

    With s and z the logits, e = y - mu.psi and r = y - mu.pi, the gradients of a row are

    - in s: psi_j (g_j - psi.g) with g_j = b (s_j - z_j) - 2 a e mu_j,
    - in z: b (pi_j - psi_j) - 2 c r pi_j (mu_j - mu.pi),
    - in mu: -2 a e psi_j - 2 c r pi_j.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        code_logits: Tensor,
        logits: Tensor,
        values: Tensor,
        sample_weight: Tensor | None,
        weights: tuple[float, float, float],
    ) -> Tensor:
        a, b, c = weights
        psi, pi = torch.softmax(code_logits, 1), torch.softmax(logits, 1)
        gap = code_logits - logits
        distance = torch.linalg.vecdot(psi, gap)
        row_loss = b * (distance - _log_normaliser(code_logits, psi) + _log_normaliser(logits, pi))
        error, missed = y - psi @ values, y - pi @ values
        row_loss += a * error.square() + c * missed.square()
        share = torch.ones_like(y) if sample_weight is None else sample_weight
        total = share.sum().clamp(min=torch.finfo(y.dtype).tiny)

        in_values = -2 * (a * (share * error) @ psi + c * (share * missed) @ pi)
        in_codes = in_logits = None
        if ctx.needs_input_grad[2]:
            in_logits = pi - psi
            if b != 1:
                in_logits *= b
            if c:
                in_logits -= (values - (y - missed)[:, None]).mul_(pi).mul_((2 * c * missed)[:, None])
        if ctx.needs_input_grad[1]:
            in_codes = (gap if b == 1 else b * gap).addr_(error, values, alpha=-2 * a)
            in_codes -= (b * distance - 2 * a * error * (y - error))[:, None]
            in_codes *= psi
        if sample_weight is not None:
            for part in (in_codes, in_logits):
                if part is not None:
                    part *= share[:, None]
        ctx.save_for_backward(in_codes, in_logits, in_values, total)
        loss: Tensor = row_loss @ share / total
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *parts, total = ctx.saved_tensors
        return (None, *(None if part is None else part * (gradient / total) for part in parts), None, None)


def _log_normaliser(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Log sum exp of each row, from its largest entry: softmax has done the rest."""
    return logits.amax(1) - probabilities.amax(1).log()
