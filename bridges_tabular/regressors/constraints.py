"""The table of shared hyper-parameters in scikit-learn's notation."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from bridges_tabular.core.parameters import PARAMETERS, Parameter

_NUMBERS = {int: Integral, float: Real}
_CLOSED = {(True, True): "both", (True, False): "left", (False, True): "right", (False, False): "neither"}


def constraints(*names: str, optional: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """What some of :data:`~bridges_tabular.core.parameters.PARAMETERS` may be, for ``_parameter_constraints``.

    Parameters
    ----------
    *names : str
    optional : tuple of str
        Names of further ones, for which a regressor takes None too: its own default.

    Examples
    --------
    >>> str(constraints("n_bins")["n_bins"][0])
    'an int in the range [2, 4096]'
    """
    own = {name: _constraint(PARAMETERS[name]) for name in names}
    return own | {name: [*_constraint(PARAMETERS[name]), None] for name in optional}


def _constraint(parameter: Parameter) -> list[Any]:
    if parameter.kind is str:
        allowed: Any = StrOptions(set(parameter.choices))
    else:
        kind = _NUMBERS[parameter.kind]
        low = parameter.low if parameter.least is None else parameter.least
        high = parameter.high if parameter.most is None else parameter.most
        left = parameter.least is not None or parameter.closed in ("left", "both")
        right = parameter.most is not None or parameter.closed in ("right", "both")
        allowed = Interval(kind, low, high, closed=_CLOSED[left, right])
    return [allowed, None] if parameter.optional else [allowed]
