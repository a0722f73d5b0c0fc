"""How the command line prints: tables, notes, progress."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from segexp.experiment import Reporter

# No width: a name or a path that a narrow table would cut could be neither read nor copied, and
# the terminal wraps long lines by itself.
out = Console(highlight=False, soft_wrap=True, width=10_000)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def clean(value: object) -> str:
    """Return text whose control characters cannot act on the terminal."""
    text = str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(text: object = "", style: str = "") -> None:
    """Print one line; brackets in it are not markup."""
    out.print(Text(clean(text), style=style))


def table(title: str, columns: Sequence[str], right: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns named in ``right`` hold numbers."""
    # `caption` only carries the title: rich would wrap a title at the width of the columns.
    made = Table(
        caption=clean(title),
        box=None,
        pad_edge=False,
        header_style="bold",
        show_header=any(columns),
    )
    for name in columns:
        made.add_column(
            Text(clean(name)),
            justify="right" if name in right else "left",
        )
    return made


def add_row(made: Table, *cells: object, style: str = "") -> None:
    """Add a row of plain texts; brackets in them are not markup."""
    made.add_row(*(Text(clean(cell)) for cell in cells), style=style or None)


def show_table(made: Table) -> None:
    """Print a table under its title, and an empty line."""
    title, made.caption = str(made.caption or ""), None
    if title:
        say(title, style="bold")
    with out.capture() as drawn:
        out.print(made, soft_wrap=False)
    for line in drawn.get().splitlines():
        print(line.rstrip())
    say()


def number(value: Any, digits: int = 4) -> str:
    """Format a figure; ``-`` where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.0000


def age(iso: str, now: datetime | None = None) -> str:
    """Return how long ago a time was, for people: ``5 min``, ``3 h``, ``12 d``."""
    try:
        then = datetime.fromisoformat(iso)
    except ValueError:
        return "-"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


class _CleanFormatter(logging.Formatter):
    """Keeps control characters of logged names off the terminal; line ends stay."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(clean(line) for line in super().format(record).split("\n"))


def log_to_terminal() -> None:
    """Send segexp's log to standard error as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_CleanFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger("segexp").addHandler(handler)
    logging.getLogger("segexp").setLevel(logging.INFO)


@contextmanager
def reporting() -> Iterator[Reporter]:
    """Draw a run's progress on standard error while the block runs; nothing is left of it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from segexp.experiment import Reporter

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("starting", total=None)

        def step(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=f"fitted {clean(what)}")

        yield Reporter(
            say=lambda text: progress.update(task, description=clean(text)), progress=step
        )
