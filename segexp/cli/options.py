"""``segexp options``: what can be chosen."""

from __future__ import annotations


def execute(group: str | None, config_dir: str | None) -> int:
    """List the options of one config group, or of all."""
    from segexp.cli.console import add_row, say, show_table, table
    from segexp.config.options import (
        describe_option,
        find_conf_dirs,
        find_group,
        list_options,
        shipped_conf,
    )
    from segexp.config.schema import GROUPS

    conf_dirs = find_conf_dirs(config_dir)
    for name in [find_group(group)] if group else GROUPS:
        made = table(name, ("option", "what it is"))
        for option, path in list_options(name, conf_dirs).items():
            own = "" if path.is_relative_to(shipped_conf()) else "  (yours)"
            add_row(made, f"  {option}", describe_option(path) + own)
        show_table(made)
    say("choose with group=option, for example: segexp run model=xgboost evaluation=repeated_cv")
    return 0
