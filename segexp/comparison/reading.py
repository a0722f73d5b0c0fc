"""Run directories read for comparison.

Only small text files of a run are read, never its predictions, and nothing in them is trusted:
a directory that cannot be read becomes one :class:`Problem` and never stops a table. Names and
labels are kept as they were found; whoever writes them somewhere escapes them.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.bounds import LOADER, yaml_too_large
from segexp.comparison.entries import UNREADABLE, Entry, Problem, is_known
from segexp.config.schema import PROTOCOLS
from segexp.errors import ConfigError, RunError, SegexpError, did_you_mean
from segexp.metrics import METRICS_OF, metric_by_name
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
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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

_WHY = {
    FAILED: "no cause was recorded",
    INTERRUPTED: "it was stopped; `segexp resume` goes on with it",
    KILLED: "its process is gone; `segexp resume` goes on with it",
    RUNNING: "it is not finished",
}


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
    if not is_known(metric):  # of another version
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
