"""How the segments that a clusterer found look on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, number, say, show_table, table

if TYPE_CHECKING:
    from segexp.runs import Run

RULES = {
    "native": "the clusterer's own rule",
    "core_points": "the nearest core point within its reach",
    "nearest_centroid": "the nearest centre",
    "nearest_neighbors": "the nearest fitted customer",
}


def is_clustering(run: Run) -> bool:
    """Return whether a run looked for segments."""
    return bool(run.manifest["task"] == "clustering")


def print_found_segments(run: Run, full: bool = False) -> None:
    """Print the segments of all customers, their stability, and the verdict on their number.

    Parameters
    ----------
    full : bool
        With the table of k.
    """
    from segexp.runs import SEGMENTATION

    if missed := run.manifest.get("constraints_missed"):
        say(f"not a usable segmentation: {'; '.join(missed)} (evaluation.constraints)", "yellow")
    if not (run.path / SEGMENTATION).is_file():
        return
    found = run.read_segmentation()
    folds = run.read_summary().get("n_segments", {}).get("mean")
    if folds is not None and folds != found["n_segments"]:
        say(
            f"the saved model has {found['n_segments']} segments, the folds had {folds:.1f} on "
            f"average: the held-out figures are theirs",
            "yellow",
        )
    _print_segments(run)
    _print_assignment(found["assignment"])
    if stable := found.get("stability"):
        say(
            f"stability: refitted on {stable['n_resamples']} bootstrap samples, the pipeline "
            f"agrees with these segments by an adjusted Rand index of {number(stable['ari'], 3)}; "
            f"jaccard is that of each segment (Hennig: .75 and more is stable, below .6 do not "
            f"trust it)"
        )
        say()
    _print_k(run, found.get("k", {}), full)
    _print_purchases(run)
    _print_responses(run, found.get("responses"))
    notes = found.get("notes", [])
    for note in notes if full else notes[:2]:
        say(f"note: {note}", style="yellow")
    if len(notes) > 2 and not full:
        say(f"and {len(notes) - 2} more notes, which `segexp show` lists", style="yellow")


def _print_purchases(run: Run) -> None:
    """Print what the customers of each segment bought, and how many there are to look after."""
    from segexp.runs import AT_RISK, HIGH_VALUE, RFM

    if not (run.path / RFM).is_file():
        return
    shown = ("customers", "share", "orders", "revenue", "of revenue", "days ago", "times", "value")
    made = table(
        "what they bought (in-sample; recency in days, frequency and value as medians)",
        ("segment", *shown), right=shown,
    )  # fmt: skip
    for row in run.read_table(RFM).to_dict("records"):
        medians = (number(row[f"median[{name}]"], 0) for name in ("recency", "frequency"))
        add_row(
            made, row["segment"], f"{row['customers']:,}", f"{row['share']:.1%}",
            f"{row['orders']:,.0f}", f"{row['revenue']:,.0f}", _percent(row["revenue_share"]),
            *medians, f"{row['median[monetary]']:,.0f}",
        )  # fmt: skip
    show_table(made)
    for name, what in ((AT_RISK, "at risk"), (HIGH_VALUE, "of high value")):
        listed = run.read_table(name)
        say(f"{len(listed):,} customers {what}, each with the reason: {run.path / name}")
        for row in listed.head(2).to_dict("records"):
            say(f"  {row['id']}: {row['reason']}")
    say()


def _print_responses(run: Run, test: Mapping[str, Any] | None) -> None:
    """Print which share of each segment responded."""
    from segexp.runs import RESPONSES

    if not (run.path / RESPONSES).is_file() or test is None:
        return
    columns = ("customers", "responders", "rate", "interval", "lift", "q")
    rates = run.read_table(RESPONSES)
    several = rates["outcome"].nunique() > 1
    made = table(
        f"{test['outcome']} by segment, which the clusterer was not shown (in-sample)",
        ("segment", *(["outcome"] if several else []), *columns), right=columns,
    )  # fmt: skip
    for row in rates.to_dict("records"):
        add_row(
            made, row["segment"], *([row["outcome"]] if several else []),
            f"{row['customers']:,}", f"{row['responders']:,}", _percent(row["rate"]),
            f"{_percent(row['low'])} .. {_percent(row['high'])}", number(_float(row["lift"]), 2),
            _q(_float(row["q_value"])),
        )  # fmt: skip
    show_table(made)


def _q(value: float | None) -> str:
    return "<0.0001" if value is not None and value < 1e-4 else number(value)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def _print_segments(run: Run) -> None:
    from segexp.segment_names import without_markers

    segments = run.read_segments()
    columns = [c for c in ("silhouette", "jaccard", "stability") if c in segments]
    made = table(
        "segments of all customers (in-sample)",
        ("segment", "customers", "share", *columns, "what marks them"),
        right=("customers", "share", "silhouette", "jaccard"),
    )
    plain = without_markers(segments)
    for row in segments.to_dict("records"):
        cells = [row[c] if c == "stability" else number(_float(row[c]), 3) for c in columns]
        cells = ["-" if isinstance(c, float) and math.isnan(c) else c for c in cells]
        markers = row.get("markers")
        add_row(
            made, row["segment"], f"{row['n']:,}", f"{row['share']:.1%}", *cells,
            markers if isinstance(markers, str) else plain.get(row["segment"], ""),
        )  # fmt: skip
    show_table(made)


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _print_assignment(assignment: Mapping[str, Any]) -> None:
    rule, agreement = assignment["rule"], assignment["agreement"]
    agrees = (
        f", which agrees with the segments of {agreement:.1%} of the fitted customers when it does "
        f"not look at the customer"
        if rule != "native" and agreement is not None
        else ""
    )
    say(f"new customers get their segment by {RULES.get(rule, rule)}{agrees}")


def _print_k(run: Run, verdicts: Mapping[str, Any], full: bool) -> None:
    if "final" not in verdicts:
        return
    verdict = verdicts["final"]
    choices = verdict["choices"]
    n, n_all = verdict["n_rows"], run.manifest["dataset"]["n_rows"]
    measured = "all customers" if n == n_all else f"{n:,} customers drawn at random"
    made = table(
        f"how many segments: what each criterion would choose (in-sample, {measured})",
        ("criterion", "k", "why"), right=("k",),
    )  # fmt: skip
    for choice in choices:
        k = choice["k"]
        add_row(made, choice["criterion"], "-" if k is None else int(k), choice["reason"])
    show_table(made)
    say(verdict["words"], style="bold")
    others = {rows: v for rows, v in verdicts.items() if rows != "final"}
    if others:
        chosen = ", ".join(str(v["best"]) for v in others.values())
        say(f"chosen on the training rows of each fold: {chosen}")
    say()
    if full:
        _print_k_table(run)


def _print_k_table(run: Run) -> None:
    from segexp.runs import K_TABLE

    if not (run.path / K_TABLE).is_file():
        return
    measured = run.read_k_table()
    measured = measured[measured["rows"] == "final"]
    names = (
        "inertia", "silhouette", "calinski_harabasz", "davies_bouldin", "gap_uniform", "gap_pca",
        "bic", "icl", "prediction_strength", "bootstrap_ari",
    )  # fmt: skip
    shown = [n for n in names if n in measured and measured[n].notna().any()]
    made = table("criteria by number of segments (in-sample)", ("k", *shown),
                 right=("k", *shown))  # fmt: skip
    for row in measured.to_dict("records"):
        add_row(made, row["k"], *(number(_float(row[name])) for name in shown))
    show_table(made)
