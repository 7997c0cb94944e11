"""The fits of a comparison that is not finished: kept one by one, so that the same command goes on with the others."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError

from bridges_tabular.experiments._yaml import parse_yaml
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.digests import digest
from bridges_tabular.experiments.folders import UNFINISHED, writing
from bridges_tabular.experiments.parts import MODEL_FOLDER, Part
from bridges_tabular.experiments.tables import Table
from bridges_tabular.regressors import artifacts, folders

_CLASS = "UnfinishedComparison"
# what no fit depends on
_FREE = ("report", "study")
_FIT = "fit-"
# letters of a value in an error
_LONGEST = 80


@dataclass(frozen=True)
class Plan:
    """What must be the same for fits to belong to one comparison.

    Attributes
    ----------
    config : str
        The text of config.yaml.
    tables : dict of str to str
        What identifies the content of each table, by name.
    versions : dict of str to str
        Of the libraries.
    id : str
        Tells this comparison from others of the same plan.
    """

    config: str
    tables: dict[str, str]
    versions: dict[str, str]
    id: str

    @classmethod
    def of(cls, config: str, tables: Sequence[Table], versions: Mapping[str, str]) -> Self:
        """Plan a comparison."""
        return cls(config, {table.name: digest(table) for table in tables}, dict(versions), uuid.uuid4().hex)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        """Read the manifest of an unfinished comparison."""
        return cls(**{field.name: header[field.name] for field in fields(cls)})

    def changes(self, now: Plan) -> list[str]:
        """Say in what another plan differs."""
        configs = [parse_yaml(plan.config) for plan in (self, now)]
        before, after = (dict(_leaves(config)) for config in configs)
        changed = [
            f"{key} was {_short(before.get(key))} and is {_short(after.get(key))}"
            for key in dict.fromkeys([*before, *after])
            if before.get(key) != after.get(key) and key.partition(".")[0] not in _FREE
        ]
        # fits are kept by their number, which is that of the model in the file
        models = [list(config["models"]) for config in configs]
        if models[0] != models[1] and sorted(models[0]) == sorted(models[1]):
            changed.append(f"the order of models was {', '.join(models[0])} and is {', '.join(models[1])}")
        changed += [
            f"the rows of {name} are others"
            for name, digest in self.tables.items()
            if digest != now.tables.get(name, digest)
        ]
        changed += [
            f"the version of {name} was {number} and is {now.versions.get(name)}"
            for name, number in self.versions.items()
            if number != now.versions.get(name)
        ]
        return changed


class Unfinished:
    """The fits that are kept, in a folder of the folder of a run.

    Parameters
    ----------
    out : path
        The folder of the run.

    Raises
    ------
    ExperimentError
        If the folder for them holds anything else.
    """

    def __init__(self, out: str | Path) -> None:
        self._out = Path(out)
        self.folder = self._out / UNFINISHED
        self._was_there = self._out.exists()
        self._check()

    @property
    def plan(self) -> Plan | None:
        """The plan of the comparison that has kept fits there."""
        if not (self.folder / folders.MANIFEST_FILE).exists():
            return None
        try:
            manifest = folders.read_manifest(self.folder)
            if manifest.get("class") == _CLASS:
                return Plan.from_header(manifest)
            reason = f"{self.folder} is no folder of an unfinished comparison"
        except (ValueError, KeyError) as error:
            reason = str(error)
        raise ExperimentError(f"{reason}; choose another folder with --out")

    def begin(self, plan: Plan) -> None:
        """Keep fits of a plan."""
        with writing(self.folder), folders.new_folder(self.folder, {"class": _CLASS} | asdict(plan)):
            pass

    def count(self) -> int:
        """How many fits are kept."""
        return len(self._fits())

    def read(self, number: int, files: Sequence[Any]) -> Part | None:
        """Return a fit that was kept; None if it was not, or is damaged.

        Parameters
        ----------
        number : int
            Of the fit.
        files : sequence of File
            Those of ``Part.collected``.

        Raises
        ------
        ExperimentError
            If it is so damaged that nothing may take its place.
        """
        folder = self._fit(number)
        if not (folder / folders.MANIFEST_FILE).exists():
            return None
        try:
            manifest = folders.read_manifest(folder)
        except (ValueError, FileNotFoundError) as error:
            raise ExperimentError(f"{error}; delete {folder}, and the same command goes on") from None
        try:
            return Part.read(folder, manifest, files)
        except (ValueError, FileNotFoundError, KeyError, SafetensorError) as error:
            warnings.warn(f"{error}: fitted again", stacklevel=2)
            return None

    def keep(self, number: int, part: Part, model: Any = None) -> None:
        """Keep a fit, and the fitted model where others are made of it; one that cannot be saved is not.

        Raises
        ------
        ExperimentError
            If it cannot be written.
        """
        header = {"class": type(part).__name__}
        with (
            writing(self.folder, "; the same command goes on"),
            folders.new_folder(self._fit(number), header) as folder,
        ):
            part.write(folder)
            if model is not None:
                with suppress(ImportError, TypeError, ValueError):
                    model.save(folder / MODEL_FOLDER)

    def model(self, number: int) -> Any:
        """Load the fitted model of a fit that is kept; None if there is none, or it is damaged."""
        try:
            return artifacts.load(self._fit(number) / MODEL_FOLDER)
        except (FileNotFoundError, ValueError, ImportError):
            return None

    def discard(self) -> None:
        """Delete what is kept, and nothing else."""
        if not self.folder.exists():
            return
        with writing(self.folder):
            for folder in self._fits():
                folders.remove_folder(folder)
            folders.remove_folder(self.folder)
            if not self._was_there and not any(self._out.iterdir()):
                self._out.rmdir()

    def _fit(self, number: int) -> Path:
        return self.folder / f"{_FIT}{number}"

    def _fits(self) -> list[Path]:
        return [path for path in self.folder.glob(f"{_FIT}*") if path.name.removeprefix(_FIT).isdecimal()]

    def _check(self) -> None:
        """Put in order what dead processes left, and refuse what is none of it."""
        # a fit that was being written is beside its place, under a name that begins with a dot
        for left in self.folder.glob(f".{_FIT}*"):
            folders.find(self.folder / left.name[1:].partition(".")[0])
        fits = self._fits()
        foreign = {path.name for path in self.folder.glob("*")} - {path.name for path in fits} - {folders.MANIFEST_FILE}
        if foreign:
            raise ExperimentError(
                f"{self.folder} holds {min(foreign)}, which is no part of an unfinished run: choose another folder with"
                " --out"
            )
        try:
            for folder in fits:
                folders.check_replaceable(folder)
        except FileExistsError as error:
            raise ExperimentError(f"{error} with --out") from None


def _short(value: str | None) -> str:
    if value is None:
        return "not given"
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys with their values as text, in which 1 is 1.0, and what is no number is itself."""
    if isinstance(content, dict) and content:
        for name, value in content.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list) and content and all(isinstance(value, dict) for value in content):
        for index, value in enumerate(content):
            yield from _leaves(value, f"{key}[{index}]")
    else:
        whole = isinstance(content, float) and content.is_integer()
        yield key, repr(int(content) if whole else content)
