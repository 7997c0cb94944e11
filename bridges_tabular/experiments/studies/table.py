"""trials.csv: one row for every trial on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from bridges_tabular.experiments.studies.queue import is_lost, why_failed
from bridges_tabular.experiments.studies.search import Search

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def trials_frame(studies: Mapping[str, optuna.Study], searches: Sequence[Search]) -> pd.DataFrame:
    """Return the trials of all studies as a table.

    Returns
    -------
    DataFrame
        With the columns model, trial, state (complete, pruned, failed, lost, running), default (whether it is the model
        as the experiment file has it), a column for each metric, a column for each parameter, fit_seconds, started,
        ended, retry_of and error. A metric of a pruned trial is missing, and so is a parameter that a trial did not
        have.
    """
    metrics = list(searches[0].block.metrics)
    names = list(dict.fromkeys(parameter.name for search in searches for parameter in search.space.parameters))
    rows = [
        _row(search, trial, metrics)
        for search in searches
        for trial in studies[search.model].trials
        if trial.state != TrialState.WAITING
    ]
    columns = ["model", "trial", "state", "default", *metrics, *names]
    frame = pd.DataFrame(rows).reindex(columns=[*columns, "fit_seconds", "started", "ended", "retry_of", "error"])
    return frame.astype({"retry_of": "Int64"})


def state_name(trial: FrozenTrial) -> str:
    """Return how a trial ended, in a word; "lost" is none of Optuna's."""
    return "lost" if is_lost(trial) else _STATES[trial.state]


def _row(search: Search, trial: FrozenTrial, metrics: Sequence[str]) -> dict[str, Any]:
    values = trial.values if trial.state == TrialState.COMPLETE and trial.values else [None] * len(metrics)
    return {
        "model": search.model,
        "trial": trial.number,
        "state": state_name(trial),
        "default": bool(trial.user_attrs.get("default")) and not search.space.departures,
        **dict(zip(metrics, values, strict=True)),
        **trial.params,
        "fit_seconds": trial.user_attrs.get("fit_seconds"),
        "started": trial.datetime_start,
        "ended": trial.datetime_complete,
        "retry_of": trial.user_attrs.get("retry_of"),
        "error": why_failed(trial),
    }
