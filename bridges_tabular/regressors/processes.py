"""Whether the process that left something behind still runs."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

# what Windows calls the right to ask, and the answer of a process that runs
_QUERY, _RUNNING = 0x1000, 259


def machine() -> str:
    """Name the machine, or the container: process numbers mean something within it alone."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def started(pid: int) -> str | None:
    """When a process began, in a form that tells it from a later one of the same number; None if it has ended.

    Where a system does not say when, any text stands for a process that runs.
    """
    if sys.platform == "win32":
        return _started_on_windows(pid)
    try:
        # the fields after the name, which may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    return "running"


def _started_on_windows(pid: int) -> str | None:
    # os.kill would end the process there
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(_QUERY, False, pid)
    if not handle:
        return None
    status = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(status))
    kernel.CloseHandle(handle)
    return "running" if known and status.value == _RUNNING else None
