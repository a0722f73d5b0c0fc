import pytest

from segexp.config.space import Parameter, check_space, parse_space
from segexp.errors import ConfigError


def parse(**nodes):
    return parse_space(nodes, "model.space")


def test_an_int_range():
    node = {"type": "int", "low": 7, "high": 127, "log": True}
    assert parse(num_leaves=node) == (Parameter("num_leaves", "int", low=7, high=127, log=True),)


def test_choices_may_be_null_lists_and_strings_with_commas():
    choices = [None, [64, 32], "a,b"]
    (parameter,) = parse(x={"type": "categorical", "choices": choices})
    assert parameter.choices == (None, [64, 32], "a,b")


def test_a_condition_comes_after_what_it_depends_on():
    space = parse(
        drop_rate={"type": "float", "low": 0.1, "high": 0.3, "when": {"boosting_type": "dart"}},
        boosting_type={"type": "categorical", "choices": ["gbdt", "dart"]},
    )
    assert [parameter.name for parameter in space] == ["boosting_type", "drop_rate"]
    assert space[1].when == (("boosting_type", ("dart",)),)


def test_null_takes_a_parameter_out():
    assert parse(x=None) == ()


def test_a_parameter_reads_as_words():
    node = {"type": "float", "low": 0.05, "high": 0.3, "when": {"boosting_type": ["dart", "goss"]}}
    assert str(parse(drop=node)[0]) == "float 0.05 .. 0.3 when boosting_type is dart or goss"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (3, "must be a mapping"),
        ({"low": 1, "high": 2}, "type must be one of int, float, categorical, got None"),
        ({"type": "flaot", "low": 1, "high": 2}, "did you mean 'float'"),
        ({"type": "int", "low": 1}, "lacks high"),
        ({"type": "int", "low": 3, "high": 2}, "low 3 is greater than high 2"),
        ({"type": "int", "low": 1.5, "high": 2}, "low must be a whole number, got 1.5"),
        ({"type": "int", "low": True, "high": 2}, "low must be a whole number, got True"),
        ({"type": "float", "low": "a", "high": 2}, "low must be a number, got 'a'"),
        ({"type": "float", "low": float("nan"), "high": 2}, "low must be a number, got nan"),
        ({"type": "float", "low": 0, "high": 2, "log": True}, "a log range needs low above 0"),
        ({"type": "float", "low": 1, "high": 2, "log": "y"}, "log must be true or false"),
        ({"type": "int", "low": 1, "high": 9, "step": 0}, "step must be above 0"),
        ({"type": "int", "low": 1, "high": 9, "step": 2, "log": True}, "exclude each other"),
        (
            {"type": "int", "low": 1, "high": 2, "hihg": 3},
            "unknown key 'hihg'; did you mean 'high'",
        ),
        ({"type": "categorical", "choices": []}, "choices must be a list of values, got []"),
        ({"type": "categorical", "choices": [1], "when": 3}, "when must be a mapping"),
    ],
)
def test_what_is_wrong_with_a_node_is_said(node, words):
    with pytest.raises(ConfigError, match=r"model.space.x") as caught:
        parse(x=node)
    assert words in str(caught.value)


def test_conditions_in_a_circle_are_refused():
    node = {"type": "categorical", "choices": [1]}
    with pytest.raises(ConfigError, match="a -> b -> a"):
        parse(a={**node, "when": {"b": 1}}, b={**node, "when": {"a": 1}})


def test_a_parameter_that_the_estimator_lacks_is_refused():
    space = parse(num_leafs={"type": "int", "low": 2, "high": 9})
    with pytest.raises(ConfigError, match="LGBM has no parameter 'num_leafs'; did you mean 'num_l"):
        check_space(space, ["num_leaves"], "model.space", "LGBM")


def test_a_condition_on_a_parameter_that_the_estimator_lacks_is_refused():
    space = parse(x={"type": "int", "low": 2, "high": 9, "when": {"y": 1}})
    with pytest.raises(ConfigError, match="has no parameter 'y'"):
        check_space(space, ["x"], "model.space", "LGBM")
