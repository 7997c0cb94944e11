"""Names that a configuration may hold: the known ones, and classes of one's own by their import path."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from bridges_tabular.regressors.words import near_miss


def unknown(where: str, name: object, known: Iterable[str]) -> str:
    """One line that says that a name is unknown, which one may have been meant, and the choices."""
    choices = [choice for choice in known if choice[0] != "_"]
    near = near_miss(name, choices)
    hint = "" if near is None else f"did you mean {near!r}? "
    return f"{where}: unknown {name!r}; {hint}choices: {', '.join(choices)}"


def import_class(path: str, base: type, where: str, known: Iterable[str]) -> Any:
    """The subclass of ``base`` at an import path such as ``my_package.my_module.MyHead``.

    Raises
    ------
    ValueError
        If the path leads nowhere, or to something else; a name without a dot is taken for a misspelt choice.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError(unknown(where, path, [*known, f"the import path of a {base.__name__}"]))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}: cannot import {path!r}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{where}: {path} is no subclass of {base.__module__}.{base.__name__}")
    return found
