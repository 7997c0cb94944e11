"""Test rows beside training rows, where the split is not at random: new values, missing ones, another target."""

from __future__ import annotations

from typing import Any

import numpy as np

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
        drift.add(fitted.table.X.iloc[fitted.split.test])
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
        before, now = first.table.y[first.split.train], first.table.y[first.split.test]
        target = {
            "before": np.quantile(before, [0.05, 0.5, 0.95]).tolist(),
            "now": np.quantile(now, [0.05, 0.5, 0.95]).tolist(),
            "below": float((now < before.min()).mean()),
            "above": float((now > before.max()).mean()),
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
