"""From a user's table to the matrices that XGBoost reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray

from bridges_tabular._frames import TableEncoder

# characters that XGBoost refuses in the names of features
_SAFE_NAMES = str.maketrans({"[": "(", "]": ")", "<": "‹"})


class FeatureMatrices:
    """Builds DMatrix objects with one column a feature, in the order of the user's table.

    Missing numbers stay missing, for XGBoost to send the better way; missing and unseen categories join them.

    Parameters
    ----------
    encoder : TableEncoder
        Fitted on the training rows.
    native_categories : bool
        True lets XGBoost split the set of categories; False hands their codes over as ordered numbers, which
        keeps a feature in one column and was as accurate as one column a category.
    n_jobs : int or None
        Number of threads, None for all.
    """

    def __init__(self, encoder: TableEncoder, native_categories: bool, n_jobs: int | None) -> None:
        self._encoder = encoder
        self._is_category = np.array([name in encoder.categories for name in encoder.feature_names_in_])
        self._description: dict[str, Any] = {
            "feature_names": (
                [name.translate(_SAFE_NAMES) for name in encoder.feature_names_in_] if encoder.named else None
            ),
            "feature_types": ["c" if native_categories and c else "q" for c in self._is_category],
            "enable_categorical": native_categories,
            "nthread": n_jobs,
        }

    def plain(self, frame: pd.DataFrame, **meta: Any) -> xgb.DMatrix:
        """DMatrix of a table; ``meta`` holds DMatrix arguments such as label and weight."""
        return xgb.DMatrix(self._values(frame), **self._description, **meta)

    def quantised(self, frame: pd.DataFrame, **meta: Any) -> xgb.QuantileDMatrix:
        """Histogram form of a table, far smaller; validation rows need ``ref``, the training rows' form."""
        return xgb.QuantileDMatrix(self._values(frame), **self._description, **meta)

    def _values(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        numeric, codes = self._encoder.transform(frame)
        values = np.empty((len(frame), len(self._is_category)), dtype=np.float32)
        values[:, ~self._is_category] = numeric
        values[:, self._is_category] = np.where(codes < 0, np.nan, codes)
        return values
