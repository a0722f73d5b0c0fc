"""The first page of a report: what was done, what came out, and how much of it to believe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import segexp.runs as runs
from segexp.checks.readings import has_fixed_rules, listed
from segexp.checks.segments import (
    disputed_words,
    segments_not_reproducible,
    unstable_segments,
    unusable_segmentation,
)
from segexp.clustering.profile import NOISE
from segexp.data_profile import cut_name
from segexp.errors import ConfigError
from segexp.figures.look import shortened
from segexp.metrics import Metric, metric_by_name
from segexp.report.page import Block, Fact, Facts, Section, Text, shown
from segexp.report.search import selection_score
from segexp.report.source import Source

SYNTHETIC = "synthetic customers"
MOST_LEFT_OUT = 8  # columns that are named
_LONGEST_NAME = 44  # letters of a segment or a column in a sentence
_KINDS = ("They are", "They come", "There", "Segments made nevertheless")
_BASELINES = {
    "dummy": "the largest segment for all",
    "logistic_regression": "a simple linear model",
    "past_rate": "going on as before",
}
_PERCENT = ("accuracy", "balanced_accuracy", "top_decile_share", "abs_bias")
_GOES_ON = {
    runs.RUNNING: "is still running",
    runs.FAILED: "failed",
    runs.INTERRUPTED: "was stopped",
    runs.KILLED: "was stopped: its process is gone",
}


def summary_section(source: Source) -> Section:
    """Return what was done, the result in three sentences, and the honest score."""
    blocks: list[Block] = [Text(f"{done_words(source)} {left_out(source)}".strip())]
    if source.manifest["dataset"]["synthetic"]:
        blocks.append(
            Text(
                "The customers are made up: these figures say nothing about any market.", "warning"
            )
        )
    if not source.is_finished:
        blocks.append(Text(_not_finished(source), "warning"))
    if source.summary is None:
        why = source.why(runs.SUMMARY)
        blocks.append(Text(f"There is no result to show: {why}.", "note"))
        return Section("summary", "Summary", blocks)
    sentences = [sentence for sentence in _result(source) if sentence]
    blocks += [Text(" ".join(sentences), "lead"), Facts(_facts(source))]
    return Section("summary", "Summary", blocks)


def done_words(source: Source) -> str:
    """Say what was done in two sentences."""
    manifest = source.manifest
    data, is_baskets = manifest["dataset"], source.task == "baskets"
    noun, judged = ("baskets", "the rules") if is_baskets else ("customers", "the model")
    known = f" and {len(manifest['segments'])} known segments" if manifest["segments"] else ""
    columns = f"{data['n_features']} column{'' if data['n_features'] == 1 else 's'}"
    what = noun if is_baskets else f"{noun} with {columns}{known}"
    model = "several models" if manifest["model"] == "several" else manifest["model"]
    if manifest["preprocessing"] != "none":
        model += f" after {manifest['preprocessing']} preprocessing"
    if manifest["search"] != "none":
        model += f", with the search {manifest['search']} on training rows"
    return (
        f"{dataset_name(source)}: {data['n_rows']:,} {what}; {model}. Judged by "
        f"{protocol_words(manifest)}: a figure is of {noun} of which {judged} had learned nothing, "
        f"unless it is called in-sample."
    )


def left_out(source: Source) -> str:
    """Return which columns of the table are no features, and why; empty if all are.

    Parameters
    ----------
    source : Source
    """
    dataset = source.manifest["dataset"]
    columns = list(dataset["roles"].get("ignore") or ())
    if not columns:
        return ""
    messages = [str(finding["message"]) for finding in dataset["findings"]]
    said = []
    for column in columns[:MOST_LEFT_OUT]:
        begin = re.compile(rf"column {re.escape(repr(column))} (without a role )?is ignored: ")
        why = [begin.sub("", message) for message in messages if begin.match(message)]
        said.append(f"{cut_name(column)}{f' ({why[0]})' if why else ''}")
    more = len(columns) - MOST_LEFT_OUT
    return f"Left out: {', '.join(said)}{f', and {more} more' if more > 0 else ''}."


_ANY_DATA = ("csv", "parquet", "sql", "transactions")


def dataset_name(source: Source) -> str:
    """Return what the data are called: by their file where the dataset is any file at all."""
    name = str(source.manifest["dataset"]["name"])
    config = (source.config or {}).get("dataset")
    if name not in _ANY_DATA or not isinstance(config, Mapping):
        return name
    given = config.get("path") or config.get("table")
    # Of a path of any system the last part: no folder of a machine is told.
    return re.split(r"[\\/]", given)[-1] or name if isinstance(given, str) else name


def protocol_words(manifest: Mapping[str, Any]) -> str:
    """Say an evaluation protocol in words."""
    split = manifest["split"]
    group = f", grouped by {split['group']}" if split.get("group") else ""
    if split["protocol"] == "holdout":
        return f"a holdout of {split['test_size'] or 0:.0%}{group}"
    repeats = f", {split['n_repeats']} times" if split["n_repeats"] > 1 else ""
    kind = ", stratified by segment" if manifest["segments"] else ""
    return f"{split['n_splits']}-fold cross-validation{repeats}{kind}{group}"


def _not_finished(source: Source) -> str:
    said = f"This run {_GOES_ON[source.run.status]}"
    cause = source.manifest.get("cause")
    said += f": {cause}." if cause else "."
    return f"{said} What it left is shown; segexp resume goes on with it."


# ---- the result in three sentences -------------------------------------------------------------


def _result(source: Source) -> Sequence[str]:
    match source.task:
        case "classification":
            return [_score_words(source), _beside_baselines(source), _by_segment(source)]
        case "clustering" if not n_found(source.segments):
            return [_found_segments(source)]
        case "clustering" if has_fixed_rules(source):
            return [_found_segments(source), _doubts(source), _worth(source), _again(source)]
        case "clustering":
            found = [_found_segments(source), _doubts(source), _worth(source)]
            return [*found, _quality(source), _verdict(source)]
        case "value":
            return [_expected(source), _beside_baselines(source), _at_risk(source)]
        case _:
            return [_rules(source), _rules_held_out(source)]


def _mean(source: Source, metric: str) -> float | None:
    return ((source.summary or {}).get(metric) or {}).get("mean")


def _score_words(source: Source) -> str:
    entry = (source.summary or {}).get(source.manifest["metric"])
    metric = known_metric(source.manifest["metric"])
    if metric is None or not entry or entry["mean"] is None:
        return ""
    between = ""
    if entry["interval"]:
        low, high = (figure(metric.name, end) for end in entry["interval"])
        between = f" ({source.manifest['confidence']:.0%} interval {low} to {high})"
    value = figure(metric.name, entry["mean"])
    if metric.name == "accuracy" and source.task == "clustering":
        return (
            f"Each taken for the known segment that most of its training customers have, they are "
            f"right for {value} of the customers held out{between}."
        )
    if metric.name == "accuracy":
        return f"The model puts {value} of the customers into their own segment{between}."
    more = "more" if metric.greater_is_better else "less"
    return f"The {metric.label} is {value}{between}; {more} is better ({metric.description})."


def _beside_baselines(source: Source) -> str:
    """Say what the baselines reach on the same folds, and on how many the model is ahead."""
    metric = known_metric(source.manifest["metric"])
    scores, others = source.scores, source.baselines
    if metric is None or scores is None or others is None:
        return ""
    by = ["repeat", "fold"]
    own = scores[scores["metric"] == metric.name].set_index(by)["value"]
    others = others[others["metric"] == metric.name]
    parts, beaten = [], True
    for name, table in others.groupby("baseline", sort=False):
        ahead = own - table.set_index(by)["value"]
        n_ahead = int(((ahead if metric.greater_is_better else -ahead) > 0).sum())
        parts.append(
            f"{baseline_words(str(name))} reaches {figure(metric.name, table['value'].mean())} "
            f"(the model is ahead on {n_ahead} of {len(ahead)} folds)"
        )
        mean = float(ahead.mean())
        beaten &= (mean if metric.greater_is_better else -mean) > 0
    if not parts:
        return ""
    end = "." if beaten else ": the model is not better than every baseline."
    own_words = "" if metric.name == "accuracy" else f"By {metric.label}: the model reaches "
    if own_words:
        own_words += f"{figure(metric.name, float(own.mean()))}. "
    return f"{own_words}On the same folds {' and '.join(parts)}{end}"


def baseline_words(name: str) -> str:
    """Return what a baseline does, in words."""
    known = {
        "dummy": "naming the largest segment for everybody",
        "logistic_regression": "a simple linear model (logistic regression)",
        "past_rate": "going on at the rate so far (past_rate)",
    }
    return known.get(name, name)


def _by_segment(source: Source) -> str:
    recalls = {name: _mean(source, f"recall[{name}]") for name in source.manifest["segments"]}
    known = {name: value for name, value in recalls.items() if value is not None}
    if len(known) < 2:
        return ""
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    names = [shortened(name, _LONGEST_NAME) for name in (best, worst)]
    said = f"It finds {known[best]:.0%} of segment {names[0]} but {known[worst]:.0%} of {names[1]}"
    columns = _columns_that_matter(source)
    return f"{said}, and relies most on {columns}." if columns else f"{said}."


def _columns_that_matter(source: Source, most: int = 3) -> str:
    table = source.importance
    if table is None:
        return ""
    own = table[(table["kind"] == "permutation") & (table["mean"] > 0)]
    names = own.sort_values("mean", ascending=False, kind="stable")["feature"].tolist()[:most]
    return listed([shortened(str(name), _LONGEST_NAME) for name in names])


def _found_segments(source: Source) -> str:
    table = source.segments
    if table is None or table.empty:
        return ""
    n, k, model = int(table["n"].sum()), n_found(table), source.manifest["model"]
    own = table[table["segment"] != NOISE]
    beside = n - int(own["n"].sum())
    if k == 0:
        return f"{model} finds no segment: all {n:,} customers are noise."
    none = f" {beside:,} customers are noise, in no segment." if beside else ""
    if k == 1:
        return f"{model} finds one segment, of {int(own['n'].sum()):,} customers.{none}"
    how = "puts {} by fixed rules" if has_fixed_rules(source) else "divides {}"
    return (
        f"{model} {how.format(f'{n:,} customers')} into {k} segments; the smallest has "
        f"{own['share'].min():.1%} of them, the largest {own['share'].max():.1%}.{none}"
    )


_DOUBTS = (
    (unusable_segmentation, "they do not keep to evaluation.constraints"),
    (unstable_segments, "not all of them come back from resampled customers"),
    (segments_not_reproducible, "a study of other customers would find other segments"),
)


def _doubts(source: Source) -> str:
    """Say what checks find that leaves nothing to build on."""
    why = listed([words for check, words in _DOUBTS if check(source)])
    return f"The checks advise against building on these segments: {why}." if why else ""


def n_found(segments: pd.DataFrame | None) -> int | None:
    """Return how many segments were found; noise is none. None where it is not known."""
    return None if segments is None else int((segments["segment"] != NOISE).sum())


def _worth(source: Source) -> str:
    """Say who brings the revenue, where the purchases are known."""
    table = source.rfm
    if table is None or not (table["revenue_share"] > 0).any():
        return ""
    ahead = table["revenue_share"] > table["share"]
    best = table[ahead].nlargest(2, "revenue_share")
    parts = [
        f"{shortened(str(row['segment']), _LONGEST_NAME)} are {row['share']:.1%} of the customers "
        f"and bring {row['revenue_share']:.0%} of the revenue"
        for row in best.to_dict("records")
    ]
    return f"{', '.join(parts)}." if parts else ""


def _again(source: Source) -> str:
    """Say how much of named segments hangs on which customers happen to be in the table."""
    ari = _stability(source)
    if ari is None:
        return ""
    return (
        f"With scores learned from resampled customers the same rules agree with these segments "
        f"to {ari:.2f} (1: always the same, 0: by chance)."
    )


def _stability(source: Source) -> float | None:
    ari = ((source.segmentation or {}).get("stability") or {}).get("ari")
    return ari if isinstance(ari, int | float) else None


def _quality(source: Source) -> str:
    said = _score_words(source)
    if source.manifest["metric"] == "silhouette" and said:
        value = figure("silhouette", _mean(source, "silhouette"))
        whose = _other_numbers(source)
        said = (
            f"{f'The silhouette {whose}' if whose else 'Their silhouette'} is {value} on customers "
            f"held out (1: far apart, 0: touching)."
        )
    if (ari := _stability(source)) is not None:
        said += (
            f" Segments made again from resampled customers agree with these to {ari:.2f} "
            f"(1: always the same, 0: by chance)."
        )
    return said.strip()


def _other_numbers(source: Source, most: int = 10) -> str:
    """Say of which segmentations the held-out figures are, where a fold had another number."""
    if source.scores is None:
        return ""
    values = source.scores[source.scores["metric"] == "n_segments"]["value"].dropna()
    found = [f"{value:.0f}" for value in values]
    if not found or {*found} == {str(n_found(source.segments))}:
        return ""
    more = ", ..." if len(found) > most else ""
    return f"of segmentations with {', '.join(found[:most])}{more} segments, one of each fold,"


def _verdict(source: Source) -> str:
    final = ((source.segmentation or {}).get("k") or {}).get(runs.FINAL)
    if not isinstance(final, Mapping) or not isinstance(final.get("words"), str):
        return ""
    first, *others = final["words"].split(". ")
    said = f"The verdict on their number is {first.rstrip('.')}."
    if disputed := disputed_words(final):
        return f"{said} These come back from resampled customers, but {disputed}."
    # One of the sentences says whether they are there at all.
    kept = [part.rstrip(".") for part in others if part.startswith(_KINDS)]
    return " ".join([said, *(f"{part}." for part in kept)])


def _expected(source: Source) -> str:
    holdout = (source.value or {}).get("holdout")
    if not isinstance(holdout, Mapping) or not holdout.get("actual_purchases"):
        return ""
    expected, actual = holdout["predicted_purchases"], holdout["actual_purchases"]
    return (
        f"Of {holdout['n_customers']:,.0f} customers {expected:,.0f} purchases were expected in "
        f"the {holdout['days']:,.0f} days after their histories end, and {actual:,.0f} happened "
        f"({expected / actual - 1:+.0%})."
    )


def _at_risk(source: Source) -> str:
    matrix, days = source.value_matrix, (source.value or {}).get("horizon_days")
    if matrix is None or not isinstance(days, int | float):
        return ""
    cells = matrix[(matrix["value"] == "high value") & (matrix["risk"] != "active")]
    return (
        f"Of the most valuable fifth {cells['n'].sum():,.0f} are at risk or likely gone; were all "
        f"of them still customers, the next {days:,.0f} days would be worth "
        f"{cells['clv_at_stake'].sum():,.0f} more (in-sample)."
    )


def _rules(source: Source) -> str:
    found = source.baskets
    if found is None:
        return ""
    said = f"{found['n_rules']:,} rules were found in {found['n_baskets']:,} baskets"
    rules = source.rules
    if rules is None or rules.empty:
        return f"{said}."
    first = rules.iloc[0]
    return (
        f"{said}; the one with the highest lift: baskets with {first['antecedent']} hold "
        f"{first['consequent']}, {first['lift']:.1f} times as often as baskets do by chance."
    )


def _rules_held_out(source: Source) -> str:
    honest, drop = _mean(source, "held_out_confidence"), _mean(source, "confidence_drop")
    if honest is None or drop is None:
        return ""
    return (
        f"A rule holds in {honest + drop:.0%} of the baskets by which it was chosen (its mean "
        f"confidence), and in {honest:.0%} of baskets held out."
    )


# ---- the honest score --------------------------------------------------------------------------


def _facts(source: Source) -> list[Fact]:
    metric = known_metric(source.manifest["metric"])
    facts = []
    entry = (source.summary or {}).get(source.manifest["metric"])
    is_ruled = source.task == "clustering" and has_fixed_rules(source)
    if source.task == "clustering" and (table := source.rfm) is not None and _worth(source):
        best = table.iloc[int(table["revenue_share"].fillna(0).to_numpy().argmax())]
        name = shortened(str(best["segment"]), _LONGEST_NAME)
        note = f"of the revenue, from {best['share']:.1%} of the customers"
        facts.append(Fact(name, f"{best['revenue_share']:.0%}", note))
    if n := n_found(source.segments) if source.task == "clustering" else None:
        facts.append(Fact("segments", f"{n}", "by fixed rules" if is_ruled else "found"))
    # Of rules that were laid down nobody asks how far apart they put the customers.
    if metric is not None and entry and entry["mean"] is not None and not is_ruled:
        note = "held out"
        if entry["interval"]:
            low, high = (figure(metric.name, end) for end in entry["interval"])
            note += f", {source.manifest['confidence']:.0%} interval {low} to {high}"
        facts.append(Fact(metric.label, figure(metric.name, entry["mean"]), note))
        facts += _baseline_facts(source, metric)
        if (chosen_by := selection_score(source)) is not None:
            facts.append(
                Fact("selection score", figure(metric.name, chosen_by),
                     "what the search chose by; no estimate")
            )  # fmt: skip
    if (ari := _stability(source)) is not None:
        note = "1: resampled customers give the same segments again, 0: by chance"
        facts.append(Fact("stability", f"{ari:.2f}", note))
    data = source.manifest["dataset"]
    noun = "baskets" if source.task == "baskets" else "customers"
    facts.append(Fact(noun, f"{data['n_rows']:,}", f"{data['n_rows_read']:,} rows read"))
    return facts


def _baseline_facts(source: Source, metric: Metric) -> list[Fact]:
    table = source.baselines
    if table is None:
        return []
    own = table[table["metric"] == metric.name]
    means = own.groupby("baseline", sort=False)["value"].mean()
    return [
        Fact(
            _BASELINES.get(str(name), str(name)),
            figure(metric.name, float(mean)),
            "to compare with, on the same folds",
        )
        for name, mean in means.items()
    ]


def known_metric(name: str) -> Metric | None:
    """Return a metric by its name; None where it is not known."""
    try:
        return metric_by_name(name)
    except ConfigError:
        return None


def figure(metric: str, value: float | None) -> str:
    """Return the value of a metric as a manager reads it."""
    if value is not None and metric in _PERCENT:
        return f"{value:.1%}"
    return f"{value:.3f}" if value is not None and abs(value) < 100 else shown(value)
