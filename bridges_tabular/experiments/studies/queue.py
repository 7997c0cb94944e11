"""Who runs which trial: trials are claimed through the storage, and taken back from workers that are gone.

A study is for a certain number of trials. Trials whose worker was killed, interrupted or cut off are *lost*: they stay
on record as failed, do not count, and are queued again. Every other trial counts, failed ones too. A trial waits in the
storage before it runs, and the storage lets one worker alone take it; of the trials that count, only the first so many
by their numbers are ever taken. So any number of workers, on any number of machines, finish exactly as many.

Optuna's own means fall short of that. ``Study.ask`` makes a trial where none waits, so that workers that ask for the
last one at once run several. Heartbeats, and the callbacks that try again, are for databases and ``Study.optimize``
alone, notice after minutes what is known at once on the same machine, and never a worker that had yet to give a beat.
"""

from __future__ import annotations

import copy
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.studies.space import Space
from bridges_tabular.regressors.processes import machine

Equip = Callable[[optuna.Study, int], None]
# seconds
BEAT = 15.0
GRACE = 120.0
# a trial that ended its process so often counts as failed: it is the likely reason
MAX_LOSSES = 3
_SAME_ERRORS = 3


def is_lost(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended without a result because its worker did."""
    # one that failed by itself says why; nobody but its worker can write that down
    ended = "error" not in trial.user_attrs and _losses(trial) < MAX_LOSSES
    return trial.state == TrialState.FAIL and (ended or bool(trial.user_attrs.get("lost")))


def why_failed(trial: FrozenTrial) -> str | None:
    """Return why a trial failed or was lost; None if it did neither."""
    if trial.state != TrialState.FAIL or "error" in trial.user_attrs:
        return trial.user_attrs.get("error")
    if trial.user_attrs.get("lost"):
        return "interrupted"
    return "its process ended" if is_lost(trial) else f"its process ended, {_losses(trial)} times"


def counts(trial: FrozenTrial) -> bool:
    """Tell whether a trial is one of those that the study is for, and finished."""
    return trial.state.is_finished() and not is_lost(trial)


class TrialQueue:
    """The trials of one study, as one worker sees them.

    Parameters
    ----------
    study : Study
    storage : BaseStorage
        Which holds it.
    n_trials : int
        How many trials the study is for.
    space : Space
        Whose first values are the parameters of the first trial, which is marked "default".
    equip : Equip
        Gives a study the sampler and the pruner of a trial. It takes the place of the trial among those that count: a
        study that lost trials goes on as if it had not.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, n_trials: int, space: Space, equip: Equip) -> None:
        self._study, self._storage, self._n_trials, self._space = study, storage, n_trials, space
        self._equip = equip
        self._worker: dict[str, Any] = {"machine": machine(), "process": _process(os.getpid()), "beats": 0}
        self._since = datetime.now()
        self._mine: optuna.Trial | None = None
        self._seen: dict[int, tuple[Any, float]] = {}

    def trials(self) -> list[FrozenTrial]:
        """Return all trials on record, lost ones included, by their numbers."""
        return self._study.get_trials(deepcopy=False)

    def is_running(self) -> bool:
        """Tell whether any worker runs a trial."""
        return any(trial.state == TrialState.RUNNING for trial in self.trials())

    def claim(self) -> optuna.Trial | None:
        """Take the next trial; None if as many as the study is for are finished or taken."""
        while True:
            trials = self.trials()
            kept = _kept(trials)
            for place, trial in enumerate(kept[: self._n_trials]):
                if trial.state == TrialState.WAITING and self._take(trial, place):
                    return self._mine
            if len(kept) >= self._n_trials:
                return None
            # named beforehand, so that whoever is killed as soon as he has taken it is known
            named = {"worker": self._worker}
            if any(trial.user_attrs.get("default") for trial in trials):
                self._study.add_trial(optuna.create_trial(state=TrialState.WAITING, user_attrs=named))
            else:
                self._study.enqueue_trial(self._space.first, user_attrs=named | {"default": True})

    def recover(self) -> None:
        """Take trials back from workers that are gone."""
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and self._is_abandoned(trial):
                self._give_up(trial, _losses(trial))

    def release(self) -> None:
        """Give up what this worker runs, because it has to stop."""
        if self._mine is None:
            return
        trial = self.trials()[self._mine.number]
        if trial.state == TrialState.RUNNING:
            self._mine.set_user_attr("lost", True)
            self._give_up(trial, _losses(trial) - 1)

    def check_failures(self) -> None:
        """Stop where the last trials since this worker began have all failed with the same error.

        Raises
        ------
        ExperimentError
            With that error.
        """

        def ended(trial: FrozenTrial) -> datetime:
            return trial.datetime_complete or datetime.min

        finished = [trial for trial in self.trials() if counts(trial) and ended(trial) >= self._since]
        errors = [why_failed(trial) for trial in sorted(finished, key=ended)[-_SAME_ERRORS:]]
        if len(errors) == _SAME_ERRORS and len(set(errors)) == 1 and errors[0] is not None:
            raise ExperimentError(f"{_SAME_ERRORS} trials in a row failed with the same error: {errors[0]}")

    @contextmanager
    def heartbeat(self, trial: optuna.Trial) -> Iterator[None]:
        """Show other workers that a trial is alive, for as long as the block runs."""
        stopped = threading.Event()
        worker = dict(self._worker)

        def beat() -> None:
            # without a storage there is nobody to show it to
            with suppress(Exception):
                while not stopped.wait(BEAT):
                    worker["beats"] += 1
                    trial.set_user_attr("worker", worker)
            self._storage.remove_session()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _take(self, trial: FrozenTrial, place: int) -> bool:
        """Begin a trial that waits; False if another worker was faster."""
        # a study reads the trials anew only where it is asked or told
        study = copy.copy(self._study)
        self._equip(study, place)
        try:
            # the first half of Study.ask, and all that is not of Optuna's public interface
            study_id = self._storage.get_study_id_from_name(study.study_name)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        except AttributeError as error:
            raise ExperimentError(f"studies know Optuna 4.5 to 5, and not {optuna.__version__}: {error}") from None
        self._mine = optuna.Trial(study, trial_id)
        if trial.user_attrs.get("worker") != self._worker:
            self._mine.set_user_attr("worker", self._worker)
        return True

    def _give_up(self, trial: FrozenTrial, losses: int) -> None:
        """Record a running trial as lost, and queue it again unless it has ended too many processes."""
        # queued first: whoever does this may be killed in between
        if losses < MAX_LOSSES and all(other.user_attrs.get("retry_of") != trial.number for other in self.trials()):
            again = {"worker": self._worker, "losses": losses, "retry_of": trial.number}
            if trial.user_attrs.get("default"):
                again["default"] = True
            # killed in the middle of drawing, it draws all of them again, as it would have
            drawn = len(trial.params) == len(self._space.parameters)
            self._study.add_trial(
                optuna.create_trial(
                    state=TrialState.WAITING,
                    params=trial.params if drawn else {},
                    distributions=trial.distributions if drawn else {},
                    user_attrs=again,
                    # what samplers remember of it, such as its cell of a grid
                    system_attrs=dict(trial.system_attrs),
                )
            )
        # unless another worker was faster, or the trial finished after all
        with suppress(UpdateFinishedTrialError):
            self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker and worker["machine"] == machine() and _process(worker["process"][0]) != worker["process"]:
            return True
        # clocks of machines differ: what counts is how long we have seen no beat
        beat, since = self._seen.get(trial.number, (None, None))
        if since is None or beat != worker:
            self._seen[trial.number] = (worker, time.monotonic())
            return False
        return time.monotonic() - since > GRACE


def _kept(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that take the places of a study: neither lost ones, nor what two workers queued at once.

    One that is tried again has the place that it lost: what it draws, if it had not, is then what nobody else draws.
    """
    kept, queued = [], set()
    for trial in trials:
        origin = trial.user_attrs.get("retry_of")
        reason = "default" if origin is None and trial.user_attrs.get("default") else origin
        # a trial that was about to be lost may have finished after all
        needed = reason is None or (reason not in queued and (origin is None or is_lost(trials[origin])))
        queued.add(reason)
        if not is_lost(trial) and (needed or trial.state != TrialState.WAITING):
            kept.append(trial)
    return sorted(kept, key=lambda trial: _first_of(trial, trials))


def _first_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the number of the trial that this one tries again, however often it was lost; its own otherwise."""
    while (origin := trial.user_attrs.get("retry_of")) is not None:
        trial = trials[origin]
    return trial.number


def _losses(trial: FrozenTrial) -> int:
    """Return how many processes a trial has ended if it is lost now."""
    return int(trial.user_attrs.get("losses", 0)) + 1


def _process(pid: int) -> list[Any] | None:
    """Identify a process by its number and start, since numbers are used again; None if it has ended."""
    if sys.platform == "win32":
        # os.kill would end it: beats alone tell there
        return [pid, None]
    # a system without such files, or it has ended
    with suppress(OSError):
        # the fields after the name, which may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else [pid, fields[19]]
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
    return [pid, None]
