"""What an engine is asked for, and whom it asks."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from segexp.errors import SegexpError

T = TypeVar("T")

Sent = concurrent.futures.Future[Any]

# Seconds that an overdue task has to stop by itself.
GRACE_S = 2.0


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


@dataclass(order=True)
class Task:
    """A call whose turn comes by priority, and the future of what it returns."""

    priority: tuple[int, ...]
    number: int  # in order of submission
    function: Callable[..., Any] = field(compare=False)
    args: tuple[Any, ...] = field(compare=False)
    timeout_s: float | None = field(compare=False)
    outcome: asyncio.Future[Any] = field(compare=False)


class Pool(Protocol):
    """Workers behind an executor."""

    @property
    def n_workers(self) -> int: ...

    def submit(self, number: int, task: Task) -> Sent:
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


def timeout_error(timeout_s: float | None) -> TaskTimeoutError:
    """Return the error of a task that was stopped."""
    return TaskTimeoutError(f"stopped after {timeout_s:g} s")
