"""The work of a comparison: which fits there are, and what each of them gives."""

from __future__ import annotations

import os
import platform
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd
from yaml import YAMLError

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.console import FitBars, print_look
from bridges_tabular.experiments.engines import build_model, check_models
from bridges_tabular.experiments.look import Finding, look
from bridges_tabular.experiments.parts import Cells, Failure, Part
from bridges_tabular.experiments.results import results_frame
from bridges_tabular.experiments.scores import incomparable
from bridges_tabular.experiments.sections import COLLECTING
from bridges_tabular.experiments.sections.base import FittedModel
from bridges_tabular.experiments.sections.distributions import candidates
from bridges_tabular.experiments.splits import Split, make_splits
from bridges_tabular.experiments.tables import Table, load_table
from bridges_tabular.experiments.training import fit_and_score
from bridges_tabular.experiments.unfinished import Plan, Unfinished

_LIBRARIES = ("bridges-tabular", "numpy", "pandas", "scikit-learn", "torch", "pytorch-tabular", "xgboost", "plotly")


@dataclass(frozen=True)
class Fit:
    """One model to fit on one split of one table; the report shows more of those on a first split."""

    table: Table
    split: Split
    name: str
    block: ModelBlock
    is_first: bool

    def __str__(self) -> str:
        return f"{self.name} on {self.table.name}, seed {self.split.seed}"


@dataclass(frozen=True)
class Job:
    """An experiment that is checked, with its tables, their splits, and what a look at them has found."""

    experiment: Experiment
    tables: list[Table]
    splits: list[list[Split]]
    looks: list[list[Finding]]

    @classmethod
    def prepare(cls, experiment: Experiment) -> Job:
        """Check everything that can be checked before anything is fitted.

        Raises
        ------
        ExperimentError
        """
        check_models(experiment)
        experiment.split.check_test("a comparison")
        tables = _load_tables(experiment)
        splits = [make_splits(table, experiment.split) for table in tables]
        return cls(experiment, tables, splits, [look(table, its) for table, its in zip(tables, splits, strict=True)])

    @property
    def plan(self) -> Plan:
        """What must not change until all fits are done.

        Raises
        ------
        ExperimentError
            If the experiment holds an object that no file can.
        """
        try:
            config = self.experiment.to_yaml()
        except YAMLError as error:
            raise ExperimentError(f"the experiment cannot be written as YAML: {' '.join(str(error).split())}") from None
        return Plan.of(config, self.tables, _versions())

    def print_look(self, quiet: bool) -> None:
        """Say what a look at the tables has found."""
        print_look({table.name: found for table, found in zip(self.tables, self.looks, strict=True)}, quiet)

    @property
    def fits(self) -> list[Fit]:
        """All fits, in their order."""
        return [
            Fit(table, split, name, block, split is splits[0])
            for table, splits in zip(self.tables, self.splits, strict=True)
            for split in splits
            for name, block in self.experiment.models.items()
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes of the tables and of the parts of the split, versions of the libraries."""
        about = zip(self.tables, self.splits, self.looks, strict=True)
        return {
            "tables": [_table_facts(*one) for one in about],
            "versions": _versions(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores",
        }

    def run(self, quiet: bool, unfinished: Unfinished | None = None) -> list[Part | Failure]:
        """Run the fits that are not kept, and return what all of them gave.

        Parameters
        ----------
        quiet : bool
            No progress bars.
        unfinished : Unfinished, optional
            Where fits are kept.
        """
        fits, names = self.fits, list(self.experiment.models)
        with FitBars(names, len(fits) // len(names), quiet) as bars:
            n_kept = 0 if unfinished is None else unfinished.count()
            if n_kept:
                bars.say(f"going on with an unfinished run: {n_kept} of {len(fits)} fits are kept")
            return [_kept_or_new(number, fit, unfinished, bars) for number, fit in enumerate(fits, 1)]


def _kept_or_new(number: int, fit: Fit, unfinished: Unfinished | None, bars: FitBars) -> Part | Failure:
    kept = None if unfinished is None else unfinished.read(number, list(COLLECTING))
    if kept is not None:
        bars.skip(fit.name, "kept")
        return kept
    try:
        part = _fit(fit, bars)
    except Exception as error:
        failure = Failure.of(_row_without_scores(fit), error)
        bars.skip(fit.name, "failed")
        warnings.warn(f"{fit} has failed: {failure.error}", RuntimeWarning, stacklevel=2)
        return failure
    if unfinished is not None:
        unfinished.keep(number, part)
    scores = part.results.iloc[0]
    bars.finish(fit.name, fit.table.name, fit.split.seed, scores["rmse"], scores["fit_seconds"])
    return part


def _fit(fit: Fit, bars: FitBars) -> Part:
    fitted = fit_and_score(fit.table, fit.split, fit.name, fit.block, bars)
    part = Part(results_frame([fitted.scores]), fitted.predictions, fitted.curve)
    if not fit.is_first:
        return part
    model = FittedModel(fit.table, fit.split, fit.name, fitted.model)
    collected = {file: section.collect(model) for file, section in COLLECTING.items()}
    cells = None if fitted.distribution is None else Cells.of(fitted.distribution, candidates(fit.split))
    return replace(part, collected={file: one for file, one in collected.items() if one is not None}, cells=cells)


def _row_without_scores(fit: Fit) -> dict[str, Any]:
    scheme = build_model(fit.name, fit.block, fit.split.seed).scheme
    key = {"table": fit.table.name, "model": fit.name, "seed": fit.split.seed}
    return key | {"engine": fit.block.engine, "scheme": scheme}


def _load_tables(experiment: Experiment) -> list[Table]:
    """Load the tables; of those that share a name, the target tells them apart.

    Raises
    ------
    ExperimentError
        If a table cannot be used, or is listed twice.
    """
    tables = [load_table(block, experiment.split) for block in experiment.tables]
    shared = Counter(table.name for table in tables)
    tables = [
        replace(table, name=f"{table.name}, {table.target}") if shared[table.name] > 1 else table for table in tables
    ]
    for name, count in Counter(table.name for table in tables).items():
        if count > 1:
            raise ExperimentError(f"tables: {count} tables would be shown as {name!r}; rename a file or drop one")
    return tables


def _table_facts(table: Table, splits: Sequence[Split], found: Sequence[Finding]) -> dict[str, Any]:
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
        "by": None if table.marks is None else {"how": table.marks.how, "column": table.marks.column},
        "parts": {part: len(rows) for part, rows in splits[0].parts().items()},
        "incomparable": {name: reason for one in reversed(reasons) for name, reason in one.items()},
        "look": [asdict(finding) for finding in found],
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
