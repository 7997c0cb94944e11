"""Every model of an experiment on the same rows, and the folder of files that comes of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments.config import Experiment, ExperimentError
from bridges_tabular.experiments.console import FitBars
from bridges_tabular.experiments.examples import add_model, choose_examples
from bridges_tabular.experiments.folders import CONFIG_FILE, RESULTS_FILE, new_folder
from bridges_tabular.experiments.models import check_models
from bridges_tabular.experiments.report import (
    EXAMPLES_FILE,
    FACTS_FILE,
    PREDICTIONS_FILE,
    REPORT_FILE,
    render_report,
)
from bridges_tabular.experiments.results import results_frame, summarize
from bridges_tabular.experiments.tables import Split, Table, load_table, make_splits
from bridges_tabular.experiments.training import fit_and_score

_LIBRARIES = ("bridges-tabular", "numpy", "pandas", "scikit-learn", "torch", "pytorch-tabular", "xgboost")


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    experiment : Experiment
    results : DataFrame
        One row for each model and seed, with the columns of results.csv; NaN where a model of points has no
        distribution to score.
    predictions : DataFrame
        One row for each model, seed and test row.
    examples : list of dict
        Predictive distributions of a few test rows of the first split.
    facts : dict
        Sizes of the table and of the parts of the split, versions of the libraries.
    """

    experiment: Experiment
    results: pd.DataFrame
    predictions: pd.DataFrame
    examples: list[dict[str, Any]]
    facts: dict[str, Any]

    def summary(self) -> pd.DataFrame:
        """Return the scores of each model, means over the seeds, sorted by RMSE."""
        return summarize(self.results)

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write config.yaml, results.csv, predictions.csv, examples.json, facts.json and report.html.

        Raises
        ------
        ExperimentError
            If the folder holds something else, or another run and ``overwrite`` is not set.
        """
        with new_folder(directory, overwrite) as folder:
            (folder / CONFIG_FILE).write_text(self.experiment.to_yaml(), encoding="utf-8")
            self.results.to_csv(folder / RESULTS_FILE, index=False)
            self.predictions.to_csv(folder / PREDICTIONS_FILE, index=False)
            for name, content in ((EXAMPLES_FILE, self.examples), (FACTS_FILE, self.facts)):
                text = json.dumps(content, indent=1, allow_nan=False)
                (folder / name).write_text(text + "\n", encoding="utf-8")
            (folder / REPORT_FILE).write_text(render_report(folder), encoding="utf-8")


def compare(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    quiet: bool = False,
    **blocks: Mapping[str, Any],
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
    table = load_table(experiment.table)
    splits = make_splits(table, experiment.split)
    examples = choose_examples(table, splits[0])
    rows, predictions = [], []
    with FitBars(list(experiment.models), len(splits), quiet) as bars:
        for split in splits:
            for name, block in experiment.models.items():
                fitted = fit_and_score(table, split, name, block, bars)
                rows.append(fitted.scores)
                predictions.append(fitted.predictions)
                if split is splits[0]:
                    add_model(examples, name, fitted)
    return Comparison(
        experiment=experiment,
        results=results_frame(rows),
        predictions=pd.concat(predictions, ignore_index=True),
        examples=examples,
        facts=_facts(table, splits[0]),
    )


def _facts(table: Table, split: Split) -> dict[str, Any]:
    return {
        "table": {
            "name": table.name,
            "target": table.target,
            "rows": len(table.y),
            "numbers": int(sum(pd.api.types.is_numeric_dtype(dtype) for dtype in table.X.dtypes)),
            "columns": [str(column) for column in table.X.columns],
            "parts": {part: len(rows) for part, rows in split.parts().items()},
        },
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
