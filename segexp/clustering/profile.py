"""What the customers of each segment are like, in the units of the raw table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from segexp.clustering.quality import check_labels
from segexp.errors import DataError

Floats: TypeAlias = NDArray[np.float64]

NOISE = "noise"  # the name of the customers of no segment
MAX_LEVELS = 5  # of a category that are shown, the most frequent ones
OF_MAXIMUM = 0.25  # a deviation above this part of the largest segment mean marks a segment
OF_MEAN = 0.5  # and so does one above this part of the mean of all customers
# Of a rare level a few customers more are half as many again; that says nothing of a segment.
LEAST_SHARE_GAP = 0.05
LEAST_KNOWN = 10  # customers of a segment with a value, or all of them, for it to be marked


def profile(X: pd.DataFrame, labels: ArrayLike, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Describe each segment by the features of its customers.

    A feature marks a segment if its mean there deviates from the mean of all customers by more
    than 25% of the largest segment mean, or by more than 50% of the mean of all (the rule by
    which R's flexclust shades its bar charts; Dolnicar, Gruen and Leisch 2018, Market
    Segmentation Analysis, ch. 8). A feature with values below zero is measured from its smallest
    value, where it has an origin as an amount has it in zero. A share must also deviate by 5
    percentage points. Half of the customers of a segment, and ten of them or all, must have a
    value.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
        Features before preprocessing. Numbers are averaged; of anything else but dates, which are
        left out, the customers at each level are counted. Missing cells are left out.
    labels : array-like of int of shape (n,)
        Segments; -1 is noise.
    names : sequence of str, optional
        Of segment 0, 1 and so on; by default the numbers.

    Returns
    -------
    DataFrame
        One row per segment, and last one named ``noise`` if there is any. Columns: ``segment``,
        ``n``, ``share`` of all customers, ``markers`` in words, the strongest first; for each
        numeric column ``mean[...]`` and ``index[...]``, 100 times the mean over that of all
        customers (NaN where values are below zero, or all zero); for the five most frequent
        levels of each other column ``share[column=level]``; for each column with missing cells
        ``known[column]``, the customers who have a value.

    Raises
    ------
    DataError
        If there are not as many labels as rows, or fewer names than segments.

    Examples
    --------
    >>> X = pd.DataFrame({"age": [20, 30, 60, 70], "sex": ["f", "f", "m", "m"]})
    >>> found = profile(X, [1, 1, 0, 0], ["old", "young"])
    >>> found[["segment", "n", "mean[age]", "index[age]", "markers"]]
      segment  n  mean[age]  index[age]               markers
    0     old  2       65.0  144.444444  many sex=m, high age
    1   young  2       25.0   55.555556   many sex=f, low age
    """
    labels = check_labels(labels, len(X))
    n_segments = max(int(labels.max(initial=-1)) + 1, len(names or ()))
    names = list(names) if names is not None else [str(code) for code in range(n_segments)]
    if len(names) < n_segments:
        raise DataError(f"{n_segments} segments come with {len(names)} names")

    counts = np.bincount(labels + 1, minlength=n_segments + 1)
    # Noise, the first of the codes, is shown last, or not at all.
    order = np.append(np.arange(1, n_segments + 1), [0] if counts[0] else []).astype(int)
    columns: dict[str, Any] = {}
    markers: list[list[tuple[float, str]]] = [[] for _ in order]
    for feature in _features(X):
        means = feature.means(labels + 1, n_segments + 1)
        overall = feature.means(np.zeros(len(X), dtype=int), 1)[0]
        columns |= feature.columns(means[order], overall)
        known = feature.known(labels + 1, n_segments + 1)[order]
        if known.sum() < len(X):
            columns[f"known[{feature.column}]"] = known
        strengths = feature.strengths(means[1:], overall, means[order])
        strengths = np.where(is_well_known(known, counts[order]), strengths, 0)
        for row, strength in enumerate(strengths):
            if abs(strength) > 1 and (strength > 0 or not feature.has_opposite):
                words = feature.words(is_more=strength > 0)
                markers[row].append((abs(strength), words))
    return pd.DataFrame(
        {
            "segment": [*names, NOISE][: len(order)],
            "n": counts[order],
            "share": counts[order] / max(1, len(X)),
            "markers": [_in_words(found) for found in markers],
        }
        | columns
    )


def is_well_known(known: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
    """Return whether enough of the ``n`` customers of a segment have a value.

    Examples
    --------
    >>> is_well_known([1, 13, 60, 3], [114, 217, 110, 3]).tolist()
    [False, False, True, True]
    """
    known, n = np.asarray(known, dtype=float), np.asarray(n, dtype=float)
    return known >= np.minimum(n, np.maximum(LEAST_KNOWN, n / 2))


@dataclass(frozen=True)
class _Feature:
    """A numeric column, or a level of another one as 0 and 1."""

    column: str
    name: str
    values: Floats  # shape (n,), NaN where missing
    is_level: bool
    has_opposite: bool = False  # one of two levels: few of one are many of the other

    def means(self, codes: NDArray[np.int_], n_codes: int) -> Floats:
        is_known = ~np.isnan(self.values)
        sums = np.bincount(codes[is_known], weights=self.values[is_known], minlength=n_codes)
        counts = self.known(codes, n_codes)
        return sums / np.where(counts == 0, np.nan, counts)

    def known(self, codes: NDArray[np.int_], n_codes: int) -> NDArray[np.int_]:
        return np.bincount(codes[~np.isnan(self.values)], minlength=n_codes)

    @property
    def lowest(self) -> float:
        return float(np.min(self.values, initial=np.inf, where=~np.isnan(self.values)))

    def columns(self, means: Floats, overall: float) -> dict[str, Floats]:
        if self.is_level:
            return {f"share[{self.name}]": means}
        has_index = self.lowest >= 0 and overall > 0
        index = 100 * means / overall if has_index else np.full(len(means), np.nan)
        return {f"mean[{self.name}]": means, f"index[{self.name}]": index}

    def strengths(self, segments: Floats, overall: float, means: Floats) -> Floats:
        """Signed deviation of ``means`` over the least one that marks; 0 where too small."""
        origin = min(0.0, self.lowest)
        # The maximum of a share is that of the one and the other answer: 1.
        largest = 1.0 if self.is_level else np.nanmax([*segments, -np.inf]) - origin
        deviations = np.nan_to_num(means - overall)
        least = min(OF_MAXIMUM * largest, OF_MEAN * (overall - origin))
        if self.is_level:
            least = max(least, LEAST_SHARE_GAP)
        is_possible = np.isfinite(least) and least > 0
        return deviations / least if is_possible else np.zeros(len(means))

    def words(self, *, is_more: bool) -> str:
        if self.is_level:
            return f"{'many' if is_more else 'few'} {self.name}"
        return f"{'high' if is_more else 'low'} {self.name}"


def _features(X: pd.DataFrame) -> Iterator[_Feature]:
    for name in X.columns:
        column = X[name]
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            continue
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        if is_number and not pd.api.types.is_bool_dtype(column.dtype):
            values = column.to_numpy(dtype=float, na_value=np.nan)
            yield _Feature(str(name), str(name), values, is_level=False)
            continue
        codes, levels = pd.factorize(column)
        counts = np.bincount(codes[codes >= 0], minlength=len(levels))
        for code in np.argsort(-counts, kind="stable")[:MAX_LEVELS]:
            values = np.where(codes < 0, np.nan, codes == code)
            key = f"{name}={levels[code]}"
            yield _Feature(str(name), key, values, is_level=True, has_opposite=len(levels) == 2)


def _in_words(markers: list[tuple[float, str]]) -> str:
    strongest = sorted(markers, key=lambda marker: -marker[0])
    return ", ".join(words for _, words in strongest)
