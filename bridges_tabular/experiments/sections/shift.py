"""Test rows beside training rows, where the split is not at random: new values, missing ones, another target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.base import FirstSplit, FittedModel, Page, Section
from bridges_tabular.regressors.drift import Drift


class Shift(Section):
    """The columns that stand out, and the target, on the first split."""

    key, title, link = "shift", "Test rows beside training rows", "Drift"
    file = File("shift.json", optional=True)

    def collect(self, fitted: FittedModel) -> list[dict[str, Any]]:
        if fitted.table.marks is None or not hasattr(fitted.model, "facts_"):
            return []
        drift = Drift(fitted.model)
        drift.add(fitted.table.X.iloc[fitted.table.counted(fitted.split.test)])
        return [
            {
                "name": str(one.name),
                "training": f"{one.low} to {one.high}" if one.low else one.kind,
                "outside": one.outside,
                "missing_now": one.missing_now,
                "missing_before": one.missing_before,
                "ratio": one.ratio if one.kind == "numbers" else None,
                "stands_out": one.stands_out,
            }
            for one in drift.columns
        ]

    def join(self, first: FirstSplit) -> list[dict[str, Any]]:
        """One entry: all models say the same of the same rows."""
        columns = next((kept for part in first.parts.values() if (kept := part.collected.get(self.file))), None)
        if columns is None:
            return []
        table = first.table
        train, test = table.counted(first.split.train), table.counted(first.split.test)
        before, now, weight = table.y[train], table.y[test], table.weight_of(test)
        target = {
            "before": _quantiles(before, table.weight_of(train)),
            "now": _quantiles(now, weight),
            "below": float(np.average(now < before.min(), weights=weight)),
            "above": float(np.average(now > before.max(), weights=weight)),
        }
        return [{"table": first.table.name, "seed": first.split.seed, "columns": columns, "target": target}]

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        found = run.collected[self.file]
        if not found:
            return None
        (one,) = found
        far = sorted(
            (column for column in one["columns"] if column["stands_out"]), key=lambda column: -column["outside"]
        )
        target = one["target"]
        return {
            "seed": one["seed"],
            "n_columns": len(one["columns"]),
            "columns": [
                column | {"ratio": "" if column["ratio"] is None else f"× {column['ratio']:.3g}"} for column in far
            ],
            "target": {key: [f"{value:,.5g}" for value in target[key]] for key in ("before", "now")},
            "outside": target["below"] + target["above"],
        }


def _quantiles(y: NDArray[np.float64], weight: NDArray[np.float64] | None) -> list[float]:
    # numpy weighs no other kind
    found: list[float] = np.quantile(y, [0.05, 0.5, 0.95], weights=weight, method="inverted_cdf").tolist()
    return found
