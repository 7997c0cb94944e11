"""Pools of distributions against the mean of their cdfs, Monte Carlo and other libraries' mixtures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bridges_tabular import BinnedDistribution
from bridges_tabular.core.mixtures import sharpened


def random_distribution(rng: np.random.Generator, n: int, *, tails: bool, ties: bool, shared: bool) -> Any:
    k = int(rng.integers(1, 7))
    edges = np.sort(rng.normal(size=(1 if shared else n, k + 1)), axis=1)
    if ties:
        # edges meet within a row, atoms, and those of other members
        edges = np.sort(np.round(edges, 1), axis=1)
    masses = rng.dirichlet(np.ones(k + 2), n)
    if not tails:
        masses[:, k:] = 0.0
        masses /= masses.sum(axis=1, keepdims=True)
    return BinnedDistribution(
        edges[0] if shared else edges,
        masses[:, :k],
        tail_masses=masses[:, k:],
        tail_scales=rng.uniform(0.05, 0.5, (n, 2)),
    )


cases = given(
    seed=st.integers(0, 10_000), m=st.integers(1, 4), ties=st.booleans(), shared=st.lists(st.booleans(), min_size=4)
)


@settings(max_examples=60, deadline=None)
@cases
def test_the_cdf_is_the_mean_of_the_cdfs(seed: int, m: int, ties: bool, shared: list[bool]) -> None:
    rng, n = np.random.default_rng(seed), 5
    members = [random_distribution(rng, n, tails=False, ties=ties, shared=one) for one in shared[:m]]
    weights = rng.dirichlet(np.ones(m))
    pooled = BinnedDistribution.pool(members, weights)
    y = np.round(rng.normal(size=(n, 60)), 1)
    expected = sum(w * member.cdf(y) for w, member in zip(weights, members, strict=True))
    np.testing.assert_allclose(pooled.cdf(y), expected, atol=1e-13)
    on_atom = np.any([member.on_atom(y) for member in members], axis=0)
    np.testing.assert_array_equal(pooled.on_atom(y), on_atom)
    # not at an edge, where the density is that of either side
    density = sum(w * member.pdf(y + 0.0123) for w, member in zip(weights, members, strict=True))
    np.testing.assert_allclose(pooled.pdf(y + 0.0123), density, rtol=1e-8, atol=1e-12)
    mean = sum(w * member.mean for w, member in zip(weights, members, strict=True))
    square = sum(w * (member.var + member.mean**2) for w, member in zip(weights, members, strict=True))
    np.testing.assert_allclose(pooled.mean, mean, atol=1e-12)
    np.testing.assert_allclose(pooled.var, square - mean**2, atol=1e-10)


@settings(max_examples=40, deadline=None)
@cases
def test_tails_are_exact_on_the_edges_and_near_between_them(seed: int, m: int, ties: bool, shared: list[bool]) -> None:
    rng, n = np.random.default_rng(seed), 4
    members = [random_distribution(rng, n, tails=True, ties=ties, shared=one) for one in shared[:m]]
    weights = rng.dirichlet(np.ones(m))
    pooled = BinnedDistribution.pool(members, weights)

    def gap(y: Any) -> Any:
        return np.abs(pooled.cdf(y) - sum(w * member.cdf(y) for w, member in zip(weights, members, strict=True)))

    for member in members:
        assert gap(np.broadcast_to(member.edges, (n, member.edges.shape[-1]))).max() < 1e-12
    # the tails between and beyond the edges, of mass t in all, are cut into cells or joined
    t = sum(w * member.tail_masses.sum(axis=1) for w, member in zip(weights, members, strict=True))
    assert (gap(rng.normal(size=(n, 50)) * 3) <= 0.25 * t[:, None] + 1e-12).all()
    np.testing.assert_allclose(pooled.masses.sum(axis=1) + pooled.tail_masses.sum(axis=1), 1.0, atol=1e-12)


def test_draws_follow_the_pool() -> None:
    rng = np.random.default_rng(3)
    members = [random_distribution(rng, 2, tails=True, ties=True, shared=False) for _ in range(3)]
    weights = np.array([0.2, 0.5, 0.3])
    pooled = BinnedDistribution.pool(members, weights)
    picked = rng.choice(3, 40_000, p=weights)
    draws = np.choose(picked, [member.sample(40_000, seed=i) for i, member in enumerate(members)])
    for row in (0, 1):
        # atoms are spread by the randomised transform
        pit = pooled[np.full(40_000, row)].pit(draws[row], seed=1)
        assert stats.kstest(pit, "uniform").statistic < 0.02


def test_equal_components_are_the_pool_whatever_the_weights() -> None:
    one = BinnedDistribution([[0.0, 1.0, 1.0, 4.0]], [[0.3, 0.2, 0.5]])
    pooled = BinnedDistribution.pool([one, one, one], [5, 1, 2])
    y = np.linspace(-1, 5, 61)[None]
    np.testing.assert_allclose(pooled.cdf(y), one.cdf(y), atol=1e-15)
    np.testing.assert_array_equal(pooled.on_atom(y), y == 1.0)
    np.testing.assert_array_equal(BinnedDistribution.pool([one]).masses, one.masses)


def test_a_member_of_weight_zero_leaves_no_trace() -> None:
    near, far = BinnedDistribution([0.0, 1.0], [[1.0]]), BinnedDistribution([1e6, 2e6], [[1.0]])
    np.testing.assert_array_equal(BinnedDistribution.pool([near, far], [1, 0]).edges, near.edges)


@pytest.mark.parametrize(
    ("members", "weights", "words"),
    [
        ([], None, "same number of rows, got none"),
        ([1, 2], None, r"same number of rows, got \[1, 2\]"),
        ([2, 2], [1.0], r"weights has shape \(1,\), expected \(2,\)"),
        ([2, 2], [1.0, -1.0], "at least 0"),
        ([2, 2], [0.0, 0.0], "not all 0"),
        ([2, 2], [np.nan, 1.0], "finite"),
        ([2, 2], ["a", 1.0], "weights holds what is no number: .*'a'"),
    ],
)
def test_what_cannot_be_pooled_is_one_line(members: Any, weights: Any, words: str) -> None:
    given_ = [BinnedDistribution([0.0, 1.0], np.ones((n, 1))) for n in members]
    with pytest.raises(ValueError, match=words) as caught:
        BinnedDistribution.pool(given_, weights)
    assert "\n" not in str(caught.value)


def test_two_predictions_of_thousands_of_rows_take_well_below_a_second() -> None:
    import time

    rng = np.random.default_rng(0)
    members = []
    for _ in range(2):
        edges = np.sort(rng.normal(size=(6_000, 112)), axis=1)
        masses = rng.dirichlet(np.ones(113), 6_000)
        members.append(
            BinnedDistribution(edges, masses[:, :111], tail_masses=masses[:, 111:], tail_scales=np.ones((6_000, 2)))
        )
    started = time.process_time()
    pooled = BinnedDistribution.pool(members)
    assert time.process_time() - started < 1.0
    assert len(pooled) == 6_000


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), power=st.floats(0.5, 2.5), tails=st.booleans())
def test_sharpening_raises_the_odds_on_every_edge(seed: int, power: float, tails: bool) -> None:
    rng, n = np.random.default_rng(seed), 3
    before = random_distribution(rng, n, tails=tails, ties=True, shared=False)
    after = BinnedDistribution._from_valid(sharpened(before._rows, power))
    at = before.edges
    f = before.cdf(at)
    np.testing.assert_allclose(after.cdf(at), f**power / (f**power + (1 - f) ** power), atol=1e-12)
    np.testing.assert_array_equal(after.on_atom(at), before.on_atom(at))
    if tails:
        # beyond the last edge what is left falls as before to the power
        left, y = before.tail_masses[:, 1], at[:, -1] + 30 * before.tail_scales[:, 1]
        expected = left**power / (left**power + (1 - left) ** power) * np.exp(-30 * power)
        np.testing.assert_allclose(after.sf(y), expected, rtol=1e-10)


def test_sharpening_keeps_what_is_left_far_out() -> None:
    masses = np.array([[1e-20, 0.5, 0.5 - 1e-20, 1e-20]])
    before = BinnedDistribution(np.arange(5.0), masses)
    after = BinnedDistribution._from_valid(sharpened(before._rows, 1.5))
    np.testing.assert_allclose(after.masses[0, [0, -1]], 2**1.5 * 0.5**1.5 * 1e-20**1.5, rtol=1e-6)
