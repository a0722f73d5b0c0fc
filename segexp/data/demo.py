"""The embedded default data set: synthetic customers of a car maker, drawn from a seed.

Nothing here is a copy of a real customer. The columns are those of the automobile
customers (JanataHack segmentation table); the numbers below are round ones, chosen so that
frequencies, dependences and difficulty resemble that table, and every row is drawn from
them. Figures made from this data set say nothing about any market.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from segexp.errors import DataError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
TextArray = npt.NDArray[np.str_]

FIRST_ID = 100_001

# Age in years against the share of customers who are younger; straight lines between.
AGE_KNOTS = (18, 21, 26, 46, 54, 61, 71, 90)
AGE_CUMULATIVE = (0.0, 0.05, 0.125, 0.60, 0.75, 0.83, 0.92, 1.0)

MALE_SHARE = 0.55

# Weight of each profession at the ages of PROFESSION_AGES (they sum to about 1 per age),
# then how much likelier a woman is to have it than an average customer; a man gets 2 minus
# that, so that the weights stay what they are over all customers.
PROFESSION_AGES = (18, 23, 32, 40, 52, 62, 68, 80)
PROFESSIONS: dict[str, tuple[tuple[float, ...], float]] = {
    "Artist": ((0.02, 0.06, 0.24, 0.45, 0.51, 0.42, 0.30, 0.11), 1.10),
    "Doctor": ((0.06, 0.11, 0.13, 0.09, 0.06, 0.05, 0.05, 0.01), 1.00),
    "Engineer": ((0.01, 0.06, 0.11, 0.13, 0.12, 0.09, 0.08, 0.02), 1.65),
    "Entertainment": ((0.04, 0.07, 0.13, 0.15, 0.14, 0.16, 0.09, 0.03), 0.60),
    "Executive": ((0.02, 0.02, 0.04, 0.07, 0.10, 0.11, 0.12, 0.10), 0.10),
    "Healthcare": ((0.78, 0.59, 0.26, 0.04, 0.01, 0.01, 0.00, 0.00), 0.95),
    "Homemaker": ((0.00, 0.02, 0.05, 0.04, 0.02, 0.02, 0.01, 0.01), 1.70),
    "Lawyer": ((0.00, 0.00, 0.00, 0.00, 0.02, 0.11, 0.32, 0.70), 1.10),
    "Marketing": ((0.07, 0.07, 0.05, 0.03, 0.02, 0.03, 0.03, 0.01), 1.20),
}

# Log odds of having been married by age, then what sex and profession add.
MARRIED_AGES = (18, 30, 40, 50, 65)
MARRIED_LOG_ODDS = (-3.5, -0.9, 0.6, 1.7, 2.8)
MARRIED_MALE = 0.25  # a woman gets the negative
MARRIED_PROFESSION = {"Executive": 2.0, "Healthcare": -0.8, "Marketing": -0.7, "Doctor": -0.3}

# Share with a degree among those who had the time for one, and how many had it by age.
GRADUATED_SHARE = {
    "Artist": 0.92,
    "Doctor": 0.80,
    "Engineer": 0.52,
    "Entertainment": 0.72,
    "Executive": 0.60,
    "Healthcare": 0.90,
    "Homemaker": 0.75,
    "Lawyer": 0.68,
    "Marketing": 0.60,
}
GRADUATED_AGES = (18, 22, 30, 38, 60, 75)
GRADUATED_BY_AGE = (0.0, 0.15, 0.65, 1.0, 1.0, 0.85)

# Weights of a low, average and high spending score among the married; who never married
# scores low. From 55 to 75 years the average scores thin out by LATE_AVERAGE.
SPENDING = ("Low", "Average", "High")
SPENDING_MARRIED = (0.32, 0.56, 0.12)
SPENDING_PROFESSION = {
    "Executive": (0.16, 0.13, 0.71),
    "Lawyer": (0.42, 0.06, 0.52),
    "Healthcare": (0.46, 0.27, 0.27),
    "Marketing": (0.53, 0.17, 0.30),
}
LATE_AVERAGE = 0.4

# Chance of living alone by age (never for a married customer who spends), and the mean
# number of people beyond two in the other households: the single young live with parents.
FAMILY_AGES = (18, 25, 33, 40, 52, 63, 75)
ALONE_SINGLE = (0.02, 0.08, 0.30, 0.54, 0.67, 0.67, 0.67)
ALONE_MARRIED = (0.05, 0.05, 0.14, 0.30, 0.38, 0.55, 0.68)
MORE_SINGLE = (2.2, 2.0, 1.7, 1.0, 0.6, 0.6, 0.5)
MORE_MARRIED = (0.8, 0.8, 0.8, 0.8, 1.1, 0.6, 0.3)
FAMILY_MAX = 9

# Years of work experience are 0 or 1 for most; the rest are spread over 2 to 14 with a peak
# at 8 and 9 years.
SHORT_EXPERIENCE = 0.63
SHORT_EXPERIENCE_OLD = 0.84  # from 60 years on
SHORT_EXPERIENCE_HOMEMAKER = 0.23
LONG_EXPERIENCE = (0.11, 0.10, 0.10, 0.08, 0.08, 0.08, 0.17, 0.18, 0.02, 0.02, 0.02, 0.02, 0.02)

# Var_1 is an unnamed category; Cat_4 is likelier without a degree and among engineers,
# Cat_6 with a degree and from 60 years on.
VAR_1 = ("Cat_1", "Cat_2", "Cat_3", "Cat_4", "Cat_5", "Cat_6", "Cat_7")
VAR_1_WEIGHTS = (0.016, 0.05, 0.10, 0.10, 0.01, 0.55, 0.025)

SEGMENTS = ("A", "B", "C", "D")

NOISE = 1.25  # scale of the Gumbel noise on the utilities: larger is harder to predict

# Share of cells deleted at the end, each on its own and whatever the row holds.
MISSING = {
    "Ever_Married": 0.017,
    "Graduated": 0.010,
    "Profession": 0.015,
    "Work_Experience": 0.10,
    "Family_Size": 0.04,
    "Var_1": 0.010,
}


def generate_customers(n_customers: int, seed: int) -> pd.DataFrame:
    """Draw ``n_customers`` synthetic customers; the same arguments give the same table.

    Columns are drawn one after another, each from those before it::

        Age, Gender -> Profession -> Ever_Married, Graduated -> Spending_Score
                    -> Family_Size, Work_Experience, Var_1 -> Segmentation

    and then some cells are deleted completely at random (see ``MISSING``), so a missing
    value says nothing about the segment. The segment is the one with the largest utility:
    its score for the complete row plus Gumbel noise of scale ``NOISE``. The chances of the
    segments given a row are therefore ``softmax(scores / NOISE)`` (the multinomial logit
    of McFadden 1974); who knew the scores would be right for 55.4% of the customers.

    Parameters
    ----------
    n_customers : int
        At least 1.
    seed : int
        The first rows of a longer table with the same seed are *not* the shorter table.

    Returns
    -------
    DataFrame of shape (n_customers, 11)
        ``ID`` (int, unique, in row order and unrelated to anything), ``Gender``,
        ``Ever_Married``, ``Age`` (years, 18 to 89), ``Graduated``, ``Profession``,
        ``Work_Experience`` (years, 0 to 14), ``Spending_Score``, ``Family_Size`` (persons,
        1 to 9), ``Var_1``, ``Segmentation`` (A to D). Numbers are float64, the others str;
        NaN is missing.

    Raises
    ------
    DataError
        ``n_customers`` is below 1.
    """
    if n_customers < 1:
        raise DataError(f"a demo table needs 1 customer or more, got n_customers={n_customers}")
    rng = np.random.default_rng(seed)
    age = np.floor(np.interp(rng.random(n_customers), AGE_CUMULATIVE, AGE_KNOTS))
    male = rng.random(n_customers) < MALE_SHARE
    profession = _draw_profession(rng, age, male)
    married = _draw_married(rng, age, male, profession)
    graduated = _draw_graduated(rng, age, profession)
    spending = _draw_spending(rng, age, married, profession)
    family = _draw_family(rng, age, married, spending)
    experience = _draw_experience(rng, age, profession)
    var_1 = _draw_var_1(rng, age, graduated, profession)
    columns: dict[str, npt.NDArray[Any]] = {
        "Gender": np.where(male, "Male", "Female"),
        "Ever_Married": np.where(married, "Yes", "No"),
        "Age": age,
        "Graduated": np.where(graduated, "Yes", "No"),
        "Profession": profession,
        "Work_Experience": experience,
        "Spending_Score": spending,
        "Family_Size": family,
        "Var_1": var_1,
    }
    scores = _segment_scores(columns)
    noise = rng.gumbel(size=scores.shape)
    columns["Segmentation"] = np.array(SEGMENTS)[np.argmax(scores + NOISE * noise, axis=1)]
    table = pd.DataFrame({"ID": FIRST_ID + np.arange(n_customers)} | columns)
    for column, share in MISSING.items():
        table.loc[rng.random(n_customers) < share, column] = np.nan
    return table


def _segment_scores(columns: dict[str, npt.NDArray[Any]]) -> FloatArray:
    """Score the four segments for each customer: the rule behind ``Segmentation``.

    Each line adds to the scores of one kind of customer. Most kinds are conjunctions (an
    artist who spends, a graduate in middle age), which trees find and a linear model misses.

    Parameters
    ----------
    columns : dict of column name to array of shape (n_customers,)
        Complete, without missing cells.

    Returns
    -------
    ndarray of shape (n_customers, 4)
        In the order of ``SEGMENTS``.
    """
    age, profession = columns["Age"], columns["Profession"]
    low, high = (columns["Spending_Score"] == level for level in ("Low", "High"))
    graduated = columns["Graduated"] == "Yes"
    alone, many = columns["Family_Size"] == 1, columns["Family_Size"] >= 4
    artist, health = profession == "Artist", profession == "Healthcare"
    maker = np.isin(profession, ("Engineer", "Entertainment"))
    kinds: list[tuple[BoolArray, tuple[float, float, float, float]]] = [
        (age < 25, (-0.4, -0.6, -0.6, 1.4)),
        ((age >= 25) & (age < 35), (0.4, -0.2, -0.2, 0.4)),
        ((age >= 35) & (age < 48) & graduated, (0.3, 0.4, -0.3, -0.3)),
        ((age >= 48) & (age < 72) & graduated, (-0.7, -0.2, 0.9, -0.6)),
        ((age >= 48) & (age < 72) & ~graduated, (0.2, 0.5, -0.6, -0.3)),
        (age >= 72, (0.5, 0.0, -0.3, 0.1)),
        (artist & ~low & graduated, (-1.0, 0.1, 0.9, -1.2)),
        (artist & low & alone, (0.1, 0.7, -0.4, -0.6)),
        (artist & low & ~alone, (0.6, -0.4, 0.5, -0.8)),
        (health & (age < 36), (-1.1, -0.8, -0.3, 1.8)),
        (maker & low, (0.9, -0.6, -0.6, 0.0)),
        (maker & ~low, (0.0, 0.6, -0.6, 0.1)),
        ((profession == "Executive") & ~high, (0.4, 0.5, -0.9, 0.3)),
        ((profession == "Lawyer") & high, (-0.2, 0.4, 0.2, -0.2)),
        ((profession == "Marketing") & low, (-0.4, -0.6, -0.1, 0.8)),
        ((profession == "Marketing") & ~low, (1.0, -0.3, -0.6, 0.6)),
        (~low, (0.1, 0.2, 0.4, -0.8)),
        (low & alone & ~artist, (0.6, -0.1, -0.6, 0.1)),
        (low & many, (-0.4, -0.2, -0.3, 0.5)),
        (~low & many, (-0.4, -0.2, 0.5, -0.2)),
        (columns["Var_1"] == "Cat_4", (0.3, 0.0, -0.6, 0.3)),
    ]
    scores = np.zeros((len(age), len(SEGMENTS)))
    for rows, addend in kinds:
        scores[rows] += addend
    return scores


def _pick(rng: np.random.Generator, names: Iterable[str], weights: FloatArray) -> TextArray:
    """Draw one of ``names`` per row of ``weights``; rows need not sum to 1."""
    cumulative = np.cumsum(weights, axis=1)
    threshold = rng.random((len(weights), 1)) * cumulative[:, -1:]
    drawn: TextArray = np.array(list(names))[np.argmax(threshold < cumulative, axis=1)]
    return drawn


def _draw_profession(rng: np.random.Generator, age: FloatArray, male: BoolArray) -> TextArray:
    weights = np.empty((len(age), len(PROFESSIONS)))
    for column, (by_age, women) in enumerate(PROFESSIONS.values()):
        by_sex = np.where(male, 2 - women, women)
        weights[:, column] = np.interp(age, PROFESSION_AGES, by_age) * by_sex
    return _pick(rng, PROFESSIONS, weights)


def _draw_married(
    rng: np.random.Generator, age: FloatArray, male: BoolArray, profession: TextArray
) -> BoolArray:
    log_odds = np.interp(age, MARRIED_AGES, MARRIED_LOG_ODDS)
    log_odds += np.where(male, MARRIED_MALE, -MARRIED_MALE)
    for name, addend in MARRIED_PROFESSION.items():
        log_odds[profession == name] += addend
    return rng.random(len(age)) < 1 / (1 + np.exp(-log_odds))


def _draw_graduated(rng: np.random.Generator, age: FloatArray, profession: TextArray) -> BoolArray:
    share = np.interp(age, GRADUATED_AGES, GRADUATED_BY_AGE)
    for name, ever in GRADUATED_SHARE.items():
        share[profession == name] *= ever
    return rng.random(len(age)) < share


def _draw_spending(
    rng: np.random.Generator, age: FloatArray, married: BoolArray, profession: TextArray
) -> TextArray:
    weights = np.tile(SPENDING_MARRIED, (len(age), 1))
    for name, shares in SPENDING_PROFESSION.items():
        weights[profession == name] = shares
    weights[:, 1] *= np.interp(age, (55, 75), (1, LATE_AVERAGE))
    weights[~married, 1:] = 0
    return _pick(rng, SPENDING, weights)


def _draw_family(
    rng: np.random.Generator, age: FloatArray, married: BoolArray, spending: TextArray
) -> FloatArray:
    def by_age(of_married: tuple[float, ...], of_single: tuple[float, ...]) -> FloatArray:
        return np.where(
            married, np.interp(age, FAMILY_AGES, of_married), np.interp(age, FAMILY_AGES, of_single)
        )

    alone = (spending == "Low") & (rng.random(len(age)) < by_age(ALONE_MARRIED, ALONE_SINGLE))
    others = np.minimum(2.0 + rng.poisson(by_age(MORE_MARRIED, MORE_SINGLE)), FAMILY_MAX)
    return np.where(alone, 1.0, others)


def _draw_experience(
    rng: np.random.Generator, age: FloatArray, profession: TextArray
) -> FloatArray:
    share = np.where(age >= 60, SHORT_EXPERIENCE_OLD, SHORT_EXPERIENCE)
    share[profession == "Homemaker"] = SHORT_EXPERIENCE_HOMEMAKER
    short = rng.random(len(age)) < share
    few = rng.integers(0, 2, len(age))
    many = 2 + rng.choice(len(LONG_EXPERIENCE), len(age), p=LONG_EXPERIENCE)
    return np.where(short, few, many).astype(np.float64)


def _draw_var_1(
    rng: np.random.Generator, age: FloatArray, graduated: BoolArray, profession: TextArray
) -> TextArray:
    weights = np.tile(VAR_1_WEIGHTS, (len(age), 1))
    cat_4, cat_6 = VAR_1.index("Cat_4"), VAR_1.index("Cat_6")
    weights[~graduated, cat_4] *= 2
    weights[profession == "Engineer", cat_4] *= 2
    weights[graduated, cat_6] *= 1.3
    weights[age >= 60, cat_6] *= 2
    return _pick(rng, VAR_1, weights)
