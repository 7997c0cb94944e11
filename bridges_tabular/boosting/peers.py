"""Whose rows a fit sees: all of them in one process, or a share of them in each of several workers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDS = 4


class Folds(NamedTuple):
    """Fold of each of a process's n rows, and how many folds there are."""

    of_rows: NDArray[np.int64]
    number: int


class Draw:
    """Some rows of a process: all that were drawn where there is no other.

    Attributes
    ----------
    rows : array of int
        Numbers of the process's own among the drawn rows, ascending.
    """

    def __init__(self, rows: NDArray[np.intp]) -> None:
        self.rows = rows

    def gather(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What belongs to the drawn rows of all processes, of shape (m, ...), from what belongs to its own."""
        return values


class Peers:
    """One process that has all rows.

    Every method is called by all processes of a fit, in the same order: each waits in it for the others.
    """

    def total(self, numbers: Floats) -> Floats:
        """Sums of numbers over all processes, of the same shape."""
        return numbers

    def folds(self, n: int, random: np.random.RandomState) -> Folds:
        """Divide the rows, of which n are the process's own, at random.

        Raises
        ------
        ValueError
            If there are fewer than two rows.
        """
        if n < 2:
            raise ValueError(f"n_samples = {n}: a cross-fitted location needs at least 2 training rows with a weight")
        count = min(FOLDS, n)
        folds = np.empty(n, dtype=np.int64)
        folds[random.permutation(n)] = np.arange(n) % count
        return Folds(folds, count)

    def draw(self, n: int, most: int, random: np.random.RandomState) -> Draw:
        """Draw at most so many of all rows, of which n are the process's own."""
        return Draw(np.arange(n) if n <= most else np.sort(random.permutation(n)[:most]))

    def sample(self, y: Floats, weight: Floats | None) -> tuple[Floats, Floats | None]:
        """Targets and weights to place bins by: of all rows, or of so many that more would not change them."""
        return y, weight


ALONE = Peers()
