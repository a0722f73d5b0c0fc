"""Runs, sweeps and comparisons as objects.

A run directory may come from a stranger: what an object shows of it is escaped, pictures are PNG,
and no code of it is run.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import segexp.runs as runs
from segexp.errors import ConfigError, RunError
from segexp.notebook.figures import Figures
from segexp.notebook.shown import (
    Grid,
    guarded,
    headline,
    honest_grid,
    html_of,
    ranking_grids,
    segment_grids,
    short,
    title_of,
)
from segexp.notebook.tables import summary_table, with_numbers

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from segexp.comparison.compare import Comparison

T = TypeVar("T")


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
        return with_numbers(self._need(runs.SEGMENTS, self._source.segments))

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
        return f"<segexp run {title_of(self._source)}, {', '.join(headline(self._source))}>"

    def _repr_html_(self) -> str:
        source = self._source
        parts = [
            *guarded("The figures", lambda: [honest_grid(source)]),
            *guarded("The segments", lambda: segment_grids(source)),
        ]
        notes = [runs.SYNTHETIC] if self.manifest["dataset"]["synthetic"] else []
        return html_of(title_of(source), ", ".join(headline(source)), notes, parts)


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
        def grids() -> list[Grid]:
            cells = self.cells.fillna("")
            return [Grid("Runs", list(map(str, cells)), cells.to_numpy().tolist())]

        title = f"Sweep of {len(self._sweep.cells)} runs"
        return html_of(title, self.status, [], guarded("The runs", grids))


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

        The columns are those of :func:`segexp.comparison.tables.to_records`.
        """
        import pandas as pd

        from segexp.comparison.tables import to_records

        return [pd.DataFrame(to_records(table)) for table in self.comparison.tables]

    @property
    def problems(self) -> list[str]:
        """What is no row, and why."""
        return [f"{p.path}: {p.status}: {p.cause}" for p in self.comparison.problems]

    def report(self, output: str | PathLike[str], **options: Any) -> Path:
        """Write the report and return its path, as :func:`report` does."""
        return report(*self.paths, output=output, **options)

    def __repr__(self) -> str:
        parts = [f"{short(t.title)}: {len(t.rows)} runs" for t in self.comparison.tables]
        return f"<segexp comparison of {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        tables = self.comparison.tables
        grids = [
            grid for table in tables for grid in guarded(table.title, partial(ranking_grids, table))
        ]
        notes = [runs.SYNTHETIC] if any(table.synthetic for table in tables) else []
        notes += [self.comparison.note] if self.comparison.note else []
        if self.comparison.problems:
            notes.append(f"not ranked: {len(self.comparison.problems)}, see .problems")
        return html_of("Comparison", "on the same folds, held out", notes, grids)


Target = RunResult | SweepResult | str | PathLike[str]


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
    from segexp.comparison.compare import compare as compare_runs
    from segexp.comparison.reading import gather

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


def _path_of(target: Target) -> Path:
    return target.path if isinstance(target, RunResult | SweepResult) else Path(target)


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
