from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bridges_tabular.experiments import statistics


def test_the_resampled_t_test_is_the_t_test_with_a_wider_variance() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1.0, 12)
    plain = stats.ttest_1samp(differences, 0.0)
    # without a test set nothing overlaps
    found = statistics.resampled_t(differences, 0.0)
    assert found.p == pytest.approx(plain.pvalue)
    assert found.error == pytest.approx(stats.sem(differences))
    wider = statistics.resampled_t(differences, 0.25)
    assert wider.mean == pytest.approx(differences.mean())
    assert wider.error == pytest.approx(found.error * np.sqrt(1 + 12 * 0.25))
    assert wider.p == pytest.approx(2 * stats.t.sf(abs(differences.mean()) / wider.error, 11))


def test_differences_without_spread_are_certain() -> None:
    assert statistics.resampled_t([0.0, 0.0, 0.0], 0.5).p == 1.0
    assert statistics.resampled_t([-2.0, -2.0], 0.5).p == 0.0
    with pytest.raises(ValueError, match="1 value"):
        statistics.resampled_t([1.0], 0.5)


def test_intervals_of_the_resampled_t_test_hold_the_mean_as_often_as_they_say() -> None:
    # independent draws: the case without overlap
    draws = np.random.default_rng(1).normal(3.0, 2.0, (4000, 5))
    reach = statistics.interval_reach(5)
    found = [statistics.resampled_t(row, 0.0) for row in draws]
    inside = np.mean([abs(one.mean - 3.0) <= reach * one.error for one in found])
    assert inside == pytest.approx(0.95, abs=0.012)


def test_holm_on_the_example_of_a_textbook() -> None:
    # Holm, "A simple sequentially rejective multiple test procedure" (1979): steps m, m - 1, ...
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = statistics.holm([np.nan, 0.02, 0.9])
    assert np.isnan(adjusted[0])
    assert adjusted[1:].tolist() == pytest.approx([0.04, 0.9])
    assert statistics.holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_none_and_bonferroni(p: list[float]) -> None:
    raw, adjusted = np.array(p), statistics.holm(p)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(raw * len(raw), 1.0) + 1e-15).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


@pytest.mark.parametrize(
    ("models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (8, 3.031), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_the_published_table(models: int, q: float) -> None:
    # Demsar (2006), table 5 (a): q at 5 % for the two-tailed Nemenyi test
    expected = q * np.sqrt(models * (models + 1) / (6 * 14))
    assert statistics.critical_difference(models, 14) == pytest.approx(expected, rel=1e-3)


def test_ranks_of_a_published_comparison() -> None:
    # Demsar (2006), table 6: AUC of four classifiers on 14 tables, of which the highest is best
    auc = np.array(
        [
            [0.763, 0.768, 0.771, 0.798],
            [0.599, 0.591, 0.590, 0.569],
            [0.954, 0.971, 0.968, 0.967],
            [0.628, 0.661, 0.654, 0.657],
            [0.882, 0.888, 0.886, 0.898],
            [0.936, 0.931, 0.916, 0.931],
            [0.661, 0.668, 0.609, 0.685],
            [0.583, 0.583, 0.563, 0.625],
            [0.775, 0.838, 0.866, 0.875],
            [1.000, 1.000, 1.000, 1.000],
            [0.940, 0.962, 0.965, 0.962],
            [0.619, 0.666, 0.614, 0.669],
            [0.972, 0.981, 0.9751, 0.975],
            [0.957, 0.978, 0.946, 0.970],
        ]
    )
    ranks = statistics.mean_ranks(-auc)
    assert ranks.tolist() == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # published without the correction for ties, which makes the statistic larger
    assert 0.015 < statistics.friedman(-auc) < stats.chi2.sf(9.28, 3)


def test_the_signed_rank_test_counts_every_sign() -> None:
    # all 2^5 signs are equally likely by chance, and only two leave all differences on one side
    assert statistics.signed_rank([-0.1, -0.4, -0.2, -0.3, -0.5]) == pytest.approx(2 / 2**5)
    assert statistics.signed_rank([0.0, 0.0, 0.0]) == 1.0


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9, unique=True), st.integers(1, 20))
def test_bars_join_what_lies_within_the_critical_difference(places: list[int], critical: int) -> None:
    bars = statistics.not_distinguished([float(place) for place in places], float(critical))
    for first, second in itertools.combinations(places, 2):
        joined = any(low <= min(first, second) and max(first, second) <= high for low, high in bars)
        assert joined == (abs(first - second) <= critical)
    for one, other in itertools.permutations(bars, 2):
        assert not (other[0] <= one[0] and one[1] <= other[1]), "a bar inside another says nothing"


def test_wilcoxon_over_five_tables_can_tell_nothing() -> None:
    one_sided = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    for n in range(2, 8):
        assert statistics.signed_rank(one_sided[:n]) == pytest.approx(statistics.least_signed_rank(n, 1))
    assert statistics.least_signed_rank(statistics.FEWEST_TABLES, 1) < statistics.LEVEL
    assert statistics.least_signed_rank(statistics.FEWEST_TABLES - 1, 1) > statistics.LEVEL
    # and over six, only where one model is compared
    raw = [statistics.signed_rank(one_sided[:6])] * 2
    assert statistics.holm(raw).min() == pytest.approx(statistics.least_signed_rank(6, 2))
    assert statistics.least_signed_rank(6, 2) > statistics.LEVEL
    assert statistics.least_signed_rank(1, 3) == 1.0
