"""Who runs which trial: trials are claimed through the storage, and taken back from workers that are gone.

A study is for a certain number of trials. Trials whose worker was killed, interrupted or cut off are *lost*: they stay
on record as failed, do not count, and their parameters are queued again. Every other trial counts, failed ones too.
A trial waits in the storage before it runs, and the storage lets one worker alone take it; of the trials that count,
only the first so many by their numbers are ever taken. So any number of workers, on any number of machines, finish
exactly as many as the study is for.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bridges_tabular.experiments.blocks import ExperimentError

# seconds
BEAT = 15.0
GRACE = 120.0
# a worker that lives names itself as soon as it has taken a trial
_CLAIM_GRACE = 10.0
# a trial that ended its process so often counts as failed: it is the likely reason
MAX_LOSSES = 3
_SAME_ERRORS = 3
_WORKER, _BEAT = "bridges_tabular:worker", "bridges_tabular:beat"


def is_lost(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended without a result because its worker did."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get("lost", False))


def counts(trial: FrozenTrial) -> bool:
    """Tell whether a trial is one of those that the study is for, and finished."""
    return trial.state.is_finished() and not is_lost(trial)


class TrialQueue:
    """The trials of one study, as one worker sees them.

    Parameters
    ----------
    storage : BaseStorage
    name : str
        Of the study, which exists.
    n_trials : int
        How many trials the study is for.
    default : dict
        Parameters of the first trial.
    make_study : callable
        Builds the study with the sampler and the pruner of a trial. It takes the place of the trial among those that
        count: a study that lost trials goes on as if it had not.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        n_trials: int,
        default: dict[str, Any],
        make_study: Callable[[int], optuna.Study],
    ) -> None:
        self.n_trials = n_trials
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(name)
        self._default = default
        self._make_study = make_study
        self._study = make_study(0)
        self._token = uuid.uuid4().hex
        self._since = datetime.now()
        self._seen: dict[int, tuple[Any, float]] = {}

    def trials(self) -> list[FrozenTrial]:
        """Return all trials on record, lost ones included, by their numbers."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def n_finished(self) -> int:
        """Return how many trials that count are finished."""
        return sum(counts(trial) for trial in self.trials())

    def is_running(self) -> bool:
        """Tell whether any worker runs a trial."""
        return any(trial.state == TrialState.RUNNING for trial in self.trials())

    def claim(self) -> optuna.Trial | None:
        """Take the next trial; None if as many as the study is for are finished or taken."""
        while True:
            trials = self.trials()
            kept = [trial for trial in trials if not is_lost(trial)]
            for place, trial in enumerate(kept[: self.n_trials]):
                if trial.state == TrialState.WAITING and self._take(trial):
                    if place == 0 and not any(other.user_attrs.get("default") for other in kept):
                        self._make_default(trial)
                    return optuna.Trial(self._make_study(place), self._id(trial))
            if len(kept) >= self.n_trials:
                return None
            self._study.add_trial(optuna.create_trial(state=TrialState.WAITING))

    def recover(self) -> None:
        """Take trials back from workers that are gone."""
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and self._is_abandoned(trial):
                self.give_up(trial, "its process ended", losses=trial.user_attrs.get("losses", 0) + 1)

    def give_up(self, trial: FrozenTrial, reason: str, losses: int) -> None:
        """Record a running trial as lost and queue its parameters again.

        Parameters
        ----------
        trial : FrozenTrial
        reason : str
        losses : int
            How many processes it has ended; too many, and it has failed for good.
        """
        trial_id = self._id(trial)
        for_good = losses >= MAX_LOSSES
        try:
            self._storage.set_trial_user_attr(trial_id, "error", f"{reason}, {losses} times" if for_good else reason)
            self._storage.set_trial_user_attr(trial_id, "lost", not for_good)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            # another worker was faster, or the trial finished after all
            return
        if not for_good:
            kept = {key: trial.user_attrs[key] for key in ("default",) if key in trial.user_attrs}
            self._study.enqueue_trial(
                trial.params or (self._default if kept else {}),
                user_attrs=kept | {"losses": losses, "retry_of": trial.number},
            )

    def release(self) -> None:
        """Give up what this worker runs, because it has to stop."""
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and trial.system_attrs.get(_WORKER, {}).get("token") == self._token:
                self.give_up(trial, "interrupted", losses=trial.user_attrs.get("losses", 0))

    def check_failures(self) -> None:
        """Stop where the last trials since this worker began have all failed with the same error.

        Raises
        ------
        ExperimentError
            With that error.
        """
        finished = [trial for trial in self.trials() if counts(trial) and trial.datetime_complete is not None]
        last = sorted(finished, key=lambda trial: trial.datetime_complete or self._since)[-_SAME_ERRORS:]
        errors = {trial.user_attrs.get("error") for trial in last}
        if (
            len(last) == _SAME_ERRORS
            and len(errors) == 1
            and all(trial.state == TrialState.FAIL for trial in last)
            and all(trial.datetime_complete and trial.datetime_complete >= self._since for trial in last)
        ):
            raise ExperimentError(f"{_SAME_ERRORS} trials in a row failed with the same error: {errors.pop()}")

    @contextmanager
    def heartbeat(self, trial: optuna.Trial) -> Iterator[None]:
        """Show other workers that a trial is alive, for as long as the block runs."""
        stopped = threading.Event()

        def beat() -> None:
            count = 0
            # without a storage there is nobody to show it to
            with suppress(Exception):
                while not stopped.wait(BEAT):
                    count += 1
                    self._storage.set_trial_system_attr(trial._trial_id, _BEAT, count)
            self._storage.remove_session()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _take(self, trial: FrozenTrial) -> bool:
        trial_id = self._id(trial)
        try:
            if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        worker = {"machine": _machine(), "process": _process(os.getpid()), "token": self._token}
        self._storage.set_trial_system_attr(trial_id, _WORKER, worker)
        return True

    def _make_default(self, trial: FrozenTrial) -> None:
        trial_id = self._id(trial)
        self._storage.set_trial_user_attr(trial_id, "default", True)
        # what Optuna's enqueue_trial sets; that makes a new trial, and each worker that begins could make one
        self._storage.set_trial_system_attr(trial_id, "fixed_params", self._default)

    def _id(self, trial: FrozenTrial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.system_attrs.get(_WORKER)
        if worker is not None and worker["machine"] == _machine():
            pid, started = worker["process"]
            # asked only between this worker's own trials
            if worker["token"] == self._token or _process(pid) != [pid, started]:
                return True
        # clocks of machines differ: what counts is how long we have seen no beat
        beat = trial.system_attrs.get(_BEAT)
        before, since = self._seen.get(trial.number, (None, 0.0))
        if trial.number not in self._seen or before != beat:
            self._seen[trial.number] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > (_CLAIM_GRACE if worker is None else GRACE)


def _machine() -> str:
    """Name the machine, or the container: process numbers mean something within it alone."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}"


def _process(pid: int) -> list[Any] | None:
    """Identify a process by its number and start, since numbers are used again; None if it has ended."""
    try:
        # the fields after the name, which may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else [pid, fields[19]]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return [pid, None]
