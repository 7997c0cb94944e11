"""Predictive distributions of a few test rows: chosen, kept as plain values, and read back for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridges_tabular.core.distribution import BinnedDistribution

if TYPE_CHECKING:
    from bridges_tabular.experiments.models import Regressor
    from bridges_tabular.experiments.tables import Split, Table

# how many rows of each kind; the report explains the kinds
KINDS = {"random": 3, "worst": 3, "best": 3}


def choose_examples(table: Table, split: Split, predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Choose test rows: those that the models predicted worst and best on average, and some at random.

    Parameters
    ----------
    table, split : Table, Split
    predictions : DataFrame
        Of every model for the test rows of the split, as in predictions.csv. Rows are ranked by the mean CRPS of
        the models with a distribution, or by the mean absolute error where there is none.

    Returns
    -------
    list of dict
        For :func:`add_model` to complete; values that JSON can hold.
    """
    loss = predictions["crps"]
    if loss.isna().all():
        loss = (predictions["y_pred"] - predictions["y_true"]).abs()
    loss_of_row = loss.groupby(predictions["row"]).mean()
    ranked = np.searchsorted(table.rows[split.test], loss_of_row.sort_values(kind="stable").index)
    n = len(ranked)
    shuffled = np.random.default_rng(split.seed).permutation(n)
    wanted = {"worst": ranked[::-1][: KINDS["worst"]], "best": ranked[: KINDS["best"]], "random": shuffled}
    taken: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for kind, positions in wanted.items():
        chosen[kind] = [int(p) for p in positions if p not in taken][: KINDS[kind]]
        taken |= set(chosen[kind])
    return [
        {
            "table": table.name,
            "seed": split.seed,
            "kind": kind,
            "row": int(table.rows[split.test[position]]),
            "position": position,
            "y_true": float(table.y[split.test[position]]),
            "models": {},
        }
        for kind in KINDS
        for position in chosen[kind]
    ]


def add_model(examples: list[dict[str, Any]], name: str, model: Regressor, X_test: pd.DataFrame) -> None:
    """Add what a fitted model says of each example."""
    X = X_test.iloc[[example["position"] for example in examples]]
    points = model.predict(X)
    distribution = model.predict_distribution(X) if hasattr(model, "predict_distribution") else None
    for i, (example, point) in enumerate(zip(examples, points, strict=True)):
        cells = None if distribution is None else _cells(distribution[i])
        example["models"][name] = {"y_pred": float(point), "distribution": cells}


def read_distribution(description: dict[str, Any]) -> BinnedDistribution | None:
    """Rebuild the distribution in one model's entry of an example; None for a point prediction."""
    cells = description["distribution"]
    if cells is None:
        return None
    tails = {key: [cells[key]] for key in ("tail_masses", "tail_scales") if key in cells}
    return BinnedDistribution(cells["edges"], [cells["masses"]], **tails)


def _cells(row: BinnedDistribution) -> dict[str, list[float]]:
    cells = {"edges": np.ravel(row.edges).tolist(), "masses": row.masses[0].tolist()}
    if row.tail_masses.any():
        cells |= {"tail_masses": row.tail_masses[0].tolist(), "tail_scales": row.tail_scales[0].tolist()}
    return cells
