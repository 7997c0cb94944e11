from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridges_tabular.experiments import Experiment, ExperimentError, bundled_experiments
from bridges_tabular.experiments.engines import build_model, check_models
from bridges_tabular.experiments.studies.objective import check_metrics
from bridges_tabular.experiments.studies.space import read_space
from bridges_tabular.experiments.tables import load_table


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_bundled_experiment_has_four_models_and_what_is_made_of_them() -> None:
    experiment = Experiment.read("diamonds")
    assert experiment.name == "diamonds"
    assert experiment.table.source == "diamonds"
    assert [(m.engine, m.params.get("scheme")) for m in experiment.models.values()] == [
        ("tabular", "least_squares"),
        ("tabular", "end_to_end"),
        ("xgboost", "least_squares"),
        ("xgboost", "end_to_end"),
        ("pool", None),
        ("auto", None),
    ]
    assert "diamonds" in bundled_experiments()


def test_defaults_are_written_out(content: dict[str, Any]) -> None:
    del content["split"], content["table"]["drop"]
    resolved = Experiment.read(content).to_dict()
    assert resolved["split"] == {
        "test": 0.2,
        "validation": 0.2,
        "seeds": [0],
        "time": None,
        "group": None,
        "file": None,
    }
    assert resolved["table"]["drop"] == []
    assert resolved["table"]["rows"] is None
    assert resolved["models"] == content["models"]


def test_resolved_file_reads_as_the_same_experiment(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"]["bins"]["learning_rate"] = 1e-10
    content["models"]["a: b # c"] = {"engine": "xgboost"}
    experiment = Experiment.read(content)
    path = write(tmp_path / "experiment.yaml", experiment.to_yaml())
    assert Experiment.read(path) == experiment


def test_overrides_change_values_of_any_block(content: dict[str, Any]) -> None:
    experiment = Experiment.read(
        content,
        [
            "table.rows=20",
            "table.drop=[id, size]",
            "split.seeds=[1, 2]",
            "models.bins.learning_rate=1e-3",
            "models.bins.xgb_params.max_leaves=7",
            "models.more={engine: xgboost, scheme: soft}",
        ],
        table={"rows": 30},
    )
    assert experiment.table.rows == 30
    assert experiment.table.drop == ("id", "size")
    assert experiment.split.seeds == (1, 2)
    assert experiment.models["bins"].params["learning_rate"] == pytest.approx(0.001)
    assert experiment.models["bins"].params["xgb_params"] == {"max_leaves": 7}
    assert experiment.models["bins"].params["n_bins"] == 8
    assert experiment.models["more"].params == {"scheme": "soft"}
    assert content["table"].get("rows") is None, "the caller's mapping has changed"


def test_empty_override_is_null(content: dict[str, Any]) -> None:
    assert Experiment.read(content, ["table.rows=5", "table.rows="]).table.rows is None


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.e-3", "+1e-3", "0.001"])
def test_numbers_are_numbers(content: dict[str, Any], number: str) -> None:
    experiment = Experiment.read(content, [f"models.bins.learning_rate={number}"])
    assert experiment.models["bins"].params["learning_rate"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("tabel", {}), "unknown key 'tabel', did you mean 'table'?"),
        (("table", "sourse", "x"), "table: unknown key 'sourse', did you mean 'source'?"),
        (("split", "seed", 0), "split: unknown key 'seed', did you mean 'seeds'?"),
        (("split", "zzz", 0), "split: unknown key 'zzz'; choose from test, validation, seeds"),
        (("split", 3, 0), "split: a key has to be text, not 3"),
        (("table", "diamonds"), "table: must be a block of keys and values, not 'diamonds'"),
        (("table", None), "table: is missing"),
        (("table", {"source": "diamonds"}), "table.target: is missing"),
        (("table", "target", 3), "table.target: must be text, not 3"),
        (("table", "drop", "id"), "table.drop: must be a list, each entry text, not 'id'"),
        (("table", "missing", "?"), "table.missing: must be a list, each entry text or a whole number or a number"),
        (("table", "missing", [None]), "table.missing: must be a list, each entry text"),
        (("table", "categories", "id"), "table.categories: must be a list, each entry text, not 'id'"),
        (("table", "categories", ["price"]), "table.categories: holds the target, 'price', which has to be numeric"),
        (("table", "drop", ["price"]), "table.drop: holds the target, 'price'"),
        (("table", "rows", "many"), "table.rows: must be a whole number or null, not 'many'"),
        (("table", "rows", True), "table.rows: must be a whole number or null, not True"),
        (("table", "rows", 2.5), "table.rows: must be a whole number or null, not 2.5"),
        (("table", "rows", 0), "table.rows: must be at least 1, or null for all, not 0"),
        (("split", "test", "half"), "split.test: must be a number, not 'half'"),
        (("split", "test", float("nan")), "split.test: must be a number, not nan"),
        (("split", "test", -0.1), "split.test: must be a share of at least 0 and below 1, not -0.1"),
        (("split", "validation", 1), "split.validation: must be a share between 0 and 1, not 1"),
        (("split", "test", 0.8), "split.test: 0.8 and validation: 0.25 together leave no rows to train on"),
        (("split", "seeds", 0), "split.seeds: must be a list, each entry a whole number, not 0"),
        (("split", "seeds", []), "split.seeds: must hold at least one seed"),
        (("split", "seeds", [1, 1]), "split.seeds: holds a seed twice: [1, 1]"),
        (("split", "seeds", [-1]), "split.seeds: must lie between 0 and 2147483647, not -1"),
        (("models", {}), "models: must hold at least one named model, not {}"),
        (("models", None), "models: is missing"),
        (("models", {1: {}}), "models: the name of a model has to be text, not 1"),
        (("models", "bins", "hard"), "models.bins: must be a block of keys and values, not 'hard'"),
        (("models", "bins", {"scheme": "hard"}), "models.bins.engine: is missing"),
        (("models", "bins", "engine", 1), "models.bins.engine: must be text, not 1"),
    ],
)
def test_wrong_content_is_named(changed: Callable[..., dict[str, Any]], path: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        Experiment.read(changed(*path))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rows", "'rows' is neither an experiment file nor of the form key=value"),
        ("table..rows=1", "'table..rows=1' is neither an experiment file nor of the form key=value"),
        ("table.rows=[1", "table.rows: '[1' cannot be read as YAML"),
        ("table.row=1", "table: unknown key 'row', did you mean 'rows'?"),
        ("models.bin.n_bins=4", "models: there is no model 'bin', did you mean 'bins'?"),
        ("table=4", "table: must be a block of keys and values, not 4"),
    ],
)
def test_wrong_overrides_are_named(content: dict[str, Any], override: str, message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        Experiment.read(content, [override])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has to hold the blocks table, split and models"),
        ("- 1\n- 2\n", "has to hold the blocks table, split and models"),
        ("table: [1", "cannot be read as YAML: line 1, column 10"),
        ("a: 1\na: 2\n", "cannot be read as YAML: line 2, column 1: the key 'a' is given twice"),
        ("a: !!python/object:os.system {}\n", "cannot be read as YAML: line 1"),
    ],
)
def test_a_file_that_is_no_experiment_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "broken.yaml", text)
    with pytest.raises(ExperimentError) as caught:
        Experiment.read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


GOOD = "table: {source: diamonds, target: price}\nmodels: {a: {engine: xgboost}}\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MERGED = "a0: &a0 {k: v}\n" + "".join(
    f"a{i}: &a{i} {{x{i}: 1, <<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS + GOOD.replace("price}", "price, rows: *a9}"), "line 4, column 5: more than 10000 values"),
        (MERGED + GOOD, "more than 10000 values"),
        ("[" + "a, " * 20_000 + "]", "line 1, column 1: more than 10000 values"),
        ("a: &a [*a]\n" + GOOD, "line 1, column 8: the alias 'a' stands within what it stands for"),
        (GOOD.replace("{engine: xgboost}", "&a {engine: xgboost, xgb_params: *a}"), "the alias 'a' stands within"),
        ("[" * 100_000, "line 1, column 51: more than 50 blocks or lists within each other"),
        ("{a: " * 500 + "1" + "}" * 500, "more than 50 blocks"),
        ("- " * 3000 + "x", "more than 50 blocks"),
        ("".join(" " * i + "a:\n" for i in range(200)), "more than 50 blocks"),
        ("#\n" * 500_000 + GOOD, "it has 1000072 characters, more than any experiment file"),
        ("x" * 10**7, "it has 10000000 bytes, more than any experiment file"),
        ("a: &a 1\nb: &a 2", "line 2, column 4: found duplicate anchor 'a'; first occurrence, second occurrence"),
        ("a: " + "1" * 5000, "is no int"),
        (GOOD.replace("price}", "price, rows: 0x" + "f" * 5000 + "}"), "line 1, column 48: a whole number of more"),
        (GOOD.replace("price}", "price, rows: 1" + "0" * 400 + "}"), "a whole number of more than 64 bits"),
        ("a: 1" + ":1" * 5000, "a whole number of more than 64 bits"),
        (GOOD.replace("diamonds", '"a\\ud800b"'), "line 1, column 17: half a surrogate pair"),
        ("a: *" + "x" * 5000, "line 1, column 4: found undefined alias 'xxx"),
        ("!" * 50_000, "line 1, column 1: could not determine a constructor"),
        ("a\0: 1", "unacceptable character #x0000"),
        ("a: !!map x", "expected a mapping node, but found scalar"),
        *((f"a: !!{tag} {value}", f"line 1, column 4: '{value.strip(chr(39))}' is no {tag}") for tag, value in [
            ("int", "''"), ("int", "_"), ("int", "0x"), ("int", "':'"), ("int", "x"), ("int", "'-'"), ("float", "''"),
            ("float", "x"), ("bool", "x"), ("timestamp", "x"), ("timestamp", "2024-13-45"),
        ]),
        ("a: 2024-13-45", "line 1, column 4: '2024-13-45' is no timestamp"),
    ],
)  # fmt: skip
def test_hostile_yaml_is_a_line_in_a_moment(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "e.yaml", text)
    started = time.monotonic()
    with pytest.raises(ExperimentError) as caught:
        Experiment.read(path)
    assert time.monotonic() - started < 5
    said = str(caught.value)
    assert said.startswith(f"{path}: cannot be read as YAML: ")
    assert message in said
    assert len(said) <= 300
    assert said.isprintable()


@pytest.mark.parametrize(
    "value",
    ["x" * 100_000, "a\x1b[31m\x07\n", "\u202e", {"a": "b"}, [1, [2, [3, [4, ["x" * 999]]]]], [], None, float("inf")],
)
@pytest.mark.parametrize(
    "key",
    ["KEY", "table.KEY", "table.target", "table.rows", "table.drop", "split.test", "split.seeds", "models.KEY",
     "models.a.engine", "models.a.KEY", "models.a.n_bins", "models.a.scheme", "models.a.xgb_params",
     "models.a.xgb_params.KEY", "report.baseline", "study.model", "study.metric", "study.space.KEY",
     "study.space.n_bins", "study.space.n_bins.type", "study.space.n_bins.low"],
)  # fmt: skip
def test_whatever_the_value_an_error_is_a_short_printable_line(key: str, value: Any) -> None:
    content: dict[str, Any] = {
        "table": {"source": "diamonds", "target": "price"},
        "split": {},
        "models": {"a": {"engine": "xgboost", "xgb_params": {}}},
        "report": {},
        "study": {"model": "a", "space": {"n_bins": {"type": "int", "low": 2, "high": 8}}},
    }
    *blocks, last = key.split(".")
    block = content
    for name in blocks:
        block = block[name]
    block[value if last == "KEY" and isinstance(value, str) else last] = value
    if (value is None and key in ("table.rows", "models.a.xgb_params", "report.baseline", "study.space.n_bins")) or (
        value == [] and key == "table.drop"
    ):
        check_everything(Experiment.read(content))
        return
    with pytest.raises(ExperimentError) as caught:
        check_everything(Experiment.read(content))
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()


def check_everything(experiment: Experiment) -> None:
    """Check what can be checked before a model is fitted."""
    check_models(experiment)
    assert experiment.study is not None
    check_metrics(experiment.study, "a", build_model("a", experiment.models["a"], 0))
    read_space("a", experiment.models["a"], experiment.study, 0)
    load_table(experiment.table)


def test_whole_numbers_beyond_a_float_and_other_odd_values_are_refused(content: dict[str, Any]) -> None:
    for block, key, value in [
        ("split", "test", 10**400),
        ("split", "seeds", [10**400]),
        ("split", "seeds", [-(10**6000)]),
        ("split", "test", 10**6000),
    ]:
        with pytest.raises(ExperimentError, match=rf"^split\.{key}: must") as caught:
            Experiment.read(content | {block: content[block] | {key: value}})
        assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("block", ["split", "report", "study"])
@pytest.mark.parametrize("value", [False, 0, [], ""])
def test_a_block_that_is_none_is_not_taken_for_an_empty_one(content: dict[str, Any], block: str, value: Any) -> None:
    with pytest.raises(ExperimentError, match=f"^{block}: must be a block of keys and values"):
        Experiment.read(content | {block: value})
    Experiment.read(content | {block: None})


def test_a_key_that_is_merged_and_set_anew_is_not_given_twice(tmp_path: Path) -> None:
    text = """
table: {source: diamonds, target: price}
models:
  a: &a {engine: xgboost, n_bins: 8}
  b: &b {<<: *a, n_bins: 16}
  c: {<<: *b, n_bins: 32}
"""
    experiment = Experiment.read(write(tmp_path / "e.yaml", text))
    assert [model.params["n_bins"] for model in experiment.models.values()] == [8, 16, 32]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"nowhere.yaml: there is no such file, nor a bundled"):
        Experiment.read(tmp_path / "nowhere.yaml")
    with pytest.raises(ExperimentError, match="is a folder"):
        Experiment.read(tmp_path)
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for source, message in [
        (tmp_path / "loop.yaml", "there is no such file"),
        (f"{tmp_path}/{'x' * 300}.yaml", "File name too long"),
        ("x/" * 3000, "File name too long"),
        ("a\0b", r"a\\x00b: there is no such file"),
        ("", "is a folder"),
    ]:
        with pytest.raises(ExperimentError, match=message) as caught:
            Experiment.read(source)
        assert len(str(caught.value)) <= 300


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("table: {target: größe}".encode("latin-1"))
    with pytest.raises(ExperimentError, match=r"latin.yaml: cannot be read"):
        Experiment.read(path)


def test_resolved_yaml_is_plain(content: dict[str, Any]) -> None:
    assert yaml.safe_load(Experiment.read(content).to_yaml())["models"] == content["models"]


def test_text_that_looks_like_a_number_stays_text(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"]["1e3"] = content["models"]["bins"]
    content["table"]["drop"] = ["2E-3", "+1.5e7"]
    experiment = Experiment.read(content)
    again = Experiment.read(write(tmp_path / "again.yaml", experiment.to_yaml()))
    assert list(again.models) == list(experiment.models)
    assert again.table.drop == ("2E-3", "+1.5e7")


def test_several_tables_are_read_and_written(content: dict[str, Any]) -> None:
    first = content.pop("table")
    content["tables"] = [first, first | {"rows": 50}]
    experiment = Experiment.read(content)
    assert [table.rows for table in experiment.tables] == [None, 50]
    assert Experiment.read(experiment.to_dict()) == experiment
    assert "table" not in experiment.to_dict()
    with pytest.raises(ExperimentError, match="tables: lists 2 tables"):
        _ = experiment.table
    both = {"models": content["models"], "table": first | {"target": [first["target"], "other"]}}
    with pytest.raises(ExperimentError, match=r"table\.target: lists 2 targets"):
        _ = Experiment.read(both).table


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([], "tables: must be a list of blocks"),
        ({"source": "x.csv"}, "tables: must be a list of blocks"),
        ([{"source": "x.csv", "target": "y"}, {"source": "x.csv"}], r"tables\[1\].target: is missing"),
        ([{"source": "x.csv", "target": "y", "row": 3}], r"tables\[0\]: unknown key 'row', did you mean 'rows'"),
        ([3], r"tables\[0\]: must be a block"),
    ],
)
def test_tables_that_cannot_be_are_named(content: dict[str, Any], tables: Any, message: str) -> None:
    del content["table"]
    with pytest.raises(ExperimentError, match=message):
        Experiment.read(content | {"tables": tables})


def test_each_of_several_targets_is_a_table_without_the_others(content: dict[str, Any]) -> None:
    table = content.pop("table") | {"target": "y", "drop": ["id"]}
    one_by_one = [table | {"drop": ["id", "z"]}, table | {"target": "z", "drop": ["id", "y"]}]
    expected = Experiment.read(content | {"tables": one_by_one})
    for given in ({"table": table | {"target": ["y", "z"]}}, {"tables": [table | {"target": ["y", "z"]}]}):
        assert Experiment.read(content | given) == expected
        assert Experiment.read(Experiment.read(content | given).to_dict()) == expected
    assert Experiment.read(content | {"table": table | {"target": ["y"]}}).table.target == "y"
    for targets in ([], ["y", "y"], ["y", 3]):
        with pytest.raises(ExperimentError, match=r"^table.target: must be a column or a list of different ones, not"):
            Experiment.read(content | {"table": table | {"target": targets}})
    with pytest.raises(ExperimentError, match=r"^table.drop: must be a list"):
        Experiment.read(content | {"table": table | {"target": ["y", "z"], "drop": "id"}})


def test_a_baseline_is_one_of_the_models(content: dict[str, Any]) -> None:
    assert Experiment.read(content, report={"baseline": "points"}).report.baseline == "points"
    with pytest.raises(ExperimentError, match=r"report\.baseline: there is no model 'point', did you mean 'points'"):
        Experiment.read(content, report={"baseline": "point"})
