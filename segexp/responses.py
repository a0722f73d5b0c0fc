"""How many customers of each segment did something: took an offer, left, bought again.

The outcome plays no part in making the segments, so that a difference between them is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from segexp.clustering.quality import check_labels, contingency
from segexp.errors import DataError, did_you_mean

Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int_]

ALL = "all"  # the name of the row of all customers
NOISE = "noise"  # the name of the customers of no segment
LEAST_EXPECTED = 5  # customers in each cell for which the chi-squared distribution is trusted
N_TABLES = 9999  # random tables of the test of a table that is too thin for it

# Answers of which only the second is counted; of any others each is.
_NO_AND_YES = ({"0", "1"}, {"false", "true"}, {"no", "yes"}, {"n", "y"})


def response_rates(
    labels: ArrayLike,
    names: Sequence[str],
    outcome: pd.Series,
    positive: str | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Count in each segment who had an outcome, and compare with all other customers.

    Parameters
    ----------
    labels : array-like of int of shape (n,)
        Segments; -1 is noise.
    names : sequence of str
        Of segment 0, 1 and so on.
    outcome : Series of shape (n,)
        0 and 1, or text. Customers with a missing outcome are left out. Of 0 and 1, ``no`` and
        ``yes`` or ``false`` and ``true`` the second is counted, otherwise every level.
    positive : str, optional
        The only level that is counted.
    confidence : float, default=0.95
        Of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        For each level one row per segment, then ``noise`` if there is any, then ``all``. Columns:
        ``outcome``, the level; ``segment``; ``customers`` whose outcome is known; ``responders``,
        those of this level; ``rate``, their share; ``low`` and ``high``, its interval (Wilson
        1927, Probable inference, the law of succession, and statistical inference, Journal of the
        American Statistical Association 22(158):209-212); ``lift``, the rate over that of all;
        ``share_of_responders``, of all responders those in the segment; ``p_value`` of the
        segment against all other customers and ``test``, which gave it: ``chi-squared``, without
        a continuity correction, or ``Fisher`` where fewer than 5 customers are expected in a
        cell; ``q_value``, the smallest false discovery rate at which the segment differs, over
        all rows (Benjamini and Hochberg 1995, Controlling the false discovery rate, Journal of
        the Royal Statistical Society B 57(1):289-300). What cannot be computed is NaN.

    Raises
    ------
    DataError
        If labels, names and outcome do not belong together, no outcome is known, or no customer
        has the positive one.

    Examples
    --------
    >>> took = pd.Series([1, 1, 1, 0, 1, 0, 0, 0])
    >>> found = response_rates([0, 0, 0, 0, 1, 1, 1, 1], ["big", "small"], took)
    >>> found[["segment", "customers", "responders", "rate", "lift"]]
      segment  customers  responders  rate  lift
    0     big          4           3  0.75   1.5
    1   small          4           1  0.25   0.5
    2     all          8           4  0.50   1.0
    """
    if not 0 < confidence < 1:
        raise DataError(f"the confidence of an interval is between 0 and 1, got {confidence}")
    counts, levels = _counts(labels, names, outcome)
    sizes = counts.sum(axis=1)
    # Codes begin with -1, and noise is shown last, or not at all.
    order = [*range(1, len(counts)), *([0] if _has_noise(labels) else [])]
    tables = [
        _rates(counts[order, levels.index(level)], sizes[order], confidence).assign(outcome=level)
        for level in _counted(levels, positive)
    ]
    shown = [*names, NOISE][: len(order)]
    table = pd.concat([part.assign(segment=[*shown, ALL]) for part in tables], ignore_index=True)
    table["q_value"] = _false_discovery_rates(table["p_value"].to_numpy())
    return table[
        ["outcome", "segment", "customers", "responders", "rate", "low", "high", "lift",
         "share_of_responders", "p_value", "q_value", "test"]
    ]  # fmt: skip


def _rates(responders: Counts, customers: Counts, confidence: float) -> pd.DataFrame:
    """Return the rows of one level: one per segment, and one of all."""
    n, r = customers.sum(), responders.sum()
    tested = [
        _against_others(np.array([[k, size - k], [r - k, n - size - (r - k)]]))
        for k, size in zip(responders, customers, strict=True)
    ]
    responders, customers = np.append(responders, r), np.append(customers, n)
    rate = _ratio(responders, customers)
    low, high = wilson_interval(responders, customers, confidence)
    return pd.DataFrame(
        {
            "customers": customers,
            "responders": responders,
            "rate": rate,
            "low": low,
            "high": high,
            "lift": _ratio(rate, rate[-1]),
            "share_of_responders": _ratio(responders, r),
            "p_value": [*(p for p, _ in tested), np.nan],
            "test": [*(test for _, test in tested), ""],
        }
    )


def _ratio(part: Any, whole: Any) -> Floats:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, np.where(whole > 0, whole, np.nan))


def wilson_interval(
    successes: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return both ends of Wilson's interval of a share; NaN where ``n`` is 0.

    It stays within 0 and 1, and is not empty where nobody, or everybody, responded (Wilson 1927,
    see :func:`response_rates`).

    Examples
    --------
    >>> low, high = wilson_interval(81, 263)
    >>> round(float(low), 4), round(float(high), 4)
    (0.2553, 0.3662)
    """
    z = stats.norm.isf((1 - confidence) / 2)
    n = np.asarray(n, dtype=float)
    share = _ratio(successes, n)
    spread = z * np.sqrt(_ratio(share * (1 - share), n) + _ratio(z**2 / 4, n**2))
    scale = 1 + _ratio(z**2, n)
    middle = share + _ratio(z**2 / 2, n)
    return np.maximum((middle - spread) / scale, 0), np.minimum((middle + spread) / scale, 1)


def _against_others(table: Counts) -> tuple[float, str]:
    """Return the p value of a segment against all other customers, and the test."""
    if (table.sum(axis=0) == 0).any() or (table.sum(axis=1) == 0).any():
        return np.nan, ""
    if _expected(table).min() < LEAST_EXPECTED:
        return float(stats.fisher_exact(table).pvalue), "Fisher"
    return float(stats.chi2_contingency(table, correction=False).pvalue), "chi-squared"


def _expected(table: Counts) -> Floats:
    return np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()


def _false_discovery_rates(p_values: Floats) -> Floats:
    rates = np.full(len(p_values), np.nan)
    is_known = ~np.isnan(p_values)
    if is_known.any():
        rates[is_known] = stats.false_discovery_control(p_values[is_known])
    return rates


@dataclass(frozen=True)
class ResponseTest:
    """Whether the segments differ in an outcome at all."""

    statistic: float  # Pearson's chi-squared
    degrees_of_freedom: int
    p_value: float
    cramers_v: float  # from 0, no difference, to 1, the segment decides
    method: str  # what the p value is of: "chi-squared", or "random tables"
    n_customers: int  # whose outcome is known


def response_test(
    labels: ArrayLike, names: Sequence[str], outcome: pd.Series, seed: int = 0
) -> ResponseTest:
    """Test the table of segments and outcomes for independence.

    Parameters
    ----------
    labels, names, outcome
        As in :func:`response_rates`.
    seed : int, default=0
        Of the random tables.

    Returns
    -------
    ResponseTest
        Pearson's chi-squared and Cramer's V (Cramer 1946, Mathematical methods of statistics,
        ch. 21). Where fewer than 5 customers are expected in a cell, the p value is the share of
        the random tables with the same margins whose chi-squared is as large (Patefield 1981,
        Algorithm AS 159, Applied Statistics 30(1):91-97), of 9,999 and the table itself. Without
        two segments and two outcomes all figures are NaN.

    Raises
    ------
    DataError
        As :func:`response_rates` does.
    """
    counts, _ = _counts(labels, names, outcome)
    n = int(counts.sum())
    table = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    if not degrees:
        return ResponseTest(np.nan, degrees, np.nan, np.nan, "", n)
    expected = _expected(table)
    statistic = _chi_squared(table, expected)
    if expected.min() < LEAST_EXPECTED:
        drawn = stats.random_table(table.sum(axis=1), table.sum(axis=0)).rvs(
            N_TABLES, random_state=seed
        )
        # As large but for rounding.
        n_as_large = int((_chi_squared(drawn, expected) >= statistic * (1 - 1e-12)).sum())
        p_value, method = (1 + n_as_large) / (1 + N_TABLES), "random tables"
    else:
        p_value, method = float(stats.chi2.sf(statistic, degrees)), "chi-squared"
    cramers_v = float(np.sqrt(statistic / (n * (min(table.shape) - 1))))
    return ResponseTest(float(statistic), degrees, p_value, cramers_v, method, n)


def _chi_squared(tables: Any, expected: Floats) -> Any:
    return ((tables - expected) ** 2 / expected).sum(axis=(-2, -1))


def _counts(
    labels: ArrayLike, names: Sequence[str], outcome: pd.Series
) -> tuple[Counts, list[str]]:
    """Count customers of known outcome by segment, -1 first, and level; return the levels, too."""
    labels = check_labels(labels, len(outcome))
    if labels.max(initial=-1) >= len(names):
        raise DataError(f"{labels.max() + 1} segments come with {len(names)} names")
    codes, levels = _coded(outcome)
    is_known = codes >= 0
    if not is_known.any():
        raise DataError("the outcome of no customer is known, so there are no response rates")
    counts = contingency(labels[is_known] + 1, codes[is_known], len(names) + 1, len(levels))
    return counts, levels


def _coded(outcome: pd.Series) -> tuple[Counts, list[str]]:
    """Return the code of each customer's level, -1 where it is missing, and the sorted levels."""
    if pd.api.types.is_numeric_dtype(outcome.dtype):
        values = outcome.to_numpy(dtype=float, na_value=np.nan)
        if wrong := sorted(set(values[~np.isnan(values)]) - {0.0, 1.0}):
            raise DataError(
                f"an outcome in numbers is 0 or 1, got {wrong[0]:g}; give its levels as text"
            )
        return np.where(np.isnan(values), -1, values).astype(np.int_), ["0", "1"]
    codes, levels = pd.factorize(outcome.astype(object), sort=False)
    order = np.argsort(np.array([str(level) for level in levels], dtype=object), kind="stable")
    rank = np.append(np.argsort(order), -1)  # the last is that of code -1
    return rank[codes].astype(np.int_), [str(levels[i]) for i in order]


def _counted(levels: list[str], positive: str | None) -> list[str]:
    if positive is not None:
        if positive not in levels:
            raise DataError(
                f"no customer has the outcome {positive!r}{did_you_mean(positive, levels)}"
            )
        return [positive]
    answers = {level.lower(): level for level in levels}
    if len(answers) == len(levels) and any(set(answers) <= pair for pair in _NO_AND_YES):
        yes = [level for lower, level in answers.items() if lower in ("1", "true", "yes", "y")]
        return yes or levels
    return levels


def _has_noise(labels: ArrayLike) -> bool:
    return bool((np.asarray(labels) < 0).any())
