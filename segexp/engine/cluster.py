"""Workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from segexp import __version__
from segexp.config.schema import EngineConfig
from segexp.engine.interrupts import held_interrupts
from segexp.engine.orders import make_order, obey
from segexp.engine.processes import THREAD_VARIABLES, count_jobs
from segexp.engine.tasks import GRACE_S, EngineLostError, Sent, Shared, Task, WorkerDiedError
from segexp.errors import ConfigError

# How long a scheduler has to answer.
CONNECT_S = 10.0

# How long the number of workers of a cluster is taken for known.
COUNT_S = 5.0

# What moves numbers, and what must be there to read a task.
_SAME = ("segexp", "python", "numpy", "scipy", "pandas", "scikit-learn", "lightgbm", "xgboost")


async def connect(config: EngineConfig) -> Cluster:
    """Start or find a cluster without holding up the loop."""
    starting = asyncio.ensure_future(asyncio.to_thread(Cluster, config))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).close(busy=True)
        raise


def _versions() -> dict[str, str]:
    """Return the versions of this process."""
    found = {"segexp": __version__, "python": ".".join(map(str, sys.version_info[:2]))}
    for name in (*_SAME[2:], "xgboost-cpu"):  # one of the two wheels of XGBoost
        with suppress(PackageNotFoundError):
            found[name.removesuffix("-cpu")] = version(name)
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
class StartEvent:
    """Tells the driver which worker has begun a task."""

    topic: str
    number: int

    def __enter__(self) -> None:
        from distributed import get_worker

        worker = get_worker()
        worker.log_event(self.topic, [self.number, worker.address])

    def __exit__(self, *error: object) -> None:
        pass


class Cluster:
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
                with held_interrupts():
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

    def submit(self, number: int, task: Task) -> Sent:
        # A client that lost its scheduler would keep the task for ever.
        if self._client.status != "running":
            raise EngineLostError(f"the Dask scheduler {self._address or ''} is gone")
        order, shared = make_order(task, self._threads, StartEvent(self._topic, number))
        return self._executor.submit(obey, order, *[self._value(one) for one in shared])

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
