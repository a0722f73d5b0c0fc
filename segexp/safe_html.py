"""One HTML file that needs nothing else, of text that nobody vouches for.

Templates escape what they are given, letters that act without being seen are replaced, and the
policy of a page lets a browser run its own script and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def environment() -> Environment:
    """Return the environment of segexp's templates: what they are given is text, never markup."""
    made = Environment(
        autoescape=True,
        finalize=visible,
        loader=PackageLoader("segexp"),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters["breakable"] = breakable
    return made


def breakable(text: str) -> Markup:
    """Return escaped text that may go on in the next line after a sign within a long word."""
    shown = str(escape(visible(text)))
    # The signs of an escaped letter (&#39;) are not among these.
    return Markup(re.sub(r"(?<=\w)([_./=:,-]+)(?=\w)", r"\1<wbr>", shown))


def visible(value: object) -> object:
    r"""Replace letters that are not seen but act, such as those that turn text around.

    Examples
    --------
    >>> visible("a\u202eb") == "a\N{REPLACEMENT CHARACTER}b"
    True
    """
    if not isinstance(value, str) or value.isprintable() or isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def asset(*names: str) -> Markup:
    """Return files of the templates' folder, one after the other, as they are."""
    folder = resources.files("segexp") / "templates"
    # Markup: our own text, which stands in the page as it is.
    return Markup("\n".join((folder / name).read_text("utf-8") for name in names))


def policy(style: str, script: str) -> str:
    """Return a content security policy that allows one style, one script, and pictures within."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_checksum(style)}'",
            f"script-src '{_checksum(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _checksum(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def relative(path: str | Path, folder: Path | None) -> str | None:
    """Return a path as seen from a folder; None where they have only the root in common."""
    if folder is None:
        return None
    own, other = (os.path.normpath(Path(p).absolute()) for p in (folder, path))
    try:
        common = os.path.commonpath([own, other])
    except ValueError:  # another drive
        return None
    return None if common == Path(common).anchor else os.path.relpath(other, own)


def address_of(path: str | Path, folder: Path | None) -> str | None:
    """Return the address of a folder for a page that lies in another one, or None."""
    found = relative(path, folder)
    if found is None:
        return None
    # "./" and percent signs: whatever a folder is called, it is read as a path.
    return f"./{quote(os.fsencode(found.replace(os.sep, '/')))}/"
