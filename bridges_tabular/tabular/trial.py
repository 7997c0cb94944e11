"""Whether a network can be built and trained at all: tried on two rows of a made table, before any training."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from pytorch_tabular.models.base_model import BaseModel
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.regressors.lines import in_one_line
from bridges_tabular.tabular.draws import building
from bridges_tabular.tabular.head import HEADS, BridgeHead
from bridges_tabular.tabular.inner import (
    STACK,
    backbone_config,
    build_inner,
    fold_into_last_layer,
    inferred_config,
)
from bridges_tabular.tabular.limits import Limited, TooLarge, trainable_here

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

# of a network that is not only built, but computes: others would take seconds
_MOST_NUMBERS = 8_000_000

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 40


@dataclass(frozen=True)
class Network:
    """All that decides whether a network can be built.

    Parameters
    ----------
    backbone : str
        Name of its configuration class.
    params : dict
        Those of that class.
    linear_head : dict
        Those of pytorch-tabular's LinearHead.
    head : type, or None
        That of the bridge head; None for networks without classes.
    head_params : dict
        Those of the bridge head.
    n_bins : int
    """

    backbone: str
    params: Mapping[str, Any]
    linear_head: Mapping[str, Any]
    head: type[BridgeHead] | None
    head_params: Mapping[str, Any]
    n_bins: int

    def check(self) -> None:
        """Refuse what no network could be built from; within a :class:`Limited`, building itself will tell.

        Raises
        ------
        ValueError
            In one line that names the parameters that are to blame.
        """
        reason = None if Limited.entered() else self.fails()
        if reason is None:
            return
        if self.backbone == STACK:
            for member in self.params["model_configs"]:
                params = {key: value for key, value in member.items() if key != "backbone_config_class"}
                replace(self, backbone=member["backbone_config_class"], params=params).check()
        raise ValueError(self._blamed(reason))

    def fails(self, rows: int = 2) -> str | None:
        """Why the network cannot be trained on batches of so many rows; None if it can.

        What has been tried before is not tried again.
        """
        key = (
            *(self.backbone, repr(self.params), repr(self.linear_head)),
            *(self.head, repr(self.head_params), self.n_bins),
        )
        return _failure(_Case(key, self), rows)

    def _blamed(self, reason: str) -> str:
        """The line that says which parameters are to blame."""
        given = list(self._given())
        alone = [(part, self._only([part]).fails()) for part in given]
        to_blame = [(part, why) for part, why in alone if why is not None]
        if self._only([]).fails() is not None:
            return f"backbone_config_class: {self.backbone} cannot be built here: {self._only([]).fails()}"
        if to_blame:
            names, reason = [to_blame[0][0]], str(to_blame[0][1])
        else:
            # none is wrong by itself
            names = [part for part in given if self._only([p for p in given if p != part]).fails() is None] or given
        where = f"backbone_config_params of {self.backbone}" if names[0].group == "params" else "head_config"
        values = ", ".join(f"{part.name}={_SHORT.repr(part.value)}" for part in names)
        return f"{where}: {values} {'cannot' if len(names) == 1 else 'together cannot'} be used: {reason}"

    def _given(self) -> Iterator[_Part]:
        for group in ("params", "linear_head", "head_params"):
            for name, value in getattr(self, group).items():
                if name != "model_configs" and (group, name, value) != ("linear_head", "layers", ""):
                    yield _Part(group, name, value)

    def _only(self, parts: list[_Part]) -> Network:
        """The same with some of the parameters alone."""
        kept: dict[str, dict[str, Any]] = {"params": {}, "linear_head": {"layers": ""}, "head_params": {}}
        if self.backbone == STACK:
            kept["params"]["model_configs"] = self.params["model_configs"]
        for part in parts:
            kept[part.group][part.name] = part.value
        return replace(self, **kept)  # type: ignore[arg-type]


class _Part(NamedTuple):
    group: str
    name: str
    value: Any


@dataclass(frozen=True)
class _Case:
    key: tuple[Any, ...]
    network: Network = field(compare=False)


@lru_cache(maxsize=512)
def _failure(case: _Case, rows: int) -> str | None:
    try:
        with building(0), Limited(_MOST_NUMBERS, "what is tried"):
            _compute(_build(case.network, rows), case.network, rows)
    except TooLarge:
        return _too_large(case.network, rows)
    # of any kind: it comes from whatever the parameters lead to
    except Exception as error:
        return in_one_line(error)
    return None


def _too_large(network: Network, rows: int) -> str | None:
    """Why a large network cannot be built, which is found without building it."""
    try:
        with building(0), trainable_here():
            _build(network, rows)
    except TooLarge as error:
        return str(error)
    except (NotImplementedError, RuntimeError):
        # what asks for values finds none
        return None
    except Exception as error:
        return in_one_line(error)
    return None


def check_precision(device: torch.device, precision: str) -> None:
    """Refuse a precision that a device does not compute with.

    Raises
    ------
    ValueError
        In one line.
    """
    dtype = PRECISIONS[precision]
    if dtype is None:
        return
    try:
        with torch.autocast(device.type, dtype):
            weight = torch.zeros(2, 2, device=device, requires_grad=True)
            nn.functional.linear(weight, weight).sum().backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"precision={precision!r} is none of {device.type!r} here: {in_one_line(error)}") from None


class _Built(NamedTuple):
    inner: BaseModel
    heads: list[BridgeHead]
    mixed: bool
    continuous: list[str]
    cardinalities: list[int]


def _build(network: Network, rows: int) -> _Built:
    linear_head = dict(network.linear_head)
    if len(linear_head) > 1 and not linear_head["layers"]:
        # without layers nothing would read the others
        linear_head["layers"] = "2"
    heads = [] if network.head is None else [network.head(network.n_bins, **network.head_params)]
    raw_dim = heads[0].raw_dim if heads else 1
    continuous, cardinalities = _columns(network.params)
    around = {
        "batch_size": rows,
        "continuous_cols": continuous,
        "categorical_cols": [f"category {index}" for index in range(len(cardinalities))],
    }
    inner = build_inner(
        backbone_config(network.backbone, network.params, linear_head),
        around,
        inferred_config(len(continuous), cardinalities, raw_dim),
        raw_dim,
    )
    return _Built(inner, heads, bool(heads) and fold_into_last_layer(inner.head, heads), continuous, cardinalities)


def _compute(built: _Built, network: Network, rows: int) -> None:
    inner, heads, mixed, continuous, cardinalities = built
    inner.train()
    batch = {
        "continuous": torch.linspace(-1, 1, rows * len(continuous)).reshape(rows, -1),
        "categorical": torch.arange(rows)[:, None] % torch.tensor(cardinalities),
    }
    raw = inner(batch)["logits"]
    _check_outputs(raw, (rows, heads[0].raw_dim if heads else 1), "the network")
    if network.head is not None and network.head not in HEADS.values():
        codec = TargetCodec()
        logits = heads[0].logits(raw.float(), codec) if mixed else heads[0](raw.float(), codec)
        _check_outputs(logits, (rows, codec.bins.n_bins), "the head")


def _check_outputs(outputs: Tensor, shape: tuple[int, ...], what: str) -> None:
    if tuple(outputs.shape) != shape:
        raise ValueError(f"{what} has outputs of shape {tuple(outputs.shape)}, expected {shape}")
    if not torch.isfinite(outputs).all():
        raise ValueError(f"{what} has outputs that are NaN or infinite")


def _columns(params: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Names of columns of numbers, and cardinalities of columns of categories, that suit parameters of a backbone."""
    groups, dims = params.get("grouped_features") or [], params.get("embedding_dims") or []
    names = ["number 0", "number 1", *(name for group in groups for name in group)]
    sizes = [number for pair in dims for number in pair]
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError("embedding_dims must be pairs of a cardinality and a dimension, whole numbers of at least 1")
    return list(dict.fromkeys(names)), [cardinality for cardinality, _ in dims] or [3]
