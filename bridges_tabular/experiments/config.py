"""The experiment file: what it may hold, and a refusal in one line of everything else.

Each block of the file is a dataclass whose fields carry their own explanation in ``metadata["help"]``; the
blocks under ``models`` take the parameters of their regressor (:mod:`bridges_tabular.experiments.models`).
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from bridges_tabular.experiments._yaml import dump_yaml, parse_yaml

Block = TypeVar("Block")


class ExperimentError(ValueError):
    """A key, value, file or table that no experiment can use; the message is one line that names it."""


@dataclass(frozen=True)
class TableBlock:
    """The ``table`` block: where the rows come from and which column is predicted."""

    source: str = field(metadata={"help": "a bundled name (diamonds), a .csv, .csv.gz or .parquet path, or openml:ID"})
    target: str = field(metadata={"help": "the column to predict; it has to be numeric"})
    drop: tuple[str, ...] = field(default=(), metadata={"help": "columns to leave out"})
    rows: int | None = field(
        default=None,
        metadata={"help": "at most so many rows, drawn with a fixed seed, the same for every split; null: all"},
    )

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise ExperimentError(f"rows: must be at least 1, or null for all, not {self.rows}")
        if self.target in self.drop:
            raise ExperimentError(f"drop: holds the target, {self.target!r}")


@dataclass(frozen=True)
class SplitBlock:
    """The ``split`` block: shares of all rows, and one split for each seed."""

    test: float = field(default=0.2, metadata={"help": "share of the rows that only the scores see"})
    validation: float = field(
        default=0.2,
        metadata={"help": "share of the rows for early stopping and the calibration of distributions"},
    )
    seeds: tuple[int, ...] = field(
        default=(0,), metadata={"help": "one split, and one fit of each model, for each of these seeds"}
    )

    def __post_init__(self) -> None:
        for name in ("test", "validation"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise ExperimentError(f"{name}: must be a share between 0 and 1, not {share}")
        if self.test + self.validation >= 1:
            raise ExperimentError(
                f"test: {self.test} and validation: {self.validation} together leave no rows to train on"
            )
        if not self.seeds:
            raise ExperimentError("seeds: must hold at least one seed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ExperimentError(f"seeds: holds a seed twice: {list(self.seeds)}")
        for seed in self.seeds:
            if not 0 <= seed < 2**31:
                raise ExperimentError(f"seeds: must lie between 0 and 2147483647, not {seed}")


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
        metadata={"help": "rmse, mae, crps or log_score; a list of them searches the trade-off, without pruning"},
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
            " median for one metric, none for several"
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
                raise ExperimentError(f"{name}: must hold one or more different names, not {list(values)}")
        for name in ("trials", "folds", "workers"):
            if getattr(self, name) < 1:
                raise ExperimentError(f"{name}: must be at least 1, not {getattr(self, name)}")
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


@dataclass(frozen=True)
class Experiment:
    """Everything a comparison needs to know, read from an experiment file.

    Parameters
    ----------
    tables : tuple of TableBlock
        One for ``table`` in the file, those of the list ``tables`` otherwise.
    split : SplitBlock
    models : dict of ModelBlock
        By the names that tables and reports show.
    report : ReportBlock
    study : StudyBlock or None
        Read by ``tune`` alone.
    name : str
        The name of the file, which also names the output folder.
    """

    tables: tuple[TableBlock, ...]
    split: SplitBlock
    models: dict[str, ModelBlock]
    report: ReportBlock = ReportBlock()
    study: StudyBlock | None = None
    name: str = "experiment"

    @property
    def table(self) -> TableBlock:
        """The only table.

        Raises
        ------
        ExperimentError
            If the file lists several.
        """
        if len(self.tables) > 1:
            raise ExperimentError(f"tables: lists {len(self.tables)} tables, and only compare takes more than one")
        return self.tables[0]

    @classmethod
    def read(
        cls,
        source: str | Path | Mapping[str, Any],
        overrides: Iterable[str] = (),
        **blocks: Mapping[str, Any],
    ) -> Experiment:
        """Read an experiment file and change some of its values.

        Parameters
        ----------
        source : path, name of a bundled file, or mapping with the content of a file
        overrides : iterable of str
            ``"table.rows=2000"``: dotted keys and YAML values, as on the command line.
        **blocks : mapping
            The same from Python: ``table={"rows": 2000}``.

        Raises
        ------
        ExperimentError
            For a file or key that does not exist and a value that cannot be.
        """
        if isinstance(source, Mapping):
            name, content = "experiment", dict(source)
        else:
            path = _find_file(source)
            name, content = path.stem, _read_file(path)
        for change in [*map(_parse_override, overrides), blocks]:
            _check_model_names(change, content)
            content = _merge(content, change)
        return cls._from_content(content, name)

    @classmethod
    def _from_content(cls, content: Mapping[str, Any], name: str) -> Experiment:
        known = ["table", *(f.name for f in fields(cls) if f.name != "name")]
        check_keys(content, known, where="")
        if content.get("models") is None:
            raise ExperimentError("models: is missing")
        models = _build_models(content["models"])
        report = _build(ReportBlock, content.get("report") or {}, "report")
        if report.baseline is not None and report.baseline not in models:
            raise ExperimentError(
                f"report.baseline: there is no model {report.baseline!r}{nearest(report.baseline, models)}"
            )
        study = None if content.get("study") is None else _build(StudyBlock, content["study"], "study")
        for model in study.models if study else ():
            if model not in models:
                raise ExperimentError(f"study.model: there is no model {model!r}{nearest(model, models)}")
        return cls(
            tables=_build_tables(content),
            split=_build(SplitBlock, content.get("split") or {}, "split"),
            models=models,
            report=report,
            study=study,
            name=name,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of an experiment file that says the same, with the defaults written out."""
        tables = [_plain(table) for table in self.tables]
        return {
            **({"table": tables[0]} if len(tables) == 1 else {"tables": tables}),
            "split": _plain(self.split),
            "models": {name: {"engine": model.engine} | model.params for name, model in self.models.items()},
            "report": _plain(self.report),
            **({} if self.study is None else {"study": _plain(self.study)}),
        }

    def to_yaml(self) -> str:
        """Return :meth:`to_dict` as YAML."""
        return dump_yaml(self.to_dict())


def bundled_experiments() -> dict[str, Path]:
    """Return the experiment files that come with the package, by name."""
    package = Path(__file__).resolve().parents[1]
    # a wheel carries the files inside the package; in a checkout they lie beside it, for people to copy
    folders = [package / "configs", package.parent / "configs"]
    folder = next((f for f in folders if f.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``", did you mean 'choice'?"`` for a near miss, or the list of choices."""
    choices = list(choices)
    folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f", did you mean {folded[close[0]]!r}?"
    return f"; choose from {', '.join(choices)}" if choices else ""


def check_keys(block: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    """Refuse a key that is not among the known ones, naming the nearest that is."""
    prefix = f"{where}: " if where else ""
    for key in block:
        if not isinstance(key, str):
            raise ExperimentError(f"{prefix}a key has to be text, not {key!r}")
        if key not in known:
            raise ExperimentError(f"{prefix}unknown key {key!r}{nearest(key, known)}")


def _find_file(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    bundled = bundled_experiments()
    if str(source) in bundled:
        return bundled[str(source)]
    what = "is a folder, not an experiment file" if path.is_dir() else "there is no such file"
    raise ExperimentError(f"{source}: {what}, nor a bundled experiment ({', '.join(bundled)})")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{path}: has to hold the blocks table, split and models")
    return content


def _parse_override(text: str) -> dict[str, Any]:
    keys, separator, value = text.partition("=")
    parts = keys.strip().split(".")
    if not separator or not all(parts):
        raise ExperimentError(f"{text!r} is neither an experiment file nor of the form key=value")
    try:
        content: Any = parse_yaml(value)
    except ValueError as error:
        raise ExperimentError(f"{keys}: {value!r} cannot be read as YAML: {error}") from None
    for part in reversed(parts):
        content = {part: content}
    changed: dict[str, Any] = content
    return changed


def _check_model_names(change: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Refuse an override of a model that the file does not have, unless it brings a whole model."""
    models, known = change.get("models"), content.get("models")
    if not isinstance(models, Mapping) or not isinstance(known, Mapping):
        return
    for name, block in models.items():
        if name not in known and not (isinstance(block, Mapping) and "engine" in block):
            raise ExperimentError(f"models: there is no model {name!r}{nearest(str(name), map(str, known))}")


def _merge(content: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _build(cls: type[Block], content: Any, where: str) -> Block:
    if not isinstance(content, Mapping):
        raise ExperimentError(f"{where}: must be a block of keys and values, not {content!r}")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    check_keys(content, list(known), where)
    hints = get_type_hints(cls)
    values = {}
    for name, spec in known.items():
        if name in content:
            values[name] = _convert(content[name], hints[name], f"{where}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise ExperimentError(f"{where}.{name}: is missing")
    try:
        return cls(**values)
    except ExperimentError as error:
        raise ExperimentError(f"{where}.{error}") from None


def _plain(block: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(block).items()}


def _build_tables(content: Mapping[str, Any]) -> tuple[TableBlock, ...]:
    one, several = content.get("table"), content.get("tables")
    if several is None:
        if one is None:
            raise ExperimentError("table: is missing")
        return (_build(TableBlock, one, "table"),)
    if one is not None:
        raise ExperimentError("tables: stands beside table, and only one of them may be given")
    if not isinstance(several, list | tuple) or not several:
        raise ExperimentError(f"tables: must be a list of blocks like table, not {several!r}")
    return tuple(_build(TableBlock, block, f"tables[{i}]") for i, block in enumerate(several))


def _build_models(content: Any) -> dict[str, ModelBlock]:
    if not isinstance(content, Mapping) or not content:
        raise ExperimentError(f"models: must hold at least one named model, not {content!r}")
    models = {}
    for name, block in content.items():
        if not isinstance(name, str) or not name.strip():
            raise ExperimentError(f"models: the name of a model has to be text, not {name!r}")
        if not isinstance(block, Mapping):
            raise ExperimentError(f"models.{name}: must be a block of keys and values, not {block!r}")
        if "engine" not in block:
            raise ExperimentError(f"models.{name}.engine: is missing")
        engine = _convert(block["engine"], str, f"models.{name}.engine")
        models[name] = ModelBlock(engine, {key: value for key, value in block.items() if key != "engine"})
    return models


def _convert(value: Any, kind: Any, where: str) -> Any:
    if not _fits(value, kind):
        raise ExperimentError(f"{where}: must be {_words(kind)}, not {value!r}")
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
        return isinstance(value, int | float) and math.isfinite(value)
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
    }[kind]
