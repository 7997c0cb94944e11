"""The bridge's objective for trees with vector leaves: gradients in the margins, in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]

# keeps a leaf's Newton step finite where every row has already decided for or against a class
_SMALLEST_HESSIAN = 1e-6
_SMALLEST_REDUCED_HESSIAN = 1e-4
# numbers in a block of probabilities: 512 KiB, which a processor's cache holds
_BLOCK_SIZE = 1 << 17
# changes of logits of this size neither overflow nor vanish in float32
_SAFE_LOGIT = 40.0


@dataclass(frozen=True)
class ClassLogits:
    """How margins become logits of k classes: z = offsets + basis f.

    Attributes
    ----------
    offsets : array of shape (k,)
        Logits before the first tree.
    basis : array of shape (k, r), or None
        None stands for the identity: r = k margins, one for each class.
    """

    offsets: Single
    basis: Single | None

    @property
    def n_margins(self) -> int:
        """Number r of margins."""
        return len(self.offsets) if self.basis is None else self.basis.shape[1]

    def probabilities(self, margins: Single) -> Single:
        """Probabilities of shape (n, k) for margins of shape (n, r)."""
        p = self.unnormalised(margins)
        p /= p.sum(axis=1, keepdims=True)
        return p

    def unnormalised(self, margins: Single) -> Single:
        """Probabilities up to a factor for each row, of shape (n, k)."""
        odds, factors = self.odds(margins)
        return odds if factors is None else np.multiply(odds, factors, out=odds)

    def odds(self, margins: Single) -> tuple[Single, Single | None]:
        """Numbers (n, k) that are probabilities up to a factor for each row, and one for each class if not None."""
        # not torch: its threads and those of XGBoost, taking turns, slow each other down severalfold
        changes = margins.copy() if self.basis is None else margins @ self.basis.T
        if self._largest_change(margins) <= _SAFE_LOGIT:
            return np.exp(changes, out=changes), self._prior
        changes += self.offsets
        changes -= changes.max(axis=1, keepdims=True)
        return np.exp(changes, out=changes), None

    def _largest_change(self, margins: Single) -> float:
        if self.basis is None:
            return float(max(margins.max(initial=0), -margins.min(initial=0)))
        return float((np.abs(margins) @ np.abs(self.basis).max(axis=0)).max(initial=0))

    @cached_property
    def _prior(self) -> Single:
        prior: Single = np.exp(self.offsets - self.offsets.max())
        return prior

    def blocks(self, n: int) -> Iterator[slice]:
        """Blocks of n rows whose probabilities fit a processor's cache."""
        size = max(1, _BLOCK_SIZE // len(self.offsets))
        for start in range(0, n, size):
            yield slice(start, min(start + size, n))


class Codes(Protocol):
    """Psi of targets, multiplied by the basis of the logits if there is one: an array, or what makes blocks of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, r)."""
        ...

    def __getitem__(self, rows: slice, /) -> Single:
        """Those of some rows."""
        ...


class BridgeGradients:
    """b KL(psi || pi) + c (y - mu.pi)^2 of every row, as a gradient and a diagonal hessian in the margins.

    With p = softmax(z) and m = mu.p, the gradient in the logits is b (p - psi) + 2 c (m - y) p (mu - m). The
    hessian is that of the first term and the Gauss-Newton approximation of the second's, both diagonal:
    b p (1 - p) + 2 c (p (mu - m))^2. Margins f with z = offsets + Phi f take the gradient Phi' g and
    b (p.Phi^2 - (p.Phi)^2) + 2 c (dm / df)^2. The derivation is ours; tests check it against automatic
    differentiation of :class:`~bridges_tabular.core.objective.BridgeObjective`.

    Parameters
    ----------
    logits : ClassLogits
    codes : Codes of shape (n, r)
        Of the training targets.
    y : array of shape (n,)
        Training targets, in the units of ``values``.
    values : array of shape (k,)
        The decoder's value mu of every class.
    alignment_weight, regression_weight : float
        The weights b and c.
    sample_weight : array of shape (n,), optional
    directions : array of shape (k, d), optional
        What the search for splits sees of the gradient instead of its r columns, which would make it r times as
        slow as in plain regression; the leaves still get r values. See :func:`split_directions`.
    """

    def __init__(
        self,
        logits: ClassLogits,
        codes: Codes,
        y: Single,
        values: Single,
        *,
        alignment_weight: float = 1.0,
        regression_weight: float = 0.0,
        sample_weight: NDArray[np.float64] | None = None,
        directions: Single | None = None,
    ) -> None:
        self.logits = logits
        self.codes = codes
        self.values = values
        self._y = y
        self._alignment_weight = alignment_weight
        self._regression_weight = regression_weight
        self._weight = None if sample_weight is None else sample_weight.astype(np.float32)[:, None]
        self._directions = directions

    def at(self, iteration: int, margins: Single) -> tuple[Single, Single]:
        """Gradient and diagonal hessian in the margins before a round, counted from 0; all of shape (n, r)."""
        margins = margins.reshape(self.codes.shape)
        grad, hess = np.empty_like(margins), np.empty_like(margins)
        self._design = self._moments_of()
        derivatives = self._full if self.logits.basis is None else self._reduced
        for rows in self.logits.blocks(len(margins)):
            derivatives(rows, margins[rows], grad[rows], hess[rows])
        if self._weight is not None:
            grad *= self._weight
            hess *= self._weight
        return grad, hess

    def for_splits(self, grad: Single, hess: Single) -> tuple[Single, Single] | None:
        """What the search for splits sees: both along the directions, of shape (n, d); None for all as they are."""
        if self._directions is None:
            return None
        return grad @ self._directions, hess @ self._directions**2

    def _full(self, rows: slice, margins: Single, grad: Single, hess: Single) -> None:
        p = self.logits.probabilities(margins)
        np.subtract(p, self.codes[rows], out=grad)
        np.multiply(p, 1 - p, out=hess)
        if self._alignment_weight != 1:
            grad *= self._alignment_weight
            hess *= self._alignment_weight
        if self._regression_weight:
            mean = p @ self.values
            p *= self.values - mean[:, None]
            grad += (2 * self._regression_weight * (mean - self._y[rows]))[:, None] * p
            p *= p
            p *= 2 * self._regression_weight
            hess += p
        np.maximum(hess, _SMALLEST_HESSIAN, out=hess)

    def _reduced(self, rows: slice, margins: Single, grad: Single, hess: Single) -> None:
        odds, factors = self.logits.odds(margins)
        moments = odds @ (self._design if factors is None else factors[:, None] * self._design)
        moments[:, 1:] /= moments[:, :1]
        r = margins.shape[1]
        first, second = moments[:, 1 : 1 + r], moments[:, 1 + r : 1 + 2 * r]
        np.subtract(first, self.codes[rows], out=grad)
        np.subtract(second, first**2, out=hess)
        if self._alignment_weight != 1:
            grad *= self._alignment_weight
            hess *= self._alignment_weight
        if self._regression_weight:
            mean = moments[:, -1:]
            slope = moments[:, 1 + 2 * r : -1] - mean * first
            grad += 2 * self._regression_weight * (mean - self._y[rows, None]) * slope
            hess += 2 * self._regression_weight * slope**2
        np.maximum(hess, _SMALLEST_REDUCED_HESSIAN, out=hess)

    def _moments_of(self) -> Single:
        """What probabilities are multiplied by, to get all moments of a row at once: (k, columns)."""
        basis, values = self.logits.basis, self.values[:, None]
        if basis is None:
            return values
        columns = [np.ones_like(values), basis, basis**2]
        if self._regression_weight:
            columns += [values * basis, values]
        return np.concatenate(columns, axis=1)


def split_directions(values: NDArray[np.float64], masses: NDArray[np.float64], degree: int = 1) -> Single:
    """Polynomials of the classes' values, orthonormal under the classes' masses.

    Degree 1 is the direction of the decoded mean, degree 2 that of the spread.

    Parameters
    ----------
    values : array of shape (k,)
        Decoded value of every class.
    masses : array of shape (k,)
        Positive; the share of the training rows in every class.
    degree : int, default=1
        At most k - 1 are used.

    Returns
    -------
    array of shape (k, min(degree, k - 1))
    """
    return _polynomials(values - values @ masses, masses, degree)


def index_polynomials(k: int, rank: int) -> Single:
    """Legendre polynomials of degree 1 to ``rank`` over the class index, orthonormal over the k classes.

    Returns
    -------
    array of shape (k, min(rank, k - 1))
    """
    return _polynomials(np.linspace(-1, 1, k), np.full(k, 1.0), rank)


def _polynomials(at: NDArray[np.float64], masses: NDArray[np.float64], degree: int) -> Single:
    degree = min(degree, len(at) - 1)
    root = np.sqrt(masses)[:, None]
    orthonormal, _ = np.linalg.qr(np.polynomial.legendre.legvander(at / np.abs(at).max(), degree) * root)
    return np.ascontiguousarray(orthonormal[:, 1:] / root, dtype=np.float32)
