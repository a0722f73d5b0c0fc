"""A grid of experiments: cells side by side on one engine, and a directory that remembers them.

Every trial and every fold of every cell is a task of its own on the same workers, earlier cells
first, so that no core is idle while the last cell of a grid is being finished.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segexp.runs as runs
from segexp.config.compose import config_hash
from segexp.config.schema import EngineConfig
from segexp.engine.driver import Engine, open_engine
from segexp.errors import ConfigError, SegexpError
from segexp.experiment import (
    Cell,
    Datasets,
    Reporter,
    find_same,
    resume_cell,
    run_cell,
    run_to_end,
)
from segexp.plan import SWEEPS, Plan

logger = logging.getLogger(__name__)

WAITING = "waiting"
DONE_ALREADY = "done already"  # by an earlier run, which is not repeated


@dataclass(frozen=True)
class SweepReporter:
    """How a sweep tells its progress."""

    say: Callable[[str], None] = lambda text: None
    cell: Callable[[int], Reporter] = lambda number: Reporter()
    ended: Callable[[int, str, runs.Run | None, str | None], None] = (
        lambda number, status, run, cause: None
    )


def run_sweep(
    plans: Sequence[Plan],
    cell_words: Sequence[Sequence[str]],
    words: Sequence[str],
    reporter: SweepReporter | None = None,
    *,
    force: bool = False,
    config_dir: str | None = None,
) -> runs.Sweep:
    """Run every cell of a grid; one failure does not stop the rest.

    Parameters
    ----------
    plans : sequence of Plan
        One per cell.
    cell_words : sequence of sequence of str
        What makes each cell.
    words : sequence of str
        What was typed.
    force : bool
        Also run what was done before.
    config_dir : str, optional
        Where options of the user's were found, as it was typed.

    Raises
    ------
    ConfigError
        If the cells want different engines.
    RunError
        If the sweep directory cannot be made.
    """
    engine = _shared_engine(plans)
    plans, cell_words = distinct_cells(plans, cell_words)
    hashes = [config_hash(plan.recorded) for plan in plans]
    name = hashlib.sha256("".join(hashes).encode()).hexdigest()[:8]
    outputs = Path(plans[0].config.run.outputs).expanduser() / SWEEPS
    cells = [
        {"words": list(cell), "config_hash": own, "status": WAITING, "path": None, "cause": None}
        for cell, own in zip(cell_words, hashes, strict=True)
    ]
    manifest = {"words": list(words), "config_dir": config_dir, "force": force, "cells": cells}
    with runs.new_sweep(outputs, f"{len(plans)}cells-{name}", manifest) as writer:
        work = _SweepWork(writer, plans, reporter or SweepReporter(), config_dir)
        run_to_end(work.finish(engine, force=force))
    return runs.open_sweep(writer.path)


def distinct_cells(
    plans: Sequence[Plan], cell_words: Sequence[Sequence[str]]
) -> tuple[list[Plan], list[Sequence[str]]]:
    """Return the cells without those that come to the config of an earlier one.

    Raises
    ------
    ConfigError
        If the cells want different engines.
    """
    _shared_engine(plans)
    first: dict[str, tuple[Plan, Sequence[str]]] = {}
    for plan, words in zip(plans, cell_words, strict=True):
        first.setdefault(config_hash(plan.recorded), (plan, words))
    return [plan for plan, _ in first.values()], [words for _, words in first.values()]


def resume_sweep(
    sweep: runs.Sweep,
    plans: Sequence[Plan],
    reporter: SweepReporter | None = None,
    *,
    retry_failed: bool = False,
    pending: Sequence[str] = (),
) -> runs.Sweep:
    """Go on with a sweep that was stopped; what is completed is left alone.

    Parameters
    ----------
    plans : sequence of Plan
        One per cell, of the config that the cell began with.
    retry_failed : bool
        Also run again what failed.
    pending : sequence of str
        Words of the command line by which it goes on.

    Raises
    ------
    ConfigError
        If the cells want different engines.
    RunError
        If another process is at work there.
    """
    engine = _shared_engine(plans)
    with runs.continue_sweep(sweep, pending) as writer:
        config_dir = sweep.manifest.get("config_dir")
        work = _SweepWork(writer, plans, reporter or SweepReporter(), config_dir)
        force = bool(sweep.manifest.get("force"))
        run_to_end(work.finish(engine, force=force, retry_failed=retry_failed))
    return runs.open_sweep(sweep.path)


def _shared_engine(plans: Sequence[Plan]) -> EngineConfig:
    """Return the engine of all cells."""
    first, *others = [plan.config.engine for plan in plans]
    if any(engine != first for engine in others):
        raise ConfigError("engine.* must be the same for all cells: they share the workers")
    return first


class _SweepWork:
    """The cells of one sweep on one engine."""

    def __init__(
        self,
        writer: runs.SweepWriter,
        plans: Sequence[Plan],
        reporter: SweepReporter,
        config_dir: str | None,
    ) -> None:
        self.writer, self.plans, self.reporter = writer, plans, reporter
        self.said = ["--config-dir", config_dir] if config_dir else []
        self.datasets = Datasets()

    async def finish(
        self, config: EngineConfig, *, force: bool = False, retry_failed: bool = False
    ) -> None:
        """Run the cells that are not done, a few at a time."""
        async with open_engine(config, report=self.reporter.say) as engine:
            # One more than there are workers, so that the tail of a cell leaves nobody idle; but
            # the time of a search that a clock ends is not to be taken by another one.
            timed = any(plan.config.search.timeout_s is not None for plan in self.plans)
            gate = asyncio.Semaphore(1 if timed else engine.n_workers + 1)

            async def run(number: int) -> None:
                async with gate:
                    await self._cell(number, engine, force=force, retry_failed=retry_failed)

            async with asyncio.TaskGroup() as tasks:
                for number in range(len(self.plans)):
                    tasks.create_task(run(number))

    async def _cell(self, number: int, engine: Engine, *, force: bool, retry_failed: bool) -> None:
        """Do one cell; what goes wrong is written down and stops no other."""
        entry, plan = self.writer.cells[number], self.plans[number]
        begun = self._find_begun(entry, plan)
        # More trials may be wanted of what is completed.
        has = begun.manifest.get("config_hash") if begun else entry["config_hash"]
        has_all = has == config_hash(plan.recorded)
        if entry["status"] in (runs.COMPLETED, DONE_ALREADY) and has_all:
            return
        if entry["status"] == runs.FAILED and not retry_failed:
            return
        cell = Cell(
            plan,
            (*entry["words"], *self.said),
            self.reporter.cell(number),
            number,
            self.writer.path,
        )
        run: runs.Run | None = None
        try:
            same = None if force else find_same(plan, self.datasets, cell.reporter)
            if begun is not None and not (begun.status == runs.COMPLETED and has_all):
                begun.check_facts()
                self._note(number, runs.RUNNING, begun)
                run = await resume_cell(
                    begun, cell, engine, self.datasets, retry_failed=retry_failed
                )
                status, cause = runs.COMPLETED, None
            elif same is not None:
                own = same.path.parent.resolve() == self.writer.path.resolve()
                run, status, cause = same, runs.COMPLETED if own else DONE_ALREADY, None
            else:
                self.writer.update_cell(number, status=runs.RUNNING)
                run = await run_cell(cell, engine, self.datasets)
                status, cause = runs.COMPLETED, None
        except Exception as error:
            if not isinstance(error, SegexpError):  # a bug of ours is not to stop the other cells
                logger.exception("cell %d", number)
            status = runs.FAILED
            cause = str(error) if isinstance(error, SegexpError) else repr(error)
            run = self._find_begun(entry, plan)
        self._note(number, status, run, cause)
        self.reporter.ended(number, status, run, cause)

    def _note(
        self, number: int, status: str, run: runs.Run | None, cause: str | None = None
    ) -> None:
        path = os.path.relpath(run.path, self.writer.path) if run else None
        self.writer.update_cell(number, status=status, path=path, cause=cause)

    def _find_begun(self, entry: Mapping[str, Any], plan: Plan) -> runs.Run | None:
        """Return the newest run of a cell in this sweep's directory."""
        # A run that was given more trials keeps its name.
        hashes = dict.fromkeys([config_hash(plan.recorded), str(entry["config_hash"])])
        found = [path for own in hashes for path in self.writer.path.glob(f"*-{own}*")]
        for path in sorted(found, key=lambda path: path.name, reverse=True):
            try:
                return runs.open_run(path)
            except SegexpError:
                continue
        return None
