"""XGBoost's quantised form of stored features: in memory, or in files beside them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import xgboost as xgb

from bridges_tabular.boosting.stored import StoredValues

_numbers = count()


def quantised(values: StoredValues, ref: xgb.DMatrix | None, description: dict[str, Any]) -> xgb.DMatrix:
    """Stored features in XGBoost's quantised form: in memory, or where that would take much of it, in files beside.

    Parameters
    ----------
    values : StoredValues
    ref : DMatrix or None
        Whose quantiles to take.
    description : dict
        Of the columns and rows, as a QuantileDMatrix takes it.
    """
    of_blocks = {name: description[name] for name in ("weight", "feature_names", "feature_types")}
    of_matrix = {name: value for name, value in description.items() if name not in of_blocks}
    if values.fits_in_memory:
        return xgb.QuantileDMatrix(_Blocks(values, of_blocks, None), ref=ref, **of_matrix)
    prefix = values.file.with_name(f"matrix-{next(_numbers)}")
    return xgb.ExtMemQuantileDMatrix(_Blocks(values, of_blocks, str(prefix)), ref=ref, **of_matrix)


class _Blocks(xgb.DataIter):
    """Hands XGBoost a block after the other, four times over."""

    def __init__(self, values: StoredValues, description: dict[str, Any], cache_prefix: str | None) -> None:
        self._values, self._description = values, description
        self._weight = description["weight"]
        self.reset()
        super().__init__(cache_prefix=cache_prefix)

    def reset(self) -> None:
        self._blocks, self._start = self._values.blocks(), 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        rows = slice(self._start, self._start + len(block))
        self._start = rows.stop
        input_data(data=block, **self._description | {"weight": None if self._weight is None else self._weight[rows]})
        return True
