"""A comparison as one HTML file that needs nothing else: no network, no server.

The page is complete without its script, which sorts, filters and hides; it can be printed and
read in the dark. Nothing that comes out of a run directory is trusted: text is escaped by the
template, letters that act without being seen are replaced, links lead to run directories on the
way that page and runs have in common, and the page's own policy lets a browser run its one script
only. Nor does a page that is sent tell where it was made: paths are relative to it, and settings
that say where something lies are left out.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from segexp.errors import ConfigError
from segexp.metrics import metric_by_name, undominated
from segexp.safe_html import address_of, asset, environment, policy, relative, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segexp.comparison.across import Ranks
    from segexp.comparison.compare import Comparison
    from segexp.comparison.entries import Entry
    from segexp.comparison.rows import Row
    from segexp.comparison.tables import Table

    Floats = NDArray[np.float64]

REPORT = "report.html"
STYLES, SCRIPTS = ("comparison.css",), ("comparison.js",)
_GROUPS = ("model", "preprocessing", "search")
_PLACES = ("run.outputs", "dataset.path", "dataset.url")  # where something lies

_MAX_LETTERS = 200  # of a name or a value; the whole is in the run directory
_SHOWN_AT_FIRST = 4  # of the metrics that do not rank, and of the config keys
_LABELLED_POINTS = 40  # more would lie on each other
_DOTS_WIDTH, _DOTS_HEIGHT = 160, 20
_CHART_WIDTH, _CHART_HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 20, 16, 30  # margins of the chart
_SHADES = 10  # of the heat map, besides none


def comparison_page(comparison: Comparison, folder: Path | None = None) -> str:
    """Return the page as text; the same comparison gives the same text.

    Parameters
    ----------
    comparison : Comparison
    folder : Path, optional
        Where the page will lie. Links to the runs are relative to it, so that page and runs can
        be moved together; without it there are none.

    Returns
    -------
    str
        HTML, to be written as UTF-8 and with its line ends as they are: the page's policy holds
        the checksums of its style and its script.
    """
    style, script = asset(*STYLES), asset(*SCRIPTS)
    return (
        environment()
        .get_template("comparison.html")
        .render(
            title=_page_title(comparison),
            policy=policy(style, script),
            style=style,
            script=script,
            **_view(comparison, folder),
        )
    )


def comparison_part(comparison: Comparison, folder: Path | None = None, level: int = 3) -> Markup:
    """Return the tables of a comparison as a part of another page.

    Parameters
    ----------
    comparison : Comparison
    folder : Path, optional
        Where the other page will lie.
    level : int
        Of the headings.

    Returns
    -------
    Markup
        For a page with the styles ``STYLES`` and the scripts ``SCRIPTS``; it uses the marks
        ``ranks``, ``problems``, and ``t`` with a number.
    """
    parts = environment().get_template("comparison_parts.html")
    return Markup(parts.render(**{**_view(comparison, folder), "level": level}))


def _view(comparison: Comparison, folder: Path | None) -> dict[str, Any]:
    return {
        "level": 2,
        "tables": [
            _table_view(table, f"t{i}", folder)
            for i, table in enumerate(comparison.tables, start=1)
        ],
        "ranks": _ranks_view(comparison.ranks) if comparison.ranks else None,
        "note": comparison.note,
        "problems": [
            replace(problem, path=_seen_from(folder, problem.path))
            for problem in comparison.problems
        ],
    }


def _seen_from(folder: Path | None, path: str) -> str:
    """Return the path of a problem as seen from the page; of a far one only the name."""
    # Of a cell without a run directory it is the sweep's and [its words].
    place, bracket, words = path.partition(" [")
    return f"{relative(place, folder) or Path(place).name}{bracket}{words}"


def _page_title(comparison: Comparison) -> str:
    paths = {e.path for table in comparison.tables for row in table.rows for e in row.entries}
    return f"Comparison of {len(paths)} run{'' if len(paths) == 1 else 's'}"


# Tables.


@dataclass(frozen=True)
class _Column:
    head: str
    kind: str = "number"  # "text" or "dots": how it is set
    about: str = ""
    descending: bool = False  # the first click puts the largest first
    shown: bool = True
    fixed: bool = False  # cannot be hidden
    sortable: bool = True
    head_of_rows: bool = False  # says what a row is about


_RUN = _Column("run", "text", fixed=True, head_of_rows=True)


@dataclass(frozen=True)
class _Cell:
    text: str = ""
    value: float | str | None = None  # to sort by; None goes last
    mark: str = ""  # a word beside the text
    about: str = ""
    shade: int | None = None
    strong: bool = False
    links: tuple[tuple[str, str], ...] = ()  # address, text
    dots: _Dots | None = None
    odds: tuple[float, float, float] | None = None  # better, equal, worse; of 100
    is_head: bool = False
    classes: str = ""


@dataclass(frozen=True)
class _Dots:
    """Values by fold as marks on a line: the paths of an SVG."""

    inside: str
    beyond: str
    mean: float | None
    interval: tuple[float, float] | None
    about: str


@dataclass(frozen=True)
class _Line:
    """One row of a table."""

    id: str
    cells: tuple[_Cell, ...]
    words: str  # what the filter looks at
    classes: str


def _line(
    name: str, cells: Iterable[_Cell], columns: Iterable[_Column], row: Row | None, words: str = ""
) -> _Line:
    """Return a row whose cells look like those of their columns."""
    placed = []
    for cell, column in zip(cells, columns, strict=True):
        classes = [column.kind]
        if column.head_of_rows:
            classes.append("sticky")
        if cell.strong:
            classes.append("strong")
        if cell.shade is not None:
            classes.append(f"shade{cell.shade}")
        placed.append(replace(cell, is_head=column.head_of_rows, classes=" ".join(classes)))
    kind = ""
    if row is not None and _is_baseline(row):
        kind = "baseline"
    elif row is not None and row.tied_with_best:
        kind = "tied"
    return _Line(name, tuple(placed), words, kind)


@dataclass(frozen=True)
class _Point:
    id: str
    x: float
    y: float
    word: str  # beside or in the point
    about: str
    front: bool
    baseline: bool


@dataclass(frozen=True)
class _Chart:
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    points: tuple[_Point, ...]
    front: str  # path of the staircase
    front_words: tuple[str, ...]
    has_baselines: bool
    width: int = _CHART_WIDTH
    height: int = _CHART_HEIGHT
    left: int = _LEFT
    right: int = _CHART_WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _CHART_HEIGHT - _BOTTOM


@dataclass(frozen=True)
class _TableView:
    id: str
    title: str
    reason: str
    facts: str
    verdict: str
    notes: tuple[str, ...]
    synthetic: bool
    columns: tuple[_Column, ...]
    lines: tuple[_Line, ...]
    reference: str
    alpha: str
    rope: str
    tested: bool
    chart: _Chart | None
    heat_columns: tuple[_Column, ...]
    heat_lines: tuple[_Line, ...]
    configs: Markup | None = field(repr=False)


def _table_view(table: Table, name: str, folder: Path | None) -> _TableView:
    # Rows and baselines have the same marks in every part of the page, so that a filter finds them.
    rows = (*table.rows, *table.baselines)
    ids = {id(row): f"{name}r{i}" for i, row in enumerate(rows, start=1)}
    columns, cells = _columns(table, rows, folder)
    lines = tuple(
        _line(ids[id(row)], own, columns, row, _filter_words(row))
        for row, own in zip(rows, cells, strict=True)
    )
    heat_columns, heat_lines = _heat_map(rows, ids)
    return _TableView(
        id=name,
        title=table.title,
        reason=table.reason,
        facts=_facts(table),
        verdict=_verdict(table),
        notes=table.notes,
        synthetic=table.synthetic,
        columns=tuple(columns),
        lines=lines,
        reference=_short(table.reference),
        alpha=f"{100 * table.alpha:g}%",
        rope=f"{table.rope:.2g}",
        tested=any(row.to_best is not None and row.to_best.p is not None for row in rows),
        chart=_chart(table, rows, ids),
        heat_columns=heat_columns,
        heat_lines=heat_lines,
        configs=_configs(table.rows),
    )


def _facts(table: Table) -> str:
    n_rows, n_runs = len(table.rows), sum(len(row.entries) for row in table.rows)
    configs = f"{n_rows} config{'' if n_rows == 1 else 's'}"
    if n_runs > n_rows:
        configs += f" from {n_runs} runs (seeds of one config are one row)"
    more = "more" if _greater_is_better(table.metric) else "less"
    return f"{configs}, ranked by {_label(table.metric)}: {more} is better."


def _verdict(table: Table) -> str:
    """One sentence: the best, and who cannot be told from it."""
    if not table.rows or table.rows[0].mean is None:
        return ""
    best = table.rows[0]
    word = "Best" if len(table.rows) > 1 else "The only one"
    said = f"{word}: {_short(best.label)} with {_number(best.mean, table.metric)}"
    if best.interval:
        low, high = (_number(end, table.metric) for end in best.interval)
        said += f" ({_interval_name([best])} {low} to {high})"
    others = table.rows[1:]
    tied = sum(row.tied_with_best for row in others)
    untested = [
        _short(row.label) for row in others
        if not (row.is_tested or row.tied_with_best or row.label == table.reference)
    ]  # fmt: skip
    if len(untested) == len(others):
        return f"{said}; no other is tested against it." if others else f"{said}."
    if tied:
        said += f"; {tied} other{'' if tied == 1 else 's'} cannot be told from it"
    else:
        said += f"; no other config{' that was tested' if untested else ''} is tied with it"
    return f"{said}; not tested: {_some(untested)}." if untested else f"{said}."


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _interval_name(rows: Sequence[Row]) -> str:
    """Say of which level the rows' own intervals are."""
    levels = {entry.manifest.get("confidence") for row in rows for entry in row.entries}
    if len(levels) > 1:
        return "interval (levels differ)"
    level = levels.pop()
    return f"{100 * level:g}% interval" if isinstance(level, float) else "interval"


def _columns(
    table: Table, rows: Sequence[Row], folder: Path | None
) -> tuple[list[_Column], list[list[_Cell]]]:
    """Return the columns that have something to say, and the cells of each row."""
    metric = table.metric
    greater = _greater_is_better(metric)
    ranked = [row for row in rows if row.rank is not None]
    columns: list[_Column] = []
    cells: list[list[_Cell]] = [[] for _ in rows]

    def add(column: _Column, found: Iterable[_Cell], *, always: bool = False) -> None:
        kept = list(found)
        if always or any(cell != _Cell() for cell in kept):
            columns.append(column)
            for own, cell in zip(cells, kept, strict=True):
                own.append(cell)

    add(_Column("rank", fixed=True), [_rank_cell(row) for row in rows], always=True)
    add(_RUN, [_run_cell(row, folder) for row in rows], always=True)
    keys = list(dict.fromkeys(key for row in rows for key in row.varying if key not in _PLACES))
    if len(keys) == 1 and all(
        row.label == _config_cell(row.varying, keys[0]).text for row in ranked
    ):
        keys = []  # every label says it already
    for i, key in enumerate(keys):
        column = _Column(key, "text", shown=i < _SHOWN_AT_FIRST, about=f"config key {key}")
        add(column, [_config_cell(row.varying, key) for row in rows])
    about = f"mean over folds. {_description(metric)}"
    add(
        _Column(_label(metric), about=about, descending=greater),
        [replace(_number_cell(row.mean, metric), strong=True) for row in rows],
    )
    add(
        _Column(
            _interval_name(ranked), about="of this row alone, from its out-of-fold predictions"
        ),
        [_interval_cell(row, metric) for row in rows],
    )
    add(
        _Column(
            f"folds, {_scale_words(rows, metric)}",
            "dots",
            about="a dot for each fold; the long stroke is the mean, the bar below its interval",
            sortable=False,
        ),
        _dots_cells(rows, metric),
    )
    add(_Column("spread over folds", shown=False, about="standard deviation"),
        [_number_cell(row.std, metric) for row in rows])  # fmt: skip
    add(_Column("seeds"), [_Cell(str(n), n) if (n := len(row.entries)) > 1 else _Cell()
                           for row in rows])  # fmt: skip
    add(_Column("spread over seeds", about="standard deviation of the means"),
        [_number_cell(row.seed_std, metric) for row in rows])  # fmt: skip
    level = f"{100 * (1 - table.alpha):g}%"
    add(
        _Column("difference", descending=True,
                about=f"to {_short(table.reference)}, with its corrected {level} interval; "
                      "positive is better"),
        [_difference_cell(row) for row in rows],
    )  # fmt: skip
    add(_Column("p (Holm)", about="corrected resampled t-test, adjusted for the number of rows"),
        [_p_cell(row) for row in rows])  # fmt: skip
    add(
        _Column("better / equal / worse, %", descending=True,
                about=f"probability against {_short(table.reference)}; "
                      f"equal: within {table.rope:.2g}"),
        [_odds_cell(row) for row in rows],
    )  # fmt: skip
    others = [other for other in table.metrics if other != metric]
    for i, other in enumerate(others):
        add(
            _Column(_label(other), about=_description(other),
                    descending=_greater_is_better(other), shown=i < _SHOWN_AT_FIRST),
            [_number_cell(row.mean_of(other), other) for row in rows],
        )  # fmt: skip
    last = table.kind == "clustering" and not all(row.usable for row in ranked)
    about = f"constraints that are not met{'; such rows rank last' if last else ''}"
    add(_Column("misses", "text", about=about),
        [_Cell(text, text) if (text := _short("; ".join(row.usable))) else _Cell()
         for row in rows])  # fmt: skip
    add(_Column("fit seconds", about="of all folds together"),
        [_Cell(_seconds(s), s) if (s := row.fit_seconds) is not None else _Cell()
         for row in rows])  # fmt: skip
    return columns, cells


def _is_baseline(row: Row) -> bool:
    # A config has no rank either where its seeds have no fold in common.
    return row.rank is None and not row.entries[0].config


def _rank_cell(row: Row) -> _Cell:
    if _is_baseline(row):
        return _Cell(about="a baseline is not ranked", mark="baseline")
    if row.rank is None:
        return _Cell(about="no fold has a value of every seed")
    mark = "best" if row.rank == 1 else "tied" if row.tied_with_best else ""
    about = "cannot be told from the best" if mark == "tied" else ""
    return _Cell(str(row.rank), row.rank, mark=mark, about=about)


def _run_cell(row: Row, folder: Path | None) -> _Cell:
    links: list[tuple[str, str]] = []
    for entry in row.entries if not _is_baseline(row) else ():
        several = f" {entry.manifest.get('seed', '')}" if len(row.entries) > 1 else ""
        links += [(url, f"{word}{several}") for url, word in _links(entry, folder)]
    text = _short(row.label)
    return _Cell(text, text, links=tuple(links))


def _links(entry: Entry, folder: Path | None) -> list[tuple[str, str]]:
    """Addresses of a run, relative to the page."""
    address = address_of(entry.path, folder)
    if address is None:
        return []
    report = entry.path / REPORT
    has_report = report.is_file() and not report.is_symlink()
    return [*([(f"{address}{REPORT}", "report")] if has_report else []), (address, "files")]


def _config_cell(config: Mapping[str, Any], key: str) -> _Cell:
    if key not in config:
        return _Cell()
    value = config[key]
    text = _value(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _Cell(text, value if is_number and math.isfinite(value) else text)


def _interval_cell(row: Row, metric: str) -> _Cell:
    if row.interval is None:
        return _Cell()
    low, high = row.interval
    return _Cell(f"{_number(low, metric)} – {_number(high, metric)}", low)


def _number_cell(value: float | None, metric: str) -> _Cell:
    if value is None or math.isnan(value):
        return _Cell()
    return _Cell(_number(value, metric), value)


def _difference_cell(row: Row) -> _Cell:
    found = row.to_best
    if found is None or math.isnan(found.mean):
        return _Cell()
    text = _signed(found.mean)
    if all(map(math.isfinite, found.interval)):
        text += f" [{_signed(found.interval[0])}, {_signed(found.interval[1])}]"
    return _Cell(text, found.mean, about=f"over {found.n} folds")


def _p_cell(row: Row) -> _Cell:
    found = row.to_best
    p = None if found is None else found.p_holm if found.p_holm is not None else found.p
    if p is None:
        return _Cell()
    text = "<0.001" if p < 0.001 else f"{p:.3f}"
    return _Cell(text, p, mark="" if found and found.p_holm is not None else "not adjusted")


def _odds_cell(row: Row) -> _Cell:
    found = row.to_best
    if found is None or found.p_better is None:
        return _Cell()
    odds = tuple(100 * (p or 0.0) for p in (found.p_better, found.p_equivalent, found.p_worse))
    return _Cell(
        " / ".join(f"{share:.0f}" for share in odds),
        found.p_better,
        odds=(odds[0], odds[1], odds[2]),
    )


def _filter_words(row: Row) -> str:
    # What a reader types most stands first: the end of many words is cut.
    words = ["baseline"] if _is_baseline(row) else ["tied"] if row.tied_with_best else []
    words.append(row.label)
    if not _is_baseline(row):
        chosen = ((group, e.manifest.get(group)) for e in row.entries for group in _GROUPS)
        words += dict.fromkeys(f"{group}={name}" for group, name in chosen if name)
    words += [f"{k}={_value(value)}" for k, value in row.varying.items() if k not in _PLACES]
    tags = [tag for entry in row.entries for tag in entry.manifest.get("tags") or ()]
    return _short(" ".join([*words, *map(str, dict.fromkeys(tags))]).lower(), 5 * _MAX_LETTERS)


# Values by fold.


def _scale(rows: Sequence[Row], metric: str) -> tuple[float, float]:
    """Return the ends of an axis for the values by fold; far outliers lie beyond it."""
    found = [values for row in rows if (values := row.values(metric)) is not None]
    every = np.concatenate(found) if found else np.empty(0)
    every = every[np.isfinite(every)]
    if not every.size:
        return 0.0, 1.0
    low, high = np.quantile(every, [0.25, 0.75])
    reach = 3 * (high - low) or math.inf
    inside = every[(every >= low - reach) & (every <= high + reach)]
    low, high = float(inside.min()), float(inside.max())
    margin = 0.04 * (high - low) or 0.01 * abs(high) or 0.01
    return low - margin, high + margin


def _scale_words(rows: Sequence[Row], metric: str) -> str:
    low, high = _scale(rows, metric)
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _dots_cells(rows: Sequence[Row], metric: str) -> list[_Cell]:
    low, high = _scale(rows, metric)

    def place(value: float) -> float:
        share = (value - low) / (high - low)
        return round(4 + (_DOTS_WIDTH - 8) * min(max(share, 0.0), 1.0), 1)

    found = []
    for row in rows:
        values = row.values(metric)
        values = np.empty(0) if values is None else values[np.isfinite(values)]
        if not values.size:
            found.append(_Cell())
            continue
        inside = (values >= low) & (values <= high)
        words = ", ".join(_number(value, metric) for value in values[:50])
        if len(values) > 50:
            words += ", …"
        dots = _Dots(
            inside=_marks(place(value) for value in values[inside]),
            beyond=_marks(place(value) for value in values[~inside]),
            mean=None if row.mean is None else place(row.mean),
            interval=row.interval and (place(row.interval[0]), place(row.interval[1])),
            about=f"by fold: {words}",
        )
        found.append(_Cell(dots=dots))
    return found


def _marks(places: Iterable[float]) -> str:
    """Return the path of dots: lines of hardly a length, which their ends make visible."""
    return "".join(f"M{x:g} 8h.1" for x in places)


# Quality against the time that it takes.


def _chart(table: Table, rows: Sequence[Row], ids: Mapping[int, str]) -> _Chart | None:
    """Return quality by fit time, or None where fewer than two rows have both."""
    timed = [
        (row, seconds, row.mean)
        for row in rows
        if (seconds := row.fit_seconds) is not None and row.mean is not None
    ]
    if len(timed) < 2:
        return None
    took = np.array([seconds for _, seconds, _ in timed])
    # No time at all has no place on a logarithmic axis.
    took = np.maximum(took, took[took > 0].min(initial=1.0))
    quality = np.array([mean for _, _, mean in timed])
    sign = 1.0 if _greater_is_better(table.metric) else -1.0
    front = undominated(np.column_stack([sign * quality, -took]))
    x_low, x_high = _widened(np.log10(took), least=0.15)
    y_low, y_high = _widened(quality, least=0.002)

    def x_of(second: float) -> float:
        share = (math.log10(second) - x_low) / (x_high - x_low)
        return round(_LEFT + share * (_CHART_WIDTH - _LEFT - _RIGHT), 1)

    def y_of(value: float) -> float:
        share = (value - y_low) / (y_high - y_low)
        return round(_CHART_HEIGHT - _BOTTOM - share * (_CHART_HEIGHT - _TOP - _BOTTOM), 1)

    points = []
    for (row, _, mean), second, on_front in zip(timed, took, front, strict=True):
        baseline = row.rank is None
        about = f"{_short(row.label)}: {_number(mean, table.metric)} in {_seconds(second)} s"
        many = len(timed) > _LABELLED_POINTS and not on_front
        word = "" if many else _short(row.label, 24) if baseline else str(row.rank)
        points.append(
            _Point(ids[id(row)], x_of(second), y_of(mean), word, about, bool(on_front), baseline)
        )
    on_front = sorted((p for p in points if p.front), key=lambda point: point.x)
    stairs = "".join(
        f"M{p.x:g} {p.y:g}" if i == 0 else f"H{p.x:g}V{p.y:g}" for i, p in enumerate(on_front)
    )
    return _Chart(
        x_label="seconds of fitting, all folds together (logarithmic)",
        y_label=_label(table.metric),
        x_ticks=tuple((x_of(tick), f"{tick:g}") for tick in _log_ticks(x_low, x_high)),
        y_ticks=tuple((y_of(tick), word) for tick, word in _ticks(y_low, y_high)),
        # The best lie on top.
        points=tuple(reversed(points)),
        front=stairs,
        front_words=tuple(p.about if p.baseline else f"rank {p.word}, {p.about}" for p in on_front),
        has_baselines=any(point.baseline for point in points),
    )


def _widened(values: Floats, least: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(0.08 * (high - low), least)
    return low - margin, high + margin


def _ticks(low: float, high: float, wanted: int = 5) -> list[tuple[float, str]]:
    """Return round numbers between two, and how they are written."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(i * step, f"{i * step:,.{digits}f}") for i in places]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two powers of ten, which are given as exponents."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for heads in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [float(f"{head}e{power}") for power in powers for head in heads]
        found = [tick for tick in found if low <= math.log10(tick) <= high]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 8)]


# Segments.


def _heat_map(
    rows: Sequence[Row], ids: Mapping[int, str]
) -> tuple[tuple[_Column, ...], tuple[_Line, ...]]:
    """Return the share of each segment that is found, by row; nothing where it is not known."""
    names = dict.fromkeys(name for row in rows for entry in row.entries for name in entry.values)
    segments = [name[7:-1] for name in names if name.startswith("recall[") and name.endswith("]")]
    if not segments:
        return (), ()
    recall = {id(row): [row.mean_of(f"recall[{segment}]") for segment in segments] for row in rows}
    ranked = [recall[id(row)] for row in rows if row.rank is not None]
    best = [
        max((value for value in column if value is not None), default=None)
        for column in zip(*ranked, strict=True)
    ]
    sizes = _segment_sizes(rows)
    columns = (
        _Column("rank", fixed=True),
        _RUN,
        *(
            _Column(
                _short(segment, 40),
                descending=True,
                about=f"{sizes[segment]:,} customers" if segment in sizes else "",
            )
            for segment in segments
        ),
    )
    lines = tuple(
        _line(
            ids[id(row)],
            [
                replace(_rank_cell(row), mark=""),
                _Cell(_short(row.label), _short(row.label)),
                *map(_recall_cell, recall[id(row)], best),
            ],
            columns,
            row,
        )
        for row in rows
        if any(value is not None for value in recall[id(row)])
    )
    return columns, lines


def _recall_cell(value: float | None, best: float | None) -> _Cell:
    if value is None or not math.isfinite(value):
        return _Cell()
    shade = round(_SHADES * min(max(value, 0.0), 1.0))
    return _Cell(f"{value:.2f}", value, shade=shade, strong=value == best)


def _segment_sizes(rows: Sequence[Row]) -> dict[str, int]:
    for row in rows:
        sizes = row.entries[0].manifest.get("segments")
        if isinstance(sizes, Mapping):
            return {str(name): n for name, n in sizes.items() if isinstance(n, int)}
    return {}


# Configs.


def _configs(rows: Sequence[Row]) -> Markup | None:
    """Return every config key that differs, as JSON for the script, or None with one row.

    ``{"runs": [label], "keys": [[key, [value], [place of each run's value, or -1]]]}``
    """
    configs = [row.entries[0].config for row in rows]
    keys = []
    for key in dict.fromkeys(k for config in configs for k in config if k not in _PLACES):
        texts = [_value(config[key]) if key in config else None for config in configs]
        if len(set(texts)) > 1:
            values = list(dict.fromkeys(text for text in texts if text is not None))
            places = [-1 if text is None else values.index(text) for text in texts]
            keys.append([visible(_short(key)), [visible(text) for text in values], places])
    if not keys:
        return None
    labels = [f"{row.rank or '–'}. {visible(_short(row.label))}" for row in rows]
    return _json({"runs": labels, "keys": keys})


def _json(content: object) -> Markup:
    """Return JSON that cannot end the element in which it stands."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


# Ranks across data sets.


@dataclass(frozen=True)
class _RanksView:
    facts: str
    picture: str  # address with the picture in it
    alt: str
    columns: tuple[_Column, ...]
    lines: tuple[_Line, ...]


def _ranks_view(ranks: Ranks) -> _RanksView:
    # Only here, since matplotlib takes a while to load.
    from segexp.figures.comparison import critical_difference
    from segexp.figures.look import render

    labels = [str(visible(label)) for label in ranks.labels]
    seen = dict(zip(ranks.labels, labels, strict=True))
    figure = critical_difference(
        labels,
        ranks.mean_ranks,
        ranks.critical_difference,
        [[seen[label] for label in group] for group in ranks.groups],
        len(ranks.datasets),
        ranks.metric,
    )
    picture = base64.b64encode(render(figure)["svg"]).decode()
    order = np.argsort(ranks.mean_ranks, kind="stable")
    p = "p < 0.001" if ranks.friedman_p < 0.001 else f"p = {ranks.friedman_p:.3f}"
    difference = ranks.critical_difference
    facts = f"Friedman's test over {len(ranks.datasets)} data sets: {p}. " + (
        "It finds no difference between the configs."
        if difference is None
        else f"Mean ranks that differ by less than {difference:.2f} are not told apart."
    )
    columns = (
        replace(_RUN, head="config"),
        _Column("mean rank"),
        *(_Column(_short(name, 40)) for name in ranks.datasets),
    )
    lines = []
    for i, j in enumerate(order, start=1):
        mean = float(ranks.mean_ranks[j])
        cells = [
            _Cell(_short(ranks.labels[j]), _short(ranks.labels[j])),
            _Cell(f"{mean:.2f}", mean, strong=True),
            *(_Cell(f"{rank:g}", float(rank)) for rank in ranks.ranks[:, j]),
        ]
        lines.append(_line(f"k{i}", cells, columns, None))
    return _RanksView(
        facts=facts,
        picture=f"data:image/svg+xml;base64,{picture}",
        alt="Mean ranks over data sets; the table below has the same numbers",
        columns=columns,
        lines=tuple(lines),
    )


# Words and numbers.


def _label(metric: str) -> str:
    try:
        return _short(metric_by_name(metric).label, 60)
    except ConfigError:
        return _short(metric, 60)


def _description(metric: str) -> str:
    try:
        found = metric_by_name(metric)
    except ConfigError:
        return ""
    return f"{found.description}; {'more' if found.greater_is_better else 'less'} is better"


def _greater_is_better(metric: str) -> bool:
    try:
        return metric_by_name(metric).greater_is_better
    except ConfigError:
        return True


def _number(value: float | None, metric: str) -> str:
    if value is None or math.isnan(value):
        return ""
    value = float(value)
    if value.is_integer() and metric.startswith(("support", "n_segments")):
        return f"{value:,.0f}"
    return f"{value + 0.0:.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def _signed(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:+,.1f}".replace("-", "−")
    return f"{value:+.4f}".replace("-", "−")


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _value(value: object) -> str:
    """A config value as it stands in YAML, nearly."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return _short(f"[{', '.join(map(_value, value))}]")
    return _short(str(value))


def _short(text: str, length: int = _MAX_LETTERS) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
