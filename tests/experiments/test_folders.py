from __future__ import annotations

from pathlib import Path

import pytest

from bridges_tabular.experiments import ExperimentError
from bridges_tabular.experiments.folders import check_folder, new_file, new_folder
from bridges_tabular.regressors.folders import MANIFEST_FILE

RUN = ["config.yaml", "manifest.json", "results.csv"]


def make_run(folder: Path, text: str = "old", *, overwrite: bool = False) -> Path:
    with new_folder(folder, overwrite, {"class": "Comparison"}) as written:
        for name in ("config.yaml", "results.csv"):
            (written / name).write_text(text, encoding="utf-8")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    with new_folder(out, False, {}) as folder:
        (folder / "a.txt").write_text("a", encoding="utf-8")
        assert not out.exists()
    assert names(out) == ["a.txt", "manifest.json"]
    assert names(out.parent) == ["run"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    with new_folder(tmp_path, False, {}) as folder:
        (folder / "a.txt").write_text("a", encoding="utf-8")
    assert (tmp_path / "a.txt").is_file()


def test_another_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = make_run(tmp_path / "run")
    with pytest.raises(ExperimentError, match=r"run holds another run: .* --overwrite"):
        check_folder(out, overwrite=False)
    make_run(out, "new", overwrite=True)
    assert names(out) == RUN
    assert (out / "results.csv").read_text("utf-8") == "new"
    assert names(tmp_path) == ["run"]


def test_an_interrupted_run_leaves_everything_as_it_was(tmp_path: Path) -> None:
    out = make_run(tmp_path / "run")

    def write_half() -> None:
        with new_folder(out, True, {}) as folder:
            (folder / "a.txt").write_text("a", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (out / "config.yaml").read_text("utf-8") == "old"
    assert names(tmp_path) == ["run"]


def test_files_that_are_no_run_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(ExperimentError, match=r"holds thesis\.tex, which is nothing that was saved there"):
            check_folder(tmp_path, overwrite)
    with pytest.raises(ExperimentError, match=r"thesis.tex is a file, not a folder"):
        check_folder(tmp_path / "thesis.tex", overwrite=True)
    with pytest.raises(ExperimentError, match=r"cannot be written: .*thesis.tex is a file"):
        check_folder(tmp_path / "thesis.tex" / "run", overwrite=False)


@pytest.mark.parametrize("name", ["thesis.tex", "figures/plot.svg", "config.yaml~"])
def test_what_somebody_put_beside_a_run_is_named_and_stays(tmp_path: Path, name: str) -> None:
    out = make_run(tmp_path / "run")
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("years of work", encoding="utf-8")
    for replace in (lambda: check_folder(out, True), lambda: make_run(out, "new", overwrite=True)):
        with pytest.raises(ExperimentError, match=rf"run holds {name}, which is no part of .* --out") as caught:
            replace()
        assert "\n" not in str(caught.value)
    assert (out / name).read_text("utf-8") == "years of work"
    assert (out / "results.csv").read_text("utf-8") == "old"


def test_names_of_files_alone_make_no_run(tmp_path: Path) -> None:
    for name in ("config.yaml", "results.csv", "bridge.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"holds bridge\.json, which is nothing that was saved there"):
        check_folder(tmp_path, overwrite=True)
    (tmp_path / MANIFEST_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"manifest\.json is damaged.* --out"):
        check_folder(tmp_path, overwrite=True)


def test_a_saved_model_is_no_run(tmp_path: Path) -> None:
    with new_folder(tmp_path / "model", False, {"class": "XGBBridgeRegressor"}) as folder:
        (folder / "bridge.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ExperimentError, match="model holds a saved model, not a run"):
        check_folder(tmp_path / "model", overwrite=True)


def test_a_file_is_written_whole_or_stays_and_dead_processes_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old", encoding="utf-8")
    # no process has such a number
    left = tmp_path / f".out.csv.new-{2**30}-{'0' * 32}"
    left.touch()
    mine = tmp_path / ".out.csv.new-1999-thoughts"
    mine.touch()

    def fail() -> None:
        with new_file(path) as written:
            written.write_text("half", encoding="utf-8")
            raise OSError(28, "No space left on device")

    with pytest.raises(ExperimentError, match=r"out\.csv cannot be written: No space left on device"):
        fail()
    assert path.read_text("utf-8") == "old"
    assert names(tmp_path) == [mine.name, "out.csv"]
    with new_file(path) as written:
        written.write_text("new", encoding="utf-8")
    assert path.read_text("utf-8") == "new"
