"""Everything that is XGBoost's: matrices, training, and the parts of it that are not public, guarded by version."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from xgboost.callback import EarlyStopping, TrainingCallback
from xgboost.objective import TreeObjective

from bridges_tabular.boosting.booster import Forest, Metric, Output, Params, Run
from bridges_tabular.boosting.features import Features, Values
from bridges_tabular.boosting.objective import BridgeGradients
from bridges_tabular.boosting.quantised import quantised
from bridges_tabular.boosting.xgboost_trees import forest_of, with_scalar_leaves
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.stored import AnyValues, StoredValues

Floats = NDArray[np.float64]
Single = NDArray[np.float32]

# characters that XGBoost refuses in the names of features
_SAFE_NAMES = str.maketrans({"[": "(", "]": ")", "<": "‹"})
_LOCATION_NAME = "location"
_VALIDATION = "validation_0"
_OWN_METRIC = {"disable_default_eval_metric": True}


class XGBoost:
    """The library behind :class:`~bridges_tabular.boosting.booster.Booster`.

    Parameters
    ----------
    features : Features
    prepared : Prepared
    tree_method : str
        Those that read histograms get training rows in their quantised form, which is far smaller.
    max_bin : int or None
        Number of quantiles; None for XGBoost's own.
    n_jobs : int or None
        Number of threads, None for all.
    device : str
    target : int
        Which one the training rows are labelled with: those of another are other rows, where fits share some.
    """

    def __init__(
        self,
        features: Features,
        prepared: Prepared,
        *,
        tree_method: str = "hist",
        max_bin: int | None = None,
        n_jobs: int | None = None,
        device: str = "cpu",
        target: int = 0,
    ) -> None:
        self.features = features
        self._prepared = prepared
        self._histograms = tree_method in ("hist", "auto")
        self._limit = {} if max_bin is None or not self._histograms else {"max_bin": max_bin}
        self._n_jobs = n_jobs
        self._device = device
        self._target = target

    def matrix(
        self,
        values: AnyValues,
        output: Output,
        label: NDArray[Any],
        weight: Floats | None,
        *,
        rows: NDArray[np.bool_] | None = None,
        ref: xgb.DMatrix | None = None,
    ) -> xgb.DMatrix:
        """Training rows in the form that the tree method reads; see ``Booster``."""
        matrix = self._unlabelled(values, output, weight, rows, ref)
        # the one thing that fits set anew
        matrix.set_info(label=label if rows is None else label[rows])
        return matrix

    def train(
        self,
        output: Output,
        params: Params,
        training: xgb.DMatrix,
        validation: xgb.DMatrix | None,
        rounds: int,
        *,
        gradients: BridgeGradients | None = None,
        metric: Metric | None = None,
        scores: Sequence[str] = (),
        early_stopping_rounds: int | None = None,
        report: Callable[[int, Mapping[str, float]], None] | None = None,
        callbacks: Sequence[TrainingCallback] = (),
    ) -> Run:
        """Boost; see ``Booster``."""
        located = training.num_col() > len(self.features.is_category)
        log: dict[str, dict[str, list[float]]] = {}
        booster = xgb.train(
            output_params(output, scores) | params,
            training,
            rounds,
            evals=[] if validation is None else [(validation, _VALIDATION)],
            obj=None if gradients is None else _Objective(gradients),
            custom_metric=None if metric is None else _listed(metric),
            early_stopping_rounds=None if validation is None else early_stopping_rounds,
            evals_result=log,
            verbose_eval=False,
            callbacks=[*([] if report is None else [_Reporter(report)]), *map(_own, callbacks)],
        )
        # set by early stopping, ours or that of a user's callback
        best_iteration = int(getattr(booster, "best_iteration", booster.num_boosted_rounds() - 1))
        best_score = getattr(booster, "best_score", None)
        if best_iteration + 1 < booster.num_boosted_rounds():
            booster = booster[: best_iteration + 1]
        return Run(
            XGBTrees(self, booster, output, located),
            best_iteration,
            None if best_score is None else float(best_score),
            log.get(_VALIDATION, {}),
        )

    def load(self, content: bytes, output: Output, located: bool) -> XGBTrees:
        """Read the booster of a saved model."""
        booster = xgb.Booster({"nthread": self._n_jobs or 0, "device": self._found_device()})
        booster.load_model(bytearray(content))
        return XGBTrees(self, booster, output, located)

    def _found_device(self) -> str:
        """The device, or "cpu" where a saved model was fitted on one that is not here; says so once."""
        if not self._device.startswith("cpu") and not has_device(self._device):
            warnings.warn(
                f"the model was fitted with device={self._device!r}, which is not here: it predicts on the cpu",
                stacklevel=2,
            )
            self._device = "cpu"
        return self._device

    def share_threads(self, models: int) -> tuple[int, Params]:
        """How many models to train at a time, and their threads: small ones gain little from a second."""
        if xgb.collective.is_distributed():
            # each process has a share of the rows of every model, and all have to train the same one at a time
            return 1, {}
        threads = self._n_jobs if self._n_jobs and self._n_jobs > 0 else os.cpu_count() or 1
        workers = min(models, threads) if self._device.startswith("cpu") else 1
        return workers, {"nthread": max(1, threads // workers)}

    def plain(self, values: Values, native: bool) -> xgb.DMatrix:
        """DMatrix of features (n, p), or (n, p + 1) with a location, to predict with."""
        located = values.shape[1] > len(self.features.is_category)
        description = self.description(native, located)
        settings = "plain", native, self._n_jobs
        return self._prepared.get(
            lambda: xgb.DMatrix(values, **description), [self.features.columns, values], *settings
        )

    def description(self, native: bool, located: bool) -> dict[str, Any]:
        """Names and kinds of the columns.

        Parameters
        ----------
        native : bool
            True lets XGBoost split the set of categories; False hands their codes over as ordered numbers, which
            keeps a feature in one column and was as accurate as one column a category.
        located : bool
            Whether the last column is the location that bins are centred on.
        """
        types = ["c" if native and category else "q" for category in self.features.is_category]
        names = None
        if self.features.names is not None:
            names = []
            for name in [*self.features.names, *([_LOCATION_NAME] if located else [])]:
                # half a surrogate pair is no character
                safe = name.translate(_SAFE_NAMES).encode("utf-8", "replace").decode()
                # a column of the user's may have that name already
                while safe in names:
                    safe += "_"
                names.append(safe)
        return {
            "feature_names": names,
            "feature_types": [*types, *(["q"] if located else [])],
            "enable_categorical": native,
            "nthread": self._n_jobs,
        }

    def _unlabelled(
        self,
        values: AnyValues,
        output: Output,
        weight: Floats | None,
        rows: NDArray[np.bool_] | None,
        ref: xgb.DMatrix | None,
    ) -> xgb.DMatrix:
        located = values.shape[1] > len(self.features.is_category)
        description = self.description(not output.vector, located) | {
            # XGBoost asks the matrices for them in every round, which takes longer than small trees
            "feature_names": None,
            "weight": weight if weight is None or rows is None else weight[rows],
        }
        if "c" not in description["feature_types"]:
            description["feature_types"] = None
        if isinstance(values, StoredValues):
            return quantised(values if rows is None else values[rows], ref, description | self._limit)
        used = slice(None) if rows is None else rows
        if not self._histograms:
            # not shared: "approx" keeps in it what it sketches by the gradients of the first fit
            return xgb.DMatrix(values[used], **description)
        mask = None if rows is None else rows.tobytes()
        settings = output.vector, self._n_jobs, *self._limit.items(), mask, self._target
        return self._prepared.get(
            lambda: xgb.QuantileDMatrix(values[used], ref=ref, **description, **self._limit),
            [self.features.columns, values, weight, ref],
            *("quantiles", *settings),
        )


class XGBTrees:
    """A trained booster with the names and kinds of its features.

    Parameters
    ----------
    library : XGBoost
    booster : Booster
    output : Output
    located : bool
        Whether the last feature is the location.
    """

    def __init__(self, library: XGBoost, booster: xgb.Booster, output: Output, located: bool) -> None:
        description = library.description(not output.vector, located)
        booster.feature_names, booster.feature_types = description["feature_names"], description["feature_types"]
        self.booster = booster
        self._library = library
        self._output = output
        self._n_features = len(description["feature_types"])

    def read(self, values: Values) -> xgb.DMatrix:
        """Features of shape (n, p) as ``margins`` takes them; see ``Trees``."""
        return self._library.plain(values, not self._output.vector)

    def margins(self, values: Values, read: xgb.DMatrix | None = None) -> Single:
        """Outputs of shape (n,) or (n, r)."""
        matrix = self.read(values) if read is None else read
        margins: Single = self.booster.predict(matrix, output_margin=True)
        return margins

    def contributions(self, values: Values) -> Floats:
        """SHAP values of the outputs, (n, p + 1) or (n, r, p + 1)."""
        booster = with_scalar_leaves(self.booster) if self._output.vector else self.booster
        matrix = self._library.plain(values, not self._output.vector)
        shares: Floats = booster.predict(matrix, pred_contribs=True).astype(np.float64)
        return shares

    def importances(self) -> Single:
        """Share of each column in the mean gain of splits, of shape (p,); as XGBRegressor's."""
        gain = self.booster.get_score(importance_type="gain")
        names = self.booster.feature_names or [f"f{j}" for j in range(self._n_features)]
        importances = np.array([gain.get(name, 0.0) for name in names], dtype=np.float32)
        total = importances.sum()
        return importances if total == 0 else importances / total

    def forest(self) -> Forest:
        """Its trees node by node."""
        return forest_of(self.booster)

    def save(self) -> bytes:
        """The booster as UBJSON."""
        return bytes(self.booster.save_raw("ubj"))


class _Objective(TreeObjective):
    """Our gradients, as XGBoost asks for them."""

    def __init__(self, gradients: BridgeGradients) -> None:
        self._gradients = gradients

    def __call__(self, iteration: int, y_pred: Single, dtrain: Any) -> tuple[Single, Single]:
        return self._gradients.at(iteration, y_pred)

    def split_grad(self, iteration: int, grad: Single, hess: Single) -> tuple[Single, Single] | None:
        return self._gradients.for_splits(grad, hess)


class _Reporter(TrainingCallback):
    """Tells of every round; never stops by itself."""

    def __init__(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        self._report = report

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        scores = evals_log.get(_VALIDATION, {})
        self._report(epoch + 1, {name: float(values[-1]) for name, values in scores.items()})
        return False


def _own(callback: TrainingCallback) -> TrainingCallback:
    """The callback; a copy of XGBoost's early stopping, which would compare with scores of the fit before."""
    return deepcopy(callback) if isinstance(callback, EarlyStopping) else callback


def _listed(metric: Metric) -> Callable[[Any, Any], list[tuple[str, float]]]:
    return lambda predictions, _: list(metric(predictions).items())


def has_device(device: str) -> bool:
    """Whether XGBoost finds a device, without the warnings that it has where it does not."""
    with xgb.config_context(verbosity=0):
        rows = xgb.DMatrix(np.zeros((2, 1)), label=np.zeros(2), nthread=1)
        found = json.loads(xgb.train({"device": device, "nthread": 1, "verbosity": 0}, rows, 1).save_config())
    return not str(found["learner"]["generic_param"]["device"]).startswith("cpu")


def output_params(output: Output, scores: Sequence[str]) -> Params:
    """Parameters of ``xgboost.train`` that follow from what trees put out."""
    if output.offsets is not None:
        offsets = output.offsets.tolist()
        return {"objective": "multi:softprob", "num_class": output.n_margins, "base_score": offsets} | _OWN_METRIC
    if not output.vector:
        own = [name for name in scores if name in ("rmse", "mae")]
        return {"objective": "reg:squarederror", "eval_metric": own or ["rmse"]}
    return {
        # names the output alone: the gradients are ours
        "objective": "reg:squarederror",
        "num_target": output.n_margins,
        "base_score": 0.0,
        # a single margin needs no vector
        "multi_strategy": "multi_output_tree" if output.n_margins > 1 else "one_output_per_tree",
        # hessians of k classes are tiny: XGBoost's default of 1 would silence whole trees
        "min_child_weight": 0,
    } | _OWN_METRIC
