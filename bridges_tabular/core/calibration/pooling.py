"""Linear pools of distributions that are given by quantiles, with thin normal tails, as cells of bounded number."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bridges_tabular.core._cells import FloatArray, Rows, pick, search_rows
from bridges_tabular.core.calibration.residuals import LEVELS

# Share of the normal component, and its width in standard deviations of the validation errors.
TAIL_SHARE = 0.03
TAIL_WIDTH = 1.5

NORMAL_QUANTILES: FloatArray = np.array([NormalDist().inv_cdf(level) for level in LEVELS])

_ANCHORS: FloatArray = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
# Least mass of the normal component beyond an outer edge: a log score stays finite, however far the cells reach.
_LEAST_TAIL = 1e-3
# Cells of a part that are narrower, in sizes of its numbers, have no density but a mass: the cdf tells it.
_LEAST_WIDTH = 1e-10
# Room for the number of a part.
_LABEL_BITS = np.int64(3)
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
        value = _normal((at - self.centre[:, None]) / self.deviation)
        for part in self.parts:
            value += _cdf_of_quantiles(part, at) * ((1.0 - TAIL_SHARE) / len(self.parts))
        return value

    def edges(self) -> FloatArray:
        """All places (b, p) at which a part bends, in increasing order."""
        anchors = self.centre[:, None] + self.deviation * _ANCHORS
        return np.sort(np.concatenate([*self.parts, anchors], axis=1), axis=1)

    def rows(self) -> Rows:
        """The pool on cells between its edges, with exponential tails."""
        import torch

        widths = [np.diff(part) for part in self.parts]
        sizes = [np.maximum(-part[:, :1], part[:, -1:]) for part in self.parts]
        if any((width <= _LEAST_WIDTH * size).any() for width, size in zip(widths, sizes, strict=True)):
            edges = self.edges()
            return rows_of(edges, self.cdf(edges), self.deviation)
        anchors = self.centre[:, None] + self.deviation * _ANCHORS
        edges = np.concatenate([*self.parts, anchors], axis=1)
        # each edge carries the number of its part in its last bits: sorting the numbers alone is ten times as fast as
        # finding their places, and the last bits are rounding anyway
        labels = np.repeat(np.arange(len(self.parts) + 1), [*(part.shape[1] for part in self.parts), _ANCHORS.size])
        bits = edges.view(np.int64)
        bits &= ~_LABEL_BITS
        bits |= labels
        edges.sort(axis=1)
        label = edges.view(np.int64) & _LABEL_BITS
        cells = np.diff(edges)
        masses = np.zeros_like(cells)
        for number, width in enumerate(widths):
            # a part's density is constant between two of its edges, and nothing before the first and after the last
            density = np.zeros((len(width), width.shape[1] + 2))
            np.divide(np.diff(_REACHED), width, out=density[:, 1:-1])
            passed = torch.cumsum(torch.from_numpy(label[:, :-1] == number), 1).numpy()
            passed += np.arange(len(width))[:, None] * density.shape[1]
            masses += density.ravel().take(passed)
        masses *= cells
        masses *= (1.0 - TAIL_SHARE) / len(self.parts)
        reached = _normal((edges - self.centre[:, None]) / self.deviation)
        masses += np.diff(reached)
        return _with_tails(
            edges, masses, np.stack([reached[:, 0], TAIL_SHARE - reached[:, -1]], axis=1), self.deviation
        )


def rows_of(edges: FloatArray, reached: FloatArray, deviation: float) -> Rows:
    """Rows with the cdf ``reached`` (b, p) at edges (p,) or (b, p), and the normal component's tails beyond them.

    A tail is exponential, of a third of the deviation: what the normal component has left three deviations out.
    """
    ends = np.stack([reached[:, 0], 1.0 - reached[:, -1]], axis=1)
    return _with_tails(edges, np.diff(reached, axis=1), ends, deviation)


def _with_tails(edges: FloatArray, masses: FloatArray, ends: FloatArray, deviation: float) -> Rows:
    tails = np.maximum(ends, TAIL_SHARE * _LEAST_TAIL)
    masses = np.maximum(masses, 0.0, out=masses)
    total = masses.sum(axis=1, keepdims=True) + tails.sum(axis=1, keepdims=True)
    masses /= total
    return Rows(edges, masses, tails / total, np.full(tails.shape, deviation / 3.0))


def _normal(z: FloatArray) -> FloatArray:
    """The normal component's cdf at z, times its share; single precision leaves errors of 1e-9."""
    import torch

    value: FloatArray = torch.erf(torch.from_numpy((z * np.sqrt(0.5)).astype(np.float32))).numpy().astype(np.float64)
    value += 1.0
    value *= 0.5 * TAIL_SHARE
    return value


def _cdf_of_quantiles(quantiles: FloatArray, at: FloatArray) -> FloatArray:
    """Piecewise linear cdf through quantiles (b, q) at points (b, p); 0 before the first, 1 from the last on."""
    cell = np.clip(search_rows(quantiles, at, "right") - 1, 0, quantiles.shape[1] - 2)
    left, right = pick(quantiles, cell), pick(quantiles, cell + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (at - left) / (right - left)
    share = np.where(right > left, np.clip(share, 0.0, 1.0), at >= right)
    value: FloatArray = _REACHED[cell] + share * np.diff(_REACHED)[cell]
    return value
