"""Codes of the training targets, and an encoder that goes on learning between the rounds of boosting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridges_tabular.boosting.objective import BridgeGradients, ClassLogits, Codes, Single
from bridges_tabular.boosting.peers import ALONE, Peers
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.objective import BridgeObjective

# the first round before which encoder and decoder move; then whenever the number of rounds has doubled
_FIRST_ROUND = 8
_STEPS = 10
_STEP_SIZE = 0.01
# torch takes no second thread for so few numbers: its threads would be in the way of XGBoost's
_BLOCK_SIZE = 1 << 15
# numbers in the codes of all rows that are kept: a gigabyte. Making them anew in every round doubles its time or so.
_MOST_KEPT = 1 << 28


def project_codes(codec: TargetCodec, logits: ClassLogits, y: Single) -> Single:
    """Psi of targets of shape (n,) in the codec's units; multiplied by the basis of the logits if there is one.

    Returns
    -------
    array of shape (n, r)
    """
    codes = np.empty((len(y), logits.n_margins), dtype=np.float32)
    size = max(1, _BLOCK_SIZE // len(logits.offsets))
    with torch.no_grad():
        for start in range(0, len(y), size):
            psi = codec.encode(torch.from_numpy(y[start : start + size])).exp().numpy()
            codes[start : start + size] = psi if logits.basis is None else psi @ logits.basis
    return codes


class TargetCodes:
    """Codes of targets, made when their rows are asked for, as codec and logits are by then.

    Parameters
    ----------
    codec : TargetCodec
    logits : ClassLogits
    y : array of shape (n,)
        In the codec's units.

    Attributes
    ----------
    shape : (n, r)
    """

    def __init__(self, codec: TargetCodec, logits: ClassLogits, y: Single) -> None:
        self._codec = codec
        self._logits = logits
        self._y = y
        self.shape = len(y), logits.n_margins

    def __getitem__(self, rows: slice) -> Single:
        return project_codes(self._codec, self._logits, self._y[rows])


def codes_of(codec: TargetCodec, logits: ClassLogits, y: Single) -> Codes:
    """Codes of all rows, kept if they take less than a gigabyte, else made whenever they are asked for."""
    made = TargetCodes(codec, logits, y)
    return made if len(y) * logits.n_margins > _MOST_KEPT else made[:]


class _Snapshot(NamedTuple):
    iteration: int
    state: dict[str, Tensor]


class CodecRefit:
    """Moves encoder and decoder down the full objective while the trees stand still.

    Before rounds 8, 16, 32, 64 and so on, counted from 0, 10 steps of Adam at 0.01 on at most 32,768 / k training
    rows, drawn once. Early stopping may go back to a round before the last move: :meth:`rewind` has every state.

    Parameters
    ----------
    codec : TargetCodec
        With the scheme "end_to_end"; moved in place.
    objective : BridgeObjective
    y : array of shape (n,)
        Training targets, in the codec's units.
    sample_weight : array of shape (n,) or None
    random : RandomState
        Draws the rows.
    peers : Peers
        Who has the other rows of the fit: all of them make the same moves.
    """

    def __init__(
        self,
        codec: TargetCodec,
        objective: BridgeObjective,
        y: Single,
        sample_weight: NDArray[np.float64] | None,
        random: np.random.RandomState,
        peers: Peers = ALONE,
    ) -> None:
        self._codec = codec
        self._objective = objective
        most = max(1, _BLOCK_SIZE // codec.bins.n_bins)
        self._draw = peers.draw(len(y), most, random)
        self.rows = self._draw.rows
        self._y = torch.from_numpy(self._draw.gather(y[self.rows]))
        self._weight = None
        if sample_weight is not None:
            self._weight = torch.from_numpy(self._draw.gather(sample_weight[self.rows].astype(np.float32)))
        self._history = [_Snapshot(0, self._state())]

    def due(self, iteration: int) -> bool:
        """Whether encoder and decoder move before this round, counted from 0."""
        return iteration >= _FIRST_ROUND and (iteration & (iteration - 1)) == 0

    def move(self, iteration: int, pi: NDArray[np.float32]) -> None:
        """Take the steps, with pi of shape (len(rows), k) as the trees predict it before this round."""
        log_pi = torch.from_numpy(self._draw.gather(pi)).clamp(min=torch.finfo(torch.float32).tiny).log()
        parameters = list(self._codec.parameters())
        self._codec.requires_grad_(True)
        steps = _Adam(parameters)
        for _ in range(_STEPS):
            log_psi = self._codec.encode(self._y)
            terms = self._objective(self._y, log_psi, log_pi, self._codec.decoder.values, self._weight)
            steps.take(torch.autograd.grad(terms.loss, parameters))
        self._codec.requires_grad_(False)
        self._history.append(_Snapshot(iteration, self._state()))

    def rewind(self, best_iteration: int) -> None:
        """Go back to the encoder and decoder under which this round was the best."""
        state = [snapshot.state for snapshot in self._history if snapshot.iteration <= best_iteration][-1]
        self._codec.load_state_dict(state)

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._codec.state_dict().items()}


class _Adam:
    """Steps of Adam (Kingma and Ba 2014); torch's own imports its compiler first, which takes seconds."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._first = [torch.zeros_like(parameter) for parameter in parameters]
        self._second = [torch.zeros_like(parameter) for parameter in parameters]
        self._count = 0

    @torch.no_grad()
    def take(self, gradients: Sequence[Tensor]) -> None:
        self._count += 1
        for parameter, gradient, first, second in zip(
            self._parameters, gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient**2, 0.001)
            direction = first / (1 - 0.9**self._count)
            size = (second / (1 - 0.999**self._count)).sqrt()
            parameter -= _STEP_SIZE * direction / (size + 1e-8)


class MovingGradients(BridgeGradients):
    """The bridge's gradients under an encoder and a decoder that move between rounds.

    Parameters
    ----------
    refit : CodecRefit
    codec : TargetCodec
        The one that ``refit`` moves.
    logits, y, **kwargs
        As for :class:`~bridges_tabular.boosting.objective.BridgeGradients`.
    """

    def __init__(self, refit: CodecRefit, codec: TargetCodec, logits: ClassLogits, y: Single, **kwargs: Any) -> None:
        super().__init__(logits, codes_of(codec, logits, y), y, codec.decoder.values.numpy(), **kwargs)
        self._refit = refit
        self._codec = codec

    def at(self, iteration: int, margins: Single) -> tuple[Single, Single]:
        """Gradient and diagonal hessian in the margins before a round, counted from 0; all of shape (n, r)."""
        if self._refit.due(iteration):
            before = margins.reshape(self.codes.shape)[self._refit.rows]
            self._refit.move(iteration, self.logits.probabilities(before))
            self.codes = codes_of(self._codec, self.logits, self._y)
            self.values = self._codec.decoder.values.numpy()
        return super().at(iteration, margins)
