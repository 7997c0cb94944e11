"""What people see of a running study: a bar for each model on stderr with the best value so far."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from bridges_tabular.experiments.studies.queue import counts, why_failed
from bridges_tabular.experiments.studies.search import Search, Watcher


class StudyBars:
    """A context that shows how far each study is.

    In a terminal it draws bars. Elsewhere it writes a line as each trial ends.

    Parameters
    ----------
    searches : sequence of Search
    quiet : bool
        Show nothing.
    """

    def __init__(self, searches: Sequence[Search], quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[finished]}/{task.total} trials"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[best]}", markup=False),
            console=self._console,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {
            search.model: self._progress.add_task(search.model, start=False, total=search.n_trials, finished=0, best="")
            for search in searches
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def say(self, lines: Sequence[str]) -> None:
        """Write lines above the bars."""
        for line in lines:
            self._console.print(Text(line))

    def watcher(self, search: Search) -> Watcher:
        """Return the function that takes the trials of a study as they come."""
        task = self._tasks[search.model]
        known: set[int] | None = None
        finished = 0

        def watch(trials: Sequence[FrozenTrial] | None, share: float | None) -> None:
            nonlocal known, finished
            if trials is None:
                self._progress.update(task, completed=finished + min(share or 0.0, 1.0))
                return
            ended = [trial for trial in trials if counts(trial)]
            finished = min(len(ended), search.n_trials)
            best = describe_best(trials, search.block.metrics)
            if known is None:
                self._progress.start_task(task)
                known = {trial.number for trial in ended}
            self._progress.update(task, completed=finished, finished=finished, best=best)
            if self._progress.disable:
                for trial in ended:
                    if trial.number not in known:
                        known.add(trial.number)
                        outcome = describe_trial(trial, search.block.metrics)
                        self._console.print(Text(f"{search.model}: trial {trial.number}: {outcome}; {best}"))
            if finished == search.n_trials:
                self._progress.stop_task(task)

        return watch


def describe_trial(trial: FrozenTrial, metrics: Sequence[str]) -> str:
    """Say in a few words how a trial ended."""
    if trial.state == TrialState.PRUNED:
        return "pruned"
    if trial.state == TrialState.FAIL:
        return f"failed, {why_failed(trial)}"
    return ", ".join(f"{metric} {value:.5g}" for metric, value in zip(metrics, trial.values or (), strict=True))


def describe_best(trials: Sequence[FrozenTrial], metrics: Sequence[str]) -> str:
    """Say which trial is the best so far, by each metric."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return ""
    best = []
    for i, metric in enumerate(metrics):
        trial = min(complete, key=lambda trial: (trial.values or ())[i])
        best.append(f"{metric} {(trial.values or ())[i]:.5g} (trial {trial.number})")
    return "best " + ", ".join(best)
