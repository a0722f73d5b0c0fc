"""How a sweep looks on the terminal; everything is read from its directory."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, clean, number, say, show_table, table
from segexp.cli.run_view import baseline_means, interval_text, selection_value
from segexp.metrics import metric_by_name
from segexp.runs import SYNTHETIC

if TYPE_CHECKING:
    from segexp.runs import Run, Sweep


# What is shown beside the metric that ranks, by task.
_BESIDE = {
    "clustering": ("stability", "n_segments", "smallest_share", "noise_share"),
    "value": ("mae", "abs_bias", "top_decile_share"),
    "baskets": ("n_rules", "rules_kept", "coverage", "hit_rate"),
}


def varying_words(cell: Sequence[str], words: Sequence[str]) -> str:
    """Return what tells a cell from its neighbours."""
    return " ".join(word for word in cell if word not in words) or "defaults"


def print_sweep(sweep: Sweep) -> int:
    """Print one row per cell, the best first where the cells can be compared.

    Returns
    -------
    int
        The exit code: 1 if a cell failed.
    """
    from segexp.errors import SegexpError
    from segexp.runs import COMPLETED, FAILED, RUNNING, open_run
    from segexp.sweep import DONE_ALREADY

    words = sweep.manifest["words"]
    finished: list[tuple[str, Run, dict[str, Any]]] = []
    others: list[tuple[str, str, str]] = []
    for cell in sweep.cells:
        name = varying_words(cell["words"], words)
        # A cell that says `running` is what its sweep is: a killed one could not say more.
        status = sweep.status if cell["status"] == RUNNING else cell["status"]
        if status in (COMPLETED, DONE_ALREADY) and cell["path"]:
            try:
                run = open_run(Path(os.path.normpath(sweep.path / cell["path"])))
                run.check_facts()
                finished.append((name, run, _primary(run)))
            except SegexpError as error:
                others.append((name, "not readable", str(error)))
        else:
            others.append((name, status, cell["cause"] or ""))
    if finished:
        _print_finished(finished)
    if others:
        made = table("not finished", ("cell", "status", "cause"))
        for name, status, cause in others:
            add_row(made, name, status, cause, style="red" if status == FAILED else "")
        show_table(made)
    _print_next(sweep, finished, others)
    return 1 if any(status == FAILED for _, status, _ in others) else 0


def _print_finished(finished: list[tuple[str, Run, dict[str, Any]]]) -> None:
    metrics = {str(run.manifest["metric"]) for _, run, _ in finished}
    internal = any(metric_by_name(metric).of == "clusters" for metric in metrics)
    comparable = {
        (
            run.manifest["dataset"]["fingerprint"],
            run.manifest["split"]["hash"],
            run.manifest.get("feature_space") if internal else None,
        )
        for _, run, _ in finished
    }
    ranked = len(metrics) == 1 and len(comparable) == 1
    if any(run.manifest["dataset"]["synthetic"] for _, run, _ in finished):
        say(SYNTHETIC, style="yellow")
    if ranked:
        (metric,) = metrics
        sign = -1 if metric_by_name(metric).greater_is_better else 1
        worst = math.inf
        finished.sort(
            key=lambda row: (
                bool(_missed(row[1])),
                worst if row[2]["mean"] is None else sign * row[2]["mean"],
            )
        )
        title = f"{metric} on held-out rows, best first (judged on the same folds)"
    else:
        title = "results on held-out rows (different data, folds, features or metrics: not ranked)"
    searched = [selection_value(run) for _, run, _ in finished]
    shows_selection = any(value is not None for value in searched)
    columns = ["cell", *([] if ranked else ["metric"]), "mean", "sd", "interval"]
    columns += ["selection score"] if shows_selection else []
    tasks = dict.fromkeys(str(run.manifest["task"]) for _, run, _ in finished)
    beside = tuple(name for task in tasks for name in _BESIDE.get(task, ()))
    columns += beside
    made = table(title, (*columns, "run"), right=("mean", "sd", "selection score", *beside))
    for (name, run, summary), selection in zip(finished, searched, strict=True):
        others = run.read_summary() if beside else {}
        add_row(
            made, name, *([] if ranked else [run.manifest["metric"]]),
            number(summary["mean"]), number(summary["std"]), interval_text(summary),
            *([number(selection)] if shows_selection else []),
            *(number(others.get(other, {}).get("mean"), 3) for other in beside),
            run.path, style="dim" if ranked and _missed(run) else "",
        )  # fmt: skip
    if ranked:
        for baseline, means in baseline_means(finished[0][1]).items():
            blank = ["-", "-", *(["-"] if shows_selection else []), *("-" for _ in beside), ""]
            add_row(made, f"baseline {baseline}", number(means.get(metric)), *blank, style="dim")
    show_table(made)
    for name, run, _ in finished:
        if found := _missed(run):
            say(f"{name} is no usable segmentation, and stands last: {'; '.join(found)}", "yellow")
    if shows_selection:
        say(
            "a selection score is what a search chose its parameters by, on inner folds, and no "
            "estimate; the mean beside it, on rows that no study saw, is the honest figure"
        )
        say()


def _missed(run: Run) -> list[str]:
    return [str(text) for text in run.manifest.get("constraints_missed") or []]


def _print_next(
    sweep: Sweep,
    finished: Sequence[tuple[str, Run, Mapping[str, Any]]],
    others: Sequence[tuple[str, str, str]],
) -> None:
    say(f"sweep directory: {sweep.path}")
    say("next:", style="bold")
    commands = []
    packages = [word for word in sweep.manifest["words"] if word.startswith("run.packages=")]
    if finished:
        commands.append((["segexp", "show", str(finished[0][1].path)], "the first of the table"))
    if len(finished) > 1:
        why = "ranked, with tests of the differences"
        commands.append((["segexp", "compare", str(sweep.path)], why))
    if any(status == "failed" for _, status, _ in others):
        again = ["segexp", "resume", str(sweep.path), *packages, "--retry-failed"]
        commands.append((again, "what failed, once more"))
    elif others:
        commands.append((["segexp", "resume", str(sweep.path), *packages], "what is not finished"))
    commands.append((["segexp", "show", str(sweep.path)], "this table again"))
    for command, why in commands:
        say(f"  {clean(shlex.join(command))}    # {why}")


def _primary(run: Run) -> dict[str, Any]:
    undefined = {"mean": None, "std": None, "interval": None, "n": 0}
    return run.read_summary().get(run.manifest["metric"], undefined)
