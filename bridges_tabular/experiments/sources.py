"""Where rows come from: bundled tables, files and OpenML, found and read; what goes wrong there is a line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types as pandas_types

from bridges_tabular.experiments.blocks import ExperimentError, nearest
from bridges_tabular.experiments.frames import PREFIX
from bridges_tabular.experiments.paths import bundled_tables, find_file
from bridges_tabular.regressors.kinds import as_floats, parse_numbers
from bridges_tabular.regressors.words import shown

_MIDNIGHT = " 00:00:00"


def find_table(source: str) -> Path:
    """The file of a bundled table, or of a path.

    Raises
    ------
    ExperimentError
        If there is none.
    """
    bundled = bundled_tables()
    if source in bundled:
        return bundled[source]
    found = find_file(source)
    if found is not None:
        return found
    path = Path(source)
    if path.is_dir():
        raise ExperimentError(f"{source} is a folder, not a table")
    if source.startswith(PREFIX):
        raise ExperimentError(f"the table was a {source}, which no file holds: run it again from Python")
    # a bare word was meant as a bundled name, anything with a suffix or a folder as a path
    hint = nearest(source, bundled) if path.name == source and not path.suffix else ""
    raise ExperimentError(f"there is no table {shown(source)}{hint}")


def is_csv(path: Path) -> bool:
    """Whether a file holds text, by its name."""
    return path.name.lower().endswith((".csv", ".csv.gz"))


def check_parquet(path: Path) -> None:
    """Refuse a file that is not Parquet by its name, or that nothing here can read.

    Raises
    ------
    ExperimentError
    """
    if not path.name.lower().endswith(".parquet"):
        raise ExperimentError(f"{path} is none of .csv, .csv.gz, .parquet and openml:ID")
    require("pyarrow", "parquet", f"reading {path}")


def csv_settings(missing: Sequence[str | float], text: Collection[str]) -> dict[str, Any]:
    """How pandas reads a file of text: ``missing`` cells beside its own, and columns that stay text."""
    return {
        "na_values": list(missing),
        "dtype": dict.fromkeys(text, str),
        "low_memory": False,
        # the default parser is a rounding error off the number that is written
        "float_precision": "round_trip",
    }


def check_header(path: Path) -> None:
    """Refuse a file of text with two columns of one name, which pandas would call ``a.1`` in silence.

    Raises
    ------
    ExperimentError
    """
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, na_filter=False).iloc[0]
    repeated = header[header.duplicated() & (header != "")]
    if len(repeated):
        raise ExperimentError(f"{path} has more than one column {shown(repeated.iloc[0])}")


def check_width(frame: pd.DataFrame, path: Path) -> None:
    """Refuse rows of a file of text in which pandas took the first values for names of the rows.

    Raises
    ------
    ExperimentError
    """
    if not isinstance(frame.index, pd.RangeIndex):
        raise ExperimentError(f"{path} has more values in a row than its {frame.shape[1]} columns have names")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in one line that ``path`` cannot be read, and why, whatever the block raises.

    Raises
    ------
    ExperimentError
    """
    try:
        yield
    except ExperimentError:
        raise
    except Exception as error:
        # of any kind: it comes from whatever the file holds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ExperimentError(f"{path} cannot be read: {reason}") from None


def with_numbers(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Make numbers of text in columns where it all is, such as whole numbers that are too long for 64 bits."""
    found = {}
    for name in names:
        if not pd.api.types.is_object_dtype(frame[name].dtype):
            continue
        known, numbers = frame[name].notna(), parse_numbers(frame[name])
        if known.any() and np.isfinite(numbers[known]).all():
            found[name] = numbers
    return frame.assign(**found)


def without(frame: pd.DataFrame, missing: Sequence[str | float]) -> pd.DataFrame:
    """Make the cells of a typed table missing that would be in a file of text: ``-999`` and ``"-999"`` say the same."""
    if not missing:
        return frame
    numbers = parse_numbers(pd.Series(list(missing), dtype=object))
    numbers = numbers[~np.isnan(numbers)]
    whole = [int(number) for number in numbers if number.is_integer()]
    words = {*map(str, missing), *map(str, whole), *(f"{number}.0" for number in whole)}
    says = {str(name): _says_missing(frame[name], words, numbers) & frame[name].notna() for name in frame.columns}
    names = [name for name, cells in says.items() if cells.any()]
    return with_numbers(frame.assign(**{name: frame[name].mask(says[name]) for name in names}), names)


def _says_missing(column: pd.Series[Any], words: Collection[str], numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories.to_series()
        return column.isin(categories[_says_missing(categories, words, numbers)]).to_numpy()
    # to pandas True is 1, in a file it is a word
    floats = None if pandas_types.infer_dtype(column, skipna=True) == "boolean" else as_floats(column)
    if floats is None:
        # midnight may be written or not
        text = column.astype(object).astype(str).str.removesuffix(_MIDNIGHT)
        return text.isin([word.removesuffix(_MIDNIGHT) for word in words]).to_numpy()
    if pandas_types.is_float_dtype(dtype):
        # -99.9 is another number in single precision
        with np.errstate(over="ignore"):
            numbers = numbers.astype(f"f{dtype.itemsize}")
    return np.isin(floats, numbers)


def read_openml(identifier: str) -> tuple[pd.DataFrame, str]:
    """A table of OpenML, and its name.

    Raises
    ------
    ExperimentError
        If it cannot be fetched.
    """
    if not identifier.isdecimal():
        raise ExperimentError(f"'openml:{identifier}' must end in the number of a dataset")
    openml: Any = require("openml", "openml", f"openml:{identifier}")
    try:
        dataset = openml.datasets.get_dataset(int(identifier), download_data=True)
        frame = dataset.get_data(dataset_format="dataframe")[0]
    except (OSError, openml.exceptions.PyOpenMLError) as error:
        raise ExperimentError(f"openml:{identifier} cannot be fetched: {' '.join(str(error).split())}") from None
    return frame, str(dataset.name)


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Raises
    ------
    ExperimentError
        If it is not installed: says what to install for ``purpose``.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ExperimentError(f'{purpose} needs {module}: pip install "bridges-tabular[{extra}]"') from None
