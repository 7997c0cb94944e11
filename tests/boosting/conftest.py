from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


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
