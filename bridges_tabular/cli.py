"""The command line: ``bridges-tabular compare``, ``train``, ``predict``, ``tune`` and ``report``.

Only the parser is built here; a command imports what it needs when it runs, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bridges_tabular import _help

_DEFAULT_EXPERIMENT = "diamonds"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        The exit status: 0, 2 for bad input, or 130 after Ctrl-C.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    # argparse leaves over what follows an option that follows the first inputs: `compare a.yaml --quiet b=1`
    unknown = [argument for argument in rest if argument.startswith("-") or not hasattr(options, "inputs")]
    if unknown:
        _refuse_argument(options.parser, unknown[0])
    if rest:
        options.inputs += rest
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    """Run a command; turn bad input, Ctrl-C and warnings into a line each."""
    import signal
    import warnings

    from bridges_tabular.experiments.blocks import ExperimentError

    def interrupt(*_: object) -> NoReturn:
        raise _Interrupt

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        if not options.quiet:
            _say(f"warning: {message}")

    before = signal.getsignal(signal.SIGINT)
    # a shell starts background jobs with the signal ignored, which stays so
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            # addressed to the authors of libraries: whoever runs a command can do nothing about them
            warnings.simplefilter("ignore", DeprecationWarning)
            options.run(options)
        return 0
    except ExperimentError as error:
        _say(f"error: {error}")
        return 2
    except _Interrupt:
        _say(f"interrupted, {options.interrupted}")
        return 130
    finally:
        signal.signal(signal.SIGINT, before)


class _Interrupt(BaseException):
    """Ctrl-C; not a KeyboardInterrupt, which pytorch-lightning takes for its own and ends the process."""


def _compare(options: argparse.Namespace) -> None:
    from bridges_tabular.experiments import Experiment, compare
    from bridges_tabular.experiments.console import print_scores, working
    from bridges_tabular.experiments.folders import check_folder

    experiment = Experiment.read(*_file_and_overrides(options.inputs))
    out = options.out or Path("runs") / experiment.name
    check_folder(out, options.overwrite)
    comparison = compare(experiment, quiet=options.quiet)
    with working("writing the report", options.quiet):
        comparison.save(out, options.overwrite)
    if not options.quiet:
        print_scores(comparison.summary())
        print(f"written to {out}: open {Path(out) / 'report.html'}")


def _train(options: argparse.Namespace) -> None:
    from bridges_tabular.experiments import Experiment, train
    from bridges_tabular.experiments.blocks import ExperimentError
    from bridges_tabular.experiments.console import print_scores
    from bridges_tabular.experiments.folders import check_folder
    from bridges_tabular.experiments.results import results_frame

    if not options.inputs or "=" in options.inputs[0]:
        raise ExperimentError("train needs an experiment file, or the name of a bundled one")
    experiment = Experiment.read(*_file_and_overrides(options.inputs))
    check_folder(options.out, options.overwrite)
    trained = train(experiment, options.model, quiet=options.quiet)
    trained.save(options.out, options.overwrite)
    if not options.quiet:
        print_scores(results_frame([trained.fitted.scores]))
        print(f"written to {options.out}")


def _report(options: argparse.Namespace) -> None:
    from bridges_tabular.experiments.console import working
    from bridges_tabular.experiments.reporting import write_report

    with working("writing the report", options.quiet):
        path = write_report(options.run_dir)
    if not options.quiet:
        print(f"written: open {path}")


def _predict(options: argparse.Namespace) -> None:
    from bridges_tabular.experiments.console import working
    from bridges_tabular.experiments.prediction import predict_table

    with working("predicting", options.quiet):
        predict_table(options.model_dir, options.table, options.out, options.quantiles, options.overwrite)
    if not options.quiet:
        print(f"written to {options.out}")


def _tune(options: argparse.Namespace) -> None:
    from bridges_tabular.experiments import BridgeStudy, Experiment
    from bridges_tabular.experiments.blocks import ExperimentError
    from bridges_tabular.experiments.console import print_scores

    if not options.inputs or "=" in options.inputs[0]:
        raise ExperimentError("tune needs an experiment file, or the name of a bundled one")
    study = BridgeStudy(Experiment.read(*_file_and_overrides(options.inputs)), options.out, options.overwrite)
    result = study.optimize(quiet=options.quiet)
    if not options.quiet:
        print_scores(result.comparison.summary(), "scores on the test rows, which the study has not seen")
        print(f"written to {options.out}: open {Path(options.out) / 'study.html'}, or run '{study.dashboard_command}'")


def _file_and_overrides(inputs: Sequence[str]) -> tuple[str, list[str]]:
    """Split ``[CONFIG] [key=value ...]``."""
    first, *others = inputs or [_DEFAULT_EXPERIMENT]
    if "=" in first and not Path(first).exists():
        return _DEFAULT_EXPERIMENT, [first, *others]
    return first, others


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="bridges-tabular", description=_help.DESCRIPTION, epilog=_help.EXAMPLES)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")

    compare = _command(
        commands,
        "compare",
        "fit and score all models of an experiment",
        _help.COMPARE,
        _help.FILE + _help.COMPARE_EXAMPLES,
    )
    compare.usage = "bridges-tabular compare [CONFIG] [key=value ...] [--out DIR] [--overwrite] [--quiet]"
    compare.add_argument(
        "inputs",
        nargs="*",
        metavar="CONFIG key=value",
        help=f"an experiment file, or the name of a bundled one (default: {_DEFAULT_EXPERIMENT}); then values"
        " to change in it, keys dotted, values in YAML",
    )
    compare.add_argument("--out", metavar="DIR", help="folder to write (default: runs/NAME OF CONFIG)")
    compare.set_defaults(run=_compare)

    train = _command(commands, "train", "fit one model and save it", _help.TRAIN, _help.FILE + _help.TRAIN_EXAMPLES)
    train.usage = "bridges-tabular train CONFIG [key=value ...] --model NAME --out DIR [--overwrite] [--quiet]"
    train.add_argument(
        "inputs",
        nargs="*",
        metavar="CONFIG key=value",
        help="an experiment file, or the name of a bundled one; then values to change in it",
    )
    train.add_argument("--model", metavar="NAME", required=True, help="name of the model in the file")
    train.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    train.set_defaults(run=_train)

    predict = _command(commands, "predict", "predict a table with a saved model", _help.PREDICT, _help.PREDICT_EXAMPLES)
    predict.add_argument("model_dir", metavar="DIR", help="a folder written by train")
    predict.add_argument("table", metavar="TABLE", help="a .csv, .csv.gz or .parquet path, or openml:ID")
    predict.add_argument("--out", metavar="FILE.csv", required=True, help="file to write")
    predict.add_argument(
        "--quantiles",
        metavar="LEVELS",
        type=_levels,
        help="between 0 and 1, separated by commas (default: 0.05,0.5,0.95; none for a model of points)",
    )
    predict.set_defaults(run=_predict)

    tune = _command(commands, "tune", "search the parameters of models", _help.TUNE, _help.STUDY + _help.TUNE_EXAMPLES)
    tune.usage = "bridges-tabular tune CONFIG [key=value ...] --out DIR [--overwrite] [--quiet]"
    tune.add_argument(
        "inputs",
        nargs="*",
        metavar="CONFIG key=value",
        help="an experiment file, or the name of a bundled one (diamonds_study); then values to change in it",
    )
    tune.add_argument("--out", metavar="DIR", required=True, help="folder to write; a study that it holds goes on")
    tune.add_argument("--overwrite", action="store_true", help="forget the study that DIR or its storage holds")
    tune.set_defaults(run=_tune, interrupted="finished trials are kept: the same command goes on")

    report = _command(commands, "report", "make the report of a comparison anew", _help.REPORT, _help.REPORT_EXAMPLES)
    report.add_argument("run_dir", metavar="DIR", help="a folder written by compare")
    report.set_defaults(run=_report, interrupted="the report stays as it was")

    for command in (compare, train, predict):
        command.add_argument("--overwrite", action="store_true", help="replace what --out holds (default: refuse)")
        command.set_defaults(interrupted="nothing was written")
    for command in (compare, train, predict, tune, report):
        command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def _command(commands: object, name: str, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(  # type: ignore[attr-defined]
        name, help=help, description=description, epilog=epilog
    )
    command.set_defaults(parser=command)
    return command


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of help texts, and reports an error in one line."""

    def __init__(self, **settings: object) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **settings,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        _say(f"error: {message}; see '{self.prog} --help'")
        sys.exit(2)


class _Version(argparse.Action):
    """Looks the version up when it is asked for: argparse's own action wants it beforehand."""

    def __init__(self, **settings: object) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **settings)  # type: ignore[arg-type]

    def __call__(self, *_: object, **__: object) -> NoReturn:
        from bridges_tabular import __version__

        print(f"bridges-tabular {__version__}")
        sys.exit(0)


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


def _refuse_argument(parser: argparse.ArgumentParser, argument: str) -> NoReturn:
    import difflib

    if not argument.startswith("-"):
        parser.error(f"unexpected argument {argument!r}")
    known = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(argument.partition("=")[0], known, n=1)
    parser.error(f"unknown option {argument!r}" + (f", did you mean {close[0]!r}?" if close else ""))


def _say(message: str) -> None:
    # names from files may hold anything; a line stays a line, and a terminal gets no control characters
    line = " ".join(message.split())
    print("bridges-tabular: " + "".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
