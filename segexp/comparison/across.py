"""Configs ranked across data sets."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segexp.comparison.rows import HIDDEN, place, signature, telling_configs
from segexp.comparison.tables import Table
from segexp.metrics import metric_by_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_EXACT, _DRAWS = 50_000, 20_000  # null ranks that are listed, or drawn

_FEW_DATASETS = 10  # up to here no approximation is trusted


@dataclass(frozen=True)
class Ranks:
    """Configs ranked across data sets, as in Demsar (2006)."""

    metric: str
    datasets: tuple[str, ...]
    labels: tuple[str, ...]
    ranks: Floats  # (n_datasets, n_labels), 1 is best, ties share their mean rank
    mean_ranks: Floats  # (n_labels,)
    friedman_p: float  # of all permutations of few ranks, else of Iman and Davenport's F
    critical_difference: float | None  # of Nemenyi's test; None where Friedman finds nothing
    groups: tuple[tuple[str, ...], ...]  # labels that the critical difference does not separate


def rank_across(
    values: ArrayLike, datasets: Sequence[str], labels: Sequence[str], metric: str, alpha: float
) -> Ranks:
    r"""Rank models on several data sets, and say which the ranks cannot separate.

    Parameters
    ----------
    values : array-like of float, shape (n_datasets, n_labels)
        Means of the metric.
    alpha : float
        Level of both tests.

    Notes
    -----
    With N data sets and k models of mean ranks :math:`R_j` [1]_: Friedman's
    :math:`\chi_F^2 = \frac{12N}{k(k+1)} \left(\sum_j R_j^2 - \frac{k(k+1)^2}{4}\right)` is taken
    to Iman and Davenport's :math:`F_F = \frac{(N-1)\chi_F^2}{N(k-1) - \chi_F^2}` with k - 1 and
    (k - 1)(N - 1) degrees of freedom. Of up to ten data sets that is too rough, and p is the
    share of permutations of each data set's ranks in which :math:`\sum_j R_j^2` is as large: of
    all where they can be listed, else of 20,000 drawn ones (with the observed one among them).
    p is never below :math:`(k!)^{1-N}`, the chance of one order everywhere.

    Where p is at most ``alpha``, models whose mean ranks are nearer than Nemenyi's
    :math:`CD = q_\alpha \sqrt{k(k+1)/(6N)}` are not separated (:math:`q_\alpha`: studentised range
    over :math:`\sqrt 2`); else none are.

    References
    ----------
    .. [1] Demsar (2006). Statistical comparisons of classifiers over multiple data sets. JMLR 7,
       1-30.
    """
    import numpy as np
    from scipy.stats import rankdata

    sign = -1.0 if metric_by_name(metric).greater_is_better else 1.0
    # Rounded: 0.1 + 0.2 and 0.3 are a tie.
    ranks = rankdata(np.round(sign * np.asarray(values, dtype=np.float64), 12), axis=1)
    return _judged(ranks, datasets, labels, metric, alpha)


def _judged(
    ranks: Floats, datasets: Sequence[str], labels: Sequence[str], metric: str, alpha: float
) -> Ranks:
    import numpy as np
    from scipy.stats import studentized_range

    n, k = ranks.shape
    means = ranks.mean(axis=0)
    p = _p_of_permutations(ranks) if n <= _FEW_DATASETS else _p_of_f(ranks)
    critical = None
    if p <= alpha:
        q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
        critical = q * math.sqrt(k * (k + 1) / (6 * n))
    return Ranks(
        metric, tuple(datasets), tuple(labels), ranks, means, p, critical,
        _not_separated(means, labels, math.inf if critical is None else critical),
    )  # fmt: skip


def _p_of_permutations(ranks: Floats) -> float:
    """Return the share of permutations within rows whose column sums are as far apart."""
    import numpy as np

    n, k = ranks.shape
    # The order of the first row says nothing: the columns are no different.
    is_listed = (n - 1) * math.lgamma(k + 1) <= math.log(_EXACT)
    if is_listed:
        sums = ranks[:1]
        for row in ranks[1:]:
            orders = np.array(list(itertools.permutations(row)))
            sums = (sums[:, None, :] + orders[None]).reshape(-1, k)
    else:
        rng = np.random.default_rng(0)
        sums = np.tile(ranks[0], (_DRAWS, 1))
        for row in ranks[1:]:
            sums += rng.permuted(np.tile(row, (_DRAWS, 1)), axis=1)
    # Ranks are halves, so the squares are exact.
    as_large = int(((sums**2).sum(axis=1) >= (ranks.sum(axis=0) ** 2).sum()).sum())
    return as_large / len(sums) if is_listed else (as_large + 1) / (len(sums) + 1)


def _p_of_f(ranks: Floats) -> float:
    """Return the p value of Iman and Davenport's F."""
    from scipy.special import fdtrc

    n, k = ranks.shape
    means = ranks.mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * (float((means**2).sum()) - k * (k + 1) ** 2 / 4)
    left = n * (k - 1) - chi2
    least = max(math.exp(-(n - 1) * math.lgamma(k + 1)), 1e-300)
    if left <= 1e-9:
        return least
    return max(least, float(fdtrc(k - 1, (k - 1) * (n - 1), (n - 1) * chi2 / left)))


def _not_separated(
    means: Floats, labels: Sequence[str], critical: float
) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups of two labels or more whose mean ranks are that near."""
    order = sorted(range(len(labels)), key=lambda i: means[i])
    groups: list[tuple[str, ...]] = []
    last_end = 0
    for start in range(len(order)):
        end = start
        while end < len(order) and means[order[end]] - means[order[start]] < critical:
            end += 1
        if end - start > 1 and end > last_end:
            groups.append(tuple(labels[i] for i in order[start:end]))
            last_end = end
    return tuple(groups)


def ranks_of(tables: Sequence[Table], alpha: float) -> tuple[Ranks | None, str]:
    """Rank the configs that stand in tables of several data sets, and say what is left out.

    None below 2 data sets or 3 configs. A config is ranked within a data set as in its table.
    """
    import numpy as np
    from scipy.stats import rankdata

    if len({_data(table) for table in tables}) < 2:
        return None, ""
    note = ""
    for kind, metric in dict.fromkeys((table.kind, table.metric) for table in tables):
        of_kind = [table for table in tables if (table.kind, table.metric) == (kind, metric)]
        of_data: dict[tuple[str, str], Table] = {}
        for table in of_kind:
            of_data.setdefault(_data(table), table)
        if len(of_data) < 2:
            continue
        firsts = [[row.entries[0] for row in table.rows] for table in of_data.values()]
        telling = iter(telling_configs([entry for members in firsts for entry in members]))
        rows = [
            {signature(next(telling), (*HIDDEN, "dataset.")): row for row in table.rows}
            for table in of_data.values()
        ]
        common = [own for own in rows[0] if all(own in others for others in rows)]
        every = {own: row.label for others in reversed(rows) for own, row in others.items()}
        if len(common) < 3:
            note = note or (
                f"no ranks across data sets by {metric}: {len(common)} of {len(every)} configs "
                f"are judged on each of the {len(of_data)} data sets, and ranks need three"
            )
            continue
        names = Counter(name for name, _ in of_data)
        places = []
        for others in rows:
            own_places = [_rounded(place(others[own], kind, metric_by_name(metric)))
                          for own in common]  # fmt: skip
            order = sorted(set(own_places))
            places.append([order.index(place) for place in own_places])
        ranks = _judged(
            np.asarray(rankdata(places, axis=1), dtype=np.float64),
            [name if names[name] == 1 else f"{name} {print_[:8]}" for name, print_ in of_data],
            [rows[0][own].label for own in common],
            metric,
            alpha,
        )
        left_out = [label for own, label in every.items() if own not in common]
        others_by = {
            table.metric for table in tables if (table.kind, table.metric) != (kind, metric)
        }
        return ranks, _left_out(left_out, len(of_kind) - len(of_data), sorted(others_by))
    return None, note or "no ranks across data sets: they are ranked by different metrics"


def _data(table: Table) -> tuple[str, str]:
    data = table.rows[0].entries[0].manifest["dataset"]
    return data["name"], data["fingerprint"]


def _rounded(place: tuple[bool, bool, float]) -> tuple[bool, bool, float]:
    return place[0], place[1], round(place[2], 12)


def _left_out(labels: Sequence[str], n_tables: int, metrics: Sequence[str]) -> str:
    said = []
    if labels:
        some = ", ".join([*labels[:6], *([f"{len(labels) - 6} more"] if len(labels) > 6 else [])])
        said.append(f"configs that are not judged on every data set: {some}")
    if n_tables:
        said.append(f"{n_tables} further {'table' if n_tables == 1 else 'tables'} of a data set")
    if metrics:
        said.append(f"tables by {', '.join(metrics)}")
    return f"the ranks across data sets leave out {'; and '.join(said)}" if said else ""
