"""A fit past memory: features of a stream's rows in a file, handed to the same stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridges_tabular.boosting.location import Sample
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.stored import StoredValues
from bridges_tabular.regressors.streamed import Divided, Division
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from bridges_tabular.boosting.regressor import XGBBridgeRegressor
    from bridges_tabular.regressors.engine import Trained


def check(model: XGBBridgeRegressor) -> None:
    """Refuse what needs the table in memory."""
    if not isinstance(model.location, str):
        raise ValueError(
            f"location={shown(model.location)}: a fit past memory takes 'cross_fitted' and 'none', regressors of others"
            " need the table in memory"
        )
    if model.tree_method in ("approx", "exact"):
        raise ValueError(f"tree_method={model.tree_method!r} needs the table in memory; past it there is 'hist'")


def train(model: XGBBridgeRegressor, rows: Divided, seed: int, report: Report) -> Trained:
    """Write features to files, and boost on matrices that XGBoost quantises block by block."""
    engine = model._engine(model._columns, Prepared()).make(0, {})
    engine.features.fit(rows.train.digest.frame())
    training, validation = rows.all_stored(engine.features.values, len(engine.features.is_category))
    watched = None
    if validation is not None and rows.validation is not None:
        watched = _sample(model.scale_, rows.validation, validation)
    return engine.boost(_sample(model.scale_, rows.train, training), watched, seed, report)


def _sample(scale: TargetScale, division: Division, values: StoredValues) -> Sample:
    rows = division.rows()
    return Sample(rows.X, values, scale.standardise(rows.y)[:, 0], rows.weight)
