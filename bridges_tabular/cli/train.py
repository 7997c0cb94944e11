"""``bridges-tabular train``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from bridges_tabular.cli.experiment import FILE, add_inputs, read_experiment
from bridges_tabular.cli.parsing import Parser, add_command, add_overwrite, say

if TYPE_CHECKING:
    from bridges_tabular.cli.parsing import Commands

_DESCRIPTION = """\
Fit one model of an experiment file and keep it.

It is fitted as 'compare' does with the first seed of the file: on the training rows, with early
stopping on the validation rows; its scores on the test rows are printed. With --all-rows, the test
rows train as well, and there are no scores: for the model to use once a comparison has chosen it.
DIR holds the model as JSON, safetensors and UBJSON, never a pickle, with config.yaml and results.csv."""

_EXAMPLES = """
examples:
  bridges-tabular train diamonds --model xgboost_bins --out models/diamonds
  bridges-tabular train my.yaml --model network_bridge models.network_bridge.n_bins=64 --out models/64
  bridges-tabular train my.yaml --model network_bridge --all-rows --out models/final"""


def add(commands: Commands) -> Parser:
    """Add the command to a parser."""
    command = add_command(
        commands,
        run,
        name="train",
        help="fit one model and save it",
        description=_DESCRIPTION,
        epilog=FILE + _EXAMPLES,
        usage="bridges-tabular train CONFIG [key=value ...] --model NAME --out DIR [--all-rows] [--overwrite]\n"
        "                             [--quiet]",
    )
    add_inputs(command, "an experiment file, or the name of a bundled one; then values to change in it")
    command.add_argument("--model", metavar="NAME", required=True, help="name of the model in the file")
    command.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    command.add_argument(
        "--all-rows",
        action="store_true",
        help="train on the test rows as well, as split.test=0 does",
    )
    add_overwrite(command)
    return command


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from bridges_tabular.experiments.blocks import ExperimentError
    from bridges_tabular.experiments.console import print_scores
    from bridges_tabular.experiments.parts import in_one_line
    from bridges_tabular.experiments.results import results_frame
    from bridges_tabular.experiments.training import train

    experiment = read_experiment(options.inputs, "train")
    if options.all_rows:
        experiment = replace(experiment, split=replace(experiment.split, test=0.0))
    try:
        trained = train(experiment, options.model, out=options.out, overwrite=options.overwrite, quiet=options.quiet)
    except ExperimentError:
        raise
    except Exception as error:
        say(f"error: {options.model} has failed: {in_one_line(error)}")
        return 1
    if not options.quiet:
        if experiment.split.test:
            print_scores(results_frame([trained.fitted.scores]))
        print(f"written to {options.out}")
    return 0
