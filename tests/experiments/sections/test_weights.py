"""The report weighs rows as the scores do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import Experiment, compare
from bridges_tabular.experiments.job import Job
from bridges_tabular.experiments.parts import Part
from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections import COLLECTING, OF_TABLE
from bridges_tabular.experiments.sections.base import Page
from bridges_tabular.experiments.sections.in_time import in_blocks
from bridges_tabular.experiments.unfinished import Unfinished

BLOCK = {"engine": "xgboost", "n_estimators": 8, "n_jobs": 1, "location": "none"}
MODELS = {
    "points": BLOCK | {"scheme": "least_squares", "calibration": "none"},
    "bins": BLOCK | {"scheme": "soft", "n_bins": 8},
}

ABOUT_ROWS = ("truth", "calibration", "in_time", "groups", "shift", "distributions", "learned", "features")


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 200
    size = rng.uniform(1, 5, n)
    return pd.DataFrame(
        {
            "day": np.arange(n),
            "house": [f"house {i % 8}" for i in range(n)],
            "size": size,
            "level": rng.normal(size=n) + np.arange(n) / 50,
            "price": 10 * size + rng.normal(size=n) + np.arange(n) / 50,
            "weight": 1.0,
        }
    )


def spoiled(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with as many rows again, of weight 0 and as wrong as can be."""
    worst = frame.assign(price=np.where(frame.index % 2, -1000.0, 1000.0), size=50.0, level=np.nan, weight=0.0)
    return pd.concat([frame, worst], ignore_index=True)


def run_of(folder: Path, frame: pd.DataFrame, **split: Any) -> Path:
    content = {
        "table": {"source": frame, "target": "price", "weight": "weight"},
        "split": {"test": 0.5, "validation": 0.25, "seeds": [0]} | split,
        "models": MODELS,
    }
    compare(content, quiet=True).save(folder)
    return folder


def shown(folder: Path) -> dict[str, Any]:
    """What the sections about test rows show, and their figures."""
    run, found = Run.read(folder, COLLECTING), {}
    for section in OF_TABLE:
        if section.key in ABOUT_ROWS:
            page = Page(run)
            found[section.key] = section.show(run, page), page.figures
    return found


@pytest.mark.parametrize("by", [{"group": "house"}, {"time": "day"}], ids=["group", "time"])
def test_rows_of_weight_zero_change_nothing(by: dict[str, str], tmp_path: Path) -> None:
    clean = shown(run_of(tmp_path / "clean", make_frame(), **by))
    assert [key for key, (content, _) in clean.items() if content is None] == ["in_time" if "group" in by else "groups"]
    others = shown(run_of(tmp_path / "spoiled", spoiled(make_frame()), **by))
    for key, content in clean.items():
        assert others[key] == content, key
    # many of them share a target
    assert Run.read(tmp_path / "spoiled", COLLECTING).table["incomparable"] == {}


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which few rows have most of the weight, and noise of their own."""
    frame = make_frame()
    heavy = frame.index % 5 == 0
    noise = np.where(heavy, 20 * np.sin(frame.index), 0.0)
    frame = frame.assign(weight=np.where(heavy, 9.0, 0.5), price=frame["price"] + noise)
    return run_of(tmp_path_factory.mktemp("weighted") / "run", frame, group="house", seeds=[0, 1])


def test_predictions_have_the_weights_of_their_rows(weighted: Path, saved_run: Path) -> None:
    predictions = pd.read_csv(weighted / "predictions.csv")
    assert predictions.columns[-1] == "weight"
    assert (predictions["weight"] == np.where(predictions["row"] % 5 == 0, 9.0, 0.5)).all()
    results = pd.read_csv(weighted / "results.csv").query("model == 'bins'").set_index("seed")
    for seed, rows in predictions.query("model == 'bins'").groupby("seed"):
        assert np.average(rows["crps"], weights=rows["weight"]) == pytest.approx(results.loc[seed, "crps"])
    assert "weight" not in pd.read_csv(saved_run / "predictions.csv")


def test_shares_of_the_report_are_by_weight(weighted: Path) -> None:
    rows = pd.read_csv(weighted / "predictions.csv").query("model == 'bins'")
    found = shown(weighted)
    inside = (rows["pit"] - 0.5).abs() <= 0.45
    coverage = next(trace for trace in found["calibration"][1][2]["data"] if trace.get("name") == "bins")
    at = dict(zip(coverage["x"], coverage["y"], strict=True))
    assert at[0.9] == pytest.approx(np.average(inside, weights=rows["weight"]), rel=1e-4)
    assert at[0.9] < inside.mean() - 0.05
    groups = {
        row["group"]: row["cells"][found["groups"][0]["models"].index("bins")] for row in found["groups"][0]["rows"]
    }
    house = make_frame()["house"].to_numpy()[rows["row"]]
    for name, own in rows.groupby(house):
        assert groups[name]["loss"] == f"{np.average(own['crps'], weights=own['weight']):,.4g}"
        within = own["y_true"].between(own["q05"], own["q95"])
        assert groups[name]["coverage"] == f"{np.average(within, weights=own['weight']):.2f}"


def test_blocks_in_time_are_by_weight(tmp_path: Path) -> None:
    frame = make_frame().assign(weight=lambda rows: np.where(rows.index % 5, 0.5, 9.0))
    folder = run_of(tmp_path / "run", frame, time="day")
    blocks = in_blocks(Run.read(folder, COLLECTING))
    assert blocks is not None
    blocks = blocks[blocks["model"] == "bins"]
    rows = pd.read_csv(folder / "predictions.csv").query("model == 'bins'")
    of_block = np.repeat(blocks["block"].to_numpy(), blocks["rows"])
    parts = [part for _, part in rows.sort_values("row").groupby(of_block)]
    assert blocks["loss"].tolist() == pytest.approx([np.average(one["crps"], weights=one["weight"]) for one in parts])
    within = [one["y_true"].between(one["q05"], one["q95"]) for one in parts]
    shares = [np.average(one, weights=part["weight"]) for one, part in zip(within, parts, strict=True)]
    assert blocks["coverage"].tolist() == pytest.approx(shares)
    # 25 rows a block: 5 of weight 9 and 20 of weight 0.5 say as much as 7.4 alike
    _, low, *_ = shown(folder)["in_time"][1][0]["data"]
    assert low["y"] == pytest.approx([0.9 - 1.96 * 0.3 / np.sqrt(55**2 / 410)] * 2, rel=1e-4)


def test_a_weight_of_two_is_two_rows(tmp_path: Path) -> None:
    frame = make_frame().assign(part=np.repeat(["train", "validation", "test"], [100, 40, 60]))
    often = frame["day"] % 3 == 0
    twice = pd.concat([frame, frame[often]], ignore_index=True)
    heavy = frame.assign(weight=np.where(often, 2.0, 1.0))
    rows, weights = (shown(run_of(tmp_path / str(len(one)), one, file="part"))["shift"][0] for one in (twice, heavy))
    assert weights["target"] == rows["target"]
    assert weights["outside"] == pytest.approx(rows["outside"])
    assert weights["outside"] > 0


def test_a_fit_that_was_kept_has_the_weights_of_its_rows(tmp_path: Path) -> None:
    table = {"source": make_frame().assign(weight=np.linspace(0, 2, 200)), "target": "price", "weight": "weight"}
    job = Job.prepare(Experiment.read({"table": table, "models": MODELS}))
    unfinished = Unfinished(tmp_path / "run")
    unfinished.begin(job.plan)
    for new, kept in zip(job.run(True, unfinished), job.run(True, unfinished), strict=True):
        assert isinstance(new, Part)
        assert isinstance(kept, Part)
        assert "weight" in new.predictions
        pd.testing.assert_frame_equal(kept.predictions, new.predictions, check_exact=True)


def test_a_run_without_the_weights_of_its_rows_is_shown(weighted: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(weighted, tmp_path / "run"))
    pd.read_csv(run / "predictions.csv").drop(columns="weight").to_csv(run / "predictions.csv", index=False)
    (run / "manifest.json").unlink()
    assert len(shown(run)["groups"][0]["rows"]) == len(shown(weighted)["groups"][0]["rows"])


def test_tables_with_weights_and_without_share_a_run(tmp_path: Path) -> None:
    for name in ("plain", "heavy"):
        spoiled(make_frame()).to_csv(tmp_path / f"{name}.csv", index=False)
    tables: list[dict[str, Any]] = [
        {"source": str(tmp_path / f"{name}.csv"), "target": "price"} for name in ("plain", "heavy")
    ]
    tables[1]["weight"] = "weight"
    content = {"tables": tables, "split": {"test": 0.5, "validation": 0.25, "seeds": [0]}, "models": MODELS}
    compare(content, quiet=True).save(tmp_path / "run")
    scored = Run.read(tmp_path / "run", COLLECTING).scored.query("model == 'bins'")
    assert scored.groupby("table")["weight"].agg(["size", "mean"]).loc["plain"].tolist() == [200, 1.0]
    assert (scored.query("table == 'heavy'")["row"] < 200).all()
