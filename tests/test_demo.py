from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from segexp.data.demo import MISSING, generate_customers
from segexp.errors import DataError

SEGMENTS = ["A", "B", "C", "D"]
NUMBERS = ["Age", "Work_Experience", "Family_Size"]


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    return generate_customers(8000, seed=0)


@pytest.fixture(scope="module")
def real(data_dir: Path) -> pd.DataFrame:
    path = data_dir / "automobile" / "Train.csv"
    if not path.is_file():
        pytest.skip("needs automobile/Train.csv in SEGEXP_DATA_DIR")
    return pd.read_csv(path)


def share_yes(column: pd.Series) -> float:
    return float((column.dropna() == "Yes").mean())


def test_the_same_seed_gives_the_same_table() -> None:
    pd.testing.assert_frame_equal(generate_customers(200, 7), generate_customers(200, 7))


def test_another_seed_gives_another_table() -> None:
    assert not generate_customers(200, 7).equals(generate_customers(200, 8))


def test_one_customer_is_a_table() -> None:
    assert generate_customers(1, 0).shape == (1, 11)


@pytest.mark.parametrize("n_customers", [0, -5])
def test_no_customers_are_refused_in_one_line(n_customers: int) -> None:
    with pytest.raises(DataError, match=f"n_customers={n_customers}") as error:
        generate_customers(n_customers, 0)
    assert "\n" not in str(error.value)


def test_numbers_are_float64(customers: pd.DataFrame) -> None:
    assert {str(dtype) for dtype in customers[NUMBERS].dtypes} == {"float64"}


def test_the_other_columns_hold_str(customers: pd.DataFrame) -> None:
    texts = customers.drop(columns=["ID", *NUMBERS]).to_numpy().ravel()
    assert {type(cell) for cell in texts if not pd.isna(cell)} == {str}


def test_ids_are_unique(customers: pd.DataFrame) -> None:
    assert customers["ID"].is_unique


@pytest.mark.parametrize(
    ("column", "low", "high"), [("Age", 18, 89), ("Work_Experience", 0, 14), ("Family_Size", 1, 9)]
)
def test_whole_numbers_stay_in_their_range(
    customers: pd.DataFrame, column: str, low: int, high: int
) -> None:
    values = customers[column].dropna()
    assert values.between(low, high).all()
    assert (values == values.round()).all()


def test_every_segment_has_a_fifth_to_a_third_of_the_customers(customers: pd.DataFrame) -> None:
    shares = customers["Segmentation"].value_counts(normalize=True)
    assert sorted(shares.index) == SEGMENTS
    assert shares.between(0.2, 1 / 3).all()


def test_missing_shares_are_the_documented_ones(customers: pd.DataFrame) -> None:
    shares = customers.isna().mean()
    expected = pd.Series(MISSING).reindex(customers.columns, fill_value=0.0)
    np.testing.assert_allclose(shares, expected, atol=0.01)


def test_missing_cells_say_nothing_about_the_segment(customers: pd.DataFrame) -> None:
    of_missing = customers["Segmentation"][customers["Work_Experience"].isna()]
    shares = of_missing.value_counts(normalize=True)
    overall = customers["Segmentation"].value_counts(normalize=True)
    assert (shares - overall).abs().max() < 0.05


def test_who_never_married_spends_little(customers: pd.DataFrame) -> None:
    single = customers[customers["Ever_Married"] == "No"]
    assert set(single["Spending_Score"]) == {"Low"}


def test_the_married_are_older(customers: pd.DataFrame) -> None:
    age = customers.groupby("Ever_Married")["Age"].mean()
    assert age["Yes"] > age["No"] + 10


def test_most_married_executives_spend_much(customers: pd.DataFrame) -> None:
    executives = customers[(customers["Profession"] == "Executive")]
    married = executives[executives["Ever_Married"] == "Yes"]
    assert (married["Spending_Score"] == "High").mean() > 0.6


def test_the_average_spender_fades_with_age(customers: pd.DataFrame) -> None:
    married = customers[customers["Ever_Married"] == "Yes"]
    average = married["Spending_Score"] == "Average"
    assert average[married["Age"] < 50].mean() > 2 * average[married["Age"] > 70].mean()


def test_most_customers_below_25_work_in_healthcare(customers: pd.DataFrame) -> None:
    young = customers[customers["Age"] < 25]
    assert (young["Profession"] == "Healthcare").mean() > 0.5


def test_most_engineers_are_women(customers: pd.DataFrame) -> None:
    engineers = customers[customers["Profession"] == "Engineer"]
    assert (engineers["Gender"] == "Female").mean() > 0.7


def test_artists_have_degrees_more_often_than_engineers(customers: pd.DataFrame) -> None:
    by_profession = customers.groupby("Profession")["Graduated"].apply(share_yes)
    assert by_profession["Artist"] > by_profession["Engineer"] + 0.3


def test_degrees_take_time(customers: pd.DataFrame) -> None:
    by_age = customers.groupby(customers["Age"] >= 30)["Graduated"].apply(share_yes)
    assert by_age[True] > by_age[False] + 0.3


def test_the_single_young_live_in_larger_families_than_the_married(customers: pd.DataFrame) -> None:
    young = customers[customers["Age"] < 25]
    family = young.groupby("Ever_Married")["Family_Size"].mean()
    assert family["No"] > family["Yes"] + 0.5


def test_homemakers_have_the_longest_experience(customers: pd.DataFrame) -> None:
    years = customers.groupby("Profession")["Work_Experience"].mean()
    assert years.idxmax() == "Homemaker"


def test_a_quick_booster_is_right_for_about_half_of_the_customers() -> None:
    table = generate_customers(3000, seed=1)
    X, y = table.drop(columns=["ID", "Segmentation"]), table["Segmentation"]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (one_hot, make_column_selector(dtype_exclude="number")), remainder="passthrough"
    ).set_output(transform="pandas")
    booster = LGBMClassifier(
        n_estimators=60, learning_rate=0.08, num_leaves=7, n_jobs=1, random_state=0, verbose=-1
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    accuracy = cross_val_score(make_pipeline(columns, booster), X, y, cv=folds).mean()
    assert 0.47 < accuracy < 0.59


def test_columns_are_those_of_the_automobile_customers(
    customers: pd.DataFrame, real: pd.DataFrame
) -> None:
    assert list(customers) == list(real)


def test_frequencies_are_near_those_of_the_automobile_customers(
    customers: pd.DataFrame, real: pd.DataFrame
) -> None:
    for column in customers.columns.drop(["ID", *NUMBERS]):
        shares = customers[column].value_counts(normalize=True)
        expected = real[column].value_counts(normalize=True)
        assert (shares - expected).abs().max() < 0.05, column
