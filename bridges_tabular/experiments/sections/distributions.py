"""Predictive distributions of a few test rows: chosen, kept as plain values, read back and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.experiments.parts import Cells, Part
from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.base import FirstSplit, Page, Section
from bridges_tabular.experiments.sections.drawing import INK, Figure, Look, axis, digits, line, of_model
from bridges_tabular.experiments.splits import Split
from bridges_tabular.experiments.tables import Table

# how many rows of each kind
_ROWS = 3
_CANDIDATES = 20_000
_KINDS = {
    "random": ("Random rows", "Drawn at random from the test rows."),
    "worst": ("Worst rows", "The test rows that the models predicted worst on average{}."),
    "best": ("Best rows", "The test rows that the models predicted best on average{}."),
}
_GRID_CELLS = 64


class Distributions(Section):
    """Densities of single rows."""

    key, title, link = "distributions", "Predictive distributions", "Distributions"
    file = File("examples.json")

    def join(self, first: FirstSplit) -> list[dict[str, Any]]:
        positions = candidates(first.table, first.split)
        examples = choose_examples(first.table, first.split, positions, first.parts)
        for name, part in first.parts.items():
            add_model(examples, name, part, positions)
        return examples

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        examples, target = run.collected[self.file], run.table["target"]
        if not examples:
            return None
        n = run.scored.loc[run.scored["seed"] == examples[0]["seed"], "row"].nunique()
        drawn = f", of {_CANDIDATES:,} drawn at random" if n > _CANDIDATES else ""
        groups = []
        for kind, (title, note) in _KINDS.items():
            figures = [
                page.add(
                    example_figure(example, page.look, target),
                    f"Predictive distributions of row {example['row']}",
                    f"row {example['row']}",
                    truth=f"{example['y_true']:,.6g}",
                )
                for example in examples
                if example["kind"] == kind
            ]
            if figures:
                groups.append({"title": title, "note": note.format(drawn), "figures": figures})
        said = examples[0]["models"].values()
        return {"groups": groups, "has_points": any(one["distribution"] is None for one in said)}


def candidates(table: Table, split: Split) -> NDArray[np.int64]:
    """Positions among a split's test rows of those that examples are chosen from: all that count, or a seeded draw.

    The distributions of so many rows are kept until all models are fitted.
    """
    positions = np.searchsorted(split.test, table.counted(split.test))
    if len(positions) <= _CANDIDATES:
        return positions
    return np.sort(np.random.default_rng(split.seed).choice(positions, _CANDIDATES, replace=False))


def choose_examples(
    table: Table, split: Split, positions: NDArray[np.int64], parts: Mapping[str, Part]
) -> list[dict[str, Any]]:
    """Choose test rows: those that the models predicted worst and best on average, and some at random.

    Parameters
    ----------
    table, split : Table, Split
    positions : array of shape (m,)
        Of the candidates among the test rows.
    parts : dict of Part
        By models, with their predictions. Rows are ranked by the mean CRPS of the models with a distribution, or by
        the mean absolute error where there is none.

    Returns
    -------
    list of dict
        For :func:`add_model` to complete; values that JSON can hold.
    """
    if not parts:
        return []
    predictions = pd.concat([part.predictions.iloc[positions] for part in parts.values()], ignore_index=True)
    loss = predictions["crps"]
    if loss.isna().all():
        loss = (predictions["y_pred"] - predictions["y_true"]).abs()
    loss_of_row = loss.groupby(predictions["row"]).mean()
    ranked = np.searchsorted(table.rows[split.test], loss_of_row.sort_values(kind="stable").index)
    shuffled = np.random.default_rng(split.seed).permutation(positions)
    wanted = {"worst": ranked[::-1][:_ROWS], "best": ranked[:_ROWS], "random": shuffled}
    taken: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for kind, found in wanted.items():
        chosen[kind] = [int(p) for p in found if p not in taken][:_ROWS]
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
        for kind in _KINDS
        for position in chosen[kind]
    ]


def add_model(examples: list[dict[str, Any]], name: str, part: Part, positions: NDArray[np.int64]) -> None:
    """Add what a model says of each example; ``positions`` are those of the rows of ``part.cells``."""
    points = part.predictions["y_pred"].to_numpy()
    for example in examples:
        at = int(np.searchsorted(positions, example["position"]))
        cells = None if part.cells is None else _as_lists(part.cells, at)
        example["models"][name] = {"y_pred": float(points[example["position"]]), "distribution": cells}


def read_distribution(description: dict[str, Any]) -> BinnedDistribution | None:
    """Rebuild the distribution in one model's entry of an example; None for a point prediction."""
    cells = description["distribution"]
    if cells is None:
        return None
    tails = {key: [cells[key]] for key in ("tail_masses", "tail_scales") if key in cells}
    return BinnedDistribution(cells["edges"], [cells["masses"]], **tails)


def _as_lists(cells: Cells, at: int) -> dict[str, list[float]]:
    edges = cells.edges if cells.edges.ndim == 1 else cells.edges[at]
    lists = {"edges": edges.tolist(), "masses": cells.masses[at].tolist()}
    if cells.tail_masses[at].any():
        lists |= {"tail_masses": cells.tail_masses[at].tolist(), "tail_scales": cells.tail_scales[at].tolist()}
    return lists


def example_figure(example: dict[str, Any], look: Mapping[str, Look], target: str) -> Figure:
    """Densities of one row, as the probability of each of the same small steps, atoms and tails included."""
    distributions = {name: read_distribution(said) for name, said in example["models"].items()}
    points = {name: said["y_pred"] for name, said in example["models"].items()}
    ends = [d.quantile([0.01, 0.99])[0] for d in distributions.values() if d is not None]
    grid = _grid(np.array([example["y_true"], *points.values()]), ends)
    steps = np.diff(grid)
    densities = {name: np.diff(d.cdf(grid[None, :])[0]) / steps for name, d in distributions.items() if d is not None}
    top = 1.08 * max((float(density.max()) for density in densities.values()), default=1.0)
    value = {"hovertemplate": "%{x}<extra>%{fullData.name}</extra>"}
    traces: list[Figure] = [
        line(grid, [*density, density[-1]], look[name].color, dash=look[name].dash, width=1.6, shape="hv")
        | {"fill": "tozeroy", "fillcolor": look[name].color + "20"}
        | value
        | of_model(name, look[name])
        for name, density in densities.items()
    ]
    traces += [
        line([points[name]] * 2, [0, top], look[name].color, width=2, dash="dash") | value | of_model(name, look[name])
        for name, distribution in distributions.items()
        if distribution is None
    ]
    traces.append(line([example["y_true"]] * 2, [0, top], INK, width=2.5, name="truth") | value)
    return {
        "data": traces,
        "layout": {
            "xaxis": axis(target, nticks=5, range=digits(grid[[0, -1]])),
            "yaxis": {"showticklabels": False, "showgrid": False, "range": [0, top]},
        },
    }


def _grid(inside: NDArray[np.float64], ends: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.concatenate([inside, *ends])
    low, high = values.min(), values.max()
    margin = 0.03 * (high - low) or 0.5 * max(abs(high), 1.0)
    return np.linspace(low - margin, high + margin, _GRID_CELLS + 1)
