"""Predictions of a saved model for the rows of a table, as a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments.blocks import ExperimentError, nearest
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.folders import CONFIG_FILE, check_writable, new_file
from bridges_tabular.experiments.locks import claimed
from bridges_tabular.experiments.paths import find_file
from bridges_tabular.experiments.results import quantile_names
from bridges_tabular.experiments.tables import read_frame
from bridges_tabular.regressors.artifacts import load
from bridges_tabular.regressors.words import shown

_DEFAULT_LEVELS = (0.05, 0.5, 0.95)


def predict_table(
    model_folder: str | Path,
    table: str,
    out: str | Path,
    levels: Sequence[float] | None = None,
    overwrite: bool = False,
    missing: Sequence[str | float] | None = None,
) -> None:
    """Predict every row of a table and write a CSV file with the columns row, y_pred and the quantiles.

    Parameters
    ----------
    model_folder : path
        Written by a regressor's ``save`` or by ``bridges-tabular train``.
    table : str
        See :func:`~bridges_tabular.experiments.tables.read_frame`.
    out : path
    levels : sequence of float, optional
        Probabilities of the quantiles; 0.05, 0.5 and 0.95 by default where the model has a distribution.
    overwrite : bool
        Replace a file that exists.
    missing : sequence of str or float, optional
        Cells that say that a value is missing. Default: those that did so where ``bridges-tabular train`` fitted the
        model.

    Raises
    ------
    ExperimentError
        If the model, the table or the file to write cannot be used.
    """
    _check_file(Path(out), overwrite)
    try:
        model = load(model_folder)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{model_folder} holds no model that can be loaded: {error}") from None
    has_distribution = hasattr(model, "predict_distribution")
    if levels is not None and not has_distribution:
        raise ExperimentError(f"--quantiles: the model in {model_folder} (scheme {model.scheme}) predicts points alone")
    frame = _read_features(table, model, model_folder, _missing_in(model_folder) if missing is None else missing)
    if has_distribution:
        levels = levels or _DEFAULT_LEVELS
    with claimed(out):
        _check_file(Path(out), overwrite)
        try:
            predictions = pd.DataFrame({"row": range(len(frame)), "y_pred": model.predict(frame)})
            if levels is not None:
                predictions[quantile_names(levels)] = model.predict_quantiles(frame, list(levels))
        except (TypeError, ValueError) as error:
            # the regressors refuse infinite numbers, and text where there were numbers
            raise ExperimentError(f"{table}: {error}") from None
        with new_file(out) as written:
            predictions.to_csv(written, index=False)


def _check_file(out: Path, overwrite: bool) -> None:
    check_writable(out)
    if out.is_dir():
        raise ExperimentError(f"{out} is a folder, not a file")
    if out.exists() and not overwrite:
        raise ExperimentError(f"{out} exists: choose another file with --out, or replace it with --overwrite")


def _missing_in(model_folder: str | Path) -> Sequence[str | float]:
    """What said that a value is missing in the table that a model was fitted on, where ``train`` did that."""
    config = find_file(Path(model_folder) / CONFIG_FILE)
    return () if config is None else Experiment.read(config).table.missing


def _read_features(table: str, model: Any, model_folder: str | Path, missing: Sequence[str | float]) -> pd.DataFrame:
    """Read the columns that a model was fitted on: by name, or all by position where the model knows no names."""
    frame = read_frame(table, model.date_columns_, missing, model.text_columns_)
    if len(frame) == 0:
        raise ExperimentError(f"{table} has no rows")
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        for column in names:
            if column not in frame.columns:
                raise ExperimentError(f"{table} has no column {shown(column)}{nearest(column, frame.columns)}")
        return frame[list(names)]
    expected = model.n_features_in_
    if frame.shape[1] != expected:
        raise ExperimentError(
            f"{table} has {frame.shape[1]} columns, and the model in {model_folder} takes {expected}: it was fitted on"
            " an array, so that columns are taken by position"
        )
    return frame.set_axis(range(expected), axis="columns")
