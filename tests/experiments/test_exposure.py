"""A column of exposures in an experiment: fits learn rates, scores and predictions are of totals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error

import bridges_tabular as bt
from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.experiments import ExperimentError, compare, train
from bridges_tabular.experiments.blocks import SplitBlock, StudyBlock, TableBlock
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.prediction import Wanted, predict_table
from bridges_tabular.experiments.splits import make_splits
from bridges_tabular.experiments.studies.objective import make_parts
from bridges_tabular.experiments.tables import load_table

SMALL: dict[str, Any] = {"n_bins": 8, "n_estimators": 6, "n_jobs": 1, "location": "none"}


@pytest.fixture
def policies(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    x, years = rng.normal(size=(140, 2)), rng.uniform(0.2, 3.0, 140)
    frame = pd.DataFrame(x, columns=["age", "power"]).assign(years=years, loss=years * np.exp(x[:, 0]))
    frame.to_csv(tmp_path / "policies.csv", index=False)
    return str(tmp_path / "policies.csv")


@pytest.fixture
def content(policies: str) -> dict[str, Any]:
    table = {"source": policies, "target": "loss", "exposure": "years"}
    return {"table": table, "models": {"bins": {"engine": "xgboost", "scheme": "soft", **SMALL}}}


def test_models_learn_rates_and_scores_are_of_totals(content: dict[str, Any], policies: str, tmp_path: Path) -> None:
    comparison = compare(content, out=tmp_path / "run", quiet=True)
    frame = pd.read_csv(policies)
    table = load_table(TableBlock(policies, "loss", exposure="years"))
    assert list(table.X) == ["age", "power"]
    split = make_splits(table, SplitBlock())[0]
    parts = {name: frame.iloc[rows] for name, rows in split.parts().items()}
    X, y, years = ({name: part[cols] for name, part in parts.items()} for cols in (["age", "power"], "loss", "years"))
    model = XGBBridgeRegressor("soft", **SMALL)
    held_out = (X["validation"], y["validation"])
    model.fit(X["train"], y["train"], eval_set=held_out, exposure=years["train"], exposure_val=years["validation"])
    found = comparison.results.iloc[0]
    assert found["mae"] == pytest.approx(mean_absolute_error(y["test"], model.predict(X["test"], years["test"])))
    totals = model.predict_distribution(X["test"], exposure=years["test"])
    assert found["crps"] == pytest.approx(totals.crps(y["test"]).mean())
    np.testing.assert_allclose(comparison.predictions["y_true"], y["test"])
    np.testing.assert_allclose(comparison.predictions["q50"], totals.quantile(0.5))
    assert set(comparison.importances["feature"]) == {"age", "power"}


def test_a_study_sees_it(content: dict[str, Any]) -> None:
    table = load_table(Experiment.read(content).table)
    split = make_splits(table, SplitBlock())[0]
    for folds in (1, 2):
        for part in make_parts(table, split, StudyBlock("bins", folds=folds)):
            assert len(part.beside["exposure"]) == len(part.train.y)
            np.testing.assert_array_equal(part.beside["exposure_val"], part.held_out.exposure)
            assert part.scored.exposure is not None


def test_predictions_are_totals_where_the_table_has_the_column(
    content: dict[str, Any], policies: str, tmp_path: Path
) -> None:
    train(Experiment.read(content), "bins", out=tmp_path / "m", quiet=True)
    model, frame = bt.load(tmp_path / "m"), pd.read_csv(policies)
    X, years = frame[["age", "power"]], frame["years"].to_numpy()
    wanted = Wanted(coverage=0.8, above=(1.0,), keep=("years",))
    predict_table(tmp_path / "m", policies, tmp_path / "totals.csv", wanted)
    found = pd.read_csv(tmp_path / "totals.csv")
    np.testing.assert_allclose(found["y_pred"], model.predict(X, exposure=years))
    np.testing.assert_allclose(found[["lower_80", "upper_80"]], model.predict_interval(X, 0.8, exposure=years))
    np.testing.assert_allclose(found["q95"], model.predict_quantiles(X, 0.95, exposure=years)[:, 0])
    np.testing.assert_allclose(found["p_above_1"], model.predict_distribution(X, exposure=years).sf(1.0), atol=1e-12)
    np.testing.assert_allclose(found["years"], years)
    X.to_csv(tmp_path / "new.csv", index=False)
    predict_table(tmp_path / "m", str(tmp_path / "new.csv"), tmp_path / "rates.csv")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "rates.csv")["y_pred"], model.predict(X))
    frame.assign(years=np.where(frame.index == 5, -1.0, years)).to_csv(tmp_path / "odd.csv", index=False)
    with pytest.raises(ExperimentError, match=r"odd.csv: column 'years' holds -1.0 in row 5, and an"):
        predict_table(tmp_path / "m", str(tmp_path / "odd.csv"), tmp_path / "odd-out.csv")
    assert not (tmp_path / "odd-out.csv").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"exposure": "year"}, "table.exposure: .* has no column 'year', did you mean 'years'"),
        ({"exposure": "loss"}, "table.exposure: is the target, 'loss'"),
        ({"exposure": "years", "weight": "years"}, "table.exposure: is the weight, 'years'"),
        (
            {"exposure": "power"},
            "table.exposure: column 'power' of .* holds -.* and an exposure has to be",
        ),
    ],
)
def test_columns_that_cannot_be_are_one_line(table: dict[str, Any], message: str, content: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=message) as caught:
        compare({**content, "table": content["table"] | table}, quiet=True)
    assert "\n" not in str(caught.value)
