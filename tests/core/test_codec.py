"""The codec of a target: what each scheme fits, precision, state dicts."""

import copy

import numpy as np
import pytest
import torch

from bridges_tabular.core.codec import BRIDGE_SCHEMES, TargetCodec
from bridges_tabular.core.encoders import SoftEncoder

RNG = np.random.default_rng(0)
Y = RNG.gamma(2.0, size=1_500)
Y = (Y - Y.mean()) / Y.std()
WEIGHT = RNG.integers(0, 3, 1_500).astype(float)


def single(y):
    return torch.tensor(y, dtype=torch.float32)


def reconstruction(codec, y=Y):
    """Root mean square of decode(encode(y)) - y."""
    with torch.no_grad():
        decoded = codec.decode(codec.encode(single(y)).exp()).double()
    return float(np.sqrt(np.mean(np.square(decoded.numpy() - y))))


@pytest.mark.parametrize("scheme", BRIDGE_SCHEMES)
def test_encodes_and_decodes(scheme):
    codec = TargetCodec(scheme).fit(Y)
    bound = {"hard": 0.1, "softmax_least_squares": 0.02, "soft": 0.02, "pretrained": 0.02, "end_to_end": 0.02}
    assert reconstruction(codec) < bound[scheme]
    low, high = codec.bins.support
    assert low < Y.min()
    assert high > Y.max()
    codes = codec.encode(torch.tensor([-1e9, 1e9]))
    assert torch.isfinite(codes).all()


def test_the_encoder_knows_the_fitted_bins():
    for scheme in BRIDGE_SCHEMES:
        codec = TargetCodec(scheme, 8).fit(Y)
        np.testing.assert_array_equal(codec.encoder.bins.edges, codec.bins.edges)
        fresh = TargetCodec(scheme, 8)
        fresh.load_state_dict(codec.state_dict())
        # of the same size as the bins it was made with, so that only their values differ
        np.testing.assert_array_equal(fresh.encoder.bins.edges, codec.bins.edges)
        np.testing.assert_array_equal(fresh.encoder.bins.centers, codec.bins.centers)


@pytest.mark.parametrize("scheme", BRIDGE_SCHEMES)
def test_only_what_the_scheme_trains_is_trainable(scheme):
    codec = TargetCodec(scheme).fit(Y)
    trainable = {name.split(".")[0] for name, p in codec.named_parameters() if p.requires_grad}
    expected = {"softmax_least_squares": {"decoder"}, "end_to_end": {"encoder", "decoder"}}
    assert trainable == expected.get(scheme, set())


def test_pretraining_makes_a_wide_code_local_and_uses_all_classes():
    wide = {"smoothing": 3.0, "n_bins": 12}
    pretrained, start = TargetCodec("pretrained", **wide).fit(Y), TargetCodec("end_to_end", **wide).fit(Y)

    def spread(codec):
        y = single(Y)
        return (codec.encode(y).exp() * (y[:, None] - codec.decoder.values) ** 2).sum(1).mean().item()

    assert spread(pretrained) < 0.6 * spread(start)
    assert reconstruction(pretrained) < 0.03
    usage = pretrained.encode(single(Y)).exp().mean(0)
    assert usage.min() > 0.001
    assert usage.max() < 0.5


@pytest.mark.parametrize("scheme", ["hard", "soft", "pretrained"])
def test_a_weight_counts_a_row_so_often(scheme):
    weighted = TargetCodec(scheme, 10).fit(Y, WEIGHT)
    repeated = TargetCodec(scheme, 10).fit(np.repeat(Y, WEIGHT.astype(int)))
    np.testing.assert_allclose(weighted.bins.edges, repeated.bins.edges, atol=1e-9)
    # order statistics of one row each and of repeated rows differ a little
    np.testing.assert_allclose(weighted.decoder.values.detach(), repeated.decoder.values.detach(), atol=0.02)


def test_a_state_dict_restores_a_codec_of_another_size():
    with pytest.warns(UserWarning, match="using 4 bins"):
        fitted = TargetCodec("end_to_end").fit(np.repeat([-1.0, 0.0, 1.5, 2.0], 10))
    restored = TargetCodec("end_to_end")
    restored.load_state_dict(fitted.state_dict())
    y = torch.tensor([-1.0, 0.5, 2.0])
    assert restored.encode(y).shape == (3, 4)
    torch.testing.assert_close(restored.encode(y), fitted.encode(y), rtol=0, atol=0)
    assert all(p.requires_grad for p in restored.parameters())


def test_nothing_is_held_in_double_precision_but_the_bins_survive_to_the_last_bit():
    # a device such as MPS has no double precision
    for scheme in BRIDGE_SCHEMES:
        codec = TargetCodec(scheme, 12).fit(Y)
        tensors = {**dict(codec.named_buffers()), **dict(codec.named_parameters())}
        assert not [name for name, tensor in tensors.items() if tensor.dtype == torch.float64]
        state = codec.state_dict()
        assert all(isinstance(tensor, torch.Tensor) and tensor.dtype != torch.float64 for tensor in state.values())
        restored = TargetCodec(scheme, 32)
        restored.load_state_dict({name: torch.tensor(tensor.numpy().copy()) for name, tensor in state.items()})
        for again in (restored, copy.deepcopy(codec), copy.deepcopy(codec).to(torch.bfloat16)):
            np.testing.assert_array_equal(again.bins.edges, codec.bins.edges)
            np.testing.assert_array_equal(again.bins.centers, codec.bins.centers)
        np.testing.assert_array_equal(restored.edges, codec.bins.edges.astype(np.float32))
        np.testing.assert_array_equal(restored.centers, codec.bins.centers.astype(np.float32))


def test_an_encoder_of_the_users_own_takes_the_place_of_the_schemes():
    class Wide(SoftEncoder):
        def __init__(self, bins, smoothing):
            super().__init__(bins, "gaussian", 3 * smoothing)

    codec = TargetCodec("end_to_end", 12, encoder_class=Wide).fit(Y)
    expected = SoftEncoder(codec.bins, "gaussian", 3.0)(single(Y))
    torch.testing.assert_close(codec.encode(single(Y)).exp(), expected)
    restored = TargetCodec("end_to_end", 8, encoder_class=Wide)
    restored.load_state_dict(codec.state_dict())
    torch.testing.assert_close(restored.encode(single(Y)).exp(), expected)
    assert codec.location_logits(torch.zeros(3)).shape == (3, 12)
    with pytest.raises(ValueError, match="encoder_class has no place in scheme='hard'"):
        TargetCodec("hard", encoder_class=Wide)


def test_loading_the_same_bins_keeps_the_parameters_an_optimizer_holds():
    codec = TargetCodec("end_to_end").fit(Y)
    before = [id(p) for p in codec.parameters()]
    codec.load_state_dict({name: tensor.clone() for name, tensor in codec.state_dict().items()})
    assert [id(p) for p in codec.parameters()] == before


def test_location_logits_are_the_code_of_a_target():
    for scheme in ("soft", "end_to_end"):
        codec = TargetCodec(scheme).fit(Y)
        y = torch.linspace(-1.0, 2.0, 9)
        family = codec.encoder.family
        logits = codec.location_logits(family.tilt(y))
        torch.testing.assert_close(torch.log_softmax(logits, dim=1), codec.encode(y))
    hard = TargetCodec("hard").fit(Y)
    centres = torch.log_softmax(hard.location_logits(hard.family.tilt(y)), dim=1).exp() @ hard.centers
    np.testing.assert_allclose(centres.detach(), y, atol=0.01)


def test_refuses_an_unknown_scheme():
    with pytest.raises(ValueError, match=r"scheme must be one of softmax_least_squares, .*, got 'ordinal'"):
        TargetCodec("ordinal")
