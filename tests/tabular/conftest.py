"""Tables small enough to train on in a moment, and the settings that make each backbone quick."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from bridges_tabular import TabularBridgeRegressor

SMALL = {
    "CategoryEmbeddingModelConfig": {"layers": "32-16"},
    "FTTransformerConfig": {"num_heads": 2, "num_attn_blocks": 1, "input_embed_dim": 8},
    "GANDALFConfig": {"gflu_stages": 2},
}


@pytest.fixture(scope="session")
def small():
    """Parameters that make a backbone small, by the name of its configuration class."""
    return SMALL


@pytest.fixture(scope="session")
def regressor():
    """Make a regressor that is quick to fit."""

    def make(**params):
        quick = {"max_epochs": 8, "n_bins": 16, "backbone_params": {"layers": "32-16"}}
        return TabularBridgeRegressor(**(quick | params))

    return make


@pytest.fixture(scope="session")
def table():
    """442 patients: nine numbers, of which one is missing here and there, a category, and a real target."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X.assign(sex=X["sex"].map({1.0: "f", 2.0: "m"}))
    X.loc[X.index % 7 == 0, "s6"] = np.nan
    return X, y.to_numpy()


@pytest.fixture(scope="session")
def frame(table):
    """The same in one DataFrame without gaps, as pytorch-tabular reads it."""
    X, y = table
    return pd.concat([X.drop(columns="s6"), pd.Series(y, name="target")], axis=1)
