"""The folder of a comparison: its files written, read back and checked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.folders import CONFIG_FILE, FACTS_FILE, REPORT_FILE, RESULTS_FILE, UNFINISHED
from bridges_tabular.experiments.results import (
    CURVE_COLUMNS,
    PREDICTION_COLUMNS,
    RESULT_COLUMNS,
    read_table,
    summarize,
)
from bridges_tabular.regressors import folders


@dataclass(frozen=True)
class File:
    """A file whose every row, or entry of a list, says what table it is about.

    Attributes
    ----------
    name : str
    columns : tuple of str
        Of a DataFrame, kept as CSV. Without any, the content is a list of dict, kept as JSON.
    optional : bool
        Whether a run without such content has no such file.
    more : tuple of str
        Further columns, which only a run with such values has.
    """

    name: str
    columns: tuple[str, ...] = ()
    optional: bool = False
    more: tuple[str, ...] = ()

    def join(self, contents: Sequence[Any]) -> Any:
        """Put the contents of several tables, or fits, together."""
        if not self.columns:
            return [entry for content in contents for entry in content]
        # a model of points, or a fit without steps, has columns without a value, whose type must not count
        filled = [frame.dropna(axis="columns", how="all") for frame in contents if len(frame)]
        if not filled:
            return pd.DataFrame(columns=list(self.columns))
        joined = pd.concat(filled, ignore_index=True)
        return joined.reindex(columns=[*self.columns, *(name for name in self.more if name in joined)])

    def write(self, folder: Path, content: Any) -> None:
        """Write a content into the folder of a run."""
        if self.optional and not len(content):
            return
        if self.columns:
            content.to_csv(folder / self.name, index=False)
        else:
            write_json(folder / self.name, content)

    def read(self, folder: Path) -> Any:
        """Read the content back.

        Raises
        ------
        ExperimentError
            If the file is missing or holds something else; in one line that names it.
        """
        if self.optional and not (folder / self.name).exists():
            return self.join([])
        if not self.columns:
            return _read(folder / self.name, _json)
        frame = _read(folder / self.name, read_table)
        missing = [column for column in self.columns if column not in frame.columns]
        if missing:
            raise ExperimentError(f"{folder / self.name} has no column {missing[0]!r}")
        return frame

    def of_table(self, content: Any, table: str) -> Any:
        """Return the part of a content that is about one table."""
        if not self.columns:
            return [entry for entry in content if entry["table"] == table]
        return content[content["table"] == table]


RESULTS = File(RESULTS_FILE, RESULT_COLUMNS)
PREDICTIONS = File("predictions.csv", PREDICTION_COLUMNS, more=("weight",))
CURVES = File("curves.csv", CURVE_COLUMNS)
# there if any fit has failed
ERRORS = File("errors.csv", ("table", "model", "seed", "error", "traceback"), optional=True)


@dataclass(frozen=True)
class Run:
    """All that a report shows.

    Attributes
    ----------
    experiment : Experiment
    config : str
        The text of config.yaml.
    results, predictions, curves : DataFrame
    collected : dict of File to its content
        What the sections of the report have collected.
    facts : dict
    errors : DataFrame
        Fits that have failed.
    """

    experiment: Experiment
    config: str
    results: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    collected: dict[File, Any]
    facts: dict[str, Any]
    errors: pd.DataFrame

    @classmethod
    def read(cls, folder: str | Path, files: Iterable[File]) -> Run:
        """Read the folder of a comparison.

        Parameters
        ----------
        folder : path
        files : iterable of File
            Those of ``collected``.

        Raises
        ------
        ExperimentError
            If a file is missing, holds something else or is not as the run wrote it; in one line that names it.
        """
        run = Path(folder)
        try:
            found = folders.find(run, UNFINISHED)
            if not run.is_dir():
                # another process is about to replace it
                run = found
            is_there = run.is_dir()
        except OSError as error:
            raise ExperimentError(f"{folder} cannot be read: {error.strerror}") from None
        if not is_there:
            raise ExperimentError(f"{folder}: there is no such folder")
        if (run / UNFINISHED).is_dir() and not (run / CONFIG_FILE).exists():
            raise ExperimentError(f"{folder} holds an unfinished comparison: the command that began it goes on")
        files = list(files)
        read = cls(
            experiment=_read(run / CONFIG_FILE, Experiment.read),
            config=_read(run / CONFIG_FILE, lambda path: path.read_text(encoding="utf-8")),
            results=RESULTS.read(run),
            predictions=PREDICTIONS.read(run),
            curves=CURVES.read(run),
            collected={file: file.read(run) for file in files},
            facts=_read(run / FACTS_FILE, _json),
            errors=ERRORS.read(run),
        )
        baseline = read.experiment.report.baseline
        if baseline is not None and baseline not in read.models:
            raise ExperimentError(f"{run / CONFIG_FILE}: report.baseline: the run has no model {baseline!r}")
        _check_unchanged(run)
        return read

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the experiment file, so that colours survive a change of ranking."""
        return list(dict.fromkeys(self.results["model"]))

    @property
    def seeds(self) -> list[int]:
        """The seeds, in their order."""
        return list(dict.fromkeys(self.results["seed"].tolist()))

    @property
    def is_one_split(self) -> bool:
        """Whether all fits of a model test the same rows: there is one seed, or a column says which rows they are."""
        by = self.table.get("by")
        return len(self.seeds) < 2 or (by is not None and by["how"] == "file")

    @property
    def baseline(self) -> str:
        """The model that others are compared with: the configured one, else the first without classes."""
        if self.experiment.report.baseline is not None:
            return self.experiment.report.baseline
        without_classes = [name for name, scheme in SCHEMES.items() if not scheme.has_classes]
        plain = self.results.loc[self.results["scheme"].isin(without_classes), "model"]
        return str(plain.iloc[0]) if len(plain) else self.models[0]

    @property
    def tables(self) -> list[dict[str, Any]]:
        """What is known of each table: name, target, sizes."""
        tables: list[dict[str, Any]] = self.facts["tables"]
        return tables

    @property
    def table(self) -> dict[str, Any]:
        """What is known of the only table."""
        (table,) = self.tables
        return table

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means of the results over the seeds, sorted by RMSE."""
        return summarize(self.results)

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The predictions of the rows that count, with a weight each: 1 where the table has none."""
        given = self.predictions
        weighted = given.assign(weight=given["weight"].fillna(1.0) if "weight" in given else 1.0)
        return weighted[weighted["weight"] > 0]

    def of_table(self, name: str) -> Run:
        """Return what concerns one table."""
        return replace(
            self,
            results=RESULTS.of_table(self.results, name),
            predictions=PREDICTIONS.of_table(self.predictions, name),
            curves=CURVES.of_table(self.curves, name),
            collected={file: file.of_table(content, name) for file, content in self.collected.items()},
            facts=self.facts | {"tables": [table for table in self.tables if table["name"] == name]},
            errors=ERRORS.of_table(self.errors, name),
        )


def write_json(path: Path, content: Any) -> None:
    """Write plain values as JSON."""
    path.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise ExperimentError(f"{path.parent} is not the folder of a comparison: it has no {path.name}")
    try:
        return read(path)
    except ExperimentError as error:
        said = str(error)
        raise ExperimentError(said if str(path) in said else f"{path}: {said}") from None
    except Exception as error:
        raise ExperimentError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def was_changed(folder: str | Path) -> Path | None:
    """What may have been changed since the run was written: config.yaml, or any file where there is no manifest."""
    run = Path(folder)
    if not (run / folders.MANIFEST_FILE).exists():
        return run
    try:
        folders.read_file(run, CONFIG_FILE, folders.read_manifest(run), sys.maxsize)
    except (OSError, ValueError):
        return run / CONFIG_FILE
    return None


def _check_unchanged(run: Path) -> None:
    """Refuse a file that is not as the run wrote it; config.yaml may be changed, and report.html is made anew."""
    if not (run / folders.MANIFEST_FILE).exists():
        return
    try:
        manifest = folders.read_manifest(run)
        for name in manifest["files"]:
            if name not in (CONFIG_FILE, REPORT_FILE):
                folders.read_file(run, name, manifest, sys.maxsize)
    except (OSError, ValueError) as error:
        raise ExperimentError(
            f"{error}; restore it, or delete {folders.MANIFEST_FILE} to have it shown as it is"
        ) from None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
