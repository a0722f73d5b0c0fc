"""What a file takes once it is read, found out before: its own size says little.

Compressed tables and models may hold a thousand times what they weigh, and a YAML file of a
kilobyte may stand for a billion entries. A run directory may come from a stranger.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import yaml

from segexp.errors import ConfigError

MB = 2**20
MOST_TABLE = 1024 * MB  # of a table that is read whole
MOST_CELLS = 20_000_000  # of a CSV file
MOST_JSON = 32 * MB
MOST_MODEL = 2048 * MB  # of a saved model, or
MOST_MODEL_RATIO = 20  # so many times the size of its file
MOST_MODEL_JSON = 64 * MB  # of the description that a saved model begins with
MOST_ENTRIES = 200_000  # of a YAML file, where each alias counts as all that it stands for
MOST_DEPTH = 100
_LETTERS = 100  # of a text, that count as one entry more
_CELL = 8  # bytes of a number


class TooLargeError(ConfigError):
    """A file is over a bound; nothing else is known to be wrong with it."""


def too_large(file: Path) -> str:
    """Say why a file is not to be read, in a few words; empty if it may be.

    Parameters
    ----------
    file : Path
        What is judged by its ending: CSV, JSON, Parquet and saved models. Of anything else, and of
        a file that is damaged, nothing is said.
    """
    kind = _KINDS.get(file.suffix)
    return kind(file) if kind is not None else ""


def _said(n: float, most: float, what: str) -> str:
    return f"it holds {n:,.0f} {what}, more than the {most:,.0f} that are read" if n > most else ""


def _json(file: Path) -> str:
    return _said(file.stat().st_size / MB, MOST_JSON / MB, "MB of JSON")


def _csv(file: Path) -> str:
    if file.stat().st_size <= MOST_CELLS:
        return ""
    n = 0
    with file.open("rb") as stream:
        while part := stream.read(MB):
            n += part.count(b",") + part.count(b"\n")
    return _said(n, MOST_CELLS, "cells")


def _parquet(file: Path) -> str:
    import pyarrow as pa

    try:
        return _said(_table_bytes(file) / MB, MOST_TABLE / MB, "MB unpacked")
    except (OSError, pa.ArrowException):  # reading it says what is wrong
        return ""


def _table_bytes(file: Path) -> int:
    """Return about how many bytes a table has in memory."""
    import pyarrow.parquet as pq

    facts = pq.read_metadata(file)
    n_bytes, most_text, texts = 0, 0, set()
    for group in map(facts.row_group, range(facts.num_row_groups)):
        for place in range(group.num_columns):
            chunk, column = group.column(place), facts.schema.column(place)
            # A value that is repeated a million times is stored once.
            n = max(chunk.num_values, group.num_rows)
            n_bytes += max(n * max(_CELL, column.length or 0), chunk.total_uncompressed_size)
            if chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page:
                most_text += n * chunk.total_uncompressed_size
                texts.add(chunk.path_in_schema)
    if n_bytes > MOST_TABLE or n_bytes + most_text <= MOST_TABLE:
        return n_bytes
    if texts - set(facts.schema.to_arrow_schema().names):  # texts in lists
        return n_bytes + most_text
    return n_bytes + _text_bytes(file, sorted(texts))


def _text_bytes(file: Path, columns: list[str]) -> int:
    """Return the bytes of columns of text, of which each text is read but once."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=columns, read_dictionary=columns)
    lengths = [
        pc.binary_length(chunk.dictionary).take(chunk.indices)
        for column in table.columns
        for chunk in column.chunks
    ]
    return sum(pc.sum(each).as_py() or 0 for each in lengths)


def _model(file: Path) -> str:
    most = max(MOST_MODEL, MOST_MODEL_RATIO * file.stat().st_size)
    try:
        with zipfile.ZipFile(file) as content:
            entries = content.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            described = sum(e.file_size for e in entries if e.filename == "schema.json")
            for entry in entries:
                if unpacked > most:
                    break
                if entry.filename.endswith(".npz") and entry.file_size <= MOST_TABLE:
                    unpacked += _inner_bytes(content, entry)
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return ""
    return _said(unpacked / MB, most / MB, "MB unpacked") or _said(
        described / MB, MOST_MODEL_JSON / MB, "MB of JSON"
    )


def _inner_bytes(content: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Return the bytes of a sparse matrix, which is compressed once more."""
    with zipfile.ZipFile(io.BytesIO(content.read(entry))) as inner:
        return sum(part.file_size for part in inner.infolist())


_KINDS = {".csv": _csv, ".json": _json, ".parquet": _parquet, ".skops": _model}


# ---- YAML --------------------------------------------------------------------------------------


def yaml_too_large(text: str) -> str:
    r"""Say why a YAML text is not to be loaded, in a few words; empty if it may be.

    Aliases are followed, as whoever walks through the content follows them; the loader itself does
    where mappings are merged. It also crashes on what is nested too deeply.

    Raises
    ------
    yaml.YAMLError
        If it is no YAML.

    Examples
    --------
    >>> yaml_too_large("a: &a [1, 2]\nb: [*a, *a]")
    ''
    >>> yaml_too_large("[" * 1000)
    'it is nested more than 100 deep'
    """
    sizes: dict[str | None, int] = {}
    above: list[tuple[str | None, int]] = [(None, 0)]  # anchor and entries of what is open
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            above.append((event.anchor, 1))
            if len(above) > MOST_DEPTH:
                return f"it is nested more than {MOST_DEPTH} deep"
            continue
        if isinstance(event, yaml.AliasEvent):
            # Inside of what it stands for it has no end.
            anchor, size = None, sizes.get(event.anchor, MOST_ENTRIES + 1)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1 + len(event.value) // _LETTERS
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = above.pop()
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, n = above.pop()
        above.append((outer, n + size))
        if n + size > MOST_ENTRIES:
            return f"it holds more than {MOST_ENTRIES:,} entries, aliases followed"
    return ""


# libyaml reads ten times faster where it is compiled in; the result is the same.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
