"""From files to cells: separators, encodings, ragged rows, stacks, typed Parquet columns."""

from __future__ import annotations

import datetime
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig
from segexp.data.cells import text_column
from segexp.data.readers import read_header, read_table
from segexp.errors import ConfigError, DataError, SegexpError

DEFAULTS = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]


def config(path: Path | list[Path], **keys: Any) -> DatasetConfig:
    paths = [str(one) for one in path] if isinstance(path, list) else str(path)
    return DatasetConfig(**{**DEFAULTS, "name": "test", "path": paths, **keys})


def written(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def read(path: Path | list[Path], **keys: Any) -> dict[str, list[str]]:
    """Columns as read, and the header the same either way."""
    table = read_table(config(path, **keys)).table
    assert read_header(config(path, **keys)) == table.column_names
    return dict(table.to_pydict())


def message(path: Path | list[Path], **keys: Any) -> str:
    """The error of a table that cannot be read."""
    with pytest.raises(SegexpError) as caught:
        read_table(config(path, **keys))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(tmp_path: Path, separator: str) -> None:
    file = written(tmp_path, f"id{separator}age\n1{separator}30\n")
    assert read(file) == {"id": ["1"], "age": ["30"]}


def test_a_separator_in_a_quoted_name_does_not_count(tmp_path: Path) -> None:
    file = written(tmp_path, 'id;"income, wealth, debt"\n1;2\n')
    assert read(file) == {"id": ["1"], "income, wealth, debt": ["2"]}


def test_a_given_separator_wins(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,b;c\n1,2;3\n"), separator=";") == {"a,b": ["1,2"], "c": ["3"]}


def test_csv_cells_are_text_and_keep_leading_zeros(tmp_path: Path) -> None:
    assert read(written(tmp_path, "zip,paid\n00501,NA\n")) == {"zip": ["00501"], "paid": ["NA"]}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"\xef\xbb\xbfid,age\n1,30\n")) == {"id": ["1"], "age": ["30"]}


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    file = written(tmp_path, "\n  \nid,age\n\n1,30\n   \n2,40\n\n")
    assert read(file) == {"id": ["1", "2"], "age": ["30", "40"]}


def test_a_quoted_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    file = written(tmp_path, 'id,note\n1,"a\nb"\n2,c\n')
    assert read(file) == {"id": ["1", "2"], "note": ["a\nb", "c"]}


def test_other_encodings_are_read(tmp_path: Path) -> None:
    assert read(written(tmp_path, "name\nZoë\n".encode("latin-1")), encoding="latin-1") == {
        "name": ["Zoë"]
    }
    assert read(written(tmp_path, "name\nZoë\n".encode("utf-16")), encoding="utf-16") == {
        "name": ["Zoë"]
    }


def test_a_compressed_csv_is_read(tmp_path: Path) -> None:
    file = written(tmp_path, gzip.compress(b"id,age\n1,30\n"), "table.csv.gz")
    assert read(file) == {"id": ["1"], "age": ["30"]}


def test_a_header_without_rows_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read(written(tmp_path, "id,age\n")) == {"id": [], "age": []}
    assert read(written(tmp_path, "id,age")) == {"id": [], "age": []}


def test_a_ragged_row_is_named_by_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, 'id,age\n1,30\n\n2,"4\n0"\n3,50,x\n')
    assert "line 6: 3 cells where the header has 2" in message(file)
    assert "line 2: 1 cell where" in message(written(tmp_path, "id,age\n1\n"))


def test_a_quote_that_is_never_closed_does_not_swallow_rows(tmp_path: Path) -> None:
    file = written(tmp_path, 'id,note\n1,a\n2,"b\n3,c\n')
    assert "line 3: a quote is opened here and never closed" in message(file)


def test_a_wrong_encoding_names_others(tmp_path: Path) -> None:
    file = written(tmp_path, "name\nZoë\n".encode("latin-1"))
    assert "not written in utf-8; say dataset.encoding=latin-1" in message(file)
    with pytest.raises(ConfigError, match="encoding=utf-9 is not known"):
        read_table(config(file, encoding="utf-9"))


def test_files_that_are_no_csv_are_named(tmp_path: Path) -> None:
    assert "is empty" in message(written(tmp_path, ""))
    assert "Excel workbook" in message(written(tmp_path, b"PK\x03\x04..."))
    assert "dataset.reader=parquet" in message(written(tmp_path, b"PAR1..."))


def test_stacked_files_follow_the_first_header(tmp_path: Path) -> None:
    first = written(tmp_path, "id,age\n1,30\n", "first.csv")
    second = written(tmp_path, "age;id\n40;2\n", "second.csv")
    assert read([first, second]) == {"id": ["1", "2"], "age": ["30", "40"]}


def test_stacked_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path, "id,age\n1,30\n", "first.csv")
    second = written(tmp_path, "id,years\n2,40\n", "second.csv")
    assert "lacks 'age' and has 'years'" in message([first, second])
    with pytest.raises(DataError, match="lacks 'age'"):
        read_header(config([first, second]))


def test_the_path_of_the_config_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "id,age\n1,30\n")
    files = read_table(config(Path("table.csv"))).files
    assert files == ({"path": "table.csv", "origin": "given", "sha256_ok": None},)


def test_parquet_is_read_and_the_row_numbers_of_pandas_are_not(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1, 2], "age": [30.5, None]}, index=[7, 3])
    table.to_parquet(tmp_path / "table.parquet")
    assert read(tmp_path / "table.parquet", reader="parquet") == {
        "id": ["1", "2"],
        "age": ["30.5", None],
    }


def test_a_text_file_is_no_parquet(tmp_path: Path) -> None:
    file = written(tmp_path, "id,age\n1,30\n")
    assert "not a Parquet file; say dataset.reader=csv" in message(file, reader="parquet")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, 2, None], ["1", "2", None]),
        (pd.Series([1.0, None, 10_000_000_000.0]), ["1", None, "10000000000"]),
        ([0.1, 1e-7], ["0.1", "1e-7"]),
        ([True, False, None], ["True", "False", None]),
        ([Decimal("1.50"), None], ["1.50", None]),
        (pd.Series(["b", "a", None], dtype="category"), ["b", "a", None]),
        ([datetime.date(2024, 1, 31), None], ["2024-01-31", None]),
        (pd.Series([pd.Timestamp("2024-01-31"), pd.NaT]), ["2024-01-31", None]),
        (
            pd.to_datetime(["2024-01-31 00:00", "2024-01-31 08:30"]),
            ["2024-01-31 00:00:00", "2024-01-31 08:30:00"],
        ),
        (pd.to_datetime(["2024-01-31 23:00-02:00"]), ["2024-02-01 01:00:00"]),
        ([1, "a", 2.0, None, float("nan")], ["1", "a", "2", None, None]),
        ([2**70], [str(2**70)]),
        ([None, None], [None, None]),
        ([], []),
    ],
)
def test_typed_columns_become_the_text_that_csv_would_hold(values: Any, texts: list[str]) -> None:
    assert text_column(values).to_pylist() == texts


def test_typed_numbers_are_written_with_the_decimal_mark_of_the_dataset() -> None:
    assert text_column([0.5, 1.25], decimal=",").to_pylist() == ["0,5", "1,25"]


def test_parquet_columns_of_lists_are_text(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"id": [1], "tags": [["a", "b"]]}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", reader="parquet") == {"id": ["1"], "tags": ["['a', 'b']"]}


def test_the_demo_reader_generates_the_table(tmp_path: Path) -> None:
    demo = DatasetConfig(**{**DEFAULTS, **read_yaml(shipped_conf() / "dataset" / "demo.yaml")})
    raw = read_table(demo)
    assert raw.table.num_rows == demo.n_customers
    assert raw.table.column_names == read_header(demo)
    assert raw.files == ()


@pytest.mark.parametrize("option", ["csv", "parquet", "sql"])
def test_a_generic_option_asks_for_its_table(option: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.(path|url) must be"):
        DatasetConfig(**{**DEFAULTS, **read_yaml(shipped_conf() / "dataset" / f"{option}.yaml")})
