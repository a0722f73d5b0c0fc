"""Which runs stand in one table, and why others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from segexp.comparison.entries import (
    CLASSIFICATION,
    CLUSTERING,
    Entry,
    folds_text,
    segments_text,
    space_of,
    target_of,
)
from segexp.comparison.rows import PATH, shown_path
from segexp.errors import ConfigError
from segexp.metrics import METRICS_OF, Metric, metric_by_name

_KIND_OF = {"segments": CLASSIFICATION, "clusters": CLUSTERING, "both": CLUSTERING}

_RANKED = {
    CLASSIFICATION: "ranked by how well known segments are found",
    CLUSTERING: "clusterers among themselves, by a metric that needs no known segments",
    "value": "models of customer value, by what the customers did later",
    "baskets": "association rules, by baskets held out",
}


class Key(NamedTuple):
    """What rows of one table have in common."""

    kind: str
    dataset: str
    fingerprint: str
    synthetic: bool
    split: str
    space: str  # of the features, where distances between customers are compared
    # Where known segments are to be found: what they are called, and how many are of each.
    target: str
    segments: tuple[tuple[str, int], ...]
    n_rows: int


def keys_of(entry: Entry, wanted: Metric | None) -> list[Key]:
    """Return the tables in which an entry stands, by one metric or by any."""
    data, split = entry.manifest["dataset"], entry.manifest["split"]["hash"]
    task = entry.manifest["task"]
    known = task == CLUSTERING and entry.manifest["segments"]
    kinds = [*([CLASSIFICATION] if known else []), task]
    truth = (target_of(entry), tuple(sorted(entry.manifest["segments"].items())), data["n_rows"])
    return [
        Key(
            kind, data["name"], data["fingerprint"], data["synthetic"], split,
            *((space_of(entry), "", (), 0) if kind == CLUSTERING else ("", *truth)),
        )
        for kind in kinds
        if wanted is None or _fits(wanted, kind)
    ]  # fmt: skip


def _fits(metric: Metric, kind: str) -> bool:
    return _KIND_OF.get(metric.of, metric.of) == kind


def own_metric(entries: Sequence[Entry], kind: str) -> Metric:
    """Return the metric by which the runs rank themselves, if they agree on one that fits."""
    own = {str(entry.manifest["metric"]) for entry in entries}
    try:
        fitting = {name for name in own if _fits(metric_by_name(name), kind)}
    except ConfigError:  # of another version
        fitting = set()
    return metric_by_name(fitting.pop()) if len(fitting) == 1 else METRICS_OF[kind][0]


def why_apart(own: Key, groups: Mapping[Key, Sequence[Entry]]) -> str:
    """Say in what a table differs from the others; "" for the only one."""
    others = [key for key in groups if key != own]
    if not others:
        return ""
    same_name = [key for key in others if key.dataset == own.dataset]
    same_data = [
        key for key in same_name
        if (key.fingerprint, key.synthetic) == (own.fingerprint, own.synthetic)
    ]  # fmt: skip
    reasons = []
    if len(same_name) < len(others):
        reasons.append(f"another data set: {own.dataset}")
    if any(key.synthetic != own.synthetic for key in same_name):
        kind = "synthetic" if own.synthetic else "real"
        reasons.append(f"these customers are {kind}, the others are not")
    if any(key.fingerprint != own.fingerprint for key in same_name):
        places = {repr(_place_of(entries)) for entries in groups.values()}
        where = f", {place}" if len(places) > 1 and (place := _place_of(groups[own])) else ""
        reasons.append(
            f"other data under the same name (fingerprint {own.fingerprint[:12]}{where})"
        )
    if any(key.split != own.split for key in same_data):
        folds = folds_text(groups[own][0].manifest["split"])
        reasons.append(f"judged on other folds ({folds}; split {own.split[:8]})")
    of_kind = [key for key in same_data if key.kind == own.kind]
    if any(key.target != own.target for key in of_kind):
        reasons.append(f"another target: the segments of {own.target or 'no column'}")
    elif any((key.segments, key.n_rows) != (own.segments, own.n_rows) for key in of_kind):
        reasons.append(
            f"other known segments: {segments_text(dict(own.segments))} of {own.n_rows:,} rows"
        )
    if any(key.space != own.space for key in of_kind):
        named = groups[own][0].manifest.get("preprocessing", "")
        reasons.append(
            f"other prepared features ({named}): distances of two feature spaces do not compare"
        )
    if any(key.kind != own.kind for key in same_data):
        reasons.append(_RANKED[own.kind])
    return "; ".join(reasons)


def _place_of(entries: Sequence[Entry]) -> str:
    """Return the file or files of the data of a table; "" where they are several, or none."""
    found = {shown_path(entry.config.get(PATH)) for entry in entries}
    return found.pop() if len(found) == 1 else ""
