"""Some hundreds of the cases of benchmarks/fuzz.py: hostile tables, parameters and experiment files."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

_PATH = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
_SPEC = importlib.util.spec_from_file_location("bridges_tabular_fuzz", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
fuzz = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = fuzz
_SPEC.loader.exec_module(fuzz)

OPTIONS: dict[str, Any] = {
    "deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck),
}  # fmt: skip


@settings(max_examples=150, **OPTIONS)
@given(fuzz.tables(), fuzz.regressors())
def test_fits_end_in_finite_predictions_or_in_a_line(table: dict[str, Any], model: Any) -> None:
    fuzz.try_fit(table, model)


@settings(max_examples=200, **OPTIONS)
@given(fuzz.configurations())
def test_experiment_files_are_read_or_refused_in_a_line(content: dict[str, Any]) -> None:
    fuzz.try_configuration(content)
