"""What is in memory while a long parquet file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyarrow import parquet

from bridges_tabular.experiments.chunks import TableChunks
from bridges_tabular.regressors.streams import Stream

ROWS, GROUP, COLUMNS = 4_000_000, 100_000, list("ab")
READERS = {
    "stream of a path": lambda path: Stream(path, "a").read(),
    "stream of a dataset": lambda path: Stream(ds.dataset(path), "a").read(),
    "chunks": lambda path: TableChunks(str(path), 10_000).read(COLUMNS),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_file_is_never_in_memory_as_a_whole(reader: str, tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "long.parquet"
    values: dict[str, Any] = {name: rng.normal(size=ROWS) for name in COLUMNS}
    parquet.write_table(pa.table(values), path, row_group_size=GROUP)
    before, whole = pa.total_allocated_bytes(), 8 * len(COLUMNS) * ROWS
    held = [pa.total_allocated_bytes() - before for _ in READERS[reader](path)]
    assert len(held) > 10
    assert max(held) < whole / 2
