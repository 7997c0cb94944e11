"""What a section of the report is, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from bridges_tabular.experiments.engines import Regressor
from bridges_tabular.experiments.run import File, Run
from bridges_tabular.experiments.sections.drawing import Figure, Look, looks
from bridges_tabular.experiments.tables import Split, Table


@dataclass(frozen=True)
class FittedModels:
    """All models of one table, fitted on its first split.

    Attributes
    ----------
    table, split : Table, Split
    models : dict of Regressor
    predictions : DataFrame
        Of all models for the test rows, as in predictions.csv.
    """

    table: Table
    split: Split
    models: Mapping[str, Regressor]
    predictions: pd.DataFrame


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

    def collect(self, fitted: FittedModels) -> Any:
        """Return the content of ``file`` for one table."""
        raise NotImplementedError(f"{type(self).__name__} has a file and collects nothing for it")

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
