"""A cross-fitted mean of the target, for bins on what it leaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Booster, Output, Params, Trees
from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.boosting.peers import ALONE, FOLDS, Folds, Peers
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.groups import ranked
from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.regressors.stored import AnyValues, StoredValues, in_blocks
from bridges_tabular.regressors.words import shown

Floats = NDArray[np.float64]
Single = NDArray[np.float32]
# called with the number of a step, counted from 1, and its scores
Report = Callable[[int, Mapping[str, float]], None]

# fold models take half the rounds at twice the rate
_FOLD_SPEED = 2


class Sample(NamedTuple):
    """A table, its features of shape (n, p), targets (n,) in standard units, their weights and groups.

    Features that do not fit in memory are ``StoredValues``, and their table has no columns.
    """

    X: pd.DataFrame
    values: Any
    y: Floats
    weight: Floats | None
    groups: NDArray[np.int64] | None = None
    peers: Peers = ALONE
    """Who has the other rows of the fit."""

    def take(self, rows: NDArray[np.bool_]) -> Sample:
        """The rows of a mask."""
        weight = None if self.weight is None else self.weight[rows]
        groups = None if self.groups is None else self.groups[rows]
        return Sample(self.X[rows], self.values[rows], self.y[rows], weight, groups)

    def folds(self, random: np.random.RandomState) -> Folds:
        """Fold of each row, drawn at random; where there are groups, all of one are in the same.

        Raises
        ------
        ValueError
            If there are fewer than two rows, or groups.
        """
        if self.groups is None:
            return self.peers.folds(len(self.y), random)
        places = ranked(self.groups, random)
        if not places.any():
            raise ValueError("groups leaves one group to train on, and a cross-fitted location needs at least 2")
        return Folds(places % FOLDS, min(FOLDS, int(places.max()) + 1))


class Location(ABC):
    """Half a model of all training rows and half the mean of four fold models.

    A training row's out-of-fold location comes from the fold model that has not seen it, so that what is left of
    its target is spread as that of a new row. In-sample residuals are far too small: 90 % intervals built on them
    held 23 % of new targets.

    Parameters
    ----------
    models : sequence
        The model of all rows, then the fold models.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = list(models)

    @property
    @abstractmethod
    def name(self) -> str:
        """That of the models' library, in saved models."""

    @property
    def shares(self) -> Floats:
        """Share of each model in the location."""
        folds = len(self.models) - 1
        return np.array([0.5] + [0.5 / folds] * folds)

    @abstractmethod
    def predict(self, X: pd.DataFrame, values: Any) -> Floats:
        """Location of the rows of a table, whose features are of shape (n, p)."""

    @abstractmethod
    def importances(self, features: Features) -> Single:
        """Share of each of the user's columns, of shape (n_features_in_,).

        Raises
        ------
        AttributeError
            If the models have none.
        """

    @abstractmethod
    def dump(self) -> list[NDArray[np.uint8]]:
        """Each model in its library's own format, which holds no code.

        Raises
        ------
        ValueError
            If it has none.
        """

    def append(self, values: AnyValues, location: Floats) -> Any:
        """Features of shape (n, p + 1): those given, and the location."""
        if isinstance(values, StoredValues):
            return values.append(location.astype(np.float32))
        return np.column_stack([values, location.astype(np.float32)])

    def subtract(self, sample: Sample, location: Floats) -> Sample:
        """What the location leaves of the targets, with it as one more feature."""
        return sample._replace(values=self.append(sample.values, location), y=sample.y - location)


class Located(NamedTuple):
    """A fitted location, that of each training row (n,) by models that have not seen it, and early stopping's log."""

    location: Location
    out_of_fold: Floats
    log: dict[str, list[float]]


class LocationModels(Protocol):
    """What a location consists of, and how it is fitted."""

    @property
    def steps(self) -> int:
        """The most steps that a fit reports."""
        ...

    def fit(
        self, training: Sample, validation: Sample | None, *, seed: int, random: np.random.RandomState, report: Report
    ) -> Located:
        """Fit a location; early stopping of the model of all rows watches the validation rows.

        Parameters
        ----------
        training, validation : Sample
        seed : int
            Of the models.
        random : RandomState
            Draws the folds.
        report : callable
        """
        ...

    def restore(self, name: str, count: int, boosters: Arrays, trusted: Collection[str]) -> Location:
        """Rebuild a location of so many models of a library from arrays ``location.0``, ``location.1`` and so on."""
        ...


class TreesLocation(Location):
    """A location of the boosters that the bins are learned with, too."""

    models: list[Trees]
    name = "trees"

    def predict(self, X: pd.DataFrame | None, values: AnyValues) -> Floats:
        """Location of rows with features of shape (n, p)."""
        return in_blocks(values, self._predict)

    def importances(self, features: Features) -> Single:
        """Share of each of the user's columns in the mean gain of splits."""
        each: Single = np.stack([trees.importances() for trees in self.models])
        return features.by_source(self.shares.astype(np.float32) @ each)

    def dump(self) -> list[NDArray[np.uint8]]:
        """The boosters."""
        return [np.frombuffer(trees.save(), dtype=np.uint8) for trees in self.models]

    def _predict(self, values: Values) -> Floats:
        total = np.zeros(len(values))
        read = self.models[0].read(values)
        for share, model in zip(self.shares, self.models, strict=True):
            total += share * model.margins(values, read)
        return total


@dataclass(frozen=True)
class TreesModels:
    """A location of squared-error trees; the fold models take half of the first one's rounds at twice its rate.

    Attributes
    ----------
    booster : Booster
    params : dict
        Of the trees of the model of all rows.
    rounds : int
        Most rounds of that model.
    early_stopping_rounds : int or None
    features : Features
    """

    booster: Booster
    params: Params
    rounds: int
    early_stopping_rounds: int | None
    features: Features

    @property
    def steps(self) -> int:
        """Rounds of the model of all rows."""
        return self.rounds

    def fit(
        self, training: Sample, validation: Sample | None, *, seed: int, random: np.random.RandomState, report: Report
    ) -> Located:
        """Fit; see ``LocationModels``."""
        # what cannot be folded is refused before any training
        folds, n_folds = training.folds(random)
        booster, params, output = self.booster, self.params | {"seed": seed}, Output.squared_error()
        whole = booster.matrix(training.values, output, training.y, training.weight)
        held_out = None
        if validation is not None:
            held_out = booster.matrix(validation.values, output, validation.y, validation.weight, ref=whole)
        main = booster.train(
            output,
            params,
            whole,
            held_out,
            self.rounds,
            scores=["rmse"],
            early_stopping_rounds=self.early_stopping_rounds,
            report=report,
        )
        fold_rounds = max(1, (main.best_iteration + 1) // _FOLD_SPEED)
        workers, own = booster.share_threads(n_folds)
        fold_params = params | own | {"learning_rate": params["learning_rate"] * _FOLD_SPEED}
        out_of_fold = np.empty(len(folds))

        def fit_fold(fold: int) -> Trees:
            inside = folds != fold
            rows = booster.matrix(training.values, output, training.y, training.weight, rows=inside, ref=whole)
            trees = booster.train(output, fold_params, rows, None, fold_rounds, scores=["rmse"]).trees
            out_of_fold[~inside] = in_blocks(training.values[~inside], trees.margins)
            return trees

        if workers == 1:
            fold_models = [fit_fold(fold) for fold in range(n_folds)]
        else:
            with ThreadPoolExecutor(workers) as pool:
                fold_models = list(pool.map(fit_fold, range(n_folds)))
        return Located(TreesLocation([main.trees, *fold_models]), out_of_fold, main.log)

    def restore(self, name: str, count: int, boosters: Arrays, trusted: Collection[str]) -> TreesLocation:
        """Rebuild; see ``LocationModels``."""
        if name != TreesLocation.name:
            raise ValueError(f"the location is of {shown(name)}, expected {TreesLocation.name!r}")
        output = Output.squared_error()
        return TreesLocation(
            [load_trees(self.booster, self.features, boosters, f"location.{i}", output) for i in range(count)]
        )


def load_trees(
    booster: Booster, features: Features, boosters: Arrays, name: str, output: Output, *, located: bool = False
) -> Trees:
    """A saved booster, tried on a row; one that is located has one feature more than the table."""
    content = boosters.take(name, None, dtype=np.uint8)
    try:
        trees = booster.load(content.tobytes(), output, located)
        found = trees.margins(np.zeros((1, len(features.is_category) + located), dtype=np.float32)).size
    except ValueError as error:
        raise boosters.error(name, f"is no booster of this model: {in_one_line(error)}") from None
    if found != output.n_margins:
        raise boosters.error(name, f"is a booster with {found} outputs, expected {output.n_margins}")
    return trees
