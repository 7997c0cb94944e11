"""A fit on Dask: two passes over the partitions, then all stages on all workers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dask
import pandas as pd
from distributed import Client, get_client

from bridges_tabular.boosting.dask.blocks import (
    CONFORMAL,
    EVAL_SET,
    TRAINING,
    VALIDATION,
    Division,
    Partition,
    Reading,
    learn,
    read,
)
from bridges_tabular.boosting.dask.cluster import run_together
from bridges_tabular.boosting.dask.collections import has_names, partitions
from bridges_tabular.boosting.dask.draws import spared
from bridges_tabular.boosting.dask.learned import Learned, Sampled
from bridges_tabular.boosting.dask.shard import BIN_ROWS, Job, train_shard
from bridges_tabular.boosting.features import Features
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.card import describe_targets
from bridges_tabular.regressors.digest import check_same
from bridges_tabular.regressors.engine import CALIBRATION_ROWS, Parts
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.rows import Given, Rows
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.streams import of_part
from bridges_tabular.regressors.tables import check_table

if TYPE_CHECKING:
    from bridges_tabular.boosting.regressor import XGBBridgeRegressor

_SAMPLED = Sampled(BIN_ROWS, CALIBRATION_ROWS)
_ROLES = {TRAINING: "training", VALIDATION: "validation", CONFORMAL: "calibration"}


def fit(model: XGBBridgeRegressor, client: Client, X: Any, y: Any, sample_weight: Any, watched: Given | None) -> None:
    """Fit a regressor, whose parameters have been checked, to collections of Dask's.

    The first pass over the partitions learns kinds, categories and ranges of columns, moments of the target, and
    draws the rows that calibrate; the second reads features in single precision, which stay on the workers. Then all
    of them train all stages, each on its share of the rows.
    """
    seed, _ = model._draws()
    division = Division(seed, model._held_out_share() if watched is None else None, model.calibration_fraction)
    parts = partitions(X, y, sample_weight, ("X", "y", "sample_weight"))
    if watched is not None:
        called = ("X of eval_set", watched.name, "sample_weight of eval_set")
        parts += partitions(watched.X, watched.y, watched.weight, called, EVAL_SET, VALIDATION)
    learned = _learn(client, parts, division)
    _check_rows(model, learned, watched)
    train = learned[TRAINING]
    if watched is not None:
        with of_part("eval_set"):
            check_same(list(train.digest.columns), list(learned[VALIDATION].digest.columns), "rows of X")
    model._columns = train.digest.encoder(*(one.digest for role, one in learned.items() if role != TRAINING))
    model._columns.named = has_names(X)
    table = train.digest.frame()
    check_table(model, table if has_names(X) else table.set_axis(range(table.shape[1]), axis="columns"), reset=True)
    model._single = True
    targets, weights = train.all_targets()
    plain = model._units() == (None, None)
    model.scale_ = train.moments.scale if plain else TargetScale.fit(targets[:, None], weights, *model._units())
    model.facts_ = {
        "rows": train.moments.rows,
        "columns": train.digest.describe(train.table, model._columns),
        "targets": describe_targets(targets[:, None], [str(getattr(y, "name", None) or "y")]),
    }
    features = Features(model._columns, Prepared())
    features.fit(table)
    means = {role: one.moments.mean_weight for role, one in learned.items() if one.weighted}
    reading = Reading(division, features, model.scale_, means)
    weighted = {role: one.weighted for role, one in learned.items()}
    trained = _train(model, client, parts, reading, weighted, seed)
    rows = Rows(pd.DataFrame(index=pd.RangeIndex(len(targets))), targets[:, None], weights)
    held_out = [
        learned[role].sample().standard(model.scale_) if role in learned else None for role in (VALIDATION, CONFORMAL)
    ]
    model._calibrated = model._calibrate(trained, rows, Parts(rows, held_out[0], held_out[1], None), seed)
    model._trained = trained


def _learn(client: Client, parts: Sequence[Partition], division: Division) -> dict[int, Learned]:
    """What the rows of all partitions teach, by their roles."""
    sent = Sampled(*(spared(most, len(parts)) for most in _SAMPLED))
    task = dask.delayed(learn, pure=True)
    found: list[dict[int, Learned]] = client.gather(client.compute([task(part, division, sent) for part in parts]))
    roles = [role for role in _ROLES if any(role in one for one in found)]
    return {role: Learned.merged([one[role] for one in found if role in one], _SAMPLED) for role in roles}


def _check_rows(model: XGBBridgeRegressor, learned: Mapping[int, Learned], watched: Given | None) -> None:
    wanted = {TRAINING: True, VALIDATION: watched is not None or model._held_out_share() is not None}
    wanted[CONFORMAL] = model.calibration_fraction is not None
    rows = sum(one.moments.rows for one in learned.values())
    for role, is_wanted in wanted.items():
        if is_wanted and role not in learned:
            called = "eval_set" if role == VALIDATION and watched is not None else "X"
            raise ValueError(f"{called} holds too few of {rows} rows with a weight: there are no {_ROLES[role]} rows")


def _train(
    model: XGBBridgeRegressor,
    client: Client,
    parts: Sequence[Partition],
    reading: Reading,
    weighted: dict[int, bool],
    seed: int,
) -> Any:
    task, plan = dask.delayed(read, pure=True), dask.delayed(reading)
    blocks = client.compute([task(part, plan) for part in parts])
    sizes = client.gather([client.submit(_size, block) for block in blocks])
    full = [(block, size) for block, size in zip(blocks, sizes, strict=True) if size]
    params = model.get_params(deep=False) | {"random_state": seed}
    job = Job(params, reading.features, seed, weighted)
    state, arrays = run_together(client, train_shard, job, [block for block, _ in full], [size for _, size in full])
    return model._engine(model._columns, Prepared()).restore(state, Arrays(arrays))


def _size(block: Any) -> int:
    return len(block.y)


def client_of(given: Client | None) -> Client:
    """The client to use: the one given, or Dask's own.

    Raises
    ------
    ValueError
        If there is none.
    """
    if given is not None:
        return given
    try:
        return get_client()
    except ValueError:
        raise ValueError(
            "there is no Dask client: make one with dask.distributed.Client(), or set that of the model"
        ) from None
