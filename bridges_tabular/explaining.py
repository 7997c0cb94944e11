"""What each feature contributes to the mean, the spread or a quantile of a predicted distribution."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.regressors.pipelines import predict_distribution
from bridges_tabular.regressors.words import hint, shown

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

# rows that a model is asked for at a time
_ROWS = 8_192


class Contributions(NamedTuple):
    """Shapley values of n rows and p features, in the units of the target."""

    values: Floats
    """(n, p); ``base`` plus those of a row are what is explained of it, up to rounding."""
    base: float
    """The mean of what is explained over the background rows that were drawn."""
    errors: Floats
    """(n, p) standard errors of the values, as of independent draws; too large where every background row was drawn."""


def contributions(
    model: Any,
    X: Any,
    background: Any,
    of: Literal["mean", "std"] | float = "std",
    *,
    draws: int = 64,
    seed: int = 0,
) -> Contributions:
    """Explain the spread of predictions, a quantile or the mean by Shapley values, for any regressor of this package.

    A feature's contribution is the mean change when it takes the row's value in place of that of a background row, over
    the background rows and all orders in which the features can do so [1]_. Orders are drawn, each with its reverse and
    a background row [2]_: sums are exact, single values have ``errors``, which fall with the square root of ``draws``.
    With one or two features, and ``draws`` a multiple of the background rows, values are exact as well. It takes
    ``2 * draws * (p - 1)`` predictions a row; ``XGBBridgeRegressor.predict_contributions`` explains the mean in one.

    Parameters
    ----------
    model : fitted regressor, Pipeline or search such as GridSearchCV
        Of a single target.
    X : DataFrame or array of shape (n, p)
    background : DataFrame or array of shape (m, p)
        Rows to compare with, such as 100 of the training rows; the same columns as X.
    of : {"mean", "std"} or float, default="std"
        The prediction, the standard deviation of the distribution, or its quantile at a level between 0 and 1.
    draws : int, default=64
        Of more background rows so many are drawn; of fewer each serves as often as the others, or once more.
    seed : int, default=0

    Returns
    -------
    Contributions

    Raises
    ------
    ValueError
        In one line, if the columns of X and background differ, or for an ``of`` or ``draws`` that there is not.

    References
    ----------
    .. [1] Lundberg, S. M. and Lee, S.-I. "A unified approach to interpreting model predictions." NeurIPS (2017).
    .. [2] Mitchell, R. et al. "Sampling permutations for Shapley value estimation." JMLR 23 (2022).

    Examples
    --------
    >>> import bridges_tabular as bt
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = bt.XGBBridgeRegressor("least_squares", n_estimators=10, n_jobs=1).fit(X, y)
    >>> found = contributions(model, X[:2], X[:50], of=0.9, draws=2)
    >>> sums = found.base + found.values.sum(axis=1)
    >>> bool(np.allclose(sums, model.predict_quantiles(X[:2], 0.9)[:, 0]))
    True
    """
    check_is_fitted(model)
    if not (of in ("mean", "std") if isinstance(of, str) else isinstance(of, Real) and 0 < of < 1):
        near = hint(of, ("mean", "std")) if isinstance(of, str) else ""
        raise ValueError(f"of={shown(of)}{near}: it is 'mean', 'std' or a level between 0 and 1")
    if not isinstance(draws, Integral) or draws < 1:
        raise ValueError(f"draws must be a whole number of at least 1, got {shown(draws)}")
    rows = _Rows(X, background)
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(rows.m) for _ in range(-(-draws // rows.m))]
    drawn = np.concatenate(rounds)[:draws]
    ranks = np.stack([rng.permutation(rows.p) for _ in range(draws)])
    used, places = np.unique(drawn, return_inverse=True)
    compared = _explained(model, rows.of_background(used), of)[places]
    own = _explained(model, rows.of_x(), of)
    total, squares = np.zeros((rows.n, rows.p)), np.zeros((rows.n, rows.p))
    step = max(1, _ROWS // max(2 * (rows.p - 1), 1))
    for first in range(0, rows.n * draws, step):
        draw, row = np.divmod(np.arange(first, min(first + step, rows.n * draws)), rows.n)
        path = np.empty((len(row), 2, rows.p + 1))
        path[:, :, 0], path[:, :, -1] = compared[draw, None], own[row, None]
        if rows.p > 1:
            path[:, :, 1:-1] = _explained(model, rows.between(row, drawn[draw], ranks[draw]), of).reshape(
                len(row), 2, -1
            )
        change, rank = np.diff(path, axis=2), ranks[draw]
        found = (
            np.take_along_axis(change[:, 0], rank, axis=1) + np.take_along_axis(change[:, 1], rows.p - 1 - rank, axis=1)
        ) / 2
        np.add.at(total, row, found)
        np.add.at(squares, row, np.square(found))
    values = total / draws
    spread = np.maximum(squares / draws - np.square(values), 0.0)
    errors = np.sqrt(spread / (draws - 1)) if draws > 1 else np.full_like(values, np.nan)
    return Contributions(values, float(compared.mean()), errors)


class _Rows:
    """Rows to explain above background rows, and rows whose features are partly of one, partly of the other."""

    def __init__(self, X: Any, background: Any) -> None:
        framed = isinstance(X, pd.DataFrame)
        if framed != isinstance(background, pd.DataFrame):
            raise ValueError("X and background must both be DataFrames, or both arrays")
        if framed:
            if list(X.columns) != list(background.columns):
                raise ValueError("X and background must have the same columns in the same order")
            self._joined: Any = pd.concat([X, background], ignore_index=True)
        else:
            X, background = np.asarray(X), np.asarray(background)
            if X.ndim != 2 or background.ndim != 2 or X.shape[1] != background.shape[1]:
                raise ValueError(f"X has shape {X.shape}, background {background.shape}: expected (n, p) and (m, p)")
            self._joined = np.concatenate([X, background])
        self.n, self.m, self.p = len(X), len(background), X.shape[1]
        if not (self.n and self.m and self.p):
            raise ValueError("X or background has no rows, or no columns")

    def of_x(self) -> Any:
        return self._joined[: self.n]

    def of_background(self, which: Places) -> Any:
        return self._taken(np.repeat(self.n + which[:, None], self.p, axis=1))

    def between(self, row: Places, other: Places, rank: Places) -> Any:
        """From background rows (r,) to rows of X (r,) by ranks (r, p) of the features and in reverse, without ends."""
        steps = np.arange(1, self.p)[:, None]
        turned = np.stack([rank[:, None] < steps, self.p - 1 - rank[:, None] < steps], axis=1)
        at, beside = (one[:, None, None, None] for one in (row, self.n + other))
        return self._taken(np.where(turned, at, beside).reshape(-1, self.p))

    def _taken(self, places: Places) -> Any:
        if isinstance(self._joined, pd.DataFrame):
            columns = [self._joined.iloc[:, j].take(places[:, j]).reset_index(drop=True) for j in range(self.p)]
            return pd.concat(columns, axis=1)
        return self._joined[places, np.arange(self.p)]


def _explained(model: Any, table: Any, of: str | float) -> Floats:
    """What is explained of each row, (n,)."""
    if of == "mean":
        found = np.asarray(model.predict(table), dtype=np.float64)
        if found.ndim == 1:
            return found
    else:
        distribution = predict_distribution(model, table)
        if not isinstance(distribution, list):
            return np.asarray(distribution.std if of == "std" else distribution.quantile(of), dtype=np.float64)
    raise ValueError("contributions are of a single target: the model has several")
