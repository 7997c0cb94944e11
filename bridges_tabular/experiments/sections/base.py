"""What a section of the report is, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridges_tabular.experiments.engines import Regressor
from bridges_tabular.experiments.parts import Part
from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.drawing import Figure, Look, looks
from bridges_tabular.experiments.splits import Split
from bridges_tabular.experiments.tables import Table


@dataclass(frozen=True)
class FittedModel:
    """A model of one table, fitted on its first split; gone when the next one is fitted.

    Attributes
    ----------
    table, split : Table, Split
    name : str
    model : Regressor
    """

    table: Table
    split: Split
    name: str
    model: Regressor


@dataclass(frozen=True)
class FirstSplit:
    """What was kept of all models of one table that were fitted on its first split.

    Attributes
    ----------
    table, split : Table, Split
    parts : dict of Part
        By the names of the models.
    """

    table: Table
    split: Split
    parts: Mapping[str, Part]


class Page:
    """What all sections of a page share: how each model looks, and the list of figures.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self.look: dict[str, Look] = looks(run.models)
        self.figures: list[Figure] = []

    def add(self, figure: Figure, label: str, title: str = "", **more: Any) -> dict[str, Any]:
        """Keep a figure; return what the place that shows it needs, where ``more`` adds to it."""
        height = figure.pop("height", None)
        self.figures.append(figure)
        return {"number": len(self.figures) - 1, "label": label, "title": title, "height": height} | more


class Section(ABC):
    """One part of the report.

    Attributes
    ----------
    key : str
        Of its place on the page, and of its template, ``templates/sections/KEY.html.jinja``. The template gets what
        :meth:`show` returns, ``run``, ``look`` and ``id``, a prefix for the ids of the table's elements.
    title : str
        The heading; none where it is empty.
    link : str
        In the bar that leads to the headings.
    file : File or None
        Where the run keeps what the section collects.
    """

    key: ClassVar[str]
    title: ClassVar[str] = ""
    link: ClassVar[str] = ""
    file: ClassVar[File | None] = None

    def collect(self, fitted: FittedModel) -> Any:
        """Return what ``file`` is to hold of one model; None where :meth:`join` needs nothing of it."""
        return None

    def join(self, first: FirstSplit) -> Any:
        """Return the content of ``file`` for one table, from what was kept of its models."""
        file = self.file
        assert file is not None
        # a fit that was kept has no file where it had nothing to say
        parts = [part for part in first.parts.values() if not file.optional or file in part.collected]
        return file.join([part.collected[file] for part in parts])

    @abstractmethod
    def show(self, run: Run, page: Page) -> dict[str, Any] | None:
        """Return what the template needs; None to leave the section out.

        Parameters
        ----------
        run : Run
            Of one table, unless the section is about all of them.
        page : Page
            Takes the figures.
        """
