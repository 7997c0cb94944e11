"""A progress bar over the epochs of a fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bridges_tabular.regressors.progress import Report, Scores


@contextmanager
def epoch_bar(report: Report, metric: str, *, shown: bool) -> Iterator[Report]:
    """Yield the report to give to a fit: the same one, with a bar that hears of each epoch too if it is shown."""
    if not shown:
        yield report
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None)

        def heard(step: int, total: int, scores: Scores) -> None:
            score = f"validation {metric} {scores[metric]:.4g}" if metric in scores else ""
            progress.update(task, total=total, completed=step, description=score)
            report(step, total, scores)

        yield replace(report, listener=heard)
