"""The bars of a comparison, as a terminal shows them."""

from __future__ import annotations

import io
import re
import sys

import pytest

from bridges_tabular.experiments.console import FitBars


class Terminal(io.StringIO):
    """A standard error that is a terminal, in an hour of its own."""

    now = 0.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(sys, "stderr", self)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("rich.console.monotonic", lambda: self.now)

    def isatty(self) -> bool:
        return True

    def bars(self, n: int) -> list[str]:
        """What the last picture shows, a line for each bar."""
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())
        return [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()][-n:]


@pytest.mark.parametrize("has_result", [False, True])
def test_a_bar_is_full_when_there_is_a_result(monkeypatch: pytest.MonkeyPatch, has_result: bool) -> None:
    terminal = Terminal(monkeypatch)
    with FitBars(["one", "two"], n_splits=1, quiet=False) as bars:
        advance = bars.start("one", "homes", 0)
        for step in range(1, 11):
            advance(step, 10, {})
        if has_result:
            bars.finish("one", "homes", 0, 1.5, 2.0)
    one, two = terminal.bars(2)
    assert ("100%" in one) == ("RMSE 1.5" in one) == has_result
    assert (" 99%" in one) != has_result
    assert " 0%" in two


def test_the_time_left_counts_what_other_models_take(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    with FitBars(["one", "two"], n_splits=2, quiet=False) as bars:
        bars.start("one", "homes", 0)(1, 1000, {})
        terminal.now += 50
        bars.finish("one", "homes", 0, 1.0, 50.0)
        # another model's turn
        terminal.now += 100
        advance = bars.start("one", "homes", 1)
        terminal.now += 50
        advance(5, 10, {})
    one, two = terminal.bars(2)
    # three quarters took 200 s, and one is left
    shown = re.search(r"03:20 (\d\d):(\d\d)", one)
    assert shown is not None, one
    assert int(shown[1]) * 60 + int(shown[2]) == pytest.approx(200 / 3, abs=3)
    assert "--:--" in two
