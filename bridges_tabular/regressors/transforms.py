"""What a target may be turned into before it is standardised: increasing functions of one number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, StrOptions

from bridges_tabular.regressors.words import one_line, shown

Floats = NDArray[np.float64]

NAMED = ("log", "sqrt", "yeo-johnson")
# in scikit-learn's notation, for _parameter_constraints
UNIT_CONSTRAINTS: dict[str, Any] = {
    "support": [tuple, list, None],
    "target_transform": [StrOptions(set(NAMED)), HasMethods(["fit", "transform", "inverse_transform"]), None],
}
# a power this close to 0 is its limit, the logarithm
_EPSILON = np.finfo(np.float64).eps
# beyond it a power is next to an exponential, or next to its end
_LAMBDAS = (-3.0, 5.0)
# of the range of the targets
_SAME = 1e-6


@dataclass(frozen=True)
class Transform:
    """An increasing function of a target and its inverse, both of arrays.

    Attributes
    ----------
    forward, backward : callable
    low : float
        The target below which there is nothing to transform.
    state : array of shape (s,) or None
        What was fitted; None where it cannot be saved.
    takes : str
        What targets it takes, for an error.
    """

    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]
    low: float = -np.inf
    state: Floats | None = None
    takes: str = "no such number"


def check_units(support: Any, target_transform: Any) -> None:
    """Refuse a support that is none; what a transform may be is in :data:`UNIT_CONSTRAINTS`.

    Raises
    ------
    ValueError
        In one line that names the parameter.
    """
    high = ends(support)[1]
    start = {"log": 0.0, "sqrt": 0.0}.get(target_transform) if isinstance(target_transform, str) else None
    if start is not None and high <= start:
        raise ValueError(f"support={shown(support)} leaves no targets that target_transform={target_transform!r} takes")


def ends(support: Any) -> tuple[float, float]:
    """The two ends of a support, infinite where it has none.

    Raises
    ------
    ValueError
        If it is not a pair of a lower and a higher number.
    """
    if support is None:
        return -np.inf, np.inf
    number = [one is None or (isinstance(one, Real) and not isinstance(one, bool) and one == one) for one in support]
    if len(number) != 2 or not all(number):
        raise ValueError(f"support must be a pair (low, high) of numbers, None for no end, got {shown(support)}")
    low, high = (float(end if one is None else one) for one, end in zip(support, (-np.inf, np.inf), strict=True))
    if not low < high:
        raise ValueError(f"support must begin below its end, got {shown(support)}")
    return low, high


def named(name: str, state: Floats | None = None) -> Transform:
    """One of :data:`NAMED`, with the state that it was fitted with."""
    if name == "log":
        return Transform(_log, np.exp, 0.0, np.empty(0), "positive numbers")
    if name == "sqrt":
        return Transform(np.sqrt, _square, 0.0, np.empty(0), "numbers of at least 0")
    assert state is not None
    own = dict(zip(("power", "mean", "scale"), state.tolist(), strict=True))
    return Transform(partial(_yeo_johnson, **own), partial(_inverse_yeo_johnson, **own), state=state)


def fitted(target_transform: Any, y: Floats) -> Transform:
    """The transform of training targets (n,) that a regressor's parameter asks for.

    Yeo-Johnson's power is that of the greatest likelihood of the standardised targets, so that units have no effect.

    Raises
    ------
    ValueError
        In one line, if it cannot take the targets, or does not increase and turn back.
    """
    if isinstance(target_transform, str):
        if target_transform != "yeo-johnson":
            return named(target_transform)
        mean, scale = float(y.mean()), float(y.std()) or 1.0
        standard = (y - mean) / scale
        power = float(stats.yeojohnson_normmax(standard)) if np.ptp(y) > 0 else 1.0
        return named(target_transform, np.array([np.clip(power, *_LAMBDAS), mean, scale]))
    return _of_scikit_learn(target_transform, y)


def _of_scikit_learn(transformer: Any, y: Floats) -> Transform:
    try:
        own = clone(transformer).fit(y[:, None])
    # of any kind: it comes from whatever the transformer does
    except Exception as error:
        raise _refused(transformer, error) from None
    return of_fitted(own, y)


def of_fitted(transformer: Any, y: Floats) -> Transform:
    """The transform of a fitted transformer of scikit-learn, checked on targets (n,).

    Raises
    ------
    ValueError
        In one line, if it cannot take the targets, or does not increase and turn back.
    """
    called = f"target_transform={shown(transformer)}"
    forward, backward = partial(_by, transformer.transform), partial(_by, transformer.inverse_transform)
    values = np.unique(y)
    try:
        there = forward(values)
        back = backward(there)
    except Exception as error:
        raise _refused(transformer, error) from None
    if not np.isfinite(there).all():
        raise ValueError(f"{called} makes {there[~np.isfinite(there)][0]} of y={values[~np.isfinite(there)][0]:g}")
    if (np.diff(there) < 0).any():
        raise ValueError(f"{called} must increase with y")
    off = np.abs(back - values)
    if not (off <= _SAME * max(np.ptp(values), np.finfo(float).tiny)).all():
        worst = np.nanargmax(np.where(np.isfinite(off), off, np.inf))
        raise ValueError(f"{called} must turn back what it did, and makes {back[worst]:g} of y={values[worst]:g}")
    return Transform(forward, backward)


def _refused(transformer: Any, error: Exception) -> ValueError:
    return ValueError(f"target_transform={shown(transformer)} refuses y: {one_line(' '.join(str(error).split()))}")


def _by(method: Callable[[Floats], Any], values: Floats) -> Floats:
    """What a method of scikit-learn makes of numbers of any shape."""
    return np.asarray(method(values.reshape(-1, 1)), dtype=np.float64).reshape(values.shape)


def _log(y: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(y)


def _square(t: Floats) -> Floats:
    return np.square(np.maximum(t, 0.0))


def _yeo_johnson(y: Floats, power: float, mean: float, scale: float) -> Floats:
    """Yeo and Johnson, "A new family of power transformations to improve normality or symmetry" (Biometrika, 2000)."""
    standard, rest = (y - mean) / scale, 2.0 - power
    above, below = np.maximum(standard, 0.0), np.maximum(-standard, 0.0)
    up = np.log1p(above) if abs(power) < _EPSILON else np.expm1(power * np.log1p(above)) / power
    down = np.log1p(below) if rest == 0 else np.expm1(rest * np.log1p(below)) / rest
    transformed: Floats = up - down
    return transformed


def _inverse_yeo_johnson(t: Floats, power: float, mean: float, scale: float) -> Floats:
    above, below, rest = np.maximum(t, 0.0), np.maximum(-t, 0.0), 2.0 - power
    # beyond its image a power has no inverse
    with np.errstate(divide="ignore", over="ignore"):
        up = above if abs(power) < _EPSILON else np.log1p(np.maximum(power * above, -1.0)) / power
        down = below if rest == 0 else np.log1p(np.maximum(rest * below, -1.0)) / rest
        turned: Floats = (np.expm1(up) - np.expm1(down)) * scale + mean
    return turned
