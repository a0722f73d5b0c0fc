"""Whether the segments that were found can be used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segexp.checks.readings import (
    Check,
    Readings,
    RunCheck,
    at,
    has_fixed_rules,
    held_out_mean,
    listed,
    mapping,
    number,
    quoted,
    test_to_train,
    word,
)
from segexp.data.findings import counted
from segexp.runs import FINAL

if TYPE_CHECKING:
    import pandas as pd


def unusable_segmentation(run: Readings) -> RunCheck | None:
    """The folds did not keep to evaluation.constraints."""
    missed = run.manifest.get("constraints_missed")
    if not isinstance(missed, list) or not missed:
        return None
    return RunCheck(
        "unusable_segmentation",
        "; ".join(map(word, missed)),
        "evaluation.constraints say what a usable segmentation is, and this is none",
        "choose other parameters (search=tpe heeds the constraints), or loosen the constraints",
    )


# Of five customers four: what the others are is a list of exceptions.
GIANT_SHARE = 0.8


def giant_segment(run: Readings) -> RunCheck | None:
    """One segment holds nearly everybody."""
    table = _own_segments(run)
    if table is None or len(table) < 2:
        return None
    largest = table.iloc[int(table["share"].to_numpy().argmax())]
    if largest["share"] < GIANT_SHARE:
        return None
    message = f"segment {quoted(largest['segment'])} holds {largest['share']:.0%} of all customers"
    if has_fixed_rules(run):
        return RunCheck(
            "giant_segment",
            message,
            "what is said of this segment is nearly what is said of all",
            "write rules that part these customers (model.estimator.rules)",
        )
    return RunCheck(
        "giant_segment",
        message,
        "the others are outliers cut off one by one, which single linkage and density methods do "
        "to data without gaps; indices such as the silhouette praise it",
        "try kmeans, ward or gaussian_mixture, limit outliers before (dataset.rules), or bound "
        "evaluation.constraints.largest_share.max",
    )


# The bound of evaluation.constraints as it is shipped, where the config says nothing else.
TINY_SHARE = 0.02
# Of fewer no mean says something; "large enough" on the cards is the same rule.
TINY_CUSTOMERS = 30


def tiny_segments(run: Readings) -> RunCheck | None:
    """Segments hold very few customers."""
    table = _own_segments(run)
    if table is None or len(table) < 2:
        return None
    least = number(at(run.config, "evaluation", "constraints", "smallest_share", "min"))
    least = TINY_SHARE if math.isnan(least) else least
    tiny = table[(table["share"] < least) | (table["n"] < TINY_CUSTOMERS)]
    if tiny.empty:
        return None
    names = [f"{quoted(row.segment)} ({row.n:,})" for row in tiny.itertuples()]
    return RunCheck(
        "tiny_segments",
        f"{counted(len(tiny), 'segment')} of {len(table)} "
        f"{'has' if len(tiny) == 1 else 'have'} "
        f"{f'less than {100 * least:g}% of the customers or ' if least > 0 else ''}"
        f"fewer than {TINY_CUSTOMERS}{'' if least > 0 else ' customers'}: {listed(names)}",
        "too few for a campaign of their own and for a mean that holds next month",
        "treat them together with others, or write wider rules (model.estimator.rules)"
        if has_fixed_rules(run)
        else "ask for fewer segments, or bound evaluation.constraints.smallest_share.min",
    )


def single_segment(run: Readings) -> RunCheck | None:
    """There are fewer than two segments."""
    n = number(at(run.segmentation, "n_segments"))
    if not n < 2:
        return None
    return RunCheck(
        "single_segment",
        "the final model found one segment" if n else "the final model found no segment",
        "nobody is told apart",
        "write rules that part these customers (model.estimator.rules)"
        if has_fixed_rules(run)
        else "loosen what makes a segment (eps, min_samples, min_cluster_size), or scale the "
        "features",
    )


# A tenth of the customers gets no segment, and so no treatment.
NOISE_SHARE = 0.10


def much_noise(run: Readings) -> RunCheck | None:
    """Many customers are in no segment."""
    share = number(at(run.segmentation, "in_sample", "noise_share"))
    if not share >= NOISE_SHARE:
        return None
    return RunCheck(
        "much_noise",
        f"{share:.0%} of all customers are in no segment",
        "what is planned for the segments does not reach them, and figures of the segments leave "
        "them out",
        "widen eps or lower min_samples (dbscan), lower min_cluster_size (hdbscan), or use a "
        "clusterer that places everybody",
    )


_FIX_SCORES = (
    "the borders of the scores move with the customers: lay them down, too "
    "(preprocessing.table.scores.method=values and cuts)"
)

# Hennig, in the manual of R's fpc: below it one should not trust a cluster.
JACCARD = 0.6


def unstable_segments(run: Readings) -> RunCheck | None:
    """Segments do not come back from resampled customers (Hennig 2007, CSDA 52:258-271)."""
    found = mapping(at(run.segmentation, "stability", "jaccard"))
    low = {str(name): number(value) for name, value in found.items() if number(value) < JACCARD}
    if not low:
        return None
    names = [
        f"{quoted(name)} ({value:.2f})" for name, value in sorted(low.items(), key=lambda x: x[1])
    ]
    return RunCheck(
        "unstable_segments",
        f"{len(low)} of {counted(len(found), 'segment')} {'comes' if len(low) == 1 else 'come'} "
        f"back with a Jaccard similarity below {JACCARD:g}: {listed(names)}",
        "with slightly other customers these segments would not exist, so that who is in them is "
        "an accident of this table",
        _FIX_SCORES
        if has_fixed_rules(run)
        else "ask for fewer segments, or merge these with their neighbours",
    )


# Steinley (2004, Psychological Methods 9:386-396): an adjusted Rand index below it is poor.
REPRODUCIBLE = 0.65


def segments_not_reproducible(run: Readings) -> RunCheck | None:
    """The pipeline, refitted on resampled customers, finds other segments."""
    ari = number(at(run.segmentation, "stability", "ari"))
    n = number(at(run.segmentation, "stability", "n_resamples"))
    if not ari < REPRODUCIBLE:
        return None
    return RunCheck(
        "segments_not_reproducible",
        f"refitted on {n:.0f} bootstrap samples, the pipeline agrees with the segments by an "
        f"adjusted Rand index of {ari:.2f}",
        "somebody who repeats the study with other customers of the same kind gets other segments",
        _FIX_SCORES
        if has_fixed_rules(run)
        else "choose k by stability (search=k), use fewer or better scaled features, or more "
        "starts (model.estimator.n_init=50)",
    )


# Most folds should say what all customers say.
FOLDS_AGREE = 0.5


def folds_disagree_on_k(run: Readings) -> RunCheck | None:
    """Most folds found another number of segments than the final model has."""
    final = number(at(run.segmentation, "n_segments"))
    if run.scores is None or math.isnan(final) or has_fixed_rules(run):
        return None
    found = run.scores[run.scores["metric"] == "n_segments"]["value"].dropna().astype(int)
    if len(found) < 2 or (found == final).mean() >= FOLDS_AGREE:
        return None
    return RunCheck(
        "folds_disagree_on_k",
        f"the final model has {final:.0f} segments, the folds had {', '.join(map(str, found[:10]))}"
        + (", ..." if len(found) > 10 else ""),
        "the held-out figures describe other segmentations than the one that is saved",
        "fix the number (model.estimator.n_clusters), or take it as undecided and compare several",
    )


def no_natural_segments(run: Readings) -> RunCheck | None:
    """The criteria do not find natural segments."""
    verdict = mapping(at(run.segmentation, "k", FINAL))
    kind, disputed = verdict.get("kind"), disputed_words(verdict)
    if disputed and number(verdict.get("best")) == number(at(run.segmentation, "n_segments")):
        return RunCheck(
            "no_natural_segments",
            f"the segments come back from other customers, but {disputed}",
            "a group that is always cut at the same place comes back in pieces, too",
            "look at the other numbers as well, and at gaps in the maps, before you call these "
            "segments kinds of people",
        )
    if kind not in ("constructive", "reproducible"):
        return None
    again = "come back from other customers, but are" if kind == "reproducible" else "are"
    return RunCheck(
        "no_natural_segments",
        f"the segments {again} not natural: there are no gaps between them",
        "they are a convenient cut through a cloud of customers (Dolnicar and Leisch 2010, "
        "Marketing Letters 21:83-101), so that neighbours across a border are much alike",
        "use them as a description and not as kinds of people; choose k by what can be managed",
    )


def k_against_criteria(run: Readings) -> RunCheck | None:
    """The model has another number of natural segments than the criteria choose."""
    verdict = mapping(at(run.segmentation, "k", FINAL))
    best, final = number(verdict.get("best")), number(at(run.segmentation, "n_segments"))
    if verdict.get("kind") != "natural" or math.isnan(best) or not abs(final - best) >= 1:
        return None
    if disputed := disputed_words(verdict):
        return RunCheck(
            "k_against_criteria",
            f"the model has {counted(int(final), 'segment')}; {best:.0f} come back best from "
            f"resampled customers, but {disputed}",
            "the criteria disagree, so that none of these numbers is found beyond doubt",
            "take the number as undecided, and compare what the segments are like with several "
            "(model.estimator.n_clusters)",
        )
    return RunCheck(
        "k_against_criteria",
        f"the model has {final:.0f} segments, the criteria choose {best:.0f}",
        "segments beyond the natural ones cut them into pieces that need not come back",
        f"say model.estimator.n_clusters={best:.0f} or search=k, or keep your number for a reason "
        f"of your own",
    )


def disputed_words(verdict: Mapping[str, Any]) -> str:
    """Say what others choose where only criteria of recurrence see a natural number."""
    best = number(verdict.get("best"))
    if verdict.get("kind") != "natural" or math.isnan(best):
        return ""
    import pandas as pd

    from segexp.clustering.choose_k import RECURRENCE, is_disputed

    choices = pd.DataFrame([mapping(choice) for choice in verdict.get("choices") or []])
    if not {"criterion", "k"} <= set(choices.columns) or not is_disputed(choices, int(best)):
        return ""
    own = choices[~choices["criterion"].isin(RECURRENCE) & choices["k"].notna()]
    *first, last = sorted({f"{k:.0f}" for k in own["k"]}, key=int)
    others = f"{', '.join(first)} or {last}" if first else last
    return (
        f"no criterion of how compact and how far apart segments are chooses {best:.0f} (they "
        f"choose {others})"
    )


# So many of the criteria would like more segments than were tried.
EDGE_SHARE = 0.5


def k_at_edge(run: Readings) -> RunCheck | None:
    """The criteria would go beyond the numbers of segments that were measured."""
    verdict, table = mapping(at(run.segmentation, "k", FINAL)), run.k_table
    choices = verdict.get("choices")
    if table is None or not isinstance(choices, list) or not choices:
        return None
    most = number(table.loc[table["rows"] == FINAL, "k"].max())
    beyond = sum(
        word(mapping(choice).get("reason")).startswith(("still better", "still rising"))
        for choice in choices
    )
    if verdict.get("best") != most and beyond < EDGE_SHARE * len(choices):
        return None
    return RunCheck(
        "k_at_edge",
        f"{beyond} of {len(choices)} criteria are still getting better at {most:.0f} segments, the "
        f"most that were measured; the verdict is {word(verdict.get('best'))}",
        "the best number may lie where nobody looked",
        f"measure more: evaluation.k_max={2 * most:.0f}",
    )


# Kaufman and Rousseeuw (1990), Finding Groups in Data: up to here, no substantial structure.
SILHOUETTE = 0.25


def weak_structure(run: Readings) -> RunCheck | None:
    """The held-out silhouette is that of data without structure."""
    value = held_out_mean(run, "silhouette")
    if run.manifest.get("task") != "clustering" or not value <= SILHOUETTE:
        return None
    if has_fixed_rules(run):  # borders that were laid down need no gap between customers
        return None
    return RunCheck(
        "weak_structure",
        f"the mean silhouette on held-out customers is {value:.2f}",
        "up to 0.25 no substantial structure was found (Kaufman and Rousseeuw 1990): many "
        "customers are as near to another segment as to their own",
        "leave out features that do not matter, or take the segments as a description",
    )


# Beyond two standard errors of the folds, and more than folds of few customers flatten it.
OPTIMISM = 0.05


def in_sample_optimism(run: Readings) -> RunCheck | None:
    """Segments fit the customers that they were made from much better than others."""
    inside, table = number(at(run.segmentation, "in_sample", "silhouette")), run.scores
    if table is None or math.isnan(inside) or has_fixed_rules(run):
        return None
    values = table[table["metric"] == "silhouette"]["value"].dropna().to_numpy(dtype=float)
    if len(values) < 2:
        return None
    error = math.sqrt(1 / len(values) + test_to_train(run)) * float(values.std(ddof=1))
    gap = inside - float(values.mean())
    if gap <= max(OPTIMISM, 2 * error):
        return None
    return RunCheck(
        "in_sample_optimism",
        f"the mean silhouette is {inside:.2f} on the customers that the segments were made from "
        f"and {values.mean():.2f} on customers held out",
        "the segments follow these customers closer than the next ones will follow the segments",
        "cite the held-out figure; ask for fewer segments",
    )


# One in a hundred training customers is as far; five times as many is another population.
UNLIKE_SHARE = 0.05


def unlike_customers(run: Readings) -> RunCheck | None:
    """Many held-out customers are unlike anybody the segments were made from."""
    share = held_out_mean(run, "unlike_share")
    if not share >= UNLIKE_SHARE:
        return None
    return RunCheck(
        "unlike_customers",
        f"{share:.0%} of held-out customers are farther from their segment than 99% of those it "
        f"was made from",
        "1% is what one expects; the segments do not cover customers of this kind",
        "limit extreme values (dataset.rules), use fewer features, or more customers",
    )


# Nine customers in ten: a rule that fails more often makes other segments of the same name.
AGREEMENT = 0.9


def assignment_disagrees(run: Readings) -> RunCheck | None:
    """The rule for new customers does not give the fitted ones their own segment."""
    agreement = number(at(run.segmentation, "assignment", "agreement"))
    rule = at(run.segmentation, "assignment", "rule")
    if not agreement < AGREEMENT:
        return None
    return RunCheck(
        "assignment_disagrees",
        f"new customers get their segment by {word(rule).replace('_', ' ')}, which agrees with "
        f"the segments of {agreement:.0%} of the fitted customers",
        "segments of new customers are other ones than the report describes",
        "use a clusterer with a rule of its own (kmeans, gaussian_mixture), or fewer segments",
    )


# More than the other columns have together, several times over.
DECIDING_SHARE = 0.8


def one_feature_decides(run: Readings) -> RunCheck | None:
    """One feature makes up nearly all of the distance between customers."""
    table = run.importance
    if run.manifest.get("task") != "clustering" or table is None or has_fixed_rules(run):
        return None
    own = table[table["kind"] == "model"]
    if len(own) < 3 or own["mean"].max() < DECIDING_SHARE:
        return None
    top = own.iloc[int(own["mean"].to_numpy().argmax())]
    return RunCheck(
        "one_feature_decides",
        f"{quoted(top['feature'])} makes up {top['mean']:.0%} of the distance between customers",
        "the segments are bins of this feature; the others have no say, mostly because they are in "
        "smaller units",
        "scale the features (preprocessing=standard), or take its logarithm",
    )


# ---- reading ------------------------------------------------------------------------------------


def _own_segments(run: Readings) -> pd.DataFrame | None:
    """Return the segments that a clusterer found, without noise."""
    if run.manifest.get("task") != "clustering" or run.segments is None:
        return None
    from segexp.clustering.profile import NOISE

    return run.segments[run.segments["segment"] != NOISE]


CHECKS: tuple[Check, ...] = (
    unusable_segmentation,
    single_segment,
    giant_segment,
    tiny_segments,
    much_noise,
    unstable_segments,
    segments_not_reproducible,
    folds_disagree_on_k,
    no_natural_segments,
    k_against_criteria,
    k_at_edge,
    weak_structure,
    in_sample_optimism,
    unlike_customers,
    assignment_disagrees,
    one_feature_decides,
)
