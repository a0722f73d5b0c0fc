"""A run of association rules: folds, the rules of all baskets, and those of each segment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.baskets.itemsets import basket_matrix, item_counts
from segexp.baskets.judging import JudgedRules, judge_rules
from segexp.baskets.rules import AssociationRules
from segexp.baskets.segments import (
    SegmentRules,
    baskets_to_mine,
    compare_segments,
    mine_segment,
)
from segexp.config.schema import ExperimentConfig
from segexp.data.loading import Dataset
from segexp.engine.driver import Engine
from segexp.errors import DataError
from segexp.evaluation import Split, scores_table, timings_table
from segexp.metrics import summarise
from segexp.runs import RunWriter
from segexp.saved_model import UnsafeModelError

logger = logging.getLogger(__name__)

HELD_OUT_COLUMNS = ("n_folds_found", "n_held_out", "held_out_confidence", "held_out_lift")
IN_SAMPLE = (
    "itemsets.csv and rules.csv describe the baskets that were mined, and are in-sample; in "
    f"rules.csv {', '.join(HELD_OUT_COLUMNS)} count baskets held out, over the folds whose "
    "training baskets gave the rule, too, and the last two are empty where every fold gave it: "
    "the folds together are all baskets. They do not say what a rule is worth on other baskets, "
    "as the list was made on all; what that flatters is confidence_drop in scores.csv, where each "
    "fold made its own list. The rules of segment_rules.csv were mined from one half of each "
    "segment, and every figure there is of the other halves"
)


@dataclass(frozen=True)
class BasketTable:
    """The baskets, as they are sent to workers once."""

    matrix: csr_matrix  # bool, shape (n_baskets, n_items)
    items: tuple[str, ...]
    segments: NDArray[np.object_] | None  # shape (n_baskets,); None of a basket without one
    is_mined: NDArray[np.bool_] | None  # shape (n_baskets,); for the rules of segments


@dataclass(frozen=True)
class BasketFold:
    """Rules of the training baskets of a fold, judged on its test baskets."""

    split: Split
    judged: JudgedRules
    fit_seconds: float
    predict_seconds: float


def judge_fold(table: BasketTable, model: AssociationRules, split: Split) -> BasketFold:
    """Mine a clone of a model on the training baskets, and judge its rules on the others."""
    matrix = basket_matrix(table.matrix)
    start = time.perf_counter()
    fitted = clone(model).fit(matrix[split.train], table.items)
    middle = time.perf_counter()
    judged = judge_rules(fitted, matrix[split.test])
    return BasketFold(split, judged, middle - start, time.perf_counter() - middle)


def mine_all(table: BasketTable, model: AssociationRules) -> AssociationRules:
    """Mine a clone of a model on all baskets."""
    return clone(model).fit(table.matrix, table.items)


def mine_one_segment(table: BasketTable, model: AssociationRules, name: str) -> SegmentRules:
    """Mine the half of the baskets of one segment that is mined."""
    if table.segments is None or table.is_mined is None:
        raise DataError("no segments of the customers are known")
    own = np.flatnonzero((table.segments == name) & table.is_mined)
    return mine_segment(model, basket_matrix(table.matrix)[own], table.items, name)


def draw_rules(table: BasketTable, fitted: AssociationRules) -> dict[str, bytes]:
    """Return the figures of fitted rules as file name -> content."""
    # Here, so that only a process that draws loads matplotlib.
    from segexp.baskets.figures import rule_network, rule_scatter, top_items
    from segexp.figures.look import render

    counts = item_counts(basket_matrix(table.matrix))
    sold = pd.DataFrame({"item": table.items, "count": counts})
    figures = {
        "top_items": top_items(sold[sold["count"] > 0], table.matrix.shape[0]),
        "rules": rule_scatter(fitted.rules_),
        "rule_network": rule_network(
            fitted.rules_, fitted.antecedents_, fitted.consequents_, fitted.items_
        ),
    }
    return {
        f"{name}.{kind}": content
        for name, figure in figures.items()
        for kind, content in render(figure).items()
    }


class BasketWork:
    """What a run of association rules computes and writes.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted; its last step is the :class:`~segexp.baskets.rules.AssociationRules`.
    baselines : mapping of str to Pipeline
        Not used: rules are compared with the share of all baskets that hold the consequent, which
        is what lift says.
    dataset : Dataset
        With ``baskets``.
    splits : sequence of Split
        Row numbers of baskets.
    count : callable
        Told of each task that is done.
    priority : tuple of int
        Earlier tasks are served first.

    Attributes
    ----------
    model : None
        There is no model beside the rules, which are files of the run.
    """

    model: bytes | UnsafeModelError | None = None

    def __init__(
        self,
        config: ExperimentConfig,
        pipeline: Pipeline,
        baselines: Mapping[str, Pipeline],
        dataset: Dataset,
        splits: Sequence[Split],
        writer: RunWriter,
        engine: Engine,
        count: Callable[[int, str], None],
        priority: tuple[int, ...],
    ) -> None:
        if dataset.baskets is None:
            raise DataError(f"dataset {dataset.name!r} has no baskets")
        self._evaluation, self._splits = config.evaluation, splits
        self._rules: AssociationRules = pipeline.steps[-1][1]
        self._writer, self._engine = writer, engine
        self._count, self._priority = count, priority
        known = dataset.baskets.segments
        segments = None if known is None else _names_of(known)
        owners = dataset.baskets.customers
        is_mined = None
        if segments is not None:
            customers = None if owners is None else owners.to_numpy(dtype=object)
            is_mined = baskets_to_mine(segments, customers, config.run.seed)
        self._data = BasketTable(
            dataset.baskets.matrix, tuple(dataset.baskets.items), segments, is_mined
        )
        # By object, which the engine keeps: cells of a sweep on the same baskets share it.
        self.shared = engine.share(
            self._data,
            f"{dataset.fingerprint} baskets {id(dataset.baskets)} seed {config.run.seed}",
        )
        self._segments = [] if segments is None else sorted({s for s in segments if s is not None})

    @property
    def n_tasks(self) -> int:
        """How many tasks there are in all."""
        final = 2 + len(self._segments) if self._evaluation.final_model else 0
        return len(self._splits) + final

    async def finish(self) -> None:
        """Mine and judge fold by fold, mine all baskets and each segment, and write the results."""
        # First what is sure to be refused if the thresholds are too low.
        fitted = await self._mine_all() if self._evaluation.final_model else None
        try:
            async with asyncio.TaskGroup() as tasks:
                folds = [tasks.create_task(self._judge(i)) for i in range(len(self._splits))]
                own = self._segments if fitted is not None else []
                mined = [tasks.create_task(self._mine_segment(name)) for name in own]
        except BaseExceptionGroup as group:
            error = _first(group)
            raise error from error.__cause__
        judged = [task.result() for task in folds]
        self._write_folds(judged)
        if fitted is not None:
            segments = [task.result() for task in mined]
            await self._write_rules(fitted, judged, segments)

    async def _mine_all(self) -> AssociationRules:
        place = (*self._priority, 0)
        fitted = await self._engine.run(mine_all, self.shared, self._rules, priority=place)
        self._count(1, "rules of all baskets")
        return fitted

    async def _judge(self, i: int) -> BasketFold:
        place = (*self._priority, 1 + i)
        fold = await self._engine.run(
            judge_fold, self.shared, self._rules, self._splits[i], priority=place
        )
        self._count(1, f"fold {self._splits[i].fold}")
        return fold

    async def _mine_segment(self, name: str) -> SegmentRules:
        place = (*self._priority, 1 + len(self._splits))
        found = await self._engine.run(
            mine_one_segment, self.shared, self._rules, name, priority=place
        )
        self._count(1, f"rules of segment {name}")
        return found

    def _write_folds(self, folds: Sequence[BasketFold]) -> None:
        scores = scores_table((fold.split, fold.judged.values) for fold in folds)
        self._writer.write_csv(runs.SCORES, scores)
        self._writer.write_json(runs.SUMMARY, summarise(scores))
        self._writer.write_csv(runs.TIMINGS, timings_table(folds))

    async def _write_rules(
        self,
        fitted: AssociationRules,
        folds: Sequence[BasketFold],
        segments: Sequence[SegmentRules],
    ) -> None:
        writer = self._writer
        writer.write_csv(runs.ITEMSETS, fitted.itemsets_)
        writer.write_csv(runs.RULES, with_held_out(fitted.rules_, folds))
        compared = None
        if self._data.segments is not None:
            compared = self._compare(segments)
            writer.write_csv(runs.SEGMENT_RULES, compared)
        content = {
            "n_folds": len(folds),
            **describe(fitted, self._data, segments, compared),
        }
        for note in (*content["notes"], *([fitted.advice_] if fitted.advice_ else [])):
            logger.info("%s", note)
        writer.write_json(runs.BASKETS, content)
        place = (*self._priority, 2 + len(self._splits))
        figures = await self._engine.run(draw_rules, self.shared, fitted, priority=place)
        writer.make_folder(runs.FIGURES)
        for name, figure in figures.items():
            writer.write_bytes(f"{runs.FIGURES}/{name}", figure)
        self._count(1, "figures")

    def _compare(self, segments: Sequence[SegmentRules]) -> pd.DataFrame:
        """Test the rules of the segments on the baskets that were not mined."""
        matrix, names = basket_matrix(self._data.matrix), self._data.segments
        if names is None or self._data.is_mined is None:
            raise DataError("no segments of the customers are known")
        tests = np.array([name is not None for name in names], dtype=bool) & ~self._data.is_mined
        if self._rules.max_basket_items is not None:
            tests &= np.diff(matrix.indptr) <= self._rules.max_basket_items
        kept = np.flatnonzero(tests)
        return compare_segments(segments, matrix[kept], names[kept], self._rules.alpha)


def _names_of(segments: pd.Series[Any]) -> NDArray[np.object_]:
    """Return names as text, None where there is none."""
    return np.array([None if pd.isna(s) else str(s) for s in segments], dtype=object)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def with_held_out(rules: pd.DataFrame, folds: Sequence[BasketFold]) -> pd.DataFrame:
    """Add to each rule what became of it on the baskets held out.

    Counts are summed over the folds whose training baskets gave the rule, too:
    ``n_folds_found`` of them. ``n_held_out`` are the baskets there that hold the antecedent;
    ``held_out_confidence`` and ``held_out_lift`` are NaN where there is none, and where every
    fold gave the rule: the baskets held out are all baskets then, and so are the figures.
    """
    key = ["antecedent", "consequent"]
    found = [fold.judged.rules.assign(n=fold.judged.n_baskets, folds=1) for fold in folds]
    if not found:
        return rules.assign(**dict.fromkeys(HELD_OUT_COLUMNS, np.nan))
    sums = pd.concat(found, ignore_index=True).groupby(key, sort=False).sum()
    own = sums.reindex(pd.MultiIndex.from_frame(rules[key])).to_numpy(dtype=float)
    column = {name: own[:, i] for i, name in enumerate(sums.columns)}
    seen = (np.nan_to_num(column["n_antecedent"]) > 0) & (column["folds"] < len(folds))
    confidence, lift = np.full((2, len(rules)), np.nan)
    np.divide(column["n_both"], column["n_antecedent"], out=confidence, where=seen)
    expected = column["n_consequent"]
    is_known = seen & (expected > 0)
    np.divide(confidence * column["n"], expected, out=lift, where=is_known)
    return rules.assign(
        n_folds_found=np.nan_to_num(column["folds"]).astype(np.int64),
        n_held_out=np.nan_to_num(column["n_antecedent"]).astype(np.int64),
        held_out_confidence=confidence,
        held_out_lift=lift,
    )


def describe(
    fitted: AssociationRules,
    data: BasketTable,
    segments: Sequence[SegmentRules],
    compared: pd.DataFrame | None,
) -> dict[str, Any]:
    """Return counts, thresholds, notes and advice, for JSON."""
    rules, itemsets = fitted.rules_, fitted.itemsets_
    counts = item_counts(basket_matrix(data.matrix))
    sizes = np.diff(data.matrix.indptr)
    content: dict[str, Any] = {
        "n_baskets": fitted.n_baskets_,
        "n_baskets_left_out": fitted.n_left_out_,
        "n_baskets_empty": fitted.n_empty_,
        "n_items": len(counts),
        "n_items_sold": int((counts > 0).sum()),
        "mean_items": float(sizes.mean()),
        "most_items": int(sizes.max()),
        "min_support": fitted.min_support,
        "min_count": fitted.min_count_,
        "min_confidence": fitted.min_confidence,
        "min_lift": fitted.min_lift,
        "alpha": fitted.alpha,
        "consequents": fitted.consequents,
        "n_itemsets": len(itemsets),
        "itemsets_by_length": _by_length(itemsets),
        "n_rules_weighed": fitted.n_candidates_,
        "n_rules": len(rules),
        "rules_by_length": _by_length(rules),
        "n_significant": int(rules["significant"].sum()),
        "n_redundant": int(rules["redundant"].sum()),
        "advice": fitted.advice_,
        "notes": [*_notes(fitted, data, counts), *(one.note for one in segments if one.note)],
        "in_sample": IN_SAMPLE,
    }
    if compared is not None:
        content["segments"] = {one.name: _of_segment(one, data, compared) for one in segments}
    return content


def _by_length(table: pd.DataFrame) -> dict[str, int]:
    lengths, n = np.unique(table["length"].to_numpy(dtype=int), return_counts=True)
    return {str(length): int(count) for length, count in zip(lengths, n, strict=True)}


def _of_segment(one: SegmentRules, data: BasketTable, compared: pd.DataFrame) -> dict[str, Any]:
    own = compared[compared["segment"] == one.name]
    return {
        "n_baskets": int(np.count_nonzero(data.segments == one.name)),
        "n_baskets_mined": one.n_baskets,
        "min_count": one.model.min_count_ if one.model else None,
        "n_rules": len(own),
        "n_special": int(own["special"].astype(bool).sum()),
        "advice": one.model.advice_ if one.model else one.note,
    }


def _notes(fitted: AssociationRules, data: BasketTable, counts: NDArray[Any]) -> list[str]:
    notes = []
    if fitted.n_left_out_:
        notes.append(
            f"{fitted.n_left_out_:,} baskets of more than {fitted.max_basket_items} different "
            f"items were left out (max_basket_items)"
        )
    if fitted.n_empty_:
        notes.append(f"{fitted.n_empty_:,} baskets are empty; they count among all baskets")
    if unsold := int((counts == 0).sum()):
        notes.append(f"{unsold:,} items are in no basket")
    if data.segments is not None:
        unknown = sum(name is None for name in data.segments)
        if unknown:
            notes.append(f"{unknown:,} baskets are of customers without a segment")
    if not fitted.keep_redundant:
        notes.append("redundant rules were left out (keep_redundant)")
    return notes
