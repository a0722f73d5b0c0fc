"""segexp in Python and in notebooks: functions, results, how they are shown; the examples."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import segexp
import segexp.runs as runs
from segexp.errors import ConfigError, RunError, RunInterruptedError
from segexp.notebook import ComparisonResult, Picture, RunResult, SweepResult

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"
SMALL = ("dataset=demo", "dataset.n_customers=300", "evaluation.n_splits=3", "engine.n_jobs=1")
TREE = [*SMALL, "model=decision_tree"]
HOSTILE = "<img src=x onerror=alert(1)>\u202e\"'&"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs with 'a blank'")


@pytest.fixture(scope="module")
def tree(outputs: Path) -> RunResult:
    return segexp.run(TREE, outputs=outputs)


@pytest.fixture(scope="module")
def clusters(outputs: Path) -> RunResult:
    words = ["model=kmeans", "evaluation.stability_resamples=3", "evaluation.fold_resamples=2"]
    return segexp.run([*SMALL, *words, "evaluation.k_max=3"], outputs=outputs)


@pytest.fixture
def copy(tree: RunResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree.path, tmp_path / "copy"))


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


# The package.


def python(code: str) -> str:
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


HEAVY = (
    "{'numpy', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'optuna', 'hydra', 'segexp.notebook'}"
)


@pytest.mark.parametrize("more", ["", "dir(segexp); ", "import segexp.notebook; "])
def test_importing_segexp_loads_no_scientific_library(more):
    heavy = HEAVY.replace(", 'segexp.notebook'", "") if more.startswith("import") else HEAVY
    assert python(f"import sys, segexp; {more}print({heavy} & set(sys.modules))") == "set()"


def test_every_name_that_is_promised_is_there():
    assert all(getattr(segexp, name) for name in segexp.__all__)
    assert set(segexp.__all__) <= set(dir(segexp))


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'segexp' has no attribute 'runn'"):
        segexp.runn  # noqa: B018


@pytest.mark.parametrize("first", ["import segexp.report", "from segexp import report", "1"])
def test_a_module_of_the_same_name_can_be_called_whoever_imported_it_first(first):
    code = f"{first}\nimport segexp, segexp.report as module\n"
    assert python(f"{code}print(callable(segexp.report), segexp.report is module)") == "True True"


# Running.


def test_a_run_is_what_the_same_words_leave_on_the_command_line(tree):
    assert tree.status == runs.COMPLETED
    assert "decision_tree" in (tree.path / runs.OVERRIDES).read_text()


def test_an_equal_run_is_found_again(tree, outputs):
    assert segexp.run(TREE, outputs=outputs).path == tree.path


def test_force_runs_it_once_more(tree, tmp_path):
    copied = shutil.copytree(tree.path, tmp_path / "demo" / tree.path.name)
    assert segexp.run(TREE, outputs=tmp_path).path == copied
    assert segexp.run(TREE, outputs=tmp_path, force=True).path != copied


def test_one_text_is_split_as_a_shell_would(tree, outputs):
    assert segexp.run(" ".join(TREE), outputs=outputs).path == tree.path


def test_a_run_within_an_event_loop_as_in_a_notebook(tree, outputs):
    async def cell() -> tuple[RunResult, bool]:
        before = asyncio.current_task()
        run = segexp.run([*TREE, "run.seed=1"], outputs=outputs)
        await asyncio.sleep(0)
        return run, asyncio.current_task() is before

    run, goes_on = asyncio.run(cell())
    assert run.status == runs.COMPLETED and goes_on


def test_progress_leaves_nothing_on_the_line(outputs, capsys):
    segexp.run([*TREE, "run.seed=2"], outputs=outputs, progress=True)
    said = capsys.readouterr().out
    assert "fits" in said and "\n" not in said
    assert not said.rpartition("\r")[2].strip()


def test_a_program_is_not_told_of_progress(outputs, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # of other tests
    segexp.run([*TREE, "run.seed=2"], outputs=outputs)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=kmean"], r"did you mean 'kmeans'"),
        (["model=svm,kmeans"], r"segexp\.sweep\(\[\.\.\.\]\)"),
        (["dataset=demo", "dataset.n_custommers=3"], "n_customers"),
    ],
)
def test_a_mistake_is_one_line(words, said, tmp_path):
    with pytest.raises(ConfigError, match=said) as caught:
        segexp.run(words, outputs=tmp_path)
    assert "\n" not in str(caught.value)


def test_an_interrupted_run_says_how_to_go_on(outputs, monkeypatch):
    def stopped(*words, **options):
        raise KeyboardInterrupt(Path("outputs/demo/run"))

    monkeypatch.setattr("segexp.experiment.run_experiment", stopped)
    with pytest.raises(RunInterruptedError, match="go on with: segexp resume outputs/demo/run"):
        segexp.run([*TREE, "run.seed=3"], outputs=outputs)


# A run.


def test_the_summary_is_the_honest_table(tree):
    stored = json.loads((tree.path / runs.SUMMARY).read_text())["accuracy"]
    row = tree.summary.loc["accuracy"]
    assert row["mean"] == stored["mean"]
    assert [row["low"], row["high"]] == stored["interval"]
    own = tree.scores.query("metric == 'accuracy'")["value"]
    assert row["mean"] == pytest.approx(own.mean())
    assert row["baseline[dummy]"] < row["mean"]


def test_tables_are_copies(tree):
    for name in ("scores", "predictions", "segments"):
        table = getattr(tree, name)
        table["own"] = 1
        assert "own" not in getattr(tree, name)


def test_every_customer_was_predicted_once(tree):
    assert sorted(tree.predictions["row"]) == list(range(300))


def test_segments_have_numbers(clusters):
    assert clusters.segments["n"].sum() == 300
    numbers = clusters.segments.drop(columns=["segment", "stability", "markers"])
    assert all(kind.kind in "if" for kind in numbers.dtypes)


def test_customers_are_those_of_the_segments(clusters):
    sizes = clusters.customers["segment"].value_counts()
    assert sizes.to_dict() == clusters.segments.set_index("segment")["n"].to_dict()


def test_a_file_that_the_run_has_not_is_one_line(tree):
    with pytest.raises(RunError, match=r"customers\.parquet: the run has none$"):
        tree.customers  # noqa: B018


def test_the_model_predicts_what_predict_says(tree):
    sample = pd.read_parquet(tree.path / runs.SAMPLE)
    found = tree.predict(sample.drop(columns=["row", "target"]))
    names = np.array(list(tree.manifest["segments"]))
    columns = sample.columns.difference(["row", "id", "target"])
    codes = tree.model.predict(_typed(tree, sample[columns]))
    assert found["segment"].tolist() == names[codes].tolist()
    assert isinstance(found.attrs["notes"], list)


def _typed(run: RunResult, X: pd.DataFrame) -> pd.DataFrame:
    columns = json.loads((run.path / runs.MODEL_SCHEMA).read_text())["columns"]
    kinds = {
        name: pd.CategoricalDtype(columns[name]["levels"], ordered=True)
        for name in columns
        if columns[name]["role"] == "ordinal"
    }
    return X[list(columns)].astype(kinds)


def test_a_run_is_opened_by_its_path(tree):
    assert segexp.open(tree.path).manifest == tree.manifest
    assert segexp.open(str(tree.path)).path == tree.path


def test_a_folder_without_a_run_is_one_line(tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        segexp.open(tmp_path)


# Figures.


@pytest.mark.parametrize("which", ["tree", "clusters"])
def test_every_figure_is_drawn_anew(which, request):
    run = request.getfixturevalue(which)
    assert len(run.figures) >= 5
    for figure in run.figures.values():
        assert isinstance(figure, Figure)
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_figures_by_task(tree, clusters):
    assert {"confusion", "segment_scores", "importance"} <= set(tree.figures)
    assert {"silhouettes", "stability", "elbow", "segment_sizes"} <= set(clusters.figures)


def test_a_picture_stands_in_where_the_table_is_damaged(clusters, tmp_path):
    copied = Path(shutil.copytree(clusters.path, tmp_path / "copy"))
    (copied / runs.STABILITY).write_text("measure,segment\njaccard,x\n")
    picture = segexp.open(copied).figures["stability"]
    assert isinstance(picture, Picture)
    assert picture._repr_png_() == (copied / "figures/stability.png").read_bytes()


def test_an_unknown_figure_names_the_nearest(tree):
    with pytest.raises(RunError, match="did you mean 'confusion'"):
        tree.figures["confusoin"]


def test_a_picture_that_is_none_is_not_shown(copy):
    (copy / "figures").mkdir(exist_ok=True)
    (copy / "figures/own.png").write_bytes(b"<script>")
    (copy / "figures/own2.svg").write_text("<svg><script>alert(1)</script></svg>")
    assert not {"own", "own2"} & set(segexp.open(copy).figures)


# How it is shown.


def test_a_run_shows_its_honest_figures_and_segments(tree, clusters):
    text = Tags(tree._repr_html_()).text
    assert f"{tree.summary.loc['accuracy', 'mean']:.4f}" in text and "baseline[dummy]" in text
    assert "Known segments, held out" in text and "synthetic customers" in text
    assert "Segments of all customers, in-sample" in Tags(clusters._repr_html_()).text


@pytest.mark.parametrize("which", ["tree", "clusters"])
def test_what_is_shown_says_nothing_of_the_machine(which, request):
    run = request.getfixturevalue(which)
    for text in (repr(run), run._repr_html_(), repr(run.figures)):
        assert str(run.path.parent) not in text and run.path.name not in text


def test_hostile_names_are_text(copy):
    manifest = json.loads((copy / runs.MANIFEST).read_text())
    manifest |= {"name": HOSTILE, "model": HOSTILE, "preprocessing": HOSTILE}
    manifest["dataset"]["name"] = HOSTILE
    manifest["segments"] = {HOSTILE: 3, "\x1b[31mred": 2}
    (copy / runs.MANIFEST).write_text(json.dumps(manifest))
    run = segexp.open(copy)
    page = Tags(run._repr_html_())
    assert not {"img", "script"} & page.tags and "onerror" not in page.attributes
    assert "<img src=x" in page.text
    for text in (repr(run), page.text, segexp.compare(copy)._repr_html_()):
        assert "\u202e" not in text and "\x1b" not in text
    assert "<img" not in segexp.compare(copy)._repr_html_()


def test_a_hostile_segment_of_a_clusterer_is_text(clusters, tmp_path):
    copied = Path(shutil.copytree(clusters.path, tmp_path / "copy"))
    table = pd.read_csv(copied / runs.SEGMENTS).assign(segment=HOSTILE, markers=HOSTILE)
    table.to_csv(copied / runs.SEGMENTS, index=False)
    page = Tags(segexp.open(copied)._repr_html_())
    assert "img" not in page.tags and "<img src=x" in page.text


@pytest.mark.parametrize("name", [runs.SUMMARY, runs.BASELINES, runs.SEGMENTS, runs.CONFIG])
def test_a_damaged_file_is_told_and_the_rest_is_shown(name, copy):
    (copy / name).write_text("\x00{not")
    run = segexp.open(copy)
    assert "decision_tree" in repr(run) and "decision_tree" in run._repr_html_()


# Sweeps, comparisons, reports.


@pytest.fixture(scope="module")
def grid(outputs: Path, tree: RunResult) -> SweepResult:
    words = ["model=decision_tree,naive_bayes", "evaluation.final_model=false"]
    return segexp.sweep([*SMALL, *words, "evaluation.importance_repeats=0"], outputs=outputs)


def test_a_sweep_has_a_run_for_each_cell(grid):
    assert grid.status == runs.COMPLETED
    assert grid.cells["words"].tolist() == ["model=decision_tree", "model=naive_bayes"]
    assert [run.manifest["model"] for run in grid.runs] == ["decision_tree", "naive_bayes"]
    assert segexp.open(grid.path).path == grid.path
    assert "model=naive_bayes" in grid._repr_html_()


def test_a_wrong_cell_runs_nothing(tmp_path):
    with pytest.raises(ConfigError, match="nothing was run, a cell is wrong: model=zzz"):
        segexp.sweep(["dataset=demo", "model=decision_tree,zzz"], outputs=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_is_a_table_of_the_means(grid):
    found = grid.compare()
    assert isinstance(found, ComparisonResult)
    (table,) = found.tables
    ranked = table[table["rank"].notna()]
    means = [run.summary.loc["accuracy", "mean"] for run in grid.runs]
    assert ranked["mean"].tolist() == pytest.approx(sorted(means, reverse=True))
    text = Tags(found._repr_html_()).text
    assert all(f"{mean:.4f}" in text for mean in means)


def test_runs_and_folders_are_compared_alike(grid):
    first, second = grid.runs
    by_run, by_folder = segexp.compare(first, second), segexp.compare(str(first.path), second.path)
    pd.testing.assert_frame_equal(by_run.tables[0], by_folder.tables[0])


def test_a_metric_that_there_is_not_is_one_line(grid):
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        grid.compare(metric="acuracy")


def test_a_notebook_shows_the_one_line_of_an_error_and_no_traceback(capsys):
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    shell.run_cell("import segexp\nsegexp.compare()")
    assert capsys.readouterr().out == (
        "ConfigError: name what is to be compared: segexp.compare(run_a, run_b)\n"
    )


def test_nothing_to_compare_is_one_line():
    with pytest.raises(ConfigError, match="name what is to be compared"):
        segexp.compare()


def test_a_report_lies_in_the_run_directory_or_where_it_is_wanted(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("segexp.report.report.report", lambda paths, **options: "<p>page</p>")
    run = grid.runs[0]
    assert segexp.report(run) == run.report() == run.path / "report.html"
    page = run.report(tmp_path / "own.html")
    assert page.read_text() == "<p>page</p>"
    with pytest.raises(ConfigError, match="is there already; say force=True"):
        run.report(page)
    assert run.report(page, force=True) == page
    with pytest.raises(ConfigError, match="needs a file"):
        segexp.report(*grid.runs)
    assert segexp.report(*grid.runs, output=tmp_path / "both.html").exists()


def test_the_report_of_a_folder_of_runs_needs_a_file(grid, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(grid.runs[0].path, folder / "one")
    with pytest.raises(ConfigError, match=r"1 run lies in it: name one, such as .*output='comp"):
        segexp.report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.slow
def test_a_report_is_a_page_on_the_run(grid):
    assert "decision_tree" in grid.runs[0].report().read_text("utf-8")


# The examples.


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    for name in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(name)
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs_of(notebook: dict, name: str) -> list[str]:
    found = [o.get("data", {}) for c in notebook["cells"] for o in c.get("outputs", [])]
    return ["".join(data[name]) for data in found if name in data]


def cells_of(notebook: dict) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


@pytest.mark.parametrize("name", ["automobile", "mall"])
def test_a_notebook_is_that_of_its_source(name, builder):
    source = builder.read_source((NOTEBOOKS / f"{name}.py").read_text("utf-8"))
    stored = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))
    assert cells_of(stored) == cells_of(source)


@pytest.mark.parametrize("name", ["automobile", "mall"])
def test_a_stored_notebook_is_whole_and_tells_nothing_of_a_machine(name, builder):
    import nbformat

    text = (NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")
    assert builder.write(nbformat.reads(text, 4)) == text
    notebook = json.loads(text)
    counts = [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert len(outputs_of(notebook, "image/png")) >= 3
    assert not [o for c in notebook["cells"] for o in c.get("outputs", []) if "text" in o]


@pytest.mark.parametrize(
    "output", ["/private/somebody/x", "20260102T030405Z-run", "<object at 0x7f12345678>"]
)
def test_a_notebook_that_tells_of_a_machine_is_not_written(output, builder):
    import nbformat

    notebook = builder.read_source("# %%\n1\n")
    data = {"text/plain": output}
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data)]
    with pytest.raises(ValueError, match="the notebook tells"):
        builder.write(notebook)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mall", {"words": ["dataset=mall", "evaluation.stability_resamples=3",
                            "evaluation.fold_resamples=2", "evaluation.k_max=3"]}),
        ("automobile", {"words": ["dataset=automobile", "evaluation=holdout"],
                        "models": "logistic_regression,naive_bayes"}),
    ],
)  # fmt: skip
def test_a_notebook_runs(name, values, builder, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(data_dir))
    notebook = builder.read_source((NOTEBOOKS / f"{name}.py").read_text("utf-8"))
    builder.set_parameters(notebook, values)
    builder.execute(notebook, tmp_path, seconds=240)
    assert outputs_of(notebook, "text/html")
    assert re.search(r"report\.html", "".join(outputs_of(notebook, "text/plain")))
    builder.write(notebook)
