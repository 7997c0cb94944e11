"""The XGBoost adapter: a scikit-learn regressor, its objective and stages; and bins over any other classifier."""

from bridges_tabular.boosting.classifier import ClassifierBridgeRegressor
from bridges_tabular.boosting.regressor import XGBBridgeRegressor

__all__ = ["ClassifierBridgeRegressor", "XGBBridgeRegressor"]
