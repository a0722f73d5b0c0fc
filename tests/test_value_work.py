"""A run of a value model: its files, its baselines, and how it looks on the terminal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_value_clv import shop

import segexp.runs as runs
from segexp.cli.value_view import print_value
from segexp.components import build_pipeline
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.config.schema import EngineConfig, ExperimentConfig
from segexp.data.loading import Dataset
from segexp.engine.driver import open_engine
from segexp.errors import ConfigError
from segexp.evaluation import Split
from segexp.metrics import VALUE_METRICS
from segexp.saved_model import load_pipeline
from segexp.value.work import ValueWork

SHIPPED = (shipped_conf(),)
N = 300


@pytest.fixture(scope="module")
def config() -> ExperimentConfig:
    return load_config(["dataset=cdnow", "model=bg_nbd"], SHIPPED)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    X = shop(N).drop(columns="age")
    purchases = np.random.default_rng(1).poisson(0.3 * X["repeats"] + 0.1).astype(float)
    return Dataset(
        name="shop",
        X=X,
        y=None,
        segments=(),
        ids=pd.Series([f"c{i}" for i in range(N)], dtype=object),
        groups=None,
        fingerprint="0",
        synthetic=True,
        roles={"numeric": tuple(X)},
        n_rows_read=N,
        findings=(),
        files=(),
        outcome=pd.DataFrame({"purchases": purchases, "orders": purchases, "spend": 9 * purchases}),
        holdout_days=120.0,
    )


def finish(config: ExperimentConfig, dataset: Dataset, path: Path) -> tuple[ValueWork, list[str]]:
    """Do the work of a run of 3 folds, and tell what was counted."""
    parts = np.array_split(np.random.default_rng(0).permutation(N), 3)
    splits = [
        Split(0, i, np.sort(np.concatenate([*parts[:i], *parts[i + 1 :]])), np.sort(parts[i]))
        for i in range(3)
    ]
    baseline = build_pipeline(load_config(["dataset=cdnow", "model=past_rate"], SHIPPED))
    told: list[str] = []

    async def work() -> ValueWork:
        engine = EngineConfig(name="local", n_jobs=1, threads=1, address=None)
        async with open_engine(engine) as opened:
            done = ValueWork(
                config, build_pipeline(config), {"past_rate": baseline}, dataset, splits,
                runs.RunWriter(path, {}), opened, lambda n, what: told.append(what), (0,),
            )  # fmt: skip
            await done.finish()
            return done

    return asyncio.run(work()), told


@pytest.fixture(scope="module")
def done(
    config: ExperimentConfig, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ValueWork, list[str]]:
    path = tmp_path_factory.mktemp("run")
    return path, *finish(config, dataset, path)


def test_every_task_is_counted(done: tuple[Path, ValueWork, list[str]]) -> None:
    _, work, told = done
    assert len(told) == work.n_tasks == 2 * 3 + 2


def test_scores_hold_every_metric_of_every_fold(done: tuple[Path, ValueWork, list[str]]) -> None:
    scores = pd.read_csv(done[0] / runs.SCORES)
    assert list(scores) == ["repeat", "fold", "metric", "value"]
    names = {metric.name for metric in VALUE_METRICS}
    assert set(scores["metric"]) == names and len(scores) == 3 * len(names)
    assert set(json.loads((done[0] / runs.SUMMARY).read_text())) == names


def test_baselines_are_judged_on_the_same_folds(done: tuple[Path, ValueWork, list[str]]) -> None:
    table = pd.read_csv(done[0] / runs.BASELINES)
    assert list(table) == ["baseline", "repeat", "fold", "metric", "value"]
    assert set(table["baseline"]) == {"past_rate"} and set(table["fold"]) == {0, 1, 2}


def test_every_customer_is_predicted_once(done: tuple[Path, ValueWork, list[str]]) -> None:
    table = pd.read_parquet(done[0] / runs.PREDICTIONS)
    assert table["row"].tolist() == list(range(N))
    assert table["id"].tolist() == [f"c{i}" for i in range(N)]


def test_scores_follow_from_the_predictions(done: tuple[Path, ValueWork, list[str]]) -> None:
    table = pd.read_parquet(done[0] / runs.PREDICTIONS)
    scores = pd.read_csv(done[0] / runs.SCORES).set_index(["fold", "metric"])["value"]
    gap = (table["expected_purchases"] - table["actual_purchases"]).abs()
    for fold, mean in gap.groupby(table["fold"]).mean().items():
        assert scores[fold, "mae"] == pytest.approx(mean)


def test_customers_are_put_into_the_cells_of_the_matrix(
    done: tuple[Path, ValueWork, list[str]],
) -> None:
    customers = pd.read_parquet(done[0] / runs.CUSTOMERS)
    matrix = pd.read_csv(done[0] / runs.VALUE_MATRIX)
    assert len(customers) == N and set(customers["segment"]) <= set(matrix["segment"])
    assert matrix["n"].sum() == N


def test_value_json_says_what_was_fitted_and_what_happened(
    done: tuple[Path, ValueWork, list[str]], dataset: Dataset
) -> None:
    found = json.loads((done[0] / runs.VALUE).read_text())
    assert set(found["purchases"]["parameters"]) == {"r", "alpha", "a", "b"}
    assert found["purchases"]["converged"] is True
    assert found["holdout"]["actual_purchases"] == dataset.outcome["purchases"].sum()
    assert sum(row["n"] for row in found["holdout"]["by_frequency"]) == N
    assert "fitted on the same customers" in found["in_sample"]
    assert any("BG/NBD takes the" in note for note in found["notes"])


def test_the_saved_model_says_the_same(
    done: tuple[Path, ValueWork, list[str]], dataset: Dataset
) -> None:
    path, work, _ = done
    assert isinstance(work.model, bytes)
    loaded = load_pipeline(work.model, "the model")
    customers = pd.read_parquet(path / runs.CUSTOMERS)
    np.testing.assert_allclose(loaded.predict(dataset.X), customers["clv"], rtol=1e-12)


def test_figures_are_drawn(done: tuple[Path, ValueWork, list[str]]) -> None:
    names = {file.name for file in (done[0] / runs.FIGURES).iterdir()}
    shown = ("calibration_deciles", "calibration_by_frequency", "value_matrix", "probability_alive")
    assert names == {f"{name}.{kind}" for name in shown for kind in ("png", "svg")}


def test_a_run_is_printed(
    done: tuple[Path, ValueWork, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = {"metric": "holdout_log_likelihood", "task": "value"}
    print_value(runs.Run(path=done[0], manifest=manifest))
    printed = capsys.readouterr().out
    for words in ("holdout_log_likelihood (more is better)", "past_rate", "high value, at risk",
                  "BetaGeo", "happened", "7+"):  # fmt: skip
        assert words in printed
    assert "nan" not in printed


def test_without_a_final_model_only_folds_are_judged(
    config: ExperimentConfig, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds_only = replace(config, evaluation=replace(config.evaluation, final_model=False))
    work, told = finish(folds_only, dataset, tmp_path)
    assert work.model is None and len(told) == work.n_tasks
    assert not (tmp_path / runs.CUSTOMERS).exists()
    print_value(runs.Run(path=tmp_path, manifest={"metric": "mae", "task": "value"}))
    assert "happened" in capsys.readouterr().out


def test_a_holdout_in_which_nobody_bought_is_said(
    config: ExperimentConfig, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = replace(dataset, outcome=dataset.outcome * 0.0)
    finish(config, nobody, tmp_path)
    found = json.loads((tmp_path / runs.VALUE).read_text())
    assert any("nobody bought in the holdout" in note for note in found["notes"])
    print_value(runs.Run(path=tmp_path, manifest={"metric": "mae", "task": "value"}))
    assert "nobody bought" in capsys.readouterr().out


def test_a_table_without_an_outcome_is_refused(
    config: ExperimentConfig, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"calibration_end=YYYY-MM-DD"):
        finish(config, replace(dataset, outcome=None, holdout_days=None), tmp_path)


@pytest.mark.parametrize("name", ["bg_nbd", "pareto_nbd", "past_rate"])
def test_every_value_model_is_judged_as_value(name: str) -> None:
    config = load_config(["dataset=cdnow", f"model={name}"], SHIPPED)
    assert config.model.task == "value" and config.evaluation.name == "value"
    assert config.evaluation.metric == "holdout_log_likelihood"
    assert type(build_pipeline(config)[-1]).__name__ == "CustomerValue"


def test_clusterers_can_stand_on_value_features(dataset: Dataset) -> None:
    config = load_config(["dataset=cdnow", "model=kmeans", "preprocessing=value"], SHIPPED)
    pipeline = build_pipeline(config).fit(dataset.X)
    assert pipeline[:-1].transform(dataset.X).shape == (N, 3)
