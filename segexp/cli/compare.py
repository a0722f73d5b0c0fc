"""``segexp compare``: runs side by side, ranked where they can be."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segexp.errors import ConfigError, RunError

if TYPE_CHECKING:
    from segexp.comparison.compare import Comparison
    from segexp.comparison.tables import Table


def execute(
    words: Sequence[str],
    *,
    metric: str | None,
    baseline: str | None,
    every: bool,
    alpha: float,
    rope: float,
    formats: Sequence[str],
    html: str | None,
    force: bool,
) -> int:
    """Compare the runs that ``words`` name; print tables, or write them in other formats.

    A word with the ending of a format that is asked for (``--csv table.csv``) is a file to write.
    """
    from segexp.cli.compare_view import print_comparison, print_next
    from segexp.cli.console import clean
    from segexp.cli.export import FORMATS, check_target, write_whole
    from segexp.comparison.compare import compare
    from segexp.comparison.reading import gather

    folders, files = _sorted(words, formats)
    printed = [name for name in formats if name not in files]
    if len(printed) > 1:
        named = [f"--{name} table{FORMATS[name][0]}" for name in printed]
        raise ConfigError(f"one format at a time can be printed; name files: {' '.join(named)}")
    for name, path in files.items():
        check_target(path, FORMATS[name][0], force=force)
    if html is not None:
        check_target(Path(html), ".html", force=force)
    entries, problems = gather(folders)
    comparison = compare(
        entries, problems, metric=metric, baseline=baseline, alpha=alpha, rope=rope, all_keys=every
    )
    comparison = replace(comparison, tables=_told_apart(comparison.tables))
    if not comparison.tables:
        raise RunError(_nothing(comparison, folders))
    # Files first: a reader who stops (`| head`) does not keep them from being written.
    written = list(files.values())
    for name, path in files.items():
        write_whole(path, FORMATS[name][1](comparison, every).encode())
    if html is not None:
        from segexp.comparison_page import comparison_page

        page = Path(html)
        write_whole(page, comparison_page(comparison, page.parent).encode())
        written.append(page)
    for name in printed:
        sys.stdout.write(FORMATS[name][1](comparison, every))
        if name != "json":  # which holds them
            _warn(comparison)
    if not printed:
        print_comparison(comparison, every)
        print_next(comparison, folders)
    for path in written:
        print(clean(f"written to {path}"), file=sys.stderr)
    return 0


def _sorted(words: Sequence[str], formats: Sequence[str]) -> tuple[list[str], dict[str, Path]]:
    """Return the folders among words, and the file of each format that has one."""
    from segexp.cli.export import FORMATS

    folders: list[str] = []
    files: dict[str, Path] = {}
    unnamed: list[str] = []  # look like files
    for word in words:
        path = Path(word)
        format_ = next((f for f in formats if FORMATS[f][0] == path.suffix.lower()), None)
        if path.is_dir() or glob.has_magic(word) or (format_ is None and not path.suffix):
            folders.append(word)
        elif format_ is None:
            unnamed.append(word)
        elif format_ in files:
            raise ConfigError(f"--{format_} takes one file, got {files[format_]} and {path}")
        else:
            files[format_] = path
    waiting = [f"a file of --{f} must end in {FORMATS[f][0]}" for f in formats if f not in files]
    if unnamed and waiting:
        raise ConfigError(f"{unnamed[0]} is no folder; {', '.join(waiting)}")
    return [*folders, *unnamed] or ["outputs"], files


def _told_apart(tables: Sequence[Table]) -> tuple[Table, ...]:
    """Return tables with the fingerprint in the title where several data sets have one name."""
    data = [table.rows[0].entries[0].manifest["dataset"] for table in tables]
    prints: dict[str, set[str]] = {}
    for one in data:
        prints.setdefault(one["name"], set()).add(one["fingerprint"])
    return tuple(
        replace(table, title=table.title.replace(name, f"{name} {one['fingerprint'][:8]}", 1))
        if len(prints[name := one["name"]]) > 1
        else table
        for table, one in zip(tables, data, strict=True)
    )


def _nothing(comparison: Comparison, folders: Sequence[str]) -> str:
    """Say in one line why there is no table."""
    many = len(comparison.problems)
    where = ", ".join(folders)
    if many == 0:
        return f"{where}: no runs in it; make some with: segexp sweep model=lightgbm,xgboost"
    first = comparison.problems[0]
    each = f"none of the {many} runs can be compared" if many > 1 else "its run cannot be compared"
    return f"{where}: {each}; {first.path}: {first.status}: {first.cause}"


def _warn(comparison: Comparison) -> None:
    """Say on standard error what is no row; standard output belongs to the tables."""
    from segexp.cli.console import clean

    for problem in comparison.problems:
        line = f"not ranked: {problem.path}: {problem.status}: {problem.cause}"
        print(clean(line), file=sys.stderr)
