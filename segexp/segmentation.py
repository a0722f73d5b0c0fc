"""The segments of all customers: what the final clusterer of a run makes of them.

The tasks that workers do, and the tables that they come to. Everything here is in-sample: it
describes the customers that the segments were made from, and says so where it is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from segexp.clustering.choose_k import (
    NOT_MEASURED,
    Verdict,
    assess,
    decide,
    hopkins,
    most_segments,
)
from segexp.clustering.judging import sizes
from segexp.clustering.profile import profile
from segexp.clustering.quality import external_quality, internal_quality
from segexp.clustering.segmenter import Segmenter
from segexp.clustering.stability import Stability, resampled_labels, slsa
from segexp.config.schema import ExperimentConfig
from segexp.engine.driver import Engine
from segexp.engine.tasks import Shared
from segexp.evaluation import Codes, Refits, Table
from segexp.rfm import RFMScorer
from segexp.runs import FINAL, FOLDS, RunWriter, without_nan
from segexp.saved_model import UnsafeModelError, dump_pipeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

MAX_FOLLOWED_ROWS = 20_000  # of a larger table segments are not followed as their number grows
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
    names: tuple[str, ...]  # of the segments, in the order of their numbers
    scorer: RFMScorer | None  # what the pipeline scores recency, frequency and value by
    notes: tuple[str, ...]  # what the clusterer says of itself


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
        quality = internal_quality(
            Z,
            labels,
            metrics=(*refits.internal, "inertia"),
            distance=segmenter.distance_,
            max_silhouette_rows=refits.silhouette_rows,
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
        names=segmenter.names_,
        scorer=_scorer(fitted),
        notes=tuple(getattr(segmenter.clusterer_, "notes_", ())),
    )


def _scorer(fitted: Pipeline) -> RFMScorer | None:
    steps = fitted.named_steps["preprocessing"].named_steps["table"]
    known = steps.named_steps.values() if isinstance(steps, Pipeline) else ()
    return next((step for step in known if isinstance(step, RFMScorer)), None)


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
) -> pd.DataFrame:
    """Measure every criterion for some numbers of segments; with 1 among them, Hopkins' statistic.

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
        found = hopkins(prepared, seed) if 1 in ks else math.nan
        return measured.assign(hopkins=found)


def segment_into(table: Table, pipeline: Pipeline) -> Codes:
    """Fit a clone of a pipeline on all customers and return their segments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = clone(pipeline).fit(table.X)
    return np.asarray(fitted.steps[-1][1].labels_)


class SegmentWork:
    """What a clusterer's run does beside its folds; each result is kept, for a run that goes on.

    Parameters
    ----------
    table : Shared of Table
    n_rows : int
        Customers of the table.
    pipeline : Pipeline
        Unfitted.
    parameter : str or None
        The clusterer's parameter that is the number of segments.
    count : callable
        Told of each task that is done.
    """

    def __init__(
        self,
        engine: Engine,
        writer: RunWriter,
        table: Shared[Table],
        n_rows: int,
        pipeline: Pipeline,
        parameter: str | None,
        config: ExperimentConfig,
        count: Callable[[int, str], None],
        priority: tuple[int, ...],
    ) -> None:
        self._engine, self._writer, self._table = engine, writer, table
        self._n_rows, self._pipeline, self._parameter = n_rows, pipeline, parameter
        self._evaluation, self._seed = config.evaluation, config.run.seed
        self._count, self._priority = count, priority
        self._waiting: dict[str, asyncio.Future[Verdict]] = {}
        self.k_tables: dict[str, pd.DataFrame] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.labelings: Sequence[Codes] = ()
        self.parents = pd.DataFrame()

    @property
    def refits(self) -> Refits:
        """What judging a fold costs."""
        evaluation = self._evaluation
        return Refits(
            evaluation.fold_resamples, evaluation.silhouette_rows, tuple(evaluation.internal)
        )

    def n_tasks(self, n_rows: Sequence[int]) -> int:
        """Count the tasks, with a table of k on each of some numbers of rows."""
        n = sum(len(self._parts(n)) for n in n_rows)
        if not self._evaluation.final_model:
            return n
        return n + 1 + self._evaluation.stability_resamples + len(self._ks_of_all)

    def _ks(self, n_rows: int) -> list[int]:
        most = min(self._evaluation.k_max or 0, most_segments(n_rows))
        return list(range(1, most + 1)) if self._parameter else []

    @property
    def _ks_of_all(self) -> list[int]:
        """Numbers of segments that all customers are segmented into, to follow them as k grows."""
        return self._ks(self._n_rows)[1:] if self._n_rows <= MAX_FOLLOWED_ROWS else []

    def _parts(self, n_rows: int) -> list[list[int]]:
        """Numbers of segments that one task measures; a tree serves all of them at once."""
        ks = self._ks(n_rows)
        if shares_structure(self._pipeline.steps[-1][1]):
            return [ks] if ks else []
        return [[k] for k in ks]

    async def verdict(self, name: str, rows: Codes) -> Verdict:
        """Weigh the number of segments on some rows; once, however often it is asked for."""
        if name not in self._waiting:
            place = len(self._waiting)
            self._waiting[name] = asyncio.ensure_future(self._weigh(name, rows, place))
        return await self._waiting[name]

    async def _weigh(self, name: str, rows: Codes, place: int) -> Verdict:
        async def part(ks: list[int]) -> pd.DataFrame:
            measured = await self._once(
                f"k-{name}-{ks[0]}.csv", _TABLE,
                assess_k, self._table, self._pipeline, rows, ks, self._parameter, self._seed,
                place=place,
            )  # fmt: skip
            self._count(1, f"number of segments, {name}")
            return measured

        found = await asyncio.gather(*map(part, self._parts(len(rows))))
        table = pd.concat(found, ignore_index=True).sort_values("k", ignore_index=True)
        verdict = decide(table, float(table["hopkins"].max()))
        self.k_tables[name], self.verdicts[name] = table.drop(columns="hopkins"), verdict
        logger.info("%s: %s", name, verdict.words)
        return verdict

    async def with_k(self, name: str, rows: Codes) -> tuple[Pipeline, int]:
        """Return the pipeline with the number of segments of the verdict, and that number."""
        k = (await self.verdict(name, rows)).best_k
        return self._into(k), k

    def _into(self, k: int) -> Pipeline:
        pipeline: Pipeline = clone(self._pipeline)
        return pipeline.set_params(**{f"model__{self._parameter}": k})

    async def find(self, pipeline: Pipeline, tag: str, place: int) -> Segmentation:
        """Segment all customers, refit on bootstrap samples, and follow segments as k grows.

        Parameters
        ----------
        pipeline : Pipeline
            Unfitted, with the parameters that were chosen.
        tag : str
            Names what was chosen: what is kept of another choice is not used.
        place : int
            Earlier tasks are served first.
        """
        found = await self._engine.run(
            fit_segmentation, self._table, pipeline, self.refits, self._seed,
            priority=(*self._priority, place),
        )  # fmt: skip
        self._count(1, "the final model")

        async def labels(name: str, what: str, fn: Callable[..., Codes], *args: Any) -> Codes:
            made: Codes = await self._once(name, _LABELS, fn, self._table, *args, place=place)
            self._count(1, what)
            return made

        self.labelings = await asyncio.gather(
            *(
                labels(
                    f"resample-{tag}{i}.npy", "stability",
                    resample_segments, pipeline, i, self._seed,
                )
                for i in range(self._evaluation.stability_resamples)
            )
        )  # fmt: skip
        by_k = await asyncio.gather(
            *(
                labels(f"segments-{k}.npy", f"{k} segments", segment_into, self._into(k))
                for k in self._ks_of_all
            )
        )
        if by_k:
            self.parents = slsa(dict(zip(self._ks_of_all, by_k, strict=True)))
        if self._ks(self._n_rows):
            await self.verdict(FINAL, np.arange(self._n_rows))
        return found

    async def _once(
        self, name: str, form: _Form, fn: Callable[..., Any], *args: Any, place: int
    ) -> Any:
        """Return what an earlier process kept, or compute and keep it."""
        file = f"{FOLDS}/{name}"
        path = self._writer.path / file
        if path.is_file():
            with contextlib.suppress(OSError, ValueError):  # damaged: it is made again
                return form.load(io.BytesIO(path.read_bytes()))
        made = await self._engine.run(fn, *args, priority=(*self._priority, place))
        self._writer.write_bytes(file, form.dump(made))
        return made


@dataclass(frozen=True)
class _Form:
    """How a result is kept."""

    dump: Callable[[Any], bytes]
    load: Callable[[io.BytesIO], Any]


def _array_bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


_LABELS = _Form(_array_bytes, lambda file: np.load(file, allow_pickle=False))
_TABLE = _Form(
    lambda table: table.to_csv(index=False).encode(),
    lambda file: pd.read_csv(file, float_precision="round_trip"),
)


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
        none = [np.nan] * n_noise
        table.insert(3, "jaccard", [*stability.mean_jaccard, *none])
        table.insert(4, "stability", [*stability.verdicts, *[""] * n_noise])
        table.insert(5, "slsw", [*stability.slsw.mean(axis=0), *none])
    return table


def shares_structure(segmenter: Segmenter) -> bool:
    """Return whether several numbers of segments are measured faster together: by one tree."""
    return hasattr(segmenter.clusterer, "linkage")


def describe(
    found: Segmentation,
    stability: Stability | None,
    verdicts: Mapping[str, Verdict],
    k_tables: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is written down of a segmentation, its stability and the verdicts on k.

    Parameters
    ----------
    facts : mapping
        More, in values that JSON can hold but for NaN.
    """
    n_rows = {rows: int(table["n_rows"].max()) for rows, table in k_tables.items()}
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
            "n_rows": n_rows[rows],
            "verdict": verdict.k,
            "best": verdict.best_k,
            "kind": verdict.kind,
            "hopkins": verdict.hopkins,
            "words": verdict.words,
            "choices": _measured(verdict.choices),
        }
        for rows, verdict in verdicts.items()
    }
    return dict(without_nan({**content, **facts}))


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
    # Here, so that only a process that draws loads matplotlib.
    import segexp.figures.clustering as figures
    from segexp.figures.look import render

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
        for kind, content in render(figure).items()
    }
