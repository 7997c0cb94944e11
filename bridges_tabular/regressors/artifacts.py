"""Saved models: folders of JSON and safetensors, written whole or not at all; never a pickle."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

from bridges_tabular.core.arrays import ArrayError, Arrays
from bridges_tabular.regressors.engine import NotTrusted
from bridges_tabular.regressors.folders import MANIFEST_FILE, find, read_file, read_manifest
from bridges_tabular.regressors.lines import in_one_line

STATE_FILE = "bridge.json"
ARRAYS_FILE = "arrays.safetensors"
FORMAT_VERSION = 4
# categories and settings: no table of a person's comes near it
_LARGEST_STATE = 1 << 25

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
    folder, manifest = _read_manifest(directory)
    name = manifest["class"]
    if name not in _MODULES:
        raise ValueError(f"{folder / MANIFEST_FILE} is of a {name}, expected {' or '.join(_MODULES)}")
    return getattr(import_module(_MODULES[name]), name).load(directory, trusted)


def load_within(directory: str | Path, name: str, trusted: Collection[str] = ()) -> Any:
    """Load a regressor that was saved as a part of another, in the folder ``name`` of it.

    Raises
    ------
    FileNotFoundError, ValueError
        Those of :func:`load`, and if the manifest of the part is not the one that was saved with the whole.
    """
    folder, manifest = _read_manifest(directory)
    read_file(folder, f"{name}/{MANIFEST_FILE}", manifest, sys.maxsize)
    return load(folder / name, trusted)


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


@contextmanager
def opened(directory: str | Path, class_name: str) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """Yield the state and the arrays of a saved model, see :func:`read`, to rebuild it from in the block.

    Raises
    ------
    FileNotFoundError, ValueError
        Those of :func:`read`. In one line that names the file, too, for whatever the block raises, and for arrays that
        it has not taken.
    """
    state, arrays = read(directory, class_name)
    folder, given = find(directory), Arrays(arrays)
    try:
        yield state, given
        given.check_all_taken()
    except ArrayError as error:
        raise ValueError(f"{folder / ARRAYS_FILE}: {error}") from None
    except NotTrusted as error:
        raise ValueError(f"{folder / STATE_FILE}: {error}") from None
    except ImportError:
        raise
    # of any kind: it comes from whatever the file says
    except Exception as error:
        raise ValueError(f"{folder / STATE_FILE} does not describe a {class_name}: {in_one_line(error)}") from None


def read(directory: str | Path, class_name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the state and the arrays of a saved model, checked before either is parsed.

    Raises
    ------
    FileNotFoundError
        If the folder, or a file of it, does not exist.
    ValueError
        If it holds another class than ``class_name``, a format this version does not know, or a file that is not as it
        was saved.
    """
    folder, manifest = _read_manifest(directory)
    if manifest["class"] != class_name:
        raise ValueError(f"{folder / MANIFEST_FILE} is of a {manifest['class']}, expected {class_name}")
    try:
        state = json.loads(read_file(folder, STATE_FILE, manifest, _LARGEST_STATE))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"{folder / STATE_FILE} is not valid JSON") from None
    if not isinstance(state, dict):
        raise ValueError(f"{folder / STATE_FILE} does not describe a saved model")
    content = read_file(folder, ARRAYS_FILE, manifest, sys.maxsize)
    try:
        return state, load_arrays(content)
    except SafetensorError as error:
        raise ValueError(f"{folder / ARRAYS_FILE} is damaged: {error}") from None


def _read_manifest(directory: str | Path) -> tuple[Path, dict[str, Any]]:
    folder = find(directory)
    manifest = read_manifest(folder)
    if manifest.get("format") != FORMAT_VERSION:
        raise ValueError(
            f"{folder / MANIFEST_FILE} has format {manifest.get('format')!r}, this version of bridges_tabular reads"
            f" {FORMAT_VERSION}"
        )
    if not isinstance(manifest.get("class"), str):
        raise ValueError(f"{folder / MANIFEST_FILE} does not describe a saved model")
    return folder, manifest


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be saved: {value!r}")
