"""What a library of boosted trees has to offer: all that a new one writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.boosting.features import Values
from bridges_tabular.boosting.objective import BridgeGradients
from bridges_tabular.regressors.stored import AnyValues

Floats = NDArray[np.float64]
Single = NDArray[np.float32]
Params = dict[str, Any]
# margins of the validation rows to scores by name, the one that stops early last
Metric = Callable[[Single], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Output:
    """What trees put out for a row.

    Attributes
    ----------
    n_margins : int
    offsets : array of shape (n_margins,), or None
        Logits before the first tree, of a softmax that the library trains itself, a tree for each class and round.
    vector : bool
        Whether a leaf holds all margins, under gradients of ours. Such trees see categories as ordered numbers.
    """

    n_margins: int = 1
    offsets: Single | None = None
    vector: bool = False

    @classmethod
    def squared_error(cls) -> Output:
        """One number, by squared error, as the library trains it itself."""
        return cls()


class Tree(NamedTuple):
    """A tree of n nodes, the first its root: a row whose number is below the threshold goes left."""

    left: NDArray[np.int64]
    """(n,) numbers of nodes, -1 of a leaf."""
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Single
    missing_left: NDArray[np.bool_]
    outputs: NDArray[np.int64]
    """(m,), which of a forest's outputs the tree adds to."""
    values: Single
    """(n, m), what a leaf adds to each."""


class Forest(NamedTuple):
    """Trees whose sums, on top of a base of shape (r,), are a row's outputs."""

    base: Single
    trees: list[Tree]


class Trees(Protocol):
    """A trained booster."""

    def read(self, values: Values) -> Any:
        """Features of shape (n, p) as ``margins`` takes them, for all boosters of the same output on these columns."""
        ...

    def margins(self, values: Values, read: Any = None) -> Single:
        """Outputs of shape (n,) or (n, r); of what ``read`` made of the features, where several boosters share it."""
        ...

    def contributions(self, values: Values) -> Floats:
        """SHAP values of the outputs, (n, p + 1) or (n, r, p + 1); the last is what all rows start from."""
        ...

    def importances(self) -> Single:
        """Share of each column in the mean gain of splits, of shape (p,)."""
        ...

    def forest(self) -> Forest:
        """Its trees node by node, of features that are numbers all.

        Raises
        ------
        RuntimeError
            If the library's trees are not as they are known.
        """
        ...

    def save(self) -> bytes:
        """The booster in its library's own format, which holds no code."""
        ...


class Run(NamedTuple):
    """What came out of training; the trees end with the best round, number ``best_iteration`` counted from 0."""

    trees: Trees
    best_iteration: int
    best_score: float | None
    log: dict[str, list[float]]


class Booster(Protocol):
    """A library that grows trees: all that a new one writes."""

    def matrix(
        self,
        values: AnyValues,
        output: Output,
        label: NDArray[Any],
        weight: Floats | None,
        *,
        rows: NDArray[np.bool_] | None = None,
        ref: Any = None,
    ) -> Any:
        """Training rows in the library's own form; those of a mask, with the quantiles of another matrix."""
        ...

    def train(
        self,
        output: Output,
        params: Params,
        training: Any,
        validation: Any,
        rounds: int,
        *,
        gradients: BridgeGradients | None = None,
        metric: Metric | None = None,
        scores: Sequence[str] = (),
        early_stopping_rounds: int | None = None,
        report: Callable[[int, Mapping[str, float]], None] | None = None,
        callbacks: Sequence[Any] = (),
    ) -> Run:
        """Boost, and keep the rounds up to the best one on the validation rows.

        Parameters
        ----------
        output : Output
        params : dict
            Parameters of the trees under the library's names.
        training, validation
            What :meth:`matrix` returned; without validation rows all rounds are kept.
        rounds : int
        gradients : BridgeGradients, optional
            In place of the objective that ``output`` implies.
        metric : callable, optional
            In place of the library's own scores, which are named in ``scores``, the one that stops early last.
        early_stopping_rounds : int, optional
        report : callable
            Called with the round, counted from 1, and the scores.
        callbacks : sequence
            Of the library's own kind.
        """
        ...

    def load(self, content: bytes, output: Output, located: bool) -> Trees:
        """Read what :meth:`Trees.save` returned."""
        ...

    def share_threads(self, models: int) -> tuple[int, Params]:
        """How many of so many small models to train at once, and what to change in the parameters of each."""
        ...
