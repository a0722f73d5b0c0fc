"""``segexp migrate``: the segments of a run in another period."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segexp.migrating import Migration

MOST_SEGMENTS = 12  # that the terminal shows; the files have all
MOST_FEATURES = 12
STYLES = {"keep": "bold green", "watch": "bold yellow", "re-segment now": "bold red"}


def execute(
    folder: str, table: str | None, words: Sequence[str], output: str | None, *, force: bool
) -> int:
    """Compare the customers of a run with those of a later period, and write what was found.

    Parameters
    ----------
    table : str or None
        The table of the customers later. A run on a transaction log needs none: then a word may
        stand in its place.
    """
    from segexp.migrating import check_folder, compare_periods, default_folder, write_migration

    if table is not None and "=" in table and not Path(table).is_file():
        words, table = [table, *words], None
    if output is not None:
        check_folder(Path(output), force=force)
    check = None if output is not None else partial(check_folder, force=force)
    found = compare_periods(folder, table, words, check=check)
    target = Path(output) if output is not None else default_folder(found)
    write_migration(found, target, force=force)
    _print_migration(found, target)
    return 0


def _print_migration(found: Migration, target: Path) -> None:
    from segexp.cli.console import say

    say(found.verdict.status, style=STYLES[found.verdict.status])
    for reason in found.verdict.reasons:
        say(f"  - {reason.words}")
    if not found.verdict.reasons:
        say("  - no figure is beyond its threshold")
    for note in found.verdict.notes:
        say(f"  - no reason: {note}")
    for sentence in found.periods:
        say(f"  - {sentence}")
    say()
    _print_matrix(found)
    _print_retention(found)
    _print_psi(found)
    _print_figures(found)
    for note in found.notes:
        say(f"  - {note}")
    say(f"written to {target}")


def _print_matrix(found: Migration) -> None:
    from segexp.cli.console import add_row, show_table, table
    from segexp.migration import GONE, NEW

    wide = found.matrix
    shown = _largest(found)
    rows = [name for name in wide.index if name in (*shown, NEW)]
    columns = [name for name in wide.columns if name in (*shown, GONE)]
    n = len(found.order)
    which = f", the largest {len(shown)} of {n} segments" if len(shown) < n else ""
    made = table(
        f"customers from {found.before.name} (rows) to {found.after.name} (columns){which}",
        ("from", *columns),
        right=columns,
    )
    for name in rows:
        add_row(made, name, *(f"{count:,.0f}" for count in wide.loc[name, columns]))
    show_table(made)


def _largest(found: Migration) -> list[str]:
    """Return the segments to show, in their order: those with most customers in both periods."""
    sizes = found.retention.set_index("segment")[["before", "after"]].sum(axis=1)
    return list(sizes.nlargest(MOST_SEGMENTS).reindex(found.order).dropna().index)


def _print_retention(found: Migration) -> None:
    from segexp.cli.console import add_row, show_table, table

    shown = found.retention[found.retention["segment"].isin(_largest(found))]
    counts = ("before", "after", "net", "came", "left", "new", "gone")
    earned = ("revenue_before", "revenue_after", "net_revenue")
    columns = [*counts, "stayed", *(name.replace("_", " ") for name in earned)]
    has_revenue = bool(shown["net_revenue"].notna().any())
    columns = columns if has_revenue else columns[: len(counts) + 1]
    made = table("what each segment kept, won and lost", ("segment", *columns), right=columns)
    for row in shown.to_dict("records"):
        share = row["retention"]
        add_row(
            made, row["segment"], *(_signed(row, name) for name in counts),
            "-" if share != share else f"{share:.1%}",
            *(_signed(row, name) for name in (earned if has_revenue else ())),
        )  # fmt: skip
    show_table(made)


def _signed(row: dict[object, object], name: str) -> str:
    value = float(str(row[name]))
    if value != value:
        return "-"
    return f"{value:+,.0f}" if name.startswith("net") else f"{value:,.0f}"


def _print_psi(found: Migration) -> None:
    from segexp.cli.console import add_row, number, say, show_table, table

    shown = found.stability.head(MOST_FEATURES + 1)
    columns = ("psi", "by chance")
    made = table("population stability index", ("of", *columns, "what it says"), right=columns)
    for row in shown.to_dict("records"):
        said = _judged(found, row["psi"], row["by_chance"])
        name = "segment sizes" if row["kind"] == "sizes" else row["figure"]
        add_row(made, name, number(row["psi"], 3), number(row["by_chance"], 3), said)
    show_table(made)
    if more := len(found.stability) - len(shown):
        say(f"{more} more features drifted less")
        say()


def _judged(found: Migration, index: float, by_chance: float) -> str:
    if index <= by_chance:
        return "no more than chance"
    if index >= found.thresholds.psi_act:
        return "shifted"
    return "somewhat" if index >= found.thresholds.psi_watch else "stable"


def _print_figures(found: Migration) -> None:
    """Print what the refit and the model itself say, in one line each."""
    from segexp.cli.console import number, say

    drift = found.drift
    say(f"{number(drift.retention, 3)} of the customers of both periods kept their segment")
    if found.refit is not None:
        say(
            "refitted on the later customers, the pipeline agrees with the old segments by an "
            f"adjusted Rand index of {number(drift.ari, 3)}"
        )
        if drift.expected_ari is not None:
            say(
                "fits on two halves of the first period agree by "
                f"{number(drift.expected_ari, 3)} or more in 95% of the splits"
            )
        renamed = {new: old for new, old in found.refit.names.items() if new != old}
        if renamed:
            pairs = ", ".join(f"{new} is {old}" for new, old in renamed.items())
            say(f"the refit numbers them in another order: {pairs}")
    if drift.silhouette_before is not None:
        say(
            f"silhouette of the old segments: {number(drift.silhouette_before, 3)} before, "
            f"{number(drift.silhouette_after, 3)} after (in-sample, in the space of the model)"
        )
    if drift.unlike_share is not None:
        say(f"{drift.unlike_share:.1%} of the later customers are unlike anybody of the training")
