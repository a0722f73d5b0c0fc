"""Processes that run ``segexp`` to be stopped and killed, and that begin at once.

What takes long is loading the libraries. A server does that once, and every process is a copy of
it: without threads, in a session of its own, and with the folder and environment of its test.
"""

import atexit
import multiprocessing
import os
import tempfile
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_LOADED = ["segexp.cli.app", "segexp.cli.run", "segexp.cli.resume", "segexp.experiment",
           "segexp.sweep", "segexp.search.samplers", "skops.io", "sklearn.tree"]  # fmt: skip


class OwnProcess:
    """A process that runs ``segexp`` with ``words``; used as a ``subprocess.Popen``."""

    def __init__(self, words, before=None):
        """Start; ``before`` is called in the process first and must be known by name."""
        _SERVER.set_forkserver_preload(_LOADED)
        self._stderr = tempfile.NamedTemporaryFile("r+")  # noqa: SIM115 - open until it ends
        self._said = ""
        folder, environment = str(Path.cwd()), dict(os.environ)
        self._process = _SERVER.Process(
            target=_run, args=(list(words), folder, environment, self._stderr.name, before)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutError(f"process {self.pid} has not ended in {timeout} s")
        if not self._stderr.closed:
            self._said = self._stderr.read()
            self._stderr.close()
        return self.returncode

    def communicate(self, timeout=None):
        """Wait, and return its standard output, which nobody reads, and standard error."""
        self.wait(timeout)
        return "", self._said


def _run(words, folder, environment, stderr, before):
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, os.devnull), (2, stderr)):
        opened = os.open(path, os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    from segexp.cli import main

    if before:
        before()
    code = main(words)
    # As at the end of a program: a process of multiprocessing leaves these out.
    atexit._run_exitfuncs()
    os._exit(code)
