"""Each check has a run that makes it speak, and one like it that does not."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import segexp.checks.checking as checks
from segexp import __version__
from segexp.checks.judging import search_findings
from segexp.errors import ConfigError
from segexp.runs import COMPLETED

DOCS = Path(__file__).resolve().parents[1] / "docs" / "checks.md"
PARTS = ("config", "summary", "scores", "baselines", "predictions", "importance", "sample",
         "segmentation", "segments", "k_table", "rfm", "value", "baskets",
         "customers", "model", "unused")  # fmt: skip


def made(task="classification", dataset=None, **parts):
    """What a run left: a manifest of nothing suspicious, and what a test adds."""
    manifest = {
        "status": COMPLETED, "task": task, "metric": "accuracy", "model": "lightgbm",
        "segments": {}, "git": None, "versions": {"segexp": __version__},
        "dataset": {"name": "shop", "synthetic": False, "n_rows": 1000, "findings": [],
                    "files": [{"path": "a.csv"}], "log": None, **(dataset or {})},
        "split": {"protocol": "cv", "n_splits": 5, "n_repeats": 1, "test_size": None},
        **parts.pop("manifest", {}),
    }  # fmt: skip
    nothing = {**dict.fromkeys(PARTS), "damaged": {}, "not_read": {}}
    return SimpleNamespace(manifest=manifest, **{**nothing, **parts})


def found_in(code, count=1, message="1 thing", **dataset):
    return made(dataset={"findings": [{"code": code, "message": message, "count": count}],
                         **dataset})  # fmt: skip


def scores(*values, metric="accuracy", **columns):
    table = pd.DataFrame({"repeat": 0, "fold": range(len(values)), "metric": metric})
    return table.assign(value=np.array(values, dtype=float), **columns)


def beside(own, other):
    return made(scores=scores(*own), baselines=scores(*other, baseline="dummy"))


def mean(**metrics):
    return {name: {"mean": value, "std": 0, "interval": None, "n": 5}
            for name, value in metrics.items()}  # fmt: skip


def records(before, after):
    n = len(before)
    labels = [*before, *after]
    return pd.DataFrame({"row": range(2 * n), "id": [*range(n)] * 2, "repeat": 0, "true": labels,
                         "predicted": labels})  # fmt: skip


def predicted(n_right, n=20):
    other = pd.DataFrame({"row": range(n), "id": range(n), "true": "b", "predicted": "b"})
    own = other.assign(row=other["row"] + n, id=other["id"] + n, true="a")
    own["predicted"] = ["a"] * n_right + ["b"] * (n - n_right)
    return made(predictions=pd.concat([other, own]).assign(repeat=0, fold=0))


def importance(*means, kind="permutation"):
    names = [f"c{i}" for i in range(len(means))]
    return pd.DataFrame({"kind": kind, "feature": names, "mean": means, "std": 0.0})


def sampled(**columns):
    n = len(next(iter(columns.values())))
    return made(sample=pd.DataFrame({"row": range(n), "id": range(n), **columns}))


def gaps(segments, **parts):
    """Every second pair of customers lacks a value."""
    n = len(segments)
    x = np.where(np.arange(n) % 4 < 2, np.nan, 1.0)
    sample = pd.DataFrame({"row": range(n), "id": range(n), "x": x})
    customers = pd.DataFrame({"row": range(n), "segment": list(segments)})
    return made("clustering", sample=sample, customers=customers, **parts)


def clusters(*sizes, **parts):
    n = np.array(sizes)
    table = pd.DataFrame({"segment": [f"{i + 1}" for i in range(len(n))], "n": n,
                          "share": n / n.sum()})  # fmt: skip
    return made("clustering", segments=table, **parts)


def segmented(content, **parts):
    return made("clustering", segmentation=content, **parts)


def weighed(kind="natural", best=3, n_segments=3, reasons=("the largest",) * 4, k_max=10):
    verdict = {"kind": kind, "best": best, "choices": [{"reason": r} for r in reasons]}
    table = pd.DataFrame({"rows": "final", "k": range(1, k_max + 1)})
    return segmented({"n_segments": n_segments, "k": {"final": verdict}}, k_table=table)


def manifest(**entries):
    return made(manifest=entries)


def finished(**files):
    """Every file of a final model is there, but for those that a test takes away."""
    there = {"segmentation": {}, "customers": pd.DataFrame(), "model": object(), **files}
    return clusters(60, 40, config={"evaluation": {"final_model": True}}, **there)


def bought(n, first="2011-01-01"):
    log = {"first": first, "last": "2011-12-01"}
    return made("clustering", {"log": log}, rfm=pd.DataFrame({"customers": [n]}))


RNG = np.random.default_rng(0)
CASES = {  # code: a run that makes the check speak, one that leaves it silent
    "unfinished": (manifest(status="failed"), made()),
    "damaged_files": (made(damaged={"scores.csv": "it is empty"}), made()),
    "missing_files": (
        finished(customers=None),
        finished(),
    ),
    "files_not_read": (made(not_read={"customers.parquet": "it holds 9 GB"}), made()),
    "run_warning": (manifest(warnings=["the model was not saved"]), manifest(warnings=[])),
    "dirty_environment": (
        manifest(git={"commit": "abc", "dirty": True}),
        manifest(git={"commit": "abc", "dirty": False}),
    ),
    "other_versions": (manifest(versions={"scikit-learn": "0.1.0"}), made()),
    "synthetic_data": (made(dataset={"synthetic": True}), made()),
    "other_file": (found_in("checksum"), found_in("missing")),
    "row_order": (found_in("row_order"), made()),
    "constant_columns": (found_in("constant"), made()),
    "duplicate_rows": (
        found_in("duplicate_rows", 10, "10 rows equal to an earlier row, kept"),
        found_in("duplicate_rows", 10, "10 rows equal to an earlier row, dropped"),
    ),
    "same_customer": (found_in("same_customer", 2), made()),
    "twins": (found_in("twins", 50), found_in("twins", 49)),
    "contradictory_labels": (
        made(predictions=records("a" * 20, "b" * 2 + "a" * 18)),
        made(predictions=records("a" * 20, "b" + "a" * 19)),
    ),
    "label_drift": (
        made(predictions=records("a" * 100, "b" * 12 + "a" * 88)),
        made(predictions=records("ab" * 50, "ba" * 50)),  # all differ, the shares do not
    ),
    "imbalanced_accuracy": (
        manifest(segments={"a": 90, "b": 10}),
        manifest(segments={"a": 60, "b": 40}),
    ),
    "missingness_decides": (gaps(segments="aabb" * 10), gaps(segments="abab" * 10)),
    "single_split": (
        manifest(split={"protocol": "holdout", "n_splits": 5, "n_repeats": 1, "test_size": 0.2}),
        made(),
    ),
    "small_folds": (made(dataset={"n_rows": 100}), made(dataset={"n_rows": 150})),
    "worse_than_baseline": (
        beside([0.5, 0.6, 0.5, 0.6, 0.5], [0.6, 0.6, 0.5, 0.6, 0.5]),
        beside([0.9, 0.9, 0.9, 0.9, 0.8], [0.6, 0.6, 0.5, 0.6, 0.5]),
    ),
    "not_separable_from_baseline": (
        beside([0.5, 0.6, 0.5, 0.6, 0.5], [0.6, 0.5, 0.4, 0.6, 0.5]),
        beside([0.9, 0.91, 0.92, 0.9, 0.9], [0.6, 0.6, 0.6, 0.6, 0.6]),
    ),
    "unlike_fold": (
        made(scores=scores(0.80, 0.81, 0.80, 0.81, 0.60)),
        made(scores=scores(0.80, 0.85, 0.75, 0.82, 0.72)),
    ),
    "undefined_folds": (made(scores=scores(0.8, np.nan)), made(scores=scores(0.8, 0.7))),
    "segment_never_predicted": (predicted(0), predicted(1)),
    "poor_calibration": (
        made(summary=mean(calibration_error=0.17)),
        made(summary=mean(calibration_error=0.15)),  # a fold of 200 explains 0.11
    ),
    "leak_suspected": (
        made(summary=mean(accuracy=0.99), importance=importance(0.5, 0.01)),
        made(summary=mean(accuracy=0.8), importance=importance(0.5, 0.01)),
    ),
    "id_like_feature": (
        sampled(number=np.arange(100) + 1000),
        sampled(age=RNG.integers(20, 60, 100), income=RNG.normal(size=100)),
    ),
    "unusable_segmentation": (manifest(constraints_missed=["n_segments is 1"]), made()),
    "single_segment": (segmented({"n_segments": 1}), segmented({"n_segments": 2})),
    "giant_segment": (clusters(80, 20), clusters(79, 21)),
    "tiny_segments": (clusters(90, 29), clusters(90, 30)),
    "much_noise": (
        segmented({"in_sample": {"noise_share": 0.1}}),
        segmented({"in_sample": {"noise_share": 0.05}}),
    ),
    "unstable_segments": (
        segmented({"stability": {"jaccard": {"1": 0.9, "2": 0.5}}}),
        segmented({"stability": {"jaccard": {"1": 0.9, "2": 0.6}}}),
    ),
    "segments_not_reproducible": (
        segmented({"stability": {"ari": 0.5, "n_resamples": 20}}),
        segmented({"stability": {"ari": 0.7, "n_resamples": 20}}),
    ),
    "folds_disagree_on_k": (
        segmented({"n_segments": 3}, scores=scores(3, 4, 5, metric="n_segments")),
        segmented({"n_segments": 3}, scores=scores(3, 3, 5, metric="n_segments")),
    ),
    "no_natural_segments": (weighed("constructive"), weighed("natural")),
    "k_against_criteria": (weighed(n_segments=7), weighed()),
    "k_at_edge": (
        weighed(reasons=("still better at 10, the most", "still rising at 10", "a knee", "b")),
        weighed(reasons=("still better at 10, the most", "c", "a knee", "b")),
    ),
    "weak_structure": (
        made("clustering", summary=mean(silhouette=0.2)),
        made("clustering", summary=mean(silhouette=0.3)),
    ),
    "in_sample_optimism": (
        segmented({"in_sample": {"silhouette": 0.6}},
                  scores=scores(0.4, 0.41, 0.4, metric="silhouette")),
        segmented({"in_sample": {"silhouette": 0.44}},
                  scores=scores(0.4, 0.41, 0.4, metric="silhouette")),
    ),
    "unlike_customers": (
        made(summary=mean(unlike_share=0.06)), made(summary=mean(unlike_share=0.02))
    ),
    "assignment_disagrees": (
        segmented({"assignment": {"rule": "nearest_neighbors", "agreement": 0.8}}),
        segmented({"assignment": {"rule": "nearest_neighbors", "agreement": 0.95}}),
    ),
    "one_feature_decides": (
        made("clustering", importance=importance(0.9, 0.05, 0.05, kind="model")),
        made("clustering", importance=importance(0.4, 0.3, 0.3, kind="model")),
    ),
    "too_few_customers_for_rfm": (bought(499), bought(500)),
    "value_not_converged": (
        made("value", value={"purchases": {"converged": False}}),
        made("value", value={"purchases": {"converged": True}, "notes": ["all is well"]}),
    ),
    "biased_total": (
        made("value", value={"holdout": {"predicted_purchases": 75, "actual_purchases": 100}}),
        made("value", value={"holdout": {"predicted_purchases": 90, "actual_purchases": 100}}),
    ),
    "spend_depends_on_frequency": (
        made("value", value={"spend": {"correlation_of_frequency_and_spend": 0.4}}),
        made("value", value={"spend": {"correlation_of_frequency_and_spend": 0.1}}),
    ),
    "rules_do_not_hold": (
        made("baskets", summary=mean(rules_kept=0.5, confidence_drop=0.05)),
        made("baskets", summary=mean(rules_kept=0.9, confidence_drop=0.05)),
    ),
    "no_rules": (made("baskets", baskets={"n_rules": 0}), made("baskets", baskets={"n_rules": 5})),
}  # fmt: skip
OWN = [check.__name__ for check in checks.CHECKS if check is not search_findings]


def codes(run):
    return [found.code for found in checks.check_run(run)]


@pytest.mark.parametrize("code", OWN)
def test_a_check_fires(code):
    found = [check for check in checks.check_run(CASES[code][0]) if check.code == code]
    assert len(found) == 1
    assert found[0].message and found[0].explanation


@pytest.mark.parametrize("sizes", [(70, 30), (600, 200, 200)])
def test_sizes_at_the_limit_of_the_docs_are_imbalanced(sizes):
    run = manifest(segments=dict(zip("abc", sizes, strict=False)))
    assert "imbalanced_accuracy" in codes(run)


@pytest.mark.parametrize("code", OWN)
def test_a_check_stays_silent(code):
    assert code not in codes(CASES[code][1])


@pytest.mark.parametrize("code", OWN)
def test_no_check_of_the_cases_is_disturbed(code):
    assert "not_checked" not in [*codes(CASES[code][0]), *codes(CASES[code][1])]


def test_a_run_of_nothing_suspicious_is_left_alone():
    assert codes(made()) == []


def test_every_code_is_documented_once():
    named = re.findall(r"^\| `(\w+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(checks.CODES)


def test_a_lead_that_may_be_noise_is_not_called_worse():
    run = CASES["not_separable_from_baseline"][0]
    assert "worse_than_baseline" not in codes(run)


def test_a_metric_that_shall_be_small_is_compared_the_other_way_round():
    own, other = (scores(*values, metric="log_loss") for values in ([0.9, 1.0], [0.5, 0.5]))
    run = made(manifest={"metric": "log_loss"}, scores=own, baselines=other.assign(baseline="b"))
    assert "worse_than_baseline" in codes(run)


def test_a_run_of_the_baseline_itself_is_not_compared_with_it():
    run = made(manifest={"model": "dummy"}, scores=scores(0.5, 0.5),
               baselines=scores(0.5, 0.5, baseline="dummy"))  # fmt: skip
    assert "worse_than_baseline" not in codes(run)


def test_the_checks_of_the_search_are_passed_on_with_a_reason():
    stored = [{"code": "edge_of_range", "message": "at the low end", "advice": "widen it"}]
    (found,) = checks.check_run(manifest(checks=stored))
    assert (found.code, found.message, found.advice) == (
        "edge_of_range", "at the low end", "widen it"
    )  # fmt: skip
    assert "look" in found.explanation


def test_a_check_of_the_search_that_is_not_known_is_left_out():
    assert codes(manifest(checks=[{"code": "<b>", "message": "x"}, "y", None])) == []


def test_an_id_that_the_model_does_not_use_is_left_alone():
    run = sampled(number=np.arange(100), age=RNG.integers(20, 60, 100))
    run.importance = pd.DataFrame({"kind": "permutation", "feature": ["number", "age"],
                                   "mean": [0.001, 0.5], "std": 0.0})  # fmt: skip
    assert "id_like_feature" not in codes(run)


def test_text_that_nobody_shares_is_like_an_id():
    assert "id_like_feature" in codes(sampled(mail=[f"{i}@example.org" for i in range(60)]))


def test_noise_is_not_a_segment():
    run = clusters(500, 495, 5)
    run.segments["segment"] = ["1", "2", "noise"]
    assert "tiny_segments" not in codes(run)


def test_gaps_in_a_column_that_the_clusterer_does_not_see_decide_nothing():
    assert codes(gaps("aabb" * 10, unused=frozenset({"x"}))) == []


def test_preprocessing_that_a_run_has_is_not_advised():
    run = gaps(segments="aabb" * 10)
    run.manifest["preprocessing"] = "mixed"
    found = next(check for check in checks.check_run(run) if check.code == "missingness_decides")
    assert "take preprocessing=minimal, which adds no marks" in found.advice


def test_imbalance_is_beside_segments_of_equal_size():
    even = {f"s{i}": 25 for i in range(38)}
    assert codes(manifest(segments=even | {"large": 70, "small": 12})) == []


def test_a_small_segment_alone_is_said_without_the_largest():
    (found,) = checks.check_run(manifest(segments={"a": 500, "b": 490, "c": 10}))
    assert found.message == (
        "accuracy ranks, while 'c' has 1.00%, where equal segments would have 33.3%"
    )


def disputed(n_segments):
    """Two criteria see six segments come back, one sees three by their distances."""
    run = weighed("natural", best=6, n_segments=n_segments)
    run.segmentation["k"]["final"]["choices"] = [
        {"criterion": "prediction_strength", "k": 6, "reason": ""},
        {"criterion": "bootstrap_ari", "k": 6, "reason": ""},
        {"criterion": "knee", "k": 3, "reason": ""},
        {"criterion": "silhouette", "k": None, "reason": ""},
    ]
    return run


def test_a_number_that_only_comes_back_is_not_recommended():
    (found,) = checks.check_run(disputed(n_segments=5))
    assert found.code == "k_against_criteria"
    assert "chooses 6 (they choose 3)" in found.message
    assert "n_clusters=6" not in found.advice and "undecided" in found.advice


def test_segments_whose_number_only_comes_back_are_not_natural():
    (found,) = checks.check_run(disputed(n_segments=6))
    assert found.code == "no_natural_segments" and "come back" in found.message


RULED = {"model": {"estimator": {"_target_": "segexp.rfm.RFMSegments"}}}


def test_fixed_rules_are_not_judged_by_gaps_between_customers():
    run = segmented({"in_sample": {"silhouette": 0.6}}, config=RULED, summary=mean(silhouette=0.1),
                    scores=scores(0.1, 0.1, 0.1, metric="silhouette"))  # fmt: skip
    assert codes(run) == []


def test_small_segments_of_fixed_rules_are_not_to_be_merged():
    (found,) = checks.check_run(clusters(50, 45, 5, config=RULED))
    assert found.code == "tiny_segments" and "wider rules" in found.advice


@pytest.mark.parametrize(("least", "is_tiny"), [(0.1, True), (0.0, False)])
def test_how_small_is_tiny_is_what_the_constraints_say(least, is_tiny):
    bounds = {"smallest_share": {"min": least}}
    run = clusters(4000, 50, config={"evaluation": {"constraints": bounds}})
    assert ("tiny_segments" in codes(run)) is is_tiny


def test_nobody_is_told_to_cluster_what_fixed_rules_put_into_one_segment():
    (found,) = checks.check_run(clusters(900, 100, config=RULED))
    assert found.code == "giant_segment" and "kmeans" not in found.advice


def test_no_segment_is_not_one_segment():
    (found,) = checks.check_run(segmented({"n_segments": 0}))
    assert found.message == "the final model found no segment"


def test_a_metric_that_no_fold_defines_has_no_mean():
    (found,) = checks.check_run(made(scores=scores(np.nan, np.nan)))
    assert found.explanation == "there is no figure to judge it by"


def test_a_name_is_said_without_escapes():
    run = clusters(50, 45, 5)
    run.segments["segment"] = ["1", "2", 'the "best" of the department\'s']
    (found,) = checks.check_run(run)
    assert "'the \"best\" of the department's' (5)" in found.message


def test_a_model_that_could_not_be_saved_is_not_missing():
    run = finished(model=None)
    run.manifest["warnings"] = ["the model was not saved"]
    assert "missing_files" not in codes(run)


def test_muted_codes_are_left_out():
    run = made(dataset={"synthetic": True})
    assert checks.check_run(run, muted=["synthetic_data"]) == ()


def test_a_muted_code_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'synthetic_data'"):
        checks.check_run(made(), muted=["synthetic_dat"])


def test_a_damaged_run_is_told_and_not_a_traceback():
    run = made("clustering", scores=pd.DataFrame({"something": ["else"]}),
               segmentation={"stability": [1], "k": 7, "n_segments": "many"})  # fmt: skip
    assert set(codes(run)) == {"not_checked"}


@pytest.mark.parametrize("junk", [None, 7, "text", [1], {"a": {"b": None}}])
def test_junk_in_the_manifest_is_survived(junk):
    names = ("git", "versions", "segments", "warnings", "checks", "constraints_missed")
    assert "unfinished" in codes(made(manifest={"status": "x", **dict.fromkeys(names, junk)}))
