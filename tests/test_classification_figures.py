"""Figures of classifiers are judged by what they hold; how they look was looked at."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from segexp.figures.classification import (
    Dependence,
    Ranking,
    confusion,
    contributions,
    importances,
    learning_curve,
    partial_dependence,
    ranking_curves,
    reliability,
    segment_scores,
    swarm,
    swarm_offsets,
)
from segexp.figures.look import render

NOTE = "Out-of-fold: 100 customers"


def names(n):
    return [f"segment {i} with a long name of its own" for i in range(n)]


def counts(n, seed=0):
    cells = np.random.default_rng(seed).integers(1, 90, (n, n))
    return pd.DataFrame(cells, index=names(n), columns=names(n))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def drawn(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def rankings(n):
    x = np.linspace(0, 1, 20)
    return {
        name: Ranking(x, np.sqrt(x), x[::-1], 1 - x[::-1] / 2, 0.66, 0.7, 0.1) for name in names(n)
    }


def curves(n_segments):
    rng = np.random.default_rng(0)
    grids = {
        ("age", "numeric"): [20.0, 40.0, 60.0],
        ("job", "categorical"): ["Doctor", "Lawyer"],
        ("plan", "ordinal"): ["free", "basic", "premium"],
        ("since", "date"): list(np.array(["2024-01-01", "2024-06-01"], dtype="datetime64[ns]")),
    }
    return [
        Dependence(name, kind, grid, rng.dirichlet(np.ones(n_segments), len(grid)),
                   np.full(len(grid), np.nan))
        for (name, kind), grid in grids.items()
    ]  # fmt: skip


# ---- what is confused --------------------------------------------------------------------------


def test_cells_hold_counts_and_shares_of_their_row():
    table = pd.DataFrame([[3, 1], [0, 4]], index=["A", "B"], columns=["A", "B"])
    assert texts(confusion(table, NOTE).axes[0]) == ["3\n75%", "1\n25%", "0\n0%", "4\n100%"]


def test_the_title_says_how_many_are_right():
    table = pd.DataFrame([[3, 1], [0, 4]], index=["A", "B"], columns=["A", "B"])
    assert "87.5% are right" in confusion(table, NOTE).get_suptitle()


def test_many_segments_are_colours_without_numbers():
    assert texts(confusion(counts(40), NOTE).axes[0]) == []


def test_a_segment_without_customers_is_a_white_row():
    table = pd.DataFrame([[3, 1], [0, 0]], index=["A", "B"], columns=["A", "B"])
    assert confusion(table, NOTE).axes[0].images[0].get_array()[1].tolist() == [0, 0]


@pytest.mark.parametrize("n", [2, 8, 20])
def test_cells_do_not_touch(n):
    figure = confusion(counts(n), NOTE)
    renderer = drawn(figure)
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_segment_that_is_found_worst_stands_at_the_top():
    table = pd.DataFrame(
        {"segment": ["A", "B", "C"], "recall": [0.5, 0.2, 0.9], "precision": 0.5, "f1": 0.5}
    )
    labels = [label.get_text() for label in segment_scores(table, NOTE).axes[0].get_yticklabels()]
    assert labels == ["C", "A", "B"]  # from the bottom to the top


def test_a_segment_that_is_never_predicted_has_no_precision():
    table = pd.DataFrame({"segment": ["A"], "recall": [0.0], "precision": [np.nan], "f1": [0.0]})
    render(segment_scores(table, NOTE))


# ---- probabilities -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 8])
def test_every_segment_has_two_curves_and_a_line_of_chance(n):
    figure = ranking_curves(rankings(n), NOTE)
    left, right = figure.axes
    assert len(left.lines) == n + 1 and len(right.lines) == 2 * n
    assert len(figure.legends[0].get_texts()) == n


def test_curves_are_told_apart_by_colour_and_dashes():
    lines = ranking_curves(rankings(8), NOTE).axes[0].lines[1:]
    assert len({(line.get_color(), str(line.get_linestyle())) for line in lines}) == 8
    assert len({line.get_color() for line in lines}) == 8


@pytest.mark.parametrize("n", [1, 4, 6])
def test_every_panel_of_probabilities_has_its_counts(n):
    bins = pd.DataFrame(
        {"left": [0.0, 0.5], "right": [0.5, 1.0], "said": [0.3, 0.8], "true": [0.2, 0.9],
         "low": [0.1, 0.7], "high": [0.4, 1.0], "n": [10, 30]}
    )  # fmt: skip
    axes = reliability(dict.fromkeys(names(n), bins), NOTE).axes
    assert len(axes) == 2 * n
    assert [bar.get_height() for bar in axes[1].patches] == [10, 30]


# ---- what it looks at --------------------------------------------------------------------------


def test_the_models_own_figure_stands_beside_and_says_what_it_is():
    table = pd.DataFrame({"feature": ["a", "b"], "mean": [0.2, 0.1], "low": 0.05, "high": 0.3})
    own = pd.DataFrame({"feature": ["a_x"], "mean": [100.0]})
    titles = [axes.get_title("left") for axes in importances(table, own, "accuracy", NOTE).axes]
    assert titles == ["columns when shuffled, held out", "the model's own, in-sample"]
    assert len(importances(table, own.iloc[:0], "accuracy", NOTE).axes) == 1


def test_categories_are_points_and_numbers_are_lines():
    figure = partial_dependence(curves(3), {"A": 0, "B": 1, "C": 2}, "mean probability", NOTE)
    styles = {
        axes.get_title("left"): axes.lines[0].get_linestyle() for axes in figure.axes
        if axes.get_title("left")
    }  # fmt: skip
    assert styles["job"] == "None" and styles["age"] != "None"


def test_long_names_stay_in_the_picture():
    for n in (2, 8):
        segments = {name: i for i, name in enumerate(names(n))}
        figure = partial_dependence(curves(8), segments, "mean probability", NOTE)
        box = figure.legends[0].get_window_extent(drawn(figure))
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width


@pytest.mark.parametrize("n", [2, 10, 40])
def test_contributions_are_written_where_there_is_room(n):
    table = pd.DataFrame(np.ones((5, n)), index=list("abcde"), columns=names(n))
    assert len(texts(contributions(table, "log-odds", NOTE).axes[0])) == (5 * n if n <= 10 else 0)


def test_one_segment_against_the_other_is_bars():
    figure = contributions(pd.DataFrame({"1": [0.4, 0.2]}, index=["a", "b"]), "log-odds", NOTE)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.4, 0.2]


def test_dots_of_equal_values_do_not_hide_each_other():
    values = np.array([0.0] * 5 + [1.0])
    offsets = swarm_offsets(values)
    assert len(set(offsets[:5])) == 5 and offsets[5] == 0
    assert np.abs(offsets).max() <= 0.38


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(1), np.zeros(4), np.arange(3.0)])
def test_any_number_of_dots_can_be_drawn(values):
    assert len(swarm_offsets(values)) == len(values)


def test_every_dot_of_a_swarm_is_drawn():
    rng = np.random.default_rng(0)
    colours = rng.random((50, 2))
    colours[:, 1] = np.nan
    figure = swarm({"A": rng.normal(size=(50, 2))}, colours, ["a", "b"], "log-odds", NOTE)
    assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections) == 100


def test_a_learning_curve_is_the_mean_over_folds():
    table = pd.DataFrame(
        {"customers": [10, 10, 20, 20], "fold": [0, 1, 0, 1], "value": [0.2, 0.4, 0.5, 0.7]}
    )
    axes = learning_curve(table, "accuracy", True, NOTE, run=(40.0, 0.8)).axes[0]
    mean = next(line for line in axes.lines if line.get_label() == "mean")
    assert mean.get_ydata() == pytest.approx([0.3, 0.6])


def test_the_same_table_gives_the_same_figure():
    rng = np.random.default_rng(0)
    found = rng.normal(size=(2000, 3))
    made = [
        render(swarm({"A": found}, np.abs(found) % 1, list("abc"), "log-odds", NOTE))
        for _ in range(2)
    ]
    assert made[0] == made[1]
