"""The mean of every distribution is its row's point prediction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bridges_tabular import BinnedDistribution
from bridges_tabular.core._cells import Rows
from bridges_tabular.core.calibration.centring import centred, tilted


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(-12, 12), st.booleans())
def test_a_tilt_meets_any_mean_between_the_cells(seed: int, k: int, exponent: float, shared: bool) -> None:
    rng = np.random.default_rng(seed)
    n, unit = 5, 10.0**exponent
    edges = np.sort(rng.normal(size=k + 1 if shared else (n, k + 1)), axis=-1) * unit + rng.normal() * unit
    # atoms, and cells without mass
    edges[..., 1] = edges[..., 0]
    masses = rng.dirichlet(np.full(k, 0.3), n)
    tails = rng.uniform(0, 0.1, (n, 2))
    total = (masses.sum(1) + tails.sum(1))[:, None]
    scales = np.full((n, 2), 0.1 * unit)
    rows = Rows(edges, masses / total, tails / total, scales)
    low, high = np.broadcast_to(edges, (n, k + 1))[:, [0, -1]].T
    point = low + rng.uniform(0.1, 0.9, n) * (high - low)
    made = BinnedDistribution._from_valid(tilted(rows, point))
    np.testing.assert_allclose(made.mean, point, atol=1e-8 * unit)
    np.testing.assert_array_equal(made.edges, edges)
    np.testing.assert_allclose(made.masses.sum(1) + made.tail_masses.sum(1), 1)
    again = tilted(made._rows, point)
    np.testing.assert_allclose(again.masses, made.masses, atol=1e-7)


def test_a_tilt_is_the_nearest_distribution_with_that_mean() -> None:
    rng = np.random.default_rng(0)
    at, masses = np.arange(6.0), rng.dirichlet(np.ones(6))
    edges = np.repeat(at, 2)
    cells = np.zeros(11)
    cells[::2] = masses
    rows = Rows(edges, cells[None], np.zeros((1, 2)), np.ones((1, 2)))
    found = tilted(rows, np.array([3.4])).masses[0, ::2]
    nearest = minimize(
        lambda q: np.sum(q * np.log(np.maximum(q, 1e-300) / masses)),
        masses,
        bounds=[(1e-9, 1)] * 6,
        constraints=[
            {"type": "eq", "fun": lambda q: q.sum() - 1},
            {"type": "eq", "fun": lambda q: q @ at - 3.4},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found, nearest.x, atol=1e-5)


def test_a_point_beyond_everything_is_met_as_nearly_as_can_be() -> None:
    rows = Rows(np.array([0.0, 1.0, 2.0]), np.array([[0.5, 0.5]] * 2), np.zeros((2, 2)), np.ones((2, 2)))
    made = BinnedDistribution._from_valid(tilted(rows, np.array([9.0, 1.0])))
    np.testing.assert_allclose(made.mean, [1.49, 1.0], atol=1e-6)
    assert np.isfinite(made.masses).all()


def test_next_to_no_mass_far_away_takes_nothing_over() -> None:
    # a zero-inflated target: nearly all mass on an atom, and a tail of 1e-39 a hundred away
    edges = np.repeat([0.0, 10.0, 90.0, 100.0], 2)
    masses = np.tile([0.92, 1e-6, 1e-8, 0.0, 0.0, 0.0, 1e-25], (2, 1))
    tails = np.array([[0.08 - 1.01e-6, 3e-39], [0.0, 0.08 - 1.01e-6]])
    rows = Rows(edges, masses, tails, np.full((2, 2), 0.9))
    # below the mean, where a hundredth of the distance to the far tail would be above it; its neighbour goes far
    for at in (slice(0, 1), slice(0, 2)):
        made = BinnedDistribution._from_valid(
            tilted(Rows(edges, *(part[at] for part in rows[1:])), np.array([-0.2, 99.0])[at])
        )
        np.testing.assert_allclose(made.mean, np.array([-0.2, 99.0])[at], atol=1e-6)
        assert made.tail_masses[0, 1] < 1e-30


def test_a_mean_between_two_far_values_is_met_in_any_company() -> None:
    # the mean jumps from one to the other within a hair of the tilt
    edges = np.repeat([0.0, 1.0, 300.0], 2)
    cells = np.zeros((3, 5))
    cells[:, ::2] = [[0.9, 0.1 - 1e-8, 1e-8], [0.5, 0.5 - 1e-8, 1e-8], [1e-8, 0.5 - 1e-8, 0.5]]
    rows = Rows(edges, cells, np.zeros((3, 2)), np.ones((3, 2)))
    point = np.array([4.0, 150.0, 3.5])
    np.testing.assert_allclose(BinnedDistribution._from_valid(tilted(rows, point)).mean, point, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_many_rows_are_centred_like_few(shared: bool) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    edges = np.linspace(0, 1, 9) if shared else np.sort(rng.uniform(size=(n, 9)), axis=1)
    distribution = BinnedDistribution(edges, rng.dirichlet(np.ones(8), n))
    low, high = np.broadcast_to(edges, (n, 9))[:, [0, -1]].T
    point = low + rng.uniform(0.2, 0.8, n) * (high - low)
    made = centred(distribution, point)
    np.testing.assert_allclose(made.mean, point, atol=1e-9)
    assert made.edges.shape == edges.shape
    np.testing.assert_allclose(made[:3].masses, centred(distribution[:3], point[:3]).masses, atol=1e-9)
    assert len(centred(distribution[:0], point[:0])) == 0


def test_a_single_cell_is_moved_and_an_atom_is_not() -> None:
    cell = BinnedDistribution([0.0, 1.0, 2.0], [[1.0, 0.0], [0.5, 0.5]])
    made = centred(cell, np.array([0.7, 1.2]))
    np.testing.assert_allclose(made.mean, [0.7, 1.2])
    np.testing.assert_allclose(made.edges, [[0.2, 1.2, 2.2], [0, 1, 2]])
    atom = BinnedDistribution([1.0, 1.0, 2.0], [[1.0, 0.0]])
    assert centred(atom, np.array([1.4])).mean == 1
