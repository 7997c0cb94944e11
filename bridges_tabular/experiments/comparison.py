"""Every model of an experiment on the same rows, and the folder of files that comes of it."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments import folders
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.console import FitBars
from bridges_tabular.experiments.engines import check_models
from bridges_tabular.experiments.results import results_frame, summarize
from bridges_tabular.experiments.run import CURVES, PREDICTIONS, RESULTS, File, write_json
from bridges_tabular.experiments.scores import incomparable
from bridges_tabular.experiments.sections import COLLECTING
from bridges_tabular.experiments.sections.base import FittedModels
from bridges_tabular.experiments.sections.distributions import Distributions
from bridges_tabular.experiments.sections.features import Features
from bridges_tabular.experiments.sections.learned import Learned
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
    collected : dict of File to DataFrame or list of dict
        What the sections of the report made of the models of each table's first split.
    facts : dict
        Sizes of the tables and of the parts of the split, versions of the libraries.
    """

    experiment: Experiment
    results: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    collected: dict[File, Any]
    facts: dict[str, Any]

    @property
    def importances(self) -> pd.DataFrame:
        """Permutation importances of the features on test rows."""
        importances: pd.DataFrame = self.collected[Features.file]
        return importances

    @property
    def encoders(self) -> list[dict[str, Any]]:
        """Classes, decoder and encoder of the models over bins."""
        encoders: list[dict[str, Any]] = self.collected[Learned.file]
        return encoders

    @property
    def examples(self) -> list[dict[str, Any]]:
        """Predictive distributions of a few test rows."""
        examples: list[dict[str, Any]] = self.collected[Distributions.file]
        return examples

    @property
    def incomparable(self) -> dict[str, dict[str, str]]:
        """By table, the scores in which its models cannot be compared, and why."""
        return {table["name"]: table["incomparable"] for table in self.facts["tables"]}

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

        contents = {RESULTS: self.results, PREDICTIONS: self.predictions, CURVES: self.curves, **self.collected}
        with folders.new_folder(directory, overwrite) as folder:
            (folder / folders.CONFIG_FILE).write_text(self.experiment.to_yaml(), encoding="utf-8")
            for file, content in contents.items():
                file.write(folder, content)
            write_json(folder / folders.FACTS_FILE, self.facts)
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
        predictions=PREDICTIONS.join([frame for part in parts for frame in part.predictions]),
        curves=CURVES.join([frame for part in parts for frame in part.curves]),
        collected={file: file.join([part.collected[file] for part in parts]) for file in COLLECTING},
        facts={
            "tables": [_table_facts(table, its) for table, its in zip(tables, splits, strict=True)],
            "versions": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores",
        },
    )


@dataclass(frozen=True)
class _Part:
    """What one table gave."""

    results: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[pd.DataFrame] = field(default_factory=list)
    curves: list[pd.DataFrame] = field(default_factory=list)
    collected: dict[File, Any] = field(default_factory=dict)


def _compare_on(table: Table, splits: list[Split], experiment: Experiment, bars: FitBars) -> _Part:
    part = _Part()
    for split in splits:
        models = {}
        for name, block in experiment.models.items():
            fitted = fit_and_score(table, split, name, block, bars)
            part.results.append(fitted.scores)
            part.predictions.append(fitted.predictions)
            part.curves.append(fitted.curve)
            models[name] = fitted.model
        if split is splits[0]:
            first = FittedModels(table, split, models, PREDICTIONS.join(part.predictions))
            part.collected.update((file, section.collect(first)) for file, section in COLLECTING.items())
    return part


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


def _table_facts(table: Table, splits: Sequence[Split]) -> dict[str, Any]:
    dtypes = table.X.dtypes
    # with several splits, a score is compared where it may be on all of them
    reasons = [incomparable(table.y[split.train]) for split in splits]
    return {
        "name": table.name,
        "target": table.target,
        "rows": len(table.y),
        "numbers": int(sum(pd.api.types.is_numeric_dtype(dtype) for dtype in dtypes)),
        "dates": int(sum(pd.api.types.is_datetime64_any_dtype(dtype) for dtype in dtypes)),
        "columns": [str(column) for column in table.X.columns],
        "parts": {part: len(rows) for part, rows in splits[0].parts().items()},
        "incomparable": {name: reason for one in reversed(reasons) for name, reason in one.items()},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
