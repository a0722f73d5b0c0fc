"""The last pages of a report: everything that a statistician asks for, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.metrics import METRICS, METRICS_OF
from segexp.report.page import (
    Block,
    Cell,
    Code,
    Details,
    Items,
    Section,
    Table,
    Text,
    shown,
)
from segexp.report.source import NAMES, Source
from segexp.report.summary import known_metric, protocol_words

if TYPE_CHECKING:
    import pandas as pd

# Settings that say where something lies: a report that is sent does not tell.
_PLACES = ("run.outputs", "dataset.path", "dataset.url", "dataset.downloads", "engine.address")
_DERIVED = ("report.html", NAMES)


def technical_section(source: Source) -> Section:
    """Return metrics, protocol, seeds, data, versions, config and files of a run."""
    children = [*_metrics(source), _protocol(source), _data(source), _environment(source)]
    children.append(_again(source))
    return Section("technical", "Technical appendix", [], children)


# ---- metrics -----------------------------------------------------------------------------------


def _metrics(source: Source) -> Iterator[Section]:
    summary = source.summary
    if summary is None:
        return
    blocks: list[Block] = [_metrics_table(source, summary)]
    if source.scores is not None:
        several = source.manifest["split"]["n_repeats"] > 1
        table = _folds_table(source.scores, several)
        blocks.append(Details("Every metric on every fold", [table]))
    else:
        blocks.append(Text(f"Folds cannot be shown: {source.why(runs.SCORES)}.", "note"))
    if source.timings is not None:
        blocks.append(Details("Seconds of every fold", [_timings_table(source.timings)]))
    yield Section("metrics", "All metrics", blocks)


def _metrics_table(source: Source, summary: Mapping[str, Mapping[str, Any]]) -> Table:
    baselines = _baseline_means(source)
    in_sample = (source.segmentation or {}).get("in_sample") or {}
    known = [metric.name for metric in (*METRICS_OF[source.task], *METRICS)]
    order = [name for name in dict.fromkeys(known) if name in summary]
    order += [name for name in summary if name not in order and "[" not in name]
    # How many customers a segment has says nothing of how good the model is.
    order += [name for name in summary if "[" in name and not name.startswith("support[")]
    rows = [
        [
            Cell(name, strong=name == source.manifest["metric"]), _direction(name),
            _cell(summary[name]["mean"]), _cell(summary[name]["std"]),
            *(_cell(end) for end in summary[name]["interval"] or (None, None)),
            summary[name]["n"], *([_cell(in_sample.get(name))] if in_sample else []),
            *(_cell(means.get(name)) for means in baselines.values()),
        ]
        for name in order
    ]  # fmt: skip
    level = f"{source.manifest['confidence']:.0%}"
    return Table(
        columns=(
            "metric", "better", "mean", "sd over folds", f"{level} from", f"{level} to", "folds",
            *(["all, in-sample"] if in_sample else []), *baselines,
        ),
        rows=rows, numeric=range(2, 7 + bool(in_sample) + len(baselines)),
        caption="On held-out rows, with intervals from the out-of-fold predictions; baselines on "
        "the same folds",
    )  # fmt: skip


def _cell(value: Any) -> Cell:
    if not isinstance(value, int | float) or value != value:
        return Cell("–")
    digits = 0 if value == int(value) and value > 1 else 4 if abs(value) < 1000 else 1
    return Cell(f"{value + 0.0:,.{digits}f}", float(value))


def _direction(name: str) -> str:
    metric = known_metric(name.partition("[")[0])
    if metric is None or name.startswith(("n_segments", "n_rules", "n_itemsets")):
        return ""
    return "more" if metric.greater_is_better else "less"


def _baseline_means(source: Source) -> dict[str, dict[str, float]]:
    if source.baselines is None:
        return {}
    means = source.baselines.groupby(["baseline", "metric"], sort=False)["value"].mean()
    names = means.index.get_level_values("baseline").unique()
    return {str(name): means[name].to_dict() for name in names}


def _folds_table(scores: pd.DataFrame, several: bool) -> Table:
    scores = scores[~scores["metric"].str.startswith("support[")]
    wide = scores.pivot_table(
        index="metric", columns=["repeat", "fold"], values="value", sort=False, dropna=False
    )
    heads = [
        f"{repeat}, {fold}" if several else f"fold {fold}"
        for repeat, fold in zip(*map(wide.columns.get_level_values, (0, 1)), strict=True)
    ]
    return Table(
        columns=("metric", *heads),
        rows=[
            [str(name), *map(_cell, row)]
            for name, row in zip(wide.index, wide.to_numpy().tolist(), strict=True)
        ],
        numeric=range(1, len(heads) + 1),
        caption="repeat, fold" if several else "Held-out rows of each fold",
    )


def _timings_table(timings: pd.DataFrame) -> Table:
    columns = ("repeat", "fold", "fit_seconds", "predict_seconds")
    return Table(
        columns=("fold", "repeat", "fit seconds", "predict seconds"),
        rows=[
            [row["fold"], row["repeat"], row["fit_seconds"], row["predict_seconds"]]
            for row in timings[list(columns)].to_dict("records")
        ],
        numeric=range(4),
    )


# ---- facts -------------------------------------------------------------------------------------


def _protocol(source: Source) -> Section:
    manifest, split = source.manifest, source.manifest["split"]
    rows = [
        ["protocol", protocol_words(manifest)],
        ["ranked by", manifest["metric"]],
        ["seed of the splits", split["split_seed"]],
        ["seed of models and search", manifest["seed"]],
        ["hash of the splits", split["hash"]],
        ["hash of the config", manifest["config_hash"]],
        ["level of intervals", f"{manifest['confidence']:.0%}"],
    ]
    if missed := manifest.get("constraints_missed"):
        rows.append(["constraints missed", "; ".join(map(str, missed))])
    return Section("protocol", "Protocol and seeds", [_facts(rows)])


def _data(source: Source) -> Section:
    data = source.manifest["dataset"]
    rows = [
        ["data set", data["name"]],
        ["fingerprint", data["fingerprint"]],
        ["rows read, used", f"{data['n_rows_read']:,}, {data['n_rows']:,}"],
        *([role, ", ".join(columns)] for role, columns in data["roles"].items() if columns),
    ]
    for name, count in source.manifest["segments"].items():
        rows.append([f"known segment {name}", f"{count:,} customers"])
    for key, value in (data.get("log") or {}).items():
        if value is not None:
            words = key.removeprefix("n_").replace("_", " ")
            rows.append([f"log: {words}", shown(value)])
    blocks: list[Block] = [_facts(rows)]
    if findings := [str(finding["message"]) for finding in data["findings"]]:
        blocks.append(Details(f"Findings in the data: {len(findings)}", [Items(findings)]))
    return Section("data-facts", "Data", blocks)


def _environment(source: Source) -> Section:
    manifest = source.manifest
    git = manifest.get("git")
    rows = [
        ["run", source.name],
        ["name", manifest["name"] or "–"],
        ["tags", ", ".join(manifest["tags"]) or "–"],
        ["status", source.run.status],
        ["started", manifest["start"]],
        ["seconds", shown(manifest.get("seconds"))],
        ["peak memory", f"{shown(manifest.get('peak_memory_mb'))} MB"],
        ["platform", str(manifest.get("platform") or "–")],
    ]
    if git:
        rows.append(["git", f"{git['commit']}{' (with changes)' if git['dirty'] else ''}"])
    blocks: list[Block] = [_facts(rows)]
    versions = [[name, version] for name, version in manifest["versions"].items()]
    blocks.append(
        Details(f"Versions of {len(versions)} libraries", [Table(("library", "version"), versions)])
    )
    if said := manifest.get("warnings"):
        blocks.append(Details(f"Warnings of the run: {len(said)}", [Items(said)]))
    damaged = source.damaged
    others = {k: v for k, v in source.problems.items() if k not in damaged}
    for words, problems in (
        ("Files that are damaged, and so not shown:", damaged),
        ("Not read or not made, and so not shown:", others),
    ):
        if problems:
            reasons = [
                reason if reason.startswith(name) else f"{name}: {reason}"
                for name, reason in sorted(problems.items())
            ]
            blocks += [Text(words, "note"), Items(reasons)]
    return Section("environment", "Run and environment", blocks)


def _facts(rows: list[list[Any]]) -> Table:
    return Table(("what", "value"), [[str(a), str(b)] for a, b in rows], sortable=False)


# ---- again -------------------------------------------------------------------------------------


def _again(source: Source) -> Section:
    blocks: list[Block] = []
    if source.command is not None:
        blocks.append(Code(without_places(source.command), "shell", "The command of this run"))
    if source.config is None:
        blocks.append(Text(f"The config cannot be shown: {source.why(runs.CONFIG)}.", "note"))
    else:
        code = Code(_yaml(source.config), "yaml", "The full config, without places")
        blocks.append(Details("The full config", [code]))
    names = [[name, f"{size:,}"] for name, size in _files(source)]
    table = Table(("file", "bytes"), names, numeric=(1,), caption="Files of the run directory")
    blocks.append(Details(f"Files: {len(names)}", [table]))
    return Section("again", "To do it again", blocks)


def without_places(command: str) -> str:
    """Return a command without the words that say where something lies.

    Examples
    --------
    >>> without_places("segexp run dataset=mall run.outputs=/data/runs")
    'segexp run dataset=mall'
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    kept = []
    for word, before in zip(words, ["", *words], strict=False):
        if word == "--config-dir" or before == "--config-dir":
            continue
        key = word.lstrip("+~").partition("=")[0]
        if not key.startswith((*_PLACES, "--config-dir")):
            kept.append(word)
    return shlex.join(kept)


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(_placeless(config, ""), sort_keys=False, allow_unicode=True)


def _placeless(node: Any, path: str) -> Any:
    if not isinstance(node, Mapping):
        return node
    return {
        key: _placeless(value, f"{path}{key}.")
        for key, value in node.items()
        if f"{path}{key}" not in _PLACES
    }


def _files(source: Source) -> list[tuple[str, int]]:
    found = []
    for path in source.path.rglob("*"):
        name = path.relative_to(source.path).as_posix()
        # The report itself is none of them: made again it is to be the same.
        if path.is_file() and not path.is_symlink() and name not in _DERIVED:
            found.append((name, path.stat().st_size))
    return sorted(found)
