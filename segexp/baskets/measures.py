"""What a rule is worth, from four counts.

Those of the baskets with the antecedent, with the consequent, with both, and of all baskets. The
test asks whether both come together more often than by chance.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Ids: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

NEGLIGIBLE = 1e-17  # a term of this share of a sum does not change it


def measures(n_both: Ids, n_antecedent: Ids, n_consequent: Ids, n: int) -> dict[str, Floats]:
    r"""Return the usual measures of rules ``X -> Y``, in the order in which they are shown.

    Parameters
    ----------
    n_both, n_antecedent, n_consequent : ndarray of int, shape (n_rules,)
        Baskets that hold X and Y, X, and Y.
    n : int
        All baskets.

    Returns
    -------
    dict of str to ndarray of float, shape (n_rules,)

    Notes
    -----
    With :math:`P` for shares of baskets:

    support
        :math:`P(X, Y)` [1]_.
    confidence
        :math:`P(Y | X)` [1]_.
    lift
        :math:`P(X, Y) / (P(X) P(Y))` [2]_, where it is called interest; 1 for independent items.
    leverage
        :math:`P(X, Y) - P(X) P(Y)` [3]_.
    conviction
        :math:`P(X) P(\lnot Y) / P(X, \lnot Y)` [2]_; infinite for a rule without exception.
    zhang
        :math:`(P(X, Y) - P(X) P(Y)) / \max\{P(X, Y) P(\lnot X), P(X) (P(Y) - P(X, Y))\}` [4]_,
        from -1 (never together) to 1 (Y never without X); 0 where X or Y is in every basket.

    References
    ----------
    .. [1] Agrawal, Imielinski and Swami (1993). Mining association rules between sets of items in
       large databases. SIGMOD Record 22(2), 207-216.
    .. [2] Brin, Motwani, Ullman and Tsur (1997). Dynamic itemset counting and implication rules for
       market basket data. SIGMOD Record 26(2), 255-264.
    .. [3] Piatetsky-Shapiro (1991). Discovery, analysis, and presentation of strong rules. In
       Knowledge Discovery in Databases, AAAI Press, 229-248.
    .. [4] Yan, Zhang and Zhang (2009). Confidence metrics for association rule mining. Applied
       Artificial Intelligence 23(8), 713-737.
    """
    both, first, second = (
        np.asarray(x, dtype=np.int64) for x in (n_both, n_antecedent, n_consequent)
    )
    beyond = both * n - first * second  # whole numbers: exact up to 3 * 10^9 baskets
    largest = np.maximum(both * (n - first), first * (second - both))
    return {
        "support": both / n,
        "confidence": both / first,
        "lift": both * n / (first * second),
        "leverage": beyond / n**2,
        "conviction": _ratio(first * (n - second), n * (first - both), otherwise=np.inf),
        "zhang": _ratio(beyond, largest, otherwise=0.0),
    }


def _ratio(numerator: Ids, denominator: Ids, otherwise: float) -> Floats:
    found: Floats = np.full(len(numerator), otherwise)
    np.divide(numerator, denominator, out=found, where=denominator != 0)
    return found


def fisher_greater(n_both: Ids, n_antecedent: Ids, n_consequent: Ids, n: Ids | int) -> Floats:
    r"""Return the p-values of Fisher's exact test, one-sided.

    If antecedent and consequent were independent, the number of baskets with both would be
    hypergeometric; the p-value is the chance of as many as there are, or more. This is one less the
    hyper-confidence of Hahsler and Hornik [1]_.

    Parameters
    ----------
    n_both, n_antecedent, n_consequent : ndarray of int, shape (n_rules,)
    n : int or ndarray of int, shape (n_rules,)
        All baskets.

    Returns
    -------
    ndarray of float, shape (n_rules,)

    Notes
    -----
    The probability of ``n_both`` comes from log gamma functions, those of the counts beyond it by
    the ratio of neighbours, away from the mode, so that small tails keep their digits. The relative
    error grows with ``n``; at a million baskets it is about 1e-8.

    References
    ----------
    .. [1] Hahsler and Hornik (2007). New probabilistic interest measures for association rules.
       Intelligent Data Analysis 11(5), 437-455.
    """
    counts = (np.asarray(x, dtype=np.int64) for x in (n_both, n_antecedent, n_consequent, n))
    cases = np.column_stack(np.broadcast_arrays(*counts))
    different, place = np.unique(cases, axis=0, return_inverse=True)
    return _upper_tails(different)[place.ravel()]


def _upper_tails(cases: Ids) -> Floats:
    both, first, second, n = cases.T
    mode = (first + 1) * (second + 1) // (n + 2)
    is_above = both > mode
    tails = np.empty(len(cases))
    tails[is_above] = _tail(cases[is_above], step=1)
    below = cases[~is_above] - np.array([1, 0, 0, 0])
    tails[~is_above] = 1 - _tail(below, step=-1)
    return np.clip(tails, 0.0, 1.0)


def _tail(cases: Ids, step: int) -> Floats:
    """Sum probabilities from a count on, up or down; the count lies on that side of the mode."""
    k, first, second, n = cases.T.astype(np.float64)
    possible = (k >= 0) & (k >= first + second - n)
    log_p = np.full(len(cases), -np.inf)
    log_p[possible] = _log_probability(*(x[possible] for x in (k, first, second, n)))
    total, term = np.ones(len(k)), np.ones(len(k))
    active = np.flatnonzero(possible)
    k = k.copy()
    while len(active):
        at, a, c, all_ = (x[active] for x in (k, first, second, n))
        if step > 0:
            ratio = (a - at) * (c - at) / ((at + 1) * (all_ - a - c + at + 1))
        else:
            ratio = at * (all_ - a - c + at) / ((a - at + 1) * (c - at + 1))
        term[active] *= ratio
        total[active] += term[active]
        k[active] += step
        active = active[term[active] > NEGLIGIBLE * total[active]]
    found: Floats = np.exp(log_p) * total
    return found


def _log_probability(k: Floats, first: Floats, second: Floats, n: Floats) -> Floats:
    found: Floats = (
        _log_choose(first, k) + _log_choose(n - first, second - k) - _log_choose(n, second)
    )
    return found


def _log_choose(n: Floats, k: Floats) -> Floats:
    found: Floats = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return found
