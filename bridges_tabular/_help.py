"""What ``--help`` says: of the whole command line and of each command."""

from __future__ import annotations

DESCRIPTION = """\
Regression as classification over bins, with a full predictive distribution,
for pytorch-tabular networks and XGBoost."""

EXAMPLES = """\
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

COMPARE = """\
Fit every model of an experiment file on the same rows and score it on the same test rows.

Prints the scores, sorted by RMSE and the best of each column marked with *, and writes DIR:
config.yaml (the experiment as it ran), results.csv (the scores), predictions.csv (every
test row) and report.html (one page to look at and pass on), beside the smaller files that
the page is made of."""

FILE = """\
the experiment file:
  table:
    source: prices.csv      a bundled name (diamonds), .csv, .csv.gz, .parquet or openml:ID
    target: price           the numeric column to predict
    drop: [id]              columns to leave out                     (default: [])
    rows: 20000             at most so many rows, seeded             (default: null, all)
  split:
    test: 0.2               share of the rows that only scores see   (default: 0.2)
    validation: 0.2         share for early stopping and calibration (default: 0.2)
    seeds: [0, 1, 2]        one split and fit for each               (default: [0])
  models:
    any_name: {engine: tabular, backbone: CategoryEmbeddingModelConfig, scheme: end_to_end}
    another:  {engine: xgboost, scheme: hard, n_bins: 64}
  report:
    baseline: another       the model that the others are compared with
                            (default: null, the first with scheme least_squares)
  In place of table, 'tables: [{...}, {...}]' lists several: one report with a summary over all.

  engine    tabular (any parameter of TabularBridgeRegressor may follow)
            xgboost (any parameter of XGBBridgeRegressor may follow)
  scheme    end_to_end (default), pretrained, soft, hard: over bins; least_squares; with
            tabular also softmax_least_squares
"""

COMPARE_EXAMPLES = """
examples:
  bridges-tabular compare
  bridges-tabular compare table.rows=2000
  bridges-tabular compare my.yaml split.seeds=[0,1,2] models.network.max_epochs=20
  bridges-tabular compare my.yaml --out runs/mine --overwrite"""

TRAIN = """\
Fit one model of an experiment file and keep it.

It is fitted as 'compare' does with the first seed of the file: on the training rows, with early
stopping on the validation rows; its scores on the test rows are printed. DIR holds the model as
JSON, safetensors and UBJSON, never a pickle, with config.yaml and results.csv."""

TRAIN_EXAMPLES = """
examples:
  bridges-tabular train diamonds --model xgboost_bins --out models/diamonds
  bridges-tabular train my.yaml --model network_bridge models.network_bridge.n_bins=64 --out models/64"""

REPORT = """\
Make DIR/report.html anew from the other files of a comparison.

After an update of the package, or after report.baseline was changed in DIR/config.yaml. The same
files give the same page to the last byte; nothing is trained."""

REPORT_EXAMPLES = """\
examples:
  bridges-tabular report runs/diamonds"""

PREDICT = """\
Predict the rows of a table with a saved model.

FILE.csv gets a line for each row of the table, in its order: the row's number counted from 0, the
prediction, and the quantiles of the predictive distribution where the model has one. Columns that
the model was not trained on are ignored."""

PREDICT_EXAMPLES = """\
examples:
  bridges-tabular predict models/diamonds new.csv --out predictions.csv
  bridges-tabular predict models/diamonds new.parquet --out tails.csv --quantiles 0.01,0.99"""


TUNE = """\
Search the parameters of models of an experiment file with Optuna.

The study block of the file says which models, how many trials, and what to search; every key has a
default but the model. The first trial is the model as the file has it. Trials are fitted on the
training rows and scored on the validation rows of the first seed; the test rows are scored once, at
the end, with that first configuration and the best one.

DIR gets config.yaml (the experiment), best.yaml (an experiment file with the default and the best
configuration: 'compare DIR/best.yaml' gives the same test scores again), results.csv (those scores),
trials.csv (every trial), study.html (history, importances, slices, Pareto front), and study.log (the
trials as Optuna keeps them) unless study.storage says where.

A study that was stopped, by Ctrl-C, a crash or a full disk, goes on with the same command and loses
at most the trials that were running. Raise study.trials to go on with a finished one."""

STUDY = """\
the study block, with its defaults:
  study:
    model: NAME               a name under models, or a list: each gets its own study (no default)
    trials: 50                finished trials, all workers and runs together; failed ones count
    timeout: null             start no trial after so many seconds
    metric: rmse              or mae, crps, log_score; a list searches the trade-off, without pruning
    folds: 1                  1: scored on the validation rows; k: on k parts of the training rows
    sampler: {name: tpe, seed: 0}   tpe, random, gp, cmaes, nsgaii, nsgaiii, qmc, grid or
                              brute_force, with the arguments of Optuna's class
    pruner: {name: median}    or hyperband, successive_halving, wilcoxon (with folds), none; likewise
    storage: null             sqlite:///FILE, postgresql://..., mysql://..., grpc://HOST:PORT, or the
                              path of a journal; null: DIR/study.log
    workers: 1                processes on this machine; others may join through the storage
    bundled_space: true       begin with the space bundled for engine, scheme and backbone
    space:                    added to it, or in place of an entry; null takes one out
      n_bins: {type: int, low: 8, high: 128, log: true}
      smoothing: {type: float, low: 0.25, high: 4.0, log: true}
      placement: {type: categorical, choices: [quantile, uniform, kmeans]}
      backbone_params.layers: {type: categorical, choices: [128-64, 256-256]}

The validation rows also stop each fit early and calibrate its distribution, so that scores on them
come out too good, though alike for all trials. With folds, trials are scored on rows no fit has seen.
"""

TUNE_EXAMPLES = """
examples:
  bridges-tabular tune diamonds_study study.trials=10 --out runs/tuned
  bridges-tabular tune my.yaml study.model=network_bridge study.metric=[rmse,crps] --out runs/both
  bridges-tabular tune my.yaml study.workers=4 study.storage=sqlite:///study.db --out runs/four
  optuna-dashboard runs/tuned/study.log     (pip install "bridges-tabular[dashboard]")
  bridges-tabular compare runs/tuned/best.yaml"""
