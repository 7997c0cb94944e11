"""``bridges-tabular report``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridges_tabular.cli.parsing import Parser, add_command

if TYPE_CHECKING:
    from bridges_tabular.cli.parsing import Commands

_DESCRIPTION = """\
Make DIR/report.html anew from the other files of a comparison.

After an update of the package, or after report.baseline was changed in DIR/config.yaml. The same
files give the same page to the last byte; nothing is trained."""

_EXAMPLES = """\
examples:
  bridges-tabular report runs/diamonds"""


def add(commands: Commands) -> Parser:
    """Add the command to a parser."""
    command = add_command(
        commands,
        run,
        name="report",
        help="make the report of a comparison anew",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        interrupted="the report stays as it was",
    )
    command.add_argument("run_dir", metavar="DIR", help="a folder written by compare")
    return command


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from bridges_tabular.experiments.console import working
    from bridges_tabular.experiments.reporting import write_report

    with working("writing the report", options.quiet):
        path = write_report(options.run_dir)
    if not options.quiet:
        print(f"written: open {path}")
