from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import compare


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 120
    size = rng.uniform(1, 5, n)
    kind = rng.choice(["plain", "fancy"], n)
    price = 10 * size + 5 * (kind == "fancy") + rng.normal(0, 1, n)
    size[3] = np.nan
    return pd.DataFrame({"size": size, "kind": kind, "id": np.arange(n), "price": price})


def make_content(source: Path) -> dict[str, Any]:
    block = {"engine": "xgboost", "n_estimators": 8, "n_jobs": 1}
    return {
        "table": {"source": str(source), "target": "price", "drop": ["id"]},
        "split": {"test": 0.25, "validation": 0.25, "seeds": [0]},
        "models": {
            "points": block | {"scheme": "least_squares", "calibration": "none"},
            "bins": block | {"scheme": "hard", "n_bins": 8},
        },
    }


@pytest.fixture
def frame() -> pd.DataFrame:
    """A small table with numbers, text and missing values."""
    return make_frame()


@pytest.fixture
def table_file(frame: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "homes.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def content(table_file: Path) -> dict[str, Any]:
    """The content of an experiment file whose models train in a moment."""
    return make_content(table_file)


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison, to read alone."""
    folder = tmp_path_factory.mktemp("saved")
    make_frame().to_csv(folder / "homes.csv", index=False)
    compare(make_content(folder / "homes.csv"), quiet=True).save(folder / "run")
    return folder / "run"


@pytest.fixture
def run(saved_run: Path, tmp_path: Path) -> Path:
    """The folder of a comparison, to change."""
    return Path(shutil.copytree(saved_run, tmp_path / "run"))


@pytest.fixture
def changed(content: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Return the content with one value changed: ``changed("table", "target", value)``."""

    def change(*path: Any) -> dict[str, Any]:
        *keys, last, value = path
        block = content
        for key in keys:
            block = block[key]
        block[last] = value
        return content

    return change
