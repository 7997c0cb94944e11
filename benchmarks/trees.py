"""What column sampling and several trees a round are worth in XGBBridgeRegressor: see _choices.py.

OMP_NUM_THREADS=1 python benchmarks/trees.py --data-dir DIR
python benchmarks/trees.py --report
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from _choices import BASELINE, main

from bridges_tabular import XGBBridgeRegressor


def trees(sampled: float = 1.0, parallel: int = 1, **params: Any) -> Callable[[int], XGBBridgeRegressor]:
    """The share of the columns that a node may split by, and trees a round, in every stage."""
    further = {"colsample_bynode": sampled, "num_parallel_tree": parallel}
    return lambda rows: XGBBridgeRegressor(n_jobs=1, random_state=0, xgb_params=further, **params)


FASTER = {"learning_rate": 0.15, "n_estimators": 333}
VARIANTS = {
    BASELINE: trees(),
    "0.8 of the columns at a node": trees(0.8),
    "0.5 of the columns": trees(0.5),
    "0.35 of the columns": trees(0.35),
    "two trees a round": trees(parallel=2),
    "two trees, 0.85 of the columns": trees(0.85, 2),
    "two trees, 0.7 of the columns": trees(0.7, 2),
    "two trees, 0.5 of the columns": trees(0.5, 2),
    "two trees, 0.5 of the columns, learning rate 0.15": trees(0.5, 2, **FASTER),
}

if __name__ == "__main__":
    main(__doc__, VARIANTS, "trees.csv")
