"""A fit past memory: the rows of a stream learned from, encoded to a file, and handed to the same stages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.boosting.features import Features
from bridges_tabular.boosting.location import Sample
from bridges_tabular.boosting.stored import StoredValues, ValuesWriter
from bridges_tabular.regressors.card import describe_columns, describe_targets
from bridges_tabular.regressors.digest import TableDigest
from bridges_tabular.regressors.engine import CALIBRATION_ROWS, Parts
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Rows, check_sample_weight
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.streams import Part, RowSample, Stream, of_part, uniform
from bridges_tabular.regressors.tables import TableEncoder, check_table
from bridges_tabular.regressors.words import shown

if TYPE_CHECKING:
    from bridges_tabular.boosting.regressor import XGBBridgeRegressor

Floats = NDArray[np.float64]

# rows that a saved model's card and drift are described by, beside what is counted over all
_DESCRIBED_ROWS = 1 << 16
# what the hashes of row numbers are drawn for
_CONFORMAL, _VALIDATION, _SAMPLE = range(3)


class _Division:
    """Rows of a stream for one purpose: what has been learned of them in the first pass.

    Parameters
    ----------
    name : str
        How to call their target in an error.
    seed, most : int
        Of the rows drawn from them.
    """

    def __init__(self, name: str, seed: int, most: int) -> None:
        self.name = name
        self.digest = TableDigest()
        self.sample = RowSample(most, partial(uniform, seed=seed, purpose=_SAMPLE))
        self._y: list[Floats] = []
        self._weight: list[Floats] = []

    def add(self, part: Part) -> None:
        """Learn from the rows of a part."""
        self.digest.add(part.X)
        self.sample.add(part)
        self._y.append(part.y)
        if part.weight is not None:
            self._weight.append(part.weight)

    def gather(self) -> None:
        """End the pass: targets and weights of all rows, these with a mean of 1."""
        self.y = np.concatenate(self._y)
        self.weight = check_sample_weight(np.concatenate(self._weight), len(self.y)) if self._weight else None
        self._y, self._weight = [], []

    def sampled(self) -> Rows:
        """The rows drawn from them."""
        part = self.sample.rows()
        weight = None if self.weight is None else check_sample_weight(part.weight, len(part.y))
        return Rows(part.X, part.y[:, None], weight)


def sources(X: Any, y: str, sample_weight: Any, eval_set: Any, X_val: Any, y_val: Any) -> tuple[Stream, Stream | None]:
    """The arguments of ``fit`` where y is the name of a column: what to train on, and validation rows if there are any.

    Raises
    ------
    ValueError, TypeError
        In one line.
    """
    if X_val is not None or y_val is not None or isinstance(eval_set, tuple):
        raise ValueError("where y names a column, validation rows are an eval_set like X, with the same columns")
    if not isinstance(sample_weight, str | None):
        raise ValueError("where y names a column, sample_weight is the name of one, too")
    return Stream(X, y, sample_weight), None if eval_set is None else Stream(eval_set, y, sample_weight, "eval_set")


def fit(model: XGBBridgeRegressor, stream: Stream, watched: Stream | None, report: Report) -> None:
    """Fit a regressor, whose parameters have been checked, to the rows of a stream.

    Two passes: the first learns kinds, categories and ranges of columns, and keeps targets and weights; the second
    writes features in single precision to a folder for temporary files, which is empty again at the end. From there
    the stages are those of a table in memory, on matrices that XGBoost quantises block by block.
    """
    _check(model)
    seed, _ = model._draws()
    train, validation, conformal = _learned(model, stream, watched, seed)
    held_out = [one for one in (validation, conformal) if one is not None]
    model._columns = train.digest.encoder(*(one.digest for one in held_out))
    check_table(model, train.digest.frame(), reset=True)
    model._single = True
    model.scale_ = TargetScale.fit(train.y[:, None], train.weight, *model._units())
    for one in (train, *held_out):
        model.scale_.check(one.y[:, None], one.name)
    model.facts_ = {
        "rows": len(train.y),
        "columns": _columns(train, model._columns),
        "targets": describe_targets(train.y[:, None], [stream.y]),
    }
    engine = model._engine(model._columns, Prepared()).make(0, {})
    engine.features.fit(train.digest.frame())
    with tempfile.TemporaryDirectory(prefix="bridges-tabular-") as folder:
        stored = _stored(model, engine.features, stream, watched, seed, Path(folder), (train, validation))
        assert stored[0] is not None
        training = _sample(model.scale_, train, stored[0])
        watches = None
        if validation is not None and stored[1] is not None:
            watches = _sample(model.scale_, validation, stored[1])
        trained = engine.boost(training, watches, seed, report.in_units(model.scale_))
    rows = Rows(pd.DataFrame(index=pd.RangeIndex(len(train.y))), train.y[:, None], train.weight)
    drawn = [None if one is None else one.sampled().standard(model.scale_) for one in (validation, conformal)]
    model._calibrated = model._calibrate(trained, rows, Parts(rows, drawn[0], drawn[1], None), seed)
    model._trained = trained


def _check(model: XGBBridgeRegressor) -> None:
    """Refuse what needs the table in memory."""
    if not isinstance(model.location, str):
        raise ValueError(
            f"location={shown(model.location)}: a fit past memory takes 'cross_fitted' and 'none', regressors of others"
            " need the table in memory"
        )
    if model.tree_method in ("approx", "exact"):
        raise ValueError(f"tree_method={model.tree_method!r} needs the table in memory; past it there is 'hist'")


def _learned(
    model: XGBBridgeRegressor, stream: Stream, watched: Stream | None, seed: int
) -> tuple[_Division, _Division | None, _Division | None]:
    """The first pass: what there is to train on, to watch and to calibrate by."""
    train = _Division(shown(stream.y), seed, _DESCRIBED_ROWS)
    apart = _Division(shown(stream.y), seed, CALIBRATION_ROWS)
    validation = _Division(f"{shown(stream.y)} of eval_set" if watched else train.name, seed, CALIBRATION_ROWS)
    divisions = train, validation, apart
    for part in stream.read():
        with of_part(part.name):
            for division, some in zip(divisions, _divided(model, part, watched, seed), strict=True):
                if len(some.y):
                    division.add(some)
    for part in () if watched is None else watched.read():
        with of_part(part.name):
            validation.add(part)
    wanted = {
        "training": True,
        "validation": _validates(model, watched),
        "calibration": model.calibration_fraction is not None,
    }
    for purpose, division in zip(wanted, divisions, strict=True):
        if wanted[purpose] and not division.digest.rows:
            if purpose == "validation" and watched is not None:
                raise ValueError("eval_set holds no rows with a weight")
            given = sum(one.digest.rows for one in divisions[:: 1 if watched is None else 2])
            raise ValueError(f"{stream.called} holds {given} rows with a weight, which leave no {purpose} rows")
        if wanted[purpose]:
            division.gather()
    return train, validation if wanted["validation"] else None, apart if wanted["calibration"] else None


def _validates(model: XGBBridgeRegressor, watched: Stream | None) -> bool:
    return watched is not None or model._held_out_share() is not None


def _divided(model: XGBBridgeRegressor, part: Part, watched: Stream | None, seed: int) -> Sequence[Part]:
    """The rows of a part to train on, to watch and to calibrate by."""
    rows = part.X.index.to_numpy()
    share, apart = model._held_out_share(), model.calibration_fraction
    conformal = np.zeros(len(rows), dtype=bool) if apart is None else uniform(rows, seed, _CONFORMAL) < apart
    watches = np.zeros(len(rows), dtype=bool)
    if watched is None and share is not None:
        watches = ~conformal & (uniform(rows, seed, _VALIDATION) < share)
    return part.take(~conformal & ~watches), part.take(watches), part.take(conformal)


def _stored(
    model: XGBBridgeRegressor,
    features: Features,
    stream: Stream,
    watched: Stream | None,
    seed: int,
    folder: Path,
    divisions: Sequence[_Division | None],
) -> list[StoredValues | None]:
    """The second pass: features of training and validation rows."""
    writers = [ValuesWriter(folder / name, len(features.is_category)) for name in ("training", "validation")]
    for part in stream.read():
        with of_part(part.name):
            for writer, some in zip(writers, _divided(model, part, watched, seed), strict=False):
                if len(some.y):
                    writer.add(features.values(some.X))
    for part in () if watched is None else watched.read():
        with of_part(part.name):
            writers[1].add(features.values(part.X))
    stored = [writer.written for writer in writers]
    for division, values, called in zip(divisions, stored, (stream.called, "eval_set"), strict=True):
        if division is not None and len(values) != len(division.y):
            raise ValueError(
                f"{called if watched else stream.called} gave {len(division.y)} rows at first and {len(values)} when"
                " read again: it must start anew each time"
            )
    return [None if division is None else values for division, values in zip(divisions, stored, strict=True)]


def _sample(scale: TargetScale, rows: _Division, values: StoredValues) -> Sample:
    empty = pd.DataFrame(index=pd.RangeIndex(len(rows.y)))
    return Sample(empty, values, scale.standardise(rows.y[:, None])[:, 0], rows.weight)


def _columns(train: _Division, columns: TableEncoder) -> dict[str, dict[str, Any]]:
    """What the columns hold: ends and missing values of all rows, the rest of those drawn."""
    drawn = describe_columns(train.sample.rows().X, columns)
    found = describe_columns(train.digest.frame(), columns)
    for name, about in found.items():
        about["missing"] = train.digest.columns[name].missing / train.digest.rows
        if "size" in drawn[name]:
            about["size"] = drawn[name]["size"]
    return found
