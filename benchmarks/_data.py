"""The real tables of the benchmarks, their rows for training and testing, and the file that collects results."""

from __future__ import annotations

import csv
import os
import resource
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = tuple[pd.DataFrame, Array]
RESULTS = Path(__file__).parent / "results"
TABLES = ["yacht", "boston", "energy", "concrete", "airfoil", "wine", "ames", "abalone", "sml", "parkinsons", "cpu_act"]
TABLES += ["kin8nm", "power", "naval", "pol", "elevators", "bike_hour", "kin40k", "california", "protein", "diamonds"]


def data_folder(given: Path | None) -> Path:
    """The folder of the tables, from --data-dir or the variable BRIDGES_TABULAR_DATA.

    Raises
    ------
    SystemExit
        If there is none.
    """
    folder = given or Path(os.environ.get("BRIDGES_TABULAR_DATA", ""))
    if not (folder / "datasets.yaml").is_file():
        raise SystemExit("the tables are not part of the project: name their folder with --data-dir")
    return folder


def read_table(folder: Path, name: str) -> tuple[pd.DataFrame, Array]:
    """Features and target of a table, in the order of its file."""
    about = yaml.safe_load((folder / "datasets.yaml").read_text())[name]
    frame = pd.read_csv(folder / about["file"])
    y = frame.pop(about["target"]).to_numpy(dtype=np.float64)
    for column in about.get("categorical") or []:
        frame[column] = frame[column].astype("category")
    return frame, y


def split(X: pd.DataFrame, y: Array, rows: int | None, seed: int) -> tuple[Rows, Rows, Rows]:
    """Rows to train on, to watch and to test: a seed permutes them, a fifth is for testing, of the rest to watch."""
    order = np.random.default_rng(seed).permutation(len(y))[:rows]
    n_test = round(0.2 * len(order))
    n_validation = round(0.2 * (len(order) - n_test))
    parts = np.split(order, [n_test, n_test + n_validation])
    test, validation, train = [(X.iloc[part].reset_index(drop=True), y[part]) for part in parts]
    return train, validation, test


class Results:
    """A CSV file to which lines are added as they come; what stands in it need not be run again.

    Parameters
    ----------
    path : Path
    key : sequence of str
        Columns that name a run.
    columns : sequence of str
        All columns, those of the key first.
    """

    def __init__(self, path: Path, key: Sequence[str], columns: Sequence[str]) -> None:
        self._path, self._key, self._columns = path, list(key), list(columns)

    def frame(self) -> pd.DataFrame:
        """All lines so far."""
        return pd.read_csv(self._path) if self._path.is_file() else pd.DataFrame(columns=self._columns)

    def has(self, **run: Any) -> bool:
        """Whether a run stands in the file."""
        frame = self.frame()
        same = pd.Series(True, index=frame.index)
        for name, value in run.items():
            same &= frame[name].astype(str) == str(value)
        return bool(same.any())

    def add(self, **line: Any) -> None:
        """Append a line, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if not self._path.is_file():
            writer.writeheader()
        writer.writerow({name: f"{v:.8g}" if isinstance(v, float) else v for name, v in line.items()})
        # one call of the system, which no interrupt cuts in two
        with self._path.open("ab", buffering=0) as file:
            file.write(text.getvalue().encode())


def peak_of_this_process() -> float:
    """Peak memory in MB; where Linux does not tell, that which a parent process left counts too."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def geometric_mean(ratios: Array) -> tuple[float, float]:
    """Geometric mean of ratios and its standard error over them (relative to 1)."""
    logs = np.log(ratios)
    error = logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else np.nan
    return float(np.exp(logs.mean())), float(error)
