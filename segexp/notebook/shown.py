"""What a cell shows of runs, as HTML; names and texts of a run are escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.notebook.tables import TEXTS, scores_by_segment, summary_table, with_numbers

if TYPE_CHECKING:
    from segexp.comparison.rows import Row
    from segexp.comparison.tables import Table
    from segexp.report.source import Source

_MOST_ROWS = 30  # of a table in a cell's output; the whole one is a DataFrame
_MOST_LETTERS = 100

_PAGE = """\
<div class="segexp">
<p><strong><bdi>{{ title }}</bdi></strong><br><bdi>{{ said }}</bdi></p>
{% for note in notes %}
<p><em><bdi>{{ note }}</bdi></em></p>
{% endfor %}
{% for grid in grids %}
<table>
<caption style="text-align:left"><bdi>{{ grid.title }}</bdi></caption>
<thead><tr>
{% for name in grid.head %}
<th style="padding-right:1em; text-align:{{ 'left' if loop.index0 in grid.words else 'right' }}"><bdi>{{ name }}</bdi></th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in grid.rows[:most] %}
<tr>
{% for cell in row %}
<td style="padding-right:1em; text-align:{{ 'left' if loop.index0 in grid.words else 'right' }}"><bdi>{{ cell }}</bdi></td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% if grid.rows|length > most %}
<p>and {{ grid.rows|length - most }} more rows</p>
{% endif %}
{% if grid.note %}
<p><small><bdi>{{ grid.note }}</bdi></small></p>
{% endif %}
{% endfor %}
</div>
"""  # noqa: E501


@dataclass(frozen=True)
class Grid:
    """A table of texts; ``words`` are the columns that are set to the left."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    words: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7)


def html_of(title: str, said: str, notes: Sequence[str], grids: Sequence[Grid]) -> str:
    """Return tables as HTML, each cut to what a cell can show."""
    from segexp.safe_html import environment

    cut = [
        Grid(
            short(grid.title), [short(name) for name in grid.head],
            [[short(cell) for cell in row] for row in grid.rows], grid.note, grid.words,
        )
        for grid in grids
    ]  # fmt: skip
    page = environment().from_string(_PAGE)
    return page.render(title=title, said=said, notes=notes, grids=cut, most=_MOST_ROWS)


def short(value: object) -> str:
    """Return text of a run in one line, without letters that act."""
    from segexp.safe_html import visible

    text = str(visible(str(value)))
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def guarded(what: str, make: Callable[[], list[Grid]]) -> list[Grid]:
    """Return tables, or one that says why there are none: files may hold anything."""
    try:
        return make()
    except Exception as error:
        return [Grid(f"{what} cannot be shown: {type(error).__name__}", [], [])]


def title_of(source: Source) -> str:
    """Return what a run is about."""
    manifest = source.manifest
    model = "several models" if manifest["model"] == "several" else manifest["model"]
    name = f"{manifest['name']}, " if manifest["name"] else ""
    return short(f"{name}{manifest['dataset']['name']}: {model}")


def headline(source: Source) -> list[str]:
    """Return the honest figure with what it is, or how far the run got."""
    from segexp.report.summary import figure, known_metric, protocol_words

    metric = known_metric(source.manifest["metric"])
    entry = (source.summary or {}).get(source.manifest["metric"])
    said = []
    if metric is not None and entry and entry["mean"] is not None:
        said.append(f"{metric.label} {figure(metric.name, entry['mean'])} held out")
    said.append(f"{source.manifest['dataset']['n_rows']:,} rows")
    if source.is_finished:
        return [*said, short(protocol_words(source.manifest))]
    return [*said, source.run.status]


def honest_grid(source: Source) -> Grid:
    """Return the metrics on held-out rows beside those of the baselines."""
    if source.summary is None:
        return Grid(f"The figures cannot be shown: {source.why(runs.SUMMARY)}", [], [])
    table = summary_table(source, source.summary)
    others = ((source.config or {}).get("evaluation") or {}).get("metrics") or []
    names = [n for n in dict.fromkeys([source.manifest["metric"], *others]) if n in table.index]
    baselines = [name for name in map(str, table) if name.startswith("baseline[")]
    level = f"{source.manifest['confidence']:.0%} interval"
    shown = table.loc[names].reset_index().to_dict("records")
    rows = [
        [
            _directed(row["metric"]), _number(row["mean"]), _number(row["std"]),
            _interval((row["low"], row["high"])), *(_number(row[name]) for name in baselines),
        ]
        for row in shown
    ]  # fmt: skip
    head = ["metric", "mean", "sd over folds", level, *baselines]
    return Grid("On rows held out", head, rows, words=(0,))


def segment_grids(source: Source) -> list[Grid]:
    """Return the segments of a run, known or found; none of a run of another kind."""
    from segexp.segment_names import without_markers

    if source.task == "classification":
        table, title = scores_by_segment(source), "Known segments, held out"
        if source.segments is not None:
            sizes = source.segments.set_index("segment")["n"]
            table.insert(1, "customers", table["segment"].map(sizes))
    elif source.task == "clustering" and source.segments is not None:
        table, title = with_numbers(source.segments), "Segments of all customers, in-sample"
        if "markers" in table:
            plain = table["segment"].map(without_markers(table))
            table["markers"] = table["markers"].where(table["markers"].notna(), plain)
        kept = ("segment", "n", "share", "silhouette", "jaccard", "stability", "markers")
        table = table[[name for name in kept if name in table]].rename(columns={"n": "customers"})
    else:
        return []
    columns = [str(name) for name in table]
    texts = [i for i, name in enumerate(columns) if name in TEXTS]
    rows = [[_cell(name, row[name]) for name in columns] for row in table.to_dict("records")]
    return [Grid(title, columns, rows, words=tuple(texts))]


def ranking_grids(table: Table) -> list[Grid]:
    """Return the ranking of runs, with its reasons and notes."""
    others = list(table.metrics[1:4])
    head = [
        "", "run", _directed(table.metric), "interval",
        f"difference to {table.reference or 'the best'}", "p (Holm)", *map(_directed, others),
    ]  # fmt: skip
    rows = [_ranking_row(row, [table.metric, *others]) for row in (*table.rows, *table.baselines)]
    notes = [table.reason, *table.notes, f"{table.n_folds} folds"]
    said = ". ".join(note for note in notes if note)
    return [Grid(table.title, head, rows, said, words=(0, 1))]


def _ranking_row(row: Row, metrics: Sequence[str]) -> list[str]:
    found = row.to_best
    difference, p = "", ""
    if found is not None:
        difference = f"{found.mean:+.4f}"
        if row.is_tested:
            difference += f" ({found.interval[0]:+.4f} to {found.interval[1]:+.4f})"
            p = _probability(found.p_holm)
    rank = "baseline" if row.rank is None else str(row.rank)
    if row.tied_with_best and row.rank != 1:
        rank += " (tied)"
    means = [_number(row.mean_of(name)) for name in metrics]
    return [rank, row.label, means[0], _interval(row.interval), difference, p, *means[1:]]


def _directed(metric: str) -> str:
    from segexp.report.summary import known_metric

    known = known_metric(metric)
    return metric if known is None or known.greater_is_better else f"{metric} (less is better)"


def _cell(name: str, value: Any) -> str:
    if name in TEXTS:
        return value if isinstance(value, str) else ""
    if name == "customers":
        return f"{value:,.0f}" if value == value else "–"
    return f"{value:.1%}" if name == "share" else _number(value, 3)


def _number(value: Any, digits: int = 4) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1e9 else f"{value:.3g}"


def _probability(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.0005 else _number(value, 3)


def _interval(ends: tuple[float | None, float | None] | None) -> str:
    if ends is None or any(end is None or end != end for end in ends):
        return "–"
    return f"{_number(ends[0])} to {_number(ends[1])}"
