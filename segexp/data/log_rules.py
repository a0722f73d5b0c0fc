"""The lines of a transaction log in SQL: what a cell says, and which lines are left out.

The rules are applied to each line in a fixed order, and a line is counted under the first rule
that takes it out:

1. ``duplicates``: the second and further lines that are equal in every column;
2. ``keep``: lines with other values than those to keep;
3. ``missing_customer``: lines without a customer;
4. ``date``: a missing date, or one that cannot be read (``invalid``);
5. ``start``, ``end``, ``holdout_end``: lines outside the period;
6. ``order``, ``quantity``, ``amount``: an order that is missing, a number that is missing or
   cannot be read (``invalid``);
7. ``cancelled``, ``returned``: orders that are cancellations, negative quantities (``returns``);
8. ``non_positive``: any other line with an amount of 0 or less;
9. ``item``: of baskets, a line without an item.

Amounts and quantities are added as whole millionths, each line rounded to the nearest one. Such
sums are exact, so they depend neither on the order of the lines nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segexp.config.schema import DatasetConfig, LogConfig
from segexp.data.cells import cell_text
from segexp.data.findings import Finding, counted
from segexp.data.log_files import WHITE, literal
from segexp.data.log_sources import LogColumn, OpenLog
from segexp.errors import DataError

MILLIONTHS = 1_000_000
TOKENS = ("", "?", "-", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "null", "NULL", "None")
YEARS = ("1678-01-01", "2261-12-31")  # what a pandas timestamp can hold
MAX_EXAMPLES = 3
BACK = ("cancelled", "returned")  # rules about what takes something back
WHOLE = r"-?[0-9]{1,38}"  # names that sort as numbers: those that a HUGEINT holds
USED = 0  # the code of the lines that no rule takes out
ZONE = "( ?[+-][0-9]{2}(:?[0-9]{2})?|Z)$"  # what ends a moment with a zone
SHORT_DATES = ("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y")
TIMES = ("", " %H:%M", " %H:%M:%S")
TWO_WAYS = "^([0-9]{1,2})[-/ ]([0-9]{1,2})[-/ ][0-9]{4}"  # day or month first; with dots: day
LATEST_TWO_WAY = 12  # of the days of a month


@dataclass(frozen=True)
class Reading:
    """What is needed to understand the cells of a log."""

    dataset: str
    log: LogConfig
    decimal: str = "."
    dayfirst: bool = False
    missing_tokens: tuple[str, ...] = TOKENS

    @classmethod
    def of(cls, config: DatasetConfig) -> Reading:
        """Take what a dataset says."""
        tokens = tuple(map(str, config.missing_tokens))
        return cls(config.name, config.transactions, config.decimal, config.dayfirst, tokens)


@dataclass(frozen=True)
class Rule:
    """One reason to leave a line out."""

    name: str
    condition: str  # SQL, about the columns of `parsed_lines`
    what: str  # the lines, after their number: "without a customer (CustomerID)"
    key: str  # of transactions, which decides; empty where nothing can be decided
    fails: bool  # whether such a line is an error
    column: str | None = None  # the column that errors quote


def parsed_lines(
    opened: OpenLog, reading: Reading, *, items: bool, shown: str | None = None
) -> str:
    """Return the SELECT that reads the cells of every line.

    Parameters
    ----------
    items : bool
        Whether items are needed.
    shown : str, optional
        A column whose cells are returned as they are, as ``cell``.

    Returns
    -------
    str
        Its columns are ``customer``, ``ord`` (the order), ``item``, ``day``, ``pieces``, ``units``
        (of quantity and amount, in millionths), ``cancelled``, ``kept`` and ``copies`` (of equal
        lines). What is missing or cannot be read is NULL; see `name_text` for names.
    """
    log = reading.log
    known = _Cells(opened, reading)
    quantity = known.number(log.quantity)
    price = known.number(log.price or log.amount)
    value = f"({quantity}) * ({price})" if log.price and log.quantity else price
    cells = {
        "customer": known.name(log.customer),
        "ord": known.name(log.order),
        "item": known.name(log.item) if items else "NULL",
        "day": known.day(log.date),
        "pieces": _millionths(quantity) if log.quantity else "NULL",
        "units": _millionths(value) if log.price or log.amount else "NULL",
        "cancelled": known.begins(log.order, log.cancelled_prefix),
        "kept": known.kept(log.keep),
    }
    if shown is not None:
        cells["cell"] = f"CAST({opened.column(shown).name} AS VARCHAR)"
    relation, copies = opened.relation, "1"
    if log.duplicates != "keep":
        columns = ", ".join(f"c{i}" for i in range(len(opened.names)))
        relation = f"SELECT {columns}, count(*) AS copies FROM ({relation}) GROUP BY {columns}"
        copies = "copies"
    selected = ", ".join(f"{expression} AS {name}" for name, expression in cells.items())
    return f"SELECT {selected}, {copies} AS copies FROM ({known.layers(relation)})"


def name_text(name: str, opened: OpenLog, column: str | None) -> str:
    """Return the SQL that writes a name of `parsed_lines` in one way however it is stored.

    Numbers are grouped faster than text, so they become text after lines are added up.

    Parameters
    ----------
    name : str
        SQL of the name, such as ``customer``.
    column : str or None
        The column of the log in which the name stands.
    """
    kind = opened.column(column).kind if column is not None else "text"
    return _number_text(name) if kind == "number" else f"CAST({name} AS VARCHAR)"


def is_whole(number: str) -> str:
    """Return the SQL condition of a DOUBLE that is written as a whole number."""
    return f"({number} = trunc({number}) AND abs({number}) < 9007199254740992)"


def _number_text(number: str) -> str:
    return (
        f"CASE WHEN {is_whole(number)} THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) "
        f"ELSE CAST({number} AS VARCHAR) END"
    )


def ruled_lines(parsed: str, rules: Sequence[Rule]) -> str:
    """Return the SELECT that adds to each line the code of its rule, from 1; 0: it is used."""
    cases = " ".join(f"WHEN {rule.condition} THEN {code}" for code, rule in enumerate(rules, 1))
    code = f"CASE {cases} ELSE 0 END" if rules else "0"
    return f"SELECT *, CAST({code} AS UTINYINT) AS rule FROM ({parsed})"


def returned(log: LogConfig) -> str:
    """Return the SQL condition of a line that takes goods or money back."""
    negative = "pieces < 0" if log.quantity else "units < 0" if log.amount else "false"
    return f"(cancelled OR coalesce({negative}, false))"


def given_back(log: LogConfig, rules: Sequence[Rule]) -> str | None:
    """Return the SQL condition of a ruled line whose amount a customer got back.

    Only where such lines are left out (``returns=drop``), and not after ``calibration_end``. None
    where no line can be one.
    """
    if not (log.price or log.amount) or not any(rule.name in BACK for rule in rules):
        return None
    end = log.day("calibration_end")
    return by_back_rule(rules) + (f" AND day <= DATE '{end}'" if end else "")


def by_back_rule(rules: Sequence[Rule]) -> str:
    """Return the SQL condition of a line left out because it takes something back."""
    codes = [str(code) for code, rule in enumerate(rules, 1) if rule.name in BACK]
    return f"rule IN ({', '.join(codes)})"


def active_rules(reading: Reading, *, items: bool) -> list[Rule]:
    """Return the rules that can take a line out, in the order in which they are applied.

    Parameters
    ----------
    items : bool
        Whether a line without an item is of no use, as for baskets.
    """
    log = reading.log
    price = log.price or log.amount
    back = returned(log)
    rules = [
        Rule("keep", "NOT kept", f"outside keep ({', '.join(log.keep)})", "keep", False)
        if log.keep
        else None,
        _missing(log, "customer", "customer", "missing_customer", log.missing_customer),
        _missing(log, "date", "day", "invalid", log.invalid),
        _outside("start", "<", log),
        _outside("end", ">", log),
        _outside("holdout_end", ">", log),
        _missing(log, "order", "ord", "invalid", log.invalid),
        _missing(log, "quantity", "pieces", "invalid", log.invalid),
        _missing(log, "price" if log.price else "amount", "units", "invalid", log.invalid),
        Rule(
            "cancelled", "cancelled", f"of orders that begin with {log.cancelled_prefix!r}",
            "returns", log.returns == "error", log.order,
        )
        if log.cancelled_prefix and log.order and log.returns != "keep"
        else None,
        Rule(
            "returned", back, f"with a {log.quantity or log.amount} below 0", "returns",
            log.returns == "error", log.quantity or log.amount,
        )
        if log.returns != "keep" and (log.quantity or log.amount)
        else None,
        Rule(
            "non_positive", f"units <= 0 AND NOT {back}", f"with a {price} of 0 or less",
            "non_positive", log.non_positive == "error", price,
        )
        if price and log.non_positive != "keep"
        else None,
        Rule("item", "item IS NULL", f"without an item ({log.item})", "", False) if items else None,
    ]  # fmt: skip
    return [rule for rule in rules if rule is not None]


def _missing(log: LogConfig, role: str, name: str, key: str, answer: str) -> Rule | None:
    """Return the rule about lines in which the column of a role says nothing."""
    column = getattr(log, role)
    if column is None:
        return None
    if role in ("customer", "order"):
        what = f"without {'a customer' if role == 'customer' else 'an order'} ({column})"
    else:
        kind = "date" if role == "date" else "number"
        what = f"with a {column} that is missing or no {kind}"
    rule = "missing_customer" if role == "customer" else role
    return Rule(rule, f"{name} IS NULL", what, key, answer == "error", column)


def _outside(key: str, sign: str, log: LogConfig) -> Rule | None:
    day = log.day(key)
    if day is None:
        return None
    what = f"{'before' if sign == '<' else 'after'} {day} ({key})"
    return Rule(key, f"day {sign} DATE '{day}'", what, key, False)


def rule_findings(
    rules: Sequence[Rule], removed: Mapping[int, int], n_duplicates: int
) -> list[Finding]:
    """Say what each rule took out.

    Parameters
    ----------
    removed : mapping of the code of a rule to a number of lines
    """
    findings = []
    if n_duplicates:
        what = f"{counted(n_duplicates, 'line')} equal to an earlier one left out (duplicates=drop)"
        findings.append(Finding("duplicates", what, n_duplicates))
    for code, rule in enumerate(rules, 1):
        if count := removed.get(code, 0):
            chosen = f" ({rule.key}=drop)" if rule.key and rule.key not in rule.what else ""
            message = f"{counted(count, 'line')} {rule.what} left out{chosen}"
            findings.append(Finding(rule.name, message, count))
    return findings


def refuse_errors(
    opened: OpenLog | None,
    reading: Reading,
    rules: Sequence[Rule],
    removed: Mapping[int, int],
    n_duplicates: int,
    n_used: int | None = None,
) -> None:
    """Refuse a log in which lines are left out that should not be.

    Parameters
    ----------
    opened : OpenLog or None
        Where the cells are looked up that an error quotes.
    removed : mapping of the code of a rule to a number of lines
    n_used : int, optional
        The lines that no rule took out; without it, lines that cannot be read are not compared
        with those that can.

    Raises
    ------
    DataError
        A rule that is set to error took a line out, or a column cannot be read in more than half
        of the lines, even with ``invalid=drop``.
    """
    if n_duplicates and reading.log.duplicates == "error":
        raise DataError(
            f"dataset {reading.dataset!r}: {counted(n_duplicates, 'line')} equal to an earlier "
            "one; say dataset.transactions.duplicates=drop or keep"
        )
    for code, rule in enumerate(rules, 1):
        if not (count := removed.get(code, 0)):
            continue
        if rule.fails:
            shown, reads = _unread(opened, reading, rules, code)
            answers = "drop" if rule.key in ("invalid", "missing_customer") else "drop or keep"
            way = f"mend the log, or say dataset.transactions.{rule.key}={answers}"
            raise DataError(
                f"dataset {reading.dataset!r}: {counted(count, 'line')} {rule.what}{shown}; "
                f"{reads or way}"
            )
        if n_used is not None and rule.key == "invalid" and rule.name != "order":
            reached = n_used + sum(lines for later, lines in removed.items() if later >= code)
            if 2 * count > reached:
                _refuse_most(opened, reading, rules, code, count, reached)


def _refuse_most(
    opened: OpenLog | None,
    reading: Reading,
    rules: Sequence[Rule],
    code: int,
    count: int,
    reached: int,
) -> None:
    """Raise ``DataError`` if most lines hold a cell of a column that cannot be read."""
    column = rules[code - 1].column
    if opened and column:
        cells = _cells_of(opened, reading, rules, code)
        if 2 * _counts(cells, reading, rules[code - 1], column)[2] <= reached:
            return
    shown, reads = _unread(opened, reading, rules, code)
    raise DataError(
        f"dataset {reading.dataset!r}: {count} of {counted(reached, 'line')} "
        f"{rules[code - 1].what}{shown}, too many to leave out (invalid=drop); "
        f"{reads or 'mend the log, or name another column'}"
    )


def _unread(
    opened: OpenLog | None, reading: Reading, rules: Sequence[Rule], code: int
) -> tuple[str, str]:
    """Quote cells that a rule took out, and say which setting reads them; empty texts if none."""
    rule = rules[code - 1]
    if opened is None or rule.column is None:
        return "", ""
    cells = _cells_of(opened, reading, rules, code)
    # The same ones whatever the order of the lines.
    rows = opened.connection.execute(
        f"SELECT DISTINCT c0 FROM ({cells.relation}) WHERE failed ORDER BY c0 LIMIT {MAX_EXAMPLES}"
    ).fetchall()
    shown = f", e.g. {', '.join(repr(row[0]) for row in rows)}" if rows else ""
    if not rows or rule.key != "invalid" or rule.name == "order":
        return shown, ""
    return shown, _what_reads(cells, reading, rule, rule.column)


def _cells_of(opened: OpenLog, reading: Reading, rules: Sequence[Rule], code: int) -> OpenLog:
    """Open the different cells that a rule has seen, as text, with ``failed`` and their ``n``."""
    column = rules[code - 1].column
    items = any(rule.name == "item" for rule in rules)
    ruled = ruled_lines(parsed_lines(opened, reading, items=items, shown=column), rules)
    opened.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE shown_cells AS SELECT cell AS c0, rule = {code} AS failed, "
        f"count(*) AS n FROM ({ruled}) WHERE cell IS NOT NULL AND (rule = {USED} OR rule >= {code})"
        " GROUP BY ALL"
    )
    relation = "SELECT * FROM shown_cells"
    return replace(opened, relation=relation, names=(str(column),), kinds=("text",))


def _counts(cells: OpenLog, reading: Reading, rule: Rule, column: str) -> tuple[int, int, int]:
    """Count the cells that say something, those that can be read, and those that failed."""
    known = _Cells(cells, reading)
    text = known.name(column)
    value = known.day(column) if rule.name == "date" else known.number(column)
    row = cells.connection.execute(
        f"SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (WHERE ({value}) IS NOT NULL), 0), "
        f"coalesce(sum(n) FILTER (WHERE failed), 0) FROM ({known.layers(cells.relation)}) "
        f"WHERE {text} IS NOT NULL"
    ).fetchall()[0]
    return int(row[0]), int(row[1]), int(row[2])


def _what_reads(cells: OpenLog, reading: Reading, rule: Rule, column: str) -> str:
    """Say which setting reads more of the cells than the present one does."""
    others = _other_dates(reading) if rule.name == "date" else _other_numbers(reading)
    total, best, _ = _counts(cells, reading, rule, column)
    words: list[str] = []
    for said, other in others:
        n_read = _counts(cells, other, rule, column)[1]
        if n_read > best:
            words, best = [said], n_read
        elif n_read == best and words and "%" in said:
            words.append(said)
    reads = f"{' or '.join(words[:2])} reads {'them' if best == total else f'{best} of {total}'}"
    if rule.name != "date" and _all_failed(cells, "[+-]?[0-9]{1,3}([.,][0-9]{3})+"):
        told = "they seem to hold thousands separators; take these out of the log"
        return f"{told}; if not, {reads}" if words else told
    if words:
        return reads
    if rule.name == "date" and _all_failed(cells, r"[2-6][0-9]{4}([.,][0-9]+)?"):
        return (
            "they look like the serial numbers that Excel makes of dates; save the column as dates "
            "such as 2024-01-31"
        )
    return ""


def _all_failed(cells: OpenLog, pattern: str) -> bool:
    """Whether every cell that cannot be read looks like a pattern."""
    return bool(
        cells.connection.execute(
            f"SELECT bool_and(regexp_full_match(trim(c0), {literal(pattern)})) "
            f"FROM ({cells.relation}) WHERE failed"
        ).fetchall()[0][0]
    )


def _other_dates(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Yield other ways to read dates, each with the words that choose it."""
    plain = replace(reading, log=replace(reading.log, date_format=None))
    other = replace(plain, dayfirst=not reading.dayfirst)
    words = f"dataset.dayfirst={str(other.dayfirst).lower()}"
    if reading.log.date_format is not None:
        yield "dataset.transactions.date_format=null", plain
        words = f"dataset.transactions.date_format=null {words}"
    yield words, other
    for time in TIMES:
        for day in SHORT_DATES:
            form = f"dataset.transactions.date_format={day}{time}"
            chosen = replace(reading, log=replace(reading.log, date_format=day + time))
            yield (f"'{form}'" if time else form), chosen


def _other_numbers(reading: Reading) -> Iterator[tuple[str, Reading]]:
    for mark, word in ((",", "comma"), (".", "point")):
        if mark != reading.decimal:
            yield f"dataset.decimal={word}", replace(reading, decimal=mark)


def could_be_two_way(opened: OpenLog, reading: Reading, latest: int | None) -> bool:
    """Whether it may be that no date of the log tells the day from the month.

    Parameters
    ----------
    latest : int or None
        The latest day of a month in the log, from 1.
    """
    log = reading.log
    return (
        latest is not None
        and latest <= LATEST_TWO_WAY
        and not reading.dayfirst
        and log.date is not None
        and log.date_format is None
        and opened.column(log.date).kind == "text"
    )


def two_way_query(opened: OpenLog, reading: Reading) -> str:
    """Return the SELECT that counts the dates that can be read two ways, and those that cannot."""
    known = _Cells(opened, reading)
    text = known.name(reading.log.date)
    first, second = (
        f"TRY_CAST(regexp_extract({text}, {literal(TWO_WAYS)}, {i}) AS INTEGER)" for i in (1, 2)
    )
    clear = f"{first} > {LATEST_TWO_WAY} OR {second} > {LATEST_TWO_WAY}"
    return (
        f"SELECT count(*) FILTER (WHERE {first} <> {second}) AS two_way, "
        f"count(*) FILTER (WHERE {clear}) AS clear "
        f"FROM ({known.layers(opened.relation)}) WHERE regexp_matches({text}, {literal(TWO_WAYS)})"
    )


def two_way_findings(n_two_way: int, n_clear: int) -> list[Finding]:
    """Say that no date of the log tells the day from the month."""
    if n_two_way == 0 or n_clear:
        return []
    what = (
        "every date can be read two ways; read month first; dataset.dayfirst=true reads the other "
        "way"
    )
    return [Finding("two_way_dates", what, n_two_way)]


def _millionths(number: str) -> str:
    # A cast rounds halves to even, as numpy's rint does; too large a number becomes NULL.
    return f"TRY_CAST(({number}) * {MILLIONTHS}.0 AS BIGINT)"


class _Cells:
    """SQL expressions for the cells of a log."""

    def __init__(self, opened: OpenLog, reading: Reading) -> None:
        self._opened = opened
        self._reading = reading
        self._tokens = ", ".join(literal(token.strip()) for token in ("", *reading.missing_tokens))
        # Said once per column, and not wherever they are needed: they are dear.
        self._stripped: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def layers(self, relation: str) -> str:
        """Put the texts of the columns beside the columns of a relation."""
        for texts in (self._stripped, self._texts):
            if texts:
                more = ", ".join(f"{expression} AS {name}" for name, expression in texts.items())
                relation = f"SELECT *, {more} FROM ({relation})"
        return relation

    def _column(self, name: str) -> LogColumn:
        return self._opened.column(name)

    def name(self, column: str | None) -> str:
        """Read a name, such as that of a customer; a number stays one until `name_text`."""
        if column is None:
            return "NULL"
        found = self._column(column)
        if found.kind == "number":
            number = f"CAST({found.name} AS DOUBLE)"
            return f"CASE WHEN NOT isnan({number}) THEN {number} END"
        if found.kind == "whole":
            tokens = [t.strip() for t in self._reading.missing_tokens if _is_whole(t.strip())]
            if not tokens:
                return found.name
            return f"CASE WHEN {found.name} NOT IN ({', '.join(tokens)}) THEN {found.name} END"
        return self._text(found)

    def _text(self, column: LogColumn) -> str:
        c = column.name
        if column.kind == "whole":
            return f"CAST({c} AS VARCHAR)"
        if column.kind == "number":
            d = f"CAST({c} AS DOUBLE)"
            return f"CASE WHEN NOT isnan({d}) THEN {_number_text(d)} END"
        if column.kind == "truth":
            return f"CASE WHEN {c} THEN 'True' WHEN NOT {c} THEN 'False' END"
        text, name = self._strip(column), f"t_{c}"
        mark = literal(self._reading.decimal)
        fraction = literal(rf"[+-]?[0-9]+\{self._reading.decimal}0+")
        self._texts[name] = (
            f"CASE WHEN {text} IN ({self._tokens}) THEN NULL "
            f"WHEN ends_with({text}, '0') AND contains({text}, {mark}) AND "
            f"regexp_full_match({text}, {fraction}) THEN split_part({text}, {mark}, 1) "
            f"ELSE {text} END"
        )
        return name

    def _strip(self, column: LogColumn) -> str:
        text = column.name if column.kind == "text" else f"CAST({column.name} AS VARCHAR)"
        name = f"s_{column.name}"
        self._stripped[name] = f"trim({text}, {literal(WHITE)})"
        return name

    def number(self, column: str | None) -> str:
        """Read a finite number."""
        if column is None:
            return "NULL"
        found = self._column(column)
        if found.kind == "whole":
            return f"CAST({found.name} AS DOUBLE)"
        if found.kind == "number":
            d = f"CAST({found.name} AS DOUBLE)"
            return f"CASE WHEN isfinite({d}) THEN {d} END"
        text = self._strip(found)
        if self._reading.decimal != ".":
            # With a decimal comma 1.000 is a thousand or a mistake, so it must not pass as 1.
            text = f"replace(replace({text}, '.', '?'), {literal(self._reading.decimal)}, '.')"
        number = f"TRY_CAST({text} AS DOUBLE)"
        return (
            f"CASE WHEN isfinite({number}) AND NOT contains({text}, '_') THEN {number} "
            f"{self._grouped(self._strip(found))} END"
        )

    def _grouped(self, text: str) -> str:
        """Read numbers with thousands separators, where the fraction leaves no doubt: 1,002.50."""
        mark = self._reading.decimal
        group = {".": ",", ",": "."}.get(mark)
        if group is None:
            return ""
        pattern = literal(rf"[+-]?[0-9]{{1,3}}(\{group}[0-9]{{3}})+\{mark}[0-9]+")
        plain = f"replace(replace({text}, '{group}', ''), '{mark}', '.')"
        return f"WHEN regexp_full_match({text}, {pattern}) THEN TRY_CAST({plain} AS DOUBLE)"

    def day(self, column: str | None) -> str:
        """Read the day of a date or of a moment, in the zone in which it is written."""
        if column is None:
            return "NULL"
        found = self._column(column)
        if found.kind in ("date", "moment"):
            day = f"TRY_CAST({found.name} AS DATE)"
        elif found.kind == "zoned":
            day = f"CAST(CAST({found.name} AS TIMESTAMP) AS DATE)"
        elif self._reading.log.date_format is not None:
            text, form = self._text(found), self._reading.log.date_format
            if form.endswith("%z"):
                form = form.removesuffix("%z").rstrip()
                text = f"regexp_replace({text}, {literal(ZONE)}, '')"
            day = f"CAST(try_strptime({text}, {literal(form)}) AS DATE)"
        else:
            day = f"CAST({_moment(self._text(found), self._reading.dayfirst)} AS DATE)"
        first, last = YEARS
        return f"CASE WHEN {day} BETWEEN DATE '{first}' AND DATE '{last}' THEN {day} END"

    def begins(self, column: str | None, prefix: str | None) -> str:
        if column is None or not prefix:
            return "false"
        return (
            f"coalesce(starts_with({self._text(self._column(column))}, {literal(prefix)}), false)"
        )

    def kept(self, keep: Mapping[str, Iterable[Any]]) -> str:
        conditions = []
        for column, values in keep.items():
            texts = [cell_text(value) for value in values]
            listed = ", ".join(literal(text) for text in texts if text is not None)
            cell = self._text(self._column(column))
            known = f"coalesce({cell} IN ({listed}), false)" if listed else "false"
            conditions.append(f"({known} OR {cell} IS NULL)" if None in texts else known)
        return " AND ".join(conditions) or "true"


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 18


def _moment(text: str, dayfirst: bool) -> str:
    """SQL that reads the dates that `segexp.data.cells.parse_dates` reads.

    Of a moment with a zone it is the local one, and with dots the day comes first.
    """
    numbers = r"^([0-9]{1,2})[-/. ]([0-9]{1,2})[-/. ]([0-9]{4})"
    order = r"\3-\2-\1" if dayfirst else r"\3-\1-\2"
    dotted = r"^[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}"
    zoned = r"[0-9]:[0-9]{2}[0-9:.]* ?[+-][0-9]{2}(:?[0-9]{2})?$"
    spelled = ", ".join(
        literal(day + time)
        for day in ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y",
                    "%d %B %Y", "%d-%B-%Y", "%B %d, %Y", "%B %d %Y")
        for time in ("", " %H:%M", " %H:%M:%S")
    )  # fmt: skip
    iso = rf"regexp_replace({text}, '^([0-9]{{4}})[/.]([0-9]{{1,2}})[/.]', '\1-\2-')"
    compact = rf"regexp_replace({text}, '^([0-9]{{4}})([0-9]{{2}})([0-9]{{2}})$', '\1-\2-\3')"
    dots = rf"regexp_replace({text}, '{numbers}', '\3-\2-\1')"
    slashes = f"regexp_replace({text}, '{numbers}', '{order}')"

    def local(moment: str) -> str:
        return (
            f"CASE WHEN length({text}) > 14 AND regexp_matches({text}, '{zoned}') "
            f"THEN CASE WHEN TRY_CAST({moment} AS TIMESTAMPTZ) IS NOT NULL "
            f"THEN TRY_CAST(regexp_replace({moment}, '{ZONE}', '') AS TIMESTAMP) END "
            f"ELSE TRY_CAST({moment} AS TIMESTAMP) END"
        )

    return (
        f"CASE WHEN regexp_matches({text}, '^[0-9]{{4}}[-/.]') THEN {local(iso)} "
        f"WHEN regexp_full_match({text}, '[0-9]{{8}}') THEN TRY_CAST({compact} AS TIMESTAMP) "
        f"WHEN regexp_matches({text}, '{dotted}') THEN {local(dots)} "
        f"WHEN regexp_matches({text}, '{numbers}') THEN {local(slashes)} "
        f"WHEN regexp_matches({text}, '[a-zA-Z]{{3}}.*[0-9]{{4}}') "
        f"THEN try_strptime({text}, [{spelled}]) END"
    )
