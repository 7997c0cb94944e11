"""scikit-learn's ``available_if``, through which type checkers see the method that it decorates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

if TYPE_CHECKING:

    def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
        """Decorate a method that an object has if the check says so."""
        ...

else:
    from sklearn.utils.metaestimators import available_if

__all__ = ["available_if"]
