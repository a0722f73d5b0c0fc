"""Figures about runs side by side are judged by what they hold; how they look was looked at."""

from __future__ import annotations

import numpy as np
import pytest

from segexp.figures import comparison as figures
from segexp.figures.look import render

A, B = np.array([0.5, 0.6, 0.4, np.nan]), np.array([0.4, 0.3, 0.5, 0.2])


def labels(axes):
    return [line.get_label() for line in axes.get_lines() if line.get_label()[0] != "_"]


def words(figure):
    return " | ".join([figure.get_suptitle(), *(text.get_text() for text in figure.texts)])


def test_folds_that_lack_a_value_are_left_out_and_the_others_sorted():
    left = figures.fold_differences(A, B, ("a", "b"), "accuracy", True).axes[0]
    assert left.get_lines()[0].get_xdata().tolist() == [0.4, 0.5, 0.6]
    assert left.get_lines()[1].get_xdata().tolist() == [0.5, 0.4, 0.3]


@pytest.mark.parametrize(("metric", "greater", "wins"), [("accuracy", True, 2), ("loss", False, 1)])
def test_a_win_is_told_by_the_direction_of_the_metric(metric, greater, wins):
    figure = figures.fold_differences(A, B, ("a", "b"), metric, greater)
    assert f"a: better in {wins} of 3 folds, worse in {3 - wins}" in words(figure)


def test_the_mean_and_its_interval_are_drawn_if_they_are_known():
    known = figures.fold_differences(
        A, B, ("a", "b"), "accuracy", True, mean=0.1, interval=(-0.1, 0.3), rope=0.01
    )
    assert labels(known.axes[1]) == ["95% interval", "mean +0.1000"]
    untested = figures.fold_differences(
        A, B, ("a", "b"), "accuracy", True, mean=0.1, interval=(np.nan, np.nan)
    )
    assert labels(untested.axes[1]) == ["mean +0.1000"]


def test_a_bar_joins_each_group_from_its_best_to_its_worst():
    figure = figures.critical_difference(
        ["c", "a", "b"], np.array([2.9, 1.2, 1.9]), 1.1, [["a", "b"], ["b", "c"]], 10, "accuracy"
    )
    bars = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 3]
    ends = [tuple(np.round(bar.get_xdata(), 1)) for bar in bars]
    assert ends == [(1.2, 1.9), (1.9, 2.9)]


def test_without_a_critical_difference_the_figure_says_why():
    figure = figures.critical_difference(
        ["a", "b"], np.array([1.4, 1.6]), None, [["a", "b"]], 5, "accuracy"
    )
    assert "Friedman's test finds no difference" in words(figure)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_any_number_of_configs_can_be_drawn(n):
    names = [f"${i}$ <b>" for i in range(n)]
    figure = figures.critical_difference(names, np.arange(1.0, n + 1), 3.0, [names], 9, "accuracy")
    assert render(figure)["svg"].startswith(b"<?xml")


def test_no_folds_can_be_drawn():
    empty = np.empty(0)
    assert render(figures.fold_differences(empty, empty, ("a", "b"), "accuracy", True))
