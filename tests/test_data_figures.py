"""Figures of a table are judged by what they hold; how they look was looked at."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from segexp.data_profile import profile_table
from segexp.figures import data as figures
from segexp.figures.look import render

RNG = np.random.default_rng(0)
LONG = "a name that goes on & on, with <b>marks</b> and $signs$ "


def table(n=120):
    return pd.DataFrame(
        {
            "age": RNG.integers(18, 80, n).astype(float),
            "kids": np.where(np.arange(n) % 3, RNG.integers(0, 4, n), np.nan),
            "spend": RNG.lognormal(sigma=2, size=n),
            "job": RNG.choice([f"{LONG}{i}" for i in range(12)], n).astype(object),
            "grade": pd.Categorical(RNG.choice(["lo", "hi"], n), ["lo", "hi"], ordered=True),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 700, n), "D"),
            LONG * 3: np.full(n, 1.0),
        }
    )


def profiled(n_segments=3, **options):
    X = table(**options)
    y = np.arange(len(X)) % n_segments
    return profile_table(X, y, [f"{LONG}{i}" for i in range(n_segments)])


FOUND = profiled()


def words(figure):
    texts = [text.get_text() for text in figure.texts]
    return " | ".join([figure.get_suptitle(), *texts])


def shown(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_each_column_has_a_panel():
    figure = figures.distributions(FOUND["columns"], 120)
    assert [axes.get_title("left") for axes in shown(figure)][:3] == ["age", "kids", "spend"]
    assert shown(figure)[1].get_xlabel() == "33% missing"
    assert "of 120 rows" in words(figure)


def test_bars_of_categories_add_up_to_all():
    column = FOUND["columns"][3]
    axes = shown(figures.distributions([column], 120))[0]
    widths = [patch.get_width() for patch in axes.patches]
    assert len(widths) == 8 and sum(widths) == pytest.approx(1)
    assert axes.get_yticklabels()[-1].get_text() == "5 others"


def test_more_columns_than_panels_are_told():
    columns = [dict(FOUND["columns"][0], name=f"c{i}") for i in range(45)]
    figure = figures.distributions(columns, 120)
    assert len(shown(figure)) == 40 and "the first 40 of 45 columns" in words(figure)


def test_missing_values_come_worst_first():
    columns = [
        {"name": name, "missing": n, "missing_share": n / 10} for name, n in (("a", 1), ("b", 4))
    ]
    figure = figures.missing_values([*columns, {"name": "c", "missing": 0}], 10)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [patch.get_width() for patch in axes.patches] == [0.4, 0.1]
    assert "1 of 3 columns are complete" in words(figure)


def test_the_heat_map_shows_half_of_the_matrix_with_numbers():
    found = {
        "columns": ["a", "b", "c"],
        "values": [[None, -0.5, 0.25], [-0.5, None, None], [0.25, None, None]],
        "kinds": [["", "spearman", "eta"], ["spearman", "", "eta"], ["eta", "eta", ""]],
    }
    figure = figures.associations(found, 10)
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["-.50", ".25"]
    assert [axes.get_ylabel() for axes in figure.axes[1:]] == ["Spearman", "eta"]


def test_what_is_no_more_than_chance_is_pale():
    features = [
        {"column": "a", "share": 0.2, "p_value": 0.0}, {"column": "b", "share": 0.0, "p_value": 0.5}
    ]  # fmt: skip
    figure = figures.telling({"features": features}, "known segments")
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["20.0%", "0.0% (no more than chance)"]


def test_shares_of_a_segment_fill_its_bar():
    feature = {
        "column": "job", "role": "categorical", "levels": ["x", "y"], "n_other": 3,
        "shares": [[0.5, 0.25, 0.25], None],
    }  # fmt: skip
    found = {"features": [feature], "segments": ["a", "b"], "counts": [4, 0]}
    axes = shown(figures.segments_by_feature(found, "known"))[0]
    assert sum(patch.get_width() for patch in axes.patches) == 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y", "3 others"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a  4", "b  0"]


def test_outliers_are_drawn_in_interquartile_ranges():
    column = {
        "name": "x", "quantiles": [0, 1, 2, 3, 4],
        "outliers": {"n_low": 0, "n_high": 7, "lowest": [], "highest": [22, 12]},
    }  # fmt: skip
    axes = figures.outliers([column], 50).axes[0]
    assert axes.get_lines()[1].get_xdata().tolist() == [10, 5]
    assert axes.get_yticklabels()[0].get_text() == "x  7"


def all_figures(found):
    n = found["n_rows"]
    yield figures.distributions(found["columns"], n)
    yield figures.missing_values(found["columns"], n)
    yield figures.outliers(found["columns"], n)
    yield figures.associations(found["associations"], n)
    yield figures.telling(found["target"], "known segments")
    yield figures.segments_by_feature(found["target"], "known segments")


def overlapping(axes, renderer):
    """Pairs of labels of one axis that lie on each other."""
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [
            label.get_window_extent(renderer)
            for label in labels
            if label.get_text() and label.get_visible() and axes.get_visible()
        ]
        for a, b in itertools.pairwise(boxes):
            if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1:
                yield a, b


@pytest.mark.parametrize("n_segments", [2, 40])
def test_no_label_lies_on_another(n_segments):
    for figure in all_figures(profiled(n_segments, n=400)):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for axes in figure.axes:
            assert list(overlapping(axes, canvas.get_renderer())) == []


@pytest.mark.parametrize(
    "values",
    [
        [np.nan] * 4,
        [7.0] * 4,
        [1e308, -1e308, 0, 1e-300],
        [1e300, 2e300, 3e300, 9e305],
        [1e15, 1e15 + 1, 1e15 + 2, 1e15 + 3],
        pd.to_datetime([None] * 4),
        pd.Series([None] * 4, dtype=object),
        pd.Series(["", "\n", "'\"", "x" * 5000], dtype=object),
    ],
    ids=range(8),
)
def test_a_hostile_column_is_drawn(values):
    found = profile_table(pd.DataFrame({"x": values}), np.array([0, 1, 0, 1]), ["a", "b"])
    for figure in all_figures(found):
        assert render(figure)["png"].startswith(b"\x89PNG")


def test_one_row_is_drawn():
    found = profile_table(table(1), np.array([0]), ["a"])
    for figure in all_figures(found):
        assert render(figure)["svg"].startswith(b"<?xml")


def test_the_same_profile_gives_the_same_pictures():
    for first, second in zip(all_figures(FOUND), all_figures(FOUND), strict=True):
        assert render(first) == render(second)
