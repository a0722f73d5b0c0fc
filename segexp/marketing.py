"""What marketing asks of segments: revenue, who is at risk, who is worth most, who responded.

In-sample: the figures describe the customers that the segments were made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

import segexp.runs as runs
from segexp.figures.look import render
from segexp.figures.responses import response_rates_figure
from segexp.figures.rfm import score_heatmaps, segment_bars
from segexp.responses import response_rates, response_test
from segexp.rfm import ROLES, RFMScorer
from segexp.rfm_lists import at_risk, high_value, minimum_data, rfm_table


@dataclass(frozen=True)
class Marketing:
    """Tables by the name of their file, figures by theirs, and what is to be said."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, bytes] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)  # in values that JSON can hold
    notes: tuple[str, ...] = ()

    def __or__(self, other: Marketing) -> Marketing:
        return Marketing(
            self.tables | other.tables,
            self.figures | other.figures,
            self.facts | other.facts,
            self.notes + other.notes,
        )


def purchases(
    customers: pd.DataFrame,
    X: pd.DataFrame,
    totals: pd.DataFrame,
    log: Mapping[str, Any],
    scorer: RFMScorer | None = None,
) -> Marketing:
    """Sum up what the customers of each segment bought, and list those to look after.

    Parameters
    ----------
    customers : DataFrame
        ``id`` and ``segment``, one row per customer.
    X : DataFrame
        Their features, in the same order.
    totals : DataFrame
        ``orders``, ``revenue`` and ``returned``, in the same order.
    log : mapping
        Counts and dates of the log.
    scorer : RFMScorer, optional
        Fitted; fifths of these customers if there is none, or it leaves a score out.

    Returns
    -------
    Marketing
        Empty where recency, frequency and monetary value are not among the features.
    """
    if not set(ROLES) <= set(X.columns):
        return Marketing()
    if scorer is None or set(scorer.edges_) != set(ROLES):
        scorer = RFMScorer().fit(X)
    known = [name for name in (*ROLES, "interpurchase") if name in X]
    parts = [customers[["id", "segment"]], X[known], scorer.transform(X), totals]
    table = pd.concat(parts, axis=1)
    by_segment, n = rfm_table(table), scorer.n_scores
    return Marketing(
        tables={
            runs.RFM: by_segment,
            runs.AT_RISK: at_risk(table, n_scores=n),
            runs.HIGH_VALUE: high_value(table, n_scores=n),
        },
        figures=_rendered(
            rfm_scores=score_heatmaps(table, n), segment_revenue=segment_bars(by_segment)
        ),
        notes=(*scorer.notes_, *minimum_data(log, table)),
    )


def responses(
    labels: NDArray[np.int_], names: Sequence[str], outcome: pd.Series[Any], name: str
) -> Marketing:
    """Count how the customers of each segment responded.

    Parameters
    ----------
    labels : ndarray of int of shape (n,)
    names : sequence of str
        Of the segments.
    outcome : Series of shape (n,)
        What the clusterer was not shown.
    name : str
        Of the outcome.
    """
    if not len(names):
        return Marketing()
    rates = response_rates(labels, names, outcome)
    return Marketing(
        tables={runs.RESPONSES: rates},
        figures=_rendered(responses=response_rates_figure(rates, name)),
        facts={"responses": {"outcome": name, **asdict(response_test(labels, names, outcome))}},
    )


def _rendered(**drawn: Figure) -> dict[str, bytes]:
    return {
        f"{name}.{kind}": content
        for name, figure in drawn.items()
        for kind, content in render(figure).items()
    }
