"""What a model learned about its targets: centres, widths, the code psi(y), and how much each class is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.regressors.scale import TargetScale

Floats = NDArray[np.float64]

_CURVE_POINTS = 512
_CODED_ROWS = 1 << 16


def class_use(codec: TargetCodec, standard: Floats, weight: Floats | None) -> Floats:
    """Mean code of standardised training targets of shape (n,), of shape (k,)."""
    share = np.full(len(standard), 1.0 / len(standard)) if weight is None else weight / weight.sum()
    use: Floats = np.zeros(codec.bins.n_bins)
    # the codes of all rows would take more memory than their table
    for start in range(0, len(standard), _CODED_ROWS):
        rows = slice(start, start + _CODED_ROWS)
        use += share[rows] @ psi_of(codec, standard[rows])
    return use


def encoder_frame(codec: TargetCodec, scale: TargetScale, use: Floats) -> pd.DataFrame:
    """One row for every class, in the units of the target.

    Parameters
    ----------
    codec : TargetCodec
        Fitted.
    scale : TargetScale
        From the codec's units to those of the target.
    use : array of shape (k,)
        Mean code of the training targets.
    """
    edges, centers = scale.restore(codec.bins.edges), scale.restore(codec.bins.centers)
    with torch.no_grad():
        values = scale.restore(codec.decoder.values.double().numpy())
    at, psi = code_curve(codec, scale)
    mass = psi / np.maximum(psi.sum(axis=0), 1e-300)
    middle = at @ mass
    own = np.searchsorted(at, centers).clip(0, len(at) - 1)
    logs = np.log(np.maximum(psi[own], 1e-300))
    return pd.DataFrame(
        {
            "center": centers,
            "low": edges[:-1],
            "high": edges[1:],
            "value": values,
            # where on the axis the class is used: the mean and the deviation of y under psi_j
            "code_mean": middle,
            "code_width": np.sqrt(np.maximum(((at[:, None] - middle) ** 2 * mass).sum(axis=0), 0.0)),
            "use": use,
            "entropy": -(psi[own] * logs).sum(axis=1),
        }
    ).rename_axis("class")


def code_curve(codec: TargetCodec, scale: TargetScale) -> tuple[Floats, Floats]:
    """Targets (g,) over the support, in the user's units, and their codes (g, k)."""
    at = np.linspace(*codec.bins.support, _CURVE_POINTS)
    return scale.restore(at), psi_of(codec, at)


def psi_of(codec: TargetCodec, standard: Floats) -> Floats:
    """Codes (n, k) of targets (n,) in the codec's units."""
    with torch.no_grad():
        psi: Floats = codec.encode(torch.as_tensor(standard, dtype=torch.float32)).exp().double().numpy()
    return psi


def plot_encoder(codec: TargetCodec, scale: TargetScale, use: Floats, ax: Any = None) -> Any:
    """Draw psi_j(y) over y, a curve for each class, above the decoder's values; returns the axes."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot_encoder() needs matplotlib: pip install 'bridges-tabular[plot]'") from error
    if ax is None:
        _, ax = plt.subplots()
    frame = encoder_frame(codec, scale, use)
    at, psi = code_curve(codec, scale)
    colours = plt.get_cmap("viridis")(np.linspace(0, 1, psi.shape[1]))
    for curve, colour, value in zip(psi.T, colours, frame["value"], strict=True):
        ax.plot(at, curve, color=colour, linewidth=1)
        ax.plot(value, -0.02, "|", color=colour)
    ax.set(xlabel="y", ylabel="psi(y)")
    return ax
