"""Segments of the customers of baskets, from tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.data.loading import Dataset, load_dataset

LINES = "who,order,day,what\n" + "".join(
    f"c{i % 5},o{i},2024-01-0{1 + i % 9},{item}\n"
    for i in range(20)
    for item in ("tea", f"x{i % 3}")
)
KEYS = {"customer": "who", "order": "order", "date": "day", "item": "what"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LINES)
    return tmp_path


def loaded(folder: Path, segments: str) -> Dataset:
    (folder / "segments.csv").write_text("id,segment\n" + segments)
    words = [f"dataset.transactions.{key}={name}" for key, name in KEYS.items()]
    config = load_config(
        ["model=association_rules", "dataset=transactions", f"dataset.path={folder / 'log.csv'}",
         f"dataset.transactions.segments={folder / 'segments.csv'}", *words],
        [shipped_conf()],
    )  # fmt: skip
    return load_dataset(config.dataset, baskets=True)


def test_other_segments_of_the_same_baskets_are_other_data(folder: Path) -> None:
    first = loaded(folder, "c0,a\nc1,a\nc2,b\nc3,b\n")
    other = loaded(folder, "c0,a\nc1,b\nc2,b\nc3,b\n")
    assert first.fingerprint != other.fingerprint


def test_the_order_of_the_segments_and_other_customers_do_not_matter(folder: Path) -> None:
    first = loaded(folder, "c0,a\nc1,a\nc2,b\n")
    same = loaded(folder, "c2,b\nc1,a\nc0,a\nsomeone else,z\n")
    assert first.fingerprint == same.fingerprint
