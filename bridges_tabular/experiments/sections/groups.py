"""Group by group: the scores of groups that no model was trained on, where the split is by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.in_time import marked, weighted_means

_MOST_GROUPS = 20
# the coverage of fewer rows is mostly chance
_ENOUGH_ROWS = 20


class Groups(Section):
    """A row for each group, the worst first."""

    key, title, link = "groups", "Group by group", "Groups"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        rows = marked(run, "group")
        if rows is None:
            return None
        models = [name for name in run.summary["model"] if name in set(rows["model"])]
        sizes = rows.groupby("mark")["row"].nunique().sort_values(ascending=False, kind="stable")
        shown = sizes.index[:_MOST_GROUPS]
        means = weighted_means(rows, [rows["mark"], rows["model"]])
        loss, inside = (means[column].unstack("model").loc[shown, models] for column in ("loss", "inside"))
        order = loss.mean(axis="columns").sort_values(ascending=False, kind="stable").index
        cells = zip(loss.loc[order].to_numpy(), inside.loc[order].to_numpy(), strict=True)
        return {
            "column": run.table["by"]["column"],
            "models": models,
            "n_groups": len(sizes),
            "rows": [
                {
                    "group": group,
                    "n": int(sizes[group]),
                    "cells": [
                        {"loss": f"{mean:,.4g}", "coverage": "" if np.isnan(share) else f"{share:.2f}"}
                        for mean, share in zip(losses, shares, strict=True)
                    ],
                }
                for group, (losses, shares) in zip(order, cells, strict=True)
            ],
            "spread": _spread(rows, models),
            "enough": _ENOUGH_ROWS,
        }


def _spread(rows: pd.DataFrame, models: list[str]) -> list[dict[str, str]]:
    """Least and greatest coverage over the groups of many rows, by model."""
    known = rows.dropna(subset="inside")
    keys = [known["model"], known["mark"]]
    found = weighted_means(known, keys)["inside"][known.groupby(keys, sort=False).size() >= _ENOUGH_ROWS]
    with_any = set(found.index.get_level_values("model"))
    return [
        {"model": name, "low": f"{found[name].min():.2f}", "high": f"{found[name].max():.2f}"}
        for name in models
        if name in with_any
    ]
