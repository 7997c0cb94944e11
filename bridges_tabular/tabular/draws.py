"""Random draws that belong to one fit, though networks draw from generators that the whole process shares."""

from __future__ import annotations

import logging
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# whoever holds it may set the generators, the levels of loggers and the filters of warnings
_PROCESS = threading.RLock()

_TALKERS = ("pytorch_tabular", "pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")


@contextmanager
def building(seed: int) -> Iterator[None]:
    """Build a network: from a seed, in silence, and one at a time.

    The generators of Python, NumPy and torch, what pytorch-tabular and Lightning log, and the filters of warnings are
    afterwards as they were.
    """
    with _PROCESS, _quiet():
        # GATE, GANDALF and NODE draw from Python's and NumPy's
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            torch.set_rng_state(before[2])


class Draws:
    """The draws of a network's steps: dropout takes them from torch's generator, which fits in other threads use too.

    Parameters
    ----------
    seed : int
    device : torch.device
        Where the network is.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._shared = _generator_of(device)
        self._state = torch.Generator(device).manual_seed(seed).get_state()
        # not known before the first step
        self._used: bool | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend torch's generator to one step: it goes on from where this fit's last step left it.

        No other fit draws meanwhile, and none waits for a network that draws nothing.
        """
        if self._used is False:
            yield
            return
        with _PROCESS:
            before = self._shared.get_state()
            self._shared.set_state(self._state)
            try:
                yield
            finally:
                after = self._shared.get_state()
                self._shared.set_state(before)
                self._used = self._used or not torch.equal(after, self._state)
                self._state = after


def _generator_of(device: torch.device) -> torch.Generator:
    if device.type != "cuda":
        return torch.default_generator
    torch.cuda.init()  # type: ignore[no-untyped-call]
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what pytorch-tabular and Lightning say of heads and devices."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", module=r"(pytorch_tabular|pytorch_lightning|lightning_fabric|torch|omegaconf)\."
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
