"""Readers: from a file, a database or the generator to one table of text cells."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from segexp.config.schema import DatasetConfig
from segexp.data import sql
from segexp.data.cells import TEXT, text_table
from segexp.data.demo import generate_customers
from segexp.data.findings import counted
from segexp.data.sources import Located, Progress, find_file
from segexp.errors import ConfigError, DataError

SEPARATORS = ",;\t|"
BLOCK_BYTES = 2**24  # a row must fit into one block
ARCHIVES = {b"PK\x03\x04": "an Excel workbook or a zip archive", b"PAR1": "a Parquet file"}


@dataclass(frozen=True)
class RawTable:
    """A table as read: every cell is text, null where the store says so."""

    table: pa.Table
    files: tuple[dict[str, Any], ...]  # path as configured, origin, sha256_ok


def read_table(config: DatasetConfig, progress: Progress | None = None) -> RawTable:
    """Read the whole table that ``config`` names; several files are stacked.

    Raises
    ------
    ConfigError
        The encoding is unknown, or the database address is wrong.
    DataError
        Nothing is there, it cannot be read, or stacked files have different columns.
    """
    if config.reader == "demo":
        return RawTable(_demo(config), ())
    if config.reader == "sql":
        return RawTable(sql.read(config), ())
    read: Callable[[Path, str, DatasetConfig], pa.Table] = (
        _read_csv if config.reader == "csv" else _read_parquet
    )
    tables, files = [], []
    for path in config.paths:
        located = _find(config, path, progress)
        tables.append(_opened(read, located.path, path, config))
        files.append({"path": path, "origin": located.origin, "sha256_ok": located.sha256_ok})
    return RawTable(_stacked(config.paths, tables), tuple(files))


def read_header(config: DatasetConfig, progress: Progress | None = None) -> list[str]:
    """Read the names of the columns only, in order; no row is loaded."""
    if config.reader == "demo":
        return [str(name) for name in generate_customers(1, 0).columns]
    if config.reader == "sql":
        return sql.header(config)
    read: Callable[[Path, str, DatasetConfig], list[str]] = (
        _csv_header if config.reader == "csv" else _parquet_header
    )
    headers: list[list[str]] = [
        _opened(read, _find(config, path, progress).path, path, config) for path in config.paths
    ]
    _check_same_columns(config.paths, headers)
    return headers[0]


def _find(config: DatasetConfig, path: str, progress: Progress | None) -> Located:
    return find_file(path, config.downloads, config.name, progress)


def _opened(read: Callable[..., Any], file: Path, name: str, config: DatasetConfig) -> Any:
    try:
        return read(file, name, config)
    except OSError as error:
        # Without the file name that OSError appends: it is not the name in the config.
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error


def _demo(config: DatasetConfig) -> pa.Table:
    table = generate_customers(config.n_customers or 1, config.generator_seed)
    return text_table(list(table.columns), [table[name] for name in table.columns])


def _stacked(names: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    first = tables[0].column_names
    _check_same_columns(names, [table.column_names for table in tables])
    # By position, because a name may still occur twice here.
    same_order = [
        table.select([table.column_names.index(name) for name in first])
        if table.column_names != first
        else table
        for table in tables
    ]
    return pa.concat_tables(same_order)


def _check_same_columns(names: Sequence[str], headers: Sequence[Sequence[str]]) -> None:
    first = headers[0]
    for name, header in zip(names[1:], headers[1:], strict=True):
        if sorted(header) != sorted(first):
            lacks = ", ".join(repr(column) for column in first if column not in header)
            more = ", ".join(repr(column) for column in header if column not in first)
            raise DataError(
                f"{name} cannot be stacked on {names[0]}: it "
                + " and ".join(
                    part for part in (lacks and f"lacks {lacks}", more and f"has {more}") if part
                )
                + "; stacked files need the same columns"
            )


# --- CSV ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CsvStart:
    """What the first lines of a CSV file tell."""

    names: list[str]
    separator: str
    n_lines: int  # up to the end of the header
    has_more: bool


def _csv_header(file: Path, name: str, config: DatasetConfig) -> list[str]:
    return _csv_start(file, name, config).names


def _csv_start(file: Path, name: str, config: DatasetConfig) -> _CsvStart:
    _refuse_archives(file, name)
    try:
        with _text(file, config.encoding) as lines:
            n_blank, first = 0, next(lines, "")
            while first and not first.strip():
                n_blank, first = n_blank + 1, next(lines, "")
            if not first:
                raise DataError(f"{name} is empty; it must start with a line of column names")
            if re.match(r"sep=.\s*$", first):
                raise DataError(
                    f"{name} starts with {first.strip()!r}, a mark for Excel; remove that line"
                )
            separator = config.separator or find_separator(first)
            # A quoted column name may go on in the next line.
            rows = csv.reader(itertools.chain([first], lines), delimiter=separator)
            names = [column.strip() for column in next(rows)]
            n_lines = n_blank + rows.line_num
            return _CsvStart(names, separator, n_lines, next(lines, None) is not None)
    except (UnicodeError, csv.Error) as error:
        raise _csv_error(file, name, config.encoding, None, error) from error


def find_separator(header: str) -> str:
    """Find the separator of a header line: the most frequent one outside quotes.

    Examples
    --------
    >>> find_separator('id;"income, yearly";age')
    ';'
    >>> find_separator("age")
    ','
    """
    outside = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=outside.count)


def _read_csv(file: Path, name: str, config: DatasetConfig) -> pa.Table:
    start = _csv_start(file, name, config)
    if not start.has_more:
        return text_table(start.names, [[] for _ in start.names])
    # Numbers for names, because a name may occur twice here and the types go by name.
    numbers = [str(number) for number in range(len(start.names))]
    try:
        table = pyarrow.csv.read_csv(
            str(file),
            pyarrow.csv.ReadOptions(
                skip_rows=start.n_lines,
                column_names=numbers,
                encoding=config.encoding,
                block_size=BLOCK_BYTES,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=start.separator,
                newlines_in_values=True,
                invalid_row_handler=lambda row: "error" if row.text.strip() else "skip",
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, TEXT), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise _csv_error(file, name, config.encoding, start, error) from error
    # Arrow takes all that follows an open quote for one cell.
    if table.num_rows and any("\n" in column[-1].as_py() for column in table.columns):
        _refuse_open_quote(file, name, config.encoding, start)
    return text_table(start.names, table.columns)


def _refuse_open_quote(file: Path, name: str, encoding: str, start: _CsvStart) -> None:
    line = 1
    with _text(file, encoding) as lines:
        rows = csv.reader(lines, delimiter=start.separator, strict=True)
        try:
            for _ in rows:
                line = rows.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{name}, line {line}: a quote is opened here and never closed; mend the line"
            ) from error


def _csv_error(
    file: Path, name: str, encoding: str, start: _CsvStart | None, error: Exception
) -> DataError:
    """Find out why a file could not be read: Arrow counts neither lines nor bytes."""
    try:
        with _text(file, encoding) as lines:
            if start and (ragged := _first_ragged_row(lines, start)):
                line, n_cells = ragged
                return DataError(
                    f"{name}, line {line}: {counted(n_cells, 'cell')} where the header has "
                    f"{len(start.names)}; mend the line, or name another dataset.separator than "
                    f"{start.separator!r}"
                )
            for _ in lines:
                pass
    except UnicodeError:
        return DataError(
            f"{name} is not written in {encoding}; say dataset.encoding=latin-1, cp1252 or utf-16"
        )
    except csv.Error as cause:
        error = cause
    return DataError(f"{name} cannot be read as CSV: {str(error).splitlines()[0]}")


def _first_ragged_row(lines: Iterable[str], start: _CsvStart) -> tuple[int, int] | None:
    """Return the line in which the first row of a wrong length begins, and its cells."""
    rows = csv.reader(lines, delimiter=start.separator)
    line = 1
    for row in rows:
        blank = len(row) <= 1 and not "".join(row).strip()
        if line > start.n_lines and not blank and len(row) != len(start.names):
            return line, len(row)
        line = rows.line_num + 1
    return None


def _text(file: Path, encoding: str) -> io.TextIOWrapper:
    """Open a text file that may be compressed (.gz, .bz2, .zst) or start with a UTF-8 mark."""
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        return io.TextIOWrapper(
            pa.input_stream(str(file), compression="detect"), encoding, newline=""
        )
    except LookupError as error:
        raise ConfigError(
            f"dataset.encoding={encoding} is not known; say for example utf-8, latin-1 or cp1252"
        ) from error


def _refuse_archives(file: Path, name: str) -> None:
    with file.open("rb") as stream:
        start = stream.read(4)
    if start in ARCHIVES:
        way = "say dataset.reader=parquet" if start == b"PAR1" else "save the table as CSV"
        raise DataError(f"{name} is {ARCHIVES[start]}, not CSV; {way}")


# --- Parquet --------------------------------------------------------------------------------


def _parquet_header(file: Path, name: str, config: DatasetConfig) -> list[str]:
    schema = _parquet(file, name).schema_arrow
    return [column.strip() for column in schema.names if not _is_pandas_index(column)]


def _read_parquet(file: Path, name: str, config: DatasetConfig) -> pa.Table:
    try:
        table = _parquet(file, name).read()
    except pa.ArrowException as error:
        raise DataError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    chosen = [i for i, column in enumerate(table.column_names) if not _is_pandas_index(column)]
    table = table.select(chosen)
    return text_table(table.column_names, table.columns, config.decimal)


def _parquet(file: Path, name: str) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{name} is not a Parquet file; say dataset.reader=csv if it is a text file"
        ) from error


def _is_pandas_index(column: str) -> bool:
    """Say whether pandas stored its row numbers as this column."""
    return column.startswith("__index_level_")
