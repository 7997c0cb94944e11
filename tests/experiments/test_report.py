from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import compare
from bridges_tabular.experiments.report import render_report

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would find: elements, the text of the body, the source of each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.text += data

    @property
    def figures(self) -> list[dict[str, Any]]:
        figures: list[dict[str, Any]] = json.loads(next(s for s in self.scripts if s.startswith("[{")))
        return figures


@pytest.fixture
def evil_run(frame: pd.DataFrame, content: dict[str, Any], tmp_path: Path) -> Path:
    """A run in which every name tries to be HTML."""
    evil_table = tmp_path / "<img src=x onerror=alert(2)>.csv"
    frame.rename(columns={"price": EVIL, "size": '"><b>size'}).to_csv(evil_table, index=False)
    content["table"] |= {"source": str(evil_table), "target": EVIL}
    content["models"]["</script><script>alert(3)</script>"] = content["models"].pop("bins")
    content["models"]["{{ 7 * 7 }}"] = content["models"].pop("points")
    compare(content, quiet=True, split={"seeds": [0, 1]}).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def run(content: dict[str, Any], tmp_path: Path) -> Path:
    compare(content, quiet=True).save(tmp_path / "run")
    return tmp_path / "run"


def read(run: Path) -> Page:
    return Page((run / "report.html").read_text("utf-8"))


def test_names_from_data_and_configuration_are_text(evil_run: Path) -> None:
    page = read(evil_run)
    for name in (EVIL, "</script><script>alert(3)</script>", "{{ 7 * 7 }}", "<img src=x onerror=alert(2)>"):
        assert name in page.text
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert "b" not in [tag for tag, attributes in page.elements if attributes and tag == "b"]
    # plotly reads HTML in the texts of a figure
    assert "<" not in json.dumps([f["layout"] for f in page.figures])
    assert not any("<" in trace.get("name", "") for figure in page.figures for trace in figure["data"])


def test_the_page_needs_nothing_from_elsewhere(run: Path) -> None:
    page = read(run)
    for tag, attributes in page.elements:
        assert not {"src", "href", "srcset", "data"} & set(attributes), (tag, attributes)
    styles = next(s for s in page.scripts if ":root" in s)
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert ("viewport", "width=device-width, initial-scale=1") in [
        (a.get("name"), a.get("content")) for _, a in page.elements
    ]


def test_the_page_shows_the_scores_and_how_to_repeat_them(run: Path) -> None:
    page = read(run)
    results = pd.read_csv(run / "results.csv").set_index("model")
    for model in ("points", "bins"):
        assert model in page.text
        assert f"{results.loc[model, 'r2']:.4f}" in page.text
    assert (run / "config.yaml").read_text("utf-8").strip() in page.text
    assert re.search(r"120\s+rows", page.text)


def test_every_figure_has_a_place_and_shows_the_predictions(run: Path) -> None:
    page = read(run)
    places = [int(a["data-figure"] or -1) for _, a in page.elements if "data-figure" in a]
    assert places == list(range(len(page.figures)))
    predictions = pd.read_csv(run / "predictions.csv")
    examples = json.loads((run / "examples.json").read_text("utf-8"))
    assert len(places) == 2 + len(examples)
    best = pd.read_csv(run / "results.csv").sort_values("rmse")["model"].iloc[0]
    shown = predictions[predictions["model"] == best]
    assert page.figures[0]["data"][1]["x"] == pytest.approx(shown["y_true"].tolist(), rel=1e-5)
    assert page.figures[0]["data"][1]["y"] == pytest.approx(shown["y_pred"].tolist(), rel=1e-5)


def test_a_drawn_distribution_holds_the_predicted_quantiles(run: Path) -> None:
    page = read(run)
    predictions = pd.read_csv(run / "predictions.csv").query("model == 'bins'").set_index("row")
    examples = json.loads((run / "examples.json").read_text("utf-8"))
    assert [e["y_true"] for e in examples] == sorted(e["y_true"] for e in examples)
    for example, figure in zip(examples, page.figures[2:], strict=True):
        assert example["y_true"] == pytest.approx(predictions.loc[example["row"], "y_true"])
        traces = {trace["name"]: trace for trace in figure["data"]}
        assert traces["truth"]["x"] == pytest.approx([example["y_true"]] * 2, rel=1e-5)
        edges, density = np.array(traces["bins"]["x"]), np.array(traces["bins"]["y"][:-1])
        below = np.concatenate([[0.0], np.cumsum(np.diff(edges) * density)])
        assert 0.955 <= below[-1] <= 1.001
        lower, middle, upper = predictions.loc[example["row"], ["q05", "q50", "q95"]]
        drawn = np.interp([lower, middle, upper], edges, below)
        assert np.diff(drawn) == pytest.approx([0.45, 0.45], abs=0.02)


def test_the_report_is_made_of_the_files_alone(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "moved")
    assert render_report(moved) == (moved / "report.html").read_text("utf-8")
