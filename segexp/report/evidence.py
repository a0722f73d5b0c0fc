"""What the parts of a report on a classifier need of its run: read once, and believed in nothing.

What cannot be read raises an error whose message is the sentence that stands in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import segexp.runs as runs
from segexp.data.column_types import MAX_SEGMENTS
from segexp.explanations import ExplanationError, Sampled, read_sample
from segexp.figures.look import Pictures
from segexp.report.page import Figure, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing
    from sklearn.pipeline import Pipeline

    from segexp.report.source import Source

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

MOST_SHOWN = 12  # features in a figure, customers in a table
MOST_IMPORTANT = 6  # features that have a curve, or stand beside a customer


@dataclass(frozen=True)
class Judged:
    """Predictions of customers by models that never saw them, each customer once."""

    segments: tuple[str, ...]
    truth: Codes
    predicted: Codes
    probabilities: Floats | None  # shape (n, n_segments)
    rows: Codes
    ids: pd.Series[Any]
    words: str  # what they are
    short: str  # the same in a few words

    @property
    def counts(self) -> NDArray[np.int_]:
        """Customers by known (row) and predicted segment, shape (n_segments, n_segments)."""
        n = len(self.segments)
        return np.bincount(n * self.truth + self.predicted, minlength=n * n).reshape(n, n)

    @property
    def confidence(self) -> Floats | None:
        """Probability of the predicted segment, shape (n,)."""
        if self.probabilities is None:
            return None
        return self.probabilities[np.arange(len(self.truth)), self.predicted]


class Evidence:
    """What several sections need of a run, read once.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.manifest = source.manifest
        self.segments = tuple(map(str, source.manifest["segments"]))

    def needed(self, name: str, found: Any) -> Any:
        """Return what was found, or say that its file cannot be read."""
        if found is None:
            reason = self.source.why(name) or "it cannot be read"
            names_it = PurePosixPath(name).name in reason
            raise ExplanationError(reason if names_it else f"it needs {name}, and {reason}")
        return found

    @cached_property
    def judged(self) -> Judged:
        """Predictions of customers held out."""
        table = self.needed(runs.PREDICTIONS, self.source.predictions)
        return read_judged(table, self.segments, self.manifest["split"])

    @cached_property
    def sampled(self) -> Sampled:
        """The sample of the run, typed for its model."""
        sample = self.needed(runs.SAMPLE, self.source.sample)
        found = read_sample(sample, self._schema(sample))
        if found.segments != self.segments:
            raise ExplanationError("the saved model is of other segments than the run")
        return found

    def _schema(self, sample: pd.DataFrame) -> Mapping[str, Any]:
        """Return the types of the columns: the model's, or what the run recorded without one."""
        if self.source.model_schema is not None:
            return self.source.model_schema
        roles = {
            str(name): role
            for role in ("numeric", "categorical", "ordinal", "date")
            for name in self.manifest["dataset"]["roles"].get(role, [])
        }
        dataset = (self.source.config or {}).get("dataset") or {}
        levels = {str(name): list(map(str, v)) for name, v in dataset.get("ordinal", {}).items()}
        known = [str(name).removesuffix(" (feature)") for name in sample.columns]
        columns = {
            name: {"role": roles[name], "levels": levels.get(name)}
            for name in known
            if name in roles
        }
        return {"columns": columns, "segments": list(self.segments)}

    @cached_property
    def model(self) -> Pipeline:
        """The saved model."""
        found: Pipeline = self.needed(runs.PIPELINE, self.source.model)
        return found

    @cached_property
    def ranked(self) -> list[str]:
        """The columns of the table, the most important first where that is known."""
        columns = list(map(str, self.sampled.X.columns))
        table = self.source.importance
        if table is None:
            return columns
        known = table.loc[table["kind"] == "permutation", "feature"].tolist()
        first = [name for name in dict.fromkeys(known) if name in columns]
        return [*first, *(name for name in columns if name not in first)]

    @property
    def n_splits(self) -> int:
        """Folds of one repeat."""
        split = self.manifest["split"]
        return 1 if split["protocol"] == "holdout" else int(split["n_splits"])

    @property
    def test_share(self) -> float:
        """The share of the customers that a fold judges."""
        share = self.manifest["split"]["test_size"]
        return float(share) if self.n_splits == 1 and share else 1 / max(self.n_splits, 2)


def read_judged(table: pd.DataFrame, segments: Sequence[str], split: Mapping[str, Any]) -> Judged:
    """Return the predictions of a run, of its first repeat where there are several.

    Parameters
    ----------
    table : DataFrame
        ``predictions.parquet``.
    segments : sequence of str
    split : mapping
        Of the manifest.

    Raises
    ------
    ExplanationError
        If the table is damaged.
    """
    needed = ("row", "id", "repeat", "true", "predicted")
    if lacking := [name for name in needed if name not in table]:
        raise ExplanationError(f"{runs.PREDICTIONS} lacks the column {lacking[0]!r}")
    first = table[table["repeat"] == table["repeat"].min()].reset_index(drop=True)
    names = pd.Index(list(segments), dtype=object)
    truth, predicted = (
        names.get_indexer(pd.Index(first[name], dtype=object)) for name in ("true", "predicted")
    )
    if len(segments) > MAX_SEGMENTS:
        raise ExplanationError(f"the run names {len(segments):,} segments, too many to show")
    if not len(first) or (truth < 0).any() or (predicted < 0).any():
        raise ExplanationError(f"{runs.PREDICTIONS} does not hold the segments of the run")
    columns = [f"probability[{name}]" for name in segments]
    probabilities = None
    if set(columns) <= set(first.columns):
        probabilities = first[columns].to_numpy(dtype=np.float64)
        if not (np.isfinite(probabilities) & (probabilities >= 0) & (probabilities <= 1)).all():
            raise ExplanationError(f"{runs.PREDICTIONS} holds probabilities that are none")
    return Judged(
        tuple(segments), truth, predicted, probabilities,
        first["row"].to_numpy(dtype=np.intp), first["id"], _judged_words(len(first), split),
        f"{_judged_how(split)}: {len(first):,} customers",
    )  # fmt: skip


def _judged_how(split: Mapping[str, Any]) -> str:
    return "Held out" if split["protocol"] == "holdout" else "Out-of-fold"


def _judged_words(n: int, split: Mapping[str, Any]) -> str:
    if split["protocol"] == "holdout":
        return f"{_judged_how(split)}: {n:,} customers that the model never saw"
    repeats = f", first of {split['n_repeats']} repeats" if split["n_repeats"] > 1 else ""
    never = f"each judged by a model that never saw them{repeats}"
    return f"{_judged_how(split)}: {n:,} customers, {never}"


def figure_of(name: str, drawn: Drawing, alt: str, caption: str) -> Figure:
    """Return a figure of a page."""
    return Figure(name, Pictures(drawn), alt, caption)


def four(value: Any) -> str | None:
    """Return a figure with four digits behind the point; None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value:.4g}" if abs(value) >= 1e6 else f"{round(value, 4) + 0.0:.4f}"


def interval_text(ends: Sequence[float] | None) -> str | None:
    """Return the ends of an interval; None where there is none."""
    if not ends or four(ends[0]) is None:
        return None
    return f"{four(ends[0])} – {four(ends[1])}"


def value_text(value: Any) -> str:
    """Return the value of a feature as a sentence has it."""
    if isinstance(value, np.datetime64 | pd.Timestamp):
        return "missing" if pd.isna(value) else pd.Timestamp(value).date().isoformat()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    return shown(value)
