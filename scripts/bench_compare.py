"""How long `compare` and `ls` take on many runs, beside a program that only reads the same files.

One small run is made and copied with other scores, seconds and settings, so that every directory
is another row. Goal: at most three times the reading, and twice the runs take twice as long.

    .venv/bin/python scripts/bench_compare.py
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

COUNTS = (250, 500, 1_000)
ROUNDS = 3
GOAL = 3.0
SMALL = [
    "model=decision_tree", "dataset.n_customers=300", "evaluation.importance_repeats=0",
    "evaluation.final_model=false", "engine.n_jobs=1", "run.name=template",
]  # fmt: skip
READ_SOME = """
import json, pathlib, sys
import pandas as pd
pd.json_normalize([
    json.loads((folder / name).read_bytes())
    for folder in pathlib.Path(sys.argv[1]).glob("*/*")
    for name in ("manifest.json", "summary.json")
])
"""
READ_ALL = """
import json, pathlib, sys
import pandas as pd, yaml
loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
for folder in pathlib.Path(sys.argv[1]).glob("*/*"):
    for name in ("manifest.json", "summary.json"):
        json.loads((folder / name).read_bytes())
    for name in ("scores.csv", "baselines.csv", "timings.csv"):
        pd.read_csv(folder / name)
    yaml.load((folder / "config.yaml").read_bytes(), loader)
"""
COMMANDS = {
    "ls": (["ls"], READ_SOME),
    "compare": (["compare"], READ_ALL),
}


def make_runs(folder: Path, template: Path, count: int) -> None:
    """Write ``count`` runs that differ in settings and scores; folds and data are the same."""
    texts = {
        path.name: path.read_text("utf-8")
        for path in template.iterdir()
        if path.suffix in (".json", ".csv", ".yaml", ".txt")
    }
    rng = random.Random(0)
    for i in range(count):
        path = folder / "demo" / f"{template.name[:16]}-tree-{i:05d}"
        path.mkdir(parents=True)
        shift = rng.gauss(0, 0.02)
        scores, manifest = texts["scores.csv"].split("\n"), json.loads(texts["manifest.json"])
        changed = [_shifted(line, shift + rng.gauss(0, 0.02)) for line in scores]
        summary = json.loads(texts["summary.json"])
        summary["accuracy"]["mean"] += shift
        manifest |= {"config_hash": f"{i:08x}"}
        config = re.sub(r"max_depth: \S+", f"max_depth: {1 + i % 40}", texts["config.yaml"])
        config = re.sub(r"min_samples_leaf: \S+", f"min_samples_leaf: {1 + i // 40}", config)
        for name, text in {
            **texts,
            "scores.csv": "\n".join(changed),
            "summary.json": json.dumps(summary, indent=2),
            "manifest.json": json.dumps(manifest, indent=2),
            "config.yaml": config,
        }.items():
            (path / name).write_text(text, encoding="utf-8")


def _shifted(line: str, shift: float) -> str:
    start, _, value = line.rpartition(",")
    return f"{start},{float(value) + shift!r}" if ",accuracy," in line else line


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Return seconds on the clock, and seconds of a processor: others may use the machine."""
    start, before = time.perf_counter(), os.times()
    subprocess.run([*command, str(folder)], check=True, capture_output=True)
    after = os.times()
    used = sum(after[2:4]) - sum(before[2:4])
    return time.perf_counter() - start, used


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        outputs = Path(made, "template")
        subprocess.run(
            [sys.executable, "-m", "segexp", "run", *SMALL, f"run.outputs={outputs}"],
            check=True, capture_output=True,
        )  # fmt: skip
        (template,) = (outputs / "demo").iterdir()
        folders = {count: Path(made, str(count)) for count in COUNTS}
        for count, folder in folders.items():
            make_runs(folder, template, count)
        for name, (words, script) in COMMANDS.items():
            _measure(name, [sys.executable, "-m", "segexp", *words], script, folders)


def _measure(name: str, own: list[str], script: str, folders: dict[int, Path]) -> None:
    took: dict[int, float] = {}
    for count, folder in folders.items():
        pairs = [
            (seconds(own, folder), seconds([sys.executable, "-c", script], folder))
            for _ in range(ROUNDS)
        ]
        (clock, used), (base_clock, base_used) = (
            [statistics.median(pair[side][unit] for pair in pairs) for unit in (0, 1)]
            for side in (0, 1)
        )
        took[count] = used
        print(
            f"segexp {name}, {count:,} runs: {clock:.2f} s, of a processor {used:.2f} s; "
            f"reading alone {base_clock:.2f} s, {base_used:.2f} s; "
            f"{clock / base_clock:.1f} and {used / base_used:.1f} times (goal: at most {GOAL:g})",
            flush=True,
        )
    steps = (1e3 * (took[b] - took[a]) / (b - a) for a, b in pairwise(COUNTS))
    print(f"  each further run: {', '.join(f'{step:.1f} ms' for step in steps)} of a processor")


if __name__ == "__main__":
    main()
