"""Accuracy and time of XGBBridgeRegressor against XGBoost and its probabilistic relatives, in one run.

    BRIDGES_TABULAR_DATA=... OMP_WAIT_POLICY=passive python benchmarks/boosting.py [--seeds 3] [--tables concrete pol]

At most 10,000 rows of each table, split 64/16/20 into training, validation and test rows; all models see the same
rows, at their documented defaults, with two threads. Rows of ``benchmarks/results/boosting.csv`` that are already there
are not run again; ``--report`` only prints what they say. Needs ngboost, xgboost-distribution, ordboost and
quantile-forest.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from _boosters import (
    THREADS,
    Outcome,
    Part,
    Split,
    ngboost,
    ordboost,
    point,
    quantile_forest,
    quantiles,
    xgb_distribution,
)

from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.boosting.engine import BoostedBridge
from bridges_tabular.core import scores

# fmt: off
TABLES = [
    "concrete", "abalone", "power", "california", "kin8nm", "bike_hour",
    "cpu_act", "elevators", "protein", "diamonds", "energy", "pol",
]
# fmt: on
SOFTPROB_TABLES = ("concrete", "kin8nm", "california")
MAX_ROWS = 10_000
RESULTS = Path(__file__).parent / "results" / "boosting.csv"
SCORES = ["rmse", "crps", "coverage_90", "pit_coverage_90"]
COLUMNS = ["table", "seed", "model", "rows", *SCORES, "fit_seconds", "cpu_seconds", "predict_seconds", "rounds"]


def load(data: Path, name: str, seed: int) -> Split:
    """Read a table and split it."""
    entry = yaml.safe_load((data / "datasets.yaml").read_text())[name]
    frame = pd.read_csv(data / entry["file"])
    order = np.random.default_rng(seed).permutation(len(frame))[:MAX_ROWS]
    frame = frame.iloc[order].reset_index(drop=True)
    y = frame.pop(entry["target"]).to_numpy(dtype=np.float64)
    for column in entry["categorical"]:
        frame[column] = frame[column].astype("category")
    n_train, n_fit = round(0.64 * len(y)), round(0.8 * len(y))
    cuts = slice(0, n_train), slice(n_train, n_fit), slice(n_fit, None)
    return Split(*(Part.of(frame.iloc[rows], y[rows]) for rows in cuts))


def bridge(seed: int, **params: Any) -> Callable[[Split], Outcome]:
    def fit(split: Split) -> Outcome:
        model = XGBBridgeRegressor(n_jobs=THREADS, random_state=seed, **params)
        model.fit(split.train.X, split.train.y, eval_set=(split.validation.X, split.validation.y))
        logs = model.evals_result_
        assert isinstance(logs, dict)
        rounds = sum(len(next(iter(log.values()))) for log in logs.values())
        return Outcome(lambda part: (model.predict(part.X), model.predict_distribution(part.X)), rounds)

    return fit


def location_alone(seed: int) -> Callable[[Split], Outcome]:
    """The default's cross-fitted location without the bins on what it leaves; points only."""

    def fit(split: Split) -> Outcome:
        model = XGBBridgeRegressor(n_jobs=THREADS, random_state=seed, calibration="none")
        model.fit(split.train.X, split.train.y, eval_set=(split.validation.X, split.validation.y))
        trained = model._trained
        assert isinstance(trained, BoostedBridge)
        location, features = trained.location, trained.features
        assert location is not None

        def predict(part: Part) -> tuple[Any, None]:
            standard = location.predict(part.X, features.values(part.X))
            return model.scale_.restore(standard[:, None])[:, 0], None

        return Outcome(predict, 0)

    return fit


def softprob(seed: int, rounds: int) -> Callable[[Split], Outcome]:
    """Bins on the target by ``multi:softprob``, for as many rounds as the default model trained."""
    stages = {"n_estimators": rounds, "early_stopping_rounds": rounds, "calibration": "none"}
    return bridge(seed, scheme="hard", location="none", **stages)


def models(seed: int, softprob_rounds: int | None) -> dict[str, Callable[[Split], Outcome]]:
    """All models of a table, those whose times are compared one after the other."""
    chosen: dict[str, Callable[[Split], Outcome]] = {
        "bridge": bridge(seed),
        "xgboost": point(seed),
        "bridge_128": bridge(seed, n_bins=128),
        "xgboost_subsample": point(seed, learning_rate=0.1, subsample=0.8),
        "quantiles": quantiles(seed),
        "ngboost": ngboost(seed),
        "xgboost_distribution": xgb_distribution(seed),
        "ordboost": ordboost(seed),
        "quantile_forest": quantile_forest(seed),
        "bridge_target": bridge(seed, location="none"),
        "soft": bridge(seed, scheme="soft"),
        "uncalibrated": bridge(seed, calibration="none"),
        "local_residuals": bridge(seed, scheme="least_squares"),
        "location_alone": location_alone(seed),
    }
    if softprob_rounds is not None:
        chosen["softprob"] = softprob(seed, softprob_rounds)
    return chosen


def measure(fit: Callable[[Split], Outcome], split: Split) -> dict[str, float]:
    """Scores on the test rows, and times in seconds."""
    clock = time.perf_counter(), time.process_time()
    outcome = fit(split)
    fitted = time.perf_counter(), time.process_time()
    mean, distribution = outcome.predict(split.test)
    predicted = time.perf_counter()
    result = {
        "rmse": scores.rmse(split.test.y, mean),
        "fit_seconds": fitted[0] - clock[0],
        "cpu_seconds": fitted[1] - clock[1],
        "predict_seconds": predicted - fitted[0],
        "rounds": outcome.rounds,
    }
    if distribution is not None:
        result["crps"] = scores.crps(distribution, split.test.y)
        result["coverage_90"] = scores.coverage(distribution.interval(0.9), split.test.y)
        # an atom is in the interval or not: only a randomised transform can come to 90 % where there are some
        result["pit_coverage_90"] = float(np.mean(np.abs(distribution.pit(split.test.y) - 0.5) <= 0.45))
    return result


def run(data: Path, tables: list[str], seeds: list[int], only: list[str] | None, path: Path) -> None:
    """Measure what the results do not hold yet, one line at a time."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(",".join(COLUMNS) + "\n")
    with path.open() as file:
        rounds = {(row["table"], row["seed"], row["model"]): int(row["rounds"]) for row in csv.DictReader(file)}
    for seed in seeds:
        for table in tables:
            split = load(data, table, seed)
            for name in models(seed, 1):
                key = table, str(seed), name
                ours = rounds.get((table, str(seed), "bridge"))
                fit = models(seed, ours if table in SOFTPROB_TABLES else None).get(name)
                if fit is None or key in rounds or (only and name not in only):
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = measure(fit, split)
                rounds[key] = int(result["rounds"])
                row = {"table": table, "seed": seed, "model": name, "rows": len(split.train.y)}
                row |= {score: f"{value:.6g}" for score, value in result.items()}
                with path.open("a", newline="") as file:
                    csv.DictWriter(file, COLUMNS).writerow(row)
                print(" ".join(f"{column}={row.get(column, '')}" for column in COLUMNS), flush=True)


PEERS = ["ngboost", "xgboost_distribution", "ordboost", "quantile_forest"]


def report(path: Path) -> None:
    """Print all ratios and the targets: geometric means over the seeds that both models have, then over tables."""
    results = pd.read_csv(path)
    shared = results.groupby(["table", "seed"])["model"].agg(set)
    runs = results.set_index(["model", "table", "seed"])
    order = list(results["table"].unique())

    def column(score: str, model: str) -> pd.Series[float]:
        if model not in runs.index.get_level_values(0):
            return pd.Series(np.nan, index=pd.MultiIndex.from_product([order, [0]]))
        values: pd.Series[float] = runs.loc[model][score]
        return values

    def mean(values: pd.Series[float]) -> pd.Series[float]:
        averages: pd.Series[float] = values.map(np.log).groupby(level=0).mean().map(np.exp).reindex(order)
        return averages

    def ratio(score: str, model: str, other: str) -> pd.Series[float]:
        return mean(column(score, model) / column(score, other))

    best_peer = pd.concat([column("crps", peer) for peer in PEERS], axis=1).dropna().min(axis=1)
    ratios = pd.DataFrame(
        {
            "rmse/xgb": ratio("rmse", "bridge", "xgboost"),
            "rmse/sub": ratio("rmse", "bridge", "xgboost_subsample"),
            "crps/q19": ratio("crps", "bridge", "quantiles"),
            "crps/resid": ratio("crps", "bridge", "xgboost"),
            "crps/sub": ratio("crps", "bridge", "xgboost_subsample"),
            "crps/peer": mean(column("crps", "bridge") / best_peer),
            **{f"crps/{peer[:8]}": ratio("crps", "bridge", peer) for peer in PEERS},
            "cover": mean(column("coverage_90", "bridge")),
            "pit cover": mean(column("pit_coverage_90", "bridge")),
            "time/xgb": ratio("fit_seconds", "bridge", "xgboost"),
            "cpu/xgb": ratio("cpu_seconds", "bridge", "xgboost"),
            "time128/32": ratio("fit_seconds", "bridge_128", "bridge"),
            "softprob/time": ratio("fit_seconds", "softprob", "bridge"),
        }
    )
    averages = ratios.apply(_geometric_mean)
    without_pol = ratios.drop(index="pol", errors="ignore").apply(_geometric_mean)
    print(ratios.round(3).to_string())
    print(pd.DataFrame({"GM": averages, "GM without pol": without_pol}).T.round(3).to_string())
    print(f"\nseeds per table: {shared.groupby('table').size().to_dict()}")
    print("other models, GM of RMSE / xgboost, CRPS / quantiles, time / xgboost:")
    for model in results["model"].unique():
        figures = [ratio("rmse", model, "xgboost"), ratio("crps", model, "quantiles")]
        figures.append(ratio("fit_seconds", model, "xgboost"))
        cover = column("coverage_90", model)
        print(f"  {model:22}", *(f"{_geometric_mean(f):6.3f}" for f in figures), f"coverage {cover.mean():.3f}")
    _report_first_split(results)
    targets = [
        ("RMSE / XGBRegressor, GM", averages["rmse/xgb"], 0.95),
        ("the same without pol", without_pol["rmse/xgb"], 0.97),
        ("the same, worst table", ratios["rmse/xgb"].max(), 1.02),
        ("CRPS / 19 quantiles, GM", averages["crps/q19"], 0.82),
        ("the same, worst table", ratios["crps/q19"].max(), 1.00),
        ("CRPS / validation residuals, GM", averages["crps/resid"], 0.86),
        ("CRPS / best peer of each table, GM", averages["crps/peer"], 0.90),
        ("coverage of 90 % intervals, worst below .91", 0.91 + (0.91 - ratios["cover"]).abs().max(), 0.95),
        ("time / XGBRegressor, GM", averages["time/xgb"], 2.2),
        ("the same, third slowest table", ratios["time/xgb"].nlargest(3).iloc[-1], 3.0),
        ("time of k = 128 / k = 32, GM", averages["time128/32"], 1.2),
        ("time / multi:softprob, slowest", 1 / ratios["softprob/time"].min(), 0.1),
    ]
    print("\ntargets:")
    for name, value, limit in targets:
        print(f"  {'met   ' if value <= limit else 'MISSED'} {name}: {value:.3f} <= {limit}")


def _report_first_split(results: pd.DataFrame) -> None:
    """Print what the variants of the default, which have one split alone, differ in."""
    first = results[results["seed"] == results["seed"].min()]
    rmse, crps = (first.pivot(index="table", columns="model", values=score) for score in ("rmse", "crps"))
    print("\non the first split, GM of RMSE / xgboost, its worst table, and GM of RMSE and CRPS / bridge:")
    for model in results["model"].unique():
        against = rmse[model] / rmse["xgboost"]
        worst = f"worst {against.max():.3f} ({against.idxmax()})"
        ours = [_geometric_mean(score[model] / score["bridge"]) for score in (rmse, crps)]
        print(f"  {model:22} {_geometric_mean(against):6.3f} {worst:24} {ours[0]:6.3f} {ours[1]:6.3f}")


def _geometric_mean(values: pd.Series[float]) -> float:
    return float(np.exp(np.log(values.dropna()).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BRIDGES_TABULAR_DATA"))
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only print what the results say")
    options = parser.parse_args()
    if not options.report:
        if options.data_dir is None:
            parser.error("say where the tables are: --data-dir or BRIDGES_TABULAR_DATA")
        seeds = list(range(options.first_seed, options.first_seed + options.seeds))
        run(Path(options.data_dir), options.tables, seeds, options.models, options.results)
    report(options.results)


if __name__ == "__main__":
    main()
