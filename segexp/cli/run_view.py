"""How one run looks on the terminal; everything is read from its directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, clean, number, say, show_table, table
from segexp.metrics import METRICS, metric_by_name

if TYPE_CHECKING:
    from segexp.runs import Run

SYNTHETIC = "synthetic customers: these figures say nothing about any market"


def protocol_text(split: Mapping[str, Any]) -> str:
    """Say an evaluation protocol in words."""
    group = f", grouped by {split['group']}" if split.get("group") else ""
    if split["protocol"] == "holdout":
        return f"holdout, {split['test_size']:.0%} of the customers judge{group}"
    repeats = f", {split['n_repeats']} times" if split["n_repeats"] > 1 else ""
    return f"{split['n_splits']}-fold cross-validation{repeats}, stratified{group}"


def interval_text(summary: Mapping[str, Any]) -> str:
    """Return an interval, or ``-``."""
    found = summary.get("interval")
    return f"{number(found[0])} .. {number(found[1])}" if found else "-"


def print_result(run: Run, metrics: Sequence[str] | None = None) -> None:
    """Print what a finished run found: metrics beside the baselines, segments, importance."""
    print_heading(run)
    print_metrics(run, metrics)
    print_segments(run)
    print_importance(run, most=5)
    print_notes(run, most=15)


def print_heading(run: Run) -> None:
    """Print what was run on what."""
    manifest = run.manifest
    data = manifest["dataset"]
    say(
        f"{data['name']}: {data['n_rows']:,} customers, {data['n_features']} features, "
        f"{len(manifest['segments'])} segments"
    )
    if data["synthetic"]:
        say(SYNTHETIC, style="yellow")
    seed = manifest["split"]["split_seed"]
    say(
        f"{manifest['model']} after {manifest['preprocessing']} preprocessing; "
        f"{protocol_text(manifest['split'])}, split seed {seed}"
    )
    say()


def print_metrics(run: Run, metrics: Sequence[str] | None = None) -> None:
    """Print the metrics on held-out rows beside those of the baselines on the same rows."""
    summary = run.read_summary()
    baselines = _baseline_means(run)
    level = f"{run.manifest['confidence']:.0%} interval"
    columns = ("metric", "mean", "sd", level, *baselines)
    made = table("on held-out rows", columns, right=columns[1:])
    for metric in map(metric_by_name, dict.fromkeys(metrics or [m.name for m in METRICS])):
        entry = summary.get(metric.name)
        if entry is None:
            continue
        means = (number(values.get(metric.name)) for values in baselines.values())
        primary = metric.name == run.manifest["metric"]
        name = metric.name if metric.greater_is_better else f"{metric.name} (less is better)"
        add_row(
            made, name, number(entry["mean"]), number(entry["std"]), interval_text(entry), *means,
            style="bold" if primary else "",
        )  # fmt: skip
    show_table(made)
    _print_if_beaten(run, summary, baselines)


def _print_if_beaten(
    run: Run, summary: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]]
) -> None:
    """Say so where a baseline is as good by the metric that ranks."""
    name = run.manifest["metric"]
    mean = summary.get(name, {}).get("mean")
    sign = 1 if metric_by_name(name).greater_is_better else -1
    for baseline, means in baselines.items():
        other = means.get(name)
        if mean is not None and other is not None and sign * mean <= sign * other:
            model = run.manifest["model"]
            say(f"{model} is not better than the baseline {baseline} by {name}", style="yellow")


def _baseline_means(run: Run) -> dict[str, dict[str, float]]:
    from segexp.runs import BASELINES

    if not (run.path / BASELINES).is_file():
        return {}
    scores = run.read_baselines()
    means = scores.groupby(["baseline", "metric"], sort=False)["value"].mean()
    names = {"dummy": "majority"}
    return {
        names.get(str(name), str(name)): means[name].to_dict()
        for name in means.index.get_level_values("baseline").unique()
    }


def print_segments(run: Run) -> None:
    """Print precision, recall and F1 of each segment."""
    summary = run.read_summary()
    columns = ("segment", "judged", "precision", "recall", "f1")
    made = table("", columns, right=columns[1:])
    for name in run.manifest["segments"]:
        support = summary.get(f"support[{name}]", {"mean": 0, "n": 0})
        judged = round((support["mean"] or 0) * support["n"] / run.manifest["split"]["n_repeats"])
        values = (
            summary.get(f"{metric}[{name}]", {}).get("mean")
            for metric in ("precision", "recall", "f1")
        )
        add_row(made, name, f"{judged:,}", *(number(value, 3) for value in values))
    show_table(made)


def print_importance(run: Run, most: int) -> None:
    """Print the columns whose shuffling costs most."""
    from segexp.runs import IMPORTANCE

    if not (run.path / IMPORTANCE).is_file():
        return
    importance = run.read_importance()
    columns = importance[importance["kind"] == "permutation"].head(most)
    metric = run.manifest["metric"]
    made = table(
        f"columns that matter most: loss of {metric} when shuffled on held-out rows",
        ("column", "loss", "sd over folds"), right=("loss", "sd over folds"),
    )  # fmt: skip
    for row in columns.itertuples():
        add_row(made, row.feature, number(row.mean), number(row.std))
    show_table(made)


def print_notes(run: Run, most: int | None = None) -> None:
    """Print what was found in the data and done about it."""
    for warning in run.manifest.get("warnings", []):
        say(f"warning: {warning}", style="yellow")
    findings = run.manifest["dataset"]["findings"]
    if findings:
        say("notes on the data", style="bold")
        # The last ones are about the split, and never many.
        shown = findings if most is None or len(findings) <= most else findings[: most - 2]
        for finding in shown:
            say(f"  - {finding['message']}")
        if len(shown) < len(findings):
            say(f"  - and {len(findings) - len(shown) - 2} more, which `segexp show` lists")
            for finding in findings[-2:]:
                say(f"  - {finding['message']}")
        say()


def print_next_commands(run: Run, words: Sequence[str]) -> None:
    """Print where the run landed and what to type next."""
    # What is said of this model does not hold for another one.
    said = [word for word in words if not word.lstrip("+~").startswith(("model=", "model."))]
    other = "random_forest" if run.manifest["model"] != "random_forest" else "lightgbm"
    say(f"run directory: {run.path}")
    say("next:", style="bold")
    for command, why in (
        (["segexp", "show", str(run.path)], "this run in full"),
        (["segexp", "run", *said, f"model={other}"], "another model on the same folds"),
        (["segexp", "sweep", *said, "model=glob(*)"], "every model"),
        (["segexp", "ls", str(run.path.parent)], "all runs on this data set"),
    ):
        say(f"  {clean(shlex.join(command))}    # {why}")
