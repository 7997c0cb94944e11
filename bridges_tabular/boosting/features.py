"""From a user's table to the matrices that XGBoost reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray

from bridges_tabular._frames import TableEncoder
from bridges_tabular._sharing import shared

Values = NDArray[np.float32]

# characters that XGBoost refuses in the names of features
_SAFE_NAMES = str.maketrans({"[": "(", "]": ")", "<": "‹"})
_LOCATION_NAME = "location"


class FeatureMatrices:
    """Builds DMatrix objects with one column a feature, in the order of the user's table.

    Missing numbers stay missing, for XGBoost to send the better way; missing and unseen categories join them.

    Parameters
    ----------
    encoder : TableEncoder
        Fitted on the training rows.
    histograms : bool
        Whether the tree method reads histograms, for which training and validation rows are kept in their
        quantised form; it is far smaller.
    max_bin : int or None
        Number of quantiles; None for XGBoost's own.
    n_jobs : int or None
        Number of threads, None for all.
    """

    def __init__(self, encoder: TableEncoder, *, histograms: bool, max_bin: int | None, n_jobs: int | None) -> None:
        self._encoder = encoder
        self._is_category = np.array([name in encoder.categories for name in encoder.feature_names_in_])
        self._histograms = histograms
        self._limit = {} if max_bin is None or not histograms else {"max_bin": max_bin}
        self._n_jobs = n_jobs

    def values(self, frame: pd.DataFrame) -> Values:
        """Features of shape (n, p): numbers, and categories as codes; read-only."""
        return shared(lambda: self._read(frame), [self._encoder, frame], "values")

    def _read(self, frame: pd.DataFrame) -> Values:
        numeric, codes = self._encoder.transform(frame)
        values = np.empty((len(frame), len(self._is_category)), dtype=np.float32)
        values[:, ~self._is_category] = numeric
        values[:, self._is_category] = np.where(codes < 0, np.nan, codes)
        values.flags.writeable = False
        return values

    def plain(self, values: Values, native: bool, *, with_location: bool = False) -> xgb.DMatrix:
        """DMatrix of features, to predict with.

        Parameters
        ----------
        values : array of shape (n, p), or (n, p + 1) ``with_location``
        native : bool
            True lets XGBoost split the set of categories; False hands their codes over as ordered numbers, which
            keeps a feature in one column and was as accurate as one column a category.
        with_location : bool, default=False
            Whether the last column is the location that bins are centred on.
        """
        description = self._description(native, with_location)
        settings = native, with_location, self._n_jobs
        return shared(lambda: xgb.DMatrix(values, **description), [self._encoder, values], "plain", *settings)

    def for_training(
        self,
        values: Values,
        native: bool,
        *,
        label: NDArray[Any],
        weight: NDArray[np.float64] | None,
        rows: NDArray[np.bool_] | None = None,
        with_location: bool = False,
        ref: xgb.DMatrix | None = None,
    ) -> xgb.DMatrix:
        """Like :meth:`plain`, in the form that the tree method trains on; :meth:`name` its booster.

        Parameters
        ----------
        values, native, with_location
            As in :meth:`plain`.
        label : array of shape (n,)
        weight : array of shape (n,), optional
        rows : bool array of shape (n,), optional
            Those that the matrix is to hold; default: all.
        ref : DMatrix, optional
            Of other rows of the same columns; their quantiles are used again.
        """
        matrix = self._matrix(values, native, with_location, weight, rows, ref)
        # the one thing that fits set anew
        matrix.set_info(label=label if rows is None else label[rows])
        return matrix

    def name(self, booster: xgb.Booster, native: bool, *, with_location: bool = False) -> xgb.Booster:
        """Tell a booster the names and kinds of its features.

        XGBoost asks the matrices for them in every round, which takes longer than small trees.
        """
        description = self._description(native, with_location)
        booster.feature_names, booster.feature_types = description["feature_names"], description["feature_types"]
        return booster

    def _matrix(
        self,
        values: Values,
        native: bool,
        with_location: bool,
        weight: NDArray[np.float64] | None,
        rows: NDArray[np.bool_] | None,
        ref: xgb.DMatrix | None,
    ) -> xgb.DMatrix:
        """What :meth:`for_training` returns, without the label."""
        used = slice(None) if rows is None else rows
        description = self._description(native, with_location) | {
            "feature_names": None,
            "weight": None if weight is None else weight[used],
        }
        if "c" not in description["feature_types"]:
            description["feature_types"] = None
        if not self._histograms:
            # not shared: "approx" keeps in it what it sketches by the gradients of the first fit
            return xgb.DMatrix(values[used], **description)
        settings = native, with_location, self._n_jobs, *self._limit.items(), None if rows is None else rows.tobytes()
        return shared(
            lambda: xgb.QuantileDMatrix(values[used], ref=ref, **description, **self._limit),
            [self._encoder, values, weight, ref],
            *("quantiles", *settings),
        )

    def _description(self, native: bool, with_location: bool) -> dict[str, Any]:
        types = ["c" if native and category else "q" for category in self._is_category]
        names = None
        if self._encoder.named:
            names = [name.translate(_SAFE_NAMES) for name in self._encoder.feature_names_in_]
        if with_location:
            types.append("q")
            if names is not None:
                # a column of the user's may have that name already
                own = _LOCATION_NAME
                while own in names:
                    own += "_"
                names.append(own)
        return {
            "feature_names": names,
            "feature_types": types,
            "enable_categorical": native,
            "nthread": self._n_jobs,
        }
