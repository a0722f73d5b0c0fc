"""What the value models say of a customer, as columns for clusterers and classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from segexp.value.clv import CustomerValue
from segexp.value.likelihood import HISTORY
from segexp.value.models import GammaGamma, PurchaseModel

ADDED = ("expected_purchases", "probability_alive", "expected_spend")
INPUTS = (*HISTORY, "repeat_spend")


class ValueFeatures(TransformerMixin, BaseEstimator):
    """Add expected purchases, probability alive and expected spend to a customer table.

    The models are fitted to the customers that ``fit`` sees, so that in a fold nothing is learned
    from those held out.

    Parameters
    ----------
    purchases : PurchaseModel, optional
        :class:`~segexp.value.models.BetaGeo` if not given.
    spend : GammaGamma, optional
    horizon_days : float, default=365
        Of the expected purchases.
    keep_inputs : bool, default=True
        Whether ``repeats``, ``span``, ``tenure`` and ``repeat_spend`` stay in the table.

    Attributes
    ----------
    model_ : CustomerValue
    feature_names_in_ : ndarray of str
    """

    def __init__(
        self,
        purchases: PurchaseModel | None = None,
        spend: GammaGamma | None = None,
        horizon_days: float = 365.0,
        keep_inputs: bool = True,
    ) -> None:
        self.purchases = purchases
        self.spend = spend
        self.horizon_days = horizon_days
        self.keep_inputs = keep_inputs

    def fit(self, X: pd.DataFrame, y: Any = None) -> ValueFeatures:
        """Fit the models.

        Raises
        ------
        DataError
            If a column is not there, a history cannot be, or nobody has a repeat purchase.
        """
        model = CustomerValue(self.purchases, self.spend, self.horizon_days)
        self.model_ = clone(model).fit(X)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return ``X`` with the columns added."""
        check_is_fitted(self, "model_")
        model = self.model_
        added = {
            "expected_purchases": model.purchases_.expected_purchases(X, self.horizon_days),
            "probability_alive": model.purchases_.probability_alive(X),
            "expected_spend": model.spend_.expected_spend(X),
        }
        kept = X if self.keep_inputs else X.drop(columns=list(INPUTS))
        return kept.assign(**added)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns of the result."""
        check_is_fitted(self, "model_")
        names = _check_feature_names_in(self, input_features)
        left_out = () if self.keep_inputs else INPUTS
        kept = [name for name in names if name not in (*left_out, *ADDED)]
        return np.asarray([*kept, *ADDED], dtype=object)
