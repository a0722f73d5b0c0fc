"""Recency and frequency, models of value, and rules of baskets."""

from __future__ import annotations

import math
from typing import Any

from segexp.checks.readings import (
    Check,
    Readings,
    RunCheck,
    at,
    dataset_facts,
    held_out_mean,
    mapping,
    number,
    word,
)

# Below it Klaviyo shows no RFM report: fifths of fewer customers are too small to compare.
RFM_CUSTOMERS = 500
# And a shorter log shows those who buy seldom as having left.
RFM_DAYS = 180


def too_few_customers_for_rfm(run: Readings) -> RunCheck | None:
    """The log is too small, or too short, for scores of recency, frequency and value."""
    if run.rfm is None:
        return None
    log, n, short = mapping(dataset_facts(run).get("log")), int(run.rfm["customers"].sum()), []
    if n < RFM_CUSTOMERS:
        short.append(f"{n:,} customers (about {RFM_CUSTOMERS:,} are needed)")
    days = _days(log.get("first"), log.get("last"))
    if days < RFM_DAYS:
        short.append(f"{days:.0f} days (about {RFM_DAYS} are needed)")
    if not short:
        return None
    return RunCheck(
        "too_few_customers_for_rfm",
        f"the log holds only {' and '.join(short)}",
        "a fifth of few customers is a handful, and in a short log a customer who buys seldom "
        "looks like one who left",
        "use a longer log, or fewer scores (dataset.transactions and n_scores of the map)",
    )


def value_not_converged(run: Readings) -> RunCheck | None:
    """The optimiser of a value model did not come to its end."""
    found = mapping(run.value)
    failed = [name for name in ("purchases", "spend") if at(found, name, "converged") is False]
    folds = [word(note) for note in _texts(found.get("notes")) if "did not converge" in word(note)]
    if not failed and not folds:
        return None
    said = [f"the final model of {' and '.join(failed)} did not converge"] if failed else []
    return RunCheck(
        "value_not_converged",
        "; ".join([*said, *folds]),
        "its parameters are where the optimiser stopped and not the most likely ones; expected "
        "purchases and their standard errors mean little",
        "use more customers or a longer log, leave out extreme customers, or another model",
    )


# A fifth: budgets that are planned on the total miss by as much.
TOTAL_BIAS = 0.2


def biased_total(run: Readings) -> RunCheck | None:
    """Expected purchases or spend are in sum far from what happened in the holdout."""
    holdout = mapping(at(run.value, "holdout"))
    gaps = {}
    for what in ("purchases", "spend"):
        expected, actual = (number(holdout.get(f"{by}_{what}")) for by in ("predicted", "actual"))
        if actual > 0 and abs(expected / actual - 1) >= TOTAL_BIAS:
            gaps[what] = expected / actual - 1
    if not gaps:
        return None
    words = " and ".join(f"{what} by {gap:+.0%}" for what, gap in gaps.items())
    return RunCheck(
        "biased_total",
        f"the expected totals of held-out customers miss what happened: {words}",
        "the order of the customers may be right, but a budget that rests on the sum is not",
        "look for a season or a campaign in the holdout period; use a longer calibration period",
    )


# The spend model supposes 0; Fader, Hardie and Lee (2005, JMR 42:415-430) take 0.06 for harmless.
SPEND_CORRELATION = 0.3


def spend_depends_on_frequency(run: Readings) -> RunCheck | None:
    """Frequent customers spend more (or less) per purchase, which the spend model rules out."""
    found = number(at(run.value, "spend", "correlation_of_frequency_and_spend"))
    if not abs(found) >= SPEND_CORRELATION:
        return None
    return RunCheck(
        "spend_depends_on_frequency",
        f"frequency and mean spend correlate by {found:+.2f}",
        "the Gamma-Gamma model supposes that they are independent, so that it values frequent "
        f"customers too {'low' if found > 0 else 'high'}",
        "value the groups of customers apart, or read the values as an order only",
    )


# Four rules of five; the others were luck in the baskets that were mined.
RULES_KEPT = 0.8
# Ten points of confidence that a reader of the list would have counted on.
CONFIDENCE_DROP = 0.1


def rules_do_not_hold(run: Readings) -> RunCheck | None:
    """Association rules are weaker on baskets that they were not mined from."""
    kept, drop = held_out_mean(run, "rules_kept"), held_out_mean(run, "confidence_drop")
    if not (kept < RULES_KEPT or drop > CONFIDENCE_DROP):
        return None
    said = [f"{kept:.0%} of the rules reach min_confidence"] if not math.isnan(kept) else []
    said += [f"confidence drops by {drop:.2f}"] if not math.isnan(drop) else []
    return RunCheck(
        "rules_do_not_hold",
        f"on held-out baskets {' and '.join(said)}",
        "rules were found among very many candidates, and the strongest of them by luck",
        "raise model.estimator.min_support, or keep only the rules that every fold finds "
        "(n_folds_found in rules.csv)",
    )


def no_rules(run: Readings) -> RunCheck | None:
    """No association rule passes the thresholds."""
    if number(at(run.baskets, "n_rules")) != 0:
        return None
    return RunCheck(
        "no_rules",
        "no association rule passes the thresholds",
        "the baskets are too few or too small for them, or items are named too finely",
        word(at(run.baskets, "advice") or "lower model.estimator.min_support or min_confidence"),
    )


# ---- reading ------------------------------------------------------------------------------------


def _texts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _days(first: Any, last: Any) -> float:
    import pandas as pd

    days = (pd.to_datetime(last, errors="coerce") - pd.to_datetime(first, errors="coerce")).days
    return number(days)


CHECKS: tuple[Check, ...] = (
    too_few_customers_for_rfm,
    value_not_converged,
    biased_total,
    spend_depends_on_frequency,
    rules_do_not_hold,
    no_rules,
)
