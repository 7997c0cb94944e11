"""Distributions of a regressor that stands inside objects of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution


def predict_distribution(model: Any, X: Any, exposure: ArrayLike | None = None) -> BinnedDistribution | Any:
    """Predict the distribution of the target by a regressor, by a pipeline that ends with one, or by a search over it.

    Parameters
    ----------
    model : fitted regressor, Pipeline or search such as GridSearchCV
        The steps of a pipeline transform the table first; of a search, the refitted best estimator is asked.
    X : DataFrame or array of shape (n, p)
    exposure : float or array of shape (n,), optional
        Of the rows, see ``fit`` of the regressors.

    Returns
    -------
    BinnedDistribution of n rows, in the units of the target, with the index of X if that is a DataFrame; a list of
    them where the regressor was fitted to several targets

    Raises
    ------
    TypeError
        If nothing in the model has a ``predict_distribution``.
    sklearn.exceptions.NotFittedError

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import bridges_tabular as bt
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), bt.XGBBridgeRegressor(n_bins=16, n_jobs=1)).fit(X, y)
    >>> bt.predict_distribution(model, X[:3]).quantile(0.9).shape
    (3,)
    """
    check_is_fitted(model)
    if hasattr(model, "predict_distribution"):
        return model.predict_distribution(X) if exposure is None else model.predict_distribution(X, exposure)
    if isinstance(model, Pipeline):
        table = model[:-1].transform(X) if len(model) > 1 else X
        found: Any = predict_distribution(model[-1], table, exposure)
        # transformers tend to lose it
        index = X.index if isinstance(X, pd.DataFrame) else None
        return [one.with_index(index) for one in found] if isinstance(found, list) else found.with_index(index)
    if hasattr(model, "best_estimator_"):
        return predict_distribution(model.best_estimator_, X, exposure)
    raise TypeError(f"{type(model).__name__} predicts no distributions: it has, and holds, no predict_distribution")
