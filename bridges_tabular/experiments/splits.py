"""Which rows of a table train, validate and test: at random, by time, by group, or as a column says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError, SplitBlock
from bridges_tabular.experiments.marks import PARTS, Marks
from bridges_tabular.experiments.tables import Table, check_distinct
from bridges_tabular.regressors.words import shown

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Positions of the training, validation and test rows of a table, in ascending order."""

    seed: int
    train: Positions
    validation: Positions
    test: Positions

    def parts(self) -> dict[str, Positions]:
        """Return the three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def make_splits(table: Table, block: SplitBlock) -> list[Split]:
    """Divide the rows of a table once for each seed.

    At random, the rows are permuted; by group, the groups are, and a share is one of groups, as in scikit-learn's
    ``GroupShuffleSplit``. By time, the last rows test, those before them validate, and rows of one time stay
    together; with m seeds, the test rows are m periods, each tested by models of what was before it: rolling origins.
    With a split that is given, a column says of each row what it is for.

    Raises
    ------
    ExperimentError
        If a share leaves no rows, or the training rows hold fewer than two distinct targets.
    """
    splits = []
    for split in _splits(table, block):
        what = f"table.target: the training part of {shown(table.target)} (seed {split.seed})"
        check_distinct(table.y[split.train], what)
        for part, rows in split.parts().items():
            if table.weight is not None and len(rows) and not table.weight[rows].any():
                raise ExperimentError(f"table.weight: no {part} row (seed {split.seed}) has a weight above 0")
        splits.append(split)
    return splits


def make_folds(table: Table, split: Split, n: int) -> list[Split]:
    """Divide the training rows of a split for cross-validation: of each fold, the test rows are those to score.

    The validation rows are those of the split. By time, they are the last of the fold's own past, by the share that
    the split has, and a fold is scored on what follows them; no group is on both sides of a fold.

    Raises
    ------
    ExperimentError
        If there are too few rows, times or groups.
    """
    rows, marks = split.train, table.marks
    what = f"{len(rows)} training rows" if marks is None else f"the training rows by {shown(marks.column)}"
    if marks is not None and marks.how == "time":
        folds = list(_folds_in_time(marks.values[rows], split, n))
    else:
        units = marks.values[rows] if marks is not None and marks.how == "group" else rows
        parts = np.array_split(np.random.default_rng(split.seed).permutation(np.unique(units)), n)
        scored = [np.isin(units, part) for part in parts]
        folds = [Split(split.seed, rows[~part], split.validation, rows[part]) for part in scored]
    if len(rows) < 2 * n or any(
        len(fold.train) < 2 or len(table.counted(fold.validation)) == 0 or len(fold.test) == 0 for fold in folds
    ):
        raise ExperimentError(f"study.folds: {what} are too few for {n} folds")
    return folds


def _folds_in_time(times: NDArray[Any], split: Split, n: int) -> Iterator[Split]:
    rows, n_validation = split.train, len(split.validation)
    order, ordered = _in_time(times)
    edges = [_edge(ordered, round(len(rows) * k / (n + 1))) for k in range(1, n + 2)]
    for start, end in pairwise(edges):
        watched = round(start * n_validation / (len(rows) + n_validation))
        # the nearest edge may be the end, where the last time has many rows
        last = int(np.searchsorted(ordered, ordered[max(start - 1, 0)]))
        first = min(_edge(ordered[:start], start - watched), last)
        parts = order[:first], order[first:start], order[start:end]
        yield Split(split.seed, *(rows[np.sort(part)] for part in parts))


def _splits(table: Table, block: SplitBlock) -> Iterator[Split]:
    if table.marks is None:
        return _at_random(np.arange(len(table.y)), "rows", block)
    if table.marks.how == "time":
        return _by_time(table.marks, block)
    if table.marks.how == "group":
        return _at_random(table.marks.values, f"groups of {shown(table.marks.column)}", block)
    return _as_given(table.marks, block)


def _at_random(units: Positions, words: str, block: SplitBlock) -> Iterator[Split]:
    """Permute what stays together: rows, or groups of them."""
    distinct = np.unique(units)
    n_test, n_validation = _counts(len(distinct), words, block)
    for seed in block.seeds:
        order = distinct[np.random.default_rng(seed).permutation(len(distinct))]
        test, validation, train = np.split(order, [n_test, n_test + n_validation])
        yield Split(seed, *(np.flatnonzero(np.isin(units, part)) for part in (train, validation, test)))


def _counts(n: int, words: str, block: SplitBlock) -> tuple[int, int]:
    """How many rows, or groups, test and validate."""
    n_test, n_validation = round(block.test * n), round(block.validation * n)
    unit = words.partition(" ")[0]
    for key, share, count in (("test", block.test, n_test), ("validation", block.validation, n_validation)):
        if share and count == 0:
            raise ExperimentError(f"split.{key}: a share of {share} of {n} {words} leaves no {key} {unit}")
    fewest = 2 if unit == "rows" else 1
    if n - n_test - n_validation < fewest:
        raise ExperimentError(
            f"split.test: {n_test} test and {n_validation} validation {unit} of {n} leave no {fewest} to train on"
        )
    return n_test, n_validation


def _by_time(marks: Marks, block: SplitBlock) -> Iterator[Split]:
    order, ordered = _in_time(marks.values)
    n, periods = len(order), len(block.seeds)
    n_test, n_validation = _counts(n, "rows", block)
    edges = [_edge(ordered, n - n_test + round(n_test * k / periods)) for k in range(periods + 1)]
    for seed, (start, end) in zip(block.seeds, pairwise(edges), strict=True):
        first = _edge(ordered, start - n_validation)
        parts = np.sort(order[:first]), np.sort(order[first:start]), np.sort(order[start:end])
        for name, rows in zip(PARTS, parts, strict=True):
            if len(rows) == 0 and (name != "test" or n_test):
                raise ExperimentError(
                    f"split.time: the {len(np.unique(ordered))} different times in {shown(marks.column)} leave no"
                    f" {name} rows for seed {seed}; rows of one time stay together"
                )
        yield Split(seed, *parts)


def _in_time(times: NDArray[Any]) -> tuple[Positions, NDArray[Any]]:
    order = np.argsort(times, kind="stable")
    return order, times[order]


def _edge(ordered: NDArray[Any], at: int) -> int:
    """The place nearest to ``at`` where the time changes."""
    if not 0 < at < len(ordered):
        return max(at, 0)
    before = int(np.searchsorted(ordered, ordered[at], "left"))
    after = int(np.searchsorted(ordered, ordered[at], "right"))
    return before if at - before <= after - at else after


def _as_given(marks: Marks, block: SplitBlock) -> Iterator[Split]:
    train, validation, test = (np.flatnonzero(marks.values == name) for name in PARTS)
    if block.test == 0:
        train, test = np.sort(np.concatenate([train, test])), test[:0]
    elif len(test) == 0:
        raise ExperimentError(f"split.file: no cell of column {shown(marks.column)} says test")
    n_drawn = 0 if len(validation) else round(block.validation * len(train))
    if len(validation) == n_drawn == 0:
        raise ExperimentError(
            f"split.validation: a share of {block.validation} of {len(train)} training rows leaves no validation rows"
        )
    if len(train) - n_drawn < 2:
        raise ExperimentError(f"split.file: column {shown(marks.column)} leaves no 2 rows to train on")
    for seed in block.seeds:
        drawn, rest = np.split(np.random.default_rng(seed).permutation(train), [n_drawn])
        yield Split(seed, np.sort(rest), np.sort(drawn) if n_drawn else validation, test)
