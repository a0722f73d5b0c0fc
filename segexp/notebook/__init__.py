"""segexp in a notebook: the words of the command line as functions, what a run left as objects.

Every function raises the same one-line errors as the command line.
"""

from segexp.notebook.figures import Figures, Picture
from segexp.notebook.results import (
    ComparisonResult,
    RunResult,
    SweepResult,
    compare,
    open,
    report,
)
from segexp.notebook.running import run, sweep

__all__ = [
    "ComparisonResult",
    "Figures",
    "Picture",
    "RunResult",
    "SweepResult",
    "compare",
    "open",
    "report",
    "run",
    "sweep",
]
