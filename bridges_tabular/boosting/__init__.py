"""Trees over bins: a scikit-learn regressor around XGBoost, its objective and stages."""

from bridges_tabular.boosting.regressor import XGBBridgeRegressor

__all__ = ["XGBBridgeRegressor"]
