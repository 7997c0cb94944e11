"""The table of hyper-parameters: what core does by default, and what is refused."""

import inspect
import math

import numpy as np
import pytest

from bridges_tabular.core.bins import PLACEMENTS, Bins
from bridges_tabular.core.calibration import CALIBRATIONS, DistributionCalibrator
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.encoders import KERNELS, LearnedEncoder, SoftEncoder, TiltedFamily
from bridges_tabular.core.objective import BridgeObjective
from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.core.schemes import SCHEMES


@pytest.mark.parametrize("made", [Bins.fit, TargetCodec, SoftEncoder, LearnedEncoder, TiltedFamily, BridgeObjective])
def test_core_has_no_other_defaults(made):
    own = inspect.signature(made).parameters
    shared = [name for name in own if name in PARAMETERS]
    assert shared
    for name in shared:
        assert own[name].default == PARAMETERS[name].default


def test_bins_reach_beyond_the_extreme_targets_by_more_than_a_class():
    # codes of targets at the outermost centres have nowhere to spread to
    y = np.random.default_rng(0).uniform(size=2_000)
    bins = Bins.fit(y)
    assert (bins.centers < y.min()).sum() >= 1
    assert (bins.centers > y.max()).sum() >= 1


def test_choices_are_those_of_core():
    for name, choices in {"placement": PLACEMENTS, "kernel": KERNELS, "calibration": CALIBRATIONS}.items():
        assert PARAMETERS[name].choices == choices
    assert PARAMETERS["scheme"].choices == tuple(SCHEMES)
    assert DistributionCalibrator().method == PARAMETERS["calibration"].default


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=list(PARAMETERS))
def test_every_default_is_valid_and_every_help_a_sentence(parameter):
    parameter.check(parameter.default)
    assert parameter.help.endswith(".")
    assert parameter.help[0].isupper()
    with pytest.raises(ValueError, match=f"^{parameter.name} must .*, got .*$") as error:
        parameter.check([])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_bins", 1, "n_bins must lie between 2 and 1000, got 1"),
        ("n_bins", 1001, "n_bins must lie between 2 and 1000, got 1001"),
        ("n_bins", 10**400, "n_bins must lie between 2 and 1000, got 10+"),
        ("n_bins", 2.5, "n_bins must be a whole number, got 2.5"),
        ("n_bins", True, "n_bins must be a whole number, got True"),
        ("margin", -0.1, "margin must lie between 0 and 100, got -0.1"),
        ("margin", "wide", "margin must be a number, got 'wide'"),
        ("margin", math.inf, "margin must lie between 0 and 100, got inf"),
        ("smoothing", 0, "smoothing must lie between 0.001 and 1000, got 0"),
        ("uniform_share", 1.5, "uniform_share must lie between 0 and 1, got 1.5"),
        ("calibration_fraction", 1.0, "calibration_fraction must lie between 0 and 1, both excluded, got 1.0"),
        ("kernel", "cubic", "kernel must be one of tilted, gaussian, histogram, two_hot, got 'cubic'"),
        ("scheme", None, "scheme must be one of least_squares, .*, end_to_end, got None"),
    ],
)
def test_refuses_in_one_line(name, value, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        PARAMETERS[name].check(value)


def test_limits_themselves_and_numpy_numbers_are_valid():
    for value in (0, 1, 0.5, np.float32(0.25), np.int64(1)):
        PARAMETERS["uniform_share"].check(value)
    PARAMETERS["n_bins"].check(np.int32(2))
    PARAMETERS["calibration_fraction"].check(None)
