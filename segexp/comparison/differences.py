"""Differences between rows that were judged on the same folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from segexp.comparison.entries import Entry, folds_text, segments_text, space_of, target_of
from segexp.comparison.rows import Row
from segexp.comparison.statistics import Paired, holm, paired
from segexp.errors import ConfigError
from segexp.metrics import Metric, metric_by_name

_OTHER_SPACE = "other prepared features: distances of two feature spaces do not compare"


def check_level(level: float) -> None:
    """Raise ``ConfigError`` unless this is the level of a test or an interval."""
    if not 0 < level < 1:
        raise ConfigError(f"the level must lie between 0 and 1, got {level}")


def check_rope(rope: float) -> None:
    """Raise ``ConfigError`` unless this is a width of what counts as equal."""
    if not 0 <= rope < math.inf:
        raise ConfigError(f"what counts as equal must be 0 or more, got {rope}")


def is_bounded(metric: Metric) -> bool:
    """Say whether a rope is in the metric's own units, not a share of the best mean."""
    return metric.low >= -1 and metric.high <= 1


def paired_difference(
    a: Row, b: Row, metric: str, *, rope: float, level: float = 0.95
) -> Paired | None:
    """Compare two rows fold by fold, by `paired`; several seeds are averaged first.

    Parameters
    ----------
    rope : float
        In the units of the metric.

    Returns
    -------
    Paired or None
        None if the rows are not judged on the same folds of the same data, by the same known
        segments or (metrics of clusters alone) in the same space of features; if one lacks the
        metric, or fewer than two folds have a value of both.
    """
    import numpy as np

    first, second = a.entries[0], b.entries[0]
    values, others = a.values(metric), b.values(metric)
    known = metric_by_name(metric)
    if values is None or others is None or why_not(first, second, known):
        return None
    sign = 1.0 if known.greater_is_better else -1.0
    differences = sign * (values - others)
    differences = differences[~np.isnan(differences)]
    if len(differences) < 2:
        return None
    return paired(differences, _test_to_train(first), rope=rope, level=level)


def why_not(a: Entry, b: Entry, metric: Metric) -> str:
    """Say why two runs cannot be compared by a metric; "": they can."""
    of_a, of_b = a.manifest["dataset"], b.manifest["dataset"]
    if of_a["name"] != of_b["name"]:
        return f"other data sets: {of_a['name']} and {of_b['name']}"
    if of_a["synthetic"] != of_b["synthetic"]:
        return "one judges synthetic customers, the other real ones"
    if of_a["fingerprint"] != of_b["fingerprint"]:
        prints = f"{of_a['fingerprint'][:12]} and {of_b['fingerprint'][:12]}"
        return f"other data under the same name: fingerprints {prints}"
    split_a, split_b = a.manifest["split"], b.manifest["split"]
    if split_a["hash"] != split_b["hash"] or a.folds != b.folds:
        return f"other folds: {folds_text(split_a)} and {folds_text(split_b)}"
    if metric.of == "clusters":
        return _OTHER_SPACE if space_of(a) != space_of(b) else ""
    if target_of(a) != target_of(b):
        return f"other targets: {target_of(a) or 'none'} and {target_of(b) or 'none'}"
    if of_a["n_rows"] != of_b["n_rows"]:
        return f"other rows of the same table: {of_a['n_rows']:,} and {of_b['n_rows']:,}"
    segments_a, segments_b = a.manifest["segments"], b.manifest["segments"]
    if segments_a != segments_b:
        both = f"{segments_text(segments_a)}; and {segments_text(segments_b)}"
        return f"other known segments: {both}"
    return ""


def _test_to_train(entry: Entry) -> float:
    split = entry.manifest["split"]
    if split["protocol"] == "holdout":
        share = float(split["test_size"])
        return share / (1 - share)
    return 1 / (int(split["n_splits"]) - 1)


def compared(row: Row, reference: Row, metric: Metric, rope: float, alpha: float) -> Paired | None:
    """Return the difference of a row from the reference; None for the reference itself."""
    if row is reference:
        return None
    return paired_difference(row, reference, metric.name, rope=rope, level=1 - alpha)


def tested(
    rows: Sequence[Row], best: Row, reference: Row, metric: Metric, rope: float, alpha: float
) -> list[Row]:
    """Return rows with their differences, and whether they are tied with the best."""
    to_best = _with_holm([compared(row, best, metric, rope, alpha) for row in rows])
    tied = [
        row is best or (found is not None and _is_tied(found, alpha))
        for row, found in zip(rows, to_best, strict=True)
    ]
    if reference is not best:
        to_best = _with_holm([compared(row, reference, metric, rope, alpha) for row in rows])
    return [
        replace(row, tied_with_best=is_tied, to_best=found)
        for row, is_tied, found in zip(rows, tied, to_best, strict=True)
    ]


def _is_tied(found: Paired, alpha: float) -> bool:
    return found.mean == 0 if found.p_holm is None else found.p_holm > alpha


def _with_holm(found: Sequence[Paired | None]) -> list[Paired | None]:
    adjusted = holm([one.p for one in found if one is not None and one.p is not None])
    left = iter(adjusted)
    return [
        one if one is None or one.p is None else replace(one, p_holm=next(left)) for one in found
    ]
