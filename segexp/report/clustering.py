"""What a report says of the segments that a clusterer found."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn
from numpy.typing import NDArray
from scipy import sparse

import segexp.figures.clustering as curves
import segexp.figures.segments as figures
import segexp.runs as runs
from segexp.checks.process import files_missing
from segexp.checks.readings import has_fixed_rules, mapping
from segexp.clustering.profile import NOISE
from segexp.errors import DataError
from segexp.figures.look import render, shortened
from segexp.figures.responses import response_rates_figure
from segexp.figures.rfm import segment_bars
from segexp.metrics import CLUSTER_METRICS, METRICS
from segexp.report.page import (
    Block,
    Cell,
    Details,
    Fact,
    Facts,
    Figure,
    Items,
    Section,
    Table,
    Text,
    shown,
)
from segexp.report.source import Source
from segexp.report.summary import n_found
from segexp.segment_names import NO_MARKER, brief_markers

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]

LONGEST_NAME = 44  # letters of a segment in a table
MOST_CUSTOMERS = 15  # of the tables that name customers
MOST_SILHOUETTES = 20_000  # customers of the silhouette plot when it is drawn again
_IN_SAMPLE = "In-sample: on the customers that the segments were made from."
_RULES = {
    "native": "the clusterer's own rule",
    "core_points": "the nearest core point within its reach",
    "nearest_centroid": "the nearest centre",
    "nearest_neighbors": "the nearest fitted customer",
}
_CRITERIA = (  # columns of k.csv, and what they are called
    ("inertia", "sum of squares"),
    ("silhouette", "silhouette"),
    ("calinski_harabasz", "Calinski-Harabasz"),
    ("davies_bouldin", "Davies-Bouldin"),
    ("gap_uniform", "gap, box of the columns"),
    ("gap_pca", "gap, box of the axes"),
    ("bic", "BIC"),
    ("icl", "ICL"),
    ("prediction_strength", "prediction strength"),
    ("bootstrap_ari", "bootstrap ARI"),
)


def clustering_sections(source: Source) -> list[Section]:
    """Return the sections of a run of a clusterer.

    Parts of the run that are missing or damaged are a sentence each.
    """
    found = source.segmentation
    if found is None or source.segments is None:
        name = runs.SEGMENTATION if found is None else runs.SEGMENTS
        why = f"{source.why(name)}. They come with evaluation.final_model=true"
        if name in files_missing(source):
            why = f"{name} is missing from the run"
        blocks: list[Block] = [
            Text(f"The segments of all customers cannot be shown: {why}.", "note")
        ]
        blocks += _metrics(source, {})
        return [Section("clusters", "Segments that were found", blocks)]
    parts: tuple[tuple[str, str, Callable[[], list[Block]]], ...] = (
        ("clusters-k", "How many segments", lambda: _verdict(source, found)),
        ("clusters-map", "Where the customers lie", lambda: _maps(source)),
        ("clusters-profile", "What the segments are like", lambda: _profiles(source)),
        ("clusters-quality", "How clear the segments are", lambda: _quality(source, found)),
        ("clusters-stability", "How stable the segments are", lambda: _stability(source, found)),
        ("clusters-new", "Segments of new customers", lambda: _assignment(source, found)),
        ("clusters-distance", "What decides who is alike", lambda: _distances(source)),
        ("clusters-responses", "How the segments responded", lambda: _responses(source, found)),
        ("clusters-purchases", "What the segments bought", lambda: _purchases(source)),
    )
    overview = _guarded("the overview", lambda: _overview(source, found))
    is_ruled = has_fixed_rules(source)
    title = "Segments by fixed rules" if is_ruled else "Segments that were found"
    if n_found(source.segments) == 0:
        overview += _guarded("the metrics", lambda: _metrics(source, {}))
        return [Section("clusters", title, overview)]
    if is_ruled:  # what they bring is the finding, and how many there are was laid down
        last = len(parts) - 1
        parts = (parts[last], *(part for part in parts[:last] if part[0] != "clusters-k"))
    children = [
        Section(name, title, blocks)
        for name, title, make in parts
        if (blocks := _guarded(title, make))
    ]
    return [Section("clusters", title, overview, children)]


def _guarded(what: str, make: Callable[[], list[Block]]) -> list[Block]:
    """Return blocks, or a sentence where the files of the run do not allow them."""
    try:
        return make()
    except Exception as error:  # a run from elsewhere may hold anything
        logger.debug("%s", what, exc_info=True)
        why = " ".join(str(error).split())[:200]
        return [Text(f"This cannot be shown ({type(error).__name__}: {why}).", "note")]


# ---- overview ----------------------------------------------------------------------------------


def _overview(source: Source, found: Mapping[str, Any]) -> list[Block]:
    table = _segments(source)
    own = table[table["segment"] != NOISE]
    held_out = mapping((source.summary or {}).get("silhouette")).get("mean")
    stable = mapping(found.get("stability"))
    n_words = f"of {int(table['n'].sum()):,} customers"
    facts = [
        Fact("segments", f"{len(own)}", n_words),
        Fact("largest", f"{own['share'].max():.1%}", _name_of(own, own["share"].idxmax())),
        Fact("smallest", f"{own['share'].min():.1%}", _name_of(own, own["share"].idxmin())),
    ] if len(own) else [Fact("segments", "0", n_words)]  # fmt: skip
    if held_out is not None and not has_fixed_rules(source):
        inside = mapping(found.get("in_sample")).get("silhouette")
        facts.append(Fact("silhouette", shown(held_out), f"held out; in-sample {shown(inside)}"))
    if stable and stable.get("ari") is not None:
        note = f"adjusted Rand index, {shown(stable.get('n_resamples'))} bootstrap samples"
        facts.append(Fact("stability", shown(stable.get("ari")), note))
    blocks: list[Block] = [Facts(facts)]
    folds = mapping((source.summary or {}).get("n_segments")).get("mean")
    if isinstance(folds, int | float) and folds != len(own):
        blocks.append(
            Text(
                f"The saved model has {len(own)} segments, the folds had {folds:.1f} on average: "
                f"the held-out figures are theirs.",
                "warning",
            )
        )
    if missed := source.manifest.get("constraints_missed"):
        words = "; ".join(map(str, missed))
        if not len(own):
            words = f"no segment was found, all {int(table['n'].sum()):,} customers are noise"
        blocks.append(
            Text(f"Not a usable segmentation (evaluation.constraints): {words}.", "warning")
        )
    blocks.append(
        _figure(
            source,
            "segment_sizes",
            lambda: figures.segment_sizes(table),
            "Bars of the share of customers in each segment: " + _in_words(table),
            _IN_SAMPLE,
        )
    )
    if notes := [str(note) for note in found.get("notes") or []]:
        blocks.append(Details(f"Notes of the clusterer ({len(notes)})", [Items(notes)]))
    return blocks


def _name_of(table: pd.DataFrame, index: Any) -> str:
    name = str(table.loc[index, "segment"])
    # A number alone says little; a name says it all.
    return f"segment {name}" if name.isdigit() else shortened(name, LONGEST_NAME)


def _in_words(table: pd.DataFrame) -> str:
    """Say the sizes of the segments, of the first few."""
    names = [
        f"{shortened(str(n), LONGEST_NAME)} {s:.0%}"
        for n, s in zip(table["segment"], table["share"], strict=True)
    ]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


# ---- how many ----------------------------------------------------------------------------------


def _verdict(source: Source, found: Mapping[str, Any]) -> list[Block]:
    verdicts = mapping(found.get("k"))
    verdict = mapping(verdicts.get(runs.FINAL))
    if not verdict:
        return [Text(f"The number of segments was not weighed: {_not_weighed(source)}.", "note")]
    n, n_all = verdict.get("n_rows"), source.manifest["dataset"]["n_rows"]
    rows_words = "on all customers" if n == n_all else f"on {shown(n)} customers drawn at random"
    blocks: list[Block] = [
        Text(str(verdict.get("words", "")), "lead"),
        _choices(verdict, f"What each criterion would choose. In-sample, {rows_words}."),
    ]
    others = [mapping(other) for name, other in verdicts.items() if name != runs.FINAL]
    if others:
        chosen = ", ".join(shown(other.get("best")) for other in others)
        blocks.append(Text(f"Chosen on the training rows of each fold: {chosen}."))
    table = _k_numbers(source)
    if table is None:
        return [*blocks, _missing(source, runs.K_TABLE, "The criteria by number of segments")]
    k = _whole(verdict.get("verdict"))
    picks = {
        str(choice.get("criterion")): _whole(choice.get("k"))
        for choice in map(mapping, verdict.get("choices") or [])
    }
    caption = f"In-sample, {rows_words}."
    blocks.append(
        _figure(
            source,
            "elbow",
            lambda: curves.elbow(table, picks.get("knee"), k),
            f"Within-cluster sum of squares by number of segments; the knee is at "
            f"{shown(picks.get('knee'))}, the verdict {shown(k)}.",
            caption,
        )
    )
    blocks.append(
        _figure(
            source,
            "silhouette_by_k",
            lambda: curves.silhouette_curve(table, k),
            f"Mean silhouette by number of segments beside that of random data; largest at "
            f"{shown(picks.get('silhouette'))}.",
            caption,
        )
    )
    gaps = [name for name in ("gap_uniform", "gap_pca") if name in table]
    if gaps and table[gaps].notna().any(axis=None):
        blocks.append(
            _figure(
                source,
                "gap",
                lambda: curves.gap_curve(table, picks, k),
                "Gap statistic by number of segments; its rule chooses "
                + " and ".join(shown(picks.get(name)) for name in gaps)
                + ".",
                caption,
            )
        )
    if source.figure("dendrogram"):
        blocks.append(
            _figure(
                source,
                "dendrogram",
                None,
                "Tree of the last merges of customers into segments, with the cut.",
                _IN_SAMPLE,
            )
        )
    blocks.append(Details("Criteria by number of segments", [_k_table(table, caption)]))
    return blocks


def _not_weighed(source: Source) -> str:
    """Say why there is no verdict on the number of segments."""
    config = source.config or {}
    estimator = mapping(mapping(config.get("model")).get("estimator"))
    if estimator and all(estimator.get(name) is None for name in ("n_clusters", "n_components")):
        return "this clusterer finds it by itself"
    evaluation = mapping(config.get("evaluation"))
    if "k_max" in evaluation and evaluation["k_max"] is None:
        return "evaluation.k_max is null"
    return "the run left no verdict"


def _choices(verdict: Mapping[str, Any], caption: str) -> Table:
    rows = [
        [
            str(choice.get("criterion", "")).replace("_", " "),
            _whole(choice.get("k")),
            str(choice.get("reason", "")),
            str(choice.get("rule", "")),
            choice.get("votes"),
        ]
        for choice in map(mapping, verdict.get("choices") or [])
    ]
    return Table(
        ("criterion", "k", "why", "rule", "votes"), rows, numeric=("k", "votes"), caption=caption
    )


def _k_table(table: pd.DataFrame, caption: str) -> Table:
    names = [(name, words) for name, words in _CRITERIA if name in table]
    names = [(name, words) for name, words in names if table[name].notna().any()]
    rows = [
        [int(row["k"]), *(_float(row[name]) for name, _ in names)]
        for row in table.to_dict("records")
    ]
    columns = ("k", *(words for _, words in names))
    return Table(columns, rows, numeric=range(len(columns)), caption=caption)


# ---- where they lie ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Customers:
    """The customers of the sample, with what the clusterer sees of them."""

    X: pd.DataFrame  # shape (n, d): the features of the table
    Z: Floats  # shape (n, e): prepared, as numbers
    labels: Codes  # shape (n,), -1 is noise
    names: tuple[str, ...]
    n_all: int
    space: str  # what Z is, in words


def _sampled(source: Source) -> _Customers | str:
    """Return the sampled customers, or why there are none."""
    sample, customers = source.sample, source.customers
    if sample is None:
        return f"no features of customers are at hand ({source.why(runs.SAMPLE)})"
    if customers is None:
        return f"the segments of the customers are not at hand ({source.why(runs.CUSTOMERS)})"
    names = tuple(name for name in _segments(source)["segment"] if name != NOISE)
    known = customers.set_index("row")["segment"].reindex(sample["row"])
    is_known = known.notna().to_numpy()
    if is_known.sum() < 3:
        return "fewer than three sampled customers have a segment"
    codes = pd.Index(names).get_indexer(known[is_known].astype(str))
    X = _features(source, sample).loc[is_known].reset_index(drop=True)
    Z, space = _prepared(source, X)
    return _Customers(X, Z, codes.astype(np.int_), names, len(customers), space)


def _features(source: Source, sample: pd.DataFrame) -> pd.DataFrame:
    """Return the features of a sample under their names, and of the kind that the model knows."""
    X = sample.drop(columns=["row", "id", "target"], errors="ignore")
    X = X.rename(columns={f"{name} (feature)": name for name in ("row", "id", "target")})
    described = mapping((source.model_schema or {}).get("columns"))
    for name in X.columns:
        column = mapping(described.get(name))
        if column.get("role") == "ordinal" and isinstance(column.get("levels"), list):
            X[name] = pd.Categorical(X[name], categories=column["levels"], ordered=True)
    return X


def _prepared(source: Source, X: pd.DataFrame) -> tuple[Floats, str]:
    """Return what the clusterer sees, as numbers, and what that is in words."""
    if source.model is not None:
        try:
            Z = source.model[:-1].transform(X)
            if sparse.issparse(Z):
                Z = Z.toarray()
            if isinstance(Z, pd.DataFrame):
                return _as_numbers(Z), "the features as the clusterer sees them, levels as 0 and 1"
            return np.asarray(Z, dtype=float), "the features as the clusterer sees them"
        except Exception:  # the model of another version, or of a stranger
            logger.debug("the sample cannot be prepared", exc_info=True)
    return _as_numbers(X), "standardised features: the saved model could not prepare them"


def _as_numbers(table: pd.DataFrame) -> Floats:
    """Return numbers standardised, and levels as 0 and 1 over the root of their share.

    The weights of factor analysis of mixed data (Pagès 2004, Revue de Statistique Appliquée
    52:93-111), so that a category weighs about as much as a number. Dates are left out.
    """
    parts = [np.zeros((len(table), 0))]
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            continue
        if pd.api.types.is_numeric_dtype(column.dtype):
            values = column.to_numpy(dtype=float, na_value=np.nan)
            spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
            parts.append(np.nan_to_num((values - np.nanmean(values)) / spread)[:, None]
                         if spread > 0 else np.zeros((len(values), 1)))  # fmt: skip
        else:
            levels = pd.get_dummies(column.astype(object)).to_numpy(dtype=float)
            parts.append(levels / np.sqrt(np.maximum(levels.mean(axis=0), 1e-12)))
    return np.hstack(parts)


def _maps(source: Source) -> list[Block]:
    drawn = _sampled(source)
    if isinstance(drawn, str):
        return [Text(f"There is no map of the customers: {drawn}.", "note")]
    n = len(drawn.labels)
    caption = f"{_IN_SAMPLE} {n:,} of {drawn.n_all:,} customers; {drawn.space}."
    layout = figures.principal_axes(drawn.Z)
    both = sum(layout.explained or (0.0, 0.0))
    blocks: list[Block] = [
        _drawn(
            "map_pca",
            lambda: figures.customer_map(layout, drawn.labels, drawn.names, drawn.n_all),
            f"Map of {n:,} customers on the two main axes, which hold {both:.0%} of the variance, "
            f"with the outlines of {len(drawn.names)} segments.",
            f"{caption} The two axes hold {both:.0%} of the variance: segments that overlap here "
            f"may lie apart in the rest.",
        )
    ]
    blocks.append(_neighbour_map(source, drawn, caption))
    blocks.append(_pairs(drawn))
    return blocks


def _neighbour_map(source: Source, drawn: _Customers, caption: str) -> Block:
    try:
        layout = figures.umap_axes(drawn.Z, int(source.manifest["seed"]) % 2**32)
    except Exception as error:  # of few or odd customers, or of another version of the library
        logger.debug("UMAP", exc_info=True)
        return Text(f"There is no UMAP map: it failed ({type(error).__name__}).", "quiet")
    if layout is None:
        return Text("There is no UMAP map: umap-learn is not installed (the extra umap).", "quiet")
    return _drawn(
        "map_umap",
        lambda: figures.customer_map(layout, drawn.labels, drawn.names, drawn.n_all),
        f"Map of customers by UMAP, which keeps neighbours together, with {len(drawn.names)} "
        f"segments.",
        f"{caption} UMAP keeps neighbours together; gaps and sizes mean little.",
    )


def _pairs(drawn: _Customers) -> Block:
    numbers = drawn.X.copy()
    for name in numbers.columns:
        if isinstance(numbers[name].dtype, pd.CategoricalDtype):
            numbers[name] = numbers[name].cat.codes.where(numbers[name].notna())
    shares = figures.telling_features(numbers, drawn.labels)
    names = list(shares.index[: figures.MOST_PAIRED])
    if len(names) < 2:
        return Text("There are no pair plots: fewer than two features are numbers.", "quiet")
    said = ", ".join(f"{name} ({shares[name]:.0%})" for name in names)
    levels = "".join(
        f" {name}: {', '.join(f'{i} {level}' for i, level in enumerate(column.cat.categories))}."
        for name, column in drawn.X[names].items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    )
    return _drawn(
        "pairs",
        lambda: figures.pair_plot(numbers[names], drawn.labels, drawn.names, drawn.n_all),
        f"Pairs of the features {', '.join(map(str, names))}, with the middle of each segment.",
        f"{_IN_SAMPLE} {len(drawn.labels):,} of {drawn.n_all:,} customers. Of the variance of each "
        f"feature this share lies between segments: {said}.{levels}",
    )


# ---- what they are like ------------------------------------------------------------------------


def _profiles(source: Source) -> list[Block]:
    table = _segments(source)
    spreads = {}
    if source.sample is not None:
        X = _features(source, source.sample).select_dtypes("number")
        spreads = {str(name): float(X[name].std(ddof=0)) for name in X}
    deviations, texts = profile_table(table, spreads)
    marks = _markers(table, source.unused)
    blocks: list[Block] = []
    if deviations.empty:
        blocks.append(Text(f"{runs.SEGMENTS} holds no profile of the segments.", "note"))
    else:
        how = "of a sample" if spreads else "between segments"
        note = f"In-sample; cells: 100 times the mean over that of all, or share; sd {how}"
        words = [f"{name}: {marks[name]}" for name in table["segment"]]
        blocks.append(
            _drawn(
                "profile",
                lambda: figures.segment_profile(deviations, texts, note),
                "Heat map of how far each segment is from all customers, feature by feature. "
                + "; ".join(words[:6]),
                f"{_IN_SAMPLE} Alike features lie together.",
            )
        )
    columns = [c for c in ("silhouette", "jaccard", "stability") if c in table]
    rows = [
        [
            _name_cell(row["segment"]),
            int(row["n"]),
            Cell(f"{row['share']:.1%}", row["share"], share=float(row["share"])),
            *(_float(row[c]) if c != "stability" else _text(row[c]) for c in columns),
            marks[row["segment"]],
        ]
        for row in table.to_dict("records")
    ]
    heads = ("segment", "customers", "share", *columns, "what marks them")
    numeric = ("customers", "share", "silhouette", "jaccard")
    blocks.append(Table(heads, rows, numeric=numeric, caption=_IN_SAMPLE))
    return blocks


def _markers(table: pd.DataFrame, unused: Collection[str]) -> dict[str, str]:
    try:
        brief = brief_markers(table, unused)
    except DataError:
        return dict.fromkeys(table["segment"], "not known: the markers are damaged")
    return {segment: words or NO_MARKER for segment, words in brief.items()}


def profile_table(
    segments: pd.DataFrame, spreads: Mapping[str, float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn the profile of segments into deviations from all customers, and into words.

    Parameters
    ----------
    segments : DataFrame
        As :func:`segexp.clustering.profile.profile` returns it.
    spreads : mapping of column to float
        Standard deviation of each number over customers; where it lacks one, that between the
        segments takes its place. Of a level it is ``sqrt(p (1 - p))``.

    Returns
    -------
    deviations, texts : DataFrame of shape (n_features, n_segments)
        In standard deviations; and 100 times the mean over that of all customers, the mean where
        there is no such index, or the share of a level. Of two levels the second is left out.
    """
    deviations: dict[str, Floats] = {}
    texts: dict[str, list[str]] = {}
    skipped = _second_levels(segments)
    for column in segments.columns:
        kind, _, name = str(column).partition("[")
        name = name.removesuffix("]")
        if kind not in ("mean", "share") or not name or column in skipped:
            continue
        values = segments[column].to_numpy(dtype=float)
        is_known = np.isfinite(values)
        known = f"known[{name.partition('=')[0] if kind == 'share' else name}]"
        weights = segments[known if known in segments else "n"].to_numpy(dtype=float)
        if not weights[is_known].sum():
            continue
        overall = float(np.average(values[is_known], weights=weights[is_known]))
        if kind == "share":
            spread = math.sqrt(max(overall * (1 - overall), 0.0))
            texts[name] = [f"{v:.0%}" if np.isfinite(v) else "" for v in values]
        else:
            between = np.average((values[is_known] - overall) ** 2, weights=weights[is_known])
            spread = spreads.get(name) or math.sqrt(float(between))
            index = segments.get(f"index[{name}]", pd.Series(np.nan, segments.index))
            texts[name] = [
                f"{i:.0f}" if np.isfinite(i) else (f"{v:.3g}" if np.isfinite(v) else "")
                for i, v in zip(index.to_numpy(dtype=float), values, strict=True)
            ]
        deviations[name] = (values - overall) / spread if spread > 0 else np.zeros(len(values))
    names = list(segments["segment"])
    return (
        pd.DataFrame(deviations, index=names).T,
        pd.DataFrame(texts, index=names).T,
    )


def _second_levels(segments: pd.DataFrame) -> set[str]:
    """Return the columns that say no more than the one before: the other one of two levels."""
    levels: dict[str, list[str]] = {}
    for column in map(str, segments.columns):
        if column.startswith("share[") and "=" in column:
            levels.setdefault(column.partition("=")[0], []).append(column)
    return {
        pair[1]
        for pair in levels.values()
        if len(pair) == 2 and np.allclose(segments[pair].sum(axis=1), 1)
    }


# ---- how clear, how stable ---------------------------------------------------------------------


def _quality(source: Source, found: Mapping[str, Any]) -> list[Block]:
    blocks = _metrics(source, mapping(found.get("in_sample")))
    if has_fixed_rules(source):
        blocks.insert(
            0,
            Text(
                "These segments were laid down by rules, and need no gaps between them: customers "
                "on both sides of a border are alike. The figures below describe this, by the "
                "scores that the rules read; they are no reason to change a rule.",
                "quiet",
            ),
        )
    customers = source.customers
    if customers is not None and "silhouette" in customers:
        own = customers
        if len(own) > MOST_SILHOUETTES:
            rows = np.random.default_rng(0).choice(len(own), MOST_SILHOUETTES, replace=False)
            own = own.iloc[np.sort(rows)]
        names = [name for name in _segments(source)["segment"] if name != NOISE]
        codes = pd.Index(names).get_indexer(own["segment"].astype(str))
        blocks.append(
            _figure(
                source,
                "silhouettes",
                lambda: curves.silhouette_plot(own["silhouette"].to_numpy(), codes, names),
                f"Silhouettes of the customers of {len(names)} segments, sorted within each; "
                f"mean {own['silhouette'].mean():.2f}.",
                f"{_IN_SAMPLE} Below 0 a customer is nearer to another segment.",
            )
        )
    return blocks


def _metrics(source: Source, inside: Mapping[str, Any]) -> list[Block]:
    """Return the metrics on held-out customers beside those in-sample."""
    summary = source.summary
    if summary is None:
        return [_missing(source, runs.SUMMARY, "The metrics on held-out customers")]
    rows = []
    for metric in (*CLUSTER_METRICS, *METRICS):
        entry, own = mapping(summary.get(metric.name)), _float(inside.get(metric.name))
        if entry.get("mean") is None and own is None:
            continue
        is_size = metric.name in ("n_segments", "smallest_share", "largest_share")
        better = "" if is_size else ("more" if metric.greater_is_better else "less")
        is_first = metric.name == source.manifest["metric"]
        rows.append(
            [
                Cell(metric.label, mark="ranks" if is_first else "", strong=is_first),
                better,
                _float(entry.get("mean")),
                _float(entry.get("std")),
                own,
                metric.description,
            ]
        )
    columns = ("metric", "better", "held out", "sd over folds", "in-sample", "what it is")
    caption = (
        "Held out: segments found on the training customers of each fold, judged on the others; "
        "sizes are those of the training customers. In-sample: the final model on the customers "
        "that it was made from."
    )
    numeric = ("held out", "sd over folds", "in-sample")
    return [Table(columns, rows, numeric=numeric, caption=caption)] if rows else []


def _stability(source: Source, found: Mapping[str, Any]) -> list[Block]:
    stable = mapping(found.get("stability"))
    blocks: list[Block] = []
    if stable:
        blocks += _per_segment(source, stable)
    else:
        blocks.append(Text("Stability was not measured (evaluation.stability_resamples).", "note"))
    n = _whole(found.get("n_segments"))
    own = _k_numbers(source)
    if own is not None:
        measured = [c for c in ("bootstrap_ari", "prediction_strength") if c in own]
        if measured and own[measured].notna().any(axis=None):
            blocks.append(
                _drawn(
                    "stability_by_k",
                    lambda: figures.stability_by_k(own, n),
                    "Agreement of segments from resampled customers by number of segments.",
                    "On resampled customers, prepared once: the preprocessing is not refitted.",
                )
            )
    if source.parents is not None and len(source.parents):
        parents = _with_numbers(source.parents, ["k", "segment", "value", "parent"])
        low = parents[(parents["value"] < 0.5)]
        blocks.append(
            _drawn(
                "parents",
                lambda: figures.segment_flow(parents, n),
                f"Tree of where each segment comes from, from {parents['k'].min() - 1} to "
                f"{parents['k'].max()} segments; {len(low)} of {len(parents)} segments come from "
                f"several in equal parts (SLSA below 0.5).",
                f"{_IN_SAMPLE} A segment that stays the same from one number of segments to the "
                f"next is one that the number did not make.",
            )
        )
    return blocks


def _per_segment(source: Source, stable: Mapping[str, Any]) -> list[Block]:
    n = shown(stable.get("n_resamples"))
    table = _segments(source)
    recovered, dissolved = (mapping(stable.get(f"n_{w}")) for w in ("recovered", "dissolved"))
    rows = [
        [
            _name_cell(row["segment"]), int(row["n"]), _float(row.get("jaccard")),
            _float(row.get("slsw")), _text(row.get("stability")), recovered.get(row["segment"]),
            dissolved.get(row["segment"]),
        ]
        for row in table.to_dict("records")
        if row["segment"] != NOISE
    ]  # fmt: skip
    columns = ("segment", "customers", "Jaccard", "SLSw", "in words", "recovered", "dissolved")
    about = {
        "Jaccard": "Hennig (2007): mean over bootstrap samples of the largest similarity",
        "SLSw": "Dolnicar and Leisch (2017): the same over pairs of bootstrap samples",
        "recovered": "bootstrap samples with a similarity above 0.75",
        "dissolved": "bootstrap samples with a similarity of 0.5 or less",
    }
    blocks: list[Block] = [
        Text(
            f"Refitted on {n} bootstrap samples, the pipeline agrees with these segments by an "
            f"adjusted Rand index of {shown(stable.get('ari'))} (1: the same again)."
        ),
        Table(
            columns, rows, numeric=("customers", "Jaccard", "SLSw", "recovered", "dissolved"),
            caption=f"Of {n} bootstrap samples. Hennig's words for Jaccard: from 0.85 "
            f"on highly stable, from 0.75 stable, from 0.6 a pattern, below it do not trust.",
            about=about,
        ),
    ]  # fmt: skip
    values = source.stability
    if values is None:
        return [*blocks, _missing(source, runs.STABILITY, "The values of each resample")]
    jaccard = values[values["measure"] == "jaccard"]
    names = [name for name in table["segment"] if name != NOISE]
    codes = pd.to_numeric(jaccard["segment"], errors="coerce")
    jaccard = jaccard[codes.between(0, len(names) - 1)]
    named = jaccard.assign(segment=[names[int(code)] for code in codes[jaccard.index]])
    return [
        *blocks,
        _figure(
            source, "stability",
            lambda: curves.stability_boxplots(named, "Jaccard", by="segment"),
            "Boxes of the Jaccard similarity of each segment with those of resampled customers.",
            f"Of {n} bootstrap samples.",
        ),
    ]  # fmt: skip


# ---- new customers, distance -------------------------------------------------------------------


def _assignment(source: Source, found: Mapping[str, Any]) -> list[Block]:
    assignment = mapping(found.get("assignment"))
    rule, agreement = assignment.get("rule"), _float(assignment.get("agreement"))
    words = f"New customers get their segment by {_RULES.get(str(rule), str(rule))}"
    if rule != "native" and agreement is not None:
        words += (
            f", which agrees with the segments of {agreement:.1%} of the fitted customers when it "
            f"does not look at the customer"
        )
    groups: dict[str, Floats] = {}
    unlike: dict[str, float] = {}
    for name, table in (("held out", source.predictions), ("in-sample", source.customers)):
        if table is not None and "confidence" in table:
            groups[name] = table["confidence"].to_numpy(dtype=float)
            if "unlike_anybody" in table:
                unlike[name] = float(table["unlike_anybody"].mean())
    if "held out" in unlike:
        words += (
            f". {unlike['held out']:.1%} of the customers held out are unlike anybody: farther "
            f"from their segment than 99% of those it was made from (1% is what one expects)"
        )
    blocks: list[Block] = [Text(f"{words}.")]
    if any(np.isfinite(values).any() for values in groups.values()):
        medians = ", ".join(f"{n} {np.nanmedian(v):.2f}" for n, v in groups.items())
        blocks.append(
            _drawn(
                "confidence",
                lambda: figures.confidence_histogram(groups, unlike),
                f"Histogram of how sure the segments of customers are; medians: {medians}.",
                "Held out: each customer by the model of a fold that had not seen it. In-sample: "
                "by the final model. The confidence of two clusterers does not compare.",
            )
        )
    return blocks


def _distances(source: Source) -> list[Block]:
    table = source.importance
    if table is None:
        return [_missing(source, runs.IMPORTANCE, "The share of each feature")]
    own = table[table["kind"] == "model"].sort_values("mean", ascending=False, kind="stable")
    if own.empty:
        return []
    top = ", ".join(f"{f} {m:.0%}" for f, m in zip(own["feature"][:4], own["mean"], strict=False))
    note = "On the training rows of each fold: share of the mean squared distance of customers."
    rows = [
        [row["feature"], Cell(f"{row['mean']:.1%}", row["mean"]), _float(row["std"])]
        for row in own.to_dict("records")
    ]
    columns = ("feature", "share", "sd over folds")
    return [
        _drawn(
            "distance_shares", lambda: figures.distance_shares(own),
            f"Share of the distance between customers by feature: {top}.", note,
        ),
        Details("All features", [Table(columns, rows, numeric=columns[1:], caption=note)]),
    ]  # fmt: skip


# ---- responses and purchases -------------------------------------------------------------------


def _responses(source: Source, found: Mapping[str, Any]) -> list[Block]:
    test = mapping(found.get("responses"))
    rates = source.responses
    if rates is None:
        return [] if not test else [_missing(source, runs.RESPONSES, "The rates by segment")]
    outcome = str(test.get("outcome", "outcome"))
    several = rates["outcome"].nunique() > 1
    p, v = _float(test.get("p_value")), _float(test.get("cramers_v"))
    words = f"How {outcome} is spread over the segments; the clusterer was not shown it."
    if p is not None and v is not None:
        said = "below 0.0001" if p < 1e-4 else f"{p:.4f}"
        words += f" Over all segments p is {said} ({test.get('method')}), Cramér's V {v:.2f}."
    rows = [
        [
            _name_cell(row["segment"]), *([row["outcome"]] if several else []),
            int(row["customers"]), int(row["responders"]),
            Cell(f"{row['rate']:.1%}", _float(row["rate"])),
            f"{row['low']:.1%} to {row['high']:.1%}", _float(row["lift"]), _float(row["q_value"]),
        ]
        for row in rates.to_dict("records")
    ]  # fmt: skip
    columns = (
        "segment", *(["outcome"] if several else []), "customers", "responders", "rate",
        "95% interval", "lift", "q",
    )  # fmt: skip
    return [
        Text(words),
        _figure(
            source, "responses", lambda: response_rates_figure(rates, outcome),
            f"Rate of {outcome} in each segment with its interval, beside that of all.",
            f"{_IN_SAMPLE} The outcome took no part in it.",
        ),
        Table(
            columns, rows, numeric=("customers", "responders", "rate", "lift", "q"),
            caption="Intervals: Wilson. Lift: rate over that of all. q: of the difference from the "
            "other segments, false discovery rate of Benjamini and Hochberg.",
        ),
    ]  # fmt: skip


def _purchases(source: Source) -> list[Block]:
    table = source.rfm
    if table is None:
        return []
    rows = [
        [
            _name_cell(row["segment"]),
            int(row["customers"]),
            Cell(f"{row['share']:.1%}", row["share"]),
            _float(row["orders"]),
            _float(row["revenue"]),
            Cell(f"{row['revenue_share']:.1%}", row["revenue_share"]),
            *(_float(row[f"median[{name}]"]) for name in ("recency", "frequency", "monetary")),
        ]
        for row in table.to_dict("records")
    ]
    columns = (
        "segment", "customers", "share", "orders", "revenue", "of revenue", "days ago", "times",
        "value",
    )  # fmt: skip
    about = {
        "days ago": "median days since the last purchase",
        "times": "median number of purchases",
        "value": "median monetary value",
    }
    top = table.sort_values("revenue", ascending=False).head(3)
    best = ", ".join(
        f"{name} {share:.0%}"
        for name, share in zip(top["segment"], top["revenue_share"], strict=True)
    )
    blocks: list[Block] = [
        _figure(
            source, "segment_revenue", lambda: segment_bars(table),
            f"Share of customers and of revenue by segment; most revenue: {best}.", _IN_SAMPLE,
        ),
        Table(columns, rows, numeric=columns[1:], caption=_IN_SAMPLE, about=about),
    ]  # fmt: skip
    if has_fixed_rules(source):
        words = (
            "How customers move from one of these segments to another, and whether the shares "
            "have shifted: segexp migrate with this run and a later date or table."
        )
        blocks.append(Text(words, "quiet"))
    if source.figure("rfm_scores"):
        blocks.append(
            _figure(
                source,
                "rfm_scores",
                None,
                "Heat maps of customers and mean value by recency and frequency score.",
                _IN_SAMPLE,
            )
        )
    for name, what, listed in (
        (runs.AT_RISK, "Good customers at risk", source.at_risk),
        (runs.HIGH_VALUE, "Customers of high value", source.high_value),
    ):
        blocks.append(
            _missing(source, name, what) if listed is None else _people(what, name, listed)
        )
    return blocks


def _people(what: str, name: str, listed: pd.DataFrame) -> Block:
    first = listed.head(MOST_CUSTOMERS)
    rows = [
        [row["id"], _text(row.get("segment")), _float(row["revenue"]), _text(row["reason"])]
        for row in first.to_dict("records")
    ]
    caption = f"The first {len(first)} of {len(listed):,}; all are in {name}."
    table = Table(("customer", "segment", "revenue", "why"), rows, ("revenue",), caption=caption)
    return Details(f"{what}: {len(listed):,}", [table])


def _name_cell(name: Any) -> Cell | str:
    """Return a segment's name; the whole of a long one is said where a pointer rests on it."""
    text = str(name)
    if len(text) <= LONGEST_NAME:
        return text
    return Cell(shortened(text, LONGEST_NAME), about=text)


# ---- blocks ------------------------------------------------------------------------------------


def _figure(
    source: Source, name: str, make: Callable[[], Drawn] | None, alt: str, caption: str
) -> Block:
    """Return a figure that the run left; if it is gone it is made again."""
    kept = source.figure(name)
    if kept is None and make is not None:
        return _drawn(name, make, alt, caption)
    return Figure(name, kept or {}, alt, caption)


def _drawn(name: str, make: Callable[[], Drawn], alt: str, caption: str) -> Block:
    try:
        return Figure(name, render(make()), alt, caption)
    except Exception as error:  # a run from elsewhere may hold anything
        logger.debug("figure %s", name, exc_info=True)
        return Text(f"The figure {name} cannot be drawn ({type(error).__name__}).", "note")


def _missing(source: Source, name: str, what: str) -> Text:
    return Text(f"{what} cannot be shown ({name}): {source.why(name) or 'it is empty'}.", "note")


def _segments(source: Source) -> pd.DataFrame:
    """Return the table of segments, its figures as numbers."""
    if source.segments is None:
        return pd.DataFrame({"segment": [], "n": [], "share": []})
    figures_of = ("jaccard", "slsw", "silhouette")
    numbers = [
        name
        for name in map(str, source.segments)
        if name in figures_of or name.startswith(("mean[", "index[", "share[", "known["))
    ]
    return _with_numbers(source.segments, numbers)


def _with_numbers(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in names})


def _k_numbers(source: Source) -> pd.DataFrame | None:
    """Return the criteria on all customers by number of segments."""
    table = source.k_table
    if table is None:
        return None
    own = table[table["rows"] == runs.FINAL].sort_values("k")
    return _with_numbers(own, [name for name in map(str, own) if name != "rows"])


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _float(value)
    return None if number is None else int(number)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
