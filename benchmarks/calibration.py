"""What calibration does to the default models of both engines: coverage, CRPS and time, on real tables.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py --data-dir DIR
    OMP_NUM_THREADS=1 python benchmarks/calibration.py --data-dir DIR --tables concrete wine --seeds 2 --rows 3000
    python benchmarks/calibration.py --report

Each model is trained once on a split; every calibration is then fitted to the same outputs on the same validation
rows, and scored on the same test rows (a fifth). "residuals" is the control: the same point predictions with local
residuals alone, without class probabilities. Times are the processor's, on one thread. Results are appended to a CSV
file, one line for each calibration, and what stands there already is not run again.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from bridges_tabular import TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.core import scores
from bridges_tabular.core.calibration import CALIBRATIONS
from bridges_tabular.regressors.forecast import CalibratedForecast, HeldOut

TABLES = ["concrete", "kin8nm", "power", "abalone", "california", "wine"]
ENGINES: dict[str, Callable[[int], Any]] = {
    "tabular": lambda seed: TabularBridgeRegressor(random_state=seed),
    "boosting": lambda seed: XGBBridgeRegressor(random_state=seed, n_jobs=1),
}
RESULTS = Path(__file__).parent / "results" / "calibration.csv"
COLUMNS = [
    *("table", "rows", "engine", "seed", "calibration", "rmse", "crps", "log_score", "calibration_error"),
    *("coverage", "width", "conformal_coverage", "conformal_width", "training_seconds", "calibration_seconds"),
]
COVERAGE = 0.9
Array = NDArray[np.float64]


def load(data: Path, name: str, rows: int | None, seed: int) -> tuple[pd.DataFrame, Array]:
    """Rows of a table in an order that the seed decides."""
    spec = yaml.safe_load((data / "datasets.yaml").read_text())[name]
    frame = pd.read_csv(data / spec["file"])
    order = np.random.default_rng(seed).permutation(len(frame))[:rows]
    frame = frame.iloc[order].reset_index(drop=True)
    y = frame.pop(spec["target"]).to_numpy(dtype=np.float64)
    for column in spec.get("categorical") or []:
        frame[column] = frame[column].astype("category")
    return frame, y


def measure(model: Any, X: pd.DataFrame, y: Array) -> Iterator[dict[str, Any]]:
    """Train once; then one line for each calibration."""
    trained = len(y) - len(y) // 5
    validation = trained - trained // 5
    held_out = X[validation:trained], y[validation:trained]
    start = time.process_time()
    model.set_params(calibration="none").fit(X[:validation], y[:validation], eval_set=held_out)
    training = time.process_time() - start
    watched, new = (model._trained.forecast(rows)[0] for rows in (held_out[0], X[trained:]))
    (code,) = model._trained.codes
    standard = model.scale_.standardise(held_out[1][:, None])[:, 0]
    truth = y[trained:]
    for calibration in [*CALIBRATIONS, "residuals"]:
        start = time.process_time()
        calibrated = CalibratedForecast.fit(
            model.scale_,
            0,
            "pooled" if calibration == "residuals" else calibration,  # type: ignore[arg-type]
            None if calibration == "residuals" else code,
            HeldOut(watched, standard),
            y_train=y[:validation],
        )
        seconds = time.process_time() - start
        distribution = calibrated.distribution(new)
        plain, conformal = (calibrated.interval(distribution, COVERAGE, apart) for apart in (False, True))
        yield {
            "calibration": calibration,
            "rmse": scores.rmse(truth, model.predict(X[trained:])),
            "crps": scores.crps(distribution, truth),
            "log_score": scores.log_score(distribution, truth),
            "calibration_error": scores.calibration_error(distribution, truth),
            "coverage": scores.coverage(plain, truth),
            "width": scores.width(plain),
            "conformal_coverage": scores.coverage(conformal, truth),
            "conformal_width": scores.width(conformal),
            "training_seconds": training,
            "calibration_seconds": seconds,
        }


def run(args: argparse.Namespace) -> None:
    args.results.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if args.results.exists():
        keys = pd.read_csv(args.results)[["table", "engine", "seed"]].drop_duplicates()
        done = set(keys.itertuples(index=False, name=None))
    for seed in range(args.seeds):
        for table in args.tables:
            X, y = load(args.data_dir, table, args.rows, seed)
            for engine in args.engines:
                if (table, engine, seed) in done:
                    continue
                lines = list(measure(ENGINES[engine](seed), X, y))
                new = not args.results.exists()
                with args.results.open("a", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    if new:
                        writer.writeheader()
                    for line in lines:
                        values = {"table": table, "rows": len(y), "engine": engine, "seed": seed, **line}
                        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})
                print(f"{table}, {engine}, seed {seed}: {lines[0]['training_seconds']:.1f} s", flush=True)


def report(path: Path) -> None:
    results = pd.read_csv(path)
    results["share"] = results["calibration_seconds"] / results["training_seconds"]
    base = results[results["calibration"] == "none"].set_index(["table", "engine", "seed"])["crps"]
    keys = pd.MultiIndex.from_frame(results[["table", "engine", "seed"]])
    results["log_ratio"] = np.log(results["crps"].to_numpy() / base.loc[keys].to_numpy())
    pooled = results[results["calibration"] == "pooled"]
    columns = ["coverage", "conformal_coverage", "calibration_error", "log_ratio", "share"]
    print('pooled, means over seeds; "crps" is the ratio to "none", "share" that of the training time')
    by_table = pooled.groupby(["engine", "table"])[columns].mean()
    by_table["crps"] = np.exp(by_table.pop("log_ratio"))
    by_table["seeds"] = pooled.groupby(["engine", "table"]).size()
    print(by_table.round(3).to_string())
    print("\nall calibrations, means over tables and seeds")
    for names in (["engine", "calibration"], ["calibration"]):
        overall = results.groupby(names)[columns].mean()
        overall["crps"] = np.exp(overall.pop("log_ratio"))
        print(overall.round(3).to_string(), "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BRIDGES_TABULAR_DATA"))
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    parser.add_argument("--rows", type=int, help="at most so many rows of a table")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only print what the results say")
    args = parser.parse_args()
    if not args.report:
        if args.data_dir is None:
            parser.error("--data-dir is missing: the folder of the tables, or the variable BRIDGES_TABULAR_DATA")
        args.data_dir = Path(args.data_dir)
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        run(args)
    report(args.results)


if __name__ == "__main__":
    main()
