"""From a model's outputs to calibrated distributions and to intervals whose coverage is guaranteed."""

from bridges_tabular.core.calibration.calibrator import DistributionCalibrator
from bridges_tabular.core.calibration.conformal import ConformalIntervals
from bridges_tabular.core.parameters import CALIBRATIONS, Calibration

__all__ = ["CALIBRATIONS", "Calibration", "ConformalIntervals", "DistributionCalibrator"]
