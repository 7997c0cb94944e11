"""Which features matter: permutation importances on test rows, and their plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.core import scores
from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.base import FittedModel, Page, Section
from bridges_tabular.experiments.sections.drawing import (
    Figure,
    Look,
    axis,
    by_model,
    digits,
    of_model,
    plot_text,
    short_text,
)

_REPEATS = 3
# one table of permuted rows is predicted for each feature: fewer rows where there are many features
_PERMUTED_ROWS = 20_000
_FEWEST_ROWS, _MOST_ROWS = 200, 1_000
_MAX_FEATURES = 12


class Features(Section):
    """How much worse each model gets without a feature."""

    key, title, link = "features", "Which features matter", "Features"
    file = File("importance.csv", ("table", "model", "seed", "feature", "increase", "deviation"))

    def collect(self, fitted: FittedModel) -> pd.DataFrame:
        table, split = fitted.table, fitted.split
        rows = table.counted(split.test)
        exposure, weight = table.exposure_of(rows), table.weight_of(rows)
        found = permutation_importance(fitted.model, table.X.iloc[rows], table.y[rows], split.seed, exposure, weight)
        return found.assign(table=table.name, model=fitted.name, seed=split.seed)[list(self.file.columns)]

    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        if run.collected[self.file].empty:
            return None
        figure = importance_figure(run.collected[self.file], run.table["target"], page.look)
        return {"figure": page.add(figure, "Permutation importances of the features")}


def permutation_importance(
    model: Any,
    X: pd.DataFrame,
    y: NDArray[np.float64],
    seed: int,
    exposure: NDArray[np.float64] | None = None,
    weight: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """How much the RMSE grows when one feature is shuffled over the rows [1]_.

    Parameters
    ----------
    model : Regressor
    X, y : DataFrame of shape (n, p), array of shape (n,)
        Rows that the model was not fitted on; a seeded sample of at most 1,000 of them is used.
    seed : int
    exposure : array of shape (n,), optional
        Of the rows, over which the targets are totals.
    weight : array of shape (n,), optional
        Of the rows, above 0.

    Returns
    -------
    DataFrame
        A line for each feature: feature, increase (mean over three shuffles, in units of the target) and
        deviation (between the shuffles).

    References
    ----------
    .. [1] Breiman, L. "Random forests." Machine Learning 45 (2001).
    """
    random = np.random.default_rng(seed)
    n = min(len(y), int(np.clip(_PERMUTED_ROWS // X.shape[1], _FEWEST_ROWS, _MOST_ROWS)))
    kept = np.sort(random.choice(len(y), n, replace=False))
    X, y = X.iloc[kept], y[kept]
    length = np.ones(n) if exposure is None else exposure[kept]
    weight = None if weight is None else weight[kept]
    whole = scores.rmse(y, model.predict(X) * length, weight)
    repeated = X.iloc[np.tile(np.arange(n), _REPEATS)].reset_index(drop=True)
    orders = np.concatenate([random.permutation(n) + i * n for i in range(_REPEATS)])
    lines = []
    for position, feature in enumerate(X.columns):
        shuffled = repeated.copy(deep=False)
        shuffled.isetitem(position, repeated.iloc[orders, position].array)
        errors = [scores.rmse(y, part * length, weight) for part in np.split(model.predict(shuffled), _REPEATS)]
        lines.append({"feature": str(feature), "increase": np.mean(errors) - whole, "deviation": np.std(errors)})
    return pd.DataFrame(lines)


def importance_figure(importances: pd.DataFrame, target: str, look: Mapping[str, Look]) -> Figure:
    """Permutation importances of the features that matter most to the models, the first on top."""
    order = importances.groupby("feature", sort=False)["increase"].mean().sort_values(ascending=False, kind="stable")
    features = list(order.index[:_MAX_FEATURES])
    labels = [short_text(feature) for feature in features]
    traces = []
    for name, rows in by_model(importances):
        values = rows.set_index("feature").loc[features]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                # numbers, as two features may look alike once they are cut short
                "y": list(range(len(features))),
                "x": digits(values["increase"]),
                "text": [plot_text(feature) for feature in features],
                "error_x": {"array": digits(values["deviation"]), "thickness": 1, "width": 0},
                "marker": {"size": 10, "color": look[name].color, "symbol": look[name].symbol, "opacity": 0.85},
                "hovertemplate": "%{text}<br>RMSE + %{x}<extra>%{fullData.name}</extra>",
            }
            | of_model(name, look[name])
        )
    return {
        "data": traces,
        "layout": {
            "xaxis": axis(f"increase of the RMSE, in units of {target}", rangemode="tozero", nticks=6),
            "yaxis": {
                "tickvals": list(range(len(features))),
                "ticktext": labels,
                "range": [len(features) - 0.5, -0.5],
            },
        },
        "height": 120 + 28 * len(features),
    }
