"""How one run looks on the terminal; everything is read from its directory."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segexp.cli.console import add_row, clean, number, say, show_table, table
from segexp.cli.segments_view import is_clustering, print_found_segments
from segexp.metrics import METRICS, METRICS_OF, metric_by_name, undominated
from segexp.runs import SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

    from segexp.runs import Run

MANY_WORDS = 150  # letters of words that the directory of a run stands for
K_MAX = 10  # where a table of k is asked for that the run did not have


def protocol_text(split: Mapping[str, Any], stratified: bool = True) -> str:
    """Say an evaluation protocol in words."""
    group = f", grouped by {split['group']}" if split.get("group") else ""
    if split["protocol"] == "holdout":
        return f"holdout, {split['test_size']:.0%} of the customers judge{group}"
    repeats = f", {split['n_repeats']} times" if split["n_repeats"] > 1 else ""
    kind = ", stratified" if stratified else ""
    return f"{split['n_splits']}-fold cross-validation{repeats}{kind}{group}"


def interval_text(summary: Mapping[str, Any]) -> str:
    """Return an interval, or ``-``."""
    found = summary.get("interval")
    return f"{number(found[0])} .. {number(found[1])}" if found else "-"


def print_result(run: Run, metrics: Sequence[str] | None = None) -> None:
    """Print what a finished run found: metrics beside the baselines, segments, importance."""
    print_heading(run)
    print_body(run, metrics)
    print_notes(run, most=15)


def print_body(run: Run, metrics: Sequence[str] | None = None, full: bool = False) -> None:
    """Print what a run found, by its task.

    Parameters
    ----------
    metrics : sequence of str, optional
        Those to show; by default all.
    full : bool
        Everything that there is.
    """
    from segexp.cli.baskets_view import print_baskets
    from segexp.cli.value_view import print_value

    task = run.manifest["task"]
    if task == "value":
        print_value(run)
        return
    print_metrics(run, metrics)
    if task == "baskets":
        print_baskets(run)
        return
    print_found_segments(run, full=full)
    print_search(run, full=full)
    print_segments(run)
    print_importance(run, most=20 if full else 5)


def print_heading(run: Run) -> None:
    """Print what was run on what."""
    manifest = run.manifest
    data = manifest["dataset"]
    known = f", {len(manifest['segments'])} known segments" if manifest["segments"] else ""
    log = data.get("log") or {}
    end = log.get("calibration_end")
    who = f"customers who bought up to {end}" if end else "customers"
    what = f"{who}, {data['n_features']} features{known}"
    if manifest["task"] == "baskets":
        what = "baskets"
    say(f"{data['name']}: {data['n_rows']:,} {what}")
    _print_log(log)
    if data["synthetic"]:
        say(SYNTHETIC, style="yellow")
    seed = manifest["split"]["split_seed"]
    say(
        f"{manifest['model']}{' models' if manifest['model'] == 'several' else ''} after "
        f"{manifest['preprocessing']} preprocessing; "
        f"{protocol_text(manifest['split'], bool(manifest['segments']))}, split seed {seed}"
    )
    say()


def _print_log(log: Mapping[str, Any]) -> None:
    """Print what a transaction log came to."""
    if not log:
        return
    used = f"{log['n_lines']:,} of {log['n_lines_read']:,} lines"
    orders = f", {log['n_orders']:,} orders" if log.get("n_orders") else ""
    revenue = f", {log['revenue']:,.2f} in all" if log.get("revenue") is not None else ""
    dates = f", {log['first']} to {log['last']}" if log.get("first") else ""
    if log.get("calibration_end"):
        everybody = f"{log['n_customers']:,} customers" if log.get("n_customers") else "customers"
        say(f"of all {everybody}, also those who came later: {used}{orders}{revenue}{dates}")
        end = log.get("holdout_end") or log["last"]
        say(f"histories up to {log['calibration_end']}, judged by what came up to {end}")
        return
    say(f"{used}{orders}{revenue}{dates}")
    if log.get("reference_date"):
        say(f"recency counts up to {log['reference_date']}")


def print_metrics(run: Run, metrics: Sequence[str] | None = None) -> None:
    """Print the metrics on held-out rows beside those of the baselines on the same rows."""
    summary = run.read_summary()
    baselines = baseline_means(run)
    level = f"{run.manifest['confidence']:.0%} interval"
    in_sample = _in_sample(run)
    of_all = ("all, in-sample",) if in_sample else ()
    columns = ("metric", "mean", "sd", level, *of_all, *baselines)
    made = table("on held-out rows", columns, right=columns[1:])
    known = METRICS_OF[run.manifest["task"]]
    if is_clustering(run):
        known = (*known, *METRICS)
    for metric in map(metric_by_name, dict.fromkeys(metrics or [m.name for m in known])):
        entry = summary.get(metric.name)
        if entry is None:
            continue
        means_of_all = [number(in_sample.get(metric.name))] if in_sample else []
        means = (number(values.get(metric.name)) for values in baselines.values())
        primary = metric.name == run.manifest["metric"]
        add_row(
            made, _directed(metric.name), number(entry["mean"]), number(entry["std"]),
            interval_text(entry), *means_of_all, *means,
            style="bold" if primary else "",
        )  # fmt: skip
    show_table(made)
    _print_if_beaten(run, summary, baselines)


def _in_sample(run: Run) -> dict[str, float]:
    """Return the metrics of a clusterer on the customers that it was fitted on."""
    from segexp.runs import SEGMENTATION

    if not (run.path / SEGMENTATION).is_file():
        return {}
    return dict(run.read_segmentation()["in_sample"])


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
            what = f"the baseline {baseline}" if model != baseline else "the model as configured"
            say(f"{model} is not better than {what} by {name}", style="yellow")


def baseline_means(run: Run) -> dict[str, dict[str, float]]:
    """Return the mean of each metric by baseline."""
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


def selection_value(run: Run) -> float | None:
    """Return the mean over outer folds of what their searches selected by; None without one."""
    from segexp.runs import SEARCH

    if not (run.path / SEARCH).is_file():
        return None
    search = run.read_search()
    metric = run.manifest["metric"]
    values = [c["values"].get(metric) for c in search["choices"] if c["rows"] != "final"]
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def print_search(run: Run, full: bool = False) -> None:
    """Print what a search chose, its selection score beside the honest one, and its checks.

    Parameters
    ----------
    full : bool
        With the choice of every outer fold.
    """
    from segexp.runs import SEARCH

    if not (run.path / SEARCH).is_file():
        return
    search = run.read_search()
    metric = search["metrics"][0]
    counts = ("trials", "done", "pruned", "failed", f"selection {metric}")
    columns = ("search on", *counts, "model", "chosen")
    made = table("search: each fold has its own, on its training rows", columns,
                 right=counts)  # fmt: skip
    choices = search["choices"]
    for choice in choices:
        states = choice["states"]
        failed = states.get("FAIL", 0) + states.get("INVALID", 0)
        chosen = _parameters(choice["params"])
        if choice.get("n_iterations") is not None:
            chosen += f" (best at {choice['n_iterations']} rounds)"
        if full or choice["rows"] == "final" or len(choices) <= 2:
            add_row(
                made, _rows_text(choice["rows"]),
                sum(states.values()), states.get("COMPLETE", 0), states.get("PRUNED", 0), failed,
                number(choice["values"].get(metric)), choice["model"], chosen,
            )  # fmt: skip
    show_table(made)
    _print_front(run, search, most=None if full else 10)
    honest = run.read_summary().get(metric, {}).get("mean")
    own = [c["values"].get(metric) for c in choices if c["rows"] != "final"]
    if own and None not in own:
        say(
            f"selection score, mean of {len(own)} searches: {number(sum(own) / len(own))}; "
            f"what the parameters were chosen by, on inner folds, and no estimate; "
            f"on held-out rows the choices reach {number(honest)}"
        )
    stopped = [choice for choice in choices if choice["stopped_by"] not in ("n_trials", "None")]
    for choice in stopped:
        made = sum(choice["n_trials"].values())
        say(f"{choice['rows']}: ended by {choice['stopped_by']} after {made} trials")
    for check in run.manifest.get("checks", []):
        advice = f"; {check['advice']}" if check["advice"] else ""
        say(f"{check['code']}: {check['message']}{advice}", style="yellow")
    say()


def _print_front(run: Run, search: Mapping[str, Any], most: int | None) -> None:
    """Print what several objectives cost each other: the trials that no other beats in all."""
    objectives = search["metrics"][: search["n_objectives"]]
    if len(objectives) < 2:
        return
    rows = search["choices"][-1]["rows"]  # of the saved model, if there is one
    trials = run.read_trials()
    known = (trials["state"] == "COMPLETE") & trials["feasible"] & trials["duplicate_of"].isna()
    done = trials[known & (trials["study"] == rows)]
    better = [metric_by_name(name).greater_is_better for name in objectives]
    values = [f"value[{name}]" for name in objectives]
    signed = done[values].to_numpy(dtype=float) * [1.0 if more else -1.0 for more in better]
    front = done[undominated(signed)].sort_values(
        [*values, "number"], ascending=[*(not more for more in better), True]
    )
    shown = front[:most]  # the chosen one is among the first: the first objective decides
    columns = ("", "trial", *map(_directed, objectives), "model", "parameters")
    made = table(
        f"Pareto front on {_rows_text(rows)}: no trial beats these in all objectives (*: chosen)",
        columns, right=columns[1:-2],
    )  # fmt: skip
    for trial in shown.to_dict("records"):
        add_row(
            made, "*" if trial["chosen"] else "", trial["number"],
            *(number(trial[value]) for value in values), trial["model"],
            _parameters(json.loads(trial["params"])),
        )  # fmt: skip
    show_table(made)
    if len(shown) < len(front):
        say(f"and {len(front) - len(shown)} more, which `segexp show` lists")


def _rows_text(rows: str) -> str:
    return "all rows, for the model" if rows == "final" else rows


def _directed(metric: str) -> str:
    return metric if metric_by_name(metric).greater_is_better else f"{metric} (less is better)"


def _parameters(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in params.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_segments(run: Run) -> None:
    """Print precision, recall and F1 of each known segment."""
    if not run.manifest["segments"]:
        return
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
    if is_clustering(run):
        _print_distance_shares(importance, most)
        return
    columns = importance[importance["kind"] == "permutation"].head(most)
    metric = run.manifest["metric"]
    made = table(
        f"columns that matter most: loss of {metric} when shuffled on held-out rows",
        ("column", "loss", "sd over folds"), right=("loss", "sd over folds"),
    )  # fmt: skip
    for row in columns.itertuples():
        add_row(made, row.feature, number(row.mean), number(row.std))
    show_table(made)


def _print_distance_shares(importance: pd.DataFrame, most: int) -> None:
    made = table(
        "what decides who is alike: share of the distance between customers",
        ("feature", "share", "sd over folds"), right=("share", "sd over folds"),
    )  # fmt: skip
    for row in importance.head(most).itertuples():
        add_row(made, row.feature, f"{row.mean:.1%}", number(row.std))
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


def _scoring(run: Run) -> list[tuple[list[str], str]]:
    from segexp.runs import PIPELINE

    if not (run.path / PIPELINE).is_file():
        return []
    words = ["segexp", "predict", str(run.path), "NEW.csv", "-o", "segments.csv"]
    return [(words, "segments for the customers of another table")]


def _other_models(task: str, model: str, words: Sequence[str]) -> list[tuple[list[str], str]]:
    """Return commands that try something else on the same folds."""
    if task == "baskets":
        softer = ["segexp", "sweep", *words, "model=association_rules"]
        return [
            ([*softer, "model.estimator.min_support=0.001,0.002,0.005,0.01"], "other thresholds")
        ]
    first, second, every = {
        "classification": ("random_forest", "lightgbm", "glob(*)"),
        "clustering": (
            "gaussian_mixture", "kmeans", "kmeans,agglomerative,gaussian_mixture,dbscan,hdbscan"
        ),
        "value": ("pareto_nbd", "bg_nbd", "glob(*)"),
    }[task]  # fmt: skip
    other = first if model != first else second
    return [
        (["segexp", "run", *words, f"model={other}"], "another model on the same folds"),
        (["segexp", "sweep", *words, f"model={every}"], "several models in one table"),
    ]


def print_next_commands(run: Run, words: Sequence[str]) -> None:
    """Print where the run landed and what to type next."""
    from segexp.cli.run import is_taken
    from segexp.config.options import read_yaml
    from segexp.config.schema import SearchConfig
    from segexp.runs import CONFIG

    # What is said of this model does not hold for another one.
    said = [word for word in words if not word.lstrip("+~").startswith(("model=", "model."))]
    if len(shlex.join(words)) > MANY_WORDS:
        own = words.index("--config-dir") if "--config-dir" in words else len(words)
        again = [word for word in words[:own] if not is_taken(word)]
        words = said = ["--like", str(run.path), *again, *words[own:]]
    model = run.manifest["model"]
    others = _other_models(run.manifest["task"], model, said)
    say(f"run directory: {run.path}")
    say("next:", style="bold")
    config = read_yaml(run.path / CONFIG)
    search, space = config["search"], config["model"]["space"]
    deeper = []
    if search["candidates"]:
        others = []
    if is_clustering(run) and search["name"] == "none" and "n_clusters" in space:
        why = "choose the number of segments on each fold's training rows"
        if config["evaluation"]["k_max"] is None:
            words = [word for word in words if not word.startswith("evaluation.k_max=")]
            words.append(f"evaluation.k_max={K_MAX}")
        deeper = [(["segexp", "run", *words, "search=k"], why)]
    elif search["sampler"] == "none" and space:
        deeper = [(["segexp", "run", *words, "search=tpe"], "tune it, nested")]
    elif search["timeout"] is not None:
        longer = f"search.timeout={2 * (SearchConfig(**search).timeout_s or 0):g}s"
        deeper = [(["segexp", "resume", str(run.path), longer], "twice the time")]
    elif search["n_trials"] is not None and search["sampler"] != "grid":
        more = f"search.n_trials={2 * search['n_trials']}"
        deeper = [(["segexp", "resume", str(run.path), more], "twice the trials")]
    for command, why in (
        (["segexp", "show", str(run.path)], "this run in full"),
        *deeper,
        *others,
        *_scoring(run),
        (["segexp", "ls", str(run.path.parent)], "all runs on this data set"),
    ):
        say(f"  {clean(shlex.join(command))}    # {why}")
