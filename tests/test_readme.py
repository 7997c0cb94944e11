"""What README.md says is true: its code runs, its files are read, its reference is that of the code."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from bridges_tabular.cli import main
from bridges_tabular.experiments import Experiment
from bridges_tabular.experiments.engines import ENGINES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENT_PAGE = (ROOT / "docs" / "experiment-file.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
(EXPERIMENT,) = [code for language, code in BLOCKS if language == "yaml"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run everything in a folder that holds the file which README.md shows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_to_compare_and_to_test_come_first() -> None:
    assert COMMANDS[:3] == [
        "pip install -c constraints.txt . && bridges-tabular compare",
        'pip install -c constraints.txt ".[test]" && pytest -n auto',
        "pytest -n auto -m slow",
    ]


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks_run(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_the_experiment_is_one() -> None:
    experiment = Experiment.read("my.yaml")
    assert experiment.report.baseline in experiment.models
    assert experiment.study is not None


@pytest.mark.slow
def test_commands_run_one_after_the_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line for line in COMMANDS if line.startswith("bridges-tabular ")]
    assert len(commands) >= 6
    for line in commands:
        arguments = shlex.split(line, comments=True)[1:]
        small = ["table.rows=300", "models.network.max_epochs=2"]
        inputs = small if "my.yaml" in arguments else []
        assert main([*arguments, *inputs, "--quiet"]) == 0, line
    assert capsys.readouterr() == ("", "")
    for name in ("runs/mine/report.html", "models/bins/config.yaml", "predictions.csv", "runs/tuned/best.yaml"):
        assert (folder / name).is_file(), name
    # the dashboard is pointed at a file that is there
    (log,) = re.findall(r"`optuna-dashboard ([^`]+)`", EXPERIMENT_PAGE)
    assert (folder / log).is_file()


def test_files_that_are_linked_exist() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert {"docs/report.png", "docs/benchmarks.md", "docs/experiment-file.md"} <= set(links)


def test_readme_is_short() -> None:
    assert len(README.splitlines()) < 150


def test_the_reference_is_that_of_the_code(reference: ModuleType) -> None:
    hint = "run python docs/reference.py"
    page = reference.EXPERIMENT.read_text(encoding="utf-8")
    assert reference.updated(page) == page, hint
    assert reference.parameters_page() == reference.PARAMETERS.read_text(encoding="utf-8"), hint


def test_the_reference_holds_every_parameter(reference: ModuleType) -> None:
    page = reference.parameters_page()
    for engine in ENGINES.values():
        named = set(re.findall(r"`(\w+)`", page.split(engine.class_name)[1].split("\n## ")[0]))
        assert set(inspect.signature(engine.regressor()).parameters) <= named
