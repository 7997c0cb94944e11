"""Who writes a folder or a file has it alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bridges_tabular.experiments import BridgeStudy, Experiment, ExperimentError, compare, train
from bridges_tabular.experiments.locks import claimed
from bridges_tabular.experiments.prediction import predict_table
from bridges_tabular.regressors.processes import machine, started

# claims a path when its standard input closes, says whether it could, and holds it until that of the second ends
_CLAIM = """
import sys, time
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.locks import claimed
print("ready", flush=True)
sys.stdin.readline()
try:
    with claimed(sys.argv[1]):
        print("mine", flush=True)
        sys.stdin.readline()
except ExperimentError as error:
    print(error, flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _CLAIM, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_of_those_that_start_at_once_one_alone_gets_it(tmp_path: Path) -> None:
    processes = [start(tmp_path / "run") for _ in range(4)]
    # what a dead one left does not help the second
    lock = tmp_path / ".run.lock"
    for left in (None, json.dumps({"process": 2**30, "started": "1", "machine": machine()}), "{"):
        if left is not None:
            lock.write_text(left, encoding="utf-8")
            processes = [start(tmp_path / "run") for _ in range(4)]
        for process in processes:
            say(process)
        answers = [answer(process) for process in processes]
        assert answers.count("mine\n") == 1
        (winner,) = (process for process, said in zip(processes, answers, strict=True) if said == "mine\n")
        refused = f"{tmp_path / 'run'} is being written by another run, process {winner.pid}: wait for its end"
        assert all(said.startswith(refused) for said in answers if said != "mine\n")
        say(winner)
        for process in processes:
            process.communicate(timeout=10)
        assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_nothing_and_a_living_one_does(tmp_path: Path) -> None:
    process = start(tmp_path / "run")
    say(process)
    assert answer(process) == "mine\n"
    with pytest.raises(ExperimentError, match=rf"process {process.pid}"), claimed(tmp_path / "run"):
        pass
    process.kill()
    process.communicate()
    with claimed(tmp_path / "run"):
        assert json.loads((tmp_path / ".run.lock").read_text("utf-8"))["process"] == os.getpid()
        with pytest.raises(ExperimentError, match=rf"process {os.getpid()}"), claimed(tmp_path / "run"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_later_process_of_the_same_number_is_another_one(tmp_path: Path) -> None:
    left = {"process": os.getpid(), "started": f"{started(os.getpid())}0", "machine": machine()}
    (tmp_path / ".run.lock").write_text(json.dumps(left), encoding="utf-8")
    with claimed(tmp_path / "run"):
        pass


def test_of_another_machine_nothing_can_be_told(tmp_path: Path) -> None:
    left = {"process": 2**30, "started": "1", "machine": "elsewhere pid:[1]"}
    (tmp_path / ".run.lock").write_text(json.dumps(left), encoding="utf-8")
    said = r"process \d+ on elsewhere: .* \(its lock is .*\.run\.lock\)"
    with pytest.raises(ExperimentError, match=said), claimed(tmp_path / "run"):
        pass
    assert json.loads((tmp_path / ".run.lock").read_text("utf-8")) == left


def test_folders_that_were_made_for_it_are_gone(tmp_path: Path) -> None:
    with claimed(tmp_path / "a" / "b" / "run"):
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [".run.lock"]
    assert list(tmp_path.iterdir()) == []


def test_whatever_writes_is_refused_before_it_does_anything(content: dict[str, Any], tmp_path: Path) -> None:
    out, run = tmp_path / "out", tmp_path / "run.csv"
    study = content | {"study": {"model": "bins", "trials": 1}}
    tuned = BridgeStudy(study, out=out)
    experiment = Experiment.read(content)
    train(experiment, "bins", out=tmp_path / "model", quiet=True)
    source = content["table"]["source"]
    with claimed(out), claimed(run):
        for write in (
            lambda: compare(content, out=run, quiet=True),
            lambda: compare(content, out=run, quiet=True, overwrite=True),
            lambda: BridgeStudy(study, out=out),
            lambda: BridgeStudy(study, out=out, overwrite=True),
            lambda: tuned.optimize(quiet=True),
            lambda: train(experiment, "bins", out=run, quiet=True),
            lambda: predict_table(tmp_path / "model", source, run),
        ):
            with pytest.raises(ExperimentError, match="is being written by another run"):
                write()
    assert not run.exists()
    assert sorted(path.name for path in out.iterdir()) == ["config.yaml", "study.log"]
