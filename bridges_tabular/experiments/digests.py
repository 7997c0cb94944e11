"""What identifies rows of a table: fits and trials belong together only where they have seen the same."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.tables import Table


def digest(table: Table, rows: NDArray[np.int64] | None = None) -> str:
    """Identify the content of some rows of a table, by default of all.

    The same numbers are other rows in another role, as an exposure rather than a weight, or in columns of another kind.
    """
    seen = np.arange(len(table.y)) if rows is None else rows
    X = table.X.iloc[seen]
    numbers = {
        "y": table.y,
        "rows": table.rows,
        "weight": table.weight,
        "exposure": table.exposure,
        "marks": None if table.marks is None else table.marks.values,
    }
    content = hashlib.sha256(json.dumps([(str(name), str(dtype)) for name, dtype in X.dtypes.items()]).encode())
    content.update(pd.util.hash_pandas_object(X, index=False).to_numpy().tobytes())
    for role, values in numbers.items():
        if values is not None:
            content.update(role.encode() + values[seen].tobytes())
    return content.hexdigest()[:16]
