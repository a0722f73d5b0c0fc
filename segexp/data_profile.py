"""What the columns of a table are like, how they hang together, and what tells its segments apart.

Everything is a number that JSON can hold, so that a run can leave it for its report. Whatever is
said of a column alone, or of a column by segment, is of all rows; what is said of pairs of columns
is of a sample above ``MAX_ROWS`` rows, and the profile holds how many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from segexp.clustering.quality import check_labels
from segexp.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Profile: TypeAlias = dict[str, Any]

MAX_ROWS = 20_000  # of which pairs of columns are compared; standard error of a correlation .007
MAX_COLUMNS = 40  # that are compared with each other
MAX_LEVELS = 15  # of a category that are listed, the most frequent ones
MAX_SHARED = 7  # levels whose share in each segment is listed; as many as there are colours
MAX_BINS = 40
MAX_BARS = 30  # whole numbers with no more values than this get a bar for each
MAX_PERIODS = 40  # bars of a date
MAX_TEXT = 120  # letters of a level; the whole is in the table
N_EXTREMES = 5  # outliers that are listed, at each end
N_CELLS = 10  # of a number, of about as many customers each, where a segment is told from it
LEAST_PER_CELL = 5  # customers for each segment, as Cochran 1954 asks of a table

# What is worth a sentence. An effect must also be beyond chance, at this level.
SIGNIFICANCE = 0.001
TELLING_SHARE = 0.02  # of the uncertainty about the segment
STRONG = 0.3  # a medium correlation, as Cohen 1988 calls it
SAME = 0.98  # two columns of which one is enough
MISSING_PATTERN = 0.1  # a small effect, as Cohen 1988 calls it
LEAST_MISSING = 10  # cells, and as many known ones, for a pattern
MUCH_MISSING = 0.05
FAR_OUT = 10.0  # in interquartile ranges beyond the quartile
MANY_OUTLIERS = 0.05
MANY_ZEROS = 0.5
NEARLY_CONSTANT = 0.99
UNEVEN = 3.0  # times as many customers in the largest segment as in the smallest
UNIQUE_SHARE = 0.95  # texts of which more than this share are different tell customers, not groups
LEAST_ROWS = 20  # of fewer no column is said to be an id, or two to be the same

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PERIODS = {"h": "hour", "D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}


def profile_table(
    X: pd.DataFrame,
    y: ArrayLike | None,
    segments: Sequence[str],
    *,
    labels: ArrayLike | None = None,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Profile:
    """Describe a table of customers.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
        Features before preprocessing. Their dtypes are their roles: numbers, dates, ordered
        categories; anything else is a category. Infinite numbers count as missing.
    y : array-like of int of shape (n,), or None
        Codes of the known segments; -1 is left out.
    segments : sequence of str
        Names of the known segments, in the order of their codes.
    labels : array-like of int of shape (n,), optional
        Segments that were found; -1 is noise, and left out.
    names : sequence of str
        Of the found segments; by default the numbers.
    seed : int
        Of the sample for pairs of columns.

    Returns
    -------
    dict
        In values that JSON can hold; the same arguments give the same. What is not defined, such
        as the skewness of one number, is None.

        ``n_rows``, ``n_columns``, ``n_compared`` (rows of which pairs are compared), ``seed``.

        ``columns``: one entry per column: ``name``, ``role``, ``missing`` (cells),
        ``missing_share``, ``n_unique``, ``top_share`` (of the most frequent value among the known
        ones), and by role

        * numeric: ``min, max, mean, sd`` (n - 1), ``quantiles`` at 5, 25, 50, 75, 95%, ``skew``
          (adjusted Fisher-Pearson G1; Joanes and Gill 1998, The Statistician 47), ``whole``,
          ``zero_share``, ``histogram`` and ``outliers``: beyond 1.5 interquartile ranges from
          the quartiles (Tukey 1977, Exploratory Data Analysis), None where the middle half is
          one value.
        * categorical, ordinal: ``levels``, the 15 most frequent ones by count (ordinal: in their
          order), ``other_levels`` and ``other_count``, ``entropy`` in bits (Shannon 1948). Of
          texts that are nearly all different none is listed: they may name customers.
        * date: ``min, max`` as ISO text and a ``histogram`` by the finest of hour, day, week,
          month, quarter and year that needs no more than 40 bars.

        ``missing``: ``cells``, ``complete_rows`` and ``patterns``, see Notes.

        ``associations``: ``columns``, and as matrices ``values`` and ``kinds``, see Notes.

        ``target`` and ``found``: how the known and the found segments differ, see Notes; None
        without. Of found segments that is in-sample: they were made from these columns.

        ``odd``: names of ``constant``, ``nearly_constant`` (99% one value) and ``id_like``
        columns, and ``same``, pairs of columns with an association of 0.98 or more.

    Raises
    ------
    DataError
        If there is no row or no column, or the segments do not fit the rows or their names.

    Notes
    -----
    A histogram has bins of 2 IQR / n^(1/3) (Freedman and Diaconis 1981). Where that would be more
    than 40 over the whole range, it covers what lies within 3 interquartile ranges from the
    quartiles, and ``below`` and ``above`` count the others. Whole numbers of up to 30 values get
    one bar each.

    The association of two columns is ``spearman`` of numbers, dates and ordinals (Spearman 1904;
    -1 to 1); ``cramers_v`` of two categories, or of a category and an ordinal, corrected for bias
    (Bergsma 2013, J. Korean Statistical Society 42); ``eta`` of a category and a number or date:
    the correlation ratio of the ranks, corrected for bias, which is the root of the epsilon
    squared of Kelley (1935, PNAS 21) in a Kruskal-Wallis test. The last two go from 0 to 1. Cells
    that are missing in either column are left out.

    A pattern of missing cells is an association, beyond chance at the level .001, of what is
    missing in a column with the segments, with the values of another column, or with what is
    missing there; the 20 strongest are kept, weak ones too.

    What a feature tells about segments is ranked by ``share``: how much of the uncertainty
    (entropy) about the segment goes once the feature is known, alone: the uncertainty coefficient
    of Theil (1970, American J. Sociology 76). Numbers and dates are cut into ten cells of about
    as many customers, by the mean rank of equal values, or into fewer, so that each has five
    customers for each segment (Cochran 1954, Biometrics 10); levels with fewer are taken together;
    what is missing is a cell too. Of the mutual information its expectation under independence,
    (r - 1)(c - 1) / 2n, is taken off (Miller 1955; Roulston 1999, Physica D 125), and ``p_value``
    is that of the likelihood ratio test. Beside it ``eta_squared`` of the values and
    ``epsilon_squared`` of the ranks, or ``cramers_v``. ``groups`` (of numbers and dates) holds
    ``n``, ``mean`` and the quantiles of each segment; ``shares`` (of the others, and of up to 7
    whole numbers) the share of each of ``levels`` among what is known in each segment, and last
    that of all others.
    """
    if not len(X) or not len(X.columns):
        raise DataError("a profile needs at least one row and one column")
    columns = [_Column.of(str(name), X.iloc[:, i]) for i, name in enumerate(X.columns)]
    described = [_describe(column) for column in columns]
    target = _Segments.of(y, segments, len(X)) if y is not None else None
    found = _Segments.of(labels, names, len(X)) if labels is not None else None
    of_target, of_found = (each and _tell_apart(columns, each) for each in (target, found))

    rows = _sample(len(X), seed)
    order = [entry["column"] for entry in (of_target or of_found or {"features": []})["features"]]
    compared = _first_columns(columns, order)
    sampled = [column.take(rows) for column in compared]
    associations = _associations(sampled)
    segments_in_sample = target and replace(target, codes=target.codes[rows])
    return {
        "n_rows": len(X),
        "n_columns": len(columns),
        "n_compared": len(rows),
        "seed": seed,
        "columns": described,
        "missing": {
            "cells": sum(entry["missing"] for entry in described),
            "complete_rows": int(np.logical_and.reduce([c.known for c in columns]).sum()),
            "patterns": _missing_patterns(sampled, segments_in_sample),
        },
        "associations": associations,
        "target": of_target,
        "found": of_found,
        "odd": _odd(described, associations),
    }


# ---- columns -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A column as numbers, as codes of levels, or both (ordinal)."""

    name: str
    role: str
    values: Floats | None  # NaN where missing; dates in microseconds, ordinals as codes
    codes: Integers | None  # -1 where missing; categories from the most frequent level on
    levels: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, column: pd.Series[Any]) -> _Column:
        dtype = column.dtype
        if pd.api.types.is_datetime64_any_dtype(dtype):
            return cls(name, "date", _microseconds(column), None)
        if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype):
            values = column.to_numpy(dtype=float, na_value=np.nan, copy=True)
            values[np.isinf(values)] = np.nan
            return cls(name, "numeric", values, None)
        if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
            codes = column.cat.codes.to_numpy().astype(np.int64)
            levels = tuple(_cut(str(level)) for level in dtype.categories)
            return cls(name, "ordinal", np.where(codes < 0, np.nan, codes), codes, levels)
        return cls(name, "categorical", None, *_by_frequency(column))

    @property
    def known(self) -> NDArray[np.bool_]:
        if self.codes is not None:
            return self.codes >= 0
        return ~np.isnan(self._numbers)

    @property
    def is_measured(self) -> bool:
        """Whether it is a number or a date."""
        return self.codes is None

    @property
    def _numbers(self) -> Floats:
        return self.values if self.values is not None else np.empty(0)

    @cached_property
    def sorted(self) -> Floats:
        """The numbers that are known, in order."""
        return self._numbers[self.known][self._order]

    @cached_property
    def _order(self) -> Integers:
        return np.argsort(self._numbers[self.known])

    @cached_property
    def starts(self) -> Integers:
        """Where in ``sorted`` each value begins."""
        return np.flatnonzero(np.append(True, np.diff(self.sorted) != 0)[: len(self.sorted)])

    @cached_property
    def ranks(self) -> Floats:
        """Of the numbers that are known, in the order of the rows; equal ones get their mean."""
        sizes = np.diff(np.append(self.starts, len(self.sorted)))
        ranks = np.empty(len(self.sorted))
        ranks[self._order] = np.repeat(self.starts + (sizes + 1) / 2, sizes)
        return ranks

    def take(self, rows: Integers) -> _Column:
        return replace(
            self,
            values=None if self.values is None else self.values[rows],
            codes=None if self.codes is None else self.codes[rows],
        )


def _microseconds(column: pd.Series[Any]) -> Floats:
    times = pd.DatetimeIndex(column).tz_localize(None).as_unit("us")
    return np.where(times.isna(), np.nan, times.asi8.astype(float))


def _iso(microseconds: float) -> str:
    return pd.Timestamp(int(microseconds), unit="us").isoformat()


def _by_frequency(column: pd.Series[Any]) -> tuple[Integers, tuple[str, ...]]:
    found, values = pd.factorize(column)
    # 1 and "1" read the same.
    texts, names = pd.factorize(np.array([str(value) for value in values], dtype=object))
    codes = np.where(found < 0, -1, texts[found] if len(texts) else -1)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    order = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))
    places = np.append(np.argsort(order), -1)  # the last is that of code -1
    return places[codes].astype(np.int64), tuple(_cut(names[i]) for i in order)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _describe(column: _Column) -> dict[str, Any]:
    known = column.known
    n_missing = int((~known).sum())
    entry: dict[str, Any] = {
        "name": column.name,
        "role": column.role,
        "missing": n_missing,
        "missing_share": n_missing / len(known),
    }
    if column.codes is not None:
        return entry | _describe_levels(column)
    most = int(np.diff(np.append(column.starts, len(column.sorted))).max(initial=0))
    entry |= {
        "n_unique": len(column.starts),
        "top_share": most / len(column.sorted) if most else None,
    }
    return entry | (_describe_dates if column.role == "date" else _describe_numbers)(column)


def _describe_levels(column: _Column) -> dict[str, Any]:
    counts = _level_counts(column)
    n = int(counts.sum())
    shares = counts[counts > 0] / max(1, n)
    n_unique = len(shares)
    listed = np.sort(np.argsort(-counts, kind="stable")[:MAX_LEVELS])
    if column.role == "categorical" and n >= LEAST_ROWS and n_unique > UNIQUE_SHARE * n:
        listed = listed[:0]
    return {
        "n_unique": n_unique,
        "top_share": float(shares.max()) if n else None,
        "levels": [[column.levels[code], int(counts[code])] for code in listed],
        "other_levels": n_unique - int((counts[listed] > 0).sum()),
        "other_count": n - int(counts[listed].sum()),
        "entropy": _entropy(counts) / math.log(2) if n else None,
    }


def _level_counts(column: _Column) -> Integers:
    codes = column.codes if column.codes is not None else np.empty(0, dtype=np.int64)
    return np.bincount(codes[codes >= 0], minlength=len(column.levels))


def _describe_numbers(column: _Column) -> dict[str, Any]:
    numbers = column.sorted
    n = len(numbers)
    if n == 0:
        return dict.fromkeys(
            ("min", "max", "mean", "sd", "quantiles", "skew", "zero_share", "histogram",
             "outliers")
        ) | {"whole": False}  # fmt: skip
    scale = _scale(numbers)
    scaled = numbers / scale
    mean, sd = float(scaled.mean()), float(scaled.std(ddof=1)) if n > 1 else None
    whole = bool(np.abs(numbers[[0, -1]]).max() < 2**53 and (numbers == np.floor(numbers)).all())
    return {
        "min": float(numbers[0]),
        "max": float(numbers[-1]),
        "mean": _finite(float(mean) * scale),
        "sd": None if sd is None else _finite(float(sd) * scale),
        "quantiles": [_finite(float(q) * scale) for q in _at(scaled, _QUANTILES)],
        "skew": _skew(scaled),
        "whole": whole,
        "zero_share": float((numbers == 0).mean()),
        "histogram": _histogram(column, scale, whole=whole),
        "outliers": _outliers(scaled, scale),
    }


def _scale(numbers: Floats) -> float:
    """A divisor that keeps squares and ranges finite; 1 but for monstrous numbers."""
    largest = float(np.abs(numbers).max(initial=0.0))
    return largest if largest > 1e100 else 1.0


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _skew(numbers: Floats) -> float | None:
    n, sd = len(numbers), float(numbers.std())
    # What is left of a constant after rounding is not a spread.
    if n < 3 or sd <= 1e-12 * float(np.abs(numbers).max()):
        return None
    z = (numbers - numbers.mean()) / sd
    g1 = float((z * z * z).mean())
    return _finite(g1 * math.sqrt(n * (n - 1)) / (n - 2))


def _at(numbers: Floats, shares: Sequence[float]) -> Floats:
    """Quantiles of sorted numbers, between two of them in proportion, as numpy's are."""
    places = np.asarray(shares) * (len(numbers) - 1)
    low = np.floor(places).astype(int)
    high = np.ceil(places).astype(int)
    return numbers[low] + (places - low) * (numbers[high] - numbers[low])


def _histogram(column: _Column, scale: float, *, whole: bool) -> dict[str, Any]:
    if whole and len(column.starts) <= MAX_BARS:
        counts = np.diff(np.append(column.starts, len(column.sorted)))
        values = column.sorted[column.starts]
        return {"kind": "values", "values": values.tolist(), "counts": counts.tolist()}
    numbers = column.sorted / scale
    edges = _edges(numbers, whole=whole)
    # The last bin holds its upper edge, as numpy's do.
    places = np.searchsorted(numbers, edges[:-1]).tolist()
    places.append(int(np.searchsorted(numbers, edges[-1], side="right")))
    return {
        "kind": "bins",
        "edges": [_finite(float(edge) * scale) for edge in edges],
        "counts": np.diff(places).tolist(),
        "below": places[0],
        "above": len(numbers) - places[-1],
    }


def _edges(numbers: Floats, *, whole: bool) -> Floats:
    low, high = float(numbers[0]), float(numbers[-1])
    q1, q3 = _at(numbers, [0.25, 0.75])
    width = 2 * (q3 - q1) / len(numbers) ** (1 / 3)
    if width <= 0:  # the middle half is one value: Sturges 1926
        width = (high - low) / (math.ceil(math.log2(len(numbers))) + 1)
    elif (high - low) / width > MAX_BINS:
        low, high = max(low, q1 - 3 * (q3 - q1)), min(high, q3 + 3 * (q3 - q1))
    if whole:
        low, high = math.floor(low), math.ceil(high)
        step = math.ceil(max(width, (high - low + 1) / MAX_BINS))
        return low - 0.5 + step * np.arange(math.ceil((high - low + 1) / step) + 1.0)
    n_bins = min(MAX_BINS, math.ceil((high - low) / width)) if width > 0 else 1
    return np.linspace(low, high, max(1, n_bins) + 1)


def _outliers(numbers: Floats, scale: float) -> dict[str, Any] | None:
    q1, q3 = _at(numbers, [0.25, 0.75])
    if q3 <= q1:
        return None
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    n_low, n_high = int(np.searchsorted(numbers, low)), int((numbers > high).sum())
    return {
        "low_fence": _finite(float(low) * scale),
        "high_fence": _finite(float(high) * scale),
        "n_low": n_low,
        "n_high": n_high,
        "lowest": [_finite(float(x) * scale) for x in numbers[: min(n_low, N_EXTREMES)]],
        "highest": [_finite(float(x) * scale) for x in numbers[::-1][: min(n_high, N_EXTREMES)]],
    }


def _describe_dates(column: _Column) -> dict[str, Any]:
    microseconds = column.sorted
    if len(microseconds) == 0:
        return {"min": None, "max": None, "histogram": None}
    first, last = (pd.Timestamp(int(microseconds[i]), unit="us") for i in (0, -1))
    unit = next((u for u in _PERIODS if _n_periods(first, last, u) <= MAX_PERIODS), "Y")
    periods = pd.DatetimeIndex(microseconds.astype("datetime64[us]")).to_period(unit).asi8
    step = math.ceil(_n_periods(first, last, unit) / MAX_PERIODS)
    counts = np.bincount((periods - periods[0]) // step)
    starts = [first.to_period(unit) + int(step * i) for i in range(len(counts))]
    return {
        "min": first.isoformat(),
        "max": last.isoformat(),
        "histogram": {
            "kind": "periods",
            "unit": _PERIODS[unit] if step == 1 else f"{step} {_PERIODS[unit]}s",
            "starts": [start.start_time.isoformat() for start in starts],
            "counts": counts.tolist(),
        },
    }


def _n_periods(first: pd.Timestamp, last: pd.Timestamp, unit: str) -> int:
    return int(last.to_period(unit).ordinal - first.to_period(unit).ordinal) + 1


# ---- pairs of columns --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Association:
    kind: str
    value: float | None  # None where it is not defined
    p_value: float = 1.0


def _sample(n: int, seed: int) -> Integers:
    if n <= MAX_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAX_ROWS, replace=False))


def _first_columns(columns: Sequence[_Column], order: Sequence[str]) -> list[_Column]:
    """The columns that are compared: the most telling ones, in the order of the table."""
    if len(columns) <= MAX_COLUMNS:
        return list(columns)
    wanted = set((order or [column.name for column in columns])[:MAX_COLUMNS])
    return [column for column in columns if column.name in wanted]


def _associations(columns: Sequence[_Column]) -> dict[str, Any]:
    n = len(columns)
    values: list[list[float | None]] = [[None] * n for _ in range(n)]
    kinds = [["" for _ in range(n)] for _ in range(n)]
    p_values: list[list[float]] = [[1.0] * n for _ in range(n)]
    for i, a in enumerate(columns):
        for j, b in enumerate(columns[:i]):
            found = _associate(a, b)
            values[i][j] = values[j][i] = found.value
            kinds[i][j] = kinds[j][i] = found.kind
            p_values[i][j] = p_values[j][i] = found.p_value
    return {
        "columns": [column.name for column in columns],
        "values": values,
        "kinds": kinds,
        "p_values": p_values,
    }


def _associate(a: _Column, b: _Column) -> _Association:
    both = a.known & b.known
    if a.values is not None and b.values is not None:
        if both.all():
            return _spearman(a.ranks, b.ranks)
        return _spearman(stats.rankdata(a.values[both]), stats.rankdata(b.values[both]))
    if a.codes is not None and b.codes is not None:
        return _cramers_v(a.codes[both], b.codes[both])
    codes, values = (a.codes, b.values) if a.codes is not None else (b.codes, a.values)
    return _eta(values[both], codes[both])  # type: ignore[index]  # one has each


def _spearman(a: Floats, b: Floats) -> _Association:
    """Of ranks."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return _Association("spearman", None)
    value = min(1.0, max(-1.0, float(np.corrcoef(a, b)[0, 1])))
    # Of ranks the variance of Fisher's z is 1.06 / (n - 3) (Fieller, Hartley, Pearson 1957).
    z = math.atanh(min(abs(value), 1 - 1e-15)) * math.sqrt(max(0, len(a) - 3) / 1.06)
    return _Association("spearman", value, float(2 * stats.norm.sf(z)))


def _cramers_v(a: Integers, b: Integers) -> _Association:
    """Bias-corrected V of Bergsma (2013), and the p-value of Pearson's test."""
    cells = _Cells.of(a, b)
    n, r, c = cells.n, len(cells.rows), len(cells.columns)
    if n < 2 or min(r, c) < 2:
        return _Association("cramers_v", None)
    expected = cells.rows[cells.row] * cells.columns[cells.column]
    phi2 = float((cells.counts**2 / expected).sum()) - 1
    corrected = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    # With about as many levels as rows everything fits everything, and nothing is left.
    value = math.sqrt(corrected / least) if least > 1e-9 else 0.0
    return _Association(
        "cramers_v", min(1.0, value), float(stats.chi2.sf(n * phi2, (r - 1) * (c - 1)))
    )


def _eta(values: Floats, codes: Integers) -> _Association:
    """Root of the epsilon squared of the ranks, and the p-value of Kruskal and Wallis (1952)."""
    epsilon, explained, n_groups = _explained(stats.rankdata(values), codes)
    if epsilon is None or explained is None:
        return _Association("eta", None)
    p_value = float(stats.chi2.sf((len(values) - 1) * explained, n_groups - 1))
    return _Association("eta", math.sqrt(epsilon), p_value)


def _explained(values: Floats, codes: Integers) -> tuple[float | None, float | None, int]:
    """Epsilon squared (Kelley 1935, at least 0), eta squared, and the number of groups."""
    counts = np.bincount(codes) if len(codes) else np.zeros(0, dtype=np.int64)
    n, n_groups = len(values), int((counts > 0).sum())
    centred = values / _scale(values)
    centred = centred - (centred.mean() if n else 0.0)
    total = float(centred @ centred)
    if n_groups < 2 or n <= n_groups or total <= 0:
        return None, None, n_groups
    sums = np.bincount(codes, weights=centred)
    eta2 = min(1.0, float((sums**2 / np.maximum(counts, 1)).sum()) / total)
    return max(0.0, 1 - (1 - eta2) * (n - 1) / (n - n_groups)), eta2, n_groups


@dataclass(frozen=True)
class _Cells:
    """The cells of a table of two codes that are not empty."""

    n: int
    counts: Floats  # of each cell
    row: Integers  # of each cell
    column: Integers
    rows: Floats  # counts of the rows that are not empty
    columns: Floats

    @classmethod
    def of(cls, a: Integers, b: Integers) -> _Cells:
        a, rows = _compact(a)
        b, columns = _compact(b)
        flat = a * len(columns) + b
        if len(rows) * len(columns) <= 2 * len(a) + 1000:
            filled = np.bincount(flat, minlength=len(rows) * len(columns))
            cells = np.flatnonzero(filled)
            counts = filled[cells]
        else:
            cells, counts = np.unique(flat, return_counts=True)
        row, column = np.divmod(cells, max(1, len(columns)))
        return cls(len(a), counts.astype(float), row, column, rows, columns)


def _compact(codes: Integers) -> tuple[Integers, Floats]:
    """Number the codes that occur from 0 on, and count each."""
    if not len(codes):
        return codes, np.empty(0)
    shifted = codes - codes.min()
    counts = np.bincount(shifted)
    occurs = counts > 0
    return (np.cumsum(occurs) - 1)[shifted], counts[occurs].astype(float)


# ---- segments ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Segments:
    codes: Integers
    names: tuple[str, ...]

    @classmethod
    def of(cls, codes: ArrayLike, names: Sequence[str], n: int) -> _Segments:
        checked = check_labels(codes, n).astype(np.int64)
        n_segments = int(checked.max(initial=-1)) + 1
        names = names or [str(code) for code in range(n_segments)]
        if len(names) < n_segments:
            raise DataError(f"{n_segments} segments come with {len(names)} names")
        return cls(checked, tuple(map(str, names)))


def _tell_apart(columns: Sequence[_Column], segments: _Segments) -> dict[str, Any]:
    rows = np.flatnonzero(segments.codes >= 0)
    codes = segments.codes[rows]
    counts = np.bincount(codes, minlength=len(segments.names))
    everybody = len(rows) == len(segments.codes)
    members = columns if everybody else [column.take(rows) for column in columns]
    features = [_tell(column, codes, counts) for column in members]
    features.sort(key=lambda entry: -entry["share"])
    return {
        "segments": list(segments.names),
        "counts": counts.tolist(),
        "n_left_out": len(segments.codes) - len(rows),
        "entropy": _entropy(counts) / math.log(2),
        "features": features,
    }


def _tell(column: _Column, codes: Integers, counts: Integers) -> dict[str, Any]:
    entry: dict[str, Any] = {"column": column.name, "role": column.role}
    entry |= _information(column, codes)
    known = column.known
    if column.codes is not None:
        v = _cramers_v(column.codes[known], codes[known]).value
        return entry | {"cramers_v": v} | _shares(column, codes, len(counts))
    _, eta2, _ = _explained(column._numbers[known], codes[known])
    epsilon2, _, _ = _explained(column.ranks, codes[known])
    groups = _by_segment(column, codes, counts)
    entry |= {
        "eta_squared": eta2,
        "epsilon_squared": epsilon2,
        "groups": [_describe_group(group, column.role) for group in groups],
    }
    counted = _as_levels(column)
    return entry | (_shares(counted, codes, len(counts)) if counted else {})


def _by_segment(column: _Column, codes: Integers, counts: Integers) -> list[Floats]:
    """The numbers that are known of each segment, sorted."""
    known = codes[column.known]
    sorted_codes = known[column._order].astype(np.min_scalar_type(len(counts)))
    order = np.argsort(sorted_codes, kind="stable")
    ends = np.cumsum(np.bincount(known, minlength=len(counts)))
    return np.split(column.sorted[order], ends[:-1])


def _as_levels(column: _Column) -> _Column | None:
    """A few whole numbers, such as yes and no as 1 and 0, as levels; None of other columns."""
    levels = column.sorted[column.starts] if len(column.starts) <= MAX_SHARED else np.empty(0)
    is_whole = (np.abs(levels) < 1e6).all() and (levels == np.floor(levels)).all()
    if column.role != "numeric" or not is_whole or len(levels) < 2:
        return None
    codes = np.where(column.known, np.searchsorted(levels, column._numbers), -1)
    return replace(
        column, role="ordinal", codes=codes, levels=tuple(f"{level:.0f}" for level in levels)
    )


def _information(column: _Column, segments: Integers) -> dict[str, float]:
    """What knowing the column takes off the uncertainty about the segment."""
    least = LEAST_PER_CELL * len(np.unique(segments))
    cells = _Cells.of(_cell_codes(column, least), segments)
    entropy = _entropy(cells.columns)
    freedom = (len(cells.rows) - 1) * (len(cells.columns) - 1)
    if cells.n == 0 or freedom == 0:
        return {"information": 0.0, "share": 0.0, "p_value": 1.0}
    information = max(0.0, _entropy(cells.rows) + entropy - _entropy(cells.counts))
    beyond_chance = max(0.0, information - freedom / (2 * cells.n))
    return {
        "information": beyond_chance / math.log(2),
        "share": beyond_chance / entropy,
        "p_value": float(stats.chi2.sf(2 * cells.n * information, freedom)),
    }


def _cell_codes(column: _Column, least: int) -> Integers:
    """Levels, or parts of the numbers by rank, of about ``least`` customers; -1 where missing."""
    if column.codes is not None:
        # With a level for each customer any column would tell everything.
        is_rare = _level_counts(column) < least
        return np.where(np.append(is_rare, False)[column.codes], len(is_rare), column.codes)
    cells = np.full(len(column.known), -1, dtype=np.int64)
    # Equal numbers have the same rank, and so the same cell.
    ranks = column.ranks
    n_cells = min(N_CELLS, max(2, len(ranks) // least))
    cells[column.known] = (n_cells * (ranks - 0.5) / max(1, len(ranks))).astype(np.int64)
    return cells


def _entropy(counts: NDArray[Any]) -> float:
    """In nats."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log(shares)).sum())


def _shares(column: _Column, segments: Integers, n_segments: int) -> dict[str, Any]:
    """Share of the levels among the known cells of each segment; the last is that of the others."""
    counts = _level_counts(column)
    n_listed = MAX_SHARED if len(counts) > MAX_SHARED + 1 else len(counts)
    listed = np.sort(np.argsort(-counts, kind="stable")[:n_listed])
    place = np.full(len(counts) + 1, len(listed))
    place[listed] = np.arange(len(listed))
    known = column.known
    codes = column.codes[known] if column.codes is not None else np.empty(0, dtype=np.int64)
    width = len(listed) + 1
    table = np.bincount(segments[known] * width + place[codes], minlength=n_segments * width)
    table = table.reshape(n_segments, width)
    sums = table.sum(axis=1, keepdims=True)
    return {
        "levels": [column.levels[code] for code in listed],
        "n_other": len(counts) - len(listed),
        "shares": [
            (row / total).tolist() if total else None
            for row, total in zip(table, sums[:, 0], strict=True)
        ],
    }


def _describe_group(numbers: Floats, role: str) -> dict[str, Any]:
    if len(numbers) == 0:
        return {"n": 0, "mean": None, "quantiles": None}
    scale = _scale(numbers)
    quantiles = _at(numbers / scale, _QUANTILES)
    mean = float((numbers / scale).mean()) * scale
    say_it = _iso if role == "date" else _finite
    return {
        "n": len(numbers),
        "mean": say_it(mean),
        "quantiles": [say_it(float(quantile) * scale) for quantile in quantiles],
    }


# ---- what is missing, and what is odd ----------------------------------------------------------


def _missing_patterns(
    columns: Sequence[_Column], segments: _Segments | None
) -> list[dict[str, Any]]:
    found = [
        {"column": column.name, **pattern}
        for column in columns
        if min((~column.known).sum(), column.known.sum()) >= LEAST_MISSING
        for pattern in _patterns_of(column, columns, segments)
        if pattern["value"] > 0 and pattern["p_value"] < SIGNIFICANCE
    ]
    found.sort(key=lambda pattern: -pattern["value"])
    return found[:20]


def _patterns_of(
    column: _Column, columns: Sequence[_Column], segments: _Segments | None
) -> Iterator[dict[str, Any]]:
    absent = (~column.known).astype(np.int64)

    def pattern(kind: str, other: str | None, found: _Association) -> dict[str, Any]:
        return {
            "with": kind, "other": other, "kind": found.kind, "value": found.value or 0.0,
            "p_value": found.p_value,
        }  # fmt: skip

    if segments is not None:
        member = segments.codes >= 0
        found = _cramers_v(absent[member], segments.codes[member])
        rates = _rates(absent[member], segments.codes[member], len(segments.names))
        yield pattern("segment", None, found) | {"rates": rates}
    as_column = _Column(column.name, "categorical", None, absent)
    for other in columns:
        if other.name == column.name:
            continue
        yield pattern("values", other.name, _associate(as_column, other))
        theirs = (~other.known).astype(np.int64)
        if other.name > column.name and theirs.sum() >= LEAST_MISSING:
            yield pattern("missing", other.name, _cramers_v(absent, theirs))


def _rates(absent: Integers, codes: Integers, n: int) -> list[float | None]:
    counts = np.bincount(codes, minlength=n)
    sums = np.bincount(codes, weights=absent, minlength=n)
    return [float(s / c) if c else None for s, c in zip(sums, counts, strict=True)]


def _odd(columns: Sequence[Mapping[str, Any]], associations: Mapping[str, Any]) -> dict[str, Any]:
    constant = [entry["name"] for entry in columns if entry["n_unique"] <= 1]
    return {
        "constant": constant,
        "nearly_constant": [
            entry["name"]
            for entry in columns
            if entry["name"] not in constant and entry["top_share"] >= NEARLY_CONSTANT
        ],
        "id_like": [entry["name"] for entry in columns if _is_id_like(entry)],
        "same": [list(pair) for pair in pairs(associations) if abs(pair[3]) >= SAME],
    }


def _is_id_like(entry: Mapping[str, Any]) -> bool:
    """Texts nearly all different, or whole numbers all different."""
    n_known = sum(count for _, count in entry.get("levels", ())) + entry.get("other_count", 0)
    if entry["role"] == "categorical":
        return n_known >= LEAST_ROWS and entry["n_unique"] > UNIQUE_SHARE * n_known
    # Each value occurs once.
    is_whole = entry["role"] == "numeric" and entry["whole"]
    n_unique = entry["n_unique"]
    return bool(is_whole and n_unique >= LEAST_ROWS and entry["top_share"] * n_unique < 1.5)


def pairs(associations: Mapping[str, Any]) -> list[tuple[str, str, str, float]]:
    """Return the pairs of columns whose association is beyond chance, the strongest first.

    Parameters
    ----------
    associations : mapping
        Of a profile.

    Returns
    -------
    list of tuple
        Column, column, kind and value.
    """
    names = associations["columns"]
    found = [
        (names[j], names[i], associations["kinds"][i][j], associations["values"][i][j])
        for i in range(len(names))
        for j in range(i)
        if associations["values"][i][j] is not None
        and associations["p_values"][i][j] < SIGNIFICANCE
    ]
    return sorted(found, key=lambda pair: -abs(pair[3]))


# ---- in words ----------------------------------------------------------------------------------

MAX_SENTENCES = 8
MAX_NAME = 40  # letters of a name in a sentence


def say(profile: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what is worth knowing about a table, the most important first.

    Parameters
    ----------
    profile : mapping
        As :func:`profile_table` returns it.

    Returns
    -------
    tuple of str
        Up to 8 sentences. Each is true by a threshold of this module: a feature tells segments
        apart if it takes 2% off the uncertainty, columns move together from an association of 0.3
        on, both also beyond chance at the level .001; much is missing from 5% of the rows on; a
        value is far out 10 interquartile ranges beyond its quartile; outliers are many from 5%
        on, zeros from 50% on.
    """
    sentences = [
        *_say_telling(profile),
        *_say_odd(profile["odd"]),
        *_say_missing(profile),
        *_say_together(profile),
        *_say_sizes(profile["target"]),
        *_say_far_out(profile),
        *_say_zeros(profile),
    ]
    return tuple(sentences[:MAX_SENTENCES])


def _say_telling(profile: Mapping[str, Any]) -> Iterator[str]:
    found = profile["target"] or profile["found"]
    if found is None or len(found["segments"]) < 2:
        return
    which = "the segments" if profile["target"] else "the segments that were found"
    telling = [
        feature
        for feature in found["features"]
        if feature["share"] >= TELLING_SHARE and feature["p_value"] < SIGNIFICANCE
    ][:3]
    if not telling:
        yield (
            f"No column alone tells {which} apart: each takes less than {TELLING_SHARE:.0%} off "
            f"the uncertainty about a customer's segment, or no more than chance does."
        )
        return
    columns = listed([feature["column"] for feature in telling])
    shares = listed([f"{feature['share']:.0%}" for feature in telling])
    alone = "it takes" if len(telling) == 1 else "each alone, they take"
    yield (
        f"{columns} {'tells' if len(telling) == 1 else 'tell'} {which} apart most: {alone} "
        f"{shares} off the uncertainty about a customer's segment."
    )


def _say_odd(odd: Mapping[str, Any]) -> Iterator[str]:
    for names, one, several in (
        (odd["constant"], "has one value only", "have one value only each"),
        (odd["nearly_constant"], "is nearly constant", "are nearly constant"),
        (odd["id_like"], "differs from row to row, as an id does",
         "differ from row to row, as ids do"),
    ):  # fmt: skip
        if names:
            yield f"{listed(names)} {one if len(names) == 1 else several}."
    if odd["same"]:
        first, second, kind, value = odd["same"][0]
        more = f", and {len(odd['same']) - 1} more pairs so" if len(odd["same"]) > 1 else ""
        yield f"{listed([first, second])} say nearly the same ({measured(kind, value)}){more}."


def _say_missing(profile: Mapping[str, Any]) -> Iterator[str]:
    columns = sorted(profile["columns"], key=lambda entry: -entry["missing_share"])
    much = [entry for entry in columns if entry["missing_share"] >= MUCH_MISSING][:3]
    if much:
        first, *others = much
        also = [f"{cut_name(entry['name'])} in {entry['missing_share']:.0%}" for entry in others]
        said = f"{cut_name(first['name'])} is missing in {first['missing_share']:.0%} of the rows"
        yield f"{', '.join([said, *also])}."
    patterns = profile["missing"]["patterns"]
    for pattern in [one for one in patterns if one["value"] >= MISSING_PATTERN][:1]:
        with_what = {
            "segment": "it depends on the segment",
            "values": f"it depends on {cut_name(str(pattern['other']))}",
            "missing": f"it is so together with {cut_name(str(pattern['other']))}",
        }[pattern["with"]]
        name, strength = cut_name(pattern["column"]), measured(pattern["kind"], pattern["value"])
        yield f"{name} is not missing at random: {with_what} ({strength})."


def _say_together(profile: Mapping[str, Any]) -> Iterator[str]:
    strong = [pair for pair in pairs(profile["associations"]) if STRONG <= abs(pair[3]) < SAME]
    for first, second, kind, value in strong[:2]:
        verb = "move" if kind == "spearman" else "go"
        how = "against each other" if value < 0 else "together"
        yield f"{listed([first, second])} {verb} {how} ({measured(kind, value)})."


def _say_sizes(target: Mapping[str, Any] | None) -> Iterator[str]:
    if target is None:
        return
    sizes = sorted(zip(target["counts"], target["segments"], strict=True))
    (least, small), (most, large) = sizes[0], sizes[-1]
    if most >= UNEVEN * least:
        yield f"The segments are uneven: {large} has {most:,} customers, {small} has {least:,}."


def _say_far_out(profile: Mapping[str, Any]) -> Iterator[str]:
    numbers = [entry for entry in profile["columns"] if entry.get("outliers")]
    far = max(numbers, key=how_far_out, default=None)
    if far is not None and how_far_out(far) >= FAR_OUT:
        value, iqrs = farthest(far)
        yield (
            f"The value {value:,.6g} of {cut_name(far['name'])} lies {iqrs:,.0f} interquartile "
            f"ranges beyond the quartile."
        )
    shares = {entry["name"]: outlier_share(entry) for entry in numbers}
    if many := [name for name, share in shares.items() if share >= MANY_OUTLIERS]:
        most = max(many, key=lambda name: shares[name])
        rest = [name for name in many if name != most]
        others = f", as are many of {listed(rest)}" if rest else ""
        yield f"{shares[most]:.0%} of {cut_name(most)} are outliers by the rule of Tukey{others}."


def _say_zeros(profile: Mapping[str, Any]) -> Iterator[str]:
    zeros = [
        entry
        for entry in profile["columns"]
        if (entry.get("zero_share") or 0) >= MANY_ZEROS and entry["n_unique"] > 2
    ]
    if zeros:
        most = max(zeros, key=lambda entry: entry["zero_share"])
        yield f"{cut_name(most['name'])} is 0 for {most['zero_share']:.0%} of the customers."


def farthest(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Return the outlier of a numeric column that lies farthest out, and how far.

    Parameters
    ----------
    entry : mapping
        A column of a profile, with ``outliers``.

    Returns
    -------
    tuple of float
        The value, and its distance from the nearest quartile in interquartile ranges; NaN and 0
        without outliers.
    """
    _, q1, _, q3, _ = entry["quantiles"]
    ends = [
        (entry["outliers"][side][0], sign)
        for side, sign in (("lowest", -1), ("highest", 1))
        if entry["outliers"][side]
    ]
    found = [
        (value, (value / (q3 - q1) - (q3 if sign > 0 else q1) / (q3 - q1)) * sign)
        for value, sign in ends
    ]
    return max(found, key=lambda pair: pair[1], default=(math.nan, 0.0))


def how_far_out(entry: Mapping[str, Any]) -> float:
    """Return the second number of :func:`farthest`."""
    return farthest(entry)[1]


def outlier_share(entry: Mapping[str, Any]) -> float:
    """Return the share of the known values of a numeric column that are outliers."""
    histogram = entry["histogram"]
    n = sum(histogram["counts"]) + histogram.get("below", 0) + histogram.get("above", 0)
    return (entry["outliers"]["n_low"] + entry["outliers"]["n_high"]) / n


KINDS = {"spearman": "Spearman", "cramers_v": "Cramér's V", "eta": "eta"}


def measured(kind: str, value: float) -> str:
    """Say an association.

    Examples
    --------
    >>> measured("spearman", -0.264), measured("cramers_v", 0.5)
    ('Spearman -.26', "Cramér's V .50")
    """
    return f"{KINDS[kind]} {f'{value:.2f}'.replace('0.', '.')}"


def listed(words: Sequence[str], most: int = 3) -> str:
    """Join words as a sentence does; long ones are cut.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdefgh"))
    ('a', 'a, b and c', 'a, b, c and 5 more')
    """
    words = [cut_name(word) for word in words]
    shown = list(words) if len(words) <= most else [*words[:most], f"{len(words) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def cut_name(name: str) -> str:
    """Return a name as a sentence can hold it: without its middle above 40 letters."""
    half = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[: half - 1]}…{name[-half:]}"
