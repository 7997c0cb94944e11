"""pytorch-tabular finds ``models.bridge`` whichever of the two packages is imported first."""

import subprocess
import sys

import pytest

RESOLVE = """
from pytorch_tabular.utils import getattr_nested
assert getattr_nested("models.bridge", "BridgeModel").__name__ == "BridgeModel"
assert getattr_nested("models.bridge", "BridgeConfig").__name__ == "BridgeConfig"
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "imports",
    [
        "import bridges_tabular, pytorch_tabular",
        pytest.param("import pytorch_tabular, bridges_tabular", marks=pytest.mark.slow),
        pytest.param(
            "import bridges_tabular; bridges_tabular.BridgeConfig; import pytorch_tabular", marks=pytest.mark.slow
        ),
    ],
)
def test_the_plugin_is_found_in_either_order(imports):
    run(f"{imports}\n{RESOLVE}")


@pytest.mark.slow
def test_registering_twice_or_beside_another_finder_does_no_harm():
    run(
        "import sys, importlib\n"
        "import bridges_tabular\n"
        "from bridges_tabular._plugin import register\n"
        "register(); register()\n"
        "assert sum(type(f).__name__ == '_AfterImport' for f in sys.meta_path) == 1\n"
        f"import pytorch_tabular\n{RESOLVE}"
        "assert not any(type(f).__name__ == '_AfterImport' for f in sys.meta_path)\n"
    )


@pytest.mark.slow
def test_an_attribute_that_the_plugin_lacks_is_named():
    message = run(
        "import bridges_tabular, pytorch_tabular\n"
        "try:\n    pytorch_tabular.models.bridge.Bridge\n"
        "except AttributeError as error:\n    print(error)\n"
    )
    assert "Bridge" in message


@pytest.mark.slow
def test_the_host_stays_introspectable():
    run(
        "import bridges_tabular, pytorch_tabular.models as host, importlib.util, inspect\n"
        "assert importlib.util.find_spec('pytorch_tabular.models').origin == host.__file__\n"
        "assert 'category_embedding' in inspect.getsource(host)\n"
    )
