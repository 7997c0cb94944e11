"""Folders of saved models: written whole or not at all, refused by name when they do not fit."""

import json

import numpy as np
import pytest

from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.artifacts import (
    FORMAT_VERSION,
    new_artifact,
    read_arrays,
    read_state,
    write_arrays,
    write_state,
)


class Model:
    pass


def save(directory, value=1):
    with new_artifact(directory) as folder:
        write_state(folder, Model(), {"value": value})
        write_arrays(folder, {"edges": np.array([0.1, np.nan, -np.inf]), "number": np.array(3.0)})


def test_round_trip_creates_parents_and_keeps_every_bit(tmp_path):
    directory = tmp_path / "runs" / "first"
    save(directory, value=np.float64(0.1))
    assert read_state(directory, "Model") == {"value": 0.1}
    arrays = read_arrays(directory)
    np.testing.assert_array_equal(arrays["edges"], [0.1, np.nan, -np.inf])
    assert arrays["number"].shape == ()
    assert sorted(path.name for path in directory.parent.iterdir()) == ["first"]


def test_a_strided_array_is_written_in_its_own_order(tmp_path):
    with new_artifact(tmp_path / "m") as folder:
        write_arrays(folder, {"columns": np.arange(6.0).reshape(2, 3).T})
    np.testing.assert_array_equal(read_arrays(tmp_path / "m")["columns"], [[0, 3], [1, 4], [2, 5]])


def test_state_records_class_format_and_versions(tmp_path):
    save(tmp_path / "m")
    header = json.loads((tmp_path / "m" / "bridge.json").read_text())
    assert header["class"] == "Model"
    assert header["format"] == FORMAT_VERSION
    assert header["versions"]["numpy"] == np.__version__


def test_a_saved_model_is_replaced_and_an_empty_folder_used(tmp_path):
    (tmp_path / "m").mkdir()
    for value in (1, 2):
        save(tmp_path / "m", value)
    assert read_state(tmp_path / "m", "Model") == {"value": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failing_save_leaves_nothing_and_keeps_what_was_there(tmp_path):
    with pytest.raises(TypeError, match=r"a object cannot be saved"):
        save(tmp_path / "m", object())
    assert not list(tmp_path.iterdir())
    save(tmp_path / "m", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path / "m", float("nan"))
    assert read_state(tmp_path / "m", "Model") == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_old_model_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    save(tmp_path / "m", 1)
    rename = artifacts.Path.rename

    def fail_for_new(self, target):
        if ".new-" in self.name:
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(artifacts.Path, "rename", fail_for_new)
    with pytest.raises(PermissionError):
        save(tmp_path / "m", 2)
    assert read_state(tmp_path / "m", "Model") == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_foreign_folders_and_files_are_refused(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("dear to someone")
    with pytest.raises(FileExistsError, match=r"thesis holds files that are not a saved model"):
        save(tmp_path / "thesis")
    with pytest.raises(FileExistsError, match=r"chapter.txt is a file"):
        save(tmp_path / "thesis" / "chapter.txt")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


@pytest.mark.parametrize("reader", [artifacts.load, lambda path: read_state(path, "Model")])
def test_reading_what_is_no_model_names_the_file(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"bridge\.json does not exist: .* is not a saved model"):
        reader(tmp_path / "nowhere")
    for content, message in [
        ("{", "is not valid JSON"),
        ("[]", "does not describe a saved model"),
        ('{"class": "Model", "format": 99, "state": {}}', "has format 99"),
        ('{"class": "os.system", "format": 2, "state": {}}', r"holds a os\.system, expected"),
    ]:
        (tmp_path / "bridge.json").write_text(content)
        with pytest.raises(ValueError, match=message) as caught:
            reader(tmp_path)
        assert str(tmp_path / "bridge.json") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_arrays_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"arrays\.safetensors does not exist"):
        read_arrays(tmp_path)
