"""SHAP values of the decoded mean, through location, trees over bins and decoder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from bridges_tabular.boosting.features import Values
from bridges_tabular.boosting.model import BoostedBridge
from bridges_tabular.boosting.targets import BinnedTarget

Floats = NDArray[np.float64]

# of the Gauss-Legendre rule on the way from the expected margins to a row's own
_NODES = 16
# 32-bit "no parent", as XGBoost writes it for the root of a tree with scalar leaves
_NO_PARENT = 2**31 - 1


def contributions(model: BoostedBridge, values: Values) -> Floats:
    """Contributions of p features to the predictions of n rows, and what the prediction starts from: (n, p + 1).

    Of squared-error models, and so of the location, these are XGBoost's own SHAP values. Over bins, SHAP values of the
    margins are carried through softmax and decoder along the straight line from the expected margins to the row's own
    (Aumann and Shapley 1974), which keeps their sum: that of the margins' contributions, each times the mean slope of
    the decoded value on that line. What the trees over bins take from the location as a feature goes to the features in
    the shares that these have, by absolute value, in the location.
    """
    p = values.shape[1]
    if not isinstance(model.target, BinnedTarget):
        return _scalar_contributions(model.booster, model.features.plain(values, True))
    located = np.zeros((len(values), p + 1))
    if model.location is not None:
        matrix = model.features.plain(values, True)
        for share, booster in zip(model.location.shares, model.location.boosters, strict=True):
            located += share * _scalar_contributions(booster, matrix)
        located *= model.location.scale
        located[:, -1] += model.location.mean
        values = model.location.append(values, model.location.predict(values))
    native = model.target.native_categories
    matrix = model.features.plain(values, native, with_location=model.location is not None)
    margins = _scalar_contributions(_with_scalar_leaves(model.booster), matrix)
    decoded = _decode(model.target, margins.reshape(len(values), -1, margins.shape[-1]))
    if model.location is None:
        return decoded
    weights = np.abs(located[:, :-1])
    total = weights.sum(axis=1, keepdims=True)
    through = np.divide(weights, total, out=np.full_like(weights, 1 / p), where=total > 0) * decoded[:, p : p + 1]
    located[:, :-1] += decoded[:, :p] + through
    located[:, -1] += decoded[:, -1]
    return located


def _scalar_contributions(booster: xgb.Booster, matrix: xgb.DMatrix) -> Floats:
    shares: Floats = booster.predict(matrix, pred_contribs=True).astype(np.float64)
    return shares


def _decode(target: BinnedTarget, margins: Floats) -> Floats:
    """Contributions (n, q + 1) to the decoded value from those to the margins (n, r, q + 1)."""
    start, way = margins[:, :, -1], margins[:, :, :-1].sum(axis=2)
    slope = np.zeros_like(start)
    places, weights = np.polynomial.legendre.leggauss(_NODES)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        slope += weight * _slopes(target, start + place * way)
    decoded: Floats = np.einsum("nrq,nr->nq", margins, slope)
    decoded[:, -1] = _probabilities(target, start) @ target.values
    return decoded


def _slopes(target: BinnedTarget, margins: Floats) -> Floats:
    """Derivatives (n, r) of the decoded value in the margins."""
    p = _probabilities(target, margins)
    slopes: Floats = p * (target.values - (p @ target.values)[:, None])
    return slopes if target.logits.basis is None else slopes @ target.logits.basis.astype(np.float64)


def _probabilities(target: BinnedTarget, margins: Floats) -> Floats:
    return target.probabilities(margins.astype(np.float32)).astype(np.float64)


def _with_scalar_leaves(booster: xgb.Booster) -> xgb.Booster:
    """Return the same trees, copied for each value of a leaf: XGBoost has no SHAP values for vector leaves yet."""
    model = json.loads(booster.save_raw("json"))
    params = model["learner"]["learner_model_param"]
    trees = model["learner"]["gradient_booster"]["model"]
    if "leaf_weights" not in trees["trees"][0]:
        return booster
    r = int(params["num_target"])
    copies = [copy for tree in trees["trees"] for copy in _scalar_copies(tree, r)]
    for number, copy in enumerate(copies):
        copy["id"] = number
    trees["trees"] = copies
    trees["tree_info"] = list(range(r)) * (len(copies) // r)
    trees["iteration_indptr"] = list(range(0, len(copies) + 1, r))
    trees["gbtree_model_param"]["num_trees"] = str(len(copies))
    scalar = xgb.Booster()
    scalar.load_model(bytearray(json.dumps(model).encode()))
    return scalar


def _scalar_copies(tree: dict[str, Any], r: int) -> list[dict[str, Any]]:
    is_leaf = np.array(tree["left_children"]) == -1
    right = np.array(tree["right_children"])
    # a leaf's right child is the number of its row of values
    values = np.array(tree["leaf_weights"], dtype=np.float64).reshape(-1, r)[right[is_leaf]]
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
