"""The segments of a run on a transaction log at another date."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segexp.cli import main
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.errors import ConfigError
from segexp.experiment import run_experiment
from segexp.migrating import compare_periods, default_folder
from segexp.plan import plan_experiment

MARCH, JUNE = "2021-03-31", "2021-06-30"
QUICKLY = "migration.replications=0"


def run(*words):
    words = ["engine.n_jobs=1", "evaluation.n_splits=2", "evaluation.importance_repeats=0", *words]
    return run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Purchases of 60 customers from January to June; ten of them begin after March."""
    rng = np.random.default_rng(0)
    rows = []
    for customer in range(60):
        first = 95 if customer >= 50 else 0
        for day in np.sort(rng.choice(np.arange(first, 180), 2 + customer % 9, replace=False)):
            date = pd.Timestamp("2021-01-01") + pd.Timedelta(int(day), "D")
            rows.append((customer, date.date().isoformat(), 5 + 20 * (customer % 3)))
    path = tmp_path_factory.mktemp("log") / "log.csv"
    pd.DataFrame(rows, columns=["who", "day", "paid"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def until_march(log, tmp_path_factory):
    keys = {"customer": "who", "date": "day", "amount": "paid", "end": MARCH}
    return run(
        "dataset=transactions", f"dataset.path={log}", "model=kmeans",
        "model.estimator.n_clusters=3", f"run.outputs={tmp_path_factory.mktemp('outputs')}",
        "evaluation.k_max=null", "evaluation.fold_resamples=0", "evaluation.stability_resamples=0",
        f"dataset.transactions.reference_date={MARCH}",
        *(f"dataset.transactions.{key}={value}" for key, value in keys.items()),
    )  # fmt: skip


def test_the_same_log_at_a_later_date(log, until_march):
    found = compare_periods(
        until_march, None, [f"dataset.transactions.reference_date={JUNE}", QUICKLY]
    )
    lines = pd.read_csv(log)
    first = lines[lines["day"] <= MARCH]
    assert (found.before.name, found.after.name) == (MARCH, JUNE)
    assert len(found.before.segments) == first["who"].nunique()
    assert len(found.after.segments) == lines["who"].nunique() == 60
    assert found.transitions["revenue_before"].sum() == first["paid"].sum()
    assert found.transitions["revenue_after"].sum() == lines["paid"].sum()
    arrived = found.transitions.loc[found.transitions["from"] == "(new)", "customers"].sum()
    assert arrived == 60 - first["who"].nunique()
    assert not (found.transitions["to"] == "(gone)").any()
    assert "holds the first" in found.periods[0] and "nobody can be (gone)" in found.periods[0]


def test_a_period_after_the_first_needs_no_words(until_march):
    words = [f"dataset.transactions.reference_date={JUNE}", "dataset.transactions.start=2021-04-01"]
    assert compare_periods(until_march, None, [*words, QUICKLY]).periods == ()


def test_an_earlier_date_is_told_under_the_verdict(until_march, tmp_path, capsys):
    words = ["dataset.transactions.reference_date=2021-02-28", QUICKLY]
    assert main(["migrate", str(until_march.path), *words, "-o", str(tmp_path / "back")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the second period ends before the first (2021-02-28, not after 2021-03-31)" in said
    assert said.index("ends before the first") < said.index("customers from 2021-03-31")


def test_lines_after_the_reference_date_are_left_out(log, until_march):
    words = ["dataset.transactions.reference_date=2021-04-30", QUICKLY]
    found = compare_periods(until_march, None, words)
    lines = pd.read_csv(log)
    paid = lines.loc[lines["day"] <= "2021-04-30", "paid"].sum()
    assert found.transitions["revenue_after"].sum() == paid


def test_the_same_date_again_is_the_same_data(until_march):
    words = [f"dataset.transactions.reference_date={MARCH}", QUICKLY]
    found = compare_periods(until_march, None, words)
    assert "both periods are the same data" in found.notes
    assert found.drift.retention == 1
    assert found.drift.psi == 0


def test_another_log_is_read_as_the_first_was(log, until_march, tmp_path):
    later = tmp_path / "later.csv"
    pd.read_csv(log).query("who < 20").to_csv(later, index=False)
    found = compare_periods(until_march, later, [QUICKLY])
    assert len(found.after.segments) == 20
    assert (found.transitions["to"] == "(gone)").any()


@pytest.fixture(scope="module")
def known_until_march(log, tmp_path_factory):
    keys = {"customer": "who", "date": "day", "amount": "paid", "calibration_end": MARCH}
    return run(
        "dataset=transactions", f"dataset.path={log}", "model=kmeans",
        "model.estimator.n_clusters=3", f"run.outputs={tmp_path_factory.mktemp('outputs')}",
        "evaluation.k_max=null", "evaluation.fold_resamples=0", "evaluation.stability_resamples=0",
        *(f"dataset.transactions.{key}={value}" for key, value in keys.items()),
    )  # fmt: skip


def test_days_end_with_a_later_log_as_they_did_with_the_calibration(
    log, known_until_march, tmp_path
):
    later = tmp_path / "later.csv"
    pd.read_csv(log).query("day <= '2021-05-31'").to_csv(later, index=False)
    found = compare_periods(known_until_march, later, [QUICKLY])
    last = pd.read_csv(later)["day"].max()
    assert (found.before.name, found.after.name) == (MARCH, last)
    assert found.after.dataset.X["recency"].min() == 0


def test_the_later_period_has_no_calibration(known_until_march):
    with pytest.raises(ConfigError, match="is not how the customers later are read"):
        compare_periods(
            known_until_march, None, ["dataset.transactions.calibration_end=2021-05-31"]
        )


def test_the_folder_is_checked_as_soon_as_its_name_is_known(log, until_march, monkeypatch):
    day = (pd.Timestamp(pd.read_csv(log)["day"].max()) + pd.Timedelta(1, "D")).date()
    found = compare_periods(until_march, log, [QUICKLY])
    folder = default_folder(found)
    assert folder.name == f"migration-{day}"
    told = []
    monkeypatch.setattr("segexp.migrating._compared", lambda *given: told.copy())
    assert compare_periods(until_march, log, [QUICKLY], check=told.append) == [folder]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dataset.transactions.referense_date=2021-06-30", "did you mean"),
        ("dataset.transactions.features=[recency]", "is not how the customers later are read"),
        ("dataset.transactions.reference_date=June", "must be a date such as 2011-12-10"),
        ("migration.revenue=paid", "the revenue of a transaction log is known"),
    ],
)
def test_words_that_a_log_does_not_take_are_refused(until_march, word, said):
    with pytest.raises(ConfigError, match=said):
        compare_periods(until_march, None, [word])


@pytest.mark.slow
@pytest.mark.published
def test_online_retail_at_its_end_has_the_published_customers_and_revenue(
    data_dir, tmp_path, monkeypatch
):
    """UCI Online Retail: 4338 customers and 8,911,407.90 of revenue on 2011-12-10."""
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(data_dir))
    september = [f"dataset.transactions.{key}=2011-09-01" for key in ("reference_date", "end")]
    quickly_read = ["dataset.reader=parquet", "dataset.path=online_retail/online_retail.parquet"]
    made = run(
        "experiment=retail_rfm", *quickly_read, *september, "evaluation.stability_resamples=0",
        "evaluation.fold_resamples=0", f"run.outputs={tmp_path}",
    )  # fmt: skip
    words = ["dataset.transactions.reference_date=2011-12-10", QUICKLY]
    found = compare_periods(made, None, words)
    assert len(found.after.segments) == 4338
    assert found.transitions["revenue_after"].sum() == pytest.approx(8_911_407.90, abs=0.01)
    assert set(found.refit.names) <= {*found.order}
