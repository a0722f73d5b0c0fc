"""Sections and blocks, and how they become one HTML file that needs nothing else.

Everything that a block holds is text (or the bytes of a picture), and is escaped; nothing in it
can become markup. The file opens no connection, is complete without its script, and can be read
on a phone, in the dark and on paper.
"""

from __future__ import annotations

import base64
import io
import math
import re
import struct
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from markupsafe import Markup

from segexp.comparison_page import SCRIPTS, STYLES, comparison_part
from segexp.safe_html import asset, environment, policy, visible

if TYPE_CHECKING:
    import pandas as pd

    from segexp.comparison.compare import Comparison

MOST_SVG = 150_000  # bytes; a larger one is shown as PNG
MOST_FIGURES = 4_500_000  # letters that all figures of a page may take
_MOST_LETTERS = 2000  # of a paragraph, a cell or a name
_MOST_CODE = 400_000
_CSS_DPI = 96


# ---- blocks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """Paragraphs; an empty line begins another one.

    ``kind``: ``""``, ``lead`` (larger), ``quiet`` (smaller), ``note`` or ``warning``.
    """

    words: str
    kind: str = ""


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    words: Sequence[str]


@dataclass(frozen=True)
class Fact:
    """One figure that is read from afar: what it is, the figure, and what it stands beside."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Figures in a row."""

    facts: Sequence[Fact]


@dataclass(frozen=True)
class Figure:
    """A picture.

    Parameters
    ----------
    name : str
        As of its file, without an ending.
    content : bytes, or mapping of "png" and "svg" to bytes
        Such as :class:`segexp.figures.look.Pictures`; the SVG is shown, and the PNG is asked for
        only where that is too large.
    alt : str
        What is to be seen, for those who cannot see it.
    caption : str
        What the numbers are: held out, out-of-fold or in-sample.
    """

    name: str
    content: bytes | Mapping[str, bytes]
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than its text.

    ``value`` is what it is sorted by, ``mark`` a word beside the text, ``address`` where it leads
    (a place in this page, ``#id``, or a relative one), ``share`` (0 to 1) is drawn as a bar,
    ``about`` is said where a pointer rests on it.
    """

    text: str
    value: float | str | None = None
    mark: str = ""
    address: str = ""
    strong: bool = False
    share: float | None = None
    about: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first column says what a row is about.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequences
        Of text, numbers, None or :class:`Cell`, one for each column.
    numeric : collection of str or int
        Names or positions of the columns that hold numbers, also as text (``12.5%``).
    sortable : bool
    caption : str
    about : mapping of column to text
        Said where a pointer rests on the head.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: Collection[str | int] = ()
    sortable: bool = True
    caption: str = ""
    about: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells in {len(self.columns)} columns")


@dataclass(frozen=True)
class Bar:
    """One line of a small chart in a card: ``value`` beside ``all_`` on the scale up to ``most``.

    Without ``most`` the bars of a card share the largest of their values.
    """

    label: str
    value: float
    text: str
    all_: float | None = None  # the same of all customers, drawn as a stroke
    most: float | None = None


@dataclass(frozen=True)
class Card:
    """One segment at a glance.

    ``tags`` are its markers in a few words each, ``facts`` pairs of name and figure, ``words`` what
    one may do, ``blocks`` stand behind a fold. ``share`` (0 to 1) is drawn as a bar.
    """

    title: str
    subtitle: str = ""
    share: float | None = None
    tags: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    bars: Sequence[Bar] = ()
    words: str = ""
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Cards:
    """Cards side by side."""

    cards: Sequence[Card]


@dataclass(frozen=True)
class Code:
    """Text to be copied."""

    text: str
    language: str = ""
    title: str = ""


@dataclass(frozen=True)
class Findings:
    """Checks that spoke: objects (or mappings) with ``code``, ``message``, ``advice``.

    ``severity`` is shown where they have one; ``none`` is said where there are none.
    """

    checks: Sequence[Any]
    none: str = "Nothing was found."


@dataclass(frozen=True)
class Details:
    """Blocks behind a fold, which is open on paper but in the technical appendix."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Ranking:
    """The tables of a comparison, as on the page that `segexp compare --html` writes."""

    comparison: Comparison
    folder: Path | None = None  # where the page will lie


Block: TypeAlias = (
    Text | Items | Facts | Figure | Table | Cards | Code | Findings | Details | Ranking
)


@dataclass(frozen=True)
class Section:
    """A part of a report with a title; ``id`` is its mark, made unique in the page."""

    id: str
    title: str
    blocks: Sequence[Block] = ()
    children: Sequence[Section] = ()


# ---- the page ----------------------------------------------------------------------------------


def pictures(sections: Iterable[Section]) -> dict[str, bytes]:
    """Return the figures of sections as file name -> content, SVG and PNG."""
    return {
        f"{figure.name}.{kind}": content
        for figure in _figures_of(sections)
        for kind, content in _kinds(figure).items()
    }


def render_page(
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    marks: Sequence[str] = (),
) -> str:
    """Return a report as the text of one HTML file; equal sections give equal text.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    subtitle : str
        One line below the title.
    marks : sequence of str
        Words beside the title, such as ``synthetic customers``.

    Returns
    -------
    str
        To be written as UTF-8 with its line ends as they are: the page's policy holds the
        checksums of its style and its script.
    """
    album = Album(_figures_of(sections))
    maker = _Maker(album)
    views = [maker.section(section, 2) for section in sections]
    style, script = asset(*STYLES, "report.css"), asset(*SCRIPTS, "report.js")
    return (
        environment()
        .get_template("report.html")
        .render(
            title=_cut(title, 200),
            subtitle=_cut(subtitle),
            marks=[_cut(mark, 60) for mark in marks],
            note=album.note,
            policy=policy(style, script),
            style=style,
            script=script,
            sections=views,
        )
        .lstrip()
    )


def _figures_of(sections: Iterable[Section]) -> Iterator[Figure]:
    for section in sections:
        yield from _figures_in(section.blocks)
        yield from _figures_of(section.children)


def _figures_in(blocks: Iterable[Block]) -> Iterator[Figure]:
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Details):
            yield from _figures_in(block.blocks)
        elif isinstance(block, Cards):
            for card in block.cards:
                yield from _figures_in(card.blocks)


@dataclass(frozen=True)
class _View:
    """A block as the template sees it: the macro that draws it, and what it is given."""

    kind: str
    of: Any


class _Maker:
    """Turns sections into what the template shows; knows which marks are taken."""

    def __init__(self, album: Album) -> None:
        self._album = album
        self._taken = {"main", "top", "contents", "ranks", "problems"}

    def section(self, section: Section, level: int) -> dict[str, Any]:
        return {
            "id": self._mark(section.id),
            "title": _cut(section.title, 200),
            "level": min(level, 6),
            "blocks": self.blocks(section.blocks, level + 1),
            "children": [self.section(child, level + 1) for child in section.children],
        }

    def blocks(self, blocks: Iterable[Block], level: int) -> list[_View]:
        return [self._block(block, min(level, 6)) for block in blocks]

    def _mark(self, wanted: str) -> str:
        plain = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode().lower()
        # The letter keeps it apart from the marks of a comparison's tables (t1, t1r1, ...).
        base = "s-" + (re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "part")
        found, number = base, 2
        while found in self._taken:
            found, number = f"{base}-{number}", number + 1
        self._taken.add(found)
        return found

    def _block(self, block: Block, level: int) -> _View:
        match block:
            case Text():
                parts = re.split(r"\n\s*\n", _cut(block.words, 20 * _MOST_LETTERS))
                words = [" ".join(part.split()) for part in parts]
                return _View(
                    "text", {"kind": block.kind, "parts": [part for part in words if part]}
                )
            case Items():
                return _View("items", [_cut(" ".join(words.split())) for words in block.words])
            case Facts():
                return _View(
                    "facts",
                    [
                        Fact(_cut(fact.label, 200), _cut(fact.value, 200), _cut(fact.note, 400))
                        for fact in block.facts
                    ],
                )
            case Figure():
                return _View("figure", self._album.picture(block))
            case Table():
                return _View("table", _table(block))
            case Cards():
                return _View("cards", [self._card(card, level) for card in block.cards])
            case Code():
                return _View("code", _code(block))
            case Findings():
                return _View("findings", {"none": block.none, "found": _findings(block.checks)})
            case Details():
                inner = self.blocks(block.blocks, level)
                return _View("details", {"summary": _cut(block.summary), "blocks": inner})
            case Ranking():
                return _View("ranking", comparison_part(block.comparison, block.folder, level))

    def _card(self, card: Card, level: int) -> dict[str, Any]:
        most = max((bar.most or max(bar.value, bar.all_ or 0.0) for bar in card.bars), default=0.0)
        return {
            "title": _cut(card.title, 200),
            "subtitle": _cut(card.subtitle),
            "level": level,
            "share": _percent(card.share),
            "tags": [_cut(tag, 120) for tag in card.tags],
            "facts": [(_cut(name, 120), _cut(value, 200)) for name, value in card.facts],
            "bars": [
                {
                    "label": _cut(bar.label, 80),
                    "text": _cut(bar.text, 40),
                    "width": _percent(bar.value / (bar.most or most) if bar.most or most else 0.0),
                    "all": None
                    if bar.all_ is None
                    else _percent(bar.all_ / (bar.most or most) if bar.most or most else 0.0),
                }
                for bar in card.bars
            ],
            "words": _cut(card.words),
            "blocks": self.blocks(card.blocks, level + 1),
        }


def _percent(share: float | None) -> float | None:
    if share is None or not math.isfinite(share):
        return None
    return round(100 * min(max(share, 0.0), 1.0), 2)


def _findings(checks: Iterable[Any]) -> list[dict[str, str]]:
    def read(check: Any, name: str) -> str:
        found = check.get(name) if isinstance(check, Mapping) else getattr(check, name, None)
        return _cut(" ".join(str(found).split())) if found else ""

    names = ("code", "message", "advice", "severity")
    return [{name: read(check, name) for name in names} for check in checks]


def _code(block: Code) -> dict[str, Any]:
    # Line by line: the ends of lines are among the letters that are not seen.
    lines = block.text[:_MOST_CODE].expandtabs(4).splitlines()
    return {
        "text": Markup("\n").join(str(visible(line)) for line in lines),
        "language": _cut(block.language, 20),
        "title": _cut(block.title),
        "is_long": len(lines) > 80,
        "is_cut": len(block.text) > _MOST_CODE,
    }


# ---- tables ------------------------------------------------------------------------------------


def _table(table: Table) -> dict[str, Any]:
    about = table.about or {}
    are_numeric = [
        i in table.numeric or name in table.numeric for i, name in enumerate(table.columns)
    ]
    return {
        "caption": _cut(table.caption),
        "sortable": table.sortable and len(table.rows) > 1,
        "columns": [
            {
                "head": _cut(str(name), 200),
                "kind": "number" if is_numeric else "text",
                "about": _cut(about.get(name, "")),
            }
            for name, is_numeric in zip(table.columns, are_numeric, strict=True)
        ],
        "rows": [
            [_cell(value, is_numeric) for value, is_numeric in zip(row, are_numeric, strict=True)]
            for row in table.rows
        ],
    }


def _cell(value: Any, is_numeric: bool) -> dict[str, Any]:
    cell = value if isinstance(value, Cell) else Cell(shown(value), _sorted_by(value))
    by = cell.value
    if by is None and cell.text not in ("", "–"):
        by = _sorted_by(cell.text)
    if is_numeric and isinstance(by, str):
        by = _number_in(by)
    return {
        "text": _cut(cell.text),
        "by": by if not isinstance(by, float) or math.isfinite(by) else None,
        "kind": "number" if is_numeric else "text",
        "mark": _cut(cell.mark, 60),
        "address": _harmless(cell.address),
        "strong": cell.strong,
        "share": _percent(cell.share),
        "about": _cut(cell.about),
    }


def _sorted_by(value: Any) -> float | str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _cut(str(value), 200) if value is not None and value != "" else None
    return value if math.isfinite(value) else None


def _number_in(text: str) -> float | None:
    found = re.search(r"[-\u2212]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", text, re.IGNORECASE)
    return float(found[0].replace("\u2212", "-").replace(",", "")) if found else None


def _harmless(address: str) -> str:
    """Return an address that stays in the page or goes on from its folder, else none."""
    return address if address.startswith(("#", "./")) else ""


def shown(value: Any) -> str:
    """Return a value as a cell shows it: a dash where there is none, four digits of a float.

    Examples
    --------
    >>> [shown(x) for x in (None, True, 1234, 0.123456, 1234.5, 1e-7, float("nan"), "words")]
    ['–', 'yes', '1,234', '0.1235', '1,234', '1e-07', '–', 'words']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        size = abs(value)
        if size >= 1e9 or 0 < size < 1e-4:
            return f"{value:.4g}"
        return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"
    return str(value)


def percent(share: float, digits: int = 1) -> str:
    """Return a share as text; a dash where there is none."""
    return f"{share:.{digits}%}" if math.isfinite(share) else "–"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _cut(text: str, length: int = _MOST_LETTERS) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


# ---- figures -----------------------------------------------------------------------------------


class Album:
    """The pictures of a page, each as small as the page needs it to be.

    Parameters
    ----------
    figures : iterable of Figure
    most : int
        Letters that all of them may take; beyond it SVG becomes PNG, then PNG loses colours, then
        half of its dots.

    Attributes
    ----------
    note : str
        What was done to fit, in a sentence; empty if nothing.
    """

    def __init__(self, figures: Iterable[Figure], most: int = MOST_FIGURES) -> None:
        found = {id(figure): figure for figure in figures}
        steps: tuple[tuple[str, Callable[[Mapping[str, bytes]], bytes]], ...] = (
            ("", _sharpest),
            (
                "All figures are in their smallest form, so that this file stays small.",
                _least,
            ),
            ("Figures have fewer colours, so that this file stays small.", _fewer_colours),
            ("Figures have fewer dots, so that this file stays small.", _fewer_dots),
        )
        self.note = ""
        self._pictures: dict[int, bytes] = {}
        for note, choose in steps:
            self.note = note
            self._pictures = {key: choose(_kinds(figure)) for key, figure in found.items()}
            if sum(map(_letters, self._pictures.values())) <= most:
                return
        self.note += " It is large all the same."

    def picture(self, figure: Figure) -> dict[str, Any]:
        """Return address, width in CSS pixels, alt text, caption; no address if it is damaged."""
        content = self._pictures[id(figure)]
        kind = "svg+xml" if content.startswith(b"<") else "png"
        address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        return {
            "name": _cut(figure.name, 100),
            "address": address if content else "",
            # Of the first kind: fewer dots are not a smaller picture.
            "width": _width(_sharpest(_kinds(figure))),
            "alt": _cut(" ".join(figure.alt.split())),
            "caption": _cut(" ".join(figure.caption.split())),
        }


def _letters(content: bytes) -> int:
    return 4 * math.ceil(len(content) / 3)


def _kinds(figure: Figure) -> Mapping[str, bytes]:
    content = figure.content
    if isinstance(content, bytes):
        return {"png" if content.startswith(b"\x89PNG") else "svg": content}
    return content


_BEGINNINGS = {"svg": b"<", "png": b"\x89PNG"}


def _of_kind(kinds: Mapping[str, bytes], kind: str) -> bytes:
    """Return a picture, or nothing where there is none or it is something else."""
    content = kinds.get(kind, b"")
    return content if content.startswith(_BEGINNINGS[kind]) else b""


def _sharpest(kinds: Mapping[str, bytes]) -> bytes:
    svg = _of_kind(kinds, "svg")
    return svg if svg and len(svg) < MOST_SVG else _of_kind(kinds, "png") or svg


def _least(kinds: Mapping[str, bytes]) -> bytes:
    found = (_of_kind(kinds, kind) for kind in _BEGINNINGS)
    return min((content for content in found if content), key=len, default=b"")


def _fewer_colours(kinds: Mapping[str, bytes]) -> bytes:
    return min((_least(kinds), _repacked(kinds, 1)), key=lambda c: len(c) or math.inf)


def _fewer_dots(kinds: Mapping[str, bytes]) -> bytes:
    return min((_fewer_colours(kinds), _repacked(kinds, 2)), key=lambda c: len(c) or math.inf)


def _repacked(kinds: Mapping[str, bytes], step: int) -> bytes:
    """Return the PNG with 64 colours and every ``step``-th dot, or nothing."""
    from PIL import Image, UnidentifiedImageError

    png = _of_kind(kinds, "png")
    if not png:
        return b""
    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(png)) as picture:
            size = (max(1, picture.width // step), max(1, picture.height // step))
            plain = picture.convert("RGB").resize(size)
            plain.quantize(64).save(buffer, "PNG", optimize=True)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return b""
    return buffer.getvalue()


def _width(content: bytes) -> int | None:
    """Return how wide a picture is meant to be, in CSS pixels."""
    if content.startswith(b"\x89PNG") and len(content) >= 24:
        (dots,) = struct.unpack(">I", content[16:20])
        at = content.find(b"pHYs", 0, 4096)
        per_metre = 0
        if at > 0 and len(content) >= at + 8:
            (per_metre,) = struct.unpack(">I", content[at + 4 : at + 8])
        dpi = per_metre * 0.0254 if per_metre else 150.0
        return _believed(dots / dpi * _CSS_DPI)
    found = re.search(rb'<svg[^>]*?\swidth="([\d.]{1,9})(pt|px|)"', content[:4096])
    if not found:
        return None
    return _believed(float(found[1]) * (_CSS_DPI / 72 if found[2] == b"pt" else 1))


def _believed(width: float) -> int | None:
    return round(width) if 1 <= width <= 20_000 else None
