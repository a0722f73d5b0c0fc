"""What customers are worth from now on: expected purchases, times spend, discounted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from segexp.errors import ConfigError
from segexp.value.likelihood import Floats
from segexp.value.models import BetaGeo, GammaGamma, PurchaseModel

DAYS_PER_YEAR = 365.0


class CustomerValue(BaseEstimator):
    """Customer lifetime value over a horizon: purchases, times mean spend, discounted.

    Parameters
    ----------
    purchases : PurchaseModel, optional
        :class:`~segexp.value.models.BetaGeo` if not given.
    spend : GammaGamma, optional
        A new one if not given.
    horizon_days : float, default=365
    period_days : float, default=30
        Purchases of a period are discounted as if they were made at its end. The last period ends
        with the horizon.
    margin : float, default=1
        Share of the spend that is earned; 1 values revenue.
    discount_rate : float, default=0.1
        A year.

    Attributes
    ----------
    purchases_ : PurchaseModel
    spend_ : GammaGamma
    notes_ : list of str
        What a reader should know of the fits.

    Notes
    -----
    With E the expected purchases from now to a time, t_0 = 0 and t_1, t_2 ... the ends of the
    periods in days::

        clv = margin * spend * sum over k of (E(t_k) - E(t_(k-1))) / (1 + d)^(t_k / 365)

    References
    ----------
    Fader, Hardie, Lee (2005): RFM and CLV: using iso-value curves for customer base analysis.
    Journal of Marketing Research 42(4), 415-430.
    """

    def __init__(
        self,
        purchases: PurchaseModel | None = None,
        spend: GammaGamma | None = None,
        horizon_days: float = 365.0,
        period_days: float = 30.0,
        margin: float = 1.0,
        discount_rate: float = 0.1,
    ) -> None:
        self.purchases = purchases
        self.spend = spend
        self.horizon_days = horizon_days
        self.period_days = period_days
        self.margin = margin
        self.discount_rate = discount_rate

    def fit(
        self, X: pd.DataFrame, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> CustomerValue:
        """Fit both models to the histories of all customers.

        Raises
        ------
        ConfigError
            If a parameter is out of its range.
        DataError
            If a history cannot be, or no amount of a repeat purchase is known.
        """
        self._check()
        self.purchases_ = BetaGeo() if self.purchases is None else clone(self.purchases)
        self.spend_ = GammaGamma() if self.spend is None else clone(self.spend)
        self.purchases_.fit(X, sample_weight=sample_weight)
        self.spend_.fit(X, sample_weight=sample_weight)
        messages = {
            type(model).__name__: model.message_ for model in (self.purchases_, self.spend_)
        }
        self.notes_ = [f"{name}: {said}" for name, said in messages.items() if said]
        self.notes_ += self.spend_.notes_
        return self

    def _check(self) -> None:
        for name, model, kind in (
            ("purchases", self.purchases, PurchaseModel),
            ("spend", self.spend, GammaGamma),
        ):
            if model is not None and not isinstance(model, kind):
                raise ConfigError(
                    f"model.estimator.{name} must be a {kind.__name__}, got "
                    f"{type(model).__name__}; for example segexp.value.models."
                    f"{'BetaGeo' if name == 'purchases' else 'GammaGamma'}"
                )
        for name in ("horizon_days", "period_days"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be a number of days above 0, got {value}")
        if not (self.discount_rate > -1 and math.isfinite(self.discount_rate)):
            raise ConfigError(f"discount_rate must be above -1, got {self.discount_rate}")
        if not math.isfinite(self.margin):
            raise ConfigError(f"margin must be a finite number, got {self.margin}")

    def value(self, X: pd.DataFrame, horizon_days: float | None = None) -> pd.DataFrame:
        """Return what each customer is expected to do, and to be worth.

        Parameters
        ----------
        horizon_days : float, optional
            In place of that of the estimator.

        Returns
        -------
        DataFrame with the index of ``X``
            ``expected_purchases`` (days with a purchase within the horizon),
            ``probability_alive``, ``expected_spend`` (per purchase), ``clv``.
        """
        check_is_fitted(self, "purchases_")
        horizon = self.horizon_days if horizon_days is None else horizon_days
        n_periods = math.ceil(horizon / self.period_days)
        bought = discounted = np.zeros(len(X))
        for k in range(1, n_periods + 1):
            end = min(k * self.period_days, horizon)
            until = self.purchases_.expected_purchases(X, end)
            factor = (1 + self.discount_rate) ** (-end / DAYS_PER_YEAR)
            discounted = discounted + (until - bought) * factor
            bought = until
        spend = self.spend_.expected_spend(X)
        return pd.DataFrame(
            {
                "expected_purchases": bought,
                "probability_alive": self.purchases_.probability_alive(X),
                "expected_spend": spend,
                "clv": discounted * spend * self.margin,
            },
            index=X.index,
        )

    def predict(self, X: pd.DataFrame) -> Floats:
        """Return the customer lifetime value over the horizon, shape (n,)."""
        return self.value(X)["clv"].to_numpy()
