"""Speed and memory of BinnedDistribution against scoringrules, skpro and torch, in one run.

    OMP_NUM_THREADS=1 python benchmarks/distribution.py

100,000 rows of 128 cells by default. skpro loops over rows in Python: it is timed on 1,000, scaled to all.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scoringrules
import torch
from numpy.typing import NDArray
from skpro.distributions.histogram import Histogram

from bridges_tabular.core.distribution import BinnedDistribution

LEVELS = np.arange(1, 10) / 10
MEMBERS = 1_000
SKPRO_ROWS = 1_000
Array = NDArray[np.float64]


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Least wall-clock time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def time_scoringrules(ensemble: Array, y: Array) -> float:
    scoringrules.crps_ensemble(y[:10], ensemble[:10])  # compiles outside the clock
    return seconds(lambda: scoringrules.crps_ensemble(y, ensemble), repeats=1)


def time_torch_quantile(ensemble: Array) -> float:
    # torch.quantile refuses more than 16 million numbers: the rows go in 100 parts
    parts, levels = torch.tensor(ensemble).chunk(100), torch.tensor(LEVELS)
    return seconds(lambda: [part.quantile(levels, dim=1) for part in parts], repeats=1)


def time_torch_cdf(edges: Array, masses: Array, y: Array) -> float:
    low, high = (torch.tensor(end).expand(masses.shape) for end in (edges[:-1], edges[1:]))
    mixture: Any = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=torch.tensor(masses), validate_args=False),
        torch.distributions.Uniform(low, high, validate_args=False),
        validate_args=False,
    )
    at = torch.tensor(y)
    return seconds(lambda: mixture.cdf(at))


def time_skpro(edges: Array, masses: Array, call: Callable[[Histogram], Any]) -> float:
    some = masses[:SKPRO_ROWS]
    bins, mass = [[edges.tolist()] for _ in some], [[row.tolist()] for row in some]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = Histogram(bins, mass, index=pd.RangeIndex(len(some)), columns=pd.RangeIndex(1))
        return seconds(lambda: call(peer), repeats=1) * len(masses) / len(some)


def peak_copies(edges: Array, masses: Array, y: Array) -> float:
    """Peak memory of building and using a distribution, in copies of the masses, the caller's included."""
    tracemalloc.start()
    fresh = BinnedDistribution(edges, masses)
    fresh.crps(y)
    fresh.quantile(LEVELS)
    fresh.cdf(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return 1 + peak / masses.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--cells", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(1)

    rng = np.random.default_rng(0)
    edges = np.sort(rng.normal(size=args.cells + 1))
    masses = rng.dirichlet(np.ones(args.cells), size=args.rows)
    y = rng.uniform(edges[0], edges[-1], args.rows)
    ours = BinnedDistribution(edges, masses)
    ensemble = ours.sample(MEMBERS, seed=0)
    columns = y[:SKPRO_ROWS, None]

    own = {
        "construction": seconds(lambda: BinnedDistribution(edges, masses)),
        "crps": seconds(lambda: ours.crps(y)),
        "quantile": seconds(lambda: ours.quantile(LEVELS)),
        "cdf": seconds(lambda: ours.cdf(y)),
    }
    peers = [
        ("crps", f"scoringrules, {MEMBERS:,} members", time_scoringrules(ensemble, y)),
        (
            "quantile",
            "skpro Histogram",
            time_skpro(edges, masses, lambda d: [d.ppf(np.full_like(columns, level)) for level in LEVELS]),
        ),
        ("quantile", f"torch.quantile, {MEMBERS:,} members", time_torch_quantile(ensemble)),
        ("cdf", "skpro Histogram", time_skpro(edges, masses, lambda d: d.cdf(columns))),
        ("cdf", "torch mixture of uniforms", time_torch_cdf(edges, masses, y)),
    ]

    print(f"{args.rows:,} rows x {args.cells} cells; construction {own['construction'] * 1e3:.0f} ms")
    print(f"{'':10}{'ours':>10}{'peer':>13}{'ratio':>10}")
    for name, peer, taken in peers:
        print(f"{name:10}{own[name] * 1e3:7.1f} ms{taken * 1e3:10.0f} ms{taken / own[name]:9.1f}x  {peer}")
    copies = peak_copies(edges, masses, y)
    print(f"peak memory: {copies:.2f} copies of the masses, the caller's own included")


if __name__ == "__main__":
    main()
