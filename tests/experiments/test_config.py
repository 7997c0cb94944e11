from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridges_tabular.experiments import Experiment, ExperimentError, bundled_experiments


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_bundled_experiment_has_the_four_models() -> None:
    experiment = Experiment.read("diamonds")
    assert experiment.name == "diamonds"
    assert experiment.table.source == "diamonds"
    assert [(m.engine, m.params["scheme"]) for m in experiment.models.values()] == [
        ("tabular", "least_squares"),
        ("tabular", "end_to_end"),
        ("xgboost", "least_squares"),
        ("xgboost", "end_to_end"),
    ]
    assert "diamonds" in bundled_experiments()


def test_defaults_are_written_out(content: dict[str, Any]) -> None:
    del content["split"], content["table"]["drop"]
    resolved = Experiment.read(content).to_dict()
    assert resolved["split"] == {"test": 0.2, "validation": 0.2, "seeds": [0]}
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
        (("table", "drop", ["price"]), "table.drop: holds the target, 'price'"),
        (("table", "rows", "many"), "table.rows: must be a whole number or null, not 'many'"),
        (("table", "rows", True), "table.rows: must be a whole number or null, not True"),
        (("table", "rows", 2.5), "table.rows: must be a whole number or null, not 2.5"),
        (("table", "rows", 0), "table.rows: must be at least 1, or null for all, not 0"),
        (("split", "test", "half"), "split.test: must be a number, not 'half'"),
        (("split", "test", float("nan")), "split.test: must be a number, not nan"),
        (("split", "test", 0), "split.test: must be a share between 0 and 1, not 0"),
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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"nowhere.yaml: there is no such file, nor a bundled"):
        Experiment.read(tmp_path / "nowhere.yaml")
    with pytest.raises(ExperimentError, match="is a folder"):
        Experiment.read(tmp_path)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("table: {target: größe}".encode("latin-1"))
    with pytest.raises(ExperimentError, match=r"latin.yaml: cannot be read"):
        Experiment.read(path)


def test_resolved_yaml_is_plain(content: dict[str, Any]) -> None:
    assert yaml.safe_load(Experiment.read(content).to_yaml())["models"] == content["models"]


def test_several_tables_are_read_and_written(content: dict[str, Any]) -> None:
    first = content.pop("table")
    content["tables"] = [first, first | {"rows": 50}]
    experiment = Experiment.read(content)
    assert [table.rows for table in experiment.tables] == [None, 50]
    assert Experiment.read(experiment.to_dict()) == experiment
    assert "table" not in experiment.to_dict()
    with pytest.raises(ExperimentError, match="tables: lists 2 tables"):
        _ = experiment.table


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


def test_a_baseline_is_one_of_the_models(content: dict[str, Any]) -> None:
    assert Experiment.read(content, report={"baseline": "points"}).report.baseline == "points"
    with pytest.raises(ExperimentError, match=r"report\.baseline: there is no model 'point', did you mean 'points'"):
        Experiment.read(content, report={"baseline": "point"})
