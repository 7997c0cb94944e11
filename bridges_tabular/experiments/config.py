"""The experiment file: read, changed from the command line, checked, and written out again.

Each block of the file is a dataclass of :mod:`bridges_tabular.experiments.blocks` whose fields carry their own
explanation in ``metadata["help"]``; the blocks under ``models`` take the parameters of their regressor
(:mod:`bridges_tabular.experiments.engines`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bridges_tabular.experiments._yaml import dump_yaml, parse_yaml, read_yaml
from bridges_tabular.experiments.blocks import (
    ExperimentError,
    ModelBlock,
    ReportBlock,
    SplitBlock,
    StudyBlock,
    TableBlock,
    build_block,
    check_keys,
    convert,
    nearest,
)
from bridges_tabular.experiments.frames import FrameSource
from bridges_tabular.experiments.paths import find_file
from bridges_tabular.regressors.words import shown


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
    report: ReportBlock = field(default_factory=ReportBlock)
    study: StudyBlock | None = None
    name: str = "experiment"

    @property
    def table(self) -> TableBlock:
        """The only table.

        Raises
        ------
        ExperimentError
            If the file lists several, or several targets.
        """
        if len(self.tables) > 1:
            n, sources = len(self.tables), {table.source for table in self.tables}
            of_one = len(sources) == 1 and len({table.target for table in self.tables}) == n
            found = f"table.target: lists {n} targets" if of_one else f"tables: lists {n} tables"
            raise ExperimentError(f"{found}, and only compare takes more than one")
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
        report = build_block(ReportBlock, _given(content, "report"), "report")
        if report.baseline is not None and report.baseline not in models:
            raise ExperimentError(
                f"report.baseline: there is no model {shown(report.baseline)}{nearest(report.baseline, models)}"
            )
        study = None if content.get("study") is None else build_block(StudyBlock, content["study"], "study")
        for model in study.models if study else ():
            if model not in models:
                raise ExperimentError(f"study.model: there is no model {shown(model)}{nearest(model, models)}")
        return cls(
            tables=_build_tables(content),
            split=build_block(SplitBlock, _given(content, "split"), "split"),
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


def as_experiment(given: Any, target: str | None, blocks: Mapping[str, Any], bundled: str) -> Experiment:
    """What a function of Python was given, as an experiment.

    Parameters
    ----------
    given : Experiment, path or name of a file, mapping with the content of one, or DataFrame
    target : str or None
        The column to predict, of a DataFrame alone.
    blocks : mapping
        Values to change.
    bundled : str
        Name of the bundled file whose other blocks a DataFrame gets.

    Raises
    ------
    ExperimentError
    """
    if isinstance(given, Experiment | str | Path | Mapping):
        if target is not None:
            raise ExperimentError("target: goes with a DataFrame; in an experiment file it is table.target")
        if isinstance(given, Experiment):
            if blocks:
                raise ExperimentError("values can be changed in a file or a mapping, not in an Experiment")
            return given
        return Experiment.read(given, **blocks)
    if target is None:
        raise ExperimentError("target: is missing, the name of the column of the DataFrame to predict")
    content = _read_file(bundled_experiments()[bundled])
    return Experiment.read(content | {"table": {"source": given, "target": target}}, **blocks)


def bundled_experiments() -> dict[str, Path]:
    """Return the experiment files that come with the package, by name."""
    package = Path(__file__).resolve().parents[1]
    # a wheel carries the files inside the package; in a checkout they lie beside it, for people to copy
    folders = [package / "configs", package.parent / "configs"]
    folder = next((f for f in folders if f.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _find_file(source: str | Path) -> Path:
    path = find_file(source)
    if path is not None:
        return path
    bundled = bundled_experiments()
    if str(source) in bundled:
        return bundled[str(source)]
    what = "is a folder, not an experiment file" if Path(source).is_dir() else "there is no such file"
    raise ExperimentError(f"{source}: {what}, nor a bundled experiment ({', '.join(bundled)})")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ExperimentError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{path}: has to hold the blocks table, split and models")
    return content


def _parse_override(text: str) -> dict[str, Any]:
    keys, separator, value = text.partition("=")
    parts = keys.strip().split(".")
    if not separator or not all(parts):
        raise ExperimentError(f"{shown(text)} is neither an experiment file nor of the form key=value")
    try:
        content: Any = parse_yaml(value)
    except ValueError as error:
        raise ExperimentError(f"{keys}: {shown(value)} cannot be read as YAML: {error}") from None
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
            raise ExperimentError(f"models: there is no model {shown(name)}{nearest(str(name), map(str, known))}")


def _merge(content: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _plain(block: Any) -> dict[str, Any]:
    return {item.name: _plain_value(getattr(block, item.name)) for item in fields(block)}


def _plain_value(value: Any) -> Any:
    if isinstance(value, FrameSource):
        return value.text
    return list(value) if isinstance(value, tuple) else deepcopy(value)


def _given(content: Mapping[str, Any], key: str) -> Any:
    """Return a block that may be left out, or empty."""
    return {} if content.get(key) is None else content[key]


def _build_tables(content: Mapping[str, Any]) -> tuple[TableBlock, ...]:
    one, several = content.get("table"), content.get("tables")
    if several is None:
        if one is None:
            raise ExperimentError("table: is missing")
        return tuple(_build_table(block, "table") for block in _by_target(one, "table"))
    if one is not None:
        raise ExperimentError("tables: stands beside table, and only one of them may be given")
    if not isinstance(several, list | tuple) or not several:
        raise ExperimentError(f"tables: must be a list of blocks like table, not {shown(several)}")
    blocks = [
        (block, f"tables[{i}]") for i, listed in enumerate(several) for block in _by_target(listed, f"tables[{i}]")
    ]
    return tuple(_build_table(block, where) for block, where in blocks)


def _by_target(content: Any, where: str) -> list[Any]:
    """A block for each target that one lists, without the others among its columns."""
    targets = content.get("target") if isinstance(content, Mapping) else None
    if not isinstance(targets, list | tuple):
        return [content]
    if not targets or not all(isinstance(name, str) for name in targets) or len(set(targets)) < len(targets):
        raise ExperimentError(f"{where}.target: must be a column or a list of different ones, not {shown(targets)}")
    dropped = content.get("drop") or []
    if not isinstance(dropped, list | tuple):
        # what it has to be is said with the block's other keys
        return [{**content, "target": targets[0]}]
    return [
        {**content, "target": one, "drop": [*dropped, *(name for name in targets if name != one)]} for one in targets
    ]


def _build_table(content: Any, where: str) -> TableBlock:
    if isinstance(content, Mapping) and not isinstance(content.get("source", ""), str | FrameSource):
        try:
            content = {**content, "source": FrameSource.of(content["source"])}
        except TypeError as error:
            raise ExperimentError(f"{where}.source: {error}") from None
    return build_block(TableBlock, content, where)


def _build_models(content: Any) -> dict[str, ModelBlock]:
    if not isinstance(content, Mapping) or not content:
        raise ExperimentError(f"models: must hold at least one named model, not {shown(content)}")
    models = {}
    for name, block in content.items():
        if not isinstance(name, str) or not name.strip():
            raise ExperimentError(f"models: the name of a model has to be text, not {shown(name)}")
        if not isinstance(block, Mapping):
            raise ExperimentError(f"models.{name}: must be a block of keys and values, not {shown(block)}")
        if "engine" not in block:
            raise ExperimentError(f"models.{name}.engine: is missing")
        engine = convert(block["engine"], str, f"models.{name}.engine")
        models[name] = ModelBlock(engine, {key: value for key, value in block.items() if key != "engine"})
    return models
