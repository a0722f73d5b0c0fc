"""``segexp ls``: the runs in a folder."""

from __future__ import annotations

from pathlib import Path

from segexp.errors import RunError, SegexpError


def execute(folder: str) -> int:
    """List runs with status, primary metric and age; what cannot be read is one line each."""
    from segexp.cli.console import add_row, age, number, say, show_table, table
    from segexp.runs import COMPLETED, find_runs, open_run

    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{folder}: there is no such folder; runs land in run.outputs (outputs)")
    columns = ("run", "status", "metric", "mean", "age", "")
    made = table("", columns, right=("mean", "age"))
    unreadable = []
    paths = sorted(find_runs(root), key=lambda path: (path.name, path))
    for path in paths:
        try:
            run = open_run(path)
            run.check_facts()
            metric = run.manifest["metric"]
            mean = None
            if run.has_whole_results:
                mean = run.read_summary().get(metric, {}).get("mean")
            add_row(
                made, path, run.status, metric, number(mean),
                age(run.manifest["start"]),
                "synthetic customers" if run.manifest["dataset"]["synthetic"] else "",
                style="" if run.status == COMPLETED else "dim",
            )  # fmt: skip
        except SegexpError as error:
            unreadable.append(str(error))
    if len(paths) > len(unreadable):
        show_table(made)
    for message in unreadable:
        say(f"not readable: {message}", style="yellow")
    if not paths:
        say(f"no runs in {folder} yet; make one with: segexp run")
    return 0
