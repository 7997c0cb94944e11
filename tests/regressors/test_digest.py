"""What parts of a table leave for an encoder, against the encoder of the whole table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.boosting.features import Features
from bridges_tabular.regressors.digest import TableDigest
from bridges_tabular.regressors.kinds import NearUniqueWarning
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.tables import TableEncoder


def table(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = pd.CategoricalDtype(["S", "M", "L"], ordered=True)
    return pd.DataFrame(
        {
            "far": 1e9 + rng.normal(size=n),
            "whole": rng.integers(0, 9, n),
            "flag": rng.random(n) < 0.5,
            "text": rng.choice(["b", "a", "c"], n),
            "some": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
            "size": pd.Series(rng.choice(["S", "L"], n)).astype(size),
            "plain": pd.Series(rng.choice([3, 1, 2], n)).astype("category"),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "hour": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "h"),
            "nothing": np.full(n, None),
        }
    )


def gathered(*parts: pd.DataFrame) -> TableDigest:
    digest = TableDigest()
    for part in parts:
        digest.add(part)
    return digest


@pytest.mark.parametrize("cuts", [[], [1], [20, 20, 45]])
def test_parts_leave_what_the_whole_table_teaches(cuts: Any) -> None:
    whole = table()
    whole.loc[:30, "text"] = None
    parts = [whole.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    digest = gathered(*(part[part.columns[::-1]] if i else part for i, part in enumerate(parts)))
    expected, found = TableEncoder().fit(whole), digest.encoder()
    assert found.to_dict() == expected.to_dict()
    one, other = Features(expected, Prepared()), Features(found, Prepared())
    one.fit(whole)
    other.fit(digest.frame())
    np.testing.assert_array_equal(one.values(whole), other.values(whole))
    assert digest.rows == 60
    assert {name: column.missing for name, column in digest.columns.items()} == whole.isna().sum().to_dict()


def test_categories_of_held_out_rows_are_kinds_alone() -> None:
    whole = table()
    encoder = gathered(whole[whole["text"] != "c"]).encoder(gathered(whole))
    assert encoder.categories["text"] == ["a", "b"]


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ({"text": [1.5]}, "column 'text' holds numbers, in parts before it categories"),
        ({"whole": ["x"]}, "column 'whole' holds categories, in parts before it numbers"),
        ({"size": pd.Categorical(["S"], ["L", "S"], ordered=True)}, "column 'size' holds categories of another order"),
        ({"new": [1]}, r"it has column\(s\) 'new', which parts before it lack"),
        ({"text": None}, r"it lacks column\(s\) 'text', which parts before it have"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(later: Any, words: str) -> None:
    second = table(1)
    for name, values in later.items():
        second = second.drop(columns=name) if values is None else second.assign(**{name: values})
    digest = gathered(table())
    with pytest.raises(ValueError, match=words):
        digest.add(second)


def test_texts_that_tell_rows_apart_are_counted_over_all_parts() -> None:
    names = [pd.DataFrame({"id": [f"{part}-{i}" for i in range(15)]}) for part in range(2)]
    with pytest.warns(NearUniqueWarning, match="'id' holds 30 different texts in 30 rows"):
        gathered(*names).encoder()
    gathered(*names, *[names[0]] * 3).encoder()
