"""The parts of the report about splits in time and by group, and about pools."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import compare
from bridges_tabular.experiments.reporting import render_report
from bridges_tabular.experiments.run import Run
from bridges_tabular.experiments.sections import COLLECTING
from bridges_tabular.experiments.sections.in_time import in_blocks

BLOCK = {"engine": "xgboost", "n_estimators": 8, "n_jobs": 1, "location": "none"}
MODELS = {
    "points": BLOCK | {"scheme": "least_squares", "calibration": "none"},
    "bins": BLOCK | {"scheme": "soft", "n_bins": 8},
    "plain": BLOCK | {"scheme": "least_squares"},
    "pool": {"engine": "pool", "members": ["bins", "plain"]},
}


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 300
    size = rng.uniform(1, 5, n)
    # the last third is noisier, larger, and has a column that training lacks
    late = np.arange(n) >= 200
    return pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=n, freq="D").astype(str),
            "house": [f"house {i % 12}" for i in range(n)],
            "size": size,
            "level": np.where(late, 50.0, 1.0) + rng.normal(size=n),
            "price": 10 * size + rng.normal(size=n) * np.where(late, 20, 1) + 30 * late,
        }
    )


def run_of(folder: Path, models: dict[str, Any], frame: pd.DataFrame | None = None, **split: Any) -> Path:
    content = {
        "table": {"source": make_frame() if frame is None else frame, "target": "price"},
        "split": {"test": 0.4, "validation": 0.2} | split,
        "models": models,
    }
    compare(content, quiet=True).save(folder)
    return folder


@pytest.fixture(scope="module")
def in_time(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("time") / "run", MODELS, time="day", seeds=[0, 1])


@pytest.fixture(scope="module")
def by_group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = {name: MODELS[name] for name in ("points", "bins")}
    return run_of(tmp_path_factory.mktemp("group") / "run", models, group="house", seeds=[0])


def text(folder: Path) -> str:
    page = re.sub(r"<(script|style).*?</\1>", "", (folder / "report.html").read_text("utf-8"), flags=re.S)
    return " ".join(re.sub("<.*?>", " ", page).split())


def test_coverage_in_time_is_that_of_the_predictions(in_time: Path) -> None:
    run = Run.read(in_time, COLLECTING)
    blocks = in_blocks(run)
    assert blocks is not None
    bins = blocks[blocks["model"] == "bins"]
    assert bins["mark"].is_monotonic_increasing
    assert bins["rows"].sum() == 120
    # the frame's rows are in the order of its days
    rows = pd.read_csv(in_time / "predictions.csv").query("model == 'bins'").sort_values("row")
    inside = rows["y_true"].between(rows["q05"], rows["q95"]).to_numpy()
    found = [part.mean() for part in np.split(inside, bins["rows"].cumsum()[:-1])]
    assert bins["coverage"].to_numpy() == pytest.approx(found)
    losses = [part.mean() for part in np.split(rows["crps"].to_numpy(), bins["rows"].cumsum()[:-1])]
    assert bins["loss"].to_numpy() == pytest.approx(losses)
    points = blocks[blocks["model"] == "points"]
    errors = pd.read_csv(in_time / "predictions.csv").query("model == 'points'").sort_values("row")
    assert points["coverage"].isna().all()
    assert points["loss"].iloc[0] == pytest.approx(
        (errors["y_true"] - errors["y_pred"]).abs()[: points["rows"].iloc[0]].mean()
    )
    assert "Coverage of 90 % intervals" in text(in_time)


def test_what_the_test_rows_hold_beside_training_is_said(in_time: Path) -> None:
    said = text(in_time)
    assert "Test rows beside training rows" in said
    frame = make_frame()
    train, test = frame["price"][:120], frame["price"][180:240]
    beyond = ((test < train.min()) | (test > train.max())).mean()
    assert f"{beyond:.1%} of the test targets lie beyond all of training" in said
    far = said[said.index("outside of it") :]
    assert "level" in far
    outside = (~frame["level"][180:240].between(frame["level"][:120].min(), frame["level"][:120].max())).mean()
    assert f"{outside:.1%}" in far


def test_a_pool_shows_the_weights_of_its_members(in_time: Path) -> None:
    weights = [float(w) for w in re.findall(r'<meter min="0" max="1" value="([\d.e-]+)"', render_report(in_time))]
    pools = [
        one
        for file, content in Run.read(in_time, COLLECTING).collected.items()
        if file.name == "pools.json"
        for one in content
    ]
    assert [one["model"] for one in pools] == ["pool"]
    assert list(pools[0]["members"]) == ["bins", "plain"]
    assert sum(pools[0]["members"].values()) == pytest.approx(1.0)
    assert weights[-2:] == pytest.approx(list(pools[0]["members"].values()))


def test_groups_have_their_own_scores_by_name(by_group: Path) -> None:
    predictions = pd.read_csv(by_group / "predictions.csv").query("model == 'bins'")
    houses = make_frame()["house"].to_numpy()[predictions["row"]]
    crps = predictions.groupby(houses)["crps"].mean()
    said = text(by_group)
    table = said[said.index("Group by group Mean") :]
    for house, value in crps.items():
        assert re.search(rf"{house} 25 .*?{value:,.4g}", table), house
    assert len(crps) == 5


def test_groups_keep_names_made_of_digits(tmp_path: Path) -> None:
    frame = make_frame().assign(house=lambda homes: np.resize(["01067", "1067", "9", "09"], len(homes)))
    run_of(tmp_path / "run", {"points": MODELS["points"]}, frame, group="house", seeds=[0, 1, 2])
    tested = set(frame["house"][pd.read_csv(tmp_path / "run" / "predictions.csv")["row"]])
    assert {"01067", "1067"} <= tested
    said = text(tmp_path / "run")
    table = said[said.index("Group by group Mean") :]
    for house in tested:
        assert f" {house} 75 " in table


def test_times_that_are_numbers_go_by_their_size(tmp_path: Path) -> None:
    frame = make_frame().assign(day=lambda homes: np.arange(len(homes)) - 250.5)
    run_of(tmp_path / "run", {"points": MODELS["points"]}, frame, time="day", seeds=[0])
    blocks = in_blocks(Run.read(tmp_path / "run", COLLECTING))
    assert blocks is not None
    # 120 test rows in four blocks, each at its middle
    assert blocks["mark"].tolist() == [-55.5, -25.5, 4.5, 34.5]


def test_a_random_split_has_none_of_it_and_its_folder_no_file(saved_run: Path) -> None:
    assert not {"marks.csv", "shift.json", "pools.json", "errors.csv"} & {path.name for path in saved_run.iterdir()}
    said = text(saved_run)
    assert not [title for title in ("As time goes on", "Group by group", "beside training rows") if title in said]
