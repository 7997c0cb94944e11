"""The hyper-parameters that the method shares with every model: defaults, limits and a sentence on each, in one table.

Core itself, the regressors and the configuration of pytorch-tabular read it, so that none can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from bridges_tabular.core.schemes import SCHEMES

Placement = Literal["blend", "quantile", "uniform", "kmeans"]
PLACEMENTS: tuple[str, ...] = get_args(Placement)
Kernel = Literal["tilted", "gaussian", "histogram", "two_hot"]
KERNELS: tuple[str, ...] = get_args(Kernel)
Calibration = Literal["none", "shrink", "deconvolve", "pooled"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)

_NUMBERS: dict[type, type] = {int: Integral, float: Real}
# squares of gradients stay finite in single precision
_HEAVIEST = 1e6


@dataclass(frozen=True)
class Parameter:
    """A hyper-parameter: what it is, what it is by default, and what it may be.

    Attributes
    ----------
    name : str
    default : object
    help : str
        One sentence.
    kind : {int, float, str}
    choices : tuple of str
        What a string may be.
    low, high : float
        Limits of a number.
    closed : {"both", "left", "right", "neither"}
        Which of the limits are themselves allowed, as in scikit-learn's intervals.
    optional : bool
        Whether it may be None.

    Examples
    --------
    >>> PARAMETERS["smoothing"].default
    1.0
    >>> PARAMETERS["n_bins"].check(1)
    Traceback (most recent call last):
        ...
    ValueError: n_bins must lie between 2 and 1000, got 1
    """

    name: str
    default: Any
    help: str
    kind: type
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 1
    closed: Literal["both", "left", "right", "neither"] = "both"
    optional: bool = False

    def check(self, value: Any) -> None:
        """Refuse what the parameter may not be.

        Raises
        ------
        ValueError
            In one line that names the parameter, the value and what is valid.
        """
        if self.optional and value is None:
            return
        if self.kind is not str and (isinstance(value, bool) or not isinstance(value, _NUMBERS[self.kind])):
            kind = "a whole number" if self.kind is int else "a number"
            raise ValueError(f"{self.name} must be {kind}, got {value!r}")
        if not self._allows(value):
            raise ValueError(f"{self.name} must {self.valid}, got {value!r}")

    @property
    def valid(self) -> str:
        """What the parameter may be, as the end of a sentence that begins with "must"."""
        if self.kind is str:
            return f"be one of {', '.join(self.choices)}"
        low, high = (f"{int(end)}" if end == int(end) else f"{end:g}" for end in (self.low, self.high))
        ends = {"both": "", "left": f", less than {high}", "right": f", more than {low}"}
        return f"lie between {low} and {high}{ends.get(self.closed, ', both excluded')}"

    def _allows(self, value: Any) -> bool:
        if self.kind is str:
            return isinstance(value, str) and value in self.choices
        # compared as it is: a whole number may be beyond what a float holds
        above = value > self.low or (value == self.low and self.closed in ("left", "both"))
        below = value < self.high or (value == self.high and self.closed in ("right", "both"))
        return bool(above and below)


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("scheme", "end_to_end", "What the model is trained on.", str, choices=tuple(SCHEMES)),
        Parameter(
            "n_bins",
            32,
            "Number of classes k; fewer where targets have fewer values.",
            int,
            low=2,
            # tables of codes grow with the square, and sums in single precision lose the fifth digit
            high=1000,
        ),
        Parameter("placement", "blend", "Where the bins lie on the target axis.", str, choices=PLACEMENTS),
        Parameter(
            "margin",
            0.1,
            "How far the bins reach beyond the targets, as a share of their range.",
            float,
            low=0,
            # single precision tells no classes apart that are far wider than the targets
            high=100,
        ),
        # With a share of 0.2 and a smoothing of 1.5 there is half a class beyond the extreme targets, whose codes are
        # then squeezed to a tenth of the width of others (0.15 bins instead of 1.5 for uniform targets). Networks were
        # biased inwards there by up to 5 % of a standard deviation, and 1.6 times as far off as by least squares where
        # targets have no noise (naval); now about as far. Chosen by validation error on naval, concrete, airfoil, sml,
        # kin8nm, bike_hour, parkinsons and california.
        Parameter(
            "uniform_share", 0.75, "Share of the uniform distribution in the placement blend.", float, low=0, high=1
        ),
        # beyond these limits a code is that of "hard", or the same for every target, and in the end not finite
        Parameter("smoothing", 1.0, "Width of the kernel in local bin widths.", float, low=1e-3, high=1e3),
        Parameter("kernel", "tilted", "Kernel of the soft encoder.", str, choices=KERNELS),
        Parameter(
            "pretraining_steps",
            250,
            "Steps of learning the code, pretrained alone.",
            int,
            low=1,
            high=1_000_000,
        ),
        Parameter(
            "autoencoding_weight",
            10.0,
            "Weight of (y - mu.psi)^2; end_to_end alone uses it.",
            float,
            low=0,
            high=_HEAVIEST,
        ),
        Parameter("alignment_weight", 1.0, "Weight of KL(psi || pi).", float, low=0, high=_HEAVIEST),
        Parameter("regression_weight", 0.0, "Weight of (y - mu.pi)^2.", float, low=0, high=_HEAVIEST),
        Parameter(
            "encoder_learning_rate",
            0.3,
            "Learning rate of encoder and decoder as a multiple of learning_rate.",
            float,
            low=0,
            high=100,
            closed="right",
        ),
        Parameter(
            "calibration",
            "pooled",
            "From class probabilities to a distribution, fitted on the validation rows.",
            str,
            choices=CALIBRATIONS,
        ),
        Parameter(
            "calibration_fraction",
            None,
            "Share of the training rows that is held out for conformal intervals alone.",
            float,
            low=0,
            high=1,
            closed="neither",
            optional=True,
        ),
    )
}
"""Every shared hyper-parameter by name."""
