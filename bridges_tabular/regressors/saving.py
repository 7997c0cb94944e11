"""A fitted regressor in a folder: what of it is saved, and how it is put together again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.card import write_card
from bridges_tabular.regressors.engine import entry
from bridges_tabular.regressors.forecast import CalibratedForecast
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import TableEncoder

if TYPE_CHECKING:
    from bridges_tabular.regressors.base import BridgeRegressor

Regressor = TypeVar("Regressor", bound="BridgeRegressor")


def write(model: BridgeRegressor, folder: Path) -> None:
    """Write state, arrays and card of a fitted regressor."""
    own, arrays = model._trained.state()
    state = {
        "params": model._fitted_params,
        "columns": model._columns.to_dict(),
        "named": hasattr(model, "feature_names_in_"),
        "single": model._single,
        "facts": model.facts_,
        "engine": own,
    }
    named = {f"engine.{name}": array for name, array in arrays.items()}
    named |= {f"scale.{name}": array for name, array in model.scale_.arrays().items()}
    for index, one in enumerate(model._calibrated):
        named |= {f"calibration.{index}.{name}": array for name, array in one.arrays().items()}
    artifacts.write_state(folder, state)
    artifacts.write_arrays(folder, named)
    write_card(folder, model, artifacts.header(model), [one.validation_scores() for one in model._calibrated])


def read(kind: type[Regressor], saved: artifacts.Saved, trusted: Collection[str]) -> Regressor:
    """Rebuild what :func:`write` wrote, see :meth:`BridgeRegressor.load`."""
    from bridges_tabular.regressors.base import BridgeRegressor

    with saved.opened() as (state, arrays):
        model = kind(**entry(state, "params", dict))
        # whether there is such a device does not matter here
        BridgeRegressor.check_params(model)
        model._columns = TableEncoder.from_dict(entry(state, "columns", dict))
        model.n_features_in_ = model._columns.n_features_in_
        if entry(state, "named", bool):
            model.feature_names_in_ = np.asarray(model._columns.feature_names_in_, dtype=object)
        model._single, model.facts_ = entry(state, "single", bool), entry(state, "facts", dict)
        model.scale_ = TargetScale.from_arrays(arrays.part("scale."), *model._units())
        engine = model._engine(model._columns, Prepared())
        model._trained = engine.restore(entry(state, "engine", dict), arrays.part("engine."), trusted)
        model._calibrated = [
            CalibratedForecast.from_arrays(model.scale_, index, code, arrays.part(f"calibration.{index}."))
            for index, code in enumerate(model._trained.codes)
        ]
        if len(model._calibrated) != len(model.scale_.mean) or (model._single and len(model._calibrated) != 1):
            raise arrays.error("scale.mean", f"is of {len(model.scale_.mean)} targets, not {len(model._calibrated)}")
        return model._remember()
