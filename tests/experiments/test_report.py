from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bridges_tabular.experiments import ExperimentError, compare
from bridges_tabular.experiments.console import print_scores
from bridges_tabular.experiments.reporting import render_report, write_report

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
def over_tables(frame: pd.DataFrame, content: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Return the folder of a run over so many tables, with further models."""

    def run(n: int, **models: Any) -> Path:
        tables = []
        for i in range(n):
            path = tmp_path / f"homes{i}.csv"
            frame.assign(price=frame["price"] + 3 * i * np.sin(frame["id"])).to_csv(path, index=False)
            tables.append(content["table"] | {"source": str(path)})
        everything = {key: value for key, value in content.items() if key != "table"} | {"tables": tables}
        compare(everything, quiet=True, models=models).save(tmp_path / f"run{n}")
        return tmp_path / f"run{n}"

    return run


def read(run: Path) -> Page:
    return Page((run / "report.html").read_text("utf-8"))


def figures_of(page: Page, label: str) -> dict[str, dict[str, Any]]:
    """The figures whose place has a label that starts so, by label."""
    places = [a for _, a in page.elements if "data-figure" in a]
    return {
        str(a["aria-label"]): page.figures[int(a["data-figure"] or -1)]
        for a in places
        if str(a["aria-label"]).startswith(label)
    }


def test_names_from_data_and_configuration_are_text(evil_run: Path) -> None:
    page = read(evil_run)
    for name in (EVIL, "</script><script>alert(3)</script>", "{{ 7 * 7 }}", "<img src=x onerror=alert(2)>"):
        assert name in page.text
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert "b" not in [tag for tag, attributes in page.elements if attributes and tag == "b"]
    # plotly reads HTML in the texts of a figure: axes, ticks, hover texts, names
    assert "<img" not in json.dumps(page.figures)
    assert "<script" not in json.dumps(page.figures)
    assert "<b>" not in json.dumps(page.figures)
    handlers = [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert handlers == []


def test_the_page_needs_nothing_from_elsewhere(saved_run: Path) -> None:
    page = read(saved_run)
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "data"} & set(attributes), (tag, attributes)
        assert (attributes.get("href") or "#").startswith("#"), (tag, attributes)
    styles = next(s for s in page.scripts if ":root" in s)
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert ("viewport", "width=device-width, initial-scale=1") in [
        (a.get("name"), a.get("content")) for _, a in page.elements
    ]


def test_the_page_says_what_was_compared_on_what(saved_run: Path) -> None:
    page = read(saved_run)
    results = pd.read_csv(saved_run / "results.csv").set_index("model")
    for model in ("points", "bins"):
        assert model in page.text
        assert f"{results.loc[model, 'r2']:.4f}" in page.text
    assert (saved_run / "config.yaml").read_text("utf-8").strip() in page.text
    assert re.search(r"120\s+rows", page.text)
    assert "One split cannot tell a difference from chance: none could have been significant" in page.text
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    ids = {a["id"] for _, a in page.elements if "id" in a}
    assert links
    assert {str(link)[1:] for link in links} <= ids


def test_every_figure_has_a_place_and_shows_the_predictions(saved_run: Path) -> None:
    page = read(saved_run)
    places = [int(a["data-figure"] or -1) for _, a in page.elements if "data-figure" in a]
    assert sorted(places) == list(range(len(page.figures)))
    predictions = pd.read_csv(saved_run / "predictions.csv")
    for model in ("points", "bins"):
        shown = predictions[predictions["model"] == model]
        points = figures_of(page, f"Predicted against true values of {model}").popitem()[1]["data"][1]
        assert points["x"] == pytest.approx(shown["y_true"].tolist(), rel=1e-4)
        assert points["y"] == pytest.approx(shown["y_pred"].tolist(), rel=1e-4)


def test_calibration_plots_agree_with_the_scores(saved_run: Path) -> None:
    page = read(saved_run)
    results = pd.read_csv(saved_run / "results.csv").set_index("model")
    predictions = pd.read_csv(saved_run / "predictions.csv").query("model == 'bins'")
    coverage = next(t for t in figures_of(page, "Coverage")["Coverage"]["data"] if t.get("name") == "bins")
    at = dict(zip(coverage["x"], coverage["y"], strict=True))
    assert at[0.9] == pytest.approx(results.loc["bins", "coverage_90"], abs=0.05)
    assert (at[0.0], at[1.0]) == (0.0, 1.0)
    reliability = next(t for t in figures_of(page, "Reliability")["Reliability"]["data"] if t.get("name") == "bins")
    below = np.mean(predictions["y_true"] <= predictions["q75"])
    assert dict(zip(reliability["x"], reliability["y"], strict=True))[0.75] == pytest.approx(below, abs=0.05)
    pit = next(t for t in figures_of(page, "PIT")["PIT histogram"]["data"] if t.get("name") == "bins")
    assert np.mean(pit["y"][:-1]) == pytest.approx(1.0, abs=1e-4)


def test_curves_importances_and_encoders_are_those_of_the_files(saved_run: Path) -> None:
    page = read(saved_run)
    curves = pd.read_csv(saved_run / "curves.csv")
    best = curves.loc[curves.groupby("model")["score"].idxmin()].set_index("model")
    figures = figures_of(page, "Learning curves")
    assert list(figures) == ["Learning curves, Boosted trees, RMSE", "Learning curves, Boosted trees, CRPS"]
    marked = {t["name"]: t for figure in figures.values() for t in figure["data"] if t["mode"] == "markers"}
    for model in ("points", "bins"):
        assert marked[model]["x"] == [best.loc[model, "step"]]
        assert marked[model]["y"] == pytest.approx([best.loc[model, "score"]], rel=1e-4)
    (importance,) = figures_of(page, "Permutation").values()
    assert importance["layout"]["yaxis"]["ticktext"] == ["size", "kind"]
    found = pd.read_csv(saved_run / "importance.csv").query("model == 'bins'").set_index("feature")["increase"]
    drawn = next(t for t in importance["data"] if t["name"] == "bins")
    assert drawn["x"] == pytest.approx(found[["size", "kind"]].tolist(), rel=1e-4)
    assert len(figures_of(page, "Encoder of bins").popitem()[1]["data"]) == 8
    assert figures_of(page, "Encoder of points") == {}


def test_use_and_entropy_of_a_code_are_drawn_as_they_are(run: Path) -> None:
    (encoder,) = json.loads((run / "encoders.json").read_text("utf-8"))
    assert figures_of(read(run), "Entropy of bins").popitem()[1]["data"][0]["y"] == [0.0] * len(encoder["y"])
    # a value is shared by four classes in the first half, and by two in the other
    half = len(encoder["y"]) // 2
    encoder["psi"] = [[0.25] * 4 + [0.0] * 4] * half + [[0.0] * 6 + [0.5] * 2] * (len(encoder["y"]) - half)
    encoder["use"] = [0.3, 0.0, 0.1, 0.1, 0.2, 0.1, 0.15, 0.05]
    (run / "encoders.json").write_text(json.dumps([encoder]), encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"encoders\.json is damaged: .* delete manifest\.json to have it shown"):
        write_report(run)
    (run / "manifest.json").unlink()
    write_report(run)
    page = read(run)
    bars, alike = figures_of(page, "Use of bins").popitem()[1]["data"]
    assert bars["x"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert bars["y"] == pytest.approx([30, 0, 10, 10, 20, 10, 15, 5])
    assert bars["customdata"] == pytest.approx(encoder["centers"], rel=1e-4)
    # the colours of the encoder's curves
    curves = figures_of(page, "Encoder of bins").popitem()[1]["data"]
    assert {curve["line"]["color"] for curve in curves} < set(bars["marker"]["color"])
    assert alike["y"] == [12.5, 12.5]
    (curve,) = figures_of(page, "Entropy of bins").popitem()[1]["data"]
    assert curve["x"] == pytest.approx(encoder["y"], rel=1e-4)
    assert curve["y"] == pytest.approx([np.log(4)] * half + [np.log(2)] * (len(curve["y"]) - half), rel=1e-4)
    assert curve["text"] == ["4.0"] * half + ["2.0"] * (len(curve["y"]) - half)
    for note in ("errors of the point prediction on test rows that falls to each class", "0 is one class alone"):
        assert note in page.text


def test_a_drawn_distribution_holds_the_predicted_quantiles(saved_run: Path) -> None:
    page = read(saved_run)
    predictions = pd.read_csv(saved_run / "predictions.csv").query("model == 'bins'").set_index("row")
    examples = json.loads((saved_run / "examples.json").read_text("utf-8"))
    ranked = predictions["crps"].sort_values().index.tolist()
    chosen = {kind: [e["row"] for e in examples if e["kind"] == kind] for kind in ("best", "worst", "random")}
    if not np.isfinite(pd.read_csv(saved_run / "predictions.csv").query("model == 'points'")["crps"]).any():
        assert chosen["best"] == ranked[:3]
        assert chosen["worst"] == ranked[::-1][:3]
    assert len({e["row"] for e in examples}) == 9
    drawn_rows = figures_of(page, "Predictive distributions of row")
    for example in examples:
        row = example["row"]
        assert example["y_true"] == pytest.approx(predictions.loc[row, "y_true"])
        traces = {trace["name"]: trace for trace in drawn_rows[f"Predictive distributions of row {row}"]["data"]}
        assert traces["truth"]["x"] == pytest.approx([example["y_true"]] * 2, rel=1e-4)
        edges, density = np.array(traces["bins"]["x"]), np.array(traces["bins"]["y"][:-1])
        below = np.concatenate([[0.0], np.cumsum(np.diff(edges) * density)])
        assert 0.975 <= below[-1] <= 1.001
        lower, middle, upper = predictions.loc[row, ["q05", "q50", "q95"]]
        drawn = np.interp([lower, middle, upper], edges, below)
        assert np.diff(drawn) == pytest.approx([0.45, 0.45], abs=0.03)


def test_differences_are_tested_over_seeds(content: dict[str, Any], tmp_path: Path) -> None:
    comparison = compare(content, quiet=True, split={"seeds": [0, 1, 2]}, report={"baseline": "points"})
    comparison.save(tmp_path / "run")
    page = read(tmp_path / "run")
    values = comparison.results.pivot(index="seed", columns="model", values="rmse")
    differences = values["bins"] - values["points"]
    # 30 test rows for 60 training rows
    statistic = differences.mean() / np.sqrt((1 / 3 + 0.5) * differences.var())
    p = 2 * stats.t.sf(abs(statistic), 2)
    percent = 100 * differences.mean() / values["points"].mean()
    text = " ".join(page.text.split())
    assert "Nadeau and Bengio" in text
    assert "Holm" in text
    assert f"{percent:+.1f} %".replace("-", "−") in text
    assert f"{p:.3f}" in text
    assert f"those of more than {stats.t.ppf(0.975, 2):.1f} standard errors" in text
    (figure,) = figures_of(page, "Differences of RMSE to points").values()
    (drawn,) = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert drawn["x"] == pytest.approx([percent], rel=1e-3)
    error = 100 / values["points"].mean() * abs(differences.mean() / statistic)
    assert drawn["error_x"]["array"] == pytest.approx([stats.t.ppf(0.975, 2) * error], rel=1e-3)


def test_a_perfect_model_has_a_report(frame: pd.DataFrame, content: dict[str, Any], tmp_path: Path) -> None:
    # two values that a stump tells apart: errors of next to nothing, which a logarithm would not take
    frame.assign(price=(frame["kind"] == "fancy") * 1.0).to_csv(content["table"]["source"], index=False)
    content["models"]["points"]["learning_rate"] = 1.0
    comparison = compare(content, quiet=True)
    comparison.curves.loc[comparison.curves["model"] == "points", "score"] = 0.0
    comparison.save(tmp_path / "run")
    curves = figures_of(read(tmp_path / "run"), "Learning curves, Boosted trees, RMSE").popitem()[1]
    assert "type" not in curves["layout"]["yaxis"]


def test_several_tables_are_summed_up(over_tables: Callable[..., Path]) -> None:
    several = over_tables(6)
    page = read(several)
    results = pd.read_csv(several / "results.csv")
    values = results.pivot(index="table", columns="model", values="rmse")
    ratio = np.exp(np.log(values["bins"] / values["points"]).mean())
    text = " ".join(page.text.split())
    assert f"{ratio:.3f}" in text
    assert "Wilcoxon" in text
    assert "could have been significant with" not in text
    assert f"{stats.wilcoxon(np.log(values['bins'] / values['points'])).pvalue:.3f}" in text
    better = int((values["bins"] < values["points"]).sum())
    assert f"{better} / {6 - better}" in text
    (critical,) = figures_of(page, "Mean ranks in RMSE").values()
    ranks = {t["name"]: t["x"][0] for t in critical["data"] if t["mode"] == "markers"}
    expected = values.rank(axis=1).mean()
    assert ranks == pytest.approx(expected.to_dict())
    tabs = [a["title"] for _, a in page.elements if a.get("role") == "tab" and str(a["id"]).startswith("table-")]
    assert tabs == [f"homes{i}" for i in range(6)]
    assert [a.get("data-section") for _, a in page.elements].count("scores") == 6


def test_tables_too_few_to_tell_anything_are_said_to_be(over_tables: Callable[..., Path]) -> None:
    text = " ".join(read(over_tables(5)).text.split())
    # all five on one side would be a chance of 2 in 32
    assert "no difference could have been significant with 5 tables" in text
    assert "Wilcoxon's signed-rank test would give p = 0.062" in text
    assert "p (Holm)" not in text
    # over six tables one model can be told from the baseline, but not one of two
    more = {"engine": "xgboost", "scheme": "soft", "n_bins": 8, "n_estimators": 4, "n_jobs": 1}
    text = " ".join(read(over_tables(6, more=more)).text.split())
    said = "No difference could have been significant with 6 tables and {} compared: the least p is {}."
    assert "Wilcoxon" in text
    # the CRPS is not that of points, the baseline
    assert said.format("2 models", "0.062") in text


def test_a_log_score_is_not_marked_where_targets_share_a_value(
    frame: pd.DataFrame, content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # a histogram of narrow cells smears what the calibrated distribution gives a mass
    many = frame["kind"] == "plain"
    frame.assign(price=frame["price"].where(~many, 0.0)).to_csv(content["table"]["source"], index=False)
    block = content["models"].pop("points") | {"scheme": "soft", "location": "none", "n_bins": 64}
    content["models"] = {"smeared": block, "calibrated": block | {"calibration": "pooled"}}
    with warnings.catch_warnings():
        # more bins than so few rows fill
        warnings.simplefilter("ignore")
        comparison = compare(content, quiet=True)
    scores = comparison.results.set_index("model")["log_score"]
    assert np.isfinite(scores).all()
    (reason,) = comparison.incomparable["homes"].values()
    assert re.match(r"\d\d % of the training rows share the value 0,", reason)
    comparison.save(tmp_path / "run")
    page = read(tmp_path / "run")
    assert f"No log score is marked as best: {reason}." in " ".join(page.text.split())
    print_scores(comparison.summary(), incomparable=comparison.incomparable)
    printed = capsys.readouterr().out
    texts = [f"{score:.3f}" for score in scores]
    assert all(text in printed and f"{text}*" not in printed for text in texts)
    assert "no log score is best: " in printed
    # without an atom the better one is marked
    frame.to_csv(content["table"]["source"], index=False)
    comparison = compare(content, quiet=True)
    assert comparison.incomparable == {"homes": {}}
    print_scores(comparison.summary(), incomparable=comparison.incomparable)
    assert f"{comparison.results['log_score'].min():.3f}*" in capsys.readouterr().out


def test_the_report_is_made_of_the_files_alone(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "moved")
    page = (moved / "report.html").read_bytes()
    (moved / "report.html").unlink()
    assert write_report(moved) == moved / "report.html"
    assert (moved / "report.html").read_bytes() == page
    assert render_report(moved).encode() == page
    assert not [path for path in moved.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.csv", None, "is not the folder of a comparison: it has no results.csv"),
        ("curves.csv", None, "it has no curves.csv"),
        ("predictions.csv", "table,model\n", "predictions.csv has no column 'seed'"),
        ("examples.json", "{", "examples.json cannot be read"),
        ("config.yaml", "table: [", "config.yaml: cannot be read as YAML"),
    ],
)
def test_files_that_are_no_comparison_are_named(run: Path, name: str, text: str | None, message: str) -> None:
    page = (run / "report.html").read_bytes()
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text, encoding="utf-8")
    with pytest.raises(ExperimentError, match=re.escape(message)):
        write_report(run)
    assert (run / "report.html").read_bytes() == page
    with pytest.raises(ExperimentError, match="there is no such folder"):
        write_report(run / "gone")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "junk", "deep", "link", "remove"])
@pytest.mark.parametrize(
    "name",
    [
        *("results.csv", "predictions.csv", "curves.csv", "importance.csv", "encoders.json", "examples.json"),
        *("facts.json", "manifest.json"),
    ],
)
def test_damage_is_a_line_that_names_the_file(run: Path, name: str, damage: str) -> None:
    page = (run / "report.html").read_bytes()
    path = run / name
    whole = path.read_bytes()
    path.unlink()
    middle = len(whole) // 2
    if damage == "link":
        (run.parent / "elsewhere").write_bytes(whole)
        path.symlink_to(run.parent / "elsewhere")
    elif damage != "remove":
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        junk = bytes(range(256))
        path.write_bytes(
            {"flip": flipped, "cut": whole[:middle], "empty": b"", "junk": junk, "deep": b"[" * 100_000}[damage]
        )
    if (name, damage) == ("manifest.json", "remove"):
        # nothing vouches for the other files any more
        write_report(run)
        return
    with pytest.raises(ExperimentError, match=re.escape(name)) as caught:
        write_report(run)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert (run / "report.html").read_bytes() == page


def test_a_damaged_run_without_a_manifest_is_a_line(run: Path) -> None:
    (run / "manifest.json").unlink()
    (run / "examples.json").write_text('[{"table": "homes"}]', encoding="utf-8")
    with pytest.raises(ExperimentError, match="run is damaged: "):
        write_report(run)


def test_a_changed_configuration_is_shown_or_named(run: Path) -> None:
    config = (run / "config.yaml").read_text("utf-8")
    (run / "config.yaml").write_text(config.replace("baseline: null", "baseline: bins"), encoding="utf-8")
    write_report(run)
    assert "baseline: bins" in (run / "report.html").read_text("utf-8")
    renamed = config.replace("points:", "others:").replace("baseline: null", "baseline: others")
    (run / "config.yaml").write_text(renamed, encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"config\.yaml: report\.baseline: the run has no model 'others'"):
        write_report(run)
    (run / "config.yaml").write_text(config.replace("baseline: null", "baseline: others"), encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"config\.yaml: report\.baseline: there is no model 'others'"):
        write_report(run)
