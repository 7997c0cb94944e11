"""Group by group: the scores of groups that no model was trained on, where the split is by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections.base import Page, Section
from bridges_tabular.experiments.sections.in_time import marked

_MOST_GROUPS = 20


class Groups(Section):
    """A row for each group, the worst first."""

    key, title, link = "groups", "Group by group", "Groups"

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        rows = marked(run, "group")
        if rows is None:
            return None
        rows = rows.assign(mark=rows["mark"].astype(str))
        models = [name for name in run.summary["model"] if name in set(rows["model"])]
        sizes = rows.groupby("mark")["row"].nunique().sort_values(ascending=False, kind="stable")
        shown = sizes.index[:_MOST_GROUPS]
        found = rows[rows["mark"].isin(shown)].groupby(["mark", "model"])
        loss, inside = (found[column].mean().unstack("model").loc[shown, models] for column in ("loss", "inside"))
        order = loss.mean(axis="columns").sort_values(ascending=False, kind="stable").index
        return {
            "column": run.table["by"]["column"],
            "models": models,
            "n_groups": len(sizes),
            "rows": [
                {
                    "group": group,
                    "n": int(sizes[group]),
                    "cells": [
                        {"loss": f"{loss.at[group, name]:,.4g}", "coverage": _share(inside.at[group, name])}
                        for name in models
                    ],
                }
                for group in order
            ],
            "spread": _spread(rows, models),
        }


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _spread(rows: pd.DataFrame, models: list[str]) -> list[dict[str, str]]:
    """Least and greatest coverage over the groups of many rows, by model."""
    found = rows.dropna(subset="inside").groupby(["model", "mark"])["inside"].agg(["mean", "size"])
    found = found[found["size"] >= 20]["mean"]
    with_any = set(found.index.get_level_values("model"))
    return [
        {"model": name, "low": f"{found[name].min():.2f}", "high": f"{found[name].max():.2f}"}
        for name in models
        if name in with_any
    ]
