"""Runs side by side: what can be ranked together, and which differences are more than luck.

Only small text files of a run are read, never its predictions, and nothing in them is trusted:
a directory that cannot be read becomes one :class:`Problem` and never stops a table. Names and
labels are kept as they were found; whoever writes them somewhere escapes them.
"""

from __future__ import annotations

import csv
import glob
import io
import itertools
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segexp.bounds import LOADER, yaml_too_large
from segexp.config.schema import PROTOCOLS
from segexp.errors import ConfigError, RunError, SegexpError, did_you_mean
from segexp.metrics import METRICS_OF, Metric, metric_by_name
from segexp.runs import (
    BASELINES,
    COMPLETED,
    CONFIG,
    FAILED,
    INTERRUPTED,
    KILLED,
    MANIFEST,
    MAX_CAUSE,
    RUNNING,
    SCORES,
    SUMMARY,
    SWEEP,
    TIMINGS,
    Run,
    is_sweep,
    open_run,
    open_sweep,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

UNREADABLE = "unreadable"
CLASSIFICATION, CLUSTERING = "classification", "clustering"
_KIND_OF = {"segments": CLASSIFICATION, "clusters": CLUSTERING, "both": CLUSTERING}
_RANKED = {
    CLASSIFICATION: "ranked by how well known segments are found",
    CLUSTERING: "clusterers among themselves, by a metric that needs no known segments",
    "value": "models of customer value, by what the customers did later",
    "baskets": "association rules, by baskets held out",
}

_MB = 2**20
# A file that is larger is not read. A hundred segments in a hundred folds come to 3 MB of scores.
_LIMITS = {
    MANIFEST: 4 * _MB,
    SWEEP: 64 * _MB,
    CONFIG: 256 * 2**10,
    SUMMARY: 4 * _MB,
    SCORES: 16 * _MB,
    BASELINES: 16 * _MB,
    TIMINGS: 4 * _MB,
}
_LARGEST = 1e100  # number that is believed; sums and squares of such numbers are finite
_DEEPEST = 3  # levels below a folder at which a run may lie
_EXACT, _DRAWS = 50_000, 20_000  # null ranks that are listed, or drawn
_FEW_DATASETS = 10  # up to here no approximation is trusted


@dataclass(frozen=True)
class Problem:
    """A run directory that is no row: unreadable, failed, interrupted, killed or running."""

    path: str
    status: str  # "unreadable", or the status of the run; "completed": it lacks the metric
    cause: str  # one line


@dataclass(frozen=True)
class Entry:
    """One completed run, or one baseline of a run.

    ``values`` holds metric -> array of shape (n_folds,), all in the order of ``folds``; NaN where
    a metric is not defined.
    """

    path: Path
    label: str  # the name of the run directory, or the name of the baseline
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]  # dotted key -> value; lists are values; {} for a baseline
    values: Mapping[str, Floats]
    folds: tuple[tuple[int, int], ...]  # (repeat, fold)
    summary: Mapping[str, Mapping[str, Any]]  # metric -> mean, std, interval, n; {} for a baseline
    fit_seconds: float | None  # of all folds together
    baselines: tuple[Entry, ...] = ()  # what was judged beside the model on the same folds
    copies: int = 1  # directories that hold this very run

    def mean_of(self, metric: str) -> float | None:
        """Return the mean over folds; None where it is not defined."""
        return _mean(self.values.get(metric))


@dataclass(frozen=True)
class Paired:
    """The difference a minus b of two rows on the same folds.

    Signed so that positive means that a is better, also where less is better. The p values and
    probabilities are None, and ``interval`` is (nan, nan), where nothing can be tested: the
    differences of all folds are one and the same.
    """

    mean: float
    standard_error: float  # corrected for folds that share training rows; nan if not testable
    interval: tuple[float, float]
    p: float | None
    p_holm: float | None  # None outside of a table
    p_better: float | None  # posterior probability that a is better by more than the rope
    p_equivalent: float | None
    p_worse: float | None
    n: int
    differences: Floats  # shape (n,), of the folds on which both are defined


@dataclass(frozen=True)
class Row:
    """One config in a table; runs of several seeds are several entries.

    ``to_best`` is this row minus the best one (or minus the row that was named as the baseline),
    so a row that is worse has a negative mean; None for that row itself and where folds differ
    or there is only one.
    """

    entries: tuple[Entry, ...]
    label: str  # unique within the table
    varying: Mapping[str, Any]  # the config keys that differ within the table; absent: has no such
    rank: int | None  # from 1; None without a value of the metric
    mean: float | None  # of the table's metric, over seeds and the folds that all of them define
    std: float | None  # over folds
    seed_std: float | None  # over seeds; None for one seed
    interval: tuple[float, float] | None  # of this row alone, from its out-of-fold predictions
    tied_with_best: bool
    to_best: Paired | None
    usable: tuple[str, ...] = ()  # constraints that a clusterer misses; such rows rank last

    def values(self, metric: str) -> Floats | None:
        """Return the values by fold, averaged over seeds; None where an entry has none."""
        import numpy as np

        found = [entry.values.get(metric) for entry in self.entries]
        if any(values is None for values in found):
            return None
        mean: Floats = np.array(found, dtype=np.float64).mean(axis=0)
        return mean

    def mean_of(self, metric: str) -> float | None:
        """Return the mean over seeds and the folds that all define; None where there is none."""
        return _mean(self.values(metric))

    def interval_of(self, metric: str) -> tuple[float, float] | None:
        """Return the interval of this row alone; over several seeds, the mean of their ends."""
        found = [entry.summary.get(metric, {}).get("interval") for entry in self.entries]
        ends = [pair for pair in found if pair is not None]
        if len(ends) < len(self.entries):
            return None
        low, high = (sum(column) / len(ends) for column in zip(*ends, strict=True))
        return low, high

    @property
    def is_tested(self) -> bool:
        """Whether the difference in ``to_best`` was tested; where not, nothing is known of it."""
        return self.to_best is not None and self.to_best.p is not None

    @property
    def fit_seconds(self) -> float | None:
        """Seconds of fitting all folds, averaged over seeds."""
        seconds = [e.fit_seconds for e in self.entries if e.fit_seconds is not None]
        return sum(seconds) / len(seconds) if seconds else None


@dataclass(frozen=True)
class Table:
    """Rows that can be ranked together."""

    title: str
    reason: str  # why it stands apart from the other tables; "" for the only one
    kind: str  # "classification" (external metrics, clusterers too) or "clustering" (internal)
    metric: str  # ranks
    metrics: tuple[str, ...]  # to show, the one that ranks first
    rows: tuple[Row, ...]  # in the order of their ranks
    baselines: tuple[Row, ...]
    n_folds: int
    rope: float  # half the width of what counts as equal, in the units of the metric
    alpha: float
    reference: str = ""  # label of the row that `to_best` refers to
    notes: tuple[str, ...] = ()  # what a reader must know: no test because..., synthetic
    synthetic: bool = False


@dataclass(frozen=True)
class Ranks:
    """Configs ranked across data sets, as in Demsar (2006)."""

    metric: str
    datasets: tuple[str, ...]
    labels: tuple[str, ...]
    ranks: Floats  # (n_datasets, n_labels), 1 is best, ties share their mean rank
    mean_ranks: Floats  # (n_labels,)
    friedman_p: float  # of all permutations of few ranks, else of Iman and Davenport's F
    critical_difference: float | None  # of Nemenyi's test; None where Friedman finds nothing
    groups: tuple[tuple[str, ...], ...]  # labels that the critical difference does not separate


@dataclass(frozen=True)
class Comparison:
    """Everything that `compare` has to say."""

    tables: tuple[Table, ...]
    ranks: Ranks | None
    problems: tuple[Problem, ...]
    note: str = ""  # of several data sets: why there are no ranks, or what they leave out


@dataclass(frozen=True)
class Difference:
    """What two runs differ in."""

    a: Entry
    b: Entry
    config: list[tuple[str, Any, Any]]  # key, value in a, value in b; None: has no such key
    metrics: pd.DataFrame  # metric, a, b, difference (positive: a is better), low, high, p
    data: list[tuple[str, Any, Any]]
    environment: list[tuple[str, Any, Any]]
    metric: str  # of `paired`
    paired: Paired | None
    comparable: str = ""  # why they cannot be compared by `metric`; "": they can
    notes: tuple[str, ...] = ()  # folds that are left out, metrics that do not compare


# Reading. Nothing in a run directory is trusted.


def gather(words: Sequence[str]) -> tuple[list[Entry], list[Problem]]:
    """Read the runs that ``words`` name.

    Parameters
    ----------
    words : sequence of str
        Run directories, sweep directories, globs, or folders with runs below.

    Returns
    -------
    list of Entry, list of Problem
        Each run once, in the order of the words, then by path.

    Raises
    ------
    ConfigError
        If a path does not exist, or there are no runs in it.
    """
    paths: dict[Path, Path] = {}  # by what they really are
    problems: list[Problem] = []
    for word in words:
        for folder in _folders(word):
            found, told = _runs_below(folder)
            problems += told
            for path in found:
                paths.setdefault(path.resolve(), path)
    if not paths and not problems:
        raise ConfigError(
            f"there are no runs in {', '.join(words) or 'nothing'}; make one with: segexp run"
        )
    entries = []
    for path in paths.values():
        found_there = _read_run(path)
        if isinstance(found_there, Problem):
            problems.append(found_there)
        else:
            entries.append(found_there)
    return entries, problems


def _folders(word: str) -> list[Path]:
    try:
        return _matching(word)
    except OSError as error:
        raise ConfigError(f"{word:.100} cannot be read: {error.strerror}") from error


def _matching(word: str) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        return [path]
    if glob.has_magic(word):
        if found := [Path(match) for match in sorted(glob.glob(word)) if Path(match).is_dir()]:  # noqa: PTH207
            return found
        raise ConfigError(f"{word}: no folder is called like that")
    if path.exists():
        raise ConfigError(f"{word} is a file; give the run directory that it lies in")
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    raise ConfigError(f"{word}: there is no such folder{did_you_mean(path.name, siblings)}")


def _runs_below(folder: Path) -> tuple[list[Path], list[Problem]]:
    """Return the run directories in a folder, and what is none: unreadable, cells without a run.

    A manifest counts that cannot be read or is a link to nothing: it is told as a problem later.
    """
    found, problems = [], []
    pending = [(folder, 0)]
    while pending:
        path, depth = pending.pop()
        try:
            names = sorted((entry.name for entry in os.scandir(path)), reverse=True)
        except OSError as error:
            problems.append(Problem(str(path), UNREADABLE, error.strerror or "cannot be read"))
            continue
        if MANIFEST in names:
            found.append(path)
            continue
        if SWEEP in names:
            cells, told = _cells(path)
            found += cells
            problems += told
        if depth < _DEEPEST:
            below = (path / name for name in names if not name.startswith("."))
            pending += [(one, depth + 1) for one in below if os.path.isdir(one)]  # noqa: PTH112
    return sorted(found), problems


def _cells(path: Path) -> tuple[list[Path], list[Problem]]:
    """Return the runs of a sweep, wherever they lie, and the cells that never became a run."""
    try:
        if not is_sweep(path):  # a folder of this name
            return [], []
        _check_file(path, SWEEP)
        sweep = open_sweep(path)
    except (SegexpError, OSError, RuntimeError) as error:
        return [], [Problem(str(path), UNREADABLE, _one_line(error, path))]
    found, problems = [], []
    folders = [manifest.parent for manifest in path.glob(f"*/{MANIFEST}")]
    folders = [folder for folder in folders if not folder.name.startswith(".")]
    for number, cell in enumerate(sweep.cells):
        run = Path(os.path.normpath(path / cell["path"])) if cell["path"] else None
        if run is not None and (run / MANIFEST).is_file():
            found.append(run)
            continue
        # The path is written down at the end; a run that goes on is found by its name.
        own = f"-{cell['config_hash']}"
        if cell["status"] == RUNNING and (begun := [p for p in folders if own in p.name]):
            found += begun
            continue
        status = sweep.status if cell["status"] == RUNNING else cell["status"]
        cause = cell["cause"] or (
            "its run directory is gone" if run else _WHY.get(status, "not run")
        )
        words = " ".join(word for word in cell["words"] if word not in sweep.manifest["words"])
        problems.append(Problem(f"{path} [{words or number}]", status, _one_line(cause)))
    return found, problems


_WHY = {
    FAILED: "no cause was recorded",
    INTERRUPTED: "it was stopped; `segexp resume` goes on with it",
    KILLED: "its process is gone; `segexp resume` goes on with it",
    RUNNING: "it is not finished",
}


def _one_line(error: object, path: Path | None = None) -> str:
    """Return a message in one line, without the path that is told beside it."""
    text = " ".join(str(error).split())
    if path is not None:
        text = text.removeprefix(f"{path}{os.sep}").removeprefix(f"{path} ")
    return text if len(text) <= MAX_CAUSE else f"{text[:MAX_CAUSE]}..."


def _read_run(path: Path) -> Entry | Problem:
    try:
        _check_file(path, MANIFEST)
        run = open_run(path)
        if (status := run.status) != COMPLETED:
            cause = run.manifest.get("cause")
            return Problem(str(path), status, _one_line(cause or _WHY[status]))
        return _entry(run)
    except (SegexpError, OSError, RuntimeError) as error:  # links in a circle, endless nesting
        return Problem(str(path), UNREADABLE, _one_line(error or "nested too deeply", path))


def _entry(run: Run) -> Entry:
    run.check_facts()
    _check_task(run)
    scores = _scores(run.path, SCORES)
    if "" not in scores:
        raise RunError(f"{SCORES} holds no scores")
    folds = _folds(run, scores[""])
    manifest = run.manifest
    own = Entry(
        path=run.path,
        label=run.path.name or str(run.path),
        manifest=manifest,
        config=_read_config(run.path),
        values=_by_fold(scores[""], folds),
        folds=folds,
        summary=_read_summary(run.path),
        fit_seconds=_fit_seconds(run.path),
    )
    baselines = _scores(run.path, BASELINES) if _is_there(run.path, BASELINES) else {}
    return replace(
        own,
        baselines=tuple(
            replace(
                own, label=name, config={}, summary={}, fit_seconds=None,
                values=_by_fold(values, folds),
            )
            for name, values in baselines.items()
        ),
    )  # fmt: skip


def _check_task(run: Run) -> None:
    task, missed = run.manifest.get("task"), run.manifest.get("constraints_missed")
    if task not in METRICS_OF:
        raise RunError(f"{MANIFEST}: task is missing or damaged: {task!r:.40}")
    if missed is not None and not (
        isinstance(missed, list) and all(isinstance(text, str) for text in missed)
    ):
        raise RunError(f"{MANIFEST}: constraints_missed is damaged: {missed!r:.40}")
    split = run.manifest["split"]
    share = split["test_size"]
    if split["protocol"] not in PROTOCOLS:
        raise RunError(f"{MANIFEST}: split.protocol is unknown: {split['protocol']!r:.40}")
    if split["protocol"] == "holdout" and share is None:
        raise RunError(f"{MANIFEST}: split is damaged: a holdout lacks its test_size")
    if split["n_splits"] < 2 or split["n_repeats"] < 1 or not (share is None or 0 < share < 1):
        raise RunError(f"{MANIFEST}: split is damaged: no such folds can be made")


def _is_there(path: Path, name: str) -> bool:
    return os.path.lexists(path / name)


def _check_file(path: Path, name: str) -> None:
    """Raise ``RunError`` unless a file is plain, its own, and of a size that can be read."""
    file = path / name
    try:
        leads_out = file.is_symlink() and not file.resolve().is_relative_to(path.resolve())
        status = file.stat()
    except OSError as error:
        raise RunError(f"{name} cannot be read: {error.strerror}") from error
    except RuntimeError as error:
        raise RunError(f"{name} cannot be read: it is a link to itself") from error
    if leads_out:
        raise RunError(f"{name} is a link that leads out of the run directory; not followed")
    if not stat.S_ISREG(status.st_mode):
        raise RunError(f"{name} is no plain file")
    if status.st_size > _LIMITS[name]:
        size, most = status.st_size / _MB, _LIMITS[name] / _MB
        raise RunError(f"{name} has {size:,.1f} MB, more than the {most:g} MB that are read")


def _read_text(path: Path, name: str) -> str:
    _check_file(path, name)
    try:
        return (path / name).read_bytes().decode("utf-8")
    except OSError as error:
        raise RunError(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{name} is not UTF-8 text: {error}") from error


def _read_summary(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(_read_text(path, SUMMARY), parse_constant=_no_constant)
    except ValueError as error:
        raise RunError(f"{SUMMARY} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or not all(map(_is_summary, content.values())):
        raise RunError(f"{SUMMARY} is damaged: every metric has mean, std, interval and n")
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _is_summary(entry: object) -> bool:
    if not isinstance(entry, dict) or not {"mean", "std", "interval", "n"} <= set(entry):
        return False
    ends = entry["interval"]
    if ends is not None and not (isinstance(ends, list) and len(ends) == 2 and None not in ends):
        return False
    numbers = (entry["mean"], entry["std"], *(ends or ()))
    return all(x is None or _is_finite(x) for x in numbers) and isinstance(entry["n"], int)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value) and abs(value) <= _LARGEST
    except OverflowError:  # an integer of three hundred digits
        return False


Fold = tuple[int, int]
_Scores = dict[str, dict[Fold, float]]  # metric -> fold -> value


def _scores(path: Path, name: str) -> dict[str, _Scores]:
    """Return the scores of each baseline; of the model itself under ``""``."""
    found: dict[str, _Scores] = {}
    folds: dict[tuple[str, str], Fold] = {}  # as written -> as numbers
    ranges: dict[str, tuple[float, float]] = {}
    columns = ["repeat", "fold", "metric", "value"]
    if name == BASELINES:
        columns.append("baseline")
    for line, (repeat, fold, metric, value, *baseline) in _rows(path, name, columns):
        if (repeat, fold) not in folds:
            numbers = int(_number(name, line, repeat)), int(_number(name, line, fold))
            folds[repeat, fold] = numbers
        of_metric = found.setdefault("".join(baseline), {}).setdefault(metric, {})
        key = folds[repeat, fold]
        if key in of_metric:
            raise RunError(f"{name}, line {line}: a second value of {metric!r:.40} in this fold")
        of_metric[key] = _number(name, line, value) if value else math.nan
        if metric not in ranges:
            ranges[metric] = _range(metric)
        low, high = ranges[metric]
        if of_metric[key] < low or of_metric[key] > high:
            raise RunError(f"{name}, line {line}: {metric!r:.40} cannot be {value:.40}")
    return found


def _rows(path: Path, name: str, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield line number and the cells of two ``columns`` or more; others may be there."""
    lines = csv.reader(io.StringIO(_read_text(path, name), newline=""))
    try:
        header = next(lines, [])
        if missing := [column for column in columns if column not in header]:
            raise RunError(f"{name} lacks the column {missing[0]!r}")
        chosen = itemgetter(*(header.index(column) for column in columns))
        for number, cells in enumerate(lines, start=2):
            if len(cells) != len(header):
                raise RunError(f"{name}, line {number}: {len(cells)} cells, not {len(header)}")
            yield number, chosen(cells)
    except csv.Error as error:
        raise RunError(f"{name} is no valid CSV: {error}") from error


def _number(name: str, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:  # nan is not either
        raise RunError(f"{name}, line {line}: not a number: {text!r:.40}")
    return value


def _range(metric: str) -> tuple[float, float]:
    """Return the ends of what a metric can be, with room for rounding."""
    if not _known(metric):  # of another version
        return -math.inf, math.inf
    found = metric_by_name(metric)
    return found.low - 1e-9, found.high + 1e-9


def _folds(run: Run, scores: _Scores) -> tuple[Fold, ...]:
    """Return the folds in order; they must be those that the manifest tells of."""
    folds = tuple(sorted({fold for of_metric in scores.values() for fold in of_metric}))
    split = run.manifest["split"]
    holdout = split["protocol"] == "holdout"
    expected = 1 if holdout else split["n_splits"] * split["n_repeats"]
    if len(folds) != expected:
        raise RunError(f"{SCORES} has {len(folds)} folds, {MANIFEST} tells of {expected}")
    return folds


def _by_fold(scores: _Scores, folds: Sequence[Fold]) -> dict[str, Floats]:
    import numpy as np

    return {
        metric: np.array([of_metric.get(fold, math.nan) for fold in folds], dtype=np.float64)
        for metric, of_metric in scores.items()
    }


def _fit_seconds(path: Path) -> float | None:
    if not _is_there(path, TIMINGS):
        return None
    rows = _rows(path, TIMINGS, ("fit_seconds", "fold"))
    return sum(_number(TIMINGS, number, seconds) for number, (seconds, _) in rows)


def _read_config(path: Path) -> dict[str, Any]:
    text = _read_text(path, CONFIG)
    # Runs of a sweep have most groups in common, and YAML is slow: each group is parsed once.
    parts = re.split(r"^(?=[A-Za-z_]+:)", text, flags=re.M)
    flat: dict[str, Any] = {}
    for part in parts:
        if part.strip():
            flat |= _read_group(part)
    return flat


@lru_cache(maxsize=512)
def _read_group(text: str) -> Mapping[str, Any]:
    """Return dotted key -> value of one group of a config."""
    import yaml

    try:
        if why := yaml_too_large(text):
            raise RunError(f"{CONFIG} is not read: {why}")
        content = yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise RunError(f"{CONFIG} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{CONFIG} must hold a mapping, got {type(content).__name__}")
    return dict(_flatten(content, ""))


def _flatten(node: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


# Comparing.


def compare(
    entries: Sequence[Entry],
    problems: Sequence[Problem] = (),
    *,
    metric: str | None = None,
    baseline: str | None = None,
    alpha: float = 0.05,
    rope: float = 0.01,
    all_keys: bool = False,
) -> Comparison:
    """Rank runs, with tables of their own for what cannot be ranked together.

    Two runs stand in one table if they judge the same customers (name and fingerprint of the
    data set, synthetic or not) on the same folds; by an internal metric of clusterers, also in the
    same space of prepared features; by an external one, also by the same known segments.
    Classifiers, and clusterers where segments are
    known, are ranked by an external metric; clusterers are ranked among themselves by an internal
    one, and there those that miss a constraint come last. Rows that lack a value on some folds come
    after the complete ones. Copies of one run count once.

    Parameters
    ----------
    metric : str, optional
        Ranks. Without it the runs' own, if they agree, else accuracy or silhouette. Tables in
        which it says nothing are left out if their runs stand in another one.
    baseline : str, optional
        The row that the others are compared with instead of the best: its label, its path or
        the end of its path, or the name of a baseline such as ``dummy``.
    alpha : float
        Level of the tests, between 0 and 1.
    rope : float
        What counts as equal: absolute where the metric lies within [-1, 1], else a share of the
        best row's mean.
    all_keys : bool
        With every config key that differs, also those that say nothing of the result.

    Raises
    ------
    ConfigError
        If there is no such metric or baseline, or a number is out of range.

    Notes
    -----
    Differences from the best row (or from the baseline) are tested by `paired`; its p values are
    adjusted by Holm's step-down method over the rows of the table [1]_. A row is tied with the
    best if its adjusted p value is above ``alpha``, or if no fold differs. Runs whose configs
    differ in nothing but ``run.seed`` (and ``run.outputs``, ``engine``) are one row: its values
    by fold are means over seeds. The same seed twice makes two rows.

    References
    ----------
    .. [1] Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian
       Journal of Statistics 6(2), 65-70.
    """
    _check_level(alpha)
    _check_rope(rope)
    entries = _without_copies(entries)
    wanted = metric_by_name(metric) if metric else None
    groups: dict[_Key, list[Entry]] = {}
    for entry in entries:
        for key in _keys(entry, wanted):
            groups.setdefault(key, []).append(entry)
    chosen = {key: wanted or _own_metric(members, key.kind) for key, members in groups.items()}
    ranked = {
        key: [entry for entry in members if entry.mean_of(chosen[key].name) is not None]
        for key, members in groups.items()
    }
    ranked = {key: members for key, members in ranked.items() if members}
    tables = tuple(
        _table(key, members, chosen[key], _why_apart(key, ranked), baseline, alpha, rope, all_keys)
        for key, members in ranked.items()
    )
    if baseline is not None and tables:
        _check_baseline(baseline, tables)
    shown: dict[int, list[str]] = {}  # entry -> metrics of the tables that it stands in
    for key, members in ranked.items():
        for entry in members:
            shown.setdefault(id(entry), []).append(chosen[key].name)
    lacking = [
        Problem(str(entry.path), COMPLETED, cause)
        for entry in entries
        if (cause := _lacks(entry, shown.get(id(entry), ()), chosen, wanted))
    ]
    ranks, note = _ranks(tables, alpha)
    return Comparison(tables, ranks, (*problems, *lacking), note)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"the level must lie between 0 and 1, got {level}")


def _check_rope(rope: float) -> None:
    if not 0 <= rope < math.inf:
        raise ConfigError(f"what counts as equal must be 0 or more, got {rope}")


def _without_copies(entries: Sequence[Entry]) -> list[Entry]:
    """Return each run once, wherever its directory was copied to, with the number of copies."""
    found: dict[object, list[Entry]] = {}
    for entry in entries:
        scores = tuple((name, values.tobytes()) for name, values in entry.values.items())
        own = (entry.manifest["start"], entry.manifest["config_hash"], scores)
        found.setdefault((*own, *_keys(entry, None)), []).append(entry)
    return [replace(same[0], copies=len(same)) for same in found.values()]


def _lacks(
    entry: Entry, shown: Sequence[str], chosen: Mapping[_Key, Metric], wanted: Metric | None
) -> str:
    """Say which metrics keep an entry out of tables in which it would stand; "": none."""
    own = [chosen[key].name for key in _keys(entry, wanted)] or ([wanted.name] if wanted else [])
    lacking = [name for name in dict.fromkeys(own) if name not in shown]
    if not lacking:
        return ""
    only = f"; it is ranked by {' and '.join(shown)} only" if shown else ""
    return f"it has no value of {' and '.join(lacking)}{only}"


class _Key(NamedTuple):
    """What rows of one table have in common."""

    kind: str
    dataset: str
    fingerprint: str
    synthetic: bool
    split: str
    space: str  # of the features, where distances between customers are compared
    # Where known segments are to be found: what they are called, and how many are of each.
    target: str
    segments: tuple[tuple[str, int], ...]
    n_rows: int


def _keys(entry: Entry, wanted: Metric | None) -> list[_Key]:
    """Return the tables in which an entry stands."""
    data, split = entry.manifest["dataset"], entry.manifest["split"]["hash"]
    task = entry.manifest["task"]
    known = task == CLUSTERING and entry.manifest["segments"]
    kinds = [*([CLASSIFICATION] if known else []), task]
    truth = (_target(entry), tuple(sorted(entry.manifest["segments"].items())), data["n_rows"])
    return [
        _Key(
            kind, data["name"], data["fingerprint"], data["synthetic"], split,
            *((_space(entry), "", (), 0) if kind == CLUSTERING else ("", *truth)),
        )
        for kind in kinds
        if wanted is None or _fits(wanted, kind)
    ]  # fmt: skip


def _target(entry: Entry) -> str:
    return ", ".join(entry.manifest["dataset"]["roles"].get("target", ()))


def _space(entry: Entry) -> str:
    return str(entry.manifest.get("feature_space", ""))


def _fits(metric: Metric, kind: str) -> bool:
    return _KIND_OF.get(metric.of, metric.of) == kind


def _own_metric(entries: Sequence[Entry], kind: str) -> Metric:
    """Return the metric by which the runs rank themselves, if they agree on one that fits."""
    own = {str(entry.manifest["metric"]) for entry in entries}
    try:
        fitting = {name for name in own if _fits(metric_by_name(name), kind)}
    except ConfigError:  # of another version
        fitting = set()
    return metric_by_name(fitting.pop()) if len(fitting) == 1 else METRICS_OF[kind][0]


def _folds_text(split: Mapping[str, Any]) -> str:
    group = f" grouped by {split['group']}" if split["group"] else ""
    seed = f", split seed {split['split_seed']}"
    if split["protocol"] == "holdout":
        return f"a holdout of {split['test_size']:.0%}{group}{seed}"
    times = f" {split['n_repeats']} times" if split["n_repeats"] > 1 else ""
    return f"{split['n_splits']} folds{times}{group}{seed}"


def _why_apart(own: _Key, groups: Mapping[_Key, Sequence[Entry]]) -> str:
    """Say in what a table differs from the others; "" for the only one."""
    others = [key for key in groups if key != own]
    if not others:
        return ""
    same_name = [key for key in others if key.dataset == own.dataset]
    same_data = [
        key for key in same_name
        if (key.fingerprint, key.synthetic) == (own.fingerprint, own.synthetic)
    ]  # fmt: skip
    reasons = []
    if len(same_name) < len(others):
        reasons.append(f"another data set: {own.dataset}")
    if any(key.synthetic != own.synthetic for key in same_name):
        kind = "synthetic" if own.synthetic else "real"
        reasons.append(f"these customers are {kind}, the others are not")
    if any(key.fingerprint != own.fingerprint for key in same_name):
        places = {repr(_place_of(entries)) for entries in groups.values()}
        where = f", {place}" if len(places) > 1 and (place := _place_of(groups[own])) else ""
        reasons.append(
            f"other data under the same name (fingerprint {own.fingerprint[:12]}{where})"
        )
    if any(key.split != own.split for key in same_data):
        folds = _folds_text(groups[own][0].manifest["split"])
        reasons.append(f"judged on other folds ({folds}; split {own.split[:8]})")
    of_kind = [key for key in same_data if key.kind == own.kind]
    if any(key.target != own.target for key in of_kind):
        reasons.append(f"another target: the segments of {own.target or 'no column'}")
    elif any((key.segments, key.n_rows) != (own.segments, own.n_rows) for key in of_kind):
        reasons.append(
            f"other known segments: {_segments_text(dict(own.segments))} of {own.n_rows:,} rows"
        )
    if any(key.space != own.space for key in of_kind):
        named = groups[own][0].manifest.get("preprocessing", "")
        reasons.append(
            f"other prepared features ({named}): distances of two feature spaces do not compare"
        )
    if any(key.kind != own.kind for key in same_data):
        reasons.append(_RANKED[own.kind])
    return "; ".join(reasons)


def _place_of(entries: Sequence[Entry]) -> str:
    """Return the file or files of the data of a table; "" where they are several, or none."""
    found = {_shown_path(entry.config.get(_PATH)) for entry in entries}
    return found.pop() if len(found) == 1 else ""


def _shown_path(path: Any) -> str:
    """Return a path, or several, as seen from the working directory."""
    paths = path if isinstance(path, list) else [path] if path else []
    return ", ".join(
        os.path.relpath(one) if Path(one).is_absolute() else one for one in map(str, paths)
    )


def _segments_text(segments: Mapping[str, int]) -> str:
    counts = [f"{name:.40} {count:,}" for name, count in segments.items()]
    return ", ".join([*counts[:6], *(["..."] if len(counts) > 6 else [])])


def _table(
    key: _Key,
    entries: Sequence[Entry],
    metric: Metric,
    reason: str,
    baseline: str | None,
    alpha: float,
    rope: float,
    all_keys: bool,
) -> Table:
    rows = _rows_of(entries, metric, all_keys)
    # Sorting is stable: rows that are equal keep the order in which they were given.
    rows.sort(key=lambda row: _place(row, key.kind, metric))
    rows = [
        replace(row, rank=None if row.mean is None else rank)
        for rank, row in enumerate(rows, start=1)
    ]
    beside = [_row((entry,), metric)
              for entry in _baselines_of(entries, metric)]  # fmt: skip
    best = rows[0]
    reference = _find_row(baseline, [*rows, *beside]) or best
    width = rope if _is_bounded(metric) else rope * abs(best.mean or 0.0)
    rows = _tested(rows, best, reference, metric, width, alpha)
    beside = [
        replace(row, to_best=_compared(row, reference, metric, width, alpha)) for row in beside
    ]
    known = METRICS_OF[key.kind]
    there = {name for row in rows for name in row.entries[0].values}
    names = (metric.name, *(m.name for m in known if m.name in there))
    n_folds = len(entries[0].folds)
    return Table(
        title=f"{key.dataset}: {metric.label} on {_folds_text(entries[0].manifest['split'])}",
        reason=reason,
        kind=key.kind,
        metric=metric.name,
        metrics=tuple(dict.fromkeys(names)),
        rows=tuple(rows),
        baselines=tuple(beside),
        n_folds=n_folds,
        rope=width,
        alpha=alpha,
        reference=reference.label,
        notes=_notes(rows, metric.name, n_folds, baseline if reference is best else None),
        synthetic=key.synthetic,
    )


def _notes(rows: Sequence[Row], metric: str, n_folds: int, baseline: str | None) -> tuple[str, ...]:
    notes = [
        f"{row.label}: defined on {known} of {n_folds} folds, ranked after complete rows"
        for row in rows
        if (known := _n_defined(row, metric)) < n_folds
    ]
    notes += [
        f"{row.label}: {entry.copies} copies of one run, counted once"
        for row in rows
        for entry in row.entries
        if entry.copies > 1
    ]
    if len(rows) > 1 and n_folds < 2:
        notes.append(
            "no difference is tested: one fold has no spread; evaluation=cv judges on five"
        )
        return tuple(notes)
    untested = [row for row in rows if row.to_best is not None and not row.is_tested]
    if same := [row.label for row in untested if row.to_best is not None and row.to_best.mean]:
        notes.append(
            f"not tested, because the difference is the same in every fold: {', '.join(same)}"
        )
    if short := [row.label for row in rows if _n_defined(row, metric) < 2 <= n_folds]:
        notes.append(f"not tested, because fewer than two folds are defined: {', '.join(short)}")
    if baseline is not None and all(row.label != baseline for row in rows):
        notes.append(f"{baseline} is not among these rows; compared with the best")
    return tuple(notes)


def _n_defined(row: Row, metric: str) -> int:
    """Count the folds on which a row has a value, of every seed."""
    values = row.values(metric)
    return 0 if values is None else int((values == values).sum())


def _place(row: Row, kind: str, metric: Metric) -> tuple[bool, bool, float]:
    """Return what rows are ordered by: unusable ones last, before them incomplete ones."""
    unusable = kind == CLUSTERING and bool(row.usable)
    incomplete = _n_defined(row, metric.name) < len(row.entries[0].folds)
    if row.mean is None:
        return unusable, incomplete, math.inf
    return unusable, incomplete, -row.mean if metric.greater_is_better else row.mean


def _is_bounded(metric: Metric) -> bool:
    return metric.low >= -1 and metric.high <= 1


def _check_baseline(baseline: str, tables: Sequence[Table]) -> None:
    rows = [row for table in tables for row in (*table.rows, *table.baselines)]
    if _find_row(baseline, rows) is None:
        labels = list(dict.fromkeys(row.label for row in rows))
        raise ConfigError(
            f"there is no row {baseline!r} to compare with{did_you_mean(baseline, labels)}"
            f" (rows: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''})"
        )


def _find_row(name: str | None, rows: Sequence[Row]) -> Row | None:
    """Return the row of a label, or of the path of a run in it."""
    if name is None:
        return None
    for row in rows:
        if row.label == name:
            return row
    own = Path(name).resolve()
    for row in rows:
        if any(entry.path.resolve() == own or entry.path.name == name for entry in row.entries):
            return row
    return None


def _baselines_of(entries: Sequence[Entry], metric: Metric) -> list[Entry]:
    """Return what was judged beside the models; equal figures of several runs only once."""
    found: dict[tuple[str, bytes], Entry] = {}
    for entry in entries:
        for baseline in entry.baselines:
            values = baseline.values.get(metric.name)
            if values is not None and _mean(values) is not None:
                found.setdefault((baseline.label, values.round(9).tobytes()), baseline)
    return list(found.values())


# Rows: what is one config, what it is called, which keys tell it from the others.

# They say where and with how many processes a run was made, not what it found.
_NO_MATTER = ("run.outputs", "engine.")
_PATH = "dataset.path"  # shown, as rows are not to look equal, though files with one content are
# Besides: what is shown or kept, and where a file lies; its fingerprint says what is in it.
_HIDDEN = (*_NO_MATTER, "run.", "evaluation.", "dataset.path", "dataset.source", "dataset.licence",
           "dataset.downloads", "dataset.url")  # fmt: skip
_NAMED = ("preprocessing", "model", "search", "dataset")


def _rows_of(entries: Sequence[Entry], metric: Metric, all_keys: bool) -> list[Row]:
    groups: dict[tuple[str, int], list[Entry]] = {}
    seen: Counter[tuple[str, Any]] = Counter()
    telling = _telling(entries)
    for entry, own in zip(entries, telling, strict=True):
        config = _signature(own, (*_NO_MATTER, "run.seed"))
        seed = (config, entry.config.get("run.seed"))
        groups.setdefault((config, seen[seed]), []).append(entry)
        seen[seed] += 1
    made = list(groups.values())
    first = [members[0] for members in made]
    of_entry = {id(entry): own for entry, own in zip(entries, telling, strict=True)}
    configs = [entry.config if all_keys else of_entry[id(entry)] for entry in first]
    varying = _varying(configs, all_keys)
    labels = _labels(first)
    return [
        _row(members, metric, label, own)
        for members, own, label in zip(made, varying, labels, strict=True)
    ]


def _signature(config: Mapping[str, Any], without: tuple[str, ...]) -> str:
    return repr(sorted(item for item in config.items() if not item[0].startswith(without)))


def _telling(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the configs without the places to which ``run.seed`` was handed on.

    A ``random_state`` that equals the seed was handed on, unless an otherwise equal config has
    the same one with another seed: then it was set.
    """
    else_equal = [
        repr(sorted(item for item in entry.config.items()
                    if not item[0].startswith((*_HIDDEN, "dataset.")) and not _is_state(item[0])))
        for entry in entries
    ]  # fmt: skip
    was_set = {
        (config, key, repr(value))
        for entry, config in zip(entries, else_equal, strict=True)
        for key, value in entry.config.items()
        if _is_state(key) and value != entry.config.get("run.seed")
    }
    return [
        {
            key: value for key, value in entry.config.items()
            if not _is_state(key)
            or value != entry.config.get("run.seed")
            or (config, key, repr(value)) in was_set
        }
        for entry, config in zip(entries, else_equal, strict=True)
    ]  # fmt: skip


def _is_state(key: str) -> bool:
    return key.endswith(".random_state")


def _row(
    entries: Sequence[Entry],
    metric: Metric,
    label: str = "",
    varying: Mapping[str, Any] | None = None,
) -> Row:
    """Return a row with its mean, spreads and interval; its place among others comes later."""
    row = Row(
        entries=tuple(entries),
        label=label or entries[0].label,
        varying=varying or {},
        rank=None,
        mean=None,
        std=None,
        seed_std=None,
        interval=None,
        tied_with_best=False,
        to_best=None,
    )
    by_fold = row.values(metric.name)
    means = []
    if by_fold is not None:  # of the same folds
        known = by_fold == by_fold
        means = [mean for e in entries if (mean := _mean(e.values[metric.name][known])) is not None]
    missed = (text for e in entries for text in e.manifest.get("constraints_missed") or ())
    return replace(
        row,
        mean=row.mean_of(metric.name),
        std=_std(by_fold) if by_fold is not None else None,
        seed_std=_std(means),
        interval=row.interval_of(metric.name),
        usable=tuple(dict.fromkeys(missed)),
    )


def _labels(entries: Sequence[Entry]) -> list[str]:
    """Return a short name for each row, no two alike.

    The name of the run if it has one, else the model, with preprocessing and search where these
    differ; then the config hash, then a number.
    """
    manifests = [entry.manifest for entry in entries]
    differ = [
        key for key in ("preprocessing", "search") if len({m[key] for m in manifests}) > 1
    ]  # fmt: skip
    labels = [
        (m["name"] or " ".join([m["model"], *(m[key] for key in differ if m[key] != "none")]))[:200]
        for m in manifests
    ]
    counts = Counter(labels)
    labels = [
        label if counts[label] == 1 else f"{label} {m['config_hash'][:8]}"
        for label, m in zip(labels, manifests, strict=True)
    ]
    taken: Counter[str] = Counter()
    unique = []
    for label in labels:
        taken[label] += 1
        unique.append(label if taken[label] == 1 else f"{label} #{taken[label]}")
    return unique


def _varying(configs: Sequence[Mapping[str, Any]], all_keys: bool) -> list[dict[str, Any]]:
    """Return of each config the keys that tell it from the others.

    Left out are keys that say nothing of the result (``run``, ``engine``, ``evaluation``, where
    a file lies), and search spaces of rows without a search. Where the option of a group differs
    (``model.name``), a key below it is told of a row only if it differs between rows of the same
    option: that two models have other parameters goes without saying.
    """
    absent = object()
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differing = [
        key for key in keys
        if any(config.get(key, absent) != configs[0].get(key, absent) for config in configs)
    ]  # fmt: skip
    if all_keys:
        return [{key: c[key] for key in differing if key in c} for c in configs]
    varying: list[dict[str, Any]] = [{} for _ in configs]
    for key in differing:
        if key.startswith(_HIDDEN) and key != _PATH:
            continue
        group = key.partition(".")[0]
        siblings: dict[str, list[int]] = {}
        for number, config in enumerate(configs):
            if ".space." not in key or config.get("search.sampler", "none") != "none":
                option = config.get(f"{group}.name") if key != f"{group}.name" else None
                siblings.setdefault(repr(option) if group in _NAMED else "", []).append(number)
        for numbers in siblings.values():
            values = [configs[number].get(key, absent) for number in numbers]
            if any(value != values[0] for value in values):
                for number, value in zip(numbers, values, strict=True):
                    if value is not absent:
                        varying[number][key] = _shown_path(value) if key == _PATH else value
    return varying


def _mean(values: Floats | None) -> float | None:
    if values is None:
        return None
    known = values[values == values]
    return float(known.mean()) if known.size else None


def _std(values: ArrayLike) -> float | None:
    import numpy as np

    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    return float(known.std(ddof=1)) if known.size > 1 else None


# Differences between rows.


def paired(
    differences: ArrayLike, test_to_train: float, *, rope: float = 0.0, level: float = 0.95
) -> Paired:
    r"""Judge differences between two models that were made on the same folds.

    Parameters
    ----------
    differences : array-like of float, shape (n,)
        First minus second model, by fold (and repeat), positive where the first is better.
    test_to_train : float
        Customers who judge a fold by customers who are learned from: 1/(k - 1) for k folds.
    rope : float
        Half the width of the region of practical equivalence.
    level : float
        Of the interval.

    Returns
    -------
    Paired

    Notes
    -----
    Folds share training rows, so their differences are correlated and the usual t-test takes
    far too many for real. The corrected resampled t-test [1]_ takes for the variance of the mean

    .. math:: \left(\frac{1}{n} + \frac{n_{test}}{n_{train}}\right) s^2

    with the sample variance :math:`s^2` and n - 1 degrees of freedom; two-sided. The correlated
    Bayesian t-test [2]_ [3]_ has, under a flat prior and with the correlation
    :math:`\rho = n_{test}/(n_{test} + n_{train})`, a posterior of the mean difference that is
    Student's t with the same centre, scale and degrees of freedom, since
    :math:`\rho/(1-\rho) = n_{test}/n_{train}`; the probabilities are its mass above, within and
    below the rope. Where all differences are the same there is no variance to go by, and nothing
    is tested.

    References
    ----------
    .. [1] Nadeau and Bengio (2003). Inference for the generalization error. Machine Learning
       52(3), 239-281.
    .. [2] Corani and Benavoli (2015). A Bayesian approach for comparing cross-validated
       algorithms on multiple data sets. Machine Learning 100(2-3), 285-304.
    .. [3] Benavoli, Corani, Demsar and Zaffalon (2017). Time for a change: a tutorial for
       comparing multiple classifiers through Bayesian analysis. JMLR 18(77), 1-36.

    Examples
    --------
    >>> found = paired([0.02, 0.01, 0.03, 0.02, 0.02], 1 / 4, rope=0.01)
    >>> round(found.p, 4), round(found.p_better, 4)
    (0.0135, 0.9486)
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    values = np.asarray(differences, dtype=np.float64)
    n, mean = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    if spread <= 1e-12 * max(1.0, float(np.abs(values).max())):  # nothing but rounding
        return Paired(
            mean=mean, standard_error=math.nan, interval=(math.nan, math.nan), p=None, p_holm=None,
            p_better=None, p_equivalent=None, p_worse=None, n=n, differences=values,
        )  # fmt: skip
    error = math.sqrt(1 / n + test_to_train) * spread
    half_width = float(stdtrit(n - 1, (1 + level) / 2)) * error
    better = float(stdtr(n - 1, (mean - rope) / error))
    worse = float(stdtr(n - 1, (-rope - mean) / error))
    return Paired(
        mean=mean,
        standard_error=error,
        interval=(mean - half_width, mean + half_width),
        p=float(2 * stdtr(n - 1, -abs(mean) / error)),
        p_holm=None,
        p_better=better,
        p_equivalent=max(0.0, 1.0 - better - worse),
        p_worse=worse,
        n=n,
        differences=values,
    )


def paired_difference(
    a: Row, b: Row, metric: str, *, rope: float, level: float = 0.95
) -> Paired | None:
    """Compare two rows fold by fold, by `paired`; several seeds are averaged first.

    Parameters
    ----------
    rope : float
        In the units of the metric.

    Returns
    -------
    Paired or None
        None if the rows are not judged on the same folds of the same data, by the same known
        segments or (metrics of clusters alone) in the same space of features; if one lacks the
        metric, or fewer than two folds have a value of both.
    """
    import numpy as np

    first, second = a.entries[0], b.entries[0]
    values, others = a.values(metric), b.values(metric)
    known = metric_by_name(metric)
    if values is None or others is None or _why_not(first, second, known):
        return None
    sign = 1.0 if known.greater_is_better else -1.0
    differences = sign * (values - others)
    differences = differences[~np.isnan(differences)]
    if len(differences) < 2:
        return None
    return paired(differences, _test_to_train(first), rope=rope, level=level)


def _why_not(a: Entry, b: Entry, metric: Metric) -> str:
    """Say why two runs cannot be compared by a metric; "": they can."""
    of_a, of_b = a.manifest["dataset"], b.manifest["dataset"]
    if of_a["name"] != of_b["name"]:
        return f"other data sets: {of_a['name']} and {of_b['name']}"
    if of_a["synthetic"] != of_b["synthetic"]:
        return "one judges synthetic customers, the other real ones"
    if of_a["fingerprint"] != of_b["fingerprint"]:
        prints = f"{of_a['fingerprint'][:12]} and {of_b['fingerprint'][:12]}"
        return f"other data under the same name: fingerprints {prints}"
    split_a, split_b = a.manifest["split"], b.manifest["split"]
    if split_a["hash"] != split_b["hash"] or a.folds != b.folds:
        return f"other folds: {_folds_text(split_a)} and {_folds_text(split_b)}"
    if metric.of == "clusters":
        return _OTHER_SPACE if _space(a) != _space(b) else ""
    if _target(a) != _target(b):
        return f"other targets: {_target(a) or 'none'} and {_target(b) or 'none'}"
    if of_a["n_rows"] != of_b["n_rows"]:
        return f"other rows of the same table: {of_a['n_rows']:,} and {of_b['n_rows']:,}"
    segments_a, segments_b = a.manifest["segments"], b.manifest["segments"]
    if segments_a != segments_b:
        both = f"{_segments_text(segments_a)}; and {_segments_text(segments_b)}"
        return f"other known segments: {both}"
    return ""


_OTHER_SPACE = "other prepared features: distances of two feature spaces do not compare"


def _test_to_train(entry: Entry) -> float:
    split = entry.manifest["split"]
    if split["protocol"] == "holdout":
        share = float(split["test_size"])
        return share / (1 - share)
    return 1 / (int(split["n_splits"]) - 1)


def _compared(row: Row, reference: Row, metric: Metric, rope: float, alpha: float) -> Paired | None:
    if row is reference:
        return None
    return paired_difference(row, reference, metric.name, rope=rope, level=1 - alpha)


def _tested(
    rows: Sequence[Row], best: Row, reference: Row, metric: Metric, rope: float, alpha: float
) -> list[Row]:
    """Return rows with their differences, and whether they are tied with the best."""
    to_best = _with_holm([_compared(row, best, metric, rope, alpha) for row in rows])
    tied = [
        row is best or (found is not None and _is_tied(found, alpha))
        for row, found in zip(rows, to_best, strict=True)
    ]
    if reference is not best:
        to_best = _with_holm([_compared(row, reference, metric, rope, alpha) for row in rows])
    return [
        replace(row, tied_with_best=is_tied, to_best=found)
        for row, is_tied, found in zip(rows, tied, to_best, strict=True)
    ]


def _is_tied(found: Paired, alpha: float) -> bool:
    return found.mean == 0 if found.p_holm is None else found.p_holm > alpha


def _with_holm(found: Sequence[Paired | None]) -> list[Paired | None]:
    adjusted = holm([one.p for one in found if one is not None and one.p is not None])
    left = iter(adjusted)
    return [
        one if one is None or one.p is None else replace(one, p_holm=next(left)) for one in found
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values by Holm's step-down method; in the order in which they were given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, 0.005])
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for step, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = largest
    return adjusted


# Across data sets.


def rank_across(
    values: ArrayLike, datasets: Sequence[str], labels: Sequence[str], metric: str, alpha: float
) -> Ranks:
    r"""Rank models on several data sets, and say which the ranks cannot separate.

    Parameters
    ----------
    values : array-like of float, shape (n_datasets, n_labels)
        Means of the metric.
    alpha : float
        Level of both tests.

    Notes
    -----
    With N data sets and k models of mean ranks :math:`R_j` [1]_: Friedman's
    :math:`\chi_F^2 = \frac{12N}{k(k+1)} \left(\sum_j R_j^2 - \frac{k(k+1)^2}{4}\right)` is taken
    to Iman and Davenport's :math:`F_F = \frac{(N-1)\chi_F^2}{N(k-1) - \chi_F^2}` with k - 1 and
    (k - 1)(N - 1) degrees of freedom. Of up to ten data sets that is too rough, and p is the
    share of permutations of each data set's ranks in which :math:`\sum_j R_j^2` is as large: of
    all where they can be listed, else of 20,000 drawn ones (with the observed one among them).
    p is never below :math:`(k!)^{1-N}`, the chance of one order everywhere.

    Where p is at most ``alpha``, models whose mean ranks are nearer than Nemenyi's
    :math:`CD = q_\alpha \sqrt{k(k+1)/(6N)}` are not separated (:math:`q_\alpha`: studentised range
    over :math:`\sqrt 2`); else none are.

    References
    ----------
    .. [1] Demsar (2006). Statistical comparisons of classifiers over multiple data sets. JMLR 7,
       1-30.
    """
    import numpy as np
    from scipy.stats import rankdata

    sign = -1.0 if metric_by_name(metric).greater_is_better else 1.0
    # Rounded: 0.1 + 0.2 and 0.3 are a tie.
    ranks = rankdata(np.round(sign * np.asarray(values, dtype=np.float64), 12), axis=1)
    return _judged(ranks, datasets, labels, metric, alpha)


def _judged(
    ranks: Floats, datasets: Sequence[str], labels: Sequence[str], metric: str, alpha: float
) -> Ranks:
    import numpy as np
    from scipy.stats import studentized_range

    n, k = ranks.shape
    means = ranks.mean(axis=0)
    p = _p_of_permutations(ranks) if n <= _FEW_DATASETS else _p_of_f(ranks)
    critical = None
    if p <= alpha:
        q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
        critical = q * math.sqrt(k * (k + 1) / (6 * n))
    return Ranks(
        metric, tuple(datasets), tuple(labels), ranks, means, p, critical,
        _not_separated(means, labels, math.inf if critical is None else critical),
    )  # fmt: skip


def _p_of_permutations(ranks: Floats) -> float:
    """Return the share of permutations within rows whose column sums are as far apart."""
    import numpy as np

    n, k = ranks.shape
    # The order of the first row says nothing: the columns are no different.
    is_listed = (n - 1) * math.lgamma(k + 1) <= math.log(_EXACT)
    if is_listed:
        sums = ranks[:1]
        for row in ranks[1:]:
            orders = np.array(list(itertools.permutations(row)))
            sums = (sums[:, None, :] + orders[None]).reshape(-1, k)
    else:
        rng = np.random.default_rng(0)
        sums = np.tile(ranks[0], (_DRAWS, 1))
        for row in ranks[1:]:
            sums += rng.permuted(np.tile(row, (_DRAWS, 1)), axis=1)
    # Ranks are halves, so the squares are exact.
    as_large = int(((sums**2).sum(axis=1) >= (ranks.sum(axis=0) ** 2).sum()).sum())
    return as_large / len(sums) if is_listed else (as_large + 1) / (len(sums) + 1)


def _p_of_f(ranks: Floats) -> float:
    """Return the p value of Iman and Davenport's F."""
    from scipy.special import fdtrc

    n, k = ranks.shape
    means = ranks.mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * (float((means**2).sum()) - k * (k + 1) ** 2 / 4)
    left = n * (k - 1) - chi2
    least = max(math.exp(-(n - 1) * math.lgamma(k + 1)), 1e-300)
    if left <= 1e-9:
        return least
    return max(least, float(fdtrc(k - 1, (k - 1) * (n - 1), (n - 1) * chi2 / left)))


def _not_separated(
    means: Floats, labels: Sequence[str], critical: float
) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups of two labels or more whose mean ranks are that near."""
    order = sorted(range(len(labels)), key=lambda i: means[i])
    groups: list[tuple[str, ...]] = []
    last_end = 0
    for start in range(len(order)):
        end = start
        while end < len(order) and means[order[end]] - means[order[start]] < critical:
            end += 1
        if end - start > 1 and end > last_end:
            groups.append(tuple(labels[i] for i in order[start:end]))
            last_end = end
    return tuple(groups)


def _ranks(tables: Sequence[Table], alpha: float) -> tuple[Ranks | None, str]:
    """Rank the configs that stand in tables of several data sets, and say what is left out.

    None below 2 data sets or 3 configs. A config is ranked within a data set as in its table.
    """
    import numpy as np
    from scipy.stats import rankdata

    if len({_data(table) for table in tables}) < 2:
        return None, ""
    note = ""
    for kind, metric in dict.fromkeys((table.kind, table.metric) for table in tables):
        of_kind = [table for table in tables if (table.kind, table.metric) == (kind, metric)]
        of_data: dict[tuple[str, str], Table] = {}
        for table in of_kind:
            of_data.setdefault(_data(table), table)
        if len(of_data) < 2:
            continue
        firsts = [[row.entries[0] for row in table.rows] for table in of_data.values()]
        telling = iter(_telling([entry for members in firsts for entry in members]))
        rows = [
            {_signature(next(telling), (*_HIDDEN, "dataset.")): row for row in table.rows}
            for table in of_data.values()
        ]
        common = [own for own in rows[0] if all(own in others for others in rows)]
        every = {own: row.label for others in reversed(rows) for own, row in others.items()}
        if len(common) < 3:
            note = note or (
                f"no ranks across data sets by {metric}: {len(common)} of {len(every)} configs "
                f"are judged on each of the {len(of_data)} data sets, and ranks need three"
            )
            continue
        names = Counter(name for name, _ in of_data)
        places = []
        for others in rows:
            own_places = [_rounded(_place(others[own], kind, metric_by_name(metric)))
                          for own in common]  # fmt: skip
            order = sorted(set(own_places))
            places.append([order.index(place) for place in own_places])
        ranks = _judged(
            np.asarray(rankdata(places, axis=1), dtype=np.float64),
            [name if names[name] == 1 else f"{name} {print_[:8]}" for name, print_ in of_data],
            [rows[0][own].label for own in common],
            metric,
            alpha,
        )
        left_out = [label for own, label in every.items() if own not in common]
        others_by = {
            table.metric for table in tables if (table.kind, table.metric) != (kind, metric)
        }
        return ranks, _left_out(left_out, len(of_kind) - len(of_data), sorted(others_by))
    return None, note or "no ranks across data sets: they are ranked by different metrics"


def _data(table: Table) -> tuple[str, str]:
    data = table.rows[0].entries[0].manifest["dataset"]
    return data["name"], data["fingerprint"]


def _rounded(place: tuple[bool, bool, float]) -> tuple[bool, bool, float]:
    return place[0], place[1], round(place[2], 12)


def _left_out(labels: Sequence[str], n_tables: int, metrics: Sequence[str]) -> str:
    said = []
    if labels:
        some = ", ".join([*labels[:6], *([f"{len(labels) - 6} more"] if len(labels) > 6 else [])])
        said.append(f"configs that are not judged on every data set: {some}")
    if n_tables:
        said.append(f"{n_tables} further {'table' if n_tables == 1 else 'tables'} of a data set")
    if metrics:
        said.append(f"tables by {', '.join(metrics)}")
    return f"the ranks across data sets leave out {'; and '.join(said)}" if said else ""


# Two runs.


def diff(
    a: Entry, b: Entry, *, metric: str | None = None, rope: float = 0.01, level: float = 0.95
) -> Difference:
    """Say what two runs differ in: config, metrics, data, environment.

    Parameters
    ----------
    metric : str, optional
        Of ``paired``; without it the runs' own, if they agree, else accuracy or silhouette.
    rope : float
        As in `compare`; relative to the better of the two means.
    level : float
        Of the intervals.

    Raises
    ------
    ConfigError
        If there is no such metric, or a number is out of range.
    """
    import pandas as pd

    _check_rope(rope)
    _check_level(level)
    both = metric_by_name(metric) if metric else _metric_of_both(a, b)
    names = [name for name in dict.fromkeys((*a.values, *b.values)) if _known(name)]
    why = {name: _why_not(a, b, metric_by_name(name)) for name in (*names, both.name)}
    # Means and differences are of the same folds.
    row_a, row_b = (_row((entry,), both) for entry in _on_same_folds(a, b, why))
    table = pd.DataFrame(
        [
            (name, row_a.mean_of(name), row_b.mean_of(name),
             *_difference(row_a, row_b, name, why[name], level))
            for name in names
        ],
        columns=["metric", "a", "b", "difference", "low", "high", "p"],
    ).astype(dict.fromkeys(["a", "b", "difference", "low", "high", "p"], float))  # fmt: skip
    best = max(abs(row_a.mean or 0.0), abs(row_b.mean or 0.0))
    width = rope if _is_bounded(both) else rope * best
    return Difference(
        a=a,
        b=b,
        config=_differing(a.config, b.config),
        metrics=table,
        data=_differing(_data_facts(a), _data_facts(b)),
        environment=_differing(_environment(a), _environment(b)),
        metric=both.name,
        paired=paired_difference(row_a, row_b, both.name, rope=width, level=level),
        comparable=why[both.name],
        notes=_notes_of_two(a, b, both.name, why),
    )


def _on_same_folds(a: Entry, b: Entry, why: Mapping[str, str]) -> tuple[Entry, Entry]:
    """Return two entries, comparable metrics only with the values of folds that both define."""
    import numpy as np

    values_a, values_b = dict(a.values), dict(b.values)
    for name in values_a.keys() & values_b.keys() & {name for name in why if not why[name]}:
        missing = np.isnan(values_a[name]) | np.isnan(values_b[name])
        values_a[name] = np.where(missing, np.nan, values_a[name])
        values_b[name] = np.where(missing, np.nan, values_b[name])
    return replace(a, values=values_a), replace(b, values=values_b)


def _notes_of_two(a: Entry, b: Entry, metric: str, why: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    if not why[metric] and metric in a.values and metric in b.values:
        both = a.values[metric] + b.values[metric]
        if (known := int((both == both).sum())) < len(both):
            notes.append(
                f"{metric}: means and difference are of the {known} of {len(both)} folds "
                "on which both are defined"
            )
    of_cause: dict[str, list[str]] = {}
    for name, cause in why.items():
        if cause and cause != why[metric]:
            of_cause.setdefault(cause, []).append(name)
    notes += [f"not compared by {', '.join(names)}: {cause}" for cause, names in of_cause.items()]
    return tuple(notes)


def _metric_of_both(a: Entry, b: Entry) -> Metric:
    tasks = {str(entry.manifest["task"]) for entry in (a, b)}
    own = {entry.manifest["metric"] for entry in (a, b)}
    kind = tasks.pop() if len(tasks) == 1 else CLASSIFICATION
    if len(own) == 1 and _known(name := own.pop()) and name in a.values and name in b.values:
        return metric_by_name(name)
    return _own_metric([a, b], kind)


def _known(metric: str) -> bool:
    try:
        return bool(metric_by_name(metric))
    except ConfigError:
        return False


def _difference(
    a: Row, b: Row, metric: str, why: str, level: float
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return difference, low, high and p; the first alone where there is one fold."""
    if (found := paired_difference(a, b, metric, rope=0.0, level=level)) is not None:
        return found.mean, *found.interval, found.p
    of_a, of_b = a.mean_of(metric), b.mean_of(metric)
    if why or of_a is None or of_b is None:
        return None, None, None, None
    sign = 1 if metric_by_name(metric).greater_is_better else -1
    return sign * (of_a - of_b), None, None, None


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    absent = object()
    keys = dict.fromkeys((*a, *b))
    return [(k, a.get(k), b.get(k)) for k in keys if a.get(k, absent) != b.get(k, absent)]


def _data_facts(entry: Entry) -> dict[str, Any]:
    data, split = entry.manifest["dataset"], entry.manifest["split"]
    return {
        **{k: data.get(k) for k in ("name", "synthetic", "fingerprint", "n_rows", "n_features")},
        **{f"{role} columns": list(columns) for role, columns in data["roles"].items()},
        **{f"customers in {name}": n for name, n in entry.manifest["segments"].items()},
        "folds": _folds_text(split),
        "split hash": split["hash"],
    }


def _environment(entry: Entry) -> dict[str, Any]:
    git = entry.manifest["git"] or {}
    return {
        **entry.manifest["versions"],
        "platform": entry.manifest.get("platform"),
        "git commit": git.get("commit"),
        "git has changes": git.get("dirty"),
    }


# Plain values.


def to_records(table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values (str, int, finite float, bool or None).

    Keys: ``rank, run``, the varying config keys, ``metric`` (its name), ``mean, std, seed_std,
    low, high, n_seeds, tied_with_best, difference, difference_low, difference_high, p, p_holm,
    p_better, p_equivalent, p_worse``, the other metrics by name (means), ``fit_seconds, missed,
    path`` (of several seeds: joined by ``; ``). Baselines follow with rank None. All records
    have the same keys; a config key that is called like one of these is told as ``config.KEY``.
    """
    varying = list(dict.fromkeys(key for row in table.rows for key in row.varying))
    return [_record(row, table, varying) for row in (*table.rows, *table.baselines)]


def _record(row: Row, table: Table, varying: Sequence[str]) -> dict[str, Any]:
    found = row.to_best
    low, high = row.interval or (None, None)
    record = {
        "rank": row.rank,
        "run": row.label,
        "metric": table.metric,
        "mean": row.mean,
        "std": row.std,
        "seed_std": row.seed_std,
        "low": low,
        "high": high,
        "n_seeds": len(row.entries),
        "tied_with_best": row.tied_with_best,
        "difference": found.mean if found else None,
        "difference_low": found.interval[0] if found else None,
        "difference_high": found.interval[1] if found else None,
        "p": found.p if found else None,
        "p_holm": found.p_holm if found else None,
        "p_better": found.p_better if found else None,
        "p_equivalent": found.p_equivalent if found else None,
        "p_worse": found.p_worse if found else None,
        **{name: row.mean_of(name) for name in table.metrics[1:]},
        "fit_seconds": row.fit_seconds,
        "missed": "; ".join(row.usable),
        "path": "; ".join(str(entry.path) for entry in row.entries),
    }
    keys = {f"config.{k}" if k in record else k: row.varying.get(k) for k in varying}
    first = {key: record.pop(key) for key in ("rank", "run")}
    return {key: _plain(value) for key, value in (first | keys | record).items()}


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)
