"""Experiments: an experiment file in, fitted and scored models, tables of results and a report out.

``compare`` runs every model of an experiment file on the same rows; ``train`` fits one of them to keep it;
``BridgeStudy`` searches their parameters.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridges_tabular.experiments.blocks import ExperimentError
    from bridges_tabular.experiments.comparison import Comparison, compare
    from bridges_tabular.experiments.config import Experiment, bundled_experiments
    from bridges_tabular.experiments.studies import BridgeStudy, StudyResult, from_trial, suggest_bridge_params
    from bridges_tabular.experiments.tables import read_frame
    from bridges_tabular.experiments.training import TrainedModel, train

# the help of the command line waits for none of them, a comparison not for Optuna and its databases
_HOMES = {
    "BridgeStudy": "studies",
    "Comparison": "comparison",
    "Experiment": "config",
    "ExperimentError": "blocks",
    "StudyResult": "studies",
    "TrainedModel": "training",
    "bundled_experiments": "config",
    "compare": "comparison",
    "from_trial": "studies",
    "read_frame": "tables",
    "suggest_bridge_params": "studies",
    "train": "training",
}

__all__ = [
    "BridgeStudy",
    "Comparison",
    "Experiment",
    "ExperimentError",
    "StudyResult",
    "TrainedModel",
    "bundled_experiments",
    "compare",
    "from_trial",
    "read_frame",
    "suggest_bridge_params",
    "train",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
