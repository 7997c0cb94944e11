"""Features of many rows in a file instead of memory, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

# numbers of a block in memory: 64 MiB
_BLOCK_SIZE = 1 << 24


@dataclass(frozen=True)
class StoredValues:
    """Features of shape (n, p) whose first columns are in a file.

    Attributes
    ----------
    file : Path
        Rows of single-precision numbers.
    stored : (int, int)
        Rows and columns of the file.
    beside : tuple of arrays of shape (rows,)
        Further columns.
    rows : bool array of shape (rows,) or None
        Which of the file's rows are meant; None for all.
    """

    file: Path
    stored: tuple[int, int]
    beside: tuple[Values, ...] = ()
    rows: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return self.stored[0] if self.rows is None else int(np.count_nonzero(self.rows))

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""
        return len(self), self.stored[1] + len(self.beside)

    def __getitem__(self, rows: NDArray[np.bool_]) -> StoredValues:
        """The rows of a mask over all of the file's."""
        assert self.rows is None
        return replace(self, rows=rows)

    def append(self, column: Values) -> StoredValues:
        """With one more column, of shape (rows,)."""
        return replace(self, beside=(*self.beside, column))

    def blocks(self) -> Iterator[Values]:
        """Arrays of some rows each, in order; none is empty."""
        n = self.stored[0]
        size = max(1, _BLOCK_SIZE // self.shape[1])
        for start in range(0, n, size):
            at = slice(start, min(start + size, n))
            block = self.read([at])
            if self.rows is not None:
                block = block[self.rows[at]]
            if len(block):
                yield block

    def read(self, stretches: Sequence[slice]) -> Values:
        """The file's rows between some starts and stops, one stretch after the other, of shape (n, p)."""
        columns = self.stored[1]
        sizes = [at.stop - at.start for at in stretches]
        values = np.empty((sum(sizes), self.shape[1]), np.float32)
        with self.file.open("rb") as file:
            for at, size, end in zip(stretches, sizes, accumulate(sizes), strict=True):
                file.seek(at.start * columns * values.itemsize)
                own = values[end - size : end]
                own[:, :columns] = np.fromfile(file, np.float32, size * columns).reshape(size, columns)
                for position, column in enumerate(self.beside, columns):
                    own[:, position] = column[at]
        return values


class ValuesWriter:
    """Adds features to a file, block by block.

    Parameters
    ----------
    file : Path
    columns : int
    """

    def __init__(self, file: Path, columns: int) -> None:
        self._file, self._columns, self._rows = file, columns, 0

    def add(self, values: Values) -> None:
        """Write the features of some rows."""
        with self._file.open("ab") as file:
            values.tofile(file)
        self._rows += len(values)

    @property
    def written(self) -> StoredValues:
        """What has been written."""
        return StoredValues(self._file, (self._rows, self._columns))


AnyValues = Values | StoredValues


def in_blocks(values: AnyValues, of: Callable[[Values], NDArray[Any]]) -> NDArray[Any]:
    """A function of features, row by row, of all of them."""
    return of(values) if not isinstance(values, StoredValues) else np.concatenate([of(one) for one in values.blocks()])
