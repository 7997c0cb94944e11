"""XGBRegressor, LightGBM, CatBoost, NGBoost, pytabkit's models and ours, each at its defaults, on real tables.

    OMP_NUM_THREADS=1 python benchmarks/peers.py --data-dir DIR
    OMP_NUM_THREADS=1 python benchmarks/peers.py --data-dir DIR --models xgboost realmlp_td --tables sml --splits 0 1 2
    python benchmarks/peers.py --report --against catboost
    python benchmarks/peers.py --report --splits 0 1 --tables kin8nm power

Needs the extra "peers"; a model whose package is missing is left out, with a line that says so. All models of a split
see the same rows, watch the same validation rows (a fifth of the training rows) and have one thread; how each is given
categories and missing values stands in _peers.py. Lines are added to a CSV file after every fit, and what stands
there is not run again; the predictions on the test rows are kept in a folder, an .npz for each fit.

A model of points alone gets two distributions: a normal one with the deviation of its validation residuals (crps and
coverage_90), and local residuals by DistributionCalibrator (crps_residuals and coverage_90_residuals; "+ residuals" in
the report). Times are those of the processor: of the fit, of points for the test rows, and of their distributions.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _boosters import LEVELS, Part, Split, normal
from _data import RESULTS, TABLES, Array, Results, data_folder, geometric_mean, read_table, split
from _peers import ALTERNATIVES, Alternative, Fitted, installed, prepare

from bridges_tabular import BinnedDistribution, DistributionCalibrator
from bridges_tabular.core import scores

BASELINE = "xgboost"
POOL, POOLED = "bridge_pool", ["bridge_network", "bridge_catboost"]
RESIDUALS = " + residuals"
KEY = ["table", "rows", "split", "model"]
SCORES = ["rmse", "mae", "crps", "coverage_90", "crps_residuals", "coverage_90_residuals"]
COLUMNS = [*KEY, "version", "n_train", *SCORES, "fit_seconds", "predict_seconds", "distribution_seconds"]


def measure(alternative: Alternative, parts: Split, seed: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """Scores and times of one fit, and what it predicts for the test rows."""
    y = parts.test.y
    clock = time.process_time()
    fitted = alternative.fit(parts, seed)
    fit_seconds, clock = time.process_time() - clock, time.process_time()
    point = fitted.point(parts.test)
    predict_seconds, clock = time.process_time() - clock, time.process_time()
    line = {"fit_seconds": fit_seconds, "predict_seconds": predict_seconds}
    if fitted.distribution is not None:
        distribution = fitted.distribution(parts.test)
        line["distribution_seconds"] = time.process_time() - clock
    else:
        distribution, residuals = from_points(fitted, parts, point)
        line |= scored(residuals, y, "_residuals")
    line |= {"rmse": scores.rmse(y, point), "mae": scores.mae(y, point), **scored(distribution, y)}
    return line, {"y": y, "point": point, "levels": LEVELS, "quantiles": distribution.quantile(LEVELS)}


def from_points(fitted: Fitted, parts: Split, point: Array) -> tuple[BinnedDistribution, BinnedDistribution]:
    """Distributions of the test rows from the residuals of the validation rows: normal ones, and local ones."""
    watched, y = fitted.point(parts.validation), parts.validation.y
    _, gaussian = normal(point, np.full(len(point), scores.rmse(y, watched)))
    assert gaussian is not None
    return gaussian, DistributionCalibrator().fit(None, None, watched, y, y_train=parts.train.y).predict(None, point)


def scored(distribution: BinnedDistribution, y: Array, suffix: str = "") -> dict[str, float]:
    """CRPS and coverage."""
    coverage = scores.coverage(distribution.interval(0.9), y)
    return {f"crps{suffix}": scores.crps(distribution, y), f"coverage_90{suffix}": coverage}


def keep(path: Path, predictions: dict[str, Array]) -> None:
    """Write predictions, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(file, **predictions)  # type: ignore[arg-type]
    part.replace(path)


def run(asked: argparse.Namespace, results: Results) -> int:
    """Fit what the results do not hold yet; returns how many fits failed."""
    prepare()
    folder = data_folder(asked.data_dir)
    failed = 0
    # splits outside, then models: a run that is stopped has the first models on every table
    for seed, model in itertools.product(asked.splits, list(installed(asked.models))):
        for table in asked.tables:
            X, y = read_table(folder, table)
            rows = min(asked.rows or len(y), len(y))
            key = {"table": table, "rows": rows, "split": seed, "model": model}
            if results.has(**key):
                continue
            parts = Split(*(Part.of(*part) for part in split(X, y, rows, seed)))
            try:
                line, predictions = measure(ALTERNATIVES[model], parts, seed)
            # whatever goes wrong in a library, the others are to be measured
            except Exception as error:
                print(f"{table:12} {seed} {model} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                failed += 1
                continue
            keep(asked.predictions / f"{table}-{rows}-{seed}-{model}.npz", predictions)
            results.add(**key, version=ALTERNATIVES[model].version, n_train=len(parts.train.y), **line)
            found = f"rmse {line['rmse']:.5g} crps {line['crps']:.5g} {line['fit_seconds']:.1f} s"
            print(f"{table:12} {seed} {model:22} {found}", flush=True)
    return failed


def with_residuals(frame: pd.DataFrame) -> pd.DataFrame:
    """A second line for each fit that has local residuals: points are the same, CRPS and coverage are theirs."""
    second = frame[frame["crps_residuals"].notna()]
    columns = {"crps": second["crps_residuals"], "coverage_90": second["coverage_90_residuals"]}
    second = second.assign(model=second["model"] + RESIDUALS, **columns)
    return pd.concat([frame, second], ignore_index=True)


def ratios(frame: pd.DataFrame, score: str, against: str) -> pd.DataFrame:
    """Ratio to a model, by table and model: the geometric mean over the splits that both have."""
    wide = frame.pivot_table(index=["table", "split"], columns="model", values=score, sort=False)
    logs = wide.div(wide[against], axis=0).map(np.log)
    order = [model for name in ALTERNATIVES for model in (name, name + RESIDUALS) if model in logs]
    tables = [table for table in TABLES if table in logs.index.get_level_values("table")]
    return logs.groupby(level="table").mean().map(np.exp).loc[tables, order]


def report(frame: pd.DataFrame, against: list[str]) -> None:
    """Print the ratios to each of the models, and then those of every table."""
    # a table is judged at its largest size
    frame = with_residuals(frame[frame["rows"] == frame.groupby("table")["rows"].transform("max")])
    for other in against:
        if other not in set(frame["model"]):
            print(f"\nno results of {other}")
            continue
        print(f"\nRatios to {other}: geometric mean over tables +- standard error, median, better on, worst table")
        for score in ("rmse", "mae", "crps"):
            _report_score(frame, score, other)
        times = {score: ratios(frame, f"{score}_seconds", other) for score in ("fit", "predict")}
        print("\nprocessor time / that of it, geometric mean: fit, predict points; seconds to fit, median and most")
        for model in map(str, times["fit"]):
            if not model.endswith(RESIDUALS):
                means = [geometric_mean(time[model].dropna().to_numpy())[0] for time in times.values()]
                seconds = frame.loc[frame["model"] == model, "fit_seconds"]
                print(f"  {model:32} {means[0]:8.2f} {means[1]:8.2f} {seconds.median():8.1f} {seconds.max():8.1f}")
    _report_pool(frame)
    print("\n90 % intervals hold, mean over tables and splits, and the least and most of a table")
    for model, part in [(str(name), part) for name, part in frame.groupby("model", sort=False)]:
        hold = part.groupby("table")["coverage_90"].mean()
        print(f"  {model:32} {hold.mean():.3f} {hold.min():.3f} {hold.max():.3f}")
    for score in ("rmse", "crps"):
        for other in [name for name in against if name in set(frame["model"])]:
            table = ratios(frame, score, other)
            if score == "rmse":
                table = table.loc[:, ~table.columns.str.endswith(RESIDUALS)]
            print(f"\n{score.upper()} / that of {other}")
            print(table.round(3).to_string())


def _report_score(frame: pd.DataFrame, score: str, against: str) -> None:
    print(f"\n{score.upper()}")
    table = ratios(frame, score, against)
    for model in table.columns.drop(against):
        values = table[model].dropna()
        if values.empty or (score != "crps" and model.endswith(RESIDUALS)):
            continue
        mean, error = geometric_mean(values.to_numpy())
        spread = f"{mean:.3f} +- {error:.3f}  {values.median():.3f}  {(values < 1).sum():2d} of {len(values):2d}"
        print(f"  {model:32} {spread}  {values.max():.3f} ({values.idxmax()})")


def _report_pool(frame: pd.DataFrame) -> None:
    """On how many tables the pool is better than each of its members."""
    for score in ("rmse", "crps"):
        wide = frame.pivot_table(index=["table", "split"], columns="model", values=score)
        if not {POOL, *POOLED} <= set(wide):
            return
        logs = wide[[POOL, *POOLED]].dropna().map(np.log).groupby(level="table").mean()
        better = int((logs[POOL] < logs[POOLED].min(axis=1)).sum())
        print(f"\n{score.upper()} of {POOL} is below that of each of its members on {better} of {len(logs)} tables")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--models", nargs="+", default=list(ALTERNATIVES), choices=list(ALTERNATIVES))
    parser.add_argument("--rows", type=int, default=6_000, help="at most so many rows of a table; 0: all")
    parser.add_argument("--splits", nargs="+", type=int, default=[0], help="the seeds of the splits")
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.csv")
    parser.add_argument("--predictions", type=Path, default=RESULTS.parent / "runs" / "peers", help="their folder")
    parser.add_argument("--report", action="store_true", help="print what stands in the file, run nothing")
    parser.add_argument("--against", nargs="+", default=[BASELINE], help="print ratios to these models")
    asked = parser.parse_args()
    results = Results(asked.out, KEY, COLUMNS)
    failed = 0 if asked.report else run(asked, results)
    frame = results.frame()
    frame = frame[frame["split"].isin(asked.splits) & frame["table"].isin(asked.tables)]
    if not frame.empty:
        report(frame, asked.against)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
