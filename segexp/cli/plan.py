"""``segexp plan``: what would be done, checked; nothing is run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segexp.errors import ConfigError, SegexpError

if TYPE_CHECKING:
    from segexp.config.space import Parameter
    from segexp.plan import Plan


@dataclass(frozen=True)
class Cell:
    """One cell of a grid: its words, and its plan or what is wrong with it."""

    words: list[str]
    plan: Plan | None
    error: str | None

    @property
    def checked_plan(self) -> Plan:
        """The plan of a cell without an error."""
        if self.plan is None:
            raise ConfigError(f"{' '.join(self.words)}: {self.error}")
        return self.plan


def plan_cells(words: Sequence[str], conf_dirs: Sequence[Path]) -> list[Cell]:
    """Compose, validate and build every cell."""
    from segexp.config.compose import expand_grid, load_config
    from segexp.plan import plan_experiment

    cells = []
    for cell in expand_grid(words, conf_dirs):
        try:
            cells.append(Cell(cell, plan_experiment(load_config(cell, conf_dirs)), None))
        except SegexpError as error:
            cells.append(Cell(cell, None, str(error)))
    return cells


def execute(words: Sequence[str], config_dir: str | None, *, like: str | None = None) -> int:
    """Print every cell with its fits and what is done already; exit code 2 if one is wrong."""
    from segexp.cli.console import say
    from segexp.cli.run import with_recorded
    from segexp.config.options import find_conf_dirs

    words, config_dir = with_recorded(words, config_dir, like)
    cells = plan_cells(words, find_conf_dirs(config_dir))
    if len(cells) == 1:
        plan = cells[0].plan
        if plan is None:
            raise ConfigError(str(cells[0].error))
        _print_one(plan)
        return 0
    _print_grid(words, cells)
    wrong = sum(cell.plan is None for cell in cells)
    if wrong:
        raise ConfigError(f"{wrong} of {len(cells)} cells are wrong, see the table above")
    say(f"run it with: {shlex.join(['segexp', 'sweep', *words])}")
    return 0


def _print_grid(words: Sequence[str], cells: Sequence[Cell]) -> None:
    from segexp.cli.console import add_row, say, show_table, table
    from segexp.cli.sweep_view import varying_words
    from segexp.plan import find_done

    columns = ("cell", "fits", "trials", "time", "done already")
    made = table(f"{len(cells)} cells", columns, right=("fits", "trials", "time"))
    total, left = 0, 0
    times: list[float | None] = []
    clocked = False
    for cell in cells:
        varying = varying_words(cell.words, words)
        if cell.plan is None:
            add_row(made, varying, "-", "-", "-", f"wrong: {cell.error}", style="red")
            continue
        done = find_done(cell.plan)
        fits = cell.plan.n_fits + (cell.plan.n_search_fits or 0)
        clocked = clocked or cell.plan.n_search_fits is None
        total += fits
        left += 0 if done else fits
        if not done:
            times.append(_estimate(cell.plan))
        add_row(
            made, varying, f"{fits:,}", _trials(cell.plan),
            "-" if done else _duration(times[-1]), _done_text(cell.plan, done),
        )  # fmt: skip
    show_table(made)
    more = ", and those of searches that a clock ends" if clocked else ""
    say(f"{total:,} fits in all{more}; {left:,} of them in cells that are not done yet")
    known = [time for time in times if time is not None]
    if known:
        unknown = len(times) - len(known)
        rest = f", without {unknown} cell(s) of which there is no past run" if unknown else ""
        say(f"about {_duration(sum(known))}, going by past runs{rest}")


def _done_text(plan: Plan, done: Sequence[Path]) -> str:
    if done:
        return str(done[-1])
    begun = how_to_go_on(plan)
    return f"in part: {begun}" if begun else "no"


def how_to_go_on(plan: Plan) -> str:
    """Return how to go on with the newest run of the same config that was stopped; "" for none."""
    from segexp.cli.run import allowing
    from segexp.plan import find_stopped

    stopped, allowed = find_stopped(plan), allowing(plan.config.run.packages)
    return shlex.join(["segexp", "resume", str(stopped[-1]), *allowed]) if stopped else ""


def _estimate(plan: Plan) -> float | None:
    from segexp.engine.processes import count_jobs
    from segexp.plan import estimate_seconds

    return estimate_seconds(plan, count_jobs(plan.config.engine))


def _duration(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _trials(plan: Plan) -> str:
    """Say how many trials there may be: studies times trials of each."""
    if not plan.families:
        return "-"
    n_trials = plan.n_trials
    return f"{len(plan.studies)} x {n_trials if n_trials is not None else '?'}"


def _search_text(plan: Plan) -> str:
    """Say a search in words."""
    search = plan.config.search
    if not plan.families:
        return "none"
    models = f" over {', '.join(plan.families)}" if search.candidates else ""
    limits = [f"{plan.n_trials} trials each" if plan.n_trials is not None else ""]
    limits += [f"{search.timeout} in all" if search.timeout else ""]
    limits += [f"until {search.patience} bring nothing" if search.patience else ""]
    return (
        f"{search.name}{models}: {len(plan.studies)} studies, "
        f"{', '.join(limit for limit in limits if limit)}; {search.inner_splits} inner folds, "
        f"pruner {search.pruner}"
    )


def _print_one(plan: Plan) -> None:
    from segexp.cli.console import add_row, say, show_table, table
    from segexp.cli.run_view import protocol_text
    from segexp.plan import find_done

    config = plan.config
    evaluation = config.evaluation
    made = table("plan", ("", ""))
    synthetic = " (synthetic customers)" if config.dataset.synthetic else ""
    target = f", target {config.dataset.target}" if config.dataset.target else ""
    add_row(made, "dataset", f"{config.dataset.name}{synthetic}{target}")
    add_row(made, "preprocessing", config.preprocessing.name)
    add_row(made, "model", f"{config.model.name}: {config.model.estimator['_target_']}")
    add_row(made, "search", _search_text(plan))
    stratified = config.dataset.target is not None
    add_row(made, "evaluation", protocol_text(asdict(evaluation), stratified))
    add_row(made, "metric", evaluation.metric)
    searching = f", {plan.n_search_fits:,} at most in the search" if plan.n_search_fits else ""
    add_row(
        made, "fits",
        f"{plan.n_fits} of the model{searching}, beside {len(plan.baselines)} baseline(s)"
        f"{_refits_text(plan)}",
    )  # fmt: skip
    add_row(made, "time, by past runs", _duration(_estimate(plan)))
    add_row(made, "seeds", f"run.seed={config.run.seed} run.split_seed={config.run.split_seed}")
    done = find_done(plan)
    add_row(made, "done already", _done_text(plan, done))
    add_row(made, "lands in", f"{config.run.outputs}/{config.dataset.name}/<time>-{plan.run_name}")
    show_table(made)
    rows = _space_rows(plan)
    if rows:
        note = "" if plan.families else " (not searched: search=none)"
        space = table(f"search space{note}", ("parameter", "values"))
        for name, parameter in rows:
            add_row(space, name, parameter)
        show_table(space)
    say("everything was checked, nothing was run")


def _refits_text(plan: Plan) -> str:
    """Say what a clusterer's stability and the table of k take beside."""
    evaluation = plan.config.evaluation
    if not plan.clusters:
        return ""
    text = f"; {plan.n_refits} refits on bootstrap samples"
    if plan.k_parameter and evaluation.k_max:
        tables = plan.n_splits * plan.config.search.chooses_k + evaluation.final_model
        text += f"; {tables} table(s) of 1 to {evaluation.k_max} segments"
    return text


def _space_rows(plan: Plan) -> list[tuple[str, Parameter]]:
    search = plan.config.search
    if search.candidates:
        return [
            (f"search.candidates.{model}.space.{parameter.name}", parameter)
            for model, family in plan.families.items()
            for parameter in family.space.parameters
        ]
    untouched = () if search.tune_preprocessing or not plan.families else ("preprocessing",)
    return [
        (f"{group}.space.{parameter.name}", parameter)
        for group, space in plan.spaces.items()
        if group not in untouched
        for parameter in space
    ]
