"""``segexp compare`` and ``segexp diff``: what people read, and what they can do with it."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from segexp.cli import main
from segexp.cli.compare_view import Column, fit, print_next, probability, short_names
from segexp.cli.completion import complete
from segexp.cli.export import FORMATS, defused
from segexp.comparison.compare import compare
from segexp.comparison.entries import Problem
from segexp.comparison.reading import gather
from segexp.runs import SWEEP

MANIFEST = {
    "schema_version": 1, "status": "completed", "task": "classification", "name": None, "tags": [],
    "config_hash": "12345678",
    "dataset": {
        "name": "shop", "synthetic": False, "fingerprint": "f" * 64, "n_rows": 500,
        "n_rows_read": 500, "n_features": 2, "roles": {"numeric": ["age", "spend"]}, "files": [],
        "findings": [],
    },
    "preprocessing": "standard", "model": "lightgbm", "search": "none",
    "segments": {"calm": 250, "hip": 250},
    "split": {
        "protocol": "cv", "n_splits": 5, "n_repeats": 1, "test_size": None, "group": None,
        "split_seed": 0, "hash": "0123456789abcdef",
    },
    "seed": 0, "metric": "accuracy", "confidence": 0.95,
    "versions": {"python": "3.11.7", "segexp": "0.1.0"}, "platform": "Linux", "git": None,
    "process": None, "start": "2026-11-21T19:07:02+00:00", "seconds": 1.0,
}  # fmt: skip
# Folds differ in level; what two runs differ by is nearly the same on each of them.
LEVELS = (0.70, 0.74, 0.66, 0.72, 0.68)
JITTER = (0.0, 0.002, -0.001, 0.001, -0.002)
HOSTILE = "=cmd|' /C calc'!A0\x1b[31m<script>alert(1)</script>$x_{1}$"


def make_run(folder, name, gain=0.0, *, config=None, manifest=None, extra=None, files=None):
    """Write a run directory; ``gain`` is how much better than the others it is on each fold."""
    path = Path(folder, name)
    path.mkdir(parents=True)
    model = (manifest or {}).get("model", "lightgbm")
    values = [
        level + gain + math.copysign(1, gain) * jitter
        for level, jitter in zip(LEVELS, JITTER, strict=True)
    ]
    scores = [f"0,{i},accuracy,{v!r}" for i, v in enumerate(values)]
    scores += [f"0,{i},log_loss,{1 - v!r}" for i, v in enumerate(values)]
    scores += [f"0,{i},{metric},{v!r}" for metric, v in (extra or {}).items() for i in range(5)]
    mean = sum(values) / 5
    entry = {"mean": mean, "std": 0.03, "interval": [mean - 0.04, mean + 0.04], "n": 5}
    # Runs of one start and config are copies of each other.
    own = {"config_hash": f"{zlib.crc32(str(path).encode()):08x}"}
    content = {
        "manifest.json": json.dumps(MANIFEST | own | (manifest or {})),
        "config.yaml": yaml.safe_dump({"model": {"name": model}, **(config or {})}),
        "overrides.txt": "segexp run\n",
        "summary.json": json.dumps({"accuracy": entry, "log_loss": entry}),
        "scores.csv": "\n".join(["repeat,fold,metric,value", *scores]) + "\n",
        "baselines.csv": "baseline,repeat,fold,metric,value\n"
        + "".join(f"dummy,0,{i},accuracy,0.5\n" for i in range(5)),
        "timings.csv": "repeat,fold,fit_seconds,predict_seconds\n"
        + "".join(f"0,{i},0.5,0.1\n" for i in range(5)),
        **(files or {}),
    }
    for file, text in content.items():
        if text is not None:
            (path / file).write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def three(here):
    """Two runs that are nearly alike, and one that is worse on every fold."""
    make_run("outputs", "a", 0.05, manifest={"model": "lightgbm"})
    make_run("outputs", "b", 0.0495, manifest={"model": "xgboost"},
             files={"scores.csv": _scores((0.752, 0.788, 0.712, 0.768, 0.73))})  # fmt: skip
    make_run("outputs", "c", -0.05, manifest={"model": "knn"}, config={"depth": 3})
    return here


def _scores(values):
    lines = [f"0,{i},accuracy,{v!r}" for i, v in enumerate(values)]
    return "\n".join(["repeat,fold,metric,value", *lines]) + "\n"


def said(capsys):
    return capsys.readouterr().out


def line_of(text, start):
    return next(line for line in text.splitlines() if line.strip().startswith(start))


# --------------------------------------------------------------------------------------
# The table


def test_the_best_stands_first(three, capsys):
    assert main(["compare"]) == 0
    text = said(capsys)
    assert text.index("lightgbm") < text.index("xgboost") < text.index("knn")


def test_only_what_is_not_separable_has_the_mark(three, capsys):
    assert main(["compare"]) == 0
    text = said(capsys)
    assert " = " in line_of(text, "2 ")
    assert " = " not in line_of(text, "3 ")


def test_words_say_what_the_marks_mean(three, capsys):
    assert main(["compare"]) == 0
    assert (
        "1 of the 2 other runs is not separable from the best (=): corrected resampled t-test, "
        "paired on 5 folds, Holm-corrected, level 0.05" in said(capsys)
    )


def test_a_run_that_was_not_tested_is_not_called_separable(three, capsys):
    Path("outputs/b/scores.csv").write_text(_scores([0.65, 0.692, 0.609, 0.671, 0.628]))
    assert main(["compare"]) == 0
    text = said(capsys)
    assert "every other run that was tested is separable from the best, lightgbm" in text
    assert "not tested against the best: xgboost" in text


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("accuracy", "kmeans misses: noise"), ("silhouette", "kmeans is no usable segmentation, and")],
)
def test_what_misses_a_constraint_is_said_to_stand_last_where_it_does(
    here, capsys, metric, expected
):
    for name, missed in (("kmeans", ["noise"]), ("birch", [])):
        made = {"task": "clustering", "model": name, "constraints_missed": missed}
        make_run("outputs", name, manifest=made, extra={"silhouette": 0.5})
    assert main(["compare", "--metric", metric]) == 0
    assert expected in said(capsys)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((0.9, 0.9), "90% interval"), ((0.9, 0.999), "interval (levels differ)")],
)
def test_the_level_of_an_interval_is_that_of_its_run(here, capsys, levels, expected):
    for name, level in zip("ab", levels, strict=True):
        make_run("outputs", name, manifest={"confidence": level, "model": name})
    assert main(["compare"]) == 0
    assert f" {expected} " in line_of(said(capsys), "rank")


def test_two_data_sets_of_one_name_have_two_titles(here, capsys):
    for letter in "ef":
        data = MANIFEST["dataset"] | {"fingerprint": letter * 64}
        make_run("outputs", letter, manifest={"dataset": data})
    assert main(["compare"]) == 0
    text = said(capsys)
    assert "shop eeeeeeee: " in text and "shop ffffffff: " in text


def test_what_the_label_says_is_no_column_also_with_all(here, capsys):
    make_run("outputs", "a", manifest={"model": "knn"})
    make_run("outputs", "b", manifest={"model": "svm"})
    assert main(["compare", "--all"]) == 0
    assert "name" not in line_of(said(capsys), "rank")


def test_baselines_stand_last_without_a_rank(three, capsys):
    assert main(["compare"]) == 0
    text = said(capsys)
    assert "0.5000" in line_of(text, "baseline dummy")
    assert text.index("baseline dummy") > text.index("knn")


def test_only_config_keys_that_differ_are_columns(here, capsys):
    make_run("outputs", "a", 0.1, config={"leaf": {"size": 3}, "same": 1})
    make_run("outputs", "b", 0.0, config={"leaf": {"size": 9}, "same": 1})
    assert main(["compare"]) == 0
    header = line_of(said(capsys), "rank")
    assert "size" in header and "same" not in header


def test_another_metric_ranks_and_says_which_way(three, capsys):
    assert main(["compare", "--metric", "log_loss"]) == 0
    assert "log_loss (less is better)" in said(capsys)


def test_differences_can_be_to_a_baseline(three, capsys):
    assert main(["compare", "--baseline", "dummy"]) == 0
    text = said(capsys)
    assert "+0.2500" in line_of(text, "1 ")
    assert "differences are to dummy; positive is better" in text


def test_all_shows_every_test(three, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["compare", "--all"]) == 0
    assert {"(Holm)", "p_equivalent", "p_worse"} <= set(line_of(said(capsys), "rank").split())


def test_other_folds_are_another_table_with_the_reason(three, capsys):
    split = MANIFEST["split"] | {"hash": "fedcba9876543210", "split_seed": 1}
    make_run("outputs", "d", 0.2, manifest={"split": split})
    assert main(["compare"]) == 0
    assert said(capsys).count("a table of its own: judged on other folds") == 2


def test_a_failed_run_is_listed_with_its_cause(three, capsys):
    make_run("outputs", "f", manifest={"status": "failed", "cause": "out of memory"})
    assert main(["compare"]) == 0
    text = said(capsys)
    assert "outputs/f: failed: out of memory" in text
    assert "segexp resume outputs/f" in text


def test_next_commands_name_real_runs(three, capsys):
    assert main(["compare"]) == 0
    text = said(capsys)
    assert "segexp show outputs/a " in text
    assert "segexp diff outputs/a outputs/b " in text
    assert "segexp compare outputs --html comparison.html" in text


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("failed", "segexp resume 'my sweep' --retry-failed "),
        ("interrupted", "segexp resume 'my sweep' "),
    ],
)
def test_a_cell_that_never_ran_is_resumed_by_its_sweep(three, capsys, status, expected):
    Path("my sweep").mkdir()
    Path("my sweep", SWEEP).touch()
    comparison = compare(*gather(["outputs"]))
    problem = Problem("my sweep [model=knn a=[1, 2]]", status, "out of memory")
    print_next(replace(comparison, problems=(problem,)), ["outputs"])
    assert f"  {expected}   # go on" in said(capsys)


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_a_table_fits_into_the_terminal(here, capsys, monkeypatch, width):
    for i in range(3):
        make_run("outputs", f"r{i}", i / 10, manifest={"name": "long " * 30 + str(i)},
                 config={f"key{j}": f"{'v' * 60}{i}" for j in range(40)})  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["compare"]) == 0
    table = said(capsys).split("\n\n")[0].splitlines()
    assert all(len(line) <= max(width, 40) for line in table[1:])
    assert any(line.lstrip().startswith("1 ") for line in table)


def test_what_does_not_fit_is_named(three, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["compare"]) == 0
    assert "left out for want of width: " in said(capsys)


def test_a_long_text_folds_and_loses_no_letter():
    columns = [Column("run", ("x" * 100,), is_number=False), Column("mean", ("0.5",))]
    kept, widths, left_out = fit(columns, 40)
    assert (len(kept), widths, left_out) == (2, [34, 4], [])


def test_without_a_terminal_nothing_is_left_out():
    columns = [Column(str(i), ("x" * 50,), leaves=1) for i in range(50)]
    assert len(fit(columns, None)[0]) == 50


def test_a_key_is_as_long_as_it_must_be():
    assert short_names(["model.a.C", "search.a.C", "model.k"]) == ["model.a.C", "search.a.C", "k"]


def test_a_small_probability_is_not_zero():
    assert [probability(p) for p in (0.0001, 0.0, 0.25, None)] == ["<0.001", "0.000", "0.250", "-"]


# --------------------------------------------------------------------------------------
# Other formats


def test_csv_has_a_line_for_each_run_and_baseline(three, capsys):
    assert main(["compare", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(said(capsys))))
    assert [row["run"] for row in rows] == ["lightgbm", "xgboost", "knn", "dummy"]
    assert float(rows[0]["mean"]) == pytest.approx(0.75)


def test_csv_says_how_it_was_tested(three, capsys):
    assert main(["compare", "--csv", "--alpha", "0.1"]) == 0
    first = next(csv.DictReader(io.StringIO(said(capsys))))
    facts = ("reference", "alpha", "confidence", "rope", "n_folds", "synthetic", "reason")
    assert [first[name] for name in facts] == [
        "lightgbm", "0.1", "0.95", "0.01", "5", "false", "",
    ]  # fmt: skip


def test_texts_of_csv_are_in_quotes_and_numbers_are_not(three, capsys):
    assert main(["compare", "--csv"]) == 0
    assert ',1,"lightgbm",' in said(capsys)


@pytest.mark.parametrize("name", ["md", "latex"])
def test_customers_that_are_made_up_are_told(here, capsys, name):
    make_run("outputs", "a", manifest={"dataset": MANIFEST["dataset"] | {"synthetic": True}})
    assert main(["compare", f"--{name}"]) == 0
    assert "synthetic customers" in said(capsys)


@pytest.mark.parametrize("name", ["md", "latex"])
def test_ranks_across_data_sets_are_a_table(here, capsys, name):
    for shop, letter in (("north", "a"), ("south", "b")):
        data = MANIFEST["dataset"] | {"name": shop, "fingerprint": letter * 64}
        for place, model in enumerate(("knn", "svm", "mlp")):
            made = {"model": model, "dataset": data}
            make_run("outputs", f"{shop}-{model}", place / 10, manifest=made)
    assert main(["compare", f"--{name}"]) == 0
    text = said(capsys)
    assert re.search(r"mlp\W+1\.00\W+1\.0\W+1\.0\W", text)


def test_markdown_names_what_it_leaves_out(here, capsys):
    for name in "ab":
        make_run("outputs", name, extra={"kappa": 0.5}, config={f"key{i}": name for i in range(9)})
    assert main(["compare", "--md"]) == 0
    assert "with --all: key6, key7, key8" in said(capsys)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_goes_to_the_file_that_is_named(three, capsys, name):
    file = f"table{FORMATS[name][0]}"
    assert main(["compare", "outputs", f"--{name}", file]) == 0
    written = Path(file).read_text()
    assert "rank" in said(capsys)  # the terminal has its table as well
    assert main(["compare", "outputs", f"--{name}"]) == 0
    assert said(capsys) == written


def test_a_file_that_is_there_is_not_replaced(three, capsys):
    Path("customers.csv").write_text("precious")
    assert main(["compare", "outputs", "customers.csv", "--csv"]) == 2
    assert "say --force" in capsys.readouterr().err
    assert Path("customers.csv").read_text() == "precious"


def test_a_file_that_is_there_is_replaced_by_force(three):
    Path("t.csv").write_text("old")
    assert main(["compare", "outputs", "--csv", "t.csv", "--force"]) == 0
    assert "lightgbm" in Path("t.csv").read_text()


def test_two_formats_cannot_both_be_printed(three, capsys):
    assert main(["compare", "--csv", "--json"]) == 2
    assert "one format at a time" in capsys.readouterr().err


def test_what_is_not_ranked_is_told_beside_csv(three, capsys):
    make_run("outputs", "f", manifest={"status": "failed", "cause": "out of memory"})
    assert main(["compare", "--csv"]) == 0
    told = capsys.readouterr()
    assert "outputs/f: failed: out of memory" in told.err
    assert "out of memory" not in told.out


def test_json_is_strict(three, capsys):
    make_run("outputs", "f", manifest={"status": "failed", "cause": "out of memory"})
    assert main(["compare", "--json"]) == 0

    def no_constant(name):
        raise AssertionError(name)

    content = json.loads(said(capsys), parse_constant=no_constant)
    assert content["problems"][0]["cause"] == "out of memory"
    assert [row["rank"] for row in content["tables"][0]["rows"]] == [1, 2, 3, None]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "=\n1"]
)
def test_a_text_is_no_formula(text):
    assert defused(text).startswith("'")


@pytest.mark.parametrize("text", ["a;=1+1", "a\t=1+1", "a; -1", 'a;"=1'])
def test_no_part_of_a_text_is_a_formula(text):
    assert re.search(r"""^a[;\ufffd][" ]?'[=-]""", defused(text))


@pytest.mark.parametrize("value", [-0.5, 3, 1e-9])
def test_a_number_stays_a_number(value):
    assert defused(value) == value


@pytest.fixture
def hostile(three):
    """A run whose name, config and segments mean harm."""
    for path in Path("outputs").glob("*/manifest.json"):  # else it has a table of its own
        path.write_text(json.dumps(json.loads(path.read_text()) | {"segments": {HOSTILE: 3}}))
    make_run(
        "outputs", "h", 0.2, manifest={"name": HOSTILE, "segments": {HOSTILE: 3}},
        config={HOSTILE: HOSTILE, "text": "[a](javascript:alert) | b"},
        extra={f"recall[{HOSTILE}]": 0.5},
    )  # fmt: skip
    return three


@pytest.mark.parametrize("words", [[], ["--all"], *([f"--{name}"] for name in FORMATS)])
def test_no_control_character_comes_out(hostile, capsys, words):
    assert main(["compare", *words]) == 0
    told = capsys.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", told.out + told.err)


def test_no_cell_of_csv_is_a_formula(hostile, capsys):
    assert main(["compare", "--csv", "--all"]) == 0
    cells = [cell for row in csv.reader(io.StringIO(said(capsys))) for cell in row]
    assert any(cell.startswith("'=cmd") for cell in cells)
    assert all(_is_harmless(cell) for cell in cells)


def _is_harmless(cell):
    return cell[:1] not in tuple("=+-@\t\r") or re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)


def test_markdown_has_no_tag_and_no_link(hostile, capsys):
    assert main(["compare", "--md"]) == 0
    text = said(capsys)
    assert "<" not in text
    assert "](" not in text.replace("\\](", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_latex_is_escaped(hostile, capsys):
    assert main(["compare", "--latex"]) == 0
    text = said(capsys)
    assert r"\$x\_\{1\}\$" in text
    assert len({line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")}) == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(hostile):
    assert main(["compare", "--latex", "table.tex"]) == 0
    Path("main.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}"
        "\\begin{document}\\input{table}\\end{document}"
    )
    subprocess.run(["pdflatex", "-halt-on-error", "main.tex"], check=True, capture_output=True)


# --------------------------------------------------------------------------------------
# Directories that mean harm, or are broken


def _fifo(path):
    (path / "scores.csv").unlink()
    os.mkfifo(path / "scores.csv")


def _folder(path):
    (path / "summary.json").unlink()
    (path / "summary.json").mkdir()


def _link(path):
    (path / "config.yaml").unlink()
    (path / "config.yaml").symlink_to("/etc/hostname")


def _huge(path):
    with (path / "scores.csv").open("wb") as file:
        file.truncate(2**31)


def _replace(name, text):
    return lambda path: (path / name).write_text(text)


BROKEN = {
    "truncated JSON": _replace("manifest.json", '{"schema_version": 1, "sta'),
    "another JSON": _replace("manifest.json", "[1, 2]"),
    "deep JSON": _replace("manifest.json", "[" * 100_000),
    "wrong types": _replace("manifest.json", json.dumps(MANIFEST | {"dataset": [3]})),
    "another schema version": _replace("manifest.json", json.dumps({"schema_version": 99})),
    "text for numbers": _replace("scores.csv", "repeat,fold,metric,value\n0,0,accuracy,good\n"),
    "no columns": _replace("scores.csv", "a,b\n1,2\n"),
    "not finite": _replace("summary.json", '{"accuracy": {"mean": NaN}}'),
    "bad YAML": _replace("config.yaml", "a: [1, 2"),
    "a tag in YAML": _replace("config.yaml", "a: !!python/object/apply:os.system [true]"),
    "a FIFO": _fifo,
    "a folder": _folder,
    "a link that leads out": _link,
    "a huge file": _huge,
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_one_line_and_the_rest_is_shown(three, capsys, damage):
    damage(make_run("outputs", "broken", 0.1))
    assert main(["compare"]) == 0
    text = said(capsys)
    assert [line for line in text.splitlines() if "outputs/broken" in line] == [
        line_of(text, "outputs/broken: unreadable: ")
    ]
    assert "lightgbm" in text and "knn" in text


def test_a_link_that_leads_out_is_not_read(three, capsys):
    Path("secret.yaml").write_text("password: hunter2")
    path = make_run("outputs", "broken", 0.1)
    (path / "config.yaml").unlink()
    (path / "config.yaml").symlink_to(three / "secret.yaml")
    assert main(["compare", "--all"]) == 0
    assert "hunter2" not in said(capsys)


def test_many_problems_are_counted(three, capsys):
    for i in range(25):
        make_run("outputs", f"f{i}", manifest={"status": "failed", "cause": "x"})
    assert main(["compare"]) == 0
    assert "and 5 more, which --all shows" in said(capsys)


@pytest.mark.parametrize("words", [[], ["--csv"], ["--json"], ["--html", "page.html"]])
def test_nothing_to_compare_is_one_line(here, capsys, words):
    make_run("outputs", "f", manifest={"status": "failed", "cause": "out of memory"})
    assert main(["compare", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1 and "out of memory" in told.err
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compare", "nowhere"], "nowhere: there is no such folder"),
        (["compare", "--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["compare", "--baseline", "kn"], "did you mean 'knn'?"),
        (["compare", "--alpha", "2"], "the level must lie between 0 and 1"),
        (["compare", "--html", "page.txt"], "must end in .html"),
        (["compare", "outputs", "--csv", "t.txt"], "a file of --csv must end in .csv"),
        (["diff", "outputs/a", "outputs/../outputs/a"], "this is the same run"),
        (["compare", "--html", "no/page.html"], "there is no folder no"),
        (["diff", "outputs/a", "outputs"], "outputs holds 3 runs and diff takes one"),
        (["diff", "outputs/a", "outputs/zz"], "there is no such folder"),
        (["diff", "outputs/a", "outputs/b", "--png", "folds.svg"], "must end in .png"),
    ],
)
def test_a_slip_is_one_clear_line(three, capsys, words, expected):
    assert main(words) == 2
    told = capsys.readouterr()
    assert expected in told.err
    assert told.err.count("\n") == 1


# --------------------------------------------------------------------------------------
# The page


def test_the_page_is_written(three):
    assert main(["compare", "--html", "page.html"]) == 0
    assert "lightgbm" in Path("page.html").read_text()


def test_no_tag_of_a_name_gets_into_the_page(hostile):
    assert main(["compare", "--html", "page.html"]) == 0
    assert "<script>alert(1)" not in Path("page.html").read_text()


# --------------------------------------------------------------------------------------
# Two runs


def test_diff_shows_the_settings_that_changed(three, capsys):
    assert main(["diff", "outputs/a", "outputs/c"]) == 0
    text = said(capsys)
    assert line_of(text, "model.name").split() == ["model.name", "lightgbm", "knn"]
    assert line_of(text, "depth").split() == ["depth", "-", "3"]


def test_diff_says_who_is_better_and_how_sure_that_is(three, capsys):
    assert main(["diff", "outputs/a", "outputs/c"]) == 0
    assert "accuracy: a is better; difference +0.1000 (95% interval " in said(capsys)


def test_diff_says_where_nothing_can_be_tested(three, capsys):
    same = [level + 0.1 for level in LEVELS]
    make_run("outputs", "d", files={"scores.csv": _scores([round(v, 2) for v in same])})
    make_run("outputs", "e", files={"scores.csv": _scores(LEVELS)})
    assert main(["diff", "outputs/d", "outputs/e"]) == 0
    assert "a and b differ by +0.1000 on every fold; nothing to test" in said(capsys)


def test_diff_says_who_lacks_the_metric(three, capsys):
    assert main(["diff", "outputs/a", "outputs/c", "--metric", "silhouette"]) == 0
    assert "\na and b have no silhouette\n" in said(capsys)


def test_diff_draws_every_fold(three, capsys):
    assert main(["diff", "outputs/c", "outputs/b"]) == 0
    drawn = said(capsys).split("fold by fold")[1].split("\n\n")[0]
    assert len(re.findall(r"^\d +-0\.\d{4} +#+\|$", drawn, re.MULTILINE)) == 5


def test_diff_of_many_repeats_draws_one_line_for_each(here, capsys):
    split = MANIFEST["split"] | {"n_repeats": 10}
    for name, gain in (("a", 0.0), ("b", 0.01)):
        lines = [
            f"{r},{f},accuracy,{LEVELS[f] + gain * (r + f)!r}" for r in range(10) for f in range(5)
        ]
        scores = "\n".join(["repeat,fold,metric,value", *lines])
        make_run("outputs", name, manifest={"split": split}, files={"scores.csv": scores})
    assert main(["diff", "outputs/b", "outputs/a"]) == 0
    assert said(capsys).count(", mean ") == 10


def test_diff_says_that_nothing_differs(here, capsys):
    make_run("outputs", "a")
    make_run("outputs", "b")
    assert main(["diff", "outputs/a", "outputs/b"]) == 0
    text = said(capsys)
    for what in ("config", "data", "environment"):
        assert f"{what}: nothing differs" in text


def test_diff_of_other_folds_says_why_it_has_no_test(three, capsys):
    split = MANIFEST["split"] | {"hash": "fedcba9876543210", "split_seed": 1}
    make_run("outputs", "d", manifest={"split": split})
    assert main(["diff", "outputs/a", "outputs/d"]) == 0
    text = said(capsys)
    assert "not comparable: other folds" in text
    assert "fold by fold" not in text


def test_diff_shows_other_data_and_versions(three, capsys):
    versions = {"python": "3.11.7", "segexp": "0.1.0", "numpy": "3.0"}
    data = MANIFEST["dataset"] | {"n_rows": 499, "fingerprint": "e" * 64}
    make_run("outputs", "d", manifest={"versions": versions, "dataset": data})
    assert main(["diff", "outputs/a", "outputs/d"]) == 0
    text = said(capsys)
    assert line_of(text, "n_rows").split() == ["n_rows", "500", "499"]
    assert line_of(text, "numpy").split() == ["numpy", "-", "3.0"]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_diff_draws_the_folds_into_a_file(three, kind, start):
    assert main(["diff", "outputs/b", "outputs/c", f"--{kind}", f"folds.{kind}"]) == 0
    assert Path(f"folds.{kind}").read_bytes().startswith(start)


def test_diff_draws_nothing_where_folds_differ(three, capsys):
    split = MANIFEST["split"] | {"hash": "fedcba9876543210", "split_seed": 1}
    make_run("outputs", "d", manifest={"split": split})
    assert main(["diff", "outputs/a", "outputs/d", "--png", "folds.png"]) == 2
    assert "no figure of the folds: other folds" in capsys.readouterr().err


def test_diff_takes_a_hostile_run(hostile, capsys):
    assert main(["diff", "outputs/a", "outputs/h", "--all", "--svg", "folds.svg"]) == 0
    assert "\x1b" not in said(capsys)
    assert b"<script" not in Path("folds.svg").read_bytes()


def test_diff_of_a_broken_run_is_one_line(three, capsys):
    BROKEN["truncated JSON"](Path("outputs/c"))
    assert main(["diff", "outputs/a", "outputs/c"]) == 2
    assert capsys.readouterr().err.startswith("segexp: outputs/c: unreadable: ")


# --------------------------------------------------------------------------------------
# Completion


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["com"], ["compare", "completion"]),
        (["compare", "outputs/a", "o"], ["outputs/"]),
        (["compare", "outputs/"], ["outputs/a", "outputs/b", "outputs/c"]),
        (["compare", "outputs", "--metric", "bal"], ["balanced_accuracy"]),
        (["compare", "--h"], ["--html", "--help"]),
        (["diff", "outputs/a", "outputs/b"], ["outputs/b"]),
        (["diff", "a", "b", "--s"], ["--svg"]),
    ],
)
def test_completion_knows_what_comes_next(three, words, expected):
    assert complete(words) == expected
