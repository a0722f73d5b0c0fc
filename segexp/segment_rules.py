"""Segments as rules in words: a small tree on the columns of the table, and its price.

A surrogate decision tree (CART: Breiman, Friedman, Olshen and Stone 1984, Classification and
Regression Trees) is fitted to the segments. Its *fidelity* is the share of customers whom it gives
the segment that they have. Of segments that are made by distances to means, the *price of
explainability* is the k-means cost of the tree's partition over that of the segments themselves
(Dasgupta, Frost, Moshkovitz and Rashtchian 2020, Explainable k-means and k-medians clustering,
ICML).

The tree is kept in numbers of full precision, apart from the library that found it: predictions,
the SQL text and the pandas queries all say the same of every customer.

What is missing goes, at each question, to the side where it fitted better when the tree was grown;
if nobody lacked the answer there, to the larger side. A level of an ordered column that was not
there then counts as missing; one of any other column is unlike every level that a rule names.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from segexp.clustering.profile import NOISE
from segexp.clustering.quality import check_labels
from segexp.data.cells import cell_text
from segexp.errors import DataError, did_you_mean
from segexp.segment_names import column_labels

Codes: TypeAlias = NDArray[np.int_]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

VERSION = 1
Cell: TypeAlias = str | float | bool

NUMERIC, ORDINAL, CATEGORICAL = "numeric", "ordinal", "categorical"
KINDS = (NUMERIC, ORDINAL, CATEGORICAL)
N_FOLDS = 5  # of the held-out fidelity
LEAST_GAIN = 0.005  # of the held-out customers that one more leaf must get right
MAX_LEVELS = 50  # of a category that the tree may ask for, the most frequent ones
MAX_ROWS = 20_000  # customers that a tree is grown from, drawn from a larger table
SQL_COLUMN = "predicted_segment"
MAX_DIGITS = 20  # of a whole number that a column of numbers can hold
MAX_LEAVES = 1_000  # of a tree; the words of a leaf grow with its depth


# ---- the tree ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A column of the table, as a rule asks for it."""

    name: str
    kind: str  # numeric, ordinal or categorical
    levels: tuple[str, ...] = ()  # ordinal: from low to high; categorical: those that may be asked
    has_missing: bool = False  # among the customers that the tree was grown from

    @cached_property
    def cells(self) -> dict[str, tuple[Cell, ...]]:
        """The cells that stand for a level: its text, and what a reader of files may make of it.

        A column of the codes 1 and 2 is text in one table, and numbers in another. A number for
        which two levels would stand is the one that is written in the usual way, else neither.
        """
        read = {level: cell for level in self.levels if (cell := _read_as(level)) is not None}
        found: dict[Cell, list[str]] = {}
        for level, cell in read.items():
            found.setdefault(cell, []).append(level)
        usual = {}
        for twins in found.values():
            written = [level for level in twins if level == cell_text(read[level])]
            if len(alone := written if len(twins) > 1 else twins) == 1:
                usual[alone[0]] = read[alone[0]]
        return {
            level: (level, usual[level]) if level in usual else (level,) for level in self.levels
        }


@dataclass(frozen=True)
class Split:
    """A question; customers for whom the answer is yes go left.

    Numeric: at most ``threshold``? Ordinal: one of the first ``threshold`` levels? Categorical: at
    ``level``? With neither of the two: is the cell missing?
    """

    column: int
    left: int  # number of a later node
    right: int
    missing_left: bool
    threshold: float | None = None
    level: str | None = None


@dataclass(frozen=True)
class Leaf:
    """The end of a path."""

    segment: int  # place in the names
    n: int  # customers
    purity: float  # share of them who are in the segment


Node: TypeAlias = Split | Leaf


@dataclass(frozen=True)
class Condition:
    """What all questions on the way to a leaf ask of one column."""

    column: Column
    above: float = -math.inf  # numeric
    at_most: float = math.inf
    levels: tuple[str, ...] | None = None  # those that are allowed; None: all but the excluded
    excluded: tuple[str, ...] = ()
    missing: bool = True  # may be missing
    known: bool = True  # may be known

    def __and__(self, other: Condition) -> Condition:
        levels = self.levels if other.levels is None else other.levels
        if self.levels is not None and other.levels is not None:
            levels = tuple(level for level in self.levels if level in other.levels)
        excluded = tuple(dict.fromkeys((*self.excluded, *other.excluded)))
        if levels is not None:
            levels, excluded = tuple(level for level in levels if level not in excluded), ()
        return Condition(
            self.column,
            max(self.above, other.above),
            min(self.at_most, other.at_most),
            levels,
            excluded,
            self.missing and other.missing,
            self.known and other.known and levels != (),
        )

    @property
    def _is_open(self) -> bool:
        """Every known value will do."""
        is_unbounded = math.isinf(self.above) and math.isinf(self.at_most)
        return is_unbounded and self.levels is None and not self.excluded

    def words(self, label: str) -> str:
        """Return the condition in words."""
        if not self.known:
            return f"{label} not known"
        if self._is_open:
            return f"{label} known"
        said = self._known_words(label)
        return f"{said} (or not known)" if self.missing and self.column.has_missing else said

    def _known_words(self, label: str) -> str:
        if self.column.kind == NUMERIC:
            if math.isinf(self.above):
                return f"{label} at most {_number(self.at_most)}"
            if math.isinf(self.at_most):
                return f"{label} above {_number(self.above)}"
            return f"{label} above {_number(self.above)} up to {_number(self.at_most)}"
        if self.levels is None:
            return f"{label} not {_either(self.excluded)}"
        return f"{label} {_either(self.levels)}"

    def code(self, language: Language) -> str:
        """Return the condition in a language that computers read."""
        name = language.name(self.column.name)
        null = f"{name}{language.null}"
        if self.column.kind == ORDINAL:
            return self._levels_in(language, null)
        if not self.known:
            return null if self.missing else language.never
        parts = []
        if not math.isinf(self.above):
            parts.append(f"{name} > {language.number(self.above)}")
        if not math.isinf(self.at_most):
            parts.append(f"{name} <= {language.number(self.at_most)}")
        if self.levels is not None:
            parts.append(self._in(language, language.one_of, self.levels))
        if self.excluded:
            parts.append(self._in(language, language.none_of, self.excluded))
        if not self.missing:
            # In pandas a missing cell is none of any levels, so that it must be said.
            is_said = parts and not self.excluded
            return language.both.join(parts if is_said else [f"{name}{language.known}", *parts])
        if not parts:
            return language.always
        said = language.both.join(parts)
        return f"({null}{language.either}{f'({said})' if len(parts) > 1 else said})"

    def _levels_in(self, language: Language, null: str) -> str:
        """Return the condition on an ordered column, of which a level that is new is missing."""
        known = self.column.levels if self.known else ()
        allowed = known if self.levels is None or not self.known else self.levels
        if not self.missing:
            return self._in(language, language.one_of, allowed) if allowed else language.never
        others = [level for level in self.column.levels if level not in allowed]
        if not others:
            return language.always
        return f"({null}{language.either}{self._in(language, language.none_of, others)})"

    def _in(self, language: Language, word: str, levels: Sequence[str]) -> str:
        listed = language.levels(self.column, levels)
        return f"{language.name(self.column.name)} {word} {listed}"


@dataclass(frozen=True)
class Language:
    """How conditions are written for SQL, or for pandas."""

    name: Callable[[str], str]
    number: Callable[[float], str]
    levels: Callable[[Column, Sequence[str]], str]
    one_of: str
    none_of: str
    null: str
    known: str
    both: str
    either: str
    always: str
    never: str

    def rules(self, rules: Sequence[Rule]) -> str:
        """Return what is true if one of some rules is."""
        if len(rules) == 1:
            return self._rule(rules[0])
        return self.either.join(f"({self._rule(rule)})" for rule in rules)

    def _rule(self, rule: Rule) -> str:
        return self.both.join(condition.code(self) for condition in rule.conditions) or self.always


@dataclass(frozen=True)
class Rule:
    """One way to be in a segment: the conditions of a leaf."""

    segment: int
    conditions: tuple[Condition, ...]
    n: int
    purity: float


# ---- the rules ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentRules:
    """A small tree that stands for segments, and how well it does.

    Attributes
    ----------
    names : tuple of str
        Of the segments.
    columns : tuple of Column
    nodes : tuple of Split and Leaf
        The first is the root.
    fidelity : float
        Share of the ``n`` customers whom the tree gives their own segment; in-sample.
    held_out_fidelity : float
        The same share of ``n_held_out`` customers, each judged by a tree of as many leaves that
        was grown without them; NaN where there were too few.
    price : float or None
        k-means cost of the tree's segments over that of the segments; None without a space, with
        noise, or where the cost is 0.
    price_at_centers : float or None
        The same with distances to the means of the segments, not of the tree's parts: what it
        costs to treat customers as the segment that the tree gives them (the surrogate cost of
        Frost, Moshkovitz and Rashtchian 2020, ExKMC: expanding explainable k-means clustering,
        arXiv:2006.02399).
    n, n_grown, n_held_out : int
        Customers that were judged, that the tree was grown from, and that were held out.
    left_out : tuple of str
        Columns of kinds that no rule asks for, such as dates.
    """

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    nodes: tuple[Node, ...]
    fidelity: float
    held_out_fidelity: float
    price: float | None
    price_at_centers: float | None
    n: int
    n_grown: int
    n_held_out: int
    left_out: tuple[str, ...] = ()

    @cached_property
    def leaves(self) -> tuple[Rule, ...]:
        """The rules, from the left of the tree to the right."""
        found: list[Rule] = []
        stack: list[tuple[int, dict[int, Condition]]] = [(0, {})]
        while stack:
            number, path = stack.pop()
            node = self.nodes[number]
            if isinstance(node, Leaf):
                conditions = tuple(path[place] for place in sorted(path))
                found.append(Rule(node.segment, conditions, node.n, node.purity))
                continue
            column = self.columns[node.column]
            here = path.get(node.column, Condition(column))
            for is_left, child in ((False, node.right), (True, node.left)):
                asked = here & _condition(node, column, is_left=is_left)
                stack.append((child, {**path, node.column: asked}))
        return tuple(found)

    def rules_of(self, segment: str) -> tuple[Rule, ...]:
        """Return the rules of a segment, that of most customers first; empty if it has no leaf."""
        return self._by_segment.get(segment, ())

    @cached_property
    def _by_segment(self) -> dict[str, tuple[Rule, ...]]:
        own: dict[str, list[Rule]] = {}
        for rule in self.leaves:
            own.setdefault(self.names[rule.segment], []).append(rule)
        return {s: tuple(sorted(rules, key=lambda rule: -rule.n)) for s, rules in own.items()}

    def words(self, labels: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return each segment's rules in words; a segment without one is not there.

        Parameters
        ----------
        labels : mapping of column to text, optional
            By default :func:`segexp.segment_names.column_labels`.
        """
        labels = {**column_labels(column.name for column in self.columns), **(labels or {})}
        said = {}
        for name in self.names:
            if rules := self.rules_of(name):
                said[name] = "; or ".join(_rule_words(rule, labels) for rule in rules)
        return said

    def predict(self, X: pd.DataFrame) -> NDArray[Any]:
        """Return the name of the segment that the tree gives each customer, an array of objects.

        Raises
        ------
        DataError
            If a column that a rule asks for is not there, or holds no numbers where it should.
        """
        names = np.array(self.names, dtype=object)
        return names[_routed(self.columns, self.nodes, X)[1]]

    def to_sql(self, table: str = "customers", names: Mapping[str, str] | None = None) -> str:
        """Return one SELECT with the segment of each row of a table as a CASE expression.

        Standard SQL: names of columns stand in double quotes, texts in single ones, and numbers
        are written so that they are read as the same double. A missing cell is NULL; numbers that
        are not a number must be made NULL before. The column is called ``predicted_segment``, for
        tables of customers often have a ``segment``; a number is added if a column has that name.

        Parameters
        ----------
        table : str, default="customers"
        names : mapping of segment to text, optional
            Other names that are written.
        """
        lines = [
            f"    WHEN {SQL.rules(rules)}\n      THEN {_text((names or {}).get(name, name))}"
            for name in self.names
            if (rules := self.rules_of(name))
        ]
        cases = "\n".join(lines)
        taken = {column.name.casefold() for column in self.columns}
        numbered = (f"{SQL_COLUMN}_{number}" for number in itertools.count(2))
        free = (name for name in itertools.chain([SQL_COLUMN], numbered) if name not in taken)
        own = _identifier(next(free))
        return f"SELECT *,\n  CASE\n{cases}\n  END AS {own}\nFROM {_identifier(table)}"

    def to_where(self) -> dict[str, str]:
        """Return for each segment the condition that stands after WHERE in SQL."""
        return {name: SQL.rules(rules) for name in self.names if (rules := self.rules_of(name))}

    def to_pandas(self) -> dict[str, str]:
        """Return for each segment what ``DataFrame.query(..., engine="python")`` takes.

        Raises
        ------
        DataError
            If a column has a name that a query cannot hold.
        """
        self._check_backticks()
        return {name: PANDAS.rules(rules) for name in self.names if (rules := self.rules_of(name))}

    def _check_backticks(self) -> None:
        asked = {node.column for node in self.nodes if isinstance(node, Split)}
        names = [column.name for column in self.columns]
        for name in (names[place] for place in sorted(asked)):
            twins = [other for other in names if _as_word(other) == _as_word(name)]
            if not name or len(twins) > 1 or set("`\n\r\\\0") & set(name):
                raise DataError(
                    f"a pandas query cannot ask for the column {name!r}; use the SQL text, "
                    "or rename the column"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return everything in values that JSON can hold; numbers keep every digit."""
        content = asdict(self)
        content["nodes"] = [
            {key: value for key, value in asdict(node).items() if value is not None}
            for node in self.nodes
        ]
        if math.isnan(self.held_out_fidelity):
            content["held_out_fidelity"] = None
        return {"version": VERSION, **_lists(content)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SegmentRules:
        """Read what :meth:`to_dict` returned.

        Raises
        ------
        DataError
            If it is damaged, or of another version.
        """
        if not isinstance(content, Mapping) or content.get("version") != VERSION:
            raise DataError(f"segment rules of version {VERSION} are needed, got {content!r:.60}")
        try:
            rules = _parsed(cls, content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"the segment rules are damaged: {error!r:.80}") from error
        _check(rules)
        return rules


def _condition(split: Split, column: Column, *, is_left: bool) -> Condition:
    """Return what one side of a question asks."""
    side = Condition(column, missing=split.missing_left == is_left)
    if split.level is not None:
        own = (split.level,)
        return replace(side, levels=own) if is_left else replace(side, excluded=own)
    if split.threshold is None:
        return replace(side, missing=is_left, known=not is_left)
    if column.kind == ORDINAL:
        cut = int(split.threshold)
        return replace(side, levels=column.levels[:cut] if is_left else column.levels[cut:])
    if is_left:
        return replace(side, at_most=split.threshold)
    return replace(side, above=split.threshold)


def _routed(
    columns: Sequence[Column], nodes: Sequence[Node], X: pd.DataFrame
) -> tuple[Codes, Codes]:
    """Return the number of the leaf and the segment of each customer."""
    asked = {node.column for node in nodes if isinstance(node, Split)}
    cells = {place: _cells(X, columns[place]) for place in sorted(asked)}
    at: dict[int, Codes] = {0: np.arange(len(X))}
    leaf, segment = np.zeros(len(X), dtype=int), np.zeros(len(X), dtype=int)
    for number, node in enumerate(nodes):  # a question stands before the nodes it leads to
        rows = at.pop(number)
        if isinstance(node, Leaf):
            leaf[rows], segment[rows] = number, node.segment
            continue
        goes_left = _answers(node, columns[node.column], cells[node.column][rows])
        at[node.left], at[node.right] = rows[goes_left], rows[~goes_left]
    return leaf, segment


def _answers(split: Split, column: Column, values: Floats) -> Bools:
    """Return for whom the answer is yes, given the numbers of :func:`_cells`."""
    is_missing = np.isnan(values)
    if split.threshold is None and split.level is None:
        return is_missing
    if split.level is not None:
        yes = values == column.levels.index(split.level)
    elif column.kind == ORDINAL:
        yes = values < float(split.threshold or 0)
    else:
        yes = values <= float(split.threshold or 0)
    return np.where(is_missing, split.missing_left, yes).astype(bool)


# ---- columns -----------------------------------------------------------------------------------


def _column(cells: pd.Series[Any]) -> Column | None:
    """Return what a rule may ask of a column; None for dates and other kinds."""
    kinds = pd.api.types
    has_missing = bool(cells.isna().any())
    if isinstance(cells.dtype, pd.CategoricalDtype) and cells.cat.ordered:
        levels = tuple(map(str, cells.cat.categories))
        return Column(str(cells.name), ORDINAL, levels, has_missing)
    if kinds.is_numeric_dtype(cells.dtype) and not kinds.is_bool_dtype(cells.dtype):
        return Column(str(cells.name), NUMERIC, (), has_missing)
    if isinstance(cells.dtype, pd.CategoricalDtype) or _is_text(cells):
        counts = cells.dropna().astype(str).value_counts()
        by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        levels = tuple(str(level) for level, _ in by_count[:MAX_LEVELS])
        return Column(str(cells.name), CATEGORICAL, levels, has_missing)
    return None


def _is_text(cells: pd.Series[Any]) -> bool:
    return pd.api.types.is_object_dtype(cells.dtype) or pd.api.types.is_string_dtype(cells.dtype)


def _cells(X: pd.DataFrame, column: Column) -> Floats:
    """Return a column as numbers, NaN where it is missing.

    Of an ordered column these are the places of the levels, of another one the places among the
    levels that may be asked for, -1 for others.
    """
    if column.name not in X.columns:
        hint = did_you_mean(column.name, X.columns)
        raise DataError(f"the rules ask for the column {column.name!r}, which is not there{hint}")
    cells = X[column.name]
    if column.kind == NUMERIC:
        if not pd.api.types.is_numeric_dtype(cells.dtype):
            raise DataError(
                f"the rules ask for numbers in the column {column.name!r}, it is {cells.dtype}"
            )
        return cells.to_numpy(dtype=float, na_value=np.nan)
    codes, levels = pd.factorize(cells)
    own = [column.cells[level] for level in column.levels]
    places: dict[Any, int] = {cell: place for place, cells in enumerate(own) for cell in cells}
    other = math.nan if column.kind == ORDINAL else -1.0
    # A number is what it is equal to, whatever its type; dates and the like go by their text.
    keys = [level if isinstance(level, _NUMBERS) else str(level) for level in levels]
    numbers = [float(places.get(key, other)) for key in keys]
    return np.array([*numbers, math.nan])[codes]  # the last for missing cells, of code -1


_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


def _read_as(level: str) -> Cell | None:
    """Return the number or truth value as which a reader of files may take a text.

    Examples
    --------
    >>> _read_as("2"), _read_as("2.0"), _read_as("True"), _read_as("two")
    (2, 2.0, True, None)
    """
    if level.lower() in ("true", "false"):
        return level.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", level, re.ASCII):
        return int(level) if len(level) <= MAX_DIGITS else None
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", level, re.ASCII):
        number = float(level)
        return number if math.isfinite(number) else None
    return None


# ---- learning ----------------------------------------------------------------------------------


def learn_rules(
    X: pd.DataFrame,
    labels: ArrayLike,
    names: Sequence[str],
    max_leaves: int | None = None,
    seed: int = 0,
    *,
    space: ArrayLike | None = None,
) -> SegmentRules:
    """Find a small tree on the columns of a table that gives customers their segments.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
        Features before preprocessing: numbers, ordered categories and text; other columns are
        left out.
    labels : array-like of int of shape (n,)
        Segments; -1 is noise, which is a segment like others here.
    names : sequence of str
        Of segment 0, 1 and so on.
    max_leaves : int, optional
        By default between the number ``k`` of segments and ``2 k``: the number with the best
        held-out fidelity after half a percentage point is taken off for each leaf beyond ``k``.
    seed : int, default=0
        Of the draw from a table of more than 20,000 rows, the folds, and ties between columns.
    space : array-like of float of shape (n, m), optional
        Where the segments were made by distances to means; for the price.

    Raises
    ------
    DataError
        If labels, names and table do not belong together, or there is no column to ask for.

    Examples
    --------
    >>> X = pd.DataFrame({"Age": [20.0, 25.0, 31.0, 60.0, 64.0, 70.0]})
    >>> rules = learn_rules(X, [0, 0, 0, 1, 1, 1], ["young", "old"])
    >>> rules.words()
    {'young': 'age at most 45.5', 'old': 'age above 45.5'}
    >>> rules.fidelity
    1.0
    >>> print(rules.to_sql())
    SELECT *,
      CASE
        WHEN "Age" <= 45.5e0
          THEN 'young'
        WHEN ("Age" IS NULL OR "Age" > 45.5e0)
          THEN 'old'
      END AS "predicted_segment"
    FROM "customers"
    """
    codes, all_names = _checked(X, labels, names)
    columns = [_column(X[name]) for name in X.columns]
    asked = tuple(column for column in columns if column is not None)
    left_out = [str(n) for n, c in zip(X.columns, columns, strict=True) if c is None]
    if not asked:
        raise DataError("there is no column of numbers or text that rules could ask for")
    k = len(np.unique(codes))
    if not 1 <= (k if max_leaves is None else max_leaves) <= MAX_LEAVES // 2:
        what = f"{k:,} segments" if max_leaves is None else f"max_leaves={max_leaves}"
        raise DataError(f"a small tree has 1 to {MAX_LEAVES // 2} rules, got {what}")
    rows = _drawn(len(X), seed)
    learner = _Learner(asked, _Table.of(X.iloc[rows], asked), codes[rows], seed)
    counts = [max_leaves] if max_leaves is not None else list(range(k, 2 * k + 1))
    held_out = learner.held_out(counts)
    grown = learner.grow(np.arange(len(rows)), max(counts))
    n_leaves = _worth(counts, held_out) if held_out else _worth(counts, learner.own(grown, counts))
    nodes = _tidy(_cut(grown, n_leaves))
    leaf, found = _routed(asked, nodes, X)
    prices: tuple[float | None, float | None] = (None, None)
    if space is not None and len(all_names) == len(names):  # noise has no mean
        prices = _prices(np.asarray(space, dtype=float), codes, found)
    return SegmentRules(
        names=all_names,
        columns=asked,
        nodes=_counted(nodes, leaf, codes),
        fidelity=float(np.mean(found == codes)),
        held_out_fidelity=held_out.get(n_leaves, math.nan),
        price=prices[0],
        price_at_centers=prices[1],
        n=len(X),
        n_grown=len(rows),
        n_held_out=len(rows) if held_out else 0,
        left_out=tuple(left_out),
    )


def _checked(
    X: pd.DataFrame, labels: ArrayLike, names: Sequence[str]
) -> tuple[Codes, tuple[str, ...]]:
    codes = check_labels(labels, len(X))
    if not len(X):
        raise DataError("rules are learned from customers, and the table has no row")
    if codes.max(initial=-1) >= len(names):
        raise DataError(f"{int(codes.max()) + 1} segments come with {len(names)} names")
    all_names = tuple(map(str, names))
    if (codes < 0).any():
        all_names = (*all_names, NOISE)
        codes = np.where(codes < 0, len(names), codes)
    if len(set(all_names)) < len(all_names):
        raise DataError(f"two segments have one name: {', '.join(all_names)}")
    if not X.columns.is_unique:
        raise DataError("two columns of the table have one name")
    return codes, all_names


def _drawn(n: int, seed: int) -> Codes:
    if n <= MAX_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAX_ROWS, replace=False))


@dataclass(frozen=True)
class _Table:
    """Customers as the tree sees them: one column of numbers per thing that may be asked."""

    numbers: Floats  # shape (n, questions), NaN where missing
    columns: tuple[int, ...]  # of each question
    levels: tuple[str | None, ...]  # of each question; None: not about one level

    @classmethod
    def of(cls, X: pd.DataFrame, columns: Sequence[Column]) -> _Table:
        parts: list[Floats] = []
        of: list[int] = []
        levels: list[str | None] = []
        for place, column in enumerate(columns):
            values = _cells(X, column)
            if column.kind != CATEGORICAL:
                parts.append(values)
                of.append(place)
                levels.append(None)
                continue
            for code, level in enumerate(column.levels):
                parts.append(np.where(np.isnan(values), np.nan, values == code))
                of.append(place)
                levels.append(level)
        numbers = np.column_stack(parts) if parts else np.empty((len(X), 0))
        return cls(numbers, tuple(of), tuple(levels))


@dataclass(frozen=True)
class _Grown:
    """A node while the tree is grown: the question, and the answer if it were a leaf."""

    split: Split | None
    segment: int


@dataclass(frozen=True)
class _Learner:
    columns: tuple[Column, ...]
    table: _Table
    codes: Codes
    seed: int

    def grow(self, rows: Codes, n_leaves: int) -> list[_Grown]:
        """Grow a tree, its most telling questions first."""
        # Single precision, as the library computes: a threshold is put between the doubles below.
        largest = float(np.finfo(np.float32).max)
        X = np.clip(self.table.numbers[rows], -largest, largest).astype(np.float32)
        y = self.codes[rows]
        model = DecisionTreeClassifier(
            max_leaf_nodes=max(2, n_leaves),
            min_samples_leaf=max(1, round(LEAST_GAIN * len(rows))),
            random_state=self.seed,
        )
        tree = model.fit(X, y).tree_
        at: dict[int, Codes] = {0: np.arange(len(rows))}
        grown = []
        for number in range(tree.node_count):  # children have larger numbers
            own = at.pop(number)
            segment = int(np.bincount(y[own]).argmax())
            split = None
            if tree.children_left[number] >= 0:
                split = self._split(tree, number, X[own], self.table.numbers[rows[own]])
                question = int(tree.feature[number])
                goes_left = self._goes_left(split, question, rows[own])
                at[split.left], at[split.right] = own[goes_left], own[~goes_left]
            grown.append(_Grown(split, segment))
        return grown

    def _split(self, tree: Any, number: int, seen: Any, numbers: Floats) -> Split:
        """Return a question of the library's tree in our words, exact in double precision."""
        question = int(tree.feature[number])
        left, right = int(tree.children_left[number]), int(tree.children_right[number])
        values, column = numbers[:, question], self.table.columns[question]
        is_missing = np.isnan(values)
        with np.errstate(invalid="ignore"):
            is_low = seen[:, question] <= tree.threshold[number]
        low, high = values[is_low & ~is_missing], values[~is_low & ~is_missing]
        missing_left = bool(tree.missing_go_to_left[number])
        if not len(low) or not len(high):  # the missing ones against all others
            first, second = (left, right) if missing_left else (right, left)
            return Split(column, first, second, missing_left=True)
        if not is_missing.any():
            missing_left = len(low) > len(high)
        if (level := self.table.levels[question]) is not None:  # the library's left is `no`
            return Split(column, right, left, not missing_left, level=level)
        threshold = _between(float(low.max()), float(high.min()))
        if self.columns[column].kind == ORDINAL:
            threshold = float(math.floor(threshold) + 1)  # how many levels go left
        return Split(column, left, right, missing_left, threshold=threshold)

    def _goes_left(self, split: Split, question: int, rows: Codes) -> Bools:
        values, column = self.table.numbers[rows, question], self.columns[split.column]
        if split.level is not None:  # these numbers are 0 and 1
            values = np.where(np.isnan(values), values, np.where(values == 1, 0.0, -1.0))
            column = replace(column, levels=(split.level,))
        return _answers(split, column, values)

    def found(self, nodes: Sequence[Node], rows: Codes) -> Codes:
        """Return the segments that a tree gives some customers."""
        at: dict[int, Codes] = {0: np.arange(len(rows))}
        segment = np.zeros(len(rows), dtype=int)
        for number, node in enumerate(nodes):
            own = at.pop(number)
            if isinstance(node, Leaf):
                segment[own] = node.segment
                continue
            goes_left = self._goes_left(node, self._question(node), rows[own])
            at[node.left], at[node.right] = own[goes_left], own[~goes_left]
        return segment

    def _question(self, split: Split) -> int:
        asked = zip(self.table.columns, self.table.levels, strict=True)
        return next(
            place
            for place, (column, level) in enumerate(asked)
            if column == split.column and split.level in (None, level)
        )

    def own(self, grown: Sequence[_Grown], counts: Sequence[int]) -> dict[int, float]:
        """Return the in-sample fidelity by the number of leaves."""
        rows = np.arange(len(self.codes))
        return {n: float(np.mean(self.found(_cut(grown, n), rows) == self.codes)) for n in counts}

    def held_out(self, counts: Sequence[int]) -> dict[int, float]:
        """Return the held-out fidelity by the number of leaves; empty for too few customers."""
        n = len(self.codes)
        if n < 2 * N_FOLDS:
            return {}
        enough = np.bincount(self.codes).max() >= N_FOLDS
        kind = StratifiedKFold if enough else KFold
        folds = kind(N_FOLDS, shuffle=True, random_state=self.seed)
        right = dict.fromkeys(counts, 0)
        with warnings.catch_warnings():  # a segment smaller than the number of folds is all right
            warnings.simplefilter("ignore", UserWarning)
            for train, test in folds.split(np.zeros((n, 1)), self.codes):
                grown = self.grow(train, max(counts))
                for count in counts:
                    found = self.found(_cut(grown, count), test)
                    right[count] += int((found == self.codes[test]).sum())
        return {count: hits / n for count, hits in right.items()}


def _between(low: float, high: float) -> float:
    """Return a number with few digits midway between two: at least ``low``, less than ``high``.

    Examples
    --------
    >>> _between(69.0, 70.0), _between(0.1234567, 0.2345678)
    (69.5, 0.2)
    """
    middle = low / 2 + high / 2
    if not math.isfinite(middle):
        return low
    for digits in range(1, 18):
        short = round(middle, digits)
        if low <= short < high and abs(short - middle) <= (high - low) / 4:
            return short
    return middle if low <= middle < high else low


def _worth(counts: Sequence[int], fidelity: Mapping[int, float]) -> int:
    """Return the number of leaves of which each earns its place."""
    return max(counts, key=lambda n: (round(fidelity[n] - LEAST_GAIN * (n - counts[0]), 12), -n))


def _cut(grown: Sequence[_Grown], n_leaves: int) -> list[Node]:
    """Return the tree when it had ``n_leaves``, or fewer if it never had so many.

    The library grows the best question first and numbers nodes as it makes them, so the first
    ``m`` questions made the first ``2 m + 1`` nodes.
    """
    return [
        node.split
        if node.split is not None and max(node.split.left, node.split.right) < 2 * n_leaves - 1
        else Leaf(node.segment, 0, math.nan)
        for node in grown[: 2 * n_leaves - 1]
    ]


def _tidy(nodes: Sequence[Node]) -> list[Node]:
    """Leave out questions whose answers all lead to one segment, and number the nodes again."""
    kept = list(nodes)
    for number in range(len(kept) - 1, -1, -1):
        node = kept[number]
        if isinstance(node, Split):
            left, right = kept[node.left], kept[node.right]
            if isinstance(left, Leaf) and isinstance(right, Leaf) and left.segment == right.segment:
                kept[number] = left
    order, stack = [], [0]
    while stack:
        number = stack.pop()
        order.append(number)
        node = kept[number]
        if isinstance(node, Split):
            stack += [node.right, node.left]
    place = {number: new for new, number in enumerate(order)}
    return [
        replace(node, left=place[node.left], right=place[node.right])
        if isinstance(node := kept[number], Split)
        else node
        for number in order
    ]


def _counted(nodes: Sequence[Node], leaf: Codes, codes: Codes) -> tuple[Node, ...]:
    """Return the nodes with the size and purity of each leaf among all customers."""
    counted: list[Node] = []
    for number, node in enumerate(nodes):
        if isinstance(node, Leaf):
            own = codes[leaf == number]
            purity = float(np.mean(own == node.segment)) if len(own) else math.nan
            node = Leaf(node.segment, len(own), purity)
        counted.append(node)
    return tuple(counted)


def _prices(space: Floats, codes: Codes, found: Codes) -> tuple[float | None, float | None]:
    if len(space) != len(codes) or space.ndim != 2:
        raise DataError(f"the space has the shape {space.shape}, for {len(codes)} customers")
    centers = {int(code): space[codes == code].mean(axis=0) for code in np.unique(codes)}
    cost = _cost(space, codes, centers)
    if not math.isfinite(cost) or cost <= 0:
        return None, None
    means = {int(code): space[found == code].mean(axis=0) for code in np.unique(found)}
    return _cost(space, found, means) / cost, _cost(space, found, centers) / cost


def _cost(space: Floats, codes: Codes, centers: Mapping[int, Floats]) -> float:
    """Return the sum of squared distances of customers to the centre of their segment."""
    parts = (((space[codes == code] - centers[int(code)]) ** 2).sum() for code in np.unique(codes))
    return float(sum(parts))


# ---- words and code ----------------------------------------------------------------------------


def _rule_words(rule: Rule, labels: Mapping[str, str]) -> str:
    said = [condition.words(labels[condition.column.name]) for condition in rule.conditions]
    return " and ".join(said) or "everybody"


def _number(number: float) -> str:
    return f"{number:,}".removesuffix(".0")


def _either(levels: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(levels[:-1]), levels[-1]]))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _sql_number(number: float) -> str:
    """Write a double so that SQL reads a double, not a decimal."""
    digits = repr(float(number))
    return digits if "e" in digits else f"{digits}e0"


def _as_word(name: str) -> str:
    return re.sub(r"\s", "_", name)


SQL = Language(
    name=_identifier,
    number=_sql_number,
    levels=lambda _, levels: f"({', '.join(map(_text, levels))})",
    one_of="IN",
    none_of="NOT IN",
    null=" IS NULL",
    known=" IS NOT NULL",
    both=" AND ",
    either=" OR ",
    always="TRUE",
    never="FALSE",
)
PANDAS = Language(
    name=lambda name: f"`{name}`",
    number=repr,
    levels=lambda column, levels: repr([cell for level in levels for cell in column.cells[level]]),
    one_of="in",
    none_of="not in",
    null=".isnull()",
    known=".notnull()",
    both=" and ",
    either=" or ",
    always="index == index",
    never="index != index",
)


# ---- files -------------------------------------------------------------------------------------


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _parsed(cls: type[SegmentRules], content: Mapping[str, Any]) -> SegmentRules:
    held_out, price = content["held_out_fidelity"], content["price"]
    at_centers = content["price_at_centers"]
    return cls(
        names=_texts(content["names"]),
        columns=tuple(
            Column(
                _typed(column["name"], str),
                _typed(column["kind"], str),
                _texts(column["levels"]),
                _typed(column["has_missing"], bool),
            )
            for column in _typed(content["columns"], list)
        ),
        nodes=tuple(_node(node) for node in _typed(content["nodes"], list)[: 2 * MAX_LEAVES]),
        fidelity=_finite(content["fidelity"]),
        held_out_fidelity=math.nan if held_out is None else _finite(held_out),
        price=None if price is None else _finite(price),
        price_at_centers=None if at_centers is None else _finite(at_centers),
        n=_typed(content["n"], int),
        n_grown=_typed(content["n_grown"], int),
        n_held_out=_typed(content["n_held_out"], int),
        left_out=_texts(content["left_out"]),
    )


def _node(node: Mapping[str, Any]) -> Node:
    if "segment" in node:
        purity = node.get("purity", math.nan)
        return Leaf(
            _typed(node["segment"], int),
            _typed(node["n"], int),
            math.nan if purity is None else float(_typed(purity, float, int)),
        )
    threshold, level = node.get("threshold"), node.get("level")
    return Split(
        _typed(node["column"], int),
        _typed(node["left"], int),
        _typed(node["right"], int),
        _typed(node["missing_left"], bool),
        None if threshold is None else _finite(threshold),
        None if level is None else _typed(level, str),
    )


def _typed(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r:.40} is not {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_typed(value, str) for value in _typed(values, list))


def _finite(value: Any) -> float:
    number = float(_typed(value, float, int))
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def _check(rules: SegmentRules) -> None:
    """Check that the nodes are one tree, and that what they name is there.

    Raises
    ------
    DataError
    """
    for what, wrong in _mistakes(rules):
        if wrong:
            raise DataError(f"the segment rules are damaged: {what}")


def _mistakes(rules: SegmentRules) -> Iterator[tuple[str, bool]]:
    nodes, columns = rules.nodes, rules.columns
    yield "too many nodes, or none", not 0 < len(nodes) < 2 * MAX_LEAVES
    yield "names are not different", len(set(rules.names)) < len(rules.names)
    names = [column.name for column in columns]
    yield "columns are not different", len(set(names)) < len(names)
    yield "a column of an unknown kind", any(column.kind not in KINDS for column in columns)
    children: list[int] = []
    for number, node in enumerate(nodes):
        if isinstance(node, Leaf):
            yield "a leaf of no segment", not 0 <= node.segment < len(rules.names)
            continue
        children += [node.left, node.right]
        yield "a node before its question", min(node.left, node.right) <= number
        yield "a question about no column", not 0 <= node.column < len(columns)
        yield "a question that its column has no answer to", not _fits(node, columns[node.column])
    yield "the nodes are not one tree", sorted(children) != list(range(1, len(nodes)))


def _fits(split: Split, column: Column) -> bool:
    if split.level is not None:
        known = column.kind == CATEGORICAL and split.level in column.levels
        return known and split.threshold is None
    if split.threshold is None:
        return split.missing_left
    if column.kind == ORDINAL:
        return split.threshold.is_integer() and 0 < split.threshold < len(column.levels)
    return column.kind == NUMERIC
