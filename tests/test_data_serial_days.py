"""Numbers that are the dates of a spreadsheet."""

from __future__ import annotations

import numpy as np
import pytest

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig
from segexp.data.loading import load_dataset
from segexp.data.serial_days import serial_days

DAYS = np.arange(40_001, 45_001, 7)


def test_days_are_told_as_dates():
    first, last = serial_days("since", DAYS)
    assert (str(first), str(last)) == ("2009-07-07", "2023-03-14")


def test_days_may_have_gaps():
    assert serial_days("last_visit", np.append(DAYS, np.nan)) is not None


EARLY = np.arange(8_001, 50_001, 7)  # from 1921 on: days under the name of a date only


@pytest.mark.parametrize("name", ["last_seen", "StartDate", "enddate", "first_day", "signup"])
def test_the_name_of_a_date_allows_days_of_a_century(name):
    assert serial_days(name, EARLY) is not None


@pytest.mark.parametrize("name", ["last_order_value", "last_order", "first", "day_count", "end"])
def test_a_word_that_dates_share_with_amounts_is_no_name_of_a_date(name):
    assert serial_days(name, EARLY) is None


@pytest.mark.parametrize(
    "name", ["zip", "ZipCode", "postcode", "order_value", "day_rate_eur", "CustomerID", "amount"]
)
def test_codes_and_money_are_no_days(name):
    assert serial_days(name, DAYS) is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("income", np.arange(20_000, 60_000, 7)),  # more than a few years
        ("income", np.arange(40_000, 45_000, 100)),  # round
        ("spend", DAYS + 0.25),
        ("signup_date", DAYS + 0.25),
        ("since", np.arange(2_000, 2_026)),  # years
        ("since", [40_001, 40_002]),
        ("since", [np.nan]),
    ],
)
def test_other_numbers_are_left_alone(name, values):
    assert serial_days(name, values) is None


def test_the_audit_says_so(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{day},{i % 5}" for i, day in enumerate(DAYS)]
    path.write_text("\n".join(["since,visits", *rows]))
    defaults = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]
    config = DatasetConfig(**{**defaults, "name": "t", "path": str(path)})
    found = load_dataset(config).findings
    (message,) = [finding.message for finding in found if finding.code == "serial_days"]
    assert message.startswith("column 'since' looks like the days of Excel (2009-07-07 to 2023-")
