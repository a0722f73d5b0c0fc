"""What a run left as data frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import segexp.runs as runs
from segexp.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from segexp.report.source import Source

T = TypeVar("T")

TEXTS = ("segment", "stability", "markers", "rows")


def there(found: T | None) -> T:
    """Return a table, or raise ``RunError`` if it cannot be read."""
    if found is None:
        raise RunError("its table cannot be read")
    return found


def with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns are numbers, but for those that are known to be texts."""
    import pandas as pd

    numbers = {
        name: pd.to_numeric(table[name], errors="coerce") for name in table if name not in TEXTS
    }
    return table.assign(**{str(name): column for name, column in numbers.items()})


def summary_table(source: Source, summary: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return mean, std, interval and n of each metric, beside the means of the baselines.

    Parameters
    ----------
    source : Source
        Of the baselines.
    summary : mapping of metric to mapping
        With mean, std, interval and n.

    Returns
    -------
    DataFrame
        By ``metric``: ``mean, std, low, high, n``, and ``baseline[NAME]`` of each baseline.
    """
    import pandas as pd

    rows = {}
    for metric, entry in summary.items():
        low, high = entry["interval"] or (None, None)
        rows[metric] = (entry["mean"], entry["std"], low, high, entry["n"])
    columns = ["mean", "std", "low", "high", "n"]
    made = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("metric")
    made = made.astype(dict.fromkeys(columns[:-1], float))
    if source.baselines is not None:
        groups = source.baselines.groupby(["baseline", "metric"], sort=False)["value"].mean()
        for name in groups.index.unique("baseline"):
            made[f"baseline[{name}]"] = groups[name].reindex(made.index)
    return made


def names_of(source: Source) -> list[str]:
    """Return the segments without the noise."""
    return [name for name in there(source.segments)["segment"] if name != "noise"]


def criteria(source: Source) -> pd.DataFrame:
    """Return the criteria of the number of segments on all customers."""
    table = there(source.k_table)
    return with_numbers(table[table["rows"] == runs.FINAL].sort_values("k"))


def choices_of_k(source: Source) -> tuple[dict[str, int | None], int | None]:
    """Return the number of segments by criterion, and that of the verdict."""
    verdict = there(source.segmentation)["k"][runs.FINAL]
    choices = {str(choice["criterion"]): choice["k"] for choice in verdict["choices"]}
    return choices, verdict["verdict"]


def scores_by_segment(source: Source) -> pd.DataFrame:
    """Return precision, recall and F1 of each known segment, means over folds."""
    import pandas as pd

    summary = there(source.summary)
    rows = [
        (
            name,
            *(
                (summary.get(f"{metric}[{name}]") or {}).get("mean")
                for metric in ("precision", "recall", "f1")
            ),
        )
        for name in source.manifest["segments"]
    ]
    made = pd.DataFrame(rows, columns=["segment", "precision", "recall", "f1"])
    return made.astype(dict.fromkeys(("precision", "recall", "f1"), float))
