"""A fit past memory: the rows of a stream divided, learned from, and encoded to a file for an engine to train on."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.card import describe_targets
from bridges_tabular.regressors.digest import TableDigest, check_same
from bridges_tabular.regressors.engine import CALIBRATION_ROWS, Parts, Trained
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Listener, Report, as_report
from bridges_tabular.regressors.rows import Rows, check_sample_weight
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.stored import StoredValues, Values, ValuesWriter
from bridges_tabular.regressors.streams import CONFORMAL, SAMPLE, VALIDATION, Part, RowSample, Stream, of_part, uniform
from bridges_tabular.regressors.tables import check_table
from bridges_tabular.regressors.words import shown

Floats = NDArray[np.float64]

# rows that a saved model's card and drift are described by, beside what is counted over all
_DESCRIBED_ROWS = 1 << 16


class Division:
    """Rows of a stream for one purpose: what has been learned of them in the first pass.

    Parameters
    ----------
    name : str
        How to call their target in an error.
    seed, most : int
        Of the rows drawn from them.

    Attributes
    ----------
    digest : TableDigest
    y : array of shape (n,)
    weight : array of shape (n,) or None
        Of mean 1.
    """

    def __init__(self, name: str, seed: int, most: int) -> None:
        self.name = name
        self.digest = TableDigest()
        self.sample = RowSample(most, partial(uniform, seed=seed, purpose=SAMPLE))
        self._y: list[Floats] = []
        self._weight: list[Floats] = []

    def add(self, part: Part) -> None:
        """Learn from the rows of a part."""
        # numbered as a table in memory without rows of weight zero, of which the same are drawn
        numbers = pd.RangeIndex(self.digest.rows, self.digest.rows + len(part.y))
        self.digest.add(part.X)
        self.sample.add(part.X.set_axis(numbers, axis="index"))
        self._y.append(part.y)
        if part.weight is not None:
            self._weight.append(part.weight)

    def gather(self) -> None:
        """End the pass: targets and weights of all rows, these with a mean of 1."""
        self.y = np.concatenate(self._y)
        self.weight = check_sample_weight(np.concatenate(self._weight), len(self.y)) if self._weight else None
        self._y, self._weight = [], []

    def rows(self) -> Rows:
        """All of them, without their features."""
        return Rows(pd.DataFrame(index=pd.RangeIndex(len(self.y))), self.y[:, None], self.weight)

    def sampled(self) -> Rows:
        """The rows drawn from them."""
        X = self.sample.rows()
        weight = None if self.weight is None else check_sample_weight(self.weight[X.index], len(X))
        return Rows(X, self.y[X.index, None], weight)


@dataclass(frozen=True)
class Divided:
    """The rows of a fit past memory, after the first pass.

    Attributes
    ----------
    stream, watched : Stream, Stream or None
        What to train on, and validation rows if there are any.
    train, validation, conformal : Division, Division or None, Division or None
    divide : callable
        From a part of the stream to its rows of each division, and of none.
    folder : Path
        For temporary files.
    """

    stream: Stream
    watched: Stream | None
    train: Division
    validation: Division | None
    conformal: Division | None
    divide: Callable[[Part], Sequence[Part]]
    folder: Path

    def stored(self, values: Callable[[pd.DataFrame], Values], columns: int) -> StoredValues:
        """Another pass over the stream: a function of the table of the training rows, in a file.

        Parameters
        ----------
        values : callable
            From a table of n rows to numbers of shape (n, columns).
        columns : int
        """
        training, _ = self._stored((self.train, None), values, columns)
        assert training is not None
        return training

    def all_stored(
        self, values: Callable[[pd.DataFrame], Values], columns: int
    ) -> tuple[StoredValues, StoredValues | None]:
        """The same of training and validation rows."""
        training, validation = self._stored((self.train, self.validation), values, columns)
        assert training is not None
        return training, validation

    def _stored(
        self, divisions: Sequence[Division | None], values: Callable[[pd.DataFrame], Values], columns: int
    ) -> list[StoredValues | None]:
        names = "training", "validation"
        writers = [
            None if division is None else ValuesWriter(self.folder / name, columns)
            for division, name in zip(divisions, names, strict=True)
        ]
        for part in self.stream.read():
            with of_part(part.name):
                for writer, some in zip(writers, self.divide(part), strict=False):
                    if writer is not None and len(some.y):
                        writer.add(values(some.X))
        if self.watched is not None and writers[1] is not None:
            for part in self.watched.read():
                with of_part(part.name):
                    writers[1].add(values(part.X))
        stored = [None if writer is None else writer.written for writer in writers]
        sources = self.stream, self.watched or self.stream
        for division, one, source in zip(divisions, stored, sources, strict=True):
            if division is not None and one is not None and len(one) != len(division.y):
                raise ValueError(
                    f"{source.called} gave {len(division.y)} rows at first and {len(one)} when read again: it must"
                    " start anew each time"
                )
        return stored


class PastMemory(BridgeRegressor, ABC):
    """Base class of regressors that are fitted to tables in memory, and to sources of rows that are not."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        eval_set: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        exposure: Any = None,
        exposure_val: Any = None,
        groups: Any = None,
        prepared: Prepared | None = None,
        report: Listener | Report | None = None,
    ) -> Self:
        """Fit to a table; see :meth:`BridgeRegressor.fit` for tables in memory.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p), or a source of rows that do not fit in memory
            A path, folder or glob of parquet files, a ``pyarrow.dataset.Dataset``, an iterable of DataFrames that
            starts anew each time (a list), or a function that returns an iterator of them. It is read twice. In
            memory are a few numbers of each row, on disk, in the folder for temporary files, four bytes of each
            feature of it.
        y : array of shape (n,) or (n, targets); of a source the name of the target's column
        sample_weight : array of shape (n,), optional; of a source the name of a column
        eval_set, X_val, y_val : optional
            Of a source an ``eval_set`` alone, another one with the same columns. Default: validation rows, and those
            of a ``calibration_fraction``, are held out by a hash of the row's number.
        exposure, exposure_val, groups, prepared, report
            See :meth:`BridgeRegressor.fit`. A source takes neither exposures nor groups.

        Raises
        ------
        ValueError, TypeError
            In one line, of a source with the name of the file or part. The last fit stays.
        """
        if isinstance(y, str):
            if not (exposure is exposure_val is groups is None):
                raise ValueError("where y names a column, neither exposures nor groups are taken")
            self.check_params()
            fitted = copy(self)
            fitted._fit_stream(*_sources(X, y, sample_weight, eval_set, X_val, y_val), as_report(report))
            self.__dict__ = fitted._remember().__dict__
            return self
        if isinstance(X, str | Path):
            raise ValueError(f"X={str(X)!r} names files: y must be the name of the target's column in them")
        return super().fit(
            X,
            y,
            sample_weight,
            eval_set,
            X_val,
            y_val,
            exposure=exposure,
            exposure_val=exposure_val,
            groups=groups,
            prepared=prepared,
            report=report,
        )

    @abstractmethod
    def _check_stream(self) -> None:
        """Refuse, in one line, what needs the table in memory."""

    @abstractmethod
    def _train_stream(self, rows: Divided, seed: int, report: Report) -> Trained:
        """Train on divided rows, whose columns and scale are learned."""

    def _fit_stream(self, stream: Stream, watched: Stream | None, report: Report) -> None:
        """Fit to the rows of a stream; the parameters have been checked.

        Two passes: the first learns kinds, categories and ranges of columns, and keeps targets and weights; the second
        writes features in single precision to a folder for temporary files, which is empty again at the end. From
        there the steps are those of a table in memory.
        """
        self._check_stream()
        seed, _ = self._draws()
        divide = partial(_divided, self, watched=watched, seed=seed)
        train, validation, conformal = _learned(self, stream, watched, divide, seed)
        held_out = [one for one in (validation, conformal) if one is not None]
        self._columns = train.digest.encoder(*(one.digest for one in held_out))
        check_table(self, train.digest.frame(), reset=True)
        self._single = True
        self.scale_ = TargetScale.fit(train.y[:, None], train.weight, *self._units())
        for one in (train, *held_out):
            self.scale_.check(one.y[:, None], one.name)
        self.facts_ = {
            "rows": len(train.y),
            "columns": train.digest.describe(train.sample.rows(), self._columns),
            "targets": describe_targets(train.y[:, None], [stream.y]),
        }
        with tempfile.TemporaryDirectory(prefix="bridges-tabular-") as folder:
            rows = Divided(stream, watched, train, validation, conformal, divide, Path(folder))
            trained = self._train_stream(rows, seed, report.in_units(self.scale_))
        drawn = [None if one is None else one.sampled().standard(self.scale_) for one in (validation, conformal)]
        self._calibrated = self._calibrate(trained, train.rows(), Parts(train.rows(), drawn[0], drawn[1], None), seed)
        self._trained = trained


def _sources(X: Any, y: str, sample_weight: Any, eval_set: Any, X_val: Any, y_val: Any) -> tuple[Stream, Stream | None]:
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


def _learned(
    model: BridgeRegressor,
    stream: Stream,
    watched: Stream | None,
    divide: Callable[[Part], Sequence[Part]],
    seed: int,
) -> tuple[Division, Division | None, Division | None]:
    """The first pass: what there is to train on, to watch and to calibrate by."""
    train = Division(shown(stream.y), seed, _DESCRIBED_ROWS)
    apart = Division(shown(stream.y), seed, CALIBRATION_ROWS)
    validation = Division(f"{shown(stream.y)} of eval_set" if watched else train.name, seed, CALIBRATION_ROWS)
    divisions = train, validation, apart
    for part in stream.read():
        with of_part(part.name):
            for division, some in zip(divisions, divide(part), strict=True):
                if len(some.y):
                    division.add(some)
    for part in () if watched is None else watched.read():
        with of_part(part.name):
            validation.add(part)
    wanted = {
        "training": True,
        "validation": watched is not None or model._held_out_share() is not None,
        "calibration": model._conformal_share() is not None,
    }
    for purpose, division in zip(wanted, divisions, strict=True):
        if wanted[purpose] and not division.digest.rows:
            if purpose == "validation" and watched is not None:
                raise ValueError("eval_set holds no rows with a weight")
            given = sum(one.digest.rows for one in divisions[:: 1 if watched is None else 2])
            raise ValueError(f"{stream.called} holds {given} rows with a weight, which leave no {purpose} rows")
        if wanted[purpose]:
            division.gather()
    if watched is not None:
        with of_part(watched.called):
            check_same(list(train.digest.columns), list(validation.digest.columns), "rows of X")
    return train, validation if wanted["validation"] else None, apart if wanted["calibration"] else None


def _divided(model: BridgeRegressor, part: Part, watched: Stream | None, seed: int) -> Sequence[Part]:
    """The rows of a part to train on, to watch and to calibrate by."""
    rows = part.X.index.to_numpy()
    share, apart = model._held_out_share(), model._conformal_share()
    conformal = np.zeros(len(rows), dtype=bool) if apart is None else uniform(rows, seed, CONFORMAL) < apart
    watches = np.zeros(len(rows), dtype=bool)
    if watched is None and share is not None:
        watches = ~conformal & (uniform(rows, seed, VALIDATION) < share)
    return part.take(~conformal & ~watches), part.take(watches), part.take(conformal)
