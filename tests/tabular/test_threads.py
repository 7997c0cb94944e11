"""Networks that are fitted at once, in threads, come out as they do alone, and leave the process as it was."""

import logging
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from bridges_tabular import TabularBridgeRegressor

LOGGERS = ("pytorch_tabular", "pytorch_lightning", "lightning_fabric")


def process_state():
    """What all threads share."""
    levels = [logging.getLogger(name).level for name in LOGGERS]
    drawn = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    return levels, list(warnings.filters), drawn


def at_once(models, X, y):
    """Predictions of models fitted in as many threads, all of which begin together."""
    start = threading.Barrier(len(models))

    def fit(model):
        start.wait()
        return model.fit(X, y).predict(X)

    with ThreadPoolExecutor(len(models)) as pool:
        return list(pool.map(fit, models))


@pytest.mark.parametrize(
    ("backbone", "params"),
    [
        ("CategoryEmbeddingModelConfig", {"layers": "32-16"}),
        ("CategoryEmbeddingModelConfig", {"layers": "32-16", "dropout": 0.3, "embedding_dropout": 0.2}),
        # these draw from the generators of Python and NumPy, and drop out in ways of their own
        ("GatedAdditiveTreeEnsembleConfig", {"gflu_stages": 1, "num_trees": 2, "tree_depth": 2, "gflu_dropout": 0.2}),
        ("NodeConfig", {"num_trees": 16, "num_layers": 2, "depth": 3, "input_dropout": 0.3}),
        ("AutoIntConfig", {"attn_embed_dim": 8, "num_heads": 2, "num_attn_blocks": 1, "attn_dropouts": 0.3}),
    ],
    ids=str,
)
def test_the_same_digits_as_alone(table, backbone, params):
    X, y = table[0][:200], table[1][:200]
    makers = [
        lambda seed=seed: TabularBridgeRegressor(
            backbone, backbone_params=params, n_bins=8, max_epochs=3, random_state=seed
        )
        for seed in range(3)
    ]
    alone = [make().fit(X, y).predict(X) for make in makers]
    before = process_state()
    found = at_once([make() for make in makers], X, y)
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert process_state() == before
    assert not np.array_equal(alone[0], alone[1])


def test_dropout_does_drop_and_what_others_draw_between_epochs_changes_nothing(table):
    X, y = table[0][:200], table[1][:200]

    def make(dropout=0.5):
        params = {"layers": "32-16", "dropout": dropout}
        return TabularBridgeRegressor(backbone_params=params, n_bins=8, max_epochs=3)

    plain = make().fit(X, y).predict(X)
    torch.manual_seed(5)
    disturbed = make().fit(X, y, report=lambda *_: torch.rand(3)).predict(X)
    np.testing.assert_array_equal(disturbed, plain)
    assert not np.allclose(make(0.0).fit(X, y).predict(X), plain)


def test_loading_in_threads_leaves_the_process_as_it_was(table, tmp_path):
    X, y = table[0][:100], table[1][:100]
    model = TabularBridgeRegressor(max_epochs=1, n_bins=8).fit(X, y)
    model.save(tmp_path / "m")
    before = process_state()
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: TabularBridgeRegressor.load(tmp_path / "m"), range(8)))
    assert process_state() == before
    for one in loaded:
        np.testing.assert_array_equal(one.predict(X), model.predict(X))
