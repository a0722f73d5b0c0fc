"""Ctrl-C and SIGTERM while coroutines, tasks of this process and worker processes are at work."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# SIGTERM is answered as Ctrl-C is where somebody, such as the command line, asked for that by
# Python's own handler.
STOPS = (signal.SIGINT, signal.SIGTERM)


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
    former = {number: signal.getsignal(number) for number in STOPS}
    taken = [number for number in STOPS if former[number] is signal.default_int_handler]
    with _answered(taken, _Canceller(task)):
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C stop what runs here, which would not wait for the loop's next turn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in STOPS}
    taken = [number for number in STOPS if isinstance(former[number], _Canceller)]
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


@contextmanager
def held_interrupts(signals: Sequence[signal.Signals] = (signal.SIGINT,)) -> Iterator[None]:
    """Keep signals from processes that start meanwhile; for this one they come afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
