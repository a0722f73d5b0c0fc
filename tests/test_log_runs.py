"""Runs on a transaction log, as they are typed: segments, customer value, rules; new customers."""

import csv
import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest

import segexp.runs as runs
from segexp.cli import main
from segexp.predict import predict_table
from segexp.rfm import TEN

QUICK = ["engine.n_jobs=1", "evaluation.n_splits=2"]
NO_REFITS = ["evaluation.fold_resamples=0", "evaluation.stability_resamples=0"]
COLUMNS = ("customer", "order", "date", "item", "quantity", "price")
RFM = ["preprocessing=rfm_scores", "model=rfm_segments"]


def write_log(path, n_customers=150, seed=0):
    """A shop where customers buy a few of five items at times of their own."""
    rng = np.random.default_rng(seed)
    order = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for customer in range(n_customers):
            day = int(rng.integers(0, 150))
            every = float(rng.exponential(40)) + 3
            while day < 364:
                order += 1
                date = np.datetime64("2021-01-01") + day
                n_items = int(rng.integers(1, 4))
                for item in rng.choice(5, size=n_items, replace=False):
                    price = 5 + customer % 7 + rng.integers(1, 4)
                    writer.writerow([customer, order, date, f"item {item}", 1, price])
                day += 1 + int(rng.exponential(every))
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("shop") / "orders.csv")


@pytest.fixture(scope="module")
def log_words(shop):
    named = [f"dataset.transactions.{name}={name}" for name in COLUMNS]
    return ["dataset=transactions", f"dataset.path={shop}", "dataset.name=shop", *named]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


def run(outputs, *words):
    """Run by the command line, and open what it left."""
    assert main(["run", *words, *QUICK, f"run.outputs={outputs}"]) == 0
    return runs.open_run(max(runs.find_runs(outputs), key=lambda path: path.stat().st_mtime_ns))


@pytest.fixture(scope="module")
def rfm(outputs, log_words):
    return run(outputs, *log_words, *RFM, *NO_REFITS)


@pytest.fixture(scope="module")
def value(outputs, log_words):
    end = "dataset.transactions.calibration_end=2021-09-30"
    return run(outputs, *log_words, "model=bg_nbd", end)


@pytest.fixture(scope="module")
def rules(outputs, log_words):
    support = "model.estimator.min_support=0.1"
    return run(outputs, *log_words, "model=association_rules", support,
               "dataset.transactions.segments=rfm")  # fmt: skip


def test_segments_have_the_names_of_the_map(rfm):
    assert set(rfm.read_customers()["segment"]) <= {*TEN, "Others"}
    assert set(rfm.read_segments()["segment"]) == set(rfm.read_customers()["segment"])


def test_the_revenue_of_the_segments_is_that_of_the_log(rfm, shop):
    log = pd.read_csv(shop)
    revenue = rfm.read_table(runs.RFM)["revenue"].sum()
    assert revenue == pytest.approx((log["quantity"] * log["price"]).sum(), abs=0.01)


@pytest.mark.parametrize("name", [runs.AT_RISK, runs.HIGH_VALUE])
def test_every_listed_customer_has_a_reason(rfm, name):
    listed = rfm.read_table(name)
    assert len(listed)
    assert listed["reason"].str.contains("last").all()


def test_the_manifest_says_what_the_log_came_to(rfm, shop):
    log = rfm.manifest["dataset"]["log"]
    assert log["n_lines"] == len(pd.read_csv(shop))
    assert rfm.manifest["dataset"]["n_rows"] == log["n_customers"] == 150


def test_another_log_is_summed_up_and_scored_by_the_cuts_of_the_run(rfm, tmp_path):
    other = write_log(tmp_path / "other.csv", n_customers=40, seed=1)
    out = tmp_path / "segments.csv"
    assert main(["predict", str(rfm.path), str(other), "-o", str(out)]) == 0
    scored = pd.read_csv(out)
    assert len(scored) == 40
    assert set(scored["segment"]) <= {*TEN, "Others"}


def test_the_log_of_the_run_gets_the_segments_of_the_run(rfm, shop, tmp_path):
    out = tmp_path / "segments.csv"
    assert main(["predict", str(rfm.path), str(shop), "-o", str(out)]) == 0
    scored = pd.read_csv(out, dtype=str).set_index("customer")["segment"]
    own = rfm.read_customers().set_index("id")["segment"]
    assert scored.reindex(own.index).tolist() == own.tolist()


def test_a_segment_that_nobody_was_in_has_its_name_for_new_customers(
    outputs, log_words, tmp_path, capsys
):
    rules = "{Great: {monetary: [5, 5]}, Odd: {recency: [5, 5], frequency: [1, 1]}, Rest: {}}"
    log = tmp_path / "log.csv"  # who bought last bought most often
    rows = [f"{c},{c}-{i},2021-02-{c + 1 - i:02},a,1,1" for c in range(10) for i in range(c + 1)]
    log.write_text("\n".join([",".join(COLUMNS), *rows]))
    fitted = run(outputs, *log_words, *RFM, *NO_REFITS, f"model.estimator.rules={rules}",
                 f"dataset.path={log}")  # fmt: skip
    assert "Odd" not in set(fitted.read_customers()["segment"])
    table, out = tmp_path / "customers.csv", tmp_path / "segments.csv"
    table.write_text("who,recency,frequency,monetary\na,0,1,1\n")
    capsys.readouterr()
    assert main(["predict", str(fitted.path), str(table), "-o", str(out)]) == 0
    assert pd.read_csv(out)["segment"].tolist() == ["Odd"]
    assert re.search(r"Odd +1 +100.0% +0.0%", capsys.readouterr().err)


def test_a_table_of_features_is_scored_as_it_is(rfm, tmp_path):
    table, out = tmp_path / "customers.csv", tmp_path / "segments.csv"
    table.write_text("who,recency,frequency,monetary\na,1,100,100000\nb,360,1,1\n")
    assert main(["predict", str(rfm.path), str(table), "-o", str(out)]) == 0
    assert pd.read_csv(out)["segment"].tolist() == ["Champions", "Lost"]


def test_the_value_of_new_customers(value, shop, tmp_path):
    out = tmp_path / "value.csv"
    assert main(["predict", str(value.path), str(shop), "-o", str(out)]) == 0
    scored = pd.read_csv(out)
    assert {"expected_purchases", "probability_alive", "expected_spend", "clv"} <= set(scored)
    assert scored["probability_alive"].between(0, 1).all()


def test_histories_of_a_later_log_end_with_its_last_day(value, shop):
    """As in the training, where they ended with calibration_end."""
    days = pd.read_csv(shop, parse_dates=["date"]).groupby("customer")["date"]
    found = predict_table(value.path, shop)
    own = found.table.astype({"customer": int}).set_index("customer")
    assert (own["tenure"] == (days.max().max() - days.min()).dt.days).all()
    last = days.max().max().date()
    assert any(f"count up to {last}, the last day of the log" in note for note in found.notes)


def test_a_reference_date_that_is_given_holds(value, shop):
    first = pd.read_csv(shop, parse_dates=["date"])["date"].min()
    words = ["dataset.transactions.reference_date=2022-01-31"]
    tenure = predict_table(value.path, shop, words).table["tenure"]
    assert tenure.max() == (pd.Timestamp("2022-01-31") - first).days


def test_a_frame_is_read_by_the_words_as_a_file_is(rfm, shop):
    lines = pd.read_csv(shop, dtype=str).assign(
        date=lambda t: pd.to_datetime(t["date"]).dt.strftime("%d-%m-%Y"),
        price=lambda t: t["price"] + ",50",
    )
    lines.loc[lines["customer"] == "3", "customer"] = "unknown"
    written = shop.with_name("written.csv")
    lines.to_csv(written, sep=";", index=False)
    words = ["dataset.dayfirst=true", "dataset.decimal=comma", "dataset.missing_tokens=[unknown]"]
    table = predict_table(rfm.path, lines, words).table
    assert len(table) == 149
    pd.testing.assert_frame_equal(table, predict_table(rfm.path, written, words).table)


def test_value_models_stand_in_one_table(value, outputs, log_words, capsys):
    end = "dataset.transactions.calibration_end=2021-09-30"
    other = run(outputs, *log_words, "model=past_rate", end)
    capsys.readouterr()
    assert main(["compare", str(value.path), str(other.path), "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert table["metric"] == "holdout_log_likelihood"
    assert sum(row["rank"] is not None for row in table["rows"]) == 2


def test_rules_are_mined_for_each_segment(rules, rfm):
    table = pd.read_csv(rules.path / runs.SEGMENT_RULES)
    assert set(table["segment"]) <= set(rfm.read_customers()["segment"])


def test_the_segments_of_a_run_can_be_those_of_the_baskets(rfm, outputs, log_words):
    of_run = f"dataset.transactions.segments={rfm.path}"
    found = run(outputs, *log_words, "model=association_rules",
                "model.estimator.min_support=0.1", of_run)  # fmt: skip
    content = json.loads((found.path / runs.BASKETS).read_text())
    assert set(content["segments"]) <= set(rfm.read_customers()["segment"])


@pytest.mark.parametrize("kind", ["rfm", "value", "rules"])
def test_the_same_again_is_the_same(kind, request, capsys):
    done = request.getfixturevalue(kind)
    assert main(["rerun", str(done.path), "engine.n_jobs=1"]) == 0


@pytest.mark.parametrize("kind", ["rfm", "value", "rules"])
def test_a_run_is_shown_in_full(kind, request, capsys):
    done = request.getfixturevalue(kind)
    assert main(["show", str(done.path)]) == 0
    said = {"rfm": "what they bought", "value": "BetaGeo", "rules": "if a basket holds"}
    assert said[kind] in capsys.readouterr().out


def test_the_heading_of_a_holdout_says_whom_its_figures_are_of(value, capsys):
    assert main(["show", str(value.path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    log, n = value.manifest["dataset"]["log"], value.manifest["dataset"]["n_rows"]
    assert f"shop: {n} customers who bought up to 2021-09-30" in said
    assert f"of all {log['n_customers']} customers, also those who came later: " in said


def test_rules_give_no_segments(rules, shop, capsys):
    assert main(["predict", str(rules.path), str(shop)]) == 2
    assert "holds association rules" in capsys.readouterr().err


def test_baskets_without_customers_have_no_segments(capsys):
    assert main(["run", "model=kmeans", "dataset=groceries"]) == 2
    assert "holds baskets without customers" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["evaluation.group=item", "dataset.rules={price: {max: 3}}"])
def test_a_plan_says_what_a_log_does_not_know(log_words, word, capsys):
    assert main(["plan", *log_words, "model=kmeans", word]) == 2
    assert "transaction log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model=bg_nbd", "dataset.transactions.calibration_end"),
        ("model=bg_nbd dataset=demo", "needs transactions"),
        ("model=association_rules search=tpe", "has no search"),
        ("model=association_rules evaluation.metric=accuracy", "does not judge"),
        ("model=kmeans evaluation.metric=mae", "does not judge"),
        ("model=lightgbm", "names no target"),
        ("model=kmeans dataset.transactions.order=ordr", "did you mean 'order'"),
        ("model=kmeans evaluation.group=item", "keep a customer together"),
        ("model=kmeans dataset.transactions.reference_date=tomorrow", "must be a date"),
        ("model=kmeans dataset.target=item", "means nothing for a transaction log"),
        ("model=lightgbm dataset.target=item", "have no known segment"),
        ("model=kmeans dataset.id=customer", "dataset.transactions.customer names the customers"),
        ("model=kmeans dataset.numeric=[price]", "dataset.transactions.features says"),
        ("model=kmeans 'dataset.filter={price: {min: 3}}'", "dataset.transactions.keep"),
        ("model=kmeans 'dataset.rules={price: {max: 3}}'", "mend the lines in the file itself"),
        ("model=kmeans dataset.invalid_values=missing", "dataset.transactions.invalid says"),
        ("model=kmeans dataset.duplicate_rows=drop", "dataset.transactions.duplicates says"),
        ("model=association_rules dataset.transactions.segments=nowhere", "no such run or table"),
    ],
)
def test_what_cannot_be_is_one_line(log_words, outputs, words, said, capsys):
    assert main(["run", *log_words, *shlex.split(words), f"run.outputs={outputs}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
