"""What the pools are made of: the weight of each member."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.base import FittedModel, Page, Section


class Pools(Section):
    """A row for each member of each pool, on the first split."""

    key, title, link = "pools", "What the pools are made of", "Pools"
    file = File("pools.json", optional=True)

    def collect(self, fitted: FittedModel) -> list[dict[str, Any]]:
        model: Any = fitted.model
        if not hasattr(model, "named_estimators_"):
            return []
        weights = np.asarray(model.weights_, dtype=float).ravel()
        key = {"table": fitted.table.name, "model": fitted.name, "seed": fitted.split.seed}
        return [
            key
            | {
                "members": dict(zip(model.named_estimators_, weights.tolist(), strict=True)),
                "power": float(np.ravel(model.power_)[0]),
                "winner": getattr(model, "winner_", None),
                "scores": getattr(model, "scores_", None),
            }
        ]

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        found = run.collected[self.file]
        return {"pools": [_show(one) for one in found]} if found else None


def _show(pool: dict[str, Any]) -> dict[str, Any]:
    scores = pool["scores"] or {}
    power = pool["power"]
    return {
        "model": pool["model"],
        "winner": pool["winner"],
        "scores": [{"name": name, "score": f"{score:,.5g}"} for name, score in sorted(scores.items(), key=_by_score)],
        "members": [{"name": name, "weight": weight} for name, weight in pool["members"].items()],
        "width": "as wide as it is" if power == 1 else f"made {'narrower' if power > 1 else 'wider'}",
        "power": f"{power:.3g}",
    }


def _by_score(item: tuple[str, float]) -> float:
    return item[1]
