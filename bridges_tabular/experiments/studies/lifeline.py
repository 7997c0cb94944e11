"""What a worker's process runs first: it lives as long as the pipe to whoever started it, and ends with it at once.

A pipe closes however its other end dies. Nothing but Python's own is imported here, since the rest takes seconds, in
which a worker may be stopped, too: therefore a script, which imports no package around it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

# seconds to give a trial back
_PATIENCE = 0.3


def hold(last_words: list[Callable[[], None]]) -> None:
    """End the process when standard input does, after ``last_words``."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        threading.Timer(_PATIENCE, os._exit, [130]).start()
        for say in last_words:
            say()
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    # a terminal interrupts workers, too; whoever started them decides what to do about it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = sys.stdin.readline()
    last_words: list[Callable[[], None]] = []
    hold(last_words)
    sys.path += sys.argv[1].split(os.pathsep)
    from bridges_tabular.experiments.studies.task import run_task

    sys.exit(run_task(task, last_words))
