"""``segexp diff``: what two runs differ in, and how sure that is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.errors import ConfigError, RunError

if TYPE_CHECKING:
    from segexp.comparison.diff import Difference
    from segexp.comparison.entries import Entry
    from segexp.comparison.statistics import Paired

MOST_FOLDS = 30  # beyond, one line per repeat


def execute(
    a: str,
    b: str,
    *,
    metric: str | None,
    rope: float,
    every: bool,
    png: str | None,
    svg: str | None,
    force: bool,
) -> int:
    """Print what two runs differ in; draw the folds where a file is named."""
    from segexp.cli.console import clean, say
    from segexp.cli.export import check_target, write_whole
    from segexp.comparison.diff import diff

    targets = {kind: Path(name) for kind, name in (("png", png), ("svg", svg)) if name is not None}
    for kind, path in targets.items():
        check_target(path, f".{kind}", force=force)
    first, second = _only(a), _only(b)
    if first.path.resolve() == second.path.resolve():
        raise ConfigError(f"{a} and {b}: this is the same run")
    found = diff(first, second, metric=metric, rope=rope)
    if targets and found.paired is None:
        raise RunError(f"no figure of the folds: {found.comparable or _why_untested(found)}")
    _print_difference(found, every)
    if targets:
        drawn = _draw(found, rope)
        for kind, path in targets.items():
            write_whole(path, drawn[kind])
            say(f"written to {path}")
    say("next:", style="bold")
    for command, why in (
        (["segexp", "show", str(found.a.path)], "a in full"),
        (["segexp", "show", str(found.b.path)], "b in full"),
        (["segexp", "compare", str(found.a.path.parent)], "every run beside them"),
    ):
        say(f"  {clean(shlex.join(command))}    # {why}")
    return 0


def _draw(found: Difference, rope: float) -> dict[str, bytes]:
    from segexp.figures.comparison import fold_differences
    from segexp.figures.look import render
    from segexp.metrics import metric_by_name

    metric, paired = metric_by_name(found.metric), found.paired
    figure = fold_differences(
        found.a.values[metric.name],
        found.b.values[metric.name],
        (found.a.label, found.b.label),
        metric.name,
        metric.greater_is_better,
        mean=paired.mean if paired else None,
        interval=paired.interval if paired and paired.p is not None else None,
        rope=rope if metric.high <= 1 else None,
    )
    return render(figure)


def _only(word: str) -> Entry:
    """Return the one run that a word names."""
    from segexp.comparison.reading import gather

    entries, problems = gather([word])
    if len(entries) == 1 and not problems:
        return entries[0]
    if not entries and len(problems) == 1:
        raise RunError(f"{problems[0].path}: {problems[0].status}: {problems[0].cause}")
    one = entries[0].path if entries else problems[0].path
    many = len(entries) + len(problems)
    raise RunError(f"{word} holds {many} runs and diff takes one; name it, such as {one}")


def _print_difference(found: Difference, every: bool) -> None:
    from segexp.cli.console import say

    say(f"a: {found.a.path}", style="bold")
    say(f"b: {found.b.path}", style="bold")
    say()
    if found.comparable:
        say(f"not comparable: {found.comparable}", style="yellow")
        say()
    for note in found.notes:
        say(note)
    if found.notes:
        say()
    _print_config(found, every)
    _print_metrics(found, every)
    if found.paired is not None:
        say(_verdict(found.metric, found.paired))
        say()
        _print_folds(found, found.paired)
    elif not found.comparable:
        say(_why_untested(found), style="yellow")
        say()
    _print_sides("data", found.data)
    _print_sides("environment", found.environment)


def _print_config(found: Difference, every: bool) -> None:
    """Print the settings; of what a search may vary only what it is, not its ranges."""
    from segexp.cli.console import say

    # A key that is null here and absent there makes no difference.
    sides = [side for side in found.config if every or side[1:] != (None, None)]
    shown = [side for side in sides if every or ".space." not in f".{side[0]}."]
    _print_sides("config", shown)
    if len(shown) < len(sides):
        say(f"and {len(sides) - len(shown)} keys of search spaces, which --all shows")
        say()


def _print_sides(title: str, sides: Sequence[tuple[str, Any, Any]]) -> None:
    from segexp.cli.compare_view import Column, plain, show_columns
    from segexp.cli.console import say

    if not sides:
        say(f"{title}: nothing differs")
        say()
        return
    names, a, b = zip(*sides, strict=True)
    columns = [
        Column(title, tuple(str(name) for name in names), is_number=False),
        Column("a", tuple(plain(value) or "-" for value in a), is_number=False),
        Column("b", tuple(plain(value) or "-" for value in b), is_number=False),
    ]
    show_columns("", columns)


def _print_metrics(found: Difference, every: bool) -> None:
    from segexp.cli.compare_view import (
        Column,
        directed,
        probability,
        show_columns,
        signed,
        span,
    )
    from segexp.cli.console import number, say

    rows = found.metrics.to_dict("records")
    if not every:
        rows = [row for row in rows if "[" not in str(row["metric"])]
    if not rows:
        say("metrics: nothing that both have")
        say()
        return
    columns = [
        Column("metric", tuple(directed(str(row["metric"])) for row in rows), is_number=False),
        Column("a", tuple(number(row["a"]) for row in rows)),
        Column("b", tuple(number(row["b"]) for row in rows)),
        Column("a better by", tuple(signed(row["difference"]) for row in rows)),
        Column("95% interval", tuple(span((row["low"], row["high"])) for row in rows), leaves=1),
        Column("p", tuple(probability(row["p"]) for row in rows), leaves=2),
    ]
    primary = [i for i, row in enumerate(rows) if row["metric"] == found.metric]
    show_columns("", columns, dict.fromkeys(primary, "bold"))
    hidden = len(found.metrics) - len(rows)
    if hidden:
        say(f"and {hidden} metrics of single segments, which --all shows")
        say()


def _why_untested(found: Difference) -> str:
    lacking = [
        side for side, entry in (("a", found.a), ("b", found.b))
        if entry.mean_of(found.metric) is None
    ]  # fmt: skip
    if lacking:
        return f"{' and '.join(lacking)} {'have' if lacking[1:] else 'has'} no {found.metric}"
    return f"{found.metric}: nothing to test; there are fewer than two folds"


def _verdict(metric: str, paired: Paired) -> str:
    from segexp.cli.compare_view import probability, signed, span

    mean, n = paired.mean, paired.n
    if paired.p is None:
        return f"{metric}: a and b differ by {signed(mean)} on every fold; nothing to test"
    who = "a" if mean > 0 else "b"
    apart = paired.interval[0] > 0 or paired.interval[1] < 0
    said = f"{who} is better" if apart else "a and b are not separable"
    return (
        f"{metric}: {said}; difference {signed(mean)} (95% interval {span(paired.interval)}, "
        f"p {probability(paired.p)}, corrected resampled t-test on {n} folds); probability that "
        f"a is better {probability(paired.p_better)}, that they are as good as equal "
        f"{probability(paired.p_equivalent)}, that b is better {probability(paired.p_worse)}"
    )


def _print_folds(found: Difference, paired: Paired) -> None:
    """Draw each fold's difference as a bar: to the right a is better."""
    from segexp.cli.compare_view import Column, show_columns, signed, terminal_width

    lines = _fold_lines(found, paired)
    half = max(5, min(16, ((terminal_width() or 80) - 24) // 2))
    largest = max((abs(value) for _, value in lines), default=0.0) or 1.0
    bars = []
    for _, value in lines:
        bar = "#" * round(half * abs(value) / largest)
        bars.append(f"{bar if value < 0 else '':>{half}}|{bar if value > 0 else '':<{half}}")
    columns = [
        Column("fold", tuple(name for name, _ in lines), is_number=False),
        Column("a better by", tuple(signed(value) for _, value in lines)),
        Column(f"{'b ':>{half}}|{' a':<{half}}", tuple(bars), is_number=False),
    ]
    show_columns(f"{found.metric}, fold by fold", columns)


def _fold_lines(found: Difference, paired: Paired) -> list[tuple[str, float]]:
    """Return name and difference of each fold, or of each repeat where there are many."""
    import numpy as np

    defined = np.isfinite(found.a.values[found.metric]) & np.isfinite(found.b.values[found.metric])
    folds = [fold for fold, both in zip(found.a.folds, defined, strict=True) if both]
    values = [float(value) for value in paired.differences]
    repeats = sorted({repeat for repeat, _ in folds})
    if len(folds) > MOST_FOLDS and len(repeats) > 1:
        by_repeat = {
            repeat: [v for v, fold in zip(values, folds, strict=True) if fold[0] == repeat]
            for repeat in repeats
        }
        return [(f"repeat {r}, mean", sum(v) / len(v)) for r, v in by_repeat.items()]
    name = "{0}.{1}" if len(repeats) > 1 else "{1}"
    return [(name.format(*fold), v) for fold, v in zip(folds, values, strict=True)]
