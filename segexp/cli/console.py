"""How the command line prints: tables, notes, progress."""

from __future__ import annotations

import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

    from segexp.experiment import Reporter
    from segexp.plan import Plan
    from segexp.runs import Run
    from segexp.search.trial import Trial
    from segexp.sweep import SweepReporter

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
    if abs(value) >= 1e9:
        return f"{value:.3g}"
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
    from segexp.experiment import Reporter

    with _bar() as bar:
        state = _Tally()

        def step(done: int, total: int, what: str) -> None:
            bar.update(completed=done, total=total, description=f"{clean(what)}{state}")

        def trial(study: str, trial: Trial, best: Trial | None) -> None:
            state.count(trial)
            state.note(study, best)

        yield Reporter(
            say=lambda text: bar.update(description=clean(text)), progress=step, trial=trial
        )


class _Tally:
    """Trials that were made, and the best of them."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.best = ""
        self._bests: dict[str, tuple[float, float]] = {}  # signed, so that more is better; as is

    def count(self, trial: Trial) -> None:
        self.states[trial.state] += 1

    def note(self, study: str, best: Trial | None) -> None:
        if best is not None:
            self._bests[study] = (best.sign * best.mean(0), best.mean(0))
            self.best = f", best {number(max(self._bests.values())[1])} (selection)"

    def __str__(self) -> str:
        if not self.states:
            return ""
        failed = self.states["FAIL"] + self.states["INVALID"]
        parts = [f"{self.states.total()} trials", f"{self.states['PRUNED']} pruned"]
        parts += [f"{failed} failed"] if failed else []
        return f" | {', '.join(parts)}{self.best}"


class _Bar:
    """One line of rich's progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def update(self, **changes: Any) -> None:
        self._progress.update(self._task, **changes)


@contextmanager
def _bar() -> Iterator[_Bar]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield _Bar(progress)


@contextmanager
def sweep_reporting(
    plans: Sequence[Plan], cells: Sequence[Sequence[str]], words: Sequence[str]
) -> Iterator[SweepReporter]:
    """Draw one line for all cells of a sweep, and leave one line for each that ended."""
    from segexp.cli.sweep_view import varying_words
    from segexp.experiment import Reporter
    from segexp.runs import FAILED
    from segexp.sweep import SweepReporter

    names = [varying_words(cell, words) for cell in cells]
    sizes = [(plan.n_search_fits or 0) + plan.n_fits for plan in plans]
    with _bar() as bar:
        state = _Tally()
        shares = dict.fromkeys(range(len(cells)), 0.0)
        bests: dict[int, tuple[float, float]] = {}  # signed, so that more is better; as it is
        ended: Counter[str] = Counter()

        def draw() -> None:
            failed = f", {ended[FAILED]} failed" if ended[FAILED] else ""
            best = ""
            if bests:
                who = max(bests, key=lambda number: bests[number][0])
                best = f", best {number(bests[who][1])} by {names[who]} (selection)"
            state.best = best
            done = sum(size * shares[i] for i, size in enumerate(sizes))
            text = f"{ended.total()} of {len(cells)} cells done{failed}{state}"
            bar.update(completed=round(done), total=sum(sizes), description=clean(text))

        def cell(number_: int) -> Reporter:
            def step(done: int, total: int, what: str) -> None:
                shares[number_] = done / total
                draw()

            def trial(study: str, trial: Trial, best: Trial | None) -> None:
                state.count(trial)
                if best is not None:
                    found = (best.sign * best.mean(0), best.mean(0))
                    bests[number_] = max(found, bests.get(number_, found))

            return Reporter(progress=step, trial=trial)

        def cell_ended(number_: int, status: str, run: Run | None, cause: str | None) -> None:
            ended[status] += 1
            shares[number_] = 1.0
            draw()
            if not err.is_terminal or status == FAILED:
                text = f"[{ended.total()}/{len(cells)}] {names[number_]}: {status}"
                say(f"{text}: {cause}" if cause else text, "red" if status == FAILED else "")

        yield SweepReporter(
            say=lambda text: bar.update(description=clean(text)), cell=cell, ended=cell_ended
        )
