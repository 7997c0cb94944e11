"""The decoder: from the simplex back to a number."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from bridges_tabular.core.bins import Bins


class LinearDecoder(nn.Module):
    """y_hat = mu . pi with one value mu_j a class, bounded to the support of the bins.

    Without the bound, the auto-encoding error of overlapping codes alone would drive the values far apart, and any
    error of the classifier is multiplied by their range: |y - mu.pi| <= |y - mu.psi| + range(mu) sqrt(KL / 2).
    The values start at the centres of the bins.

    Parameters
    ----------
    bins : Bins

    Examples
    --------
    >>> decoder = LinearDecoder(Bins([0.0, 1.0, 3.0], [0.5, 2.0]))
    >>> decoder(torch.tensor([[0.5, 0.5], [0.0, 1.0]])).detach()
    tensor([1.2500, 2.0000])
    """

    low: Tensor
    high: Tensor

    def __init__(self, bins: Bins) -> None:
        super().__init__()
        low, high = bins.support
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(high, dtype=torch.float32))
        self.register_buffer("_centers", torch.as_tensor(bins.centers, dtype=torch.float32))
        # logits of the values within the support
        self.position = nn.Parameter(torch.empty(bins.n_bins))
        self._set_values(bins.centers)

    @property
    def values(self) -> Tensor:
        """The value mu of every class, of shape (k,)."""
        return torch.lerp(self.low, self.high, torch.sigmoid(self.position))

    def forward(self, pi: Tensor) -> Tensor:
        """Decode distributions of shape (n, k) to numbers of shape (n,)."""
        return pi @ self.values

    @torch.no_grad()
    def fit(self, psi: Tensor, y: Tensor, ridge: float = 1e-3, sample_weight: ArrayLike | None = None) -> LinearDecoder:
        """Set the values to the ridge solution of y = mu . psi, shrunk towards the centres, clipped to the support.

        For one-hot codes these are the means of the bins (the centroids of k-means); an empty class keeps its centre.

        Parameters
        ----------
        psi : tensor of shape (n, k)
        y : tensor of shape (n,)
        ridge : float, default=1e-3
            Penalty on (mu_j - c_j)^2 relative to the mean mass of a class, so that the row count does not matter.
        sample_weight : array of shape (n,), optional
        """
        codes = psi.detach().cpu().double().numpy()
        targets = y.detach().cpu().double().numpy()
        weight = np.ones(len(targets)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        weight = weight / weight.sum()
        centers = self.get_buffer("_centers").cpu().double().numpy()
        k = centers.size
        gram = (codes * weight[:, None]).T @ codes + np.eye(k) * ridge / k
        moment = codes.T @ (weight * (targets - codes @ centers))
        self._set_values(centers + np.linalg.solve(gram, moment))
        return self

    @torch.no_grad()
    def _set_values(self, values: ArrayLike) -> None:
        fraction = (torch.as_tensor(values, dtype=torch.float64) - self.low.cpu().double()) / (
            self.high.cpu().double() - self.low.cpu().double()
        )
        # a value on the bound itself has no finite position: stop a millionth short of it
        self.position.copy_(torch.logit(fraction, eps=1e-6))
