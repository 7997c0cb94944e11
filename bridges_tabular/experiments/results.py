"""The table of results: its columns, what the scores mean, which value of each is best, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """One column of scores in results.csv.

    Attributes
    ----------
    name : str
        As in results.csv.
    heading : str
        As in printed tables and the report.
    meaning : str
        For a reader who does not know the score.
    best : "lowest", "highest", a number or None
        A number is the value to come nearest to; None: the score alone says nothing of good or bad.
    decimals : int or None
        None: as many as show four digits of the largest value.
    """

    name: str
    heading: str
    meaning: str
    best: str | float | None = "lowest"
    decimals: int | None = None

    def is_best(self, values: Sequence[float]) -> NDArray[np.bool_]:
        """Mark the best values, ties included; no value is best where there is only one."""
        array = np.asarray(values, dtype=float)
        present = np.isfinite(array)
        if present.sum() < 2 or self.best is None:
            return np.zeros(len(array), dtype=bool)
        if isinstance(self.best, str):
            loss = -array if self.best == "highest" else array
        else:
            loss = np.abs(array - self.best)
        marked: NDArray[np.bool_] = loss == loss[present].min()
        return marked

    def texts(self, values: Sequence[float]) -> list[str]:
        """Write the values of a column with the same number of decimals; empty where there is none."""
        array = np.asarray(values, dtype=float)
        finite = np.abs(array[np.isfinite(array)])
        decimals = self.decimals
        if decimals is None:
            largest = finite.max(initial=0.0)
            decimals = min(max(3 - math.floor(math.log10(largest)), 0), 8) if largest > 0 else 1
        return ["" if np.isnan(value) else f"{value:,.{decimals}f}" for value in array]


SCORES = (
    Score("rmse", "RMSE", "root of the mean squared error of the point prediction, in units of the target"),
    Score("mae", "MAE", "mean absolute error of the point prediction, in units of the target"),
    Score("r2", "R2", "share of the target's variance that the point prediction explains", "highest", 4),
    Score(
        "crps",
        "CRPS",
        "continuous ranked probability score: how far the whole predicted distribution lies from the truth,"
        " in units of the target; for a point prediction it would be the MAE",
    ),
    Score("log_score", "log score", "mean negative log density of the truth", decimals=3),
    Score("coverage_90", "coverage", "share of truths inside the predicted 90 % interval; 0.9 is right", 0.9, 3),
    Score(
        "width_90",
        "width",
        "mean width of the predicted 90 % interval, in units of the target; narrow is good where the coverage is right",
        best=None,
    ),
    Score(
        "calibration_error",
        "calibration",
        "how far predicted probabilities lie from observed frequencies; 0 is right",
        decimals=4,
    ),
    Score("fit_seconds", "fit s", "seconds to train, early stopping included", decimals=1),
    Score("predict_seconds", "predict s", "seconds for the point predictions of all test rows", decimals=3),
)

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
IMPORTANCE_COLUMNS = ("table", "model", "seed", "feature", "increase", "deviation")


def results_frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of scores as a table with the columns of results.csv, NaN where a score is missing."""
    return pd.DataFrame(list(rows)).reindex(columns=list(RESULT_COLUMNS))


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """Return the means of results over the seeds, one row for each model of each table, sorted by RMSE.

    The tables keep their order.
    """
    keys = [key for key in IDENTITY if key != "seed"]
    means = results.groupby(keys, sort=False)[[score.name for score in SCORES]].mean().reset_index()
    tables = pd.Index(means["table"].unique())
    order = np.lexsort([means["rmse"], tables.get_indexer(means["table"])])
    return means.iloc[order].reset_index(drop=True)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file of a run; a model named ``NA`` or ``1`` keeps its name."""
    columns = pd.read_csv(path, nrows=0).columns
    names = {key: str for key in (*IDENTITY, "feature") if key != "seed" and key in columns}
    empty = {column: [""] for column in columns if column not in names}
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=empty, float_precision="round_trip")
