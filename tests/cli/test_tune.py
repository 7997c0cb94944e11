from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from bridges_tabular.cli import main
from bridges_tabular.experiments.blocks import StudyBlock
from bridges_tabular.experiments.studies.sampling import PRUNERS, SAMPLERS

BINS = {"n_bins": {"type": "int", "low": 4, "high": 12}, "learning_rate": {"type": "float", "low": 0.1, "high": 0.5}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every command in a folder with a small table and an experiment file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=X[:, 0] * X[:, 1] + rng.normal(size=150))
    frame.to_csv("t.csv", index=False)
    block = {"engine": "xgboost", "scheme": "soft", "location": "none", "n_bins": 8, "n_estimators": 8, "n_jobs": 1}
    content = {
        "table": {"source": "t.csv", "target": "y"},
        "models": {"bins": block, "network": {"engine": "tabular", "scheme": "soft", "max_epochs": 3}},
        "study": {"model": "bins", "trials": 5, "bundled_space": False, "space": BINS},
    }
    (tmp_path / "my.yaml").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def states(trials: pd.DataFrame) -> dict[str, int]:
    return {str(state): int(count) for state, count in trials["state"].value_counts().items()}


def wait_for(journal: Path, finished: int) -> None:
    """Wait until a study has so many finished trials and runs another one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()] if journal.exists() else []
        changes = [line["state"] for line in lines if line["op_code"] == 6]
        if sum(state != 0 for state in changes) >= finished and changes[-1] == 0:
            return
        time.sleep(0.02)
    raise AssertionError("the study does not get on")


def recorded(journal: str) -> list[optuna.trial.FrozenTrial]:
    """The trials as Optuna reads them."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))
    return optuna.load_study(study_name="my.bins", storage=storage).trials


def children(process: subprocess.Popen[str]) -> list[Path]:
    """The processes that a process has started."""
    number = str(process.pid)
    stats = {path.parent: path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")}
    return [path for path, fields in stats.items() if fields[1] == number]


def is_alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def workers_of(process: subprocess.Popen[str], number: int) -> list[Path]:
    """Wait until a command has started its workers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = children(process)
        if len(found) == number:
            return found
        time.sleep(0.02)
    raise AssertionError("no workers")


def test_tune_leaves_its_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "my.yaml", "study.trials=4", "--out", "out"]) == 0
    captured = capsys.readouterr()
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        *("best.yaml", "config.yaml", "results.csv", "study.html", "study.log", "trials.csv"),
    ]
    assert "bins_tuned" in captured.out
    assert "optuna-dashboard out/study.log" in captured.out
    lines = [line for line in captured.err.splitlines() if ": trial " in line]
    assert [line.split(";")[0].split(":")[1] for line in lines] == [f" trial {i}" for i in range(4)]
    trials = pd.read_csv("out/trials.csv", float_precision="round_trip")
    assert all(f"; best rmse {trials['rmse'][: i + 1].min():.5g}" in line for i, line in enumerate(lines))
    assert yaml.safe_load((folder / "out" / "config.yaml").read_text("utf-8"))["study"]["trials"] == 4
    # as optuna-dashboard opens it
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("out/study.log"))
    study = optuna.load_study(study_name="my.bins", storage=storage)
    assert study.metric_names == ["rmse"]
    assert study.best_value == trials["rmse"].min()
    # the same command has nothing left to do but the test scores, a larger one goes on
    before = pd.read_csv("out/results.csv").drop(columns=["fit_seconds", "predict_seconds"])
    assert main(["tune", "my.yaml", "study.trials=4", "--out", "out", "--quiet"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("out/trials.csv", float_precision="round_trip"), trials)
    after = pd.read_csv("out/results.csv").drop(columns=["fit_seconds", "predict_seconds"])
    pd.testing.assert_frame_equal(after, before)
    assert main(["tune", "my.yaml", "study.trials=6", "--out", "out", "--quiet"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("out/trials.csv").iloc[:4], trials, check_dtype=False)
    assert len(pd.read_csv("out/trials.csv")) == 6
    assert capsys.readouterr() == ("", "")
    assert main(["tune", "my.yaml", "study.trials=2", "--out", "out", "--quiet", "--overwrite"]) == 0
    assert len(pd.read_csv("out/trials.csv")) == 2


def test_a_network_is_tuned_over_its_bundled_space(folder: Path) -> None:
    changes = ["study.model=network", "study.bundled_space=true", "study.trials=3"]
    assert main(["tune", "my.yaml", *changes, "--out", "out", "--quiet"]) == 0
    trials = pd.read_csv("out/trials.csv")
    assert {"n_bins", "smoothing", "head", "backbone_params.layers"} <= set(trials.columns)
    tuned = yaml.safe_load((folder / "out" / "best.yaml").read_text("utf-8"))["models"]["network_tuned"]
    assert {"layers", "dropout"} <= set(tuned["backbone_params"])


@pytest.mark.slow
def test_kill_9_and_a_full_disk_lose_only_what_runs(
    folder: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    slow = ["tune", "my.yaml", "models.bins.n_estimators=250", "models.bins.early_stopping_rounds=null", "--out", "out"]
    process = command(*slow)
    wait_for(folder / "out" / "study.log", finished=1)
    process.kill()
    process.communicate()
    # a disk that has room for little more
    room = (folder / "out" / "study.log").stat().st_size + 1500
    process = command(*slow, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    last = err.splitlines()[-1]
    assert last.startswith("bridges-tabular: error: the storage of the study is lost, and the same command goes on: ")
    assert "File too large" in last
    before = (folder / "out" / "study.log").read_bytes()
    assert len(before) == room, "not in the middle of a line"
    assert main([*slow, "--quiet"]) == 0
    trials = pd.read_csv("out/trials.csv")
    counted = trials[trials["state"] != "lost"]
    assert len(counted) == 5
    assert counted["state"].isin(["complete", "pruned"]).all()
    assert 1 <= states(trials)["lost"] <= 2
    assert counted["default"].sum() == 1
    # what a lost trial had drawn is tried again
    drawn = trials[trials["state"] == "lost"]["learning_rate"].dropna()
    assert drawn.isin(counted["learning_rate"]).all()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_by_the_others(folder: Path, command: Callable[..., subprocess.Popen[str]]) -> None:
    arguments = ["tune", "my.yaml", "models.bins.n_estimators=250", "models.bins.early_stopping_rounds=null"]
    process = command(*arguments, "study.workers=2", "study.trials=8", "study.pruner={name: none}", "--out", "out")
    wait_for(folder / "out" / "study.log", finished=2)
    running = next(trial for trial in recorded("out/study.log") if "worker" in trial.user_attrs and not trial.values)
    os.kill(running.user_attrs["worker"]["process"][0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    trials = pd.read_csv("out/trials.csv")
    assert states(trials)["complete"] == 8
    assert states(trials).get("lost", 0) <= 1
    assert trials["default"].sum() - (trials["default"] & (trials["state"] == "lost")).sum() == 1


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(folder: Path, command: Callable[..., subprocess.Popen[str]]) -> None:
    slow = ["tune", "my.yaml", "models.bins.n_estimators=250", "models.bins.early_stopping_rounds=null", "--out", "out"]
    for workers in ("1", "2"):
        process = command(*slow, f"study.workers={workers}", start_new_session=True)
        wait_for(folder / "out" / "study.log", finished=1)
        # as a terminal does it: to the whole group
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == ""
        said = "bridges-tabular: interrupted, finished trials are kept: the same command goes on"
        assert err.splitlines()[-1] == said
        assert "Traceback" not in err
        kept = [trial.number for trial in recorded("out/study.log") if trial.values]
        assert kept
    assert main([*slow, "--quiet"]) == 0
    trials = pd.read_csv("out/trials.csv")
    assert (trials["state"] != "lost").sum() == 5
    assert trials.loc[kept, "state"].isin(["complete", "pruned"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["importing", "running"])
def test_workers_end_with_the_command_that_started_them(
    folder: Path, moment: str, command: Callable[..., subprocess.Popen[str]]
) -> None:
    slow = ["tune", "my.yaml", "models.bins.n_estimators=250", "models.bins.early_stopping_rounds=null"]
    slow += ["study.pruner={name: none}", "--out", "out", "--quiet"]
    process = command(*slow, "study.workers=2")
    workers = workers_of(process, 2)
    if moment == "running":
        wait_for(folder / "out" / "study.log", finished=1)
    process.kill()
    time.sleep(1)
    assert not [worker for worker in workers if is_alive(worker)]
    process.communicate()
    assert main(slow) == 0
    trials = pd.read_csv("out/trials.csv")
    assert states(trials)["complete"] == 5
    assert states(trials).get("lost", 0) <= 2
    assert set(trials.loc[trials["state"] == "lost", "error"]) <= {"interrupted", "its process ended"}


@pytest.mark.slow
def test_ctrl_c_ends_workers_that_have_yet_to_begin(
    folder: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    process = command("tune", "my.yaml", "study.workers=2", "--out", "out", start_new_session=True)
    workers = workers_of(process, 2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("bridges-tabular: interrupted")
    assert "Traceback" not in err
    assert not [worker for worker in workers if is_alive(worker)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["tune needs an experiment file"]),
        (["my.yaml", "study="], ["study: is missing", "--help"]),
        (["my.yaml", "study.modle=bins"], ["study: unknown key 'modle', did you mean 'model'"]),
        (["my.yaml", "study.model=bin"], ["study.model: there is no model 'bin', did you mean 'bins'"]),
        (["my.yaml", "study.model=[]"], ["study.model: must hold one or more"]),
        (["my.yaml", "study.trials=0"], ["study.trials: must be at least 1, not 0"]),
        (["my.yaml", "study.trials=many"], ["study.trials: must be a whole number, not 'many'"]),
        (["my.yaml", "study.timeout=-1"], ["study.timeout: must be positive"]),
        (["my.yaml", "study.workers=0"], ["study.workers: must be at least 1"]),
        (["my.yaml", "study.folds=80"], ["study.folds: 90 training rows are too few for 80 folds"]),
        (["my.yaml", "study.metric=rsme"], ["study.metric", "'rsme'", "did you mean 'rmse'"]),
        (["my.yaml", "study.metric=[rmse, rmse]"], ["study.metric: must hold one or more different"]),
        (["my.yaml", "study.sampler.name=tpee"], ["study.sampler.name", "'tpee'", "did you mean 'tpe'"]),
        (["my.yaml", "study.sampler={seed: 1}"], ["study.sampler.name: is missing"]),
        (["my.yaml", "study.sampler={name: tpe, n_startup: 1}"], ["tpe has no such argument, did you mean"]),
        (["my.yaml", "study.sampler={name: tpe, seed: a}"], ["study.sampler.seed", "'a'"]),
        (["my.yaml", "study.sampler={name: nsgaii, population_size: 1}"], ["study.sampler", "population_size"]),
        (["my.yaml", "study.sampler={name: grid}"], ["grid needs choices", "'learning_rate'"]),
        (["my.yaml", "study.sampler=tpe"], ["study.sampler: must be a block of keys and values, not 'tpe'"]),
        (["my.yaml", "study.pruner.name=medain"], ["study.pruner.name", "'medain'", "did you mean 'median'"]),
        (["my.yaml", "study.pruner={name: median, warmup: 1}"], ["study.pruner.warmup: median has no such argument"]),
        (["my.yaml", "study.pruner={name: wilcoxon}"], ["wilcoxon compares folds", "study.folds"]),
        (["my.yaml", "study.pruner={name: wilcoxon, p_threshold: 2}", "study.folds=2"], ["p_threshold"]),
        (["my.yaml", "study.pruner={name: median}", "study.metric=[rmse, crps]"], ["median needs one metric"]),
        (["my.yaml", "study.space.smoothing_={type: float, low: 1, high: 2}"], ["did you mean 'smoothing'"]),
        (["my.yaml", "study.space.n_bins.low=64"], ["study.space.n_bins: low 64 is not below high 12"]),
        (["my.yaml", "study.storage=grpc://nowhere"], ["study.storage", "grpc://HOST:PORT"]),
        (["my.yaml", "study.storage=nonsense://u:secret@h/x"], ["study.storage: nonsense://u:***@h/x cannot be"]),
        (["my.yaml", "study.storage=sqlite:////nowhere/at/all.db"], ["study.storage", "unable to open"]),
        (["my.yaml", "study.storage='sqlite://'"], ["study.storage: sqlite:// names no file: sqlite:///FILE"]),
        (["my.yaml", "models.bins.calibration=none", "models.bins.scheme=least_squares", "study.metric=crps",
          "study.bundled_space=true"], ["crps scores distributions, and bins (scheme least_squares)"]),
        (["my.yaml", "--out", "notes"], ["notes holds files that are not of a study"]),
        (["my.yaml", "--out", "my.yaml"], ["my.yaml is a file, not a folder"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path, arguments: list[str], words: list[str], refused: Callable[..., str]
) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "thesis.tex").touch()
    before = sorted(folder.rglob("*"))
    out = [] if "--out" in arguments else ["--out", "out"]
    error = refused("tune", *arguments, *out)
    assert all(word in error for word in words), error
    assert "secret" not in error
    assert sorted(folder.rglob("*")) == before


def test_passwords_reach_no_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # SQLite ignores the query, as a server would not
    storage = "sqlite:///file:x.db?uri=true&password=hunter2"
    assert main(["tune", "my.yaml", "study.trials=1", f"study.storage={storage}", "--out", "out"]) == 0
    written = "".join((folder / "out" / name).read_text("utf-8") for name in ("config.yaml", "best.yaml"))
    assert "hunter2" not in written + capsys.readouterr().out


def test_help_says_what_a_study_may_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["tune", "--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    keys = [f.name for f in fields(StudyBlock)]
    for word in (*keys, *SAMPLERS, *PRUNERS, "--out", "--overwrite", "optuna-dashboard"):
        assert word in out
