"""``segexp predict``: segments for new customers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segexp.predict import Predictions
    from segexp.runs import Run

STANDARD_OUTPUT = "-"
UNSEEN = ("unseen categories", "such as")


def execute(path: str, table: str, words: Sequence[str], output: str, *, force: bool) -> int:
    """Score a table, write it, and tell on standard error what was found."""
    from segexp.predict import (
        check_output,
        open_finished,
        predict_table,
        to_csv,
        write_predictions,
    )

    to_file = output != STANDARD_OUTPUT
    if to_file:
        check_output(Path(output), force=force, table=Path(table))
    run = open_finished(Path(path))
    predictions = predict_table(run, table, words)
    if to_file:
        write_predictions(predictions, Path(output), force=force)
    else:
        content = to_csv(predictions)
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    with redirect_stdout(sys.stderr):  # standard output belongs to the table
        _print_summary(run, predictions, table, output if to_file else "standard output")
    return 0


def _print_summary(run: Run, predictions: Predictions, table: str, output: str) -> None:
    from segexp.cli.console import say
    from segexp.runs import SYNTHETIC

    say(f"{table}: {len(predictions.table):,} customers by {run.path}", style="bold")
    if run.manifest["dataset"]["synthetic"]:
        say(f"the model learned from {SYNTHETIC}", style="yellow")
    say()
    _print_segments(predictions)
    _print_columns(predictions)
    for note in predictions.notes:
        say(f"  - {note}")
    say(f"written to {output}")


def _print_segments(predictions: Predictions) -> None:
    from segexp.cli.console import add_row, show_table, table

    if predictions.segments.empty:
        return
    known = predictions.segments["training_share"].notna().any()
    columns = ("segment", "customers", "share", *(["in training"] if known else []))
    made = table("", columns, right=columns[1:])
    for name, row in predictions.segments.iterrows():
        training = [_percent(row["training_share"])] if known else []
        add_row(made, name, f"{row['customers']:,.0f}", _percent(row["share"]), *training)
    show_table(made)


def _print_columns(predictions: Predictions) -> None:
    """Print the columns in which a cell is missing or holds what the training rows lacked."""
    from segexp.cli.console import add_row, show_table, table

    said = predictions.columns
    said = said[(said["missing"] > 0) | (said["unseen"] != 0)]
    if said.empty:
        return
    unseen = (said["unseen"] != 0).any()
    columns = ("column", "missing", "share", "in training", *(UNSEEN if unseen else ()))
    made = table("", columns, right=columns[1:5])
    for name, row in said.iterrows():
        counted = "not counted" if row["unseen"] != row["unseen"] else f"{row['unseen']:,.0f}"
        add_row(
            made, name, f"{row['missing']:,}",
            _percent(row["missing"] / max(len(predictions.table), 1)),
            _percent(row["training_share"]), *((counted, row["unseen_values"]) if unseen else ()),
        )  # fmt: skip
    show_table(made)


def _percent(share: float) -> str:
    return "-" if share != share else f"{share:.1%}"
