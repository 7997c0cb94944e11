"""Several targets: a boosted model of each, trained side by side on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import pandas as pd

from bridges_tabular.boosting.booster import Params
from bridges_tabular.boosting.engine import BoostedBridge, BoostingEngine
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.engine import State, entry
from bridges_tabular.regressors.forecast import Code, Forecast
from bridges_tabular.regressors.progress import Report, Scores
from bridges_tabular.regressors.rows import Rows
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from bridges_tabular.core.codec import TargetCodec


@dataclass
class BoostedBridges:
    """A model of each target, all on the same features.

    Attributes
    ----------
    targets : sequence of BoostedBridge
    """

    targets: Sequence[BoostedBridge]

    @property
    def codes(self) -> list[Code | None]:
        """The code of each target; None without classes."""
        return [code for one in self.targets for code in one.codes]

    @property
    def codecs(self) -> list[TargetCodec]:
        """Bins, encoder and decoder of each target."""
        return [codec for one in self.targets for codec in one.codecs]

    def forecast(self, X: pd.DataFrame) -> list[Forecast]:
        """What the model of each target says of the rows of a table, whose features are read once."""
        values = self.targets[0].features.values(X)
        return [one.forecast_of(X, values) for one in self.targets]

    def state(self) -> State:
        """The states of the models, their arrays under the numbers of the targets."""
        states = [one.state() for one in self.targets]
        arrays = {f"{i}.{name}": array for i, (_, own) in enumerate(states) for name, array in own.items()}
        return {"targets": [plain for plain, _ in states]}, arrays


@dataclass(frozen=True)
class BoostingEngines:
    """Trains a model of each target; of one alone, just that.

    Attributes
    ----------
    make : callable
        From the number of a target, and parameters of the library's own, to its engine.
    side_by_side : bool
        Whether models of several targets may be trained at once, in threads that share the processor cores.
    """

    make: Callable[[int, Params], BoostingEngine]
    side_by_side: bool

    def train(self, rows: Rows, watched: Rows | None, seed: int, report: Report) -> BoostedBridge | BoostedBridges:
        """Train on all targets, by the same seed: each comes out as it does alone."""
        first, n_targets = self.make(0, {}), rows.y.shape[1]
        if n_targets == 1:
            return first.train(rows, watched, seed, report)
        samples = first.samples(rows, watched)
        workers, own = first.booster.share_threads(n_targets) if self.side_by_side else (1, {})
        together = _Together(report, n_targets)

        def fit(target: int) -> BoostedBridge:
            training, validation = samples[target]
            with together.failing():
                return self.make(target, own).boost(training, validation, seed, together.of(target))

        if workers == 1:
            return BoostedBridges([fit(target) for target in range(n_targets)])
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(fit, target) for target in range(n_targets)]
            with together.failing():
                wait(futures)
        if together.error is not None:
            raise together.error
        return BoostedBridges([future.result() for future in futures])

    def restore(
        self, state: Mapping[str, Any], arrays: Arrays, trusted: Collection[str] = ()
    ) -> BoostedBridge | BoostedBridges:
        """Rebuild what :meth:`train` returned from its state."""
        if "targets" not in state:
            return self.make(0, {}).restore(state, arrays, trusted)
        parts = entry(state, "targets", list)
        if not parts or not all(isinstance(part, dict) for part in parts):
            raise ValueError(f"'targets' is {shown(parts)}, expected a list of what the models are")
        return BoostedBridges(
            [self.make(i, {}).restore(part, arrays.part(f"{i}."), trusted) for i, part in enumerate(parts)]
        )


class _Together:
    """Steps of several fits as those of one; the first error ends them all."""

    def __init__(self, report: Report, n_targets: int) -> None:
        self._report, self._steps, self._lock = report, [0] * n_targets, Lock()
        self.error: BaseException | None = None

    def of(self, target: int) -> Report:
        """What the fit of one target reports to; scores of different targets do not compare."""

        def heard(step: int, total: int, _: Scores) -> None:
            with self._lock:
                if self.error is not None:
                    raise self.error
                self._steps[target] = step
                self._report(sum(self._steps), total * len(self._steps), {})

        return replace(self._report, listener=heard, scores=())

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A block whose error ends the other fits."""
        try:
            yield
        except BaseException as error:
            self.error = self.error or error
            raise
