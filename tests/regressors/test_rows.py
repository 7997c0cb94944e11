"""From what a user hands to fit to checked rows, and one line for everything that cannot become any."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from bridges_tabular.regressors.rows import Given, Rows, check_sample_weight, check_target, check_validation


@pytest.mark.parametrize(
    "y",
    [[1, 2], (True, False), pd.array([1, 2], dtype="Int64"), np.array([1, 2.0], object), pd.Series([1, 2])],
)
def test_numeric_targets(y):
    target = check_target(y)
    assert target.dtype == np.float64
    np.testing.assert_array_equal(target, np.array(list(y), dtype=float))


def test_a_column_vector_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match="column-vector"):
        np.testing.assert_array_equal(check_target([[1], [2]]), [1, 2])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed, but the target price is None"),
        (["1", "2"], "the target price is not numeric: it holds '1'"),
        ([1, "dear"], "the target price is not numeric: it holds 'dear'"),
        (pd.Series([1, "dear"]), "the target price is not numeric: it holds 'dear'"),
        (pd.to_datetime(["2020-01-01"]), "the target price is not numeric"),
        ([np.nan, np.inf, 1], "price contains NaN or infinity: 2 of 3 values"),
        ([1, None], "price contains NaN or infinity: 1 of 2 values"),
        ([1, 10**400], "price contains NaN or infinity: 1 of 2 values"),
        ([[1, 2]], "should be a 1d array"),
        ([1j], "Complex data not supported"),
    ],
)
def test_unusable_targets_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, "price")


def test_sample_weights():
    assert check_sample_weight(None, 3) is None
    np.testing.assert_allclose(check_sample_weight([1, 0, 3], 3), [0.5, 0, 1.5])
    for alike in (2, [2, 2, 2], [1 / 3] * 3):
        assert check_sample_weight(alike, 3) is None
    for weights, message in [
        ([1, 2], r"shape \(2,\), expected \(3,\)"),
        ([[1, 2, 3]], "shape"),
        ([1, -1, 1], "negative"),
        ([1, np.nan, 1], "NaN"),
        ([0, 0, 0], "zero everywhere"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_sample_weight(weights, 3)


def test_eval_set_in_its_forms():
    X, y, w = [[1]], [2], [3]
    assert check_validation(None) is None
    assert check_validation((X, y)) == Given(X, y, None, "y of eval_set")
    assert check_validation([(X, y)]) == Given(X, y, None, "y of eval_set")
    assert check_validation([(X, y, w)]) == Given(X, y, w, "y of eval_set")
    assert check_validation(None, X, y) == Given(X, y, None, "y_val")
    for wrong in ([(X, y), (X, y)], [X, y], [], "text", (X,), (X, y, w, w)):
        with pytest.raises(ValueError, match=r"eval_set must"):
            check_validation(wrong)


@given(st.lists(st.floats(1e-4, 1e4), min_size=2, max_size=20), st.floats(-290, 290))
def test_weights_have_no_scale(weights, exponent):
    plain = check_sample_weight(weights, len(weights))
    scaled = check_sample_weight(np.asarray(weights) * 10.0**exponent, len(weights))
    if plain is None or scaled is None:
        np.testing.assert_allclose(weights, weights[0], rtol=1e-12)
        return
    np.testing.assert_allclose(plain, scaled, rtol=2e-7)
    assert plain.mean() == pytest.approx(1, rel=1e-6)


def frame(n):
    return pd.DataFrame({"a": np.arange(n, dtype=float)})


@pytest.mark.parametrize(("n", "fraction", "expected"), [(10, 0.2, 2), (10, 0.01, 1), (2, 0.9, 1), (101, 0.25, 25)])
def test_holding_out_is_seeded_and_complete(n, fraction, expected):
    rows = Rows(frame(n), np.arange(n, dtype=float)[:, None])
    kept, held_out = rows.hold_out(fraction, np.random.RandomState(7))
    assert len(held_out) == expected
    assert sorted([*kept.y[:, 0], *held_out.y[:, 0]]) == list(range(n))
    for part in (kept, held_out):
        assert (np.diff(part.y[:, 0]) > 0).all()
        np.testing.assert_array_equal(part.X["a"], part.y[:, 0])
    np.testing.assert_array_equal(rows.hold_out(fraction, np.random.RandomState(7))[1].y, held_out.y)


def test_holding_out_needs_two_rows():
    with pytest.raises(ValueError, match="n_samples = 1"):
        Rows(frame(1), np.zeros((1, 1))).hold_out(0.2, np.random.RandomState(0))


def test_rows_of_weight_zero_are_left_out_as_they_are_read():
    read = Rows.read(BaseEstimator(), Given(frame(4), [1, 2, 3, 4], [0, 2, 0, 1]), reset=True, several=False)
    np.testing.assert_array_equal(read.y, [[2], [4]])
    np.testing.assert_array_equal(read.X["a"], [1, 3])
    np.testing.assert_allclose(read.weight, [4 / 3, 2 / 3], rtol=1e-6)


def test_several_targets_only_where_they_are_taken():
    y = pd.DataFrame({"price": [1.0, 2, 3], "size": [4.0, np.nan, 6]})
    with pytest.raises(ValueError, match=r"Input y\[size\] contains NaN or infinity: 1 of 3 values"):
        Rows.read(BaseEstimator(), Given(frame(3), y), reset=True, several=True)
    assert Rows.read(BaseEstimator(), Given(frame(3), y.fillna(5)), reset=True, several=True).y.shape == (3, 2)
    with pytest.raises(ValueError, match="should be a 1d array"):
        Rows.read(BaseEstimator(), Given(frame(3), y), reset=True, several=False)
