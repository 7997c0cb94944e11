"""The notebooks run from top to bottom, and what is kept of their outputs is fit to be shown."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_the_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_quickstart",
        "02_study",
        "03_xgboost_comparison",
        "04_inside_pytorch_tabular",
        "05_decisions",
        "06_demand_in_time",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_name_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert "error" not in kinds
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"/(?:home|Users|root|tmp|work|opt|usr|var)/[\w.-]+", text) == []
    assert len(text) < 500_000


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    kept = [[output.output_type for output in cell.get("outputs", [])] for cell in notebook.cells]
    NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    again = [
        [output.output_type for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        for cell in notebook.cells
    ]
    assert again == kept
    # pytorch-tabular's own folder, which it leaves wherever a TabularModel was fitted
    left = [path.name for path in tmp_path.iterdir() if path.name != ".pt_tmp"]
    assert left == [], "a notebook leaves files behind"
