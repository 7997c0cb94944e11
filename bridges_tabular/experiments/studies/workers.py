"""Several processes on one study: started and watched by one that runs no trials itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NoReturn

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.studies.search import Data, Search
from bridges_tabular.experiments.studies.storage import open_storage

# seconds
_POLL = 0.3
_PATIENCE = 10.0
# exit status
_SAID_WHY = 3


def run_workers(
    experiment: Experiment,
    model: str,
    folder: Path,
    deadline: float | None,
    watch: Callable[[], None],
) -> None:
    """Run the trials of a study in ``study.workers`` processes, and wait for them.

    Parameters
    ----------
    experiment : Experiment
    model : str
    folder : path
        The output folder.
    deadline : float, optional
        In ``time.monotonic()``.
    watch : callable
        Called several times a second.

    Raises
    ------
    ExperimentError
        If a worker had to stop, or all of them were killed.
    """
    assert experiment.study is not None
    task = {
        "experiment": experiment.to_dict(),
        "name": experiment.name,
        "model": model,
        "folder": str(folder),
        "seconds": None if deadline is None else deadline - time.monotonic(),
        "parent": os.getpid(),
    }
    workers = [_Worker(task) for _ in range(experiment.study.workers)]
    try:
        while any(worker.is_alive() for worker in workers):
            time.sleep(_POLL)
            watch()
            for worker in workers:
                if (error := worker.error()) is not None:
                    raise ExperimentError(error)
    finally:
        _stop(workers)
    watch()
    if all(worker.status() != 0 for worker in workers):
        raise ExperimentError(f"every worker has ended, the last {workers[-1].ending()}; the same command goes on")


class _Worker:
    """A process that runs trials."""

    def __init__(self, task: dict[str, Any]) -> None:
        # no pipe: nobody reads before the end, and a library may say a lot
        self._said: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = str(max(1, cores // task["experiment"]["study"]["workers"]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            text=True,
            # threads of several processes on the same cores wait for each other
            env={"OMP_NUM_THREADS": threads} | os.environ,
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            json.dump(task, stdin)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def status(self) -> int | None:
        return self._process.poll()

    def error(self) -> str | None:
        """Return why the worker had to stop, if it could say so."""
        return self._last_line() if self.status() == _SAID_WHY else None

    def ending(self) -> str:
        status = self.status() or 0
        if status < 0:
            return f"by signal {signal.Signals(-status).name}"
        return f"with status {status}: {self._last_line()}"

    def _last_line(self) -> str:
        self._said.seek(0)
        return (self._said.read().strip().splitlines() or ["it said nothing"])[-1]

    def interrupt(self) -> None:
        if self.is_alive():
            self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.interrupt()
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.wait(max(0.0, deadline - time.monotonic()))


class _Interrupt(BaseException):
    """Ctrl-C; not a KeyboardInterrupt, which pytorch-lightning takes for its own."""


def _main() -> int:
    """Run trials as the task on stdin says; an error that a user can understand goes to stdout."""

    def interrupt(*_: object) -> NoReturn:
        raise _Interrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        task = json.load(sys.stdin)
        experiment = replace(Experiment.read(task["experiment"]), name=task["name"])
        seconds = task["seconds"]
        deadline = None if seconds is None else time.monotonic() + seconds
        search = Search.prepare(experiment, task["model"], Data.load(experiment))
        assert experiment.study is not None
        storage = open_storage(experiment.study.storage, Path(task["folder"]))
        # the one that started us is gone: finish what runs, begin nothing
        search.run(storage, lambda *_: None, deadline, stop=lambda: os.getppid() != task["parent"])
    except ExperimentError as error:
        print(error)
        return _SAID_WHY
    except _Interrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(_main())
