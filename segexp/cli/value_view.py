"""How a run of a value model looks on the terminal; everything is read from its directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, number, say, show_table, table
from segexp.cli.run_view import baseline_means
from segexp.metrics import VALUE_METRICS, metric_by_name

if TYPE_CHECKING:
    from segexp.runs import Run


def print_value(run: Run) -> None:
    """Print what a value model found: metrics, parameters, the holdout, value by risk."""
    from segexp.runs import VALUE

    _print_metrics(run)
    if not (run.path / VALUE).is_file():
        return
    found: dict[str, Any] = json.loads((run.path / VALUE).read_text("utf-8"))
    _print_holdout(found["holdout"])
    if "purchases" in found:
        _print_models(found)
        _print_matrix(run, found)
    for note in found["notes"]:
        say(f"note: {note}", style="yellow")


def _print_metrics(run: Run) -> None:
    summary, baselines = run.read_summary(), baseline_means(run)
    columns = ("metric", "mean", "sd", *baselines)
    made = table("on customers held out, in the holdout period", columns, right=columns[1:])
    for metric in VALUE_METRICS:
        entry = summary.get(metric.name)
        if entry is None:
            continue
        arrow = "more" if metric.greater_is_better else "less"
        means = (number(values.get(metric.name)) for values in baselines.values())
        add_row(
            made, f"{metric.name} ({arrow} is better)", number(entry["mean"]),
            number(entry["std"]), *means,
            style="bold" if metric.name == run.manifest["metric"] else "",
        )  # fmt: skip
    show_table(made)
    _print_if_beaten(run, summary, baselines)


def _print_if_beaten(
    run: Run, summary: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]]
) -> None:
    """Say so where a baseline is as good by the metric that ranks."""
    metric = metric_by_name(run.manifest["metric"])
    mean = summary.get(metric.name, {}).get("mean")
    sign = 1 if metric.greater_is_better else -1
    for name, means in baselines.items():
        other = means.get(metric.name)
        if mean is not None and other is not None and sign * mean <= sign * other:
            say(f"not better than the baseline {name} by {metric.name}", style="yellow")


def _print_holdout(holdout: Mapping[str, Any]) -> None:
    columns = ("", "purchases", "spend")
    made = table(
        f"what {holdout['n_customers']:,.0f} customers did in the {holdout['days']:,.0f} days of "
        f"the holdout, and what was expected of them",
        columns, right=columns[1:],
    )  # fmt: skip
    actual = (holdout["actual_purchases"], holdout["actual_spend"])
    add_row(made, "happened", *(f"{value:,.0f}" for value in actual))
    for name, total in {"expected": holdout, **holdout["baselines"]}.items():
        expected = (total["predicted_purchases"], total["predicted_spend"])
        add_row(made, name, *map(_with_gap, expected, actual))
    show_table(made)
    counts = ("repeats so far", "customers", "expected", "happened")
    made = table("purchases per customer, by repeat purchases so far", counts, right=counts)
    rows = holdout["by_frequency"]
    for row in rows:
        last = "+" if row is rows[-1] and row["repeats"] >= 7 else ""
        add_row(
            made, f"{row['repeats']}{last}", f"{row['n']:,}", number(row["predicted_purchases"], 3),
            number(row["actual_purchases"], 3),
        )  # fmt: skip
    show_table(made)


def _with_gap(expected: float | None, actual: float | None) -> str:
    if expected is None:
        return "-"
    gap = f" ({expected / actual - 1:+.0%})" if actual else ""
    return f"{expected:,.0f}{gap}"


def _print_models(found: Mapping[str, Any]) -> None:
    columns = (
        "model of",
        "",
        "parameters ± standard error",
        "customers",
        "log likelihood",
        "converged",
    )
    made = table("fitted to all customers", columns, right=("customers", "log likelihood"))
    for what in ("purchases", "spend"):
        model = found[what]
        errors = model["standard_errors"]
        parameters = ", ".join(
            f"{k} {v:.4g}" + (f" ± {errors[k]:.2g}" if errors[k] is not None else "")
            for k, v in model["parameters"].items()
        )
        add_row(
            made, what, model["model"], parameters, f"{model['n_customers']:,.0f}",
            number(model["log_likelihood"], 2), "yes" if model["converged"] else "NO",
            style="" if model["converged"] else "yellow",
        )  # fmt: skip
    show_table(made)
    correlation = found["spend"]["correlation_of_frequency_and_spend"]
    say(
        f"times in units of {found['purchases']['time_unit_days']:g} days; correlation of "
        f"frequency and spend {number(correlation, 2)} (the spend model supposes 0)"
    )
    say()


def _print_matrix(run: Run, found: Mapping[str, Any]) -> None:
    import pandas as pd

    from segexp.runs import VALUE_MATRIX

    if not (run.path / VALUE_MATRIX).is_file():
        return
    columns = ("segment", "customers", "share", "value", "share of value", "at stake")
    made = table(
        f"value of the next {found['horizon_days']:,.0f} days by risk (in-sample); at stake: what "
        f"they would be worth more if all still were customers",
        columns, right=columns[1:],
    )  # fmt: skip
    for row in pd.read_csv(run.path / VALUE_MATRIX).to_dict("records"):
        add_row(
            made, row["segment"], f"{row['n']:,}", f"{row['share']:.1%}", f"{row['clv']:,.0f}",
            f"{row['clv_share']:.1%}", f"{row['clv_at_stake']:,.0f}",
        )  # fmt: skip
    show_table(made)
