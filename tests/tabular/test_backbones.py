"""Every scheme on every backbone, ours and those of pytorch-tabular: trains, predicts, saves, loads, explains.

The table of docs/backbones.md is written from what is found here: ``python tests/tabular/test_backbones.py``.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

from bridges_tabular import BridgeConfig, TabularBridgeRegressor
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.tabular.config import backbone_names

SMALL = {
    "AutoIntConfig": {"attn_embed_dim": 8, "num_heads": 2, "num_attn_blocks": 1},
    "CategoryEmbeddingModelConfig": {"layers": "16-8"},
    "DANetConfig": {"n_layers": 4, "abstlay_dim_1": 8, "abstlay_dim_2": 8, "k": 2},
    "FTTransformerConfig": {"num_heads": 2, "num_attn_blocks": 1, "input_embed_dim": 8},
    "GANDALFConfig": {"gflu_stages": 2},
    "GatedAdditiveTreeEnsembleConfig": {"gflu_stages": 2, "num_trees": 2, "tree_depth": 2},
    "MemberMLPConfig": {"layers": "16-8", "n_members": 2, "embedding_dim": 2, "embedding_bins": 4},
    "NodeConfig": {"num_trees": 16, "num_layers": 1, "depth": 3},
    "StackingModelConfig": {
        "model_configs": [
            {"backbone_config_class": "CategoryEmbeddingModelConfig", "layers": "16-8"},
            {"backbone_config_class": "GANDALFConfig", "gflu_stages": 1},
        ]
    },
    "TabNetModelConfig": {"n_d": 8, "n_a": 8, "n_steps": 2},
    "TabTransformerConfig": {"num_heads": 2, "num_attn_blocks": 1, "input_embed_dim": 8},
}
# pytorch-tabular refuses these, or finds no embeddings to attribute to
NOT_EXPLAINED = {
    "StackingModelConfig": "pytorch-tabular attributes to one embedding layer, and a stack has several",
    "TabNetModelConfig": "pytorch-tabular does not explain TabNet",
    "TabTransformerConfig": "pytorch-tabular does not explain TabTransformer",
}


def needs(backbone):
    if backbone == "TabNetModelConfig":
        pytest.importorskip("pytorch_tabnet", reason="TabNet needs the extra 'tabnet'")


def test_none_is_missing():
    assert sorted(SMALL) == backbone_names()


@pytest.mark.parametrize(("backbone", "scheme"), itertools.product(SMALL, SCHEMES))
def test_trains_predicts_saves_and_loads(table, tmp_path, backbone, scheme):
    needs(backbone)
    X, y = table[0][:200], table[1][:200]
    model = TabularBridgeRegressor(
        backbone,
        scheme,
        backbone_params=SMALL[backbone],
        n_bins=8,
        max_epochs=3,
        batch_size=80,
        learning_rate=1e-2,
        pretraining_steps=20,
    )
    model.fit(X, y)
    prediction = model.predict(X)
    assert np.ptp(prediction) > 1
    assert np.sqrt(np.mean((prediction - y) ** 2)) < 2 * y.std()
    quantiles = model.predict_quantiles(X, [0.1, 0.9])
    assert (np.diff(quantiles) > 0).all()
    model.save(tmp_path / "m")
    loaded = TabularBridgeRegressor.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(X), prediction)
    np.testing.assert_array_equal(loaded.predict_quantiles(X, [0.1, 0.9]), quantiles)


@pytest.mark.parametrize("backbone", SMALL)
def test_explains_through_captum(frame, tmp_path, monkeypatch, backbone):
    needs(backbone)
    pytest.importorskip("captum", reason="explanations need captum")
    monkeypatch.chdir(tmp_path)
    model = TabularModel(
        data_config=DataConfig(
            target=["target"],
            continuous_cols=[name for name in frame if name not in ("sex", "target")],
            categorical_cols=["sex"],
        ),
        model_config=BridgeConfig(
            task="regression", backbone_config_class=backbone, backbone_config_params=SMALL[backbone], n_bins=8
        ),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=128,
            max_epochs=1,
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
    model.fit(frame)
    explain = lambda: model.explain(frame[:3], method="IntegratedGradients", baselines=0.0)  # noqa: E731
    if backbone in NOT_EXPLAINED:
        with pytest.raises(Exception, match=r"(?i)not implemented|embedding|Identity|same number of columns"):
            explain()
        return
    attributions = explain()
    assert attributions.shape == (3, 9)
    assert np.isfinite(attributions.to_numpy()).all()
    assert attributions.to_numpy().any()


def written_table(report):
    """The table, from the outcomes of a run: name of the test to outcome."""
    lines = ["| backbone | " + " | ".join(SCHEMES) + " | explained by captum |", "|---" * (len(SCHEMES) + 2) + "|"]
    for backbone in SMALL:
        marks = [report.get(f"{backbone}-{scheme}", "not run") for scheme in SCHEMES]
        explained = "no" if backbone in NOT_EXPLAINED else report.get(backbone, "not run")
        lines.append(f"| {backbone.removesuffix('Config').removesuffix('Model')} | {' | '.join([*marks, explained])} |")
    reasons = [f"- {name.removesuffix('Config').removesuffix('Model')}: {why}." for name, why in NOT_EXPLAINED.items()]
    return "\n".join([*lines, "", "Not explained:", "", *reasons, ""])


if __name__ == "__main__":

    class Collect:
        outcomes: dict[str, str] = {}  # noqa: RUF012

        def pytest_runtest_logreport(self, report):
            if "[" in report.nodeid and report.when == "call":
                key = report.nodeid.split("[")[1].rstrip("]")
                self.outcomes[key] = "yes" if report.passed else "no"

    collected = Collect()
    code = pytest.main([__file__, "-q"], plugins=[collected])
    path = Path(__file__).parents[2] / "docs" / "backbones.md"
    text = (
        "# Backbones\n\nWritten by `python tests/tabular/test_backbones.py`: a backbone and a scheme have a yes where\n"
    )
    text += "the network trains, predicts, saves and loads.\n\n"
    path.write_text(text + written_table(collected.outcomes), encoding="utf-8")
    sys.exit(code)
