"""Regressors that pool others: convex combinations of points and of distributions."""

from bridges_tabular.pooling.regressor import PooledBridgeRegressor

__all__ = ["PooledBridgeRegressor"]
