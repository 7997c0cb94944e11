"""The arguments of ``fit`` as rows: checked, and divided into those to train on, to watch and to calibrate by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.rows import Given, Rows

if TYPE_CHECKING:
    from bridges_tabular.regressors.base import BridgeRegressor


def read(
    model: BridgeRegressor,
    given: Given,
    watched: Given | None,
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
    train = Rows.read(model, given, reset=not model._continued(), several=several)
    if model._continued() and train.y.shape[1] != len(model.scale_.mean):
        raise ValueError(f"y has {train.y.shape[1]} targets, that of the fit to go on from {len(model.scale_.mean)}")
    model._single = not (several and np.asarray(given.y).ndim == 2)
    validation = everything = conformal = None
    if watched is not None:
        if (given.exposure is None) != (watched.exposure is None):
            missing = "exposure" if given.exposure is None else "exposure_val"
            raise ValueError(f"exposure and exposure_val belong together: {missing} is missing")
        validation = Rows.read(model, watched, reset=False, several=several)
        if validation.y.shape[1] != train.y.shape[1]:
            raise ValueError(f"y has {train.y.shape[1]} targets, {watched.name} {validation.y.shape[1]}")
    apart = model._conformal_share()
    if apart is not None:
        train, conformal = train.hold_out(apart, random, prepared)
    share = model._held_out_share()
    if validation is None and share is not None:
        everything = train
        train, validation = train.hold_out(share, random, prepared)
    return train, validation, conformal, everything
