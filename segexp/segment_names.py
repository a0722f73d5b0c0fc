"""Names for segments, made of what marks them: 'high income, high spending'.

The same profile always gives the same names. They are made of the markers that
:func:`segexp.clustering.profile.profile` found (Dolnicar, Gruen and Leisch 2018, Market
Segmentation Analysis, ch. 8) and of nothing else.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segexp.clustering.profile import LEAST_SHARE_GAP, NOISE, is_well_known
from segexp.errors import ConfigError, DataError, did_you_mean

Floats: TypeAlias = NDArray[np.float64]

HIGH, LOW, AVERAGE = "high", "low", "average"
RATHER_HIGH, RATHER_LOW = "rather high", "rather low"  # far from the mean, though it is no marker
NOT_KNOWN = "not known"
NOBODY = "average customers"  # the name of a segment that nothing marks
NO_MARKER = "no column marks it"
UNASSIGNED = "in no segment"  # the name of noise
MAX_LETTERS = 40
LEAST_PLACED = 0.6  # of the places on columns that name all segments: not average
MOST_AXES = 40  # columns that are tried as those that tell all segments apart
LEANS_LOW, LEANS_HIGH = 75, 133  # an index at or beyond them is not called average
MAX_APART = 60  # letters of a name that must say more to be told from another

# Words of a column's name that a manager does not need, unless another column has the rest too.
_QUALIFIERS = frozenset({"annual", "yearly", "score"})
_YES = frozenset({"yes", "y", "true"})
_NO = frozenset({"no", "n", "false"})
_LEVELS = {"high": HIGH, "very high": HIGH, "low": LOW, "very low": LOW,
           "average": AVERAGE, "medium": AVERAGE, "middle": AVERAGE}  # fmt: skip
_GENERIC = _YES | _NO | {*_LEVELS, "other", "others", "unknown", "none", "missing"}
_WORDS = {(False, True): "high", (False, False): "low", (True, True): "many", (True, False): "few"}


@dataclass(frozen=True)
class Marker:
    """A column, or a level of one, of which a segment has much more or less than all customers.

    ``level`` is None of a numeric column. ``is_more`` is None of a column in which no customer of
    the segment has a value, or few have (``has_some``) though most others have; then ``level`` is
    None whatever the column holds.
    """

    column: str
    level: str | None
    is_more: bool | None
    has_some: bool = False

    @property
    def key(self) -> str:
        """What stands between the brackets of the profile's columns."""
        return self.column if self.level is None else f"{self.column}={self.level}"

    @property
    def unknown(self) -> str:
        """What is said of a column that is not known."""
        return f"mostly {NOT_KNOWN}" if self.has_some else NOT_KNOWN

    @property
    def text(self) -> str:
        """The words of the profile."""
        if self.is_more is None:
            return f"{self.key} {self.unknown}"
        return f"{_WORDS[self.level is not None, self.is_more]} {self.key}"


# ---- columns -----------------------------------------------------------------------------------


def column_labels(columns: Iterable[str]) -> dict[str, str]:
    """Return a readable label of each column, different for different columns.

    Underscores and camel case become blanks, letters become small, what stands in brackets and
    the words *annual*, *yearly* and *score* are dropped. Where that would make a label doubtful,
    because another column has the same words, less is dropped, or nothing.

    Examples
    --------
    >>> column_labels(["Annual Income (k$)", "SpendingScore", "Family_Size"])
    {'Annual Income (k$)': 'income', 'SpendingScore': 'spending', 'Family_Size': 'family size'}
    >>> column_labels(["income (net)", "income (gross)"])
    {'income (net)': 'income (net)', 'income (gross)': 'income (gross)'}
    """
    names = list(dict.fromkeys(columns))
    plain = {name: _cleaned(re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", name)) for name in names}
    words = {name: frozenset(label.split()) for name, label in plain.items()}
    labels = {}
    for name in names:
        short = [word for word in plain[name].split() if word not in _QUALIFIERS]
        others = (words[other] for other in names if other != name)
        is_safe = short and not any(set(short) <= other for other in others)
        labels[name] = " ".join(short) if is_safe else plain[name]
    for fuller in ({name: _cleaned(name) for name in names}, {name: name for name in names}):
        labels = _fuller_where_equal(labels, fuller)
    return labels


def _cleaned(name: str) -> str:
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(parts.replace("_", " ").split()).lower()


def _fuller_where_equal(labels: dict[str, str], fuller: Mapping[str, str]) -> dict[str, str]:
    """Take the fuller label of columns that share one, or have none, until none is shared."""
    while True:
        counts = Counter(labels.values())
        shared = [
            name
            for name, label in labels.items()
            if (counts[label] > 1 or not label) and label != fuller[name]
        ]
        if not shared:
            return labels
        labels = {**labels, **{name: fuller[name] for name in shared}}


# ---- markers -----------------------------------------------------------------------------------


def read_markers(profile: pd.DataFrame) -> dict[str, list[Marker]]:
    """Return the markers of each segment, the strongest first.

    Columns in which none of its customers has a value, or few have and most others, stand last.

    Parameters
    ----------
    profile : DataFrame
        From :func:`segexp.clustering.profile.profile`, or as it was read back from a file.

    Raises
    ------
    DataError
        If a column is not there, or the words name no column of the table.
    """
    for column in ("segment", "markers"):
        if column not in profile:
            raise DataError(f"a profile of segments needs the column {column!r}")
    known = {marker.text: marker for marker in _possible(profile)}
    longest = sorted(known, key=len, reverse=True)
    # A column's name may hold a comma; the words are taken apart by what they can be.
    one = "|".join(map(re.escape, longest))
    found = {}
    for segment, words in zip(profile["segment"], profile["markers"], strict=True):
        text = "" if pd.isna(words) else str(words)
        texts = re.findall(rf"({one})(?:, |\Z)", text, re.DOTALL) if one and text else []
        if ", ".join(texts) != text:
            raise DataError(f"the markers of segment {segment} name no column: {text!r:.60}")
        found[str(segment)] = [known[part] for part in texts]
    for segment, unknown in _unknown(profile).items():
        found[segment] += unknown
    return found


def _unknown(profile: pd.DataFrame) -> dict[str, list[Marker]]:
    """Return the columns in which a segment has no value, or few and most others have one."""
    figures: dict[str, list[str]] = {}  # column -> its columns in the profile
    for marker in _possible(profile):
        kind = "mean" if marker.level is None else "share"
        figures.setdefault(marker.column, []).append(f"{kind}[{marker.key}]")
    found: dict[str, list[Marker]] = {str(segment): [] for segment in profile["segment"]}
    for column, names in figures.items():
        is_empty = np.logical_and.reduce([np.isnan(_floats(profile, name)) for name in names])
        is_scarce = ~is_empty & _is_scarce(profile, column)
        if is_empty.all():
            continue
        for row in np.flatnonzero(is_empty | is_scarce):
            marker = Marker(column, None, None, has_some=not is_empty[row])
            found[str(profile["segment"].iloc[row])].append(marker)
    return found


def _is_scarce(profile: pd.DataFrame, column: str) -> NDArray[np.bool_]:
    """Return whether most of a segment lack a value that most of the others have."""
    known, n = _n_known(profile, column), _n_known(profile)
    return (2 * known < n) & (2 * (known.sum() - known) > n.sum() - n)


def _n_known(profile: pd.DataFrame, column: str | None = None) -> Floats:
    """Return how many customers of each segment there are, or have a value in a column."""
    names = ("n",) if column is None else (f"known[{column}]", "n")
    name = next((name for name in names if name in profile), None)
    return np.ones(len(profile)) if name is None else _floats(profile, name)


def _floats(profile: pd.DataFrame, name: str) -> Floats:
    column = profile[name]
    if not pd.api.types.is_numeric_dtype(column.dtype):  # as read from a file
        column = pd.to_numeric(column, errors="coerce")
    return column.to_numpy(dtype=float, na_value=np.nan)


def _possible(profile: pd.DataFrame) -> Iterator[Marker]:
    for name in map(str, profile.columns):
        if name.startswith("mean[") and name.endswith("]"):
            column, level = name[5:-1], None
        elif name.startswith("share[") and name.endswith("]") and "=" in name:
            column, _, level = name[6:-1].partition("=")
        else:
            continue
        yield Marker(column, level, is_more=True)
        yield Marker(column, level, is_more=False)


def describe_markers(
    profile: pd.DataFrame, most: int | None = None, labels: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the markers of each segment in readable words, the strongest first.

    Parameters
    ----------
    profile : DataFrame
        From :func:`segexp.clustering.profile.profile`.
    most : int, optional
        Markers that are named; by default all.
    labels : mapping of column to text, optional
        By default those of :func:`column_labels`.

    Examples
    --------
    >>> table = pd.DataFrame({"segment": ["A"], "markers": ["many married=no, high Age"],
    ...                       "mean[Age]": [60.0], "share[married=no]": [0.9]})
    >>> describe_markers(table)
    {'A': 'many not married, high age'}
    """
    said = say_markers(profile, labels)
    return {segment: ", ".join(words[:most]) for segment, words in said.items()}


def say_markers(
    profile: pd.DataFrame, labels: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Return each marker of each segment in readable words, in the order of `read_markers`."""
    speech = _Speech.of(profile, labels)
    return {
        segment: [speech.words(marker) for marker in markers]
        for segment, markers in read_markers(profile).items()
    }


def level_labels(profile: pd.DataFrame, labels: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a readable label of each level of the columns of levels.

    Examples
    --------
    >>> level_labels(pd.DataFrame({"segment": ["A"], "share[job=Artist]": [0.5],
    ...                            "share[job=other]": [0.5]}))
    {'job=Artist': 'Artist', 'job=other': 'job other'}
    """
    speech = _Speech.of(profile, labels)
    return {m.key: speech.thing(m) for m in _possible(profile) if m.level is not None}


def brief_markers(
    profile: pd.DataFrame, unused: Collection[str] = (), most: int = 3
) -> dict[str, str]:
    """Return the strongest markers of each segment in one line.

    Of a segment that nothing marks it is what :func:`say_leanings` says, else empty.

    Parameters
    ----------
    profile : DataFrame
        From :func:`segexp.clustering.profile.profile`.
    unused : collection of str
        Columns that took no part in finding the segments; theirs stand apart.
    most : int, default=3
        Markers that are named, of each of the two kinds.

    Examples
    --------
    >>> table = pd.DataFrame({"segment": ["A"], "markers": ["high age, low income, high children"],
    ...                       "mean[age]": [60.0], "mean[income]": [9.0], "mean[children]": [3.0]})
    >>> brief_markers(table, unused=["children"], most=1)
    {'A': 'high age and 1 more; not used to find the segments: high children'}
    """
    speech, leanings = _Speech.of(profile, None), _leanings(profile)
    brief = {}
    for segment, markers in read_markers(profile).items():
        pairs = [(marker, speech.words(marker)) for marker in markers]
        if not pairs:
            pairs = [
                (m, f"rather {speech.words(m)}") for m in (n.marker for n in leanings[segment])
            ]
        used = _first_few([words for marker, words in pairs if marker.column not in unused], most)
        others = _first_few([words for marker, words in pairs if marker.column in unused], most)
        apart = f"not used to find the segments: {others}" if others else ""
        brief[segment] = "; ".join(filter(None, [used, apart]))
    return brief


def _first_few(words: Sequence[str], most: int) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def segment_levels(profile: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return whether a segment is ``high``, ``low`` or ``average`` in each column.

    Columns that mark it come first, the strongest before others; any other numeric column is
    ``rather high`` or ``rather low`` from an index of 133 on or up to 75, else ``average``. A
    column in which too few of the segment have a value is left out. A column of levels such as
    *Low* and *High* counts as the level that is frequent.

    Examples
    --------
    >>> table = pd.DataFrame({"segment": ["A", "B"], "markers": ["high age", ""],
    ...                       "mean[age]": [60.0, 40.0]})
    >>> segment_levels(table)
    {'A': {'age': 'high'}, 'B': {'age': 'average'}}
    """
    leanings, columns = _leanings(profile), _columns(profile)
    well_known = {
        column: is_well_known(_n_known(profile, column), _n_known(profile)) for column in columns
    }
    found: dict[str, dict[str, str]] = {}
    for row, (segment, markers) in enumerate(read_markers(profile).items()):
        levels: dict[str, str] = {}
        for marker in markers:
            level = _level(marker)
            if level is not None:
                levels.setdefault(marker.column, level)
        unknown = {marker.column for marker in markers if marker.is_more is None}
        levels |= {
            lean.marker.column: RATHER_HIGH if lean.marker.is_more else RATHER_LOW
            for lean in leanings[segment]
            if lean.marker.level is None
        }
        others = _numeric(profile) - set(levels) - unknown
        found[segment] = levels | {
            c: AVERAGE for c in columns if c in others and well_known[c][row]
        }
    return found


def _columns(profile: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(marker.column for marker in _possible(profile)))


def _numeric(profile: pd.DataFrame) -> set[str]:
    return {marker.column for marker in _possible(profile) if marker.level is None}


@dataclass(frozen=True)
class _Leaning:
    """What is far from that of all customers, though the rule does not count it as a marker."""

    marker: Marker
    distance: float  # absolute logarithm of the index over 100


def read_leanings(profile: pd.DataFrame) -> dict[str, list[Marker]]:
    """Return what :func:`say_leanings` says of each segment, as markers are."""
    return {s: [lean.marker for lean in found] for s, found in _leanings(profile).items()}


def say_leanings(
    profile: pd.DataFrame,
    labels: Mapping[str, str] | None = None,
    without: Collection[str] = (),
) -> dict[str, list[str]]:
    """Return what each segment is rather than by its markers, the farthest from the mean first.

    That are columns without a marker whose index is at most 75 or at least 133, and of columns of
    levels the farthest level, if its share is also 5 percentage points from that of all customers.

    Parameters
    ----------
    profile : DataFrame
        From :func:`segexp.clustering.profile.profile`.
    labels : mapping of column to text, optional
        By default those of :func:`column_labels`.
    without : collection of str
        Columns that are left out.

    Examples
    --------
    >>> table = pd.DataFrame({"segment": ["A", "B"], "markers": ["", ""],
    ...                       "mean[age]": [60.0, 20.0], "index[age]": [150.0, 50.0]})
    >>> say_leanings(table)
    {'A': ['rather high age'], 'B': ['rather low age']}
    """
    speech = _Speech.of(profile, labels)
    return {
        segment: [
            f"rather {speech.words(lean.marker)}"
            for lean in found
            if lean.marker.column not in without
        ]
        for segment, found in _leanings(profile).items()
    }


def without_markers(profile: pd.DataFrame) -> dict[str, str]:
    """Return what is said of each segment that no column marks; nothing of a damaged profile.

    Examples
    --------
    >>> table = pd.DataFrame({"segment": ["A", "B", "C"], "markers": ["high age", "", ""],
    ...                       "mean[age]": [60.0, 20.0, 35.0], "index[age]": [180.0, 60.0, 105.0]})
    >>> without_markers(table)
    {'B': 'rather low age', 'C': 'no column marks it'}
    """
    try:
        leanings, markers = say_leanings(profile), read_markers(profile)
    except DataError:
        return {}
    # Where nobody is in a segment, what all customers are like marks none.
    plain = UNASSIGNED if set(markers) == {NOISE} else NO_MARKER
    return {
        segment: ", ".join(leanings[segment]) or plain
        for segment, found in markers.items()
        if not found
    }


def _leanings(profile: pd.DataFrame) -> dict[str, list[_Leaning]]:
    possible = [marker for marker in _possible(profile) if marker.is_more]
    indices = {marker: _indices(profile, marker) for marker in possible}
    found: dict[str, list[_Leaning]] = {}
    for row, (segment, markers) in enumerate(read_markers(profile).items()):
        marked = {marker.column for marker in markers}
        best: dict[str, _Leaning] = {}
        for marker, index in indices.items():
            value = float(index[row])
            if marker.column in marked or not (0 < value <= LEANS_LOW or value >= LEANS_HIGH):
                continue
            side = Marker(marker.column, marker.level, is_more=value > 100)
            lean = _Leaning(side, abs(math.log(value / 100)) if value < math.inf else math.inf)
            if marker.column not in best or lean.distance > best[marker.column].distance:
                best[marker.column] = lean
        found[segment] = sorted(best.values(), key=lambda lean: -lean.distance)
    return found


def _indices(profile: pd.DataFrame, marker: Marker) -> Floats:
    """Return 100 times what each segment has over what all have; NaN where that says nothing."""
    sizes = _n_known(profile, marker.column)
    is_enough = is_well_known(sizes, _n_known(profile))
    if marker.level is None:
        name = f"index[{marker.column}]"
        found = _floats(profile, name) if name in profile else np.full(len(profile), np.nan)
        return np.where(is_enough, found, np.nan)
    shares = _floats(profile, f"share[{marker.key}]")
    is_known = ~np.isnan(shares)
    n = sizes[is_known].sum()
    overall = float(shares[is_known] @ sizes[is_known] / n) if n > 0 else math.nan
    # Of a rare level a few customers more are half as many again; that says nothing.
    is_clear = is_enough & (np.abs(shares - overall) >= LEAST_SHARE_GAP) & (shares > 0)
    return np.where(is_clear, 100 * shares / (overall or math.nan), np.nan)


def _level(marker: Marker) -> str | None:
    if marker.is_more is None:
        return None
    if marker.level is None:
        return HIGH if marker.is_more else LOW
    return _LEVELS.get(marker.level.lower()) if marker.is_more else None


@dataclass(frozen=True)
class _Speech:
    """How markers are said."""

    labels: Mapping[str, str]
    own_words: frozenset[tuple[str, str]]  # columns and levels that need no column's name

    @classmethod
    def of(cls, profile: pd.DataFrame, labels: Mapping[str, str] | None) -> _Speech:
        markers = list(_possible(profile))
        labels = {**column_labels(marker.column for marker in markers), **(labels or {})}
        pairs = {(m.column, m.level) for m in markers if m.level is not None}
        counts = Counter(level.lower() for _, level in pairs)
        taken = _GENERIC | set(labels.values())
        own = {
            (column, level)
            for column, level in pairs
            if counts[level.lower()] == 1
            and level.lower() not in taken
            and re.fullmatch(r"[^\W\d_]{3,}([ -][^\W\d_]+)*", level)
        }
        return cls(labels, frozenset(own))

    def words(self, marker: Marker) -> str:
        if marker.is_more is None:
            return f"{self.labels[marker.column]} {marker.unknown}"
        return f"{_WORDS[marker.level is not None, marker.is_more]} {self.thing(marker)}"

    def thing(self, marker: Marker) -> str:
        label, level = self.labels[marker.column], marker.level
        if level is None or level.lower() in _YES:
            return label
        if level.lower() in _NO:
            return f"never {label[5:]}" if label.startswith("ever ") else f"not {label}"
        if (marker.column, level) in self.own_words:
            return level
        return f"{level.lower()} {label}" if level.lower() in _LEVELS else f"{label} {level}"


# ---- names -------------------------------------------------------------------------------------


def name_segments(
    profile: pd.DataFrame,
    most: int = 2,
    given: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    own_names: bool | None = None,
) -> dict[str, str]:
    """Name each segment after its strongest markers.

    If there are ``most`` numeric columns on which no two segments are marked alike, and most of
    them are marked there, every segment is placed on each of them, so that the middle one is
    'average income, average spending'; the same holds where no more than ``most`` columns make all
    the names. Else a segment is named after its own strongest markers, in the order of the table's
    columns. What does not mark a segment is 'rather low' where its index is at most 75, and 'rather
    high' where it is at least 133; only what lies between is average. A column in which nobody of
    the segment has a value is 'not known'. A segment of which nothing can be said is 'average
    customers'. Equal names get more markers, else a word of position ('higher age'), else a number.

    Parameters
    ----------
    profile : DataFrame
        From :func:`segexp.clustering.profile.profile`.
    most : int, default=2
        Markers in a name that nothing forces to be longer.
    given : mapping of segment to name, optional
        The user's own names, which win.
    labels : mapping of column to text, optional
        What columns are called; by default :func:`column_labels`.
    own_names : bool, optional
        Whether the segments have names already (Champions, A to D), which are kept. By default
        those have that are not called by a number.

    Returns
    -------
    dict of str to str
        Segment to name, in the order of the profile; all names are different.

    Raises
    ------
    ConfigError
        If ``given`` names a segment that is not there, gives no name, or one name twice.
    DataError
        If the profile is damaged.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"segment": ["1", "2", "3"], "mean[Age]": [60.0, 20.0, 40.0],
    ...      "markers": ["high Age", "low Age", ""]})
    >>> name_segments(table)
    {'1': 'high age', '2': 'low age', '3': 'average age'}
    >>> name_segments(table, given={"3": "the middle"})["3"]
    'the middle'
    """
    markers = read_markers(profile)
    names = _given(given or {}, list(markers))
    for segment in markers:
        is_own = own_names if own_names is not None else not segment.isdecimal()
        if segment not in names and (is_own or segment == NOISE):
            names[segment] = UNASSIGNED if segment == NOISE else segment
    counts = Counter(name.casefold() for name in names.values())
    if twice := next((n for n in (given or {}).values() if counts[n.casefold()] > 1), None):
        raise ConfigError(f"two segments would be called {twice!r}; give them different names")
    made = _Names(profile, markers, _Speech.of(profile, labels), most)
    names |= made.name([s for s in markers if s not in names], list(names.values()))
    return {segment: names[segment] for segment in markers}


def _given(given: Mapping[str, str], segments: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for key, name in given.items():
        if str(key) not in segments:
            raise ConfigError(
                f"there is no segment {str(key)!r} to rename{did_you_mean(key, segments)}; "
                f"segments: {', '.join(segments)}"
            )
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"segment {key} needs a name of its own, got {name!r}")
        names[str(key)] = " ".join(name.split())
    seen: dict[str, str] = {}
    for segment, name in names.items():
        if name.casefold() in seen:
            raise ConfigError(f"segments {seen[name.casefold()]} and {segment} both get {name!r}")
        seen[name.casefold()] = segment
    return names


@dataclass(frozen=True)
class _Names:
    profile: pd.DataFrame
    markers: Mapping[str, Sequence[Marker]]
    speech: _Speech
    most: int

    @property
    def _order(self) -> dict[str, int]:
        keys = dict.fromkeys(k for m in _possible(self.profile) for k in (m.column, m.key))
        return {key: place for place, key in enumerate(keys)}

    def name(self, segments: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
        """Return a name of each segment, different from each other and from those taken."""
        chosen = {s: self._telling(s)[: self.most] for s in segments}
        axes = self._telling_axes(segments) or self._axes_of(chosen)
        names = {
            s: self._on(axes, s) if axes else self._said(chosen[s]) or self._leaning(s)
            for s in segments
        }
        return self._told_apart(names, taken)

    def _axes_of(self, chosen: Mapping[str, Sequence[Marker]]) -> list[str]:
        """Return the columns of the chosen markers, if all are numeric and they are few.

        A column that tells no more than who has no value is none.
        """
        markers = [marker for found in chosen.values() for marker in found]
        columns = {marker.column for marker in markers}
        marking = {marker.column for marker in markers if marker.is_more is not None}
        if len(columns) > self.most or not columns <= marking & _numeric(self.profile):
            return []
        return sorted(columns, key=lambda column: self._order[column])

    def _telling_axes(self, segments: Sequence[str]) -> list[str]:
        """Return the columns on which no two segments have the same place; empty if none do.

        Of several those are taken on which most places are not average, then those that mark most.
        """
        # column -> segment that it marks -> has it more; None: nobody there has a value
        places: dict[str, dict[str, bool | None]] = {}
        numeric = _numeric(self.profile)
        for segment in segments:
            for marker in self.markers[segment]:
                if marker.column in numeric:
                    places.setdefault(marker.column, {})[segment] = marker.is_more
        marking = [c for c, found in places.items() if {True, False} & set(found.values())]
        strength = {column: self._strength(column, places[column]) for column in marking}
        columns = sorted(marking, key=lambda c: (-len(places[c]), -strength[c], self._order[c]))
        best = (LEAST_PLACED * self.most * len(segments), 0.0)
        axes: list[str] = []
        if len(segments) < 3 or not 1 < self.most <= 3:
            return axes
        for some in itertools.combinations(columns[:MOST_AXES], self.most):
            told = {tuple(places[c].get(s, AVERAGE) for c in some) for s in segments}
            if len(told) < len(segments):
                continue
            ordered = sorted(some, key=lambda column: self._order[column])
            score = sum(len(places[c]) for c in some), sum(strength[c] for c in some)
            if score > best and all(
                len(self._parts(ordered, s)[1]) <= MAX_LETTERS for s in segments
            ):
                best, axes = score, ordered
        return axes

    def _strength(self, column: str, segments: Iterable[str]) -> float:
        """Return how far a column deviates in the segments it marks, in marking deviations."""
        table = self.profile.set_index(self.profile["segment"].astype(str))
        means = pd.to_numeric(table[f"mean[{column}]"], errors="coerce")
        sizes = pd.Series(_n_known(self.profile, column), table.index)
        overall = float((means * sizes).sum() / sizes[means.notna()].sum())
        largest, least = float(means.max()), 0.5 * abs(overall)
        # Of a rare yes, counted as 0 and 1, little is much; it must deviate by 5 points at least.
        is_share = float(means.min()) >= 0 and largest <= 1
        least = max(least, LEAST_SHARE_GAP) if is_share else min(least, 0.25 * abs(largest))
        gaps = (means - overall).abs() / (least or 1)
        return float(gaps[list(segments)].clip(upper=3).fillna(0).sum())

    def _telling(self, segment: str) -> list[Marker]:
        """Markers with those first that say what there is, then what there is not."""
        return sorted(
            self.markers[segment],
            key=lambda m: m.is_more is None or (m.level is not None and not m.is_more),
        )

    def _on(self, axes: Sequence[str], segment: str) -> str:
        return _short(self._parts(axes, segment)[0], MAX_LETTERS)

    def _parts(self, axes: Sequence[str], segment: str) -> tuple[list[str], str]:
        """Return where a segment is on some columns, as parts and together."""
        leanings = (lean.marker for lean in self._leanings[segment])
        said = {m.column: f"rather {self.speech.words(m)}" for m in leanings if m.level is None}
        marks = (m for m in self.markers[segment] if m.level is None)
        said |= {m.column: self.speech.words(m) for m in marks}
        parts = [said.get(c, f"{AVERAGE} {self.speech.labels[c]}") for c in axes]
        return parts, ", ".join(parts)

    @cached_property
    def _leanings(self) -> dict[str, list[_Leaning]]:
        return _leanings(self.profile)

    def _said(self, markers: Sequence[Marker], letters: int = MAX_LETTERS) -> str:
        kept = list(markers)
        while len(kept) > 1 and len(self._joined(kept)) > letters:
            kept.pop()
        return _short([self._joined(kept)], letters) if kept else ""

    def _leaning(self, segment: str) -> str:
        """Name what is far from the mean of all, though it does not mark the segment."""
        best = [m for m in (lean.marker for lean in self._leanings[segment]) if m.level is None]
        best = sorted(best[: self.most], key=lambda marker: self._order[marker.key])
        parts = [f"rather {self.speech.words(marker)}" for marker in best]
        return _short(parts, MAX_LETTERS) if parts else NOBODY

    def _joined(self, markers: Sequence[Marker]) -> str:
        ordered = sorted(markers, key=lambda marker: self._order[marker.key])
        return ", ".join(self.speech.words(marker) for marker in ordered)

    def _told_apart(self, names: dict[str, str], taken: Sequence[str]) -> dict[str, str]:
        counts = Counter([name.casefold() for name in [*names.values(), *taken]])
        clear = {s: name for s, name in names.items() if counts[name.casefold()] == 1}
        used = {name.casefold() for name in [*taken, *clear.values()]}
        groups: dict[str, list[str]] = {}
        for segment, name in names.items():
            if segment not in clear:
                groups.setdefault(name, []).append(segment)
        for name, segments in groups.items():
            found = self._by_markers(segments, used) or self._by_place(name, segments, used)
            found = found or _numbered(name, segments, used)
            clear |= found
            used |= {word.casefold() for word in found.values()}
        return clear

    def _by_markers(self, segments: Sequence[str], used: set[str]) -> dict[str, str] | None:
        most = max(len(self.markers[segment]) for segment in segments)
        for n in range(self.most + 1, most + 1):
            longer = {s: self._said(self._telling(s)[:n], MAX_APART) for s in segments}
            if _are_new(longer, used):
                return longer
        return None

    def _by_place(
        self, name: str, segments: Sequence[str], used: set[str]
    ) -> dict[str, str] | None:
        """Say which of two segments has more of the column in which they are farthest apart."""
        if len(segments) != 2:
            return None
        table = self.profile.set_index(self.profile["segment"].astype(str))
        means = table[[c for c in table.columns if str(c).startswith("mean[")]]
        means = means.apply(pd.to_numeric, errors="coerce")
        spread = means.max() - means.min()
        gaps = (means.loc[segments[0]] - means.loc[segments[1]]) / spread.where(spread > 0)
        if not gaps.notna().any():
            return None
        column = str(gaps.abs().idxmax())
        label = self.speech.labels[column[5:-1]]
        sides = ("higher", "lower") if gaps[column] > 0 else ("lower", "higher")
        placed = {s: f"{name}, {side} {label}" for s, side in zip(segments, sides, strict=True)}
        is_short = all(len(words) <= MAX_APART for words in placed.values())
        return placed if is_short and gaps[column] != 0 and _are_new(placed, used) else None


def _are_new(names: Mapping[str, str], used: set[str]) -> bool:
    folded = [name.casefold() for name in names.values()]
    return len(set(folded)) == len(folded) and used.isdisjoint(folded)


def _numbered(name: str, segments: Sequence[str], used: set[str]) -> dict[str, str]:
    free = (f"{name} {i}" for i in range(1, len(used) + len(segments) + 1))
    new = (words for words in free if words.casefold() not in used)
    return dict(zip(segments, new, strict=False))


def _short(parts: Sequence[str], letters: int) -> str:
    kept = list(parts)
    while len(kept) > 1 and len(", ".join(kept)) > letters:
        kept.pop()
    text = ", ".join(kept)
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"
