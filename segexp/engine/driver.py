"""The engine itself, which hands tasks to workers.

Many coroutines await :meth:`Engine.run` at once; the engine hands their tasks to an executor of
loky or of Dask in order of priority. What a task returns does not depend on where it runs.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from segexp.config.schema import EngineConfig
from segexp.engine.cluster import connect
from segexp.engine.interrupts import interruptible
from segexp.engine.orders import limited_threads, plain_errors
from segexp.engine.processes import Processes, count_jobs
from segexp.engine.tasks import GRACE_S, Pool, Sent, Shared, Task, timeout_error

R = TypeVar("R")
T = TypeVar("T")

# What starting worker processes and importing the libraries in them costs; shorter work is
# done here, where everything is imported already.
WORKER_START_S = 3.0

# How many tasks a worker has or finds without asking the driver.
TASKS_PER_WORKER = 2

# The share of its time that an overdue task has to stop by itself, if that is more than GRACE_S.
GRACE = 0.1

# How often overdue tasks are looked for.
WATCH_S = 0.25


@dataclass
class _Flight:
    """A task that an executor has."""

    number: int
    task: Task
    sent: Sent
    alone: bool
    seen_at: float | None = None  # when it was first seen to have started


class Engine:
    """Runs tasks for many coroutines; made by :func:`open_engine`.

    Parameters
    ----------
    threads : int
        Threads of BLAS and OpenMP in a task.
    n_workers : int
        Processes of this machine that may be started; 1 works in this process.
    pool : optional
        Workers that run already; without them tasks begin in this process.
    report : callable
        Called with one line about each event that a user may want to know of.
    """

    def __init__(
        self,
        *,
        threads: int,
        n_workers: int,
        pool: Pool | None,
        report: Callable[[str], None],
    ) -> None:
        self._threads = threads
        self._n_workers = n_workers
        self._pool = pool
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._shared: dict[str, Shared[Any]] = {}
        self._takers: Counter[str] = Counter()  # of each shared value
        self._waiting: list[Task] = []
        self._suspects: list[Task] = []  # lost with a worker that one of them may have ended
        self._flights: dict[int, _Flight] = {}
        self._expected = 0
        self._own_tasks = 0
        self._own_seconds = 0.0
        self._needs_processes = False  # a task came that is not to run in this one
        self._step_is_due = False
        self._watch_is_due = False
        self._closed = False

    @property
    def n_workers(self) -> int:
        """How many tasks can run at the same time."""
        return self._n_workers if self._pool is None else self._pool.n_workers

    def share(self, value: T, key: str) -> Shared[T]:
        """Return a handle of ``value`` for :meth:`run`; equal keys share the first value."""
        self._takers[key] += 1
        return self._shared.setdefault(key, Shared(key, value))

    def forget(self, shared: Shared[Any]) -> None:
        """Free a value that no later task takes, once all who share it have said so."""
        self._takers[shared.key] -= 1
        if self._takers[shared.key] > 0:
            return
        del self._takers[shared.key]
        self._shared.pop(shared.key, None)
        if self._pool is not None:
            self._pool.forget(shared)

    def expect(self, n_tasks: int) -> None:
        """Add to the number of tasks that may come; negative if some will not come after all.

        It decides whether worker processes are worth their start, and nothing else.
        """
        self._expected += n_tasks

    async def run(
        self,
        function: Callable[..., R],
        *args: Any,
        priority: tuple[int, ...] = (),
        timeout_s: float | None = None,
        apart: bool = False,
    ) -> R:
        """Return ``function(*args)``, computed when its turn comes.

        Parameters
        ----------
        function : callable
            Importable where the workers run. Warnings and logging are its own business.
        args : any
            A :class:`Shared` arrives as its value; arrays in it may be read-only.
        priority : tuple of int
            Lower ones go first; equal ones go in order of submission.
        timeout_s : float, optional
            Counted from the moment the task starts. Such a task runs in a worker process, which
            is killed if the task does not stop by itself.
        apart : bool
            Run it in a worker process in any case, because it may end the process it runs in.

        Raises
        ------
        TaskTimeoutError
            If the task took longer than ``timeout_s``.
        WorkerDiedError
            If the worker process died under this task, also when the task ran alone.
        """
        if self._closed:
            raise RuntimeError("the engine is closed")
        outcome: asyncio.Future[R] = self._loop.create_future()
        task = Task(priority, next(self._numbers), function, args, timeout_s, outcome)
        self._needs_processes |= apart or timeout_s is not None
        heapq.heappush(self._waiting, task)
        self._step_soon()
        try:
            return await outcome
        except asyncio.CancelledError:
            if outcome.done() and not outcome.cancelled():
                outcome.exception()  # asyncio complains of errors that nobody took
            raise

    def _step_soon(self) -> None:
        if not self._step_is_due:
            self._step_is_due = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        """Hand tasks to the executor, or run one of them here."""
        self._step_is_due = False
        _drop_done(self._waiting)
        _drop_done(self._suspects)
        if self._closed or not (self._waiting or self._suspects):
            return
        if self._pool is None and self._is_worth_processes():
            self._report(f"started {_count(self._n_workers, 'worker process', 'es')}")
            self._pool = Processes(self._n_workers, self._threads)
        if self._pool is None:
            self._run_here(heapq.heappop(self._waiting))
            self._step_soon()
            return
        if self._suspects:
            if not self._flights:
                self._launch(heapq.heappop(self._suspects), alone=True)
            return
        if any(flight.alone for flight in self._flights.values()):
            return
        most = TASKS_PER_WORKER * self._pool.n_workers
        while self._waiting and len(self._flights) < most:
            self._launch(heapq.heappop(self._waiting), alone=False)
            _drop_done(self._waiting)

    def _is_worth_processes(self) -> bool:
        if self._needs_processes or not self._own_tasks:
            return self._needs_processes
        left = max(self._expected - self._own_tasks, len(self._waiting))
        left_s = left * self._own_seconds / self._own_tasks
        return left_s * (1 - 1 / self._n_workers) > WORKER_START_S

    def _run_here(self, task: Task) -> None:
        args = [arg.value if isinstance(arg, Shared) else arg for arg in task.args]
        start = time.perf_counter()
        try:
            with limited_threads(self._threads), interruptible():
                value = plain_errors(task.function, args)
        except Exception as error:
            task.outcome.set_exception(error)
        else:
            task.outcome.set_result(value)
        self._own_tasks += 1
        self._own_seconds += time.perf_counter() - start

    def _launch(self, task: Task, *, alone: bool) -> None:
        if self._pool is None:
            raise RuntimeError("no workers")
        number = next(self._numbers)
        try:
            sent = self._pool.submit(number, task)
        except Exception as error:
            task.outcome.set_exception(error)
            self._step_soon()
            return
        flight = self._flights[number] = _Flight(number, task, sent, alone)
        sent.add_done_callback(lambda _: self._from_thread(self._land, flight))
        task.outcome.add_done_callback(lambda outcome: self._withdraw(flight))
        if task.timeout_s is not None:
            self._watch_soon()

    def _withdraw(self, flight: _Flight) -> None:
        """Take back what nobody waits for any more, if its executor has not begun it."""
        if flight.task.outcome.cancelled() and not self._closed:
            flight.sent.cancel()

    def _from_thread(self, function: Callable[[_Flight], None], flight: _Flight) -> None:
        # The loop may be closed while a worker is still on its way out.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, flight)

    def _land(self, flight: _Flight) -> None:
        if self._pool is None or self._flights.pop(flight.number, None) is None:
            return
        task, sent = flight.task, flight.sent
        if not task.outcome.done():
            if self._pool.is_broken(sent):
                if flight.alone:
                    task.outcome.set_exception(self._pool.cause(sent))
                else:
                    if not self._suspects:
                        self._report("a worker process died; what it had is run again")
                    heapq.heappush(self._suspects, task)
            elif error := sent.exception():
                task.outcome.set_exception(error)
            else:
                task.outcome.set_result(sent.result())
        self._step_soon()

    def _watch_soon(self) -> None:
        if not self._watch_is_due:
            self._watch_is_due = True
            self._loop.call_later(WATCH_S, self._watch)

    def _watch(self) -> None:
        """Kill the worker of the first task that is overdue and did not stop by itself."""
        self._watch_is_due = False
        if self._closed or self._pool is None:
            return
        now = self._loop.time()
        timed = [f for f in self._flights.values() if f.task.timeout_s is not None]
        for flight in timed:
            if flight.seen_at is None and self._pool.has_started(flight.number):
                flight.seen_at = now
        overdue = [flight for flight in timed if _is_overdue(flight, now)]
        for flight in overdue:
            self._flights.pop(flight.number)
            flight.sent.cancel()  # Dask would run it again elsewhere
            if not flight.task.outcome.done():
                flight.task.outcome.set_exception(timeout_error(flight.task.timeout_s))
        for flight in overdue:
            self._report("a task did not stop in time; its worker process is killed")
            if self._pool.kill(flight.number):
                for other in self._flights.values():
                    heapq.heappush(self._suspects if other.alone else self._waiting, other.task)
                self._flights.clear()
                break
        if overdue:
            self._step_soon()
        if any(f.task.timeout_s is not None for f in self._flights.values()):
            self._watch_soon()

    def _close(self) -> None:
        self._closed = True
        unfinished = [flight.task for flight in self._flights.values()]
        for task in (*self._waiting, *self._suspects, *unfinished):
            task.outcome.cancel()
        if self._pool is not None:
            self._pool.close(busy=any(not f.sent.done() for f in self._flights.values()))


@asynccontextmanager
async def open_engine(
    config: EngineConfig, report: Callable[[str], None] | None = None
) -> AsyncIterator[Engine]:
    """Open an engine; its workers end with the context, whatever ends it.

    Parameters
    ----------
    config : EngineConfig
    report : callable, optional
        Called with one line when workers start, die or are killed.

    Raises
    ------
    ConfigError
        If Dask is wanted and not installed, or no scheduler answers.
    """
    report = report or (lambda line: None)
    pool = await connect(config) if config.name == "dask" else None
    if pool is not None and pool.has_idle_threads:
        report("each Dask worker runs one task at a time: start more of them, with --nthreads 1")
    engine = Engine(
        threads=config.threads,
        n_workers=count_jobs(config),
        pool=pool,
        report=report,
    )
    try:
        yield engine
    finally:
        engine._close()


def _drop_done(heap: list[Task]) -> None:
    """Take tasks whose coroutine was cancelled off the top."""
    while heap and heap[0].outcome.done():
        heapq.heappop(heap)


def _is_overdue(flight: _Flight, now: float) -> bool:
    if flight.seen_at is None or flight.task.timeout_s is None:
        return False
    limit = flight.task.timeout_s
    return now - flight.seen_at > limit + max(GRACE_S, GRACE * limit)


def _count(n: int, thing: str, plural: str = "s") -> str:
    return f"{n} {thing}{plural if n != 1 else ''}"
