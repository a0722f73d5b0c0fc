"""Figures of moving customers are judged by what they hold; how they look was looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import PathPatch, Rectangle

from segexp.figures.look import render
from segexp.figures.migration import flow, heat_map
from segexp.migration import matrix, transitions


def moved(n_segments, n=3000, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"segment number {i} with a long name" for i in range(n_segments)]
    shares = rng.dirichlet(np.full(n_segments, 0.5))
    before = pd.Series(rng.choice(names, n, p=shares), dtype=object)
    after = before.where(rng.random(n) < 0.7, rng.choice(names, n)).drop(index=range(50))
    new = pd.Series(rng.choice(names, 80), index=range(n, n + 80), dtype=object)
    return transitions(before, pd.concat([after, new]), order=names), names


def labels(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def overlaps(figure):
    """Pairs of labels that touch each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    return sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_every_pair_is_a_band_of_its_customers():
    table = transitions(pd.Series({"a": "1", "b": "1", "c": "2"}), pd.Series({"a": "1", "b": "2"}))
    axes = flow(table, ["1", "2"]).axes[0]
    bands = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    heights = [band.get_path().vertices[5, 1] - band.get_path().vertices[2, 1] for band in bands]
    assert heights == pytest.approx([1, 1, 1])


def test_nodes_say_how_many_customers_there_are_and_the_change():
    table = transitions(pd.Series({"a": "1", "b": "1"}), pd.Series({"a": "1", "d": "2"}))
    assert labels(flow(table, ["1", "2"])) == [
        "1  2", "(new)  1", "1  1  (-1)", "2  1  (+1)", "(gone)  1",
    ]  # fmt: skip


@pytest.mark.parametrize("n_segments", [2, 12, 40])
def test_labels_of_the_flow_do_not_touch(n_segments):
    assert overlaps(flow(*moved(n_segments))) == 0


@pytest.mark.parametrize("n_segments", [2, 12, 25])
def test_cells_of_the_matrix_do_not_touch(n_segments):
    assert overlaps(heat_map(matrix(*moved(n_segments)))) == 0


def test_customers_who_stayed_are_framed():
    table, names = moved(3)
    axes = heat_map(matrix(table, names)).axes[0]
    frames = [p.get_xy() for p in axes.patches if isinstance(p, Rectangle)]
    assert frames == [(i - 0.5, i - 0.5) for i in range(3)]


def test_the_matrix_holds_counts_where_there_is_room():
    table = transitions(pd.Series({"a": "1", "b": "1"}), pd.Series({"a": "1", "b": "2"}))
    assert labels(heat_map(matrix(table))) == ["1", "1"]
    assert labels(heat_map(matrix(*moved(40)))) == []


def test_the_same_table_gives_the_same_figure():
    assert render(flow(*moved(5))) == render(flow(*moved(5)))
