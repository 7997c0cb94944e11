"""The engine behind the door: builds a network for a table, trains it, and says what it predicts."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors.engine import NotTrusted, State, entry
from bridges_tabular.regressors.forecast import Code, Forecast
from bridges_tabular.regressors.learned import class_use
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report, Scores
from bridges_tabular.regressors.rows import Rows
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.tabular import defaults
from bridges_tabular.tabular.configuring import bridge_config, full_config
from bridges_tabular.tabular.datamodule import Batch, TensorTable, TrainingRows
from bridges_tabular.tabular.draws import building
from bridges_tabular.tabular.evaluation import forecasts, predict_members
from bridges_tabular.tabular.export import network_graph
from bridges_tabular.tabular.features import FeatureTensors
from bridges_tabular.tabular.inner import inferred_config, plain
from bridges_tabular.tabular.limits import Limited
from bridges_tabular.tabular.model import BridgeModel
from bridges_tabular.tabular.stored import StoredBatches
from bridges_tabular.tabular.training import TrainingOptions, train

Floats = NDArray[np.float64]

# what building takes beside the arrays of a network: stand-ins, initial values
_SPARE, _SPARE_NUMBERS = 3, 1 << 16


@dataclass(frozen=True, eq=False)
class TabularTrained:
    """A trained network.

    Attributes
    ----------
    model : BridgeModel
        In standard units: its targets are standardised outside.
    features : FeatureTensors
    best_epoch : int
        The epoch, counted from 0, that the weights are of.
    class_use : list of arrays of shape (k,)
        Mean code of the training targets, of every target; empty for schemes without a code.
    log : dict of list
        Scores of the validation rows, epoch by epoch; empty without such rows.
    prepared : Prepared
    """

    model: BridgeModel
    features: FeatureTensors
    best_epoch: int
    class_use: list[Floats]
    log: dict[str, list[float | None]]
    prepared: Prepared

    @property
    def codecs(self) -> list[TargetCodec]:
        """Bins, encoder and decoder of every target; empty for schemes without a code."""
        return self.model.codecs if self.model.scheme.has_code else []

    @property
    def codes(self) -> list[Code | None]:
        """The code of each target; None for schemes without one."""
        return [Code(codec.encoder) for codec in self.codecs] or [None] * self.model.hparams.output_dim

    def forecast(self, X: pd.DataFrame) -> Sequence[Forecast]:
        """Points and, for schemes with a code, pi with rows that sum to 1 in double precision."""
        return forecasts(self.model, TensorTable(inputs_of(self.features, X, self.prepared)))

    def member_points(self, X: pd.DataFrame) -> Floats:
        """Points of every member, of shape (n, members, targets)."""
        return predict_members(self.model, TensorTable(inputs_of(self.features, X, self.prepared))).double().numpy()

    def to_onnx(self) -> Any:
        """The ONNX graph of the network and of what reads its columns, in standard units."""
        return network_graph(self)

    def state(self) -> State:
        """What can be saved."""
        plain_state = {
            "best_epoch": self.best_epoch,
            "config": plain(self.model.hparams),
            "log": self.log,
        }
        arrays = {f"weights.{name}": tensor.numpy() for name, tensor in self.model.state_dict().items()}
        arrays |= {f"features.{name}": array for name, array in self.features.arrays().items()}
        arrays |= {f"use.{index}": array for index, array in enumerate(self.class_use)}
        return plain_state, arrays


@dataclass(frozen=True, eq=False)
class TabularEngine:
    """Trains networks of pytorch-tabular.

    Parameters
    ----------
    columns : TableEncoder
        What reads the table.
    prepared : Prepared
        What fits on the same rows share.
    params : dict
        The regressor's. ``batch_size`` and ``max_epochs`` are by default those that
        :mod:`bridges_tabular.tabular.defaults` has for the number of rows.
    options : TrainingOptions
    start : TabularTrained, optional
        The network whose weights, bins and preprocessing to go on from.
    """

    columns: TableEncoder
    prepared: Prepared
    params: Mapping[str, Any]
    options: TrainingOptions
    start: TabularTrained | None = None

    def train(self, rows: Rows, watched: Rows | None, seed: int, report: Report) -> TabularTrained:
        """Train on rows whose targets are in standard units, and keep the epoch that did best on the watched ones."""
        features = self._features(rows)
        model = self.new_model(features, rows, rows, seed)
        batches = TrainingRows(self.table(features, rows), self.rows_per_batch(rows), seed)
        return self.train_model(model, features, rows, batches, watched, seed, report)

    def train_model(
        self,
        model: BridgeModel,
        features: FeatureTensors,
        rows: Rows,
        batches: TrainingRows | StoredBatches,
        watched: Rows | None,
        seed: int,
        report: Report,
    ) -> TabularTrained:
        """Train a new model on batches of some rows, of which targets and weights are read here."""
        held_out = None if watched is None else self.table(features, watched)
        log: dict[str, list[float | None]] = {}

        def heard(step: int, total: int, scores: Scores) -> None:
            for name, value in scores.items():
                # JSON has no other numbers
                log.setdefault(name, []).append(value if math.isfinite(value) else None)
            report(step, total, scores)

        logged = replace(report, listener=heard)
        best = self._train(model, batches, held_out, self.epochs(rows), seed, logged)
        return self._trained(model, features, best, rows, log)

    def refit(self, first: TabularTrained, rows: Rows, everything: Rows, seed: int) -> TabularTrained:
        """Train a network over the bins of ``first`` on more rows, for as many epochs as were best.

        Parameters
        ----------
        first : TabularTrained
        rows : Rows
            Those that it was trained on.
        everything : Rows
            Those to train on now.
        seed : int
        """
        model = self.new_model(first.features, rows, rows, seed)
        batches = TrainingRows(self.table(first.features, everything), self.rows_per_batch(everything), seed)
        best = self._train(model, batches, None, first.best_epoch + 1, seed, Report())
        return self._trained(model, first.features, best, everything, first.log)

    def restore(self, state: Mapping[str, Any], arrays: Arrays, trusted: Collection[str]) -> TabularTrained:
        """Rebuild a trained network from what its ``state`` returned.

        Raises
        ------
        NotTrusted
            If it has a head or an encoder of a module that is neither imported nor named in ``trusted``.
        """
        config = entry(state, "config", dict)
        _check_trusted(config, trusted)
        features = FeatureTensors.from_arrays(self.columns, arrays.part("features."))
        model = _restored(config, features, arrays.part("weights."))
        codecs = model.codecs if model.scheme.has_code else []
        use = [arrays.take_finite(f"use.{index}", codec.bins.n_bins) for index, codec in enumerate(codecs)]
        best, log = entry(state, "best_epoch", int), _checked(entry(state, "log", dict))
        return TabularTrained(model, features, best, use, log, self.prepared)

    def new_model(self, features: FeatureTensors, rows: Rows, drawn: Rows, seed: int) -> BridgeModel:
        """A network to train: with its bins on the targets of some rows, or as it was at the end of the last fit.

        What else is fitted before training, such as the bins of embeddings, is fitted to the rows drawn from them.
        """
        n_targets = rows.y.shape[1]
        epochs, size = self.epochs(rows), self.rows_per_batch(rows)
        bridge, decay = bridge_config(self.params), self.params["weight_decay"]
        config = full_config(bridge, features, n_targets, size, epochs, decay)
        inferred = inferred_config(len(features.continuous_names), features.cardinalities, n_targets)
        if self.start is not None:
            return _continued(self.start, config, inferred)
        with building(seed):
            model = BridgeModel(config, inferred_config=inferred)
            model.initialise(rows.y, rows.weight, TrainingRows(self.table(features, drawn), size, 0))
        return model

    def table(self, features: FeatureTensors, rows: Rows) -> TensorTable:
        """Rows as tensors."""
        columns = dict(inputs_of(features, rows.X, self.prepared))
        columns["target"] = torch.as_tensor(rows.y, dtype=torch.float32)
        if rows.weight is not None:
            columns["sample_weight"] = torch.as_tensor(rows.weight, dtype=torch.float32)
        return TensorTable(columns)

    def rows_per_batch(self, rows: Rows) -> int:
        """Rows in a batch."""
        given = self.params["batch_size"]
        return defaults.batch_size(len(rows)) if given is None else int(given)

    def epochs(self, rows: Rows) -> int:
        """Most epochs."""
        given = self.params["max_epochs"]
        return defaults.max_epochs(self.params, len(rows), self.rows_per_batch(rows)) if given is None else int(given)

    def _features(self, rows: Rows) -> FeatureTensors:
        if self.start is not None:
            return self.start.features
        fit: Callable[[], FeatureTensors] = lambda: FeatureTensors(self.columns).fit(rows.X)  # noqa: E731
        return self.prepared.get(fit, [self.columns, rows.X], "features")

    def _train(
        self,
        model: BridgeModel,
        batches: TrainingRows | StoredBatches,
        held_out: TensorTable | None,
        epochs: int,
        seed: int,
        report: Report,
    ) -> int:
        best = train(model, batches, held_out, epochs, self.options, seed, report)
        model.cpu().eval()
        return best

    def _trained(
        self,
        model: BridgeModel,
        features: FeatureTensors,
        best_epoch: int,
        rows: Rows,
        log: dict[str, list[float | None]],
    ) -> TabularTrained:
        codecs = model.codecs if model.scheme.has_code else []
        use = [class_use(codec, rows.y[:, index], rows.weight) for index, codec in enumerate(codecs)]
        return TabularTrained(model, features, best_epoch, use, log, self.prepared)


def inputs_of(features: FeatureTensors, X: pd.DataFrame, prepared: Prepared) -> Batch:
    """What a network reads of a table."""
    continuous, categorical = prepared.get(lambda: features.transform(X), [features, X], "tensors")
    return {"continuous": continuous, "categorical": categorical}


def _checked(log: dict[str, Any]) -> dict[str, list[float | None]]:
    for values in log.values():
        if not isinstance(values, list) or not all(isinstance(value, float | None) for value in values):
            raise ValueError("'log' holds what are no scores")
    return log


def _check_trusted(config: Mapping[str, Any], trusted: Collection[str]) -> None:
    for path in (config["encoder"], config["head_config"]["kind"]):
        module = "" if path is None else path.rpartition(".")[0]
        if module and path not in trusted and module not in sys.modules:
            raise NotTrusted(f"the saved model was made with {path}, which is not imported: name it in trusted")


def _continued(start: TabularTrained, config: DictConfig, inferred: DictConfig) -> BridgeModel:
    try:
        return _loaded(config, inferred, start.model.state_dict())
    except RuntimeError:
        raise ValueError(
            "warm_start: the last fit was of a network or a scheme that these parameters do not make"
        ) from None


def _restored(config: Mapping[str, Any], features: FeatureTensors, weights: Arrays) -> BridgeModel:
    """The network that a configuration describes, if it has just such weights."""
    targets = len(weights.take("target_mean", None, dtype=np.float32))
    for index in range(targets if SCHEMES[config["scheme"]].has_classes else 0):
        weights.take(f"terms.{index}.codec.bits", None, dtype=np.int64)
    inferred = inferred_config(len(features.continuous_names), features.cardinalities, targets)
    numbers = sum(array.size for array in weights.values())
    with building(0), Limited(_SPARE * numbers + _SPARE_NUMBERS, "the arrays of the saved model"):
        model = BridgeModel(OmegaConf.create(dict(config)), inferred_config=inferred)
    # sizes of what is fitted to targets follow the arrays
    own = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    fixed = {name: array for name, array in own.items() if not name.startswith("terms.")}
    for name, array in fixed.items():
        weights.take(name, *array.shape, dtype=array.dtype)
    for index, codec in enumerate(model.codecs):
        codec.restore(weights.part(f"terms.{index}.codec."))
    # what was read from a file may not be written to
    model.load_state_dict({name: torch.tensor(weights[name]) for name in model.state_dict()})
    model.eval()
    return model


def _loaded(config: DictConfig, inferred: DictConfig, weights: Mapping[str, torch.Tensor]) -> BridgeModel:
    with building(0):
        model = BridgeModel(config, inferred_config=inferred)
    model.load_state_dict(weights)
    model.eval()
    return model
