from __future__ import annotations

from pathlib import Path

import pytest

from bridges_tabular.experiments import ExperimentError
from bridges_tabular.experiments.folders import check_folder, new_folder


def make_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text("old", encoding="utf-8")
    (folder / "results.csv").write_text("old", encoding="utf-8")
    return folder


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    with new_folder(out, overwrite=False) as folder:
        (folder / "a.txt").write_text("a", encoding="utf-8")
        assert not out.exists()
    assert [p.name for p in out.iterdir()] == ["a.txt"]
    assert [p.name for p in out.parent.iterdir()] == ["run"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    with new_folder(tmp_path, overwrite=False) as folder:
        (folder / "a.txt").write_text("a", encoding="utf-8")
    assert (tmp_path / "a.txt").is_file()


def test_another_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = make_run(tmp_path / "run")
    with pytest.raises(ExperimentError, match=r"run holds another run: .* --overwrite"):
        check_folder(out, overwrite=False)
    with new_folder(out, overwrite=True) as folder:
        (folder / "a.txt").write_text("a", encoding="utf-8")
    assert [p.name for p in out.iterdir()] == ["a.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_interrupted_run_leaves_everything_as_it_was(tmp_path: Path) -> None:
    out = make_run(tmp_path / "run")

    def write_half() -> None:
        with new_folder(out, overwrite=True) as folder:
            (folder / "a.txt").write_text("a", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (out / "config.yaml").read_text("utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_files_that_are_no_run_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(ExperimentError, match="holds files that are not a run"):
            check_folder(tmp_path, overwrite)
    with pytest.raises(ExperimentError, match=r"thesis.tex is a file, not a folder"):
        check_folder(tmp_path / "thesis.tex", overwrite=True)
    with pytest.raises(ExperimentError, match=r"cannot be written: .*thesis.tex is a file"):
        check_folder(tmp_path / "thesis.tex" / "run", overwrite=False)
