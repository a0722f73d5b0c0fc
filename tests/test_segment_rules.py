from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans

from segexp.errors import DataError
from segexp.segment_rules import (
    LEAST_GAIN,
    Column,
    Leaf,
    SegmentRules,
    Split,
    _cut,
    _Learner,
    _Table,
    learn_rules,
)

INCOME, SPENDING = "Annual Income (k$)", "Spending Score (1-100)"


def by_sql(rules: SegmentRules, X: pd.DataFrame, table: str = "customers") -> list[Any]:
    with duckdb.connect() as database:
        # As text, whatever the column holds: a level must not depend on pandas' own types.
        X = X.astype({c: object for c in X if not pd.api.types.is_numeric_dtype(X[c].dtype)})
        database.register("given", X.assign(row_number=np.arange(len(X))))
        quoted = table.replace('"', '""')
        database.execute(f'CREATE TABLE "{quoted}" AS SELECT * FROM given')
        cursor = database.execute(f"SELECT * FROM ({rules.to_sql(table)}) ORDER BY row_number")
        return [row[-1] for row in cursor.fetchall()]


def test_the_column_of_the_sql_is_none_of_the_table() -> None:
    X = pd.DataFrame({"Predicted_Segment": [1.0, 2, 3, 4], "segment": [1.0, 2, 1, 2]})
    rules = learn_rules(X, [0, 0, 1, 1], ["a", "b"])
    with duckdb.connect() as database:
        database.register("customers", X)
        columns = database.execute(rules.to_sql()).fetchdf().columns
    assert list(columns) == ["Predicted_Segment", "segment", "predicted_segment_2"]


def by_pandas(rules: SegmentRules, X: pd.DataFrame) -> list[Any]:
    X = X.reset_index(drop=True)
    found: list[Any] = [None] * len(X)
    for name, query in rules.to_pandas().items():
        for row in X.query(query, engine="python").index:
            assert found[row] is None, "a customer is in two segments"
            found[row] = name
    return found


def random_table(rng: np.random.Generator, n: int, *, new: bool = False) -> pd.DataFrame:
    """Numbers that differ in the last digits, quotes in every name and text, missing cells."""
    texts = ["it's", 'say "hi"', "back\\slash", "`tick`", "x; DROP TABLE", "", "é ü", "NULL"]
    sizes = ["Low", "the 'middle'", "High", "never seen"]
    X = pd.DataFrame(
        {
            'it\'s "50%" of a (k$)': np.round(rng.normal(size=n), 2) + rng.normal(size=n) * 1e-9,
            "b_1": rng.choice([0.1, 0.2, 0.30000000000000004, 0.3, 1e-17, -1e20], n),
            "count": rng.integers(0, 5, n).astype(float),
            "class": rng.choice([*texts, *(["brand new", "other"] if new else [])], n),
            "size of": pd.Categorical(rng.choice(sizes[:3], n), sizes, ordered=True),
        }
    )
    for column in X:
        X.loc[rng.random(n) < rng.choice([0, 0.2]), column] = np.nan
    return X


def random_labels(rng: np.random.Generator, X: pd.DataFrame) -> np.ndarray:
    number, text = X.iloc[:, 0].fillna(0).to_numpy(), X["class"].astype(str).str.len().to_numpy()
    score = number + (text > 5) + X["size of"].cat.codes.to_numpy() * rng.choice([0, 1])
    score = score + X["b_1"].fillna(5).to_numpy().clip(-1, 1) * 2 + rng.normal(size=len(X)) * 0.3
    return np.searchsorted(np.quantile(score, [0.3, 0.6, 0.9]), score)


@pytest.mark.parametrize("seed", range(8))
def test_sql_and_pandas_give_everybody_the_segment_of_the_tree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = random_table(rng, 300)
    names = ["it's", 'the "best"', "a, b; --", "déjà"]
    rules = learn_rules(X, random_labels(rng, X), names, max_leaves=12, seed=seed)
    assert len(rules.leaves) > 4
    for table in (X, random_table(rng, 300, new=True)):
        said = rules.predict(table).tolist()
        assert by_sql(rules, table, 'my "own" table') == said
        assert by_pandas(rules, table) == said


CODED = {
    "text": str,
    "any": object,
    "whole": "int64",
    "with decimals": "float64",
    "nullable": "Int64",
    "of few levels": "category",
}


def coded(kind: str) -> pd.DataFrame:
    """Codes of a plan that were read from a file as numbers, or as text."""
    plan = pd.Series(["1", "2", "3", "10"] * 15)
    if kind == "text":
        return pd.DataFrame({"plan": plan})
    numbers = plan.astype("int64")
    return pd.DataFrame({"plan": numbers.astype(CODED[kind])})


@pytest.mark.parametrize("kind", CODED)
@pytest.mark.parametrize("is_ordered", [False, True])
def test_codes_that_are_numbers_are_the_levels_of_that_name(kind: str, is_ordered: bool) -> None:
    grown = coded("text")
    if is_ordered:
        order = pd.CategoricalDtype(["1", "2", "3", "10"], ordered=True)
        grown = grown.astype(order)
    rules = learn_rules(grown, [0, 0, 1, 2] * 15, ["a", "b", "c"])
    said = ["a", "a", "b", "c"] * 15
    X = coded(kind)
    assert rules.predict(X).tolist() == by_pandas(rules, X) == by_sql(rules, X) == said


def test_codes_beside_missing_cells_are_read_as_decimals() -> None:
    rules = learn_rules(pd.DataFrame({"plan": ["1", "2", np.nan] * 9}), [0, 1, 1] * 9, ["a", "b"])
    X = pd.DataFrame({"plan": [1.0, 2.0, np.nan]})
    assert rules.predict(X).tolist() == by_pandas(rules, X) == ["a", "b", "b"]


def test_yes_and_no_of_a_file_are_truth_values_in_pandas() -> None:
    rules = learn_rules(pd.DataFrame({"paid": ["true", "false"] * 9}), [0, 1] * 9, ["a", "b"])
    X = pd.DataFrame({"paid": [True, False]})
    assert rules.predict(X).tolist() == by_pandas(rules, X) == ["a", "b"]


def test_of_two_levels_that_one_number_would_be_it_is_neither() -> None:
    X = pd.DataFrame({"code": ["01", "001", "x"] * 9})
    rules = learn_rules(X, [0, 1, 2] * 9, ["a", "b", "c"], max_leaves=3)
    number = pd.DataFrame({"code": [1]})
    assert rules.predict(number).tolist() == by_pandas(rules, number)
    assert rules.columns[0].cells == {"x": ("x",), "01": ("01",), "001": ("001",)}


@pytest.mark.parametrize("codes", [["1.0", "1"], ["1", "1.0"]])
def test_of_two_levels_that_one_number_would_be_it_is_the_usual_spelling(codes) -> None:
    cells = Column("code", "categorical", tuple(codes)).cells
    assert cells == {"1.0": ("1.0",), "1": ("1", 1)}


def test_a_code_written_with_zeros_is_found_in_a_column_of_numbers() -> None:
    rules = learn_rules(pd.DataFrame({"zip": ["01067", "8001"] * 9}), [0, 1] * 9, ["a", "b"])
    X = pd.DataFrame({"zip": [1067, 8001]})
    assert rules.predict(X).tolist() == by_pandas(rules, X) == ["a", "b"]


def test_rules_survive_json_with_every_digit() -> None:
    rng = np.random.default_rng(3)
    X = random_table(rng, 200)
    rules = learn_rules(X, random_labels(rng, X), list("ABCD"), space=rng.normal(size=(200, 2)))
    assert SegmentRules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules


def test_a_threshold_lies_between_doubles_that_single_precision_cannot_tell() -> None:
    X = pd.DataFrame({"x": [1.0, 1.0 + 1e-7, 1.0 + 2e-7, 1.0 + 3e-7] * 5})
    rules = learn_rules(X, [0, 0, 1, 1] * 5, ["a", "b"])
    assert rules.predict(X).tolist() == by_sql(rules, X) == by_pandas(rules, X)
    assert rules.fidelity == np.mean(rules.predict(X) == np.array(list("aabb") * 5))


def test_numbers_of_neighbouring_doubles_are_told_apart_as_predict_does() -> None:
    x = np.float64(0.1)
    X = pd.DataFrame({"x": [x, np.nextafter(x, 1)] * 6})
    rules = SegmentRules.from_dict(
        learn_rules(pd.DataFrame({"x": [0.0, 1.0] * 6}), [0, 1] * 6, ["a", "b"]).to_dict()
        | {
            "nodes": [
                {"column": 0, "left": 1, "right": 2, "missing_left": True, "threshold": float(x)},
                {"segment": 0, "n": 6, "purity": 1.0},
                {"segment": 1, "n": 6, "purity": 1.0},
            ]
        }
    )
    assert rules.predict(X).tolist() == ["a", "b"] * 6 == by_sql(rules, X) == by_pandas(rules, X)


def test_missing_cells_go_where_they_fitted_when_the_tree_grew() -> None:
    X = pd.DataFrame({"age": [20.0, 21, 22, np.nan, np.nan, 60, 61, 62, 63, 64]})
    rules = learn_rules(X, [0] * 5 + [1] * 5, ["young", "old"])
    assert rules.predict(X).tolist() == ["young"] * 5 + ["old"] * 5
    assert rules.words() == {"young": "age at most 41 (or not known)", "old": "age above 41"}


def test_missing_cells_go_to_the_larger_side_where_nobody_lacked_the_answer() -> None:
    X = pd.DataFrame({"age": [20.0, 21, 22, 60, 61, 62, 63, 64]})
    rules = learn_rules(X, [0] * 3 + [1] * 5, ["young", "old"])
    assert rules.predict(pd.DataFrame({"age": [np.nan]})).tolist() == ["old"]
    assert rules.words() == {"young": "age at most 41", "old": "age above 41"}


def test_a_segment_can_be_those_whose_cell_is_missing() -> None:
    X = pd.DataFrame({"income": [np.nan] * 6 + [1.0, 2, 3, 4, 5, 6]})
    rules = learn_rules(X, [0] * 6 + [1] * 6, ["silent", "others"])
    assert rules.words() == {"silent": "income not known", "others": "income known"}
    assert by_sql(rules, X) == by_pandas(rules, X) == rules.predict(X).tolist()


def test_a_level_of_an_ordered_column_that_is_new_counts_as_missing() -> None:
    kind = pd.CategoricalDtype(["Low", "Average", "High"], ordered=True)
    X = pd.DataFrame(
        {"spending": pd.Series(["Low"] * 4 + ["Average"] * 7 + ["High"] * 7).astype(kind)}
    )
    rules = learn_rules(X, [0] * 4 + [1] * 14, ["thrifty", "others"])
    assert rules.words() == {"thrifty": "spending Low", "others": "spending Average or High"}
    new = pd.DataFrame({"spending": ["Low", "Huge", None, "High"]})
    said = ["thrifty", "others", "others", "others"]
    assert rules.predict(new).tolist() == by_sql(rules, new) == by_pandas(rules, new) == said


def test_words_are_merged_along_a_path() -> None:
    X = pd.DataFrame({"income": np.arange(30.0)})
    rules = learn_rules(X, np.repeat([0, 1, 2], 10), ["low", "middle", "high"])
    assert rules.words()["middle"] == "income above 9.5 up to 19.5"


def test_a_segment_in_two_places_has_two_rules_the_larger_first() -> None:
    X = pd.DataFrame({"age": np.arange(40.0)})
    labels = [0] * 8 + [1] * 20 + [0] * 12
    rules = learn_rules(X, labels, ["ends", "middle"])
    assert rules.words()["ends"] == "age above 27.5; or age at most 7.5"


def test_answers_that_lead_to_one_segment_are_not_asked_for() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=200), "y": rng.normal(size=200)})
    labels = ((X["x"] > 0) ^ (rng.random(200) < 0.1)).astype(int)
    rules = learn_rules(X, labels, ["a", "b"], max_leaves=10)
    for node in rules.nodes:
        if isinstance(node, Split):
            left, right = rules.nodes[node.left], rules.nodes[node.right]
            both = isinstance(left, Leaf) and isinstance(right, Leaf)
            assert not (both and left.segment == right.segment)


def test_noise_is_a_segment_like_others() -> None:
    X = pd.DataFrame({"x": [*np.arange(20.0), *np.arange(100.0, 110)]})
    rules = learn_rules(X, [0] * 20 + [-1] * 10, ["1"], space=X)
    assert rules.names == ("1", "noise") and rules.fidelity == 1.0 and rules.price is None


def test_held_out_fidelity_of_pure_noise_is_far_below_the_one_in_sample() -> None:
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(100, 5)), columns=list("abcde"))
    rules = learn_rules(X, rng.integers(0, 2, 100), ["a", "b"], max_leaves=20)
    assert rules.fidelity > rules.held_out_fidelity + 0.1
    assert rules.n_held_out == 100


def test_the_first_leaves_of_a_large_tree_are_a_small_tree() -> None:
    rng = np.random.default_rng(5)
    X = random_table(rng, 400)
    codes = random_labels(rng, X)
    columns = learn_rules(X, codes, list("ABCD")).columns
    learner = _Learner(columns, _Table.of(X, columns), codes, 0)
    rows = np.arange(400)
    large = learner.grow(rows, 12)
    for n in range(2, 12):
        assert _cut(large, n) == _cut(learner.grow(rows, n), n)


def test_one_segment_is_everybody() -> None:
    rules = learn_rules(pd.DataFrame({"x": [1.0, 2.0]}), [0, 0], ["all"])
    assert rules.words() == {"all": "everybody"}
    assert by_sql(rules, pd.DataFrame({"x": [1.0]})) == ["all"]
    assert by_pandas(rules, pd.DataFrame({"x": [1.0]})) == ["all"]


def test_more_rules_than_a_reader_can_use_are_refused() -> None:
    X = pd.DataFrame({"x": np.arange(2000.0)})
    with pytest.raises(DataError, match="1 to 500 rules, got 1,000 segments"):
        learn_rules(X, np.arange(2000) // 2, list(map(str, range(1000))))


def test_dates_are_left_out_and_named() -> None:
    X = pd.DataFrame({"x": [1.0, 2.0] * 6, "since": pd.to_datetime(["2024-01-01"] * 12)})
    assert learn_rules(X, [0, 1] * 6, ["a", "b"]).left_out == ("since",)


def test_a_price_is_the_cost_of_the_tree_over_that_of_the_segments() -> None:
    # 0, 1 | 9, 10 cost 1; the tree asks for y and takes 0 | 1, 9, 10: 0 + 48.67.
    X = pd.DataFrame({"y": [0.0, 5, 5, 5] * 5})
    space = np.array([[0.0], [1], [9], [10]] * 5)
    rules = learn_rules(X, [0, 0, 1, 1] * 5, ["a", "b"], space=space)
    three = np.array([1.0, 9, 10] * 5)
    assert rules.price == pytest.approx(((three - three.mean()) ** 2).sum() / 5.0)
    assert rules.price_at_centers == pytest.approx((0.25 + 8.5**2 + 0.25 + 0.25) / 1.0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"version": 2}, "version 1"),
        ({"nodes": []}, "too many nodes, or none"),
        ({"nodes": [{"column": 0, "left": 0, "right": 0, "missing_left": True}]}, "damaged"),
        ({"names": ["a", "a"]}, "names are not different"),
        ({"fidelity": "high"}, "is not float or int"),
        ({"fidelity": float("nan")}, "finite"),
        ({"columns": None}, "is not list"),
        ({"columns": []}, "no column"),
        ({"nodes": [{"segment": 7, "n": 1, "purity": 1.0}]}, "no segment"),
        ({"nodes": [{"segment": 0, "n": 1, "purity": 1.0}] * 3000}, "too many nodes"),
    ],
)
def test_damaged_rules_are_one_error(damage: dict[str, Any], words: str) -> None:
    rules = learn_rules(pd.DataFrame({"x": [1.0, 2.0] * 6}), [0, 1] * 6, ["a", "b"])
    with pytest.raises(DataError, match=words):
        SegmentRules.from_dict({**rules.to_dict(), **damage})


def test_a_column_that_is_not_there_is_named() -> None:
    rules = learn_rules(pd.DataFrame({"Income": [1.0, 2.0] * 6}), [0, 1] * 6, ["a", "b"])
    with pytest.raises(DataError, match="did you mean 'income'"):
        rules.predict(pd.DataFrame({"income": [1.0]}))
    with pytest.raises(DataError, match="ask for numbers"):
        rules.predict(pd.DataFrame({"Income": ["many"]}))


def test_a_column_that_a_query_cannot_hold_is_an_error() -> None:
    rules = learn_rules(pd.DataFrame({"a`b": [1.0, 2.0] * 6}), [0, 1] * 6, ["a", "b"])
    assert by_sql(rules, pd.DataFrame({"a`b": [1.0, 2.0]})) == ["a", "b"]
    with pytest.raises(DataError, match="use the SQL text"):
        rules.to_pandas()


def test_other_names_can_be_written() -> None:
    rules = learn_rules(pd.DataFrame({"x": [1.0, 2.0] * 6}), [0, 1] * 6, ["1", "2"])
    assert "THEN 'it''s low'" in rules.to_sql(names={"1": "it's low"})


@pytest.mark.published
@pytest.mark.parametrize(
    ("n_leaves", "fidelity", "cost_ratio"), [(5, 0.975, 1.0445), (8, 0.995, 1.0026)]
)
def test_mall_five_rules(data_dir: Path, n_leaves: int, fidelity: float, cost_ratio: float) -> None:
    """The story of many notebooks on this table: four corners and a middle."""
    path = data_dir / "mall" / "Mall_Customers.csv"
    X = pd.read_csv(path)[[INCOME, SPENDING]].astype(float)
    labels = KMeans(5, n_init=50, random_state=0).fit_predict(X)
    rules = learn_rules(X, labels, list("12345"), max_leaves=n_leaves, space=X)
    assert rules.fidelity == fidelity
    assert rules.price_at_centers == pytest.approx(cost_ratio, abs=5e-5)
    assert 1 < rules.price <= rules.price_at_centers
    if n_leaves == 5:
        assert learn_rules(X, labels, list("12345")).nodes == rules.nodes
        assert sorted(rules.words().values()) == [
            "income above 39.5 up to 69.5",
            "income above 69.5 and spending above 51.5",
            "income above 69.5 and spending at most 51.5",
            "income at most 39.5 and spending above 50.5",
            "income at most 39.5 and spending at most 50.5",
        ]


def test_each_leaf_beyond_the_segments_earns_its_place() -> None:
    X = pd.DataFrame({"x": np.arange(400.0)})
    labels = (np.arange(400) // 100) % 2  # four stretches, two segments
    rules = learn_rules(X, labels, ["even", "odd"])
    assert len(rules.leaves) == 4 and LEAST_GAIN < 0.25
