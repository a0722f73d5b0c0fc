"""``segexp show``: one run in full, or the table of a sweep."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segexp.runs import Run


def execute(path: str) -> int:
    """Print a run's result, confusion matrix, data, split, seeds, versions and files."""
    from segexp.cli.console import clean, say
    from segexp.cli.run_view import print_body, print_heading, print_metrics, print_notes
    from segexp.cli.sweep_view import print_sweep
    from segexp.runs import (
        COMPLETED,
        FAILED,
        INTERRUPTED,
        KILLED,
        SUMMARY,
        is_sweep,
        open_run,
        open_sweep,
    )

    if is_sweep(Path(path)):
        sweep = open_sweep(Path(path))
        say(f"{sweep.path}: {sweep.status}", style="bold")
        print_sweep(sweep)
        return 0
    run = open_run(Path(path))
    run.check_facts()
    command = run.read_overrides()
    if run.status == COMPLETED:  # what is damaged is told before half of it is shown
        run.read_summary()
        if run.manifest["task"] != "baskets":
            run.read_predictions()
    say(f"{run.path}: {run.status}", style="bold")
    say(command)
    say()
    print_heading(run)
    if run.status == COMPLETED:
        print_body(run, full=True)
        if run.manifest["segments"]:
            _print_confusion(run)
    else:
        if cause := run.manifest.get("cause"):
            say(f"cause: {cause}", style="red")
            say()
        if (run.path / SUMMARY).is_file():  # it was complete, and was given more trials
            say("not finished; what it had come to before it went on:", style="yellow")
            print_metrics(run)
    print_notes(run)
    _print_facts(run)
    if run.status == COMPLETED and run.pending:
        say(f"it began to go on: {' '.join(run.pending)}", style="yellow")
    if run.status in (FAILED, INTERRUPTED, KILLED) or (run.status == COMPLETED and run.pending):
        say(f"go on with: {clean(shlex.join(['segexp', 'resume', str(run.path)]))}")
    return 0


def _print_confusion(run: Run) -> None:
    import pandas as pd

    from segexp.cli.console import add_row, show_table, table

    segments = list(run.manifest["segments"])
    predictions = run.read_predictions()
    counts = pd.crosstab(predictions["true"], predictions["predicted"])
    counts = counts.reindex(index=segments, columns=segments, fill_value=0)
    made = table("confusion: true segments down, predicted across (held-out rows)",
                 ("", *segments), right=segments)  # fmt: skip
    for name in segments:
        add_row(made, name, *(f"{count:,}" for count in counts.loc[name]))
    show_table(made)


def _print_facts(run: Run) -> None:
    from segexp.cli.console import add_row, show_table, table

    manifest = run.manifest
    data, split = manifest["dataset"], manifest["split"]
    git = manifest.get("git")
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    made = table("", ("", ""))
    add_row(made, "data fingerprint", data["fingerprint"])
    add_row(made, "rows read, used", f"{data['n_rows_read']:,}, {data['n_rows']:,}")
    for role, columns in data["roles"].items():
        if columns:
            add_row(made, role, ", ".join(columns))
    add_row(made, "split", f"hash {split['hash']}, seed {split['split_seed']}")
    add_row(made, "seed", manifest["seed"])
    add_row(made, "config hash", manifest["config_hash"])
    add_row(made, "name, tags", f"{manifest['name'] or '-'}, {', '.join(manifest['tags']) or '-'}")
    add_row(made, "started, took", f"{manifest['start']}, {manifest.get('seconds', '-')} s")
    add_row(made, "peak memory", f"{manifest.get('peak_memory_mb', '-')} MB")
    if git:
        add_row(made, "git", git["commit"] + (" (with changes)" if git["dirty"] else ""))
    add_row(made, "versions", versions)
    files = sorted(path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file())
    add_row(made, "files", ", ".join(str(file) for file in files))
    show_table(made)
