"""The boosting engine: a location, then trees over bins or on the target itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Booster, Output, Params, Run, Trees
from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.boosting.location import CrossFittedLocation, Sample, fit_location
from bridges_tabular.boosting.targets import BinnedTarget, BoostingTarget
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.regressors.engine import State, entry
from bridges_tabular.regressors.forecast import Code, Forecast
from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Rows

Floats = NDArray[np.float64]
Single = NDArray[np.float32]


@dataclass
class BoostedBridge:
    """Trees on the features, and on a location if there is one, read by a target; all in standard units.

    Attributes
    ----------
    features : Features
    location : CrossFittedLocation or None
    target : BoostingTarget
    trees : Trees
        Of the last stage.
    best_iteration : int
    best_score : float or None
    log : dict
        Scores on the validation rows, round by round, of each stage.
    """

    features: Features
    location: CrossFittedLocation | None
    target: BoostingTarget
    trees: Trees
    best_iteration: int
    best_score: float | None
    log: dict[str, dict[str, list[float]]]

    @property
    def codes(self) -> list[Code | None]:
        """The code that pi was trained on, None without classes."""
        if not isinstance(self.target, BinnedTarget):
            return [None]
        return [Code(self.target.codec.encoder, self.target.unit, located=self.location is not None)]

    @property
    def codecs(self) -> list[TargetCodec]:
        """Bins, encoder and decoder."""
        return [self.target.codec] if isinstance(self.target, BinnedTarget) else []

    def forecast(self, X: pd.DataFrame) -> list[Forecast]:
        """Predicted targets, with the class probabilities and locations that they come from."""
        return [self.forecast_values(self.features.values(X))]

    def forecast_values(self, values: Values) -> Forecast:
        """The same of features of shape (n, p)."""
        location = None
        if self.location is not None:
            location = self.location.predict(values)
            values = self.location.append(values, location)
        margins = self.trees.margins(values)
        point = self.target.decode(margins)
        if location is not None:
            point = point + location
        if not isinstance(self.target, BinnedTarget):
            return Forecast(point)
        return Forecast(point, self.target.probabilities(margins).astype(np.float64), location)

    def importances(self) -> Single:
        """Share of each of the user's columns in the mean gain of splits: of the location if there is one."""
        if self.location is None:
            shares = self.trees.importances()
        else:
            each: Single = np.stack([trees.importances() for trees in self.location.models])
            shares = self.location.shares.astype(np.float32) @ each
        return self.features.by_source(shares)

    def state(self) -> State:
        """Plain values, and arrays: those of the target and the features, and the boosters in their own format."""
        arrays = {f"target.{name}": array for name, array in self.target.arrays().items()}
        arrays |= {f"features.{name}": array for name, array in self.features.arrays().items()}
        models = {"trees": self.trees}
        if self.location is not None:
            models |= {f"location.{i}": trees for i, trees in enumerate(self.location.models)}
        arrays |= {f"booster.{name}": np.frombuffer(trees.save(), dtype=np.uint8) for name, trees in models.items()}
        return {
            "best_iteration": self.best_iteration,
            "best_score": self.best_score,
            "log": self.log,
            "location": 0 if self.location is None else len(self.location.models),
        }, arrays


@dataclass(frozen=True)
class BoostingEngine:
    """Settings of the stages.

    Attributes
    ----------
    booster : Booster
    features : Features
    make_target : callable
        From what the location leaves of training targets (n,), their weights and a RandomState to a BoostingTarget.
    load_target : callable
        From arrays to a BoostingTarget.
    location_params : dict or None
        Parameters of the location's first model; None for no location.
    location_rounds : int
        Most rounds of that model.
    params : dict
        Parameters of the last stage, which win over those of its target.
    rounds : int
        Most rounds of the last stage.
    metric : str
        What early stopping of the last stage watches.
    early_stopping_rounds : int or None
    callbacks : sequence
        Of the library's own kind, for the last stage.
    """

    booster: Booster
    features: Features
    make_target: Callable[[Floats, Floats | None, np.random.RandomState], BoostingTarget]
    load_target: Callable[[Arrays], BoostingTarget]
    location_params: Params | None
    location_rounds: int
    params: Params
    rounds: int
    metric: str
    early_stopping_rounds: int | None
    callbacks: Sequence[Any]

    def train(self, rows: Rows, watched: Rows | None, seed: int, report: Report) -> BoostedBridge:
        """Train all stages."""
        random = np.random.RandomState(seed)
        training = Sample(self.features.fit(rows.X), rows.y[:, 0], rows.weight)
        validation = None
        if watched is not None:
            validation = Sample(self.features.values(watched.X), watched.y[:, 0], watched.weight)
        location, log, before = None, dict[str, list[float]](), 0
        if self.location_params is not None:
            before = self.location_rounds
            location, out_of_fold, log = fit_location(
                self.booster,
                self.location_params | {"seed": seed},
                training,
                validation,
                rounds=self.location_rounds,
                early_stopping_rounds=self.early_stopping_rounds,
                random=random,
                # scores of different stages do not compare
                report=lambda step, _: report(step, before + self.rounds, {}),
            )
            training = location.subtract(training, out_of_fold)
            if validation is not None:
                validation = location.subtract(validation, location.predict(validation.values))
        target = self.make_target(training.y, training.weight, random)
        run = self._last_stage(target, training, validation, seed, report, before)
        target.finish(run.best_iteration)
        logs = {"location": log, "validation_0": run.log}
        return BoostedBridge(
            self.features,
            location,
            target,
            run.trees,
            run.best_iteration,
            run.best_score,
            {name: scores for name, scores in logs.items() if scores},
        )

    def restore(self, state: Mapping[str, Any], arrays: Arrays, trusted: Collection[str] = ()) -> BoostedBridge:
        """Rebuild what :meth:`train` returned from its state, in which there is nothing to trust."""
        count, best, log = (entry(state, *one) for one in (("location", int), ("best_iteration", int), ("log", dict)))
        features, boosters = self.features.restore(arrays.part("features.")), arrays.part("booster.")
        target = self.load_target(arrays.part("target."))
        location = None
        if count:
            single = Output.squared_error()
            location = CrossFittedLocation([self._trees(boosters, f"location.{i}", single, 0) for i in range(count)])
        trees = self._trees(boosters, "trees", target.output, int(location is not None))
        return BoostedBridge(
            features, location, target, trees, best, entry(state, "best_score", float, type(None)), log
        )

    def _trees(self, boosters: Arrays, name: str, output: Output, more: int) -> Trees:
        """A saved booster, tried on a row, with so many features more than the table."""
        content = boosters.take(name, None, dtype=np.uint8)
        try:
            trees = self.booster.load(content.tobytes(), output, more > 0)
            found = trees.margins(np.zeros((1, len(self.features.is_category) + more), dtype=np.float32)).size
        except ValueError as error:
            raise boosters.error(name, f"is no booster of this model: {in_one_line(error)}") from None
        if found != output.n_margins:
            raise boosters.error(name, f"is a booster with {found} outputs, expected {output.n_margins}")
        return trees

    def _last_stage(
        self,
        target: BoostingTarget,
        training: Sample,
        validation: Sample | None,
        seed: int,
        report: Report,
        before: int,
    ) -> Run:
        names = [*(name for name in report.scores if name != self.metric), self.metric]

        def matrix(sample: Sample, ref: Any = None) -> Any:
            return self.booster.matrix(sample.values, target.output, target.labels(sample.y), sample.weight, ref=ref)

        whole = matrix(training)
        return self.booster.train(
            target.output,
            self.params | {"seed": seed},
            whole,
            None if validation is None else matrix(validation, whole),
            self.rounds,
            gradients=target.gradients(training.y, training.weight),
            metric=None if validation is None else target.metric(validation.y, validation.weight, names),
            scores=names,
            early_stopping_rounds=self.early_stopping_rounds,
            report=lambda step, scores: report(before + step, before + self.rounds, scores),
            callbacks=self.callbacks,
        )
