"""The durable record of a run's studies: one Optuna journal, written by one process.

Whatever a search learns is on disk before the search goes on: the parameters of a trial when it
is asked for, the score of an inner fold when it arrives, the end of a trial when it is told. A
search that is killed at any moment is rebuilt from these lines.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from segexp.errors import RunError
from segexp.search.trial import FINALIST, RETRY

logger = logging.getLogger(__name__)


def repair_journal(path: Path) -> int:
    """Cut an unfinished last line off a journal.

    Returns
    -------
    int
        Bytes that were cut off. Optuna would append to the torn line, and then read neither.
    """
    if not path.exists():
        return 0
    content = path.read_bytes()
    torn = len(content) - (content.rfind(b"\n") + 1)
    if torn:
        with path.open("r+b") as file:
            file.truncate(len(content) - torn)
        logger.warning("%s: cut off %d bytes of a line that was not finished", path.name, torn)
    return torn


class TrialCounts(NamedTuple):
    """How many trials a journal holds, finished or not."""

    all: int  # with those that repeat parameters
    most: int  # of one study, each set of parameters once


def count_trials(path: Path) -> TrialCounts:
    """Count the trials of a journal; none if there is no such file."""
    studies: list[int] = []  # by trial
    repeats: set[int] = set()
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError, TypeError, KeyError):  # a line that was not finished
            entry = json.loads(line)
            if "distributions" in entry:
                again = entry["user_attrs"].get("origin") in (FINALIST, RETRY)
                repeats |= {len(studies)} if again else set()
                studies.append(entry["study_id"])
            elif "duplicate_of" in entry.get("user_attr", {}):
                repeats.add(entry["trial_id"])
    different = Counter(study for trial, study in enumerate(studies) if trial not in repeats)
    return TrialCounts(len(studies), max(different.values(), default=0))


class _NoLock:
    """The run directory has one owner, who writes from one thread."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class _OwnFile(JournalFileBackend):
    """The file of a journal that only this process writes; several lines can go in one write."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=cast(Any, _NoLock()))
        self._held: list[dict[str, Any]] | None = None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._held is None:
            super().append_logs(logs)
        else:
            self._held.extend(logs)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the lines of the block at its end, with one flush to the disk."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                super().append_logs(held)


class Journal:
    """The studies of one run in one file, as optuna-dashboard reads them.

    Parameters
    ----------
    path : Path
        Made if it is not there; its folder must exist.

    Raises
    ------
    RunError
        If it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        repair_journal(path)
        try:
            self._file = _OwnFile(path)
            self._storage = JournalStorage(self._file)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{path} cannot be read as a journal of studies: {error}") from error

    def study(
        self, name: str, directions: Sequence[StudyDirection], facts: Mapping[str, Any]
    ) -> StudyLog:
        """Open a study, or begin it.

        Parameters
        ----------
        facts : mapping
            What the study stands on, such as its space. A study that was begun with other facts
            is not continued.

        Raises
        ------
        RunError
            If the study was begun with other facts; names the first that differs.
        """
        study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            directions=list(directions),
            sampler=optuna.samplers.RandomSampler(seed=0),  # suggestions come from elsewhere
            load_if_exists=True,
        )
        known = study.user_attrs
        for key, value in facts.items():
            if key not in known:
                study.set_user_attr(key, value)
            elif known[key] != value:
                raise RunError(
                    f"{self.path}: study {name} was begun with {key} "
                    f"{_difference(known[key], value)}; undo the change, or start a new run"
                )
        return StudyLog(self._file, self._storage, study)


def _difference(before: Any, now: Any) -> str:
    """Say how two values differ; of mappings, only the entries that do."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        parts = [f"{key}: {before.get(key)!r}, now {now.get(key)!r}" for key in keys]
        return "; ".join(parts)
    return f"{before!r}, now {now!r}"


class StudyLog:
    """The lines of one study."""

    def __init__(self, file: _OwnFile, storage: JournalStorage, study: optuna.Study) -> None:
        self._file = file
        self._storage = storage
        self._study = study

    def trials(self) -> list[FrozenTrial]:
        """Return every trial, by number."""
        return self._study.get_trials(deepcopy=True)

    def begin(self, trial: FrozenTrial) -> int:
        """Record a trial with its parameters in one line; return its id in the journal."""
        return self._storage.create_new_trial(self._study._study_id, template_trial=trial)

    def fold(self, trial_id: int, fold: int, score: Mapping[str, Any], mean: float | None) -> None:
        """Record the score of an inner fold, and the mean so far for who looks on."""
        with self._file.together():
            self._storage.set_trial_user_attr(trial_id, f"fold {fold}", dict(score))
            if mean is not None:
                self._storage.set_trial_intermediate_value(trial_id, fold, mean)

    def note(self, trial_id: int, key: str, value: Any) -> None:
        """Record something about a trial."""
        self._storage.set_trial_user_attr(trial_id, key, value)

    def end(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, Any],
    ) -> None:
        """Record the end of a trial; the state is written last."""
        with self._file.together():
            for key, value in attributes.items():
                self._storage.set_trial_user_attr(trial_id, key, value)
            for key, value in constraints.items():
                self._storage.set_trial_system_attr(trial_id, key, value)
            self._storage.set_trial_state_values(trial_id, state, values)

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """What stopped the study, if it came to its end."""
        found: Mapping[str, Any] | None = self._study.user_attrs.get("stop")
        return found or None

    @stop.setter
    def stop(self, stop: Mapping[str, Any] | None) -> None:
        if stop != self.stop:
            self._study.set_user_attr("stop", dict(stop) if stop else {})
