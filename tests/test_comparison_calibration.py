"""The statistics keep what they promise; scripts/calibrate_comparison.py looks closer."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from segexp.comparison.across import rank_across

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "calibrate_comparison.py"


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("calibrate_comparison", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equal_models_are_seldom_called_different(calibration):
    corrected, plain = calibration.false_alarms(n_pairs=15, n_repeats=3, n_customers=200)
    assert corrected <= 0.05
    assert plain > corrected


def test_intervals_hold_the_true_accuracy(calibration):
    assert 0.90 <= calibration.coverage(n_runs=200, n_customers=500, accuracy=0.6) <= 0.99


def test_a_difference_of_two_points_is_found(calibration):
    assert calibration.power_by_disagreement(100, n_repeats=5, disagree=0.1) > 0.9


@pytest.mark.parametrize(("n", "k"), [(2, 3), (3, 3), (3, 4), (5, 3), (12, 4)])
def test_equal_models_are_seldom_ranked_apart(n, k):
    rng = np.random.default_rng(0)
    names = [[str(i) for i in range(size)] for size in (n, k)]
    p = [
        rank_across(rng.normal(size=(n, k)), *names, "accuracy", 0.05).friedman_p
        for _ in range(400)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.08
