"""What a fitted clusterer says of customers it has not seen, in figures.

Sizes are those of the training rows, which decide what the segments are; everything else is
measured on the rows held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segexp.clustering.quality import external_quality, internal_quality
from segexp.clustering.segmenter import Assignment, Segmenter
from segexp.config.schema import INTERNAL_METRICS
from segexp.metrics import CLUSTER_METRICS

Codes = NDArray[np.int_]


@dataclass(frozen=True)
class ClusterFold:
    """The segments of the test rows of a fold, numbered within this fold; -1 is noise."""

    labels: Codes  # shape (n_test,)
    confidence: NDArray[np.float64]  # shape (n_test,)
    unlike: NDArray[np.bool_]  # shape (n_test,)
    values: Mapping[str, float]  # by metric


def sizes(segmenter: Segmenter) -> dict[str, float]:
    """Return number and shares of the segments of the customers that were fitted."""
    n = len(segmenter.labels_)
    shares = np.asarray(segmenter.sizes_) / n
    return {
        "n_segments": float(segmenter.n_segments_),
        "smallest_share": float(shares.min(initial=1.0)) if len(shares) else 0.0,
        "largest_share": float(shares.max(initial=0.0)),
    }


def judge_segments(
    segmenter: Segmenter,
    Z: Any,
    found: Assignment,
    *,
    truth: Codes | None = None,
    stability: Callable[[], float] | None = None,
    wanted: Collection[str] | None = None,
    internal: Collection[str] = INTERNAL_METRICS,
    silhouette_rows: int = 20_000,
    seed: int = 0,
) -> dict[str, float]:
    """Measure what a clusterer made of customers it has not seen.

    Parameters
    ----------
    segmenter : fitted Segmenter
    Z : ndarray or DataFrame, shape (n, d)
        Prepared features of the rows held out.
    found : Assignment
        What the segmenter says of them.
    truth : ndarray of int, shape (n,), optional
        Codes of their known segments.
    stability : callable, optional
        Measures the stability, which takes refits; without it there is none.
    wanted : collection of str, optional
        Names of metrics; None for all that can be had.
    internal : collection of str
        Metrics of the distances that may be computed.
    silhouette_rows : int
        Silhouettes of more customers are sampled.

    Returns
    -------
    dict of metric to float
        In the order of :data:`~segexp.metrics.CLUSTER_METRICS`; NaN where it is not defined.
    """

    def is_wanted(name: str) -> bool:
        return wanted is None or name in wanted

    values = {**sizes(segmenter)}
    values["noise_share"] = float(np.mean(found.segment < 0))
    values["unlike_share"] = float(np.mean(found.unlike))
    if measured := tuple(name for name in internal if is_wanted(name)):
        quality = internal_quality(
            Z, found.segment, metrics=measured, distance=segmenter.distance_,
            max_silhouette_rows=silhouette_rows, seed=seed,
        )  # fmt: skip
        values |= quality.values
    if stability is not None and is_wanted("stability"):
        values["stability"] = stability()
    if truth is not None and any(map(is_wanted, ("ari", "ami", "v_measure"))):
        values |= external_quality(truth, found.segment)
    names = (metric.name for metric in CLUSTER_METRICS)
    return {
        name: values.get(name, math.nan) for name in names if name in values and is_wanted(name)
    }
