"""What hyper-parameters may be: the table of the shared ones in scikit-learn's notation, and what it lets through."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from bridges_tabular.core.parameters import PARAMETERS, Parameter
from bridges_tabular.regressors.words import shown

_NUMBERS = {int: Integral, float: Real}
# both engines take whole numbers of 32 bits, and compute in single precision
_LARGEST_WHOLE = int(np.iinfo(np.int32).max)
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# of these, scikit-learn itself says what they may be
_OWN_TRUTHS, _OWN_NUMBERS = ("boolean", "verbose"), ("random_state",)


def check(allowed: Mapping[str, list[Any]], params: Mapping[str, Any], owner: str) -> None:
    """Refuse hyper-parameters that no fit could use.

    Parameters
    ----------
    allowed : mapping
        What each may be, in the notation of ``_parameter_constraints``.
    params : mapping
    owner : str
        Name of the class.

    Raises
    ------
    ValueError
        In one line that names the parameter, its value and what would be valid.
    """
    for name, value in params.items():
        if isinstance(value, Real | np.bool_):
            own = _OWN_TRUTHS if isinstance(value, bool | np.bool_) else _OWN_NUMBERS
            problem = None if any(one in own for one in allowed.get(name, own)) else _problem(value)
            if problem is not None:
                raise ValueError(f"The {name!r} parameter of {owner} must be {problem}. Got {shown(value)} instead.")
    validate_parameter_constraints(dict(allowed), dict(params), caller_name=owner)


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
    'an int in the range [2, 1000]'
    """
    own = {name: _constraint(PARAMETERS[name]) for name in names}
    return own | {name: [*_constraint(PARAMETERS[name]), None] for name in optional}


def _constraint(parameter: Parameter) -> list[Any]:
    if parameter.kind is str:
        allowed: Any = StrOptions(set(parameter.choices))
    else:
        kind = _NUMBERS[parameter.kind]
        allowed = Interval(kind, parameter.low, parameter.high, closed=parameter.closed)
    return [allowed, None] if parameter.optional else [allowed]


def _problem(value: Any) -> str | None:
    """What a number has to be and is not."""
    if isinstance(value, bool | np.bool_):
        return "something else than true or false"
    if isinstance(value, Integral):
        return None if abs(int(value)) <= _LARGEST_WHOLE else "of at most 32 bits"
    if value == 0 or _SMALLEST <= abs(value) <= _LARGEST:
        return None
    return f"0 or of a size between {_SMALLEST:.2g} and {_LARGEST:.2g}"
