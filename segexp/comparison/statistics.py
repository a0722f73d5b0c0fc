"""What luck alone would do: paired tests on shared folds, and many tests at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """The difference a minus b of two rows on the same folds.

    Signed so that positive means that a is better, also where less is better. The p values and
    probabilities are None, and ``interval`` is (nan, nan), where nothing can be tested: the
    differences of all folds are one and the same.
    """

    mean: float
    standard_error: float  # corrected for folds that share training rows; nan if not testable
    interval: tuple[float, float]
    p: float | None
    p_holm: float | None  # None outside of a table
    p_better: float | None  # posterior probability that a is better by more than the rope
    p_equivalent: float | None
    p_worse: float | None
    n: int
    differences: Floats  # shape (n,), of the folds on which both are defined


def paired(
    differences: ArrayLike, test_to_train: float, *, rope: float = 0.0, level: float = 0.95
) -> Paired:
    r"""Judge differences between two models that were made on the same folds.

    Parameters
    ----------
    differences : array-like of float, shape (n,)
        First minus second model, by fold (and repeat), positive where the first is better.
    test_to_train : float
        Customers who judge a fold by customers who are learned from: 1/(k - 1) for k folds.
    rope : float
        Half the width of the region of practical equivalence.
    level : float
        Of the interval.

    Returns
    -------
    Paired

    Notes
    -----
    Folds share training rows, so their differences are correlated and the usual t-test takes
    far too many for real. The corrected resampled t-test [1]_ takes for the variance of the mean

    .. math:: \left(\frac{1}{n} + \frac{n_{test}}{n_{train}}\right) s^2

    with the sample variance :math:`s^2` and n - 1 degrees of freedom; two-sided. The correlated
    Bayesian t-test [2]_ [3]_ has, under a flat prior and with the correlation
    :math:`\rho = n_{test}/(n_{test} + n_{train})`, a posterior of the mean difference that is
    Student's t with the same centre, scale and degrees of freedom, since
    :math:`\rho/(1-\rho) = n_{test}/n_{train}`; the probabilities are its mass above, within and
    below the rope. Where all differences are the same there is no variance to go by, and nothing
    is tested.

    References
    ----------
    .. [1] Nadeau and Bengio (2003). Inference for the generalization error. Machine Learning
       52(3), 239-281.
    .. [2] Corani and Benavoli (2015). A Bayesian approach for comparing cross-validated
       algorithms on multiple data sets. Machine Learning 100(2-3), 285-304.
    .. [3] Benavoli, Corani, Demsar and Zaffalon (2017). Time for a change: a tutorial for
       comparing multiple classifiers through Bayesian analysis. JMLR 18(77), 1-36.

    Examples
    --------
    >>> found = paired([0.02, 0.01, 0.03, 0.02, 0.02], 1 / 4, rope=0.01)
    >>> round(found.p, 4), round(found.p_better, 4)
    (0.0135, 0.9486)
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    values = np.asarray(differences, dtype=np.float64)
    n, mean = len(values), float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    if spread <= 1e-12 * max(1.0, float(np.abs(values).max())):  # nothing but rounding
        return Paired(
            mean=mean, standard_error=math.nan, interval=(math.nan, math.nan), p=None, p_holm=None,
            p_better=None, p_equivalent=None, p_worse=None, n=n, differences=values,
        )  # fmt: skip
    error = math.sqrt(1 / n + test_to_train) * spread
    half_width = float(stdtrit(n - 1, (1 + level) / 2)) * error
    better = float(stdtr(n - 1, (mean - rope) / error))
    worse = float(stdtr(n - 1, (-rope - mean) / error))
    return Paired(
        mean=mean,
        standard_error=error,
        interval=(mean - half_width, mean + half_width),
        p=float(2 * stdtr(n - 1, -abs(mean) / error)),
        p_holm=None,
        p_better=better,
        p_equivalent=max(0.0, 1.0 - better - worse),
        p_worse=worse,
        n=n,
        differences=values,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values by Holm's step-down method; in the order in which they were given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, 0.005])
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for step, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = largest
    return adjusted
