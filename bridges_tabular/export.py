"""Fitted regressors as ONNX graphs, for places without Python or this package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.engine import Exportable
from bridges_tabular.regressors.folders import beside
from bridges_tabular.regressors.words import shown

_ENGINE = "engine."


def to_onnx(model: Any, path: str | PathLike[str], outputs: Sequence[str] | None = None) -> None:
    """Write a fitted regressor as an ONNX graph, whole or not at all; needs ``pip install "bridges-tabular[onnx]"``.

    The graph's input ``X`` is a float32 matrix of shape (n, p), columns in the order of ``fit``, NaN where a number is
    missing; how they are read is part of the graph. Its outputs are

    - ``mean`` of shape (n,), or (n, targets) where ``fit`` was given several: what ``predict`` returns, float64;
    - ``pi`` of shape (n, k), or ``pi_0``, ``pi_1`` and so on of several targets: the masses of the k classes, float32;
      not of schemes without a code.

    They agree with the model's for the same single-precision numbers, up to the rounding of single precision; trees
    are one ``TreeEnsembleRegressor`` of ``ai.onnx.ml`` a stage. Infinite numbers, which the model refuses, are not
    refused. The metadata ``columns`` and ``edges`` hold, in JSON, the names
    of the columns, and the k + 1 edges of the classes of every target in its units. Pi is smoothed by the target's
    code, and wider than the calibrated distribution, of which the graph has the mean alone: its quantiles come from
    ``predict_quantiles``.

    Parameters
    ----------
    model : TabularBridgeRegressor, or XGBBridgeRegressor of one target
        Fitted to numbers and booleans, without ``support`` and ``target_transform``; trees on their own location or
        none, not on that of another library.
    path : path
        A file there is replaced.
    outputs : sequence of str, optional
        Which of the outputs the graph is to have. Default: all.

    Raises
    ------
    TypeError
        If the model is none that can be exported.
    ValueError
        If it reads categories or dates, names the column; or has a transform, or a network or location that ONNX
        cannot hold; or for an output that there is not.
    ImportError
        If onnx is not installed.
    sklearn.exceptions.NotFittedError

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> import bridges_tabular as bt
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = bt.XGBBridgeRegressor(n_estimators=20).fit(X, y)
    >>> path = Path(mkdtemp()) / "model.onnx"
    >>> bt.to_onnx(model, path)
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(path)
    >>> (mean,) = session.run(["mean"], {"X": X.astype("float32")})
    >>> bool(abs(mean - model.predict(X)).max() < 1e-4 * y.std())
    True
    """
    if not isinstance(model, BridgeRegressor):
        raise TypeError(f"to_onnx takes a TabularBridgeRegressor or XGBBridgeRegressor, got {type(model).__name__}")
    check_is_fitted(model)
    trained = getattr(model, "_trained", None)
    if not isinstance(trained, Exportable):
        kind = type(model).__name__ + ("" if model._single else " of several targets")
        raise TypeError(f"to_onnx takes a TabularBridgeRegressor, or an XGBBridgeRegressor of one target, got {kind}")
    _check_columns(model)
    if not model.scale_.plain:
        raise ValueError(
            "to_onnx: with support or target_transform the mean is that of the calibrated distribution, which no"
            " graph holds"
        )
    names = _names(model)
    wanted = list(names.values()) if outputs is None else list(outputs)
    for name in wanted:
        if name not in names.values():
            raise ValueError(
                f"outputs: {shown(name)} is none of {', '.join(names.values())}; of the calibrated distribution a graph"
                " has the mean alone, predict_quantiles and predict_distribution have the rest"
            )
    if not wanted:
        raise ValueError(f"outputs must name some of {', '.join(names.values())}, got none")
    _check_installed()
    _write(_in_units(model, trained.to_onnx(), names, wanted), Path(path))


def _names(model: BridgeRegressor) -> dict[str, str]:
    """The graph's outputs, by their names in the engine's."""
    n_codes = len(model.codecs_)
    return {"point": "mean"} | {f"pi_{i}": "pi" if model._single else f"pi_{i}" for i in range(n_codes)}


def _check_columns(model: BridgeRegressor) -> None:
    columns = model._columns
    for name in columns.feature_names_in_:
        if name in columns.dates or name in columns.categories:
            kind = "dates" if name in columns.dates else "categories"
            raise ValueError(f"to_onnx: column {shown(name)} holds {kind}, and the graph reads numbers alone")


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError('to_onnx needs onnx: pip install "bridges-tabular[onnx]"') from error


def _in_units(model: BridgeRegressor, graph: Any, names: dict[str, str], wanted: list[str]) -> Any:
    """The engine's graph with its points in the target's units, and such outputs alone."""
    from onnx import TensorProto, checker, compose, helper, numpy_helper
    from onnx.utils import Extractor

    scale = model.scale_
    # no name of the engine's is one of ours
    graph = compose.add_prefix(graph, _ENGINE, rename_inputs=False)
    inner = graph.graph
    constants = {"units.scale": scale.scale, "units.mean": scale.mean, "units.axis": np.array([1])}
    inner.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    inner.node.append(helper.make_node("Mul", [f"{_ENGINE}point", "units.scale"], ["units.scaled"]))
    inner.node.append(helper.make_node("Add", ["units.scaled", "units.mean"], ["units.restored"]))
    if model._single:
        inner.node.append(helper.make_node("Squeeze", ["units.restored", "units.axis"], ["mean"]))
    else:
        inner.node.append(helper.make_node("Identity", ["units.restored"], ["mean"]))
    sizes: list[int] = [] if model._single else [len(scale.mean)]
    mean = helper.make_tensor_value_info("mean", TensorProto.DOUBLE, ["n", *sizes])
    found = [mean]
    for index, codec in enumerate(model.codecs_):
        name = names[f"pi_{index}"]
        inner.node.append(helper.make_node("Identity", [f"{_ENGINE}pi_{index}"], [name]))
        found.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", codec.bins.n_bins]))
    del inner.output[:]
    inner.output.extend(found)
    whole = Extractor(graph).extract_model(["X"], wanted)
    edges = [
        one.restore(codec.bins.edges).tolist() for one, codec in zip(model.codec_scales_, model.codecs_, strict=True)
    ]
    helper.set_model_props(whole, {"columns": json.dumps(model._columns.feature_names_in_), "edges": json.dumps(edges)})
    checker.check_model(whole)
    return whole


def _write(graph: Any, path: Path) -> None:
    written = beside(path, "new")
    try:
        written.write_bytes(graph.SerializeToString())
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
