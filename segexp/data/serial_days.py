"""Dates that a spreadsheet left as numbers: days since the end of 1899."""

from __future__ import annotations

import re
from datetime import date, timedelta

import numpy as np
from numpy.typing import ArrayLike

ORIGIN = date(1899, 12, 30)  # of Excel's days after February 1900, which it takes for a leap year
# 1920 to 2050 under the name of a date; 2000 to 2036 under any name: sums of money would be taken
# for dates else.
NAMED, UNNAMED = (7_306, 54_788), (36_526, 49_709)
LEAST_DAYS = 20  # different ones; a few whole numbers are codes
MOST_ROUND = 0.3  # share of multiples of ten; of days it is a tenth, of amounts more

DATE_NAME = re.compile(
    r"(?<![a-z])(date|since|joined|join|birth|born|dob|created|updated|registered|signup|opened"
    r"|closed|expires|expiry|datum|seit|enrol+ed|dt|(first|last|start|end)[^a-z]*(date|day|seen))"
    r"(?![a-z])"
)
OTHER_NAME = re.compile(  # of five digits as a day has them
    r"(?<![a-z])(zip|zipcode|post|postal|postcode|code|value|rate|price|amount|id)(?![a-z])"
)


def serial_days(name: str, values: ArrayLike) -> tuple[date, date] | None:
    """Return the first and last date if a column of numbers looks like a spreadsheet's days.

    Parameters
    ----------
    name : str
        Of the column; one that speaks of dates allows more of them, one of codes or money none.
    values : array-like of float
        NaN where missing.

    Examples
    --------
    >>> serial_days("CustomerSince", [*range(43_800, 43_830)])
    (datetime.date(2019, 12, 1), datetime.date(2019, 12, 30))
    >>> serial_days("income", [*range(43_800, 73_800, 1_000)])
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    if OTHER_NAME.search(words) is not None:
        return None
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    if len(np.unique(numbers)) < LEAST_DAYS:
        return None
    least, most = float(numbers.min()), float(numbers.max())
    low, high = NAMED if DATE_NAME.search(words) is not None else UNNAMED
    if least < low or most > high:
        return None
    # A time of the day is a decimal like any other, and a mean of amounts is one too.
    if (numbers != np.floor(numbers)).any():
        return None
    if (numbers % 10 == 0).mean() > MOST_ROUND:
        return None
    return ORIGIN + timedelta(days=int(least)), ORIGIN + timedelta(days=int(most))
