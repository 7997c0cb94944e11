"""Boosting on the workers of a Dask cluster: each has a share of the rows, and all grow the same trees."""

from bridges_tabular.boosting.dask.regressor import DaskXGBBridgeRegressor

__all__ = ["DaskXGBBridgeRegressor"]
