"""What studies promise: no trial lost on PostgreSQL, little overhead, throughput, and whether tuning is worth it.

    OMP_NUM_THREADS=1 python benchmarks/study.py postgresql
    OMP_NUM_THREADS=1 python benchmarks/study.py overhead throughput worth --data-dir DIR
    python benchmarks/study.py worth --report

postgresql starts Debian's server (apt-get install postgresql; pip install psycopg2-binary) on loopback with a fresh
folder, as the user postgres where the benchmark runs as root, and kills one of two workers half way. throughput
alternates between five trials of ours and five of the stock library. worth appends each finished study to
results/study.csv and leaves out those that are there: stop it and start it again as you like, or name --tables,
--engines and --seeds to do a part; --report prints what stands there, and runs nothing. The tables are looked for in
--data-dir or BRIDGES_TABULAR_DATA.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState
from scipy.stats import gmean

from bridges_tabular.experiments import BridgeStudy, Experiment
from bridges_tabular.experiments.studies.queue import is_lost

RESULTS = Path(__file__).with_name("results") / "study.csv"
# of the others it is y
TARGETS = {"california": "median_house_value", "bike_hour": "cnt"}
LAYERS = ["128-64-32", "256-256", "64-64"]
# what all networks here begin from: pytorch-tabular's own, as in a plain loop
NETWORK = {
    "backbone": "CategoryEmbeddingModelConfig",
    "backbone_params": {"layers": "128-64-32", "activation": "ReLU", "initialization": "kaiming"},
}
NETWORK_SPACE = {
    "backbone_params.layers": {"type": "categorical", "choices": LAYERS},
    "backbone_params.dropout": {"type": "float", "low": 0.0, "high": 0.3},
    "learning_rate": {"type": "float", "low": 5e-4, "high": 1e-2, "log": True},
    "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True},
}


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


def server_programs() -> Path:
    """Folder of Debian's server programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if not folders:
        sys.exit("there is no PostgreSQL server: apt-get install postgresql")
    return folders[-1]


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run a server in a fresh folder; yield the URL of an empty database."""
    programs, folder = server_programs(), Path(tempfile.mkdtemp(prefix="bridges-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password, password_file, data = secrets.token_hex(16), folder / "password", folder / "data"
    password_file.write_text(password)
    # the server refuses to run as root
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
        for path in (folder, password_file):
            shutil.chown(path, "postgres", "postgres")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-s"]
    initdb = ["-U", "bench", "--auth=scram-sha-256", f"--pwfile={password_file}", "-D", str(data)]
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **who}
    try:
        subprocess.run([str(programs / "initdb"), *initdb], **quiet)
        subprocess.run([*control, "-l", str(folder / "log"), "-o", options, "start"], **quiet)
        try:
            yield f"postgresql+psycopg2://bench:{password}@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "fast", "stop"], **quiet)
    finally:
        shutil.rmtree(folder)


def kill_one_of_two(trials: int = 40) -> None:
    """Kill one of two workers half way through a study on PostgreSQL."""
    with postgresql() as url, tempfile.TemporaryDirectory() as out:
        changes = ["table.rows=1000", "study.model=xgboost_bins", f"study.trials={trials}", "study.workers=2"]
        command = [sys.executable, "-m", "bridges_tabular.cli", "tune", "diamonds_study", *changes]
        process = subprocess.Popen([*command, f"study.storage={url}", "--out", out, "--quiet"])
        study = wait_for_study(url, "diamonds_study.xgboost_bins", process)
        while sum(trial.state.is_finished() for trial in study.trials) < trials // 2:
            time.sleep(0.1)
        running = study.get_trials(states=[TrialState.RUNNING], deepcopy=False)
        victim = running[0].user_attrs["worker"]["process"][0]
        os.kill(victim, signal.SIGKILL)
        status = process.wait()
        found = study.trials
        states = pd.Series([trial.state.name for trial in found]).value_counts().to_dict()
        finished = [trial for trial in found if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        lost = [trial for trial in found if is_lost(trial)]
        retried = {trial.user_attrs.get("retry_of") for trial in finished}
        draws = {tuple(sorted(map(str, trial.params.items()))) for trial in finished}
        print(f"postgresql: status {status}, states {states}; killed worker {victim}")
        print(
            f"  {len(finished)} of {trials} finished, {len(draws)} of them with different parameters; {len(lost)} lost"
            f" and {len([trial for trial in lost if trial.number in retried])} of those run again"
        )


def wait_for_study(url: str, name: str, process: subprocess.Popen[bytes]) -> optuna.Study:
    while process.poll() is None:
        with contextlib.suppress(KeyError):
            return optuna.load_study(study_name=name, storage=url)
        time.sleep(0.5)
    sys.exit("the study ended before it began")


# --- overhead -----------------------------------------------------------------------------------------------------


def overhead(data: Path, trials: int = 100) -> None:
    """Time of a study of small trials that is not spent in the fits, in the journal of the output folder."""
    for engine, model in (
        ("xgboost", {"engine": "xgboost", "scheme": "end_to_end", "n_jobs": 1}),
        ("tabular", {"engine": "tabular", "scheme": "end_to_end"}),
    ):
        with tempfile.TemporaryDirectory() as out:
            study = BridgeStudy(experiment(data, "yacht", {"model": model}, trials=trials), Path(out) / "o")
            started = time.perf_counter()
            found = study.optimize(quiet=True).trials
            whole = time.perf_counter() - started
        search = (found["ended"].max() - found["started"].min()).total_seconds()
        fits = found["fit_seconds"].sum()
        print(
            f"overhead, yacht, {engine}: {len(found)} trials ({(found['state'] == 'pruned').sum()} pruned), search"
            f" {search:.1f} s, fits {fits:.1f} s, overhead {(search - fits) / search:.1%}"
            f" (with the page and the two final fits {whole:.1f} s)"
        )


# --- throughput ---------------------------------------------------------------------------------------------------


def throughput(data: Path, trials: int = 20, epochs: int = 10, batch: int = 256, rows: int | None = None) -> None:
    """Trials a minute on california against a plain loop around stock pytorch-tabular."""
    model = {
        "engine": "tabular",
        "scheme": "soft",
        "max_epochs": epochs,
        "batch_size": batch,
        **NETWORK,
    }
    used = {"wall": {"ours": 0.0, "stock": 0.0}, "processor": {"ours": 0.0, "stock": 0.0}}
    stock = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = stock_objective(data, epochs, batch, rows)
    with tempfile.TemporaryDirectory() as out:
        for done in range(5, trials + 1, 5):
            study = BridgeStudy(
                experiment(
                    data, "california", {"model": model}, rows, trials=done, bundled_space=False, space=NETWORK_SPACE
                ),
                Path(out) / "o",
            )
            with clock(used, "ours"):
                # what optimize does before the page and the test scores
                for search in study._searches:
                    search.run(search.queue(study._storage), lambda *_: None)
            with clock(used, "stock"):
                stock.optimize(objective, n_trials=5)
        ours = study._searches[0].study(study._storage).trials
    for kind, seconds in used.items():
        minute = {name: 60 * trials / value for name, value in seconds.items()}
        print(
            f"throughput, california, {kind} time: {minute['ours']:.1f} trials a minute, stock {minute['stock']:.1f},"
            f" ratio {minute['ours'] / minute['stock']:.2f}"
        )
    pruned = [sum(trial.state == TrialState.PRUNED for trial in found) for found in (ours, stock.trials)]
    print(f"  pruned: {pruned[0]} of ours, {pruned[1]} of stock, of {trials} each")


@contextlib.contextmanager
def clock(used: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    used["wall"][name] += time.perf_counter() - wall
    used["processor"][name] += time.process_time() - processor


def stock_objective(data: Path, epochs: int, batch: int, rows: int | None) -> Any:
    """The objective that its documentation suggests: a TabularModel, and so a datamodule, for each trial."""
    import pytorch_lightning as pl
    from pytorch_tabular import TabularModel
    from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
    from pytorch_tabular.models import CategoryEmbeddingModelConfig

    logging.getLogger("pytorch_tabular").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    target = TARGETS["california"]
    frame = pd.read_csv(data / "california.csv.gz").dropna()
    frame = frame.sample(min(rows or len(frame), len(frame)), random_state=0).reset_index(drop=True)
    frame[target] = (frame[target] - frame[target].mean()) / frame[target].std()
    validation, train = np.split(frame, [len(frame) // 5])[0], frame[2 * (len(frame) // 5) :]
    numbers = [name for name in frame.columns if name not in (target, "ocean_proximity")]

    class Prune(pl.Callback):
        def __init__(self, trial: optuna.Trial) -> None:
            self.trial = trial

        def on_validation_end(self, trainer: Any, _: Any) -> None:
            if not trainer.sanity_checking:
                self.trial.report(float(trainer.callback_metrics["valid_loss"]), trainer.current_epoch)
                if self.trial.should_prune():
                    raise optuna.TrialPruned

    def objective(trial: optuna.Trial) -> float:
        model = TabularModel(
            data_config=DataConfig(target=[target], continuous_cols=numbers, categorical_cols=["ocean_proximity"]),
            model_config=CategoryEmbeddingModelConfig(
                task="regression",
                layers=trial.suggest_categorical("layers", LAYERS),
                dropout=trial.suggest_float("dropout", 0.0, 0.3),
                learning_rate=trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
            ),
            optimizer_config=OptimizerConfig(
                optimizer="AdamW",
                optimizer_params={"weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)},
            ),
            trainer_config=TrainerConfig(
                batch_size=batch,
                max_epochs=epochs,
                accelerator="cpu",
                early_stopping=None,
                checkpoints=None,
                load_best=False,
                progress_bar="none",
                trainer_kwargs={"enable_model_summary": False},
            ),
            verbose=False,
        )
        model.logger = False
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            model.fit(train=train, validation=validation, callbacks=[Prune(trial)])
            predicted = model.predict(validation, progress_bar=None)[f"{target}_prediction"]
        return float(np.sqrt(np.mean((predicted - validation[target]) ** 2)))

    return objective


# --- worth --------------------------------------------------------------------------------------------------------


def worth(data: Path, tables: list[str], engines: list[str], seeds: list[int], trials: int, rows: int | None) -> None:
    """Tuned bridge against tuned least squares, on the test rows of each seed."""
    known = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["table", "engine", "seed", "trials"])
    for table in tables:
        for seed in seeds:
            for engine in engines:
                here = known.query("table == @table and engine == @engine and seed == @seed and trials == @trials")
                if len(here):
                    continue
                common = {"engine": engine} | (NETWORK if engine == "tabular" else {})
                models = {
                    "bridge": {"scheme": "end_to_end", **common},
                    "least_squares": {"scheme": "least_squares", **common},
                }
                started = time.perf_counter()
                content = experiment(data, table, models, rows, seed, trials=trials)
                with tempfile.TemporaryDirectory() as out:
                    results = BridgeStudy(content, Path(out) / "o").optimize(quiet=True).results
                row = results[["table", "model", "engine", "seed", "rmse", "crps"]].assign(
                    trials=trials, rows=rows or "all", minutes=round((time.perf_counter() - started) / 60, 1)
                )
                RESULTS.parent.mkdir(exist_ok=True)
                row.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
                print(row.to_string(index=False, header=False), flush=True)
    report_worth()


def report_worth() -> None:
    if RESULTS.exists():
        print(worth_table(pd.read_csv(RESULTS)).to_string())


def worth_table(results: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, and the geometric mean of the tuned bridge relative to tuned least squares, paired."""
    groups = ["table", "engine"]
    scores = results.pivot_table(index=groups, columns="model", values=["rmse", "crps"])
    scores.columns = scores.columns.map(lambda key: f"{key[1]} {key[0]}")
    for score in ("rmse", "crps"):
        paired = results.pivot_table(index=[*groups, "seed"], columns="model", values=score)
        ratio = paired["bridge_tuned"] / paired["least_squares_tuned"]
        scores[f"{score} ratio"] = ratio.groupby(level=groups).agg(gmean)
    scores["seeds"] = results.groupby(groups)["seed"].nunique()
    return scores.sort_index(axis=1).round(4)


def experiment(
    data: Path, table: str, models: dict[str, Any], rows: int | None = None, seed: int = 0, **study: Any
) -> Experiment:
    content = {
        "table": {"source": str(data / f"{table}.csv.gz"), "target": TARGETS.get(table, "y"), "rows": rows},
        "split": {"seeds": [seed]},
        "models": models,
        "study": {"model": list(models), **study},
    }
    return Experiment.read(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["postgresql", "overhead", "throughput", "worth"])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BRIDGES_TABULAR_DATA"))
    parser.add_argument("--tables", nargs="+", default=["concrete", "kin8nm", "california", "bike_hour", "cpu_act"])
    parser.add_argument("--engines", nargs="+", default=["xgboost", "tabular"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--trials", type=int, help="default: 40, 100, 20 and 30, in the order of the parts")
    parser.add_argument("--epochs", type=int, default=10, help="of throughput")
    parser.add_argument("--rows", type=int, help="of throughput and worth, at most (default: all)")
    parser.add_argument("--report", action="store_true", help="of worth: print what stands in the file, run nothing")
    options = parser.parse_args()
    if options.report:
        if options.parts != ["worth"]:
            parser.error("--report: worth alone keeps its results")
        report_worth()
        return
    if options.data_dir is None and set(options.parts) != {"postgresql"}:
        sys.exit("skipped: the tables are not here; name their folder with --data-dir or BRIDGES_TABULAR_DATA")
    for part in options.parts:
        if part == "postgresql":
            kill_one_of_two(options.trials or 40)
        elif part == "overhead":
            overhead(Path(options.data_dir), options.trials or 100)
        elif part == "throughput":
            throughput(Path(options.data_dir), options.trials or 20, options.epochs, rows=options.rows)
        else:
            data = Path(options.data_dir)
            worth(data, options.tables, options.engines, options.seeds, options.trials or 30, options.rows)


if __name__ == "__main__":
    main()
