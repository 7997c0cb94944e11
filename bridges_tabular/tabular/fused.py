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
    code_logits : tensor of shape (n, k)
        Logits of the target's code psi, up to a constant in each row.
    logits : tensor of shape (n, k) or (n, members, k)
        Logits of the prediction pi, or of those of several members whose losses are averaged, up to a constant as well.
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

    Of several members, the gradient in s has the mean of their z, and what is theirs alone is divided by their number.
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
        psi, pi = torch.softmax(code_logits, -1), torch.softmax(logits, -1)
        members = logits.shape[1] if logits.ndim == 3 else 0
        gap = code_logits - (logits.mean(1) if members else logits)
        distance = torch.linalg.vecdot(psi, gap)
        normaliser = _log_normaliser(logits, pi)
        row_loss = b * (distance - _log_normaliser(code_logits, psi) + (normaliser.mean(1) if members else normaliser))
        weighted = [psi, pi]
        if sample_weight is not None:
            weighted = [psi * sample_weight[:, None], pi * sample_weight.view(-1, *[1] * (pi.ndim - 1))]
        in_codes = in_logits = in_values = None
        if ctx.needs_input_grad[1]:
            in_codes = gap if b == 1 else b * gap
            drift = b * distance
        if ctx.needs_input_grad[2]:
            in_logits = weighted[1] - (weighted[0][:, None] if members else weighted[0])
            if b != 1 or members > 1:
                in_logits *= b / max(members, 1)
        if a:
            decoded = psi @ values
            error = y - decoded
            row_loss += a * error.square()
            in_values = (-2 * a) * (error @ weighted[0])
            if in_codes is not None:
                in_codes.addr_(error, values, alpha=-2 * a)
                drift.addcmul_(error, decoded, value=-2 * a)
        if in_codes is not None:
            in_codes -= drift[:, None]
            in_codes *= weighted[0]
        if c:
            decoded = pi @ values
            missed = (y[:, None] if members else y) - decoded
            squared, share = missed.square(), c / max(members, 1)
            row_loss += share * (squared.sum(1) if members else squared)
            from_predictions = (-2 * share) * (missed.flatten() @ weighted[1].flatten(0, -2))
            in_values = from_predictions if in_values is None else in_values + from_predictions
            if in_logits is not None:
                in_logits -= (values - decoded[..., None]).mul_(weighted[1]).mul_((2 * share * missed)[..., None])
        if sample_weight is None:
            ctx.share = 1 / y.shape[0]
            loss: Tensor = row_loss.mean()
        else:
            ctx.share = 1 / sample_weight.sum().clamp(min=torch.finfo(y.dtype).tiny)
            loss = row_loss @ sample_weight * ctx.share
        ctx.save_for_backward(in_codes, in_logits, in_values)
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        factor = gradient * ctx.share
        return (None, *(None if part is None else part * factor for part in ctx.saved_tensors), None, None)


def _log_normaliser(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Log sum exp of each row, from its largest entry: softmax has done the rest."""
    return logits.amax(-1) - probabilities.amax(-1).log()
