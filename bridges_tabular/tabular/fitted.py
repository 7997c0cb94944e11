"""What a fitted network holds: its scores, its members, and what it learned about the classes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors import learned
from bridges_tabular.regressors.available import available_if
from bridges_tabular.regressors.progress import History, history_in_units
from bridges_tabular.regressors.streamed import PastMemory
from bridges_tabular.regressors.tables import check_table
from bridges_tabular.tabular.engine import TabularTrained
from bridges_tabular.tabular.model import BridgeModel


def _has_encoder(self: FittedNetwork) -> bool:
    return SCHEMES[self._of_fit("scheme")].has_code


class FittedNetwork(PastMemory):
    """A regressor of one network, once it is fitted."""

    @property
    def model_(self) -> BridgeModel:
        """The network."""
        return self._network.model

    @property
    def best_epoch_(self) -> int:
        """The epoch whose weights are kept."""
        return self._network.best_epoch

    @property
    def evals_result_(self) -> History:
        """Scores of the validation rows, epoch by epoch, as XGBoost has them: early stopping's metric last."""
        log = self._network.log
        return history_in_units({"validation_0": log} if log else {}, self.scale_)

    def evals_result(self) -> History:
        """Return ``evals_result_``, as XGBoost's method does."""
        return self.evals_result_

    @property
    def n_outputs_(self) -> int:
        """Number of targets."""
        return int(self._network.model.hparams.output_dim)

    @property
    def class_use_(self) -> list[NDArray[np.float64]]:
        """Mean code of the training targets, of every target."""
        return self._network.class_use

    def predict_members(self, X: Any) -> NDArray[np.float64]:
        """Predict with every member of the network, the least-squares ones last; ``predict`` is their mean.

        With a target_transform they are what the members say of the transformed target, turned back, and no means.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        array of shape (n, members), or (n, members, targets) where ``fit`` was given several targets; a backbone
        without members has one
        """
        network = self._network
        members = self.scale_.restore(network.member_points(check_table(self, X, reset=False)))
        return members[..., 0] if self._single else members

    @available_if(_has_encoder)
    def encoder_frame(self, target: int = 0) -> pd.DataFrame:
        """What was learned about the classes of a target.

        Parameters
        ----------
        target : int, default=0
            Which one, where there are several.

        Returns
        -------
        DataFrame with a row for every class: ``center``, ``low`` and ``high`` of its bin, the decoder's ``value``,
        the mean and the deviation of y under its code (``code_mean``, ``code_width``), its ``use`` (the mean code of
        the training targets) and the ``entropy`` of the code of its centre, in nats; all else in units of the target
        """
        return learned.encoder_frame(self.codecs_[target], self.codec_scales_[target], self.class_use_[target])

    @available_if(_has_encoder)
    def plot_encoder(self, target: int = 0, ax: Any = None) -> Any:
        """Draw the code psi(y) over y, a curve for each class, and the decoder's values.

        Parameters
        ----------
        target : int, default=0
            Which one, where there are several.
        ax : matplotlib axes, optional
            Where to draw; new axes by default.

        Returns
        -------
        matplotlib axes
        """
        return learned.plot_encoder(self.codecs_[target], self.codec_scales_[target], self.class_use_[target], ax)

    @property
    def _network(self) -> TabularTrained:
        check_is_fitted(self)
        return cast(TabularTrained, self._trained)
