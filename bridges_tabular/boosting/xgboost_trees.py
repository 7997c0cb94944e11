"""XGBoost's trees, as the JSON of a booster holds them: read, and given scalar leaves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Forest, Tree

# 32-bit "no parent", as XGBoost writes it for the root of a tree with scalar leaves
_NO_PARENT = 2**31 - 1


def forest_of(booster: xgb.Booster) -> Forest:
    """Trees of a booster without categories, node by node.

    Raises
    ------
    RuntimeError
        If XGBoost has other entries than those known here.
    """
    learner = json.loads(booster.save_raw("json"))["learner"]
    try:
        model, params = learner["gradient_booster"]["model"], learner["learner_model_param"]
        base = np.array(json.loads(params["base_score"]), dtype=np.float32)
        pairs = zip(model["trees"], model["tree_info"], strict=True)
        return Forest(base, [_tree(tree, output, len(base)) for tree, output in pairs])
    except (KeyError, IndexError) as error:
        raise _unknown(error) from None


def _tree(tree: dict[str, Any], output: int, n_outputs: int) -> Tree:
    # a leaf has its value for a threshold, or the number of its row of values for a right child
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    is_leaf = left == -1
    outputs, values = np.array([output]), conditions[:, None]
    if "leaf_weights" in tree:
        outputs, values = np.arange(n_outputs), np.zeros((len(left), n_outputs), dtype=np.float32)
        values[is_leaf] = _leaf_vectors(tree, n_outputs)[right[is_leaf]]
        right = np.where(is_leaf, -1, right)
    missing_left = np.array(tree["default_left"], dtype=bool)
    return Tree(left, right, np.array(tree["split_indices"]), conditions, missing_left, outputs, values)


def with_scalar_leaves(booster: xgb.Booster) -> xgb.Booster:
    """The same trees, copied for each value of a leaf: XGBoost before 3.4 has no SHAP values for vector leaves."""
    model = json.loads(booster.save_raw("json"))
    try:
        params = model["learner"]["learner_model_param"]
        trees = model["learner"]["gradient_booster"]["model"]
        if "leaf_weights" not in trees["trees"][0]:
            return booster
        r = int(params["num_target"])
        copies = [copy for tree in trees["trees"] for copy in _scalar_copies(tree, r)]
    except (KeyError, IndexError) as error:
        raise _unknown(error) from None
    for number, copy in enumerate(copies):
        copy["id"] = number
    trees["trees"] = copies
    trees["tree_info"] = list(range(r)) * (len(copies) // r)
    trees["iteration_indptr"] = list(range(0, len(copies) + 1, r))
    trees["gbtree_model_param"]["num_trees"] = str(len(copies))
    scalar = xgb.Booster()
    scalar.load_model(bytearray(json.dumps(model).encode()))
    return scalar


def _leaf_vectors(tree: dict[str, Any], r: int) -> NDArray[np.float64]:
    """Rows of r values, whose numbers the leaves have for a right child."""
    return np.array(tree["leaf_weights"], dtype=np.float64).reshape(-1, r)


def _unknown(error: Exception) -> RuntimeError:
    return RuntimeError(f"the trees of XGBoost {xgb.__version__} cannot be read: they lack {error}")


def _scalar_copies(tree: dict[str, Any], r: int) -> list[dict[str, Any]]:
    is_leaf = np.array(tree["left_children"]) == -1
    right = np.array(tree["right_children"])
    values = _leaf_vectors(tree, r)[right[is_leaf]]
    shared = {name: entry for name, entry in tree.items() if name != "leaf_weights"}
    shared["right_children"] = np.where(is_leaf, -1, right).tolist()
    shared["parents"] = [_NO_PARENT, *tree["parents"][1:]]
    shared["tree_param"] = tree["tree_param"] | {"size_leaf_vector": "1"}
    conditions = np.array(tree["split_conditions"], dtype=np.float64)
    copies = []
    for column in values.T:
        conditions[is_leaf] = column
        weights = np.where(is_leaf, conditions, 0.0)
        copies.append(shared | {"split_conditions": conditions.tolist(), "base_weights": weights.tolist()})
    return copies
