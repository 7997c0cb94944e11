"""Experiments: an experiment file in, fitted and scored models, tables of results and a report out.

``compare`` runs every model of an experiment file on the same rows; ``train`` fits one of them to keep it;
``BridgeStudy`` searches their parameters.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.comparison import Comparison, compare
from bridges_tabular.experiments.config import Experiment, bundled_experiments
from bridges_tabular.experiments.tables import read_frame
from bridges_tabular.experiments.training import TrainedModel, train

if TYPE_CHECKING:
    from bridges_tabular.experiments.studies import BridgeStudy, StudyResult, suggest_bridge_params

# Optuna and its databases are imported when a study is asked for
_STUDIES = ("BridgeStudy", "StudyResult", "suggest_bridge_params")

__all__ = [
    "BridgeStudy",
    "Comparison",
    "Experiment",
    "ExperimentError",
    "StudyResult",
    "TrainedModel",
    "bundled_experiments",
    "compare",
    "read_frame",
    "suggest_bridge_params",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _STUDIES:
        return getattr(import_module(f"{__name__}.studies"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
