"""Makes ``models.bridge`` known to pytorch-tabular without importing it.

pytorch-tabular finds the classes named in a configuration by walking attributes from its own package, so that a
plugin has to set one there. It takes seconds to import: if it is not there yet, the attribute is set when it comes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # at run time it would bring half the standard library
    from importlib.abc import Loader

_HOST = "pytorch_tabular.models"
_ATTRIBUTE = "bridge"


class _Plugin(ModuleType):
    """Stands for ``bridges_tabular.tabular`` until one of its names is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module("bridges_tabular.tabular"), name)


class _AfterImport:
    """Finds the host package as usual, and sets the attribute once its code has run."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _HOST:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenAttach(spec.loader)  # type: ignore[assignment]
        return spec


class _ThenAttach:
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _attach(module)


def _attach(host: ModuleType) -> None:
    if not hasattr(host, _ATTRIBUTE):
        setattr(host, _ATTRIBUTE, _Plugin(f"{_HOST}.{_ATTRIBUTE}"))


def register() -> None:
    """Let pytorch-tabular find the plugin, now or as soon as it is imported."""
    host = sys.modules.get(_HOST)
    if host is not None:
        _attach(host)
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())
