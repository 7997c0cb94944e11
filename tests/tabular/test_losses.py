"""What Lightning logs of a native fit, and the units in which BridgeModel computes."""

import numpy as np
import pytest
import pytorch_lightning
import torch
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

from bridges_tabular import BridgeConfig, TensorDatamodule
from bridges_tabular.core.schemes import SCHEMES

QUIET = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False, "enable_checkpointing": False}


def prepared(frame, weight=None, **config):
    """A native model whose bins are fitted, and its datamodule with 65 validation rows."""
    tabular = TabularModel(
        data_config=DataConfig(
            target=[name for name in frame if name.startswith("target")],
            continuous_cols=[name for name in frame if name not in ("sex", "weight") and "target" not in name],
            categorical_cols=["sex"],
        ),
        model_config=BridgeConfig(
            task="regression", n_bins=8, backbone_config_params={"layers": "16-8", "use_batch_norm": True}, **config
        ),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(batch_size=64, accelerator="cpu", checkpoints=None, load_best=False),
        verbose=False,
        suppress_lightning_logger=True,
    )
    datamodule = TensorDatamodule(frame[:350], tabular.config, validation=frame[350:415], sample_weight=weight)
    datamodule.setup("fit")
    return tabular.prepare_model(datamodule), datamodule


def logged(model, loader, stage="validate"):
    trainer = pytorch_lightning.Trainer(accelerator="cpu", **QUIET)
    (found,) = getattr(trainer, stage)(model, loader, verbose=False)
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_the_logged_loss_is_that_of_all_rows_however_they_are_batched(frame, scheme, stage):
    # the last row is far off: in a batch of its own it would count for half
    frame = frame.assign(target=frame["target"].where(frame.index != 414, 2_000.0))
    model, datamodule = prepared(frame, scheme=scheme)
    name = {"validate": "valid_loss", "test": "test_loss"}[stage]
    found = {size: logged(model, datamodule.val_dataloader(size), stage)[name] for size in (65, 64, 33, 8)}
    (whole,) = datamodule.val_dataloader(65)
    model.eval()
    with torch.no_grad():
        expected = float(model.loss(model.inner(whole), model.prepare_targets(whole["target"])))
    for size, loss in found.items():
        assert loss == pytest.approx(expected, rel=1e-4), size


def test_the_logged_loss_counts_rows_by_their_weights(frame):
    weight = np.where(frame.index % 3 == 0, 20.0, np.where(frame.index % 3 == 1, 0.0, 1.0))
    model, datamodule = prepared(frame.assign(weight=weight), weight="weight")
    found = [logged(model, datamodule.val_dataloader(size))["valid_loss"] for size in (65, 64, 7)]
    (whole,) = datamodule.val_dataloader(65)
    model.eval()
    with torch.no_grad():
        inner, targets = model.inner(whole), model.prepare_targets(whole["target"])
        expected = float(model.loss(inner, targets, whole["sample_weight"]))
        assert expected != pytest.approx(float(model.loss(inner, targets)), rel=0.01)
    assert found == pytest.approx([expected] * 3, rel=1e-4)


def test_the_training_loss_counts_rows(frame):
    model, datamodule = prepared(frame, learning_rate=1e-12)
    trainer = pytorch_lightning.Trainer(accelerator="cpu", max_epochs=1, limit_val_batches=0, **QUIET)
    seen = []
    step = model.training_step
    model.training_step = lambda batch, batch_idx: (
        seen.append((step(batch, batch_idx), len(batch["target"]))) or seen[-1][0]
    )
    trainer.fit(model, datamodule.train_dataloader(64))
    losses, rows = (np.array([float(part) for part in parts]) for parts in zip(*seen, strict=True))
    assert sorted(rows) == [30, 64, 64, 64, 64, 64]
    assert float(trainer.callback_metrics["train_loss"]) == pytest.approx(np.average(losses, weights=rows), rel=1e-5)


def test_devices_with_different_numbers_of_rows_are_added_up(frame, monkeypatch):
    model, datamodule = prepared(frame)
    (whole,) = datamodule.val_dataloader(65)
    model.eval()
    logs = {}
    monkeypatch.setattr(model, "log", lambda name, value, **_: logs.update({name: float(value)}))
    sums = []
    monkeypatch.setattr(model, "all_gather", lambda part: sums.append(part) or torch.stack(sums))
    parts = [{name: column[rows] for name, column in whole.items()} for rows in (slice(0, 50), slice(50, 65))]
    with torch.no_grad():
        for part in (*parts, whole):
            if part is whole:
                sums.clear()
            model.validation_step(part, 0)
            model.on_validation_epoch_end()
            logs[len(part["target"])] = logs["valid_loss"]
    assert logs[15] == pytest.approx(logs[65], rel=1e-5)
    assert logs[50] != pytest.approx(logs[65], rel=1e-3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_standardises_in_single_precision_buffers(frame, scheme):
    both = frame.assign(target_2=1e4 - 50 * frame["target"])
    model, _ = prepared(both, scheme=scheme)
    y = both[["target", "target_2"]][:350].to_numpy()
    np.testing.assert_allclose(model.target_mean, y.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(model.target_scale, y.std(axis=0), rtol=1e-6)
    # MPS has no double precision
    kinds = {name: value.dtype for name, value in (*model.named_parameters(), *model.named_buffers())}
    assert torch.float64 not in kinds.values()
    for codec, column in zip(
        model.codecs, ((y - y.mean(axis=0)) / y.std(axis=0)).T, strict=SCHEMES[scheme].has_classes
    ):
        assert codec.bins.edges[0] < column.min()
        assert codec.bins.edges[-1] == pytest.approx(column.max() + 0.1 * np.ptp(column), rel=1e-4)


def test_where_the_bins_lie_is_read_from_the_configuration(frame):
    edges = {}
    for placement in ("uniform", "quantile"):
        model, _ = prepared(frame, placement=placement)
        edges[placement] = model.codecs[0].bins.edges
    np.testing.assert_allclose(np.diff(edges["uniform"]), np.ptp(edges["uniform"]) / 8)
    standard = (frame["target"][:350] - frame["target"][:350].mean()) / frame["target"][:350].std(ddof=0)
    counts = np.histogram(standard, edges["quantile"])[0]
    assert counts.min() > 0.8 * 350 / 8
