"""A trial gives the regressor back that it was of."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import bridges_tabular
from bridges_tabular.experiments import BridgeStudy, ExperimentError
from bridges_tabular.experiments.splits import make_splits
from bridges_tabular.experiments.studies import rebuild
from bridges_tabular.experiments.tables import load_table


def test_the_example_runs() -> None:
    found = doctest.testmod(rebuild)
    assert (found.failed, found.attempted > 5) == (0, True)


def test_the_best_trial_of_a_study_fits_to_its_score(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"]["bins"] |= {"n_jobs": 1, "xgb_params": {"max_delta_step": 2}}
    space = {
        "learning_rate": {"type": "float", "low": 0.1, "high": 0.5},
        "xgb_params.colsample_bylevel": {"type": "float", "low": 0.5, "high": 1.0},
    }
    content["study"] = {"model": "bins", "trials": 3, "bundled_space": False, "space": space}
    study = BridgeStudy(content, out=tmp_path / "out")
    result = study.optimize(quiet=True)
    # read anew, as by whoever comes later
    file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / "study.log"))
    (name,) = optuna.get_all_study_names(optuna.storages.JournalStorage(file))
    kept = optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(file))
    table = load_table(study.experiment.table)
    split = make_splits(table, study.experiment.split)[0]
    train, held = split.train, split.validation
    for trial in kept.trials:
        model: Any = bridges_tabular.from_trial(trial)
        assert isinstance(model, bridges_tabular.XGBBridgeRegressor)
        assert model.scheme == content["models"]["bins"].get("scheme", "end_to_end")
        assert model.xgb_params["max_delta_step"] == 2
        if not trial.user_attrs.get("default"):
            assert model.learning_rate == trial.params["learning_rate"]
            assert model.xgb_params["colsample_bylevel"] == trial.params["xgb_params.colsample_bylevel"]
        model.fit(table.X.iloc[train], table.y[train], eval_set=(table.X.iloc[held], table.y[held]))
        rmse = np.sqrt(np.mean((model.predict(table.X.iloc[held]) - table.y[held]) ** 2))
        assert trial.value == pytest.approx(rmse, rel=1e-9)
    assert len(result.trials) == 3


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "trial 7 does not say of which regressor it is"),
        ({"regressor": {"engine": "xgboost"}}, "trial 7 describes no regressor"),
        ({"regressor": {"engine": "xgbost", "params": {}}}, "did you mean 'xgboost'"),
        ({"regressor": {"engine": "xgboost", "params": {"n_bin": 3}}}, "did you mean 'n_bins'"),
    ],
)
def test_other_trials_are_refused(attributes: dict[str, Any], words: str) -> None:
    trial = optuna.create_trial(value=1.0, user_attrs=attributes)
    trial.number = 7
    with pytest.raises(ExperimentError, match=r"^[^\n]*$") as caught:
        bridges_tabular.from_trial(trial)
    assert words in str(caught.value)
