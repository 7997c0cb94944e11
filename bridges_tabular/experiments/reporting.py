"""The report of a comparison: one self-contained HTML page, made from the files of the run alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from bridges_tabular.experiments import folders
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.pages import environment, plotly_script
from bridges_tabular.experiments.run import Run, was_changed
from bridges_tabular.experiments.sections import COLLECTING, FIRST, LAST, OF_TABLE
from bridges_tabular.experiments.sections.base import Page, Section


def write_report(folder: str | Path) -> Path:
    """Make the report of a run anew; what it was made of before is replaced as a whole.

    Parameters
    ----------
    folder : path
        Written by ``Comparison.save``.

    Returns
    -------
    Path of the report

    Raises
    ------
    ExperimentError
        If the folder is not that of a comparison, a file of it cannot be read, or the report cannot be written.
    """
    path = Path(folder) / folders.REPORT_FILE
    try:
        page = render_report(folder)
    except ExperimentError:
        raise
    except Exception as error:
        # of files that are as they were written it is no fault
        if not (changed := was_changed(folder)):
            raise
        raise ExperimentError(f"{changed} is damaged: {' '.join(str(error).split())}") from None
    folders.check_writable(path)
    with folders.new_file(path) as written:
        written.write_text(page, encoding="utf-8")
    return path


def render_report(folder: str | Path) -> str:
    """Return the report of a run as HTML: the same files give the same page to the last byte.

    Raises
    ------
    ExperimentError
        If the folder is not that of a comparison, or a file of it cannot be read.
    """
    run = Run.read(folder, COLLECTING)
    page, templates = Page(run), environment()
    first = _render(FIRST, run, page, templates)
    tables: list[dict[str, Any]] = []
    for number, facts in enumerate(run.tables):
        sections = _render(OF_TABLE, run.of_table(facts["name"]), page, templates, f"t{number}-")
        tables.append({"facts": facts, "sections": sections})
    last = _render(LAST, run, page, templates)
    everything = [*first, *(section for table in tables for section in table["sections"]), *last]
    return templates.get_template("report.html.jinja").render(
        run=run,
        look=page.look,
        first=first,
        tables=tables,
        last=last,
        # to the first table that has such a section
        links={section["key"]: section for section in reversed(everything) if section["link"]},
        order=[section.key for section in (*FIRST, *OF_TABLE, *LAST)],
        figures=page.figures,
        plotly=plotly_script(),
    )


def _render(
    sections: Iterable[Section], run: Run, page: Page, templates: Environment, id: str = ""
) -> list[dict[str, Any]]:
    """Return the sections that have something to show: headings, and HTML; ``id`` begins their ids."""
    rendered = []
    for section in sections:
        shown = section.show(run, page)
        if shown is None:
            continue
        template = templates.get_template(f"sections/{section.key}.html.jinja")
        html = Markup(template.render(**shown, run=run, look=page.look, id=id))
        about = {"key": section.key, "title": section.title, "link": section.link, "id": f"{id}{section.key}"}
        rendered.append(about | {"html": html})
    return rendered
