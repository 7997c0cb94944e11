"""One writer at a time: a lock file beside what a run writes, which tells the process that holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.folders import check_writable, writing
from bridges_tabular.regressors.processes import machine, started

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def claimed(path: str | Path) -> Iterator[None]:
    """Keep ``path`` for this block alone: whoever else claims it meanwhile is refused.

    The lock file ``.NAME.lock`` beside it names the process that holds it. One that a dead process left is taken over.

    Raises
    ------
    ExperimentError
        If another run holds it, or the lock file cannot be written.
    """
    target = Path(os.path.realpath(path))
    check_writable(target)
    lock = target.with_name(f".{target.name}.lock")
    mine = json.dumps({"process": os.getpid(), "started": started(os.getpid()), "machine": machine()})
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        with writing(lock):
            target.parent.mkdir(parents=True, exist_ok=True)
            _take(lock, mine, path)
        try:
            yield
        finally:
            # whoever took it for stale has written another one
            with suppress(OSError):
                if lock.read_text(encoding="utf-8") == mine:
                    lock.unlink()
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def _take(lock: Path, mine: str, path: str | Path) -> None:
    while True:
        # read and written in place: where two start at once, the second has to see what the first has written
        with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8") as file:
            _wait_for_turn(file)
            if not _is_still(file, lock):
                continue
            holder = _living_holder(file.read())
            if holder is not None:
                raise ExperimentError(
                    f"{path} is being written by another run, {holder}: wait for its end, or choose another --out"
                    f" (its lock is {lock})"
                )
            file.seek(0)
            file.truncate()
            file.write(mine)
            return


def _wait_for_turn(file: IO[str]) -> None:
    if fcntl is not None:
        # some network file systems have none
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def _is_still(file: IO[str], lock: Path) -> bool:
    """Whether the open file has not been removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(lock))
    except FileNotFoundError:
        return False


def _living_holder(content: str) -> str | None:
    """The process that holds a lock, in words; None if it has ended."""
    try:
        holder: dict[str, Any] = json.loads(content)
        process, host, since = int(holder["process"]), str(holder["machine"]), holder["started"]
    except (ValueError, KeyError, TypeError):
        # a kill in the middle of writing
        return None
    if host != machine():
        return f"process {process} on {host.partition(' ')[0]}"
    return f"process {process}" if started(process) == since else None
