"""The blocks of an experiment file: their keys, what each key means, and the refusal of everything else."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bridges_tabular.experiments.frames import FrameSource
from bridges_tabular.experiments.scores import METRICS
from bridges_tabular.regressors.words import hint, one_line, shown

Block = TypeVar("Block")

_MOST_WORKERS = 1000
# names that a hint lists where none is near
_MOST_CHOICES = 12


class ExperimentError(ValueError):
    """A key, value, file or table that no experiment can use.

    The message is one line of printable characters that names it, cut in the middle where it is very long.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def alternatives(names: Iterable[str]) -> str:
    """Return names as a choice in words: ``"a, b or c"``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True)
class TableBlock:
    """The ``table`` block: where the rows come from and which column is predicted."""

    source: str | FrameSource = field(
        metadata={
            "help": "a bundled name (diamonds), a .csv, .csv.gz or .parquet path, or openml:ID; a DataFrame in Python"
        }
    )
    target: str = field(
        metadata={
            "help": "the column to predict; it has to be numeric. Of a list of columns, each is predicted without the"
            " others, as if it were a table of its own"
        }
    )
    drop: tuple[str, ...] = field(default=(), metadata={"help": "columns to leave out"})
    missing: tuple[str | int | float, ...] = field(
        default=(),
        metadata={
            "help": "cells that say that a value is missing, beside the empty ones and those of pandas (NA, null)"
        },
    )
    categories: tuple[str, ...] = field(
        default=(), metadata={"help": "columns of categories although their values, or most of them, are numbers"}
    )
    rows: int | None = field(
        default=None,
        metadata={"help": "at most so many rows, drawn with a fixed seed, the same for every split; null: all"},
    )
    weight: str | None = field(
        default=None,
        metadata={
            "help": "a column of weights, which no model sees as a feature: for the fits and for the scores, where a"
            " row of weight 0 does not count"
        },
    )
    exposure: str | None = field(
        default=None,
        metadata={
            "help": "a column of exposures, such as policy years, which no model sees as a feature: the target is the"
            " total over it, models learn the rate, and scores are of totals"
        },
    )
    missing_target: str = field(
        default="refuse",
        metadata={"help": "refuse a table with rows that have no target, or drop these rows, which the output says"},
    )

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise ExperimentError(f"rows: must be at least 1, or null for all, not {shown(self.rows)}")
        if self.target in self.drop:
            raise ExperimentError(f"drop: holds the target, {shown(self.target)}")
        if self.target == self.weight:
            raise ExperimentError(f"weight: is the target, {shown(self.target)}")
        if self.exposure is not None and self.exposure in (self.target, self.weight):
            other = "target" if self.exposure == self.target else "weight"
            raise ExperimentError(f"exposure: is the {other}, {shown(self.exposure)}; it counts as a weight by itself")
        if self.missing_target not in ("refuse", "drop"):
            raise ExperimentError(f"missing_target: must be refuse or drop, not {shown(self.missing_target)}")
        if self.target in self.categories:
            raise ExperimentError(f"categories: holds the target, {shown(self.target)}, which has to be numeric")


@dataclass(frozen=True)
class SplitBlock:
    """The ``split`` block: shares of all rows, and one split for each seed."""

    test: float = field(
        default=0.2,
        metadata={"help": "share of the rows that only the scores see; 0 for train alone, which then has no scores"},
    )
    validation: float = field(
        default=0.2,
        metadata={"help": "share of the rows for early stopping and the calibration of distributions"},
    )
    seeds: tuple[int, ...] = field(
        default=(0,), metadata={"help": "one split, and one fit of each model, for each of these seeds"}
    )
    time: str | None = field(
        default=None,
        metadata={
            "help": "a column of dates or numbers: the last rows test, those before them validate, rows of one time"
            " stay together; with m seeds, m test periods one after the other, each after the rows of its models"
            " (rolling origins). A column of dates stays a feature unless table.drop holds it, one of numbers does not"
        },
    )
    group: str | None = field(
        default=None,
        metadata={
            "help": "a column whose values are groups, which stay together: no group is in two parts, nor in two folds"
            " of a location, and the shares are of groups. It is no feature"
        },
    )
    file: str | None = field(
        default=None,
        metadata={
            "help": "a column that says train, validation or test in each row, in place of the shares; where none says"
            " validation, that share of the training rows is drawn. It is no feature"
        },
    )

    def __post_init__(self) -> None:
        if not 0 <= self.test < 1:
            raise ExperimentError(f"test: must be a share of at least 0 and below 1, not {self.test}")
        if not 0 < self.validation < 1:
            raise ExperimentError(f"validation: must be a share between 0 and 1, not {self.validation}")
        if self.test + self.validation >= 1:
            raise ExperimentError(
                f"test: {self.test} and validation: {self.validation} together leave no rows to train on"
            )
        given = [how for how in ("time", "group", "file") if getattr(self, how) is not None]
        if len(given) > 1:
            raise ExperimentError(f"{given[1]}: stands beside {given[0]}, and a split goes by one column")
        if not self.seeds:
            raise ExperimentError("seeds: must hold at least one seed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ExperimentError(f"seeds: holds a seed twice: {shown(list(self.seeds))}")
        for seed in self.seeds:
            if not 0 <= seed < 2**31:
                raise ExperimentError(f"seeds: must lie between 0 and 2147483647, not {shown(seed)}")

    @property
    def by(self) -> tuple[Literal["time", "group", "file"], str] | None:
        """What the split goes by, and the column; None where it is random."""
        hows: tuple[Literal["time", "group", "file"], ...] = ("time", "group", "file")
        return next(((how, getattr(self, how)) for how in hows if getattr(self, how) is not None), None)

    def check_test(self, command: str) -> None:
        """Refuse a split without test rows, for what needs scores.

        Raises
        ------
        ExperimentError
        """
        if self.test == 0:
            raise ExperimentError(f"split.test: 0 leaves {command} no rows to score: only train takes it")


@dataclass(frozen=True)
class ReportBlock:
    """The ``report`` block: what the report compares the models with."""

    baseline: str | None = field(
        default=None,
        metadata={
            "help": "the model whose scores the others are compared with; null: the first with least squares, else the"
            " first of all"
        },
    )


@dataclass(frozen=True)
class ModelBlock:
    """One block under ``models``: an engine and the parameters of its regressor."""

    engine: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyBlock:
    """The ``study`` block: what ``bridges-tabular tune`` searches, and for how long."""

    model: str | tuple[str, ...] = field(
        metadata={"help": "a name under models, or a list of names: each gets its own study"}
    )
    trials: int = field(default=50, metadata={"help": "finished trials of each study, all workers and runs together"})
    timeout: float | None = field(
        default=None, metadata={"help": "start no trial after so many seconds; null: no limit"}
    )
    metric: str | tuple[str, ...] = field(
        default="rmse",
        metadata={"help": f"{alternatives(METRICS)}; a list of them searches the trade-off, without pruning"},
    )
    folds: int = field(
        default=1,
        metadata={"help": "1: score trials on the validation rows; k: on each of k parts of the training rows in turn"},
    )
    sampler: dict[str, Any] = field(
        default_factory=lambda: {"name": "tpe", "seed": 0},
        metadata={"help": "name of an Optuna sampler, and its arguments"},
    )
    pruner: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "median, hyperband, successive_halving, wilcoxon (with folds) or none, and its arguments; null:"
            " median, or none for several metrics or where target_transform is searched without folds"
        },
    )
    storage: str | None = field(
        default=None,
        metadata={
            "help": "URL of a database (sqlite:///, postgresql://, mysql://) or a gRPC proxy (grpc://HOST:PORT), or the"
            " path of a journal file; null: a journal in the output folder"
        },
    )
    workers: int = field(default=1, metadata={"help": "processes on this machine"})
    bundled_space: bool = field(
        default=True, metadata={"help": "begin with the space bundled for the engine, the scheme and the backbone"}
    )
    space: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "parameters to search: {type: int or float, low, high, log, step} or {type: categorical, choices};"
            " null takes a bundled one out"
        },
    )

    def __post_init__(self) -> None:
        for name in ("model", "metric"):
            values = getattr(self, name)
            if isinstance(values, tuple) and (not values or len(set(values)) < len(values)):
                raise ExperimentError(f"{name}: must hold one or more different names, not {shown(list(values))}")
        for name in ("trials", "folds", "workers"):
            if getattr(self, name) < 1:
                raise ExperimentError(f"{name}: must be at least 1, not {shown(getattr(self, name))}")
        if self.workers > _MOST_WORKERS:
            raise ExperimentError(f"workers: must be at most {_MOST_WORKERS}, not {shown(self.workers)}")
        if self.timeout is not None and self.timeout <= 0:
            raise ExperimentError(f"timeout: must be positive, or null for no limit, not {self.timeout}")

    @property
    def models(self) -> tuple[str, ...]:
        """The names in ``model``, one or several."""
        return (self.model,) if isinstance(self.model, str) else self.model

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names in ``metric``, one or several."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``", did you mean 'choice'?"`` for a near miss, or a list of choices."""
    choices = list(choices)
    found = hint(word, choices)
    if found or not choices:
        return found
    more = len(choices) - _MOST_CHOICES
    return f"; choose from {', '.join(choices[:_MOST_CHOICES])}" + (f" and {more} more" if more > 0 else "")


def check_keys(block: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    """Refuse a key that is not among the known ones, naming the nearest that is."""
    prefix = f"{where}: " if where else ""
    for key in block:
        if not isinstance(key, str):
            raise ExperimentError(f"{prefix}a key has to be text, not {shown(key)}")
        if key not in known:
            raise ExperimentError(f"{prefix}unknown key {shown(key)}{nearest(key, known)}")


def build_block(cls: type[Block], content: Any, where: str) -> Block:
    """Make a block of keys and values, each of the type of its field.

    Raises
    ------
    ExperimentError
        If a key is unknown or missing, or a value cannot be, naming it after ``where``.
    """
    if not isinstance(content, Mapping):
        raise ExperimentError(f"{where}: must be a block of keys and values, not {shown(content)}")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    check_keys(content, list(known), where)
    hints = get_type_hints(cls)
    values = {}
    for name, spec in known.items():
        if name in content:
            values[name] = convert(content[name], hints[name], f"{where}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise ExperimentError(f"{where}.{name}: is missing")
    try:
        return cls(**values)
    except ExperimentError as error:
        raise ExperimentError(f"{where}.{error}") from None


def convert(value: Any, kind: Any, where: str) -> Any:
    """Return a value as the type ``kind``, or refuse it, naming it ``where``."""
    if not _fits(value, kind):
        raise ExperimentError(f"{where}: must be {_words(kind)}, not {shown(value)}")
    if isinstance(value, list):
        return tuple(value)
    return float(value) if kind is float else value


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        # a whole number may be beyond what a float holds
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _words(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_words, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each entry {_words(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "a block of keys and values"
    return {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        types.NoneType: "null",
        FrameSource: "a DataFrame",
    }[kind]
