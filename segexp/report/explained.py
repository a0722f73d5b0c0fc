"""The part of a report on what a classifier looks at, and what more customers would bring it.

What is said of the saved model is in-sample, and says so; importance and learning curve are of
customers held out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import segexp.runs as runs
from segexp.checks.readings import listed
from segexp.components import build_pipeline
from segexp.explanations import (
    N_FOLDS,
    SHARES,
    Answers,
    ExplanationError,
    contributions,
    dependence,
    learning_curve,
    value_ranks,
)
from segexp.figures import classification as figures
from segexp.metrics import metric_by_name
from segexp.plan import recorded_config
from segexp.report.evidence import (
    MOST_IMPORTANT,
    MOST_SHOWN,
    Evidence,
    figure_of,
    four,
    value_text,
)
from segexp.report.page import Block, Cell, Details, Table, Text, percent, records

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CURVE_ROWS = 200  # customers of a mean curve
CONTRIBUTION_ROWS = 300
IN_SAMPLE = "In-sample: the saved model, on customers that it was fitted on"


# ---- what it looks at --------------------------------------------------------------------------


def importance_part(evidence: Evidence) -> list[Block]:
    """Return which columns the predictions rest on."""
    table = evidence.needed(runs.IMPORTANCE, evidence.source.importance)
    permutation = with_intervals(
        table[table["kind"] == "permutation"],
        evidence.n_splits * int(evidence.manifest["split"]["n_repeats"]),
        evidence.test_share,
        float(evidence.manifest["confidence"]),
    )
    own = table[(table["kind"] == "model") & table["mean"].notna()]
    if permutation.empty:
        raise ExplanationError("no columns were shuffled (evaluation.importance_repeats=0)")
    metric = metric_by_name(evidence.manifest["metric"])
    total = float(own["mean"].sum())
    shares = own.assign(mean=100 * own["mean"] / total) if total > 0 else own.iloc[:0]
    level = percent(evidence.manifest["confidence"], 0)
    interval = f"{level} interval over folds"
    top = permutation.head(MOST_SHOWN)
    words = _rest_words(permutation, metric.label)
    blocks: list[Block] = [
        Text(words, "lead"),
        figure_of(
            "importance",
            figures.importances(
                top, _without_roles(shares.head(MOST_SHOWN)), metric.name,
                f"Left: mean over folds, line: {interval}; the first {len(top)} of "
                f"{len(permutation)} columns",
            ),
            f"Columns by loss of {metric.label} when shuffled: "
            + ", ".join(f"{row['feature']} {row['mean']:.4f}" for row in records(top)) + ".",
            f"Left: how much {metric.label} is lost on held-out customers when the values of a "
            f"column are dealt to other customers (Breiman 2001). Columns that go together share "
            f"their importance. Right: the model's own figure, of its training customers.",
        ),
        Details("All columns in numbers", [_importance_table(permutation, metric.label, interval)]),
    ]  # fmt: skip
    if not len(shares):
        said = "The model has no importance of its own (no trees, no coefficients)."
        return [*blocks, Text(said, "quiet")]
    columns = ("prepared feature", "mean over folds", "sd over folds", "share")
    rows = [
        [row["feature"], four(row["mean"]), four(row["std"]),
         Cell(percent(row["mean"] / total), row["mean"] / total)]
        for row in records(own)
    ]  # fmt: skip
    caption = "In-sample: splits, gain, impurity or mean absolute coefficient, as the model has it"
    inner = [Table(columns, rows, numeric=columns[1:], caption=caption)]
    return [*blocks, Details("The model's own importance in numbers", inner)]


def _without_roles(own: pd.DataFrame) -> pd.DataFrame:
    """Leave out the role that a preprocessing of native categories puts before each name."""
    beginning = r"^(numeric|categorical|native_categorical|ordinal|date)__"
    return own.assign(feature=own["feature"].str.replace(beginning, "", regex=True))


def with_intervals(
    table: pd.DataFrame, n_folds: int, test_share: float, level: float
) -> pd.DataFrame:
    """Add ``low`` and ``high``, intervals of means over folds that share training customers.

    Parameters
    ----------
    table : DataFrame with columns ``mean, std``
        Over folds.
    n_folds : int
        In all repeats.
    test_share : float
        Share of the customers that each fold judges.
    level : float

    Returns
    -------
    DataFrame
        NaN with fewer than two folds.

    Notes
    -----
    mean ± t sd sqrt(1 / n_folds + n_test / n_train), with n_folds - 1 degrees of freedom: Nadeau
    and Bengio (2003), Inference for the generalization error, Machine Learning 52, 239-281.
    """
    from scipy.special import stdtrit

    if n_folds < 2:
        return table.assign(low=math.nan, high=math.nan)
    t = float(stdtrit(n_folds - 1, (1 + level) / 2))
    half = t * table["std"] * math.sqrt(1 / n_folds + test_share / (1 - test_share))
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def _rest_words(permutation: pd.DataFrame, label: str) -> str:
    names = permutation.loc[permutation["low"].fillna(permutation["mean"]) > 0, "feature"].tolist()
    untested = bool(permutation["low"].isna().all())  # one split has no interval
    none = 0 if untested else len(permutation) - len(names)
    if not names and untested:
        return f"No single column makes a difference to {label} on this split."
    if not names:
        return f"No single column makes a difference to {label} that its folds agree on."
    words = f"The predictions rest most on {listed(names[:3])}."
    if none:
        columns = "column makes" if none == 1 else "columns make"
        words += (
            f" {none} of {len(permutation)} {columns} no difference that can be told from chance, "
            f"each taken alone. What a model without all of them would do was not measured: "
            f"columns that go together stand in for one another."
        )
    return words


def _importance_table(permutation: pd.DataFrame, label: str, interval: str) -> Table:
    columns = ("column", f"loss of {label}", "sd over folds", interval)
    rows = [
        [row["feature"], four(row["mean"]), four(row["std"]),
         f"{four(row['low'])} – {four(row['high'])}" if math.isfinite(row["low"]) else None]
        for row in records(permutation)
    ]  # fmt: skip
    return Table(columns, rows, numeric=columns[1:], caption="Held out, mean over folds")


# ---- how features act --------------------------------------------------------------------------


def dependence_part(evidence: Evidence) -> list[Block]:
    """Return how the mean prediction goes with single features."""
    sampled, pipeline = evidence.sampled, evidence.model
    n_rows = min(len(sampled.X), CURVE_ROWS)
    curves = dependence(
        pipeline, sampled.X, evidence.ranked[:MOST_IMPORTANT], len(sampled.segments),
        max_rows=n_rows, seed=int(evidence.manifest["seed"]),
    )  # fmt: skip
    if not curves:
        raise ExplanationError("no column has two different values")
    means = np.concatenate([curve.means for curve in curves])
    chosen, which = _steepest(curves, sampled.segments)
    what = "mean probability" if hasattr(pipeline, "predict_proba") else "predicted share"
    label = f"{what} of {sampled.segments[1]}" if len(sampled.segments) == 2 else what
    rows = f"{n_rows:,} of the sample's {len(sampled.X):,} customers"
    said = f"In-sample: saved model, {rows}{which}"
    words = _steps_words(curves, sampled.segments, what)
    return [
        Text(words, "lead"),
        figure_of(
            "dependence", figures.partial_dependence(curves, chosen, label, said),
            f"Mean prediction by the value of {listed([curve.feature for curve in curves])}, from "
            f"{means.min():.2f} to {means.max():.2f}. {words}",
            f"{IN_SAMPLE}: {rows}{which}. Everybody is given the same value of one feature, all "
            f"else stays as it is (partial dependence, Friedman 2001). Marks below: quantiles of "
            f"the customers. Where features go together, such customers may not exist.",
        ),
    ]  # fmt: skip


def _steepest(
    curves: Sequence[figures.Dependence], segments: Sequence[str]
) -> tuple[dict[str, int], str]:
    """Return the segments that are drawn: those whose predictions move most."""
    if len(segments) == 2:  # the other one is what is left
        return {segments[1]: 1}, ""
    if len(segments) <= figures.MOST_CURVES:
        return {name: code for code, name in enumerate(segments)}, ""
    moves = np.max([np.ptp(curve.means, axis=0) for curve in curves], axis=0)
    codes = np.sort(np.argsort(-moves, kind="stable")[: figures.MOST_CURVES - 2])
    words = f"; the {len(codes)} of {len(segments)} segments that move most"
    return {segments[code]: int(code) for code in codes}, words


def _steps_words(curves: Sequence[figures.Dependence], segments: Sequence[str], what: str) -> str:
    """Say what moves the predictions most."""
    curve = max(curves, key=lambda c: float(np.ptp(c.means, axis=0).max()))
    code = 1 if len(segments) == 2 else int(np.ptp(curve.means, axis=0).argmax())
    low, high = int(curve.means[:, code].argmin()), int(curve.means[:, code].argmax())
    return (
        f"{curve.feature} moves the predictions most: the {what} of {segments[code]} goes from "
        f"{curve.means[low, code]:.0%} where it is {value_text(curve.grid[low])} to "
        f"{curve.means[high, code]:.0%} where it is {value_text(curve.grid[high])}, with all else "
        f"equal. That is what the model does; it need not be what makes customers so."
    )


def contributions_part(evidence: Evidence) -> list[Block]:
    """Return how far features move single customers."""
    sampled = evidence.sampled
    X = sampled.X
    if len(X) > CONTRIBUTION_ROWS:
        rng = np.random.default_rng(int(evidence.manifest["seed"]))
        X = X.iloc[np.sort(rng.choice(len(X), CONTRIBUTION_ROWS, replace=False))]
    found = contributions(evidence.model, X, len(sampled.segments))
    rows = f"{len(X):,} of the sample's {len(sampled.X):,} customers"
    names = list(found.features[:MOST_SHOWN])
    is_binary = len(sampled.segments) == 2
    codes = [1] if is_binary else list(range(len(sampled.segments)))
    shares = pd.DataFrame(
        np.abs(found.values[:, codes, : len(names)]).mean(axis=0).T,
        index=names, columns=[sampled.segments[code] for code in codes],
    )  # fmt: skip
    # Half of what a swarm of more than four panels would take is empty.
    largest = np.argsort(-np.abs(found.values).mean(axis=0).sum(axis=1), kind="stable")
    panels = codes if len(codes) <= 4 else sorted(int(code) for code in largest[:4])
    n_features = 8 if len(panels) <= 2 else 6
    which = f"; {len(panels)} of {len(codes)} segments" if len(panels) < len(codes) else ""
    against = f" ({sampled.segments[1]} against {sampled.segments[0]})" if is_binary else ""
    caption = (
        f"{IN_SAMPLE}: {rows}. {found.method}, in log-odds{against}; {found.n_prepared} prepared "
        f"features added up to {len(found.features)} of the table"
    )
    return [
        figure_of(
            "contributions",
            figures.contributions(shares, "mean size, log-odds", f"In-sample: {rows}"),
            "Mean size of contributions: " + ", ".join(
                f"{name} {value:.2f}" for name, value in shares.mean(axis=1).items()
            ) + ".",
            f"{caption} (Lundberg et al. 2020). The mean of the absolute values.",
        ),
        figure_of(
            "swarm",
            figures.swarm(
                {sampled.segments[code]: found.values[:, code, :n_features] for code in panels},
                value_ranks(X, found.features[:n_features]), found.features[:n_features],
                "log-odds", f"In-sample: {rows}{which}",
            ),
            f"One dot per customer and feature: how far {listed(names[:n_features])} move it "
            f"towards a segment.",
            f"The same contributions, in-sample, customer by customer{which}. To the right: speaks "
            f"for the segment.",
        ),
    ]  # fmt: skip


# ---- more customers ----------------------------------------------------------------------------


def learning_part(evidence: Evidence) -> list[Block]:
    """Return what more customers would bring."""
    split = evidence.manifest["split"]
    if split["group"]:
        raise ExplanationError(
            f"the run keeps customers of one {split['group']} together, which the sample does not "
            f"know"
        )
    sampled, pipeline = evidence.sampled, _unfitted(evidence)
    answers = _answers(evidence)
    metric = metric_by_name(evidence.manifest["metric"])
    table = learning_curve(pipeline, sampled, metric.name, answers, seed=int(split["split_seed"]))
    if table["customers"].nunique() < 2:
        raise ExplanationError(f"{metric.label} is not defined for these customers")
    note = f"Held out: {N_FOLDS} folds of {len(sampled.X):,} customers in the sample"
    sizes = [f"{share:.0%}" for share in SHARES] + ([] if answers is not None else ["all"])
    refits = f"refitted on {listed(sizes)} of the other customers"
    if answers is not None:
        refits += "; the last point is of the run's own folds, for the same customers"
    words = _learning_words(table, metric.label, metric.greater_is_better)
    tuned = evidence.source.search is not None
    chosen = (
        " The parameters are those that the search chose on all customers, so the scores flatter a "
        "little." if tuned else ""
    )  # fmt: skip
    return [
        Text(words, "lead"),
        figure_of(
            "learning-curve",
            figures.learning_curve(
                table, metric.name, metric.greater_is_better, note, _run_point(evidence)
            ),
            f"{metric.label} by customers learned from: " + ", ".join(
                f"{n:,} {value:.4f}"
                for n, value in table.groupby("customers")["value"].mean().items()
            ) + ".",
            f"{note}, {refits}.{chosen}",
        ),
    ]  # fmt: skip


def _answers(evidence: Evidence) -> Answers | None:
    """Return what the run's folds said of the sample, where they judged every customer in it."""
    # The folds of a search have parameters of their own.
    if evidence.source.predictions is None or evidence.source.search is not None:
        return None
    judged, sampled = evidence.judged, evidence.sampled
    places = pd.Index(judged.rows).get_indexer(pd.Index(sampled.rows))
    if sampled.y is None or (places < 0).any() or (judged.truth[places] != sampled.y).any():
        return None
    said = None if judged.probabilities is None else judged.probabilities[places]
    n_learned = round(evidence.manifest["dataset"]["n_rows"] * (1 - evidence.test_share))
    return Answers(n_learned, judged.predicted[places], said)


def _unfitted(evidence: Evidence) -> Pipeline:
    """Return the pipeline to refit: that of the saved model, or what the config says."""
    if evidence.source.model is not None:
        return evidence.source.model
    if evidence.source.search is not None:
        raise ExplanationError(f"the searched model was not saved ({runs.PIPELINE})")
    return build_pipeline(recorded_config(evidence.source.run))


def _run_point(evidence: Evidence) -> tuple[float, float] | None:
    entry = (evidence.source.summary or {}).get(evidence.manifest["metric"], {})
    if entry.get("mean") is None:
        return None
    return evidence.manifest["dataset"]["n_rows"] * (1 - evidence.test_share), entry["mean"]


def _learning_words(table: pd.DataFrame, label: str, greater_is_better: bool) -> str:
    by_size = table.groupby("customers")["value"]
    means, sizes = by_size.mean().to_numpy(), by_size.mean().index.to_numpy()
    gain = (means[-1] - means[-2]) * (1 if greater_is_better else -1)
    last = table[table["customers"] == sizes[-1]].set_index("fold")["value"]
    before = table[table["customers"] == sizes[-2]].set_index("fold")["value"]
    better = int(((last - before) * (1 if greater_is_better else -1) > 0).sum())
    step = (
        f"from {sizes[-2]:,} to {sizes[-1]:,} customers ({sizes[-1] / sizes[-2]:.1f} times as many)"
    )
    if gain > 0 and better == len(last):
        return (
            f"It still learns: {step}, {label} improves by {gain:.4f}, in every fold. More "
            f"customers of the same kind would probably help."
        )
    return (
        f"It hardly learns more: {step}, {label} {'improves' if gain > 0 else 'worsens'} by "
        f"{abs(gain):.4f}, and not in every fold. Other columns may help more than customers of "
        f"the same kind."
    )
