"""What a report says of the checks that looked at its run."""

from __future__ import annotations

from collections.abc import Collection

from segexp.checks.checking import CODES, check_codes, check_run
from segexp.report.page import Block, Findings, Section, Text
from segexp.report.source import Source


def check_section(source: Source, muted: Collection[str] = ()) -> Section:
    """Return what is suspicious about a run, and how many of its findings were muted.

    Parameters
    ----------
    source : Source
    muted : collection of str
        Codes of checks whose findings are counted, and not shown.

    Raises
    ------
    ConfigError
        If a muted code does not exist.
    """
    check_codes(muted)
    every = check_run(source)
    spoken = [check for check in every if check.code not in muted]
    hidden = sorted({check.code for check in every if check.code in muted})
    blocks: list[Block] = [
        Findings(
            [
                {
                    "code": check.code,
                    "message": f"{_begun(check.message)}: {check.explanation}.",
                    "advice": check.advice,
                }
                for check in spoken
            ],
            none=f"{len(CODES)} checks looked at this run, and none has anything to say.",
        )
    ]
    if hidden:
        n = len(every) - len(spoken)
        words = "finding was" if n == 1 else "findings were"
        blocks.append(Text(f"{n} {words} muted: {', '.join(hidden)}.", "quiet"))
    return Section("checks", "Checks", blocks)


def _begun(message: str) -> str:
    """Return a message with a capital letter, unless it begins with a name of the config."""
    first = message.partition(" ")[0].rstrip(",;:")
    is_name = any(mark in first for mark in "_.=")
    return message if is_name else f"{message[:1].upper()}{message[1:]}"
