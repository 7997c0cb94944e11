"""The promises of SECURITY.md, each by its name, on small data; the rooms' own tests go further."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular import TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.cli import main
from bridges_tabular.regressors.folders import MANIFEST_FILE, write_manifest

SECURITY = (Path(__file__).parents[1] / "SECURITY.md").read_text("utf-8")
RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.uniform(size=200), "b": RNG.normal(size=200)})
Y = (3 * X["a"] + 0.3 * X["b"] + 0.1 * RNG.normal(size=200)).to_numpy()
ENGINES: dict[str, Any] = {
    "trees": lambda **params: XGBBridgeRegressor(**({"n_estimators": 20, "n_bins": 8, "n_jobs": 1} | params)),
    "network": lambda **params: TabularBridgeRegressor(
        **({"max_epochs": 20, "n_bins": 8, "backbone_params": {"layers": "16"}} | params)
    ),
}
every = pytest.mark.parametrize("engine", ENGINES)


def promised(words: str) -> None:
    assert f"**{words}" in SECURITY, "SECURITY.md does not promise it in these words"


@every
def test_weights_have_no_scale(engine: str) -> None:
    promised("Weights have no scale")
    plain = ENGINES[engine]().fit(X, Y).predict(X)
    for weight in (1 / 200, 1e-300, 1e300):
        np.testing.assert_array_equal(ENGINES[engine]().fit(X, Y, np.full(200, weight)).predict(X), plain)
    assert np.std(plain) > 0.5 * np.std(Y)


@every
@pytest.mark.parametrize("scheme", ["least_squares", "end_to_end"])
def test_units_have_no_effect(engine: str, scheme: str) -> None:
    promised("Units have no effect")
    plain = ENGINES[engine](scheme=scheme).fit(X, Y).predict(X)
    for unit, offset in ((1e-12, 0.0), (1e12, 1e12), (1.0, 1e6)):
        found = ENGINES[engine](scheme=scheme).fit(X, unit * Y + offset).predict(X)
        np.testing.assert_allclose((found - offset) / unit, plain, atol=1e-5 * Y.std())


@every
def test_a_prediction_is_finite_or_refused(engine: str) -> None:
    promised("A prediction is finite or refused")
    model = ENGINES[engine]().fit(X.assign(a=1e-30 * X["a"], gone=np.nan), Y)
    far = X.assign(a=1e38, b=-1e38, gone=1e38)
    assert np.isfinite(model.predict(far)).all()
    with pytest.raises(ValueError, match="column 'b'"):
        model.predict(far.assign(b=np.inf))


@every
def test_one_object(engine: str) -> None:
    promised("One object")
    model = ENGINES[engine]().fit(X, Y)
    np.testing.assert_allclose(model.predict_distribution(X).mean, model.predict(X), atol=1e-6)


def test_threads_leave_no_trace() -> None:
    # tests/regressors/test_contract.py and tests/tabular fit every engine in threads
    promised("Threads")


@pytest.mark.parametrize("engine", ["trees", pytest.param("network", marks=pytest.mark.slow)])
def test_nothing_is_imported_that_a_file_names(engine: str, tmp_path: Path) -> None:
    promised("Nothing is imported that a file names")
    ENGINES[engine]().fit(X, Y).save(tmp_path / "m")
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')\n")
    manifest = json.loads((tmp_path / "m" / MANIFEST_FILE).read_text())
    state = (tmp_path / "m" / "bridge.json").read_text()
    evil = state.replace('"encoder": null', '"encoder": "evil_module.Evil"').replace('"auto"', '"evil_module.Evil"')
    (tmp_path / "m" / "bridge.json").write_text(evil)
    for name in ("evil_module.Evil", type(ENGINES[engine]()).__name__):
        write_manifest(tmp_path / "m", {key: manifest[key] for key in ("format", "versions")} | {"class": name})
        code = f"import bridges_tabular; bridges_tabular.load({str(tmp_path / 'm')!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "SystemExit" not in done.stderr
        assert "imported\n" not in done.stderr
        if done.returncode:
            assert "ValueError" in done.stderr.splitlines()[-1]


@every
def test_damage_is_found_before_anything_is_read(engine: str, tmp_path: Path) -> None:
    promised("Damage is found before anything is read")
    ENGINES[engine]().fit(X, Y).save(tmp_path / "m")
    for path in sorted((tmp_path / "m").glob("*.*")):
        if path.suffix == ".md":
            continue
        whole = path.read_bytes()
        for damaged in (whole[:-2], whole[: len(whole) // 2], b"", whole[::-1], b"\x80\x04K\x01."):
            path.write_bytes(damaged)
            with pytest.raises((ValueError, FileNotFoundError), match=path.name) as caught:
                bridges_tabular.load(tmp_path / "m")
            assert "\n" not in str(caught.value)
        path.write_bytes(whole)
    bridges_tabular.load(tmp_path / "m")


def test_old_or_new() -> None:
    # tests/regressors/test_folders.py kills a save at every step, test_pool.py loads in the midst of saves
    promised("Old or new")


def test_only_ones_own_is_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promised("Only one's own is deleted")
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("dear to someone")
    model = ENGINES["trees"]().fit(X, Y)
    for stray in ("bridge.json", "config.yaml", "results.csv", MANIFEST_FILE):
        (thesis / stray).write_text("{}")
        with pytest.raises(FileExistsError, match="thesis"):
            model.save(thesis)
        assert main(["compare", "diamonds", "table.rows=100", "--out", str(thesis), "--overwrite", "--quiet"]) == 2
    assert (thesis / "chapter.txt").read_text() == "dear to someone"
    assert capsys.readouterr().err.count("\n") == 4


@pytest.mark.parametrize(
    "change",
    [
        "models.xgboost.n_bins=1",
        "models.xgboost.xgb_params={max_bins: 3}",
        "table.target=prize",
        "split.test=2",
        "a=[[[",
    ],
)
def test_one_line(change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promised("One line")
    assert main(["compare", "diamonds", "table.rows=100", change, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bridges-tabular: error: ")
    assert said.count("\n") == 1
    assert len(said) < 400
    assert not (tmp_path / "run").exists()
