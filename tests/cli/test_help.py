from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import bridges_tabular
from bridges_tabular.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["comapre"], ["no command 'comapre', did you mean 'compare'?", "train", "predict"]),
        (["Tune", "--quiet"], ["no command 'Tune', did you mean 'tune'?"]),
        (["xyz"], ["no command 'xyz' (choose from compare, "]),
        (["compare", "--quite"], ["unknown option '--quite', did you mean '--quiet'?"]),
        (["train", "diamonds", "--out", "m"], ["--model"]),
        (["train", "diamonds", "--model", "network"], ["--out"]),
        (["train", "--model", "network", "--out", "m"], ["experiment file"]),
        (["train", "diamonds", "--model", "netwrk", "--out", "m"], ["'netwrk'", "did you mean 'network'"]),
        (["predict", "m"], ["TABLE", "--out"]),
        (["predict", "m", "diamonds", "--out", "p.csv"], ["m holds no model", "does not exist"]),
        (["predict", "m", "t.csv", "--out", "p.csv", "--quantiles", "0.5,1"], ["--quantiles", "1.0"]),
        (["predict", "m", "t.csv", "--out", "p.csv", "--quantiles", "half"], ["--quantiles", "'half'"]),
        (["predict", "m", "t.csv", "--out", "p.csv", "--quantiles", ".5,.5"], ["--quantiles", "twice"]),
        (["predict", "m", "t.csv", "u.csv", "--out", "p.csv"], ["unexpected argument 'u.csv'"]),
    ],
)
def test_bad_arguments_are_one_line(
    folder: Path, arguments: list[str], words: list[str], refused: Callable[..., str]
) -> None:
    error = refused(*arguments)
    assert all(word in error for word in words), error
    assert list(folder.iterdir()) == []


def test_names_with_control_characters_reach_no_terminal(folder: Path, refused: Callable[..., str]) -> None:
    (folder / "t.csv").write_text("a\x1b]0;title\x07,b\n1,2\n", encoding="utf-8")
    error = refused("compare", "table.source=t.csv", "table.target=c")
    assert error.rstrip("\n").isprintable()


@pytest.mark.parametrize("module", ["bridges_tabular", "bridges_tabular.cli"])
def test_help_is_quick_and_complete(module: str, command: Callable[..., subprocess.Popen[str]]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = command("--help", module=module)
    out, err = process.communicate(timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (process.returncode, err) == (0, "")
    assert all(name in out for name in ("compare", "train", "predict", "examples:"))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "compare",
            ["CONFIG", "key=value", "--out", "--overwrite", "--quiet", "(default: diamonds)", "openml:ID"],
        ),
        ("train", ["CONFIG", "--model", "--out", "--overwrite", "--quiet", "seeds"]),
        (
            "predict",
            [
                "DIR",
                "TABLE",
                "a bundled table (diamonds)",
                "--keep",
                "--above",
                "--drift",
                "--out",
                "--quantiles",
                "(default: 0.05,0.5,0.95",
                "--overwrite",
            ],
        ),
        ("report", ["DIR", "--quiet", "report.baseline"]),
    ],
)
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], name: str, words: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([name, "--help"])
    assert exit.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(word in out for word in [*words, "examples:"])


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "examples:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"bridges-tabular {bridges_tabular.__version__}\n"
