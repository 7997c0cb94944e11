"""The pytorch-tabular plugin: configuration, head, model, and a scikit-learn regressor."""

from bridges_tabular.tabular.config import BridgeConfig
from bridges_tabular.tabular.datamodule import TensorDatamodule
from bridges_tabular.tabular.head import BridgeHead
from bridges_tabular.tabular.members import MemberMLPConfig, MemberMLPModel
from bridges_tabular.tabular.model import BridgeModel
from bridges_tabular.tabular.native import CalibratedTabularModel, bridge_distribution
from bridges_tabular.tabular.regressor import TabularBridgeRegressor

__all__ = [
    "BridgeConfig",
    "BridgeHead",
    "BridgeModel",
    "CalibratedTabularModel",
    "MemberMLPConfig",
    "MemberMLPModel",
    "TabularBridgeRegressor",
    "TensorDatamodule",
    "bridge_distribution",
]
