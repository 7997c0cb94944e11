"""A DataFrame where a file is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import BridgeStudy, Experiment, ExperimentError, compare, read_frame, train
from bridges_tabular.experiments import job as jobs
from bridges_tabular.experiments.frames import FrameSource

polars = pytest.importorskip("polars")
SPACE = {"n_bins": {"type": "int", "low": 4, "high": 8}}


@pytest.fixture
def models(content: dict[str, Any]) -> dict[str, Any]:
    """Blocks to give beside a DataFrame; the bundled file's own models are taken out by name."""
    return {"models": content["models"], "split": content["split"]}


def mapping(frame: Any, content: dict[str, Any]) -> dict[str, Any]:
    return content | {"table": {"source": frame, "target": "price", "drop": ["id"]}}


@pytest.mark.parametrize("to", [lambda frame: frame, polars.from_pandas], ids=["pandas", "polars"])
def test_a_frame_gives_what_its_file_gives(content: dict[str, Any], frame: pd.DataFrame, to: Any) -> None:
    plain = compare(content, quiet=True)
    found = compare(mapping(to(frame), content), quiet=True)
    times = ["table", "fit_seconds", "predict_seconds"]
    pd.testing.assert_frame_equal(found.results.drop(columns=times), plain.results.drop(columns=times))
    assert found.facts["tables"][0]["name"] == "DataFrame"


def test_a_frame_alone_gets_the_bundled_models(frame: pd.DataFrame, content: dict[str, Any]) -> None:
    small = {"n_estimators": 3, "n_jobs": 1}
    network = {"max_epochs": 1, "backbone_params": {"layers": "4"}}
    trained = ["network", "network_bridge", "xgboost", "xgboost_bins"]
    changes = {"xgboost": small, "xgboost_bins": small, "network": network, "network_bridge": network}
    before = frame.copy(deep=True)
    found = compare(frame.drop(columns="id"), target="price", models=changes, quiet=True)
    assert found.results["model"].tolist() == [*trained, "pool", "auto"]
    assert found.results["rmse"].notna().all()
    assert found.experiment.report.baseline == "xgboost"
    pd.testing.assert_frame_equal(frame, before)


def test_an_unfinished_run_goes_on_with_the_same_frame_and_no_other(
    content: dict[str, Any], frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compare(mapping(frame, content), quiet=True)
    fitted = []

    def fit(one: Any, *others: Any) -> Any:
        fitted.append(one.name)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return original(one, *others)

    original = jobs._fit
    monkeypatch.setattr(jobs, "_fit", fit)
    with pytest.raises(KeyboardInterrupt):
        compare(mapping(frame, content), out=tmp_path / "run", quiet=True)
    other = frame.assign(size=frame["size"] + (np.arange(120) == 7))
    with pytest.raises(ExperimentError, match=r"of another configuration \(table.source was 'DataFrame of"):
        compare(mapping(other, content), out=tmp_path / "run", quiet=True)
    found = compare(mapping(frame.copy(), content), out=tmp_path / "run", quiet=True)
    assert fitted == ["points", "bins", "bins"]
    np.testing.assert_array_equal(found.results["rmse"], whole.results["rmse"])
    assert (tmp_path / "run" / "report.html").exists()
    with pytest.raises(ExperimentError, match=r"^table.source: the table was a DataFrame of 120 rows and 4"):
        compare(tmp_path / "run" / "config.yaml", quiet=True)


def test_a_frame_is_known_by_its_names_types_and_values(frame: pd.DataFrame) -> None:
    text = FrameSource.of(frame).text
    assert text.startswith("DataFrame of 120 rows and 4 columns, sha256 ")
    assert FrameSource.of(frame.copy(deep=True)) == FrameSource.of(frame)
    assert FrameSource.of(frame.set_axis(range(5, 125))).text == text, "labels of rows play no part"
    for other in (
        frame.rename(columns={"size": "area"}),
        frame.iloc[::-1],
        frame.assign(id=frame["id"].astype(float)),
        frame.assign(kind=frame["kind"].replace("plain", "Plain")),
        frame[["kind", "size", "id", "price"]],
        frame[:-1],
    ):
        assert FrameSource.of(other).text != text
    lists = frame.assign(odd=[[1], *[None] * 119])
    assert FrameSource.of(lists) == FrameSource.of(lists.copy(deep=True))


def test_a_study_of_a_frame_goes_on(frame: pd.DataFrame, models: dict[str, Any], tmp_path: Path) -> None:
    study = {"model": "bins", "trials": 2, "bundled_space": False, "space": SPACE}
    frame = frame.drop(columns="id")
    models["target"] = "price"
    first = BridgeStudy(frame, tmp_path / "s", study=study, **models).optimize(quiet=True)
    again = BridgeStudy(frame, tmp_path / "s", study=study | {"trials": 3}, **models).optimize(quiet=True)
    pd.testing.assert_frame_equal(again.trials[:2][["n_bins", "rmse"]], first.trials[["n_bins", "rmse"]])
    assert len(again.trials) == 3
    with pytest.raises(ExperimentError, match=r"holds a study 'experiment.bins' with other rows"):
        BridgeStudy(frame[:-1], tmp_path / "s", study=study, **models)
    with pytest.raises(ExperimentError, match=r"^study.workers: other processes cannot read a DataFrame"):
        BridgeStudy(frame, tmp_path / "t", study=study | {"workers": 2}, **models)


def test_a_model_of_a_frame_is_kept(frame: pd.DataFrame, content: dict[str, Any], tmp_path: Path) -> None:
    train(Experiment.read(mapping(frame, content)), "bins", out=tmp_path / "m", quiet=True)
    assert "source: DataFrame of 120 rows" in (tmp_path / "m" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (lambda f: f, {}, "^target: is missing"),
        (lambda f: f, {"target": "prize"}, "^table.target: the DataFrame has no column 'prize', did"),
        (lambda f: f[:0], {"target": "price"}, "^table.source: the DataFrame has no rows"),
        (
            lambda f: f.assign(o=[[1]] * 120),
            {"target": "price"},
            "^table.source: the DataFrame: column 'o' holds a list",
        ),
        (
            lambda f: polars.from_pandas(f).lazy(),
            {"target": "price"},
            "^table.source: it is a LazyFrame",
        ),
        (lambda f: 3, {"target": "price"}, "^table.source: must be text or a DataFrame, not 3"),
        (lambda f: "diamonds", {"target": "price"}, "^target: goes with a DataFrame; in an experiment file it is"),
    ],
)
def test_what_is_no_table_is_refused(frame: pd.DataFrame, given: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        compare(given(frame), quiet=True, **more)


def test_a_file_of_that_name_is_not_looked_for() -> None:
    with pytest.raises(ExperimentError, match="which no file holds"):
        read_frame("DataFrame of 3 rows and 2 columns, sha256 0123456789abcdef")
