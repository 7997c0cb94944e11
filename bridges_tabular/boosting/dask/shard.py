"""What runs on a worker: all stages on its share of the rows, in step with the other workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from distributed import get_worker
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from xgboost import collective

from bridges_tabular.boosting.dask.blocks import TRAINING, VALIDATION, Block
from bridges_tabular.boosting.dask.draws import limit, smallest, spared
from bridges_tabular.boosting.features import Features
from bridges_tabular.boosting.location import Sample
from bridges_tabular.boosting.peers import FOLDS, Draw, Folds, Peers
from bridges_tabular.boosting.regressor import XGBBridgeRegressor
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.engine import State
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report

Floats = NDArray[np.float64]

# rows by which bins are placed: more of them would not move an edge
BIN_ROWS = 1 << 18


class Job(NamedTuple):
    """A fit, as all of its workers get it."""

    params: dict[str, Any]
    """Those of the regressor."""
    features: Features
    seed: int
    weighted: dict[int, bool]
    """Whether rows of each role have weights, on whichever worker; there are no rows of a role that it lacks."""


class Shard(Peers):
    """One worker of several, each with a share of the rows.

    Parameters
    ----------
    keys : array of shape (n,)
        Those of the worker's training rows.
    """

    def __init__(self, keys: Floats) -> None:
        self._keys = keys

    def total(self, numbers: Floats) -> Floats:
        """Sums of numbers over all workers."""
        return _summed(np.asarray(numbers, dtype=np.float64))

    def folds(self, n: int, random: np.random.RandomState) -> Folds:
        """Divide the rows by their keys."""
        return Folds((self._keys * FOLDS).astype(np.int64), FOLDS)

    def draw(self, n: int, most: int, random: np.random.RandomState) -> Draw:
        """Draw the rows with the smallest keys of all workers."""
        given = spared(most, collective.get_world_size())
        own = np.sort(self._keys)[:given]
        below = -float(collective.allreduce(np.array([-limit(self._keys, given)]), collective.Op.MAX)[0])
        keys = _gathered(own)
        chosen = keys[smallest(keys, below, most)]
        rows = np.flatnonzero(self._keys <= chosen[-1])
        return _SharedDraw(rows, np.argsort(_gathered(self._keys[rows])))

    def sample(self, y: Floats, weight: Floats | None) -> tuple[Floats, Floats | None]:
        """Targets and weights of at most 262,144 rows of all workers, and the outermost targets, which end the bins."""
        draw = self.draw(len(y), BIN_ROWS, np.random.RandomState())
        # in the columns of one array: each call waits for all workers
        columns = np.stack([y, np.ones(len(y)) if weight is None else weight], axis=1)
        targets, weights = draw.gather(columns[draw.rows]).T
        if self.total(np.array([len(y)]))[0] > len(targets):
            ends = np.array([-y.min(initial=np.inf), y.max(initial=-np.inf)])
            low, high = collective.allreduce(ends, collective.Op.MAX) * [-1, 1]
            targets, weights = np.append(targets, [low, high]), np.append(weights, [1.0, 1.0])
        return np.ascontiguousarray(targets), None if weight is None else np.ascontiguousarray(weights)


class _SharedDraw(Draw):
    """Rows of all workers, in the order of their keys, which is the same whoever has them."""

    def __init__(self, rows: NDArray[np.intp], order: NDArray[np.intp]) -> None:
        super().__init__(rows)
        self._order = order

    def gather(self, values: NDArray[Any]) -> NDArray[Any]:
        """What belongs to the drawn rows of all workers."""
        gathered: NDArray[Any] = _gathered(values)[self._order]
        return gathered


def train_shard(job: Job, blocks: Sequence[Block], communication: dict[str, Any]) -> State | None:
    """Train on a worker's blocks; the first of the workers returns the model's state, the others None.

    Parameters
    ----------
    job : Job
    blocks : sequence of Block
    communication : dict
        Where the workers find each other, as XGBoost's tracker gives it.
    """
    # idle threads of a BLAS spin for a while, on the cores that XGBoost needs next
    with collective.CommunicatorContext(**communication), threadpool_limits(1, user_api="blas"):
        model = XGBBridgeRegressor(**job.params | {"n_jobs": worker_threads(job.params["n_jobs"])})
        engine = model._engine(job.features.columns, Prepared()).make(0, {})
        engine.features.restore(Arrays(job.features.arrays()))
        blocks = sorted(blocks, key=lambda block: block.number)
        shard = Shard(np.concatenate([block.keys[block.roles == TRAINING] for block in blocks]))
        # held by nobody else: the stages let go of features that they have replaced
        trained = engine.boost(
            _rows(blocks, TRAINING, job, shard),
            _rows(blocks, VALIDATION, job, shard) if VALIDATION in job.weighted else None,
            job.seed,
            Report(),
        )
        return trained.state() if collective.get_rank() == 0 else None


def worker_threads(wanted: int | None) -> int:
    """Number of threads: those that Dask gives the worker, or fewer."""
    try:
        given = int(get_worker().state.nthreads)
    except ValueError:
        # a scheduler of threads or processes has no workers
        given = 1
    return given if wanted is None or wanted < 1 else min(wanted, given)


def _rows(blocks: Sequence[Block], role: int, job: Job, shard: Shard) -> Sample:
    """Rows of one role, in the order of their blocks."""
    chosen = [block.roles == role for block in blocks]
    ends = np.cumsum([np.count_nonzero(own) for own in chosen])
    values = np.empty((int(ends[-1]), blocks[0].values.shape[1]), dtype=np.float32)
    for block, own, stop in zip(blocks, chosen, ends, strict=True):
        values[stop - np.count_nonzero(own) : stop] = block.values[own]
    y = np.concatenate([block.y[own] for block, own in zip(blocks, chosen, strict=True)])
    weight = None
    if job.weighted[role]:
        # a block without weights has no rows of this role
        weights = [block.weight[own] for block, own in zip(blocks, chosen, strict=True) if block.weight is not None]
        weight = np.concatenate([*weights, np.empty(0)])
    return Sample(pd.DataFrame(index=pd.RangeIndex(len(y))), values, y, weight, peers=shard)


def _summed(numbers: NDArray[Any]) -> NDArray[Any]:
    total: NDArray[Any] = collective.allreduce(numbers, collective.Op.SUM).reshape(numbers.shape)
    return total


def _gathered(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of all workers, of shape (m, ...), in the order of the workers."""
    counts = np.zeros(collective.get_world_size(), dtype=np.int64)
    counts[collective.get_rank()] = len(rows)
    ends = np.cumsum(_summed(counts))
    everywhere = np.zeros((int(ends[-1]), *rows.shape[1:]), dtype=rows.dtype)
    stop = int(ends[collective.get_rank()])
    everywhere[stop - len(rows) : stop] = rows
    return everywhere if math.prod(everywhere.shape) == 0 else _summed(everywhere)
