"""What every room's tests stand on."""

import signal
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_as_in_a_terminal() -> Iterator[None]:
    """Let SIGINT interrupt, here and in subprocesses: a shell that starts the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def homes() -> tuple[pd.DataFrame, pd.Series]:
    """300 rows with numbers, categories, missing values and noise that grows with the mean."""
    rng = np.random.default_rng(0)
    n = 300
    size, age = rng.uniform(1, 5, n), rng.uniform(0, 60, n)
    kind = rng.choice(["plain", "fancy", "odd"], n)
    price = 10 * size - 0.1 * age + 8 * (kind == "fancy") + size * rng.normal(0, 1, n)
    frame = pd.DataFrame({"size": size, "age": age, "kind": kind, "noise": rng.normal(size=n)})
    frame.loc[::17, "age"] = np.nan
    frame.loc[5::29, "kind"] = None
    return frame, pd.Series(price, name="price")
