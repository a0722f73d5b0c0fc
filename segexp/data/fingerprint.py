"""The fingerprint of a table: the same content gives the same digest, however it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segexp.data.cells import (
    TEXT,
    Cells,
    FloatArray,
    IntArray,
    content,
    iso_text,
    missing,
    parse_dates,
)

VERSION = b"segexp table 1"  # raised when the same table would give another digest


def fingerprint(
    cells: Cells, *, dates: Collection[str] = (), dayfirst: bool = False, decimal: str = "."
) -> str:
    """SHA-256 over the names, the order and the cells of a table as read.

    A column in which every cell is a number is hashed as float64, so ``1``, ``1.0`` and
    ``1e0`` are the same cell; ISO dates in one form of them; any other column as its text (see
    `content`). Every length is hashed before what it measures, so cells cannot run together.

    Parameters
    ----------
    cells : Cells
        All columns, in order, before any rule.
    dates : collection of str
        Columns known to hold dates: hashed as ISO dates however they are written.
    dayfirst, decimal
        How the dates and the numbers of the table are written.

    Returns
    -------
    str of 64 hexadecimal digits
    """
    digest = hashlib.sha256(VERSION)
    digest.update(_sizes(cells.n_rows, len(cells.columns)))
    for name, column in cells.columns.items():
        if name in dates:
            column = _with_iso_dates(column, dayfirst)
        encoded = name.encode()
        digest.update(_sizes(len(encoded)) + encoded)
        said = content(column, decimal)
        digest.update(_number_bytes(said) if isinstance(said, np.ndarray) else _text_bytes(said))
    return digest.hexdigest()


def _with_iso_dates(column: pa.LargeStringArray, dayfirst: bool) -> pa.LargeStringArray:
    moments = parse_dates(column, dayfirst=dayfirst)
    return pc.coalesce(iso_text(moments), column)


def _number_bytes(numbers: FloatArray) -> bytes:
    # + 0.0 turns -0.0 into 0.0; NaN has many bit patterns.
    canonical = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
    return b"n" + canonical.astype("<f8").tobytes()


def _text_bytes(column: pa.LargeStringArray) -> bytes:
    absent = missing(column)
    column = pc.fill_null(column, pa.scalar("", TEXT))
    lengths: IntArray = pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<i8")
    lengths[absent] = -1
    text: bytes = b"".join(column.cast(pa.large_binary()).to_pylist())
    return b"t" + lengths.tobytes() + text


def _sizes(*sizes: int) -> bytes:
    return np.array(sizes, dtype="<i8").tobytes()
