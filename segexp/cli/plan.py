"""``segexp plan``: what would be done, checked; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segexp.errors import ConfigError, SegexpError

if TYPE_CHECKING:
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


def execute(words: Sequence[str], config_dir: str | None) -> int:
    """Print every cell with its fits and what is done already; exit code 2 if one is wrong."""
    from segexp.cli.console import say
    from segexp.config.options import find_conf_dirs

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
    say("run it with: segexp sweep " + " ".join(words))
    return 0


def _print_grid(words: Sequence[str], cells: Sequence[Cell]) -> None:
    from segexp.cli.console import add_row, say, show_table, table
    from segexp.plan import find_done

    made = table(f"{len(cells)} cells", ("cell", "fits", "done already"), right=("fits",))
    total, left = 0, 0
    for cell in cells:
        varying = " ".join(word for word in cell.words if word not in words) or "defaults"
        if cell.plan is None:
            add_row(made, varying, "-", f"wrong: {cell.error}", style="red")
            continue
        done = find_done(cell.plan)
        total += cell.plan.n_fits
        left += 0 if done else cell.plan.n_fits
        add_row(made, varying, cell.plan.n_fits, done[-1] if done else "no")
    show_table(made)
    say(f"{total} fits in all, {left} of them in cells that are not done yet")


def _print_one(plan: Plan) -> None:
    from segexp.cli.console import add_row, say, show_table, table
    from segexp.cli.run_view import protocol_text
    from segexp.plan import find_done

    config = plan.config
    evaluation = config.evaluation
    made = table("plan", ("", ""))
    synthetic = " (synthetic customers)" if config.dataset.synthetic else ""
    add_row(made, "dataset", f"{config.dataset.name}{synthetic}, target {config.dataset.target}")
    add_row(made, "preprocessing", config.preprocessing.name)
    add_row(made, "model", f"{config.model.name}: {config.model.estimator['_target_']}")
    add_row(made, "search", config.search.name)
    add_row(made, "evaluation", protocol_text(asdict(evaluation)))
    add_row(made, "metric", evaluation.metric)
    add_row(made, "fits", f"{plan.n_fits} of the model, beside {len(plan.baselines)} baseline(s)")
    add_row(made, "seeds", f"run.seed={config.run.seed} run.split_seed={config.run.split_seed}")
    done = find_done(plan)
    add_row(made, "done already", done[-1] if done else "no")
    add_row(made, "lands in", f"{config.run.outputs}/{config.dataset.name}/<time>-{plan.run_name}")
    show_table(made)
    rows = [(group, p) for group, space in plan.spaces.items() for p in space]
    if rows:
        space = table(
            "search space (not searched: search=none)" if config.search.name == "none"
            else "search space",
            ("parameter", "values"),
        )  # fmt: skip
        for group, parameter in rows:
            add_row(space, f"{group}.space.{parameter.name}", parameter)
        show_table(space)
    say("everything was checked, nothing was run")
