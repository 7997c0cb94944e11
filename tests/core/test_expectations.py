"""What a distribution sums up, against scipy, quadrature, Monte Carlo and closed forms."""

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from bridges_tabular.core.distribution import BinnedDistribution

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

LAPLACE = BinnedDistribution([1.0, 1.0], [[0.0]], tail_masses=[0.5, 0.5], tail_scales=[2.0, 2.0])
MIXED = BinnedDistribution(
    [[-1.0, 0.0, 1.0, 1.0, 4.0], [-2.0, 0.5, 1.0, 1.0, 2.0]],
    [[0.2, 0.0, 0.3, 0.4], [0.1, 0.25, 0.25, 0.3]],
    tail_masses=[0.04, 0.06],
    tail_scales=[0.5, 2.0],
)


@st.composite
def distributions(draw, atoms=True):
    """Two rows of up to six cells with tails."""
    k = draw(st.integers(1, 6))
    lengths = st.floats(0.01, 10.0)
    widths = draw(arrays(float, (2, k), elements=st.one_of(st.just(0.0), lengths) if atoms else lengths))
    edges = np.cumsum(np.column_stack([draw(arrays(float, 2, elements=st.floats(-20, 20))), widths]), axis=1)
    masses = draw(arrays(float, (2, k + 2), elements=st.one_of(st.just(0.0), st.floats(0.01, 1.0))))
    masses[:, draw(st.integers(0, k + 1))] += 1.0
    masses /= masses.sum(axis=1, keepdims=True)
    scales = draw(arrays(float, (2, 2), elements=st.floats(0.1, 3.0)))
    return BinnedDistribution(edges, masses[:, 1:-1], tail_masses=masses[:, [0, -1]], tail_scales=scales)


def probes(d):
    """Values (n, q) on the edges, between and beyond them."""
    middles = (d.edges[:, 1:] + d.edges[:, :-1]) / 2
    return np.concatenate([d.edges, middles, d.edges[:, :1] - 1.3, d.edges[:, -1:] + 1.3], axis=1)


class TestProbabilities:
    @given(distributions())
    def test_sf_is_what_the_cdf_leaves(self, d):
        y = probes(d)
        np.testing.assert_allclose(d.sf(y) + d.cdf(y), 1.0, atol=1e-14)

    def test_sf_is_exact_far_out(self):
        np.testing.assert_allclose(LAPLACE.sf([[101.0, 301.0]]), [[0.5 * np.exp(-50), 0.5 * np.exp(-150)]], rtol=1e-12)

    @given(distributions())
    def test_prob_counts_both_ends(self, d):
        y = np.sort(probes(d), axis=1)
        low, high = y[:, :-1], y[:, 1:]
        mass = np.where(d.on_atom(low), np.exp(np.where(d.on_atom(low), d.log_prob(low), 0.0)), 0.0)
        np.testing.assert_allclose(d.prob(low, high), d.cdf(high) - d.cdf(low) + mass, atol=1e-12)
        np.testing.assert_allclose(d.prob(), 1.0)
        np.testing.assert_allclose(d.prob(low=y), d.sf(y) + d.prob(y, y), atol=1e-12)

    def test_prob_of_an_atom_is_its_mass(self):
        np.testing.assert_allclose(MIXED.prob(1.0, 1.0), [0.3, 0.25])
        np.testing.assert_allclose(MIXED.prob(1.0), [0.3 + 0.4 + 0.06, 0.25 + 0.3 + 0.06])
        np.testing.assert_allclose(MIXED.prob([1.0, 0.5], [[1.0, 4.0], [1.0, 2.0]])[0], [0.3, 0.7])
        with pytest.raises(ValueError, match=r"^low is 2\.0, above high, which is 1\.0$"):
            MIXED.prob([0.0, 2.0], [1.0, 1.0])

    @given(distributions(atoms=False))
    def test_ppf_inverts_the_cdf_with_its_shapes(self, d):
        y = d.quantile([0.21, 0.83])
        np.testing.assert_allclose(d.ppf(d.cdf(y)), y, rtol=1e-8, atol=1e-7)
        for column in y.T:
            np.testing.assert_allclose(d.ppf(d.cdf(column)), column, rtol=1e-8, atol=1e-7)
        np.testing.assert_array_equal(d.ppf(0.3), d.quantile(0.3))


class TestBroadcasting:
    """As scipy.stats does for a distribution of n parameters, beside (n, q) and (1, q)."""

    MANY = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    METHODS = ("cdf", "sf", "pdf", "log_prob", "crps", "on_atom", "pit", "stop_loss")

    @pytest.mark.parametrize("method", METHODS)
    def test_a_single_row_takes_any_number_of_values(self, method):
        y = [0.2, 1.5, 2.0, 2.5]
        found = getattr(self.MANY[1], method)(y)
        np.testing.assert_array_equal(found, getattr(self.MANY, method)(np.array(y)[None])[1])
        assert found.shape == (4,)
        assert getattr(self.MANY[1], method)(1.0).shape == (1,)

    @pytest.mark.parametrize("method", METHODS)
    def test_shapes_of_many_rows(self, method):
        at = getattr(self.MANY, method)
        assert [at(y).shape for y in (1.0, np.ones(3), np.ones((3, 5)), np.ones((1, 5)))] == [
            (3,),
            (3,),
            (3, 5),
            (3, 5),
        ]
        with pytest.raises(
            ValueError, match=r"has shape \(4,\), expected \(\), \(3,\), \(3, q\), or \(1, q\) for each"
        ):
            at(np.ones(4))

    def test_the_values_are_those_of_scipy(self):
        loc, y = np.array([0.0, 1.0, 2.0]), np.array([0.3, 1.1, 2.6])
        d = BinnedDistribution(loc[:, None] + [0.0, 1.0], np.ones((3, 1)))
        frozen = stats.uniform(loc, 1.0)
        for given_ in (0.5, y):
            np.testing.assert_allclose(d.cdf(given_), frozen.cdf(given_))
        np.testing.assert_allclose(d.ppf([0.1, 0.5, 0.9]), frozen.ppf([0.1, 0.5, 0.9]))


class TestExpect:
    @settings(deadline=None)
    @given(distributions())
    def test_polynomials_are_exact(self, d):
        np.testing.assert_allclose(d.expect(lambda y: y), d.mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(d.expect(np.square), d.var + d.mean**2, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(d.expect(lambda y: 7.0), 7.0)

    def test_moments_of_tails_and_pieces(self):
        # of a Laplace distribution around 1 with scale 2: E (Y - 1)^2k = (2k)! 2^2k
        np.testing.assert_allclose(LAPLACE.expect(lambda y: (y - 1) ** 6), 720 * 64)
        # a polynomial in each cell that breaks on the edges
        d = BinnedDistribution([0.0, 1.0, 1.0, 3.0], [[0.5, 0.2, 0.3]])
        found = d.expect(lambda y: np.where(y < 1, y**5, np.where(y > 1, 3 - y**3, 100.0)))
        assert found == pytest.approx([0.5 / 6 + 20.0 + 0.3 * (3 - 80 / 8)], rel=1e-12)

    def test_smooth_functions_agree_with_scipy(self):
        rows = BinnedDistribution([-1.0, 0.0, 2.0], [[0.3, 0.6]], tail_masses=[0.05, 0.05], tail_scales=[0.4, 0.3])
        pdf = rows.to_scipy().pdf
        for f in (np.exp, np.cos, np.tanh):
            parts = [(-30, -1), (-1, 0), (0, 2), (2, 30)]
            expected = sum(integrate.quad(lambda y, f=f: f(y) * pdf(y), *part)[0] for part in parts)
            assert rows.expect(f) == pytest.approx([expected], rel=1e-7)

    def test_nothing_is_asked_where_no_mass_is(self):
        d = BinnedDistribution([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0], [[0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
        np.testing.assert_allclose(d.expect(np.log), [-1.0, 2 * np.log(2) - 1], rtol=1e-2)

    def test_a_function_of_another_shape_is_refused(self):
        with pytest.raises(ValueError, match=r"^function returned the shape \(3,\) for values of the shape"):
            MIXED.expect(lambda y: np.ones(3))


class TestTails:
    @given(distributions(), st.floats(-0.5, 0.5))
    def test_stop_loss_is_the_integral_of_sf(self, d, shift):
        y = np.sort(probes(d) + shift, axis=1)
        values, slope = d.stop_loss(y), 1e-5
        assert (values >= 0).all()
        assert (np.diff(values, axis=1) <= 1e-12).all()
        difference = (d.stop_loss(y) - d.stop_loss(y + slope)) / slope
        assert (difference <= d.sf(y) + 1e-7).all()
        assert (difference >= d.sf(y + slope) - 1e-7).all()
        # E[max(Y - d, 0)] - E[max(d - Y, 0)] = E[Y] - d
        below = d.affine(-1.0, 0.0).stop_loss(-y)
        np.testing.assert_allclose(values - below, d.mean[:, None] - y, atol=1e-9)

    def test_stop_loss_of_known_distributions(self):
        np.testing.assert_allclose(LAPLACE.stop_loss([[3.0, 1.0, 41.0]]), np.exp([[-1.0, 0.0, -20.0]]), rtol=1e-12)
        atom = BinnedDistribution([2.0, 2.0], [[1.0]])
        np.testing.assert_array_equal(atom.stop_loss([[1.0, 2.0, 3.0]]), [[1.0, 0.0, 0.0]])
        # a layer without an upper end
        np.testing.assert_array_equal(MIXED.stop_loss(np.inf), np.zeros(len(MIXED.mean)))

    def test_stop_loss_and_shortfall_agree_with_samples(self):
        sample = MIXED.sample(200_000, seed=0)
        paid = np.maximum(sample - 1.5, 0.0)
        assert (np.abs(paid.mean(axis=1) - MIXED.stop_loss(1.5)) < 4 * paid.std(axis=1) / np.sqrt(200_000)).all()
        ordered = np.sort(sample, axis=1)
        np.testing.assert_allclose(ordered[:, 180_000:].mean(axis=1), MIXED.expected_shortfall(0.9), rtol=0.02)
        np.testing.assert_allclose(
            ordered[:, :20_000].mean(axis=1), MIXED.expected_shortfall(0.1, tail="lower"), rtol=0.03
        )

    @settings(deadline=None)
    @given(distributions(), st.floats(0.05, 0.95))
    def test_shortfall_is_the_mean_of_the_quantiles_beyond(self, d, level):
        middles = (np.arange(2_000) + 0.5) / 2_000
        for tail, low, high in (("upper", level, 1.0), ("lower", 0.0, level)):
            expected = d.quantile(low + (high - low) * middles).mean(axis=1)
            np.testing.assert_allclose(d.expected_shortfall(level, tail), expected, atol=2e-2)

    def test_shortfall_of_known_distributions(self):
        # of an exponential tail: the quantile and one scale; the whole is level times lower + rest times upper
        np.testing.assert_allclose(LAPLACE.expected_shortfall(0.9), LAPLACE.quantile(0.9) + 2.0)
        upper, lower = (MIXED.expected_shortfall([0.4, 0.7], tail) for tail in ("upper", "lower"))
        np.testing.assert_allclose([0.6, 0.3] * upper + [0.4, 0.7] * lower, MIXED.mean[:, None] * [1, 1])
        # half of an atom at 1, where the quantile lies
        atom = BinnedDistribution([0.0, 1.0, 1.0, 2.0], [[0.4, 0.4, 0.2]])
        assert atom.expected_shortfall(0.6) == pytest.approx([(0.2 * 1.0 + 0.2 * 1.5) / 0.4])
        # far out, where 1 - level is 1
        np.testing.assert_allclose(
            LAPLACE.expected_shortfall(1e-30, tail="lower"), LAPLACE.quantile(1e-30) - LAPLACE.tail_scales[:, 0]
        )

    @pytest.mark.parametrize(("level", "tail", "words"), [(1.0, "upper", "between 0 and 1"), (0.5, "left", "'upper'")])
    def test_what_cannot_be_is_refused(self, level, tail, words):
        with pytest.raises(ValueError, match=words):
            MIXED.expected_shortfall(level, tail)


class TestScipy:
    ROW = BinnedDistribution([-1.0, 0.5, 2.0], [[0.3, 0.55]], tail_masses=[0.05, 0.1], tail_scales=[0.5, 0.7])

    def test_every_method_is_that_of_the_row(self):
        rv, y, levels = self.ROW.to_scipy(), np.linspace(-3, 5, 9), np.linspace(0.01, 0.99, 9)
        for name, at in {"cdf": y, "sf": y, "pdf": y, "ppf": levels}.items():
            np.testing.assert_allclose(getattr(rv, name)(at), getattr(self.ROW, name)(at), rtol=1e-12)
        assert (rv.mean(), rv.var(), rv.entropy()) == pytest.approx(
            (self.ROW.mean[0], self.ROW.var[0], self.ROW.entropy[0])
        )
        assert rv.moment(3) == pytest.approx(self.ROW.expect(lambda y: y**3)[0])
        assert rv.interval(0.9) == pytest.approx(self.ROW.interval(0.9)[0])
        sample = rv.rvs(size=2_000, random_state=0)
        assert stats.kstest(sample, self.ROW.cdf).pvalue > 1e-3
        skew, kurtosis = rv.stats(moments="sk")
        assert (skew, kurtosis) == pytest.approx(
            [stats.skew(self.ROW.sample(400_000, 1)[0]), stats.kurtosis(self.ROW.sample(400_000, 1)[0])], abs=0.1
        )

    def test_loc_scale_freezing_and_copies(self):
        rv = self.ROW.to_scipy()
        frozen = copy.deepcopy(rv(loc=1.0, scale=2.0))
        np.testing.assert_allclose(frozen.cdf([2.0, 3.0]), self.ROW.cdf([0.5, 1.0]))

    def test_without_tails_it_is_scipys_histogram(self):
        edges, masses = np.array([0.0, 1.0, 3.0, 4.0]), np.array([0.2, 0.5, 0.3])
        rv, peer = (
            BinnedDistribution(edges, masses[None]).to_scipy(),
            stats.rv_histogram((masses, edges), density=False),
        )
        y = np.linspace(0.1, 3.9, 8)
        for name in ("cdf", "sf", "pdf"):
            np.testing.assert_allclose(getattr(rv, name)(y), getattr(peer, name)(y))
        assert (rv.mean(), rv.std(), *rv.support()) == pytest.approx((peer.mean(), peer.std(), *peer.support()))
        assert rv.stats(moments="s") == pytest.approx(peer.stats(moments="s"))

    def test_atoms_and_batches_are_refused_in_a_line(self):
        with pytest.raises(ValueError, match=r"^to_scipy: the row has an atom at 1, which scipy"):
            MIXED[0].to_scipy()
        with pytest.raises(ValueError, match=r"^to_scipy is for a single row, not for 2"):
            MIXED.to_scipy()


class TestRows:
    NAMED = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]], index=["a", "b", "c"])

    def test_the_index_follows_the_rows(self):
        assert self.NAMED.to_frame().index.tolist() == ["a", "b", "c"]
        assert self.NAMED[[2, 0]].to_frame().index.tolist() == ["c", "a"]
        assert self.NAMED[np.array([False, True, False])].index.tolist() == ["b"]
        assert self.NAMED.affine(2.0, 1.0)[1:].index.tolist() == ["b", "c"]
        assert MIXED.index is None
        assert MIXED.to_frame().index.equals(pd.RangeIndex(2))
        with pytest.raises(ValueError, match=r"^index has 2 entries, expected 1"):
            BinnedDistribution([0.0, 1.0], [[1.0]], index=["a", "b"])

    def test_numpy_is_told_what_to_ask_for(self):
        for make in (np.asarray, np.array, np.sort):
            with pytest.raises(TypeError, match=r"is no array: ask it for numbers, by mean, quantile\(levels\)"):
                make(MIXED)

    def test_repr_says_what_it_is(self):
        words = "<BinnedDistribution of 2 rows, each 4 cells of its own and atoms and exponential tails; means "
        assert repr(MIXED).startswith(words)
        assert repr(self.NAMED[0]) == "<BinnedDistribution of 1 row, each 2 cells; mean 1.25>"
        assert repr(self.NAMED[:0]) == "<BinnedDistribution of 0 rows, each 2 cells>"
