"""``dataset.filter``: which rows of a table count."""

import pytest

from segexp.cli import main
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.data.loading import load_dataset
from segexp.errors import ConfigError, DataError
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment

SHIPPED = (shipped_conf(),)
CSV = """id,age,country
1,20,DE
2,30,FR
3,40,DE
4,?,DE
5,50,UK
"""
# What somebody would write for the spoiled copy of the mall table.
DIRTY = """name: mall_dirty
reader: csv
path: mall_dirty/Mall_Customers_812.csv
id: CustomerID
numeric: [Age, Annual Income (k$), Spending Score (1-100)]
categorical: [Gender]
other_columns: error
filter:
  CustomerID: {max: 200}
duplicate_rows: drop
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.csv").write_text(CSV)


def load(*words):
    words = ["dataset=csv", "dataset.path=c.csv", "dataset.name=c", "dataset.id=id",
             "dataset.numeric=[age]", "dataset.categorical=[country]", *words]  # fmt: skip
    return load_dataset(load_config(words, SHIPPED).dataset)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("age={min: 30}", ["2", "3", "5"]),
        ("age={max: 40}", ["1", "2", "3"]),
        ("age={min: 30, max: 40}", ["2", "3"]),
        ("country={values: [DE, UK]}", ["1", "3", "4", "5"]),
        ("id={max: 2}", ["1", "2"]),
        ("id={values: [3]}", ["3"]),
    ],
)
def test_rows_that_meet_the_condition_are_kept(condition, kept):
    assert load(f"dataset.filter.{condition}").ids.tolist() == kept


def test_every_condition_must_be_met():
    found = load("dataset.filter.age={min: 30}", "dataset.filter.country={values: [DE]}")
    assert found.ids.tolist() == ["3"]


def test_what_was_left_out_is_counted():
    (finding,) = [f for f in load("dataset.filter.age={min: 30}").findings if f.code == "filter"]
    assert finding.count == 2


def test_a_filter_that_leaves_nothing_is_refused():
    with pytest.raises(DataError, match="leaves no row"):
        load("dataset.filter.age={min: 100}")


@pytest.mark.parametrize(
    "word",
    ["age={low: 3}", "age=3", "age={min: a}", "age={values: []}", "agee={min: 3}"],
)
def test_a_condition_that_makes_no_sense_is_refused(word):
    with pytest.raises((ConfigError, DataError), match=r"dataset\.filter"):
        load(f"dataset.filter.{word}")


@pytest.fixture
def dirty(tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(data_dir))
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "mall_dirty.yaml").write_text(DIRTY)


def test_the_spoiled_mall_table_becomes_the_published_one(dirty, tmp_path):
    dirs = (tmp_path / "conf", *SHIPPED)
    cleaned, published = (
        load_dataset(load_config([f"dataset={name}"], dirs).dataset)
        for name in ("mall_dirty", "mall")
    )
    assert cleaned.X.equals(published.X)
    assert cleaned.ids.equals(published.ids)


@pytest.mark.slow
def test_the_spoiled_mall_table_leads_to_the_verdict_of_the_published_one(dirty, tmp_path):
    dirs = (tmp_path / "conf", *SHIPPED)
    words = ["model=kmeans", "preprocessing=minimal", "search=k", "evaluation.k_max=6",
             "evaluation.n_splits=2", "evaluation.stability_resamples=2",
             "evaluation.fold_resamples=2", "engine.n_jobs=1"]  # fmt: skip
    cleaned, published = (
        run_experiment(plan_experiment(load_config([f"dataset={name}", *words], dirs)), words)
        for name in ("mall_dirty", "mall")
    )
    assert cleaned.read_segmentation() == published.read_segmentation()


def test_without_word_on_its_duplicates_the_spoiled_table_is_refused_in_one_line(dirty, capsys):
    words = ["run", "dataset=mall_dirty", "dataset.duplicate_rows=keep", "model=kmeans"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert "dataset.duplicate_rows=drop" in err
