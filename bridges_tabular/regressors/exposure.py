"""Rows that were observed for different lengths of time: a rate is learned, and totals are predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.regressors.words import shown

Floats = NDArray[np.float64]


def check_exposure(exposure: Any, n: int, name: str = "exposure") -> Floats:
    """Return exposures as positive numbers of shape (n,); a single number is that of every row.

    Raises
    ------
    ValueError
        In one line that calls them ``name``, if there are not n of them, or any is not positive or not finite.
    """
    try:
        given = np.asarray(exposure, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} holds what is no number: {error}") from None
    if given.ndim == 0:
        given = np.full(n, float(given))
    if given.shape != (n,):
        raise ValueError(f"{name} has shape {given.shape}, expected ({n},)")
    wrong = np.flatnonzero(~(np.isfinite(given) & (given > 0)))
    if wrong.size:
        raise ValueError(f"{name} holds {given[wrong[0]]:g} in row {wrong[0]}: an exposure is a positive number")
    return given


def rates(y: Floats, exposure: Floats, name: str) -> Floats:
    """Totals of shape (n, t) for each unit of exposure.

    Raises
    ------
    ValueError
        If one is beyond what a float holds; ``name`` is how to call the exposures.
    """
    with np.errstate(over="ignore"):
        found: Floats = y / exposure[:, None]
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if wrong.size:
        row = wrong[0]
        raise ValueError(f"{name} holds {exposure[row]:g} in row {row}: {shown(float(y[row, 0]))} over it is infinite")
    return found


def scaled(numbers: Floats, exposure: Any) -> Floats:
    """Numbers of shape (n, ...) for each unit of exposure, for exposures of n rows; as they are without any."""
    if exposure is None:
        return numbers
    factor = check_exposure(exposure, len(numbers))
    return numbers * factor.reshape(-1, *[1] * (numbers.ndim - 1))


def scaled_distribution(distribution: BinnedDistribution, exposure: Any) -> BinnedDistribution:
    """Distributions of n rows for each unit of exposure, for exposures of n rows; as they are without any."""
    if exposure is None:
        return distribution
    return distribution.affine(check_exposure(exposure, len(distribution)), 0.0)
