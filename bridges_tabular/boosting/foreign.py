"""A cross-fitted location of any regressor's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import get_tags

from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.boosting.libraries import LIBRARIES, library_of
from bridges_tabular.boosting.library import Library, Monotone
from bridges_tabular.boosting.location import Floats, Located, Location, Report, Sample, Single
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors import estimators
from bridges_tabular.regressors.engine import NotTrusted
from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.regressors.words import shown

# that of all rows, and the fold models
_MODELS = 5
# beside "estimator" and "params" of a saved location, names of the parameters that it lacks
_UNSAVED = "unsaved"
# losses of targets that are never negative, by the words in their names
_OF_POSITIVE = re.compile("poisson|tweedie|gamma|log(lin|err|ist|it)|binary|entropy|cox|survival", re.IGNORECASE)


class EstimatorLocation(Location):
    """A location of fitted regressors of one library.

    Parameters
    ----------
    models : sequence
        The model of all rows, then the fold models.
    library : Library
    """

    def __init__(self, models: Sequence[Any], library: Library) -> None:
        super().__init__(models)
        self.library = library

    @property
    def name(self) -> str:
        """That of the models' library, in saved models."""
        return self.library.name

    def predict(self, X: pd.DataFrame, values: Values) -> Floats:
        """Location of the rows of a table, whose features are of shape (n, p).

        Raises
        ------
        ValueError
            If a model refuses the table, or predicts something else than a finite number a row.
        """
        table, total = self.library.table(X, values), np.zeros(len(X))
        for share, model in zip(self.shares, self.models, strict=True):
            total += share * _predicted(self.library, model, table, len(X))
        return total

    def importances(self, features: Features) -> Single:
        """Mean of what the models say, each scaled to a sum of one.

        Raises
        ------
        AttributeError
            If the models have no importance for each column.
        """
        reads = self.library.reads_features
        each, n_columns = [], len(features.is_category) if reads else features.columns.n_features_in_
        for model in self.models:
            found = np.asarray(self.library.importances(model), dtype=np.float64)
            if found.shape != (n_columns,):
                raise AttributeError(f"{type(model).__name__} has no importance for each column")
            each.append(found / (found.sum() or 1.0))
        shares = self.shares @ np.stack(each)
        return np.asarray(features.by_source(shares) if reads else shares, dtype=np.float32)

    def dump(self) -> list[NDArray[np.uint8]]:
        """Each model in its library's own format."""
        return [self.library.dump(model) for model in self.models]


@dataclass(frozen=True)
class EstimatorModels:
    """A location of five copies of a regressor.

    Attributes
    ----------
    given : estimator or dict
        The ``location`` of the user's; it is never fitted itself. Of a loaded model it is not looked at.
    features : Features
    monotone : sequence of int, or None
        Directions of the features.
    n_jobs : int or None
    patience : int or None
        Rounds without a better score until the model of all rows stops; None for no early stopping.
    """

    given: Any
    features: Features
    monotone: Monotone | None
    n_jobs: int | None
    patience: int | None

    @property
    def steps(self) -> int:
        """Number of models."""
        return _MODELS

    def fit(
        self, training: Sample, validation: Sample | None, *, seed: int, random: np.random.RandomState, report: Report
    ) -> Located:
        """Fit; see ``LocationModels``."""
        folds, n_folds = training.folds(random)
        unfitted = location_estimator(self.given)
        library = library_of(unfitted)(self.features, self.n_jobs)
        estimator = library.prepared(unfitted, seed, self.monotone)
        library.check(estimator, [training] if validation is None else [training, validation])
        watched = None if self.patience is None else validation
        with estimators.refusals(estimator, Exception):
            main = library.fit(library.copied(estimator), training, watched, self.patience)
        report(1, {})
        models, out_of_fold = [main], np.empty(len(folds))
        for fold in range(n_folds):
            inside = training.take(folds != fold)
            outside = training.take(folds == fold)
            with estimators.refusals(estimator, Exception):
                part = watched if library.folds_watch else None
                models.append(library.fit(library.of_fold(estimator, main), inside, part, self.patience))
            table = library.table(outside.X, outside.values)
            out_of_fold[folds == fold] = _predicted(library, models[-1], table, len(outside.y))
            report(fold + 2, {})
        return Located(EstimatorLocation(models, library), out_of_fold, {})

    def restore(self, name: str, count: int, boosters: Arrays, trusted: Collection[str]) -> EstimatorLocation:
        """Rebuild; see ``LocationModels``."""
        if name not in LIBRARIES:
            raise ValueError(f"the location is of {shown(name)}, expected {' or '.join(LIBRARIES)}")
        library = LIBRARIES[name](self.features, self.n_jobs)
        return EstimatorLocation(
            [_restored(library, boosters, f"location.{i}", trusted) for i in range(count)], library
        )


def location_estimator(given: Any) -> Any:
    """The regressor that a ``location`` stands for: itself, or a new one as ``{estimator: path, params: {}}`` says.

    Raises
    ------
    ValueError
        In one line, if it is none, cannot be imported, has no such parameter, or a loss for targets of another kind.
    """
    if not isinstance(given, Mapping):
        estimator = given
        if isinstance(given, type):
            raise ValueError(f"location: {given.__name__} is a class, give an object: {given.__name__}()")
    else:
        if _UNSAVED in given:
            lacking = f"{shown(given[_UNSAVED])} of {shown(given.get('estimator'))}"
            raise ValueError(f"location: the saved model does not hold the parameters {lacking}: set location anew")
        other = next((key for key in given if key not in ("estimator", "params")), None)
        if other is not None or "estimator" not in given:
            found = "lacks 'estimator'" if other is None else f"holds {shown(other)}"
            raise ValueError(f"location: {found}; it holds 'estimator', an import path, and 'params'")
        path, params = given["estimator"], given.get("params") or {}
        if not isinstance(path, str):
            raise ValueError(f"location.estimator must be an import path, not {shown(path)}")
        if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
            raise ValueError(f"location.params must be a block of names and values, not {shown(params)}")
        try:
            kind = estimators.imported(path, ("fit", "predict", "get_params"), "regressor")
        except ValueError as error:
            raise ValueError(f"location.{error}") from None
        try:
            estimator = estimators.made(kind, params)
        except ValueError as error:
            raise ValueError(f"location.params: {error}") from None
    for method in ("fit", "predict", "get_params"):
        if not hasattr(estimator, method):
            raise ValueError(f"location: {shown(estimator)} is no regressor: it has no {method}")
    if hasattr(estimator, "__sklearn_tags__") and get_tags(estimator).estimator_type not in ("regressor", None):
        raise ValueError(f"location: {type(estimator).__name__} is no regressor")
    _check_loss(estimator)
    return estimator


def plain_location(given: Any) -> Any:
    """A ``location`` as a saved model holds it: with the parameters that JSON can hold, and the names of others."""
    if isinstance(given, str) or (isinstance(given, Mapping) and _UNSAVED in given):
        return given
    if isinstance(given, Mapping):
        path, params, defaults = given["estimator"], given.get("params") or {}, {}
    else:
        kind, params = type(given), given.get_params(deep=False)
        path, defaults = f"{kind.__module__}.{kind.__qualname__}", _defaults(kind)
    plain = {name: value for name, value in params.items() if _is_plain(value)}
    # NaN is the default of some
    unsaved = [name for name in params if name not in plain and repr(params[name]) != repr(defaults.get(name))]
    return {"estimator": path, "params": plain} | ({_UNSAVED: unsaved} if unsaved else {})


def _defaults(kind: type[Any]) -> dict[str, Any]:
    """Default parameters of an estimator; none of one that cannot do without arguments."""
    try:
        found: dict[str, Any] = kind().get_params(deep=False)
    except (TypeError, ValueError):
        return {}
    return found


def _check_loss(estimator: Any) -> None:
    """Refuse a loss that takes no negative target: a location is fitted to the target less its mean."""
    params = estimator.get_params(deep=False)
    for name in library_of(estimator).losses:
        loss = params.get(name)
        if isinstance(loss, str) and _OF_POSITIVE.search(loss):
            raise ValueError(
                f"location: {name}={shown(loss)} of {type(estimator).__name__} takes no negative target, and a location"
                " learns the target less its mean: give another loss, and target_transform='log' where ratios matter"
            )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value) and all(map(_is_plain, value.values()))
    if isinstance(value, np.generic):
        return _is_plain(value.item())
    if isinstance(value, float):
        return bool(np.isfinite(value))
    return value is None or isinstance(value, bool | int | str)


def _predicted(library: Library, model: Any, table: Any, n: int) -> Floats:
    with estimators.refusals(model, Exception):
        found = np.asarray(library.predict(model, table), dtype=np.float64)
    found = found[:, 0] if found.shape == (n, 1) else found
    if found.shape != (n,):
        raise ValueError(f"{type(model).__name__} predicts an array of shape {found.shape}, expected ({n},)")
    with np.errstate(over="ignore"):
        # trees over bins read it in single precision
        single = found.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError(f"{type(model).__name__} predicts NaN, infinity or more than single precision holds")
    return found


def _restored(library: Library, boosters: Arrays, name: str, trusted: Collection[str]) -> Any:
    content = boosters.take(name, None, dtype=np.uint8)
    try:
        model = library.restore(content.tobytes(), trusted)
        if not hasattr(model, "predict"):
            raise ValueError(f"a {type(model).__name__} predicts nothing")
        if library.reads_features:
            row = np.full((1, len(library.features.is_category)), np.nan, dtype=np.float32)
            _predicted(library, model, library.table(pd.DataFrame(index=[0]), row), 1)
    except (NotTrusted, ImportError):
        raise
    # of any kind: it comes from whatever the file says
    except Exception as error:
        raise boosters.error(name, f"is no model of {library.name}: {in_one_line(error)}") from None
    return model
