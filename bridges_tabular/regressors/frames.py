"""Tables and columns of other libraries (polars, pyarrow, modin, ...), made pandas' where they come in."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pandas as pd
from scipy import sparse


def as_pandas(given: Any, what: str) -> Any:
    """A table or column that narwhals reads as pandas' own; anything else as it is.

    Parameters
    ----------
    given : any
    what : str
        How to call it in an error.

    Raises
    ------
    TypeError
        If it is sparse, or a table whose rows are still to be computed, or one that narwhals does not read: its
        columns would be taken by position.
    ModuleNotFoundError
        If polars' rows need pyarrow, and it is not installed.
    """
    if given is None or isinstance(given, pd.DataFrame | pd.Series | pd.Index):
        return given
    kind = type(given).__name__
    if sparse.issparse(given):
        raise TypeError(
            f"Sparse data was passed for {what} ({kind}), and all models take dense rows: use {what}.toarray(), or"
            " sparse_output=False in OneHotEncoder"
        )
    read = nw.from_native(given, allow_series=True, pass_through=True)
    if isinstance(read, nw.LazyFrame):
        raise TypeError(f"{what} is a {kind}, whose rows are not computed yet: collect or compute it first")
    if read is given and not isinstance(given, nw.DataFrame | nw.Series):
        if hasattr(given, "__dataframe__") or hasattr(given, "__arrow_c_stream__"):
            raise TypeError(f"{what} is a {kind}, whose columns cannot be read by name: make it a DataFrame first")
        return given
    try:
        return read.to_pandas()
    except ModuleNotFoundError as error:
        if error.name not in (None, "pyarrow"):
            raise
        raise ModuleNotFoundError(
            f'{what} is a {kind}, and reading it needs pyarrow: pip install "bridges-tabular[parquet]"', name="pyarrow"
        ) from None
