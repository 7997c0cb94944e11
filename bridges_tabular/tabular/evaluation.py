"""What a network says of rows, and how far off it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from bridges_tabular.core.scores import crps_of_masses
from bridges_tabular.regressors.forecast import Forecast
from bridges_tabular.tabular.datamodule import EVALUATION_BATCH, Batch, TensorTable
from bridges_tabular.tabular.model import BridgeModel
from bridges_tabular.tabular.trial import PRECISIONS

Outputs = dict[str, Any]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The precision of the network, as pytorch-lightning names it."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


@torch.inference_mode()
def forecasts(model: BridgeModel, table: TensorTable) -> list[Forecast]:
    """Points and, for schemes with a code, pi with rows that sum to 1 in double precision; in standard units.

    Parameters
    ----------
    model : BridgeModel
    table : TensorTable
        Rows without targets, on any device.
    """
    outputs = [output for _, _, output in _outputs(model, table.to(model.target_mean.device), "32-true")]
    points = torch.cat([output["logits"] for output in outputs]).double()
    standard = ((points - model.target_mean.double()) / model.target_scale.double()).cpu().numpy()
    if not model.scheme.has_code:
        return [Forecast(point) for point in standard.T]
    found = []
    log_probs = torch.cat([output["class_log_probs"] for output in outputs]).cpu()
    parts = torch.split(log_probs, [codec.bins.n_bins for codec in model.codecs], dim=1)
    for point, part in zip(standard.T, parts, strict=True):
        pi = part.double().exp_().numpy()
        pi /= pi.sum(axis=1, keepdims=True)
        found.append(Forecast(point, pi))
    return found


@torch.inference_mode()
def predict_members(model: BridgeModel, table: TensorTable) -> Tensor:
    """Predictions of every member, of shape (n, members, targets); a network without members is one."""
    outputs = [output for _, _, output in _outputs(model, table, "32-true")]
    return torch.cat([output.get("member_points", output["logits"][:, None]) for output in outputs])


@torch.inference_mode()
def validation_scores(
    model: BridgeModel, table: TensorTable, names: Iterable[str], precision: str = "32-true"
) -> dict[str, float]:
    """Scores of rows whose targets are in standard units, weighted, in the mean over the targets; lower is better.

    Parameters
    ----------
    names : iterable of str
        Of "rmse", "mae", "crps" (of pi as masses on the centres of the classes) and "loss" (what is trained on). A
        score that the model does not have, or of another name, is left out.
    precision : str
        Of the network.
    """
    known = [name for name in names if name in _SCORES and (name != "crps" or model.scheme.has_code)]
    parts: dict[str, list[Tensor]] = {name: [] for name in known}
    for batch, inner, output in _outputs(model, table, precision):
        for name in known:
            parts[name].append(_SCORES[name](model, batch, inner, output).double().cpu())
    weight = table.columns.get("sample_weight")
    shares = torch.full((len(table),), 1 / len(table)).double() if weight is None else weight.double().cpu()
    means = {name: float(torch.cat(rows) @ shares / shares.sum()) for name, rows in parts.items()}
    return {name: math.sqrt(mean) if name == "rmse" else mean for name, mean in means.items()}


def _outputs(model: BridgeModel, table: TensorTable, precision: str) -> Iterator[tuple[Batch, Outputs, Outputs]]:
    """Batches of rows in order, what the inner network returns for each, and what that is decoded to."""
    model.eval()
    device = table.columns["continuous"].device
    for start in range(0, len(table), EVALUATION_BATCH):
        batch = table[start : start + EVALUATION_BATCH]
        with autocast(device, precision):
            inner = model.inner(batch)
        yield batch, inner, model.decode(inner)


def _squared_errors(model: BridgeModel, batch: Batch, inner: Outputs, output: Outputs) -> Tensor:
    errors: Tensor = (output["logits"] - batch["target"]).square().mean(1)
    return errors


def _absolute_errors(model: BridgeModel, batch: Batch, inner: Outputs, output: Outputs) -> Tensor:
    errors: Tensor = (output["logits"] - batch["target"]).abs().mean(1)
    return errors


def _crps(model: BridgeModel, batch: Batch, inner: Outputs, output: Outputs) -> Tensor:
    parts = torch.split(output["class_log_probs"], [codec.bins.n_bins for codec in model.codecs], dim=1)
    scores = []
    for codec, log_pi, y in zip(model.codecs, parts, batch["target"].T, strict=True):
        masses, at = (part.float().cpu().numpy() for part in (log_pi.exp(), y))
        scores.append(torch.from_numpy(crps_of_masses(codec.bins.centers, masses, at)))
    return torch.stack(scores).mean(0)


def _losses(model: BridgeModel, batch: Batch, inner: Outputs, output: Outputs) -> Tensor:
    """The loss of the batch in place of that of each of its rows."""
    loss = model.loss(inner, model.prepare_targets(batch["target"]), batch.get("sample_weight"))
    return loss.expand(len(batch["target"]))


_SCORES: dict[str, Callable[[BridgeModel, Batch, Outputs, Outputs], Tensor]] = {
    "rmse": _squared_errors,
    "mae": _absolute_errors,
    "crps": _crps,
    "loss": _losses,
}
