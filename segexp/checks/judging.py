"""Whether the figures can be believed: folds, baselines, probabilities, the search, leaks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segexp.checks.readings import (
    Check,
    Readings,
    RunCheck,
    held_out_mean,
    listed,
    mapping,
    n_customers,
    quoted,
    test_to_train,
    word,
)
from segexp.comparison.statistics import paired
from segexp.metrics import N_BINS, metric_by_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def single_split(run: Readings) -> RunCheck | None:
    """There is one split, and so no spread over folds."""
    split = mapping(run.manifest.get("split"))
    if split.get("protocol") != "holdout" or split.get("n_repeats") != 1:
        return None
    return RunCheck(
        "single_split",
        "the figures come from one split",
        "how far another split would move them is not known, and nothing can be tested",
        "say evaluation=cv, or evaluation.n_repeats=10",
    )


# With fewer, one customer moves a share by more than three points.
FOLD_CUSTOMERS = 30


def small_folds(run: Readings) -> RunCheck | None:
    """A fold judges very few customers."""
    n = _fold_size(run)
    if not n < FOLD_CUSTOMERS or run.manifest.get("task") == "baskets":
        return None
    return RunCheck(
        "small_folds",
        f"a fold judges about {n:.0f} customers",
        f"one customer moves a share by {1 / n:.0%} then, and ratios of few customers are not "
        f"defined in some folds",
        "use fewer folds and more repeats: evaluation.n_splits=3 evaluation.n_repeats=10",
    )


def worse_than_baseline(run: Readings) -> RunCheck | None:
    """A baseline is as good by the metric that ranks, on the same folds."""
    found = _strongest_baseline(run)
    if found is None or found.gains.mean() > 0:
        return None
    return RunCheck(
        "worse_than_baseline",
        f"the model {found.words} is not better than the baseline {found.name}: {found.own:.4f} "
        f"and {found.other:.4f} {found.metric} on the same held-out folds",
        "the model costs more and gives less than something simple",
        "tune it (search=tpe), give it better features, or use the baseline",
    )


# One-sided, as in the search's check of what it gained.
SEPARABLE_AT = 0.05


def not_separable_from_baseline(run: Readings) -> RunCheck | None:
    """The lead over the strongest baseline may be noise.

    By the corrected resampled t-test of Nadeau and Bengio (2003, Machine Learning 52:239-281).
    """
    found = _strongest_baseline(run)
    if found is None or len(found.gains) < 2 or found.gains.mean() <= 0:
        return None
    p = paired(found.gains, found.test_to_train, rope=0.0).p
    if p is None or p / 2 < SEPARABLE_AT:
        return None
    return RunCheck(
        "not_separable_from_baseline",
        f"the model {found.words} leads the baseline {found.name} by {abs(found.gains.mean()):.4f} "
        f"{found.metric}, which may be noise (p = {p / 2:.2f})",
        "on other customers the baseline may be the better one",
        "judge on more folds (evaluation.n_repeats=10), or prefer the simpler model",
    )


# Of Grubbs' test, two-sided and for all folds together: rarely wrong, because folds differ anyway.
FOLD_ALPHA = 0.01
# A smaller gap changes no decision, however regular the other folds are.
FOLD_GAP = 0.05
MIN_FOLDS = 4  # one of three is unlike the others too easily


def unlike_fold(run: Readings) -> RunCheck | None:
    """One fold is unlike all others by the metric that ranks.

    By Grubbs' test (1969, Technometrics 11:1-21) and by 5% of the mean of the others.
    """
    import numpy as np
    from scipy import stats

    table = _fold_table(run, run.scores)
    if table is None or len(table) < MIN_FOLDS:
        return None
    values = table["value"].to_numpy(dtype=float)
    n, worst = len(values), int(np.abs(values - values.mean()).argmax())
    others = np.delete(values, worst)
    gap = abs(values[worst] - others.mean())
    if gap < FOLD_GAP * abs(others.mean()):
        return None
    spread = others.std(ddof=1) * math.sqrt(1 + 1 / (n - 1))
    p = 2 * n * float(stats.t.sf(gap / spread, n - 2)) if spread > 1e-12 else 0.0
    if p >= FOLD_ALPHA:
        return None
    repeat, fold = (int(table[name].iloc[worst]) for name in ("repeat", "fold"))
    return RunCheck(
        "unlike_fold",
        f"fold {fold} of repeat {repeat} has {values[worst]:.4f} {_metric_words(run)}, the others "
        f"{others.min():.4f} to {others.max():.4f}",
        "its customers differ from the rest, or something went wrong there; the mean over folds "
        "hides both",
        "look at the customers of that fold in predictions.parquet; are rows in groups that "
        "evaluation.group should keep together?",
    )


def undefined_folds(run: Readings) -> RunCheck | None:
    """The metric that ranks is not defined on some folds."""
    if run.scores is None:
        return None
    own = run.scores[run.scores["metric"] == run.manifest.get("metric")]["value"]
    n = int(own.isna().sum())
    if not n:
        return None
    return RunCheck(
        "undefined_folds",
        f"{_metric_words(run)} is not defined on {n} of {len(own)} folds",
        "there is no figure to judge it by"
        if n == len(own)
        else "the mean is that of the other folds, which are the ones where the model did its work",
        "look at the sizes of the segments in those folds; fewer folds have more customers each",
    )


# A share of its customers that guessing would beat in any number of segments one can look at.
NEVER_RECALL = 0.02
# Of fewer customers a recall of 0 is bad luck.
NEVER_CUSTOMERS = 10


def segment_never_predicted(run: Readings) -> RunCheck | None:
    """The model hardly ever names a known segment."""
    table = run.predictions
    if table is None or run.manifest.get("task") != "classification":
        return None
    right = (table["true"] == table["predicted"]).groupby(table["true"]).agg(["mean", "size"])
    repeats = max(1, int(table["repeat"].nunique()))
    missed = right[(right["mean"] < NEVER_RECALL) & (right["size"] >= NEVER_CUSTOMERS * repeats)]
    if missed.empty:
        return None
    names = [
        f"{quoted(name)} ({int(size) // repeats:,} customers, {mean:.1%} found)"
        for name, mean, size in missed.itertuples()
    ]
    return RunCheck(
        "segment_never_predicted",
        f"of held-out customers the model hardly ever finds {listed(names)}",
        "for these segments the model is of no use, whatever its mean over all customers says",
        "rank by balanced_accuracy or f1_macro, or weigh the segments "
        "(model.estimator.class_weight=balanced where there is one)",
    )


# Five points beyond chance: a stated 80% is 75% or 85% on average.
CALIBRATION_GAP = 0.05


def poor_calibration(run: Readings) -> RunCheck | None:
    """Stated probabilities are far from the shares that come true.

    Even perfect probabilities have a calibration error (Guo et al. 2017, ICML), because a bin
    holds few customers: at most ``0.4 sqrt(bins / n)`` on average, from the mean absolute
    deviation of a normal share. What exceeds it by 5 points is said.
    """
    error, n = held_out_mean(run, "calibration_error"), _fold_size(run)
    if not error > CALIBRATION_GAP + 0.4 * math.sqrt(N_BINS / max(n, 1)):
        return None
    return RunCheck(
        "poor_calibration",
        f"probabilities are {100 * error:.0f} points off on average (held out)",
        "who acts on a stated probability, by a threshold or an expected value, is misled by so "
        "much; the ranking of customers may still be good",
        "use the segments and not the probabilities, or a model with calibrated ones "
        "(logistic_regression), or tune by evaluation.metric=log_loss",
    )


def search_findings(run: Readings) -> list[RunCheck]:
    """Pass on what the search's own checks said, as the run has stored it."""
    stored = run.manifest.get("checks")
    return [
        RunCheck(
            str(check["code"]),
            word(check.get("message")),
            SEARCH_EXPLANATIONS[str(check["code"])],
            word(check.get("advice") or ""),
        )
        for check in (stored if isinstance(stored, list) else [])
        if isinstance(check, Mapping) and str(check.get("code")) in SEARCH_EXPLANATIONS
    ]


SEARCH_EXPLANATIONS = {
    "edge_of_range": "the best value may lie where the search was not allowed to look",
    "no_effect": "trials are spent on what changes nothing",
    "unstable_choice": "which value is best depends on the customers that happen to be in a fold",
    "not_better_than_default": "the search cost its time and may have found nothing but luck",
    "selection_optimism": "the search fitted the folds that it chose on: the model is worse on "
    "customers that took no part in the choice, and the figure to cite is the held-out one",
    "still_improving": "the search ended before it had found what there is to be found",
    "constraint_missed": "what was chosen is not what was asked for",
    "many_failures": "the budget went into trials without a score, and a part of the space was "
    "not seen",
}


# ---- leaks --------------------------------------------------------------------------------------

# So sure is nobody of customers without having been told.
LEAK_ACCURACY = 0.95
# Nearly all of what the model knows comes from this column.
LEAK_SHARE = 0.8


def leak_suspected(run: Readings) -> RunCheck | None:
    """One column explains nearly everything, and the model is nearly always right."""
    shares = _permutation_shares(run)
    accuracy = held_out_mean(run, "accuracy")
    if shares is None or len(shares) < 2 or not accuracy >= LEAK_ACCURACY:
        return None
    if shares.iloc[0] < LEAK_SHARE:
        return None
    name = str(shares.index[0])
    return RunCheck(
        "leak_suspected",
        f"column {quoted(name)} alone carries {shares.iloc[0]:.0%} of the permutation importance, "
        f"and the accuracy is {accuracy:.1%}",
        "such a column often is the answer in other words: made from the segment, or known only "
        "after it; for customers whose segment is not known yet it will be missing",
        f"find out when and how {quoted(name)} comes about; leave it out: dataset.ignore",
    )


# Nearly every customer has a value of their own, as names and numbers have.
ID_UNIQUE = 0.95
# Such a column has no business in a model; below this it does little harm.
ID_IMPORTANCE = 0.05
ID_ROWS = 50  # of fewer customers text can be all different by chance
ID_ORDER = 0.99  # rank correlation with the order of the rows


def id_like_feature(run: Readings) -> RunCheck | None:
    """A feature is a name or a running number, and the model uses it."""
    sample = run.sample
    if sample is None or len(sample) < ID_ROWS:
        return None
    shares = _permutation_shares(run)
    names = [
        str(name)
        for name in sample.columns
        if name not in ("row", "id", "target")
        and _is_like_id(sample[name], sample["row"])
        and (shares is None or shares.get(name, 0.0) >= ID_IMPORTANCE)
    ]
    if not names:
        return None
    return RunCheck(
        "id_like_feature",
        f"{listed(names)} {'looks' if len(names) == 1 else 'look'} like an id: a value of its own "
        f"for nearly every customer"
        + (f", in a sample of {len(sample):,}" if len(sample) < n_customers(run) else ""),
        "an id says nothing of a new customer; a running number says when a row was written, and "
        "leaks whatever came in that order",
        f"say dataset.id={names[0]!r}, or dataset.ignore",
    )


def _is_like_id(column: pd.Series[Any], rows: pd.Series[Any]) -> bool:
    import pandas as pd

    values = column.dropna()
    if len(values) < ID_ROWS or values.nunique() < ID_UNIQUE * len(values):
        return False
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return False
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return True
    if not (values == values.round()).all():
        return False
    order = float(values.rank().corr(rows.loc[values.index].rank()))
    return abs(order) >= ID_ORDER


# ---- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lead:
    """What a run gained over its strongest baseline."""

    name: str
    words: str  # what the run's own model is called
    metric: str
    own: float
    other: float
    gains: NDArray[np.float64]  # by fold, positive where the run is better
    test_to_train: float


def _strongest_baseline(run: Readings) -> _Lead | None:
    own, all_ = _fold_table(run, run.scores), run.baselines
    if own is None or all_ is None:
        return None
    metric = metric_by_name(str(run.manifest.get("metric")))
    sign = 1 if metric.greater_is_better else -1
    leads = []
    for name, part in all_.groupby("baseline", sort=True):
        other = _fold_table(run, part)
        if name == run.manifest.get("model") or other is None:
            continue
        both = own.merge(other, on=["repeat", "fold"], suffixes=("", "_other"))
        if both.empty:
            continue
        gains = sign * (both["value"] - both["value_other"]).to_numpy(dtype=float)
        leads.append(
            _Lead(
                str(name),
                word(run.manifest.get("model")),
                metric.label,
                float(both["value"].mean()),
                float(both["value_other"].mean()),
                gains,
                test_to_train(run),
            )
        )
    return min(leads, key=lambda lead: float(lead.gains.mean()), default=None)


def _fold_table(run: Readings, scores: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the folds on which the metric that ranks is defined."""
    if scores is None:
        return None
    own = scores[scores["metric"] == run.manifest.get("metric")]
    own = own[["repeat", "fold", "value"]].dropna()
    return own if len(own) else None


def _fold_size(run: Readings) -> float:
    """Return how many customers a fold judges; NaN if that is not known."""
    to_train = test_to_train(run)
    return n_customers(run) * to_train / (1 + to_train)


def _permutation_shares(run: Readings) -> pd.Series[float] | None:
    """Return what part of the permutation importance each column has, the largest first."""
    if run.importance is None:
        return None
    own = run.importance[run.importance["kind"] == "permutation"]
    values = own.set_index("feature")["mean"].clip(lower=0).dropna()
    total = values.sum()
    return (values / total).sort_values(ascending=False) if total > 0 else None


def _metric_words(run: Readings) -> str:
    return metric_by_name(str(run.manifest.get("metric"))).label


CHECKS: tuple[Check, ...] = (
    single_split,
    small_folds,
    worse_than_baseline,
    not_separable_from_baseline,
    unlike_fold,
    undefined_folds,
    segment_never_predicted,
    poor_calibration,
    search_findings,
    leak_suspected,
    id_like_feature,
)
