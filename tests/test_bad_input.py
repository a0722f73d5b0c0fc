"""Whatever a user gets wrong: one clear line, exit code 2, nothing that looks like a run."""

import errno
import os
import sqlite3

import pandas as pd
import pytest

from segexp.cli import main

GOOD = "id,age,city,segment\n" + "".join(
    f"{i},{20 + i % 7},{'ab'[i % 2]},{'XY'[i % 2]}\n" for i in range(40)
)


def file(text, name="customers.csv", encoding="utf-8"):
    def make(folder):
        (folder / name).write_bytes(text.encode(encoding) if isinstance(text, str) else text)

    return make


def rows(header, *lines):
    return file("\n".join([header, *lines]) + "\n")


def nothing(folder):
    pass


def read_only(folder):
    file(GOOD)(folder)
    (folder / "taken").write_text("a file, not a folder")


def a_parquet_of_text(folder):
    (folder / "customers.parquet").write_text("not parquet")


def a_database(folder):
    with sqlite3.connect(folder / "shop.db") as connection:
        pd.read_csv(pd.io.common.StringIO(GOOD)).to_sql("customers", connection, index=False)


def a_broken_option(text):
    def make(folder):
        (folder / "conf" / "model").mkdir(parents=True)
        (folder / "conf" / "model" / "mine.yaml").write_text(text)

    return make


CSV = ["dataset=csv", "dataset.path=customers.csv", "dataset.target=segment"]
SHOP = ["dataset=sql", "dataset.url=sqlite:///shop.db", "dataset.target=segment"]

CASES = {
    "missing file": (nothing, CSV, "customers.csv"),
    "missing file, near name": (file(GOOD, "customer.csv"), CSV, "did you mean 'customer.csv'"),
    "a folder in place of a file": (lambda f: (f / "customers.csv").mkdir(), CSV, "customers.csv"),
    "empty file": (file(""), CSV, "empty"),
    "header only": (file("id,age,segment\n"), CSV, "no rows"),
    "wrong separator": (file(GOOD), [*CSV, "dataset.separator=';'"], "segment"),
    "wrong encoding": (file(GOOD.replace("a", "ä"), encoding="latin-1"), CSV, "encoding"),
    "unknown encoding": (file(GOOD), [*CSV, "dataset.encoding=utf-88"], "utf-88"),
    "ragged rows": (rows("id,age,segment", "1,2,X", "2,3,4,Y", "3,4,X"), CSV, "line 3"),
    "duplicate columns": (rows("id,age,age,segment", "1,2,3,X", "2,3,4,Y"), CSV, "'age' occurs 2"),
    "a spreadsheet": (file(b"PK\x03\x04\x14\x00\x06\x00" + bytes(100)), CSV, "customers.csv"),
    "binary": (file(bytes(range(256)) * 4), CSV, "customers.csv"),
    "target missing": (file(GOOD), [*CSV[:2], "dataset.target=segmant"], "did you mean 'segment'"),
    "no target": (file(GOOD), CSV[:2], "dataset.target=COLUMN"),
    "target is empty": (rows("id,a,segment", "1,2,", "2,3,", "3,5,"), CSV, "segment"),
    "target with gaps": (
        rows("id,a,segment", "1,2,X", "2,3,", "3,5,Y"),
        CSV,
        "missing_target=drop",
    ),
    "one segment": (rows("id,a,segment", "1,2,X", "2,3,X", "3,4,X"), CSV, "segment"),
    "a segment with one row": (file(GOOD + "99,3,a,Z\n"), CSV, "'Z' has 1 customer"),
    "more folds than rows": (file(GOOD), [*CSV, "evaluation.n_splits=50"], "50"),
    "a decimal comma": (
        rows("id;age;segment", *(f"{i};{i},5;{'XY'[i % 2]}" for i in range(20))),
        CSV,
        "dataset.decimal=comma",
    ),
    "a mark for Excel": (file("sep=;\n" + GOOD.replace(",", ";")), CSV, "a mark for Excel"),
    "more neighbours than customers": (
        file(GOOD),
        [*CSV, "model=knn", "model.estimator.n_neighbors=33"],
        "the smallest training fold has 32 rows",
    ),
    "a query that writes": (
        a_database,
        [*SHOP, "dataset.query='drop table customers'"],
        "dataset.query must be a SELECT",
    ),
    "a search that is not there": (
        nothing,
        ["search.name=tpe"],
        "search.name=tpe does not fit search.sampler=none",
    ),
    "an empty word": (nothing, [""], "an empty word"),
    "a root config of one's own": (
        lambda f: ((f / "conf").mkdir(), (f / "conf" / "segexp.yaml").write_text("run: {}")),
        [],
        "would replace every default",
    ),
    "a target that is a number": (
        rows("id,a,segment", *(f"{i},{i % 3},{i * 1.5}" for i in range(60))),
        CSV,
        "segment",
    ),
    "a column without values": (
        rows("id,age,segment", *(f"{i},,{'XY'[i % 2]}" for i in range(20))),
        [*CSV, "dataset.numeric=[age]"],
        "age",
    ),
    "no feature left": (
        rows("id,segment", *(f"{i},{'XY'[i % 2]}" for i in range(20))),
        CSV,
        "feature",
    ),
    "text in a numeric column": (
        file(GOOD.replace("23,", "old,")),
        [*CSV, "dataset.numeric=[age]"],
        "'old'",
    ),
    "infinity": (file(GOOD.replace("23,", "inf,")), [*CSV, "dataset.numeric=[age]"], "inf"),
    "a huge number": (
        file(GOOD.replace("23,", "1e300,")),
        [*CSV, "dataset.numeric=[age]"],
        "1e300",
    ),
    "a level without a place": (
        file(GOOD),
        [*CSV, "dataset.ordinal={city:[a,c]}"],
        "'b'",
    ),
    "a date that is none": (file(GOOD), [*CSV, "dataset.date=[city]"], "city"),
    "duplicate ids": (
        file(GOOD + GOOD.split("\n", 1)[1]),
        [*CSV, "dataset.id=id"],
        "duplicate_ids",
    ),
    "duplicate rows": (
        file(GOOD + GOOD.split("\n", 1)[1]),
        [*CSV, "dataset.id=id", "dataset.duplicate_rows=error"],
        "duplicate_rows",
    ),
    "a role for a column that is not there": (
        file(GOOD),
        [*CSV, "dataset.numeric=[aeg]"],
        "did you mean 'age'",
    ),
    "a group that is not there": (
        file(GOOD),
        [*CSV, "evaluation.group=cty"],
        "did you mean 'city'",
    ),
    "too few groups": (file(GOOD), [*CSV, "evaluation.group=city"], "evaluation.group=city has 2"),
    "parquet that is none": (
        a_parquet_of_text,
        ["dataset=parquet", "dataset.path=customers.parquet", CSV[2]],
        "customers.parquet",
    ),
    "a table that is not there": (a_database, [*SHOP, "dataset.table=customer"], "did you mean"),
    "a query that is wrong": (a_database, [*SHOP, "dataset.query=selct 1"], "dataset.query"),
    "a database that is not there": (nothing, [*SHOP, "dataset.table=customers"], "shop.db"),
    "an address that is none": (
        nothing,
        ["dataset=sql", "dataset.url=shop", "dataset.table=a", "dataset.target=b"],
        "dataset.url",
    ),
    "a public file without network": (nothing, ["dataset=automobile"], "SEGEXP_DATA_DIR"),
    "a wrong option": (nothing, ["model=lightgmb"], "did you mean 'lightgbm'"),
    "a wrong group": (nothing, ["modle=svm"], "did you mean 'model'"),
    "a wrong key": (nothing, ["evaluation.nsplits=3"], "did you mean 'evaluation.n_splits'"),
    "a wrong type": (nothing, ["evaluation.n_splits=many"], "must be a whole number"),
    "out of range": (nothing, ["evaluation=holdout", "evaluation.test_size=2"], "between 0 and 1"),
    "a share that leaves nobody": (
        file(GOOD),
        [*CSV, "evaluation=holdout", "evaluation.test_size=0.001"],
        "test_size",
    ),
    "an unknown metric": (nothing, ["evaluation.metric=acuracy"], "did you mean 'accuracy'"),
    "an unknown metric to show": (nothing, ["evaluation.metrics=[f1]"], "f1_macro"),
    "an unknown baseline": (nothing, ["evaluation.baselines=[dumy]"], "did you mean 'dummy'"),
    "an unknown parameter": (nothing, ["model.estimator.num_leafs=3"], "did you mean 'num_leaves'"),
    "an impossible parameter": (nothing, ["model.estimator.num_leaves=1"], "num_leaves"),
    "a forbidden target": (nothing, ["model.estimator._target_=os.system"], "not in an allowed"),
    "a wrong range": (nothing, ["model.space.num_leaves.low=999"], "greater than high"),
    "a grid": (nothing, ["model=svm,knn"], "segexp sweep"),
    "a word without a value": (nothing, ["model"], "key=value"),
    "an option of Hydra's": (nothing, ["--cfg", "job"], "segexp config"),
    "an unknown option": (nothing, ["--fast"], "--fast"),
    "a hydra word": (nothing, ["hydra.run.dir=x"], "run.outputs=DIR"),
    "outputs that is a file": (read_only, [*CSV, "run.outputs=taken"], "taken"),
    "an option that is not YAML": (a_broken_option("name: ["), ["model=mine"], "mine.yaml"),
    "an option with an unknown key": (
        a_broken_option("name: mine\nestimatr: {}\n"),
        ["model=mine"],
        "did you mean 'model.estimator'",
    ),
    "a config dir that is not there": (nothing, ["--config-dir", "nowhere"], "nowhere"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGEXP_DATA_DIR", raising=False)
    return tmp_path


def assert_one_line(capsys, code, words, folder):
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("segexp: ")
    assert words in captured.err
    assert not [*folder.rglob("manifest.json"), *folder.rglob(".new-*")]


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_line_and_leaves_nothing(case, folder, capsys):
    make, words, message = CASES[case]
    make(folder)
    fast = ["model=dummy"] if not any("model" in word for word in words) else []
    assert_one_line(capsys, main(["run", *fast, *words]), message, folder)


def test_a_full_disk_gets_one_line_and_leaves_nothing(folder, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code = main(["run", "model=dummy", "dataset.n_customers=100"])
    assert_one_line(capsys, code, "No space left on device", folder)


def test_outputs_that_may_not_be_written_get_one_line(folder, capsys):
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    code = main(["run", "model=dummy", "run.outputs=locked/outputs"])
    assert_one_line(capsys, code, "locked", folder)


def test_the_good_table_of_these_cases_is_good(folder, capsys):
    file(GOOD)(folder)
    assert main(["run", "model=dummy", *CSV]) == 0
    assert len(list(folder.rglob("manifest.json"))) == 1
