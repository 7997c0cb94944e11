"""Conformal intervals: their guarantee by simulation, and its edges."""

import numpy as np
import pytest

from bridges_tabular.core.calibration import ConformalIntervals
from bridges_tabular.core.distribution import BinnedDistribution


def shifted(m, atoms):
    """Distributions around m (n,) that are much too narrow; with atoms, on integers."""
    if atoms:
        values = np.arange(-8.0, 9.0)
        masses = np.exp(-np.square(values - m[:, None]) / 0.6)
        cells = np.zeros((len(m), 33))
        cells[:, ::2] = masses / masses.sum(1, keepdims=True)
        return BinnedDistribution(np.repeat(values, 2), cells)
    base = BinnedDistribution([-1.0, 0.0, 0.5], np.tile([0.4, 0.5], (len(m), 1)), tail_masses=0.05, tail_scales=0.2)
    return base.affine(1.0, m)


def draw(n, rng, atoms):
    m = rng.normal(size=n)
    y = m + rng.standard_t(4, size=n)
    return m, np.clip(np.round(y), -8, 8) if atoms else y


@pytest.mark.parametrize("atoms", [False, True])
@pytest.mark.parametrize(("n", "coverage"), [(19, 0.9), (40, 0.8), (99, 0.95)])
def test_coverage_of_new_rows_is_within_the_guaranteed_band(n, coverage, atoms):
    rng = np.random.default_rng(n)
    shares = []
    for _ in range(300):
        m, y = draw(n, rng, atoms)
        fitted = ConformalIntervals().fit(shifted(m, atoms), y)
        new_m, new_y = draw(100, rng, atoms)
        ends = fitted.interval(shifted(new_m, atoms), coverage)
        shares.append(((ends[:, 0] <= new_y) & (new_y <= ends[:, 1])).mean())
    error = 4 * np.std(shares) / np.sqrt(len(shares))
    assert coverage - error < np.mean(shares) < coverage + 1 / (n + 1) + error
    plain = shifted(new_m, atoms).interval(coverage)
    assert ((plain[:, 0] <= new_y) & (new_y <= plain[:, 1])).mean() < coverage - 0.05


def test_exactly_as_many_calibration_rows_lie_inside_as_asked():
    rng = np.random.default_rng(0)
    for n, coverage, inside in [(9, 0.9, 9), (19, 0.9, 18), (100, 0.8, 81)]:
        m, y = draw(n, rng, atoms=False)
        ends = ConformalIntervals().fit(shifted(m, False), y).interval(shifted(m, False), coverage)
        # a hair, as the outermost row lies on the end itself
        assert ((ends[:, 0] - 1e-9 <= y) & (y <= ends[:, 1] + 1e-9)).sum() == inside


def test_rows_outside_of_their_distributions_count_as_held_by_no_interval():
    rng = np.random.default_rng(2)
    y = rng.uniform(-1.0, 3.0, (2, 500))
    bounded = BinnedDistribution([0.0, 1.0, 2.0], np.tile([0.5, 0.5], (500, 1)))
    fitted = ConformalIntervals().fit(bounded, y[0])
    held = np.mean((y[0] >= 0) & (y[0] <= 2))
    with pytest.raises(
        ValueError, match=rf"coverage 0.9 cannot be had: {100 * (1 - held):.3g} % of the calibration rows"
    ):
        fitted.interval(bounded, 0.9)
    ends = fitted.interval(bounded, 0.4)
    assert ((ends[:, 0] <= y[1]) & (y[1] <= ends[:, 1])).mean() == pytest.approx(0.4, abs=0.07)
    # the ends themselves are inside
    at_end = ConformalIntervals().fit(bounded, np.full(500, 2.0))
    np.testing.assert_allclose(at_end.interval(bounded, 0.9), np.tile([0.0, 2.0], (500, 1)), atol=1e-12)


def test_a_weight_counts_a_row_so_often():
    rng = np.random.default_rng(1)
    m, y = draw(200, rng, atoms=False)
    weight = rng.integers(0, 3, 200).astype(float)
    d, new = shifted(m, False), shifted(np.zeros(1), False)
    weighted = ConformalIntervals().fit(d, y, weight).interval(new, 0.9)
    used = ConformalIntervals().fit(d[weight > 0], y[weight > 0], weight[weight > 0] * 7.0).interval(new, 0.9)
    np.testing.assert_array_equal(weighted, used)
    heavy = np.where(np.abs(y - m) > 2, 10.0, 1.0)
    assert np.diff(ConformalIntervals().fit(d, y, heavy).interval(new, 0.9)) > np.diff(weighted)
    repeated = np.repeat(np.arange(200), heavy.astype(int))
    many = ConformalIntervals().fit(d[repeated], y[repeated]).interval(new, 0.9)
    # the same but for the one new row, which weighs less beside so many
    np.testing.assert_allclose(ConformalIntervals().fit(d, y, heavy).interval(new, 0.9), many, atol=0.5)


def test_covariate_shift_is_met_by_its_weights():
    rng = np.random.default_rng(2)
    x = rng.uniform(size=4_000)
    y = (0.2 + 2.0 * x) * rng.normal(size=4_000)
    d = shifted(np.zeros(4_000), False)
    # new rows have x with the density 2 x
    new_x = np.sqrt(rng.uniform(size=4_000))
    new_y = (0.2 + 2.0 * new_x) * rng.normal(size=4_000)

    def covered(weight):
        ends = ConformalIntervals().fit(d, y, weight).interval(d, 0.9)
        return ((ends[:, 0] <= new_y) & (new_y <= ends[:, 1])).mean()

    assert covered(None) < 0.88
    assert covered(x) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_says_how_many_rows_are_needed(coverage, needed):
    rng = np.random.default_rng(3)
    m, y = draw(needed, rng, atoms=False)
    d = shifted(m, False)
    assert np.isfinite(ConformalIntervals().fit(d, y).interval(d, coverage)).all()
    with pytest.raises(ValueError, match=f"coverage {coverage} need at least {needed} rows, got {needed - 1}"):
        ConformalIntervals().fit(d[: needed - 1], y[: needed - 1]).interval(d, coverage)


def test_intervals_grow_with_their_coverage_and_never_cross():
    rng = np.random.default_rng(4)
    m, y = draw(150, rng, atoms=True)
    fitted, d = ConformalIntervals().fit(shifted(m, True), y), shifted(np.linspace(-2, 2, 50), True)
    widths = [np.diff(fitted.interval(d, coverage)) for coverage in (0.01, 0.1, 0.5, 0.8, 0.95)]
    assert (np.diff(np.concatenate(widths, axis=1)) >= 0).all()
    assert min(width.min() for width in widths) >= 0


def test_survives_saving():
    rng = np.random.default_rng(5)
    m, y = draw(50, rng, atoms=False)
    fitted = ConformalIntervals().fit(shifted(m, False), y, rng.uniform(size=50))
    restored = ConformalIntervals.from_arrays(fitted.arrays())
    np.testing.assert_array_equal(restored.interval(shifted(m, False), 0.7), fitted.interval(shifted(m, False), 0.7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: ConformalIntervals().fit(d, [0.0]), r"y has shape \(1,\), expected \(3,\)"),
        (lambda d: ConformalIntervals().fit(d, np.zeros(3), [1.0]), r"sample_weight has shape \(1,\), expected \(3,\)"),
        (lambda d: ConformalIntervals().fit(d, np.zeros(3), [1.0, -1.0, 1.0]), "at least 0"),
        (lambda d: ConformalIntervals().fit(d, np.zeros(3)).interval(d, 90), "coverage is 90, expected a number"),
    ],
)
def test_refuses_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(shifted(np.zeros(3), False))
