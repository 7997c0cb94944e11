"""``bridges-tabular compare``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bridges_tabular.cli.experiment import DEFAULT_EXPERIMENT, FILE, add_inputs, read_experiment
from bridges_tabular.cli.parsing import Parser, add_command, add_overwrite, say_what_failed

if TYPE_CHECKING:
    from bridges_tabular.cli.parsing import Commands

_DESCRIPTION = """\
Fit every model of an experiment file on the same rows and score it on the same test rows.

Prints the scores, sorted by RMSE and the best of each column marked with *, and writes DIR:
config.yaml (the experiment as it ran), results.csv (the scores), predictions.csv (every
test row) and report.html (one page to look at and pass on), beside the smaller files that
the page is made of. A model that fails is named in errors.csv and in the report, and the exit
status is 1; the others are finished.

Each fit is kept in DIR as soon as it is done: after Ctrl-C, a crash, a full disk or a failure, the
same command goes on with what is missing."""

_EXAMPLES = """
examples:
  bridges-tabular compare
  bridges-tabular compare table.rows=2000
  bridges-tabular compare my.yaml split.seeds=[0,1,2] models.network.max_epochs=20
  bridges-tabular compare my.yaml --out runs/mine --overwrite"""


def add(commands: Commands) -> Parser:
    """Add the command to a parser."""
    command = add_command(
        commands,
        run,
        name="compare",
        help="fit and score all models of an experiment",
        description=_DESCRIPTION,
        epilog=FILE + _EXAMPLES,
        usage="bridges-tabular compare [CONFIG] [key=value ...] [--out DIR] [--overwrite] [--quiet]",
        interrupted="fits that are done are kept: the same command goes on",
    )
    add_inputs(
        command,
        f"an experiment file, or the name of a bundled one (default: {DEFAULT_EXPERIMENT}); then values"
        " to change in it, keys dotted, values in YAML",
    )
    command.add_argument("--out", metavar="DIR", help="folder to write (default: runs/NAME OF CONFIG)")
    add_overwrite(command, "replace another run in DIR, or an unfinished one that differs (default: refuse)")
    return command


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from bridges_tabular.experiments.comparison import compare
    from bridges_tabular.experiments.console import print_scores

    experiment = read_experiment(options.inputs)
    out = options.out or Path("runs") / experiment.name
    comparison = compare(experiment, out=out, overwrite=options.overwrite, quiet=options.quiet)
    if not options.quiet:
        print_scores(comparison.summary(), incomparable=comparison.incomparable)
        print(f"written to {out}: open {Path(out) / 'report.html'}")
    return say_what_failed(comparison)
