"""Defaults as data: what :class:`~bridges_tabular.tabular.TabularBridgeRegressor` uses where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridges_tabular.core.schemes import SCHEMES

# Numbers are standardised once, by the training rows. Normalising them again, by each batch, cost 8 to 24 % of RMSE
# with GANDALF and FTTransformer on concrete and airfoil.
EVERY_BACKBONE: dict[str, Any] = {"batch_norm_continuous_input": False}

# Parameters of a backbone's configuration class that differ from pytorch-tabular's own. Its ReLU and kaiming are behind
# this by 12 % of end_to_end's RMSE and 10 % of least squares'; SELU, SiLU and ReLU with xavier, and GELU with kaiming,
# by 2 to 8 % of end_to_end's. Chosen by the RMSE of end_to_end on the tables named below, rows split by seeds 5 and 6.
BACKBONE_PARAMS: dict[str, dict[str, Any]] = {
    "CategoryEmbeddingModelConfig": {"layers": "128-128-128", "activation": "GELU", "initialization": "xavier"},
}

# Half of eight members by least squares have .986 of the RMSE of members over bins alone, and .973 of least squares
# alone (dropout .1, 4,000 steps; abalone, airfoil, california, concrete, cpu_act, elevators, sml and yacht, at most
# 5,000 rows, permuted with seed 5). No dropout, the backbone's own default, has .957 of dropout .1 on the same rows.
LEAST_SQUARES_SHARE = 0.5


class Preset(NamedTuple):
    """What a preset decides: parameters of MemberMLPConfig, steps of the optimiser, epochs at least, and the rate."""

    backbone_params: dict[str, Any]
    steps: int
    fewest_epochs: int
    learning_rate: float


OWN = "MemberMLPConfig"
# Chosen on ten tables by benchmarks/members.py, which prints what each choice is worth. At 6e-3 tables of little noise
# (naval, parkinsons, sml) need half the steps that they need at 3e-3.
PRESETS = {
    "fast": Preset({"n_members": 4}, 2_000, 30, 6e-3),
    "default": Preset({}, 4_000, 60, 6e-3),
    "best": Preset({"n_members": 16}, 8_000, 60, 3e-3),
}
# of any other backbone
OTHERS = Preset({}, 8_000, 60, 3e-3)

# Batches: a share of the training rows, as a power of two within bounds.
ROWS_PER_BATCH = 50
SMALLEST_BATCH = 32
LARGEST_BATCH = 512

MOST_EPOCHS = 200


def backbone_params(backbone: str, given: dict[str, Any] | None, preset: str = "default") -> dict[str, Any]:
    """Parameters of a backbone: those given over the defaults, and those of a preset where it has any."""
    own = _preset(backbone, preset).backbone_params
    return {**EVERY_BACKBONE, **BACKBONE_PARAMS.get(backbone, {}), **own, **(given or {})}


def least_squares_share(params: Mapping[str, Any]) -> float:
    """Share of the members that learn by least squares: the one given, or that of the backbone."""
    given = params["least_squares_share"]
    if given is not None:
        return float(given)
    return LEAST_SQUARES_SHARE if params["backbone"] == OWN and SCHEMES[params["scheme"]].has_code else 0.0


def learning_rate(params: Mapping[str, Any]) -> float:
    """The learning rate given, or that of the preset."""
    given = params["learning_rate"]
    return _preset(params["backbone"], params["preset"]).learning_rate if given is None else float(given)


def batch_size(rows: int) -> int:
    """Rows in a batch for so many training rows."""
    size = 1 << max(0, (max(rows, 1) // ROWS_PER_BATCH).bit_length() - 1)
    return min(max(size, SMALLEST_BATCH), LARGEST_BATCH)


def max_epochs(params: Mapping[str, Any], rows: int, batch: int) -> int:
    """Epochs for so many training rows in batches of that size, with a regressor's backbone and preset."""
    preset = _preset(params["backbone"], params["preset"])
    return min(max(-(-preset.steps // -(-rows // batch)), preset.fewest_epochs), MOST_EPOCHS)


def _preset(backbone: str, name: str) -> Preset:
    return PRESETS[name] if backbone == OWN else OTHERS
