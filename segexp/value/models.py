"""How often customers buy, whether they still do, and how much they spend.

Buy-till-you-die models for customers without a contract, who leave without saying so. Fitted by
maximum likelihood to the purchase history of each customer; docs/value.md says when to trust them.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import (
    betainc,
    betaincinv,
    betaln,
    digamma,
    expit,
    exprel,
    gammaln,
    hyp2f1,
    logsumexp,
    roots_legendre,
    xlog1py,
    xlogy,
)
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from segexp.errors import ConfigError, DataError
from segexp.value.likelihood import (
    Floats,
    Histories,
    Summit,
    climb,
    count_equal,
    read_columns,
    read_histories,
)

ROWS_PER_CALL = 20_000  # of an integral, whose nodes all have a column
NEGLIGIBLE = 40.0  # what is e to this power smaller than its neighbour is not integrated
NEAR_ONE = 1e-7  # a formula with 1 / (a - 1) is taken this far from its gap
CORRELATED = 0.3  # beyond this, spend that does not depend on frequency is not believed

_NODES, _WEIGHTS = roots_legendre(40)
_FINE_NODES, _FINE_WEIGHTS = roots_legendre(80)


class PurchaseModel(BaseEstimator, ABC):
    """What the models of purchases have in common.

    A table of customers has the columns ``repeats``, ``span`` and ``tenure`` (days; see
    :mod:`segexp.value.likelihood`).

    Parameters
    ----------
    time_unit_days : float
        The unit of time of the parameters; published ones are in weeks.

    Attributes
    ----------
    parameters_ : dict of str to float
    log_likelihood_ : float
        Of the customers that were fitted, summed.
    converged_ : bool
        Whether the parameters are a maximum that the customers determine, inside of their range.
    standard_errors_ : dict of str to float
        From the curvature of the log likelihood; infinite where nothing determines a parameter,
        NaN at the end of its range.
    gradient_norm_ : float
        Largest derivative of the mean log likelihood of a customer by a log-parameter.
    message_ : str
        What is to be said of the fit; empty if nothing is.
    n_customers_ : float
        Sum of the weights.
    """

    NAMES: ClassVar[tuple[str, ...]]
    TIMES: ClassVar[tuple[str, ...]]  # parameters that are times
    LEAVING: ClassVar[str] = ""  # the parameter that is 0 where nobody leaves

    def __init__(self, time_unit_days: float = 7.0) -> None:
        self.time_unit_days = time_unit_days

    def fit(self, X: pd.DataFrame, y: Any = None, sample_weight: ArrayLike | None = None) -> Any:
        """Find the parameters under which the histories of all customers are likeliest.

        Raises
        ------
        ConfigError
            If ``time_unit_days`` is not above 0.
        DataError
            If a history cannot be, or there is none.

        Warns
        -----
        ConvergenceWarning
            If the fit came to no maximum that the customers determine.
        """
        if not self.time_unit_days > 0:
            raise ConfigError(f"time_unit_days must be above 0, got {self.time_unit_days}")
        columns, weight = count_equal(read_histories(X, self.time_unit_days), sample_weight)
        self._learn(Histories(columns[0], columns[1], columns[2], weight))
        self.n_customers_ = float(weight.sum())
        if self.message_:
            warnings.warn(f"{type(self).__name__}: {self.message_}", ConvergenceWarning, 2)
        return self

    def _learn(self, histories: Histories) -> None:
        """Climb in units of the mean tenure, so that every parameter is of the order of 1."""
        unit = float(np.average(histories.tenure, weights=histories.weight)) or 1.0
        scaled = histories.scaled(unit)

        columns = (scaled.repeats, scaled.span, scaled.tenure)
        summit = climb(self._likelihood, columns, histories.weight, self._starts(scaled))
        found = [
            float(value) * (unit if name in self.TIMES else 1.0)
            for name, value in zip(self.NAMES, summit.parameters, strict=True)
        ]
        self.parameters_ = dict(zip(self.NAMES, found, strict=True))
        values, _ = self._likelihood(
            self._fitted, histories.repeats, histories.span, histories.tenure
        )
        self.log_likelihood_ = float(values @ histories.weight)
        self._judge(summit)

    def _judge(self, summit: Summit) -> None:
        self.converged_ = summit.converged
        self.gradient_norm_ = summit.gradient_norm
        self.n_starts_, self.n_steps_ = summit.n_starts, summit.n_steps
        self.standard_errors_ = standard_errors(self.parameters_, summit)
        self.message_ = fit_message(self.NAMES, summit, self.LEAVING)

    @property
    def _fitted(self) -> Floats:
        check_is_fitted(self, "parameters_")
        return np.array([self.parameters_[name] for name in self.NAMES])

    def _histories(self, X: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        check_is_fitted(self, "parameters_")
        return read_histories(X, self.time_unit_days)

    def _time(self, days: ArrayLike) -> Floats:
        times = np.asarray(days, dtype=np.float64) / self.time_unit_days
        if not (np.isfinite(times).all() and (times >= 0).all()):
            raise ConfigError(f"a number of days must be 0 or more, got {days!r}")
        return times

    def log_likelihood(self, X: pd.DataFrame) -> Floats:
        """Return ln of the likelihood of each customer's history, shape (n,)."""
        return self._likelihood(self._fitted, *self._histories(X))[0]

    def probability_alive(self, X: pd.DataFrame) -> Floats:
        """Return the probability that each customer still buys at the end of the tenure."""
        return self._alive(self._fitted, *self._histories(X))

    def expected_purchases(self, X: pd.DataFrame, days: float) -> Floats:
        """Return how many days with a purchase each customer is expected to have next.

        Parameters
        ----------
        days : float
            How long, from the end of the tenure.
        """
        x, span, tenure = self._histories(X)
        alive = self._alive(self._fitted, x, span, tenure)
        return alive * self._expected_if_alive(self._fitted, x, tenure, self._time(days))

    def holdout_log_likelihood(self, X: pd.DataFrame, purchases: ArrayLike, days: float) -> Floats:
        """Return ln P(that many purchases in the next ``days`` days | history), shape (n,).

        Parameters
        ----------
        purchases : array-like of shape (n,)
            Days with a purchase.
        """
        x, span, tenure = self._histories(X)
        n = np.asarray(purchases, dtype=np.float64)
        if n.shape != x.shape or (n < 0).any() or (n != np.floor(n)).any():
            raise DataError(f"purchases must hold {len(x)} whole numbers of 0 or more")
        alive = self._alive(self._fitted, x, span, tenure)
        known = self._log_chance_if_alive(self._fitted, x, tenure, n, self._time(days))
        with np.errstate(divide="ignore"):
            gone = np.where(n == 0, np.log1p(-alive), -np.inf)
            return np.logaddexp(gone, np.log(alive) + known)

    def expected_of_new_customer(self, days: ArrayLike) -> Floats:
        """Return the repeat purchases of a new customer in the first ``days`` days, E[X(t)]."""
        t = self._time(days)
        none = np.zeros_like(t)
        return self._expected_if_alive(self._fitted, none, none, t)

    @abstractmethod
    def _likelihood(
        self, parameters: Floats, x: Floats, span: Floats, tenure: Floats
    ) -> tuple[Floats, Floats]:
        """Return ln L of each history and its derivatives by the log-parameters."""

    @abstractmethod
    def _starts(self, histories: Histories) -> Sequence[Sequence[float]]:
        """Return parameters to climb from, in units of the mean tenure."""

    @abstractmethod
    def _alive(self, parameters: Floats, x: Floats, span: Floats, tenure: Floats) -> Floats: ...

    @abstractmethod
    def _expected_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, t: Floats
    ) -> Floats: ...

    @abstractmethod
    def _log_chance_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, n: Floats, t: Floats
    ) -> Floats: ...


def fit_message(names: Sequence[str], summit: Summit, leaving: str = "") -> str:
    """Say what is wrong with a fit; empty if nothing is.

    Parameters
    ----------
    leaving : str
        The parameter that is 0 where nobody leaves, if there is one.
    """
    said = summit.complaints(names)
    if not said:
        return ""
    what = "; ".join(said)
    if any(names[i] == leaving and summit.parameters[i] < 1 for i in summit.at_bound):
        return (
            f"not converged: {what}; nobody seems to have left in the time that was seen, and "
            f"nothing but the past rate is left of the model"
        )
    return f"not converged: {what}; these customers do not determine the parameters"


def standard_errors(parameters: Mapping[str, float], summit: Summit) -> dict[str, float]:
    """Return standard errors of parameters from those of their logarithms (delta method)."""
    pairs = zip(parameters.items(), summit.log_errors, strict=True)
    return {name: value * float(error) for (name, value), error in pairs}


def _purchase_rate(histories: Histories) -> float:
    """Return repeats per mean tenure, above 0."""
    repeats = float(histories.repeats @ histories.weight)
    return max(repeats, 0.5) / max(float(histories.tenure @ histories.weight), 1e-9)


def _log_negative_binomial(shape: Floats, rate: Floats, n: Floats, t: Floats) -> Floats:
    """Return ln P(n events in time t) of a Poisson process whose rate has a gamma distribution."""
    return (
        gammaln(shape + n)
        - gammaln(shape)
        - gammaln(n + 1)
        - xlog1py(shape, t / rate)
        + xlogy(n, t / (rate + t))
    )


class BetaGeo(PurchaseModel):
    """The BG/NBD model: after each purchase a customer may leave.

    While active, a customer buys at random at a rate of their own, which has a gamma distribution
    over customers (shape ``r``, rate ``alpha``). After each purchase the customer leaves with a
    probability of their own, which has a beta distribution (``a``, ``b``). A customer without a
    repeat purchase is active for certain: nobody can leave without buying.

    Parameters
    ----------
    time_unit_days : float, default=7
        The unit of ``alpha``.

    References
    ----------
    Fader, Hardie, Lee (2005): "Counting your customers" the easy way: an alternative to the
    Pareto/NBD model. Marketing Science 24(2), 275-284.
    """

    NAMES = ("r", "alpha", "a", "b")
    TIMES = ("alpha",)
    LEAVING = "a"

    def _starts(self, histories: Histories) -> Sequence[Sequence[float]]:
        rate = _purchase_rate(histories)
        return [
            (0.5, 0.5 / rate, 1.0, 3.0),
            (1.0, 0.5 / rate, 0.5, 1.0),
            (0.2, 0.1 / rate, 2.0, 10.0),
            (3.0, 3.0 / rate, 0.1, 2.0),
        ]

    def _likelihood(
        self, parameters: Floats, x: Floats, span: Floats, tenure: Floats
    ) -> tuple[Floats, Floats]:
        # Equation (6) of the paper: ln L = active + ln(1 + odds that the customer has left).
        r, alpha, a, b = parameters
        active = (
            gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + tenure)
            + betaln(a, b + x) - betaln(a, b)
        )  # fmt: skip
        odds = self._log_odds(parameters, x, span, tenure)
        left = expit(odds)
        more = digamma(a + b) - digamma(a + b + x)
        before = np.where(x > 0, b + x - 1, 1.0)
        slope_r = (
            digamma(r + x) - digamma(r) + np.log(alpha / (alpha + tenure))
            + left * np.log((alpha + tenure) / (alpha + span))
        )  # fmt: skip
        slope_alpha = (
            r / alpha - (r + x) / (alpha + tenure)
            + left * (r + x) * (1 / (alpha + tenure) - 1 / (alpha + span))
        )  # fmt: skip
        slope_b = digamma(b + x) - digamma(b) + more - left / before
        gradient = np.stack([slope_r, slope_alpha, more + left / a, slope_b])
        return active + np.logaddexp(0.0, odds), gradient * parameters[:, None]

    def _log_odds(self, parameters: Floats, x: Floats, span: Floats, tenure: Floats) -> Floats:
        """Return ln(P(left) / P(active)); -inf without a repeat purchase."""
        r, alpha, a, b = parameters
        before = np.where(x > 0, b + x - 1, 1.0)
        waited = (r + x) * np.log((alpha + tenure) / (alpha + span))
        return np.where(x > 0, np.log(a / before) + waited, -np.inf)

    def _alive(self, parameters: Floats, x: Floats, span: Floats, tenure: Floats) -> Floats:
        return expit(-self._log_odds(parameters, x, span, tenure))

    def _expected_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, t: Floats
    ) -> Floats:
        # Equation (10) of the paper with 2F1 in the form that SciPy gets right for customers with
        # many purchases (Abramowitz, Stegun 15.3.3); as it is printed, it overflows there.
        r, alpha, a, b = parameters
        if abs(a - 1) < NEAR_ONE:
            a = 1 + NEAR_ONE
        c = a + b + x - 1
        c = np.where(np.abs(c) < NEAR_ONE, NEAR_ONE, c)
        longer = (alpha + tenure) / (alpha + tenure + t)
        with np.errstate(all="ignore"):
            kept = longer ** (a - 1) * hyp2f1(c - r - x, a - 1, c, 1 - longer)
        expected = c / (a - 1) * (1 - kept)
        lost = ~np.isfinite(expected)
        if lost.any():  # parameters at the end of their range
            rows = np.broadcast_arrays(x, tenure, t)
            expected = np.array(expected)
            expected[lost] = self._mean_if_alive(parameters, *(part[lost] for part in rows))
        return expected

    def _mean_if_alive(self, parameters: Floats, x: Floats, tenure: Floats, t: Floats) -> Floats:
        """Return the mean of (1 - (1 + p t / rate)^-shape) / p over the chance p to leave."""
        r, alpha, a, b = parameters
        chance = betaincinv(a, (b + x)[:, None], (1 + _FINE_NODES) / 2)
        chance = np.maximum(chance, 1e-12)
        stays = (r + x)[:, None] * np.log1p(chance * (t / (alpha + tenure))[:, None])
        return -np.expm1(-stays) / chance @ _FINE_WEIGHTS / 2

    def _log_chance_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, n: Floats, t: Floats
    ) -> Floats:
        # Equation (8) of the paper for a customer who begins anew at the end of the tenure, with
        # what the history says of the rate and of the chance to leave.
        r, alpha, a, b = parameters
        shape, rate, stay = r + x, alpha + tenure, b + x
        still = betaln(a, stay + n) + _log_negative_binomial(shape, rate, n, t)
        some = np.maximum(n, 1)
        with np.errstate(divide="ignore"):
            at_least = np.log(betainc(some, shape, t / (rate + t)))
        left = np.where(n > 0, betaln(a + 1, stay + some - 1) + at_least, -np.inf)
        return np.logaddexp(still, left) - betaln(a, stay)


class ParetoNBD(PurchaseModel):
    """The Pareto/NBD model: a customer may leave at any time.

    While active, a customer buys at random at a rate of their own, which has a gamma distribution
    over customers (shape ``r``, rate ``alpha``); the time until the customer leaves is exponential
    with a rate of its own, which has a gamma distribution too (``s``, ``beta``).

    Parameters
    ----------
    time_unit_days : float, default=7
        The unit of ``alpha`` and ``beta``.

    Notes
    -----
    The likelihood is usually written as a difference of two hypergeometric functions, which loses
    all its digits for customers with many purchases. Here the integral behind them is taken,
    over the logarithm of the time since the customer left: what is integrated is positive and
    log-concave there, and 40 nodes of Gauss and Legendre give it to 12 digits. Its derivatives
    come from the same nodes.

    References
    ----------
    Schmittlein, Morrison, Colombo (1987): Counting your customers: who are they and what will they
    do next? Management Science 33(1), 1-24.
    Fader, Hardie (2005): A note on deriving the Pareto/NBD model and related expressions.
    """

    NAMES = ("r", "alpha", "s", "beta")
    TIMES = ("alpha", "beta")
    LEAVING = "s"

    def _starts(self, histories: Histories) -> Sequence[Sequence[float]]:
        rate = _purchase_rate(histories)
        return [
            (0.5, 0.3 / rate, 0.5, 0.5),
            (1.0, 0.5 / rate, 1.0, 1.0),
            (0.2, 0.1 / rate, 2.0, 5.0),
            (3.0, 3.0 / rate, 0.1, 0.5),
        ]

    def _likelihood(
        self, parameters: Floats, x: Floats, span: Floats, tenure: Floats
    ) -> tuple[Floats, Floats]:
        parts = [
            _pareto_likelihood(parameters, x[rows], span[rows], tenure[rows])
            for rows in _pieces(len(x))
        ]
        return (
            np.concatenate([values for values, _ in parts]),
            np.concatenate([gradient for _, gradient in parts], axis=1),
        )

    def _alive(self, parameters: Floats, x: Floats, span: Floats, tenure: Floats) -> Floats:
        r, alpha, s, beta = parameters
        found = np.empty(len(x))
        for rows in _pieces(len(x)):
            known = x[rows], span[rows], tenure[rows]
            active = -(r + known[0]) * np.log(alpha + known[2]) - s * np.log(beta + known[2])
            found[rows] = expit(active - _left_before(parameters, *known).log_integral)
        return found

    def _expected_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, t: Floats
    ) -> Floats:
        # Equation (41) of the note; exprel is (e^u - 1) / u, so that s = 1 is no gap.
        r, alpha, s, beta = parameters
        stay = np.log1p(t / (beta + tenure))
        return (r + x) / (alpha + tenure) * (beta + tenure) * stay * exprel((1 - s) * stay)

    def _log_chance_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, n: Floats, t: Floats
    ) -> Floats:
        found = np.empty(len(x))
        for rows in _pieces(len(x)):
            found[rows] = _pareto_chance(parameters, x[rows], tenure[rows], n[rows], float(t))
        return found


def _pieces(n: int) -> Iterator[slice]:
    for start in range(0, n, ROWS_PER_CALL):
        yield slice(start, min(start + ROWS_PER_CALL, n))


def _pareto_likelihood(
    parameters: Floats, x: Floats, span: Floats, tenure: Floats
) -> tuple[Floats, Floats]:
    """Return ln L of each history and its derivatives by the log-parameters.

    For given rates, the customer either is active at the end, or left at some time after the last
    purchase; integrated over both gamma distributions, that is::

        L = G(r + x) / G(r) alpha^r beta^s {
                (alpha + T)^-(r + x) (beta + T)^-s
                + s integral from t_x to T of (alpha + u)^-(r + x) (beta + u)^-(s + 1) du }
    """
    r, alpha, s, beta = parameters
    active = -(r + x) * np.log(alpha + tenure) - s * np.log(beta + tenure)
    left = _left_before(parameters, x, span, tenure)
    alive = expit(active - left.log_integral)
    gone = 1 - alive

    def mean(values: Floats) -> Floats:
        return np.asarray(np.einsum("ij,ij->i", left.share, values))

    slope_r = (
        digamma(r + x) - digamma(r) + np.log(alpha)
        - alive * np.log(alpha + tenure) - gone * mean(left.log_alpha)
    )  # fmt: skip
    slope_alpha = r / alpha - (r + x) * (
        alive / (alpha + tenure) + gone * mean(np.exp(-left.log_alpha))
    )
    slope_s = (
        np.log(beta) + gone / s
        - alive * np.log(beta + tenure) - gone * mean(left.log_beta)
    )  # fmt: skip
    slope_beta = (
        s / beta - alive * s / (beta + tenure) - gone * (s + 1) * mean(np.exp(-left.log_beta))
    )
    values = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    gradient = np.stack([slope_r, slope_alpha, slope_s, slope_beta])
    return values + np.logaddexp(active, left.log_integral), gradient * parameters[:, None]


@dataclass(frozen=True)
class _Leaving:
    """The integral over the time u at which a customer left, and what it is made of."""

    log_integral: Floats  # shape (n,), with the factor s; -inf where there was no time to leave
    share: Floats  # shape (n, n_nodes): of the integral at each node; sums to 1
    log_alpha: Floats  # shape (n, n_nodes): ln(alpha + u)
    log_beta: Floats  # shape (n, n_nodes): ln(beta + u)


def _left_before(parameters: Floats, x: Floats, span: Floats, tenure: Floats) -> _Leaving:
    """Integrate over the time at which a customer left, from the last purchase to the end."""
    r, alpha, s, beta = parameters
    # Over v = ln(base + u) the nearest singularity stays pi away, whatever the parameters.
    base = min(alpha, beta)
    x = x[:, None]

    def logs(v: Floats) -> tuple[Floats, Floats]:
        further = np.log(np.exp(v) + abs(alpha - beta))
        return (v, further) if alpha <= beta else (further, v)

    def height(v: Floats) -> Floats:
        log_alpha, log_beta = logs(v)
        return v - (r + x) * log_alpha - (s + 1) * log_beta

    def slope(v: Floats) -> Floats:
        log_alpha, log_beta = logs(v)
        return 1 - (r + x) * np.exp(v - log_alpha) - (s + 1) * np.exp(v - log_beta)

    low, high = np.log(base + span)[:, None], np.log(base + tenure)[:, None]
    half = (_cut_tail(low, high, height, slope) - low) / 2
    v = low + half * (1 + _NODES)
    log_alpha, log_beta = logs(v)
    heights = v - (r + x) * log_alpha - (s + 1) * log_beta
    top = heights.max(axis=1, keepdims=True)
    parts = np.exp(heights - top) * _WEIGHTS
    total = parts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_integral = np.log(s) + top + np.log(total * half)
    return _Leaving(log_integral[:, 0], parts / total, log_alpha, log_beta)


def _cut_tail(
    low: Floats, high: Floats, height: Callable[[Floats], Floats], slope: Callable[[Floats], Floats]
) -> Floats:
    """Return where a log-concave function has become negligible: slopes only get steeper."""
    top = height(low)
    at = low
    for _ in range(3):
        down = -slope(at)
        left = np.maximum(NEGLIGIBLE - (top - height(at)), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            end = np.where(down > 0, at + left / down, high)
        high = np.minimum(high, end)
        at = (low + high) / 2
    return high


def _pareto_chance(parameters: Floats, x: Floats, tenure: Floats, n: Floats, t: float) -> Floats:
    """Return ln P(n purchases in time t) of customers who are active at the end of their tenure.

    Either they are still active after t, or they leave at a time u before; rate and lifetime have
    the gamma distributions of their history, (r + x, alpha + T) and (s, beta + T)::

        P = (b / (b + t))^s NB(n; t) + integral from 0 to t of s b^s (b + u)^-(s + 1) NB(n; u) du
    """
    r, alpha, s, beta = parameters
    shape, rate, stay = r + x, alpha + tenure, beta + tenure
    still = _log_negative_binomial(shape, rate, n, np.array(t)) - s * np.log1p(t / stay)
    if t == 0:
        return still
    base = np.minimum(rate, stay)
    half = np.log1p(t / base)[:, None] / 2
    v = half * (1 + _FINE_NODES)
    u = base[:, None] * np.expm1(v)
    logs = (
        _log_negative_binomial(shape[:, None], rate[:, None], n[:, None], u)
        - (s + 1) * np.log1p(u / stay[:, None])
        - np.log(stay)[:, None]
        + np.log(base)[:, None] + v + np.log(_FINE_WEIGHTS * half)
    )  # fmt: skip
    return np.logaddexp(still, np.log(s) + logsumexp(logs, axis=1))


class PastRate(PurchaseModel):
    """The baseline: nobody leaves, and every customer goes on as before.

    Parameters
    ----------
    time_unit_days : float, default=7
        The unit of ``alpha``.
    smooth : bool, default=True
        Whether rates are drawn towards each other, as far as the histories of all customers
        suggest: rates have a gamma distribution (``r``, ``alpha``), purchases then a negative
        binomial one (the NBD model). Otherwise the rate of a customer is ``repeats / tenure``,
        purchases are Poisson, and a purchase of somebody without a repeat is impossible: the log
        likelihood of such a holdout is -inf.

    References
    ----------
    Ehrenberg (1959): The pattern of consumer purchases. Applied Statistics 8(1), 26-41.
    """

    NAMES = ("r", "alpha")
    TIMES = ("alpha",)

    def __init__(self, time_unit_days: float = 7.0, smooth: bool = True) -> None:
        super().__init__(time_unit_days)
        self.smooth = smooth

    def _learn(self, histories: Histories) -> None:
        if self.smooth:
            super()._learn(histories)
            return
        self.parameters_ = {}
        x, tenure = histories.repeats, histories.tenure
        with np.errstate(divide="ignore", invalid="ignore"):
            values = xlogy(x, x / tenure) - x
        self.log_likelihood_ = float(np.where(x > 0, values, 0.0) @ histories.weight)
        self.converged_, self.gradient_norm_, self.message_ = True, 0.0, ""
        self.n_starts_ = self.n_steps_ = 0
        self.standard_errors_ = {}

    @property
    def _fitted(self) -> Floats:
        check_is_fitted(self, "parameters_")
        # Without smoothing: a gamma distribution that says nothing.
        return super()._fitted if self.smooth else np.zeros(2)

    def _starts(self, histories: Histories) -> Sequence[Sequence[float]]:
        rate = _purchase_rate(histories)
        return [(shape, shape / rate) for shape in (0.5, 2.0, 0.1)]

    def _likelihood(
        self, parameters: Floats, x: Floats, span: Floats, tenure: Floats
    ) -> tuple[Floats, Floats]:
        r, alpha = parameters
        if not self.smooth:
            rate = self._rates(parameters, x, tenure)
            return xlogy(x, rate) - rate * tenure, np.empty((0, len(x)))
        values = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + tenure)
        slope_r = digamma(r + x) - digamma(r) + np.log(alpha / (alpha + tenure))
        slope_alpha = r / alpha - (r + x) / (alpha + tenure)
        return values, np.stack([r * slope_r, alpha * slope_alpha])

    def _rates(self, parameters: Floats, x: Floats, tenure: Floats) -> Floats:
        r, alpha = parameters
        known = alpha + tenure
        return np.divide(r + x, known, out=np.zeros(np.shape(known)), where=known > 0)

    def _alive(self, parameters: Floats, x: Floats, span: Floats, tenure: Floats) -> Floats:
        return np.ones(len(x))

    def _expected_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, t: Floats
    ) -> Floats:
        return self._rates(parameters, x, tenure) * t

    def _log_chance_if_alive(
        self, parameters: Floats, x: Floats, tenure: Floats, n: Floats, t: Floats
    ) -> Floats:
        if self.smooth:
            return _log_negative_binomial(parameters[0] + x, parameters[1] + tenure, n, t)
        mean = self._rates(parameters, x, tenure) * t
        return xlogy(n, mean) - mean - gammaln(n + 1)


class GammaGamma(BaseEstimator):
    """The Gamma-Gamma model of spend per purchase.

    What a customer spends on a purchase has a gamma distribution (shape ``p``) around a mean of
    their own; the means of customers come from a gamma distribution of the rate (``q``, ``v``).
    The mean spend of a customer is drawn towards the mean of all, the more the fewer purchases are
    known. Spend is supposed not to depend on how often somebody buys.

    A table of customers has the columns ``repeats`` and ``repeat_spend`` (mean amount of the
    days with a repeat purchase). Only customers with both above 0 are learned from.

    Attributes
    ----------
    parameters_ : dict of str to float
        ``p``, ``q``, ``v``; ``v`` is an amount of money.
    mean_spend_ : float
        Of a customer of whom nothing is known, ``p v / (q - 1)``. If ``q`` is 1 or less that is
        infinite, and this is the mean amount per purchase that was seen.
    correlation_ : float
        Of frequency and spend among the customers that were fitted (Pearson); NaN if one of them
        does not vary.
    log_likelihood_, converged_, standard_errors_, gradient_norm_, message_, n_customers_
        As those of :class:`PurchaseModel`.
    n_left_out_ : int
        Customers with repeats whose spend is missing, 0 or less.
    notes_ : list of str
        What a reader should know.

    References
    ----------
    Fader, Hardie (2013): The gamma-gamma model of monetary value, note 025.
    Fader, Hardie, Lee (2005): RFM and CLV: using iso-value curves for customer base analysis.
    Journal of Marketing Research 42(4), 415-430.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("p", "q", "v")

    def fit(
        self, X: pd.DataFrame, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> GammaGamma:
        """Find the parameters under which the spend of all customers is likeliest.

        Raises
        ------
        DataError
            If no customer has a repeat purchase with an amount above 0.

        Warns
        -----
        ConvergenceWarning
            If the fit came to no maximum that the customers determine.
        """
        x, spend = self._read(X)
        known = (x > 0) & (spend > 0)
        self.n_left_out_ = int(((x > 0) & ~known).sum())
        if not known.any():
            raise DataError(
                f"spend cannot be learned: none of {len(x)} customers has a repeat purchase with "
                f"an amount above 0 (columns repeats and repeat_spend)"
            )
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=float)[known]
        (x, spend), weights = count_equal((x[known], spend[known]), weight)
        self._learn(x, spend, weights)
        if self.message_:
            warnings.warn(f"GammaGamma: {self.message_}", ConvergenceWarning, 2)
        return self

    def _read(self, X: pd.DataFrame) -> tuple[Floats, Floats]:
        x, spend = read_columns(X, ("repeats", "repeat_spend")).T
        if not (np.isfinite(x).all() and (x >= 0).all()):
            raise DataError("column 'repeats' must hold numbers of 0 or more")
        if np.isinf(spend).any():
            raise DataError("column 'repeat_spend' holds an infinite amount")
        return x, spend

    def _learn(self, x: Floats, spend: Floats, weight: Floats) -> None:
        purchases = weight * x
        seen = float(purchases @ spend / purchases.sum())
        scaled = spend / seen
        spread = _squared_variation(scaled, weight)
        starts = [(p, q, max(q - 1, 0.1) / p) for p, q in ((2, 2 + 1 / spread), (6, 4), (1, 1.5))]
        summit = climb(_spend_likelihood, (x, scaled), weight, starts)
        p, q, v = (float(value) for value in summit.parameters)
        self.parameters_ = {"p": p, "q": q, "v": v * seen}
        values, _ = _spend_likelihood(np.array([p, q, v * seen]), x, spend)
        self.log_likelihood_ = float(values @ weight)
        self.converged_, self.gradient_norm_ = summit.converged, summit.gradient_norm
        self.n_starts_, self.n_steps_ = summit.n_starts, summit.n_steps
        self.standard_errors_ = standard_errors(self.parameters_, summit)
        self.message_ = fit_message(self.NAMES, summit)
        self.n_customers_ = float(weight.sum())
        self.correlation_ = _correlation(x, spend, weight)
        self.mean_spend_ = p * v * seen / (q - 1) if q > 1 else seen
        self.notes_ = self._notes()

    def _notes(self) -> list[str]:
        notes = []
        if self.parameters_["q"] <= 1:
            notes.append(
                f"Gamma-Gamma: q is {self.parameters_['q']:.3g}, so the mean spend of all "
                f"customers is infinite; customers without a repeat get the mean that was seen"
            )
        if abs(self.correlation_) > CORRELATED:
            notes.append(
                f"Gamma-Gamma supposes that spend does not depend on frequency; their correlation "
                f"is {self.correlation_:.2f}"
            )
        if self.n_left_out_:
            notes.append(
                f"Gamma-Gamma: {self.n_left_out_} customers with repeat purchases, but no amount "
                f"above 0, were not learned from"
            )
        return notes

    def expected_spend(self, X: pd.DataFrame) -> Floats:
        """Return the mean amount that each customer is expected to spend per purchase, shape (n,).

        An amount below 0 counts as 0; of a customer with no known amount it is ``mean_spend_``.
        """
        check_is_fitted(self, "parameters_")
        p, q, v = (self.parameters_[name] for name in self.NAMES)
        x, spend = self._read(X)
        known = (x > 0) & ~np.isnan(spend)
        divisor = p * x + q - 1
        usable = known & (divisor > 0)
        mean = p * (v + x * np.maximum(np.where(known, spend, 0.0), 0.0))
        return np.divide(mean, divisor, out=np.full(len(x), self.mean_spend_), where=usable)

    def log_likelihood(self, X: pd.DataFrame) -> Floats:
        """Return ln of the likelihood of each customer's spend; NaN where none is known."""
        check_is_fitted(self, "parameters_")
        x, spend = self._read(X)
        known = (x > 0) & (spend > 0)
        found = np.full(len(x), np.nan)
        parameters = np.array([self.parameters_[name] for name in self.NAMES])
        found[known] = _spend_likelihood(parameters, x[known], spend[known])[0]
        return found


def _spend_likelihood(parameters: Floats, x: Floats, spend: Floats) -> tuple[Floats, Floats]:
    """Return ln f(mean spend | x) and its derivatives by the log-parameters.

    Equation (1a) of note 025: ``p`` and ``q`` are shapes, ``v`` a rate.
    """
    p, q, v = parameters
    total = x * spend
    values = (
        gammaln(p * x + q) - gammaln(p * x) - gammaln(q)
        - q * np.log1p(total / v) - p * x * np.log1p(v / total) - np.log(spend)
    )  # fmt: skip
    both = digamma(p * x + q)
    slope_p = x * (both - digamma(p * x) - np.log1p(v / total))
    slope_q = both - digamma(q) - np.log1p(total / v)
    slope_v = q / v - (p * x + q) / (v + total)
    return values, np.stack([p * slope_p, q * slope_q, v * slope_v])


def _squared_variation(values: Floats, weight: Floats) -> float:
    mean = np.average(values, weights=weight)
    return max(float(np.average((values - mean) ** 2, weights=weight)) / float(mean) ** 2, 1e-3)


def _correlation(x: Floats, spend: Floats, weight: Floats) -> float:
    covariance = np.atleast_2d(np.cov(x, spend, aweights=weight, ddof=0))
    scale = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return float(covariance[0, 1]) / scale if scale > 0 else float("nan")
