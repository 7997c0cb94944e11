"""The boosting engine: a location, then trees over bins or on the target itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Booster, Params, Run, Trees
from bridges_tabular.boosting.export import trees_graph
from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.boosting.location import Location, LocationModels, Sample, load_trees
from bridges_tabular.boosting.peers import Peers
from bridges_tabular.boosting.targets import PointTarget
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.engine import State, entry
from bridges_tabular.regressors.forecast import Code, Forecast
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Rows
from bridges_tabular.regressors.stored import in_blocks
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from bridges_tabular.boosting.binned import BinnedTarget
    from bridges_tabular.core.codec import TargetCodec

Floats = NDArray[np.float64]
Single = NDArray[np.float32]

# of the share of the mean over bins that a fit expects, around 1
_SHARE_DEVIATION = 0.25
# a location's: that of all rows and two folds
_FEWEST_MODELS = 3


@dataclass
class BoostedBridge:
    """Trees on the features, and on a location if there is one, read by a target; all in standard units.

    Attributes
    ----------
    features : Features
    location : Location or None
    share : float
        Of the mean over the bins in the point, beside the location.
    target : PointTarget or BinnedTarget
    trees : Trees
        Of the last stage.
    best_iteration : int
    best_score : float or None
    log : dict
        Scores on the validation rows, round by round, of each stage.
    """

    features: Features
    location: Location | None
    share: float
    target: PointTarget | BinnedTarget
    trees: Trees
    best_iteration: int
    best_score: float | None
    log: dict[str, dict[str, list[float]]]

    @property
    def codes(self) -> list[Code | None]:
        """The code that pi was trained on, None without classes."""
        if isinstance(self.target, PointTarget):
            return [None]
        return [Code(self.target.codec.encoder, self.target.unit, located=self.location is not None)]

    @property
    def codecs(self) -> list[TargetCodec]:
        """Bins, encoder and decoder."""
        return [] if isinstance(self.target, PointTarget) else [self.target.codec]

    def forecast(self, X: pd.DataFrame) -> list[Forecast]:
        """Predicted targets, with the class probabilities and locations that they come from."""
        return [self.forecast_of(X, self.features.values(X))]

    def forecast_of(self, X: pd.DataFrame, values: Values) -> Forecast:
        """What it says of the rows of a table, whose features are of shape (n, p)."""
        location = None
        if self.location is not None:
            location = self.location.predict(X, values)
            values = self.location.append(values, location)
        margins = self.trees.margins(values)
        point = self.target.decode(margins)
        if location is not None:
            point = location + self.share * point
        if isinstance(self.target, PointTarget):
            return Forecast(point)
        return Forecast(point, self.target.probabilities(margins).astype(np.float64), location)

    def importances(self) -> Single:
        """Share of each of the user's columns in the mean gain of splits: of the location if there is one."""
        if self.location is not None:
            return self.location.importances(self.features)
        return self.features.by_source(self.trees.importances())

    def to_onnx(self) -> Any:
        """Its graph, see :class:`~bridges_tabular.regressors.engine.Exportable`."""
        return trees_graph(self)

    def state(self) -> State:
        """Plain values, and arrays: those of the target and the features, and the boosters in their own format."""
        arrays = {f"target.{name}": array for name, array in self.target.arrays().items()}
        arrays |= {f"features.{name}": array for name, array in self.features.arrays().items()}
        arrays["booster.trees"] = np.frombuffer(self.trees.save(), dtype=np.uint8)
        location = None
        if self.location is not None:
            contents = self.location.dump()
            arrays |= {f"booster.location.{i}": content for i, content in enumerate(contents)}
            arrays["share"] = np.array(self.share)
            location = {"library": self.location.name, "models": len(contents)}
        return {
            "best_iteration": self.best_iteration,
            "best_score": self.best_score,
            "log": self.log,
            "location": location,
        }, arrays


@dataclass(frozen=True)
class BoostingEngine:
    """Settings of the stages.

    Attributes
    ----------
    booster : Booster
    features : Features
    make_target : callable
        From what the location leaves of training targets (n,), their weights, a RandomState and the fit's Peers to a
        target for trees.
    load_target : callable
        From arrays to a target for trees.
    location : LocationModels or None
        None for no location.
    fixed_share : float or None
        Share of the mean over the bins in the point; None for what is best on the validation rows.
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
    make_target: Callable[[Floats, Floats | None, np.random.RandomState, Peers], PointTarget | BinnedTarget]
    load_target: Callable[[Arrays], PointTarget | BinnedTarget]
    location: LocationModels | None
    fixed_share: float | None
    params: Params
    rounds: int
    metric: str
    early_stopping_rounds: int | None
    callbacks: Sequence[Any]

    def train(self, rows: Rows, watched: Rows | None, seed: int, report: Report) -> BoostedBridge:
        """Train all stages, on one target."""
        # by no name: the features give way to those with a location
        return self.boost(
            _sample(rows, self.features.fit(rows.X), 0),
            None if watched is None else _sample(watched, self.features.values(watched.X), 0),
            seed,
            report,
        )

    def samples(self, rows: Rows, watched: Rows | None) -> list[tuple[Sample, Sample | None]]:
        """Training and validation rows of each target, whose features are read once."""
        values = self.features.fit(rows.X)
        others = None if watched is None else self.features.values(watched.X)
        return [
            (_sample(rows, values, target), None if watched is None else _sample(watched, others, target))
            for target in range(rows.y.shape[1])
        ]

    def boost(self, training: Sample, validation: Sample | None, seed: int, report: Report) -> BoostedBridge:
        """Train all stages on one target and features that are read; each process of a fit calls it with its rows."""
        random = np.random.RandomState(seed)
        location, log, before = None, dict[str, list[float]](), 0
        if self.location is not None:
            before = self.location.steps
            location, out_of_fold, log = self.location.fit(
                training,
                validation,
                seed=seed,
                random=random,
                # scores of different stages do not compare
                report=lambda step, _: report(step, before + self.rounds, {}),
            )
            training = location.subtract(training, out_of_fold)
            if validation is not None:
                validation = location.subtract(validation, location.predict(validation.X, validation.values))
        target = self.make_target(training.y, training.weight, random, training.peers)
        run = self._last_stage(target, training, validation, seed, report, before)
        target.finish(run.best_iteration)
        share = self._share(target, run.trees, validation) if location is not None else 1.0
        logs = {"location": log, "validation_0": run.log}
        return BoostedBridge(
            self.features,
            location,
            share,
            target,
            run.trees,
            run.best_iteration,
            run.best_score,
            {name: scores for name, scores in logs.items() if scores},
        )

    def restore(self, state: Mapping[str, Any], arrays: Arrays, trusted: Collection[str] = ()) -> BoostedBridge:
        """Rebuild what :meth:`train` returned from its state, in which there is nothing to trust."""
        best, log = entry(state, "best_iteration", int), entry(state, "log", dict)
        held = entry(state, "location", dict, type(None))
        features, boosters = self.features.restore(arrays.part("features.")), arrays.part("booster.")
        target = self.load_target(arrays.part("target."))
        location, share = None, 1.0
        if (held is None) != (self.location is None):
            raise ValueError(f"'location' is {shown(held)}, which its parameters contradict")
        if held is not None and self.location is not None:
            name, count = entry(held, "library", str), entry(held, "models", int)
            if count < _FEWEST_MODELS:
                raise ValueError(f"'models' is {count}, expected at least {_FEWEST_MODELS}")
            location, share = self.location.restore(name, count, boosters, trusted), float(arrays.take_finite("share"))
            if not 0 <= share <= 1:
                raise arrays.error("share", f"is {share}, expected 0 to 1")
        trees = load_trees(self.booster, self.features, boosters, "trees", target.output, located=location is not None)
        return BoostedBridge(
            features, location, share, target, trees, best, entry(state, "best_score", float, type(None)), log
        )

    def _share(self, target: PointTarget | BinnedTarget, trees: Trees, validation: Sample | None) -> float:
        """Share of the mean over the bins in the point, in [0, 1]: the least squares of validation rows, with a prior.

        Without the prior, 250 rows came to shares between 0.1 and 1 for no reason, and test errors were up to 1.2 %
        larger than with all of the mean.
        """
        if self.fixed_share is not None or validation is None:
            return 1.0 if self.fixed_share is None else self.fixed_share
        mean = in_blocks(validation.values, lambda values: target.decode(trees.margins(values)))
        weight = np.ones(len(mean)) if validation.weight is None else validation.weight
        sums = [weight @ np.square(validation.y - mean), weight.sum(), (weight * mean) @ validation.y]
        errors, total, products, squares = validation.peers.total(np.array([*sums, (weight * mean) @ mean])).tolist()
        prior = errors / total / _SHARE_DEVIATION**2
        return float(np.clip((products + prior) / (squares + prior), 0.0, 1.0)) if squares > 0 else 1.0

    def _last_stage(
        self,
        target: PointTarget | BinnedTarget,
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


def _sample(rows: Rows, values: Any, target: int) -> Sample:
    # sums over strided columns come out otherwise in the last digit
    return Sample(rows.X, values, rows.y[:, target].copy(), rows.weight, rows.groups)
