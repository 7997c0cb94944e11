"""The files of a comparison, read back and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments import folders
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.results import (
    CURVE_COLUMNS,
    IMPORTANCE_COLUMNS,
    PREDICTION_COLUMNS,
    RESULT_COLUMNS,
    read_table,
)


@dataclass(frozen=True)
class Run:
    """All that a report shows.

    Attributes
    ----------
    experiment : Experiment
    config : str
        The text of config.yaml.
    results, predictions, curves, importances : DataFrame
    encoders, examples : list of dict
    facts : dict
    """

    experiment: Experiment
    config: str
    results: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    importances: pd.DataFrame
    encoders: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    facts: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> Run:
        """Read the folder of a comparison.

        Raises
        ------
        ExperimentError
            If a file is missing or holds something else; in one line that names it.
        """
        run = Path(folder)
        if not run.is_dir():
            raise ExperimentError(f"{folder}: there is no such folder")
        return cls(
            experiment=_read(run / folders.CONFIG_FILE, Experiment.read),
            config=_read(run / folders.CONFIG_FILE, lambda path: path.read_text(encoding="utf-8")),
            results=_read(run / folders.RESULTS_FILE, lambda path: _frame(path, RESULT_COLUMNS)),
            predictions=_read(run / folders.PREDICTIONS_FILE, lambda path: _frame(path, PREDICTION_COLUMNS)),
            curves=_read(run / folders.CURVES_FILE, lambda path: _frame(path, CURVE_COLUMNS)),
            importances=_read(run / folders.IMPORTANCE_FILE, lambda path: _frame(path, IMPORTANCE_COLUMNS)),
            encoders=_read(run / folders.ENCODERS_FILE, _json),
            examples=_read(run / folders.EXAMPLES_FILE, _json),
            facts=_read(run / folders.FACTS_FILE, _json),
        )

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the experiment file, so that colours survive a change of ranking."""
        return list(dict.fromkeys(self.results["model"]))

    @property
    def seeds(self) -> list[int]:
        """The seeds, in their order."""
        return list(dict.fromkeys(self.results["seed"].tolist()))

    @property
    def baseline(self) -> str:
        """The model that others are compared with: the configured one, else the first with least squares."""
        if self.experiment.report.baseline is not None:
            return self.experiment.report.baseline
        plain = self.results.loc[self.results["scheme"] == "least_squares", "model"]
        return str(plain.iloc[0]) if len(plain) else self.models[0]

    def of_table(self, name: str) -> Run:
        """Return what concerns one table."""

        def kept(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame["table"] == name]

        return replace(
            self,
            results=kept(self.results),
            predictions=kept(self.predictions),
            curves=kept(self.curves),
            importances=kept(self.importances),
            encoders=[encoder for encoder in self.encoders if encoder["table"] == name],
            examples=[example for example in self.examples if example["table"] == name],
        )


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise ExperimentError(f"{path.parent} is not the folder of a comparison: it has no {path.name}")
    try:
        return read(path)
    except ExperimentError:
        raise
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    frame = read_table(path)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ExperimentError(f"{path} has no column {missing[0]!r}")
    return frame


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
