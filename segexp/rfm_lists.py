"""What an RFM run tells beside the segments: is there enough data, their sums, whom to write to.

Customers with scores come from `segexp.rfm`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from segexp.errors import ConfigError, DataError
from segexp.rfm import ROLES, SCORES, Floats, Labels


def minimum_data(
    summary: Mapping[str, Any],
    customers: pd.DataFrame,
    *,
    min_customers: int = 500,
    min_days: int = 180,
    max_days_since_order: int = 30,
    min_orders: int = 3,
) -> tuple[str, ...]:
    """Say in sentences where a log is too small for scores that mean something.

    The thresholds are those below which Klaviyo shows no RFM report.

    Parameters
    ----------
    summary : mapping
        Of the log: ``first``, ``last`` and ``reference_date`` as dates or text.
    customers : DataFrame
        One row per customer with ``recency`` (days), and ``orders`` or ``frequency``.
    min_customers : int
        With an order.
    min_days : int
        From the first purchase of the log to the last one up to the reference date.
    max_days_since_order : int
        From the newest order to the reference date.
    min_orders : int
        What some customer must have.

    Returns
    -------
    tuple of str
        Empty where there is enough.

    Examples
    --------
    >>> log = {"first": "2011-01-01", "last": "2011-12-09", "reference_date": "2011-12-10"}
    >>> minimum_data(log, pd.DataFrame({"recency": [1.0, 9.0], "orders": [4, 1]}))
    ('only 2 customers have an order; fifths of them mean something from about 500 on',)
    """
    found = []
    n = len(customers)
    if n < min_customers:
        found.append(
            f"only {n:,} customer{'s have' if n != 1 else ' has'} an order; fifths of them mean "
            f"something from about {min_customers:,} on"
        )
    first, last, reference = (
        pd.Timestamp(summary[key]) for key in ("first", "last", "reference_date")
    )
    days = (min(last, reference).normalize() - first.normalize()).days
    if days < min_days:
        found.append(
            f"the log covers {days:,} days; with fewer than {min_days} a customer who buys seldom "
            f"looks like one who left"
        )
    recent = customers["recency"].min()
    if recent > max_days_since_order:
        found.append(
            f"nobody bought in the {max_days_since_order} days before {reference.date()} (the last "
            f"order lies {recent:,.0f} days back): is the reference date right?"
        )
    orders = customers["orders" if "orders" in customers else "frequency"]
    if not (orders >= min_orders).any():
        found.append(
            f"no customer has {min_orders} orders or more, so frequency tells next to nothing"
        )
    return tuple(found)


# ---- tables of customers -----------------------------------------------------------------------


def rfm_table(customers: pd.DataFrame) -> pd.DataFrame:
    """Sum up each segment.

    Parameters
    ----------
    customers : DataFrame
        One row per customer: ``segment``, ``recency``, ``frequency``, ``monetary``, ``revenue``,
        ``orders``.

    Returns
    -------
    DataFrame
        One row per segment, the one with most revenue first: ``segment``, ``customers``, ``share``
        of the customers, ``orders``, ``revenue``, ``revenue_share``, and ``mean[...]`` and
        ``median[...]`` of recency, frequency and monetary. The shares of revenue are NaN where
        there is none.

    Raises
    ------
    DataError
        If a column is not there.
    """
    _check_columns(customers, ("segment", *ROLES, "revenue", "orders"), "the RFM table")
    groups = customers.groupby("segment", observed=True)
    sums = groups[["orders", "revenue"]].sum()
    sizes = groups.size()
    total = float(sums["revenue"].sum())
    table = pd.DataFrame(
        {
            "customers": sizes,
            "share": sizes / max(1, len(customers)),
            "orders": sums["orders"],
            "revenue": sums["revenue"],
            "revenue_share": sums["revenue"] / (total if total > 0 else np.nan),
        }
    )
    for kind in ("mean", "median"):
        columns = groups[list(ROLES)].agg(kind)
        table[[f"{kind}[{role}]" for role in ROLES]] = columns
    return table.sort_values("revenue", ascending=False, kind="stable").reset_index()


def at_risk(customers: pd.DataFrame, *, n_scores: int = 5, overdue: float = 2.0) -> pd.DataFrame:
    """List who bought often or much and seems to stay away, most revenue first.

    At risk is who has a frequency or monetary score in the upper two fifths and a recency score in
    the lower two fifths and, where the usual time between purchases is known, last bought more than
    ``overdue`` times as long ago.

    Parameters
    ----------
    customers : DataFrame
        One row per customer: ``id``, ``recency``, ``frequency``, ``monetary``, their scores
        (``recency_score`` and so on) and ``revenue``, the amount of all orders; optionally
        ``segment``, ``interpurchase``, mean days between purchases, NaN where not known, and
        ``returned``, the amount given back that ``revenue`` does not leave out.
    n_scores : int
        What the scores go up to. With 5, high is 4 or 5 and low is 1 or 2; with 3, 3 and 1.
    overdue : float

    Returns
    -------
    DataFrame
        The columns named above up to ``segment``, and ``reason`` in words. ``top 5%`` says that so
        many of all customers have as much or more.

    Raises
    ------
    DataError
        If a column is not there.
    """
    _check_columns(customers, ("id", *ROLES, *SCORES, "revenue"), "the list of customers at risk")
    low, high = _low_and_high(n_scores)
    recency, frequency, monetary = (customers[name].to_numpy(dtype=float) for name in SCORES)
    is_wanted = (recency <= low) & ((frequency >= high) | (monetary >= high))
    if "interpurchase" in customers:
        usual = customers["interpurchase"].to_numpy(dtype=float, na_value=np.nan)
        is_wanted &= np.isnan(usual) | (customers["recency"].to_numpy() > overdue * usual)
    return _listed(customers, is_wanted, high)


def high_value(
    customers: pd.DataFrame, *, n_scores: int = 5, top_share: float = 0.1
) -> pd.DataFrame:
    """List who is worth most, most revenue first.

    High value is who has scores in the upper two fifths in recency, frequency and monetary value
    alike, or is among the ``top_share`` of the customers with most revenue (all who are equal to
    the last one of them are in).

    Parameters
    ----------
    customers : DataFrame
        As for :func:`at_risk`.
    n_scores : int
        What the scores go up to.
    top_share : float
        In (0, 1].

    Returns
    -------
    DataFrame
        As :func:`at_risk` returns it.

    Raises
    ------
    ConfigError
        If ``top_share`` is not in (0, 1].
    DataError
        If a column is not there.
    """
    if not 0 < top_share <= 1:
        raise ConfigError(f"high_value needs top_share above 0 and up to 1, got {top_share}")
    _check_columns(customers, ("id", *ROLES, *SCORES, "revenue"), "the list of high value")
    _, high = _low_and_high(n_scores)
    has_scores = (customers[list(SCORES)].to_numpy(dtype=float) >= high).all(axis=1)
    revenue = customers["revenue"].to_numpy(dtype=float)
    is_top = np.zeros(len(revenue), dtype=bool)
    if len(revenue):
        n_top = int(np.ceil(top_share * len(revenue) - 1e-9))
        is_top = revenue >= np.partition(revenue, -n_top)[-n_top]
    is_wanted = has_scores | is_top
    scores, top = "high scores in all three", f"top {100 * top_share:g}% by revenue"
    why = np.where(has_scores & is_top, f"{top}, {scores}", np.where(is_top, top, scores))
    return _listed(customers, is_wanted, high, why)


def _low_and_high(n_scores: int) -> tuple[int, int]:
    """Return the highest low score and the lowest high score: two fifths on either side."""
    low = max(1, 2 * n_scores // 5)
    return low, n_scores + 1 - low


def _check_columns(table: pd.DataFrame, wanted: Iterable[str], what: str) -> None:
    if missing := [name for name in wanted if name not in table]:
        raise DataError(
            f"{what} needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"there is {', '.join(map(str, table))}"
        )


def _listed(
    customers: pd.DataFrame,
    is_wanted: npt.NDArray[np.bool_],
    high: int,
    why: npt.NDArray[Any] | None = None,
) -> pd.DataFrame:
    """Return the wanted customers with the reason, most revenue first."""
    rows = np.flatnonzero(is_wanted)
    rows = rows[np.argsort(-customers["revenue"].to_numpy(dtype=float)[rows], kind="stable")]
    reason = _reasons(customers, rows, high)
    if why is not None:
        reason = why[rows].astype(object) + ": " + reason
    names = ["id", "segment", *ROLES, *SCORES, "revenue"]
    shown = customers.iloc[rows][[name for name in names if name in customers]]
    return shown.reset_index(drop=True).assign(reason=pd.Series(reason, dtype=object))


def _reasons(customers: pd.DataFrame, rows: Labels, high: int) -> npt.NDArray[Any]:
    """Say of each customer what was bought, and when last."""
    frequency, monetary = (customers[name].to_numpy(dtype=float) for name in ROLES[1:])
    is_mean = not np.allclose(monetary, customers["revenue"].to_numpy(dtype=float))
    words = _worded(frequency[rows], "bought {:,} times", {1: "bought once"})
    is_often = customers["frequency_score"].to_numpy()[rows] >= high
    words = words + np.where(is_often, _top(frequency, rows), "").astype(object)
    spent = _worded(monetary[rows], ", spent {:,}" + " per order" * is_mean, {})
    is_much = customers["monetary_score"].to_numpy()[rows] >= high
    words = words + np.where(is_much, spent + _top(monetary, rows), "").astype(object)
    days = customers["recency"].to_numpy(dtype=float)[rows]
    words = words + _worded(
        days, ", last {:,} days ago", {0: ", last on the reference date", 1: ", last 1 day ago"}
    )
    if "interpurchase" in customers:
        usual = customers["interpurchase"].to_numpy(dtype=float, na_value=np.nan)[rows]
        every = _worded(
            np.maximum(np.nan_to_num(usual), 1), ", usually every {:,} days",
            {1: ", usually every day"},
        )  # fmt: skip
        words = words + np.where(np.isnan(usual), "", every).astype(object)
    if "returned" in customers:
        back = np.nan_to_num(customers["returned"].to_numpy(dtype=float)[rows])
        words = words + _worded(back, ", gave back {:,}", {0: ""})
    return words


def _worded(numbers: Floats, template: str, special: Mapping[int, str]) -> npt.NDArray[Any]:
    """Put rounded numbers into words; each different number is written once."""
    codes, distinct = pd.factorize(np.rint(numbers).astype(np.int64))
    texts = [special.get(int(number), template.format(int(number))) for number in distinct]
    return np.array(texts, dtype=object)[codes]


def _top(values: Floats, rows: Labels) -> npt.NDArray[Any]:
    """Return `` (top 5%)``: how many of all customers have as much as each of ``rows``, or more."""
    n_less = np.searchsorted(np.sort(values), values[rows], side="left")
    percent = np.ceil(100 * (1 - n_less / len(values)) - 1e-9)
    return _worded(np.maximum(percent, 1), " (top {}%)", {})
