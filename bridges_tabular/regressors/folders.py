"""Folders that are written whole or not at all, replaced safely at every instant, and checked before they are read.

A folder's manifest lists every file with its size and SHA-256. It is written last: a folder with a manifest is
complete, and only what a manifest lists is ever deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from bridges_tabular.regressors.processes import started

MANIFEST_FILE = "manifest.json"
# no manifest of ours comes near it, and nothing larger is parsed
LARGEST_MANIFEST = 1 << 20
_CHUNK = 1 << 20
# a folder that is replaced while it is read is read anew, so often at most
_TRIES = 20
# the end of a name that stands beside what is written
_OURS = re.compile(r"(new|old)-[0-9]+-[0-9a-f]{32}")


@contextmanager
def new_folder(directory: str | Path, header: Mapping[str, Any], kept: str | None = None) -> Iterator[Path]:
    """Collect files in a temporary folder that becomes ``directory`` at the end of the block.

    If the block raises, nothing is left behind and what ``directory`` held stays as it was. A kill at any instant
    leaves the old files or the new ones for :func:`find`, which also cleans up.

    Parameters
    ----------
    directory : path
    header : mapping
        What the manifest says beside the files; plain values.
    kept : str, optional
        Name of a folder in ``directory`` that is no part of what is replaced: it stays as it is.

    Yields
    ------
    path of an empty folder, beside ``directory``

    Raises
    ------
    FileExistsError
        If ``directory`` is a file, or a folder that holds anything but what its manifest lists.
    """
    check_replaceable(directory, kept)
    target = Path(os.path.realpath(directory))
    written, replaced = (beside(target, kind) for kind in ("new", "old"))
    written.mkdir(parents=True)
    try:
        yield written
        write_manifest(written, header)
        if target.exists():
            target.rename(replaced)
        written.rename(target)
    finally:
        if replaced.exists():
            if target.exists():
                _clear(replaced, target, kept)
            else:
                replaced.rename(target)
        shutil.rmtree(written, ignore_errors=True)


def remove_folder(directory: str | Path) -> None:
    """Delete a folder that :func:`new_folder` wrote, if it is there.

    Raises
    ------
    FileExistsError
        If it holds anything but what its manifest lists.
    """
    check_replaceable(directory)
    folder = find(directory)
    if folder.is_dir():
        _remove_listed(folder)


def check_replaceable(directory: str | Path, kept: str | None = None) -> None:
    """Refuse a folder that holds anything but what its manifest lists, and the folder ``kept``.

    Raises
    ------
    FileExistsError
        In one line that names the file.
    """
    folder = find(directory, kept)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise FileExistsError(f"{directory} is a file, expected a folder to save in")
    own = [path for path in folder.iterdir() if path.name != kept or not _is_folder(path)]
    if not own:
        return
    inside = [path for top in own for path in ((top, *top.rglob("*")) if _is_folder(top) else (top,))]
    held = sorted(path.relative_to(folder).as_posix() for path in inside if not _is_folder(path))
    if MANIFEST_FILE not in held:
        name = held[0] if held else own[0].name
        raise FileExistsError(f"{directory} holds {name}, which is nothing that was saved there; choose another folder")
    try:
        listed = read_manifest(folder)["files"]
    except ValueError as error:
        raise FileExistsError(f"{error}; choose another folder") from None
    for name in held:
        if name not in listed and name != MANIFEST_FILE:
            raise FileExistsError(
                f"{directory} holds {name}, which is no part of what was saved there; choose another folder"
            )


def write_manifest(folder: Path, header: Mapping[str, Any]) -> None:
    """List the files of a folder, as its last one; ``header`` goes first."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_FILE)
    files = {path.relative_to(folder).as_posix(): _describe(path) for path in paths}
    content = {**header, "files": files}
    text = json.dumps({**content, "digest": _digest(content)}, indent=1, allow_nan=False)
    written = folder / f".{MANIFEST_FILE}"
    written.write_text(text + "\n", encoding="utf-8")
    written.replace(folder / MANIFEST_FILE)


def beside(target: Path, kind: str) -> Path:
    """A name beside ``target`` for what is about to take its place, or had to leave it.

    The number of the process in it tells whoever comes next whether to clean up.
    """
    return target.with_name(f".{target.name}.{kind}-{os.getpid()}-{uuid.uuid4().hex}")


def find(directory: str | Path, kept: str | None = None) -> Path:
    """The folder, or file, itself, after what dead processes left beside it is put in order.

    Where a process died between moving the old folder away and the new one in, the new one takes its place; while one
    is about to do so, the old one is returned. ``kept`` is that of :func:`new_folder`.
    """
    target = Path(os.path.realpath(directory))
    if not target.parent.is_dir():
        return target
    living = []
    for kind in ("new", "old"):
        for left in _left(target, kind):
            if _owner_lives(left):
                living.append(left)
            elif not target.exists() and (kind == "old" or (left / MANIFEST_FILE).is_file()):
                left.rename(target)
            elif kind == "old":
                _clear(left, target, kept)
            elif left.is_file():
                left.unlink()
            else:
                shutil.rmtree(left, ignore_errors=True)
    if target.exists():
        return target
    complete = [folder for folder in living if (folder / MANIFEST_FILE).is_file()]
    return complete[-1] if complete else target


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a manifest, and check that nobody changed it.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file() or path.is_symlink():
        raise FileNotFoundError(f"{path} does not exist: {folder} is not a saved model")
    if path.stat().st_size > LARGEST_MANIFEST:
        raise ValueError(f"{path} is damaged: it is larger than any manifest")
    return parse_manifest(path, path.read_bytes())


def parse_manifest(path: Path, content: bytes) -> dict[str, Any]:
    """What a manifest says, checked to be as it was written.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        manifest = json.loads(content.decode())
        digest = manifest.pop("digest")
        whole = digest == _digest(manifest) and all(map(is_inside, manifest["files"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged: its content does not match its digest")
    return dict(manifest)


def read_together(
    directory: str | Path, wanted: Callable[[Path, Mapping[str, Any]], Mapping[str, int]]
) -> tuple[Path, dict[str, Any], dict[str, bytes]]:
    """Read files that a manifest lists, all as they were at one instant, though another process replaces the folder.

    Parameters
    ----------
    directory : path
    wanted : callable
        From the folder and its manifest to the names of files, and the most bytes of each; may refuse them.

    Returns
    -------
    the folder, its manifest, and the contents by name

    Raises
    ------
    FileNotFoundError, ValueError
        Those of :func:`read_manifest` and :func:`read_file`.
    """
    seen: list[dict[str, Any] | None] = []
    while True:
        manifest = None
        try:
            folder = find(directory)
            manifest = read_manifest(folder)
            names = wanted(folder, manifest).items()
            return folder, manifest, {name: read_file(folder, name, manifest, most) for name, most in names}
        except (FileNotFoundError, ValueError):
            # nobody has replaced what has the same manifest again, or none
            if manifest in seen[-1:] or len(seen) == _TRIES:
                raise
            seen.append(manifest)


def read_file(folder: Path, name: str, manifest: Mapping[str, Any], largest: int) -> bytes:
    """Read a file that a manifest lists, checked before anything is made of it.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    ValueError
        If it is not listed, not a plain file, larger than ``largest`` bytes, or its size or SHA-256 is another.
    """
    path, listed = folder / name, manifest["files"].get(name)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist: the saved model is incomplete") from None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is damaged: it is a link or a folder, not a file")
    if not isinstance(listed, dict) or found.st_size != listed.get("size"):
        raise ValueError(f"{path} is damaged: it has {found.st_size} bytes, which is not what its manifest says")
    if found.st_size > largest:
        raise ValueError(f"{path} is damaged: {found.st_size} bytes are more than any model holds there")
    content = path.read_bytes()
    check_content(path, content, manifest, name)
    return content


def check_content(path: Path, content: bytes, manifest: Mapping[str, Any], name: str) -> None:
    """Refuse content that is not what a manifest lists under a name.

    Raises
    ------
    ValueError
        In one line that names the path.
    """
    listed = manifest["files"].get(name)
    if not isinstance(listed, dict) or hashlib.sha256(content).hexdigest() != listed.get("sha256"):
        raise ValueError(f"{path} is damaged: its content does not match the SHA-256 in its manifest")


def _describe(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return {"size": path.stat().st_size, "sha256": digest.hexdigest()}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _clear(replaced: Path, target: Path, kept: str | None) -> None:
    """Delete a folder that another one has replaced; what is to be kept moves on."""
    if kept is not None and (replaced / kept).exists() and not (target / kept).exists():
        (replaced / kept).rename(target / kept)
    _remove_listed(replaced)


def _remove_listed(folder: Path) -> None:
    """Delete the files that a manifest lists, the manifest last, and folders that are empty then."""
    try:
        listed = read_manifest(folder)["files"]
    except FileNotFoundError:
        # it was empty, or a kill left nothing but empty folders
        listed = []
    except ValueError:
        return
    for name in (*listed, MANIFEST_FILE):
        (folder / name).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if _is_folder(path) and not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()


def _left(target: Path, kind: str) -> list[Path]:
    """What :func:`beside` has named."""
    found = target.parent.glob(f".{_escaped(target.name)}.{kind}-*")
    return sorted(path for path in found if _OURS.fullmatch(path.name.rpartition(".")[2]))


def _owner_lives(left: Path) -> bool:
    return started(int(left.name.rpartition(".")[2].split("-")[1])) is not None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def is_inside(name: str) -> bool:
    """Whether a name leads to a file in the folder, and nowhere else."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
