"""The schema of an experiment: one flat, frozen dataclass per config group.

Defaults live in ``conf/`` only, so that every key exists in YAML and can be overridden.
Rules that a type cannot express are checked in ``__post_init__``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from segexp.errors import ConfigError, did_you_mean

Node = dict[str, Any]  # a mapping with a `_target_`, or a mapping of such


MAX_GENERATED = 10_000_000
READERS = ("csv", "parquet", "sql", "demo")
# What Hydra's grammar wants in quotes can be named.
CHARACTERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "point": "."}
PROTOCOLS = ("holdout", "cv", "repeated_cv")
ANSWERS = {  # keys of a dataset that say what to do about dirt, and what they can say
    "other_columns": ("infer", "ignore", "error"),
    "invalid_values": ("error", "missing"),
    "missing_target": ("error", "drop"),
    "duplicate_ids": ("error", "keep", "first", "last"),
    "duplicate_rows": ("keep", "drop", "error"),
}


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


@dataclass(frozen=True)
class DatasetConfig:
    """Where a table comes from, the role of each column, and what to do with dirt."""

    name: str
    reader: str  # csv, parquet, sql or demo
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
    rules: dict[str, Any]  # column -> {min, max, replace}
    invalid_values: str  # text in a numeric column, infinities, unknown levels: error or missing
    missing_target: str  # rows without a segment: error or drop
    duplicate_ids: str  # error, keep, first or last
    duplicate_rows: str  # rows equal in every column: keep, drop or error

    def __post_init__(self) -> None:
        for key in ("separator", "decimal"):
            value = getattr(self, key)
            object.__setattr__(self, key, CHARACTERS.get(value, value))
        _one_of("dataset.reader", self.reader, READERS)
        for key, answers in ANSWERS.items():
            _one_of(f"dataset.{key}", getattr(self, key), answers)
        self._check_place()
        self._check_roles()
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

    def _check_place(self) -> None:
        if self.reader in ("csv", "parquet"):
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
    estimator: Node
    space: Node

    def __post_init__(self) -> None:
        _one_of("model.task", self.task, ("classification",))
        _require(
            isinstance(self.estimator.get("_target_"), str),
            f"model.estimator needs a _target_ (the class), got {self.estimator!r}",
        )


@dataclass(frozen=True)
class SearchConfig:
    """How hyperparameters are searched; the space belongs to the model."""

    name: str

    def __post_init__(self) -> None:
        _one_of("search.name", self.name, ("none",))


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
        _require(bool(self.metrics), "evaluation.metrics must name one metric or more, got []")


@dataclass(frozen=True)
class EngineConfig:
    """Where work runs; not part of the config hash.

    The number of processes changes no number. More than one thread may change the last digits of
    what some estimators say.
    """

    name: str
    n_jobs: int  # processes; -1: one per core
    threads: int  # threads of each estimator

    def __post_init__(self) -> None:
        _one_of("engine.name", self.name, ("local",))
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
