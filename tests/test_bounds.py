from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import segexp.bounds as bounds
from segexp.bounds import too_large, yaml_too_large
from segexp.config.options import read_yaml
from segexp.errors import ConfigError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of a thousandth, so that what breaks them is quickly made."""
    for name in ("MOST_TABLE", "MOST_CELLS", "MOST_JSON", "MOST_MODEL", "MOST_MODEL_JSON"):
        monkeypatch.setattr(bounds, name, getattr(bounds, name) // 1000)


def in_place_of_texts(file: Path, text: str, n: int) -> Path:
    """Write a column of one text, which is stored once, and n places."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), [text])
    pq.write_table(pa.table({"id": column}), file)
    return file


def test_many_rows_of_one_number_are_counted_unpacked(small: None, tmp_path: Path) -> None:
    file = tmp_path / "customers.parquet"
    pq.write_table(pa.table({"row": np.zeros(200_000, dtype=np.int8)}), file)
    assert file.stat().st_size < 2_000
    assert too_large(file) == "it holds 2 MB unpacked, more than the 1 that are read"


def test_a_text_that_is_stored_once_is_counted_for_each_row(small: None, tmp_path: Path) -> None:
    file = in_place_of_texts(tmp_path / "customers.parquet", "x" * 1000, 5_000)
    assert too_large(file) == "it holds 5 MB unpacked, more than the 1 that are read"


def test_a_short_text_in_many_rows_is_read(small: None, tmp_path: Path) -> None:
    assert too_large(in_place_of_texts(tmp_path / "customers.parquet", "Champions", 50_000)) == ""


def test_lists_are_counted_by_their_items(small: None, tmp_path: Path) -> None:
    file = tmp_path / "trials.parquet"
    pq.write_table(pa.table({"values": [[0.0] * 300_000]}), file)
    assert "2 MB unpacked" in too_large(file)


def test_an_ordinary_table_is_read(tmp_path: Path) -> None:
    file = tmp_path / "customers.parquet"
    pd.DataFrame({"row": [1, 2], "id": ["a", None], "at": pd.Timestamp("2026-01-01")}).to_parquet(
        file
    )
    assert too_large(file) == ""


@pytest.mark.parametrize("name", ["a.parquet", "a.skops", "a.csv", "a.json", "a.txt"])
def test_of_a_damaged_file_nothing_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1 nonsense PK")
    assert too_large(tmp_path / name) == ""


def test_cells_of_a_csv_file_are_counted(small: None, tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("a,b\n" + ",\n" * 11_000)
    assert too_large(tmp_path / "k.csv") == (
        "it holds 22,002 cells, more than the 20,000 that are read"
    )


def test_a_large_json_file_is_not_read(small: None, tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text("[" + "[]," * 20_000 + "0]")
    assert "MB of JSON" in too_large(tmp_path / "value.json")


@pytest.mark.parametrize(("entry", "words"), [("a.npy", "unpacked"), ("schema.json", "JSON")])
def test_a_model_is_judged_by_what_it_unpacks_to(
    small: None, tmp_path: Path, entry: str, words: str
) -> None:
    with zipfile.ZipFile(tmp_path / "m.skops", "w", zipfile.ZIP_DEFLATED) as model:
        model.writestr(entry, bytes(2_000_000 if entry == "schema.json" else 3_000_000))
    assert words in too_large(tmp_path / "m.skops")


def test_a_matrix_that_is_compressed_twice_is_unpacked_twice(small: None, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "inner.npz", "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("data.npy", bytes(3_000_000))
    with zipfile.ZipFile(tmp_path / "m.skops", "w", zipfile.ZIP_DEFLATED) as model:
        model.write(tmp_path / "inner.npz", "1.npz")
    assert "3 MB unpacked" in too_large(tmp_path / "m.skops")


def test_what_a_model_unpacks_to_is_counted_no_further_than_its_bound(
    small: None, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "inner.npz", "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("data.npy", bytes(3_000_000))
    with zipfile.ZipFile(tmp_path / "m.skops", "w", zipfile.ZIP_DEFLATED) as model:
        model.write(tmp_path / "inner.npz", "1.npz")
        model.writestr("2.npz", "no archive, which ends the counting where it is read")
    assert "3 MB unpacked" in too_large(tmp_path / "m.skops")


def test_of_a_damaged_matrix_in_a_model_nothing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "m.skops"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as model:
        model.writestr("1.npz", bytes(range(256)) * 9)
    content = bytearray(file.read_bytes())
    content[35:45] = b"\xff" * 10  # of what is compressed
    file.write_bytes(content)
    assert too_large(file) == ""


# Each line holds the one before nine times.
LAUGHS = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name} {{{{}}: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("key", ["of", "<<"])
def test_aliases_count_as_what_they_stand_for(key: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(LAUGHS.replace("{}", key))
    with pytest.raises(ConfigError, match=r"is not read: .* 200,000 entries, aliases followed"):
        read_yaml(tmp_path / "config.yaml")


def test_what_holds_itself_has_no_end() -> None:
    assert "entries" in yaml_too_large("a: &a [*a]")


def test_yaml_that_is_nested_deeply_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("a: " + "[" * 100_000)
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        read_yaml(tmp_path / "names.yaml")


def test_a_text_counts_by_its_length_wherever_an_alias_stands_for_it() -> None:
    text = "a: &a " + "x" * 30_000 + "\nb: [" + "*a, " * 1_000 + "]\n"
    assert "200,000 entries, aliases followed" in yaml_too_large(text)
    assert yaml_too_large(text.replace("x" * 30_000, "x")) == ""
