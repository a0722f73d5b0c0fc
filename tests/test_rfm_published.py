"""Published figures of RFM, reached again on the same public data.

R package rfm: the page of ``rfm_segment_summary`` (rfm.rsquaredacademy.com) prints customers,
orders and revenue of ten segments of its orders at 2006-12-31, and the site the edges and scores.

Online Retail (Chen, Sain and Guo 2012, UCI 352) at 2011-12-10, lines of known customers with
quantity and price above zero: counts computed with the same edges and map, held fixed here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from segexp.rfm import SCORES, LogRFM, RFMScorer, RFMSegments
from segexp.rfm_lists import rfm_table

pytestmark = pytest.mark.published

SEGMENTS = {  # customers, orders, revenue
    "About To Sleep": (102, 283, 23449),
    "At Risk": (28, 216, 22227),
    "Can't Lose Them": (47, 274, 32446),
    "Champions": (35, 316, 31646),
    "Lost": (148, 393, 35324),
    "Loyal Customers": (170, 799, 76562),
    "Need Attention": (10, 57, 4562),
    "New Customers": (104, 329, 28837),
    "Potential Loyalist": (342, 2211, 204856),
    "Promising": (9, 28, 4249),
}


def summed_up(log, customer, order, date, amount, reference):
    """Recency, frequency and monetary value by plain pandas."""
    log = log.assign(day=log[date].dt.normalize())
    groups = log.groupby(customer)
    days = (pd.Timestamp(reference) - groups["day"].max()).dt.days
    frequency = groups[order].nunique() if order else groups.size()
    table = {"recency": days, "frequency": frequency, "monetary": groups[amount].sum()}
    return pd.DataFrame(table).astype(float)


def named(customers, **parameters):
    found = RFMScorer(**parameters).fit_transform(customers)
    segments = RFMSegments("ten").fit(found)
    names = np.array(segments.segment_names_)[segments.labels_]
    return customers.assign(
        **{name: found[name] for name in SCORES},
        segment=names,
        revenue=customers["monetary"],
        orders=customers["frequency"],
    )


@pytest.fixture(scope="module")
def orders(data_dir):
    log = pd.read_csv(data_dir / "rfm_orders" / "rfm_data_orders.csv", parse_dates=["order_date"])
    assert len(log) == 4906
    return summed_up(log, "customer_id", None, "order_date", "revenue", "2006-12-31")


def test_the_edges_are_those_of_r(orders):
    edges = RFMScorer(method="r_rfm").fit(orders).edges_
    assert_allclose(edges["recency"], [115, 181, 297.4, 482])
    assert_allclose(edges["frequency"], [4, 5, 6, 8])
    assert_allclose(edges["monetary"], [255.8, 382, 506.4, 666])


@pytest.mark.parametrize(
    ("customer", "score"),
    [
        ("Abbey O'Reilly", 343),
        ("Add Senger", 412),
        ("Aden Lesch", 323),
        ("Aden Murphy", 544),
        ("Admiral Senger", 433),
    ],
)
def test_five_customers_have_the_scores_of_r(orders, customer, score):
    found = RFMScorer(method="r_rfm").fit_transform(orders).loc[customer]
    assert found.tolist() == [float(digit) for digit in str(score)]


def test_ten_segments_have_the_customers_orders_and_revenue_of_r(orders):
    table = rfm_table(named(orders, method="r_rfm")).set_index("segment")
    found = table[["customers", "orders", "revenue"]]
    assert {name: tuple(row) for name, row in found.iterrows()} == SEGMENTS


@pytest.fixture(scope="module")
def retail(data_dir):
    log = pd.read_parquet(data_dir / "online_retail" / "online_retail.parquet")
    log = log[log["CustomerID"].notna() & (log["Quantity"] > 0) & (log["UnitPrice"] > 0)]
    log = log.assign(amount=log["Quantity"] * log["UnitPrice"])
    customers = summed_up(log, "CustomerID", "InvoiceNo", "InvoiceDate", "amount", "2011-12-10")
    assert len(customers) == 4338
    return customers


def test_ten_segments_of_online_retail(retail):
    table = rfm_table(named(retail, method="r_rfm")).set_index("segment")
    assert table["customers"].to_dict() == {
        "Champions": 324, "Potential Loyalist": 1280, "Loyal Customers": 687, "Lost": 772,
        "New Customers": 356, "Can't Lose Them": 81, "About To Sleep": 631, "At Risk": 63,
        "Promising": 98, "Need Attention": 32, "Others": 14,
    }  # fmt: skip
    assert table.loc["Champions", "revenue"] == pytest.approx(3_830_794.53, abs=0.005)
    assert table.loc["Can't Lose Them", "revenue"] == pytest.approx(296_345.64, abs=0.005)
    assert table.loc["At Risk", "revenue"] == pytest.approx(189_152.61, abs=0.005)
    assert table["revenue"].sum() == pytest.approx(8_911_407.90, abs=0.005)


@pytest.mark.parametrize("method", ["quantiles", "nested", "r_rfm"])
def test_all_who_bought_once_have_one_frequency_score(retail, method):
    found = RFMScorer(method=method).fit_transform(retail)["frequency_score"]
    once = found[retail["frequency"] == 1]
    assert len(once) == 1493
    assert set(once) == {1.0}
    assert found[retail["frequency"] == 209].tolist() == [5.0]


@pytest.mark.parametrize(("k", "silhouette"), [(2, 0.4327), (5, 0.3185)])
def test_k_means_on_the_logarithms(retail, k, silhouette):
    Z = StandardScaler().fit_transform(LogRFM().fit_transform(retail))
    labels = KMeans(k, n_init=10, random_state=0).fit_predict(Z)
    assert silhouette_score(Z, labels) == pytest.approx(silhouette, abs=0.00005)
