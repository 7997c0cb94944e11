"""Saved models: state and arrays bit for bit, refused by name when they do not fit."""

import json
import os

import numpy as np
import pytest

from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.artifacts import FORMAT_VERSION, Saved, header, write_arrays, write_state
from bridges_tabular.regressors.folders import MANIFEST_FILE, new_folder, write_manifest


class Model:
    pass


def save(directory, value=1):
    with new_folder(directory, header(Model())) as folder:
        write_state(folder, {"value": value})
        write_arrays(folder, {"edges": np.array([0.1, np.nan, -np.inf]), "number": np.array(3.0)})


def read(directory):
    return Saved.read(directory, ["Model"]).content()


def test_round_trip_keeps_every_bit_and_shape(tmp_path):
    save(tmp_path / "m", value=np.float64(0.1))
    state, arrays = read(tmp_path / "m")
    assert state == {"value": 0.1}
    np.testing.assert_array_equal(arrays["edges"], [0.1, np.nan, -np.inf])
    assert arrays["number"].shape == ()


def test_a_strided_array_is_written_in_its_own_order(tmp_path):
    with new_folder(tmp_path / "m", header(Model())) as folder:
        write_state(folder, {})
        write_arrays(folder, {"columns": np.arange(6.0).reshape(2, 3).T})
    np.testing.assert_array_equal(read(tmp_path / "m")[1]["columns"], [[0, 3], [1, 4], [2, 5]])


def test_the_manifest_records_class_format_and_versions(tmp_path):
    save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / MANIFEST_FILE).read_text())
    assert manifest["class"] == "Model"
    assert manifest["format"] == FORMAT_VERSION
    assert manifest["versions"]["numpy"] == np.__version__
    assert sorted(manifest["files"]) == ["arrays.safetensors", "bridge.json"]


@pytest.mark.parametrize(("value", "error"), [(object(), TypeError), (float("nan"), ValueError)])
def test_what_json_cannot_hold_is_refused_and_leaves_nothing(tmp_path, value, error):
    with pytest.raises(error, match=r"cannot be saved|not JSON compliant"):
        save(tmp_path / "m", value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("umask", "folder_mode", "file_mode"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600)])
def test_files_are_readable_by_whom_the_umask_says(tmp_path, umask, folder_mode, file_mode):
    before = os.umask(umask)
    try:
        save(tmp_path / "m")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "m").iterdir()} == {file_mode}
    assert (tmp_path / "m").stat().st_mode & 0o777 == folder_mode


@pytest.mark.parametrize("reader", [artifacts.load, read])
def test_reading_what_is_no_model_names_the_file(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json does not exist: .* is not a saved model"):
        reader(tmp_path / "nowhere")
    for given, message in [
        ({"class": "Model", "format": 99}, "has format 99, this version of bridges_tabular reads"),
        ({"class": "os.system", "format": FORMAT_VERSION}, r"is of a os\.system, expected"),
        ({"class": ["Model"], "format": FORMAT_VERSION}, "does not describe a saved model"),
        ({"format": FORMAT_VERSION}, "does not describe a saved model"),
    ]:
        write_manifest(tmp_path, given)
        with pytest.raises(ValueError, match=message) as caught:
            reader(tmp_path)
        assert str(tmp_path / MANIFEST_FILE) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "message"),
    [("{", "not valid JSON"), ("[" * 100_000, "not valid JSON"), ("[]", "does not describe"), (b"\xff", "not valid")],
)
def test_a_state_that_is_none_is_refused_though_its_digest_fits(tmp_path, state, message):
    save(tmp_path / "m")
    (tmp_path / "m" / "bridge.json").write_bytes(state if isinstance(state, bytes) else state.encode())
    write_manifest(tmp_path / "m", header(Model()))
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "m")


def test_arrays_that_are_none_are_refused_though_their_digest_fits(tmp_path):
    save(tmp_path / "m")
    (tmp_path / "m" / "arrays.safetensors").write_bytes(b"\x80\x04pickle?")
    write_manifest(tmp_path / "m", header(Model()))
    with pytest.raises(ValueError, match=r"arrays\.safetensors is damaged"):
        read(tmp_path / "m")
