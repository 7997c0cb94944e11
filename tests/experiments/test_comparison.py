from __future__ import annotations

import functools
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import bridges_tabular
from bridges_tabular.experiments import Comparison, Experiment, ExperimentError, compare, engines, train

read_csv = functools.partial(pd.read_csv, float_precision="round_trip")
TIMES = ["fit_seconds", "predict_seconds"]


@pytest.fixture
def network() -> dict[str, Any]:
    return {"engine": "tabular", "scheme": "soft", "n_bins": 8, "max_epochs": 2}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace XGBoost by a model that remembers all it was given."""
    from bridges_tabular.boosting import XGBBridgeRegressor

    calls: list[dict[str, Any]] = []

    class Spy(XGBBridgeRegressor):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, **more: Any) -> Any:
            calls.append(
                {
                    "X": X.copy(),
                    "y": y.copy(),
                    "eval_set": eval_set,
                    "seed": self.random_state,
                    "weight": sample_weight,
                }
            )
            return super().fit(X, y, sample_weight, eval_set, **more)

        def predict(self, X: Any, **more: Any) -> Any:
            # the importances predict again
            calls[-1].setdefault("tested", X.copy())
            return super().predict(X, **more)

    module = ModuleType("spying")
    module.Spy = Spy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spying", module)
    spied = replace(engines.ENGINES["xgboost"], module="spying", class_name="Spy")
    monkeypatch.setitem(engines.ENGINES, "xgboost", spied)
    return calls


def without_times(results: pd.DataFrame) -> pd.DataFrame:
    return results.drop(columns=TIMES)


def test_scores_agree_with_the_predictions(content: dict[str, Any]) -> None:
    comparison = compare(content, quiet=True, split={"seeds": [0, 3]})
    assert comparison.results[["model", "seed"]].to_numpy().tolist() == [
        ["points", 0],
        ["bins", 0],
        ["points", 3],
        ["bins", 3],
    ]
    assert (comparison.results["table"] == "homes").all()
    means = comparison.results.groupby("model")["rmse"].mean().sort_values()
    assert comparison.summary()["model"].tolist() == means.index.tolist()
    assert comparison.summary()["rmse"].tolist() == pytest.approx(means.tolist())
    assert comparison.results["scheme"].tolist() == ["least_squares", "hard"] * 2
    for _, row in comparison.results.iterrows():
        rows = comparison.predictions.query("model == @row.model and seed == @row.seed")
        assert len(rows) == 30
        truth, prediction = rows["y_true"], rows["y_pred"]
        assert row["rmse"] == pytest.approx(root_mean_squared_error(truth, prediction))
        assert row["mae"] == pytest.approx(mean_absolute_error(truth, prediction))
        assert row["r2"] == pytest.approx(r2_score(truth, prediction))
        assert (row[TIMES] > 0).all()
        if row["model"] == "bins":
            inside = truth.between(rows["q05"], rows["q95"])
            assert row["coverage_90"] == pytest.approx(inside.mean())
            assert row["width_90"] == pytest.approx((rows["q95"] - rows["q05"]).mean())
            assert 0 < row["crps"] < row["rmse"]


def test_a_model_of_points_has_no_scores_of_a_distribution(content: dict[str, Any]) -> None:
    comparison = compare(content, quiet=True)
    distribution = ["crps", "log_score", "coverage_90", "width_90", "calibration_error"]
    scores = comparison.results.set_index("model")[distribution]
    assert scores.loc["points"].isna().all()
    assert np.isfinite(scores.loc["bins"]).all()
    quantiles = comparison.predictions.groupby("model")[["q05", "q50", "q95"]].count()
    assert quantiles.loc["points"].tolist() == [0, 0, 0]


def test_every_model_sees_the_same_rows(
    content: dict[str, Any], seen: list[dict[str, Any]], frame: pd.DataFrame
) -> None:
    content["models"]["seeded"] = content["models"]["bins"] | {"random_state": 99}
    comparison = compare(content, quiet=True, split={"seeds": [0, 3]})
    for split in (seen[:3], seen[3:]):
        for call in split[1:]:
            pd.testing.assert_frame_equal(call["X"], split[0]["X"])
            np.testing.assert_array_equal(call["y"], split[0]["y"])
            pd.testing.assert_frame_equal(call["eval_set"][0], split[0]["eval_set"][0])
            np.testing.assert_array_equal(call["eval_set"][1], split[0]["eval_set"][1])
            pd.testing.assert_frame_equal(call["tested"], split[0]["tested"])
        parts = [split[0]["X"], split[0]["eval_set"][0], split[0]["tested"]]
        assert [len(part) for part in parts] == [60, 30, 30]
        together = pd.concat(parts)["size"].sort_values().to_numpy()
        np.testing.assert_array_equal(together, frame["size"].sort_values().to_numpy())
    assert [call["seed"] for call in seen] == [0, 0, 99, 3, 3, 99]
    tested = comparison.predictions.groupby(["seed", "model"])["row"].agg(list)
    for seed in (0, 3):
        assert tested[seed, "points"] == tested[seed, "bins"] == tested[seed, "seeded"]
        np.testing.assert_allclose(
            frame["price"].to_numpy()[tested[seed, "bins"]],
            comparison.predictions.query("seed == @seed and model == 'bins'")["y_true"],
        )


def test_nothing_is_learnt_from_test_targets(
    content: dict[str, Any], network: dict[str, Any], frame: pd.DataFrame, table_file: Path
) -> None:
    content["models"]["network"] = network
    honest = compare(content, quiet=True).predictions
    rows = honest["row"].unique()
    frame.loc[rows, "price"] = np.random.default_rng(1).uniform(1e5, 2e5, len(rows))
    frame.to_csv(table_file, index=False)
    poisoned = compare(content, quiet=True).predictions
    assert (poisoned["y_true"] > 1e4).all()
    judged = ["y_true", "crps", "pit"]
    pd.testing.assert_frame_equal(poisoned.drop(columns=judged), honest.drop(columns=judged))


def test_a_seed_fixes_every_digit(content: dict[str, Any], network: dict[str, Any], tmp_path: Path) -> None:
    content["models"]["network"] = network
    first, second = compare(content, quiet=True), compare(content, quiet=True)
    pd.testing.assert_frame_equal(without_times(first.results), without_times(second.results), check_exact=True)
    first.save(tmp_path / "run")
    again = compare(tmp_path / "run" / "config.yaml", quiet=True)
    pd.testing.assert_frame_equal(without_times(first.results), without_times(again.results), check_exact=True)
    pd.testing.assert_frame_equal(first.predictions, again.predictions, check_exact=True)


def test_a_saved_run_holds_its_files(content: dict[str, Any], tmp_path: Path) -> None:
    comparison = compare(content, quiet=True)
    comparison.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.yaml",
        "curves.csv",
        "encoders.json",
        "examples.json",
        "facts.json",
        "importance.csv",
        "manifest.json",
        "predictions.csv",
        "report.html",
        "results.csv",
    ]
    assert Experiment.read(tmp_path / "run" / "config.yaml").to_dict() == comparison.experiment.to_dict()
    results = read_csv(tmp_path / "run" / "results.csv")
    pd.testing.assert_frame_equal(results, comparison.results, check_exact=True)
    predictions = read_csv(tmp_path / "run" / "predictions.csv")
    assert predictions.columns.tolist() == [
        *("table", "model", "seed", "row", "y_true", "y_pred", "crps", "pit"),
        *("q05", "q25", "q50", "q75", "q95"),
    ]
    importances = read_csv(tmp_path / "run" / "importance.csv")
    pd.testing.assert_frame_equal(importances, comparison.importances, check_exact=True)
    for name, kept in (("encoders.json", comparison.encoders), ("examples.json", comparison.examples)):
        assert json.loads((tmp_path / "run" / name).read_text("utf-8")) == kept
    assert [encoder["model"] for encoder in comparison.encoders] == ["bins"]
    assert len(comparison.examples) == 9
    with pytest.raises(ExperimentError, match="holds another run"):
        comparison.save(tmp_path / "run")
    comparison.save(tmp_path / "run", overwrite=True)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("models", "bins", "n_bins", 1), "models.bins: .*n_bins"),
        (("table", "target", "prize"), "did you mean 'price'"),
        (("split", "test", 0.0001), "leaves no test rows"),
    ],
)
def test_bad_input_is_refused_before_any_fit(
    changed: Any, seen: list[dict[str, Any]], path: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        compare(changed(*path), quiet=True)
    assert seen == []


def test_an_experiment_is_changed_before_it_is_made(content: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match="not in an Experiment"):
        compare(Experiment.read(content), table={"rows": 3})


def test_more_bins_than_values_work_with_a_warning(
    content: dict[str, Any], frame: pd.DataFrame, table_file: Path
) -> None:
    frame["price"] = frame["price"].round(-1)
    frame.to_csv(table_file, index=False)
    content["models"]["bins"]["n_bins"] = 64
    with pytest.warns(UserWarning, match="bins") as caught:
        comparison = compare(content, quiet=True)
    assert len(caught) == 1
    assert comparison.results["rmse"].notna().all()


def test_training_one_model_gives_its_row_of_the_comparison(content: dict[str, Any], tmp_path: Path) -> None:
    experiment = Experiment.read(content, split={"seeds": [3, 0]})
    compared: Comparison = compare(experiment, quiet=True)
    trained = train(experiment, "bins", quiet=True)
    trained.save(tmp_path / "model")
    row = read_csv(tmp_path / "model" / "results.csv")
    expected = compared.results.query("model == 'bins' and seed == 3").reset_index(drop=True)
    pd.testing.assert_frame_equal(without_times(row), without_times(expected), check_exact=True)
    loaded = bridges_tabular.load(tmp_path / "model")
    predictions = compared.predictions.query("model == 'bins' and seed == 3")
    features = read_csv(content["table"]["source"])[["size", "kind"]]
    np.testing.assert_array_equal(loaded.predict(features.iloc[predictions["row"]]), predictions["y_pred"])
    with pytest.raises(ExperimentError, match="there is no model 'bin', did you mean 'bins'"):
        train(experiment, "bin")
