"""Estimators of other libraries: made by import path, refused in a line, saved by skops instead of pickle."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.regressors.engine import NotTrusted
from bridges_tabular.regressors.words import hint, one_line, shown

# estimators are written for whole numbers of a machine word
_BITS = 64
# part of scikit-learn's own estimators, and no code by themselves: what they wrap or stand for is listed beside them
_TRUSTED = ("functools.partial", "numpy.dtype")


@contextmanager
def refusals(estimator: Any, *errors: type[Exception]) -> Iterator[None]:
    """Say in a line what an estimator refuses, and that it does; its own error, which may be of many, is the cause.

    Parameters
    ----------
    estimator : object
    *errors : type
        Kinds of errors beside TypeError and ValueError.
    """
    refused: tuple[type[Exception], ...] = (TypeError, ValueError, *errors)
    try:
        yield
    except refused as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        said = one_line(" ".join(str(error).split()))
        raise kind(f"{type(estimator).__name__} refuses the table: {said}") from error


def imported(path: str, methods: Sequence[str], what: str) -> type[Any]:
    """The class of an estimator by its import path.

    Raises
    ------
    ValueError
        If there is none, or it lacks one of the methods; ``what`` is how to call one that has them.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name) if module else None
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"estimator: cannot import {shown(path)}: {one_line(str(error))}") from None
    if not (isinstance(found, type) and all(hasattr(found, method) for method in methods)):
        listed = f"{', '.join(methods[:-1])} and {methods[-1]}"
        raise ValueError(f"estimator: {shown(path)} is not the import path of a {what} with {listed}")
    return found


def made(kind: type[Any], params: Mapping[str, Any]) -> Any:
    """An estimator with parameters, those of its parts under scikit-learn's names: ``part__name``.

    Raises
    ------
    ValueError
        In one line, if it has no such parameter, or refuses the value before it is fitted.
    """
    check_sizes(params)
    own = {name: value for name, value in params.items() if "__" not in name}
    try:
        if any(one.kind is one.VAR_KEYWORD for one in inspect.signature(kind).parameters.values()):
            # such a constructor takes anything
            known = {*kind().get_params(), *_aliases(kind)}
            for name in own:
                if name not in known:
                    raise TypeError(f"{kind.__name__} has no parameter {shown(name)}{hint(name, known)}")
        estimator = kind(**own)
        parts = {name: value for name, value in params.items() if name not in own}
        if parts:
            estimator.set_params(**parts)
        check_values(estimator)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(one_line(" ".join(str(error).split()))) from None
    return estimator


def check_sizes(params: Mapping[str, Any]) -> None:
    """Refuse whole numbers that no machine word holds.

    Raises
    ------
    ValueError
        In one line that names the parameter.
    """
    for name, value in params.items():
        if isinstance(value, int) and value.bit_length() >= _BITS:
            raise ValueError(f"{name} must be a whole number of less than {_BITS} bits")


def check_values(estimator: Any) -> None:
    """Let scikit-learn's own estimators check what they were given, as they do before they fit."""
    if hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()


def weighted(estimator: Any, weight: NDArray[np.float64] | None, where: str) -> dict[str, NDArray[np.float64]]:
    """Weights of rows by the name under which ``fit`` takes them.

    Raises
    ------
    ValueError
        In one line that begins with ``where``, if it takes none.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> list(weighted(make_pipeline(Ridge()), np.ones(2), "estimator"))
    ['ridge__sample_weight']
    """
    if weight is None:
        return {}
    # those of a pipeline are of its last step
    name, last = "sample_weight", estimator
    while hasattr(last, "steps"):
        step, last = last.steps[-1]
        name = f"{step}__{name}"
    taken = inspect.signature(last.fit).parameters
    # what a search or an ensemble takes beside its own goes to what it fits
    if "sample_weight" not in taken and all(one.kind is not one.VAR_KEYWORD for one in taken.values()):
        needed = "which weights and exposure need"
        raise ValueError(f"{where}: {type(estimator).__name__}.fit takes no sample_weight, {needed}")
    return {name: weight}


def dump(estimator: Any) -> NDArray[np.uint8]:
    """What skops writes of a fitted estimator.

    Raises
    ------
    ImportError
        If skops is not installed.
    ValueError
        If it cannot be written without pickle.
    """
    skops = _skops(type(estimator).__name__)
    try:
        return np.frombuffer(skops.dumps(estimator), dtype=np.uint8)
    # of any kind: it comes from whatever the estimator holds
    except Exception as error:
        said = one_line(" ".join(str(error).split()))
        raise ValueError(f"{type(estimator).__name__} cannot be saved without pickle: {said}") from error


def restored(content: bytes, trusted: Collection[str], what: str) -> Any:
    """The estimator that :func:`dump` wrote; types that are not scikit-learn's have to be trusted by name.

    Raises
    ------
    NotTrusted
        If it holds other types; ``what`` is how to call it.
    """
    skops = _skops(what)
    held = skops.get_untrusted_types(data=content)
    own = [name for name in held if name.startswith("sklearn.") or name in _TRUSTED]
    foreign = [name for name in held if name not in own and name not in trusted]
    if foreign:
        raise NotTrusted(f"the saved {what} holds {', '.join(foreign)}: name them in trusted to load them")
    return skops.loads(content, trusted=held)


def _aliases(kind: type[Any]) -> set[str]:
    """LightGBM's further names of its parameters."""
    if not any(base.__module__.startswith("lightgbm.") for base in kind.__mro__):
        return set()
    from lightgbm import basic

    known = getattr(basic, "_ConfigAliases", None)
    if known is None:
        return set()
    known.get()
    return {name for name, others in known.aliases.items() for name in (name, *others)}


def _skops(what: str) -> Any:
    try:
        return import_module("skops.io")
    except ImportError as error:
        raise ImportError(f'a saved {what} needs skops: pip install "bridges-tabular[skops]"') from error
