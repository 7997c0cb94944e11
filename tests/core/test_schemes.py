"""What schemes say of themselves against what their codecs do."""

import numpy as np
import pytest
import torch

from bridges_tabular.core.codec import BRIDGE_SCHEMES, TargetCodec
from bridges_tabular.core.schemes import SCHEMES

Y = np.random.default_rng(0).normal(size=400)


def test_all_but_least_squares_have_classes():
    assert tuple(SCHEMES) == ("least_squares", *BRIDGE_SCHEMES)
    assert [scheme.name for scheme in SCHEMES.values()] == list(SCHEMES)
    with pytest.raises(ValueError, match=r"scheme must be one of softmax_least_squares, .*, got 'least_squares'"):
        TargetCodec("least_squares")


@pytest.mark.parametrize("name", BRIDGE_SCHEMES)
def test_a_codec_does_what_its_scheme_says(name):
    scheme, codec = SCHEMES[name], TargetCodec(name, 12).fit(Y)
    psi = codec.encode(torch.tensor(Y, dtype=torch.float32)).exp()
    assert bool((psi.max(dim=1).values > 0.999).all()) == scheme.one_hot
    assert any(p.requires_grad for p in codec.encoder.parameters()) == scheme.moves_code
    assert any(p.requires_grad for p in codec.decoder.parameters()) == scheme.trains_decoder
    # a code that is learned is made of parameters
    assert bool(list(codec.encoder.parameters())) == scheme.learns_code
    other = TargetCodec(name, 12, kernel="two_hot").fit(Y)
    moved = not torch.equal(other.encode(torch.tensor(Y, dtype=torch.float32)).exp(), psi)
    assert moved or not scheme.has_kernel
    assert scheme.has_distribution == scheme.has_code
