"""From a user's table to the matrices that XGBoost reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray

from bridges_tabular._frames import TableEncoder

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
        """Features of shape (n, p): numbers, and categories as codes."""
        numeric, codes = self._encoder.transform(frame)
        values = np.empty((len(frame), len(self._is_category)), dtype=np.float32)
        values[:, ~self._is_category] = numeric
        values[:, self._is_category] = np.where(codes < 0, np.nan, codes)
        return values

    def plain(self, values: Values, native: bool, *, with_location: bool = False, **meta: Any) -> xgb.DMatrix:
        """DMatrix of features; ``meta`` holds DMatrix arguments such as label and weight.

        Parameters
        ----------
        values : array of shape (n, p), or (n, p + 1) ``with_location``
        native : bool
            True lets XGBoost split the set of categories; False hands their codes over as ordered numbers, which
            keeps a feature in one column and was as accurate as one column a category.
        with_location : bool, default=False
            Whether the last column is the location that bins are centred on.
        """
        return xgb.DMatrix(values, **self._description(native, with_location), **meta)

    def for_training(self, values: Values, native: bool, *, with_location: bool = False, **meta: Any) -> xgb.DMatrix:
        """Like :meth:`plain`, in the form that the tree method trains on; :meth:`name` its booster.

        With ``ref``, the matrix of other rows of the same columns, their quantiles are used again.
        """
        description = self._description(native, with_location) | {"feature_names": None}
        if "c" not in description["feature_types"]:
            description["feature_types"] = None
        if not self._histograms:
            meta.pop("ref", None)
            return xgb.DMatrix(values, **description, **meta)
        return xgb.QuantileDMatrix(values, **description, **self._limit, **meta)

    def name(self, booster: xgb.Booster, native: bool, *, with_location: bool = False) -> xgb.Booster:
        """Tell a booster the names and kinds of its features.

        XGBoost asks the matrices for them in every round, which takes longer than small trees.
        """
        description = self._description(native, with_location)
        booster.feature_names, booster.feature_types = description["feature_names"], description["feature_types"]
        return booster

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
