"""The rows of a fit: read and checked, held out, taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_array, column_or_1d

from bridges_tabular.regressors.exposure import check_exposure, rates
from bridges_tabular.regressors.frames import as_pandas
from bridges_tabular.regressors.groups import check_groups, ranked
from bridges_tabular.regressors.kinds import as_floats, first_other
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import check_table
from bridges_tabular.regressors.words import shown

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of a table with their targets and weights.

    Attributes
    ----------
    X : DataFrame of n rows
    y : array of shape (n, t)
        Of t targets; in standard units wherever an engine sees them.
    weight : array of shape (n,) or None
        Positive, of mean 1. Rows of weight zero are left out as they are read.
    groups : array of int of shape (n,) or None
        Rows of the same one are held out, and folded, together.
    """

    X: pd.DataFrame
    y: Floats
    weight: Floats | None = None
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def read(cls, estimator: BaseEstimator, given: Given, *, reset: bool, several: bool) -> Self:
        """Check features, targets and weights by scikit-learn's conventions.

        Parameters
        ----------
        estimator : BaseEstimator
            As :func:`~bridges_tabular.regressors.tables.check_table` takes it, with ``reset``.
        given : Given
            With exposures, the targets become rates, and the weights count exposure.
        several : bool
            Whether y may have more than one column.

        Raises
        ------
        ValueError
            If anything in them cannot be used.
        """
        name = given.name
        frame = check_table(estimator, given.X, reset=reset, called=name.replace("y", "X", 1))
        y = as_pandas(given.y, name)
        target = _check_targets(y, name) if several else check_target(y, name)[:, None]
        check_consistent_length(frame, target)
        exposure = None
        if given.exposure is not None:
            called = "exposure" if name == "y" else "exposure_val"
            exposure = check_exposure(given.exposure, len(target), called)
            target = rates(target, exposure, called)
        weighed = name.replace("y", "sample_weight", 1)
        weight = check_sample_weight(given.weight, len(target), weighed, exposure)
        groups = None if given.groups is None else check_groups(given.groups, len(target))
        rows = cls(frame, target, weight, groups)
        return rows if weight is None or weight.all() else rows.take(np.flatnonzero(weight))

    def take(self, rows: NDArray[np.int64], prepared: Prepared | None = None) -> Self:
        """Some of the rows, by number."""
        prepared = prepared or Prepared()
        X = prepared.get(lambda: self.X.iloc[rows], [self.X], "rows", rows.tobytes())
        weight = None if self.weight is None else check_sample_weight(self.weight[rows], len(rows))
        return type(self)(X, self.y[rows], weight, None if self.groups is None else self.groups[rows])

    def hold_out(
        self, fraction: float, random: np.random.RandomState, prepared: Prepared | None = None
    ) -> tuple[Self, Self]:
        """Divide the rows at random into those that stay and those held out; where there are groups, whole ones.

        Raises
        ------
        ValueError
            If there are fewer than two rows, or groups.
        """
        n = len(self)
        if self.groups is not None:
            return self._hold_out_groups(self.groups, fraction, random, prepared)
        if n < 2:
            raise ValueError(f"n_samples = {n}: at least 2 rows are needed to hold out validation rows")
        held_out = min(max(round(n * fraction), 1), n - 1)
        order = random.permutation(n)
        parts = np.sort(order[held_out:]), np.sort(order[:held_out])
        return self.take(parts[0], prepared), self.take(parts[1], prepared)

    def _hold_out_groups(
        self,
        groups: NDArray[np.int64],
        fraction: float,
        random: np.random.RandomState,
        prepared: Prepared | None,
    ) -> tuple[Self, Self]:
        """A share of the groups, as scikit-learn's GroupShuffleSplit has it."""
        places = ranked(groups, random)
        n_groups = int(places.max()) + 1
        if n_groups < 2:
            raise ValueError("groups holds one group alone, and rows that are held out need another")
        apart = places < min(max(round(n_groups * fraction), 1), n_groups - 1)
        return self.take(np.flatnonzero(~apart), prepared), self.take(np.flatnonzero(apart), prepared)

    def standard(self, scale: TargetScale) -> Self:
        """The same rows with targets in standard units."""
        return type(self)(self.X, scale.standardise(self.y), self.weight, self.groups)


def check_target(y: Any, name: str = "y") -> NDArray[np.float64]:
    """Return the target as finite floats.

    Parameters
    ----------
    y : array of shape (n,)
        A column vector is taken too, with scikit-learn's DataConversionWarning.
    name : str
        How to call it in an error.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    ValueError
        If it is missing, not one-dimensional, not numeric, or holds NaN or infinite values.
    """
    if y is None:
        raise ValueError(f"a regressor requires y to be passed, but the target {name} is None")
    given = column_or_1d(y, warn=True)
    # of objects, pandas would infer a type, and fail on whole numbers that no float holds
    column = pd.Series(given, dtype=object if given.dtype == object else None)
    target = as_floats(column)
    if target is None:
        raise ValueError(f"the target {name} is not numeric: it holds {shown(first_other(column)[1])}")
    unusable = int(np.count_nonzero(~np.isfinite(target)))
    if unusable:
        raise ValueError(f"Input {name} contains NaN or infinity: {unusable} of {len(target)} values")
    return target


def check_sample_weight(
    sample_weight: Any, n: int, name: str = "sample_weight", exposure: Floats | None = None
) -> NDArray[np.float64] | None:
    """Return weights of shape (n,) with a mean of 1 over those that are not zero; None where all are alike.

    Engines compute in single precision: rounded to it, weights of any scale come out the same. ``name`` is how to call
    them in an error. Exposures are multiplied with them.

    Raises
    ------
    ValueError
        If there are not ``n`` of them, any is negative or not finite, or all are zero.
    """
    if sample_weight is None and exposure is None:
        return None
    try:
        weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} holds what is no number: {error}") from None
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(f"{name} has shape {weights.shape}, expected ({n},)")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"{name} holds negative, NaN or infinite values")
    if not weights.any():
        raise ValueError(f"{name} is zero everywhere")
    # the largest becomes 1 first: sums and products of large weights would overflow
    weights = weights / weights.max()
    if exposure is not None:
        weights = weights * (exposure / exposure.max())
    if (weights == weights[0]).all():
        return None
    scaled: Floats = (weights / weights[weights > 0].mean()).astype(np.float32).astype(np.float64)
    return scaled


class Given(NamedTuple):
    """Rows as ``fit`` was given them."""

    X: Any
    y: Any
    weight: Any = None
    name: str = "y"
    """How to call y in an error."""
    exposure: Any = None
    groups: Any = None


def check_validation(eval_set: Any, X_val: Any = None, y_val: Any = None, exposure_val: Any = None) -> Given | None:
    """Read the validation rows in any of their forms.

    Parameters
    ----------
    eval_set : None, (X, y), (X, y, sample_weight) or a list holding one such tuple
    X_val, y_val : optional
        The same by name.
    exposure_val : optional
        Exposures of the rows, whatever form they have.

    Returns
    -------
    Given, the weights None where absent; None where there are no such rows.

    Raises
    ------
    ValueError
        If there is more than one validation set, or something else than two or three parts.
    """
    if X_val is not None or y_val is not None:
        if eval_set is not None:
            raise ValueError("validation rows are given twice: by eval_set, and by X_val and y_val")
        if X_val is None or y_val is None:
            raise ValueError(f"X_val and y_val belong together: {'X_val' if X_val is None else 'y_val'} is missing")
        return Given(X_val, y_val, None, "y_val", exposure_val)
    if eval_set is None:
        if exposure_val is not None:
            raise ValueError("exposure_val is given without the validation rows that it is of")
        return None
    if isinstance(eval_set, list):
        if len(eval_set) != 1:
            raise ValueError(f"eval_set must hold one validation set, got a list of {len(eval_set)}")
        eval_set = eval_set[0]
    if not isinstance(eval_set, tuple | list) or len(eval_set) not in (2, 3):
        raise ValueError("eval_set must be (X, y), (X, y, sample_weight) or a list holding one of them")
    X, y, *weights = eval_set
    return Given(X, y, weights[0] if weights else None, "y of eval_set", exposure_val)


def _check_targets(y: Any, name: str) -> Floats:
    """Targets of shape (n, t)."""
    if y is None or np.asarray(y).ndim != 2:
        return check_target(y, name)[:, None]
    if isinstance(y, pd.DataFrame):
        repeated = y.columns[y.columns.duplicated()]
        if len(repeated):
            raise ValueError(f"{name} has more than one column {shown(repeated[0])}")
        columns = {str(column): y[column] for column in y}
    else:
        table = check_array(y, dtype=None, ensure_all_finite=False)
        columns = {str(index): column for index, column in enumerate(table.T)}
    return np.stack([check_target(column, f"{name}[{key}]") for key, column in columns.items()], axis=1)
