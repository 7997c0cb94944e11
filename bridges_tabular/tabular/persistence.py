"""Saved regressors: JSON for what is small, safetensors for weights and calibration."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from bridges_tabular._artifacts import new_artifact, read_arrays, read_state, write_arrays, write_state
from bridges_tabular.tabular.config import plain
from bridges_tabular.tabular.configuring import quiet, seeded
from bridges_tabular.tabular.features import FeatureTensors
from bridges_tabular.tabular.forecasts import TargetForecasts
from bridges_tabular.tabular.model import BridgeModel

if TYPE_CHECKING:
    from bridges_tabular.tabular.regressor import TabularBridgeRegressor

_Regressor = TypeVar("_Regressor", bound="TabularBridgeRegressor")

_WEIGHTS_FILE = "weights.safetensors"


def save(regressor: TabularBridgeRegressor, directory: str | Path) -> None:
    """Save a fitted regressor."""
    params = {**regressor.get_params(deep=False), "random_state": None}
    if isinstance(regressor.random_state, Integral):
        params["random_state"] = int(regressor.random_state)
    state = {
        "params": params,
        "features": regressor.features_.to_dict(),
        "named": hasattr(regressor, "feature_names_in_"),
        "single": regressor._single,
        "best_epoch": regressor.best_epoch_,
        "config": plain(regressor.model_.hparams),
        "inferred_config": plain(regressor.model_.kwargs["inferred_config"]),
    }
    with new_artifact(directory) as folder:
        write_state(folder, regressor, state)
        # some backbones share a tensor between modules, or keep one transposed: each is written on its own
        weights = {name: tensor.contiguous().clone() for name, tensor in regressor.model_.state_dict().items()}
        save_file(weights, folder / _WEIGHTS_FILE)
        use = {f"use.{index}": array for index, array in enumerate(regressor.class_use_)}
        write_arrays(folder, regressor.forecasts_.arrays() | use)


def load(kind: type[_Regressor], directory: str | Path) -> _Regressor:
    """Load a saved regressor."""
    state = read_state(directory, kind.__name__)
    regressor = kind(**state["params"])
    regressor.features_ = FeatureTensors.from_dict(state["features"])
    names = regressor.features_.columns
    regressor.n_features_in_ = len(names)
    if state["named"]:
        regressor.feature_names_in_ = np.asarray(names, dtype=object)
    regressor.best_epoch_ = state["best_epoch"]
    regressor._single = state["single"]
    weights = Path(directory) / _WEIGHTS_FILE
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} does not exist: the saved model is incomplete")
    with seeded(0), quiet():
        model = BridgeModel(
            OmegaConf.create(state["config"]), inferred_config=OmegaConf.create(state["inferred_config"])
        )
    model.load_state_dict(load_file(weights))
    regressor.model_ = model.eval()
    regressor.n_outputs_ = model.hparams.output_dim
    arrays = read_arrays(directory)
    regressor.forecasts_ = TargetForecasts.from_arrays(model, regressor.calibration, arrays)
    regressor.class_use_ = [arrays[f"use.{index}"] for index in range(len(model.codecs))]
    return regressor
