"""XGBBridgeRegressor on collections of Dask's, fitted by all workers of a cluster."""

from __future__ import annotations

import math
from collections.abc import Collection
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xgboost as xgb
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from bridges_tabular.boosting.regressor import XGBBridgeRegressor
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors.available import available_if
from bridges_tabular.regressors.rows import check_validation
from bridges_tabular.regressors.words import shown

try:
    import dask
    import distributed

    from bridges_tabular.boosting.dask import collections, fitting
    from bridges_tabular.boosting.dask.blocks import Division, Partition
    from bridges_tabular.boosting.dask.learned import Moments
    from bridges_tabular.boosting.dask.shard import worker_threads
except ImportError as error:
    raise ImportError(f'DaskXGBBridgeRegressor needs Dask ({error}): pip install "bridges-tabular[dask]"') from error

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution


class DaskXGBBridgeRegressor(XGBBridgeRegressor):
    """XGBBridgeRegressor on a Dask cluster, in the pattern of ``xgboost.dask.DaskXGBRegressor``.

    Its parameters are those of :class:`XGBBridgeRegressor`. Every worker has a share of the rows, and all of them grow
    the same trees: XGBoost adds up their histograms.

    Parameters
    ----------
    scheme, location, n_bins, ...
        As for :class:`XGBBridgeRegressor`, with these limits: ``location`` is "cross_fitted", or for "hard" and
        "least_squares" also "none"; there are no ``callbacks``; ``tree_method`` is not "exact"; ``device`` is "cpu".
        ``n_jobs`` is the number of threads of each worker, at most those that Dask gives it.

    Attributes
    ----------
    client : distributed.Client
        Set it to use another one than Dask's own. Not saved.

    Notes
    -----
    The table is computed twice, so ``persist`` what takes long to make. Which rows are held out, and folds, follow
    from the seed and from a row's place in its partition, not from the workers. Bins are placed by at most 262,144
    rows and the outermost targets, distributions are calibrated on at most 8,192 validation rows, drawn by the seed.
    Of a partition without rows nothing is asked. A column of categories may have others in each partition, known to
    Dask or not.

    If a worker is lost, its partitions are computed again and the fit begins anew on the workers that are left, at
    most four times; predictions are computed again by Dask.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = (da.from_array(one, chunks=150) for one in load_diabetes(return_X_y=True))
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
    ...     model = DaskXGBBridgeRegressor(n_bins=16, n_estimators=50).fit(X, y)
    ...     model.predict(X).mean().compute().round(-1)
    np.float64(150.0)
    >>> model.to_local().predict_interval(X[:3].compute(), coverage=0.8).shape
    (3, 2)
    """

    _client: distributed.Client | None = None

    @property
    def client(self) -> distributed.Client:
        """The client of the cluster that fits and predicts."""
        return fitting.client_of(self._client)

    @client.setter
    def client(self, client: distributed.Client | None) -> None:
        self._client = client

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use, or none on Dask; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        super().check_params()
        if not isinstance(self.location, str):
            raise ValueError(f"location={shown(self.location)}: on Dask it is 'cross_fitted' or 'none'")
        scheme = SCHEMES[self.scheme]
        if self.location == "none" and scheme.has_code and not scheme.one_hot:
            # its directions for splits: XGBoost adds up over workers what splits see, and not what leaves hold
            raise ValueError(
                f"location='none' with scheme={self.scheme!r} cannot be fitted on Dask: use 'cross_fitted'"
            )
        if self.callbacks:
            raise ValueError("callbacks are not called on Dask: every worker would call a copy of its own")
        if self.tree_method == "exact":
            raise ValueError("tree_method='exact' cannot be fitted on Dask: use 'hist'")
        if not self.device.startswith("cpu"):
            raise ValueError(f"device={self.device!r} cannot be used on Dask: use 'cpu'")

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Self:  # type: ignore[override]
        """Fit to a table of Dask's.

        Parameters
        ----------
        X : dask DataFrame or Array of shape (n, p)
            Divisions need not be known, and partitions may be empty.
        y : dask Series or Array of shape (n,)
            Partitioned as X.
        sample_weight : dask Series or Array of shape (n,), optional
            Partitioned as X. Only their ratios matter; a row of weight 0 is left out.
        eval_set : (X, y), (X, y, sample_weight) or a list holding one such tuple, optional
            Validation rows. Default: a seeded share of the rows is held out.

        Raises
        ------
        ValueError, TypeError
            Before any training, in one line, if a parameter, column, target or weight cannot be used. The last fit
            stays.
        RuntimeError
            If workers are lost again and again.
        """
        self.check_params()
        client = self.client
        if client.asynchronous:
            raise ValueError("an asynchronous Dask client cannot be used: fit waits for the cluster")
        fitted = XGBBridgeRegressor(**self.get_params(deep=False))
        validation = check_validation(eval_set)
        with client.as_current():
            fitting.fit(fitted, client, X, y, sample_weight, validation)
        return self._take(fitted._remember())

    def predict(self, X: Any) -> Any:  # type: ignore[override]
        """Predict the mean of the target, when it is computed.

        Parameters
        ----------
        X : dask DataFrame or Array of shape (n, p)

        Returns
        -------
        dask Series with the index of X if that is a DataFrame, else dask Array, of shape (n,)
        """
        return self._mapped(X, "predict", ())

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # type: ignore[override]
        """Share of the target's variance that predictions explain: scikit-learn's R2, computed at once.

        Parameters
        ----------
        X : dask DataFrame or Array of shape (n, p)
        y : dask Series or Array of shape (n,)
            Partitioned as X.
        sample_weight : dask Series or Array of shape (n,), optional
            Partitioned as X.

        Raises
        ------
        ValueError, TypeError
            In one line, if a partition cannot be used, or no row has a weight.
        """
        parts = collections.partitions(X, y, sample_weight, ("X", "y", "sample_weight"))
        of, model, named = dask.delayed(_agreement, pure=True), self._shipped(), collections.has_names(X)
        client = self.client
        with client.as_current():
            found = client.gather(client.compute([of(part, model, named) for part in parts]))
        known = [one for one in found if one is not None]
        if not known:
            raise ValueError("X holds no rows with a weight")
        targets, errors = (Moments.merged(some) for some in zip(*known, strict=True))
        error = math.hypot(errors.mean, errors.deviation)
        if not targets.deviation:
            return float(not error)
        ratio = error / targets.deviation
        return 1 - ratio * ratio

    @available_if(methodcaller("_has_distribution"))
    def predict_quantiles(self, X: Any, levels: ArrayLike) -> Any:  # type: ignore[override]
        """Predict quantiles of the target, when they are computed.

        Parameters
        ----------
        X : dask DataFrame or Array of shape (n, p)
        levels : float or array of shape (q,)
            Probabilities between 0 and 1.

        Returns
        -------
        dask Array of shape (n, q)
        """
        wanted = np.atleast_1d(np.asarray(levels, dtype=float))
        return self._mapped(X, "predict_quantiles", wanted.shape, wanted)

    @available_if(methodcaller("_has_distribution"))
    def predict_interval(self, X: Any, coverage: float = 0.9, conformal: bool = False) -> Any:  # type: ignore[override]
        """Predict central intervals, when they are computed; see :meth:`XGBBridgeRegressor.predict_interval`.

        Returns
        -------
        dask Array of shape (n, 2)
        """
        return self._mapped(X, "predict_interval", (2,), coverage, conformal)

    @available_if(methodcaller("_has_distribution"))
    def predict_distribution(self, X: Any) -> list[Any]:  # type: ignore[override]
        """Predict the distribution of the target, when it is computed, partition by partition.

        Parameters
        ----------
        X : dask DataFrame or Array of shape (n, p)

        Returns
        -------
        list of Delayed, one for each partition of X, that compute to its BinnedDistribution, or None if it has no rows

        Examples
        --------
        Methods of distributions can be called before anything is computed::

            means = [one.crps(y) for one, y in zip(model.predict_distribution(X), y.to_delayed())]
            dask.compute(*means)
        """
        of, model = dask.delayed(_distribution, pure=True), self._shipped()
        return [of(part, model) for part in collections.table_parts(X)]

    def predict_contributions(self, X: Any) -> Any:
        """Explain predictions of the mean by SHAP values; see :meth:`XGBBridgeRegressor.predict_contributions`.

        Returns
        -------
        dask Array of shape (n, p + 1)
        """
        return self._mapped(X, "predict_contributions", (self.n_features_in_ + 1,))

    def to_local(self) -> XGBBridgeRegressor:
        """The same fitted model for tables in memory; needs no cluster."""
        check_is_fitted(self)
        local = XGBBridgeRegressor(**self.get_params(deep=False))
        local.__dict__ |= {name: value for name, value in self.__dict__.items() if name != "_client"}
        return local

    def write(self, folder: Path) -> None:
        """Write the files of the fitted model, as an :class:`XGBBridgeRegressor`."""
        self.to_local().write(folder)

    def save(self, directory: str | Path) -> None:
        """Write the fitted model to a folder, as an :class:`XGBBridgeRegressor`, which loads without Dask.

        Raises
        ------
        FileExistsError
            If the folder holds something else than a saved model.
        """
        self.to_local().save(directory)

    @classmethod
    def load(cls, directory: str | Path, trusted: Collection[str] = ()) -> Self:
        """Read a model that :meth:`save` of this class or of :class:`XGBBridgeRegressor` wrote.

        Parameters
        ----------
        directory : path
        trusted : collection of str
            As for :meth:`XGBBridgeRegressor.load`.

        Raises
        ------
        FileNotFoundError
            If the folder or one of its files does not exist.
        ValueError
            If the folder holds another model, a format of another version, or a file that is not as it was saved.
        """
        local = XGBBridgeRegressor.load(directory, trusted)
        return cls(**local.get_params(deep=False))._take(local)

    def _take(self, fitted: XGBBridgeRegressor) -> Self:
        """Take what a local model has fitted."""
        client = self._client
        self.__dict__ = dict(fitted.__dict__)
        self._client = client
        return self

    def _mapped(self, X: Any, method: str, width: tuple[int, ...], *args: Any) -> Any:
        """What a method says of each row, numbers of shape ``width``, when it is computed."""
        return collections.mapped(X, _called, (self._shipped(), method, width, *args), width)

    def _shipped(self) -> Any:
        """The model as a task's argument, which Dask keeps until it is computed."""
        return dask.delayed(self.to_local(), pure=False)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_client"}


def _called(part: Any, model: XGBBridgeRegressor, method: str, width: tuple[int, ...], *args: Any) -> Any:
    """Numbers (n, *width) of a partition's rows, on the threads that the worker has."""
    if not len(part):
        return np.empty((0, *width))
    with threadpool_limits(1, user_api="blas"), xgb.config_context(nthread=worker_threads(model.n_jobs)):
        return getattr(model, method)(part, *args)


def _distribution(part: Any, model: XGBBridgeRegressor) -> BinnedDistribution | None:
    return _called(part, model, "predict_distribution", ()) if len(part) else None


def _agreement(part: Partition, model: XGBBridgeRegressor, named: bool) -> tuple[Moments, Moments] | None:
    """Moments of a partition's targets, and of what predictions leave of them; None if no row has a weight."""
    rows = part.rows(Division(0, None, None))
    if not len(rows.y):
        return None
    X = rows.X if named else rows.X.set_axis(range(rows.X.shape[1]), axis="columns")
    errors = rows.y - _called(X, model, "predict", ())
    return Moments.of(rows.y, rows.weight), Moments.of(errors, rows.weight)
