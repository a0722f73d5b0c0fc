"""The segments of all customers: what the final clusterer of a run makes of them.

The tasks that workers do, and the tables that they come to. Everything here is in-sample: it
describes the customers that the segments were made from, and says so where it is shown.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import segexp.figures as figures
from segexp.clustering.choose_k import NOT_MEASURED, Verdict, assess, decide, hopkins
from segexp.clustering.judging import INTERNAL, sizes
from segexp.clustering.profile import profile
from segexp.clustering.quality import external_quality, internal_quality
from segexp.clustering.segmenter import Segmenter
from segexp.clustering.stability import Stability, resampled_labels
from segexp.evaluation import Codes, Refits, Table
from segexp.saved_model import UnsafeModelError, dump_pipeline

MAX_TREE_ROWS = 5_000  # a larger tree is not computed for its figure
NOISE = "noise"  # the name of the customers who are in no segment


@dataclass(frozen=True)
class Segmentation:
    """The segments of all customers of a table."""

    model: bytes | UnsafeModelError  # the fitted pipeline, as it is saved
    labels: Codes  # shape (n,); the largest segment is 0, -1 is noise
    confidence: NDArray[np.float64]  # shape (n,)
    unlike: NDArray[np.bool_]  # shape (n,)
    silhouettes: NDArray[np.float64] | None  # shape (n,); NaN where it was not computed
    values: Mapping[str, float]  # metrics of the customers that were fitted
    assignment: Mapping[str, Any]  # the rule for other customers, and how well it agrees
    tree: NDArray[np.float64] | None  # the merges of a hierarchical clusterer, as scipy has them

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the segments, in the order of their numbers."""
        return segment_names(int(self.labels.max(initial=-1)) + 1)


def segment_names(n: int) -> tuple[str, ...]:
    """Return the names of ``n`` segments that were found: from 1, the largest first."""
    return tuple(str(number + 1) for number in range(n))


def fit_segmentation(
    table: Table, pipeline: Pipeline, refits: Refits, seed: int = 0
) -> Segmentation:
    """Fit a clone of a pipeline on all customers, and measure the segments on the same ones."""
    with warnings.catch_warnings():  # the folds have said them
        warnings.simplefilter("ignore")
        fitted = clone(pipeline).fit(table.X)
        segmenter: Segmenter = fitted.steps[-1][1]
        Z = fitted[:-1].transform(table.X)
        found = segmenter.assign(Z)
        labels = np.asarray(segmenter.labels_)
        metrics = INTERNAL if refits.silhouette_rows else INTERNAL[1:]
        quality = internal_quality(
            Z,
            labels,
            metrics=(*metrics, "inertia"),
            max_silhouette_rows=max(refits.silhouette_rows, 1),
            seed=seed,
        )
    values = {**quality.values, **sizes(segmenter), "noise_share": float(np.mean(labels < 0))}
    if quality.silhouette_se:
        values["silhouette_se"] = quality.silhouette_se
    if table.y is not None:
        values |= external_quality(table.y, labels)
    try:
        model: bytes | UnsafeModelError = dump_pipeline(fitted)
    except UnsafeModelError as error:  # a model of the user's own; what was measured stands
        model = error
    return Segmentation(
        model=model,
        labels=labels,
        confidence=found.confidence,
        unlike=found.unlike,
        silhouettes=quality.silhouettes,
        values=values,
        assignment={
            "rule": segmenter.assignment_,
            "agreement": segmenter.agreement_,
            "agreements": dict(segmenter.agreements_),
            "same_as_fitted": float(np.mean(found.segment == labels)),
            "unlike_anybody_beyond": segmenter.limit_,
            "n_fitted_rows": segmenter.n_fitted_rows_,
        },
        tree=_tree(segmenter, Z),
    )


def _tree(segmenter: Segmenter, Z: Any) -> NDArray[np.float64] | None:
    """Return the merges of a hierarchical clusterer, of a table that is not too large to draw."""
    clusterer = segmenter.clusterer
    euclidean = getattr(clusterer, "metric", None) == "euclidean"
    if not euclidean or not shares_structure(segmenter) or len(Z) > MAX_TREE_ROWS:
        return None
    return np.asarray(linkage(Z, clusterer.linkage))


def resample_segments(table: Table, pipeline: Pipeline, resample: int, seed: int) -> Codes:
    """Refit the whole pipeline on a bootstrap sample of the customers, and assign all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return resampled_labels(pipeline, table.X, resample, seed)


def assess_k(
    table: Table, pipeline: Pipeline, rows: Codes, ks: Sequence[int], parameter: str, seed: int
) -> tuple[pd.DataFrame, float]:
    """Measure every criterion for some numbers of segments, and the Hopkins statistic.

    Parameters
    ----------
    rows : ndarray of int
        Row numbers of the customers that decide: training rows, or all.
    ks : sequence of int
    parameter : str
        The clusterer's parameter that is the number of segments.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = clone(pipeline[:-1]).fit_transform(table.X.iloc[rows])
        measured = assess(prepared, pipeline.steps[-1][1], ks, parameter=parameter, seed=seed)
        return measured, hopkins(prepared, seed)


def verdict_of(parts: Sequence[tuple[pd.DataFrame, float]]) -> tuple[pd.DataFrame, Verdict]:
    """Return the table of k and the verdict from what :func:`assess_k` measured, part by part."""
    tables = pd.concat([table for table, _ in parts], ignore_index=True)
    tables = tables.sort_values("k", ignore_index=True)
    return tables, decide(tables, parts[0][1])


def customers_table(found: Segmentation, ids: pd.Series, truth: pd.Series | None) -> pd.DataFrame:
    """Return one row per customer, in the order of the table.

    Columns: ``row``, ``id``, ``segment``, ``confidence``, ``unlike_anybody``, ``silhouette`` and,
    where segments are known, ``known``.
    """
    names = np.array([*found.names, NOISE], dtype=object)
    table = pd.DataFrame(
        {
            "row": np.arange(len(found.labels)),
            "id": ids.to_numpy(),
            "segment": names[found.labels],
            "confidence": found.confidence,
            "unlike_anybody": found.unlike,
        }
    )
    if found.silhouettes is not None:
        table["silhouette"] = found.silhouettes
    if truth is not None:
        table["known"] = truth.to_numpy()
    return table


def segments_table(
    found: Segmentation, X: pd.DataFrame, stability: Stability | None
) -> pd.DataFrame:
    """Return one row per segment: size, stability, markers and the profile of its customers."""
    table = profile(X, found.labels, found.names)
    if found.silhouettes is not None:
        means = pd.Series(found.silhouettes).groupby(found.labels).mean()
        codes = [*range(len(found.names)), *([-1] if (found.labels < 0).any() else [])]
        table.insert(3, "silhouette", [means.get(code, np.nan) for code in codes])
    if stability is not None:
        n_noise = len(table) - len(found.names)
        table.insert(3, "jaccard", [*stability.mean_jaccard, *[np.nan] * n_noise])
        table.insert(4, "stability", [*stability.verdicts, *[""] * n_noise])
    return table


def shares_structure(segmenter: Segmenter) -> bool:
    """Return whether several numbers of segments are measured faster together: by one tree."""
    return hasattr(segmenter.clusterer, "linkage")


def describe(
    found: Segmentation, stability: Stability | None, verdicts: Mapping[str, Verdict]
) -> dict[str, Any]:
    """Return what is written down of a segmentation, its stability and the verdicts on k."""
    content: dict[str, Any] = {
        "n_segments": len(found.names),
        "in_sample": dict(found.values),
        "assignment": dict(found.assignment),
    }
    if stability is not None:
        content["stability"] = {
            "n_resamples": len(stability.ari),
            "ari": stability.mean_ari,
            "jaccard": dict(zip(found.names, map(float, stability.mean_jaccard), strict=True)),
            "verdicts": dict(zip(found.names, stability.verdicts, strict=True)),
            "n_dissolved": dict(zip(found.names, map(int, stability.n_dissolved), strict=True)),
            "n_recovered": dict(zip(found.names, map(int, stability.n_recovered), strict=True)),
        }
    content["k"] = {
        rows: {
            "verdict": verdict.k,
            "best": verdict.best_k,
            "kind": verdict.kind,
            "hopkins": verdict.hopkins,
            "words": verdict.words,
            "choices": _measured(verdict.choices),
        }
        for rows, verdict in verdicts.items()
    }
    return dict(_without_nan(content))


def _without_nan(value: Any) -> Any:
    """Return nested values with None for what is not a number, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _measured(choices: pd.DataFrame) -> list[Any]:
    """Return what each criterion chose, without those that were not measured, for JSON."""
    known = choices[choices["reason"] != NOT_MEASURED]
    return known.astype(object).where(known.notna(), None).to_dict("records")


def draw_segmentation(
    found: Segmentation,
    stability: Stability | None,
    k_table: pd.DataFrame | None,
    verdict: Verdict | None,
) -> dict[str, bytes]:
    """Return the figures of a segmentation as file name -> content."""
    drawn: dict[str, Figure] = {}
    if found.silhouettes is not None and len(found.names) > 1:
        drawn["silhouettes"] = figures.silhouette_plot(found.silhouettes, found.labels, found.names)
    if stability is not None and len(found.names) > 0:
        table = stability.to_frame()
        jaccard = table[table["measure"] == "jaccard"]
        numbers = [found.names[int(segment)] for segment in jaccard["segment"]]
        drawn["stability"] = figures.stability_boxplots(
            jaccard.assign(segment=numbers), "Jaccard", by="segment"
        )
    if k_table is not None and verdict is not None:
        chosen = dict(zip(verdict.choices["criterion"], verdict.choices["k"], strict=True))
        k_of = {name: None if pd.isna(k) else int(k) for name, k in chosen.items()}
        drawn["elbow"] = figures.elbow(k_table, k_of.get("knee"), verdict.k)
        drawn["silhouette_by_k"] = figures.silhouette_curve(k_table, verdict.k)
        if k_table[["gap_uniform", "gap_pca"]].notna().any(axis=None):
            drawn["gap"] = figures.gap_curve(k_table, k_of, verdict.k)
    if found.tree is not None:
        drawn["dendrogram"] = figures.dendrogram(found.tree, len(found.names))
    return {
        f"{name}.{kind}": content
        for name, figure in drawn.items()
        for kind, content in figures.render(figure).items()
    }
