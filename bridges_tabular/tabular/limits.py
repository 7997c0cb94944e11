"""Limits on what a network may take, kept before it takes it."""

from __future__ import annotations

import os
import threading
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# weights, gradients, two moments of AdamW, and the weights of the best epoch; in single precision
_BYTES_IN_TRAINING = 5 * 4
# where a system does not tell
_USUAL_MEMORY = 1 << 34
_MOST_TENSORS = 20_000

_thread = threading.local()

# what makes tensors of a size that a configuration may say
_FACTORIES = frozenset(
    {
        torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.arange,
        torch.linspace, torch.eye, Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full,
    }
)  # fmt: skip


class TooLarge(ValueError):
    """A network would take more than it may."""


class Limited(TorchFunctionMode):
    """While it is entered, this thread makes tensors of no more than so many numbers in all.

    The one that would be too many is not made.

    Parameters
    ----------
    numbers : int
    reason : str
        What the numbers are compared with, for the error.
    """

    def __init__(self, numbers: int, reason: str) -> None:
        super().__init__()
        self._made = 0
        self._numbers = numbers
        self._tensors = 0
        self._reason = reason

    def __enter__(self) -> Limited:
        _thread.depth = getattr(_thread, "depth", 0) + 1
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        _thread.depth -= 1
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    @staticmethod
    def entered() -> bool:
        """Whether this thread is within such a limit."""
        return getattr(_thread, "depth", 0) > 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what a factory is about to make."""
        kwargs = kwargs or {}
        if func in _FACTORIES:
            self._made += func(*args, **{**kwargs, "device": "meta"}).numel()
            self._tensors += 1
            if self._made > self._numbers:
                raise TooLarge(f"the network is larger than {self._reason}")
            if self._tensors > _MOST_TENSORS:
                raise ValueError(f"the network has more than {_MOST_TENSORS:,} parts")
        return func(*args, **kwargs)


class Counted(Limited):
    """The same, and tensors take no memory: there is nothing to compute with."""

    def __enter__(self) -> Counted:
        self._device = torch.device("meta")
        self._device.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._device.__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Leave out what would fill tensors."""
        name = getattr(func, "__name__", "")
        if name == "_is_all_true":
            return True
        if name == "_sample_dirichlet" or (name[-1:] == "_" and name[-2:] != "__"):
            return args[0] if args else (kwargs or {})["tensor"]
        return super().__torch_function__(func, types, args, kwargs)


def trainable_here() -> Counted:
    """The limit that the memory of this machine sets to a network to train."""
    memory = _USUAL_MEMORY
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Counted(memory // _BYTES_IN_TRAINING, f"what {memory / 2**30:.0f} GiB of memory can train")
