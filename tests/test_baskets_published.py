"""The rules and itemsets of Groceries, as the R package arules publishes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlxtend.frequent_patterns import association_rules, fpgrowth
from scipy.sparse import csr_matrix

from segexp.baskets.itemsets import basket_matrix, item_counts, mine
from segexp.baskets.rules import AssociationRules

pytestmark = pytest.mark.published
Groceries = tuple[csr_matrix, list[str]]


@pytest.fixture(scope="module")
def groceries(data_dir: Path) -> Groceries:
    """Groceries (Hahsler, Hornik and Reutterer 2006), shipped with arules."""
    path = data_dir / "groceries_arules" / "groceries.csv"
    if not path.is_file():
        pytest.skip("needs groceries_arules/groceries.csv in SEGEXP_DATA_DIR")
    lines = path.read_text(encoding="utf-8").splitlines()
    baskets = [[item.strip() for item in line.split(",")] for line in lines]
    items = sorted({item for basket in baskets for item in basket})
    number = {item: i for i, item in enumerate(items)}
    rows = np.repeat(np.arange(len(baskets)), [len(basket) for basket in baskets])
    columns = np.array([number[item] for basket in baskets for item in basket])
    shape = (len(baskets), len(items))
    return csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape), items


@pytest.fixture(scope="module")
def famous(groceries: Groceries) -> AssociationRules:
    """``apriori(Groceries, parameter = list(supp = 0.001, conf = 0.8))``, the usual example."""
    return AssociationRules(0.001, 0.8).fit(*groceries)


def lengths(rules: pd.DataFrame) -> list[int]:
    return rules["length"].value_counts().sort_index().tolist()


def test_the_baskets(groceries: Groceries) -> None:
    """``summary(Groceries)`` of arules: 9835 transactions, 169 items, density 0.02609146."""
    matrix, items = groceries
    counts = dict(zip(items, item_counts(basket_matrix(matrix)).tolist(), strict=True))
    assert matrix.shape == (9835, 169)
    assert matrix.nnz / (9835 * 169) == pytest.approx(0.02609146, abs=5e-9)
    assert [counts[i] for i in
            ("whole milk", "other vegetables", "rolls/buns", "soda", "yogurt")] == [
        2513, 1903, 1809, 1715, 1372,
    ]  # fmt: skip


def test_410_rules(famous: AssociationRules) -> None:
    """``summary(rules)`` of arules: a set of 410 rules, lengths 3 to 6: 29, 229, 140, 12."""
    assert len(famous.rules_) == 410
    assert lengths(famous.rules_) == [29, 229, 140, 12]


@pytest.mark.parametrize(
    ("measure", "low", "median", "mean", "high", "digits"),
    [
        ("support", 0.001017, 0.001220, 0.001247, 0.003152, 6),
        ("confidence", 0.8, 0.8462, 0.8663, 1.0, 4),
        ("lift", 3.1309, 3.5875, 3.9506, 11.2353, 4),
    ],
)
def test_measures_of_the_410_rules(
    famous: AssociationRules,
    measure: str, low: float, median: float, mean: float, high: float, digits: int,
) -> None:  # fmt: skip
    """``summary(rules)`` of arules: minimum, median, mean and maximum of each measure."""
    values = famous.rules_[measure]
    found = [values.min(), values.median(), values.mean(), values.max()]
    assert np.round(found, digits).tolist() == [low, median, mean, high]


@pytest.mark.parametrize(
    ("measure", "quartiles"), [("confidence", [0.8333, 0.9091]), ("lift", [3.3115, 4.3408])]
)
def test_quartiles_of_the_410_rules(
    famous: AssociationRules, measure: str, quartiles: list[float]
) -> None:
    """``summary(rules)`` of arules: first and third quartile."""
    found = famous.rules_[measure].quantile([0.25, 0.75])
    assert np.round(found, 4).tolist() == quartiles


def test_the_rule_with_the_highest_lift(famous: AssociationRules) -> None:
    """``inspect(sort(rules, by = "lift"))`` of arules: the first row."""
    rule = famous.rules_.iloc[0]
    assert (rule["antecedent"], rule["consequent"]) == ("liquor + red/blush wine", "bottled beer")
    assert rule["support"] == pytest.approx(0.001931876, abs=5e-10)
    assert rule["confidence"] == pytest.approx(0.9047619, abs=5e-8)
    assert rule["lift"] == pytest.approx(11.235269, abs=5e-7)


@pytest.mark.parametrize(
    ("bounds", "n"), [({"max_length": 3}, 29), ({"min_length": 4}, 381), ({"min_length": 5}, 152)]
)
def test_lengths_of_the_410_rules(groceries: Groceries, bounds: dict[str, int], n: int) -> None:
    """Published exercises with ``maxlen`` and ``minlen`` of arules on the same thresholds."""
    assert len(AssociationRules(0.001, 0.8, **bounds).fit(*groceries).rules_) == n


def test_18_rules_are_redundant(groceries: Groceries, famous: AssociationRules) -> None:
    """``rules[!is.redundant(rules)]`` of arules: a set of 392 rules."""
    assert famous.rules_["redundant"].sum() == 18
    kept = AssociationRules(0.001, 0.8, keep_redundant=False).fit(*groceries)
    assert len(kept.rules_) == 392


def test_the_rules_on_the_threshold_are_kept(
    groceries: Groceries, famous: AssociationRules
) -> None:
    """39 of the 410 rules have a confidence of exactly 4/5.

    ``association_rules`` of mlxtend divides shares, and without its ``num_itemsets`` loses four.
    """
    rules = famous.rules_
    assert (rules["n_both"] * 5 == rules["n_antecedent"] * 4).sum() == 39
    matrix, items = groceries
    found = fpgrowth(
        pd.DataFrame(matrix.toarray(), columns=items), min_support=0.001, use_colnames=True
    )
    theirs = association_rules(found, metric="confidence", min_threshold=0.8)
    assert (theirs["consequents"].map(len) == 1).sum() == 406


def test_463_rules(groceries: Groceries) -> None:
    """Lantz, Machine Learning with R, chapter 8: 463 rules, lengths 150, 297, 16."""
    rules = AssociationRules(0.006, 0.25).fit(*groceries).rules_
    assert len(rules) == 463
    assert lengths(rules) == [150, 297, 16]
    assert (rules["antecedent"][0], rules["consequent"][0]) == ("herbs", "root vegetables")
    assert round(rules["lift"][0], 4) == 3.9565


@pytest.mark.parametrize(
    ("support", "confidence", "n"),
    [(0.001, 0.5, 5668), (0.001, 0.9, 129), (0.01, 0.5, 15), (0.01, 0.2, 231), (0.01, 0.3, 125),
     (0.005, 0.5, 120), (0.01, 0.25, 170)],
)  # fmt: skip
def test_rules_of_other_thresholds(
    groceries: Groceries, support: float, confidence: float, n: int
) -> None:
    """Counts of the same exercises, checked by a count in whole numbers.

    arules also counts the rule with an empty left side: 232 and 171 where 231 and 170 are here.
    """
    assert len(AssociationRules(support, confidence).fit(*groceries).rules_) == n


@pytest.mark.parametrize("algorithm", ["apriori", "fpgrowth"])
@pytest.mark.parametrize(
    ("count", "by_length"),
    [
        (10, [157, 2981, 6831, 3137, 376, 10]),
        (99, [88, 213, 32]),
        (197, [59, 61, 2]),
    ],
)
def test_itemsets(groceries: Groceries, algorithm: str, count: int, by_length: list[int]) -> None:
    """Frequent itemsets of support 0.001, 0.01 and 0.02: 13492, 333 and 122."""
    found = mine(basket_matrix(groceries[0]), count, algorithm=algorithm)
    assert [len(level) for level in found.levels] == by_length


@pytest.mark.parametrize(
    ("support", "n"), [(0.001, 13492), (0.005, 1001), (0.01, 333), (0.02, 122)]
)
def test_number_of_itemsets(groceries: Groceries, support: float, n: int) -> None:
    """Frequent itemsets by their support as a share."""
    assert len(AssociationRules(support).fit(*groceries).itemsets_) == n
