"""Opening a transaction log: files, a database or a frame as one relation in DuckDB.

The connection reads the files of the log and nothing else: no network, no extension that would
have to be installed, no other file. Columns are called ``c0``, ``c1``, ... in SQL, so that a name
of the user never becomes part of a statement.
"""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from segexp.config.schema import DatasetConfig, LogConfig
from segexp.data import sql
from segexp.data.findings import counted
from segexp.data.log_files import (
    FILES,
    Part,
    csv_part,
    csv_start,
    database_part,
    frame_part,
    literal,
    parquet_part,
    read_rda,
    wrong_encoding,
)
from segexp.data.sources import Progress, find_file, find_files
from segexp.errors import ConfigError, DataError, did_you_mean

MAX_THREADS = 2
MAX_COLUMNS = 30  # names in one error
ROLES = ("customer", "order", "date", "item", "quantity", "price", "amount")
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
KINDS = {
    "VARCHAR": "text",
    "BOOLEAN": "truth",
    "DATE": "date",
    "TIMESTAMP": "moment",
    "TIMESTAMP_S": "moment",
    "TIMESTAMP_MS": "moment",
    "TIMESTAMP_NS": "moment",
    "TIMESTAMP WITH TIME ZONE": "zoned",
    "FLOAT": "number",
    "DOUBLE": "number",
    **dict.fromkeys(INTEGERS, "whole"),
    **dict.fromkeys([f"U{name}" for name in INTEGERS], "whole"),
}


@dataclass(frozen=True)
class LogColumn:
    """A column of the log in SQL."""

    name: str  # in SQL, such as c3
    kind: str  # text, whole, number, date, moment, zoned, truth or other


@dataclass(frozen=True)
class OpenLog:
    """A log that can be queried as long as it is open."""

    connection: duckdb.DuckDBPyConnection
    relation: str  # SELECT of all columns, c0, c1, ...
    names: tuple[str, ...]  # of the columns, in order, as the user knows them
    kinds: tuple[str, ...]
    files: tuple[dict[str, Any], ...]  # path as configured, origin, sha256_ok
    parsed_text: bool  # reading costs so much that it should be done once

    def column(self, name: str) -> LogColumn:
        """Return a column by the name that the user gave it."""
        position = self.names.index(name)
        return LogColumn(f"c{position}", self.kinds[position])


@contextmanager
def open_log(config: DatasetConfig, progress: Progress | None = None) -> Iterator[OpenLog]:
    """Open the transaction log that ``config`` names.

    Parameters
    ----------
    config : DatasetConfig
    progress : callable, optional
        Called with a line of text before each attempt to download.

    Yields
    ------
    OpenLog
        What DuckDB cannot read or hold becomes one `DataError` while it is open.

    Raises
    ------
    ConfigError
        A package, an encoding or a column of the config is not there.
    DataError
        The log cannot be found or read, or its files have different columns.
    """
    with tempfile.TemporaryDirectory(prefix="segexp-log-") as folder:
        files, located = find_all(config, progress)
        with (
            connected(folder, config.transactions.memory_limit) as connection,
            one_line(config.name, config),
        ):
            parts = _parts(config, connection, located, Path(folder))
            allowed = [str(path) for path in (*located.values(), *Path(folder).iterdir())]
            _lock(connection, allowed)
            yield _opened(
                config.name, config.transactions, connection, parts, files, config.reader == "csv"
            )


@contextmanager
def open_frame(frame: pd.DataFrame, dataset: str, log: LogConfig) -> Iterator[OpenLog]:
    """Open a DataFrame, one row per line, as `open_log` opens files."""
    with (
        tempfile.TemporaryDirectory(prefix="segexp-log-") as folder,
        connected(folder, log.memory_limit) as connection,
        one_line(dataset, None),
    ):
        parts = [frame_part(connection, "frame", frame)]
        _lock(connection, [])
        yield _opened(dataset, log, connection, parts, (), False)


def log_names(config: DatasetConfig) -> list[str]:
    """Return the names of the columns of a log, in order, without reading its lines."""
    if config.reader == "sql":
        return sql.header(config)
    _, located = find_all(config, None)
    headers = {path: _names_in(config, path, file) for path, file in located.items()}
    first, *_ = headers
    for path, names in headers.items():
        check_same(first, headers[first], path, names)
    return headers[first]


def check_columns(dataset: str, names: Sequence[str], log: LogConfig) -> None:
    """Raise ``DataError`` unless the log has, once, every column that the config names."""
    wanted = {f"transactions.{role}": getattr(log, role) for role in ROLES}
    wanted |= {f"transactions.keep[{column!r}]": column for column in log.keep}
    for key, column in wanted.items():
        if column is None:
            continue
        if column not in names:
            listed = ", ".join(map(repr, names[:MAX_COLUMNS]))
            raise DataError(
                f"dataset {dataset!r}: {key} names {column!r}, which is no column of the log"
                f"{did_you_mean(column, names)}; the columns are {listed}"
            )
        if list(names).count(column) > 1:
            raise DataError(
                f"dataset {dataset!r}: the log has {names.count(column)} columns {column!r}; "
                "rename all but one"
            )


@contextmanager
def connected(folder: str, memory_limit: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB in memory that spills to ``folder`` and loads no extension.

    Raises
    ------
    ConfigError
        DuckDB does not understand the memory limit.
    """
    options: dict[str, Any] = {
        "threads": min(MAX_THREADS, os.cpu_count() or 1),
        "temp_directory": str(Path(folder, "spill")),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
    }
    if memory_limit is not None:
        options["memory_limit"] = memory_limit.replace(" ", "")
    try:
        connection = duckdb.connect(":memory:", config=options)
    except duckdb.Error as error:
        raise ConfigError(
            f"dataset.transactions.memory_limit must look like 2GB, got {memory_limit!r} "
            f"({_first_line(error)})"
        ) from None
    with closing(connection):
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _lock(connection: duckdb.DuckDBPyConnection, paths: Iterable[str]) -> None:
    """Let the connection read these files and nothing else from now on."""
    # The pattern that stands for a path is compared with these too.
    both = [form for path in paths for form in dict.fromkeys((path, glob.escape(path)))]
    allowed = ", ".join(map(literal, both))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _opened(
    dataset: str,
    log: LogConfig,
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    files: tuple[dict[str, Any], ...],
    parsed_text: bool,
) -> OpenLog:
    names = parts[0].names
    check_columns(dataset, names, log)
    relation = _stacked(parts)
    described = connection.execute(f"DESCRIBE {relation}").fetchall()
    kinds = tuple(_kind(row[1]) for row in described)
    return OpenLog(connection, relation, names, kinds, files, parsed_text)


def _kind(type_name: str) -> str:
    return "number" if type_name.startswith("DECIMAL") else KINDS.get(type_name, "other")


def _stacked(parts: Sequence[Part]) -> str:
    first = parts[0].names
    selects = []
    for part in _merged(parts):
        # By position where the order is the same: a name that is not used may occur twice.
        order = range(len(first)) if part.names == first else map(part.names.index, first)
        chosen = ", ".join(f"c{old} AS c{new}" for new, old in enumerate(order))
        select = part.select.replace(FILES, f"[{', '.join(part.files)}]")
        selects.append(f"SELECT {chosen} FROM ({select})")
    return " UNION ALL ".join(selects)


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Make one part of all files that can be read at once."""
    merged: dict[tuple[Any, ...], Part] = {}
    for part in parts:
        key = (part.names, part.select, part.form)
        files = merged[key].files if key in merged else ()
        merged[key] = replace(part, files=(*files, *part.files))
    return list(merged.values())


# --- Finding files --------------------------------------------------------------------------


def find_all(
    config: DatasetConfig, progress: Progress | None
) -> tuple[tuple[dict[str, Any], ...], dict[str, Path]]:
    """Find the files of a log: what is known about each, and where each is by its path."""
    files: list[dict[str, Any]] = []
    located: dict[str, Path] = {}
    for path in config.paths if config.reader != "sql" else ():
        for name in find_files(path, config.downloads, config.name):
            found = find_file(name, config.downloads, config.name, progress)
            files.append({"path": name, "origin": found.origin, "sha256_ok": found.sha256_ok})
            located[name] = found.path.absolute()
    return tuple(files), located


def _parts(
    config: DatasetConfig,
    connection: duckdb.DuckDBPyConnection,
    located: dict[str, Path],
    folder: Path,
) -> list[Part]:
    if config.reader == "sql":
        return [database_part(config, connection)]
    if config.reader == "rda":
        frames = [read_rda(file, path) for path, file in located.items()]
        parts = [frame_part(connection, f"rda_{i}", frame) for i, frame in enumerate(frames)]
    elif config.reader == "parquet":
        parts = [parquet_part(path, file) for path, file in located.items()]
    else:
        parts = [csv_part(config, path, file, folder) for path, file in located.items()]
    first, *_ = located
    for path, part in zip(located, parts, strict=True):
        check_same(first, parts[0].names, path, part.names)
    return parts


def _names_in(config: DatasetConfig, path: str, file: Path) -> list[str]:
    if config.reader == "rda":
        return [str(name).strip() for name in read_rda(file, path).columns]
    if config.reader == "parquet":
        return list(parquet_part(path, file).names)
    return list(csv_start(config, path, file).names)


def check_same(first: str, wanted: Sequence[str], path: str, names: Sequence[str]) -> None:
    """Raise ``DataError`` unless two files of a log have the same columns."""
    if Counter(names) != Counter(wanted):
        lacks = ", ".join(repr(name) for name in wanted if name not in names)
        more = ", ".join(repr(name) for name in names if name not in wanted)
        told = [part for part in (lacks and f"lacks {lacks}", more and f"has {more}") if part]
        raise DataError(
            f"{path} cannot be stacked on {first}: it {' and '.join(told) or 'repeats a column'}; "
            "stacked files need the same columns"
        )


# --- Errors ---------------------------------------------------------------------------------


@contextmanager
def one_line(name: str, config: DatasetConfig | None) -> Iterator[None]:
    """Turn what DuckDB says into one line of segexp.

    Raises
    ------
    DataError
        DuckDB raised an error.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        limit = (config and config.transactions.memory_limit) or "80% of this machine's memory"
        raise DataError(
            f"dataset {name!r}: the log does not fit into {limit}, nor beside it on the disk of "
            f"temporary files; raise dataset.transactions.memory_limit ({_first_line(error)})"
        ) from None
    except duckdb.ConversionException as error:
        raise DataError(
            f"dataset {name!r}: amounts or quantities of one customer sum to more than 9.2e12; "
            f"give them in a larger unit ({_first_line(error)})"
        ) from None
    except duckdb.Error as error:
        raise _csv_error(config, error) or DataError(
            f"dataset {name!r} cannot be read: {_first_line(error)}"
        ) from None


def _csv_error(config: DatasetConfig | None, error: Exception) -> DataError | None:
    text = str(error)
    if config is None or "CSV Error" not in text:
        return None
    file = re.search(r"^\s*file = (.*)$", text, re.MULTILINE)
    path = _name_of(config, file[1].strip()) if file else config.name
    line = re.search(r"CSV Error on Line: (\d+)", text)
    place = f"{path}, line {line[1]}" if line else path
    if "nvalid unicode" in text or "not utf-8" in text:
        return wrong_encoding(path, config.encoding)
    if shape := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        return DataError(
            f"{place}: {counted(int(shape[2]), 'cell')} where the log has {shape[1]} columns; "
            "mend the line, or name another dataset.separator"
        )
    if "unterminated quote" in text:
        return DataError(f"{place}: a quote is opened here and never closed; mend the line")
    return DataError(f"{place} cannot be read as CSV: {_first_line(error)}")


def _name_of(config: DatasetConfig, file: str) -> str:
    """Return the path of the config that ends like ``file``, else its last part."""
    return next((path for path in config.paths if file.endswith(path)), Path(file).name)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[A-Z][\w ]* Error: ", "", lines[0])[:200] if lines else type(error).__name__
