import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from segexp.components import build, build_model, build_pipeline, find_class, parse_spaces
from segexp.config.compose import load_config
from segexp.config.options import list_models, list_options, shipped_conf
from segexp.errors import ConfigError

SHIPPED = (shipped_conf(),)

REFUSED = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "importlib.import_module",
    "pickle.Unpickler",
    "sklearn.utils.shuffle",  # a function
    "sklearn.utils.Bunch",  # a class that is no estimator
    "sklearn.utils._joblib.os.system",
    "sklearn.externals._packaging.Version",
    "sklearn.datasets.fetch_openml",
    "sklearn.base.clone",
    "sklearn.model_selection.train_test_split",
    "sklearn.externals.os.System",
    "segexp.cli.main",
    "segexp.config.compose.OmegaConf",
    "segexp.runs.RunWriter",
    "sklearn.svm.SVC.__init__",
    "sklearn.svm.__builtins__.Eval",
    "sklearn..svm.SVC",
    ".sklearn.svm.SVC",
    "sklearn",
    "",
    "sklearn.svm.SVC; import os",
    "SKLEARN.svm.SVC",
    "sklearn_evil.Thing",
    3,
    ["os.system"],
    None,
]


@pytest.mark.parametrize("target", REFUSED, ids=str)
def test_a_target_that_is_no_estimator_of_an_allowed_package_is_refused(target):
    with pytest.raises(ConfigError) as caught:
        build({"_target_": target}, "model.estimator")
    assert "model.estimator" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["os.system", "antigravity.Fly", "builtins.eval"])
def test_a_nested_target_is_refused_before_anything_is_built(target):
    node = {
        "_target_": "sklearn.pipeline.FeatureUnion",
        "transformer_list": [["a", {"_target_": target, "command": "true"}]],
    }
    with pytest.raises(ConfigError, match="not in an allowed package") as caught:
        build(node, "preprocessing.numeric.union")
    assert "preprocessing.numeric.union.transformer_list[0][1]" in str(caught.value)


def test_a_refused_target_is_neither_imported_nor_executed(tmp_path):
    """A module that leaves a mark when it is imported, reachable by the interpreter."""
    (tmp_path / "trap.py").write_text("open('sprung', 'w')\nclass Trap: pass\n")
    code = (
        "from segexp.components import build\nfrom segexp.errors import ConfigError\n"
        "nested = {'_target_': 'sklearn.calibration.CalibratedClassifierCV',"
        " 'estimator': {'_target_': 'trap.Trap'}}\n"
        "for node in ({'_target_': 'trap.Trap'}, nested):\n"
        "    try: build(node, 'model.estimator')\n"
        "    except ConfigError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused", "refused"]
    assert not (tmp_path / "sprung").exists()


def test_a_users_package_is_allowed_only_when_named(tmp_path, monkeypatch):
    (tmp_path / "ourshop.py").write_text(
        "from sklearn.dummy import DummyClassifier\nclass Ours(DummyClassifier): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"run\.packages"):
        find_class("ourshop.Ours", "model.estimator")
    assert find_class("ourshop.Ours", "model.estimator", ["ourshop"]).__name__ == "Ours"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            {"_target_": "sklearn.svm.SVC", "gama": 1},
            "gama: SVC has no such parameter; did you mean 'gamma'?",
        ),
        ({"_target_": "sklearn.svm.SVC", "C": -1}, "The 'C' parameter of SVC must be a float"),
        ({"_target_": "sklearn.svm.SVCC"}, "sklearn.svm has no SVCC; did you mean 'SVC'?"),
        ({"_target_": "sklearn.svmm.SVC"}, "No module named 'sklearn.svmm'"),
        ({"_target_": "imblearn.ensemble.RUSBoostClassifier"}, "pip install imbalanced-learn"),
        ({"_target_": "lightgbm.LGBMClassifier", "num_leafs": 3}, "did you mean 'num_leaves'?"),
        ({"_target_": "xgboost.XGBClassifier", "max_deph": 3}, "did you mean 'max_depth'?"),
    ],
)
def test_what_is_wrong_with_an_estimator_is_said(node, words):
    with pytest.raises(ConfigError) as caught:
        build(node, "model.estimator")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_native_parameter_of_lightgbm_is_known():
    node = {"_target_": "lightgbm.LGBMClassifier", "min_data_in_leaf": 3}
    assert build(node, "model.estimator").get_params()["min_data_in_leaf"] == 3


def test_nested_nodes_become_estimators():
    node = {
        "_target_": "sklearn.pipeline.FeatureUnion",
        "transformer_list": [["scaled", {"_target_": "sklearn.preprocessing.StandardScaler"}]],
    }
    union = build(node, "x")
    assert isinstance(union, FeatureUnion)
    assert isinstance(dict(union.transformer_list)["scaled"], StandardScaler)


def test_a_transformer_is_no_model():
    target = "model.estimator._target_=sklearn.preprocessing.StandardScaler"
    config = load_config(["model=naive_bayes", target, "~model.estimator.var_smoothing"], SHIPPED)
    with pytest.raises(ConfigError, match="StandardScaler is no classifier"):
        build_model(config.model)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.estimator.num_leaves=1", "LGBMClassifier rejects these values"),
        ("model.estimator.learning_rate=fast", "LGBMClassifier rejects these values"),
        ("model.estimator.boosting_type=dar", "LGBMClassifier rejects these values"),
    ],
)
def test_a_value_that_lightgbm_rejects_is_found_before_anything_is_loaded(word, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_pipeline(load_config([word], SHIPPED))
    assert "\n" not in str(caught.value)


@cache
def alone(word):
    """The two words together change different sections; composing each pair takes long."""
    return load_config([word], SHIPPED)


@pytest.mark.parametrize(
    ("model", "preprocessing"),
    [
        (model, preprocessing)
        for model in list_options("model", SHIPPED)
        for preprocessing in list_options("preprocessing", SHIPPED)
        # It learns from known segments.
        if preprocessing != "engineered" or model in list_models("classification", SHIPPED)
    ],
)
def test_every_model_builds_after_every_preprocessing(model, preprocessing):
    """Adding a YAML file is enough to have it tested, its search space included."""
    config = replace(
        alone(f"model={model}"), preprocessing=alone(f"preprocessing={preprocessing}").preprocessing
    )
    pipeline = build_pipeline(config)
    spaces = parse_spaces(config, pipeline)
    assert len(spaces["model"]) == len(config.model.space)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.estimator.num_leafs=3", "did you mean 'num_leaves'?"),
        ("model.space.num_leafs={type:int,low:2,high:9}", "has no parameter 'num_leafs'"),
        ("preprocessing.numeric.scal.with_mean=false", "a step needs a _target_"),
        ("preprocessing.numeric.impute.strtegy=mean", "did you mean 'strategy'?"),
        ("preprocessing.numeric.impute.strategy=meen", "The 'strategy' parameter of SimpleImputer"),
        ("preprocessing.space.x={type:int,low:2,high:9}", "has no parameter 'x'"),
        ("+preprocessing.numeric.svc={_target_:sklearn.svm.SVC}", "SVC does not transform"),
        ("model.estimator._target_=os.system", "is not in an allowed package"),
    ],
)
def test_a_wrong_step_parameter_or_range_is_one_line(word, message):
    with pytest.raises(ConfigError) as caught:
        build_pipeline(load_config([word], SHIPPED))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_nested_parameter_can_be_set_from_the_command_line():
    config = load_config(["model=svm", "model.estimator.estimator.C=3"], SHIPPED)
    model = build_pipeline(config).named_steps["model"]
    assert isinstance(model.estimator, SVC)
    assert model.estimator.C == 3
    assert "estimator__C" not in config.model.space


@pytest.mark.parametrize("name", ["Pipeline", "FeatureUnion"])
def test_nothing_is_cached_as_pickles(name):
    node = {"_target_": f"sklearn.pipeline.{name}", "memory": "cache", "steps": []}
    if name == "FeatureUnion":
        node = {
            "_target_": "sklearn.pipeline.FeatureUnion",
            "transformer_list": [["a", {**node, "_target_": "sklearn.pipeline.Pipeline"}]],
        }
    with pytest.raises(ConfigError, match="memory must be null"):
        build(node, "preprocessing.numeric.x")


@pytest.mark.parametrize(
    "target", ["sklearn.linear_model.LinearRegression", "sklearn.cluster.KMeans"]
)
def test_only_a_classifier_is_a_model(target):
    words = ["model=naive_bayes", f"model.estimator._target_={target}"]
    config = load_config([*words, "~model.estimator.var_smoothing"], SHIPPED)
    with pytest.raises(ConfigError, match="is no classifier"):
        build_model(config.model)


def test_a_parameter_with_one_entry_per_feature_is_left_to_the_fit():
    words = ["model.estimator.monotone_constraints=[0,0,0,0,0,0,0,0,1]"]
    build_pipeline(load_config(words, SHIPPED))


@pytest.mark.parametrize("model", ["lightgbm", "xgboost", "random_forest"])
def test_threads_of_the_engine_reach_the_model(model):
    config = load_config([f"model={model}", "engine.threads=2"], SHIPPED)
    assert build_pipeline(config).named_steps["model"].n_jobs == 2


def test_a_booster_takes_one_thread_by_default():
    assert build_pipeline(load_config([], SHIPPED)).named_steps["model"].n_jobs == 1


def test_threads_that_the_config_names_stand():
    config = load_config(["model.estimator.n_jobs=3"], SHIPPED)
    assert build_pipeline(config).named_steps["model"].n_jobs == 3
