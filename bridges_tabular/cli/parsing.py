"""What all commands share: the parser, its errors in one line, and how to say something on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from bridges_tabular.experiments.comparison import Comparison

    Commands = argparse._SubParsersAction["Parser"]


class Parser(argparse.ArgumentParser):
    """Keeps the line breaks of help texts, and reports an error in one line."""

    def __init__(self, **settings: object) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **settings,  # type: ignore[arg-type]
        )

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the nearest choice: a mistyped command is one."""
        if action.choices is not None and value not in action.choices:
            from bridges_tabular.regressors.words import hint

            what = "command" if isinstance(action, argparse._SubParsersAction) else "choice"
            known = [str(choice) for choice in action.choices]
            self.error(f"there is no {what} {value!r}{hint(value, known)} (choose from {', '.join(known)})")

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        say(f"error: {message}; see '{self.prog} --help'")
        sys.exit(2)


class Version(argparse.Action):
    """Looks the version up when it is asked for: argparse's own action wants it beforehand."""

    def __init__(self, **settings: object) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **settings)  # type: ignore[arg-type]

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Print it and exit."""
        from bridges_tabular import __version__

        print(f"bridges-tabular {__version__}")
        sys.exit(0)


def add_command(
    commands: Commands,
    run: Callable[[argparse.Namespace], int | None],
    *,
    name: str,
    help: str,
    description: str,
    epilog: str,
    usage: str | None = None,
    interrupted: str = "nothing was written",
) -> Parser:
    """Add a command.

    Parameters
    ----------
    commands : argparse's subparsers
    run : callable
        Takes the options; returns the exit status where it is not 0.
    name, help, description, epilog, usage : str
        As in argparse.
    interrupted : str
        What Ctrl-C leaves.
    """
    command = commands.add_parser(name, help=help, description=description, epilog=epilog, usage=usage)
    command.set_defaults(parser=command, run=run, interrupted=interrupted)
    return command


def add_overwrite(command: Parser, help: str = "replace what --out holds (default: refuse)") -> None:
    """Add the option ``--overwrite``."""
    command.add_argument("--overwrite", action="store_true", help=help)


def refuse_argument(parser: argparse.ArgumentParser, argument: str) -> NoReturn:
    """Exit with a line about an argument that a command does not have."""
    if not argument.startswith("-"):
        parser.error(f"unexpected argument {argument!r}")
    from bridges_tabular.regressors.words import hint

    known = [option for action in parser._actions for option in action.option_strings]
    parser.error(f"unknown option {argument!r}{hint(argument.partition('=')[0], known)}")


def say(message: str) -> None:
    """Print a line on stderr; a terminal gets no control characters, which names from files may hold."""
    line = " ".join(message.split())
    print("bridges-tabular: " + "".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)


def say_what_failed(comparison: Comparison) -> int:
    """Print how many fits have failed, if any; return the exit status."""
    errors = comparison.errors
    if errors.empty:
        return 0
    first = errors.iloc[0]
    said = f"{first['model']} on {first['table']}, seed {first['seed']}: {first['error']}"
    more = f", the first of them {said}" if len(errors) > 1 else f", {said}"
    say(f"error: {len(errors)} of {len(comparison.results)} fits failed{more}; the same command tries them again")
    return 1
