"""``tune`` on several machines: processes that share nothing but the experiment file and the URL of a storage."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import sqlalchemy

from bridges_tabular.cli import main
from bridges_tabular.experiments.studies.storage import open_storage

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "tuning.md"
NOBODY = "nobody"
TRIALS = 10


def locate(program: str) -> str | None:
    """Debian keeps PostgreSQL's own programs off the path."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return shutil.which(program) or (str(kept[-1]) if kept else None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server of its own, and the URL of its databases without their names."""
    pytest.importorskip("psycopg2", reason="needs psycopg2-binary")
    initdb, pg_ctl = locate("initdb"), locate("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("needs the programs of PostgreSQL: initdb and pg_ctl")
    folder = Path(tempfile.mkdtemp())
    # the server refuses to be run by root
    user = NOBODY if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, options = str(folder / "data"), f"-F -h 127.0.0.1 -p {port} -k {folder}"

    def do(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

    try:
        do(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        do(pg_ctl, "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
        yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}"
    finally:
        subprocess.run([pg_ctl, "-D", data, "-m", "immediate", "stop"], user=user, cwd=folder, capture_output=True)
        shutil.rmtree(folder)


@pytest.fixture
def database(server: str, tmp_path: Path) -> str:
    """The URL of an empty database."""
    import psycopg2

    name = f"of_{abs(hash(tmp_path))}"
    connection = psycopg2.connect(server.replace("+psycopg2", "") + "/postgres")
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return f"{server}/{name}"


@pytest.fixture(autouse=True)
def machine(folder: Path) -> None:
    """What each machine has: the table and the experiment file."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=X[:, 0] * X[:, 1] + rng.normal(size=150))
    frame.to_csv("t.csv", index=False)
    block = {"engine": "xgboost", "scheme": "soft", "location": "none", "n_bins": 8, "n_estimators": 100, "n_jobs": 1}
    space = {"learning_rate": {"type": "float", "low": 0.1, "high": 0.5}}
    content = {
        "table": {"source": "t.csv", "target": "y"},
        "models": {"bins": block | {"early_stopping_rounds": None}},
        "study": {
            "model": "bins",
            "trials": TRIALS,
            "bundled_space": False,
            "space": space,
            "pruner": {"name": "none"},
        },
    }
    Path("my.yaml").write_text(json.dumps(content), encoding="utf-8")


def kept(url: str) -> list[optuna.trial.FrozenTrial]:
    """The trials as Optuna reads them; none before there is a study."""
    # Optuna would make the tables, which is what the commands are to do
    if "study_user_attributes" not in sqlalchemy.inspect(sqlalchemy.create_engine(url)).get_table_names():
        return []
    names = optuna.get_all_study_names(url)
    return optuna.load_study(study_name=names[0], storage=url).trials if names else []


def wait_until(condition: Callable[[], bool], processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if condition():
            return
        assert all(process.poll() in (None, -signal.SIGKILL) for process in processes), processes[0].communicate()
        time.sleep(0.02)
    raise AssertionError("the study does not get on")


@pytest.mark.slow
def test_two_machines_share_the_trials_and_one_that_is_killed_loses_its_own(
    database: str, command: Callable[..., subprocess.Popen[str]]
) -> None:
    # at once, on a database without tables
    first, second = (command("tune", "my.yaml", f"study.storage={database}", "--out", out) for out in ("one", "two"))

    def runs_a_trial() -> bool:
        trials = kept(database)
        running = [trial for trial in trials if trial.state == optuna.trial.TrialState.RUNNING]
        return len(trials) > 3 and any(trial.user_attrs["worker"]["process"][0] == first.pid for trial in running)

    wait_until(runs_a_trial, [first, second])
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    trials = pd.read_csv("two/trials.csv")
    counted = trials[trials["state"] == "complete"]
    assert len(counted) == TRIALS
    assert counted["default"].sum() == 1
    assert len(trials) - len(counted) <= 1
    assert set(trials["state"]) <= {"complete", "lost"}
    assert counted["learning_rate"].nunique() == TRIALS
    # the machine that was killed comes back when all is done: it runs no trial, and writes the same files
    assert main(["tune", "my.yaml", f"study.storage={database}", "--out", "one", "--quiet"]) == 0
    # but for a first trial that both had queued at once, and that nobody has run
    assert sum(trial.state.is_finished() for trial in kept(database)) == len(trials)
    assert Path("one/best.yaml").read_text() == Path("two/best.yaml").read_text()
    one, two = (pd.read_csv(f"{out}/results.csv") for out in ("one", "two"))
    seconds = ["fit_seconds", "predict_seconds"]
    pd.testing.assert_frame_equal(one.drop(columns=seconds), two.drop(columns=seconds))


@pytest.mark.slow
def test_machines_without_a_database_are_served_as_the_guide_says(
    folder: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    pytest.importorskip("grpc", reason="needs grpcio")
    said = dict(re.findall(r"^(?:host|each)\$ (python -c|bridges-tabular tune) (.*)$", GUIDE.read_text(), re.MULTILINE))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def here(text: str) -> list[str]:
        return shlex.split(
            text.replace("0.0.0.0", "127.0.0.1").replace("host:", "127.0.0.1:").replace("13000", str(port))
        )

    Path("my.yaml").rename("study.yaml")
    host = subprocess.Popen([sys.executable, "-c", *here(said["python -c"])], stderr=subprocess.DEVNULL)
    try:
        machines = [command("tune", *here(said["bridges-tabular tune"]), "--out", out) for out in ("one", "two")]
        for machine in machines:
            _, err = machine.communicate(timeout=300)
            assert machine.returncode == 0, err
    finally:
        host.kill()
        host.wait()
    one, two = (pd.read_csv(f"{out}/trials.csv") for out in ("one", "two"))
    assert (one["state"] == "complete").sum() == len(one) == TRIALS
    pd.testing.assert_frame_equal(one, two)
    assert Path("one/best.yaml").read_text() == Path("two/best.yaml").read_text()


@pytest.mark.slow
def test_a_database_is_opened_by_several_at_once(database: str, tmp_path: Path) -> None:
    assert open_at_once(database, tmp_path) == [None] * 4


def test_a_file_is_opened_by_several_at_once(tmp_path: Path) -> None:
    assert open_at_once(f"sqlite:///{tmp_path / 'study.db'}", tmp_path) == [None] * 4


def open_at_once(url: str, folder: Path) -> list[str | None]:
    together = threading.Barrier(4)
    errors: list[str | None] = []

    def open_one() -> None:
        together.wait()
        try:
            open_storage(url, folder)
            errors.append(None)
        except Exception as error:
            errors.append(str(error))

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_machine_says_whether_it_joins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune = ["tune", "my.yaml", "study.storage=sqlite:///study.db", "study.trials=1", "models.bins.n_estimators=2"]
    assert main([*tune, "--out", "one"]) == 0
    assert capsys.readouterr().err.splitlines()[-4] == "bins: begins the study my.bins in sqlite:///study.db"
    assert main([*tune, "--out", "two"]) == 0
    assert "bins: joins the study my.bins in sqlite:///study.db" in capsys.readouterr().err.splitlines()
    # another file is another study
    (folder / "my.yaml").rename("yours.yaml")
    assert main(["tune", "yours.yaml", *tune[2:], "--out", "three"]) == 0
    said = "bins: begins the study yours.bins in sqlite:///study.db, beside my.bins"
    assert said in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("key", ["rows", "model", "space"])
def test_a_machine_with_another_table_or_file_is_refused(
    folder: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = ["tune", "my.yaml", "study.storage=sqlite:///study.db", "study.trials=1", "models.bins.n_estimators=2"]
    assert main([*tune, "--out", "one", "--quiet"]) == 0
    if key == "rows":
        frame = pd.read_csv("t.csv")
        frame.loc[7, "b"] += 1
        frame.to_csv("t.csv", index=False)
    other = {"rows": [], "model": ["models.bins.n_bins=9"], "space": ["study.space.learning_rate.high=0.6"]}[key]
    assert main([*tune, *other, "--out", "two", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"bridges-tabular: error: the storage holds a study 'my.bins' with other {key}: ")
    assert error.count("\n") == 1
    assert len(kept("sqlite:///study.db")) == 1
