"""A study from the experiment file to the files it leaves: search, best configuration, test scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bridges_tabular.experiments.blocks import ExperimentError, ModelBlock, ReportBlock, StudyBlock
from bridges_tabular.experiments.comparison import Comparison, comparing
from bridges_tabular.experiments.config import Experiment, as_experiment
from bridges_tabular.experiments.console import print_look
from bridges_tabular.experiments.engines import check_models
from bridges_tabular.experiments.folders import (
    CONFIG_FILE,
    RESULTS_FILE,
    UNFINISHED,
    check_writable,
    new_file,
)
from bridges_tabular.experiments.frames import FrameSource
from bridges_tabular.experiments.locks import claimed
from bridges_tabular.experiments.look import look
from bridges_tabular.experiments.studies.progress import StudyBars
from bridges_tabular.experiments.studies.queue import why_failed
from bridges_tabular.experiments.studies.quiet import quiet_optuna
from bridges_tabular.experiments.studies.report import render_study
from bridges_tabular.experiments.studies.search import Data, Search
from bridges_tabular.experiments.studies.space import with_values
from bridges_tabular.experiments.studies.storage import (
    JOURNAL_FILE,
    PROXY,
    hide_password,
    loss_in_words,
    open_storage,
    storage_file,
)
from bridges_tabular.experiments.studies.table import trials_frame
from bridges_tabular.experiments.studies.workers import run_workers
from bridges_tabular.experiments.unfinished import Unfinished

BEST_FILE = "best.yaml"
TRIALS_FILE = "trials.csv"
STUDY_FILE = "study.html"
_OUTPUTS = (CONFIG_FILE, BEST_FILE, TRIALS_FILE, STUDY_FILE, RESULTS_FILE, JOURNAL_FILE)


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    trials : DataFrame
        The rows of trials.csv.
    best : Experiment
        The default and the best configuration of every model, on the split of the study.
    comparison : Comparison
        Of those, on the test rows.
    studies : dict
        The studies of Optuna by the names of the models.
    """

    trials: pd.DataFrame
    best: Experiment
    comparison: Comparison
    studies: dict[str, optuna.Study]

    @property
    def results(self) -> pd.DataFrame:
        """Test scores of the default and the best configurations, with the columns of results.csv."""
        return self.comparison.results


class BridgeStudy:
    """Search the parameters of models of an experiment with Optuna.

    Parameters
    ----------
    experiment : Experiment, path of an experiment file, name of a bundled one, mapping with its content, or DataFrame
        With a ``study`` block. A DataFrame gets the models and the study of the bundled ``diamonds_study``, unless
        ``blocks`` say otherwise.
    out : path, optional
        Folder for the results and, unless ``study.storage`` says otherwise, for the trials; a study that it holds
        goes on. By default nothing is written, and trials are kept in memory.
    overwrite : bool
        Start anew: forget the study that ``out`` and the storage hold.
    target : str, optional
        The column of a DataFrame to predict.
    **blocks : mapping
        Values to change in the file: ``study={"trials": 20}``.

    Raises
    ------
    ExperimentError
        For anything that would keep a trial from running.

    Notes
    -----
    Trials see the training and validation rows of the experiment's first split, see
    :func:`~bridges_tabular.experiments.studies.objective.make_parts`. Its test rows are scored once, at the end, with
    the default configuration and the best one. The other splits play no part: their test rows are among those that
    the study has seen.

    Examples
    --------
    >>> from bridges_tabular.experiments import BridgeStudy
    >>> result = BridgeStudy("diamonds_study", out="runs/tuned").optimize()  # doctest: +SKIP
    >>> result.best.models, result.results  # doctest: +SKIP
    """

    def __init__(
        self,
        experiment: Experiment | Mapping[str, Any] | str | Path | pd.DataFrame,
        out: str | Path | None = None,
        overwrite: bool = False,
        *,
        target: str | None = None,
        **blocks: Any,
    ) -> None:
        self.experiment = as_experiment(experiment, target, blocks, "diamonds_study")
        self.out = None if out is None else Path(out)
        if self.experiment.study is None:
            raise ExperimentError("study: is missing; see 'bridges-tabular tune --help' for what it may hold")
        self._block: StudyBlock = self.experiment.study
        if self.out is None and self._block.storage is None and self._block.workers > 1:
            raise ExperimentError("study.workers: several need a storage that they share, or an output folder")
        if self._block.workers > 1 and isinstance(self.experiment.table.source, FrameSource):
            raise ExperimentError(
                "study.workers: other processes cannot read a DataFrame: write it to a .parquet file, or take 1"
            )
        if self.out is not None:
            _check_folder(self.out, self._block.storage)
        check_models(self.experiment)
        self._data = data = Data.load(self.experiment)
        self._searches = [Search.prepare(self.experiment, model, data) for model in self._block.models]
        with self._claimed():
            self._storage = self._open(overwrite)

    def optimize(self, quiet: bool = False) -> StudyResult:
        """Run the trials that are missing, then train and test the default and the best configurations.

        Parameters
        ----------
        quiet : bool
            No progress bars.

        Raises
        ------
        ExperimentError
            If trials keep failing, the storage is lost, or another run writes to the folder; what is finished is kept.
        """
        table, split = self._data.table, self._data.split
        with self._claimed():
            print_look({table.name: look(table, [split])}, quiet)
            return self._optimize(quiet)

    def _claimed(self) -> AbstractContextManager[None]:
        return nullcontext() if self.out is None else claimed(self.out)

    def _optimize(self, quiet: bool) -> StudyResult:
        deadline = None if self._block.timeout is None else time.monotonic() + self._block.timeout
        with StudyBars(self._searches, quiet) as bars:
            bars.say(self._joined)
            bars.say([f"{one.model}: {one.departure}" for one in self._searches if one.departure is not None])
            for search in self._searches:
                self._run(search, bars, deadline)
        with loss_in_words(), quiet_optuna():
            studies = {search.model: search.study(self._storage) for search in self._searches}
            trials = trials_frame({search.model: studies[search.model] for search in self._searches}, self._searches)
            best = self._best_experiment(studies)
            page = render_study(self.experiment, studies, self._searches)
        self._write(TRIALS_FILE, trials.to_csv(index=False))
        self._write(STUDY_FILE, page)
        best = _without_password(best)
        self._write(BEST_FILE, best.to_yaml())
        with comparing(best, self.out, quiet) as comparison:
            self._write(RESULTS_FILE, comparison.results.to_csv(index=False))
        return StudyResult(trials, best, comparison, studies)

    @property
    def dashboard_command(self) -> str:
        """The command that shows the trials in a browser, with the extra "dashboard"."""
        url = self._block.storage
        if url is not None and url.startswith(PROXY):
            # the dashboard knows no proxies, and the proxy alone knows what it stands before
            return "optuna-dashboard STORAGE_OF_THE_PROXY"
        return f"optuna-dashboard {hide_password(url) if url else (self.out or Path()) / JOURNAL_FILE}"

    def _open(self, overwrite: bool) -> BaseStorage:
        url = self._block.storage
        if url is None and self.out is None:
            storage: BaseStorage = optuna.storages.InMemoryStorage()
        else:
            folder = self.out or Path()
            if overwrite and url is None:
                # refused while the study is there
                Unfinished(folder)
                # a damaged one could not be opened
                (folder / JOURNAL_FILE).unlink(missing_ok=True)
            with quiet_optuna():
                storage = open_storage(url, folder)
        with quiet_optuna():
            if overwrite:
                self._forget(storage)
            others = optuna.get_all_study_names(storage)
            for search in self._searches:
                search.create(storage)
        self._joined = (
            [] if url is None else [_joining(search, others, hide_password(url)) for search in self._searches]
        )
        self._write(CONFIG_FILE, _without_password(self.experiment).to_yaml())
        return storage

    def _forget(self, storage: BaseStorage) -> None:
        """Delete the studies that a storage holds, then what they left in the folder."""
        for search in self._searches:
            if search.name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=search.name, storage=storage)
        if self.out is None:
            return
        Unfinished(self.out).discard()
        kept = storage_file(self._block.storage, self.out)
        for path in (self.out / name for name in _OUTPUTS):
            if kept is None or path.resolve() != kept.resolve():
                path.unlink(missing_ok=True)

    def _run(self, search: Search, bars: StudyBars, deadline: float | None) -> None:
        watch = bars.watcher(search)
        queue = search.queue(self._storage)
        if self._block.workers == 1:
            search.run(queue, watch, deadline)
            return

        def look() -> None:
            with loss_in_words():
                watch(queue.trials(), None)

        run_workers(self.experiment, search.model, self.out or Path(), deadline, look)

    def _best_experiment(self, studies: Mapping[str, optuna.Study]) -> Experiment:
        models: dict[str, ModelBlock] = {}
        for search in self._searches:
            block = self.experiment.models[search.model]
            models[search.model] = block
            for suffix, trial in _best_trials(search, studies[search.model].trials).items():
                params = with_values(block.params, search.parameters(trial))
                models[f"{search.model}_{suffix}"] = ModelBlock(block.engine, params)
        return replace(
            self.experiment,
            split=replace(self.experiment.split, seeds=self.experiment.split.seeds[:1]),
            models=models,
            report=ReportBlock(self._searches[0].model),
        )

    def _write(self, name: str, content: str) -> None:
        if self.out is None:
            return
        with new_file(self.out / name) as path:
            path.write_text(content, encoding="utf-8")


def _best_trials(search: Search, trials: list[FrozenTrial]) -> dict[str, FrozenTrial]:
    """Return the best trial as "tuned"; the best by each metric, as "tuned_rmse", where they are not the same."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        errors = [error for trial in trials if (error := why_failed(trial)) is not None]
        raise ExperimentError(f"no trial of {search.model} was finished" + (f": {errors[-1]}" if errors else ""))
    best = {
        metric: min(complete, key=lambda trial: (trial.values[i], trial.number))
        for i, metric in enumerate(search.block.metrics)
    }
    if len({trial.number for trial in best.values()}) == 1:
        return {"tuned": next(iter(best.values()))}
    return {f"tuned_{metric}": trial for metric, trial in best.items()}


def _joining(search: Search, others: list[str], url: str) -> str:
    """Say whether a search joins a study of a storage: under another name it would begin its own."""
    if search.name in others:
        return f"{search.model}: joins the study {search.name} in {url}"
    beside = f", beside {', '.join(sorted(others))}" if others else ""
    return f"{search.model}: begins the study {search.name} in {url}{beside}"


def _without_password(experiment: Experiment) -> Experiment:
    if experiment.study is None or experiment.study.storage is None:
        return experiment
    return replace(experiment, study=replace(experiment.study, storage=hide_password(experiment.study.storage)))


def _check_folder(out: Path, storage: str | None) -> None:
    check_writable(out)
    if out.exists() and not out.is_dir():
        raise ExperimentError(f"{out} is a file, not a folder")
    held = [path.name for path in out.iterdir()] if out.is_dir() else []
    kept = storage_file(storage, out)
    # SQLite keeps a journal beside its file
    own = kept.name if kept is not None and kept.resolve().parent == out.resolve() else JOURNAL_FILE
    foreign = [name for name in held if name not in (*_OUTPUTS, UNFINISHED) and not name.startswith((".", own))]
    if foreign or (held and CONFIG_FILE not in held):
        raise ExperimentError(f"{out} holds files that are not of a study: choose another folder with --out")
    check_writable(out / CONFIG_FILE)
