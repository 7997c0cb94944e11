"""What a choice in a default is worth: variants of one regressor, on rows that no other benchmark tests on.

Rows of ten tables, at most 5,000, permuted with seed 5, a fifth to test and a fifth of the rest to watch; one thread.
Defaults were chosen on these, so they say what a choice is worth, not how good a model is: that is what peers.py says.
Lines are added to a CSV file after every fit, and what stands there is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from _data import RESULTS, Results, data_folder, geometric_mean, read_table, split

from bridges_tabular import BinnedDistribution, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.core import scores

TABLES = ["airfoil", "concrete", "yacht", "sml", "abalone", "cpu_act", "california", "elevators", "naval", "parkinsons"]
ROWS, SEED = 5_000, 5
BASELINE = "default"
KEY = ["table", "variant"]
COLUMNS = [*KEY, "rmse", "crps", "coverage_90", "fit_seconds"]
# the regressor of a variant, for so many training rows
Variants = Mapping[str, Callable[[int], TabularBridgeRegressor | XGBBridgeRegressor]]


def run(folder: Path, tables: list[str], variants: Variants, results: Results) -> None:
    """Fit what the results do not hold yet."""
    torch.set_num_threads(1)
    for variant, table in itertools.product(variants, tables):
        if results.has(table=table, variant=variant):
            continue
        train, watched, (X, y) = split(*read_table(folder, table), ROWS, SEED)
        model = variants[variant](len(train[1]))
        start = time.process_time()
        model.fit(*train, eval_set=watched)
        seconds = time.process_time() - start
        distribution = model.predict_distribution(X)
        assert isinstance(distribution, BinnedDistribution)
        line = {"rmse": scores.rmse(y, model.predict(X)), "crps": scores.crps(distribution, y)}
        line |= {"coverage_90": scores.coverage(distribution.interval(0.9), y), "fit_seconds": seconds}
        results.add(table=table, variant=variant, **line)
        print(f"{table:12} {variant:66} rmse {line['rmse']:.5g} {seconds:.1f} s", flush=True)


def report(results: Results, variants: Variants) -> None:
    """Print the ratios of every variant to the default, and those of each table."""
    frame = results.frame()
    print("Ratio to the default, geometric mean: RMSE +- standard error, worst, CRPS, processor time; 90 % hold")
    wide = {score: frame.pivot_table(index="table", columns="variant", values=score) for score in COLUMNS[2:]}
    for variant in [name for name in variants if name in wide["rmse"]]:
        ratios = {score: (table[variant] / table[BASELINE]).dropna().to_numpy() for score, table in wide.items()}
        mean, error = geometric_mean(ratios["rmse"])
        crps, seconds = (geometric_mean(ratios[score])[0] for score in ("crps", "fit_seconds"))
        hold = wide["coverage_90"][variant].mean()
        print(
            f"  {variant:66} {mean:.3f} +- {error:.3f} {ratios['rmse'].max():.3f} {crps:.3f} {seconds:.2f}  {hold:.3f}"
            f"  ({len(ratios['rmse'])} tables)"
        )
    print("\nRMSE / that of the default")
    print(wide["rmse"].div(wide["rmse"][BASELINE], axis=0).T.round(3).to_string())


def main(description: str | None, variants: Variants, name: str) -> None:
    """The command of a benchmark whose results are in a file of this name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--variants", nargs="+", default=list(variants), choices=list(variants))
    parser.add_argument("--out", type=Path, default=RESULTS / name)
    parser.add_argument("--report", action="store_true", help="print what stands in the file, run nothing")
    asked = parser.parse_args()
    results = Results(asked.out, KEY, COLUMNS)
    if not asked.report:
        run(data_folder(asked.data_dir), asked.tables, {name: variants[name] for name in asked.variants}, results)
    report(results, variants)
