"""A comparison that is interrupted, or of which a model fails, goes on with what is missing."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import Comparison, ExperimentError, compare, job
from bridges_tabular.experiments.comparison import Unfinished
from bridges_tabular.experiments.parts import Part
from bridges_tabular.experiments.reporting import write_report
from bridges_tabular.experiments.sections import distributions
from bridges_tabular.regressors.folders import read_manifest
from bridges_tabular.regressors.processes import machine

TIMES = ["fit_seconds", "predict_seconds"]
FILES = ["predictions.csv", "curves.csv", "importance.csv", "encoders.json", "examples.json"]


@pytest.fixture
def content(content: dict[str, Any]) -> dict[str, Any]:
    content["models"]["third"] = content["models"]["bins"] | {"scheme": "soft"}
    content["split"]["seeds"] = [0, 3]
    return content


@pytest.fixture
def network() -> dict[str, Any]:
    return {"engine": "tabular", "scheme": "soft", "n_bins": 8, "max_epochs": 2}


class Fits:
    """What was fitted, by name and seed; one of them raises."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.failing: dict[tuple[str, int], BaseException] = {}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    fits, fit_and_score = Fits(), job.fit_and_score

    def fit(table: Any, split: Any, name: str, *more: Any) -> Any:
        if (name, split.seed) in fits.failing:
            raise fits.failing[name, split.seed]
        fits.done.append((name, split.seed))
        return fit_and_score(table, split, name, *more)

    monkeypatch.setattr(job, "fit_and_score", fit)
    return fits


def assert_same(found: Comparison, expected: Comparison) -> None:
    pd.testing.assert_frame_equal(
        found.results.drop(columns=TIMES), expected.results.drop(columns=TIMES), check_exact=True
    )
    pd.testing.assert_frame_equal(found.predictions, expected.predictions, check_exact=True)
    pd.testing.assert_frame_equal(found.curves, expected.curves, check_exact=True)
    pd.testing.assert_frame_equal(found.importances, expected.importances, check_exact=True)
    assert found.encoders == expected.encoders
    assert found.examples == expected.examples


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(content: dict[str, Any], out: Path, fits: Fits, at: tuple[str, int]) -> None:
    fits.failing = {at: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        compare(content, out=out, quiet=True)
    fits.failing, fits.done = {}, []


def test_an_interrupted_comparison_goes_on_to_the_same_results(
    content: dict[str, Any],
    network: dict[str, Any],
    tmp_path: Path,
    fits: Fits,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content["models"]["third"] = network
    whole = compare(content, out=tmp_path / "whole", quiet=True)
    fits.done = []
    interrupt(content, tmp_path / "run", fits, at=("points", 3))
    assert names(tmp_path / "run") == ["unfinished"]
    with pytest.raises(ExperimentError, match="run holds an unfinished comparison"):
        write_report(tmp_path / "run")
    capsys.readouterr()
    assert_same(compare(content, out=tmp_path / "run"), whole)
    assert fits.done == [("points", 3), ("bins", 3), ("third", 3)]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "going on with an unfinished run: 3 of 6 fits are kept"
    assert [line.split(",")[0] for line in said[1:]] == [f"{name} on homes" for name in ("points", "bins", "third")]
    assert names(tmp_path / "run") == names(tmp_path / "whole")
    for file in FILES:
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert_same(compare(content, quiet=True), whole)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_interruption_before_the_first_fit_leaves_nothing(
    content: dict[str, Any], tmp_path: Path, fits: Fits
) -> None:
    interrupt(content, tmp_path / "deep" / "run", fits, at=("points", 0))
    assert not (tmp_path / "deep").exists()
    (tmp_path / "mine").mkdir()
    interrupt(content, tmp_path / "mine", fits, at=("points", 0))
    assert names(tmp_path / "mine") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": {"bins": {"n_bins": 9}}}, ["models.bins.n_bins was 8 and is 9"]),
        ({"models": {"more": {"engine": "xgboost"}}}, ["models.more.engine was not given and is 'xgboost'"]),
        ({"split": {"test": 0.3, "seeds": [0, 3, 4]}}, ["split.test was 0.25 and is 0.3", "split.seeds was [0, 3]"]),
        ({"table": {"rows": 100}}, ["table.rows was None and is 100"]),
    ],
)
def test_another_configuration_is_refused_by_its_keys(
    content: dict[str, Any], tmp_path: Path, fits: Fits, change: dict[str, Any], words: list[str]
) -> None:
    interrupt(content, tmp_path / "run", fits, at=("bins", 0))
    with pytest.raises(ExperimentError, match="holds an unfinished run of another configuration") as caught:
        compare(content, out=tmp_path / "run", quiet=True, **change)
    assert fits.done == []
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in [*words, "--overwrite"])
    # of the configuration that was not changed, nothing is said
    assert str(caught.value).count(" was ") == len(words)
    compare(content, out=tmp_path / "run", quiet=True, overwrite=True, **change)
    assert ("points", 0) in fits.done
    assert "unfinished" not in names(tmp_path / "run")


def test_models_in_another_order_are_refused(content: dict[str, Any], tmp_path: Path, fits: Fits) -> None:
    interrupt(content, tmp_path / "run", fits, at=("third", 0))
    moved = content | {"models": dict(reversed(content["models"].items()))}
    with pytest.raises(ExperimentError, match="the order of models was points, bins, third and is third, bins, points"):
        compare(moved, out=tmp_path / "run", quiet=True)
    assert fits.done == []


def test_what_no_fit_depends_on_may_change(content: dict[str, Any], tmp_path: Path, fits: Fits) -> None:
    interrupt(content, tmp_path / "run", fits, at=("third", 3))
    changed = compare(content, out=tmp_path / "run", quiet=True, report={"baseline": "bins"})
    assert fits.done == [("third", 3)]
    assert changed.experiment.report.baseline == "bins"


def test_other_rows_and_other_versions_are_refused(
    content: dict[str, Any], tmp_path: Path, fits: Fits, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(content, tmp_path / "run", fits, at=("bins", 0))
    before = Path(content["table"]["source"]).read_bytes()
    frame.assign(size=frame["size"] + 1e-9).to_csv(content["table"]["source"], index=False)
    with pytest.raises(ExperimentError, match="the rows of homes are others"):
        compare(content, out=tmp_path / "run", quiet=True)
    Path(content["table"]["source"]).write_bytes(before)
    version = job.version
    monkeypatch.setattr(job, "version", lambda name: "0.0" if name == "xgboost" else version(name))
    with pytest.raises(ExperimentError, match=r"the version of xgboost was [\d.]+ and is 0\.0"):
        compare(content, out=tmp_path / "run", quiet=True)
    assert fits.done == []


def test_a_failing_model_is_a_row_and_the_others_are_finished(
    content: dict[str, Any], tmp_path: Path, fits: Fits
) -> None:
    whole = compare(content, quiet=True)
    fits.done, fits.failing = [], {("bins", 3): ValueError("the <b>bins</b>\nare broken")}
    with pytest.warns(RuntimeWarning, match="bins on homes, seed 3 has failed: ValueError: the <b>bins</b> are broken"):
        failed = compare(content, out=tmp_path / "run", quiet=True)
    assert len(fits.done) == 5
    (error,) = failed.errors.to_dict("records")
    assert "line" in error.pop("traceback")
    assert error == {"table": "homes", "model": "bins", "seed": 3, "error": "ValueError: the <b>bins</b> are broken"}
    saved = pd.read_csv(tmp_path / "run" / "errors.csv")
    assert saved["error"].tolist() == ["ValueError: the <b>bins</b> are broken"]
    results = pd.read_csv(tmp_path / "run" / "results.csv")
    assert results.columns.tolist() == whole.results.columns.tolist()
    scores = results.set_index(["model", "seed"]).drop(columns=["table", "engine", "scheme"])
    assert scores.loc[("bins", 3)].isna().all()
    assert results["scheme"].tolist() == whole.results["scheme"].tolist()
    assert scores["rmse"].notna().sum() == 5
    # a mean over other splits than those of the others would not compare
    assert np.isnan(failed.summary().set_index("model").loc["bins", "rmse"])
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "1 of 6 fits have failed" in page
    assert "the &lt;b&gt;bins&lt;/b&gt; are broken" in page
    # the same call tries again what is missing, and that alone
    fits.done, fits.failing = [], {}
    assert_same(compare(content, out=tmp_path / "run", quiet=True), whole)
    assert fits.done == [("bins", 3)]
    assert not {"errors.csv", "unfinished"} & set(names(tmp_path / "run"))
    assert "have failed" not in (tmp_path / "run" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("failing", [["points"], ["bins", "third"], ["points", "bins", "third"]])
@pytest.mark.parametrize("seeds", [[0], [0, 3]])
def test_whatever_fails_there_is_a_report(
    content: dict[str, Any], tmp_path: Path, fits: Fits, failing: list[str], seeds: list[int]
) -> None:
    fits.failing = {(name, seed): MemoryError() for name in failing for seed in seeds}
    with pytest.warns(RuntimeWarning, match="has failed: MemoryError"):
        comparison = compare(content, out=tmp_path / "run", quiet=True, split={"seeds": seeds})
    assert len(comparison.errors) == len(failing) * len(seeds)
    assert "have failed" in (tmp_path / "run" / "report.html").read_text("utf-8")
    before = (tmp_path / "run" / "report.html").read_bytes()
    write_report(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").read_bytes() == before
    assert comparison.incomparable == {"homes": {}}


def test_several_tables_have_a_report_whatever_fails(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: Fits, frame: pd.DataFrame
) -> None:
    frame.assign(price=-frame["price"]).to_csv(tmp_path / "other.csv", index=False)
    tables = [content.pop("table")]
    tables.append(tables[0] | {"source": str(tmp_path / "other.csv")})
    fit = job.fit_and_score

    def fail(table: Any, *more: Any) -> Any:
        if table.name == "other" and more[1] == "bins":
            raise ValueError("negative")
        return fit(table, *more)

    monkeypatch.setattr(job, "fit_and_score", fail)
    with pytest.warns(RuntimeWarning, match="bins on other, seed [03] has failed"):
        comparison = compare(content | {"tables": tables}, out=tmp_path / "run", quiet=True)
    assert comparison.errors["table"].tolist() == ["other", "other"]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "2 of 6 fits have failed" in page


def test_without_a_folder_a_failure_is_a_warning_and_a_row(content: dict[str, Any], fits: Fits) -> None:
    fits.failing = {("third", 0): RuntimeError("x" * 1000)}
    with pytest.warns(RuntimeWarning, match="third on homes, seed 0 has failed"):
        comparison = compare(content, quiet=True)
    assert len(comparison.errors["error"][0]) < 320
    assert len(comparison.results) == 6


def test_a_finished_run_is_refused_and_replaced_only_at_the_end(
    content: dict[str, Any], tmp_path: Path, fits: Fits
) -> None:
    out = tmp_path / "run"
    compare(content, out=out, quiet=True, models={"bins": {"n_bins": 6}})
    old = (out / "results.csv").read_bytes()
    fits.done = []
    with pytest.raises(ExperimentError, match="run holds another run"):
        compare(content, out=out, quiet=True)
    assert fits.done == []
    fits.failing = {("third", 0): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        compare(content, out=out, quiet=True, overwrite=True)
    assert (out / "results.csv").read_bytes() == old
    assert write_report(out).is_file()
    fits.failing, fits.done = {}, []
    with pytest.raises(ExperimentError, match="run holds another run"):
        compare(content, out=out, quiet=True)
    compare(content, out=out, quiet=True, overwrite=True)
    assert len(fits.done) == 4
    assert (out / "results.csv").read_bytes() != old
    assert "unfinished" not in names(out)


def test_a_full_disk_is_a_line_and_the_same_call_goes_on(
    content: dict[str, Any], tmp_path: Path, fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Part.write

    def write_until_full(part: Part, folder: Path) -> None:
        if len(fits.done) == 3:
            raise OSError(28, "No space left on device", str(folder))
        write(part, folder)

    monkeypatch.setattr(Part, "write", write_until_full)
    with pytest.raises(ExperimentError, match=r"cannot be written: No space left on device; the same command goes on"):
        compare(content, out=tmp_path / "run", quiet=True)
    monkeypatch.setattr(Part, "write", write)
    fits.done = []
    compare(content, out=tmp_path / "run", quiet=True)
    assert len(fits.done) == 4


def test_a_run_that_was_about_to_be_tidied_up_is_finished(
    content: dict[str, Any], tmp_path: Path, fits: Fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    discard = Unfinished.discard

    def kill(unfinished: Unfinished) -> None:
        if unfinished.count():
            raise KeyboardInterrupt
        discard(unfinished)

    monkeypatch.setattr(Unfinished, "discard", kill)
    with pytest.raises(KeyboardInterrupt):
        compare(content, out=out, quiet=True)
    monkeypatch.setattr(Unfinished, "discard", discard)
    assert "unfinished" in names(out)
    fits.done = []
    with pytest.raises(ExperimentError, match="run holds another run"):
        compare(content, out=out, quiet=True)
    assert "unfinished" not in names(out)
    assert fits.done == []


def fit_folders(run: Path) -> list[Path]:
    return sorted(run.glob("unfinished/fit-*"))


@pytest.mark.parametrize(
    ("file", "damage"), [("results.csv", "flip"), ("arrays.safetensors", "cut"), ("encoders.json", "remove")]
)
def test_a_damaged_fit_is_fitted_again(
    content: dict[str, Any], tmp_path: Path, fits: Fits, file: str, damage: str
) -> None:
    interrupt(content, tmp_path / "run", fits, at=("third", 0))
    path = fit_folders(tmp_path / "run")[1] / file
    whole = path.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes({"flip": flipped, "cut": whole[: len(whole) // 2]}[damage])
    with pytest.warns(UserWarning, match=rf"{file} .*: fitted again"):
        again = compare(content, out=tmp_path / "run", quiet=True)
    assert fits.done[0] == ("bins", 0)
    fits.done = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert_same(again, compare(content, quiet=True))


def test_what_is_no_part_of_an_unfinished_run_is_named_and_stays(
    content: dict[str, Any], tmp_path: Path, fits: Fits
) -> None:
    interrupt(content, tmp_path / "run", fits, at=("third", 0))
    kept = tmp_path / "run" / "unfinished"
    for name in ("notes.txt", "unfinished/notes.txt", "unfinished/fit-1/notes.txt"):
        path = tmp_path / "run" / name
        path.write_text("years of work", encoding="utf-8")
        for overwrite in (False, True):
            with pytest.raises(ExperimentError, match=r"holds notes\.txt, .* choose another folder with --out"):
                compare(content, out=tmp_path / "run", quiet=True, overwrite=overwrite)
        assert path.read_text("utf-8") == "years of work"
        path.unlink()
    shutil.copytree(kept / "fit-1", kept / ".fit-9.new-1999-thoughts")
    with pytest.raises(ExperimentError, match=r"holds \.fit-9\.new-1999-thoughts, which is no part"):
        compare(content, out=tmp_path / "run", quiet=True)
    shutil.rmtree(kept / ".fit-9.new-1999-thoughts")
    manifest = kept / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace("homes", "hoMes", 1), encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"manifest\.json is damaged.*; choose another folder with --out"):
        compare(content, out=tmp_path / "run", quiet=True)
    assert fits.done == []


def test_dead_processes_leave_nothing(content: dict[str, Any], tmp_path: Path, fits: Fits) -> None:
    interrupt(content, tmp_path / "run", fits, at=("third", 0))
    # as a kill leaves it, of a process whose number none has
    half = tmp_path / "run" / "unfinished" / f".fit-3.new-{2**30}-{'0' * 32}"
    half.mkdir()
    (half / "results.csv").touch()
    lock = {"process": 2**30, "started": "1", "machine": machine()}
    (tmp_path / ".run.lock").write_text(json.dumps(lock), encoding="utf-8")
    compare(content, out=tmp_path / "run", quiet=True)
    assert len(fits.done) == 4
    assert "unfinished" not in names(tmp_path / "run")
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_the_manifest_lists_every_file(content: dict[str, Any], tmp_path: Path) -> None:
    compare(content, out=tmp_path / "run", quiet=True)
    manifest = read_manifest(tmp_path / "run")
    assert sorted([*manifest["files"], "manifest.json"]) == names(tmp_path / "run")
    assert manifest["class"] == "Comparison"


def test_examples_of_a_large_test_part_are_chosen_from_a_draw(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fits: Fits
) -> None:
    monkeypatch.setattr(distributions, "_CANDIDATES", 20)
    comparison = compare(content, quiet=True)
    assert len({example["row"] for example in comparison.examples}) == 9
    predictions = comparison.predictions.query("seed == 0").set_index(["model", "row"])
    for example in comparison.examples:
        for name, said in example["models"].items():
            row = predictions.loc[(name, example["row"])]
            assert (said["y_pred"], example["y_true"]) == (row["y_pred"], row["y_true"])
            distribution = distributions.read_distribution(said)
            if distribution is not None:
                assert distribution.crps(row["y_true"])[0] == pytest.approx(row["crps"], rel=1e-9)
    interrupt(content, tmp_path / "run", fits, at=("third", 0))
    assert_same(compare(content, out=tmp_path / "run", quiet=True), comparison)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "worst on average, of 20 drawn at random." in page


def test_an_experiment_that_no_file_can_hold_is_refused_before_any_fit(
    content: dict[str, Any], tmp_path: Path, fits: Fits, changed: Callable[..., dict[str, Any]]
) -> None:
    class Depth(int):
        pass

    with pytest.raises(ExperimentError, match="cannot be written as YAML"):
        compare(changed("models", "bins", "n_estimators", Depth(4)), out=tmp_path / "run", quiet=True)
    assert fits.done == []
    assert not (tmp_path / "run").exists()
