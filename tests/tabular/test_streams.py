"""Networks fitted to tables that are read part by part, against fits to the same rows in memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import torch
from sklearn.base import clone

from bridges_tabular import TabularBridgeRegressor, load
from bridges_tabular.core.scores import crps
from bridges_tabular.regressors.digest import TableDigest
from bridges_tabular.regressors.stored import ValuesWriter
from bridges_tabular.tabular import stored
from bridges_tabular.tabular.features import FeatureTensors
from bridges_tabular.tabular.stored import StoredBatches

FEATURES = ["carat", "depth", "cut", "sold"]


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "carat": rng.gamma(2, 1, n),
            "depth": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "cut": rng.choice(["Fair", "Good", "Ideal"], n),
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 800, n), "h"),
        }
    )
    noise = (0.1 + 0.2 * frame["carat"]) * rng.normal(size=n)
    frame["price"] = 3 * frame["carat"] + np.nan_to_num(frame["depth"]) + (frame["cut"] == "Ideal") + noise
    return frame.assign(copies=rng.integers(0, 3, n))


def regressor(**params: Any) -> TabularBridgeRegressor:
    backbone = {"layers": "8", "n_members": 2, "embedding_dim": 2, "embedding_bins": 4, "frequencies": 2}
    return TabularBridgeRegressor(
        **{"n_bins": 8, "max_epochs": 2, "batch_size": 64, "backbone_params": backbone} | params
    )


def quantiles(model: Any, frame: pd.DataFrame) -> Any:
    return model.predict_quantiles(frame[model.feature_names_in_], [0.1, 0.5, 0.9])


def parts_of(frame: pd.DataFrame, *cuts: int) -> list[pd.DataFrame]:
    return [frame.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True)]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Three parts in parquet, the second without rows, the third with its columns in another order."""
    parts = parts_of(table(200), 80, 80)
    parts[2] = parts[2][parts[2].columns[::-1]]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"part-{number}.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"scheme": "least_squares"},
        {"scheme": "pretrained", "pretraining_steps": 10, "support": (0, None)},
        {"backbone": "GANDALFConfig", "backbone_params": {"gflu_stages": 1}, "patience": 1},
    ],
    ids=["members", "least_squares", "pretrained", "gandalf"],
)
def test_a_stream_gives_the_model_of_the_same_rows_in_memory(params: Any) -> None:
    train, held_out = (
        table(n, seed).assign(price=lambda frame: frame["price"].abs()) for n, seed in ((150, 0), (60, 1))
    )
    watched = (held_out[FEATURES], held_out["price"], held_out["copies"])
    expected = regressor(**params).fit(train[FEATURES], train["price"], train["copies"], watched)
    found = regressor(**params).fit(parts_of(train, 10, 11, 120), "price", "copies", parts_of(held_out, 50))
    # targets are prepared batch by batch, whose products round in another order
    np.testing.assert_allclose(quantiles(found, held_out), quantiles(expected, held_out), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.predict(held_out[FEATURES]), expected.predict(held_out[FEATURES]), rtol=1e-4)
    assert found.facts_ == expected.facts_
    assert found.best_epoch_ == expected.best_epoch_
    for name, scores in expected.evals_result_["validation_0"].items():
        np.testing.assert_allclose(found.evals_result_["validation_0"][name], scores, rtol=1e-4)
    assert list(found.feature_names_in_) == FEATURES


def test_how_rows_are_divided_into_parts_does_not_matter(parquet: Path) -> None:
    frame, new = table(200), table(30, 2)
    model = regressor()
    whole = quantiles(model.fit([frame], "price"), new)
    files = [str(path) for path in sorted(parquet.glob("*.parquet"))]
    again = [
        lambda: iter(parts_of(frame, 1, 199)),
        str(parquet / "*.parquet"),
        ds.dataset(files, schema=pa.Schema.from_pandas(frame, preserve_index=False)),
    ]
    for source in again:
        np.testing.assert_array_equal(quantiles(clone(model).fit(source, "price"), new), whole)
    # others are held out by another seed
    assert np.abs(quantiles(regressor(random_state=1).fit([frame], "price"), new) - whole).max() > 0


def test_a_small_buffer_costs_no_quality(monkeypatch: Any) -> None:
    # in the order of the target: a buffer of neighbours would unlearn what the one before it taught
    frame, new = table(300).drop(columns="copies").sort_values("price"), table(200, 3)
    y = new["price"].to_numpy()
    settings = {"max_epochs": 8, "batch_size": 16}
    in_memory = regressor(**settings).fit(frame[FEATURES], frame["price"])
    monkeypatch.setattr(stored, "_BUFFER_SIZE", 1)
    streamed = regressor(**settings).fit(parts_of(frame, 100), "price")
    one, other = (crps(model.predict_distribution(new[FEATURES]), y) for model in (in_memory, streamed))
    assert other == pytest.approx(one, rel=0.15)


@pytest.mark.parametrize("rows", [1, 2, 129, 300])
def test_each_pass_has_every_row_once_in_a_new_order(rows: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(stored, "_BUFFER_SIZE", 1)
    writer = ValuesWriter(tmp_path / "values", 2)
    numbers = np.arange(rows, dtype=np.float32)
    codes = np.arange(rows, dtype=np.int32)
    for at in (slice(0, 100), slice(100, rows)):
        writer.add(np.column_stack([numbers[at], codes[at].view(np.float32)]))
    values = writer.written.append(numbers + 0.5).append(numbers + 0.25)
    batches = StoredBatches(values, 1, 1, 16, 0, torch.device("cpu"))
    passes = []
    for _ in range(2):
        seen = list(batches)
        order = torch.cat([batch["continuous"][:, 0] for batch in seen]).numpy()
        for name, column, beyond in (("categorical", 0, 0), ("target", 0, 0.5), ("sample_weight", None, 0.25)):
            at = torch.cat([batch[name] if column is None else batch[name][:, column] for batch in seen]).numpy()
            np.testing.assert_array_equal(at, order + beyond)
        np.testing.assert_array_equal(np.sort(order), numbers)
        assert max(len(batch["target"]) for batch in seen) <= 16
        assert rows == 1 or min(len(batch["target"]) for batch in seen) > 1
        passes.append(order)
    assert rows < 3 or (passes[0] != passes[1]).any()
    if rows == 300:
        # the first buffer, of a third of the rows, is of all places of the file
        assert np.histogram(passes[0][:100], 4, (0, 300))[0].min() > 10


def test_rows_that_are_not_drawn_count(tmp_path: Path) -> None:
    n = 10_000
    frame = pd.DataFrame({"plain": np.arange(n) % 7.0, "rare": 0.0, "gap": 1.0, "fixed": 1e9 + 0.1})
    frame.loc[n - 1, ["rare", "gap"]] = 1e-3, np.nan
    digest = TableDigest()
    digest.add(frame)
    columns = digest.encoder()
    drawn = FeatureTensors(columns).fit_drawn(frame.iloc[:5_000], digest)
    whole = FeatureTensors(columns).fit(frame)
    assert drawn.continuous_names == whole.continuous_names == ["plain", "rare", "gap", "fixed", "gap is missing"]
    found, expected = (features.transform(frame)[0].numpy() for features in (drawn, whole))
    np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=1e-2)
    # a single row beside a constant: the bound is the deviation
    np.testing.assert_allclose(found[-1, 1], expected[-1, 1], rtol=1e-3)
    assert expected[-1, 1] == pytest.approx(np.sqrt(n), rel=1e-3)
    # the mean of so large a constant is rounded
    np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=1e-3)
    # of all rows drawn nothing is left to add
    complete = FeatureTensors(columns).fit_drawn(frame, digest)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(complete.arrays()[name], array)


def test_a_column_without_a_known_value_among_the_drawn_is_centred_on_one() -> None:
    frame = pd.DataFrame({"x": [np.nan] * 99 + [1e9]})
    digest = TableDigest()
    digest.add(frame)
    features = FeatureTensors(digest.encoder()).fit_drawn(frame.iloc[:50], digest)
    np.testing.assert_array_equal(features.transform(frame)[0].numpy(), [[0, 1]] * 99 + [[0, 0]])


def test_categories_and_values_of_later_parts_alone_are_known() -> None:
    first, second = table(100).assign(cut="Fair", depth=np.nan), table(100, 1).assign(cut="Ideal")
    second["price"] += 20
    model = regressor(validation_fraction=0.1, batch_size=8, max_epochs=8).fit([first, second], "price")
    assert model._columns.categories["cut"] == ["Fair", "Ideal"]
    new = table(50, 2).drop(columns="price")
    low, high = (model.predict(new.assign(cut=cut)) for cut in ("Fair", "Ideal"))
    assert np.mean(high - low) > 3


def test_weights_by_name_count() -> None:
    frame = table(150)
    watched = [table(40, 1)]
    model = regressor().fit([frame], "price", "copies", watched)
    assert list(model.feature_names_in_) == FEATURES
    # rows of weight zero are left out, whatever they hold
    odd = frame.assign(price=frame["price"].where(frame["copies"] > 0, 1e6))
    np.testing.assert_array_equal(
        quantiles(regressor().fit([odd], "price", "copies", watched), frame), quantiles(model, frame)
    )
    alike = regressor().fit([frame.assign(copies=np.minimum(frame["copies"], 1))], "price", "copies", watched)
    assert np.abs(quantiles(alike, frame) - quantiles(model, frame)).max() > 1e-3


def test_shares_are_held_out_for_validation_and_for_conformal_intervals() -> None:
    frame = table(300).drop(columns="copies")
    model = regressor(calibration_fraction=0.2, max_epochs=1).fit([frame], "price")
    assert model.facts_["rows"] == pytest.approx(0.8 * 0.8 * 300, abs=25)
    assert model.predict_interval(frame[FEATURES], 0.8, conformal=True).shape == (300, 2)


def test_saved_models_predict_the_same(parquet: Path, tmp_path: Path) -> None:
    frame = table(50, 1)
    model = regressor().fit(parquet, "price", "copies")
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(quantiles(again, frame), quantiles(model, frame))
    np.testing.assert_array_equal(again.predict_members(frame[FEATURES]), model.predict_members(frame[FEATURES]))


@pytest.mark.parametrize(
    ("params", "X", "arguments", "words"),
    [
        ({"warm_start": True}, None, {}, "warm_start=True needs the table in memory"),
        ({"refit": True}, None, {}, "refit=True needs the table in memory"),
        ({}, None, {"groups": np.zeros(50)}, "neither exposures nor groups are taken"),
        ({}, None, {"sample_weight": np.ones(50)}, "sample_weight is the name of one"),
        ({}, None, {"sample_weight": "weight"}, "part 0 of X: it lacks column 'weight'"),
        ({}, None, {"eval_set": (table(9), table(9)["price"])}, "validation rows are an eval_set like X"),
        ({}, None, {"eval_set": [table(9).drop(columns="price")]}, "part 0 of eval_set: it lacks column 'price'"),
        ({"max_epochs": 0}, None, {}, "max_epochs"),
        ({}, "nowhere/*.parquet", {}, "X='nowhere/*.parquet' matches no file"),
        ({}, [table(50), table(9).assign(depth=-np.inf)], {}, "part 1 of X: column 'depth' holds 5 value(s) that are"),
        ({}, (part for part in [table(50)]), {}, "X is a generator, which can be read but once"),
        ({}, [table(1)], {}, "X holds 1 rows with a weight, which leave no "),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_line(params: Any, X: Any, arguments: Any, words: str) -> None:
    reads = 0

    def read() -> Any:
        nonlocal reads
        reads += 1
        return [table(50)]

    model = regressor(**params)
    with pytest.raises((ValueError, TypeError), match=re.escape(words)) as caught:
        model.fit(read if X is None else X, "price", **arguments)
    assert "\n" not in str(caught.value)
    assert not hasattr(model, "n_features_in_")
    assert reads == 0 or not params


def test_files_need_the_name_of_a_column() -> None:
    with pytest.raises(ValueError, match=re.escape("X='data/*.parquet' names files: y must be the name")):
        regressor().fit("data/*.parquet", np.zeros(3))


_PEAK = """
import resource, sys
import numpy as np, pandas as pd
from bridges_tabular import TabularBridgeRegressor
from bridges_tabular.regressors import streamed
from bridges_tabular.tabular import stored
stored._BUFFER_SIZE, streamed._DESCRIBED_ROWS = 1 << 20, 1 << 12

def parts():
    for seed in range(int(sys.argv[1])):
        X = np.random.default_rng(seed).normal(size=(5_000, 100))
        yield pd.DataFrame(X, columns=[f"x{j}" for j in range(100)]).assign(y=X[:, 0] + X[:, 1])

small = {"layers": "4", "n_members": 1, "embedding": "none"}
TabularBridgeRegressor(n_bins=8, max_epochs=1, backbone_params=small, batch_size=512).fit(parts, "y")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_memory_grows_by_far_less_than_the_rows() -> None:
    parts = 8, 32
    peaks = [
        int(subprocess.run([sys.executable, "-c", _PEAK, str(n)], check=True, capture_output=True, text=True).stdout)
        for n in parts
    ]
    # the table has eight bytes of each of 100 numbers, and tensors four
    of_a_row = (peaks[1] - peaks[0]) / ((parts[1] - parts[0]) * 5_000)
    assert of_a_row < 100 * 4 / 2
