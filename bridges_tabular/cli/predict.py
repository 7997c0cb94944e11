"""``bridges-tabular predict``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridges_tabular.cli.parsing import Parser, add_command, add_overwrite

if TYPE_CHECKING:
    from bridges_tabular.cli.parsing import Commands

_DESCRIPTION = """\
Predict the rows of a table with a saved model.

FILE.csv gets a line for each row of the table, in its order: the row's number counted from 0, the
prediction, and the quantiles of the predictive distribution where the model has one. Columns that
the model was not trained on are ignored; a model that was trained on an array knows no names, and
takes all columns of the table by position."""

_EXAMPLES = """\
examples:
  bridges-tabular predict models/diamonds new.csv --out predictions.csv
  bridges-tabular predict models/diamonds new.parquet --out tails.csv --quantiles 0.01,0.99"""


def add(commands: Commands) -> Parser:
    """Add the command to a parser."""
    command = add_command(
        commands,
        run,
        name="predict",
        help="predict a table with a saved model",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    command.add_argument("model_dir", metavar="DIR", help="a folder written by train")
    command.add_argument("table", metavar="TABLE", help="a .csv, .csv.gz or .parquet path, or openml:ID")
    command.add_argument("--out", metavar="FILE.csv", required=True, help="file to write")
    command.add_argument(
        "--quantiles",
        metavar="LEVELS",
        type=_levels,
        help="between 0 and 1, separated by commas (default: 0.05,0.5,0.95; none for a model of points)",
    )
    command.add_argument(
        "--missing",
        metavar="CELL",
        action="append",
        help="a cell that says that a value is missing; may be given again (default: table.missing of the training)",
    )
    add_overwrite(command)
    return command


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from bridges_tabular.experiments.console import working
    from bridges_tabular.experiments.prediction import predict_table

    with working("predicting", options.quiet):
        predict_table(
            options.model_dir, options.table, options.out, options.quantiles, options.overwrite, options.missing
        )
    if not options.quiet:
        print(f"written to {options.out}")


def _levels(text: str) -> list[float]:
    try:
        levels = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.05,0.5,0.95") from None
    wrong = [level for level in levels if not 0 < level < 1]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]} does not lie between 0 and 1")
    if len(set(levels)) < len(levels):
        raise argparse.ArgumentTypeError(f"{text!r} holds a level twice")
    return levels
