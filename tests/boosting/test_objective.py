"""Gradients of the trees' objective against automatic differentiation of the one that networks train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import check_random_state

from bridges_tabular.boosting import codes as codes_module
from bridges_tabular.boosting.binned import BinnedTarget
from bridges_tabular.boosting.codes import CodecRefit, MovingGradients, TargetCodes, codes_of, project_codes
from bridges_tabular.boosting.objective import BridgeGradients, ClassLogits, index_polynomials, split_directions
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.objective import BridgeObjective


@st.composite
def problems(draw: Any) -> dict[str, Any]:
    """Margins, codes, targets and weights of a few rows, with or without a basis."""
    k, n = draw(st.integers(3, 40)), draw(st.integers(1, 30))
    rank = draw(st.sampled_from([None, 1, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    basis = None if rank is None else index_polynomials(k, rank)
    logits = ClassLogits(rng.normal(size=k).astype(np.float32), basis)
    size = draw(st.sampled_from([0.1, 3.0, 60.0]))
    return {
        "logits": logits,
        "margins": (size * rng.normal(size=(n, logits.n_margins))).astype(np.float32),
        "psi": rng.dirichlet(np.ones(k), n).astype(np.float32),
        "y": rng.normal(size=n).astype(np.float32),
        "values": np.sort(rng.normal(size=k)).astype(np.float32),
        "weight": rng.uniform(0, 2, n) if draw(st.booleans()) else None,
        "alignment": draw(st.sampled_from([0.0, 1.0, 2.5])),
        "regression": draw(st.sampled_from([0.0, 5.0])),
    }


def log_pi(problem: dict[str, Any], margins: torch.Tensor) -> torch.Tensor:
    offsets = torch.tensor(problem["logits"].offsets, dtype=torch.float64)
    basis = problem["logits"].basis
    logits = margins if basis is None else margins @ torch.tensor(basis, dtype=torch.float64).T
    return torch.log_softmax(logits + offsets, dim=-1)


@given(problems())
@settings(deadline=None, max_examples=40)
def test_gradient_is_that_of_the_bridge_objective(problem: dict[str, Any]) -> None:
    b, c, weight = (problem[name] for name in ("alignment", "regression", "weight"))
    basis = problem["logits"].basis
    codes = problem["psi"] if basis is None else problem["psi"] @ basis
    ours = BridgeGradients(
        problem["logits"], codes, problem["y"], problem["values"], alignment_weight=b, regression_weight=c,
        sample_weight=weight,
    )  # fmt: skip
    grad, hess = ours.at(0, problem["margins"])

    margins = torch.tensor(problem["margins"], dtype=torch.float64, requires_grad=True)
    y, values, psi = (torch.tensor(problem[name], dtype=torch.float64) for name in ("y", "values", "psi"))
    prediction = log_pi(problem, margins)
    objective = BridgeObjective(1.0, b, c)
    loss = objective(y, psi.log(), prediction, values, None if weight is None else torch.tensor(weight)).loss
    total = len(y) if weight is None else weight.sum()
    (expected,) = torch.autograd.grad(loss * total, margins)
    np.testing.assert_allclose(grad, expected, rtol=2e-3, atol=2e-4 * (1 + b + 10 * c))
    assert (hess >= 0).all()


@given(problems())
@settings(deadline=None, max_examples=20)
def test_hessian_is_exact_for_alignment_and_gauss_newton_for_regression(problem: dict[str, Any]) -> None:
    basis, margins = problem["logits"].basis, problem["margins"] / 20
    codes = problem["psi"] if basis is None else problem["psi"] @ basis
    ours = BridgeGradients(problem["logits"], codes, problem["y"], problem["values"], regression_weight=3.0)
    _, hess = ours.at(0, margins)
    values, psi = (torch.tensor(problem[name], dtype=torch.float64) for name in ("values", "psi"))
    for row in range(min(3, len(margins))):
        at = torch.tensor(margins[row], dtype=torch.float64)
        alignment = torch.autograd.functional.hessian(
            lambda f, row=row: -(psi[row] * log_pi(problem, f[None])[0]).sum(), at
        )
        slope = torch.autograd.functional.jacobian(lambda f: log_pi(problem, f[None])[0].exp() @ values, at)
        expected = torch.diagonal(alignment) + 6.0 * slope**2
        np.testing.assert_allclose(hess[row], expected.clamp(min=0).numpy(), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("k", [2, 5, 32, 128])
def test_index_polynomials_are_orthonormal_and_free_of_the_constant(k: int) -> None:
    basis = index_polynomials(k, 4).astype(np.float64)
    assert basis.shape == (k, min(4, k - 1))
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-5)


def test_the_first_split_direction_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    values, masses = np.sort(rng.normal(size=9)), rng.dirichlet(np.ones(9))
    directions = split_directions(values, masses, 2).astype(np.float64)
    np.testing.assert_allclose(directions.T @ (masses[:, None] * directions), np.eye(2), atol=1e-5)
    centred = values - values @ masses
    assert abs(np.corrcoef(directions[:, 0], centred)[0, 1]) == pytest.approx(1)


@pytest.mark.parametrize("scheme", ["soft", "pretrained", "end_to_end"])
def test_projected_codes_are_the_codec_s(scheme: Any) -> None:
    y = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    codec = TargetCodec(scheme, 16).fit(y)
    psi = codec.encode(torch.from_numpy(y)).exp().detach().numpy()
    offsets, basis = np.zeros(16, dtype=np.float32), index_polynomials(16, 3)
    np.testing.assert_allclose(project_codes(codec, ClassLogits(offsets, None), y), psi, atol=1e-6)
    np.testing.assert_allclose(project_codes(codec, ClassLogits(offsets, basis), y), psi @ basis, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 3])
def test_gradients_do_not_depend_on_whether_codes_are_kept(rank: Any, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=600).astype(np.float32)
    margins = rng.normal(size=(600, rank or 16)).astype(np.float32)

    def after_a_move() -> tuple[Any, Any]:
        codec = TargetCodec("end_to_end", 16).fit(y).requires_grad_(False)
        logits = ClassLogits(np.zeros(16, dtype=np.float32), None if rank is None else index_polynomials(16, rank))
        refit = CodecRefit(codec, BridgeObjective(), y, None, check_random_state(0))
        ours = MovingGradients(refit, codec, logits, y)
        first = ours.at(0, margins)[0]
        return first, ours.at(8, margins)[0]

    assert isinstance(
        codes_of(TargetCodec("soft", 16).fit(y), ClassLogits(np.zeros(16, dtype=np.float32), None), y), np.ndarray
    )
    kept = after_a_move()
    monkeypatch.setattr(codes_module, "_MOST_KEPT", 100)
    assert isinstance(
        codes_of(TargetCodec("soft", 16).fit(y), ClassLogits(np.zeros(16, dtype=np.float32), None), y), TargetCodes
    )
    made = after_a_move()
    for one, other in zip(kept, made, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(made[0] - made[1]).max() > 1e-3


def test_encoder_and_decoder_move_downhill_and_back() -> None:
    rng = np.random.default_rng(0)
    y = (rng.gamma(2, 2, 500).astype(np.float32) - 4) / 3
    codec = TargetCodec("end_to_end", 12).fit(y).requires_grad_(False)
    objective = BridgeObjective(10, 1, 1)
    refit = CodecRefit(codec, objective, y, None, check_random_state(0))
    pi = rng.dirichlet(np.ones(12), 500).astype(np.float32)
    standard = torch.from_numpy(y)

    def loss() -> float:
        log_psi = codec.encode(standard)
        return float(objective(standard, log_psi, torch.from_numpy(pi).log(), codec.decoder.values).loss)

    assert [i for i in range(70) if refit.due(i)] == [8, 16, 32, 64]
    losses, states = [loss()], [codec.state_dict()["decoder.position"].clone()]
    for iteration in (8, 16):
        refit.move(iteration, pi)
        losses.append(loss())
        states.append(codec.state_dict()["decoder.position"].clone())
    assert losses[0] > losses[1] > losses[2]
    for best, state in ((20, 2), (15, 1), (16, 2), (7, 0)):
        refit.rewind(best)
        assert torch.equal(codec.state_dict()["decoder.position"], states[state])


def test_encoder_and_decoder_move_by_weights_as_by_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200).astype(np.float32)
    weight = rng.integers(1, 4, 200)
    pi = rng.dirichlet(np.ones(8), 200).astype(np.float32)
    moved = []
    for rows, weights in ((np.arange(200), weight.astype(float)), (np.repeat(np.arange(200), weight), None)):
        codec = TargetCodec("end_to_end", 8).fit(y).requires_grad_(False)
        refit = CodecRefit(codec, BridgeObjective(10, 1, 1), y[rows], weights, check_random_state(0))
        refit.move(8, pi[rows])
        moved.append({name: tensor.numpy() for name, tensor in codec.state_dict().items()})
    start = TargetCodec("end_to_end", 8).fit(y).state_dict()["decoder.position"].numpy()
    assert np.abs(moved[0]["decoder.position"] - start).max() > 1e-2
    for name, tensor in moved[0].items():
        np.testing.assert_allclose(tensor, moved[1][name], atol=2e-5)


@pytest.mark.parametrize("scheme", ["hard", "soft"])
def test_metrics_of_early_stopping(scheme: Any) -> None:
    rng = np.random.default_rng(0)
    # as a location leaves it: spread less than a standardised target
    y = rng.normal(0, 0.3, 400)
    weight = rng.uniform(0.5, 2, 400)
    weights = BridgeObjective(0, 1, 0)
    target = BinnedTarget.fit(
        TargetCodec(scheme, 10), y, None, rank=None, weights=weights, random=check_random_state(0)
    )
    margins = rng.normal(size=(400, 10)).astype(np.float32)
    pi = target.probabilities(margins).astype(np.float64)
    pi /= pi.sum(axis=1, keepdims=True)
    given = pi.astype(np.float32) if scheme == "hard" else margins
    centers = target.codec.bins.centers * target.unit
    assert target.unit == pytest.approx(y.std())
    crps = [
        np.sum(p * np.abs(centers - at)) - 0.5 * np.sum(np.outer(p, p) * np.abs(centers[:, None] - centers))
        for p, at in zip(pi, y, strict=True)
    ]
    errors = target.decode(margins) - y
    expected = {
        "crps": np.average(crps, weights=weight),
        "mae": np.average(np.abs(errors), weights=weight),
        "rmse": np.sqrt(np.average(errors**2, weights=weight)),
    }
    assert target.metric(y, weight, list(expected))(given) == pytest.approx(expected, rel=1e-4)
    draws = rng.choice(centers, size=(20_000,), p=pi[0])
    assert scoringrules.crps_ensemble(y[0], draws) == pytest.approx(crps[0], rel=0.05)
