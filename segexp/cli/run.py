"""``segexp run`` and ``segexp sweep``: experiments, one or a grid of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from segexp.errors import ConfigError, RunError, RunInterruptedError

TAKEN = ("run.seed", "run.split_seed", "run.name", "run.tags")  # of `run`, by --like


def execute_run(
    words: Sequence[str], config_dir: str | None, *, force: bool, like: str | None = None
) -> int:
    """Run one experiment; print its result and the next commands to type."""
    from segexp.cli.console import reporting, say
    from segexp.cli.plan import how_to_go_on
    from segexp.cli.run_view import print_next_commands, print_result
    from segexp.config.compose import is_grid, load_config
    from segexp.config.options import find_conf_dirs
    from segexp.experiment import Datasets, find_same, run_experiment
    from segexp.plan import find_done, plan_experiment

    words, config_dir = with_recorded(words, config_dir, like)
    if is_grid(words):
        grid = next(word for word in words if is_grid([word]))
        raise ConfigError(
            f"{grid}: several values make a grid; say `segexp sweep` instead of `segexp run`"
        )
    conf_dirs = find_conf_dirs(config_dir)
    config = load_config(words, conf_dirs)
    said = with_config_dir(words, config_dir)
    plan, datasets = plan_experiment(config), Datasets()
    if not force and not find_done(plan) and (command := how_to_go_on(plan)):
        say(f"an equal run was stopped before; to go on with it: {command}", "yellow")
    with reporting() as reporter, interrupted(allowing(config.run.packages)):
        same = None if force else find_same(plan, datasets, reporter)
        run = same or run_experiment(plan, said, reporter, datasets=datasets)
    print_result(run, [config.evaluation.metric, *config.evaluation.metrics])
    print_next_commands(run, said)
    if same:
        say(f"already done: {same.path} (same config, same data; --force repeats it)", "yellow")
    return 0


def with_recorded(
    words: Sequence[str], config_dir: str | None, like: str | None
) -> tuple[Sequence[str], str | None]:
    """Put the words of a run before those typed, but for what these say otherwise.

    A group's option (``model=svm``) replaces every word about the group, because what was said of
    one model does not hold for another; ``evaluation=OPTION`` leaves ``evaluation.group`` and the
    like as they were. What decides where code and results are (see `is_taken`) must be typed.

    Raises
    ------
    ConfigError
        An experiment is typed: it is a command of its own.
    RunError
        The command that the run recorded is damaged.
    """
    from segexp.runs import OVERRIDES, open_run

    if like is None:
        return words, config_dir
    typed = {_key(word) for word in words}
    if "experiment" in typed:
        raise ConfigError("an experiment takes no words of another run: leave --like out")
    try:
        recorded = shlex.split(open_run(Path(like)).read_overrides())[2:]
    except ValueError as error:
        raise RunError(f"{Path(like, OVERRIDES)} is damaged: {error}") from error
    groups = typed - {"evaluation"}
    kept = [
        word
        for word in _without_options(recorded)
        if is_taken(word) and _key(word) not in typed and _group(word) not in groups
    ]
    return [*kept, *words], config_dir


def is_taken(word: str) -> bool:
    """Whether ``--like`` takes a word of another run, which may be a stranger's.

    Not the user's own packages, folders of options, workers and places for results.
    """
    return _key(word) in TAKEN or _group(word) not in ("run", "engine")


def _without_options(words: Sequence[str]) -> list[str]:
    """Return the words of a recorded command without ``--config-dir DIR``."""
    return [
        word
        for before, word in pairwise(["", *words])
        if not word.startswith("--") and before != "--config-dir"
    ]


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0].partition("@")[0]


def _group(word: str) -> str:
    return re.split("[./]", _key(word))[0]


def with_config_dir(words: Sequence[str], config_dir: str | None) -> list[str]:
    """Return the words as they must be typed again."""
    return [*words, *(["--config-dir", config_dir] if config_dir else [])]


@contextmanager
def interrupted(words: Sequence[str] = ()) -> Iterator[None]:
    """Turn Ctrl-C into a line that says what is kept and how to go on.

    Parameters
    ----------
    words : sequence of str
        To be said again when it goes on, such as those of :func:`allowing`.
    """
    try:
        yield
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # no directory yet
            raise
        command = shlex.join(["segexp", "resume", str(stopped.args[0]), *words])
        raise RunInterruptedError(
            f"interrupted; what was finished is kept in {stopped.args[0]}; go on with: {command}"
        ) from stopped


def allowing(packages: Sequence[str]) -> list[str]:
    """Return the word that allows packages of the user's own, if there are any."""
    return [f"run.packages=[{','.join(packages)}]"] if packages else []


def execute_sweep(
    words: Sequence[str], config_dir: str | None, *, force: bool, like: str | None = None
) -> int:
    """Run every cell of a grid; one failure does not stop the rest."""
    from segexp.cli.console import sweep_reporting
    from segexp.cli.plan import plan_cells
    from segexp.cli.sweep_view import print_sweep, varying_words
    from segexp.config.options import find_conf_dirs
    from segexp.sweep import distinct_cells, run_sweep

    words, config_dir = with_recorded(words, config_dir, like)
    cells = plan_cells(words, find_conf_dirs(config_dir))
    if wrong := [cell for cell in cells if cell.error]:
        rest = f" (and {len(wrong) - 1} more; see `segexp plan`)" if len(wrong) > 1 else ""
        name = varying_words(wrong[0].words, words)
        raise ConfigError(f"nothing was run, a cell is wrong: {name}: {wrong[0].error}{rest}")
    plans, cell_words = distinct_cells(
        [cell.checked_plan for cell in cells], [cell.words for cell in cells]
    )
    allowed = allowing(plans[0].config.run.packages)
    with sweep_reporting(plans, cell_words, words) as reporter, interrupted(allowed):
        sweep = run_sweep(
            plans, cell_words, words, reporter,
            force=force, config_dir=config_dir,
        )  # fmt: skip
    return print_sweep(sweep)
