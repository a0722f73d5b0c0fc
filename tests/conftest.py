"""What every test stands on: an isolated environment, the public data sets, a PostgreSQL server."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Before anything loads OpenMP: threads that outnumber the processors wait for each other, and tests
# run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiling the package and the tests takes longer than many a process that a test starts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).resolve().parents[1]
STRICT = "SEGEXP_CI_STRICT"
# A skip whose reason names one of these is a failure where SEGEXP_CI_STRICT is set.
NEEDED = ("SEGEXP_DATA_DIR", "PostgreSQL", "Chromium")


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache, terminal and network out of the tests.

    For the whole session, so that it also holds for fixtures wider than one test.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGEXP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SEGEXP_OFFLINE", os.environ.get("SEGEXP_OFFLINE", "1"))
        patch.setenv("COLUMNS", "120")
        patch.setenv("NO_COLOR", "1")
        # It would win over NO_COLOR.
        patch.delenv("FORCE_COLOR", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """Tests kill processes, not the machine: nothing has to reach the disk itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Compose the same words once, where no folder of a user stands before the shipped options."""
    import segexp.config.compose as module
    from segexp.config.options import shipped_conf

    compose, shipped = module._compose, (shipped_conf(),)
    known: dict[tuple[str, ...], bytes] = {}

    def recall(words: Sequence[str], conf_dirs: Sequence[Path]) -> DictConfig:
        if tuple(conf_dirs) != shipped:
            return compose(words, conf_dirs)
        if tuple(words) not in known:
            known[tuple(words)] = pickle.dumps(compose(words, conf_dirs))
        composed: DictConfig = pickle.loads(known[tuple(words)])
        return composed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_compose", recall)
        yield


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Leave out the figures of runs in this process, where a module asks nothing of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segexp.figures.look.render", lambda figure: {})
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the public data sets, as ``segexp`` expects it in ``SEGEXP_DATA_DIR``."""
    folder = Path(os.environ.get("SEGEXP_DATA_DIR") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets: set SEGEXP_DATA_DIR ({folder} is not a folder)")
    return folder


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """SQLAlchemy URL of an empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    return f"{postgresql_server}/{name}".replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Address of a PostgreSQL server that lives as long as the session."""
    bin_dir, owner = _postgresql_programs(), _postgresql_owner()
    # Not under tmp_path_factory: only the user who runs the tests can enter its folders.
    with tempfile.TemporaryDirectory(prefix="segexp-postgresql-") as folder:
        if owner:
            shutil.chown(folder, owner, owner)
        cluster, port = f"{folder}/data", _free_port()

        def run(program: str, *words: str) -> None:
            _run_postgresql([str(bin_dir / program), f"--pgdata={cluster}", *words], folder, owner)

        run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")
        # Without a socket folder nothing is written outside the temporary one.
        options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"
        run("pg_ctl", "start", "--wait", f"--log={folder}/log", f"--options={options}")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")


def _postgresql_programs() -> Path:
    """Folder of ``initdb`` and ``pg_ctl``; Debian keeps them out of ``PATH``."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        pytest.skip("needs PostgreSQL: initdb is neither in PATH nor in /usr/lib/postgresql")
    return newest.parent


def _postgresql_owner() -> str | None:
    """The user to run as, because PostgreSQL refuses root; None where no change is needed."""
    import pwd

    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("needs PostgreSQL: it refuses root, and there is no user 'postgres'")


def _run_postgresql(command: list[str], folder: str, owner: str | None) -> None:
    try:
        # To a file, not a pipe: the server keeps what it inherits open for as long as it runs.
        with Path(folder, "output").open("w+") as output:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=owner,
                group=owner,
                extra_groups=[] if owner else None,
                timeout=120,
            )
            output.seek(0)
            cause = " ".join(output.read().split()[-40:])
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"needs PostgreSQL: {error}")
    if done.returncode != 0:
        pytest.skip(f"needs PostgreSQL: {Path(command[0]).name} failed: {cause}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _skipped_for_want(config: pytest.Config) -> list[str]:
    """Test and reason of every skip that SEGEXP_CI_STRICT forbids."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or not os.environ.get(STRICT):
        return []
    skips = [
        (report.nodeid, report.longrepr[2].removeprefix("Skipped: "))
        for report in terminal.stats.get("skipped", [])
    ]
    return [f"{test}: {reason}" for test, reason in skips if any(word in reason for word in NEEDED)]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if skips := _skipped_for_want(config):
        terminalreporter.section(f"not allowed to be skipped ({STRICT})")
        for line in skips:
            terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped_for_want(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
