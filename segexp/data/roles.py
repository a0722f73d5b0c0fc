"""The role of each column: the declared ones checked, the others inferred with a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segexp.config.schema import DatasetConfig
from segexp.data.cells import (
    DAY_OR_MONTH_FIRST,
    ISO,
    LEADING_ZERO,
    Cells,
    is_number,
    matches_any,
    parse_dates,
    parse_numbers,
)
from segexp.data.findings import Finding
from segexp.errors import DataError, did_you_mean

FEATURE_ROLES = ("numeric", "categorical", "ordinal", "date")
MAX_SHOWN = 30  # column names in one error
GROUPED = "rows are grouped by it (evaluation.group), so it is no feature"

# A column is taken as numbers or dates if nearly all cells are: the others are then reported
# as invalid, where a column of text would be taken for categories without a word.
NEARLY_ALL = 0.9
DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
FEW_TEXTS = 20  # so many different texts are categories, however short the table
UNIQUE_SHARE = 0.5  # texts of which more than this share are different are names or notes

ID_NAME = re.compile(
    r"^id$|[_\W]id$|(?-i:[a-z0-9]I[Dd]$)"
    r"|^(customer|client|user|account|member|household|person|subscriber|card|row)s?id$",
    re.IGNORECASE,
)


def check_columns(
    config: DatasetConfig, columns: Sequence[str], others: Mapping[str, str] | None = None
) -> None:
    """Check that every column that the config names is there, exactly once.

    Parameters
    ----------
    columns : sequence of str
        The names in the header.
    others : mapping of config key to column
        Columns named outside the dataset group, e.g. ``{"evaluation.group": "ID"}``.

    Raises
    ------
    DataError
        A named column is not there, a name occurs twice, or a column has no role where
        ``dataset.other_columns`` is ``error``.
    """
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise DataError(
            f"dataset {config.name!r}: column {twice[0]!r} occurs {columns.count(twice[0])} times; "
            "rename the columns so that each name occurs once"
        )
    for key, column in _named_columns(config, others or {}):
        if column not in columns:
            raise DataError(
                f"{key} names the column {column!r}, which dataset {config.name!r} does not have"
                f"{did_you_mean(column, columns) or ';'} the columns are {_listed(columns)}"
            )
    declared = {column for members in config.roles().values() for column in members}
    declared |= set((others or {}).values())
    undeclared = [column for column in columns if column not in declared]
    if config.other_columns == "error" and undeclared:
        raise DataError(
            f"dataset {config.name!r}: no role is declared for {_listed(undeclared)}; name them in "
            "the config (dataset.ignore leaves columns out) or say dataset.other_columns=infer"
        )


def _named_columns(config: DatasetConfig, others: Mapping[str, str]) -> list[tuple[str, str]]:
    named = [(f"dataset.{role}", name) for role, names in config.roles().items() for name in names]
    ruled = [
        (f"dataset.{key}", name) for key in ("filter", "rules") for name in getattr(config, key)
    ]
    return [*named, *ruled, *others.items()]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_SHOWN
    return ", ".join(map(repr, names[:MAX_SHOWN])) + (f" and {more} more" if more > 0 else "")


def final_roles(
    config: DatasetConfig, cells: Cells, decimal: str = ".", group: str | None = None
) -> tuple[dict[str, tuple[str, ...]], list[Finding]]:
    """Give every column of the table one role.

    Columns without a declared role are ignored or, with ``other_columns=infer``, take the
    first role that fits:

    ============ ====================================================================
    ignored      no name, no value at all, or one value in every row
    id           different whole numbers or texts in all rows under a name such as
                 ``id``, ``customer_id`` or ``CustomerID``, if no id is declared;
                 ignored if one is
    numeric      at least 90% numbers, none with leading zeros
    date         at least 90% ISO dates (other dates need ``dataset.date``: ignored)
    categorical  texts, up to 20 different ones or repeated in half of the cells
    ignored      other texts: names, notes
    ============ ====================================================================

    A column named like an id whose values repeat is categorical up to 20 values and ignored
    beyond.

    Parameters
    ----------
    group : str, optional
        The column of ``evaluation.group``: it says which rows belong together, by which a model
        would recognise them, so that it is no feature whatever its role.

    Returns
    -------
    roles : dict
        Role to columns in the order of the table; every role is a key.
    findings : list of Finding
        One per column whose role was inferred, with the reason.
    """
    declared = {name: role for role, names in config.roles().items() for name in names}
    roles: dict[str, list[str]] = {role: [] for role in config.roles()}
    findings: list[Finding] = []
    has_id = config.id is not None
    for name, column in cells.columns.items():
        if name in declared:
            role = declared[name]
            if name == group and role in FEATURE_ROLES:
                findings.append(Finding("role", f"column {name!r} is ignored: {GROUPED}", 1))
                role = "ignore"
            roles[role].append(name)
            continue
        if config.other_columns == "ignore":
            role, reason = "ignore", "dataset.other_columns=ignore"
        else:
            role, reason = _infer(name, column, has_id, decimal)
            if name == group and role in FEATURE_ROLES:
                role, reason = "ignore", GROUPED
        has_id = has_id or role == "id"
        roles[role].append(name)
        taken = "ignored" if role == "ignore" else f"taken as {role}"
        findings.append(Finding("role", f"column {name!r} without a role is {taken}: {reason}", 1))
    return {role: tuple(names) for role, names in roles.items()}, findings


def _infer(name: str, column: pa.LargeStringArray, has_id: bool, decimal: str) -> tuple[str, str]:
    """Return a role and the reason for it."""
    known = column.drop_null()
    different = pc.count_distinct(known).as_py()
    if not name:
        return "ignore", "it has no name"
    if different == 0:
        return "ignore", "it has no value in any row"
    if different == 1 and len(known) == len(column):
        return "ignore", "it has the same value in every row"
    number = is_number(known, decimal)
    if ID_NAME.search(name):
        role = _infer_id(known, different, len(column), number, has_id, decimal)
        if role is not None:
            return role
    if different == 1:
        return "categorical", "it has one value or none"
    if number.mean() >= NEARLY_ALL and not matches_any(known, LEADING_ZERO):
        return "numeric", "its values are numbers"
    if decimal == "." and _share(known, DECIMAL_COMMA) >= NEARLY_ALL:
        raise DataError(
            f"column {name!r} looks like numbers with a decimal comma (for example "
            f"{known[0].as_py()!r}); say dataset.decimal=comma, or give it a role"
        )
    return _infer_text(known, different)


def _infer_id(
    known: pa.LargeStringArray,
    different: int,
    n_rows: int,
    number: np.ndarray,
    has_id: bool,
    decimal: str,
) -> tuple[str, str] | None:
    numbers = parse_numbers(known.filter(pa.array(number)), decimal)
    if np.any(numbers != np.floor(numbers)):
        return None
    if different == n_rows:
        if has_id:
            return "ignore", "it is named like an id, and there is another id"
        return "id", "it is named like an id, and its values are all different"
    if different <= FEW_TEXTS:
        return "categorical", f"it is named like an id and has {different} different values"
    return "ignore", "it is named like an id and its values repeat"


def _infer_text(known: pa.LargeStringArray, different: int) -> tuple[str, str]:
    iso = _share(known, ISO)
    if iso >= NEARLY_ALL and not np.isnat(parse_dates(known, dayfirst=False)).all():
        return "date", "its values are ISO dates"
    if _share(known, DAY_OR_MONTH_FIRST) >= NEARLY_ALL:
        return "ignore", "its values look like dates; name it in dataset.date, see dataset.dayfirst"
    if different > FEW_TEXTS and different > UNIQUE_SHARE * len(known):
        return "ignore", f"it has {different} different texts in {len(known)} cells"
    return "categorical", f"it has {different} different texts"


def _share(known: pa.LargeStringArray, pattern: str) -> float:
    return float(np.mean(pc.match_substring_regex(known, pattern).to_numpy(zero_copy_only=False)))
