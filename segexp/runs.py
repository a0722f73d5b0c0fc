"""The run directory: the only module that knows its file names.

A run directory appears under its final name complete with config and manifest, and its status
says how far it got. ``completed`` is written last.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import logging
import math
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexp.errors import RunError, RunFailedError, SegexpError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

_logged_run: ContextVar[Path | None] = ContextVar("logged_run", default=None)

CONFIG = "config.yaml"
OVERRIDES = "overrides.txt"
MANIFEST = "manifest.json"
SCORES = "scores.csv"
BASELINES = "baselines.csv"
TIMINGS = "timings.csv"
SUMMARY = "summary.json"
PREDICTIONS = "predictions.parquet"
IMPORTANCE = "importance.csv"
TRIALS = "trials.parquet"
SEARCH = "search.json"
SEGMENTATION = "segmentation.json"  # of a clusterer: in-sample figures, stability, verdict on k
SEGMENTS = "segments.csv"  # a profile of each segment that was found
CUSTOMERS = "customers.parquet"  # the segment of each customer, from the final model
STABILITY = "stability.csv"
PARENTS = "slsa.csv"  # where each segment comes from as their number grows
K_TABLE = "k.csv"
SAMPLE = "sample.parquet"  # features of some customers, for the report
PROFILE = "profile.json"  # what the columns of the table are like
RFM = "rfm.csv"  # customers, orders and revenue of each RFM segment
AT_RISK = "at_risk.csv"  # good customers who stay away, each with the reason
HIGH_VALUE = "high_value.csv"  # the best customers, each with the reason
RESPONSES = "responses.csv"  # how the customers of each segment responded
VALUE = "value.json"  # a value model: parameters, convergence, what the holdout says
DECILES = "deciles.csv"  # predicted beside actual, by tenth of the predictions
VALUE_MATRIX = "value_matrix.csv"  # probability alive by customer value
ITEMSETS = "itemsets.csv"
RULES = "rules.csv"
SEGMENT_RULES = "segment_rules.csv"
BASKETS = "baskets.json"
STUDIES = "studies"
JOURNAL = "studies/journal.log"
FIGURES = "figures"
FINAL = "final"  # the rows of the final model, all of them, among the names of rows
FOLDS = "folds"  # folds that are finished, while a run is not
SWEEP = "sweep.json"
LOG = "run.log"
MODEL = "model"
PIPELINE = "model/pipeline.skops"
MODEL_SCHEMA = "model/schema.json"

MAX_CAUSE = 300  # letters; scikit-learn's advice can fill a page

SYNTHETIC = "synthetic customers: these figures say nothing about any market"
RUNNING, COMPLETED, FAILED, INTERRUPTED = "running", "completed", "failed", "interrupted"
KILLED = "killed"  # never written: a run that says `running` while its process is gone
# Of a completed run that goes on: the words by which it does, and, as long as its results are those
# of before, a flag.
PENDING, WHOLE = "pending", "results_are_whole"


def utc_now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


_BOUGHT = dict.fromkeys(
    ("orders", "revenue", "revenue_share", "median[recency]", "median[frequency]",
     "median[monetary]"),
    float,
)  # fmt: skip
_RATES = dict.fromkeys(("rate", "low", "high", "lift", "q_value"), float)
_TABLES: dict[str, dict[str, type]] = {  # columns that are read as something else than text
    RFM: {"segment": str, "customers": int, "share": float, **_BOUGHT},
    AT_RISK: {"id": str, "revenue": float, "reason": str},
    HIGH_VALUE: {"id": str, "revenue": float, "reason": str},
    RESPONSES: {"segment": str, "outcome": str, "customers": int, "responders": int, **_RATES},
}
_SCORE_COLUMNS: dict[str, type] = {"repeat": int, "fold": int, "metric": str, "value": float}


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
    )


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


_MAYBE_TEXT = _is(str, type(None))
_FACTS: dict[str, Callable[[Any], bool]] = {  # what a manifest holds, by dotted key
    "start": _is(str),
    "name": _MAYBE_TEXT,
    "tags": _list_of(_is(str)),
    "model": _is(str),
    "preprocessing": _is(str),
    "search": _is(str),
    "config_hash": _is(str),
    "metric": _is(str),
    "confidence": _is(float),
    "seed": _is(int),
    "segments": _dict_of(_is(int)),
    "versions": _dict_of(_is(str)),
    "git": lambda git: (
        git is None or (_dict_of(_is(str, bool))(git) and {*git} >= {"commit", "dirty"})
    ),
    "cause": _MAYBE_TEXT,
    "process": _is(dict, type(None)),
    "seconds": _is(int, float, type(None)),
    "resumed": lambda value: value is None or _list_of(_is(str))(value),
    "warnings": lambda value: value is None or _list_of(_is(str))(value),
    "dataset.name": _is(str),
    "dataset.synthetic": _is(bool),
    "dataset.fingerprint": _is(str),
    "dataset.n_rows": _is(int),
    "dataset.n_rows_read": _is(int),
    "dataset.n_features": _is(int),
    "dataset.roles": _dict_of(_list_of(_is(str))),
    "dataset.findings": _list_of(lambda value: isinstance(value, dict) and "message" in value),
    "split.protocol": _is(str),
    "split.n_splits": _is(int),
    "split.n_repeats": _is(int),
    "split.test_size": _is(float, type(None)),
    "split.group": _MAYBE_TEXT,
    "split.split_seed": _is(int),
    "split.hash": _is(str),
}


def _began(pid: int) -> str | None:
    """Return when a process began, in the words of the system; None where it has none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()
    # A killed process that nobody waits for stays in the table, in containers for ever.
    return None if fields[0] in "ZX" else fields[19]


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "host": socket.gethostname(), "began": _began(pid)}


@dataclass(frozen=True)
class Run:
    """A run directory that exists, whatever its status."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def status(self) -> str:
        """completed, failed, interrupted, running, or killed (its process is gone).

        A completed run that went on with more trials and was killed over it is still completed.
        """
        status = str(self.manifest["status"])
        if status != RUNNING or self._is_alive():
            return status
        return COMPLETED if self.has_whole_results else KILLED

    @property
    def has_whole_results(self) -> bool:
        """Whether all results are there, be they those of before it went on."""
        return self.manifest["status"] == COMPLETED or self.manifest.get(WHOLE) is True

    @property
    def pending(self) -> list[str]:
        """Words by which a completed run began to go on; none once it has come to its new end."""
        return _words_in(self.manifest)

    def _is_alive(self) -> bool:
        process = self.manifest.get("process")
        process = process if isinstance(process, dict) else {}
        here = process.get("host") == socket.gethostname()
        # There is no way to tell from here for another machine's run, nor on Windows, where
        # signal 0 is not a question.
        if not here or sys.platform == "win32":
            return True
        try:
            pid = int(process["pid"])
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, KeyError, TypeError, ValueError, OverflowError):
            return False
        # A number is given again, and soon where a container counts from 1.
        return process.get("began") in (None, _began(pid))

    def check_facts(self) -> None:
        """Check that the manifest has what every run records before it computes anything.

        Raises
        ------
        RunError
            Names the first entry that is missing or of another kind.
        """
        for key, is_right in _FACTS.items():
            value: Any = self.manifest
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if not is_right(value):
                raise RunError(
                    f"{self.path / MANIFEST}: {key} is missing or damaged: {value!r:.40}"
                )

    def read_overrides(self) -> str:
        """Return the command that made the run."""
        path = self.path / OVERRIDES
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path} cannot be read: {_cause(error)}") from error

    def read_summary(self) -> dict[str, dict[str, Any]]:
        """Return metric -> mean, std, interval, n."""
        path = self.path / SUMMARY
        summary = dict(_read_json(path))
        for metric, entry in summary.items():
            if not isinstance(entry, dict) or not {"mean", "std", "interval", "n"} <= set(entry):
                raise RunError(f"{path}: the entry of {metric} is damaged: {entry!r:.40}")
            interval = entry["interval"]
            numbers = [entry["mean"], entry["std"], *(interval or [None, None])]
            if len(numbers) != 4 or not all(isinstance(x, int | float | None) for x in numbers):
                raise RunError(f"{path}: the entry of {metric} is damaged: {entry!r:.40}")
        return summary

    def read_scores(self) -> pd.DataFrame:
        """Return the long table ``repeat, fold, metric, value``."""
        return _read_csv(self.path / SCORES, _SCORE_COLUMNS)

    def read_baselines(self) -> pd.DataFrame:
        """Return the long table ``baseline, repeat, fold, metric, value``."""
        return _read_csv(self.path / BASELINES, {"baseline": str, **_SCORE_COLUMNS})

    def read_timings(self) -> pd.DataFrame:
        """Return ``repeat, fold, fit_seconds, predict_seconds``."""
        return _read_csv(
            self.path / TIMINGS,
            {"repeat": int, "fold": int, "fit_seconds": float, "predict_seconds": float},
        )

    def read_importance(self) -> pd.DataFrame:
        """Return the long table ``kind, feature, mean, std``."""
        return _read_csv(
            self.path / IMPORTANCE, {"kind": str, "feature": str, "mean": float, "std": float}
        )

    def read_search(self) -> dict[str, Any]:
        """Return what each study chose: ``metrics``, ``n_objectives`` and ``choices``."""
        path = self.path / SEARCH
        content = dict(_read_json(path))
        needed = {"rows", "model", "trial", "params", "values", "n_trials", "states", "stopped_by"}
        choices = content.get("choices")
        if not isinstance(choices, list) or not all(
            isinstance(choice, dict) and needed <= set(choice) for choice in choices
        ):
            raise RunError(f"{path}: choices are missing or damaged")
        return content

    def read_trials(self) -> pd.DataFrame:
        """Return one row per trial of every study."""
        return self._read_parquet(TRIALS)

    def read_segmentation(self) -> dict[str, Any]:
        """Return what a clusterer made of all customers: in-sample figures and verdicts."""
        path = self.path / SEGMENTATION
        content = dict(_read_json(path))
        if not all(isinstance(content.get(key), dict) for key in ("in_sample", "assignment")):
            raise RunError(f"{path}: in_sample or assignment are missing or damaged")
        return content

    def read_segments(self) -> pd.DataFrame:
        """Return one row per segment that was found."""
        return _read_csv(self.path / SEGMENTS, {"segment": str, "n": int, "share": float})

    def read_k_table(self) -> pd.DataFrame:
        """Return the criteria of the number of segments, by rows and k."""
        return _read_csv(self.path / K_TABLE, {"rows": str, "k": int})

    def read_table(self, name: str) -> pd.DataFrame:
        """Return a table of the customers of segments: RFM, AT_RISK, HIGH_VALUE or RESPONSES."""
        return _read_csv(self.path / name, _TABLES[name])

    def read_customers(self) -> pd.DataFrame:
        """Return the segment of each customer."""
        return self._read_parquet(CUSTOMERS)

    def read_predictions(self) -> pd.DataFrame:
        """Return one row per customer and repeat."""
        return self._read_parquet(PREDICTIONS)

    def _read_parquet(self, name: str) -> pd.DataFrame:
        import pandas as pd

        path = self.path / name
        if not path.exists():  # pandas says no more than the path
            raise RunError(f"{path} is missing from the run")
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {_cause(error)}") from error


def _words_in(manifest: Mapping[str, Any]) -> list[str]:
    found = manifest.get(PENDING)
    return [str(word) for word in found] if isinstance(found, list) else []


def _cause(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_cause(error)}"


def without_nan(value: Any) -> Any:
    """Return nested values with None for what is not finite, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {_cause(error)}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not valid JSON: {_cause(error)}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _read_csv(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    import pandas as pd

    try:
        # As text first: a segment or a column may be called "NA", and numpy rounds correctly.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
        if missing := [column for column in columns if column not in table]:
            raise RunError(f"{path} lacks the column {missing[0]!r}")
        return table.astype(dict(columns))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {_cause(error)}") from error


def open_run(path: Path) -> Run:
    """Open a run directory.

    Raises
    ------
    RunError
        If there is none, its manifest cannot be read, or it was written by a newer segexp.
    """
    if not path.is_dir():
        raise RunError(f"{path}: there is no such folder; `segexp ls` lists the runs")
    if not (path / MANIFEST).is_file():
        raise RunError(f"{path} is not a run directory: it has no {MANIFEST}")
    manifest = _read_json(path / MANIFEST)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{path} was written with schema version {version!r}; "
            f"this segexp reads version {SCHEMA_VERSION}"
        )
    if manifest.get("status") not in (RUNNING, COMPLETED, FAILED, INTERRUPTED):
        raise RunError(f"{path / MANIFEST}: unknown status {manifest.get('status')!r}")
    return Run(path, manifest)


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories in ``folder`` (itself, or up to three levels down), by name."""
    if (folder / MANIFEST).is_file():
        return [folder]
    found = {
        path.parent
        for pattern in ("*", "*/*", "*/*/*")
        for path in folder.glob(f"{pattern}/{MANIFEST}")
    }
    return sorted(
        path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


@dataclass(frozen=True)
class Sweep:
    """A sweep directory: runs side by side, and what is known of each."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def status(self) -> str:
        """As of a run."""
        return Run(self.path, self.manifest).status

    @property
    def pending(self) -> list[str]:
        """Words by which it went on, while it has not come to its new end."""
        return _words_in(self.manifest)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Words, config hash, status, path and cause of each cell."""
        return list(self.manifest["cells"])


def is_sweep(path: Path) -> bool:
    """Return whether a folder is a sweep directory."""
    return (path / SWEEP).is_file()


def open_sweep(path: Path) -> Sweep:
    """Open a sweep directory.

    Raises
    ------
    RunError
        If it cannot be read.
    """
    manifest = _read_json(path / SWEEP)
    cells = manifest.get("cells")
    is_text = _list_of(_is(str))
    known = manifest.get("status") in (RUNNING, COMPLETED, FAILED, INTERRUPTED)
    right = (
        isinstance(cells, list)
        and cells
        and all(
            isinstance(cell, dict)
            and is_text(cell.get("words"))
            and _is(str)(cell.get("status"))
            and _is(str)(cell.get("config_hash"))
            and _MAYBE_TEXT(cell.get("path"))
            and _MAYBE_TEXT(cell.get("cause"))
            for cell in cells
        )
    )
    right = right and all(
        _is(*kinds, type(None))(manifest.get(key))
        for key, kinds in (("process", (dict,)), ("seconds", (int, float)), ("config_dir", (str,)))
    )
    if not (right and known and is_text(manifest.get("words"))):
        raise RunError(f"{path / SWEEP} is damaged: its cells, words or status cannot be read")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise RunError(
            f"{path} was written with schema version {manifest.get('schema_version')!r}; "
            f"this segexp reads version {SCHEMA_VERSION}"
        )
    return Sweep(path, manifest)


class SweepWriter:
    """A sweep directory that is being written."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.cells: list[dict[str, Any]] = manifest["cells"]
        self._writer = RunWriter(path, manifest, SWEEP)

    def update_cell(self, number: int, **entries: Any) -> None:
        """Add entries to one cell and write the manifest."""
        self.cells[number] |= entries
        self._writer.update(cells=self.cells)

    def update(self, **entries: Any) -> None:
        """Add entries to the manifest and write it."""
        self._writer.update(**entries)

    def forget_pending(self) -> None:
        """Say that it has come to the end of the words by which it went on."""
        self._writer.forget_pending()


@contextmanager
def new_sweep(outputs: Path, name: str, manifest: Mapping[str, Any]) -> Iterator[SweepWriter]:
    """Create a sweep directory; its status says how the block ended.

    Parameters
    ----------
    manifest : mapping
        ``words`` and ``cells`` at least.

    Raises
    ------
    RunError
        If it cannot be created.
    """
    start = utc_now()
    with _writing(outputs):
        outputs.mkdir(parents=True, exist_ok=True)
    path = _free_folder(outputs, f"{start:%Y%m%dT%H%M%SZ}-{name}")
    content = {
        "schema_version": SCHEMA_VERSION,
        "status": RUNNING,
        **manifest,
        "process": _this_process(),
        "start": start.isoformat(),
    }
    writer = SweepWriter(path, content)
    with _owned(path), _ending_sweep(writer, time.perf_counter()):
        yield writer


@contextmanager
def continue_sweep(sweep: Sweep, pending: Sequence[str] = ()) -> Iterator[SweepWriter]:
    """Open a sweep directory again to go on with it.

    Parameters
    ----------
    pending : sequence of str
        Words by which its runs go on, recorded in case that it does not come to its end.

    Raises
    ------
    RunError
        If another process is at work there.
    """
    _check_stopped(sweep.path, sweep.status, sweep.manifest)
    with _owned(sweep.path):
        newest = open_sweep(sweep.path)
        if newest.manifest.get("process") != sweep.manifest.get("process"):
            sweep = newest  # another process came first
        _check_stopped(sweep.path, sweep.status, sweep.manifest)
        spent = float(sweep.manifest.get("seconds") or 0.0)
        writer = SweepWriter(sweep.path, {k: v for k, v in sweep.manifest.items() if k != "end"})
        writer.update(status=RUNNING, process=_this_process(), **{PENDING: list(pending)})
        with _ending_sweep(writer, time.perf_counter() - spent):
            yield writer


@contextmanager
def _ending_sweep(writer: SweepWriter, clock: float) -> Iterator[None]:
    status = INTERRUPTED
    writer.update()
    try:
        yield
        failed = any(cell["status"] == FAILED for cell in writer.cells)
        status = FAILED if failed else COMPLETED
        writer.forget_pending()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(str(writer.path)) from None
    finally:
        for cell in writer.cells:
            if cell["status"] == RUNNING:
                cell["status"] = status
        seconds = round(time.perf_counter() - clock, 3)
        writer.update(status=status, end=utc_now().isoformat(), seconds=seconds)


class RunWriter:
    """A run directory that is being written."""

    def __init__(self, path: Path, manifest: dict[str, Any], file: str = MANIFEST) -> None:
        self.path = path
        self._manifest = manifest
        self._file = file

    def update(self, **entries: Any) -> None:
        """Add entries to the manifest and write it."""
        self._manifest |= entries
        self.write_json(self._file, self._manifest)

    @property
    def has_whole_results(self) -> bool:
        """Whether there are results of before, which stay until they can be replaced."""
        return self._manifest.get(WHOLE) is True

    def replace_results(self) -> None:
        """Say that the results of before are no longer whole: new ones are about to be written."""
        self._manifest = {k: v for k, v in self._manifest.items() if k not in (WHOLE, "end")}
        self.update()

    def leave_results(self) -> None:
        """Say that the results of before are those of the run, as they were."""
        self._manifest.pop(WHOLE, None)
        self.update(status=COMPLETED)

    def forget_pending(self) -> None:
        """Say that the config is that of the words by which the run went on."""
        self._manifest.pop(PENDING, None)
        self.update()

    def make_folder(self, name: str) -> Path:
        """Return a folder of the run, made if it is not there."""
        folder = self.path / name
        with _writing(folder):
            folder.mkdir(exist_ok=True)
        return folder

    def remove_folder(self, name: str) -> None:
        """Remove a folder of the run, if it is there."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file as UTF-8."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON object; numbers that are not finite are an error."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        self.write_text(name, text + "\n")

    def write_csv(self, name: str, table: pd.DataFrame) -> None:
        """Write a table without its index; floats keep all their digits."""
        self.write_text(
            name, table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        )

    def write_parquet(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        self.write_bytes(name, buffer.getvalue())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees the old content or the new, never a part."""
        target = self.path / name
        partial = target.with_name(f".{target.name}.partial")
        with _writing(target):
            target.parent.mkdir(exist_ok=True)
            try:
                with partial.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written: {_cause(error)}{_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; free some space, or say run.outputs=DIR for another place"
    return "; say run.outputs=DIR for another place"


@contextmanager
def new_run(
    outputs: Path, dataset: str, name: str, texts: Mapping[str, str], manifest: Mapping[str, Any]
) -> Iterator[RunWriter]:
    """Create a run directory; it says ``completed`` only if the block ends without an error.

    Parameters
    ----------
    outputs : Path
        Where runs land; made if it is not there.
    dataset, name : str
        The directory is ``outputs/dataset/name``, with ``-2``, ``-3``, ... where that exists.
    texts : mapping of file name to content
        Files that are there from the first moment, such as the config.
    manifest : mapping
        Entries that are known before anything is computed.

    Raises
    ------
    RunError
        If it cannot be created; then nothing is left behind.
    RunFailedError
        If the block raises; the directory is kept and says why.
    """
    parent = outputs / dataset
    hidden = parent / f".new-{uuid.uuid4().hex}"
    start, clock = utc_now(), time.perf_counter()
    writer = RunWriter(
        hidden,
        {
            "schema_version": SCHEMA_VERSION,
            "status": RUNNING,
            **manifest,
            "process": _this_process(),
            "start": start.isoformat(),
        },
    )
    with contextlib.ExitStack() as logging_to:
        try:
            with _writing(parent):
                hidden.mkdir(parents=True)
            for file, text in texts.items():
                writer.write_text(file, text)
            writer.update()
            logging_to.enter_context(_logging_to(hidden / LOG))
            writer.path = _rename_to_free_name(hidden, parent, f"{start:%Y%m%dT%H%M%SZ}-{name}")
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        with _owned(writer.path), _ending(writer, clock):
            yield writer


@contextmanager
def _ending(writer: RunWriter, clock: float) -> Iterator[None]:
    """Say in the manifest how the block ended; ``completed`` only if it did without an error."""
    try:
        yield
        _end(writer, COMPLETED, clock)
    except Exception as error:
        cause = _cause(error) if isinstance(error, SegexpError) else _named(error)
        cause = cause if len(cause) <= MAX_CAUSE else f"{cause[:MAX_CAUSE]}... (see {LOG})"
        logging.getLogger("segexp").error("run failed", exc_info=True)
        # Where the disk is full the directory keeps saying `running`, which reads as killed.
        with contextlib.suppress(RunError):
            _stop(writer, FAILED, clock, cause=cause)
        raise RunFailedError(f"run {writer.path} failed: {cause}") from error
    except BaseException as stopped:  # Ctrl-C, as KeyboardInterrupt or as the end of a coroutine
        _stop(writer, INTERRUPTED, clock)
        raise type(stopped)(str(writer.path)) from None


@contextmanager
def continue_run(run: Run, pending: Sequence[str] = ()) -> Iterator[RunWriter]:
    """Open a run directory again to go on with it; ends as :func:`new_run` does.

    What a completed run holds stays as it is, and the run completed, until the block calls
    :meth:`RunWriter.replace_results`.

    Parameters
    ----------
    pending : sequence of str
        Words by which a completed run goes on, recorded in case that it does not come to its end.

    Raises
    ------
    RunError
        If another process is at work there, or it cannot be written.
    RunFailedError
        If the block raises.
    """
    _check_stopped(run.path, run.status, run.manifest)
    with _owned(run.path):
        newest = open_run(run.path)
        if any(newest.manifest.get(key) != run.manifest.get(key) for key in ("process", "resumed")):
            run = newest  # another process came first, while this one loaded the table
        _check_stopped(run.path, run.status, run.manifest)
        spent = run.manifest.get("seconds") or 0.0
        clock = time.perf_counter() - float(spent)
        whole = run.status == COMPLETED
        over = () if whole else ("end", "cause")
        entries = {k: v for k, v in run.manifest.items() if k not in over}
        going_on = {PENDING: list(pending), WHOLE: True} if whole else {}
        writer = RunWriter(run.path, entries | going_on)
        resumed = [*run.manifest.get("resumed", []), utc_now().isoformat()]
        writer.update(status=RUNNING, process=_this_process(), resumed=resumed)
        with _logging_to(run.path / LOG), _ending(writer, clock):
            yield writer


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Hold a directory, so that no second process goes on with it; a process that dies lets go."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RunError(
            f"{path} is running: another process is at work there; wait for it or stop it first"
        ) from None
    except OSError:  # a file system without locks
        os.close(handle)
        yield
        return
    try:
        yield
    finally:
        os.close(handle)


def _check_stopped(path: Path, status: str, manifest: Mapping[str, Any]) -> None:
    if status == RUNNING:
        process = manifest.get("process") or {}
        raise RunError(
            f"{path} is running: process {process.get('pid')} on {process.get('host')} is at work "
            f"there; wait for it or stop it first"
        )


def _rename_to_free_name(hidden: Path, parent: Path, name: str) -> Path:
    target = _free_folder(parent, name)
    hidden.replace(target)
    return target


def _free_folder(parent: Path, name: str) -> Path:
    """Make a folder of this name, with ``-2``, ``-3``, ... where that exists."""
    for number in range(1, 10_000):
        target = parent / (name if number == 1 else f"{name}-{number}")
        try:
            # mkdir, not rename, decides who gets a name: rename would replace an empty folder.
            target.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"{target} cannot be written: {_cause(error)}") from error
        return target
    raise RunError(f"{parent / name}: 9,999 runs have this name already")


def _end(writer: RunWriter, status: str, clock: float, **entries: Any) -> None:
    seconds = round(time.perf_counter() - clock, 3)
    writer.update(status=status, end=utc_now().isoformat(), seconds=seconds, **entries)


def _stop(writer: RunWriter, status: str, clock: float, **entries: Any) -> None:
    """Say that a run did not come to its end; one that was whole is as it was."""
    if writer.has_whole_results:
        writer.leave_results()
    else:
        _end(writer, status, clock, **entries)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Write what ``segexp`` logs, and the warnings of libraries, to the run's log."""
    with _writing(path):
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # Cells of a sweep run side by side; each log holds what was said on behalf of its own run.
    handler.addFilter(lambda record: _logged_run.get() == path)
    token = _logged_run.set(path)
    loggers = [logging.getLogger("segexp"), logging.getLogger("py.warnings")]
    for logger in loggers:
        logger.addHandler(handler)
    loggers[0].setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
        if not any(isinstance(other, logging.FileHandler) for other in loggers[0].handlers):
            logging.captureWarnings(False)
        _logged_run.reset(token)
