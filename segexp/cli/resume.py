"""``segexp resume`` and ``segexp rerun``: go on with what was stopped; do again what was done."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segexp.errors import RunError, RunInterruptedError, SegexpError

if TYPE_CHECKING:
    import pandas as pd

    from segexp.config.schema import SearchConfig
    from segexp.experiment import Datasets
    from segexp.plan import Plan
    from segexp.runs import Run, Sweep


def execute_resume(path: str, words: Sequence[str], *, retry_failed: bool, force: bool) -> int:
    """Continue a run or a sweep to its total."""
    from segexp.runs import is_sweep, open_run, open_sweep

    folder = Path(path)
    if is_sweep(folder):
        return _resume_sweep(open_sweep(folder), words, retry_failed=retry_failed, force=force)
    return _resume_run(open_run(folder), words, retry_failed=retry_failed, force=force)


def _resume_run(run: Run, words: Sequence[str], *, retry_failed: bool, force: bool) -> int:
    from segexp.cli.console import reporting, say
    from segexp.cli.run import interrupted
    from segexp.cli.run_view import print_next_commands, print_result
    from segexp.experiment import resume_experiment
    from segexp.plan import plan_experiment, recorded_config, with_pending
    from segexp.runs import COMPLETED

    run.check_facts()
    words = with_pending(run, words)
    retry_failed = retry_failed or "--retry-failed" in run.pending
    config = recorded_config(run, words)
    if run.status == COMPLETED and not words and not retry_failed:
        say(f"{run.path} is complete; it can go on with more trials: search.n_trials=N")
        return 0
    if force:
        run = _taken_over(run)
    plan = plan_experiment(config)
    with reporting() as reporter, interrupted(_again(words, retry_failed)):
        done = resume_experiment(
            run, plan, reporter, words=_joined(run, words), retry_failed=retry_failed
        )
    print_result(done, [config.evaluation.metric, *config.evaluation.metrics])
    print_next_commands(done, shlex.split(done.read_overrides())[2:])
    return 0


def _again(words: Sequence[str], retry_failed: bool) -> list[str]:
    return [*words, *(["--retry-failed"] if retry_failed else [])]


def _joined(run: Run, words: Sequence[str]) -> list[str]:
    """Return the words of a run with those that it goes on with in place of earlier ones."""
    newer = {word.split("=")[0] for word in words}
    earlier = [w for w in shlex.split(run.read_overrides())[2:] if w.split("=")[0] not in newer]
    cut = earlier.index("--config-dir") if "--config-dir" in earlier else len(earlier)
    return [*earlier[:cut], *words, *earlier[cut:]]


def _taken_over(run: Run) -> Run:
    """Return a run as if the process that works on it were gone."""
    status = "completed" if run.has_whole_results else "interrupted"
    return replace(run, manifest={**run.manifest, "status": status})


def _resume_sweep(sweep: Sweep, words: Sequence[str], *, retry_failed: bool, force: bool) -> int:
    from segexp.cli.console import sweep_reporting
    from segexp.cli.run import interrupted
    from segexp.cli.sweep_view import print_sweep
    from segexp.plan import with_pending
    from segexp.sweep import resume_sweep

    words = with_pending(sweep, words)
    retry_failed = retry_failed or "--retry-failed" in sweep.pending
    plans = [_plan_of_cell(sweep, cell, words) for cell in sweep.cells]
    if force:
        sweep = replace(sweep, manifest={**sweep.manifest, "status": "interrupted"})
    with (
        sweep_reporting(
            plans, [cell["words"] for cell in sweep.cells], sweep.manifest["words"]
        ) as (reporter),
        interrupted(_again(words, retry_failed)),
    ):
        done = resume_sweep(
            sweep, plans, reporter, retry_failed=retry_failed, pending=_again(words, retry_failed)
        )
    return print_sweep(done)


def _plan_of_cell(sweep: Sweep, cell: dict[str, object], words: Sequence[str]) -> Plan:
    """Return the plan of a cell: from its run directory, or from its words if it has none."""
    from segexp.config.compose import config_hash, load_config
    from segexp.config.options import find_conf_dirs
    from segexp.errors import SegexpError
    from segexp.plan import plan_experiment, recorded_config, with_pending
    from segexp.runs import open_run

    own_hash = str(cell["config_hash"])
    for path in sorted(sweep.path.glob(f"*-{own_hash}*"), reverse=True):
        try:
            run = open_run(path)
            return plan_experiment(recorded_config(run, with_pending(run, words)))
        except SegexpError:
            if words:
                raise
    said = [str(word) for word in cell["words"]]  # type: ignore[attr-defined]
    # What a directory says is not yet allowed by whoever types.
    packages = [word for word in said if word.startswith("run.packages=") and word not in words]
    if packages:
        raise RunError(
            f"{sweep.path} needs your own packages; allow them by the word {packages[0]}"
        )
    others = [word for word in words if word not in packages]
    composed = load_config([*said, *others], find_conf_dirs(sweep.manifest.get("config_dir")))
    plan = plan_experiment(composed)
    if not others and config_hash(plan.recorded) != own_hash:
        raise RunError(
            f"{sweep.path}: the cell {shlex.join(said)} composes to another config than when the "
            f"sweep began (hash {config_hash(plan.recorded)}, it was {own_hash}); an option has "
            f"changed since; undo that, or start a new sweep"
        )
    return plan


def execute_rerun(path: str, words: Sequence[str]) -> int:
    """Run a recorded config again, or those of a sweep; say whether the numbers are the same."""
    from segexp.experiment import Datasets
    from segexp.runs import is_sweep, open_run, open_sweep

    folder = Path(path)
    if is_sweep(folder):
        return _rerun_sweep(open_sweep(folder), words)
    return _rerun_run(open_run(folder), words, Datasets())


def _rerun_sweep(sweep: Sweep, words: Sequence[str]) -> int:
    """Run every completed cell again; 1 if the numbers of one are others, or cannot come again."""
    from segexp.cli.console import say
    from segexp.experiment import Datasets
    from segexp.runs import open_run

    done = [cell for cell in sweep.cells if cell["path"] is not None]
    if not done:
        raise RunError(f"{sweep.path} has no completed cell, and only a completed one is checked")
    datasets, codes = Datasets(), []
    for number, cell in enumerate(done, 1):
        say(f"{number} of {len(done)}: {shlex.join(cell['words'])}", style="bold")
        try:
            codes.append(_rerun_run(open_run(sweep.path / cell["path"]), words, datasets))
        except RunInterruptedError:
            raise
        except SegexpError as error:
            say(error, style="red")
            codes.append(1)
    say(f"the same numbers: {codes.count(0)} of {len(done)} cells")
    if left := len(sweep.cells) - len(done):
        say(f"not checked, for they never began: {left}; segexp resume {sweep.path}")
    return max(codes)


def _rerun_run(run: Run, words: Sequence[str], datasets: Datasets) -> int:
    from segexp.cli.console import reporting, say
    from segexp.cli.run import allowing, interrupted
    from segexp.experiment import run_experiment
    from segexp.plan import plan_experiment, recorded_config
    from segexp.runs import COMPLETED

    run.check_facts()
    if run.status != COMPLETED:
        raise RunError(f"{run.path} is {run.status}, and only a completed run can be checked")
    scores = run.read_scores()
    plan = plan_experiment(recorded_config(run, words))
    said = shlex.split(run.read_overrides())[2:]
    with reporting() as reporter, interrupted(allowing(plan.config.run.packages)):
        fingerprint = datasets.load(plan.config, reporter.say).fingerprint
        if fingerprint != (recorded := run.manifest["dataset"]["fingerprint"]):
            raise RunError(
                f"{run.path} was made with other data (fingerprint {recorded}, now {fingerprint}), "
                f"so its numbers cannot come again"
            )
        again = run_experiment(
            plan, said, reporter, datasets=datasets, counts=_counts(run, plan.config.search)
        )
    say(f"run again: {again.path}")
    return _print_differences(run, again, scores, again.read_scores())


def _counts(run: Run, search: SearchConfig) -> dict[str, dict[str, int]] | None:
    """Return how many trials each study made, where a clock may decide otherwise this time."""
    from segexp.runs import SEARCH

    if search.timeout_s is None or not (run.path / SEARCH).is_file():
        return None
    return {choice["rows"]: choice["n_trials"] for choice in run.read_search()["choices"]}


def _print_differences(run: Run, again: Run, before: pd.DataFrame, now: pd.DataFrame) -> int:
    from segexp.cli.console import say

    if before.equals(now):
        say(f"the same numbers: all {len(before):,} scores are equal to the last digit")
        return 0
    keys = ["repeat", "fold", "metric"]
    both = before.merge(now, on=keys, how="outer", suffixes=("", "_now"))
    gap = (both["value"] - both["value_now"]).abs()
    differ = (gap > 0) | (both["value"].isna() != both["value_now"].isna())
    worst = both.iloc[int(gap.fillna(-1.0).to_numpy().argmax())]
    say(
        f"other numbers: {int(differ.sum()):,} of {len(both):,} scores differ, at most by "
        f"{gap.max():.3g} ({worst['metric']}, fold {worst['fold']})",
        style="red",
    )
    for name, was in run.manifest["versions"].items():
        if (is_now := again.manifest["versions"].get(name)) != was:
            say(f"  {name} was {was}, is {is_now}")
    return 1
