"""Metrics of segment predictions: their names, their values, their intervals.

Everything is computed from stored predictions, so a new metric needs no new training.
Importing this module loads no scientific library: the command line lists the names from it.

One set of formulas serves a fold and a jackknife. A metric needs only a few sums over customers
(the confusion matrix, summed losses, pairs won), and the sums without a group of customers
follow from the total by subtraction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segexp.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.intp]
    Flags = NDArray[np.bool_]

N_BINS = 15  # of the calibration error, as in Guo et al. 2017
N_GROUPS = 20  # of the jackknife
TINY = 2.0**-52  # the smallest probability that log loss knows; costs 36.04


@dataclass(frozen=True)
class Metric:
    """One number per set of predictions, and how to read it.

    ``low`` and ``high`` are the ends of its range; intervals are clipped to them. ``of`` says
    what it needs: ``segments`` a known segment of each customer, ``clusters`` a clusterer,
    ``both`` a clusterer and known segments, ``value`` a model of customer value and what the
    customers did later, ``baskets`` association rules.
    """

    name: str
    label: str
    greater_is_better: bool
    needs_probabilities: bool
    description: str
    low: float = 0.0
    high: float = 1.0
    of: str = "segments"


METRICS: tuple[Metric, ...] = (
    Metric(
        "accuracy",
        "accuracy",
        greater_is_better=True,
        needs_probabilities=False,
        description="share of customers put into their own segment",
    ),
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        greater_is_better=True,
        needs_probabilities=False,
        description="mean recall over segments; each segment counts the same, however small",
    ),
    Metric(
        "f1_macro",
        "macro F1",
        greater_is_better=True,
        needs_probabilities=False,
        description="mean over segments of the F1 score",
    ),
    Metric(
        "log_loss",
        "log loss",
        greater_is_better=False,
        needs_probabilities=True,
        description="mean of -ln(probability of the true segment); punishes confident mistakes",
        high=math.inf,
    ),
    Metric(
        "roc_auc_ovr",
        "ROC AUC (one vs rest)",
        greater_is_better=True,
        needs_probabilities=True,
        description="mean over segments of the chance that a member is ranked above a non-member",
    ),
    Metric(
        "cohen_kappa",
        "Cohen's kappa",
        greater_is_better=True,
        needs_probabilities=False,
        description="agreement beyond chance; 0 for guessing in the right proportions",
        low=-1.0,
    ),
    Metric(
        "mcc",
        "MCC",
        greater_is_better=True,
        needs_probabilities=False,
        description="correlation of true and predicted segments; 0 for a constant prediction",
        low=-1.0,
    ),
    Metric(
        "brier",
        "Brier score",
        greater_is_better=False,
        needs_probabilities=True,
        description="squared error of the probabilities, summed over segments; from 0 to 2",
        high=2.0,
    ),
    Metric(
        "calibration_error",
        "calibration error",
        greater_is_better=False,
        needs_probabilities=True,
        description=f"mean gap between confidence and accuracy, over {N_BINS} bins of confidence",
    ),
)

# Of what a clusterer, fitted on the training rows, says of the customers held out.
CLUSTER_METRICS: tuple[Metric, ...] = (
    Metric(
        "silhouette",
        "silhouette",
        greater_is_better=True,
        needs_probabilities=False,
        description="how much nearer customers are to their own segment than to the next one; "
        "customers without a segment count 0",
        low=-1.0,
        of="clusters",
    ),
    Metric(
        "simplified_silhouette",
        "simplified silhouette",
        greater_is_better=True,
        needs_probabilities=False,
        description="the silhouette with distances to centres in place of those to all customers",
        low=-1.0,
        of="clusters",
    ),
    Metric(
        "shadow",
        "shadow value",
        greater_is_better=False,
        needs_probabilities=False,
        description="how near customers are to being between two centres; 1 is in the middle",
        of="clusters",
    ),
    Metric(
        "calinski_harabasz",
        "Calinski-Harabasz",
        greater_is_better=True,
        needs_probabilities=False,
        description="spread between segments by spread within; grows with the number of customers",
        high=math.inf,
        of="clusters",
    ),
    Metric(
        "davies_bouldin",
        "Davies-Bouldin",
        greater_is_better=False,
        needs_probabilities=False,
        description="mean over segments of the overlap with the segment most like it",
        high=math.inf,
        of="clusters",
    ),
    Metric(
        "stability",
        "stability",
        greater_is_better=True,
        needs_probabilities=False,
        description="adjusted Rand index between pipelines refitted on bootstrap samples",
        low=-1.0,
        of="clusters",
    ),
    Metric(
        "n_segments",
        "number of segments",
        greater_is_better=True,
        needs_probabilities=False,
        description="segments found in the training rows; neither more nor fewer is better",
        high=math.inf,
        of="clusters",
    ),
    Metric(
        "smallest_share",
        "share of the smallest segment",
        greater_is_better=True,
        needs_probabilities=False,
        description="customers of the smallest segment among the training rows",
        of="clusters",
    ),
    Metric(
        "largest_share",
        "share of the largest segment",
        greater_is_better=False,
        needs_probabilities=False,
        description="customers of the largest segment among the training rows",
        of="clusters",
    ),
    Metric(
        "noise_share",
        "share of noise",
        greater_is_better=False,
        needs_probabilities=False,
        description="customers who are put into no segment",
        of="clusters",
    ),
    Metric(
        "unlike_share",
        "share unlike anybody",
        greater_is_better=False,
        needs_probabilities=False,
        description="customers farther from their segment than 99% of the training customers",
        of="clusters",
    ),
    Metric(
        "ari",
        "adjusted Rand index",
        greater_is_better=True,
        needs_probabilities=False,
        description="pairs of customers on which clusters and known segments agree, beyond chance",
        low=-1.0,
        of="both",
    ),
    Metric(
        "ami",
        "adjusted mutual information",
        greater_is_better=True,
        needs_probabilities=False,
        description="what clusters tell of known segments, beyond chance",
        low=-1.0,
        of="both",
    ),
    Metric(
        "v_measure",
        "V-measure",
        greater_is_better=True,
        needs_probabilities=False,
        description="harmonic mean of homogeneity and completeness; not corrected for chance",
        of="both",
    ),
)

# Of a model of customer value, on customers whom it was not fitted on, in the time after theirs.
VALUE_METRICS: tuple[Metric, ...] = (
    Metric(
        "holdout_log_likelihood",
        "holdout log likelihood",
        greater_is_better=True,
        needs_probabilities=False,
        description="mean log probability of the number of later purchases, given the history",
        low=-math.inf,
        high=0.0,
        of="value",
    ),
    Metric(
        "mae",
        "MAE of purchases",
        greater_is_better=False,
        needs_probabilities=False,
        description="mean distance of expected and later purchases",
        high=math.inf,
        of="value",
    ),
    Metric(
        "rmse",
        "RMSE of purchases",
        greater_is_better=False,
        needs_probabilities=False,
        description="root of the mean squared distance of expected and later purchases",
        high=math.inf,
        of="value",
    ),
    Metric(
        "abs_bias",
        "bias of the total",
        greater_is_better=False,
        needs_probabilities=False,
        description="how far the sum of expected purchases is from that of the later ones, as a "
        "share of these",
        high=math.inf,
        of="value",
    ),
    Metric(
        "spend_mae",
        "MAE of spend",
        greater_is_better=False,
        needs_probabilities=False,
        description="mean distance of expected and later spend, in the currency of the log",
        high=math.inf,
        of="value",
    ),
    Metric(
        "rank_correlation",
        "rank correlation",
        greater_is_better=True,
        needs_probabilities=False,
        description="Spearman's correlation of expected and later purchases",
        low=-1.0,
        of="value",
    ),
    Metric(
        "top_decile_share",
        "share of the top tenth",
        greater_is_better=True,
        needs_probabilities=False,
        description="share of the later spend that comes from the tenth of the customers with the "
        "most expected",
        of="value",
    ),
)

# Of association rules that were mined in the training baskets, on those held out.
BASKET_METRICS: tuple[Metric, ...] = (
    Metric(
        "held_out_confidence",
        "held-out confidence",
        greater_is_better=True,
        needs_probabilities=False,
        description="mean over rules of the share of held-out baskets with the antecedent that "
        "have the consequent",
        of="baskets",
    ),
    Metric(
        "confidence_drop",
        "drop of confidence",
        greater_is_better=False,
        needs_probabilities=False,
        description="mean confidence in the training baskets less that in the held-out ones",
        low=-1.0,
        of="baskets",
    ),
    Metric(
        "rules_kept",
        "rules that hold",
        greater_is_better=True,
        needs_probabilities=False,
        description="share of the rules that reach min_confidence in the held-out baskets, too",
        of="baskets",
    ),
    Metric(
        "held_out_lift",
        "held-out lift",
        greater_is_better=True,
        needs_probabilities=False,
        description="median over rules of the lift in the held-out baskets",
        high=math.inf,
        of="baskets",
    ),
    Metric(
        "coverage",
        "coverage",
        greater_is_better=True,
        needs_probabilities=False,
        description="share of the held-out baskets that hold the antecedent of some rule",
        of="baskets",
    ),
    Metric(
        "hit_rate",
        "hit rate",
        greater_is_better=True,
        needs_probabilities=False,
        description="share of the covered baskets that hold what their most confident rule says",
        of="baskets",
    ),
    Metric(
        "n_rules",
        "number of rules",
        greater_is_better=True,
        needs_probabilities=False,
        description="rules found in the training baskets; neither more nor fewer is better",
        high=math.inf,
        of="baskets",
    ),
    Metric(
        "n_itemsets",
        "number of itemsets",
        greater_is_better=True,
        needs_probabilities=False,
        description="frequent itemsets of the training baskets; neither more nor fewer is better",
        high=math.inf,
        of="baskets",
    ),
)

PER_SEGMENT = ("precision", "recall", "f1", "support")

# What can be known of a run, by its task; the first one ranks unless another is asked for.
METRICS_OF: dict[str, tuple[Metric, ...]] = {
    "classification": METRICS,
    "clustering": CLUSTER_METRICS,
    "value": VALUE_METRICS,
    "baskets": BASKET_METRICS,
}

_BY_NAME = {metric.name: metric for metrics in METRICS_OF.values() for metric in metrics}
_PER_SEGMENT_DESCRIPTIONS = {
    "precision": "share of the customers predicted in {} who belong there",
    "recall": "share of the customers of {} who are found",
    "f1": "harmonic mean of precision and recall of {}",
    "support": "number of customers of {}",
}


def metric_by_name(name: str) -> Metric:
    """Return the metric called exactly ``name``: one of METRICS, or a form like ``recall[A]``.

    Raises
    ------
    ConfigError
        If there is none; names the nearest.

    Examples
    --------
    >>> metric_by_name("log_loss").greater_is_better
    False
    >>> metric_by_name("recall[A]").label
    'recall of A'
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    form = re.fullmatch(r"([^\[]*)\[(.+)\]", name, re.DOTALL)
    if form and form[1] in PER_SEGMENT:
        return _per_segment_metric(name, form[1], form[2])
    of_segment = [f"{kind}[{form[2] if form else 'A'}]" for kind in PER_SEGMENT]
    raise ConfigError(
        f"unknown metric {name!r}{did_you_mean(name, [*_BY_NAME, *of_segment])}"
        f" (metrics: {', '.join(_BY_NAME)};"
        f" {', '.join(PER_SEGMENT)} are written with their segment, as recall[A])"
    )


def undominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of each row whether no other is as good in every column and better in one.

    Parameters
    ----------
    values : ndarray of float, shape (n, n_metrics)
        More is better in every column.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    import numpy as np

    return np.array(
        [not ((values >= row).all(axis=1) & (values > row).any(axis=1)).any() for row in values],
        dtype=bool,
    )


def _per_segment_metric(name: str, kind: str, segment: str) -> Metric:
    high = math.inf if kind == "support" else 1.0
    description = _PER_SEGMENT_DESCRIPTIONS[kind].format(segment)
    return Metric(
        name,
        f"{kind} of {segment}",
        greater_is_better=True,
        needs_probabilities=False,
        description=description,
        high=high,
    )


def score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    probabilities: ArrayLike | None,
    segments: Sequence[str],
) -> dict[str, float]:
    r"""Every metric of one set of predictions, in the order of METRICS, then per segment.

    Parameters
    ----------
    y_true, y_pred : array-like of int, shape (n,)
        Codes of the true and the predicted segment, 0 to ``len(segments) - 1``.
    probabilities : array-like of float, shape (n, len(segments)), or None
        Row by row the probability of each segment, summing to 1. Without them the metrics that
        need them are absent from the result.
    segments : sequence of str
        Names of all segments of the data set, by code; some may have no customer here.

    Returns
    -------
    dict of str to float
        NaN where a metric is not defined, and for the metrics of probabilities that contain NaN.
        Never warns.

    Raises
    ------
    ValueError
        If a code lies outside 0 to ``len(segments) - 1`` or shapes do not fit.

    Notes
    -----
    With the confusion matrix :math:`C` (rows true, columns predicted), row sums :math:`t_k`,
    column sums :math:`p_k`, :math:`c = \sum_k C_{kk}`, and :math:`n` customers:

    precision, recall, F1 of a segment
        :math:`C_{kk}/p_k`, :math:`C_{kk}/t_k` and :math:`2C_{kk}/(t_k + p_k)`. NaN where the
        denominator is 0: recall of a segment that is absent here, precision of one that is
        never predicted, F1 of one that is neither. (scikit-learn says 0 and warns.)
    accuracy
        :math:`c/n`.
    balanced accuracy
        Mean recall over the segments present in ``y_true`` [1]_.
    macro F1
        Mean F1 over the segments present in ``y_true`` or ``y_pred``, which is what
        scikit-learn does without ``labels``: a segment that is neither here nor claimed to be
        is no mistake, one that is wrongly claimed is. The mean of F1s, not the F1 of means [2]_.
    Cohen's kappa
        :math:`(nc - \sum_k t_k p_k) / (n^2 - \sum_k t_k p_k)` [3]_. NaN where truth and
        prediction are one and the same segment throughout.
    MCC
        :math:`(nc - \sum t_k p_k) / \sqrt{(n^2 - \sum p_k^2)(n^2 - \sum t_k^2)}` [4]_.
        0 where truth or prediction is constant.
    log loss
        Mean of :math:`-\ln p_{i,y_i}` [5]_. Probabilities are taken as float64 and raised to at
        least 2.2e-16, so one customer costs at most 36.04. (scikit-learn clips float32 at
        1.2e-7; here models with different float types are judged by the same rule.)
    ROC AUC, one vs rest
        Per segment the share of pairs (member, non-member) in which the member has the higher
        probability of the segment, ties as a half [6]_; unweighted mean over the segments with
        members and non-members (AUNU in [7]_, not the one-vs-one mean of Hand and Till 2001).
        NaN if there is no such segment.
    Brier score
        Mean over customers of :math:`\sum_k (p_{ik} - [y_i = k])^2`, from 0 to 2 [8]_. With two
        segments this is twice the one-column score that many tools print.
    calibration error
        Top-label expected calibration error [9]_: customers are binned by the largest
        probability into 15 bins of equal width, :math:`((m-1)/15, m/15]`;
        :math:`\sum_m (n_m/n) |acc_m - conf_m|`. Right or wrong is the segment of the largest
        probability (the first of equals), also where ``y_pred`` was decided otherwise. Biased
        upwards in small samples.

    References
    ----------
    .. [1] Brodersen et al. (2010). The balanced accuracy and its posterior distribution. ICPR.
    .. [2] Opitz and Burst (2019). Macro F1 and Macro F1. arXiv:1911.03347.
    .. [3] Cohen (1960). A coefficient of agreement for nominal scales. Educational and
       Psychological Measurement 20(1), 37-46.
    .. [4] Gorodkin (2004). Comparing two K-category assignments by a K-category correlation
       coefficient. Computational Biology and Chemistry 28(5-6), 367-374.
    .. [5] Good (1952). Rational decisions. Journal of the Royal Statistical Society B 14(1),
       107-114.
    .. [6] Hanley and McNeil (1982). The meaning and use of the area under a receiver operating
       characteristic (ROC) curve. Radiology 143(1), 29-36.
    .. [7] Ferri, Hernandez-Orallo and Modroiu (2009). An experimental comparison of performance
       measures for classification. Pattern Recognition Letters 30(1), 27-38.
    .. [8] Brier (1950). Verification of forecasts expressed in terms of probability. Monthly
       Weather Review 78(1), 1-3.
    .. [9] Guo, Pleiss, Sun and Weinberger (2017). On calibration of modern neural networks.
       ICML, PMLR 70, 1321-1330.

    Examples
    --------
    >>> score([0, 0, 1, 1], [0, 0, 1, 0], None, ["A", "B"])["recall[B]"]
    0.5
    """
    import numpy as np

    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    here = np.zeros(len(truth), dtype=np.intp)
    sums = {"confusion": _confusion(truth, predicted, len(segments), here, 1)}
    if probabilities is not None:
        shares = np.asarray(probabilities, dtype=np.float64)
        sums |= _loss_sums(truth, shares, here, 1)
        sums["wins"] = _wins(truth, shares, here, 1)
    return {name: float(value[0]) for name, value in _metrics(sums, segments).items()}


def metric_value(
    name: str,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    probabilities: ArrayLike | None,
    segments: Sequence[str],
) -> float:
    """One metric of `score`, exactly equal to it, without the cost of the others.

    Parameters
    ----------
    name : str
        As for `metric_by_name`.
    y_true, y_pred, probabilities, segments
        As for `score`.

    Returns
    -------
    float
        NaN also where the metric needs probabilities and there are none.

    Raises
    ------
    ConfigError
        If there is no such metric, or no such segment.
    ValueError
        If a code lies outside 0 to ``len(segments) - 1`` or shapes do not fit.

    Examples
    --------
    >>> metric_value("recall[B]", [0, 0, 1, 1], [0, 0, 1, 0], None, ["A", "B"])
    0.5
    """
    import numpy as np

    metric = metric_by_name(name)
    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    here = np.zeros(len(truth), dtype=np.intp)
    confusion = _confusion(truth, predicted, len(segments), here, 1)
    if name not in _BY_NAME:
        return _segment_value(name, _per_segment(confusion), segments)
    if not metric.needs_probabilities:
        return float(_OF_LABELS[name](confusion)[0])
    if probabilities is None:
        return math.nan
    shares = np.asarray(probabilities, dtype=np.float64)
    sums = {
        key: find(truth, shares, here, 1)
        for key, find in _LOSS_SUMS.items()
        if key in _SUMS_OF[name]
    }
    if "wins" in _SUMS_OF[name]:
        sums["wins"] = _wins(truth, shares, here, 1)
    return float(_probability_metrics(sums, members=confusion.sum(axis=-1))[name][0])


def _segment_value(name: str, per_segment: dict[str, Floats], segments: Sequence[str]) -> float:
    kind, _, segment = name.removesuffix("]").partition("[")
    if segment not in segments:
        raise ConfigError(
            f"metric {name!r} names the segment {segment!r}{did_you_mean(segment, segments)}; "
            f"the segments are {', '.join(segments)}"
        )
    return float(per_segment[kind][0, list(segments).index(segment)])


def jackknife_group_count(units: ArrayLike, n_groups: int = N_GROUPS) -> int:
    """Groups that the jackknife really uses: ``n_groups``, or fewer if there are fewer units."""
    import numpy as np

    return min(n_groups, len(np.unique(np.asarray(units))))


def jackknife_standard_errors(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    probabilities: ArrayLike | None,
    segments: Sequence[str],
    units: ArrayLike,
    *,
    parts: ArrayLike | None = None,
    n_groups: int = N_GROUPS,
    seed: int,
) -> dict[str, float]:
    r"""Standard error of every metric by the delete-a-group jackknife (Kott 2001).

    Units are dealt at random into :math:`G` groups of equal size (give or take one unit) and
    every metric is computed :math:`G` times, each time without one of the groups:

    .. math:: SE^2 = \frac{G-1}{G} \sum_g (\theta_g - \bar\theta)^2

    It covers the sampling of the customers who are judged, *given the fitted models*: how much
    the figure would move with other customers of the same kind. It does not cover what another
    training set would change: no model is refitted, so the luck of the training rows, of the
    tuning and of the seed is left out, and two runs whose intervals overlap may still differ
    (they were judged on the same customers). A metric that no deletion can move, like an
    accuracy of 1, has standard error 0.

    The calibration error is left out: it is biased upwards by an amount that the jackknife does
    not see. In 400 simulated data sets judged in five folds its 95% interval covered the true
    value in 6% with 300 customers and in 75% with 1,600; the other metrics over all segments
    had 92 to 98% and 94 to 97%.

    Parameters
    ----------
    y_true, y_pred, probabilities, segments
        As for `score`.
    units : array-like, shape (n,)
        Who stands behind each row: an id, or the code of a group of customers that belong
        together. All rows of a unit leave together, so repeats and grouped customers do not
        pass for new evidence.
    parts : array-like, shape (n,), optional
        Code of the repeat and fold of each row. With it the metric is the mean over parts
        (NaNs left out), which is the mean of `summarise`; without it the metric of all rows
        taken together. The two differ for metrics that are no mean over customers.
    n_groups : int
        Number of groups, 2 or more; fewer are used if there are fewer units.
    seed : int
        Deals the units.

    Returns
    -------
    dict of str to float
        The keys of `score` without ``calibration_error``, and without ``support[...]``, which
        counts the rows and estimates nothing. NaN where a metric is not defined without one of
        the groups (a segment whose customers are all in it), and everywhere if there is only
        one unit.

    References
    ----------
    Kott (2001). The delete-a-group jackknife. Journal of Official Statistics 17(4), 521-526.
    """
    import numpy as np

    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    group, n_groups = _deal(np.asarray(units), n_groups, seed)
    part, n_parts = _codes(np.zeros(len(truth)) if parts is None else np.asarray(parts))
    cell, shape = part * n_groups + group, (n_parts, n_groups)

    sums = {"confusion": _confusion(truth, predicted, len(segments), cell, n_parts * n_groups)}
    if probabilities is not None:
        shares = np.asarray(probabilities, dtype=np.float64)
        sums |= _loss_sums(truth, shares, cell, n_parts * n_groups)
    without = {name: _without_each_group(of_cell, shape) for name, of_cell in sums.items()}
    if probabilities is not None:
        without["wins"] = _wins_without_each_group(truth, shares, part, cell, shape)
    return {
        name: _standard_error(_mean_of_defined(values, axis=0))
        for name, values in _metrics(without, segments).items()
        if name != "calibration_error" and not name.startswith("support[")
    }


def interval(
    mean: float,
    standard_error: float,
    n_groups: int,
    level: float = 0.95,
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> tuple[float, float] | None:
    """Interval ``mean ± t * standard_error``, clipped to ``low`` and ``high``.

    Parameters
    ----------
    mean, standard_error : float
        In the units of the metric.
    n_groups : int
        Groups of the jackknife behind ``standard_error`` (`jackknife_group_count`); ``t`` is the
        quantile of Student's t distribution with ``n_groups - 1`` degrees of freedom.
    level : float
        Share of intervals that are to cover, between 0 and 1. What that means, and what it does
        not, is said at `jackknife_standard_errors`.

    Returns
    -------
    (float, float) or None
        None where the mean or the standard error is NaN, or there are fewer than two groups.

    Examples
    --------
    >>> interval(0.98, 0.02, n_groups=20, high=1.0)
    (0.93813951891..., 1.0)
    """
    if math.isnan(mean) or math.isnan(standard_error) or n_groups < 2:
        return None
    from scipy.special import stdtrit

    half_width = float(stdtrit(n_groups - 1, (1 + level) / 2)) * standard_error
    return max(low, mean - half_width), min(high, mean + half_width)


def summarise(
    scores: pd.DataFrame,
    standard_errors: dict[str, float] | None = None,
    n_groups: int = N_GROUPS,
    level: float = 0.95,
) -> dict[str, dict[str, Any]]:
    """Mean, spread and interval of each metric over folds, ready for JSON.

    Parameters
    ----------
    scores : DataFrame with columns ``repeat, fold, metric, value``
        NaN values are left out.
    standard_errors : dict of str to float, optional
        From `jackknife_standard_errors` with one part per repeat and fold; a metric that is not
        in it has no interval.
    n_groups : int
        Groups behind them (`jackknife_group_count`).
    level : float
        Of the interval.

    Returns
    -------
    dict of str to dict
        Metric to ``mean`` and ``std`` (float or None), ``interval`` ([low, high] or None) and
        ``n`` (the number of values), in the order of first appearance. ``std`` is the sample
        standard deviation over folds, None for fewer than two values. Folds share training
        rows, so it is no standard error of the mean.
    """
    errors = standard_errors or {}
    return {
        str(name): _summary(str(name), values.dropna(), errors.get(str(name)), n_groups, level)
        for name, values in scores.groupby("metric", sort=False)["value"]
    }


def _summary(
    name: str,
    values: pd.Series[float],
    error: float | None,
    n_groups: int,
    level: float,
) -> dict[str, Any]:
    if values.empty:
        return {"mean": None, "std": None, "interval": None, "n": 0}
    mean, bounds = float(values.mean()), None
    if error is not None:
        metric = metric_by_name(name)
        bounds = interval(mean, error, n_groups, level, low=metric.low, high=metric.high)
    return {
        "mean": mean,
        "std": float(values.std()) if len(values) > 1 else None,
        "interval": list(bounds) if bounds else None,
        "n": len(values),
    }


# Sums over the customers of each cell. A cell is what is judged together: one for `score`, one
# per part and group for the jackknife. K is the number of segments.


def _confusion(y_true: Codes, y_pred: Codes, n_segments: int, cells: Codes, n_cells: int) -> Floats:
    """Confusion matrix of each cell, shape (n_cells, K, K): rows true, columns predicted."""
    import numpy as np

    shape = (n_cells, n_segments, n_segments)
    # ravel_multi_index refuses codes outside the shape; they would count in a wrong cell.
    index = np.ravel_multi_index((cells, y_true, y_pred), shape)
    return np.bincount(index, minlength=math.prod(shape)).reshape(shape).astype(np.float64)


def _loss_sums(
    y_true: Codes, probabilities: Floats, cells: Codes, n_cells: int
) -> dict[str, Floats]:
    """What log loss, Brier score and calibration error sum over the customers of each cell."""
    return {name: find(y_true, probabilities, cells, n_cells) for name, find in _LOSS_SUMS.items()}


def _surprise(y_true: Codes, probabilities: Floats, cells: Codes, n_cells: int) -> Floats:
    import numpy as np

    surprise = -np.log(np.maximum(probabilities[np.arange(len(y_true)), y_true], TINY))
    return _totals(surprise, cells, n_cells)


def _squared_error(y_true: Codes, probabilities: Floats, cells: Codes, n_cells: int) -> Floats:
    import numpy as np

    outcome = np.arange(probabilities.shape[1]) == y_true[:, None]
    return _totals(((probabilities - outcome) ** 2).sum(axis=1), cells, n_cells)


def _gaps(y_true: Codes, probabilities: Floats, cells: Codes, n_cells: int) -> Floats:
    import numpy as np

    confidence = probabilities.max(axis=1)
    # n_m * |acc_m - conf_m| is the absolute sum of (right - confidence) over the bin.
    gap = (probabilities.argmax(axis=1) == y_true) - confidence
    bins = np.searchsorted(np.arange(1, N_BINS) / N_BINS, confidence)
    return _totals(gap, cells * N_BINS + bins, n_cells * N_BINS).reshape(-1, N_BINS)


_LOSS_SUMS = {"surprise": _surprise, "squared_error": _squared_error, "gaps": _gaps}
_SUMS_OF = {  # metric of probabilities -> the sums that it is made of
    "log_loss": ("surprise",),
    "roc_auc_ovr": ("wins", "squared_error"),
    "brier": ("squared_error",),
    "calibration_error": ("gaps",),
}


def _totals(values: Floats | Flags, cells: Codes, n_cells: int) -> Floats:
    """Sum of ``values`` over the rows of each cell."""
    import numpy as np

    return np.bincount(cells, weights=values, minlength=n_cells).astype(np.float64, copy=False)


def _wins(y_true: Codes, probabilities: Floats, cells: Codes, n_cells: int) -> Floats:
    """Pairs (member, non-member) of each cell in which the member ranks higher, (n_cells, K)."""
    import numpy as np

    wins = np.empty((n_cells, probabilities.shape[1]))
    for segment, column in enumerate(probabilities.T):
        member = y_true == segment
        below = _others_below(column, member, cells)
        wins[:, segment] = _totals(below * member, cells, n_cells)
    return wins


def _wins_without_each_group(
    y_true: Codes,
    probabilities: Floats,
    part: Codes,
    cell: Codes,
    shape: tuple[int, int],
) -> Floats:
    """Wins of each part without each group, shape (n_parts, n_groups, K).

    A group takes with it the pairs won by its members and those lost by its non-members; pairs
    with both inside are in both and are taken once.
    """
    import numpy as np

    wins = np.empty((*shape, probabilities.shape[1]))
    for segment, column in enumerate(probabilities.T):
        member = y_true == segment
        below = _others_below(column, member, part)
        inside = _others_below(column, member, cell) * member
        n_members = _totals(member, part, shape[0])
        touched = np.where(member, below, n_members[part] - below)
        leaving = _totals(touched - inside, cell, math.prod(shape)).reshape(shape)
        wins[..., segment] = _totals(below * member, part, shape[0])[:, None] - leaving
    return wins


def _others_below(column: Floats, member: Flags, cells: Codes) -> Floats:
    """For each row, rows of the other kind in its cell with a lower value; ties are halves.

    A row's rank counts the rows below it; its rank among its own kind leaves the others.
    """
    return _ranks(column, cells) - _ranks(column, 2 * cells + member)


def _ranks(column: Floats, cells: Codes) -> Floats:
    """Rank of each row within its cell, from 1; tied rows share their mean rank."""
    import numpy as np

    order = np.lexsort((column, cells))
    values, owners = column[order], cells[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (values[1:] != values[:-1]) | (owners[1:] != owners[:-1])
    first = np.flatnonzero(is_first)
    sizes = np.diff(first, append=len(order))
    start_of_cell = np.searchsorted(owners, owners[first])
    ranks = np.empty(len(order))
    ranks[order] = np.repeat(first - start_of_cell + (sizes + 1) / 2, sizes)
    return ranks


def _without_each_group(of_cell: Floats, shape: tuple[int, int]) -> Floats:
    """Sums of each part without each group, from the sums of each cell."""
    of_group = of_cell.reshape(*shape, *of_cell.shape[1:])
    left: Floats = of_group.sum(axis=1, keepdims=True) - of_group
    return left


def _metrics(sums: dict[str, Floats], segments: Sequence[str]) -> dict[str, Floats]:
    """Every metric from its sums; the leading axes of the sums are those of the result."""
    confusion = sums["confusion"]
    values = _label_metrics(confusion)
    if "surprise" in sums:
        values |= _probability_metrics(sums, members=confusion.sum(axis=-1))
    per_segment = _per_segment(confusion)
    named = {metric.name: values[metric.name] for metric in METRICS if metric.name in values}
    return named | {
        f"{kind}[{segment}]": per_segment[kind][..., code]
        for kind in PER_SEGMENT
        for code, segment in enumerate(segments)
    }


def _per_segment(confusion: Floats) -> dict[str, Floats]:
    """Metrics of each segment, shape (..., K)."""
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    right = confusion.diagonal(axis1=-2, axis2=-1)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, true),
        "f1": _ratio(2 * right, true + predicted),
        "support": true,
    }


def _label_metrics(confusion: Floats) -> dict[str, Floats]:
    return {name: value_of(confusion) for name, value_of in _OF_LABELS.items()}


def _accuracy(confusion: Floats) -> Floats:
    return _ratio(confusion.trace(axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def _balanced_accuracy(confusion: Floats) -> Floats:
    return _mean_of_defined(_per_segment(confusion)["recall"], axis=-1)


def _f1_macro(confusion: Floats) -> Floats:
    return _mean_of_defined(_per_segment(confusion)["f1"], axis=-1)


def _cohen_kappa(confusion: Floats) -> Floats:
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    n, right = true.sum(axis=-1), confusion.trace(axis1=-2, axis2=-1)
    by_chance = (true * predicted).sum(axis=-1)
    return _ratio(n * right - by_chance, n**2 - by_chance)


def _mcc(confusion: Floats) -> Floats:
    import numpy as np

    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    n, right = true.sum(axis=-1), confusion.trace(axis1=-2, axis2=-1)
    spread = (n**2 - (predicted**2).sum(axis=-1)) * (n**2 - (true**2).sum(axis=-1))
    correlation = _ratio(n * right - (true * predicted).sum(axis=-1), np.sqrt(spread))
    return np.where((spread == 0) & (n > 0), 0.0, correlation)


_OF_LABELS = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1_macro": _f1_macro,
    "cohen_kappa": _cohen_kappa,
    "mcc": _mcc,
}


def _probability_metrics(sums: dict[str, Floats], members: Floats) -> dict[str, Floats]:
    """Those metrics of probabilities whose sums are there."""
    import numpy as np

    n = members.sum(axis=-1)
    values = {}
    if "surprise" in sums:
        values["log_loss"] = _ratio(sums["surprise"], n)
    if "wins" in sums:
        areas = _ratio(sums["wins"], members * (n[..., None] - members))
        # Ranks would take NaN for the highest probability of all.
        are_numbers = ~np.isnan(sums["squared_error"])
        values["roc_auc_ovr"] = np.where(are_numbers, _mean_of_defined(areas, axis=-1), np.nan)
    if "squared_error" in sums:
        values["brier"] = _ratio(sums["squared_error"], n)
    if "gaps" in sums:
        values["calibration_error"] = _ratio(np.abs(sums["gaps"]).sum(axis=-1), n)
    return values


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0, without a warning."""
    import numpy as np

    quotient: Floats = numerator / np.where(denominator == 0, np.nan, denominator)
    return quotient


def _mean_of_defined(values: Floats, axis: int) -> Floats:
    """Mean without NaNs, NaN where there is nothing else; numpy's nanmean would warn."""
    import numpy as np

    return _ratio(np.nansum(values, axis=axis), (~np.isnan(values)).sum(axis=axis))


def _deal(units: NDArray[Any], n_groups: int, seed: int) -> tuple[Codes, int]:
    """Group of each row, and the number of groups; all rows of a unit are in one group."""
    import numpy as np

    unit, n_units = _codes(units)
    used = min(n_groups, n_units)
    return (np.random.default_rng(seed).permutation(n_units) % used)[unit], used


def _codes(values: NDArray[Any]) -> tuple[Codes, int]:
    """Code of each value in sorted order, and the number of different values."""
    import numpy as np

    different, codes = np.unique(values, return_inverse=True)
    return codes, len(different)


def _standard_error(replicates: Floats) -> float:
    n_groups = len(replicates)
    squares = ((replicates - replicates.mean()) ** 2).sum()
    return math.sqrt((n_groups - 1) / n_groups * squares)
