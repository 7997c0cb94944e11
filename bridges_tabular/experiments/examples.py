"""Predictive distributions of a few test rows: chosen, kept as plain values, and read back for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bridges_tabular.core.distribution import BinnedDistribution

if TYPE_CHECKING:
    from bridges_tabular.experiments.tables import Split, Table
    from bridges_tabular.experiments.training import Fitted

_N_EXAMPLES = 6


def choose_examples(table: Table, split: Split) -> list[dict[str, Any]]:
    """Choose test rows spread evenly over the sorted targets, the same whatever the models predict.

    Returns
    -------
    list of dict
        For :func:`add_model` to complete; values that JSON can hold.
    """
    order = np.argsort(table.y[split.test], kind="stable")
    n = min(_N_EXAMPLES, len(order))
    positions = order[((np.arange(n) + 0.5) / n * len(order)).astype(int)]
    return [
        {
            "table": table.name,
            "seed": split.seed,
            "row": int(table.rows[split.test[position]]),
            "position": int(position),
            "y_true": float(table.y[split.test[position]]),
            "models": {},
        }
        for position in positions
    ]


def add_model(examples: list[dict[str, Any]], name: str, fitted: Fitted) -> None:
    """Add what a model fitted on the examples' split says of each."""
    for example in examples:
        example["models"][name] = _describe(fitted, example["position"])


def read_distribution(description: dict[str, Any]) -> BinnedDistribution | None:
    """Rebuild the distribution in one model's entry of an example; None for a point prediction."""
    cells = description["distribution"]
    if cells is None:
        return None
    tails = {key: cells[key] for key in ("tail_masses", "tail_scales") if key in cells}
    return BinnedDistribution(cells["edges"], [cells["masses"]], **tails)


def _describe(fitted: Fitted, position: int) -> dict[str, Any]:
    prediction = float(fitted.predictions["y_pred"].iloc[position])
    if fitted.distribution is None:
        return {"y_pred": prediction, "distribution": None}
    row = fitted.distribution[position]
    cells = {"edges": np.ravel(row.edges).tolist(), "masses": row.masses[0].tolist()}
    if row.tail_masses.any():
        cells |= {"tail_masses": row.tail_masses[0].tolist(), "tail_scales": row.tail_scales[0].tolist()}
    return {"y_pred": prediction, "distribution": cells}
