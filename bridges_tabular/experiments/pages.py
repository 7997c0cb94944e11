"""What the pages of reports and of studies are made with: the templates, and plotly's script."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Return the templates of ``experiments/templates``; names from data and files are escaped."""
    return Environment(
        loader=PackageLoader("bridges_tabular.experiments", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def plotly_script() -> str:
    """Return what draws the figures, so that a page needs nothing from elsewhere."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
