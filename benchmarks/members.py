"""What each choice in the default network is worth, on rows that no other benchmark tests on.

    OMP_NUM_THREADS=1 python benchmarks/members.py --data-dir DIR
    OMP_NUM_THREADS=1 python benchmarks/members.py --data-dir DIR --variants default "no members" --tables yacht
    python benchmarks/members.py --report

Rows of ten tables, at most 5,000, permuted with seed 5, a fifth to test and a fifth of the rest to watch; one
thread. The defaults of networks were chosen on these, so they say what a choice is worth, not how good the network is:
that is what peers.py says. Lines are added to a CSV file after every fit, and what stands there is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import torch
from _data import RESULTS, Results, data_folder, geometric_mean, read_table, split

from bridges_tabular import BinnedDistribution, TabularBridgeRegressor
from bridges_tabular.core import scores
from bridges_tabular.tabular import defaults

TABLES = ["airfoil", "concrete", "yacht", "sml", "abalone", "cpu_act", "california", "elevators", "naval", "parkinsons"]
ROWS, SEED = 5_000, 5
BASELINE = "default"
KEY = ["table", "variant"]
COLUMNS = [*KEY, "rmse", "crps", "coverage_90", "fit_seconds"]


def network(
    rate: float | None = None, steps: int | None = None, batches: int = 1, **backbone_params: Any
) -> dict[str, Any]:
    """A variant: rate and steps of the optimiser, batches of so many times the rows, and the backbone's parameters."""
    params = {"learning_rate": rate, "backbone_params": backbone_params}
    return {"steps": steps, "batches": batches, "params": params}


def other(**params: Any) -> dict[str, Any]:
    """A variant: parameters of the regressor."""
    return {"steps": None, "batches": 1, "params": params}


SLOW = 3e-3
VARIANTS: dict[str, dict[str, Any]] = {
    BASELINE: network(),
    "no members, as before": other(backbone="CategoryEmbeddingModelConfig"),
    "6 members, 6,000 steps": network(steps=6_000, n_members=6),
    "over bins alone": other(least_squares_share=0.0),
    "least squares alone": other(scheme="least_squares"),
    "batch ensemble": network(sharing="batch_ensemble"),
    "dropout 0.05": network(dropout=0.05),
    "learning rate 4e-3, 5,000 steps": network(4e-3, steps=5_000),
    "learning rate 3e-3": network(SLOW),
    "learning rate 3e-3, 8,000 steps": network(SLOW, steps=8_000),
    "learning rate 3e-3, 6 members, 6,000 steps": network(SLOW, steps=6_000, n_members=6),
    "learning rate 3e-3, 4 members, 2,000 steps": network(SLOW, steps=2_000, n_members=4),
    "learning rate 3e-3, 2,000 steps, twice the batch": network(SLOW, steps=2_000, batches=2),
    "learning rate 3e-3, piecewise-linear embeddings alone": network(SLOW, embedding="piecewise_linear"),
    "the same, 2,000 steps": network(SLOW, steps=2_000, embedding="piecewise_linear"),
}


def model_of(variant: dict[str, Any], rows: int) -> TabularBridgeRegressor:
    """The regressor for so many training rows."""
    params = dict(variant["params"])
    batch = defaults.batch_size(rows) * variant["batches"]
    if variant["batches"] > 1:
        params["batch_size"] = batch
    if variant["steps"] is not None:
        epochs = -(-variant["steps"] // -(-rows // batch))
        params["max_epochs"] = min(max(epochs, 30), defaults.MOST_EPOCHS)
    return TabularBridgeRegressor(random_state=0, **params)


def run(folder: Path, tables: list[str], variants: list[str], results: Results) -> None:
    """Fit what the results do not hold yet."""
    torch.set_num_threads(1)
    for variant, table in itertools.product(variants, tables):
        if results.has(table=table, variant=variant):
            continue
        train, watched, (X, y) = split(*read_table(folder, table), ROWS, SEED)
        model = model_of(VARIANTS[variant], len(train[1]))
        start = time.process_time()
        model.fit(*train, eval_set=watched)
        seconds = time.process_time() - start
        distribution = model.predict_distribution(X)
        assert isinstance(distribution, BinnedDistribution)
        line = {"rmse": scores.rmse(y, model.predict(X)), "crps": scores.crps(distribution, y)}
        line |= {"coverage_90": scores.coverage(distribution.interval(0.9), y), "fit_seconds": seconds}
        results.add(table=table, variant=variant, **line)
        print(f"{table:12} {variant:54} rmse {line['rmse']:.5g} {seconds:.1f} s", flush=True)


def report(results: Results) -> None:
    """Print the ratios of every variant to the default, and those of each table."""
    frame = results.frame()
    print("Ratio to the default, geometric mean: RMSE +- standard error, worst, CRPS, processor time; 90 % hold")
    wide = {score: frame.pivot_table(index="table", columns="variant", values=score) for score in COLUMNS[2:]}
    for variant in [name for name in VARIANTS if name in wide["rmse"]]:
        ratios = {score: (table[variant] / table[BASELINE]).dropna().to_numpy() for score, table in wide.items()}
        mean, error = geometric_mean(ratios["rmse"])
        crps, seconds = (geometric_mean(ratios[score])[0] for score in ("crps", "fit_seconds"))
        hold = wide["coverage_90"][variant].mean()
        print(
            f"  {variant:54} {mean:.3f} +- {error:.3f} {ratios['rmse'].max():.3f} {crps:.3f} {seconds:.2f}  {hold:.3f}"
            f"  ({len(ratios['rmse'])} tables)"
        )
    print("\nRMSE / that of the default")
    print(wide["rmse"].div(wide["rmse"][BASELINE], axis=0).T.round(3).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=RESULTS / "members.csv")
    parser.add_argument("--report", action="store_true", help="print what stands in the file, run nothing")
    asked = parser.parse_args()
    results = Results(asked.out, KEY, COLUMNS)
    if not asked.report:
        run(data_folder(asked.data_dir), asked.tables, asked.variants, results)
    report(results)


if __name__ == "__main__":
    main()
