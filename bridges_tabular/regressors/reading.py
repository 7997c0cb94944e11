"""The arguments of ``fit`` as rows: checked, and divided into those to train on, to watch and to calibrate by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.rows import Rows, Validation

if TYPE_CHECKING:
    from bridges_tabular.regressors.base import BridgeRegressor


def read(
    model: BridgeRegressor,
    X: Any,
    y: Any,
    sample_weight: Any,
    given: Validation | None,
    random: np.random.RandomState,
    prepared: Prepared,
) -> tuple[Rows, Rows | None, Rows | None, Rows | None]:
    """The rows of :class:`~bridges_tabular.regressors.engine.Parts`, in the user's units.

    Raises
    ------
    ValueError
        If anything in them cannot be used.
    """
    several = bool(model.__sklearn_tags__().target_tags.multi_output)
    train = Rows.read(model, X, y, sample_weight, "y", reset=not model._continued(), several=several)
    if model._continued() and train.y.shape[1] != len(model.scale_.mean):
        raise ValueError(f"y has {train.y.shape[1]} targets, that of the fit to go on from {len(model.scale_.mean)}")
    model._single = not (several and np.asarray(y).ndim == 2)
    validation = everything = conformal = None
    if given is not None:
        validation = Rows.read(model, *given, reset=False, several=several)
        if validation.y.shape[1] != train.y.shape[1]:
            raise ValueError(f"y has {train.y.shape[1]} targets, {given.name} {validation.y.shape[1]}")
    apart = model._conformal_share()
    if apart is not None:
        train, conformal = train.hold_out(apart, random, prepared)
    share = model._held_out_share()
    if validation is None and share is not None:
        everything = train
        train, validation = train.hold_out(share, random, prepared)
    return train, validation, conformal, everything
