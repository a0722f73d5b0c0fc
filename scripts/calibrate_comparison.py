"""How far the figures of ``segexp compare`` can be trusted, by simulation.

- Of pairs of models that are equal (all labels are luck), how many are called different at 5%, by
  the corrected resampled t-test that is used and by the plain t-test beside it.
- How many 95% intervals of a single run hold the true accuracy.
- How often a true difference of two points is found among 8,000 customers.

    python scripts/calibrate_comparison.py [--pairs 200] [--seed 0]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy.special import stdtr
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from segexp.comparison.statistics import paired
from segexp.metrics import interval, jackknife_group_count, jackknife_standard_errors

SEGMENTS = ("A", "B", "C", "D")
N_SPLITS = 5


def fold_accuracies(model, X, y, n_repeats, seed):
    """Accuracy by fold, shape (n_repeats * 5,)."""
    splits = RepeatedStratifiedKFold(n_splits=N_SPLITS, n_repeats=n_repeats, random_state=seed)
    return np.array([
        np.mean(model.fit(X[train], y[train]).predict(X[test]) == y[test])
        for train, test in splits.split(X, y)
    ])  # fmt: skip


def plain_p(differences):
    """Two-sided p value of the t-test that takes folds for independent."""
    n = len(differences)
    error = differences.std(ddof=1) / math.sqrt(n)
    return 2 * stdtr(n - 1, -abs(differences.mean()) / error) if error else 1.0


def corrected_p(differences):
    """The same of the test that is used."""
    found = paired(differences, 1 / (N_SPLITS - 1)).p
    return 1.0 if found is None else found


def false_alarms(n_pairs, n_repeats, n_customers=600, seed=0):
    """Shares of pairs of equal models called different at 5%: (corrected, plain).

    Labels are permuted anew for every pair, so no model can be better than another.
    """
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n_customers, 6)), np.arange(n_customers) % len(SEGMENTS)
    corrected, plain = [], []
    for number in range(n_pairs):
        permuted = rng.permutation(y)
        tree = DecisionTreeClassifier(max_depth=4, random_state=number)
        differences = fold_accuracies(GaussianNB(), X, permuted, n_repeats, number)
        differences = differences - fold_accuracies(tree, X, permuted, n_repeats, number)
        corrected.append(corrected_p(differences) <= 0.05)
        plain.append(plain_p(differences) <= 0.05)
    return float(np.mean(corrected)), float(np.mean(plain))


def coverage(n_runs, n_customers, accuracy, seed=0):
    """Share of 95% intervals that hold the true accuracy of a model that is right so often."""
    rng = np.random.default_rng(seed)
    folds = np.arange(n_customers) % N_SPLITS
    units = np.arange(n_customers)
    n_groups = jackknife_group_count(units)
    held = []
    for number in range(n_runs):
        truth = rng.integers(len(SEGMENTS), size=n_customers)
        wrong = (truth + rng.integers(1, len(SEGMENTS), size=n_customers)) % len(SEGMENTS)
        predicted = np.where(rng.random(n_customers) < accuracy, truth, wrong)
        mean = np.mean([np.mean((predicted == truth)[folds == fold]) for fold in range(N_SPLITS)])
        errors = jackknife_standard_errors(
            truth, predicted, None, SEGMENTS, units, parts=folds, seed=number
        )
        low, high = interval(mean, errors["accuracy"], n_groups, low=0.0, high=1.0)
        held.append(low <= accuracy <= high)
    return float(np.mean(held))


WEAK = 0.275  # how much the last column says; makes it worth two points of accuracy


def customers(rng, n):
    """Return customers of four segments; every column says a little of them."""
    y = rng.integers(len(SEGMENTS), size=n)
    centres = np.random.default_rng(7).normal(size=(len(SEGMENTS), 6)) * 0.45
    centres[:, -1] = WEAK * np.array([-1.5, -0.5, 0.5, 1.5])
    return rng.normal(size=(n, 6)) + centres[y], y


def true_difference(seed=1, n_fits=10, n=100_000):
    """Accuracy that the last column is worth, and how often just one of the models is right."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_fits):
        X, y = customers(rng, 6_400)
        new, truth = customers(rng, n)
        with_it = GaussianNB().fit(X, y).predict(new) == truth
        without = GaussianNB().fit(X[:, :-1], y).predict(new[:, :-1]) == truth
        found.append((with_it.mean() - without.mean(), np.mean(with_it != without)))
    difference, disagree = np.mean(found, axis=0)
    return float(difference), float(disagree)


def power(n_pairs, n_repeats, n_customers=8_000, seed=2):
    """Share of pairs, one of them better by two points, that are called different at 5%."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n_pairs):
        X, y = customers(rng, n_customers)
        differences = fold_accuracies(GaussianNB(), X, y, n_repeats, number)
        differences = differences - fold_accuracies(GaussianNB(), X[:, :-1], y, n_repeats, number)
        found.append(corrected_p(differences) <= 0.05 and differences.mean() > 0)
    return float(np.mean(found))


def power_by_disagreement(n_pairs, n_repeats, disagree, difference=0.02, n=8_000, seed=3):
    """As `power`, without any training: just one of two models is right on ``disagree``.

    Models whose mistakes are unlike each other are harder to tell apart; how much harder is what
    this says. Repeats deal the same predictions into other folds.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_pairs):
        share = (disagree + difference) / 2, 1 - disagree, (disagree - difference) / 2
        wins = rng.choice([1, 0, -1], p=share, size=n)
        dealt = np.concatenate([rng.permutation(wins) for _ in range(n_repeats)])
        differences = dealt.reshape(n_repeats * N_SPLITS, -1).mean(axis=1)
        found.append(corrected_p(differences) <= 0.05 and differences.mean() > 0)
    return float(np.mean(found))


def main():
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    protocols = {"5 folds": 1, "5 folds, 5 times": 5}
    print(f"equal models called different at 5%, {args.pairs} pairs:", flush=True)
    for name, n_repeats in protocols.items():
        corrected, plain = false_alarms(args.pairs, n_repeats, seed=args.seed)
        print(f"  {name}: {corrected:.1%} (plain t-test: {plain:.1%})", flush=True)
    print("95% intervals that hold the true accuracy, 1,000 runs:")
    for n_customers in (300, 2_000, 8_000):
        for accuracy in (0.5, 0.8):
            held = coverage(1_000, n_customers, accuracy, args.seed)
            print(f"  {n_customers:,} customers, accuracy {accuracy:.0%}: {held:.1%}", flush=True)
    difference, disagree = true_difference()
    print(
        f"a true difference of {100 * difference:.2f} points among 8,000 customers "
        f"(just one of the two is right on {disagree:.0%}), {args.pairs} pairs:"
    )
    for name, n_repeats in protocols.items():
        print(f"  {name}: found in {power(args.pairs, n_repeats):.1%}", flush=True)
    print("exactly 2 points, by how often just one of the two is right, 2,000 pairs:")
    for disagree in (0.1, 0.2, 0.3):
        shares = [
            f"{name}: {power_by_disagreement(2_000, n_repeats, disagree):.1%}"
            for name, n_repeats in protocols.items()
        ]
        print(f"  {disagree:.0%}: {'; '.join(shares)}", flush=True)


if __name__ == "__main__":
    main()
