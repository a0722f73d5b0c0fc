"""Tables of runs for other programs: CSV, Markdown, LaTeX, JSON; and files written whole.

Names, labels and config values come from run directories, which may be anybody's: none of them
becomes a formula, a tag, a link or a command in what is written here.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.cli.compare_view import (
    Grid,
    grid_of,
    ranks_grid,
    ranks_title,
    ranks_words,
    some,
    words_of,
)
from segexp.cli.console import clean
from segexp.errors import ConfigError, RunError
from segexp.runs import SYNTHETIC

if TYPE_CHECKING:
    from segexp.comparison.compare import Comparison
    from segexp.comparison.rows import Row
    from segexp.comparison.tables import Table

_MARKDOWN = re.compile(r"([\\`*_\[\]#|~$])")
# The start of a cell, also where a spreadsheet cuts at semicolons or tabs. Fullwidth signs are
# signs to spreadsheets in East Asian languages.
_FORMULA = re.compile(r"(^|[;\t][\s\"]*)(?= *[=+\-@\t\r\n＝＋－＠])")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
}  # fmt: skip


def to_csv(comparison: Comparison, every: bool = False) -> str:
    """Return one line per run and baseline; the column ``table`` says where it stands."""
    facts = ("reason", "synthetic", "n_folds", "alpha", "rope", "reference")
    records = [
        {"table": table.title, **record, **{name: getattr(table, name) for name in facts}}
        for table in comparison.tables
        for record in _records(table)
    ]
    columns = list(dict.fromkeys(key for record in records for key in record))
    buffer = io.StringIO()
    # A text in quotes is one cell also where a spreadsheet cuts at semicolons.
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([defused(name) for name in columns])
    writer.writerows([defused(record.get(name)) for name in columns] for record in records)
    return buffer.getvalue()


def _records(table: Table) -> list[dict[str, Any]]:
    """Return the rows as plain values, each with the level of its interval."""
    from segexp.comparison.tables import to_records

    return [
        {**record, "confidence": _confidence(row)}
        for row, record in zip((*table.rows, *table.baselines), to_records(table), strict=True)
    ]


def _confidence(row: Row) -> float | None:
    levels = {entry.manifest.get("confidence") for entry in row.entries}
    level = levels.pop() if len(levels) == 1 else None
    return level if row.interval and isinstance(level, float) else None


def defused(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; numbers stay numbers.

    Examples
    --------
    >>> defused("=1+1"), defused(-0.5), defused("lightgbm")
    ("'=1+1", -0.5, 'lightgbm')
    >>> defused("a;=1+1")
    "a;'=1+1"
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    return clean(_FORMULA.sub(r"\1'", str(value)))


def to_markdown(comparison: Comparison, every: bool = False) -> str:
    """Return each table as Markdown, with what its marks mean below."""
    parts = []
    for table in comparison.tables:
        grid = grid_of(table, every)
        parts.append(f"### {_markdown(table.title)}")
        parts += [_markdown(line) for line in _above(table)]
        parts.append(_markdown_table(grid))
        if said := _said(table, grid):
            parts.append("\n".join(f"- {_markdown(line)}" for line in said))
    if comparison.ranks is not None:
        parts.append(f"### {_markdown(ranks_title(comparison.ranks))}")
        parts.append(_markdown_table(ranks_grid(comparison.ranks)))
        parts.append(_markdown(ranks_words(comparison.ranks)))
    if comparison.note:
        parts.append(_markdown(comparison.note))
    if comparison.problems:
        lines = [_markdown(f"{p.path}: {p.status}: {p.cause}") for p in comparison.problems]
        parts.append("Not ranked:\n\n" + "\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _markdown_table(grid: Grid) -> str:
    names = [_markdown(column.name) or " " for column in grid.columns]
    rules = ["---:" if column.is_number else "---" for column in grid.columns]
    cells = [[_markdown(text) or " " for text in row] for row in grid.rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [names, rules, *cells])


def to_latex(comparison: Comparison, every: bool = False) -> str:
    """Return each table as LaTeX (needs booktabs), with what its marks mean in the caption."""
    parts = ["% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}"]
    for table in comparison.tables:
        grid = grid_of(table, every)
        parts += _latex_table(grid, (table.title, *_above(table), *_said(table, grid)))
    if comparison.ranks is not None:
        note = [comparison.note] if comparison.note else []
        words = (ranks_title(comparison.ranks), ranks_words(comparison.ranks), *note)
        parts += _latex_table(ranks_grid(comparison.ranks), words)
    elif comparison.note:
        parts.append(f"% {clean(comparison.note)}")
    parts += [f"% not ranked: {clean(p.path)}: {clean(p.cause)}" for p in comparison.problems]
    return "\n".join(parts).rstrip("\n") + "\n"


def _latex_table(grid: Grid, caption: Sequence[str]) -> list[str]:
    aligned = "".join("r" if column.is_number else "l" for column in grid.columns)
    lines = [_latex_row(row) for row in grid.rows()]
    if grid.n_baselines:
        lines.insert(grid.n_rows, r"\midrule")
    return [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{'. '.join(map(_latex, caption))}}}",
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        _latex_row([column.name for column in grid.columns]),
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]


def to_json(comparison: Comparison, every: bool = False) -> str:
    """Return everything as strict JSON; what is not a finite number is null."""
    plain = (
        "title", "reason", "kind", "metric", "n_folds", "rope", "alpha", "reference", "notes",
        "synthetic",
    )  # fmt: skip
    content = {
        "tables": [
            {**{name: getattr(table, name) for name in plain}, "rows": _records(table)}
            for table in comparison.tables
        ],
        "ranks": None if comparison.ranks is None else dataclasses.asdict(comparison.ranks),
        "note": comparison.note,
        "problems": [dataclasses.asdict(problem) for problem in comparison.problems],
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


FORMATS = {
    "csv": (".csv", to_csv),
    "md": (".md", to_markdown),
    "latex": (".tex", to_latex),
    "json": (".json", to_json),
}


def check_target(path: Path, ending: str, *, force: bool) -> None:
    """Check that a file can be written, before anything is computed.

    Raises
    ------
    ConfigError
        If it has another ending, its folder does not exist, or it exists and ``force`` is not set.
    """
    if path.suffix.lower() != ending:
        raise ConfigError(f"{path}: the name of this file must end in {ending}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; say --force to replace it, or another name")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    target = path.resolve()
    partial = target.with_name(f".{uuid.uuid4().hex[:8]}.partial")
    try:
        try:
            partial.write_bytes(content)
            partial.replace(target)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def _above(table: Table) -> list[str]:
    reason = [f"a table of its own: {table.reason}"] if table.reason else []
    return [*reason, *([SYNTHETIC] if table.synthetic else [])]


def _said(table: Table, grid: Grid) -> list[str]:
    more = len(table.rows) - grid.n_rows
    return [
        *([f"and {more} more runs, which --all shows"] if more else []),
        *words_of(table),
        *([f"with --all: {some(grid.left_out)}"] if grid.left_out else []),
    ]


def _markdown(text: str) -> str:
    escaped = _MARKDOWN.sub(r"\\\1", clean(text))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An address would become a link by itself.
    return escaped.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in clean(text))


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_latex_cell(text) for text in cells) + r" \\"


def _latex_cell(text: str) -> str:
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        return f"${text}$"
    # A bracket or a star after a line end would be an option of the line end.
    return f"{{{_latex(text)}}}" if text[:1] in ("[", "*") else _latex(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # of numpy
        return _finite(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
