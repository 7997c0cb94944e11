"""Saved models: folders of JSON and safetensors, written whole or not at all; never a pickle."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

STATE_FILE = "bridge.json"
ARRAYS_FILE = "arrays.safetensors"
FORMAT_VERSION = 2

# the only classes a folder may name: loading must never import what a file asks for
_MODULES = {
    "ClassifierBridgeRegressor": "bridges_tabular.classifiers",
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
        If the folder, or its ``bridge.json``, does not exist.
    ValueError
        If the folder holds a class or a format this version does not know.
    """
    name = _read_header(directory)["class"]
    if name not in _MODULES:
        raise ValueError(f"{Path(directory) / STATE_FILE} holds a {name}, expected {' or '.join(_MODULES)}")
    return getattr(import_module(_MODULES[name]), name).load(directory, trusted)


@contextmanager
def new_artifact(directory: str | Path) -> Iterator[Path]:
    """Collect a model's files in a temporary folder that becomes ``directory`` at the end of the block.

    If the block raises, nothing is left behind and what ``directory`` held stays as it was. A model that was
    saved there before is replaced.

    Yields
    ------
    path of an empty folder, beside ``directory``

    Raises
    ------
    FileExistsError
        If ``directory`` is a file, or a folder that holds something else than a saved model.
    """
    target = Path(directory).resolve()
    if target.exists():
        if not target.is_dir():
            raise FileExistsError(f"{directory} is a file, expected a folder to save in")
        if any(target.iterdir()) and not (target / STATE_FILE).exists():
            raise FileExistsError(f"{directory} holds files that are not a saved model; choose another")
    suffix = uuid.uuid4().hex
    written, replaced = (target.with_name(f".{target.name}.{kind}-{suffix}") for kind in ("new", "old"))
    written.mkdir(parents=True)
    try:
        yield written
        if target.exists():
            target.rename(replaced)
        try:
            written.rename(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise
    finally:
        shutil.rmtree(written, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_state(folder: Path, model: object, state: Mapping[str, Any]) -> None:
    """Write ``state`` as JSON, with the model's class, the format's version and the libraries in use.

    Raises
    ------
    TypeError, ValueError
        If ``state`` holds what JSON cannot: objects, NaN, infinity.
    """
    versions = {
        name: sys.modules[name].__version__
        for name in _RECORDED_LIBRARIES
        if hasattr(sys.modules.get(name), "__version__")
    }
    content = {
        "class": type(model).__name__,
        "format": FORMAT_VERSION,
        "versions": {"python": sys.version.split()[0], **versions},
        "state": state,
    }
    text = json.dumps(content, indent=1, allow_nan=False, default=_plain_number)
    (folder / STATE_FILE).write_text(text + "\n", encoding="utf-8")


def read_state(directory: str | Path, class_name: str) -> dict[str, Any]:
    """Read what :func:`write_state` wrote.

    Raises
    ------
    FileNotFoundError
        If the folder, or its ``bridge.json``, does not exist.
    ValueError
        If it holds another class than ``class_name``, or a format this version does not know.
    """
    header = _read_header(directory)
    if header["class"] != class_name:
        raise ValueError(f"{Path(directory) / STATE_FILE} holds a {header['class']}, expected {class_name}")
    state: dict[str, Any] = header["state"]
    return state


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as safetensors, bit for bit."""
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, folder / ARRAYS_FILE)


def read_arrays(directory: str | Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`write_arrays` wrote.

    Raises
    ------
    FileNotFoundError
        If the folder has no ``arrays.safetensors``.
    """
    path = Path(directory) / ARRAYS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: the saved model is incomplete")
    arrays: dict[str, NDArray[Any]] = load_file(path)
    return arrays


def _read_header(directory: str | Path) -> dict[str, Any]:
    path = Path(directory) / STATE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: {directory} is not a saved model")
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is not valid JSON") from None
    if not isinstance(header, dict) or not {"class", "format", "state"} <= header.keys():
        raise ValueError(f"{path} does not describe a saved model")
    if header["format"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {header['format']}, this version of bridges_tabular reads {FORMAT_VERSION}"
        )
    return header


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be saved: {value!r}")
