"""Every model of an experiment on the same rows, and the folder of files that comes of it."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments import folders
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.console import FitBars
from bridges_tabular.experiments.diagnostics import describe_encoder, permutation_importance
from bridges_tabular.experiments.examples import add_model, choose_examples
from bridges_tabular.experiments.models import Regressor, check_models
from bridges_tabular.experiments.results import CURVE_COLUMNS, IMPORTANCE_COLUMNS, results_frame, summarize
from bridges_tabular.experiments.tables import Split, Table, load_table, make_splits
from bridges_tabular.experiments.training import fit_and_score

_LIBRARIES = ("bridges-tabular", "numpy", "pandas", "scikit-learn", "torch", "pytorch-tabular", "xgboost", "plotly")


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    experiment : Experiment
    results : DataFrame
        One row for each table, model and seed, with the columns of results.csv; NaN where a model of points has no
        distribution to score.
    predictions : DataFrame
        One row for each table, model, seed and test row: the prediction, its quantiles, the CRPS and the
        probability integral transform.
    curves : DataFrame
        The validation score after each epoch or round of every fit.
    importances : DataFrame
        Permutation importances of the features on the test rows of each table's first split.
    encoders : list of dict
        Classes, decoder and encoder of the models over bins, fitted on each table's first split.
    examples : list of dict
        Predictive distributions of a few test rows of each table's first split.
    facts : dict
        Sizes of the tables and of the parts of the split, versions of the libraries.
    """

    experiment: Experiment
    results: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    importances: pd.DataFrame
    encoders: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    facts: dict[str, Any]

    def summary(self) -> pd.DataFrame:
        """Return the scores of each model, means over the seeds; tables in their order, sorted by RMSE."""
        return summarize(self.results)

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the files of the run: config.yaml, results.csv, report.html and those that it is made of.

        Raises
        ------
        ExperimentError
            If the folder holds something else, or another run and ``overwrite`` is not set.
        """
        from bridges_tabular.experiments.reporting import render_report

        with folders.new_folder(directory, overwrite) as folder:
            (folder / folders.CONFIG_FILE).write_text(self.experiment.to_yaml(), encoding="utf-8")
            frames = {
                folders.RESULTS_FILE: self.results,
                folders.PREDICTIONS_FILE: self.predictions,
                folders.CURVES_FILE: self.curves,
                folders.IMPORTANCE_FILE: self.importances,
            }
            for name, frame in frames.items():
                frame.to_csv(folder / name, index=False)
            contents = {
                folders.ENCODERS_FILE: self.encoders,
                folders.EXAMPLES_FILE: self.examples,
                folders.FACTS_FILE: self.facts,
            }
            for name, content in contents.items():
                text = json.dumps(content, allow_nan=False)
                (folder / name).write_text(text + "\n", encoding="utf-8")
            (folder / folders.REPORT_FILE).write_text(render_report(folder), encoding="utf-8")


def compare(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    quiet: bool = False,
    **blocks: Any,
) -> Comparison:
    """Fit every model of an experiment on the same training rows and score it on the same test rows.

    Parameters
    ----------
    experiment : Experiment, path of an experiment file, name of a bundled one, or mapping with its content
    quiet : bool
        No progress bars.
    **blocks : mapping
        Values to change in the file: ``table={"rows": 2000}``.

    Raises
    ------
    ExperimentError
        Before anything is fitted, if the experiment cannot be run.

    Examples
    --------
    >>> from bridges_tabular.experiments import compare
    >>> comparison = compare("diamonds", table={"rows": 2000})  # doctest: +SKIP
    >>> comparison.summary()  # doctest: +SKIP
    >>> comparison.save("runs/diamonds")  # doctest: +SKIP
    """
    if isinstance(experiment, Experiment):
        if blocks:
            raise ExperimentError("values can be changed in a file or a mapping, not in an Experiment")
    else:
        experiment = Experiment.read(experiment, **blocks)
    check_models(experiment)
    tables = _load_tables(experiment)
    splits = [make_splits(table, experiment.split) for table in tables]
    with FitBars(list(experiment.models), sum(map(len, splits)), quiet) as bars:
        parts = [_compare_on(table, its, experiment, bars) for table, its in zip(tables, splits, strict=True)]
    return Comparison(
        experiment=experiment,
        results=results_frame(row for part in parts for row in part.results),
        predictions=_stack([frame for part in parts for frame in part.predictions]),
        curves=_stack([frame for part in parts for frame in part.curves], CURVE_COLUMNS),
        importances=_stack([frame for part in parts for frame in part.importances], IMPORTANCE_COLUMNS),
        encoders=[encoder for part in parts for encoder in part.encoders],
        examples=[example for part in parts for example in part.examples],
        facts={
            "tables": [_table_facts(table, its[0]) for table, its in zip(tables, splits, strict=True)],
            "versions": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores",
        },
    )


@dataclass(frozen=True)
class _Part:
    """What one table gave."""

    results: list[dict[str, Any]]
    predictions: list[pd.DataFrame]
    curves: list[pd.DataFrame]
    importances: list[pd.DataFrame]
    encoders: list[dict[str, Any]]
    examples: list[dict[str, Any]]


def _compare_on(table: Table, splits: list[Split], experiment: Experiment, bars: FitBars) -> _Part:
    part = _Part([], [], [], [], [], [])
    for split in splits:
        models = {}
        for name, block in experiment.models.items():
            fitted = fit_and_score(table, split, name, block, bars)
            part.results.append(fitted.scores)
            part.predictions.append(fitted.predictions)
            part.curves.append(fitted.curve)
            models[name] = fitted.model
        if split is splits[0]:
            _look_inside(table, split, models, part)
    return part


def _look_inside(table: Table, split: Split, models: Mapping[str, Regressor], part: _Part) -> None:
    """Add importances, encoders and examples of the models fitted on the split."""
    X_test, y_test = table.X.iloc[split.test], table.y[split.test]
    part.examples.extend(choose_examples(table, split, _stack(part.predictions)))
    for name, model in models.items():
        key: dict[str, Any] = {"table": table.name, "model": name, "seed": split.seed}
        importance = permutation_importance(model, X_test, y_test, split.seed)
        part.importances.append(importance.assign(**key)[list(IMPORTANCE_COLUMNS)])
        encoder = describe_encoder(model, X_test, y_test)
        if encoder is not None:
            part.encoders.append(key | encoder)
        add_model(part.examples, name, model, X_test)


def _load_tables(experiment: Experiment) -> list[Table]:
    """Load the tables; of those that share a name, the target tells them apart.

    Raises
    ------
    ExperimentError
        If a table cannot be used, or is listed twice.
    """
    tables = [load_table(block) for block in experiment.tables]
    shared = Counter(table.name for table in tables)
    tables = [
        replace(table, name=f"{table.name}, {table.target}") if shared[table.name] > 1 else table for table in tables
    ]
    for name, count in Counter(table.name for table in tables).items():
        if count > 1:
            raise ExperimentError(f"tables: {count} tables would be shown as {name!r}; rename a file or drop one")
    return tables


def _stack(frames: list[pd.DataFrame], columns: tuple[str, ...] | None = None) -> pd.DataFrame:
    # a model of points, or a fit without steps, has columns without a value, whose type must not count
    filled = [frame.dropna(axis="columns", how="all") for frame in frames if len(frame)]
    order = columns or list(frames[0].columns)
    return pd.concat(filled, ignore_index=True).reindex(columns=list(order)) if filled else pd.DataFrame(columns=order)


def _table_facts(table: Table, split: Split) -> dict[str, Any]:
    return {
        "name": table.name,
        "target": table.target,
        "rows": len(table.y),
        "numbers": int(sum(pd.api.types.is_numeric_dtype(dtype) for dtype in table.X.dtypes)),
        "columns": [str(column) for column in table.X.columns],
        "parts": {part: len(rows) for part, rows in split.parts().items()},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
