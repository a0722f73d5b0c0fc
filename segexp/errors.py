"""Errors that a user can cause and fix; the command line prints them as one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SegexpError(Exception):
    """Something a user can fix: names the thing, what was seen and what would do.

    ::

        SegexpError
        ├── ConfigError   a word, a key or a value of the configuration
        ├── DataError     a table, its columns or its cells
        └── RunError      a run directory that cannot be read or written
            ├── RunInterruptedError  a run that was stopped
            └── RunFailedError  a run that began and could not end; its directory says why
    """

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: the one line."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(SegexpError):
    """A word, a key or a value of the configuration is wrong."""


class DataError(SegexpError):
    """A table cannot be found or read, or its content cannot be used."""


class RunError(SegexpError):
    """A run directory cannot be read or written."""


class RunInterruptedError(RunError):
    """A run was stopped by Ctrl-C; what it finished is kept."""

    exit_code = 130


class RunFailedError(RunError):
    """A run began and could not end; what it finished is kept."""

    exit_code = 1


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``known``, or an empty string.

    Examples
    --------
    >>> did_you_mean("lightgmb", ["lightgbm", "xgboost"])
    "; did you mean 'lightgbm'?"
    >>> did_you_mean("zzz", ["lightgbm"])
    ''
    """
    # Compared without case: `segmentation` is the likeliest slip for `Segmentation`.
    # A key in YAML may be a number.
    by_lower = {str(name).lower(): str(name) for name in known}
    nearest = difflib.get_close_matches(str(word).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[nearest[0]]!r}?" if nearest else ""
