"""Hostile tables, parameters and experiment files, through the public interface.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py --cases 20000 --minutes 60

Each case fits a small regressor of any engine to a made table, or reads a made experiment file. It ends in finite
predictions in order, or in an error of one line; never in NaN, a traceback from the inside, or after 10 seconds. The
suite runs some hundreds of the same cases (tests/test_fuzz.py).
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bridges_tabular import ClassifierBridgeRegressor, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.experiments import Experiment, ExperimentError
from bridges_tabular.experiments.engines import check_models

ROUND = 1000
MOST_SECONDS = 10.0
LONGEST_LINE = 400
LEVELS = [0.05, 0.5, 0.95]


def _numbers(random: np.random.Generator, n: int) -> Any:
    unit, offset = 10.0 ** random.uniform(-30, 30), random.choice([0.0, 0.0, 1.0, 1e3, 1e9])
    return unit * (random.normal(size=n) + offset)


COLUMNS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "numbers": _numbers,
    "single": lambda random, n: _numbers(random, n).astype(np.float32),
    "whole": lambda random, n: random.integers(-(2**62), 2**62, n),
    "few": lambda random, n: random.integers(0, 3, n),
    "flags": lambda random, n: random.random(n) < 0.5,
    "constant": lambda random, n: np.full(n, random.choice([0.0, 1e9, -1e-30])),
    "gaps": lambda random, n: np.where(random.random(n) < 0.5, np.nan, random.normal(size=n)),
    "nothing": lambda random, n: np.full(n, np.nan),
    "none": lambda random, n: np.array([None] * n, dtype=object),
    "infinite": lambda random, n: np.where(random.random(n) < 0.2, np.inf, 1.0),
    "huge": lambda random, n: pd.Series([10**400] * n, dtype=object),
    "text": lambda random, n: random.choice(["a", "b\n", "", "‹ü›"], n).astype(object),
    "surrogates": lambda random, n: np.array(["\ud800", "ok"], dtype=object)[random.integers(0, 2, n)],
    "mixed": lambda random, n: np.array([1, "x", None, 2.5], dtype=object)[random.integers(0, 4, n)],
    "categories": lambda random, n: pd.Categorical(
        random.choice(["u", "v", "w", "none"], n), categories=["u", "v", "w"]
    ),
    "dates": lambda random, n: pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 10**6, n), unit="min"),
    "no dates": lambda random, n: pd.Series([None] * n, dtype="datetime64[ns]"),
    "zoned": lambda random, n: pd.date_range("2021-01-01", periods=n, tz="Asia/Kolkata"),
    "lists": lambda random, n: pd.Series([[1, 2]] * n),
    "complex": lambda random, n: random.normal(size=n) + 1j,
    "nullable": lambda random, n: pd.array(random.integers(0, 9, n), dtype="Int64"),
}
TARGETS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "numbers": lambda random, n: 10.0 ** random.uniform(-12, 12) * (random.normal(size=n) + random.choice([0, 1e6])),
    "skewed": lambda random, n: np.exp(3 * random.normal(size=n)),
    "counts": lambda random, n: random.poisson(1.0, n),
    "two": lambda random, n: random.integers(0, 2, n),
    "constant": lambda random, n: np.full(n, 3.0),
    "missing": lambda random, n: np.where(random.random(n) < 0.1, np.nan, 1.0),
    "text": lambda random, n: np.array(["a"] * n, dtype=object),
    "two columns": lambda random, n: random.normal(size=(n, 2)),
}
WEIGHTS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "none": lambda random, n: None,
    "any": lambda random, n: random.exponential(size=n),
    "tiny": lambda random, n: 1e-300 * random.exponential(size=n),
    "large": lambda random, n: 1e300 * random.exponential(size=n),
    "mostly zero": lambda random, n: np.where(random.random(n) < 0.8, 0.0, 1.0),
    "zero": lambda random, n: np.zeros(n),
    "negative": lambda random, n: -np.ones(n),
    "short": lambda random, n: np.ones(max(n - 1, 1)),
}
NAMES = ["a", "b", "w[kg]", "w(kg)", "location", "", " ", "x\ny", "<b>", "target", "a"]
SCHEMES = ["least_squares", "softmax_least_squares", "hard", "soft", "pretrained", "end_to_end", "sfot"]
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "scheme": st.sampled_from(SCHEMES),
    "n_bins": st.sampled_from([2, 3, 8, 64, 1, 0, -4, 2.5, "8", None, 10**9]),
    "placement": st.sampled_from(["blend", "quantile", "uniform", "kmeans", "quantiles"]),
    "smoothing": st.sampled_from([1.0, 0.01, 50.0, 0, -1.0, "wide"]),
    "margin": st.sampled_from([0.0, 0.1, 5.0, -0.1]),
    "calibration": st.sampled_from(["none", "shrink", "deconvolve", "pooled", "pool"]),
    "calibration_fraction": st.sampled_from([None, 0.3, 0.99, 1.5]),
    "validation_fraction": st.sampled_from([0.2, 0.01, 0.99, 0.0]),
    "random_state": st.sampled_from([0, None, 2**32 - 1, -1, "seed"]),
}
TREES: dict[str, st.SearchStrategy[Any]] = SHARED | {
    "location": st.sampled_from(["cross_fitted", "none", "mean"]),
    "learning_rate": st.sampled_from([0.1, 1e-6, 1.0, 50.0, 0, "fast"]),
    "max_depth": st.sampled_from([None, 0, 1, 3, -1, 2.5]),
    "subsample": st.sampled_from([1.0, 0.5, 0.01, 0.0]),
    "early_stopping_rounds": st.sampled_from([None, 1, 3, 0]),
    "early_stopping_metric": st.sampled_from([None, "rmse", "crps", "loss", "mape"]),
    "tree_method": st.sampled_from(["hist", "exact", "approx", "auto", "fast"]),
    "xgb_params": st.sampled_from([None, {}, {"max_bin": 4}, {"max_bin": -1}, {"gama": 1}, {"objective": "x"}]),
}
NETWORKS: dict[str, st.SearchStrategy[Any]] = SHARED | {
    "head": st.sampled_from(["auto", "plain", "cumulative", "location", "no.such.Head", "pain"]),
    "learning_rate": st.sampled_from([3e-3, 1e-6, 10.0, 1e6, 0, -1.0]),
    "batch_size": st.sampled_from([None, 1, 2, 1000, 0]),
    "patience": st.sampled_from([None, 1, 0]),
    "early_stopping_metric": st.sampled_from(["rmse", "crps", "loss", "mape"]),
    "backbone_params": st.sampled_from([{"layers": "8"}, {"layers": "8-x"}, {"layer": "8"}, {"dropout": 0.5}]),
    "backbone": st.sampled_from(["MemberMLPConfig", "CategoryEmbeddingModelConfig", "CategoryEmbedding"]),
    "preset": st.sampled_from(["fast", "default", "best", "quick"]),
    "least_squares_share": st.sampled_from([None, 0, 0.25, 0.9, 1]),
    "refit": st.booleans(),
}
CLASSIFIERS = ["n_bins", "placement", "calibration", "calibration_fraction", "random_state"]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A table with a target, weights and new rows, as ``fit`` and ``predict`` take them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # what Hypothesis draws most is what can be fitted
    n = 60 - draw(st.integers(0, 59))
    kinds = draw(st.lists(st.sampled_from([*["numbers", "few"] * 6, *COLUMNS]), min_size=1, max_size=4))
    unique = draw(st.integers(0, 9)) < 9
    names = draw(st.lists(st.sampled_from(NAMES), min_size=len(kinds), max_size=len(kinds), unique=unique))
    frame = pd.concat([pd.Series(COLUMNS[kind](random, n)) for kind in kinds], axis=1)
    frame.columns = pd.Index(names)
    target = draw(st.sampled_from([*["numbers"] * 6, *TARGETS]))
    weight = draw(st.sampled_from([*["none"] * 6, *WEIGHTS]))
    return {
        "X": frame,
        "y": TARGETS[target](random, n),
        "sample_weight": WEIGHTS[weight](random, n),
        "new": frame.sample(n, replace=True, random_state=0) if draw(st.booleans()) else frame[::-1],
    }


@st.composite
def regressors(draw: st.DrawFn) -> Any:
    """A small regressor, now and then with a parameter or two that it must refuse."""
    engine = draw(st.sampled_from(["trees", "trees", "network", "classifier"]))
    if engine == "classifier":
        path = draw(st.sampled_from([*["sklearn.tree.DecisionTreeClassifier"] * 8, "sklearn.tree.Oak", "os.system"]))
        chosen = draw(st.lists(st.sampled_from(CLASSIFIERS), max_size=2, unique=True))
        return ClassifierBridgeRegressor(path, **({"n_bins": 6} | {name: draw(SHARED[name]) for name in chosen}))
    space = TREES if engine == "trees" else NETWORKS
    chosen = draw(st.lists(st.sampled_from(sorted(space)), max_size=3, unique=True))
    params: dict[str, Any] = {name: draw(space[name]) for name in chosen}
    if engine == "trees":
        quick: dict[str, Any] = {"n_estimators": 6, "n_bins": 6, "n_jobs": 1, "verbosity": 0}
        return XGBBridgeRegressor(**(quick | params))
    small: dict[str, Any] = {"max_epochs": 1, "n_bins": 6, "backbone_params": {"layers": "8"}, "pretraining_steps": 5}
    return TabularBridgeRegressor(**(small | params))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_VALID: dict[str, Any] = {
    "table": {"source": "diamonds", "target": "price", "drop": [], "rows": 100},
    "split": {"test": 0.2, "validation": 0.2, "seeds": [0]},
    "models": {"one": {"engine": "xgboost", "scheme": "soft", "n_bins": 8}},
    "study": {"model": "one", "trials": 3, "metric": "rmse", "space": {"n_bins": {"type": "int", "low": 4, "high": 8}}},
}


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """The content of an experiment file with a value that is another, or gone, or one too many."""
    content = {block: dict(values) for block, values in _VALID.items()}
    for _ in range(draw(st.integers(1, 2))):
        block = content[draw(st.sampled_from(sorted(content)))]
        key = draw(st.sampled_from(sorted(block)) | st.text(max_size=8)) if block else "key"
        if draw(st.booleans()):
            block[key] = draw(_VALUES)
        else:
            block.pop(key, None)
    return content


def try_fit(table: dict[str, Any], model: Any) -> str:
    """Fit and predict; returns how it ended.

    Raises
    ------
    AssertionError
        If it ended otherwise than promised.
    """
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(table["X"], table["y"], table["sample_weight"])
            point = model.predict(table["new"])
            quantiles = None
            if hasattr(model, "predict_quantiles"):
                quantiles = model.predict_quantiles(table["new"], LEVELS)
    except (ValueError, TypeError, FloatingPointError) as error:
        _check_line(error)
        return f"refused: {type(error).__name__}"
    finally:
        seconds = time.monotonic() - started
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s"
    assert np.isfinite(point).all(), "a prediction is not finite"
    if quantiles is not None:
        assert np.isfinite(quantiles).all(), "a quantile is not finite"
        assert (np.diff(quantiles, axis=1) >= 0).all(), "quantiles cross"
    return "fitted"


def try_configuration(content: dict[str, Any]) -> str:
    """Read and check an experiment file; returns how it ended."""
    try:
        check_models(Experiment.read(content))
    except ExperimentError as error:
        _check_line(error)
        return "refused"
    return "read"


def _check_line(error: Exception) -> None:
    text = str(error)
    assert text.strip(), f"a {type(error).__name__} that says nothing"
    assert len(text) <= LONGEST_LINE, f"{len(text)} characters: {text[:200]}"
    assert "\n" not in text, f"more than a line: {text[:200]}"


def run_round(number: int, counts: Counter[str]) -> None:
    """Run the cases of a round; raises what the smallest case that breaks a promise has raised."""
    options: dict[str, Any] = {
        "deadline": None, "database": None, "phases": (Phase.generate, Phase.shrink),
        "suppress_health_check": list(HealthCheck),
    }  # fmt: skip

    @seed(number)
    @settings(max_examples=ROUND * 4 // 5, **options)
    @given(tables(), regressors())
    def fit(table: dict[str, Any], model: Any) -> None:
        counts[f"{type(model).__name__} {try_fit(table, model)}"] += 1

    @seed(number)
    @settings(max_examples=ROUND // 5, **options)
    @given(configurations())
    def read(content: dict[str, Any]) -> None:
        counts[f"experiment file {try_configuration(content)}"] += 1

    fit()
    read()


def main() -> int:
    """Run the cases in rounds and print how they ended; a round that breaks a promise ends with that case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further round after so many")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; others count on from it")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    broken, started, number = 0, time.monotonic(), asked.seed
    while sum(counts.values()) < asked.cases and time.monotonic() - started < 60 * asked.minutes:
        try:
            run_round(number, counts)
        # of any kind: that is what is looked for
        except Exception:
            broken += 1
            traceback.print_exc()
        number += 1
        print(f"{sum(counts.values()):7,} cases, {time.monotonic() - started:.0f} s, {broken} broken", flush=True)
    for outcome, count in sorted(counts.items()):
        print(f"{count:7,} {outcome}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
