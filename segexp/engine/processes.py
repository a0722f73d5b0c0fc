"""Worker processes of this machine, by loky."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor, process_executor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from segexp.config.schema import EngineConfig
from segexp.engine.interrupts import STOPS, held_interrupts
from segexp.engine.orders import SharedFile, make_order, obey
from segexp.engine.tasks import Sent, Shared, Task, WorkerDiedError

# How often a worker looks whether its driver is still there.
ORPHAN_S = 2.0

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Marker:
    """A file that is there while a task runs."""

    path: str

    def __enter__(self) -> None:
        Path(self.path).touch()

    def __exit__(self, *error: object) -> None:
        Path(self.path).unlink(missing_ok=True)


def _start_worker(driver: int) -> None:
    # Ctrl-C is sent to every process of a terminal, and SIGTERM by `timeout` to every one of a
    # group; the driver ends its workers itself.
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    # loky takes memory that a worker keeps, such as prepared folds, for a leak and replaces it.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    threading.Thread(target=_end_with, args=[driver], daemon=True).start()


def _end_with(driver: int) -> None:
    """End this process when its parent was killed; loky's workers would wait for ever."""
    while os.getppid() == driver:
        time.sleep(ORPHAN_S)
    os._exit(1)


class Processes:
    """Worker processes of loky; shared values reach them as files that they map."""

    def __init__(self, n_workers: int, threads: int) -> None:
        self.n_workers = n_workers
        self._threads = threads
        self._folder = tempfile.TemporaryDirectory(prefix="segexp-", ignore_cleanup_errors=True)
        # Customers' data do not stay behind where this process is killed.
        resource_tracker.register(self._folder.name, "folder")
        self._files: dict[str, SharedFile] = {}
        self._n_files = 0
        self._executor = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.n_workers,
            initializer=_start_worker,
            initargs=(os.getpid(),),
            env=dict.fromkeys(THREAD_VARIABLES, str(self._threads)),
        )

    def submit(self, number: int, task: Task) -> Sent:
        order, shared = make_order(task, self._threads, Marker(self._marker(number)))
        files = [self._file(one) for one in shared]
        with held_interrupts(STOPS):
            try:
                return self._executor.submit(obey, order, *files)
            except BrokenProcessPool:
                self._executor.shutdown(kill_workers=True)
                self._executor = self._start()
                return self._executor.submit(obey, order, *files)

    def _marker(self, number: int) -> str:
        return str(Path(self._folder.name, f"task-{number}"))

    def _file(self, shared: Shared[Any]) -> SharedFile:
        if shared.key not in self._files:
            self._n_files += 1
            path = str(Path(self._folder.name, f"shared-{self._n_files}"))
            joblib.dump(shared.value, path)
            self._files[shared.key] = SharedFile(path)
        return self._files[shared.key]

    def forget(self, shared: Shared[Any]) -> None:
        if file := self._files.pop(shared.key, None):
            # Windows keeps a file that a worker has mapped; it goes with the folder.
            with suppress(OSError):
                Path(file.path).unlink()

    def has_started(self, number: int) -> bool:
        return Path(self._marker(number)).exists()

    def kill(self, number: int) -> bool:
        self._executor.shutdown(kill_workers=True)
        self._executor = self._start()
        return True

    def is_broken(self, sent: Sent) -> bool:
        return not sent.cancelled() and isinstance(sent.exception(), BrokenProcessPool)

    def cause(self, sent: Sent) -> Exception:
        error = sent.exception()
        if isinstance(error, TerminatedWorkerError):
            return WorkerDiedError("the worker process died: killed or out of memory")
        # The task or its result cannot be pickled; the cause says where.
        return RuntimeError(f"{error}: {error.__cause__}" if error else "lost")

    def close(self, *, busy: bool) -> None:
        try:
            self._executor.shutdown(kill_workers=busy)
        finally:
            self._folder.cleanup()
            resource_tracker.unregister(self._folder.name, "folder")


def count_jobs(config: EngineConfig) -> int:
    """Return how many processes of this machine may work; -1 takes what this one may use."""
    return int(joblib.cpu_count()) if config.n_jobs == -1 else config.n_jobs
