"""Runs and sweeps begun from a notebook."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import segexp.runs as runs
from segexp.errors import ConfigError, RunInterruptedError
from segexp.notebook.results import RunResult, SweepResult
from segexp.notebook.shown import short

if TYPE_CHECKING:
    from segexp.config.schema import ExperimentConfig
    from segexp.experiment import Reporter
    from segexp.plan import Plan
    from segexp.search.trial import Trial
    from segexp.sweep import SweepReporter


_SECONDS = 0.2  # between two lines of progress


def run(
    words: Sequence[str] | str = (),
    *,
    outputs: str | PathLike[str] | None = None,
    config_dir: str | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> RunResult:
    """Run one experiment, or find the completed run of the same config on the same data.

    Parameters
    ----------
    words : sequence of str
        As after ``segexp run``: ``["dataset=mall", "model=kmeans"]``. One text is split as a shell
        would.
    outputs : path, optional
        Folder of the run directories; short for the word ``run.outputs=...``.
    config_dir : str, optional
        Folder of your own options, as ``--config-dir``.
    force : bool
        Run it again where it was done before.
    progress : bool, optional
        Show what is being done in one line; by default in terminals and notebooks.

    Raises
    ------
    ConfigError, DataError
        Before anything is run.
    RunFailedError
        If the run began and could not end.
    RunInterruptedError
        If it was stopped; the message says where its results are and how to go on.
    """
    from segexp.config.compose import is_grid, load_config
    from segexp.config.options import find_conf_dirs

    with importing():
        from segexp.experiment import Datasets, find_same, run_experiment
        from segexp.plan import plan_experiment

    said = _words(words, outputs)
    if is_grid(said):
        grid = next(word for word in said if is_grid([word]))
        raise ConfigError(f"{grid}: several values make a grid; say segexp.sweep([...]) for that")
    config = load_config(said, find_conf_dirs(config_dir))
    plan, datasets = plan_experiment(config), Datasets()
    with Progress(progress) as line, working(config):
        reporter = line.reporter()
        same = None if force else find_same(plan, datasets, reporter)
        done = same or run_experiment(
            plan, _typed(said, config_dir), reporter, datasets=datasets
        )  # fmt: skip
    return RunResult(done.path)


def sweep(
    words: Sequence[str] | str,
    *,
    outputs: str | PathLike[str] | None = None,
    config_dir: str | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> SweepResult:
    """Run every cell of a grid; one failure does not stop the rest.

    Parameters
    ----------
    words : sequence of str
        As after ``segexp sweep``: ``["dataset=mall", "model=kmeans,gaussian_mixture"]``.
    outputs, config_dir, force, progress
        As of :func:`run`.

    Raises
    ------
    ConfigError
        If a cell is wrong; nothing was run.
    RunError
        If the sweep directory cannot be made.
    RunInterruptedError
        If it was stopped.
    """
    from segexp.config.options import find_conf_dirs

    with importing():
        from segexp.sweep import distinct_cells, run_sweep

    said = _words(words, outputs)
    plans, cells = distinct_cells(*_plans(said, find_conf_dirs(config_dir)))
    with Progress(progress) as line, working(plans[0].config):
        found = run_sweep(
            plans, cells, said, line.sweep_reporter(plans), force=force, config_dir=config_dir
        )
    return SweepResult(found.path)


def _words(words: Sequence[str] | str, outputs: str | PathLike[str] | None) -> list[str]:
    said = shlex.split(words) if isinstance(words, str) else [str(word) for word in words]
    if outputs is None:
        return said
    folder = str(Path(outputs))
    if not re.fullmatch(r"[\w./-]+", folder, re.ASCII):
        folder = '"' + folder.replace('"', r"\"") + '"'
    return [*said, f"run.outputs={folder}"]


def _typed(words: Sequence[str], config_dir: str | None) -> list[str]:
    """Return the words as they are typed on the command line."""
    return [*words, *(["--config-dir", config_dir] if config_dir else [])]


def _plans(words: Sequence[str], conf_dirs: Sequence[Path]) -> tuple[list[Plan], list[list[str]]]:
    from segexp.config.compose import expand_grid, load_config
    from segexp.plan import plan_experiment

    cells = expand_grid(words, conf_dirs)
    plans = []
    for cell in cells:
        try:
            plans.append(plan_experiment(load_config(cell, conf_dirs)))
        except ConfigError as error:
            raise ConfigError(f"nothing was run, a cell is wrong: {error}") from error
    return plans, cells


@contextmanager
def importing() -> Iterator[None]:
    """Import without the advice to install a widget, which a library gives in notebooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@contextmanager
def working(config: ExperimentConfig) -> Iterator[None]:
    """Let a run have an event loop of its own, and turn Ctrl-C into a line that says what is kept.

    In a notebook each cell runs inside the kernel's loop, in the thread that is interrupted.
    """
    loop, task = asyncio._get_running_loop(), None
    if loop is not None:
        if (task := asyncio.current_task(loop)) is not None:
            asyncio.tasks._leave_task(loop, task)
        asyncio._set_running_loop(None)
    try:
        yield
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # no directory yet
            raise
        packages = config.run.packages
        allowed = [f"run.packages=[{','.join(packages)}]"] if packages else []
        command = shlex.join(["segexp", "resume", str(stopped.args[0]), *allowed])
        raise RunInterruptedError(
            f"interrupted; what was finished is kept in {stopped.args[0]}; go on with: {command}"
        ) from None
    finally:
        if loop is not None:
            asyncio.set_event_loop(loop)
            asyncio._set_running_loop(loop)
            if task is not None:
                asyncio.tasks._enter_task(loop, task)


class Progress:
    """One line of standard output that tells what is being done; nothing is left of it."""

    def __init__(self, shown: bool | None) -> None:
        if shown is None:
            shown = sys.stdout.isatty() or "ipykernel" in sys.modules
        self._shown = shown
        self._width = 0
        self._next = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._width:
            sys.stdout.write(f"\r{' ' * self._width}\r")
            sys.stdout.flush()

    def reporter(self) -> Reporter:
        from segexp.experiment import Reporter

        return Reporter(
            say=self._say,
            progress=lambda done, total, what: self._often(f"{done:,} of {total:,} fits: {what}"),
            trial=lambda study, trial, best: self._often(_best_words(study, best)),
        )

    def sweep_reporter(self, plans: Sequence[Plan]) -> SweepReporter:
        from segexp.experiment import Reporter
        from segexp.sweep import SweepReporter

        ended: list[str] = []

        def cell(number: int) -> Reporter:
            def step(done: int, total: int, what: str) -> None:
                runs_done = f"{len(ended)} of {len(plans)} runs done"
                self._often(f"{runs_done}; run {number + 1}: {done:,} of {total:,} fits")

            return Reporter(progress=step)

        def cell_ended(number: int, status: str, run: runs.Run | None, cause: str | None) -> None:
            ended.append(status)
            self._say(f"{len(ended)} of {len(plans)} runs done")

        return SweepReporter(say=self._say, cell=cell, ended=cell_ended)

    def _often(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._say(text)

    def _say(self, text: str) -> None:
        if not self._shown:
            return
        text = short(text)
        sys.stdout.write(f"\r{text.ljust(self._width)}")
        sys.stdout.flush()
        self._width = max(self._width, len(text))
        self._next = time.monotonic() + _SECONDS


def _best_words(study: str, best: Trial | None) -> str:
    value = f", best so far {best.mean(0):.4f} (selection)" if best is not None else ""
    return f"search on {study}{value}"
