"""Write the reference of the experiment file: its blocks into docs/experiment-file.md, all parameters into
docs/parameters.md.

The text comes from the configuration classes and the docstrings of the regressors: ``python docs/reference.py``.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from bridges_tabular.experiments.blocks import ReportBlock, SplitBlock, StudyBlock, TableBlock, alternatives
from bridges_tabular.experiments.engines import ENGINES

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = ROOT / "docs" / "experiment-file.md"
PARAMETERS = ROOT / "docs" / "parameters.md"
START, END = "<!-- reference: written by docs/reference.py -->", "<!-- end of the reference -->"

_BLOCKS = {"table": TableBlock, "split": SplitBlock, "report": ReportBlock, "study": StudyBlock}


def main() -> None:
    """Write both files."""
    EXPERIMENT.write_text(updated(EXPERIMENT.read_text(encoding="utf-8")), encoding="utf-8")
    PARAMETERS.write_text(parameters_page(), encoding="utf-8")


def updated(page: str) -> str:
    """Return the page with the part between the two marks as the classes have it now."""
    before, rest = page.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{blocks_table()}{END}{after}"


def blocks_table() -> str:
    """Return the keys of the experiment file as a table in Markdown."""
    lines = ["| key | default | what it is |", "|---|---|---|"]
    for name, block in _BLOCKS.items():
        lines += [
            f"| `{name}.{item.name}` | {_default(item)} | {_cell(item.metadata['help'])} |" for item in fields(block)
        ]
    lines.append(f"| `models.NAME.engine` | required | {alternatives(f'`{name}`' for name in ENGINES)} |")
    clustered = alternatives(f"`{name}`" for name, engine in ENGINES.items() if engine.takes_cluster)
    lines.append(
        f"| `models.NAME.cluster` | `null` | of engine {clustered}: a Dask cluster that fits the model, `local` or the"
        " address of a scheduler (`tcp://host:8786`), see [docs/scale.md](scale.md#boosting-on-dask) |"
    )
    lines.append(
        "| `models.NAME.…` | | any parameter of the engine's regressor, see [docs/parameters.md](parameters.md) |"
    )
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """Return the parameters of all engines as a page in Markdown."""
    parts = [
        "# Parameters of the models",
        "Keys of a block under `models` in an experiment file, and arguments of the regressors in Python. Written by"
        " `python docs/reference.py` from the docstrings.",
    ]
    for engine in ENGINES.values():
        lines = [
            f"## `engine: {engine.name}`, {engine.class_name}",
            "",
            "| key | type and default | what it is |",
            "|---|---|---|",
        ]
        lines += [
            f"| `{names}` | {_cell(kind)} | {_cell(text)} |" for names, kind, text in _documented(engine.regressor())
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _documented(regressor: type) -> list[tuple[str, str, str]]:
    """Return names, type and description of each entry under Parameters in a numpy docstring."""
    section = re.split(r"\nParameters\n-+\n", inspect.getdoc(regressor) or "")[1]
    section = re.split(r"\n\w[\w ]*\n-+\n", section)[0]
    entries = re.findall(r"^(\w[\w, ]*) : (.+)\n((?:    .*\n|\n)*)", section.rstrip() + "\n", flags=re.MULTILINE)
    return [("`, `".join(names.split(", ")), kind, " ".join(text.split())) for names, kind, text in entries]


def _default(item: Field[Any]) -> str:
    if item.default is MISSING and item.default_factory is MISSING:
        return "required"
    value = item.default if item.default_factory is MISSING else item.default_factory()
    if value is None:
        return "`null`"
    return f"`{list(value) if isinstance(value, tuple) else value}`".replace("'", "").replace("True", "true")


def _cell(text: str) -> str:
    """Return text that stays inside a cell: roles of Sphinx become code, bars are escaped."""
    text = re.sub(r":\w+:`~?([^`]+)`", lambda found: f"`{found[1].split('.')[-1]}`", text)
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    main()
