"""One model on one split of one table: fitted on the training rows, scored on the test rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# calibration needs it; imported no sooner, it would be under the lock of a run, which Ctrl-C leaves in an import
import torch  # noqa: F401
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, ReportBlock, nearest
from bridges_tabular.experiments.clusters import check_clusters, fit_on
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.console import FitBars, print_look
from bridges_tabular.experiments.engines import Regressor, build_model, check_models, members_of, with_members
from bridges_tabular.experiments.folders import CONFIG_FILE, RESULTS_FILE, check_folder, new_folder
from bridges_tabular.experiments.locks import claimed
from bridges_tabular.experiments.look import look
from bridges_tabular.experiments.results import CURVE_COLUMNS, LEVELS, quantile_names, results_frame
from bridges_tabular.experiments.run import PREDICTIONS
from bridges_tabular.experiments.scores import SCORES, Outcome
from bridges_tabular.experiments.sections.curves import LearningCurve
from bridges_tabular.experiments.splits import Split, make_splits
from bridges_tabular.experiments.tables import Table, load_table
from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.kinds import NearUniqueWarning


@dataclass(frozen=True)
class Fitted:
    """A fitted model and what it says of the test rows.

    Attributes
    ----------
    model : Regressor
    scores : dict
        One row of results.csv.
    predictions : DataFrame
        The rows of predictions.csv.
    curve : DataFrame
        The rows of curves.csv: the validation score after each epoch or round.
    distribution : BinnedDistribution or None
        Of the test rows; None for a model of points.
    """

    model: Regressor
    scores: dict[str, Any]
    predictions: pd.DataFrame
    curve: pd.DataFrame
    distribution: BinnedDistribution | None


@dataclass(frozen=True)
class Member:
    """A fitted model that others may be made of, and how long it took to fit."""

    model: Regressor
    seconds: float


@dataclass(frozen=True)
class TrainedModel:
    """One model of an experiment, fitted on the experiment's first split."""

    experiment: Experiment
    fitted: Fitted

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the model, its configuration and its scores; ``bridges_tabular.load`` reads the model back.

        Raises
        ------
        ExperimentError
            If the folder holds something else, or another run and ``overwrite`` is not set.
        """
        model = self.fitted.model
        with new_folder(directory, overwrite, artifacts.header(model)) as folder:
            model.write(folder)
            (folder / CONFIG_FILE).write_text(self.experiment.to_yaml(), encoding="utf-8")
            results_frame([self.fitted.scores]).to_csv(folder / RESULTS_FILE, index=False)


def train(
    experiment: Experiment,
    model: str,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> TrainedModel:
    """Fit one model of an experiment, exactly as a comparison does on its first split, and first what it is made of.

    With ``split.test: 0`` there are no test rows: those that a comparison tests train as well, and there are no scores.

    Parameters
    ----------
    experiment : Experiment
    model : str
        Its name under ``models``.
    out : path, optional
        Folder to save it in, see :meth:`TrainedModel.save`.
    overwrite : bool
        Replace another run in ``out``.
    quiet : bool
        No progress bar.

    Raises
    ------
    ExperimentError
        Before anything is fitted, if there is no such model, the experiment cannot be run, or ``out`` not be written.
    """
    if out is not None:
        # before a large table is read, and again when it is claimed
        check_folder(out, overwrite)
    if model not in experiment.models:
        raise ExperimentError(f"models: there is no model {model!r}{nearest(model, experiment.models)}")
    models = with_members(model, experiment.models)
    alone = replace(experiment, tables=(experiment.table,), models=models, report=ReportBlock())
    check_models(alone)
    check_clusters(alone)
    table = load_table(alone.table, alone.split)
    split = make_splits(table, alone.split)[0]
    if out is None:
        return _train(alone, model, table, split, quiet)
    with claimed(out):
        check_folder(out, overwrite)
        trained = _train(alone, model, table, split, quiet)
        trained.save(out, overwrite)
    return trained


def _train(experiment: Experiment, model: str, table: Table, split: Split, quiet: bool) -> TrainedModel:
    print_look({table.name: look(table, [split])}, quiet)
    done: dict[str, Member] = {}
    with FitBars(list(experiment.models), n_splits=1, quiet=quiet) as bars:
        for name, block in experiment.models.items():
            fitted = fit_and_score(table, split, name, block, bars, done)
            seconds = fitted.scores["fit_seconds"]
            done[name] = Member(fitted.model, seconds)
            bars.finish(name, table.name, split.seed, fitted.scores["rmse"], seconds)
    return TrainedModel(experiment, fitted)


def fit_and_score(
    table: Table, split: Split, name: str, block: ModelBlock, bars: FitBars, members: Mapping[str, Member]
) -> Fitted:
    """Fit a model on the training rows, with early stopping on the validation rows, and score it.

    Every model gets the same rows in the same order, and the test rows only to predict them; without any there are no
    scores. Where it is made of others, these are taken from ``members`` as they are fitted, and the time of a fit
    counts theirs.
    """
    model = build_model(name, block, split.seed, {one: FrozenEstimator(of.model) for one, of in members.items()})
    before = sum(members[one].seconds for one in members_of(block))
    X_test, y_test, weight = _rows(table, split.test)
    curve = LearningCurve(bars.start(name, table.name, split.seed))
    started = time.perf_counter()
    with warnings.catch_warnings():
        # the look at the table has said it
        warnings.simplefilter("ignore", NearUniqueWarning)
        train, validation = _rows(table, split.train), _rows(table, split.validation)
        cluster = block.params.get("cluster")
        if cluster is None:
            model.fit(*train, eval_set=validation, report=curve, **table.beside(split.train, split.validation))
        else:
            model = fit_on(cluster, model, train, validation)
    fitted = time.perf_counter()
    key = {"table": table.name, "model": name, "seed": split.seed}
    row: dict[str, Any] = key | {"engine": block.engine, "scheme": model.scheme}
    row |= dict.fromkeys((score.name for score in SCORES), float("nan")) | {"fit_seconds": before + fitted - started}
    predictions, distribution = pd.DataFrame(), None
    if len(split.test):
        exposure = table.exposure_of(split.test)
        prediction = model.predict(X_test, exposure=exposure)
        predicted = time.perf_counter()
        if hasattr(model, "predict_distribution"):
            distribution = model.predict_distribution(X_test, exposure=exposure)
        outcome = Outcome(y_test, prediction, distribution, before + fitted - started, predicted - fitted, weight)
        row |= {score.name: score.of(outcome) for score in SCORES}
        predictions = pd.DataFrame(key | {"row": table.rows[split.test], "y_true": y_test, "y_pred": prediction})
        if weight is not None:
            predictions["weight"] = weight
    if distribution is not None:
        predictions["crps"], predictions["pit"] = distribution.crps(y_test), distribution.pit(y_test)
        predictions[quantile_names(LEVELS)] = distribution.quantile(np.array(LEVELS))
    steps = pd.DataFrame([(*key.values(), *step) for step in curve.steps()], columns=list(CURVE_COLUMNS))
    return Fitted(model, row, PREDICTIONS.join([predictions]), steps, distribution)


def _rows(
    table: Table, rows: NDArray[np.int64]
) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64] | None]:
    """Features, targets and weights of some rows."""
    return table.X.iloc[rows], table.y[rows], table.weight_of(rows)
