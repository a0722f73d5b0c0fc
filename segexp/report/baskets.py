"""What a report says of association rules: the rules, and what held-out baskets say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.report.page import (
    Block,
    Cell,
    Details,
    Fact,
    Facts,
    Figure,
    Items,
    Section,
    Table,
    Text,
    shown,
)
from segexp.report.source import Source

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib import figure as drawn

MOST_RULES = 100
MOST_ITEMSETS = 60
MOST_SPECIAL = 10  # of each segment
_IN_SAMPLE = "In-sample: of the baskets that were mined."


def basket_sections(source: Source) -> list[Section]:
    """Return the sections of a run of association rules."""
    found = source.baskets
    if found is None:
        why = f"What was found in the baskets cannot be shown: {source.why(runs.BASKETS)}."
        return [Section("baskets", "Baskets", [Text(why, "note")])]
    children = [_rules(source, found), _itemsets(source)]
    if isinstance(found.get("segments"), Mapping):
        children.append(_segments(source, found["segments"]))
    if notes := [*filter(None, [found.get("advice")]), *found.get("notes", [])]:
        children.append(Section("baskets-notes", "Notes", [Items([str(n) for n in notes])]))
    return [Section("baskets", "Baskets", _counts(found), children)]


def _counts(found: Mapping[str, Any]) -> list[Block]:
    mean = f"{found['mean_items']:.1f}" if found.get("mean_items") is not None else "–"
    return [
        Facts(
            [
                Fact("baskets", shown(found["n_baskets"]), f"{mean} different items on average"),
                Fact("items", shown(found["n_items_sold"])),
                Fact("frequent itemsets", shown(found["n_itemsets"]),
                     f"in {found['min_count']:,} baskets or more"),
                Fact("rules", shown(found["n_rules"]),
                     f"of confidence {found['min_confidence']:g} or more"),
            ]
        ),
        Text(
            f"{found['n_significant']:,} rules are significant (Fisher's exact test, false "
            f"discovery rate {found['alpha']:g} over {found['n_rules_weighed']:,} rules that were "
            f"weighed); {found['n_redundant']:,} are redundant: a more general rule is as good."
        ),
    ]  # fmt: skip


# ---- rules -------------------------------------------------------------------------------------


def _rules(source: Source, found: Mapping[str, Any]) -> Section:
    rules = source.rules
    if rules is None:
        why = f"The rules cannot be shown: {source.why(runs.RULES)}."
        return Section("rules", "Rules", [Text(why, "note")])
    if rules.empty:
        return Section("rules", "Rules", [Text("No rule reached the thresholds.", "note")])
    blocks: list[Block] = [Text(words)] if (words := _flattered(source)) else []
    blocks += _figure(
        source, "rule_network", None,
        "Items on a circle; each of the rules with the highest lift joins its items to a dot, and "
        "an arrow leads on to the item that it foretells. The table has the numbers.",
        f"The significant rules with the highest lift that are not redundant. {_IN_SAMPLE}",
    )  # fmt: skip
    blocks.append(_rules_table(rules))
    blocks += _figure(
        source, "rules", lambda: _scatter(rules),
        "Every rule as a point: support across, confidence upwards, lift as colour.",
        f"Rules by support and confidence. {_IN_SAMPLE}",
    )  # fmt: skip
    return Section("rules", "Rules", blocks)


def _flattered(source: Source) -> str:
    """Say what the choice of the rules flatters, which no figure of a single rule can show."""
    summary = source.summary or {}
    drop = (summary.get("confidence_drop") or {}).get("mean")
    honest = (summary.get("held_out_confidence") or {}).get("mean")
    if drop is None or honest is None:
        return ""
    return (
        f"These rules were chosen on all baskets. Rules chosen on the training baskets of a fold "
        f"had a mean confidence of {drop + honest:.3f} there and of {honest:.3f} on the baskets "
        f"held out; expect the second."
    )


def _rules_table(rules: pd.DataFrame) -> Table:
    best = rules.head(MOST_RULES)
    return Table(
        columns=(
            "if a basket holds", "it holds", "baskets", "confidence",
            "confidence in other folds", "lift", "lift in other folds",
            "support", "q value", "redundant",
        ),
        rows=[
            [
                rule["antecedent"], rule["consequent"],
                Cell(f"{rule['n_both']:,} of {rule['n_antecedent']:,}", rule["n_both"]),
                _fixed(rule["confidence"], 3), _fixed(rule.get("held_out_confidence"), 3),
                _fixed(rule["lift"], 2), _fixed(rule.get("held_out_lift"), 2),
                _fixed(rule["support"], 4), Cell(f"{rule['q_value']:.1e}", rule["q_value"]),
                "yes" if str(rule["redundant"]) == "True" else "no",
            ]
            for rule in best.to_dict("records")
        ],
        numeric=range(2, 9),
        caption=f"The {len(best):,} of {len(rules):,} rules with the highest lift. {_IN_SAMPLE} "
        f"The columns of other folds count the baskets held out from the folds that found the "
        f"rule; there is a dash where every fold found it, as those baskets are all baskets. Only "
        f"the two means above say what to expect of other baskets",
        about={"lift": "how many times as often as by chance",
               "q value": "the false discovery rate at which the rule still counts"},
    )  # fmt: skip


def _fixed(value: Any, digits: int) -> Cell:
    if not isinstance(value, int | float) or value != value:
        return Cell("–")
    return Cell(f"{value:.{digits}f}", float(value))


def _scatter(rules: pd.DataFrame) -> drawn.Figure:
    from segexp.baskets.figures import rule_scatter

    return rule_scatter(rules)


# ---- itemsets ----------------------------------------------------------------------------------


def _itemsets(source: Source) -> Section:
    itemsets = source.itemsets
    if itemsets is None:
        why = f"The itemsets cannot be shown: {source.why(runs.ITEMSETS)}."
        return Section("itemsets", "Frequent itemsets", [Text(why, "note")])
    blocks = _figure(
        source, "top_items", None,
        "Bars: the items that the most baskets hold, with the share of the baskets.",
        f"The items that are bought most. {_IN_SAMPLE}",
    )  # fmt: skip
    sets = itemsets[itemsets["length"] > 1].sort_values("count", ascending=False, kind="stable")
    best = sets.head(MOST_ITEMSETS)
    table = Table(
        columns=("itemset", "items", "baskets", "support"),
        rows=[
            [row["itemset"], row["length"], row["count"], _fixed(row["support"], 4)]
            for row in best.to_dict("records")
        ],
        numeric=(1, 2, 3),
        caption=f"The {len(best):,} most frequent of {len(sets):,} sets of two items or more. "
        f"{_IN_SAMPLE}",
    )
    blocks.append(Details("Itemsets as a table", [table]))
    return Section("itemsets", "Frequent itemsets", blocks)


# ---- segments ----------------------------------------------------------------------------------


def _segments(source: Source, segments: Mapping[str, Any]) -> Section:
    blocks: list[Block] = [
        Table(
            columns=("segment", "baskets", "rules", "special rules"),
            rows=[
                [str(name), one["n_baskets"], one["n_rules"], one["n_special"]]
                for name, one in segments.items()
            ],
            numeric=(1, 2, 3),
            caption="Rules by segment; special ones hold there more often than elsewhere, beyond "
            "chance",
        )
    ]
    rules = source.segment_rules
    if rules is None:
        why = f"The rules of the segments cannot be shown: {source.why(runs.SEGMENT_RULES)}."
        return Section("segment-rules", "Rules of the segments", [*blocks, Text(why, "note")])
    special = rules[rules["special"].astype(str) == "True"]
    shown_rules = special.groupby("segment", sort=False).head(MOST_SPECIAL)
    if special.empty:
        words = "No rule holds in one segment more often than in the others, beyond chance."
        blocks.append(Text(words))
    else:
        blocks.append(_special_table(shown_rules.to_dict("records"), len(special)))
    return Section("segment-rules", "Rules of the segments", blocks)


def _special_table(rules: Iterable[Mapping[Any, Any]], n: int) -> Table:
    rows = [
        [
            rule["segment"], rule["antecedent"], rule["consequent"],
            Cell(f"{rule['n_both']:,} of {rule['n_antecedent']:,}", rule["n_both"]),
            _fixed(rule["confidence"], 3), _fixed(rule.get("confidence_outside"), 3),
        ]
        for rule in rules
    ]  # fmt: skip
    return Table(
        columns=("segment", "if a basket holds", "it holds", "baskets", "confidence", "elsewhere"),
        rows=rows, numeric=(3, 4, 5),
        caption=f"{len(rows):,} of {n:,} rules that hold in one segment more often than in the "
        f"others. Mined from half of the segment's customers, counted in the other half",
    )  # fmt: skip


def _figure(source: Source, name: str, draw: Any, alt: str, caption: str) -> list[Block]:
    content = source.picture(name, draw)
    return [Figure(name, content, alt, caption)] if content else []
