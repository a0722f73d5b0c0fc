"""Segments for new customers, by the model of a run that is finished."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.cluster import DBSCAN, KMeans
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.cli import main
from segexp.clustering.segmenter import Segmenter
from segexp.config.compose import load_config, read_config
from segexp.config.options import shipped_conf
from segexp.data.demo import generate_customers
from segexp.data.loading import load_dataset
from segexp.errors import ConfigError, DataError, RunError
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment
from segexp.predict import predict_table, to_csv, write_predictions
from segexp.saved_model import dump_pipeline, load_pipeline

QUICK = ["engine.n_jobs=1", "evaluation=holdout", "evaluation.baselines=[]",
         "evaluation.importance_repeats=0"]  # fmt: skip
HEADER = "customer,age,city,plan,since,segment"
SHOP = [
    "dataset=csv", "dataset.target=segment", "dataset.id=customer", "dataset.numeric=[age]",
    "dataset.categorical=[city]", "dataset.ordinal={plan: [free, basic, premium]}",
    "dataset.date=[since]", "dataset.dayfirst=true", "dataset.invalid_values=missing",
    "dataset.rules={age: {min: 16, max: 110}, city: {replace: {Roma: Rome}}}",
    "model=decision_tree",
]  # fmt: skip
# The young live in Oslo and are hip, the old live in Rome and are calm.
ROWS = [
    f"{i},{20 + i % 10 if i % 2 else 60 + i % 10},{'Oslo' if i % 2 else 'Rome'},"
    f"{'premium' if i % 3 else 'free'},0{1 + i % 9}-11-2021,{'hip' if i % 2 else 'calm'}"
    for i in range(80)
]
YOUNG, OLD = "25,Oslo,free,03-11-2021", "65,Rome,free,03-11-2021"


def run(*words):
    return run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A run on a small shop, whose segments are plain to see."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "train.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    return run(*SHOP, *QUICK, f"dataset.path={folder}/train.csv", f"run.outputs={folder}/outputs")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A run with probabilities that differ from customer to customer."""
    outputs = tmp_path_factory.mktemp("outputs")
    words = ["dataset.n_customers=300", "model=logistic_regression"]
    return run(*words, *QUICK, f"run.outputs={outputs}")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copy(shop, here):
    """A copy of the run that a test may change."""
    return runs.open_run(Path(shutil.copytree(shop.path, here / "copy")))


def replace_model(copy, model):
    """Save a run with another last step, fitted on its own customers."""
    file = copy.path / runs.PIPELINE
    pipeline = load_pipeline(file.read_bytes(), "model")
    dataset = load_dataset(read_config(copy.path / runs.CONFIG).dataset)
    other = Pipeline([*pipeline.steps[:-1], ("model", model)]).fit(dataset.X, dataset.y)
    file.write_bytes(dump_pipeline(other))


def table(*rows, header="customer,age,city,plan,since", name="new.csv", encoding="utf-8"):
    content = "".join(f"{line}\n" for line in [header, *rows])
    Path(name).write_bytes(content.encode(encoding))
    return name


def predict(run, name, *words):
    return main(["predict", str(run.path), name, *words])


def refused(run, capsys, name, *words):
    """The one line that a command ends with; nothing is written."""
    before = sorted(Path().iterdir())
    assert predict(run, name, *words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    return err


@pytest.fixture(scope="module")
def customers():
    return generate_customers(40, 7)


# --- what comes out --------------------------------------------------------------------------


def test_every_customer_gets_a_segment_in_the_order_of_the_table(shop):
    table(f"2,{OLD}", f"1,{YOUNG}", f"3,{OLD}")
    assert predict_table(shop, "new.csv").table["segment"].tolist() == ["calm", "hip", "calm"]


def test_the_result_is_the_table_and_the_columns_of_the_model(shop, capsysbinary):
    assert predict(shop, table(f"007,{YOUNG}")) == 0
    assert capsysbinary.readouterr().out.decode() == (
        "customer,age,city,plan,since,segment,probability[calm],probability[hip],confidence\n"
        "007,25,Oslo,free,03-11-2021,hip,0.000000,1.000000,1.000000\n"
    )


def test_confidence_is_the_largest_probability(demo, customers):
    found = predict_table(demo, customers).table
    shares = found.filter(like="probability[")
    assert found["confidence"].tolist() == shares.max(axis=1).tolist()
    assert shares.sum(axis=1).tolist() == pytest.approx([1] * len(customers))


def test_probabilities_go_with_the_segment(demo, customers):
    found = predict_table(demo, customers).table
    likeliest = found.filter(like="probability[").idxmax(axis=1)
    assert likeliest.tolist() == [f"probability[{name}]" for name in found["segment"]]


def test_a_model_without_probabilities_gives_segments_only(copy):
    replace_model(copy, RidgeClassifier())
    found = predict_table(copy.path, table(f"1,{YOUNG}", f"2,{OLD}"))
    assert found.names == {"segment": "segment"}
    assert found.table["segment"].tolist() == ["hip", "calm"]


def test_a_customer_alone_gets_the_same_answer_as_in_a_batch(demo, customers):
    together = predict_table(demo, customers).table
    alone = pd.concat([predict_table(demo, customers.iloc[[i]]).table for i in range(10)])
    assert alone["segment"].tolist() == together["segment"].tolist()[:10]
    shares = list(together.filter(like="probability["))
    np.testing.assert_allclose(alone[shares], together[shares].iloc[:10], rtol=0, atol=1e-12)


def test_the_model_says_the_same_of_its_training_customers_as_when_it_was_saved(shop):
    folder = shop.path.parents[2]
    found = predict_table(shop, folder / "train.csv").table
    assert found["predicted_segment"].tolist() == found["segment"].tolist()


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.parquet"])
def test_the_ending_says_what_is_written(shop, name):
    assert predict(shop, table(f"1,{YOUNG}"), "-o", name) == 0
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    found = pd.read_csv(name, sep="\t") if name == "out.tsv" else read[Path(name).suffix](name)
    assert found["segment"].tolist() == ["hip"]


def test_an_empty_table_gives_a_header(shop, capsysbinary):
    assert predict(shop, table()) == 0
    out = capsysbinary.readouterr().out.decode()
    assert out == (
        "customer,age,city,plan,since,segment,probability[calm],probability[hip],confidence\n"
    )


# --- what goes in ----------------------------------------------------------------------------


def test_columns_are_found_by_name(shop):
    name = table("free,Oslo,1,03-11-2021,25", header="plan,city,customer,since,age")
    assert predict_table(shop, name).table["segment"].tolist() == ["hip"]


def test_neither_id_nor_segment_are_needed(shop):
    name = table(YOUNG, header="age,city,plan,since")
    assert predict_table(shop, name).table["segment"].tolist() == ["hip"]


def test_other_columns_are_carried_as_they_are_written(shop, capsysbinary):
    note = '"say ""hi"",\nthen go"'
    header = "customer,age,city,plan,since,note,zip,formula,gap"
    name = table(f"1,{YOUNG},{note},00501,=1+1,", header=header)
    assert predict(shop, name) == 0
    line = capsysbinary.readouterr().out.decode().split("\n", 1)[1]
    assert line.startswith(f"1,{YOUNG},{note},00501,=1+1,,hip,")


def test_parquet_keeps_its_types(shop):
    given = pd.DataFrame({
        "customer": pd.array([1, None], dtype="Int64"), "age": [25.0, 65.0],
        "city": pd.Categorical(["Oslo", "Rome"]), "plan": ["free", "basic"],
        "since": pd.to_datetime(["2021-11-03", "2021-11-04"]), "spent": [1.5, 2.0],
    })  # fmt: skip
    given.to_parquet("new.parquet")
    assert predict(shop, "new.parquet", "-o", "out.parquet") == 0
    found = pd.read_parquet("out.parquet")
    assert found["segment"].tolist() == ["hip", "calm"]
    pd.testing.assert_frame_equal(
        found[["age", "since", "spent"]], given[["age", "since", "spent"]]
    )
    assert found["customer"].tolist()[0] == 1


def test_csv_and_parquet_of_the_same_customers_get_the_same(demo, customers):
    customers.to_csv("new.csv", index=False)
    customers.to_parquet("new.parquet")
    one, other = (predict_table(demo, f"new.{kind}").table for kind in ("csv", "parquet"))
    for column in one.filter(regex="probability|^segment"):
        assert one[column].tolist() == other[column].tolist()


def test_a_table_in_memory_keeps_its_index(shop):
    given = pd.read_csv(table(f"1,{YOUNG}", f"2,{OLD}")).set_index(pd.Index(["x", "y"]))
    found = predict_table(shop, given).table
    assert found["segment"].to_dict() == {"x": "hip", "y": "calm"}
    pd.testing.assert_frame_equal(found[list(given)], given)


def test_a_name_that_is_taken_is_written_as_predicted(shop):
    name = table(f"1,{YOUNG},calm", header=HEADER)
    found = predict_table(shop, name)
    assert found.table.loc[0, ["segment", "predicted_segment"]].tolist() == ["calm", "hip"]
    assert found.notes == (
        "the table has 'segment' already; the model's columns are 'predicted_segment'",
    )


def test_the_words_of_the_data_set_are_read_as_in_training(shop):
    # Roma is Rome, 130 years are none, "?" is a gap, plan and date cannot be read.
    name = table("1,130,Roma,gold,soon", f"2,?,{OLD[3:]}")
    found = predict_table(shop, name)
    assert found.columns["missing"].to_dict() == {"age": 2, "city": 0, "plan": 1, "since": 1}
    said = "\n".join(found.notes)
    assert "column 'city': 1 cell changed from 'Roma' to 'Rome'" in said
    assert "column 'age': 1 cell outside min 16 and max 110 set to missing" in said
    assert "column 'plan' (ordinal): 1 cell not among the levels" in said


def test_a_column_without_any_value_is_filled_as_in_training(shop):
    assert predict_table(shop, table("1,,Oslo,free,03-11-2021")).columns.loc["age", "missing"] == 1


def test_unseen_categories_are_counted_by_column(shop):
    name = table("1,25,Bern,free,03-11-2021", "2,25,Bern,free,03-11-2021", f"3,{OLD}")
    found = predict_table(shop, name).columns
    assert found["unseen"].to_dict() == {"age": 0, "city": 2, "plan": 0, "since": 0}
    assert found.loc["city", "unseen_values"] == "Bern"


def test_invalid_cells_are_refused_where_the_data_set_refuses_them(demo, customers, capsys):
    customers.astype({"Age": object}).assign(Age="old").to_csv("new.csv", index=False)
    err = refused(demo, capsys, "new.csv")
    assert "column 'Age' (numeric): 40 cells not usable as numbers" in err
    assert predict(demo, "new.csv", "dataset.invalid_values=missing", "-o", "out.csv") == 0


def test_words_say_how_another_table_is_written(shop):
    lines = [f"1,{YOUNG}".replace(",", "|"), f"2,{OLD}".replace(",", "|").replace("Rome", "Röm")]
    name = table(*lines, header="customer|age|city|plan|since", encoding="latin-1")
    found = predict_table(shop, name, ["dataset.separator=pipe", "dataset.encoding=latin-1"])
    assert found.table["city"].tolist() == ["Oslo", "Röm"]
    assert to_csv(found).decode("latin-1").startswith("customer|age|city")


def test_a_word_that_would_change_the_model_is_refused(shop):
    with pytest.raises(ConfigError, match=r"did you mean 'dataset.separator'"):
        predict_table(shop, table(f"1,{YOUNG}"), ["dataset.seperator=tab"])
    with pytest.raises(ConfigError, match="a word can only say how the table is written"):
        predict_table(shop, table(f"1,{YOUNG}"), ["dataset.numeric=[city]"])
    with pytest.raises(ConfigError, match=r"dataset.reader=sql: new customers come as csv"):
        predict_table(shop, table(f"1,{YOUNG}"), ["dataset.reader=sql"])


def test_decimal_commas_come_back_as_such(shop):
    name = table("1;25,5;Oslo;free;03-11-2021", header="customer;age;city;plan;since")
    found = to_csv(predict_table(shop, name, ["dataset.decimal=comma"])).decode()
    assert found.splitlines()[1] == "1;25,5;Oslo;free;03-11-2021;hip;0,000000;1,000000;1,000000"


def test_repeated_ids_are_told_and_each_row_is_scored(shop):
    found = predict_table(shop, table(f"1,{YOUNG}", f"1,{OLD}"))
    assert found.table["segment"].tolist() == ["hip", "calm"]
    assert "column 'customer': 1 row repeats an id of an earlier row" in found.notes[0]


def test_a_mark_at_the_start_of_the_file_is_no_part_of_a_name(shop):
    name = table(f"1,{YOUNG}", encoding="utf-8-sig")
    assert predict_table(shop, name).table.columns[0] == "customer"


def test_a_huge_cell_is_carried(shop):
    name = table(f"1,{YOUNG},{'x' * 1_000_000}", header="customer,age,city,plan,since,note")
    assert len(predict_table(shop, name).table.loc[0, "note"]) == 1_000_000


# --- clusterers ------------------------------------------------------------------------------


@pytest.fixture
def clusters(copy):
    """The run with a clusterer in the place of its classifier."""
    replace_model(copy, Segmenter(KMeans(2, n_init=1, random_state=0)))
    file = copy.path / runs.MODEL_SCHEMA
    schema = json.loads(file.read_text()) | {"segments": ["big", "small"], "task": "clustering"}
    file.write_text(json.dumps(schema))
    return copy.path


def test_a_clusterer_gives_names_confidence_and_who_is_unlike_anybody(clusters, shop):
    found = predict_table(clusters, shop.path.parents[2] / "train.csv")
    assert list(found.names) == ["segment", "confidence", "unlike_anybody"]
    labels = load_pipeline((clusters / runs.PIPELINE).read_bytes(), "model")[-1].labels_
    assert found.table["predicted_segment"].tolist() == [("big", "small")[i] for i in labels]
    assert found.table["confidence"].between(0, 1).all()
    assert found.table["unlike_anybody"].dtype == bool


def test_a_customer_far_from_all_others_is_unlike_anybody(clusters):
    found = predict_table(clusters, table("1,100,Bern,premium,03-11-2031", f"2,{YOUNG}"))
    assert found.table["unlike_anybody"].tolist() == [True, False]
    assert "1 customer unlike anybody of the training" in found.notes


def test_segments_that_were_found_are_counted_beside_those_of_the_training(clusters):
    found = pd.DataFrame({"segment": ["big"] * 3 + ["small"]})
    found.to_parquet(clusters / runs.CUSTOMERS)
    shares = predict_table(clusters, table(f"1,{YOUNG}")).segments["training_share"]
    assert shares.to_dict() == {"big": 0.75, "small": 0.25}


def test_a_clusterer_calls_noise_by_its_name(copy):
    replace_model(copy, Segmenter(DBSCAN(eps=1.0, min_samples=3)))
    found = predict_table(copy.path, table("1,100,Bern,premium,03-11-2031"))
    assert found.table["segment"].tolist() == ["noise"]
    assert found.segments.loc["noise", "customers"] == 1


def test_a_clusterer_gives_a_header_for_an_empty_table(clusters):
    found = to_csv(predict_table(clusters, table()))
    assert found == b"customer,age,city,plan,since,segment,confidence,unlike_anybody\n"


# --- what is refused -------------------------------------------------------------------------


def test_missing_columns_are_named_with_the_nearest_there_are(shop, capsys):
    name = table("1,25,Oslo,free", header="customer,Age,town,plan")
    err = refused(shop, capsys, name)
    assert "new.csv lacks 3 columns that the model needs" in err
    assert "'age' (did you mean 'Age'?), 'city', 'since'" in err


def test_a_name_that_occurs_twice_is_refused(shop, capsys):
    name = table(f"1,{YOUNG},26", header="customer,age,city,plan,since,age")
    assert "column 'age' occurs 2 times" in refused(shop, capsys, name)


def test_a_table_that_was_scored_twice_is_refused_the_third_time(shop, capsys):
    header = "customer,age,city,plan,since,segment,predicted_segment"
    err = refused(shop, capsys, table(f"1,{YOUNG},hip,hip", header=header))
    assert "the columns 'segment' and 'predicted_segment'" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "new.csv is empty"),
        (bytes(range(256)) * 9, "new.csv"),
        (b"PK\x03\x04" + bytes(99), "an Excel workbook"),
        ("customer,age,city\n1,2,Köln\n".encode("latin-1"), "dataset.encoding=latin-1"),
        (b"customer,age\n1,2,3\n", "line 2: 3 cells where the header has 2"),
        (b'customer,age\n1,"2\n', "never closed"),
    ],
    ids=["empty", "binary", "excel", "encoding", "ragged", "open quote"],
)
def test_a_file_that_is_no_table_is_one_line(shop, capsys, content, said):
    Path("new.csv").write_bytes(content)
    assert said in refused(shop, capsys, "new.csv")


def test_a_folder_and_a_file_that_is_not_there_are_one_line(shop, here, capsys):
    (here / "folder").mkdir()
    table(f"1,{YOUNG}")
    assert "folder" in refused(shop, capsys, "folder")
    assert "did you mean 'new.csv'" in refused(shop, capsys, "nev.csv")


def test_a_false_parquet_is_one_line(shop, capsys):
    Path("new.parquet").write_text("not parquet")
    assert "new.parquet is not a Parquet file" in refused(shop, capsys, "new.parquet")


# --- the file that is written ----------------------------------------------------------------


def test_a_file_is_replaced_only_by_force(shop, capsys):
    name = table(f"1,{YOUNG}")
    Path("out.csv").write_text("mine")
    assert "--force" in refused(shop, capsys, name, "-o", "out.csv")
    assert Path("out.csv").read_text() == "mine"
    assert predict(shop, name, "-o", "out.csv", "--force") == 0
    assert Path("out.csv").read_text().startswith("customer")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("out.xlsx", "'.xlsx' is not one of .csv, .tsv, .parquet"),
        ("out", "'none' is not one of"),
        (".", "is a folder"),
        ("nowhere/out.csv", "there is no folder nowhere"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_first(shop, capsys, output, said):
    assert said in refused(shop, capsys, table(f"1,{YOUNG}"), "-o", output)


def test_the_table_itself_is_never_replaced(shop, capsys):
    name = table(f"1,{YOUNG}")
    assert "the customers itself" in refused(shop, capsys, name, "-o", "./new.csv", "--force")


def test_nothing_is_left_of_a_file_that_could_not_be_written(shop, monkeypatch):
    found = predict_table(shop, table(f"1,{YOUNG}"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"out.csv cannot be written: No space left on device"):
        write_predictions(found, Path("out.csv"))
    assert [path.name for path in Path().iterdir()] == ["new.csv"]


def test_a_letter_that_an_encoding_lacks_is_told(shop):
    given = pd.read_csv(table(f"1,{YOUNG}")).assign(note="Ω")
    found = predict_table(shop, given, ["dataset.encoding=latin-1"])
    with pytest.raises(DataError, match=r"'Ω' cannot be written in latin-1"):
        to_csv(found)


# --- the run ---------------------------------------------------------------------------------


def test_a_run_that_was_moved_scores_as_before(copy):
    assert predict_table(copy.path, table(f"1,{YOUNG}")).table["segment"].tolist() == ["hip"]


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_is_not_completed_is_refused(copy, capsys, status):
    file = copy.path / runs.MANIFEST
    file.write_text(json.dumps({**copy.manifest, "status": status}))
    err = refused(copy, capsys, table(f"1,{YOUNG}"))
    assert f"is {status}" in err and f"segexp resume {copy.path}" in err


def test_a_run_without_a_model_says_how_to_get_one(copy, capsys):
    shutil.rmtree(copy.path / runs.MODEL)
    err = refused(copy, capsys, table(f"1,{YOUNG}"))
    assert "holds no model: say evaluation.final_model=true" in err


def test_a_model_that_could_not_be_saved_says_why(copy):
    shutil.rmtree(copy.path / runs.MODEL)
    why = "the model was not saved: it holds types that are not trusted"
    (copy.path / runs.MANIFEST).write_text(json.dumps({**copy.manifest, "warnings": [why]}))
    with pytest.raises(RunError, match=why):
        predict_table(copy.path, table(f"1,{YOUNG}"))


@pytest.mark.parametrize("file", [runs.PIPELINE, runs.MODEL_SCHEMA, runs.CONFIG])
def test_a_damaged_file_is_one_line(copy, capsys, file):
    (copy.path / file).write_text('{"columns": {"age": 3}}')
    assert refused(copy, capsys, table(f"1,{YOUNG}"))


@pytest.mark.parametrize(
    "damage",
    [{"transactions": "x"}, {"transactions": None}, {"kind": 3}, {"rules": "x"}, {"decimal": []}],
)
def test_a_damaged_data_set_is_one_line(copy, capsys, damage):
    file = copy.path / runs.CONFIG
    content = yaml.safe_load(file.read_text())
    content["dataset"] |= damage
    file.write_text(yaml.safe_dump(content))
    assert f"{file.name} is damaged: " in refused(copy, capsys, table(f"1,{YOUNG}"))


def test_a_key_of_logs_that_is_newer_than_the_run_has_its_default(copy):
    file = copy.path / runs.CONFIG
    content = yaml.safe_load(file.read_text())
    del content["dataset"]["transactions"]["memory_limit"]
    file.write_text(yaml.safe_dump(content))
    assert predict_table(copy.path, table(f"1,{YOUNG}")).table["segment"].tolist() == ["hip"]


def test_a_model_with_a_cache_is_not_loaded(copy, here, capsys):
    file = copy.path / runs.PIPELINE
    pipeline = load_pipeline(file.read_bytes(), "model")
    pipeline.memory = str(here / "cache")
    file.write_bytes(skops.io.dumps(pipeline))
    said = refused(copy, capsys, table(f"1,{YOUNG}"))
    assert "was not loaded: memory of its Pipeline is set, and a cache may hold code" in said


def test_a_model_that_unpacks_to_too_much_is_not_loaded(copy, capsys, monkeypatch):
    monkeypatch.setattr("segexp.bounds.MOST_MODEL", 1_000_000)
    with zipfile.ZipFile(copy.path / runs.PIPELINE, "w", zipfile.ZIP_DEFLATED) as model:
        model.writestr("tree.npy", bytes(3_000_000))
    said = refused(copy, capsys, table(f"1,{YOUNG}"))
    assert "is not read: it holds 3 MB unpacked, more than the 1 that are read" in said


def test_a_config_whose_aliases_have_no_end_is_one_line(copy, capsys):
    (copy.path / runs.CONFIG).write_text("dataset: &a {b: *a}")
    assert "entries, aliases followed" in refused(copy, capsys, table(f"1,{YOUNG}"))


def test_columns_that_are_nested_deeply_are_one_line(copy, capsys):
    (copy.path / runs.MODEL_SCHEMA).write_text("[" * 100_000)
    assert "is not valid JSON" in refused(copy, capsys, table(f"1,{YOUNG}"))


def test_a_run_of_an_earlier_version_with_other_keys_still_scores(copy):
    file = copy.path / runs.CONFIG
    content = yaml.safe_load(file.read_text())
    del content["dataset"]["invalid_values"], content["evaluation"]["n_repeats"]
    content["model"]["retired"] = 1
    file.write_text(yaml.safe_dump(content))
    assert predict_table(copy.path, table(f"1,{YOUNG}")).table["segment"].tolist() == ["hip"]


def test_a_folder_that_is_no_run_is_refused(here, capsys):
    table(f"1,{YOUNG}")
    assert main(["predict", str(here), "new.csv"]) == 2
    assert "is not a run directory" in capsys.readouterr().err


def test_a_sweep_names_its_runs(here, capsys):
    words = ["dataset.n_customers=200", "model=dummy,decision_tree", *QUICK]
    assert main(["sweep", *words]) == 0
    (sweep,) = (here / "outputs" / "sweeps").iterdir()
    capsys.readouterr()
    assert main(["predict", str(sweep), table(f"1,{YOUNG}")]) == 2
    err = capsys.readouterr().err
    assert "is a sweep; name one of its completed runs" in err
    assert all(str(path) in err for path in runs.find_runs(sweep))


def test_libraries_of_another_version_are_told(copy):
    file = copy.path / runs.MODEL_SCHEMA
    schema = json.loads(file.read_text())
    schema["versions"] |= {"scikit-learn": "0.24.2"}
    file.write_text(json.dumps(schema))
    notes = predict_table(copy.path, table(f"1,{YOUNG}")).notes
    assert notes[0].startswith("the model was trained with scikit-learn 0.24.2 (here ")


# --- what is told ----------------------------------------------------------------------------


def test_the_summary_goes_to_standard_error(shop, capsys):
    rows = [f"1,{YOUNG}", f"2,{YOUNG}", "3,?,Bern,free,03-11-2021", f"4,{OLD}"]
    assert predict(shop, table(*rows), "-o", "out.csv") == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line.split() for line in err.splitlines()]
    assert ["segment", "customers", "share", "in", "training"] in lines
    assert ["city", "0", "0.0%", "0.0%", "1", "Bern"] in lines
    assert ["age", "1", "25.0%", "0.0%", "0"] in lines
    assert "4 customers" in err
    assert err.endswith("written to out.csv\n")


def test_segments_are_counted_beside_those_of_the_training(shop):
    found = predict_table(shop, table(f"1,{YOUNG}", f"2,{YOUNG}", f"3,{YOUNG}", f"4,{OLD}"))
    assert found.segments.loc["hip"].tolist() == [3, 0.75, 0.5]
    assert found.segments.loc["calm"].tolist() == [1, 0.25, 0.5]


def test_a_model_of_synthetic_customers_says_so(demo, customers, capsys):
    customers.to_csv("new.csv", index=False)
    assert predict(demo, "new.csv", "-o", "out.csv") == 0
    assert "learned from synthetic customers" in capsys.readouterr().err
