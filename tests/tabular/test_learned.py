"""What was learned about the target can be looked at."""

import numpy as np
import pytest

from bridges_tabular import TabularBridgeRegressor


def fitted(table, **params):
    X, y = table
    return TabularBridgeRegressor(max_epochs=5, n_bins=12, backbone_params={"layers": "16"}, **params).fit(X, y)


@pytest.mark.parametrize("scheme", ["hard", "soft", "pretrained", "end_to_end"])
def test_the_frame_agrees_with_the_codes_of_the_targets(table, tmp_path, scheme):
    y = table[1]
    model = fitted(table, scheme=scheme)
    frame = model.encoder_frame()
    assert len(frame) == 12
    assert frame["use"].sum() == pytest.approx(1.0)
    assert ((frame["low"] <= frame["center"]) & (frame["center"] <= frame["high"])).all()
    assert (frame["low"].to_numpy()[1:] == frame["high"].to_numpy()[:-1]).all()
    assert frame["low"].iloc[0] < y.min()
    assert frame["value"].between(frame["low"].iloc[0], frame["high"].iloc[-1]).all()
    if scheme == "hard":
        counts = np.histogram(y, [*frame["low"], frame["high"].iloc[-1]])[0] / len(y)
        np.testing.assert_allclose(frame["use"], counts, atol=0.05)
        np.testing.assert_allclose(frame["entropy"], 0, atol=1e-6)
        # a uniform distribution over the bin
        np.testing.assert_allclose(frame["code_width"], (frame["high"] - frame["low"]) / np.sqrt(12), rtol=0.1)
    else:
        # the code of the outer centres is one class alone
        assert (frame["entropy"][1:-1] > 0.5).all()
    model.save(tmp_path / "m")
    assert TabularBridgeRegressor.load(tmp_path / "m").encoder_frame().equals(frame)


def test_the_picture_has_a_curve_for_each_class(table):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    ax = fitted(table).plot_encoder()
    curves = [line for line in ax.lines if len(line.get_xdata()) > 1]
    assert len(curves) == 12
    np.testing.assert_allclose(sum(curve.get_ydata() for curve in curves), 1.0, atol=1e-5)


def test_schemes_without_a_code_have_none(table):
    assert not hasattr(fitted(table, scheme="least_squares"), "encoder_frame")
    assert not hasattr(fitted(table, scheme="softmax_least_squares"), "plot_encoder")
