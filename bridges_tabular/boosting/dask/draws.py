"""Samples of rows that lie in many places: those of the smallest keys, wherever they lie."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# how many times its share of a sample a place sends, so that all of them together hold it
_SPARE = 4


def spared(most: int, places: int) -> int:
    """How many of its smallest keys each of so many places gives, for a sample of ``most`` rows of all."""
    return most if places <= _SPARE else math.ceil(_SPARE * most / places)


def limit(keys: Floats, given: int) -> float:
    """The largest of the smallest keys that a place gives; infinite if those are all it has."""
    return math.inf if len(keys) <= given else float(np.partition(keys, given - 1)[given - 1])


def smallest(keys: Floats, below: float, most: int) -> NDArray[np.intp]:
    """Positions of at most so many of the smallest keys, in their order, none of them beyond ``below``."""
    order = np.argsort(keys)
    found: NDArray[np.intp] = order[: np.searchsorted(keys[order], below, side="right")][:most]
    return found
