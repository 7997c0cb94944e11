"""Models that are made of others in an experiment file: members are taken as they are fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular as bt
from bridges_tabular.experiments import BridgeStudy, compare
from bridges_tabular.experiments import job as job_module
from bridges_tabular.experiments import training as training_module
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.training import fit_and_score, train

SMALL: dict[str, Any] = {"engine": "xgboost", "n_estimators": 8, "n_bins": 8, "n_jobs": 1, "location": "none"}
MODELS: dict[str, Any] = {
    "soft": SMALL | {"scheme": "soft"},
    "hard": SMALL | {"scheme": "hard"},
    "both": {"engine": "pool", "members": ["soft", "hard"]},
    "auto": {"engine": "auto", "members": ["hard", "both"], "metric": "rmse"},
}
TABLE = {"source": "diamonds", "target": "price", "rows": 300}
FILE: dict[str, Any] = {"table": TABLE, "split": {"seeds": [0, 1]}, "models": MODELS}
ONE_SPLIT = FILE | {"split": {"seeds": [0]}}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that are fitted, in their order."""
    names: list[str] = []

    def counted(table: Any, split: Any, name: str, *others: Any) -> Any:
        names.append(name)
        return fit_and_score(table, split, name, *others)

    for module in (job_module, training_module):
        monkeypatch.setattr(module, "fit_and_score", counted)
    return names


def test_nothing_is_fitted_twice(fits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    inner = bt.XGBBridgeRegressor.fit

    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        trained.append(self.scheme)
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(bt.XGBBridgeRegressor, "fit", fit)
    comparison = compare(FILE, quiet=True)
    assert comparison.errors.empty
    assert fits == [*MODELS] * 2
    assert trained == ["soft", "hard"] * 2
    results = comparison.results.set_index(["model", "seed"])
    assert results.loc["both", "scheme"].unique().tolist() == ["mixture"]
    assert results.loc["auto", "engine"].unique().tolist() == ["auto"]
    # the time of a pool counts its members'
    for seed in (0, 1):
        members = results.loc[[("soft", seed), ("hard", seed)], "fit_seconds"].sum()
        assert members < results.loc[("both", seed), "fit_seconds"] < members + 5
    points = comparison.predictions.pivot(index=["seed", "row"], columns="model", values="y_pred")
    between = (points["both"] - points["hard"]) / (points["soft"] - points["hard"])
    for seed in (0, 1):
        # one weight for all rows of a split, and another for each
        np.testing.assert_allclose(between[seed], between[seed].median(), atol=1e-3)
        assert 0 <= between[seed].median() <= 1
    assert comparison.examples


def test_an_interrupted_run_goes_on_with_the_models_that_it_kept(
    fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compare(ONE_SPLIT, quiet=True)
    fits.clear()
    inner = bt.PooledBridgeRegressor._fit

    def interrupted(self: Any, *args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bt.PooledBridgeRegressor, "_fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(ONE_SPLIT, quiet=True, out=tmp_path / "run")
    assert fits == ["soft", "hard", "both"]
    monkeypatch.setattr(bt.PooledBridgeRegressor, "_fit", inner)
    fits.clear()
    found = compare(ONE_SPLIT, quiet=True, out=tmp_path / "run")
    assert fits == ["both", "auto"]
    without_time = [one for one in expected.results if not one.endswith("_seconds")]
    pd.testing.assert_frame_equal(found.results[without_time], expected.results[without_time])
    pd.testing.assert_frame_equal(found.predictions, expected.predictions)
    assert not (tmp_path / "run" / "unfinished").exists()
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"report.html", "results.csv"}


def test_a_kept_model_that_is_damaged_is_fitted_again(
    fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = bt.PooledBridgeRegressor._fit
    monkeypatch.setattr(bt.PooledBridgeRegressor, "_fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compare(ONE_SPLIT, quiet=True, out=tmp_path / "run")
    (path,) = tmp_path.rglob("fit-1/model/arrays.safetensors")
    path.write_bytes(b"")
    monkeypatch.setattr(bt.PooledBridgeRegressor, "_fit", inner)
    fits.clear()
    assert compare(ONE_SPLIT, quiet=True, out=tmp_path / "run").errors.empty
    assert fits == ["soft", "both", "auto"]


def test_a_pool_whose_member_has_failed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = bt.XGBBridgeRegressor._fit

    def failing(self: Any, *args: Any) -> None:
        if self.scheme == "hard":
            raise RuntimeError("out of luck")
        inner(self, *args)

    monkeypatch.setattr(bt.XGBBridgeRegressor, "_fit", failing)
    with pytest.warns(RuntimeWarning, match="has failed"):
        comparison = compare(ONE_SPLIT, quiet=True)
    errors = comparison.errors.set_index("model")["error"]
    assert errors.index.tolist() == ["hard", "both", "auto"]
    assert errors["both"] == "ExperimentError: its member hard has failed"
    assert errors["auto"] == "ExperimentError: its member hard has failed"
    assert comparison.results.set_index("model")["rmse"].notna().to_dict()["soft"]


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"pool": {"engine": "pool"}}, r"models\.pool\.members: is missing"),
        ({"pool": {"engine": "pool", "members": []}}, "must be a list of names"),
        ({"pool": {"engine": "pool", "members": "soft"}}, "must be a list of names"),
        ({"pool": {"engine": "pool", "members": [[1]]}}, "must be a list of names"),
        ({"pool": {"engine": "pool", "members": ["pool"]}}, "'pool' is the model itself"),
        (
            {"a": {"engine": "pool", "members": ["b"]}, "b": {"engine": "pool", "members": ["a"]}},
            r"models\.a\.members: 'b' stands below",
        ),
        ({"pool": {"engine": "pool", "members": ["soft"]}, "soft": SMALL}, "'soft' stands below"),
        (
            {"soft": SMALL, "pool": {"engine": "pool", "members": ["sofd"]}},
            "no model 'sofd' above, did you mean 'soft'",
        ),
        ({"soft": SMALL, "pool": {"engine": "pool", "members": ["soft", "soft"]}}, "names 'soft' twice"),
        (
            {"soft": SMALL, "pool": {"engine": "pool", "members": ["soft"], "estimators": []}},
            "unknown key 'estimators'",
        ),
        ({"soft": SMALL, "pool": {"engine": "pool", "members": ["soft"], "weights": [1, 2]}}, "weights has shape"),
        ({"soft": SMALL, "auto": {"engine": "auto", "members": ["soft"], "metric": "r2"}}, "metric"),
        ({"pool": SMALL, "auto": {"engine": "auto", "members": ["pool"]}}, "'pool' is what the pool of all is called"),
    ],
)
def test_what_cannot_be_a_member_is_one_line(models: Any, words: str) -> None:
    with pytest.raises(ExperimentError, match=words) as caught:
        compare({"table": TABLE, "models": models}, quiet=True)
    assert "\n" not in str(caught.value)


def test_one_model_is_trained_with_its_members_and_saved_with_them(fits: list[str], tmp_path: Path) -> None:
    content = FILE | {"models": {"other": SMALL} | MODELS}
    trained = train(Experiment.read(content), "both", out=tmp_path / "m", quiet=True)
    assert fits == ["soft", "hard", "both"]
    assert list(trained.experiment.models) == ["soft", "hard", "both"]
    again = bt.load(tmp_path / "m")
    frame = bt.experiments.read_frame("diamonds").drop(columns="price")[:20]
    np.testing.assert_array_equal(again.predict(frame), trained.fitted.model.predict(frame))
    expected = compare(ONE_SPLIT, quiet=True).results.set_index("model")["crps"]["both"]
    assert trained.fitted.scores["crps"] == expected


def test_a_study_is_of_members_alone() -> None:
    for model, members in (("both", "soft, hard"), ("auto", "hard, both")):
        study = {"model": model, "trials": 1}
        with pytest.raises(ExperimentError, match=rf"study\.model: {model} is made of other models \({members}\)"):
            BridgeStudy(FILE | {"study": study})
