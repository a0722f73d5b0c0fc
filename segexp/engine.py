"""Where work runs: in this process, in processes of this machine, or on a Dask cluster.

Many coroutines await :meth:`Engine.run` at once; the engine hands their tasks to an executor of
loky or of Dask in order of priority. What a task returns does not depend on where it runs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import heapq
import itertools
import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import joblib
from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor, process_executor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import ThreadpoolController

from segexp import __version__
from segexp.config.schema import EngineConfig
from segexp.errors import ConfigError, SegexpError

R = TypeVar("R")
T = TypeVar("T")
Sent = concurrent.futures.Future[Any]

# What starting worker processes and importing the libraries in them costs; shorter work is
# done here, where everything is imported already.
WORKER_START_S = 3.0

# How many tasks a worker has or finds without asking the driver.
TASKS_PER_WORKER = 2

# Seconds, or the share of its time, that an overdue task has to stop by itself.
GRACE_S = 2.0
GRACE = 0.1

# How often overdue tasks are looked for.
WATCH_S = 0.25

# How often a worker looks whether its driver is still there.
ORPHAN_S = 2.0

# Shared values that a worker process keeps.
KEPT_VALUES = 8

# How long a scheduler has to answer.
CONNECT_S = 10.0

# How long the number of workers of a cluster is taken for known.
COUNT_S = 5.0

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class TaskTimeoutError(SegexpError):
    """A task took longer than it may."""

    exit_code = 1


class EngineLostError(SegexpError):
    """There is nobody left to run tasks."""

    exit_code = 1


class WorkerDiedError(SegexpError):
    """A task ended the process it ran in, twice."""

    exit_code = 1


@dataclass(frozen=True, eq=False)
class Shared(Generic[T]):
    """A value that is sent to a worker once, however many tasks take it."""

    key: str
    value: T = field(repr=False)

    def __reduce__(self) -> Any:
        raise TypeError(f"shared value {self.key!r} must be an argument of its own")


# --------------------------------------------------------------------------------------
# The driver


@dataclass(order=True)
class _Task:
    priority: tuple[int, ...]
    number: int  # in order of submission
    function: Callable[..., Any] = field(compare=False)
    args: tuple[Any, ...] = field(compare=False)
    timeout_s: float | None = field(compare=False)
    outcome: asyncio.Future[Any] = field(compare=False)


@dataclass
class _Flight:
    """A task that an executor has."""

    number: int
    task: _Task
    sent: Sent
    alone: bool
    seen_at: float | None = None  # when it was first seen to have started


class _Pool(Protocol):
    """Workers behind an executor."""

    @property
    def n_workers(self) -> int: ...

    def submit(self, number: int, task: _Task) -> Sent:
        """Hand a task to the executor; ``number`` is new each time."""

    def has_started(self, number: int) -> bool:
        """Whether a worker has begun a task; only known of tasks with a time limit."""

    def kill(self, number: int) -> bool:
        """End the process of a task; return whether every other task was lost with it."""

    def is_broken(self, sent: Sent) -> bool:
        """Whether a task was lost, be it by its own fault or by another's."""

    def cause(self, sent: Sent) -> Exception:
        """Say why a task was lost that nothing else ran beside."""

    def forget(self, shared: Shared[Any]) -> None: ...

    def close(self, *, busy: bool) -> None:
        """End every worker; ``busy``: without waiting for what they do."""


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
        pool: _Pool | None,
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
        self._waiting: list[_Task] = []
        self._suspects: list[_Task] = []  # lost with a worker that one of them may have ended
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
        task = _Task(priority, next(self._numbers), function, args, timeout_s, outcome)
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
            self._pool = _Processes(self._n_workers, self._threads)
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

    def _run_here(self, task: _Task) -> None:
        args = [arg.value if isinstance(arg, Shared) else arg for arg in task.args]
        start = time.perf_counter()
        try:
            with _limited_threads(self._threads), _interruptible():
                value = _plain_errors(task.function, args)
        except Exception as error:
            task.outcome.set_exception(error)
        else:
            task.outcome.set_result(value)
        self._own_tasks += 1
        self._own_seconds += time.perf_counter() - start

    def _launch(self, task: _Task, *, alone: bool) -> None:
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
                flight.task.outcome.set_exception(_timeout_error(flight.task.timeout_s))
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
    pool = await _connect(config) if config.name == "dask" else None
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


def count_jobs(config: EngineConfig) -> int:
    """Return how many processes of this machine may work; -1 takes what this one may use."""
    return int(joblib.cpu_count()) if config.n_jobs == -1 else config.n_jobs


def _drop_done(heap: list[_Task]) -> None:
    """Take tasks whose coroutine was cancelled off the top."""
    while heap and heap[0].outcome.done():
        heapq.heappop(heap)


def _is_overdue(flight: _Flight, now: float) -> bool:
    if flight.seen_at is None or flight.task.timeout_s is None:
        return False
    limit = flight.task.timeout_s
    return now - flight.seen_at > limit + max(GRACE_S, GRACE * limit)


def _timeout_error(timeout_s: float | None) -> TaskTimeoutError:
    return TaskTimeoutError(f"stopped after {timeout_s:g} s")


def _count(n: int, thing: str, plural: str = "s") -> str:
    return f"{n} {thing}{plural if n != 1 else ''}"


# --------------------------------------------------------------------------------------
# In the worker


class _Overdue(BaseException):
    """No ``Exception``, so that functions that catch those let it pass."""


@dataclass(frozen=True)
class _Place:
    """Stands for the shared value of that number."""

    number: int


@dataclass(frozen=True)
class _Order:
    """A task on its way to a worker."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    timeout_s: float | None
    threads: int
    started: AbstractContextManager[None] | None  # tells the driver


def _order(
    task: _Task, threads: int, started: AbstractContextManager[None]
) -> tuple[_Order, list[Shared[Any]]]:
    """Take the shared values out of a task."""
    shared = [arg for arg in task.args if isinstance(arg, Shared)]
    places = (_Place(i) for i in itertools.count())
    args = tuple(next(places) if isinstance(arg, Shared) else arg for arg in task.args)
    limited = task.timeout_s is not None
    order = _Order(task.function, args, task.timeout_s, threads, started if limited else None)
    return order, shared


# Processes of Dask may have several threads, and what a task does is not made for that: it silences
# native code and records warnings, which a process has in common.
_one_task = threading.Lock()


def _obey(order: _Order, *shared: Any) -> Any:
    """Run a task, one at a time in a process; this is what an executor calls."""
    with _one_task:
        return _obey_now(order, *shared)


def _obey_now(order: _Order, *shared: Any) -> Any:
    values = [_load(value) if isinstance(value, _File) else value for value in shared]
    args = [values[arg.number] if isinstance(arg, _Place) else arg for arg in order.args]
    try:
        with ExitStack() as stack:
            stack.enter_context(_limited_threads(order.threads))
            if order.started is not None and order.timeout_s is not None:
                stack.enter_context(order.started)
                stack.enter_context(_alarm(order.timeout_s))
            return _plain_errors(order.function, args)
    except _Overdue:
        raise _timeout_error(order.timeout_s) from None
    except Exception as error:
        if _survives_pickle(error):
            raise
        told = RuntimeError("".join(traceback.format_exception_only(error)).strip())
        raise told.with_traceback(error.__traceback__) from None


def _plain_errors(function: Callable[..., R], args: Sequence[Any]) -> R:
    """Call a function; what would end a worker or a coroutine is an error like others."""
    try:
        return function(*args)
    except (SystemExit, GeneratorExit, StopIteration) as error:
        raise RuntimeError(f"{getattr(function, '__name__', 'a task')} raised {error!r}") from error


def _survives_pickle(error: Exception) -> bool:
    # An error whose constructor takes more than it keeps would break the pool of processes.
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


@lru_cache(maxsize=1)
def _controller(n_modules: int) -> ThreadpoolController:
    return ThreadpoolController()


def _limited_threads(threads: int) -> AbstractContextManager[Any]:
    # Finding the thread pools takes milliseconds; new ones come with newly imported modules.
    return _controller(len(sys.modules)).limit(limits=threads)


# SIGTERM is answered as Ctrl-C is where somebody, such as the command line, asked for that by
# Python's own handler.
_STOPS = (signal.SIGINT, signal.SIGTERM)


class _Canceller:
    """Answers Ctrl-C by cancelling a task at the loop's next turn."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.is_due = False  # Ctrl-C came, and the loop may not have had a turn since

    def __call__(self, number: int, frame: object) -> None:
        # An exception out of nowhere could lose a turn of the loop, which then waits for ever.
        self.is_due = True
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)


@contextmanager
def cancelled_by_interrupt(task: asyncio.Task[Any]) -> Iterator[None]:
    """Let Ctrl-C cancel a task, in the main thread and where nobody else takes it.

    What an engine runs in this process is stopped at once, by a KeyboardInterrupt out of the loop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in _STOPS}
    taken = [number for number in _STOPS if former[number] is signal.default_int_handler]
    with _answered(taken, _Canceller(task)):
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C stop what runs here, which would not wait for the loop's next turn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in _STOPS}
    taken = [number for number in _STOPS if isinstance(former[number], _Canceller)]
    if signal.SIGINT not in taken and former[signal.SIGINT] not in (signal.SIG_IGN, None):
        taken.append(signal.SIGINT)
    with _answered(taken, signal.default_int_handler):
        for canceller in former.values():
            if isinstance(canceller, _Canceller) and canceller.is_due:
                canceller.is_due = False
                raise KeyboardInterrupt
        yield


@contextmanager
def _answered(numbers: Sequence[signal.Signals], handler: Callable[..., Any]) -> Iterator[None]:
    """Answer signals by one handler for a while."""
    former = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, one in former.items():
            signal.signal(number, one)


def _alarm(timeout_s: float) -> AbstractContextManager[None]:
    """Raise ``_Overdue`` in this thread after ``timeout_s``."""
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _signal_alarm(timeout_s)
    return _thread_alarm(timeout_s)


@contextmanager
def _signal_alarm(timeout_s: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise _Overdue

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@contextmanager
def _thread_alarm(timeout_s: float) -> Iterator[None]:
    # Signals reach the main thread only; this one ends Python code, though no call that waits.
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    over = False

    def ring() -> None:
        with lock:
            if not over:
                raise_in(thread, ctypes.py_object(_Overdue))

    timer = threading.Timer(timeout_s, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
            raise_in(thread, None)  # one that is on its way must not meet the next task
        timer.cancel()


# --------------------------------------------------------------------------------------
# Processes of this machine


@dataclass(frozen=True)
class _File:
    """A shared value on disk."""

    path: str


@dataclass(frozen=True)
class _Marker:
    """A file that is there while a task runs."""

    path: str

    def __enter__(self) -> None:
        Path(self.path).touch()

    def __exit__(self, *error: object) -> None:
        Path(self.path).unlink(missing_ok=True)


_values: OrderedDict[str, Any] = OrderedDict()  # of this worker process, by path


def _load(file: _File) -> Any:
    if file.path not in _values:
        for path in [path for path in _values if not Path(path).exists()]:
            del _values[path]
        # Pages of a mapped file are shared by the processes.
        _values[file.path] = joblib.load(file.path, mmap_mode="r")
        while len(_values) > KEPT_VALUES:
            _values.popitem(last=False)
    _values.move_to_end(file.path)
    return _values[file.path]


def _start_worker(driver: int) -> None:
    # Ctrl-C is sent to every process of a terminal, and SIGTERM by `timeout` to every one of a
    # group; the driver ends its workers itself.
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    # loky takes memory that a worker keeps, such as prepared folds, for a leak and replaces it.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    threading.Thread(target=_end_with, args=[driver], daemon=True).start()


def _end_with(driver: int) -> None:
    """End this process when its parent was killed; loky's workers would wait for ever."""
    while os.getppid() == driver:
        time.sleep(ORPHAN_S)
    os._exit(1)


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that start meanwhile; for this one it comes afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class _Processes:
    """Worker processes of loky; shared values reach them as files that they map."""

    def __init__(self, n_workers: int, threads: int) -> None:
        self.n_workers = n_workers
        self._threads = threads
        self._folder = tempfile.TemporaryDirectory(prefix="segexp-", ignore_cleanup_errors=True)
        # Customers' data do not stay behind where this process is killed.
        resource_tracker.register(self._folder.name, "folder")
        self._files: dict[str, _File] = {}
        self._n_files = 0
        self._executor = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.n_workers,
            initializer=_start_worker,
            initargs=(os.getpid(),),
            env=dict.fromkeys(THREAD_VARIABLES, str(self._threads)),
        )

    def submit(self, number: int, task: _Task) -> Sent:
        order, shared = _order(task, self._threads, _Marker(self._marker(number)))
        files = [self._file(one) for one in shared]
        with _held_interrupts():
            try:
                return self._executor.submit(_obey, order, *files)
            except BrokenProcessPool:
                self._executor.shutdown(kill_workers=True)
                self._executor = self._start()
                return self._executor.submit(_obey, order, *files)

    def _marker(self, number: int) -> str:
        return str(Path(self._folder.name, f"task-{number}"))

    def _file(self, shared: Shared[Any]) -> _File:
        if shared.key not in self._files:
            self._n_files += 1
            path = str(Path(self._folder.name, f"shared-{self._n_files}"))
            joblib.dump(shared.value, path)
            self._files[shared.key] = _File(path)
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


# --------------------------------------------------------------------------------------
# Dask


async def _connect(config: EngineConfig) -> _Cluster:
    """Start or find a cluster without holding up the loop."""
    starting = asyncio.ensure_future(asyncio.to_thread(_Cluster, config))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).close(busy=True)
        raise


# What moves numbers, and what must be there to read a task.
_SAME = ("segexp", "python", "numpy", "scipy", "pandas", "scikit-learn", "lightgbm", "xgboost-cpu")


def _versions() -> dict[str, str]:
    """Return the versions of this process."""
    found = {"segexp": __version__, "python": ".".join(map(str, sys.version_info[:2]))}
    for name in _SAME[2:]:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _check_versions(client: Any, address: str) -> None:
    """Raise ``ConfigError`` where the workers of a cluster would say other numbers."""
    own = _versions()
    for worker, outcome in client.run(_versions, on_error="return").items():
        if isinstance(outcome, Exception):
            raise ConfigError(
                f"engine.address={address}: the worker {worker} cannot run segexp "
                f"({type(outcome).__name__}: {outcome}); install segexp {__version__} there"
            )
        for name in _SAME:
            if outcome.get(name) != own.get(name):
                raise ConfigError(
                    f"engine.address={address}: the worker {worker} has {name} "
                    f"{outcome.get(name, 'none')}, this process {own.get(name, 'none')}; "
                    f"the numbers could differ, so install the same there"
                )


@dataclass(frozen=True)
class _Event:
    """Tells the driver which worker has begun a task."""

    topic: str
    number: int

    def __enter__(self) -> None:
        from distributed import get_worker

        worker = get_worker()
        worker.log_event(self.topic, [self.number, worker.address])

    def __exit__(self, *error: object) -> None:
        pass


class _Cluster:
    """A Dask cluster of this machine, or one that runs already; shared values are scattered."""

    def __init__(self, config: EngineConfig) -> None:
        try:
            dask, distributed = import_module("dask"), import_module("distributed")
        except ImportError:
            raise ConfigError("engine=dask needs the extra: pip install 'segexp[dask]'") from None
        self._threads = config.threads
        self._address = config.address
        self._values: dict[str, Any] = {}  # the future of each scattered value
        self._workers: dict[int, str] = {}  # address by number of the task
        self._topic = f"segexp-{os.getpid()}-{id(self)}"
        self._restarts: list[threading.Thread] = []
        self._cluster: Any = None
        self._stack = ExitStack()
        with ExitStack() as stack:
            stack.enter_context(_quiet("distributed"))
            stack.enter_context(_quiet("distributed.client"))
            # The first loss is reported, so that the engine finds out which task was to blame.
            settings = {"distributed.scheduler.allowed-failures": 0}
            stack.enter_context(dask.config.set(settings))
            if config.address is None:
                with _held_interrupts():
                    self._cluster = distributed.LocalCluster(
                        n_workers=count_jobs(config),
                        threads_per_worker=1,
                        dashboard_address=None,
                        # Also without a dashboard a port is opened, and a taken one is a warning.
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                        silence_logs=logging.CRITICAL,
                        env=dict.fromkeys(THREAD_VARIABLES, str(config.threads)),
                    )
                stack.callback(self._cluster.close)
            where = self._cluster or config.address
            try:
                self._client: Any = distributed.Client(
                    where, timeout=CONNECT_S, set_as_default=False, asynchronous=False
                )
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"engine.address={config.address}: no Dask scheduler answers there "
                    f"({type(error).__name__})"
                ) from error
            stack.callback(self._client.close)
            try:
                self._client.wait_for_workers(1, timeout=CONNECT_S)
            except TimeoutError:
                raise ConfigError(
                    f"engine.address={config.address}: the scheduler has no workers"
                ) from None
            if config.address is not None:
                _check_versions(self._client, config.address)
            self._n_workers = 0
            self._counted_at = 0.0
            self._client.subscribe_topic(self._topic, self._note_start)
            self._executor = self._client.get_executor(pure=False)
            stack.callback(self._cancel_all)
            self._stack = stack.pop_all()

    @property
    def has_idle_threads(self) -> bool:
        """Whether processes have several threads, of which tasks take one."""
        return any(n > 1 for n in self._client.nthreads().values())

    def _cancel_all(self) -> None:
        if self._client.status == "running":
            self._executor.shutdown(wait=False)

    @property
    def n_workers(self) -> int:
        if self._client.status != "running":
            return self._n_workers
        if time.monotonic() - self._counted_at > COUNT_S or not self._n_workers:
            # While its only worker starts again, a cluster has none; tasks may wait there.
            self._n_workers = max(1, len(self._client.nthreads()))
            self._counted_at = time.monotonic()
        return self._n_workers

    def _note_start(self, event: tuple[float, tuple[int, str]]) -> None:
        number, worker = event[1]
        self._workers[number] = worker

    def submit(self, number: int, task: _Task) -> Sent:
        # A client that lost its scheduler would keep the task for ever.
        if self._client.status != "running":
            raise EngineLostError(f"the Dask scheduler {self._address or ''} is gone")
        order, shared = _order(task, self._threads, _Event(self._topic, number))
        return self._executor.submit(_obey, order, *[self._value(one) for one in shared])

    def _value(self, shared: Shared[Any]) -> Any:
        known = self._values.get(shared.key)
        # A value is lost with the last worker that holds it.
        if known is None or known.status in ("cancelled", "lost", "error"):
            known = self._client.scatter(shared.value, broadcast=True, hash=False)
            self._values[shared.key] = known
        return known

    def forget(self, shared: Shared[Any]) -> None:
        self._values.pop(shared.key, None)  # Dask frees what nobody refers to

    def has_started(self, number: int) -> bool:
        return number in self._workers

    def kill(self, number: int) -> bool:
        thread = threading.Thread(target=self._restart, args=[self._workers[number]], daemon=True)
        thread.start()
        self._restarts.append(thread)
        return False

    def _restart(self, worker: str) -> None:
        try:
            self._client.restart_workers([worker], timeout=GRACE_S, raise_for_error=False)
        except Exception:
            # A worker without a nanny cannot be restarted, one that left need not be.
            logging.getLogger(__name__).debug("worker %s was not restarted", worker, exc_info=True)

    def is_broken(self, sent: Sent) -> bool:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        # A task is cancelled by Dask when a value that it needs was lost.
        return sent.cancelled() or isinstance(sent.exception(), KilledWorker | FutureCancelledError)

    def cause(self, sent: Sent) -> Exception:
        return WorkerDiedError("the worker process died: killed or out of memory")

    def close(self, *, busy: bool) -> None:
        if self._cluster is not None:
            # Cancelled tasks may run on, and the cluster would wait seconds for them.
            for nanny in list(self._cluster.workers.values()):
                self._cluster.sync(nanny.close, timeout=0.1)
        self._stack.close()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger of Dask from the terminal: the engine reports what is worth a line."""
    logger = logging.getLogger(name)
    former = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(former)
