"""Folders that are whole at every instant, and from which nothing is deleted that was not saved there."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bridges_tabular.regressors.folders import (
    MANIFEST_FILE,
    find,
    new_folder,
    read_file,
    read_manifest,
    read_together,
    remove_folder,
)


def save(directory, text="one"):
    with new_folder(directory, {"class": "Model"}) as folder:
        (folder / "text.txt").write_text(text)
        (folder / "deep").mkdir()
        (folder / "deep" / "more.txt").write_text(text)


def content(directory):
    folder = find(directory)
    manifest = read_manifest(folder)
    return {name: read_file(folder, name, manifest, 100).decode() for name in manifest["files"]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_creates_parents_and_leaves_nothing_else(tmp_path):
    save(tmp_path / "runs" / "first")
    assert content(tmp_path / "runs" / "first") == {"deep/more.txt": "one", "text.txt": "one"}
    assert names(tmp_path / "runs") == ["first"]


def test_what_was_saved_is_replaced_and_an_empty_folder_used(tmp_path):
    (tmp_path / "m").mkdir()
    for text in ("one", "two"):
        save(tmp_path / "m", text)
        assert content(tmp_path / "m")["text.txt"] == text
    assert names(tmp_path) == ["m"]


def test_a_failing_block_leaves_nothing_and_keeps_what_was_there(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), new_folder(tmp_path / "m", {}) as folder:
        fail(folder)
    assert not names(tmp_path)
    save(tmp_path / "m")
    with pytest.raises(OSError, match="No space"), new_folder(tmp_path / "m", {}) as folder:
        fail(folder)
    assert content(tmp_path / "m")["text.txt"] == "one"
    assert names(tmp_path) == ["m"]


_KILLED = """
import os, sys
from pathlib import Path
from bridges_tabular.regressors.folders import new_folder
folder, at = Path(sys.argv[1]), int(sys.argv[2])
count, calls = 0, {name: getattr(Path, name) for name in ("rename", "replace", "unlink", "rmdir", "mkdir")}
def killing(name):
    def call(self, *args, **kwargs):
        global count
        count += 1
        if count == at:
            os._exit(9)
        return calls[name](self, *args, **kwargs)
    return call
for name in calls:
    setattr(Path, name, killing(name))
with new_folder(folder, {"class": "Model"}, *sys.argv[3:]) as written:
    (written / "text.txt").write_text("two")
"""


@pytest.mark.parametrize("at", range(1, 13))
def test_a_kill_at_any_instant_leaves_the_old_or_the_new_and_is_cleaned_up(tmp_path, at):
    save(tmp_path / "m")
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "m"), str(at)], check=False)
    assert content(tmp_path / "m")["text.txt"] == (
        "two" if ended.returncode == 0 else content(tmp_path / "m")["text.txt"]
    )
    assert content(tmp_path / "m")["text.txt"] in ("one", "two")
    assert names(tmp_path) == ["m"]
    save(tmp_path / "m", "three")
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize("at", range(1, 14))
@pytest.mark.parametrize("there", ["old", "nothing"])
def test_a_folder_that_is_kept_survives_a_kill_at_any_instant(tmp_path, there, at):
    if there == "old":
        save(tmp_path / "m")
    with new_folder(tmp_path / "m" / "kept", {"class": "Kept"}) as folder:
        (folder / "dear.txt").write_text("dear")
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "m"), str(at), "kept"]
    ended = subprocess.run(command, check=False)
    assert (find(tmp_path / "m", "kept") / "kept" / "dear.txt").read_text() == "dear"
    assert names(tmp_path) == ["m"]
    new = content(tmp_path / "m") if (tmp_path / "m" / MANIFEST_FILE).exists() else None
    assert new == {"text.txt": "two"} or (ended.returncode != 0 and (new is None) == (there == "nothing"))
    with pytest.raises(FileExistsError, match=r"holds (kept/)?"):
        save(tmp_path / "m")
    with new_folder(tmp_path / "m", {}, "kept") as folder:
        (folder / "text.txt").write_text("three")
    assert names(tmp_path / "m") == ["kept", MANIFEST_FILE, "text.txt"]
    remove_folder(tmp_path / "m" / "kept")
    assert names(tmp_path / "m") == [MANIFEST_FILE, "text.txt"]


@pytest.mark.parametrize("times", [1, 3])
def test_what_is_replaced_while_it_is_read_is_read_anew(tmp_path, times):
    save(tmp_path / "m", "0")
    later = iter(range(1, times + 1))

    def wanted(folder, manifest):
        # another process saves once the manifest is read
        for text in later:
            save(tmp_path / "m", f"{text}")
            break
        return dict.fromkeys(manifest["files"], 100)

    folder, _, files = read_together(tmp_path / "m", wanted)
    assert folder == tmp_path / "m"
    assert set(files.values()) == {f"{times}".encode()}


def test_what_is_replaced_again_and_again_or_damaged_is_refused(tmp_path):
    tries = []

    def wanted(folder, manifest):
        tries.append(manifest)
        save(tmp_path / "m", "more" * len(tries))
        return dict.fromkeys(manifest["files"], 1000)

    save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"damaged"):
        read_together(tmp_path / "m", wanted)
    assert len(tries) < 100
    (tmp_path / "m" / "text.txt").write_text("cut")
    with pytest.raises(ValueError, match=r"text\.txt is damaged"):
        read_together(tmp_path / "m", lambda _, manifest: dict.fromkeys(manifest["files"], 1000))


def test_names_of_somebody_else_are_left_alone(tmp_path):
    save(tmp_path / "m")
    for name in (".m.new-1999-ideas", ".m.old-photos", ".m.new-", f".m.new-{2**30}-{'0' * 31}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dear.txt").write_text("dear to someone")
    before = names(tmp_path)
    save(tmp_path / "m", "two")
    assert content(tmp_path / "m")["text.txt"] == "two"
    assert names(tmp_path) == before


def test_only_what_was_saved_is_removed(tmp_path):
    save(tmp_path / "m")
    (tmp_path / "m" / "deep" / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"m holds deep/note\.txt"):
        remove_folder(tmp_path / "m")
    assert content(tmp_path / "m")["text.txt"] == "one"
    (tmp_path / "m" / "deep" / "note.txt").unlink()
    remove_folder(tmp_path / "m")
    assert names(tmp_path) == []
    remove_folder(tmp_path / "m")


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    save(tmp_path / "m")
    with new_folder(tmp_path / "m", {"class": "Model"}) as written:
        (written / "text.txt").write_text("two")
        assert content(tmp_path / "m")["text.txt"] == "one"
        assert written.is_dir()
    assert content(tmp_path / "m") == {"text.txt": "two"}


def test_a_folder_that_holds_anything_else_is_refused_by_name(tmp_path):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("dear to someone")
    with pytest.raises(FileExistsError, match=r"thesis holds chapter\.txt, which is nothing that was saved there"):
        save(thesis)
    (thesis / MANIFEST_FILE).write_text("{}")
    with pytest.raises(FileExistsError, match=r"manifest\.json is damaged.*choose another folder"):
        save(thesis)
    with pytest.raises(FileExistsError, match=r"chapter.txt is a file"):
        save(thesis / "chapter.txt")
    save(tmp_path / "m")
    (tmp_path / "m" / "deep" / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"m holds deep/note\.txt, which is no part of what was saved there"):
        save(tmp_path / "m")
    assert (tmp_path / "m" / "deep" / "note.txt").read_text() == "mine"
    assert (thesis / "chapter.txt").read_text() == "dear to someone"


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    (tmp_path / "dear.txt").write_text("dear to someone")
    (tmp_path / "m").mkdir()
    for name in ("../dear.txt", str(tmp_path / "dear.txt"), "a/../../dear.txt", "", ".."):
        files = {name: {"size": 1, "sha256": ""}}
        digest = hashlib.sha256(json.dumps({"files": files}, sort_keys=True).encode()).hexdigest()
        (tmp_path / "m" / MANIFEST_FILE).write_text(json.dumps({"files": files, "digest": digest}))
        with pytest.raises(FileExistsError, match="damaged"):
            save(tmp_path / "m")
    assert (tmp_path / "dear.txt").read_text() == "dear to someone"


@pytest.mark.parametrize("name", ["text.txt", MANIFEST_FILE])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "link", "longer"])
def test_damage_is_found_before_anything_is_read(tmp_path, name, damage):
    save(tmp_path / "m", "a text of some length")
    path: Path = tmp_path / "m" / name
    whole = path.read_bytes()
    if damage == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"flip": flipped, "cut": whole[:middle], "empty": b"", "longer": whole + b"x"}[damage])
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        content(tmp_path / "m")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_large_and_missing_files_are_refused(tmp_path):
    save(tmp_path / "m", "x" * 101)
    with pytest.raises(ValueError, match="101 bytes are more than any model holds there"):
        content(tmp_path / "m")
    (tmp_path / "m" / MANIFEST_FILE).write_text(" " * (1 << 21))
    with pytest.raises(ValueError, match="larger than any manifest"):
        content(tmp_path / "m")
    save(tmp_path / "n")
    (tmp_path / "n" / "text.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"text\.txt does not exist: the saved model is incomplete"):
        content(tmp_path / "n")
