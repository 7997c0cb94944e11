"""How a regressor is trained, asked and saved as a location: scikit-learn's ways, and those of our own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from sklearn.base import clone
from sklearn.utils import get_tags

from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.boosting.location import Sample
from bridges_tabular.regressors import artifacts, estimators
from bridges_tabular.regressors.folders import is_inside
from bridges_tabular.regressors.words import shown

Floats = NDArray[np.float64]
# of columns, -1, 0 or 1 each, in the order of the features
Monotone = Sequence[int]


class Library:
    """Any regressor by scikit-learn's conventions: it gets the table as the user gave it, and is saved by skops.

    Parameters
    ----------
    features : Features
        Of the table.
    n_jobs : int or None
        Number of threads, where the estimator leaves it open.
    """

    # in saved models
    name = "scikit-learn"
    # parameter that takes directions of columns
    monotone: str | None = None
    # parameters that name a loss
    losses: tuple[str, ...] = ()
    # whether the fold models stop early themselves, on the same rows, for want of one number of rounds to take over
    folds_watch = False
    # whether it reads features in place of the user's table
    reads_features = False

    def __init__(self, features: Features, n_jobs: int | None) -> None:
        self.features = features
        self.n_jobs = n_jobs

    def prepared(self, estimator: Any, seed: int, monotone: Monotone | None) -> Any:
        """An unfitted copy with what the user left open: seed and threads, and directions of columns."""
        copy, own = self.copied(estimator), {}
        for name, value in copy.get_params(deep=True).items():
            last = name.rpartition("__")[2]
            if value is None and last == "random_state":
                own[name] = seed
            if value is None and last == "n_jobs" and self.n_jobs is not None:
                own[name] = self.n_jobs
        if monotone is not None:
            own |= self.constraints(monotone)
        return copy.set_params(**own)

    def copied(self, estimator: Any) -> Any:
        """An unfitted copy."""
        return clone(estimator)

    def constraints(self, monotone: Monotone) -> dict[str, Any]:
        """Parameters that hold the directions of columns."""
        assert self.monotone is not None
        return {self.monotone: list(monotone)}

    def check(self, estimator: Any, samples: Sequence[Sample]) -> None:
        """Refuse rows that the estimator cannot take, as far as it says so itself.

        Raises
        ------
        ValueError
            In one line that names the estimator, and the column.
        """
        estimators.weighted(estimator, samples[0].weight, "location")
        name = type(estimator).__name__
        parts = [value for value in estimator.get_params(deep=True).values() if hasattr(value, "fit")]
        if parts or not type(estimator).__module__.startswith("sklearn."):
            # a part of it may take what the whole says that it does not
            return
        columns, takes_missing = self.features.columns, get_tags(estimator).input_tags.allow_nan
        for position, column in enumerate(columns.feature_names_in_):
            if column in columns.dates or any(isinstance(value, str) for value in columns.categories.get(column, [])):
                kind = "dates" if column in columns.dates else "text"
                raise ValueError(f"location: {name} takes numbers alone, and column {shown(column)} holds {kind}")
            if not takes_missing and any(sample.X.iloc[:, position].isna().any() for sample in samples):
                raise ValueError(f"location: {name} takes no missing values, and column {shown(column)} holds some")

    def table(self, X: pd.DataFrame, values: Values) -> Any:
        """The rows of a table as the estimator reads them."""
        return X

    def fit(self, estimator: Any, training: Sample, validation: Sample | None, patience: int | None) -> Any:
        """Fit the model of all rows, or that of a fold without validation rows; returns what predicts."""
        named = estimators.weighted(estimator, training.weight, "location")
        return estimator.fit(self.table(training.X, training.values), training.y, **named)

    def of_fold(self, estimator: Any, model: Any) -> Any:
        """An unfitted copy for a fold, with the rounds that the model of all rows came to."""
        return self.copied(estimator)

    def predict(self, model: Any, table: Any) -> Any:
        """What a fitted model says of a table."""
        return model.predict(table)

    def importances(self, model: Any) -> Any:
        """Importance of each column of the table, on any scale."""
        return model.feature_importances_

    def dump(self, model: Any) -> NDArray[np.uint8]:
        """A fitted model in a format that holds no code."""
        return estimators.dump(model)

    def restore(self, content: bytes, trusted: Collection[str]) -> Any:
        """What :meth:`dump` wrote."""
        return estimators.restored(content, trusted, "location")


class TreeLibrary(Library):
    """One that reads features: numbers in single precision, and categories as pandas has them."""

    reads_features = True
    # of names of columns
    _odd: str | None = None

    def check(self, estimator: Any, samples: Sequence[Sample]) -> None:
        """All of them take numbers, categories, missing values and weights."""

    def table(self, X: pd.DataFrame, values: Values) -> Any:
        """Columns of numbers and of categories; missing and unseen categories are missing."""
        columns = self.features.columns
        frame = pd.DataFrame(values, columns=self.names)
        for name, column, is_category in zip(self.names, columns.columns, self.features.is_category, strict=True):
            if is_category:
                codes = np.nan_to_num(frame[name].to_numpy(), nan=-1).astype(np.int64)
                frame[name] = self._categories(codes, len(columns.categories[column]))
        return frame

    @property
    def names(self) -> list[str]:
        """Names of the columns, in characters that the library takes."""
        names: list[str] = []
        for name in self.features.columns.columns:
            safe = name if self._odd is None else re.sub(self._odd, "_", name)
            while safe in names:
                safe += "_"
            names.append(safe)
        return names

    def _categories(self, codes: NDArray[np.int64], count: int) -> Any:
        return pd.Categorical.from_codes(codes, categories=pd.RangeIndex(count))


class OwnLibrary(Library):
    """A regressor of this package, which reads the user's table and all that it holds."""

    name = "bridges_tabular"
    folds_watch = True

    def check(self, estimator: Any, samples: Sequence[Sample]) -> None:
        """Its own parameters; rows have been checked as it would."""
        estimator.check_params()

    def fit(self, estimator: Any, training: Sample, validation: Sample | None, patience: int | None) -> Any:
        """Fit with the validation rows."""
        watched = None if validation is None else (validation.X, validation.y, validation.weight)
        return estimator.fit(training.X, training.y, training.weight, watched)

    def dump(self, model: Any) -> NDArray[np.uint8]:
        """The files of a saved model, as arrays."""
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            root = Path(folder) / "model"
            paths = sorted(path for path in root.rglob("*") if path.is_file())
            files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
        return np.frombuffer(
            save_arrays({name: np.frombuffer(content, dtype=np.uint8) for name, content in files.items()}),
            dtype=np.uint8,
        )

    def restore(self, content: bytes, trusted: Collection[str]) -> Any:
        """The model, by the same rules as any saved one."""
        with tempfile.TemporaryDirectory() as folder:
            for name, file in load_arrays(content).items():
                if not is_inside(name):
                    raise ValueError(f"{shown(name)} is no name of a file")
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.tobytes())
            return artifacts.load(folder, trusted)
