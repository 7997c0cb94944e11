"""Files of predictions: parts of them, and the whole file that parts become."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.sources import require

# what a 64-bit integer holds, written as it writes itself
_WHOLE = r"^(0|-?[1-9][0-9]{0,17})$"


def is_parquet(path: str | Path) -> bool:
    """Whether a file is Parquet by its name; else it is text."""
    return Path(path).name.lower().endswith(".parquet")


def check_output(path: str | Path) -> None:
    """Refuse a file that nothing here can write, by its name.

    Raises
    ------
    ExperimentError
    """
    if is_parquet(path):
        require("pyarrow", "parquet", f"writing {path}")
    elif not Path(path).name.lower().endswith((".csv", ".csv.gz")):
        raise ExperimentError(f"{path}: predictions are written to .csv, .csv.gz or .parquet")


def write_part(frame: pd.DataFrame, path: Path, out: str | Path, first: bool) -> None:
    """Write rows as a part of the file ``out``; the first one of text has the header."""
    if not is_parquet(out):
        frame.to_csv(path, index=False, header=first)
        return
    from pyarrow import Table
    from pyarrow.parquet import write_table

    write_table(Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None), path)


def join_parts(parts: Sequence[Path], written: Path, out: str | Path, texts: Collection[str]) -> None:
    """Write the file that parts become, one in memory at a time.

    Parameters
    ----------
    parts : sequence of path
    written : path
        Where to write it.
    out : path
        Its name tells the format.
    texts : collection of str
        Columns that come from a file of text: in Parquet they are whole numbers if all of them are.
    """
    if is_parquet(out):
        _join_parquet(parts, written, texts)
        return
    with written.open("wb") as raw:
        # without a name and a time in it, the same rows are the same bytes
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if str(out).lower().endswith(".gz") else None
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, packed or raw)
        if packed is not None:
            packed.close()


def _join_parquet(parts: Sequence[Path], written: Path, texts: Collection[str]) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter, read_schema, read_table

    # an object column may be empty in one part and hold text in another
    schema = pyarrow.unify_schemas([read_schema(part) for part in parts], promote_options="permissive")
    for name in _whole_numbers(parts, texts):
        schema = schema.set(schema.get_field_index(name), pyarrow.field(name, pyarrow.int64()))
    with ParquetWriter(written, schema) as writer:
        for part in parts:
            writer.write_table(read_table(part).cast(schema))


def _whole_numbers(parts: Sequence[Path], texts: Collection[str]) -> list[str]:
    from pyarrow import compute
    from pyarrow.parquet import read_table

    left = list(texts)
    for part in parts:
        if not left:
            break
        table: Any = read_table(part, columns=left)
        left = [name for name in left if compute.all(compute.match_substring_regex(table[name], _WHOLE)).as_py()]
    return left
