"""One run as comparisons see it, and how it is told of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.errors import ConfigError
from segexp.metrics import metric_by_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

UNREADABLE = "unreadable"
CLASSIFICATION, CLUSTERING = "classification", "clustering"


@dataclass(frozen=True)
class Problem:
    """A run directory that is no row: unreadable, failed, interrupted, killed or running."""

    path: str
    status: str  # "unreadable", or the status of the run; "completed": it lacks the metric
    cause: str  # one line


@dataclass(frozen=True)
class Entry:
    """One completed run, or one baseline of a run.

    ``values`` holds metric -> array of shape (n_folds,), all in the order of ``folds``; NaN where
    a metric is not defined.
    """

    path: Path
    label: str  # the name of the run directory, or the name of the baseline
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]  # dotted key -> value; lists are values; {} for a baseline
    values: Mapping[str, Floats]
    folds: tuple[tuple[int, int], ...]  # (repeat, fold)
    summary: Mapping[str, Mapping[str, Any]]  # metric -> mean, std, interval, n; {} for a baseline
    fit_seconds: float | None  # of all folds together
    baselines: tuple[Entry, ...] = ()  # what was judged beside the model on the same folds
    copies: int = 1  # directories that hold this very run

    def mean_of(self, metric: str) -> float | None:
        """Return the mean over folds; None where it is not defined."""
        return mean_of_defined(self.values.get(metric))


def mean_of_defined(values: Floats | None) -> float | None:
    """Return the mean without NaN; None where nothing is left."""
    if values is None:
        return None
    known = values[values == values]
    return float(known.mean()) if known.size else None


def std_of_defined(values: ArrayLike) -> float | None:
    """Return the sample standard deviation without NaN; None of fewer than two values."""
    import numpy as np

    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    return float(known.std(ddof=1)) if known.size > 1 else None


def is_known(metric: str) -> bool:
    """Say whether this version has a metric of that name."""
    try:
        return bool(metric_by_name(metric))
    except ConfigError:
        return False


def target_of(entry: Entry) -> str:
    """Return the column of the known segments."""
    return ", ".join(entry.manifest["dataset"]["roles"].get("target", ()))


def space_of(entry: Entry) -> str:
    """Return the space of prepared features in which a clusterer measured distances."""
    return str(entry.manifest.get("feature_space", ""))


def folds_text(split: Mapping[str, Any]) -> str:
    """Say in words how a run was split."""
    group = f" grouped by {split['group']}" if split["group"] else ""
    seed = f", split seed {split['split_seed']}"
    if split["protocol"] == "holdout":
        return f"a holdout of {split['test_size']:.0%}{group}{seed}"
    times = f" {split['n_repeats']} times" if split["n_repeats"] > 1 else ""
    return f"{split['n_splits']} folds{times}{group}{seed}"


def segments_text(segments: Mapping[str, int]) -> str:
    """Name the first segments with their sizes."""
    counts = [f"{name:.40} {count:,}" for name, count in segments.items()]
    return ", ".join([*counts[:6], *(["..."] if len(counts) > 6 else [])])
