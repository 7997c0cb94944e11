"""What stands on study.html: what was found first, no column twice, defaults in words, the best trial with a star."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridges_tabular.experiments import BridgeStudy, StudyResult

SPACE = {
    "max_depth": {"type": "categorical", "choices": [None, 1], "default": "6 for the location"},
    "learning_rate": {"type": "float", "low": 0.1, "high": 0.5, "log": True},
}


@pytest.fixture
def run(content: dict[str, Any], tmp_path: Path) -> Callable[..., tuple[StudyResult, str]]:
    def study(**changes: Any) -> tuple[StudyResult, str]:
        block = {"model": "bins", "trials": 4, "bundled_space": False, "space": SPACE, "pruner": {"name": "none"}}
        content["study"] = block | changes
        result = BridgeStudy(content, out=tmp_path / "out").optimize(quiet=True)
        return result, (tmp_path / "out" / "study.html").read_text("utf-8")

    return study


def figures(page: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        page.split('<script type="application/json" id="figures">')[1].split("</script>")[0]
    )
    return found


def headings(page: str) -> list[str]:
    head = re.search(r"<thead>(.*?)</thead>", page, re.S)
    assert head is not None
    return [re.sub("<.*?>", " ", cell).strip() for cell in re.findall(r"<th scope=\"col\">(.*?)</th>", head[1])]


def stars(page: str) -> list[dict[str, Any]]:
    traces = [trace for figure in figures(page) for trace in figure["data"]]
    return [trace for trace in traces if trace.get("marker", {}).get("symbol") == "star"]


def test_the_best_trial_stands_out_and_the_default_is_a_value(run: Callable[..., tuple[StudyResult, str]]) -> None:
    result, page = run(space=SPACE | {"learning_rate": {"type": "float", "low": 0.001, "high": 0.5}}, metric="rmse")
    trials = result.trials
    best = int(trials.loc[trials["rmse"].idxmin(), "trial"])
    text = " ".join(page.split())
    if best == 0:
        assert "None of the 3 other complete trials was better than the default configuration" in text
        assert headings(page) == ["parameter", "default trial 0, the best", "searched"]
    else:
        assert f"Best by rmse: trial {best}" in text
        assert headings(page) == ["parameter", "default trial 0", f"trial {best} the best", "searched"]
    assert "6 for the location" in text
    assert "None" not in re.sub(r"<script.*?</script>|None of the", "", page, flags=re.S)
    # History and a slice for each of the parameters
    assert [star["name"] for star in stars(page)] == [f"trial {best}, the best"] * 3
    assert [star["y"] for star in stars(page)] == [[pytest.approx(trials["rmse"].min())]] * 3
    assert stars(page)[0]["x"] == [best]


def test_a_first_trial_within_the_space_is_not_called_the_default(
    run: Callable[..., tuple[StudyResult, str]],
) -> None:
    result, page = run(space={"n_bins": {"type": "int", "low": 4, "high": 6}})
    said = "the first trial takes n_bins: 6 instead of 8, which study.space does not hold"
    assert result.trials["n_bins"].between(4, 6).all()
    assert result.trials["n_bins"][0] == 6
    assert not result.trials["default"].any()
    text = re.sub(r"<script.*?</script>", "", " ".join(page.split()), flags=re.S)
    assert f"The default configuration was not tried: {said}." in text
    assert "default configuration has" not in text
    assert "better than the default" not in text
    assert headings(page)[1] == "default"
    assert '<th scope="row">n_bins</th><td class="words">8</td>' in text


def test_a_study_says_where_its_first_trial_is_not_the_model(
    content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"n_bins": {"type": "int", "low": 4, "high": 6}, "learning_rate": SPACE["learning_rate"]}
    content["study"] = {"model": "bins", "trials": 1, "bundled_space": False, "space": space}
    BridgeStudy(content).optimize()
    said = "bins: the first trial takes n_bins: 6 instead of 8, which study.space does not hold"
    assert capsys.readouterr().err.splitlines().count(said) == 1


def test_a_column_stands_there_once(run: Callable[..., tuple[StudyResult, str]]) -> None:
    result, page = run(metric=["rmse", "mae"])
    best = {int(result.trials.loc[result.trials[metric].idxmin(), "trial"]) for metric in ("rmse", "mae")}
    assert len(headings(page)) == 3 + len(best - {0})
    assert len(set(headings(page))) == len(headings(page))


@pytest.mark.parametrize(("trials", "few"), [(4, True), (7, False)])
def test_few_trials_are_said_to_be_few(run: Callable[..., tuple[StudyResult, str]], trials: int, few: bool) -> None:
    _, page = run(trials=trials)
    assert (f"With {trials} complete trials for 2 parameters" in page) == few


def test_early_trials_are_seen(run: Callable[..., tuple[StudyResult, str]]) -> None:
    _, page = run()
    scales = [
        t["marker"]["colorscale"] for f in figures(page) for t in f["data"] if "colorscale" in t.get("marker", {})
    ]
    assert len(scales) == 2
    for scale in scales:
        for _, color in scale:
            brightness = sum(map(int, re.findall(r"\d+", color))) / 3
            assert 60 < brightness < 180, "on white and on black"
