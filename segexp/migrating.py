"""Two periods of the same customers under the saved model of a run, and a folder that tells."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.clustering.quality import internal_quality
from segexp.config.compose import config_from_dict, load_config, parse_words
from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig, ExperimentConfig
from segexp.data.loading import Dataset, load_dataset
from segexp.data.transactions import load_customers
from segexp.errors import ConfigError, DataError, RunError, did_you_mean
from segexp.figures.look import render
from segexp.figures.migration import flow, heat_map
from segexp.migration import (
    GONE,
    NEW,
    Drift,
    Resegment,
    Thresholds,
    align,
    customer_moves,
    in_order,
    matrix,
    retained,
    retention,
    stability_table,
    transitions,
    verdict,
)
from segexp.predict import (
    DATES,
    LEARNED,
    NOISE,
    READING,
    counted_up_to,
    ends_with_log,
    open_finished,
    predict_table,
    recorded_dataset,
)
from segexp.saved_model import load_pipeline

VERDICT = "migration.json"
TRANSITIONS = "transitions.csv"
RETENTION = "retention.csv"
PSI = "psi.csv"
CUSTOMERS = "customers.csv"
FLOW = "flow"  # figures, .png and .svg
HEAT_MAP = "transitions"

REPLICATIONS = 20  # splits of the first period, each with two fits on half of the customers
TASKS = ("clustering", "classification")
UNLUCKY = 0.05  # share of the splits of the first period that agree less


@dataclass(frozen=True)
class Settings:
    """What words beside the thresholds say of a comparison: ``migration.NAME=VALUE``."""

    revenue: str | None = None  # column of both tables with the revenue of each customer
    replications: int = REPLICATIONS  # 0: the index of the refit is not set beside another

    def __post_init__(self) -> None:
        n = self.replications
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            raise ConfigError(f"migration.replications must be 0 or more splits, got {n!r}")


@dataclass(frozen=True)
class Period:
    """The customers of a period, with the segments that the model of the run gives them."""

    name: str
    dataset: Dataset
    segments: pd.Series[Any]  # by customer id
    unlike: pd.Series[Any] | None  # whether a customer is unlike anybody, by id; of a clusterer
    revenue: pd.Series[Any] | None  # by customer id


@dataclass(frozen=True)
class Refit:
    """The segments that the same pipeline finds when it is fitted on the later customers."""

    segments: pd.Series[Any]  # by customer id, under the names of the old segments
    names: Mapping[str, str]  # of the refit -> of the old segment that shares most customers
    ari: float  # of the old and the new segments of the later customers


@dataclass(frozen=True)
class Migration:
    """What became of the segments of a run."""

    run: Path
    before: Period
    after: Period
    order: tuple[str, ...]  # the segments, as they are listed
    customers: pd.DataFrame  # id, before, after, refitted, revenue_before, revenue_after
    transitions: pd.DataFrame
    retention: pd.DataFrame
    stability: pd.DataFrame  # population stability index of the sizes and of each feature
    refit: Refit | None
    drift: Drift
    thresholds: Thresholds
    verdict: Resegment
    notes: tuple[str, ...]
    periods: tuple[str, ...] = ()  # how the periods lie, unless one follows on the other

    @property
    def matrix(self) -> pd.DataFrame:
        """Customers by segment before, in the rows, and after."""
        return matrix(self.transitions, self.order)

    def to_dict(self) -> dict[str, Any]:
        """Return verdict, figures and what was compared, in values that JSON can hold."""
        drift = asdict(self.drift)
        features = drift.pop("features") or {}
        return {
            "verdict": self.verdict.status,
            "words": self.verdict.words,
            "reasons": [asdict(reason) for reason in self.verdict.reasons],
            "not_reasons": list(self.verdict.notes),
            "figures": {
                **{name: _finite(value) for name, value in drift.items()},
                "feature_psi": {str(name): found[0] for name, found in features.items()},
            },
            "thresholds": asdict(self.thresholds),
            "refit": {"names": dict(self.refit.names)} if self.refit else None,
            "compared": {
                "run": str(self.run),
                "segments": list(self.order),
                "before": _described(self.before),
                "after": _described(self.after),
            },
            "notes": [*self.periods, *self.notes],
        }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _described(period: Period) -> dict[str, Any]:
    dataset = period.dataset
    return {
        "name": period.name,
        "customers": len(dataset.X),
        "fingerprint": dataset.fingerprint,
        "synthetic": dataset.synthetic,
        "files": [dict(file) for file in dataset.files],
        "log": dataset.log,
        "revenue": None if period.revenue is None else _finite(float(period.revenue.sum())),
    }


def compare_periods(
    run: runs.Run | str | os.PathLike[str],
    table: str | os.PathLike[str] | None = None,
    words: Sequence[str] = (),
    *,
    check: Callable[[Path], None] | None = None,
) -> Migration:
    """Compare the customers of a completed run with those of a later period.

    Parameters
    ----------
    run : Run or path
        Of a clusterer, of RFM or of a classifier. Its own data are the first period, and are
        loaded again.
    table : path, optional
        The customers later, as CSV or Parquet, read by the rules of the run's data set; for a run
        on a transaction log, another log.
    words : sequence of str
        ``migration.NAME=NUMBER`` for another threshold (see
        :class:`~segexp.migration.Thresholds`), ``migration.revenue=COLUMN`` for the column of
        both tables that holds each customer's revenue, ``migration.replications=N`` for the
        splits of the first period that the refit is set beside; how the table is written, as for
        :func:`~segexp.predict.predict_table`; and for a transaction log when the second period
        ends, ``dataset.transactions.reference_date=2011-12-10``: the dates of the first period
        do not hold for it, and lines after the reference date are left out unless
        ``dataset.transactions.end`` says otherwise. Where nothing says when it ends, days are
        counted as :func:`~segexp.predict.predict_table` does.
    check : callable, optional
        Called with what :func:`default_folder` will return, as soon as that is known: before
        anything is loaded, but for a log that nothing gives a reference date.

    Returns
    -------
    Migration

    Raises
    ------
    RunError
        The run is not completed, gives no segments, holds no model, or its data changed.
    ConfigError
        A word is not known, or nothing says what the second period is.
    DataError
        A table cannot be used, customers have no ids, an id occurs twice in a period, or the two
        periods have no customer in common.
    """
    run = open_finished(run.path if isinstance(run, runs.Run) else Path(run))
    schema = _read_schema(run)
    thresholds, settings, reading = _sort_words(words)
    revenue = settings.revenue
    recorded = _recorded(run)
    if recorded.dataset.is_log and revenue is not None:
        raise ConfigError(f"migration.revenue={revenue}: the revenue of a transaction log is known")
    later = _later_config(recorded.dataset, schema, table, reading, revenue)
    named = _known_name(later)
    if check is not None and named is not None:
        check(_folder(run.path, named, is_log=later.is_log))
    if later.is_log and ends_with_log(recorded.dataset.transactions, later.transactions):
        later = counted_up_to(later, load_customers(later).summary["last"])
    after = _second_period(run, load_dataset(later), later, schema, revenue)
    if check is not None and named is None:
        check(_folder(run.path, after.name, is_log=later.is_log))
    first = recorded.dataset
    if not first.is_log:
        first = _with_roles(first, schema, revenue, target=first.target)
    before = _first_period(run, load_dataset(first), schema, revenue)
    _check_shared(before, after)
    return _compared(run, before, after, schema, recorded, thresholds, settings)


def _compared(
    run: runs.Run,
    before: Period,
    after: Period,
    schema: Mapping[str, Any],
    recorded: ExperimentConfig,
    thresholds: Thresholds,
    settings: Settings,
) -> Migration:
    known = [str(name) for name in schema["segments"]]
    others = {*before.segments.unique(), *after.segments.unique()} - {*known}
    order = (*known, *in_order(others))
    moves = before.segments, after.segments, before.revenue, after.revenue
    counted = transitions(*moves, order=order)
    stability = stability_table(before.dataset.X, after.dataset.X, before.segments, after.segments)
    drift = _drift(before, after, counted, stability)
    notes, refit = _notes(run, before, after), None
    if schema["task"] == "clustering":
        pipeline = load_pipeline((run.path / runs.PIPELINE).read_bytes(), str(run.path))
        fell = _silhouettes(pipeline, (before, after), known, recorded)
        drift = replace(drift, silhouette_before=fell[0], silhouette_after=fell[1])
        refit, said = _refit(pipeline, after)
        notes += said
        if refit is not None:
            expected = _replicated(
                pipeline, before.dataset.X, settings.replications, recorded.run.seed
            )
            drift = replace(drift, ari=refit.ari, expected_ari=expected)
    return Migration(
        run=run.path,
        before=before,
        after=after,
        order=order,
        customers=_customers_table(moves, refit),
        transitions=counted,
        retention=retention(counted, order),
        stability=stability,
        refit=refit,
        drift=drift,
        thresholds=thresholds,
        verdict=verdict(drift, thresholds),
        notes=tuple(notes),
        periods=_windows(before, after),
    )


# --- the run and the words -------------------------------------------------------------------


def _read_schema(run: runs.Run) -> dict[str, Any]:
    """Return what the model of a run is, after checking that it gives segments."""
    task = run.manifest.get("task")
    if task not in TASKS:
        raise RunError(
            f"{run.path} is a run of model.task={task}, which puts customers into no segments; "
            "name a run of a clusterer, of RFM or of a classifier"
        )
    if not (run.path / runs.PIPELINE).is_file():
        raise RunError(
            f"{run.path} holds no model; say evaluation.final_model=true in a run whose segments "
            "are to be followed"
        )
    schema = read_yaml(run.path / runs.MODEL_SCHEMA)
    if not (isinstance(schema.get("columns"), dict) and isinstance(schema.get("segments"), list)):
        raise RunError(f"{run.path / runs.MODEL_SCHEMA} is damaged: columns or segments are not")
    if schema.get("id") is None:
        raise DataError(
            f"the customers of {run.path} have no ids, by which they could be found again; say "
            "dataset.id=COLUMN in a run whose segments are to be followed"
        )
    return {**schema, "task": task}


def _recorded(run: runs.Run) -> ExperimentConfig:
    """Return the recorded config; keys that came with a later segexp have their defaults."""
    content = asdict(load_config([], [shipped_conf()]))
    for section, values in read_yaml(run.path / runs.CONFIG).items():
        if section in ("evaluation", "run") and isinstance(values, dict):
            content[section] |= values
    return replace(config_from_dict(content), dataset=recorded_dataset(run))


def _sort_words(words: Sequence[str]) -> tuple[Thresholds, Settings, dict[str, Any]]:
    """Return thresholds, settings, and keys of the data set."""
    own: dict[str, Any] = {}
    reading: dict[str, Any] = {}
    for override in parse_words(words):
        section, _, key = override.key_or_group.partition(".")
        plain = not (override.is_delete() or override.is_add() or override.is_sweep_override())
        if section not in ("migration", "dataset") or not key or not plain:
            raise ConfigError(
                f"{override.input_line}: a word is migration.NAME=VALUE or dataset.NAME=VALUE"
                f"{did_you_mean(section, ['migration', 'dataset'])}"
            )
        (own if section == "migration" else reading)[key] = override.value()
    settings = [*asdict(Settings())]
    known = [*asdict(Thresholds()), *settings]
    for name in own:
        if name not in known:
            raise ConfigError(
                f"there is no key migration.{name}{did_you_mean(name, known)}; "
                f"there are {', '.join(known)}"
            )
    chosen = Settings(**{name: own.pop(name) for name in settings if name in own})
    return Thresholds.of(own), chosen, reading


def _later_config(
    recorded: DatasetConfig,
    schema: Mapping[str, Any],
    table: str | os.PathLike[str] | None,
    reading: Mapping[str, Any],
    revenue: str | None,
) -> DatasetConfig:
    """Return the data set of the second period."""
    if table is None and not reading:
        example = (
            "dataset.transactions.reference_date=2011-12-10" if recorded.is_log else "later.csv"
        )
        raise ConfigError(f"nothing says who the customers are later; say for example {example}")
    if not recorded.is_log and table is None:
        raise ConfigError("name the table of the customers later, a CSV or Parquet file")
    content = asdict(recorded)
    log = content["transactions"]
    keys = [*READING, "duplicate_ids", "duplicate_rows"]
    if recorded.is_log:
        log |= dict.fromkeys(DATES)
        keys += ["path", *(f"transactions.{name}" for name in log if name not in LEARNED)]
    elif table is not None:
        is_parquet = os.fspath(table).lower().endswith(".parquet")
        content |= {"reader": "parquet" if is_parquet else "csv"}
    for key, value in reading.items():
        if key not in keys:
            known = [f"dataset.{name}" for name in keys]
            raise ConfigError(
                f"dataset.{key}={value} is not how the customers later are read"
                f"{did_you_mean(f'dataset.{key}', known)}; there are {', '.join(known)}"
            )
        owner = log if key.startswith("transactions.") else content
        owner[key.removeprefix("transactions.")] = value
    if recorded.is_log and log["end"] is None:
        log["end"] = log["reference_date"]
    if table is not None:
        content |= {"name": Path(table).name, "path": os.fspath(table), "downloads": {}}
    config = _checked(content)
    return config if recorded.is_log else _with_roles(config, schema, revenue, target=None)


def _checked(dataset: Mapping[str, Any]) -> DatasetConfig:
    return config_from_dict(
        asdict(load_config([], [shipped_conf()])) | {"dataset": dataset}
    ).dataset


def _with_roles(
    config: DatasetConfig, schema: Mapping[str, Any], revenue: str | None, target: str | None
) -> DatasetConfig:
    """Return a data set of tables whose roles are those of the model, and of no other column."""
    columns = schema["columns"]
    by_role = {
        role: [name for name, column in columns.items() if column["role"] == role]
        for role in ("numeric", "categorical", "date")
    }
    if revenue is not None and revenue not in by_role["numeric"]:
        by_role["numeric"].append(revenue)
    levels = {
        name: list(column["levels"])
        for name, column in columns.items()
        if column["role"] == "ordinal"
    }
    rules = {name: rule for name, rule in config.rules.items() if name in {*columns, target}}
    return replace(
        config, id=schema["id"], target=target, numeric=by_role["numeric"],
        categorical=by_role["categorical"], ordinal=levels, date=by_role["date"], ignore=[],
        other_columns="ignore", rules=rules,
    )  # fmt: skip


def _known_name(later: DatasetConfig) -> str | None:
    """Return the name of the second period if it is known before that is loaded."""
    if not later.is_log:
        return Path(later.paths[0]).name
    day = later.transactions.day("reference_date")
    return None if day is None else day.isoformat()


# --- the periods -----------------------------------------------------------------------------


def _first_period(
    run: runs.Run, dataset: Dataset, schema: Mapping[str, Any], revenue: str | None
) -> Period:
    recorded = run.manifest.get("dataset", {}).get("fingerprint")
    if dataset.fingerprint != recorded:
        raise RunError(
            f"the data of {run.path} changed since: their fingerprint was {recorded}, and is "
            f"{dataset.fingerprint}; the first period is what the run was made from"
        )
    name = _period_name(dataset, dataset.name)
    _check_ids(name, dataset)
    dataset, earned = _without_revenue(dataset, schema, revenue)
    if schema["task"] != "clustering":
        return _scored(run, name, dataset, earned)
    made = run.read_customers()
    if list(made["id"].astype(str)) != list(dataset.ids.astype(str)):
        raise RunError(f"{run.path / runs.CUSTOMERS} is damaged: its ids are not those of the data")
    ids = pd.Index(dataset.ids, dtype=object)
    segments = pd.Series(made["segment"].astype(str).to_numpy(dtype=object), index=ids)
    unlike = pd.Series(made["unlike_anybody"].to_numpy(dtype=bool), index=ids)
    return Period(name, dataset, segments, unlike, earned)


def _second_period(
    run: runs.Run,
    dataset: Dataset,
    config: DatasetConfig,
    schema: Mapping[str, Any],
    revenue: str | None,
) -> Period:
    name = _period_name(dataset, Path(config.paths[0]).name if config.paths else dataset.name)
    _check_ids(name, dataset)
    dataset, earned = _without_revenue(dataset, schema, revenue)
    return _scored(run, name, dataset, earned)


def _scored(run: runs.Run, name: str, dataset: Dataset, earned: pd.Series[Any] | None) -> Period:
    """Give the customers of a period their segments by the saved model."""
    found = predict_table(run, dataset.X)
    ids = pd.Index(dataset.ids, dtype=object)

    def column(which: str) -> pd.Series[Any] | None:
        if which not in found.names:
            return None
        return pd.Series(found.table[found.names[which]].to_numpy(), index=ids)

    segments = column("segment")
    if segments is None:
        raise RunError(f"the model of {run.path} gives no segments")
    return Period(name, dataset, segments.astype(object), column("unlike_anybody"), earned)


def _period_name(dataset: Dataset, otherwise: str) -> str:
    return str((dataset.log or {}).get("reference_date") or otherwise)


def _check_ids(name: str, dataset: Dataset) -> None:
    repeated = dataset.ids[dataset.ids.duplicated()]
    if len(repeated):
        raise DataError(
            f"{name}: {repeated.nunique():,} ids of column {dataset.ids.name!r} occur more than "
            f"once, e.g. {repeated.iloc[0]!r}; a customer can be followed by an id of its own only"
        )


def _check_shared(before: Period, after: Period) -> None:
    if not after.segments.index.isin(before.segments.index).any():
        first, second = (period.segments.index[0] for period in (before, after))
        raise DataError(
            f"{before.name} and {after.name} have no customer in common; the ids look like "
            f"{first!r} and {second!r}"
        )


def _without_revenue(
    dataset: Dataset, schema: Mapping[str, Any], revenue: str | None
) -> tuple[Dataset, pd.Series[Any] | None]:
    """Take the revenue of each customer from the table, and out of it if it is no feature."""
    ids = pd.Index(dataset.ids, dtype=object)
    if dataset.totals is not None:
        return dataset, pd.Series(dataset.totals["revenue"].to_numpy(dtype=float), index=ids)
    if revenue is None:
        return dataset, None
    earned = pd.Series(dataset.X[revenue].to_numpy(dtype=float), index=ids)
    features = [name for name in dataset.X.columns if name in schema["columns"]]
    return replace(dataset, X=dataset.X[features]), earned


# --- the figures -----------------------------------------------------------------------------


def _drift(before: Period, after: Period, counted: pd.DataFrame, stability: pd.DataFrame) -> Drift:
    sizes, features = stability.iloc[0], stability.iloc[1:]
    return Drift(
        psi=float(sizes["psi"]),
        psi_by_chance=float(sizes["by_chance"]),
        features={
            name: (float(index), float(chance))
            for name, index, chance in zip(
                features["figure"], features["psi"], features["by_chance"], strict=True
            )
        },
        unlike_share=None if after.unlike is None else float(after.unlike.mean()),
        retention=retained(counted),
    )


def _silhouettes(
    pipeline: Pipeline,
    periods: Sequence[Period],
    known: Sequence[str],
    recorded: ExperimentConfig,
) -> list[float]:
    """Return the mean silhouette of the old segments in each period, in the space of the model."""
    number = {name: i for i, name in enumerate(known)}
    found = []
    for period in periods:
        with warnings.catch_warnings():  # of categories that are new, which the notes count
            warnings.simplefilter("ignore")
            Z = pipeline[:-1].transform(period.dataset.X)
        quality = internal_quality(
            Z,
            [number.get(name, -1) for name in period.segments],
            metrics=("silhouette",),
            distance=getattr(pipeline[-1], "distance_", None),
            max_silhouette_rows=recorded.evaluation.silhouette_rows,
            seed=recorded.run.seed,
        )
        found.append(quality.values["silhouette"])
    return found


def _refit(pipeline: Pipeline, after: Period) -> tuple[Refit | None, list[str]]:
    """Fit the pipeline, with the parameters of the saved one, on the later customers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            last = clone(pipeline).fit(after.dataset.X)[-1]
    except ValueError as error:  # too few customers for so many segments, a column without values
        cause = " ".join(str(error).split())[:200]
        return None, [f"the pipeline could not be refitted on {after.name}: {cause}"]
    names = np.array([*last.names_, NOISE], dtype=object)  # -1 is the last
    labels = names[np.asarray(last.labels_)]
    # Names of its own, such as those of RFM, say the same in both periods; numbers do not.
    numbered = all(name.isdecimal() for name in last.names_)
    mapping = (
        align(after.segments, labels, fixed=(NOISE,))
        if numbered
        else {str(name): str(name) for name in dict.fromkeys(labels)}
    )
    segments = pd.Series(labels, index=after.segments.index).map(mapping)
    ari = float(adjusted_rand_score(after.segments.to_numpy(), labels))
    return Refit(segments, mapping, ari), []


def _replicated(pipeline: Pipeline, X: pd.DataFrame, n: int, seed: int) -> float | None:
    """Return what segments of the first period agree by when only the customers are others.

    Replication analysis (McIntyre and Blashfield 1980, Multivar. Behav. Res. 15:225-238): the
    customers are split in halves at random, and those of one half get their segments by a fit on
    the other and by one of their own, as the later customers do. The figure is the adjusted Rand
    index that a twentieth of the splits fall below; None without any.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        rows = rng.permutation(len(X))
        old, new = (X.iloc[half] for half in np.array_split(rows, 2))
        with warnings.catch_warnings(), contextlib.suppress(ValueError):  # as the refit may fail
            warnings.simplefilter("ignore")
            fitted, refitted = clone(pipeline).fit(old), clone(pipeline).fit(new)
            given = fitted[-1].assign(fitted[:-1].transform(new)).segment
            found.append(adjusted_rand_score(given, refitted[-1].labels_))
    return float(np.quantile(found, UNLUCKY)) if found else None


def _notes(run: runs.Run, before: Period, after: Period) -> list[str]:
    notes = [
        f"{period.name} is synthetic, and says nothing of real customers"
        for period in (before, after)
        if period.dataset.synthetic
    ]
    if before.dataset.fingerprint == after.dataset.fingerprint:
        notes.append("both periods are the same data")
    if (run.path / runs.SEGMENTATION).is_file():
        same = run.read_segmentation()["assignment"].get("same_as_fitted")
        if isinstance(same, float) and same < 1:
            notes.append(
                f"the rule for other customers gives {1 - same:.1%} of those of the first period "
                "another segment than the fit did: so many moves are its doing"
            )
    said = {"missing", "constant", "role"}
    notes += [f"{after.name}: {f.message}" for f in after.dataset.findings if f.code not in said]
    return notes


def _windows(before: Period, after: Period) -> tuple[str, ...]:
    """Say how two periods of a log lie to each other, unless the second follows on the first."""
    first, second = before.dataset.log, after.dataset.log
    if first is None or second is None or before.dataset.fingerprint == after.dataset.fingerprint:
        return ()
    begins = first["first"], second["first"]
    ends = first["reference_date"], second["reference_date"]
    if ends[1] < ends[0]:
        return (
            f"the second period ends before the first ({ends[1]}, not after {ends[0]}): time runs "
            f"backwards in these tables, who is {GONE} came later and who is {NEW} came before",
        )
    if begins[1] <= begins[0] and before.segments.index.isin(after.segments.index).all():
        return (
            f"the second period ({begins[1]} to {ends[1]}) holds the first ({begins[0]} to "
            f"{ends[0]}): nobody can be {GONE} and revenue can only add up; "
            "dataset.transactions.start=DAY lets it begin later",
        )
    return ()


def _customers_table(moves: Any, refit: Refit | None) -> pd.DataFrame:
    table = customer_moves(*moves).rename(columns={"from": "before", "to": "after"})
    if refit is not None:
        table.insert(2, "refitted", refit.segments.reindex(table.index))
    known = [name for name in table if not table[name].isna().all()]
    return table[known].rename_axis("id").reset_index()


# --- the folder ------------------------------------------------------------------------------


def default_folder(found: Migration) -> Path:
    """Return the folder in the run's that is named after the second period."""
    return _folder(found.run, found.after.name, is_log=found.after.dataset.log is not None)


def _folder(run: Path, name: str, *, is_log: bool) -> Path:
    return run / f"migration-{name if is_log else Path(name).stem}"


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Check that a migration can be written to a folder.

    Raises
    ------
    DataError
        It is a file, a run directory, or has content and ``force`` does not allow to replace it.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder with -o")
    if (folder / runs.MANIFEST).exists():
        raise DataError(f"{folder} is a run directory; name another folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise DataError(f"{folder} is there already; say --force to replace it, or -o OUT")


def write_migration(found: Migration, folder: Path, *, force: bool = False) -> None:
    """Write tables, verdict and figures to a folder, which is made if it is not there.

    Raises
    ------
    DataError
        See :func:`check_folder`; or the folder cannot be made.
    RunError
        A file cannot be written.
    """
    check_folder(folder, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made: {error.strerror or error}; name another with -o"
        ) from error
    writer = runs.RunWriter(folder, {})
    drawn = {
        FLOW: flow(found.transitions, found.order, (found.before.name, found.after.name)),
        HEAT_MAP: heat_map(found.matrix, (found.before.name, found.after.name)),
    }
    for name, figure in drawn.items():
        for kind, content in render(figure).items():
            writer.write_bytes(f"{name}.{kind}", content)
    writer.write_csv(TRANSITIONS, found.transitions)
    writer.write_csv(RETENTION, found.retention)
    writer.write_csv(PSI, found.stability)
    writer.write_csv(CUSTOMERS, found.customers)
    writer.write_json(VERDICT, found.to_dict())
