"""Arrays by name, as saved models hold them: read with the type and the shape that each has to have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["ArrayError", "Arrays"]


class ArrayError(ValueError):
    """An array is missing, none that belongs there, or of another type or shape; says which one.

    Examples
    --------
    >>> str(ArrayError("'codec.bits' is missing"))
    "'codec.bits' is missing"
    """


class Arrays(Mapping[str, NDArray[Any]]):
    """Arrays by name; what has been taken is remembered.

    Parameters
    ----------
    arrays : mapping of str to array

    Examples
    --------
    >>> arrays = Arrays({"scale.mean": np.zeros(3), "other": np.ones(1)})
    >>> arrays.part("scale.").take("mean", 3)
    array([0., 0., 0.])
    >>> arrays.part("scale.").take("mean", 2)
    Traceback (most recent call last):
        ...
    bridges_tabular.core.arrays.ArrayError: array 'scale.mean' has shape (3,), expected (2,)
    >>> arrays.check_all_taken()
    Traceback (most recent call last):
        ...
    bridges_tabular.core.arrays.ArrayError: array 'other' belongs to nothing
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._prefix = ""
        self._taken: set[str] = set()

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """The same, if they are of this class already."""
        return arrays if isinstance(arrays, Arrays) else cls(arrays)

    def part(self, prefix: str) -> Arrays:
        """Those whose names begin with a prefix, by the rest of their names."""
        part = Arrays(self._arrays)
        part._prefix, part._taken = self._prefix + prefix, self._taken
        return part

    def take(self, name: str, *shape: int | None, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """An array of such a type and shape, in which None stands for any length.

        Raises
        ------
        ArrayError
            If there is none.
        """
        full = self._prefix + name
        if full not in self._arrays:
            raise ArrayError(f"array {full!r} is missing")
        array = self._arrays[full]
        if array.dtype != dtype:
            raise self.error(name, f"holds {array.dtype}, expected {np.dtype(dtype)}")
        if len(array.shape) != len(shape) or any(
            expected not in (None, found) for found, expected in zip(array.shape, shape, strict=True)
        ):
            sizes = ", ".join("any" if expected is None else str(expected) for expected in shape)
            raise self.error(name, f"has shape {array.shape}, expected ({sizes}{',' * (len(shape) == 1)})")
        self._taken.add(full)
        return array

    def take_finite(self, name: str, *shape: int | None) -> NDArray[np.float64]:
        """The same of double precision, all of it finite."""
        array = self.take(name, *shape)
        if not np.isfinite(array).all():
            raise self.error(name, "holds NaN or infinity")
        return array

    def error(self, name: str, reason: str) -> ArrayError:
        """The error to raise about an array."""
        return ArrayError(f"array {self._prefix + name!r} {reason}")

    def check_all_taken(self) -> None:
        """Refuse an array that nothing has asked for.

        Raises
        ------
        ArrayError
            If there is one.
        """
        for name in self:
            if self._prefix + name not in self._taken:
                raise self.error(name, "belongs to nothing")

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._prefix) for name in self._arrays if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)
