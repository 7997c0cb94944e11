"""What the tests of all commands stand on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridges_tabular.cli import main

# rich takes these for a terminal
FORCED = {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"}
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in FORCED}
ENVIRONMENT |= {
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "TERM": "xterm-256color",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command() -> Callable[..., subprocess.Popen[str]]:
    """Start a command in a process of its own."""

    def start(*arguments: str, module: str = "bridges_tabular", **settings: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            text=True,
            env=ENVIRONMENT,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings,
        )

    return start


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail on its input; return its one line."""

    def run(*arguments: str) -> str:
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = int(exit.code or 0)
        captured = capsys.readouterr()
        assert status == 2
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("bridges-tabular: error: ")
        return captured.err

    return run


@pytest.fixture
def small() -> list[str]:
    """What makes the bundled experiment small."""
    return [
        "table.rows=400",
        "models.network.max_epochs=2",
        "models.network_bridge.max_epochs=2",
        "models.xgboost.n_estimators=10",
        "models.xgboost_bins.n_estimators=5",
        "models.xgboost_bins.n_bins=8",
    ]
