"""The training objective: auto-encoding, alignment and regression."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bridges_tabular.core.parameters import PARAMETERS


class ObjectiveTerms(NamedTuple):
    """The terms, each averaged over the rows, and their weighted sum: what :class:`BridgeObjective` returns."""

    loss: Tensor
    autoencoding: Tensor
    alignment: Tensor
    regression: Tensor


class BridgeObjective(nn.Module):
    """a (y - mu.psi)^2 + b KL(psi || pi) + c (y - mu.pi)^2, averaged over the rows.

    psi is the code of the target, pi the classifier's prediction of it and mu the decoder. The framework is that of
    arXiv 2502.02996; the formula is our reading of it. The divergence includes the entropy of psi: without it, a
    trainable encoder would be drawn to one-hot codes.

    Parameters
    ----------
    autoencoding_weight, alignment_weight, regression_weight : float, default=10, 1, 0
        The weights a, b and c.

    Raises
    ------
    ValueError
        For a negative weight, or if all are zero.

    Examples
    --------
    >>> psi, pi = torch.tensor([[0.25, 0.75]]), torch.tensor([[0.5, 0.5]])
    >>> terms = BridgeObjective()(torch.tensor([1.0]), psi.log(), pi.log(), values=torch.tensor([0.0, 1.0]))
    >>> [round(term.item(), 4) for term in terms]
    [0.7558, 0.0625, 0.1308, 0.25]
    """

    def __init__(
        self,
        autoencoding_weight: float = PARAMETERS["autoencoding_weight"].default,
        alignment_weight: float = PARAMETERS["alignment_weight"].default,
        regression_weight: float = PARAMETERS["regression_weight"].default,
    ) -> None:
        super().__init__()
        weights = {
            "autoencoding_weight": autoencoding_weight,
            "alignment_weight": alignment_weight,
            "regression_weight": regression_weight,
        }
        for name, value in weights.items():
            PARAMETERS[name].check(value)
        if not any(weights.values()):
            raise ValueError(f"one of {', '.join(weights)} must be positive")
        self.autoencoding_weight = autoencoding_weight
        self.alignment_weight = alignment_weight
        self.regression_weight = regression_weight

    def forward(
        self,
        y: Tensor,
        log_psi: Tensor,
        log_pi: Tensor,
        values: Tensor,
        sample_weight: Tensor | None = None,
    ) -> ObjectiveTerms:
        """Evaluate the objective.

        Parameters
        ----------
        y : tensor of shape (n,)
            Targets, in the units of ``values``.
        log_psi, log_pi : tensors of shape (n, k)
            Logs of the target's code and of the prediction.
        values : tensor of shape (k,)
            The decoder's value of every class.
        sample_weight : tensor of shape (n,), optional
        """
        psi, pi = log_psi.exp(), log_pi.exp()
        alignment = (psi * (log_psi - log_pi)).sum(-1)
        autoencoding = (y - psi @ values) ** 2
        regression = (y - pi @ values) ** 2
        terms = [weighted_mean(term, sample_weight) for term in (autoencoding, alignment, regression)]
        weights = (self.autoencoding_weight, self.alignment_weight, self.regression_weight)
        loss = torch.stack([weight * term for weight, term in zip(weights, terms, strict=True)]).sum()
        return ObjectiveTerms(loss, *terms)


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the rows, weighted if there are weights; zero if those of a batch are all zero.

    Examples
    --------
    >>> weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0]))
    tensor(2.)
    """
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp(min=torch.finfo(values.dtype).tiny)
