"""BinnedDistribution against loops, quadrature, sampling, scoringrules, torch.distributions and skpro."""

import math
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from bridges_tabular.core.distribution import BinnedDistribution

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
LEVELS = np.linspace(0.0, 1.0, 41)[1:-1]


@st.composite
def distributions(draw, atoms=True, tails=True):
    """Random edges, masses, atoms, tails, n and k, with shared or per-row edges."""
    n, k = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    lengths = st.floats(0.01, 100.0)
    widths = draw(
        arrays(
            float,
            draw(st.sampled_from([(k,), (n, k)])),
            elements=st.one_of(st.just(0.0), lengths) if atoms else lengths,
        )
    )
    first = np.full((*widths.shape[:-1], 1), draw(st.floats(-100.0, 100.0)))
    edges = np.cumsum(np.concatenate([first, widths], axis=-1), axis=-1)
    masses = draw(arrays(float, (n, k + 2), elements=st.one_of(st.just(0.0), st.floats(0.01, 1.0))))
    if not tails:
        masses[:, -2:] = 0.0
    masses[:, draw(st.integers(0, k - 1))] += 1.0
    masses /= masses.sum(axis=1, keepdims=True)
    scales = draw(arrays(float, (n, 2), elements=st.floats(0.1, 10.0)))
    return BinnedDistribution(edges, masses[:, :k], tail_masses=masses[:, k:], tail_scales=scales)


def parts(d, i):
    """Row i as plain lists: cells (left, right, mass), tails (edge, mass, scale)."""
    edges = (d.edges if d.edges.ndim == 1 else d.edges[i]).tolist()
    cells = list(zip(edges[:-1], edges[1:], d.masses[i].tolist(), strict=True))
    ends = list(zip([edges[0], edges[-1]], d.tail_masses[i].tolist(), d.tail_scales[i].tolist(), strict=True))
    return cells, ends


def probes(d):
    """Values (n, q), sorted per row: on all edges, within all cells and in both tails."""
    edges = np.broadcast_to(d.edges, (len(d), d.masses.shape[1] + 1))
    inside = [edges[:, :-1] + share * np.diff(edges, axis=1) for share in (0.1, 0.5, 0.9)]
    outside = [edges[:, :1] - step for step in (0.3, 7.0)] + [edges[:, -1:] + step for step in (0.3, 7.0)]
    return np.sort(np.concatenate([edges, *inside, *outside], axis=1), axis=1)


def cdf_by_loops(d, i, y):
    cells, ((low, low_mass, low_scale), (high, high_mass, high_scale)) = parts(d, i)
    if y < low:
        return low_mass * math.exp((y - low) / low_scale)
    if y > high:
        return 1.0 - high_mass * math.exp(-(y - high) / high_scale)
    total = low_mass
    for left, right, mass in cells:
        total += mass if y >= right else mass * max(0.0, y - left) / (right - left) if y > left else 0.0
    return total


def integral(d, i, function, extra=()):
    """Integral of a function of y over the line, by quadrature between all edges and ``extra`` points."""
    cells, ((low, _, low_scale), (high, _, high_scale)) = parts(d, i)
    knots = [low - 60 * low_scale, *(left for left, _, _ in cells), high, high + 60 * high_scale]
    knots = sorted({*knots, *extra})
    left, right = np.array(knots[:-1])[:, None], np.array(knots[1:])[:, None]
    at = (left + right) / 2 + NODES * (right - left) / 2
    return float((function(at.reshape(1, -1)).reshape(at.shape) * WEIGHTS * (right - left) / 2).sum())


def expectation(d, i, function):
    """Expectation of a function under row i: quadrature against the pdf, plus the atoms."""
    row = d[i]
    atoms = sorted({left for left, right, _ in parts(d, i)[0] if left == right})
    at_atoms = sum(math.exp(row.log_prob([[a]])[0, 0]) * float(function(np.array([[a]]))[0, 0]) for a in atoms)
    return integral(d, i, lambda y: row.pdf(y) * function(y)) + at_atoms


@given(distributions())
def test_cdf_equals_loops_and_never_decreases(d):
    y = probes(d)
    expected = [[cdf_by_loops(d, i, value) for value in row] for i, row in enumerate(y.tolist())]
    values = d.cdf(y)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-14)
    assert (np.diff(values, axis=1) >= 0).all()
    np.testing.assert_array_equal(d.cdf(-np.inf), 0.0)
    np.testing.assert_array_equal(d.cdf(np.inf), 1.0)


@given(distributions())
def test_quantile_inverts_the_cdf_where_it_rises(d):
    y = probes(d)
    rises = np.isfinite(d.log_prob(y)) & ~d.on_atom(y) & (d.cdf(y) > 1e-9) & (d.cdf(y) < 1 - 1e-9)
    # the left edge of a cell is also the end of whatever flat comes before it
    rises &= ~(y[:, :, None] == np.broadcast_to(d.edges, (len(d), d.edges.shape[-1]))[:, None, :]).any(axis=2)
    back = d.quantile(d.cdf(y))
    np.testing.assert_allclose(back[rises], y[rises], rtol=1e-9, atol=1e-7)


@given(distributions())
def test_cdf_of_the_quantile_reaches_the_level(d):
    quantiles = d.quantile(LEVELS)
    assert (d.cdf(quantiles) >= LEVELS - 1e-11).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    # and nothing smaller does
    assert (d.cdf(quantiles - 1e-6 * (1 + np.abs(quantiles))) <= LEVELS + 1e-11).all()


@given(distributions())
def test_extreme_levels_are_the_ends_of_the_mass(d):
    for i in range(len(d)):
        cells, ((_, low_mass, _), (_, high_mass, _)) = parts(d, i)
        held = [(left, right) for left, right, mass in cells if mass > 0]
        expected = [-np.inf if low_mass else held[0][0], np.inf if high_mass else held[-1][1]]
        np.testing.assert_allclose(d[i].quantile([0.0, 1.0])[0], expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(distributions())
def test_density_and_atoms_integrate_to_one_and_to_the_moments(d):
    for i in range(len(d)):
        centre = d.mean[i]
        assert expectation(d, i, np.ones_like) == pytest.approx(1.0, abs=1e-9)
        assert expectation(d, i, lambda y: y) == pytest.approx(centre, rel=1e-9, abs=1e-7)
        assert expectation(d, i, lambda y, m=centre: (y - m) ** 2) == pytest.approx(d.var[i], rel=1e-7, abs=1e-9)
        surprise = expectation(d, i, lambda y, row=d[i]: -np.maximum(row.log_prob(y), -1e4))
        assert surprise == pytest.approx(d.entropy[i], rel=1e-7, abs=1e-7)
    np.testing.assert_allclose(d.std**2, d.var)


@settings(max_examples=50, deadline=None)
@given(distributions())
def test_crps_equals_its_integral(d):
    y = probes(d)[:, ::3]
    for i in range(len(d)):
        row = d[i]
        for j, at in enumerate(y[i].tolist()):
            integrand = integral(d, i, lambda x, row=row, at=at: (row.cdf(x) - (x >= at)) ** 2, extra=(at,))
            assert d.crps(y)[i, j] == pytest.approx(integrand, rel=1e-9, abs=1e-9)


def kernel_crps(d, i, y):
    """E|X - y| - E|X - X'| / 2, summed over all pairs of cells and tails."""
    cells, ((low, low_mass, low_scale), (high, high_mass, high_scale)) = parts(d, i)
    pieces = [(low_mass, low - low_scale, low_scale, exponential_distance(low - y, low_scale))]
    for left, right, mass in cells:
        distance = abs((left + right) / 2 - y)
        if left < y < right:
            distance = ((y - left) ** 2 + (right - y) ** 2) / (2 * (right - left))
        pieces.append((mass, (left + right) / 2, (right - left) / 3, distance))
    pieces.append((high_mass, high + high_scale, high_scale, exponential_distance(y - high, high_scale)))
    apart = sum(
        p * q * (spread if a == b else abs(at - other))
        for a, (p, at, spread, _) in enumerate(pieces)
        for b, (q, other, _, _) in enumerate(pieces)
    )
    return sum(p * distance for p, _, _, distance in pieces) - apart / 2


def exponential_distance(beyond, scale):
    """E|scale E - beyond| of a standard exponential E."""
    return beyond - scale + 2 * scale * math.exp(-beyond / scale) if beyond > 0 else scale - beyond


@given(distributions())
def test_crps_equals_its_kernel_form(d):
    y = probes(d)
    expected = [[kernel_crps(d, i, at) for at in row] for i, row in enumerate(y.tolist())]
    np.testing.assert_allclose(d.crps(y), expected, rtol=1e-9, atol=1e-10)


@given(distributions())
def test_crps_of_many_values_a_row_is_that_of_each(d):
    y = probes(d)
    one_by_one = np.stack([d.crps(column) for column in y.T], axis=1)
    np.testing.assert_allclose(d.crps(y), one_by_one, rtol=1e-12, atol=1e-14)


@pytest.fixture
def mixed():
    """Two rows with a gap, an atom at 1 and both tails."""
    return BinnedDistribution(
        [[-1.0, 0.0, 1.0, 1.0, 4.0], [-2.0, 0.5, 1.0, 1.0, 2.0]],
        [[0.2, 0.0, 0.3, 0.4], [0.1, 0.25, 0.25, 0.3]],
        tail_masses=[0.04, 0.06],
        tail_scales=[0.5, 2.0],
    )


def test_crps_equals_that_of_many_samples(mixed):
    scoringrules = pytest.importorskip("scoringrules")
    for y in (-3.0, 0.4, 1.0, 2.2, 9.0):
        batches = mixed.sample(100_000, seed=3).reshape(2, 20, 5_000)
        scores = scoringrules.crps_ensemble(np.full((2, 20), y), batches, estimator="pwm")
        error = scores.std(axis=1, ddof=1) / math.sqrt(20)
        assert (np.abs(scores.mean(axis=1) - mixed.crps(y)) < 4 * error).all()


def test_samples_follow_the_cdf(mixed):
    samples = mixed.sample(20_000, seed=5)
    assert samples.shape == (2, 20_000)
    # an atom's samples are tied, on which the test is conservative; their share is tested by itself
    for i in range(2):
        steps = stats.kstest(samples[i], lambda y, i=i: mixed[i].cdf(y[None, :])[0])
        assert stats.binomtest(int((samples[i] == 1.0).sum()), 20_000, mixed.masses[i, 2]).pvalue > 1e-3
        free = samples[i][samples[i] != 1.0]
        at_one = mixed.masses[i, 2]

        def without_atom(y, i=i, at_one=at_one):
            return (mixed[i].cdf(y[None, :])[0] - at_one * (y >= 1.0)) / (1.0 - at_one)

        assert stats.kstest(free, without_atom).pvalue > 1e-3
        assert steps.statistic <= at_one + 0.02
    np.testing.assert_array_equal(samples, mixed.sample(20_000, seed=5))


def test_pit_of_samples_is_uniform_also_at_atoms(mixed):
    samples = mixed.sample(20_000, seed=6)
    pit = mixed.pit(samples, seed=1)
    for row in pit:
        assert stats.kstest(row, "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(pit, mixed.pit(samples, seed=1))
    off = samples != 1.0
    np.testing.assert_array_equal(pit[off], mixed.cdf(samples)[off])
    assert len(np.unique(pit[~off])) > 1


@given(
    distributions(),
    st.one_of(st.floats(0.1, 10.0), st.floats(-10.0, -0.1)),
    st.floats(-50.0, 50.0),
    st.booleans(),
)
def test_affine_maps_everything(d, scale, shift, per_row):
    factor, offset = (np.full(len(d), scale), np.full(len(d), shift)) if per_row else (scale, shift)
    mapped = d.affine(factor, offset)
    assert mapped.edges.ndim == (2 if per_row else d.edges.ndim)
    y = d.quantile(LEVELS) if scale > 0 else d.quantile(1 - LEVELS)
    np.testing.assert_allclose(mapped.mean, scale * d.mean + shift, atol=1e-8)
    np.testing.assert_allclose(mapped.std, abs(scale) * d.std, atol=1e-8)
    np.testing.assert_allclose(mapped.crps(scale * y + shift), abs(scale) * d.crps(y), atol=1e-7)
    if scale > 0:
        np.testing.assert_allclose(mapped.quantile(LEVELS), scale * y + shift, atol=1e-7)
    atoms = d.masses * (np.diff(d.edges) == 0)
    log_scale = (1 - atoms.sum(axis=1)) * math.log(abs(scale))
    np.testing.assert_allclose(mapped.entropy, d.entropy + log_scale, atol=1e-8)
    lengths = np.diff(mapped.interval(0.8, "shortest")), np.diff(d.interval(0.8, "shortest"))
    np.testing.assert_allclose(lengths[0], abs(scale) * lengths[1], atol=1e-6)


def test_affine_keeps_the_log_mass_of_an_atom(mixed):
    for scale in (2.0, -2.0):
        assert mixed.affine(scale, 3.0).log_prob(scale + 3.0) == pytest.approx(mixed.log_prob(1.0))


@settings(max_examples=60, deadline=None)
@given(distributions(), st.floats(0.05, 0.95))
def test_intervals_hold_their_coverage_and_none_is_shorter(d, coverage):
    central, shortest = d.interval(coverage), d.interval(coverage, "shortest")
    np.testing.assert_array_equal(central, d.quantile([0.5 - coverage / 2, 0.5 + coverage / 2]))
    for ends in (central, shortest):
        below = np.nextafter(ends[:, 0], -np.inf)
        assert (d.cdf(ends[:, 1]) - d.cdf(below) >= coverage - 1e-9).all()
    assert (np.diff(shortest) <= np.diff(central) + 1e-9).all()
    starts = np.linspace(0.0, 1.0 - coverage, 400)
    # levels may fall a hair short of the end of a flat, which a quantile then jumps over
    begin, end = d.quantile(np.minimum(starts + 1e-12, 1.0)), d.quantile(np.minimum(starts + coverage, 1.0))
    assert (np.diff(shortest)[:, 0] <= (end - begin).min(axis=1) + 1e-6).all()


def test_shortest_interval_of_exponential_tails_in_closed_form():
    # a Laplace distribution and one with a plateau: by symmetry both intervals are central
    laplace = BinnedDistribution([0.0, 0.0], [[0.0]], tail_masses=[0.5, 0.5], tail_scales=[1.0, 1.0])
    np.testing.assert_allclose(laplace.interval(0.8, "shortest"), [[math.log(0.2), -math.log(0.2)]])
    exponential = BinnedDistribution([0.0, 0.0], [[0.0]], tail_masses=[0.0, 1.0], tail_scales=[1.0, 1.0])
    np.testing.assert_allclose(exponential.interval(0.8, "shortest"), [[0.0, -math.log(0.2)]])
    # densities 0.25 on the cell, exp(-y) / 2 beyond it: equal at log 2, where the end has to lie
    bounded = BinnedDistribution([-2.0, 0.0], [[0.5]], tail_masses=[0.0, 0.5], tail_scales=[1.0, 1.0])
    np.testing.assert_allclose(bounded.interval(0.5, "shortest"), [[-1.0, math.log(2.0)]])


def test_tails_agree_with_scipy():
    """All mass in the tails is a Laplace distribution, whose functionals are known."""
    d = BinnedDistribution([1.0, 1.0], [[0.0]], tail_masses=[0.5, 0.5], tail_scales=[2.0, 2.0])
    laplace = stats.laplace(1.0, 2.0)
    y = np.array([[-20.0, -1.0, 0.9, 1.1, 2.0, 30.0]])
    np.testing.assert_allclose(d.cdf(y), laplace.cdf(y))
    np.testing.assert_allclose(d.pdf(y), laplace.pdf(y))
    np.testing.assert_allclose(d.quantile(LEVELS), laplace.ppf(LEVELS)[None])
    assert (d.mean[0], d.var[0]) == pytest.approx((laplace.mean(), laplace.var()))
    assert d.entropy[0] == pytest.approx(laplace.entropy())
    expected = [
        integrate.quad(lambda x, at=at: (laplace.cdf(x) - (x >= at)) ** 2, -80, 80, points=[at, 1.0])[0] for at in y[0]
    ]
    np.testing.assert_allclose(d.crps(y)[0], expected, rtol=1e-6)


def test_log_prob_is_a_mass_on_atoms_and_a_density_elsewhere():
    # two atoms at 1, one at the lower and one at the upper end; no mass on (2, 3)
    d = BinnedDistribution([0, 0, 1, 1, 1, 2, 3, 3], [[0.1, 0.2, 0.05, 0.15, 0.2, 0.0, 0.3]])
    y = np.array([[0.0, 0.5, 1.0, 1.5, 2.5, 3.0, -1.0, 4.0]])
    np.testing.assert_allclose(np.exp(d.log_prob(y)[0]), [0.1, 0.2, 0.2, 0.2, 0.0, 0.3, 0.0, 0.0])
    np.testing.assert_array_equal(d.on_atom(y)[0], [True, False, True, False, False, True, False, False])
    np.testing.assert_allclose(d.pdf(y)[0], [0.2, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(d.masses[0], [0.1, 0.2, 0.0, 0.2, 0.2, 0.0, 0.3])


def test_outermost_targets_lie_in_the_outer_cells():
    d = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5]])
    np.testing.assert_allclose(d.pdf([[0.0, 1.0, 3.0]]), [[0.5, 0.25, 0.25]])


@pytest.mark.parametrize(
    ("edges", "masses", "mode"),
    [
        ([0, 1, 3], [0.4, 0.6], 0.5),  # density, not mass
        ([0, 1, 1, 3], [0.3, 0.4, 0.3], 1.0),  # an atom that outweighs each cell
        ([0, 1, 1, 3], [0.3, 0.1, 0.6], 0.5),  # an atom that does not
    ],
)
def test_mode(edges, masses, mode):
    assert BinnedDistribution(edges, [masses]).mode[0] == mode


def test_mode_at_the_edge_of_a_dense_tail():
    d = BinnedDistribution([0, 1], [[0.6]], tail_masses=[0, 0.4], tail_scales=[1, 0.1])
    assert d.mode[0] == 1.0


def test_median_of_an_even_split_is_where_it_is_reached():
    assert BinnedDistribution([0, 1, 2, 3], [[0.5, 0.0, 0.5]]).median[0] == 1.0


def test_agrees_with_torch_mixture_of_uniforms():
    rng = np.random.default_rng(0)
    edges, masses = np.cumsum(rng.uniform(0.1, 2.0, 13)), rng.dirichlet(np.ones(12), size=50)
    d, y = BinnedDistribution(edges, masses), rng.uniform(edges[0], edges[-1], 50)
    low, high = (torch.tensor(e).expand(50, 12) for e in (edges[:-1], edges[1:]))
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=torch.tensor(masses)),
        torch.distributions.Uniform(low, high, validate_args=False),
        validate_args=False,
    )
    at = torch.tensor(y)
    np.testing.assert_allclose(d.cdf(y), mixture.cdf(at), rtol=1e-12)
    np.testing.assert_allclose(d.log_prob(y), mixture.log_prob(at), rtol=1e-10)
    np.testing.assert_allclose(d.mean, mixture.mean, rtol=1e-12)
    np.testing.assert_allclose(d.var, mixture.variance, rtol=1e-10)


def test_agrees_with_skpro_histogram():
    histogram = pytest.importorskip("skpro.distributions.histogram")
    rng = np.random.default_rng(1)
    edges, masses = np.cumsum(rng.uniform(0.1, 2.0, 8)), rng.dirichlet(np.ones(7))
    d, peer = BinnedDistribution(edges, masses[None]), histogram.Histogram(edges, masses)
    assert d.mean[0] == pytest.approx(peer.mean())
    assert d.var[0] == pytest.approx(peer.var())
    for y in rng.uniform(edges[0], edges[-1], 10):
        assert d.pdf(y)[0] == pytest.approx(peer.pdf(y))
        assert d.cdf(y)[0] == pytest.approx(peer.cdf(y))
    for level in (0.05, 0.31, 0.5, 0.9):
        assert d.quantile(level)[0] == pytest.approx(peer.ppf(level))


class TestExtremeInput:
    def test_one_cell_is_a_uniform_distribution(self):
        d = BinnedDistribution([2.0, 5.0], [[1.0]])
        assert (d.mean[0], d.var[0], d.median[0], d.mode[0]) == pytest.approx((3.5, 0.75, 3.5, 3.5))
        assert d.entropy[0] == pytest.approx(math.log(3))
        assert d.crps(3.5)[0] == pytest.approx(0.25)

    def test_one_atom_scores_as_a_point(self):
        d = BinnedDistribution([2.0, 2.0], [[1.0]])
        np.testing.assert_array_equal(d.quantile([0.0, 0.3, 1.0]), [[2.0, 2.0, 2.0]])
        np.testing.assert_allclose(d.crps([[-1.0, 2.0, 7.0]]), [[3.0, 0.0, 5.0]])
        np.testing.assert_array_equal(d.cdf([[1.9, 2.0, 2.1]]), [[0.0, 1.0, 1.0]])
        assert (d.var[0], d.entropy[0]) == (0.0, 0.0)
        np.testing.assert_array_equal(d.interval(0.9, "shortest"), [[2.0, 2.0]])

    def test_masses_of_exactly_zero_and_one(self):
        d = BinnedDistribution([0.0, 1.0, 2.0, 3.0], np.eye(3))
        np.testing.assert_allclose(d.quantile([0.0, 0.5, 1.0]), [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])
        np.testing.assert_allclose(d.log_prob(1.5), [-np.inf, 0.0, -np.inf])
        np.testing.assert_allclose(d.crps(1.5), [1 / 3 + 0.5, 1 / 12, 1 / 3 + 0.5])

    def test_thousand_cells_of_widths_from_1e_minus_12_to_1e12(self):
        rng = np.random.default_rng(2)
        edges = np.concatenate([[0.0], np.cumsum(np.geomspace(1e-12, 1e12, 1000))])
        d = BinnedDistribution(edges, rng.dirichlet(np.ones(1000), size=4))
        y = np.sort(np.concatenate([edges, edges[:-1] / 3 + edges[1:] * 2 / 3, [-1e15, 1e15]]))
        cdf = d.cdf(np.tile(y, (4, 1)))
        assert (np.diff(cdf, axis=1) >= 0).all()
        assert cdf.min() == 0
        assert cdf.max() == 1
        np.testing.assert_allclose(d.cdf(d.quantile(LEVELS)), np.tile(LEVELS, (4, 1)), atol=1e-12)
        np.testing.assert_allclose(d.crps(1e15), 1e15 - d.mean + [kernel_crps(d, i, 0.0) - d.mean[i] for i in range(4)])

    def test_crps_is_exact_where_a_wide_empty_cell_lies_beside_a_narrow_one(self):
        d = BinnedDistribution([0.0, 1e-12, 1e12], [[1.0, 0.0]])
        np.testing.assert_allclose(d.crps([[0.0, 5e-13, 1e-12]]), [[1e-12 / 3, 1e-12 / 12, 1e-12 / 3]], rtol=1e-12)

    def test_targets_far_outside_score_their_distance(self, mixed):
        far = 1e15
        np.testing.assert_allclose(mixed.crps(far), far, rtol=1e-12)
        np.testing.assert_array_equal(mixed.cdf([-far, far]), [0.0, 1.0])
        np.testing.assert_array_equal(mixed.crps(np.inf), np.inf)
        histogram = BinnedDistribution([0.0, 1.0], [[1.0]])
        np.testing.assert_array_equal(histogram.log_prob([[-far, far]]), -np.inf)

    def test_float32_is_normalised_in_float64(self):
        masses = torch.softmax(torch.randn(20, 1000, generator=torch.Generator().manual_seed(0)), dim=1).numpy()
        d = BinnedDistribution(np.linspace(0, 1, 1001, dtype=np.float32), masses)
        assert d.masses.dtype == d.crps(np.full(20, 0.5, dtype=np.float32)).dtype == np.float64
        np.testing.assert_allclose(d.masses.sum(axis=1), 1.0, rtol=1e-14)
        assert (d.quantile(1.0) == 1.0).all()

    def test_tiny_masses_keep_their_density(self):
        d = BinnedDistribution([0.0, 1.0, 2.0], [[1.0, 1e-200]])
        assert d.log_prob(1.5)[0] == pytest.approx(-200 * math.log(10))

    def test_no_rows(self):
        d = BinnedDistribution([0.0, 1.0], np.empty((0, 1)))
        assert d.mean.shape == d.crps([]).shape == (0,)
        assert d.quantile([0.1, 0.9]).shape == d.interval(0.9, "shortest").shape == (0, 2)


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(3)
    d = BinnedDistribution(np.sort(rng.normal(size=8)), rng.dirichlet(np.ones(7), size=50))
    y = rng.normal(size=50)
    whole = d.crps(y), d.cdf(y), d.quantile(LEVELS), d.var, d.interval(0.7, "shortest")
    monkeypatch.setattr("bridges_tabular.core._batch._BLOCK_SIZE", 40)
    pieces = d.crps(y), d.cdf(y), d.quantile(LEVELS), d.var, d.interval(0.7, "shortest")
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_are_picked_as_from_an_array(mixed):
    assert len(mixed) == 2
    for index in (1, -1, slice(1, None), [1], np.array([False, True])):
        row = mixed[index]
        assert len(row) == 1
        np.testing.assert_array_equal(row.quantile(LEVELS), mixed.quantile(LEVELS)[1:])
    with pytest.raises(IndexError):
        mixed[2]


@pytest.mark.parametrize("nothing", [[], (), np.array([]), np.array([], dtype=int), slice(0, 0), [False, False]])
def test_an_empty_selection_is_an_empty_batch(mixed, nothing):
    for distribution in (mixed, mixed.affine([1.0, 2.0], 0.0)):
        empty = distribution[nothing]
        assert len(empty) == 0
        assert empty.quantile([0.1, 0.9]).shape == (0, 2)
        assert empty.crps([]).shape == empty.mean.shape == (0,)


def test_input_is_neither_changed_nor_shared():
    edges, masses = np.array([0.0, 1.0, 2.0]), np.array([[0.5, 0.5]])
    d = BinnedDistribution(edges, masses)
    masses[:], edges[:] = 9.0, 9.0
    assert d.mean[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        d.masses[0, 0] = 1.0


def test_memory_stays_below_three_copies_of_the_masses():
    masses = np.full((20_000, 128), 1 / 128)
    y = np.linspace(0, 1, 20_000)
    edges = np.linspace(0, 1, 129)
    tracemalloc.start()
    d = BinnedDistribution(edges, masses)
    d.crps(y), d.cdf(y), d.quantile(LEVELS[:9]), d.log_prob(y), d.var
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert masses.nbytes + peak < 3 * masses.nbytes


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"masses": [0.5, 0.5]}, r"masses has shape \(2,\), expected \(n, k\)"),
        ({"edges": [0, 1]}, r"edges has shape \(2,\), expected \(3,\) or \(2, 3\)"),
        ({"edges": [0, 2, 1]}, "edges decrease after position 1"),
        ({"edges": [[0, 1, 2], [0, 2, 1]]}, "edges of row 1 decrease after position 1"),
        ({"edges": [0, 1, np.inf]}, "edges has inf, expected finite"),
        ({"masses": [[0.5, 0.5], [1.1, -0.1]]}, "masses of row 1 has -0.1, expected numbers of at least 0"),
        ({"masses": [[0.5, 0.5], [np.nan, 1.0]]}, "masses of row 1 has nan"),
        ({"masses": [[0.5, 0.5], [0.5, 0.4]]}, "masses of row 1 sum to 0.9 with its tails, expected 1"),
        ({"tail_masses": [0.1, 0.1]}, "tail_masses needs tail_scales"),
        ({"tail_masses": [-0.1, 0.1], "tail_scales": [1, 1]}, "tail_masses of row 0 has -0.1"),
        ({"tail_masses": [0.1, 0.1], "tail_scales": [1, 0]}, "tail_scales has 0.0, expected positive"),
        ({"tail_masses": [0.1, 0.1, 0.1]}, r"tail_masses has shape \(3,\), expected \(2,\) or \(2, 2\)"),
    ],
)
def test_refuses_what_is_no_distribution(kwargs, message):
    valid = {"edges": [0, 1, 2], "masses": [[0.5, 0.5], [0.2, 0.8]]}
    with pytest.raises(ValueError, match=message) as error:
        BinnedDistribution(**(valid | kwargs))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: d.cdf([1.0, 2.0, 3.0]),
            r"y has shape \(3,\), expected \(\), \(2,\), \(2, q\), or \(1, q\) for each row",
        ),
        (lambda d: d.crps([1.0, np.nan]), r"y is missing \(NaN\) in row 1"),
        (lambda d: d.quantile(1.5), "levels has 1.5, expected 0 to 1"),
        (lambda d: d.quantile(np.full((3, 1), 0.5)), r"levels has shape \(3, 1\)"),
        (lambda d: d.interval(90), "coverage is 90, expected a number between 0 and 1"),
        (lambda d: d.interval(0.9, "narrow"), "kind is 'narrow', expected 'central' or 'shortest'"),
        (lambda d: d.affine(0.0, 1.0), "scale must be positive everywhere or negative everywhere"),
        (lambda d: d.affine(1.0, np.nan), "shift has nan, expected finite"),
        (lambda d: d.affine([1.0, 2.0, 3.0], 0.0), r"scale has shape \(3,\)"),
    ],
)
def test_refuses_arguments_in_one_line(mixed, call, message):
    with pytest.raises(ValueError, match=message):
        call(mixed)


def test_to_frame_holds_the_same_numbers(mixed):
    frame = mixed.to_frame([0.1, 0.9])
    assert list(frame.columns) == ["mean", "std", "q0.1", "q0.9"]
    np.testing.assert_array_equal(frame["mean"], mixed.mean)
    np.testing.assert_array_equal(frame[["q0.1", "q0.9"]], mixed.quantile([0.1, 0.9]))


class TestPlot:
    def test_draws_density_atoms_interval_and_truth(self, mixed):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        pyplot.switch_backend("Agg")
        ax = mixed.plot([0.0, 2.0], coverage=0.8)
        labels = ax.get_legend_handles_labels()[1]
        assert labels == ["row 0", "80% interval", "truth", "row 1", "80% interval", "truth"]
        y, density = ax.lines[0].get_data()
        assert (np.diff(y) >= 0).all()
        # all but the atom and the outer halves of the last per cent
        assert np.trapezoid(density, y) == pytest.approx(1 - 0.3 - 0.01, abs=1e-3)
        stems = ax.figure.axes[1].collections
        assert [stem.get_segments()[0][1, 1] for stem in stems] == pytest.approx([0.3, 0.25])
        pyplot.close(ax.figure)

    def test_draws_into_given_axes(self, mixed):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        pyplot.switch_backend("Agg")
        figure, ax = pyplot.subplots()
        assert mixed[0].plot(ax=ax) is ax
        pyplot.close(figure)

    def test_refuses_a_crowd(self):
        with pytest.raises(ValueError, match=r"plot\(\) draws at most 10 rows, got 11: pick some"):
            BinnedDistribution([0, 1], np.ones((11, 1))).plot()

    def test_names_what_to_install(self, mixed, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        with pytest.raises(ImportError, match=r'pip install "bridges-tabular\[plot\]"'):
            mixed.plot()
