"""Rows that belong together: held out, and folded, as whole groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def check_groups(groups: Any, n: int) -> NDArray[np.int64]:
    """Return groups of any values as numbers, of shape (n,).

    Raises
    ------
    ValueError
        In one line, if there are not n of them, or any is missing.
    """
    if np.shape(groups) != (n,):
        raise ValueError(f"groups has shape {np.shape(groups)}, expected ({n},)")
    codes, _ = pd.factorize(pd.Series(groups))
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        raise ValueError(f"groups holds a missing value in row {missing[0]}")
    return codes.astype(np.int64)


def ranked(groups: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
    """Place of each row's group in an order of the groups that is drawn at random, counted from 0; of shape (n,)."""
    found, codes = np.unique(groups, return_inverse=True)
    places: NDArray[np.int64] = random.permutation(len(found))[codes]
    return places
