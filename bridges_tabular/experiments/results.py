"""The tables of a run: their columns, means over seeds, and how they are read back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.scores import SCORES

IDENTITY = ("table", "model", "engine", "scheme", "seed")
RESULT_COLUMNS = (*IDENTITY, *(score.name for score in SCORES))

# of the quantiles in predictions.csv
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def quantile_names(levels: Iterable[float]) -> list[str]:
    """Return column names of quantiles: ``q05`` for 0.05, ``q97.5`` for 0.975."""
    percents = [f"{100 * level:.10g}".partition(".") for level in levels]
    return [f"q{whole.zfill(2)}{point}{decimals}" for whole, point, decimals in percents]


PREDICTION_COLUMNS = (
    *("table", "model", "seed", "row", "y_true", "y_pred", "crps", "pit"),
    *quantile_names(LEVELS),
)
CURVE_COLUMNS = ("table", "model", "seed", "step", "metric", "score")


def results_frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of scores as a table with the columns of results.csv, NaN where a score is missing."""
    return pd.DataFrame(list(rows)).reindex(columns=list(RESULT_COLUMNS))


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """Return the means of results over the seeds, one row for each model of each table, sorted by RMSE.

    The tables keep their order. A model that failed on any of the seeds has no means: over the others they would not
    compare with those of the other models.
    """
    keys = [key for key in IDENTITY if key != "seed"]
    names = [score.name for score in SCORES]
    means = results.groupby(keys, sort=False)[names].mean()
    failed = results[names].isna().all(axis="columns").groupby([results[key] for key in keys], sort=False).any()
    means[failed.to_numpy()] = np.nan
    means = means.reset_index()
    tables = pd.Index(means["table"].unique())
    order = np.lexsort([means["rmse"], tables.get_indexer(means["table"])])
    return means.iloc[order].reset_index(drop=True)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file of a run; a model named ``NA`` or ``1`` keeps its name, a group ``01`` its zero."""
    columns = pd.read_csv(path, nrows=0).columns
    names = {key: str for key in (*IDENTITY, "feature", "mark") if key != "seed" and key in columns}
    empty = {column: [""] for column in columns if column not in names}
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=empty, float_precision="round_trip")
