"""Values by hand on a few customers, equality with scikit-learn, and honest intervals."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from segexp.errors import ConfigError
from segexp.metrics import (
    METRICS,
    PER_SEGMENT,
    interval,
    jackknife_group_count,
    jackknife_standard_errors,
    metric_by_name,
    score,
    summarise,
)

Predictions = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]

ABC = ("A", "B", "C")
# Confusion matrix [[2, 1, 0], [0, 2, 0], [1, 0, 0]]: C exists and is never predicted.
SIX = ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0])
# Four customers with P(A) = 0.8, 0.4, 0.4, 0.1; the second is the mistake.
FOUR = ([0, 0, 1, 1], [0, 1, 1, 1], [[0.8, 0.2], [0.4, 0.6], [0.4, 0.6], [0.1, 0.9]])


def random_predictions(n: int, n_segments: int = 4, seed: int = 0) -> Predictions:
    """Customers whose segment follows their probabilities, which have ties."""
    rng = np.random.default_rng(seed)
    probabilities = (rng.multinomial(16, np.ones(n_segments) / n_segments, n) + 1) / (
        16 + n_segments
    )
    y_true = np.array([rng.choice(n_segments, p=row) for row in probabilities])
    return y_true, probabilities.argmax(axis=1), probabilities


# Names


def test_metric_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_losses_are_better_when_small() -> None:
    losses = {metric.name for metric in METRICS if not metric.greater_is_better}
    assert losses == {"log_loss", "brier", "calibration_error"}


@pytest.mark.parametrize("kind", PER_SEGMENT)
def test_a_metric_of_a_segment_is_understood(kind: str) -> None:
    metric = metric_by_name(f"{kind}[young families]")
    assert metric.name == f"{kind}[young families]"
    assert metric.label == f"{kind} of young families"
    assert metric.greater_is_better and not metric.needs_probabilities


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("acuracy", "accuracy"), ("Log_Loss", "log_loss"), ("recal[B]", "recall[B]")],
)
def test_a_wrong_metric_name_gets_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        metric_by_name(typed)
    message = str(caught.value)
    assert f"unknown metric '{typed}'; did you mean '{meant}'?" in message
    assert "\n" not in message


def test_recall_without_a_segment_is_refused_with_the_form() -> None:
    with pytest.raises(ConfigError, match=r"as recall\[A\]"):
        metric_by_name("recall")


def test_importing_metrics_loads_no_scientific_library() -> None:
    code = (
        "import sys, segexp.metrics;"
        "print({'numpy', 'pandas', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


# Values by hand


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 4 / 6),
        ("balanced_accuracy", (2 / 3 + 1 + 0) / 3),
        ("f1_macro", (2 / 3 + 4 / 5 + 0) / 3),
        ("cohen_kappa", (24 - 15) / (36 - 15)),
        ("mcc", (24 - 15) / math.sqrt((36 - 18) * (36 - 14))),
        ("precision[B]", 2 / 3),
        ("recall[A]", 2 / 3),
        ("recall[C]", 0),
        ("f1[B]", 4 / 5),
        ("f1[C]", 0),
        ("support[A]", 3),
    ],
)
def test_value_by_hand_from_labels(name: str, value: float) -> None:
    assert score(*SIX, None, ABC)[name] == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log_loss", -math.log(0.8 * 0.4 * 0.6 * 0.9) / 4),
        ("brier", 2 * (0.2**2 + 0.6**2 + 0.4**2 + 0.1**2) / 4),
        # Pairs (member of A, other): 0.8 wins twice, 0.4 ties once and wins once.
        ("roc_auc_ovr", 3.5 / 4),
        # Bins hold 0.8 (right), 0.6 twice (one right) and 0.9 (right).
        ("calibration_error", (0.2 + abs(1 - 1.2) + 0.1) / 4),
    ],
)
def test_value_by_hand_from_probabilities(name: str, value: float) -> None:
    assert score(*FOUR, ("A", "B"))[name] == pytest.approx(value, abs=1e-15)


def test_perfect_predictions_have_perfect_scores() -> None:
    scores = score([0, 1, 2], [0, 1, 2], np.eye(3), ABC)
    best = {metric.name: 1.0 if metric.greater_is_better else 0.0 for metric in METRICS}
    assert {name: scores[name] for name in best} == best


def test_brier_of_certain_mistakes_is_two() -> None:
    assert score([0, 1], [1, 0], [[0, 1], [1, 0]], ("A", "B"))["brier"] == 2


def test_log_loss_of_an_impossible_segment_is_clipped_to_36() -> None:
    probabilities = np.array([[0, 1]], dtype=np.float32)
    assert score([0], [1], probabilities, ("A", "B"))["log_loss"] == pytest.approx(52 * math.log(2))


def test_a_confidence_on_the_edge_belongs_to_the_bin_below() -> None:
    # 0.58 (wrong) and 9/15 (right) share a bin: |1 - 1.18| / 2.
    scores = score([1, 0], [0, 0], [[0.58, 0.42], [9 / 15, 6 / 15]], ("A", "B"))
    assert scores["calibration_error"] == pytest.approx(0.09)


def test_calibration_is_judged_by_the_probabilities_not_by_the_prediction() -> None:
    _, _, probabilities = FOUR
    as_told = score(*FOUR, ("A", "B"))["calibration_error"]
    assert score([0, 0, 1, 1], [1, 1, 0, 0], probabilities, ("A", "B"))[
        "calibration_error"
    ] == pytest.approx(as_told)


# scikit-learn


@pytest.mark.parametrize("n", [9, 1600])
def test_scores_equal_scikit_learn(n: int) -> None:
    y_true, y_pred, probabilities = random_predictions(n, seed=n)
    labels = range(4)
    each = sk.precision_recall_fscore_support(y_true, y_pred, labels=labels, zero_division=np.nan)
    expected = {
        "accuracy": sk.accuracy_score(y_true, y_pred),
        "balanced_accuracy": sk.balanced_accuracy_score(y_true, y_pred),
        "f1_macro": sk.f1_score(y_true, y_pred, average="macro"),
        "log_loss": sk.log_loss(y_true, probabilities, labels=labels),
        "roc_auc_ovr": sk.roc_auc_score(y_true, probabilities, multi_class="ovr"),
        "cohen_kappa": sk.cohen_kappa_score(y_true, y_pred),
        "mcc": sk.matthews_corrcoef(y_true, y_pred),
    }
    for kind, values in zip(PER_SEGMENT, each, strict=True):
        expected |= {f"{kind}[{code}]": value for code, value in enumerate(values)}
    scores = score(y_true, y_pred, probabilities, "0123")
    assert {name: scores[name] for name in expected} == pytest.approx(
        expected, abs=1e-12, nan_ok=True
    )


# Segments that are absent, one customer, none


def test_without_probabilities_their_metrics_are_absent() -> None:
    needing = {metric.name for metric in METRICS if metric.needs_probabilities}
    assert not needing & set(score(*SIX, None, ABC))
    assert needing <= set(score(*FOUR, ("A", "B")))


def test_an_absent_segment_counts_in_no_mean() -> None:
    y_true, y_pred, probabilities = FOUR
    wider = np.column_stack([probabilities, np.zeros(4)])
    two, three = score(*FOUR, ("A", "B")), score(y_true, y_pred, wider, ABC)
    assert {name: three[name] for name in two} == two
    assert math.isnan(three["recall[C]"]) and math.isnan(three["f1[C]"])
    assert three["support[C]"] == 0


def test_a_segment_wrongly_claimed_lowers_macro_f1_but_not_balanced_accuracy() -> None:
    scores = score([0, 0, 1, 1], [0, 0, 1, 2], None, ABC)
    assert scores["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert scores["balanced_accuracy"] == 0.75


def test_a_constant_prediction_agrees_by_chance_only() -> None:
    scores = score([0, 1, 1], [1, 1, 1], None, ("A", "B"))
    assert scores["cohen_kappa"] == scores["mcc"] == 0
    assert math.isnan(scores["precision[A]"])


def test_one_segment_throughout_has_no_kappa_and_no_auc() -> None:
    scores = score([0, 0], [0, 0], [[0.9, 0.1], [0.7, 0.3]], ("A", "B"))
    assert math.isnan(scores["cohen_kappa"]) and math.isnan(scores["roc_auc_ovr"])
    assert scores["accuracy"] == scores["balanced_accuracy"] == scores["f1_macro"] == 1


def test_probabilities_that_are_not_numbers_have_no_score() -> None:
    scores = score([0, 1], [0, 1], [[0.9, 0.1], [math.nan, math.nan]], ("A", "B"))
    assert all(math.isnan(scores[metric.name]) for metric in METRICS if metric.needs_probabilities)
    assert scores["accuracy"] == 1


def test_no_customers_have_no_score() -> None:
    none = np.empty(0, dtype=int)
    scores = score(none, none, np.empty((0, 2)), ("A", "B"))
    assert all(math.isnan(scores[metric.name]) for metric in METRICS)


@pytest.mark.parametrize("code", [-1, 2])
def test_a_code_without_a_segment_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="invalid entry"):
        score([0, 1], [0, code], None, ("A", "B"))


# Jackknife


def score_rows(predictions: Predictions, rows: NDArray[np.bool_]) -> dict[str, float]:
    y_true, y_pred, probabilities = predictions
    return score(y_true[rows], y_pred[rows], probabilities[rows], "0123")


def test_standard_errors_equal_leaving_out_each_customer_by_hand() -> None:
    predictions = random_predictions(40)
    customers = np.arange(40)
    left_out = pd.DataFrame([score_rows(predictions, customers != one) for one in customers])
    errors = jackknife_standard_errors(*predictions, "0123", customers, n_groups=40, seed=0)
    spread = left_out[list(errors)].std(ddof=0)
    assert errors == pytest.approx(dict(np.sqrt(39) * spread), abs=1e-12)


def test_with_parts_it_is_the_mean_over_parts_that_is_judged() -> None:
    predictions = random_predictions(60)
    # Two repeats of the same 30 customers.
    customers, parts = np.tile(np.arange(30), 2), np.repeat([0, 1], 30)
    left_out = pd.DataFrame(
        pd.DataFrame(
            [score_rows(predictions, (customers != one) & (parts == part)) for part in (0, 1)]
        ).mean()
        for one in range(30)
    )
    errors = jackknife_standard_errors(
        *predictions, "0123", customers, parts=parts, n_groups=30, seed=0
    )
    spread = left_out[list(errors)].std(ddof=0)
    assert errors == pytest.approx(dict(np.sqrt(29) * spread), abs=1e-12)


def test_what_has_no_sensible_interval_has_no_standard_error() -> None:
    predictions = random_predictions(200)
    errors = jackknife_standard_errors(*predictions, "0123", np.arange(200), seed=0)
    left_out = set(score(*predictions, "0123")) - set(errors)
    assert left_out == {"calibration_error", *(f"support[{segment}]" for segment in "0123")}


def test_the_same_seed_deals_the_same_groups() -> None:
    y_true, y_pred, _ = random_predictions(100)
    first, again, other = (
        jackknife_standard_errors(y_true, y_pred, None, "0123", np.arange(100), seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_the_accuracy_interval_covers_the_true_accuracy_in_95_of_100_prediction_sets() -> None:
    n, true_accuracy = 300, 0.7
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(400):
        y_pred = (rng.random(n) >= true_accuracy).astype(int)
        y_true = np.zeros(n, dtype=int)
        errors = jackknife_standard_errors(y_true, y_pred, None, "AB", np.arange(n), seed=seed)
        bounds = interval((y_pred == 0).mean(), errors["accuracy"], n_groups=20)
        covered += bounds is not None and bounds[0] <= true_accuracy <= bounds[1]
    assert 0.93 <= covered / 400 <= 0.97


def test_repeated_customers_are_no_new_evidence() -> None:
    y_true, y_pred, _ = random_predictions(500)
    customers = np.arange(500)
    once = jackknife_standard_errors(y_true, y_pred, None, "0123", customers, seed=0)
    four_times, predicted = np.tile(y_true, 4), np.tile(y_pred, 4)
    grouped, as_if_new = (
        jackknife_standard_errors(four_times, predicted, None, "0123", units, seed=0)
        for units in (np.tile(customers, 4), np.arange(2000))
    )
    assert grouped == pytest.approx(once)
    assert grouped["accuracy"] > 1.5 * as_if_new["accuracy"]  # about sqrt(4) times


def test_fewer_units_than_groups_make_fewer_groups() -> None:
    units = ["x", "x", "y", "y", "z", "z"]
    assert jackknife_group_count(units) == 3
    # Without x, y or z the accuracy is 3/4, 2/4, 3/4.
    errors = jackknife_standard_errors(*SIX, None, ABC, units, seed=0)
    assert errors["accuracy"] == pytest.approx(
        math.sqrt(2 / 3 * (2 * (1 / 12) ** 2 + (2 / 12) ** 2))
    )


def test_a_segment_of_one_customer_has_no_standard_error() -> None:
    errors = jackknife_standard_errors(*SIX, None, ABC, range(6), seed=0)
    assert math.isnan(errors["recall[C]"]) and errors["recall[A]"] > 0


def test_one_unit_has_no_standard_error() -> None:
    errors = jackknife_standard_errors(*FOUR, ("A", "B"), ["x"] * 4, seed=0)
    assert all(math.isnan(error) for error in errors.values())


# Intervals and summaries


def test_the_interval_is_the_mean_and_t_standard_errors() -> None:
    # The 97.5% quantile of Student's t with 19 degrees of freedom is 2.093.
    assert interval(0.5, 0.1, n_groups=20) == pytest.approx((0.2907, 0.7093), abs=1e-4)


def test_the_interval_stays_in_the_range_of_the_metric() -> None:
    assert interval(0.5, 0.5, n_groups=20, low=0.0, high=1.0) == (0.0, 1.0)


def test_an_unknown_standard_error_has_no_interval() -> None:
    assert interval(0.5, math.nan, n_groups=20) is None


def scores_table(metric: str, values: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"repeat": 0, "fold": range(len(values)), "metric": metric, "value": values}
    )


def test_summary_is_over_folds_without_nan() -> None:
    summary = summarise(scores_table("recall[A]", [0.5, 0.7, math.nan]))["recall[A]"]
    assert summary == {
        "mean": pytest.approx(0.6),
        "std": pytest.approx(0.1 * math.sqrt(2)),
        "interval": None,
        "n": 2,
    }


def test_one_fold_has_no_spread() -> None:
    assert summarise(scores_table("mcc", [0.5]))["mcc"]["std"] is None


def test_summary_intervals_are_clipped_to_the_range_of_their_metric() -> None:
    scores = pd.concat([scores_table("accuracy", [0.9, 1.0]), scores_table("log_loss", [0.1, 0.1])])
    summary = summarise(scores, {"accuracy": 0.1, "log_loss": 0.1})
    assert summary["accuracy"]["interval"] == pytest.approx([0.95 - 0.2093, 1.0], abs=1e-4)
    assert summary["log_loss"]["interval"] == pytest.approx([0.0, 0.3093], abs=1e-4)


def test_a_summary_is_json_without_nan() -> None:
    scores = pd.concat(
        scores_table(name, [value]) for name, value in score(*SIX, None, ABC).items()
    )
    errors = jackknife_standard_errors(*SIX, None, ABC, range(6), seed=0)
    summary = summarise(scores, errors, n_groups=6)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["precision[C]"] == {"mean": None, "std": None, "interval": None, "n": 0}
