"""All checks of a run, in the order of ``docs/checks.md``.

Each is called as the code of its :class:`RunCheck`, and returns one, several or None. A check that
lacks what it needs is silent: it says nothing of a run that it cannot judge. Thresholds are named
and give their reason; ``docs/checks.md`` says of every code what makes it speak and what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

from segexp.checks import data, judging, process, purchases, segments
from segexp.checks.readings import Check, Readings, RunCheck
from segexp.errors import ConfigError, did_you_mean

logger = logging.getLogger(__name__)


def check_run(run: Readings, muted: Collection[str] = ()) -> tuple[RunCheck, ...]:
    """Run every check.

    Parameters
    ----------
    run : Readings
        Such as ``Source.open(path)`` of :mod:`segexp.report.source`.
    muted : collection of str
        Codes that are left out.

    Returns
    -------
    tuple of RunCheck
        In the order of ``docs/checks.md``.

    Raises
    ------
    ConfigError
        If a muted code does not exist.
    """
    check_codes(muted)
    found = [spoken for check in CHECKS for spoken in _spoken(check, run)]
    return tuple(spoken for spoken in found if spoken.code not in muted)


def check_codes(codes: Collection[str]) -> None:
    """Check that codes exist.

    Raises
    ------
    ConfigError
        Names the first that does not, and one that is meant perhaps.
    """
    for code in codes:
        if code not in CODES:
            raise ConfigError(
                f"there is no check {code!r}{did_you_mean(code, CODES)}; see docs/checks.md"
            )


def _spoken(check: Check, run: Readings) -> Iterator[RunCheck]:
    try:
        found = check(run)
    except Exception as error:  # a run from elsewhere may hold anything
        logger.debug("check %s", check.__name__, exc_info=True)
        found = RunCheck(
            "not_checked",
            f"the check {check.__name__} could not read this run ({type(error).__name__})",
            "a file of the run directory is damaged, or was written by another segexp, so that "
            "this check can say neither yes nor no",
            "compare the files with those of a fresh run of the same config",
        )
    if found is not None:
        yield from [found] if isinstance(found, RunCheck) else found


CHECKS: tuple[Check, ...] = (
    *process.CHECKS, *data.CHECKS, *judging.CHECKS, *segments.CHECKS, *purchases.CHECKS,
)  # fmt: skip

CODES: tuple[str, ...] = (
    *(check.__name__ for check in CHECKS if check is not judging.search_findings),
    *judging.SEARCH_EXPLANATIONS,
    "not_checked",
)
