"""The control of a mixture density network: pytorch-tabular's head of Gaussians on the same network."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from pytorch_tabular.models.common.heads.blocks import MixtureDensityHead
from torch import Tensor

from bridges_tabular import TabularBridgeRegressor
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.rows import Rows
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.tabular.engine import inputs_of
from bridges_tabular.tabular.features import FeatureTensors

Array = NDArray[np.float64]
Pair = tuple[pd.DataFrame, Array]


class MixtureNetwork:
    """Backbone, optimiser, schedule and batches of the least-squares network; likelihood in place of squared error.

    The weights of the epoch with the best validation likelihood are kept. The likelihood is that of the mixture:
    pytorch-tabular's own draws its shares, which makes two predictions differ.
    """

    def __init__(self, template: TabularBridgeRegressor, gaussians: int = 5) -> None:
        self._template = template
        config = {"num_gaussian": gaussians, "sigma_bias_flag": True, "mu_bias_init": None, "input_dim": 0}
        self._config = config

    def fit(self, train: Pair, validation: Pair, seed: int) -> MixtureNetwork:
        """Train on rows and choose the epoch on others."""
        given = [Rows(X, y[:, None]) for X, y in (train, validation)]
        self._scale = TargetScale.fit(given[0].y)
        parts = [rows.standard(self._scale) for rows in given]
        engine = self._template._engine(TableEncoder().fit(*(rows.X for rows in parts)), Prepared())
        self._features = FeatureTensors(engine.columns).fit(parts[0].X)
        torch.manual_seed(seed)
        self.network = engine.new_model(self._features, parts[0], parts[0], seed).inner
        units = self._config | {"input_dim": self.network.backbone.output_dim}
        self.head = MixtureDensityHead(OmegaConf.create(units))
        rows, held_out = (engine.table(self._features, part).columns for part in parts)
        n, size, epochs = len(parts[0]), engine.rows_per_batch(parts[0]), engine.epochs(parts[0])
        parameters = [*self.network.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-5, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        best, weights = math.inf, None
        for _ in range(epochs):
            self.network.train()
            for at in torch.randperm(n).tensor_split(-(-n // size)):
                optimizer.zero_grad()
                loss = self._loss({name: column[at] for name, column in rows.items()})
                if not torch.isfinite(loss):
                    continue
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, 10.0)
                optimizer.step()
            schedule.step()
            self.network.eval()
            with torch.inference_mode():
                score = float(self._loss(held_out))
            if score < best:
                best = score
                weights = [{k: v.clone() for k, v in part.state_dict().items()} for part in (self.network, self.head)]
        assert weights is not None
        self.network.load_state_dict(weights[0])
        self.head.load_state_dict(weights[1])
        return self

    def predict(self, X: pd.DataFrame) -> tuple[Array, Array, Array]:
        """Shares, means and standard deviations of the Gaussians, each of shape (n, gaussians)."""
        with torch.inference_mode():
            pi, sigma, mu = self._outputs(inputs_of(self._features, X, Prepared()))
        shares = torch.softmax(pi.double(), 1).numpy()
        return shares, self._scale.restore(mu.double().numpy()), sigma.double().numpy() * self._scale.scale

    def _outputs(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        pi, sigma, mu = self.head(self.network.compute_backbone(self.network.embed_input(batch)))
        return pi, sigma.clamp(min=1e-3), mu

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        pi, sigma, mu = self._outputs(batch)
        logs = torch.log_softmax(pi, 1) - sigma.log() - 0.5 * ((batch["target"] - mu) / sigma).square()
        loss: Tensor = 0.5 * math.log(2 * math.pi) - torch.logsumexp(logs, 1).mean()
        return loss


def mixture_interval(shares: Array, means: Array, deviations: Array, coverage: float) -> Array:
    """Central intervals of shape (n, 2), by bisection of the cdf."""
    levels = np.array([0.5 - coverage / 2, 0.5 + coverage / 2])
    low = (means - 10 * deviations).min(1)[:, None].repeat(2, 1)
    high = (means + 10 * deviations).max(1)[:, None].repeat(2, 1)
    for _ in range(60):
        middle = (low + high) / 2
        z = (middle[:, :, None] - means[:, None]) / deviations[:, None]
        below = (shares[:, None] * torch.special.ndtr(torch.from_numpy(z)).numpy()).sum(2) < levels
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    ends: Array = (low + high) / 2
    return ends
