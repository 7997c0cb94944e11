from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.boosting import XGBBridgeRegressor
from bridges_tabular.experiments.sections.learned import describe_encoder
from bridges_tabular.tabular import TabularBridgeRegressor


@pytest.mark.parametrize(
    "model",
    [
        XGBBridgeRegressor("soft", n_bins=8, n_estimators=5),
        TabularBridgeRegressor(scheme="end_to_end", n_bins=8, max_epochs=2),
        TabularBridgeRegressor(scheme="hard", n_bins=8, max_epochs=2),
    ],
    ids=["boosted", "end_to_end", "hard"],
)
def test_the_description_of_an_encoder_is_that_of_a_code(frame: pd.DataFrame, model: Any) -> None:
    y = frame["price"].to_numpy()
    X = frame[["size", "kind"]]
    found = describe_encoder(model.fit(X, y), X, y)
    assert found is not None
    assert sum(found["histogram"]["counts"]) == len(y)
    assert found["on"] == ("error" if isinstance(model, XGBBridgeRegressor) else "target")
    edges, centers, values, psi = (np.array(found[key]) for key in ("edges", "centers", "values", "psi"))
    assert (np.diff(edges) > 0).all()
    assert ((edges[:-1] <= centers) & (centers <= edges[1:])).all()
    assert psi.shape == (len(found["y"]), len(values))
    assert psi.sum(axis=1) == pytest.approx(np.ones(len(psi)), abs=1e-3)
    assert len(found["use"]) == len(values)
    assert sum(found["use"]) == pytest.approx(1.0, abs=1e-4)
    # what a value is decoded as grows with it
    inside = (edges[1] < found["y"]) & (found["y"] < edges[-2])
    assert np.corrcoef((psi @ values)[inside], np.array(found["y"])[inside])[0, 1] > 0.9


@pytest.mark.parametrize("scheme", ["hard", "end_to_end"])
def test_the_use_of_the_training_rows_is_that_of_the_model(frame: pd.DataFrame, scheme: str) -> None:
    X, y = frame[["size", "kind"]], frame["price"].to_numpy()
    model = TabularBridgeRegressor(scheme=scheme, n_bins=8, max_epochs=2).fit(X[:80], y[:80], eval_set=(X[80:], y[80:]))
    found = describe_encoder(model, X[:80], y[:80])
    assert found is not None
    assert found["use"] == pytest.approx(model.encoder_frame()["use"].tolist(), abs=1e-5)
    # that of other rows is another
    other = describe_encoder(model, X[:20], y[:20])
    assert other is not None
    assert other["use"] != pytest.approx(found["use"], abs=0.01)


def test_the_use_of_the_classes_is_by_weight(frame: pd.DataFrame) -> None:
    X, y = frame[["size", "kind"]], frame["price"].to_numpy()
    model = XGBBridgeRegressor("soft", n_bins=8, n_estimators=5, location="none").fit(X, y)
    weight = np.arange(len(y)) % 4 + 1
    weighted = describe_encoder(model, X, y, weight.astype(float))
    repeated = describe_encoder(model, X.loc[X.index.repeat(weight)], y.repeat(weight))
    assert weighted is not None
    assert repeated is not None
    assert weighted["use"] == pytest.approx(repeated["use"], abs=2e-6)


def test_points_have_no_encoder(frame: pd.DataFrame) -> None:
    y = frame["price"].to_numpy()
    for model in (
        XGBBridgeRegressor("least_squares", n_estimators=3),
        TabularBridgeRegressor(scheme="least_squares", max_epochs=1),
        TabularBridgeRegressor(scheme="softmax_least_squares", max_epochs=1),
    ):
        assert describe_encoder(model.fit(frame[["size", "kind"]], y), frame[["size", "kind"]], y) is None
