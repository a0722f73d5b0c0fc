"""The schema of an experiment: one flat, frozen dataclass per config group.

Defaults live in ``conf/`` only, so that every key exists in YAML and can be overridden.
Rules that a type cannot express are checked in ``__post_init__``.
"""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from segexp.errors import ConfigError, did_you_mean

Node = dict[str, Any]  # a mapping with a `_target_`, or a mapping of such


MAX_GENERATED = 10_000_000
READERS = ("csv", "parquet", "sql", "demo", "rda")
KINDS = ("customers", "transactions")
# What Hydra's grammar wants in quotes can be named.
CHARACTERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "point": "."}
PROTOCOLS = ("holdout", "cv", "repeated_cv")
SAMPLERS = ("none", "grid", "random", "tpe", "gp", "cmaes")
SEARCHES = (*SAMPLERS, "auto", "k")
TASKS = ("classification", "clustering", "value", "baskets")
UNPREPARED = ("value", "baskets")  # tasks that take a log as it is, and have no search
INTERNAL_METRICS = (
    "silhouette", "simplified_silhouette", "shadow", "calinski_harabasz", "davies_bouldin",
)  # fmt: skip
ASSIGNMENTS = ("auto", "native", "core_points", "nearest_centroid", "nearest_neighbors")
PRUNERS = ("none", "median", "wilcoxon", "hyperband")
ANSWERS = {  # keys of a dataset that say what to do about dirt, and what they can say
    "other_columns": ("infer", "ignore", "error"),
    "invalid_values": ("error", "missing"),
    "missing_target": ("error", "drop"),
    "duplicate_ids": ("error", "keep", "first", "last"),
    "duplicate_rows": ("keep", "drop", "error"),
}
LOG_ANSWERS = {  # the same of a transaction log; the first is the default
    "layout": ("lines", "baskets"),
    "invalid": ("error", "drop"),
    "missing_customer": ("drop", "error"),
    "returns": ("drop", "keep", "error"),
    "non_positive": ("drop", "keep", "error"),
    "duplicates": ("keep", "drop", "error"),
    "frequency": ("orders", "days", "lines"),
    "monetary": ("sum", "mean"),
    "aggregate": ("duckdb", "dask"),
}
LOG_FEATURES = (
    "recency", "frequency", "monetary", "tenure", "interpurchase", "span", "repeats",
    "repeat_spend", "orders", "days", "lines", "items", "quantity", "average_order",
)  # fmt: skip


def check_downloads(downloads: object) -> None:
    """Raise ``ConfigError`` unless every entry is ``path: {sha256: ..., urls: [...]}``."""
    key = "dataset.downloads"
    _require(isinstance(downloads, dict), f"{key} must be a mapping, got {downloads!r:.60}")
    for path, entry in downloads.items() if isinstance(downloads, dict) else ():
        shaped = isinstance(entry, dict) and set(entry) == {"sha256", "urls"}
        _require(
            isinstance(path, str) and shaped and isinstance(entry["urls"], list),
            f"{key}[{path!r}] must be {{sha256: ..., urls: [...]}}, got {entry!r:.60}",
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _one_of(key: str, value: str, known: Iterable[str]) -> None:
    known = list(known)
    if value not in known:
        options = ", ".join(known)
        raise ConfigError(
            f"{key} must be one of {options}, got {value!r}{did_you_mean(value, known)}"
        )


def _check_filter(key: str, condition: Any) -> None:
    known = ("min", "max", "values")
    _require(
        isinstance(condition, dict) and bool(condition),
        f"{key} must be a mapping with {', '.join(known)}, got {condition!r}",
    )
    for name, value in condition.items():
        _one_of(f"{key}: a condition", str(name), known)
        if name == "values":
            _require(
                isinstance(value, list) and bool(value),
                f"{key}.values must list one value or more, got {value!r}",
            )
        else:
            _require(
                isinstance(value, int | float) and not isinstance(value, bool),
                f"{key}.{name} must be a number, got {value!r}",
            )


@dataclass(frozen=True)
class LogConfig:
    """What the columns of a transaction log are, and how its lines become customers or baskets."""

    layout: str  # lines: one row per order line; baskets: a line of text per basket
    columns: list[str]  # names of the columns of a file that has no line of names
    customer: str | None
    order: str | None  # None: what a customer buys on one day is one order
    date: str | None
    date_format: str | None  # as strptime takes it; None: ISO, or by dataset.dayfirst
    item: str | None
    quantity: str | None  # pieces; None: one
    price: str | None  # of one piece
    amount: str | None  # of the line, in place of the price
    keep: dict[str, Any]  # column -> values; other lines are left out
    start: str | None  # the first day that counts
    end: str | None  # the last day that counts
    invalid: str  # dates and numbers that cannot be read: error or drop
    missing_customer: str  # drop or error
    cancelled_prefix: str | None  # orders whose name begins so are cancellations
    returns: str  # cancellations and negative quantities: drop, keep or error
    non_positive: str  # other lines with an amount of 0 or less: drop, keep or error
    duplicates: str  # lines equal in every column: keep, drop or error
    reference_date: str | None  # None: the day after the last line; never today
    calibration_end: str | None  # features know the lines up to here; what follows is the outcome
    holdout_end: str | None  # the last day of the outcome; None: of the log
    frequency: str  # orders, days or lines
    monetary: str  # sum, or mean per order
    features: list[str]
    segments: str | None  # of the customers of baskets: rfm, or a run or table with segments
    aggregate: str  # duckdb or dask
    memory_limit: str | None  # of DuckDB, e.g. 2GB

    def __post_init__(self) -> None:
        key = "dataset.transactions"
        for name, answers in LOG_ANSWERS.items():
            _one_of(f"{key}.{name}", getattr(self, name), answers)
        for feature in self.features:
            _one_of(f"{key}.features: a feature", feature, LOG_FEATURES)
        _require(
            bool(self.features) and len(set(self.features)) == len(self.features),
            f"{key}.features must name one feature or more, each once, got {self.features}",
        )
        _require(
            self.memory_limit is None
            or bool(re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", self.memory_limit)),
            f"{key}.memory_limit must look like 2GB, got {self.memory_limit!r}",
        )
        _require(
            self.price is None or self.amount is None,
            f"{key}: give either price (of a piece) or amount (of the line), "
            f"got price={self.price} and amount={self.amount}",
        )
        for column, values in self.keep.items():
            _require(
                isinstance(values, list) and bool(values),
                f"{key}.keep.{column} must list one value or more, got {values!r}",
            )
        self._check_dates(key)
        if self.layout == "baskets":
            self._check_baskets(key)

    def _check_baskets(self, key: str) -> None:
        """Refuse what says nothing of lines that hold items and nothing else."""
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            known = LOG_ANSWERS.get(name)
            _require(
                name in ("layout", "features", "segments")
                or (value == known[0] if known else not value),
                f"{key}.{name}={value} says nothing with {key}.layout=baskets, where a line holds "
                f"items and nothing else; leave it out, or say layout=lines",
            )

    def _check_dates(self, key: str) -> None:
        order = ("start", "calibration_end", "holdout_end", "end")
        days = {name: self.day(name) for name in (*order, "reference_date")}
        known = [name for name in order if days[name] is not None]
        for earlier, later in itertools.pairwise(known):
            _require(
                str(days[earlier]) <= str(days[later]),
                f"{key}.{later}={getattr(self, later)} is before "
                f"{key}.{earlier}={getattr(self, earlier)}",
            )
        _require(
            self.holdout_end is None or self.calibration_end is not None,
            f"{key}.holdout_end={self.holdout_end} needs {key}.calibration_end",
        )

    def day(self, name: str) -> datetime.date | None:
        """Return the day that a key names.

        Raises
        ------
        ConfigError
            If it is no date.
        """
        text = getattr(self, name)
        if text is None:
            return None
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            raise ConfigError(
                f"dataset.transactions.{name} must be a date such as 2011-12-10, got {text!r}"
            ) from None


@dataclass(frozen=True)
class DatasetConfig:
    """Where a table comes from, the role of each column, and what to do with dirt."""

    name: str
    kind: str  # customers: a row each; transactions: a log that is summed up per customer
    reader: str  # csv, parquet, sql, demo or rda
    path: Any  # a file, or a list of files that are stacked; null for sql and demo
    source: str  # who published the data
    licence: str
    synthetic: bool  # shown wherever a figure of the data set is shown
    downloads: dict[str, Any]  # path -> {sha256, urls}: where a public file may be fetched

    # csv
    separator: str | None  # null: found from the header among , ; tab |
    encoding: str
    decimal: str

    # sql: a SQLAlchemy address, and either a query or a table
    url: str | None
    query: str | None
    table: str | None

    # demo
    n_customers: int | None
    generator_seed: int

    # roles
    id: str | None
    target: str | None  # the known segment
    numeric: list[str]
    categorical: list[str]
    ordinal: dict[str, Any]  # column -> values from low to high
    date: list[str]
    ignore: list[str]
    other_columns: str  # columns without a role: infer, ignore or error
    dayfirst: bool  # 04-09-2012 is the fourth of September

    # dirt
    missing_tokens: list[str]  # cells that mean "not known", compared after stripping blanks
    filter: dict[str, Any]  # column -> {min, max, values}: other rows are left out
    rules: dict[str, Any]  # column -> {min, max, replace}
    invalid_values: str  # text in a numeric column, infinities, unknown levels: error or missing
    missing_target: str  # rows without a segment: error or drop
    duplicate_ids: str  # error, keep, first or last
    duplicate_rows: str  # rows equal in every column: keep, drop or error

    transactions: LogConfig  # kind=transactions

    def __post_init__(self) -> None:
        for key in ("separator", "decimal"):
            value = getattr(self, key)
            object.__setattr__(self, key, CHARACTERS.get(value, value))
        _one_of("dataset.reader", self.reader, READERS)
        _one_of("dataset.kind", self.kind, KINDS)
        self._check_kind()
        for key, answers in ANSWERS.items():
            _one_of(f"dataset.{key}", getattr(self, key), answers)
        self._check_place()
        self._check_roles()
        for column, condition in self.filter.items():
            _check_filter(f"dataset.filter.{column}", condition)
        for column, rule in self.rules.items():
            self._check_rule(column, rule)
        check_downloads(self.downloads)
        _require(
            self.synthetic or self.reader != "demo",
            "dataset.synthetic must be true for generated customers (dataset.reader=demo)",
        )

    @property
    def paths(self) -> list[str]:
        """The files of the data set, in the order in which they are stacked."""
        if self.path is None:
            return []
        return [self.path] if isinstance(self.path, str) else list(self.path)

    @property
    def is_log(self) -> bool:
        """Whether the rows are transactions."""
        return self.kind == "transactions"

    def _check_kind(self) -> None:
        log = self.transactions
        if not self.is_log:
            _require(
                self.reader != "rda",
                "dataset.reader=rda needs dataset.kind=transactions, got dataset.kind=customers",
            )
            return
        _require(
            self.reader != "demo", "dataset.reader=demo makes customers, not transactions; say csv"
        )
        if log.layout == "lines":
            for key in ("customer", "date"):
                _require(
                    getattr(log, key) is not None or (key == "customer" and log.order is not None),
                    f"dataset.transactions.{key} must name a column of the log, got null",
                )

    def _check_place(self) -> None:
        if self.reader in ("csv", "parquet", "rda"):
            paths = self.path if isinstance(self.path, list) else [self.path]
            _require(
                bool(paths) and all(isinstance(path, str) and path for path in paths),
                f"dataset.path must be a file or a list of files, got {self.path!r}; "
                f"say for example dataset.path=customers.{self.reader}",
            )
        if self.reader == "sql":
            _require(
                self.url is not None,
                "dataset.url must be a SQLAlchemy address, for example "
                "dataset.url=sqlite:///shop.db",
            )
            _require(
                (self.query is None) != (self.table is None),
                "dataset: give either dataset.query or dataset.table, "
                f"got query={self.query!r} and table={self.table!r}",
            )
        _require(
            self.generator_seed >= 0,
            f"dataset.generator_seed must be 0 or more, got {self.generator_seed}",
        )
        if self.reader == "demo":
            _require(
                self.n_customers is not None and 1 <= self.n_customers <= MAX_GENERATED,
                f"dataset.n_customers must be 1 to {MAX_GENERATED:,}, got {self.n_customers}",
            )
        _require(
            self.separator is None or len(self.separator) == 1,
            f"dataset.separator must be one character or null, got {self.separator!r}",
        )
        _require(
            len(self.decimal) == 1, f"dataset.decimal must be one character, got {self.decimal!r}"
        )

    def _check_roles(self) -> None:
        seen: dict[str, str] = {}
        for role, columns in self.roles().items():
            for column in columns:
                _require(
                    column not in seen,
                    f"dataset: column {column!r} has two roles, {seen.get(column)} and {role}",
                )
                seen[column] = role
        for column, levels in self.ordinal.items():
            _require(
                isinstance(levels, list) and len(levels) >= 2 and len(set(levels)) == len(levels),
                f"dataset.ordinal.{column} must list two or more different values from low to "
                f"high, got {levels!r}",
            )

    def _check_rule(self, column: str, rule: Any) -> None:
        key = f"dataset.rules.{column}"
        known = ("min", "max", "replace")
        _require(
            isinstance(rule, dict) and bool(rule),
            f"{key} must be a mapping with {', '.join(known)}, got {rule!r}",
        )
        for name, value in rule.items():
            _one_of(f"{key}: a rule", str(name), known)
            if name == "replace":
                _require(isinstance(value, dict), f"{key}.replace must be a mapping, got {value!r}")
            else:
                _require(
                    isinstance(value, int | float) and not isinstance(value, bool),
                    f"{key}.{name} must be a number, got {value!r}",
                )
        if "min" in rule and "max" in rule:
            _require(
                rule["min"] <= rule["max"],
                f"{key}: min {rule['min']} is greater than max {rule['max']}",
            )

    def roles(self) -> dict[str, list[str]]:
        """Declared columns by role: id, target, numeric, categorical, ordinal, date, ignore."""
        return {
            "id": [self.id] if self.id is not None else [],
            "target": [self.target] if self.target is not None else [],
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "ordinal": list(self.ordinal),
            "date": list(self.date),
            "ignore": list(self.ignore),
        }


@dataclass(frozen=True)
class PreprocessingConfig:
    """Named scikit-learn steps per column role; a role without steps passes through."""

    name: str
    table: Node  # steps on the whole table, before the roles are split
    numeric: Node
    categorical: Node
    native_categorical: Any  # steps instead of `categorical` for models that take categories
    ordinal: Node
    date: Node
    reduction: Node  # steps after the columns are joined
    space: Node  # scikit-learn parameter path -> typed search range

    @property
    def roles(self) -> dict[str, Node]:
        """Steps of the four feature roles."""
        return {
            "numeric": self.numeric,
            "categorical": self.categorical,
            "ordinal": self.ordinal,
            "date": self.date,
        }


@dataclass(frozen=True)
class ModelConfig:
    """One estimator, its parameters, and the ranges worth searching."""

    name: str
    task: str
    native_categorical: bool  # takes pandas categories as they are
    assignment: str  # clustering: how customers who were not fitted get their segment
    max_rows: int | None  # clustering: a larger table is fitted on a sample, and assigned
    estimator: Node
    space: Node

    def __post_init__(self) -> None:
        _one_of("model.task", self.task, TASKS)
        _one_of("model.assignment", self.assignment, ASSIGNMENTS)
        _require(
            self.max_rows is None or self.max_rows >= 2,
            f"model.max_rows must be null or 2 or more, got {self.max_rows}",
        )
        _require(
            isinstance(self.estimator.get("_target_"), str),
            f"model.estimator needs a _target_ (the class), got {self.estimator!r}",
        )


_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def _seconds(key: str, text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``1h30m`` or ``600``."""
    found = _DURATION.fullmatch(f"{text}s" if re.fullmatch(_NUMBER, text) else text)
    parts = [float(part or 0) for part in found.groups()] if found else []
    total = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    _require(
        total > 0,
        f"{key} must be a duration such as 90s, 10m, 2h or 1h30m, or a number of seconds, "
        f"got {text!r}",
    )
    return total


def _check_constraint(key: str, bounds: Any) -> None:
    _require(
        isinstance(bounds, dict) and bool(bounds),
        f"{key} must be a mapping such as {{min: 0.5}} or {{max: 1}}, got {bounds!r}",
    )
    for name, value in bounds.items():
        _one_of(f"{key}: a bound", str(name), ("min", "max"))
        _require(
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
            f"{key}.{name} must be a number, got {value!r}",
        )
    if "min" in bounds and "max" in bounds:
        _require(
            bounds["min"] <= bounds["max"],
            f"{key}: min {bounds['min']} is greater than max {bounds['max']}",
        )


@dataclass(frozen=True)
class SearchConfig:
    """How hyperparameters are searched; the space belongs to the model.

    Each outer fold is searched on its own training rows, in a study of its own; one more study on
    all rows finds the parameters of the final model.
    """

    name: str  # none, grid, random, tpe, gp, cmaes, auto or k
    sampler: str  # who suggests: none, grid, random, tpe, gp or cmaes
    n_trials: int | None  # trials of each study; null: the whole grid, or until another limit
    timeout: str | None  # wall time of the whole search, shared evenly by its studies
    patience: int | None  # stop a study after so many trials without a better value
    inner_splits: int  # folds of a study's rows that judge a trial
    objectives: list[str]  # []: evaluation.metric; several: a Pareto front, the first decides
    constraints: dict[str, Any]  # metric -> {min, max}, on the mean over inner folds
    pruner: str  # none, median, wilcoxon or hyperband
    prune_startup: int  # trials that are never pruned
    prune_warmup: int  # pruning needs more folds than this
    finalists: int  # pruned trials that are run in full at the end because they may win
    staged_rounds: int | None  # a booster's fit is also judged at so many smaller rounds; null: off
    early_stopping: int | None  # rounds without a better loss that stop a booster; null: off
    early_stopping_share: float  # inner share of a booster's training rows that stops it
    tune_preprocessing: bool  # search the preprocessing's space too
    start_from_defaults: bool  # the first trial is the model as configured
    startup_trials: int  # random trials before tpe and gp learn
    window: int  # suggestion t knows the results of trials 0 to t - window
    grid_points: int  # values of a range that has no step
    trial_timeout: str | None  # wall time of one trial
    max_failures: int  # failed or invalid trials at which a study gives up
    models: list[str]  # auto: the families
    candidates: dict[str, Any]  # auto: model -> its full config, filled in from `models`

    def __post_init__(self) -> None:
        _one_of("search.name", self.name, SEARCHES)
        _one_of("search.sampler", self.sampler, SAMPLERS)
        _one_of("search.pruner", self.pruner, PRUNERS)
        self._check_sampler()
        self._check_numbers()
        self._check_objectives()
        self._check_models()

    @property
    def searches(self) -> bool:
        """Whether anything is searched by trials."""
        return self.sampler != "none"

    @property
    def chooses_k(self) -> bool:
        """Whether the number of segments is chosen by a verdict over many criteria."""
        return self.name == "k"

    @property
    def timeout_s(self) -> float | None:
        """Wall time of the whole search in seconds."""
        return None if self.timeout is None else _seconds("search.timeout", self.timeout)

    @property
    def trial_timeout_s(self) -> float | None:
        """Wall time of one trial in seconds."""
        key = "search.trial_timeout"
        return None if self.trial_timeout is None else _seconds(key, self.trial_timeout)

    def _check_sampler(self) -> None:
        if self.name == "auto":
            _require(
                self.sampler not in ("none", "grid"),
                f"search=auto needs search.sampler to be random, tpe, gp or cmaes, "
                f"got {self.sampler}",
            )
            return
        # A run is known by the name of its search, which must not say something else.
        _require(
            self.sampler == ("none" if self.chooses_k else self.name),
            f"search.name={self.name} does not fit search.sampler={self.sampler}; choose both by "
            f"search={self.sampler if self.searches else self.name}",
        )
        for key in ("n_trials", "timeout", "patience"):
            value = getattr(self, key)
            _require(
                self.searches or value is None,
                f"search.{key}={value} needs a search, for example search=tpe, "
                f"got search={self.name}",
            )

    def _check_numbers(self) -> None:
        least = {
            "n_trials": 1, "patience": 1, "inner_splits": 2, "prune_startup": 0,
            "prune_warmup": 0, "finalists": 0, "staged_rounds": 1, "early_stopping": 1,
            "startup_trials": 1, "window": 1, "grid_points": 2, "max_failures": 1,
        }  # fmt: skip
        for key, low in least.items():
            value = getattr(self, key)
            _require(
                value is None or value >= low, f"search.{key} must be {low} or more, got {value}"
            )
        _require(
            0 < self.early_stopping_share < 1,
            f"search.early_stopping_share must lie between 0 and 1, "
            f"got {self.early_stopping_share}",
        )
        for key in ("timeout", "trial_timeout"):
            if (text := getattr(self, key)) is not None:
                _seconds(f"search.{key}", text)

    def _check_objectives(self) -> None:
        _require(
            len(set(self.objectives)) == len(self.objectives),
            f"search.objectives names a metric twice: {self.objectives}",
        )
        _require(
            len(self.objectives) < 2 or self.pruner == "none",
            f"search.objectives: trials with several objectives cannot be pruned, "
            f"got search.pruner={self.pruner}; say search.pruner=none",
        )
        for metric, bounds in self.constraints.items():
            _check_constraint(f"search.constraints.{metric}", bounds)

    def _check_models(self) -> None:
        if self.name != "auto":
            for key in ("models", "candidates"):
                _require(
                    not getattr(self, key),
                    f"search.{key} needs search=auto, got search={self.name}",
                )
            return
        _require(
            self.n_trials is not None,
            "search=auto shares search.n_trials between its models, and it is null",
        )
        _require(bool(self.models), "search.models must name one model or more, got []")
        _require(
            len(set(self.models)) == len(self.models),
            f"search.models names a model twice: {self.models}",
        )
        _require(
            self.n_trials is None or self.n_trials >= len(self.models),
            f"search.n_trials={self.n_trials} is fewer than the {len(self.models)} models of "
            f"search.models",
        )
        for name in self.candidates:
            _require(
                name in self.models,
                f"search.candidates.{name}: search.models has no {name!r}"
                f"{did_you_mean(name, self.models)}; it has {', '.join(self.models)}",
            )
        if missing := [name for name in self.models if name not in self.candidates]:
            raise ConfigError(f"search.candidates lacks {missing[0]!r}, which search.models names")


@dataclass(frozen=True)
class EvaluationConfig:
    """The outer protocol: which rows judge, and by which metrics."""

    name: str
    protocol: str  # holdout, cv or repeated_cv
    n_splits: int  # folds of cv and repeated_cv
    n_repeats: int  # repeats of repeated_cv
    test_size: float  # share of the customers (of the groups, if any) that a holdout judges by
    group: str | None  # rows with the same value of this column stay on one side of a split
    metric: str  # the metric that ranks
    metrics: list[str]  # the metrics that are shown; every metric is stored
    baselines: list[str]  # models judged beside, on the same folds
    confidence: float  # level of the intervals
    importance_repeats: int  # shuffles of each column per held-out fold; 0: no importance
    final_model: bool  # fit on all rows and save
    sample_rows: int  # customers whose features stay in the run directory, for its report
    constraints: dict[str, Any]  # clustering: metric -> {min, max}, what a segmentation must keep
    stability_resamples: int  # clustering: refits of the final pipeline; 0: no stability
    fold_resamples: int  # clustering: refits in each fold for its stability; 0: none
    k_max: int | None  # clustering: the table of k goes from 1 to k_max; null: no such table
    internal: list[str]  # clustering: metrics of the distances that are computed
    silhouette_rows: int  # clustering: silhouettes of more customers are sampled

    def __post_init__(self) -> None:
        _one_of("evaluation.protocol", self.protocol, PROTOCOLS)
        _require(self.n_splits >= 2, f"evaluation.n_splits must be 2 or more, got {self.n_splits}")
        _require(
            self.n_repeats >= 1, f"evaluation.n_repeats must be 1 or more, got {self.n_repeats}"
        )
        if self.protocol != "repeated_cv":
            _require(
                self.n_repeats == 1,
                f"evaluation.n_repeats={self.n_repeats} needs evaluation=repeated_cv, "
                f"got evaluation.protocol={self.protocol}",
            )
        _require(
            0 < self.test_size < 1,
            f"evaluation.test_size must lie between 0 and 1, got {self.test_size}",
        )
        _require(
            0.5 <= self.confidence <= 0.9999,
            f"evaluation.confidence must be 0.5 to 0.9999, got {self.confidence}",
        )
        _require(
            self.importance_repeats >= 0,
            f"evaluation.importance_repeats must be 0 or more, got {self.importance_repeats}",
        )
        _require(
            self.sample_rows >= 0,
            f"evaluation.sample_rows must be 0 or more, got {self.sample_rows}",
        )
        _require(bool(self.metrics), "evaluation.metrics must name one metric or more, got []")
        self._check_clustering()

    def _check_clustering(self) -> None:
        for key in ("stability_resamples", "fold_resamples"):
            value = getattr(self, key)
            _require(
                value != 1 and value >= 0, f"evaluation.{key} must be 0, or 2 or more, got {value}"
            )
        _require(
            self.silhouette_rows >= 100,
            f"evaluation.silhouette_rows must be 100 or more, got {self.silhouette_rows}",
        )
        _require(
            self.k_max is None or self.k_max >= 2,
            f"evaluation.k_max must be null or 2 or more, got {self.k_max}",
        )
        for name in self.internal:
            _one_of("evaluation.internal: a metric", name, INTERNAL_METRICS)
        for metric, bounds in self.constraints.items():
            _check_constraint(f"evaluation.constraints.{metric}", bounds)


@dataclass(frozen=True)
class EngineConfig:
    """Where work runs; not part of the config hash.

    The number of processes changes no number. More than one thread may change the last digits of
    what some estimators say.
    """

    name: str  # local or dask
    n_jobs: int  # processes; -1: one per core
    threads: int  # threads of each estimator
    address: str | None  # dask: a scheduler that runs already

    def __post_init__(self) -> None:
        _one_of("engine.name", self.name, ("local", "dask"))
        _require(
            self.address is None or self.name == "dask",
            f"engine.address={self.address} needs engine=dask, got engine={self.name}",
        )
        _require(
            self.address is None or re.fullmatch(r"\w+://\S+:\d+", self.address) is not None,
            f"engine.address must look like tcp://host:8786, got {self.address!r}",
        )
        _require(
            self.n_jobs == -1 or self.n_jobs >= 1,
            f"engine.n_jobs must be -1 (all cores) or 1 or more, got {self.n_jobs}",
        )
        _require(self.threads >= 1, f"engine.threads must be 1 or more, got {self.threads}")


@dataclass(frozen=True)
class RunConfig:
    """Seeds, the place where runs land, and what a user wants to remember of a run."""

    seed: int  # drives models and search
    split_seed: int  # decides the folds; stays fixed so that runs compare fold by fold
    outputs: str
    name: str | None
    tags: list[str]
    packages: list[str]  # your own packages that `_target_` may name

    def __post_init__(self) -> None:
        # numpy's generators take 32 bits.
        for key, value in (("seed", self.seed), ("split_seed", self.split_seed)):
            _require(
                0 <= value < 2**32,
                f"run.{key} must be a whole number from 0 to 2^32-1, got {value}",
            )
        _require(bool(self.outputs), "run.outputs must be a folder, got ''")


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides an experiment, validated."""

    dataset: DatasetConfig
    preprocessing: PreprocessingConfig
    model: ModelConfig
    search: SearchConfig
    evaluation: EvaluationConfig
    engine: EngineConfig
    run: RunConfig


GROUPS = ("dataset", "preprocessing", "model", "search", "evaluation", "engine", "experiment")

SCHEMAS: dict[str, type] = {
    "dataset": DatasetConfig,
    "preprocessing": PreprocessingConfig,
    "model": ModelConfig,
    "search": SearchConfig,
    "evaluation": EvaluationConfig,
    "engine": EngineConfig,
    "run": RunConfig,
}
