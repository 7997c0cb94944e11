"""The commands: their parser, and how one of them runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bridges_tabular.cli import compare, predict, report, train, tune
from bridges_tabular.cli.interrupts import Interrupts
from bridges_tabular.cli.parsing import Parser, Version, refuse_argument, say

_DESCRIPTION = """\
Regression as classification over bins, with a full predictive distribution,
for pytorch-tabular networks and XGBoost."""

_EXAMPLES = """\
examples:
  bridges-tabular compare
      two networks and two boosted models on the bundled diamonds table
  bridges-tabular compare my.yaml models.network_bridge.n_bins=64 --out runs/64
      your own experiment file, with one value changed
  bridges-tabular train my.yaml --model network_bridge --out models/bridge
  bridges-tabular predict models/bridge new.csv --out predictions.csv
  bridges-tabular tune my.yaml study.model=network_bridge study.trials=50 --out runs/tuned
  bridges-tabular report runs/64
      the report of a comparison, made anew from its files

'bridges-tabular COMMAND --help' explains each command."""

_COMMANDS = (compare, train, predict, tune, report)


def run(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    """Run a command and return the exit status; Ctrl-C goes through."""
    parser = Parser(prog="bridges-tabular", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action=Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands).add_argument("--quiet", action="store_true", help="print nothing but errors")
    options, rest = parser.parse_known_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    # argparse leaves over what follows an option that follows the first inputs: `compare a.yaml --quiet b=1`
    unknown = [argument for argument in rest if argument.startswith("-") or not hasattr(options, "inputs")]
    if unknown:
        refuse_argument(options.parser, unknown[0])
    if rest:
        options.inputs += rest
    interrupts.leaves = options.interrupted
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    """Run a command; turn bad input and warnings into a line each."""
    import warnings

    from bridges_tabular.experiments.blocks import ExperimentError
    from bridges_tabular.experiments.dates import TableNote

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        if not options.quiet:
            say(str(message) if isinstance(message, TableNote) else f"warning: {message}")

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            # addressed to the authors of libraries: whoever runs a command can do nothing about them
            warnings.simplefilter("ignore", DeprecationWarning)
            return options.run(options) or 0
    except ExperimentError as error:
        say(f"error: {error}")
        return 2
