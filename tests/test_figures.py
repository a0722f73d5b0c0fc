"""Figures are judged by what they hold; how they look was looked at."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segexp.config.space import parse_space
from segexp.figures import search as figures
from segexp.figures.look import Pictures, render

SPACE = parse_space(
    {
        "kind": {"type": "categorical", "choices": ["gbdt", None, [64, 32]]},
        "rate": {"type": "float", "low": 0.01, "high": 0.2, "log": True},
        "leaves": {"type": "int", "low": 5, "high": 63},
        "drop": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": "gbdt"}},
    },
    "model.space",
)
LONG = "preprocessing.categorical__encode__levels__pairs__max_pairs"


def row(study, number, value, state="COMPLETE", **facts):
    folds = [value] * (3 if state == "COMPLETE" else 2)
    kind = ["gbdt", None, [64, 32]][number % 3]
    params = {"kind": kind, "rate": 0.01 * (1 + number % 20), "leaves": 5 + number % 58}
    if kind == "gbdt":
        params["drop"] = 0.5
    return {
        "study": study,
        "model": "lightgbm",
        "number": number,
        "state": state,
        "value": value if state == "COMPLETE" else math.nan,
        "value[f1]": value,
        "value[log_loss]": 1 - value,
        "value[brier]": value / 2,
        "feasible": state == "COMPLETE",
        "origin": "default" if number == 0 else "sampler",
        "fold_values": [] if state in ("FAIL", "INVALID") else folds,
        "start": pd.Timestamp("2026-01-01") + pd.Timedelta(number, "s"),
        "chosen": False,
        "params": json.dumps(params),
        **facts,
    }


@pytest.fixture
def trials():
    """Two studies of five trials: the default, a better one, a pruned, a failed, the winner."""
    rows = []
    for study in ("repeat0-fold0", "final"):
        rows += [
            row(study, 0, 0.50),
            row(study, 1, 0.55),
            row(study, 2, 0.40, "PRUNED"),
            row(study, 3, 0.0, "FAIL"),
            row(study, 4, 0.60, chosen=True),
        ]
    return pd.DataFrame(rows)


def panels(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def drawn(axes, label):
    """Points of the artists with a label."""
    found = []
    for artist in (*axes.lines, *axes.collections):
        if artist.get_label() == label:
            points = artist.get_offsets() if hasattr(artist, "get_offsets") else artist.get_xydata()
            found += np.round(np.asarray(points, dtype=float), 6).tolist()
    return found


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_a_figure_becomes_a_png_and_an_svg(trials):
    files = render(figures.optimisation_history(trials, "f1", True))
    assert files["png"].startswith(b"\x89PNG") and b"<svg" in files["svg"]


def test_pictures_are_those_that_are_written_to_files(trials):
    drawn = [figures.optimisation_history(trials, "f1", True) for _ in range(2)]
    assert dict(Pictures(drawn[0])) == render(drawn[1])


def test_a_letter_that_the_font_lacks_is_a_box_without_a_warning(recwarn):
    figure = Figure(layout="constrained")
    figure.subplots().set_title("\N{BURRITO} \N{DUCK}")
    render(figure)
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_table_gives_the_same_bytes(trials, kind):
    one, two = (render(figures.slices(trials, SPACE, "f1", True))[kind] for _ in range(2))
    assert one == two


def test_drawing_leaves_the_readers_settings_alone(trials):
    before = dict(matplotlib.rcParams)
    render(figures.slices(trials, SPACE, "f1", True))
    assert dict(matplotlib.rcParams) == before


def test_the_readers_settings_change_no_figure(trials):
    plain = render(figures.optimisation_history(trials, "f1", True))["png"]
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "font.size": 30}):
        assert render(figures.optimisation_history(trials, "f1", True))["png"] == plain


def test_pyplot_is_never_loaded():
    code = "import sys, segexp.figures.search; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_history_has_a_panel_per_study(trials):
    figure = figures.optimisation_history(trials, "f1", True)
    assert [axes.get_title("left") for axes in panels(figure)] == ["repeat0-fold0", "final"]


def test_the_history_shows_each_state_in_its_way(trials):
    axes = panels(figures.optimisation_history(trials, "f1", True))[1]
    assert drawn(axes, "completed") == [[0, 0.5], [1, 0.55], [4, 0.6]]
    assert drawn(axes, "pruned, mean of its folds") == [[2, 0.4]]
    assert [x for x, _ in drawn(axes, "failed or invalid")] == [3]
    assert drawn(axes, "model as configured") == [[0, 0.5]]
    assert drawn(axes, "chosen") == [[4, 0.6]]


def test_the_best_so_far_never_gets_worse(trials):
    axes = panels(figures.optimisation_history(trials, "f1", True))[0]
    assert [y for _, y in drawn(axes, "best so far")] == [0.5, 0.55, 0.55, 0.55, 0.6]


def test_the_best_so_far_falls_where_less_is_better(trials):
    trials["value"] = 1 - trials["value"]
    axes = panels(figures.optimisation_history(trials, "log_loss", False))[0]
    assert [y for _, y in drawn(axes, "best so far")] == [0.5, 0.45, 0.45, 0.45, 0.4]


def test_a_trial_that_breaks_a_constraint_is_not_the_best_so_far(trials):
    trials.loc[trials["number"] == 1, "feasible"] = False
    axes = panels(figures.optimisation_history(trials, "f1", True))[0]
    assert drawn(axes, "breaks a constraint") == [[1, 0.55]]
    assert [y for _, y in drawn(axes, "best so far")] == [0.5, 0.5, 0.5, 0.5, 0.6]


def test_models_that_compete_have_a_colour_each(trials):
    trials.loc[trials["number"] == 1, "model"] = "xgboost"
    axes = panels(figures.optimisation_history(trials, "f1", True))[0]
    assert drawn(axes, "xgboost") == [[1, 0.55]]
    assert drawn(axes, "lightgbm") == [[0, 0.5], [4, 0.6]]


def test_a_score_far_off_is_marked_at_the_edge():
    values = [0.50, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.57, 0.58, 0.59, 0.01]
    trials = pd.DataFrame([row("final", n, value) for n, value in enumerate(values)])
    (axes,) = panels(figures.optimisation_history(trials, "f1", True))
    assert axes.get_ylim()[0] > 0.4
    assert [x for x, _ in drawn(axes, "off the scale")] == [10]


@pytest.mark.parametrize(("greater", "said"), [(True, "more"), (False, "less")])
def test_labels_say_the_direction_and_that_scores_were_selected_on(trials, greater, said):
    text = words(figures.optimisation_history(trials, "log_loss", greater))
    assert f"log loss ({said} is better)" in text and "not held-out figures" in text


def test_importances_are_bars_with_the_greatest_on_top():
    table = pd.DataFrame(
        {"parameter": ["rate", "kind"], "mean": [0.7, 0.3], "std": [0.1, None], "n_studies": [2, 1]}
    )
    (axes,) = panels(figures.parameter_importance(table))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["kind", "rate"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([30, 70])
    (spread,) = axes.collections[0].get_segments()
    assert spread[:, 0].tolist() == pytest.approx([60, 80])


def test_slices_have_a_panel_per_parameter_whose_limits_are_its_range(trials):
    kind, rate, leaves, drop = panels(figures.slices(trials, SPACE, "f1", True))
    assert rate.get_xscale() == "log" and leaves.get_xscale() == "linear"
    low, high = rate.get_xlim()
    assert 0.008 < low < 0.01 and 0.2 < high < 0.25
    assert [label.get_text() for label in kind.get_xticklabels()] == ["gbdt", "null", "[64, 32]"]
    assert drop.get_title("left") == "drop"


def test_a_slice_shows_the_trials_that_have_the_parameter(trials):
    *_, drop = panels(figures.slices(trials[trials["study"] == "final"], SPACE, "f1", True))
    # Of the completed trials 0, 1 and 4, trial 0 alone is of the kind that has it.
    assert drawn(drop, "trial") == [[0.5, 0.5]]


def test_parallel_coordinates_draw_the_best_last(trials):
    figure = figures.parallel_coordinates(trials, SPACE, "f1", True)
    (lines,) = [c for c in panels(figure)[0].collections if len(c.get_array())]
    assert lines.get_array().tolist() == [0.5, 0.5, 0.55, 0.55, 0.6, 0.6]


def test_a_parallel_axis_says_where_a_parameter_is_not_set(trials):
    assert "not set" in words(figures.parallel_coordinates(trials, SPACE, "f1", True))
    assert "not set" not in words(figures.parallel_coordinates(trials, SPACE[:3], "f1", True))


def test_a_front_holds_what_no_other_trial_beats():
    rows = [row("final", n, 0.5) for n in range(4)]
    trials = pd.DataFrame(rows)
    trials["value[f1]"] = [0.5, 0.6, 0.6, 0.4]
    trials["value[log_loss]"] = [0.3, 0.4, 0.5, 0.3]
    (axes,) = panels(figures.pareto(trials, {"f1": True, "log_loss": False}))
    assert drawn(axes, "front: no trial beats it") == [[0.5, 0.3], [0.6, 0.4]]
    assert drawn(axes, "trial") == [[0.6, 0.5], [0.4, 0.3]]


def test_the_front_leaves_out_what_breaks_a_constraint():
    trials = pd.DataFrame([row("final", 0, 0.5), row("final", 1, 0.6, feasible=False)])
    (axes,) = panels(figures.pareto(trials, {"f1": True, "brier": True}))
    assert drawn(axes, "front: no trial beats it") == [[0.5, 0.25]]


def test_each_pair_of_three_objectives_has_a_panel(trials):
    metrics = {"f1": True, "log_loss": False, "brier": False}
    assert len(panels(figures.pareto(trials[trials["study"] == "final"], metrics))) == 3


def all_figures(trials, space):
    return {
        "history": figures.optimisation_history(trials, "f1", True),
        "slices": figures.slices(trials, space, "f1", True),
        "parallel": figures.parallel_coordinates(trials, space, "f1", True),
        "pareto": figures.pareto(trials, {"f1": True, "log_loss": False}),
    }


@pytest.mark.parametrize("kept", [["COMPLETE"], ["FAIL"]])
def test_one_trial_of_one_parameter_can_be_drawn(trials, kept):
    one = trials[trials["state"].isin(kept)].head(1)
    for figure in all_figures(one, SPACE[:1]).values():
        render(figure)


def test_a_range_of_one_value_can_be_drawn(trials):
    nodes = {
        "rate": {"type": "float", "low": 0.1, "high": 0.1, "log": True},
        "leaves": {"type": "int", "low": 5, "high": 5},
    }
    for figure in all_figures(trials, parse_space(nodes, "model.space")).values():
        render(figure)


def test_a_dollar_sign_is_no_formula(trials):
    nodes = {"a$b_$c": {"type": "categorical", "choices": ["$x^", "y$"]}}
    for figure in all_figures(trials, parse_space(nodes, "model.space")).values():
        render(figure)


def overlaps(figure, texts):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]
    return [
        (i, j)
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].shrunk(0.98, 0.9).overlaps(boxes[j].shrunk(0.98, 0.9))
    ]


def test_long_names_do_not_run_into_each_other(trials):
    space = parse_space(
        {f"{LONG}_{n}": {"type": "int", "low": 1, "high": 9} for n in range(8)}, "model.space"
    )
    figure = figures.slices(trials, space, "f1", True)
    titles = figure.findobj(lambda artist: "pairs" in getattr(artist, "get_text", str)())
    assert len(titles) == 8
    assert overlaps(figure, titles) == []


@pytest.mark.parametrize("name", ["history", "slices", "parallel", "pareto"])
def test_the_legend_and_the_labels_of_axes_keep_apart(trials, name):
    figure = all_figures(trials, SPACE)[name]
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts += [axes.xaxis.label for axes in panels(figure)]
    assert overlaps(figure, texts) == []
