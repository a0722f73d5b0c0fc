"""A task on its way to a worker, and what the worker does with it."""

from __future__ import annotations

import ctypes
import itertools
import pickle
import signal
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import joblib
from threadpoolctl import ThreadpoolController

from segexp.engine.tasks import Shared, Task, timeout_error

R = TypeVar("R")

# Shared values that a worker process keeps.
KEPT_VALUES = 8


class _Overdue(BaseException):
    """No ``Exception``, so that functions that catch those let it pass."""


@dataclass(frozen=True)
class _Place:
    """Stands for the shared value of that number."""

    number: int


@dataclass(frozen=True)
class Order:
    """A task on its way to a worker."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    timeout_s: float | None
    threads: int
    started: AbstractContextManager[None] | None  # tells the driver


def make_order(
    task: Task, threads: int, started: AbstractContextManager[None]
) -> tuple[Order, list[Shared[Any]]]:
    """Take the shared values out of a task."""
    shared = [arg for arg in task.args if isinstance(arg, Shared)]
    places = (_Place(i) for i in itertools.count())
    args = tuple(next(places) if isinstance(arg, Shared) else arg for arg in task.args)
    limited = task.timeout_s is not None
    order = Order(task.function, args, task.timeout_s, threads, started if limited else None)
    return order, shared


# Processes of Dask may have several threads, and what a task does is not made for that: it silences
# native code and records warnings, which a process has in common.
_one_task = threading.Lock()


def obey(order: Order, *shared: Any) -> Any:
    """Run a task, one at a time in a process; this is what an executor calls."""
    with _one_task:
        return _obey_now(order, *shared)


def _obey_now(order: Order, *shared: Any) -> Any:
    values = [_load(value) if isinstance(value, SharedFile) else value for value in shared]
    args = [values[arg.number] if isinstance(arg, _Place) else arg for arg in order.args]
    try:
        with ExitStack() as stack:
            stack.enter_context(limited_threads(order.threads))
            if order.started is not None and order.timeout_s is not None:
                stack.enter_context(order.started)
                stack.enter_context(_alarm(order.timeout_s))
            return plain_errors(order.function, args)
    except _Overdue:
        raise timeout_error(order.timeout_s) from None
    except Exception as error:
        if _survives_pickle(error):
            raise
        told = RuntimeError("".join(traceback.format_exception_only(error)).strip())
        raise told.with_traceback(error.__traceback__) from None


def plain_errors(function: Callable[..., R], args: Sequence[Any]) -> R:
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


def limited_threads(threads: int) -> AbstractContextManager[Any]:
    """Keep BLAS and OpenMP to so many threads for a while."""
    # Finding the thread pools takes milliseconds; new ones come with newly imported modules.
    return _controller(len(sys.modules)).limit(limits=threads)


@dataclass(frozen=True)
class SharedFile:
    """A shared value on disk."""

    path: str


_values: OrderedDict[str, Any] = OrderedDict()  # of this worker process, by path


def _load(file: SharedFile) -> Any:
    if file.path not in _values:
        for path in [path for path in _values if not Path(path).exists()]:
            del _values[path]
        # Pages of a mapped file are shared by the processes.
        _values[file.path] = joblib.load(file.path, mmap_mode="r")
        while len(_values) > KEPT_VALUES:
            _values.popitem(last=False)
    _values.move_to_end(file.path)
    return _values[file.path]


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
