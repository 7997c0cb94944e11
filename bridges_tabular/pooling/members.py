"""The members of a pool: what may be one, and how they are saved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.regressors import artifacts
from bridges_tabular.regressors.base import BridgeRegressor
from bridges_tabular.regressors.tables import check_table
from bridges_tabular.regressors.words import one_line, shown

DROP = "drop"
_FITTED, _FROZEN = "fitted", "frozen"


def is_dropped(member: Any) -> bool:
    """Whether a member is left out."""
    return isinstance(member, str) and member == DROP


def check(name: Any, member: Any) -> None:
    """Refuse a member that no pool can use; needs no data.

    Raises
    ------
    ValueError
        In one line that names it.
    """
    if not isinstance(name, str):
        raise ValueError(f"estimators: a name must be text, not {shown(name)}")
    if is_dropped(member):
        return
    inner = member.estimator if isinstance(member, FrozenEstimator) else member
    where = f"estimators: {shown(name)}"
    if not isinstance(inner, BridgeRegressor):
        expected = "a regressor of bridges_tabular, a FrozenEstimator of one, or 'drop'"
        raise ValueError(f"{where} is a {type(inner).__name__}, expected {expected}")
    if inner is not member:
        try:
            check_is_fitted(inner)
        except NotFittedError:
            raise NotFittedError(f"{where} is frozen and not fitted") from None
    else:
        try:
            inner.check_params()
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    # of one that is fitted the parameters may have changed since
    if not hasattr(clone(member), "predict_distribution"):
        raise ValueError(f"{where} (scheme {inner.scheme}) predicts points alone, and a pool needs distributions")


def check_fitted(name: str, member: BridgeRegressor, X: pd.DataFrame, targets: int, single: bool) -> None:
    """Refuse a fitted member that cannot read the table of the pool, or predicts other targets.

    Raises
    ------
    TypeError, ValueError
        In one line that names it.
    """
    where = f"estimators: {shown(name)}"
    check_targets(where, member, targets, single)
    try:
        member._columns.transform(check_table(member, X, reset=False))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(one_line(f"{where}: {' '.join(str(error).split())}")) from None


def check_targets(where: str, member: BridgeRegressor, targets: int, single: bool) -> None:
    """Refuse a fitted member that predicts other targets than the pool.

    Raises
    ------
    ValueError
        In one line that begins with ``where``.
    """
    own = len(member.scale_.mean)
    if own != targets or member._single != single:
        its, ours = ("(n,)" if alone else f"(n, {t})" for alone, t in ((member._single, own), (single, targets)))
        raise ValueError(f"{where} was fitted to y of shape {its}, the pool to {ours}")


def folder(index: int) -> str:
    """Where in the folder of a pool a member is saved."""
    return f"members/{index}"


def kind(member: Any) -> str:
    """What a saved pool says of a member."""
    if is_dropped(member):
        return DROP
    return _FROZEN if isinstance(member, FrozenEstimator) else _FITTED


def read_kinds(saved: Any) -> list[tuple[str, str]]:
    """Names and kinds of saved members.

    Raises
    ------
    ValueError
        If they are something else.
    """
    pairs = [tuple(one) if isinstance(one, list) else () for one in saved] if isinstance(saved, list) else []
    known = (DROP, _FROZEN, _FITTED)
    if not pairs or not all(len(one) == 2 and isinstance(one[0], str) and one[1] in known for one in pairs):
        raise ValueError("'estimators' holds no names and kinds of members")
    return pairs


def load(
    saved: artifacts.Saved, kinds: Sequence[tuple[str, str]], trusted: Collection[str]
) -> list[tuple[str, str, Any]]:
    """Names, kinds and members; None where one was dropped.

    Raises
    ------
    FileNotFoundError, ValueError
        If a member cannot be read.
    """
    count, loaded = 0, []
    for name, its in kinds:
        member = None
        if its != DROP:
            member, count = artifacts.load_within(saved, folder(count), trusted), count + 1
        loaded.append((name, its, member))
    return loaded


def as_given(its: str, member: Any) -> Any:
    """A saved member as it stands among ``estimators``."""
    if its == DROP:
        return DROP
    return FrozenEstimator(member) if its == _FROZEN else member
