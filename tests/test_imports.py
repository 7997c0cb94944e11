"""What an import costs, and what it leaves unimported."""

import subprocess
import sys

import numpy as np
import pytest

from bridges_tabular import XGBBridgeRegressor


def run(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_the_import_is_light():
    # processor time, best of three: other processes and cold disks do not count
    code = "import time; start = time.process_time(); import bridges_tabular; print(time.process_time() - start)"
    assert min(float(run(code)[0]) for _ in range(3)) < 0.3


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import bridges_tabular", "torch pandas sklearn xgboost pytorch_tabular pytorch_lightning"),
        ("import bridges_tabular.cli", "torch pandas sklearn xgboost optuna pytorch_tabular pytorch_lightning"),
        ("import bridges_tabular.core.distribution", "xgboost pytorch_tabular pytorch_lightning"),
        ("import bridges_tabular; bridges_tabular.XGBBridgeRegressor", "torch pytorch_tabular pytorch_lightning"),
        pytest.param("from bridges_tabular import TabularBridgeRegressor", "xgboost", marks=pytest.mark.slow),
        ("from bridges_tabular import PooledBridgeRegressor", "torch xgboost pytorch_tabular pytorch_lightning"),
        ("from bridges_tabular import AutoBridgeRegressor", "torch xgboost pytorch_tabular pytorch_lightning"),
        ("from bridges_tabular import load", "torch xgboost pytorch_tabular pytorch_lightning"),
    ],
)
def test_engines_are_imported_on_use_alone(statement, unwanted):
    assert run(f"{statement}; import sys; print(*(set({unwanted.split()!r}) & sys.modules.keys()))") == []


def test_points_of_a_baseline_need_no_torch(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2))
    XGBBridgeRegressor("least_squares", n_estimators=2, n_jobs=1).fit(X, X[:, 0]).save(tmp_path / "model")
    code = f"""import sys, numpy, bridges_tabular as bt
X = numpy.random.default_rng(0).normal(size=(60, 2))
bt.load({str(tmp_path / "model")!r}).predict(X)
bt.XGBBridgeRegressor("least_squares", calibration="none", n_estimators=2, n_jobs=1).fit(X, X[:, 0]).predict(X)
print(*({{"torch"}} & sys.modules.keys()))"""
    assert run(code) == []


@pytest.mark.slow
def test_every_public_name_can_be_imported():
    run("import bridges_tabular; [getattr(bridges_tabular, name) for name in bridges_tabular.__all__]")
