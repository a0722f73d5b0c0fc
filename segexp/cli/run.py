"""``segexp run`` and ``segexp sweep``: experiments, one or a grid of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segexp.errors import ConfigError, RunInterruptedError, SegexpError

if TYPE_CHECKING:
    from segexp.experiment import Plan
    from segexp.runs import Run


def execute_run(words: Sequence[str], config_dir: str | None) -> int:
    """Run one experiment; print its result and the next commands to type."""
    from segexp.cli.run_view import print_next_commands, print_result
    from segexp.config.compose import is_grid, load_config
    from segexp.config.options import find_conf_dirs
    from segexp.experiment import plan_experiment

    if is_grid(words):
        grid = next(word for word in words if is_grid([word]))
        raise ConfigError(
            f"{grid}: several values make a grid; say `segexp sweep` instead of `segexp run`"
        )
    conf_dirs = find_conf_dirs(config_dir)
    config = load_config(words, conf_dirs)
    said = _with_config_dir(words, config_dir)
    run = _run(plan_experiment(config), said)
    print_result(run, [config.evaluation.metric, *config.evaluation.metrics])
    print_next_commands(run, said)
    return 0


def _with_config_dir(words: Sequence[str], config_dir: str | None) -> list[str]:
    """Return the words as they must be typed again."""
    return [*words, *(["--config-dir", config_dir] if config_dir else [])]


def _run(plan: Plan, words: Sequence[str]) -> Run:
    from segexp.cli.console import reporting
    from segexp.experiment import run_experiment

    try:
        with reporting() as reporter:
            return run_experiment(plan, words, reporter)
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # no directory yet
            raise
        raise RunInterruptedError(
            f"interrupted; the folds that were finished are kept in {stopped.args[0]}"
        ) from stopped


def execute_sweep(words: Sequence[str], config_dir: str | None) -> int:
    """Run every cell of a grid; one failure does not stop the rest."""
    from segexp.cli.console import say
    from segexp.cli.plan import plan_cells
    from segexp.config.options import find_conf_dirs

    cells = plan_cells(words, find_conf_dirs(config_dir))
    if errors := [cell.error for cell in cells if cell.error]:
        rest = f" (and {len(errors) - 1} more; see `segexp plan`)" if len(errors) > 1 else ""
        raise ConfigError(f"nothing was run, a cell is wrong: {errors[0]}{rest}")
    done: list[tuple[Sequence[str], Run | SegexpError]] = []
    try:
        for i, cell in enumerate(cells, start=1):
            say(f"[{i}/{len(cells)}] {' '.join(cell.words) or 'defaults'}")
            said = _with_config_dir(cell.words, config_dir)
            try:
                done.append((cell.words, _run(cell.checked_plan, said)))
            except RunInterruptedError:
                raise
            except SegexpError as error:
                say(f"  failed: {error}", style="red")
                done.append((cell.words, error))
    finally:
        if done:
            _print_sweep(words, done)
    return 1 if any(isinstance(result, SegexpError) for _, result in done) else 0


def _print_sweep(
    words: Sequence[str], done: Sequence[tuple[Sequence[str], Run | SegexpError]]
) -> None:
    """Print one row per cell, the best first where the cells share a metric and a split."""
    from segexp.cli.console import add_row, number, say, show_table, table
    from segexp.cli.run_view import SYNTHETIC, interval_text
    from segexp.metrics import metric_by_name
    from segexp.runs import Run

    finished = [(cell, result) for cell, result in done if isinstance(result, Run)]
    metrics = {str(run.manifest["metric"]) for _, run in finished}
    comparable = {
        (run.manifest["dataset"]["fingerprint"], run.manifest["split"]["hash"])
        for _, run in finished
    }
    rows = [(cell, run, _primary(run)) for cell, run in finished]
    if len(metrics) == 1 and len(comparable) == 1:
        sign = -1 if metric_by_name(metrics.pop()).greater_is_better else 1
        rows.sort(key=lambda row: sign * (row[2]["mean"] or 0.0))
        title = "results, best first (judged on the same folds)"
    else:
        title = "results (different data, folds or metrics: not ranked)"
    if any(run.manifest["dataset"]["synthetic"] for _, run in finished):
        say(SYNTHETIC, style="yellow")
    made = table(title, ("cell", "metric", "mean", "interval", "run"), right=("mean",))
    for cell, run, summary in rows:
        varying = " ".join(word for word in cell if word not in words)
        add_row(
            made, varying or "defaults", run.manifest["metric"], number(summary["mean"]),
            interval_text(summary), run.path,
        )  # fmt: skip
    for cell, result in done:
        if isinstance(result, SegexpError):
            varying = " ".join(word for word in cell if word not in words)
            add_row(made, varying, "failed", "-", "-", result, style="red")
    show_table(made)


def _primary(run: Run) -> dict[str, Any]:
    undefined = {"mean": None, "std": None, "interval": None, "n": 0}
    return run.read_summary().get(run.manifest["metric"], undefined)
