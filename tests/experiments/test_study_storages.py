"""Storages that several processes share, and their loss."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest

from bridges_tabular.experiments import BridgeStudy, ExperimentError

SERVER = """
import sys, optuna
kept = sys.argv[1]
file = optuna.storages.journal.JournalFileBackend
storage = optuna.storages.RDBStorage(kept) if "://" in kept else optuna.storages.JournalStorage(file(kept))
optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=int(sys.argv[2]))
"""


@pytest.fixture
def study(content: dict[str, Any]) -> dict[str, Any]:
    content["models"]["bins"] |= {"location": "none", "n_jobs": 1}
    space = {"learning_rate": {"type": "float", "low": 0.1, "high": 0.5}}
    content["study"] = {"model": "bins", "trials": 4, "workers": 2, "bundled_space": False, "space": space}
    return content


def spoil(condition: Callable[[], bool], action: Callable[[], object]) -> threading.Thread:
    """Act as soon as the condition holds, beside the test."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not condition():
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def remove(journal: Path) -> None:
    # in one step, and so that no worker that starts late can make it anew
    nowhere = journal.with_name("link")
    nowhere.symlink_to(journal.parent / "gone" / "study.log")
    nowhere.replace(journal)


def damage(journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b"not a line of a journal\nnor is this\n")


@pytest.mark.slow
@pytest.mark.parametrize("lose", [remove, damage])
def test_a_journal_that_is_lost_under_several_workers_is_named(
    study: dict[str, Any], tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    study["study"]["trials"] = 500
    journal = tmp_path / "out" / "study.log"
    running = BridgeStudy(study, tmp_path / "out")
    thread = spoil(lambda: '"values":[' in journal.read_text("utf-8"), lambda: lose(journal))
    with pytest.raises(
        ExperimentError, match=r"^the storage of the study is lost, and the same command goes on: .*study\.log"
    ):
        running.optimize(quiet=True)
    thread.join()


def test_a_removed_journal_is_not_begun_anew(study: dict[str, Any], tmp_path: Path) -> None:
    study["study"]["workers"] = 1
    journal = tmp_path / "out" / "study.log"
    running = BridgeStudy(study, tmp_path / "out")
    journal.unlink()
    with pytest.raises(ExperimentError, match=r"^the storage of the study is lost.*study\.log"):
        running.optimize(quiet=True)
    assert not journal.exists()


@contextmanager
def proxy(kept: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A gRPC proxy before a database or a journal, in a process of its own, and its URL."""
    pytest.importorskip("grpc")
    pytest.importorskip("google.protobuf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVER, kept, str(port)])
    try:
        yield f"grpc://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_workers_behind_a_proxy_before_a_journal_take_each_trial_once(study: dict[str, Any], tmp_path: Path) -> None:
    with proxy(str(tmp_path / "kept.log")) as (url, _):
        study["study"] |= {"storage": url, "workers": 1, "trials": 12}
        studies = [BridgeStudy(study) for _ in range(4)]
        threads = [threading.Thread(target=tuned.optimize, args=(True,)) for tuned in studies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    kept = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "kept.log")))
    trials = optuna.load_study(study_name="experiment.bins", storage=kept).trials
    finished = [trial for trial in trials if trial.state.is_finished()]
    assert len(finished) == 12
    assert all("error" not in trial.user_attrs for trial in finished)
    assert len({trial.params["learning_rate"] for trial in finished}) == 12


@pytest.mark.slow
def test_workers_share_a_study_behind_a_proxy(study: dict[str, Any], tmp_path: Path) -> None:
    with proxy(f"sqlite:///{tmp_path / 'study.db'}") as (url, server):
        study["study"]["storage"] = url
        tuned = BridgeStudy(study, tmp_path / "out")
        trials = tuned.optimize(quiet=True).trials
        assert len(trials) == 4
        assert trials["state"].isin(["complete", "pruned"]).all()
        # it is the proxy's database that holds them
        kept = optuna.load_study(study_name="experiment.bins", storage=f"sqlite:///{tmp_path / 'study.db'}")
        assert [trial.params["learning_rate"] for trial in kept.trials if trial.params] == trials[
            "learning_rate"
        ].tolist()
        # which the dashboard has to be given
        assert url not in tuned.dashboard_command
        study["study"] |= {"trials": 500, "workers": 1}
        thread = spoil(lambda: len(kept.trials) > 5, lambda: os.kill(server.pid, signal.SIGKILL))
        with pytest.raises(
            ExperimentError, match=r"^the storage of the study is lost, and the same command goes on: [^<>]+$"
        ):
            BridgeStudy(study, tmp_path / "out").optimize(quiet=True)
        thread.join()


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("postgresql+psycopg://user:secret@host/db", "psycopg", '"psycopg[binary]"'),
        ("postgresql+psycopg2://user:secret@host/db", "psycopg2", "psycopg2-binary"),
        ("mysql+pymysql://user:secret@host/db", "pymysql", "pymysql"),
    ],
)
def test_a_database_without_its_driver_says_what_to_install(
    url: str, module: str, package: str, study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    study["study"]["storage"] = url
    with pytest.raises(ExperimentError, match=r"^study\.storage: [^\n]*$") as caught:
        BridgeStudy(study, out=tmp_path / "out").optimize(quiet=True)
    assert f"cannot be opened: it needs {module}: pip install {package}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_study_stays_until_the_new_one_can_begin(study: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    study["study"] |= {"workers": 1, "trials": 1}
    BridgeStudy(study, out).optimize(quiet=True)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    elsewhere = study["study"] | {"storage": "sqlite:////nonexist/x.db"}
    with pytest.raises(ExperimentError, match="unable to open"):
        BridgeStudy(study | {"study": elsewhere}, out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    "storage", [None, "out/study.log", "sqlite:///out/study.log", "sqlite:///out/x.db", "sqlite:///kept.db"]
)
def test_a_study_is_forgotten_wherever_it_is_kept(
    storage: str | None, study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    study["study"] |= {"workers": 1, "trials": 1, "storage": storage}
    BridgeStudy(study, "out").optimize(quiet=True)
    own = "study.log" if storage is None else Path(storage).name
    if own != "study.log":
        (tmp_path / "out" / "study.log").write_text("of a study before", "utf-8")
    anew = BridgeStudy(study, "out", overwrite=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.yaml", own} - {"kept.db"}
    trials = anew.optimize(quiet=True).trials
    assert trials["trial"].tolist() == [0]
