"""The part of a report on a classifier: how good it is, what it confuses, what it looks at.

Figures of quality are of customers held out; what is said of the saved model is in-sample, and
says so. Everything is made from the run directory, and what cannot be made says why.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import segexp.runs as runs
from segexp.components import build_pipeline
from segexp.data.column_types import MAX_SEGMENTS
from segexp.errors import SegexpError
from segexp.explanations import (
    MIN_ROWS,
    ExplanationError,
    Sampled,
    contributions,
    count_twins,
    dependence,
    learning_curve,
    n_values,
    plan_learning,
    read_sample,
    value_ranks,
)
from segexp.figures import classification as figures
from segexp.figures.look import render
from segexp.metrics import METRICS, N_BINS, metric_by_name, score
from segexp.plan import recorded_config
from segexp.report.page import (
    Block,
    Cell,
    Details,
    Figure,
    Items,
    Section,
    Table,
    Text,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing
    from sklearn.pipeline import Pipeline

    from segexp.report.source import Source

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

SURE = 0.8  # a prediction with this probability is called sure
MOST_SHOWN = 12  # features in a figure, customers in a table
MOST_CURVES_OF_FEATURES = 6
MOST_POINTS = 300  # of a curve
CONTRIBUTION_ROWS = 400
MOST_SECONDS = 30.0  # of refits for a learning curve, as the run's own times let expect
CURVE_SECONDS = 8.0  # of predictions for the mean curves
IN_SAMPLE = "In-sample: the saved model, on customers that it was fitted on"


def classification_sections(source: Source) -> list[Section]:
    """Return what a run directory says about its classifier; none for another task.

    Parameters
    ----------
    source : Source
        Of a run; nothing in it is trusted, and whatever is missing is said in a sentence.

    Returns
    -------
    list of Section
        ``quality``, ``confusion``, ``probabilities``, ``importance``, ``effects``,
        ``learning-curve`` and ``errors``.
    """
    if source.task != "classification":
        return []
    evidence = _Evidence(source)
    parts: tuple[tuple[str, str, Sequence[Callable[[_Evidence], list[Block]]]], ...] = (
        ("quality", "How good the predictions are", [_quality]),
        ("confusion", "Which segments are confused", [_confusion]),
        ("probabilities", "What the probabilities are worth", [_probabilities]),
        ("importance", "What the predictions rest on", [_importance]),
        ("effects", "How features act", [_dependence, _contributions]),
        ("learning-curve", "Would more customers help?", [_learning]),
        ("errors", "Customers worth a look", [_errors, _twins]),
    )
    return [
        Section(mark, title, [block for make in made for block in _made(make, evidence)])
        for mark, title, made in parts
    ]


def _made(make: Callable[[_Evidence], list[Block]], evidence: _Evidence) -> list[Block]:
    """Return blocks, or the sentence that says why there are none."""
    what = _WHAT[make.__name__]
    try:
        with warnings.catch_warnings():
            # Libraries said it when the run was made; the page is no place for it.
            warnings.simplefilter("ignore")
            return make(evidence)
    except SegexpError as error:
        # Where the run lies is no business of its readers.
        reason = " ".join(str(error).split()).replace(str(evidence.source.path), "the run")
        return [Text(f"There is no {what}: {_sentence(reason)}", "quiet")]
    except Exception as error:  # a stranger's numbers can break anything that computes
        logger.debug("no %s", what, exc_info=True)
        reason = f"the run directory is damaged or of another version ({type(error).__name__})"
        return [Text(f"There is no {what}: {reason}.", "quiet")]


_WHAT = {
    "_quality": "table of metrics",
    "_confusion": "table of confused segments",
    "_probabilities": "judgement of probabilities",
    "_importance": "importance of columns",
    "_dependence": "curve of single features",
    "_contributions": "contribution of features to single predictions",
    "_learning": "learning curve",
    "_errors": "list of wrong predictions",
    "_twins": "count of customers who are alike",
}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


# ---- what there is -----------------------------------------------------------------------------


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


class _Evidence:
    """What several sections need of a run, read once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.manifest = source.manifest
        self.segments = tuple(map(str, source.manifest["segments"]))

    def needed(self, name: str, found: Any) -> Any:
        """Return what was found, or say that its file cannot be read."""
        if found is None:
            reason = self.source.why(name) or "it cannot be read"
            raise ExplanationError(f"it needs {name}, and {reason}")
        return found

    @cached_property
    def judged(self) -> Judged:
        table = self.needed(runs.PREDICTIONS, self.source.predictions)
        return read_judged(table, self.segments, self.manifest["split"])

    @cached_property
    def sampled(self) -> Sampled:
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
        split = self.manifest["split"]
        return 1 if split["protocol"] == "holdout" else int(split["n_splits"])

    @property
    def test_share(self) -> float:
        """The share of the customers that a fold judges."""
        share = self.manifest["split"]["test_size"]
        return float(share) if self.n_splits == 1 and share else 1 / max(self.n_splits, 2)

    def seconds_per_row(self, name: str) -> float:
        """Return what a row costs to fit or to predict, as the run recorded it."""
        table = self.needed(runs.TIMINGS, self.source.timings)
        share = self.test_share if name == "predict_seconds" else 1 - self.test_share
        n_rows = max(1.0, self.manifest["dataset"]["n_rows"] * share)
        seconds = float(table[name].mean())
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ExplanationError(f"{runs.TIMINGS} is damaged")
        return max(seconds, 1e-3) / n_rows


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


def _figure(name: str, drawn: Drawing, alt: str, caption: str) -> Figure:
    return Figure(name, render(drawn), alt, caption)


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}%"


def _four(value: Any) -> str | None:
    """Return a figure with four digits behind the point; None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value:.4g}" if abs(value) >= 1e6 else f"{round(value, 4) + 0.0:.4f}"


def _interval(entry: Mapping[str, Any]) -> str | None:
    found = entry.get("interval")
    return f"{_four(found[0])} – {_four(found[1])}" if found else None


# ---- how good it is ----------------------------------------------------------------------------


def _quality(evidence: _Evidence) -> list[Block]:
    summary = evidence.needed(runs.SUMMARY, evidence.source.summary)
    baselines = _baseline_means(evidence)
    blocks: list[Block] = [Text(_accuracy_words(evidence, summary, baselines), "lead")]
    beaten = _beaten(evidence, summary, baselines)
    losing = [words for wins, words in beaten if not wins]
    blocks += [Text(words, "warning") for words in losing]
    if winning := [words for wins, words in beaten if wins]:
        blocks.append(Items(winning))
    blocks.append(_metric_table(evidence, summary, baselines))
    meanings = [f"{m.label}: {m.description}" for m in METRICS if m.name in summary]
    about = (
        "Every figure is the mean over folds, each judged by a model fitted on the other "
        "customers. Folds share training customers, so their standard deviation is no error of "
        "the mean; the intervals are of the jackknife over customers. The baselines are judged "
        "on the same folds."
    )
    return [*blocks, Details("What the metrics mean", [Text(about), Items(meanings)])]


_BASELINE_NAMES = {"dummy": "majority"}


def _baseline_means(evidence: _Evidence) -> dict[str, dict[str, float]]:
    table = evidence.source.baselines
    if table is None:
        return {}
    means = table.groupby(["baseline", "metric"], sort=False)["value"].mean()
    return {str(name): means[name].to_dict() for name in dict.fromkeys(table["baseline"])}


def _baseline_words(name: str) -> str:
    return _BASELINE_NAMES.get(name, name)


def _accuracy_words(
    evidence: _Evidence,
    summary: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, float]],
) -> str:
    entry = summary.get("accuracy", {})
    if entry.get("mean") is None:
        return "How many customers are put into their own segment is not known."
    within = ""
    if entry["interval"]:
        low, high = entry["interval"]
        level = _percent(evidence.manifest["confidence"], 0)
        within = f" ({level} interval {_percent(low)} to {_percent(high)})"
    words = (
        f"Of customers that the model never saw, it puts {_percent(entry['mean'])} into their own "
        f"segment{within}."
    )
    always = baselines.get("dummy", {}).get("accuracy")
    if always is not None and math.isfinite(always):
        words += f" Always naming the largest segment would be right for {_percent(always)}."
    return words


def _beaten(
    evidence: _Evidence,
    summary: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, float]],
) -> list[tuple[bool, str]]:
    """Say of each baseline whether the run is better by the metric that ranks."""
    metric = metric_by_name(evidence.manifest["metric"])
    mean = summary.get(metric.name, {}).get("mean")
    sign = 1 if metric.greater_is_better else -1
    found = []
    for name, means in baselines.items():
        other = means.get(metric.name, math.nan)
        if mean is None or not math.isfinite(other):
            continue
        wins = sign * mean > sign * other
        how = "better" if wins else "not better"
        words = (
            f"{evidence.manifest['model']} is {how} than the baseline {_baseline_words(name)} by "
            f"{metric.label}, the metric that ranks: {_four(mean)} against {_four(other)}"
        )
        found.append((wins, _sentence(words + _won_folds(evidence, name, metric.name, sign))))
    return found


def _won_folds(evidence: _Evidence, baseline: str, metric: str, sign: int) -> str:
    scores, others = evidence.source.scores, evidence.source.baselines
    if scores is None or others is None:
        return ""
    keys = ["repeat", "fold"]
    own = scores[scores["metric"] == metric].set_index(keys)["value"]
    other = others[(others["metric"] == metric) & (others["baseline"] == baseline)]
    gains = sign * (own - other.set_index(keys)["value"]).dropna()
    if len(gains) < 2:
        return ""
    return f", and better on {int((gains > 0).sum())} of {len(gains)} folds"


def _metric_table(
    evidence: _Evidence,
    summary: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, float]],
) -> Table:
    level = f"{_percent(evidence.manifest['confidence'], 0)} interval"
    names = {name: _baseline_words(name) for name in baselines}
    columns = ["metric", "mean", "sd over folds", level, *names.values()]
    rows: list[list[Any]] = []
    for metric in METRICS:
        if metric.name not in summary:
            continue
        entry = summary[metric.name]
        ranks = metric.name == evidence.manifest["metric"]
        less = "" if metric.greater_is_better else " (less is better)"
        rows.append(
            [
                Cell(f"{metric.label}{less}", mark="ranks" if ranks else "", strong=ranks),
                Cell(_four(entry["mean"]) or "–", entry["mean"], strong=ranks),
                _four(entry["std"]), _interval(entry),
                *(_four(baselines[name].get(metric.name)) for name in names),
            ]
        )  # fmt: skip
    return Table(
        columns, rows, numeric=columns[1:],
        caption="On held-out customers, beside the baselines on the same folds",
        about={
            "mean": "over folds, each judged by a model fitted on the other customers",
            "sd over folds": "folds share training customers: no error of the mean",
            level: "of the jackknife over customers",
        },
    )  # fmt: skip


# ---- what is confused --------------------------------------------------------------------------


def _confusion(evidence: _Evidence) -> list[Block]:
    judged = evidence.judged
    table = _segment_table(evidence, judged)
    counts = pd.DataFrame(judged.counts, index=judged.segments, columns=judged.segments)
    hardest = hardest_words(table)
    right = float(np.trace(judged.counts)) / len(judged.truth)
    return [
        Text(f"{hardest} {_commonest_words(judged)}", "lead"),
        _figure(
            "confusion", figures.confusion(counts, judged.words),
            f"Confusion matrix of {len(counts)} segments; {_percent(right)} of the customers are "
            f"on its diagonal. {hardest}",
            f"{judged.words}. Rows: known segments; columns: predicted ones; framed: right.",
        ),
        _shown_segments(table, evidence),
        _figure(
            "segments", figures.segment_scores(table, "Mean over folds, on customers held out"),
            f"Precision, recall and F1 of {len(table)} segments. {hardest}",
            "Precision: how many of those predicted in a segment belong there. Recall: how many "
            "of its customers are found. Held out, mean over folds.",
        ),
        Details("The confusion matrix in numbers", [_counts_table(counts, judged.words)]),
    ]  # fmt: skip


def _segment_table(evidence: _Evidence, judged: Judged) -> pd.DataFrame:
    """Return one row per segment; figures are means over folds, where the run recorded them."""
    pooled = score(judged.truth, judged.predicted, None, judged.segments)
    summary = evidence.source.summary or {}
    rows = []
    for code, name in enumerate(judged.segments):
        own = judged.counts[code]
        values: dict[str, Any] = {}
        for kind in ("precision", "recall", "f1"):
            mean = summary.get(f"{kind}[{name}]", {}).get("mean")
            values[kind] = pooled[f"{kind}[{name}]"] if mean is None else float(mean)
        others = np.where(np.arange(len(own)) == code, -1, own)
        taken = int(others.argmax()) if others.max() > 0 else -1
        rows.append(
            {
                "segment": name, "customers": int(own.sum()), **values,
                "interval": _interval(summary.get(f"recall[{name}]", {})),
                "taken": judged.segments[taken] if taken >= 0 else None,
                "taken_share": own[taken] / own.sum() if taken >= 0 else math.nan,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def hardest_words(table: pd.DataFrame) -> str:
    """Name the segment with the lowest recall, and what it is taken for.

    Parameters
    ----------
    table : DataFrame with columns ``segment, recall, taken, taken_share``

    Examples
    --------
    >>> hardest_words(pd.DataFrame({"segment": ["A", "C"], "recall": [0.9, 0.31],
    ...                             "taken": ["C", "B"], "taken_share": [0.1, 0.38]}))
    'C has the lowest recall, 0.31; 38% of its customers are taken for B.'
    """
    known = table[table["recall"].notna()]
    if known.empty:
        return "No segment has customers that were judged."
    worst = known.to_dict("records")[int(known["recall"].to_numpy().argmin())]
    if worst["recall"] >= 1:
        return "Every customer is put into the right segment."
    words = f"{worst['segment']} has the lowest recall, {worst['recall']:.2f}"
    if isinstance(worst["taken"], str):
        words += f"; {worst['taken_share']:.0%} of its customers are taken for {worst['taken']}"
    return f"{words}."


def _commonest_words(judged: Judged) -> str:
    wrong = judged.counts - np.diag(np.diag(judged.counts))
    if not wrong.any():
        return ""
    i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
    never = [
        name
        for code, name in enumerate(judged.segments)
        if not judged.counts[:, code].any() and judged.counts[code].any()
    ]
    words = (
        f"The most frequent mistake: {wrong[i, j]:,} customers of {judged.segments[i]} are taken "
        f"for {judged.segments[j]}, {_percent(wrong[i, j] / wrong.sum(), 0)} of all mistakes."
    )
    if never:
        listed = ", ".join(never[:5]) + (f" and {len(never) - 5} more" if len(never) > 5 else "")
        words += f" Never predicted: {listed}."
    return words


def _shown_segments(table: pd.DataFrame, evidence: _Evidence) -> Table:
    level = _percent(evidence.manifest["confidence"], 0)
    columns = ("segment", "customers judged", "precision", "recall", f"{level} interval of recall",
               "F1", "most often taken for")  # fmt: skip
    rows = [
        [
            row["segment"], row["customers"], _four(row["precision"]),
            Cell(_four(row["recall"]) or "–", _finite(row["recall"]), share=_finite(row["recall"])),
            row["interval"], _four(row["f1"]),
            f"{row['taken']} ({row['taken_share']:.0%})" if isinstance(row["taken"], str) else None,
        ]
        for row in _records(table)
    ]  # fmt: skip
    return Table(columns, rows, numeric=columns[1:6], caption="Held out, mean over folds")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _counts_table(counts: pd.DataFrame, caption: str) -> Table:
    columns = ("known segment", *map(str, counts.columns))
    rows: list[list[Any]] = []
    for name, row in zip(counts.index, counts.to_numpy(), strict=True):
        total = max(int(row.sum()), 1)
        cells = [Cell(f"{n:,} ({n / total:.0%})" if n else "0", int(n)) for n in row.tolist()]
        rows.append([str(name), *cells])
    return Table(
        columns, rows, numeric=range(1, len(columns)),
        caption=f"{caption}; columns: predicted segment, with the share of the row",
    )  # fmt: skip


# ---- probabilities -----------------------------------------------------------------------------


def _probabilities(evidence: _Evidence) -> list[Block]:
    judged = evidence.judged
    if judged.probabilities is None:
        raise ExplanationError("this model gives no probabilities")
    rankings = segment_rankings(judged)
    blocks: list[Block] = [Text(_sure_words(judged), "lead")]
    if rankings:
        drawn, words = _chosen_rankings(rankings)
        aucs = ", ".join(f"{name} {found.area:.2f}" for name, found in drawn.items())
        blocks.append(
            _figure(
                "ranking", figures.ranking_curves(drawn, f"{judged.words}{words}"),
                f"ROC and precision-recall curves, one segment against the rest; areas under the "
                f"ROC curves: {aucs}.",
                f"{judged.words}; all folds together{words}. One segment against the rest; the "
                "AUC is the chance that a member is ranked before another customer.",
            )
        )  # fmt: skip
    blocks += _calibration(judged)
    if rankings:
        blocks.append(Details("All segments in numbers", [_ranking_table(rankings, judged.words)]))
    return blocks


def _sure_words(judged: Judged) -> str:
    confidence = judged.confidence
    if confidence is None:
        return ""
    right = judged.truth == judged.predicted
    said, true = float(confidence.mean()), float(right.mean())
    words = (
        f"On average the model gives its answers a probability of {said:.2f}, and {true:.2f} of "
        f"them are right"
    )
    gap = said - true
    if abs(gap) < 0.02:
        words += ": it knows how sure it may be."
    else:
        words += f": it is {'surer' if gap > 0 else 'less sure'} than it may be."
    sure = confidence >= SURE
    if sure.any():
        words += (
            f" Where it is sure (probability {SURE} or more, {_percent(sure.mean(), 0)} of the "
            f"customers), {_percent(right[sure].mean())} are right."
        )
    return words


def segment_rankings(judged: Judged) -> dict[str, figures.Ranking]:
    """Return ROC and precision-recall curves of each segment that has members and others."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

    if judged.probabilities is None:
        return {}
    areas = score(judged.truth, judged.predicted, judged.probabilities, judged.segments)
    found = {}
    for code, name in enumerate(judged.segments):
        member, said = judged.truth == code, judged.probabilities[:, code]
        if not 0 < member.sum() < len(member):
            continue
        false_positive, true_positive, _ = roc_curve(member, said)
        precision, recall, _ = precision_recall_curve(member, said, drop_intermediate=True)
        ends, steps = _thinned(len(false_positive)), _thinned(len(recall))
        found[name] = figures.Ranking(
            false_positive[ends], true_positive[ends], recall[steps], precision[steps],
            area=float(np.trapezoid(true_positive, false_positive)),
            average_precision=float(average_precision_score(member, said)),
            prevalence=float(member.mean()),
        )  # fmt: skip
    return found if math.isfinite(areas["roc_auc_ovr"]) else {}


def _thinned(n: int) -> Codes:
    """Return the positions of at most as many points as a curve shows, with both ends."""
    return np.unique(np.round(np.linspace(0, n - 1, min(n, MOST_POINTS))).astype(np.intp))


def _chosen_rankings(
    rankings: Mapping[str, figures.Ranking],
) -> tuple[dict[str, figures.Ranking], str]:
    """Return the best and the worst segments where there are too many to tell apart."""
    if len(rankings) <= figures.MOST_CURVES:
        return dict(rankings), ""
    half = figures.MOST_CURVES // 2
    ordered = sorted(rankings, key=lambda name: -rankings[name].area)
    chosen = {name: rankings[name] for name in (*ordered[:half], *ordered[-half:])}
    return chosen, f"; the {half} best and {half} worst of {len(rankings)} segments"


def _ranking_table(rankings: Mapping[str, figures.Ranking], caption: str) -> Table:
    columns = ("segment", "share of the customers", "ROC AUC", "average precision")
    rows = [
        [name, Cell(_percent(r.prevalence), r.prevalence), _four(r.area),
         _four(r.average_precision)]
        for name, r in rankings.items()
    ]  # fmt: skip
    return Table(
        columns, rows, numeric=columns[1:],
        caption=f"{caption}; all folds together, so the mean AUC of the metrics may differ",
    )  # fmt: skip


def _calibration(judged: Judged) -> list[Block]:
    probabilities = judged.probabilities
    if probabilities is None:
        return []
    top = reliability_bins(
        probabilities.max(axis=1), judged.truth == probabilities.argmax(axis=1), N_BINS
    )
    gap = float((top["n"] * (top["said"] - top["true"]).abs()).sum() / top["n"].sum())
    members = np.bincount(judged.truth, minlength=len(judged.segments))
    largest = np.sort(np.argsort(-members, kind="stable")[:6])
    panels = {
        judged.segments[code]: reliability_bins(probabilities[:, code], judged.truth == code, 10)
        for code in largest
    }
    which = f"; the 6 largest of {len(members)} segments" if len(members) > len(largest) else ""
    bars = "lines: 95% Wilson intervals; grey: what is said comes true"
    return [
        _figure(
            "calibration",
            figures.reliability({"the likeliest segment": top}, judged.short),
            f"Reliability diagram of the likeliest segment; mean gap {gap:.3f}. "
            + "; ".join(f"said {b['said']:.2f}, true {b['true']:.2f}" for b in _records(top)),
            f"{judged.words}. Of the segment with the largest probability, in {N_BINS} bins; "
            f"{bars}. The mean gap, weighted by customers, is "
            f"{gap:.3f} over all folds together.",
        ),
        Details(
            "Probabilities of each segment",
            [
                _figure(
                    "calibration-segments", figures.reliability(panels, f"{judged.short}{which}"),
                    f"Reliability diagrams of {len(panels)} segments, one against the rest.",
                    f"{judged.words}{which}. Each segment against the rest, in 10 bins; {bars}.",
                ),
                _bins_table(top),
            ],
        ),
    ]  # fmt: skip


def reliability_bins(said: Floats, true: NDArray[np.bool_], n_bins: int) -> pd.DataFrame:
    """Compare probabilities with what came true, in bins of equal width.

    Parameters
    ----------
    said : ndarray of float, shape (n,)
    true : ndarray of bool, shape (n,)
    n_bins : int
        Bin m holds probabilities in ((m-1)/n_bins, m/n_bins], as the calibration error does.

    Returns
    -------
    DataFrame with columns ``left, right, said, true, low, high, n``
        Bins without customers are left out. ``low`` and ``high`` are Wilson's interval of the
        share (95%; Wilson 1927, Journal of the American Statistical Association 22, 209-212).
    """
    bins = np.clip(np.ceil(said * n_bins).astype(int) - 1, 0, n_bins - 1)
    n = np.bincount(bins, minlength=n_bins).astype(np.float64)
    filled = np.flatnonzero(n)
    size = n[filled]
    share = np.bincount(bins, true, minlength=n_bins)[filled] / size
    z = 1.959963984540054
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return pd.DataFrame(
        {
            "left": filled / n_bins, "right": (filled + 1) / n_bins,
            "said": np.bincount(bins, said, minlength=n_bins)[filled] / size,
            "true": share,
            "low": np.maximum(middle - half, 0), "high": np.minimum(middle + half, 1),
            "n": size.astype(int),
        }
    )  # fmt: skip


def _bins_table(bins: pd.DataFrame) -> Table:
    columns = (
        "probability",
        "customers",
        "mean probability",
        "share that is right",
        "95% interval",
    )
    rows = [
        [Cell(f"{b['left']:.2f} – {b['right']:.2f}", b["left"]), b["n"], _four(b["said"]),
         _four(b["true"]), f"{b['low']:.3f} – {b['high']:.3f}"]
        for b in _records(bins)
    ]  # fmt: skip
    return Table(columns, rows, numeric=columns, caption="The likeliest segment, bin by bin")


# ---- what it looks at --------------------------------------------------------------------------


def _importance(evidence: _Evidence) -> list[Block]:
    table = evidence.needed(runs.IMPORTANCE, evidence.source.importance)
    permutation = with_intervals(
        table[table["kind"] == "permutation"],
        evidence.n_splits * int(evidence.manifest["split"]["n_repeats"]),
        evidence.test_share,
        float(evidence.manifest["confidence"]),
    )
    own = table[(table["kind"] == "model") & table["mean"].notna()]
    if permutation.empty:
        raise ExplanationError("no columns were shuffled (evaluation.importance_repeats=0)")
    metric = metric_by_name(evidence.manifest["metric"])
    total = float(own["mean"].sum())
    shares = own.assign(mean=100 * own["mean"] / total) if total > 0 else own.iloc[:0]
    level = _percent(evidence.manifest["confidence"], 0)
    interval = f"{level} interval over folds"
    top = permutation.head(MOST_SHOWN)
    words = _rest_words(permutation, metric.label)
    blocks: list[Block] = [
        Text(words, "lead"),
        _figure(
            "importance",
            figures.importances(
                top, _without_roles(shares.head(MOST_SHOWN)), metric.name,
                f"Left: mean over folds, line: {interval}; the first {len(top)} of "
                f"{len(permutation)} columns",
            ),
            f"Columns by loss of {metric.label} when shuffled: "
            + ", ".join(f"{row['feature']} {row['mean']:.4f}" for row in _records(top)) + ".",
            f"Left: how much {metric.label} is lost on held-out customers when the values of a "
            f"column are dealt to other customers (Breiman 2001). Columns that go together share "
            f"their importance. Right: the model's own figure, of its training customers.",
        ),
        Details("All columns in numbers", [_importance_table(permutation, metric.label, interval)]),
    ]  # fmt: skip
    if not len(shares):
        said = "The model has no importance of its own (no trees, no coefficients)."
        return [*blocks, Text(said, "quiet")]
    columns = ("prepared feature", "mean over folds", "sd over folds", "share")
    rows = [
        [row["feature"], _four(row["mean"]), _four(row["std"]),
         Cell(_percent(row["mean"] / total), row["mean"] / total)]
        for row in _records(own)
    ]  # fmt: skip
    caption = "In-sample: splits, gain, impurity or mean absolute coefficient, as the model has it"
    inner = [Table(columns, rows, numeric=columns[1:], caption=caption)]
    return [*blocks, Details("The model's own importance in numbers", inner)]


def _without_roles(own: pd.DataFrame) -> pd.DataFrame:
    """Leave out the role that a preprocessing of native categories puts before each name."""
    beginning = r"^(numeric|categorical|native_categorical|ordinal|date)__"
    return own.assign(feature=own["feature"].str.replace(beginning, "", regex=True))


def with_intervals(
    table: pd.DataFrame, n_folds: int, test_share: float, level: float
) -> pd.DataFrame:
    """Add ``low`` and ``high``, intervals of means over folds that share training customers.

    Parameters
    ----------
    table : DataFrame with columns ``mean, std``
        Over folds.
    n_folds : int
        In all repeats.
    test_share : float
        Share of the customers that each fold judges.
    level : float

    Returns
    -------
    DataFrame
        NaN with fewer than two folds.

    Notes
    -----
    mean ± t sd sqrt(1 / n_folds + n_test / n_train), with n_folds - 1 degrees of freedom: Nadeau
    and Bengio (2003), Inference for the generalization error, Machine Learning 52, 239-281.
    """
    from scipy.special import stdtrit

    if n_folds < 2:
        return table.assign(low=math.nan, high=math.nan)
    t = float(stdtrit(n_folds - 1, (1 + level) / 2))
    half = t * table["std"] * math.sqrt(1 / n_folds + test_share / (1 - test_share))
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def _rest_words(permutation: pd.DataFrame, label: str) -> str:
    names = permutation.loc[permutation["low"].fillna(permutation["mean"]) > 0, "feature"].tolist()
    untested = bool(permutation["low"].isna().all())  # one split has no interval
    none = 0 if untested else len(permutation) - len(names)
    if not names and untested:
        return f"No single column makes a difference to {label} on this split."
    if not names:
        return f"No single column makes a difference to {label} that its folds agree on."
    words = f"The predictions rest most on {_listed(names[:3])}."
    if none:
        columns = "column makes" if none == 1 else "columns make"
        words += (
            f" {none} of {len(permutation)} {columns} no difference that can be told from chance: "
            f"a model without them may do as well."
        )
    return words


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _importance_table(permutation: pd.DataFrame, label: str, interval: str) -> Table:
    columns = ("column", f"loss of {label}", "sd over folds", interval)
    rows = [
        [row["feature"], _four(row["mean"]), _four(row["std"]),
         f"{_four(row['low'])} – {_four(row['high'])}" if math.isfinite(row["low"]) else None]
        for row in _records(permutation)
    ]  # fmt: skip
    return Table(columns, rows, numeric=columns[1:], caption="Held out, mean over folds")


# ---- how features act --------------------------------------------------------------------------


def _dependence(evidence: _Evidence) -> list[Block]:
    sampled, pipeline = evidence.sampled, evidence.model
    features = evidence.ranked[:MOST_CURVES_OF_FEATURES]
    points = sum(n_values(sampled.X[name]) for name in features)
    rate = evidence.seconds_per_row("predict_seconds")
    n_rows = min(len(sampled.X), 300, int(CURVE_SECONDS / rate / max(points, 1)))
    if n_rows < min(MIN_ROWS, len(sampled.X)) or not n_rows:
        raise ExplanationError(
            f"the model takes {1000 * rate:.1f} ms for a prediction, too long for the "
            f"{MIN_ROWS * points:,} that it needs"
        )
    curves = dependence(
        pipeline, sampled.X, features, len(sampled.segments), max_rows=n_rows,
        seed=int(evidence.manifest["seed"]),
    )  # fmt: skip
    if not curves:
        raise ExplanationError("no column has two different values")
    means = np.concatenate([curve.means for curve in curves])
    chosen, which = _steepest(curves, sampled.segments)
    what = "mean probability" if hasattr(pipeline, "predict_proba") else "predicted share"
    label = f"{what} of {sampled.segments[1]}" if len(sampled.segments) == 2 else what
    rows = f"{n_rows:,} of the sample's {len(sampled.X):,} customers"
    said = f"In-sample: saved model, {rows}{which}"
    words = _steps_words(curves, sampled.segments, what)
    return [
        Text(words, "lead"),
        _figure(
            "dependence", figures.partial_dependence(curves, chosen, label, said),
            f"Mean prediction by the value of {_listed([curve.feature for curve in curves])}, from "
            f"{means.min():.2f} to {means.max():.2f}. {words}",
            f"{IN_SAMPLE}: {rows}{which}. Everybody is given the same value of one feature, all "
            f"else stays as it is (partial dependence, Friedman 2001). Marks below: quantiles of "
            f"the customers. Where features go together, such customers may not exist.",
        ),
    ]  # fmt: skip


def _steepest(
    curves: Sequence[figures.Dependence], segments: Sequence[str]
) -> tuple[dict[str, int], str]:
    """Return the segments that are drawn: those whose predictions move most."""
    if len(segments) == 2:  # the other one is what is left
        return {segments[1]: 1}, ""
    if len(segments) <= figures.MOST_CURVES:
        return {name: code for code, name in enumerate(segments)}, ""
    moves = np.max([np.ptp(curve.means, axis=0) for curve in curves], axis=0)
    codes = np.sort(np.argsort(-moves, kind="stable")[: figures.MOST_CURVES - 2])
    words = f"; the {len(codes)} of {len(segments)} segments that move most"
    return {segments[code]: int(code) for code in codes}, words


def _steps_words(curves: Sequence[figures.Dependence], segments: Sequence[str], what: str) -> str:
    """Say what moves the predictions most."""
    curve = max(curves, key=lambda c: float(np.ptp(c.means, axis=0).max()))
    code = 1 if len(segments) == 2 else int(np.ptp(curve.means, axis=0).argmax())
    low, high = int(curve.means[:, code].argmin()), int(curve.means[:, code].argmax())
    return (
        f"{curve.feature} moves the predictions most: the {what} of {segments[code]} goes from "
        f"{curve.means[low, code]:.0%} where it is {_value(curve.grid[low])} to "
        f"{curve.means[high, code]:.0%} where it is {_value(curve.grid[high])}, with all else "
        f"equal. That is what the model does; it need not be what makes customers so."
    )


def _value(value: Any) -> str:
    if isinstance(value, np.datetime64 | pd.Timestamp):
        return "missing" if pd.isna(value) else pd.Timestamp(value).date().isoformat()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    return shown(value)


def _contributions(evidence: _Evidence) -> list[Block]:
    sampled = evidence.sampled
    X = sampled.X
    if len(X) > CONTRIBUTION_ROWS:
        rng = np.random.default_rng(int(evidence.manifest["seed"]))
        X = X.iloc[np.sort(rng.choice(len(X), CONTRIBUTION_ROWS, replace=False))]
    found = contributions(evidence.model, X, len(sampled.segments))
    rows = f"{len(X):,} of the sample's {len(sampled.X):,} customers"
    names = list(found.features[:MOST_SHOWN])
    is_binary = len(sampled.segments) == 2
    codes = [1] if is_binary else list(range(len(sampled.segments)))
    shares = pd.DataFrame(
        np.abs(found.values[:, codes, : len(names)]).mean(axis=0).T,
        index=names, columns=[sampled.segments[code] for code in codes],
    )  # fmt: skip
    # Half of what a swarm of more than four panels would take is empty.
    largest = np.argsort(-np.abs(found.values).mean(axis=0).sum(axis=1), kind="stable")
    panels = codes if len(codes) <= 4 else sorted(int(code) for code in largest[:4])
    n_features = 8 if len(panels) <= 2 else 6
    which = f"; {len(panels)} of {len(codes)} segments" if len(panels) < len(codes) else ""
    against = f" ({sampled.segments[1]} against {sampled.segments[0]})" if is_binary else ""
    caption = (
        f"{IN_SAMPLE}: {rows}. {found.method}, in log-odds{against}; {found.n_prepared} prepared "
        f"features added up to {len(found.features)} of the table"
    )
    return [
        _figure(
            "contributions",
            figures.contributions(shares, "mean size, log-odds", f"In-sample: {rows}"),
            "Mean size of contributions: " + ", ".join(
                f"{name} {value:.2f}" for name, value in shares.mean(axis=1).items()
            ) + ".",
            f"{caption} (Lundberg et al. 2020). The mean of the absolute values.",
        ),
        _figure(
            "swarm",
            figures.swarm(
                {sampled.segments[code]: found.values[:, code, :n_features] for code in panels},
                value_ranks(X, found.features[:n_features]), found.features[:n_features],
                "log-odds", f"In-sample: {rows}{which}",
            ),
            f"One dot per customer and feature: how far {_listed(names[:n_features])} move it "
            f"towards a segment.",
            f"{caption}{which}. To the right: speaks for the segment.",
        ),
    ]  # fmt: skip


# ---- more customers ----------------------------------------------------------------------------


def _learning(evidence: _Evidence) -> list[Block]:
    split = evidence.manifest["split"]
    if split["group"]:
        raise ExplanationError(
            f"the run keeps customers of one {split['group']} together, which the sample does not "
            f"know"
        )
    sampled, pipeline = evidence.sampled, _unfitted(evidence)
    rate = evidence.seconds_per_row("fit_seconds") + evidence.seconds_per_row("predict_seconds")
    seconds = evidence.manifest.get("seconds") or 0.0
    limit = min(MOST_SECONDS, max(5.0, seconds / 3))
    plan = plan_learning(len(sampled.X), rate, limit)
    if plan is None:
        raise ExplanationError(
            f"a fit on {len(sampled.X):,} customers takes about {rate * len(sampled.X):.0f} "
            f"seconds, and the refits have {limit:.0f} (a third of the run's time, "
            f"{MOST_SECONDS:.0f} at most)"
        )
    n_folds, shares = plan
    metric = metric_by_name(evidence.manifest["metric"])
    table = learning_curve(
        pipeline, sampled, metric.name, n_folds=n_folds, shares=shares,
        seed=int(split["split_seed"]), limit=4 * limit,
    )  # fmt: skip
    if table["customers"].nunique() < 2:
        raise ExplanationError(f"{metric.label} is not defined for these customers")
    note = f"Held out: {n_folds} folds of {len(sampled.X):,} customers in the sample"
    words = _learning_words(table, metric.label, metric.greater_is_better)
    tuned = evidence.source.search is not None
    chosen = (
        " The parameters are those that the search chose on all customers, so the scores flatter a "
        "little." if tuned else ""
    )  # fmt: skip
    return [
        Text(words, "lead"),
        _figure(
            "learning-curve",
            figures.learning_curve(
                table, metric.name, metric.greater_is_better, note, _run_point(evidence)
            ),
            f"{metric.label} by customers learned from: " + ", ".join(
                f"{n:,} {value:.4f}"
                for n, value in table.groupby("customers")["value"].mean().items()
            ) + ".",
            f"{note}, refitted on {', '.join(f'{share:.0%}' for share in shares)} of the other "
            f"customers.{chosen}",
        ),
    ]  # fmt: skip


def _unfitted(evidence: _Evidence) -> Pipeline:
    """Return the pipeline to refit: that of the saved model, or what the config says."""
    if evidence.source.model is not None:
        return evidence.source.model
    if evidence.source.search is not None:
        raise ExplanationError(f"the searched model was not saved ({runs.PIPELINE})")
    return build_pipeline(recorded_config(evidence.source.run))


def _run_point(evidence: _Evidence) -> tuple[float, float] | None:
    entry = (evidence.source.summary or {}).get(evidence.manifest["metric"], {})
    if entry.get("mean") is None:
        return None
    return evidence.manifest["dataset"]["n_rows"] * (1 - evidence.test_share), entry["mean"]


def _learning_words(table: pd.DataFrame, label: str, greater_is_better: bool) -> str:
    by_size = table.groupby("customers")["value"]
    means, sizes = by_size.mean().to_numpy(), by_size.mean().index.to_numpy()
    gain = (means[-1] - means[-2]) * (1 if greater_is_better else -1)
    last = table[table["customers"] == sizes[-1]].set_index("fold")["value"]
    before = table[table["customers"] == sizes[-2]].set_index("fold")["value"]
    better = int(((last - before) * (1 if greater_is_better else -1) > 0).sum())
    step = (
        f"from {sizes[-2]:,} to {sizes[-1]:,} customers ({sizes[-1] / sizes[-2]:.1f} times as many)"
    )
    if gain > 0 and better == len(last):
        return (
            f"It still learns: {step}, {label} improves by {gain:.4f}, in every fold. More "
            f"customers of the same kind would probably help."
        )
    return (
        f"It hardly learns more: {step}, {label} {'improves' if gain > 0 else 'worsens'} by "
        f"{abs(gain):.4f}, and not in every fold. Other columns may help more than customers of "
        f"the same kind."
    )


# ---- single customers --------------------------------------------------------------------------


def _errors(evidence: _Evidence) -> list[Block]:
    judged = evidence.judged
    wrong = judged.truth != judged.predicted
    n_wrong = int(wrong.sum())
    words = (
        f"Of {len(wrong):,} customers {n_wrong:,} ({_percent(wrong.mean())}) are put into another "
        f"segment than their own."
    )
    confidence = judged.confidence
    if confidence is None or not n_wrong:
        return [Text(words, "lead")]
    sure = confidence > SURE
    words += (
        f" No answer has a probability above {SURE}."
        if not sure.any()
        else (
            f" {int((wrong & sure).sum()):,} of them with a probability above {SURE}: "
            f"{_percent((wrong & sure).sum() / sure.sum())} of the {int(sure.sum()):,} "
            f"answers that are so sure."
        )
    )
    order = np.lexsort((judged.rows, -confidence))
    worst = order[wrong[order]][:MOST_SHOWN]
    return [
        Text(words, "lead"),
        _worst_table(evidence, judged, confidence, worst),
        Text(
            "A model that is sure and wrong is worth a look: the known segment may be a mistake, "
            "or something that tells these customers apart is not in the table.", "quiet",
        ),
    ]  # fmt: skip


def _worst_table(evidence: _Evidence, judged: Judged, confidence: Floats, worst: Codes) -> Table:
    features, cells, note = _features_of(evidence, judged, worst)
    columns = ("customer", "known", "predicted", "probability", "of the known one", *features)
    probabilities = judged.probabilities
    rows: list[list[Any]] = []
    for i, own in zip(worst.tolist(), cells, strict=True):
        of_known = None if probabilities is None else probabilities[i, judged.truth[i]]
        rows.append(
            [
                str(judged.ids.iloc[i]), judged.segments[judged.truth[i]],
                judged.segments[judged.predicted[i]], f"{confidence[i]:.3f}",
                None if of_known is None else f"{of_known:.3f}", *own,
            ]
        )  # fmt: skip
    # By position: a feature may be called like one of these columns.
    return Table(
        columns, rows, numeric=(3, 4),
        caption=f"Most sure and wrong. {judged.words}{note}",
    )  # fmt: skip


def _features_of(
    evidence: _Evidence, judged: Judged, worst: Codes
) -> tuple[list[str], list[list[str | None]], str]:
    """Return the most important features of some customers, as far as they are in the sample."""
    try:
        sampled, names = evidence.sampled, evidence.ranked[:MOST_CURVES_OF_FEATURES]
    except SegexpError as error:
        return [], [[] for _ in worst], f"; no features: {error}"
    places = pd.Index(sampled.rows).get_indexer(pd.Index(judged.rows[worst]))
    cells: list[list[str | None]] = []
    for i, place in zip(worst.tolist(), places.tolist(), strict=True):
        if place < 0 or str(sampled.ids.iloc[place]) != str(judged.ids.iloc[i]):
            cells.append([None] * len(names))
        else:
            cells.append([_value(sampled.X[name].iloc[place]) for name in names])
    n_shown = len(names)
    note = f"; the {n_shown} most important features" if n_shown < len(sampled.X.columns) else ""
    if (places < 0).any():
        note += ", of customers in the sample only"
    return names, cells, note


def _twins(evidence: _Evidence) -> list[Block]:
    sampled = evidence.sampled
    if sampled.y is None:
        raise ExplanationError("the sample does not know the segments")
    found = count_twins(sampled.X, sampled.y)
    if not found.alike:
        words = f"None of the {found.n:,} customers in the sample equals another in every feature."
        return [Text(words)]
    words = (
        f"Of the {found.n:,} customers in the sample {found.alike:,} equal another one in every "
        f"feature, and {found.torn:,} of these have an equal in a different segment. No model can "
        f"tell them apart by these columns: at least {found.wrong:,} "
        f"({_percent(found.wrong / found.n)}) of the sample will be wrong, however good the model "
        f"is."
    )
    return [Text(words)]
