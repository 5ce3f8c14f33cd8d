"""A study: created once, joined by any number of processes, each trial begun by one of them and lost by none.

A process holds the lock of its trial's folder as long as it works on it. A trial that is still running and whose lock
nobody holds was killed: it is told to have failed and begun again, once. For a machine that does not see the folders
there is a beat in the study instead.
"""

import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from aed.base.addresses import without_credentials
from aed.base.errors import AedError
from aed.run.folders import is_held, lock_folder
from aed.run.search.front import Direction
from aed.run.search.identity import Identity, check_same
from aed.run.search.storage import alone, clear, open_storage

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna import Trial
    from optuna.trial import FrozenTrial

BEAT_S = 60.0
"""Seconds between two beats of a trial."""

SILENT_S = 15 * 60.0
"""Seconds without a beat after which a trial of another machine counts as killed."""

IDENTITY, BEGUN, TESTED = "aed_identity", "aed_begun", "aed_tested"
"""Attributes of a study: its identity; whether its first points are queued; trials whose test clips were looked at."""

AGAIN, KILLED, HOST, FOLDER, BEAT = "again", "killed", "host", "folder", "beat"
"""Attributes of a trial: the killed one that it repeats; that it was killed; where, and when last, it was at work."""

SHIPPED = "shipped"
"""Attribute of a trial: it is the recipe that a family starts from."""

CUT, SAME, BEHIND, WHY = "cut", "same", "behind", "why"
"""Attributes of a trial: why it cannot fit; the one that it is the same as; that it fell behind; why it failed."""


def counted(trials: "Sequence[FrozenTrial]") -> int:
    """Trials that were trained, or are: neither cut, nor the same as another, nor killed, nor waiting."""
    others = {CUT, SAME, KILLED}
    return sum(own.state.name != "WAITING" and others.isdisjoint(own.user_attrs) for own in trials)


def new_sampler(seed: int) -> Any:
    """The optimiser: a tree-structured Parzen estimator that knows that parameters belong to one net."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of group
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


@dataclass
class Study:
    """A study and the folder of its trials on this machine.

    Args:
        own: Optuna's.
        storage: Address.
        folder: Of the search.
        seed: Of the optimiser.
    """

    own: "OptunaStudy"
    storage: str
    folder: Path
    seed: int

    @classmethod
    def open(
        cls,
        storage: str,
        folder: Path,
        name: str,
        directions: Sequence[Direction],
        identity: Identity,
        first: Sequence[Mapping[str, Any]],
        seed: int,
    ) -> "Study":
        """Creates a study, or joins the one that is there.

        Args:
            storage: Address.
            folder: Of the search.
            name: Of the study.
            directions: ``maximize`` or ``minimize``, of each objective.
            identity: Of the search.
            first: Parameters of the first trials.
            seed: Of the optimiser.

        Raises:
            AedError: The storage cannot be used, or holds the study of another search.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        where = f"storage={without_credentials(storage)}: study {name}"
        with alone(storage, folder), clear(storage):
            opened = open_storage(storage)
            known = name in optuna.get_all_study_names(opened)
            if known:
                study = optuna.load_study(study_name=name, storage=opened)
            else:
                study = optuna.create_study(
                    study_name=name,
                    storage=opened,
                    directions=list(directions),
                    load_if_exists=True,
                )
            found = study.user_attrs.get(IDENTITY)
            if found is not None:
                check_same(json.loads(found), identity, where)
            elif known and study.get_trials(deepcopy=False):
                raise AedError(f"{where} was not made by aed search; give another name=")
            if found is None:  # also of a process that was killed before it had said so
                study.set_user_attr(IDENTITY, json.dumps(dict(identity)))
            if not study.user_attrs.get(BEGUN):
                for parameters in first:
                    study.enqueue_trial(dict(parameters), user_attrs={SHIPPED: True}, skip_if_exists=True)
                study.set_user_attr(BEGUN, True)
        return cls(study, storage, folder, seed)

    def trials(self) -> "list[FrozenTrial]":
        """All trials so far, in order."""
        with clear(self.storage):
            return self.own.get_trials(deepcopy=False)

    def folder_of(self, number: int) -> Path:
        """The folder of a trial on this machine."""
        return self.folder / "trials" / f"{number:04d}"

    def begin(self, most: int) -> "tuple[Trial, FileLock] | None":
        """The next trial, begun, with the lock of its folder; None: there are as many as were asked for.

        Args:
            most: Trials that count, those that are running included.
        """
        with alone(self.storage, self.folder), clear(self.storage):
            self._bury()
            trials = self.own.get_trials(deepcopy=False)
            if counted(trials) >= most:
                return None
            self.own.sampler = new_sampler((self.seed + len(trials)) % 2**32)
            trial = self.own.ask()
            lock = lock_folder(self.folder_of(trial.number))
            if lock is None:
                raise AedError(
                    f"{self.folder_of(trial.number)}: another process writes to it; a folder belongs to one study, "
                    "give another folder=..."
                )
            trial.set_user_attr(HOST, socket.gethostname())
            trial.set_user_attr(FOLDER, str(self.folder_of(trial.number).resolve()))
            trial.set_user_attr(BEAT, time.time())
        return trial, lock

    def _bury(self) -> None:
        """Takes the trials of killed processes back."""
        for trial in self.own.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and self._is_dead(trial):
                self._take_back(trial.number, is_last=AGAIN in trial.user_attrs)

    def take_back(self, number: int) -> None:
        """Takes a trial back that the user has stopped; it is begun again by whoever goes on."""
        with alone(self.storage, self.folder), clear(self.storage):
            self._take_back(number, is_last=False)

    def _take_back(self, number: int, is_last: bool) -> None:
        """Tells a trial to have failed, and queues its parameters once more; one that is the last try counts.

        One that has ended meanwhile stays: its process tells its end first, and lets go of its folder then.
        """
        import optuna

        trial = self.own.get_trials(deepcopy=False)[number]
        if trial.state.is_finished():
            return
        self.own._storage.set_trial_user_attr(trial._trial_id, WHY if is_last else KILLED, "its process was killed")
        self.own.tell(number, state=optuna.trial.TrialState.FAIL)
        if not is_last and trial.params:
            kept = {SHIPPED: True} if SHIPPED in trial.user_attrs else {}
            self.own.enqueue_trial(trial.params, user_attrs={AGAIN: number} | kept)

    def _is_dead(self, trial: "FrozenTrial") -> bool:
        place = trial.user_attrs.get(FOLDER)
        if trial.user_attrs.get(HOST) == socket.gethostname() and place:
            return not is_held(Path(place))
        if self.folder_of(trial.number).is_dir():
            return not is_held(self.folder_of(trial.number))
        begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return time.time() - max(begun, float(trial.user_attrs.get(BEAT, 0))) > SILENT_S

    @contextmanager
    def beating(self, trial: "Trial") -> Iterator[None]:
        """Keeps a trial alive for machines that do not see its folder."""
        if self.storage.startswith("sqlite:///"):  # a file that others see, as they see the folder
            yield
            return
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_S):
                with suppress(Exception):  # a storage that is gone is noticed at the end of the trial
                    trial.set_user_attr(BEAT, time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def add_tested(self, number: int, content: Mapping[str, Any]) -> None:
        """Notes what the test clips gave for a trial: they are looked at once."""
        with alone(self.storage, self.folder), clear(self.storage):
            known = dict(self.own.user_attrs.get(TESTED, {}))
            self.own.set_user_attr(TESTED, known | {str(number): content})

    @property
    def tested(self) -> dict[int, dict[str, Any]]:
        """What the test clips gave, for each trial for which they were looked at."""
        with clear(self.storage):
            return {int(number): content for number, content in self.own.user_attrs.get(TESTED, {}).items()}
