"""``segexp config``: the composed, validated config."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def execute(words: Sequence[str], config_dir: str | None) -> int:
    """Compose, check against the estimators, and print YAML that a run would record."""
    from segexp.components import build_pipeline
    from segexp.config.compose import config_to_yaml, load_config
    from segexp.config.options import find_conf_dirs
    from segexp.evaluation import check_metrics

    config = load_config(words, find_conf_dirs(config_dir))
    pipeline = build_pipeline(config)
    has_probabilities = hasattr(pipeline, "predict_proba")
    check_metrics(config.evaluation, config.search, has_probabilities=has_probabilities)
    sys.stdout.write(config_to_yaml(config))
    return 0
