"""What is kept of one fit of a comparison: its scores, its predictions, and what the report will show of the model."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.experiments.results import results_frame
from bridges_tabular.experiments.run import CURVES, PREDICTIONS, RESULTS, File
from bridges_tabular.regressors import folders
from bridges_tabular.regressors.artifacts import ARRAYS_FILE, write_arrays

_KEY = ("table", "model", "seed")
_LONGEST_ERROR = 300
# beside the files of a part: the fitted model, which is checked as it is loaded
MODEL_FOLDER = "model"


class Cells(NamedTuple):
    """Distributions of some rows, as the arrays that a :class:`BinnedDistribution` is made of."""

    edges: NDArray[np.float64]
    masses: NDArray[np.float64]
    tail_masses: NDArray[np.float64]
    tail_scales: NDArray[np.float64]

    @classmethod
    def of(cls, distribution: BinnedDistribution, rows: NDArray[np.int64]) -> Self:
        """Take some rows, by position."""
        some = distribution[rows]
        return cls(some.edges, some.masses, some.tail_masses, some.tail_scales)


@dataclass(frozen=True)
class Part:
    """What one fit gave.

    Attributes
    ----------
    results : DataFrame
        Its row of results.csv.
    predictions, curve : DataFrame
        Its rows of predictions.csv and curves.csv.
    collected : dict of File to DataFrame or list of dict
        Of a fit on a table's first split, its part of what the sections of the report collect.
    cells : Cells or None
        Of a fit on a table's first split, the distributions of the rows that the report chooses examples from.
    """

    results: pd.DataFrame
    predictions: pd.DataFrame
    curve: pd.DataFrame
    collected: dict[File, Any] = field(default_factory=dict)
    cells: Cells | None = None

    def write(self, folder: Path) -> None:
        """Write it to a folder."""
        RESULTS.write(folder, self.results)
        CURVES.write(folder, self.curve)
        for file, content in self.collected.items():
            file.write(folder, content)
        columns = self.predictions.drop(columns=list(_KEY))
        arrays = {f"predictions.{name}": columns[name].to_numpy() for name in columns}
        if self.cells is not None:
            arrays |= {f"cells.{name}": array for name, array in self.cells._asdict().items()}
        write_arrays(folder, arrays)

    @classmethod
    def read(cls, folder: Path, manifest: dict[str, Any], collecting: Any) -> Self:
        """Read it back, to the last bit.

        Parameters
        ----------
        folder : path
        manifest : dict
            Of the folder, which says what every file has to be.
        collecting : iterable of File
            Those that may be in ``collected``.

        Raises
        ------
        ValueError, FileNotFoundError
            If a file is not as it was written.
        """
        own = [name for name in manifest["files"] if not name.startswith(f"{MODEL_FOLDER}/")]
        content = {name: folders.read_file(folder, name, manifest, sys.maxsize) for name in own}
        arrays = load_arrays(content[ARRAYS_FILE])
        results = RESULTS.read(folder)
        key = {name: results[name].iloc[0] for name in _KEY}
        predictions = pd.DataFrame(key | {name.partition(".")[2]: a for name, a in arrays.items() if _is_column(name)})
        cells = {name.partition(".")[2]: array for name, array in arrays.items() if not _is_column(name)}
        return cls(
            results=results,
            predictions=PREDICTIONS.join([predictions]),
            curve=CURVES.read(folder),
            collected={file: file.read(folder) for file in collecting if file.name in content},
            cells=Cells(**cells) if cells else None,
        )


@dataclass(frozen=True)
class Failure:
    """A fit that raised an error.

    Attributes
    ----------
    results : DataFrame
        Its row of results.csv, without a score.
    error : str
        In one line.
    traceback : str
    """

    results: pd.DataFrame
    error: str
    traceback: str

    @classmethod
    def of(cls, row: dict[str, Any], error: Exception) -> Self:
        """Describe an error; ``row`` says of which fit."""
        return cls(results_frame([row]), in_one_line(error), "".join(traceback.format_exception(error)))

    def row(self) -> dict[str, Any]:
        """Its row of errors.csv."""
        key = {name: self.results[name].iloc[0] for name in _KEY}
        return key | {"error": self.error, "traceback": self.traceback}


def in_one_line(error: Exception) -> str:
    """Say what an error is, and why, without line breaks and in moderate length."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def _is_column(name: str) -> bool:
    return name.startswith("predictions.")
