"""DaskXGBBridgeRegressor on a cluster of two processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor

import bridges_tabular
from bridges_tabular import DaskXGBBridgeRegressor, XGBBridgeRegressor

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

import dask.array as da  # noqa: E402
import dask.dataframe as dd  # noqa: E402

RNG = np.random.default_rng(0)
N = 1_200
# few different values: quantiles are exact, wherever the rows lie
X = pd.DataFrame(
    {"a": RNG.integers(0, 40, N) / 10, "b": RNG.integers(0, 30, N) / 7, "c": RNG.choice(list("xyz"), N)},
    index=pd.RangeIndex(100, 100 + N),
)
Y = pd.Series(np.sin(X["a"]) + X["b"] * (X["c"] == "x") + 0.3 * RNG.normal(size=N), X.index, name="price")
NUMBERS = X[["a", "b"]].to_numpy()
SMALL: dict[str, Any] = {"n_estimators": 30, "n_bins": 8, "subsample": 1.0, "n_jobs": 1, "verbosity": 0}
TABLE, TARGET = dd.from_pandas(X, npartitions=5), dd.from_pandas(Y, npartitions=5)

processes = pytest.mark.slow


@contextmanager
def two_workers() -> Iterator[Any]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        # imports take their time
        client.run(lambda: bridges_tabular.DaskXGBBridgeRegressor)
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with two_workers() as client:
        yield client


@pytest.fixture
def doomed() -> Iterator[Any]:
    """A cluster of its own, whose workers may be killed: Dask waits without end for those that do not come back."""
    with two_workers() as client:
        yield client


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise TimeoutError("a cluster did not answer")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def fitted(client: Any) -> DaskXGBBridgeRegressor:
    return DaskXGBBridgeRegressor(**SMALL).fit(TABLE, TARGET)


def one_worker() -> Any:
    return distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")


def test_without_a_client() -> None:
    # before any test has one
    with pytest.raises(ValueError, match="there is no Dask client: make one"):
        DaskXGBBridgeRegressor().fit(TABLE, TARGET)


def test_one_worker_in_this_process() -> None:
    x, y = da.from_array(NUMBERS, chunks=(400, 1)), da.from_array(Y.to_numpy(), chunks=400)
    with one_worker() as cluster, distributed.Client(cluster, set_as_default=False) as client:
        model = DaskXGBBridgeRegressor(**SMALL)
        model.client = client
        model.fit(x, y)
        with client.as_current():
            found = model.predict(x)
            assert found.chunks == ((400, 400, 400),)
            np.testing.assert_array_equal(client.gather(client.compute(found)), model.to_local().predict(NUMBERS))
        # by the client of its own
        score = model.score(x, y)
        assert isinstance(score, float)
        assert score == pytest.approx(model.to_local().score(NUMBERS, Y))
        with pytest.raises(ValueError, match=r"^partition 0: Input y contains NaN"):
            model.score(x, da.from_array(Y.where(Y.index != 100).to_numpy(), chunks=400))
    assert not hasattr(model, "feature_names_in_")
    # chunks of arrays without names, of rows with a single one: no more than the mean of b is known of c
    assert np.std(model.to_local().predict(NUMBERS) - Y) < 0.95 * np.std(Y)


def test_a_row_of_weight_zero_is_no_row() -> None:
    gone = np.where(X["b"] > 4, 0.0, 1.0)

    def fit(y: Any) -> Any:
        parts = (dd.from_pandas(one, npartitions=3) for one in (X, y, pd.Series(gone, X.index)))
        return DaskXGBBridgeRegressor(**SMALL | {"n_estimators": 5}).fit(*parts).to_local().predict(X)

    # one worker adds up in one order
    with one_worker() as cluster, distributed.Client(cluster):
        np.testing.assert_array_equal(fit(Y), fit(Y.where(X["b"] <= 4, 1e6)))


@processes
def test_collections_of_predictions(fitted: Any) -> None:
    local = fitted.to_local()
    point = fitted.predict(TABLE)
    assert isinstance(point, dd.Series)
    pd.testing.assert_series_equal(point.compute(), pd.Series(local.predict(X), X.index))
    for found, expected in (
        (fitted.predict_quantiles(TABLE, [0.1, 0.9]), local.predict_quantiles(X, [0.1, 0.9])),
        (fitted.predict_interval(TABLE, 0.8, conformal=True), local.predict_interval(X, 0.8, conformal=True)),
        (fitted.predict_contributions(TABLE), local.predict_contributions(X)),
    ):
        assert isinstance(found, da.Array)
        assert found.shape[1:] == expected.shape[1:]
        np.testing.assert_allclose(found.compute(), expected, atol=1e-5)
    distributions = dask.compute(*fitted.predict_distribution(TABLE))
    means = np.concatenate([one.mean for one in distributions])
    np.testing.assert_allclose(means, local.predict(X), atol=1e-6)


@processes
def test_scores_are_those_of_the_rows_in_memory(fitted: Any) -> None:
    weight = (X["a"] + 1).where(X["a"] < 3, 0)
    expected = fitted.to_local().score(X, Y, weight)
    assert fitted.score(TABLE, TARGET, dd.from_pandas(weight, npartitions=5)) == pytest.approx(expected)
    one = X["b"] == X["b"].iloc[0]
    assert fitted.score(TABLE[dd.from_pandas(one, npartitions=5)], 0 * TARGET[dd.from_pandas(one, npartitions=5)]) == 0
    with pytest.raises(ValueError, match=r"^X holds no rows with a weight$"):
        fitted.score(TABLE, TARGET, 0 * TARGET)


@processes
@pytest.mark.parametrize("scheme", ["least_squares", "hard", "soft", "pretrained", "end_to_end"])
def test_two_workers_grow_the_trees_of_one(scheme: str, client: Any) -> None:
    model = DaskXGBBridgeRegressor(scheme, **SMALL, early_stopping_rounds=20).fit(TABLE, TARGET)
    with one_worker() as cluster, distributed.Client(cluster, set_as_default=False) as alone:
        other = DaskXGBBridgeRegressor(scheme, **SMALL, early_stopping_rounds=20)
        other.client = alone
        other.fit(TABLE, TARGET)
    assert other.best_iteration_ == model.best_iteration_
    two, one = model.to_local(), other.to_local()
    np.testing.assert_allclose(two.predict(X), one.predict(X), atol=1e-5)
    np.testing.assert_allclose(
        two.predict_quantiles(X, [0.05, 0.95]), one.predict_quantiles(X, [0.05, 0.95]), atol=1e-4
    )
    for name, scores in one.evals_result_.items():
        for metric, values in scores.items():
            np.testing.assert_allclose(model.evals_result_[name][metric], values, atol=1e-5)


@processes
def test_as_good_as_in_one_process(client: Any) -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(6_000, 4)), columns=list("abcd"))
    noise = (0.2 + 0.5 * (table["d"] > 0)) * rng.normal(size=6_000)
    y = 2 * table["a"] + np.sin(3 * table["b"]) * table["c"] + noise
    new, truth = table[3_000:], y[3_000:]
    given = {"n_estimators": 100, "n_bins": 16, "n_jobs": 1}
    scores = {}
    for seed in (0, 1):
        local = XGBBridgeRegressor(**given, random_state=seed).fit(table[:3_000], y[:3_000])
        parts = dd.from_pandas(table[:3_000], npartitions=4), dd.from_pandas(y[:3_000], npartitions=4)
        shared = DaskXGBBridgeRegressor(**given, random_state=seed).fit(*parts).to_local()
        for name, model in (("local", local), ("dask", shared)):
            distribution = model.predict_distribution(new)
            scores[name, seed] = [np.sqrt(np.mean((model.predict(new) - truth) ** 2)), distribution.crps(truth).mean()]
    local, shared = (np.mean([scores[name, seed] for seed in (0, 1)], axis=0) for name in ("local", "dask"))
    np.testing.assert_allclose(shared, local, rtol=0.04)


@processes
def test_weights_ratios_alone_matter_and_zero_is_no_row(client: Any) -> None:
    weight = np.where(X["c"] == "x", 4.0, 1.0)
    given = DaskXGBBridgeRegressor(**SMALL)

    def fit(weights: Any, y: Any = Y) -> Any:
        parts = (dd.from_pandas(one, npartitions=5) for one in (X, y, pd.Series(weights, X.index)))
        return clone(given).fit(*parts).to_local().predict(X)

    weighted, plain = fit(weight), clone(given).fit(TABLE, TARGET).to_local().predict(X)
    np.testing.assert_allclose(fit(weight * 1e200), weighted, atol=1e-6)
    np.testing.assert_allclose(fit(np.full(N, 7.0)), plain, atol=1e-6)
    assert np.abs(weighted - plain).max() > 1e-3
    gone = np.where(X["b"] > 4, 0.0, 1.0)
    # workers add up in whichever order they come
    np.testing.assert_allclose(fit(gone), fit(gone, Y.where(X["b"] <= 4, 1e6)), atol=1e-6)


@processes
def test_validation_rows_of_an_eval_set(client: Any) -> None:
    first, last = slice(0, 800), slice(800, N)
    train = [dd.from_pandas(one[first], npartitions=3) for one in (X, Y)]
    watched = [dd.from_pandas(one[last], npartitions=2) for one in (X, Y)]
    shared = DaskXGBBridgeRegressor(**SMALL).fit(*train, eval_set=[tuple(watched)])
    local = XGBBridgeRegressor(**SMALL).fit(X[first], Y[first], eval_set=(X[last], Y[last]))
    assert shared.facts_["rows"] == local.facts_["rows"] == 800
    # the location's first model sees the same rows in both, without anything drawn
    expected = local.evals_result_["location"]["rmse"]
    np.testing.assert_allclose(shared.evals_result_["location"]["rmse"], expected, rtol=1e-4)


@processes
def test_weights_where_a_worker_has_validation_rows_alone(client: Any) -> None:
    first, last = slice(0, 800), slice(800, N)
    weight = pd.Series(np.where(X["c"] == "x", 4.0, 1.0), X.index)
    train = [dd.from_pandas(one[first], npartitions=1) for one in (X, Y, weight)]
    watched = tuple(dd.from_pandas(one[last], npartitions=1) for one in (X, Y))
    shared = DaskXGBBridgeRegressor(**SMALL).fit(*train, eval_set=watched)
    local = XGBBridgeRegressor(**SMALL).fit(X[first], Y[first], weight[first], eval_set=(X[last], Y[last]))
    expected = local.evals_result_["location"]["rmse"]
    np.testing.assert_allclose(shared.evals_result_["location"]["rmse"], expected, rtol=1e-4)


@processes
def test_empty_partitions_and_unknown_divisions(client: Any, fitted: Any) -> None:
    frames = [X[:0], X[:300], X[300:300], X[300:301], X[301:]]
    holed = dd.from_map(lambda number: frames[number], range(5), meta=X[:0])
    targets = dd.from_map(lambda number: Y.loc[frames[number].index], range(5), meta=Y[:0])
    assert not holed.known_divisions
    model = DaskXGBBridgeRegressor(**SMALL).fit(holed, targets)
    assert np.std(model.predict(holed).compute() - Y) < 1.2 * np.std(fitted.to_local().predict(X) - Y)
    assert model.predict_quantiles(holed, [0.2, 0.8]).compute().shape == (N, 2)
    distributions = dask.compute(*model.predict_distribution(holed))
    assert [one is None for one in distributions] == [True, False, True, False, False]


@processes
def test_files_of_many_columns(client: Any, tmp_path: Any) -> None:
    # Dask would read several files as one partition of a single column
    wide = X.assign(**{f"other{j}": 0.0 for j in range(9)}, price=Y)
    for part in range(4):
        wide[300 * part : 300 * part + 300].to_parquet(tmp_path / f"{part}.parquet")
    table = dd.read_parquet(tmp_path / "*.parquet")
    features = table.drop(columns=["price"])
    model = DaskXGBBridgeRegressor(**SMALL).fit(features, table["price"])
    assert model.facts_["rows"] > 0.7 * N
    assert np.std(model.predict(features).compute() - Y) < 0.6 * np.std(Y)


@processes
def test_columns_of_categories_known_and_unknown(client: Any) -> None:
    # each partition has categories of its own
    order = np.argsort(X["c"].to_numpy(), kind="stable")
    table, y = X.iloc[order].reset_index(drop=True), Y.iloc[order].reset_index(drop=True)
    text = dd.from_pandas(table, npartitions=6, sort=False)
    target = dd.from_pandas(y, npartitions=6, sort=False)
    unknown = text.assign(c=text["c"].astype("category"))
    assert not unknown["c"].cat.known
    found = [DaskXGBBridgeRegressor(**SMALL).fit(one, target) for one in (text, unknown, unknown.categorize())]
    expected = found[0].to_local().predict(table)
    for one in found[1:]:
        assert one._columns.categories == {"c": ["x", "y", "z"]}
        np.testing.assert_allclose(one.to_local().predict(table), expected, atol=1e-6)


@processes
def test_dates_of_another_type_or_zone_in_each_partition(client: Any) -> None:
    frame = X.assign(when=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) % 90, "D"))
    parts = [frame[start : start + 400] for start in (0, 400, 800)]
    whens = parts[0]["when"], parts[1]["when"].dt.tz_localize("Asia/Tokyo"), parts[2]["when"].dt.date
    parts = [part.assign(when=when) for part, when in zip(parts, whens, strict=True)]
    # Dask would make text of days
    with dask.config.set({"dataframe.convert-string": False}):
        mixed = dd.from_delayed([dask.delayed(part) for part in parts], meta=frame[:0], verify_meta=False)
    x, y = dd.from_pandas(frame, npartitions=3), dd.from_pandas(Y, npartitions=3)
    found, expected = (DaskXGBBridgeRegressor(**SMALL).fit(one, y).to_local() for one in (mixed, x))
    assert found.facts_ == expected.facts_
    np.testing.assert_allclose(found.predict(frame), expected.predict(frame), atol=1e-5)


@processes
def test_a_saved_model_needs_no_cluster(fitted: Any, tmp_path: Any) -> None:
    fitted.save(tmp_path / "m")
    local = bridges_tabular.load(tmp_path / "m")
    assert type(local) is XGBBridgeRegressor
    np.testing.assert_array_equal(local.predict(X), fitted.predict(TABLE).compute())
    again = DaskXGBBridgeRegressor.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(TABLE).compute(), local.predict(X))
    assert again.get_params() == local.get_params() == fitted.get_params()


@processes
def test_a_worker_killed_during_a_fit(doomed: Any) -> None:
    given = DaskXGBBridgeRegressor(**SMALL | {"n_estimators": 300}, early_stopping_rounds=None)
    expected = clone(given).fit(TABLE, TARGET).to_local().predict(X)
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(_kill_when, doomed, "train_shard")
        with pytest.warns(bridges_tabular.boosting.dask.cluster.WorkerLostWarning, match="begins anew"):
            model = clone(given).fit(TABLE, TARGET)
        assert killed.result()
    np.testing.assert_allclose(model.to_local().predict(X), expected, atol=1e-4)


@processes
def test_a_worker_killed_while_predicting(doomed: Any) -> None:
    # within the test, so that it reaches the workers by value: they need not find this module
    def once_killed(frame: pd.DataFrame) -> pd.DataFrame:
        distributed.Event("killed").wait()
        return frame

    fitted = DaskXGBBridgeRegressor(**SMALL).fit(TABLE, TARGET)
    slow = TABLE.map_partitions(once_killed, meta=X[:0])
    found = doomed.compute(fitted.predict(slow))
    assert _kill_when(doomed, "once_killed")
    distributed.Event("killed").set()
    pd.testing.assert_series_equal(found.result(timeout=120), pd.Series(fitted.to_local().predict(X), X.index))


def _kill_when(client: Any, task: str) -> bool:
    """Kill a worker that has such a task, once it has had it for a while; whether there was one."""
    pids = client.run(os.getpid)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        busy = [address for address, keys in client.processing().items() if any(task in str(key) for key in keys)]
        if busy:
            time.sleep(0.3)
            os.kill(pids[busy[-1]], signal.SIGKILL)
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"location": HistGradientBoostingRegressor()}, "location=.*on Dask it is 'cross_fitted' or 'none'"),
        ({"location": "none"}, "location='none' with scheme='end_to_end' cannot"),
        ({"scheme": "least_squares", "tree_method": "exact"}, "tree_method='exact' cannot"),
        ({"callbacks": [bridges_tabular.boosting.rehearsal.TrainingCallback()]}, "callbacks are not called"),
        ({"n_bins": 1}, "'n_bins' parameter"),
    ],
)
def test_what_cannot_be_shared_is_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        DaskXGBBridgeRegressor(**params).fit(TABLE, TARGET)
    assert "\n" not in str(caught.value)
    DaskXGBBridgeRegressor("hard", location="none").check_params()


@processes
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x, y: (X, y), TypeError, "X is a DataFrame, expected a dask"),
        (lambda x, y: (x, Y), TypeError, "y is a Series, expected a dask"),
        (lambda x, y: (x, None), ValueError, "requires y to be passed"),
        (lambda x, y: (x, y.repartition(npartitions=3)), ValueError, "y has 3 partitions and X 5"),
        (lambda x, y: (x, y.where(y < 1.5)), ValueError, r"partition \d: Input y contains NaN"),
        (lambda x, y: (x, y, -y), ValueError, r"partition \d: sample_weight holds negative"),
        (lambda x, y: (x, y[y < 1]), ValueError, r"partition \d: X has 240 rows, y"),
        (lambda x, y: (x.assign(a=x["a"] / 0), y), ValueError, "column 'a' holds"),
        (lambda x, y: (x[[]], y), ValueError, r"partition \d: Found 0 feature\(s\) while a minimum"),
        (lambda x, y: (x, y, None, (x[["a"]], y)), ValueError, r"eval_set: it lacks column\(s\) 'b', 'c', which rows"),
        (lambda x, y: (x, y, None, (x.assign(n=1), y)), ValueError, r"eval_set: it has column\(s\) 'n', which rows"),
        (lambda x, y: (x, y, y * 0), ValueError, "X holds too few of 0 rows"),
    ],
)
def test_what_cannot_be_used_is_refused(change: Callable[..., Any], error: Any, words: str, client: Any) -> None:
    given = change(TABLE, TARGET)
    with pytest.raises(error, match=words) as caught:
        DaskXGBBridgeRegressor(**SMALL).fit(*given)
    assert "\n" not in str(caught.value)
