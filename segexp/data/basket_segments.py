"""The segments of the customers of baskets: by RFM, of a run, or from a table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

import segexp.runs as runs
from segexp.config.schema import DatasetConfig
from segexp.data.findings import Finding, counted
from segexp.data.sources import Progress
from segexp.data.transactions import Baskets, load_customers
from segexp.errors import ConfigError, DataError
from segexp.rfm import ROLES, RFMScorer, RFMSegments

BY_RFM = "rfm"
KEY = "dataset.transactions.segments"


def with_segments(baskets: Baskets, config: DatasetConfig, progress: Progress | None) -> Baskets:
    """Return baskets with the segment of each one's customer, where the config names segments.

    Baskets of customers without a segment have none. The fingerprint covers who is in which
    segment, as rules of other segments are another result.

    Raises
    ------
    ConfigError
        If the baskets have no customers, or there is no such run or table.
    DataError
        If the table cannot be read, names a customer twice, or knows none of these.
    """
    source = config.transactions.segments
    if source is None:
        return baskets
    if baskets.customers is None:
        raise ConfigError(f"{KEY}={source}: these baskets have no customers")
    of_customer = _by_rfm(config, progress) if source == BY_RFM else _recorded(Path(source))
    segments = baskets.customers.astype(object).map(of_customer)
    if segments.isna().all():
        raise DataError(
            f"{KEY}={source} knows none of the customers of these baskets, for example "
            f"{baskets.customers.iloc[0]!r}"
        )
    n_missing = int(segments.isna().sum())
    without = counted(n_missing, "basket")
    found = Finding("no_segment", f"{without} of customers without a segment", n_missing)
    return replace(
        baskets,
        segments=segments,
        fingerprint=_fingerprint(baskets.fingerprint, baskets.customers, segments),
        findings=(*baskets.findings, *([found] if n_missing else [])),
    )


def _fingerprint(known: str, customers: pd.Series[Any], segments: pd.Series[Any]) -> str:
    """Hash the baskets with the segment of each of their customers, whatever the order."""
    pairs = {
        (str(customer), None if pd.isna(segment) else str(segment))
        for customer, segment in zip(customers, segments, strict=True)
    }
    content = json.dumps([known, sorted(pairs, key=repr)])
    return hashlib.sha256(content.encode()).hexdigest()


def _by_rfm(config: DatasetConfig, progress: Progress | None) -> pd.Series[Any]:
    """Return the RFM segment of each customer of the log, by fifths and the shipped rules."""
    log = replace(config.transactions, features=list(ROLES), segments=None)
    found = load_customers(replace(config, transactions=log), progress)
    scores = RFMScorer().fit_transform(found.table).to_numpy()
    named = RFMSegments()
    labels = named.fit_predict(scores)
    return pd.Series([named.segment_names_[label] for label in labels], index=found.ids)


def _recorded(path: Path) -> pd.Series[Any]:
    """Return the segments of a run, or of a table with the columns ``id`` and ``segment``."""
    if path.is_dir():
        run = runs.open_run(path)
        if not (run.path / runs.CUSTOMERS).is_file():
            raise ConfigError(f"{KEY}={path}: this run found no segments of customers")
        table = run.read_customers()
    elif path.is_file():
        is_parquet = path.suffix == ".parquet"
        try:
            table = pd.read_parquet(path) if is_parquet else pd.read_csv(path, dtype=str)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{KEY}={path} cannot be read: {' '.join(str(error).split())}"
            ) from error
    else:
        raise ConfigError(
            f"{KEY}={path}: there is no such run or table; say {BY_RFM}, a run directory, or a CSV "
            f"or Parquet file with the columns id and segment"
        )
    if not {"id", "segment"} <= set(table.columns):
        raise DataError(
            f"{KEY}={path} needs the columns id and segment, it has {', '.join(map(str, table))}"
        )
    ids = table["id"].astype(str)
    if ids.duplicated().any():
        raise DataError(f"{KEY}={path} names the customer {ids[ids.duplicated()].iloc[0]!r} twice")
    return pd.Series(table["segment"].astype(str).to_numpy(), index=ids.to_numpy())
