"""What is drawn from rows that lie in many partitions: a number for every row, whichever worker has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TRAINING, VALIDATION, CONFORMAL = range(3)
# of a sample, how many times its share a partition sends, so that all of them together hold it
_SPARE = 4


class Draws(NamedTuple):
    """What is drawn for the n rows of a partition."""

    keys: Floats
    """(n,) in [0, 1): the smallest ones of all rows are a sample of them, a quarter of the interval is a fold."""
    roles: NDArray[np.uint8]
    """(n,): TRAINING, VALIDATION or CONFORMAL."""


def drawn(n: int, seed: Sequence[int], validation: float | None, conformal: float | None) -> Draws:
    """Draw for the n rows of a partition; which other partitions there are, and where, makes no difference.

    Parameters
    ----------
    n : int
    seed : sequence of int
        Another one for each partition.
    validation, conformal : float or None
        Shares of the rows to hold out. Of one partition as many rows are, rounded up or down at random.
    """
    random = np.random.default_rng(seed)
    keys, order, chances = random.random(n), random.permutation(n), random.random(2)
    roles = np.full(n, TRAINING, dtype=np.uint8)
    apart = 0 if conformal is None else math.floor(n * conformal + chances[0])
    watched = 0 if validation is None else math.floor((n - apart) * validation + chances[1])
    roles[order[:apart]] = CONFORMAL
    roles[order[apart : apart + watched]] = VALIDATION
    return Draws(keys, roles)


def spared(most: int, parts: int) -> int:
    """How many of its smallest keys each of so many parts gives, for a sample of ``most`` rows of all."""
    return most if parts <= _SPARE else math.ceil(_SPARE * most / parts)


def limit(keys: Floats, given: int) -> float:
    """The largest key up to which a part that gives its smallest ones gives all; infinite if it gives all there are."""
    return math.inf if len(keys) <= given else float(np.partition(keys, given - 1)[given - 1])


def smallest(keys: Floats, below: float, most: int) -> NDArray[np.intp]:
    """Positions of a sample of at most ``most`` rows in the order of their keys, none beyond ``below``."""
    order = np.argsort(keys)
    found: NDArray[np.intp] = order[: np.searchsorted(keys[order], below, side="right")][:most]
    return found
