"""What people see in a terminal: a progress bar for each model on stderr, the table of scores on stdout."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bridges_tabular.experiments.scores import SCORES, Score

if TYPE_CHECKING:
    from bridges_tabular.experiments.look import Finding
    from bridges_tabular.regressors.drift import Drift
    from bridges_tabular.regressors.progress import Listener

# a pipe has no width of its own: wide enough for all scores
_PIPE_WIDTH = 140
# the columns that a narrow terminal has to do without, the first to go first
_EXPENDABLE = sorted((score for score in SCORES if score.expendable), key=lambda score: -score.expendable)
_TOTAL = 1000
# what follows the last step of a fit: it is calibrated, and scored
_STEPS = 0.99
# of columns in a table that nobody scrolls through
_MOST_COLUMNS = 20


class FitBars:
    """A context that shows how far each model is, on stderr.

    In a terminal it draws bars. Elsewhere it writes one line as each fit ends, without control characters.

    Parameters
    ----------
    models : sequence of str
    n_splits : int
        How often each model will be fitted.
    quiet : bool
        Show nothing.
    """

    def __init__(self, models: Sequence[str], n_splits: int, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._n_splits = n_splits
        self._finished = dict.fromkeys(models, 0)
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            # the models take turns: the time that is left to one counts that of the others
            speed_estimate_period=math.inf,
            # not rich's own test: a colour forced on a pipe does not make it a terminal
            disable=quiet or not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task(name, start=False, total=_TOTAL, note="") for name in models
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def start(self, model: str, table: str, seed: int) -> Listener:
        """Begin a fit; the returned function takes its steps."""
        task, before = self._tasks[model], self._finished[model]
        if before == 0:
            self._progress.start_task(task)
        if self._n_splits > 1:
            self._progress.update(task, note=f"{table}, seed {seed}")

        def advance(done: int, total: int, _: Mapping[str, float]) -> None:
            share = (before + _STEPS * min(done / max(total, 1), 1.0)) / self._n_splits
            self._progress.update(task, completed=share * _TOTAL)

        return advance

    def finish(self, model: str, table: str, seed: int, rmse: float, seconds: float) -> None:
        """End a fit, whose RMSE is not a number without test rows: early stopping ends many before their last step."""
        said = "fitted" if math.isnan(rmse) else f"RMSE {rmse:.5g}"
        self.skip(model, said)
        if self._progress.disable:
            where = f" on {table}, seed {seed}" if self._n_splits > 1 else ""
            self._console.print(Text(f"{model}{where}: {said} after {seconds:.1f} s"))

    def skip(self, model: str, note: str) -> None:
        """Count a fit of a model as done: one that has failed, or was there already."""
        self._finished[model] += 1
        share = self._finished[model] / self._n_splits
        self._progress.update(self._tasks[model], completed=share * _TOTAL, note=note)
        if share == 1:
            self._progress.stop_task(self._tasks[model])

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self._console.print(Text(message))


def print_look(found: Mapping[str, Sequence[Finding]], quiet: bool) -> None:
    """Say on stderr what a look at each table has found, in one block; nothing where that is nothing.

    Parameters
    ----------
    found : dict of list of Finding
        By table.
    quiet : bool
        Say nothing.
    """
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=not sys.stderr.isatty())
    for name, findings in found.items():
        if not findings:
            continue
        console.print(Text(f"a look at {name}", style="bold"))
        width = max(len(finding.kind) for finding in findings)
        for finding in findings:
            line = Text.assemble(f"  {finding.kind:{width}}  ", (finding.said, "dim"))
            console.print(line)


def print_scores(
    summary: pd.DataFrame, caption: str = "", incomparable: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Print scores sorted as they come, the best of each column marked; several tables one after the other.

    Parameters
    ----------
    summary : DataFrame
        With the columns table and model and those of the scores; see ``Comparison.summary``.
    caption : str
        A line below the table.
    incomparable : dict of dict, optional
        By table, the scores without a best value, and why; see ``Comparison.incomparable``.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    tables = summary["table"].unique()
    for name in tables:
        if len(tables) > 1:
            console.print(Text(f"\n{name}", style="bold"))
        _print_table(console, summary[summary["table"] == name], (incomparable or {}).get(name, {}))
    if caption:
        console.print(Text(caption, style="dim"), soft_wrap=True)


def print_drift(drift: Drift) -> None:
    """Print the columns that stand out beside the training rows, those of most first."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    found = sorted((one for one in drift.columns if one.stands_out), key=lambda one: (one.is_far, one.outside))[::-1]
    said = f"{len(found)} of {len(drift.columns)} columns differ from the training rows"
    console.print(Text(said + (":" if found else "")), soft_wrap=True)
    if not found:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("column", overflow="fold", max_width=28)
    table.add_column("in training", overflow="fold", max_width=42)
    for heading in ("below", "above", "unseen", "missing", "in training", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found[:_MOST_COLUMNS]:
        known = max(one.rows - one.missing, 1)
        cells = [f"{count / known:.1%}" if count else "" for count in (one.below, one.above, one.unseen)]
        size = f"x {one.ratio:.3g}" if one.kind == "numbers" else ""
        table.add_row(
            Text(one.name),
            Text(f"{one.low} to {one.high}" if one.low else one.kind),
            *cells,
            f"{one.missing_now:.1%}",
            f"{one.missing_before:.1%}",
            Text(size, style="bold red" if one.is_far else ""),
        )
    console.print(table)
    if len(found) > _MOST_COLUMNS:
        console.print(Text(f"and {len(found) - _MOST_COLUMNS} more", style="dim"))


@contextmanager
def rows_bar(quiet: bool) -> Iterator[Callable[[float, int], None]]:
    """Show on stderr how many rows are predicted; yield what is told the share of the table and the rows that are."""
    columns = (TextColumn("predicting"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"))
    rows = TextColumn("{task.fields[rows]:,} rows")
    console = Console(stderr=True, quiet=quiet)
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, TimeElapsedColumn(), rows, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task("", total=1.0, rows=0)
        yield lambda share, rows: progress.update(task, completed=share, rows=rows)


@contextmanager
def working(what: str, quiet: bool) -> Iterator[None]:
    """Say on stderr what is being done, for as long as it takes; nothing where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(Text(what)):
        yield


def _print_table(console: Console, summary: pd.DataFrame, incomparable: Mapping[str, str]) -> None:
    shown = list(SCORES)
    table = _scores_table(summary, shown, incomparable)
    unlimited = console.options.update(width=10_000)
    for score in _EXPENDABLE:
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
        shown.remove(score)
        table = _scores_table(summary, shown, incomparable)
    console.print(table)
    for score in shown:
        if score.name in incomparable:
            console.print(Text(f"no {score.heading} is best: {incomparable[score.name]}", style="dim"), soft_wrap=True)


def _scores_table(summary: pd.DataFrame, shown: Sequence[Score], incomparable: Mapping[str, str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold", max_width=28)
    for score in shown:
        table.add_column(score.heading, justify="right", no_wrap=True)
    columns = []
    for score in shown:
        values = summary[score.name].tolist()
        # a letter-width mark as well as colour: a pipe and a colour-blind reader have no colour
        columns.append(
            [
                Text(f"{text}*", style="bold green") if best else Text(f"{text} ")
                for text, best in zip(
                    score.texts(values), score.is_best(values, score.name not in incomparable), strict=True
                )
            ]
        )
    for name, *cells in zip(summary["model"], *columns, strict=True):
        table.add_row(Text(str(name)), *cells)
    return table
