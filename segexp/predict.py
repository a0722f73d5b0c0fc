"""Segments for new customers: the saved model of a run on a table that is read as its own was."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.bounds import too_large
from segexp.clustering.profile import NOISE as NOISE
from segexp.config.compose import config_from_dict, load_config, parse_words
from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig, LogConfig
from segexp.data.cells import Cells, clean, text_column, text_table
from segexp.data.column_types import ColumnTypes, type_columns
from segexp.data.findings import Finding, counted
from segexp.data.readers import read_table
from segexp.data.roles import FEATURE_ROLES
from segexp.data.rules import limit_values, replace_values
from segexp.data.sources import find_file
from segexp.data.transactions import (
    Customers,
    customers_from_frame,
    load_customers,
    log_header,
)
from segexp.errors import ConfigError, DataError, RunError, did_you_mean
from segexp.evaluation import predict
from segexp.saved_model import load_pipeline

PREFIX = "predicted_"  # of a column of the model whose name the table has already
ENDINGS = (".csv", ".tsv", ".parquet")
# What a word may say about another table than the one that the model was trained on.
READING = (
    "reader", "separator", "encoding", "decimal", "dayfirst", "missing_tokens", "invalid_values",
)  # fmt: skip
# What of a transaction log says what the features mean; the model knows them as they were.
LEARNED = (
    "features", "frequency", "monetary", "segments", "layout", "calibration_end", "holdout_end",
)  # fmt: skip
# What of a transaction log belongs to the period of the training alone.
DATES = ("reference_date", "calibration_end", "holdout_end", "end")
MAX_SHOWN = 30  # column names in one error
# Their fitted models may say something else in another version.
LIBRARIES = {"scikit-learn": (), "lightgbm": (), "xgboost": ("xgboost-cpu",)}


@dataclass(frozen=True)
class Predictions:
    """Customers with their segments, and what is to be said about them."""

    table: pd.DataFrame  # the columns of the customers as they were, then those of the model
    names: dict[str, str]  # of the model's columns, such as segment -> predicted_segment
    segments: pd.DataFrame  # by segment: customers, share, training_share (NaN if not known)
    # By column that the model needs: missing, training_share (of missing cells), unseen (cells
    # with a category that the training rows lacked, NaN if not counted) and unseen_values.
    columns: pd.DataFrame
    notes: tuple[str, ...]
    reading: DatasetConfig  # how the table was read; a CSV file is written in the same way


@dataclass(frozen=True)
class _Model:
    """What a run saved to score other customers with."""

    pipeline: Pipeline
    columns: dict[str, dict[str, Any]]
    id: str | None
    segments: tuple[str, ...]
    training: dict[str, int]  # customers by segment
    other_versions: str  # of libraries, in words; empty if they are the same


def predict_table(
    run: runs.Run | str | os.PathLike[str],
    table: pd.DataFrame | str | os.PathLike[str],
    words: Sequence[str] = (),
) -> Predictions:
    """Give every row of a table a segment by the model of a completed run.

    Parameters
    ----------
    run : Run or path
    table : DataFrame or path
        CSV or Parquet (by the ending ``.parquet``), read by the rules of the run's data set:
        separator, encoding, missing tokens, types, value rules. Columns are found by name, and
        those that the model does not need stay as they are. For a run on a transaction log it is
        another log, which is summed up in the same way, or a table of the customers' features.
        Of a run whose histories ended with ``calibration_end``, they end with the last day of
        the log here; else recency counts up to the day after it.
    words : sequence of str
        Where this table is written in another way, for example ``dataset.separator=semicolon``.

    Returns
    -------
    Predictions
        One row per row of ``table``, in its order. A classifier gives ``segment`` and, if it
        has probabilities, ``probability[...]`` for each segment and ``confidence``, the largest
        of them. A clusterer gives ``segment``, ``confidence`` and ``unlike_anybody``, a model of
        customer value ``expected_purchases``, ``probability_alive``, ``expected_spend`` and
        ``clv``. A log gives one row per customer, with the features. A name that the table has
        already is written as ``predicted_NAME``.

    Raises
    ------
    RunError
        The run is not completed, or its model is not there or cannot be loaded.
    ConfigError
        A word says something else than how a table is read.
    DataError
        The table cannot be read, lacks a column, or has invalid cells where the data set
        forbids them.
    """
    run = open_finished(run.path if isinstance(run, runs.Run) else Path(run))
    name = "the table" if isinstance(table, pd.DataFrame) else os.fspath(table)
    recorded = recorded_dataset(run)
    reading = _reading(recorded, None if isinstance(table, pd.DataFrame) else name, words)
    model = _load(run)
    if reading.is_log and not _holds(table, reading, model.columns):
        given, X, notes = _summed_up(table, reading, recorded.transactions)
    else:
        given, X, notes = _typed(name, table, reading, model)
    own, said = _scored(model, X)
    names = _free_names(name, list(own.columns), list(given.columns))
    own.index = given.index
    return Predictions(
        table=pd.concat([given, own.rename(columns=names)], axis=1),
        names=names,
        segments=_by_segment(model, own.get("segment", pd.Series(dtype=object))),
        columns=_by_column(model, X),
        notes=(
            *([model.other_versions] if model.other_versions else []),
            *notes,
            *said,
            *_unlike(own),
            *_renamed(names),
        ),
        reading=reading,
    )  # fmt: skip


# --- the run ---------------------------------------------------------------------------------


def open_finished(path: Path) -> runs.Run:
    """Open a completed run.

    Raises
    ------
    RunError
        It is none: it was stopped, or it is a sweep, whose runs are named.
    """
    if runs.is_sweep(path):
        found = [run for run in runs.find_runs(path) if _is_completed(run)]
        shown = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        which = f"name one of its completed runs: {shown}" if found else "none of its runs is done"
        raise RunError(f"{path} is a sweep; {which}")
    run = runs.open_run(path)
    if run.status != runs.COMPLETED and not run.has_whole_results:
        way = "wait for it" if run.status == runs.RUNNING else f"say segexp resume {path}"
        raise RunError(f"{path} is {run.status}, and has no model of its own yet; {way}")
    return run


def _is_completed(path: Path) -> bool:
    try:
        return runs.open_run(path).status == runs.COMPLETED
    except RunError:
        return False


def _load(run: runs.Run) -> _Model:
    file = run.path / runs.PIPELINE
    if run.manifest.get("task") == "baskets":
        raise RunError(
            f"{run.path} holds association rules, which give customers no segment; see "
            f"{run.path / runs.RULES}"
        )
    if not file.is_file():
        said = run.manifest.get("warnings") or []
        why = next((str(text) for text in said if "the model was not saved" in str(text)), None)
        raise RunError(
            f"{run.path} holds no model: "
            + (why or "say evaluation.final_model=true in a run that is to score new customers")
        )
    schema = _read_schema(run.path / runs.MODEL_SCHEMA)
    others = _other_versions(schema.get("versions") or {})
    try:
        if reason := too_large(file):
            raise RunError(f"{file} is not read: {reason}")
        pipeline = load_pipeline(file.read_bytes(), str(file))
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}") from error
    except (MemoryError, RecursionError) as error:
        raise RunError(f"{file} is not a saved model: it unpacks without end") from error
    except RunError as error:
        raise RunError(f"{error}; {others}" if others else str(error)) from error
    return _Model(
        pipeline,
        schema["columns"],
        schema.get("id"),
        tuple(schema["segments"]),
        _training_counts(run, schema),
        others,
    )


def _training_counts(run: runs.Run, schema: Mapping[str, Any]) -> dict[str, int]:
    """Return the customers of each segment that the model was fitted on, as far as recorded."""
    if schema.get("task") != "clustering":
        return run.manifest.get("segments") or {}
    # The manifest of a clusterer counts the known segments, which are not the ones it found.
    if not (run.path / runs.CUSTOMERS).is_file():
        return {}
    return {str(name): int(n) for name, n in run.read_customers()["segment"].value_counts().items()}


def _read_schema(file: Path) -> dict[str, Any]:
    try:
        if reason := too_large(file):
            raise RunError(f"{file} is not read: {reason}")
        schema = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} is not valid JSON: {error}") from error
    columns = schema.get("columns") if isinstance(schema, dict) else None
    if not (isinstance(columns, dict) and columns and all(map(_is_described, columns.values()))):
        raise RunError(f"{file} is damaged: it does not describe the columns of the model")
    if not isinstance(schema.get("segments"), list):
        raise RunError(f"{file} is damaged: it does not list the segments")
    return dict(schema)


def _is_described(column: Any) -> bool:
    return (
        isinstance(column, dict)
        and column.get("role") in FEATURE_ROLES
        and isinstance(column.get("levels", []), list)
        and ("levels" in column) == (column["role"] in ("categorical", "ordinal"))
    )


def _other_versions(recorded: Mapping[str, Any]) -> str:
    """Say which libraries are not those of the training, by the first two numbers."""
    others = []
    for library, wheels in LIBRARIES.items():
        then = _first(recorded.get(name) for name in (library, *wheels))
        now = _first(_installed(name) for name in (library, *wheels))
        if then and then.split(".")[:2] != (now or "").split(".")[:2]:
            others.append(f"{library} {then} (here {now or 'none'})")
    return f"the model was trained with {', '.join(others)}" if others else ""


def _first(versions: Any) -> str | None:
    return next((str(version) for version in versions if version), None)


def _installed(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


# --- the table -------------------------------------------------------------------------------


def recorded_dataset(run: runs.Run) -> DatasetConfig:
    """Return the data set of a run; keys that came with a later segexp have their defaults.

    Raises
    ------
    RunError
        If ``config.yaml`` does not hold a data set.
    """
    file = run.path / runs.CONFIG
    recorded = read_yaml(file).get("dataset")
    if not isinstance(recorded, dict):
        raise RunError(f"{file} is damaged: it has no dataset section")
    log = recorded.get("transactions", {})
    if not isinstance(log, dict):
        raise RunError(f"{file} is damaged: dataset.transactions is no mapping, but {log!r:.60}")
    # The other sections do not matter here, and may be those of an earlier segexp.
    content = asdict(load_config([], [shipped_conf()]))
    log = content["dataset"]["transactions"] | log
    content["dataset"] |= recorded | {"transactions": log}
    try:
        return config_from_dict(content).dataset
    except ConfigError as error:
        raise RunError(f"{file} is damaged: {error}") from error


def _reading(recorded: DatasetConfig, path: str | None, words: Sequence[str]) -> DatasetConfig:
    """Return a recorded data set with another file in the place of its own."""
    content = asdict(load_config([], [shipped_conf()]))
    is_parquet = path is not None and path.lower().endswith(".parquet")
    content["dataset"] = asdict(recorded) | {
        "name": "new customers",
        "reader": "parquet" if is_parquet else "csv",
        "path": path or "a table in memory",
        "downloads": {},
    }
    log = content["dataset"]["transactions"]
    log |= dict.fromkeys(DATES)
    allowed = [*READING, *(f"transactions.{name}" for name in log if name not in LEARNED)]
    known = [
        f"dataset.{name}"
        for name in (allowed if content["dataset"]["kind"] == "transactions" else READING)
    ]
    for override in parse_words(words):
        plain = not (override.is_delete() or override.is_sweep_override())
        if override.key_or_group not in known or not plain:
            raise ConfigError(
                f"{override.input_line}: a word can only say how the table is written"
                f"{did_you_mean(override.key_or_group, known)}; there are {', '.join(known)}"
            )
        key = override.key_or_group.removeprefix("dataset.")
        owner = log if key.startswith("transactions.") else content["dataset"]
        owner[key.removeprefix("transactions.")] = override.value()
    if (reader := content["dataset"]["reader"]) not in ("csv", "parquet"):
        raise ConfigError(f"dataset.reader={reader}: new customers come as csv or parquet")
    return config_from_dict(content).dataset


def _given(table: pd.DataFrame, reading: DatasetConfig) -> tuple[pd.DataFrame, pa.Table]:
    """Return a table in memory under its names as text, and its cells as text."""
    names = [str(name).strip() for name in table.columns]
    columns = [table.iloc[:, i] for i in range(len(names))]
    return table.set_axis(names, axis=1), text_table(names, columns, reading.decimal)


def _read(reading: DatasetConfig) -> tuple[pd.DataFrame, pa.Table]:
    """Read a file: its columns as they are, and its cells as text."""
    text = kept = read_table(reading).table
    if reading.reader == "parquet":
        stored = pyarrow.parquet.read_table(find_file(reading.paths[0], {}, reading.name).path)
        own = [name for name in stored.column_names if not name.startswith("__index_level_")]
        kept = stored.select(own).rename_columns(text.column_names)
    # Arrow's own types, because pandas' would turn whole numbers with gaps into floats.
    return kept.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True), text


def _holds(
    table: pd.DataFrame | str | os.PathLike[str], reading: DatasetConfig, columns: Mapping[str, Any]
) -> bool:
    """Say whether a table has the features of customers, where a transaction log may be meant."""
    header = table.columns if isinstance(table, pd.DataFrame) else log_header(reading)
    return set(columns) <= set(map(str, header))


def _summed_up(
    table: pd.DataFrame | str | os.PathLike[str], reading: DatasetConfig, recorded: LogConfig
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the customers of a transaction log, their features, and what is to be said."""

    def sum_up(reading: DatasetConfig) -> Customers:
        if isinstance(table, pd.DataFrame):
            return customers_from_frame(table, reading)
        return load_customers(reading)

    found, notes = sum_up(reading), []
    if ends_with_log(recorded, reading.transactions):
        last = found.summary["last"]
        found = sum_up(counted_up_to(reading, last))
        notes = [
            f"recency and tenure count up to {last}, the last day of the log, as those of the "
            f"training did up to calibration_end={recorded.calibration_end}"
        ]
    said = [f.message for f in found.findings if f.code != "reference_date" or not notes]
    given = pd.concat([found.ids, found.table], axis=1)
    return given, found.table, [*said, *notes]


def ends_with_log(recorded: LogConfig, later: LogConfig) -> bool:
    """Whether the days of a later log are to be counted up to its last, and no further.

    A model whose histories ended with the last day that it knew of takes a day more for silence.
    """
    known = recorded.calibration_end is not None and recorded.reference_date is None
    return known and later.reference_date is None


def counted_up_to(reading: DatasetConfig, day: str) -> DatasetConfig:
    """Return a data set whose days are counted up to one that is given."""
    return replace(reading, transactions=replace(reading.transactions, reference_date=day))


def _typed(
    name: str,
    table: pd.DataFrame | str | os.PathLike[str],
    reading: DatasetConfig,
    model: _Model,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the customers of a table as they are, their features, and what is to be said."""
    given, text = _given(table, reading) if isinstance(table, pd.DataFrame) else _read(reading)
    _check_columns(name, list(given.columns), model.columns)
    cells, X, notes = _features(model, text, reading)
    return given, X, [*_repeated_ids(cells, model.id), *notes]


def _check_columns(name: str, columns: Sequence[str], needed: Mapping[str, Any]) -> None:
    if twice := [column for column, count in Counter(columns).items() if count > 1]:
        raise DataError(
            f"{name}: column {twice[0]!r} occurs {columns.count(twice[0])} times; rename the "
            "columns so that each name occurs once"
        )
    others = [column for column in columns if column not in needed]
    hints = {
        column: did_you_mean(column, others).removeprefix("; ")
        for column in needed
        if column not in columns
    }
    if hints:
        lacking = ", ".join(f"{c!r} ({hint})" if hint else repr(c) for c, hint in hints.items())
        raise DataError(
            f"{name} lacks {counted(len(hints), 'column')} that the model needs: {lacking}; "
            f"the columns are {_listed(columns)}"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_SHOWN
    return ", ".join(map(repr, names[:MAX_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _features(
    model: _Model, text: pa.Table, reading: DatasetConfig
) -> tuple[Cells, pd.DataFrame, list[str]]:
    """Type the columns of the model as they were for its training."""
    chosen = [name for name in text.column_names if name in model.columns or name == model.id]
    cells, findings = clean(text.select(chosen), reading.missing_tokens, reading.decimal)
    rules = {name: rule for name, rule in reading.rules.items() if name in model.columns}
    cells, replaced = replace_values(cells, rules)
    types = ColumnTypes(
        roles={name: column["role"] for name, column in model.columns.items()},
        levels={
            name: tuple(column["levels"])
            for name, column in model.columns.items()
            if column["role"] == "ordinal"
        },
        dayfirst=reading.dayfirst,
        decimal=reading.decimal,
    )
    X, invalid = type_columns(cells, types, invalid_values=reading.invalid_values)
    X, limited = limit_values(X, rules)
    done: list[Finding] = [*findings, *replaced, *invalid, *limited]
    return cells, X, [finding.message for finding in done if finding.count]


def _repeated_ids(cells: Cells, id_column: str | None) -> list[str]:
    if id_column not in cells.columns:
        return []
    ids = cells.columns[id_column].drop_null()
    repeated = len(ids) - len(ids.unique())
    if not repeated:
        return []
    what = f"{counted(repeated, 'row repeats', 'rows repeat')} an id of an earlier row"
    return [f"column {id_column!r}: {what}; each row has its own segment"]


# --- the segments ----------------------------------------------------------------------------


def _scored(model: _Model, X: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns of the model, and what its libraries said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        last = model.pipeline[-1]
        if hasattr(last, "value"):
            made = last.value(X).reset_index(drop=True)
        else:
            made = _assigned(model, X) if hasattr(last, "assign") else _classified(model, X)
    messages = dict.fromkeys(" ".join(str(warning.message).split()) for warning in said)
    # Counted column by column beside, where scikit-learn names numbers of columns.
    return made, [text for text in messages if not text.startswith("Found unknown categories")]


def _classified(model: _Model, X: pd.DataFrame) -> pd.DataFrame:
    n_segments = len(model.segments)
    if len(X):
        codes, probabilities = predict(model.pipeline, X, n_segments)
    else:  # which scikit-learn refuses
        codes = np.empty(0, dtype=int)
        probabilities = (
            np.empty((0, n_segments)) if hasattr(model.pipeline, "predict_proba") else None
        )
    columns: dict[str, Any] = {"segment": np.array(model.segments, dtype=object)[codes]}
    if probabilities is not None:
        columns |= {
            f"probability[{name}]": probabilities[:, i] for i, name in enumerate(model.segments)
        }
        columns["confidence"] = probabilities.max(axis=1)
    return pd.DataFrame(columns)


def _assigned(model: _Model, X: pd.DataFrame) -> pd.DataFrame:
    if not len(X):
        nothing = {"segment": object, "confidence": float, "unlike_anybody": bool}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in nothing.items()})
    segmenter = model.pipeline[-1]
    assigned = segmenter.assign(model.pipeline[:-1].transform(X), unseen=True)
    # -1 is the last
    names = np.array([*model.segments, *segmenter.unseen_names_, NOISE], dtype=object)
    return pd.DataFrame(
        {
            "segment": names[assigned.segment],
            "confidence": assigned.confidence,
            "unlike_anybody": assigned.unlike,
        }
    )


def _unlike(own: pd.DataFrame) -> list[str]:
    count = int(own["unlike_anybody"].sum()) if "unlike_anybody" in own else 0
    return [f"{counted(count, 'customer')} unlike anybody of the training"] if count else []


def _free_names(name: str, own: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    names = {column: f"{PREFIX}{column}" if column in taken else column for column in own}
    if both := [new for new in names.values() if new in taken]:
        old = both[0].removeprefix(PREFIX)
        raise DataError(
            f"{name} has the columns {old!r} and {both[0]!r}, where the segments would stand; "
            "rename or drop one"
        )
    return names


def _renamed(names: Mapping[str, str]) -> list[str]:
    taken = [name for name, new in names.items() if new != name]
    if not taken:
        return []
    renamed = ", ".join(repr(names[name]) for name in taken)
    return [f"the table has {_listed(taken)} already; the model's columns are {renamed}"]


def _by_segment(model: _Model, segment: pd.Series[Any]) -> pd.DataFrame:
    counts = segment.value_counts()
    unseen = [name for name in _unseen_segments(model) if name in counts.index]
    known = [*model.segments, *unseen, *([NOISE] if NOISE in counts.index else [])]
    customers = counts.reindex(known, fill_value=0).astype(int)
    training = pd.Series(model.training, dtype=float).reindex(known)
    training[unseen] = 0.0 if model.training else np.nan
    return pd.DataFrame(
        {
            "customers": customers,
            "share": customers / max(len(segment), 1),
            "training_share": training / training.sum(),
        }
    ).rename_axis("segment")


def _unseen_segments(model: _Model) -> tuple[str, ...]:
    """Return the segments that the model has a name for, and no training customer."""
    found: tuple[str, ...] = getattr(model.pipeline[-1], "unseen_names_", ())
    return found


def _by_column(model: _Model, X: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    for name, described in model.columns.items():
        unseen, values = _unseen(X[name], described)
        missing = int(X[name].isna().sum())
        rows[name] = (missing, described.get("missing", np.nan), unseen, values)
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["missing", "training_share", "unseen", "unseen_values"]
    ).rename_axis("column")


def _unseen(column: pd.Series[Any], described: Mapping[str, Any]) -> tuple[float, str]:
    """Count the cells with a category that no training row had, and name the most frequent."""
    if described["role"] != "categorical":
        return 0.0, ""
    levels = described["levels"]
    if described.get("n_levels", len(levels)) > len(levels):  # a schema lists the first only
        return np.nan, ""
    counts = column[column.notna() & ~column.isin(levels)].value_counts()
    more = ", ..." if len(counts) > 3 else ""
    return float(counts.sum()), ", ".join(map(str, counts.index[:3])) + more


# --- the file that is written ----------------------------------------------------------------


def check_output(path: Path, *, force: bool = False, table: Path | None = None) -> None:
    """Check that predictions can be written to a file, before anything is computed.

    Parameters
    ----------
    force : bool
        A file that is there may be replaced.
    table : Path, optional
        The table of the customers, which is never replaced.

    Raises
    ------
    DataError
        The ending is none of ``.csv``, ``.tsv`` and ``.parquet``, the folder does not exist, or
        the file does.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it, such as {path / 'segments.csv'}")
    if path.suffix.lower() not in ENDINGS:
        raise DataError(
            f"{path}: the ending says what is written, and {path.suffix or 'none'!r} is not one of "
            f"{', '.join(ENDINGS)}"
        )
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: there is no folder {path.parent}")
    if table is not None and path.exists() and table.exists() and path.samefile(table):
        raise DataError(f"{path} is the table of the customers itself; name another file")
    if path.exists() and not force:
        raise DataError(f"{path} is there already; say --force to replace it, or another name")


def write_predictions(predictions: Predictions, path: Path, *, force: bool = False) -> None:
    """Write a table of predictions as CSV, TSV or Parquet, whole or not at all.

    Parameters
    ----------
    path : Path
    force : bool
        Replace a file that is there.

    Raises
    ------
    DataError
        See `check_output`; or the file cannot be written.
    """
    check_output(path, force=force)
    ending = path.suffix.lower()
    content = (
        _to_parquet(predictions)
        if ending == ".parquet"
        else to_csv(predictions, "\t" if ending == ".tsv" else None)
    )
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            check_output(path, force=force)  # another process may have written it meanwhile
            partial.replace(target)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def to_csv(predictions: Predictions, separator: str | None = None) -> bytes:
    """Return predictions as a CSV file: what was carried as it was, shares with six digits.

    Separator, decimal mark and encoding are those by which the table was read; a separator that
    the data set does not name is a comma, or a semicolon beside decimal commas.
    """
    reading = predictions.reading
    own = set(predictions.names.values())
    text = pd.DataFrame(
        {
            name: _shares(column, reading.decimal)
            if name in own and column.dtype == np.float64
            else text_column(column, reading.decimal).to_pandas()
            for name, column in predictions.table.reset_index(drop=True).items()
        }
    )
    if separator is None:
        # Blanks stand between the columns of some logs only.
        named = reading.separator if reading.separator != " " else None
        separator = named or (";" if reading.decimal == "," else ",")
    try:
        return text.to_csv(index=False, sep=separator, lineterminator="\n").encode(reading.encoding)
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise DataError(
            f"{letter!r} cannot be written in {reading.encoding}; name a .parquet file instead"
        ) from error


def _shares(column: pd.Series[float], decimal: str) -> list[str]:
    return [f"{share:.6f}".replace(".", decimal) for share in column]


def _to_parquet(predictions: Predictions) -> bytes:
    buffer = BytesIO()
    try:
        stored = pa.Table.from_pandas(predictions.table, preserve_index=False)
        # pandas cannot read its own names of some of Arrow's types, and needs none of them.
        pyarrow.parquet.write_table(stored.replace_schema_metadata(None), buffer)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"the table cannot be written as Parquet ({' '.join(str(error).split())[:200]}); "
            "name a .csv file instead"
        ) from error
    return buffer.getvalue()
