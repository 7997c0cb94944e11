"""Boosted trees as an ONNX graph, in standard units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges_tabular.boosting.booster import Forest, Tree
from bridges_tabular.boosting.location import TreesLocation
from bridges_tabular.boosting.targets import PointTarget

if TYPE_CHECKING:
    from bridges_tabular.boosting.engine import BoostedBridge

_OPSETS = {"": 17, "ai.onnx.ml": 3}
# the first to hold these operators: old runtimes read it, too
_IR_VERSION = 8


class _Graph:
    """Nodes in the order in which they are added, and the constants that they read."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: Sequence[Any], name: str, **attributes: Any) -> str:
        """Add a node with one output; an input is the name of another output, or an array."""
        from onnx import helper, numpy_helper

        names = []
        for position, given in enumerate(inputs):
            if not isinstance(given, str):
                self.constants.append(numpy_helper.from_array(np.asarray(given), f"{name}_{position}"))
            names.append(given if isinstance(given, str) else f"{name}_{position}")
        self.nodes.append(helper.make_node(operator, names, [name], **attributes))
        return name

    def double(self, value: str) -> str:
        """The same in double precision."""
        from onnx import TensorProto

        return self.add("Cast", [value], f"{value}_double", to=TensorProto.DOUBLE)

    def single(self, value: str) -> str:
        """The same in single precision."""
        from onnx import TensorProto

        return self.add("Cast", [value], f"{value}_single", to=TensorProto.FLOAT)

    def forest(self, forest: Forest, features: str, name: str) -> str:
        """Outputs (n, r) of trees on features (n, p)."""
        # in one node, which a runtime walks as a whole
        attributes = _tree_attributes(forest.trees)
        attributes |= {"n_targets": len(forest.base), "base_values": forest.base.tolist()}
        return self.add("TreeEnsembleRegressor", [features], name, domain="ai.onnx.ml", **attributes)


def trees_graph(model: BoostedBridge) -> Any:
    """Location, trees and target: from ``X`` (n, p) to ``point`` (n, 1), and ``pi_0`` (n, k) of a target with classes.

    Raises
    ------
    ValueError
        If the location is of regressors of other libraries.
    """
    from onnx import TensorProto, helper

    if not isinstance(model.location, TreesLocation | None):
        raise ValueError(f"to_onnx: a location of {model.location.name}'s regressors has no graph")
    graph = _Graph()
    features, location = _features(graph, model), None
    if model.location is not None:
        location = graph.add("MatMul", [_each(graph, model.location, features), model.location.shares[:, None]], "at")
        features = graph.add("Concat", [features, graph.single(location)], "located", axis=1)
    margins = graph.forest(model.trees.forest(), features, "margins")
    outputs = {"point": ("double", 1)}
    if isinstance(model.target, PointTarget):
        point = graph.double(margins)
    else:
        pi = _probabilities(graph, model, margins)
        outputs["pi_0"] = ("single", len(model.target.values))
        point = graph.add("MatMul", [graph.double(pi), model.target.values[:, None]], "decoded")
    if location is not None:
        shared = graph.add("Mul", [point, np.array(model.share)], "shared")
        point = graph.add("Add", [location, shared], "sum")
    graph.add("Identity", [point], "point")
    kinds = {"double": TensorProto.DOUBLE, "single": TensorProto.FLOAT}
    p = len(model.features.is_category)
    whole = helper.make_graph(
        graph.nodes,
        "trees",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", p])],
        [helper.make_tensor_value_info(name, kinds[kind], ["n", size]) for name, (kind, size) in outputs.items()],
        graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    return helper.make_model(whole, opset_imports=opsets, ir_version=_IR_VERSION)


def _features(graph: _Graph, model: BoostedBridge) -> str:
    """Features (n, p) as the trees read them."""
    shift, scale = model.features.arrays().values()
    if not shift.any() and (scale == 1).all():
        return "X"
    centred = graph.add("Sub", [graph.double("X"), shift], "centred")
    return graph.single(graph.add("Div", [centred, scale], "features"))


def _each(graph: _Graph, location: TreesLocation, features: str) -> str:
    """What each model of a location says, (n, models) in double precision."""
    base, trees = [], list[Tree]()
    for number, one in enumerate(location.models):
        forest = one.forest()
        base.append(forest.base)
        trees += [tree._replace(outputs=np.array([number])) for tree in forest.trees]
    return graph.double(graph.forest(Forest(np.concatenate(base), trees), features, "locations"))


def _probabilities(graph: _Graph, model: BoostedBridge, margins: str) -> str:
    """Pi (n, k) from margins (n, r)."""
    assert not isinstance(model.target, PointTarget)
    logits, basis = margins, model.target.logits.basis
    if basis is not None:
        logits = graph.add("MatMul", [margins, np.ascontiguousarray(basis.T)], "changes")
    # those of a softmax of the library's own are in the margins
    if model.target.output.offsets is None:
        logits = graph.add("Add", [logits, model.target.logits.offsets], "logits")
    return graph.add("Softmax", [logits], "pi_0", axis=1)


def _tree_attributes(trees: list[Tree]) -> dict[str, Any]:
    """Nodes and leaves of TreeEnsembleRegressor."""
    nodes: dict[str, list[Any]] = {
        name: []
        for name in (
            *("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids"),
            "missing_value_tracks_true",
        )
    }
    targets: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(trees):
        used = _reached(tree)
        leaf = tree.left[used] < 0
        nodes["treeids"] += [number] * len(used)
        nodes["nodeids"] += used.tolist()
        nodes["featureids"] += tree.feature[used].tolist()
        nodes["modes"] += np.where(leaf, "LEAF", "BRANCH_LT").tolist()
        nodes["values"] += tree.threshold[used].tolist()
        nodes["truenodeids"] += np.where(leaf, 0, tree.left[used]).tolist()
        nodes["falsenodeids"] += np.where(leaf, 0, tree.right[used]).tolist()
        nodes["missing_value_tracks_true"] += tree.missing_left[used].astype(int).tolist()
        ends = used[leaf]
        targets["treeids"] += [number] * (len(ends) * len(tree.outputs))
        targets["nodeids"] += np.repeat(ends, len(tree.outputs)).tolist()
        targets["ids"] += np.tile(tree.outputs, len(ends)).tolist()
        targets["weights"] += tree.values[ends].ravel().tolist()
    return {f"nodes_{name}": entries for name, entries in nodes.items()} | {
        f"target_{name}": entries for name, entries in targets.items()
    }


def _reached(tree: Tree) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of the nodes that rows come by: a pruned tree keeps others."""
    reached, ahead = [0], [0]
    while ahead:
        node = ahead.pop()
        if tree.left[node] >= 0:
            children = [int(tree.left[node]), int(tree.right[node])]
            reached += children
            ahead += children
    return np.array(sorted(reached))
