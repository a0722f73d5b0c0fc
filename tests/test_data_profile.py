"""A profile is judged on tables that can be worked out by eye, and on published facts."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segexp.data_profile import MAX_ROWS, measured, profile_table, say
from segexp.errors import DataError

RNG = np.random.default_rng(0)


def profiled(table, y=None, segments=(), **options):
    """The profile of a table, which must survive a round trip through strict JSON."""
    found = profile_table(pd.DataFrame(table), y, segments, **options)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    say(found)
    return found


def column(values, **options):
    return profiled({"x": values}, **options)["columns"][0]


def text(*values):
    return pd.Series(values, dtype=object)


def association(a, b):
    found = profiled({"a": a, "b": b})["associations"]
    assert found["values"][0][1] == found["values"][1][0]
    return found["kinds"][0][1], found["values"][0][1]


# ---- columns -----------------------------------------------------------------------------------


def test_a_number_is_described_by_its_moments_and_quantiles():
    found = column([0.0, 1, 2, 3, 4, np.nan])
    assert (found["missing"], found["missing_share"]) == (1, pytest.approx(1 / 6))
    assert (found["mean"], found["sd"]) == (2, pytest.approx(math.sqrt(2.5)))
    assert found["quantiles"] == pytest.approx([0.2, 1, 2, 3, 3.8])
    assert (found["zero_share"], found["whole"], found["skew"]) == (0.2, True, 0)


def test_quantiles_skew_and_spread_agree_with_numpy_and_scipy():
    values = RNG.lognormal(size=501)
    found = column(values)
    assert found["quantiles"] == pytest.approx(np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]))
    assert found["skew"] == pytest.approx(stats.skew(values, bias=False))
    assert found["sd"] == pytest.approx(values.std(ddof=1))


def test_a_few_whole_numbers_get_a_bar_each():
    histogram = column([2.0, 2, 3, 5])["histogram"]
    assert histogram == {"kind": "values", "values": [2, 3, 5], "counts": [2, 1, 1]}


def test_bins_are_those_of_freedman_and_diaconis():
    values = RNG.normal(size=1000)
    histogram = column(values)["histogram"]
    edges = np.array(histogram["edges"])
    width = 2 * stats.iqr(values) / 10
    assert len(edges) - 1 == math.ceil(np.ptp(values) / width)
    assert histogram["counts"] == np.histogram(values, edges)[0].tolist()


def test_a_monster_does_not_squeeze_the_histogram_into_one_bar():
    histogram = column([*RNG.normal(size=1000), 1e6])["histogram"]
    assert (histogram["above"], histogram["below"]) == (1, 0)
    assert histogram["edges"][-1] < 10 and sum(histogram["counts"]) == 1000


@pytest.mark.parametrize("whole", [False, True])
def test_every_value_is_in_a_bin_or_beyond(whole):
    values = RNG.lognormal(sigma=2, size=3000) * 50
    histogram = column(np.round(values) if whole else values)["histogram"]
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == 3000


def test_bins_of_whole_numbers_hold_as_many_numbers_each():
    edges = column(RNG.integers(0, 100, 500).astype(float))["histogram"]["edges"]
    assert len({round(step, 9) for step in np.diff(edges)}) == 1
    assert edges[0] % 1 == 0.5 and np.diff(edges)[0] % 1 == 0


def test_outliers_lie_beyond_the_fences_of_tukey():
    found = column([*range(1, 12), 30.0, -20])["outliers"]
    assert (found["n_low"], found["n_high"]) == (1, 1)
    assert (found["lowest"], found["highest"]) == ([-20], [30])
    assert (found["low_fence"], found["high_fence"]) == (-6, 18)


def test_the_rule_of_tukey_says_nothing_where_the_middle_half_is_one_value():
    assert column([0.0] * 9 + [1])["outliers"] is None


def test_levels_are_counted_from_the_most_frequent_on():
    found = column(text("b", "a", "b", None))
    assert found["levels"] == [["b", 2], ["a", 1]] and found["missing"] == 1
    assert found["entropy"] == pytest.approx(0.9183, abs=1e-4)


def test_levels_of_an_ordinal_keep_their_order():
    scale = pd.Categorical(["hi", "lo", "hi"], ["lo", "mid", "hi"], ordered=True)
    assert column(scale)["levels"] == [["lo", 1], ["mid", 0], ["hi", 2]]


def test_of_many_levels_the_rest_is_counted():
    found = column(text(*(f"l{i % 40}" for i in range(400))))
    assert len(found["levels"]) == 15
    assert (found["other_levels"], found["other_count"]) == (25, 250)


def test_texts_that_may_name_customers_are_not_listed():
    found = profiled({"x": text(*(f"Jane {i}" for i in range(50)))})
    assert found["columns"][0]["levels"] == [] and found["odd"]["id_like"] == ["x"]
    assert "Jane" not in json.dumps(found)


@pytest.mark.parametrize(
    ("dates", "unit", "n_bars"),
    [
        (["2020-01-01", "2020-01-03"], "day", 3),
        (["2020-01-01T00:00", "2020-01-01T05:10"], "hour", 6),
        (["2020-01-01", "2022-12-31"], "month", 36),
        (["1900-01-01", "2020-01-01"], "4 years", 31),
    ],
)
def test_dates_are_counted_by_a_natural_unit(dates, unit, n_bars):
    found = column(pd.to_datetime([*dates, None]))
    assert found["histogram"]["unit"] == unit and len(found["histogram"]["counts"]) == n_bars
    assert sum(found["histogram"]["counts"]) == 2 and found["missing"] == 1


# ---- pairs -------------------------------------------------------------------------------------


def test_numbers_are_compared_by_their_ranks():
    a, b = RNG.normal(size=50), RNG.normal(size=50)
    a[3], b[7] = np.nan, np.nan
    expected = stats.spearmanr(a, b, nan_policy="omit").statistic
    assert association(a, b) == ("spearman", pytest.approx(expected))


def test_categories_are_compared_by_the_corrected_v_of_bergsma():
    a = text(*["x"] * 30, *["y"] * 20)
    b = text(*["p"] * 25, *["q"] * 5, *["p"] * 6, *["q"] * 14)
    chi2 = stats.chi2_contingency(pd.crosstab(a, b), correction=False).statistic
    phi2 = chi2 / 50 - 1 / 49
    expected = math.sqrt(phi2 / (2 - 1 / 49 - 1))
    assert association(a, b) == ("cramers_v", pytest.approx(expected))


def test_a_category_and_a_number_are_compared_by_the_ratio_of_the_ranks():
    values = np.arange(20.0)
    codes = np.repeat(["a", "b"], 10).astype(object)
    h = stats.kruskal(values[:10], values[10:]).statistic
    expected = math.sqrt(1 - (1 - h / 19) * 19 / 18)
    assert association(pd.Series(codes, dtype=object), values) == ("eta", pytest.approx(expected))


def test_an_ordinal_is_ranked_beside_a_number_and_counted_beside_a_category():
    scale = pd.Categorical(["lo", "mid", "hi"] * 10, ["lo", "mid", "hi"], ordered=True)
    assert association(scale, np.tile([1.0, 2, 3], 10)) == ("spearman", pytest.approx(1))
    assert association(scale, text(*["a", "b", "c"] * 10))[0] == "cramers_v"


def test_many_levels_fit_anything_only_by_chance():
    levels = text(*(f"l{i}" for i in RNG.permutation(1000)))
    found = profiled({"x": levels, "y": RNG.normal(size=1000)}, RNG.integers(0, 3, 1000), "abc")
    assert found["associations"]["values"][0][1] in (None, 0)
    features = {feature["column"]: feature for feature in found["target"]["features"]}
    assert features["x"]["share"] == 0 and features["x"]["cramers_v"] == 0


def test_equal_columns_are_told():
    x = RNG.normal(size=30)
    assert profiled({"a": x, "b": -x})["odd"]["same"] == [["a", "b", "spearman", -1.0]]


def test_pairs_of_a_long_table_are_compared_on_a_sample_that_is_told():
    x = RNG.normal(size=MAX_ROWS + 10)
    found = profiled({"a": x, "b": RNG.normal(size=len(x))}, seed=1)
    assert (found["n_rows"], found["n_compared"]) == (MAX_ROWS + 10, MAX_ROWS)
    assert sum(found["columns"][0]["histogram"]["counts"]) > MAX_ROWS


# ---- segments ----------------------------------------------------------------------------------


def test_a_column_that_names_the_segment_takes_all_uncertainty_off():
    y = np.repeat([0, 1, 2], 500)
    table = {"same": pd.Series(y).map(dict(enumerate("pqr"))), "noise": RNG.normal(size=1500)}
    first, second = profiled(table, y, "abc")["target"]["features"]
    assert first["column"] == "same" and first["share"] == pytest.approx(1, abs=0.01)
    assert second["share"] < 0.01


def test_rare_answers_are_not_lost_between_the_tenths():
    y = np.repeat([0, 1], 500)
    answers = np.where(np.arange(1000) % 100 < 2 + 10 * y, 1.0, 0)
    feature = profiled({"answer": answers}, y, "ab")["target"]["features"][0]
    assert feature["share"] > 0.02 and feature["levels"] == ["0", "1"]


def test_segments_are_described_in_the_units_of_the_column():
    feature = profiled({"x": [1.0, 3, 10, 20]}, np.array([0, 0, 1, 1]), "ab")["target"]["features"][
        0
    ]
    assert [group["mean"] for group in feature["groups"]] == [2, 15]
    assert feature["eta_squared"] == pytest.approx(169 / 221)


def test_shares_are_of_what_is_known():
    y = np.array([0, 0, 0, 1])
    feature = profiled({"x": text("p", "q", None, None)}, y, "ab")["target"]["features"][0]
    assert feature["shares"] == [[0.5, 0.5, 0], None]


def test_noise_is_left_out_of_found_segments():
    labels = np.array([0, 0, 1, 1, -1])
    found = profiled({"x": [1.0, 2, 8, 9, 99]}, labels=labels)["found"]
    assert (found["segments"], found["counts"], found["n_left_out"]) == (["0", "1"], [2, 2], 1)


def test_missing_that_depends_on_the_segment_is_a_pattern():
    y = np.repeat([0, 1], 100)
    x = np.where((y == 1) & (np.arange(200) % 2 == 0), np.nan, 1.0 + np.arange(200) % 7)
    pattern = profiled({"x": x}, y, "ab")["missing"]["patterns"][0]
    assert (pattern["with"], pattern["rates"]) == ("segment", [0, 0.5])


def test_columns_that_lack_the_same_rows_are_a_pattern():
    gaps = np.arange(300) % 3 == 0
    a, b = (np.where(gaps, np.nan, RNG.normal(size=300)) for _ in range(2))
    patterns = profiled({"a": a, "b": b})["missing"]["patterns"]
    assert [(p["column"], p["with"], p["other"]) for p in patterns] == [("a", "missing", "b")]


def test_a_weak_pattern_beyond_chance_is_kept_and_makes_no_sentence():
    y = np.repeat([0, 1], 4000)
    x = np.where(np.arange(8000) % 100 < np.where(y == 0, 2, 4), np.nan, 1.0 + np.arange(8000) % 7)
    found = profiled({"x": x}, y, "ab")
    (pattern,) = found["missing"]["patterns"]
    assert pattern["with"] == "segment" and 0 < pattern["value"] < 0.1
    assert not any("missing at random" in words for words in say(found))


# ---- hostile tables ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [np.nan] * 5,
        text(*[None] * 5),
        pd.to_datetime([None] * 5),
        pd.Categorical([None] * 5, ["a", "b"], ordered=True),
        [7.0] * 5,
        text(*["a"] * 5),
        [True, False, True, True, False],
        [1e308, -1e308, 1e308, 0, 5e-324],
        [np.inf, -np.inf, 1, 2, np.nan],
        [1e15, 1e15 + 1, 1e15 + 2, 1e15 + 7, 1e15 + 9],
        [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3],
        text(1, "1", 1.0, None, True),
        pd.Series(np.array(["0001-01-02", "9999-12-30", "NaT", "NaT", "NaT"], "datetime64[s]")),
        pd.to_datetime(["2020-01-01"] * 5).tz_localize("Europe/Vienna"),
        text("", "'", '"<script>', "x" * 10_000, "\x00\n"),
    ],
    ids=range(15),
)
def test_a_hostile_column_is_described(values):
    table = {"x": values, "</td>'\"": [1.0, 2, 2, 3, 5], "c": text(*"abbca")}
    profiled(
        table, np.array([0, 1, 0, 1, 1]), ["<b>", "n" * 500], labels=np.array([0, 0, -1, 1, 1])
    )


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_one_row_is_described(value):
    found = profiled({"x": [value], "c": text("a")}, np.array([0]), ["a"])
    assert found["n_rows"] == 1 and found["target"]["entropy"] == 0


def test_a_level_without_end_is_cut():
    assert len(column(text("x" * 10_000, "y", "y"))["levels"][1][0]) == 120


@pytest.mark.parametrize("table", [pd.DataFrame({"x": []}), pd.DataFrame(index=range(3))])
def test_an_empty_table_is_refused(table):
    with pytest.raises(DataError, match="at least one row and one column"):
        profile_table(table, None, ())


def test_segments_need_names():
    with pytest.raises(DataError, match="2 segments come with 1 names"):
        profile_table(pd.DataFrame({"x": [1.0, 2]}), np.array([0, 1]), ["a"])


def test_the_same_table_gives_the_same_profile():
    table = pd.DataFrame({"a": RNG.normal(size=300), "c": RNG.choice(list("abc"), 300)})
    y = RNG.integers(0, 4, 300)
    first, second = (json.dumps(profile_table(table, y, "abcd", seed=3)) for _ in range(2))
    assert first == second


# ---- in words ----------------------------------------------------------------------------------


def test_what_tells_segments_apart_is_said_first():
    y = np.repeat([0, 1], 100)
    words = say(profiled({"age": y * 30 + RNG.normal(size=200)}, y, "ab"))
    assert words[0].startswith("age tells the segments apart most: it takes ")


def test_columns_that_tell_nothing_are_said_to():
    y = np.arange(200) % 2
    words = say(profiled({"age": RNG.normal(size=200)}, y, "ab"))
    assert words[0].startswith("No column alone tells the segments apart")


def test_oddities_are_said():
    n = 200
    x = RNG.normal(size=n)
    words = " ".join(
        say(
            profiled(
                {
                    "one": [3.0] * n,
                    "key": np.arange(n, dtype=float),
                    "gap": np.where(np.arange(n) % 4 == 0, np.nan, RNG.normal(size=n)),
                    "a": x,
                    "b": x + 0.8 * RNG.normal(size=n),
                    "far": [*RNG.normal(size=n - 1), 1e6],
                }
            )
        )
    )
    assert "one has one value only." in words
    assert "key differs from row to row, as an id does." in words
    assert "gap is missing in 25% of the rows." in words
    assert "a and b move together (Spearman ." in words
    assert "The value 1e+06 of far lies" in words


def test_an_even_and_complete_table_of_chance_has_nothing_to_say():
    assert say(profiled({"a": RNG.random(100), "b": RNG.random(100)})) == ()


def test_there_are_at_most_eight_sentences():
    n = 400
    table = {f"c{i}": RNG.lognormal(sigma=3, size=n) for i in range(6)} | {
        "one": [1.0] * n, "rare": [1.0] + [0.0] * (n - 1), "key": np.arange(n, dtype=float)
    }  # fmt: skip
    y = np.r_[np.zeros(n - 50, int), np.ones(50, int)]
    assert len(say(profiled(table, y, "ab"))) <= 8


def test_a_correlation_is_written_without_its_zero():
    assert measured("spearman", -0.05) == "Spearman -.05"


# ---- published ---------------------------------------------------------------------------------


@pytest.mark.published
def test_the_automobile_customers_are_as_published(data_dir):
    """Counts of the file as SOURCES.md of the public data sets gives them."""
    table = pd.read_csv(data_dir / "automobile" / "Train.csv", keep_default_na=True)
    y, segments = pd.factorize(table["Segmentation"], sort=True)
    scale = pd.CategoricalDtype(["Low", "Average", "High"], ordered=True)
    X = table.drop(columns=["ID", "Segmentation"]).astype({"Spending_Score": scale})
    found = profiled(X, y, list(segments))
    missing = {entry["name"]: entry["missing"] for entry in found["columns"] if entry["missing"]}
    assert missing == {
        "Ever_Married": 140, "Graduated": 78, "Profession": 124, "Work_Experience": 829,
        "Family_Size": 335, "Var_1": 76,
    }  # fmt: skip
    assert dict(zip("ABCD", found["target"]["counts"], strict=True)) == {
        "A": 1972, "B": 1858, "C": 1970, "D": 2268,
    }  # fmt: skip
    telling = {feature["column"] for feature in found["target"]["features"][:3]}
    assert telling == {"Age", "Profession", "Spending_Score"}
    assert "Work_Experience is missing in 10% of the rows." in say(found)
