"""One card per segment: who they are, how to find them, what one may do, and what to doubt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import segexp.runs as runs
from segexp.actions import Action, Catalogue, SegmentFacts, load_actions
from segexp.checks.readings import has_fixed_rules, listed, quoted
from segexp.clustering.profile import NOISE, is_well_known
from segexp.config.options import find_conf_dirs
from segexp.data.findings import counted
from segexp.errors import DataError
from segexp.figures.look import shortened
from segexp.report.page import (
    Bar,
    Block,
    Card,
    Cards,
    Cell,
    Code,
    Findings,
    Items,
    Section,
    Table,
    Text,
    percent,
    records,
    shown,
)
from segexp.report.source import RULES, Source
from segexp.responses import ALL
from segexp.segment_names import (
    NO_MARKER,
    NOT_KNOWN,
    Marker,
    brief_markers,
    column_labels,
    level_labels,
    name_segments,
    read_leanings,
    read_markers,
    say_leanings,
    say_markers,
    segment_levels,
)
from segexp.segment_rules import SegmentRules

Floats: TypeAlias = NDArray[np.float64]

LARGE, DISTINCT, ALIKE, STABLE = "large enough", "distinct", "homogeneous", "stable"
FOUND = "recognised"
MOST_TAGS, MOST_BARS, MOST_ROWS, MOST_OUTCOMES = 4, 5, 40, 4
N_TYPICAL = 3  # customers who are shown of each segment
MOST_SHOWN = 7  # columns of theirs
FEW_TAGS = 2  # with fewer that are its own, a card also says what the segment is rather
SD_PLACES = 50  # of the index, as which a bar draws one standard deviation
LEAST_CUSTOMERS = 30  # of a segment, for a mean to say something
LEAST_SHARE = 0.02  # where the config says nothing else
LEAST_SILHOUETTE = 0.25
LEAST_JACCARD = 0.75
LEAST_RECALL = 0.5
_MARKERS_RULE = (
    "A column marks a segment if its mean there deviates from the mean of all customers by more "
    "than 25% of the largest segment mean, or by more than 50% of the mean of all; a share must "
    "also deviate by 5 percentage points (the rule of Dolnicar, Gruen and Leisch 2018). Half of "
    "its customers, and 10 of them or all, must have a value; a column that most of them lack and "
    "most others have is said to be mostly not known. Index 100 is the mean of all customers. A "
    "column with values below zero has no index: it is said how many standard deviations (sd) of "
    "all customers its mean lies from theirs, and a bar draws one of them as 50 of an index. What "
    "is no marker, but has an index of at most 75 or at least 133, is said with the word rather. "
    "Names are made of these words and of nothing else."
)
_DOUBLE_DIPPING = (
    "In-sample: of the customers that the segments were made from. Segments differ in the columns "
    "that made them, whatever the data, so that these differences prove nothing."
)


def card_sections(
    source: Source, names: Mapping[str, str] | None = None, *, actions: Catalogue | None = None
) -> list[Section]:
    """Return the section with a card for each segment, known or found; empty for baskets.

    Parameters
    ----------
    source : Source
    names : mapping of segment to name, optional
        The user's own names.
    actions : Catalogue, optional
        What one may do; by default what ``conf/actions.yaml`` says, the user's and the shipped.

    Raises
    ------
    ConfigError
        If ``names`` cannot be used, or an ``actions.yaml`` has a mistake.
    """
    if source.task == "baskets":
        return []
    actions = load_actions(find_conf_dirs()) if actions is None else actions
    if source.task == "value":
        return _value_sections(source, actions)
    if source.segments is None:
        why = f"There are no cards of segments: {source.why(runs.SEGMENTS)}."
        return [Section("segments", "Segments", [Text(why, "note")])]
    profile = _numbers(source.segments)
    if profile["segment"].isin([NOISE]).all():
        n = int(profile["n"].sum())
        why = f"No segment was found: all {n:,} customers are noise. " if n else ""
        words = f"{why or 'No segment was found. '}There are no cards and no rules."
        return [Section("segments", "Segments", [Text(words, "note")])]
    return [_Deck(source, profile, dict(names or {}), actions).section()]


def _numbers(segments: pd.DataFrame) -> pd.DataFrame:
    """Return the profile with numbers for what was read as text."""
    words = ("segment", "markers", "stability")
    others = [column for column in segments.columns if column not in words]
    return segments.assign(
        **{str(column): pd.to_numeric(segments[column], errors="coerce") for column in others}
    )


@dataclass(frozen=True)
class SegmentCheck:
    """One thing that a segment must be; ``is_ok`` is None where it could not be judged."""

    quality: str  # what it must be
    is_ok: bool | None
    reason: str
    advice: str = ""
    seen: str = ""  # what was measured, alone
    asked: str = ""  # what was measured of whom, and what is asked for

    @property
    def words(self) -> str:
        """The check in one line."""
        if self.is_ok is None:
            return f"{self.quality}? Not known: {self.reason}"
        return f"{'' if self.is_ok else 'not '}{self.quality}: {self.reason}"


class _Deck:
    """All segments of a run, and what their cards are made of."""

    def __init__(
        self, source: Source, profile: pd.DataFrame, given: dict[str, str], actions: Catalogue
    ) -> None:
        self.source, self.profile, self.actions = source, profile, actions
        self.is_known = source.task == "classification"
        segments = profile["segment"].astype(str)
        known = set(source.manifest["segments"]) - set(segments)
        self.given = {segment: name for segment, name in given.items() if segment not in known}
        columns = [str(c)[5:-1] for c in profile.columns if str(c).startswith("mean[")]
        shares = [str(c)[6:-1] for c in profile.columns if str(c).startswith("share[")]
        self.labels = column_labels([*columns, *(share.partition("=")[0] for share in shares)])
        self.numeric, self.levels_shown = columns, shares
        # As markers are read: the name of a column of numbers may hold what parts it from a level.
        self._column_of = {share: share.partition("=")[0] for share in shares}
        self._column_of.update({column: column for column in columns})
        own_names = True if self.is_known else None
        self.names = name_segments(profile, given=self.given, own_names=own_names)
        self.markers = read_markers(profile)
        self.unused = frozenset() if self.is_known else source.unused
        self.brief = brief_markers(profile, self.unused)
        said = say_markers(profile)
        self.said = {
            segment: [
                words
                for marker, words in zip(markers, said[segment], strict=True)
                if marker.column not in self.unused
            ]
            for segment, markers in self.markers.items()
        }
        self.leanings = say_leanings(profile, self.labels, self.unused)
        self.levels = segment_levels(profile)
        self.rows = {str(row["segment"]): row for row in records(profile)}
        self.n = int(profile["n"].sum())

    @cached_property
    def rules(self) -> SegmentRules | None:
        rules = self.source.segments_as_rules
        # Rules of other segments would be believed.
        is_right = rules is not None and {*rules.names, NOISE} == {*self.rows, NOISE}
        return rules if is_right else None

    @cached_property
    def _queries(self) -> dict[str, str]:
        try:
            return self.rules.to_pandas() if self.rules is not None else {}
        except DataError:  # a name that a query cannot hold; the SQL text stands
            return {}

    @cached_property
    def _words(self) -> dict[str, str]:
        return self.rules.words() if self.rules is not None else {}

    @cached_property
    def _where(self) -> dict[str, str]:
        return self.rules.to_where() if self.rules is not None else {}

    # ---- the section ----

    def section(self) -> Section:
        kind = "known segment" if self.is_known else "segment"
        k = len(self.names) - (NOISE in self.names)
        more = "" if self.is_known else " by fixed rules" if self.is_ruled else " found"
        beside = f", {int(self.rows[NOISE]['n']):,} of them in no segment" if k < len(
            self.names) else ""  # fmt: skip
        checks = {segment: self.checks(segment) for segment in self.names}
        blocks: list[Block] = [
            Text(
                f"{counted(k, kind)}{more}, {self.n:,} customers{beside}. "
                + ("All customers of the table. " if self.is_known else _DOUBLE_DIPPING)
            ),
            self._overview(checks),
            Cards([self._card(segment, checks[segment]) for segment in self.names]),
        ]
        children = [self._rules_section(), self._checks_section(checks)]
        about = Section(
            "segments-about", "How markers, names and advice are made",
            [Text(_MARKERS_RULE), Text(_ADVICE, "quiet")],
        )  # fmt: skip
        return Section("segments", "Segments", blocks, [*children, about])

    def _overview(self, checks: Mapping[str, Sequence[SegmentCheck]]) -> Table:
        known = [m for m in ("silhouette", "jaccard") if m in self.profile]
        # Of rules that were laid down nobody asks how far apart they put the customers.
        measures = [m for m in known if not (self.is_ruled and m == "silhouette")]
        revenue = self._revenue_shares
        rows = []
        for segment, name in self.names.items():
            row = self.rows[segment]
            failed = sum(check.is_ok is False for check in checks[segment])
            rows.append(
                [
                    Cell(
                        shortened(name, LONGEST_NAME),
                        strong=True,
                        about=name if len(name) > LONGEST_NAME else "",
                    ),
                    *([segment] if self._has_new_names else []),
                    int(row["n"]),
                    Cell(f"{row['share']:.1%}", float(row["share"]), share=float(row["share"])),
                    *([_share_cell(revenue.get(segment))] if revenue else []),
                    self.brief[segment] or NO_MARKER,
                    *(row[measure] for measure in measures),
                    Cell(str(failed), failed, address=_DOUBTS) if failed else failed,
                ]
            )
        before = ["segment"] + ["number"] * self._has_new_names
        heads = {"silhouette": DISTINCT, "jaccard": STABLE}
        worth = ["of revenue"] if revenue else []
        columns = [*before, "customers", "share", *worth, "what marks them"]
        columns += [*(heads[measure] for measure in measures), "checks failed"]
        about = {
            DISTINCT: "mean silhouette, in-sample: 1 far from other segments, 0 touching them",
            STABLE: "mean Jaccard similarity with segments of resampled customers: 1 the same",
            "checks failed": "see: which segments to doubt",
        }
        said = [f"{heads[m]}: {about[heads[m]]}" for m in measures]
        numeric = ["customers", "share", *worth, *heads.values(), "checks failed"]
        return Table(
            columns, rows, numeric=numeric, about=about,
            caption=" ".join(f"{s[:1].upper()}{s[1:]}." for s in said),
        )  # fmt: skip

    @cached_property
    def _revenue_shares(self) -> dict[str, float]:
        table = self.source.rfm
        if table is None or not {"segment", "revenue_share"} <= set(table.columns):
            return {}
        shares = pd.to_numeric(table["revenue_share"], errors="coerce")
        return dict(zip(table["segment"].astype(str), shares.astype(float), strict=True))

    @property
    def is_ruled(self) -> bool:
        """Whether the segments were laid down and not found."""
        return has_fixed_rules(self.source)

    @property
    def _has_new_names(self) -> bool:
        return any(segment != name for segment, name in self.names.items())

    # ---- a card ----

    def _card(self, segment: str, checks: Sequence[SegmentCheck]) -> Card:
        row, action = self.rows[segment], self._action(segment)
        because = f" (Proposed because {action.because}.)" if action.because else ""
        blocks: list[Block] = [*self._rule_blocks(segment)]
        blocks.append(Text("Is it a segment to work with?"))
        blocks.append(Items([check.words for check in checks]))
        blocks += [self._profile_table(segment), *self._typical(segment)]
        return Card(
            title=self.names[segment],
            subtitle=self._subtitle(segment),
            share=float(row["share"]),
            tags=self._tags(segment),
            facts=self._facts(segment),
            bars=self._bars(segment),
            words=f"{action.title}. {action.do}{because}{self._own_words(segment, action)}",
            blocks=blocks,
        )

    def _tags(self, segment: str) -> list[str]:
        """Return what marks a segment; what marks most of them does not tell it from others."""
        shared = Counter(words for said in self.said.values() for words in said)
        said = sorted(self.said[segment], key=lambda words: not words.endswith(NOT_KNOWN))
        own = [words for words in said if 2 * shared[words] <= len(self.said)]
        rest = [words for words in said if words not in own]
        more = [] if len(own) >= FEW_TAGS else self.leanings[segment][: FEW_TAGS - len(own)]
        return [*own, *more, *rest][:MOST_TAGS]

    def _own_words(self, segment: str, action: Action) -> str:
        """Say what speaks against a name, or what there is to think of where no advice fits."""
        if action.against:
            return (
                f" The columns speak against this name: beside the mean of all customers its "
                f"{action.against}. Look at its customers first."
            )
        tags = self._tags(segment)
        if action.because or not tags or segment == NOISE:
            return ""
        return f" What sets it apart: {', '.join(tags)}."

    def _subtitle(self, segment: str) -> str:
        name = self.names[segment]
        parts = [f"segment {segment}"] if name != segment else []
        if name == segment or segment in self.given:
            parts.append(self.brief[segment] or NO_MARKER)
        return ": ".join(parts)

    def _facts(self, segment: str) -> list[tuple[str, str]]:
        row = self.rows[segment]
        facts = [("customers", f"{int(row['n']):,} ({row['share']:.1%})")]
        facts += self._bought(segment) + self._responded(segment)
        recall = self._recall(segment)
        if recall is not None:
            facts.append(("found by the model", f"{recall:.0%} of them (held out)"))
        return facts

    def _bought(self, segment: str) -> list[tuple[str, str]]:
        table = self.source.rfm
        own = None if table is None else table[table["segment"] == segment]
        if own is None or not len(own):
            return []
        row = own.iloc[0]
        parts = [
            ("of the revenue", percent(row["revenue_share"])),
            ("revenue", _rounded(row["revenue"])),
            ("last purchase", f"{_rounded(row['median[recency]'])} days ago (median)"),
            ("orders", f"{_rounded(row['median[frequency]'])} (median)"),
            ("value", f"{_rounded(row['median[monetary]'])} (median)"),
        ]
        return [(label, value) for label, value in parts if not value.startswith("–")]

    def _responded(self, segment: str) -> list[tuple[str, str]]:
        return [
            (
                self._outcome(row["outcome"]),
                f"{row['rate']:.1%} ({row['low']:.1%} to {row['high']:.1%}), "
                f"{_rounded(row['lift'], 2)} times that of all",
            )
            for row in self._responses(segment)[:MOST_OUTCOMES]
            if math.isfinite(row["rate"])
        ]

    def _responses(self, segment: str) -> list[dict[str, Any]]:
        table = self.source.responses
        if table is None:
            return []
        return records(table[table["segment"] == segment])

    def _outcome(self, level: str) -> str:
        found = (self.source.segmentation or {}).get("responses")
        name = str(found["outcome"]) if isinstance(found, dict) and "outcome" in found else ""
        return f"{name} = {level}" if name else f"outcome {level}"

    def _recall(self, segment: str) -> float | None:
        entry = (self.source.summary or {}).get(f"recall[{segment}]") if self.is_known else None
        return None if entry is None else entry["mean"]

    def _bars(self, segment: str) -> list[Bar]:
        """Draw the columns and levels that differ most from all customers, marking ones first."""
        marked = {marker.key for marker in self.markers[segment]}
        places = self._places[segment]
        best = sorted(
            self._drawn(segment), key=lambda key: (key not in marked, -abs(places[key] - 100))
        )
        return [
            Bar(
                self._key_labels[key], min(places[key], self._most_place),
                self._place_words(segment, key), 100, self._most_place,
            )
            for key in best[:MOST_BARS]
        ]  # fmt: skip

    def _drawn(self, segment: str) -> list[str]:
        # A level of which nothing is said is not drawn: its column may have five of them.
        told = {m.key for m in (*self.markers[segment], *self._rather[segment])}
        row = self.rows[segment]
        return [
            key
            for key in self._places[segment]
            if (key in told or key in self.numeric)
            and is_well_known(row.get(f"known[{self._column_of[key]}]", row["n"]), row["n"])
        ]

    @cached_property
    def _rather(self) -> dict[str, list[Marker]]:
        return read_leanings(self.profile)

    @cached_property
    def _key_labels(self) -> dict[str, str]:
        return {**self.labels, **level_labels(self.profile, self.labels)}

    @cached_property
    def _places(self) -> dict[str, dict[str, float]]:
        """Return where each column or level of a segment lies on the scale of the index."""
        return {
            segment: {
                key: place
                for key in (*self.numeric, *self.levels_shown)
                if math.isfinite(place := self._place(row, key))
            }
            for segment, row in self.rows.items()
        }

    def _place(self, row: Mapping[str, Any], key: str) -> float:
        if key not in self.numeric:
            overall = self._all(key, "share")
            return float(100 * row[f"share[{key}]"] / overall) if overall > 0 else math.nan
        index = float(row.get(f"index[{key}]", math.nan))
        if math.isfinite(index):
            return index
        sds = self._in_sds(row, key)
        return max(0.0, 100 + SD_PLACES * sds) if math.isfinite(sds) else math.nan

    def _in_sds(self, row: Mapping[str, Any], key: str) -> float:
        """Return how many standard deviations a mean lies above that of all customers."""
        sd = self._sds.get(key, math.nan)
        return float((row[f"mean[{key}]"] - self._all(key)) / sd) if sd > 0 else math.nan

    @cached_property
    def _sds(self) -> dict[str, float]:
        """Return the standard deviation of numeric columns, of all rows or else of the sample."""
        sample = self.source.sample
        known = [] if sample is None else [(c, sample[c]) for c in self.numeric if c in sample]
        found = {c: pd.to_numeric(values, errors="coerce").std() for c, values in known}
        entries = (self.source.profile or {}).get("columns")
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("sd"), float):
                found[str(entry.get("name"))] = entry["sd"]
        return {column: float(sd) for column, sd in found.items()}

    def _place_words(self, segment: str, key: str) -> str:
        row = self.rows[segment]
        if key in self.numeric and not math.isfinite(row.get(f"index[{key}]", math.nan)):
            sds = self._in_sds(row, key)
            return f"{round(sds, 1) + 0.0:+.1f} sd" if math.isfinite(sds) else "–"
        place = self._places[segment].get(key, math.nan)
        return f"{place:.0f}" if math.isfinite(place) else "–"

    @cached_property
    def _most_place(self) -> float:
        """The index at the end of a bar, the same on all cards."""
        drawn = [self._places[s][key] for s in self._places for key in self._drawn(s)]
        largest = max(drawn, default=0.0)
        return min(max(largest, 150.0), 300.0)

    def _action(self, segment: str) -> Action:
        return self.actions.choose(
            SegmentFacts(
                (segment, self.names[segment]), self.levels[segment], response=self._level(segment)
            )
        )

    def _level(self, segment: str) -> str | None:
        """Return whether a segment responded more or less than all; None for several outcomes."""
        own = self._responses(segment)
        everybody = self._responses(ALL)
        if len(own) != 1 or len(everybody) != 1 or not math.isfinite(own[0]["rate"]):
            return None
        rate = everybody[0]["rate"]
        return "high" if own[0]["low"] > rate else "low" if own[0]["high"] < rate else "average"

    # ---- rules ----

    def _rule_blocks(self, segment: str) -> list[Block]:
        if self.rules is None:
            return []
        own = self.rules.rules_of(segment)
        if not own:
            why = "No rule leads to this segment: the small tree gives its customers to others."
            return [Text(why, "note")]
        n = sum(rule.n for rule in own)
        hits = sum(rule.n * rule.purity for rule in own if rule.n)
        said = self._words[segment]
        n_all = sum(float(row["n"]) for row in self.rows.values())
        drawn = min(1.0, self.rules.n / max(1.0, n_all))
        among = "" if drawn == 1 else f", of a sample of {self.rules.n:,} customers"
        found = min(1.0, hits / max(1.0, drawn * float(self.rows[segment]["n"])))
        blocks: list[Block] = [
            Text(
                f"Rule: {said}. It holds for {n:,} customers, {percent(hits / max(1, n))} of whom "
                f"are in the segment; these are {percent(found)} of the segment "
                f"(in-sample{among})."
            )
        ]
        blocks.append(Code(self._where[segment], "sql", "SQL, after WHERE"))
        if segment in self._queries:
            query = f'customers.query({self._queries[segment]!r}, engine="python")'
            blocks.append(Code(query, "python", "pandas"))
        return blocks

    def _rules_section(self) -> Section:
        title = "The segments as rules"
        rules = self.rules
        if rules is None:
            why = self.source.why(RULES) or "the sample is of other segments"
            words = f"There are no rules in words: {why}."
            return Section("segments-rules", title, [Text(words, "note")])
        largest = max(float(row["share"]) for row in self.rows.values())
        held_out = (
            "too few customers to hold some out"
            if math.isnan(rules.held_out_fidelity)
            else f"{rules.held_out_fidelity:.1%} of {rules.n_held_out:,} customers who were held "
            "out in turn"
        )
        paragraphs = [
            f"A tree of {counted(len(rules.leaves), 'rule')} gives {rules.fidelity:.1%} of "
            f"{rules.n:,} customers their own segment (in-sample), and {held_out}. Calling "
            f"everybody by the largest segment would be right for {largest:.1%}."
        ]
        if rules.price is not None:
            paragraphs.append(_price_words(rules.price, rules.price_at_centers))
        paragraphs.append(
            "A missing cell goes where it fitted better when the tree was grown, or to the larger "
            "side where none was missing. In SQL it is NULL."
        )
        if rules.left_out:
            paragraphs.append(f"No rule asks for: {', '.join(rules.left_out)}.")
        said = self._words
        without = [s for s in rules.names if s not in said or not rules.rules_of(s)]
        if without:
            paragraphs.append(
                f"{counted(len(without), 'segment')} of {len(rules.names)} "
                f"{'has' if len(without) == 1 else 'have'} no rule: the small tree gives their "
                f"customers to others."
            )
        table = [
            [Cell(shortened(name, LONGEST_NAME), about=name if len(name) > LONGEST_NAME else ""),
             "no rule leads to it" if s in without else said[s]]
            for s in rules.names
            for name in [self.names.get(s, s)]
        ]  # fmt: skip
        blocks: list[Block] = [
            Text("\n\n".join(paragraphs)),
            Table(["segment", "rule"], table, sortable=False),
            Code(rules.to_sql(names=self.names), "sql", "SQL"),
        ]
        return Section("segments-rules", title, blocks)

    # ---- profile ----

    def _profile_table(self, segment: str) -> Table:
        row = self.rows[segment]
        marked = [marker.key for marker in self.markers[segment]]
        keys = [*self.numeric, *self.levels_shown]
        keys.sort(key=lambda key: marked.index(key) if key in marked else len(marked))
        rows = []
        for key in keys[:MOST_ROWS]:
            if key in self.numeric:
                here, index = row[f"mean[{key}]"], row.get(f"index[{key}]", math.nan)
                overall = 100 * here / index if index and math.isfinite(index) else self._all(key)
                place = self._places[segment].get(key, math.nan)
                about = self._place_words(segment, key)
                values = [shown(float(here)), shown(float(overall)), Cell(about, place)]
            else:
                here, overall = row[f"share[{key}]"], self._all(key, "share")
                index = 100 * here / overall if overall > 0 else math.nan
                values = [percent(here), percent(overall), _rounded(index)]
            mark = "not used" if self._column_of[key] in self.unused else ""
            rows.append([Cell(key, strong=key in marked, mark=mark), *values])
        more = f" The first {MOST_ROWS} of {len(keys)} columns." * (len(keys) > MOST_ROWS)
        return Table(
            ["column", "here", "all customers", "index"], rows, numeric=[1, 2, 3],
            caption=f"Means of numbers and shares of levels, those that mark it first.{more}"
            + " Not used: the segments were found without this column." * bool(self.unused),
        )  # fmt: skip

    def _all(self, key: str, kind: str = "mean") -> float:
        """Return the mean of all customers, as the segments tell it."""
        name = f"{kind}[{key}]"
        if name not in self._overall:
            column = self._column_of[key]
            self._overall[name] = self._mean_of_all(name, f"known[{column}]")
        return self._overall[name]

    @cached_property
    def _overall(self) -> dict[str, float]:
        return {}

    def _mean_of_all(self, name: str, known: str) -> float:
        values = self.profile[name]
        n = self.profile[known if known in self.profile else "n"].where(values.notna())
        total = float(n.sum())
        return float((values * n).sum() / total) if total else math.nan

    # ---- customers ----

    @cached_property
    def _sample(self) -> pd.DataFrame | None:
        """Customers with features and, in the column of that name, their ``(segment)``."""
        sample = self.source.sample
        if sample is None or not {"row", "id"} <= set(sample.columns):
            return None
        if self.is_known:
            if "target" not in sample:
                return None
            return sample.assign(**{_SEGMENT: sample["target"].astype(str)})
        customers = self.source.customers
        if customers is None or not {"row", "segment"} <= set(customers.columns):
            return None
        own = customers.drop_duplicates("row").set_index("row")["segment"]
        return sample.assign(**{_SEGMENT: sample["row"].map(own).astype(str)})

    @cached_property
    def _features(self) -> list[str]:
        sample = self._sample
        if sample is None:
            return []
        known = {"row", "id", _SEGMENT, *(["target"] if "target" in sample else [])}
        return [str(column) for column in sample.columns if column not in known]

    def _typical(self, segment: str) -> list[Block]:
        sample = self._sample
        if sample is None:
            why = self.source.why(runs.SAMPLE) or "the run does not say who is in which segment"
            return [Text(f"Typical customers are not shown: {why}.", "quiet")]
        own = sample[sample[_SEGMENT] == segment]
        if not len(own):
            return [Text("None of the customers of the sample is in this segment.", "quiet")]
        if self.is_known:
            chosen, about = self._surest(segment, own)
        else:
            distances = pd.Series(
                _to_centre(own[self._features], sample[self._features]), own.index
            )
            chosen = own.loc[distances.sort_values(kind="stable").index[:N_TYPICAL]]
            about = f"closest to the centre of the segment, of {len(own):,} customers of it in the"
            about += f" sample of {len(sample):,}; each column counts alike"
        if not len(chosen):
            return [Text(about, "quiet")]
        marked = list(dict.fromkeys(marker.column for marker in self.markers[segment]))
        columns = [c for c in marked if c in self._features]
        columns += [c for c in self._features if c not in columns]
        columns = [
            "id",
            *columns[:MOST_SHOWN],
            *(["probability"] if "probability" in chosen else []),
        ]
        rows = [[_shown_cell(v) for v in row] for row in chosen[columns].itertuples(index=False)]
        numeric = [c for c in columns if pd.api.types.is_numeric_dtype(chosen[c].dtype)]
        return [Table(columns, rows, numeric=numeric, caption=f"Typical customers: {about}.")]

    def _surest(self, segment: str, own: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """Return the customers of whom the model was rightly most certain."""
        predictions, column = self.source.predictions, f"probability[{segment}]"
        needed = {"row", "true", "predicted", column}
        if predictions is None or not needed <= set(predictions.columns):
            return own.iloc[:0], "The model gives no probabilities, so nobody is most typical."
        first = predictions.drop_duplicates("row")  # of the repeats
        right = first[(first["true"] == segment) & (first["predicted"] == segment)]
        sure = own.merge(
            right[["row", column]].rename(columns={column: "probability"}), on="row", how="inner"
        ).sort_values(["probability", "row"], ascending=[False, True], kind="stable")
        about = (
            f"those of {len(own):,} customers of it in the sample of whom the model was most "
            "certain, rightly, when they were held out"
        )
        if not len(sure):
            about = "The model was right of nobody in the sample."
        return sure.iloc[:N_TYPICAL], about

    # ---- checks ----

    def checks(self, segment: str) -> list[SegmentCheck]:
        """Judge a segment: large enough, distinct, homogeneous, stable."""
        if segment == NOISE:
            return [_size_check(self.rows[segment], self._least_share)]
        found = [_size_check(self.rows[segment], self._least_share, self.is_ruled)]
        if self.is_ruled:
            return [*found, self._homogeneous(segment), self._stable(segment)]
        if self.is_known:
            return [*found, self._homogeneous(segment), self._predictable(segment)]
        return [*found, self._distinct(segment), self._homogeneous(segment), self._stable(segment)]

    @property
    def _least_share(self) -> float:
        value: Any = self.source.config
        for key in ("evaluation", "constraints", "smallest_share", "min"):
            value = value.get(key) if isinstance(value, dict) else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else LEAST_SHARE

    def _distinct(self, segment: str) -> SegmentCheck:
        value = self.rows[segment].get("silhouette", math.nan)
        advice = "merge it with its neighbour, or try fewer segments"
        if not math.isfinite(value):
            return SegmentCheck(DISTINCT, None, "its silhouette was not measured")
        return SegmentCheck(
            DISTINCT, bool(value >= LEAST_SILHOUETTE),
            f"its mean silhouette is {decisive(value, LEAST_SILHOUETTE, 3)}, {LEAST_SILHOUETTE} or "
            f"more is asked for (in-sample, of the columns {self._as_seen}; Kaufman and Rousseeuw "
            "1990: below there is no substantial structure)",
            advice, seen=decisive(value, LEAST_SILHOUETTE, 3),
            asked=f"mean silhouette, in-sample; {LEAST_SILHOUETTE} or more is asked for",
        )  # fmt: skip

    @property
    def _as_seen(self) -> str:
        """Say in what scale a clusterer measures."""
        steps = self.source.manifest.get("preprocessing")
        return f"after preprocessing={steps}" if steps else "as they are"

    def _homogeneous(self, segment: str) -> SegmentCheck:
        sample = self._sample
        own = None if sample is None else sample[sample[_SEGMENT] == segment]
        if sample is None or own is None or len(own) < 2:
            return SegmentCheck(ALIKE, None, "there is no sample of its customers")
        ratio = _spread(own[self._features], sample[self._features])
        if not math.isfinite(ratio):
            return SegmentCheck(ALIKE, None, "no column varies in the sample")
        return SegmentCheck(
            ALIKE, bool(ratio < 1),
            f"its columns vary {decisive(ratio, 1, 2)} times as much as those of all customers, "
            f"less than 1 is asked for ({len(own):,} customers of the sample; variances of the "
            "numbers in the table, not as the model sees them, and Gini's impurity of levels)",
            "its customers differ as much as all do: do not speak to them as one group",
            seen=decisive(ratio, 1, 2),
            asked="variance of the table's own numbers in the sample beside that of all customers; "
            "less than 1 is asked for",
        )  # fmt: skip

    def _stable(self, segment: str) -> SegmentCheck:
        row = self.rows[segment]
        value = row.get("jaccard", math.nan)
        if not math.isfinite(value):
            return SegmentCheck(STABLE, None, "it was not refitted on resampled customers")
        words = row.get("stability")
        said = f" ({words})" if isinstance(words, str) and words else ""
        return SegmentCheck(
            STABLE, bool(value >= LEAST_JACCARD),
            "found again on resampled customers with a mean Jaccard of "
            f"{decisive(value, LEAST_JACCARD, 3)}{said}, {LEAST_JACCARD} or more is asked for "
            "(Hennig 2007)",
            "do not build a campaign on it before it is found again in other data",
            seen=decisive(value, LEAST_JACCARD, 3),
            asked=f"mean Jaccard on resampled customers; {LEAST_JACCARD} or more is asked for",
        )  # fmt: skip

    def _predictable(self, segment: str) -> SegmentCheck:
        recall = self._recall(segment)
        if recall is None:
            return SegmentCheck(FOUND, None, "the model's recall was not measured")
        return SegmentCheck(
            FOUND, bool(recall >= LEAST_RECALL),
            f"the model recognises {decisive(recall, LEAST_RECALL, 0, '%')} of its customers (held "
            "out), half or more is asked for",
            "more customers of it are taken for others than are recognised: treat the prediction "
            "as a hint",
            seen=decisive(recall, LEAST_RECALL, 0, "%"),
            asked="share of its customers recognised, held out; half or more is asked for",
        )  # fmt: skip

    def _checks_section(self, checks: Mapping[str, Sequence[SegmentCheck]]) -> Section:
        by_quality: dict[str, dict[str, SegmentCheck]] = {}
        for segment, found in checks.items():
            for check in found:
                if check.is_ok is False:
                    by_quality.setdefault(check.quality, {})[segment] = check
        failed = [
            {
                "code": f"not_{quality.replace(' ', '_')}",
                "message": self._doubt_words(quality, found, sum(s != NOISE for s in checks)),
                "advice": next(iter(found.values())).advice,
            }
            for quality, found in by_quality.items()
        ]
        more = (
            "Three more questions are for people (Dolnicar, Gruen and Leisch 2018, ch. 4): does "
            "the segment match what you do well, can its customers be recognised, and can they be "
            "reached?"
        )
        none = "Every segment passes the checks that could be made."
        return Section(
            "segments-checks",
            "Which segments to doubt",
            [Findings(failed, none), Text(more, "quiet")],
        )

    def _doubt_words(self, quality: str, found: Mapping[str, SegmentCheck], k: int) -> str:
        """Say who fails a check; of several segments all that they share once."""
        (segment, first), *others = found.items()
        if not others:
            return f"{quoted(self.names[segment])} is {first.words}"
        names = [f"{quoted(self.names[s])} ({check.seen})" for s, check in found.items()]
        said = f"{len(found)} of {k} segments are not {quality} ({first.asked})"
        return f"{said}: {listed(names, MOST_DOUBTED)}"


_DOUBTS = "#s-segments-checks"  # the section of the failed checks
LONGEST_NAME = 44  # letters of a segment in a table
MOST_DOUBTED = 8  # segments that are named of those who fail a check; the table counts for all
_SEGMENT = "(segment)"  # a column beside those of the sample
_ADVICE = (
    "What one may do comes from a catalogue of rules about markers and names (actions.yaml), the "
    "first of which holds is shown. It was not tested on these customers: test it on a part of the "
    "segment beside a part that is left alone."
)


def decisive(value: float, limit: float, digits: int, unit: str = "f") -> str:
    """Write a number with so many digits that it is seen on which side of a limit it lies.

    Examples
    --------
    >>> decisive(0.4959, 0.5, 0, "%"), decisive(0.2, 0.5, 0, "%"), decisive(0.2499, 0.25, 3)
    ('49.6%', '20%', '0.2499')
    """
    for more in range(digits, digits + 6):
        text = f"{value:.{more}{unit}}"
        written = float(text.rstrip("%")) / (100 if unit == "%" else 1)
        if (written < limit) == (value < limit) and (written == limit) == (value == limit):
            break
    return text


def _share_cell(share: float | None) -> Cell:
    if share is None or not math.isfinite(share):
        return Cell("–")
    return Cell(f"{share:.1%}", share, share=share)


def _size_check(row: Mapping[str, Any], least_share: float, is_ruled: bool = False) -> SegmentCheck:
    n, share = int(row["n"]), float(row["share"])
    asked = f"{LEAST_CUSTOMERS}{f' and {least_share:.1%}' if least_share > 0 else ''} are asked for"
    seen = decisive(share, least_share, 1, "%") if least_share > 0 else f"{share:.1%}"
    return SegmentCheck(
        LARGE, n >= LEAST_CUSTOMERS and share >= least_share,
        f"{n:,} customers, {seen} of all; {asked}",
        "too few to plan for: treat its customers one by one" if is_ruled else
        "too few to plan for: merge it with its neighbour, or treat it one by one",
        seen=f"{n:,}, {seen}", asked=f"customers and their share; {asked}",
    )  # fmt: skip


def _price_words(price: float, at_centers: float | None) -> str:
    same = (
        "" if at_centers is None else f", and {at_centers:.4f} times to the means of the segments"
    )
    return (
        f"The price of having rules: squared distances of customers to the means of the rules' "
        f"segments add up to {price:.4f} times those of the segments themselves{same} "
        "(in-sample; Dasgupta et al. 2020)."
    )


# ---- distances in the sample -------------------------------------------------------------------


def _to_centre(own: pd.DataFrame, everybody: pd.DataFrame) -> Floats:
    """Return how far customers are from the means and the most frequent levels of their segment.

    Numbers are in standard deviations of all customers; another level counts as one, and so does
    what is missing. Where most of the segment lack a value, having one counts as one. Dates are
    left out.
    """
    total = np.zeros(len(own))
    for name in own.columns:
        if pd.api.types.is_datetime64_any_dtype(own[name].dtype):
            continue
        if own[name].isna().mean() > 0.5:
            total += own[name].notna().to_numpy()
            continue
        if pd.api.types.is_numeric_dtype(own[name].dtype):
            values = own[name].to_numpy(dtype=float, na_value=np.nan)
            spread = float(np.nanstd(everybody[name].to_numpy(dtype=float, na_value=np.nan)))
            if not math.isfinite(spread) or spread == 0 or np.isnan(values).all():
                continue
            gaps = (values - np.nanmean(values)) / spread
            total += np.where(np.isnan(gaps), 1.0, gaps**2)
            continue
        levels = own[name].dropna().astype(str).value_counts()
        if len(levels):
            usual = min(levels[levels == levels.max()].index)
            total += (own[name].astype(str) != usual).to_numpy()
    return total


def _spread(own: pd.DataFrame, everybody: pd.DataFrame) -> float:
    """Return the mean over columns of the variance in a segment over that of all customers."""
    ratios = []
    for name in own.columns:
        if pd.api.types.is_datetime64_any_dtype(own[name].dtype):
            continue
        here, there = _variance(own[name]), _variance(everybody[name])
        if there > 0 and math.isfinite(here):
            ratios.append(here / there)
    return float(np.mean(ratios)) if ratios else math.nan


def _variance(column: pd.Series[Any]) -> float:
    """Return the variance of numbers, or Gini's impurity of levels."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=float, na_value=np.nan)
        values = values[np.isfinite(values)]
        return float(values.var()) if len(values) else math.nan
    shares = column.dropna().astype(str).value_counts(normalize=True)
    return float(1 - (shares**2).sum()) if len(shares) else math.nan


# ---- value models ------------------------------------------------------------------------------


def _value_sections(source: Source, actions: Catalogue) -> list[Section]:
    table = source.value_matrix
    if table is None or not {"segment", "value", "risk", "n", "share"} <= set(table.columns):
        why = source.why(runs.VALUE_MATRIX) or "the table of value and risk is damaged"
        return [Section("segments", "Segments", [Text(f"There are no cards: {why}.", "note")])]
    rows = _numbers(table.drop(columns=["value", "risk"])).assign(
        value=table["value"].astype(str), risk=table["risk"].astype(str)
    )
    cards = [_value_card(row, actions, source) for row in records(rows) if row["n"] > 0]
    blocks: list[Block] = [
        Text(
            "Customers by what they are worth if they are still active, and by how likely that is. "
            "In-sample: of the final model, which was fitted on the same customers."
        ),
        Cards(cards),
        Text(_ADVICE, "quiet"),
    ]
    return [Section("segments", "Segments by value and risk", blocks)]


def _value_card(row: Mapping[str, Any], actions: Catalogue, source: Source) -> Card:
    action = actions.choose(
        SegmentFacts((str(row["segment"]),), value=row["value"], risk=row["risk"])
    )
    facts = [("customers", f"{int(row['n']):,} ({row['share']:.1%})")]
    more = (
        ("of the lifetime value", percent(row.get("clv_share", math.nan))),
        ("lifetime value", _rounded(row.get("clv", math.nan))),
        ("at stake", _rounded(row.get("clv_at_stake", math.nan))),
        ("active", f"{percent(row.get('probability_alive', math.nan))} (mean probability)"),
    )
    facts += [(label, value) for label, value in more if not value.startswith("–")]
    check = _size_check(row, LEAST_SHARE)
    return Card(
        title=str(row["segment"]),
        share=float(row["share"]),
        facts=facts,
        words=f"{action.title}. {action.do}",
        blocks=[Items([check.words]), *_most_valuable(source, str(row["segment"]))],
    )


def _most_valuable(source: Source, segment: str) -> list[Block]:
    customers = source.customers
    columns = ["id", "clv", "clv_if_alive", "probability_alive", "expected_purchases"]
    if customers is None or not {*columns, "segment"} <= set(customers.columns):
        return []
    own = customers[customers["segment"] == segment]
    best = own.sort_values("clv_if_alive", ascending=False, kind="stable")[columns]
    heads = ["id", "lifetime value", "if active", "probability active", "purchases expected"]
    rows = [[_shown_cell(v) for v in r] for r in best.head(N_TYPICAL).itertuples(index=False)]
    return [Table(heads, rows, numeric=heads[1:], caption="Worth most if they are still active.")]


# ---- numbers in words --------------------------------------------------------------------------


def _rounded(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def _shown_cell(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    return shown(None if value is None or value is pd.NaT or value is pd.NA else value)
