"""The trials of a study, judged fold by fold by whoever is free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from segexp.search.fitting import FoldScore
from segexp.search.study import Study
from segexp.search.trial import Trial

ScoreFold = Callable[[Study, Trial, int], Awaitable[FoldScore]]


async def optimise(
    study: Study,
    score_fold: ScoreFold,
    told: Callable[[Study, Trial], None] = lambda study, trial: None,
    *,
    until: int | None = None,
    limit_s: float | None = None,
    at_once: int | None = None,
) -> str:
    """Run trials until the study may have no more; every trial that was begun is finished.

    Parameters
    ----------
    score_fold : callable
        Awaited with study, trial and fold; returns the score.
    told : callable
        Called after each trial.
    until : int, optional
        Trials after which the study pauses.
    limit_s : float, optional
        Seconds after which no trial is begun.
    at_once : int, optional
        Trials that run at the same time, if fewer than the window.

    Returns
    -------
    str
        What stopped it.
    """
    running: deque[tuple[Trial, asyncio.Task[bool]]] = deque()

    def begin(trial: Trial) -> None:
        running.append((trial, asyncio.create_task(_judge(study, trial, score_fold))))

    try:
        for trial in study.running:
            begin(trial)
        while True:
            stop = None
            while len(running) < min(study.config.window, at_once or study.config.window):
                if stop := study.stops_by(until, limit_s):
                    break
                begin(study.ask())
            if not running:
                return stop or "n_trials"
            trial, task = running.popleft()
            study.tell(trial, pruned=await task)
            told(study, trial)
    finally:
        await _cancel([task for _, task in running])


async def run_again(
    study: Study,
    trials: Sequence[Trial],
    score_fold: ScoreFold,
    told: Callable[[Study, Trial], None],
) -> None:
    """Judge trials that were begun again, beside the budget."""
    tasks = [asyncio.create_task(_judge(study, trial, score_fold)) for trial in trials]
    try:
        for trial, task in zip(trials, tasks, strict=True):
            study.tell(trial, pruned=await task)
            told(study, trial)
    finally:
        await _cancel(tasks)


async def _cancel(tasks: Sequence[asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _judge(study: Study, trial: Trial, score_fold: ScoreFold) -> bool:
    """Judge a trial fold by fold; return whether it was given up."""
    while trial.duplicate_of is None and trial.failure is None:
        if len(trial.scores) == study.config.inner_splits:
            break
        if trial.scores and study.should_prune(trial):
            return True
        study.record(trial, await score_fold(study, trial, len(trial.scores)))
    return False
