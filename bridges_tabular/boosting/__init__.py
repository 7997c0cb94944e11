"""The XGBoost adapter: a scikit-learn regressor and the objectives behind its schemes."""

from bridges_tabular.boosting.regressor import XGBBridgeRegressor

__all__ = ["XGBBridgeRegressor"]
