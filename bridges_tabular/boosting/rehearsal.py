"""What XGBoost would refuse in the middle of a fit, found beforehand on two rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xgboost as xgb
from xgboost.callback import TrainingCallback

from bridges_tabular.boosting.booster import Output, Params
from bridges_tabular.boosting.xgboost import output_params
from bridges_tabular.regressors.words import hint, one_line, shown

_LONGEST_REASON = 160


def check_params(params: Params, further: Params, outputs: Iterable[Output]) -> None:
    """Refuse parameters that XGBoost does not know or cannot use, by a round of boosting on two rows.

    Parameters
    ----------
    params : dict
        All parameters of the trees.
    further : dict
        Those among them that a user gave under XGBoost's own names.
    outputs : iterable of Output
        What the trees of each stage put out: XGBoost has less for vector leaves than for others.

    Raises
    ------
    ValueError
        In one line.
    """
    # nothing to try: constructor and defaults have been checked
    if not further and params["device"] == "cpu":
        return
    for name in further:
        if not isinstance(name, str):
            raise ValueError(f"xgb_params holds {shown(name)}, which is no name")
    # in the form that fits have them
    form = xgb.QuantileDMatrix if params["tree_method"] in ("hist", "auto") else xgb.DMatrix
    limit = {"max_bin": params["max_bin"]} if form is xgb.QuantileDMatrix and "max_bin" in params else {}
    config: dict[str, Any] = {}
    for output in outputs:
        flat = np.ones((2, output.n_margins), dtype=np.float32)
        quiet = {"verbosity": 0, "nthread": 1, "disable_default_eval_metric": True}
        own = None if output.offsets is not None else lambda *_, flat=flat: (flat, flat)
        try:
            rows = form(np.array([[0.0], [1.0]]), label=[0.0, 1.0], nthread=1, **limit)
            booster = xgb.train(output_params(output, []) | params | quiet, rows, 1, obj=own)
            config = json.loads(booster.save_config())
        except (xgb.core.XGBoostError, TypeError, ValueError, AttributeError, OverflowError) as error:
            where = f"xgb_params {shown(further)}" if further else f"device={params['device']!r}"
            raise ValueError(f"{where}: XGBoost cannot train with that: {_in_one_line(error)}") from None
    known = set(_keys(config))
    for name in further:
        if name not in known:
            raise ValueError(f"xgb_params: XGBoost has no parameter {shown(name)}{hint(name, known)}")
    used = config["learner"]["generic_param"]["device"]
    if not params["device"].startswith("cpu") and used.startswith("cpu"):
        raise ValueError(f"device={params['device']!r}: XGBoost finds no such device here; use 'cpu'")


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Refuse what XGBoost would not call.

    Raises
    ------
    ValueError
        In one line.
    """
    for callback in callbacks:
        if not isinstance(callback, TrainingCallback):
            raise ValueError(f"callbacks holds {shown(callback)}, which is no xgboost.callback.TrainingCallback")


def _in_one_line(error: Exception) -> str:
    """What XGBoost says, without the place in its source and the stack."""
    text = str(error).partition("Stack trace:")[0]
    return one_line(" ".join(re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", text).split()), _LONGEST_REASON)


def _keys(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        for name, value in config.items():
            yield name
            yield from _keys(value)
