"""What checks read of a run, what they say, and how they read what may be damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class RunCheck:
    """One finding about a run.

    Attributes
    ----------
    code : str
        Stable, and documented in ``docs/checks.md``.
    message : str
        What was seen, with its figures.
    explanation : str
        Why it matters.
    advice : str
        What one may do; may be empty.
    """

    code: str
    message: str
    explanation: str
    advice: str


class Readings(Protocol):
    """What checks read of a run; everything but the manifest is None where there is none.

    :class:`segexp.report.source.Source` is one. Nothing in it is trusted.
    """

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run is, and how it went."""

    @property
    def damaged(self) -> Mapping[str, str]:
        """File name -> what is wrong with it, of every file of the run that is there."""

    @property
    def not_read(self) -> Mapping[str, str]:
        """File name -> why it is not read, of files that may be in order."""

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The full config, nested."""

    @property
    def summary(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Metric -> mean, std, interval, n."""

    @property
    def scores(self) -> pd.DataFrame | None:
        """``repeat, fold, metric, value``."""

    @property
    def baselines(self) -> pd.DataFrame | None:
        """``baseline, repeat, fold, metric, value``."""

    @property
    def predictions(self) -> pd.DataFrame | None:
        """One row per customer and repeat."""

    @property
    def importance(self) -> pd.DataFrame | None:
        """``kind, feature, mean, std``."""

    @property
    def sample(self) -> pd.DataFrame | None:
        """``row``, ``id``, the features of some customers, ``target`` if known."""

    @property
    def customers(self) -> pd.DataFrame | None:
        """``row``, ``id`` and ``segment`` of every customer that a clusterer placed."""

    @property
    def model(self) -> Pipeline | None:
        """The pipeline fitted on all rows."""

    @property
    def unused(self) -> frozenset[str]:
        """Columns that a clusterer does not see."""

    @property
    def segmentation(self) -> Mapping[str, Any] | None:
        """In-sample figures, stability and verdict on k of a clusterer."""

    @property
    def segments(self) -> pd.DataFrame | None:
        """``segment, n, share`` and a profile."""

    @property
    def k_table(self) -> pd.DataFrame | None:
        """The criteria of the number of segments, by rows and k."""

    @property
    def rfm(self) -> pd.DataFrame | None:
        """Customers, orders and revenue of each RFM segment."""

    @property
    def value(self) -> Mapping[str, Any] | None:
        """A value model's parameters and convergence, and what the holdout says."""

    @property
    def baskets(self) -> Mapping[str, Any] | None:
        """Counts and notes of a search for association rules."""


Check: TypeAlias = Callable[[Readings], RunCheck | Sequence[RunCheck] | None]


def test_to_train(run: Readings) -> float:
    """Return customers who judge a fold by customers who are learned from."""
    split = mapping(run.manifest.get("split"))
    share = number(split.get("test_size"))  # recorded of a holdout alone
    if 0 < share < 1:
        return share / (1 - share)
    n = number(split.get("n_splits"))
    return 1 / (n - 1) if n >= 2 else math.nan


def dataset_facts(run: Readings) -> Mapping[str, Any]:
    """Return what the manifest says of the data."""
    return mapping(run.manifest.get("dataset"))


def n_customers(run: Readings) -> int:
    """Return how many rows the run used."""
    return int(number(dataset_facts(run).get("n_rows")))


def held_out_mean(run: Readings, metric: str) -> float:
    """Return the mean of a metric over folds; NaN if it was not measured."""
    return number(at(run.summary, metric, "mean"))


def at(content: Any, *keys: str) -> Any:
    """Return what lies at the end of some keys; None if one is not there."""
    for key in keys:
        content = mapping(content).get(key)
    return content


def mapping(content: Any) -> Mapping[str, Any]:
    """Return a mapping; an empty one for anything else."""
    return content if isinstance(content, Mapping) else {}


def number(value: Any) -> float:
    """Return a number as float; NaN, which no comparison takes for anything, if it is none."""
    is_number = isinstance(value, int | float) or hasattr(value, "__float__")
    return math.nan if isinstance(value, bool) or not is_number else float(value)


_LONGEST = 300


def word(value: Any) -> str:
    """Return a value in one line of bounded length."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST_NAME = 60


def quoted(name: Any) -> str:
    """Return a name in quotation marks, the middle of a long one left out.

    Examples
    --------
    >>> print(quoted("Lost"), quoted("Can't Lose Them"))
    'Lost' "Can't Lose Them"
    """
    text = " ".join(str(name).split())
    if len(text) > _LONGEST_NAME:
        half = (_LONGEST_NAME - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return f'"{text}"' if "'" in text and '"' not in text else f"'{text}'"


def has_fixed_rules(run: Readings) -> bool:
    """Whether the segments were laid down by rules with names, and not found in the data."""
    target = at(run.config, "model", "estimator", "_target_")
    return "segexp.rfm.RFMSegments" in (target, at(run.config, "model", "_target_")) or (
        run.config is None and run.manifest.get("model") == "rfm_segments"
    )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return the first of some names as one reads them, and how many more there are.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
    ('a', 'a, b and c', 'a, b and 1 more')
    """
    more = len(names) - most
    shown = [*names[:most], f"{more} more"] if more > 0 else list(names)
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
