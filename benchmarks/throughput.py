"""Speed and memory of training and prediction against pytorch-tabular and a bare torch loop, in one run.

    OMP_NUM_THREADS=1 python benchmarks/throughput.py
    OMP_NUM_THREADS=1 python benchmarks/throughput.py --rows 1000 10000 50000 --batches 64 512 4096 --repeats 3

Times are processor time of this process, the least of interleaved repeats, so that other work on the machine counts
little. An epoch is a pass over the training rows and one over a fifth as many validation rows, without set-up: the
time of a longer fit less that of a shorter one. Every contender trains the same multilayer perceptron on the same
rows; the bare loop is what is left without pytorch-tabular, Lightning or this package. --gather prints no tables but
the peak memory of one fit, which the benchmark asks of a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from _data import peak_of_this_process

from bridges_tabular import TabularBridgeRegressor

Contender = Callable[[pd.DataFrame, int, int], Any]


def table(rows: int, columns: int) -> pd.DataFrame:
    """Numbers and a nonlinear, noisy target."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns)).astype(np.float32)
    y = 2 * X[:, 0] + np.sin(3 * X[:, 1]) * X[:, 2] + 0.3 * rng.normal(size=rows)
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(columns)]).assign(target=y)


def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, and a fifth as many validation rows."""
    n = len(frame) * 5 // 6
    return frame[:n], frame[n:]


def stock(layers: str) -> Contender:
    """Least squares with pytorch-tabular as it is, without its files."""
    from pytorch_tabular import TabularModel
    from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
    from pytorch_tabular.models import CategoryEmbeddingModelConfig

    def fit(frame: pd.DataFrame, batch: int, epochs: int) -> Any:
        model = TabularModel(
            data_config=DataConfig(
                target=["target"], continuous_cols=[c for c in frame if c != "target"], pin_memory=False
            ),
            model_config=CategoryEmbeddingModelConfig(task="regression", layers=layers, learning_rate=3e-3),
            optimizer_config=OptimizerConfig(optimizer="AdamW"),
            trainer_config=TrainerConfig(
                batch_size=batch,
                max_epochs=epochs,
                progress_bar="none",
                early_stopping=None,
                checkpoints=None,
                load_best=False,
                accelerator="cpu",
                trainer_kwargs={"enable_model_summary": False},
            ),
            verbose=False,
            suppress_lightning_logger=True,
        )
        model.logger = False
        train, validation = split(frame)
        model.fit(train, validation)
        return model

    return fit


def ours(layers: str, scheme: str, k: int = 32, calibration: str = "none") -> Contender:
    """The regressor of this package."""

    def fit(frame: pd.DataFrame, batch: int, epochs: int) -> Any:
        train, validation = split(frame)
        model = TabularBridgeRegressor(
            "CategoryEmbeddingModelConfig",
            scheme,
            n_bins=k,
            backbone_params={"layers": layers, "activation": "ReLU", "initialization": "kaiming"},
            batch_size=batch,
            max_epochs=epochs,
            calibration=calibration,
        )
        held_out = (validation.drop(columns="target"), validation["target"])
        return model.fit(train.drop(columns="target"), train["target"], eval_set=held_out)

    return fit


def bare(layers: str) -> Contender:
    """The same network in a loop of plain torch, with the same optimiser and a validation pass."""

    def fit(frame: pd.DataFrame, batch: int, epochs: int) -> Any:
        template = ours(layers, "least_squares")(frame[:1000], batch, 1)
        network = template.model_.inner
        (X, y), (held_out, _) = [
            (
                torch.tensor(part.drop(columns="target").to_numpy(dtype=np.float32)),
                torch.tensor(part["target"].to_numpy(dtype=np.float32))[:, None],
            )
            for part in split(frame)
        ]
        nothing = torch.empty(len(X), 0, dtype=torch.int64)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, fused=True)
        for _ in range(epochs):
            network.train()
            for rows in torch.split(torch.randperm(len(X)), batch):
                optimizer.zero_grad()
                loss = (
                    (network({"continuous": X[rows], "categorical": nothing[rows]})["logits"] - y[rows]).square().mean()
                )
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.inference_mode():
                for part in torch.split(held_out, 4096):
                    network({"continuous": part, "categorical": nothing[: len(part)]})
        return network

    return fit


def contenders(layers: str, only: list[str] | None = None) -> dict[str, Contender]:
    """Everything that is timed, by name."""
    known = {
        "pytorch-tabular LS": stock(layers),
        "our LS": ours(layers, "least_squares"),
        "end_to_end k=32": ours(layers, "end_to_end", 32),
        "end_to_end k=128": ours(layers, "end_to_end", 128),
        "bare torch loop": bare(layers),
    }
    return {name: fit for name, fit in known.items() if only is None or name in only}


@contextlib.contextmanager
def silence() -> Any:
    """Nothing but this benchmark's own lines."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def cpu_seconds(call: Callable[[], Any]) -> float:
    gc.collect()
    start = time.process_time()
    with silence():
        call()
    return time.process_time() - start


def epoch_seconds(fits: dict[str, Contender], frame: pd.DataFrame, batch: int, repeats: int) -> dict[str, float]:
    """Least seconds of one epoch, of each contender."""
    # enough steps that what is measured outweighs the set-up
    epochs = max(2, round(60_000 / len(frame)))
    best = dict.fromkeys(fits, (np.inf, np.inf))
    for _ in range(repeats):
        for name, fit in fits.items():
            short, long = (cpu_seconds(partial(fit, frame, batch, n)) for n in (1, 1 + epochs))
            best[name] = (min(best[name][0], short), min(best[name][1], long))
    return {name: (long - short) / epochs for name, (short, long) in best.items()}


def print_training(rows: list[int], batches: list[int], columns: int, layers: str, repeats: int) -> None:
    print(f"\nTraining, {columns} columns, layers {layers}: seconds an epoch, and rows a second")
    for n in rows:
        frame = table(n * 6 // 5, columns)
        for batch in batches:
            seconds = epoch_seconds(contenders(layers), frame, batch, repeats)
            least_squares = seconds["our LS"]
            print(f"  {n:,} rows, batches of {batch}")
            for name, value in seconds.items():
                print(f"    {name:20} {value:8.4f} s {n / value:12,.0f} rows/s {value / least_squares:7.2f} x our LS")
            print(f"    pytorch-tabular / our LS {seconds['pytorch-tabular LS'] / least_squares:.2f}", end=", ")
            print(f"our LS / bare loop {least_squares / seconds['bare torch loop']:.2f}")


def print_growth(columns: int, layers: str, repeats: int) -> None:
    print("\nGrowth of an epoch's time, batches of 512")
    sizes = {n: table(n * 6 // 5, columns) for n in (5_000, 10_000, 20_000)}
    for n, frame in sizes.items():
        seconds = epoch_seconds({"end_to_end k=32": ours(layers, "end_to_end")}, frame, 512, repeats)
        print(f"  n = {n:6,}, k =  32: {seconds['end_to_end k=32']:.4f} s")
    classes = {f"k = {k:3}": ours(layers, "end_to_end", k) for k in (16, 32, 64, 128, 256)}
    for name, value in epoch_seconds(classes, sizes[10_000], 512, repeats).items():
        print(f"  n = 10,000, {name}: {value:.4f} s")


def print_prediction(rows: int, columns: int, layers: str, repeats: int) -> None:
    train, test = table(6_000, columns), table(rows, columns)
    features = test.drop(columns="target")
    levels = [0.05, 0.5, 0.95]
    with silence():
        theirs = stock(layers)(train, 512, 1)
        models = {
            "our LS": ours(layers, "least_squares")(train, 512, 1),
            "end_to_end k=32": ours(layers, "end_to_end", 32)(train, 512, 1),
        }
        calibrated = ours(layers, "end_to_end", 32, "pooled")(train, 512, 1)
    calls: dict[str, Callable[[], Any]] = {"pytorch-tabular LS": lambda: theirs.predict(test)}
    calls |= {name: partial(model.predict, features) for name, model in models.items()}
    calls["quantiles, histogram"] = lambda: models["end_to_end k=32"].predict_quantiles(features, levels)
    calls["quantiles, calibrated"] = lambda: calibrated.predict_quantiles(features, levels)
    best = dict.fromkeys(calls, np.inf)
    for _ in range(repeats):
        for name, call in calls.items():
            best[name] = min(best[name], cpu_seconds(call))
    print(f"\nPrediction of {rows:,} rows")
    for name, value in best.items():
        print(f"  {name:22} {value:8.3f} s {rows / value:12,.0f} rows/s")
    print(f"  pytorch-tabular / ours: {best['pytorch-tabular LS'] / best['end_to_end k=32']:.1f}")


def peak_megabytes(name: str, rows: int, columns: int, layers: str) -> float:
    """Peak memory of a process that fits one contender for an epoch."""
    command = [sys.executable, os.path.abspath(__file__), "--gather", name, "--rows", str(rows)]
    command += ["--columns", str(columns), "--layers", layers]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_memory(rows: int, columns: int, layers: str) -> None:
    print(f"\nPeak memory, {rows:,} rows of {columns} columns, batches of 1024")
    peaks = {name: peak_megabytes(name, rows, columns, layers) for name in contenders(layers)}
    for name, value in peaks.items():
        print(f"  {name:20} {value:8.0f} MB {value / peaks['our LS']:6.2f} x our LS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000], help="training rows")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--layers", default="128-128-128")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--predict-rows", type=int, default=100_000)
    parser.add_argument("--memory-rows", type=int, default=50_000)
    parser.add_argument("--only", nargs="+", default=["training", "growth", "prediction", "memory"])
    parser.add_argument("--gather", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.gather:
        with silence(), tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            contenders(asked.layers)[asked.gather](table(asked.rows[0] * 6 // 5, asked.columns), 1024, 1)
        print(peak_of_this_process())
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if "training" in asked.only:
            print_training(asked.rows, asked.batches, asked.columns, asked.layers, asked.repeats)
        if "growth" in asked.only:
            print_growth(asked.columns, asked.layers, asked.repeats)
        if "prediction" in asked.only:
            print_prediction(asked.predict_rows, asked.columns, asked.layers, asked.repeats)
        if "memory" in asked.only:
            print_memory(asked.memory_rows, asked.columns, asked.layers)


if __name__ == "__main__":
    main()
