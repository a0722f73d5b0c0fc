"""How runs side by side look: the columns of a table, in words, at the width of the terminal."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, clean, number, say, show_table, table
from segexp.metrics import metric_by_name
from segexp.runs import SYNTHETIC

if TYPE_CHECKING:
    from segexp.comparison.across import Ranks
    from segexp.comparison.compare import Comparison
    from segexp.comparison.entries import Problem
    from segexp.comparison.rows import Row
    from segexp.comparison.statistics import Paired
    from segexp.comparison.tables import Table

MOST_ROWS = 50  # without --all
MOST_KEYS = 6
MOST_PROBLEMS = 20
TIE = "="
_LONGEST = 40  # letters of a config value, without --all
_NARROWEST = 16  # letters that a column of texts keeps before columns are left out
_GAP = 2
# What is shown beside the metric that ranks; the others with --all.
_BESIDE = {
    "classification": ("accuracy", "f1_macro", "log_loss", "ari"),
    "clustering": ("stability", "n_segments", "smallest_share", "noise_share"),
    "value": ("holdout_log_likelihood", "mae", "abs_bias", "top_decile_share"),
    "baskets": ("held_out_confidence", "rules_kept", "coverage", "n_rules"),
}


@dataclass(frozen=True)
class Column:
    """One column of texts; where a terminal is narrow the highest ``leaves`` goes first."""

    name: str
    cells: tuple[str, ...]
    is_number: bool = True
    leaves: int = 0  # 0 stays


@dataclass(frozen=True)
class Grid:
    """A table as texts: its rows, then its baselines."""

    columns: tuple[Column, ...]
    n_rows: int
    n_baselines: int
    left_out: tuple[str, ...]  # names of config keys and metrics that only --all shows

    def rows(self) -> list[tuple[str, ...]]:
        """Return the texts row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


def grid_of(table: Table, every: bool = False) -> Grid:
    """Lay out a table: rank, tie, run, what differs, metrics, seconds.

    Parameters
    ----------
    every : bool
        With every row, key, metric and test, also where that is wide.
    """
    shown = table.rows if every else table.rows[:MOST_ROWS]
    rows = [*shown, *table.baselines]
    n_baselines = len(table.baselines)

    def column(name: str, of: Callable[[Row], str], leaves: int = 0, text: bool = False) -> Column:
        return Column(name, tuple(of(row) for row in rows), not text, leaves)

    keys = list(dict.fromkeys(key for row in shown for key in row.varying))
    if not every or len(keys) == 1:  # what every label says already is no column
        keys = [key for key in keys if not all(_is_said(row, key) for row in shown)]
    kept = keys if every else keys[:MOST_KEYS]
    beside = [name for name in table.metrics if name != table.metric]
    more = beside if every else [name for name in _BESIDE[table.kind] if name in beside]
    columns = [
        column("rank", lambda row: "" if row.rank is None else str(row.rank)),
        column("", lambda row: TIE if row.tied_with_best and row.rank != 1 else "", text=True),
        Column("run", tuple(_labels(shown, table.baselines)), is_number=False),
        *(
            column(short, lambda row, key=key: _setting(row, key, every), 6, text=True)  # type: ignore[misc]
            for key, short in zip(kept, short_names(kept), strict=True)
        ),
        column(directed(table.metric), lambda row: number(row.mean)),
        column("sd", lambda row: number(row.std), 8),
        column(_interval_name(table), lambda row: span(row.interval), 5),
    ]
    if any(len(row.entries) > 1 for row in rows):
        columns += [
            column("seeds", lambda row: str(len(row.entries)), 7),
            column("sd of seeds", lambda row: number(row.seed_std), 9),
        ]
    if any(row.to_best is not None for row in rows):
        columns += _tests(column, every)
    columns += [
        *(
            column(directed(name), lambda row, name=name: number(row.mean_of(name)), 10)  # type: ignore[misc]
            for name in more
        ),
        column("fit s", lambda row: number(row.fit_seconds, 2), 8),
    ]
    left_out = (*keys[len(kept) :], *(name for name in beside if name not in more))
    return Grid(tuple(columns), len(shown), n_baselines, left_out)


def _tests(column: Callable[..., Column], every: bool) -> list[Column]:
    def of(pick: Callable[[Paired], str]) -> Callable[[Row], str]:
        return lambda row: "" if row.to_best is None else pick(row.to_best)

    columns = [column("difference", of(lambda paired: signed(paired.mean)), 4)]
    if every:
        columns += [
            column("its interval", of(lambda paired: span(paired.interval)), 9),
            column("p", of(lambda paired: probability(paired.p)), 9),
            column("p (Holm)", of(lambda paired: probability(paired.p_holm)), 9),
        ]
    columns += [column("p_better", of(lambda paired: probability(paired.p_better)), 3)]
    if every:
        columns += [
            column("p_equivalent", of(lambda paired: probability(paired.p_equivalent)), 9),
            column("p_worse", of(lambda paired: probability(paired.p_worse)), 9),
        ]
    return columns


def _labels(rows: Sequence[Row], baselines: Sequence[Row]) -> Iterable[str]:
    yield from (row.label for row in rows)
    for row in baselines:
        yield row.label if row.label.startswith("baseline") else f"baseline {row.label}"


def _is_said(row: Row, key: str) -> bool:
    return plain(row.varying.get(key)) in row.label.split()


def _setting(row: Row, key: str, every: bool) -> str:
    text = plain(row.varying[key]) if key in row.varying else ""
    return text if every or len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _interval_name(table: Table) -> str:
    levels = {entry.manifest.get("confidence") for row in table.rows for entry in row.entries}
    if len(levels) > 1:
        return "interval (levels differ)"
    level = levels.pop()
    return f"{100 * level:g}% interval" if isinstance(level, float) else "interval"


def plain(value: Any) -> str:
    """Return a config value as it is written in YAML; ``""`` for none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def directed(metric: str) -> str:
    """Return the name of a metric, and say so where less is better."""
    return metric if metric_by_name(metric).greater_is_better else f"{metric} (less is better)"


def signed(value: float | None) -> str:
    """Format a difference with its sign."""
    if value is None or math.isnan(value):
        return "-"
    return f"{round(value, 4) + 0.0:+.4f}"


def span(interval: tuple[float, float] | None) -> str:
    """Format an interval; ``-`` where there is none."""
    if interval is None or any(math.isnan(end) for end in interval):
        return "-"
    return f"{number(interval[0])} .. {number(interval[1])}"


def probability(value: float | None) -> str:
    """Format a probability with three digits; never 0 for what is only small."""
    if value is None or math.isnan(value):
        return "-"
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def short_names(keys: Sequence[str]) -> list[str]:
    """Return the shortest endings of dotted keys that tell them apart.

    Examples
    --------
    >>> short_names(["model.name", "model.estimator.C", "search.name"])
    ['model.name', 'C', 'search.name']
    """
    found = []
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts) - 1, -1, -1):
            short = ".".join(parts[start:])
            same = sum(other == short or other.endswith(f".{short}") for other in keys)
            if (same == 1 and short != "name") or start == 0:
                break
        found.append(short)
    return found


# --------------------------------------------------------------------------------------
# In words


def words_of(table: Table) -> list[str]:
    """Say what the marks of a table mean, and what a reader must know."""
    best = table.rows[0]
    others = [row for row in table.rows[1:] if _is_told(row, table)]
    untested = [row.label for row in table.rows[1:] if not _is_told(row, table)]
    tested = [row for row in others if row.is_tested]
    lines = list(table.notes)
    if others and not tested:
        lines.append(f"{TIE}: no fold differs from the best, {best.label}")
    if tested:
        other_runs = "other runs that were tested" if untested else "other runs"
        ties = sum(row.tied_with_best for row in others)
        if ties == 0:
            every = other_runs.replace("runs", "run").replace("were", "was")
            said = f"every {every} is separable from the best, {best.label}"
        elif ties == len(others) == 1:
            said = f"the other run is not separable from the best ({TIE})"
        elif ties == len(others):
            said = f"the {ties} {other_runs} are not separable from the best ({TIE})"
        else:
            are = "is" if ties == 1 else "are"
            some_of = f"{ties} of the {len(others)} {other_runs}"
            said = f"{some_of} {are} not separable from the best ({TIE})"
        lines.append(
            f"{said}: corrected resampled t-test, paired on {table.n_folds} folds, "
            f"{'Holm-corrected, ' if len(tested) > 1 else ''}level {table.alpha:g}"
        )
        other = f"than {table.reference}" if table.reference != best.label else "than the best"
        lines.append(
            f"p_better: probability of being better {other} by more than {table.rope:.3g} "
            f"in {table.metric} (correlated Bayesian t-test)"
        )
    if table.reference and table.reference != best.label:
        lines.append(f"differences are to {table.reference}; positive is better")
    if untested and tested:
        lines.append(f"not tested against the best: {some(untested)}")
    last = table.kind == "clustering" and not all(row.usable for row in table.rows)
    how = "is no usable segmentation, and stands last" if last else "misses"
    lines += [f"{row.label} {how}: {'; '.join(row.usable)}" for row in table.rows if row.usable]
    return lines


def _is_told(row: Row, table: Table) -> bool:
    """Return whether it is known if a row is separable from the best."""
    return row.is_tested or row.tied_with_best or row.label == table.reference


def ranks_words(ranks: Ranks) -> str:
    """Say what the ranks across data sets show."""
    said = (
        f"Friedman's test over {len(ranks.datasets)} data sets: p {probability(ranks.friedman_p)}"
    )
    if ranks.critical_difference is None:
        return f"{said}; no difference between mean ranks is more than luck"
    groups = "; ".join(", ".join(group) for group in ranks.groups) or "none"
    return (
        f"{said}; mean ranks differ by more than luck from {number(ranks.critical_difference, 2)} "
        f"on (Nemenyi's test); not separable: {groups}"
    )


def ranks_title(ranks: Ranks) -> str:
    """Return what stands above the ranks."""
    return f"ranks across data sets by {ranks.metric}: 1 is best"


def ranks_grid(ranks: Ranks) -> Grid:
    """Lay out the ranks across data sets, the best mean first."""
    order = sorted(range(len(ranks.labels)), key=lambda i: float(ranks.mean_ranks[i]))
    columns = (
        Column("run", tuple(ranks.labels[i] for i in order), is_number=False),
        Column("mean rank", tuple(number(float(ranks.mean_ranks[i]), 2) for i in order)),
        *(
            Column(name, tuple(number(float(ranks.ranks[row, i]), 1) for i in order), leaves=1)
            for row, name in enumerate(ranks.datasets)
        ),
    )
    return Grid(columns, len(order), 0, ())


def some(names: Sequence[str], most: int = 8) -> str:
    """Return the first names, and how many there are beyond."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


# --------------------------------------------------------------------------------------
# On the terminal


def terminal_width() -> int | None:
    """Return the letters in a line; None where the output is no terminal."""
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def show_columns(
    title: str, columns: Sequence[Column], styles: Mapping[int, str] | None = None
) -> list[str]:
    """Print columns at the width of the terminal: texts fold, then columns are left out.

    Parameters
    ----------
    styles : mapping of int to str
        Styles of rows, by their place.

    Returns
    -------
    list of str
        The names of the columns that were left out.
    """
    kept, widths, left_out = fit(columns, terminal_width())
    made = table(title, [column.name for column in kept], [c.name for c in kept if c.is_number])
    for drawn, width in zip(made.columns, widths, strict=True):
        drawn.max_width, drawn.overflow = width, "fold"
    for i in range(len(kept[0].cells)):
        add_row(made, *(column.cells[i] for column in kept), style=(styles or {}).get(i, ""))
    show_table(made)
    return left_out


def fit(columns: Sequence[Column], width: int | None) -> tuple[list[Column], list[int], list[str]]:
    """Return the columns that fit into a width, the width of each, and the names of the others."""
    from rich.cells import cell_len

    def natural(column: Column) -> int:
        return max(cell_len(clean(text)) for text in (column.name, *column.cells))

    kept = list(columns)
    left_out: list[str] = []

    def least() -> int:
        needed = [natural(c) if c.is_number else min(natural(c), _NARROWEST) for c in kept]
        return sum(needed) + _GAP * (len(needed) - 1)

    while width is not None and least() > width and any(column.leaves for column in kept):
        # Of equals the last one goes first.
        going = max(range(len(kept)), key=lambda i: (kept[i].leaves, i))
        left_out.insert(0, kept.pop(going).name)
    widths = [natural(column) for column in kept]
    room = math.inf if width is None else width - _GAP * (len(kept) - 1)
    texts = [i for i, column in enumerate(kept) if not column.is_number]
    while sum(widths) > room:  # the widest text gives way
        widest = max(texts, key=lambda i: widths[i], default=None)
        if widest is None or widths[widest] <= 4:
            break
        widths[widest] -= 1
    return kept, widths, left_out


def print_comparison(comparison: Comparison, every: bool) -> None:
    """Print every table with its words, ranks across data sets, and what is not ranked."""
    for found in comparison.tables:
        _print_table(found, every)
    if comparison.ranks is not None:
        _print_ranks(comparison.ranks)
    if comparison.note:
        say(comparison.note)
        say()
    print_problems(comparison.problems, every)


def _print_table(found: Table, every: bool) -> None:
    say(found.title, style="bold")
    if found.reason:
        say(f"a table of its own: {found.reason}", style="yellow")
    if found.synthetic:
        say(SYNTHETIC, style="yellow")
    grid = grid_of(found, every)
    styles = dict.fromkeys(range(grid.n_rows, grid.n_rows + grid.n_baselines), "dim")
    styles |= {i: "dim" for i, row in enumerate(found.rows[: grid.n_rows]) if row.usable}
    too_wide = show_columns("", grid.columns, styles)
    if grid.n_rows < len(found.rows):
        say(f"and {len(found.rows) - grid.n_rows} more runs, which --all shows")
    for line in words_of(found):
        say(line)
    if too_wide:
        say(f"left out for want of width: {', '.join(too_wide)}; --csv or --html shows them")
    if grid.left_out:
        say(f"with --all: {some(grid.left_out)}")
    say()


def _print_ranks(ranks: Ranks) -> None:
    show_columns(ranks_title(ranks), ranks_grid(ranks).columns)
    say(ranks_words(ranks))
    say()


def print_problems(problems: Sequence[Problem], every: bool = False) -> None:
    """Print the directories that are no row, each with its cause."""
    if not problems:
        return
    shown = problems if every else problems[:MOST_PROBLEMS]
    say("not ranked", style="bold")
    for problem in shown:
        cause = f": {problem.cause}" if problem.cause else ""
        say(f"  {problem.path}: {problem.status}{cause}", style="yellow")
    if len(shown) < len(problems):
        say(f"  and {len(problems) - len(shown)} more, which --all shows", style="yellow")
    say()


def print_next(comparison: Comparison, words: Sequence[str]) -> None:
    """Print what to type next."""
    commands = []
    first = comparison.tables[0].rows
    if first:
        commands.append((["segexp", "show", str(first[0].entries[0].path)], "the best in full"))
    pair = next((found.rows[:2] for found in comparison.tables if len(found.rows) > 1), None)
    if pair:
        paths = [str(row.entries[0].path) for row in pair]
        commands.append((["segexp", "diff", *paths], "the first two, fold by fold"))
    page = ["segexp", "compare", *words, "--html", "comparison.html"]
    commands.append((page, "a page to sort, filter and send"))
    if resumed := next(filter(None, map(_resume, comparison.problems)), None):
        commands.append((resumed, "go on with what did not finish"))
    say("next:", style="bold")
    for command, why in commands:
        say(f"  {clean(shlex.join(command))}    # {why}")


def _resume(problem: Problem) -> list[str]:
    """Return the command that goes on with a run or with the sweep of a cell; [] for none."""
    from segexp.runs import FAILED, INTERRUPTED, KILLED, is_sweep

    if problem.status not in (FAILED, INTERRUPTED, KILLED):
        return []
    # A cell that never became a run is told as its sweep and [its words].
    places = [found.start() for found in re.finditer(r" \[", problem.path)]
    sweep = next((p for i in places if is_sweep(Path(p := problem.path[:i]))), None)
    again = ["--retry-failed"] if sweep and problem.status == FAILED else []
    return ["segexp", "resume", sweep or problem.path, *again]
