"""What the pages of docs/ say is true: their code and commands run, their links lead somewhere, no name lacks."""

from __future__ import annotations

import importlib
import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bridges_tabular.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# several comparisons or a study each
LONG = {"index", "own-table", "pooling", "time-series", "tuning"}
GUIDES = [
    pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in LONG))
    for page in (DOCS / "index.md", DOCS / "scale.md", *sorted((DOCS / "guides").glob("*.md")))
]
SITE = (DOCS / "site" / "mkdocs.yml").read_text(encoding="utf-8")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Languages and contents."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", GUIDES)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python as one program, files that name themselves, commands, and the text that Python prints."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = ""
    for language, content in blocks(page):
        if language == "python":
            with redirect_stdout(StringIO()) as out:
                exec(compile(content, page.name, "exec"), names)
            printed = out.getvalue()
        elif language == "yaml":
            (name,) = re.findall(r"\A# (\w+\.ya?ml)\n", content)
            Path(name).write_text(content, encoding="utf-8")
        elif language == "sh":
            for line in content.splitlines():
                if line.startswith("bridges-tabular "):
                    assert main([*shlex.split(line)[1:], "--quiet"]) == 0, line
        elif language == "console":
            # of several machines: tests/cli/test_tune_machines.py runs them
            assert page.stem == "tuning"
        else:
            assert language == "text"
            assert printed == content


def test_links_lead_to_files() -> None:
    for page in DOCS.rglob("*.md"):
        links = re.findall(r"\]\(([^)\s#:]+)(?:#\S*)?\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", SITE, flags=re.MULTILINE))
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert {name for name in listed if not name.startswith("repository/")} == there
    copies = {name.removeprefix("repository/") for name in listed if name.startswith("repository/")}
    assert copies
    assert all((ROOT / name).is_file() for name in copies)


@pytest.mark.parametrize("module", ["bridges_tabular", "bridges_tabular.experiments", "bridges_tabular.metrics"])
def test_the_reference_has_every_public_name(module: str) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: ([\w.]+)$", pages, flags=re.MULTILINE))
    # another module may be the home of a name
    names = {name.split(".")[-1] for name in shown}
    if module not in shown:
        assert set(importlib.import_module(module).__all__) <= names
    for name in shown - {module}:
        parent, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(parent), last) or importlib.import_module(name)
