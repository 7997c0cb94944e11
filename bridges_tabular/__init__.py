"""Regression as classification over bins, for pytorch-tabular and XGBoost, with a full predictive distribution.

Importing this package makes :class:`~bridges_tabular.tabular.BridgeConfig` known to pytorch-tabular as
``models.bridge``; the engines themselves are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bridges_tabular._plugin import register

if TYPE_CHECKING:
    __version__: str
    from bridges_tabular.auto import AutoBridgeRegressor
    from bridges_tabular.boosting import XGBBridgeRegressor
    from bridges_tabular.boosting.dask import DaskXGBBridgeRegressor
    from bridges_tabular.classifiers import ClassifierBridgeRegressor
    from bridges_tabular.core.bins import Bins
    from bridges_tabular.core.calibration import ConformalIntervals, DistributionCalibrator
    from bridges_tabular.core.decoder import LinearDecoder
    from bridges_tabular.core.distribution import BinnedDistribution
    from bridges_tabular.core.encoders import HardEncoder, LearnedEncoder, SoftEncoder
    from bridges_tabular.core.objective import BridgeObjective
    from bridges_tabular.experiments.studies import from_trial
    from bridges_tabular.explaining import Contributions, contributions
    from bridges_tabular.export import to_onnx
    from bridges_tabular.pooling import PooledBridgeRegressor
    from bridges_tabular.regressors.artifacts import load
    from bridges_tabular.regressors.pipelines import predict_distribution
    from bridges_tabular.tabular import (
        BridgeConfig,
        BridgeHead,
        BridgeModel,
        CalibratedTabularModel,
        MemberMLPConfig,
        TabularBridgeRegressor,
        TensorDatamodule,
        bridge_distribution,
    )

_HOMES = {
    "AutoBridgeRegressor": "auto",
    "BinnedDistribution": "core.distribution",
    "Bins": "core.bins",
    "BridgeConfig": "tabular",
    "BridgeHead": "tabular",
    "BridgeModel": "tabular",
    "BridgeObjective": "core.objective",
    "CalibratedTabularModel": "tabular",
    "ClassifierBridgeRegressor": "classifiers",
    "ConformalIntervals": "core.calibration",
    "Contributions": "explaining",
    "DaskXGBBridgeRegressor": "boosting.dask",
    "DistributionCalibrator": "core.calibration",
    "HardEncoder": "core.encoders",
    "LearnedEncoder": "core.encoders",
    "LinearDecoder": "core.decoder",
    "MemberMLPConfig": "tabular",
    "PooledBridgeRegressor": "pooling",
    "SoftEncoder": "core.encoders",
    "TabularBridgeRegressor": "tabular",
    "TensorDatamodule": "tabular",
    "XGBBridgeRegressor": "boosting",
    "bridge_distribution": "tabular",
    "contributions": "explaining",
    "from_trial": "experiments.studies",
    "load": "regressors.artifacts",
    "predict_distribution": "regressors.pipelines",
    "to_onnx": "export",
}

__all__ = [
    "AutoBridgeRegressor",
    "BinnedDistribution",
    "Bins",
    "BridgeConfig",
    "BridgeHead",
    "BridgeModel",
    "BridgeObjective",
    "CalibratedTabularModel",
    "ClassifierBridgeRegressor",
    "ConformalIntervals",
    "Contributions",
    "DaskXGBBridgeRegressor",
    "DistributionCalibrator",
    "HardEncoder",
    "LearnedEncoder",
    "LinearDecoder",
    "MemberMLPConfig",
    "PooledBridgeRegressor",
    "SoftEncoder",
    "TabularBridgeRegressor",
    "TensorDatamodule",
    "XGBBridgeRegressor",
    "bridge_distribution",
    "contributions",
    "from_trial",
    "load",
    "predict_distribution",
    "to_onnx",
]

register()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bridges-tabular")
    except PackageNotFoundError:  # a source tree that is not installed
        return "0.0.0"
