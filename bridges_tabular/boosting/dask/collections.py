"""Dask's collections: their partitions with what belongs to the same rows, and collections of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd

from bridges_tabular.boosting.dask.blocks import Partition
from bridges_tabular.regressors.tables import check_columns


def partitions(
    X: Any, y: Any, weight: Any, called: tuple[str, str, str], first: int = 0, role: int | None = None
) -> list[Partition]:
    """The partitions of a table, with their targets and weights; nothing is computed.

    Parameters
    ----------
    X : dask DataFrame or Array of shape (n, p)
    y : dask Series or Array of shape (n,)
    weight : the same, or None
    called : (str, str, str)
        How to call them in an error.
    first : int
        Number of the first partition.
    role : int or None
        That of all rows; None where they are to be divided.

    Raises
    ------
    TypeError
        If one is no collection of Dask's.
    ValueError
        If their partitions do not match, as far as that is known without computing them.
    """
    tables, targets, weights = table_parts(X, called[0]), _column_parts(y, called[1]), _column_parts(weight, called[2])
    for parts, name in ((targets, called[1]), (weights, called[2])):
        if parts is not None and len(parts) != len(tables):
            raise ValueError(
                f"{name} has {len(parts)} partitions and {called[0]} {len(tables)}: give them the same, by repartition"
                " or rechunk"
            )
    if targets is None:
        raise ValueError(f"a regressor requires y to be passed, but the target {called[1]} is None")
    return [
        Partition(table, target, None if weights is None else weights[number], first + number, role)
        for number, (table, target) in enumerate(zip(tables, targets, strict=True))
    ]


def table_parts(X: Any, called: str = "X") -> list[Any]:
    """Delayed partitions of a table.

    Raises
    ------
    TypeError, ValueError
        If it is no dask DataFrame, or dask Array of two dimensions, or has columns that no table can have.
    """
    if isinstance(X, dd.DataFrame):
        check_columns(X._meta)
        return _frame_parts(X)
    if not isinstance(X, da.Array):
        raise TypeError(
            f"{called} is a {type(X).__name__}, expected a dask DataFrame or Array; XGBBridgeRegressor takes the others"
        )
    if X.ndim != 2:
        raise ValueError(f"{called} has {X.ndim} dimensions, expected 2")
    return list(rows_alone(X).to_delayed().ravel())


def rows_alone(X: Any) -> Any:
    """A dask Array that is divided by rows alone."""
    return X if X.numblocks[1] == 1 else X.rechunk({1: -1})


def has_names(X: Any) -> bool:
    """Whether the columns of a table have names."""
    return isinstance(X, dd.DataFrame) and all(isinstance(name, str) for name in X.columns)


def mapped(X: Any, of: Callable[..., Any], args: Sequence[Any], width: tuple[int, ...]) -> Any:
    """Numbers of each row, as a collection.

    Parameters
    ----------
    X : dask DataFrame or Array
    of : callable
        From a partition and further arguments, which may be delayed, to an array of shape (n, *width).
    args : sequence
    width : tuple of int

    Returns
    -------
    dask Array of shape (n, *width), or a dask Series of a DataFrame's rows where each has one number
    """
    parts = table_parts(X)
    if isinstance(X, dd.DataFrame) and not width:
        return X.map_partitions(_series, of, *args, meta=pd.Series(dtype=np.float64))
    lengths = [np.nan] * len(parts) if isinstance(X, dd.DataFrame) else X.chunks[0]
    compute = dask.delayed(of, pure=True)
    return da.concatenate(
        [
            da.from_delayed(compute(part, *args), (length, *width), np.float64)
            for part, length in zip(parts, lengths, strict=True)
        ]
    )


def _series(part: pd.DataFrame, of: Callable[..., Any], *args: Any) -> pd.Series[Any]:
    return pd.Series(of(part, *args), index=part.index, dtype=np.float64)


def _column_parts(column: Any, called: str) -> list[Any] | None:
    if column is None:
        return None
    if isinstance(column, da.Array):
        if column.ndim != 1 and not (column.ndim == 2 and column.shape[1] == 1):
            raise ValueError(f"{called} has shape {column.shape}, expected one number a row")
        return list(column.to_delayed().ravel())
    if not isinstance(column, dd.Series | dd.DataFrame):
        raise TypeError(f"{called} is a {type(column).__name__}, expected a dask Series or Array")
    return _frame_parts(column)


def _frame_parts(frame: Any) -> list[Any]:
    """Its partitions: Dask's whole optimization would read several of a file's as one, by how many columns are used."""
    return list(frame.simplify().to_delayed(optimize_graph=False))
