"""``bridges-tabular predict``."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from bridges_tabular.cli.parsing import Parser, add_command, add_overwrite, say

if TYPE_CHECKING:
    from bridges_tabular.cli.parsing import Commands

_MOST_WARNINGS = 10
_DESCRIPTION = """\
Predict the rows of a table with a saved model.

FILE gets a line for each row of the table, in its order: the row's number counted from 0, the
columns of --keep, the prediction, and the quantiles of the predictive distribution where the model
has one. Columns that the model was not trained on are ignored; a model that was trained on an array
knows no names, and takes all columns of the table by position, those of --keep aside where there are
more. A model of table.exposure predicts totals where the table has that column, and rates where it
has not.

A table may be longer than memory: some thousand rows are read, predicted and kept at a time. After
Ctrl-C, a crash or a full disk the same command goes on, and FILE is the same to the last byte.

Columns whose values differ from those of the training are printed; of one that is off by a factor of
hundreds, or mostly unlike the training, there is a warning with --quiet, too."""

_EXAMPLES = """\
examples:
  bridges-tabular predict models/diamonds new.csv --out predictions.csv
  bridges-tabular predict models/diamonds new.parquet --out tails.parquet --quantiles 0.01,0.99
  bridges-tabular predict models/diamonds new.csv --out risk.csv --keep id --interval 0.9 --above 5000,10000"""


def add(commands: Commands) -> Parser:
    """Add the command to a parser."""
    from bridges_tabular.experiments.paths import bundled_tables

    command = add_command(
        commands,
        run,
        name="predict",
        help="predict a table with a saved model",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        interrupted="rows that are done are kept: the same command goes on",
    )
    command.add_argument("model_dir", metavar="DIR", help="a folder written by train")
    names = ", ".join(bundled_tables())
    command.add_argument(
        "table", metavar="TABLE", help=f"a .csv, .csv.gz or .parquet path, openml:ID, or a bundled table ({names})"
    )
    command.add_argument("--out", metavar="FILE", required=True, help="file to write: .csv, .csv.gz or .parquet")
    command.add_argument(
        "--keep",
        metavar="COLUMNS",
        action="append",
        default=[],
        help="columns of the table to repeat in FILE, separated by commas; may be given again",
    )
    command.add_argument(
        "--quantiles",
        metavar="LEVELS",
        type=_levels,
        help="between 0 and 1, separated by commas (default: 0.05,0.5,0.95; none for a model of points)",
    )
    command.add_argument(
        "--interval",
        metavar="COVERAGE",
        type=_coverage,
        help="ends of intervals that hold so many targets, such as 0.9",
    )
    command.add_argument(
        "--conformal",
        action="store_true",
        help="give the intervals the coverage that they had on held-out rows; a guarantee for a model with a"
        " calibration_fraction",
    )
    command.add_argument(
        "--above",
        metavar="VALUES",
        type=_values,
        default=[],
        help="probabilities that the target is larger than these values, separated by commas",
    )
    command.add_argument(
        "--missing",
        metavar="CELL",
        action="append",
        help="a cell that says that a value is missing; may be given again (default: table.missing of the training)",
    )
    command.add_argument(
        "--drift", metavar="FILE.html", help="a page to write, of how every column differs from the training rows"
    )
    add_overwrite(command, "replace the files that exist (default: refuse)")
    return command


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from bridges_tabular.experiments.console import print_drift, rows_bar
    from bridges_tabular.experiments.prediction import Wanted, predict_table

    if options.conformal and options.interval is None:
        options.parser.error("--conformal is of intervals: it needs --interval")
    wanted = Wanted(
        levels=options.quantiles and tuple(options.quantiles),
        coverage=options.interval,
        conformal=options.conformal,
        above=tuple(options.above),
        keep=tuple(options.keep),
    )
    with rows_bar(options.quiet) as progress:
        drift = predict_table(
            options.model_dir,
            options.table,
            options.out,
            wanted,
            overwrite=options.overwrite,
            missing=options.missing,
            drift_page=options.drift,
            progress=progress,
        )
    if not options.quiet:
        print_drift(drift)
        print(f"{drift.rows:,} rows written to {options.out}")
    warnings = drift.warnings()
    for warning in warnings[:_MOST_WARNINGS]:
        say(f"warning: {warning}")
    if len(warnings) > _MOST_WARNINGS:
        say(f"warning: {len(warnings) - _MOST_WARNINGS} more columns are unlike the training, too")


def _values(text: str, example: str = "5000,10000") -> list[float]:
    """Different finite numbers, separated by commas."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as {example}") from None
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"{text!r} holds a number that is not finite")
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"{text!r} holds a number twice")
    return values


def _levels(text: str) -> list[float]:
    levels = _values(text, "0.05,0.5,0.95")
    wrong = [level for level in levels if not 0 < level < 1]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]} does not lie between 0 and 1")
    return levels


def _coverage(text: str) -> float:
    coverages = _levels(text)
    if len(coverages) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is more than one number")
    return coverages[0]
