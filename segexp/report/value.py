"""What a report says of customer value: what was expected, what happened, where the value is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.report.page import (
    Block,
    Cell,
    Details,
    Fact,
    Facts,
    Figure,
    Items,
    Section,
    Table,
    Text,
    shown,
)
from segexp.report.source import Source

if TYPE_CHECKING:
    import pandas as pd

_HELD_OUT = (
    "Held out twice: of customers whom the models were not fitted on, in the time after their "
    "histories end."
)
_IN_SAMPLE = "In-sample: of the final model, which was fitted on the same customers."
MOST_CUSTOMERS = 25  # of the tables that name customers


def value_sections(source: Source) -> list[Section]:
    """Return the sections of a run of a value model."""
    found = source.value
    if found is None:
        why = f"What the model found cannot be shown: {source.why(runs.VALUE)}."
        return [Section("value", "Customer value", [Text(why, "note")])]
    children = [_holdout(source, found)]
    if "purchases" in found:
        children += [_matrix(source, found), _models(found)]
    if notes := [str(note) for note in found.get("notes", [])]:
        children.append(Section("value-notes", "Notes of the models", [Items(notes)]))
    return [Section("value", "Customer value", [], children)]


# ---- what happened -----------------------------------------------------------------------------


def _holdout(source: Source, found: Mapping[str, Any]) -> Section:
    holdout = found["holdout"]
    blocks: list[Block] = [
        Text(
            f"What {holdout['n_customers']:,.0f} customers did in the {holdout['days']:,.0f} days "
            f"of the holdout, and what was expected of them. {_HELD_OUT}"
        ),
        Facts(
            [
                Fact("purchases expected", shown(holdout["predicted_purchases"]),
                     f"{shown(holdout['actual_purchases'])} happened"),
                Fact("spend expected", shown(holdout["predicted_spend"]),
                     f"{shown(holdout['actual_spend'])} was spent"),
                Fact("customers who came back", shown(holdout["n_buyers"]),
                     f"of {holdout['n_customers']:,.0f}"),
            ]
        ),
        _totals(holdout),
    ]  # fmt: skip
    blocks += _calibration(source, holdout)
    return Section("value-holdout", "Expected and happened", blocks)


def _totals(holdout: Mapping[str, Any]) -> Table:
    actual = (holdout["actual_purchases"], holdout["actual_spend"])
    rows: list[list[Any]] = [["happened", actual[0], None, actual[1], None]]
    for name, total in {"expected by the model": holdout, **holdout["baselines"]}.items():
        purchases, spend = total["predicted_purchases"], total["predicted_spend"]
        rows.append([name, purchases, _gap(purchases, actual[0]), spend, _gap(spend, actual[1])])
    return Table(
        columns=("", "purchases", "beside what happened", "spend", "beside what was spent"),
        rows=rows, numeric=range(1, 5), sortable=False,
        caption="Totals of the holdout period, beside those of the baselines",
    )  # fmt: skip


def _gap(expected: float | None, actual: float | None) -> Cell:
    if expected is None or not actual:
        return Cell("–")
    return Cell(f"{expected / actual - 1:+.1%}", expected / actual - 1)


def _calibration(source: Source, holdout: Mapping[str, Any]) -> list[Block]:
    from segexp.value.figures import decile_calibration, frequency_calibration

    blocks: list[Block] = []
    deciles = source.deciles
    by_decile = source.picture(
        "calibration_deciles", None if deciles is None else lambda: decile_calibration(deciles)
    )
    if by_decile:
        blocks.append(
            Figure(
                "calibration_deciles", by_decile,
                "Customers in tenths by expected purchases: mean expected beside mean actual "
                "purchases and spend of each tenth.",
                f"A good model's two lines lie on each other. {_HELD_OUT}",
            )
        )  # fmt: skip
    if deciles is None:
        why = f"The tenths cannot be shown as a table: {source.why(runs.DECILES)}."
        blocks.append(Text(why, "note"))
    else:
        blocks.append(Details("The tenths as a table", [_means(deciles, "decile", "tenth")]))
    table = _table_of(holdout["by_frequency"])
    by_frequency = source.picture("calibration_by_frequency", lambda: frequency_calibration(table))
    if by_frequency:
        blocks.append(
            Figure(
                "calibration_by_frequency", by_frequency,
                "Mean expected beside mean actual purchases of customers, by how often they had "
                "bought again before.",
                _HELD_OUT,
            )
        )  # fmt: skip
    blocks.append(Details("The same as a table", [_means(table, "repeats", "repeats so far")]))
    return blocks


def _table_of(records: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame.from_records(records)


def _means(table: pd.DataFrame, by: str, head: str) -> Table:
    columns = ("n", "predicted_purchases", "actual_purchases", "predicted_spend", "actual_spend")
    return Table(
        columns=(head, "customers", "purchases expected", "happened", "spend expected", "spent"),
        rows=[[row[by], *(row[name] for name in columns)] for row in table.to_dict("records")],
        numeric=range(6),
        caption=f"Means per customer. {_HELD_OUT}",
    )


# ---- where the value is ------------------------------------------------------------------------


def _matrix(source: Source, found: Mapping[str, Any]) -> Section:
    from segexp.value.figures import matrix_heatmap

    matrix = source.value_matrix
    days = f"{found['horizon_days']:,.0f}"
    if matrix is None:
        why = f"The table of value and risk cannot be shown: {source.why(runs.VALUE_MATRIX)}."
        return Section("value-matrix", "Value and risk", [Text(why, "note")])
    blocks: list[Block] = [
        Text(
            f"What the customers are worth in the next {days} days, by the risk that they are gone "
            f"already. At stake is what the same customers would be worth more if all of them were "
            f"still customers: the high value ones at risk are the first to be written to. "
            f"{_IN_SAMPLE}"
        )
    ]
    if heat := source.picture("value_matrix", lambda: matrix_heatmap(matrix)):
        blocks.append(
            Figure(
                "value_matrix", heat,
                "Nine cells by value (low, middle, high) and risk (active, at risk, likely gone), "
                "each with its customers and its share of the value; the table has the numbers.",
                _IN_SAMPLE,
            )
        )  # fmt: skip
    blocks.append(
        Table(
            columns=("segment", "customers", "share", f"value of {days} days", "share of value",
                     "at stake", "probability of being active"),
            rows=[
                [
                    row["segment"], row["n"], Cell(f"{row['share']:.1%}", row["share"]),
                    row["clv"], Cell(f"{row['clv_share']:.1%}", row["clv_share"],
                                     share=row["clv_share"]),
                    row["clv_at_stake"], row["probability_alive"],
                ]
                for row in matrix.to_dict("records")
            ],
            numeric=range(1, 7),
            caption=f"Value and risk. {_IN_SAMPLE}",
        )
    )  # fmt: skip
    if surface := source.figure("probability_alive"):
        blocks.append(
            Figure(
                "probability_alive", surface,
                "The probability that a customer is still one, by purchases so far and the time "
                "since the last one.",
                "By the final model: who bought often and stays away is gone sooner than who "
                "always bought rarely.",
            )
        )  # fmt: skip
    blocks += _worth_a_letter(source)
    return Section("value-matrix", "Value and risk", blocks)


def _worth_a_letter(source: Source) -> list[Block]:
    """Return the customers with the most at stake."""
    customers = source.customers
    if customers is None or not {"clv_if_alive", "clv", "id"} <= set(customers):
        return []
    at_stake = (customers["clv_if_alive"] - customers["clv"]).sort_values(
        ascending=False, kind="stable"
    )
    first = customers.loc[at_stake.index[:MOST_CUSTOMERS]].assign(at_stake=at_stake)
    rows = [
        [str(row["id"]), row["segment"], row["at_stake"], row["clv"], row["probability_alive"],
         row["expected_spend"]]
        for row in first.to_dict("records")
    ]  # fmt: skip
    table = Table(
        columns=("customer", "segment", "at stake", "value", "probability of being active",
                 "spend per purchase"),
        rows=rows, numeric=range(2, 6),
        caption=f"The {len(rows)} of {len(customers):,} customers with the most at stake; all are "
        f"in {runs.CUSTOMERS}. {_IN_SAMPLE}",
    )  # fmt: skip
    return [Details("Customers with the most at stake", [table])]


# ---- the models --------------------------------------------------------------------------------


def _models(found: Mapping[str, Any]) -> Section:
    rows = []
    for what in ("purchases", "spend"):
        model = found[what]
        errors = model.get("standard_errors") or {}
        for name, value in model["parameters"].items():
            rows.append([f"{model['model']} ({what})", name, value, errors.get(name)])
    facts = [
        [what, model["model"], model["n_customers"], model["log_likelihood"],
         Cell("yes" if model["converged"] else "no", mark="" if model["converged"] else "look")]
        for what in ("purchases", "spend")
        for model in [found[what]]
    ]  # fmt: skip
    correlation = found["spend"].get("correlation_of_frequency_and_spend")
    return Section(
        "value-models", "The models",
        [
            Table(
                columns=("of", "model", "customers", "log likelihood", "converged"),
                rows=facts, numeric=(2, 3), sortable=False,
                caption=f"Fitted to all customers; times in units of "
                f"{found['purchases']['time_unit_days']:g} days",
            ),
            Table(
                columns=("model", "parameter", "value", "standard error"), rows=rows,
                numeric=(2, 3), sortable=False, caption="Parameters",
            ),
            Text(
                f"The spend model supposes that how often somebody buys says nothing of how much: "
                f"here the two have a correlation of {shown(correlation)}.",
                "quiet",
            ),
        ],
    )  # fmt: skip
