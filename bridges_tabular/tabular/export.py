"""A trained network as an ONNX graph, in standard units."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.tabular.features import FARTHEST

if TYPE_CHECKING:
    from bridges_tabular.tabular.engine import TabularTrained

_OPSET = 17
# rows that the graph is traced on, and others that it is tried on
_TRACED, _TRIED = 3, 5
_TOLERANCE = 1e-4


class _Graph(nn.Module):
    """From numbers (n, p) to the points (n, targets) in standard units, and pi (n, k) of every target with a code."""

    median: Tensor
    mean: Tensor
    scale: Tensor
    indicators: Tensor

    def __init__(self, trained: TabularTrained) -> None:
        super().__init__()
        for name, array in trained.features.arrays().items():
            self.register_buffer(name, torch.tensor(array))
        self.network = trained.model
        self.sizes = [codec.bins.n_bins for codec in trained.codecs]

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        numbers = X.double()
        missing = numbers.isnan()
        standard = (torch.where(missing, self.median, numbers) - self.mean) / self.scale
        shown = missing[:, self.indicators]
        continuous = torch.cat([standard.clamp(-FARTHEST, FARTHEST).float(), shown.float()], dim=1)
        none = torch.zeros((X.shape[0], 0), dtype=torch.int64)
        output = self.network({"continuous": continuous, "categorical": none})
        masses = output["class_log_probs"].exp().split(self.sizes, dim=1) if self.sizes else ()
        return output["logits"].double(), *masses


def network_graph(trained: TabularTrained) -> Any:
    """The network and what reads its columns of numbers: from ``X`` (n, p) to ``point`` (n, targets) and ``pi_0`` ...

    Raises
    ------
    ValueError
        If the backbone has operations that ONNX lacks, or whose trace does not hold for other rows.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph, backbone = _Graph(trained).eval(), trained.model.hparams.backbone_config_class
    rows = _rows(graph)
    names = ["point", *(f"pi_{index}" for index in range(len(graph.sizes)))]
    content = io.BytesIO()
    try:
        # the exporter that is not deprecated takes twenty times as long and one more library
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                (rows[:_TRACED],),
                content,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=_OPSET,
                input_names=["X"],
                output_names=names,
                dynamic_axes={name: {0: "n"} for name in ("X", *names)},
            )
            expected = [part.numpy() for part in graph(rows[_TRACED:])]
            model = onnx.load_model_from_string(content.getvalue())
            found = ReferenceEvaluator(model).run(None, {"X": rows[_TRACED:].numpy()})
    except Exception as error:
        raise ValueError(f"{backbone} has no ONNX graph: {in_one_line(error)}") from None
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape or not np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ValueError(f"{backbone} has no ONNX graph: its trace does not hold for other rows")
    return model


def _rows(graph: _Graph) -> Tensor:
    """Rows like those of training, some numbers missing."""
    draws = torch.Generator().manual_seed(0)
    normal = torch.randn((_TRACED + _TRIED, len(graph.mean)), generator=draws, dtype=torch.float64)
    rows = (graph.mean + graph.scale * normal).float()
    rows[::2, ::3] = torch.nan
    return rows
