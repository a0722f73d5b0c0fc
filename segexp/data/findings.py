"""Findings: what was wrong or noteworthy in a table, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One plain sentence about a table, with the number of things that it is about."""

    code: str  # one word per kind, e.g. missing, token, rule, role
    message: str
    count: int  # cells, rows, ids or columns, as the message says


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Say ``count`` with its noun.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "cell")
    ('1 row', '1200 cells')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
