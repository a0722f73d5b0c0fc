"""Where work runs: the same values everywhere, whatever dies, hangs or is cancelled."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from segexp.config.schema import EngineConfig
from segexp.engine.driver import Engine, open_engine
from segexp.engine.interrupts import cancelled_by_interrupt
from segexp.engine.tasks import TaskTimeoutError, WorkerDiedError
from segexp.errors import ConfigError

# Each worker process imports this module: what takes long to import is imported where it is used.


def local(n_jobs: int = 2, threads: int = 1) -> EngineConfig:
    return EngineConfig(name="local", n_jobs=n_jobs, threads=threads, address=None)


def dask(address: str | None = None, n_jobs: int = 2) -> EngineConfig:
    return EngineConfig(name="dask", n_jobs=n_jobs, threads=1, address=address)


def use(config: EngineConfig, act: Callable[[Engine], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with open_engine(config, **options) as engine:
            return await asyncio.wait_for(act(engine), 60)

    return asyncio.run(main())


def in_processes(engine: Engine) -> None:
    engine.expect(10**9)  # processes are worth their start after the first task


# What workers do


def square(x: int) -> int:
    return x * x


def pid(*_: object) -> int:
    return os.getpid()


def note(folder: Path, name: str, seconds: float = 0.0) -> int:
    (folder / f"{name}.{os.getpid()}.{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    return os.getpid()


def interval(seconds: float, _: int) -> tuple[float, float]:
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


_kept: list[np.ndarray] = []


def keep(n_bytes: int) -> int:
    """Return the process that keeps so many bytes more."""
    _kept.append(np.ones(n_bytes, dtype=np.uint8))
    return os.getpid()


def die(*_: object) -> None:
    os._exit(1)


def sleep_in_python(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except Exception:
            continue
    return "slept"


def sleep_in_native_code(folder: Path, seconds: int) -> None:
    note(folder, "native")
    libc = ctypes.CDLL(None)
    end = time.monotonic() + seconds
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    while time.monotonic() < end:
        libc.sleep(seconds)


class BadError(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def fail(how: str) -> None:
    if how == "unpicklable":
        raise BadError("one, ", "two")
    if how == "exit":
        sys.exit("over")
    if how == "stop":
        raise StopIteration
    raise LookupError("no such thing")


class Loaded:
    """Leaves a file each time it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        note(self.folder, "load")


def double(loaded: Loaded, x: int) -> int:
    return 2 * x


def fit(table: Any, y: np.ndarray) -> list[float]:
    from lightgbm import LGBMClassifier
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    model = LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)
    numbers = StandardScaler().fit_transform(table[["number"]])
    words = OneHotEncoder().fit_transform(table[["word"]]).toarray()
    model.fit(table[["number", "category"]], y)
    answers = model.predict_proba(table[["number", "category"]])[:, 0]
    return [float(numbers.sum()), float(words.sum()), *answers[:5].tolist()]


def is_writeable(y: np.ndarray) -> bool:
    return bool(y.flags.writeable)


def threads_of_pools() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    # Without init in a container, a killed grandchild stays as a zombie.
    return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text("utf-8")


def pids_of(folder: Path, name: str) -> list[int]:
    return [int(path.name.split(".")[1]) for path in folder.glob(f"{name}.*")]


async def until(fact: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def squares(engine: Engine, n: int = 12) -> list[int]:
    return await asyncio.gather(*(engine.run(square, i) for i in range(n)))


# In this process


def test_one_job_runs_here() -> None:
    assert use(local(1), lambda engine: engine.run(pid)) == os.getpid()


def test_short_work_runs_here_with_many_jobs_too() -> None:
    async def act(engine: Engine) -> set[int]:
        engine.expect(20)
        return set(await asyncio.gather(*(engine.run(pid) for _ in range(20))))

    assert use(local(2), act) == {os.getpid()}


def test_low_priorities_go_first_and_equal_ones_in_order_of_submission() -> None:
    order: list[str] = []

    async def act(engine: Engine) -> None:
        wanted = {"c": (1, 0), "a": (0, 5), "d": (1, 0), "b": (0, 7)}
        runs = (engine.run(order.append, k, priority=p) for k, p in wanted.items())
        await asyncio.gather(*runs)

    use(local(1), act)
    assert order == ["a", "b", "c", "d"]


def test_the_loop_turns_between_tasks_that_run_here() -> None:
    order: list[str] = []

    async def chain(engine: Engine, name: str, priority: int) -> None:
        for i in range(3):
            await engine.run(order.append, f"{name}{i}", priority=(priority,))

    async def act(engine: Engine) -> None:
        await asyncio.gather(chain(engine, "late", 1), chain(engine, "early", 0))

    use(local(1), act)
    assert order == ["early0", "early1", "early2", "late0", "late1", "late2"]


def test_a_cancelled_task_never_runs() -> None:
    order: list[str] = []

    async def act(engine: Engine) -> None:
        kept, dropped = (asyncio.ensure_future(engine.run(order.append, k)) for k in "kd")
        await asyncio.sleep(0)
        dropped.cancel()
        await kept

    use(local(1), act)
    assert order == ["k"]


def test_a_shared_value_arrives_here_as_it_is() -> None:
    value = ["large"]

    async def act(engine: Engine) -> object:
        return await engine.run(lambda x: x, engine.share(value, "table"))

    assert use(local(1), act) is value


def test_ctrl_c_interrupts_what_runs_here() -> None:
    code = (
        "import asyncio, os, signal, threading, time\n"
        "from segexp.config.schema import EngineConfig\n"
        "from segexp.engine.driver import open_engine\n"
        "async def main():\n"
        "    async with open_engine(EngineConfig('local', 1, 1, None)) as engine:\n"
        "        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "        await engine.run(time.sleep, 30)\n"
        "asyncio.run(main())\n"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert b"KeyboardInterrupt" in done.stderr and time.monotonic() - start < 15


def test_ctrl_c_just_before_a_task_begins_here_is_not_lost() -> None:
    code = (
        "import asyncio, os, signal, time\n"
        "from segexp.config.schema import EngineConfig\n"
        "from segexp.engine.driver import open_engine\n"
        "from segexp.experiment import run_to_end\n"
        "async def main():\n"
        "    async with open_engine(EngineConfig('local', 1, 1, None)) as engine:\n"
        "        task = asyncio.ensure_future(engine.run(time.sleep, 30))\n"
        "        await asyncio.sleep(0)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        await task\n"
        "run_to_end(main())\n"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert b"KeyboardInterrupt" in done.stderr and time.monotonic() - start < 25


def test_sigterm_to_all_processes_of_a_group_ends_them_without_a_word(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from segexp.config.schema import EngineConfig\n"
        "from segexp.engine.driver import open_engine\n"
        "from segexp.experiment import run_to_end\n"
        "async def main(begun):\n"
        "    async with open_engine(EngineConfig('local', 2, 1, None)) as engine:\n"
        "        touching = engine.run(Path.touch, begun, timeout_s=60)\n"
        "        waiting = asyncio.ensure_future(engine.run(time.sleep, 60, timeout_s=60))\n"
        "        await touching\n"
        "        os.killpg(0, signal.SIGTERM)\n"
        "        await waiting\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "try:\n"
        "    run_to_end(main(Path(sys.argv[1])))\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "begun")], capture_output=True, timeout=60,
        start_new_session=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"stopped\n", b"")
    assert not list(tmp_path.glob("segexp-*"))


def test_sigterm_is_left_to_whoever_did_not_ask() -> None:
    async def answers() -> object:
        with cancelled_by_interrupt(asyncio.current_task()):
            return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    with asyncio.Runner() as runner:
        sigterm, sigint = runner.get_loop().run_until_complete(answers())
    assert sigterm is signal.SIG_DFL and sigint is not signal.default_int_handler


# In processes


def test_processes_say_what_this_process_says() -> None:
    async def act(engine: Engine) -> list[int]:
        in_processes(engine)
        return await squares(engine)

    assert use(local(2), act) == use(local(1), act) == [i * i for i in range(12)]


def test_processes_work_with_the_wanted_threads() -> None:
    async def act(engine: Engine) -> set[int]:
        in_processes(engine)
        await engine.run(pid)
        return await engine.run(threads_of_pools)

    assert use(local(2, threads=1), act) == {1}


def test_a_process_loads_a_shared_value_once(tmp_path: Path) -> None:
    async def act(engine: Engine) -> list[int]:
        in_processes(engine)
        shared = engine.share(Loaded(tmp_path), "loaded")
        return await asyncio.gather(*(engine.run(double, shared, i) for i in range(20)))

    assert use(local(2), act) == [2 * i for i in range(20)]
    loads = pids_of(tmp_path, "load")
    assert 1 <= len(loads) == len(set(loads)) <= 2


def test_equal_keys_share_one_value() -> None:
    async def act(engine: Engine) -> bool:
        return engine.share([1], "key") is engine.share([2], "key")

    assert use(local(1), act)


def test_shared_tables_can_be_fitted_and_are_read_only() -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "number": rng.normal(size=200),
            "word": rng.choice(["x", "y", None], 200),
            "category": pd.Categorical(rng.choice(["u", "v"], 200)),
        }
    )
    y = rng.integers(0, 2, 200)

    async def act(engine: Engine) -> tuple[list[float], bool]:
        in_processes(engine)
        await engine.run(pid)
        shared = engine.share(table, "X"), engine.share(y, "y")
        return await engine.run(fit, *shared), await engine.run(is_writeable, shared[1])

    assert use(local(2), act) == (fit(table, y), False)


def test_a_shared_value_that_is_hidden_in_another_one_is_refused() -> None:
    async def act(engine: Engine) -> object:
        in_processes(engine)
        await engine.run(pid)
        return await engine.run(len, [engine.share([1], "hidden")])

    with pytest.raises(Exception, match="pickle") as caught:
        use(local(2), act)
    assert "must be an argument of its own" in str(caught.value.__cause__)


def test_errors_pass_through() -> None:
    async def act(engine: Engine) -> list[int]:
        in_processes(engine)
        await engine.run(pid)
        for how, error, message in (
            ("lookup", LookupError, "no such thing"),
            ("unpicklable", RuntimeError, "one, two"),
            ("exit", RuntimeError, "over"),
            ("stop", RuntimeError, "StopIteration"),
        ):
            with pytest.raises(error, match=message) as caught:
                await engine.run(fail, how)
            assert "in fail" in str(caught.value.__cause__)
        return await squares(engine, 2)

    assert use(local(2), act) == [0, 1]


def test_a_task_that_ends_its_process_fails_alone() -> None:
    said: list[str] = []

    async def act(engine: Engine) -> list[Any]:
        in_processes(engine)
        await engine.run(pid)
        runs = [engine.run(square, i) for i in range(6)]
        runs.insert(2, engine.run(die))
        return await asyncio.gather(*runs, return_exceptions=True)

    results = use(local(2), act, report=said.append)
    assert isinstance(results.pop(2), WorkerDiedError)
    assert results == [0, 1, 4, 9, 16, 25]
    assert "a worker process died; what it had is run again" in said


def test_nothing_is_lost_when_a_worker_is_killed_from_outside(tmp_path: Path) -> None:
    async def act(engine: Engine) -> list[int]:
        in_processes(engine)
        await engine.run(pid)
        slow = asyncio.ensure_future(engine.run(note, tmp_path, "slow", 0.5))
        values = asyncio.ensure_future(squares(engine))
        await until(lambda: pids_of(tmp_path, "slow"))
        os.kill(pids_of(tmp_path, "slow")[0], signal.SIGKILL)
        await slow
        return await values

    assert use(local(2), act) == [i * i for i in range(12)]
    assert len(set(pids_of(tmp_path, "slow"))) == 2


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_python_code_stops_in_time(n_jobs: int) -> None:
    async def act(engine: Engine) -> tuple[float, int, int]:
        before = await engine.run(pid, timeout_s=30)
        start = time.monotonic()
        with pytest.raises(TaskTimeoutError, match=r"stopped after 0\.3 s"):
            await engine.run(sleep_in_python, 30, timeout_s=0.3)
        seconds = time.monotonic() - start
        # Tasks that waited longer than their own limit are not late.
        late = [engine.run(sleep_in_python, 0.2, timeout_s=5) for _ in range(3)]
        await asyncio.gather(*late)
        return seconds, before, await engine.run(pid)

    seconds, before, after = use(local(n_jobs), act)
    assert seconds < 2 and before != os.getpid()
    assert n_jobs == 2 or before == after  # the process lives on


@pytest.mark.slow
def test_native_code_is_killed_and_others_run_again(tmp_path: Path) -> None:
    async def act(engine: Engine) -> tuple[float, list[int]]:
        await engine.run(pid, timeout_s=30)
        start = time.monotonic()
        hung = asyncio.ensure_future(engine.run(sleep_in_native_code, tmp_path, 60, timeout_s=0.2))
        runs = (engine.run(note, tmp_path, "other", 0.7) for _ in range(6))
        others = asyncio.gather(*runs)
        with pytest.raises(TaskTimeoutError):
            await hung
        seconds = time.monotonic() - start
        return seconds, await others

    seconds, others = use(local(2), act)
    assert 2 < seconds < 6 and len(others) == 6
    assert all(map(is_gone, pids_of(tmp_path, "native")))


@pytest.mark.slow
def test_a_worker_that_keeps_much_is_not_replaced() -> None:
    async def act(engine: Engine) -> set[int]:
        in_processes(engine)
        await engine.run(pid)
        found = {await engine.run(keep, 0)}
        for n_bytes in (400 * 2**20, 0, 0):
            await asyncio.sleep(1.1)  # loky looks once a second
            found.add(await engine.run(keep, n_bytes))
        return found

    assert len(use(local(1), act)) == 1


def test_a_value_that_two_share_is_freed_when_both_are_done() -> None:
    async def act(engine: Engine) -> tuple[object, object]:
        first = engine.share([1], "key")
        engine.share([1], "key")
        engine.forget(first)
        kept = engine.share([2], "key").value
        engine.forget(first)
        engine.forget(first)
        return kept, engine.share([3], "key").value

    assert use(local(1), act) == ([1], [3])


@pytest.mark.parametrize("ending", ["cancel", "error", "end"])
def test_no_process_and_no_file_outlives_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    async def act(engine: Engine) -> None:
        in_processes(engine)
        shared = engine.share(np.zeros(1000), "zeros")
        runs = [
            asyncio.ensure_future(engine.run(lambda _, *a: note(*a), shared, tmp_path, "n", s))
            for s in (0.0, 0.0, 0.0, 60.0)
        ]
        await asyncio.gather(*runs[:3])
        await until(lambda: len(pids_of(tmp_path, "n")) == 4)
        if ending == "error":
            raise LookupError
        if ending == "cancel":
            await asyncio.wait_for(runs[3], 0.01)

    start = time.monotonic()
    if ending == "end":
        use(local(2), act)
    else:
        with pytest.raises((LookupError, TimeoutError)):
            use(local(2), act)
    assert time.monotonic() - start < 20
    assert all(map(is_gone, set(pids_of(tmp_path, "n")) - {os.getpid()}))
    assert not list((tmp_path / "temporary").glob("segexp-*"))


# Dask


def test_an_address_needs_dask() -> None:
    with pytest.raises(ConfigError, match=r"engine\.address=tcp://x:1 needs engine=dask"):
        EngineConfig(name="local", n_jobs=1, threads=1, address="tcp://x:1")


@pytest.mark.parametrize("address", ["host:8786", "tcp://host", "tcp:8786"])
def test_an_address_names_protocol_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="must look like tcp://host:8786"):
        dask(address)


def test_dask_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'segexp\[dask\]'"):
        use(dask(), squares)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_an_address_where_nobody_answers_is_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segexp.engine.cluster.CONNECT_S", 1)
    start = time.monotonic()
    with pytest.raises(ConfigError, match="no Dask scheduler answers there") as caught:
        use(dask(f"tcp://127.0.0.1:{free_port()}"), squares)
    assert "\n" not in str(caught.value) and time.monotonic() - start < 15
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Dask scheduler with two workers, each a process of its own."""
    with cluster_of(tmp_path_factory.mktemp("dask"), n_workers=2, n_threads=1) as address:
        yield address


@contextmanager
def cluster_of(folder: Path, n_workers: int, n_threads: int) -> Iterator[str]:
    address = f"tcp://127.0.0.1:{free_port()}"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "DASK_TEMPORARY_DIRECTORY": str(folder),
    }
    port = address.rpartition(":")[2]
    common = [sys.executable, "-m", "dask"]
    commands = [[*common, "scheduler", "--host=127.0.0.1", f"--port={port}", "--no-dashboard"]]
    worker = [*common, "worker", address, f"--nthreads={n_threads}", "--no-dashboard"]
    commands += n_workers * [worker]
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            for command in commands
        ]
        try:
            yield address
        finally:
            # Nothing is asked of their end; a worker ends with its nanny.
            for process in reversed(processes):
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_scheduler_that_runs_already_is_used(scheduler: str, tmp_path: Path) -> None:
    async def act(engine: Engine) -> tuple[list[int], list[int]]:
        shared = engine.share(Loaded(tmp_path), "loaded")
        doubles = await asyncio.gather(*(engine.run(double, shared, i) for i in range(20)))
        engine.forget(shared)
        return doubles, await squares(engine)

    assert use(dask(scheduler), act) == ([2 * i for i in range(20)], [i * i for i in range(12)])
    loads = pids_of(tmp_path, "load")
    assert len(loads) == len(set(loads)) <= 2 and os.getpid() not in loads


@pytest.mark.slow
def test_a_worker_with_several_threads_runs_one_task_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []

    async def main(address: str) -> list[tuple[float, float]]:
        async with open_engine(dask(address), said.append) as engine:
            assert engine.n_workers == 1
            return await asyncio.gather(*(engine.run(interval, 0.05, i) for i in range(6)))

    with cluster_of(tmp_path, n_workers=1, n_threads=4) as address:
        intervals = sorted(asyncio.run(main(address)))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(intervals))
    assert said == [
        "each Dask worker runs one task at a time: start more of them, with --nthreads 1"
    ]


@pytest.mark.slow
def test_workers_of_another_version_are_refused(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segexp.engine.cluster.__version__", "9.9")
    with pytest.raises(ConfigError, match=r"the worker tcp\S+ has segexp \S+, this process 9\.9; "):
        use(dask(scheduler), squares)


@pytest.mark.slow
def test_nothing_is_lost_when_a_worker_of_a_cluster_is_killed(
    scheduler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def act(engine: Engine) -> list[int]:
        shared = engine.share(Loaded(tmp_path), "loaded")
        slow = asyncio.ensure_future(engine.run(note, tmp_path, "slow", 0.5))
        values = asyncio.gather(*(engine.run(double, shared, i) for i in range(20)))
        await until(lambda: pids_of(tmp_path, "slow"))
        os.kill(pids_of(tmp_path, "slow")[0], signal.SIGKILL)
        await slow
        return await values

    assert use(dask(scheduler), act) == [2 * i for i in range(20)]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_errors_and_time_limits_of_a_cluster(scheduler: str, tmp_path: Path) -> None:
    async def act(engine: Engine) -> list[int]:
        with pytest.raises(RuntimeError, match="one, two"):
            await engine.run(fail, "unpicklable")
        start = time.monotonic()
        with pytest.raises(TaskTimeoutError, match=r"stopped after 0\.3 s"):
            await engine.run(sleep_in_python, 30, timeout_s=0.3)
        assert time.monotonic() - start < 2
        with pytest.raises(TaskTimeoutError, match=r"stopped after 0\.2 s"):
            await engine.run(sleep_in_native_code, tmp_path, 40, timeout_s=0.2)
        values = await squares(engine)
        await until(lambda: all(map(is_gone, pids_of(tmp_path, "native"))))
        return values

    assert use(dask(scheduler), act) == [i * i for i in range(12)]


@pytest.mark.slow
def test_a_search_on_a_cluster_that_loses_a_worker_has_the_numbers_of_this_process(
    scheduler: str, tmp_path: Path, undrawn: None
) -> None:
    from distributed import Client

    import segexp.runs as runs
    from segexp.config.compose import load_config
    from segexp.config.options import shipped_conf
    from segexp.experiment import Reporter, run_experiment
    from segexp.plan import plan_experiment

    words = [
        "dataset.n_customers=200", "model=decision_tree", "search=tpe", "search.n_trials=6",
        "search.inner_splits=2", "evaluation.n_splits=2", "evaluation.importance_repeats=0",
        "evaluation.final_model=false", f"run.outputs={tmp_path}",
    ]  # fmt: skip

    def search(reporter: Reporter, *engine: str) -> runs.Run:
        config = load_config([*words, *engine], (shipped_conf(),))
        return run_experiment(plan_experiment(config), words, reporter)

    killed: list[int] = []

    def kill_a_worker(study: str, trial: Any, best: Any) -> None:
        if not killed:
            with Client(scheduler) as client:
                killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    there = search(Reporter(trial=kill_a_worker), "engine=dask", f"engine.address={scheduler}")
    here = search(Reporter(), "engine.n_jobs=1")
    assert len(killed) == 2
    for name in (runs.SCORES, runs.BASELINES):
        assert (there.path / name).read_text() == (here.path / name).read_text()
    columns = ["study", "number", "state", "value", "params"]
    assert there.read_trials()[columns].equals(here.read_trials()[columns])


@pytest.mark.slow
def test_a_cluster_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def act(engine: Engine) -> list[Any]:
        assert engine.n_workers == 1
        shared = engine.share(Loaded(tmp_path), "loaded")
        first = await engine.run(double, shared, 1)
        await engine.run(note, tmp_path, "pid")
        with pytest.raises(WorkerDiedError):
            await engine.run(die)
        # The only worker that held the shared value is gone.
        second = await engine.run(double, shared, 2)
        busy = asyncio.ensure_future(engine.run(note, tmp_path, "pid", 60))
        await until(lambda: len(pids_of(tmp_path, "pid")) == 2)
        busy.cancel()
        return [first, second]

    assert use(dask(n_jobs=1), act) == [2, 4]
    assert all(map(is_gone, pids_of(tmp_path, "pid")))
    assert capfd.readouterr().err == ""
