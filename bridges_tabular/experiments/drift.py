"""How new rows differ from those of the training, as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridges_tabular.experiments.folders import new_file
from bridges_tabular.experiments.pages import environment
from bridges_tabular.regressors.drift import Drift


def write_drift(path: str | Path, drift: Drift, model: Any, folder: str, source: str) -> None:
    """Write the page.

    Parameters
    ----------
    path : path
        What it holds is replaced.
    drift : Drift
    model : BridgeRegressor
    folder, source : str
        What the model and the table are called.

    Raises
    ------
    ExperimentError
        If it cannot be written.
    """
    template = environment().get_template("drift.html.jinja")
    page = template.render(drift=drift, rows=model.facts_["rows"], model=folder, source=source)
    with new_file(path) as written:
        written.write_text(page, encoding="utf-8")
