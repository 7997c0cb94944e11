"""What a report shows of a fitted model beside its scores: learning curve, permutation importance, target code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular._progress import Listener
from bridges_tabular.core import scores

_REPEATS = 3
# one table of permuted rows is predicted for each feature: fewer rows where there are many features
_PERMUTED_ROWS = 20_000
_FEWEST_ROWS, _MOST_ROWS = 200, 1_000
_GRID = 240
_HISTOGRAM_CELLS = 60


class LearningCurve:
    """A listener that keeps the validation scores of a fit and passes every step on.

    A fit in stages starts counting anew; the last stage that is scored remains.
    """

    def __init__(self, listener: Listener) -> None:
        self._steps: list[tuple[int, float]] = []
        self._listener = listener

    def __call__(self, done: int, total: int, score: float | None = None) -> None:
        """Take a step of the fit."""
        if score is not None and math.isfinite(score):
            if self._steps and done <= self._steps[-1][0]:
                self._steps.clear()
            self._steps.append((done, score))
        self._listener(done, total, score)

    def of(self, model: Any) -> list[tuple[int, str, float]]:
        """Return the steps of a fitted model: epochs or rounds, counted from 1, the name of the score, and the score.

        A model with a log of its own, as XGBoost keeps one in ``evals_result_``, knows best; what it watches is its
        last metric. Without a log, the scores are those that were heard, RMSEs.
        """
        log = getattr(model, "evals_result_", {}).get("validation_0")
        if not log:
            return [(step, "rmse", score) for step, score in self._steps]
        metric, values = list(log.items())[-1]
        return [(step, str(metric), float(score)) for step, score in enumerate(values, 1)]


def permutation_importance(model: Any, X: pd.DataFrame, y: NDArray[np.float64], seed: int) -> pd.DataFrame:
    """How much the RMSE grows when one feature is shuffled over the rows [1]_.

    Parameters
    ----------
    model : Regressor
    X, y : DataFrame of shape (n, p), array of shape (n,)
        Rows that the model was not fitted on; a seeded sample of at most 1,000 of them is used.
    seed : int

    Returns
    -------
    DataFrame
        A line for each feature: feature, increase (mean over three shuffles, in units of the target) and
        deviation (between the shuffles).

    References
    ----------
    .. [1] Breiman, L. "Random forests." Machine Learning 45 (2001).
    """
    random = np.random.default_rng(seed)
    n = min(len(y), int(np.clip(_PERMUTED_ROWS // X.shape[1], _FEWEST_ROWS, _MOST_ROWS)))
    kept = np.sort(random.choice(len(y), n, replace=False))
    X, y = X.iloc[kept], y[kept]
    whole = scores.rmse(y, model.predict(X))
    repeated = X.iloc[np.tile(np.arange(n), _REPEATS)].reset_index(drop=True)
    orders = np.concatenate([random.permutation(n) + i * n for i in range(_REPEATS)])
    lines = []
    for position, feature in enumerate(X.columns):
        shuffled = repeated.copy(deep=False)
        shuffled.isetitem(position, repeated.iloc[orders, position].array)
        errors = [scores.rmse(y, part) for part in np.split(model.predict(shuffled), _REPEATS)]
        lines.append({"feature": str(feature), "increase": np.mean(errors) - whole, "deviation": np.std(errors)})
    return pd.DataFrame(lines)


def describe_encoder(model: Any, X: pd.DataFrame, y: NDArray[np.float64]) -> dict[str, Any] | None:
    """Classes, decoder and encoder of a fitted model over bins, as values that JSON can hold; None without a code.

    Parameters
    ----------
    model : Regressor
    X, y : DataFrame of shape (n, p), array of shape (n,)
        Rows whose targets, or errors where the bins lie on those, are counted along the axis of the bins and coded.

    Returns
    -------
    dict
        ``on`` ("target" or "error"), ``edges`` (k + 1,), ``centers`` (k,) and ``values`` (k,), those of the decoder;
        ``y`` (g,) and the encoder ``psi`` (g, k) there; ``histogram`` with its ``edges`` and ``counts``. All in units
        of the target. ``use`` (k,) is the mean code of the rows.
    """
    if not model.codecs_:
        return None
    import torch

    codec = model.codecs_[0]
    mean, scale = float(codec.mean), float(codec.scale)
    edges, centers = (mean + scale * positions for positions in (codec.bins.edges, codec.bins.centers))
    # finer where the classes are narrower
    within = np.linspace(0, 1, _GRID // len(centers) + 2)[:-1]
    grid = np.append((edges[:-1, None] + within * np.diff(edges)[:, None]).ravel(), edges[-1])
    on_errors = getattr(model, "location", "none") != "none"
    counted = y - model.predict(X) if on_errors else y
    counts, cells = np.histogram(counted, bins=_HISTOGRAM_CELLS)
    with torch.inference_mode():
        psi, rows = (codec.encode(codec.standardise(torch.as_tensor(at))).exp().double() for at in (grid, counted))
        values = mean + scale * codec.decoder.values.double().numpy()
    return {
        "on": "error" if on_errors else "target",
        "edges": edges.tolist(),
        "centers": centers.tolist(),
        "values": values.tolist(),
        "y": grid.tolist(),
        "psi": psi.numpy().round(5).tolist(),
        "use": rows.mean(dim=0).numpy().round(6).tolist(),
        "histogram": {"edges": cells.tolist(), "counts": counts.tolist()},
    }
