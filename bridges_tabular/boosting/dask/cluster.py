"""A function run on several workers at once, which talk to each other; run again if one of them is lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

from distributed import Client, MultiLock, wait
from distributed.comm import get_address_host
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from bridges_tabular.regressors.lines import in_one_line

# how often a fit is begun anew after a worker was lost
_ATTEMPTS = 4
# until all workers have to have found each other, and until those that are left have to have noticed that one is lost
_SECONDS = 60
# how often to look whether a worker is lost, while none of them has ended
_GLANCE = 1.0


class WorkerLostWarning(UserWarning):
    """A worker of the cluster was lost during a fit, which begins anew on those that are left."""


def run_together(
    client: Client, function: Callable[..., Any], job: Any, futures: Sequence[Any], sizes: Sequence[int]
) -> Any:
    """Call ``function(job, own, communication)`` on several workers at once, each with some of the futures' results.

    Parameters
    ----------
    client : Client
    function : callable
        It has to find the others by ``communication``, what XGBoost's tracker says, and to fail if one of them does.
    job : any
    futures : sequence of Future
        Lost ones are computed again.
    sizes : sequence of int
        By which they are shared out.

    Returns
    -------
    The result of the worker whose result is not None.

    Raises
    ------
    RuntimeError
        If a worker is lost in each of four attempts.
    Exception
        What the function raises.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        wait(list(futures))
        for future in futures:
            if future.status == "error":
                future.result()
        shares = _shared_out(client, futures, sizes)
        try:
            with MultiLock(list(shares), client):
                return _attempt(client, function, job, shares)
        except _Lost as lost:
            reason = str(lost)
        if attempt < _ATTEMPTS:
            warnings.warn(f"{reason}: the fit begins anew on those that are left", WorkerLostWarning, stacklevel=2)
    raise RuntimeError(f"{reason}, {_ATTEMPTS} times in a row: the fit gives up")


class _Lost(Exception):
    """A worker, or its connection to the others."""


def _attempt(client: Client, function: Callable[..., Any], job: Any, shares: Mapping[str, Sequence[Any]]) -> Any:
    started = _identities(client)
    if not set(shares) <= set(started):
        raise _Lost("a worker was lost before the fit began")
    communication = client.run_on_scheduler(_start_tracker, len(shares))
    running = [
        client.submit(
            function,
            job,
            list(own),
            # XGBoost numbers workers by the names that they call themselves
            {**communication, "dmlc_task_id": f"{number:06d}"},
            workers=[address],
            pure=False,
            retries=0,
        )
        for number, (address, own) in enumerate(shares.items())
    ]
    try:
        return _result(client, running, {address: started[address] for address in shares})
    finally:
        client.cancel(running, force=True)


def _result(client: Client, running: Sequence[Any], started: Mapping[str, str]) -> Any:
    """What one of the workers returns, once all of them have ended."""
    pending, lost = list(running), False
    while pending and not lost and not any(future.status == "error" for future in running):
        pending = _unfinished(pending, _GLANCE, "FIRST_COMPLETED")
        lost = not _are_there(client, started)
    # the others learn of it when they next wait for each other
    there = _identities(client)
    _unfinished([one for one, address in zip(running, started, strict=True) if address in there], _SECONDS)
    lost = lost or not _are_there(client, started)
    errors = [future.exception() for future in running if future.status == "error"]
    own = [error for error in errors if not _is_of_communication(error)]
    if own and not lost:
        raise own[0]
    if lost or errors:
        raise _Lost(
            "a worker was lost during the fit" if lost else f"workers lost each other: {in_one_line(errors[0])}"
        )
    return next(result for result in client.gather(list(running)) if result is not None)


def _unfinished(futures: Sequence[Any], seconds: float, until: str = "ALL_COMPLETED") -> list[Any]:
    if not futures:
        return []
    try:
        return list(wait(futures, timeout=seconds, return_when=until).not_done)
    except TimeoutError:
        return list(futures)


def _are_there(client: Client, started: Mapping[str, str]) -> bool:
    now = _identities(client)
    return all(now.get(address) == identity for address, identity in started.items())


def _is_of_communication(error: BaseException) -> bool:
    return isinstance(error, XGBoostError) and "/collective/" in str(error)


def _identities(client: Client) -> dict[str, str]:
    """What tells a worker from another one that has taken its address, by address."""
    found: dict[str, str] = client.run_on_scheduler(_servers)
    return found


def _servers(dask_scheduler: Any) -> dict[str, str]:
    return {address: worker.server_id for address, worker in dask_scheduler.workers.items()}


def _shared_out(client: Client, futures: Sequence[Any], sizes: Sequence[int]) -> dict[str, list[Any]]:
    """Futures for each worker, of about the same size together; those that it holds, as far as that goes."""
    workers = sorted(_identities(client))
    if not workers:
        raise RuntimeError("the Dask cluster has no workers")
    holders = client.who_has(futures)
    share = sum(sizes) / len(workers)
    shares: dict[str, list[Any]] = {address: [] for address in workers}
    filled = dict.fromkeys(workers, 0)
    left = []
    for future, size in sorted(zip(futures, sizes, strict=True), key=lambda pair: -pair[1]):
        holder = next((one for one in holders.get(future.key, ()) if one in filled), None)
        # half a partition over is nearer to its share than half a partition short of it
        if holder is not None and filled[holder] + size / 2 <= share:
            shares[holder].append(future)
            filled[holder] += size
        else:
            left.append((future, size))
    for future, size in left:
        emptiest = min(workers, key=lambda address: filled[address])
        shares[emptiest].append(future)
        filled[emptiest] += size
    return {address: own for address, own in shares.items() if own}


def _start_tracker(n_workers: int, dask_scheduler: Any) -> dict[str, Any]:
    """Start what tells XGBoost's workers of each other, where all workers can reach it: beside the scheduler."""
    try:
        host = get_address_host(dask_scheduler.address)
    except ValueError:
        # a cluster within one process has no address
        host = "127.0.0.1"
    tracker = RabitTracker(n_workers=n_workers, host_ip=host, sortby="task", timeout=_SECONDS)
    tracker.start()
    Thread(target=_watch, args=[tracker], daemon=True).start()
    return dict(tracker.worker_args())


def _watch(tracker: RabitTracker) -> None:
    """Keep a tracker alive until its workers have ended, whatever became of them."""
    # the client hears of it from the workers
    with suppress(XGBoostError):
        tracker.wait_for()
    # raises the same again, and if it is left to Python, wherever a thread collects garbage
    with suppress(XGBoostError):
        tracker.free()
