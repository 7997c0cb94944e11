"""Studies: the parameters of a model searched with Optuna, from the ``study`` block of an experiment file.

``BridgeStudy`` runs a study and leaves the best configuration as an experiment file; ``suggest_bridge_params`` offers
the bundled search spaces (``experiments/spaces``) to objectives of your own; ``from_trial`` makes a trial's regressor.
"""

from bridges_tabular.experiments.studies.rebuild import from_trial
from bridges_tabular.experiments.studies.space import suggest_bridge_params
from bridges_tabular.experiments.studies.study import BridgeStudy, StudyResult

__all__ = ["BridgeStudy", "StudyResult", "from_trial", "suggest_bridge_params"]
