"""Predictions of a saved model for the rows of a table of any length, as a file of text or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, nearest
from bridges_tabular.experiments.chunks import Chunk, TableChunks
from bridges_tabular.experiments.columns import read_exposure
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.drift import write_drift
from bridges_tabular.experiments.folders import CONFIG_FILE, check_writable, new_file
from bridges_tabular.experiments.locks import claimed
from bridges_tabular.experiments.outputs import check_output, is_parquet, join_parts, write_part
from bridges_tabular.experiments.partial import Parts
from bridges_tabular.experiments.paths import find_file
from bridges_tabular.experiments.results import quantile_names
from bridges_tabular.regressors.artifacts import header, load
from bridges_tabular.regressors.drift import Drift
from bridges_tabular.regressors.folders import find, read_manifest
from bridges_tabular.regressors.words import shown

_DEFAULT_LEVELS = (0.05, 0.5, 0.95)
# rows in memory at a time: the distributions of so many take tens of megabytes
_ROWS = 16_384

Progress = Callable[[float, int], None]


@dataclass(frozen=True)
class Wanted:
    """What is predicted of each row beside the mean of the target.

    Attributes
    ----------
    levels : tuple of float, optional
        Probabilities of quantiles; 0.05, 0.5 and 0.95 by default where the model has a distribution.
    coverage : float, optional
        Of central intervals.
    conformal : bool
        Whether these have the coverage that they had on held-out rows, see ``predict_interval`` of the regressors.
    above : tuple of float
        Values; the probability that the target is larger is predicted for each.
    keep : tuple of str
        Columns of the table to repeat beside the predictions. One that is no column may be several, separated by
        commas.
    """

    levels: tuple[float, ...] | None = None
    coverage: float | None = None
    conformal: bool = False
    above: tuple[float, ...] = ()
    keep: tuple[str, ...] = ()


def predict_table(
    model_folder: str | Path,
    source: str,
    out: str | Path,
    wanted: Wanted | None = None,
    *,
    overwrite: bool = False,
    missing: Sequence[str | float] | None = None,
    drift_page: str | Path | None = None,
    progress: Progress | None = None,
) -> Drift:
    """Predict every row of a table, a few thousand in memory at a time, and write a file.

    Its columns are ``row``, those to keep, ``y_pred``, the quantiles (``q05``), ``lower_90`` and ``upper_90`` of an
    interval, ``p_above_5000``; with several targets each name but the first ends in that of a target. A model that
    ``bridges-tabular train`` fitted with ``table.exposure`` predicts the total of each row where the table has that
    column, and else the rate.

    What is done is kept in the hidden folder ``.NAME.partial`` beside the file until all is: after a kill, the same
    call goes on, and comes to the same bytes.

    Parameters
    ----------
    model_folder : path
        Written by a regressor's ``save`` or by ``bridges-tabular train``.
    source : str
        See :func:`~bridges_tabular.experiments.tables.read_frame`.
    out : path
        Its name ends in ``.parquet``, ``.csv`` or ``.csv.gz``.
    wanted : Wanted, optional
    overwrite : bool
        Replace a file that exists.
    missing : sequence of str or float, optional
        Cells that say that a value is missing. Default: those that did so where ``bridges-tabular train`` fitted the
        model.
    drift_page : path, optional
        An HTML page to write: how the rows differ from those of the training.
    progress : callable, optional
        Called with the share of the table that is done and its number of rows, at first with what was done before.

    Returns
    -------
    Drift
        How the rows, which it counts, differ from those of the training.

    Raises
    ------
    ExperimentError
        If the model, the table or the file to write cannot be used.
    """
    wanted = wanted or Wanted()
    for file in (out, *([] if drift_page is None else [drift_page])):
        _check_file(Path(file), overwrite)
    check_output(out)
    if drift_page is not None and Path(drift_page).resolve() == Path(out).resolve():
        raise ExperimentError(f"--drift: {drift_page} is the file of the predictions")
    try:
        model = load(model_folder)
        drift = Drift(model)
        files = read_manifest(find(model_folder))["files"]
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{model_folder} holds no model that can be loaded: {error}") from None
    predictor = _Predictor(model, model_folder, wanted)
    missing = list(_missing_in(model_folder) if missing is None else missing)
    table = TableChunks(source, _ROWS)
    keep = _kept(table, wanted.keep, predictor.names)
    features = _features(table, model, model_folder, keep)
    exposure = _exposure_in(model_folder, table)
    plan = {
        "model": files,
        "versions": header(model)["versions"],
        "table": table.identity(),
        "missing": missing,
        "wanted": asdict(wanted),
        "parquet": is_parquet(out),
        "rows": _ROWS,
    }
    with claimed(out):
        _check_file(Path(out), overwrite)
        parts = Parts(out, plan)
        read = features if exposure is None else [*features, exposure]
        chunks = table.read(read, keep, dates=model.date_columns_, missing=missing, text=model.text_columns_)
        number = 0
        for number, (chunk, predicted) in enumerate(_predicted(predictor, source, chunks, parts, exposure), 1):
            if predicted is not None:
                with parts.new(number - 1) as written:
                    write_part(_beside(predicted, chunk.kept), written, out, first=number == 1)
            # of rows that were predicted before, too
            drift.add(chunk.features)
            if progress is not None:
                progress(table.share, drift.rows)
        with new_file(out) as whole:
            join_parts([parts.path(n) for n in range(number)], whole, out, keep if table.is_text else ())
        parts.discard()
    if drift_page is not None:
        write_drift(drift_page, drift, model, str(model_folder), source)
    return drift


class _Predictor:
    """What is wanted of a model, row by row."""

    def __init__(self, model: Any, folder: str | Path, wanted: Wanted) -> None:
        has_distribution = hasattr(model, "predict_distribution")
        asked = {"--quantiles": wanted.levels, "--interval": wanted.coverage, "--above": wanted.above}
        for option, value in asked.items():
            if value and not has_distribution:
                raise ExperimentError(f"{option}: the model in {folder} (scheme {model.scheme}) predicts points alone")
        self._model, self._wanted = model, wanted
        self._levels = wanted.levels or (_DEFAULT_LEVELS if has_distribution else ())
        targets = list(model.facts_["targets"])
        self._endings = [f"_{name}" for name in targets] if len(targets) > 1 else [""]
        ends = [] if wanted.coverage is None else quantile_names([wanted.coverage])
        self._interval = [f"{end}_{name.removeprefix('q')}" for name in ends for end in ("lower", "upper")]
        self._above = [f"p_above_{value:.10g}" for value in wanted.above]
        names = ["y_pred", *quantile_names(self._levels), *self._interval, *self._above]
        self.names = ["row", *(name + ending for name in names for ending in self._endings)]
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ExperimentError(f"two columns of predictions would be called {twice!r}: two numbers are too close")

    def __call__(self, X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> pd.DataFrame:
        """Predict rows that are labelled by their numbers; their totals where there are exposures (n,), else rates."""
        model, n, k = self._model, len(X), len(self._endings)
        numbers = X.index.to_numpy()
        if not hasattr(model, "feature_names_in_"):
            # without names, columns go by position
            X = X.set_axis(range(X.shape[1]), axis="columns")
        found = [np.reshape(model.predict(X, exposure), (n, 1, k))]
        if self._levels:
            found.append(np.reshape(model.predict_quantiles(X, list(self._levels), exposure), (n, -1, k)))
        if self._interval:
            found.append(np.reshape(self._intervals(X, exposure), (n, 2, k)))
        if self._above:
            of_targets = model.predict_distribution(X, exposure)
            several = of_targets if isinstance(of_targets, list) else [of_targets]
            at = np.tile(self._wanted.above, (n, 1))
            found.append(np.stack([1.0 - distribution.cdf(at) for distribution in several], axis=-1))
        values = np.concatenate(found, axis=1).reshape(n, -1)
        frame = pd.DataFrame(values, columns=self.names[1:])
        frame.insert(0, "row", numbers)
        return frame

    def _intervals(self, X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> NDArray[np.float64]:
        coverage, conformal = self._wanted.coverage, self._wanted.conformal
        try:
            ends: NDArray[np.float64] = self._model.predict_interval(X, coverage, conformal, exposure)
            return ends
        except ValueError as error:
            # too few held-out rows: the table has been read by then
            raise ExperimentError(f"--interval: {error}") from None


def _predicted(
    predictor: _Predictor, source: str, chunks: Iterator[Chunk], parts: Parts, exposure: str | None
) -> Iterator[tuple[Chunk, pd.DataFrame | None]]:
    """Each chunk with its predictions, None where they are there; of a table that cannot be, no part is kept."""
    rows = 0
    try:
        for number, chunk in enumerate(chunks):
            rows += len(chunk.features)
            lengths = None
            if exposure is not None:
                where = f"{source}: column {shown(exposure)}"
                lengths = read_exposure(chunk.features[exposure], where)
                chunk = chunk._replace(features=chunk.features.drop(columns=exposure))
            yield chunk, predictor(chunk.features, lengths) if number >= parts.found else None
        if rows == 0:
            raise ExperimentError(f"{source} has no rows")
    except ExperimentError:
        parts.discard()
        raise
    except (TypeError, ValueError) as error:
        parts.discard()
        # the regressors refuse infinite numbers, and text where there were numbers
        raise ExperimentError(f"{source}: {error}") from None


def _beside(predicted: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """The columns to keep, after the number of the row."""
    return pd.concat([predicted[["row"]], kept.set_axis(predicted.index), predicted.iloc[:, 1:]], axis="columns")


def _check_file(out: Path, overwrite: bool) -> None:
    check_writable(out)
    if out.is_dir():
        raise ExperimentError(f"{out} is a folder, not a file")
    if out.exists() and not overwrite:
        raise ExperimentError(f"{out} exists: choose another file with --out, or replace it with --overwrite")


def _missing_in(model_folder: str | Path) -> Sequence[str | float]:
    """What said that a value is missing in the table that a model was fitted on, where ``train`` did that."""
    config = find_file(Path(model_folder) / CONFIG_FILE)
    return () if config is None else Experiment.read(config).table.missing


def _exposure_in(model_folder: str | Path, table: TableChunks) -> str | None:
    """The column of exposures of the table that a model was fitted on, if this one has it, too."""
    config = find_file(Path(model_folder) / CONFIG_FILE)
    column = None if config is None else Experiment.read(config).table.exposure
    return column if column in table.columns else None


def _kept(table: TableChunks, asked: Sequence[str], predicted: Sequence[str]) -> list[str]:
    """The columns to keep, by name: of what is no column, what its commas separate."""
    keep = [name for text in asked for name in ([text] if table.has(text) else text.split(","))]
    for position, name in enumerate(keep):
        if not table.has(name):
            raise ExperimentError(f"--keep: {table.source} has no column {shown(name)}{nearest(name, table.columns)}")
        if name in keep[:position]:
            raise ExperimentError(f"--keep: names the column {shown(name)} twice")
        if name in predicted:
            raise ExperimentError(f"--keep: {shown(name)} is a column of the predictions, too")
    return keep


def _features(table: TableChunks, model: Any, folder: str | Path, keep: Sequence[str]) -> list[str]:
    """The columns that a model was fitted on: by name, or by position where the model knows no names."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        for column in names:
            if column not in table.columns:
                raise ExperimentError(f"{table.source} has no column {shown(column)}{nearest(column, table.columns)}")
        return list(names)
    expected = model.n_features_in_
    if len(table.columns) == expected:
        return list(table.columns)
    others = [name for name in table.columns if name not in keep]
    if len(others) != expected:
        raise ExperimentError(
            f"{table.source} has {len(table.columns)} columns, and the model in {folder} takes {expected}: it was"
            " fitted on an array, so that columns are taken by position"
        )
    return others
