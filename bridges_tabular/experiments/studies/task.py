"""What a worker does, in its own process: trials of a study until there are enough."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.studies.search import Data, Search
from bridges_tabular.experiments.studies.storage import open_storage

# the exit status of a worker that has said why it had to stop
SAID_WHY = 3


def run_task(task: str, last_words: list[Callable[[], None]]) -> int:
    """Run trials in a worker's process, until there are enough.

    Parameters
    ----------
    task : str
        From :func:`run_workers`.
    last_words : list of callable
        Gets what is to be done before the process is ended from outside.

    Returns
    -------
    int
        The exit status; an error that a user can understand goes to standard output.
    """

    def release() -> None:
        with suppress(Exception):
            queue.release()

    try:
        asked = json.loads(task)
        experiment = replace(Experiment.read(asked["experiment"]), name=asked["name"])
        deadline = None if asked["seconds"] is None else time.monotonic() + asked["seconds"]
        search = Search.prepare(experiment, asked["model"], Data.load(experiment))
        assert experiment.study is not None
        queue = search.queue(open_storage(experiment.study.storage, Path(asked["folder"])))
        last_words.append(release)
        search.run(queue, lambda *_: None, deadline)
    except ExperimentError as error:
        print(error)
        return SAID_WHY
    return 0
