"""What an experiment would do: built and checked, nothing loaded, nothing fitted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.components import build_pipeline, join, parse_spaces
from segexp.config.compose import (
    config_from_dict,
    config_hash,
    load_config,
    load_shipped_option,
    parse_words,
    read_config,
)
from segexp.config.options import find_conf_dirs
from segexp.config.schema import (
    ANSWERS,
    UNPREPARED,
    ExperimentConfig,
    ModelConfig,
    PreprocessingConfig,
    SearchConfig,
)
from segexp.config.space import Parameter
from segexp.data.readers import read_header
from segexp.data.roles import check_columns
from segexp.data.sql import recorded_address
from segexp.data.transactions import check_log
from segexp.engine.processes import count_jobs
from segexp.errors import ConfigError, RunError, SegexpError, did_you_mean
from segexp.evaluation import check_metrics, check_task
from segexp.rfm import RFMScorer, RFMSegments
from segexp.runs import FINAL
from segexp.search.families import BUDGET, Family
from segexp.search.samplers import check_sampler, objective_metrics
from segexp.search.space import join_spaces, pipeline_path


@dataclass(frozen=True)
class Plan:
    """An experiment that is checked and can be run."""

    config: ExperimentConfig
    pipeline: Pipeline
    baselines: Mapping[str, Pipeline]
    spaces: Mapping[str, tuple[Parameter, ...]]  # of the model and of the preprocessing
    families: Mapping[str, Family]  # what is searched, by model; empty without a search
    metrics: tuple[str, ...]  # that judge a trial: objectives, then what else is constrained

    @property
    def n_objectives(self) -> int:
        """How many of ``metrics`` are objectives."""
        return len(self.config.search.objectives) or 1

    @property
    def clusters(self) -> bool:
        """Whether the model is a clusterer."""
        return self.config.model.task == "clustering"

    @property
    def k_parameter(self) -> str | None:
        """The clusterer's parameter that is the number of segments; None if it has none."""
        known = self.pipeline.named_steps["model"].get_params()
        found = (name for name in ("n_clusters", "n_components") if name in known)
        return next(found, None) if self.clusters else None

    @property
    def search(self) -> SearchConfig:
        """The search, which also heeds what any segmentation must keep to."""
        return _search_of(self.config)

    @property
    def n_splits(self) -> int:
        """Outer splits: each has a fit of the model, and a study of its own."""
        evaluation = self.config.evaluation
        folds = 1 if evaluation.protocol == "holdout" else evaluation.n_splits
        return folds * evaluation.n_repeats

    @property
    def n_fits(self) -> int:
        """Fits of the model: one per split, and one on all rows."""
        return self.n_splits + self.config.evaluation.final_model

    @property
    def n_refits(self) -> int:
        """Refits of a clusterer on bootstrap samples, for its stability."""
        evaluation = self.config.evaluation
        if not self.clusters:
            return 0
        final = evaluation.stability_resamples * evaluation.final_model
        return self.n_splits * evaluation.fold_resamples + final

    @property
    def studies(self) -> tuple[str, ...]:
        """The training rows that are searched: those of each split, and all for the final model."""
        if not self.families:
            return ()
        evaluation = self.config.evaluation
        n_folds = self.n_splits // evaluation.n_repeats
        names = [
            rows_name(repeat, fold)
            for repeat in range(evaluation.n_repeats)
            for fold in range(n_folds)
        ]
        return (*names, *([FINAL] if evaluation.final_model else []))

    @property
    def n_trials(self) -> int | None:
        """Trials of each study; None where only time or patience ends it."""
        search = self.config.search
        if search.sampler != "grid":
            return search.n_trials
        space = next(iter(self.families.values())).space
        size = space.grid_size(search.grid_points)
        return size if search.n_trials is None else min(size, search.n_trials)

    @property
    def n_search_fits(self) -> int | None:
        """Fits of a search on inner folds at most; pruning and repeated parameters save some."""
        if not self.families:
            return 0
        n_trials = self.n_trials
        if n_trials is None:
            return None
        return len(self.studies) * n_trials * self.config.search.inner_splits

    @property
    def recorded(self) -> ExperimentConfig:
        """The config as a run records it: without the secrets of a database address."""
        config = self.config
        if config.dataset.url is None:
            return config
        url = recorded_address(config.dataset.url)
        return replace(config, dataset=replace(config.dataset, url=url))

    @property
    def run_name(self) -> str:
        """Everything of a run directory's name but the time."""
        config = self.recorded
        parts = (
            config.preprocessing.name,
            "several" if config.search.candidates else config.model.name,
            config.search.name,
            config_hash(config),
        )
        return "-".join(file_name(part) for part in parts)


def file_name(text: str) -> str:
    """Return a text as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text).lstrip(".") or "_"


SWEEPS = "sweeps"  # the folder of sweeps among the outputs


def rows_name(repeat: int, fold: int) -> str:
    """Return what the study on the training rows of a split is called."""
    return f"repeat{repeat}-fold{fold}"


def plan_experiment(config: ExperimentConfig) -> Plan:
    """Check everything that can be checked before a table is loaded.

    Estimators are built, parameters, search spaces and metrics are checked, and the columns
    that the config names are looked up in the header of the table.

    Raises
    ------
    ConfigError, DataError
        In one line: the thing, what was seen, what would do.
    """
    config = _as_it_is(config)
    _check_kind(config)
    pipeline = build_pipeline(config)
    _check_scores(config, pipeline)
    clusters, known = config.model.task == "clustering", config.dataset.target is not None
    metrics = objective_metrics(_search_of(config), config.evaluation)
    families = _build_families(config, pipeline)
    for family in families.values() or [Family(pipeline, join_spaces(()), None)]:
        # The posterior of a mixture is not of the known segments.
        has_probabilities = hasattr(family.pipeline, "predict_proba") and not clusters
        check_metrics(config.evaluation, config.search, has_probabilities=has_probabilities)
    has_baselines = known or config.model.task == "value"
    baselines = _build_baselines(config) if has_baselines else {}
    if not known and config.model.task == "classification":
        way = "" if config.dataset.is_log else "dataset.target=COLUMN, or "
        raise ConfigError(
            f"dataset {config.dataset.name!r} names no target, and model={config.model.name} "
            f"predicts a known segment; say {way}model=kmeans to find segments"
        )
    check_task(config.evaluation, metrics, config.model.task, known=known)
    if config.dataset.is_log:
        check_log(config.dataset)
    else:
        others = {"evaluation.group": config.evaluation.group} if config.evaluation.group else {}
        check_columns(config.dataset, read_header(config.dataset), others)
    spaces = parse_spaces(config, pipeline)
    plan = Plan(config, pipeline, baselines, spaces, families, metrics)
    if config.search.chooses_k:
        _check_chooses_k(plan)
    return plan


# What models of customer value are fitted on.
VALUE_FEATURES = ["repeats", "span", "tenure", "repeat_spend"]


def _as_it_is(config: ExperimentConfig) -> ExperimentConfig:
    """Return the config of a task without preprocessing, which says so."""
    if config.model.task not in UNPREPARED:
        return config
    nothing = PreprocessingConfig("none", {}, {}, {}, None, {}, {}, {}, {})
    log = config.dataset.transactions
    if config.model.task == "value":  # histories end where the calibration does
        log = replace(log, features=VALUE_FEATURES, reference_date=None)
    dataset = replace(config.dataset, transactions=log)
    return replace(config, preprocessing=nothing, dataset=dataset)


# What says nothing of a transaction log, and what would instead.
TABLE_ONLY = {
    "id": "dataset.transactions.customer names the customers",
    "target": "its customers have no known segment",
    "numeric": "dataset.transactions.features says what is known of a customer",
    "categorical": "dataset.transactions.features says what is known of a customer",
    "ordinal": "dataset.transactions.features says what is known of a customer",
    "date": "dataset.transactions.date names the time of a line",
    "ignore": "a column that dataset.transactions does not name is not used",
    "other_columns": "a column that dataset.transactions does not name is not used",
    "filter": "dataset.transactions.keep leaves lines out",
    "rules": "mend the lines in the file itself",
    "invalid_values": "dataset.transactions.invalid says what becomes of such lines",
    "missing_target": "its customers have no known segment",
    "duplicate_ids": "each customer becomes one row",
    "duplicate_rows": "dataset.transactions.duplicates says what becomes of such lines",
}


def _check_log_keys(config: ExperimentConfig) -> None:
    """Refuse keys of a table of customers where the data set is a transaction log."""
    for key, instead in TABLE_ONLY.items():
        value = getattr(config.dataset, key)
        if value and value != ANSWERS.get(key, (None,))[0]:
            raise ConfigError(
                f"dataset.{key}={value!s:.60} means nothing for a transaction log: {instead}"
            )
    if (group := config.evaluation.group) is not None:
        raise ConfigError(
            f"evaluation.group={group}: the folds of a transaction log keep a customer together "
            f"by themselves"
        )


def _check_kind(config: ExperimentConfig) -> None:
    """Refuse a task that this kind of data set does not serve."""
    dataset, model, log = config.dataset, config.model, config.dataset.transactions
    if dataset.is_log:
        _check_log_keys(config)
    if model.task in UNPREPARED and not dataset.is_log:
        raise ConfigError(
            f"model={model.name} needs transactions, and dataset {dataset.name!r} is a table of "
            f"customers; say for example dataset=online_retail, or dataset=transactions "
            f"dataset.path=FILE"
        )
    if model.task in UNPREPARED and config.search.name != "none":
        raise ConfigError(
            f"search={config.search.name}: model={model.name} has no search; compare settings "
            f"with segexp sweep model.estimator.PARAMETER=a,b"
        )
    if model.task == "value" and log.calibration_end is None:
        raise ConfigError(
            f"model={model.name} is judged by what customers did after a day that it knows "
            f"nothing of; say dataset.transactions.calibration_end=YYYY-MM-DD"
        )
    if dataset.is_log and log.layout == "baskets" and model.task != "baskets":
        raise ConfigError(
            f"dataset {dataset.name!r} holds baskets without customers, and model={model.name} "
            f"needs customers; say model=association_rules"
        )
    if model.task == "baskets" and log.layout == "lines" and log.item is None:
        raise ConfigError("dataset.transactions.item must name the column of the items, got null")


def _check_scores(config: ExperimentConfig, pipeline: Pipeline) -> None:
    """Refuse rules over RFM scores where the preprocessing makes none."""
    steps = pipeline.get_params().values()
    named = isinstance(getattr(pipeline.named_steps["model"], "clusterer", None), RFMSegments)
    if named and not any(isinstance(step, RFMScorer) for step in steps):
        raise ConfigError(
            f"model={config.model.name} names customers by scores, and preprocessing="
            f"{config.preprocessing.name} makes none; say preprocessing=rfm_scores"
        )


def _search_of(config: ExperimentConfig) -> SearchConfig:
    if config.model.task != "clustering":
        return config.search
    return replace(config.search, constraints=_constraints(config))


def _constraints(config: ExperimentConfig) -> dict[str, Any]:
    return {**config.evaluation.constraints, **config.search.constraints}


def _check_chooses_k(plan: Plan) -> None:
    model, evaluation = plan.config.model, plan.config.evaluation
    if plan.k_parameter is None:
        raise ConfigError(
            f"search=k chooses the number of segments, and model={model.name} takes none"
            + (" (it finds it by itself); say search=tpe" if plan.clusters else "")
        )
    if evaluation.k_max is None:
        raise ConfigError("search=k chooses from 1 to evaluation.k_max segments, and it is null")


# What may change when a run goes on: it ends a search or says where the work is done.
RESUMABLE = (*(f"search.{key}" for key in BUDGET), "engine", "dataset.url")


def recorded_config(run: runs.Run, words: Sequence[str] = ()) -> ExperimentConfig:
    """Return the config that a run recorded, with another budget or engine if words say so.

    Raises
    ------
    RunError
        If ``config.yaml`` was changed since the run began, or a word would change its numbers.
    """
    config = read_config(run.path / runs.CONFIG)
    known = (run.manifest.get("config_hash"), run.manifest.get("former_config_hash"))
    if config_hash(config) not in known:
        raise RunError(
            f"{run.path / runs.CONFIG} was changed since the run began"
            f"{_what_changed(run, config)}; undo that, or start a new run"
        )
    content = asdict(config)
    overrides = dict(zip(words, parse_words(words), strict=True))
    # A run directory may come from a stranger: it makes segexp import nothing by itself.
    allowed = [o.value() for o in overrides.values() if o.key_or_group == "run.packages"]
    if (packages := config.run.packages) and packages not in allowed:
        raise RunError(
            f"{run.path} needs your own packages, {', '.join(packages)}; allow them by the word "
            f"run.packages=[{','.join(packages)}]"
        )
    # A group goes first: the keys in it are said of the option that was chosen, in any order.
    for word, override in sorted(overrides.items(), key=lambda pair: "." in pair[1].key_or_group):
        key = override.key_or_group
        section, _, name = key.partition(".")
        if key == "run.packages" and override.value() == packages:
            continue
        if key not in RESUMABLE and section != "engine":
            keys = [*_flat(content), *content]
            if key not in keys:
                hint = did_you_mean(key, keys)
                raise RunError(f"{word}: there is no config key {key!r}{hint}")
            before = _flat(content).get(key if name else f"{key}.name")
            was = f" (it began with {before!r})" if before is not None else ""
            raise RunError(
                f"{word} would change what the run computes{was}; it can go on with other "
                f"{', '.join(RESUMABLE[:-1])} only; start a new run for the rest"
            )
        before = config.search.n_trials
        if key == "search.n_trials" and before is not None:
            now = override.value()
            if isinstance(now, int) and now < before:
                raise RunError(f"{word}: {run.path} has made up to {before} trials; say more")
        if key == "engine":
            option = load_shipped_option("engine", str(override.value()), config)
            content["engine"] = asdict(option)
        else:
            content[section][name] = override.value()
    return config_from_dict(content)


def with_pending(run: runs.Run | runs.Sweep, words: Sequence[str]) -> list[str]:
    """Return the words with those by which a run began to go on, if it did not come to its end.

    Only a budget is taken from the run directory, which may come from a stranger.
    """
    left = {f"search.{key}" for key in BUDGET} - {word.partition("=")[0] for word in words}
    return [*(word for word in run.pending if word.partition("=")[0] in left), *words]


def _what_changed(run: runs.Run, config: ExperimentConfig) -> str:
    """Say how a config differs from what the run's own words compose, where they still do."""
    try:
        words = shlex.split(run.read_overrides())[2:]
        words = words[: words.index("--config-dir")] if "--config-dir" in words else words
        began = load_config(words, find_conf_dirs(None))
    except (SegexpError, ValueError):
        return ""
    if config_hash(began) != run.manifest.get("config_hash"):
        return ""
    before, now = _flat(asdict(began)), _flat(asdict(config))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    parts = [f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed[:5]]
    return f": {'; '.join(parts)}"


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _build_families(config: ExperimentConfig, pipeline: Pipeline) -> dict[str, Family]:
    """Build what is searched: the model of the config, or the candidates of ``search=auto``."""
    search = config.search
    if not search.searches:
        return {}
    models = {config.model.name: config.model}
    if search.candidates:
        models = {name: ModelConfig(**content) for name, content in search.candidates.items()}
    families = {}
    for name, model in models.items():
        one = replace(config, model=model)
        try:
            built = build_pipeline(one) if search.candidates else pipeline
            spaces = parse_spaces(one, built)
        except ConfigError as error:
            raise ConfigError(f"search.candidates.{name}: {error}") from error
        configured = built.get_params()
        tuned = spaces["preprocessing"] if search.tune_preprocessing else ()
        space = join_spaces(spaces["model"], tuned, configured)
        check_sampler(search, space)
        values = {
            p.name: configured[pipeline_path(p.name)]
            for p in space.parameters
            if pipeline_path(p.name) in configured
        }
        start = space.start(values) if search.start_from_defaults else None
        families[name] = Family(built, space, start)
    return families


def _build_baselines(config: ExperimentConfig) -> dict[str, Pipeline]:
    """Build the baselines, but for one that is what the run itself judges."""
    preprocessing = load_shipped_option("preprocessing", "standard", config)
    try:
        models = {
            name: load_shipped_option("model", name, config) for name in config.evaluation.baselines
        }
    except ConfigError as error:
        raise ConfigError(f"evaluation.baselines: {error}") from error
    return {
        name: join(preprocessing, model, config.engine.threads)
        for name, model in models.items()
        # Beside a tuned model, the same one as it is written is just what to compare with.
        if config.search.searches
        or (model.estimator, preprocessing) != (config.model.estimator, config.preprocessing)
    }


def find_done(plan: Plan) -> list[Path]:
    """Return the completed runs of the same config, oldest first."""
    return _find(plan, (runs.COMPLETED,))


def find_stopped(plan: Plan) -> list[Path]:
    """Return the runs of the same config that were stopped on their way, oldest first."""
    return _find(plan, (runs.INTERRUPTED, runs.KILLED))


def _find(plan: Plan, statuses: Container[str]) -> list[Path]:
    outputs = Path(plan.config.run.outputs).expanduser()
    folders = (file_name(plan.config.dataset.name), f"{SWEEPS}/*")
    # A run that was given more trials keeps its name, but not its hash.
    kind, _, own = plan.run_name.rpartition("-")
    found = {path for folder in folders for path in outputs.glob(f"{folder}/*-{kind}-*")}
    return [
        path
        for path in sorted(found, key=lambda path: path.name)
        if (facts := _facts_of(path)) is not None and facts[0] in statuses and facts[1] == own
    ]


def estimate_seconds(plan: Plan, n_workers: int) -> float | None:
    """Estimate the wall time of an experiment from the newest past run of the same kind.

    Of the same data set, preprocessing and model, with or without a search. None where there is
    none, or where nothing but patience ends the search. What the run did beside its search (folds,
    baselines, importance, figures) counts as it took.

    Parameters
    ----------
    n_workers : int
        Processes that share the work.
    """
    config = plan.config
    outputs = Path(config.run.outputs).expanduser()
    kind = "-".join(plan.run_name.split("-")[:-2])
    folders = (file_name(config.dataset.name), f"{SWEEPS}/*")
    found = {path for folder in folders for path in outputs.glob(f"{folder}/*-{kind}-*")}
    for path in sorted(found, key=lambda path: path.name, reverse=True):
        try:
            run = runs.open_run(path)
            same = run.manifest.get("dataset", {}).get("name") == config.dataset.name
            if run.status != runs.COMPLETED or not same:
                continue
            timings = run.read_timings()
            fit_s = float((timings["fit_seconds"] + timings["predict_seconds"]).mean())
            trial_s = _seconds_per_inner_fold(run, fit_s)
            whole_s = float(run.manifest.get("seconds") or 0.0)
            if (run.path / runs.TRIALS).is_file():
                shared_by = count_jobs(read_config(run.path / runs.CONFIG).engine)
                whole_s -= float(run.read_trials()["seconds"].sum()) / shared_by
        except (SegexpError, AttributeError, TypeError, ValueError):  # somebody else's, or damaged
            continue
        beside_s = max(whole_s, (plan.n_fits + plan.n_refits) * fit_s / n_workers)
        limits = [config.search.timeout_s] if config.search.timeout_s is not None else []
        if plan.n_search_fits is not None:
            limits.append(plan.n_search_fits * trial_s / n_workers)
        return beside_s + min(limits) if limits else None
    return None


def _seconds_per_inner_fold(run: runs.Run, fit_s: float) -> float:
    """Return what an inner fold of a trial costs on average, those left out counting nothing."""
    if not (run.path / runs.TRIALS).is_file():
        return fit_s  # of more rows, but nothing is pruned or stopped there
    trials = run.read_trials()
    inner_splits = read_config(run.path / runs.CONFIG).search.inner_splits
    return float(trials["seconds"].sum()) / (len(trials) * inner_splits)


def _facts_of(path: Path) -> tuple[str, Any] | None:
    """Return the status of a run and the hash of its config; None of what is no run."""
    try:
        return _facts_in(path, (path / runs.MANIFEST).stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=100_000)  # each cell of a sweep asks for every run that is there
def _facts_in(path: Path, written_ns: int) -> tuple[str, Any] | None:
    try:
        run = runs.open_run(path)
    except RunError:  # somebody else's folder, or a damaged one
        return None
    return run.status, run.manifest.get("config_hash")
