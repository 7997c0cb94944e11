"""``bridges-tabular tune``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bridges_tabular.cli.experiment import add_inputs, read_experiment
from bridges_tabular.cli.parsing import Parser, add_command, add_overwrite, say_what_failed
from bridges_tabular.experiments.scores import METRICS

if TYPE_CHECKING:
    from bridges_tabular.cli.parsing import Commands

_DESCRIPTION = """\
Search the parameters of models of an experiment file with Optuna.

The study block of the file says which models, how many trials, and what to search; every key has a
default but the model. The first trial is the model as the file has it, or the closest to it that
study.space holds. Trials are fitted on the training rows and scored on the validation rows of the
first seed; the test rows are scored once, at the end, with the model as the file has it and the best
configuration.

DIR gets config.yaml (the experiment), best.yaml (an experiment file with the default and the best
configuration: 'compare DIR/best.yaml' gives the same test scores again), results.csv (those scores),
trials.csv (every trial), study.html (history, importances, slices, Pareto front), and study.log (the
trials as Optuna keeps them) unless study.storage says where.

A study that was stopped, by Ctrl-C, a crash or a full disk, goes on with the same command and loses
at most the trials that were running. Raise study.trials to go on with a finished one."""

_FIRST_METRIC, *_OTHER_METRICS = METRICS
_STUDY = f"""\
the study block, with its defaults:
  study:
    model: NAME               a name under models, or a list: each gets its own study (no default)
    trials: 50                finished trials, all workers and runs together; failed ones count
    timeout: null             start no trial after so many seconds
    metric: {_FIRST_METRIC}              or {", ".join(_OTHER_METRICS)}; a list searches the trade-off, without pruning
    folds: 1                  1: scored on the validation rows; k: on k parts of the training rows
    sampler: {{name: tpe, seed: 0}}   tpe, random, gp, cmaes, nsgaii, nsgaiii, qmc, grid or
                              brute_force, with the arguments of Optuna's class
    pruner: {{name: median}}    or hyperband, successive_halving, wilcoxon (with folds), none; likewise
    storage: null             sqlite:///FILE, postgresql://..., mysql://..., grpc://HOST:PORT, or the
                              path of a journal; null: DIR/study.log
    workers: 1                processes on this machine; others may join through the storage
    bundled_space: true       begin with the space bundled for engine, scheme and backbone
    space:                    added to it or in place of an entry, as written; null takes one out
      n_bins: {{type: int, low: 8, high: 128, log: true}}
      smoothing: {{type: float, low: 0.25, high: 4.0, log: true}}
      placement: {{type: categorical, choices: [quantile, uniform, kmeans]}}
      backbone_params.layers: {{type: categorical, choices: [128-64, 256-256]}}

The validation rows also stop each fit early and calibrate its distribution, so that scores on them
come out too good, though alike for all trials. With folds, trials are scored on rows no fit has seen.
"""

_EXAMPLES = """
examples:
  bridges-tabular tune diamonds_study study.trials=10 --out runs/tuned
  bridges-tabular tune my.yaml study.model=network_bridge study.metric=[rmse,crps] --out runs/both
  bridges-tabular tune my.yaml study.workers=4 study.storage=sqlite:///study.db --out runs/four
  optuna-dashboard runs/tuned/study.log     (pip install "bridges-tabular[dashboard]")
  bridges-tabular compare runs/tuned/best.yaml"""


def add(commands: Commands) -> Parser:
    """Add the command to a parser."""
    command = add_command(
        commands,
        run,
        name="tune",
        help="search the parameters of models",
        description=_DESCRIPTION,
        epilog=_STUDY + _EXAMPLES,
        usage="bridges-tabular tune CONFIG [key=value ...] --out DIR [--overwrite] [--quiet]",
        interrupted="finished trials are kept: the same command goes on",
    )
    add_inputs(
        command, "an experiment file, or the name of a bundled one (diamonds_study); then values to change in it"
    )
    command.add_argument("--out", metavar="DIR", required=True, help="folder to write; a study that it holds goes on")
    add_overwrite(command, "forget the study that DIR or its storage holds")
    return command


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from bridges_tabular.experiments.console import print_scores
    from bridges_tabular.experiments.studies import BridgeStudy

    study = BridgeStudy(read_experiment(options.inputs, "tune"), options.out, options.overwrite)
    result = study.optimize(quiet=options.quiet)
    if not options.quiet:
        caption = "scores on the test rows, which the study has not seen"
        print_scores(result.comparison.summary(), caption, result.comparison.incomparable)
        print(f"written to {options.out}: open {Path(options.out) / 'study.html'}, or run '{study.dashboard_command}'")
    return say_what_failed(result.comparison)
