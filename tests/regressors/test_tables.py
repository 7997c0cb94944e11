"""From a user's table to numbers and codes, and one line for everything that cannot become either."""

import datetime
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator

from bridges_tabular.regressors.card import describe_columns
from bridges_tabular.regressors.kinds import OddCellError, with_kinds
from bridges_tabular.regressors.rows import Rows, check_validation
from bridges_tabular.regressors.tables import TableEncoder, as_frame, check_table


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "cut": pd.Categorical(["low", None, "high"], categories=["low", "mid", "high"], ordered=True),
            "flag": [True, False, True],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "colour": ["red", None, "blue"],
            "nullable_text": pd.array(["x", pd.NA, "y"], dtype="string"),
            "flag_with_gaps": [True, None, False],
            "mixed": ["a", 1, None],
            "code": pd.Categorical([30, 1, 4]),
            "nothing": [None, None, None],
            "no_number": [np.nan] * 3,
        }
    )


def test_kinds_categories_and_values(table):
    encoder = TableEncoder().fit(table)
    numeric, codes = encoder.transform(table)
    assert encoder.feature_names_in_ == list(table)
    assert encoder.n_features_in_ == 11
    assert encoder.numeric_columns == ["whole", "flag", "nullable", "flag_with_gaps", "nothing", "no_number"]
    assert encoder.categories == {
        "cut": ["low", "high"],
        "colour": ["blue", "red"],
        "nullable_text": ["x", "y"],
        "mixed": [1, "a"],
        "code": [1, 4, 30],
    }
    nan = np.nan
    np.testing.assert_array_equal(numeric, [[1, 1, 1, 1, nan, nan], [2, 0, nan, nan, nan, nan], [3, 1, 3, 0, nan, nan]])
    np.testing.assert_array_equal(codes, [[0, 1, 0, 1, 2], [-1, -1, -1, 0, 0], [1, 0, 1, -1, 1]])
    assert numeric.dtype == np.float64
    assert codes.dtype == np.int64


def test_the_users_table_is_not_changed(table):
    before = table.copy(deep=True)
    TableEncoder().fit(table).transform(table)
    pd.testing.assert_frame_equal(table, before)


def test_state_survives_json_with_the_types_of_its_categories(table):
    table["level"] = pd.Categorical([0.5, 1.5, 0.5])
    table["answer"] = pd.Categorical([True, False, True])
    encoder = TableEncoder().fit(table)
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.to_dict() == encoder.to_dict()
    for first, second in zip(encoder.transform(table), again.transform(table), strict=True):
        np.testing.assert_array_equal(first, second)


def test_unseen_and_missing_values_share_a_code_whatever_the_dtype():
    encoder = TableEncoder().fit(pd.DataFrame({"colour": ["red", "blue", None]}))
    for values in (["green", None, "red"], pd.Categorical(["green", None, "red"])):
        _, codes = encoder.transform(pd.DataFrame({"colour": values}))
        np.testing.assert_array_equal(codes.ravel(), [-1, -1, 1])
    _, codes = encoder.transform(pd.DataFrame({"colour": [np.nan, np.nan]}))
    np.testing.assert_array_equal(codes.ravel(), [-1, -1])


def test_the_order_of_rows_does_not_change_the_codes(table):
    assert TableEncoder().fit(table).to_dict() == TableEncoder().fit(table[::-1]).to_dict()


def test_named_columns_are_found_by_name_and_extra_ones_ignored(table):
    encoder = TableEncoder().fit(table)
    expected = encoder.transform(table)
    shuffled = encoder.transform(table[list(table)[::-1]].assign(extra="text"))
    for first, second in zip(expected, shuffled, strict=True):
        np.testing.assert_array_equal(first, second)


def test_arrays_and_lists():
    encoder = TableEncoder().fit([[1, 2.5], [3, np.nan]])
    assert encoder.feature_names_in_ == ["x0", "x1"]
    numeric, codes = encoder.transform(np.array([[5, 6]], dtype=np.float32))
    np.testing.assert_array_equal(numeric, [[5, 6]])
    assert codes.shape == (1, 0)
    mixed = np.array([["b", 1, None], ["a", 2.5, 3]], dtype=object)
    numeric, codes = TableEncoder().fit(mixed).transform(mixed)
    np.testing.assert_array_equal(numeric, [[1, np.nan], [2.5, 3]])
    np.testing.assert_array_equal(codes, [[1], [0]])


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"long": pd.to_timedelta(["1h"])}), ValueError, "'long' holds timedelta64"),
        (pd.DataFrame({"z": [1j]}), ValueError, "Complex data not supported: column 'z'"),
        (pd.DataFrame({"z": pd.cut([1, 2], 2)}), TypeError, "'z' holds a Interval"),
        (pd.DataFrame({"z": [b"bytes"]}), ValueError, "'z' holds bytes"),
        (pd.DataFrame({"z": pd.Categorical([np.inf])}), ValueError, "'z' holds infinite"),
        (pd.DataFrame({"z": [{"a": 1}]}), TypeError, r"argument must be a string or a number"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "'a' appears more than once"),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\)"),
        (pd.DataFrame(index=[0]), ValueError, r"0 feature\(s\) \(shape=\(1, 0\)\) while a minimum of 1"),
        (np.zeros((3, 0)), ValueError, r"0 feature\(s\)"),
        ([1, 2], ValueError, "Reshape your data"),
        (sparse.csr_matrix([[1.0]]), TypeError, "Sparse data"),
        ([[1j]], ValueError, "Complex data not supported"),
    ],
)
def test_unusable_tables_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        TableEncoder().fit(X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["whole", "cut"]), "the table lacks column\\(s\\) 'whole', 'cut'$"),
        (lambda t: t.assign(whole=["1", "2", "3"]), "'whole' held numbers in fit and now holds '1' in row 0$"),
        (lambda t: t.assign(whole=["1", "?", "3"]), "'whole' held numbers in fit and now holds '\\?' in row 1$"),
        (lambda t: t.assign(whole=[1, None, "x"]), "'whole' held numbers in fit and now holds 'x' in row 2$"),
        (lambda t: t.assign(colour=[1, 2, 3]), "'colour' held text in fit and now holds numbers"),
        (
            lambda t: t.assign(whole=[1, -np.inf, 1e39]),
            "'whole' holds 2 value\\(s\\) that are infinite or .* first in row 1: -inf$",
        ),
        (
            lambda t: t.assign(whole=pd.Series([1, 10**400, None], dtype=object)),
            "'whole' holds 1 value.*, the first in row 1: 1000.*000$",
        ),
        (lambda t: t.to_numpy()[:, :4], "X has 4 features, but 11 are expected"),
    ],
)
def test_tables_unlike_the_one_of_fit_are_refused_in_one_line(table, change, message):
    encoder = TableEncoder().fit(table)
    with pytest.raises(ValueError, match=message) as caught:
        encoder.transform(change(table))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_check_table_follows_scikit_learn(table):
    estimator = BaseEstimator()
    assert check_table(estimator, table, reset=True) is table
    assert estimator.n_features_in_ == 11
    assert estimator.feature_names_in_.tolist() == list(table)
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        check_table(estimator, table[list(table)[::-1]], reset=False)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but BaseEstimator was fitted"):
        check_table(estimator, table.to_numpy(), reset=False)
    with pytest.raises(ValueError, match="X has 1 features, but BaseEstimator is expecting 11 features"):
        check_table(estimator, pd.DataFrame([[1]]), reset=False)


@pytest.mark.parametrize("change", [lambda t: t[list(t)[::-1]], lambda t: t.assign(new=1), lambda t: t[["whole"]]])
@pytest.mark.parametrize("called", ["X of eval_set", "X_val"])
def test_other_columns_of_validation_rows_are_refused_in_a_line(table, change, called):
    estimator = BaseEstimator()
    check_table(estimator, table, reset=True)
    y = [1.0, 2.0, 3.0]
    pair = {"X_val": change(table), "y_val": y} if called == "X_val" else {"eval_set": (change(table), y)}
    given = check_validation(**{"eval_set": None} | pair)
    with pytest.raises(ValueError, match=f"^{called}: The feature names should match those that were passed") as caught:
        Rows.read(estimator, given, reset=False, several=False)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^{called}: X has 2 features, but BaseEstimator is expecting 11 features"):
        Rows.read(estimator, given._replace(X=np.zeros((3, 2))), reset=False, several=False)


@pytest.mark.parametrize("path", ["data.parquet", Path("data.parquet")])
def test_a_path_is_no_table(path):
    words = "^X is text, 'data.parquet', and this takes tables in memory: read the file first$"
    with pytest.raises(ValueError, match=words):
        check_table(BaseEstimator(), path, reset=True)


def test_integer_column_names_are_positions():
    frame = as_frame(pd.DataFrame({0: [1.0], 1: [2.0]}))
    encoder = TableEncoder().fit(frame)
    assert not encoder.named
    np.testing.assert_array_equal(encoder.transform([[3.0, 4.0]])[0], [[3, 4]])


def test_no_warnings_on_ordinary_tables(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableEncoder().fit(table).transform(table)


WHEN = ["2024-02-29", None, "2023-12-31"]


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(pd.Series(WHEN)),
        pd.to_datetime(pd.Series(WHEN)).dt.tz_localize("Europe/Berlin"),
        pd.to_datetime(pd.Series(WHEN)).astype("timestamp[ns][pyarrow]"),
        pd.to_datetime(pd.Series(WHEN)).astype("date32[pyarrow]"),
        pd.Series([None if when is None else datetime.date.fromisoformat(when) for when in WHEN], dtype=object),
    ],
    ids=["numpy", "zoned", "arrow", "arrow days", "objects"],
)
def test_dates_become_what_they_say(dates):
    table = pd.DataFrame({"when": dates, "x": [1.0, 2.0, 3.0]})
    encoder = TableEncoder().fit(table)
    assert encoder.categorical_columns == ["when_month", "when_day", "when_weekday"]
    assert encoder.numeric_columns == ["when_dayofyear", "when_elapsed", "x"]
    assert encoder.sources == [0, 0, 0, 0, 0, 1]
    numeric, codes = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))).transform(table)
    leap, last = pd.Timestamp("2024-02-29"), pd.Timestamp("2023-12-31")
    np.testing.assert_array_equal(numeric[[0, 2], 0], [leap.dayofyear, last.dayofyear])
    np.testing.assert_allclose(np.diff(numeric[[2, 0], 1]), 60, atol=0.1)
    assert np.isnan(numeric[1, :2]).all()
    assert (codes[1] == -1).all()
    values = [encoder.categories[name][code] for name, code in zip(encoder.categories, codes[0], strict=True)]
    assert values == [2, 29, leap.dayofweek]


def test_days_and_times_may_stand_in_one_column():
    table = pd.DataFrame({"when": [pd.Timestamp("2024-03-01 07:00"), datetime.date(2024, 1, 2)]}, dtype=object)
    about = describe_columns(table, TableEncoder().fit(table))["when"]
    assert about == {"missing": 0, "kind": "dates", "low": "2024-01-02 00:00:00", "high": "2024-03-01 07:00:00"}


def test_hours_are_told_where_times_of_day_differ():
    table = pd.DataFrame({"when": pd.to_datetime(["2024-01-01 07:00", "2024-01-02 19:30"])})
    encoder = TableEncoder().fit(table)
    assert encoder.categories["when_hour"] == [7, 19]
    with pytest.raises(ValueError, match=r"'when' held dates in fit and now holds float64$"):
        encoder.transform(pd.DataFrame({"when": [3.0, 4.0]}))
    numeric, codes = encoder.transform(pd.DataFrame({"when": [None, pd.NaT]}))
    assert np.isnan(numeric).all()
    assert (codes == -1).all()


def test_a_column_without_dates_in_training_is_of_dates_if_other_rows_say_so():
    nothing = pd.DataFrame({"when": [pd.NaT, pd.NaT], "x": [1, 2]})
    assert "when_month" in TableEncoder().fit(nothing).columns
    empty = pd.DataFrame({"text": [None, None], "x": [1, 2]})
    others = pd.DataFrame({"text": ["a", None], "x": [3, 4]})
    encoder = TableEncoder().fit(empty, others)
    assert encoder.categories == {"text": []}
    assert encoder.transform(others)[1].tolist() == [[-1], [-1]]


def test_columns_that_dates_become_may_not_hide_another():
    table = pd.DataFrame({"when": pd.to_datetime(["2024-01-01"]), "when_month": [1]})
    with pytest.raises(ValueError, match="column 'when_month' appears more than once"):
        TableEncoder().fit(table)


MOST = ["1", "2.5", "3", None, "4e2", " 5 "]


@pytest.mark.parametrize("odd", ["?", "n/a (1)", "1e400", "1" + "0" * 400, "inf", "1_0", "-"])
@pytest.mark.parametrize("as_numbers", [False, True])
def test_one_odd_cell_among_numbers_is_named_and_not_taken_for_a_category(odd, as_numbers):
    values = [None if one is None else float(one) if as_numbers else one for one in MOST]
    table = pd.DataFrame({"x": range(7), "size": pd.Series([*values[:2], odd, *values[2:]], dtype=object)})
    table.index = [f"row {i}" for i in range(7)]
    with pytest.raises(
        ValueError, match=r"^column 'size' holds '.*' in row 'row 2', and numbers in most others"
    ) as caught:
        TableEncoder().fit(table)
    assert (caught.value.column, caught.value.row, caught.value.value) == ("size", "row 2", odd)
    assert len(str(caught.value)) < 300
    # also among rows that are held out, and whatever the row
    with pytest.raises(OddCellError, match="'row 2'"):
        TableEncoder().fit(table.drop("row 2"), table.loc[["row 2"]])
    assert "size" in TableEncoder().fit(table.astype({"size": "category"})).categories
    assert "size" not in TableEncoder().fit(table.drop("row 2")).categories or not as_numbers


@pytest.mark.parametrize(
    "values",
    [
        ["1", "2", "3"],
        ["1", "x", None],
        ["1", "2", "x", "y"],
        ["12a", "12b", "13"],
        [True, False, True, "unknown"],
        ["True", "False", "True", "?"],
        ["2024-05-31", "soon"],
        [1, "x", "y"],
    ],
)
def test_text_stays_text_where_numbers_are_not_most(values):
    table = pd.DataFrame({"kind": pd.Series(values, dtype=object)})
    assert "kind" in TableEncoder().fit(table).categories
    assert TableEncoder().fit(table.astype("string") if isinstance(values[0], str) else table).categories


def test_a_column_of_objects_is_of_the_kind_that_all_rows_say():
    numbers, text = (pd.DataFrame({"a": pd.Series(values, dtype=object)}) for values in ([1, 2.5], ["x", "y", "z"]))
    for first, second in ((numbers, text), (text, numbers)):
        encoder = TableEncoder().fit(first, second)
        assert encoder.categories["a"] == sorted(first["a"])
        assert encoder.transform(second)[1].ravel().tolist() == [-1] * len(second)


FLAGS = pd.Series([True, False, True], dtype=object)


@pytest.mark.parametrize(
    ("fitted", "given", "words"),
    [
        (pd.Categorical([0, 1, 0]), ["0", "1", "0"], r"held numbers in fit and now holds text \((str|object)\)$"),
        (pd.Categorical([0.5, 1, 1]), pd.Categorical(["1", None, "2"]), r"held numbers in fit .* text \(category\)$"),
        (FLAGS.astype("category"), FLAGS.astype(str), "held numbers in fit and now holds text"),
        (["0", "1", "0"], pd.Categorical([0, 1, 0]), r"held text in fit and now holds numbers \(category\)$"),
        (["0", "1", "0"], pd.Series([0, None, 1], dtype=object), r"held text in fit and now holds numbers \(object\)$"),
        (FLAGS.astype(str), FLAGS, "held text in fit and now holds numbers"),
    ],
)
def test_categories_of_another_kind_are_not_all_unseen(fitted, given, words):
    before, now = pd.DataFrame({"z": fitted}), pd.DataFrame({"z": given})
    encoders = [TableEncoder().fit(before)]
    encoders.append(TableEncoder.from_dict(json.loads(json.dumps(encoders[0].to_dict()))))
    if before["z"].dtype != now["z"].dtype:
        # validation rows of another table
        encoders.append(TableEncoder().fit(before, now))
    for encoder in encoders:
        with pytest.raises(ValueError, match=f"^column 'z' {words}"):
            encoder.transform(now)


def test_unseen_values_missing_ones_and_mixed_columns_are_taken():
    def codes(encoder, values):
        state = json.loads(json.dumps(encoder.to_dict()))
        return TableEncoder.from_dict(state).transform(pd.DataFrame({"z": values}))[1].ravel().tolist()

    numbers = TableEncoder().fit(pd.DataFrame({"z": pd.Categorical([0, 1, 0])}))
    assert codes(numbers, [7, 1]) == [-1, 1]
    assert codes(numbers, ["other", 1]) == [-1, 1]
    assert codes(numbers, pd.Series([None, None], dtype="str")) == [-1, -1]
    assert codes(numbers, pd.Categorical([None, None], categories=["a", "b"])) == [-1, -1]
    mixed = pd.DataFrame({"z": pd.Categorical([0, 1, "other"])})
    # whichever of its rows were held out
    for encoder in (TableEncoder().fit(mixed), TableEncoder().fit(mixed[:2], mixed[2:])):
        assert codes(encoder, [1, 1]) == [1, 1]
        assert codes(encoder, ["another"]) == [-1]


def test_with_kinds_any_rows_tell_what_a_column_is(table):
    table["when"] = pd.Series([datetime.date(2024, 5, 31), None, None], dtype=object)
    table["arrow"] = pd.to_datetime(pd.Series(WHEN)).astype("timestamp[us][pyarrow]")
    table["late"] = [None, None, "only here"]
    typed = with_kinds(table)
    whole = TableEncoder().fit(table)
    pd.testing.assert_index_equal(typed.columns, table.columns)
    for rows in ([0], [1], [2], [1, 2]):
        encoder = TableEncoder().fit(typed.iloc[rows])
        assert encoder.columns == whole.columns
        assert encoder.categorical_columns == whole.categorical_columns
    for first, second in zip(whole.transform(table), whole.transform(typed), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pd.Series([datetime.date(1, 1, 1), datetime.date(2024, 1, 1)], dtype=object), "no year from 1678 to 2261"),
        (pd.Series(np.array(["9999-01-01", "2024-01-01"], dtype="datetime64[s]")), "no year from 1678 to 2261"),
        (pd.Series([datetime.datetime(9999, 1, 1)] * 2, dtype="timestamp[us][pyarrow]"), "no year from 1678 to 2261"),
        (pd.Series([pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2024", tz="Asia/Tokyo")], dtype=object), "together"),
        (pd.Series([pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2024")], dtype=object), "do not go together"),
        (pd.Series([10**400, 1], dtype=object), r"infinite or beyond float32, the first in row 0: 1000"),
        (pd.Series([[1], [2]]), "holds a list"),
        (pd.Series([1, [2]]), "holds a list"),
        (pd.Series([1, {"x": 3}]), "holds a dict"),
        (pd.Series([[1], [2]], dtype=pd.ArrowDtype(pyarrow.list_(pyarrow.int64()))), "holds unknown-array values"),
        (pd.Series([datetime.time(1)] * 2, dtype=pd.ArrowDtype(pyarrow.time64("us"))), "holds time values"),
        (pd.Series([b"x", b"y"], dtype=pd.ArrowDtype(pyarrow.binary())), "holds bytes"),
    ],
)
def test_columns_that_no_model_can_read_are_named_in_a_line(column, words):
    table = pd.DataFrame({"x": [1.0, 2.0], "odd": column})
    with pytest.raises((TypeError, ValueError), match=f"column 'odd'.*{words}") as caught:
        TableEncoder().fit(table).transform(table)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_names_of_columns_are_refused_in_a_line_of_ours():
    for columns, error, message in [
        (["a", "a"], ValueError, "^column 'a' appears more than once$"),
        (["a" * 10_000] * 2, ValueError, "^column 'aaa.*aaa' appears more than once$"),
        (["a", 1], TypeError, "^names of columns must be all text or all numbers, and 1 stands beside 'a'$"),
    ]:
        table = pd.DataFrame([[1.0, 2.0]] * 3, columns=columns)
        with pytest.raises(error, match=message) as caught:
            check_table(BaseEstimator(), table, reset=True)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [True, np.True_])
def test_a_truth_value_among_numbers_is_odd(value):
    with pytest.raises(OddCellError, match="column 'h' holds True in row 0"):
        TableEncoder().fit(pd.DataFrame({"h": pd.Series([value, *range(9)], dtype=object)}))


@pytest.mark.parametrize("value", [{"a": 1}, [1], pd.Timestamp("2024")])
def test_what_is_no_category_is_no_odd_cell_either(value):
    table = pd.DataFrame({"h": pd.Series([value, *range(9)], dtype=object)})
    with pytest.raises(TypeError, match=r"^column 'h' holds a \w+: every argument must be a string or a number$"):
        TableEncoder().fit(table)


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**5000], ids=["large", "negative", "huge"])
@pytest.mark.parametrize(
    "make",
    [
        lambda number: pd.DataFrame({"x": [1.0, 2.0], "h": pd.Series([1, number], dtype=object)}),
        lambda number: pd.DataFrame({"x": [1.0, 2.0], "h": pd.Series(["a", number], dtype=object)}),
        lambda number: np.array([[1.0, 1], [2.0, number]], dtype=object),
        lambda number: [[1.0, "a"], [2.0, number]],
    ],
    ids=["numbers", "mixed", "array", "lists"],
)
def test_whole_numbers_that_no_float_holds_are_refused_in_a_line(make, number):
    with pytest.raises(ValueError, match=r"^column ('h'|1) holds a whole number beyond float64 in row 1: ") as caught:
        check_table(BaseEstimator(), make(number), reset=True)
    assert len(str(caught.value)) < 300


def test_whole_numbers_beyond_a_machine_word_are_numbers():
    frame = check_table(BaseEstimator(), [[2**80, "a"], [None, "b"]], reset=True)
    numeric, _ = TableEncoder().fit(frame).transform(frame)
    np.testing.assert_array_equal(numeric, [[2.0**80], [np.nan]])
