"""SHAP values of the decoded mean, through location, trees over bins and decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.boosting.engine import BoostedBridge
from bridges_tabular.boosting.features import Values
from bridges_tabular.boosting.location import TreesLocation
from bridges_tabular.boosting.targets import PointTarget

if TYPE_CHECKING:
    from bridges_tabular.boosting.binned import BinnedTarget

Floats = NDArray[np.float64]

# of the Gauss-Legendre rule on the way from the expected margins to a row's own
_NODES = 16


def contributions(model: BoostedBridge, values: Values) -> Floats:
    """Contributions of p features to the predictions of n rows, and what the prediction starts from: (n, p + 1).

    Of squared-error models, and so of the location, these are the library's own SHAP values. Over bins, SHAP values of
    the margins are carried through softmax and decoder along the straight line from the expected margins to the row's
    own (Aumann and Shapley 1974), which keeps their sum: that of the margins' contributions, each times the mean slope
    of the decoded value on that line. What the trees over bins take from the location as a feature goes to the features
    in the shares that these have, by absolute value, in the location. In standard units.

    Raises
    ------
    ValueError
        If the location is of regressors of other libraries.
    """
    p = values.shape[1]
    if not isinstance(model.location, TreesLocation | None):
        raise ValueError(f"contributions are not known of a location of {model.location.name}'s regressors")
    if isinstance(model.target, PointTarget):
        return model.trees.contributions(values)
    located = np.zeros((len(values), p + 1))
    if model.location is not None:
        for share, trees in zip(model.location.shares, model.location.models, strict=True):
            located += share * trees.contributions(values)
        values = model.location.append(values, model.location.predict(None, values))
    margins = model.trees.contributions(values)
    decoded = model.share * _decode(model.target, margins.reshape(len(values), -1, margins.shape[-1]))
    if model.location is None:
        return decoded
    weights = np.abs(located[:, :-1])
    total = weights.sum(axis=1, keepdims=True)
    through = np.divide(weights, total, out=np.full_like(weights, 1 / p), where=total > 0) * decoded[:, p : p + 1]
    located[:, :-1] += decoded[:, :p] + through
    located[:, -1] += decoded[:, -1]
    return located


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
