"""How the rules of baskets look on the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, number, say, show_table, table
from segexp.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from segexp.runs import Run

MOST_RULES = 10
MOST_SPECIAL = 3  # of each segment
MOST_SEGMENTS = 10
LEAST_SHOWN = 1e-99  # of q-values


def print_baskets(run: Run, most: int = MOST_RULES) -> None:
    """Print counts, the rules with the highest lift, and those special to a segment.

    The metrics on held-out baskets are those of the run's table of metrics.

    Parameters
    ----------
    run : Run
        Of the task ``baskets``; prints nothing of a run without rules of all baskets.
    most : int
        Rules that are shown.
    """
    from segexp.runs import BASKETS, RULES, SEGMENT_RULES

    if not (run.path / BASKETS).is_file():
        return
    found = _read_json(run, BASKETS)
    _print_counts(found)
    _print_rules(_read_csv(run, RULES), most, found["n_folds"])
    if found["n_rules"]:
        _print_drop(run)
    if "segments" in found:
        _print_segments(found["segments"], _read_csv(run, SEGMENT_RULES))
    if found["advice"]:
        say(found["advice"], "yellow")
    for note in found["notes"]:
        say(note, "yellow")


def _read_json(run: Run, name: str) -> dict[str, Any]:
    path = run.path / name
    needed = {
        "n_baskets", "n_items", "n_itemsets", "n_rules", "n_folds", "advice", "notes", "min_count",
    }  # fmt: skip
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not needed <= set(content):
        raise RunError(f"{path} is damaged: it must hold {', '.join(sorted(needed))}")
    return content


def _read_csv(run: Run, name: str) -> pd.DataFrame:
    import pandas as pd

    path = run.path / name
    texts = {"antecedent": str, "consequent": str, "segment": str}
    try:
        # An item may be called "NA".
        return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def _print_counts(found: Mapping[str, Any]) -> None:
    say(
        f"{found['n_baskets']:,} baskets of {found['mean_items']:.1f} different items on average; "
        f"{found['n_items_sold']:,} items"
    )
    say(
        f"{found['n_itemsets']:,} frequent itemsets (in {found['min_count']:,} baskets or more); "
        f"{found['n_rules']:,} rules of confidence {found['min_confidence']} or more"
        + _lengths(found["rules_by_length"])
    )
    if found["n_rules"]:
        say(
            f"{found['n_significant']:,} are significant (Fisher's exact test, false discovery "
            f"rate {found['alpha']:g} over {found['n_rules_weighed']:,} rules), "
            f"{found['n_redundant']:,} are redundant (a more general rule is as good)"
        )
    say()


def _lengths(by_length: Mapping[str, int]) -> str:
    if not by_length:
        return ""
    words = ", ".join(f"{n:,} of {length} items" for length, n in by_length.items())
    return f": {words}"


def _print_drop(run: Run) -> None:
    """Say what the choice of the rules flatters, which no figure of a single rule can show."""
    summary = run.read_summary()
    drop = summary.get("confidence_drop", {}).get("mean")
    honest = summary.get("held_out_confidence", {}).get("mean")
    if drop is not None and honest is not None:
        say(
            f"these rules were chosen on all baskets; rules chosen on the training baskets of a "
            f"fold had a confidence of {number(drop + honest, 3)} there and of "
            f"{number(honest, 3)} on the baskets held out"
        )
        say()


def _print_rules(rules: pd.DataFrame, most: int, n_folds: int) -> None:
    if rules.empty:
        return
    columns = ("support", "confidence", "lift", "q", "found in")
    made = table(
        f"the {min(most, len(rules))} rules with the highest lift (in-sample)",
        ("if a basket holds", "it holds", "baskets", *columns),
        right=("baskets", *columns),
    )
    for rule in rules.head(most).to_dict("records"):
        add_row(
            made, rule["antecedent"], rule["consequent"],
            f"{rule['n_both']:,} of {rule['n_antecedent']:,}", number(rule["support"]),
            number(rule["confidence"], 3), number(rule["lift"], 2),
            f"{rule['q_value']:.1e}" if rule["q_value"] > LEAST_SHOWN else f"< {LEAST_SHOWN:.0e}",
            f"{rule['n_folds_found']} of {n_folds} folds",
        )  # fmt: skip
    show_table(made)


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _print_segments(segments: Mapping[str, Mapping[str, Any]], rules: pd.DataFrame) -> None:
    made = table(
        "segments", ("segment", "baskets", "rules", "special"),
        right=("baskets", "rules", "special"),
    )  # fmt: skip
    for name, one in segments.items():
        add_row(made, name, f"{one['n_baskets']:,}", f"{one['n_rules']:,}", f"{one['n_special']:,}")
    show_table(made)
    special = rules[rules["special"].astype(str) == "True"]
    if special.empty:
        say("no rule holds in one segment more often than in the others, beyond chance")
        say()
        return
    columns = ("confidence", "outside", "times")
    made = table(
        f"rules that hold in one segment more often than in the others (mined from half of "
        f"its customers, counted in the other half; the first {MOST_SPECIAL} of each)",
        ("segment", "if a basket holds", "it holds", "baskets", *columns),
        right=("baskets", *columns),
    )
    shown = special.groupby("segment", sort=False).head(MOST_SPECIAL)
    names = list(dict.fromkeys(shown["segment"]))[:MOST_SEGMENTS]
    for name in names:
        for rule in shown[shown["segment"] == name].to_dict("records"):
            add_row(
                made, name, rule["antecedent"], rule["consequent"],
                f"{rule['n_both']:,} of {rule['n_antecedent']:,}", number(rule["confidence"], 3),
                number(_float(rule["confidence_outside"]), 3), _times(rule["segment_lift"]),
            )  # fmt: skip
    show_table(made)


def _times(lift: Any) -> str:
    value = _float(lift)
    if value is not None and math.isinf(value):
        return "only here"
    return number(value, 2)
