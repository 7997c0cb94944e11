"""Several processes on one study: started and watched by one that runs no trials itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.studies import lifeline
from bridges_tabular.experiments.studies.task import SAID_WHY

# seconds
_POLL = 0.3
_PATIENCE = 10.0


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
    }
    workers: list[_Worker] = []
    try:
        workers += (_Worker(task, experiment.study.workers) for _ in range(experiment.study.workers))
        while any(worker.poll() is None for worker in workers):
            time.sleep(_POLL)
            watch()
            for worker in workers:
                if worker.poll() == SAID_WHY:
                    raise ExperimentError(worker.last_line())
    finally:
        for worker in workers:
            worker.let_go()
        until = time.monotonic() + _PATIENCE
        for worker in workers:
            worker.end(max(0.0, until - time.monotonic()))
    watch()
    if all(worker.returncode != 0 for worker in workers):
        raise ExperimentError(f"every worker has ended, the last {workers[-1].ending()}; the same command goes on")


class _Worker(subprocess.Popen[str]):
    """A process that runs trials; it ends as soon as this one does, see ``lifeline``."""

    def __init__(self, task: dict[str, Any], n_workers: int) -> None:
        # no pipe: nobody reads before the end, and a library may say a lot
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        super().__init__(
            # -P: the folder of the script is none of modules; those of this process are
            [sys.executable, "-P", lifeline.__file__, os.pathsep.join(sys.path)],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            text=True,
            # threads of several processes on the same cores wait for each other
            env={"OMP_NUM_THREADS": str(max(1, cores // n_workers))} | os.environ,
        )
        # one that has ended already shows it by its status
        with suppress(BrokenPipeError):
            print(json.dumps(task), file=self.stdin, flush=True)

    def let_go(self) -> None:
        """Let the process give its trial back and end."""
        assert self.stdin is not None
        with suppress(BrokenPipeError):
            self.stdin.close()

    def end(self, seconds: float) -> None:
        """Wait for the end, and bring it about after so many seconds."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()

    def ending(self) -> str:
        """Say how the process has ended."""
        if self.returncode < 0:
            return f"by signal {signal.Signals(-self.returncode).name}"
        return f"with status {self.returncode}: {self.last_line()}"

    def last_line(self) -> str:
        """Return the last that the process has said: why it had to stop, if it knew."""
        self._said.seek(0)
        return (self._said.read().strip().splitlines() or ["it said nothing"])[-1]
