"""Batches cut from tensors, in place of a loader that fetches row by row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from pytorch_tabular.tabular_datamodule import TabularDatamodule, TabularDataset
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, Sampler, SequentialSampler

Batch = dict[str, Tensor]

# validation and prediction keep no graph: a larger batch costs little memory
EVALUATION_BATCH = 4096
# shuffled rows are gathered for many batches at once, and no more than so many rows
_GATHERED_ROWS = 1 << 16


class TensorTable:
    """Rows of a table as tensors of one length, by the names that pytorch-tabular's models read.

    Parameters
    ----------
    columns : dict of str to tensor
        "continuous" (n, p), "categorical" (n, q), and where known "target" (n, targets), "sample_weight" (n,).
    """

    def __init__(self, columns: Batch) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return self.columns["continuous"].shape[0]

    def __getitem__(self, rows: Any) -> Batch:
        """The batch of some rows: a slice, or row numbers."""
        return {name: column[rows] for name, column in self.columns.items()}

    # a loader takes the rows of a batch at once from whatever has this
    __getitems__ = __getitem__

    @property
    def y(self) -> NDArray[np.float64]:
        """The targets of shape (n, targets), as pytorch-tabular's datasets name them."""
        return self.columns["target"].double().cpu().numpy()

    @property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """The weights of shape (n,)."""
        weight = self.columns.get("sample_weight")
        return None if weight is None else weight.double().cpu().numpy()

    def to(self, device: torch.device) -> TensorTable:
        """The same rows on another device."""
        return TensorTable({name: column.to(device) for name, column in self.columns.items()})


class ShuffledBatches:
    """Iterates over a table in batches, in a new order on each pass.

    Batches differ by at most one row, and none is of a single row, too few for batch normalisation, unless
    ``batch_size`` is 1 or the table has no more: batches of 2 become some of 3 where the number of rows is odd.
    """

    def __init__(self, table: TensorTable, batch_size: int, generator: torch.Generator) -> None:
        self._table = table
        most = len(table) if batch_size == 1 else len(table) // 2
        self._n_batches = max(1, min(-(-len(table) // batch_size), most))
        self._generator = generator

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[Batch]:
        n = len(self._table)
        order = torch.randperm(n, generator=self._generator)
        bounds = np.linspace(0, n, self._n_batches + 1).round().astype(int).tolist()
        device = self._table.columns["continuous"].device
        gathered: Batch = {}
        first = last = 0
        for start, stop in pairwise(bounds):
            if stop > last:
                first, last = start, max(stop, min(n, start + _GATHERED_ROWS))
                gathered = self._table[order[first:last].to(device)]
            yield {name: column[start - first : stop - first] for name, column in gathered.items()}


class TrainingRows:
    """What ``data_aware_initialization`` reads of a datamodule, without a frame behind it."""

    def __init__(self, table: TensorTable, batch_size: int, seed: int) -> None:
        self.train_dataset = table
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def train_dataloader(self, batch_size: int | None = None) -> ShuffledBatches:
        """Shuffled training batches."""
        return ShuffledBatches(self.train_dataset, batch_size or self._batch_size, self._generator)

    def batches_of(self, table: TensorTable) -> ShuffledBatches:
        """Shuffled batches of the same rows with more columns, or on another device."""
        return ShuffledBatches(table, self._batch_size, self._generator)


class TensorDatamodule(TabularDatamodule):
    """pytorch-tabular's datamodule with batches cut from tensors: the same rows in the same order, much faster.

    Give it to ``TabularModel.fit`` (see the example), or override ``TabularModel.prepare_dataloader`` to use it in
    ``cross_validate`` and ``bagging_predict``. ``num_workers``, ``pin_memory`` and ``dataloader_kwargs`` have no
    effect: there is no work left for other processes.

    Parameters
    ----------
    train : DataFrame
    config : DictConfig
        ``TabularModel.config``.
    validation : DataFrame, optional
        Default: the share ``validation_split`` of ``train``.
    sample_weight : str, optional
        Name of a column of ``train``, and of ``validation``, that holds weights; models of this package use them.
    **kwargs
        Those of pytorch-tabular's ``TabularDatamodule``.

    Examples
    --------
    >>> model = TabularModel(...)  # doctest: +SKIP
    >>> datamodule = TensorDatamodule(train, model.config)  # doctest: +SKIP
    >>> datamodule.setup("fit")  # doctest: +SKIP
    >>> model.fit(train=None, datamodule=datamodule)  # doctest: +SKIP
    """

    def __init__(
        self,
        train: DataFrame,
        config: Any,
        validation: DataFrame | None = None,
        sample_weight: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.weight_column = sample_weight
        self._weights: dict[str, NDArray[np.float32]] = {}
        for part, frame in {"train": train, "validation": validation}.items():
            if sample_weight is not None and frame is not None:
                if sample_weight not in frame.columns:
                    raise ValueError(f"{part} has no column {sample_weight!r} for sample_weight")
                weight = frame[sample_weight]
                if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
                    raise ValueError(
                        f"{part}: column {sample_weight!r} must hold finite weights of at least 0, not all of them 0"
                    )
        super().__init__(train=train, config=config, validation=validation, **kwargs)

    def _cache_dataset(self) -> None:
        if self.weight_column is not None:
            self._weights = {
                "train": self.train[self.weight_column].to_numpy(dtype=np.float32),
                "validation": self.validation[self.weight_column].to_numpy(dtype=np.float32),
            }
        super()._cache_dataset()

    def _load_dataset_from_cache(self, tag: str = "train") -> TabularDataset:
        dataset = super()._load_dataset_from_cache(tag)
        dataset.sample_weight = self._weights.get(tag)
        return dataset

    def train_dataloader(self, batch_size: int | None = None) -> DataLoader[Batch]:
        """Training batches, in the order of pytorch-tabular's own loader for the same seed and sampler."""
        table = tensor_table(self.train_dataset)
        return _loader(table, batch_size or self.batch_size, self.train_sampler or RandomSampler(table))

    def val_dataloader(self, batch_size: int | None = None) -> DataLoader[Batch]:
        """Validation batches, in order."""
        table = tensor_table(self.validation_dataset)
        return _loader(table, batch_size or self.batch_size, SequentialSampler(table))

    def prepare_inference_dataloader(
        self, df: DataFrame, batch_size: int | None = None, copy_df: bool = True
    ) -> DataLoader[Batch]:
        """Batches of new rows, in order."""
        frame = self._prepare_inference_data(df.copy() if copy_df else df)
        dataset = TabularDataset(
            data=frame,
            task=self.config.task,
            continuous_cols=self.config.continuous_cols,
            categorical_cols=self.config.categorical_cols,
            target=self.target,
        )
        table = tensor_table(dataset)
        return _loader(table, batch_size or EVALUATION_BATCH, SequentialSampler(table))


def _loader(table: TensorTable, batch_size: int, sampler: Sampler[int]) -> DataLoader[Batch]:
    return DataLoader(table, batch_size, sampler=sampler, collate_fn=_as_it_is)  # type: ignore[arg-type]


def _as_it_is(batch: Batch) -> Batch:
    return batch


class _Known:
    """Nothing, but reading it from a pickle imports this package."""


def known_with(datamodule: Any) -> None:
    """Have the package imported, and so its models known, wherever pytorch-tabular reads the saved datamodule."""
    datamodule.bridges_tabular = _Known()


def tensor_table(dataset: TabularDataset) -> TensorTable:
    """The rows of one of pytorch-tabular's datasets."""
    empty = torch.empty(len(dataset), 0)
    columns = {
        "target": torch.from_numpy(dataset.y),
        "continuous": torch.from_numpy(dataset.continuous_X) if dataset.continuous_cols else empty,
        "categorical": torch.from_numpy(dataset.categorical_X) if dataset.categorical_cols else empty,
    }
    if getattr(dataset, "sample_weight", None) is not None:
        columns["sample_weight"] = torch.from_numpy(dataset.sample_weight)
    return TensorTable(columns)
