"""Rows of a table: what is one config, what it is called, which keys tell it from the others."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.comparison.entries import CLUSTERING, Entry, mean_of_defined, std_of_defined
from segexp.comparison.statistics import Paired
from segexp.metrics import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# They say where and with how many processes a run was made, not what it found.
_NO_MATTER = ("run.outputs", "engine.")

PATH = "dataset.path"  # shown, as rows are not to look equal, though files with one content are

# Besides: what is shown or kept, and where a file lies; its fingerprint says what is in it.
HIDDEN = (*_NO_MATTER, "run.", "evaluation.", "dataset.path", "dataset.source", "dataset.licence",
           "dataset.downloads", "dataset.url")  # fmt: skip

_NAMED = ("preprocessing", "model", "search", "dataset")


@dataclass(frozen=True)
class Row:
    """One config in a table; runs of several seeds are several entries.

    ``to_best`` is this row minus the best one (or minus the row that was named as the baseline),
    so a row that is worse has a negative mean; None for that row itself and where folds differ
    or there is only one.
    """

    entries: tuple[Entry, ...]
    label: str  # unique within the table
    varying: Mapping[str, Any]  # the config keys that differ within the table; absent: has no such
    rank: int | None  # from 1; None without a value of the metric
    mean: float | None  # of the table's metric, over seeds and the folds that all of them define
    std: float | None  # over folds
    seed_std: float | None  # over seeds; None for one seed
    interval: tuple[float, float] | None  # of this row alone, from its out-of-fold predictions
    tied_with_best: bool
    to_best: Paired | None
    usable: tuple[str, ...] = ()  # constraints that a clusterer misses; such rows rank last

    def values(self, metric: str) -> Floats | None:
        """Return the values by fold, averaged over seeds; None where an entry has none."""
        import numpy as np

        found = [entry.values.get(metric) for entry in self.entries]
        if any(values is None for values in found):
            return None
        mean: Floats = np.array(found, dtype=np.float64).mean(axis=0)
        return mean

    def mean_of(self, metric: str) -> float | None:
        """Return the mean over seeds and the folds that all define; None where there is none."""
        return mean_of_defined(self.values(metric))

    def interval_of(self, metric: str) -> tuple[float, float] | None:
        """Return the interval of this row alone; over several seeds, the mean of their ends."""
        found = [entry.summary.get(metric, {}).get("interval") for entry in self.entries]
        ends = [pair for pair in found if pair is not None]
        if len(ends) < len(self.entries):
            return None
        low, high = (sum(column) / len(ends) for column in zip(*ends, strict=True))
        return low, high

    @property
    def is_tested(self) -> bool:
        """Whether the difference in ``to_best`` was tested; where not, nothing is known of it."""
        return self.to_best is not None and self.to_best.p is not None

    @property
    def fit_seconds(self) -> float | None:
        """Seconds of fitting all folds, averaged over seeds."""
        seconds = [e.fit_seconds for e in self.entries if e.fit_seconds is not None]
        return sum(seconds) / len(seconds) if seconds else None


def rows_of(entries: Sequence[Entry], metric: Metric, all_keys: bool) -> list[Row]:
    """Return a row for each config; entries that differ in their seed alone are one."""
    groups: dict[tuple[str, int], list[Entry]] = {}
    seen: Counter[tuple[str, Any]] = Counter()
    telling = telling_configs(entries)
    for entry, own in zip(entries, telling, strict=True):
        config = signature(own, (*_NO_MATTER, "run.seed"))
        seed = (config, entry.config.get("run.seed"))
        groups.setdefault((config, seen[seed]), []).append(entry)
        seen[seed] += 1
    made = list(groups.values())
    first = [members[0] for members in made]
    of_entry = {id(entry): own for entry, own in zip(entries, telling, strict=True)}
    configs = [entry.config if all_keys else of_entry[id(entry)] for entry in first]
    varying = _varying(configs, all_keys)
    labels = _labels(first)
    return [
        make_row(members, metric, label, own)
        for members, own, label in zip(made, varying, labels, strict=True)
    ]


def make_row(
    entries: Sequence[Entry],
    metric: Metric,
    label: str = "",
    varying: Mapping[str, Any] | None = None,
) -> Row:
    """Return a row with its mean, spreads and interval; its place among others comes later."""
    row = Row(
        entries=tuple(entries),
        label=label or entries[0].label,
        varying=varying or {},
        rank=None,
        mean=None,
        std=None,
        seed_std=None,
        interval=None,
        tied_with_best=False,
        to_best=None,
    )
    by_fold = row.values(metric.name)
    means = []
    if by_fold is not None:  # of the same folds
        known = by_fold == by_fold
        of_seeds = [mean_of_defined(entry.values[metric.name][known]) for entry in entries]
        means = [mean for mean in of_seeds if mean is not None]
    missed = (text for e in entries for text in e.manifest.get("constraints_missed") or ())
    return replace(
        row,
        mean=row.mean_of(metric.name),
        std=std_of_defined(by_fold) if by_fold is not None else None,
        seed_std=std_of_defined(means),
        interval=row.interval_of(metric.name),
        usable=tuple(dict.fromkeys(missed)),
    )


def n_defined(row: Row, metric: str) -> int:
    """Count the folds on which a row has a value, of every seed."""
    values = row.values(metric)
    return 0 if values is None else int((values == values).sum())


def place(row: Row, kind: str, metric: Metric) -> tuple[bool, bool, float]:
    """Return what rows are ordered by: unusable ones last, before them incomplete ones."""
    unusable = kind == CLUSTERING and bool(row.usable)
    incomplete = n_defined(row, metric.name) < len(row.entries[0].folds)
    if row.mean is None:
        return unusable, incomplete, math.inf
    return unusable, incomplete, -row.mean if metric.greater_is_better else row.mean


def find_row(name: str | None, rows: Sequence[Row]) -> Row | None:
    """Return the row of a label, or of the path of a run in it."""
    if name is None:
        return None
    for row in rows:
        if row.label == name:
            return row
    own = Path(name).resolve()
    for row in rows:
        if any(entry.path.resolve() == own or entry.path.name == name for entry in row.entries):
            return row
    return None


def signature(config: Mapping[str, Any], without: tuple[str, ...]) -> str:
    """Return text that is equal for configs that are equal but for some keys."""
    return repr(sorted(item for item in config.items() if not item[0].startswith(without)))


def telling_configs(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the configs without the places to which ``run.seed`` was handed on.

    A ``random_state`` that equals the seed was handed on, unless an otherwise equal config has
    the same one with another seed: then it was set.
    """
    else_equal = [
        repr(sorted(item for item in entry.config.items()
                    if not item[0].startswith((*HIDDEN, "dataset.")) and not _is_state(item[0])))
        for entry in entries
    ]  # fmt: skip
    was_set = {
        (config, key, repr(value))
        for entry, config in zip(entries, else_equal, strict=True)
        for key, value in entry.config.items()
        if _is_state(key) and value != entry.config.get("run.seed")
    }
    return [
        {
            key: value for key, value in entry.config.items()
            if not _is_state(key)
            or value != entry.config.get("run.seed")
            or (config, key, repr(value)) in was_set
        }
        for entry, config in zip(entries, else_equal, strict=True)
    ]  # fmt: skip


def _is_state(key: str) -> bool:
    return key.endswith(".random_state")


def _labels(entries: Sequence[Entry]) -> list[str]:
    """Return a short name for each row, no two alike.

    The name of the run if it has one, else the model, with preprocessing and search where these
    differ; then the config hash, then a number.
    """
    manifests = [entry.manifest for entry in entries]
    differ = [
        key for key in ("preprocessing", "search") if len({m[key] for m in manifests}) > 1
    ]  # fmt: skip
    labels = [
        (m["name"] or " ".join([m["model"], *(m[key] for key in differ if m[key] != "none")]))[:200]
        for m in manifests
    ]
    counts = Counter(labels)
    labels = [
        label if counts[label] == 1 else f"{label} {m['config_hash'][:8]}"
        for label, m in zip(labels, manifests, strict=True)
    ]
    taken: Counter[str] = Counter()
    unique = []
    for label in labels:
        taken[label] += 1
        unique.append(label if taken[label] == 1 else f"{label} #{taken[label]}")
    return unique


def _varying(configs: Sequence[Mapping[str, Any]], all_keys: bool) -> list[dict[str, Any]]:
    """Return of each config the keys that tell it from the others.

    Left out are keys that say nothing of the result (``run``, ``engine``, ``evaluation``, where
    a file lies), and search spaces of rows without a search. Where the option of a group differs
    (``model.name``), a key below it is told of a row only if it differs between rows of the same
    option: that two models have other parameters goes without saying.
    """
    absent = object()
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differing = [
        key for key in keys
        if any(config.get(key, absent) != configs[0].get(key, absent) for config in configs)
    ]  # fmt: skip
    if all_keys:
        return [{key: c[key] for key in differing if key in c} for c in configs]
    varying: list[dict[str, Any]] = [{} for _ in configs]
    for key in differing:
        if key.startswith(HIDDEN) and key != PATH:
            continue
        group = key.partition(".")[0]
        siblings: dict[str, list[int]] = {}
        for number, config in enumerate(configs):
            if ".space." not in key or config.get("search.sampler", "none") != "none":
                option = config.get(f"{group}.name") if key != f"{group}.name" else None
                siblings.setdefault(repr(option) if group in _NAMED else "", []).append(number)
        for numbers in siblings.values():
            values = [configs[number].get(key, absent) for number in numbers]
            if any(value != values[0] for value in values):
                for number, value in zip(numbers, values, strict=True):
                    if value is not absent:
                        varying[number][key] = shown_path(value) if key == PATH else value
    return varying


def shown_path(path: Any) -> str:
    """Return a path, or several, as seen from the working directory."""
    paths = path if isinstance(path, list) else [path] if path else []
    return ", ".join(
        os.path.relpath(one) if Path(one).is_absolute() else one for one in map(str, paths)
    )
