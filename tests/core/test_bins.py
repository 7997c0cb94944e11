"""Bins against numpy, scikit-learn's k-means and the properties that every placement keeps."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans

from bridges_tabular.core.bins import PLACEMENTS, Bins

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@st.composite
def targets(draw):
    """Targets with ties and weights, of at least two distinct values."""
    n = draw(st.integers(2, 60))
    values = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32).map(float))
    y = draw(arrays(float, n, elements=values))
    y[:2] = [-5.0, 5.0]
    weight = draw(arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])))
    weight[:2] = 1.0
    return y, weight


@pytest.mark.filterwarnings("ignore:n_bins=")
@settings(deadline=None)
@given(targets(), st.sampled_from(PLACEMENTS), st.integers(2, 20), st.floats(0.0, 0.5))
def test_every_placement_covers_the_targets_with_populated_or_bounded_bins(rows, placement, k, margin):
    y, weight = rows
    bins = Bins.fit(y, k, placement, sample_weight=weight, margin=margin)
    used = y[weight > 0]
    reach = margin * np.ptp(used)
    assert 2 <= bins.n_bins <= k
    np.testing.assert_allclose(bins.support, [used.min() - reach, used.max() + reach], rtol=1e-12, atol=1e-9)
    hair = 1e-9 * np.ptp(used)
    assert bins.centers[0] <= used.min() + hair
    assert bins.centers[-1] >= used.max() - hair
    assert (bins.widths > 0).all()
    index = bins.assign(used)
    assert (bins.edges[index] <= used + hair).all()
    assert (used <= bins.edges[index + 1] + hair).all()
    if placement in ("quantile", "kmeans"):
        assert (np.bincount(index, minlength=bins.n_bins) > 0).all()


@pytest.mark.filterwarnings("ignore:n_bins=")
@settings(deadline=None)
@given(targets(), st.sampled_from(PLACEMENTS), st.integers(2, 12))
def test_a_weight_counts_a_row_so_often(rows, placement, k):
    y, weight = rows
    counts = (2 * weight).astype(int)
    weighted = Bins.fit(y, k, placement, sample_weight=counts * 0.25)
    repeated = Bins.fit(np.repeat(y, counts), k, placement)
    np.testing.assert_allclose(weighted.edges, repeated.edges, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted.centers, repeated.centers, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_affine_map_of_the_targets_maps_the_bins(placement):
    y = np.random.default_rng(0).gamma(2.0, size=300)
    bins, mapped = Bins.fit(y, 16, placement), Bins.fit(3.0 * y - 7.0, 16, placement)
    np.testing.assert_allclose(mapped.edges, 3.0 * bins.edges - 7.0, rtol=1e-9)
    np.testing.assert_allclose(mapped.centers, 3.0 * bins.centers - 7.0, rtol=1e-9)


def test_uniform_bins_have_one_width():
    bins = Bins.fit([0.0, 1.0, 10.0, 5.0, 3.0], 4, "uniform", margin=0.0)
    np.testing.assert_allclose(bins.edges, [0.0, 2.5, 5.0, 7.5, 10.0])
    # the outer centres reach the outer targets, the inner ones lie in the middle
    np.testing.assert_allclose(bins.centers, [0.0, 3.75, 6.25, 10.0])


def test_quantile_bins_hold_equal_shares_with_their_means_as_centres():
    y = np.random.default_rng(1).normal(size=1_000)
    bins = Bins.fit(y, 10, "quantile")
    index = bins.assign(y)
    np.testing.assert_array_equal(np.bincount(index), 100)
    means = [y[index == j].mean() for j in range(10)]
    np.testing.assert_allclose(bins.centers[1:-1], means[1:-1])


@pytest.mark.filterwarnings("ignore:n_bins=")
def test_quantile_bins_keep_equal_values_together():
    y = np.concatenate([np.zeros(60), np.arange(1.0, 41.0)])
    bins = Bins.fit(y, 10, "quantile")
    assert bins.n_bins < 10
    assert (np.bincount(bins.assign(y), minlength=bins.n_bins) > 0).all()


def test_kmeans_reaches_the_inertia_of_scikit_learn():
    y = np.sort(np.random.default_rng(2).gamma(1.5, size=400))
    bins = Bins.fit(y, 8, "kmeans")
    peer = KMeans(8, init=np.quantile(y, (np.arange(8) + 0.5) / 8)[:, None], n_init=1, tol=0, max_iter=500)
    peer.fit(y[:, None])
    centers = np.sort(peer.cluster_centers_[:, 0])
    np.testing.assert_allclose(bins.edges[1:-1], (centers[1:] + centers[:-1]) / 2, rtol=1e-6)
    # the outer centres are stretched to the outermost targets
    np.testing.assert_allclose(bins.centers[1:-1], centers[1:-1], rtol=1e-6)


def test_kmeans_leaves_no_bin_empty_whose_neighbours_took_its_targets():
    y = [-5, 0, 0, 2, 3, 4, 5, 26, 32, 47, 50, 56, 57]
    bins = Bins.fit(y, 5, "kmeans")
    assert (np.bincount(bins.assign(y), minlength=5) > 0).all()


def test_blend_bounds_the_widths_that_quantiles_leave_open():
    y = np.concatenate([np.random.default_rng(3).normal(size=2_000), [100.0]])
    blend, quantile = Bins.fit(y, 32, uniform_share=0.2), Bins.fit(y, 32, "quantile")
    # the uniform fifth gives no bin more than 1 / (k beta) of the support
    assert blend.widths.max() <= (blend.edges[-1] - blend.edges[0]) / (32 * 0.2) + 1e-9
    assert quantile.widths.max() > 0.9 * 100.0


@pytest.mark.filterwarnings("ignore:n_bins=")
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-20, 20), st.floats(0.03, 0.9)), min_size=1, max_size=6),
    st.sampled_from(["normal", "uniform", "standard_exponential", "standard_cauchy"]),
    st.integers(2, 64),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.floats(0.0, 0.9),
    st.integers(0, 10_000),
)
def test_blend_leaves_no_bin_without_targets_beside_atoms(ties, law, k, margin, share, seed):
    rng = np.random.default_rng(seed)
    y = getattr(rng, law)(size=400)
    for value, part in ties:
        y[rng.uniform(size=400) < part] = value / 10
    y[:2] = [-3.0, 3.0]
    values, counts = np.unique(y, return_counts=True)
    heavy = values[counts > 400 / k]
    bins = Bins.fit(y, k, margin=margin, uniform_share=share)
    assert bins.n_bins <= k
    if heavy.size:
        index = bins.assign(y)
        assert (np.bincount(index, minlength=bins.n_bins) > 0).all()
        # a bin for each of them, whose centre it is
        own = bins.assign(heavy)
        assert (np.diff(own) > 0).all()
        inner = (own > 0) & (own < bins.n_bins - 1)
        np.testing.assert_array_equal(bins.centers[own[inner]], heavy[inner])
    assert bins.centers[0] <= y.min()
    assert bins.centers[-1] >= y.max()


def test_blend_wastes_no_bin_on_the_gaps_beside_an_atom():
    rng = np.random.default_rng(5)
    y = np.where(rng.uniform(size=5_000) < 0.5, 0.0, rng.normal(size=5_000))
    bins = Bins.fit(y, 32, uniform_share=0.2)
    assert bins.n_bins == 32
    assert (np.bincount(bins.assign(y), minlength=32) > 0).all()
    # as wide as its neighbours, so that a code reaches over it to both sides
    own = int(bins.assign(0.0))
    assert 0.5 < bins.widths[own] / bins.widths[[own - 1, own + 1]].mean() < 2.0


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 64), st.floats(0.05, 1.0), st.floats(0.0, 0.5), st.integers(0, 10_000))
def test_blend_takes_quantiles_of_the_mixture_where_no_value_is_frequent(k, share, margin, seed):
    y = np.sort(np.random.default_rng(seed).gamma(1.5, size=300))
    bins = Bins.fit(y, k, margin=margin, uniform_share=share)
    low, high = bins.support
    rank = np.interp(bins.edges, np.concatenate([[low], y, [high]]), np.concatenate([[0], np.arange(300), [299]]) / 299)
    mixture = (1 - share) * rank + share * (bins.edges - low) / (high - low)
    np.testing.assert_allclose(mixture, np.arange(k + 1) / k, atol=1e-9)


def test_one_bin_for_each_value_where_there_are_few_of_them():
    with pytest.warns(UserWarning, match="n_bins=32 is more than the targets can fill, 3 of them distinct: using 3"):
        bins = Bins.fit([1.0, 4.0, 2.0, 2.0])
    np.testing.assert_array_equal(bins.centers, [1.0, 2.0, 4.0])
    np.testing.assert_allclose(bins.edges, [0.7, 1.5, 3.0, 4.3])


def test_targets_off_the_support_go_to_the_nearest_bin():
    bins = Bins([0.0, 1.0, 3.0], [0.5, 2.0])
    np.testing.assert_array_equal(bins.assign([-9.0, 0.0, 0.99, 1.0, 3.0, 9.0]), [0, 0, 0, 1, 1, 1])


def test_survives_json():
    bins = Bins.fit(np.random.default_rng(4).normal(size=100))
    again = Bins.from_dict(json.loads(json.dumps(bins.to_dict())))
    np.testing.assert_array_equal(again.edges, bins.edges)
    np.testing.assert_array_equal(again.centers, bins.centers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Bins([0.0, 1.0], [0.5, 0.6]), r"edges \(2,\) and centers \(2,\) must be of shapes"),
        (lambda: Bins([0.0, np.inf], [0.5]), "must be finite"),
        (lambda: Bins([0.0, 0.0], [0.0]), "strictly increasing"),
        (lambda: Bins([0.0, 1.0, 2.0], [0.5, 0.9]), "between the two edges of its bin"),
        (lambda: Bins.fit([1.0, 2.0], placement="log"), "placement must be one of blend, .*, got 'log'"),
        (lambda: Bins.fit([1.0, 2.0], 1), "n_bins must lie between 2 and 1000, got 1"),
        (lambda: Bins.fit([1.0, 2.0], margin=-0.1), "margin must lie between 0 and 100, got -0.1"),
        (lambda: Bins.fit([1.0, 1.0]), "at least two distinct targets, got 1"),
        (lambda: Bins.fit([[1.0, 2.0]]), r"shape \(n,\), got \(1, 2\)"),
        (lambda: Bins.fit([1.0, np.nan]), "must be finite, got 1 that are not"),
        (lambda: Bins.fit([1.0, 2.0], sample_weight=[1.0, -1.0]), "2 finite, non-negative numbers"),
    ],
)
def test_refuses_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
