"""Models of an experiment that a Dask cluster fits: where it is, what it cannot do, and frames as collections."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from distributed import Client

    from bridges_tabular.boosting.dask import DaskXGBBridgeRegressor
    from bridges_tabular.experiments.config import Experiment
    from bridges_tabular.experiments.engines import Regressor

# until a scheduler has to have answered
_SECONDS = 10.0
_LOCAL = "local"


def check_cluster(cluster: Any, where: str) -> None:
    """Refuse a value of ``cluster`` that names none; connects to nothing.

    Parameters
    ----------
    cluster : any
        "local", or the address of a Dask scheduler.
    where : str
        What to call it in an error.

    Raises
    ------
    ExperimentError
        Also if Dask is not installed.
    """
    try:
        import bridges_tabular.boosting.dask  # noqa: F401
    except ImportError as error:
        raise ExperimentError(f"{where}: {in_one_line(error)}") from None
    if not isinstance(cluster, str) or (cluster != _LOCAL and not _is_address(cluster)):
        raise ExperimentError(
            f"{where}: must be local or the address of a Dask scheduler (tcp://host:8786), not {shown(cluster)}"
        )


def check_clusters(experiment: Experiment) -> None:
    """Refuse models on a cluster that does not answer or has no workers, or with a table that only one process takes.

    Raises
    ------
    ExperimentError
        If a table has an exposure, rows are split by groups, or a cluster cannot be used.
    """
    answered = set()
    for name, block in experiment.models.items():
        cluster, where = block.params.get("cluster"), f"models.{name}.cluster"
        if cluster is None:
            continue
        if any(table.exposure is not None for table in experiment.tables):
            raise ExperimentError(f"{where}: a cluster fits no rates: leave out table.exposure, or this key")
        if experiment.split.group is not None:
            raise ExperimentError(f"{where}: a cluster keeps no groups together: leave out split.group, or this key")
        if cluster != _LOCAL and cluster not in answered:
            try:
                with _connected(cluster, 1):
                    answered.add(cluster)
            except ExperimentError as error:
                raise ExperimentError(f"{where}: {error}") from None


def on_dask(model: Regressor) -> DaskXGBBridgeRegressor:
    """The same model for Dask's collections, unfitted."""
    from bridges_tabular.boosting.dask import DaskXGBBridgeRegressor

    return DaskXGBBridgeRegressor(**model.get_params(deep=False))


def fit_on(
    cluster: str,
    model: Regressor,
    train: tuple[pd.DataFrame, NDArray[Any], NDArray[Any] | None],
    validation: tuple[pd.DataFrame, NDArray[Any], NDArray[Any] | None],
) -> Regressor:
    """Fit a model on all workers of a cluster, each with a share of the rows.

    Parameters
    ----------
    cluster : str
        "local" starts processes for this fit, which end with it.
    model : Regressor
        Unfitted, of an engine that takes a cluster.
    train, validation : (X, y, weight)

    Returns
    -------
    A fitted model for tables in memory, which needs no cluster.

    Raises
    ------
    ExperimentError
        If the cluster does not answer or has no workers.
    """
    shared = on_dask(model)
    with _connected(cluster, shared.n_jobs) as client, warnings.catch_warnings():
        # the rows are here, and have to be sent
        warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
        shared.client = client
        n_workers = len(client.nthreads())
        X, y, weight = _collections(train, n_workers)
        shared.fit(X, y, weight, eval_set=_collections(validation, n_workers))
        return shared.to_local()


def _collections(rows: tuple[pd.DataFrame, Any, Any], n_workers: int) -> tuple[Any, Any, Any]:
    """Features, targets and weights, in as many partitions as there are workers."""
    import dask
    import dask.dataframe as dd

    X, y, weight = rows
    # text stays as it is in tables that are predicted
    with dask.config.set({"dataframe.convert-string": False}):
        parts = max(1, min(n_workers, len(X)))
        frame, *columns = (
            None if one is None else dd.from_pandas(one, npartitions=parts, sort=False)
            for one in (X, pd.Series(y, X.index), None if weight is None else pd.Series(weight, X.index))
        )
    return frame, columns[0], columns[1]


@contextmanager
def _connected(cluster: str, threads: int | None) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    if cluster == _LOCAL:
        # one thread a worker: each has its own rows
        with (
            LocalCluster(threads_per_worker=max(1, threads or 1), dashboard_address="127.0.0.1:0") as own,
            Client(own, set_as_default=False) as client,
        ):
            yield client
        return
    try:
        client = Client(cluster, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{cluster} does not answer: {in_one_line(error)}") from None
    with client:
        if not client.nthreads():
            raise ExperimentError(f"{cluster} has no workers")
        yield client


def _is_address(text: str) -> bool:
    from distributed.comm import get_address_host_port

    try:
        host, port = get_address_host_port(text, strict=True)
    except ValueError:
        return False
    return bool(host) and 0 < port < 1 << 16
