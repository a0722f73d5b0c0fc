import re
import subprocess
import sys
from dataclasses import asdict

import pytest
import yaml

from segexp.config.compose import (
    config_from_dict,
    config_hash,
    config_to_yaml,
    expand_grid,
    is_grid,
    load_config,
    read_config,
)
from segexp.config.options import describe_option, find_conf_dirs, list_options, shipped_conf
from segexp.config.schema import GROUPS
from segexp.errors import ConfigError

SHIPPED = (shipped_conf(),)
OPTIONS = [(group, name) for group in GROUPS for name in list_options(group, SHIPPED)]


def load(*words):
    return load_config(words, SHIPPED)


def test_the_defaults_are_the_embedded_customers():
    config = load()
    assert (config.dataset.name, config.model.name) == ("demo", "lightgbm")
    assert config.dataset.synthetic


def test_a_word_overrides_a_value():
    assert load("evaluation.n_splits=3").evaluation.n_splits == 3


def test_seeds_reach_the_estimator():
    assert load("run.seed=7").model.estimator["random_state"] == 7


def test_an_estimator_parameter_needs_no_plus():
    assert load("model.estimator.min_child_samples=3").model.estimator["min_child_samples"] == 3


def test_a_fixed_parameter_leaves_the_space():
    assert "num_leaves" in load().model.space
    assert "num_leaves" not in load("model.estimator.num_leaves=31").model.space


def test_a_parameter_that_is_ranged_in_the_same_breath_stays_in_the_space():
    words = ("model.estimator.num_leaves=31", "model.space.num_leaves.high=40")
    assert load(*words).model.space["num_leaves"]["high"] == 40


@pytest.mark.parametrize("word", ["model.space={}", "~model.space"])
def test_a_space_is_emptied(word):
    assert load(word).model.space == {}


def test_a_space_that_is_emptied_is_filled_by_later_words():
    words = ("model.space={}", "model.space.num_leaves={type: int, low: 2, high: 9}")
    assert list(load(*words).model.space) == ["num_leaves"]


def test_any_mapping_of_free_keys_is_emptied():
    constrained = ("search.constraints.accuracy={min: 1}", "search.constraints={}")
    assert load("search=tpe", *constrained).search.constraints == {}


def test_a_tilde_takes_a_parameter_out_of_the_space():
    assert "num_leaves" not in load("~model.space.num_leaves").model.space


def test_a_step_can_be_taken_out():
    assert "scale" not in load("~preprocessing.numeric.scale").preprocessing.numeric


def test_a_single_text_is_a_list_of_one():
    assert load("dataset.ignore=Gender", "dataset.categorical=[]").dataset.ignore == ["Gender"]


def test_yaml_reads_back_to_an_equal_config(tmp_path):
    config = load("run.tags=[a,b]", "dataset.ordinal={Spending_Score:[Low,Average,High]}")
    path = tmp_path / "config.yaml"
    path.write_text(config_to_yaml(config), encoding="utf-8")
    assert read_config(path) == config


def test_the_hash_ignores_where_it_runs_and_what_it_is_called():
    words = ("engine.n_jobs=1", "run.outputs=elsewhere", "run.name=x", "run.tags=[a]")
    assert config_hash(load(*words)) == config_hash(load())


def test_the_hash_knows_the_seed():
    assert config_hash(load("run.seed=1")) != config_hash(load())


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=lambda value: str(value))
def test_every_option_composes_under_its_own_name(group, name):
    if group == "experiment":
        load(f"experiment={name}")
        return
    words = [f"{group}={name}"]
    if name in ("csv", "parquet"):
        words.append(f"dataset.path=customers.{name}")
    if name == "transactions":
        words += [
            "dataset.path=log.csv",
            *(f"dataset.transactions.{k}={k}" for k in ("customer", "date")),
        ]
    if name == "sql":
        words += ["dataset.url=sqlite:///shop.db", "dataset.table=customers"]
    assert getattr(load(*words), group).name == name


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=lambda value: str(value))
def test_every_option_says_in_a_line_what_it_is(group, name):
    assert len(describe_option(list_options(group, SHIPPED)[name])) > 10


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model=lightgmb", "did you mean 'lightgbm'?; model options: "),
        ("modl=svm", "no config key 'modl'; did you mean 'model'?"),
        ("seed=3", "did you mean 'run.seed'?"),
        ("n_splits=3", "did you mean 'evaluation.n_splits'?"),
        ("evaluation.n_split=3", "did you mean 'evaluation.n_splits'?"),
        ("+evaluation.n_split=3", "did you mean 'evaluation.n_splits'?"),
        ("evaluation.n_splits=lots", "evaluation.n_splits must be a whole number, got 'lots'"),
        ("evaluation.n_splits=2.5", "evaluation.n_splits must be a whole number, got 2.5"),
        ("evaluation.n_splits=true", "evaluation.n_splits must be a whole number, got True"),
        ("evaluation.n_splits=1", "evaluation.n_splits must be 2 or more, got 1"),
        ("evaluation.test_size=1.5", "evaluation.test_size must lie between 0 and 1, got 1.5"),
        ("evaluation.n_repeats=3", "needs evaluation=repeated_cv"),
        ("evaluation.final_model=maybe", "must be true or false, got 'maybe'"),
        ("run.seed=-1", "run.seed must be a whole number from 0 to 2^32-1, got -1"),
        ("run.tags={a:1}", "a value of this kind does not fit the key"),
        ("engine.n_jobs=0", "engine.n_jobs must be -1 (all cores) or 1 or more, got 0"),
        ("dataset.duplicate_ids=frist", "did you mean 'first'?"),
        ("dataset.ordinal.Spending_Score=[Low]", "must list two or more different values"),
        ("dataset.rules={Age:{mn:1}}", "did you mean 'min'?"),
        ("dataset.rules={Age:{min:9,max:1}}", "min 9 is greater than max 1"),
        ("dataset.numeric=[Age,Gender]", "column 'Gender' has two roles"),
        ("dataset=csv", "dataset.path must be a file or a list of files, got None"),
        ("dataset=sql", "dataset.url must be a SQLAlchemy address"),
        ("model=svm,knn", "several values make a grid; say `segexp sweep`"),
        ("model", "expected key=value"),
        ("model=null", "model takes the name of an option"),
        ("dataset.target=Annual Income (k$)", "Hydra's grammar rejects this word"),
        ("hydra.run.dir=x", "run.outputs=DIR"),
        ("hydra/launcher=joblib", "engine.n_jobs=N"),
        ("hydra.sweeper.n_trials=3", "search=..."),
        ("+hydra.foo=1", "segexp composes with Hydra but owns running"),
        ("run.outputs=${run.nme}", "Interpolation key 'run.nme' not found"),
        ("~model.space.zzz", "no config key 'model.space.zzz'"),
        ("search=tpee", "did you mean 'tpe'?"),
        (
            "search.name=tpe",
            "search.name=tpe does not fit search.sampler=none; choose both by sear",
        ),
        ("search.sampler=gp", "search.name=none does not fit search.sampler=gp; choose both by se"),
        ("search.n_trials=9", "search.n_trials=9 needs a search, for example search=tpe"),
        ("search.models=[svm]", "search.models needs search=auto, got search=none"),
        ("search.candidates.svm.estimator.cv=5", "search.candidates needs search=auto"),
        ("search.candidates=null", "search.candidates must be a mapping, got None"),
        ("n_trials=9", "did you mean 'search.n_trials'?"),
    ],
)
def test_a_wrong_word_gets_one_line_that_helps(word, message):
    with pytest.raises(ConfigError) as caught:
        load(word)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("search.sampler=random", "does not fit search.sampler=random; choose both by search=rand"),
        ("search.pruner=medain", "did you mean 'median'?"),
        ("search.n_trials=0", "search.n_trials must be 1 or more, got 0"),
        ("search.n_trials=many", "search.n_trials must be a whole number, got 'many'"),
        ("search.inner_splits=1", "search.inner_splits must be 2 or more, got 1"),
        ("search.window=0", "search.window must be 1 or more, got 0"),
        ("search.grid_points=1", "search.grid_points must be 2 or more, got 1"),
        ("search.early_stopping=0", "search.early_stopping must be 1 or more, got 0"),
        ("search.early_stopping_share=1", "must lie between 0 and 1, got 1.0"),
        ("search.timeout=soon", "a duration such as 90s, 10m, 2h or 1h30m, or a number of seconds"),
        ("search.timeout=1h30", "search.timeout must be a duration such as 90s"),
        ("search.timeout=0s", "search.timeout must be a duration such as 90s"),
        ("search.trial_timeout=-5", "search.trial_timeout must be a duration such as 90s"),
        ("search.objectives=[log_loss,log_loss]", "search.objectives names a metric twice"),
        ("search.objectives=[accuracy,log_loss]", "say search.pruner=none"),
        ("search.constraints={accuracy:0.5}", "must be a mapping such as {min: 0.5} or {max: 1}"),
        ("search.constraints={accuracy:{mn:1}}", "did you mean 'min'?"),
        ("search.constraints.accuracy.min=high", "accuracy.min must be a number, got 'high'"),
        ("search.constraints={accuracy:{min:1,max:0}}", "min 1 is greater than max 0"),
    ],
)
def test_a_wrong_word_for_a_search_gets_one_line_that_helps(words, message):
    with pytest.raises(ConfigError) as caught:
        load("search=tpe", words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("600", 600), ("1.5m", 90)],
)
def test_a_duration_in_seconds(text, seconds):
    search = load("search=tpe", f"search.timeout={text}", f"search.trial_timeout={text}").search
    assert (search.timeout_s, search.trial_timeout_s) == (seconds, seconds)


def test_no_duration_is_no_limit():
    assert load("search=tpe").search.timeout_s is None


@pytest.mark.parametrize("name", ["grid", "random", "tpe", "gp", "cmaes", "auto"])
def test_the_number_of_trials_can_be_said_with_every_search(name):
    assert load(f"search={name}", "search.n_trials=40").search.n_trials == 40


def test_only_none_and_k_make_no_trials():
    assert [
        n for n in list_options("search", SHIPPED) if not load(f"search={n}").search.searches
    ] == ["k", "none"]


def test_the_hash_knows_the_search():
    assert config_hash(load("search=tpe")) != config_hash(load("search=tpe", "search.window=1"))


SVM = ("search=auto", "search.models=[svm,xgboost]")


def test_auto_takes_the_models_with_their_defaults_and_seeds():
    candidates = load(*SVM, "run.seed=7").search.candidates
    expected = {name: asdict(load(f"model={name}", "run.seed=7").model) for name in candidates}
    assert candidates == expected and list(candidates) == ["svm", "xgboost"]


def test_auto_reads_back_to_an_equal_config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(config_to_yaml(load("search=auto")), encoding="utf-8")
    assert read_config(path) == load("search=auto")


def test_a_word_changes_a_candidate():
    words = (*SVM, "search.candidates.xgboost.space.max_depth.high=5")
    assert load(*words).search.candidates["xgboost"]["space"]["max_depth"]["high"] == 5


def test_a_tilde_takes_a_parameter_out_of_the_space_of_a_candidate():
    words = (*SVM, "~search.candidates.xgboost.space.max_depth")
    assert "max_depth" not in load(*words).search.candidates["xgboost"]["space"]


def test_a_fixed_parameter_leaves_the_space_of_its_candidate():
    svm = load(*SVM, "search.candidates.svm.estimator.estimator.C=3").search.candidates["svm"]
    assert svm["estimator"]["estimator"]["C"] == 3
    assert list(svm["space"]) == ["estimator__gamma"]


def test_auto_takes_a_users_model_first(own_conf):
    words = ["search=auto", "search.models=[svm,mine]"]
    candidates = load_config(words, find_conf_dirs(str(own_conf))).search.candidates
    tree = {"_target_": "sklearn.tree.DecisionTreeClassifier"}
    assert [candidate["estimator"] for candidate in candidates.values()] == [tree, tree]
    assert candidates["mine"]["space"] == {}


def test_auto_may_be_told_one_of_its_models():
    assert list(load(*SVM, "model=svm").search.candidates) == ["svm", "xgboost"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search.models=[lightgmb]"], "did you mean 'lightgbm'?; model options: "),
        (["search.models=[]"], "search.models must name one model or more, got []"),
        (["search.models=null"], "search.models must be a list, for example [a,b], got None"),
        (["search.models=[svm,svm]"], "search.models names a model twice: ['svm', 'svm']"),
        (["search.sampler=none"], "needs search.sampler to be random, tpe, gp or cmaes, got none"),
        (["search.sampler=grid"], "needs search.sampler to be random, tpe, gp or cmaes, got grid"),
        (["model=knn"], "model=knn: search=auto tries the models of search.models"),
        (["model.estimator.C=3"], "for example search.candidates.lightgbm.estimator.C"),
        (["search.candidates.xgbost.estimator.x=3"], "no 'xgbost'; did you mean 'xgboost'?"),
        (["search.candidates.xgboost.spac.x=3"], "did you mean 'model.space'?"),
        (["search.candidates.xgboost=3"], "search.candidates.xgboost must be a mapping, got 3"),
        (["search.candidates={xgboost:{}}", "search.models=svm"], "is filled in from search.mod"),
        (["search.candidates.xgboost.task=ranking"], "search.candidates.xgboost: model.task must"),
    ],
)
def test_a_wrong_word_for_auto_gets_one_line_that_helps(words, message):
    with pytest.raises(ConfigError) as caught:
        load("search=auto", *words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recorded_auto_without_a_candidate_is_refused():
    content = yaml.safe_load(config_to_yaml(load(*SVM)))
    del content["search"]["candidates"]["svm"]
    with pytest.raises(ConfigError, match=r"search\.candidates lacks 'svm'"):
        config_from_dict(content)


def test_an_unknown_section_of_a_recorded_config_is_refused():
    content = yaml.safe_load(config_to_yaml(load()))
    with pytest.raises(ConfigError, match="no config section 'modell'; did you mean 'model'"):
        config_from_dict({**content, "modell": {}})


def test_a_value_that_must_be_given_is_named(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("estimator: {_target_: sklearn.svm.SVC}\n")
    with pytest.raises(ConfigError, match=r"^model.name must be given$"):
        load_config(["model=mine"], (tmp_path, *SHIPPED))


@pytest.fixture
def own_conf(tmp_path):
    """A user's folder that adds a model and shadows a shipped one."""
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    text = "# mine\nname: {name}\nestimator: {{_target_: sklearn.tree.DecisionTreeClassifier}}\n"
    for name in ("mine", "svm"):
        (folder / f"{name}.yaml").write_text(text.format(name=name))
    return tmp_path / "conf"


def test_a_users_option_is_found_beside_the_work(own_conf, monkeypatch):
    monkeypatch.chdir(own_conf.parent)
    assert load_config(["model=mine"], find_conf_dirs()).model.name == "mine"


def test_a_users_option_shadows_the_shipped_one(own_conf):
    config = load_config(["model=svm"], find_conf_dirs(str(own_conf)))
    assert config.model.estimator == {"_target_": "sklearn.tree.DecisionTreeClassifier"}


def test_a_users_option_is_gone_with_the_folder(own_conf):
    load_config(["model=mine"], find_conf_dirs(str(own_conf)))
    with pytest.raises(ConfigError, match="no such option"):
        load("model=mine")


def test_a_missing_config_dir_is_an_error():
    with pytest.raises(ConfigError, match="--config-dir nowhere: there is no such folder"):
        find_conf_dirs("nowhere")


def test_an_option_that_is_not_yaml_is_one_line(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bad.yaml").write_text("name: [unclosed\n")
    with pytest.raises(ConfigError, match=re.compile(r"bad.yaml.*\Z")) as caught:
        load_config(["model=bad"], (tmp_path, *SHIPPED))
    assert "\n" not in str(caught.value)


def test_commas_ranges_and_globs_make_a_grid():
    words = ["model=glob(l*)", "run.seed=range(0,2)", "preprocessing=minimal,standard"]
    cells = expand_grid(words, SHIPPED)
    assert len(cells) == 8
    assert cells[1] == ["model=lightgbm", "run.seed=0", "preprocessing=standard"]


def test_words_without_choices_are_one_cell():
    assert expand_grid(["model=svm", "dataset.ignore=[a,b]"], SHIPPED) == [
        ["model=svm", "dataset.ignore=[a,b]"]
    ]


def test_a_list_is_no_grid():
    assert not is_grid(["dataset.ignore=[a,b]"])


def test_a_glob_that_matches_nothing_is_an_error():
    with pytest.raises(ConfigError, match="matches nothing"):
        expand_grid(["model=glob(zzz*)"], SHIPPED)


def test_an_interval_points_to_the_space():
    with pytest.raises(ConfigError, match="a range belongs to the model's space"):
        expand_grid(["model.estimator.learning_rate=interval(0,1)"], SHIPPED)


@pytest.mark.parametrize("words", ["--help", "options", "_complete run model.", "completion bash"])
def test_quick_commands_do_not_import_the_scientific_stack(words):
    heavy = ("pandas", "sklearn", "matplotlib", "optuna", "lightgbm", "xgboost", "numpy", "scipy")
    code = (
        "import sys\nfrom segexp.cli import main\n"
        f"main({words.split()!r})\n"
        f"print(*(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"


def test_a_column_may_be_named_by_a_number():
    config = load("dataset.rules={2020:{min:0}}", "dataset.ordinal={2021:[a,b]}")
    assert config.dataset.rules["2020"] == {"min": 0}
    assert config.dataset.ordinal["2021"] == ["a", "b"]


def test_generated_customers_cannot_lose_their_label():
    with pytest.raises(ConfigError, match=r"dataset\.synthetic must be true"):
        load("dataset.synthetic=false")


def test_a_group_is_chosen_without_a_plus():
    with pytest.raises(ConfigError, match="say model=svm to choose another one"):
        load("+model=svm")


def test_the_config_of_another_hydra_project_does_no_harm(tmp_path):
    (tmp_path / "config.yaml").write_text("defaults:\n  - db: mysql\n")
    assert load_config([], (tmp_path, *SHIPPED)).model.name == "lightgbm"


def test_an_address_to_download_from_cannot_carry_the_environment_away(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "evil.yaml").write_text(
        "name: evil\npath: a.csv\ndownloads:\n"
        "  a.csv: {sha256: 00, urls: ['http://127.0.0.1:1/?k=${oc.env:HOME}']}\n"
    )
    with pytest.raises(ConfigError, match="downloads must be written out"):
        load_config(["dataset=evil"], (tmp_path, *SHIPPED))


def test_processes_and_threads_do_not_change_the_hash():
    assert config_hash(load("engine.threads=2", "engine.n_jobs=2")) == config_hash(load())


def test_a_folder_is_no_option(tmp_path):
    (tmp_path / "model" / "dir.yaml").mkdir(parents=True)
    assert "dir" not in list_options("model", (tmp_path, *SHIPPED))


def test_an_option_in_another_encoding_still_has_a_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("# für alle Kunden\n".encode("latin-1"))
    assert describe_option(path).endswith("alle Kunden")
