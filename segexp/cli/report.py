"""``segexp report``: one HTML file on a run, a sweep or several runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from segexp.errors import ConfigError, RunError


def execute(
    paths: Sequence[str],
    output: str | None,
    names: str | None,
    mute: Sequence[str],
    figures: str | None,
    force: bool,
    config_dir: str | None = None,
) -> int:
    """Write a report, and say where it is, how large, and how long it took.

    Parameters
    ----------
    paths : sequence of str
        A run or sweep directory, or several.
    output : str or None
        A file; by default ``report.html`` in the run or sweep, which is derived and replaced.
    names : str or None
        A YAML file ``segment: name``.
    mute : sequence of str
        Codes of checks that are left out.
    figures : str or None
        A folder that gets every figure as SVG and PNG.
    force : bool
        Replace ``output``.
    config_dir : str, optional
        Folder with an ``actions.yaml`` of the user's own.

    Raises
    ------
    ConfigError
        If several directories, or a folder of runs, have no ``output``, or a file is there already.
    RunError
        If there is no run, or the file cannot be written.
    """
    start = time.perf_counter()
    from segexp.actions import load_actions
    from segexp.cli.console import clean, err, say
    from segexp.cli.export import check_target, write_whole
    from segexp.config.options import find_conf_dirs
    from segexp.data.findings import counted
    from segexp.report.report import REPORT, report, report_with_figures, runs_within
    from segexp.report.source import read_names

    if not paths:
        raise ConfigError("name a run directory: segexp report outputs/demo/RUN")
    folders = [Path(path) for path in paths]
    gathered = runs_within(folders)
    if figures is not None:
        _check_figures([*folders, *gathered], Path(figures), force=force)
    if output is None and len(paths) > 1:
        raise ConfigError("a report of several directories needs a file: -o report.html")
    if gathered and output is None:
        raise ConfigError(
            f"{paths[0]} is no run and no sweep; {counted(len(gathered), 'run')} "
            f"{'lies' if len(gathered) == 1 else 'lie'} in it: name one, such as {gathered[0]}, or "
            f"say where to write the comparison of all: -o comparison.html"
        )
    page = Path(output) if output is not None else folders[0] / REPORT
    if output is not None:
        check_target(page, ".html", force=force)
    given = read_names(Path(names)) if names is not None else None
    actions = load_actions(find_conf_dirs(config_dir))
    drawn: dict[str, bytes] = {}

    def warn(line: str) -> None:
        err.print(clean(f"segexp: {line}"), markup=False)

    if figures is not None:
        text, drawn = report_with_figures(
            folders[0], names=given, muted=tuple(mute), actions=actions, warn=warn
        )
    else:
        text = report(
            folders, names=given, muted=tuple(mute), actions=actions, folder=page.parent, warn=warn
        )
    content = text.encode()
    write_whole(page, content)
    took = time.perf_counter() - start
    if gathered:
        say(clean(f"{counted(len(gathered), 'run')} found in {paths[0]}"))
    say(clean(f"written to {page}: {len(content) / 1e6:.1f} MB, {took:.1f} s"))
    if figures is not None:
        make_folder(Path(figures))
        for name, picture in drawn.items():
            write_whole(Path(figures) / name, picture)
        say(clean(f"{len(drawn)} figures written to {figures}"))
    return 0


def _check_figures(paths: Sequence[Path], folder: Path, *, force: bool) -> None:
    from segexp.runs import is_sweep

    if len(paths) > 1 or is_sweep(paths[0]):
        raise ConfigError("--figures is for the figures of one run; name its directory")
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} holds files already; name another folder, or say --force")


def make_folder(folder: Path) -> None:
    """Make a folder where there is none.

    Raises
    ------
    RunError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror or error}") from error
