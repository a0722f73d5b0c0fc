"""What `segexp run` costs beside a hand-written script that fits the same folds.

Both sides read the automobile customers, fit the same estimator on the same five folds and
score the held-out rows; their fold accuracies must be equal. Measured pair by pair:

evaluation
    `segexp.evaluation.evaluate` against the loop of the script, in one process, on the table
    that is loaded already. Goal: at most 1.05 times the loop.
process, same work
    `segexp run` without baselines, importance and final model against the script.
    Goal: at most 1.5 times the script.
process, default
    `segexp run` as it is typed, which also fits two baselines and the final model, measures
    importance, and uses every core. Stated, without a goal.

    SEGEXP_DATA_DIR=... .venv/bin/python scripts/bench_overhead.py [PAIRS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

PREPROCESSING = "minimal"
MODELS = ("lightgbm", "random_forest")
NUMERIC = ["Age", "Work_Experience", "Family_Size"]
CATEGORICAL = ["Gender", "Ever_Married", "Graduated", "Profession", "Var_1"]
LEVELS = [["Low", "Average", "High"]]


def make_estimator(model: str, parameters: dict[str, Any]) -> Any:
    classes = {"lightgbm": LGBMClassifier, "random_forest": RandomForestClassifier}
    return classes[model](**parameters)


def make_pipeline(model: str, parameters: dict[str, Any]) -> Pipeline:
    """The preprocessing of conf/preprocessing/minimal.yaml, written by hand."""
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=50, sparse_output=False
    )
    columns = ColumnTransformer(
        [
            (
                "numeric",
                Pipeline(
                    [("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())]
                ),
                NUMERIC,
            ),
            ("categorical", one_hot, CATEGORICAL),
            (
                "ordinal",
                Pipeline(
                    [
                        ("codes", OrdinalEncoder(categories=LEVELS)),
                        ("impute", SimpleImputer(strategy="median")),
                    ]
                ),
                ["Spending_Score"],
            ),
        ]
    )
    return Pipeline([("columns", columns), ("model", make_estimator(model, parameters))])


def loop(pipeline_of: Any, X: pd.DataFrame, y: np.ndarray) -> list[float]:
    """Five folds as one writes them by hand: fit, predict, four metrics."""
    accuracies = []
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)
    for train, test in folds:
        pipeline = pipeline_of()
        pipeline.fit(X.iloc[train], y[train])
        probabilities = pipeline.predict_proba(X.iloc[test])
        predicted = pipeline.classes_[probabilities.argmax(axis=1)]
        accuracies.append(accuracy_score(y[test], predicted))
        f1_score(y[test], predicted, average="macro")
        log_loss(y[test], probabilities)
        roc_auc_score(y[test], probabilities, multi_class="ovr")
    return accuracies


def script(model: str, parameters: dict[str, Any], path: str) -> None:
    """The whole hand-written script; prints its fold accuracies."""
    table = pd.read_csv(path)
    y = table["Segmentation"].astype("category").cat.codes.to_numpy()
    X = table.drop(columns=["ID", "Segmentation"])
    with threadpool_limits(limits=1):
        print(json.dumps(loop(partial(make_pipeline, model, parameters), X, y)))


def seconds(act: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = act()
    return time.perf_counter() - start, result


def show(what: str, model: str, pairs: list[tuple[float, float]], goal: float | None) -> None:
    ratios = [ours / theirs for ours, theirs in pairs]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    wanted = f", goal at most {goal}" if goal else ""
    print(
        f"{model}, {what}: {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}{wanted}); "
        f"median {ours:.2f} s beside {theirs:.2f} s",
        flush=True,
    )


def compare_evaluation(model: str, pairs: int) -> dict[str, Any]:
    """Time both loops in this process; return the model's parameters for the script."""
    from sklearn.base import clone

    from segexp.components import build_pipeline
    from segexp.config.compose import load_config
    from segexp.config.options import find_conf_dirs
    from segexp.data.loading import load_dataset
    from segexp.evaluation import evaluate, make_splits

    words = ["dataset=automobile", f"model={model}", f"preprocessing={PREPROCESSING}"]
    config = load_config(words, find_conf_dirs())
    dataset = load_dataset(config.dataset)
    X, y, segments = dataset.X, dataset.y, dataset.segments
    pipeline = build_pipeline(config)
    splits = make_splits(config.evaluation, y, None, 0, segments)
    times = []
    for _ in range(1 + pairs):
        ours, results = seconds(partial(evaluate, {"m": pipeline}, X, y, splits, segments))
        with threadpool_limits(limits=1):
            theirs, accuracies = seconds(partial(loop, partial(clone, pipeline), X, y))
        own = [(r.predicted == y[r.split.test]).mean() for r in results["m"]]
        np.testing.assert_allclose(own, accuracies, atol=1e-12)
        times.append((ours, theirs))
    show("evaluation", model, times[1:], 1.05)  # the first pair warms up
    return pipeline.named_steps["model"].get_params()


def compare_process(model: str, parameters: dict[str, Any], pairs: int) -> None:
    path = str(Path(os.environ["SEGEXP_DATA_DIR"]) / "automobile" / "Train.csv")
    hand = [sys.executable, __file__, "script", model, json.dumps(parameters), path]
    same = ["evaluation.baselines=[]", "evaluation.importance_repeats=0",
            "evaluation.final_model=false", "engine.n_jobs=1"]  # fmt: skip
    for what, words, goal in (("same work", same, 1.5), ("default", [], None)):
        times = []
        for _ in range(pairs):
            with tempfile.TemporaryDirectory() as folder:
                run = [
                    sys.executable, "-m", "segexp", "run", "dataset=automobile", f"model={model}",
                    f"preprocessing={PREPROCESSING}", f"run.outputs={folder}", *words,
                ]  # fmt: skip
                ours, _ = seconds(partial(subprocess.run, run, check=True, capture_output=True))
                (scores,) = Path(folder).glob("*/*/scores.csv")
                table = pd.read_csv(scores)
            theirs, done = seconds(partial(subprocess.run, hand, check=True, capture_output=True))
            own = table[table["metric"] == "accuracy"]["value"]
            np.testing.assert_allclose(own, json.loads(done.stdout), atol=1e-12)
            times.append((ours, theirs))
        show(f"process, {what}", model, times, goal)


def main() -> None:
    if sys.argv[1:2] == ["script"]:
        script(sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])
        return
    if "SEGEXP_DATA_DIR" not in os.environ:
        sys.exit("bench_overhead: set SEGEXP_DATA_DIR to a folder that holds automobile/Train.csv")
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for model in MODELS:
        parameters = compare_evaluation(model, pairs)
        compare_process(model, parameters, pairs)


if __name__ == "__main__":
    main()
