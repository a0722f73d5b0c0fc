import re
import subprocess
import sys

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
    ],
)
def test_a_wrong_word_gets_one_line_that_helps(word, message):
    with pytest.raises(ConfigError) as caught:
        load(word)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


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
