"""Histograms bent by a function and kept within ends, against scipy and the functions themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from bridges_tabular.core._warping import End, warped
from bridges_tabular.core.distribution import BinnedDistribution

NOWHERE = End(-np.inf, -np.inf), End(np.inf, np.inf)
LEVELS = np.linspace(0.01, 0.99, 50)


@st.composite
def distributions(draw):
    """Two rows of up to six cells, atoms among them, with tails."""
    k = draw(st.integers(1, 6))
    widths = draw(arrays(float, (2, k), elements=st.one_of(st.just(0.0), st.floats(0.01, 10.0))))
    edges = np.cumsum(np.column_stack([draw(arrays(float, 2, elements=st.floats(-20, 20))), widths]), axis=1)
    masses = draw(arrays(float, (2, k + 2), elements=st.one_of(st.just(0.0), st.floats(0.01, 1.0))))
    masses[:, draw(st.integers(0, k + 1))] += 1.0
    masses /= masses.sum(axis=1, keepdims=True)
    scales = draw(arrays(float, (2, 2), elements=st.floats(0.1, 3.0)))
    return BinnedDistribution(edges, masses[:, 1:-1], tail_masses=masses[:, [0, -1]], tail_scales=scales)


def normal(mean=0.5, deviation=0.4, cells=100):
    """A normal distribution in so many cells, with tails."""
    edges = mean + deviation * np.linspace(-3, 3, cells + 1)
    law = stats.norm(mean, deviation)
    beyond = law.sf(edges[-1])
    return BinnedDistribution(
        edges, np.diff(law.cdf(edges))[None], tail_masses=[beyond, beyond], tail_scales=[deviation / 3, deviation / 3]
    )


class TestEnds:
    @settings(deadline=None, max_examples=50)
    @given(distributions(), st.floats(-5, 5), st.floats(0.1, 10))
    def test_nothing_lies_beyond_and_quantiles_stay(self, d, low, width):
        high = low + width
        kept = warped(d, None, End(low, low), End(high, high), np.inf)
        np.testing.assert_array_equal(kept.prob(low, high), 1.0)
        np.testing.assert_allclose(kept.cdf(np.nextafter(low, -np.inf)), 0.0, atol=1e-15)
        ends = kept.quantile([0.0, 1.0])
        assert (ends >= low).all()
        assert (ends <= high).all()
        y = np.linspace(low, high, 23)[None]
        # in a tail's cells the cdf is a line between exact values
        inside = (y >= d.edges[:, :1]) & (y <= d.edges[:, -1:]) & (y < high)
        np.testing.assert_allclose(kept.cdf(y)[inside], d.cdf(y)[inside], atol=1e-9)
        np.testing.assert_allclose(kept.cdf(y)[y.repeat(2, 0) < high], d.cdf(y)[y.repeat(2, 0) < high], atol=2e-2)

    @settings(deadline=None, max_examples=50)
    @given(distributions(), st.floats(-5, 5), st.floats(0, 20))
    def test_no_score_within_gets_worse(self, d, low, above):
        kept = warped(d, None, End(low, low), NOWHERE[1], np.inf)
        # but for the cells that stand for a tail
        slack = 2e-2 * (d.tail_masses * d.tail_scales).sum(axis=1) + 1e-9
        assert (kept.crps(low + above) <= d.crps(low + above) + slack).all()

    def test_a_tail_may_begin_beyond_the_other_end(self):
        d = BinnedDistribution([0.0, 0.0], [[0.0]], tail_masses=[0.0, 1.0], tail_scales=[1.0, 1.0])
        kept = warped(d, None, End(1.0, 1.0), NOWHERE[1], np.inf)
        assert kept.mean == pytest.approx([1.0 + np.exp(-1.0)])
        back = warped(d.affine(-1.0, 0.0), None, NOWHERE[0], End(-1.0, -1.0), np.inf)
        assert back.mean == pytest.approx(-kept.mean)

    def test_the_mean_is_that_of_the_larger_of_both(self):
        kept = warped(normal(), None, End(0.0, 0.0), NOWHERE[1], np.inf)
        exact = integrate.quad(lambda y: y * stats.norm(0.5, 0.4).pdf(y), 0, 4)[0]
        assert kept.mean == pytest.approx([exact], rel=1e-3)
        assert kept.prob(0.0, 0.0) == pytest.approx([stats.norm(0.5, 0.4).cdf(0)], rel=1e-3)

    def test_without_ends_or_function_nothing_changes(self):
        d = normal()
        same = warped(d.with_index(["a"]), None, *NOWHERE, np.inf)
        np.testing.assert_array_equal(same.quantile(LEVELS), d.quantile(LEVELS))
        np.testing.assert_allclose(same.crps(0.7), d.crps(0.7), rtol=1e-12)
        assert same.tail_scales.tolist() == d.tail_scales.tolist()
        assert same.index.tolist() == ["a"]

    def test_all_mass_may_lie_beyond(self):
        d = BinnedDistribution([1.0, 2.0], [[1.0]])
        for end, where in (((End(5.0, 5.0), NOWHERE[1]), 5.0), ((NOWHERE[0], End(0.0, 0.0)), 0.0)):
            np.testing.assert_array_equal(warped(d, None, *end, np.inf).quantile([0.0, 0.5, 1.0]), [[where] * 3])


class TestFunctions:
    LOG = End(-np.inf, 0.0), End(np.log(1e4), np.inf)

    def test_a_bent_normal_is_the_lognormal(self):
        found = warped(normal(), np.exp, *self.LOG, 1e3)
        law = stats.lognorm(0.4, scale=np.exp(0.5))
        y = law.ppf(LEVELS)
        np.testing.assert_allclose(found.quantile(LEVELS)[0], y, rtol=2e-3)
        np.testing.assert_allclose(found.cdf(y[None])[0], law.cdf(y), atol=1e-3)
        assert (found.mean[0], found.std[0]) == pytest.approx((law.mean(), law.std()), rel=5e-3)
        assert found.mean[0] == pytest.approx(normal().expect(np.exp)[0], rel=1e-3)
        np.testing.assert_allclose(found.cdf([0.0, -1.0]), 0.0)

    @settings(deadline=None, max_examples=50)
    @given(distributions())
    def test_quantiles_are_the_function_of_quantiles(self, d):
        f = np.arcsinh
        found = warped(d, f, *NOWHERE, 1e3)
        within = (d.quantile(LEVELS) >= d.edges[:, :1]) & (d.quantile(LEVELS) <= d.edges[:, -1:])
        # within a cell the function is a chord, of a 240th of all edges at most
        step = np.diff(f(d.edges)).max() / 20
        np.testing.assert_allclose(found.quantile(LEVELS)[within], f(d.quantile(LEVELS))[within], atol=step)
        y = f(d.edges)
        np.testing.assert_allclose(found.cdf(y), d.cdf(d.edges), atol=1e-9)
        np.testing.assert_allclose(found.masses.sum(axis=1) + found.tail_masses.sum(axis=1), 1.0)

    def test_a_tail_whose_mean_would_be_infinite_has_one(self):
        # of exp of an exponential of scale 2 there is none
        d = BinnedDistribution([0.0, 1.0], [[0.9]], tail_masses=[0.0, 0.1], tail_scales=[1.0, 2.0])
        found = warped(d, np.exp, *self.LOG, 50.0)
        assert np.isfinite(found.mean[0])
        assert found.tail_scales[0, 1] <= 50.0
        assert found.sf(np.exp([3.0])) == pytest.approx(d.sf(3.0), rel=1e-9)
        assert np.isfinite(found.log_prob(1e6))[0]

    def test_atoms_stay_atoms(self):
        d = BinnedDistribution([0.0, 1.0, 1.0, 2.0], [[0.3, 0.5, 0.2]])
        found = warped(d, np.exp, *self.LOG, 1e3)
        assert found.prob(np.exp(1.0), np.exp(1.0)) == pytest.approx([0.5])

    def test_a_function_that_stands_still_keeps_what_it_is_given(self):
        d = normal()
        found = warped(d, lambda t: np.clip(t, 0.0, 1.0), *NOWHERE, 1.0)
        assert found.mean == pytest.approx([d.expect(lambda t: np.clip(t, 0.0, 1.0))[0]], abs=2e-3)
        assert (found.tail_scales > 0).all()
