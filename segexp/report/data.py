"""What a report says of the data: where they come from, what is odd, what tells segments apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.data_profile import (
    KINDS,
    MISSING_PATTERN,
    cut_name,
    farthest,
    measured,
    outlier_share,
    pairs,
    say,
)
from segexp.report.page import (
    Block,
    Cell,
    Code,
    Details,
    Figure,
    Findings,
    Items,
    Section,
    Table,
    Text,
    shown,
)
from segexp.report.source import Source, one_line
from segexp.report.summary import left_out
from segexp.report.technical import without_places

if TYPE_CHECKING:
    import matplotlib.figure

logger = logging.getLogger(__name__)

PER_FIGURE = 20  # columns
MAX_DRAWN = 40
MAX_ROWS = 25  # of a table of pairs or outliers
_LEAST_P = 1e-300

_IN_SAMPLE = "In-sample: the segments were made from these customers, and from columns as these."
_KNOWN = "Of all customers with a known segment; no model has a part in it."


def data_sections(source: Source) -> list[Section]:
    """Return the section on the data of a run.

    Parameters
    ----------
    source : Source

    Returns
    -------
    list of Section
        One. What depends on ``profile.json`` is left out without it, and the section says how to
        get one; a part of it that is damaged is told in its place.
    """
    children = [_origin(source), _findings(source)]
    profile = source.profile
    if profile is None:
        return [Section("data", "The data", _without_profile(source), children)]
    blocks: list[Block] = [Text(words) for words in [left_out(source)] if words]
    spoken = [f for f in source.manifest["dataset"]["findings"] if f["code"] == "serial_days"]
    blocks += [Text(f"A number may be a date: {finding['message']}.", "note") for finding in spoken]
    lead = _part(source, "data", "The data", lambda: _in_words(profile))
    blocks += lead.blocks
    parts: list[tuple[str, str, Callable[[], list[Block]]]] = [
        ("data-columns", "What the columns hold", lambda: _columns(profile)),
        ("data-missing", "What is missing", lambda: _missing(profile)),
        ("data-pairs", "How columns hang together", lambda: _associations(profile)),
        ("data-segments", "What tells the known segments apart",
         lambda: _segments(profile, "target")),
        ("data-found", "What tells the segments that were found apart",
         lambda: _segments(profile, "found")),
        ("data-outliers", "Outliers", lambda: _outliers(profile)),
    ]  # fmt: skip
    made = [_part(source, *part) for part in parts]
    children += [section for section in made if section.blocks]
    return [Section("data", "The data", blocks, children)]


def _without_profile(source: Source) -> list[Block]:
    if source.task == "baskets":
        return [Text("The rows are baskets: there is no table of customers to describe.", "note")]
    why = source.why(runs.PROFILE) or "the run has none"
    blocks: list[Block] = [
        Text(
            f"The columns cannot be described, because {runs.PROFILE} cannot be read: {why}. "
            f"`segexp run` writes it with every run; make the run again to get it.",
            "note",
        )
    ]
    if source.command:
        blocks.append(Code(without_places(source.command), "shell", "The command of this run"))
    return blocks


def _part(source: Source, mark: str, title: str, make: Callable[[], list[Block]]) -> Section:
    """Make one part of the section; anybody may have written what it is made from."""
    try:
        return Section(mark, title, make())
    except Exception as error:  # wrong kinds in a JSON file fail wherever they are used
        logger.debug("%s cannot be shown", title, exc_info=True)
        cause = f"{type(error).__name__}: {one_line(error, source.path)}"
        return Section(mark, title, [Text(f"{runs.PROFILE} is damaged here ({cause}).", "warning")])


# ---- where the data come from ------------------------------------------------------------------


def _origin(source: Source) -> Section:
    data = source.manifest["dataset"]
    config = (source.config or {}).get("dataset")
    config = config if isinstance(config, dict) else {}
    left_out = data["n_rows_read"] - data["n_rows"]
    rows = [
        ["data set", data["name"]],
        ["published by", config.get("source") or "–"],
        ["licence", config.get("licence") or "–"],
        ["customers", "synthetic: drawn from a seed, nobody is real" if data["synthetic"] else
         "as published"],
        *_files(data.get("files")),
    ]  # fmt: skip
    if data.get("log"):
        rows.append(["lines of the log", f"{data['n_rows_read']:,}"])
        rows.append(["rows they were summed up to", f"{data['n_rows']:,}"])
    else:
        rows.append(["rows read", f"{data['n_rows_read']:,}"])
        rows.append(["rows left out", f"{left_out:,}"])
        rows.append(["rows used", f"{data['n_rows']:,}"])
    blocks: list[Block] = [
        Table(("what", "value"), [[a, str(b)] for a, b in rows], sortable=False),
        _roles(data["roles"]),
    ]
    return Section("data-origin", "Where the data come from", blocks)


def _files(files: Any) -> list[list[str]]:
    found = []
    for file in files if isinstance(files, list) else []:
        if isinstance(file, dict) and isinstance(file.get("path"), str):
            said = {"True": ", the published one", "False": ", not the published one"}
            same = said.get(str(file.get("sha256_ok")), "")
            # Only its name: a report does not tell where it was made.
            found.append(["file", f"{PurePath(file['path']).name}{same}"])
    return found


_ROLES = {
    "id": "the name of a customer, never a feature",
    "target": "the known segment",
    "numeric": "numbers",
    "categorical": "categories",
    "ordinal": "categories with an order",
    "date": "dates",
    "ignore": "left out",
}


def _roles(roles: Mapping[str, Sequence[str]]) -> Table:
    rows = [
        [role, _ROLES.get(role, ""), len(columns), ", ".join(columns)]
        for role, columns in roles.items()
        if columns
    ]
    return Table(
        ("role", "what it is", "columns", "which"), rows, numeric=(2,), sortable=False,
        caption="Every column as read, by its role",
    )  # fmt: skip


def _findings(source: Source) -> Section:
    findings = source.manifest["dataset"]["findings"]
    block = Findings(findings, "The audit of the table found nothing.")
    return Section("data-findings", "Findings of the audit", [block])


# ---- what the profile says ---------------------------------------------------------------------


def _in_words(profile: Mapping[str, Any]) -> list[Block]:
    words = say(profile)
    return [Items(words)] if words else [Text("Nothing in the table stands out.")]


def _figure(name: str, figure: matplotlib.figure.Figure, alt: str, caption: str) -> Figure:
    from segexp.figures.look import Pictures

    return Figure(name, Pictures(figure), alt, caption)


def _columns(profile: Mapping[str, Any]) -> list[Block]:
    from segexp.figures.data import distributions

    columns, n_rows = profile["columns"], profile["n_rows"]
    drawn = columns[:MAX_DRAWN]
    blocks: list[Block] = []
    for i in range(0, len(drawn), PER_FIGURE):
        page = drawn[i : i + PER_FIGURE]
        names = ", ".join(cut_name(str(column["name"])) for column in page)
        blocks.append(
            _figure(
                f"columns-{i // PER_FIGURE + 1}", distributions(page, n_rows),
                f"Histograms and bars of {len(page)} columns: {names}",
                f"All {n_rows:,} rows. What lies beyond a histogram is counted at its end.",
            )
        )  # fmt: skip
    if len(columns) > len(drawn):
        blocks.append(Text(f"{len(columns) - len(drawn)} more columns are in the table.", "quiet"))
    blocks.append(_columns_table(columns, n_rows))
    if levels := _level_rows(columns):
        table = Table(("column", "level", "customers", "share"), levels, numeric=(2, 3))
        blocks.append(Details("The levels of the categories", [table]))
    return blocks


def _columns_table(columns: Sequence[Mapping[str, Any]], n_rows: int) -> Table:
    return Table(
        ("column", "role", "missing", "different", "typical", "spread", "mean", "sd", "skew"),
        [
            [
                Cell(column["name"], strong=True), column["role"], _share(column["missing_share"]),
                column["n_unique"], _typical(column), _spread(column), shown(column.get("mean")),
                shown(column.get("sd")), shown(column.get("skew")),
            ]
            for column in columns
        ],
        numeric=(2, 3, 6, 7, 8),
        caption=f"Every column in numbers, of {n_rows:,} rows",
        about={
            "typical": "the median of numbers, the most frequent level of categories",
            "spread": "5% to 95% of numbers, first and last of dates, entropy of categories",
            "skew": "adjusted Fisher-Pearson coefficient",
        },
    )  # fmt: skip


def _share(share: float | None) -> Cell:
    if share is None:
        return Cell("–")
    return Cell(f"{share:.1%}", share, share=share)


def _typical(column: Mapping[str, Any]) -> str:
    if column["role"] == "numeric":
        return shown(column["quantiles"][2]) if column["quantiles"] else "–"
    if not column.get("levels"):
        return "–"
    level, _ = max(column["levels"], key=lambda pair: pair[1])
    return f"{level} ({column['top_share']:.0%})" if column["top_share"] is not None else "–"


def _spread(column: Mapping[str, Any]) -> str:
    if column["role"] == "date":
        return f"{column['min'][:10]} to {column['max'][:10]}" if column["min"] else "–"
    if column["role"] == "numeric":
        quantiles = column["quantiles"]
        return f"{shown(quantiles[0])} to {shown(quantiles[4])}" if quantiles else "–"
    return f"{column['entropy']:.2f} bits" if column["entropy"] is not None else "–"


def _level_rows(columns: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for column in columns:
        levels = column.get("levels", ())
        n_known = max(1, sum(count for _, count in levels) + column.get("other_count", 0))
        rows += [[column["name"], name, count, _share(count / n_known)] for name, count in levels]
        if levels and column["other_count"]:
            name = f"{column['other_levels']:,} others"
            rows.append(
                [column["name"], name, column["other_count"],
                 _share(column["other_count"] / n_known)]
            )  # fmt: skip
    return rows


def _missing(profile: Mapping[str, Any]) -> list[Block]:
    from segexp.figures.data import missing_values

    missing, n_rows = profile["missing"], profile["n_rows"]
    if not missing["cells"]:
        return [Text("Nothing is missing.")]
    lacking = sum(column["missing"] > 0 for column in profile["columns"])
    blocks: list[Block] = [
        Text(
            f"{missing['cells']:,} cells of {lacking} columns are missing; "
            f"{missing['complete_rows']:,} of {n_rows:,} rows are complete."
        ),
        _figure(
            "missing", missing_values(profile["columns"], n_rows),
            f"Bars: the share of rows in which each of {lacking} columns is missing",
            f"All {n_rows:,} rows.",
        ),
    ]  # fmt: skip
    if missing["patterns"]:
        blocks.append(_patterns(profile))
    else:
        # An older run kept only associations of some strength.
        words = (
            f"What is missing in a column has no association of {MISSING_PATTERN} or more with the "
            f"segments, the values of another column or what is missing there, beyond chance."
        )
        blocks.append(Text(words))
    return blocks


def _patterns(profile: Mapping[str, Any]) -> Table:
    words = {
        "segment": "the segment",
        "values": "the value of {}",
        "missing": "whether {} is missing",
    }
    rows = []
    for pattern in profile["missing"]["patterns"]:
        on_what = words[pattern["with"]].replace("{}", str(pattern["other"]))
        strength = Cell(f"{pattern['value']:.2f}", pattern["value"])
        rows.append([pattern["column"], on_what, KINDS[pattern["kind"]], strength])
    return Table(
        ("missing in", "depends on", "measure", "strength"), rows, numeric=(3,),
        caption="Associations of what is missing, beyond chance at the level .001, the strongest "
        f"first; less than {MISSING_PATTERN} is weak; of {profile['n_compared']:,} rows",
    )  # fmt: skip


def _associations(profile: Mapping[str, Any]) -> list[Block]:
    from segexp.figures.data import associations

    found, n_rows = profile["associations"], profile["n_compared"]
    names = found["columns"]
    if len(names) < 2:
        return []
    of_rows = f"Of {'all' if n_rows == profile['n_rows'] else 'a sample of'} {n_rows:,} rows."
    blocks: list[Block] = [
        _figure(
            "associations", associations(found, n_rows),
            f"Heat map of the associations of {len(names)} columns",
            f"{of_rows} Spearman's correlation of numbers, dates and ordinals; Cramér's V of "
            "categories and eta of a category and a number, both corrected for bias.",
        )
    ]  # fmt: skip
    if len(names) < profile["n_columns"]:
        which = "that tell most about the segments" if profile["target"] or profile["found"] else (
            "that come first"
        )  # fmt: skip
        words = f"The {len(names)} of {profile['n_columns']} columns {which} are compared."
        blocks.append(Text(words, "quiet"))
    strongest = pairs(found)[:MAX_ROWS]
    rows = [[a, b, KINDS[kind], Cell(f"{value:.2f}", value)] for a, b, kind, value in strongest]
    if rows:
        table = Table(("column", "with", "measure", "strength"), rows, numeric=(3,))
        blocks.append(Details(f"The strongest {len(rows)} pairs beyond chance", [table]))
    if same := profile["odd"]["same"]:
        said = [f"{a} and {b} ({measured(kind, value)})" for a, b, kind, value in same[:MAX_ROWS]]
        blocks += [Text("These say nearly the same; one of each may be enough:"), Items(said)]
    return blocks


def _segments(profile: Mapping[str, Any], which: str) -> list[Block]:
    from segexp.figures.data import segments_by_feature, telling

    found = profile[which]
    if found is None or len(found["segments"]) < 2:
        return []
    said, mark = (_KNOWN, "") if which == "target" else (_IN_SAMPLE, "In-sample. ")
    n = sum(found["counts"])
    note = f"{'Known' if which == 'target' else 'Found (in-sample)'} segments of {n:,} customers"
    first = ", ".join(cut_name(feature["column"]) for feature in found["features"][:3])
    blocks: list[Block] = [
        Text(said, "quiet"),
        _figure(
            f"{which}-telling", telling(found, note),
            f"Bars: what each column tells about the segment; most tell {first}",
            f"{mark}Mutual information as a share of the entropy of the segments, corrected for "
            "bias; columns may tell the same, so that the shares do not add up.",
        ),
        _figure(
            f"{which}-by-feature", segments_by_feature(found, note),
            f"The {len(found['segments'])} segments by the columns that tell most: {first}",
            f"{mark}The columns that tell most, segment by segment.",
        ),
        Details("Every column", [_telling_table(found)]),
        _sizes(found),
    ]  # fmt: skip
    if left_out := found["n_left_out"]:
        blocks.append(Text(f"{left_out:,} customers of no segment are left out.", "quiet"))
    return blocks


def _telling_table(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            feature["column"], feature["role"], _share(feature["share"]),
            f"{feature['information']:.3f}", shown(feature.get("eta_squared")),
            shown(feature.get("epsilon_squared")), shown(feature.get("cramers_v")),
            _p_value(float(feature["p_value"])),
        ]
        for feature in found["features"]
    ]  # fmt: skip
    return Table(
        ("column", "role", "share", "bits", "eta²", "epsilon²", "V", "p"), rows,
        numeric=range(2, 8),
        about={
            "share": "of the uncertainty about the segment, off once the column is known",
            "eta²": "share of the variance between the segments",
            "epsilon²": "the same of the ranks, corrected for bias (Kruskal-Wallis)",
            "V": "Cramér's V, corrected for bias",
            "p": "of the likelihood ratio test that the column tells nothing",
        },
    )  # fmt: skip


def _p_value(p: float) -> Cell:
    """Return a p; below some size it is rounded to zero, or to few digits."""
    return Cell(f"< {_LEAST_P:g}" if p < _LEAST_P else shown(p), p)


def _sizes(found: Mapping[str, Any]) -> Table:
    n = max(1, sum(found["counts"]))
    pairs_of = zip(found["segments"], found["counts"], strict=True)
    rows = [[name, count, _share(count / n)] for name, count in pairs_of]
    return Table(("segment", "customers", "share"), rows, numeric=(1, 2))


def _outliers(profile: Mapping[str, Any]) -> list[Block]:
    from segexp.figures.data import outliers

    judged = [column for column in profile["columns"] if column.get("outliers")]
    found = [c for c in judged if c["outliers"]["n_low"] + c["outliers"]["n_high"]]
    n_numbers = sum(column["role"] == "numeric" for column in profile["columns"])
    if not n_numbers:
        return []
    unjudged = n_numbers - len(judged)
    said = "No number is an outlier by the rule of Tukey." if not found else (
        "Outliers by the rule of Tukey (1977) lie more than 1.5 interquartile ranges beyond the "
        "quartiles. In skewed columns many are ordinary customers who spend more."
    )  # fmt: skip
    if unjudged:
        said += f" Of {unjudged} columns the middle half is one value, and the rule says nothing."
    blocks: list[Block] = [Text(said)]
    if found:
        n_rows = profile["n_rows"]
        alt = f"The outliers of {len(found)} columns, by their distance from the median"
        caption = f"All {n_rows:,} rows; up to five at each end are drawn."
        blocks.append(_figure("outliers", outliers(found, n_rows), alt, caption))
        blocks.append(Details("The most extreme values", [_outlier_table(found)]))
    return blocks


def _outlier_table(columns: Sequence[Mapping[str, Any]]) -> Table:
    ordered = sorted(columns, key=lambda column: -farthest(column)[1])[:MAX_ROWS]
    rows = []
    for column in ordered:
        outliers = column["outliers"]
        rows.append(
            [
                column["name"], outliers["n_low"], outliers["n_high"],
                _share(outlier_share(column)), shown(outliers["low_fence"]),
                shown(outliers["high_fence"]), _values(outliers["lowest"]),
                _values(outliers["highest"]),
            ]
        )  # fmt: skip
    return Table(
        ("column", "low", "high", "share", "low below", "high above", "lowest", "highest"), rows,
        numeric=range(1, 6),
    )  # fmt: skip


def _values(values: Sequence[float]) -> str:
    return ", ".join(shown(float(value)) for value in values) or "–"
