"""Heads and encoders of one's own, named by import path in Python and in YAML."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from bridges_tabular import TabularBridgeRegressor
from bridges_tabular.core.encoders import TargetEncoder
from bridges_tabular.tabular import BridgeHead


class LowRankHead(BridgeHead):
    """Polynomials of the class with coefficients from the network."""

    def __init__(self, n_bins, degree=4):
        super().__init__(n_bins)
        self.raw_dim = degree

    def logits(self, raw, codec):
        place = torch.linspace(-1, 1, codec.centers.shape[0])
        powers = torch.stack([place**i for i in range(1, self.raw_dim + 1)])
        return 10 * raw @ powers


class Laplace(TargetEncoder):
    """psi_j falls exponentially with the distance of centre j, at a rate that can be learned."""

    def __init__(self, bins, smoothing):
        super().__init__(bins)
        self.register_buffer("places", torch.as_tensor(bins.centers, dtype=torch.float32))
        self.log_rate = torch.nn.Parameter(torch.tensor(float(np.log(len(bins.centers) / smoothing / 4))))

    def log_probs(self, y):
        return torch.log_softmax(-(y[:, None] - self.places).abs() * self.log_rate.exp(), dim=-1)


def regressor(**params):
    return TabularBridgeRegressor(
        max_epochs=12, n_bins=16, learning_rate=1e-2, backbone_params={"layers": "32-16"}, **params
    )


@pytest.mark.parametrize("head_params", [None, {"degree": 3}])
def test_a_head_of_ones_own(table, tmp_path, head_params):
    X, y = table
    model = regressor(head=f"{__name__}.LowRankHead", head_params=head_params).fit(X[:350], y[:350])
    assert model.score(X[350:], y[350:]) > 0.25
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "m").predict(X), model.predict(X))
    with pytest.raises(ValueError, match="unknown 'gamma'; choices: kind, degree"):
        regressor(head=f"{__name__}.LowRankHead", head_params={"gamma": 1.0}).fit(X, y)


@pytest.mark.parametrize("scheme", ["soft", "pretrained", "end_to_end"])
def test_an_encoder_of_ones_own(table, tmp_path, scheme):
    X, y = table
    model = regressor(scheme=scheme, encoder=f"{__name__}.Laplace").fit(X[:350], y[:350])
    assert model.score(X[350:], y[350:]) > 0.25
    encoder = model.model_.codecs[0].encoder
    assert isinstance(encoder, Laplace)
    start = float(np.log(16 / model.smoothing / 4))
    assert (float(encoder.log_rate) == pytest.approx(start)) == (scheme == "soft")
    model.save(tmp_path / "m")
    loaded = TabularBridgeRegressor.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict_quantiles(X, [0.1, 0.9]), model.predict_quantiles(X, [0.1, 0.9]))


OWN_HEAD = """
from bridges_tabular.tabular.head import PlainHead
class Own(PlainHead):
    pass
"""
LOAD = """
import sys
import bridges_tabular
try:
    bridges_tabular.load("m")
except ValueError as error:
    assert "own_head.Own, which is not imported: name it in trusted" in str(error), error
else:
    raise AssertionError("loaded")
assert "own_head" not in sys.modules
bridges_tabular.load("m", trusted=["own_head.Own"])
assert "own_head" in sys.modules
"""


@pytest.mark.slow
def test_a_class_that_a_saved_model_names_is_imported_only_if_it_is_trusted(table, tmp_path, monkeypatch):
    (tmp_path / "own_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    TabularBridgeRegressor(max_epochs=1, n_bins=8, head="own_head.Own").fit(*table).save(tmp_path / "m")
    paths = [str(tmp_path), *sys.path]
    script = f"import sys; sys.path[:0] = {paths!r}\n{LOAD}"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"head": "nowhere.Head"}, "head: cannot import 'nowhere.Head'"),
        ({"head": "cumulativ"}, "head: unknown 'cumulativ'; did you mean 'cumulative'"),
        ({"encoder": "torch.nn.Linear"}, "encoder: torch.nn.Linear is no subclass of .*TargetEncoder"),
    ],
)
def test_what_is_no_plugin_is_refused_in_one_line(table, params, message):
    with pytest.raises(ValueError, match=message) as caught:
        regressor(**params).fit(*table)
    assert "\n" not in str(caught.value)
