"""Figures about segments are judged by what they hold; how they look was looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage

from segexp.figures import clustering as figures
from segexp.figures.look import render

CURVES = pd.DataFrame(
    {
        "k": [1, 2, 3, 4],
        "inertia": [100.0, 60, 20, 15],
        "silhouette": [np.nan, 0.3, 0.6, 0.4],
        "silhouette_se": [np.nan, 0, 0, 0],
        "silhouette_uniform": [np.nan, 0.3, 0.3, 0.3],
        "silhouette_uniform_sd": [np.nan, 0.02, 0.02, 0.02],
        "silhouette_pca": np.nan,
        "silhouette_pca_sd": np.nan,
        "gap_uniform": [0.1, 0.2, 0.9, 0.8],
        "gap_uniform_se": 0.05,
        "gap_pca": np.nan,
        "gap_pca_se": np.nan,
    }
)


def words(figure):
    """Every word of a figure that is not a number of an axis."""
    texts = [text.get_text() for text in figure.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " | ".join([figure.get_suptitle(), *texts, *legends])


def drawn(axes, label):
    """The coordinates of the line or the points of a label."""
    for line in axes.get_lines():
        if line.get_label() == label:
            return np.column_stack(line.get_data())
    for points in axes.collections:
        if points.get_label() == label:
            return np.asarray(points.get_offsets())
    raise AssertionError(label)


def test_the_elbow_marks_its_knee_and_the_verdict():
    figure = figures.elbow(CURVES, 3, chosen=2)
    axes = figure.axes[0]
    assert drawn(axes, "knee, at 3").tolist() == [[3, 20]]
    assert drawn(axes, "verdict: 2")[:, 0].tolist() == [2, 2]
    assert "knee at 3" in words(figure) and "In-sample" in words(figure)


def test_an_elbow_without_a_knee_says_so():
    figure = figures.elbow(CURVES, None, chosen=1)
    assert "no knee" in words(figure) and "verdict: no natural segments" in words(figure)


def test_the_silhouette_curve_marks_the_largest_beside_chance():
    figure = figures.silhouette_curve(CURVES, chosen=3)
    axes = figure.axes[0]
    assert drawn(axes, "largest, at 3").tolist() == [[3, 0.6]]
    assert drawn(axes, "these customers")[:, 0].tolist() == [2, 3, 4]
    assert "random, box of the columns" in words(figure)
    assert "random, box of the axes" not in words(figure)


def test_the_silhouette_curve_needs_no_reference_data():
    figure = figures.silhouette_curve(CURVES[["k", "silhouette", "silhouette_se"]])
    assert "random, box" not in words(figure) and "bands" not in words(figure)


def test_the_gap_curve_marks_what_the_rule_chooses():
    figure = figures.gap_curve(CURVES, {"gap_uniform": 3, "gap_pca": None}, chosen=3)
    assert drawn(figure.axes[0], "chosen by the rule").tolist() == [[3, 0.9]]
    assert "the rule chooses 3 (columns)" in words(figure)
    assert "axes" not in words(figure)


def test_a_gap_that_only_rises_chooses_none():
    assert "none (columns)" in words(figures.gap_curve(CURVES, {"gap_uniform": None}))


def bars(axes):
    """The height of the bars of each segment."""
    return [patch.get_data().values.tolist() for patch in axes.patches]


def test_the_silhouette_plot_sorts_each_segment():
    figure = figures.silhouette_plot(np.array([0.1, 0.9, 0.5, -0.2]), np.array([0, 0, 1, 1]))
    assert bars(figure.axes[0]) == [[0.9, 0.1], [0.5, -0.2]]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["0  (2; 0.50)", "1  (2; 0.15)"]


def test_the_silhouette_plot_counts_noise_apart():
    values, labels = np.array([0.1, 0.9, 0.0, np.nan]), np.array([0, 1, -1, 1])
    figure = figures.silhouette_plot(values, labels, ["thrifty", "lavish"])
    assert bars(figure.axes[0]) == [[0.1], [0.9]]
    assert "1 of no segment are not drawn" in words(figure) and "1 not sampled" in words(figure)
    assert "mean of all drawn, 0.50" in words(figure)
    assert figure.axes[0].get_yticklabels()[1].get_text().startswith("lavish  (2;")


def test_stability_has_a_box_for_each_number_and_marks_the_verdict():
    values = pd.DataFrame({"k": [2, 2, 3, 3], "value": [0.5, 0.7, 0.9, 1.0]})
    figure = figures.stability_boxplots(values, "adjusted Rand index", chosen=3)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3"]
    assert [patch.get_facecolor()[:3] for patch in axes.patches] == [
        pytest.approx(rgb, abs=0.01) for rgb in ((0.337, 0.706, 0.914), (0.835, 0.369, 0))
    ]
    assert "3 chosen" in words(figure) and "2 comparisons each" in words(figure)


def test_stability_of_segments_shows_the_levels_of_hennig():
    values = pd.DataFrame({"segment": [0, 1], "value": [0.5, 0.9]})
    axes = figures.stability_boxplots(values, "Jaccard", "segment").axes[0]
    levels = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert levels == [0.6, 0.75, 0.85]


TREE = linkage(np.array([[0.0], [1], [10], [12], [30]]), "single")


def test_the_dendrogram_is_cut_between_two_merges():
    figure = figures.dendrogram(TREE, 3)
    level = figure.axes[0].get_lines()[0].get_ydata()[0]
    # Merges at 1, 2, 9 and 18; three segments are left below the merge at 9.
    assert 2 < level < 9
    assert "cut into 3" in words(figure)


def test_each_segment_of_the_dendrogram_has_its_colour():
    colours = figures.dendrogram(TREE, 3).axes[0].collections[0].get_colors()
    # Two merges below the cut, of two segments; the third is one customer.
    assert len({tuple(colour) for colour in colours}) == 3


def test_a_truncated_dendrogram_counts_customers():
    Z = np.random.default_rng(0).normal(size=(100, 2))
    figure = figures.dendrogram(linkage(Z, "ward"), 2, max_leaves=10)
    sizes = [int(label.get_text()) for label in figure.axes[0].get_xticklabels()]
    assert len(sizes) == 10 and sum(sizes) == 100
    assert "the last 9 of 99 merges" in words(figure)


@pytest.mark.parametrize("k", [1, 2, 40])
def test_figures_can_be_drawn_for_any_number_of_segments(k):
    rng = np.random.default_rng(0)
    Z, labels = rng.normal(size=(80, 2)), np.arange(80) % k
    values = pd.DataFrame({"segment": labels, "value": rng.uniform(size=80)})
    for figure in (
        figures.silhouette_plot(rng.uniform(-0.1, 1, 80), labels),
        figures.stability_boxplots(values, "Jaccard", "segment"),
        figures.dendrogram(linkage(Z, "ward"), k),
    ):
        assert render(figure)["png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_table_gives_the_same_bytes(kind):
    first, second = (render(figures.silhouette_curve(CURVES, 3))[kind] for _ in range(2))
    assert first == second
