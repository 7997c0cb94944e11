"""Draw docs/method.svg, a target on its way through the method: ``python docs/picture.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt

from bridges_tabular import BinnedDistribution, Bins, SoftEncoder
from bridges_tabular.experiments import read_frame

TARGET = 2_500.0
BLUE, ORANGE = "#2f7fc1", "#d5622b"


def draw(path: Path) -> None:
    """Write the picture."""
    mpl.use("svg")
    # the same file whenever it is drawn
    bare = {"axes.spines.top": False, "axes.spines.right": False}
    mpl.rcParams.update({"svg.hashsalt": "method", "font.size": 9} | bare)
    y = read_frame("diamonds")["price"].to_numpy(dtype=float)
    mean, scale = y.mean(), y.std()
    bins = Bins.fit((y - mean) / scale, 16)
    edges, centres = bins.edges * scale + mean, bins.centers * scale + mean
    encoder = SoftEncoder(bins, smoothing=1.0)
    with torch.inference_mode():
        code = encoder(torch.tensor([(TARGET - mean) / scale], dtype=torch.float32)).numpy()[0]
    predicted = 0.6 * code + 0.4 * np.roll(code, 2)
    predicted /= predicted.sum()

    fig, axes = plt.subplots(1, 4, figsize=(11, 2.4), layout="constrained")
    axes[0].hist(y, bins=80, color="#b0b0b0")
    axes[0].vlines(edges, 0, -600, color=BLUE, linewidth=1)
    axes[0].axvline(TARGET, color=ORANGE)
    axes[0].set(title="1  targets, bins, one target", yticks=[], xlabel="price")
    for ax, masses, title in ((axes[1], code, "2  its code"), (axes[2], predicted, "3  what a model predicts")):
        ax.bar(range(len(masses)), masses, color=BLUE)
        ax.set(title=title, xlabel="bin", ylim=(0, 1.1 * max(code.max(), predicted.max())))
    point = float(predicted @ centres)
    distribution = BinnedDistribution(edges, [predicted.tolist()])
    grid = np.linspace(0, 8_000, 400)
    axes[3].plot(grid, distribution.cdf(grid[None, :])[0], color=BLUE)
    axes[3].axvline(point, color=ORANGE)
    axes[3].set(title="4  a number, and P(price ≤ y)", xlabel="price", ylim=(0, 1))
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("method.svg"))
