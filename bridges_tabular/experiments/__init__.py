"""Experiments: an experiment file in, fitted and scored models, tables of results and a report out.

``compare`` runs every model of an experiment file on the same rows; ``train`` fits one of them to keep it.
"""

from bridges_tabular.experiments.comparison import Comparison, compare
from bridges_tabular.experiments.config import Experiment, ExperimentError, bundled_experiments
from bridges_tabular.experiments.tables import read_frame
from bridges_tabular.experiments.training import TrainedModel, train

__all__ = [
    "Comparison",
    "Experiment",
    "ExperimentError",
    "TrainedModel",
    "bundled_experiments",
    "compare",
    "read_frame",
    "train",
]
