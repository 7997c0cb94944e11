"""What each choice in the default network is worth: see _choices.py.

OMP_NUM_THREADS=1 python benchmarks/members.py --data-dir DIR
OMP_NUM_THREADS=1 python benchmarks/members.py --data-dir DIR --variants default "no members, as before" --tables yacht
python benchmarks/members.py --report
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from _choices import BASELINE, main

from bridges_tabular import TabularBridgeRegressor
from bridges_tabular.tabular import defaults


def network(
    rate: float | None = None, steps: int | None = None, batches: int = 1, **backbone_params: Any
) -> Callable[[int], TabularBridgeRegressor]:
    """Rate and steps of the optimiser, batches of so many times the rows, and the backbone's parameters."""

    def make(rows: int) -> TabularBridgeRegressor:
        params: dict[str, Any] = {"learning_rate": rate, "backbone_params": backbone_params}
        batch = defaults.batch_size(rows) * batches
        if batches > 1:
            params["batch_size"] = batch
        if steps is not None:
            epochs = -(-steps // -(-rows // batch))
            params["max_epochs"] = min(max(epochs, 30), defaults.MOST_EPOCHS)
        return TabularBridgeRegressor(random_state=0, **params)

    return make


def other(**params: Any) -> Callable[[int], TabularBridgeRegressor]:
    """Parameters of the regressor."""
    return lambda rows: TabularBridgeRegressor(random_state=0, **params)


def plain(rate: float | None = None, **kwargs: Any) -> Callable[[int], TabularBridgeRegressor]:
    """A network without factors of its inputs, with which the rest was chosen."""
    return network(rate, **kwargs, input_scale=0.0)


SLOW = 3e-3
VARIANTS = {
    BASELINE: network(),
    "no members, as before": other(backbone="CategoryEmbeddingModelConfig"),
    "factors learned 3 times as fast": network(input_scale=3.0),
    "no factors of inputs": plain(),
    "no factors, 6 members, 6,000 steps": plain(steps=6_000, n_members=6),
    "no factors, learning rate 4e-3, 5,000 steps": plain(4e-3, steps=5_000),
    "no factors, learning rate 3e-3": plain(SLOW),
    "no factors, learning rate 3e-3, 8,000 steps": plain(SLOW, steps=8_000),
    "no factors, learning rate 3e-3, 4 members, 2,000 steps": plain(SLOW, steps=2_000, n_members=4),
    "no factors, learning rate 3e-3, 2,000 steps, twice the batch": plain(SLOW, steps=2_000, batches=2),
    "no factors, learning rate 3e-3, piecewise-linear embeddings alone": plain(SLOW, embedding="piecewise_linear"),
}

if __name__ == "__main__":
    main(__doc__, VARIANTS, "members.csv")
