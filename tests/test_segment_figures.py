"""Figures of the segments themselves are judged by what they hold; their look was looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segexp.clustering.stability import slsa
from segexp.figures import segments as figures
from segexp.figures.look import render


def blobs(k, n=20, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(-20, 20, size=(k, 3))
    return np.vstack([rng.normal(c, 1, size=(n, 3)) for c in centers]), np.repeat(np.arange(k), n)


def names(k):
    return [f"customers who buy often and a lot, of region {i}" for i in range(k)]


def words(figure):
    texts = [text.get_text() for text in figure.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " | ".join([figure.get_suptitle(), *texts, *legends])


def written(axes):
    return [text.get_text() for text in axes.texts]


def mapped(k=3, n_all=None, labels=None):
    Z, own = blobs(k)
    labels = own if labels is None else labels
    return figures.customer_map(figures.principal_axes(Z), labels, names(k), n_all)


def test_principal_axes_hold_the_largest_variance_first():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 3)) * [1, 5, 2]
    layout = figures.principal_axes(Z)
    assert layout.explained == pytest.approx((25 / 30, 4 / 30), abs=0.05)
    assert abs(np.corrcoef(layout.points[:, 0], Z[:, 1])[0, 1]) > 0.99


def test_principal_axes_do_not_depend_on_the_sign_of_a_decomposition():
    Z, _ = blobs(3)
    found = figures.principal_axes(Z).points
    flipped = figures.principal_axes(Z[::-1]).points[::-1]
    np.testing.assert_allclose(found, flipped, atol=1e-9)


def test_one_feature_gives_one_axis():
    layout = figures.principal_axes(np.arange(5.0)[:, None])
    assert layout.explained == (1, 0)
    assert layout.points.shape == (5, 2)


def test_missing_values_lie_in_the_middle_of_their_axis():
    Z = np.array([[0.0, 1], [2, np.nan], [4, 3]])
    assert np.isfinite(figures.principal_axes(Z).points).all()


def test_umap_is_left_out_where_it_is_not_installed(monkeypatch):
    def gone(name):
        raise ImportError(name)

    monkeypatch.setattr(figures, "import_module", gone)
    assert figures.umap_axes(np.zeros((5, 2))) is None


def test_the_map_says_what_share_of_the_variance_an_axis_holds():
    axes = mapped().axes[0]
    assert "% of the variance" in axes.get_xlabel() and "% of the variance" in axes.get_ylabel()


def test_the_map_says_of_how_many_customers_it_is():
    assert "60 of 1,000 customers" in words(mapped(n_all=1000))
    assert "all 60 customers" in words(mapped())


def test_the_map_numbers_every_segment():
    assert written(mapped(12).axes[0]) == [str(i + 1) for i in range(12)]


def test_the_key_of_the_map_names_and_counts_the_segments():
    said = words(mapped(2))
    assert "1  customers who" in said and "region 0  (20)" in said


def test_noise_is_drawn_and_counted():
    labels = np.repeat([0, 1, -1], 20)
    assert "no segment  (20)" in words(mapped(3, labels=labels))


def test_few_segments_differ_by_their_marks():
    axes = mapped(8).axes[0]
    paths = {points.get_paths()[0].vertices.tobytes() for points in axes.collections
             if len(points.get_offsets()) == 20}  # fmt: skip
    assert len(paths) == 8


def test_no_two_of_forty_segments_have_the_same_colour_and_mark():
    looks = {(figures._colour(code), figures._mark(code, 40)) for code in range(40)}
    assert len(looks) == 40


def test_the_first_two_dozen_segments_have_a_colour_each():
    assert len({figures._colour(code) for code in range(24)}) == 24


def test_customers_at_the_same_place_are_moved_apart_and_that_is_said():
    layout = figures.Layout(np.repeat([[0.0, 0], [1, 1]], 20, axis=0), None, "PCA")
    figure = figures.customer_map(layout, np.repeat([0, 1], 20), ["a", "b"])
    assert "moved a little apart" in words(figure)


@pytest.mark.parametrize("n", [2, 12, 40])
def test_labels_at_one_place_are_pushed_apart(n):
    size = np.array([0.036, 0.046])
    places = figures._spread(np.full((n, 2), 0.5), size)
    gaps = np.abs(places[:, None] - places[None])
    overlaps = (gaps < 0.9 * size).all(axis=2)
    assert overlaps.sum() == n  # each with itself


def test_labels_that_do_not_touch_stay():
    anchors = np.array([[0.2, 0.2], [0.8, 0.8]])
    np.testing.assert_allclose(figures._spread(anchors, np.array([0.04, 0.04])), anchors, atol=1e-3)


def test_the_most_telling_feature_comes_first():
    labels = np.repeat([0, 1], 50)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"noise": rng.normal(size=100), "same": 1.0, "tells": labels * 5.0})
    found = figures.telling_features(table, labels)
    assert list(found.index) == ["tells", "noise"]
    assert found["tells"] == pytest.approx(1)


def test_the_pair_plot_draws_at_most_five_features():
    Z, labels = blobs(3)
    table = pd.DataFrame(np.hstack([Z, Z]), columns=list("abcdef"))
    figure = figures.pair_plot(table, labels, names(3), 500)
    assert sum(axes.get_visible() for axes in figure.axes) == 15
    assert "60 of 500 customers" in words(figure)


@pytest.mark.parametrize(("k", "n_written"), [(6, 6), (7, 0)])
def test_the_pair_plot_numbers_the_middles_of_few_segments(k, n_written):
    Z, labels = blobs(k)
    figure = figures.pair_plot(pd.DataFrame(Z, columns=list("abc")), labels, names(k))
    panels = [figure.axes[place] for place in (3, 6, 7)]  # below the diagonal
    assert [len(written(axes)) for axes in panels] == [n_written] * 3


def test_the_profile_shows_the_features_that_differ_most():
    table = pd.DataFrame({"1": np.arange(40.0), "2": -np.arange(40.0)},
                         index=[f"f{i}" for i in range(40)])  # fmt: skip
    figure = figures.segment_profile(table, table.astype(str), "note")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == 30 and "f39" in shown and "f0" not in shown
    assert "the 30 of 40 features" in words(figure)


def test_alike_features_lie_together_in_the_profile():
    table = pd.DataFrame([[1, -1], [-1, 1], [1.1, -1], [-1, 1.1]], index=list("abcd"))
    figure = figures.segment_profile(table, table.astype(str), "note")
    shown = "".join(label.get_text() for label in figure.axes[0].get_yticklabels())
    assert {shown[:2], shown[2:]} <= {"ac", "ca", "bd", "db"}


def test_the_profile_writes_its_cells_only_where_there_is_room():
    few, many = (pd.DataFrame(np.ones((3, k))) for k in (15, 16))
    assert len(figures.segment_profile(few, few.astype(str), "").axes[0].texts) == 45
    assert not figures.segment_profile(many, many.astype(str), "").axes[0].texts


def test_sizes_are_written_at_their_bars():
    table = pd.DataFrame({"segment": ["1", "noise"], "n": [1500, 500], "share": [0.75, 0.25]})
    figure = figures.segment_sizes(table)
    assert written(figure.axes[0]) == ["75.0%  (1,500)", "25.0%  (500)"]


def test_the_flow_joins_each_segment_to_its_parent():
    rng = np.random.default_rng(0)
    parents = slsa({k: rng.integers(0, k, 200) for k in (2, 3, 4)})
    figure = figures.segment_flow(parents, 3)
    lines = figure.axes[0].get_lines()
    assert len(lines) == 3 + 4
    assert {tuple(line.get_xdata()) for line in lines} == {(2, 3), (3, 4)}
    assert "ringed: the model" in words(figure)


def test_confidence_is_counted_by_group():
    groups = {"held out": np.array([0.1, 0.9, np.nan]), "in-sample": np.array([1.0])}
    figure = figures.confidence_histogram(groups, {"held out": 0.02})
    assert "held out: 2, median 0.50" in words(figure) and "2.0% held out" in words(figure)


def test_stability_by_k_leaves_out_one_segment():
    table = pd.DataFrame({"k": [1, 2, 3], "bootstrap_ari": [1, 0.9, 0.5],
                          "bootstrap_ari_se": 0.01})  # fmt: skip
    axes = figures.stability_by_k(table, 3).axes[0]
    (line,) = [line for line in axes.get_lines() if "adjusted" in str(line.get_label())]
    assert line.get_xdata().tolist() == [2, 3]


def test_distance_shares_say_how_many_are_left_out():
    table = pd.DataFrame({"feature": [f"f{i}" for i in range(30)], "mean": 1 / 30, "std": 0.0})
    assert "the first 25 of 30" in words(figures.distance_shares(table))


@pytest.mark.parametrize("k", [2, 9])
def test_a_figure_is_the_same_bytes_again(k):
    assert render(mapped(k)) == render(mapped(k))
