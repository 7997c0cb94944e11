"""Saved models: folders of JSON and safetensors, written whole or not at all; never a pickle."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

from bridges_tabular.core.arrays import ArrayError, Arrays
from bridges_tabular.regressors.engine import NotTrusted
from bridges_tabular.regressors.folders import (
    LARGEST_MANIFEST,
    MANIFEST_FILE,
    check_content,
    parse_manifest,
    read_together,
)
from bridges_tabular.regressors.lines import in_one_line

STATE_FILE = "bridge.json"
ARRAYS_FILE = "arrays.safetensors"
FORMAT_VERSION = 4
# bytes of the files that a model is read from; of a state there are categories and settings, and no table of a person's
# comes near it
_LARGEST = {STATE_FILE: 1 << 25, ARRAYS_FILE: sys.maxsize, MANIFEST_FILE: LARGEST_MANIFEST}

# the only classes a folder may name: loading must never import what a file asks for
_MODULES = {
    "AutoBridgeRegressor": "bridges_tabular.auto",
    "ClassifierBridgeRegressor": "bridges_tabular.classifiers",
    "PooledBridgeRegressor": "bridges_tabular.pooling",
    "TabularBridgeRegressor": "bridges_tabular.tabular",
    "XGBBridgeRegressor": "bridges_tabular.boosting",
}
_RECORDED_LIBRARIES = ("bridges_tabular", "numpy", "pandas", "pytorch_tabular", "sklearn", "torch", "xgboost")


def load(directory: str | Path, trusted: Collection[str] = ()) -> Any:
    """Load a saved regressor of any engine.

    Parameters
    ----------
    directory : path
        A folder written by a regressor's ``save``.
    trusted : collection of str
        Import paths of classes of your own that the model was made with. Others that it names are not imported.

    Raises
    ------
    FileNotFoundError
        If the folder, or a file of it, does not exist.
    ValueError
        If it holds a class or a format this version does not know, or a file that is not as it was saved.
    """
    return _rebuilt(Saved.read(directory, _MODULES), trusted)


def load_within(saved: Saved, name: str, trusted: Collection[str] = ()) -> Any:
    """Load a regressor that was saved as a part of another, in the folder ``name`` of it.

    Raises
    ------
    FileNotFoundError, ValueError
        Those of :func:`load`.
    """
    return _rebuilt(saved.part(name, _MODULES), trusted)


@dataclass(frozen=True)
class Saved:
    """The files of a saved model, with those of its parts, all of one save and checked before any is parsed.

    Attributes
    ----------
    folder : Path
        Where they were.
    manifest : dict
    files : dict of bytes
        Contents by name.
    """

    folder: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, directory: str | Path, classes: Collection[str]) -> Self:
        """Read a folder that holds a model of one of some classes.

        Raises
        ------
        FileNotFoundError
            If the folder, or a file of it, does not exist.
        ValueError
            If it holds another class, a format this version does not know, or a file that is not as it was saved.
        """

        def wanted(folder: Path, manifest: Mapping[str, Any]) -> dict[str, int]:
            _check_header(folder, manifest, classes)
            parts = {name: _LARGEST.get(name.rpartition("/")[2]) for name in manifest["files"]}
            own = {name: _LARGEST[name] for name in (STATE_FILE, ARRAYS_FILE)}
            return own | {name: most for name, most in parts.items() if most is not None}

        return cls(*read_together(directory, wanted))

    def part(self, name: str, classes: Collection[str]) -> Self:
        """The files of a model that was saved in a folder of this one.

        Raises
        ------
        FileNotFoundError, ValueError
            Those of :meth:`read`.
        """
        folder, start = self.folder / name, f"{name}/"
        files = {path.removeprefix(start): content for path, content in self.files.items() if path.startswith(start)}
        for own in (MANIFEST_FILE, STATE_FILE, ARRAYS_FILE):
            if own not in files:
                raise FileNotFoundError(f"{folder / own} does not exist: the saved model is incomplete")
        manifest = parse_manifest(folder / MANIFEST_FILE, files.pop(MANIFEST_FILE))
        _check_header(folder, manifest, classes)
        for own, content in files.items():
            check_content(folder / own, content, manifest, own)
        return type(self)(folder, manifest, files)

    def content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """State and arrays.

        Raises
        ------
        ValueError
            If they are none.
        """
        try:
            state = json.loads(self.files[STATE_FILE])
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            raise ValueError(f"{self.folder / STATE_FILE} is not valid JSON") from None
        if not isinstance(state, dict):
            raise ValueError(f"{self.folder / STATE_FILE} does not describe a saved model")
        try:
            return state, load_arrays(self.files[ARRAYS_FILE])
        except SafetensorError as error:
            raise ValueError(f"{self.folder / ARRAYS_FILE} is damaged: {error}") from None

    @contextmanager
    def opened(self) -> Iterator[tuple[dict[str, Any], Arrays]]:
        """Yield state and arrays to rebuild the model from in the block.

        Raises
        ------
        ValueError
            Those of :meth:`content`. In one line that names the file, too, for whatever the block raises, and for
            arrays that it has not taken.
        """
        state, arrays = self.content()
        given = Arrays(arrays)
        try:
            yield state, given
            given.check_all_taken()
        except ArrayError as error:
            raise ValueError(f"{self.folder / ARRAYS_FILE}: {error}") from None
        except NotTrusted as error:
            raise ValueError(f"{self.folder / STATE_FILE}: {error}") from None
        except ImportError:
            raise
        # of any kind: it comes from whatever the file says
        except Exception as error:
            said = f"does not describe a {self.manifest['class']}: {in_one_line(error)}"
            raise ValueError(f"{self.folder / STATE_FILE} {said}") from None


def header(model: object) -> dict[str, Any]:
    """What a manifest says of a model: its class, the format's version and the libraries in use."""
    versions = {
        name: sys.modules[name].__version__
        for name in _RECORDED_LIBRARIES
        if hasattr(sys.modules.get(name), "__version__")
    }
    return {
        "class": type(model).__name__,
        "format": FORMAT_VERSION,
        "versions": {"python": sys.version.split()[0], **versions},
    }


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` as JSON.

    Raises
    ------
    TypeError, ValueError
        If it holds what JSON cannot: objects, NaN, infinity.
    """
    text = json.dumps(state, indent=1, allow_nan=False, default=_plain_number)
    (folder / STATE_FILE).write_text(text + "\n", encoding="utf-8")


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as safetensors, bit for bit."""
    content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    # safetensors' own files are readable by their owner alone
    (folder / ARRAYS_FILE).write_bytes(content)


def _rebuilt(saved: Saved, trusted: Collection[str]) -> Any:
    name = saved.manifest["class"]
    return getattr(import_module(_MODULES[name]), name)._from_saved(saved, trusted)


def _check_header(folder: Path, manifest: Mapping[str, Any], classes: Collection[str]) -> None:
    path, name = folder / MANIFEST_FILE, manifest.get("class")
    if manifest.get("format") != FORMAT_VERSION:
        found = f"has format {manifest.get('format')!r}, this version of bridges_tabular reads {FORMAT_VERSION}"
        raise ValueError(f"{path} {found}")
    if not isinstance(name, str):
        raise ValueError(f"{path} does not describe a saved model")
    if name not in classes:
        raise ValueError(f"{path} is of a {name}, expected {' or '.join(classes)}")


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be saved: {value!r}")
