"""Real kills, real interrupts, real full disks: at most the fit in flight is lost, and the same command goes on."""

from __future__ import annotations

import functools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular.cli import main

read_csv = functools.partial(pd.read_csv, float_precision="round_trip")
TIMES = ["fit_seconds", "predict_seconds"]
Command = Callable[..., subprocess.Popen[str]]

ENGINES: dict[str, dict[str, Any]] = {
    "xgboost": {
        "points": {"engine": "xgboost", "scheme": "least_squares", "n_estimators": 60, "n_jobs": 1},
        "bins": {"engine": "xgboost", "scheme": "soft", "n_bins": 8, "n_estimators": 60, "n_jobs": 1},
    },
    "tabular": {
        "points": {"engine": "tabular", "scheme": "least_squares", "max_epochs": 15},
        "bins": {"engine": "tabular", "scheme": "end_to_end", "n_bins": 8, "max_epochs": 15},
    },
}
_BROKEN = """
from pathlib import Path
from sklearn.tree import DecisionTreeClassifier

class Broken(DecisionTreeClassifier):
    def fit(self, X, y, sample_weight=None):
        if not Path("mended").exists():
            raise RuntimeError("no leaf\\nis left")
        return super().fit(X, y, sample_weight)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every command in a folder with a small table and an experiment file for each engine."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=X[:, 0] * X[:, 1] + rng.normal(size=200)).to_csv("t.csv")
    (tmp_path / "broken.py").write_text(_BROKEN, encoding="utf-8")
    space = {"learning_rate": {"type": "float", "low": 0.1, "high": 0.5}}
    for engine, models in ENGINES.items():
        content = {
            "table": {"source": "t.csv", "target": "y"},
            "split": {"seeds": [0, 1]},
            "models": models,
            "study": {"model": "bins", "trials": 4, "bundled_space": False, "space": space, "pruner": {"name": "none"}},
        }
        (tmp_path / f"{engine}.yaml").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not get on"
        time.sleep(0.005)


def fits(out: Path) -> set[str]:
    """What an unfinished comparison has kept."""
    return {path.name for path in out.glob("unfinished/fit-*")}


def is_mapped(process: subprocess.Popen[str], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def files(out: Path) -> dict[str, bytes]:
    """What does not depend on time: all files but those with times, versions or sums of the others."""
    varying = ("results.csv", "report.html", "manifest.json", "study.html", "study.log", "trials.csv")
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in varying]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def scores(out: Path) -> pd.DataFrame:
    return read_csv(out / "results.csv").drop(columns=TIMES)


def assert_same(found: Path, whole: Path) -> None:
    assert files(found) == files(whole)
    pd.testing.assert_frame_equal(scores(found), scores(whole), check_exact=True)
    assert not [path for path in found.parent.iterdir() if path.name.startswith(".")]


def test_a_killed_comparison_goes_on(folder: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "xgboost.yaml", "--out", "whole", "--quiet"]) == 0
    process = command("compare", "xgboost.yaml", "models.bins.n_estimators=2000", "--out", "run")
    wait_for(lambda: len(fits(folder / "run")) == 1, process)
    process.kill()
    _, err = process.communicate()
    assert err.count("RMSE") <= 1
    assert (folder / ".run.lock").exists()
    capsys.readouterr()
    assert main(["compare", "xgboost.yaml", "--out", "run"]) == 2
    refused = capsys.readouterr().err
    assert (
        "run holds an unfinished run of another configuration (models.bins.n_estimators was 2000 and is 60)" in refused
    )
    assert refused.count("\n") == 1
    assert main(["compare", "xgboost.yaml", "--out", "run", "--quiet", "--overwrite"]) == 0
    assert_same(folder / "run", folder / "whole")


@pytest.mark.slow
def test_a_killed_network_is_trained_again(folder: Path, command: Command) -> None:
    assert main(["train", "tabular.yaml", "--model", "points", "--out", "model", "--quiet"]) == 0
    old = files(folder / "model")
    arguments = ["train", "tabular.yaml", "--model", "bins", "--out", "model", "--quiet", "--overwrite"]
    process = command(*arguments, "models.bins.max_epochs=500")
    wait_for((folder / ".model.lock").exists, process)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert files(folder / "model") == old
    assert main(arguments) == 0
    assert main(["train", "tabular.yaml", "--model", "bins", "--out", "whole", "--quiet"]) == 0
    assert_same(folder / "model", folder / "whole")
    assert bridges_tabular.load("model").scheme == "end_to_end"


@pytest.mark.slow
def test_a_second_run_is_refused_before_it_trains(folder: Path, command: Command) -> None:
    slow = ["compare", "xgboost.yaml", "models.bins.n_estimators=20000", "models.bins.early_stopping_rounds=null"]
    slow += ["--out", "run"]
    processes = [command(*slow) for _ in range(2)]
    ended = [process for process in processes if process.poll() is not None]
    deadline = time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        time.sleep(0.02)
        ended = [process for process in processes if process.poll() is not None]
    (second,) = ended
    (first,) = (process for process in processes if process is not second)
    out, err = second.communicate()
    assert (second.returncode, out) == (2, "")
    assert err.startswith(f"bridges-tabular: error: run is being written by another run, process {first.pid}: wait for")
    assert err.count("\n") == 1
    os.kill(first.pid, signal.SIGINT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert err.splitlines()[-1] == (
        "bridges-tabular: interrupted, fits that are done are kept: the same command goes on"
    )
    assert not (folder / ".run.lock").exists()


@pytest.mark.parametrize(
    "library",
    ["_multiarray_umath", *(pytest.param(late, marks=pytest.mark.slow) for late in ("libtorch_cpu", "libxgboost"))],
)
def test_ctrl_c_during_imports_is_a_line(folder: Path, command: Command, library: str) -> None:
    process = command("compare", "xgboost.yaml", "--out", "run")
    wait_for(lambda: is_mapped(process, library), process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("bridges-tabular: interrupted, ")
    assert err.count("\n") == 1
    assert not (folder / "run").exists()


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Let no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_full_disk_is_a_line_and_the_old_result_stays(
    folder: Path, room: Callable[[int], None], refused: Callable[..., str]
) -> None:
    quick = ["compare", "xgboost.yaml", "split.seeds=[0]", "--quiet", "--out", "run"]
    assert main(quick) == 0
    old = contents(folder / "run")
    changed = [*quick, "table.rows=150", "--overwrite"]
    # no room for a fit; room for the fits, but for no page of some megabytes
    for size, kept, what in ((500, 0, "run/unfinished"), (1 << 20, 2, "run")):
        room(size)
        said = f"bridges-tabular: error: {what} cannot be written: File too large"
        assert refused(*changed).startswith(said)
        assert len(fits(folder / "run")) == kept
        assert contents(folder / "run") == old
    room(resource.RLIM_INFINITY)
    assert main(changed) == 0
    assert contents(folder / "run") != old
    assert fits(folder / "run") == set()


@pytest.mark.parametrize("command", ["train", "predict", "report"])
def test_a_disk_that_is_full_at_the_end_changes_nothing(
    folder: Path, room: Callable[[int], None], refused: Callable[..., str], command: str
) -> None:
    train = ["train", "xgboost.yaml", "--model", "bins", "--quiet", "--out"]
    if command == "report":
        assert main(["compare", "xgboost.yaml", "split.seeds=[0]", "--quiet", "--out", "out"]) == 0
        arguments = ["report", "out"]
    elif command == "predict":
        (folder / "out").mkdir()
        assert main([*train, "out/model"]) == 0
        (folder / "out" / "p.csv").write_text("old", encoding="utf-8")
        arguments = ["predict", "out/model", "t.csv", "--out", "out/p.csv", "--overwrite"]
    else:
        assert main([*train, "out"]) == 0
        arguments = [*train, "out", "models.bins.n_bins=9", "--overwrite"]
    old = contents(folder / "out")
    room(500)
    assert refused(*arguments).endswith("cannot be written: File too large\n")
    assert contents(folder / "out") == old
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_a_failing_model_is_named_and_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(folder)
    broken = ["xgboost.yaml", "models.broken={engine: classifier, estimator: broken.Broken, n_bins: 4}"]
    broken.append("split.seeds=[0]")
    assert main(["train", *broken, "--model", "broken", "--out", "model", "--quiet"]) == 1
    error = "RuntimeError: no leaf is left"
    assert capsys.readouterr() == ("", f"bridges-tabular: error: broken has failed: {error}\n")
    assert not (folder / "model").exists()
    assert main(["compare", *broken, "--out", "run"]) == 1
    out, err = capsys.readouterr()
    again = "the same command tries them again"
    assert err.splitlines()[-2:] == [
        f"bridges-tabular: warning: broken on t, seed 0 has failed: {error}",
        f"bridges-tabular: error: 1 of 3 fits failed, broken on t, seed 0: {error}; {again}",
    ]
    assert "broken" in out
    results = read_csv("run/results.csv").set_index("model")
    assert results["rmse"].notna().to_dict() == {"points": True, "bins": True, "broken": False}
    assert read_csv("run/errors.csv")["error"].tolist() == [error]
    (folder / "mended").touch()
    assert main(["compare", *broken, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    first, *others = err.splitlines()
    assert first == "going on with an unfinished run: 2 of 3 fits are kept"
    assert [line.split(":")[0] for line in others] == ["broken"]
    assert not (folder / "run" / "errors.csv").exists()
    assert read_csv("run/results.csv")["rmse"].notna().all()


class Killer:
    """Runs a command that writes a folder, and kills it at random moments."""

    def __init__(self, command: Command, arguments: list[str], seed: int) -> None:
        self._command, self._arguments = command, arguments
        self._chance = random.Random(seed)
        self.kills, self.while_importing = 0, 0

    def run(self, out: str) -> float:
        """Let it end; return how long it has worked."""
        process = self._command(*self._arguments, "--out", out, stderr=subprocess.DEVNULL)
        self._wait_for_work(process, out)
        began = last = time.monotonic()
        while process.poll() is None:
            if self._holds(process, out):
                last = time.monotonic()
            time.sleep(0.002)
        assert process.returncode == 0
        return last - began

    def kill(self, out: str, seconds: float) -> str:
        """Kill it within so many seconds of work, now and then before; return what it has said until then."""
        process = self._command(*self._arguments, "--out", out)
        early = self._chance.random() < 0.15
        if not early:
            self._wait_for_work(process, out)
        time.sleep(self._chance.uniform(0, 1 if early else seconds))
        # one that has done its work is of no interest
        is_kill = self._holds(process, out) or (early and process.poll() is None)
        process.kill()
        self.kills += is_kill
        self.while_importing += is_kill and early
        return str(process.communicate()[1])

    def _wait_for_work(self, process: subprocess.Popen[str], out: str) -> None:
        while process.poll() is None and not self._holds(process, out):
            time.sleep(0.002)

    def _holds(self, process: subprocess.Popen[str], out: str) -> bool:
        try:
            return bool(json.loads(Path(f".{out}.lock").read_text("utf-8"))["process"] == process.pid)
        except (FileNotFoundError, ValueError):
            return False


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "number"), [("compare", 4), ("train", 2), ("tune", 4)])
def test_kills_at_random_moments(folder: Path, command: Command, name: str, number: int, engine: str) -> None:
    arguments = [name, f"{engine}.yaml", *(["--model", "bins"] if name == "train" else [])]
    killer = Killer(command, arguments, int(os.environ.get("SEED", "0")))
    seconds = killer.run("whole")
    run, whole, told = folder / "run", folder / "whole", 0
    while killer.kills < number:
        err = killer.kill("run", seconds)
        # a line tells of a fit that is kept
        told += sum(": RMSE" in line for line in err.splitlines())
        if name == "compare" and not (run / "results.csv").exists():
            assert len(fits(run)) >= told
        elif name != "tune" and (run / "results.csv").exists():
            # it was finished, or nearly
            assert main([*arguments, "--out", "run", "--quiet"]) == 2
            assert_same(run, whole)
            shutil.rmtree(run)
            told = 0
    killer.run("run")
    assert_same(run, whole)
    if name == "tune":
        trials, expected = read_csv("run/trials.csv"), read_csv("whole/trials.csv")
        counted = trials[trials["state"] != "lost"].reset_index(drop=True)
        pd.testing.assert_frame_equal(counted[["rmse", "learning_rate"]], expected[["rmse", "learning_rate"]])
        assert (trials["state"] == "lost").sum() <= number
    print(
        f"{name}, {engine}: {killer.kills} kills, {killer.while_importing} while importing; work takes {seconds:.1f} s"
    )
