"""The experiment file on the command line: what it may hold, and which one, with what changed, a command was given."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bridges_tabular.experiments.engines import ENGINES

if TYPE_CHECKING:
    from bridges_tabular.experiments.config import Experiment

DEFAULT_EXPERIMENT = "diamonds"

_ENGINES = "\n            ".join(
    f"{engine.name} (any parameter of {engine.class_name} may follow)" for engine in ENGINES.values()
)
FILE = f"""\
the experiment file:
  table:
    source: prices.csv      a bundled name (diamonds), .csv, .csv.gz, .parquet or openml:ID
    target: price           the numeric column to predict
    drop: [id]              columns to leave out                     (default: [])
    missing: ["?"]          cells that say that a value is missing   (default: [], empty ones and NA)
    categories: [zip]       columns of categories though of numbers  (default: [])
    rows: 20000             at most so many rows, seeded             (default: null, all)
    weight: sold            a column of weights for fits and scores  (default: null)
    exposure: years         the target is a total over this column   (default: null)
    missing_target: drop    leave rows without a target out          (default: refuse)
  split:
    test: 0.2               share of the rows that only scores see   (default: 0.2)
    validation: 0.2         share for early stopping and calibration (default: 0.2)
    seeds: [0, 1, 2]        one split and fit for each               (default: [0])
    time: sold_on           the past trains, the future tests        (default: null, at random)
    group: street           or: no group on two sides                (default: null)
    file: part              or: a column of train, validation, test  (default: null)
  models:
    any_name: {{engine: tabular, backbone: CategoryEmbeddingModelConfig, scheme: end_to_end}}
    another:  {{engine: xgboost, scheme: hard, n_bins: 64}}
  report:
    baseline: another       the model that the others are compared with
                            (default: null, the first with scheme least_squares)
  In place of table, 'tables: [{{...}}, {{...}}]' lists several: one report with a summary over all.

  engine    {_ENGINES}
  scheme    end_to_end (default), pretrained, soft, hard: over bins; least_squares; with
            tabular also softmax_least_squares
"""


def add_inputs(command: argparse.ArgumentParser, help: str) -> None:
    """Add the arguments ``CONFIG [key=value ...]``."""
    command.add_argument("inputs", nargs="*", metavar="CONFIG key=value", help=help)


def read_experiment(inputs: Sequence[str], command: str | None = None) -> Experiment:
    """Read the experiment that ``CONFIG [key=value ...]`` names.

    Parameters
    ----------
    inputs : sequence of str
    command : str, optional
        The command that needs a file; without one, the default is the bundled file.

    Raises
    ------
    ExperimentError
    """
    from bridges_tabular.experiments.blocks import ExperimentError
    from bridges_tabular.experiments.config import Experiment

    if command is not None and (not inputs or "=" in inputs[0]):
        raise ExperimentError(f"{command} needs an experiment file, or the name of a bundled one")
    first, *others = inputs or [DEFAULT_EXPERIMENT]
    if "=" in first and not os.path.exists(first):
        first, others = DEFAULT_EXPERIMENT, [first, *others]
    return Experiment.read(first, others)
