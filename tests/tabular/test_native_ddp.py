"""pytorch-tabular's own route on several processes of one machine: Lightning's ddp strategy with gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytorch_tabular import TabularModel

SCRIPT = """
import json, os, sys
import bridges_tabular, numpy as np, pandas as pd, pytorch_lightning, torch
from bridges_tabular import BridgeConfig, TensorDatamodule
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

torch.set_num_threads(1)
datamodule, rows = sys.argv[1:]
seen = []

class Seen(pytorch_lightning.Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        seen.append([trainer.current_epoch, batch["target"][:, 0].tolist()])

frame = pd.read_csv("train.csv")
if rows == "drawn":
    frame = frame.sample(360, random_state=int(os.environ.get("LOCAL_RANK", 0)), ignore_index=True)
model = TabularModel(
    data_config=DataConfig(target=["target"], continuous_cols=["a", "b"], categorical_cols=["c"]),
    model_config=BridgeConfig(
        task="regression", backbone_config_class="MemberMLPConfig", n_bins=16, learning_rate=0.01,
        backbone_config_params={"layers": "32-16", "n_members": 4, "dropout": 0.1},
    ),
    optimizer_config=OptimizerConfig(),
    trainer_config=TrainerConfig(
        batch_size=32, max_epochs=4, accelerator="cpu", devices=2, progress_bar="none",
        trainer_kwargs={"enable_model_summary": False, "strategy": "ddp"},
    ),
    verbose=False,
    suppress_lightning_logger=True,
)
if datamodule == "tensors":
    data = TensorDatamodule(frame[:330], model.config, frame[330:])
    data.setup("fit")
    model.fit(train=None, datamodule=data, callbacks=[Seen()])
else:
    model.fit(frame[:330], frame[330:], callbacks=[Seen()])
# it would be saved with the model
model.callbacks = [one for one in model.callbacks if not isinstance(one, Seen)]
model.save_model("saved")
rank = model.trainer.global_rank
found = {
    "seen": seen,
    "bins": model.model.codecs[0].bins.centers.tolist(),
    "scores": {name: float(value) for name, value in model.trainer.callback_metrics.items()},
    "predictions": model.predict(pd.read_csv("test.csv"))["target_prediction"].tolist(),
}
with open(f"rank{rank}.json", "w") as file:
    json.dump(found, file)
"""


@pytest.fixture
def frames(tmp_path):
    """371 rows: odd numbers for two processes and for batches."""
    rng = np.random.default_rng(0)
    n = 421
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "c": rng.choice(list("xyz"), n)})
    frame["target"] = 3 * frame["a"] + frame["b"] ** 2 + (frame["c"] == "x") + rng.normal(size=n) * 0.2
    frame[:371].to_csv(tmp_path / "train.csv", index=False)
    frame[371:].to_csv(tmp_path / "test.csv", index=False)
    return frame[:371], frame[371:]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=550)


@pytest.mark.slow
@pytest.mark.parametrize("datamodule", ["tensors", "stock"])
def test_two_processes_train_one_model(frames, tmp_path, monkeypatch, datamodule):
    train, test = frames
    ended = run(tmp_path, datamodule, "all")
    assert ended.returncode == 0, ended.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    for name in ("bins", "scores", "predictions"):
        assert first[name] == second[name]
    # in every epoch each row went to one of them
    for epoch in range(4):
        rows = [[y for at, batch in one["seen"] if at == epoch for y in batch] for one in (first, second)]
        assert len(rows[0]) == len(rows[1]) == 165
        np.testing.assert_allclose(sorted(rows[0] + rows[1]), np.sort(train["target"][:330]), rtol=1e-6)
    assert first["seen"][0][1] != first["seen"][6][1]
    assert np.mean((np.array(first["predictions"]) - test["target"]) ** 2) < 0.3 * test["target"].var()
    # what they saved is one model, for any process
    monkeypatch.chdir(tmp_path)
    loaded = TabularModel.load_model("saved").predict(pd.read_csv("test.csv"))["target_prediction"]
    np.testing.assert_allclose(loaded, first["predictions"], rtol=1e-6)


@pytest.mark.slow
def test_processes_with_other_rows_are_refused(frames, tmp_path):
    ended = run(tmp_path, "stock", "drawn")
    assert ended.returncode != 0
    assert "ValueError: the processes were given different training rows" in ended.stderr
    assert not (tmp_path / "saved").exists()
