"""Batches cut from tensors: the rows that pytorch-tabular's own loader gives, in the same order."""

import numpy as np
import pytest
import torch
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import CategoryEmbeddingModelConfig
from torch.utils.data import SubsetRandomSampler

from bridges_tabular import BridgeConfig, TensorDatamodule
from bridges_tabular.tabular.datamodule import ShuffledBatches, TensorTable


def tabular_model(frame, model_config):
    model = TabularModel(
        data_config=DataConfig(
            target=["target"],
            continuous_cols=[name for name in frame if name not in ("sex", "target", "weight")],
            categorical_cols=["sex"],
        ),
        model_config=model_config,
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=64,
            max_epochs=4,
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
    return model


STOCK = {"task": "regression", "layers": "16-8"}
BRIDGE = {"task": "regression", "n_bins": 8, "backbone_config_params": {"layers": "16-8"}}


@pytest.mark.parametrize("config", [CategoryEmbeddingModelConfig(**STOCK), BridgeConfig(**BRIDGE)])
@pytest.mark.parametrize("sampled", [False, True])
def test_the_same_results_as_with_the_stock_loader(frame, tmp_path, monkeypatch, config, sampled):
    monkeypatch.chdir(tmp_path)
    predictions = []
    for tensors in (False, True):
        torch.manual_seed(0)
        sampler = SubsetRandomSampler(range(100)) if sampled else None
        model = tabular_model(frame, config)
        if tensors:
            datamodule = TensorDatamodule(frame[:350], model.config, train_sampler=sampler, seed=7)
            datamodule.setup("fit")
            model.fit(train=None, datamodule=datamodule, seed=7)
        else:
            model.fit(frame[:350], train_sampler=sampler, seed=7)
        predictions.append(model.predict(frame[350:])["target_prediction"].to_numpy())
    np.testing.assert_allclose(predictions[1], predictions[0], rtol=2e-5)
    assert np.ptp(predictions[0]) > 0


def test_each_pass_holds_every_row_once_in_even_batches():
    table = TensorTable({"continuous": torch.arange(1001.0)[:, None], "target": torch.arange(1001.0)[:, None]})
    batches = ShuffledBatches(table, 64, torch.Generator().manual_seed(0))
    orders = []
    for _ in range(2):
        parts = list(batches)
        assert len(parts) == len(batches) == 16
        assert {len(part["target"]) for part in parts} == {62, 63}
        for part in parts:
            assert torch.equal(part["continuous"], part["target"])
        orders.append(torch.cat([part["target"] for part in parts])[:, 0])
        assert torch.equal(orders[-1].sort().values, torch.arange(1001.0))
    assert not torch.equal(*orders)


def test_a_table_that_is_gathered_in_pieces_is_complete(monkeypatch):
    monkeypatch.setattr("bridges_tabular.tabular.datamodule._GATHERED_ROWS", 100)
    table = TensorTable({"continuous": torch.arange(1001.0)[:, None]})
    rows = torch.cat([part["continuous"] for part in ShuffledBatches(table, 64, torch.Generator())])
    assert torch.equal(rows[:, 0].sort().values, torch.arange(1001.0))


def test_sample_weights_reach_the_model(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predictions = {}
    for heavy in (1.0, 30.0):
        weighted = frame.assign(weight=np.where(frame["target"] > 150, heavy, 1.0))
        model = tabular_model(frame, BridgeConfig(**(BRIDGE | {"learning_rate": 1e-2})))
        datamodule = TensorDatamodule(weighted[:350], model.config, sample_weight="weight")
        datamodule.setup("fit")
        model.fit(train=None, datamodule=datamodule)
        predictions[heavy] = model.predict(frame[350:])["target_prediction"].mean()
    assert predictions[30.0] > predictions[1.0] + 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f, "train has no column 'weight'"),
        (lambda f: f.assign(weight=-1.0), "train: column 'weight' must hold finite weights"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(frame, change, message):
    config = tabular_model(frame, BridgeConfig(**BRIDGE)).config
    with pytest.raises(ValueError, match=message):
        TensorDatamodule(change(frame), config, sample_weight="weight")
