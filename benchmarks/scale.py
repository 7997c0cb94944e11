"""Time and memory of fit and predict as the rows, the columns and the bins grow, on a simulated table.

    OMP_NUM_THREADS=1 python benchmarks/scale.py
    OMP_NUM_THREADS=1 python benchmarks/scale.py --engines boosting xgboost --rows 1000000 10000000 --rounds 20
    python benchmarks/scale.py --report

Rounds or epochs are fixed, a fifth of the rows is held out for validation, and all models run on one thread. Each
measurement has a process of its own, whose peak memory counts; times are the processor's. Of so many other rows as
given by --predict, points and three quantiles are predicted. "external" is the boosting engine on parquet files, which
it streams; their rows are never in memory together. "files" is the same where not even XGBoost's quantised matrices are
in memory, as on a machine that has little of it. "dask-1" and "dask-2" are DaskXGBBridgeRegressor on one and two
workers of one thread each: times are the busiest worker's, memory that of the largest. "calibration" is the part of the
fit that makes distributions of the model's outputs, forecasts of its rows included. What stands in the CSV file is not
run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _data import RESULTS, Array, Results, peak_of_this_process
from numpy.typing import NDArray

KEY = ["engine", "rows", "columns", "bins", "rounds"]
TIMES = ["fit_seconds", "calibration_seconds", "predict_seconds", "quantiles_seconds"]
COLUMNS = [*KEY, *TIMES, "predicted_rows", "table_megabytes", "fit_megabytes", "peak_megabytes"]
ROWS = [10_000, 30_000, 100_000, 300_000, 1_000_000]
LEVELS = [0.05, 0.5, 0.95]
PART_ROWS = 250_000


def boosting(bins: int, rounds: int) -> Any:
    from bridges_tabular import XGBBridgeRegressor

    # the location's rounds; the trees over bins take at most a third of them
    return XGBBridgeRegressor(n_bins=bins, n_estimators=rounds, n_jobs=1, verbosity=0)


def tabular(bins: int, rounds: int) -> Any:
    from bridges_tabular import TabularBridgeRegressor

    return TabularBridgeRegressor(n_bins=bins, max_epochs=rounds)


def xgboost(bins: int, rounds: int) -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=rounds, learning_rate=0.1, subsample=0.8, n_jobs=1, verbosity=0)


def catboost(bins: int, rounds: int) -> Any:
    from catboost import CatBoostRegressor

    return CatBoostRegressor(iterations=rounds, thread_count=1, verbose=False, allow_writing_files=False)


def dask(bins: int, rounds: int) -> Any:
    from bridges_tabular import DaskXGBBridgeRegressor

    return DaskXGBBridgeRegressor(n_bins=bins, n_estimators=rounds, verbosity=0)


ENGINES: dict[str, Callable[[int, int], Any]] = {
    "boosting": boosting,
    "external": boosting,
    "files": boosting,
    "dask-1": dask,
    "dask-2": dask,
    "tabular": tabular,
    "xgboost": xgboost,
    "catboost": catboost,
}


def table(rows: int, columns: int, seed: int) -> tuple[NDArray[np.float32], Array]:
    """Numbers in single precision, and a nonlinear target whose noise varies."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, columns), dtype=np.float32)
    noise = (0.2 + 0.3 * np.abs(X[:, 3])) * rng.standard_normal(rows, dtype=np.float32)
    return X, (2 * X[:, 0] + np.sin(3 * X[:, 1]) * X[:, 2] + noise).astype(np.float64)


def write_parts(folder: Path, rows: int, columns: int) -> None:
    """A table as parquet files of 250,000 rows, each made by itself."""
    for part, start in enumerate(range(0, rows, PART_ROWS)):
        X, y = table(min(PART_ROWS, rows - start), columns, part)
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(columns)]).assign(y=y)
        frame.to_parquet(folder / f"{part:05}.parquet")


def measure(engine: str, rows: int, columns: int, bins: int, rounds: int, predicted: int) -> dict[str, float]:
    """One fit, and predictions, in this process."""
    warnings.simplefilter("ignore")
    # what is imported on first use belongs to no fit
    ENGINES[engine](bins, 1).fit(*table(500, 4, 2))
    model = ENGINES[engine](bins, rounds)
    new, _ = table(predicted, columns, 1)
    folder = tempfile.TemporaryDirectory()
    X: Any = folder.name
    y: Any = "y"
    if engine == "files":
        from bridges_tabular.boosting import quantised

        quantised.fits_in_memory = lambda values: False
    if engine in ("external", "files"):
        write_parts(Path(folder.name), rows, columns)
    else:
        X, y = table(rows, columns, 0)
    found: dict[str, float] = {"table_megabytes": peak_of_this_process()}
    spent = dict.fromkeys(TIMES, float("nan"))

    def timed(name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = call(*args, **kwargs)
        spent[name] = time.process_time() - start
        return result

    if hasattr(model, "_calibrate"):
        calibrate = type(model)._calibrate
        type(model)._calibrate = lambda *args: timed("calibration_seconds", calibrate, *args)
        timed("fit_seconds", model.fit, X, y)
    else:
        held_out = rows // 5
        watched = (X[:held_out], y[:held_out])
        timed("fit_seconds", model.fit, X[held_out:], y[held_out:], eval_set=[watched])
    found["fit_megabytes"] = peak_of_this_process()
    folder.cleanup()
    timed("predict_seconds", model.predict, new)
    if hasattr(model, "predict_quantiles"):
        timed("quantiles_seconds", model.predict_quantiles, new, LEVELS)
    return {**found, **spent, "predicted_rows": predicted, "peak_megabytes": peak_of_this_process()}


def measure_dask(workers: int, rows: int, columns: int, bins: int, rounds: int, predicted: int) -> dict[str, float]:
    """The same on workers of a cluster."""
    import dask.array as da
    from dask import delayed
    from distributed import Client, LocalCluster, wait

    def collections(rows: int, seed: int) -> Any:
        parts = [(rows // 8, seed + part) for part in range(8)]
        made = [delayed(table, nout=2)(n, columns, number) for n, number in parts]
        X = [da.from_delayed(one, (n, columns), np.float32) for (one, _), (n, _) in zip(made, parts, strict=True)]
        y = [da.from_delayed(one, (n,), np.float64) for (_, one), (n, _) in zip(made, parts, strict=True)]
        return [da.concatenate(one).persist() for one in (X, y)]

    def largest(of: Callable[[], float]) -> float:
        return float(max(client.run(of).values()))

    model, found, spent = ENGINES[f"dask-{workers}"](bins, rounds), {}, dict.fromkeys(TIMES, float("nan"))
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster,
        Client(cluster) as client,
    ):
        client.run(import_module, "bridges_tabular.boosting.dask.shard")
        (X, y), (new, _) = collections(rows, 0), collections(predicted, 8)
        wait([X, y, new])
        found["table_megabytes"] = largest(peak_of_this_process)

        def timed(name: str, call: Callable[[], Any]) -> None:
            before, clock = client.run(time.process_time), time.perf_counter()
            call()
            after = client.run(time.process_time)
            spent[name] = max(after[worker] - before[worker] for worker in before)
            print(f"{name}: {time.perf_counter() - clock:.1f} s on the clock", file=sys.stderr)

        timed("fit_seconds", lambda: model.fit(X, y))
        found["fit_megabytes"] = largest(peak_of_this_process)
        timed("predict_seconds", lambda: wait(model.predict(new).persist()))
        timed("quantiles_seconds", lambda: wait(model.predict_quantiles(new, LEVELS).persist()))
        return {**found, **spent, "predicted_rows": predicted, "peak_megabytes": largest(peak_of_this_process)}


def run(args: argparse.Namespace, results: Results) -> None:
    grid = itertools.product(args.rows, args.columns, args.bins, args.engines)
    for rows, columns, bins, engine in grid:
        rounds = args.epochs if engine == "tabular" else args.rounds
        case = dict(zip(KEY, (engine, rows, columns, bins, rounds), strict=True))
        if results.has(**case):
            continue
        numbers = [str(value) for value in (rows, columns, bins, rounds, args.predict)]
        command = [sys.executable, os.path.abspath(__file__), "--measure", engine, *numbers]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        results.add(**{name: {**case, **found}[name] for name in COLUMNS})
        print(f"{engine}, {rows:,} rows: {found['fit_seconds']:.1f} s, {found['peak_megabytes']:,.0f} MB", flush=True)


def report(results: Results) -> None:
    frame = results.frame()
    frame["calibration/fit"] = frame["calibration_seconds"] / (frame["fit_seconds"] - frame["calibration_seconds"])
    frame["quantiles/predict"] = frame["quantiles_seconds"] / frame["predict_seconds"]
    frame["fit_megabytes"] -= frame["table_megabytes"]
    shown = [*KEY, *TIMES, "calibration/fit", "quantiles/predict", "fit_megabytes"]
    print("fit_megabytes: the peak while fitting, less that before it; calibration/fit: of the rest of the fit")
    print(frame[shown].sort_values(KEY).round(3).to_string(index=False))
    print("\nexponents: of the rows, by which time and memory grow, between the fewest and the most rows")
    for case, lines in frame.groupby(["engine", "columns", "bins", "rounds"]):
        if lines["rows"].nunique() < 2:
            continue
        logs = np.log(lines["rows"].to_numpy(dtype=float))
        found = {
            name: np.polyfit(logs, np.log(lines[name].to_numpy(dtype=float)), 1)[0]
            for name in ("fit_seconds", "calibration_seconds", "fit_megabytes")
            if (lines[name] > 0).all()
        }
        print(f"  {', '.join(map(str, case))}:", ", ".join(f"{name} {value:.2f}" for name, value in found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=["boosting", "tabular", "xgboost"])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--columns", type=int, nargs="+", default=[20])
    parser.add_argument("--bins", type=int, nargs="+", default=[32], help="k")
    parser.add_argument("--rounds", type=int, default=60, help="of trees")
    parser.add_argument("--epochs", type=int, default=3, help="of networks")
    parser.add_argument("--predict", type=int, default=100_000, help="rows to predict")
    parser.add_argument("--results", type=Path, default=RESULTS / "scale.csv")
    parser.add_argument("--report", action="store_true", help="only print what the results say")
    parser.add_argument("--measure", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        engine, *numbers = args.measure
        name, _, workers = engine.partition("-")
        sizes = [int(number) for number in numbers]
        print(json.dumps(measure_dask(int(workers), *sizes) if name == "dask" else measure(engine, *sizes)))
        return
    results = Results(args.results, KEY, COLUMNS)
    if not args.report:
        run(args, results)
    report(results)


if __name__ == "__main__":
    main()
