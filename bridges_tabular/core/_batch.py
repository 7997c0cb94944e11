"""A batch of predictive distributions as an object: its rows, their index, and how functions run over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike

from bridges_tabular.core import _cells
from bridges_tabular.core._cells import FloatArray, Rows
from bridges_tabular.core._checks import checked_rows

if TYPE_CHECKING:
    import pandas as pd

# Numbers in a block's temporaries: 2 MiB each, which a processor's cache holds.
_BLOCK_SIZE = 1 << 18


class Batch:
    """What a :class:`~bridges_tabular.core.distribution.BinnedDistribution` holds, row by row."""

    def __init__(
        self,
        edges: ArrayLike,
        masses: ArrayLike,
        *,
        tail_masses: ArrayLike | None = None,
        tail_scales: ArrayLike | None = None,
        index: Any = None,
    ) -> None:
        self._set(checked_rows(edges, masses, tail_masses, tail_scales), index)

    def _set(self, rows: Rows, index: Any) -> None:
        self._rows = rows._replace(masses=_cells.merge_atoms(rows.edges, rows.masses))
        for array in self._rows:
            array.flags.writeable = False
        self._index: pd.Index[Any] | None = None
        if index is not None:
            import pandas as pd

            self._index = pd.Index(index)
            if len(self._index) != len(self):
                raise ValueError(f"index has {len(self._index)} entries, expected {len(self)}, one for each row")

    @classmethod
    def _from_valid(cls, rows: Rows, index: Any = None) -> Self:
        made = cls.__new__(cls)
        made._set(rows, index)
        return made

    @property
    def edges(self) -> FloatArray:
        """Cell edges, (k + 1,) if shared, else (n, k + 1); read-only."""
        return self._rows.edges

    @property
    def masses(self) -> FloatArray:
        """Probabilities of the cells (n, k); read-only."""
        return self._rows.masses

    @property
    def tail_masses(self) -> FloatArray:
        """Probabilities below the first and above the last edge (n, 2); read-only."""
        return self._rows.tail_masses

    @property
    def tail_scales(self) -> FloatArray:
        """Scales of the two exponential tails (n, 2); read-only, without meaning where a tail has no mass."""
        return self._rows.tail_scales

    @property
    def index(self) -> pd.Index[Any] | None:
        """Labels of the rows: those of the table that was predicted; None where they have none."""
        return self._index

    def with_index(self, index: Any) -> Self:
        """The same distributions with labels of shape (n,) for their rows; None takes them away."""
        return self._from_valid(self._rows, index)

    def __len__(self) -> int:
        return len(self._rows.masses)

    def __repr__(self) -> str:
        n, k = self.masses.shape
        rows, cells = f"{n} row{'s' * (n != 1)}", f"{k} cell{'s' * (k != 1)}"
        has = [cells if self.edges.ndim == 1 else f"{cells} of its own"]
        if ((np.diff(self.edges) == 0) & (self.masses > 0)).any():
            has.append("atoms")
        if self.tail_masses.any():
            has.append("exponential tails")
        means = self._each(_cells.mean)
        if n:
            has[-1] += f"; mean {means[0]:.4g}" if n == 1 else f"; means {means.min():.4g} to {means.max():.4g}"
        return f"<{type(self).__name__} of {rows}, each {' and '.join(has)}>"

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is no array: ask it for numbers, by mean, quantile(levels), cdf(y), sample(n) or"
            " to_frame()"
        )

    def __getitem__(self, index: int | slice | ArrayLike) -> Self:
        """Rows by position, slice, mask or positions; an integer gives a batch of one row."""
        picked: Any = index if isinstance(index, slice) else np.atleast_1d(np.asarray(index))
        if not isinstance(index, slice) and not picked.size:
            # to numpy an empty list is one of floating point numbers
            picked = picked.astype(np.intp)
        edges, *per_row = self._rows
        rows = Rows(edges if edges.ndim == 1 else edges[picked], *(a[picked] for a in per_row))
        return self._from_valid(rows, None if self._index is None else self._index[picked])

    def _blocks(self, width: int) -> Iterator[tuple[slice, Rows]]:
        """Blocks of rows whose temporaries, ``width`` numbers or the cells of each row, stay small."""
        n, k = self.masses.shape
        size = max(1, _BLOCK_SIZE // max(k, width))
        edges, *per_row = self._rows
        for start in range(0, n, size):
            at = slice(start, start + size)
            yield at, Rows(edges if edges.ndim == 1 else edges[at], *(array[at] for array in per_row))

    def _each(self, functional: Callable[[Rows], FloatArray]) -> FloatArray:
        result = np.empty(len(self))
        for at, rows in self._blocks(1):
            result[at] = functional(rows)
        return result

    def _at(self, function: Callable[[Rows, FloatArray], Any], y: ArrayLike, name: str = "y") -> FloatArray:
        values, shape = self._paired(y, name)
        result = np.empty(values.shape)
        k = self.masses.shape[1]
        columns = max(1, _BLOCK_SIZE // k)
        for start in range(0, values.shape[1], columns):
            part = values[:, start : start + columns]
            q = part.shape[1]
            for at, (edges, *per_row) in self._blocks(k * q):
                repeated = Rows(
                    edges if edges.ndim == 1 else np.repeat(edges, q, axis=0),
                    *(np.repeat(array, q, axis=0) if q > 1 else array for array in per_row),
                )
                result[at, start : start + q] = function(repeated, part[at].ravel()).reshape(-1, q)
        return result.reshape(shape)

    def _paired(self, y: ArrayLike, name: str = "y") -> tuple[FloatArray, tuple[int, ...]]:
        """Values as a table (n, q), and the shape that results in place of them have."""
        values, n = np.asarray(y, dtype=np.float64), len(self)
        if values.ndim == 2 and len(values) in (1, n):
            values = np.broadcast_to(values, (n, values.shape[1]))
            shape: tuple[int, ...] = values.shape
        elif values.ndim == 0:
            values, shape = np.full((n, 1), values), (n,)
        elif values.ndim == 1 and (n == 1 or len(values) == n):
            values, shape = (values[None] if n == 1 else values[:, None]), values.shape
        else:
            raise ValueError(
                f"{name} has shape {np.shape(y)}, expected (), ({n},), ({n}, q), or (1, q) for each row at all q values"
            )
        missing = np.argwhere(np.isnan(values))
        if missing.size:
            row = missing[0].max() if n == 1 else missing[0, 0]
            raise ValueError(f"{name} is missing (NaN) in row {row}")
        return values, shape
