"""The real tables of the benchmarks, and the file that collects results line by line."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results"


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
        """Append a line."""
        self._path.parent.mkdir(exist_ok=True)
        new = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            if new:
                writer.writeheader()
            writer.writerow({name: f"{v:.8g}" if isinstance(v, float) else v for name, v in line.items()})


def geometric_mean(ratios: Array) -> tuple[float, float]:
    """Geometric mean of ratios and its standard error over them (relative to 1)."""
    logs = np.log(ratios)
    error = logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else np.nan
    return float(np.exp(logs.mean())), float(error)
