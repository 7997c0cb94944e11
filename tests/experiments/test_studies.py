from __future__ import annotations

import json
import multiprocessing
import os
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from sklearn.metrics import root_mean_squared_error

from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.experiments import BridgeStudy, Experiment, ExperimentError, StudyResult, compare
from bridges_tabular.experiments.blocks import SplitBlock, StudyBlock
from bridges_tabular.experiments.splits import make_splits
from bridges_tabular.experiments.studies import queue
from bridges_tabular.experiments.studies.objective import make_parts
from bridges_tabular.experiments.tables import Table, load_table

BINS = {"n_bins": {"type": "int", "low": 4, "high": 12}, "learning_rate": {"type": "float", "low": 0.1, "high": 0.5}}


@pytest.fixture
def study(content: dict[str, Any]) -> dict[str, Any]:
    """The content of an experiment file with a study that takes a moment."""
    content["models"]["bins"] |= {"location": "none", "n_jobs": 1}
    content["study"] = {"model": "bins", "trials": 6, "bundled_space": False, "space": BINS}
    return content


def run(content: dict[str, Any], out: Path | None = None, **study: Any) -> StudyResult:
    return BridgeStudy(content | {"study": content["study"] | study}, out=out).optimize(quiet=True)


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """What trials found, without when, how fast and under which numbers."""
    kept = trials[trials["state"] != "lost"]
    columns = ["trial", "fit_seconds", "started", "ended", "retry_of", "error"]
    return kept.drop(columns=columns).reset_index(drop=True)


def read_journal(folder: Path) -> list[str]:
    return (folder / "study.log").read_text("utf-8").splitlines(keepends=True)


def ended(lines: list[str]) -> list[int]:
    """Which lines of a journal end a trial with a result."""
    return [i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 6 and json.loads(line)["state"] == 1]


def kill_at(folder: Path, lines: list[str], end: int) -> None:
    """Leave a study as a kill or a full disk does while a line is written: half of it, by a process that is gone."""
    folder.mkdir()
    # no process has that number
    left = "".join(lines[:end]).replace(f"[{os.getpid()},", "[999999999,")
    (folder / "study.log").write_text(left + lines[end][:20], encoding="utf-8")
    (folder / "config.yaml").touch()


def test_the_first_trial_is_the_default_configuration(study: dict[str, Any]) -> None:
    first = run(study).trials.iloc[0]
    assert first["default"]
    table = load_table(Experiment.read(study).table)
    split = make_splits(table, Experiment.read(study).split)[0]
    params = {key: value for key, value in study["models"]["bins"].items() if key != "engine"}
    model = XGBBridgeRegressor(**params, random_state=0)
    held_out = table.X.iloc[split.validation], table.y[split.validation]
    model.fit(table.X.iloc[split.train], table.y[split.train], eval_set=held_out)
    assert first["rmse"] == pytest.approx(root_mean_squared_error(held_out[1], model.predict(held_out[0])), rel=1e-12)
    assert (first["n_bins"], first["learning_rate"]) == (8, 0.1)


def test_the_best_file_gives_the_test_scores_again(study: dict[str, Any], tmp_path: Path) -> None:
    study["split"]["seeds"] = [3, 0]
    result = run(study, tmp_path / "tuned")
    again = compare(tmp_path / "tuned" / "best.yaml", quiet=True)
    times = ["fit_seconds", "predict_seconds"]
    written = pd.read_csv(tmp_path / "tuned" / "results.csv", float_precision="round_trip")
    for found in (again.results, written):
        pd.testing.assert_frame_equal(found.drop(columns=times), result.results.drop(columns=times), check_exact=True)
    # the rows that other seeds test are among those that the study saw
    assert result.results["seed"].tolist() == [3, 3]
    assert result.results["model"].tolist() == ["bins", "bins_tuned"]
    best = result.trials.loc[result.trials["rmse"].idxmin()]
    tuned = result.best.models["bins_tuned"].params
    assert (tuned["n_bins"], tuned["learning_rate"]) == (best["n_bins"], best["learning_rate"])
    assert best["rmse"] <= result.trials["rmse"].iloc[0]
    # and is itself the beginning of another study
    assert Experiment.read(tmp_path / "tuned" / "best.yaml").study == Experiment.read(study).study


def test_a_study_never_sees_test_rows(study: dict[str, Any], frame: pd.DataFrame, table_file: Path) -> None:
    honest = run(study, folds=2)
    experiment = Experiment.read(study)
    test = make_splits(load_table(experiment.table), experiment.split)[0].test
    frame.loc[test, "size"] = np.nan
    frame.loc[test, "kind"] = None
    frame.loc[test, "price"] = np.random.default_rng(1).uniform(1e5, 2e5, len(test))
    frame.to_csv(table_file, index=False)
    poisoned = run(study, folds=2)
    pd.testing.assert_frame_equal(searched(poisoned.trials), searched(honest.trials), check_exact=True)
    assert (poisoned.results["rmse"] > 1e4).all()


@pytest.mark.parametrize("folds", [1, 3])
def test_trials_are_scored_on_rows_that_train_nothing(folds: int) -> None:
    n = 101
    table = Table("t", "y", pd.DataFrame({"row": np.arange(n)}), np.arange(n, dtype=float), np.arange(n))
    split = make_splits(table, SplitBlock())[0]
    parts = make_parts(table, split, StudyBlock("m", folds=folds))
    assert len(parts) == folds
    scored = []
    for part in parts:
        train, held_out, score = (set(rows.X["row"]) for rows in (part.train, part.held_out, part.scored))
        assert not (train | held_out | score) & set(split.test)
        assert not train & (held_out | score)
        assert held_out == set(split.validation)
        assert (held_out == score) if folds == 1 else not held_out & score
        scored.append(score)
    assert sum(map(len, scored)) == len(set.union(*scored))
    if folds > 1:
        assert set.union(*scored) == set(split.train)


def test_an_interrupted_study_ends_as_if_it_had_not_been(study: dict[str, Any], tmp_path: Path) -> None:
    whole = run(study, tmp_path / "whole", trials=12)
    for trials in (2, 5, 12):
        parts = run(study, tmp_path / "parts", trials=trials)
    pd.testing.assert_frame_equal(searched(parts.trials), searched(whole.trials), check_exact=True)
    # in the middle of the sixth trial that finished
    lines = read_journal(tmp_path / "whole")
    kill_at(tmp_path / "killed", lines, ended(lines)[5] - 1)
    killed = run(study, tmp_path / "killed", trials=12)
    assert (killed.trials["state"] == "lost").sum() == 1
    lost = killed.trials[killed.trials["state"] == "lost"].iloc[0]
    assert "process ended" in lost["error"]
    assert lost["trial"] in set(killed.trials["retry_of"].dropna())
    pd.testing.assert_frame_equal(searched(killed.trials), searched(whole.trials), check_exact=True)


@pytest.mark.slow
def test_a_kill_at_any_line_of_the_journal_loses_one_trial_at_most(study: dict[str, Any], tmp_path: Path) -> None:
    study["models"]["bins"]["n_estimators"] = 2
    whole = run(study, tmp_path / "whole", trials=3)
    lines = read_journal(tmp_path / "whole")
    started = next(i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 6)
    for end in range(started, len(lines)):
        kill_at(tmp_path / str(end), lines, end)
        killed = run(study, tmp_path / str(end), trials=3)
        assert (killed.trials["state"] == "lost").sum() <= 1
        # a trial that was lost before it had drawn anything leaves a gap
        found = searched(killed.trials).astype(searched(whole.trials).dtypes)
        pd.testing.assert_frame_equal(found, searched(whole.trials), check_exact=True)


def test_a_kill_while_a_trial_is_taken_back_does_not_run_it_twice(study: dict[str, Any], tmp_path: Path) -> None:
    whole = run(study, tmp_path / "whole", trials=4)
    lines = read_journal(tmp_path / "whole")
    kill_at(tmp_path / "killed", lines, ended(lines)[2] - 1)
    run(study, tmp_path / "killed", trials=4)
    again = read_journal(tmp_path / "killed")
    queued = next(i for i, line in enumerate(again) if "retry_of" in line)
    # what two workers leave that take it back at once, and are killed before either has recorded that it is lost
    kill_at(tmp_path / "twice", [*again[: queued + 1], again[queued], again[queued]], queued + 2)
    twice = run(study, tmp_path / "twice", trials=4)
    assert twice.trials["state"].tolist().count("lost") == 1
    pd.testing.assert_frame_equal(searched(twice.trials), searched(whole.trials), check_exact=True)


def test_a_lost_trial_keeps_its_cell_of_a_grid(study: dict[str, Any], tmp_path: Path) -> None:
    space = {"n_bins": {"type": "categorical", "choices": [4, 5, 6]}}
    grid = {"space": space, "sampler": {"name": "grid", "seed": 0}}
    run(study, tmp_path / "whole", **grid)
    lines = read_journal(tmp_path / "whole")
    # the second trial has its cell, and has drawn nothing
    cell = next(i for i, line in enumerate(lines) if "grid_id" in line)
    kill_at(tmp_path / "killed", lines, cell + 1)
    trials = run(study, tmp_path / "killed", **grid).trials
    assert trials["state"].tolist().count("lost") == 1
    kept = trials[trials["state"] != "lost"]
    assert not kept["state"].eq("failed").any()
    # the first trial, which takes no cell, and every cell
    assert kept["n_bins"].tolist()[0] == 4
    assert sorted(kept["n_bins"]) == [4, 4, 5, 6]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_workers_that_are_gone_are_noticed_on_every_system(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    asked = []

    def kill(pid: int, number: int) -> None:
        # on Windows any number ends the process
        assert platform != "win32"
        assert number == 0
        asked.append(pid)
        os.kill(pid, 0)

    run(study, tmp_path / "whole")
    lines = read_journal(tmp_path / "whole")
    kill_at(tmp_path / "killed", lines, ended(lines)[2] - 1)
    monkeypatch.setattr(queue, "sys", SimpleNamespace(platform=platform))
    system = SimpleNamespace(kill=kill, getpid=os.getpid, readlink=os.readlink)
    monkeypatch.setattr(queue, "os", system)
    if platform == "darwin":
        monkeypatch.setattr(queue, "Path", lambda path: tmp_path / "no" / path.strip("/"))
    if platform == "win32":
        monkeypatch.setattr(queue, "GRACE", 0.5)
    trials = run(study, tmp_path / "killed").trials
    assert sorted(trials["state"]).count("lost") == 1
    assert (trials["state"] != "lost").sum() == 6
    assert bool(asked) == (platform != "win32")


def test_a_trial_lost_before_it_has_drawn_draws_what_nobody_else_does(study: dict[str, Any]) -> None:
    def drawn(is_lost: bool) -> list[float]:
        begun = BridgeStudy(study | {"study": study["study"] | {"trials": 4}})
        (search,) = begun._searches
        workers = [search.queue(begun._storage) for _ in range(4)]
        trials = [worker.claim() for worker in workers[:3]]
        if is_lost:
            workers[1].release()
            trials[1] = workers[3].claim()
        assert None not in trials
        return [search.parameters(trial)["learning_rate"] for trial in trials if trial is not None]

    assert drawn(is_lost=True) == drawn(is_lost=False)


def test_a_trial_that_keeps_ending_its_process_fails(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        os._exit(9)

    with monkeypatch.context() as patch:
        patch.setattr(XGBBridgeRegressor, "fit", die)
        for _ in range(3):
            process = multiprocessing.get_context("fork").Process(target=run, args=(study, tmp_path / "out"))
            process.start()
            process.join()
            assert process.exitcode == 9
    trials = run(study, tmp_path / "out").trials
    assert trials["state"].tolist()[:3] == ["lost", "lost", "failed"]
    assert trials["error"][2] == "its process ended, 3 times"
    assert trials["default"].tolist() == [True] * 3 + [False] * 5
    assert (trials["state"] != "lost").sum() == 6


@pytest.mark.parametrize("storage", ["journal.log", "sqlite:///study.db"])
def test_workers_that_come_and_go_finish_exactly_as_many_trials(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    studies = [BridgeStudy(study | {"study": study["study"] | {"trials": 9, "storage": storage}}) for _ in range(4)]
    results: list[StudyResult] = []
    threads = [threading.Thread(target=lambda s=s: results.append(s.optimize(quiet=True))) for s in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    trials = results[0].studies["bins"].trials
    finished = [trial for trial in trials if trial.state.is_finished()]
    assert len(finished) == 9
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.WAITING}
    assert len({trial.params["learning_rate"] for trial in finished}) == 9


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of depth 7, or of 7 leaves, fail in the middle of a fit."""
    fit = XGBBridgeRegressor.fit

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.max_depth == 7 or (self.xgb_params or {}).get("max_leaves") == 7:
            raise RuntimeError("grown\nsideways")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(XGBBridgeRegressor, "fit", failing)


@pytest.mark.usefixtures("fragile")
def test_failed_trials_are_recorded_and_go_on(study: dict[str, Any]) -> None:
    space = {"max_depth": {"type": "categorical", "choices": [2, 3, 7]}} | BINS
    result = run(study, space=space, trials=9, sampler={"name": "random", "seed": 3})
    failed = result.trials[result.trials["state"] == "failed"]
    assert len(result.trials) == 9
    assert 0 < len(failed) < 8
    assert (failed["error"] == "RuntimeError: grown sideways").all()
    assert (failed["max_depth"] == 7).all()
    assert failed["rmse"].isna().all()


@pytest.mark.usefixtures("fragile")
def test_three_failures_of_one_kind_stop_a_study(study: dict[str, Any], tmp_path: Path) -> None:
    # the default configuration, which has no such parameter, is the one that succeeds
    space = {"xgb_params.max_leaves": {"type": "categorical", "choices": [7]}} | BINS
    for times in (1, 2):
        with pytest.raises(
            ExperimentError, match=r"3 trials in a row failed with the same error: RuntimeError: grown sideways"
        ):
            run(study, tmp_path / "out", space=space, trials=20)
        loaded = optuna.load_study(
            study_name="experiment.bins",
            storage=BridgeStudy(
                study | {"study": study["study"] | {"space": space, "trials": 20}}, tmp_path / "out"
            )._storage,
        )
        # the same command tries again
        assert len(loaded.get_trials(states=[TrialState.FAIL])) == 3 * times
    assert len(loaded.get_trials(states=[TrialState.COMPLETE])) == 1


@pytest.mark.parametrize("pruner", ["median", "hyperband", "successive_halving"])
def test_bad_trials_are_pruned_in_xgboost(study: dict[str, Any], pruner: str) -> None:
    study["models"]["bins"] |= {"n_estimators": 60, "early_stopping_rounds": None}
    space = {"learning_rate": {"type": "categorical", "choices": [0.1, 0.3, 0.001, 0.0011, 0.0012, 0.0013]}}
    arguments = {"n_startup_trials": 2} if pruner == "median" else {"min_resource": 2}
    result = run(
        study, space=space, trials=7, sampler={"name": "grid", "seed": 0}, pruner={"name": pruner, **arguments}
    )
    pruned = result.trials[result.trials["state"] == "pruned"]
    assert len(pruned) >= 1
    assert pruned["rmse"].isna().all()
    if pruner == "median":
        assert (pruned["learning_rate"] < 0.01).all()
    for trial in result.studies["bins"].trials:
        steps = list(trial.intermediate_values)
        assert max(steps) == 60 if trial.state == TrialState.COMPLETE else max(steps) < 60


def test_bad_trials_are_pruned_in_networks(study: dict[str, Any]) -> None:
    study["models"]["network"] = {"engine": "tabular", "scheme": "soft", "n_bins": 8, "max_epochs": 12}
    study["models"]["network"] |= {"backbone_params": {"layers": "16"}, "learning_rate": 3e-3}
    space = {"learning_rate": {"type": "categorical", "choices": [3e-3, 1e-8, 2e-8]}}
    sampler = {"name": "grid", "seed": 0}
    pruner = {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 3}
    result = run(study, model="network", space=space, trials=4, sampler=sampler, pruner=pruner)
    pruned = [trial for trial in result.studies["network"].trials if trial.state == TrialState.PRUNED]
    assert len(pruned) >= 1
    assert all(trial.params["learning_rate"] < 1e-6 and max(trial.intermediate_values) < 12 for trial in pruned)


def test_rounds_in_other_units_prune_no_trial(study: dict[str, Any]) -> None:
    space = {"target_transform": {"type": "categorical", "choices": [None, "log"]}}
    result = run(study, space=space, trials=3, sampler={"name": "grid", "seed": 0})
    assert not any(trial.intermediate_values for trial in result.studies["bins"].trials)
    with pytest.raises(ExperimentError, match=r"median compares rounds of a fit, .* target_transform") as caught:
        run(study, space=space, pruner={"name": "median"})
    assert str(caught.value).endswith("; choose none, or set study.folds to 2 or more")
    # the scores of folds are in the target's units
    folds = BridgeStudy(study | {"study": study["study"] | {"space": space, "folds": 2, "pruner": {"name": "median"}}})
    trials = folds.optimize(quiet=True).studies["bins"].get_trials(states=[TrialState.COMPLETE])
    assert all(list(trial.intermediate_values) == [0, 1] for trial in trials)


def test_folds_are_scored_in_turn_and_pruned_by_wilcoxon(study: dict[str, Any]) -> None:
    result = run(study, folds=3, trials=4, pruner={"name": "wilcoxon"})
    for trial in result.studies["bins"].get_trials(states=[TrialState.COMPLETE]):
        assert trial.value == pytest.approx(np.mean(list(trial.intermediate_values.values())))
        assert list(trial.intermediate_values) == [0, 1, 2]


def test_several_metrics_search_the_trade_off(study: dict[str, Any], tmp_path: Path) -> None:
    result = run(study, tmp_path / "out", metric=["rmse", "crps"], trials=8)
    assert result.trials["state"].eq("complete").all(), "several metrics do not prune"
    scores = result.trials[["rmse", "crps"]].to_numpy()
    front = {trial.number for trial in result.studies["bins"].best_trials}
    dominated = [((scores <= row).all(1) & (scores < row).any(1)).any() for row in scores]
    assert front == {i for i, worse in enumerate(dominated) if not worse}
    names = set(result.best.models) - {"bins"}
    assert names in ({"bins_tuned"}, {"bins_tuned_rmse", "bins_tuned_crps"})
    for metric in ("rmse", "crps"):
        model = result.best.models.get(f"bins_tuned_{metric}", result.best.models.get("bins_tuned"))
        best = result.trials.loc[result.trials[metric].idxmin()]
        assert model is not None
        assert model.params["learning_rate"] == best["learning_rate"]
    assert "Pareto" in (tmp_path / "out" / "study.html").read_text("utf-8")


def test_each_model_of_a_list_has_its_own_study(study: dict[str, Any], tmp_path: Path) -> None:
    space = {"learning_rate": {"type": "float", "low": 0.1, "high": 0.5}}
    result = run(study, tmp_path / "out", model=["bins", "points"], trials=3, space=space)
    assert result.trials["model"].tolist() == ["bins"] * 3 + ["points"] * 3
    assert list(result.best.models) == ["bins", "bins_tuned", "points", "points_tuned"]
    page = (tmp_path / "out" / "study.html").read_text("utf-8")
    assert page.index("<h2>bins</h2>") < page.index("<h2>points</h2>")


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "nsgaii", "nsgaiii", "qmc", "brute_force"])
def test_every_sampler_works_by_its_name(study: dict[str, Any], name: str) -> None:
    space = {"n_bins": {"type": "int", "low": 4, "high": 12}}
    trials = run(study, space=space, trials=4, sampler={"name": name, "seed": 1}).trials
    assert len(trials) == 4
    assert trials["state"].isin(["complete", "pruned"]).all()


def test_a_sampler_that_would_fail_in_the_middle_is_refused(study: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=r"study.sampler: .*many"):
        run(study, sampler={"name": "tpe", "n_ei_candidates": "many", "n_startup_trials": 2}, trials=20)


def test_nothing_is_searched_after_the_timeout(study: dict[str, Any], tmp_path: Path) -> None:
    study["models"]["bins"] |= {"n_estimators": 300, "early_stopping_rounds": None}
    result = run(study, tmp_path / "out", trials=500, timeout=0.5)
    assert 1 <= len(result.trials) < 50


def test_the_page_escapes_names(study: dict[str, Any], tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    study["models"][evil] = study["models"].pop("bins")
    run(study, tmp_path / "out", model=evil)
    page = (tmp_path / "out" / "study.html").read_text("utf-8")
    assert evil not in page
    assert "alert(1)" in page
    assert "https://cdn" not in page.split("<script>")[0]
    figures = page.split('<script type="application/json" id="figures">')[1].split("</script>")[0]
    titles = [trace["type"] for figure in json.loads(figures) for trace in figure["data"]]
    assert len(titles) >= 4


def test_a_study_goes_on_with_the_same_questions_alone(study: dict[str, Any], tmp_path: Path) -> None:
    run(study, tmp_path / "out", trials=2)
    for changes, message in (
        ({"metric": "mae"}, "other metric: it was .'rmse'. and is .'mae'."),
        ({"folds": 2}, "other folds: it was 1 and is 2"),
        ({"space": {"n_bins": BINS["n_bins"]}}, "other space: learning_rate was .* and is None"),
    ):
        with pytest.raises(ExperimentError, match=message):
            run(study, tmp_path / "out", **changes)
    study["models"]["bins"]["max_depth"] = 3
    with pytest.raises(ExperimentError, match="other model: max_depth was None and is 3"):
        run(study, tmp_path / "out")
    anew = BridgeStudy(study, tmp_path / "out", overwrite=True).optimize(quiet=True)
    assert len(anew.trials) == 6
    with pytest.raises(ExperimentError, match="files that are not of a study"):
        BridgeStudy(study, tmp_path)


@pytest.mark.parametrize(
    ("before", "now"),
    [({"weight": "w"}, {"exposure": "w"}), ({"drop": ["id", "w"]}, {"drop": ["id", "w"], "categories": ["store"]})],
)
def test_the_same_numbers_in_another_role_are_other_rows(
    study: dict[str, Any], frame: pd.DataFrame, tmp_path: Path, before: dict[str, Any], now: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    numbers = {"w": rng.uniform(0.1, 1, len(frame)), "store": rng.integers(0, 4, len(frame))}
    frame.assign(**numbers).to_parquet(tmp_path / "homes.parquet")
    table = study["table"] | {"source": str(tmp_path / "homes.parquet")}
    for _ in range(2):
        BridgeStudy(study | {"table": table | before}, tmp_path / "out")
    with pytest.raises(ExperimentError, match=r"a study 'experiment.bins' with other rows: it was"):
        BridgeStudy(study | {"table": table | now}, tmp_path / "out")


def test_a_study_in_memory_writes_nothing(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    run(study, trials=2)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ExperimentError, match="workers: several need a storage"):
        run(study, workers=2)
    del study["study"]
    with pytest.raises(ExperimentError, match="study: is missing"):
        BridgeStudy(study)


def test_optunas_own_settings_are_left_alone(study: dict[str, Any]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run(study, trials=2)
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_a_log_score_is_not_searched_where_targets_share_a_value(
    study: dict[str, Any], frame: pd.DataFrame, table_file: Path
) -> None:
    study["study"]["metric"] = ["crps", "log_score"]
    BridgeStudy(study)
    frame.assign(price=frame["price"].where(frame["kind"] == "plain", 0.0)).to_csv(table_file, index=False)
    with pytest.raises(ExperimentError) as caught:
        BridgeStudy(study)
    said = r"study.metric: log_score compares no models of column 'price', for \d\d % of the training rows share"
    assert re.match(said, str(caught.value))
    assert str(caught.value).endswith("; choose rmse, mae or crps")
    study["study"]["metric"] = "crps"
    BridgeStudy(study)


def test_another_optuna_is_refused_in_words(study: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for storage in (optuna.storages.BaseStorage, optuna.storages.InMemoryStorage):
        monkeypatch.delattr(storage, "get_trial_id_from_study_id_trial_number", raising=False)
    with pytest.raises(ExperimentError, match=rf"^studies know Optuna 4.5 to 5, and not {optuna.__version__}: "):
        run(study)
