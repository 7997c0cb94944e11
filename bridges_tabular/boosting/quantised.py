"""XGBoost's quantised form of stored features: in memory, or in files beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import xgboost as xgb

from bridges_tabular.regressors.stored import StoredValues

# Of a feature of a row in XGBoost's quantised form: the number of its quantile, by rows and by columns; with missing
# values the former takes four bytes.
_BYTES = 5
# The share of the machine's memory that one matrix may take: two or three are held at a time, beside what boosting
# keeps of each row anyway.
_SHARE = 0.125
_UNKNOWN_MEMORY = 8 << 30
_LIMIT_FILE = Path("/sys/fs/cgroup/memory.max")

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
    if fits_in_memory(values):
        return xgb.QuantileDMatrix(_Blocks(values, of_blocks, None), ref=ref, **of_matrix)
    prefix = values.file.with_name(f"matrix-{next(_numbers)}")
    return xgb.ExtMemQuantileDMatrix(_Blocks(values, of_blocks, str(prefix)), ref=ref, **of_matrix)


def fits_in_memory(values: StoredValues) -> bool:
    """Whether XGBoost's quantised form of so many features takes a small part of the machine's memory."""
    return len(values) * values.shape[1] * _BYTES < _SHARE * _memory()


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


def _memory() -> int:
    """Bytes of memory that this process may take."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        machine = _UNKNOWN_MEMORY
    limit = _LIMIT_FILE.read_text().strip() if _LIMIT_FILE.is_file() else ""
    return min(machine, int(limit)) if limit.isdecimal() else machine
