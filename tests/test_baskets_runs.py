"""Runs of association rules: rules held out, rules of segments, the files and what is printed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.baskets.figures import rule_network, rule_scatter, top_items
from segexp.baskets.itemsets import basket_matrix
from segexp.baskets.judging import count_rules, judge_rules
from segexp.baskets.rules import AssociationRules
from segexp.baskets.segments import baskets_to_mine, compare_segments, mine_segment
from segexp.baskets.work import BasketFold, BasketTable, BasketWork, judge_fold, with_held_out
from segexp.cli.baskets_view import print_baskets
from segexp.config.schema import EngineConfig
from segexp.engine.driver import open_engine
from segexp.evaluation import Split
from segexp.figures.look import render

ITEMS = ("NA", "bread", "butter, salted", "cola", "milk", "tea")


def made_baskets(n: int = 400) -> tuple[csr_matrix, np.ndarray]:
    """Baskets in which butter follows bread, and tea follows milk among the old."""
    rng = np.random.default_rng(0)
    held = rng.random((n, 6)) < 0.3
    old = rng.random(n) < 0.5
    held[:, 2] |= held[:, 1] & (rng.random(n) < 0.6)
    held[:, 5] |= held[:, 4] & old & (rng.random(n) < 0.8)
    return csr_matrix(held), np.where(old, "old", "young").astype(object)


def made_splits(n: int = 400, k: int = 4) -> list[Split]:
    fold = np.arange(n) % k
    return [Split(0, i, np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]


@pytest.fixture(scope="module")
def model() -> AssociationRules:
    return AssociationRules(0.02, 0.4).fit(made_baskets()[0], ITEMS)


class TestJudging:
    def test_held_out_counts_are_those_of_the_baskets(self, model: AssociationRules) -> None:
        other = np.random.default_rng(1).random((130, 6)) < 0.4
        judged = judge_rules(model, csr_matrix(other))
        left, right = model.antecedents_.toarray(), model.consequents_.toarray()
        has_left = np.array([other[:, side].all(axis=1) for side in left])
        has_right = np.array([other[:, side].all(axis=1) for side in right])
        assert judged.rules["n_antecedent"].tolist() == has_left.sum(axis=1).tolist()
        assert judged.rules["n_consequent"].tolist() == has_right.sum(axis=1).tolist()
        assert judged.rules["n_both"].tolist() == (has_left & has_right).sum(axis=1).tolist()

    def test_metrics_are_those_of_the_definition(self, model: AssociationRules) -> None:
        other = np.random.default_rng(1).random((130, 6)) < 0.4
        judged = judge_rules(model, csr_matrix(other))
        rules, found = model.rules_, judged.values
        left, right = model.antecedents_.toarray(), model.consequents_.toarray()
        has_left = np.array([other[:, side].all(axis=1) for side in left])
        has_right = np.array([other[:, side].all(axis=1) for side in right])
        confidence = (has_left & has_right).sum(axis=1) / has_left.sum(axis=1)
        assert found["held_out_confidence"] == pytest.approx(confidence.mean())
        drop = rules["confidence"].mean() - confidence.mean()
        assert found["confidence_drop"] == pytest.approx(drop)
        assert found["rules_kept"] == pytest.approx((confidence >= 0.4).mean())
        lift = np.median(confidence / has_right.mean(axis=1))
        assert found["held_out_lift"] == pytest.approx(lift)
        fired = has_left.any(axis=0)
        assert found["coverage"] == pytest.approx(fired.mean())
        order = np.lexsort((np.arange(len(rules)), -rules["n_both"], -rules["confidence"]))
        speaks = order[has_left[order].argmax(axis=0)]
        hit = has_right[speaks, np.arange(130)][fired]
        assert found["hit_rate"] == pytest.approx(hit.mean())

    def test_no_rules_cover_nothing(self) -> None:
        model = AssociationRules(0.9).fit(made_baskets()[0], ITEMS)
        found = judge_rules(model, made_baskets()[0]).values
        assert found["n_rules"] == found["coverage"] == 0
        assert np.isnan([found["held_out_confidence"], found["hit_rate"]]).all()

    def test_a_rule_never_seen_has_no_confidence(self, model: AssociationRules) -> None:
        found = judge_rules(model, csr_matrix((10, 6), dtype=bool)).values
        assert np.isnan(found["held_out_confidence"]) and found["coverage"] == 0

    def test_a_rule_is_judged_on_the_folds_that_found_it(self) -> None:
        matrix, _ = made_baskets()
        estimator = AssociationRules(0.02, 0.4)
        table = BasketTable(matrix, ITEMS, None, None)
        folds: list[BasketFold] = [judge_fold(table, estimator, s) for s in made_splits()]
        rules = with_held_out(estimator.fit(matrix, ITEMS).rules_, folds)
        assert rules["held_out_confidence"].notna().any()
        rule = rules[rules["held_out_confidence"].notna()].iloc[0]
        key = ["antecedent", "consequent"]
        own = [
            fold.judged.rules[(fold.judged.rules[key] == rule[key].tolist()).all(axis=1)]
            for fold in folds
        ]
        parts = pd.concat(own)
        assert rule["n_folds_found"] == len(parts)
        assert rule["n_held_out"] == parts["n_antecedent"].sum()
        expected = parts["n_both"].sum() / parts["n_antecedent"].sum()
        assert rule["held_out_confidence"] == pytest.approx(expected)

    def test_a_rule_of_every_fold_has_no_figures_of_its_own_held_out(self) -> None:
        matrix, _ = made_baskets()
        estimator = AssociationRules(0.02, 0.4)
        table = BasketTable(matrix, ITEMS, None, None)
        folds = [judge_fold(table, estimator, s) for s in made_splits()]
        rules = with_held_out(estimator.fit(matrix, ITEMS).rules_, folds)
        everywhere = rules["n_folds_found"] == len(folds)
        assert everywhere.any() and (rules["n_held_out"] == rules["n_antecedent"])[everywhere].all()
        figures = rules.loc[everywhere, ["held_out_confidence", "held_out_lift"]]
        assert figures.isna().all(axis=None)


def compared(
    matrix: csr_matrix, names: np.ndarray, model: AssociationRules, alpha: float, seed: int
) -> pd.DataFrame:
    """Rules of the mined half of each segment, tested on the other halves."""
    is_mined = baskets_to_mine(names, None, seed)
    items = [str(i) for i in range(matrix.shape[1])]
    found = [
        mine_segment(model, matrix[np.flatnonzero((names == name) & is_mined)], items, name)
        for name in sorted(set(names))
    ]
    rest = np.flatnonzero(~is_mined)
    return compare_segments(found, basket_matrix(matrix[rest]), names[rest], alpha)


class TestSegments:
    def test_random_segments_hardly_ever_have_special_rules(self) -> None:
        rng = np.random.default_rng(0)
        held = rng.random((1000, 25)) < 0.2
        held[:, 1] |= held[:, 0] & (rng.random(1000) < 0.4)
        matrix = basket_matrix(csr_matrix(held))
        tables = []
        for seed in range(20):
            names = np.array(list("abcd"), dtype=object)[rng.integers(0, 4, 1000)]
            tables.append(compared(matrix, names, AssociationRules(0.02, 0.3), 0.1, seed))
        assert sum(map(len, tables)) > 500
        assert np.mean([table["special"].any() for table in tables]) <= 0.1
        assert (pd.concat(tables)["p_value"] <= 0.05).mean() <= 0.055

    def test_half_of_the_customers_of_each_segment_are_mined_with_all_their_baskets(self) -> None:
        customers = np.repeat(np.arange(20), 3).astype(object)
        names = np.where(customers < 10, "a", "b").astype(object)
        names[-3:] = None
        is_mined = baskets_to_mine(names, customers, 0)
        of_customer = pd.Series(is_mined).groupby(customers.astype(int)).mean()
        assert set(of_customer) == {0.0, 1.0}
        assert of_customer[:10].sum() == 5 and of_customer[10:19].sum() == 5
        assert not is_mined[-3:].any()
        assert not np.array_equal(is_mined, baskets_to_mine(names, customers, 1))

    def test_figures_of_baskets_without_a_side_are_not_defined(self) -> None:
        matrix, _ = made_baskets()
        found = mine_segment(AssociationRules(0.02, 0.4), matrix, ITEMS, "a")
        names = np.repeat(np.array(["a", "b"], dtype=object), 5)
        table = compare_segments([found], csr_matrix((10, 6), dtype=bool), names, 0.05)
        assert table[["confidence", "lift", "segment_lift"]].isna().all(axis=None)
        assert (table["p_value"] == 1).all() and not table["special"].any()

    def test_a_rule_of_one_segment_is_found_to_be_special(self) -> None:
        matrix, names = made_baskets()
        matrix = basket_matrix(matrix)
        estimator = AssociationRules(0.02, 0.4)
        found = [
            mine_segment(estimator, matrix[np.flatnonzero(names == name)], ITEMS, name)
            for name in ("old", "young")
        ]
        table = compare_segments(found, matrix, names, 0.05)
        first = table.iloc[0]
        assert first["special"] and first["segment"] == "old"
        assert "milk" in first["antecedent"] and first["consequent"] == "tea"
        plain = table[(table["antecedent"] == "milk") & (table["segment"] == "old")].iloc[0]
        held = matrix.toarray()
        inside, milk = names == "old", held[:, 4]
        assert plain["confidence"] == pytest.approx(held[inside & milk, 5].mean())
        assert plain["confidence_outside"] == pytest.approx(held[~inside & milk, 5].mean())
        lift = held[inside & milk, 5].mean() / held[~inside & milk, 5].mean()
        assert plain["segment_lift"] == pytest.approx(lift)

    def test_a_rule_that_holds_everywhere_is_not_special(self) -> None:
        matrix, _ = made_baskets()
        names = np.array(["a", "b"], dtype=object)[np.arange(400) % 2]
        found = [
            mine_segment(AssociationRules(0.05, 0.4), matrix[np.flatnonzero(names == n)], ITEMS, n)
            for n in ("a", "b")
        ]
        assert not compare_segments(found, basket_matrix(matrix), names, 0.01)["special"].any()

    def test_a_small_segment_needs_more_than_a_few_baskets(self) -> None:
        matrix, _ = made_baskets()
        found = mine_segment(AssociationRules(0.01), matrix[:40], ITEMS, "few")
        assert found.model is not None and found.model.min_count_ == 10

    def test_a_segment_with_too_many_itemsets_needs_more_baskets_and_says_so(self) -> None:
        matrix, _ = made_baskets()
        found = mine_segment(AssociationRules(0.03, max_itemsets=15), matrix, ITEMS, "big")
        assert found.model is not None and len(found.model.itemsets_) <= 15
        assert found.note == (
            f"segment big: 12 of the 400 baskets mined would make more than 15 itemsets; it was "
            f"mined with {found.model.min_count_}"
        )

    def test_a_segment_that_cannot_be_mined_is_left_out_with_a_note(self) -> None:
        model = AssociationRules(10, max_basket_items=1)
        found = mine_segment(model, np.ones((12, 6)), ITEMS, "big")
        assert found.model is None
        assert found.note.startswith("segment big was left out: each of the 12 baskets has more")

    def test_counts_of_no_rules(self) -> None:
        matrix, _ = made_baskets()
        none = csr_matrix((0, 6), dtype=bool)
        assert [len(part) for part in count_rules(basket_matrix(matrix), none, none)] == [0, 0, 0]


def finished_run(folder: Path, segments: bool = True, **parameters: object) -> runs.Run:
    """Let a run of made baskets compute and write its files."""
    matrix, names = made_baskets()
    names[:3] = None
    baskets = SimpleNamespace(
        matrix=matrix,
        items=ITEMS,
        customers=None,
        segments=pd.Series(names) if segments else None,
    )
    dataset = SimpleNamespace(name="made", baskets=baskets, fingerprint="made")
    config = SimpleNamespace(
        evaluation=SimpleNamespace(final_model=True), run=SimpleNamespace(seed=0)
    )
    pipeline = Pipeline([("model", AssociationRules(0.02, 0.4).set_params(**parameters))])
    counted = []

    async def compute(writer: runs.RunWriter) -> None:
        engine_config = EngineConfig(name="local", n_jobs=1, threads=1, address=None)
        async with open_engine(engine_config) as engine:
            work = BasketWork(
                config, pipeline, {}, dataset, made_splits(),
                writer, engine, lambda n, what: counted.append(n), (0,),
            )  # fmt: skip
            await work.finish()
            assert work.model is None
            assert sum(counted) == work.n_tasks

    with runs.new_run(folder, "made", "run", {}, {"task": "baskets"}) as writer:
        asyncio.run(compute(writer))
    return runs.open_run(writer.path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return finished_run(tmp_path_factory.mktemp("run"))


class TestRun:
    def test_every_file_is_there(self, run: runs.Run) -> None:
        names = (runs.SCORES, runs.SUMMARY, runs.TIMINGS, runs.ITEMSETS, runs.RULES,
                 runs.SEGMENT_RULES, runs.BASKETS)  # fmt: skip
        assert all((run.path / name).is_file() for name in names)
        figures = {path.name for path in (run.path / runs.FIGURES).iterdir()}
        assert figures == {
            f"{name}.{kind}" for name in ("top_items", "rules", "rule_network")
            for kind in ("png", "svg")
        }  # fmt: skip

    def test_scores_hold_every_metric_of_every_fold(self, run: runs.Run) -> None:
        scores = run.read_scores()
        assert scores.groupby("fold").size().tolist() == [8] * 4
        assert run.read_summary()["held_out_confidence"]["n"] == 4

    def test_counts_and_what_is_in_sample(self, run: runs.Run) -> None:
        found = json.loads((run.path / runs.BASKETS).read_text())
        assert found["n_baskets"] == 400 and found["n_items"] == 6
        assert found["segments"]["old"]["n_special"] >= 1
        assert "held_out_confidence" in found["in_sample"]
        assert "3 baskets are of customers without a segment" in found["notes"]

    def test_rules_carry_their_held_out_figures(self, run: runs.Run) -> None:
        rules = pd.read_csv(run.path / runs.RULES, keep_default_na=False, na_values=[""])
        assert rules["held_out_confidence"].notna().any()
        assert (rules["n_folds_found"] <= 4).all()

    def test_the_same_run_gives_the_same_files(self, run: runs.Run, tmp_path: Path) -> None:
        again = finished_run(tmp_path)
        for name in (runs.SCORES, runs.RULES, runs.SEGMENT_RULES, runs.ITEMSETS, runs.BASKETS,
                     f"{runs.FIGURES}/rule_network.svg"):  # fmt: skip
            assert (again.path / name).read_bytes() == (run.path / name).read_bytes()

    def test_it_prints_rules_with_what_was_held_out(
        self, run: runs.Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_baskets(run)
        text = capsys.readouterr().out
        assert "400 baskets" in text and "baskets held out" in text
        assert "found in" in text and "held-out lift" not in text
        assert "counted in the other half" in text
        assert "butter, salted" in text
        assert "rules that hold in one segment more often" in text

    def test_nothing_found_is_a_completed_run_with_advice(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = finished_run(tmp_path, segments=False, min_support=0.95)
        assert run.status == runs.COMPLETED
        assert len(pd.read_csv(run.path / runs.RULES)) == 0
        print_baskets(run)
        assert "no two items reach min_support=0.95" in capsys.readouterr().out

    def test_too_many_itemsets_fail_with_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(runs.RunFailedError, match="what would do: min_support="):
            finished_run(tmp_path, max_itemsets=12)


class TestFigures:
    def test_they_draw_nothing_without_rules(self) -> None:
        model = AssociationRules(0.95).fit(made_baskets()[0], ITEMS)
        render(rule_scatter(model.rules_))
        render(rule_network(model.rules_, model.antecedents_, model.consequents_, model.items_))
        render(top_items(pd.DataFrame({"item": [], "count": np.zeros(0, dtype=int)}), 0))

    def test_long_names_and_many_items(self) -> None:
        names = [f"an item with quite a long name, number {i} of many" for i in range(60)]
        held = np.random.default_rng(0).random((500, 60)) < 0.15
        held[:, 1:30:2] |= held[:, :30:2] & (np.random.default_rng(1).random((500, 15)) < 0.6)
        model = AssociationRules(0.02, 0.2, consequents="any").fit(held, names)
        sides = model.antecedents_, model.consequents_
        assert set(render(rule_network(model.rules_, *sides, names))) == {"png", "svg"}
        counts = pd.DataFrame({"item": names, "count": held.sum(axis=0)})
        assert set(render(top_items(counts, 500))) == {"png", "svg"}
