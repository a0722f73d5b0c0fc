"""What is suspicious about the customers, and what their table makes of segments and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segexp.checks.readings import (
    Check,
    Readings,
    RunCheck,
    dataset_facts,
    has_fixed_rules,
    listed,
    n_customers,
    number,
    quoted,
    word,
)
from segexp.data.findings import counted

if TYPE_CHECKING:
    import pandas as pd


def synthetic_data(run: Readings) -> RunCheck | None:
    """The customers were made by a generator."""
    if dataset_facts(run).get("synthetic") is not True:
        return None
    return RunCheck(
        "synthetic_data",
        f"the customers of {word(dataset_facts(run).get('name'))} are synthetic",
        "they hold the structure that somebody put into them: figures on them show that the "
        "software works, and say nothing about any market",
        "do not decide anything about real customers by this run",
    )


def other_file(run: Readings) -> RunCheck | None:
    """A file differs from the published one by its checksum."""
    found = _findings(run, "checksum")
    if not found:
        return None
    return RunCheck(
        "other_file",
        "; ".join(word(finding.get("message")) for finding in found),
        "figures of this run do not compare with figures that others made on the published file",
        "fetch the published file again, or give your table a dataset config of its own",
    )


def row_order(run: Readings) -> RunCheck | None:
    """Rows come from a database in no fixed order."""
    found = _findings(run, "row_order")
    if not found:
        return None
    return RunCheck(
        "row_order",
        "the rows of the database come in no fixed order",
        "folds are dealt by the order of the rows, so that the same query may give other folds",
        "name dataset.id for a table, or say ORDER BY in dataset.query",
    )


def constant_columns(run: Readings) -> RunCheck | None:
    """Columns hold one value."""
    found = _findings(run, "constant")
    if not found:
        return None
    return RunCheck(
        "constant_columns",
        "; ".join(word(finding.get("message")) for finding in found),
        "such a column tells no customers apart; often a filter or a join went wrong before",
        "find out why, or leave the column out: dataset.ignore",
    )


# From one row in a hundred on, copies move a share by as much as a reader takes for a difference.
DUPLICATE_SHARE = 0.01


def duplicate_rows(run: Readings) -> RunCheck | None:
    """Rows that are equal in every column were kept."""
    kept = [f for f in _findings(run, "duplicate_rows") if word(f.get("message")).endswith("kept")]
    n, n_rows = _count(kept), n_customers(run)
    if not n or not n >= DUPLICATE_SHARE * n_rows:
        return None
    return RunCheck(
        "duplicate_rows",
        f"{counted(n, 'row')} of {n_rows:,} {'equals' if n == 1 else 'equal'} an earlier one in "
        f"every column, and {'was' if n == 1 else 'were'} kept",
        "a copy in the training rows gives the answer of its twin among the held-out rows, and "
        "clusterers take copies for a dense place",
        "say dataset.duplicate_rows=drop if they are copies and not customers",
    )


def same_customer(run: Readings) -> RunCheck | None:
    """Rows are judged by a model that was trained on another row of the same customer."""
    n = _count(_findings(run, "same_customer"))
    if not n:
        return None
    return RunCheck(
        "same_customer",
        f"{counted(n, 'row')} of {n_customers(run):,} {'is' if n == 1 else 'are'} judged while "
        f"another row of the same customer is among the training rows",
        "the model may know the customer and not the rule, so that the held-out figures flatter it",
        "keep the rows of a customer together: evaluation.group=ID, or dataset.duplicate_ids=first",
    )


# Of few features some customers are alike by chance, and are no leak; from a twentieth of all on
# they move an accuracy by more than its usual standard error.
TWIN_SHARE = 0.05


def twins(run: Readings) -> RunCheck | None:
    """Many customers equal a training customer in every feature."""
    n, n_rows = _count(_findings(run, "twins")), n_customers(run)
    if not n or not n >= TWIN_SHARE * n_rows:
        return None
    return RunCheck(
        "twins",
        f"{counted(n, 'customer')} of {n_rows:,} ({n / n_rows:.0%}) equal a training customer in "
        f"every feature",
        "on them a model that remembers does as well as one that understands; copies in the table "
        "are a leak, while few features that many share are not",
        "look whether they are copies; then dataset.duplicate_rows=drop, or evaluation.group",
    )


# Fewer customers with several records may differ by a slip of the pen here and there.
REPEATED_CUSTOMERS = 10
# Of a tenth with two labels, no model can be right about a twentieth of the records.
CONTRADICTION_SHARE = 0.10


def contradictory_labels(run: Readings) -> RunCheck | None:
    """Customers who occur more than once have different known segments."""
    records = _repeated_records(run)
    if records is None:
        return None
    differs = records.groupby("id", sort=False)["true"].nunique() > 1
    n, n_differ = len(differs), int(differs.sum())
    if n < REPEATED_CUSTOMERS or n_differ < CONTRADICTION_SHARE * n:
        return None
    files = dataset_facts(run).get("files")
    stacked = isinstance(files, list) and len(files) > 1
    return RunCheck(
        "contradictory_labels",
        f"{n_differ:,} of the {n:,} customers with several records ({n_differ / n:.0%}) have "
        f"different known segments in them"
        + (f"; {len(files or [])} files were stacked" if stacked else ""),
        "one of the labels is wrong, or they mean different things: the figures measure the "
        "disagreement of the labels as much as the model",
        "trust one source of labels, and drop the other file"
        if stacked
        else "keep one record of each customer: dataset.duplicate_ids=first or last",
    )


# Of fewer customers shares differ by ten points now and then without a reason.
DRIFT_CUSTOMERS = 100
# Half the sum of the differences of shares: so many customers would have to change their label.
DRIFT = 0.10


def label_drift(run: Readings) -> RunCheck | None:
    """Customers who occur more than once have other labels in their last record than before."""
    records = _repeated_records(run)
    if records is None:
        return None
    ends = records.groupby("id", sort=False)["true"].agg(["first", "last"])
    if len(ends) < DRIFT_CUSTOMERS:
        return None
    before = ends["first"].value_counts(normalize=True)
    after = ends["last"].value_counts(normalize=True)
    change = after.sub(before, fill_value=0).sort_index()
    drift = float(change.abs().sum()) / 2
    if drift < DRIFT:
        return None
    name = str(change.abs().idxmax())
    return RunCheck(
        "label_drift",
        f"of {len(ends):,} customers with several records {before.get(name, 0):.0%} are {name!r} "
        f"in the first and {after.get(name, 0):.0%} in the last one; {drift:.0%} of the labels "
        f"moved in all",
        "the records were labelled by different rules, or at different times; a random split mixes "
        "them, and hides what a model would meet in the next file",
        "judge by source: train on one file and predict the other, and do not stack them",
    )


# Of two segments: to name the larger one of everybody is right seven times in ten.
MAJORITY_GAIN = 0.4  # of what guessing among equal segments leaves to be gained
# Of two segments: one with less than a twentieth. Never to name it costs less than folds differ by.
MINORITY_PART = 0.1  # of the size that all segments would have if they were equal


def imbalanced_accuracy(run: Readings) -> RunCheck | None:
    """Models are ranked by accuracy although the segments are of very different sizes."""
    sizes = run.manifest.get("segments")
    if run.manifest.get("metric") != "accuracy" or not isinstance(sizes, Mapping):
        return None
    counts = {str(name): number(n) for name, n in sizes.items() if number(n) > 0}
    total = sum(counts.values())
    if len(counts) < 2:
        return None
    large, small = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    most, least, even = counts[large] / total, counts[small] / total, 1 / len(counts)
    # Of 70 and 30 customers the gain is the limit, but for the rounding of floats.
    is_large = most - even >= MAJORITY_GAIN * (1 - even) - 1e-9
    is_small = least < MINORITY_PART * even
    if not is_large and not is_small:
        return None
    seen = [f"{quoted(large)} holds {most:.0%} of the customers"] * is_large
    seen += [
        f"{quoted(small)} has {least:.2%}, where equal segments would have {even:.1%}"
    ] * is_small
    why = [f"to name {quoted(large)} always is right for {most:.0%}"] * is_large
    why += [f"{quoted(small)} may be missed altogether without a trace in it"] * is_small
    return RunCheck(
        "imbalanced_accuracy",
        f"accuracy ranks, while {' and '.join(seen)}",
        " and ".join(why),
        "rank by evaluation.metric=balanced_accuracy, f1_macro or mcc",
    )


# A large effect (Cohen 1988): whoever knows what is missing knows the segment in most cases.
MISSINGNESS = 0.5
# Of fewer gaps, or fewer cells that are known, a large effect is chance.
LEAST_GAPS = 10


def missingness_decides(run: Readings) -> RunCheck | None:
    """Segments differ by who has a value in a column."""
    table = _placed(run)
    if table is None or has_fixed_rules(run):
        return None
    absent = table.drop(columns=[*_KNOWN, _PLACE], errors="ignore").isna()
    absent = absent.loc[:, [LEAST_GAPS <= n <= len(absent) - LEAST_GAPS for n in absent.sum()]]
    strength = {str(name): _cramers_v(absent[name], table[_PLACE]) for name in absent}
    strong = sorted(
        (n for n, v in strength.items() if v >= MISSINGNESS), key=lambda n: -strength[n]
    )
    strong = [name for name in strong if name not in (run.unused or ())] if strong else []
    if not strong:
        return None
    rates = absent[strong[0]].groupby(table[_PLACE]).mean()
    others = f"; so with {listed([quoted(name) for name in strong[1:]])}" if strong[1:] else ""
    in_use = run.manifest.get("preprocessing")
    without = [name for name in ("minimal", "mixed") if name != in_use]
    return RunCheck(
        "missingness_decides",
        f"{quoted(strong[0])} is missing for {rates.max():.0%} of segment {quoted(rates.idxmax())} "
        f"and {rates.min():.0%} of {quoted(rates.idxmin())} (Cramér's V "
        f"{strength[strong[0]]:.2f}){others}",
        "the segments say who has a value as much as what customers are like; other gaps would "
        "make other segments",
        f"take preprocessing={' or '.join(without)}, which add{'s' * (len(without) == 1)} no marks "
        "of missing values, or leave such columns out: dataset.ignore",
    )


# ---- reading ------------------------------------------------------------------------------------


def _repeated_records(run: Readings) -> pd.DataFrame | None:
    """Return id and known segment of the customers who occur more than once, in table order."""
    table = run.predictions
    if table is None or not {"row", "id", "true", "repeat"} <= set(table.columns):
        return None
    first = table[table["repeat"] == table["repeat"].min()].sort_values("row")
    repeated = first[first["id"].duplicated(keep=False)]
    return repeated[["id", "true"]] if len(repeated) else None


_PLACE = "(segment)"  # beside the columns of the sample
_KNOWN = ("row", "id", "target")


def _placed(run: Readings) -> pd.DataFrame | None:
    """Return the sampled customers and the segment where a clusterer put each."""
    sample, customers = run.sample, run.customers
    if run.manifest.get("task") != "clustering" or sample is None or customers is None:
        return None
    if "row" not in sample or not {"row", "segment"} <= set(customers.columns):
        return None
    place = customers.drop_duplicates("row").set_index("row")["segment"]
    table = sample.assign(**{_PLACE: sample["row"].map(place)})
    return table[table[_PLACE].notna()]


def _cramers_v(a: pd.Series[Any], b: pd.Series[Any]) -> float:
    """Return how far two columns of levels hang together, the first of two levels: 0 to 1."""
    import pandas as pd

    counts = pd.crosstab(a, b).to_numpy(dtype=float)
    if min(counts.shape) < 2:
        return 0.0
    n = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / n
    return math.sqrt(float(((counts - expected) ** 2 / expected).sum()) / n)


def _findings(run: Readings, code: str) -> list[Mapping[str, Any]]:
    found = dataset_facts(run).get("findings")
    return [
        finding
        for finding in (found if isinstance(found, list) else [])
        if isinstance(finding, Mapping) and finding.get("code") == code
    ]


def _count(findings: Sequence[Mapping[str, Any]]) -> int:
    counts = [number(finding.get("count")) for finding in findings]
    return int(sum(count for count in counts if math.isfinite(count)))


CHECKS: tuple[Check, ...] = (
    synthetic_data,
    other_file,
    row_order,
    constant_columns,
    duplicate_rows,
    same_customer,
    twins,
    contradictory_labels,
    label_drift,
    imbalanced_accuracy,
    missingness_decides,
)
