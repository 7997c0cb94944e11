"""The only place where units change: from the user's to standard ones and back, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core._warping import End, warped
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.regressors.transforms import NAMED, Transform, ends, fitted, named

Floats = NDArray[np.float64]

# A transformed target is followed so far beyond the training targets, in their ranges; there a tail takes over.
_FAR = 10.0
# scores that are in units of the target
_IN_UNITS = ("rmse", "mae", "crps")


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of the training targets, by which they are standardised.

    Parameters
    ----------
    mean, scale : arrays of shape (t,)
        Of t targets, after their transforms; the scale of a target that never changes is 1.
    support : (float, float)
        The values between which every target lies.
    transforms : tuple of t Transform
        What is standardised in place of the targets; empty for these themselves.
    reach : array of shape (t, 2), optional
        The smallest and the largest training target. Needed with a support or a transform.

    Examples
    --------
    >>> import numpy as np
    >>> scale = TargetScale.fit(np.array([[1e9], [1e9 + 2]]))
    >>> scale.standardise(np.array([[1e9 + 3]]))
    array([[2.]])
    """

    mean: Floats
    scale: Floats
    support: tuple[float, float] = (-np.inf, np.inf)
    transforms: tuple[Transform, ...] = ()
    reach: Floats | None = None

    @classmethod
    def fit(
        cls, y: Floats, sample_weight: Floats | None = None, support: Any = None, target_transform: Any = None
    ) -> Self:
        """Weighted mean and deviation of targets of shape (n, t), each of any size that a float can have.

        Parameters
        ----------
        y : array of shape (n, t)
        sample_weight : array of shape (n,), optional
        support : (low, high), optional
            Ends of all targets, None for no end.
        target_transform : {"log", "sqrt", "yeo-johnson"} or transformer of scikit-learn, optional

        Raises
        ------
        ValueError
            If a target lies outside the support, or the transform cannot take it.
        """
        if support is not None or target_transform is not None:
            whole = cls(np.zeros(y.shape[1]), np.ones(y.shape[1]), ends(support))
            whole.check(y, "y")
            transforms = () if target_transform is None else tuple(fitted(target_transform, one) for one in y.T)
            whole = replace(whole, transforms=transforms, reach=np.stack([y.min(axis=0), y.max(axis=0)], axis=1))
            whole.check(y, "y")
            inner = cls.fit(whole._forward(y), sample_weight)
            return replace(whole, mean=inner.mean, scale=inner.scale)
        # column by column, so that a target has the same digits alone and beside others
        moments = [_moments(np.ascontiguousarray(column), sample_weight) for column in y.T]
        return cls(np.array([mean for mean, _ in moments]), np.array([scale for _, scale in moments]))

    @property
    def plain(self) -> bool:
        """Whether it is no more than a mean and a deviation."""
        return self.reach is None

    def check(self, y: Floats, name: str) -> None:
        """Refuse targets of shape (n, t) that lie where none can.

        Raises
        ------
        ValueError
            In one line that names y as ``name``, and the first such target.
        """
        low, high = self.support
        outside = y[(y < low) | (y > high)]
        if outside.size:
            raise ValueError(f"{name} holds {outside[0]:g}, outside support=({low:g}, {high:g})")
        for transform, column in zip(self.transforms, y.T, strict=bool(self.transforms)):
            with np.errstate(all="ignore"):
                wrong = column[~np.isfinite(transform.forward(column))]
            if wrong.size:
                raise ValueError(f"{name} holds {wrong[0]:g}: target_transform takes {transform.takes}")

    def standardise(self, y: Floats) -> Floats:
        """Targets of shape (n, t), or of any shape where there is one, in standard units."""
        standard: Floats = (self._forward(y) - self.mean) / self.scale
        return standard

    def restore(self, standard: Floats) -> Floats:
        """Numbers of shape (..., t), or of any shape for a single target, in the user's units.

        With a transform these are the same places on the axis, and no means: the mean of a distribution is not where
        the mean of the transformed one is.
        """
        restored = self._each(standard * self.scale + self.mean, self._turned_back)
        return restored if self.plain else np.clip(restored, *self.support)

    def restore_distribution(
        self, distribution: BinnedDistribution, target: int, atoms: Floats, unit: float = 1.0
    ) -> BinnedDistribution:
        """Distributions of one target in the user's units, see :func:`~bridges_tabular.core._warping.warped`.

        Parameters
        ----------
        distribution : BinnedDistribution
            Of the target in multiples of ``unit``, itself in standard units.
        target : int
            Which of the t targets.
        atoms : array of shape (a,)
            Ascending values of the target that are atoms, in the user's units. Edges on them come out equal to them to
            the last digit: an interval that ends on an atom would otherwise leave it out.
        unit : float
        """
        mean, scale = float(self.mean[target]), float(self.scale[target])
        restored = distribution.affine(scale * unit, mean)
        transform = self.transforms[target] if self.transforms else None
        inner = atoms if transform is None or not atoms.size else transform.forward(atoms)
        if atoms.size:
            rounded = scale * unit * ((inner - mean) / scale / unit) + mean
            restored = BinnedDistribution._from_valid(
                restored._rows._replace(
                    edges=np.maximum.accumulate(_put(restored.edges, rounded, inner, restored.edges), axis=-1)
                )
            )
        if self.reach is None:
            return restored
        backward = None if transform is None else transform.backward
        if backward is not None and atoms.size:
            there = backward

            def backward(t: Floats) -> Floats:
                return _put(t, inner, atoms, there(t))

        low, high = self.reach[target]
        return warped(restored, backward, *self._ends(target), longest=float(high - low) or 1.0)

    def of_codec(self, target: int, unit: float, located: bool) -> TargetScale:
        """What turns positions of one target's bins, in multiples of ``unit``, into the user's units.

        Of bins ``located`` on what a location leaves of the target, into those of the transformed target.
        """
        scale = self.scale[target : target + 1] * unit
        if located:
            return TargetScale(np.zeros(1), scale)
        reach = None if self.reach is None else self.reach[target : target + 1]
        return replace(
            self,
            mean=self.mean[target : target + 1],
            scale=scale,
            transforms=self.transforms[target : target + 1],
            reach=reach,
        )

    def restore_scores(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Scores by name in the units of a single target; of several, and of transformed ones, in standard units."""
        unit = float(self.scale[0]) if len(self.scale) == 1 and not self.transforms else 1.0
        return {name: value * unit if name in _IN_UNITS else value for name, value in scores.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays.

        Raises
        ------
        ValueError
            If a transform is none of those with a name.
        """
        arrays = {"mean": self.mean, "scale": self.scale}
        if self.reach is not None:
            arrays["reach"] = self.reach
        for target, transform in enumerate(self.transforms):
            if transform.state is None:
                raise ValueError(
                    f"a model is saved with a target_transform of {', '.join(NAMED)}, not with a transformer"
                )
            arrays[f"transform.{target}"] = transform.state
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, support: Any = None, target_transform: str | None = None) -> Self:
        """Rebuild from :meth:`arrays` and the parameters of :meth:`fit`."""
        mean = arrays.take_finite("mean", None)
        scale = arrays.take_finite("scale", len(mean))
        if not (len(scale) and (scale > 0).all()):
            raise arrays.error("scale", "must hold positive numbers")
        if support is None and target_transform is None:
            return cls(mean, scale)
        reach = arrays.take_finite("reach", len(mean), 2)
        if (reach[:, 0] > reach[:, 1]).any():
            raise arrays.error("reach", "must begin below its end")
        transforms = []
        for target in range(len(mean)) if target_transform is not None else ():
            state = arrays.take_finite(f"transform.{target}", 3 if target_transform == "yeo-johnson" else 0)
            if state.size and not state[2] > 0:
                raise arrays.error(f"transform.{target}", "must hold a positive scale")
            transforms.append(named(str(target_transform), state))
        return cls(mean, scale, ends(support), tuple(transforms), reach)

    def _forward(self, y: Floats) -> Floats:
        return self._each(y, lambda target, column: self.transforms[target].forward(column))

    def _turned_back(self, target: int, inner: Floats) -> Floats:
        low, high = self._ends(target)
        return self.transforms[target].backward(np.clip(inner, low.inner, high.inner))

    def _each(self, values: Floats, change: Callable[[int, Floats], Floats]) -> Floats:
        """Numbers of shape (..., t), or of any shape for a single target, changed target by target."""
        if not self.transforms:
            return values
        if len(self.transforms) == 1:
            return change(0, values)
        return np.stack([change(target, values[..., target]) for target in range(len(self.transforms))], axis=-1)

    def _ends(self, target: int) -> tuple[End, End]:
        """The ends of one target's axis."""
        assert self.reach is not None
        low, high = self.support
        if not self.transforms:
            return End(low, low), End(high, high)
        transform, (first, last) = self.transforms[target], self.reach[target]
        low = max(low, transform.low)
        far = _FAR * (float(last - first) or 1.0)
        at = [first - far if np.isinf(low) else low, last + far if np.isinf(high) else high]
        with np.errstate(all="ignore"):
            inner = [float(transform.forward(np.array([one]))[0]) for one in at]
        # where the function has no value there it has no end either
        inner = [one if not np.isnan(one) else end for one, end in zip(inner, (-np.inf, np.inf), strict=True)]
        return End(inner[0], low), End(inner[1], high)


def _moments(y: Floats, sample_weight: Floats | None) -> tuple[float, float]:
    """Weighted mean and deviation of a target of shape (n,); 1 for the deviation of one that never changes."""
    counted = y if sample_weight is None else y[sample_weight > 0]
    weight = None if sample_weight is None else sample_weight[sample_weight > 0]
    if counted.min() == counted.max():
        return float(counted[0]), 1.0
    # squares of very large or small numbers would overflow or vanish; a power of two changes no digit
    unit = _power_of_two(np.abs(counted).max())
    mean = float(np.average(counted / unit, weights=weight) * unit)
    centred = counted - mean
    unit = _power_of_two(np.abs(centred).max())
    scale = float(np.sqrt(np.average(np.square(centred / unit), weights=weight)) * unit)
    return mean, scale or 1.0


def _put(at: Floats, places: Floats, exact: Floats, values: Floats) -> Floats:
    """The values, but where ``at`` equals one of some ascending places: there the exact one of it."""
    nearest = np.clip(np.searchsorted(places, at), 0, len(places) - 1)
    return np.where(places[nearest] == at, exact[nearest], values)


def _power_of_two(size: float) -> float:
    """The power of two next below a size, 1 for zero."""
    return math.ldexp(1.0, math.frexp(size)[1] - 1) if size > 0 else 1.0
