"""The report of a run, of a sweep, or of several runs, as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.checks.process import files_missing
from segexp.errors import ConfigError, RunError, did_you_mean
from segexp.report.baskets import basket_sections
from segexp.report.page import Cell, Code, Ranking, Section, Table, Text, pictures, render_page
from segexp.report.search import search_sections
from segexp.report.source import Source, one_line
from segexp.report.summary import SYNTHETIC, dataset_name, summary_section
from segexp.report.technical import technical_section, without_places
from segexp.report.value import value_sections
from segexp.safe_html import address_of

if TYPE_CHECKING:
    from segexp.actions import Catalogue
    from segexp.comparison.compare import Comparison

logger = logging.getLogger(__name__)

REPORT = "report.html"


def report(
    paths: Path | Sequence[Path],
    *,
    names: Mapping[str, str] | None = None,
    muted: Collection[str] = (),
    actions: Catalogue | None = None,
    folder: Path | None = None,
    warn: Callable[[str], None] | None = None,
) -> str:
    """Return the report of a run or a sweep, or the comparison of several runs.

    Parameters
    ----------
    paths : Path or sequence of Path
        A run directory, a sweep directory, or several of them, or a folder with runs in it.
    names : mapping of segment to name, optional
        In place of those in the run directory.
    muted : collection of str
        Codes of the checks that are left out.
    actions : Catalogue, optional
        What one may do about a segment; by default that of ``./conf`` and the shipped one.
    folder : Path, optional
        Where the report will lie; links are relative to it. By default the directory itself;
        of several there are then no links.
    warn : callable, optional
        Called with one line where files of the run cannot be read.

    Returns
    -------
    str
        HTML, to be written as UTF-8 with its line ends as they are.

    Raises
    ------
    RunError
        If there is no run, or its manifest cannot be used. Anything else that is damaged is told
        in the report.
    ConfigError
        If ``names`` name a segment that is not there.
    """
    several = [paths] if isinstance(paths, Path) else list(paths)
    if len(several) == 1:
        path = several[0]
        folder = folder or path
        if runs.is_sweep(path):
            return _report_of_sweep(path, names, muted, actions, folder, warn)
        if not runs_within(several):
            source = Source.open(path)
            page = _page(source, run_sections(source, names, muted, actions))
            _warn_of_damage(source, warn)
            return page
    return _report_of_several(several, folder)


def runs_within(folders: Sequence[Path]) -> list[Path]:
    """Return the runs in a folder that is neither a run nor a sweep; none of several folders."""
    if len(folders) != 1 or runs.is_sweep(folders[0]) or (folders[0] / runs.MANIFEST).exists():
        return []
    return runs.find_runs(folders[0])


def report_with_figures(
    path: Path,
    *,
    names: Mapping[str, str] | None = None,
    muted: Collection[str] = (),
    actions: Catalogue | None = None,
    warn: Callable[[str], None] | None = None,
) -> tuple[str, dict[str, bytes]]:
    """Return the report of a run, and its figures as file name -> content, SVG and PNG.

    Parameters are those of :func:`report`.

    Raises
    ------
    RunError
        If there is no run, or its manifest cannot be used.
    ConfigError
        If ``names`` name a segment that is not there.
    """
    source = Source.open(path)
    sections = run_sections(source, names, muted, actions)
    _warn_of_damage(source, warn)
    return _page(source, sections), pictures(sections)


def _warn_of_damage(source: Source, warn: Callable[[str], None] | None) -> None:
    said = [words for _, words in _left_out(source)]
    if warn is not None and said:
        warn(f"{source.path}: {'; '.join(said)}; the report says what it leaves out")


def _left_out(source: Source) -> list[tuple[str, str]]:
    kinds = (
        ("Damaged", "files of the run cannot be read", source.damaged),
        ("Missing", "files are missing from the run", files_missing(source)),
        ("Not read", "files of the run are left alone", source.not_read),
    )
    return [(kind, f"{words}: {', '.join(files)}") for kind, words, files in kinds if files]


# ---- a run -------------------------------------------------------------------------------------


def run_sections(
    source: Source,
    names: Mapping[str, str] | None = None,
    muted: Collection[str] = (),
    actions: Catalogue | None = None,
) -> list[Section]:
    """Return all sections of the report of one run, for managers first."""
    from segexp.report.cards import card_sections
    from segexp.report.checks import check_section
    from segexp.report.classification import classification_sections
    from segexp.report.clustering import clustering_sections
    from segexp.report.data import data_sections

    names = _checked_names(source, names)
    results = {
        "classification": classification_sections,
        "clustering": clustering_sections,
        "value": value_sections,
        "baskets": basket_sections,
    }
    sections = _made("Summary", source, lambda: [summary_section(source)])
    told = [
        Text(f"{kind}: {words}. What is made from them is left out.", "warning")
        for kind, words in _left_out(source)
    ]
    sections[0] = replace(sections[0], blocks=[*sections[0].blocks, *told])
    sections += _made("Segments", source, lambda: card_sections(source, names, actions=actions))
    if source.is_finished or source.summary is not None:
        sections += _made("Result", source, lambda: results[source.task](source))
    sections += _made("Data", source, lambda: data_sections(source))
    sections += _made("Search", source, lambda: search_sections(source))

    def checks() -> list[Section]:
        found = check_section(source, muted)
        return [found] if found is not None else []

    sections += _made("Checks", source, checks)
    # Last: it lists what could not be read for the others.
    sections += _made("Technical appendix", source, lambda: [technical_section(source)])
    return sections


def _made(title: str, source: Source, make: Callable[[], list[Section]]) -> list[Section]:
    """Return sections, or one that says why there are none: files may hold anything."""
    try:
        return make()
    except ConfigError:
        raise
    except Exception as error:
        logger.debug("the part %s cannot be made", title, exc_info=True)
        cause = one_line(error, source.path)
        why = f"This part cannot be shown: what the run left is damaged ({cause})."
        return [Section(title, title, [Text(why, "warning")])]


def _checked_names(source: Source, names: Mapping[str, str] | None) -> dict[str, str]:
    found = dict(source.names if names is None else names)
    known = [str(name) for name in source.manifest["segments"]]
    if source.segments is not None:
        known += source.segments["segment"].tolist()
    for segment in found:
        if known and segment not in known:
            raise ConfigError(
                f"there is no segment {segment!r} to be named{did_you_mean(segment, known)}; "
                f"segments: {', '.join(dict.fromkeys(known))}"
            )
    return found


def _page(source: Source, sections: Sequence[Section]) -> str:
    manifest = source.manifest
    model = "several models" if manifest["model"] == "several" else manifest["model"]
    return render_page(
        manifest["name"] or f"{dataset_name(source)}: {model}",
        sections,
        subtitle=f"{source.name}, {manifest['start']}",
        marks=[SYNTHETIC] if manifest["dataset"]["synthetic"] else [],
    )


# ---- a sweep -----------------------------------------------------------------------------------


def _report_of_sweep(
    path: Path,
    names: Mapping[str, str] | None,
    muted: Collection[str],
    actions: Catalogue | None,
    folder: Path,
    warn: Callable[[str], None] | None,
) -> str:
    from segexp.comparison.compare import compare
    from segexp.comparison.reading import gather

    sweep = runs.open_sweep(path)
    comparison = compare(*gather([str(path)]))
    best = _best(comparison)
    sections = [_cells_section(sweep, best, folder), *_ranking(comparison, folder)]
    if best is not None:
        source = Source.open(best)
        words = f"The first of the ranking above: {source.name}."
        sections.append(Section("best", "The best run in full", [Text(words)]))
        sections += run_sections(source, names, muted, actions)
        _warn_of_damage(source, warn)
    title = f"Sweep of {len(sweep.cells)} runs"
    return render_page(title, sections, subtitle=path.resolve().name)


def _best(comparison: Comparison) -> Path | None:
    for table in comparison.tables:
        for row in table.rows:
            return row.entries[0].path
    return None


def _cells_section(sweep: runs.Sweep, best: Path | None, folder: Path) -> Section:
    words = sweep.manifest["words"]
    rows: list[list[Any]] = []
    for number, cell in enumerate(sweep.cells, start=1):
        own = " ".join(word for word in cell["words"] if word not in words)
        path = sweep.path / cell["path"] if cell["path"] else None
        address, mean = _link_of(path, folder), _mean_of(path)
        is_best = best is not None and path is not None and path.resolve() == best.resolve()
        rows.append(
            [
                Cell(own or f"run {number}", own, address=address, mark="best" if is_best else ""),
                cell["status"], *mean, " ".join((cell["cause"] or "").split()) or "–",
            ]
        )  # fmt: skip
    command = without_places(" ".join(["segexp", "sweep", *words]))
    n_done = sum(cell["status"] == runs.COMPLETED for cell in sweep.cells)
    seconds = sweep.manifest.get("seconds")
    took = f" in {seconds:,.0f} s" if seconds else ""
    return Section(
        "sweep", "The sweep",
        [
            Text(f"{n_done} of {len(rows)} runs were completed{took}: {sweep.status}.", "lead"),
            Table(
                columns=("run", "status", "metric", "mean, held out", "cause"), rows=rows,
                numeric=(3,), caption="Its runs, in the order of the grid",
            ),
            Code(command, "shell", "The command of this sweep"),
        ],
    )  # fmt: skip


def _link_of(path: Path | None, folder: Path) -> str:
    """Return the address of a run's report, or of its directory where it has none."""
    if path is None or not path.is_dir():
        return ""
    address = address_of(path, folder)
    if address is None:
        return ""
    page = path / REPORT
    return f"{address}{REPORT}" if page.is_file() and not page.is_symlink() else address


def _mean_of(path: Path | None) -> list[Any]:
    try:
        source = Source.open(path) if path is not None else None
    except RunError:
        source = None
    if source is None:
        return ["–", None]
    metric = source.manifest["metric"]
    return [metric, ((source.summary or {}).get(metric) or {}).get("mean")]


# ---- several -----------------------------------------------------------------------------------


def _ranking(comparison: Comparison, folder: Path | None) -> list[Section]:
    if not comparison.tables and not comparison.problems:
        return []
    return [Section("comparison", "Comparison", [Ranking(comparison, folder)])]


def _report_of_several(paths: Sequence[Path], folder: Path | None) -> str:
    from segexp.comparison.compare import compare
    from segexp.comparison.reading import gather

    comparison = compare(*gather([str(path) for path in paths]))
    found = {e.path for table in comparison.tables for row in table.rows for e in row.entries}
    title = f"Comparison of {len(found)} run{'' if len(found) == 1 else 's'}"
    return render_page(title, _ranking(comparison, folder))
