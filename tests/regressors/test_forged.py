"""Saved models whose manifest fits but whose content does not: one line that names the file, and nothing allocated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save
from sklearn.tree import DecisionTreeClassifier

import bridges_tabular
from bridges_tabular import (
    ClassifierBridgeRegressor,
    PooledBridgeRegressor,
    TabularBridgeRegressor,
    XGBBridgeRegressor,
)
from bridges_tabular.regressors.folders import MANIFEST_FILE, write_manifest

RNG = np.random.default_rng(0)
N = 120
X = pd.DataFrame(
    {
        "a": RNG.uniform(size=N),
        "b": np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(size=N)),
        "kind": RNG.choice(["plain", "fancy"], N),
        "when": pd.date_range("2021-03-01", periods=N, freq="7h"),
    }
)
Y = np.round(3 * X["a"] + 0.3 * RNG.normal(size=N), 1).to_numpy()
NUMBERS = X[["a"]]

SINGLE = "CategoryEmbeddingModelConfig"
REGRESSORS: dict[str, Callable[[], Any]] = {
    "trees": lambda: XGBBridgeRegressor(n_estimators=6, n_bins=8, n_jobs=1).fit(X, Y),
    "trees, least_squares": lambda: XGBBridgeRegressor("least_squares", n_estimators=6, n_jobs=1).fit(X, Y),
    "trees, hard": lambda: XGBBridgeRegressor("hard", location="none", n_estimators=6, n_bins=8, n_jobs=1).fit(X, Y),
    "trees, of two targets": lambda: XGBBridgeRegressor(
        "soft", location="none", n_estimators=3, n_bins=8, n_jobs=1
    ).fit(X, np.column_stack([Y, -Y])),
    "network": lambda: TabularBridgeRegressor(
        max_epochs=2, n_bins=8, backbone_params={"layers": "4", "n_members": 2, "embedding": "none"}
    ).fit(X, Y),
    "network, least_squares": lambda: TabularBridgeRegressor(
        SINGLE, "least_squares", max_epochs=2, backbone_params={"layers": "16"}
    ).fit(X, Y),
    "network, soft, of two targets": lambda: TabularBridgeRegressor(
        SINGLE, "soft", max_epochs=2, n_bins=8, backbone_params={"layers": "16"}
    ).fit(X, np.column_stack([Y, -Y])),
    "classifier": lambda: ClassifierBridgeRegressor(DecisionTreeClassifier(max_depth=3), n_bins=8).fit(NUMBERS, Y),
    "pool": lambda: PooledBridgeRegressor(
        [
            (scheme, XGBBridgeRegressor(scheme, location="none", n_estimators=3, n_bins=8, n_jobs=1))
            for scheme in ("hard", "soft")
        ]
    ).fit(X, Y),
}
every = pytest.mark.parametrize("name", REGRESSORS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for index, (name, make) in enumerate(REGRESSORS.items()):
        folders[name] = tmp_path_factory.mktemp("saved") / str(index)
        make().save(folders[name])
    return folders


class Folder:
    """A copy of a saved model to change, under a manifest that fits."""

    def __init__(self, source: Path, target: Path) -> None:
        target.mkdir()
        if (source / "members").is_dir():
            shutil.copytree(source / "members", target / "members")
        self.path = target
        self.manifest = json.loads((source / MANIFEST_FILE).read_text())
        self.state = json.loads((source / "bridge.json").read_text())
        self.arrays = load((source / "arrays.safetensors").read_bytes())

    def refused(self) -> str:
        """What loading says, in one line."""
        (self.path / "bridge.json").write_text(json.dumps(self.state))
        (self.path / "arrays.safetensors").write_bytes(save(self.arrays))
        write_manifest(self.path, {key: self.manifest[key] for key in ("class", "format", "versions")})
        try:
            bridges_tabular.load(self.path)
        except ValueError as error:
            said = str(error)
        else:
            return "loaded"
        assert "\n" not in said, said
        assert len(said) < 400 + len(str(self.path))
        assert str(self.path) in said
        return said


@pytest.fixture
def forged(saved: dict[str, Path], tmp_path: Path) -> Callable[[str], Folder]:
    count = iter(range(10_000))
    return lambda name: Folder(saved[name], tmp_path / str(next(count)))


@every
def test_the_copies_are_whole(name: str, forged: Callable[[str], Folder]) -> None:
    assert forged(name).refused() == "loaded"


@pytest.mark.slow
@every
def test_an_array_more_or_less_is_named(name: str, forged: Callable[[str], Folder]) -> None:
    for array in forged(name).arrays:
        folder = forged(name)
        del folder.arrays[array]
        said = folder.refused()
        # where an array may be missing, a part that goes with it is named: without a basis, trees of another size
        assert array in said or array.rpartition(".")[0] in said or "booster" in said, (array, said)
        assert "arrays.safetensors: array '" in said
    for prefix in ("", "engine.", "calibration.0.", "calibration.7.", "scale.", "engine.weights.", "engine.target."):
        folder = forged(name)
        folder.arrays[f"{prefix}one.more"] = np.zeros(3)
        assert f"arrays.safetensors: array '{prefix}one.more' belongs to nothing" in folder.refused()


@pytest.mark.slow
@every
def test_an_array_of_another_shape_or_type_is_named(name: str, forged: Callable[[str], Folder]) -> None:
    for index, (array, content) in enumerate(forged(name).arrays.items()):
        others = [content.astype(np.float16), content[None]]
        if content.size and content.ndim and "booster" not in array and array != "engine.estimator":
            others += [np.concatenate([content, content]), content[:-1]]
        # of all of them, another one for each array
        folder = forged(name)
        folder.arrays[array] = others[index % len(others)]
        said = folder.refused()
        assert "arrays.safetensors: array '" in said, (array, others[index % len(others)].shape, said)


WRONG: tuple[Any, ...] = (None, -1, 10**9, 1e300, "x", [], {}, True, [[]])


def _entries(of: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in of.items() if isinstance(of, dict) else enumerate(of):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _entries(value, (*path, key))


def _try_entries(forged: Callable[[str], Folder], name: str, values: Callable[[int], tuple[Any, ...]]) -> None:
    for index, path in enumerate(_entries(forged(name).state)):
        for value in values(index):
            folder = forged(name)
            place = folder.state
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            folder.refused()


@pytest.mark.parametrize("name", ["trees", "classifier"])
def test_any_other_entry_of_the_state_is_one_line_or_without_effect(name: str, forged: Any) -> None:
    _try_entries(forged, name, lambda index: (WRONG[index % len(WRONG)],))


@pytest.mark.slow
@every
def test_every_other_entry_of_the_state_is_one_line_or_without_effect(name: str, forged: Any) -> None:
    _try_entries(forged, name, lambda _: WRONG)


MEASURED = """
import resource, sys, time
import bridges_tabular
bridges_tabular.load(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[2:]:
    started = time.monotonic()
    try:
        bridges_tabular.load(folder)
    except ValueError as error:
        assert chr(10) not in str(error)
    else:
        raise AssertionError(folder)
    assert time.monotonic() - started < 1, time.monotonic() - started
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 50 * 1024, grown
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory in other units")
def test_no_memory_of_the_sizes_that_a_file_names(saved: dict[str, Path], forged: Callable[[str], Folder]) -> None:
    folders = []
    for change in (
        {"backbone_config_params": {"layers": "100000-100000"}},
        {"backbone_config_params": {"layers": "16", "activation": "GELU"}, "n_bins": 4096},
        {"n_bins": 10**9},
        {"head_config": {"kind": "auto", "layers": "100000-100000"}},
        {"backbone_config_class": "NodeConfig", "backbone_config_params": {"depth": 30}},
        {"backbone_config_class": "GANDALFConfig", "backbone_config_params": {"gflu_stages": 10**9}},
    ):
        folder = forged("network")
        folder.state["engine"]["config"] |= change
        folder.refused()
        folders.append(str(folder.path))
    code = [sys.executable, "-c", MEASURED, str(saved["network"]), *folders]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("layers", ["100000-100000", "-".join(["4"] * 30_000), "17", "16-16"])
def test_layers_that_the_arrays_do_not_have(layers: str, forged: Callable[[str], Folder]) -> None:
    folder = forged("network")
    folder.state["engine"]["config"]["backbone_config_params"]["layers"] = layers
    assert "arrays" in folder.refused()


def test_members_that_the_arrays_do_not_have(tmp_path: Path) -> None:
    params = {"layers": "16", "n_members": 2}
    TabularBridgeRegressor("MemberMLPConfig", max_epochs=1, n_bins=8, backbone_params=params).fit(X, Y).save(
        tmp_path / "members"
    )
    for index, change in enumerate(
        (
            *({name: 10**9} for name in ("n_members", "embedding_bins", "embedding_dim", "one_hot")),
            {"frequencies": 10**9, "embedding": "plr"},
            {"n_members": 3},
            {"sharing": "batch_ensemble"},
            {"activation": "Module"},
        )
    ):
        folder = Folder(tmp_path / "members", tmp_path / str(index))
        folder.state["engine"]["config"]["backbone_config_params"] |= change
        assert folder.refused() != "loaded"


@every
@pytest.mark.parametrize("n_bins", [10**9, 4096, 10**30, 2])
def test_bins_that_the_arrays_do_not_have(name: str, n_bins: int, forged: Callable[[str], Folder]) -> None:
    if "least_squares" in name or name == "pool":
        return
    for place in (("params",), ("engine", "config")) if name.startswith("network") else (("params",),):
        folder, at = forged(name), None
        at = folder.state
        for key in place:
            at = at[key]
        at["n_bins"] = n_bins
        said = folder.refused()
        if n_bins > 4096:
            assert "n_bins" in said
        elif place == ("engine", "config") or (n_bins == 2 and not name.startswith("network")):
            assert "array" in said


def test_states_of_old_are_one_line(forged: Callable[[str], Folder]) -> None:
    engines = {"network": ("config", "best_epoch"), "trees": ("location", "best_iteration", "best_score", "log")}
    for name, key in [(name, key) for name, keys in engines.items() for key in keys]:
        folder = forged(name)
        del folder.state["engine"][key]
        assert f"bridge.json does not describe a {folder.manifest['class']}: there is no '{key}'" in folder.refused()
    for name in REGRESSORS:
        for key in forged(name).state:
            folder = forged(name)
            del folder.state[key]
            assert (
                f"bridge.json does not describe a {folder.manifest['class']}: there is no '{key}'" in folder.refused()
            )
        folder = forged(name)
        folder.state["params"]["depth_of_old"] = 3
        assert "bridge.json does not describe a" in folder.refused()


def test_references_of_omegaconf_are_not_followed(forged: Callable[[str], Folder]) -> None:
    folder = forged("network")
    folder.state["engine"]["config"]["backbone_config_params"]["layers"] = "${oc.env:HOME}"
    assert "does not describe" in folder.refused()
    folder = forged("network")
    folder.state["engine"]["config"]["backbone_config_params"]["_module_src"] = "tabular_model.os"
    assert "unknown '_module_src'" in folder.refused()
