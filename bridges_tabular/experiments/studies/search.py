"""The search for one model: its study in the storage, and the loop that runs trials until there are enough."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bridges_tabular.experiments.blocks import ExperimentError, StudyBlock
from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.digests import digest
from bridges_tabular.experiments.engines import ENGINES, build_model, members_of
from bridges_tabular.experiments.splits import Split, make_splits
from bridges_tabular.experiments.studies.objective import Objective, Part, check_metrics, make_parts
from bridges_tabular.experiments.studies.queue import TrialQueue
from bridges_tabular.experiments.studies.quiet import quiet_optuna
from bridges_tabular.experiments.studies.sampling import check_sampling, count_trials, make_pruner, make_sampler
from bridges_tabular.experiments.studies.space import Space, read_space
from bridges_tabular.experiments.studies.storage import StorageLost, loss_in_words, storage_errors
from bridges_tabular.experiments.tables import Table, load_table
from bridges_tabular.regressors.words import shown

# gets the trials after each change, and the share of the running trial that is done in between
Watcher = Callable[[Sequence[FrozenTrial] | None, float | None], None]
# seconds between looks at the storage while other workers run the last trials
_POLL = 0.5


@dataclass(frozen=True)
class Data:
    """The table of an experiment, read once for all trials and models of a study."""

    table: Table
    split: Split

    @classmethod
    def load(cls, experiment: Experiment) -> Data:
        """Read and split the table; a study sees the first split alone, whose test rows it never touches."""
        experiment.split.check_test("a study")
        table = load_table(experiment.table, experiment.split)
        return cls(table, make_splits(table, experiment.split)[0])

    def digest(self) -> str:
        """Identify the rows that trials see."""
        return digest(self.table, np.concatenate([self.split.train, self.split.validation]))


@dataclass(frozen=True)
class Search:
    """The search for the parameters of one model.

    Attributes
    ----------
    name : str
        Of the study in the storage.
    model : str
        Under ``models`` in the experiment file.
    block : StudyBlock
    space : Space
    n_trials : int
    setup : dict
        What must not change while the study goes on.
    objective : Objective
    """

    name: str
    model: str
    block: StudyBlock
    space: Space
    n_trials: int
    setup: dict[str, Any]
    objective: Objective

    @property
    def departure(self) -> str | None:
        """In what the first trial is not the model as the experiment file has it; None where it is."""
        if not self.space.departures:
            return None
        changes = [
            f"{name}: {shown(value)} instead of {shown(self.space.defaults[name])}"
            for name, value in self.space.departures.items()
        ]
        return f"the first trial takes {', '.join(changes)}, which study.space does not hold"

    @classmethod
    def prepare(cls, experiment: Experiment, model: str, data: Data) -> Search:
        """Check everything that can be checked before a trial runs.

        Raises
        ------
        ExperimentError
        """
        study, block, seed = experiment.study, experiment.models[model], data.split.seed
        assert study is not None
        if ENGINES[block.engine].takes_members:
            members = f" ({', '.join(members_of(block))})" if members_of(block) else ""
            raise ExperimentError(
                f"study.model: {model} is made of other models{members}, which have studies of their own: name those"
            )
        if block.params.get("cluster") is not None:
            raise ExperimentError(
                f"models.{model}.cluster: a study runs trials on this machine alone: leave this key out"
            )
        check_metrics(study, model, build_model(model, block, seed))
        space = read_space(model, block, study, seed)
        check_sampling(study, space)
        parts: list[Part] = make_parts(data.table, data.split, study)
        split: dict[str, Any] = {"test": experiment.split.test, "validation": experiment.split.validation, "seed": seed}
        if experiment.split.by is not None:
            split["by"] = list(experiment.split.by)
        setup = {
            "metric": list(study.metrics),
            "folds": study.folds,
            "model": {"engine": block.engine} | block.params,
            "space": space.describe(),
            "split": split,
            "rows": data.digest(),
        }
        return cls(
            name=f"{experiment.name}.{model}",
            model=model,
            block=study,
            space=space,
            n_trials=count_trials(study, space),
            setup=json.loads(json.dumps(setup, default=str)),
            objective=Objective(model, block, study, space, parts, seed),
        )

    def create(self, storage: BaseStorage) -> None:
        """Make the study in the storage, or check that the one there is the same.

        Raises
        ------
        ExperimentError
            If the storage holds another study of the same name.
        """
        with quiet_optuna():
            study = optuna.create_study(
                study_name=self.name,
                storage=storage,
                directions=["minimize"] * len(self.block.metrics),
                load_if_exists=True,
            )
            before = study.user_attrs.get("setup")
            if before is None:
                study.set_metric_names(list(self.block.metrics))
                study.set_user_attr("setup", self.setup)
                return
        for key, value in self.setup.items():
            if before.get(key) != value:
                raise ExperimentError(
                    f"the storage holds a study {self.name!r} with other {key}: {_difference(before.get(key), value)};"
                    " choose another --out and storage or another file name, or start anew with --overwrite"
                )

    def study(self, storage: BaseStorage) -> optuna.Study:
        """Load the study."""
        study = optuna.load_study(study_name=self.name, storage=storage)
        self._equip(study, 0)
        return study

    def queue(self, storage: BaseStorage) -> TrialQueue:
        """Return the trials as a worker sees them."""
        with loss_in_words(), quiet_optuna():
            return TrialQueue(self.study(storage), storage, self.n_trials, self.space, self._equip)

    def run(self, queue: TrialQueue, watch: Watcher, deadline: float | None = None) -> None:
        """Run trials until the study has as many as it is for.

        Parameters
        ----------
        queue : TrialQueue
        watch : Watcher
        deadline : float, optional
            No trial starts after this value of ``time.monotonic()``.

        Raises
        ------
        ExperimentError
            If the storage is lost, or trials keep failing with the same error.
        """
        with loss_in_words(), quiet_optuna():
            try:
                with self.objective.sharing():
                    self._run(queue, watch, deadline)
            except BaseException:
                with suppress(Exception):
                    queue.release()
                raise

    def _run(self, queue: TrialQueue, watch: Watcher, deadline: float | None) -> None:
        watch(queue.trials(), None)
        while deadline is None or time.monotonic() < deadline:
            queue.recover()
            queue.check_failures()
            trial = queue.claim()
            if trial is not None:
                self._run_trial(queue, trial, watch)
                watch(queue.trials(), None)
            elif queue.is_running():
                # a worker may yet lose the trial that it runs
                time.sleep(_POLL)
                watch(queue.trials(), None)
            else:
                return
        queue.check_failures()

    def _run_trial(self, queue: TrialQueue, trial: optuna.Trial, watch: Watcher) -> None:
        try:
            with queue.heartbeat(trial):
                values, state, error = self._evaluate(trial, watch)
                if error is not None:
                    trial.set_user_attr("error", f"{type(error).__name__}: {' '.join(str(error).split())}")
                trial.study.tell(trial, values, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            # another worker took it back: its result is not wanted any more
            return

    def _evaluate(self, trial: optuna.Trial, watch: Watcher) -> tuple[list[float] | None, TrialState, Exception | None]:
        """Return how a trial ends; raise only what is no error of the trial itself."""

        def step(done: int, total: int, _: Mapping[str, float]) -> None:
            watch(None, done / max(total, 1))

        try:
            parameters = self.parameters(trial)
            self.objective.describe(trial, parameters)
        except storage_errors():
            raise
        except Exception as error:
            # a sampler may find out in the middle that it does not suit the study
            return None, TrialState.FAIL, error
        # the storage's part is no part of the fit
        started = time.perf_counter() - self.objective.report_seconds
        try:
            return self.objective(trial, step, parameters), TrialState.COMPLETE, None
        except optuna.TrialPruned:
            return None, TrialState.PRUNED, None
        except StorageLost:
            raise
        except Exception as error:
            return None, TrialState.FAIL, error
        finally:
            seconds = time.perf_counter() - self.objective.report_seconds
            trial.set_user_attr("fit_seconds", seconds - started)

    def _equip(self, study: optuna.Study, place: int) -> None:
        study.sampler = make_sampler(self.block, self.space, place)
        study.pruner = make_pruner(self.block)

    def parameters(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Return the parameters of a trial by name; of the first trial, those that the space has a first value of."""
        if trial.user_attrs.get("default"):
            known = [parameter for parameter in self.space.parameters if parameter.name in self.space.first]
            return {parameter.name: parameter.suggest(trial) for parameter in known}
        return self.space.suggest(trial)


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                return f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
    return f"it was {before!r} and is {now!r}"
