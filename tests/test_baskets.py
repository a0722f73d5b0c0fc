"""Association rules: thresholds, measures, redundancy, guards, and hand-made baskets."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from mlxtend.frequent_patterns import association_rules, fpgrowth
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, fisher_exact
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from segexp.baskets.itemsets import (
    Bits,
    TooManyItemsetsError,
    basket_matrix,
    exact,
    least_count,
    mine,
)
from segexp.baskets.measures import fisher_greater, measures
from segexp.baskets.rules import AssociationRules, reaches, share_text, side_texts, support_text
from segexp.errors import ConfigError, DataError


def made_baskets(n: int = 300, n_items: int = 9, seed: int = 0) -> csr_matrix:
    """Baskets in which item 1 follows item 0, and the rest is chance."""
    rng = np.random.default_rng(seed)
    held = rng.random((n, n_items)) < rng.uniform(0.1, 0.5, n_items)
    held[:, 1] = np.where(held[:, 0], rng.random(n) < 0.8, held[:, 1])
    return csr_matrix(held)


def fitted(**parameters: object) -> AssociationRules:
    return AssociationRules(**parameters).fit(made_baskets())


class TestThresholds:
    def test_a_threshold_is_the_fraction_its_text_says(self) -> None:
        assert exact(0.8) == Fraction(4, 5)
        assert exact(1e-05) == Fraction(1, 100_000)

    @pytest.mark.parametrize(
        ("support", "n", "count"),
        [(0.07, 100, 7), (0.001, 9835, 10), (0.29, 100, 29), (1.0, 5, 5), (3, 100, 3), (0.1, 3, 1)],
    )
    def test_support_as_a_count(self, support: float, n: int, count: int) -> None:
        assert least_count(support, n) == count

    def test_a_ratio_exactly_on_the_threshold_reaches_it(self) -> None:
        n = np.arange(5, 5000, 5)
        assert reaches(n * 4 // 5, n, 0.8).all()
        assert not reaches(n * 4 // 5 - 1, n, 0.8).any()

    def test_a_threshold_with_many_digits_does_not_overflow(self) -> None:
        assert reaches(np.array([10**8]), np.array([10**8]), 0.9999999999999999).all()

    @pytest.mark.parametrize("count", [1, 7, 10, 99, 5000])
    def test_a_support_as_text_asks_for_the_count(self, count: int) -> None:
        assert least_count(float(support_text(count, 9835)), 9835) == count

    def test_a_share_as_text_is_reached_and_no_exponent(self) -> None:
        assert share_text(3, 1_000_000) == "0.000003"
        assert reaches(np.array([2]), np.array([3]), float(share_text(2, 3))).all()


class TestItemsets:
    @pytest.mark.parametrize("algorithm", ["apriori", "fpgrowth"])
    @pytest.mark.parametrize("max_length", [None, 1, 3])
    def test_every_itemset_is_found_with_its_count(
        self, algorithm: str, max_length: int | None
    ) -> None:
        matrix = made_baskets()
        held = matrix.toarray()
        expected = {
            items: count
            for length in range(1, (max_length or 9) + 1)
            for items in itertools.combinations(range(9), length)
            if (count := int(held[:, items].all(axis=1).sum())) >= 6
        }
        found = mine(basket_matrix(matrix), 6, max_length=max_length, algorithm=algorithm)
        assert {
            tuple(items): count
            for level in found.levels
            for items, count in zip(level.items.tolist(), level.counts.tolist(), strict=True)
        } == expected

    def test_levels_are_in_lexicographic_order_and_found_again(self) -> None:
        found = mine(basket_matrix(made_baskets()), 6)
        for level in found.levels:
            assert np.array_equal(found.ids(level.items), np.arange(len(level)))

    def test_supports_of_mlxtend_are_the_counts(self) -> None:
        matrix = made_baskets()
        theirs = fpgrowth(pd.DataFrame(matrix.toarray()), min_support=5.5 / 300)
        ours = AssociationRules(6).fit(matrix).itemsets_
        assert sorted(np.rint(theirs["support"] * 300)) == sorted(ours["count"])

    def test_bits_count_any_number_of_baskets(self) -> None:
        for n in (1, 63, 64, 65, 200):
            matrix = basket_matrix(made_baskets(n))
            held = matrix.toarray()
            pairs = np.array(list(itertools.combinations(range(9), 2)))
            assert Bits(matrix).count(pairs).tolist() == held[:, pairs].all(axis=2).sum(0).tolist()

    def test_an_item_counts_once_per_basket(self) -> None:
        twice = csr_matrix((np.ones(3), ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
        assert AssociationRules(1).fit(twice).itemsets_["count"].tolist() == [1, 1]

    def test_a_stored_zero_is_no_item(self) -> None:
        zero = csr_matrix((np.array([True, False]), ([0, 0], [0, 1])), shape=(1, 2))
        assert basket_matrix(zero).nnz == 1

    def test_the_matrix_of_the_user_is_left_as_it_is(self) -> None:
        raw = csr_matrix((np.ones(2, dtype=bool), np.array([1, 0]), np.array([0, 2])), (1, 2))
        AssociationRules(1).fit(raw)
        assert raw.indices.tolist() == [1, 0]

    def test_read_only_arrays_are_taken(self) -> None:
        matrix = made_baskets()
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.setflags(write=False)
        assert len(AssociationRules(0.05).fit(matrix).rules_)

    def test_words_are_refused(self) -> None:
        with pytest.raises(DataError, match="must be a table of 0 and 1"):
            AssociationRules().fit(np.array([["bread", "tea"]]))

    def test_missing_values_are_refused(self) -> None:
        with pytest.raises(DataError, match="there are missing values"):
            AssociationRules().fit(np.array([[1.0, np.nan]]))


class TestMeasures:
    def test_they_are_those_of_mlxtend(self) -> None:
        matrix = made_baskets()
        frame = pd.DataFrame(matrix.toarray(), columns=list("abcdefghi"))
        found = fpgrowth(frame, min_support=0.019, use_colnames=True)
        theirs = association_rules(found, metric="confidence", min_threshold=0.05)
        ours = AssociationRules(0.019, 0.05, consequents="any").fit(matrix, list("abcdefghi"))
        key = ["antecedent", "consequent"]
        for mine_, their in zip(key, ["antecedents", "consequents"], strict=True):
            theirs[mine_] = [" + ".join(sorted(side)) for side in theirs[their]]
        both = ours.rules_.merge(theirs, on=key, suffixes=("", "_theirs"))
        assert len(both) == len(ours.rules_) == len(theirs)
        for name in ("support", "confidence", "lift", "leverage", "conviction"):
            np.testing.assert_allclose(both[name], both[f"{name}_theirs"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(both["zhang"], both["zhangs_metric"], rtol=1e-9, atol=1e-12)

    def test_a_rule_without_exception(self) -> None:
        found = measures(np.array([5]), np.array([5]), np.array([6]), 10)
        assert found["confidence"][0] == 1 and found["conviction"][0] == np.inf

    def test_zhang_goes_from_never_together_to_never_apart(self) -> None:
        found = measures(np.array([0, 5]), np.array([5, 5]), np.array([5, 5]), 10)
        assert found["zhang"].tolist() == [-1, 1]

    def test_an_item_in_every_basket_says_nothing(self) -> None:
        found = measures(np.array([5]), np.array([5]), np.array([10]), 10)
        assert found["lift"][0] == 1
        assert found["zhang"][0] == 0 and found["leverage"][0] == 0

    def test_p_values_are_those_of_scipy(self) -> None:
        rng = np.random.default_rng(1)
        first, second = rng.integers(1, 200, (2, 300))
        both = np.array([rng.integers(max(0, a + c - 200), min(a, c) + 1) for a, c in
                         zip(first, second, strict=True)])  # fmt: skip
        expected = [
            fisher_exact([[k, a - k], [c - k, 200 - a - c + k]], "greater").pvalue
            for k, a, c in zip(both, first, second, strict=True)
        ]
        np.testing.assert_allclose(fisher_greater(both, first, second, 200), expected, rtol=1e-9)

    def test_a_small_p_value_keeps_its_digits(self) -> None:
        expected = fisher_exact([[900, 100], [100, 98900]], "greater").pvalue
        found = fisher_greater(np.array([900]), np.array([1000]), np.array([1000]), 100_000)
        assert found[0] == pytest.approx(expected, rel=1e-6) or expected == 0

    def test_q_values_are_those_of_scipy(self) -> None:
        rules = fitted(min_confidence=0.0).rules_
        expected = false_discovery_control(rules["p_value"])
        np.testing.assert_allclose(rules["q_value"], expected)


class TestRules:
    def test_counts_are_those_of_the_baskets(self) -> None:
        model = fitted(min_support=0.02, min_confidence=0.1, consequents="any")
        held = made_baskets().toarray()
        left, right = model.antecedents_.toarray(), model.consequents_.toarray()
        for i, rule in enumerate(model.rules_.to_dict("records")):
            has_left, has_right = held[:, left[i]].all(axis=1), held[:, right[i]].all(axis=1)
            assert rule["n_antecedent"] == has_left.sum()
            assert rule["n_consequent"] == has_right.sum()
            assert rule["n_both"] == (has_left & has_right).sum()
        assert not (left & right).any()

    @pytest.mark.parametrize("consequents", ["single", "any"])
    def test_redundant_is_what_a_more_general_rule_does_as_well(self, consequents: str) -> None:
        model = fitted(min_support=0.01, min_confidence=0.05, consequents=consequents)
        rules = model.rules_
        side = [frozenset(text.split(" + ")) for text in rules["antecedent"]]
        by_right: dict[str, list[tuple[frozenset[str], float]]] = {}
        for items, rule in zip(side, rules.to_dict("records"), strict=True):
            by_right.setdefault(rule["consequent"], []).append((items, rule["confidence"]))
        expected = [
            any(less < items and other >= rule["confidence"]
                for less, other in by_right[rule["consequent"]])
            for items, rule in zip(side, rules.to_dict("records"), strict=True)
        ]  # fmt: skip
        assert rules["redundant"].tolist() == expected
        assert 0 < sum(expected) < len(rules)

    def test_redundant_rules_can_be_left_out(self) -> None:
        everything = fitted(min_support=0.01, min_confidence=0.05).rules_
        some = fitted(min_support=0.01, min_confidence=0.05, keep_redundant=False).rules_
        assert len(some) == (~everything["redundant"]).sum()

    def test_only_some_consequents(self) -> None:
        rules = fitted(only_consequents=["1"]).rules_
        assert set(rules["consequent"]) == {"1"}

    def test_an_unknown_consequent_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"no basket holds 'butte'; did you mean 'butter'\?"):
            AssociationRules(only_consequents=["butte"]).fit(np.ones((2, 2)), ["bread", "butter"])

    def test_lift_exactly_on_the_threshold(self) -> None:
        # 0 and 1 together in 3 of 10, each in 5: a lift of 1.2.
        held = np.zeros((10, 2), dtype=bool)
        held[:5, 0] = held[2:7, 1] = True
        assert len(AssociationRules(0.1, 0.1, min_lift=1.2).fit(held).rules_) == 2
        assert len(AssociationRules(0.1, 0.1, min_lift=1.2001).fit(held).rules_) == 0

    @pytest.mark.parametrize("bounds", [(2, 2), (3, 3), (2, 4)])
    def test_lengths(self, bounds: tuple[int, int]) -> None:
        low, high = bounds
        rules = fitted(min_support=0.01, min_length=low, max_length=high).rules_
        assert rules["length"].min() == low and rules["length"].max() == high

    def test_the_highest_lift_comes_first(self) -> None:
        assert fitted().rules_["lift"].is_monotonic_decreasing

    def test_q_values_count_every_rule_that_was_weighed(self) -> None:
        strict, loose = fitted(min_confidence=0.6), fitted(min_confidence=0.0)
        both = strict.rules_.merge(loose.rules_, on=["antecedent", "consequent"])
        assert strict.n_candidates_ == len(loose.rules_)
        assert np.array_equal(both["q_value_x"], both["q_value_y"])

    def test_chance_alone_gives_hardly_a_significant_rule(self) -> None:
        held = np.random.default_rng(0).random((2000, 30)) < 0.2
        rules = AssociationRules(0.001, 0.0, max_length=3).fit(held).rules_
        assert len(rules) > 1000
        assert rules["significant"].mean() < 0.01

    def test_names_that_hold_the_separator_are_quoted(self) -> None:
        one = csr_matrix(np.array([[True, True, True]]))
        texts = side_texts(one, ["salt, fine", "gin + tonic", "c++"])
        assert texts.tolist() == ['salt, fine + "gin + tonic" + c++']

    def test_it_is_an_estimator(self) -> None:
        model = AssociationRules(0.1, 0.5, min_lift=2.0)
        assert clone(model).get_params() == model.get_params()

    @pytest.mark.parametrize(
        "wrong",
        [{"min_support": 0.0}, {"min_support": 1.5}, {"min_confidence": 2}, {"algorithm": "eclat"},
         {"consequents": "two"}, {"min_length": 1}, {"max_itemsets": 0}],
    )  # fmt: skip
    def test_a_wrong_parameter_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
            fitted(**wrong)

    def test_lengths_that_exclude_each_other(self) -> None:
        with pytest.raises(ConfigError, match="max_length is 2, but min_length is 3"):
            fitted(min_length=3, max_length=2)


class TestGuards:
    def test_too_many_itemsets_are_refused_with_thresholds_that_do(self) -> None:
        everything = np.ones((20, 40), dtype=bool)
        everything[10:, :5] = False
        everything[:10, 5:] = False
        with pytest.raises(TooManyItemsetsError) as refused:
            AssociationRules(0.3, max_itemsets=5000).fit(everything)
        assert str(refused.value) == (
            "min_support=0.3 (6 of 20 baskets) gives more than max_itemsets=5,000 itemsets; what "
            "would do: min_support=0.55 (0 itemsets), max_length=2"
        )

    @pytest.mark.parametrize("algorithm", ["apriori", "fpgrowth"])
    def test_a_giant_basket_stops_at_the_limit(self, algorithm: str) -> None:
        matrix = basket_matrix(np.ones((1, 60), dtype=bool))
        with pytest.raises(TooManyItemsetsError, match="more than 10,000"):
            mine(matrix, 1, algorithm=algorithm, max_itemsets=10_000)

    def test_giant_baskets_can_be_left_out(self) -> None:
        held = np.zeros((11, 50), dtype=bool)
        held[:10, :2] = True
        held[10] = True
        model = AssociationRules(0.1, max_basket_items=10).fit(held)
        assert (model.n_baskets_, model.n_left_out_, len(model.rules_)) == (10, 1, 2)

    def test_only_giant_baskets(self) -> None:
        with pytest.raises(DataError, match="each of the 3 baskets has more than max_basket_item"):
            AssociationRules(max_basket_items=2).fit(np.ones((3, 4)))

    def test_any_consequents_of_long_itemsets_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="consequents=any would weigh"):
            AssociationRules(2, consequents="any").fit(np.ones((3, 16)))

    def test_no_baskets(self) -> None:
        with pytest.raises(DataError, match="there are no baskets"):
            AssociationRules().fit(csr_matrix((0, 3)))

    def test_one_basket_is_sure_of_everything_and_proves_nothing(self) -> None:
        rules = AssociationRules(1, 0.5).fit(np.ones((1, 3))).rules_
        assert (rules["confidence"] == 1).all() and (rules["lift"] == 1).all()
        assert not rules["significant"].any()

    def test_empty_baskets_count_among_all(self) -> None:
        held = np.zeros((10, 2), dtype=bool)
        held[:5] = True
        model = AssociationRules(0.1).fit(held)
        assert model.n_empty_ == 5
        assert model.rules_["lift"].tolist() == [2.0, 2.0]

    def test_nothing_was_ever_sold(self) -> None:
        model = AssociationRules().fit(np.zeros((5, 3)))
        assert model.rules_.empty and model.itemsets_.empty
        assert model.advice_.startswith("no two items were ever bought together")

    def test_two_names_for_three_items(self) -> None:
        with pytest.raises(DataError, match="3 items, and 2 names"):
            AssociationRules().fit(np.ones((1, 3)), ["a", "b"])

    def test_the_same_name_twice(self) -> None:
        with pytest.raises(DataError, match="two items are called 'a'"):
            AssociationRules().fit(np.ones((1, 3)), ["a", "b", "a"])


class TestAdvice:
    def test_the_support_that_gives_a_pair(self) -> None:
        model = fitted(min_support=0.9)
        assert "no two items reach min_support=0.9" in model.advice_
        support = float(model.advice_.split("min_support=")[-1].split()[0])
        assert len(AssociationRules(support, 0.0).fit(made_baskets()).rules_) == 2

    def test_the_confidence_that_gives_a_rule(self) -> None:
        model = fitted(min_support=0.05, min_confidence=1.0)
        confidence = float(model.advice_.split("min_confidence=")[-1].split()[0])
        assert len(AssociationRules(0.05, confidence).fit(made_baskets()).rules_) >= 1

    def test_the_highest_lift(self) -> None:
        assert "min_lift=100" in fitted(min_lift=100).advice_

    def test_the_longest_itemset(self) -> None:
        assert "say min_length=" in fitted(min_support=0.1, min_length=9).advice_

    def test_an_item_too_rare_to_be_a_consequent(self) -> None:
        held = np.zeros((100, 3), dtype=bool)
        held[:50, :2] = held[0, 2] = True
        model = AssociationRules(0.1, only_consequents=["2"]).fit(held)
        assert "only_consequents" in model.advice_

    def test_none_where_rules_were_found(self) -> None:
        assert fitted().advice_ == ""
