"""What an import costs, and what it leaves unimported."""

import subprocess
import sys

import pytest


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
        ("from bridges_tabular import XGBBridgeRegressor", "pytorch_tabular pytorch_lightning"),
        ("from bridges_tabular import TabularBridgeRegressor", "xgboost"),
        ("from bridges_tabular import PooledBridgeRegressor", "xgboost pytorch_tabular pytorch_lightning"),
        ("from bridges_tabular import AutoBridgeRegressor", "xgboost pytorch_tabular pytorch_lightning"),
    ],
)
def test_engines_are_imported_on_use_alone(statement, unwanted):
    assert run(f"{statement}; import sys; print(*(set({unwanted.split()!r}) & sys.modules.keys()))") == []


def test_every_public_name_can_be_imported():
    run("import bridges_tabular; [getattr(bridges_tabular, name) for name in bridges_tabular.__all__]")
