"""``segexp data``: the known data sets and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segexp.errors import DataError, SegexpError

_ORIGINS = {"data_dir": "in SEGEXP_DATA_DIR", "cache": "in the cache"}
_DESCRIBED = {"csv": "your own file", "parquet": "your own file", "sql": "your own database"}


def execute_ls(config_dir: str | None) -> int:
    """List the data sets and where their files are; nothing is downloaded."""
    from segexp.cli.console import add_row, say, show_table, table
    from segexp.config.options import describe_option, find_conf_dirs, list_options, read_yaml

    made = table("", ("data set", "files", "what it is"))
    for name, path in list_options("dataset", find_conf_dirs(config_dir)).items():
        try:
            where = _where(name, read_yaml(path))
        except SegexpError as error:
            where = f"wrong: {error}"
        add_row(made, name, where, describe_option(path))
    show_table(made)
    say("use one with: segexp run dataset=NAME    fetch its files with: segexp data fetch NAME")
    return 0


def _where(name: str, content: dict[str, Any]) -> str:
    from segexp.data.sources import find_copy

    if content.get("synthetic"):
        return "generated"
    if name in _DESCRIBED:
        return _DESCRIBED[name]
    downloads = _downloads(content)
    if not downloads:
        return f"your own: {content.get('path') or content.get('url')}"
    copies = [find_copy(path, entry, name) for path, entry in downloads.items()]
    if None in copies:
        missing = sum(copy is None for copy in copies)
        return f"not here yet ({missing} of {len(copies)} file(s) to fetch)"
    found = {_ORIGINS[copy.origin] for copy in copies if copy is not None}
    differs = any(copy is not None and copy.sha256_ok is False for copy in copies)
    return ", ".join(sorted(found)) + (", differs from the published file" if differs else "")


def _downloads(content: dict[str, Any]) -> dict[str, Any]:
    from segexp.config.schema import check_downloads

    downloads = content.get("downloads") or {}
    check_downloads(downloads)
    return dict(downloads)


def execute_fetch(names: Sequence[str], config_dir: str | None, *, force: bool) -> int:
    """Download the files of data sets into the cache; one failure does not stop the rest."""
    from segexp.cli.console import clean, err, say
    from segexp.config.options import find_conf_dirs, find_option, read_yaml
    from segexp.data.sources import find_copy

    conf_dirs = find_conf_dirs(config_dir)
    wanted = {name: read_yaml(find_option("dataset", name, conf_dirs)) for name in names}
    failed = 0
    for name, content in wanted.items():
        downloads = _downloads(content)
        if not downloads:
            say(f"{name}: there is nothing to fetch")
        for path, entry in downloads.items():
            try:
                copy = None if force else find_copy(path, entry, name)
                found = copy.path if copy is not None else _fetch(path, entry, name, force)
                say(f"{name}: {found}")
            except DataError as error:
                failed += 1
                err.print(f"segexp: {clean(error)}", markup=False)
    return 2 if failed else 0


def _fetch(path: str, entry: dict[str, Any], dataset: str, force: bool) -> Path:
    from segexp.cli.console import clean, err
    from segexp.data.sources import fetch

    def progress(text: str) -> None:
        err.print(clean(text), markup=False, style="dim")

    return fetch(path, entry, dataset, force=force, progress=progress)
