"""segexp in a notebook: the words of the command line as functions, what a run left as objects.

Every function raises the same one-line errors as the command line. A run directory may come from a
stranger: what an object shows of it is escaped, pictures are PNG, and no code of it is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import segexp.runs as runs
from segexp.errors import ConfigError, RunError, RunInterruptedError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from sklearn.pipeline import Pipeline

    from segexp.comparison import Comparison, Row, Table
    from segexp.config.schema import ExperimentConfig
    from segexp.experiment import Reporter
    from segexp.plan import Plan
    from segexp.report.source import Source
    from segexp.search.study import Trial
    from segexp.sweep import SweepReporter

T = TypeVar("T")

_MOST_ROWS = 30  # of a table in a cell's output; the whole one is a DataFrame
_MOST_LETTERS = 100
_SECONDS = 0.2  # between two lines of progress


# ---- what can be done --------------------------------------------------------------------------


def run(
    words: Sequence[str] | str = (),
    *,
    outputs: str | PathLike[str] | None = None,
    config_dir: str | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> RunResult:
    """Run one experiment, or find the completed run of the same config on the same data.

    Parameters
    ----------
    words : sequence of str
        As after ``segexp run``: ``["dataset=mall", "model=kmeans"]``. One text is split as a shell
        would.
    outputs : path, optional
        Folder of the run directories; short for the word ``run.outputs=...``.
    config_dir : str, optional
        Folder of your own options, as ``--config-dir``.
    force : bool
        Run it again where it was done before.
    progress : bool, optional
        Show what is being done in one line; by default in terminals and notebooks.

    Raises
    ------
    ConfigError, DataError
        Before anything is run.
    RunFailedError
        If the run began and could not end.
    RunInterruptedError
        If it was stopped; the message says where its results are and how to go on.
    """
    from segexp.config.compose import is_grid, load_config
    from segexp.config.options import find_conf_dirs

    with _importing():
        from segexp.experiment import Datasets, find_same, run_experiment
        from segexp.plan import plan_experiment

    said = _words(words, outputs)
    if is_grid(said):
        grid = next(word for word in said if is_grid([word]))
        raise ConfigError(f"{grid}: several values make a grid; say segexp.sweep([...]) for that")
    config = load_config(said, find_conf_dirs(config_dir))
    plan, datasets = plan_experiment(config), Datasets()
    with _Progress(progress) as line, _working(config):
        reporter = line.reporter()
        same = None if force else find_same(plan, datasets, reporter)
        done = same or run_experiment(
            plan, _typed(said, config_dir), reporter, datasets=datasets
        )  # fmt: skip
    return RunResult(done.path)


def sweep(
    words: Sequence[str] | str,
    *,
    outputs: str | PathLike[str] | None = None,
    config_dir: str | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> SweepResult:
    """Run every cell of a grid; one failure does not stop the rest.

    Parameters
    ----------
    words : sequence of str
        As after ``segexp sweep``: ``["dataset=mall", "model=kmeans,gaussian_mixture"]``.
    outputs, config_dir, force, progress
        As of :func:`run`.

    Raises
    ------
    ConfigError
        If a cell is wrong; nothing was run.
    RunError
        If the sweep directory cannot be made.
    RunInterruptedError
        If it was stopped.
    """
    from segexp.config.options import find_conf_dirs

    with _importing():
        from segexp.sweep import distinct_cells, run_sweep

    said = _words(words, outputs)
    plans, cells = distinct_cells(*_plans(said, find_conf_dirs(config_dir)))
    with _Progress(progress) as line, _working(plans[0].config):
        found = run_sweep(
            plans, cells, said, line.sweep_reporter(plans), force=force, config_dir=config_dir
        )
    return SweepResult(found.path)


def compare(
    *targets: Target,
    metric: str | None = None,
    baseline: str | None = None,
    alpha: float = 0.05,
    rope: float = 0.01,
) -> ComparisonResult:
    """Put runs side by side, ranked where they can be, each with its difference to the best.

    Parameters
    ----------
    *targets
        Runs, sweeps, their directories, or folders with runs in them.
    metric : str, optional
        Ranks; by default that of the runs.
    baseline : str, optional
        Label of the row that the others are compared with, in place of the best.
    alpha : float
        Level of the tests.
    rope : float
        Differences up to this size count as equal.

    Raises
    ------
    ConfigError
        If a path does not exist or holds no runs, or there is no such metric.
    RunError
        If none of the runs can be compared.
    """
    from segexp.comparison import compare as compare_runs
    from segexp.comparison import gather

    folders = [_path_of(target) for target in targets]
    if not folders:
        raise ConfigError("name what is to be compared: segexp.compare(run_a, run_b)")
    comparison = compare_runs(
        *gather([str(folder) for folder in folders]),
        metric=metric, baseline=baseline, alpha=alpha, rope=rope,
    )  # fmt: skip
    if not comparison.tables:
        why = [f"{p.path}: {p.status}: {p.cause}" for p in comparison.problems[:1]]
        raise RunError("; ".join(["none of the runs can be compared", *why]))
    return ComparisonResult(comparison, tuple(folders))


def report(
    *targets: Target,
    output: str | PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    muted: Collection[str] = (),
    config_dir: str | None = None,
    force: bool = False,
) -> Path:
    """Write the report of a run, a sweep or several runs, and return the path of the HTML file.

    Parameters
    ----------
    *targets
        As of :func:`compare`.
    output : path, optional
        A file; by default ``report.html`` in the directory, which is derived and replaced.
    names : mapping of segment to name, optional
        Names for the segments.
    muted : collection of str
        Codes of checks that are left out.
    config_dir : str, optional
        Folder with an ``actions.yaml`` of your own, as ``--config-dir``.
    force : bool
        Replace ``output``.

    Raises
    ------
    ConfigError
        If several targets, or a folder of runs, have no ``output``, or it is there already.
    RunError
        If there is no run, or the file cannot be written.
    """
    from segexp.actions import load_actions
    from segexp.config.options import find_conf_dirs
    from segexp.data.findings import counted
    from segexp.report.report import REPORT, runs_within
    from segexp.report.report import report as report_on

    folders = [_path_of(target) for target in targets]
    if not folders:
        raise ConfigError("name a run: segexp.report(run)")
    if output is None and len(folders) > 1:
        raise ConfigError("a report of several runs needs a file: output='report.html'")
    if output is None and (gathered := runs_within(folders)):
        raise ConfigError(
            f"{folders[0]} is no run and no sweep; {counted(len(gathered), 'run')} "
            f"{'lies' if len(gathered) == 1 else 'lie'} in it: name one, such as {gathered[0]}, or "
            f"say where to write the comparison of all: output='comparison.html'"
        )
    page = Path(output) if output is not None else folders[0] / REPORT
    if output is not None and page.suffix.lower() != ".html":
        raise ConfigError(f"{page}: the name of this file must end in .html")
    if output is not None and page.exists() and not force:
        raise ConfigError(f"{page} is there already; say force=True to replace it")
    actions = load_actions(find_conf_dirs(config_dir))
    text = report_on(
        folders, names=names, muted=tuple(muted), actions=actions, folder=page.parent
    )  # fmt: skip
    _write_whole(page, text.encode())
    return page


def open(path: str | PathLike[str]) -> RunResult | SweepResult:
    """Open a run directory or a sweep directory.

    Raises
    ------
    RunError
        If there is none, or its manifest cannot be used.
    """
    folder = Path(path)
    return SweepResult(folder) if runs.is_sweep(folder) else RunResult(folder)


def _words(words: Sequence[str] | str, outputs: str | PathLike[str] | None) -> list[str]:
    said = shlex.split(words) if isinstance(words, str) else [str(word) for word in words]
    if outputs is None:
        return said
    folder = str(Path(outputs))
    if not re.fullmatch(r"[\w./-]+", folder, re.ASCII):
        folder = '"' + folder.replace('"', r"\"") + '"'
    return [*said, f"run.outputs={folder}"]


def _typed(words: Sequence[str], config_dir: str | None) -> list[str]:
    """Return the words as they are typed on the command line."""
    return [*words, *(["--config-dir", config_dir] if config_dir else [])]


def _plans(words: Sequence[str], conf_dirs: Sequence[Path]) -> tuple[list[Plan], list[list[str]]]:
    from segexp.config.compose import expand_grid, load_config
    from segexp.plan import plan_experiment

    cells = expand_grid(words, conf_dirs)
    plans = []
    for cell in cells:
        try:
            plans.append(plan_experiment(load_config(cell, conf_dirs)))
        except ConfigError as error:
            raise ConfigError(f"nothing was run, a cell is wrong: {error}") from error
    return plans, cells


def _write_whole(page: Path, content: bytes) -> None:
    partial_page = page.with_name(f".{uuid.uuid4().hex[:8]}.partial")
    try:
        try:
            partial_page.write_bytes(content)
            partial_page.replace(page)
        finally:
            with contextlib.suppress(OSError):
                partial_page.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{page} cannot be written: {error.strerror or error}") from error


# ---- while it works ----------------------------------------------------------------------------


@contextmanager
def _importing() -> Iterator[None]:
    """Import without the advice to install a widget, which a library gives in notebooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@contextmanager
def _working(config: ExperimentConfig) -> Iterator[None]:
    """Let a run have an event loop of its own, and turn Ctrl-C into a line that says what is kept.

    In a notebook each cell runs inside the kernel's loop, in the thread that is interrupted.
    """
    loop, task = asyncio._get_running_loop(), None
    if loop is not None:
        if (task := asyncio.current_task(loop)) is not None:
            asyncio.tasks._leave_task(loop, task)
        asyncio._set_running_loop(None)
    try:
        yield
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # no directory yet
            raise
        packages = config.run.packages
        allowed = [f"run.packages=[{','.join(packages)}]"] if packages else []
        command = shlex.join(["segexp", "resume", str(stopped.args[0]), *allowed])
        raise RunInterruptedError(
            f"interrupted; what was finished is kept in {stopped.args[0]}; go on with: {command}"
        ) from None
    finally:
        if loop is not None:
            asyncio.set_event_loop(loop)
            asyncio._set_running_loop(loop)
            if task is not None:
                asyncio.tasks._enter_task(loop, task)


class _Progress:
    """One line of standard output that tells what is being done; nothing is left of it."""

    def __init__(self, shown: bool | None) -> None:
        if shown is None:
            shown = sys.stdout.isatty() or "ipykernel" in sys.modules
        self._shown = shown
        self._width = 0
        self._next = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._width:
            sys.stdout.write(f"\r{' ' * self._width}\r")
            sys.stdout.flush()

    def reporter(self) -> Reporter:
        from segexp.experiment import Reporter

        return Reporter(
            say=self._say,
            progress=lambda done, total, what: self._often(f"{done:,} of {total:,} fits: {what}"),
            trial=lambda study, trial, best: self._often(_best_words(study, best)),
        )

    def sweep_reporter(self, plans: Sequence[Plan]) -> SweepReporter:
        from segexp.experiment import Reporter
        from segexp.sweep import SweepReporter

        ended: list[str] = []

        def cell(number: int) -> Reporter:
            def step(done: int, total: int, what: str) -> None:
                runs_done = f"{len(ended)} of {len(plans)} runs done"
                self._often(f"{runs_done}; run {number + 1}: {done:,} of {total:,} fits")

            return Reporter(progress=step)

        def cell_ended(number: int, status: str, run: runs.Run | None, cause: str | None) -> None:
            ended.append(status)
            self._say(f"{len(ended)} of {len(plans)} runs done")

        return SweepReporter(say=self._say, cell=cell, ended=cell_ended)

    def _often(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._say(text)

    def _say(self, text: str) -> None:
        if not self._shown:
            return
        text = _short(text)
        sys.stdout.write(f"\r{text.ljust(self._width)}")
        sys.stdout.flush()
        self._width = max(self._width, len(text))
        self._next = time.monotonic() + _SECONDS


def _best_words(study: str, best: Trial | None) -> str:
    value = f", best so far {best.mean(0):.4f} (selection)" if best is not None else ""
    return f"search on {study}{value}"


def _short(value: object) -> str:
    """Return text of a run in one line, without letters that act."""
    from segexp.safe_html import visible

    text = str(visible(str(value)))
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


# ---- a run -------------------------------------------------------------------------------------


class RunResult:
    """A run directory: what a finished run left, each part read when it is asked for.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    path : Path
        The run directory.
    manifest : mapping
        What was run on what, with which versions.

    Raises
    ------
    RunError
        If there is none, or its manifest cannot be used. A property raises it where the run left no
        such file, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        from segexp.report.source import Source

        self._source = Source.open(path)
        self.path = path
        self.manifest: Mapping[str, Any] = self._source.manifest

    @property
    def status(self) -> str:
        """completed, failed, interrupted, running, or killed (its process is gone)."""
        return self._source.run.status

    @property
    def summary(self) -> pd.DataFrame:
        """By metric, on held-out rows: mean, std over folds, interval, each baseline's mean."""
        return summary_table(self._source, self._need(runs.SUMMARY, self._source.summary))

    @property
    def scores(self) -> pd.DataFrame:
        """``repeat, fold, metric, value`` on held-out rows."""
        return self._need(runs.SCORES, self._source.scores).copy()

    @property
    def predictions(self) -> pd.DataFrame:
        """One row per customer and repeat, by models that never saw the customer."""
        return self._need(runs.PREDICTIONS, self._source.predictions).copy()

    @property
    def segments(self) -> pd.DataFrame:
        """One row per segment, known or found: size, and its profile (in-sample)."""
        return _with_numbers(self._need(runs.SEGMENTS, self._source.segments))

    @property
    def customers(self) -> pd.DataFrame:
        """The segment of each customer by the final model of a clusterer (in-sample)."""
        return self._need(runs.CUSTOMERS, self._source.customers).copy()

    @property
    def model(self) -> Pipeline:
        """The pipeline fitted on all rows; loading it runs no code of the file."""
        return self._need(runs.PIPELINE, self._source.model)

    @cached_property
    def figures(self) -> Figures:
        """Name -> figure, drawn from the tables of the run, or the picture that the run left."""
        return Figures(self._source)

    def predict(
        self, table: pd.DataFrame | str | PathLike[str], words: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Give every row of a table a segment.

        Parameters
        ----------
        table : DataFrame or path
            Customers with the columns that the model was trained on, in any order.
        words : sequence of str
            Where a file is written in another way, for example ``dataset.separator=semicolon``.

        Returns
        -------
        DataFrame
            The table, and beside it the columns of the model. ``attrs["notes"]`` lists what was
            found: cells that are missing or new to the model, customers unlike any other.

        Raises
        ------
        RunError
            If the run is not completed or its model cannot be loaded.
        DataError
            If the table lacks a column or has invalid cells.
        """
        from segexp.predict import predict_table

        found = predict_table(self._source.run, table, words)
        found.table.attrs["notes"] = list(found.notes)
        return found.table

    def report(self, output: str | PathLike[str] | None = None, **options: Any) -> Path:
        """Write the report and return its path, as :func:`report` does."""
        return report(self.path, output=output, **options)

    def _need(self, name: str, found: T | None) -> T:
        if found is None:
            why = self._source.why(name) or "it cannot be read"
            raise RunError(f"{self.path}: {name}: {why}")
        return found

    def __repr__(self) -> str:
        # No path: what is shown in a notebook is sent around, and says nothing of the machine.
        return f"<segexp run {_title(self._source)}, {', '.join(_headline(self._source))}>"

    def _repr_html_(self) -> str:
        source = self._source
        parts = [
            *_guarded("The figures", lambda: [_honest_grid(source)]),
            *_guarded("The segments", lambda: _segment_grids(source)),
        ]
        notes = [runs.SYNTHETIC] if self.manifest["dataset"]["synthetic"] else []
        return _html(_title(source), ", ".join(_headline(source)), notes, parts)


def summary_table(source: Source, summary: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return mean, std, interval and n of each metric, beside the means of the baselines.

    Parameters
    ----------
    source : Source
        Of the baselines.
    summary : mapping of metric to mapping
        With mean, std, interval and n.

    Returns
    -------
    DataFrame
        By ``metric``: ``mean, std, low, high, n``, and ``baseline[NAME]`` of each baseline.
    """
    import pandas as pd

    rows = {}
    for metric, entry in summary.items():
        low, high = entry["interval"] or (None, None)
        rows[metric] = (entry["mean"], entry["std"], low, high, entry["n"])
    columns = ["mean", "std", "low", "high", "n"]
    made = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("metric")
    made = made.astype(dict.fromkeys(columns[:-1], float))
    if source.baselines is not None:
        groups = source.baselines.groupby(["baseline", "metric"], sort=False)["value"].mean()
        for name in groups.index.unique("baseline"):
            made[f"baseline[{name}]"] = groups[name].reindex(made.index)
    return made


_TEXTS = ("segment", "stability", "markers", "rows")


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns are numbers, but for those that are known to be texts."""
    import pandas as pd

    numbers = {
        name: pd.to_numeric(table[name], errors="coerce") for name in table if name not in _TEXTS
    }
    return table.assign(**{str(name): column for name, column in numbers.items()})


# ---- its figures -------------------------------------------------------------------------------


class Picture:
    """A figure that a run left as a PNG file; a notebook shows it.

    Attributes
    ----------
    name : str
    png : bytes
    """

    def __init__(self, name: str, png: bytes) -> None:
        self.name = name
        self.png = png

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<picture {_short(self.name)}, {len(self.png):,} bytes>"


class Figures(Mapping[str, "Figure | Picture"]):
    """The figures of a run by name, each drawn when it is asked for.

    A figure that can be drawn from the tables of the run is matplotlib's and can be changed; any
    other one is the picture that the run left.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._drawings = {
            name: draw for name, (is_there, draw) in _DRAWINGS.items() if is_there(source)
        }
        kept = [name for name in source.figures() if "png" in (source.figure(name) or {})]
        self._names = list(dict.fromkeys([*self._drawings, *kept]))

    def __getitem__(self, name: str) -> Figure | Picture:
        if name not in self._names:
            known = ", ".join(map(_short, self._names)) or "none"
            hint = did_you_mean(name, self._names)
            raise RunError(f"the run has no figure {name!r}{hint}; figures: {known}")
        why = ""
        if (draw := self._drawings.get(name)) is not None:
            try:
                return _showing(draw(self._source))
            except Exception as error:  # a run from elsewhere may hold anything
                why = f": {type(error).__name__}"
        if png := (self._source.figure(name) or {}).get("png"):
            return Picture(name, png)
        raise RunError(f"the figure {name} cannot be drawn{why}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<figures: {', '.join(map(_short, self._names)) or 'none'}>"


def _showing(figure: Figure) -> Figure:
    """Return a figure that a notebook shows without pyplot."""
    vars(figure)["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    from segexp.figures.look import render

    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.simplefilter("ignore", UserWarning)
        return render(figure)["png"]


def _elbow(source: Source) -> Figure:
    from segexp.figures.clustering import elbow

    choices, verdict = _choices_of_k(source)
    return elbow(_criteria(source), choices.get("knee"), verdict)


def _silhouette_by_k(source: Source) -> Figure:
    from segexp.figures.clustering import silhouette_curve

    return silhouette_curve(_criteria(source), _choices_of_k(source)[1])


def _gap(source: Source) -> Figure:
    from segexp.figures.clustering import gap_curve

    return gap_curve(_criteria(source), *_choices_of_k(source))


def _silhouettes(source: Source) -> Figure:
    import pandas as pd

    from segexp.figures.clustering import silhouette_plot

    customers = _there(source.customers)
    names = _names_of(source)
    codes = pd.Index(names).get_indexer(pd.Index(customers["segment"].astype(str)))
    return silhouette_plot(customers["silhouette"].to_numpy(dtype=float), codes, names)


def _stability(source: Source) -> Figure:
    import pandas as pd

    from segexp.figures.clustering import stability_boxplots

    table, names = _there(source.stability), dict(enumerate(_names_of(source)))
    own = table[table["measure"] == "jaccard"]
    named = own.assign(segment=pd.to_numeric(own["segment"], errors="coerce").map(names))
    return stability_boxplots(named.dropna(subset="segment"), "Jaccard", by="segment")


def _segment_sizes(source: Source) -> Figure:
    from segexp.figures.segments import segment_sizes

    return segment_sizes(_with_numbers(_there(source.segments)))


def _distance_shares(source: Source) -> Figure:
    from segexp.figures.segments import distance_shares

    table = _there(source.importance)
    own = table[table["kind"] == "model"]
    return distance_shares(own.sort_values("mean", ascending=False, kind="stable"))


def _segment_revenue(source: Source) -> Figure:
    from segexp.figures.rfm import segment_bars

    return segment_bars(_there(source.rfm))


def _responses(source: Source) -> Figure:
    from segexp.figures.responses import response_rates_figure

    outcome = source.manifest["dataset"]["roles"]["target"][0]
    return response_rates_figure(_there(source.responses), outcome)


def _confusion(source: Source) -> Figure:
    import pandas as pd

    from segexp.figures.classification import confusion
    from segexp.report.evidence import read_judged

    names = [str(name) for name in source.manifest["segments"]]
    judged = read_judged(_there(source.predictions), names, source.manifest["split"])
    return confusion(pd.DataFrame(judged.counts, index=names, columns=names), judged.words)


def _segment_scores(source: Source) -> Figure:
    from segexp.figures.classification import segment_scores

    return segment_scores(_scores_by_segment(source), "Mean over folds, on customers held out")


def _importance(source: Source) -> Figure:
    from segexp.figures.classification import importances

    table = _there(source.importance)
    own = table[table["kind"] == "permutation"].sort_values("mean", ascending=False, kind="stable")
    top = own.head(20).assign(low=float("nan"), high=float("nan"))
    note = f"On customers held out, mean over folds; the first {len(top)} of {len(own)} columns"
    return importances(top, table.iloc[:0], source.manifest["metric"], note)


def _distributions(source: Source) -> Figure:
    from segexp.figures.data import distributions

    profile = _there(source.profile)
    return distributions(profile["columns"][:20], profile["n_rows"])


def _missing_values(source: Source) -> Figure:
    from segexp.figures.data import missing_values

    profile = _there(source.profile)
    return missing_values(profile["columns"], profile["n_rows"])


def _associations(source: Source) -> Figure:
    from segexp.figures.data import associations

    profile = _there(source.profile)
    return associations(profile["associations"], profile["n_compared"])


def _calibration_deciles(source: Source) -> Figure:
    from segexp.value.figures import decile_calibration

    return decile_calibration(_there(source.deciles))


def _value_matrix(source: Source) -> Figure:
    from segexp.value.figures import matrix_heatmap

    return matrix_heatmap(_there(source.value_matrix))


_Drawing = tuple[Callable[["Source"], bool], Callable[["Source"], "Figure"]]


def _if_file(name: str, *tasks: str) -> Callable[[Source], bool]:
    return lambda source: (not tasks or source.task in tasks) and (source.path / name).is_file()


def _has_gaps(source: Source) -> bool:
    table = source.k_table
    return table is not None and "gap_uniform" in table and bool(table["gap_uniform"].notna().any())


def _has_missing(source: Source) -> bool:
    missing = (source.profile or {}).get("missing")
    return isinstance(missing, dict) and bool(missing.get("cells"))


_DRAWINGS: dict[str, _Drawing] = {  # name -> whether the run has its table, and how it is drawn
    "confusion": (_if_file(runs.PREDICTIONS, "classification"), _confusion),
    "segment_scores": (_if_file(runs.SUMMARY, "classification"), _segment_scores),
    "importance": (_if_file(runs.IMPORTANCE, "classification"), _importance),
    "segment_sizes": (_if_file(runs.SEGMENTS, "clustering"), _segment_sizes),
    "silhouettes": (_if_file(runs.CUSTOMERS, "clustering"), _silhouettes),
    "stability": (_if_file(runs.STABILITY, "clustering"), _stability),
    "distance_shares": (_if_file(runs.IMPORTANCE, "clustering"), _distance_shares),
    "elbow": (_if_file(runs.K_TABLE), _elbow),
    "silhouette_by_k": (_if_file(runs.K_TABLE), _silhouette_by_k),
    "gap": (_has_gaps, _gap),
    "responses": (_if_file(runs.RESPONSES), _responses),
    "segment_revenue": (_if_file(runs.RFM), _segment_revenue),
    "calibration_deciles": (_if_file(runs.DECILES), _calibration_deciles),
    "value_matrix": (_if_file(runs.VALUE_MATRIX), _value_matrix),
    "distributions": (_if_file(runs.PROFILE), _distributions),
    "missing_values": (_has_missing, _missing_values),
    "associations": (_if_file(runs.PROFILE), _associations),
}


def _there(found: T | None) -> T:
    if found is None:
        raise RunError("its table cannot be read")
    return found


def _names_of(source: Source) -> list[str]:
    return [name for name in _there(source.segments)["segment"] if name != "noise"]


def _criteria(source: Source) -> pd.DataFrame:
    """Return the criteria of the number of segments on all customers."""
    table = _there(source.k_table)
    return _with_numbers(table[table["rows"] == runs.FINAL].sort_values("k"))


def _choices_of_k(source: Source) -> tuple[dict[str, int | None], int | None]:
    """Return the number of segments by criterion, and that of the verdict."""
    verdict = _there(source.segmentation)["k"][runs.FINAL]
    choices = {str(choice["criterion"]): choice["k"] for choice in verdict["choices"]}
    return choices, verdict["verdict"]


def _scores_by_segment(source: Source) -> pd.DataFrame:
    """Return precision, recall and F1 of each known segment, means over folds."""
    import pandas as pd

    summary = _there(source.summary)
    rows = [
        (
            name,
            *(
                (summary.get(f"{metric}[{name}]") or {}).get("mean")
                for metric in ("precision", "recall", "f1")
            ),
        )
        for name in source.manifest["segments"]
    ]
    made = pd.DataFrame(rows, columns=["segment", "precision", "recall", "f1"])
    return made.astype(dict.fromkeys(("precision", "recall", "f1"), float))


# ---- a sweep -----------------------------------------------------------------------------------


class SweepResult:
    """A sweep directory: runs side by side, and what is known of each.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    path : Path
    manifest : mapping

    Raises
    ------
    RunError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._sweep = runs.open_sweep(path)
        self.path = path
        self.manifest: Mapping[str, Any] = self._sweep.manifest

    @property
    def status(self) -> str:
        """As of a run."""
        return self._sweep.status

    @property
    def runs(self) -> list[RunResult]:
        """The completed runs, in the order of the grid."""
        paths = [self.path / cell["path"] for cell in self._sweep.cells if cell["path"]]
        found = [RunResult(path) for path in paths if (path / runs.MANIFEST).is_file()]
        return [run for run in found if run.status == runs.COMPLETED]

    @property
    def cells(self) -> pd.DataFrame:
        """By cell of the grid: its own words, its status, and why it is not completed."""
        import pandas as pd

        words = self.manifest["words"]
        rows = [
            (" ".join(w for w in cell["words"] if w not in words), cell["status"], cell["cause"])
            for cell in self._sweep.cells
        ]
        return pd.DataFrame(rows, columns=["words", "status", "cause"])

    def compare(self, **options: Any) -> ComparisonResult:
        """Rank the runs, as :func:`compare` does."""
        return compare(self.path, **options)

    def report(self, output: str | PathLike[str] | None = None, **options: Any) -> Path:
        """Write the report and return its path, as :func:`report` does."""
        return report(self.path, output=output, **options)

    def __repr__(self) -> str:
        return f"<segexp sweep of {len(self._sweep.cells)} runs: {self.status}>"

    def _repr_html_(self) -> str:
        def grids() -> list[_Grid]:
            cells = self.cells.fillna("")
            return [_Grid("Runs", list(map(str, cells)), cells.to_numpy().tolist())]

        title = f"Sweep of {len(self._sweep.cells)} runs"
        return _html(title, self.status, [], _guarded("The runs", grids))


# ---- a comparison ------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """Runs side by side, in a table for each set that can be ranked together."""

    comparison: Comparison
    paths: tuple[Path, ...]

    @property
    def titles(self) -> list[str]:
        """What each table is about."""
        return [table.title for table in self.comparison.tables]

    @property
    def tables(self) -> list[pd.DataFrame]:
        """One row per run and baseline, best first: means, and the difference to the best.

        The columns are those of :func:`segexp.comparison.to_records`.
        """
        import pandas as pd

        from segexp.comparison import to_records

        return [pd.DataFrame(to_records(table)) for table in self.comparison.tables]

    @property
    def problems(self) -> list[str]:
        """What is no row, and why."""
        return [f"{p.path}: {p.status}: {p.cause}" for p in self.comparison.problems]

    def report(self, output: str | PathLike[str], **options: Any) -> Path:
        """Write the report and return its path, as :func:`report` does."""
        return report(*self.paths, output=output, **options)

    def __repr__(self) -> str:
        parts = [f"{_short(t.title)}: {len(t.rows)} runs" for t in self.comparison.tables]
        return f"<segexp comparison of {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        tables = self.comparison.tables
        grids = [
            grid
            for table in tables
            for grid in _guarded(table.title, partial(_ranking_grids, table))
        ]
        notes = [runs.SYNTHETIC] if any(table.synthetic for table in tables) else []
        notes += [self.comparison.note] if self.comparison.note else []
        if self.comparison.problems:
            notes.append(f"not ranked: {len(self.comparison.problems)}, see .problems")
        return _html("Comparison", "on the same folds, held out", notes, grids)


def _ranking_grids(table: Table) -> list[_Grid]:
    others = list(table.metrics[1:4])
    head = [
        "", "run", _directed(table.metric), "interval",
        f"difference to {table.reference or 'the best'}", "p (Holm)", *map(_directed, others),
    ]  # fmt: skip
    rows = [_ranking_row(row, [table.metric, *others]) for row in (*table.rows, *table.baselines)]
    notes = [table.reason, *table.notes, f"{table.n_folds} folds"]
    said = ". ".join(note for note in notes if note)
    return [_Grid(table.title, head, rows, said, words=(0, 1))]


def _ranking_row(row: Row, metrics: Sequence[str]) -> list[str]:
    found = row.to_best
    difference, p = "", ""
    if found is not None:
        difference = f"{found.mean:+.4f}"
        if row.is_tested:
            difference += f" ({found.interval[0]:+.4f} to {found.interval[1]:+.4f})"
            p = _probability(found.p_holm)
    rank = "baseline" if row.rank is None else str(row.rank)
    if row.tied_with_best and row.rank != 1:
        rank += " (tied)"
    means = [_number(row.mean_of(name)) for name in metrics]
    return [rank, row.label, means[0], _interval(row.interval), difference, p, *means[1:]]


# ---- how they are shown ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    """A table of texts; ``words`` are the columns that are set to the left."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    words: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7)


_PAGE = """\
<div class="segexp">
<p><strong><bdi>{{ title }}</bdi></strong><br><bdi>{{ said }}</bdi></p>
{% for note in notes %}
<p><em><bdi>{{ note }}</bdi></em></p>
{% endfor %}
{% for grid in grids %}
<table>
<caption style="text-align:left"><bdi>{{ grid.title }}</bdi></caption>
<thead><tr>
{% for name in grid.head %}
<th style="padding-right:1em; text-align:{{ 'left' if loop.index0 in grid.words else 'right' }}"><bdi>{{ name }}</bdi></th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in grid.rows[:most] %}
<tr>
{% for cell in row %}
<td style="padding-right:1em; text-align:{{ 'left' if loop.index0 in grid.words else 'right' }}"><bdi>{{ cell }}</bdi></td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% if grid.rows|length > most %}
<p>and {{ grid.rows|length - most }} more rows</p>
{% endif %}
{% if grid.note %}
<p><small><bdi>{{ grid.note }}</bdi></small></p>
{% endif %}
{% endfor %}
</div>
"""  # noqa: E501


def _html(title: str, said: str, notes: Sequence[str], grids: Sequence[_Grid]) -> str:
    from segexp.safe_html import environment

    cut = [
        _Grid(
            _short(grid.title), [_short(name) for name in grid.head],
            [[_short(cell) for cell in row] for row in grid.rows], grid.note, grid.words,
        )
        for grid in grids
    ]  # fmt: skip
    page = environment().from_string(_PAGE)
    return page.render(title=title, said=said, notes=notes, grids=cut, most=_MOST_ROWS)


def _guarded(what: str, make: Callable[[], list[_Grid]]) -> list[_Grid]:
    """Return tables, or one that says why there are none: files may hold anything."""
    try:
        return make()
    except Exception as error:
        return [_Grid(f"{what} cannot be shown: {type(error).__name__}", [], [])]


def _title(source: Source) -> str:
    manifest = source.manifest
    model = "several models" if manifest["model"] == "several" else manifest["model"]
    name = f"{manifest['name']}, " if manifest["name"] else ""
    return _short(f"{name}{manifest['dataset']['name']}: {model}")


def _headline(source: Source) -> list[str]:
    """Return the honest figure with what it is, or how far the run got."""
    from segexp.report.summary import figure, known_metric, protocol_words

    metric = known_metric(source.manifest["metric"])
    entry = (source.summary or {}).get(source.manifest["metric"])
    said = []
    if metric is not None and entry and entry["mean"] is not None:
        said.append(f"{metric.label} {figure(metric.name, entry['mean'])} held out")
    said.append(f"{source.manifest['dataset']['n_rows']:,} rows")
    if source.is_finished:
        return [*said, _short(protocol_words(source.manifest))]
    return [*said, source.run.status]


def _honest_grid(source: Source) -> _Grid:
    """Return the metrics on held-out rows beside those of the baselines."""
    if source.summary is None:
        return _Grid(f"The figures cannot be shown: {source.why(runs.SUMMARY)}", [], [])
    table = summary_table(source, source.summary)
    others = ((source.config or {}).get("evaluation") or {}).get("metrics") or []
    names = [n for n in dict.fromkeys([source.manifest["metric"], *others]) if n in table.index]
    baselines = [name for name in map(str, table) if name.startswith("baseline[")]
    level = f"{source.manifest['confidence']:.0%} interval"
    shown = table.loc[names].reset_index().to_dict("records")
    rows = [
        [
            _directed(row["metric"]), _number(row["mean"]), _number(row["std"]),
            _interval((row["low"], row["high"])), *(_number(row[name]) for name in baselines),
        ]
        for row in shown
    ]  # fmt: skip
    head = ["metric", "mean", "sd over folds", level, *baselines]
    return _Grid("On rows held out", head, rows, words=(0,))


def _directed(metric: str) -> str:
    from segexp.report.summary import known_metric

    known = known_metric(metric)
    return metric if known is None or known.greater_is_better else f"{metric} (less is better)"


def _segment_grids(source: Source) -> list[_Grid]:
    from segexp.segment_names import without_markers

    if source.task == "classification":
        table, title = _scores_by_segment(source), "Known segments, held out"
        if source.segments is not None:
            sizes = source.segments.set_index("segment")["n"]
            table.insert(1, "customers", table["segment"].map(sizes))
    elif source.task == "clustering" and source.segments is not None:
        table, title = _with_numbers(source.segments), "Segments of all customers, in-sample"
        if "markers" in table:
            plain = table["segment"].map(without_markers(table))
            table["markers"] = table["markers"].where(table["markers"].notna(), plain)
        kept = ("segment", "n", "share", "silhouette", "jaccard", "stability", "markers")
        table = table[[name for name in kept if name in table]].rename(columns={"n": "customers"})
    else:
        return []
    columns = [str(name) for name in table]
    texts = [i for i, name in enumerate(columns) if name in _TEXTS]
    rows = [[_cell(name, row[name]) for name in columns] for row in table.to_dict("records")]
    return [_Grid(title, columns, rows, words=tuple(texts))]


def _cell(name: str, value: Any) -> str:
    if name in _TEXTS:
        return value if isinstance(value, str) else ""
    if name == "customers":
        return f"{value:,.0f}" if value == value else "–"
    return f"{value:.1%}" if name == "share" else _number(value, 3)


def _number(value: Any, digits: int = 4) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1e9 else f"{value:.3g}"


def _probability(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.0005 else _number(value, 3)


def _interval(ends: tuple[float | None, float | None] | None) -> str:
    if ends is None or any(end is None or end != end for end in ends):
        return "–"
    return f"{_number(ends[0])} to {_number(ends[1])}"


Target = RunResult | SweepResult | str | PathLike[str]


def _path_of(target: Target) -> Path:
    return target.path if isinstance(target, RunResult | SweepResult) else Path(target)
