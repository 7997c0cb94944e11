"""What a network reads of a table: numbers embedded column by column, categories embedded or one-hot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_tabular.models.common.layers import Embedding1dLayer
from rtdl_num_embeddings import PeriodicEmbeddings, PiecewiseLinearEmbeddings, PiecewiseLinearEncoding
from torch import Tensor, nn

EMBEDDINGS = ("none", "piecewise_linear", "pbld", "plr", "mixed")

# what members read by turns
_MIXED = ("piecewise_linear", "pbld")


class PiecewiseLinear(nn.Module):
    """Piecewise-linear embeddings of numbers, version B of rtdl-num-embeddings, between quantiles of training rows.

    Sizes do not depend on the data, so that a saved state fits: a column of few distinct values has bins to spare.

    Parameters
    ----------
    n_features, n_bins, dim : int
    """

    def __init__(self, n_features: int, n_bins: int, dim: int) -> None:
        super().__init__()
        # it looks at the numbers, which a network that is only counted does not have
        with torch.device("cpu"):
            stand_in = torch.linspace(-2.0, 2.0, n_bins + 1)
            self.embeddings = PiecewiseLinearEmbeddings([stand_in] * n_features, dim, activation=False, version="B")

    def fit(self, numbers: NDArray[np.floating]) -> None:
        """Place the bins on training rows of shape (n, n_features)."""
        encoding = self.embeddings.impl
        levels = np.linspace(0.0, 1.0, encoding.weight.shape[1] + 1)
        for column, weight, bias in zip(numbers.T, encoding.weight, encoding.bias, strict=True):
            edges = np.unique(np.quantile(column, levels).astype(np.float32))
            # a narrower bin would have a slope that is not finite
            edges = edges[np.append(True, np.diff(edges) > np.finfo(np.float32).tiny)]
            weight.zero_()
            bias.zero_()
            if len(edges) < 2:
                continue
            own = PiecewiseLinearEncoding([torch.from_numpy(edges)]).impl
            # the last bin comes last, wherever there are bins to spare
            for whole, part in ((weight, own.weight[0]), (bias, own.bias[0])):
                whole[: len(part) - 1] = part[:-1]
                whole[-1] = part[-1]

    def forward(self, numbers: Tensor) -> Tensor:
        """Embeddings of shape (n, n_features, dim)."""
        embedded: Tensor = self.embeddings(numbers)
        return embedded


class PBLD(nn.Module):
    """Periodic embeddings of RealMLP: cos(2 pi (w x + b)), then a linear layer for each column [Holzmüller 2024].

    Parameters
    ----------
    n_features, frequencies, dim : int
    scale : float
        Deviation of the first w.
    """

    def __init__(self, n_features: int, frequencies: int, dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(n_features, frequencies))
        self.bias = nn.Parameter(torch.empty(n_features, frequencies))
        self.linear = nn.Parameter(torch.empty(n_features, frequencies, dim))
        self.offset = nn.Parameter(torch.empty(n_features, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new ones."""
        bound = self.linear.shape[1] ** -0.5
        nn.init.normal_(self.weight, std=self.scale)
        nn.init.uniform_(self.bias, -math.pi, math.pi)
        nn.init.uniform_(self.linear, -bound, bound)
        nn.init.uniform_(self.offset, -bound, bound)

    def forward(self, numbers: Tensor) -> Tensor:
        """Embeddings of shape (n, n_features, dim)."""
        waves = torch.cos(2 * math.pi * torch.addcmul(self.bias, self.weight, numbers[..., None]))
        return (waves.transpose(0, 1) @ self.linear).transpose(0, 1) + self.offset


class NumberEmbeddings(nn.Module):
    """Numbers of shape (n, n_features) with their embeddings beside them, as features of shape (n, output_dim).

    Parameters
    ----------
    kind : str
        Of :data:`EMBEDDINGS`.
    n_features, dim, n_bins, frequencies : int
    scale : float
    """

    def __init__(self, kind: str, n_features: int, *, dim: int, n_bins: int, frequencies: int, scale: float) -> None:
        super().__init__()
        self.embeddings: nn.Module | None = None
        if n_features and kind == "piecewise_linear":
            self.embeddings = PiecewiseLinear(n_features, n_bins, dim)
        elif n_features and kind == "pbld":
            self.embeddings = PBLD(n_features, frequencies, dim, scale)
        elif n_features and kind == "plr":
            self.embeddings = PeriodicEmbeddings(
                n_features, dim, n_frequencies=frequencies, frequency_init_scale=scale, lite=False
            )
        self.output_dim = n_features * (1 if self.embeddings is None else dim + 1)

    def fit(self, numbers: NDArray[np.floating]) -> None:
        """Fit what is fitted to training rows."""
        if isinstance(self.embeddings, PiecewiseLinear):
            self.embeddings.fit(numbers)

    def forward(self, numbers: Tensor) -> Tensor:
        """Features of shape (n, output_dim)."""
        if self.embeddings is None:
            return numbers
        return torch.cat([numbers, self.embeddings(numbers).flatten(1)], dim=1)


class MemberEmbeddings(nn.Module):
    """Features of every member: all read the same embeddings, or by turns those of two kinds.

    Parameters
    ----------
    kind : str
        Of :data:`EMBEDDINGS`.
    members, n_features : int
    **sizes
        Of :class:`NumberEmbeddings`.
    """

    def __init__(self, kind: str, members: int, n_features: int, **sizes: Any) -> None:
        super().__init__()
        kinds = _MIXED[:members] if kind == "mixed" else (kind,)
        each = [NumberEmbeddings(one, n_features, **sizes) for one in kinds]
        self.each = nn.ModuleList(each)
        self.members = members
        self.output_dim = each[0].output_dim

    def fit(self, numbers: NDArray[np.floating]) -> None:
        """Fit what is fitted to training rows."""
        for embeddings in self.each:
            assert isinstance(embeddings, NumberEmbeddings)
            embeddings.fit(numbers)

    def forward(self, numbers: Tensor, others: Tensor) -> Tensor:
        """Features of shape (n, members, output_dim + others), from numbers (n, n_features) and others (n, others)."""
        kinds = torch.stack([torch.cat([embeddings(numbers), others], dim=1) for embeddings in self.each], dim=1)
        turns = -(-self.members // len(self.each))
        return kinds.repeat(1, turns, 1)[:, : self.members] if len(self.each) > 1 else kinds.expand(-1, turns, -1)


class OneHot(nn.Embedding):
    """Codes as unit vectors, which are not trained.

    Parameters
    ----------
    codes : int
    """

    def __init__(self, codes: int) -> None:
        super().__init__(codes, codes)
        self.requires_grad_(False)

    def reset_parameters(self) -> None:
        """Unit vectors again: pytorch-tabular resets networks between folds."""
        with torch.no_grad():
            self.weight.zero_().fill_diagonal_(1.0)


def input_layer(
    n_features: int, categories: Sequence[tuple[int, int]], one_hot: int, dropout: float
) -> Embedding1dLayer:
    """pytorch-tabular's layer of numbers as they are and embedded categories, some of them one-hot.

    Parameters
    ----------
    n_features : int
        Columns of numbers.
    categories : sequence of pairs
        Number of codes and dimension of the embedding for every column of categories.
    one_hot : int
        Columns of at most so many codes are one-hot.
    dropout : float
        Of embeddings.
    """
    sizes = [(codes, codes if codes <= one_hot else width) for codes, width in categories]
    layer = Embedding1dLayer(n_features, sizes, embedding_dropout=dropout)
    for index, (codes, _) in enumerate(categories):
        if codes <= one_hot:
            layer.cat_embedding_layers[index] = OneHot(codes)
    return layer
