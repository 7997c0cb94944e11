"""Linear pools of distributions that are given by quantiles, with thin normal tails, as cells of bounded number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from bridges_tabular.core._cells import FloatArray, Rows, pick, search_rows
from bridges_tabular.core.calibration.residuals import LEVELS

# Share of the normal component, and its width in standard deviations of the validation errors.
TAIL_SHARE = 0.03
TAIL_WIDTH = 1.5

NORMAL_QUANTILES: FloatArray = torch.special.ndtri(torch.from_numpy(LEVELS)).numpy()

_ANCHORS: FloatArray = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
# Least mass of the normal component beyond an outer edge: a log score stays finite, however far the cells reach.
_LEAST_TAIL = 1e-3
_REACHED: FloatArray = (LEVELS - LEVELS[0]) / (LEVELS[-1] - LEVELS[0])


class Pool(NamedTuple):
    """A block of b pooled distributions: equal shares of the parts, and a normal component around the centre."""

    parts: Sequence[FloatArray]
    """Quantiles (b, q) at :data:`LEVELS` of each part, non-decreasing."""
    centre: FloatArray
    """(b,)"""
    deviation: float
    """Standard deviation of the normal component."""

    def cdf(self, at: FloatArray) -> FloatArray:
        """F (b, p) at points (b, p)."""
        z = (at - self.centre[:, None]) / self.deviation
        value: FloatArray = torch.special.ndtr(torch.from_numpy(z)).numpy() * TAIL_SHARE
        for part in self.parts:
            value += _cdf_of_quantiles(part, at) * ((1.0 - TAIL_SHARE) / len(self.parts))
        return value

    def edges(self) -> FloatArray:
        """All places (b, p) at which a part bends, in increasing order."""
        anchors = self.centre[:, None] + self.deviation * _ANCHORS
        return np.sort(np.concatenate([*self.parts, anchors], axis=1), axis=1)

    def rows(self) -> Rows:
        """The pool on cells between its edges, with exponential tails."""
        edges = self.edges()
        return rows_of(edges, self.cdf(edges), self.deviation)


def rows_of(edges: FloatArray, reached: FloatArray, deviation: float) -> Rows:
    """Rows with the cdf ``reached`` (b, p) at edges (p,) or (b, p), and the normal component's tails beyond them.

    A tail is exponential, of a third of the deviation: what the normal component has left three deviations out.
    """
    least = TAIL_SHARE * _LEAST_TAIL
    ends = np.stack([reached[:, 0], 1.0 - reached[:, -1]], axis=1)
    tails = np.maximum(ends, least)
    masses = np.maximum(np.diff(reached, axis=1), 0.0)
    total = masses.sum(axis=1, keepdims=True) + tails.sum(axis=1, keepdims=True)
    return Rows(edges, masses / total, tails / total, np.full(tails.shape, deviation / 3.0))


def _cdf_of_quantiles(quantiles: FloatArray, at: FloatArray) -> FloatArray:
    """Piecewise linear cdf through quantiles (b, q) at points (b, p); 0 before the first, 1 from the last on."""
    cell = np.clip(search_rows(quantiles, at, "right") - 1, 0, quantiles.shape[1] - 2)
    left, right = pick(quantiles, cell), pick(quantiles, cell + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (at - left) / (right - left)
    share = np.where(right > left, np.clip(share, 0.0, 1.0), at >= right)
    value: FloatArray = _REACHED[cell] + share * np.diff(_REACHED)[cell]
    return value
