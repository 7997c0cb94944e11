"""What a trial does: fit the model, and score it on rows that it was not trained on."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, StudyBlock, alternatives, nearest
from bridges_tabular.experiments.engines import Regressor, build_model
from bridges_tabular.experiments.scores import METRICS, Outcome, incomparable
from bridges_tabular.experiments.splits import Split, make_folds
from bridges_tabular.experiments.studies.rebuild import remember
from bridges_tabular.experiments.studies.sampling import pruner_name
from bridges_tabular.experiments.studies.space import Space, with_values
from bridges_tabular.experiments.studies.storage import StorageLost, describe, storage_errors
from bridges_tabular.experiments.tables import Table
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Listener, Report

# reports to the storage in one fit: each costs a write and a look at the other trials
_MAX_REPORTS = 20
# what a boosted model on a cross-fitted location prepares in one fit, so that trials need not prepare it again
_SHARED_PER_FIT = 16


@dataclass(frozen=True)
class Rows:
    """Features, targets and, where the table has them, weights and exposures."""

    X: pd.DataFrame
    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None
    exposure: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Part:
    """The rows of one fit of a trial: to train on, to stop early and calibrate by, to score; what fits get beside."""

    train: Rows
    held_out: Rows
    scored: Rows
    beside: Mapping[str, Any] = field(default_factory=dict)


def make_parts(table: Table, split: Split, study: StudyBlock) -> list[Part]:
    """Choose the rows of every fit of a trial; no test row is among them.

    With one fold, the validation rows stop a fit early, calibrate its distribution and score it. Scores come out too
    good for that, those of distributions most (on 308 rows the CRPS by a quarter), but alike for all trials: over
    random configurations they ranked as the test scores did, better than scores of one half of the validation rows by
    fits that saw the other half. With k folds, each k-th of the training rows is scored in turn by a fit on the
    others, and the validation rows stop and calibrate: no row that is scored has been seen. By time, where these rows
    come later than all that is scored, the last of the rows before it do.

    Raises
    ------
    ExperimentError
        If there are too few rows, or models cannot be compared on them by a metric of the study.
    """
    counted = table.counted(split.train)
    reasons = incomparable(table.y[counted], table.weight_of(counted))
    for metric in study.metrics:
        if metric in reasons:
            others = alternatives(name for name in METRICS if name not in reasons)
            raise ExperimentError(
                f"study.metric: {metric} compares no models of column {table.target!r}, for {reasons[metric]};"
                f" choose {others}"
            )

    def rows(positions: NDArray[np.int64]) -> Rows:
        return Rows(
            table.X.iloc[positions], table.y[positions], table.weight_of(positions), table.exposure_of(positions)
        )

    if study.folds == 1:
        held_out = rows(split.validation)
        return [Part(rows(split.train), held_out, held_out, table.beside(split.train, split.validation))]
    return [
        Part(rows(fold.train), rows(fold.validation), rows(fold.test), table.beside(fold.train, fold.validation))
        for fold in make_folds(table, split, study.folds)
    ]


def check_metrics(study: StudyBlock, model: str, regressor: Regressor) -> None:
    """Refuse a metric that is unknown, or needs a distribution that the model does not have.

    Raises
    ------
    ExperimentError
    """
    for metric in study.metrics:
        if metric not in METRICS:
            raise ExperimentError(f"study.metric: there is no metric {metric!r}{nearest(metric, METRICS)}")
        if METRICS[metric].scores == "distributions" and not hasattr(regressor, "predict_distribution"):
            raise ExperimentError(
                f"study.metric: {metric} scores distributions, and {model} (scheme {regressor.scheme}) predicts"
                " points alone"
            )


class Objective:
    """Fits and scores a model with the parameters of a trial.

    Parameters
    ----------
    model : str
    block : ModelBlock
    study : StudyBlock
    space : Space
    parts : list of Part
    seed : int
        Of every fit: trials differ in their parameters alone.

    Attributes
    ----------
    report_seconds : float
        Spent so far on asking the storage whether to prune, inside the fits.
    """

    def __init__(
        self, model: str, block: ModelBlock, study: StudyBlock, space: Space, parts: Sequence[Part], seed: int
    ) -> None:
        self._model, self._block, self._seed = model, block, seed
        self._space, self._parts = space, parts
        self._scores = [METRICS[name] for name in study.metrics]
        self.report_seconds = 0.0
        self._prepared = Prepared()
        self._pruner = pruner_name(study)

    def __call__(self, trial: optuna.Trial, watch: Listener, values: dict[str, Any]) -> list[float]:
        """Return the values of the metrics, means over the folds.

        Parameters
        ----------
        trial : Trial
        watch : Listener
            Called with the steps of the whole trial.
        values : dict
            The parameters by name.

        Raises
        ------
        TrialPruned
        FloatingPointError
            If a metric is not finite.
        """
        block = ModelBlock(self._block.engine, self._params(values))
        results: list[list[float]] = []
        for fold, part in enumerate(self._parts):
            model = build_model(self._model, block, self._seed)
            report = Report(self._listener(trial, watch, fold), (self._scores[0].name,))
            with warnings.catch_warnings():
                # the final fits say what there is to say
                warnings.simplefilter("ignore")
                model.fit(
                    part.train.X,
                    part.train.y,
                    part.train.weight,
                    eval_set=(part.held_out.X, part.held_out.y, part.held_out.weight),
                    prepared=self._prepared,
                    report=report,
                    **part.beside,
                )
            results.append(self._score(model, part.scored))
            if len(self._parts) > 1 and self._pruner != "none":
                means = results[-1] if self._pruner == "wilcoxon" else np.mean(results, axis=0)
                self._report(trial, float(means[0]), fold)
        return [float(mean) for mean in np.mean(results, axis=0)]

    def describe(self, trial: optuna.Trial, values: dict[str, Any]) -> None:
        """Write into a trial of which regressor it is, for :func:`~bridges_tabular.from_trial`."""
        remember(trial, self._block.engine, {"random_state": self._seed} | self._params(values))

    def _params(self, values: dict[str, Any]) -> dict[str, Any]:
        return with_values(self._block.params, values)

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Let trials inside the block share what the engines prepare of their rows: tensors, codes, quantiles."""
        frames = [rows.X for part in self._parts for rows in (part.train, part.held_out, part.scored)]
        with Prepared(frames, _SHARED_PER_FIT * len(self._parts)) as self._prepared:
            yield
        self._prepared = Prepared()

    def _listener(self, trial: optuna.Trial, watch: Listener, fold: int) -> Listener:
        n_folds = len(self._parts)
        prunes = n_folds == 1 and self._pruner != "none"

        def listener(step: int, total: int, scores: Mapping[str, float]) -> None:
            watch(fold * total + step, n_folds * total, scores)
            every = max(1, math.ceil(total / _MAX_REPORTS))
            # what the study searches by, and no other score
            score = scores.get(self._scores[0].name)
            if prunes and score is not None and step % every == 0:
                self._report(trial, score, step)

        return listener

    def _score(self, model: Regressor, rows: Rows) -> list[float]:
        distribution = None
        if any(score.scores == "distributions" for score in self._scores):
            distribution = model.predict_distribution(rows.X, rows.exposure)  # type: ignore[attr-defined]
        outcome = Outcome(rows.y, model.predict(rows.X, rows.exposure), distribution, weight=rows.weight)
        values = []
        for score in self._scores:
            value = score.of(outcome)
            if not math.isfinite(value):
                raise FloatingPointError(f"{score.name} of the trial is {value}")
            values.append(value)
        return values

    def _report(self, trial: optuna.Trial, value: float, step: int) -> None:
        started = time.perf_counter()
        try:
            trial.report(value, step)
            prune = trial.should_prune()
        except storage_errors() as error:
            # not an error of the fit around us
            raise StorageLost(describe(error)) from error
        finally:
            self.report_seconds += time.perf_counter() - started
        if prune:
            raise optuna.TrialPruned
