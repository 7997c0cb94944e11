"""The card of a saved model: what it predicts, from what, how well, and how to load it; for people to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.regressors import dates
from bridges_tabular.regressors.frames import as_pandas
from bridges_tabular.regressors.kinds import as_floats
from bridges_tabular.regressors.tables import TableEncoder

_SUMMARIES: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "low": np.min,
    "high": np.max,
    "mean": np.mean,
    "deviation": np.std,
}
CARD_FILE = "MODEL_CARD.md"
# names that nobody reads to the end
_MOST_CATEGORIES, _LONGEST = 8, 200


def describe_columns(X: pd.DataFrame, columns: TableEncoder) -> dict[str, dict[str, Any]]:
    """What the columns of training rows hold, by name, as plain values.

    Returns
    -------
    dict with, for each column, its ``kind``, ``missing`` (a share) and, where it has values, ``low`` and ``high``; of
    numbers that are not all 0 also ``size``, the median of the others without their signs
    """
    described = {}
    for position, name in enumerate(columns.feature_names_in_):
        column = X.iloc[:, position]
        known = column.dropna()
        about: dict[str, Any] = {"missing": float(column.isna().mean())}
        if name in columns.dates:
            about["kind"] = "dates"
            if len(known):
                when = dates.naive(known, name)
                about |= {"low": str(when.min()), "high": str(when.max())}
        elif name in columns.categories:
            about["kind"] = "categories"
        else:
            about["kind"] = "numbers"
            numbers = as_floats(known)
            if numbers is not None and numbers.size:
                about |= {"low": float(numbers.min()), "high": float(numbers.max())}
                if (sizes := np.abs(numbers[numbers != 0])).size:
                    about["size"] = float(np.median(sizes))
        described[name] = about
    return described


def describe_targets(y: NDArray[np.float64], names: list[str]) -> dict[str, dict[str, float]]:
    """``low``, ``high``, ``mean`` and ``deviation`` of targets of shape (n, t), in the user's units, by name."""
    return {
        name: {key: float(of(column)) for key, of in _SUMMARIES.items()}
        for name, column in zip(names, y.T, strict=True)
    }


def write_card(folder: Path, model: Any, header: Mapping[str, Any], scores: list[Mapping[str, float]]) -> None:
    """Write the card of a fitted regressor.

    Parameters
    ----------
    folder : path
    model : BridgeRegressor
    header : mapping
        Of the manifest: class and versions.
    scores : list of mapping
        Of each target on the validation rows, in its units.
    """
    facts = model.facts_
    lines = [
        f"# {header['class']}, scheme {model._of_fit('scheme')}",
        "",
        "Predicts a number and its distribution from a row of a table.",
        "",
        "## Load it",
        "",
        "```python",
        "import bridges_tabular",
        "",
        "model = bridges_tabular.load(FOLDER)",
        "model.predict(X), model.predict_interval(X, coverage=0.9)",
        "```",
        "",
        "## Target",
        "",
        *_table(["target", "low", "high", "mean", "deviation"], facts["targets"]),
        "",
        f"## Columns, as in {facts['rows']:,} training rows",
        "",
        *_columns(model._columns, facts["columns"]),
        "",
        "## Scores on validation rows",
        "",
        "They have stopped the training and calibrated the distribution, and come out too good for that.",
        "",
        *_scores(list(facts["targets"]), scores),
        "",
        "## Bins and calibration",
        "",
        *_bins(model),
        "",
        "## Parameters",
        "",
        *(f"- {_text(name)}: {_text(value)}" for name, value in model._fitted_params.items() if value is not None),
        "",
        "## Versions",
        "",
        *(f"- {name} {version}" for name, version in header["versions"].items()),
    ]
    (folder / CARD_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _columns(encoder: TableEncoder, columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| column | kind | values | missing |", "|---|---|---|---|"]
    for name, about in columns.items():
        values = f"{_number(about['low'])} to {_number(about['high'])}" if "low" in about else ""
        if name in encoder.categories:
            known = encoder.categories[name]
            values = ", ".join(map(_text, known[:_MOST_CATEGORIES]))
            if len(known) > _MOST_CATEGORIES:
                values += f" and {len(known) - _MOST_CATEGORIES} more"
        lines.append(f"| {_text(name)} | {about['kind']} | {values} | {about['missing']:.1%} |")
    return lines


def _scores(targets: list[str], scores: list[Mapping[str, float]]) -> list[str]:
    if not any(scores):
        return ["None: no rows were held out."]
    heads = ["target", *next(filter(None, scores))]
    return _table(heads, dict(zip(targets, scores, strict=True)))


def _bins(model: Any) -> list[str]:
    lines = [f"- calibration: {model._of_fit('calibration')}"]
    for codec, scale in zip(model.codecs_, model.codec_scales_, strict=True):
        low, high = scale.restore(np.asarray(codec.bins.support))
        lines.append(f"- {codec.bins.n_bins} bins from {_number(low)} to {_number(high)}")
    return lines


def _table(heads: list[str], rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, values in rows.items():
        lines.append(f"| {_text(name)} | {' | '.join(_number(values[head]) for head in heads[1:])} |")
    return lines


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    """One line of a table, whatever a column or a category is called."""
    text = str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return text.replace("|", "\\|")[:_LONGEST]


def target_names(y: Any, n: int) -> list[str]:
    """Names of the targets: those of a series or a frame, else numbers."""
    y = as_pandas(y, "y")
    if isinstance(y, pd.DataFrame):
        return [str(name) for name in y.columns]
    name = getattr(y, "name", None)
    return [str(name) if name not in (None, "") else "y"] if n == 1 else [f"y{index}" for index in range(n)]
