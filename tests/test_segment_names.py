from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans

from segexp.clustering.profile import profile
from segexp.errors import ConfigError, DataError
from segexp.segment_names import (
    brief_markers,
    column_labels,
    describe_markers,
    name_segments,
    read_markers,
    say_leanings,
    say_markers,
    segment_levels,
    without_markers,
)


def table(markers: list[str], **means: list[float]) -> pd.DataFrame:
    """A profile of segments 1, 2, ... with these markers."""
    columns = {f"mean[{name}]": values for name, values in means.items()}
    names = [str(i + 1) for i in range(len(markers))]
    return pd.DataFrame({"segment": names, "markers": markers, **columns})


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("Annual Income (k$)", "income"),
        ("Spending Score (1-100)", "spending"),
        ("Family_Size", "family size"),
        ("MntWines", "mnt wines"),
        ("NumWebPurchases", "num web purchases"),
        ("AGE", "age"),
        ("score", "score"),
        ("(k$)", "(k$)"),
        ("Straße", "straße"),
        ("HTMLPages", "html pages"),
    ],
)
def test_a_label_is_readable(column: str, label: str) -> None:
    assert column_labels([column]) == {column: label}


@pytest.mark.parametrize(
    "columns",
    [
        ["income (net)", "income (gross)", "income"],
        ["Income", "income", "INCOME"],
        ["annual income", "monthly income", "income score"],
        ["a_b", "a b", "aB", "A_B"],
        ["", " ", "()", "[]"],
        ["recency", "recency_score"],
    ],
)
def test_different_columns_have_different_labels(columns: list[str]) -> None:
    labels = column_labels(columns)
    assert len(set(labels.values())) == len(columns)


def test_a_qualifier_stays_where_it_tells_columns_apart() -> None:
    found = column_labels(["Annual Income", "Monthly Income"])
    assert list(found.values()) == ["annual income", "monthly income"]


def test_markers_are_read_though_a_column_holds_commas() -> None:
    found = table(["high a, low b, low b"], **{"a, low b": [1.0], "b": [1.0]})
    assert [m.text for m in read_markers(found)["1"]] == ["high a, low b", "low b"]


def test_markers_that_name_no_column_are_an_error() -> None:
    with pytest.raises(DataError, match="name no column"):
        read_markers(table(["high <b>"], a=[1.0]))


def test_a_profile_survives_a_file() -> None:
    X = pd.DataFrame({"x": [1.0, 2, 30, 31], "y": ["a", "a", "b", "b"]})
    made = profile(X, [0, 0, 1, 1])
    read = pd.read_csv(io.StringIO(made.to_csv(index=False)), dtype=str, keep_default_na=False)
    assert name_segments(read) == name_segments(made)


def test_all_are_placed_on_the_columns_that_make_the_names() -> None:
    found = table(
        ["high income, high spending", "low spending", "", "low income, high spending"],
        income=[9.0, 5, 5, 1], spending=[9.0, 1, 5, 9],
    )  # fmt: skip
    assert list(name_segments(found).values()) == [
        "high income, high spending",
        "average income, low spending",
        "average income, average spending",
        "low income, high spending",
    ]


def test_columns_that_tell_all_segments_apart_make_the_names() -> None:
    marks = ["high clicks, low spending, high age", "high clicks, low spending, low age",
             "low clicks, high spending, low age", ""]  # fmt: skip
    found = table(marks, clicks=[9.0, 9, 1, 5], age=[9.0, 1, 1, 5], spending=[1.0, 1, 9, 5])
    assert list(name_segments(found).values()) == [
        "high age, low spending", "low age, low spending", "low age, high spending",
        "average age, average spending",
    ]  # fmt: skip


def test_columns_on_which_most_are_average_do_not_make_the_names() -> None:
    found = table(["high a", "high b", "high c", "low a"], a=[9.0, 5, 5, 1], b=[1.0, 9, 1, 1],
                  c=[1.0, 1, 9, 1])  # fmt: skip
    assert list(name_segments(found).values()) == ["high a", "high b", "high c", "low a"]


def test_a_rare_yes_does_not_make_the_names() -> None:
    marks = ["high bought, low spending, high age", "low bought, low spending, low age",
             "low bought, high spending, low age"]  # fmt: skip
    found = table(marks, bought=[0.02, 0.0, 0.0], age=[90.0, 10, 10], spending=[1.0, 1, 9])
    assert name_segments(found)["3"] == "low age, high spending"


def test_the_order_of_words_is_that_of_the_table() -> None:
    found = table(["high b, low a", "low b, high a"], a=[1.0, 9], b=[9.0, 1])
    assert list(name_segments(found).values()) == ["low a, high b", "high a, low b"]


def test_with_many_columns_who_has_no_marker_is_average() -> None:
    found = table(["high a", "high b", "high c", ""], a=[1.0] * 4, b=[1.0] * 4, c=[1.0] * 4)
    assert name_segments(found)["4"] == "average customers"


def test_who_has_no_marker_but_is_far_from_the_mean_is_rather_so() -> None:
    found = table(["high a", "high b", "high c", ""], a=[1.0] * 4, b=[1.0] * 4, c=[1.0] * 4)
    found["index[b]"] = [100.0, 150, 100, 70]
    assert name_segments(found)["4"] == "rather low b"


def test_a_column_without_values_is_not_known() -> None:
    found = table(["high a", "", "low a"], a=[9.0, 5, 1], b=[1.0, np.nan, 1])
    assert name_segments(found) == {"1": "high a", "2": "b not known", "3": "low a"}
    assert say_markers(found)["2"] == ["b not known"]
    assert "b" not in segment_levels(found)["2"]


def test_levels_without_values_are_not_known() -> None:
    found = table(["high a", ""], a=[9.0, 5]).assign(**{"share[t=u]": [0.5, np.nan]})
    assert name_segments(found) == {"1": "high a", "2": "t not known"}


def test_a_column_that_nobody_has_says_nothing_of_a_segment() -> None:
    assert say_markers(table(["", ""], a=[np.nan, np.nan])) == {"1": [], "2": []}


def test_who_has_no_value_is_not_placed_as_average() -> None:
    marks = ["low a, high b", "high b", "high a, low b", "high a, high b"]
    found = table(marks, a=[1.0, np.nan, 9, 9], b=[9.0, 9, 1, 9])
    assert name_segments(found)["2"] == "a not known, high b"


def test_what_few_of_a_segment_but_most_others_have_is_mostly_not_known() -> None:
    found = scarce([1, 80])
    assert say_markers(found)["1"] == ["b mostly not known"]
    assert "b" not in segment_levels(found)["1"]


def test_what_few_customers_anywhere_have_says_nothing_of_a_segment() -> None:
    found = scarce([1, 2])
    assert without_markers(found) == dict.fromkeys("12", "no column marks it")


def scarce(known: list[int]) -> pd.DataFrame:
    """Segments of 100 customers, of whom so many have a value of b."""
    found = table(["", ""], b=[9.0, 1.0]).assign(n=100)
    return found.assign(**{"index[b]": [700.0, 78.0], "known[b]": known})


def test_columns_that_make_names_are_weighed_by_who_has_a_value() -> None:
    marks = ["high a, high b, high c", "low a, high b, high c", "high a, low b, low c", ""]
    found = table(marks, a=[9.0, 1, 9, 5], b=[9.0, 9, 1, 5], c=[9.0, 9, 1, 5]).assign(n=100)
    assert name_segments(found)["1"] == "high a, high b"
    # With fewer values elsewhere the mean of b is nearer to that of the first two.
    assert name_segments(found.assign(**{"known[b]": [100, 100, 60, 60]}))["1"] == "high a, high c"


def test_only_what_is_near_the_mean_is_placed_as_average() -> None:
    marks = ["high a, high b", "low a", "low a, low b", "high a, low b"]
    found = table(marks, a=[9.0, 1, 1, 9], b=[9.0, 6, 1, 1])
    found["index[b]"] = [220.0, 140, 25, 25]
    assert name_segments(found)["2"] == "low a, rather high b"


def test_what_is_rather_so_is_not_average_anywhere() -> None:
    found = table(["high a", ""], a=[9.0, 1], b=[5.0, 3]).assign(**{"index[b]": [110.0, 70.0]})
    assert segment_levels(found)["2"]["b"] == "rather low"
    assert brief_markers(found)["2"] == "rather low b"
    assert without_markers(found) == {"2": "rather low b"}


def test_noise_alone_is_in_no_segment() -> None:
    found = table([""], a=[1.0]).assign(segment=["noise"])
    assert without_markers(found) == {"noise": "in no segment"}


def test_of_a_column_of_levels_the_farthest_is_said() -> None:
    shares = {"share[s=Low]": [0.4, 0.6], "share[s=High]": [0.4, 0.1], "share[s=Odd]": [0.03, 0.01]}
    found = table(["", ""], a=[1.0, 1]).assign(**shares)
    assert say_leanings(found)["1"] == ["rather many high s"]
    assert say_leanings(found, without=["s"])["1"] == []


def test_equal_names_get_more_markers() -> None:
    marks = ["high a, high b, high c", "high a, high b, low c", "high a, low b, high c",
             "low a, high b, high c"]  # fmt: skip
    found = table(marks, **{c: [1.0] * 4 for c in "abc"})
    names = name_segments(found)
    assert (names["1"], names["2"]) == ("high a, high b, high c", "high a, high b, low c")


def test_equal_names_get_a_word_of_position() -> None:
    marks = ["high a", "high a", "high b", "high c"]
    found = table(marks, a=[9.0, 9, 1, 1], b=[1.0, 1, 9, 1], c=[2.0, 5, 1, 9])
    names = name_segments(found)
    assert (names["1"], names["2"]) == ("high a, lower c", "high a, higher c")


def test_equal_names_of_three_get_numbers() -> None:
    found = table(["high a"] * 3 + ["high b", "high c"], a=[1.0] * 5, b=[1.0] * 5, c=[1.0] * 5)
    assert list(name_segments(found).values())[:3] == ["high a 1", "high a 2", "high a 3"]


def test_names_are_different_and_short_whatever_the_profile() -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        X = pd.DataFrame(
            rng.lognormal(size=(60, 4)),
            columns=["A very long name of a column (in thousands)", "b", "B", "c_d"],
        ).assign(text=rng.choice(["x", "Yes", "No", "Low"], 60))
        made = profile(X, rng.integers(0, 8, 60))
        names = list(name_segments(made).values())
        assert len({name.casefold() for name in names}) == len(names) == len(made)
        assert max(map(len, names)) <= 64
        assert names == list(name_segments(made).values())


def test_known_names_stay_and_markers_describe_them() -> None:
    found = table(["high a", ""], a=[9.0, 1]).assign(segment=["Champions", "noise"])
    assert name_segments(found) == {"Champions": "Champions", "noise": "in no segment"}
    assert describe_markers(found) == {"Champions": "high a", "noise": ""}


def test_known_segments_may_be_called_by_numbers() -> None:
    found = table(["high a", "low a"], a=[9.0, 1])
    assert name_segments(found, own_names=True) == {"1": "1", "2": "2"}


def test_a_users_name_wins() -> None:
    found = table(["high a", "low a", "low a"], a=[9.0, 1, 1])
    assert name_segments(found, given={"1": "our  best", "3": "low a"}) == {
        "1": "our best", "2": "low a 1", "3": "low a",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Champion": "x"}, "did you mean 'Champions'"),
        ({"Champions": " "}, "needs a name"),
        ({"Champions": "same", "Lost": "Same"}, "Champions and Lost both get"),
        ({"Champions": "Lost"}, "two segments would be called 'Lost'"),
    ],
)
def test_a_name_that_cannot_be_given_is_an_error(given: dict[str, str], words: str) -> None:
    found = table(["", ""], a=[1.0, 1]).assign(segment=["Champions", "Lost"])
    with pytest.raises(ConfigError, match=words):
        name_segments(found, given=given)


def test_levels_are_said_in_words() -> None:
    X = pd.DataFrame(
        {
            "Ever_Married": ["Yes"] * 6 + ["No"] * 4,
            "Profession": ["Artist"] * 5 + ["Doctor", "Lawyer"] * 2 + ["Doctor"],
            "Spending_Score": ["Low"] * 5 + ["High"] * 5,
            "Var_1": ["Cat_1"] * 5 + ["Cat_2"] * 5,
        }
    )
    said = say_markers(profile(X, [0] * 5 + [1] * 5, ["A", "B"]))
    assert "many Artist" in said["A"] and "many low spending" in said["A"]
    assert "many never married" in said["B"] and "many var 1 Cat_2" in said["B"]


def test_levels_of_columns_for_actions() -> None:
    X = pd.DataFrame(
        {"Spending_Score": ["Low"] * 5 + ["High"] * 5, "age": [20.0] * 5 + [60.0] * 5, "n": 1.0}
    )
    assert segment_levels(profile(X, [0] * 5 + [1] * 5, ["A", "B"])) == {
        "A": {"Spending_Score": "low", "age": "low", "n": "average"},
        "B": {"Spending_Score": "high", "age": "high", "n": "average"},
    }


@pytest.mark.published
def test_mall_tells_the_known_story(data_dir: Path) -> None:
    path = data_dir / "mall" / "Mall_Customers.csv"
    customers = pd.read_csv(path).drop(columns="CustomerID")
    space = customers[["Annual Income (k$)", "Spending Score (1-100)"]].astype(float)
    labels = KMeans(5, n_init=50, random_state=0).fit_predict(space)
    for X in (space, customers):
        assert sorted(name_segments(profile(X, labels)).values()) == [
            "average income, average spending",
            "high income, high spending",
            "high income, low spending",
            "low income, high spending",
            "low income, low spending",
        ]
