"""Search spaces as Optuna sees them."""

from __future__ import annotations

import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from segexp.components import build_pipeline, parse_spaces
from segexp.config.compose import load_config
from segexp.config.options import list_options, shipped_conf
from segexp.config.space import parse_space
from segexp.errors import ConfigError
from segexp.search.space import SearchSpace, join_spaces, pipeline_parameters

SHIPPED = (shipped_conf(),)
MIXED = {
    "booster": {"type": "categorical", "choices": ["gbdt", "dart"]},
    "drop_rate": {"type": "float", "low": 0.1, "high": 0.3, "when": {"booster": "dart"}},
    "skip": {"type": "categorical", "choices": [True, False], "when": {"booster": "dart"}},
    "skip_rate": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1, "when": {"skip": True}},
    "leaves": {"type": "int", "low": 5, "high": 63, "log": True},
    "bins": {"type": "int", "low": 10, "high": 100, "step": 25},
    "rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
    "layers": {"type": "categorical", "choices": [None, [64, 32], [64], "a,b", 1, True, 1.0]},
    "gamma": {"type": "categorical", "choices": ["scale", 0.01, 0.1]},
}


def space_of(_configured=None, **nodes) -> SearchSpace:
    return join_spaces(parse_space(nodes, "model.space"), (), _configured)


def ints(low, high, **more):
    return {"type": "int", "low": low, "high": high, **more}


def floats(low, high, **more):
    return {"type": "float", "low": low, "high": high, **more}


def choices(*values, **more):
    return {"type": "categorical", "choices": list(values), **more}


def suggestions(space, n=60):
    """Real values of ``n`` random trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(n)]


def same(left, right):
    """Equal, types included: 1 is neither True nor 1.0."""
    return repr(left) == repr(right)


def test_an_int_is_suggested_as_an_int_and_a_float_as_a_float():
    (point,) = suggestions(space_of(a=ints(1, 9), b=floats(1, 9)), 1)
    assert (type(point["a"]), type(point["b"])) == (int, float)


def test_log_and_step_reach_optuna():
    space = space_of(a=ints(1, 9, log=True), b=floats(0, 1, step=0.25), c=ints(0, 8, step=4))
    assert space.distributions() == {
        "a": IntDistribution(1, 9, log=True),
        "b": FloatDistribution(0, 1, step=0.25),
        "c": IntDistribution(0, 8, step=4),
    }


def test_a_range_ends_where_its_step_ends():
    space = space_of(a=ints(1, 9, step=3), b=floats(0, 1, step=0.3))
    assert space.distributions() == {
        "a": IntDistribution(1, 7, step=3),
        "b": FloatDistribution(0, 0.9, step=0.3),
    }


def test_steps_give_the_numbers_that_yaml_would():
    space = space_of(a=floats(0.1, 0.7, step=0.1))
    assert {point["a"] for point in suggestions(space)} <= {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}


def test_scalars_that_differ_are_stored_as_they_are():
    space = space_of(gamma=choices("scale", 0.01, None, 3))
    assert space.distributions()["gamma"] == CategoricalDistribution(("scale", 0.01, None, 3))


def test_choices_that_optuna_could_not_tell_apart_are_stored_as_text():
    space = space_of(x=choices(1, True, 1.0, "1"))
    assert space.distributions()["x"].choices == ("1", "True", "1.0", "'1'")


@pytest.mark.parametrize("choice", [None, [64, 32], "a,b", 1, True, 1.0, "1", {"a": [1]}, "None"])
def test_every_choice_comes_back_as_it_was(choice):
    space = space_of(x=choices(None, [64, 32], "a,b", 1, True, 1.0, "1", {"a": [1]}, "None"))
    assert same(space.decode(space.encode({"x": choice})), {"x": choice})


def test_a_choice_that_is_said_twice_counts_once():
    assert space_of(x=choices("a", "a", "b")).count() == 2


def test_not_a_number_is_a_choice():
    space = space_of(x=choices(float("nan"), 0.5))
    assert same(space.decode(space.encode({"x": float("nan")})), {"x": float("nan")})


def test_a_list_that_somebody_changes_does_not_change_the_space():
    space = space_of(x=choices([1, 2], [3]))
    space.decode({"x": "[1, 2]"})["x"].append(9)
    assert space.decode({"x": "[1, 2]"}) == {"x": [1, 2]}


def test_decoding_reverses_encoding():
    space = space_of(**MIXED)
    points = suggestions(space)
    assert all(same(space.decode(space.encode(point)), point) for point in points)


def test_what_a_trial_stores_decodes_to_what_was_suggested():
    space, study = space_of(**MIXED), optuna.create_study()
    for _ in range(30):
        trial = study.ask()
        point = space.suggest(trial)
        assert same(space.decode(trial.params), point)


def test_an_enqueued_point_is_suggested_as_it_is():
    space = space_of(**MIXED)
    study = optuna.create_study()
    for point in suggestions(space, 20):
        study.enqueue_trial(space.encode(point))
        assert same(space.suggest(study.ask()), point)


def test_suggestions_stay_in_their_ranges():
    for point in suggestions(space_of(**MIXED), 100):
        assert 5 <= point["leaves"] <= 63 and point["bins"] in (10, 35, 60, 85)
        assert 0.001 <= point["rate"] <= 0.1 and 0.1 <= point.get("drop_rate", 0.2) <= 0.3


def test_a_parameter_is_suggested_only_where_its_condition_holds():
    for point in suggestions(space_of(**MIXED)):
        assert ("drop_rate" in point) == (point["booster"] == "dart")
        assert ("skip_rate" in point) == (point.get("skip") is True)


def test_a_condition_on_a_parameter_that_nobody_searches():
    nodes = {"l1": floats(0, 1, when={"penalty": ["elasticnet", "l1"]})}
    assert "l1" in suggestions(space_of({"model__penalty": "l1"}, **nodes), 1)[0]
    assert "l1" not in suggestions(space_of({"model__penalty": "l2"}, **nodes), 1)[0]


def test_a_condition_tells_one_from_true():
    nodes = {"x": choices(1, True), "y": ints(0, 3, when={"x": True})}
    assert space_of(**nodes).active({"x": 1, "y": 2}) == {"x": 1}


def test_a_condition_on_a_number_takes_it_with_or_without_a_point():
    nodes = {"x": floats(0, 1), "y": ints(0, 3, when={"x": 1})}
    assert space_of(**nodes).active({"x": 1.0, "y": 2}) == {"x": 1.0, "y": 2}


def test_the_end_of_a_chain_goes_with_its_beginning():
    point = {"booster": "gbdt", "drop_rate": 0.2, "skip": True, "skip_rate": 0.1}
    assert space_of(**MIXED).active(point) == {"booster": "gbdt"}


def test_the_key_ignores_inactive_parameters():
    space = space_of(**MIXED)
    assert space.key({"booster": "gbdt"}) == space.key({"booster": "gbdt", "drop_rate": 0.2})


def test_the_key_does_not_depend_on_the_order():
    space = space_of(a=ints(1, 9), b=floats(0, 1))
    assert space.key({"a": 1, "b": 0.5}) == space.key({"b": 0.5, "a": 1})


def test_the_key_tells_one_from_true():
    space = space_of(x=choices(1, True))
    assert space.key({"x": 1}) != space.key({"x": True})


def test_the_key_of_a_grid_point_is_the_key_of_the_same_suggestion():
    space = space_of(a=floats(0.1, 0.7, step=0.1))
    keys = {space.key(point) for point in space.grid(4)}
    assert {space.key(point) for point in suggestions(space)} <= keys


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_a_parameter_that_the_space_lacks_is_named(method):
    space = space_of(num_leaves=ints(2, 9))
    with pytest.raises(ConfigError, match="no parameter 'num_leafs'; did you mean 'num_leaves'"):
        getattr(space, method)({"num_leafs": 3})


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_a_choice_that_the_space_lacks_is_named(method):
    space = space_of(booster=choices("gbdt", "dart"))
    with pytest.raises(ConfigError, match="no choice 'dat' of booster; did you mean 'dart'"):
        getattr(space, method)({"booster": "dat"})


def test_a_grid_has_every_choice_and_every_step_and_the_last_varies_fastest():
    space = space_of(a=choices("x", "y"), b=floats(0, 0.2, step=0.1))
    assert space.grid(2) == [
        {"a": "x", "b": 0.0}, {"a": "x", "b": 0.1}, {"a": "x", "b": 0.2},
        {"a": "y", "b": 0.0}, {"a": "y", "b": 0.1}, {"a": "y", "b": 0.2},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "values"),
    [
        (ints(1, 4), [1, 2, 3, 4]),
        (ints(1, 10), [1, 4, 7, 10]),
        (ints(1, 1000, log=True), [1, 10, 100, 1000]),
        (ints(1, 6, log=True), [1, 2, 3, 6]),
        (ints(1, 9, step=2), [1, 3, 5, 7, 9]),
        (ints(3, 3), [3]),
        (floats(0, 1.5), [0.0, 0.5, 1.0, 1.5]),
        (floats(0.25, 0.25), [0.25]),
        (floats(0.3, 0.3, log=True), [0.3]),
    ],
)
def test_the_values_of_a_range_in_a_grid_of_four(node, values):
    assert same([point["x"] for point in space_of(x=node).grid(4)], values)


def test_a_logarithmic_range_is_spaced_evenly_in_its_logarithm():
    values = [point["x"] for point in space_of(x=floats(0.001, 1, log=True)).grid(4)]
    assert values == pytest.approx([0.001, 0.01, 0.1, 1]) and values[0] == 0.001


def test_a_small_logarithmic_range_of_whole_numbers_has_no_duplicates():
    assert [p["x"] for p in space_of(x=ints(1, 6, log=True)).grid(5)] == [1, 2, 4, 6]


def test_a_grid_has_conditional_parameters_only_where_they_are_active():
    space = space_of(a=choices("x", "y"), b=ints(1, 2, when={"a": "y"}))
    assert space.grid(4) == [{"a": "x"}, {"a": "y", "b": 1}, {"a": "y", "b": 2}]


def test_a_grid_of_a_mixed_space_has_each_point_once_and_as_many_as_it_says():
    space = space_of(**MIXED)
    points = space.grid(2)
    assert len({space.key(point) for point in points}) == len(points) == space.grid_size(2)


def test_a_grid_that_fills_the_memory_is_refused():
    space = space_of(**{f"x{i}": floats(0, 1) for i in range(12)})
    with pytest.raises(ConfigError, match="the grid has 16,777,216 points"):
        space.grid(4)


def test_an_empty_space_has_one_point():
    assert space_of().grid(4) == [{}] and space_of().count() == 1


def test_the_count_heeds_conditions():
    nodes = {"a": choices("x", "y"), "b": ints(1, 5, when={"a": "y"}), "c": choices(0, 1)}
    assert space_of(**nodes).count() == (1 + 5) * 2


def test_a_continuous_range_cannot_be_counted():
    assert space_of(a=choices("x", "y"), b=floats(0, 1)).count() is None


def test_a_huge_space_is_counted_without_making_it():
    assert space_of(**{f"x{i}": ints(1, 10**9) for i in range(3)}).count() == 10**27


def test_the_configured_values_start_a_search():
    space = space_of(a=ints(1, 9), b=floats(0, 5), c=choices("x", None))
    assert same(space.start({"a": 3, "b": 2, "c": None, "other": 1}), {"a": 3, "b": 2.0, "c": None})


@pytest.mark.parametrize(
    "values", [{"a": 10}, {"a": 2.5}, {"a": None}, {"a": True}, {"a": "3"}, {}, {"a": 2}]
)
def test_configured_values_outside_the_space_start_none(values):
    assert space_of(a=ints(1, 9, step=2)).start(values) is None


def test_a_configured_value_between_two_steps_starts_none():
    space = space_of(a=floats(0.1, 0.9, step=0.1))
    assert space.start({"a": 0.3}) == {"a": 0.3} and space.start({"a": 0.35}) is None


def test_an_inactive_parameter_may_be_configured_outside_the_space():
    assert space_of(**MIXED).start(
        {
            "booster": "gbdt", "drop_rate": 99, "leaves": 31, "bins": 35, "rate": 0.01,
            "layers": [64], "gamma": "scale",
        }
    ) == {"booster": "gbdt", "leaves": 31, "bins": 35, "rate": 0.01, "layers": [64],
          "gamma": "scale"}  # fmt: skip


def test_names_of_a_study_and_paths_of_a_pipeline():
    params = {
        "num_leaves": 3,
        "estimator__C": 1.0,
        "preprocessing.numeric__impute__strategy": "mean",
        "preprocessing.table__x__y": 1,
        "preprocessing.reduction__pca__n_components": 2,
    }
    assert pipeline_parameters(params) == {
        "model__num_leaves": 3,
        "model__estimator__C": 1.0,
        "preprocessing__columns__numeric__impute__strategy": "mean",
        "preprocessing__table__x__y": 1,
        "preprocessing__reduction__pca__n_components": 2,
    }


def test_conditions_of_the_preprocessing_name_the_preprocessing():
    nodes = {
        "numeric__clip__lower": floats(0, 0.1, when={"numeric__impute__strategy": "mean"}),
        "numeric__impute__strategy": choices("mean", "median"),
    }
    space = join_spaces((), parse_space(nodes, "preprocessing.space"))
    points = suggestions(space)
    strategy, lower = (
        "preprocessing.numeric__impute__strategy",
        "preprocessing.numeric__clip__lower",
    )
    assert {(point[strategy], lower in point) for point in points} == {
        ("mean", True), ("median", False),
    }  # fmt: skip


@pytest.mark.parametrize("preprocessing", list_options("preprocessing", SHIPPED))
def test_a_pipeline_takes_what_its_spaces_suggest(preprocessing):
    config = load_config(["model=svm", f"preprocessing={preprocessing}"], SHIPPED)
    pipeline = build_pipeline(config)
    space = join_spaces(**parse_spaces(config, pipeline), configured=pipeline.get_params())
    for point in suggestions(space, 3):
        paths = pipeline_parameters(point)
        taken = pipeline.set_params(**paths).get_params()
        assert same({path: taken[path] for path in paths}, paths)


@pytest.mark.parametrize("model", list_options("model", SHIPPED))
def test_every_shipped_model_starts_where_it_is_configured(model):
    config = load_config([f"model={model}"], SHIPPED)
    pipeline = build_pipeline(config)
    space = join_spaces(parse_spaces(config, pipeline)["model"])
    values = {name: pipeline.get_params().get(f"model__{name}") for name in space.distributions()}
    assert space.start(values) is not None


def test_a_space_makes_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space_of(**MIXED).distributions()
