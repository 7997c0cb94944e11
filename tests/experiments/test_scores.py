from __future__ import annotations

import numpy as np
import pytest

from bridges_tabular import BinnedDistribution
from bridges_tabular.experiments.scores import METRICS, SCORES, Outcome, incomparable

SCORE = {score.name: score for score in SCORES}


@pytest.mark.parametrize(
    ("score", "values", "best"),
    [
        ("rmse", [2.0, 1.0, 3.0], [False, True, False]),
        ("rmse", [1.0, 1.0, 3.0], [True, True, False]),
        ("r2", [0.2, 0.9, 0.9], [False, True, True]),
        ("coverage_90", [0.99, 0.85, 0.5], [False, True, False]),
        ("crps", [np.nan, 2.0, 3.0], [False, True, False]),
        ("crps", [np.nan, 2.0, np.nan], [False, False, False]),
        ("log_score", [np.inf, 2.0, 1.0], [False, False, True]),
    ],
)
def test_the_best_of_a_column(score: str, values: list[float], best: list[bool]) -> None:
    assert SCORE[score].is_best(values).tolist() == best


def test_numbers_of_a_column_are_written_alike() -> None:
    assert SCORE["rmse"].texts([1234.5, 87.65, np.nan]) == ["1,234", "88", ""]
    assert SCORE["rmse"].texts([0.01234, 0.1]) == ["0.0123", "0.1000"]
    assert SCORE["rmse"].texts([0.0, 0.0]) == ["0.0", "0.0"]
    assert SCORE["r2"].texts([0.98765, -1]) == ["0.9877", "-1.0000"]
    assert SCORE["log_score"].texts([np.inf]) == ["inf"]


def test_a_score_is_computed_from_what_a_model_says() -> None:
    y = np.array([1.0, 2.0, 4.0])
    points = Outcome(y, y + np.array([0.0, 1.0, -1.0]), fit_seconds=2.5)
    assert SCORE["mae"].of(points) == pytest.approx(2 / 3)
    assert SCORE["rmse"].of(points) == pytest.approx(np.sqrt(2 / 3))
    assert SCORE["fit_seconds"].of(points) == 2.5
    uniform = Outcome(y, y, BinnedDistribution([0.0, 10.0], np.ones((3, 1))))
    # of a uniform distribution on (0, 10), by hand
    assert SCORE["log_score"].of(uniform) == pytest.approx(np.log(10))
    assert SCORE["width_90"].of(uniform) == pytest.approx(9.0)
    assert SCORE["coverage_90"].of(uniform) == 1.0
    crps = np.mean([y**3 / 300 + (10 - y) ** 3 / 300])
    assert SCORE["crps"].of(uniform) == pytest.approx(crps)


def test_a_model_of_points_has_no_score_of_distributions() -> None:
    points = Outcome(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    found = {score.name for score in SCORES if score.scores == "distributions" and np.isnan(score.of(points))}
    assert found == {"crps", "log_score", "coverage_90", "width_90", "calibration_error"}


def test_studies_minimise_what_is_lowest_at_best() -> None:
    assert list(METRICS) == ["rmse", "mae", "crps", "log_score"]
    assert all(score.best == "lowest" for score in METRICS.values())


def test_a_log_score_compares_where_no_value_is_shared() -> None:
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=1000)
    assert incomparable(smooth) == {}
    # a hundredth of the rows, and five of them, are many
    smooth[:9] = 0.0
    assert incomparable(smooth) == {}
    smooth[:260] = 0.0
    assert list(incomparable(smooth)) == ["log_score"]
    assert "26 % of the training rows share the value 0," in incomparable(smooth)["log_score"]
    assert "100 % of the training rows share 6 values" in incomparable(rng.integers(0, 6, 1000) * 1.0)["log_score"]
    # a share of the rows is one of their weights
    assert incomparable(smooth, np.where(smooth == 0, 1e-3, 1.0)) == {}


def test_a_smeared_value_beats_the_truth_and_is_not_best() -> None:
    # a quarter of the targets are 0; the truth gives that a mass, the other smears it over a narrow cell
    rng = np.random.default_rng(0)
    y = np.where(rng.random(2000) < 0.25, 0.0, rng.uniform(1, 2, 2000))
    n = len(y)
    truth = BinnedDistribution([0.0, 0.0, 1.0, 2.0], np.tile([0.25, 0.0, 0.75], (n, 1)))
    smeared = BinnedDistribution([-1e-4, 1e-4, 1.0, 2.0], np.tile([0.25, 0.0, 0.75], (n, 1)))
    values = [SCORE["log_score"].of(Outcome(y, y, one)) for one in (truth, smeared)]
    assert values[1] < values[0] - 1
    assert SCORE["log_score"].is_best(values).tolist() == [False, True]
    compared = "log_score" not in incomparable(y)
    assert SCORE["log_score"].is_best(values, compared).tolist() == [False, False]
    crps = [SCORE["crps"].of(Outcome(y, y, one)) for one in (truth, smeared)]
    assert crps[0] < crps[1]
