"""The part of a report on a classifier: how good it is, what it confuses, what it looks at.

Figures of quality are of customers held out; what is said of the saved model is in-sample, and
says so. Everything is made from the run directory, and what cannot be made says why.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

import segexp.runs as runs
from segexp.errors import SegexpError
from segexp.explanations import ExplanationError, count_twins
from segexp.figures import classification as figures
from segexp.metrics import METRICS, N_BINS, metric_by_name, score
from segexp.report.evidence import (
    MOST_IMPORTANT,
    MOST_SHOWN,
    Codes,
    Evidence,
    Floats,
    Judged,
    figure_of,
    four,
    interval_text,
    value_text,
)
from segexp.report.explained import (
    contributions_part,
    dependence_part,
    importance_part,
    learning_part,
)
from segexp.report.page import (
    Block,
    Cell,
    Details,
    Items,
    Section,
    Table,
    Text,
    percent,
    records,
)
from segexp.report.source import Source, one_line

logger = logging.getLogger(__name__)

SURE = 0.8  # a prediction with this probability is called sure
MOST_POINTS = 300  # of a curve


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
    evidence = Evidence(source)
    parts: tuple[tuple[str, str, Sequence[Callable[[Evidence], list[Block]]]], ...] = (
        ("quality", "How good the predictions are", [_quality]),
        ("confusion", "Which segments are confused", [_confusion]),
        ("probabilities", "What the probabilities are worth", [_probabilities]),
        ("importance", "What the predictions rest on", [importance_part]),
        ("effects", "How features act", [dependence_part, contributions_part]),
        ("learning-curve", "Would more customers help?", [learning_part]),
        ("errors", "Customers worth a look", [_errors, _twins]),
    )
    return [
        Section(mark, title, [block for make in made for block in _made(make, evidence)])
        for mark, title, made in parts
    ]


def _made(make: Callable[[Evidence], list[Block]], evidence: Evidence) -> list[Block]:
    """Return blocks, or the sentence that says why there are none."""
    what = _WHAT[make.__name__]
    try:
        with warnings.catch_warnings():
            # Libraries said it when the run was made; the page is no place for it.
            warnings.simplefilter("ignore")
            return make(evidence)
    except SegexpError as error:
        reason = one_line(error, evidence.source.path)
        return [Text(f"There is no {what}: {_sentence(reason)}", "quiet")]
    except Exception as error:  # a stranger's numbers can break anything that computes
        logger.debug("no %s", what, exc_info=True)
        reason = f"the run directory is damaged or of another version ({type(error).__name__})"
        return [Text(f"There is no {what}: {reason}.", "quiet")]


_WHAT = {
    "_quality": "table of metrics",
    "_confusion": "table of confused segments",
    "_probabilities": "judgement of probabilities",
    "importance_part": "importance of columns",
    "dependence_part": "curve of single features",
    "contributions_part": "contribution of features to single predictions",
    "learning_part": "learning curve",
    "_errors": "list of wrong predictions",
    "_twins": "count of customers who are alike",
}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


# ---- how good it is ----------------------------------------------------------------------------


def _quality(evidence: Evidence) -> list[Block]:
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


def _baseline_means(evidence: Evidence) -> dict[str, dict[str, float]]:
    table = evidence.source.baselines
    if table is None:
        return {}
    means = table.groupby(["baseline", "metric"], sort=False)["value"].mean()
    return {str(name): means[name].to_dict() for name in dict.fromkeys(table["baseline"])}


def _baseline_words(name: str) -> str:
    return _BASELINE_NAMES.get(name, name)


def _accuracy_words(
    evidence: Evidence,
    summary: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, float]],
) -> str:
    entry = summary.get("accuracy", {})
    if entry.get("mean") is None:
        return "How many customers are put into their own segment is not known."
    within = ""
    if entry["interval"]:
        low, high = entry["interval"]
        level = percent(evidence.manifest["confidence"], 0)
        within = f" ({level} interval {percent(low)} to {percent(high)})"
    words = (
        f"Of customers that the model never saw, it puts {percent(entry['mean'])} into their own "
        f"segment{within}."
    )
    always = baselines.get("dummy", {}).get("accuracy")
    if always is not None and math.isfinite(always):
        words += f" Always naming the largest segment would be right for {percent(always)}."
    return words


def _beaten(
    evidence: Evidence,
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
            f"{metric.label}, the metric that ranks: {four(mean)} against {four(other)}"
        )
        found.append((wins, _sentence(words + _won_folds(evidence, name, metric.name, sign))))
    return found


def _won_folds(evidence: Evidence, baseline: str, metric: str, sign: int) -> str:
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
    evidence: Evidence,
    summary: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, float]],
) -> Table:
    level = f"{percent(evidence.manifest['confidence'], 0)} interval"
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
                Cell(four(entry["mean"]) or "–", entry["mean"], strong=ranks),
                four(entry["std"]), interval_text(entry.get("interval")),
                *(four(baselines[name].get(metric.name)) for name in names),
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


def _confusion(evidence: Evidence) -> list[Block]:
    judged = evidence.judged
    table = segment_table(judged, float(evidence.manifest["confidence"]))
    counts = pd.DataFrame(judged.counts, index=judged.segments, columns=judged.segments)
    hardest = hardest_words(table)
    right = float(np.trace(judged.counts)) / len(judged.truth)
    return [
        Text(f"{hardest} {_commonest_words(judged)}", "lead"),
        figure_of(
            "confusion", figures.confusion(counts, judged.words),
            f"Confusion matrix of {len(counts)} segments; {percent(right)} of the customers are "
            f"on its diagonal. {hardest}",
            f"{judged.words}. Rows: known segments; columns: predicted ones; framed: right.",
        ),
        _shown_segments(table, evidence, judged),
        figure_of(
            "segments", figures.segment_scores(table, judged.words),
            f"Precision, recall and F1 of {len(table)} segments. {hardest}",
            "Precision: how many of those predicted in a segment belong there. Recall: how many "
            f"of its customers are found. {judged.short}.",
        ),
        Details("The confusion matrix in numbers", [_counts_table(counts)]),
    ]  # fmt: skip


def segment_table(judged: Judged, level: float) -> pd.DataFrame:
    """Return what became of the customers of each segment, all folds together.

    Parameters
    ----------
    judged : Judged
    level : float
        Of the interval of the recall, which is Wilson's.

    Returns
    -------
    DataFrame
        With columns ``segment, customers, precision, recall, low, high, f1, taken, taken_share``.
        Every figure is of the same customers, each judged once.
    """
    found = score(judged.truth, judged.predicted, None, judged.segments)
    rows = []
    for code, name in enumerate(judged.segments):
        own = judged.counts[code]
        n = int(own.sum())
        low, high = wilson(own[code] / n, n, level) if n else (math.nan, math.nan)
        others = np.where(np.arange(len(own)) == code, -1, own)
        taken = int(others.argmax()) if others.max() > 0 else -1
        rows.append(
            {
                "segment": name, "customers": n,
                **{kind: found[f"{kind}[{name}]"] for kind in ("precision", "recall", "f1")},
                "low": float(low), "high": float(high),
                "taken": judged.segments[taken] if taken >= 0 else None,
                "taken_share": own[taken] / n if taken >= 0 else math.nan,
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
        f"for {judged.segments[j]}, {percent(wrong[i, j] / wrong.sum(), 0)} of all mistakes."
    )
    if never:
        listed = ", ".join(never[:5]) + (f" and {len(never) - 5} more" if len(never) > 5 else "")
        words += f" Never predicted: {listed}."
    return words


def _shown_segments(table: pd.DataFrame, evidence: Evidence, judged: Judged) -> Table:
    level = percent(evidence.manifest["confidence"], 0)
    columns = ("segment", "customers judged", "precision", "recall", f"{level} interval of recall",
               "F1", "most often taken for")  # fmt: skip
    rows = [
        [
            row["segment"], row["customers"], four(row["precision"]),
            Cell(four(row["recall"]) or "–", _finite(row["recall"]), share=_finite(row["recall"])),
            interval_text((row["low"], row["high"])), four(row["f1"]),
            f"{row['taken']} ({row['taken_share']:.0%})" if isinstance(row["taken"], str) else None,
        ]
        for row in records(table)
    ]  # fmt: skip
    return Table(
        columns, rows, numeric=columns[1:6],
        caption="The same customers, segment by segment; all folds together",
        about={columns[4]: "Wilson's interval; other tables have means over folds"},
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _counts_table(counts: pd.DataFrame) -> Table:
    columns = ("known segment", *map(str, counts.columns))
    rows: list[list[Any]] = []
    for name, row in zip(counts.index, counts.to_numpy(), strict=True):
        total = max(int(row.sum()), 1)
        cells = [Cell(f"{n:,} ({n / total:.0%})" if n else "0", int(n)) for n in row.tolist()]
        rows.append([str(name), *cells])
    return Table(
        columns, rows, numeric=range(1, len(columns)),
        caption="Columns: predicted segment, with the share of the row",
    )  # fmt: skip


# ---- probabilities -----------------------------------------------------------------------------


def _probabilities(evidence: Evidence) -> list[Block]:
    judged = evidence.judged
    if judged.probabilities is None:
        raise ExplanationError("this model gives no probabilities")
    rankings = segment_rankings(judged)
    blocks: list[Block] = [Text(_sure_words(judged), "lead"), Text(f"{judged.words}.", "quiet")]
    if rankings:
        drawn, words = _chosen_rankings(rankings)
        aucs = ", ".join(f"{name} {found.area:.2f}" for name, found in drawn.items())
        blocks.append(
            figure_of(
                "ranking", figures.ranking_curves(drawn, f"{judged.words}{words}"),
                f"ROC and precision-recall curves, one segment against the rest; areas under the "
                f"ROC curves: {aucs}.",
                f"{judged.short}; all folds together{words}. One segment against the rest; the "
                "AUC is the chance that a member is ranked before another customer.",
            )
        )  # fmt: skip
    blocks += _calibration(judged)
    if rankings:
        blocks.append(Details("All segments in numbers", [_ranking_table(rankings)]))
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
            f" Where it is sure (probability {SURE} or more, {percent(sure.mean(), 0)} of the "
            f"customers), {percent(right[sure].mean())} are right."
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


def _ranking_table(rankings: Mapping[str, figures.Ranking]) -> Table:
    columns = ("segment", "share of the customers", "ROC AUC", "average precision")
    rows = [
        [name, Cell(percent(r.prevalence), r.prevalence), four(r.area),
         four(r.average_precision)]
        for name, r in rankings.items()
    ]  # fmt: skip
    return Table(
        columns, rows, numeric=columns[1:],
        caption="All folds together, so the mean AUC of the metrics may differ",
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
        figure_of(
            "calibration",
            figures.reliability({"the likeliest segment": top}, judged.short),
            f"Reliability diagram of the likeliest segment; mean gap {gap:.3f}. "
            + "; ".join(f"said {b['said']:.2f}, true {b['true']:.2f}" for b in records(top)),
            f"{judged.short}. Of the segment with the largest probability, in {N_BINS} bins; "
            f"{bars}. The mean gap, weighted by customers, is {gap:.3f} over all folds together.",
        ),
        Details(
            "Probabilities of each segment",
            [
                figure_of(
                    "calibration-segments", figures.reliability(panels, f"{judged.short}{which}"),
                    f"Reliability diagrams of {len(panels)} segments, one against the rest.",
                    f"{judged.short}. Each segment against the rest, in 10 bins{which}; {bars}.",
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
        share (95%).
    """
    bins = np.clip(np.ceil(said * n_bins).astype(int) - 1, 0, n_bins - 1)
    n = np.bincount(bins, minlength=n_bins).astype(np.float64)
    filled = np.flatnonzero(n)
    size = n[filled]
    share = np.bincount(bins, true, minlength=n_bins)[filled] / size
    low, high = wilson(share, size, 0.95)
    return pd.DataFrame(
        {
            "left": filled / n_bins, "right": (filled + 1) / n_bins,
            "said": np.bincount(bins, said, minlength=n_bins)[filled] / size,
            "true": share,
            "low": low, "high": high,
            "n": size.astype(int),
        }
    )  # fmt: skip


def wilson(share: Any, n: Any, level: float) -> tuple[Any, Any]:
    """Return Wilson's interval of a share of ``n``; of arrays, of each.

    References
    ----------
    Wilson (1927). Probable inference, the law of succession, and statistical inference. Journal of
    the American Statistical Association 22, 209-212.

    Examples
    --------
    >>> [round(float(end), 3) for end in wilson(0.8, 10, 0.95)]
    [0.49, 0.943]
    """
    z = float(ndtri((1 + level) / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def _bins_table(bins: pd.DataFrame) -> Table:
    columns = (
        "probability",
        "customers",
        "mean probability",
        "share that is right",
        "95% interval",
    )
    rows = [
        [Cell(f"{b['left']:.2f} – {b['right']:.2f}", b["left"]), b["n"], four(b["said"]),
         four(b["true"]), f"{b['low']:.3f} – {b['high']:.3f}"]
        for b in records(bins)
    ]  # fmt: skip
    return Table(columns, rows, numeric=columns, caption="The likeliest segment, bin by bin")


# ---- single customers --------------------------------------------------------------------------


def _errors(evidence: Evidence) -> list[Block]:
    judged = evidence.judged
    wrong = judged.truth != judged.predicted
    n_wrong = int(wrong.sum())
    words = (
        f"Of {len(wrong):,} customers {n_wrong:,} ({percent(wrong.mean())}) are put into another "
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
            f"{percent((wrong & sure).sum() / sure.sum())} of the {int(sure.sum()):,} "
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


def _worst_table(evidence: Evidence, judged: Judged, confidence: Floats, worst: Codes) -> Table:
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
    evidence: Evidence, judged: Judged, worst: Codes
) -> tuple[list[str], list[list[str | None]], str]:
    """Return the most important features of some customers, as far as they are in the sample."""
    try:
        sampled, names = evidence.sampled, evidence.ranked[:MOST_IMPORTANT]
    except SegexpError as error:
        return [], [[] for _ in worst], f"; no features: {error}"
    places = pd.Index(sampled.rows).get_indexer(pd.Index(judged.rows[worst]))
    cells: list[list[str | None]] = []
    for i, place in zip(worst.tolist(), places.tolist(), strict=True):
        if place < 0 or str(sampled.ids.iloc[place]) != str(judged.ids.iloc[i]):
            cells.append([None] * len(names))
        else:
            cells.append([value_text(sampled.X[name].iloc[place]) for name in names])
    n_shown = len(names)
    note = f"; the {n_shown} most important features" if n_shown < len(sampled.X.columns) else ""
    if (places < 0).any():
        note += ", of customers in the sample only"
    return names, cells, note


def _twins(evidence: Evidence) -> list[Block]:
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
        f"({percent(found.wrong / found.n)}) of the sample will be wrong, however good the model "
        f"is."
    )
    return [Text(words)]
