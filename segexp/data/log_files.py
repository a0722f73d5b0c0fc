"""The files of a transaction log in DuckDB: CSV, Parquet, R data, frames and databases.

Each becomes a SELECT of columns called ``c0``, ``c1``, ..., in the order of their names.
"""

from __future__ import annotations

import csv
import glob
import io
import itertools
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from segexp.config.schema import DatasetConfig
from segexp.data import sql
from segexp.data.cells import text_column, text_table
from segexp.data.findings import counted
from segexp.data.readers import ARCHIVES, find_separator
from segexp.data.sources import cache_folder, read_sha256
from segexp.errors import ConfigError, DataError

FILES = "$FILES"  # in a SELECT, the list of files
SQL_CHUNK = 50_000  # rows of a database that are held as Python values at once
WHITE = " \t\r\n\f\v\u00a0\ufeff"  # what is stripped from a cell
NATIVE_TEXT = ("utf-8", "utf8")
PACKED = (".bz2", ".lz4")  # what DuckDB does not decompress itself


@dataclass(frozen=True)
class Part:
    """Files of one form, or a table, that one SELECT reads."""

    names: tuple[str, ...]
    select: str  # of c0, c1, ... in the order of the names; FILES stands for the files
    form: str = ""  # only files of the same form can be read at once
    files: tuple[str, ...] = ()  # quoted for SQL


def literal(text: str) -> str:
    """Quote a text for SQL.

    Examples
    --------
    >>> literal("it's")
    "'it''s'"
    """
    if "\0" in text:
        raise DataError(f"a text with a zero byte cannot be used: {text!r:.60}")
    return "'" + text.replace("'", "''") + "'"


# --- CSV ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CsvStart:
    """What the first lines of a CSV file tell."""

    names: tuple[str, ...]
    separator: str
    n_lines: int  # up to the end of the names; 0 where the config gives them


def csv_part(config: DatasetConfig, path: str, file: Path, folder: Path) -> Part:
    """Read the cells of a CSV file as text.

    A file that is not UTF-8 is written as such into ``folder`` first. With a blank as separator,
    one or more of them separate the cells.
    """
    start = csv_start(config, path, file)
    plain = config.encoding.lower().replace("_", "-") in NATIVE_TEXT
    if not plain or file.suffix in PACKED:
        file = _transcoded(file, config.encoding, path, folder)
    n = len(start.names)
    if start.separator == " ":
        return Part(start.names, _blank_separated(n, start.n_lines), files=(_pattern(file),))
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(n))
    select = (
        f"SELECT * FROM read_csv({FILES}, header = false, skip = {start.n_lines}, "
        f"auto_detect = false, delim = {literal(start.separator)}, quote = '\"', escape = '\"', "
        f"columns = {{{columns}}})"
    )
    # A blank line of a file with one column is read as a missing cell.
    select += " WHERE c0 IS NOT NULL" if n == 1 else ""
    return Part(start.names, select, files=(_pattern(file),))


def _blank_separated(n: int, skip: int) -> str:
    """SELECT from a file in which one blank or more separate the cells."""
    lines = (
        f"read_csv({FILES}, header = false, skip = {skip}, auto_detect = false, "
        "delim = chr(1), quote = '', escape = '', columns = {'line': 'VARCHAR'})"
    )
    cells = ", ".join(f"cells[{i + 1}] AS c{i}" for i in range(n))
    wrong = f"error('{n} cells expected, ' || len(s) || ' found in: ' || line[:60])"
    return (
        f"SELECT {cells} FROM (SELECT CASE WHEN len(s) = {n} THEN s ELSE {wrong} END AS cells FROM "
        f"(SELECT line, string_split_regex(trim(line, {literal(WHITE)}), '[ \t]+') AS s "
        f"FROM {lines} WHERE trim(line, {literal(WHITE)}) <> ''))"
    )


def _pattern(file: Path) -> str:
    """Quote a path so that DuckDB does not take it for a pattern."""
    return literal(glob.escape(str(file)))


def csv_start(config: DatasetConfig, path: str, file: Path) -> CsvStart:
    """Read the names of a CSV file, or take them from ``transactions.columns``.

    Raises
    ------
    ConfigError
        The encoding is unknown.
    DataError
        The file is empty, cannot be read, or has another number of columns.
    """
    _refuse_archives(file, path)
    try:
        with open_text(file, config.encoding) as lines:
            n_blank, first = 0, next(lines, "")
            while first and not first.strip():
                n_blank, first = n_blank + 1, next(lines, "")
            if not first:
                raise DataError(f"{path} is empty; it must hold a line per purchase")
            separator = config.separator or find_separator(first)
            if separator == " ":
                cells, n_read = first.split(), 1
            else:
                rows = csv.reader(itertools.chain([first], lines), delimiter=separator)
                cells, n_read = [cell.strip() for cell in next(rows)], rows.line_num
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeError, csv.Error):
        raise wrong_encoding(path, config.encoding) from None
    given = config.transactions.columns
    if not given:
        return CsvStart(tuple(cells), separator, n_blank + n_read)
    if len(cells) != len(given):
        raise DataError(
            f"{path}: its first line has {counted(len(cells), 'cell')}, and "
            f"dataset.transactions.columns has {counted(len(given), 'name')}; name every column, "
            f"or another dataset.separator than {separator!r}"
        )
    return CsvStart(tuple(given), separator, n_blank)


def open_text(file: Path, encoding: str) -> io.TextIOWrapper:
    """Open a text file that may be compressed or start with a UTF-8 mark.

    Raises
    ------
    ConfigError
        The encoding is unknown.
    """
    if encoding.lower().replace("_", "-") in NATIVE_TEXT:
        encoding = "utf-8-sig"
    try:
        return io.TextIOWrapper(
            pa.input_stream(str(file), compression="detect"), encoding, newline=""
        )
    except LookupError as error:
        raise ConfigError(
            f"dataset.encoding={encoding} is not known; say for example utf-8, latin-1 or cp1252"
        ) from error


def _transcoded(file: Path, encoding: str, path: str, folder: Path) -> Path:
    """Write a file as plain UTF-8, which DuckDB reads without an extension."""
    target = folder / f"utf8-{len(list(folder.iterdir()))}.csv"
    try:
        with (
            open_text(file, encoding) as lines,
            target.open("w", encoding="utf-8", newline="") as out,
        ):
            while block := lines.read(2**20):
                out.write(block)
    except UnicodeError:
        raise wrong_encoding(path, encoding) from None
    return target


def wrong_encoding(path: str, encoding: str) -> DataError:
    """Return the error of a file that is written in another encoding."""
    return DataError(
        f"{path} is not written in {encoding}; say dataset.encoding=latin-1, cp1252 or utf-16"
    )


def _refuse_archives(file: Path, path: str) -> None:
    with file.open("rb") as stream:
        start = stream.read(4)
    if start in ARCHIVES:
        way = "say dataset.reader=parquet" if start == b"PAR1" else "save the table as CSV"
        raise DataError(f"{path} is {ARCHIVES[start]}, not CSV; {way}")


# --- Parquet, R, frames, databases ----------------------------------------------------------


def parquet_part(path: str, file: Path) -> Part:
    """Read a Parquet file; the row numbers that pandas may have stored are no column.

    Raises
    ------
    DataError
        It is no Parquet file.
    """
    try:
        schema = pyarrow.parquet.read_schema(file)
    except pa.ArrowInvalid:
        raise DataError(
            f"{path} is not a Parquet file; say dataset.reader=csv if it is a text file"
        ) from None
    names = schema.names
    used = named_columns(names)
    aliases = ", ".join(f"p{i}" for i in range(len(names)))
    cells = (_local(f"p{old}", schema.types[old]) for old in used)
    chosen = ", ".join(f"{cell} AS c{new}" for new, cell in enumerate(cells))
    select = (
        f"SELECT {chosen} FROM read_parquet({FILES}, hive_partitioning = false) AS t({aliases})"
    )
    form = str(schema.remove_metadata())
    return Part(tuple(names[i].strip() for i in used), select, form, (_pattern(file),))


def _local(cell: str, kind: pa.DataType) -> str:
    """SQL of a cell of Parquet: of a moment with a zone, what the clocks there showed."""
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    if zone is None:
        return cell
    if shift := re.fullmatch(r"([+-])(\d\d):?(\d\d)", zone):
        minutes = int(shift[2]) * 60 + int(shift[3])
        return f"timezone('UTC', {cell}) {shift[1]} INTERVAL {minutes} MINUTE"
    return f"timezone({literal(zone)}, {cell})" if zone in available_timezones() else cell


def named_columns(names: Sequence[str]) -> list[int]:
    """Return the positions of the columns of a Parquet file, without the index of pandas."""
    return [i for i, name in enumerate(names) if not name.startswith("__index_level_")]


def read_rda(file: Path, path: str) -> pd.DataFrame:
    """Read the one data frame of an R data file.

    Parsing one takes minutes for a million lines, so a copy is kept in the cache under the
    checksum of the file.
    """
    kept = cache_folder() / "rda" / f"{read_sha256(file)}-1.parquet"
    if kept.is_file():
        return pd.read_parquet(kept)
    frame = _parse_rda(file, path)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            frame.to_parquet(Path(folder, "frame"), index=False)
            Path(folder, "frame").replace(kept)
    except (OSError, pa.ArrowException):  # the cache cannot be written, or the frame not kept
        return frame
    return frame


def _parse_rda(file: Path, path: str) -> pd.DataFrame:
    try:
        import rdata
    except ModuleNotFoundError as error:
        raise ConfigError(
            "dataset.reader=rda needs the package rdata, which is not installed; "
            "say pip install 'segexp[rda]'"
        ) from error
    constructors = dict(rdata.conversion.DEFAULT_CLASS_MAP)
    constructors |= {"POSIXct": _moments, "POSIXt": _moments, "Date": _days}
    try:
        values = rdata.conversion.convert(rdata.parser.parse_file(file), constructors)
    except Exception as error:  # of the parser, which names no class of its own
        raise DataError(
            f"{path} cannot be read as an R data file: {str(error) or type(error).__name__:.100}"
        ) from error
    frames = {k: v for k, v in values.items() if isinstance(v, pd.DataFrame)}
    if len(frames) != 1:
        raise DataError(
            f"{path} must hold one data frame, it has {len(frames)} "
            f"({', '.join(frames) or 'none'}); save it alone"
        )
    return next(iter(frames.values()))


def _moments(values: Any, attributes: Any) -> Any:
    return pd.to_datetime(np.asarray(values, dtype=float), unit="s").as_unit("us")


def _days(values: Any, attributes: Any) -> Any:
    return pd.to_datetime(np.asarray(values, dtype=float), unit="D").as_unit("us")


def frame_part(connection: duckdb.DuckDBPyConnection, name: str, frame: pd.DataFrame) -> Part:
    """Register a DataFrame under ``name``; values of several types in a column become text."""
    columns = [_arrow_column(frame.iloc[:, i]) for i in range(frame.shape[1])]
    table = pa.Table.from_arrays(columns, names=[f"c{i}" for i in range(len(columns))])
    connection.register(name, table)
    return Part(tuple(str(column).strip() for column in frame.columns), f"SELECT * FROM {name}")


def _arrow_column(column: pd.Series[Any]) -> pa.Array:
    try:
        values = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return text_column(column.tolist())  # values of several types
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return pc.local_timestamp(values)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def database_part(config: DatasetConfig, connection: duckdb.DuckDBPyConnection) -> Part:
    """Copy the rows of a database, in chunks and as text, into DuckDB."""
    with sql.query_result(config, stream_results=True) as result:
        names = tuple(str(name).strip() for name in result.keys())  # noqa: SIM118
        numbered = [f"c{i}" for i in range(len(names))]
        columns = ", ".join(f"{name} VARCHAR" for name in numbered)
        connection.execute(f"CREATE TABLE database_lines ({columns})")
        while rows := result.fetchmany(SQL_CHUNK):
            table = text_table(numbered, zip(*rows, strict=True), config.decimal)
            connection.register("chunk", table)
            connection.execute("INSERT INTO database_lines SELECT * FROM chunk")
            connection.unregister("chunk")
    return Part(names, "SELECT * FROM database_lines")
