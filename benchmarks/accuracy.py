"""Every scheme against least squares and a mixture density network on real tables: RMSE and CRPS, paired.

    OMP_NUM_THREADS=1 python benchmarks/accuracy.py --data-dir DIR
    OMP_NUM_THREADS=1 python benchmarks/accuracy.py --data-dir DIR --tables bike_hour sml --rows 4000 --seeds 2
    python benchmarks/accuracy.py --report --figure docs/accuracy.svg

A seed permutes the rows: a fifth is for testing, a fifth of the rest for validation, which chooses the epoch and fits
the calibration. All models of a seed see the same rows, batches and budget; parameters are the defaults. Controls:
"gaussian" is least squares with a normal distribution of the validation error, "residuals" with local residuals,
"mdn" pytorch-tabular's head of five Gaussians. One line of results is added for each model, table and seed; what
stands in the file is not run again, so that the benchmark can be stopped and resumed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scoringrules
from _data import RESULTS, TABLES, Results, Rows, data_folder, geometric_mean, read_table, split
from _mixture import MixtureNetwork, mixture_interval

from bridges_tabular import TabularBridgeRegressor
from bridges_tabular.core import scores

# the tables on which bridges_tabular.tabular.defaults were chosen
CHOSEN_ON = ["concrete", "airfoil", "naval", "sml", "kin8nm", "bike_hour", "parkinsons", "california"]
SCHEMES = ["softmax_least_squares", "hard", "soft", "pretrained", "end_to_end"]
MODELS = ["least_squares", "end_to_end", "soft", "mdn", "pretrained", "hard", "softmax_least_squares"]
KEY = ["table", "rows", "seed", "backbone", "model"]
COLUMNS = [*KEY, "n_train", "rmse", "crps", "coverage_90", "fit_seconds"]
COVERAGE = 0.9
LARGE = 1_500
# the default; pytorch-tabular's activation and small networks, for the checks that the ranking carries over
BACKBONES: dict[str, dict[str, Any]] = {
    "CategoryEmbeddingModelConfig": {},
    "CategoryEmbeddingModelConfig:ReLU": {"activation": "ReLU", "initialization": "kaiming"},
    "FTTransformerConfig": {"num_heads": 4, "num_attn_blocks": 2, "input_embed_dim": 16},
    "GANDALFConfig": {"gflu_stages": 3},
}


def measure(model: str, backbone: str, parts: tuple[Rows, Rows, Rows], seed: int) -> Iterator[dict[str, Any]]:
    """Lines of results of one fit; least squares has two, with its two distributions."""
    train, validation, (X, y) = parts
    kind = backbone.partition(":")[0]
    params: dict[str, Any] = {"backbone": kind, "backbone_params": BACKBONES[backbone], "random_state": seed}
    start = time.process_time()
    if model == "mdn":
        yield {"model": model, **_mixture(TabularBridgeRegressor(**params, scheme="least_squares"), parts, seed)}
        return
    fitted = TabularBridgeRegressor(scheme=model, **params).fit(*train, eval_set=validation)
    seconds = time.process_time() - start
    point = fitted.predict(X)
    line = {"rmse": scores.rmse(y, point), "fit_seconds": seconds}
    distribution = fitted.predict_distribution(X)
    interval = distribution.interval(COVERAGE)
    own = {"crps": scores.crps(distribution, y), "coverage_90": scores.coverage(interval, y)}
    if model != "least_squares":
        yield {"model": model, **line, **own}
        return
    deviation = scores.rmse(validation[1], fitted.predict(validation[0]))
    half = 1.6448536 * deviation
    gaussian = {
        "crps": float(np.mean(scoringrules.crps_normal(y, point, deviation))),
        "coverage_90": scores.coverage(np.stack([point - half, point + half], axis=1), y),
    }
    yield {"model": "residuals", **line, **own}
    yield {"model": "least_squares", **line, **gaussian}


def _mixture(template: TabularBridgeRegressor, parts: tuple[Rows, Rows, Rows], seed: int) -> dict[str, Any]:
    train, validation, (X, y) = parts
    start = time.process_time()
    network = MixtureNetwork(template).fit(train, validation, seed)
    seconds = time.process_time() - start
    shares, means, deviations = network.predict(X)
    interval = mixture_interval(shares, means, deviations, COVERAGE)
    return {
        "rmse": scores.rmse(y, (shares * means).sum(1)),
        "crps": float(np.mean(scoringrules.crps_mixnorm(y, means, deviations, shares))),
        "coverage_90": scores.coverage(interval, y),
        "fit_seconds": seconds,
    }


def run(asked: argparse.Namespace, results: Results) -> None:
    folder = data_folder(asked.data_dir)
    # seeds outside: a run that is stopped has every table
    for seed in range(asked.seeds):
        for name in asked.tables:
            X, y = read_table(folder, name)
            rows = len(y) if asked.rows is None else min(asked.rows, len(y))
            parts = split(X, y, rows, seed)
            for model in asked.models:
                if results.has(table=name, rows=rows, seed=seed, backbone=asked.backbone, model=model):
                    continue
                common = {"table": name, "rows": rows, "seed": seed, "backbone": asked.backbone}
                for line in measure(model, asked.backbone, parts, seed):
                    results.add(**common, n_train=len(parts[0][1]), **line)
                    print(
                        f"{name:12} {seed} {line['model']:22} rmse {line['rmse']:.5g} crps {line['crps']:.5g}",
                        flush=True,
                    )


def ratios(frame: pd.DataFrame, score: str) -> pd.DataFrame:
    """Ratio to least squares, by table and model: the geometric mean over seeds, paired."""
    wide = frame.pivot_table(index=["table", "rows", "n_train", "seed"], columns="model", values=score)
    logs = wide.div(wide["least_squares"], axis=0).map(np.log)
    return logs.groupby(level=["table", "rows", "n_train"]).mean().map(np.exp)


def report(frame: pd.DataFrame) -> None:
    for backbone, part in frame.groupby("backbone"):
        # a table is judged at its largest size
        largest = part.groupby("table")["rows"].transform("max")
        part = part[part["rows"] == largest]
        seeds = part.groupby(["table", "model"])["seed"].nunique().max()
        print(f"\n{backbone}, up to {seeds} seeds")
        for score in ("rmse", "crps"):
            _report_score(ratios(part, score).sort_index(level="n_train"), score)
        print("\n90 % intervals cover, mean over tables and seeds")
        print(part.groupby("model")["coverage_90"].mean().round(3).to_string())
        print("\nTime to fit / that of least squares, geometric mean over tables")
        times = ratios(part, "fit_seconds").map(np.log).mean().map(np.exp)
        print(times.round(1).to_string())
    _report_activation(frame)


def _report_activation(frame: pd.DataFrame) -> None:
    lines = frame.set_index(["backbone", *KEY[:3], "model"])["rmse"]
    default, relu = (lines.get(name) for name in list(BACKBONES)[:2])
    if default is not None and relu is not None:
        tables = np.log(default / relu).dropna().groupby(["model", "table"]).mean()
        print("\nTest RMSE of the default / that with ReLU, geometric mean over tables")
        print(np.exp(tables.groupby("model").mean()).round(3).to_string())


def _report_score(table: pd.DataFrame, score: str) -> None:
    print(f"\nTest {score.upper()} / that of least squares" + (" with a Gaussian" if score == "crps" else ""))
    print(table.round(3).to_string())
    sizes = table.index.get_level_values("n_train")
    names = table.index.get_level_values("table")
    groups = {
        "all": sizes > 0,
        f">= {LARGE} training rows": sizes >= LARGE,
        f"< {LARGE}": sizes < LARGE,
        ">= 5000": sizes >= 5_000,
        "not chosen on": ~names.isin(CHOSEN_ON),
    }
    for model in table.columns.drop("least_squares"):
        print(f"  {model}")
        for group, rows in groups.items():
            values = table.loc[rows, model].dropna().to_numpy()
            if len(values):
                mean, error = geometric_mean(values)
                wins = f"better on {(values < 1).sum()} of {len(values)}, worst {values.max():.3f}"
                print(f"    {group:24} {mean:.3f} +- {error:.3f}  {wins}")


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Ratios of RMSE and CRPS of the schemes, a point for each table."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    part = frame[frame["backbone"] == "CategoryEmbeddingModelConfig"]
    part = part[part["rows"] == part.groupby("table")["rows"].transform("max")]
    order = [model for model in ["residuals", "mdn", *SCHEMES] if model in set(part["model"]) - {"least_squares"}]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
    for ax, score in zip(axes, ("rmse", "crps"), strict=True):
        table = ratios(part, score)
        for place, model in enumerate(order):
            # the residuals are those of the least-squares network: its points are the same
            if score == "rmse" and model == "residuals":
                continue
            values = table[model].dropna()
            ax.plot(values, np.full(len(values), place), "o", alpha=0.4, color="tab:blue")
            ax.plot(geometric_mean(values.to_numpy())[0], place, "k|", markersize=20, markeredgewidth=2)
        ax.axvline(1, color="grey", linewidth=1)
        ax.set_xscale("log")
        ticks = [0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(f"test {score.upper()} / least squares" + (" with a Gaussian" if score == "crps" else ""))
    axes[0].set_yticks(range(len(order)), order)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--backbone", default="CategoryEmbeddingModelConfig", choices=list(BACKBONES))
    parser.add_argument("--rows", type=int, default=10_000, help="at most so many rows of a table; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="print what stands in the file, run nothing")
    parser.add_argument("--figure", type=Path, help="draw the ratios")
    asked = parser.parse_args()
    asked.rows = asked.rows or None
    results = Results(RESULTS / "accuracy.csv", KEY, COLUMNS)
    warnings.filterwarnings("ignore", message="n_bins=")
    if not asked.report:
        run(asked, results)
    frame = results.frame()
    if not frame.empty:
        report(frame)
        if asked.figure:
            draw(frame, asked.figure)


if __name__ == "__main__":
    main()
