"""Maximum likelihood on purchase histories: reading them, counting equal ones, climbing.

A purchase history is what the models of :mod:`segexp.value.models` know of a customer: ``repeats``
(days with a purchase, less one), ``span`` (days from the first to the last purchase) and
``tenure`` (days from the first purchase to the end of the observation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from segexp.errors import DataError, did_you_mean

Floats = NDArray[np.float64]
Objective = Callable[..., tuple[Floats, Floats]]
Descent = Callable[[Floats], tuple[float, Floats]]

HISTORY = ("repeats", "span", "tenure")
MOST_ROWS = 20_000  # of more different histories, a part finds where the climb of all begins
REACH = 10.0  # how far a log-parameter may be from 0, in units of the scaled data
GRADIENT_TOLERANCE = 1e-5  # of the mean log likelihood of a customer, by log-parameter
MOST_ERROR = 5.0  # a log-parameter with a larger standard error is not determined
SAME_SUMMIT = 1e-7  # two climbs that end so near each other, per customer, found the same


@dataclass(frozen=True)
class Histories:
    """Purchase histories, equal ones counted together; times in the unit of a model."""

    repeats: Floats  # shape (n,)
    span: Floats  # shape (n,)
    tenure: Floats  # shape (n,)
    weight: Floats  # shape (n,): how many customers

    def scaled(self, unit: float) -> Histories:
        """Return the same histories with times counted in ``unit``."""
        return Histories(self.repeats, self.span / unit, self.tenure / unit, self.weight)


@dataclass(frozen=True)
class Summit:
    """Where a climb ended."""

    parameters: Floats  # shape (n_parameters,), in the scale of the objective
    at_bound: tuple[int, ...]  # parameters that ran to the end of their range
    gradient_norm: float  # largest derivative of the mean log likelihood by a free log-parameter
    log_errors: Floats  # standard errors of the log-parameters; infinite where it is flat
    n_starts: int
    n_steps: int

    @property
    def vague(self) -> tuple[int, ...]:
        """Parameters that nothing determines, beside those at the end of their range."""
        return tuple(int(i) for i in np.flatnonzero(self.log_errors > MOST_ERROR))

    @property
    def converged(self) -> bool:
        """Whether this is a maximum that the customers determine, inside of every range."""
        level = self.gradient_norm <= GRADIENT_TOLERANCE
        return level and not self.at_bound and not self.vague

    def complaints(self, names: Sequence[str]) -> list[str]:
        """Say what is wrong, if anything is."""
        said = [
            f"{names[i]} ran to the {'upper' if self.parameters[i] > 1 else 'lower'} end of its "
            f"range"
            for i in self.at_bound
        ]
        if self.gradient_norm > GRADIENT_TOLERANCE:
            said.append(f"the climb ended on a slope of {self.gradient_norm:.2g} per customer")
        if self.vague and not self.at_bound:
            said.append(f"nothing determines {', '.join(names[i] for i in self.vague)}")
        return said


def read_columns(X: Any, names: Sequence[str]) -> Floats:
    """Return columns of a customer table as numbers.

    Returns
    -------
    ndarray of shape (n_customers, n_names)

    Raises
    ------
    DataError
        If there is no such column or it does not hold numbers.
    """
    if not isinstance(X, pd.DataFrame):
        raise DataError(
            f"a table with columns {', '.join(names)} is needed, got {type(X).__name__}"
        )
    for name in names:
        if name not in X:
            raise DataError(
                f"column {name!r} is not among the {X.shape[1]} features; value models need "
                f"{', '.join(names)} (dataset.transactions.features){did_you_mean(name, X.columns)}"
            )
    try:
        return X.loc[:, list(names)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"columns {', '.join(names)} must hold numbers: {error}") from error


def read_histories(X: Any, unit_days: float) -> tuple[Floats, Floats, Floats]:
    """Return repeats, span and tenure of each customer, times in units of ``unit_days`` days.

    Raises
    ------
    DataError
        Names the first customer whose history cannot be.
    """
    columns = read_columns(X, HISTORY)
    x, span, tenure = columns.T
    rules = (
        (~np.isfinite(columns).all(axis=1), "is missing or not finite"),
        ((columns < 0).any(axis=1), "is below 0"),
        (x != np.floor(x), "has a part of a repeat purchase"),
        (span > tenure, "has a span that is longer than its tenure"),
        ((x == 0) & (span > 0), "has a span, but no repeat purchase"),
        ((x > 0) & (span == 0), "has repeat purchases within no time (count days, not orders)"),
    )
    for wrong, what in rules:
        if wrong.any():
            row = int(np.argmax(wrong))
            history = ", ".join(
                f"{name} {value:g}" for name, value in zip(HISTORY, columns[row], strict=True)
            )
            raise DataError(
                f"the purchase history of {int(wrong.sum())} customers {what}; the first is row "
                f"{row} ({history})"
            )
    return x, span / unit_days, tenure / unit_days


def count_equal(columns: Sequence[Floats], weight: Any = None) -> tuple[list[Floats], Floats]:
    """Return the different rows of some columns, and the weight of each.

    Parameters
    ----------
    columns : sequence of ndarray of shape (n,)
    weight : array-like of shape (n,), optional
        1 each if not given; rows of weight 0 are left out.

    Raises
    ------
    DataError
        If no row has a weight above 0, or one is below.
    """
    n = len(columns[0])
    weights = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError(f"sample_weight must hold {n} numbers of 0 or more")
    order = np.lexsort(tuple(columns))
    order = order[weights[order] > 0]
    if not len(order):
        raise DataError("there are no customers to learn from")
    arranged = [column[order] for column in columns]
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in arranged], axis=0)
    first = np.flatnonzero(new)
    return [column[first] for column in arranged], np.add.reduceat(weights[order], first)


def climb(
    objective: Objective,
    columns: Sequence[Floats],
    weight: Floats,
    starts: Sequence[Sequence[float]],
) -> Summit:
    """Maximise a log likelihood over the logarithms of its parameters.

    Parameters
    ----------
    objective : callable
        Takes parameters and the columns, returns the log likelihood of each row and its
        derivatives by the logarithms of the parameters, shapes (n,) and (n_parameters, n).
    columns : sequence of ndarray of shape (n,)
        In an order in which neighbours are alike.
    weight : ndarray of shape (n,)
    starts : sequence of parameters
        Tried in this order until two climbs end at the same height.

    Notes
    -----
    L-BFGS-B (Byrd, Lu, Nocedal, Zhu 1995, SIAM Journal on Scientific Computing 16(5)) on the mean
    per customer, so that tolerances do not depend on how many there are.
    """
    thin = slice(None, None, -(-len(weight) // MOST_ROWS))
    part = _descent(objective, [column[thin] for column in columns], weight[thin])
    best: Any = None
    n_steps = n_starts = 0
    for start in starts:
        logs = np.clip(np.log(np.asarray(start, dtype=np.float64)), 1 - REACH, REACH - 1)
        found = _descend(part, logs)
        n_starts, n_steps = n_starts + 1, n_steps + int(found.nit)
        agrees = best is not None and abs(found.fun - best.fun) < SAME_SUMMIT
        if best is None or found.fun < best.fun:
            best = found
        if agrees:
            break
    descent, total = part, float(weight.sum())
    if len(weight) > MOST_ROWS:
        descent = _descent(objective, columns, weight)
        best = _descend(descent, best.x)
        n_steps += int(best.nit)
    at_bound = np.abs(best.x) >= REACH - 1e-6
    slope = np.where(at_bound, 0.0, best.jac)
    return Summit(
        parameters=np.exp(best.x),
        at_bound=tuple(int(i) for i in np.flatnonzero(at_bound)),
        gradient_norm=float(np.abs(slope).max()),
        log_errors=_log_errors(descent, best.x, ~at_bound, total),
        n_starts=n_starts,
        n_steps=n_steps,
    )


def _descent(objective: Objective, columns: Sequence[Floats], weight: Floats) -> Descent:
    """Return the negative mean log likelihood and its slope, by the log-parameters."""
    total = float(weight.sum())

    def descent(logs: Floats) -> tuple[float, Floats]:
        values, gradient = objective(np.exp(logs), *columns)
        return -float(weight @ values) / total, -(gradient @ weight) / total

    return descent


def _log_errors(
    descent: Descent,
    logs: Floats,
    free: NDArray[np.bool_],
    total: float,
) -> Floats:
    """Return standard errors of the log-parameters from the curvature of the log likelihood.

    Of a parameter at the end of its range it is NaN; the others are as if that one were known.
    """
    step = 1e-4
    places = np.flatnonzero(free)
    moves = step * np.eye(len(logs))[places]
    slopes = [descent(logs + move)[1] - descent(logs - move)[1] for move in moves]
    errors = np.full(len(logs), np.nan)
    if len(places):
        curvature = np.array(slopes)[:, places] / (2 * step) * total
        values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
        # Below this it is rounding, or a valley; in a direction that is flat errors are infinite.
        flat = values <= MOST_ERROR**-2 / 100
        spread = np.where(flat, np.inf, 1 / np.where(flat, 1.0, values))
        shares = vectors**2
        shares[:, flat] = np.where(shares[:, flat] > 0.01, shares[:, flat], 0.0)
        with np.errstate(invalid="ignore"):
            errors[places] = np.sqrt(np.nansum(shares * spread, axis=1))
    return errors


def _descend(descent: Descent, logs: Floats) -> Any:
    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9}
    bounds = [(-REACH, REACH)] * len(logs)
    found = minimize(descent, logs, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    # A line search can give up on a narrow ridge; from there a fresh start goes on.
    again = minimize(descent, found.x, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    again.nit += found.nit
    return again
