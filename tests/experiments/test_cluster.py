"""Models of an experiment that a Dask cluster fits."""

from __future__ import annotations

import multiprocessing
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular import DaskXGBBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.experiments import BridgeStudy, Experiment, ExperimentError, clusters, compare, train

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

N = 300
SMALL = {"engine": "xgboost", "n_estimators": 20, "n_bins": 8, "n_jobs": 1, "learning_rate": 0.2}


def make_table(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size, kind = rng.uniform(1, 5, n), rng.choice(["plain", "fancy"], n)
    price = 10 * size + 15 * (kind == "fancy") + rng.normal(0, 1, n)
    weight = rng.integers(0, 3, n)
    return pd.DataFrame({"size": size, "kind": kind, "weight": weight, "years": 1.0, "price": price})


def experiment(cluster: Any = "local", **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "table": {"source": make_table(), "target": "price", "drop": ["years"], "weight": "weight"},
        "split": {"test": 0.3, "validation": 0.2},
        "models": {"here": dict(SMALL), "there": SMALL | {"cluster": cluster}},
    }
    for place, value in changes.items():
        block, key = place.split("__")
        (content["models"]["there"] if block == "there" else content[block])[key] = value
    return content


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with one worker, in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


def check(comparison: Any) -> None:
    """Both models are about as good, and far better than the mean."""
    assert comparison.errors.empty, comparison.errors["error"].tolist()
    scores = comparison.results.set_index("model")
    for score in ("rmse", "crps"):
        here, there = scores.loc["here", score], scores.loc["there", score]
        assert there < 0.3 * make_table()["price"].std()
        assert there == pytest.approx(here, rel=0.35)


def test_a_cluster_at_an_address(address: str, tmp_path: Path) -> None:
    check(compare(experiment(address), out=tmp_path / "run", quiet=True))


def test_training_sends_weights_and_validation_rows_and_gives_back_a_plain_model(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    fit = DaskXGBBridgeRegressor.fit

    def spied(self: Any, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Any:
        given.append([part if part is None else part.compute() for part in (X, y, sample_weight, *eval_set)])
        return fit(self, X, y, sample_weight, eval_set)

    monkeypatch.setattr(DaskXGBBridgeRegressor, "fit", spied)
    model = train(Experiment.read(experiment(address)), "there", out=tmp_path / "model", quiet=True).fitted.model
    table = make_table()
    assert type(model) is XGBBridgeRegressor
    X = table[["size", "kind"]]
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "model").predict(X), model.predict(X))
    for X, y, weight in (given[0][:3], given[0][3:]):
        rows = table.loc[X.index]
        assert list(X) == ["size", "kind"]
        pd.testing.assert_frame_equal(X.astype({"kind": object}), rows[["size", "kind"]])
        np.testing.assert_array_equal(y, rows["price"])
        np.testing.assert_array_equal(weight, rows["weight"])
    assert not set(given[0][0].index) & set(given[0][3].index)


@pytest.mark.slow
def test_a_cluster_of_this_machine() -> None:
    check(compare(experiment("local"), quiet=True))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (experiment("locl"), "cluster: must be local or the address of a Dask scheduler .*, not 'locl'"),
        (experiment(2), "cluster: must be local or the address"),
        (experiment("tcp://host"), "cluster: must be local or the address .*, not 'tcp://host'"),
        (experiment("tcp://host:port"), "cluster: must be local or the address"),
        (experiment("tcp://host:70000"), "cluster: must be local or the address"),
        (experiment("http://host:8786"), "cluster: must be local or the address"),
        (experiment(there__engine="tabular"), "cluster: a cluster fits engine xgboost alone, not tabular"),
        (experiment(there__engine="pool", there__members=["here"]), "a cluster fits engine xgboost alone, not pool"),
        (experiment(there__location={"estimator": "sklearn.linear_model.Ridge"}), "location=.*: on Dask it is"),
        (experiment(there__location="none"), "location='none' with scheme="),
        (experiment(there__scheme="hard", there__tree_method="exact"), "tree_method='exact' cannot be fitted on Dask"),
        (experiment(there__clster="local"), "unknown key 'clster', did you mean 'cluster'"),
        (experiment(table__exposure="years", table__drop=[]), "cluster: a cluster fits no rates: .* table.exposure"),
        (experiment(split__group="kind"), "cluster: a cluster keeps no groups together: .* split.group"),
    ],
)
def test_what_no_cluster_fits_is_refused_in_one_line(content: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(XGBBridgeRegressor, "fit", pytest.fail)
    for start in (lambda: compare(content, quiet=True), lambda: train(Experiment.read(content), "there", quiet=True)):
        with pytest.raises(ExperimentError, match=words) as caught:
            start()
        assert str(caught.value).startswith("models.there")
        assert "\n" not in str(caught.value)


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_SECONDS", 0.3)
    monkeypatch.setattr(XGBBridgeRegressor, "fit", pytest.fail)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ExperimentError, match=f"^models.there.cluster: {nobody} does not answer: [^\\n]*$"):
            compare(experiment(nobody), quiet=True)


def test_a_cluster_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(XGBBridgeRegressor, "fit", pytest.fail)
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
        ) as cluster,
        pytest.raises(ExperimentError, match=r"^models.there.cluster: tcp://.* has no workers$"),
    ):
        compare(experiment(cluster.scheduler_address), quiet=True)


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bridges_tabular.boosting.dask", "bridges_tabular.boosting.dask.regressor"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ExperimentError, match=r'^models.there.cluster: .* pip install "bridges-tabular\[dask\]"$'):
        compare(experiment(), quiet=True)


def test_a_study_does_not_search_on_a_cluster() -> None:
    with pytest.raises(ExperimentError, match=r"^models.there.cluster: a study runs trials on this machine alone"):
        BridgeStudy(experiment() | {"study": {"model": "there", "trials": 1}})
