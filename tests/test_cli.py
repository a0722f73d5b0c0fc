import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import segexp.runs as runs
from segexp.cli import main
from segexp.cli.completion import complete
from segexp.cli.console import age, clean
from segexp.cli.run import with_recorded

FAILING = [
    "+preprocessing.reduction.pca._target_=sklearn.decomposition.PCA",
    "+preprocessing.reduction.pca.n_components=500",
]
QUICK = ["dataset.n_customers=200", "evaluation.n_splits=2", "evaluation.importance_repeats=1",
         "model=decision_tree", "engine.n_jobs=1"]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("original")):
        assert main(["run", *QUICK]) == 0
        (path,) = runs.find_runs(Path("outputs"))
        return path.resolve()


@pytest.fixture
def finished(original, here):
    """A finished run that a test may change."""
    return shutil.copytree(original, here / "outputs" / "demo" / original.name)


def test_run_prints_the_table_and_the_next_commands(here, capsys):
    assert main(["run", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "synthetic customers" in out
    assert "accuracy" in out
    assert "majority" in out
    assert "logistic_regression" in out
    assert "segexp show outputs/demo/" in out


def test_the_printed_next_commands_are_commands(here, capsys):
    main(["run", *QUICK])
    lines = capsys.readouterr().out.split("next:")[1].splitlines()
    commands = [line.split("#")[0].strip() for line in lines if line.strip()]
    assert commands[0].startswith("segexp show")
    assert main(shlex.split(commands[0])[1:]) == 0
    assert main(["plan", *shlex.split(commands[2])[2:]]) == 0


def test_run_refuses_a_grid_and_names_sweep(capsys):
    assert main(["run", "model=svm,knn"]) == 2
    assert "segexp sweep" in capsys.readouterr().err


def test_sweep_runs_every_cell_and_prints_one_table(here, capsys):
    assert main(["sweep", *QUICK[:3], QUICK[-1], "model=dummy,decision_tree"]) == 0
    out = capsys.readouterr().out
    assert len(runs.find_runs(here / "outputs")) == 2
    table = out.split("on held-out rows, best first")[1]
    assert table.index("model=decision_tree") < table.index("model=dummy")


def test_run_m_is_sweep(here):
    assert main(["run", "-m", *QUICK, "run.seed=0,1"]) == 0
    assert len(runs.find_runs(here / "outputs")) == 2


def test_a_failed_cell_does_not_stop_the_rest(here, capsys):
    words = [*QUICK, FAILING[0], "+preprocessing.reduction.pca.n_components=500,2"]
    assert main(["sweep", *words]) == 1
    statuses = [runs.open_run(path).status for path in runs.find_runs(here / "outputs")]
    assert sorted(statuses) == ["completed", "failed"]
    assert "failed" in capsys.readouterr().out


def test_a_sweep_with_a_wrong_cell_runs_nothing(here, capsys):
    assert main(["sweep", *QUICK, "evaluation.n_splits=3,1"]) == 2
    assert "evaluation.n_splits must be 2 or more" in capsys.readouterr().err
    assert not (here / "outputs").exists()


def test_a_failed_run_is_exit_code_1_and_one_line(capsys):
    assert main(["run", *QUICK, *FAILING]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "failed: ValueError" in err


def test_plan_runs_nothing_and_says_what_would_be(here, capsys):
    assert main(["plan", "model=lightgbm"]) == 0
    out = capsys.readouterr().out
    assert "6 of the model, beside 2 baseline(s)" in out
    assert "model.space.num_leaves" in out
    assert not (here / "outputs").exists()


def test_plan_of_a_grid_names_every_wrong_cell_and_exits_2(capsys):
    assert main(["plan", "model=svm,knn", "evaluation.n_splits=5,1"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("wrong: evaluation.n_splits must be 2 or more") == 2
    assert "2 of 4 cells are wrong" in captured.err


def test_plan_says_what_is_done_already(finished, capsys):
    assert main(["plan", *QUICK]) == 0
    assert finished.name in capsys.readouterr().out


def test_config_prints_what_a_run_would_record(finished, capsys):
    assert main(["config", *QUICK]) == 0
    assert capsys.readouterr().out == (finished / runs.CONFIG).read_text()


def test_options_lists_groups_and_descriptions(capsys):
    assert main(["options"]) == 0
    out = capsys.readouterr().out
    assert "hist_gradient_boosting" in out
    assert main(["options", "modle"]) == 2
    assert "did you mean 'model'" in capsys.readouterr().err


def test_ls_lists_runs_with_status_and_metric(finished, capsys):
    assert main(["ls"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if finished.name in line)
    assert "completed" in line
    assert "accuracy" in line


def test_ls_of_nothing_says_how_to_begin(here, capsys):
    (here / "outputs").mkdir()
    assert main(["ls"]) == 0
    assert "no runs in outputs yet" in capsys.readouterr().out


def test_ls_says_in_one_line_what_it_cannot_read(finished, here, capsys):
    broken = here / "outputs" / "demo" / "broken"
    broken.mkdir()
    (broken / runs.MANIFEST).write_text('{"schema_version": 1')
    assert main(["ls"]) == 0
    out = capsys.readouterr().out
    assert "not readable: " in out
    assert finished.name in out


def test_show_shows_a_run_in_full(finished, capsys):
    assert main(["show", str(finished)]) == 0
    out = capsys.readouterr().out
    for words in ("completed", "segexp run", "confusion", "calibration_error", "fingerprint",
                  "model/pipeline.skops"):  # fmt: skip
        assert words in out


def test_show_of_a_failed_run_says_the_cause(here, capsys):
    main(["run", *QUICK, *FAILING])
    (path,) = runs.find_runs(here / "outputs")
    assert main(["show", str(path)]) == 0
    assert "cause: ValueError" in capsys.readouterr().out


def test_show_of_a_folder_that_is_no_run_is_exit_code_2(here, capsys):
    assert main(["show", str(here)]) == 2
    assert "is not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (runs.SUMMARY, "{"),
        (runs.SUMMARY, "[]"),
        (runs.SUMMARY, '{"accuracy": 3}'),
        (runs.SUMMARY, '{"accuracy": {"mean": "x", "std": 0, "interval": [1, 2], "n": 5}}'),
        (runs.MANIFEST, '{"schema_version": 1, "status": "completed"}'),
        (runs.MANIFEST, '{"schema_version": 1, "status": "completed", "dataset": 3}'),
        (runs.PREDICTIONS, "not parquet"),
        (runs.BASELINES, "\x00\x00"),
    ],
)
def test_a_damaged_run_is_one_line(finished, capsys, file, content):
    (finished / file).write_text(content)
    assert main(["show", str(finished)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["ls"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"git": "x"},
        {"segments": {"A": "x"}},
        {"tags": [3]},
        {"warnings": 3},
        {"start": None},
        {"metric": ["x"]},
        {"dataset": {"findings": [3]}},
        {"dataset": {"roles": {"x": 3}}},
        {"split": None},
    ],
    ids=str,
)
def test_a_foreign_manifest_is_one_line(finished, capsys, change):
    manifest = json.loads((finished / runs.MANIFEST).read_text())
    for key, value in change.items():
        manifest[key] = {**manifest[key], **value} if key == "dataset" else value
    (finished / runs.MANIFEST).write_text(json.dumps(manifest))
    assert main(["show", str(finished)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["ls"]) == 0
    assert "not readable" in capsys.readouterr().out


def test_a_run_without_its_command_is_one_line(finished, capsys):
    (finished / runs.OVERRIDES).unlink()
    assert main(["show", str(finished)]) == 2
    assert "overrides.txt cannot be read" in capsys.readouterr().err


def test_ls_and_sweep_say_what_is_synthetic(finished, capsys):
    main(["ls"])
    assert "synthetic customers" in capsys.readouterr().out
    main(["sweep", *QUICK])
    assert "synthetic customers" in capsys.readouterr().out


def test_next_commands_leave_out_what_was_said_of_this_model(capsys):
    assert main(["run", *QUICK, "model.estimator.max_depth=3"]) == 0
    lines = capsys.readouterr().out.split("next:")[1].splitlines()
    other = shlex.split(next(line for line in lines if "another model" in line).split("#")[0])
    kept = [word for word in QUICK if not word.startswith("model")]
    assert other == ["segexp", "run", *kept, "model=random_forest"]


def test_a_run_like_another_has_its_words_but_for_those_typed(finished, here, capsys):
    words = ["--like", str(finished), "model=decision_tree", "run.seed=7"]
    assert main(["run", *words, "run.outputs=mine"]) == 0
    (path,) = runs.find_runs(here / "mine")
    kept = [word for word in QUICK if not word.startswith(("model", "run.seed", "engine"))]
    recorded = shlex.split(runs.open_run(path).read_overrides())[2:]
    assert recorded == [*kept, *words[2:], "run.outputs=mine"]


@pytest.mark.parametrize(
    "word",
    ["run.packages=[evil]", "+run.packages=[evil]", "'run={packages: [evil]}'", "run.outputs=far",
     "engine=dask", "engine.address=tcp://evil:1", "--config-dir evil"],
)  # fmt: skip
def test_where_code_and_results_are_is_never_taken_from_a_run(word, finished, tmp_path):
    stranger = shutil.copytree(finished, tmp_path / "stranger")
    overrides = stranger / runs.OVERRIDES
    overrides.write_text(overrides.read_text().rstrip() + f" {word}\n")
    taken = with_recorded(["model=svm"], None, str(stranger))
    assert taken == with_recorded(["model=svm"], None, str(finished))


def test_another_way_to_evaluate_keeps_the_groups_of_a_run(finished, tmp_path):
    other = shutil.copytree(finished, tmp_path / "other")
    (other / runs.OVERRIDES).write_text("segexp run evaluation.group=household model.task=x\n")
    words, _ = with_recorded(["evaluation=repeated_cv", "model=svm"], None, str(other))
    assert words == ["evaluation.group=household", "evaluation=repeated_cv", "model=svm"]


def test_an_experiment_takes_no_words_of_a_run(finished, capsys):
    assert main(["plan", "--like", str(finished), "experiment=mall"]) == 2
    assert "leave --like out" in capsys.readouterr().err


def test_a_damaged_command_of_a_run_is_one_line(finished, tmp_path, capsys):
    damaged = shutil.copytree(finished, tmp_path / "damaged")
    (damaged / runs.OVERRIDES).write_text("segexp run 'model=svm\n")
    assert main(["plan", "--like", str(damaged)]) == 2
    assert "is damaged: No closing quotation" in capsys.readouterr().err


def test_many_words_are_not_repeated_by_the_next_commands(here, capsys):
    many = [*QUICK, f"run.tags=[{','.join(['monday'] * 25)}]"]
    assert main(["run", *many]) == 0
    lines = capsys.readouterr().out.split("next:")[1].splitlines()
    other = shlex.split(next(line for line in lines if "another model" in line).split("#")[0])
    (path,) = runs.find_runs(Path("outputs"))
    own = [word for word in QUICK if word.startswith("engine")]
    assert other == ["segexp", "run", "--like", str(path), *own, "model=random_forest"]


def test_a_config_dir_is_part_of_the_recorded_command(here, capsys):
    (here / "mine" / "model").mkdir(parents=True)
    text = "# mine\nname: mine\nestimator: {_target_: sklearn.tree.DecisionTreeClassifier}\n"
    (here / "mine" / "model" / "mine.yaml").write_text(text)
    assert main(["run", QUICK[0], "model=mine", "--config-dir", "mine"]) == 0
    (path,) = runs.find_runs(here / "outputs")
    assert main(shlex.split(runs.open_run(path).read_overrides())[1:]) == 0


def test_a_metric_of_one_segment_can_rank_and_is_shown(capsys):
    assert main(["run", *QUICK, "evaluation.metric='recall[A]'"]) == 0
    assert "recall[A]" in capsys.readouterr().out


@pytest.mark.parametrize("downloads", ["[a]", "{x: 3}", "{3: {sha256: a, urls: [b]}}"])
def test_an_odd_data_set_does_not_hide_the_others(here, capsys, downloads):
    (here / "conf" / "dataset").mkdir(parents=True)
    (here / "conf" / "dataset" / "odd.yaml").write_text(f"name: odd\ndownloads: {downloads}\n")
    assert main(["data", "ls"]) == 0
    assert "automobile" in capsys.readouterr().out
    assert main(["data", "fetch", "odd"]) == 2
    assert "dataset.downloads" in capsys.readouterr().err


def test_names_cannot_act_on_the_terminal(finished, capsys):
    manifest = json.loads((finished / runs.MANIFEST).read_text())
    manifest["name"] = "\x1b[2Jgone [red]x[/red]"
    (finished / runs.MANIFEST).write_text(json.dumps(manifest))
    assert main(["show", str(finished)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "gone [red]x[/red]" in out


def test_clean_replaces_control_characters():
    assert clean("a\x1b[2Jb\n") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_exit_code_130_and_says_so(here, number):
    """A real process gets a real signal while it fits."""
    words = ["dataset.n_customers=3000", "model=gradient_boosting", "engine.n_jobs=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "segexp", "run", *words, "model.estimator.n_estimators=2000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(600):
        if list(here.glob("outputs/demo/*/manifest.json")):
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (path,) = runs.find_runs(here / "outputs")
    assert err.startswith("segexp: interrupted; what was finished is kept in outputs/demo/")
    assert err.endswith(f"go on with: segexp resume outputs/demo/{path.name}\n")
    assert runs.open_run(path).status == "interrupted"


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m segexp options | head -1; echo ${{PIPESTATUS}}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.endswith("\n0\n")


def test_an_output_that_cannot_be_written_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "segexp", "config"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.stderr == "segexp: the output cannot be written: No space left on device\n"
    assert done.returncode == 2


def test_an_unknown_command_gets_a_suggestion(capsys):
    assert main(["rnu"]) == 2
    assert "'run'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "ls", "show", "options", "config", "sweep"])
def test_every_command_has_help_with_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"segexp {command}" in capsys.readouterr().out


def test_an_age_is_for_people():
    from datetime import UTC, datetime

    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    times = ("2026-01-02T11:59:50+00:00", "2026-01-02T11:00:00+00:00", "2025-12-31T12:00:00")
    assert [age(time, now) for time in times] == ["10 s", "1 h", "2 d"]
    assert age("yesterday", now) == "-"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pl"], ["plan"]),
        (["run", "model=light"], ["model=lightgbm"]),
        (["run", "model=svm,kn"], ["model=svm,knn"]),
        (["run", "model.estimator.num_l"], ["model.estimator.num_leaves="]),
        (["run", "model=knn", "model.estimator.n_n"], ["model.estimator.n_neighbors="]),
        (["run", "~model.space.num_l"], ["~model.space.num_leaves."]),
        (["run", "evaluation.metric=log"], ["evaluation.metric=log_loss"]),
        (["run", "evaluation.n_s"], ["evaluation.n_splits="]),
        (["run", "--conf"], ["--config-dir"]),
        (["options", "mod"], ["model"]),
        (["completion", "z"], ["zsh"]),
        (["data", "f"], ["fetch"]),
        (["data", "fetch", "mal"], ["mall"]),
        (["show", "out"], []),
        (["frobnicate", "x"], []),
        (["run", "model", "mod"], ["model=", "model."]),
    ],
)
def test_completion_knows_what_comes_next(words, expected):
    assert complete(words) == expected


def test_completion_of_show_walks_down_to_run_directories(finished):
    assert complete(["show", "o"]) == ["outputs/"]
    assert complete(["show", "outputs/"]) == ["outputs/demo/"]
    assert complete(["show", "outputs/demo/"]) == [f"outputs/demo/{finished.name}"]


def test_completion_finds_a_users_options(here):
    (here / "conf" / "model").mkdir(parents=True)
    (here / "conf" / "model" / "mine.yaml").write_text("# mine\n")
    assert complete(["run", "model=min"]) == ["model=mine", "model=minibatch_kmeans"]


def test_completion_of_another_shell_is_refused(capsys):
    assert main(["completion", "fish"]) == 2
    assert "bash and zsh" in capsys.readouterr().err


def in_shell(shell, script):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", script], env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("segexp pl", ["plan"]),
        ("segexp run model=light", ["lightgbm"]),  # readline broke the word at "="
        ("segexp run evaluation.n_s", ["evaluation.n_splits="]),
    ],
)
def test_bash_completes(line, expected):
    script = f"""
        eval "$(segexp completion bash)"; compopt() {{ :; }}
        COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)}; _segexp
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert in_shell("bash", script) == expected


def test_zsh_completes():
    script = """
        compdef() { :; }; compadd() { shift $(( ${@[(i)--]} )); print -l -- "$@" }
        eval "$(segexp completion zsh)"
        words=(segexp run model=light); CURRENT=3; _segexp
    """
    assert in_shell("zsh", script) == ["model=lightgbm"]


def test_data_ls_says_where_each_data_set_is(capsys, monkeypatch, data_dir):
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(data_dir))
    assert main(["data", "ls"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "generated" in lines["demo"]
    assert "in SEGEXP_DATA_DIR" in lines["automobile"]
    assert "your own file" in lines["csv"]


def test_data_ls_says_what_is_not_here(capsys, monkeypatch):
    monkeypatch.delenv("SEGEXP_DATA_DIR", raising=False)
    assert main(["data", "ls"]) == 0
    assert "not here yet (2 of 2 file(s) to fetch)" in capsys.readouterr().out


def test_data_fetch_without_network_is_exit_code_2(capsys, monkeypatch):
    monkeypatch.delenv("SEGEXP_DATA_DIR", raising=False)
    assert main(["data", "fetch", "mall"]) == 2
    assert "mall/Mall_Customers.csv" in capsys.readouterr().err


def test_data_fetch_of_an_unknown_data_set_gets_a_suggestion(capsys):
    assert main(["data", "fetch", "automobil"]) == 2
    assert "did you mean 'automobile'" in capsys.readouterr().err


@pytest.fixture
def shop(here):
    """A web server with one file, and a data set that is fetched from it."""
    import hashlib
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    (here / "www").mkdir()
    content = b"id,age,segment\n" + b"".join(b"%d,%d,%c\n" % (i, i, 65 + i % 2) for i in range(40))
    (here / "www" / "shop.csv").write_bytes(content)
    handler = lambda *args: Quiet(*args, directory=str(here / "www"))  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (here / "conf" / "dataset").mkdir(parents=True)
    (here / "conf" / "dataset" / "shop.yaml").write_text(
        "# a shop\nname: shop\npath: shop/shop.csv\nid: id\ntarget: segment\ndownloads:\n"
        f"  shop/shop.csv: {{sha256: {hashlib.sha256(content).hexdigest()}, "
        f"urls: ['http://127.0.0.1:{server.server_port}/shop.csv']}}\n"
    )
    yield
    server.shutdown()
    server.server_close()


def test_a_fetched_data_set_runs_offline(shop, monkeypatch, capsys):
    monkeypatch.delenv("SEGEXP_OFFLINE", raising=False)
    assert main(["data", "fetch", "shop"]) == 0
    monkeypatch.setenv("SEGEXP_OFFLINE", "1")
    assert main(["data", "ls"]) == 0
    assert "in the cache" in capsys.readouterr().out
    assert main(["run", "dataset=shop", "model=dummy", *QUICK[1:3], "engine.n_jobs=1"]) == 0


def test_run_says_when_a_baseline_is_as_good(capsys):
    words = ["evaluation.n_splits=5", "model.estimator.max_depth=1", "dataset.ignore=[Age]",
             "dataset.numeric=[Work_Experience,Family_Size]"]  # fmt: skip
    assert main(["run", *QUICK, *words]) == 0
    assert "decision_tree is not better than the baseline" in capsys.readouterr().out


def test_a_run_that_goes_on_still_shows_what_it_had_come_to(finished, capsys):
    manifest = json.loads((finished / runs.MANIFEST).read_text())
    (finished / runs.MANIFEST).write_text(json.dumps(manifest | {"status": "interrupted"}))
    assert main(["show", str(finished)]) == 0
    out = capsys.readouterr().out
    assert "before it went on" in out and "balanced_accuracy" in out
    assert f"go on with: segexp resume {finished}" in out
