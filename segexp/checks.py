"""What is suspicious about a run: small functions that look at what it left.

Each is called as the code of its :class:`RunCheck`, and returns one, several or None. A check that
lacks what it needs is silent: it says nothing of a run that it cannot judge. Thresholds are named
and give their reason; ``docs/checks.md`` says of every code what makes it speak and what to do.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata as packages
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from segexp import __version__
from segexp.comparison import paired
from segexp.data.findings import counted
from segexp.errors import ConfigError, did_you_mean
from segexp.metrics import N_BINS, metric_by_name
from segexp.runs import COMPLETED, FINAL

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

NOISE = "noise"


@dataclass(frozen=True)
class RunCheck:
    """One finding about a run.

    Attributes
    ----------
    code : str
        Stable, and documented in ``docs/checks.md``.
    message : str
        What was seen, with its figures.
    explanation : str
        Why it matters.
    advice : str
        What one may do; may be empty.
    """

    code: str
    message: str
    explanation: str
    advice: str


class Readings(Protocol):
    """What checks read of a run; everything but the manifest is None where there is none.

    :class:`segexp.report.source.Source` is one. Nothing in it is trusted.
    """

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run is, and how it went."""

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The full config, nested."""

    @property
    def summary(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Metric -> mean, std, interval, n."""

    @property
    def scores(self) -> pd.DataFrame | None:
        """``repeat, fold, metric, value``."""

    @property
    def baselines(self) -> pd.DataFrame | None:
        """``baseline, repeat, fold, metric, value``."""

    @property
    def predictions(self) -> pd.DataFrame | None:
        """One row per customer and repeat."""

    @property
    def importance(self) -> pd.DataFrame | None:
        """``kind, feature, mean, std``."""

    @property
    def sample(self) -> pd.DataFrame | None:
        """``row``, ``id``, the features of some customers, ``target`` if known."""

    @property
    def segmentation(self) -> Mapping[str, Any] | None:
        """In-sample figures, stability and verdict on k of a clusterer."""

    @property
    def segments(self) -> pd.DataFrame | None:
        """``segment, n, share`` and a profile."""

    @property
    def k_table(self) -> pd.DataFrame | None:
        """The criteria of the number of segments, by rows and k."""

    @property
    def rfm(self) -> pd.DataFrame | None:
        """Customers, orders and revenue of each RFM segment."""

    @property
    def value(self) -> Mapping[str, Any] | None:
        """A value model's parameters and convergence, and what the holdout says."""

    @property
    def baskets(self) -> Mapping[str, Any] | None:
        """Counts and notes of a search for association rules."""


Check: TypeAlias = "Callable[[Readings], RunCheck | Sequence[RunCheck] | None]"


def check_run(run: Readings, muted: Collection[str] = ()) -> tuple[RunCheck, ...]:
    """Run every check.

    Parameters
    ----------
    run : Readings
        Such as ``Source.open(path)`` of :mod:`segexp.report.source`.
    muted : collection of str
        Codes that are left out.

    Returns
    -------
    tuple of RunCheck
        In the order of ``docs/checks.md``.

    Raises
    ------
    ConfigError
        If a muted code does not exist.
    """
    check_codes(muted)
    found = [spoken for check in CHECKS for spoken in _spoken(check, run)]
    return tuple(spoken for spoken in found if spoken.code not in muted)


def check_codes(codes: Collection[str]) -> None:
    """Check that codes exist.

    Raises
    ------
    ConfigError
        Names the first that does not, and one that is meant perhaps.
    """
    for code in codes:
        if code not in CODES:
            raise ConfigError(
                f"there is no check {code!r}{did_you_mean(code, CODES)}; see docs/checks.md"
            )


def _spoken(check: Check, run: Readings) -> Iterator[RunCheck]:
    try:
        found = check(run)
    except Exception as error:  # a run from elsewhere may hold anything
        logger.debug("check %s", check.__name__, exc_info=True)
        found = RunCheck(
            "not_checked",
            f"the check {check.__name__} could not read this run ({type(error).__name__})",
            "a file of the run directory is damaged, or was written by another segexp, so that "
            "this check can say neither yes nor no",
            "compare the files with those of a fresh run of the same config",
        )
    if found is not None:
        yield from [found] if isinstance(found, RunCheck) else found


# ---- how the run went --------------------------------------------------------------------------


def unfinished(run: Readings) -> RunCheck | None:
    """The run did not come to its end."""
    status = run.manifest.get("status")
    if status == COMPLETED:
        return None
    return RunCheck(
        "unfinished",
        f"the run is {_word(status)}, not {COMPLETED}",
        "what is shown comes from the folds that were finished, which need not be like the others",
        "go on with it: segexp resume DIR",
    )


def run_warning(run: Readings) -> list[RunCheck]:
    """The run itself left a warning, such as a model that could not be saved."""
    texts = run.manifest.get("warnings")
    return [
        RunCheck(
            "run_warning",
            _word(text),
            "the run was not able to do all that was asked for",
            "",
        )
        for text in (texts if isinstance(texts, list) else [])
    ]


def dirty_environment(run: Readings) -> RunCheck | None:
    """The folder that the run was started in had changes that no commit holds."""
    git = run.manifest.get("git")
    if not isinstance(git, Mapping) or git.get("dirty") is not True:
        return None
    return RunCheck(
        "dirty_environment",
        f"the working folder had changes beyond commit {_word(git.get('commit'))[:12]}",
        "the code or the configuration that made these figures cannot be had back from the commit",
        "commit first, then run again, where the figures are to be cited",
    )


# What a saved model depends on; other versions may read it in another way.
MODEL_LIBRARIES = ("scikit-learn", "lightgbm", "xgboost", "xgboost-cpu")


def other_versions(run: Readings) -> RunCheck | None:
    """Libraries here differ from those of the run in the first two numbers of their version."""
    then = run.manifest.get("versions")
    if not isinstance(then, Mapping):
        return None
    others = []
    for library in ("segexp", *MODEL_LIBRARIES):
        before, now = then.get(library), _installed(library)
        if before and now and _major_minor(before) != _major_minor(now):
            others.append(f"{library} {_word(before)} (here {now})")
    if not others:
        return None
    return RunCheck(
        "other_versions",
        f"the run was made with {', '.join(others)}",
        "another version may compute other figures from the same config, and may read the saved "
        "model in another way",
        "repeat the run here, or install the versions that manifest.json lists",
    )


# ---- the data ----------------------------------------------------------------------------------


def synthetic_data(run: Readings) -> RunCheck | None:
    """The customers were made by a generator."""
    if _dataset(run).get("synthetic") is not True:
        return None
    return RunCheck(
        "synthetic_data",
        f"the customers of {_word(_dataset(run).get('name'))} are synthetic",
        "they hold the structure that somebody put into them: figures on them show that the "
        "software works, and say nothing about any market",
        "do not decide anything about real customers by this run",
    )


def other_file(run: Readings) -> RunCheck | None:
    """A file differs from the published one by its checksum."""
    found = _findings(run, "checksum")
    if not found:
        return None
    return RunCheck(
        "other_file",
        "; ".join(_word(finding.get("message")) for finding in found),
        "figures of this run do not compare with figures that others made on the published file",
        "fetch the published file again, or give your table a dataset config of its own",
    )


def row_order(run: Readings) -> RunCheck | None:
    """Rows come from a database in no fixed order."""
    found = _findings(run, "row_order")
    if not found:
        return None
    return RunCheck(
        "row_order",
        "the rows of the database come in no fixed order",
        "folds are dealt by the order of the rows, so that the same query may give other folds",
        "name dataset.id for a table, or say ORDER BY in dataset.query",
    )


def constant_columns(run: Readings) -> RunCheck | None:
    """Columns hold one value."""
    found = _findings(run, "constant")
    if not found:
        return None
    return RunCheck(
        "constant_columns",
        "; ".join(_word(finding.get("message")) for finding in found),
        "such a column tells no customers apart; often a filter or a join went wrong before",
        "find out why, or leave the column out: dataset.ignore",
    )


# From one row in a hundred on, copies move a share by as much as a reader takes for a difference.
DUPLICATE_SHARE = 0.01


def duplicate_rows(run: Readings) -> RunCheck | None:
    """Rows that are equal in every column were kept."""
    kept = [f for f in _findings(run, "duplicate_rows") if _word(f.get("message")).endswith("kept")]
    n, n_rows = _count(kept), _n_rows(run)
    if not n or not n >= DUPLICATE_SHARE * n_rows:
        return None
    return RunCheck(
        "duplicate_rows",
        f"{counted(n, 'row')} of {n_rows:,} {'equals' if n == 1 else 'equal'} an earlier one in "
        f"every column, and {'was' if n == 1 else 'were'} kept",
        "a copy in the training rows gives the answer of its twin among the held-out rows, and "
        "clusterers take copies for a dense place",
        "say dataset.duplicate_rows=drop if they are copies and not customers",
    )


def same_customer(run: Readings) -> RunCheck | None:
    """Rows are judged by a model that was trained on another row of the same customer."""
    n = _count(_findings(run, "same_customer"))
    if not n:
        return None
    return RunCheck(
        "same_customer",
        f"{counted(n, 'row')} of {_n_rows(run):,} {'is' if n == 1 else 'are'} judged while another "
        f"row of the same customer is among the training rows",
        "the model may know the customer and not the rule, so that the held-out figures flatter it",
        "keep the rows of a customer together: evaluation.group=ID, or dataset.duplicate_ids=first",
    )


# Of few features some customers are alike by chance, and are no leak; from a twentieth of all on
# they move an accuracy by more than its usual standard error.
TWIN_SHARE = 0.05


def twins(run: Readings) -> RunCheck | None:
    """Many customers equal a training customer in every feature."""
    n, n_rows = _count(_findings(run, "twins")), _n_rows(run)
    if not n or not n >= TWIN_SHARE * n_rows:
        return None
    return RunCheck(
        "twins",
        f"{counted(n, 'customer')} of {n_rows:,} ({n / n_rows:.0%}) equal a training customer in "
        f"every feature",
        "on them a model that remembers does as well as one that understands; copies in the table "
        "are a leak, while few features that many share are not",
        "look whether they are copies; then dataset.duplicate_rows=drop, or evaluation.group",
    )


# Fewer customers with several records may differ by a slip of the pen here and there.
REPEATED_CUSTOMERS = 10
# Of a tenth with two labels, no model can be right about a twentieth of the records.
CONTRADICTION_SHARE = 0.10


def contradictory_labels(run: Readings) -> RunCheck | None:
    """Customers who occur more than once have different known segments."""
    records = _repeated_records(run)
    if records is None:
        return None
    differs = records.groupby("id", sort=False)["true"].nunique() > 1
    n, n_differ = len(differs), int(differs.sum())
    if n < REPEATED_CUSTOMERS or n_differ < CONTRADICTION_SHARE * n:
        return None
    files = _dataset(run).get("files")
    stacked = isinstance(files, list) and len(files) > 1
    return RunCheck(
        "contradictory_labels",
        f"{n_differ:,} of the {n:,} customers with several records ({n_differ / n:.0%}) have "
        f"different known segments in them"
        + (f"; {len(files or [])} files were stacked" if stacked else ""),
        "one of the labels is wrong, or they mean different things: the figures measure the "
        "disagreement of the labels as much as the model",
        "trust one source of labels, and drop the other file"
        if stacked
        else "keep one record of each customer: dataset.duplicate_ids=first or last",
    )


# Of fewer customers shares differ by ten points now and then without a reason.
DRIFT_CUSTOMERS = 100
# Half the sum of the differences of shares: so many customers would have to change their label.
DRIFT = 0.10


def label_drift(run: Readings) -> RunCheck | None:
    """Customers who occur more than once have other labels in their last record than before."""
    records = _repeated_records(run)
    if records is None:
        return None
    ends = records.groupby("id", sort=False)["true"].agg(["first", "last"])
    if len(ends) < DRIFT_CUSTOMERS:
        return None
    before = ends["first"].value_counts(normalize=True)
    after = ends["last"].value_counts(normalize=True)
    change = after.sub(before, fill_value=0).sort_index()
    drift = float(change.abs().sum()) / 2
    if drift < DRIFT:
        return None
    name = str(change.abs().idxmax())
    return RunCheck(
        "label_drift",
        f"of {len(ends):,} customers with several records {before.get(name, 0):.0%} are {name!r} "
        f"in the first and {after.get(name, 0):.0%} in the last one; {drift:.0%} of the labels "
        f"moved in all",
        "the records were labelled by different rules, or at different times; a random split mixes "
        "them, and hides what a model would meet in the next file",
        "judge by source: train on one file and predict the other, and do not stack them",
    )


# A model that says the largest segment of everybody is right so often.
MAJORITY_SHARE = 0.7
# Never to name so small a segment costs less accuracy than folds differ by.
MINORITY_SHARE = 0.05


def imbalanced_accuracy(run: Readings) -> RunCheck | None:
    """Models are ranked by accuracy although the segments are of very different sizes."""
    sizes = run.manifest.get("segments")
    if run.manifest.get("metric") != "accuracy" or not isinstance(sizes, Mapping):
        return None
    counts = {str(name): _number(n) for name, n in sizes.items() if _number(n) > 0}
    total = sum(counts.values())
    if len(counts) < 2:
        return None
    large, small = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    shares = counts[large] / total, counts[small] / total
    if shares[0] < MAJORITY_SHARE and shares[1] >= MINORITY_SHARE:
        return None
    return RunCheck(
        "imbalanced_accuracy",
        f"accuracy ranks, while {large!r} holds {shares[0]:.0%} of the customers and {small!r} "
        f"{shares[1]:.1%}",
        "to name the largest segment always looks good by accuracy, and a small segment may be "
        "missed altogether without a trace in it",
        "rank by evaluation.metric=balanced_accuracy, f1_macro or mcc",
    )


# ---- the judging -------------------------------------------------------------------------------


def single_split(run: Readings) -> RunCheck | None:
    """There is one split, and so no spread over folds."""
    split = _mapping(run.manifest.get("split"))
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
        f"{found.words} is not better than the baseline {found.name}: {found.own:.4f} and "
        f"{found.other:.4f} {found.metric} on the same held-out folds",
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
        f"{found.words} leads the baseline {found.name} by {abs(found.gains.mean()):.4f} "
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
        "the mean is that of the other folds, which are the ones where the model did its work",
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
    names = ", ".join(
        f"{name!r} ({int(size) // repeats:,} customers, {mean:.1%} found)"
        for name, mean, size in missed.itertuples()
    )
    return RunCheck(
        "segment_never_predicted",
        f"of held-out customers the model hardly ever finds {names}",
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
    error, n = _mean(run, "calibration_error"), _fold_size(run)
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
            _word(check.get("message")),
            _SEARCH_EXPLANATIONS[str(check["code"])],
            _word(check.get("advice") or ""),
        )
        for check in (stored if isinstance(stored, list) else [])
        if isinstance(check, Mapping) and str(check.get("code")) in _SEARCH_EXPLANATIONS
    ]


_SEARCH_EXPLANATIONS = {
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


# ---- leaks -------------------------------------------------------------------------------------

# So sure is nobody of customers without having been told.
LEAK_ACCURACY = 0.95
# Nearly all of what the model knows comes from this column.
LEAK_SHARE = 0.8


def leak_suspected(run: Readings) -> RunCheck | None:
    """One column explains nearly everything, and the model is nearly always right."""
    shares = _permutation_shares(run)
    accuracy = _mean(run, "accuracy")
    if shares is None or len(shares) < 2 or not accuracy >= LEAK_ACCURACY:
        return None
    if shares.iloc[0] < LEAK_SHARE:
        return None
    name = str(shares.index[0])
    return RunCheck(
        "leak_suspected",
        f"column {name!r} alone carries {shares.iloc[0]:.0%} of the permutation importance, and "
        f"the accuracy is {accuracy:.1%}",
        "such a column often is the answer in other words: made from the segment, or known only "
        "after it; for customers whose segment is not known yet it will be missing",
        f"find out when and how {name!r} comes about; leave it out: dataset.ignore",
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
        f"{_listed(names)} {'looks' if len(names) == 1 else 'look'} like an id: a value of its own "
        f"for nearly every customer"
        + (f", in a sample of {len(sample):,}" if len(sample) < _n_rows(run) else ""),
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


# ---- segments ----------------------------------------------------------------------------------


def unusable_segmentation(run: Readings) -> RunCheck | None:
    """The folds did not keep to evaluation.constraints."""
    missed = run.manifest.get("constraints_missed")
    if not isinstance(missed, list) or not missed:
        return None
    return RunCheck(
        "unusable_segmentation",
        "; ".join(map(_word, missed)),
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
    return RunCheck(
        "giant_segment",
        f"segment {largest['segment']!r} holds {largest['share']:.0%} of all customers",
        "the others are outliers cut off one by one, which single linkage and density methods do "
        "to data without gaps; indices such as the silhouette praise it",
        "try kmeans, ward or gaussian_mixture, limit outliers before (dataset.rules), or bound "
        "evaluation.constraints.largest_share.max",
    )


# The bound of evaluation.constraints as it is shipped.
TINY_SHARE = 0.02
# Of fewer no mean and no rate can be told from that of all.
TINY_CUSTOMERS = 10


def tiny_segments(run: Readings) -> RunCheck | None:
    """Segments hold very few customers."""
    table = _own_segments(run)
    if table is None or len(table) < 2:
        return None
    tiny = table[(table["share"] < TINY_SHARE) | (table["n"] < TINY_CUSTOMERS)]
    if tiny.empty:
        return None
    names = [f"{row.segment!r} ({row.n:,})" for row in tiny.itertuples()]
    return RunCheck(
        "tiny_segments",
        f"{counted(len(tiny), 'segment')} of {len(table)} "
        f"{'has' if len(tiny) == 1 else 'have'} less than {TINY_SHARE:.0%} of the customers or "
        f"fewer than {TINY_CUSTOMERS}: {_listed(names)}",
        "too few for a campaign of their own and for a mean that holds next month",
        "ask for fewer segments, or bound evaluation.constraints.smallest_share.min",
    )


def single_segment(run: Readings) -> RunCheck | None:
    """There are fewer than two segments."""
    n = _number(_at(run.segmentation, "n_segments"))
    if not n < 2:
        return None
    return RunCheck(
        "single_segment",
        f"the final model found {counted(int(n), 'segment')}",
        "nobody is told apart",
        "loosen what makes a segment (eps, min_samples, min_cluster_size), or scale the features",
    )


# A tenth of the customers gets no segment, and so no treatment.
NOISE_SHARE = 0.10


def much_noise(run: Readings) -> RunCheck | None:
    """Many customers are in no segment."""
    share = _number(_at(run.segmentation, "in_sample", "noise_share"))
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


# Hennig, in the manual of R's fpc: below it one should not trust a cluster.
JACCARD = 0.6


def unstable_segments(run: Readings) -> RunCheck | None:
    """Segments do not come back from resampled customers (Hennig 2007, CSDA 52:258-271)."""
    found = _mapping(_at(run.segmentation, "stability", "jaccard"))
    low = {str(name): _number(value) for name, value in found.items() if _number(value) < JACCARD}
    if not low:
        return None
    names = [f"{name!r} ({value:.2f})" for name, value in sorted(low.items(), key=lambda x: x[1])]
    return RunCheck(
        "unstable_segments",
        f"{len(low)} of {counted(len(found), 'segment')} {'comes' if len(low) == 1 else 'come'} "
        f"back with a Jaccard similarity below {JACCARD:g}: {_listed(names)}",
        "with slightly other customers these segments would not exist, so that who is in them is "
        "an accident of this table",
        "ask for fewer segments, or merge these with their neighbours",
    )


# Steinley (2004, Psychological Methods 9:386-396): an adjusted Rand index below it is poor.
REPRODUCIBLE = 0.65


def segments_not_reproducible(run: Readings) -> RunCheck | None:
    """The pipeline, refitted on resampled customers, finds other segments."""
    ari = _number(_at(run.segmentation, "stability", "ari"))
    n = _number(_at(run.segmentation, "stability", "n_resamples"))
    if not ari < REPRODUCIBLE:
        return None
    return RunCheck(
        "segments_not_reproducible",
        f"refitted on {n:.0f} bootstrap samples, the pipeline agrees with the segments by an "
        f"adjusted Rand index of {ari:.2f}",
        "somebody who repeats the study with other customers of the same kind gets other segments",
        "choose k by stability (search=k), use fewer or better scaled features, or more starts "
        "(model.estimator.n_init=50)",
    )


# Most folds should say what all customers say.
FOLDS_AGREE = 0.5


def folds_disagree_on_k(run: Readings) -> RunCheck | None:
    """Most folds found another number of segments than the final model has."""
    final = _number(_at(run.segmentation, "n_segments"))
    if run.scores is None or math.isnan(final):
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
    verdict = _mapping(_at(run.segmentation, "k", FINAL))
    kind = verdict.get("kind")
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
    verdict = _mapping(_at(run.segmentation, "k", FINAL))
    best, final = _number(verdict.get("best")), _number(_at(run.segmentation, "n_segments"))
    if verdict.get("kind") != "natural" or math.isnan(best) or not abs(final - best) >= 1:
        return None
    return RunCheck(
        "k_against_criteria",
        f"the model has {final:.0f} segments, the criteria choose {best:.0f}",
        "segments beyond the natural ones cut them into pieces that need not come back",
        f"say model.estimator.n_clusters={best:.0f} or search=k, or keep your number for a reason "
        f"of your own",
    )


# So many of the criteria would like more segments than were tried.
EDGE_SHARE = 0.5


def k_at_edge(run: Readings) -> RunCheck | None:
    """The criteria would go beyond the numbers of segments that were measured."""
    verdict, table = _mapping(_at(run.segmentation, "k", FINAL)), run.k_table
    choices = verdict.get("choices")
    if table is None or not isinstance(choices, list) or not choices:
        return None
    most = _number(table.loc[table["rows"] == FINAL, "k"].max())
    beyond = sum(
        _word(_mapping(choice).get("reason")).startswith(("still better", "still rising"))
        for choice in choices
    )
    if verdict.get("best") != most and beyond < EDGE_SHARE * len(choices):
        return None
    return RunCheck(
        "k_at_edge",
        f"{beyond} of {len(choices)} criteria are still getting better at {most:.0f} segments, the "
        f"most that were measured; the verdict is {_word(verdict.get('best'))}",
        "the best number may lie where nobody looked",
        f"measure more: evaluation.k_max={2 * most:.0f}",
    )


# Kaufman and Rousseeuw (1990), Finding Groups in Data: up to here, no substantial structure.
SILHOUETTE = 0.25


def weak_structure(run: Readings) -> RunCheck | None:
    """The held-out silhouette is that of data without structure."""
    value = _mean(run, "silhouette")
    if run.manifest.get("task") != "clustering" or not value <= SILHOUETTE:
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
    inside, table = _number(_at(run.segmentation, "in_sample", "silhouette")), run.scores
    if table is None or math.isnan(inside):
        return None
    values = table[table["metric"] == "silhouette"]["value"].dropna().to_numpy(dtype=float)
    if len(values) < 2:
        return None
    error = math.sqrt(1 / len(values) + _test_to_train(run)) * float(values.std(ddof=1))
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
    share = _mean(run, "unlike_share")
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
    agreement = _number(_at(run.segmentation, "assignment", "agreement"))
    rule = _at(run.segmentation, "assignment", "rule")
    if not agreement < AGREEMENT:
        return None
    return RunCheck(
        "assignment_disagrees",
        f"new customers get their segment by {_word(rule).replace('_', ' ')}, which agrees with "
        f"the segments of {agreement:.0%} of the fitted customers",
        "segments of new customers are other ones than the report describes",
        "use a clusterer with a rule of its own (kmeans, gaussian_mixture), or fewer segments",
    )


# More than the other columns have together, several times over.
DECIDING_SHARE = 0.8


def one_feature_decides(run: Readings) -> RunCheck | None:
    """One feature makes up nearly all of the distance between customers."""
    table = run.importance
    if run.manifest.get("task") != "clustering" or table is None:
        return None
    own = table[table["kind"] == "model"]
    if len(own) < 3 or own["mean"].max() < DECIDING_SHARE:
        return None
    top = own.iloc[int(own["mean"].to_numpy().argmax())]
    return RunCheck(
        "one_feature_decides",
        f"{top['feature']!r} makes up {top['mean']:.0%} of the distance between customers",
        "the segments are bins of this feature; the others have no say, mostly because they are in "
        "smaller units",
        "scale the features (preprocessing=standard), or take its logarithm",
    )


# ---- purchases, value and baskets --------------------------------------------------------------

# Below it Klaviyo shows no RFM report: fifths of fewer customers are too small to compare.
RFM_CUSTOMERS = 500
# And a shorter log shows those who buy seldom as having left.
RFM_DAYS = 180


def too_few_customers_for_rfm(run: Readings) -> RunCheck | None:
    """The log is too small, or too short, for scores of recency, frequency and value."""
    if run.rfm is None:
        return None
    log, n, short = _mapping(_dataset(run).get("log")), int(run.rfm["customers"].sum()), []
    if n < RFM_CUSTOMERS:
        short.append(f"{n:,} customers (about {RFM_CUSTOMERS:,} are needed)")
    days = _days(log.get("first"), log.get("last"))
    if days < RFM_DAYS:
        short.append(f"{days:.0f} days (about {RFM_DAYS} are needed)")
    if not short:
        return None
    return RunCheck(
        "too_few_customers_for_rfm",
        f"the log holds only {' and '.join(short)}",
        "a fifth of few customers is a handful, and in a short log a customer who buys seldom "
        "looks like one who left",
        "use a longer log, or fewer scores (dataset.transactions and n_scores of the map)",
    )


def value_not_converged(run: Readings) -> RunCheck | None:
    """The optimiser of a value model did not come to its end."""
    found = _mapping(run.value)
    failed = [name for name in ("purchases", "spend") if _at(found, name, "converged") is False]
    folds = [
        _word(note) for note in _texts(found.get("notes")) if "did not converge" in _word(note)
    ]
    if not failed and not folds:
        return None
    said = [f"the final model of {' and '.join(failed)} did not converge"] if failed else []
    return RunCheck(
        "value_not_converged",
        "; ".join([*said, *folds]),
        "its parameters are where the optimiser stopped and not the most likely ones; expected "
        "purchases and their standard errors mean little",
        "use more customers or a longer log, leave out extreme customers, or another model",
    )


# A fifth: budgets that are planned on the total miss by as much.
TOTAL_BIAS = 0.2


def biased_total(run: Readings) -> RunCheck | None:
    """Expected purchases or spend are in sum far from what happened in the holdout."""
    holdout = _mapping(_at(run.value, "holdout"))
    gaps = {}
    for what in ("purchases", "spend"):
        expected, actual = (_number(holdout.get(f"{by}_{what}")) for by in ("predicted", "actual"))
        if actual > 0 and abs(expected / actual - 1) >= TOTAL_BIAS:
            gaps[what] = expected / actual - 1
    if not gaps:
        return None
    words = " and ".join(f"{what} by {gap:+.0%}" for what, gap in gaps.items())
    return RunCheck(
        "biased_total",
        f"the expected totals of held-out customers miss what happened: {words}",
        "the order of the customers may be right, but a budget that rests on the sum is not",
        "look for a season or a campaign in the holdout period; use a longer calibration period",
    )


# The spend model supposes 0; Fader, Hardie and Lee (2005, JMR 42:415-430) take 0.06 for harmless.
SPEND_CORRELATION = 0.3


def spend_depends_on_frequency(run: Readings) -> RunCheck | None:
    """Frequent customers spend more (or less) per purchase, which the spend model rules out."""
    found = _number(_at(run.value, "spend", "correlation_of_frequency_and_spend"))
    if not abs(found) >= SPEND_CORRELATION:
        return None
    return RunCheck(
        "spend_depends_on_frequency",
        f"frequency and mean spend correlate by {found:+.2f}",
        "the Gamma-Gamma model supposes that they are independent, so that it values frequent "
        f"customers too {'low' if found > 0 else 'high'}",
        "value the groups of customers apart, or read the values as an order only",
    )


# Four rules of five; the others were luck in the baskets that were mined.
RULES_KEPT = 0.8
# Ten points of confidence that a reader of the list would have counted on.
CONFIDENCE_DROP = 0.1


def rules_do_not_hold(run: Readings) -> RunCheck | None:
    """Association rules are weaker on baskets that they were not mined from."""
    kept, drop = _mean(run, "rules_kept"), _mean(run, "confidence_drop")
    if not (kept < RULES_KEPT or drop > CONFIDENCE_DROP):
        return None
    said = [f"{kept:.0%} of the rules reach min_confidence"] if not math.isnan(kept) else []
    said += [f"confidence drops by {drop:.2f}"] if not math.isnan(drop) else []
    return RunCheck(
        "rules_do_not_hold",
        f"on held-out baskets {' and '.join(said)}",
        "rules were found among very many candidates, and the strongest of them by luck",
        "raise model.estimator.min_support, or keep only the rules that every fold finds "
        "(n_folds_found in rules.csv)",
    )


def no_rules(run: Readings) -> RunCheck | None:
    """No association rule passes the thresholds."""
    if _number(_at(run.baskets, "n_rules")) != 0:
        return None
    return RunCheck(
        "no_rules",
        "no association rule passes the thresholds",
        "the baskets are too few or too small for them, or items are named too finely",
        _word(_at(run.baskets, "advice") or "lower model.estimator.min_support or min_confidence"),
    )


CHECKS: tuple[Check, ...] = (
    unfinished, run_warning, dirty_environment, other_versions,
    synthetic_data, other_file, row_order, constant_columns, duplicate_rows, same_customer, twins,
    contradictory_labels, label_drift, imbalanced_accuracy,
    single_split, small_folds, worse_than_baseline, not_separable_from_baseline, unlike_fold,
    undefined_folds, segment_never_predicted, poor_calibration, search_findings,
    leak_suspected, id_like_feature,
    unusable_segmentation, single_segment, giant_segment, tiny_segments, much_noise,
    unstable_segments, segments_not_reproducible, folds_disagree_on_k, no_natural_segments,
    k_against_criteria, k_at_edge, weak_structure, in_sample_optimism, unlike_customers,
    assignment_disagrees, one_feature_decides,
    too_few_customers_for_rfm, value_not_converged, biased_total, spend_depends_on_frequency,
    rules_do_not_hold, no_rules,
)  # fmt: skip

CODES: tuple[str, ...] = (
    *(check.__name__ for check in CHECKS if check is not search_findings),
    *_SEARCH_EXPLANATIONS,
    "not_checked",
)


# ---- reading -----------------------------------------------------------------------------------


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
                _word(run.manifest.get("model")),
                metric.label,
                float(both["value"].mean()),
                float(both["value_other"].mean()),
                gains,
                _test_to_train(run),
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


def _test_to_train(run: Readings) -> float:
    """Return customers who judge a fold by customers who are learned from."""
    split = _mapping(run.manifest.get("split"))
    share = _number(split.get("test_size"))  # recorded of a holdout alone
    if 0 < share < 1:
        return share / (1 - share)
    n = _number(split.get("n_splits"))
    return 1 / (n - 1) if n >= 2 else math.nan


def _fold_size(run: Readings) -> float:
    """Return how many customers a fold judges; NaN if that is not known."""
    to_train = _test_to_train(run)
    return _n_rows(run) * to_train / (1 + to_train)


def _permutation_shares(run: Readings) -> pd.Series[float] | None:
    """Return what part of the permutation importance each column has, the largest first."""
    if run.importance is None:
        return None
    own = run.importance[run.importance["kind"] == "permutation"]
    values = own.set_index("feature")["mean"].clip(lower=0).dropna()
    total = values.sum()
    return (values / total).sort_values(ascending=False) if total > 0 else None


def _repeated_records(run: Readings) -> pd.DataFrame | None:
    """Return id and known segment of the customers who occur more than once, in table order."""
    table = run.predictions
    if table is None or not {"row", "id", "true", "repeat"} <= set(table.columns):
        return None
    first = table[table["repeat"] == table["repeat"].min()].sort_values("row")
    repeated = first[first["id"].duplicated(keep=False)]
    return repeated[["id", "true"]] if len(repeated) else None


def _own_segments(run: Readings) -> pd.DataFrame | None:
    """Return the segments that a clusterer found, without noise."""
    if run.manifest.get("task") != "clustering" or run.segments is None:
        return None
    return run.segments[run.segments["segment"] != NOISE]


def _dataset(run: Readings) -> Mapping[str, Any]:
    return _mapping(run.manifest.get("dataset"))


def _findings(run: Readings, code: str) -> list[Mapping[str, Any]]:
    found = _dataset(run).get("findings")
    return [
        finding
        for finding in (found if isinstance(found, list) else [])
        if isinstance(finding, Mapping) and finding.get("code") == code
    ]


def _count(findings: Sequence[Mapping[str, Any]]) -> int:
    counts = [_number(finding.get("count")) for finding in findings]
    return int(sum(count for count in counts if math.isfinite(count)))


def _n_rows(run: Readings) -> int:
    return int(_number(_dataset(run).get("n_rows")))


def _mean(run: Readings, metric: str) -> float:
    return _number(_at(run.summary, metric, "mean"))


def _metric_words(run: Readings) -> str:
    return metric_by_name(str(run.manifest.get("metric"))).label


def _at(content: Any, *keys: str) -> Any:
    for key in keys:
        content = _mapping(content).get(key)
    return content


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _texts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _number(value: Any) -> float:
    """Return a number as float; NaN, which no comparison takes for anything, if it is none."""
    is_number = isinstance(value, int | float) or hasattr(value, "__float__")
    return math.nan if isinstance(value, bool) or not is_number else float(value)


_LONGEST = 300


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _days(first: Any, last: Any) -> float:
    import pandas as pd

    days = (pd.to_datetime(last, errors="coerce") - pd.to_datetime(first, errors="coerce")).days
    return _number(days)


def _installed(library: str) -> str | None:
    if library == "segexp":
        return __version__
    try:
        return packages.version(library)
    except packages.PackageNotFoundError:
        return None


def _major_minor(version: Any) -> list[str]:
    return re.split(r"[.+-]", str(version))[:2]
